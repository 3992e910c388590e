//! `GET /v1/plan` and `POST /v1/reload`: one report, before it is done and after.
//!
//! What a reader would get wrong: the plan is of the files as they are now, not of what a later reload will find.

use std::{future::Future, pin::Pin, sync::Arc};

use axum::{extract::State, response::Response};
use http::StatusCode;

use super::{
    Shared, convert,
    problem::{self, Problem},
};
use crate::config::ReloadPlan;

/// A plan, or why there is none.
pub type Planned = Result<ReloadPlan, ReloadError>;

/// A plan to come.
pub type Planning = Pin<Box<dyn Future<Output = Planned> + Send>>;

/// What the daemon's configuration is read with.
pub trait Reload: Send + Sync {
    /// What a reload would do now.
    fn plan(&self) -> Planning;

    /// Reads the configuration again and follows it. It is carried out also when nobody waits for the answer.
    fn reload(&self) -> Planning;
}

/// Why there is no plan, or nothing was reloaded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReloadError {
    /// A daemon without a file.
    #[error("this daemon was not started from a file, so there is nothing to reload")]
    NoFile,
    /// The new configuration is not valid; each fault, with its place.
    #[error("{}", .0.join("; "))]
    Invalid(Vec<String>),
    /// The daemon is stopping.
    #[error("the daemon is stopping")]
    Draining,
    /// The daemon has failed.
    #[error("{0}")]
    Failed(String),
}

/// `GET /v1/plan`
#[cfg_attr(test, utoipa::path(get, path = "/v1/plan", tag = "daemon", operation_id = "plan",
    responses((status = 200, description = "What a reload would do, link by link.", body = super::wire::Plan), (status = "default", description = "A problem (RFC 9457).", content_type = "application/problem+json", body = super::wire::Problem))))]
pub(super) async fn plan(State(shared): State<Arc<Shared>>) -> Result<Response, Problem> {
    answer(shared.reload.plan().await)
}

/// `POST /v1/reload`
#[cfg_attr(test, utoipa::path(post, path = "/v1/reload", tag = "daemon", operation_id = "reload",
    responses((status = 200, description = "What was done, link by link.", body = super::wire::Plan), (status = "default", description = "A problem (RFC 9457).", content_type = "application/problem+json", body = super::wire::Problem))))]
pub(super) async fn reload(State(shared): State<Arc<Shared>>) -> Result<Response, Problem> {
    answer(shared.reload.reload().await)
}

fn answer(planned: Planned) -> Result<Response, Problem> {
    let plan = planned?;
    Ok(problem::answer(StatusCode::OK, &convert::plan(&plan)))
}

impl From<ReloadError> for Problem {
    fn from(error: ReloadError) -> Self {
        let said = error.to_string();
        match error {
            ReloadError::Invalid(faults) => {
                let detail = "the configuration in force stays as it is; mend the faults and reload again";
                Self::new(
                    StatusCode::UNPROCESSABLE_ENTITY,
                    "configuration-invalid",
                    "The new configuration is not valid",
                    detail,
                )
                .with("faults", serde_json::json!(faults))
            }
            ReloadError::NoFile => Self::new(StatusCode::CONFLICT, "no-file", "There is nothing to reload", said),
            ReloadError::Draining => Self::draining(),
            ReloadError::Failed(_) => {
                Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", "The daemon failed", said)
            }
        }
    }
}
