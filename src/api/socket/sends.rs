//! What the client of a local WebSocket sends, and how it is told what became of it.
//!
//! Sending itself is [`wskeeper_link::pool::local`]'s.

use std::time::Duration;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Value, json};

use super::super::{convert, messages::look_at_wait, problem::Problem, requests};
use super::PATIENCE;
use wskeeper_core::message::Kind;
use wskeeper_link::pool::{Pool, Send, local};

pub(super) type Request = local::Request<Option<Value>, Problem>;
pub(super) type Sends = local::Sends<Option<Value>, Problem>;

/// Those of a new connection.
pub(super) fn sends(pool: Pool, answers: bool) -> Sends {
    Sends::new(pool, |pool, send, wanted| look_at_wait(pool, &send.endpoint, wanted), PATIENCE, answers)
}

/// Asks, and gives the reply in the envelope.
pub(super) async fn ask(pool: Pool, reference: Option<Value>, send: Send, timeout: Duration) -> Value {
    match requests::ask_for(&pool, send, timeout).await {
        Ok(reply) => {
            let (data, is_binary) = match reply.payload.kind() {
                Kind::Text => (String::from_utf8_lossy(reply.payload.bytes()).into_owned(), false),
                Kind::Binary => (STANDARD.encode(reply.payload.bytes()), true),
            };
            let mut said = json!({ "type": "reply", "ref": reference, "data": data, "error": reply.is_error });
            if is_binary {
                said["binary"] = true.into();
            }
            said
        }
        Err(problem) => json!({ "type": "problem", "ref": reference, "problem": problem.json() }),
    }
}

/// The answer in the envelope.
pub(super) fn envelope(outcome: &local::Outcome<Option<Value>, Problem>) -> Value {
    let (kind, body) = match &outcome.receipt {
        Ok(receipt) => ("receipt", json!(convert::receipt(receipt))),
        Err(problem) => ("problem", problem.json()),
    };
    json!({ "type": kind, "ref": outcome.reference, kind: body })
}
