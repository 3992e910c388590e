//! What the writer knows by heart of the rows, so that it need not look for them.
//!
//! It is only ever a copy: when a transaction fails it may be ahead of the file, and is read anew.

use std::collections::{BTreeMap, BTreeSet};

use super::{Receiver, cursors, inbox::Spans, keys, row::Unreadable, variables};
use wskeeper_core::message::MessageId;

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
    /// Receipts by the millisecond until which they are kept, and the same by id.
    pub(super) receipts: BTreeSet<(i64, MessageId)>,
    ends: BTreeMap<MessageId, i64>,
    /// Dead letters by row, oldest first, with their payload's bytes, and the same by id.
    pub(super) letters: BTreeMap<i64, (MessageId, u64)>,
    rows: BTreeMap<MessageId, i64>,
    /// Bytes of dead letters' payloads.
    pub(super) letter_bytes: u64,
    /// Segments of inboxes.
    pub(super) spans: Spans,
    /// Variables of sessions.
    pub(super) variables: variables::Rows,
    /// Cursors of receivers.
    pub(super) cursors: BTreeMap<Receiver, u64>,
    /// Keys of subscriptions.
    pub(super) keys: keys::KeyRows,
    /// The row of the next message, letter or segment.
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
            index.add_receipt(MessageId(u128::from_be_bytes(row.get(1)?)), row.get(0)?);
        }
        let mut query = db.prepare("SELECT seq, id, length(payload) FROM letter")?;
        let mut rows = query.query([])?;
        while let Some(row) = rows.next()? {
            index.add_letter(row.get(0)?, MessageId(u128::from_be_bytes(row.get(1)?)), row.get(2)?);
        }
        index.variables = variables::Rows::read(db)?;
        index.cursors = cursors::recover(db)?;
        index.keys = keys::KeyRows::read(db)?;
        let newest;
        (index.spans, newest) = Spans::read(db)?;
        let last = index.messages.values().map(|place| place.seq).chain(index.letters.keys().copied()).max();
        index.next = last.unwrap_or(0).max(newest) + 1;
        Ok(index)
    }

    /// Whether anything is known of this message.
    pub(super) fn knows(&self, id: MessageId) -> bool {
        self.messages.contains_key(&id) || self.ends.contains_key(&id) || self.rows.contains_key(&id)
    }

    /// A receipt is kept until then; or longer or shorter than before.
    pub(super) fn add_receipt(&mut self, id: MessageId, keep: i64) {
        if let Some(before) = self.ends.insert(id, keep) {
            self.receipts.remove(&(before, id));
        }
        self.receipts.insert((keep, id));
    }

    /// A receipt is forgotten.
    pub(super) fn remove_receipt(&mut self, id: MessageId) {
        if let Some(keep) = self.ends.remove(&id) {
            self.receipts.remove(&(keep, id));
        }
    }

    /// The row of a dead letter.
    pub(super) fn letter(&self, id: MessageId) -> Option<i64> {
        self.rows.get(&id).copied()
    }

    /// A dead letter is kept.
    pub(super) fn add_letter(&mut self, seq: i64, id: MessageId, bytes: u64) {
        self.letters.insert(seq, (id, bytes));
        self.rows.insert(id, seq);
        self.letter_bytes += bytes;
    }

    /// A dead letter is dropped.
    pub(super) fn remove_letter(&mut self, seq: i64) {
        if let Some((id, bytes)) = self.letters.remove(&seq) {
            self.rows.remove(&id);
            self.letter_bytes -= bytes;
        }
    }

    /// A row that none has had since the start.
    pub(super) fn take_next(&mut self) -> i64 {
        self.next += 1;
        self.next - 1
    }
}
