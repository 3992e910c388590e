//! Requests: a message that is answered with its reply.
//!
//! What a reader would get wrong: the answer is the reply itself, as the peer sent it but for its id; what wskeeper has to say is in problems.

use std::sync::Arc;

use axum::{
    body::Body,
    extract::{Path, State},
    response::{IntoResponse, Response},
};
use http::{StatusCode, header};
use serde_json::json;

use super::{Shared, body::message, convert, messages, problem::Problem, query::Params};
use wskeeper_core::{
    message::Kind,
    receipt::{EndReason, Receipt},
    requests::Reply,
};
use wskeeper_link::pool::Answered;

/// `POST /v1/endpoints/{name}/requests`
#[cfg_attr(test, utoipa::path(post, path = "/v1/endpoints/{name}/requests", tag = "messages", operation_id = "request",
    params(("name" = String, Path, description = "The endpoint, which has `requests`."),
        ("timeout" = Option<String>, Query, description = "How long to wait for the reply. Default: `30s`."),
        ("type" = Option<String>, Query, description = "`text` or `binary`, whatever the content type."),
        ("key" = Option<String>, Query, description = "Ordering key: requests of one key go to one link."),
        ("link" = Option<u32>, Query, description = "The link. By default the pool chooses."),
        ("generation" = Option<u64>, Query, description = "Only on the connection with this number; 409 if another is current."),
        ("If-Match" = Option<String>, Header, description = "The same as `generation`, in double quotes.")),
    request_body(description = "The request: JSON with an id where `requests.id` says, or without one.",
        content((Object = "application/json"), (String = "text/plain"), ("application/octet-stream"))),
    responses((status = 200, description = "The reply, with the caller's id.", body = Object),
        (status = 502, description = "The reply, which says that the request failed.", body = Object), (status = "default", description = "A problem (RFC 9457).", content_type = "application/problem+json", body = super::wire::Problem))))]
pub(super) async fn ask(
    State(shared): State<Arc<Shared>>,
    Path(name): Path<Arc<str>>,
    request: axum::extract::Request,
) -> Result<Response, Problem> {
    let (head, body) = request.into_parts();
    let body = message(body, &shared, &name).await?;
    let params = Params::read(head.uri.query(), &["timeout", "type", "key", "link", "generation"])?;
    let send = messages::read_send(name, &params, &head.headers, body)?;
    let timeout = send.patience;
    let reply = told(shared.pool.request(send, timeout).await?)?;
    let kind = match reply.payload.kind() {
        Kind::Text => "application/json",
        Kind::Binary => "application/octet-stream",
    };
    let status = if reply.is_error { StatusCode::BAD_GATEWAY } else { StatusCode::OK };
    Ok((status, [(header::CONTENT_TYPE, kind)], Body::from(reply.payload.bytes().clone())).into_response())
}

/// How the end of a request is told.
pub(super) fn told(answered: Answered) -> Result<Reply, Problem> {
    match answered {
        Answered::Reply(reply) => Ok(reply),
        Answered::Late(receipt) => Err(late(&receipt)),
        Answered::Lost(receipt) => Err(lost(&receipt)),
    }
}

fn late(receipt: &Receipt) -> Problem {
    let detail = if receipt.generation.is_some() {
        "the request was sent and no reply came in time; what the server did is not known"
    } else {
        "the request could not be sent in time, and will not be"
    };
    Problem::new(StatusCode::GATEWAY_TIMEOUT, "no-reply", "No reply came in time", detail)
        .with("receipt", json!(convert::receipt(receipt)))
}

fn lost(receipt: &Receipt) -> Problem {
    if receipt.end_reason == Some(EndReason::IdInUse) {
        let detail = "the request was not sent: an earlier one with this id got no reply in time, and a late one would be taken for the reply to this; \
                      use another id, or requests.stamp = \"seq\"";
        return Problem::new(StatusCode::CONFLICT, "id-in-use", "The id is still in use", detail)
            .with("receipt", json!(convert::receipt(receipt)));
    }
    let why = receipt.end_reason.map_or("lost", EndReason::as_str);
    let detail = if receipt.generation.is_some() {
        format!(
            "the request was sent, and what waited for its reply is gone ({why}); what the server did is not known: ask again where that does no harm"
        )
    } else {
        format!("the request was not sent ({why}): ask again")
    };
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, "lost", "The request was lost", detail)
        .with("receipt", json!(convert::receipt(receipt)))
        .retry_after(1)
}
