//! `/v1/endpoints/{name}/subscriptions`: what links have asked their peers for, who holds it, and what the peers said.
//!
//! What a reader would get wrong: a key is released by the last who holds it. Programs that name no `holder` are one and the same holder.

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
    phase::Phase,
    session::CANNOT_ASK,
    subscriptions::{Holder, Refusal, State as KeyState},
};
use wskeeper_link::pool::{Pool, Subscribe, SubscribeError, SubscriptionView};

/// The longest name of a holder, in bytes.
const HOLDER_MAX: usize = 128;

/// `GET /v1/endpoints/{name}/subscriptions`
#[cfg_attr(test, utoipa::path(get, path = "/v1/endpoints/{name}/subscriptions", tag = "subscriptions", operation_id = "subscriptions",
    params(("name" = String, Path, description = "The endpoint."),
        ("limit" = Option<usize>, Query, minimum = 1, maximum = 10000, description = "At most this many items. Default: 1000."),
        ("after" = Option<String>, Query, description = "Items after this one: `next` of the previous page.")),
    responses((status = 200, description = "In the order in which they are requested.", body = wire::List<wire::Subscription>), (status = "default", description = "A problem (RFC 9457).", content_type = "application/problem+json", body = wire::Problem))))]
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
    responses((status = 200, description = "Its state, the reason, and what would help.", body = wire::Subscription), (status = "default", description = "A problem (RFC 9457).", content_type = "application/problem+json", body = wire::Problem))))]
pub(super) async fn one(
    State(shared): State<Arc<Shared>>,
    Path((name, key)): Path<(String, String)>,
) -> Result<Response, Problem> {
    let view = shared.pool.subscription(&name, &key)?;
    let mut shown = convert::subscription(&view);
    shown.advice = advice(&shared.pool, &name, &view);
    Ok(answer(StatusCode::OK, &shown))
}

/// What would help a key that is not active.
fn advice(pool: &Pool, endpoint: &str, view: &SubscriptionView) -> Option<String> {
    let Some(link) = view.link else {
        return Some(
            "release other keys, or raise subscriptions.per_link or subscriptions.links.max and reload".into(),
        );
    };
    let phase = pool.link(endpoint, link).map(|link| link.phase);
    let is_up = matches!(phase, Some(Phase::Ready | Phase::Opening));
    match view.state {
        KeyState::Active => None,
        KeyState::Pending | KeyState::Refused if !is_up => {
            let phase = phase.map_or("not there yet", Phase::as_str);
            Some(format!(
                "the link is {phase}, and asks for the key once it is back: `wskeeper explain {endpoint}/{link}` says why it is not"
            ))
        }
        KeyState::Pending => Some(
            "wait: its turn has not come (subscriptions.rate, batch), or the server has not answered, which is a refusal after subscriptions.timeout"
                .into(),
        ),
        KeyState::Refused if view.why.as_deref() == Some(CANNOT_ASK) => Some(
            "write subscriptions.add in the configuration and reload, or put the key with the message that asks for it".into(),
        ),
        KeyState::Refused => {
            Some("mend what the server says, then put the key again; it is asked for on the next connection in any case".into())
        }
    }
}

/// `PUT /v1/endpoints/{name}/subscriptions/{key}`
#[cfg_attr(test, utoipa::path(put, path = "/v1/endpoints/{name}/subscriptions/{key}", tag = "subscriptions", operation_id = "subscribe",
    params(("name" = String, Path, description = "The endpoint."),
        ("key" = String, Path, description = "The key, percent-encoded."),
        ("holder" = Option<String>, Query, description = "The holder. All callers that name none count as one."),
        ("lease" = Option<String>, Query, description = "The key is released unless the call is repeated within this time, such as `60s`."),
        ("type" = Option<String>, Query, description = "`text` or `binary`, whatever the content type.")),
    request_body(description = "The message that subscribes. Empty if the configuration has a template for it.",
        content((Option<String> = "text/plain"), (Object = "application/json"), ("application/octet-stream"))),
    responses((status = 201, description = "The key is new.", body = wire::Subscription),
        (status = 200, description = "The key existed; this holder has it too now.", body = wire::Subscription), (status = "default", description = "A problem (RFC 9457).", content_type = "application/problem+json", body = wire::Problem))))]
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
    shared.pool.subscriptions_settled(&name).await;
    let status = if is_new { StatusCode::CREATED } else { StatusCode::OK };
    Ok(answer(status, &convert::subscription(&view)))
}

/// `DELETE /v1/endpoints/{name}/subscriptions/{key}`
#[cfg_attr(test, utoipa::path(delete, path = "/v1/endpoints/{name}/subscriptions/{key}", tag = "subscriptions", operation_id = "unsubscribe",
    params(("name" = String, Path, description = "The endpoint."),
        ("key" = String, Path, description = "The key, percent-encoded."),
        ("holder" = Option<String>, Query, description = "The holder that releases it. All callers that name none count as one."),
        ("type" = Option<String>, Query, description = "`text` or `binary`, whatever the content type.")),
    request_body(description = "The message that unsubscribes, sent if nobody else holds the key. Empty if the configuration has a template, or if nothing is to be sent.",
        content((Option<String> = "text/plain"), (Object = "application/json"), ("application/octet-stream"))),
    responses((status = 204, description = "This holder has released it."), (status = "default", description = "A problem (RFC 9457).", content_type = "application/problem+json", body = wire::Problem))))]
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
    shared.pool.subscriptions_settled(&name).await;
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
    let kind = params.with("type", "text or binary", messages::kind_of_word)?;
    let bytes = body::message(body, shared, endpoint).await?;
    if bytes.is_empty() {
        return Ok(None);
    }
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
                format!("send the message that asks for the key as the body, or write [endpoints.{name}.subscriptions] with `add` and reload"),
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
                    full(format!("subscriptions.max_keys = {limit} is reached; release some, or raise it"))
                        .with("limit", limit.into())
                }
                Refusal::Full { per_link, links } => full(format!(
                    "each of {links} links has {per_link} keys (subscriptions.per_link); release some, or allow more links"
                ))
                .with("perLink", per_link.into())
                .with("links", links.into()),
                Refusal::TooManyHolders(limit) => full(format!("the key is held by {limit} already")),
            },
        }
    }
}
