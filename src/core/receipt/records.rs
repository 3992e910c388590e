//! What is known by the names of messages, in the order of the names.
//!
//! Names grow with time, and what is asked for is mostly what came last: so this is a queue, searched from its end in ever longer
//! strides. A tree of the same keeps its nodes half empty, and costs a message several times as much. What is taken from the
//! middle leaves a hole, and holes are swept up before they are the greater part.

use std::collections::VecDeque;

use crate::core::message::MessageId;

/// Holes that are not worth a sweep.
const HOLES: usize = 1024;

#[derive(Debug)]
pub(super) struct Records<T> {
    /// The names stand apart, close together: a search looks at little memory.
    names: VecDeque<MessageId>,
    held: VecDeque<Option<T>>,
    len: usize,
}

impl<T> Records<T> {
    pub(super) fn new() -> Self {
        Self { names: VecDeque::new(), held: VecDeque::new(), len: 0 }
    }

    /// How many there are.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Enters one, in place of what had the name and is given back.
    pub(super) fn insert(&mut self, id: MessageId, record: T) -> Option<T> {
        let place = self.place(id);
        let before = if self.names.get(place) == Some(&id) {
            self.held[place].replace(record)
        } else {
            self.names.insert(place, id);
            self.held.insert(place, Some(record));
            None
        };
        self.len += usize::from(before.is_none());
        before
    }

    pub(super) fn get(&self, id: MessageId) -> Option<&T> {
        self.held[self.find(id)?].as_ref()
    }

    pub(super) fn get_mut(&mut self, id: MessageId) -> Option<&mut T> {
        let place = self.find(id)?;
        self.held[place].as_mut()
    }

    pub(super) fn remove(&mut self, id: MessageId) -> Option<T> {
        let place = self.find(id)?;
        let record = self.held[place].take()?;
        self.len -= 1;
        while let Some(None) = self.held.front() {
            self.held.pop_front();
            self.names.pop_front();
        }
        while let Some(None) = self.held.back() {
            self.held.pop_back();
            self.names.pop_back();
        }
        if self.held.len() > 2 * self.len + HOLES {
            self.sweep();
        }
        Some(record)
    }

    pub(super) fn values(&self) -> impl Iterator<Item = &T> {
        self.held.iter().filter_map(Option::as_ref)
    }

    fn sweep(&mut self) {
        let mut is_there = self.held.iter().map(Option::is_some);
        self.names.retain(|_| is_there.next().unwrap_or_default());
        self.held.retain(Option::is_some);
    }

    /// Where the name is.
    fn find(&self, id: MessageId) -> Option<usize> {
        let place = self.place(id);
        (self.names.get(place) == Some(&id)).then_some(place)
    }

    /// Where the name is, or would be.
    fn place(&self, id: MessageId) -> usize {
        let len = self.names.len();
        // What has rested longest is asked for at the beginning.
        if self.names.front().is_none_or(|name| *name >= id) {
            return 0;
        }
        let mut reach = 1;
        while reach < len && self.names[len - reach] > id {
            reach *= 2;
        }
        let (mut low, mut high) = (len - reach.min(len), len - reach / 2);
        while low < high {
            let middle = usize::midpoint(low, high);
            if self.names[middle] < id {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        low
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn records_are_those_of_a_map(steps in prop::collection::vec((0_u128..64, 0_u8..3), 1..300)) {
            let (mut records, mut model) = (Records::new(), BTreeMap::new());
            for (step, (id, what)) in steps.into_iter().enumerate() {
                let name = MessageId(id);
                match what {
                    0 => prop_assert_eq!(records.insert(name, step), model.insert(name, step)),
                    1 => prop_assert_eq!(records.remove(name), model.remove(&name)),
                    _ => prop_assert_eq!(records.get(name), model.get(&name)),
                }
                prop_assert_eq!(records.get_mut(name).copied(), model.get(&name).copied());
                prop_assert_eq!(records.len(), model.len());
                prop_assert!(records.values().eq(model.values()));
            }
        }
    }

    #[test]
    fn one_that_stays_for_ever_keeps_no_room_for_those_that_went() {
        let mut records = Records::new();
        (0..100_000).for_each(|id| {
            records.insert(MessageId(id), id);
            if id > 0 {
                records.insert(MessageId(id + 1), id);
                records.remove(MessageId(id));
            }
        });
        assert!(records.names.len() <= 2 * records.len() + HOLES + 1, "{}", records.names.len());
        assert_eq!(records.get(MessageId(0)), Some(&0));
    }
}
