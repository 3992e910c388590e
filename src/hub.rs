//! Inbox rings made shareable: publishing never waits, a subscriber reads by cursor at its own pace.
//!
//! The one thing a reader would get wrong: a slow subscriber costs nobody anything. It holds a cursor, not a queue; when the
//! ring has moved past it, it is told of the gap and goes on.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime},
};

use tokio::sync::watch;

use crate::core::{
    budget::Budget,
    close::{Cause, Closed},
    event::LinkId,
    inbox::{self, Read, Ring},
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
    pub link: LinkId,
    /// The connection it belongs to; the last one where none is open.
    pub generation: u64,
    /// What happened.
    pub item: Item,
}

/// What happened, in the words of the WHATWG standard and of the contract.
#[derive(Debug, Clone)]
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
    /// After this cursor: the last one the subscriber has seen. 0 is before everything, like `Oldest`.
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
pub struct Hub {
    /// The first number of this run.
    first: u64,
    budget: Arc<Budget>,
    ring: Mutex<Ring<Arc<Entry>>>,
    /// Wakes subscribers; `true` once the hub is closed.
    changed: watch::Sender<bool>,
}

impl Hub {
    /// An empty inbox of `links` links whose first entry will have the cursor `first`.
    pub fn new(policy: inbox::Policy, links: u32, budget: Arc<Budget>, first: u64) -> Arc<Self> {
        let ring = Mutex::new(Ring::new(policy, others(links), first));
        Arc::new(Self { first: first.max(1), budget, ring, changed: watch::channel(false).0 })
    }

    /// Follows a new policy.
    pub fn set_policy(&self, policy: inbox::Policy, links: u32) {
        self.ring().set_policy(policy, others(links));
    }

    /// Adds an entry and wakes subscribers. Never waits. Answers with its cursor.
    pub fn publish(&self, link: &LinkId, generation: u64, at: SystemTime, item: Item) -> u64 {
        let message = match &item {
            Item::Message(payload) => Some(payload.len()),
            Item::Open { .. } | Item::Error { .. } | Item::Close(_) | Item::Phase { .. } | Item::LinkGap { .. } => None,
        };
        let cursor = {
            let mut ring = self.ring();
            let cursor = ring.newest() + 1;
            let entry = Arc::new(Entry { cursor, at, link: link.clone(), generation, item });
            ring.push(entry, message, &self.budget)
        };
        self.changed.send_modify(|_| {});
        cursor
    }

    /// The cursor of the newest entry.
    pub fn cursor(&self) -> u64 {
        self.ring().newest()
    }

    /// Subscribers now.
    pub fn readers(&self) -> usize {
        self.changed.receiver_count()
    }

    /// Ends all subscriptions, once they have read what is there.
    pub fn close(&self) {
        self.changed.send_replace(true);
    }

    /// A subscriber.
    pub fn subscribe(self: &Arc<Self>, from: From) -> Reader {
        let changed = self.changed.subscribe();
        let ring = self.ring();
        let (newest, oldest) = (ring.newest(), ring.oldest() - 1);
        let cursor = match from {
            From::Latest => newest,
            From::Oldest | From::After(0) => oldest,
            From::After(seen) => seen.min(newest),
        };
        drop(ring);
        Reader { hub: Arc::clone(self), cursor, changed }
    }

    fn ring(&self) -> MutexGuard<'_, Ring<Arc<Entry>>> {
        self.ring.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Entries other than messages that an inbox of so many links keeps: a storm must not push out what it explains.
fn others(links: u32) -> usize {
    (links as usize).saturating_mul(2).max(1024)
}

/// A subscriber: a cursor into a hub.
#[derive(Debug)]
pub struct Reader {
    hub: Arc<Hub>,
    cursor: u64,
    changed: watch::Receiver<bool>,
}

impl Reader {
    /// The next entry or gap; waits for one. Nothing is lost when the future is dropped.
    pub async fn next(&mut self) -> Next {
        loop {
            let closed = *self.changed.borrow_and_update();
            if let Some(next) = self.try_next() {
                return next;
            }
            if closed || self.changed.changed().await.is_err() {
                return Next::Closed;
            }
        }
    }

    /// Waits at most this long; `None` when nothing came.
    pub async fn next_within(&mut self, patience: Duration) -> Option<Next> {
        tokio::time::timeout(patience, self.next()).await.ok()
    }

    /// The next entry or gap if there is one now.
    pub fn try_next(&mut self) -> Option<Next> {
        let ring = self.hub.ring();
        let next = match ring.read(self.cursor) {
            Read::CaughtUp => return None,
            Read::Entry(cursor, entry) => {
                self.cursor = cursor;
                Next::Entry(Arc::clone(entry))
            }
            Read::Gap { from, to } => {
                self.cursor = to;
                let missed = (from >= self.hub.first).then_some(to - from + 1);
                Next::Gap { missed, from, to }
            }
        };
        Some(next)
    }

    /// The cursor of what was read last.
    pub fn position(&self) -> u64 {
        self.cursor
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hub(max_messages: usize, first: u64) -> Arc<Hub> {
        let policy = inbox::Policy { max_messages, ..inbox::Policy::default() };
        Hub::new(policy, 1, Budget::new(u64::MAX), first)
    }

    fn publish(hub: &Hub, text: &str) -> u64 {
        let link = LinkId { endpoint: "test".into(), index: 0 };
        hub.publish(&link, 1, SystemTime::UNIX_EPOCH, Item::Message(text.into()))
    }

    fn text(next: Option<Next>) -> String {
        match next {
            Some(Next::Entry(entry)) => match &entry.item {
                Item::Message(payload) => String::from_utf8_lossy(payload.bytes()).into_owned(),
                other => panic!("no message: {other:?}"),
            },
            other => panic!("no entry: {other:?}"),
        }
    }

    #[test]
    fn a_subscriber_resumes_after_the_cursor_that_it_has_seen() {
        let hub = hub(10, 100);
        let first = publish(&hub, "a");
        publish(&hub, "b");
        assert_eq!(first, 100);
        assert_eq!(text(hub.subscribe(From::After(first)).try_next()), "b");
        assert_eq!(text(hub.subscribe(From::Oldest).try_next()), "a");
        assert!(hub.subscribe(From::Latest).try_next().is_none());
        assert!(hub.subscribe(From::After(9999)).try_next().is_none());
    }

    #[test]
    fn a_subscriber_that_fell_behind_is_told_how_much_it_missed() {
        let hub = hub(2, 1);
        let mut reader = hub.subscribe(From::Latest);
        for word in ["a", "b", "c", "d", "e"] {
            publish(&hub, word);
        }
        assert!(matches!(reader.try_next(), Some(Next::Gap { missed: Some(3), from: 1, to: 3 })));
        assert_eq!(text(reader.try_next()), "d");
    }

    #[test]
    fn a_cursor_of_an_earlier_run_is_a_gap_of_unknown_size() {
        let hub = hub(2, 1000);
        publish(&hub, "a");
        let mut reader = hub.subscribe(From::After(17));
        assert!(matches!(reader.try_next(), Some(Next::Gap { missed: None, from: 18, to: 999 })));
        assert_eq!(text(reader.try_next()), "a");
    }

    #[tokio::test]
    async fn a_closed_hub_is_read_to_its_end() {
        let hub = hub(2, 1);
        let mut reader = hub.subscribe(From::Latest);
        publish(&hub, "last");
        hub.close();
        assert_eq!(text(Some(reader.next().await)), "last");
        assert!(matches!(reader.next().await, Next::Closed));
        assert_eq!(hub.readers(), 1);
        drop(reader);
        assert_eq!(hub.readers(), 0);
    }

    #[tokio::test]
    async fn a_waiting_subscriber_is_woken_and_patience_loses_nothing() {
        let hub = hub(10, 1);
        let mut reader = hub.subscribe(From::Latest);
        assert!(reader.next_within(Duration::ZERO).await.is_none());
        let reading = tokio::spawn(async move { text(Some(reader.next().await)) });
        tokio::task::yield_now().await;
        publish(&hub, "a");
        assert_eq!(reading.await.unwrap(), "a");
    }

    #[test]
    fn a_cursor_taken_before_anything_came_misses_nothing() {
        let hub = hub(10, 100);
        let before = hub.cursor();
        publish(&hub, "a");
        assert_eq!(text(hub.subscribe(From::After(before)).try_next()), "a");
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn every_reader_accounts_for_everything_while_publishing_goes_on() {
        const ALL: u64 = 2000;
        let hub = hub(16, 1);
        let account = |mut reader: Reader| async move {
            let mut accounted = 0;
            loop {
                match reader.next().await {
                    Next::Entry(_) => accounted += 1,
                    Next::Gap { missed, .. } => accounted += missed.unwrap(),
                    Next::Closed => return accounted,
                }
            }
        };
        let readers: Vec<_> = (0..4).map(|_| tokio::spawn(account(hub.subscribe(From::Oldest)))).collect();
        for _ in 0..ALL {
            publish(&hub, "x");
            tokio::task::yield_now().await;
        }
        hub.close();
        for reader in readers {
            assert_eq!(reader.await.unwrap(), ALL);
        }
    }
}
