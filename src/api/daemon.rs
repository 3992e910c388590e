//! `/v1/daemon`: the daemon itself, and what the caller may do with it.
//!
//! Probes ask `/livez` and `/readyz`, which need no token; this call does, because it tells what the token allows.

use std::sync::Arc;

use axum::{Extension, extract::State, response::Response};
use http::StatusCode;

use super::{Shared, access::Grant, problem::answer, wire};

/// Where its documentation is, as far as `Cargo.toml` says. Both are empty where that says nothing.
const DOCUMENTATION: [&str; 2] = [env!("CARGO_PKG_HOMEPAGE"), env!("CARGO_PKG_REPOSITORY")];

/// `GET /v1/daemon`
#[cfg_attr(test, utoipa::path(get, path = "/v1/daemon", tag = "daemon", operation_id = "daemon",
    responses((status = 200, description = "As it is now.", body = wire::Daemon), (status = "default", description = "A problem (RFC 9457).", content_type = "application/problem+json", body = wire::Problem))))]
pub(super) async fn daemon(State(shared): State<Arc<Shared>>, Extension(grant): Extension<Grant>) -> Response {
    let (ok, applied_at) = shared.families.last_reload();
    let keepalive = shared.config.get().api.keepalive;
    let body = wire::Daemon {
        version: env!("CARGO_PKG_VERSION").into(),
        documentation: DOCUMENTATION.into_iter().find(|address| !address.is_empty()).map(str::to_owned),
        host: rustix::system::uname().nodename().to_string_lossy().into_owned(),
        state: if shared.pool.is_draining() { "draining" } else { "running" }.into(),
        at: wire::time(shared.pool.calendar().now()),
        uptime_seconds: shared.since.elapsed().as_secs(),
        keepalive_ms: u64::try_from(keepalive.as_millis()).unwrap_or(u64::MAX),
        last_reload: wire::LastReload { ok, applied_at: wire::time(applied_at) },
        access: grant.shown(),
    };
    answer(StatusCode::OK, &body)
}
