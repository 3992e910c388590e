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
    places: VecDeque<(MessageId, Option<T>)>,
    len: usize,
}

impl<T> Records<T> {
    pub(super) fn new() -> Self {
        Self { places: VecDeque::new(), len: 0 }
    }

    /// How many there are.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Enters one, in place of what had the name and is given back.
    pub(super) fn insert(&mut self, id: MessageId, record: T) -> Option<T> {
        let place = self.place(id);
        let before = match self.places.get_mut(place) {
            Some((name, old)) if *name == id => old.replace(record),
            Some(_) | None => {
                self.places.insert(place, (id, Some(record)));
                None
            }
        };
        self.len += usize::from(before.is_none());
        before
    }

    pub(super) fn get(&self, id: MessageId) -> Option<&T> {
        let (name, record) = self.places.get(self.place(id))?;
        record.as_ref().filter(|_| *name == id)
    }

    pub(super) fn get_mut(&mut self, id: MessageId) -> Option<&mut T> {
        let place = self.place(id);
        let (name, record) = self.places.get_mut(place)?;
        record.as_mut().filter(|_| *name == id)
    }

    pub(super) fn remove(&mut self, id: MessageId) -> Option<T> {
        let place = self.place(id);
        let (_, record) = self.places.get_mut(place).filter(|(name, _)| *name == id)?;
        let record = record.take()?;
        self.len -= 1;
        while self.places.front().is_some_and(|(_, record)| record.is_none()) {
            self.places.pop_front();
        }
        while self.places.back().is_some_and(|(_, record)| record.is_none()) {
            self.places.pop_back();
        }
        if self.places.len() > 2 * self.len + HOLES {
            self.places.retain(|(_, record)| record.is_some());
        }
        Some(record)
    }

    pub(super) fn values(&self) -> impl Iterator<Item = &T> {
        self.places.iter().filter_map(|(_, record)| record.as_ref())
    }

    /// Where the name is, or would be.
    fn place(&self, id: MessageId) -> usize {
        let len = self.places.len();
        // What has rested longest is asked for at the beginning.
        if self.places.front().is_none_or(|(name, _)| *name >= id) {
            return 0;
        }
        let mut reach = 1;
        while reach < len && self.places[len - reach].0 > id {
            reach *= 2;
        }
        let (mut low, mut high) = (len - reach.min(len), len - reach / 2);
        while low < high {
            let middle = usize::midpoint(low, high);
            if self.places[middle].0 < id {
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
        assert!(records.places.len() <= 2 * records.len() + HOLES + 1, "{}", records.places.len());
        assert_eq!(records.get(MessageId(0)), Some(&0));
    }
}
