//! Keys of subscriptions in the store: one row for each key that a program holds, replaced when that changes.
//!
//! # What a reader would get wrong
//! They are guests, as inboxes and variables are: a disk that does not take them says nothing about messages. What stands in a row is the
//! pool's business; here it has a checksum. The table is made with the first row and goes with the last.

use std::{collections::BTreeMap, sync::Arc};

use rusqlite::{Connection, params};

use super::{
    KeptKeys, WriteError,
    engine::Engine,
    open::{self, Guest},
    row::{self, Unreadable},
};

const TABLE: &str = "CREATE TABLE subscription(
    endpoint TEXT NOT NULL, key TEXT NOT NULL, kept BLOB NOT NULL, sum INTEGER NOT NULL,
    PRIMARY KEY(endpoint, key)) STRICT, WITHOUT ROWID;";

/// An endpoint's name and a key.
type Of = (Arc<str>, Arc<str>);

/// What the writer knows by heart of the rows.
#[derive(Debug, Default)]
pub(super) struct KeyRows {
    /// Whether the table is there.
    is_made: bool,
    /// What each counts against the room.
    costs: BTreeMap<Of, u64>,
}

impl KeyRows {
    /// Reads them from the file.
    pub(super) fn read(db: &Connection) -> Result<Self, Unreadable> {
        let mut rows = Self { is_made: open::has(db, Guest::Keys)?, ..Self::default() };
        if rows.is_made {
            let mut query = db.prepare("SELECT endpoint, key, length(kept) FROM subscription")?;
            let mut found = query.query([])?;
            while let Some(row) = found.next()? {
                let (endpoint, key): (String, String) = (row.get(0)?, row.get(1)?);
                let cost = row::cost(endpoint.len() + key.len() + row.get::<_, usize>(2)?);
                rows.costs.insert((endpoint.into(), key.into()), cost);
            }
        }
        Ok(rows)
    }
}

impl Engine {
    /// Puts what is known of a key in the place of what was there.
    pub(super) fn hold_key(&mut self, of: &Of, kept: &[u8]) -> Result<Result<u64, WriteError>, Unreadable> {
        if kept.is_empty() {
            return self.drop_keys(std::slice::from_ref(of)).map(Ok);
        }
        let cost = row::cost(of.0.len() + of.1.len() + kept.len());
        let more = cost.saturating_sub(self.index.keys.costs.get(of).copied().unwrap_or_default());
        if self.is_log_full() || !self.finds_room(more)? {
            return Ok(Err(self.full()?));
        }
        if !self.index.keys.is_made {
            open::make(&self.db, Guest::Keys, TABLE)?;
            self.index.keys.is_made = true;
        }
        self.prepared("INSERT OR REPLACE INTO subscription VALUES (?1, ?2, ?3, ?4)")?.execute(params![
            &*of.0,
            &*of.1,
            kept,
            row::key_sum(of, kept)
        ])?;
        self.index.keys.costs.insert(of.clone(), cost);
        Ok(Ok(1))
    }

    /// Forgets all keys of an endpoint: how many there were.
    pub(super) fn forget_keys(&mut self, endpoint: &str) -> Result<u64, Unreadable> {
        let gone: Vec<Of> = self.index.keys.costs.keys().filter(|of| *of.0 == *endpoint).cloned().collect();
        self.drop_keys(&gone)
    }

    fn drop_keys(&mut self, gone: &[Of]) -> Result<u64, Unreadable> {
        let mut count = 0;
        for of in gone {
            if self.index.keys.costs.remove(of).is_some() {
                self.prepared("DELETE FROM subscription WHERE endpoint = ?1 AND key = ?2")?
                    .execute(params![&*of.0, &*of.1])?;
                count += 1;
            }
        }
        if self.index.keys.is_made && self.index.keys.costs.is_empty() {
            open::drop_table(&self.db, Guest::Keys, "subscription")?;
            self.index.keys.is_made = false;
        }
        Ok(count)
    }
}

/// All that the file holds of keys.
pub(super) fn recover(db: &Connection) -> Result<BTreeMap<Arc<str>, KeptKeys>, Unreadable> {
    let mut all = BTreeMap::<Arc<str>, KeptKeys>::new();
    if open::has(db, Guest::Keys)? {
        let mut query = db.prepare("SELECT endpoint, key, kept, sum FROM subscription")?;
        let mut rows = query.query([])?;
        while let Some(row) = rows.next()? {
            let of: Of = (row.get::<_, String>(0)?.into(), row.get::<_, String>(1)?.into());
            let kept = row.get_ref(2)?.as_blob().map_err(rusqlite::Error::from)?;
            if row::key_sum(&of, kept) != row.get::<_, u32>(3)? {
                return Err(Unreadable::Damaged(format!("the key {:?} of {} is not what was stored", of.1, of.0)));
            }
            all.entry(of.0).or_default().insert(of.1, kept.into());
        }
    }
    Ok(all)
}
