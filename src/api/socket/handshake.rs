//! The opening handshake of a local WebSocket, from the server's side (RFC 6455 §4.2).

use axum::{body::Body, response::Response};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use super::super::problem::Problem;

/// The subprotocol of the envelope.
const ENVELOPE: &str = "wskeeper.v1.json";

/// Whether the client offers the envelope.
pub(super) fn offers_envelope(headers: &HeaderMap) -> bool {
    let offers = headers.get_all(header::SEC_WEBSOCKET_PROTOCOL).iter().filter_map(|value| value.to_str().ok());
    offers.flat_map(|list| list.split(',')).any(|word| word.trim() == ENVELOPE)
}

/// The answer to an opening handshake; everything else is refused.
pub(super) fn answer(headers: &HeaderMap, envelope: bool) -> Result<Response, Problem> {
    let key = key(headers)?;
    let accept = HeaderValue::try_from(derive_accept_key(key.as_bytes()));
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(header::SEC_WEBSOCKET_ACCEPT, accept.map_err(|error| Problem::bad_request(error.to_string()))?);
    if envelope {
        headers.insert(header::SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(ENVELOPE));
    }
    Ok(response)
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
