//! What a client sends in the envelope `wskeeper.v1.json`.
//!
//! A frame that cannot be understood is answered by a problem, in its turn, and closes nothing.

use serde::Deserialize;
use serde_json::Value;

use super::{
    super::{json, messages, problem::Problem},
    sends::Request,
};
use crate::config::text;
use wskeeper_core::{message::Payload, receipt::State as ReceiptState};
use wskeeper_link::pool::Send;

/// The longest `ref`, as JSON: it is kept until the answer.
const REF_MAX: usize = 1024;

/// Reads a frame; `message` makes a send of a payload.
pub(super) fn read(text: &str, message: &dyn Fn(Payload) -> Send) -> Request {
    let request: Result<Envelope, _> = json::read(text.as_bytes());
    match request {
        Err(error) => {
            let known = "{\"type\": \"send\", \"data\": …, \"binary\"?, \"key\"?, \"ttl\"?, \"generation\"?, \"idempotencyKey\"?, \"wait\"?, \"ref\"?}";
            let problem = Problem::bad_request(format!("the envelope is not {known}: {error}"));
            Request { reference: None, send: Err(problem) }
        }
        Ok(Envelope::Send(SendRequest { reference: Some(reference), .. })) if !is_short(&reference) => {
            let problem = Problem::bad_request(format!("ref has more than {REF_MAX} bytes"));
            Request { reference: None, send: Err(problem) }
        }
        Ok(Envelope::Send(mut request)) => {
            let reference = request.reference.take();
            Request { reference, send: prepare(request, message) }
        }
    }
}

fn is_short(reference: &Value) -> bool {
    match reference {
        Value::Null | Value::Bool(_) | Value::Number(_) => true,
        Value::String(text) => text.len() <= REF_MAX,
        Value::Array(_) | Value::Object(_) => reference.to_string().len() <= REF_MAX,
    }
}

fn prepare(request: SendRequest, message: &dyn Fn(Payload) -> Send) -> Result<(Send, ReceiptState), Problem> {
    let wanted = match request.wait.as_deref() {
        None => ReceiptState::Queued,
        Some(word) => messages::wanted(word).ok_or_else(|| {
            Problem::bad_request(format!("wait {word:?} is not queued, stored, written or confirmed"))
        })?,
    };
    let ttl = request.ttl.as_deref().map(text::duration).transpose();
    let ttl = ttl.map_err(|error| Problem::bad_request(format!("ttl: {error}")))?;
    let send = Send {
        key: request.key.as_deref().map(messages::ordering_key).transpose()?,
        ttl,
        idempotency_key: request.idempotency_key.as_deref().map(messages::name_of_send).transpose()?,
        wants_confirmation: wanted == ReceiptState::Confirmed,
        generation: request.generation,
        ..message(messages::data(request.data, request.binary)?)
    };
    Ok((send, wanted))
}

#[derive(Debug, Deserialize)]
#[serde(tag = "type", rename_all = "camelCase")]
enum Envelope {
    Send(SendRequest),
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct SendRequest {
    data: String,
    #[serde(default)]
    binary: bool,
    key: Option<Box<str>>,
    ttl: Option<String>,
    generation: Option<u64>,
    #[serde(rename = "idempotencyKey")]
    idempotency_key: Option<Box<str>>,
    wait: Option<String>,
    #[serde(rename = "ref")]
    reference: Option<Value>,
}
