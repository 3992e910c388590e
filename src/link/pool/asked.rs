//! What is asked of the pool, and how it says no.

use std::{sync::Arc, time::Duration};

use super::view::BudgetView;
use wskeeper_core::{message::Payload, phase::Phase};

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
    /// A repeat within 10 minutes has the first one's answer, and waits for it where it is still to come; the key alone says
    /// what a repeat is.
    pub idempotency_key: Option<Box<str>>,
    /// Someone will wait for `confirmed`.
    pub wants_confirmation: bool,
    /// Only on the connection of this number: refused where another is current, and dropped where it is gone before the message has left.
    pub generation: Option<u64>,
    /// It is a request, whose reply is waited for as long as `ttl` says: [`Send::asking`] makes one.
    pub is_request: bool,
    /// Waits for room also where `on_full = "reject"`.
    pub waits: bool,
    /// How long to wait for room where `on_full = "wait"`, and for the verdict on the first message of the idempotency key.
    pub patience: Duration,
    /// The data.
    pub payload: Payload,
}

impl Send {
    /// One that waits for nothing; whatever else is to be said of it is said by its fields.
    pub fn new(endpoint: impl Into<Arc<str>>, payload: impl Into<Payload>) -> Self {
        Self {
            endpoint: endpoint.into(),
            link: None,
            key: None,
            ttl: None,
            idempotency_key: None,
            wants_confirmation: false,
            generation: None,
            is_request: false,
            waits: false,
            patience: Duration::ZERO,
            payload: payload.into(),
        }
    }

    /// The same as a request, whose reply is waited for so long.
    #[must_use]
    pub fn asking(self, timeout: Duration) -> Self {
        Self { is_request: true, ttl: Some(timeout), idempotency_key: None, wants_confirmation: false, ..self }
    }
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
    /// Larger than the endpoint's outbox takes.
    #[error("the message has {bytes} bytes; its endpoint takes {limit} at most")]
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
        /// How many it may hold.
        max_messages: usize,
        /// How much bufferedAmount may be.
        max_bytes: u64,
    },
    /// The memory of all that waits is used up.
    #[error("{used} bytes of payload are held already, and {limit} may be")]
    Budget {
        /// Bytes held.
        used: u64,
        /// The limit.
        limit: u64,
    },
    /// The link is not ready, and its outbox takes nothing then.
    #[error("{link} is {phase}, and takes nothing while it is not ready")]
    Down {
        /// Which link.
        link: String,
        /// Its phase.
        phase: Phase,
    },
    /// The connection that it is bound to is not the current one.
    #[error("{}", passed(link, *generation, *current, *phase))]
    Generation {
        /// Which link.
        link: String,
        /// The number of the connection that was asked for.
        generation: u64,
        /// That of the current one, or of the last.
        current: u64,
        /// The link's phase.
        phase: Phase,
    },
    /// Bound to a connection, but which link's is open: each has its own numbers.
    #[error("endpoint {endpoint:?} has {links} links, and each numbers its connections by itself: say which link")]
    AnyGeneration {
        /// The endpoint.
        endpoint: String,
        /// How many it has.
        links: u32,
    },
    /// The endpoint has no `requests`.
    #[error("endpoint {0:?} has no requests: it does not say where their ids stand (requests.id, requests.reply)")]
    NoRequests(String),
    /// The message is no request.
    #[error("the message is no request: it is not JSON with a string or number at {0}")]
    NoId(Box<str>),
    /// A durable outbox, and the store cannot take the message.
    #[error("the message cannot be stored: {0}")]
    Store(Arc<str>),
    /// The first message of the same idempotency key was neither accepted nor refused in time.
    #[error("the first message with this idempotency key is neither accepted nor refused yet")]
    Undecided,
    /// The daemon is stopping.
    #[error("the daemon is stopping and takes no new messages")]
    Draining,
}

impl Refused {
    /// Whether there may be room later.
    pub fn is_full(&self) -> bool {
        match self {
            Self::Full { .. } | Self::Budget { .. } => true,
            Self::NoEndpoint(_)
            | Self::NoLink { .. }
            | Self::TooBig { .. }
            | Self::Down { .. }
            | Self::Generation { .. }
            | Self::AnyGeneration { .. }
            | Self::NoRequests(_)
            | Self::NoId(_)
            | Self::Store(_)
            | Self::Undecided
            | Self::Draining => false,
        }
    }
}

fn passed(link: &str, generation: u64, current: u64, phase: Phase) -> String {
    if generation == current {
        format!(
            "connection {generation} of {link} carries no more messages: it is gone, or another takes its place; the link is {phase}"
        )
    } else {
        format!("connection {generation} of {link} is not the current one, which is {current}; the link is {phase}")
    }
}

/// A verb that was not carried out.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CommandError {
    /// No such link.
    #[error("no link {0}")]
    NoLink(String),
    /// There is no connection to do it to.
    #[error("{link} is {phase} and has no connection")]
    NoConnection {
        /// Which link.
        link: String,
        /// Its phase.
        phase: Phase,
    },
    /// All attempts that the endpoint's links may make have been made.
    #[error("{} of the {} attempts that reconnect.budget allows are used", budget.used, budget.attempts)]
    Spent {
        /// How they stand; `until` is when the link may.
        budget: BudgetView,
        /// It has a connection, and is not to take the attempts that are left for links without one.
        is_spare: bool,
    },
    /// The daemon is stopping.
    #[error("the daemon is stopping")]
    Draining,
}

/// The daemon is stopping, and follows no new configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Draining;

/// Messages of an endpoint that were not sent before the daemon stopped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Left {
    /// Its name.
    pub endpoint: Arc<str>,
    /// How many.
    pub messages: u64,
    /// They are on disk, and go out after the next start; else they are dropped.
    pub kept: bool,
}
