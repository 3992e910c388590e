//! `compression` and the keys that begin with it: what goes with them.

use bytesize::ByteSize;

use super::section::{Report, Section};
use crate::config::{Config, ConfiguredEndpoint};
use wskeeper_core::budget::most_history;
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

/// An endpoint's links keep windows as far as there is room, and the others are held without.
pub(super) fn warn_of_windows(report: &Report, config: &Config) {
    let windows = |endpoint: &ConfiguredEndpoint| -> u64 {
        let Compression { is_offered, offer, .. } = endpoint.compression;
        if is_offered { offer.windows().saturating_mul(endpoint.max_links().into()) } else { 0 }
    };
    let memory = config.limits.memory;
    let all = config.endpoints.values().map(windows).fold(0, u64::saturating_add);
    for (name, endpoint) in &config.endpoints {
        let own = windows(endpoint);
        // As `Account` divides it.
        let room = most_history(memory).saturating_sub(all - own) / 2;
        if own > room {
            report.warn(
                &format!("endpoints.{name}.compression_context"),
                &format!(
                    "its links may keep windows of {} together, and limits.memory has room for {}: links that find none are held \
                     without a context; raise limits.memory, or lower compression_window_bits",
                    ByteSize::b(own).display().iec(),
                    ByteSize::b(room).display().iec(),
                ),
            );
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

    #[test]
    fn windows_that_find_no_room_are_told_before() {
        let told = |keys: &str| {
            let warnings = read(keys).unwrap();
            warnings.into_iter().find(|warning| warning.contains("compression_context"))
        };
        let both = "compression = 'auto'\ncompression_context = 'both'\nlinks";
        assert_eq!(told(&format!("{both} = 1536")), None);
        let warning = told(&format!("{both} = 1537")).unwrap();
        assert!(
            warning.contains("keep windows of 96.1 MiB together, and limits.memory has room for 96.0 MiB"),
            "{warning}"
        );
        assert_eq!(told(&format!("compression_window_bits = 9\n{both} = 9000")), None);
        assert_eq!(told("compression = 'auto'\nlinks = 9000"), None);
    }
}
