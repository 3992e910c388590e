//! What is known by names that grow with time, such as those of messages or their places in a queue, in the order of the names.
//!
//! What is asked for is mostly what came last or first: so this is a queue, searched from its end in ever longer strides. A tree
//! of the same keeps its nodes half empty, and costs a message several times as much. What is taken from the middle leaves a
//! hole, and holes are swept up before they are the greater part.

use std::{cell::Cell, collections::VecDeque};

/// Holes that are not worth a sweep.
const HOLES: usize = 32;
/// Room that is kept when nothing is left.
const SPARE: usize = 4;

/// Records by name, in order. The first and the last are never holes.
#[derive(Debug)]
pub(super) struct SortedDeque<K, T> {
    /// The names stand apart, close together: a search looks at little memory.
    names: VecDeque<K>,
    held: VecDeque<Option<T>>,
    len: usize,
    /// Where the last search ended. The next one is mostly for its neighbour.
    near: Cell<usize>,
}

impl<K, T> Default for SortedDeque<K, T> {
    fn default() -> Self {
        Self { names: VecDeque::new(), held: VecDeque::new(), len: 0, near: Cell::default() }
    }
}

impl<K: Copy + Ord, T> SortedDeque<K, T> {
    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Enters one, in place of what had the name and is given back.
    pub(super) fn insert(&mut self, name: K, record: T) -> Option<T> {
        if self.names.back().is_none_or(|last| *last < name) {
            self.names.push_back(name);
            self.held.push_back(Some(record));
            self.len += 1;
            return None;
        }
        let place = self.place(name);
        let before = if self.names.get(place) == Some(&name) {
            self.held[place].replace(record)
        } else {
            self.names.insert(place, name);
            self.held.insert(place, Some(record));
            None
        };
        self.len += usize::from(before.is_none());
        before
    }

    pub(super) fn get(&self, name: K) -> Option<&T> {
        self.held[self.find(name)?].as_ref()
    }

    pub(super) fn get_mut(&mut self, name: K) -> Option<&mut T> {
        let place = self.find(name)?;
        self.held[place].as_mut()
    }

    /// The one of this name, or of the last name before it.
    pub(super) fn floor(&self, name: K) -> Option<(K, &T)> {
        let place = self.find_floor(name)?;
        Some((self.names[place], self.held[place].as_ref()?))
    }

    /// The first name behind this one.
    pub(super) fn next_name(&self, name: K) -> Option<K> {
        let mut place = self.find_floor(name).map_or(0, |place| place + 1);
        while let Some(None) = self.held.get(place) {
            place += 1;
        }
        self.names.get(place).copied()
    }

    /// Gives one another name, which is none behind the next one's.
    pub(super) fn rename(&mut self, name: K, new: K) {
        if let Some(place) = self.find(name) {
            self.names[place] = new;
        }
    }

    pub(super) fn first(&self) -> Option<(K, &T)> {
        Some((*self.names.front()?, self.held.front()?.as_ref()?))
    }

    pub(super) fn last(&self) -> Option<(K, &T)> {
        Some((*self.names.back()?, self.held.back()?.as_ref()?))
    }

    pub(super) fn remove(&mut self, name: K) -> Option<T> {
        let place = self.find(name)?;
        let record = self.held[place].take()?;
        self.len -= 1;
        while let Some(None) = self.held.back() {
            self.held.pop_back();
            self.names.pop_back();
        }
        self.tidy();
        Some(record)
    }

    #[inline]
    pub(super) fn pop_first(&mut self) -> Option<(K, T)> {
        let first = (self.names.pop_front()?, self.held.pop_front()??);
        self.len -= 1;
        if !self.is_tidy() {
            self.tidy();
        }
        Some(first)
    }

    /// Whether there is no hole at the head, and there are few behind it.
    #[inline]
    fn is_tidy(&self) -> bool {
        matches!(self.held.front(), Some(Some(_))) && self.held.len() <= 2 * self.len + HOLES
    }

    #[inline(never)]
    fn tidy(&mut self) {
        while let Some(None) = self.held.front() {
            self.held.pop_front();
            self.names.pop_front();
        }
        if self.len == 0 && self.held.capacity() > SPARE {
            *self = Self::default();
        } else if self.held.len() > 2 * self.len + HOLES {
            self.sweep();
        }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (K, &T)> {
        self.names.iter().zip(&self.held).filter_map(|(name, record)| Some((*name, record.as_ref()?)))
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = (K, &mut T)> {
        self.names.iter().zip(&mut self.held).filter_map(|(name, record)| Some((*name, record.as_mut()?)))
    }

    fn sweep(&mut self) {
        let mut is_there = self.held.iter().map(Option::is_some);
        self.names.retain(|_| is_there.next().unwrap_or_default());
        self.held.retain(Option::is_some);
    }

    /// Where the name is.
    fn find(&self, name: K) -> Option<usize> {
        let is_there = |place: &usize| self.names.get(*place) == Some(&name);
        let near = self.near.get();
        let place = [near + 1, near].into_iter().find(is_there).unwrap_or_else(|| self.place(name));
        self.near.set(place);
        Some(place).filter(is_there)
    }

    /// Where the name is, or the last one before it.
    fn find_floor(&self, name: K) -> Option<usize> {
        self.find(name).or_else(|| self.place(name).checked_sub(1))
    }

    /// Where the name is, or would be.
    fn place(&self, wanted: K) -> usize {
        let len = self.names.len();
        // What has rested longest is asked for at the beginning.
        if self.names.front().is_none_or(|name| *name >= wanted) {
            return 0;
        }
        let mut reach = 1;
        while reach < len && self.names[len - reach] > wanted {
            reach *= 2;
        }
        let (mut low, mut high) = (len - reach.min(len), len - reach / 2);
        while low < high {
            let middle = usize::midpoint(low, high);
            if self.names[middle] < wanted {
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
        fn records_are_those_of_a_map(steps in prop::collection::vec((0_u64..96, 0_u8..6), 1..400)) {
            let (mut records, mut model) = (SortedDeque::default(), BTreeMap::new());
            for (step, (name, what)) in steps.into_iter().enumerate() {
                match what {
                    0 | 1 => prop_assert_eq!(records.insert(name, step), model.insert(name, step)),
                    2 => prop_assert_eq!(records.remove(name), model.remove(&name)),
                    3 => prop_assert_eq!(records.pop_first(), model.pop_first()),
                    4 => for (name, record) in records.iter_mut() {
                        *record += 1;
                        model.entry(name).and_modify(|record| *record += 1);
                    },
                    _ => prop_assert_eq!(records.get(name), model.get(&name)),
                }
                prop_assert_eq!(records.get_mut(name).copied(), model.get(&name).copied());
                prop_assert_eq!(records.len(), model.len());
                prop_assert_eq!(records.first(), model.first_key_value().map(|(name, record)| (*name, record)));
                prop_assert_eq!(records.last(), model.last_key_value().map(|(name, record)| (*name, record)));
                prop_assert!(records.iter().eq(model.iter().map(|(name, record)| (*name, record))));
            }
        }
    }

    #[test]
    fn nothing_left_keeps_no_room() {
        let mut records = SortedDeque::default();
        for id in 0..100 {
            records.insert(id, id);
        }
        for id in (0..50).chain((50..100).rev()) {
            records.remove(id);
        }
        assert!(records.held.capacity() <= SPARE && records.names.capacity() <= SPARE);
    }

    #[test]
    fn one_that_stays_for_ever_keeps_no_room_for_those_that_went() {
        let mut records = SortedDeque::default();
        (0..100_000).for_each(|id| {
            records.insert(id, id);
            if id > 0 {
                records.insert(id + 1, id);
                records.remove(id);
            }
        });
        assert!(records.names.len() <= 2 * records.len() + HOLES + 1, "{}", records.names.len());
        assert_eq!(records.get(0), Some(&0));
    }
}
