//! What went wrong, as RFC 9457 problem details: a stable `type` for programs, a `detail` that tells people what to do.

use axum::{
    body::{Body, Bytes},
    response::{IntoResponse, Response},
};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use serde_json::{Map, Value, json};

use super::{convert, wire};
use crate::observe::words;
use wskeeper_core::{phase::Phase, receipt::Receipt};
use wskeeper_link::pool::{CommandError, OrphanError, Refused};

/// Before a problem's name in its `type`.
pub(super) const TYPE: &str = "urn:wskeeper:problem:";

/// A request that was not carried out.
#[derive(Debug, Clone, PartialEq)]
pub struct Problem {
    status: StatusCode,
    name: &'static str,
    title: &'static str,
    detail: String,
    more: Map<String, Value>,
    retry_after: Option<u32>,
}

impl Problem {
    /// A problem of this status and name.
    pub fn new(status: StatusCode, name: &'static str, title: &'static str, detail: impl Into<String>) -> Self {
        Self { status, name, title, detail: detail.into(), more: Map::new(), retry_after: None }
    }

    /// The request cannot be understood.
    pub fn bad_request(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "bad-request", "The request cannot be understood", detail)
    }

    /// There is no such thing.
    pub fn not_found(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not-found", "There is no such thing", detail)
    }

    /// Too large a body or line.
    pub fn too_large(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "too-large", "The message is too large", detail)
    }

    /// A line of a batch behind one that found no room.
    pub fn not_tried() -> Self {
        let detail = "a line before it found no room; send both again, in this order";
        Self::new(StatusCode::TOO_MANY_REQUESTS, "not-tried", "The line was not tried", detail)
    }

    /// A body, or a line, that does not come to its end.
    pub fn late_body(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::REQUEST_TIMEOUT, "body-timeout", "The body did not come in time", detail)
    }

    /// What has begun to arrive, or an answer, finds no room in `limits.memory`.
    pub fn no_room() -> Self {
        let detail = "limits.memory is used up by what is queued and under way; send again when some of it has gone";
        Self::new(StatusCode::TOO_MANY_REQUESTS, "memory-full", "The daemon holds too much", detail).retry_after(1)
    }

    /// The daemon is stopping.
    pub fn draining() -> Self {
        let detail = "the daemon is stopping; send again when it has started";
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "draining", "The daemon is stopping", detail)
    }

    /// The store does not take what it is given.
    pub fn store(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "store-unavailable", "The store takes no messages", detail)
            .retry_after(5)
    }

    /// The connection that a message is bound to is not the current one, which is this.
    fn other_connection(said: &str, link: String, current: u64, phase: Phase) -> Self {
        let detail = format!("{said}; it was not accepted, and no later connection will have it");
        Self::new(StatusCode::CONFLICT, "other-connection", "Another connection is current", detail)
            .with("link", link.into())
            .with("generation", current.into())
            .with("phase", phase.as_str().into())
    }

    /// A state is waited for that messages of this endpoint never have.
    pub fn not_durable(endpoint: &str) -> Self {
        let detail = format!(
            "messages of {endpoint:?} are kept in memory, so none is ever `stored`; wait for queued, written or confirmed, \
             or set outbox.durability = \"disk\""
        );
        Self::new(StatusCode::CONFLICT, "not-durable", "The endpoint keeps nothing on disk", detail)
    }

    /// A proof is waited for that nothing asks the peer for.
    pub fn not_confirmable(endpoint: &str) -> Self {
        let detail = format!(
            "no ping is sent to {endpoint:?} (heartbeat.ping = false), so nothing proves what its peer has read; wait for queued or \
             written, or let the peer's application acknowledge messages (outbox.ack)"
        );
        Self::new(StatusCode::CONFLICT, "not-confirmable", "Messages of the endpoint are never confirmed", detail)
    }

    /// The awaited state was not reached: in time, or ever.
    pub fn not_reached(receipt: &Receipt, wanted: &str) -> Self {
        let problem = if receipt.state.is_end() {
            let detail = format!("the message ended as {}, so it cannot become {wanted}", receipt.state);
            Self::new(StatusCode::CONFLICT, "ended-otherwise", "The message ended otherwise", detail)
        } else {
            let detail = format!(
                "the message is {} and not yet {wanted}; it stays accepted: look at GET /v1/messages/{}",
                receipt.state, receipt.id
            );
            Self::new(StatusCode::GATEWAY_TIMEOUT, "not-reached", "The state was not reached in time", detail)
        };
        problem.with("receipt", json!(convert::receipt(receipt)))
    }

    /// Adds a member.
    #[must_use]
    pub fn with(mut self, name: &str, value: Value) -> Self {
        self.more.insert(name.to_owned(), value);
        self
    }

    /// A later try may succeed after so many seconds.
    #[must_use]
    pub fn retry_after(mut self, seconds: u32) -> Self {
        self.retry_after = Some(seconds);
        self
    }

    /// Whether the connection that a message was bound to is not the current one.
    pub fn is_other_connection(&self) -> bool {
        self.name == "other-connection"
    }

    /// Whether there was no room, which passes.
    pub fn is_full(&self) -> bool {
        self.status == StatusCode::TOO_MANY_REQUESTS
    }

    /// The sentence for people.
    pub fn detail(&self) -> &str {
        &self.detail
    }

    /// The problem as JSON.
    pub fn json(&self) -> Value {
        let mut members = self.more.clone();
        members.insert("type".into(), format!("{TYPE}{}", self.name).into());
        members.insert("title".into(), self.title.into());
        members.insert("status".into(), self.status.as_u16().into());
        members.insert("detail".into(), self.detail.clone().into());
        Value::Object(members)
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let json = HeaderValue::from_static("application/problem+json");
        let mut response = (self.status, [(header::CONTENT_TYPE, json)], self.json().to_string()).into_response();
        if let Some(seconds) = self.retry_after {
            response.headers_mut().insert(header::RETRY_AFTER, seconds.into());
        }
        // RFC 9110 §12.5.3: which codings would do.
        if self.name == "unsupported-coding" {
            response.headers_mut().insert(header::ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        }
        if self.status == StatusCode::UNAUTHORIZED {
            let bearer = HeaderValue::from_static("Bearer realm=\"wskeeper\"");
            response.headers_mut().insert(header::WWW_AUTHENTICATE, bearer);
        }
        response
    }
}

impl From<Refused> for Problem {
    fn from(refused: Refused) -> Self {
        let said = refused.to_string();
        match refused {
            Refused::NoEndpoint(_) => Self::not_found(format!("{said}; GET /v1/endpoints lists them")),
            Refused::NoLink { .. } => Self::not_found(said),
            Refused::TooBig { bytes, limit } => {
                let said = format!("the message has {bytes} bytes; outbox.max_message of this endpoint is {limit}");
                Self::too_large(said).with("bytes", bytes.into()).with("limit", limit.into())
            }
            Refused::Full { link, messages, bytes, max_messages, max_bytes } => {
                let detail = format!(
                    "{said} (limits: {max_messages} messages, {max_bytes} bytes); send again when the link has taken \
                     some, or raise outbox.max_bytes or outbox.max_messages"
                );
                Self::new(StatusCode::TOO_MANY_REQUESTS, "outbox-full", "The outbox is full", detail)
                    .with("link", link.into())
                    .with("queuedMessages", messages.into())
                    .with("bufferedAmount", bytes.into())
                    .with("maxMessages", max_messages.into())
                    .with("maxBytes", max_bytes.into())
                    .retry_after(1)
            }
            Refused::Budget { used, limit } => {
                let said = format!("the daemon holds {used} bytes of payload; limits.memory is {limit}");
                Self::new(StatusCode::TOO_MANY_REQUESTS, "memory-full", "The daemon holds too much", said)
                    .with("usedBytes", used.into())
                    .with("limitBytes", limit.into())
                    .retry_after(1)
            }
            Refused::Down { link, phase } => {
                let said = format!("{link} is {phase} and outbox.when_down is \"reject\"");
                Self::new(StatusCode::SERVICE_UNAVAILABLE, "link-down", "The link is not ready", said)
                    .with("link", link.into())
                    .with("phase", phase.as_str().into())
                    .retry_after(1)
            }
            Refused::Generation { link, current, phase, .. } => Self::other_connection(&said, link, current, phase),
            Refused::NoRequests(_) => {
                Self::new(StatusCode::CONFLICT, "no-requests", "The endpoint has no requests", said)
            }
            Refused::NoId(_) => Self::bad_request(said),
            Refused::AnyGeneration { .. } => Self::bad_request(format!("{said} (?link=)")),
            Refused::Store(_) => {
                let detail =
                    format!("{said}; it was not accepted: send again when the store takes messages (GET /readyz)");
                Self::store(detail)
            }
            Refused::Undecided => Self::new(
                StatusCode::CONFLICT,
                "undecided",
                "The first request with this key is under way",
                format!("{said}: repeat it with the same key in a moment"),
            )
            .retry_after(1),
            Refused::Draining => Self::draining(),
        }
    }
}

impl From<CommandError> for Problem {
    fn from(error: CommandError) -> Self {
        match error {
            CommandError::NoLink(_) => Self::not_found(format!("{error}; GET /v1/links lists them")),
            CommandError::NoConnection { .. } => Self::new(
                StatusCode::CONFLICT,
                "no-connection",
                "The link has no connection",
                format!("{error}, so nothing was done: try again when it is ready, or `reconnect` it to dial now"),
            ),
            CommandError::Spent { budget, is_spare } => {
                let kept = if is_spare { ", the rest is for links without a connection" } else { "" };
                let until = budget.until.map(|until| format!(" The next may begin at {}.", wire::time(until)));
                let detail = format!(
                    "{error} within {}{kept}, so nothing was done.{} A reload with a higher reconnect.budget.attempts allows more at once",
                    words::span(budget.per),
                    until.unwrap_or_default()
                );
                Self::new(StatusCode::CONFLICT, "attempts-spent", "No attempt is left", detail)
            }
            CommandError::Draining => Self::draining(),
        }
    }
}

impl From<OrphanError> for Problem {
    fn from(error: OrphanError) -> Self {
        let said = error.to_string();
        match error {
            OrphanError::None(_) => Self::not_found(format!("{said}: GET /v1/orphans lists what waits for a link")),
            OrphanError::NoHome(link) => Self::new(
                StatusCode::CONFLICT,
                "no-such-home",
                "The messages cannot go there",
                format!(
                    "{link} is not a link with outbox.durability = \"disk\": name a link of a durable endpoint (GET /v1/endpoints); \
                     nothing was moved"
                ),
            ),
            OrphanError::Store(_) => Self::store(format!("{said}; nothing was changed")),
        }
    }
}

/// A JSON answer.
pub(super) fn answer(status: StatusCode, body: &impl serde::Serialize) -> Response {
    match serde_json::to_vec(body) {
        Ok(json) => in_json(status, HeaderMap::new(), json).map(Body::from),
        Err(error) => Problem::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "internal",
            "The daemon failed",
            format!("the answer cannot be written as JSON: {error}"),
        )
        .into_response(),
    }
}

/// An answer that has been written, with these headers.
pub(super) fn in_json(status: StatusCode, headers: HeaderMap, json: Vec<u8>) -> http::Response<Bytes> {
    let mut response = http::Response::new(json.into());
    (*response.status_mut(), *response.headers_mut()) = (status, headers);
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// An answer that comes bit by bit: nginx, and proxies that follow it, pass on each bit when it has come.
pub(super) fn unbuffered(mut response: Response) -> Response {
    response.headers_mut().insert(HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no"));
    response
}

/// A part of a list as an answer.
pub(super) fn list<T: serde::Serialize>(items: Vec<T>, next: Option<String>) -> Response {
    answer(StatusCode::OK, &wire::List { items, next })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_outbox_says_what_is_held_and_what_to_do() {
        let refused =
            Refused::Full { link: "a/0".into(), messages: 3, bytes: 10, max_messages: 1000, max_bytes: 10240 };
        let problem = Problem::from(refused);
        let json = problem.json();
        assert_eq!(json["type"], "urn:wskeeper:problem:outbox-full");
        assert_eq!((&json["status"], &json["bufferedAmount"]), (&json!(429), &json!(10)));
        assert!(json["detail"].as_str().is_some_and(|detail| detail.contains("10240 bytes")));
        let response = problem.into_response();
        assert_eq!(response.headers()[header::CONTENT_TYPE], "application/problem+json");
        assert_eq!(response.headers()[header::RETRY_AFTER], "1");
    }
}
