//! Server-sent events: an endpoint's inbox, or the whole pool's log, from any cursor that is still kept.
//!
//! The stream *is* a reader of the hub: it takes the next entry only when the client has taken the one before, so a slow
//! client holds up nothing and costs one cursor. A long one is taken only when the budget has room for its text.

use std::sync::Arc;

use axum::{
    Extension,
    body::Bytes,
    extract::{Path, RawQuery, State},
    response::Response,
};
use futures_util::FutureExt;
use http::HeaderMap;

use super::{
    Shared,
    access::Pass,
    consumer::{self, PAUSE, Wish, length},
    convert::{self, BinaryType},
    problem::Problem,
    query::Params,
    sse::{self, Events, HELLO},
};
use wskeeper_core::budget::{Budget, Rank};
use wskeeper_link::pool::local::{Consumer, Told};

/// A piece of the body is full with so many bytes.
const PIECE: usize = 16 << 10;

/// `GET /v1/endpoints/{name}/events`
#[cfg_attr(test, utoipa::path(get, path = "/v1/endpoints/{name}/events", tag = "events", operation_id = "events",
    params(("name" = String, Path, description = "The endpoint."),
        ("from" = Option<String>, Query, description = "`latest` (default), `oldest`, or the last cursor seen."),
        ("types" = Option<String>, Query, description = "Only these types, separated by commas. The reader's own gaps are always sent."),
        ("stream" = Option<String>, Query, description = "This stream of the endpoint instead of its whole inbox; its cursors are its own."),
        ("match" = Option<Vec<String>>, Query, description = "Only messages that have this value at this place: a JSON pointer, `=` and a value, as in `/s=BTCUSDT`. If it is given several times, all must match."),
        ("binaryType" = Option<String>, Query, description = "`base64` (default) or `hex`."),
        ("on_lag" = Option<String>, Query, description = "What happens to a reader that falls behind: `gap` (default) or `close`."),
        ("Last-Event-ID" = Option<String>, Header, description = "The last cursor seen; counts before `from`.")),
    responses((status = 200, description = "Server-sent events; `data` is this JSON, `id` its cursor.", body = super::wire::Event, content_type = "text/event-stream"), (status = "default", description = "A problem (RFC 9457).", content_type = "application/problem+json", body = super::wire::Problem))))]
pub(super) async fn endpoint(
    State(shared): State<Arc<Shared>>,
    Path(name): Path<String>,
    RawQuery(query): RawQuery,
    Extension(pass): Extension<Pass>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let wish = wish(query.as_deref(), &Wish::OWN, &headers)?;
    let wanted = wish.reading.stream.clone();
    let consumer = Consumer::of(&shared.pool, &name, wish.reading)
        .ok_or_else(|| consumer::none(&shared.pool, &name, wanted.as_deref()))?;
    Ok(stream(&shared, consumer, wish.binary, pass))
}

/// `GET /v1/events`
#[cfg_attr(test, utoipa::path(get, path = "/v1/events", tag = "events", operation_id = "poolEvents",
    params(("from" = Option<String>, Query, description = "`latest` (default), `oldest`, or the last cursor seen."),
        ("types" = Option<String>, Query, description = "Only these types, separated by commas. The reader's own gaps are always sent."),
        ("binaryType" = Option<String>, Query, description = "`base64` (default) or `hex`."),
        ("on_lag" = Option<String>, Query, description = "What happens to a reader that falls behind: `gap` (default) or `close`."),
        ("Last-Event-ID" = Option<String>, Header, description = "The last cursor seen; counts before `from`.")),
    responses((status = 200, description = "The same for the whole pool, without messages.", body = super::wire::Event, content_type = "text/event-stream"), (status = "default", description = "A problem (RFC 9457).", content_type = "application/problem+json", body = super::wire::Problem))))]
pub(super) async fn pool(
    State(shared): State<Arc<Shared>>,
    Extension(pass): Extension<Pass>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let wish = wish(query.as_deref(), &Wish::PARAMS, &headers)?;
    Ok(stream(&shared, Consumer::of_all(&shared.pool, wish.reading), wish.binary, pass))
}

fn wish(query: Option<&str>, allowed: &[&str], headers: &HeaderMap) -> Result<Wish, Problem> {
    let params = Params::read(query, allowed)?;
    Wish::read(&params, headers.get("last-event-id").and_then(|value| value.to_str().ok()))
}

fn stream(shared: &Shared, consumer: Consumer, binary: BinaryType, pass: Pass) -> Response {
    let reading = Reading { consumer, binary, pass, budget: Arc::clone(shared.pool.budget()) };
    let pieces = futures_util::stream::unfold(Some(reading), |reading| async move {
        let mut reading = reading?;
        let (piece, goes_on) = reading.piece().await?;
        Some((piece, goes_on.then_some(reading)))
    });
    sse::answer(HELLO, pieces, shared.config.get().api.keepalive)
}

/// A client's place in what it reads.
struct Reading {
    consumer: Consumer,
    binary: BinaryType,
    pass: Pass,
    budget: Arc<Budget>,
}

impl Reading {
    /// Waits for an event and takes those that are there behind it too; and whether more may come. `None`: that was all.
    async fn piece(&mut self) -> Option<(Result<Bytes, serde_json::Error>, bool)> {
        let mut told = tokio::select! {
            biased;
            _ = self.pass.withdrawn() => return None,
            told = next(&mut self.consumer, &self.budget) => Some(told),
        };
        let (mut events, mut goes_on) = (Events::default(), true);
        while let Some(now) = told {
            let event = match now {
                Told::Entry(entry) => convert::event(&entry, self.binary),
                Told::Gap(lag) => convert::lag(self.consumer.endpoint(), lag),
                Told::Lagged(lag) => {
                    goes_on = false;
                    convert::lag(self.consumer.endpoint(), lag)
                }
                Told::Gone => {
                    goes_on = false;
                    break;
                }
            };
            if let Err(error) = events.put(Some(event.cursor), &event.kind, &event) {
                return Some((Err(error), false));
            }
            let has_room = goes_on && events.len() < PIECE;
            told = if has_room { next(&mut self.consumer, &self.budget).now_or_never() } else { None };
        }
        (events.len() > 0).then(|| (Ok(events.into_bytes()), goes_on))
    }
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
