//! The local WebSocket: an endpoint's pool of links as one connection that never drops.
//!
//! Plain, it carries remote messages with their opcode, and takes what is sent for the outbox; it has no way to say that a
//! message was refused but to close with 1013. With the subprotocol `wskeeper.v1.json` everything is an envelope in JSON:
//! events with cursors one way, sends the other way, each answered by a receipt or a problem.

use std::{future::Future, sync::Arc, time::Duration};

use axum::{
    body::Body,
    extract::{Path, RawQuery, Request, State},
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use futures_util::{SinkExt, StreamExt, stream::SplitSink};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::{sync::mpsc, time::Instant};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{
        Error, Message,
        error::ProtocolError,
        handshake::derive_accept_key,
        protocol::{CloseFrame, Role, WebSocketConfig, frame::coding::CloseCode},
    },
};

use super::{Shared, convert, events::Wish, messages, problem::Problem, query::Params, wire};
use crate::{
    core::{
        message::{Kind, Payload},
        receipt::State as Rung,
    },
    hub::{Entry, Item, Next},
    pool::Send,
};

/// The subprotocol of the envelope.
const ENVELOPE: &str = "wskeeper.v1.json";
/// A consumer from whom nothing is heard is pinged this often.
const PING: Duration = Duration::from_secs(30);
/// A consumer that neither says nor takes anything is given up after this. Long, because one that sleeps for a minute or two is
/// owed its gap and not a new connection.
const SILENCE: Duration = Duration::from_mins(5);
/// A send that took longer had to wait for the consumer to read.
const AT_ONCE: Duration = Duration::from_secs(1);
/// Sends of one consumer that may be on their way at once.
const AHEAD: usize = 64;
/// The longest that a send waits for room or for its state.
const PATIENCE: Duration = Duration::from_mins(1);
/// A closing handshake with a consumer takes at most this.
const GOODBYE: Duration = Duration::from_secs(1);

type Socket = WebSocketStream<TokioIo<Upgraded>>;
type Out = SplitSink<Socket, Message>;

/// `GET /v1/endpoints/{name}/ws`
#[utoipa::path(get, path = "/v1/endpoints/{name}/ws", tag = "events", operation_id = "socket",
    params(("name" = String, Path, description = "The endpoint."),
        ("link" = Option<u32>, Query, description = "This link only, both ways."),
        ("from" = Option<String>, Query, description = "`latest` (unless given), `oldest`, or the last cursor seen."),
        ("types" = Option<String>, Query, description = "Only these, with commas between; a gap of the reader's own is always told."),
        ("binaryType" = Option<String>, Query, description = "`base64` (unless given) or `hex`."),
        ("on_lag" = Option<String>, Query, description = "`gap` (unless given) or `close`: what happens to a reader that falls behind.")),
    responses((status = 101, description = "A WebSocket; with the subprotocol wskeeper.v1.json an envelope."), (status = "default", description = "A problem (RFC 9457).", content_type = "application/problem+json", body = wire::Problem)))]
pub(super) async fn upgrade(
    State(shared): State<Arc<Shared>>,
    Path(name): Path<String>,
    RawQuery(query): RawQuery,
    mut request: Request,
) -> Result<Response, Problem> {
    let mut allowed = Wish::PARAMS.to_vec();
    allowed.push("link");
    let params = Params::read(query.as_deref(), &allowed)?;
    let wish = Wish::read(&params, None)?;
    let link = params.parse("link", "the number of a link")?;
    let view = shared.pool.endpoint(&name).ok_or_else(|| super::links::no_endpoint(&name))?;
    let key = handshake(request.headers())?;
    let envelope = offers_envelope(request.headers());
    let config = WebSocketConfig::default()
        .read_buffer_size(8 << 10)
        .write_buffer_size(0)
        .max_write_buffer_size((4 << 20) + 2 * view.config.inbox.max_message)
        .max_message_size(Some(view.config.link.outbox.max_message.saturating_mul(2).saturating_add(4096)));
    let consumer = Consumer { shared, endpoint: Arc::clone(&view.config.name), link, wish, envelope };
    let upgraded = hyper::upgrade::on(&mut request);
    tokio::spawn(async move {
        // A client that goes away during its own handshake has asked for nothing.
        if let Ok(upgraded) = upgraded.await {
            let socket = WebSocketStream::from_raw_socket(TokioIo::new(upgraded), Role::Server, Some(config)).await;
            consumer.serve(socket).await;
        }
    });
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    let accept = HeaderValue::try_from(derive_accept_key(key.as_bytes()));
    headers.insert(header::SEC_WEBSOCKET_ACCEPT, accept.map_err(|error| Problem::bad_request(error.to_string()))?);
    if envelope {
        headers.insert(header::SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(ENVELOPE));
    }
    Ok(response.into_response())
}

/// The client's key, if this is an opening handshake (RFC 6455 §4.2.1).
fn handshake(headers: &HeaderMap) -> Result<HeaderValue, Problem> {
    let has = |name: header::HeaderName, token: &str| {
        headers
            .get_all(name)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .any(|list| list.split(',').any(|word| word.trim().eq_ignore_ascii_case(token)))
    };
    let is_upgrade = has(header::CONNECTION, "upgrade") && has(header::UPGRADE, "websocket");
    match headers.get(header::SEC_WEBSOCKET_KEY) {
        Some(key) if is_upgrade && has(header::SEC_WEBSOCKET_VERSION, "13") => Ok(key.clone()),
        Some(_) | None => Err(Problem::new(
            StatusCode::UPGRADE_REQUIRED,
            "upgrade-required",
            "This is a WebSocket",
            "ask by a WebSocket opening handshake, version 13; for plain HTTP read …/events and post to …/messages",
        )),
    }
}

fn offers_envelope(headers: &HeaderMap) -> bool {
    let offers = headers.get_all(header::SEC_WEBSOCKET_PROTOCOL).iter().filter_map(|value| value.to_str().ok());
    offers.flat_map(|list| list.split(',')).any(|word| word.trim() == ENVELOPE)
}

struct Consumer {
    shared: Arc<Shared>,
    endpoint: Arc<str>,
    link: Option<u32>,
    wish: Wish,
    envelope: bool,
}

/// Why a consumer's connection is closed by us.
struct Farewell(u16, String);

impl Consumer {
    async fn serve(self, socket: Socket) {
        let Some(mut reader) = self.shared.pool.subscribe(&self.endpoint, self.wish.from) else { return };
        let (mut out, mut inbound) = socket.split();
        let (answers, mut answered) = mpsc::channel::<Result<Value, Farewell>>(AHEAD);
        let mut stop = self.shared.stop.clone();
        let (mut heard, mut ping_at) = (Instant::now(), Instant::now() + PING);
        let farewell = loop {
            let outcome: Result<(), Farewell> = tokio::select! {
                arrived = inbound.next() => {
                    (heard, ping_at) = (Instant::now(), Instant::now() + PING);
                    match arrived {
                        None => break None,
                        Some(Err(error)) => match fault(&error) {
                            Some(farewell) => Err(farewell),
                            None => break None,
                        },
                        Some(Ok(Message::Close(_))) => {
                            // tungstenite has answered; the answer leaves with the flush.
                            let _ = tokio::time::timeout(GOODBYE, out.flush()).await;
                            break None;
                        }
                        Some(Ok(message)) => self.take(message, &answers).await,
                    }
                }
                answer = answered.recv() => match answer {
                    Some(Ok(answer)) => noting(&mut heard, send(&mut out, Message::text(answer.to_string()))).await,
                    Some(Err(farewell)) => Err(farewell),
                    None => Ok(()),
                },
                next = reader.next() => noting(&mut heard, self.pass_on(next, &mut out)).await,
                () = tokio::time::sleep_until(ping_at) => {
                    if heard.elapsed() >= SILENCE { break None }
                    ping_at = Instant::now() + PING;
                    noting(&mut heard, send(&mut out, Message::Ping(Bytes::new()))).await
                }
                () = super::stopped(&mut stop) => Err(Farewell(1001, "the daemon is stopping".into())),
            };
            if let Err(farewell) = outcome {
                break Some(farewell);
            }
        };
        if let Some(Farewell(code, reason)) = farewell {
            let frame = CloseFrame { code: CloseCode::from(code), reason: reason.into() };
            // Bounded: a client that takes nothing is not waited for.
            let goodbye = async {
                if out.send(Message::Close(Some(frame))).await.is_ok() {
                    while let Some(Ok(_)) = inbound.next().await {}
                }
            };
            let _ = tokio::time::timeout(GOODBYE, goodbye).await;
        }
    }

    /// Passes on what the hub has.
    async fn pass_on(&self, next: Next, out: &mut Out) -> Result<(), Farewell> {
        match next {
            Next::Closed => Err(Farewell(1001, "the endpoint is gone".into())),
            Next::Entry(entry) if self.link.is_some_and(|link| link != entry.link.index) => Ok(()),
            Next::Entry(entry) if self.envelope => {
                let event = convert::event(&entry, self.wish.binary);
                if self.wish.takes(&event.kind) {
                    send(out, Message::text(json!(event).to_string())).await
                } else {
                    Ok(())
                }
            }
            Next::Entry(entry) => match plain(&entry) {
                Some(message) => send(out, message).await,
                None => Ok(()),
            },
            Next::Gap { missed, from, to } => {
                self.shared.pool.count_gap(&self.endpoint, missed);
                if self.wish.close_on_lag {
                    return Err(Farewell(4408, "fell behind; resume with ?from=".into()));
                }
                if !self.envelope {
                    return Ok(());
                }
                let event = convert::lag(Some(&self.endpoint), missed, from, to);
                send(out, Message::text(json!(event).to_string())).await
            }
        }
    }

    /// Takes what the consumer sent; its answer comes through `answers`, in order.
    async fn take(&self, message: Message, answers: &mpsc::Sender<Result<Value, Farewell>>) -> Result<(), Farewell> {
        let payload = match message {
            Message::Text(text) if self.envelope => return self.take_envelope(text.as_str(), answers).await,
            Message::Text(text) => Payload::checked_text(text),
            Message::Binary(_) if self.envelope => {
                return Err(Farewell(1003, "with wskeeper.v1.json everything is text".into()));
            }
            Message::Binary(bytes) => Payload::binary(bytes),
            Message::Ping(_) | Message::Pong(_) | Message::Close(_) | Message::Frame(_) => return Ok(()),
        };
        let refused = self.shared.pool.send(self.message(payload)).await.err();
        refused.map_or(Ok(()), |refused| {
            let mut reason = Problem::from(refused).detail().to_owned();
            reason.truncate(reason.floor_char_boundary(crate::core::close::MAX_REASON_BYTES));
            Err(Farewell(1013, reason))
        })
    }

    async fn take_envelope(&self, text: &str, answers: &mpsc::Sender<Result<Value, Farewell>>) -> Result<(), Farewell> {
        let request: Result<Envelope, _> = serde_json::from_str(text);
        let (reference, outcome) = match request {
            Err(error) => {
                let known = "{\"type\": \"send\", \"data\": …, \"binary\"?, \"key\"?, \"ttl\"?, \"wait\"?, \"ref\"?}";
                (None, Err(Problem::bad_request(format!("the envelope is not {known}: {error}"))))
            }
            Ok(Envelope::Send(request)) => (request.reference.clone(), self.prepare(request)),
        };
        let (send, wanted) = match outcome {
            Ok(prepared) => prepared,
            Err(problem) => {
                let _ = answers.try_send(Ok(said("problem", reference.as_ref(), &problem.json())));
                return Ok(());
            }
        };
        // Accepted here, in order; only the wait for a further state goes on beside the connection.
        let receipt = self.shared.pool.send(send).await;
        let (pool, answers) = (self.shared.pool.clone(), answers.clone());
        tokio::spawn(async move {
            let answer = match receipt {
                Err(refused) => said("problem", reference.as_ref(), &Problem::from(refused).json()),
                Ok(receipt) => {
                    let receipt = pool.settle(receipt.id, wanted, PATIENCE).await.unwrap_or(receipt);
                    said("receipt", reference.as_ref(), &json!(convert::receipt(&receipt)))
                }
            };
            // The consumer has gone: the receipt can still be looked up.
            let _ = answers.send(Ok(answer)).await;
        });
        Ok(())
    }

    fn prepare(&self, request: SendRequest) -> Result<(Send, Rung), Problem> {
        let wanted = match request.wait.as_deref() {
            None => Rung::Queued,
            Some(word) => messages::wanted(word)
                .ok_or_else(|| Problem::bad_request(format!("wait {word:?} is not queued, written or confirmed")))?,
        };
        let ttl = request.ttl.as_deref().map(humantime::parse_duration).transpose();
        let ttl = ttl.map_err(|error| Problem::bad_request(format!("ttl: {error}")))?;
        let send = Send {
            key: request.key,
            ttl,
            wants_confirmation: wanted == Rung::Confirmed,
            ..self.message(messages::data(request.data, request.binary)?)
        };
        Ok((send, wanted))
    }

    fn message(&self, payload: Payload) -> Send {
        Send {
            endpoint: Arc::clone(&self.endpoint),
            link: self.link,
            key: None,
            ttl: None,
            idempotency_key: None,
            wants_confirmation: false,
            patience: PATIENCE,
            payload,
        }
    }
}

/// What a consumer sends in an envelope.
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
    wait: Option<String>,
    #[serde(rename = "ref")]
    reference: Option<Value>,
}

/// An answer in the envelope: the body's own members, with `type` and the request's `ref`.
fn said(kind: &str, reference: Option<&Value>, body: &Value) -> Value {
    json!({ "type": kind, "ref": reference, kind: body })
}

fn plain(entry: &Entry) -> Option<Message> {
    match &entry.item {
        Item::Message(payload) => Some(match payload.kind() {
            Kind::Text => Message::text(String::from_utf8_lossy(payload.bytes()).into_owned()),
            Kind::Binary => Message::binary(payload.bytes().clone()),
        }),
        Item::Open { .. } | Item::Error { .. } | Item::Close(_) | Item::Phase { .. } | Item::LinkGap { .. } => None,
    }
}

/// Does it, and notes a sign of life where it could be done only because the consumer read.
async fn noting(heard: &mut Instant, sending: impl Future<Output = Result<(), Farewell>>) -> Result<(), Farewell> {
    let began = Instant::now();
    let outcome = sending.await;
    if outcome.is_ok() && began.elapsed() > AT_ONCE {
        *heard = Instant::now();
    }
    outcome
}

async fn send(out: &mut Out, message: Message) -> Result<(), Farewell> {
    match tokio::time::timeout(SILENCE, out.send(message)).await {
        Ok(Ok(())) => Ok(()),
        // The read side tells the end; the code is for a peer that may still listen.
        Ok(Err(_)) => Err(Farewell(1011, "the connection broke".into())),
        Err(_) => Err(Farewell(4408, "takes nothing; resume with ?from=".into())),
    }
}

/// What a consumer is told of its own fault; `None` where the connection is simply gone.
fn fault(error: &Error) -> Option<Farewell> {
    match error {
        Error::Capacity(_) => Some(Farewell(1009, "the message is larger than outbox.max_message allows".into())),
        Error::Utf8(_) => Some(Farewell(1007, "text must be UTF-8".into())),
        Error::Protocol(fault) if *fault != ProtocolError::ResetWithoutClosingHandshake => {
            Some(Farewell(1002, fault.to_string()))
        }
        Error::Protocol(_)
        | Error::ConnectionClosed
        | Error::AlreadyClosed
        | Error::Io(_)
        | Error::Tls(_)
        | Error::WriteBufferFull(_)
        | Error::AttackAttempt
        | Error::Url(_)
        | Error::Http(_)
        | Error::HttpFormat(_) => None,
    }
}

#[cfg(test)]
mod tests;
