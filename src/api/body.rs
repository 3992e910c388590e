//! A request's body, whole and in time.
//!
//! A body that trickles is refused with 408, however little of it is left: `api.body_timeout` is for all of it.

use std::sync::Arc;

use axum::{
    body::{Bytes, HttpBody},
    extract::{FromRequest, Request},
    response::IntoResponse,
};
use http::StatusCode;

use super::{Shared, problem::Problem};

/// All of a body.
#[derive(Debug)]
pub(super) struct Whole(pub(super) Bytes);

impl FromRequest<Arc<Shared>> for Whole {
    type Rejection = Problem;

    async fn from_request(request: Request, shared: &Arc<Shared>) -> Result<Self, Problem> {
        // Not read at all where it says itself that it is too large.
        if request.body().size_hint().lower() > shared.max_body as u64 {
            return Err(too_large());
        }
        let read = tokio::time::timeout(shared.body_timeout, Bytes::from_request(request, shared)).await;
        match read.map_err(|_| Problem::late_body("the body was not complete within api.body_timeout"))? {
            Ok(bytes) => Ok(Self(bytes)),
            Err(rejection) => {
                let said = rejection.to_string();
                if rejection.into_response().status() == StatusCode::PAYLOAD_TOO_LARGE {
                    Err(too_large())
                } else {
                    Err(Problem::bad_request(format!("the body cannot be read: {said}")))
                }
            }
        }
    }
}

fn too_large() -> Problem {
    Problem::too_large("the body is larger than api.max_body")
}
