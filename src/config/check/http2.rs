//! `http2`, `http2_links`: what goes with them.

use super::section::Section;
use crate::config::ConfiguredEndpoint;
use wskeeper_link::endpoint::http2::{Http2, Mode};

/// Rules over the keys of HTTP/2 and what TLS offers.
pub(super) fn rules(section: &Section<'_>, endpoint: &ConfiguredEndpoint) {
    let is_wanted = endpoint.http2.mode != Mode::Never;
    if is_wanted && endpoint.tls.alpn.is_some() && (section.has("http2") || section.section("tls").has("alpn")) {
        let hint = "leave `tls.alpn` out: what `http2` needs is offered";
        section.fault("http2", "HTTP/2 is agreed on by ALPN, and `tls.alpn` says what is offered", hint);
    }
    // The default may stand there: the annotated file names every key.
    if !is_wanted && section.has("http2_links") && endpoint.http2.links != Http2::default().links {
        section.warn("http2_links", "is of no use without `http2`: each link has a connection of its own");
    }
}

#[cfg(test)]
mod tests {
    use crate::config::check::read_keys as read;

    #[test]
    fn what_does_not_go_with_http_2_is_told() {
        for good in ["http2 = 'never'", "http2 = 'auto'\nhttp2_links = 7", "http2 = 'require'", "tls.alpn = []"] {
            assert_eq!(read(good), Ok(Vec::new()), "{good}");
        }
        assert!(read("http2_links = 7").unwrap().join("; ").contains("of no use without `http2`"));
        let faults = read("http2 = 'auto'\ntls.alpn = []").unwrap_err();
        assert!(faults.contains("leave `tls.alpn` out"), "{faults}");
        for bad in ["http2 = true", "http2 = 'always'", "http2_links = 0"] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }
}
