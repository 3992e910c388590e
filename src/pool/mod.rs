//! The pool: every link of the configuration, and the handle through which everything else uses them.
//!
//! A [`Pool`] is a cheap handle to clone. Reading (`links`, `receipt`) never waits for a link; asking (`send`, `command`)
//! goes to the link's task as an order and comes back with its answer.

use std::{sync::Arc, time::Duration};

use crate::{
    config::Config,
    core::{
        link::Verb,
        message::{MessageId, Payload},
        receipt::{self, Receipt},
    },
    hub,
};

pub use view::{EndpointView, HistoryEntry, LinkView, Page, Totals};

mod view;

/// Everything a caller says about a message.
#[derive(Debug, Clone)]
pub struct Send {
    /// The endpoint's name.
    pub endpoint: Arc<str>,
    /// This link, or the pool's choice.
    pub link: Option<u32>,
    /// Ordering and conflation key.
    pub key: Option<Box<str>>,
    /// Time to live, before the endpoint's own.
    pub ttl: Option<Duration>,
    /// A repeat within 10 minutes answers with the first one's receipt.
    pub idempotency_key: Option<Box<str>>,
    /// Someone will wait for `confirmed`.
    pub wants_confirmation: bool,
    /// How long to wait for room where `on_full = "wait"`.
    pub patience: Duration,
    /// The data.
    pub payload: Payload,
}

/// Why a message was not accepted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// No such endpoint.
    #[error("no endpoint is named {0:?}")]
    NoEndpoint(String),
    /// No such link.
    #[error("endpoint {endpoint:?} has {links} links, numbered from 0")]
    NoLink {
        /// The endpoint.
        endpoint: String,
        /// How many it has.
        links: u32,
    },
    /// Larger than `outbox.max_message`.
    #[error("the message has {bytes} bytes; outbox.max_message of this endpoint is {limit}")]
    TooBig {
        /// Its size.
        bytes: usize,
        /// The limit.
        limit: usize,
    },
    /// The outbox is full (also: no room in time, where the caller waits).
    #[error("the outbox of {link} is full: {messages} messages, {bytes} bytes held")]
    Full {
        /// Which link.
        link: String,
        /// Messages held.
        messages: usize,
        /// bufferedAmount.
        bytes: u64,
        /// `outbox.max_messages`
        max_messages: usize,
        /// `outbox.max_bytes`
        max_bytes: u64,
    },
    /// `limits.memory` is used up.
    #[error("the daemon holds {used} bytes of payload; limits.memory is {limit}")]
    Budget {
        /// Bytes held.
        used: u64,
        /// The limit.
        limit: u64,
    },
    /// `when_down = "reject"` and the link is not ready.
    #[error("{link} is {phase} and outbox.when_down is \"reject\"")]
    Down {
        /// Which link.
        link: String,
        /// Its phase.
        phase: crate::core::phase::Phase,
    },
    /// The daemon is stopping.
    #[error("the daemon is stopping and takes no new messages")]
    Draining,
}

/// A verb that was not carried out.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CommandError {
    /// No such link.
    #[error("no link {0}")]
    NoLink(String),
    /// The daemon is stopping.
    #[error("the daemon is stopping")]
    Draining,
}

/// What a reload did to one endpoint's links.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The link, `NAME/INDEX`.
    pub link: String,
    /// `unchanged`, `applied live`, `reconnect`, `added`, `removed`.
    pub action: &'static str,
    /// Which keys changed.
    pub why: Vec<&'static str>,
}

/// A handle to the pool.
#[derive(Debug, Clone)]
pub struct Pool {}

impl Pool {
    /// Every endpoint, by name.
    pub fn endpoints(&self) -> Vec<EndpointView> {
        unimplemented!()
    }

    /// One endpoint.
    pub fn endpoint(&self, name: &str) -> Option<EndpointView> {
        let _ = name;
        unimplemented!()
    }

    /// Links in order of endpoint and index, those after `after`, at most `limit`, filtered.
    pub fn links(
        &self,
        endpoint: Option<&str>,
        phase: Option<crate::core::phase::Phase>,
        after: Option<(&str, u32)>,
        limit: usize,
    ) -> Page<LinkView> {
        let _ = (endpoint, phase, after, limit);
        unimplemented!()
    }

    /// One link.
    pub fn link(&self, endpoint: &str, index: u32) -> Option<LinkView> {
        let _ = (endpoint, index);
        unimplemented!()
    }

    /// The flight recorder of a link, oldest first.
    pub fn history(&self, endpoint: &str, index: u32) -> Option<Vec<HistoryEntry>> {
        let _ = (endpoint, index);
        unimplemented!()
    }

    /// Hands a message to a link's outbox. `Ok` means accepted (or, with an idempotency key, accepted before).
    #[allow(clippy::unused_async, reason = "signature first")]
    pub async fn send(&self, send: Send) -> Result<Receipt, Refused> {
        let _ = send;
        unimplemented!()
    }

    /// A receipt, while it is kept.
    pub fn receipt(&self, id: MessageId) -> Option<Receipt> {
        let _ = id;
        unimplemented!()
    }

    /// Waits until the message has reached `wanted` or can no longer, at most `patience`; answers with the receipt as it is then.
    #[allow(clippy::unused_async, reason = "signature first")]
    pub async fn settle(&self, id: MessageId, wanted: receipt::State, patience: Duration) -> Option<Receipt> {
        let _ = (id, wanted, patience);
        unimplemented!()
    }

    /// Asks a link to do something; answers once the link has taken it.
    #[allow(clippy::unused_async, reason = "signature first")]
    pub async fn command(&self, endpoint: &str, index: u32, verb: Verb) -> Result<LinkView, CommandError> {
        let _ = (endpoint, index, verb);
        unimplemented!()
    }

    /// Reads an endpoint's inbox.
    pub fn subscribe(&self, endpoint: &str, from: hub::From) -> Option<hub::Reader> {
        let _ = (endpoint, from);
        unimplemented!()
    }

    /// Reads the pool's own log: all events but messages.
    pub fn subscribe_all(&self, from: hub::From) -> hub::Reader {
        let _ = from;
        unimplemented!()
    }

    /// Follows a new configuration: untouched links keep their connections.
    #[allow(clippy::unused_async, reason = "signature first")]
    pub async fn apply(&self, config: Arc<Config>) -> Vec<Change> {
        let _ = config;
        unimplemented!()
    }

    /// The configuration in force.
    pub fn config(&self) -> Arc<Config> {
        unimplemented!()
    }

    /// Whether the daemon is stopping.
    pub fn is_draining(&self) -> bool {
        unimplemented!()
    }
}
