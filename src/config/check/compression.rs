//! `compression` and the keys that begin with it: what goes with them.

use super::section::Section;
use crate::config::ConfiguredEndpoint;
use wskeeper_link::endpoint::compression::Compression;

/// Rules over the keys of compression.
pub(super) fn rules(section: &Section<'_>, endpoint: &ConfiguredEndpoint) {
    let set = endpoint.compression;
    // The defaults may stand there: the annotated file names every key.
    if set.is_offered || set == Compression::default() {
        return;
    }
    for key in ["compression_level", "compression_threshold", "compression_window_bits", "compression_context"] {
        if section.has(key) {
            section.warn(key, "is of no use without `compression`: nothing is compressed");
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::config::check::read_keys as read;

    #[test]
    fn what_does_not_go_with_compression_is_told() {
        let all = "compression_level = 9\ncompression_threshold = 0\ncompression_window_bits = 9\ncompression_context = 'both'";
        for good in [
            "compression = 'off'",
            "compression = 'auto'",
            "compression_level = 3",
            &format!("compression = 'auto'\n{all}"),
        ] {
            assert_eq!(read(good), Ok(Vec::new()), "{good}");
        }
        let told = read(all).unwrap();
        assert!(told.len() == 4 && told.join("; ").contains("of no use without `compression`"), "{told:?}");
        for bad in [
            "compression = true",
            "compression = 'on'",
            "compression_level = 0",
            "compression_level = 10",
            "compression_window_bits = 8",
            "compression_window_bits = 16",
            "compression_context = 'server'",
            "compression_threshold = '2GiB'",
        ] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }
}
