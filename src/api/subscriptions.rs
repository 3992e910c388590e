//! `/v1/endpoints/{name}/subscriptions`: what links have asked their peers for, who holds it, and how it stands.
//!
//! What a reader would get wrong: a key is let go of by the last who holds it. Programs that name no `holder` are one and the same holder.

use std::sync::Arc;

use axum::{
    body::Body,
    extract::{Path, RawQuery, Request, State},
    response::{IntoResponse, Response},
};
use http::{HeaderMap, StatusCode};

#[cfg(test)]
use super::wire;
use super::{
    Shared, body, convert,
    links::{limit, no_endpoint},
    messages,
    problem::{Problem, answer, list},
    query::Params,
};
use wskeeper_core::{
    message::Payload,
    subscriptions::{Holder, Refusal},
};
use wskeeper_link::pool::{Subscribe, SubscribeError};

/// The longest name of a holder, in bytes.
const HOLDER_MAX: usize = 128;

/// `GET /v1/endpoints/{name}/subscriptions`
#[cfg_attr(test, utoipa::path(get, path = "/v1/endpoints/{name}/subscriptions", tag = "subscriptions", operation_id = "subscriptions",
    params(("name" = String, Path, description = "The endpoint."),
        ("limit" = Option<usize>, Query, minimum = 1, maximum = 10000, description = "Items at most; 1000 unless given."),
        ("after" = Option<String>, Query, description = "Those after this one, as `next` says.")),
    responses((status = 200, description = "In the order in which they are asked for.", body = wire::List<wire::Subscription>), (status = "default", description = "A problem (RFC 9457).", content_type = "application/problem+json", body = wire::Problem))))]
pub(super) async fn all(
    State(shared): State<Arc<Shared>>,
    Path(name): Path<String>,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    let params = Params::read(query.as_deref(), &["limit", "after"])?;
    let after = params.parse::<u64>("after", "what `next` said")?.unwrap_or_default();
    let (keys, next) = shared.pool.subscriptions(&name, after, limit(&params)?)?;
    Ok(list(keys.iter().map(convert::subscription).collect(), next.map(|place| place.to_string())))
}

/// `GET /v1/endpoints/{name}/subscriptions/{key}`
#[cfg_attr(test, utoipa::path(get, path = "/v1/endpoints/{name}/subscriptions/{key}", tag = "subscriptions", operation_id = "subscription",
    params(("name" = String, Path, description = "The endpoint."),
        ("key" = String, Path, description = "The key, percent-encoded.")),
    responses((status = 200, description = "How it stands.", body = wire::Subscription), (status = "default", description = "A problem (RFC 9457).", content_type = "application/problem+json", body = wire::Problem))))]
pub(super) async fn one(
    State(shared): State<Arc<Shared>>,
    Path((name, key)): Path<(String, String)>,
) -> Result<Response, Problem> {
    let view = shared.pool.subscription(&name, &key)?;
    Ok(answer(StatusCode::OK, &convert::subscription(&view)))
}

/// `PUT /v1/endpoints/{name}/subscriptions/{key}`
#[cfg_attr(test, utoipa::path(put, path = "/v1/endpoints/{name}/subscriptions/{key}", tag = "subscriptions", operation_id = "subscribe",
    params(("name" = String, Path, description = "The endpoint."),
        ("key" = String, Path, description = "The key, percent-encoded."),
        ("holder" = Option<String>, Query, description = "Who holds it; those that name none are one."),
        ("lease" = Option<String>, Query, description = "It is let go of unless the call is repeated within this, such as `60s`."),
        ("type" = Option<String>, Query, description = "`text` or `binary`, whatever the content type.")),
    request_body(description = "The message that asks for it; none where the configuration makes one.",
        content((Option<String> = "text/plain"), (Object = "application/json"), ("application/octet-stream"))),
    responses((status = 201, description = "It is new.", body = wire::Subscription),
        (status = 200, description = "It was there, and is held by this one too.", body = wire::Subscription), (status = "default", description = "A problem (RFC 9457).", content_type = "application/problem+json", body = wire::Problem))))]
pub(super) async fn put(
    State(shared): State<Arc<Shared>>,
    Path((name, key)): Path<(String, String)>,
    RawQuery(query): RawQuery,
    request: Request,
) -> Result<Response, Problem> {
    let params = Params::read(query.as_deref(), &["holder", "lease", "type"])?;
    let lease = params.duration("lease")?;
    if lease.is_some_and(|lease| lease.is_zero()) {
        return Err(Problem::bad_request("query parameter lease=\"0s\": a lease must be longer than nothing"));
    }
    let holder = holder(&params)?;
    let (head, body) = request.into_parts();
    let message = message(&shared, &name, &params, &head.headers, body).await?;
    let subscribe = Subscribe { key: key.into(), holder, lease, message };
    let (view, is_new) = shared.pool.subscribe_to(&name, subscribe)?;
    let status = if is_new { StatusCode::CREATED } else { StatusCode::OK };
    Ok(answer(status, &convert::subscription(&view)))
}

/// `DELETE /v1/endpoints/{name}/subscriptions/{key}`
#[cfg_attr(test, utoipa::path(delete, path = "/v1/endpoints/{name}/subscriptions/{key}", tag = "subscriptions", operation_id = "unsubscribe",
    params(("name" = String, Path, description = "The endpoint."),
        ("key" = String, Path, description = "The key, percent-encoded."),
        ("holder" = Option<String>, Query, description = "Who lets go of it; those that name none are one."),
        ("type" = Option<String>, Query, description = "`text` or `binary`, whatever the content type.")),
    request_body(description = "The message that says so to the peer, sent where no other holds the key; none where the configuration makes one, or nothing is to be said.",
        content((Option<String> = "text/plain"), (Object = "application/json"), ("application/octet-stream"))),
    responses((status = 204, description = "This one holds it no more."), (status = "default", description = "A problem (RFC 9457).", content_type = "application/problem+json", body = wire::Problem))))]
pub(super) async fn release(
    State(shared): State<Arc<Shared>>,
    Path((name, key)): Path<(String, String)>,
    RawQuery(query): RawQuery,
    request: Request,
) -> Result<Response, Problem> {
    let params = Params::read(query.as_deref(), &["holder", "type"])?;
    let holder = holder(&params)?;
    let (head, body) = request.into_parts();
    let message = message(&shared, &name, &params, &head.headers, body).await?;
    shared.pool.unsubscribe_from(&name, &key, &holder, message)?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

fn holder(params: &Params) -> Result<Holder, Problem> {
    let name = params.get("holder").unwrap_or_default();
    if name.len() > HOLDER_MAX {
        return Err(Problem::bad_request(format!("the name of a holder has more than {HOLDER_MAX} bytes")));
    }
    Ok(Holder::Named(name.into()))
}

async fn message(
    shared: &Shared,
    endpoint: &str,
    params: &Params,
    headers: &HeaderMap,
    body: Body,
) -> Result<Option<Payload>, Problem> {
    let bytes = body::message(body, shared, endpoint).await?;
    if bytes.is_empty() {
        return Ok(None);
    }
    let kind = params.with("type", "text or binary", messages::kind_of_word)?;
    let kind = kind.map_or_else(|| messages::kind_of_type(headers), Ok)?;
    messages::payload(kind, bytes).map(Some)
}

impl From<SubscribeError> for Problem {
    fn from(error: SubscribeError) -> Self {
        let full = |detail: String| {
            Self::new(StatusCode::CONFLICT, "subscriptions-full", "There are too many subscriptions", detail)
        };
        match error {
            SubscribeError::NoEndpoint(name) => no_endpoint(&name),
            SubscribeError::NoSubscriptions(name) => Self::new(
                StatusCode::CONFLICT,
                "no-subscriptions",
                "The endpoint has no subscriptions",
                format!("write a section [endpoints.{name}.subscriptions], which may be empty, and reload"),
            ),
            SubscribeError::TooBig { bytes, limit } => {
                Self::too_large(format!("the message has {bytes} bytes; outbox.max_message allows {limit}"))
                    .with("bytes", bytes.into())
                    .with("limit", limit.into())
            }
            SubscribeError::NoRoom => Self::no_room(),
            SubscribeError::NotHeld(key) => Self::not_found(format!(
                "nobody holds the key {key:?}, or another does; GET the list of subscriptions to see who holds what"
            )),
            SubscribeError::Draining => Self::draining(),
            SubscribeError::Refused(refusal) => match refusal {
                Refusal::BadKey => Self::bad_request("a key has 1 to 1024 bytes"),
                Refusal::NoMessage => Self::new(
                    StatusCode::BAD_REQUEST,
                    "no-message",
                    "Nothing says what asks for the key",
                    "send the message as the body, or write subscriptions.add in the configuration",
                ),
                Refusal::TooMany(limit) => {
                    full(format!("subscriptions.max_keys = {limit} is reached; let go of some, or raise it"))
                        .with("limit", limit.into())
                }
                Refusal::Full { per_link, links } => full(format!(
                    "each of {links} links has {per_link} keys (subscriptions.per_link); let go of some, or allow more links"
                ))
                .with("perLink", per_link.into())
                .with("links", links.into()),
                Refusal::TooManyHolders(limit) => full(format!("the key is held by {limit} already")),
            },
        }
    }
}
