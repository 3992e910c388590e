//! `/v1/dead-letters`: what peers refused three times in a row, and an operator's word on it.
//!
//! A letter of an endpoint that the caller may not see is not there for that caller, as its receipt is not.

use std::sync::Arc;

use axum::{
    Extension,
    extract::{Path, RawQuery, State},
    response::{IntoResponse, Response},
};
use http::{HeaderValue, StatusCode, header};

use super::{
    Shared,
    access::Grant,
    convert::{self, BinaryType},
    links::limit,
    problem::{Problem, answer},
    query::Params,
    wire,
};
use wskeeper_core::message::MessageId;
use wskeeper_link::pool::DeadLetter;

/// `GET /v1/dead-letters`
#[cfg_attr(test, utoipa::path(get, path = "/v1/dead-letters", tag = "messages", operation_id = "deadLetters",
    params(("endpoint" = Option<String>, Query, description = "Only those of this endpoint."),
        ("limit" = Option<usize>, Query, minimum = 1, maximum = 10000, description = "At most this many items. Default: 1000."),
        ("after" = Option<String>, Query, description = "Items after this id: `next` of the previous page.")),
    responses((status = 200, description = "In order of acceptance, without data.", body = wire::List<wire::DeadLetter>), (status = "default", description = "A problem (RFC 9457).", content_type = "application/problem+json", body = wire::Problem))))]
pub(super) async fn letters(
    State(shared): State<Arc<Shared>>,
    Extension(grant): Extension<Grant>,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    let params = Params::read(query.as_deref(), &["endpoint", "limit", "after"])?;
    let after = params.parse::<MessageId>("after", "the id of a message")?;
    let wanted = |name: &str| grant.sees(name) && params.get("endpoint").is_none_or(|endpoint| endpoint == name);
    let page = shared.pool.dead_letters(&wanted, after, limit(&params)?);
    let next = page.items.last().filter(|_| page.more).map(|last| last.id.to_string());
    let items = page.items.iter().map(convert::dead_letter).collect();
    Ok(answer(StatusCode::OK, &wire::List { items, next }))
}

/// `GET /v1/dead-letters/{id}`
#[cfg_attr(test, utoipa::path(get, path = "/v1/dead-letters/{id}", tag = "messages", operation_id = "deadLetter",
    params(("id" = String, Path, description = "As its receipt says."),
        ("binaryType" = Option<String>, Query, description = "`base64` (default) or `hex`.")),
    responses((status = 200, description = "With its data.", body = wire::DeadLetter), (status = "default", description = "A problem (RFC 9457).", content_type = "application/problem+json", body = wire::Problem))))]
pub(super) async fn letter(
    State(shared): State<Arc<Shared>>,
    Extension(grant): Extension<Grant>,
    Path(id): Path<String>,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    let params = Params::read(query.as_deref(), &["binaryType"])?;
    let binary = params.with("binaryType", "base64 or hex", BinaryType::from_word)?.unwrap_or_default();
    let letter = find(&shared, &grant, &id)?;
    let data = Some(convert::data(&letter.payload, binary));
    Ok(answer(StatusCode::OK, &wire::DeadLetter { data, ..convert::dead_letter(&letter) }))
}

/// Sends a dead letter again, as a new message to the same endpoint and with the same key; the letter is deleted once that is accepted.
#[cfg_attr(test, utoipa::path(post, path = "/v1/dead-letters/{id}/retry", tag = "messages", operation_id = "retryDeadLetter",
    params(("id" = String, Path, description = "As its receipt says.")),
    responses((status = 202, description = "Accepted; the receipt of the new message.", body = wire::Receipt), (status = "default", description = "A problem (RFC 9457); the letter is still there.", content_type = "application/problem+json", body = wire::Problem))))]
pub(super) async fn retry(
    State(shared): State<Arc<Shared>>,
    Extension(grant): Extension<Grant>,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    let letter = find(&shared, &grant, &id)?;
    let sent = shared.pool.retry_dead_letter(letter.id).await.ok_or_else(|| no_letter(&id))?;
    let receipt = sent?;
    let mut response = answer(StatusCode::ACCEPTED, &convert::receipt(&receipt));
    if let Ok(location) = HeaderValue::try_from(format!("/v1/messages/{}", receipt.id)) {
        response.headers_mut().insert(header::LOCATION, location);
    }
    Ok(response)
}

/// `DELETE /v1/dead-letters/{id}`
#[cfg_attr(test, utoipa::path(delete, path = "/v1/dead-letters/{id}", tag = "messages", operation_id = "dropDeadLetter",
    params(("id" = String, Path, description = "As its receipt says.")),
    responses((status = 204, description = "The letter is deleted."), (status = "default", description = "A problem (RFC 9457).", content_type = "application/problem+json", body = wire::Problem))))]
pub(super) async fn discard(
    State(shared): State<Arc<Shared>>,
    Extension(grant): Extension<Grant>,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    let letter = find(&shared, &grant, &id)?;
    if shared.pool.drop_dead_letter(letter.id).await {
        Ok(StatusCode::NO_CONTENT.into_response())
    } else {
        Err(no_letter(&id))
    }
}

fn find(shared: &Shared, grant: &Grant, id: &str) -> Result<DeadLetter, Problem> {
    let found = id.parse::<MessageId>().ok().and_then(|id| shared.pool.dead_letter(id));
    found.filter(|letter| grant.sees(&letter.endpoint)).ok_or_else(|| no_letter(id))
}

fn no_letter(id: &str) -> Problem {
    Problem::not_found(format!("there is no dead letter {id:?}; GET /v1/dead-letters lists them"))
}
