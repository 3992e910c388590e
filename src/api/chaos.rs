//! `POST /v1/links/{name}/{index}/chaos`: a connection is broken on purpose, where the configuration allows that.
//!
//! The fault is put under the connection and met like a real one, so what consumers see is what they would see of that.

use std::{sync::Arc, time::Duration};

use axum::{
    extract::{Path, State},
    response::Response,
};
use http::StatusCode;
use serde::Deserialize;

use super::{
    Shared,
    body::Whole,
    convert, json,
    links::number,
    problem::{Problem, answer},
};
use crate::config::text;
use wskeeper_core::chaos::Fault;

/// How long a stall lasts where the caller does not say, and at most.
const STALL: Duration = Duration::from_secs(10);
const STALL_MAX: Duration = Duration::from_hours(1);

/// What is to go wrong.
#[derive(Debug, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub(super) struct ChaosRequest {
    /// `drop`, `stall`, `half_open` or `close`
    fault: String,
    /// `close`: the code that the peer is to have sent; none: a Close frame without a body.
    code: Option<u16>,
    /// `close`: at most 123 bytes of UTF-8.
    reason: Option<String>,
    /// `stall`: how long, such as `10s` (the default); at most `1h`.
    r#for: Option<String>,
}

/// Breaks the connection on purpose; with `api.chaos = true` only.
#[cfg_attr(test, utoipa::path(post, path = "/v1/links/{name}/{index}/chaos", tag = "links", operation_id = "chaos",
    params(("name" = String, Path, description = "The endpoint."),
        ("index" = u32, Path, description = "The link's number, from 0.")),
    request_body(content = ChaosRequest),
    responses((status = 200, description = "The link after it.", body = super::wire::Link), (status = "default", description = "A problem (RFC 9457).", content_type = "application/problem+json", body = super::wire::Problem))))]
pub(super) async fn inject(
    State(shared): State<Arc<Shared>>,
    Path((name, index)): Path<(String, String)>,
    Whole(body): Whole,
) -> Result<Response, Problem> {
    if !shared.config.get().api.chaos {
        let detail = "faults are injected only where the configuration says `api.chaos = true`";
        return Err(Problem::new(StatusCode::FORBIDDEN, "chaos-off", "Fault injection is off", detail));
    }
    let request = json::read(&body)
        .map_err(|error| Problem::bad_request(format!("the body is not {{\"fault\": \"drop\"}}: {error}")))?;
    let view = shared.pool.inject(&name, number(&name, &index)?, fault(&request)?).await?;
    Ok(answer(StatusCode::OK, &convert::link(&view, &shared.config)))
}

fn fault(request: &ChaosRequest) -> Result<Fault, Problem> {
    let ChaosRequest { fault, code, reason, r#for } = request;
    let is_close = fault == "close";
    if !is_close && (code.is_some() || reason.is_some()) {
        return Err(Problem::bad_request(format!("`code` and `reason` belong to the fault close, not to {fault}")));
    }
    if fault != "stall" && r#for.is_some() {
        return Err(Problem::bad_request(format!("`for` belongs to the fault stall; {fault} has no end of its own")));
    }
    match fault.as_str() {
        "drop" => Ok(Fault::Drop),
        "half_open" => Ok(Fault::HalfOpen),
        "close" => Fault::close(*code, reason.as_deref()).map_err(|error| Problem::bad_request(error.to_string())),
        "stall" => match r#for.as_deref().map_or(Ok(STALL), text::duration) {
            Ok(lasting) if lasting <= STALL_MAX => Ok(Fault::Stall(lasting)),
            Ok(_) | Err(_) => Err(Problem::bad_request("`for` is not a duration such as \"10s\", at most \"1h\"")),
        },
        other => Err(Problem::bad_request(format!("fault {other:?} is none of drop, stall, half_open, close"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> Result<Fault, Problem> {
        fault(&serde_json::from_str(json).expect("the right shape"))
    }

    #[test]
    fn each_fault_takes_its_own_keys_and_no_others() {
        assert_eq!(read(r#"{"fault": "drop"}"#), Ok(Fault::Drop));
        assert_eq!(read(r#"{"fault": "half_open"}"#), Ok(Fault::HalfOpen));
        assert_eq!(read(r#"{"fault": "stall"}"#), Ok(Fault::Stall(STALL)));
        assert_eq!(read(r#"{"fault": "stall", "for": "250ms"}"#), Ok(Fault::Stall(Duration::from_millis(250))));
        assert_eq!(read(r#"{"fault": "close"}"#), Ok(Fault::Close(None)));
        assert!(read(r#"{"fault": "close", "code": 1012, "reason": "restart"}"#).is_ok());
        for bad in [
            r#"{"fault": "fire"}"#,
            r#"{"fault": "drop", "for": "1s"}"#,
            r#"{"fault": "half_open", "for": "1s"}"#,
            r#"{"fault": "stall", "code": 1000}"#,
            r#"{"fault": "stall", "for": "2h"}"#,
            r#"{"fault": "stall", "for": "soon"}"#,
            r#"{"fault": "close", "code": 1006}"#,
        ] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }
}
