//! Messages written that the peer's application acknowledges by a key of its own: a pong proves nothing of them.
//!
//! Acknowledgements may come in any order. Of two messages with one key, the older is meant.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Instant,
};

use super::queue::Written;

/// Written messages by their places in the stream, with an index of keys. In a box: most links wait for no acknowledgement.
#[derive(Debug, Default)]
pub(super) struct Unacknowledged(Option<Box<Places>>);

#[derive(Debug, Default)]
struct Places {
    written: BTreeMap<u64, Waiting>,
    keys: BTreeSet<(Box<str>, u64)>,
    /// What they take, without the messages that are kept.
    bytes: usize,
}

#[derive(Debug)]
struct Waiting {
    since: Instant,
    key: Box<str>,
    written: Written,
}

impl Unacknowledged {
    /// A message was written; its acknowledgement will have this key.
    pub(super) fn push(&mut self, now: Instant, key: Box<str>, written: Written) {
        let places = self.0.get_or_insert_default();
        places.bytes += cost(&key);
        places.keys.insert((key.clone(), written.pulled));
        places.written.insert(written.pulled, Waiting { since: now, key, written });
    }

    /// An acknowledgement with this key has come.
    pub(super) fn take(&mut self, key: &str) -> Option<Written> {
        let keys = &self.0.as_deref()?.keys;
        let pulled = keys.range((Box::from(key), 0)..).next().filter(|(found, _)| &**found == key)?.1;
        self.remove(pulled)
    }

    /// Takes the oldest of which only the name is kept.
    pub(super) fn take_oldest_name(&mut self) -> Option<Written> {
        let mut places = self.0.as_deref()?.written.iter();
        let pulled = *places.find(|(_, waiting)| waiting.written.kept.is_none())?.0;
        self.remove(pulled)
    }

    /// Takes the oldest.
    fn take_oldest(&mut self) -> Option<Written> {
        let pulled = *self.0.as_deref()?.written.first_key_value()?.0;
        self.remove(pulled)
    }

    fn remove(&mut self, pulled: u64) -> Option<Written> {
        let places = self.0.as_deref_mut()?;
        let Waiting { key, written, .. } = places.written.remove(&pulled)?;
        places.bytes -= cost(&key);
        places.keys.remove(&(key, pulled));
        if places.written.is_empty() {
            self.0 = None;
        }
        Some(written)
    }

    /// Takes those written at `until` or before.
    pub(super) fn take_older(&mut self, until: Instant) -> Vec<Written> {
        let mut older = Vec::new();
        while self.since().is_some_and(|since| since <= until) {
            older.extend(self.take_oldest());
        }
        older
    }

    /// Takes them all, in the order of the stream.
    pub(super) fn drain(&mut self) -> impl Iterator<Item = Written> {
        self.0.take().into_iter().flat_map(|places| places.written.into_values()).map(|waiting| waiting.written)
    }

    /// When the oldest was written.
    pub(super) fn since(&self) -> Option<Instant> {
        self.0.as_deref()?.written.first_key_value().map(|(_, waiting)| waiting.since)
    }

    /// The one written last.
    pub(super) fn last(&self) -> Option<&Written> {
        self.0.as_deref()?.written.last_key_value().map(|(_, waiting)| &waiting.written)
    }

    /// What they take, about.
    pub(super) fn bytes(&self) -> usize {
        self.0.as_deref().map_or(0, |places| places.bytes)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_none()
    }
}

/// What a message takes while it waits: its place, its key twice, and the nodes of the trees.
pub(super) fn cost(key: &str) -> usize {
    2 * (size_of::<(u64, Waiting)>() + key.len())
}
