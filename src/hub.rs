//! Inbox rings made shareable: publishing never waits, a subscriber reads by cursor at its own pace.
//!
//! The one thing a reader would get wrong: a slow subscriber costs nobody anything. It holds a cursor, not a queue; when the
//! ring has moved past it, it is told of the gap and goes on.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use crate::core::{
    budget::Budget,
    close::{Cause, Closed},
    inbox,
    message::Payload,
    phase::{Phase, Reason},
};

/// A numbered fact that consumers may read.
#[derive(Debug)]
pub struct Entry {
    /// Its number in the hub: 1 more than the one before. Starts at a number drawn from the wall clock at start, so that
    /// a cursor of an earlier run is always smaller than the oldest one kept.
    pub cursor: u64,
    /// When it happened.
    pub at: SystemTime,
    /// Whose fact.
    pub endpoint: Arc<str>,
    /// Which link.
    pub link: u32,
    /// The connection it belongs to; the last one where none is open.
    pub generation: u64,
    /// What happened.
    pub item: Item,
}

/// What happened, in the words of the WHATWG standard and of the contract.
#[derive(Debug)]
pub enum Item {
    /// A connection is OPEN.
    Open {
        /// Subprotocol in use, or empty.
        protocol: Box<str>,
        /// Extensions in use, or empty.
        extensions: Box<str>,
    },
    /// A message arrived.
    Message(Payload),
    /// A connection or an attempt failed; `close` follows.
    Error {
        /// Why.
        cause: Cause,
        /// For people.
        detail: Box<str>,
    },
    /// A connection or an attempt ended.
    Close(Box<Closed>),
    /// The link's phase changed.
    Phase {
        /// Now.
        phase: Phase,
        /// Why.
        reason: Reason,
    },
    /// The link was down: what the peer sent meanwhile was not heard.
    LinkGap {
        /// When it was last ready.
        from: SystemTime,
        /// When it was ready again.
        to: SystemTime,
    },
}

/// Where a subscriber starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum From {
    /// With what comes next.
    Latest,
    /// With the oldest entry kept.
    Oldest,
    /// After this cursor: the last one the subscriber has seen.
    After(u64),
}

/// What a subscriber reads next.
#[derive(Debug)]
pub enum Next {
    /// An entry.
    Entry(Arc<Entry>),
    /// Entries were lost to this reader, which goes on after them.
    Gap {
        /// How many; `None`: unknown, because the cursor is of an earlier run of the daemon.
        missed: Option<u64>,
        /// First cursor missed.
        from: u64,
        /// Last cursor missed.
        to: u64,
    },
    /// The hub is gone: the endpoint was removed or the daemon stops.
    Closed,
}

/// One endpoint's inbox, or the pool's own log.
#[derive(Debug)]
pub struct Hub {}

impl Hub {
    /// An empty inbox whose first entry will have the cursor `first`.
    pub fn new(endpoint: Arc<str>, policy: inbox::Policy, budget: Arc<Budget>, first: u64) -> Arc<Self> {
        let _ = (endpoint, policy, budget, first);
        unimplemented!()
    }

    /// Adds an entry and wakes subscribers. Never waits.
    pub fn publish(&self, link: u32, generation: u64, at: SystemTime, item: Item) -> u64 {
        let _ = (link, generation, at, item);
        unimplemented!()
    }

    /// The cursor of the newest entry.
    pub fn cursor(&self) -> u64 {
        unimplemented!()
    }

    /// Subscribers now.
    pub fn readers(&self) -> usize {
        unimplemented!()
    }

    /// Ends all subscriptions.
    pub fn close(&self) {}

    /// A subscriber.
    pub fn subscribe(self: &Arc<Self>, from: From) -> Reader {
        let _ = from;
        unimplemented!()
    }
}

/// A subscriber: a cursor into a hub.
#[derive(Debug)]
pub struct Reader {}

impl Reader {
    /// The next entry or gap; waits for one.
    #[allow(clippy::unused_async, reason = "signature first")]
    pub async fn next(&mut self) -> Next {
        unimplemented!()
    }

    /// Waits at most this long; `None` when nothing came.
    #[allow(clippy::unused_async, reason = "signature first")]
    pub async fn next_within(&mut self, patience: Duration) -> Option<Next> {
        let _ = patience;
        unimplemented!()
    }

    /// The next entry or gap if there is one now.
    pub fn try_next(&mut self) -> Option<Next> {
        unimplemented!()
    }
}
