//! Messages written that the peer's application acknowledges by a key of its own: a pong proves nothing of them.
//!
//! Acknowledgements may come in any order. Of two messages with one key, the older is meant.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Instant,
};

use super::queue::Written;

/// Written messages by their places in the stream, with an index of keys.
#[derive(Debug, Default)]
pub(super) struct Unacknowledged {
    written: BTreeMap<u64, Waiting>,
    keys: BTreeSet<(Box<str>, u64)>,
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
        self.keys.insert((key.clone(), written.pulled));
        self.written.insert(written.pulled, Waiting { since: now, key, written });
    }

    /// An acknowledgement with this key has come.
    pub(super) fn take(&mut self, key: &str) -> Option<Written> {
        let first = self.keys.range((Box::from(key), 0)..).next().filter(|(found, _)| &**found == key)?.clone();
        self.keys.remove(&first);
        self.written.remove(&first.1).map(|waiting| waiting.written)
    }

    /// Takes the oldest.
    pub(super) fn take_oldest(&mut self) -> Option<Written> {
        let (pulled, Waiting { key, written, .. }) = self.written.pop_first()?;
        self.keys.remove(&(key, pulled));
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
        std::mem::take(self).written.into_values().map(|waiting| waiting.written)
    }

    /// When the oldest was written.
    pub(super) fn since(&self) -> Option<Instant> {
        self.written.first_key_value().map(|(_, waiting)| waiting.since)
    }

    /// The one written last.
    pub(super) fn last(&self) -> Option<&Written> {
        self.written.last_key_value().map(|(_, waiting)| &waiting.written)
    }

    pub(super) fn len(&self) -> usize {
        self.written.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.written.is_empty()
    }
}
