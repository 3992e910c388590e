//! `/v1/store` and `/v1/orphans`: how the store is, and stored messages whose link the configuration has no more.
//!
//! Nothing here moves or discards by itself: an orphan waits until its link comes back or an operator says what becomes of it.

use std::sync::Arc;

use axum::{
    Extension,
    extract::{Path, State},
    response::Response,
};
use http::StatusCode;
use serde::Deserialize;

use super::{
    Shared,
    access::{Grant, forbidden},
    body::Whole,
    convert, json,
    links::number,
    problem::{Problem, answer},
    wire,
};

/// `GET /v1/store`
#[cfg_attr(test, utoipa::path(get, path = "/v1/store", tag = "daemon", operation_id = "store",
    responses((status = 200, description = "How it is now.", body = wire::Store), (status = "default", description = "A problem (RFC 9457).", content_type = "application/problem+json", body = wire::Problem))))]
pub(super) async fn store(State(shared): State<Arc<Shared>>) -> Response {
    let view = shared.pool.store();
    let state = match &view {
        None => "unused",
        Some(view) if view.failure.is_some() => "failed",
        Some(_) => "ok",
    };
    let (status, failure) = view.map_or_else(Default::default, |view| (view.status.unwrap_or_default(), view.failure));
    let letters = shared.pool.dead_letters(&|_| true, None, usize::MAX);
    let body = wire::Store {
        state: state.to_owned(),
        failure: failure.map(|failure| failure.to_string()),
        bytes: status.bytes,
        limit_bytes: status.limit,
        messages: status.messages as u64,
        inbox_bytes: status.inbox_bytes,
        inbox_failure: status.inbox_failure.map(|failure| failure.to_string()),
        orphans: shared.pool.orphans().iter().map(|held| held.messages).sum(),
        dead_letters: letters.items.len() as u64,
    };
    answer(StatusCode::OK, &body)
}

/// `GET /v1/orphans`
#[cfg_attr(test, utoipa::path(get, path = "/v1/orphans", tag = "messages", operation_id = "orphans",
    responses((status = 200, description = "By endpoint and link; all at once.", body = wire::List<wire::Orphans>), (status = "default", description = "A problem (RFC 9457).", content_type = "application/problem+json", body = wire::Problem))))]
pub(super) async fn list(State(shared): State<Arc<Shared>>, Extension(grant): Extension<Grant>) -> Response {
    let orphans = shared.pool.orphans();
    let items = orphans.iter().filter(|held| grant.sees(&held.endpoint)).map(convert::orphans).collect();
    super::problem::list::<wire::Orphans>(items, None)
}

/// Where orphans are to go.
#[derive(Debug, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub(super) struct Home {
    /// The endpoint's name; it must be durable.
    endpoint: String,
    /// Its link's number, from 0.
    link: u32,
}

/// Gives the messages to another link, behind what that one holds and in their order.
#[cfg_attr(test, utoipa::path(post, path = "/v1/orphans/{name}/{index}/move", tag = "messages", operation_id = "moveOrphans",
    params(("name" = String, Path, description = "Whose they are."),
        ("index" = u32, Path, description = "Which link's.")),
    request_body(content = Home, description = "Where they go."),
    responses((status = 200, description = "How many were moved.", body = wire::Count), (status = "default", description = "A problem (RFC 9457).", content_type = "application/problem+json", body = wire::Problem))))]
pub(super) async fn relocate(
    State(shared): State<Arc<Shared>>,
    Extension(grant): Extension<Grant>,
    Path((name, index)): Path<(String, String)>,
    Whole(body): Whole,
) -> Result<Response, Problem> {
    let home: Home = json::read(&body).map_err(|error| {
        Problem::bad_request(format!("the body is not {{\"endpoint\": \"trades\", \"link\": 0}}: {error}"))
    })?;
    if !grant.sees(&home.endpoint) {
        let detail = format!("the token is not for the endpoint {:?}", home.endpoint);
        return Err(forbidden(detail));
    }
    let from = (name.as_str(), number(&name, &index)?);
    let messages = shared.pool.move_orphans(from, (&home.endpoint, home.link)).await?;
    Ok(answer(StatusCode::OK, &wire::Count { messages }))
}

/// Discards the messages; their receipts say `dropped`, `removed`.
#[cfg_attr(test, utoipa::path(delete, path = "/v1/orphans/{name}/{index}", tag = "messages", operation_id = "discardOrphans",
    params(("name" = String, Path, description = "Whose they are."),
        ("index" = u32, Path, description = "Which link's.")),
    responses((status = 200, description = "How many were discarded.", body = wire::Count), (status = "default", description = "A problem (RFC 9457).", content_type = "application/problem+json", body = wire::Problem))))]
pub(super) async fn discard(
    State(shared): State<Arc<Shared>>,
    Path((name, index)): Path<(String, String)>,
) -> Result<Response, Problem> {
    let messages = shared.pool.discard_orphans((&name, number(&name, &index)?)).await?;
    Ok(answer(StatusCode::OK, &wire::Count { messages }))
}
