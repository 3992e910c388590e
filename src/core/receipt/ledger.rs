//! Every receipt that can be looked up, and the first message of every idempotency key.
//!
//! A message that may still change is never forgotten; one at rest is kept for its time, and past the bound the one that
//! has rested longest goes first.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use super::{Fate, Receipt, State};
use crate::core::message::MessageId;

/// A repeat of an idempotency key within this answers with the first message's receipt.
const CLAIM: Duration = Duration::from_mins(10);

type Key = (Arc<str>, Box<str>);

#[derive(Debug)]
struct Record {
    receipt: Receipt,
    keep: Duration,
    /// Until when it is kept, once it is at rest.
    until: Option<Instant>,
    key: Option<Box<str>>,
}

/// The receipts.
#[derive(Debug)]
pub struct Ledger {
    /// Receipts at rest, and claims, kept at most.
    limit: usize,
    records: BTreeMap<MessageId, Record>,
    at_rest: BTreeSet<(Instant, MessageId)>,
    claims: BTreeMap<Key, MessageId>,
    claimed: VecDeque<(Instant, Key, MessageId)>,
}

impl Ledger {
    /// Keeps at most `limit` receipts that are at rest.
    pub fn new(limit: usize) -> Self {
        Self {
            limit,
            records: BTreeMap::new(),
            at_rest: BTreeSet::new(),
            claims: BTreeMap::new(),
            claimed: VecDeque::new(),
        }
    }

    /// The first message of this key, while the claim lasts and its receipt is kept.
    pub fn first_of(&self, endpoint: &Arc<str>, key: &str) -> Option<&Receipt> {
        self.get(*self.claims.get(&(Arc::clone(endpoint), key.into()))?)
    }

    /// Enters an accepted message, kept for `keep` after it has come to rest.
    pub fn accept(&mut self, now: Instant, receipt: Receipt, keep: Duration, key: Option<&str>) {
        let id = receipt.id;
        if let Some(key) = key {
            let claim: Key = (Arc::clone(&receipt.endpoint), key.into());
            self.claims.insert(claim.clone(), id);
            self.claimed.push_back((now + CLAIM, claim, id));
        }
        self.records.insert(id, Record { receipt, keep, until: None, key: key.map(Into::into) });
    }

    /// The message was refused after all.
    pub fn withdraw(&mut self, id: MessageId) {
        let Some(record) = self.records.remove(&id) else { return };
        if let Some(until) = record.until {
            self.at_rest.remove(&(until, id));
        }
        if let Some(key) = record.key {
            self.claims.remove(&(record.receipt.endpoint, key));
        }
    }

    /// The message reached `state`. `false`: it is unknown here, or was there or further already.
    pub fn advance(
        &mut self,
        now: Instant,
        at: SystemTime,
        id: MessageId,
        (state, fate): (State, Option<Fate>),
        generation: Option<u64>,
    ) -> bool {
        let Some(record) = self.records.get_mut(&id) else { return false };
        let receipt = &mut record.receipt;
        if receipt.state.is_end() || state <= receipt.state {
            return false;
        }
        receipt.state = state;
        receipt.fate = fate;
        receipt.updated_at = at;
        if matches!(state, State::Written | State::Confirmed) {
            receipt.generation = generation;
        }
        if state.is_end() || state == State::Written {
            let until = now + record.keep;
            if let Some(before) = record.until.replace(until) {
                self.at_rest.remove(&(before, id));
            }
            self.at_rest.insert((until, id));
        }
        true
    }

    /// A receipt, while it is kept.
    pub fn get(&self, id: MessageId) -> Option<&Receipt> {
        self.records.get(&id).map(|record| &record.receipt)
    }

    /// Messages of a link that have not ended. Looks at every receipt: for the rare day on which a link's task is lost.
    pub fn unsettled(&self, endpoint: &str, link: u32) -> Vec<(MessageId, State)> {
        self.records
            .values()
            .map(|record| &record.receipt)
            .filter(|receipt| &*receipt.endpoint == endpoint && receipt.link == link && !receipt.state.is_end())
            .map(|receipt| (receipt.id, receipt.state))
            .collect()
    }

    /// Forgets what has been kept long enough, and what is too much.
    pub fn expire(&mut self, now: Instant) {
        while let Some((until, id)) = self.at_rest.first().copied() {
            if until > now && self.at_rest.len() <= self.limit {
                break;
            }
            self.at_rest.pop_first();
            self.records.remove(&id);
        }
        while let Some((until, ..)) = self.claimed.front() {
            if *until > now && self.claimed.len() <= self.limit {
                break;
            }
            if let Some((_, key, id)) = self.claimed.pop_front()
                && self.claims.get(&key) == Some(&id)
            {
                self.claims.remove(&key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn receipt(id: u128) -> Receipt {
        Receipt {
            id: MessageId(id),
            endpoint: "feed".into(),
            link: 0,
            state: State::Queued,
            bytes: 1,
            accepted_at: SystemTime::UNIX_EPOCH,
            updated_at: SystemTime::UNIX_EPOCH,
            generation: None,
            fate: None,
        }
    }

    const KEEP: Duration = Duration::from_mins(10);

    fn advance(ledger: &mut Ledger, now: Instant, id: u128, state: State) -> bool {
        ledger.advance(now, SystemTime::UNIX_EPOCH, MessageId(id), (state, None), Some(1))
    }

    #[test]
    fn a_receipt_never_goes_back_and_never_leaves_its_end() {
        let (mut ledger, now) = (Ledger::new(10), crate::core::epoch());
        ledger.accept(now, receipt(1), KEEP, None);
        assert!(advance(&mut ledger, now, 1, State::Written));
        assert!(!advance(&mut ledger, now, 1, State::Queued));
        assert!(advance(&mut ledger, now, 1, State::Confirmed));
        assert!(!advance(&mut ledger, now, 1, State::Unknown));
        assert_eq!(ledger.get(MessageId(1)).map(|receipt| receipt.state), Some(State::Confirmed));
    }

    #[test]
    fn what_rests_is_kept_for_its_time_and_what_may_change_for_ever() {
        let (mut ledger, now) = (Ledger::new(10), crate::core::epoch());
        ledger.accept(now, receipt(1), KEEP, None);
        ledger.accept(now, receipt(2), KEEP, None);
        advance(&mut ledger, now, 1, State::Confirmed);
        ledger.expire(now + KEEP / 2);
        assert!(ledger.get(MessageId(1)).is_some());
        ledger.expire(now + KEEP);
        assert!(ledger.get(MessageId(1)).is_none());
        ledger.expire(now + KEEP * 100);
        assert!(ledger.get(MessageId(2)).is_some());
    }

    #[test]
    fn past_the_bound_the_longest_rested_goes_first() {
        let (mut ledger, mut now) = (Ledger::new(3), crate::core::epoch());
        for id in 1..=5 {
            ledger.accept(now, receipt(id), KEEP, None);
            advance(&mut ledger, now, id, State::Written);
            now += Duration::from_secs(1);
            ledger.expire(now);
        }
        let kept: Vec<_> = (1..=5).filter(|id| ledger.get(MessageId(*id)).is_some()).collect();
        assert_eq!(kept, [3, 4, 5]);
    }

    #[test]
    fn a_repeated_key_finds_the_first_message_for_ten_minutes() {
        let (mut ledger, now) = (Ledger::new(10), crate::core::epoch());
        let endpoint: Arc<str> = "feed".into();
        ledger.accept(now, receipt(1), KEEP * 9, Some("k"));
        assert_eq!(ledger.first_of(&endpoint, "k").map(|receipt| receipt.id), Some(MessageId(1)));
        assert!(ledger.first_of(&endpoint, "other").is_none());
        ledger.expire(now + CLAIM);
        assert!(ledger.first_of(&endpoint, "k").is_none());
    }

    #[test]
    fn a_refused_message_gives_its_key_back() {
        let (mut ledger, now) = (Ledger::new(10), crate::core::epoch());
        ledger.accept(now, receipt(1), KEEP, Some("k"));
        ledger.withdraw(MessageId(1));
        assert!(ledger.first_of(&"feed".into(), "k").is_none());
        assert!(ledger.get(MessageId(1)).is_none());
    }
}
