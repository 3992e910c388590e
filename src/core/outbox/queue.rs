//! The queued part of an outbox: by place, with an index of keys and one of deadlines.
//!
//! A message keeps its place when it leaves for the stream, so that one that comes back stands before all that came later.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Instant,
};

use super::Ended;
use crate::{
    message::{Message, MessageId},
    receipt::{EndReason, State},
    sorted_deque::SortedDeque,
};

/// A message and when it was accepted.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) message: Box<Message>,
    pub(super) accepted_at: Instant,
    pub(super) disk: Disk,
    /// It was given to the network before, and may have arrived.
    pub(super) sent: bool,
    /// Links lost in a row with a close that blames a message, while this one may have been it.
    pub(super) strikes: u8,
    /// The peer acknowledged it before the stream said that it had left.
    pub(super) acknowledged: bool,
}

/// How a message stands with the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Disk {
    /// It has nothing to do with it.
    Free,
    /// On its way there; not accepted yet.
    Storing,
    /// There.
    Stored,
    /// The note that its writing may begin is on its way there.
    Marking,
    /// The note is there.
    Marked,
}

impl Held {
    pub(super) fn new(message: Box<Message>, accepted_at: Instant, disk: Disk) -> Self {
        Self { message, accepted_at, disk, sent: false, strikes: 0, acknowledged: false }
    }

    /// Another message, of which the same is true.
    pub(super) fn with(&self, message: Box<Message>) -> Self {
        Self { message, ..*self }
    }

    /// Each message for itself.
    pub(super) fn singles(self) -> impl Iterator<Item = Self> {
        let Self { message, accepted_at, disk, sent, strikes, acknowledged } = self;
        message.singles().map(move |message| Self { message, accepted_at, disk, sent, strikes, acknowledged })
    }

    /// Whether it is bound to one connection, or for the disk. Both are so from its first day to its last.
    fn is_apart(&self) -> bool {
        self.disk != Disk::Free || self.message.generation().is_some()
    }

    /// Whether it may have anything that the indexes are of. Hardly any message has.
    #[inline]
    fn is_listed(&self) -> bool {
        self.disk != Disk::Free || self.message.expires_at.is_some() || self.message.extras.is_some()
    }

    #[inline]
    pub(super) fn is_expired(&self, now: Instant) -> bool {
        self.message.expires_at.is_some_and(|at| at <= now)
    }
}

/// A message that was written and is not known to have been read by the peer, or several.
#[derive(Debug)]
pub(super) struct Written {
    /// Its place in the stream; of several, that of the last.
    pub(super) pulled: u64,
    pub(super) id: MessageId,
    pub(super) count: u32,
    pub(super) wanted: bool,
    /// Its place in the queue, and itself, where it must be sent again if it is lost.
    pub(super) kept: Option<(u64, Held)>,
}

impl Written {
    /// Whether somebody must know.
    pub(super) fn wants_ping(&self) -> bool {
        self.wanted || self.kept.is_some()
    }

    /// Whether this is its name, or one of its names.
    pub(super) fn is_named(&self, id: MessageId) -> bool {
        id.0.checked_sub(self.id.0).is_some_and(|place| place < u128::from(self.count))
    }

    pub(super) fn ended(&self, state: State, end_reason: Option<EndReason>) -> Ended {
        Ended { id: self.id, count: self.count, state, end_reason }
    }
}

/// Messages in order of their places. A run stands at the first of its own.
#[derive(Debug, Default)]
pub(super) struct Queue {
    held: SortedDeque<u64, Held>,
    /// The newest message of each key; empty while messages are not conflated.
    newest: BTreeMap<Box<str>, u64>,
    deadlines: BTreeSet<(Instant, u64)>,
    conflate: bool,
    /// Those that something may have to be done about whenever the link changes: bound to one connection, or for the disk.
    apart: u32,
    /// Below this place a key may have several messages: they came before messages were conflated.
    crowded_below: u64,
}

impl Queue {
    /// Whether [`Queue::newest_of`] finds anything.
    pub(super) fn set_conflate(&mut self, conflate: bool) {
        if self.conflate == conflate {
            return;
        }
        self.conflate = conflate;
        self.newest.clear();
        if conflate {
            let keyed = self.held.iter().filter_map(|(place, held)| Some((held.message.key()?.into(), place)));
            self.newest.extend(keyed);
            self.crowded_below = self.held.last().map_or(0, |(place, _)| place + 1);
        }
    }

    /// Puts a message at its place.
    #[inline]
    pub(super) fn insert(&mut self, place: u64, held: Held) {
        if held.is_listed() {
            self.list(place, &held);
        }
        self.held.insert(place, held);
    }

    /// Enters it in the indexes.
    #[inline(never)]
    fn list(&mut self, place: u64, held: &Held) {
        if let Some(at) = held.message.expires_at {
            self.deadlines.insert((at, place));
        }
        if let Some(key) = held.message.key().filter(|_| self.conflate) {
            self.newest.insert(key.into(), place);
        }
        self.apart += u32::from(held.is_apart());
    }

    /// The message at a place.
    pub(super) fn get(&self, place: u64) -> Option<&Held> {
        self.held.get(place)
    }

    /// The message at a place, to be changed in what no index knows.
    pub(super) fn get_mut(&mut self, place: u64) -> Option<&mut Held> {
        self.held.get_mut(place)
    }

    /// Those at the head, in order.
    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = (u64, &mut Held)> {
        self.held.iter_mut()
    }

    /// The message at the head.
    pub(super) fn first(&self) -> Option<&Held> {
        self.held.first().map(|(_, held)| held)
    }

    /// Takes the message at the head.
    #[inline]
    pub(super) fn pop(&mut self) -> Option<(u64, Held)> {
        let (place, held) = self.held.pop_first()?;
        if held.is_listed() {
            self.unlist(place, &held);
        }
        Some((place, held))
    }

    /// Takes the first message.
    pub(super) fn pop_one(&mut self) -> Option<Held> {
        self.cut_first(1);
        self.pop().map(|(_, held)| held)
    }

    /// Cuts the first of a run off, so many messages, where there are more.
    pub(super) fn cut_first(&mut self, count: u32) {
        if self.first().is_none_or(|first| first.message.count() <= count) {
            return;
        }
        let Some((place, mut held)) = self.pop() else { return };
        let first = held.message.split_to(count).map(|first| held.with(Box::new(first)));
        self.insert(place + u64::from(count), held);
        if let Some(first) = first {
            self.insert(place, first);
        }
    }

    /// Makes each message stand for itself.
    pub(super) fn split(&mut self) {
        if self.held.iter().any(|(_, held)| held.message.count() > 1) {
            let mut singles = Self { conflate: self.conflate, crowded_below: self.crowded_below, ..Self::default() };
            while let Some((place, held)) = self.pop() {
                (place..).zip(held.singles()).for_each(|(place, held)| singles.insert(place, held));
            }
            *self = singles;
        }
    }

    /// Takes the message at a place.
    pub(super) fn remove(&mut self, place: u64) -> Option<Held> {
        let held = self.held.remove(place)?;
        if held.is_listed() {
            self.unlist(place, &held);
        }
        Some(held)
    }

    /// Whether something may have to be done about any when the link changes.
    pub(super) fn has_apart(&self) -> bool {
        self.apart > 0
    }

    /// Takes those that are bound to another connection than this one.
    pub(super) fn take_bound(&mut self, generation: Option<u64>) -> Vec<Held> {
        self.take_all(|held| held.message.generation().is_some_and(|bound| Some(bound) != generation))
    }

    /// Takes those of which this is so.
    pub(super) fn take_all(&mut self, is_so: impl Fn(&Held) -> bool) -> Vec<Held> {
        let places: Vec<_> = self.held.iter().filter(|(_, held)| is_so(held)).map(|(place, _)| place).collect();
        places.into_iter().filter_map(|place| self.remove(place)).collect()
    }

    /// Takes what is no longer there out of the indexes.
    #[inline(never)]
    fn unlist(&mut self, place: u64, held: &Held) {
        self.apart -= u32::from(held.is_apart());
        if let Some(at) = held.message.expires_at {
            self.deadlines.remove(&(at, place));
        }
        if let Some(key) = held.message.key()
            && self.newest.get(key) == Some(&place)
        {
            self.newest.remove(key);
            let below = place.min(self.crowded_below);
            let older = self.held.iter().take_while(|(older, _)| *older < below);
            if let Some((older, _)) = older.filter(|(_, older)| older.message.key() == Some(key)).last() {
                self.newest.insert(key.into(), older);
            }
        }
    }

    /// The queued message that `message` would replace, by its key.
    pub(super) fn newest_of(&self, message: &Message) -> Option<(u64, &Held)> {
        let place = *self.newest.get(message.key()?)?;
        self.held.get(place).map(|held| (place, held))
    }

    /// Takes a message whose deadline has come.
    pub(super) fn pop_expired(&mut self, now: Instant) -> Option<Held> {
        let (at, place) = *self.deadlines.first()?;
        if at > now {
            return None;
        }
        self.remove(place)
    }

    /// The next deadline.
    pub(super) fn next_expiry(&self) -> Option<Instant> {
        self.deadlines.first().map(|(at, _)| *at)
    }

    /// Messages queued, where runs count as one.
    pub(super) fn len(&self) -> usize {
        self.held.len()
    }
}
