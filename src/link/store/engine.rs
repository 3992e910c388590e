//! The engine with our rows in it: a batch of changes is one transaction, synced once.
//!
//! What a reader would get wrong: a full store must still be able to let go. Room is counted before an append reaches the
//! engine, and a reserve is left below `max_bytes` for what a settlement writes; the engine's own page limit, at `max_bytes`,
//! is only the net below that. The log beside the file comes on top: [`LOG_PAGES`] are folded into the file as they are reached.

use std::{
    collections::BTreeMap,
    fs::File,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::SystemTime,
};

use rusqlite::{Connection, config::DbConfig, ffi::ErrorCode};

use super::{
    DeadLetter, Op, OpenError, Policy, Recovered, WriteError, anchor, cursors,
    folder::Folder,
    inbox,
    index::Index,
    keys,
    mark::Mark,
    open::{self, Opened},
    row::{self, Unreadable},
    variables,
};
use crate::clock::Calendar;
use wskeeper_core::message::MessageId;

/// Bytes of a page.
const PAGE: u64 = 4096;
/// Pages in the log at which it is folded into the file: 4 MiB.
const LOG_PAGES: u64 = 1024;
/// Pages in the log at which nothing more is accepted, because folding it fails: 64 MiB.
const LOG_PAGES_MAX: u64 = 16 * LOG_PAGES;
/// The least that `max_bytes` can be.
const MIN_BYTES: u64 = 1 << 20;
const RESERVE_MAX: u64 = 16 << 20;

/// How much may be kept.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds {
    /// Bytes of the file.
    pub(super) max_bytes: u64,
    /// Bytes below that which appends leave free.
    reserve: u64,
    /// Dead letters.
    pub(super) letters: usize,
    /// Bytes of their payloads.
    pub(super) letter_bytes: u64,
    /// Receipts.
    pub(super) receipts: usize,
    /// Bytes of inboxes.
    pub(super) inbox_bytes: u64,
}

impl Bounds {
    fn new(policy: &Policy) -> Self {
        let max_bytes = policy.max_bytes.max(MIN_BYTES);
        Self {
            max_bytes,
            reserve: (max_bytes / 8).min(RESERVE_MAX),
            letters: policy.max_dead,
            // What rests must leave room for what is to be sent.
            letter_bytes: policy.max_dead_bytes.min(max_bytes / 4),
            inbox_bytes: max_bytes / 2,
            receipts: policy.max_receipts.min(usize::try_from(max_bytes / 1024).unwrap_or(usize::MAX)),
        }
    }
}

/// The open file.
pub(super) struct Engine {
    pub(super) db: Connection,
    pub(super) index: Index,
    pub(super) bounds: Bounds,
    /// Bytes that appends of the batch may still take.
    pub(super) room: u64,
    /// Dead letters dropped for newer ones, since the start.
    pub(super) evicted: u64,
    /// Batches committed, since the start.
    pub(super) commits: u64,
    mark: Mark,
    /// Pages in the log, as the engine told at the last commit.
    logged: Arc<AtomicU64>,
    /// Says when receipts are old.
    pub(super) calendar: Calendar,
    /// The file once more, to know it again. Not to be closed before the engine's own: its locks would go with it.
    file: File,
    /// Last, so that the lock is held until the file is closed.
    folder: Folder,
}

/// What became of each op of a batch, in order: how many rows it changed, or why there was no room for it.
pub(super) type Outcomes = Vec<Result<u64, WriteError>>;

impl Engine {
    /// Opens or makes the store, and reads it all.
    pub(super) fn open(policy: &Policy, calendar: Calendar) -> Result<(Self, Recovered), OpenError> {
        let folder = Folder::take(&policy.dir)?;
        let path = folder.store();
        // Whoever has the folder may give out new entries, whether or not the store can be opened.
        let sealed = folder.break_seal()?;
        let Opened { db, mark } = open::open(&folder)?;
        let recovered = recover(&db, sealed, calendar.now()).map_err(|e| open::unreadable(&path, e))?;
        let index = Index::read(&db).map_err(|e| open::unreadable(&path, e))?;
        let logged = Arc::new(AtomicU64::new(0));
        let bounds = Bounds::new(policy);
        let file = File::open(&path).map_err(|e| OpenError::from_io(&path, e))?;
        let mut engine =
            Self { calendar, db, index, bounds, room: 0, evicted: 0, commits: 0, mark, logged, file, folder };
        engine.begin().map_err(|e| open::fault(&path, e))?;
        Ok((engine, recovered))
    }

    /// Carries out the ops as one transaction. After an error none of them has been, and the engine goes on.
    pub(super) fn commit(&mut self, ops: &[&Op], now: SystemTime) -> Result<Outcomes, WriteError> {
        let outcomes = self.attempt(ops, now).map_err(|fault| match self.undo(fault) {
            full @ WriteError::Full(_) => self.make_room().err().unwrap_or(full),
            other @ (WriteError::Broken(_) | WriteError::Away(_) | WriteError::Closed) => other,
        })?;
        self.commits += 1;
        self.after_commit()?;
        Ok(outcomes)
    }

    /// Looks whether all files are still where they were opened: what is written elsewhere nobody will find.
    pub(super) fn look(&self) -> Result<(), WriteError> {
        self.folder.look()?;
        anchor::look(&self.folder.store(), &self.file)?;
        self.mark.look()
    }

    /// Bytes of the file that hold something.
    pub(super) fn used(&self) -> rusqlite::Result<u64> {
        let number = |sql| self.db.prepare_cached(sql)?.query_row([], |row| row.get::<_, u64>(0));
        Ok((number("PRAGMA page_count")? - number("PRAGMA freelist_count")?) * PAGE)
    }

    /// Whether nothing can be accepted before the log is folded.
    pub(super) fn is_log_full(&self) -> bool {
        self.logged.load(Ordering::Relaxed) >= LOG_PAGES_MAX
    }

    /// Bytes that appends may take now.
    pub(super) fn free(&self) -> rusqlite::Result<u64> {
        if self.is_log_full() { Ok(0) } else { Ok(self.limit().saturating_sub(self.used()?)) }
    }

    /// What appends may take before the store is full.
    pub(super) fn limit(&self) -> u64 {
        self.bounds.max_bytes - self.bounds.reserve
    }

    /// Messages of a link that have not ended, in the order of acceptance.
    pub(super) fn held(&self, endpoint: &str, link: u32) -> Result<Vec<super::Record>, Unreadable> {
        let sql = format!("SELECT {} FROM message WHERE endpoint = ?1 AND link = ?2 ORDER BY seq", row::MESSAGE);
        row::all(self.db.prepare_cached(&sql)?.query((endpoint, link))?, row::message)
    }

    /// How many messages of an endpoint have not ended.
    pub(super) fn count(&self, endpoint: &str) -> Result<u64, Unreadable> {
        let mut query = self.db.prepare_cached("SELECT count(*) FROM message WHERE endpoint = ?1")?;
        Ok(query.query_row([endpoint], |row| row.get(0))?)
    }

    /// Dead letters of an endpoint or of all, oldest first, from behind `after`; behind one that is gone, from the beginning.
    pub(super) fn letters(
        &self,
        endpoint: Option<&str>,
        after: Option<MessageId>,
        limit: usize,
    ) -> Result<Vec<DeadLetter>, Unreadable> {
        let sql = format!(
            "SELECT {} FROM letter WHERE (?1 IS NULL OR endpoint = ?1)
             AND seq > coalesce((SELECT seq FROM letter WHERE id = ?2), 0) ORDER BY seq LIMIT ?3",
            row::LETTER
        );
        let after = after.map(|id| id.0.to_be_bytes());
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        row::all(self.db.prepare_cached(&sql)?.query((endpoint, after, limit))?, row::letter)
    }

    /// One dead letter.
    pub(super) fn letter(&self, id: MessageId) -> Result<Option<DeadLetter>, Unreadable> {
        let sql = format!("SELECT {} FROM letter WHERE id = ?1", row::LETTER);
        Ok(row::all(self.db.prepare_cached(&sql)?.query([id.0.to_be_bytes()])?, row::letter)?.pop())
    }

    /// Folds the log into the file and lets go of it, and notes the last entries of inboxes that are complete. Where that fails, and where this is not called because something else
    /// has, the log stays: the engine must not remove it by itself while the mark speaks of it.
    pub(super) fn close(self, sealed: &BTreeMap<Arc<str>, u64>) -> Result<(), WriteError> {
        let is_empty = self.empty_log().map_err(|e| write_error(&e))?;
        self.db.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, !is_empty).map_err(|e| write_error(&e))?;
        let Self { db, folder, .. } = self;
        db.close().map_err(|(_, e)| write_error(&e))?;
        folder.seal(sealed).map_err(|e| WriteError::Full(e.to_string().into()))
    }

    /// The file has been found good: from here on it may be changed.
    fn begin(&mut self) -> rusqlite::Result<()> {
        self.db.pragma_update_and_check(None, "max_page_count", self.bounds.max_bytes / PAGE, |_| Ok(()))?;
        let logged = Arc::clone(&self.logged);
        self.db.wal_hook(Some(move |_: &mut rusqlite::hooks::Wal, pages: i32| {
            logged.store(pages.try_into().unwrap_or(0), Ordering::Relaxed);
            Ok(())
        }))?;
        match self.empty_log() {
            // A full disk is a state to live with: what is held can be sent and so make room.
            Err(e) if e.sqlite_error_code() == Some(ErrorCode::DiskFull) => Ok(()),
            other => other.map(drop),
        }
    }

    fn attempt(&mut self, ops: &[&Op], now: SystemTime) -> Result<Outcomes, Unreadable> {
        self.db.execute_batch("BEGIN IMMEDIATE")?;
        self.room = self.free()?;
        let outcomes = ops.iter().map(|op| self.apply(op)).collect::<Result<_, _>>()?;
        self.prune(now)?;
        self.db.execute_batch("COMMIT")?;
        Ok(outcomes)
    }

    /// Takes a failed transaction back.
    fn undo(&mut self, fault: Unreadable) -> WriteError {
        // An engine that has rolled back by itself answers with an error that means nothing.
        let _ = self.db.execute_batch("ROLLBACK");
        let fault = match fault {
            Unreadable::Damaged(text) => return WriteError::Broken(text.into()),
            Unreadable::Engine(fault) => write_error(&fault),
        };
        match Index::read(&self.db) {
            Ok(index) => {
                self.index = index;
                fault
            }
            Err(e) => WriteError::Broken(format!("after a failed write the store cannot be read ({e:?})").into()),
        }
    }

    /// With no space to grow the log, an early fold into pages that the file has already lets it begin anew.
    fn make_room(&mut self) -> Result<(), WriteError> {
        match self.fold("PASSIVE").map_err(|e| write_error(&e)) {
            Err(broken @ WriteError::Broken(_)) => Err(broken),
            Ok(()) | Err(WriteError::Full(_) | WriteError::Away(_) | WriteError::Closed) => Ok(()),
        }
    }

    fn after_commit(&mut self) -> Result<(), WriteError> {
        let pages = self.logged.load(Ordering::Relaxed);
        // A mark that could not be written is one that lags.
        let _ = self.mark.advance(pages);
        if pages < LOG_PAGES {
            return Ok(());
        }
        // Where there is no room to fold it the log goes on growing, up to its limit.
        self.make_room()
    }

    /// Folds the log into the file and leaves nothing of it. `false`: the mark could not be cleared, so the log stays, folded.
    fn empty_log(&self) -> rusqlite::Result<bool> {
        self.fold("PASSIVE")?;
        let is_cleared = self.mark.clear().is_ok();
        if is_cleared {
            self.fold("TRUNCATE")?;
        }
        Ok(is_cleared)
    }

    fn fold(&self, how: &str) -> rusqlite::Result<()> {
        self.db.query_row(&format!("PRAGMA wal_checkpoint({how})"), [], |_| Ok(()))
    }
}

fn recover(db: &Connection, sealed: BTreeMap<Arc<str>, u64>, now: SystemTime) -> Result<Recovered, Unreadable> {
    let messages = format!("SELECT {} FROM message ORDER BY seq", row::MESSAGE);
    let receipts = format!("SELECT {} FROM receipt WHERE keep > ?1", row::RECEIPT);
    let now = row::millis(now);
    Ok(Recovered {
        messages: row::all(db.prepare(&messages)?.query([])?, row::message)?,
        receipts: row::all(db.prepare(&receipts)?.query([now])?, row::receipt)?,
        inboxes: inbox::recover(db, sealed)?,
        variables: variables::recover(db)?,
        cursors: cursors::recover(db)?,
        keys: keys::recover(db)?,
    })
}

/// Whether a failed write may be tried again. After a failed sync it may not: the system forgets what it could not write, and
/// says yes the next time.
fn write_error(fault: &rusqlite::Error) -> WriteError {
    const WRITES: [i32; 2] = [rusqlite::ffi::SQLITE_IOERR_WRITE, rusqlite::ffi::SQLITE_IOERR_TRUNCATE];
    let may_pass = match fault.sqlite_error_code() {
        Some(ErrorCode::DiskFull | ErrorCode::ReadOnly) => true,
        Some(ErrorCode::SystemIoFailure) => {
            fault.sqlite_error().is_some_and(|error| WRITES.contains(&error.extended_code))
        }
        _ => false,
    };
    if may_pass { WriteError::Full(fault.to_string().into()) } else { WriteError::Broken(fault.to_string().into()) }
}
