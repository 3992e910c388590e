//! Sending a message, and what became of it.
//!
//! The body of a send is the message as it is. What a reader would get wrong: a send does not always come by
//! way of the router. Almost every request is one, so [`sent_to`] recognises the plain form first. Either way it passes
//! `access::admit` once, and then [`take`].

use std::{fmt::Display, sync::Arc, time::Duration};

use axum::{
    Extension,
    body::{Body, Bytes, HttpBody},
    extract::{Path, State},
    response::Response,
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode, header, request::Parts};

use super::{
    Shared,
    access::Grant,
    body::message,
    convert,
    problem::{Problem, answer, in_json},
    query::Params,
};
use wskeeper_core::{
    link,
    message::{Kind, MessageId, Payload},
    receipt::{Receipt, State as ReceiptState},
};
use wskeeper_link::clock::Moment;
use wskeeper_link::pool::{Pool, Send};

/// How long a caller waits who names no timeout, and at most.
pub(super) const TIMEOUT: Duration = Duration::from_secs(30);
const TIMEOUT_MAX: Duration = Duration::from_mins(10);
/// The header that names a send.
static IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
/// The longest idempotency key.
const NAME_MAX: usize = 255;
/// The longest ordering and conflation key, in bytes.
const KEY_MAX: usize = 512;

/// `POST /v1/endpoints/{name}/messages`
#[cfg_attr(test, utoipa::path(post, path = "/v1/endpoints/{name}/messages", tag = "messages", operation_id = "send",
    params(("name" = String, Path, description = "The endpoint."),
        ("type" = Option<String>, Query, description = "`text` or `binary`, whatever the content type."),
        ("key" = Option<String>, Query, description = "Ordering and conflation key."),
        ("ttl" = Option<String>, Query, description = "Not sent after this, such as `20s`."),
        ("link" = Option<u32>, Query, description = "The link. By default the pool chooses."),
        ("generation" = Option<u64>, Query, description = "Only on the connection with this number; 409 if another is current."),
        ("If-Match" = Option<String>, Header, description = "The same as `generation`, in double quotes."),
        ("wait" = Option<String>, Query, description = "`queued`, `stored`, `written` or `confirmed`."),
        ("timeout" = Option<String>, Query, description = "How long to wait for it, and for room in the outbox. Default: `30s`."),
        ("Idempotency-Key" = Option<String>, Header, description = "A repeat within 10 minutes gets the receipt of the first.")),
    request_body(description = "The message as it is: text (`text/*`, any JSON, a form), or binary.",
        content((String = "text/plain"), (Object = "application/json"), ("application/octet-stream"))),
    responses((status = 202, description = "Accepted.", body = super::wire::Receipt),
        (status = 200, description = "The awaited state was reached.", body = super::wire::Receipt), (status = "default", description = "A problem (RFC 9457).", content_type = "application/problem+json", body = super::wire::Problem))))]
pub(super) async fn send(
    State(shared): State<Arc<Shared>>,
    Path(name): Path<Arc<str>>,
    request: axum::extract::Request,
) -> Result<Response, Problem> {
    let (head, body) = request.into_parts();
    Ok(take(&shared, name, head, body).await?.map(Body::from))
}

/// The endpoint that a request sends a message to, in the plain form that almost all callers use: its name needs no decoding.
pub(super) fn sent_to<B>(request: &Request<B>) -> Option<Arc<str>> {
    let name = request.uri().path().strip_prefix("/v1/endpoints/")?.strip_suffix("/messages")?;
    let is_plain = request.method() == Method::POST && !name.is_empty() && !name.contains(['/', '%']);
    is_plain.then(|| name.into())
}

/// Takes the message of a request that `access::admit` has let in.
pub(super) async fn take<B>(
    shared: &Shared,
    name: Arc<str>,
    head: Parts,
    body: B,
) -> Result<http::Response<Bytes>, Problem>
where
    B: HttpBody<Data = Bytes, Error: Display> + Unpin,
{
    let body = message(body, shared, &name).await?;
    let Parts { uri, headers, .. } = head;
    let wish = Wish::read(name, uri.query(), &headers, body)?;
    // The head is a part of the connection's buffer, which serves again only when nobody holds a part of it.
    drop(uri);
    wish.fulfil(&shared.pool, headers).await
}

/// What a request asks to be sent, and how far its caller waits.
struct Wish {
    send: Send,
    wanted: ReceiptState,
    timeout: Duration,
}

impl Wish {
    fn read(endpoint: Arc<str>, query: Option<&str>, headers: &HeaderMap, body: Bytes) -> Result<Self, Problem> {
        let params = Params::read(query, &["type", "key", "ttl", "link", "generation", "wait", "timeout"])?;
        let wanted =
            params.with("wait", "queued, stored, written or confirmed", wanted)?.unwrap_or(ReceiptState::Queued);
        let send = Send {
            ttl: params.duration("ttl")?,
            idempotency_key: headers.get(&IDEMPOTENCY_KEY).map(idempotency_key).transpose()?,
            wants_confirmation: wanted == ReceiptState::Confirmed,
            ..read_send(endpoint, &params, headers, body)?
        };
        Ok(Self { timeout: send.patience, send, wanted })
    }

    /// Sends; the map of the request's headers has room for those of the answer.
    async fn fulfil(self, pool: &Pool, mut headers: HeaderMap) -> Result<http::Response<Bytes>, Problem> {
        headers.clear();
        let (status, receipt) = deliver(pool, self.send, self.wanted, self.timeout).await?;
        let location = [b"/v1/messages/", &receipt.id.digits()[..]].concat();
        if let Ok(location) = HeaderValue::from_maybe_shared(Bytes::from(location)) {
            headers.insert(header::LOCATION, location);
        }
        Ok(in_json(status, headers, convert::receipt(&receipt).json()))
    }
}

/// What a query and headers say of any send, a request too: as long as it may wait for room its caller waits for the outcome.
pub(super) fn read_send(
    endpoint: Arc<str>,
    params: &Params,
    headers: &HeaderMap,
    body: Bytes,
) -> Result<Send, Problem> {
    Ok(Send {
        link: params.parse("link", "the number of a link")?,
        key: params.get("key").map(ordering_key).transpose()?,
        generation: generation(params, headers)?,
        patience: patience(params.duration("timeout")?)?,
        ..Send::new(endpoint, payload(kind(params, headers)?, body)?)
    })
}

/// How long a caller waits, by the timeout that it asks for.
pub(super) fn patience(timeout: Option<Duration>) -> Result<Duration, Problem> {
    match timeout.unwrap_or(TIMEOUT) {
        timeout if timeout > TIMEOUT_MAX => {
            let minutes = TIMEOUT_MAX.as_secs() / 60;
            Err(Problem::bad_request(format!(
                "timeout: {timeout:?} is more than {minutes}min, the longest that is waited"
            )))
        }
        timeout => Ok(timeout),
    }
}

/// `GET /v1/messages/{id}`
#[cfg_attr(test, utoipa::path(get, path = "/v1/messages/{id}", tag = "messages", operation_id = "receipt",
    params(("id" = String, Path, description = "As the receipt says.")),
    responses((status = 200, description = "What happened to it.", body = super::wire::Receipt), (status = "default", description = "A problem (RFC 9457).", content_type = "application/problem+json", body = super::wire::Problem))))]
pub(super) async fn receipt(
    State(shared): State<Arc<Shared>>,
    Extension(grant): Extension<Grant>,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    let found = id.parse::<MessageId>().ok().and_then(|id| shared.pool.receipt(id));
    match found.filter(|receipt| grant.sees(&receipt.endpoint)) {
        Some(receipt) => Ok(answer(StatusCode::OK, &convert::receipt(&receipt))),
        None => Err(Problem::not_found(format!(
            "no receipt {id:?} is kept; receipts of messages at rest are kept for receipts.keep, up to limits.receipts"
        ))),
    }
}

/// Sends and waits: 202 when accepted, 200 when the awaited state was reached.
pub(super) async fn deliver(
    pool: &Pool,
    send: Send,
    wanted: ReceiptState,
    timeout: Duration,
) -> Result<(StatusCode, Receipt), Problem> {
    if wanted == ReceiptState::Queued {
        return Ok((StatusCode::ACCEPTED, pool.send(send).await?));
    }
    Box::pin(deliver_and_wait(pool, send, wanted, timeout)).await
}

async fn deliver_and_wait(
    pool: &Pool,
    send: Send,
    wanted: ReceiptState,
    timeout: Duration,
) -> Result<(StatusCode, Receipt), Problem> {
    look_at_wait(pool, &send.endpoint, wanted)?;
    let until = tokio::time::Instant::now().later(timeout);
    let receipt = pool.send(send).await?;
    let patience = until.saturating_duration_since(tokio::time::Instant::now());
    let receipt = pool.settle(receipt.id, wanted, patience).await.unwrap_or(receipt);
    if has_reached(receipt.state, wanted) {
        Ok((StatusCode::OK, receipt))
    } else {
        Err(Problem::not_reached(&receipt, wanted.as_str()))
    }
}

/// The states a caller may wait for.
pub(super) fn wanted(word: &str) -> Option<ReceiptState> {
    let waited_for = |state: &ReceiptState| {
        matches!(state, ReceiptState::Queued | ReceiptState::Stored | ReceiptState::Written | ReceiptState::Confirmed)
    };
    ReceiptState::from_word(word).filter(waited_for)
}

/// Refuses to wait for `stored` where nothing is put on disk. An endpoint that is not there is for the send to refuse.
pub(super) fn look_at_wait(pool: &Pool, endpoint: &str, wanted: ReceiptState) -> Result<(), Problem> {
    let asks = |can: fn(&link::Policy) -> bool| pool.endpoint(endpoint).is_none_or(|view| can(&view.config.link));
    match wanted {
        ReceiptState::Stored if !asks(|link| link.outbox.durable) => Err(Problem::not_durable(endpoint)),
        ReceiptState::Confirmed if !asks(|link| link.heartbeat.pings() || link.outbox.ack.is_some()) => {
            Err(Problem::not_confirmable(endpoint))
        }
        ReceiptState::Queued
        | ReceiptState::Stored
        | ReceiptState::Written
        | ReceiptState::Confirmed
        | ReceiptState::Unknown
        | ReceiptState::Expired
        | ReceiptState::Dropped
        | ReceiptState::Dead => Ok(()),
    }
}

/// A payload of this kind.
pub(super) fn payload(kind: Kind, bytes: Bytes) -> Result<Payload, Problem> {
    match kind {
        Kind::Binary => Ok(Payload::binary(bytes)),
        Kind::Text => Payload::text(bytes).map_err(|error| {
            Problem::bad_request(format!("a text message must be UTF-8: {error}; send it with ?type=binary"))
        }),
    }
}

pub(super) fn kind_of_word(word: &str) -> Option<Kind> {
    [Kind::Text, Kind::Binary].into_iter().find(|kind| kind.as_str() == word)
}

fn has_reached(state: ReceiptState, wanted: ReceiptState) -> bool {
    match state {
        ReceiptState::Queued | ReceiptState::Stored | ReceiptState::Written | ReceiptState::Confirmed => {
            state >= wanted
        }
        // It was written before it became unknown.
        ReceiptState::Unknown => wanted <= ReceiptState::Written,
        ReceiptState::Expired | ReceiptState::Dropped | ReceiptState::Dead => false,
    }
}

/// What kind of message a body is.
fn kind(params: &Params, headers: &HeaderMap) -> Result<Kind, Problem> {
    params.with("type", "text or binary", kind_of_word)?.map_or_else(|| kind_of_type(headers), Ok)
}

/// `text/*`, JSON, a form (which `curl -d` sends) and nothing at all are text.
pub(super) fn kind_of_type(headers: &HeaderMap) -> Result<Kind, Problem> {
    let Some(value) = headers.get(header::CONTENT_TYPE) else { return Ok(Kind::Text) };
    let value = value.to_str().unwrap_or_default();
    let essence = value.split(';').next().unwrap_or_default().trim();
    let begins = |start: &str| essence.get(..start.len()).is_some_and(|it| it.eq_ignore_ascii_case(start));
    let ends = |end: &str| {
        let start = essence.len().checked_sub(end.len()).and_then(|at| essence.get(at..));
        start.is_some_and(|it| it.eq_ignore_ascii_case(end))
    };
    let is = |word: &str| essence.eq_ignore_ascii_case(word);
    let is_text = essence.is_empty()
        || begins("text/")
        || ends("+json")
        || is("application/json")
        || is("application/x-www-form-urlencoded");
    if is_text {
        Ok(Kind::Text)
    } else if is("application/octet-stream") {
        Ok(Kind::Binary)
    } else {
        Err(Problem::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "unsupported-type",
            "The content type says neither text nor binary",
            format!(
                "{:?}: send text/plain, application/json or application/octet-stream, or say ?type=",
                essence.to_ascii_lowercase()
            ),
        ))
    }
}

/// An ordering and conflation key: it is kept as long as its message.
pub(super) fn ordering_key(key: &str) -> Result<Box<str>, Problem> {
    if key.len() <= KEY_MAX {
        Ok(key.into())
    } else {
        Err(Problem::bad_request(format!("key has {} bytes and may have {KEY_MAX}: make it shorter", key.len())))
    }
}

/// An idempotency key in JSON: it is kept with the receipt.
pub(super) fn name_of_send(key: &str) -> Result<Box<str>, Problem> {
    if (1..=NAME_MAX).contains(&key.len()) {
        Ok(key.into())
    } else {
        Err(Problem::bad_request(format!("idempotencyKey must have 1 to {NAME_MAX} bytes")))
    }
}

/// The connection that a send is bound to: `?generation=`, or `If-Match` as the strong validator that it is (RFC 9110 §13.1.1).
pub(super) fn generation(params: &Params, headers: &HeaderMap) -> Result<Option<u64>, Problem> {
    let asked = params.parse("generation", "the number of a connection")?;
    let mut matches = headers.get_all(header::IF_MATCH).iter();
    let Some(value) = matches.next() else { return Ok(asked) };
    let text = value.to_str().unwrap_or_default().trim();
    let number = text.strip_prefix('"').and_then(|text| text.strip_suffix('"')).unwrap_or(text).parse::<u64>();
    match (number, asked) {
        (Ok(number), None) if matches.next().is_none() => Ok(Some(number)),
        (Ok(number), Some(asked)) if matches.next().is_none() && number == asked => Ok(Some(number)),
        (Ok(_) | Err(_), _) => Err(Problem::bad_request(format!(
            "If-Match {text:?} is not the number of one connection in double quotes, such as \"3\", the same as ?generation= where both \
             are given"
        ))),
    }
}

fn idempotency_key(value: &HeaderValue) -> Result<Box<str>, Problem> {
    name_of_send(value.to_str().unwrap_or_default())
        .map_err(|_| Problem::bad_request(format!("Idempotency-Key must be 1 to {NAME_MAX} visible ASCII characters")))
}

/// A payload from JSON: text as it is, binary in base64.
pub(super) fn data(data: String, binary: bool) -> Result<Payload, Problem> {
    if binary {
        let bytes = STANDARD.decode(data.as_bytes());
        bytes.map(Payload::binary).map_err(|error| Problem::bad_request(format!("data is not base64: {error}")))
    } else {
        Ok(Payload::checked_text(data))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(value: &'static str) -> Result<Kind, Problem> {
        let headers = HeaderMap::from_iter([(header::CONTENT_TYPE, HeaderValue::from_static(value))]);
        kind_of_type(&headers)
    }

    #[test]
    fn the_content_type_says_text_or_binary() {
        for text in ["text/plain", "text/csv; charset=utf-8", "application/json", "application/x-www-form-urlencoded"] {
            assert_eq!(kind(text), Ok(Kind::Text), "{text}");
        }
        assert_eq!(kind("application/octet-stream"), Ok(Kind::Binary));
        assert!(kind("image/png").is_err());
        assert_eq!(kind_of_type(&HeaderMap::new()), Ok(Kind::Text));
    }

    #[test]
    fn text_that_is_no_utf8_is_refused_with_a_way_out() {
        let problem = payload(Kind::Text, Bytes::from_static(&[0xff])).expect_err("not UTF-8");
        assert!(problem.detail().contains("?type=binary"));
        assert!(payload(Kind::Binary, Bytes::from_static(&[0xff])).is_ok());
    }

    #[test]
    fn written_counts_as_reached_also_for_a_message_that_became_unknown() {
        assert!(has_reached(ReceiptState::Unknown, ReceiptState::Written));
        assert!(!has_reached(ReceiptState::Unknown, ReceiptState::Confirmed));
        assert!(!has_reached(ReceiptState::Expired, ReceiptState::Written));
    }
}
