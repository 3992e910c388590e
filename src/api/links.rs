//! `/v1/links`, `/v1/endpoints`: what is there, and the operator's verbs.

use std::sync::Arc;

use axum::{
    Extension,
    body::Bytes,
    extract::{Path, RawQuery, State},
    response::Response,
};
use http::StatusCode;
use serde::Deserialize;

use super::{
    Shared,
    access::Grant,
    convert,
    problem::{Problem, answer, list},
    query::Params,
};
use crate::core::{close::CloseFrame, link::Verb, phase::Phase};

/// Items of a list where the caller names no limit, and at most.
const LIMIT: usize = 1000;
const LIMIT_MAX: usize = 10_000;

type Answer = Result<Response, Problem>;

pub(super) async fn endpoints(
    State(shared): State<Arc<Shared>>,
    Extension(grant): Extension<Grant>,
    RawQuery(query): RawQuery,
) -> Answer {
    let params = Params::read(query.as_deref(), &["limit", "after"])?;
    let limit = limit(&params)?;
    let after = params.get("after").unwrap_or_default();
    let mut items: Vec<_> = shared
        .pool
        .endpoints()
        .iter()
        .filter(|view| grant.sees(&view.config.name) && &*view.config.name > after)
        .take(limit + 1)
        .map(convert::endpoint)
        .collect();
    let more = items.len() > limit;
    items.truncate(limit);
    let next = items.last().filter(|_| more).map(|last| last.name.clone());
    Ok(list(items, next))
}

pub(super) async fn endpoint(State(shared): State<Arc<Shared>>, Path(name): Path<String>) -> Answer {
    let view = shared.pool.endpoint(&name).ok_or_else(|| no_endpoint(&name))?;
    Ok(answer(StatusCode::OK, &convert::endpoint(&view)))
}

pub(super) async fn links(
    State(shared): State<Arc<Shared>>,
    Extension(grant): Extension<Grant>,
    RawQuery(query): RawQuery,
) -> Answer {
    let params = Params::read(query.as_deref(), &["limit", "after", "endpoint", "phase"])?;
    let words: Vec<_> = Phase::ALL.iter().map(|phase| phase.as_str()).collect();
    let phase = params.with("phase", &format!("one of {}", words.join(", ")), Phase::from_word)?;
    let after = params.with("after", "a link such as trades/0", split)?;
    let after = after.as_ref().map(|(name, index)| (name.as_str(), *index));
    let page = shared.pool.links(params.get("endpoint"), phase, after, limit(&params)?);
    let next = page.items.last().filter(|_| page.more).map(|last| format!("{}/{}", last.endpoint, last.index));
    let items = page.items.iter().filter(|view| grant.sees(&view.endpoint)).map(convert::link).collect();
    Ok(list(items, next))
}

pub(super) async fn link(State(shared): State<Arc<Shared>>, Path((name, index)): Path<(String, String)>) -> Answer {
    let view = shared.pool.link(&name, number(&name, &index)?).ok_or_else(|| no_link(&name, &index))?;
    Ok(answer(StatusCode::OK, &convert::link(&view)))
}

pub(super) async fn history(State(shared): State<Arc<Shared>>, Path((name, index)): Path<(String, String)>) -> Answer {
    let entries = shared.pool.history(&name, number(&name, &index)?).ok_or_else(|| no_link(&name, &index))?;
    Ok(list(entries.iter().map(convert::history).collect(), None))
}

/// The body of `close`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct CloseRequest {
    code: Option<u16>,
    reason: Option<String>,
}

/// `close`, `reconnect`, `pause`, `resume`.
pub(super) async fn verb(
    State(shared): State<Arc<Shared>>,
    Path((name, index, verb)): Path<(String, String, String)>,
    body: Bytes,
) -> Answer {
    let index = number(&name, &index)?;
    let verb = match verb.as_str() {
        "close" => Verb::Close(close_frame(&body)?),
        "reconnect" => Verb::Reconnect,
        "pause" => Verb::Pause,
        "resume" => Verb::Resume,
        other => {
            let detail = format!("there is no verb {other:?}; there are close, reconnect, pause and resume");
            return Err(Problem::not_found(detail));
        }
    };
    let view = shared.pool.command(&name, index, verb).await?;
    Ok(answer(StatusCode::OK, &convert::link(&view)))
}

fn close_frame(body: &[u8]) -> Result<Option<CloseFrame>, Problem> {
    let request: CloseRequest = if body.iter().all(u8::is_ascii_whitespace) {
        CloseRequest::default()
    } else {
        serde_json::from_slice(body).map_err(|error| {
            Problem::bad_request(format!("the body is not {{\"code\": 1000, \"reason\": \"…\"}}: {error}"))
        })?
    };
    CloseFrame::from_caller(request.code, request.reason.as_deref())
        .map_err(|error| Problem::bad_request(error.to_string()))
}

fn limit(params: &Params) -> Result<usize, Problem> {
    let form = format!("a number from 1 to {LIMIT_MAX}");
    let read = |text: &str| text.parse().ok().filter(|limit| (1..=LIMIT_MAX).contains(limit));
    Ok(params.with("limit", &form, read)?.unwrap_or(LIMIT))
}

fn split(link: &str) -> Option<(String, u32)> {
    let (name, index) = link.rsplit_once('/')?;
    Some((name.to_owned(), index.parse().ok()?))
}

fn number(name: &str, index: &str) -> Result<u32, Problem> {
    index.parse().map_err(|_| no_link(name, index))
}

pub(super) fn no_endpoint(name: &str) -> Problem {
    Problem::not_found(format!("no endpoint is named {name:?}; GET /v1/endpoints lists them"))
}

fn no_link(name: &str, index: &str) -> Problem {
    Problem::not_found(format!("there is no link {name}/{index}; GET /v1/links lists them"))
}
