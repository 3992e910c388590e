//! What the client of a local WebSocket sends, and how it is told what became of it.
//!
//! Sending itself is [`wskeeper_link::pool::local`]'s.

use serde_json::{Value, json};

use super::super::{convert, messages::look_at_wait, problem::Problem};
use super::PATIENCE;
use wskeeper_link::pool::{Pool, local};

pub(super) type Request = local::Request<Option<Value>, Problem>;
pub(super) type Sends = local::Sends<Option<Value>, Problem>;

/// Those of a new connection.
pub(super) fn sends(pool: Pool, answers: bool) -> Sends {
    Sends::new(pool, |pool, send, wanted| look_at_wait(pool, &send.endpoint, wanted), PATIENCE, answers)
}

/// The answer in the envelope.
pub(super) fn envelope(outcome: &local::Outcome<Option<Value>, Problem>) -> Value {
    let (kind, body) = match &outcome.receipt {
        Ok(receipt) => ("receipt", json!(convert::receipt(receipt))),
        Err(problem) => ("problem", problem.json()),
    };
    json!({ "type": kind, "ref": outcome.reference, kind: body })
}
