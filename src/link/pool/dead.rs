//! Dead letters: messages that their peer refused, kept for an operator who sends them again or drops them.
//!
//! Bounded: past the bounds the oldest goes first, and is counted. Those of durable outboxes are in the store as well; this
//! list is what is shown, so nobody reads the disk to look.

use std::{collections::BTreeMap, sync::Arc, time::SystemTime};

use parking_lot::{Mutex, MutexGuard};

use super::Page;
use crate::store;
use wskeeper_core::{
    message::{MessageId, Payload},
    receipt::EndReason,
};

/// Letters kept at most.
const MOST: usize = 1000;
/// Bytes of payload that they may have together.
const MOST_BYTES: usize = 16 << 20;

/// A message that its peer refused.
#[derive(Debug, Clone, PartialEq)]
pub struct DeadLetter {
    /// The message.
    pub id: MessageId,
    /// Where it was to go.
    pub endpoint: Arc<str>,
    /// By which link.
    pub link: u32,
    /// Its ordering and conflation key.
    pub key: Option<Box<str>>,
    /// What was sent.
    pub payload: Payload,
    /// When it was accepted.
    pub accepted_at: SystemTime,
    /// Why it is dead.
    pub end_reason: EndReason,
    /// When that was.
    pub died_at: SystemTime,
}

/// The dead letters of the whole pool.
#[derive(Debug, Default)]
pub(super) struct DeadLetters {
    letters: Mutex<Letters>,
}

#[derive(Debug, Default)]
struct Letters {
    by_id: BTreeMap<MessageId, DeadLetter>,
    bytes: usize,
}

impl From<store::DeadLetter> for DeadLetter {
    fn from(letter: store::DeadLetter) -> Self {
        let store::DeadLetter { id, endpoint, link, accepted_at, died_at, end_reason, key, payload } = letter;
        Self {
            id,
            endpoint,
            link,
            key,
            payload,
            accepted_at,
            end_reason: end_reason.unwrap_or(EndReason::Poison),
            died_at,
        }
    }
}

impl DeadLetters {
    /// Keeps a letter; answers with those that made room for it.
    pub(super) fn bury(&self, letter: DeadLetter) -> Vec<MessageId> {
        let mut letters = self.letters();
        letters.bytes += letter.payload.len();
        letters.by_id.insert(letter.id, letter);
        let mut gone = Vec::new();
        while (letters.by_id.len() > MOST || letters.bytes > MOST_BYTES)
            && let Some((id, oldest)) = letters.by_id.pop_first()
        {
            letters.bytes -= oldest.payload.len();
            gone.push(id);
        }
        gone
    }

    /// Letters in order of acceptance, those after `after`, at most `limit`, of the endpoints `wanted`.
    pub(super) fn list(
        &self,
        wanted: &dyn Fn(&str) -> bool,
        after: Option<MessageId>,
        limit: usize,
    ) -> Page<DeadLetter> {
        let letters = self.letters();
        let mut found = letters
            .by_id
            .values()
            .filter(|letter| after.is_none_or(|after| letter.id > after) && wanted(&letter.endpoint))
            .cloned();
        let items = found.by_ref().take(limit).collect();
        Page { items, more: found.next().is_some() }
    }

    pub(super) fn get(&self, id: MessageId) -> Option<DeadLetter> {
        self.letters().by_id.get(&id).cloned()
    }

    pub(super) fn remove(&self, id: MessageId) -> Option<DeadLetter> {
        let mut letters = self.letters();
        let letter = letters.by_id.remove(&id)?;
        letters.bytes -= letter.payload.len();
        Some(letter)
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.letters().by_id.len()
    }

    fn letters(&self) -> MutexGuard<'_, Letters> {
        self.letters.lock()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn letter(id: u128, bytes: usize) -> DeadLetter {
        DeadLetter {
            id: MessageId(id),
            endpoint: "feed".into(),
            link: 0,
            key: None,
            payload: Payload::binary(vec![0; bytes]),
            accepted_at: SystemTime::UNIX_EPOCH,
            end_reason: EndReason::Poison,
            died_at: SystemTime::UNIX_EPOCH,
        }
    }

    #[test]
    fn the_oldest_letters_make_room_by_count_and_by_bytes() {
        let dead = DeadLetters::default();
        for id in 0..MOST as u128 {
            assert_eq!(dead.bury(letter(id, 1)), []);
        }
        assert_eq!(dead.bury(letter(5000, 1)), [MessageId(0)]);
        let gone = dead.bury(letter(5001, MOST_BYTES));
        assert_eq!((gone.len(), dead.len()), (MOST, 1));
    }

    #[test]
    fn letters_are_listed_in_pages() {
        let dead = DeadLetters::default();
        for id in 1..=5 {
            dead.bury(letter(id, 1));
        }
        let page = dead.list(&|_| true, Some(MessageId(2)), 2);
        let ids: Vec<_> = page.items.iter().map(|letter| letter.id.0).collect();
        assert_eq!((ids, page.more), (vec![3, 4], true));
        assert!(dead.list(&|name| name == "other", None, 9).items.is_empty());
    }
}
