//! What RFC 6455 §4.1 demands of the server's answer.
//!
//! `Connection` is a list of tokens that may hold more than `upgrade`; and an extension that was not offered may not be chosen.

use std::time::{Duration, SystemTime};

use http::{
    HeaderMap, HeaderName, HeaderValue, Response, StatusCode, Version,
    header::{
        CONNECTION, LOCATION, RETRY_AFTER, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_EXTENSIONS, SEC_WEBSOCKET_PROTOCOL,
        UPGRADE,
    },
};
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use super::{Chosen, UpgradeFault, Wish};
use crate::link::memory::digest_asked;
use wskeeper_core::{deflate::NOT_OFFERED, event::RetryAfter};

/// What was chosen, of an answer that is a valid 101.
pub(super) fn judge<B>(response: &Response<B>, key: &str, wish: &Wish<'_>) -> Result<Chosen, UpgradeFault> {
    let headers = response.headers();
    if response.status() != StatusCode::SWITCHING_PROTOCOLS {
        return Err(refused(response, wish));
    }
    if response.version() != Version::HTTP_11 {
        return Err(UpgradeFault::Invalid("it is not HTTP/1.1"));
    }
    if !has_token(headers, &UPGRADE, "websocket") {
        return Err(UpgradeFault::Invalid("its Upgrade header does not say websocket"));
    }
    if !has_token(headers, &CONNECTION, "upgrade") {
        return Err(UpgradeFault::Invalid("its Connection header does not hold upgrade"));
    }
    if only(headers, &SEC_WEBSOCKET_ACCEPT) != Some(derive_accept_key(key.as_bytes()).as_bytes()) {
        return Err(UpgradeFault::Invalid(
            "its Sec-WebSocket-Accept does not answer our key: the server, or a cache before it, does not speak WebSocket",
        ));
    }
    chosen(headers, wish)
}

/// What was chosen, of an answer over HTTP/2: any 2xx opens the WebSocket (RFC 8441 §5).
pub(in crate::link) fn judge_carried<B>(response: &Response<B>, wish: &Wish<'_>) -> Result<Chosen, UpgradeFault> {
    if response.status().is_success() { chosen(response.headers(), wish) } else { Err(refused(response, wish)) }
}

fn refused<B>(response: &Response<B>, wish: &Wish<'_>) -> UpgradeFault {
    let headers = response.headers();
    UpgradeFault::Status {
        status: response.status(),
        retry_after: retry_after(headers, wish.calendar.now())
            .map(|asked| RetryAfter::capped(asked, wish.retry_after_max)),
        location: text(headers, &LOCATION).map(str::to_owned),
        asks: if response.status() == StatusCode::UNAUTHORIZED { digest_asked(headers) } else { None },
        rejection: None,
    }
}

fn chosen(headers: &HeaderMap, wish: &Wish<'_>) -> Result<Chosen, UpgradeFault> {
    let mut extensions = headers.get_all(SEC_WEBSOCKET_EXTENSIONS).iter().map(HeaderValue::as_bytes);
    let compression = match wish.compression {
        Some(offer) => offer.judge(extensions).map_err(UpgradeFault::Invalid)?,
        None if extensions.any(|value| !value.is_empty()) => return Err(UpgradeFault::Invalid(NOT_OFFERED)),
        None => None,
    };
    Ok(Chosen { protocol: protocol(headers, wish)?, compression })
}

fn protocol(headers: &HeaderMap, wish: &Wish<'_>) -> Result<Option<usize>, UpgradeFault> {
    if !headers.contains_key(SEC_WEBSOCKET_PROTOCOL) {
        return if wish.protocols.is_empty() || wish.protocols_optional {
            Ok(None)
        } else {
            Err(UpgradeFault::Subprotocol("the server chose none of the subprotocols offered"))
        };
    }
    let chosen = only(headers, &SEC_WEBSOCKET_PROTOCOL);
    let index = wish.protocols.iter().position(|offered| Some(offered.expose().as_bytes()) == chosen);
    index.map(Some).ok_or(UpgradeFault::Subprotocol("the server chose a subprotocol that was not offered"))
}

/// The value of a header that must be there once.
fn only<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a [u8]> {
    let mut values = headers.get_all(name).iter();
    let first = values.next()?;
    values.next().is_none().then(|| first.as_bytes().trim_ascii())
}

fn text<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

fn has_token(headers: &HeaderMap, name: &HeaderName, token: &str) -> bool {
    headers
        .get_all(name)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|part| part.trim().eq_ignore_ascii_case(token))
}

/// What an answer asks for by `Retry-After`.
pub fn retry_after(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    delay(text(headers, &RETRY_AFTER)?, now)
}

/// `Retry-After`: seconds, however many, or a date (RFC 9110 §10.2.3); a date gone by is no delay at all.
fn delay(value: &str, now: SystemTime) -> Option<Duration> {
    let value = value.trim();
    if !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit()) {
        return Some(Duration::from_secs(value.parse().unwrap_or(u64::MAX)));
    }
    let date = httpdate::parse_http_date(value).ok()?;
    Some(date.duration_since(now).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let now = httpdate::parse_http_date("Sun, 06 Nov 1994 08:49:37 GMT").unwrap();
        assert_eq!(delay("120", now), Some(Duration::from_mins(2)));
        assert_eq!(delay("Sun, 06 Nov 1994 08:50:07 GMT", now), Some(Duration::from_secs(30)));
        assert_eq!(delay("Sun, 06 Nov 1994 08:00:00 GMT", now), Some(Duration::ZERO));
        assert_eq!(delay("18446744073709551615", now), Some(Duration::from_secs(u64::MAX)));
        assert_eq!(delay("99999999999999999999999999", now), Some(Duration::from_secs(u64::MAX)));
        assert_eq!(delay("soon", now), None);
        assert_eq!(delay("", now), None);
        assert_eq!(delay("-5", now), None);
    }
}
