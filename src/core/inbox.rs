//! An endpoint's bounded, numbered log of what arrived.
//!
//! Readers hold a cursor, the number of the last entry they have seen, and the ring holds nothing for them. What has
//! fallen out of the window is a gap that every late reader is told of, exactly.
//!
//! Numbers may jump where a run of the daemon follows another one: what lies between was never given, or is not known any
//! more. Each entry says after which number nothing is missing before it, and who has seen less is told of a gap.

use std::collections::VecDeque;

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

/// What stands after a cursor.
#[derive(Debug, PartialEq, Eq)]
pub enum Read<'a, T> {
    /// The next entry and its number.
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
    number: u64,
    /// Who has read up to here misses nothing before this entry.
    after: u64,
    item: T,
    /// Its application bytes, for a message.
    message: Option<u64>,
    /// What it takes of the process's budget.
    cost: u64,
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
    bytes: u64,
    cost: u64,
    lease: Lease,
}

impl<T> Ring<T> {
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

    /// Adds an entry and gives its number; `message` is the number of its application bytes, if it is a message, and `cost`
    /// what it takes of the budget. The oldest entries go until it fits.
    pub fn push(&mut self, item: T, message: Option<usize>, cost: u64) -> u64 {
        self.push_made(message, cost, |_, _| item)
    }

    /// The same for an entry that is made when its number is known; if others went for it, the last of them is at hand, to be
    /// made into it.
    pub fn push_made(&mut self, message: Option<usize>, cost: u64, make: impl FnOnce(u64, Option<T>) -> T) -> u64 {
        let bytes = message.map(|bytes| bytes as u64);
        let mut gone = self.make_room(bytes);
        // Where as much goes as comes, the budget is not asked.
        if self.cost + cost != self.lease.bytes() && !self.lease.resize(self.cost + cost) {
            gone = self.find_room(cost).or(gone);
        }
        self.cost += cost;
        self.messages += usize::from(bytes.is_some());
        self.bytes += bytes.unwrap_or_default();
        let (number, after) = (self.next, self.after);
        if self.kept.len() == self.kept.capacity() {
            // By doubling, but not beyond what may ever be held.
            let most = self.max_others.saturating_add(self.policy.max_messages).saturating_add(1);
            let more = self.kept.len().max(4).min(most.saturating_sub(self.kept.len())).max(1);
            self.kept.reserve_exact(more);
        }
        self.kept.push_back(Kept { number, after, item: make(number, gone), message: bytes, cost });
        (self.next, self.after) = (number + 1, number);
        number
    }

    /// What the entries take of the budget.
    pub fn cost(&self) -> u64 {
        self.cost
    }

    /// Lets the oldest go until the others take at most this much of the budget.
    pub fn shrink(&mut self, cost: u64) {
        while self.cost > cost && self.drop_oldest().is_some() {}
        // Fewer bytes are always to be had.
        let _ = self.lease.resize(self.cost.min(self.lease.bytes()));
    }

    /// What stands after `cursor`.
    pub fn read(&self, cursor: u64) -> Read<'_, T> {
        let next = self.kept.get(self.place_after(cursor));
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

    /// Entries after `cursor` that follow each other without a jump, oldest first, with the number that they come after.
    pub fn run_after(&self, cursor: u64) -> Option<(u64, impl Iterator<Item = (u64, &T)>)> {
        let place = self.place_after(cursor);
        let first = self.kept.get(place)?;
        let run = self.kept.iter().skip(place).zip(first.number..).take_while(|(kept, number)| kept.number == *number);
        Some((first.after, run.map(|(kept, number)| (number, &kept.item))))
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
        self.kept.len() - self.place_after(cursor)
    }

    fn place_after(&self, cursor: u64) -> usize {
        let Some(first) = self.kept.front().filter(|first| first.number <= cursor) else { return 0 };
        // Where there was no jump, the place follows from the number; where it is behind the last, there is none.
        let guess = usize::try_from(cursor - first.number).map_or(usize::MAX, |before| before.saturating_add(1));
        let is_next = |place: &usize| self.kept.get(*place).is_some_and(|kept| kept.number == cursor + 1);
        match self.kept.back() {
            Some(last) if last.number <= cursor => self.kept.len(),
            Some(_) | None => {
                Some(guess).filter(is_next).unwrap_or_else(|| self.kept.partition_point(|kept| kept.number <= cursor))
            }
        }
    }

    /// Answers with the last that went for it.
    fn make_room(&mut self, message: Option<u64>) -> Option<T> {
        let others = |ring: &Self| ring.kept.len() - ring.messages;
        let mut gone = None;
        match message {
            Some(bytes) => {
                while self.messages > 0
                    && (self.messages >= self.policy.max_messages
                        || self.bytes.saturating_add(bytes) > self.policy.max_bytes)
                {
                    gone = self.drop_oldest();
                }
            }
            None => {
                while others(self) > 0 && others(self) >= self.max_others {
                    gone = self.drop_oldest();
                }
            }
        }
        gone
    }

    /// The budget is used up: others let go what is more than their share, or the oldest go here; the newest is kept in any case.
    #[cold]
    fn find_room(&mut self, cost: u64) -> Option<T> {
        let mut gone = None;
        self.lease.claim(self.cost + cost);
        while !self.lease.resize(self.cost + cost) {
            let Some(oldest) = self.drop_oldest() else {
                self.lease.resize_beyond(cost);
                break;
            };
            gone = Some(oldest);
        }
        gone
    }

    fn drop_oldest(&mut self) -> Option<T> {
        let gone = self.kept.pop_front()?;
        if gone.number != self.dropped + 1 {
            self.counted_from = gone.number;
        }
        self.dropped = gone.number;
        self.messages -= usize::from(gone.message.is_some());
        self.bytes -= gone.message.unwrap_or_default();
        self.cost -= gone.cost;
        Some(gone.item)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::budget::{Budget, Rank};

    fn ring(max_messages: usize, max_bytes: u64) -> Ring<u64> {
        with(max_messages, max_bytes, &Budget::new(u64::MAX))
    }

    fn with(max_messages: usize, max_bytes: u64, budget: &std::sync::Arc<Budget>) -> Ring<u64> {
        let policy = Policy { max_messages, max_bytes, ..Policy::default() };
        Ring::new(policy, 4, 1, budget.lease(Rank::History))
    }

    #[test]
    fn the_newest_message_is_kept_whatever_its_size() {
        let mut ring = ring(10, 100);
        ring.push(1, Some(50), 50);
        ring.push(2, Some(1000), 1000);
        assert_eq!(ring.read(0), Read::Gap { from: 1, to: 1, missed: Some(1) });
        assert_eq!(ring.read(1), Read::Entry(2, &2));
    }

    #[test]
    fn a_used_up_budget_costs_the_inbox_its_oldest_first() {
        let budget = Budget::new(16);
        let mut ring = with(10, 100, &budget);
        for item in 1..=5 {
            ring.push(item, Some(4), 6);
        }
        assert_eq!((ring.oldest(), budget.used()), (4, 12));
        ring.shrink(11);
        assert_eq!((ring.oldest(), budget.used()), (5, 6));
        ring.push(6, Some(100), 100);
        assert_eq!((ring.oldest(), budget.used()), (6, 100), "the newest is kept");
        drop(ring);
        assert_eq!(budget.used(), 0);
    }

    #[test]
    fn a_jump_is_a_gap_for_those_who_may_have_missed_something_in_it() {
        let mut ring = ring(10, 100);
        ring.push(1, Some(1), 1);
        // A clean end: nothing came after 1.
        ring.jump(100, 1);
        ring.push(100, Some(1), 1);
        assert_eq!(ring.read(1), Read::Entry(100, &100));
        assert_eq!(ring.read(99), Read::Entry(100, &100));
        // Nobody here has given this number.
        assert_eq!(ring.read(50), Read::Gap { from: 51, to: 99, missed: None });
        // A crash: nobody knows what came after 100.
        ring.jump(200, 199);
        assert_eq!(ring.read(100), Read::Gap { from: 101, to: 199, missed: None });
        assert_eq!(ring.read(150), Read::Gap { from: 151, to: 199, missed: None });
        assert_eq!(ring.read(199), Read::CaughtUp);
        ring.push(200, Some(1), 1);
        assert_eq!(ring.read(150), Read::Gap { from: 151, to: 199, missed: None });
        assert_eq!(ring.read(199), Read::Entry(200, &200));
        let numbers =
            |cursor| ring.run_after(cursor).map(|(after, run)| (after, run.map(|(n, _)| n).collect::<Vec<_>>()));
        assert_eq!(numbers(0), Some((0, vec![1])));
        assert_eq!(numbers(1), Some((1, vec![100])));
        assert_eq!(numbers(100), Some((199, vec![200])));
        assert_eq!(numbers(200), None);
    }

    #[test]
    fn a_gap_that_reaches_over_a_jump_is_not_counted() {
        let mut ring = ring(1, 100);
        ring.jump(10, 9);
        for number in [10, 11, 12] {
            ring.push(number, Some(1), 1);
        }
        assert_eq!(ring.read(3), Read::Gap { from: 4, to: 11, missed: None });
        assert_eq!(ring.read(9), Read::Gap { from: 10, to: 11, missed: Some(2) });
        ring.jump(20, 12);
        ring.push(20, Some(1), 1);
        assert_eq!(ring.read(11), Read::Gap { from: 12, to: 12, missed: Some(1) });
        assert_eq!(ring.read(12), Read::Entry(20, &20));
    }

    #[test]
    fn numbers_are_never_given_twice() {
        let mut ring = ring(10, 100);
        ring.jump(50, 49);
        ring.push(50, Some(1), 1);
        ring.jump(7, 6);
        assert_eq!(ring.push(51, Some(1), 1), 51);
    }

    proptest! {
        #[test]
        fn what_a_reader_sees_and_its_gaps_are_all_there_was(
            pushes in prop::collection::vec(prop::option::of(0_usize..60), 1..200),
            reads in prop::collection::vec(any::<bool>(), 1..200),
        ) {
            let mut ring = ring(8, 200);
            let (mut cursor, mut seen, mut missed) = (0, 0, 0);
            let mut take = |ring: &Ring<u64>, cursor: &mut u64| match ring.read(*cursor) {
                Read::Entry(number, item) => {
                    assert_eq!(number, *item);
                    assert_eq!(number, *cursor + 1);
                    *cursor = number;
                    seen += 1;
                    true
                }
                Read::Gap { from, to, missed: told } => {
                    assert_eq!((from, told), (*cursor + 1, Some(to - *cursor)));
                    missed += to - from + 1;
                    *cursor = to;
                    true
                }
                Read::CaughtUp => false,
            };
            for (index, push) in pushes.iter().enumerate() {
                let number = ring.push(index as u64 + 1, *push, 1);
                prop_assert_eq!(number, index as u64 + 1);
                prop_assert!(ring.messages <= 8 && (ring.bytes <= 200 || ring.messages == 1));
                if reads[index % reads.len()] {
                    take(&ring, &mut cursor);
                }
            }
            while take(&ring, &mut cursor) {}
            prop_assert_eq!(seen + missed, pushes.len() as u64);
        }
    }
}
