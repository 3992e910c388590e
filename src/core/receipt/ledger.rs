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
use crate::{clock::Clock, message::MessageId, run::Lengths, sorted_deque::SortedDeque};

/// A repeat of an idempotency key within this answers with the first message's receipt.
pub const CLAIM: Duration = Duration::from_mins(10);
/// As good as for ever, and every clock can say when it is over.
pub const FAR: Duration = Duration::from_hours(24 * 365 * 100);

type Key = (Arc<str>, Box<str>);

/// A message, or several whose names follow each other, of which all the same is true by now.
#[derive(Debug)]
struct Record {
    /// Of the first.
    receipt: Receipt,
    keep: Duration,
    /// Until when it is kept, once it is at rest.
    until: Option<Instant>,
    /// In a box: few records have more.
    more: Option<Box<More>>,
}

#[derive(Debug)]
enum More {
    Claim(Claim),
    /// So many messages, two at least, of these lengths.
    Run(u32, Lengths),
}

impl Record {
    /// For how long it is kept once it is at rest, about.
    fn length(&self) -> Duration {
        if self.claim().is_some() { self.keep.max(CLAIM) } else { self.keep }
    }

    /// It is kept for its time from now on.
    fn come_to_rest(&mut self, now: Instant, rest: &mut Expiry, begun: &mut Option<Instant>, at_rest: &mut usize) {
        let kept = now.later(self.keep.min(FAR));
        let until = self.claim().map_or(kept, |claim| kept.max(claim.until));
        // Most are confirmed soon after they were written, and need not be noted anew for it.
        let until = whole_second(*begun.get_or_insert(now), until);
        let before = self.until.replace(until);
        *at_rest += if before.is_none() { self.count() as usize } else { 0 };
        if before != Some(until) {
            rest.note(self.length(), until, self.receipt.id);
        }
    }

    fn claim(&self) -> Option<&Claim> {
        match self.more.as_deref()? {
            More::Claim(claim) => Some(claim),
            More::Run(..) => None,
        }
    }

    fn count(&self) -> u32 {
        match self.more.as_deref() {
            Some(More::Run(count, _)) => *count,
            Some(More::Claim(_)) | None => 1,
        }
    }

    /// The receipt of the message of this name.
    fn receipt_of(&self, id: MessageId) -> Option<Receipt> {
        let place = u32::try_from(id.0.checked_sub(self.receipt.id.0)?).ok()?;
        let receipt = self.receipt.clone();
        match self.more.as_deref() {
            Some(More::Run(count, lengths)) if place < *count => {
                Some(Receipt { id, bytes: lengths.of(place), ..receipt })
            }
            Some(More::Run(..)) => None,
            Some(More::Claim(_)) | None => (place == 0).then_some(receipt),
        }
    }

    /// Takes the messages behind the first `count` off, which are not all.
    fn split_off(&mut self, count: u32) -> Self {
        let (rest, lengths) = match self.more.take().map(|more| *more) {
            Some(More::Run(all, lengths)) => (all.saturating_sub(count), Some(lengths)),
            more @ (Some(More::Claim(_)) | None) => {
                self.more = more.map(Box::new);
                (1, None)
            }
        };
        let behind = lengths.as_ref().map(|lengths| lengths.skip(count));
        let mut receipt = self.receipt.clone();
        receipt.id = receipt.id.later(count);
        receipt.bytes = behind.as_ref().map_or(0, |lengths| lengths.of(0));
        self.more = lengths.and_then(|lengths| run(count, lengths));
        Self { receipt, keep: self.keep, until: self.until, more: behind.and_then(|lengths| run(rest, lengths)) }
    }
}

fn run(count: u32, lengths: Lengths) -> Option<Box<More>> {
    (count > 1).then(|| Box::new(More::Run(count, lengths)))
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
    /// How many messages are at rest.
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
    pub fn first_of(&self, endpoint: &Arc<str>, key: &str) -> Option<Receipt> {
        self.get(*self.claims.get(&(Arc::clone(endpoint), key.into()))?)
    }

    /// Enters an accepted message, kept for `keep` after it has come to rest.
    #[inline]
    pub fn accept(&mut self, now: Instant, receipt: Receipt, keep: Duration, key: Option<&str>) {
        self.restore(receipt, keep, None, key.map(|key| (key.into(), now.later(CLAIM))));
    }

    /// Enters accepted messages of these lengths; the receipt is the first one's.
    pub fn accept_run(&mut self, receipt: Receipt, keep: Duration, count: u32, lengths: Lengths) {
        let more = run(count, lengths);
        self.records.insert(receipt.id, Record { receipt, keep, until: None, more });
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
        let record = Record { receipt, keep, until, more: claim.map(|claim| Box::new(More::Claim(claim))) };
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
        let Claim { key, until } = self.records.get(id)?.claim()?;
        Some((key, *until))
    }

    /// The message was refused after all, or so many whose names follow it.
    pub fn withdraw(&mut self, id: MessageId, count: u32) {
        self.each(id, count, Self::forget);
    }

    /// The message reached `state`, or so many whose names follow it. `false`: none of them is known here that was not there or further
    /// already.
    #[inline]
    pub fn advance(
        &mut self,
        now: Instant,
        at: SystemTime,
        (id, count): (MessageId, u32),
        reached: (State, Option<EndReason>),
        generation: Option<u64>,
    ) -> bool {
        if let Some(record) = self.records.get_mut(id).filter(|record| record.count() == count) {
            let is_new = record.receipt.step(at, reached, generation);
            if is_new && (reached.0.is_end() || reached.0 == State::Written) {
                record.come_to_rest(now, &mut self.rest, &mut self.begun, &mut self.at_rest);
            }
            return is_new;
        }
        self.advance_parts(now, at, (id, count), reached, generation)
    }

    /// The same where they are a part of what is known by one name, or known by several.
    #[cold]
    fn advance_parts(
        &mut self,
        now: Instant,
        at: SystemTime,
        (id, count): (MessageId, u32),
        reached: (State, Option<EndReason>),
        generation: Option<u64>,
    ) -> bool {
        let mut any = false;
        self.each(id, count, |ledger, id| {
            let count = ledger.records.get(id).map_or(1, Record::count);
            any |= ledger.advance(now, at, (id, count), reached, generation);
        });
        any
    }

    /// Does this with the record of each of these messages, and of no other.
    fn each(&mut self, first: MessageId, count: u32, mut what: impl FnMut(&mut Self, MessageId)) {
        let (mut id, end) = (first, first.later(count));
        while id < end {
            let Some(count) = self.isolate(id, end) else {
                match self.records.next_name(id) {
                    Some(next) => id = next,
                    None => return,
                }
                continue;
            };
            what(self, id);
            id = id.later(count);
        }
    }

    /// Cuts records so that one begins with this message and has none from `end` on: of how many it is. `None`: the message is unknown.
    fn isolate(&mut self, id: MessageId, end: MessageId) -> Option<u32> {
        let (first, record) = self.records.floor(id)?;
        let before = u32::try_from(id.0 - first.0).ok().filter(|before| *before < record.count())?;
        if before > 0 {
            self.cut(first, before);
        }
        let count = self.records.get(id)?.count();
        let wanted = u32::try_from(end.0 - id.0).unwrap_or(u32::MAX);
        if wanted < count {
            self.cut(id, wanted);
        }
        Some(count.min(wanted))
    }

    /// Cuts a record behind its first `count` messages, which are not all.
    fn cut(&mut self, id: MessageId, count: u32) {
        let Some(record) = self.records.get_mut(id) else { return };
        let behind = record.split_off(count);
        let id = behind.receipt.id;
        if let Some(until) = behind.until {
            self.rest.note(behind.length(), until, id);
        }
        self.records.insert(id, behind);
    }

    /// The message was written, and is held until the peer has proved to have read it: it is not at rest, unlike one that may
    /// stay `written`. `false`: as for [`Ledger::advance`].
    pub fn advance_unproven(&mut self, at: SystemTime, (id, count): (MessageId, u32), generation: Option<u64>) -> bool {
        let mut any = false;
        self.each(id, count, |ledger, id| {
            let record = ledger.records.get_mut(id);
            any |= record.is_some_and(|record| record.receipt.step(at, (State::Written, None), generation));
        });
        any
    }

    /// A receipt, while it is kept.
    pub fn get(&self, id: MessageId) -> Option<Receipt> {
        self.records.floor(id)?.1.receipt_of(id)
    }

    /// Messages of a link that have not ended. Looks at every receipt: for the rare day on which a link's task is lost.
    pub fn unsettled(&self, endpoint: &str, link: u32) -> Vec<(MessageId, State)> {
        let records = self.records.iter().filter(|(_, Record { receipt, .. })| {
            &*receipt.endpoint == endpoint && receipt.link == link && !receipt.state.is_end()
        });
        let each = |(id, record): (MessageId, &Record)| {
            let state = record.receipt.state;
            (0..record.count()).map(move |place| (id.later(place), state))
        };
        records.flat_map(each).collect()
    }

    /// Forgets what has been kept long enough, and what is too much.
    pub fn expire(&mut self, now: Instant) {
        while (self.at_rest > self.limit || self.rest.earliest().is_some_and(|until| until <= now))
            && let Some((until, id)) =
                self.rest.first(|until, id| self.records.get(id).is_some_and(|record| record.until == Some(until)))
            && (self.at_rest > self.limit || until <= now)
        {
            let too_many = self.at_rest.saturating_sub(self.limit);
            let count = if until <= now { usize::MAX } else { too_many };
            self.forget_first(id, u32::try_from(count).unwrap_or(u32::MAX));
        }
        while let Some((until, id)) = self.claims_by_end.first().copied()
            && until <= now
        {
            self.release(id);
        }
    }

    /// Forgets so many messages of a record at most.
    fn forget_first(&mut self, id: MessageId, count: u32) {
        let Some(record) = self.records.get_mut(id) else { return };
        if record.count() <= count {
            if record.claim().is_some() {
                self.release(id);
            }
            return self.remove(id);
        }
        // The others take its place: it is the same from now on as if it had begun with them.
        let behind = record.split_off(count);
        let behind_id = behind.receipt.id;
        if let Some(until) = behind.until {
            self.at_rest -= count as usize;
            self.rest.rename_first(until, id, behind_id);
        }
        *record = behind;
        self.records.rename(id, behind_id);
    }

    fn forget(&mut self, id: MessageId) {
        self.release(id);
        self.remove(id);
    }

    fn remove(&mut self, id: MessageId) {
        if let Some(record) = self.records.remove(id).filter(|record| record.until.is_some()) {
            self.at_rest -= record.count() as usize;
        }
    }

    /// Frees the message's key.
    fn release(&mut self, id: MessageId) {
        let Some(record) = self.records.get_mut(id) else { return };
        let Some(more) = record.more.take_if(|more| matches!(**more, More::Claim(_))) else { return };
        let More::Claim(Claim { key, until }) = *more else { return };
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
