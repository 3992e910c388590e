//! Durable inboxes in the store: the newest segments of each, as many as fit beside what is to be sent.
//!
//! # What a reader would get wrong
//! Inboxes are guests. A message that is to be sent takes the place of the oldest segments, whosever they are, where there is
//! no other room; and all inboxes together get half of `max_bytes`. What goes so is missing after a restart, and consumers
//! who wanted it are told of a gap: this is how they learn of everything that the disk did not take.
//!
//! The table is made with the first segment, and the file has another format from then on. With the last inbox it goes again, so that a
//! version which knows format 1 only can open the file.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

use rusqlite::{Connection, params};

use super::{
    KeptInbox, Segment, WriteError,
    engine::Engine,
    open::{self, Guest},
    row::{self, Unreadable},
    segment,
};
use wskeeper_core::entry::Stretch;

const TABLE: &str = "CREATE TABLE inbox(
    seq INTEGER PRIMARY KEY, endpoint TEXT NOT NULL, after INTEGER NOT NULL, first INTEGER NOT NULL, count INTEGER NOT NULL,
    entries BLOB NOT NULL, sum INTEGER NOT NULL) STRICT;";

/// What the writer knows by heart of the segments.
#[derive(Debug, Default)]
pub(super) struct Spans {
    /// Whether the table is there.
    is_made: bool,
    by_row: BTreeMap<i64, Span>,
    /// Rows of each inbox, oldest first.
    rows: BTreeMap<Arc<str>, VecDeque<i64>>,
    /// Bytes of all of them, as counted against the room.
    pub(super) bytes: u64,
}

#[derive(Debug)]
struct Span {
    endpoint: Arc<str>,
    last: u64,
    cost: u64,
}

impl Spans {
    /// Reads them from the file; the row of the newest one, too.
    pub(super) fn read(db: &Connection) -> Result<(Self, i64), Unreadable> {
        let is_made = open::has(db, Guest::Inboxes)?;
        let mut spans = Self { is_made, ..Self::default() };
        if is_made {
            let mut query =
                db.prepare("SELECT seq, endpoint, first + count - 1, length(entries) FROM inbox ORDER BY seq")?;
            let mut rows = query.query([])?;
            while let Some(row) = rows.next()? {
                let endpoint: String = row.get(1)?;
                let cost = row::cost(endpoint.len() + row.get::<_, usize>(3)?);
                spans.add(row.get(0)?, Span { endpoint: endpoint.into(), last: row.get(2)?, cost });
            }
        }
        let newest = spans.by_row.last_key_value().map_or(0, |(row, _)| *row);
        Ok((spans, newest))
    }

    fn add(&mut self, row: i64, span: Span) {
        self.bytes += span.cost;
        self.rows.entry(Arc::clone(&span.endpoint)).or_default().push_back(row);
        self.by_row.insert(row, span);
    }

    /// The oldest segment of all, or of an inbox.
    fn oldest(&self, endpoint: Option<&str>) -> Option<(i64, &Span)> {
        match endpoint {
            None => self.by_row.first_key_value().map(|(row, span)| (*row, span)),
            Some(name) => {
                let row = *self.rows.get(name)?.front()?;
                Some((row, self.by_row.get(&row)?))
            }
        }
    }

    /// A segment goes: it is the oldest of its inbox.
    fn remove(&mut self, row: i64) {
        let Some(span) = self.by_row.remove(&row) else { return };
        self.bytes -= span.cost;
        if let Some(rows) = self.rows.get_mut(&span.endpoint) {
            rows.pop_front();
            if rows.is_empty() {
                self.rows.remove(&span.endpoint);
            }
        }
    }
}

impl Engine {
    /// Puts entries on disk, and drops those of the inbox that fell out of its window.
    pub(super) fn arrived(&mut self, segment: &Segment) -> Result<Result<u64, WriteError>, Unreadable> {
        let endpoint = &segment.endpoint;
        while let Some((row, _)) =
            self.index.spans.oldest(Some(endpoint)).filter(|(_, span)| span.last < segment.oldest)
        {
            self.drop_segment(row)?;
        }
        let Some(first) = segment.entries.first().map(Stretch::first) else { return Ok(Ok(0)) };
        if !self.index.spans.is_made {
            open::make(&self.db, Guest::Inboxes, TABLE)?;
            self.index.spans.is_made = true;
        }
        let text = segment::encode(&segment.entries);
        let cost = row::cost(endpoint.len() + text.len());
        if cost > self.bounds.inbox_bytes {
            return Ok(Err(self.full()?));
        }
        while self.index.spans.bytes + cost > self.bounds.inbox_bytes && self.drop_oldest_segment()? {}
        if !self.finds_room(cost)? {
            return Ok(Err(self.full()?));
        }
        let (row, count) = (self.index.take_next(), segment.count());
        let sum = row::segment_sum(endpoint, [segment.after, first, count], &text);
        self.prepared("INSERT INTO inbox VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)")?.execute(params![
            row,
            &**endpoint,
            segment.after,
            first,
            count,
            text,
            sum
        ])?;
        let last = first + count - 1;
        self.index.spans.add(row, Span { endpoint: Arc::clone(endpoint), last, cost });
        Ok(Ok(count))
    }

    /// Forgets an inbox: how many segments it had.
    pub(super) fn forget_inbox(&mut self, endpoint: &str) -> Result<u64, Unreadable> {
        let mut count = 0;
        while let Some((row, _)) = self.index.spans.oldest(Some(endpoint)) {
            self.drop_segment(row)?;
            count += 1;
        }
        if self.index.spans.is_made && self.index.spans.by_row.is_empty() {
            open::drop_table(&self.db, Guest::Inboxes, "inbox")?;
            self.index.spans.is_made = false;
        }
        Ok(count)
    }

    /// Takes so many bytes from the room of the batch; where there is too little, the oldest segments go for it.
    pub(super) fn finds_room(&mut self, cost: u64) -> Result<bool, Unreadable> {
        // Where the log is too long, room in the file is no help.
        while cost > self.room && !self.is_log_full() && self.drop_oldest_segment()? {}
        let fits = cost <= self.room;
        if fits {
            self.room -= cost;
        }
        Ok(fits)
    }

    fn drop_oldest_segment(&mut self) -> Result<bool, Unreadable> {
        match self.index.spans.oldest(None) {
            Some((row, _)) => self.drop_segment(row).map(|()| true),
            None => Ok(false),
        }
    }

    fn drop_segment(&mut self, row: i64) -> Result<(), Unreadable> {
        self.prepared("DELETE FROM inbox WHERE seq = ?1")?.execute([row])?;
        self.index.spans.remove(row);
        self.room = self.free()?;
        Ok(())
    }
}

/// All that the file holds of inboxes. `sealed` are the numbers of the last entries of those that were closed in order.
pub(super) fn recover(
    db: &Connection,
    sealed: BTreeMap<Arc<str>, u64>,
) -> Result<BTreeMap<Arc<str>, KeptInbox>, Unreadable> {
    let mut inboxes: BTreeMap<Arc<str>, KeptInbox> = BTreeMap::new();
    if open::has(db, Guest::Inboxes)? {
        let mut query = db.prepare("SELECT endpoint, after, first, count, sum, entries FROM inbox ORDER BY seq")?;
        let mut rows = query.query([])?;
        while let Some(row) = rows.next()? {
            let endpoint: Arc<str> = row.get::<_, String>(0)?.into();
            let (after, first, count): (u64, u64, u64) = (row.get(1)?, row.get(2)?, row.get(3)?);
            let text = row.get_ref(5)?.as_blob().map_err(rusqlite::Error::from)?;
            let is_sound = row::segment_sum(&endpoint, [after, first, count], text) == row.get::<_, u32>(4)?;
            let entries = if is_sound { segment::decode(text, &endpoint, first, count) } else { None };
            let damaged = || Unreadable::Damaged(format!("the inbox of {endpoint} is not what was stored"));
            let entries = entries.ok_or_else(damaged)?;
            let kept = &mut inboxes.entry(Arc::clone(&endpoint)).or_default().entries;
            for (cursor, entry) in (first..).zip(entries) {
                let after = if cursor == first { after } else { cursor - 1 };
                kept.extend(entry.map(|entry| (after, entry)));
            }
        }
    }
    for (endpoint, last) in sealed {
        inboxes.entry(endpoint).or_default().sealed = Some(last);
    }
    Ok(inboxes)
}
