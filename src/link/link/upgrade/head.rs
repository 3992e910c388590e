//! The heads of the upgrade: the request as bytes, and bytes as an answer.
//!
//! What a reader would get wrong: a header's value may hold UTF-8 and secrets, so it is looked at, but never shown.

use std::{borrow::Cow, mem::MaybeUninit};

use http::{
    HeaderName, HeaderValue, Method, Request, Response, StatusCode, Uri, Version,
    header::{
        AUTHORIZATION, COOKIE, HOST, PROXY_AUTHORIZATION, SEC_WEBSOCKET_EXTENSIONS, SEC_WEBSOCKET_PROTOCOL,
        SEC_WEBSOCKET_VERSION, USER_AGENT,
    },
};
use httparse::{ParserConfig, Status};
use tokio::io::{AsyncRead, AsyncReadExt as _};

use super::{UpgradeFault, Wish};
use crate::endpoint::{FieldName, Secret};

/// The head of an answer may have this many bytes, with all interim answers before it.
const MOST_BYTES: usize = 16 << 10;
/// And so many header lines.
pub(in crate::link) const MOST_LINES: usize = 100;
/// Read at once.
const READ: usize = 1 << 10;
/// Room that a request begins with: most need no more.
const ROOM: usize = 256;

/// Headers of a connection, which HTTP/2 does not have (RFC 9113 §8.2.2).
const OF_CONNECTIONS: [&str; 6] =
    ["connection", "keep-alive", "proxy-connection", "te", "transfer-encoding", "upgrade"];

/// What we call ourselves unless the user says otherwise (RFC 9110 §10.1.5).
const OURSELVES: &str = concat!("wskeeper/", env!("CARGO_PKG_VERSION"));

/// The request. Where a header of the user's has the name of one of the target's, it stands in its place.
pub(super) fn write(wish: &Wish<'_>, key: &str) -> Result<Vec<u8>, UpgradeFault> {
    let target = wish.target.request_target();
    if target.parse::<Uri>().is_err() {
        return Err(UpgradeFault::RequestTarget);
    }
    let own = |name: &HeaderName| wish.headers.iter().any(|(other, _)| *other == *name);
    let mut head = Head::of(&["GET ", target, " HTTP/1.1\r\n"]);
    // First, as RFC 9112 §3.2 would have it.
    for (name, value) in wish.headers.iter().filter(|(name, _)| *name == HOST) {
        head.push(name.written(), value.expose())?;
    }
    if !own(&HOST) {
        head.push("Host", wish.target.authority())?;
    }
    head.push("Connection", "Upgrade")?;
    head.push("Upgrade", "websocket")?;
    head.push("Sec-WebSocket-Version", "13")?;
    head.push("Sec-WebSocket-Key", key)?;
    if !wish.protocols.is_empty() {
        let offered: Vec<&str> = wish.protocols.iter().map(Secret::expose).collect();
        head.push("Sec-WebSocket-Protocol", &offered.join(", "))?;
    }
    if let Some(offer) = wish.compression {
        head.push("Sec-WebSocket-Extensions", &offer.text())?;
    }
    if !own(&USER_AGENT) {
        head.push("User-Agent", OURSELVES)?;
    }
    if let Some(authorization) = &wish.authorization {
        head.push("Authorization", authorization.expose())?;
    }
    if !own(&COOKIE)
        && let Some(cookies) = wish.cookies(None)
    {
        head.push("Cookie", cookies.expose())?;
    }
    for (name, value) in wish.headers.iter().filter(|(name, _)| *name != HOST) {
        let cookies = if *name == COOKIE { wish.cookies(Some(value.expose())) } else { None };
        head.push(name.written(), cookies.as_ref().unwrap_or(value).expose())?;
    }
    head.0.extend_from_slice(b"\r\n");
    Ok(head.0)
}

/// The request of an extended CONNECT (RFC 8441 §4). All that the user gives is sent as what no table of names and values is to hold,
/// for it may be a secret; and what HTTP/2 has no place for is left out.
pub(in crate::link) fn carried(wish: &Wish<'_>) -> Result<Request<()>, UpgradeFault> {
    let own = |name: &HeaderName| wish.headers.iter().find(|(other, _)| *other == *name).map(|(_, value)| value);
    let authority = own(&HOST).map_or(wish.target.authority(), Secret::expose);
    let scheme = if wish.target.tls { "https" } else { "http" };
    let uri = Uri::builder().scheme(scheme).authority(authority).path_and_query(wish.target.request_target());
    let mut request = Request::new(());
    *request.method_mut() = Method::CONNECT;
    *request.version_mut() = Version::HTTP_2;
    *request.uri_mut() = uri.build().map_err(|_| UpgradeFault::RequestTarget)?;
    let headers = request.headers_mut();
    headers.insert(SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
    if !wish.protocols.is_empty() {
        let offered: Vec<&str> = wish.protocols.iter().map(Secret::expose).collect();
        headers.insert(SEC_WEBSOCKET_PROTOCOL, confidential(SEC_WEBSOCKET_PROTOCOL.as_str(), &offered.join(", "))?);
    }
    if let Some(offer) = wish.compression.and_then(|offer| HeaderValue::from_maybe_shared(offer.text()).ok()) {
        headers.insert(SEC_WEBSOCKET_EXTENSIONS, offer);
    }
    if own(&USER_AGENT).is_none() {
        headers.insert(USER_AGENT, HeaderValue::from_static(OURSELVES));
    }
    if let Some(authorization) = &wish.authorization {
        headers.insert(AUTHORIZATION, confidential(AUTHORIZATION.as_str(), authorization.expose())?);
    }
    if let Some(cookies) = wish.cookies(own(&COOKIE).map(Secret::expose)) {
        headers.insert(COOKIE, confidential(COOKIE.as_str(), cookies.expose())?);
    }
    let has_place = |name: &HeaderName| *name != HOST && !OF_CONNECTIONS.contains(&name.as_str());
    for (name, value) in wish.headers.iter().filter(|(name, _)| has_place(name)) {
        // The user's cookies stand before those of the jar already.
        if !(*name == COOKIE && headers.contains_key(COOKIE)) {
            headers.append((**name).clone(), confidential(name.written(), value.expose())?);
        }
    }
    Ok(request)
}

fn confidential(name: &str, value: &str) -> Result<HeaderValue, UpgradeFault> {
    // Not `from_str`: it refuses UTF-8.
    let mut value = HeaderValue::from_bytes(value.as_bytes()).map_err(|_| UpgradeFault::HeaderValue(name.into()))?;
    value.set_sensitive(true);
    Ok(value)
}

/// The request to a proxy for a way to this server. A header of the user's wins over what follows from the proxy's URL.
pub(in crate::link) fn connect(
    server: &str,
    basic: Option<&Secret>,
    headers: &[(FieldName, Secret)],
) -> Result<Vec<u8>, UpgradeFault> {
    let own = |name: &HeaderName| headers.iter().any(|(other, _)| *other == *name);
    let mut head = Head::of(&["CONNECT ", server, " HTTP/1.1\r\nHost: ", server, "\r\n"]);
    if !own(&USER_AGENT) {
        head.push("User-Agent", OURSELVES)?;
    }
    if let Some(basic) = basic.filter(|_| !own(&PROXY_AUTHORIZATION)) {
        head.push("Proxy-Authorization", basic.expose())?;
    }
    for (name, value) in headers {
        head.push(name.written(), value.expose())?;
    }
    head.0.extend_from_slice(b"\r\n");
    Ok(head.0)
}

struct Head(Vec<u8>);

impl Head {
    fn of(first: &[&str]) -> Self {
        let mut head = Self(Vec::with_capacity(ROOM));
        head.extend(first);
        head
    }

    fn push(&mut self, name: &str, value: &str) -> Result<(), UpgradeFault> {
        if !can_be_sent(value) {
            return Err(UpgradeFault::HeaderValue(name.into()));
        }
        self.extend(&[name, ": ", value, "\r\n"]);
        Ok(())
    }

    fn extend(&mut self, parts: &[&str]) {
        for part in parts {
            self.0.extend_from_slice(part.as_bytes());
        }
    }
}

/// Whether a header may have this value, UTF-8 too: what `HeaderValue::from_bytes` says, without the copy that it makes.
fn can_be_sent(value: &str) -> bool {
    value.bytes().all(|byte| matches!(byte, b'\t' | b' '..=b'~' | 0x80..))
}

/// The final answer, and what came behind it.
pub(in crate::link) async fn read<S: AsyncRead + Unpin>(
    stream: &mut S,
) -> Result<(Response<()>, Vec<u8>), UpgradeFault> {
    let (mut came, mut gone) = (Vec::new(), 0);
    loop {
        came.reserve_exact(READ);
        match stream.read_buf(&mut came).await {
            Ok(0) => return Err(UpgradeFault::Ended),
            Ok(_) => {}
            Err(error) => return Err(UpgradeFault::from_io(&error)),
        }
        while let Some((response, length)) = parse(&came)? {
            came.drain(..length);
            // What is left lives as long as the connection; most often that is nothing.
            came.shrink_to_fit();
            gone += length;
            let status = response.status();
            // RFC 9110 §15.2: interim answers that were not asked for are passed over.
            if !status.is_informational() || status == StatusCode::SWITCHING_PROTOCOLS {
                return Ok((response, came));
            }
        }
        if gone + came.len() >= MOST_BYTES {
            return Err(UpgradeFault::TooLarge);
        }
    }
}

/// An answer and its length, once its head is complete.
fn parse(bytes: &[u8]) -> Result<Option<(Response<()>, usize)>, UpgradeFault> {
    let mut lines = [const { MaybeUninit::uninit() }; MOST_LINES];
    let mut head = httparse::Response::new(&mut []);
    let mut config = ParserConfig::default();
    config.allow_obsolete_multiline_headers_in_responses(true);
    let length = match config.parse_response_with_uninit_headers(&mut head, bytes, &mut lines) {
        Ok(Status::Complete(length)) => length,
        Ok(Status::Partial) => return Ok(None),
        Err(httparse::Error::TooManyHeaders) => return Err(UpgradeFault::TooManyLines),
        Err(error) => return Err(UpgradeFault::NotHttp(error.to_string())),
    };
    let odd = |what: &str| UpgradeFault::NotHttp(what.to_owned());
    let mut response = Response::new(());
    *response.version_mut() = if head.version == Some(1) { Version::HTTP_11 } else { Version::HTTP_10 };
    *response.status_mut() =
        head.code.and_then(|code| StatusCode::from_u16(code).ok()).ok_or_else(|| odd("invalid response status"))?;
    for line in head.headers.iter() {
        let name = HeaderName::from_bytes(line.name.as_bytes()).map_err(|_| odd("invalid header name"))?;
        let value = HeaderValue::from_bytes(&unfolded(line.value)).map_err(|_| odd("invalid header value"))?;
        response.headers_mut().append(name, value);
    }
    Ok(Some((response, length)))
}

/// A value that was folded over several lines, in one: each fold is read as spaces (RFC 9112 §5.2).
fn unfolded(value: &[u8]) -> Cow<'_, [u8]> {
    let is_fold = |byte: &u8| matches!(byte, b'\r' | b'\n');
    if !value.iter().any(is_fold) {
        return value.trim_ascii().into();
    }
    let spaced: Vec<u8> = value.iter().map(|byte| if is_fold(byte) { b' ' } else { *byte }).collect();
    spaced.trim_ascii().to_vec().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_can_be_sent_where_the_crate_of_headers_takes_it() {
        for letter in (0..=0x2ff).filter_map(char::from_u32) {
            let value = format!("a{letter}b");
            assert_eq!(can_be_sent(&value), HeaderValue::from_bytes(value.as_bytes()).is_ok(), "{letter:?}");
        }
    }
}
