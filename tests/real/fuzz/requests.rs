//! Requests that are nearly right, and what may be answered to them.
//!
//! A request that is no HTTP may be answered by the HTTP library alone, without a problem document, or not at all; every other one gets
//! an answer of ours.

use std::{fmt, path::Path};

use http::{HeaderName, HeaderValue, Uri};
use proptest::{
    collection::vec,
    option,
    prelude::{Just, Strategy, any, prop_oneof},
};
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::UnixStream,
    time::timeout,
};

use crate::support::PATIENCE;

/// Every status of docs/api.md, and those of HTTP that stand behind its problems.
const DOCUMENTED: [u16; 18] =
    [101, 200, 202, 204, 400, 401, 403, 404, 405, 409, 413, 415, 421, 422, 426, 429, 503, 504];

/// A request as it goes over the wire, in parts.
#[derive(Clone)]
pub struct Asked {
    method: String,
    target: String,
    headers: Vec<String>,
    body: Vec<u8>,
}

impl fmt::Debug for Asked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.bytes().escape_ascii())
    }
}

impl Asked {
    fn bytes(&self) -> Vec<u8> {
        let mut lines = vec![format!("{} {} HTTP/1.1", self.method, self.target), "host: localhost".to_owned()];
        lines.extend(self.headers.iter().cloned());
        lines.push(format!("content-length: {}\r\nconnection: close\r\n\r\n", self.body.len()));
        [lines.join("\r\n").into_bytes(), self.body.clone()].concat()
    }

    /// Whether it is HTTP that leaves no choice but to answer it.
    fn is_http(&self) -> bool {
        let lines = self.headers.iter().flat_map(|lines| lines.split("\r\n"));
        let mut headers = lines.map(|line| line.split_once(':').unwrap_or_default());
        // A fragment is no part of a request's target, and `Uri` passes over what stands in it.
        !self.target.contains('#')
            && self.target.parse::<Uri>().is_ok()
            && headers.all(|(name, value)| {
                HeaderName::from_bytes(name.as_bytes()).is_ok()
                    && HeaderValue::from_str(value.trim()).is_ok()
                    && !["content-length", "transfer-encoding", "expect"].contains(&name.to_lowercase().as_str())
            })
    }
}

/// Near-valid requests: every part is sometimes right and sometimes anything.
pub fn request() -> impl Strategy<Value = Asked> {
    let method = prop_oneof![
        4 => Just("GET".to_owned()), 4 => Just("POST".to_owned()), 1 => Just("DELETE".to_owned()), 1 => "[A-Z]{1,8}"
    ];
    let target = (prop_oneof![4 => known_path(), 1 => any_path()], query()).prop_map(|(path, query)| path + &query);
    let body = prop_oneof![
        Just(Vec::new()),
        vec(any::<u8>(), 0..64),
        "\\{\"code\": ?[0-9\"a-z]{0,6}\\}".prop_map(String::into_bytes),
        "(\"[a-z]{0,5}\"|\\{\"data\": ?\"[a-z]{0,3}\"(, ?\"binary\": ?(true|1))?\\}|[ -~]{0,8})(\n\"x\")?"
            .prop_map(String::into_bytes)
    ];
    (method, target, vec(header(), 0..4), body).prop_map(|(method, target, headers, body)| Asked {
        method,
        target,
        headers,
        body,
    })
}

fn known_path() -> impl Strategy<Value = String> {
    let name = prop_oneof![6 => Just("e".to_owned()), 1 => "[a-zA-Z0-9_.%~-]{1,8}"];
    let index = prop_oneof![6 => Just("0".to_owned()), 1 => "[0-9a-z-]{1,20}"];
    let plain = prop_oneof![
        Just(""),
        Just("livez"),
        Just("readyz"),
        Just("metrics"),
        Just("v1/endpoints"),
        Just("v1/links"),
        Just("v1/events"),
        Just("v1/openapi.json"),
        Just("v1/reload"),
        Just("v1/plan"),
        Just("v1"),
    ];
    let of_endpoint = prop_oneof![
        Just(""),
        Just("/messages"),
        Just("/messages:batch"),
        Just("/events"),
        Just("/ws"),
        Just("/sticky/k")
    ];
    let of_link = prop_oneof![
        Just(""),
        Just("/history"),
        Just("/close"),
        Just("/reconnect"),
        Just("/pause"),
        Just("/resume"),
        Just("/rotate")
    ];
    prop_oneof![
        1 => plain.prop_map(|path| format!("/{path}")),
        3 => (name.clone(), of_endpoint).prop_map(|(name, rest)| format!("/v1/endpoints/{name}{rest}")),
        2 => (name, index, of_link).prop_map(|(name, index, rest)| format!("/v1/links/{name}/{index}{rest}")),
        1 => "[0-9a-f-]{0,36}".prop_map(|id| format!("/v1/messages/{id}")),
    ]
}

fn any_path() -> impl Strategy<Value = String> {
    let segment = prop_oneof![
        3 => prop_oneof!["v1", "endpoints", "links", "messages", "e", "0", "events", "messages:batch", "close", "ws"],
        1 => "[ -~]{0,12}",
        1 => "%[0-9a-fA-F]{0,2}[a-z]{0,3}",
    ];
    vec(segment, 0..6).prop_map(|path| format!("/{}", path.join("/")))
}

fn query() -> impl Strategy<Value = String> {
    let right = prop_oneof![
        "from=(latest|oldest|[0-9]{1,20})",
        "limit=[0-9]{1,6}",
        "after=e(/0)?",
        "wait=(queued|written|confirmed)",
        "ttl=[0-9]{1,4}(ms|s)",
        "link=[0-9]{1,3}",
        "type=(text|binary)",
        "key=[a-z]{1,3}",
        "phase=[a-z]{1,8}",
        "types=(open|message|gap)(,close)?",
        "on_lag=(gap|close)",
        "links",
    ];
    let wrong = prop_oneof!["(from|limit|after|wait|timeout|ttl|link|type|key|types)=[!-~]{0,12}", "[!-~]{0,20}"];
    // A short patience, so that no answer has to be waited for.
    let right = option::of(right).prop_map(|pair| pair.map_or_else(String::new, |pair| format!("?{pair}")));
    prop_oneof![
        2 => Just(String::new()),
        2 => right,
        1 => "\\?wait=(written|confirmed)&timeout=[0-9]{1,2}ms",
        1 => wrong.prop_map(|pair| format!("?{pair}")),
    ]
}

fn header() -> impl Strategy<Value = String> {
    const KEY: &str = "sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==";
    prop_oneof![
        Just("host: localhost".to_owned()),
        Just("content-type: application/json".to_owned()),
        Just("content-type: application/octet-stream".to_owned()),
        Just("content-type: text/plain".to_owned()),
        Just("upgrade: websocket\r\nconnection: upgrade".to_owned()),
        Just(format!("upgrade: websocket\r\nconnection: upgrade\r\n{KEY}")),
        "idempotency-key: [a-c]",
        "(last-event-id|content-length|content-type|origin|idempotency-key|authorization|accept): [ -~]{0,16}",
        "[!-~]{1,12}: [ -~]{0,12}",
    ]
}

/// What comes back: to the end, or to where an answer without end has begun; nothing where the daemon hangs up.
pub async fn ask(socket: &Path, request: &Asked) -> Vec<u8> {
    let mut stream = UnixStream::connect(socket).await.unwrap();
    let _sent = stream.write_all(&request.bytes()).await;
    // What is not complete will not become so.
    let _ended = if request.is_http() { Ok(()) } else { stream.shutdown().await };
    let mut answer = Vec::new();
    let read = async {
        let mut buffer = [0; 4096];
        while !is_whole(&answer) {
            match stream.read(&mut buffer).await {
                Ok(length) if length > 0 => answer.extend_from_slice(&buffer[..length]),
                Ok(_) | Err(_) => return,
            }
        }
    };
    let _in_time = timeout(PATIENCE, read).await;
    answer
}

fn is_whole(answer: &[u8]) -> bool {
    let Some(end) = answer.windows(4).position(|four| four == b"\r\n\r\n") else { return false };
    let head = String::from_utf8_lossy(&answer[..end]).to_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse::<usize>().ok());
    // Events, the local WebSocket and batches are told by their head alone.
    length.is_none_or(|length| answer.len() >= end + 4 + length)
}

/// What is wrong with an answer.
pub fn judge(request: &Asked, answer: &[u8]) -> Result<(), String> {
    let shown = format!("{request:?}\ngot\n{}", answer.escape_ascii());
    if answer.is_empty() {
        return if request.is_http() { Err(format!("no answer: {shown}")) } else { Ok(()) };
    }
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n").ok_or(format!("no end of the head: {shown}"))?;
    let head = std::str::from_utf8(&answer[..end]).map_err(|_| format!("a head that is no text: {shown}"))?;
    let mut lines = head.split("\r\n");
    let status = lines.next().and_then(|line| line.strip_prefix("HTTP/1.1 ")?.get(..3)?.parse::<u16>().ok());
    let status = status.ok_or(format!("no status: {shown}"))?;
    let mut kind = "";
    for line in lines {
        let (name, value) = line.split_once(": ").ok_or(format!("a header that is none: {shown}"))?;
        if HeaderName::from_bytes(name.as_bytes()).is_err() || HeaderValue::from_str(value).is_err() {
            return Err(format!("a header that is none: {shown}"));
        }
        kind = if name.eq_ignore_ascii_case("content-type") { value } else { kind };
    }
    if !request.is_http() && (400..500).contains(&status) && kind.is_empty() {
        return Ok(());
    }
    if !DOCUMENTED.contains(&status) {
        return Err(format!("status {status} is in no document: {shown}"));
    }
    let body = &answer[end + 4..];
    if status < 400 || request.method == "HEAD" {
        let is_json = kind == "application/json" && request.method != "HEAD";
        let broken = is_json && serde_json::from_slice::<Value>(body).is_err();
        return if broken { Err(format!("JSON that is none: {shown}")) } else { Ok(()) };
    }
    let problem: Value = serde_json::from_slice(body).map_err(|error| format!("{error}: {shown}"))?;
    let is_problem = kind == "application/problem+json"
        && problem["type"].as_str().is_some_and(|name| name.starts_with("urn:wskeeper:problem:"))
        && problem["status"] == status
        && ["title", "detail"].iter().all(|key| problem[key].as_str().is_some_and(|text| !text.is_empty()));
    if is_problem { Ok(()) } else { Err(format!("no problem document: {shown}")) }
}
