//! What the writer knows by heart of the rows, so that it need not look for them.
//!
//! It is only ever a copy: when a transaction fails it may be ahead of the file, and is read anew.

use std::collections::{BTreeMap, BTreeSet};

use super::row::Unreadable;
use crate::core::message::MessageId;

/// Where a held message is.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place {
    /// Its row.
    pub(super) seq: i64,
    /// Whether it is marked.
    pub(super) marked: bool,
    /// Its checksum.
    pub(super) sum: u32,
}

/// The rows, by what the writer asks for.
#[derive(Debug, Default)]
pub(super) struct Index {
    /// Held messages.
    pub(super) messages: BTreeMap<MessageId, Place>,
    /// Receipts by the millisecond until which they are kept.
    pub(super) receipts: BTreeSet<(i64, MessageId)>,
    /// Dead letters by row, oldest first, with their payload's bytes.
    pub(super) letters: BTreeMap<i64, (MessageId, u64)>,
    /// Bytes of dead letters' payloads.
    pub(super) letter_bytes: u64,
    /// The row of the next message or letter.
    pub(super) next: i64,
}

impl Index {
    /// Reads it from the file.
    pub(super) fn read(db: &rusqlite::Connection) -> Result<Self, Unreadable> {
        let mut index = Self::default();
        let mut query = db.prepare("SELECT id, seq, marked, sum FROM message")?;
        let mut rows = query.query([])?;
        while let Some(row) = rows.next()? {
            let place = Place { seq: row.get(1)?, marked: row.get(2)?, sum: row.get(3)? };
            let id = MessageId(u128::from_be_bytes(row.get(0)?));
            if index.messages.insert(id, place).is_some() {
                return Err(Unreadable::Damaged(format!("message {id} is there twice")));
            }
        }
        let mut query = db.prepare("SELECT keep, id FROM receipt")?;
        let mut rows = query.query([])?;
        while let Some(row) = rows.next()? {
            index.receipts.insert((row.get(0)?, MessageId(u128::from_be_bytes(row.get(1)?))));
        }
        let mut query = db.prepare("SELECT seq, id, length(payload) FROM letter")?;
        let mut rows = query.query([])?;
        while let Some(row) = rows.next()? {
            let bytes: u64 = row.get(2)?;
            index.letters.insert(row.get(0)?, (MessageId(u128::from_be_bytes(row.get(1)?)), bytes));
            index.letter_bytes += bytes;
        }
        let last = index.messages.values().map(|place| place.seq).chain(index.letters.keys().copied()).max();
        index.next = last.unwrap_or(0) + 1;
        Ok(index)
    }

    /// A row that none has had since the start.
    pub(super) fn take_next(&mut self) -> i64 {
        self.next += 1;
        self.next - 1
    }
}
