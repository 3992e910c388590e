//! Sending: one message, or a stream of them, and what became of each.
//!
//! The body of a send is the message as it is. A batch is read and answered line by line, so that a million lines take no
//! more memory than one.

use std::{sync::Arc, time::Duration};

use axum::{
    Extension,
    body::{Body, Bytes},
    extract::{Path, RawQuery, State},
    response::{IntoResponse, Response},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use futures_util::{FutureExt, StreamExt};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use serde::Deserialize;
use serde_json::json;

use super::{
    Shared,
    access::Grant,
    body::Whole,
    convert,
    lines::Lines,
    problem::{Problem, answer},
    query::Params,
    wire,
};
use crate::{
    core::{
        message::{Kind, MessageId, Payload},
        receipt::{Receipt, State as Rung},
    },
    pool::{Pool, Send, Stop},
};

/// How long a caller waits who names no timeout, and at most.
const TIMEOUT: Duration = Duration::from_secs(30);
const TIMEOUT_MAX: Duration = Duration::from_mins(10);
/// The longest idempotency key.
const KEY_MAX: usize = 255;
/// Lines of a batch that are offered together, at most: they share a question to their link, and a sync of the store.
const CHUNK: usize = 256;
/// Receipts that may wait for a slow reader of a batch's answer.
const BATCH_AHEAD: usize = 64;

/// `POST /v1/endpoints/{name}/messages`
#[utoipa::path(post, path = "/v1/endpoints/{name}/messages", tag = "messages", operation_id = "send",
    params(("name" = String, Path, description = "The endpoint."),
        ("type" = Option<String>, Query, description = "`text` or `binary`, whatever the content type."),
        ("key" = Option<String>, Query, description = "Ordering and conflation key."),
        ("ttl" = Option<String>, Query, description = "Not sent after this, such as `20s`."),
        ("link" = Option<u32>, Query, description = "This link; none: the pool chooses."),
        ("wait" = Option<String>, Query, description = "`queued`, `stored`, `written` or `confirmed`."),
        ("timeout" = Option<String>, Query, description = "How long to wait for it, and for room; `30s` unless given."),
        ("Idempotency-Key" = Option<String>, Header, description = "A repeat within 10 minutes has the first one's receipt.")),
    request_body(content = String, description = "The message as it is.", content_type = "text/plain"),
    responses((status = 202, description = "Accepted.", body = wire::Receipt),
        (status = 200, description = "The awaited state was reached.", body = wire::Receipt), (status = "default", description = "A problem (RFC 9457).", content_type = "application/problem+json", body = wire::Problem)))]
pub(super) async fn send(
    State(shared): State<Arc<Shared>>,
    Path(name): Path<String>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    Whole(body): Whole,
) -> Result<Response, Problem> {
    let params = Params::read(query.as_deref(), &["type", "key", "ttl", "link", "wait", "timeout"])?;
    let kind = params.with("type", "text or binary", kind_of_word)?.map_or_else(|| kind_of_type(&headers), Ok)?;
    let wanted = params.with("wait", "queued, stored, written or confirmed", wanted)?.unwrap_or(Rung::Queued);
    let timeout = params.duration("timeout")?.unwrap_or(TIMEOUT).min(TIMEOUT_MAX);
    let idempotency_key = headers.get("idempotency-key").map(idempotency_key).transpose()?;
    let send = Send {
        endpoint: name.into(),
        link: params.parse("link", "the number of a link")?,
        key: params.get("key").map(Into::into),
        ttl: params.duration("ttl")?,
        idempotency_key,
        wants_confirmation: wanted == Rung::Confirmed,
        patience: timeout,
        payload: payload(kind, body)?,
    };
    let (status, receipt) = deliver(&shared.pool, send, wanted, timeout).await?;
    let mut response = answer(status, &convert::receipt(&receipt));
    if let Ok(location) = HeaderValue::try_from(format!("/v1/messages/{}", receipt.id)) {
        response.headers_mut().insert(header::LOCATION, location);
    }
    Ok(response)
}

/// `GET /v1/messages/{id}`
#[utoipa::path(get, path = "/v1/messages/{id}", tag = "messages", operation_id = "receipt",
    params(("id" = String, Path, description = "As the receipt says.")),
    responses((status = 200, description = "What became of it.", body = wire::Receipt), (status = "default", description = "A problem (RFC 9457).", content_type = "application/problem+json", body = wire::Problem)))]
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
    wanted: Rung,
    timeout: Duration,
) -> Result<(StatusCode, Receipt), Problem> {
    look_at_wait(pool, &send.endpoint, wanted)?;
    let until = tokio::time::Instant::now() + timeout;
    let receipt = pool.send(send).await?;
    if wanted == Rung::Queued {
        return Ok((StatusCode::ACCEPTED, receipt));
    }
    let patience = until.saturating_duration_since(tokio::time::Instant::now());
    let receipt = pool.settle(receipt.id, wanted, patience).await.unwrap_or(receipt);
    if has_reached(receipt.state, wanted) {
        Ok((StatusCode::OK, receipt))
    } else {
        Err(Problem::not_reached(&receipt, wanted.as_str()))
    }
}

/// The states a caller may wait for.
pub(super) fn wanted(word: &str) -> Option<Rung> {
    let waited_for = |state: &Rung| matches!(state, Rung::Queued | Rung::Stored | Rung::Written | Rung::Confirmed);
    Rung::from_word(word).filter(waited_for)
}

/// Refuses to wait for `stored` where nothing is put on disk. An endpoint that is not there is for the send to refuse.
pub(super) fn look_at_wait(pool: &Pool, endpoint: &str, wanted: Rung) -> Result<(), Problem> {
    let is_durable = || pool.endpoint(endpoint).is_none_or(|view| view.config.link.outbox.durable);
    if wanted == Rung::Stored && !is_durable() { Err(Problem::not_durable(endpoint)) } else { Ok(()) }
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

fn has_reached(state: Rung, wanted: Rung) -> bool {
    match state {
        Rung::Queued | Rung::Stored | Rung::Written | Rung::Confirmed => state >= wanted,
        // It was written before it became unknown.
        Rung::Unknown => wanted <= Rung::Written,
        Rung::Expired | Rung::Dropped | Rung::Dead => false,
    }
}

/// `text/*`, JSON, a form (which `curl -d` sends) and nothing at all are text.
fn kind_of_type(headers: &HeaderMap) -> Result<Kind, Problem> {
    let Some(value) = headers.get(header::CONTENT_TYPE) else { return Ok(Kind::Text) };
    let value = value.to_str().unwrap_or_default();
    let essence = value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    match essence.as_str() {
        "application/octet-stream" => Ok(Kind::Binary),
        "" | "application/json" | "application/x-www-form-urlencoded" => Ok(Kind::Text),
        text if text.starts_with("text/") || text.ends_with("+json") => Ok(Kind::Text),
        other => Err(Problem::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "unsupported-type",
            "The content type says neither text nor binary",
            format!("{other:?}: send text/plain, application/json or application/octet-stream, or say ?type="),
        )),
    }
}

fn idempotency_key(value: &HeaderValue) -> Result<Box<str>, Problem> {
    match value.to_str() {
        Ok(key) if !key.is_empty() && key.len() <= KEY_MAX => Ok(key.into()),
        Ok(_) | Err(_) => {
            Err(Problem::bad_request(format!("Idempotency-Key must be 1 to {KEY_MAX} visible ASCII characters")))
        }
    }
}

/// A line of a batch: a JSON string, or this.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Line {
    /// Text, or binary data in base64.
    data: String,
    /// `data` is base64 of a binary message.
    #[serde(default)]
    binary: bool,
    /// Ordering and conflation key.
    #[schema(value_type = Option<String>)]
    key: Option<Box<str>>,
    /// Not sent after this, such as `20s`.
    ttl: Option<String>,
    /// This link; none: the pool chooses.
    link: Option<u32>,
    /// A repeat within 10 minutes has the first one's receipt.
    #[schema(value_type = Option<String>)]
    idempotency_key: Option<Box<str>>,
}

/// `POST /v1/endpoints/{name}/messages:batch`: NDJSON in, a receipt or a problem a line out, in order.
#[utoipa::path(post, path = "/v1/endpoints/{name}/messages:batch", tag = "messages", operation_id = "batch",
    params(("name" = String, Path, description = "The endpoint."),
        ("on_full" = Option<String>, Query, description = "A line refused with 429: `next` goes on behind it (default), `stop` tries none of the lines behind it.")),
    request_body(content = Line, description = "A JSON string or an object a line.", content_type = "application/x-ndjson"),
    responses((status = 200, description = "A receipt or a problem a line, in order.", body = wire::Receipt, content_type = "application/x-ndjson"), (status = "default", description = "A problem (RFC 9457).", content_type = "application/problem+json", body = wire::Problem)))]
pub(super) async fn batch(
    State(shared): State<Arc<Shared>>,
    Path(name): Path<String>,
    RawQuery(query): RawQuery,
    body: Body,
) -> Result<Response, Problem> {
    let params = Params::read(query.as_deref(), &["on_full"])?;
    let stops = params.with("on_full", "next or stop", stops_when_full)?.unwrap_or(false);
    let view = shared.pool.endpoint(&name).ok_or_else(|| super::links::no_endpoint(&name))?;
    // Base64 and escapes may make a line several times as long as its message.
    let longest = view.config.link.outbox.max_message.saturating_mul(6).saturating_add(4096);
    let endpoint = Arc::clone(&view.config.name);
    let mut lines = Lines::new(body.into_data_stream(), longest, shared.body_timeout);
    let (answers, outcome) = tokio::sync::mpsc::channel::<String>(BATCH_AHEAD);
    tokio::spawn(async move {
        let mut is_full = false;
        while let Some(first) = lines.next().await {
            let mut chunk = vec![first];
            // What has arrived goes on together; nobody waits for more.
            while chunk.len() < CHUNK
                && let Some(Some(next)) = lines.next().now_or_never()
            {
                chunk.push(next);
            }
            for said in several(&shared.pool, &endpoint, chunk, stops, is_full).await {
                is_full |= stops && said.as_ref().is_err_and(Problem::is_full);
                let mut text = match said {
                    Ok(receipt) => json!(convert::receipt(&receipt)).to_string(),
                    Err(problem) => problem.json().to_string(),
                };
                text.push('\n');
                // Nobody reads the answers any more: the sender has gone.
                if answers.send(text).await.is_err() {
                    return;
                }
            }
        }
    });
    let outcome = futures_util::stream::unfold(outcome, |mut outcome| async {
        let mut ready = Vec::new();
        outcome.recv_many(&mut ready, BATCH_AHEAD).await;
        (!ready.is_empty()).then(|| (Ok::<_, std::convert::Infallible>(ready.concat()), outcome))
    });
    let kind = [(header::CONTENT_TYPE, HeaderValue::from_static("application/x-ndjson"))];
    Ok((kind, Body::from_stream(outcome.boxed())).into_response())
}

fn stops_when_full(word: &str) -> Option<bool> {
    match word {
        "next" => Some(false),
        "stop" => Some(true),
        _ => None,
    }
}

/// Sends lines, in order; answers with what became of each that is not blank.
async fn several(
    pool: &Pool,
    endpoint: &Arc<str>,
    lines: Vec<Result<Bytes, Problem>>,
    stops: bool,
    is_full: bool,
) -> Vec<Result<Receipt, Problem>> {
    let mut sends = Vec::new();
    // `None`: the next of the sends.
    let mut places = Vec::new();
    for line in lines {
        let send = match line {
            Ok(line) if line.iter().all(u8::is_ascii_whitespace) => continue,
            Ok(_) if is_full => Err(Problem::not_tried()),
            Ok(line) => read(endpoint, &line),
            Err(problem) => Err(problem),
        };
        places.push(send.map(|send| sends.push(send)).err());
    }
    let mut outcomes = Vec::with_capacity(sends.len());
    let stop = if stops { Stop::WhenFull } else { Stop::Never };
    pool.send_all(sends, stop, |outcome| outcomes.push(outcome)).await;
    let mut outcomes = outcomes.into_iter();
    let outcome = |place: Option<Problem>| match place {
        Some(problem) => Err(problem),
        None => outcomes.next().map_or_else(|| Err(Problem::not_tried()), |outcome| Ok(outcome?)),
    };
    places.into_iter().map(outcome).collect()
}

fn read(endpoint: &Arc<str>, line: &[u8]) -> Result<Send, Problem> {
    let bad = |error: &dyn std::fmt::Display| {
        Problem::bad_request(format!("the line is neither a JSON string nor {{\"data\": \"…\"}}: {error}"))
    };
    let line = match serde_json::from_slice::<String>(line) {
        Ok(data) => Line { data, binary: false, key: None, ttl: None, link: None, idempotency_key: None },
        Err(_) => serde_json::from_slice(line).map_err(|error| bad(&error))?,
    };
    let ttl = line.ttl.as_deref().map(humantime::parse_duration).transpose().map_err(|error| bad(&error))?;
    Ok(Send {
        endpoint: Arc::clone(endpoint),
        link: line.link,
        key: line.key,
        ttl,
        idempotency_key: line.idempotency_key,
        wants_confirmation: false,
        patience: TIMEOUT,
        payload: data(line.data, line.binary)?,
    })
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
        assert!(has_reached(Rung::Unknown, Rung::Written));
        assert!(!has_reached(Rung::Unknown, Rung::Confirmed));
        assert!(!has_reached(Rung::Expired, Rung::Written));
    }
}
