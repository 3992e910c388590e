//! The queued part of an outbox: in order, with removal from the middle by key and by age.
//!
//! Positions are numbers that never repeat; what goes back to the head gets smaller ones. The indexes by key and by expiry
//! exist only for messages that have a key or an expiry.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Instant,
};

use super::Held;

/// Where numbering starts, so that there is room before the head.
const MIDDLE: u64 = 1 << 63;

#[derive(Debug)]
pub(super) struct Queue {
    held: BTreeMap<u64, Held>,
    by_key: BTreeMap<Box<str>, BTreeSet<u64>>,
    by_expiry: BTreeSet<(Instant, u64)>,
    next: u64,
}

impl Default for Queue {
    fn default() -> Self {
        Self { held: BTreeMap::new(), by_key: BTreeMap::new(), by_expiry: BTreeSet::new(), next: MIDDLE }
    }
}

impl Queue {
    pub(super) fn len(&self) -> usize {
        self.held.len()
    }

    pub(super) fn head(&self) -> Option<u64> {
        self.held.first_key_value().map(|(seq, _)| *seq)
    }

    pub(super) fn head_held(&self) -> Option<&Held> {
        self.held.first_key_value().map(|(_, held)| held)
    }

    pub(super) fn push_back(&mut self, held: Held) {
        let seq = self.next;
        self.next += 1;
        self.insert(seq, held);
    }

    pub(super) fn push_front(&mut self, held: Held) {
        let seq = self.head().unwrap_or(self.next) - 1;
        self.insert(seq, held);
    }

    pub(super) fn pop_front(&mut self) -> Option<Held> {
        self.remove(self.head()?)
    }

    pub(super) fn remove(&mut self, seq: u64) -> Option<Held> {
        let held = self.held.remove(&seq)?;
        if let Some(at) = held.message.expires_at {
            self.by_expiry.remove(&(at, seq));
        }
        if let Some(key) = &held.message.key
            && let Some(seqs) = self.by_key.get_mut(key)
        {
            seqs.remove(&seq);
            if seqs.is_empty() {
                self.by_key.remove(key);
            }
        }
        Some(held)
    }

    /// The newest queued message of a key: its position and its bytes.
    pub(super) fn newest_of(&self, key: Option<&str>) -> Option<(u64, u64)> {
        let seq = *self.by_key.get(key?)?.last()?;
        Some((seq, self.held.get(&seq)?.message.payload.len() as u64))
    }

    pub(super) fn next_expiry(&self) -> Option<Instant> {
        self.by_expiry.first().map(|(at, _)| *at)
    }

    /// A message whose time is up.
    pub(super) fn expired(&self, now: Instant) -> Option<u64> {
        self.by_expiry.first().filter(|(at, _)| *at <= now).map(|(_, seq)| *seq)
    }

    fn insert(&mut self, seq: u64, held: Held) {
        if let Some(at) = held.message.expires_at {
            self.by_expiry.insert((at, seq));
        }
        if let Some(key) = &held.message.key {
            self.by_key.entry(key.clone()).or_default().insert(seq);
        }
        self.held.insert(seq, held);
    }
}
