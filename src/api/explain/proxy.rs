//! What would help where the way to a server leads through a proxy, and ends there.
//!
//! What a reader would get wrong: a status of these is the proxy's answer to CONNECT, and the server has had no part in it.

use wskeeper_core::close::Closed;
use wskeeper_link::endpoint::{Endpoint, proxy::ProxyChoice, template::Redaction};

/// What to do about a proxy that has not let an attempt through to this URL.
pub(super) fn about_proxy(closed: &Closed, url: &str, config: &Endpoint) -> String {
    let shown = config.proxy.shown_for(url).unwrap_or_else(|| "none".into());
    let named = match &config.proxy.choice {
        ProxyChoice::Environment => {
            format!("`proxy = \"env\"` (HTTPS_PROXY, HTTP_PROXY, ALL_PROXY, NO_PROXY), now {shown}")
        }
        ProxyChoice::Url(_) | ProxyChoice::Direct => format!("`proxy`, now {shown}"),
    };
    match closed.status {
        // tinyproxy says 401 of a password that is wrong.
        Some(401 | 407) if has_credentials(config) => format!(
            "The proxy does not take the credentials: put them right in {named}, or in proxy_headers. They are read again at each attempt."
        ),
        Some(401 | 407) => format!(
            "The proxy asks for authentication: give user and password in {named} (http://USER:PASSWORD@HOST:PORT), or another \
             Proxy-Authorization in proxy_headers."
        ),
        Some(403 | 405) => format!(
            "The proxy does not let CONNECT through to the host and port of {url}: have it allowed there (squid: SSL_ports and http_access; \
             tinyproxy: ConnectPort), or leave the host out of {named}."
        ),
        Some(429) => {
            "The proxy has had too many requests from here: hold fewer `links`, or lower admission.rate.".into()
        }
        Some(500 | 502..=504) => format!(
            "The proxy runs, and did not reach the server of {url}: check host and port as the proxy sees them; its log says why."
        ),
        Some(_) => format!("What answers there does not take CONNECT: check host, port and scheme of {named}."),
        None => format!(
            "Check scheme, host, port and credentials of {named}, and that the proxy runs and lets this machine in."
        ),
    }
}

fn has_credentials(config: &Endpoint) -> bool {
    let in_url = match &config.proxy.choice {
        ProxyChoice::Url(url) => url.clone().with_redaction(Redaction::Open).shown() != url.shown(),
        ProxyChoice::Direct | ProxyChoice::Environment => false,
    };
    in_url || config.proxy.headers.iter().any(|(name, _)| name.as_str() == "proxy-authorization")
}
