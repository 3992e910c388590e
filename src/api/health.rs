//! Whether the daemon lives and is ready.
//!
//! A remote outage makes nobody restart the daemon: a queue is useful exactly then. Only who asks for `links` is told of it.

use std::sync::Arc;

use axum::{
    extract::{RawQuery, State},
    response::Response,
};
use http::StatusCode;
use serde_json::json;

use super::{
    Shared,
    problem::{Problem, answer},
    query::Params,
    wire,
};
use crate::config::Readiness;
use wskeeper_core::phase::Phase;

/// `GET /livez`: the process answers, and those who hold the links do by the last look at them.
#[cfg_attr(test, utoipa::path(get, path = "/livez", tag = "daemon", operation_id = "live",
    responses((status = 200, description = "Alive.", body = wire::Status), (status = "default", description = "A problem (RFC 9457).", content_type = "application/problem+json", body = wire::Problem))))]
pub(super) async fn live(State(shared): State<Arc<Shared>>) -> Result<Response, Problem> {
    if let Some(wedged) = shared.pool.wedged() {
        return Err(Problem::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "wedged",
            "The daemon is wedged: restart it",
            wedged,
        ));
    }
    let status = wire::Status {
        status: "alive".into(),
        endpoints: Some(shared.pool.count()),
        version: Some(env!("CARGO_PKG_VERSION").into()),
        uptime_seconds: Some(shared.since.elapsed().as_secs()),
    };
    Ok(answer(StatusCode::OK, &status))
}

/// `GET /readyz`
#[cfg_attr(test, utoipa::path(get, path = "/readyz", tag = "daemon", operation_id = "ready",
    params(("links" = Option<String>, Query, description = "Ask for the links of critical endpoints too; the value is ignored.")),
    responses((status = 200, description = "Ready.", body = wire::Status), (status = "default", description = "A problem (RFC 9457).", content_type = "application/problem+json", body = wire::Problem))))]
pub(super) async fn ready(State(shared): State<Arc<Shared>>, RawQuery(query): RawQuery) -> Result<Response, Problem> {
    let params = Params::read(query.as_deref(), &["links"])?;
    let mut reasons: Vec<Arc<str>> = Vec::new();
    if shared.pool.is_draining() {
        reasons.push("the daemon is stopping".into());
    }
    reasons.extend(shared.pool.store().and_then(|store| store.failure));
    let config = shared.config.get();
    if params.get("links").is_some() || config.api.readiness == Readiness::Links {
        for view in shared.pool.endpoints().iter().filter(|view| view.config.critical) {
            let place = Phase::ALL.iter().position(|phase| *phase == Phase::Ready);
            // One that is asleep is as good as ready: whoever needs it wakes it.
            let ready = place.map_or(0, |place| view.totals.phases[place]) + view.totals.asleep;
            let needed = view.config.min_ready;
            if ready < needed {
                reasons.push(format!("{}: {ready} of {needed} links ready", view.config.name).into());
            }
        }
    }
    if reasons.is_empty() {
        return Ok(answer(StatusCode::OK, &wire::Status { status: "ready".into(), ..wire::Status::default() }));
    }
    let problem = Problem::new(StatusCode::SERVICE_UNAVAILABLE, "not-ready", "Not ready", reasons.join("; "));
    Err(problem.with("reasons", json!(reasons)))
}
