//! What the client of a local WebSocket sends, and how it is told what became of it.
//!
//! Sending itself is [`wskeeper_link::pool::local`]'s.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Value, json};

use super::super::{convert, messages::look_at_wait, problem::Problem, requests};
use super::PATIENCE;
use wskeeper_core::{message::Kind, requests::Reply};
use wskeeper_link::pool::{
    Pool,
    local::{self, Answering, Became},
};

pub(super) type Request = local::Request<Option<Value>, Problem>;
pub(super) type Sends = local::Sends<Option<Value>, Problem>;

/// Those of a new connection.
pub(super) fn sends(pool: Pool, has_envelope: bool) -> Sends {
    let answering = if has_envelope { Answering::Each } else { Answering::Refusals };
    Sends::new(pool, |pool, send, wanted| look_at_wait(pool, &send.endpoint, wanted), PATIENCE, answering)
}

/// The answer in the envelope.
pub(super) fn envelope(outcome: local::Outcome<Option<Value>, Problem>) -> Value {
    let local::Outcome { reference, end } = outcome;
    let told = end.and_then(|became| match became {
        Became::Receipt(receipt) => {
            Ok(json!({ "type": "receipt", "ref": reference, "receipt": convert::receipt(&receipt) }))
        }
        Became::Answered(answered) => {
            requests::told(answered).map(|reply| envelope_of_reply(&reply, reference.as_ref()))
        }
    });
    told.unwrap_or_else(|problem| json!({ "type": "problem", "ref": reference, "problem": problem.json() }))
}

fn envelope_of_reply(reply: &Reply, reference: Option<&Value>) -> Value {
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
