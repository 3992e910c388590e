//! A connection to NATS, held by the bridge that speaks over it.
//!
//! What a reader would get wrong: nobody else has the connection, so a bridge that is slow holds up no other, and what was left half done is
//! undone by dropping it. NATS itself acknowledges nothing: its `PONG` says that it has read all that was published before the `PING`.

mod login;

use std::{
    future::poll_fn,
    pin::Pin,
    task::Poll,
    time::{Duration, SystemTime},
};

use bytes::{Buf as _, BytesMut};
use serde::Deserialize;
use tokio::{
    io::{AsyncReadExt as _, ReadBuf},
    net::TcpStream,
    time::{Instant, timeout, timeout_at},
};
use url::Url;
use wskeeper_core::nats::{self, Delivered, OpReader, ServerOp};
use wskeeper_link::{
    clock::{Calendar, Moment},
    endpoint::Template,
    link::{Duplex, reach_in_clear, secure},
};

use self::login::{Evaluated, Login, evaluate};
use super::{
    bridge::{Outgoing, Untaken},
    words::words,
};
use crate::config::broker::{Broker, NatsBroker};

const PORT: u16 = 4222;
/// What a server takes that says nothing of it.
const MAX_PAYLOAD: usize = 1 << 20;
/// What a server says to us is no longer than this: acknowledgements.
const MAX_HEARD: u64 = 64 << 10;
const READ: usize = 16 << 10;
/// Nothing is read while there is so much that is not understood yet.
const UNREAD: usize = 256 << 10;
/// A server that has said nothing for this is asked, and gets the other to answer.
const QUIET: Duration = Duration::from_secs(20);
const ANSWER: Duration = Duration::from_secs(10);
/// The number of the subscription to acknowledgements.
const ACKS: u64 = 1;
/// Errors of JetStream that are about the message: it, or its headers, are too long for the stream.
const OF_THE_MESSAGE: [u64; 2] = [10_054, 10_097];
const NO_RESPONDERS: u16 = 503;

/// A connection that has been greeted.
pub(super) struct Nats {
    stream: Box<dyn Duplex>,
    hearing: OpReader,
    /// What is to be said.
    out: BytesMut,
    heard_at: Instant,
    asked_at: Option<Instant>,
    max_payload: usize,
    /// Where acknowledgements come, once they are listened to; the number of each message follows.
    inbox: Option<String>,
    published: u64,
    since: SystemTime,
    hidden: Vec<String>,
}

/// What a server says about itself.
#[derive(Debug, Deserialize)]
struct Info {
    max_payload: Option<usize>,
    #[serde(default)]
    tls_required: bool,
    #[serde(default)]
    headers: bool,
    #[serde(default)]
    nonce: String,
}

/// What JetStream says of a message.
#[derive(Debug, Deserialize)]
struct Ack {
    error: Option<AckError>,
}

#[derive(Debug, Deserialize)]
struct AckError {
    #[serde(default)]
    err_code: u64,
    #[serde(default)]
    description: String,
}

impl Nats {
    /// Connects to the first of the servers that can be, as `name`.
    pub(super) async fn dial(
        (broker, nats): (&Broker, &NatsBroker),
        name: &str,
        calendar: &Calendar,
    ) -> Result<Self, String> {
        let Evaluated { servers, login } = evaluate(nats).await?;
        let mut told = Vec::new();
        for (server, shown) in servers.iter().zip(nats.servers.iter().map(Template::shown)) {
            let greeting = Self::greet(server.expose(), &login, broker, name, calendar.now());
            match timeout(broker.connect_timeout, greeting).await {
                Ok(Ok(connection)) => return Ok(connection),
                Ok(Err(why)) => told.push(format!("{shown}: {why}")),
                Err(_) => told.push(format!("{shown}: it has not greeted within {:?}", broker.connect_timeout)),
            }
        }
        Err(told.join("; "))
    }

    async fn greet(server: &str, login: &Login, broker: &Broker, name: &str, now: SystemTime) -> Result<Self, String> {
        let url = Url::parse(server).map_err(|fault| format!("its URL cannot be used: {fault}"))?;
        let host = url.host_str().ok_or("its URL has no host")?.trim_matches(['[', ']']).to_owned();
        let mut tcp = reach_in_clear(&host, url.port().unwrap_or(PORT)).await?;
        let mut hearing = OpReader::new(MAX_HEARD);
        let info = first_words(&mut tcp, &mut hearing).await?;
        let stream: Box<dyn Duplex> = if info.tls_required || url.scheme() == "tls" {
            if !hearing.buffer().is_empty() {
                return Err("it goes on in clear where TLS is to begin".to_owned());
            }
            secure(tcp, &host, &broker.tls).await?
        } else {
            Box::new(tcp)
        };
        if !info.headers {
            return Err("it takes no headers: it is older than NATS 2.2, or they are turned off".to_owned());
        }
        let mut out = BytesMut::new();
        nats::connect(&mut out, login.connect(&info.nonce, name)?.as_bytes());
        out.extend_from_slice(nats::PING);
        let max_payload = info.max_payload.unwrap_or(MAX_PAYLOAD);
        let (heard_at, hidden) = (Instant::now(), login.hidden());
        let (asked_at, inbox) = (None, None);
        let mut greeted =
            Self { stream, hearing, out, heard_at, asked_at, max_payload, inbox, published: 0, since: now, hidden };
        let said = greeted.hear().await?;
        if said == ServerOp::Pong { Ok(greeted) } else { Err(greeted.told(&said)) }
    }

    /// Since when there is a connection.
    pub(super) fn since(&self) -> SystemTime {
        self.since
    }

    /// Publishes them, in order, and waits until the server has taken them: `stream` says so, or the server has read them. Counts those that are
    /// `taken`, up to the first that is not.
    pub(super) async fn publish(
        &mut self,
        messages: &[Outgoing],
        stream: Option<&str>,
        taken: &mut usize,
    ) -> Result<(), Untaken> {
        let is_too_long = |message: &Outgoing| nats::size(&message.fields(stream), &message.payload) > self.max_payload;
        let (fitting, too_long) = match messages.iter().position(is_too_long) {
            Some(place) => (messages.get(..place).unwrap_or_default(), messages.get(place)),
            None => (messages, None),
        };
        if !fitting.is_empty() {
            match stream {
                Some(stream) => self.store(fitting, stream, taken).await?,
                None => self.read_all(fitting, taken).await?,
            }
        }
        match too_long {
            None => Ok(()),
            Some(message) => {
                let bytes = nats::size(&message.fields(stream), &message.payload);
                let most = self.max_payload;
                Err(Untaken::Refused(format!(
                    "a message has {bytes} bytes with its headers, and the server takes {most} (max_payload)"
                )))
            }
        }
    }

    /// Waits until it is known how the connection is; says nothing while it is well.
    pub(super) async fn watch(&mut self) -> String {
        loop {
            let (until, is_asked) = match self.asked_at {
                Some(asked) => (asked.later(ANSWER), true),
                None => (self.heard_at.later(QUIET), false),
            };
            match timeout_at(until, self.hear()).await {
                Ok(Err(why)) => return why,
                Ok(Ok(ServerOp::Error(why))) => return self.complaint(&why),
                Ok(Ok(_)) => {}
                Err(_) if is_asked => return format!("it has not answered a PING within {ANSWER:?}"),
                Err(_) => {
                    self.asked_at = Some(Instant::now());
                    self.out.extend_from_slice(nats::PING);
                }
            }
        }
    }

    /// The server has read all of them when it answers a `PING` behind them.
    async fn read_all(&mut self, messages: &[Outgoing], taken: &mut usize) -> Result<(), Untaken> {
        for message in messages {
            nats::publish(&mut self.out, &message.address, None, &message.fields(None), &message.payload);
        }
        self.out.extend_from_slice(nats::PING);
        let mut complaint = None;
        loop {
            match self.hear().await.map_err(Untaken::Lost)? {
                ServerOp::Pong => break,
                ServerOp::Error(why) => {
                    // It names the subject, and reads on.
                    let place = messages.iter().position(|message| why.contains(&format!("\"{}\"", message.address)));
                    let place =
                        place.unwrap_or_default().min(complaint.as_ref().map_or(usize::MAX, |(place, _)| *place));
                    complaint = Some((place, self.complaint(&why)));
                }
                ServerOp::Info(_) | ServerOp::Message(_) | ServerOp::Ping | ServerOp::Ok => {}
            }
        }
        match complaint {
            None => *taken += messages.len(),
            Some((place, why)) => {
                *taken += place;
                return Err(Untaken::Failed(why));
            }
        }
        Ok(())
    }

    /// A stream of JetStream says of each that it has it.
    async fn store(&mut self, messages: &[Outgoing], stream: &str, taken: &mut usize) -> Result<(), Untaken> {
        let inbox = self.listen();
        let first = self.published;
        for (number, message) in (first..).zip(messages) {
            let reply = format!("{inbox}{number}");
            nats::publish(
                &mut self.out,
                &message.address,
                Some(&reply),
                &message.fields(Some(stream)),
                &message.payload,
            );
        }
        self.published += messages.len() as u64;
        let before = *taken;
        let mut answers: Vec<Option<Result<(), Untaken>>> = messages.iter().map(|_| None).collect();
        let mut missing = answers.len();
        while missing > 0 {
            let message = match self.hear().await.map_err(Untaken::Lost)? {
                ServerOp::Message(message) => message,
                ServerOp::Error(why) => return Err(Untaken::Lost(self.complaint(&why))),
                ServerOp::Info(_) | ServerOp::Ping | ServerOp::Pong | ServerOp::Ok => continue,
            };
            let number = message.subject.strip_prefix(&*inbox).and_then(|number| number.parse::<u64>().ok());
            let place = number.and_then(|number| usize::try_from(number.checked_sub(first)?).ok());
            if let Some(answer @ None) = place.and_then(|place| answers.get_mut(place)) {
                *answer = Some(self.answer(&message, stream));
                missing -= 1;
                let stored = answers.iter().take_while(|answer| matches!(answer, Some(Ok(())))).count();
                *taken = before + stored;
            }
        }
        answers.into_iter().flatten().collect()
    }

    fn answer(&self, message: &Delivered, stream: &str) -> Result<(), Untaken> {
        if message.status().is_some_and(|(code, _)| code == NO_RESPONDERS) {
            return Err(Untaken::Failed(format!(
                "no stream of JetStream listens to the subject; is it one of {stream}?"
            )));
        }
        let ack: Ack = serde_json::from_slice(&message.payload)
            .map_err(|_| Untaken::Failed("what answers for JetStream does not speak as it does".into()))?;
        match ack.error {
            None => Ok(()),
            Some(AckError { err_code, description }) => {
                let told = format!("JetStream says: {} ({err_code})", self.quoted(&description));
                Err(if OF_THE_MESSAGE.contains(&err_code) { Untaken::Refused(told) } else { Untaken::Failed(told) })
            }
        }
    }

    /// Where acknowledgements come from now on.
    fn listen(&mut self) -> String {
        let out = &mut self.out;
        let inbox = self.inbox.get_or_insert_with(|| {
            let inbox = format!("_INBOX.{}.", uuid::Uuid::new_v4().simple());
            nats::subscribe(out, &format!("{inbox}*"), None, ACKS);
            inbox
        });
        inbox.clone()
    }

    /// What the server says next that is to be heard, while what is to be said is. Nothing is lost when the future is dropped.
    async fn hear(&mut self) -> Result<ServerOp, String> {
        loop {
            match self.hearing.read().map_err(|fault| fault.to_string())? {
                None => self.turn().await?,
                Some(ServerOp::Ping) => self.out.extend_from_slice(nats::PONG),
                Some(ServerOp::Ok) => {}
                Some(said) => return Ok(said),
            }
        }
    }

    /// Writes and reads what can be.
    async fn turn(&mut self) -> Result<(), String> {
        let Self { stream, hearing, out, heard_at, asked_at, .. } = self;
        let turned = poll_fn(|cx| {
            let mut stream = Pin::new(&mut **stream);
            let mut has_written = false;
            while !out.is_empty()
                && let Poll::Ready(written) = stream.as_mut().poll_write(cx, out)
            {
                match written? {
                    0 => return Poll::Ready(Err(closed())),
                    written => out.advance(written),
                }
                has_written = true;
            }
            let _flushes = stream.as_mut().poll_flush(cx)?;
            if hearing.buffer().len() < UNREAD {
                let mut room = [0; READ];
                let mut room = ReadBuf::new(&mut room);
                if stream.as_mut().poll_read(cx, &mut room)?.is_ready() {
                    hearing.buffer().extend_from_slice(room.filled());
                    let has_ended = room.filled().is_empty();
                    return Poll::Ready(if has_ended { Err(closed()) } else { Ok(true) });
                }
            }
            if has_written && out.is_empty() { Poll::Ready(Ok(false)) } else { Poll::Pending }
        });
        let has_read = turned.await.map_err(|error: std::io::Error| format!("the connection is lost: {error}"))?;
        if has_read {
            (*heard_at, *asked_at) = (Instant::now(), None);
        }
        Ok(())
    }

    fn told(&self, said: &ServerOp) -> String {
        match said {
            ServerOp::Error(why) => self.complaint(why),
            ServerOp::Info(_) | ServerOp::Message(_) | ServerOp::Ping | ServerOp::Pong | ServerOp::Ok => {
                "it does not speak the protocol of NATS".to_owned()
            }
        }
    }

    fn complaint(&self, why: &str) -> String {
        format!("the server says: {}", self.quoted(why))
    }

    fn quoted(&self, said: &str) -> String {
        words(said.as_bytes(), &self.hidden)
    }
}

fn closed() -> std::io::Error {
    std::io::Error::other("the server has closed it")
}

/// A server speaks first.
async fn first_words(tcp: &mut TcpStream, hearing: &mut OpReader) -> Result<Info, String> {
    loop {
        match hearing.read().map_err(|fault| fault.to_string())? {
            Some(ServerOp::Info(info)) => {
                return serde_json::from_slice(&info)
                    .map_err(|_| "what it says about itself is not understood".to_owned());
            }
            Some(_) => return Err("it does not speak the protocol of NATS".to_owned()),
            None => {
                let buffer: &mut BytesMut = hearing.buffer();
                buffer.reserve(READ);
                let read = tcp.read_buf(buffer).await.map_err(|error| format!("the connection is lost: {error}"))?;
                if read == 0 {
                    return Err("it has closed the connection".to_owned());
                }
            }
        }
    }
}
