//! The local API: HTTP/1.1 and HTTP/2 cleartext over TCP or a unix socket.
//!
//! This room translates: requests into calls of the pool, answers into JSON, refusals into problem details. It decides
//! nothing about links. Everything that comes in is bounded: connections, heads, bodies, lines, time.

mod access;
mod batch;
mod body;
mod browser;
mod busy;
mod chaos;
mod consumer;
mod convert;
mod daemon;
mod dead;
mod dynamic;
mod events;
mod explain;
mod frames;
mod health;
mod lines;
mod linger;
mod links;
mod listen;
mod messages;
mod metrics;
mod openapi;
mod orphans;
mod page;
mod places;
mod problem;
mod query;
mod reload;
mod requests;
mod serve;
mod socket;
mod sse;
mod stall;
mod subscriptions;
#[cfg(test)]
mod tests;
mod tokens;
pub mod wire;

use std::{net::IpAddr, sync::Arc, time::Duration};

use axum::{
    Router,
    extract::{DefaultBodyLimit, Request},
    middleware,
    response::{IntoResponse, Response},
};
use http::{StatusCode, Uri};
use tokio::{sync::watch, time::Instant};

use crate::{config::InForce, observe::Families, process::logging, push::Pushes};
use metrics::Scribe;
use places::Places;
use serve::Served;
use tokens::Keys;
use wskeeper_link::{link::json, pool::Pool};

pub use convert::WRITING;
pub(crate) use convert::{BinaryType, event, lag};
pub use dynamic::{Asked, Conditions, Denied, Done, DynamicEndpoints, Gone, Put, Remove};
pub use listen::{ListenError, Listener, SocketFile};
pub use problem::Problem;
pub use reload::{Planned, Planning, Reload, ReloadError};

/// What the API stands on.
#[derive(Clone)]
pub struct Api {
    /// The links.
    pub pool: Pool,
    /// What is in force of the configuration.
    pub config: InForce,
    /// What `/metrics` shows, and what the API itself counts into.
    pub families: Arc<Families>,
    /// What `GET /v1/plan` and `POST /v1/reload` ask.
    pub reload: Arc<dyn Reload>,
    /// What `PUT` and `DELETE` of endpoints ask.
    pub endpoints: Arc<dyn DynamicEndpoints>,
    /// What goes to receivers by itself.
    pub pushes: Pushes,
}

/// What every handler sees.
struct Shared {
    pool: Pool,
    config: InForce,
    scribe: Scribe,
    families: Arc<Families>,
    reload: Arc<dyn Reload>,
    endpoints: Arc<dyn DynamicEndpoints>,
    pushes: Pushes,
    /// When the API began to answer.
    since: Instant,
    /// True once streams must end.
    stop: watch::Receiver<bool>,
    /// The address that the API is bound to, whatever a reloaded configuration says; `None`: a unix socket.
    bound: Option<IpAddr>,
    keys: Keys,
    body_timeout: Duration,
    max_body: usize,
    /// Connections that programs have opened as their own.
    claims: socket::Claims,
}

impl Api {
    /// Serves until `stop` turns true; then no connection is accepted any more, and what is open gets a moment to end.
    pub async fn serve(self, listener: Listener, stop: watch::Receiver<bool>) {
        let config = self.config.get();
        let places = Places::new(config.api.max_connections, Arc::clone(&self.families));
        let scribe = Scribe::start(Arc::clone(self.pool.budget()), {
            let (pool, families) = (self.pool.clone(), Arc::clone(&self.families));
            let (pushes, config) = (self.pushes.clone(), self.config.clone());
            let counter = places.counter();
            move || {
                pool.observe();
                pushes.observe(&families);
                families.endpoints(config.counts(), config.get().limits.endpoints);
                families.log_lines_dropped(logging::dropped());
                counter.observe();
                families.render()
            }
        });
        let shared = Shared {
            pool: self.pool,
            config: self.config,
            scribe,
            families: self.families,
            reload: self.reload,
            endpoints: self.endpoints,
            pushes: self.pushes,
            since: Instant::now(),
            stop: stop.clone(),
            bound: listener.ip(),
            keys: Keys::default(),
            body_timeout: config.api.body_timeout,
            max_body: config.api.max_body,
            claims: socket::Claims::default(),
        };
        let shared = Arc::new(shared);
        let served = Served { router: router(Arc::clone(&shared), config.api.max_body), shared: Arc::clone(&shared) };
        tokio::select! {
            () = serve::serve(listener, served, places, &config.api, stop) => {}
            () = shared.keys.look_after(&shared.config) => {}
        }
    }
}

/// Waits until streams must end; also where nobody is left to say so.
async fn stopped(stop: &mut watch::Receiver<bool>) {
    // An error means that the sender is gone, and the daemon with it.
    let _ = stop.wait_for(|stop| *stop).await;
}

fn router(shared: Arc<Shared>, max_body: usize) -> Router {
    let guard = middleware::from_fn_with_state(Arc::clone(&shared), access::check);
    openapi::routes()
        .fallback(no_such_path)
        .method_not_allowed_fallback(no_such_method)
        .layer(DefaultBodyLimit::max(max_body))
        .layer(guard)
        .layer(middleware::map_response(as_problem))
        .with_state(shared)
}

async fn no_such_path(uri: Uri) -> Problem {
    Problem::not_found(format!("there is nothing at {}; GET /v1/openapi.json says what there is", uri.path()))
}

async fn no_such_method(request: Request) -> Problem {
    let detail = format!("{} is not for {}; GET /v1/openapi.json says what is", request.method(), request.uri().path());
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, "method-not-allowed", "This method is not for this path", detail)
}

/// What the framework refuses by itself becomes a problem too.
async fn as_problem(response: Response) -> Response {
    let status = response.status();
    let is_json = response.headers().get(http::header::CONTENT_TYPE).is_some();
    let is_failure = status.is_client_error() || status.is_server_error();
    let is_plain = response
        .headers()
        .get(http::header::CONTENT_TYPE)
        .is_some_and(|kind| kind.as_bytes().starts_with(b"text/plain"));
    if !is_failure || (is_json && !is_plain) {
        return response;
    }
    let problem = match status {
        StatusCode::PAYLOAD_TOO_LARGE => Problem::too_large("the body is larger than api.max_body"),
        status => {
            let body = axum::body::to_bytes(response.into_body(), 4096).await.unwrap_or_default();
            Problem::new(status, "bad-request", "The request cannot be understood", String::from_utf8_lossy(&body))
        }
    };
    problem.into_response()
}
