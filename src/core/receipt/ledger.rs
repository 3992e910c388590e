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

use super::{Fate, Receipt, State, records::Records, rest::Rest};
use crate::core::message::MessageId;

/// A repeat of an idempotency key within this answers with the first message's receipt.
pub const CLAIM: Duration = Duration::from_mins(10);

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
    records: Records<Record>,
    rest: Rest,
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
            records: Records::new(),
            rest: Rest::default(),
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
    pub fn accept(&mut self, now: Instant, receipt: Receipt, keep: Duration, key: Option<&str>) {
        self.restore(receipt, keep, None, key.map(|key| (key.into(), now + CLAIM)));
    }

    /// Enters a message of an earlier life: at rest until `until`, or not at rest.
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
        (state, fate): (State, Option<Fate>),
        generation: Option<u64>,
    ) -> bool {
        let Some(record) = self.records.get_mut(id) else { return false };
        if !record.receipt.step(at, (state, fate), generation) {
            return false;
        }
        if state.is_end() || state == State::Written {
            let kept = now.checked_add(record.keep).unwrap_or(now + CLAIM);
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
            .values()
            .map(|record| &record.receipt)
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
    fn step(&mut self, at: SystemTime, (state, fate): (State, Option<Fate>), generation: Option<u64>) -> bool {
        if !self.state.can_become(state) {
            return false;
        }
        self.state = state;
        self.fate = fate;
        self.updated_at = at;
        if matches!(state, State::Written | State::Confirmed) {
            self.generation = generation;
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

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
    fn a_receipt_is_kept_for_its_time_and_at_most_a_second_more() {
        let (mut ledger, begun) = (Ledger::new(10), crate::core::epoch());
        let later = begun + Duration::from_millis(300);
        for (id, now) in [(1, begun), (2, later)] {
            ledger.accept(now, receipt(id), KEEP, None);
            advance(&mut ledger, now, id, State::Written);
        }
        ledger.expire(later + KEEP);
        assert!(ledger.get(MessageId(1)).is_none());
        assert!(ledger.get(MessageId(2)).is_some());
        ledger.expire(later + KEEP + Duration::from_secs(1));
        assert!(ledger.get(MessageId(2)).is_none());
    }

    #[test]
    fn a_confirmation_within_the_second_moves_nothing() {
        let (mut ledger, begun) = (Ledger::new(10), crate::core::epoch());
        ledger.accept(begun, receipt(1), KEEP, None);
        advance(&mut ledger, begun, 1, State::Written);
        let now = begun + Duration::from_millis(10);
        for id in 2..=3 {
            ledger.accept(now, receipt(id), KEEP, None);
            advance(&mut ledger, now, id, State::Written);
            advance(&mut ledger, now + Duration::from_millis(5), id, State::Confirmed);
        }
        assert_eq!(ledger.rest.len(), 3);
    }

    #[test]
    fn what_waits_for_its_proof_is_not_forgotten_however_much_rests() {
        let (mut ledger, now) = (Ledger::new(2), crate::core::epoch());
        for id in 1..=9 {
            ledger.accept(now, receipt(id), KEEP, None);
        }
        assert!(ledger.advance_unproven(SystemTime::UNIX_EPOCH, MessageId(1), Some(1)));
        for id in 2..=9 {
            advance(&mut ledger, now, id, State::Confirmed);
        }
        ledger.expire(now + KEEP * 100);
        assert_eq!(ledger.get(MessageId(1)).map(|receipt| receipt.state), Some(State::Written));
        advance(&mut ledger, now, 1, State::Confirmed);
        ledger.expire(now + KEEP);
        assert!(ledger.get(MessageId(1)).is_none());
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
    fn a_receipt_is_kept_as_long_as_its_key_is_known() {
        let (mut ledger, now) = (Ledger::new(10), crate::core::epoch());
        let endpoint: Arc<str> = "feed".into();
        ledger.accept(now, receipt(1), Duration::ZERO, Some("k"));
        ledger.accept(now, receipt(2), Duration::ZERO, None);
        advance(&mut ledger, now, 1, State::Written);
        advance(&mut ledger, now, 2, State::Written);
        ledger.expire(now);
        assert!(ledger.get(MessageId(2)).is_none());
        assert_eq!(ledger.first_of(&endpoint, "k").map(|receipt| receipt.id), Some(MessageId(1)));
        ledger.expire(now + CLAIM);
        assert!(ledger.get(MessageId(1)).is_none());
    }

    #[test]
    fn refused_messages_push_out_no_key_and_leave_nothing_behind() {
        let (mut ledger, now) = (Ledger::new(3), crate::core::epoch());
        let endpoint: Arc<str> = "feed".into();
        ledger.accept(now, receipt(1), KEEP, Some("k"));
        for id in 2..100 {
            ledger.accept(now, receipt(id), KEEP, Some(&id.to_string()));
            ledger.withdraw(MessageId(id));
            ledger.expire(now);
        }
        assert!(ledger.first_of(&endpoint, "k").is_some());
        assert_eq!((ledger.records.len(), ledger.claims.len(), ledger.claims_by_end.len()), (1, 1, 1));
    }

    #[test]
    fn a_refused_message_leaves_the_key_to_the_one_that_has_it_now() {
        let (mut ledger, now) = (Ledger::new(10), crate::core::epoch());
        let endpoint: Arc<str> = "feed".into();
        ledger.accept(now, receipt(1), KEEP, Some("k"));
        ledger.expire(now + CLAIM);
        ledger.accept(now + CLAIM, receipt(2), KEEP, Some("k"));
        ledger.withdraw(MessageId(1));
        assert_eq!(ledger.first_of(&endpoint, "k").map(|receipt| receipt.id), Some(MessageId(2)));
    }

    proptest! {
        /// Whatever is told in whatever order: states only climb, ends are ends, what is held is kept, the rest is bounded.
        #[test]
        fn a_ledger_keeps_what_it_must_and_no_more(
            steps in prop::collection::vec((0_u128..12, 0_usize..9, 0_u64..400), 1..200),
            limit in 1_usize..6,
        ) {
            let (mut ledger, mut now) = (Ledger::new(limit), crate::core::epoch());
            let mut held: BTreeMap<u128, State> = BTreeMap::new();
            for (id, step, seconds) in steps {
                let name = MessageId(id);
                let before = ledger.get(name).map(|receipt| receipt.state);
                match State::ALL.get(step) {
                    Some(State::Queued) if before.is_none() => {
                        let key = (id % 2 == 0).then(|| id.to_string());
                        ledger.accept(now, receipt(id), Duration::from_secs(seconds), key.as_deref());
                        held.insert(id, State::Queued);
                    }
                    Some(state) => {
                        let news = advance(&mut ledger, now, id, *state);
                        prop_assert_eq!(news, before.is_some_and(|before| before.can_become(*state)));
                        if news {
                            prop_assert_eq!(ledger.get(name).map(|receipt| receipt.state), Some(*state));
                            held.remove(&id);
                            held.extend((*state == State::Stored).then_some((id, State::Stored)));
                        }
                    }
                    None => {
                        now += Duration::from_secs(seconds);
                        ledger.expire(now);
                        prop_assert!(ledger.at_rest <= limit);
                        prop_assert!(ledger.records.values().all(|record| record.until.is_none_or(|until| until > now)));
                    }
                }
                for (id, state) in &held {
                    prop_assert_eq!(ledger.get(MessageId(*id)).map(|receipt| receipt.state), Some(*state));
                }
                prop_assert_eq!(ledger.records.len(), held.len() + ledger.at_rest);
                prop_assert_eq!(ledger.claims.len(), ledger.claims_by_end.len());
            }
        }
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
