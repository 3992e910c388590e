//! An endpoint's bounded, numbered log of what arrived.
//!
//! Readers hold a cursor, the number of the last entry they have seen, and the ring holds nothing for them. What has
//! fallen out of the window is a gap that every late reader is told of, exactly.
//!
//! Numbers may jump where a run of the daemon follows another one: what lies between was never given, or is not known any
//! more. Each entry says after which number nothing is missing before it, and who has seen less is told of a gap.
//!
//! What a reader would get wrong: messages that arrived together are one item with as many numbers. The limits count each of them,
//! so an item may go in part, and its memory follows when that is worth it.

use std::{collections::VecDeque, mem};

use super::budget::Lease;

/// How much of the log is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// Messages kept at most.
    pub max_messages: usize,
    /// Bytes of application data kept at most; the newest message is kept whatever its size.
    pub max_bytes: u64,
    /// The largest message that may arrive; a larger one fails the connection with 1009.
    pub max_message: usize,
    /// Entries are written to disk too, and are there after a restart.
    pub durable: bool,
}

impl Default for Policy {
    fn default() -> Self {
        Self { max_messages: 1024, max_bytes: 1 << 20, max_message: 1 << 20, durable: false }
    }
}

/// What the log keeps: one thing, or messages that follow each other.
pub trait Parts {
    /// Application bytes of the message at this place.
    fn message_len(&self, place: usize) -> u64;
    /// The first `gone` messages are not wanted any more. Where letting their memory go is worth it, does so: what the rest, whose
    /// places begin at 0 again, takes of the budget.
    fn shed(&mut self, gone: usize) -> Option<u64>;
}

/// What stands after a cursor.
#[derive(Debug, PartialEq, Eq)]
pub enum Read<'a, T> {
    /// The number of the next entry, and what it is in.
    Entry(u64, &'a T),
    /// Entries that are no longer kept.
    Gap {
        /// The first number missed.
        from: u64,
        /// The last number missed.
        to: u64,
        /// How many they were; `None`: unknown, because it reaches into an earlier run of the daemon.
        missed: Option<u64>,
    },
    /// Nothing yet.
    CaughtUp,
}

#[derive(Debug)]
struct Kept<T> {
    /// Of the first entry that is left of it, and of the last.
    number: u64,
    last: u64,
    /// Who has read up to here misses nothing before it.
    after: u64,
    item: T,
    /// What it takes of the process's budget.
    cost: u64,
    /// Messages of it that are not wanted any more, and are there.
    gone: u32,
    is_message: bool,
}

impl<T> Kept<T> {
    fn count(&self) -> usize {
        usize::try_from(self.last + 1 - self.number).unwrap_or(usize::MAX)
    }
}

/// The log.
#[derive(Debug)]
pub struct Ring<T> {
    policy: Policy,
    /// Entries that are no messages, kept at most.
    max_others: usize,
    kept: VecDeque<Kept<T>>,
    /// The number of the next entry, and what its `after` will be.
    next: u64,
    after: u64,
    /// The entry dropped last; from `counted_from` up to it there were no jumps.
    dropped: u64,
    counted_from: u64,
    messages: usize,
    others: usize,
    bytes: u64,
    cost: u64,
    lease: Lease,
}

impl<T: Parts> Ring<T> {
    /// An empty log whose first entry will have the number `first`, at least 1. `lease` is empty, too.
    pub fn new(policy: Policy, max_others: usize, first: u64, lease: Lease) -> Self {
        let first = first.max(1);
        Self {
            policy,
            max_others,
            kept: VecDeque::new(),
            next: first,
            after: first - 1,
            dropped: first - 1,
            counted_from: first,
            messages: 0,
            others: 0,
            bytes: 0,
            cost: 0,
            lease,
        }
    }

    /// Follows a new policy from the next entry on.
    pub fn set_policy(&mut self, policy: Policy, max_others: usize) {
        (self.policy, self.max_others) = (policy, max_others);
    }

    /// The next entry will have this number, or a higher one where there was one already; who has read up to `after` misses
    /// nothing before it.
    pub fn jump(&mut self, number: u64, after: u64) {
        self.next = self.next.max(number);
        self.after = after.min(self.next - 1);
    }

    /// Adds what is no message and gives its number; `cost` is what it takes of the budget. The oldest entries go until it fits.
    pub fn push(&mut self, item: T, cost: u64) -> u64 {
        while self.others > 0 && self.others >= self.max_others {
            self.drop_oldest();
        }
        self.others += 1;
        let number = self.keep(item, 1, cost, false);
        self.take_share();
        number
    }

    /// Adds messages that arrived together, so many with so many application bytes, and gives the number of the first. The oldest
    /// entries go until they fit, and of these messages the first, if they are too many.
    pub fn push_messages(&mut self, item: T, count: usize, bytes: u64, cost: u64) -> u64 {
        let number = self.keep(item, count, cost, true);
        self.messages += count;
        self.bytes += bytes;
        self.make_room();
        self.take_share();
        number
    }

    fn keep(&mut self, item: T, count: usize, cost: u64, is_message: bool) -> u64 {
        if self.kept.len() == self.kept.capacity() {
            // By doubling, but not beyond what may ever be held.
            let most = self.max_others.saturating_add(self.policy.max_messages).saturating_add(1);
            let more = self.kept.len().max(4).min(most.saturating_sub(self.kept.len())).max(1);
            self.kept.reserve_exact(more);
        }
        let (number, after) = (self.next, self.after);
        let last = number + (count as u64).max(1) - 1;
        self.kept.push_back(Kept { number, last, after, item, cost, gone: 0, is_message });
        self.cost += cost;
        (self.next, self.after) = (last + 1, last);
        number
    }

    /// What the entries take of the budget.
    pub fn cost(&self) -> u64 {
        self.cost
    }

    /// Lets the oldest go until the others take at most this much of the budget.
    pub fn shrink(&mut self, cost: u64) {
        while self.cost > cost && self.drop_oldest() {}
        // Fewer bytes are always to be had.
        let _ = self.lease.resize(self.cost.min(self.lease.bytes()));
    }

    /// What stands after `cursor`.
    pub fn read(&self, cursor: u64) -> Read<'_, T> {
        let next = self.kept.get(self.place_after(cursor));
        if let Some(kept) = next.filter(|kept| kept.number <= cursor) {
            return Read::Entry(cursor + 1, &kept.item);
        }
        let (after, number) = next.map_or((self.after, self.next), |kept| (kept.after, kept.number));
        // A cursor within a jump was never given, as far as is known here.
        let to = if cursor < after { after } else { number - 1 };
        match next {
            _ if cursor != after && cursor < to => {
                let from = cursor + 1;
                let is_counted = from >= self.counted_from && to == self.dropped;
                Read::Gap { from, to, missed: is_counted.then_some(to - cursor) }
            }
            Some(kept) => Read::Entry(kept.number, &kept.item),
            None => Read::CaughtUp,
        }
    }

    /// Items after `cursor` whose entries follow each other without a jump, oldest first, each with the number of its first entry
    /// that is meant; and the number that all of them come after.
    pub fn run_after(&self, cursor: u64) -> Option<(u64, impl Iterator<Item = (u64, &T)>)> {
        let place = self.place_after(cursor);
        let first = self.kept.get(place)?;
        let begins = first.number.max(cursor + 1);
        let after = if first.number <= cursor { cursor } else { first.after };
        let mut next = first.number;
        let follows = move |kept: &&Kept<T>| {
            let expected = mem::replace(&mut next, kept.last + 1);
            kept.number == expected
        };
        let run = self.kept.iter().skip(place).take_while(follows);
        Some((after, run.map(move |kept| (kept.number.max(begins), &kept.item))))
    }

    /// What is kept, newest first, each with the number of its first entry.
    pub fn newest_first(&self) -> impl Iterator<Item = (u64, &T)> {
        self.kept.iter().rev().map(|kept| (kept.number, &kept.item))
    }

    /// The number of the newest entry; of the one before the first where there was none yet.
    pub fn newest(&self) -> u64 {
        self.next - 1
    }

    /// The number of the oldest entry kept, or of the next one where none is.
    pub fn oldest(&self) -> u64 {
        self.kept.front().map_or(self.next, |kept| kept.number)
    }

    /// Who has read up to here can read on without a gap, and has seen as little as possible.
    pub fn start(&self) -> u64 {
        self.kept.front().map_or(self.after, |kept| kept.after)
    }

    /// How many entries stand after `cursor`.
    pub fn count_after(&self, cursor: u64) -> usize {
        let unread = |kept: &Kept<T>| kept.last + 1 - kept.number.max(cursor + 1);
        let sum = self.kept.iter().skip(self.place_after(cursor)).map(unread).sum::<u64>();
        usize::try_from(sum).unwrap_or(usize::MAX)
    }

    fn place_after(&self, cursor: u64) -> usize {
        match self.kept.back() {
            Some(last) if last.last <= cursor => self.kept.len(),
            // Who is not behind reads the newest.
            Some(last) if last.number <= cursor + 1 => self.kept.len() - 1,
            Some(_) | None => self.kept.partition_point(|kept| kept.last <= cursor),
        }
    }

    /// Lets the oldest go until the messages are within their limits; the newest is kept in any case.
    fn make_room(&mut self) {
        let (most, most_bytes) = (self.policy.max_messages, self.policy.max_bytes);
        let is_over = |messages, bytes| messages > 1 && (messages > most || bytes > most_bytes);
        while is_over(self.messages, self.bytes)
            && let Some(oldest) = self.kept.front()
        {
            if !oldest.is_message {
                self.drop_oldest();
                continue;
            }
            let (count, gone) = (oldest.count(), oldest.gone as usize);
            let mut places = 0;
            while places < count && is_over(self.messages, self.bytes) {
                self.bytes -= oldest.item.message_len(gone + places);
                self.messages -= 1;
                places += 1;
            }
            self.forget_oldest(places);
        }
    }

    /// So many entries of the oldest item are counted no more.
    fn forget_oldest(&mut self, count: usize) {
        let Some(oldest) = self.kept.front_mut() else { return };
        if oldest.number != self.dropped + 1 {
            self.counted_from = oldest.number;
        }
        if count >= oldest.count() {
            self.dropped = oldest.last;
            self.cost -= oldest.cost;
            self.kept.pop_front();
            return;
        }
        oldest.number += count as u64;
        self.dropped = oldest.number - 1;
        oldest.after = self.dropped;
        // An item has fewer messages than there are numbers of 32 bits.
        oldest.gone = oldest.gone.saturating_add(u32::try_from(count).unwrap_or(u32::MAX));
        if let Some(cost) = oldest.item.shed(oldest.gone as usize) {
            self.cost = self.cost - oldest.cost + cost;
            (oldest.cost, oldest.gone) = (cost, 0);
        }
    }

    /// Gives the budget its due: as a rule as much goes as comes, and it is not asked.
    fn take_share(&mut self) {
        if self.cost != self.lease.bytes() && !self.lease.resize(self.cost) {
            self.find_room();
        }
    }

    /// The budget is used up: others let go what is more than their share, or the oldest go here; the newest is kept in any case.
    #[cold]
    fn find_room(&mut self) {
        self.lease.claim(self.cost);
        while !self.lease.resize(self.cost) {
            if self.kept.len() > 1 {
                self.drop_oldest();
                continue;
            }
            match self.kept.front() {
                Some(newest) if newest.count() > 1 => self.drop_messages(newest.count() - 1),
                Some(_) | None => {
                    self.lease.resize_beyond(self.cost);
                    break;
                }
            }
        }
    }

    fn drop_oldest(&mut self) -> bool {
        let Some(oldest) = self.kept.front() else { return false };
        if oldest.is_message {
            self.drop_messages(oldest.count());
        } else {
            self.others -= 1;
            self.forget_oldest(1);
        }
        true
    }

    fn drop_messages(&mut self, count: usize) {
        let Some(oldest) = self.kept.front() else { return };
        let places = oldest.gone as usize..oldest.gone as usize + count;
        self.bytes -= places.map(|place| oldest.item.message_len(place)).sum::<u64>();
        self.messages -= count;
        self.forget_oldest(count);
    }
}

#[cfg(test)]
mod tests;
