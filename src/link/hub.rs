//! Inbox rings made shareable: publishing never waits, a subscriber reads by cursor at its own pace.
//!
//! The one thing a reader would get wrong: a slow subscriber costs nobody anything. It holds a cursor, not a queue; when the
//! ring has moved past it, it is told of the gap and goes on. Waking one that is awake costs next to nothing. The disk of a durable inbox is such a subscriber: what it has not
//! written when the ring moves on is not in the retained window any more, so it need not be written. Messages that arrived together
//! are one thing in the ring; entries are made of them for those who read one by one.

use std::{
    future::poll_fn,
    sync::{
        Arc, Weak,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    task::{Context, Poll},
    time::{Duration, SystemTime},
};

use futures_util::task::AtomicWaker;
use parking_lot::{Mutex, MutexGuard};
use tokio::sync::Notify;

use self::streams::{Documents, Sorted};

pub use self::streams::{ReaderView, StreamView};
pub(crate) use self::{
    inboxes::Inboxes,
    listening::{Listened, Listening},
    stored::Stored,
    streams::Streams,
};
pub use wskeeper_core::entry::{Arrived, Entry, Item, Stretch};
use wskeeper_core::{
    budget::{Budget, Holder, Lease, Rank},
    event::LinkId,
    inbox::{self, Read, Ring},
    run::Run,
    session::{Document, Filter},
};

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
pub enum Next<T = Arc<Entry>> {
    /// An entry, or several for who reads so.
    Entry(T),
    /// Entries were lost to this reader, which goes on after them.
    Gap {
        /// How many; `None`: unknown, because it reaches into an earlier run of the daemon.
        missed: Option<u64>,
        /// First cursor missed.
        from: u64,
        /// Last cursor missed.
        to: u64,
    },
    /// The hub is gone: the endpoint was removed or the daemon stops.
    Closed,
}

/// What an earlier run has left of an inbox.
#[derive(Debug)]
pub(crate) struct Past {
    /// Oldest first, each with the number after which nothing is missing before it.
    pub entries: Vec<(u64, Entry)>,
    /// The cursor of the next entry: above all that were ever given.
    pub first: u64,
    /// Who has read up to here has missed nothing before the next entry.
    pub after: u64,
}

/// What the disk writes next: entries that follow each other.
#[derive(Debug)]
pub(crate) struct Unstored {
    /// Nothing is missing between this number and the first entry.
    pub after: u64,
    /// Oldest first, at least one.
    pub entries: Vec<Stretch>,
    /// The oldest number in the window: nothing before it need be on disk.
    pub oldest: u64,
}

/// One endpoint's inbox, or the pool's own log.
#[derive(Debug)]
pub(crate) struct Hub {
    state: Mutex<State>,
    /// One of each subscriber.
    bells: Mutex<Vec<Arc<Bell>>>,
    /// Wakes who writes a durable inbox to disk.
    to_store: Notify,
    /// The newest messages that somebody has read as JSON, for others who want to know what is in them.
    read: Mutex<Option<Arc<Documents>>>,
}

/// What wakes a subscriber, and where it is for who looks.
#[derive(Debug, Default)]
struct Bell {
    waker: AtomicWaker,
    cursor: AtomicU64,
    missed: AtomicU64,
}

#[derive(Debug)]
struct State {
    ring: Ring<Stored>,
    durable: bool,
    closed: bool,
}

impl Hub {
    /// An empty inbox of `links` links whose first entry will have the cursor `first`.
    pub(crate) fn new(policy: inbox::Policy, links: u32, budget: &Arc<Budget>, first: u64) -> Arc<Self> {
        let durable = policy.durable;
        Self::with(durable, Ring::new(policy, others(links), first, lease(budget)), budget)
    }

    /// An inbox with what an earlier run has left of it.
    pub(crate) fn resumed(policy: inbox::Policy, links: u32, budget: &Arc<Budget>, past: Past) -> Arc<Self> {
        let durable = policy.durable;
        let mut ring = Ring::new(policy, others(links), 1, lease(budget));
        for (after, entry) in past.entries {
            ring.jump(entry.cursor, after);
            push(&mut ring, entry.into());
        }
        ring.jump(past.first, past.after);
        Self::with(durable, ring, budget)
    }

    fn with(durable: bool, ring: Ring<Stored>, budget: &Budget) -> Arc<Self> {
        let state = Mutex::new(State { ring, durable, closed: false });
        let hub = Arc::new(Self { state, bells: Mutex::default(), to_store: Notify::new(), read: Mutex::default() });
        let holder: Weak<dyn Holder> = Arc::<Self>::downgrade(&hub);
        budget.register(holder);
        hub
    }

    /// Follows a new policy.
    pub(crate) fn set_policy(&self, policy: inbox::Policy, links: u32) {
        let mut state = self.state();
        state.durable = policy.durable;
        state.ring.set_policy(policy, others(links));
    }

    /// Adds what is no message and wakes subscribers. Never waits. A closed hub takes nothing.
    pub(crate) fn publish(&self, fact: Stored) {
        self.add(|_| fact);
    }

    /// Adds messages that arrived together, as [`Hub::publish`] adds an entry.
    pub(crate) fn deliver(&self, link: &LinkId, generation: u64, at: SystemTime, run: Run) {
        self.add(|cursor| Stored::Arrived(Arc::new(Arrived { cursor, at, link: link.clone(), generation, run })));
    }

    /// The same, and puts them into these streams too.
    pub(crate) fn deliver_sorted(&self, link: &LinkId, generation: u64, at: SystemTime, run: Run, streams: &Sorted) {
        let mut documents = streams.deliver(link, generation, at, &run);
        // Before readers look for it.
        let mut read = self.read.lock();
        self.add(|cursor| {
            documents.first = cursor;
            Stored::Arrived(Arc::new(Arrived { cursor, at, link: link.clone(), generation, run }))
        });
        *read = Some(Arc::new(documents));
    }

    /// Messages read as JSON, that of this number among them. Who comes first reads them for the others.
    fn documents(&self, number: u64, max_json: usize) -> Option<Arc<Documents>> {
        let mut read = self.read.lock();
        if let Some(read) = read.as_ref().filter(|read| read.get(number).is_some()) {
            return Some(Arc::clone(read));
        }
        let stretch = match self.state().ring.read(number - 1) {
            Read::Entry(first, stored) if first == number => stored.stretch(number),
            Read::Entry(..) | Read::Gap { .. } | Read::CaughtUp => return None,
        };
        let Stretch::Arrived(arrived) = stretch else { return None };
        let documents = Arc::new(Documents::of(number, &arrived.run, max_json));
        Some(Arc::clone(read.insert(documents)))
    }

    fn add(&self, make: impl FnOnce(u64) -> Stored) {
        let durable = {
            let mut state = self.state();
            if state.closed {
                return;
            }
            let next = state.ring.newest() + 1;
            push(&mut state.ring, make(next));
            state.durable
        };
        self.ring_bells();
        if durable {
            self.to_store.notify_one();
        }
    }

    /// The cursor of the newest entry.
    pub(crate) fn cursor(&self) -> u64 {
        self.state().ring.newest()
    }

    /// Entries after `cursor` for the disk, of about `max_bytes` at most; at least one, and what arrived together stays together.
    pub(crate) fn unstored(&self, cursor: u64, max_bytes: usize) -> Option<Unstored> {
        let state = self.state();
        let oldest = state.ring.oldest();
        let (after, run) = state.ring.run_after(cursor)?;
        let mut room = max_bytes;
        let fits = |stretch: &Stretch| {
            let goes_on = room > 0;
            let count = usize::try_from(stretch.count()).unwrap_or(usize::MAX);
            room = room.saturating_sub(stretch.message_bytes().saturating_add(count.saturating_mul(ENTRY)));
            goes_on
        };
        let entries = run.map(|(cursor, stored)| stored.stretch(cursor)).take_while(fits).collect();
        Some(Unstored { after, entries, oldest })
    }

    /// The cursor of the entry that tells that a connection opened, while it is kept; the last of this number, for an earlier life of
    /// the daemon had others.
    pub(crate) fn opened(&self, link: u32, generation: u64) -> Option<u64> {
        let state = self.state();
        let mut of_link = state.ring.newest_first().filter(|(_, stored)| stored.of().0 == link);
        of_link
            .find(|(_, stored)| matches!(stored.of(), (_, number, true) if number == generation))
            .map(|(cursor, _)| cursor)
    }

    /// How many entries stand after `cursor`.
    pub(crate) fn count_after(&self, cursor: u64) -> usize {
        self.state().ring.count_after(cursor)
    }

    /// Waits until something was published for the disk since the last call, or the hub was closed.
    pub(crate) async fn published(&self) {
        self.to_store.notified().await;
    }

    /// Whether nothing more will come.
    pub(crate) fn is_closed(&self) -> bool {
        self.state().closed
    }

    /// The newest cursor, what is held in bytes, and where each subscriber is with how many entries it has missed.
    pub(crate) fn seen(&self) -> (u64, u64, Vec<(u64, u64)>) {
        let of = |bell: &Arc<Bell>| (bell.cursor.load(Relaxed), bell.missed.load(Relaxed));
        let readers = self.bells().iter().map(of).collect();
        let state = self.state();
        (state.ring.newest(), state.ring.cost(), readers)
    }

    /// Subscribers now.
    pub(crate) fn readers(&self) -> usize {
        self.bells().len()
    }

    /// Ends all subscriptions, once they have read what is there.
    pub(crate) fn close(&self) {
        self.state().closed = true;
        self.to_store.notify_one();
        self.ring_bells();
    }

    /// A subscriber.
    pub(crate) fn subscribe(self: &Arc<Self>, from: From) -> Reader {
        let (newest, start) = {
            let state = self.state();
            (state.ring.newest(), state.ring.start())
        };
        let (cursor, is_strange) = match from {
            From::Latest => (newest, false),
            From::Oldest | From::After(0) => (start, false),
            From::After(seen) if seen > newest => (start, true),
            From::After(seen) => (seen, false),
        };
        let bell = Arc::new(Bell { cursor: cursor.into(), ..Bell::default() });
        self.bells().push(Arc::clone(&bell));
        Reader { hub: Arc::clone(self), cursor, before: cursor, is_strange, bell, documents: None, listening: None }
    }

    fn ring_bells(&self) {
        self.bells().iter().for_each(|bell| bell.waker.wake());
    }

    fn bells(&self) -> MutexGuard<'_, Vec<Arc<Bell>>> {
        self.bells.lock()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }
}

impl Holder for Hub {
    fn held(&self, may_wait: bool) -> Option<u64> {
        Some(self.state_for(may_wait)?.ring.cost())
    }

    /// Readers find the gap when they read on.
    fn shrink(&self, to: u64, may_wait: bool) {
        if let Some(mut state) = self.state_for(may_wait) {
            state.ring.shrink(to);
        }
    }
}

impl Hub {
    /// `None`: someone else has it, and who asks may not wait, for it has a hub already.
    fn state_for(&self, may_wait: bool) -> Option<MutexGuard<'_, State>> {
        self.state.try_lock().or_else(|| may_wait.then(|| self.state()))
    }
}

/// Adds what comes next, under the number that it has.
fn push(ring: &mut Ring<Stored>, stored: Stored) {
    let cost = stored.cost();
    match stored.messages() {
        Some((count, bytes)) => ring.push_messages(stored, count, bytes, cost),
        None => ring.push(stored, cost),
    };
}

fn lease(budget: &Arc<Budget>) -> Lease {
    budget.lease(Rank::History)
}

/// What an entry is taken to need on disk beside its message.
const ENTRY: usize = 32;

/// Entries other than messages that an inbox of so many links keeps: a storm must not push out what it explains.
fn others(links: u32) -> usize {
    (links as usize).saturating_mul(2).max(1024)
}

/// How much of what stands at a cursor is read at once. Answers with the number of the last entry that was.
type Take<T> = fn(&Stored, u64) -> (T, u64);

fn one(stored: &Stored, cursor: u64) -> (Arc<Entry>, u64) {
    (stored.entry(cursor), cursor)
}

fn all(stored: &Stored, cursor: u64) -> (Stretch, u64) {
    let stretch = stored.stretch(cursor);
    let last = stretch.last();
    (stretch, last)
}

/// A subscriber: a cursor into a hub.
#[derive(Debug)]
pub struct Reader {
    hub: Arc<Hub>,
    cursor: u64,
    /// Where it was before it read last.
    before: u64,
    /// It has seen a number that was never given here: the clock was set back between two runs.
    is_strange: bool,
    bell: Arc<Bell>,
    /// What it looks at by a filter.
    documents: Option<Arc<Documents>>,
    /// Those are told who want to know that somebody reads.
    listening: Option<Listening>,
}

impl Reader {
    /// As long as it reads, this is so.
    pub(crate) fn listening(mut self, listening: Option<Listening>) -> Self {
        self.listening = listening;
        self
    }

    /// The next entry or gap; waits for one. Nothing is lost when the future is dropped.
    pub async fn next(&mut self) -> Next {
        poll_fn(|cx| self.poll_next(cx)).await
    }

    /// The same, for a task that waits for other things too.
    pub fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Next> {
        self.poll(cx, one)
    }

    /// The same, but messages that arrived together are read together.
    pub fn poll_next_stretch(&mut self, cx: &mut Context<'_>) -> Poll<Next<Stretch>> {
        self.poll(cx, all)
    }

    fn poll<T>(&mut self, cx: &mut Context<'_>, take: Take<T>) -> Poll<Next<T>> {
        for is_armed in [false, true] {
            match self.look(take) {
                (Some(next), _) => return Poll::Ready(next),
                (None, true) => return Poll::Ready(Next::Closed),
                // What comes after this look rings.
                (None, false) if !is_armed => self.bell.waker.register(cx.waker()),
                (None, false) => {}
            }
        }
        Poll::Pending
    }

    /// Waits at most this long; `None` when nothing came.
    pub async fn next_within(&mut self, patience: Duration) -> Option<Next> {
        tokio::time::timeout(patience, self.next()).await.ok()
    }

    /// The next entry or gap if there is one now.
    pub fn try_next(&mut self) -> Option<Next> {
        self.look(one).0
    }

    /// What comes next, if it is there, and whether nothing more will come.
    fn look<T>(&mut self, take: Take<T>) -> (Option<Next<T>>, bool) {
        if std::mem::take(&mut self.is_strange) {
            return (Some(Next::Gap { missed: None, from: self.cursor, to: self.cursor }), false);
        }
        let state = self.hub.state();
        let next = match state.ring.read(self.cursor) {
            Read::CaughtUp => None,
            Read::Entry(cursor, stored) => {
                let (taken, last) = take(stored, cursor);
                self.before = std::mem::replace(&mut self.cursor, last);
                Some(Next::Entry(taken))
            }
            Read::Gap { from, to, missed } => {
                self.cursor = to;
                self.bell.missed.fetch_add(missed.unwrap_or_default(), Relaxed);
                Some(Next::Gap { missed, from, to })
            }
        };
        self.bell.cursor.store(self.cursor, Relaxed);
        (next, state.closed)
    }

    /// What was read last is read again, if it is still there: it cannot be told now, and who keeps it meanwhile holds its bytes.
    pub fn put_back(&mut self) {
        self.cursor = self.before;
        self.bell.cursor.store(self.cursor, Relaxed);
    }

    /// Whether the message of this number meets the filter; `payload` is what it says.
    pub(crate) fn is_met(&mut self, filter: &Filter, number: u64, payload: &[u8], max_json: usize) -> bool {
        if self.documents.as_ref().is_none_or(|documents| documents.get(number).is_none()) {
            self.documents = self.hub.documents(number, max_json);
        }
        match self.documents.as_ref().and_then(|documents| documents.get(number)) {
            Some(document) => filter.is_met(document),
            // The inbox has let it go meanwhile.
            None => filter.is_met(&Document::read(payload, max_json)),
        }
    }

    /// The cursor of what was read last.
    pub fn position(&self) -> u64 {
        self.cursor
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.hub.bells().retain(|bell| !Arc::ptr_eq(bell, &self.bell));
    }
}

mod inboxes;
mod listening;
mod stored;
mod streams;
#[cfg(test)]
mod tests;
