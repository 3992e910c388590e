//! `proxy`, `proxy_headers`, `proxy_ca`: the way to a server through another.
//!
//! What a reader would get wrong: what a reference gives is judged at each attempt; here only what is written around it is.

use http::header::PROXY_AUTHORIZATION;

use super::{item::Item, request, section::Section, tls};
use crate::config::ConfiguredEndpoint;
use wskeeper_link::endpoint::{
    FieldName,
    proxy::{Proxy, ProxyChoice, ProxyScheme, Via},
    template::{Redaction, Scanned, Template, scan},
};

const FORM: &str = "write it like \"http://proxy.example:3128\" or \"socks5h://proxy.example\", or \"env\" or \"none\"";

/// `proxy`
pub(in crate::config) fn choice(item: &Item<'_>) -> Option<ProxyChoice> {
    match item.text()? {
        "none" => return Some(ProxyChoice::Direct),
        "env" => return Some(ProxyChoice::Environment),
        _ => {}
    }
    let template = item.template()?.with_redaction(Redaction::Url);
    request::look_at_files(item, &template);
    if let Some(Err(fault)) = shape(&template).map(|text| Via::parse(&text)) {
        item.fault(fault.to_string(), FORM);
        return None;
    }
    Some(ProxyChoice::Url(template))
}

/// The URL, with a digit for each reference: it may stand for a user, a host or a port. `None`: what is written does not say what the URL
/// is.
fn shape(template: &Template) -> Option<String> {
    let pieces = scan(template.source()).ok()?;
    let is_said = matches!(pieces.first(), Some(Scanned::Text(text)) if text.contains("://"));
    let piece = |piece: &Scanned<'_>| match piece {
        Scanned::Text(text) => text.clone(),
        Scanned::Reference(_) => "1".into(),
    };
    (is_said || !template.has_references()).then(|| pieces.iter().map(piece).collect())
}

/// `proxy_headers`, added up by name with those that are there.
pub(in crate::config) fn headers(section: &Section<'_>, headers: &mut Vec<(FieldName, Template)>) {
    request::added(section, "proxy_headers", headers);
}

/// All three, of a section that has no others to take them from.
pub(super) fn read(section: &Section<'_>) -> Option<Proxy> {
    let choice = section.get("proxy").map_or(Some(ProxyChoice::Direct), |item| choice(&item));
    let ca = section.get("proxy_ca").map_or(Some(None), |item| tls::path(&item).map(Some));
    let mut headers = Vec::new();
    self::headers(section, &mut headers);
    let proxy = Proxy { choice: choice?, headers, ca: ca?, obeys_deny: false };
    look_at(section, &proxy);
    Some(proxy)
}

/// Rules over the keys of a proxy and what goes with it.
pub(super) fn rules(section: &Section<'_>, endpoint: &ConfiguredEndpoint) {
    let is_url = look_at(section, &endpoint.proxy);
    if is_url && endpoint.headers.iter().any(|(name, _)| *name == PROXY_AUTHORIZATION) && section.has("headers") {
        let said = "`Proxy-Authorization` goes through the proxy to the server: write it in proxy_headers, which the proxy gets";
        section.warn("headers", said);
    }
}

/// Looks whether its keys go together. Answers whether it has a URL that says what it is.
fn look_at(section: &Section<'_>, proxy: &Proxy) -> bool {
    let scheme = match &proxy.choice {
        ProxyChoice::Direct | ProxyChoice::Environment => None,
        ProxyChoice::Url(url) => shape(url).and_then(|text| Via::parse(&text).ok()),
    };
    let Some(via) = scheme else { return false };
    let is_socks = matches!(via.scheme, ProxyScheme::Socks5 | ProxyScheme::Socks5h);
    if is_socks && section.has("proxy_headers") {
        section.warn("proxy_headers", "a SOCKS proxy takes no headers: they are not sent");
    }
    if via.scheme != ProxyScheme::Https && section.has("proxy_ca") {
        section.warn("proxy_ca", "no certificate is looked at but that of an https:// proxy");
    }
    let is_named = proxy.headers.iter().any(|(name, _)| *name == PROXY_AUTHORIZATION);
    if via.credentials.is_some() && is_named && section.has("proxy_headers") {
        let hint = "keep one: the header, or user and password in the URL";
        section.fault("proxy_headers", "`Proxy-Authorization` is given, and `proxy` brings credentials too", hint);
    }
    true
}

#[cfg(test)]
mod tests {
    use crate::config::check::read_keys as read;

    #[test]
    fn a_proxy_is_judged_as_far_as_it_is_written() {
        for good in [
            "none",
            "env",
            "http://p",
            "https://u:p%40ss@p:3128",
            "socks5h://${env:U}:${env:P}@${env:HOST}:${env:PORT}",
            "socks5://10.0.0.1",
            "${env:WHOLE}",
            "${env:SCHEME}://p",
        ] {
            assert_eq!(read(&format!("proxy = '{good}'")), Ok(Vec::new()), "{good}");
        }
        for (bad, told) in [
            ("proxy:3128", "its scheme is not one of http, https, socks5 and socks5h"),
            ("ftp://u:s3cret@p", "its scheme is not one of http, https, socks5 and socks5h"),
            ("http://u:s3cret@p/x", "it has a path or a query"),
            ("http://${env:H}/x", "it has a path or a query"),
            ("socks5://u@p", "1 to 255 bytes"),
            ("http://${var:x}", "${var:…} has no value here"),
            ("", "its scheme is not one of"),
        ] {
            let faults = read(&format!("proxy = '{bad}'")).unwrap_err();
            assert!(faults.contains(told) && faults.contains("test.toml:3: endpoints.a.proxy: "), "{bad}: {faults}");
            assert!(!faults.contains("s3cret"), "{faults}");
        }
    }

    #[test]
    fn what_does_not_go_with_a_proxy_is_told() {
        let token = "proxy_headers = { Proxy-Authorization = 'Bearer x' }";
        let one = |keys: &str| read(keys).unwrap().join("; ");
        assert!(one(&format!("proxy = 'socks5://p'\n{token}")).contains("takes no headers"));
        assert!(one("proxy = 'http://p'\nproxy_ca = '/dev/null'").contains("but that of an https:// proxy"));
        assert!(
            one("proxy = 'http://p'\nheaders = { Proxy-Authorization = 'x' }").contains("write it in proxy_headers")
        );
        assert_eq!(one(&format!("proxy = 'http://p'\n{token}")), "");
        let faults = read(&format!("proxy = 'http://u:pw@p'\n{token}")).unwrap_err();
        assert!(faults.contains("brings credentials too"), "{faults}");
        let faults = read("proxy_headers = { Host = 'x', Content-Length = '1' }").unwrap_err();
        assert_eq!(faults.matches("sets this header itself").count(), 2, "{faults}");
    }
}
