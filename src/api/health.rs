//! Whether the daemon lives and is ready, its metrics, and a page for people.
//!
//! A remote outage makes nobody restart the daemon: a queue is useful exactly then. Only who asks for `links` is told of it.

use std::sync::Arc;

use axum::{
    extract::{RawQuery, State},
    response::{Html, IntoResponse, Response},
};
use http::{HeaderValue, StatusCode, header};
use serde_json::json;

use super::{
    Shared,
    problem::{Problem, answer},
    query::Params,
};
use crate::{config::Readiness, core::phase::Phase, observe};

/// `GET /livez`: the process answers and its pool can be looked at.
pub(super) async fn live(State(shared): State<Arc<Shared>>) -> Response {
    let endpoints = shared.pool.endpoints().len();
    answer(StatusCode::OK, &json!({ "status": "alive", "endpoints": endpoints }))
}

/// `GET /readyz`
pub(super) async fn ready(State(shared): State<Arc<Shared>>, RawQuery(query): RawQuery) -> Result<Response, Problem> {
    let params = Params::read(query.as_deref(), &["links"])?;
    let mut reasons = Vec::new();
    if shared.pool.is_draining() {
        reasons.push("the daemon is stopping".to_owned());
    }
    let config = shared.pool.config();
    if params.get("links").is_some() || config.api.readiness == Readiness::Links {
        for view in shared.pool.endpoints().iter().filter(|view| view.config.critical) {
            let place = Phase::ALL.iter().position(|phase| *phase == Phase::Ready);
            let ready = place.map_or(0, |place| view.totals.phases[place]);
            let needed = view.config.min_ready;
            if ready < needed {
                reasons.push(format!("{}: {ready} of {needed} links ready", view.config.name));
            }
        }
    }
    if reasons.is_empty() {
        return Ok(answer(StatusCode::OK, &json!({ "status": "ready" })));
    }
    let problem = Problem::new(StatusCode::SERVICE_UNAVAILABLE, "not-ready", "Not ready", reasons.join("; "));
    Err(problem.with("reasons", json!(reasons)))
}

/// `GET /metrics`, Prometheus text 0.0.4
pub(super) async fn metrics(State(shared): State<Arc<Shared>>) -> Response {
    shared.pool.observe();
    let kind = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    ([(header::CONTENT_TYPE, kind)], observe::render(&shared.registry)).into_response()
}

/// `GET /`
pub(super) async fn page() -> Response {
    let policy = HeaderValue::from_static(
        "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; connect-src 'self'; \
         base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    );
    ([(header::CONTENT_SECURITY_POLICY, policy)], Html(include_str!("page.html"))).into_response()
}
