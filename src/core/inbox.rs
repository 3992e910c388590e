//! An endpoint's bounded, numbered log of what arrived.
//!
//! Readers hold a cursor, the number of the last entry they have seen, and the ring holds nothing for them. What has
//! fallen out of the window is a gap that every late reader is told of, exactly.

use std::{collections::VecDeque, sync::Arc};

use super::budget::{Budget, Share};

/// How much of the log is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// Messages kept at most.
    pub max_messages: usize,
    /// Bytes of application data kept at most; the newest message is kept whatever its size.
    pub max_bytes: u64,
    /// The largest message that may arrive; a larger one fails the connection with 1009.
    pub max_message: usize,
}

impl Default for Policy {
    fn default() -> Self {
        Self { max_messages: 1024, max_bytes: 1 << 20, max_message: 1 << 20 }
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
    },
    /// Nothing yet.
    CaughtUp,
}

#[derive(Debug)]
struct Kept<T> {
    item: T,
    /// Application bytes, for a message.
    message: Option<u64>,
    _share: Share,
}

/// The log.
#[derive(Debug)]
pub struct Ring<T> {
    policy: Policy,
    /// Entries that are no messages, kept at most.
    max_others: usize,
    kept: VecDeque<Kept<T>>,
    /// The number of the oldest entry kept, or of the next one where none is.
    oldest: u64,
    messages: usize,
    bytes: u64,
}

impl<T> Ring<T> {
    /// An empty log whose first entry will have the number `first`, at least 1.
    pub fn new(policy: Policy, max_others: usize, first: u64) -> Self {
        Self { policy, max_others, kept: VecDeque::new(), oldest: first.max(1), messages: 0, bytes: 0 }
    }

    /// Follows a new policy from the next entry on.
    pub fn set_policy(&mut self, policy: Policy, max_others: usize) {
        (self.policy, self.max_others) = (policy, max_others);
    }

    /// Adds an entry and gives its number; `message` is the number of its application bytes, if it is a message. The
    /// oldest entries go until it fits; a message with no room in `budget` takes the place of older ones.
    pub fn push(&mut self, item: T, message: Option<usize>, budget: &Arc<Budget>) -> u64 {
        let bytes = message.map(|bytes| bytes as u64);
        self.make_room(bytes);
        let mut share = message.map(|bytes| budget.reserve(bytes));
        while matches!(share, Some(None)) && self.messages > 0 {
            self.drop_oldest();
            share = message.map(|bytes| budget.reserve(bytes));
        }
        self.messages += usize::from(bytes.is_some());
        self.bytes += bytes.unwrap_or_default();
        self.kept.push_back(Kept { item, message: bytes, _share: share.flatten().unwrap_or_default() });
        self.newest()
    }

    /// What stands after `cursor`.
    pub fn read(&self, cursor: u64) -> Read<'_, T> {
        let next = cursor.saturating_add(1);
        if next < self.oldest {
            return Read::Gap { from: next, to: self.oldest - 1 };
        }
        let entry = usize::try_from(next - self.oldest).ok().and_then(|index| self.kept.get(index));
        entry.map_or(Read::CaughtUp, |kept| Read::Entry(next, &kept.item))
    }

    /// The number of the newest entry; of the one before the first where there was none yet.
    pub fn newest(&self) -> u64 {
        self.oldest + self.kept.len() as u64 - 1
    }

    /// The number of the oldest entry kept, or of the next one where none is.
    pub fn oldest(&self) -> u64 {
        self.oldest
    }

    fn make_room(&mut self, message: Option<u64>) {
        let others = |ring: &Self| ring.kept.len() - ring.messages;
        match message {
            Some(bytes) => {
                while self.messages > 0
                    && (self.messages >= self.policy.max_messages
                        || self.bytes.saturating_add(bytes) > self.policy.max_bytes)
                {
                    self.drop_oldest();
                }
            }
            None => {
                while others(self) > 0 && others(self) >= self.max_others {
                    self.drop_oldest();
                }
            }
        }
    }

    fn drop_oldest(&mut self) {
        if let Some(gone) = self.kept.pop_front() {
            self.oldest += 1;
            self.messages -= usize::from(gone.message.is_some());
            self.bytes -= gone.message.unwrap_or_default();
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ring(max_messages: usize, max_bytes: u64) -> (Ring<u64>, Arc<Budget>) {
        let policy = Policy { max_messages, max_bytes, ..Policy::default() };
        (Ring::new(policy, 4, 1), Budget::new(u64::MAX))
    }

    #[test]
    fn the_newest_message_is_kept_whatever_its_size() {
        let (mut ring, budget) = ring(10, 100);
        ring.push(1, Some(50), &budget);
        ring.push(2, Some(1000), &budget);
        assert_eq!(ring.read(0), Read::Gap { from: 1, to: 1 });
        assert_eq!(ring.read(1), Read::Entry(2, &2));
    }

    #[test]
    fn a_used_up_budget_costs_the_inbox_its_oldest_first() {
        let (mut ring, _) = ring(10, 100);
        let budget = Budget::new(10);
        for item in 1..=5 {
            ring.push(item, Some(4), &budget);
        }
        assert_eq!(ring.oldest(), 4);
        assert!(budget.used() <= 10);
    }

    proptest! {
        #[test]
        fn what_a_reader_sees_and_its_gaps_are_all_there_was(
            pushes in prop::collection::vec(prop::option::of(0_usize..60), 1..200),
            reads in prop::collection::vec(any::<bool>(), 1..200),
        ) {
            let (mut ring, budget) = ring(8, 200);
            let (mut cursor, mut seen, mut missed) = (0, 0, 0);
            let mut take = |ring: &Ring<u64>, cursor: &mut u64| match ring.read(*cursor) {
                Read::Entry(number, item) => {
                    assert_eq!(number, *item);
                    assert_eq!(number, *cursor + 1);
                    *cursor = number;
                    seen += 1;
                    true
                }
                Read::Gap { from, to } => {
                    assert_eq!(from, *cursor + 1);
                    missed += to - from + 1;
                    *cursor = to;
                    true
                }
                Read::CaughtUp => false,
            };
            for (index, push) in pushes.iter().enumerate() {
                let number = ring.push(index as u64 + 1, *push, &budget);
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
