//! From accepted connections to requests: places, time limits, the end.
//!
//! A connection without a request under way is closed after `api.header_timeout`, whatever it has sent so far: nothing at all,
//! half a head, or a whole request a while ago. Only requests and WebSockets keep a place.

use std::{convert::Infallible, sync::Arc, time::Duration};

use axum::{
    Router,
    body::{Body, Bytes, HttpBody as _},
    response::IntoResponse,
};
use futures_util::{FutureExt as _, StreamExt as _, stream::FuturesUnordered};
use http::{Request, Response, StatusCode, Version};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto,
};
use tokio::{
    net::{TcpStream, UnixStream},
    sync::watch,
    task::{AbortHandle, JoinSet},
    time::Instant,
};
use tokio_util::either::Either;
use tower::ServiceExt;

use super::{
    Listener, Problem, Shared,
    access::{self, Need},
    browser,
    busy::{Answer, Busy, Visits},
    linger::Lingering,
    listen::Accepted,
    messages,
    metrics::Shares,
    places::{Place, Places, Room},
    stall::Stall,
    stopped,
};
use crate::{config, process::files};
use wskeeper_core::budget::Rank;

/// The largest head of a request.
const HEAD_MAX: usize = 32 << 10;
/// Streams of one HTTP/2 connection.
const STREAMS_MAX: u32 = 128;
/// What an HTTP/2 client may send before it is read: of a stream, and of a connection. An unread body waits there.
const STREAM_WINDOW: u32 = 64 << 10;
const CONNECTION_WINDOW: u32 = 256 << 10;
/// What waits in HTTP/2 of the answer of a stream, beside what waits in [`Answer`].
const STREAM_OUT: usize = 16 << 10;
/// An answer that is longer counts in the budget.
const SMALL: u64 = 64 << 10;
/// A failure to accept is logged at most this often.
const QUIET: Duration = Duration::from_mins(1);
/// What is waited before the next try.
const PAUSE: Duration = Duration::from_millis(20);

/// An HTTP/2 client is asked this often whether it is there, and given up after as long again.
const PING: Duration = Duration::from_secs(20);
/// What streams and requests under way get to end at shutdown.
const GRACE: Duration = Duration::from_secs(2);
/// What a connection beyond the limit gets for its one request.
const EXTRA: Duration = Duration::from_secs(5);
/// What is served to it.
const ALWAYS: [&str; 3] = ["/livez", "/readyz", "/metrics"];

/// Limits of one connection.
#[derive(Debug, Clone, Copy)]
struct Limits {
    header: Duration,
    write: Duration,
}

/// What answers.
pub(super) struct Served {
    pub(super) router: Router,
    pub(super) shared: Arc<Shared>,
}

/// Accepts and serves until `stop` turns true; then what is open gets [`GRACE`].
pub(super) async fn serve(
    listener: Listener,
    served: Served,
    mut places: Places,
    config: &config::Api,
    mut stop: watch::Receiver<bool>,
) {
    let served = Arc::new(served);
    let limits = Limits { header: config.header_timeout, write: config.write_timeout };
    let (mut connections, mut warned) = (JoinSet::new(), None);
    loop {
        let accepted = tokio::select! {
            () = stopped(&mut stop) => break,
            accepted = listener.accept(limits.write) => accepted,
        };
        while connections.try_join_next().is_some() {}
        let (accepted, room) = match accepted {
            Ok(accepted) => (accepted, Room::Free),
            Err(error) => {
                if warned.is_none_or(|at: Instant| at.elapsed() >= QUIET) {
                    warned = Some(Instant::now());
                    tracing::warn!(%error, "the api cannot accept a connection; meanwhile health and metrics only are served");
                }
                // Out of file descriptors, most likely: some are kept back for this.
                let spare = files::with_spare(|| listener.accept(limits.write).now_or_never());
                let Some(Ok(accepted)) = spare else {
                    tokio::time::sleep(PAUSE).await;
                    continue;
                };
                (accepted, Room::Spare)
            }
        };
        let place = if room == Room::Free { places.take() } else { places.refuse() };
        let is_extra = place.is_none();
        let speaks = is_extra && accepted.speaks();
        let visits = Visits::new();
        let answerer = Answerer { served: Arc::clone(&served), place, visits: Arc::clone(&visits) };
        let connection = Connection { answerer: Arc::new(answerer), stop: stop.clone(), limits };
        let task = connection.spawn(accepted, &mut connections);
        if is_extra {
            places.admit(task, visits, speaks, room);
        }
    }
    drop(listener);
    let ended = async {
        while connections.join_next().await.is_some() {}
        places.emptied().await;
    };
    let _ = tokio::time::timeout(GRACE, ended).await;
}

struct Connection {
    answerer: Arc<Answerer>,
    stop: watch::Receiver<bool>,
    limits: Limits,
}

/// What the requests of a connection have in common.
struct Answerer {
    served: Arc<Served>,
    /// `None`: it came when there were as many as there may be.
    place: Option<Place>,
    visits: Arc<Visits>,
}

impl Connection {
    fn spawn(self, accepted: Accepted, connections: &mut JoinSet<()>) -> AbortHandle {
        // One kind of stream: HTTP for two kinds would be in the program twice.
        let stream = match accepted {
            Accepted::Tcp(stream) => Either::Left(stream),
            Accepted::Unix(stream) => Either::Right(stream),
        };
        connections.spawn(self.serve(stream))
    }

    async fn serve(self, stream: Either<TcpStream, UnixStream>) {
        let (has_place, visits) = (self.answerer.place.is_some(), Arc::clone(&self.answerer.visits));
        let answerer = self.answerer;
        let service = service_fn(move |request| {
            let answerer = Arc::clone(&answerer);
            async move { Ok::<_, Infallible>(answerer.answer(request).await) }
        });
        let mut builder = auto::Builder::new(TokioExecutor::new());
        // The time for a head is kept below: a timer of hyper's is made and dropped for every request.
        builder.http1().header_read_timeout(None).max_buf_size(HEAD_MAX).keep_alive(has_place);
        builder
            .http2()
            .timer(TokioTimer::new())
            .keep_alive_interval(PING)
            .keep_alive_timeout(PING)
            .max_concurrent_streams(STREAMS_MAX)
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .max_send_buf_size(STREAM_OUT)
            .max_header_list_size(HEAD_MAX.try_into().unwrap_or(u32::MAX));
        let stream = TokioIo::new(Stall::new(stream, self.limits.write, Arc::clone(&visits)));
        let connection = builder.serve_connection_with_upgrades(stream, service);
        tokio::pin!(connection);
        let (limits, mut stop) = (self.limits, self.stop);
        let asked = Arc::clone(&visits);
        let is_idle = async move {
            asked.idle(limits.header).await;
            // Nothing is under way: all that is left of an HTTP/1 connection is half a head. HTTP/2 may still hold the ends of answers,
            // and is closed when they have left.
            if asked.is_multiplexed() { limits.write } else { Duration::ZERO }
        };
        let is_stalled = async move {
            visits.stalled(limits.write).await;
            Duration::ZERO
        };
        let is_stopped = async move {
            stopped(&mut stop).await;
            GRACE
        };
        let is_over = async move {
            if has_place {
                std::future::pending::<()>().await;
            }
            tokio::time::sleep(EXTRA).await;
            Duration::ZERO
        };
        // Each is looked at when it has something to say, and not whenever the connection has.
        let mut ends =
            FuturesUnordered::from_iter([is_idle.boxed(), is_stalled.boxed(), is_stopped.boxed(), is_over.boxed()]);
        let grace = tokio::select! {
            biased;
            // A client that breaks off mid-request is its own affair.
            _ = connection.as_mut() => return,
            grace = ends.next() => grace.unwrap_or(GRACE),
        };
        connection.as_mut().graceful_shutdown();
        let _ = tokio::time::timeout(grace, connection).await;
    }
}

impl Answerer {
    async fn answer(&self, request: Request<Incoming>) -> Response<Answer> {
        let asker = browser::Asker::of(request.headers());
        let mut response = self.answer_any(request).await;
        if let Some(asker) = asker {
            browser::mark(&self.served.shared.config.get().api, asker, response.headers_mut());
        }
        response
    }

    async fn answer_any(&self, request: Request<Incoming>) -> Response<Answer> {
        let mut request = Lingering::of(request);
        let busy = self.visits.begin();
        if request.version() == Version::HTTP_2 {
            self.visits.set_multiplexed();
        }
        let response = match &self.place {
            None if !ALWAYS.contains(&request.uri().path()) => full().into_response(),
            // What is asked most is found before the router looks for it: axum's router boxes futures and clones services.
            Some(_) if let Some(endpoint) = messages::sent_to(&request) => match self.send(endpoint, request).await {
                Ok(response) => return response.map(|bytes| Answer::whole(bytes, busy)),
                Err(problem) => problem.into_response(),
            },
            place => {
                if let Some(place) = place {
                    request.extensions_mut().insert(Arc::clone(place));
                }
                let request = request.map(Body::new);
                // In a box: it is large, and would make the future of every request so.
                Box::pin(self.served.router.clone().oneshot(request)).await.into_response()
            }
        };
        self.counted(response, busy)
    }

    /// What the router and its layer of access do for a send.
    async fn send(&self, endpoint: Arc<str>, request: Request<Lingering>) -> Result<Response<Bytes>, Problem> {
        let shared = &self.served.shared;
        let (head, body) = request.into_parts();
        access::admit(shared, &head, Need::Send, Some(&endpoint)).await?;
        messages::take(shared, endpoint, head, body).await
    }

    /// A long answer needs room; what is shared has it already.
    fn counted(&self, response: Response<Body>, busy: Busy) -> Response<Answer> {
        let budget = self.served.shared.pool.budget();
        let length = response.body().size_hint().exact().unwrap_or_default();
        let is_shared = response.extensions().get::<Shares>().is_some();
        if length > SMALL && !is_shared && !budget.lease(Rank::Leaving).resize(length) {
            return Problem::no_room().into_response().map(|body| Answer::stream(body, None, busy));
        }
        let budget = (!is_shared).then(|| Arc::clone(budget));
        response.map(|body| Answer::stream(body, budget, busy))
    }
}

fn full() -> Problem {
    let detail = "api.max_connections, or the limit of open files, is reached: close connections that are not needed, or raise \
                  it and restart";
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, "connections-full", "The API has no place left", detail)
        .retry_after(1)
}
