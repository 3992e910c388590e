//! The byte budget of the whole process: everything that waits in it has a share, given back when it is dropped.
//!
//! Shares have ranks, and what can go gives way to what was promised. Inbox history is evicted, the largest holders first,
//! when an accepted message finds no room; and it never gets the last quarter, so that most find room at once. What is
//! arriving (bodies, frames that are being put together) gets at most a quarter, and so does what slow readers have not taken. What
//! peers have begun to send has its part of history's three quarters, by endpoint ([`Account`]). A share is a guard, so no path through a
//! queue can forget to give bytes back.

use std::{
    fmt,
    sync::{
        Arc, Weak,
        atomic::{AtomicU64, Ordering},
    },
};

pub use account::{Account, Hold};

mod account;

/// How many bytes the process may hold, and holds.
#[derive(Debug)]
pub struct Budget {
    limit: u64,
    used: AtomicU64,
    arriving: AtomicU64,
    leaving: AtomicU64,
    history: AtomicU64,
    /// Of history, what cannot give way.
    gathering: AtomicU64,
    holders: Box<dyn Holders>,
}

/// All who hold history of one budget. Whoever makes the budget keeps them: the core has no locks.
pub trait Holders: fmt::Debug + Send + Sync {
    /// One more, for as long as it lives.
    fn add(&self, holder: Weak<dyn Holder>);

    /// Those that live.
    fn all(&self) -> Vec<Arc<dyn Holder>>;
}

/// Nobody's history gives way.
#[derive(Debug)]
struct Nobody;

impl Holders for Nobody {
    fn add(&self, _holder: Weak<dyn Holder>) {}

    fn all(&self) -> Vec<Arc<dyn Holder>> {
        Vec::new()
    }
}

/// Who holds history, and lets it go when room is needed.
pub trait Holder: fmt::Debug + Send + Sync {
    /// Bytes held. Who may not wait gets no answer from one that is being changed.
    fn held(&self, may_wait: bool) -> Option<u64>;

    /// Lets the oldest go until at most this many bytes are held.
    fn shrink(&self, to: u64, may_wait: bool);
}

/// What a [`Lease`] is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rank {
    /// What has begun to arrive: the body of a request, a frame. It is refused when there is no room.
    Arriving,
    /// What a client is told and has not taken yet. It waits when there is no room.
    Leaving,
    /// What has arrived and is kept for late readers. It gives way.
    History,
}

impl Budget {
    /// A budget of `limit` bytes, in which nothing gives way.
    pub fn new(limit: u64) -> Arc<Self> {
        Self::with_holders(limit, Box::new(Nobody))
    }

    /// A budget of `limit` bytes, in which the history of these gives way.
    pub fn with_holders(limit: u64, holders: Box<dyn Holders>) -> Arc<Self> {
        let [used, arriving, leaving, history, gathering] = [0; 5].map(AtomicU64::new);
        Arc::new(Self { limit, used, arriving, leaving, history, gathering, holders })
    }

    /// Bytes held now.
    pub fn used(&self) -> u64 {
        self.used.load(Ordering::Relaxed)
    }

    /// Of these, bytes that can be evicted.
    pub fn history(&self) -> u64 {
        self.history.load(Ordering::Relaxed).saturating_sub(self.gathering.load(Ordering::Relaxed))
    }

    /// Bytes that may be held.
    pub fn limit(&self) -> u64 {
        self.limit
    }

    /// From now on, this one's history is evicted when room is needed.
    pub fn register(&self, holder: Weak<dyn Holder>) {
        self.holders.add(holder);
    }

    /// A share of `bytes` for what is accepted, or nothing where that would exceed the limit though no history is left.
    pub fn reserve(self: &Arc<Self>, bytes: usize) -> Option<Share> {
        let bytes = bytes as u64;
        (self.take(bytes) || self.take_from_history(bytes)).then(|| Share { budget: Some(Arc::clone(self)), bytes })
    }

    /// A share for what was accepted once and cannot be refused now, whether there is room or not.
    pub fn reserve_beyond(self: &Arc<Self>, bytes: usize) -> Share {
        self.reserve(bytes).unwrap_or_else(|| {
            let bytes = bytes as u64;
            self.used.fetch_add(bytes, Ordering::Relaxed);
            Share { budget: Some(Arc::clone(self)), bytes }
        })
    }

    /// An empty lease.
    pub fn lease(self: &Arc<Self>, rank: Rank) -> Lease {
        Lease { budget: Arc::clone(self), rank, bytes: 0 }
    }

    fn take(&self, bytes: u64) -> bool {
        take(&self.used, bytes, self.limit)
    }

    #[cold]
    fn take_from_history(&self, bytes: u64) -> bool {
        // Others may take what was let go, but hardly often.
        for _ in 0..4 {
            let lacking = self.used().saturating_add(bytes).saturating_sub(self.limit);
            let history = self.history();
            if history == 0 || lacking > history {
                break;
            }
            // More than is lacking, so that not each of many messages looks at all holders.
            self.evict(lacking.max(self.limit / 64), 0, true);
            if self.take(bytes) {
                return true;
            }
        }
        false
    }

    /// What each holder is owed whatever the others do, where so many bytes cannot give way.
    fn fair_share(&self, gathering: u64) -> u64 {
        let others = self.used().saturating_sub(self.history.load(Ordering::Relaxed));
        let room = most_history(self.limit).min(self.limit.saturating_sub(others)).saturating_sub(gathering);
        room / (self.holders.all().len().max(1) as u64)
    }

    /// Takes what counts as history, without having any of it go.
    fn take_as_history(&self, bytes: u64) -> bool {
        if !take(&self.history, bytes, most_history(self.limit)) {
            return false;
        }
        let has_room = self.take(bytes);
        if !has_room {
            self.history.fetch_sub(bytes, Ordering::Relaxed);
        }
        has_room
    }

    /// Has those go that hold more than a fair share, for so many bytes that count as gathering already.
    #[cold]
    fn make_room_in_history(&self, bytes: u64) {
        let fair = self.fair_share(self.gathering.load(Ordering::Relaxed));
        let (history, used) = (self.history.load(Ordering::Relaxed), self.used());
        let beyond = |sum: u64, most: u64| sum.saturating_add(bytes).saturating_sub(most);
        let lacking = beyond(history, most_history(self.limit)).max(beyond(used, self.limit));
        self.evict(lacking.max(self.limit / 256), fair, false);
    }

    /// Has the largest holders let go of `bytes` together, as long as they hold more than `floor`.
    fn evict(&self, bytes: u64, floor: u64, may_wait: bool) {
        let holders = self.holders.all();
        let held = holders.iter().filter_map(|holder| Some((holder.held(may_wait)?, holder)));
        let mut held: Vec<_> = held.filter(|(bytes, _)| *bytes > floor).collect();
        held.sort_unstable_by_key(|(bytes, _)| std::cmp::Reverse(*bytes));
        let level = level(held.iter().map(|(bytes, _)| *bytes), bytes).max(floor);
        for (_, holder) in held.iter().take_while(|(bytes, _)| *bytes > level) {
            holder.shrink(level, may_wait);
        }
    }
}

/// What history may have of so many bytes: the last quarter is for what is accepted.
pub const fn most_history(limit: u64) -> u64 {
    limit - limit / 4
}

/// Takes `bytes` where the sum stays within the limit.
fn take(sum: &AtomicU64, bytes: u64, limit: u64) -> bool {
    let more = |sum: u64| sum.checked_add(bytes).filter(|sum| *sum <= limit);
    sum.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).is_ok()
}

/// The level to which the largest go down, so that they let go of `bytes` together. Largest first.
fn level(held: impl Iterator<Item = u64> + Clone, bytes: u64) -> u64 {
    let next = held.clone().skip(1).chain([0]);
    let (mut sum, mut count) = (0_u64, 0);
    for (own, next) in held.zip(next) {
        (sum, count) = (sum.saturating_add(own), count + 1);
        if sum.saturating_sub(next.saturating_mul(count)) >= bytes {
            return sum.saturating_sub(bytes) / count;
        }
    }
    0
}

/// Bytes of a [`Budget`] that an accepted message has; dropping it gives them back.
#[derive(Debug, Default)]
pub struct Share {
    budget: Option<Arc<Budget>>,
    bytes: u64,
}

impl Share {
    /// Takes so many of them off, at most all.
    #[must_use]
    pub fn split(&mut self, bytes: u64) -> Self {
        let bytes = bytes.min(self.bytes);
        self.bytes -= bytes;
        Self { budget: self.budget.clone(), bytes }
    }
}

impl PartialEq for Share {
    /// As many bytes, of whatever budget.
    fn eq(&self, other: &Self) -> bool {
        self.bytes == other.bytes
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        if let Some(budget) = &self.budget {
            budget.used.fetch_sub(self.bytes, Ordering::Relaxed);
        }
    }
}

/// Bytes of a [`Budget`] that grow and shrink; dropping it gives them back.
#[derive(Debug)]
pub struct Lease {
    budget: Arc<Budget>,
    rank: Rank,
    bytes: u64,
}

impl Lease {
    /// How many.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Has this many from now on; if there is no room for more, what it has stays.
    pub fn resize(&mut self, bytes: u64) -> bool {
        let more = bytes.saturating_sub(self.bytes);
        if more > 0 {
            if !self.take(more) {
                return false;
            }
            self.bytes = bytes;
        } else if bytes < self.bytes {
            self.give_back(self.bytes - bytes);
        }
        true
    }

    fn take(&self, more: u64) -> bool {
        let (budget, limit) = (&self.budget, self.budget.limit);
        let most = match self.rank {
            Rank::History => return budget.take_as_history(more),
            // One that is alone may be larger: else it could never pass.
            Rank::Arriving | Rank::Leaving if self.sum().load(Ordering::Relaxed) == self.bytes => limit,
            Rank::Arriving | Rank::Leaving => limit / 4,
        };
        if !take(self.sum(), more, most) {
            return false;
        }
        let has_room = budget.take(more) || budget.take_from_history(more);
        if !has_room {
            self.sum().fetch_sub(more, Ordering::Relaxed);
        }
        has_room
    }

    /// The same, whether there is room or not.
    pub fn resize_beyond(&mut self, bytes: u64) {
        if !self.resize(bytes) {
            let more = bytes - self.bytes;
            self.sum().fetch_add(more, Ordering::Relaxed);
            self.budget.used.fetch_add(more, Ordering::Relaxed);
            self.bytes = bytes;
        }
    }

    /// Where so many bytes of history are no more than a fair share, has others go that hold more than theirs.
    #[cold]
    pub fn claim(&self, bytes: u64) {
        let fair = self.budget.fair_share(self.budget.gathering.load(Ordering::Relaxed));
        if bytes <= fair {
            let lacking = bytes.saturating_sub(self.bytes);
            self.budget.evict(lacking.max(self.budget.limit / 256), fair, false);
        }
    }

    fn sum(&self) -> &AtomicU64 {
        match self.rank {
            Rank::Arriving => &self.budget.arriving,
            Rank::Leaving => &self.budget.leaving,
            Rank::History => &self.budget.history,
        }
    }

    fn give_back(&mut self, bytes: u64) {
        self.sum().fetch_sub(bytes, Ordering::Relaxed);
        self.budget.used.fetch_sub(bytes, Ordering::Relaxed);
        self.bytes -= bytes;
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.give_back(self.bytes);
    }
}

#[cfg(test)]
mod tests;
