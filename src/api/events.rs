//! Server-sent events: an endpoint's inbox, or the whole pool's log, from any cursor that is still kept.
//!
//! The stream *is* a reader of the hub: it takes the next entry only when the client has taken the one before, so a slow
//! client holds up nothing and costs one cursor.

use std::{sync::Arc, time::Duration};

use axum::{
    Extension,
    extract::{Path, RawQuery, State},
    response::{
        IntoResponse, Response, Sse,
        sse::{Event as Frame, KeepAlive},
    },
};
use http::{HeaderMap, StatusCode};

use super::{
    Shared,
    access::Grant,
    convert::{self, BinaryType},
    problem::Problem,
    query::Params,
    wire,
};
use crate::{
    hub::{From, Next, Reader},
    pool::Pool,
};

/// Types of events, as `?types=` names them.
const TYPES: [&str; 6] = ["open", "message", "error", "close", "phase", "gap"];
/// What a client waits before it connects again.
const RETRY: Duration = Duration::from_secs(1);

/// How a consumer wants to read.
#[derive(Debug, Clone)]
pub(super) struct Wish {
    pub(super) from: From,
    types: Option<Vec<String>>,
    pub(super) binary: BinaryType,
    /// Falling behind ends the stream.
    pub(super) close_on_lag: bool,
}

impl Wish {
    /// The parameters that every consumer may give.
    pub(super) const PARAMS: [&str; 4] = ["from", "types", "binaryType", "on_lag"];

    pub(super) fn read(params: &Params, last_seen: Option<&str>) -> Result<Self, Problem> {
        let from = params.with("from", "latest, oldest or a cursor", from)?;
        let types = params.with("types", &format!("a list of {}", TYPES.join(", ")), |list| {
            let types: Vec<_> = list.split(',').map(|word| word.trim().to_owned()).collect();
            types.iter().all(|word| TYPES.contains(&word.as_str())).then_some(types)
        })?;
        let on_lag = params.with("on_lag", "gap or close", |word| match word {
            "gap" => Some(false),
            "close" => Some(true),
            _ => None,
        })?;
        Ok(Self {
            // What a reconnecting client has seen is newer than what its URL says.
            from: last_seen.and_then(from_cursor).or(from).unwrap_or(From::Latest),
            types,
            binary: params.with("binaryType", "base64 or hex", BinaryType::from_word)?.unwrap_or_default(),
            close_on_lag: on_lag.unwrap_or_default(),
        })
    }

    pub(super) fn takes(&self, kind: &str) -> bool {
        // What this consumer lost is never hidden from it.
        kind == "gap" || self.types.as_ref().is_none_or(|types| types.iter().any(|word| word == kind))
    }
}

fn from(word: &str) -> Option<From> {
    match word {
        "latest" => Some(From::Latest),
        "oldest" => Some(From::Oldest),
        cursor => from_cursor(cursor),
    }
}

fn from_cursor(cursor: &str) -> Option<From> {
    cursor.trim().parse().ok().map(From::After)
}

/// `GET /v1/endpoints/{name}/events`
#[utoipa::path(get, path = "/v1/endpoints/{name}/events", tag = "events", operation_id = "events",
    params(("name" = String, Path, description = "The endpoint."),
        ("from" = Option<String>, Query, description = "`latest` (unless given), `oldest`, or the last cursor seen."),
        ("types" = Option<String>, Query, description = "Only these, with commas between; a gap of the reader's own is always told."),
        ("binaryType" = Option<String>, Query, description = "`base64` (unless given) or `hex`."),
        ("on_lag" = Option<String>, Query, description = "`gap` (unless given) or `close`: what happens to a reader that falls behind."),
        ("Last-Event-ID" = Option<String>, Header, description = "The last cursor seen; counts before `from`.")),
    responses((status = 200, description = "Server-sent events; `data` is this JSON, `id` its cursor.", body = wire::Event, content_type = "text/event-stream"), (status = "default", description = "A problem (RFC 9457).", content_type = "application/problem+json", body = wire::Problem)))]
pub(super) async fn endpoint(
    State(shared): State<Arc<Shared>>,
    Path(name): Path<String>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let wish = wish(query.as_deref(), &headers)?;
    let reader = shared.pool.subscribe(&name, wish.from).ok_or_else(|| super::links::no_endpoint(&name))?;
    Ok(stream(&shared, Some(name), reader, wish))
}

/// `GET /v1/events`
#[utoipa::path(get, path = "/v1/events", tag = "events", operation_id = "poolEvents",
    params(("from" = Option<String>, Query, description = "`latest` (unless given), `oldest`, or the last cursor seen."),
        ("types" = Option<String>, Query, description = "Only these, with commas between; a gap of the reader's own is always told."),
        ("binaryType" = Option<String>, Query, description = "`base64` (unless given) or `hex`."),
        ("on_lag" = Option<String>, Query, description = "`gap` (unless given) or `close`: what happens to a reader that falls behind."),
        ("Last-Event-ID" = Option<String>, Header, description = "The last cursor seen; counts before `from`.")),
    responses((status = 200, description = "The same for the whole pool, without messages.", body = wire::Event, content_type = "text/event-stream"), (status = "default", description = "A problem (RFC 9457).", content_type = "application/problem+json", body = wire::Problem)))]
pub(super) async fn pool(
    State(shared): State<Arc<Shared>>,
    Extension(grant): Extension<Grant>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    if !grant.sees_all() {
        let detail = "this token is for some endpoints only; read /v1/endpoints/{name}/events";
        return Err(Problem::new(StatusCode::FORBIDDEN, "forbidden", "The token does not allow this", detail));
    }
    let wish = wish(query.as_deref(), &headers)?;
    let reader = shared.pool.subscribe_all(wish.from);
    Ok(stream(&shared, None, reader, wish))
}

fn wish(query: Option<&str>, headers: &HeaderMap) -> Result<Wish, Problem> {
    let params = Params::read(query, &Wish::PARAMS)?;
    Wish::read(&params, headers.get("last-event-id").and_then(|value| value.to_str().ok()))
}

/// A consumer between two events.
struct Consumer {
    pool: Pool,
    endpoint: Option<String>,
    reader: Reader,
    wish: Wish,
    ended: bool,
}

impl Consumer {
    /// The next event that the consumer asked for; `None` at the end.
    async fn next(&mut self) -> Option<wire::Event> {
        while !self.ended {
            let event = match self.reader.next().await {
                Next::Closed => return None,
                Next::Entry(entry) => convert::event(&entry, self.wish.binary),
                Next::Gap { missed, from, to } => {
                    if let Some(name) = &self.endpoint {
                        self.pool.count_gap(name, missed);
                    }
                    self.ended = self.wish.close_on_lag;
                    convert::lag(self.endpoint.as_deref(), missed, from, to)
                }
            };
            if self.wish.takes(&event.kind) {
                return Some(event);
            }
        }
        None
    }
}

fn stream(shared: &Shared, endpoint: Option<String>, reader: Reader, wish: Wish) -> Response {
    let consumer = Consumer { pool: shared.pool.clone(), endpoint, reader, wish, ended: false };
    let frames = futures_util::stream::unfold((consumer, true), |(mut consumer, first)| async move {
        if first {
            // Sent at once, so that the client knows that it is heard.
            let hello = Frame::default().retry(RETRY).comment("wskeeper");
            return Some((Ok::<_, axum::Error>(hello), (consumer, false)));
        }
        let event = consumer.next().await?;
        let frame = Frame::default().id(event.cursor.to_string()).event(&event.kind).json_data(&event);
        Some((frame, (consumer, false)))
    });
    let keepalive = KeepAlive::new().interval(shared.pool.config().api.keepalive);
    Sse::new(frames).keep_alive(keepalive).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wish(query: &str, last_seen: Option<&str>) -> Result<Wish, Problem> {
        Wish::read(&Params::read(Some(query), &Wish::PARAMS)?, last_seen)
    }

    #[test]
    fn the_last_event_id_counts_before_the_url() {
        assert_eq!(wish("from=oldest", Some("17")).map(|wish| wish.from), Ok(From::After(17)));
        assert_eq!(wish("from=oldest", None).map(|wish| wish.from), Ok(From::Oldest));
        assert_eq!(wish("from=9", None).map(|wish| wish.from), Ok(From::After(9)));
        assert_eq!(wish("", None).map(|wish| wish.from), Ok(From::Latest));
        assert!(wish("from=yesterday", None).is_err());
    }

    #[test]
    fn a_gap_is_told_whatever_types_are_asked_for() {
        assert!(wish("types=message", None).expect("a type").takes("gap"));
    }

    #[test]
    fn only_known_types_can_be_asked_for() {
        let wanted = wish("types=message,gap", None).expect("both are types");
        assert!(wanted.takes("message") && !wanted.takes("phase"));
        assert!(wish("types=message,nonsense", None).is_err());
    }
}
