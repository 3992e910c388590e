//! Every receipt that can be looked up, and the first message of every idempotency key.
//!
//! A message that may still change is never forgotten; one at rest is kept for its time, and past the bound the one that
//! has rested longest goes first. A key is known only as long as its receipt, which for its sake is kept for the whole
//! time of the claim.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use super::{EndReason, Receipt, State, expiry::Expiry};
use crate::{clock::Clock, message::MessageId, sorted_deque::SortedDeque};

/// A repeat of an idempotency key within this answers with the first message's receipt.
pub const CLAIM: Duration = Duration::from_mins(10);
/// As good as for ever, and every clock can say when it is over.
pub const FAR: Duration = Duration::from_hours(24 * 365 * 100);

type Key = (Arc<str>, Box<str>);

#[derive(Debug)]
struct Record {
    receipt: Receipt,
    keep: Duration,
    /// Until when it is kept, once it is at rest.
    until: Option<Instant>,
    /// In a box: few messages have one.
    claim: Option<Box<Claim>>,
}

impl Record {
    /// For how long it is kept once it is at rest, about.
    fn length(&self) -> Duration {
        if self.claim.is_some() { self.keep.max(CLAIM) } else { self.keep }
    }
}

/// An idempotency key that points to a record.
#[derive(Debug)]
struct Claim {
    key: Box<str>,
    until: Instant,
}

/// The receipts.
#[derive(Debug)]
pub struct Ledger {
    /// Receipts at rest kept at most.
    limit: usize,
    records: SortedDeque<MessageId, Record>,
    rest: Expiry,
    /// How many are at rest.
    at_rest: usize,
    /// When the first came to rest.
    begun: Option<Instant>,
    claims: BTreeMap<Key, MessageId>,
    claims_by_end: BTreeSet<(Instant, MessageId)>,
}

impl Ledger {
    /// Keeps at most `limit` receipts that are at rest.
    pub fn new(limit: usize) -> Self {
        Self {
            limit,
            records: SortedDeque::default(),
            rest: Expiry::default(),
            at_rest: 0,
            begun: None,
            claims: BTreeMap::new(),
            claims_by_end: BTreeSet::new(),
        }
    }

    /// The first message of this key, while the claim lasts and its receipt is kept.
    pub fn first_of(&self, endpoint: &Arc<str>, key: &str) -> Option<&Receipt> {
        self.get(*self.claims.get(&(Arc::clone(endpoint), key.into()))?)
    }

    /// Enters an accepted message, kept for `keep` after it has come to rest.
    #[inline]
    pub fn accept(&mut self, now: Instant, receipt: Receipt, keep: Duration, key: Option<&str>) {
        self.restore(receipt, keep, None, key.map(|key| (key.into(), now.later(CLAIM))));
    }

    /// Enters a message of an earlier life: at rest until `until`, or not at rest.
    #[inline]
    pub fn restore(
        &mut self,
        receipt: Receipt,
        keep: Duration,
        until: Option<Instant>,
        claim: Option<(Box<str>, Instant)>,
    ) {
        let id = receipt.id;
        let claim = claim.map(|(key, until)| Claim { key, until });
        if let Some(Claim { key, until }) = &claim {
            self.claims.insert((Arc::clone(&receipt.endpoint), key.clone()), id);
            self.claims_by_end.insert((*until, id));
        }
        let record = Record { receipt, keep, until, claim: claim.map(Box::new) };
        if let Some(until) = until {
            self.at_rest += 1;
            self.rest.note(record.length(), until, id);
        }
        let before = self.records.insert(id, record);
        self.at_rest -= usize::from(before.is_some_and(|before| before.until.is_some()));
    }

    /// Another link holds the message now. Its idempotency key was one of the endpoint that it was sent to, and is free.
    pub fn rehome(&mut self, id: MessageId, endpoint: &Arc<str>, link: u32) {
        self.release(id);
        if let Some(record) = self.records.get_mut(id) {
            record.receipt.endpoint = Arc::clone(endpoint);
            record.receipt.link = link;
        }
    }

    /// Keeps a message's receipt for so long after its end.
    pub fn set_keep(&mut self, id: MessageId, keep: Duration) {
        if let Some(record) = self.records.get_mut(id) {
            record.keep = keep;
        }
    }

    /// How long a message's receipt is kept after its end.
    pub fn keep(&self, id: MessageId) -> Option<Duration> {
        self.records.get(id).map(|record| record.keep)
    }

    /// The idempotency key that leads to a message, and until when.
    pub fn claim(&self, id: MessageId) -> Option<(&str, Instant)> {
        let Claim { key, until } = self.records.get(id)?.claim.as_deref()?;
        Some((key, *until))
    }

    /// The message was refused after all.
    pub fn withdraw(&mut self, id: MessageId) {
        self.forget(id);
    }

    /// The message reached `state`. `false`: it is unknown here, or was there or further already.
    pub fn advance(
        &mut self,
        now: Instant,
        at: SystemTime,
        id: MessageId,
        (state, end_reason): (State, Option<EndReason>),
        generation: Option<u64>,
    ) -> bool {
        let Some(record) = self.records.get_mut(id) else { return false };
        if !record.receipt.step(at, (state, end_reason), generation) {
            return false;
        }
        if state.is_end() || state == State::Written {
            let kept = now.later(record.keep.min(FAR));
            let until = record.claim.as_ref().map_or(kept, |claim| kept.max(claim.until));
            // Most are confirmed soon after they were written, and need not be noted anew for it.
            let until = whole_second(*self.begun.get_or_insert(now), until);
            let before = record.until.replace(until);
            self.at_rest += usize::from(before.is_none());
            if before != Some(until) {
                self.rest.note(record.length(), until, id);
            }
        }
        true
    }

    /// The message was written, and is held until the peer has proved to have read it: it is not at rest, unlike one that may
    /// stay `written`. `false`: as for [`Ledger::advance`].
    pub fn advance_unproven(&mut self, at: SystemTime, id: MessageId, generation: Option<u64>) -> bool {
        let record = self.records.get_mut(id);
        record.is_some_and(|record| record.receipt.step(at, (State::Written, None), generation))
    }

    /// A receipt, while it is kept.
    pub fn get(&self, id: MessageId) -> Option<&Receipt> {
        self.records.get(id).map(|record| &record.receipt)
    }

    /// Messages of a link that have not ended. Looks at every receipt: for the rare day on which a link's task is lost.
    pub fn unsettled(&self, endpoint: &str, link: u32) -> Vec<(MessageId, State)> {
        self.records
            .iter()
            .map(|(_, record)| &record.receipt)
            .filter(|receipt| &*receipt.endpoint == endpoint && receipt.link == link && !receipt.state.is_end())
            .map(|receipt| (receipt.id, receipt.state))
            .collect()
    }

    /// Forgets what has been kept long enough, and what is too much.
    pub fn expire(&mut self, now: Instant) {
        while (self.at_rest > self.limit || self.rest.earliest().is_some_and(|until| until <= now))
            && let Some((until, id)) =
                self.rest.first(|until, id| self.records.get(id).is_some_and(|record| record.until == Some(until)))
            && (self.at_rest > self.limit || until <= now)
        {
            self.forget(id);
        }
        while let Some((until, id)) = self.claims_by_end.first().copied()
            && until <= now
        {
            self.release(id);
        }
    }

    fn forget(&mut self, id: MessageId) {
        self.release(id);
        if self.records.remove(id).is_some_and(|record| record.until.is_some()) {
            self.at_rest -= 1;
        }
    }

    /// Frees the message's key.
    fn release(&mut self, id: MessageId) {
        let Some(record) = self.records.get_mut(id) else { return };
        let Some(claim) = record.claim.take() else { return };
        let Claim { key, until } = *claim;
        self.claims_by_end.remove(&(until, id));
        let key = (Arc::clone(&record.receipt.endpoint), key);
        if self.claims.get(&key) == Some(&id) {
            self.claims.remove(&key);
        }
    }
}

/// The first moment from `at` on that is a whole number of seconds after `begun`.
fn whole_second(begun: Instant, at: Instant) -> Instant {
    let after = at.saturating_duration_since(begun);
    let seconds = after.as_secs() + u64::from(after.subsec_nanos() > 0);
    begun.checked_add(Duration::from_secs(seconds)).unwrap_or(at)
}

impl Receipt {
    /// Comes into a state. `false`: it cannot from where it is.
    fn step(
        &mut self,
        at: SystemTime,
        (state, end_reason): (State, Option<EndReason>),
        generation: Option<u64>,
    ) -> bool {
        if !self.state.can_become(state) {
            return false;
        }
        self.state = state;
        self.end_reason = end_reason;
        self.updated_at = at;
        if matches!(state, State::Written | State::Confirmed) {
            self.generation = generation;
        }
        true
    }
}

#[cfg(test)]
mod tests;
