//! Sending a stream of messages, a line each.
//!
//! A batch is read and answered line by line, so that a million lines take no more memory than one.

use std::sync::Arc;

use axum::{
    Extension,
    body::{Body, Bytes},
    extract::{Path, RawQuery, State},
    response::{IntoResponse, Response},
};
use futures_util::{FutureExt, StreamExt};
use http::{HeaderMap, HeaderValue, header};
use serde::Deserialize;

use super::{
    Shared,
    access::{Pass, forbidden},
    convert, json,
    lines::Lines,
    messages::{TIMEOUT, data, generation, name_of_send, ordering_key},
    problem::{Problem, unbuffered},
    query::Params,
};
use crate::config::text;
use wskeeper_core::{budget::Rank, receipt::Receipt};
use wskeeper_link::pool::{Pool, Send, Stop};

/// Lines of a batch that are offered together, at most: they share a question to their link, and a sync of the store.
const CHUNK: usize = 256;

/// And their bytes.
const CHUNK_BYTES: usize = 256 << 10;

/// A line of a batch: a JSON string, or this.
#[derive(Debug, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Line {
    /// Text, or binary data in base64.
    data: String,
    /// `data` is base64 of a binary message.
    #[serde(default)]
    binary: bool,
    /// Ordering and conflation key.
    #[cfg_attr(test, schema(value_type = Option<String>))]
    key: Option<Box<str>>,
    /// Not sent after this, such as `20s`.
    ttl: Option<String>,
    /// The link. By default the pool chooses.
    link: Option<u32>,
    /// On the connection of this number only.
    generation: Option<u64>,
    /// A repeat within 10 minutes gets the receipt of the first.
    #[cfg_attr(test, schema(value_type = Option<String>))]
    idempotency_key: Option<Box<str>>,
}

/// `POST /v1/endpoints/{name}/messages:batch`: Takes NDJSON, and answers with a receipt or a problem for each line, in order.
#[cfg_attr(test, utoipa::path(post, path = "/v1/endpoints/{name}/messages:batch", tag = "messages", operation_id = "batch",
    params(("name" = String, Path, description = "The endpoint."),
        ("generation" = Option<u64>, Query, description = "Only on the connection with this number, unless a line names another; `If-Match` means the same."),
        ("on_full" = Option<String>, Query, description = "After a line that is refused with 429: `next` continues with the next line (default), `stop` tries no further lines.")),
    request_body(content = Line, description = "A JSON string or an object on each line.", content_type = "application/x-ndjson"),
    responses((status = 200, description = "A receipt or a problem on each line, in order.", body = super::wire::Receipt, content_type = "application/x-ndjson"), (status = "default", description = "A problem (RFC 9457).", content_type = "application/problem+json", body = super::wire::Problem))))]
pub(super) async fn batch(
    State(shared): State<Arc<Shared>>,
    Path(name): Path<String>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    Extension(mut pass): Extension<Pass>,
    body: Body,
) -> Result<Response, Problem> {
    let params = Params::read(query.as_deref(), &["on_full", "generation"])?;
    let bound = generation(&params, &headers)?;
    let stops = params.with("on_full", "next or stop", stops_when_full)?.unwrap_or(false);
    let view = shared.pool.endpoint(&name).ok_or_else(|| super::links::no_endpoint(&name))?;
    // Base64 and escapes may make a line several times as long as its message.
    let longest = view.config.link.outbox.max_message.saturating_mul(6).saturating_add(4096);
    let endpoint = Arc::clone(&view.config.name);
    let lease = shared.pool.budget().lease(Rank::Arriving);
    let mut lines = Lines::new(body.into_data_stream(), longest, shared.body_timeout, lease);
    let (answers, outcome) = tokio::sync::mpsc::channel::<Vec<u8>>(1);
    tokio::spawn(async move {
        let mut is_full = false;
        loop {
            let first = tokio::select! {
                biased;
                why = pass.withdrawn() => {
                    // Nobody may be there to read it.
                    let _ = answers.send(format!("{}\n", forbidden(why).json()).into_bytes()).await;
                    return;
                }
                line = lines.next() => line,
            };
            let Some(first) = first else { return };
            let mut bytes = length(&first);
            let mut chunk = vec![first];
            // What has arrived goes on together; nobody waits for more.
            while chunk.len() < CHUNK
                && bytes < CHUNK_BYTES
                && let Some(Some(next)) = lines.next().now_or_never()
            {
                bytes += length(&next);
                chunk.push(next);
            }
            let mut text = Vec::new();
            for said in several(&shared.pool, (&endpoint, bound), chunk, stops, is_full).await {
                is_full |= stops && said.as_ref().is_err_and(Problem::is_full);
                match said {
                    Ok(receipt) => convert::receipt(&receipt).write(&mut text),
                    Err(problem) => text.extend_from_slice(problem.json().to_string().as_bytes()),
                }
                text.push(b'\n');
            }
            // Nobody reads the answers any more: the sender has gone.
            if !text.is_empty() && answers.send(text).await.is_err() {
                return;
            }
        }
    });
    let outcome = futures_util::stream::unfold(outcome, |mut outcome| async {
        let text = outcome.recv().await?;
        Some((Ok::<_, std::convert::Infallible>(text), outcome))
    });
    let kind = [(header::CONTENT_TYPE, HeaderValue::from_static("application/x-ndjson"))];
    Ok(unbuffered((kind, Body::from_stream(outcome.boxed())).into_response()))
}

fn length(line: &Result<Bytes, Problem>) -> usize {
    line.as_ref().map_or(0, Bytes::len)
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
    (endpoint, bound): (&Arc<str>, Option<u64>),
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
            Ok(line) => read(endpoint, bound, &line),
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

fn read(endpoint: &Arc<str>, bound: Option<u64>, line: &[u8]) -> Result<Send, Problem> {
    let bad = |error: &dyn std::fmt::Display| {
        Problem::bad_request(format!("the line is neither a JSON string nor {{\"data\": \"…\"}}: {error}"))
    };
    let line = if line.trim_ascii_start().first() == Some(&b'"') {
        let data = json::read(line).map_err(|error| bad(&error))?;
        Line { data, binary: false, key: None, ttl: None, link: None, generation: None, idempotency_key: None }
    } else {
        json::read(line).map_err(|error| bad(&error))?
    };
    let ttl = line.ttl.as_deref().map(text::duration).transpose().map_err(|error| bad(&error))?;
    Ok(Send {
        link: line.link,
        key: line.key.as_deref().map(ordering_key).transpose()?,
        ttl,
        idempotency_key: line.idempotency_key.as_deref().map(name_of_send).transpose()?,
        generation: line.generation.or(bound),
        patience: TIMEOUT,
        ..Send::new(Arc::clone(endpoint), data(line.data, line.binary)?)
    })
}
