//! `/v1/links`, `/v1/endpoints`: what is there, and the operator's verbs.

use std::sync::Arc;

use axum::{
    Extension,
    extract::{Path, RawQuery, State},
    response::Response,
};
use http::StatusCode;
use serde::Deserialize;

use super::{
    Shared,
    access::Grant,
    body::Whole,
    convert, dynamic, json,
    problem::{Problem, answer, list},
    query::Params,
    wire,
};
use wskeeper_core::{close::CloseFrame, link::Verb, phase::Phase};
use wskeeper_link::pool::LinkView;

/// Items of a list where the caller names no limit, and at most.
const LIMIT: usize = 1000;
const LIMIT_MAX: usize = 10_000;

type Answer = Result<Response, Problem>;

/// `GET /v1/endpoints`
#[cfg_attr(test, utoipa::path(get, path = "/v1/endpoints", tag = "endpoints", operation_id = "endpoints",
    params(("limit" = Option<usize>, Query, minimum = 1, maximum = 10000, description = "At most this many items. Default: 1000."),
        ("after" = Option<String>, Query, description = "Items after this name: `next` of the previous page.")),
    responses((status = 200, description = "By name.", body = wire::List<wire::Endpoint>), (status = "default", description = "A problem (RFC 9457).", content_type = "application/problem+json", body = wire::Problem))))]
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
        .endpoints_after(after, &|name| grant.sees(name), limit + 1)
        .iter()
        .map(|view| convert::endpoint(view, &shared.config))
        .collect();
    let more = items.len() > limit;
    items.truncate(limit);
    let next = items.last().filter(|_| more).map(|last| last.name.clone());
    Ok(list(items, next))
}

/// `GET /v1/endpoints/{name}`
#[cfg_attr(test, utoipa::path(get, path = "/v1/endpoints/{name}", tag = "endpoints", operation_id = "endpoint",
    params(("name" = String, Path, description = "The endpoint.")),
    responses((status = 200, description = "Its configuration in force without secrets, its links, and sums. An endpoint of the API has an `ETag`.", body = wire::Endpoint), (status = "default", description = "A problem (RFC 9457).", content_type = "application/problem+json", body = wire::Problem))))]
pub(super) async fn endpoint(State(shared): State<Arc<Shared>>, Path(name): Path<String>) -> Answer {
    let view = shared.pool.endpoint(&name).ok_or_else(|| no_endpoint(&name))?;
    let links = Some(page(&shared, &|endpoint| endpoint == name, None, None, LIMIT));
    let pushes = Some(shared.pushes.of(&name, false).iter().map(convert::push).collect());
    let bridges = Some(shared.pushes.of(&name, true).iter().map(convert::bridge).collect());
    let requests = shared.pool.requests(&name, None).map(|requests| convert::requests(requests, &view.config));
    let streams = Some(shared.pool.streams(&name).iter().map(convert::stream).collect());
    let shown = convert::endpoint(&view, &shared.config);
    let mut response = answer(StatusCode::OK, &wire::Endpoint { links, pushes, bridges, requests, streams, ..shown });
    if let Some(dynamic) = shared.config.dynamic(&name) {
        dynamic::tagged(&mut response, &format!("\"{}\"", dynamic.definition.tag()));
    }
    Ok(response)
}

/// `GET /v1/links`
#[cfg_attr(test, utoipa::path(get, path = "/v1/links", tag = "links", operation_id = "links",
    params(("limit" = Option<usize>, Query, minimum = 1, maximum = 10000, description = "At most this many items. Default: 1000."),
        ("after" = Option<String>, Query, description = "Items after this link: `next` of the previous page."),
        ("endpoint" = Option<String>, Query, description = "Only those of this endpoint."),
        ("phase" = Option<String>, Query, description = "Only those in this phase.")),
    responses((status = 200, description = "By endpoint and index.", body = wire::List<wire::Link>), (status = "default", description = "A problem (RFC 9457).", content_type = "application/problem+json", body = wire::Problem))))]
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
    let wanted = |name: &str| grant.sees(name) && params.get("endpoint").is_none_or(|endpoint| endpoint == name);
    Ok(answer(StatusCode::OK, &page(&shared, &wanted, phase, after, limit(&params)?)))
}

fn page(
    shared: &Shared,
    wanted: &dyn Fn(&str) -> bool,
    phase: Option<Phase>,
    after: Option<(&str, u32)>,
    limit: usize,
) -> wire::List<wire::Link> {
    let page = shared.pool.links(wanted, phase, after, limit);
    let next = page.items.last().filter(|_| page.more).map(|last| format!("{}/{}", last.endpoint, last.index));
    let link = |view: &LinkView| convert::link(view, &shared.config);
    wire::List { items: page.items.iter().map(link).collect(), next }
}

/// `GET /v1/links/{name}/{index}`
#[cfg_attr(test, utoipa::path(get, path = "/v1/links/{name}/{index}", tag = "links", operation_id = "link",
    params(("name" = String, Path, description = "The endpoint."),
        ("index" = u32, Path, description = "The link's number, from 0.")),
    responses((status = 200, description = "As it is now.", body = wire::Link), (status = "default", description = "A problem (RFC 9457).", content_type = "application/problem+json", body = wire::Problem))))]
pub(super) async fn link(State(shared): State<Arc<Shared>>, Path((name, index)): Path<(String, String)>) -> Answer {
    let view = shared.pool.link(&name, number(&name, &index)?).ok_or_else(|| no_link(&name, &index))?;
    Ok(answer(StatusCode::OK, &convert::link(&view, &shared.config)))
}

/// `GET /v1/links/{name}/{index}/history`
#[cfg_attr(test, utoipa::path(get, path = "/v1/links/{name}/{index}/history", tag = "links", operation_id = "history",
    params(("name" = String, Path, description = "The endpoint."),
        ("index" = u32, Path, description = "The link's number, from 0.")),
    responses((status = 200, description = "The flight recorder, oldest first.", body = wire::List<wire::HistoryEntry>), (status = "default", description = "A problem (RFC 9457).", content_type = "application/problem+json", body = wire::Problem))))]
pub(super) async fn history(State(shared): State<Arc<Shared>>, Path((name, index)): Path<(String, String)>) -> Answer {
    let entries = shared.pool.history(&name, number(&name, &index)?).ok_or_else(|| no_link(&name, &index))?;
    Ok(list(entries.iter().map(convert::history).collect(), None))
}

/// The body of `close`.
#[derive(Debug, Default, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub(super) struct CloseRequest {
    /// 1000 or 3000 to 4999; none: a Close frame without a body.
    code: Option<u16>,
    /// At most 123 bytes of UTF-8.
    reason: Option<String>,
}

/// Closes the connection and stays `paused` until `resume`.
#[cfg_attr(test, utoipa::path(post, path = "/v1/links/{name}/{index}/close", tag = "links", operation_id = "close",
    params(("name" = String, Path, description = "The endpoint."),
        ("index" = u32, Path, description = "The link's number, from 0.")),
    request_body(content = Option<CloseRequest>, description = "May be left out."),
    responses((status = 200, description = "The link after it.", body = wire::Link), (status = "default", description = "A problem (RFC 9457).", content_type = "application/problem+json", body = wire::Problem))))]
pub(super) async fn close(
    State(shared): State<Arc<Shared>>,
    Path((name, index)): Path<(String, String)>,
    Whole(body): Whole,
) -> Answer {
    let frame = close_frame(&body)?;
    command(&shared, &name, &index, Verb::Close(frame)).await
}

/// Closes the connection, if there is one, and dials again at once; a wait, for the backoff or for admission, is cut short.
#[cfg_attr(test, utoipa::path(post, path = "/v1/links/{name}/{index}/reconnect", tag = "links", operation_id = "reconnect",
    params(("name" = String, Path, description = "The endpoint."),
        ("index" = u32, Path, description = "The link's number, from 0.")),
    responses((status = 200, description = "The link after it.", body = wire::Link), (status = "default", description = "A problem (RFC 9457).", content_type = "application/problem+json", body = wire::Problem))))]
pub(super) async fn reconnect(
    State(shared): State<Arc<Shared>>,
    Path((name, index)): Path<(String, String)>,
) -> Answer {
    command(&shared, &name, &index, Verb::Reconnect).await
}

/// Closes with 1000 and dials no more until `resume`.
#[cfg_attr(test, utoipa::path(post, path = "/v1/links/{name}/{index}/pause", tag = "links", operation_id = "pause",
    params(("name" = String, Path, description = "The endpoint."),
        ("index" = u32, Path, description = "The link's number, from 0.")),
    responses((status = 200, description = "The link after it.", body = wire::Link), (status = "default", description = "A problem (RFC 9457).", content_type = "application/problem+json", body = wire::Problem))))]
pub(super) async fn pause(State(shared): State<Arc<Shared>>, Path((name, index)): Path<(String, String)>) -> Answer {
    command(&shared, &name, &index, Verb::Pause).await
}

/// Leaves `paused` or `parked` and dials; a wait, for the backoff or for admission, is cut short.
#[cfg_attr(test, utoipa::path(post, path = "/v1/links/{name}/{index}/resume", tag = "links", operation_id = "resume",
    params(("name" = String, Path, description = "The endpoint."),
        ("index" = u32, Path, description = "The link's number, from 0.")),
    responses((status = 200, description = "The link after it.", body = wire::Link), (status = "default", description = "A problem (RFC 9457).", content_type = "application/problem+json", body = wire::Problem))))]
pub(super) async fn resume(State(shared): State<Arc<Shared>>, Path((name, index)): Path<(String, String)>) -> Answer {
    command(&shared, &name, &index, Verb::Resume).await
}

/// Opens a new connection beside the current one, switches to it between messages, then closes the old one.
#[cfg_attr(test, utoipa::path(post, path = "/v1/links/{name}/{index}/rotate", tag = "links", operation_id = "rotate",
    params(("name" = String, Path, description = "The endpoint."),
        ("index" = u32, Path, description = "The link's number, from 0.")),
    responses((status = 200, description = "The link after it: the rotation has begun.", body = wire::Link), (status = "default", description = "A problem (RFC 9457).", content_type = "application/problem+json", body = wire::Problem))))]
pub(super) async fn rotate(State(shared): State<Arc<Shared>>, Path((name, index)): Path<(String, String)>) -> Answer {
    command(&shared, &name, &index, Verb::Rotate).await
}

async fn command(shared: &Shared, name: &str, index: &str, verb: Verb) -> Answer {
    let view = shared.pool.command(name, number(name, index)?, verb).await?;
    Ok(answer(StatusCode::OK, &convert::link(&view, &shared.config)))
}

fn close_frame(body: &[u8]) -> Result<Option<CloseFrame>, Problem> {
    let request: CloseRequest = if body.iter().all(u8::is_ascii_whitespace) {
        CloseRequest::default()
    } else {
        json::read(body).map_err(|error| {
            Problem::bad_request(format!("the body is not {{\"code\": 1000, \"reason\": \"…\"}}: {error}"))
        })?
    };
    CloseFrame::from_caller(request.code, request.reason.as_deref())
        .map_err(|error| Problem::bad_request(error.to_string()))
}

/// `?limit=`.
pub(super) fn limit(params: &Params) -> Result<usize, Problem> {
    let form = format!("a number from 1 to {LIMIT_MAX}");
    let read = |text: &str| text.parse().ok().filter(|limit| (1..=LIMIT_MAX).contains(limit));
    Ok(params.with("limit", &form, read)?.unwrap_or(LIMIT))
}

fn split(link: &str) -> Option<(String, u32)> {
    let (name, index) = link.rsplit_once('/')?;
    Some((name.to_owned(), index.parse().ok()?))
}

/// A link's number in a path.
pub(super) fn number(name: &str, index: &str) -> Result<u32, Problem> {
    index.parse().map_err(|_| no_link(name, index))
}

pub(super) fn no_endpoint(name: &str) -> Problem {
    Problem::not_found(format!("no endpoint is named {name:?}; GET /v1/endpoints lists them"))
}

pub(super) fn no_link(name: &str, index: &str) -> Problem {
    Problem::not_found(format!("there is no link {name}/{index}; GET /v1/links lists them"))
}
