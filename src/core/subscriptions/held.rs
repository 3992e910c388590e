//! What a set is asked for, and what it says: holders, refusals, a key as it can be seen.
//!
//! What a reader would get wrong: programs that give no name are one holder, the one whose name is empty.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use super::State;
use crate::message::Payload;

/// What holds for all keys of an endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// So many keys at most.
    pub max_keys: usize,
    /// So many on one link; `None`: any number.
    pub per_link: Option<u32>,
    /// How many links there are at least and at most.
    pub links: (u32, u32),
    /// The keys of a link that has been down for so long go to others.
    pub spread_after: Option<Duration>,
    /// A link beyond the least number is closed once it has had no key for so long.
    pub close_after: Duration,
    /// A template makes the message that asks for a key.
    pub has_template: bool,
    /// Who holds which key is kept over a restart.
    pub is_durable: bool,
}

/// One link, and ten thousand keys that bring a message each.
impl Default for Policy {
    fn default() -> Self {
        Self {
            max_keys: 10_000,
            per_link: None,
            links: (1, 1),
            spread_after: Some(Duration::from_mins(1)),
            close_after: Duration::from_secs(10),
            has_template: false,
            is_durable: false,
        }
    }
}

/// A key as it is kept over a restart: for programs that hold it by a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lasting {
    /// The key.
    pub key: Arc<str>,
    /// Its place in the order.
    pub place: u64,
    /// The message of its own that asks for it.
    pub message: Option<Payload>,
    /// Who holds it, and until when where that is a lease.
    pub holders: Vec<(Arc<str>, Option<Instant>)>,
}

/// Who holds a key.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Holder {
    /// It is written in the configuration.
    Configuration,
    /// A program, by the name that it gives.
    Named(Arc<str>),
    /// A local WebSocket, as long as it is open.
    Socket(u64),
}

/// Why a key is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// It is empty, or longer than 1024 bytes.
    BadKey,
    /// There is no template, and no message came with it.
    NoMessage,
    /// There are so many already.
    TooMany(usize),
    /// Every link has as many as it may have.
    Full {
        /// So many each.
        per_link: u32,
        /// So many links.
        links: u32,
    },
    /// So many hold it already.
    TooManyHolders(usize),
}

/// What became of a key that was put.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Told {
    /// It is new.
    New,
    /// It was there.
    Shared,
}

/// A key as it can be seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    /// The key.
    pub key: Arc<str>,
    /// The link that it is with; `None`: it waits until one has room.
    pub link: Option<u32>,
    /// What became of it.
    pub state: State,
    /// Why it was refused.
    pub why: Option<Arc<str>>,
    /// Who holds it, and until when where that is a lease.
    pub holders: Vec<(Holder, Option<Instant>)>,
}
