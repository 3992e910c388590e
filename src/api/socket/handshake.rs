//! The opening handshake of a local WebSocket, from the server's side (RFC 6455 §4.2).

use axum::{body::Body, response::Response};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use super::super::{access::TOKEN_PROTOCOL, problem::Problem};
use wskeeper_core::deflate::Agreement;

/// The subprotocol of the envelope.
pub(super) const ENVELOPE: &str = "wskeeper.v1.json";
/// That of messages as they are. A browser closes a WebSocket that offered some and is answered with none.
const PLAIN: &str = "wskeeper.v1.plain";

/// What a client asks for by its handshake.
pub(super) struct Asked {
    accept: HeaderValue,
    /// Subprotocols, the most wanted first.
    offers: Vec<String>,
}

impl Asked {
    /// Reads an opening handshake; everything else is refused.
    pub(super) fn read(headers: &HeaderMap) -> Result<Self, Problem> {
        let accept = HeaderValue::try_from(derive_accept_key(key(headers)?.as_bytes()));
        let accept = accept.map_err(|error| Problem::bad_request(error.to_string()))?;
        let offers = offered(headers).filter(|offer| !offer.starts_with(TOKEN_PROTOCOL)).map(str::to_owned).collect();
        Ok(Self { accept, offers })
    }

    /// Whether the client offers this subprotocol.
    pub(super) fn offers(&self, protocol: &str) -> bool {
        self.offers.iter().any(|offer| offer == protocol)
    }

    /// The first of the client's subprotocols that is one of these.
    pub(super) fn first_of(&self, has: impl Fn(&str) -> bool) -> Option<&str> {
        self.offers.iter().map(String::as_str).find(|offer| !offer.is_empty() && has(offer))
    }

    /// The answer, with this subprotocol, or the one that says nothing, and this extension.
    pub(super) fn answer(&self, protocol: Option<&str>, compression: Option<Agreement>) -> Response {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        let headers = response.headers_mut();
        headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
        headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
        headers.insert(header::SEC_WEBSOCKET_ACCEPT, self.accept.clone());
        let protocol = protocol.or_else(|| self.first_of(|offer| offer == PLAIN));
        if let Some(protocol) = protocol.and_then(|protocol| HeaderValue::from_str(protocol).ok()) {
            headers.insert(header::SEC_WEBSOCKET_PROTOCOL, protocol);
        }
        if let Some(agreed) = compression.and_then(|agreed| HeaderValue::try_from(agreed.to_string()).ok()) {
            headers.insert(header::SEC_WEBSOCKET_EXTENSIONS, agreed);
        }
        response
    }
}

/// The subprotocols that a client offers (RFC 6455 §4.1).
pub(in super::super) fn offered(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    let lists = headers.get_all(header::SEC_WEBSOCKET_PROTOCOL).iter().filter_map(|value| value.to_str().ok());
    lists.flat_map(|list| list.split(',')).map(str::trim)
}

/// The client's key, if this is an opening handshake (RFC 6455 §4.2.1).
fn key(headers: &HeaderMap) -> Result<HeaderValue, Problem> {
    let has = |name: header::HeaderName, token: &str| {
        headers
            .get_all(name)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .any(|list| list.split(',').any(|word| word.trim().eq_ignore_ascii_case(token)))
    };
    let is_upgrade = has(header::CONNECTION, "upgrade") && has(header::UPGRADE, "websocket");
    match headers.get(header::SEC_WEBSOCKET_KEY) {
        Some(key) if is_upgrade && has(header::SEC_WEBSOCKET_VERSION, "13") => Ok(key.clone()),
        Some(_) | None => Err(Problem::new(
            StatusCode::UPGRADE_REQUIRED,
            "upgrade-required",
            "This is a WebSocket",
            "ask by a WebSocket opening handshake, version 13; for plain HTTP read …/events and post to …/messages",
        )),
    }
}
