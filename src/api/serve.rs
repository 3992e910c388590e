//! From accepted connections to requests: places, time limits, the end.
//!
//! A connection without a request under way is closed after `api.header_timeout`, whatever it has sent so far: nothing at all,
//! half a head, or a whole request a while ago. Only requests and WebSockets keep a place.

use std::{convert::Infallible, time::Duration};

use axum::{
    Router,
    body::Body,
    response::{IntoResponse, Response},
};
use http::{Request, StatusCode};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::watch,
    task::{AbortHandle, JoinSet},
};
use tower::ServiceExt;

use super::{
    Listener, Problem,
    busy::{Busy, idle},
    listen::Accepted,
    places::{Place, Places},
    stall::Stall,
    stopped,
};
use crate::config;

/// The largest head of a request.
const HEAD_MAX: usize = 32 << 10;
/// Streams of one HTTP/2 connection.
const STREAMS_MAX: u32 = 128;
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

/// Accepts and serves until `stop` turns true; then what is open gets [`GRACE`].
pub(super) async fn serve(
    listener: Listener,
    router: Router,
    mut places: Places,
    config: &config::Api,
    mut stop: watch::Receiver<bool>,
) {
    let limits = Limits { header: config.header_timeout, write: config.write_timeout };
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            () = stopped(&mut stop) => break,
            accepted = listener.accept(limits.write) => accepted,
        };
        while connections.try_join_next().is_some() {}
        let accepted = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                // Out of file descriptors, most likely: it passes, and spinning would not help.
                tracing::warn!(%error, "the api cannot accept a connection");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let place = places.take();
        let is_extra = place.is_none();
        let busy = watch::Sender::new(0);
        let watched = busy.subscribe();
        let connection = Connection { router: router.clone(), stop: stop.clone(), limits, place, busy };
        let task = connection.spawn(accepted, &mut connections);
        if is_extra {
            places.admit(task, watched);
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
    router: Router,
    stop: watch::Receiver<bool>,
    limits: Limits,
    /// `None`: it came when the house was full.
    place: Option<Place>,
    /// Requests under way.
    busy: watch::Sender<usize>,
}

impl Connection {
    fn spawn(self, accepted: Accepted, connections: &mut JoinSet<()>) -> AbortHandle {
        match accepted {
            Accepted::Tcp(stream) => connections.spawn(self.serve(stream)),
            Accepted::Unix(stream) => connections.spawn(self.serve(stream)),
        }
    }

    async fn serve(mut self, stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) {
        let has_place = self.place.is_some();
        let (router, place, busy) = (self.router, self.place, self.busy.clone());
        let service = service_fn(move |request| {
            let (router, place, busy) = (router.clone(), place.clone(), Busy::new(&busy));
            async move { Ok::<_, Infallible>(answer(router, place, busy, request).await) }
        });
        let mut builder = auto::Builder::new(TokioExecutor::new());
        builder.http1().timer(TokioTimer::new()).header_read_timeout(self.limits.header).max_buf_size(HEAD_MAX);
        builder.http1().keep_alive(has_place);
        builder
            .http2()
            .timer(TokioTimer::new())
            .keep_alive_interval(PING)
            .keep_alive_timeout(PING)
            .max_concurrent_streams(STREAMS_MAX)
            .max_header_list_size(HEAD_MAX.try_into().unwrap_or(u32::MAX));
        let stream = TokioIo::new(Stall::new(stream, self.limits.write));
        let connection = builder.serve_connection_with_upgrades(stream, service);
        tokio::pin!(connection);
        let extra = async { if has_place { std::future::pending().await } else { tokio::time::sleep(EXTRA).await } };
        tokio::select! {
            // A client that breaks off mid-request is its own affair.
            _ = connection.as_mut() => return,
            () = extra => return,
            () = idle(self.busy.subscribe(), self.limits.header) => {}
            () = stopped(&mut self.stop) => {}
        }
        connection.as_mut().graceful_shutdown();
        let _ = tokio::time::timeout(GRACE, connection).await;
    }
}

async fn answer(router: Router, place: Option<Place>, busy: Busy, mut request: Request<Incoming>) -> Response {
    let response = match place {
        None if !ALWAYS.contains(&request.uri().path()) => full().into_response(),
        place => {
            if let Some(place) = place {
                request.extensions_mut().insert(place);
            }
            router.oneshot(request.map(Body::new)).await.into_response()
        }
    };
    response.map(|body| Body::new(busy.until_taken(body)))
}

fn full() -> Problem {
    let detail = "api.max_connections is reached; close connections that are not needed, or raise it and restart";
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, "connections-full", "The API has no place left", detail)
        .retry_after(1)
}
