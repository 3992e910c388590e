//! A broker that receives: each message under its address, with what it is in headers.
//!
//! What a reader would get wrong: what is not taken is never left under way. An attempt that fails drops its connection, so nothing of it comes after
//! what the next attempt publishes.

use std::{
    fmt,
    sync::Arc,
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use tokio::time::{Instant, timeout_at};
use wskeeper_core::{
    message::Kind,
    nats,
    push::{Part, Verdict},
    session::Unaddressed,
};
use wskeeper_link::{
    clock::Moment,
    hub::{Entry, Item},
    pool::Pool,
};

use super::{
    Whose, Writing,
    nats::Nats,
    outlet::{Carried, Fate},
    parcel::gap_event,
};
use crate::config::{bridge::ToBroker, broker::BrokerTo};

/// A broker that receives.
pub(super) struct Publisher {
    to: ToBroker,
    timeout: Duration,
    pool: Pool,
    whose: Whose,
    writing: Writing,
    connection: Option<Nats>,
    is_told: bool,
}

impl fmt::Debug for Publisher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Publisher").field("whose", &self.whose).finish_non_exhaustive()
    }
}

/// A message on its way to a broker.
#[derive(Debug)]
pub(super) struct Outgoing {
    /// The subject.
    pub(super) address: String,
    /// The same for each attempt.
    id: String,
    facts: Vec<(&'static str, String)>,
    pub(super) payload: Bytes,
}

/// Why a message was not taken.
#[derive(Debug)]
pub(super) enum Untaken {
    /// Nobody knows what became of what is under way, so the connection is of no more use.
    Lost(String),
    /// Later it may be, by the same connection.
    Failed(String),
    /// It never will.
    Refused(String),
}

impl Outgoing {
    /// Its headers, with those by which JetStream knows a message that it has, and a stream that it is not meant for.
    pub(super) fn fields<'a>(&'a self, stream: Option<&'a str>) -> Vec<(&'a str, &'a str)> {
        let expected = stream.map(|stream| ("Nats-Expected-Stream", stream));
        let facts = self.facts.iter().map(|(name, value)| (*name, value.as_str()));
        [("Nats-Msg-Id", self.id.as_str())].into_iter().chain(expected).chain(facts).collect()
    }
}

impl Publisher {
    pub(super) fn new(to: ToBroker, timeout: Duration, pool: Pool, whose: Whose, writing: Writing) -> Self {
        Self { to, timeout, pool, whose, writing, connection: None, is_told: false }
    }

    /// Since when there is a connection.
    pub(super) fn connected_since(&self) -> Option<SystemTime> {
        self.connection.as_ref().map(Nats::since)
    }

    pub(super) async fn carry(&mut self, parts: &[Part<Arc<Entry>>]) -> Carried {
        let (mut taken, until) = (0, Instant::now().later(self.timeout));
        let outcome = match timeout_at(until, self.publish(parts, &mut taken)).await {
            Ok(outcome) => outcome,
            Err(_) => Err(Untaken::Lost(format!("the broker has not acknowledged all within {:?}", self.timeout))),
        };
        match outcome {
            Ok(()) => Carried { taken, verdict: Verdict::Taken, why: None },
            Err(Untaken::Refused(why)) => Carried { taken, verdict: Verdict::RefusedFirst, why: Some(why) },
            Err(Untaken::Failed(why)) => Carried::failed(taken, why),
            Err(Untaken::Lost(why)) => {
                self.connection = None;
                Carried::failed(taken, why)
            }
        }
    }

    /// Between two attempts: has a connection, and waits until it is lost.
    pub(super) async fn fate(&mut self) -> Fate {
        let connected = self.connected().await.map(drop);
        let why = match (connected, &mut self.connection) {
            (Err(why), _) => why,
            (Ok(()), _) if !std::mem::replace(&mut self.is_told, true) => return Fate::Well,
            (Ok(()), Some(connection)) => connection.watch().await,
            (Ok(()), None) => std::future::pending().await,
        };
        self.connection = None;
        Fate::Lost(why)
    }

    async fn publish(&mut self, parts: &[Part<Arc<Entry>>], taken: &mut usize) -> Result<(), Untaken> {
        let messages: Result<Vec<Outgoing>, (Vec<Outgoing>, Unaddressed)> = self.outgoing(parts);
        let (messages, unaddressed) = match messages {
            Ok(messages) => (messages, None),
            Err((before, why)) => (before, Some(why)),
        };
        let stream = self.to.stream.clone();
        if !messages.is_empty() {
            let connection = self.connected().await.map_err(Untaken::Lost)?;
            connection.publish(&messages, stream.as_deref(), taken).await?;
        }
        unaddressed.map_or(Ok(()), |why| Err(Untaken::Refused(why.to_string())))
    }

    async fn connected(&mut self) -> Result<&mut Nats, String> {
        let connection = if let Some(connection) = self.connection.take() {
            connection
        } else {
            self.is_told = false;
            let broker = &self.to.broker;
            let name = format!("wskeeper {} {}", self.whose.0, self.whose.1);
            match &broker.to {
                BrokerTo::Nats(nats) => Nats::dial((broker, nats), &name, self.pool.calendar()).await?,
            }
        };
        Ok(self.connection.insert(connection))
    }

    /// Messages of the parts; those before the first that has no address, where one has none.
    fn outgoing(&self, parts: &[Part<Arc<Entry>>]) -> Result<Vec<Outgoing>, (Vec<Outgoing>, Unaddressed)> {
        let max_json = self.pool.endpoint(&self.whose.0).map_or(0, |view| view.config.max_json());
        let mut messages = Vec::with_capacity(parts.len());
        for part in parts {
            match self.message(part, max_json) {
                Ok(message) => messages.push(message),
                Err(why) => return Err((messages, why)),
            }
        }
        Ok(messages)
    }

    fn message(&self, part: &Part<Arc<Entry>>, max_json: usize) -> Result<Outgoing, Unaddressed> {
        let endpoint = &self.whose.0;
        let mut facts = vec![("Wskeeper-Endpoint", endpoint.to_string()), ("Wskeeper-Cursor", part.last().to_string())];
        let (address, id, kind, payload) = match part {
            Part::Item { cursor, item, .. } => {
                let Item::Message(message) = &item.item else { return Err(Unaddressed::Nothing("".into())) };
                facts.extend([
                    ("Wskeeper-Link", item.link.index.to_string()),
                    ("Wskeeper-Generation", item.generation.to_string()),
                ]);
                let kind = match message.kind() {
                    Kind::Text => "text",
                    Kind::Binary => "binary",
                };
                let address = self.to.address.of(message.bytes(), max_json, nats::is_plain)?;
                (address, cursor.to_string(), kind, message.bytes().clone())
            }
            Part::Gap(gap) => {
                let id = format!("{}-{}-{}", gap.kind.as_str(), gap.from, gap.to);
                (self.to.gaps.to_string(), id, "gap", gap_event(gap, endpoint, self.writing).into())
            }
        };
        facts.push(("Wskeeper-Type", kind.to_owned()));
        Ok(Outgoing { address, id: format!("{endpoint}:{id}"), facts, payload })
    }
}
