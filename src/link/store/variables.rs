//! Durable variables of sessions in the store: one row for each link that has some, replaced when they change.
//!
//! # What a reader would get wrong
//! They are guests, as inboxes are: a disk that does not take them says nothing about messages. But a row that grows by nothing needs no
//! room, so that a session can still be resumed after a restart of a daemon whose store is full of messages. The table is made with the
//! first row and goes with the last.

use std::{collections::BTreeMap, sync::Arc};

use rusqlite::{Connection, params};

use super::{
    WriteError,
    engine::Engine,
    open::{self, Guest},
    row::{self, Unreadable},
};
use wskeeper_core::session::Kept;

const TABLE: &str = "CREATE TABLE variable(
    endpoint TEXT NOT NULL, link INTEGER NOT NULL, kept BLOB NOT NULL, sum INTEGER NOT NULL,
    PRIMARY KEY(endpoint, link)) STRICT, WITHOUT ROWID;";

/// The link of the row that is the endpoint's own: what its links have in common.
pub const COMMON: u32 = u32::MAX;

/// An endpoint's name and the index of a link.
pub(super) type Of = (Arc<str>, u32);

/// What the writer knows by heart of the rows.
#[derive(Debug, Default)]
pub(super) struct Rows {
    /// Whether the table is there.
    is_made: bool,
    /// What each counts against the room.
    costs: BTreeMap<Of, u64>,
}

impl Rows {
    /// Reads them from the file.
    pub(super) fn read(db: &Connection) -> Result<Self, Unreadable> {
        let mut rows = Self { is_made: open::has(db, Guest::Variables)?, ..Self::default() };
        if rows.is_made {
            let mut query = db.prepare("SELECT endpoint, link, length(kept) FROM variable")?;
            let mut found = query.query([])?;
            while let Some(row) = found.next()? {
                let endpoint: String = row.get(0)?;
                let cost = row::cost(endpoint.len() + row.get::<_, usize>(2)?);
                rows.costs.insert((endpoint.into(), row.get(1)?), cost);
            }
        }
        Ok(rows)
    }
}

impl Engine {
    /// Puts what a link's session keeps in the place of what was there.
    pub(super) fn remember(&mut self, of: &Of, kept: &Kept) -> Result<Result<u64, WriteError>, Unreadable> {
        if kept.is_empty() {
            return self.forget_variables(&of.0, Some(of.1)).map(Ok);
        }
        let text = kept.to_json().into_bytes();
        let cost = row::cost(of.0.len() + text.len());
        let more = cost.saturating_sub(self.index.variables.costs.get(of).copied().unwrap_or_default());
        if self.is_log_full() || !self.finds_room(more)? {
            return Ok(Err(self.full()?));
        }
        if !self.index.variables.is_made {
            open::make(&self.db, Guest::Variables, TABLE)?;
            self.index.variables.is_made = true;
        }
        let sum = row::variables_sum(of, &text);
        self.prepared("INSERT OR REPLACE INTO variable VALUES (?1, ?2, ?3, ?4)")?
            .execute(params![&*of.0, of.1, text, sum])?;
        self.index.variables.costs.insert(of.clone(), cost);
        Ok(Ok(1))
    }

    /// Forgets the variables of a link, or of all links of an endpoint but for what they have in common: how many had some.
    pub(super) fn forget_variables(&mut self, endpoint: &str, link: Option<u32>) -> Result<u64, Unreadable> {
        let is_meant = |of: &Of| *of.0 == *endpoint && link.map_or(of.1 != COMMON, |link| link == of.1);
        let gone: Vec<Of> = self.index.variables.costs.keys().filter(|of| is_meant(of)).cloned().collect();
        for of in &gone {
            self.prepared("DELETE FROM variable WHERE endpoint = ?1 AND link = ?2")?.execute(params![&*of.0, of.1])?;
            self.index.variables.costs.remove(of);
        }
        if self.index.variables.is_made && self.index.variables.costs.is_empty() {
            open::drop_table(&self.db, Guest::Variables, "variable")?;
            self.index.variables.is_made = false;
        }
        Ok(gone.len() as u64)
    }
}

/// All that the file holds of variables.
pub(super) fn recover(db: &Connection) -> Result<BTreeMap<Of, Kept>, Unreadable> {
    let mut all = BTreeMap::new();
    if open::has(db, Guest::Variables)? {
        let mut query = db.prepare("SELECT endpoint, link, kept, sum FROM variable")?;
        let mut rows = query.query([])?;
        while let Some(row) = rows.next()? {
            let of: Of = (row.get::<_, String>(0)?.into(), row.get(1)?);
            let text = row.get_ref(2)?.as_blob().map_err(rusqlite::Error::from)?;
            let is_sound = row::variables_sum(&of, text) == row.get::<_, u32>(3)?;
            let kept = if is_sound { Kept::from_json(text) } else { None };
            let damaged = || Unreadable::Damaged(format!("the variables of {}/{} are not what was stored", of.0, of.1));
            let kept = kept.ok_or_else(damaged)?;
            all.insert(of, kept);
        }
    }
    Ok(all)
}
