//! `[tracing]`: where spans of connections go, if anywhere.
//!
//! Plain HTTP only: a collector belongs beside the daemon, and speaks TLS to the world itself.

use std::time::Duration;

use http::HeaderName;

use super::{item::Item, section::Section};
use crate::config::{Otlp, Tracing};
use wskeeper_link::endpoint::template::Redaction;

const FORM: &str = "write the collector's address: \"http://127.0.0.1:4318\"";

/// All of `[tracing]`.
pub(in crate::config) fn read(section: &Section<'_>, tracing: &mut Tracing) {
    let endpoint = section.get("otlp_endpoint").and_then(|item| endpoint(&item));
    let service_name = section.get("service_name").and_then(|item| item.text().map(str::to_owned));
    let within = Duration::from_millis(10)..=Duration::from_mins(1);
    let timeout = section.get("timeout").and_then(|item| item.duration(within));
    let headers = section.section("headers");
    let headers = headers.entries().into_iter().filter_map(|(name, item)| header(name, &item)).collect();
    if section.has("headers") && !section.has("otlp_endpoint") {
        section.warn("headers", "has an effect only with tracing.otlp_endpoint");
    }
    tracing.otlp = endpoint.map(|(host, port, path)| Otlp {
        host,
        port,
        path,
        headers,
        service_name: service_name.unwrap_or_else(|| "wskeeper".into()),
        timeout: timeout.unwrap_or(Duration::from_secs(10)),
    });
}

/// Host, port, and the path of OTLP/HTTP below the one given.
fn endpoint(item: &Item<'_>) -> Option<(String, u16, String)> {
    let url = url::Url::parse(item.text()?).ok().filter(|url| url.scheme() == "http" && url.query().is_none());
    let found = url.as_ref().and_then(|url| {
        let host = url.host_str()?.trim_start_matches('[').trim_end_matches(']').to_owned();
        let path = format!("{}/v1/traces", url.path().trim_end_matches('/'));
        Some((host, url.port_or_known_default()?, path))
    });
    if found.is_none() {
        item.fault("is not an address for OTLP over plain HTTP", FORM);
    }
    found
}

fn header(name: &str, item: &Item<'_>) -> Option<(HeaderName, wskeeper_link::endpoint::Template)> {
    let Ok(name) = HeaderName::try_from(name) else {
        item.fault("is not a header's name", "write it as HTTP does: \"X-Api-Key\"");
        let _ = item.template();
        return None;
    };
    let template = item.template()?.with_redaction(Redaction::Literals);
    super::request::look_at_files(item, &template);
    Some((name, template))
}
