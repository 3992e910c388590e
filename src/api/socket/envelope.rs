//! What a client sends in the envelope `wskeeper.v1.json`.
//!
//! A frame that cannot be understood is answered by a problem, in its turn, and closes nothing.

use std::time::Duration;

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

/// What a client wants.
pub(super) enum Wanted {
    Send(Request),
    /// A request that is to be asked.
    Ask {
        reference: Option<Value>,
        send: Send,
        timeout: Duration,
    },
    /// To hold a key, which this message asks the peer for.
    Subscribe {
        reference: Option<Value>,
        key: Box<str>,
        message: Option<Payload>,
    },
    /// To hold it no more, which this message says to the peer.
    Unsubscribe {
        reference: Option<Value>,
        key: Box<str>,
        message: Option<Payload>,
    },
}

/// Reads a frame; `message` makes a send of a payload.
pub(super) fn read(text: &str, message: &dyn Fn(Payload) -> Send) -> Wanted {
    Wanted::Send(match read_envelope(text) {
        Err(problem) => Request { reference: None, send: Err(problem) },
        Ok(Envelope::Request(request)) => {
            let reference = request.reference.clone();
            match ask(request, message) {
                Ok((send, timeout)) => return Wanted::Ask { reference, send, timeout },
                Err(problem) => Request { reference, send: Err(problem) },
            }
        }
        Ok(Envelope::Send(mut request)) => {
            let reference = request.reference.take();
            Request { reference, send: prepare(request, message) }
        }
        Ok(Envelope::Subscribe(request)) => match request.read() {
            Ok((reference, key, message)) => return Wanted::Subscribe { reference, key, message },
            Err(problem) => Request { reference: None, send: Err(problem) },
        },
        Ok(Envelope::Unsubscribe(request)) => match request.read() {
            Ok((reference, key, message)) => return Wanted::Unsubscribe { reference, key, message },
            Err(problem) => Request { reference: None, send: Err(problem) },
        },
    })
}

fn ask(request: AskRequest, message: &dyn Fn(Payload) -> Send) -> Result<(Send, Duration), Problem> {
    let timeout = request.timeout.as_deref().map(text::duration).transpose();
    let timeout = timeout.map_err(|error| Problem::bad_request(format!("timeout: {error}")))?;
    let timeout = timeout.unwrap_or(messages::TIMEOUT).min(messages::TIMEOUT_MAX);
    let send = Send {
        key: request.key.as_deref().map(messages::ordering_key).transpose()?,
        generation: request.generation,
        patience: timeout,
        ..message(messages::data(request.data, request.binary)?)
    };
    Ok((send, timeout))
}

fn read_envelope(text: &str) -> Result<Envelope, Problem> {
    let request: Result<Envelope, _> = json::read(text.as_bytes());
    let envelope = request.map_err(|error| {
        let known = "{\"type\": \"send\", \"data\": …, \"binary\"?, \"key\"?, \"ttl\"?, \"generation\"?, \"idempotencyKey\"?, \"wait\"?, \"ref\"?} or \
                     {\"type\": \"subscribe\" | \"unsubscribe\", \"key\": …, \"data\"?, \"binary\"?, \"ref\"?}";
        Problem::bad_request(format!("the envelope is not {known}: {error}"))
    })?;
    let reference = match &envelope {
        Envelope::Send(request) => &request.reference,
        Envelope::Request(request) => &request.reference,
        Envelope::Subscribe(request) | Envelope::Unsubscribe(request) => &request.reference,
    };
    if reference.as_ref().is_some_and(|reference| !is_short(reference)) {
        return Err(Problem::bad_request(format!("ref has more than {REF_MAX} bytes")));
    }
    Ok(envelope)
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
    Request(AskRequest),
    Subscribe(KeyRequest),
    Unsubscribe(KeyRequest),
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct AskRequest {
    data: String,
    #[serde(default)]
    binary: bool,
    key: Option<Box<str>>,
    generation: Option<u64>,
    timeout: Option<String>,
    #[serde(rename = "ref")]
    reference: Option<Value>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct KeyRequest {
    key: Box<str>,
    data: Option<String>,
    #[serde(default)]
    binary: bool,
    #[serde(rename = "ref")]
    reference: Option<Value>,
}

/// What it refers to, the key, and the message for it.
type Keyed = (Option<Value>, Box<str>, Option<Payload>);

impl KeyRequest {
    fn read(self) -> Result<Keyed, Problem> {
        let message = self.data.map(|data| messages::data(data, self.binary)).transpose()?;
        Ok((self.reference, self.key, message))
    }
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
