//! Up to where a receiver outside has taken an endpoint's inbox: one row a receiver, by the endpoint's name and its own.
//!
//! What a reader would get wrong: they are guests, as variables are, and one that moves needs no room, so that it is kept by a store that is
//! full of messages. The table is made with the first row and goes with the last.

use std::{collections::BTreeMap, sync::Arc};

use rusqlite::{Connection, params};

use super::{
    WriteError,
    engine::Engine,
    open::{self, Guest},
    row::{self, Unreadable},
};

const TABLE: &str = "CREATE TABLE cursor(
    endpoint TEXT NOT NULL, receiver TEXT NOT NULL, cursor INTEGER NOT NULL, sum INTEGER NOT NULL,
    PRIMARY KEY(endpoint, receiver)) STRICT, WITHOUT ROWID;";

/// An endpoint's name and a receiver's.
pub type Receiver = (Arc<str>, Arc<str>);

/// All that the file holds of them.
pub(super) fn recover(db: &Connection) -> Result<BTreeMap<Receiver, u64>, Unreadable> {
    let mut all = BTreeMap::new();
    if open::has(db, Guest::Cursors)? {
        let mut query = db.prepare("SELECT endpoint, receiver, cursor, sum FROM cursor")?;
        let mut rows = query.query([])?;
        while let Some(row) = rows.next()? {
            let of: Receiver = (row.get::<_, String>(0)?.into(), row.get::<_, String>(1)?.into());
            let cursor = row.get::<_, i64>(2)?.cast_unsigned();
            if row::cursor_sum(&of, cursor) != row.get::<_, u32>(3)? {
                return Err(Unreadable::Damaged(format!("the cursor of {}/{} is not what was stored", of.0, of.1)));
            }
            all.insert(of, cursor);
        }
    }
    Ok(all)
}

impl Engine {
    /// Puts a cursor in the place of the one that was there.
    pub(super) fn keep_cursor(&mut self, of: &Receiver, cursor: u64) -> Result<Result<u64, WriteError>, Unreadable> {
        let is_new = !self.index.cursors.contains_key(of);
        let cost = if is_new { row::cost(of.0.len() + of.1.len()) } else { 0 };
        if self.is_log_full() || !self.finds_room(cost)? {
            return Ok(Err(self.full()?));
        }
        if self.index.cursors.is_empty() && !open::has(&self.db, Guest::Cursors)? {
            open::make(&self.db, Guest::Cursors, TABLE)?;
        }
        let sum = row::cursor_sum(of, cursor);
        self.prepared("INSERT OR REPLACE INTO cursor VALUES (?1, ?2, ?3, ?4)")?.execute(params![
            &*of.0,
            &*of.1,
            cursor.cast_signed(),
            sum
        ])?;
        self.index.cursors.insert(of.clone(), cursor);
        Ok(Ok(1))
    }

    /// Forgets one: whether there was one.
    pub(super) fn forget_cursor(&mut self, of: &Receiver) -> Result<u64, Unreadable> {
        if self.index.cursors.remove(of).is_none() {
            return Ok(0);
        }
        self.prepared("DELETE FROM cursor WHERE endpoint = ?1 AND receiver = ?2")?.execute(params![&*of.0, &*of.1])?;
        if self.index.cursors.is_empty() {
            open::drop_table(&self.db, Guest::Cursors, "cursor")?;
        }
        Ok(1)
    }
}
