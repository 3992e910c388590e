//! The registry as Prometheus text, format 0.0.4.
//!
//! A family that cannot be written is left out and logged: one broken metric must not hide the others.

use prometheus::{Encoder as _, Registry, TextEncoder};

/// The `Content-Type` of [`render`]'s text.
pub const CONTENT_TYPE: &str = prometheus::TEXT_FORMAT;

/// Everything registered, as text.
pub fn render(registry: &Registry) -> String {
    let encoder = TextEncoder::new();
    let mut text = Vec::new();
    for family in registry.gather() {
        let before = text.len();
        let name = family.name().to_owned();
        if let Err(error) = encoder.encode(&[family], &mut text) {
            text.truncate(before);
            tracing::error!(metric = %name, %error, "metric left out");
        }
    }
    String::from_utf8(text).unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())
}

#[cfg(test)]
mod tests {
    use prometheus::IntGauge;

    use super::*;

    #[test]
    fn what_is_registered_is_rendered_with_its_help_and_type() {
        let registry = Registry::new();
        let gauge = IntGauge::new("depth", "How deep.").unwrap();
        registry.register(Box::new(gauge.clone())).unwrap();
        gauge.set(3);
        assert_eq!(render(&registry), "# HELP depth How deep.\n# TYPE depth gauge\ndepth 3\n");
    }
}
