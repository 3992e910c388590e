//! Server-sent events: an endpoint's inbox, or the whole pool's log, from any cursor that is still kept.
//!
//! The stream *is* a reader of the hub: it takes the next entry only when the client has taken the one before, so a slow
//! client holds up nothing and costs one cursor. A long one is taken only when the budget has room for its text.

use std::{sync::Arc, time::Duration};

use axum::{
    Extension,
    extract::{Path, RawQuery, State},
    response::{
        IntoResponse, Response, Sse,
        sse::{Event as Frame, KeepAlive},
    },
};
use futures_util::StreamExt;
use http::HeaderMap;

use super::{
    Shared,
    access::Pass,
    consumer::{Consumer, PAUSE, Told, Wish, length},
    convert,
    problem::{Problem, unbuffered},
    query::Params,
};
use wskeeper_core::budget::{Budget, Rank};

/// What a client waits before it connects again.
const RETRY: Duration = Duration::from_secs(1);

/// `GET /v1/endpoints/{name}/events`
#[cfg_attr(test, utoipa::path(get, path = "/v1/endpoints/{name}/events", tag = "events", operation_id = "events",
    params(("name" = String, Path, description = "The endpoint."),
        ("from" = Option<String>, Query, description = "`latest` (unless given), `oldest`, or the last cursor seen."),
        ("types" = Option<String>, Query, description = "Only these, with commas between; a gap of the reader's own is always told."),
        ("binaryType" = Option<String>, Query, description = "`base64` (unless given) or `hex`."),
        ("on_lag" = Option<String>, Query, description = "`gap` (unless given) or `close`: what happens to a reader that falls behind."),
        ("Last-Event-ID" = Option<String>, Header, description = "The last cursor seen; counts before `from`.")),
    responses((status = 200, description = "Server-sent events; `data` is this JSON, `id` its cursor.", body = super::wire::Event, content_type = "text/event-stream"), (status = "default", description = "A problem (RFC 9457).", content_type = "application/problem+json", body = super::wire::Problem))))]
pub(super) async fn endpoint(
    State(shared): State<Arc<Shared>>,
    Path(name): Path<String>,
    RawQuery(query): RawQuery,
    Extension(pass): Extension<Pass>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let wish = wish(query.as_deref(), &headers)?;
    Ok(stream(&shared, Consumer::of(&shared, &name, wish)?, pass))
}

/// `GET /v1/events`
#[cfg_attr(test, utoipa::path(get, path = "/v1/events", tag = "events", operation_id = "poolEvents",
    params(("from" = Option<String>, Query, description = "`latest` (unless given), `oldest`, or the last cursor seen."),
        ("types" = Option<String>, Query, description = "Only these, with commas between; a gap of the reader's own is always told."),
        ("binaryType" = Option<String>, Query, description = "`base64` (unless given) or `hex`."),
        ("on_lag" = Option<String>, Query, description = "`gap` (unless given) or `close`: what happens to a reader that falls behind."),
        ("Last-Event-ID" = Option<String>, Header, description = "The last cursor seen; counts before `from`.")),
    responses((status = 200, description = "The same for the whole pool, without messages.", body = super::wire::Event, content_type = "text/event-stream"), (status = "default", description = "A problem (RFC 9457).", content_type = "application/problem+json", body = super::wire::Problem))))]
pub(super) async fn pool(
    State(shared): State<Arc<Shared>>,
    Extension(pass): Extension<Pass>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let wish = wish(query.as_deref(), &headers)?;
    Ok(stream(&shared, Consumer::of_all(&shared, wish), pass))
}

fn wish(query: Option<&str>, headers: &HeaderMap) -> Result<Wish, Problem> {
    let params = Params::read(query, &Wish::PARAMS)?;
    Wish::read(&params, headers.get("last-event-id").and_then(|value| value.to_str().ok()))
}

fn stream(shared: &Shared, consumer: Consumer, pass: Pass) -> Response {
    let hello = Frame::default().retry(RETRY).comment("wskeeper");
    // Sent at once, so that the client knows that it is heard.
    let first = futures_util::stream::once(std::future::ready(Ok::<_, axum::Error>(hello)));
    let budget = Arc::clone(shared.pool.budget());
    let events = futures_util::stream::unfold(Some((consumer, pass, budget)), |reader| async move {
        let (mut consumer, mut pass, budget) = reader?;
        let told = tokio::select! {
            biased;
            _ = pass.withdrawn() => return None,
            told = next(&mut consumer, &budget) => told,
        };
        let (event, goes_on) = match told {
            Told::Entry(entry) => (convert::event(&entry, consumer.binary()), true),
            Told::Gap(event) => (event, true),
            Told::Lagged(event) => (event, false),
            Told::Gone => return None,
        };
        let frame = Frame::default().id(event.cursor.to_string()).event(&event.kind).json_data(&event);
        Some((frame, goes_on.then_some((consumer, pass, budget))))
    });
    let keepalive = KeepAlive::new().interval(shared.config.get().api.keepalive);
    unbuffered(Sse::new(first.chain(events)).keep_alive(keepalive).into_response())
}

/// What comes next, and for what is long, room in the budget: the answer takes it as soon as it has the text.
async fn next(consumer: &mut Consumer, budget: &Arc<Budget>) -> Told {
    loop {
        match consumer.next().await {
            Told::Entry(entry) if length(&entry) > 0 && !budget.lease(Rank::Leaving).resize(length(&entry)) => {
                consumer.put_back();
            }
            told @ (Told::Entry(_) | Told::Gap(_) | Told::Lagged(_) | Told::Gone) => return told,
        }
        tokio::time::sleep(PAUSE).await;
    }
}
