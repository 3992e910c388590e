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

/// What a client wants.
pub(super) enum Wanted {
    Send(Request),
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
    let mut envelope = read_envelope(text);
    let reference = match &mut envelope {
        Ok(envelope) => envelope.reference().take(),
        // Of a frame that says something else wrong, too, its client is told which it was.
        Err(_) => json::read(text.as_bytes()).map_or(None, |Referred { reference }| reference),
    };
    if reference.as_ref().is_some_and(|reference| !is_short(reference)) {
        let problem = Problem::bad_request(format!("ref has more than {REF_MAX} bytes"));
        return Wanted::Send(Request { reference: None, send: Err(problem) });
    }
    let send = match envelope {
        Ok(Envelope::Send(request)) => prepare(request, message),
        Ok(Envelope::Request(request)) => ask(request, message),
        Ok(Envelope::Subscribe(request)) => match request.read() {
            Ok((key, message)) => return Wanted::Subscribe { reference, key, message },
            Err(problem) => Err(problem),
        },
        Ok(Envelope::Unsubscribe(request)) => match request.read() {
            Ok((key, message)) => return Wanted::Unsubscribe { reference, key, message },
            Err(problem) => Err(problem),
        },
        Err(problem) => Err(problem),
    };
    Wanted::Send(Request { reference, send })
}

/// A request is accepted as a send is, and answered at its end.
fn ask(request: AskRequest, message: &dyn Fn(Payload) -> Send) -> Result<(Send, ReceiptState), Problem> {
    let timeout = request.timeout.as_deref().map(text::duration).transpose();
    let timeout = messages::patience(timeout.map_err(|error| Problem::bad_request(format!("timeout: {error}")))?)?;
    let send = Send {
        key: request.key.as_deref().map(messages::ordering_key).transpose()?,
        generation: request.generation,
        patience: timeout,
        ..message(messages::data(request.data, request.binary)?)
    };
    Ok((send.asking(timeout), ReceiptState::Queued))
}

fn read_envelope(text: &str) -> Result<Envelope, Problem> {
    json::read(text.as_bytes()).map_err(|error| {
        let known = "{\"type\": \"send\", \"data\": …, \"binary\"?, \"key\"?, \"ttl\"?, \"generation\"?, \"idempotencyKey\"?, \"wait\"?, \"ref\"?}, \
                     {\"type\": \"request\", \"data\": …, \"binary\"?, \"key\"?, \"generation\"?, \"timeout\"?, \"ref\"?} or \
                     {\"type\": \"subscribe\" | \"unsubscribe\", \"key\": …, \"data\"?, \"binary\"?, \"ref\"?}";
        Problem::bad_request(format!("the envelope is not {known}: {error}"))
    })
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

impl Envelope {
    fn reference(&mut self) -> &mut Option<Value> {
        match self {
            Self::Send(request) => &mut request.reference,
            Self::Request(request) => &mut request.reference,
            Self::Subscribe(request) | Self::Unsubscribe(request) => &mut request.reference,
        }
    }
}

/// What is read of a frame that is none.
#[derive(Debug, Deserialize)]
struct Referred {
    #[serde(rename = "ref")]
    reference: Option<Value>,
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

impl KeyRequest {
    /// The key, and the message for it.
    fn read(self) -> Result<(Box<str>, Option<Payload>), Problem> {
        let message = self.data.map(|data| messages::data(data, self.binary)).transpose()?;
        Ok((self.key, message))
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
