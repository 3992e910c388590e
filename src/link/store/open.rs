//! Opens a store: looks first with its own eyes, then lets the engine look, and changes nothing until both are content.
//!
//! The order matters. The engine would take a file of length 0 for a new store and delete the log beside it, and would end the
//! log at its first damaged frame; so both are looked at before it may. It also must not fold the log into the file when a
//! look has failed, nor without our mark being cleared first: `NO_CKPT_ON_CLOSE` stands until the store is closed in order.

use std::{
    fs::File,
    io::{self, ErrorKind, Read},
    path::{Path, PathBuf},
};

use rusqlite::{Connection, OpenFlags, config::DbConfig, ffi::ErrorCode};

use super::{OpenError, folder::Folder, log, mark::Mark, row::Unreadable};

/// "wsk" and the kind of file. Stands in the engine's header for those who wonder what the file is.
const APPLICATION: u32 = 0x7773_6b01;
/// The format of a store without guests. Each kind of them has a table of its own, and adds its number to the format while it is there.
const VERSION: u32 = 1;
const NEWEST: u32 =
    VERSION + Guest::Inboxes as u32 + Guest::Variables as u32 + Guest::Cursors as u32 + Guest::Keys as u32;
const PAGE: u32 = 4096;
const MAGIC: &[u8] = b"SQLite format 3\0";
/// For one who has put another file there on purpose.
const OWN_DOING: &str = "if that is your doing, remove store.sqlite-mark too";
const SCHEMA: &str = "
    CREATE TABLE message(
        seq INTEGER PRIMARY KEY, id BLOB NOT NULL, endpoint TEXT NOT NULL, link INTEGER NOT NULL, accepted INTEGER NOT NULL,
        expires INTEGER, key TEXT, idempotency TEXT, marked INTEGER NOT NULL, kind INTEGER NOT NULL, payload BLOB NOT NULL,
        sum INTEGER NOT NULL) STRICT;
    CREATE TABLE letter(
        seq INTEGER PRIMARY KEY, id BLOB NOT NULL UNIQUE, endpoint TEXT NOT NULL, link INTEGER NOT NULL,
        accepted INTEGER NOT NULL, died INTEGER NOT NULL, fate TEXT, key TEXT, kind INTEGER NOT NULL, payload BLOB NOT NULL,
        sum INTEGER NOT NULL) STRICT;
    CREATE TABLE receipt(
        id BLOB PRIMARY KEY, endpoint TEXT NOT NULL, link INTEGER NOT NULL, state TEXT NOT NULL, fate TEXT,
        bytes INTEGER NOT NULL, accepted INTEGER NOT NULL, updated INTEGER NOT NULL, generation INTEGER,
        keep INTEGER NOT NULL, idempotency TEXT, claim INTEGER, sum INTEGER NOT NULL) STRICT, WITHOUT ROWID;
";

/// What a store may hold beside messages, in a table that is there with the first of them only.
#[derive(Debug, Clone, Copy)]
pub(super) enum Guest {
    /// Durable inboxes.
    Inboxes = 1,
    /// Durable variables of sessions.
    Variables = 2,
    /// Cursors of receivers.
    Cursors = 4,
    /// Keys of subscriptions that programs hold.
    Keys = 8,
}

/// A store that is sound so far: its records are still to be read.
pub(super) struct Opened {
    pub(super) db: Connection,
    pub(super) mark: Mark,
}

/// Opens the store of this folder, or makes one.
pub(super) fn open(folder: &Folder) -> Result<Opened, OpenError> {
    let path = folder.store();
    let is_new = is_new(&path)?;
    let mark = examine_log(&path)?;
    if is_new {
        if mark.is_set() {
            return Err(OpenError::Corrupt { path, detail: format!("it is gone or empty; {OWN_DOING}") });
        }
        folder.make_store()?;
    }
    let fault = |e| fault(&path, e);
    let mut db = connect(&path).map_err(fault)?;
    if is_new {
        create(&mut db).map_err(fault)?;
    }
    let (application, version) = identity(&db).map_err(fault)?;
    judge(&path, application, version)?;
    let verdict: String = db.query_row("PRAGMA quick_check(1)", [], |row| row.get(0)).map_err(fault)?;
    if verdict != "ok" {
        return Err(OpenError::Corrupt { path, detail: verdict });
    }
    // Stands already, unless a crash came between the store's making and this.
    db.pragma_update_and_check(None, "journal_mode", "WAL", |_| Ok(())).map_err(fault)?;
    Ok(Opened { db, mark })
}

/// Whether the file has these.
pub(super) fn has(db: &Connection, guest: Guest) -> rusqlite::Result<bool> {
    Ok(identity(db)?.1.saturating_sub(VERSION) & guest as u32 != 0)
}

/// Makes their table, within a transaction.
pub(super) fn make(db: &Connection, guest: Guest, table: &str) -> rusqlite::Result<()> {
    db.execute_batch(table)?;
    db.pragma_update(None, "user_version", identity(db)?.1 + guest as u32)
}

/// Drops it, within a transaction.
pub(super) fn drop_table(db: &Connection, guest: Guest, table: &str) -> rusqlite::Result<()> {
    db.flush_prepared_statement_cache();
    db.execute_batch(&format!("DROP TABLE {table}"))?;
    db.pragma_update(None, "user_version", identity(db)?.1 - guest as u32)
}

/// The fault that an error of the engine is.
pub(super) fn fault(path: &Path, source: rusqlite::Error) -> OpenError {
    let path = path.to_owned();
    match source.sqlite_error_code() {
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => {
            OpenError::Corrupt { path, detail: source.to_string() }
        }
        Some(ErrorCode::DiskFull) => OpenError::NoSpace { path, source: ErrorKind::StorageFull.into() },
        Some(ErrorCode::ReadOnly) => OpenError::ReadOnly { path, source: ErrorKind::ReadOnlyFilesystem.into() },
        Some(ErrorCode::SystemIoFailure | ErrorCode::CannotOpen) => {
            OpenError::Io { path, source: io::Error::other(source) }
        }
        _ => OpenError::Engine { path, source },
    }
}

/// The fault that a row which cannot be read is.
pub(super) fn unreadable(path: &Path, row: Unreadable) -> OpenError {
    match row {
        Unreadable::Damaged(detail) => OpenError::Corrupt { path: path.to_owned(), detail },
        Unreadable::Engine(source) => fault(path, source),
    }
}

/// Whether there is no store yet. A file that is something else is a fault.
fn is_new(path: &Path) -> Result<bool, OpenError> {
    let fault = |e| OpenError::from_io(path, e);
    let mut file = match File::open(path) {
        Ok(file) => file,
        Err(e) if e.kind() == ErrorKind::NotFound => return no_log_without_store(path),
        Err(e) => return Err(fault(e)),
    };
    let mut header = Vec::new();
    file.by_ref().take(100).read_to_end(&mut header).map_err(fault)?;
    if header.is_empty() {
        return no_log_without_store(path);
    }
    if header.len() < 100 || !header.starts_with(MAGIC) {
        return Err(OpenError::NotOurs(path.to_owned()));
    }
    let word = |at: usize| header[at..at + 4].iter().fold(0, |word, byte| word << 8 | u32::from(*byte));
    judge(path, word(68), word(60))?;
    Ok(false)
}

/// There is no store; then there must be no log of one either, because the engine would throw it away.
fn no_log_without_store(path: &Path) -> Result<bool, OpenError> {
    match log_of(path).metadata() {
        Ok(log) if log.len() > 0 => {
            Err(OpenError::Corrupt { path: path.to_owned(), detail: "it is empty, and its log is not".to_owned() })
        }
        Ok(_) => Ok(true),
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(true),
        Err(e) => Err(OpenError::from_io(log_of(path), e)),
    }
}

fn judge(path: &Path, application: u32, version: u32) -> Result<(), OpenError> {
    let path = path.to_owned();
    match version {
        _ if application != APPLICATION => Err(OpenError::NotOurs(path)),
        VERSION..=NEWEST => Ok(()),
        0 => Err(OpenError::Corrupt { path, detail: "it has no format version".to_owned() }),
        found => Err(OpenError::NewerVersion { path, found, known: NEWEST }),
    }
}

fn examine_log(path: &Path) -> Result<Mark, OpenError> {
    let log_path = log_of(path);
    let log = log::examine(&log_path).map_err(|e| OpenError::from_io(&log_path, e))?;
    let mark_path = with_suffix(path, "-mark");
    let mark = Mark::open(&mark_path, log_path).map_err(|e| OpenError::from_io(mark_path, e))?;
    let cut = mark.contradicts(&log).then(|| format!("its log has lost what was acknowledged last; {OWN_DOING}"));
    match log.damage.or(cut) {
        Some(detail) => Err(OpenError::Corrupt { path: path.to_owned(), detail }),
        None => Ok(mark),
    }
}

fn log_of(path: &Path) -> PathBuf {
    with_suffix(path, "-wal")
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

/// A connection that has the file for itself: without shared memory, which no other process needs.
fn connect(path: &Path) -> rusqlite::Result<Connection> {
    let db = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    db.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    db.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true)?;
    db.set_db_config(DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false)?;
    db.pragma_update_and_check(None, "locking_mode", "EXCLUSIVE", |_| Ok(()))?;
    // In WAL mode: the log is synced at each commit.
    db.pragma_update(None, "synchronous", "FULL")?;
    db.pragma_update(None, "cell_size_check", true)?;
    db.pragma_update(None, "temp_store", "MEMORY")?;
    db.set_prepared_statement_cache_capacity(32);
    Ok(db)
}

/// All of it or nothing: a crash in here leaves an empty file, which is a new store.
fn create(db: &mut Connection) -> rusqlite::Result<()> {
    db.pragma_update(None, "page_size", PAGE)?;
    let transaction = db.transaction()?;
    transaction.execute_batch(SCHEMA)?;
    transaction.pragma_update(None, "application_id", APPLICATION)?;
    transaction.pragma_update(None, "user_version", VERSION)?;
    transaction.commit()
}

fn identity(db: &Connection) -> rusqlite::Result<(u32, u32)> {
    let number = |name| db.pragma_query_value(None, name, |row| row.get(0));
    Ok((number("application_id")?, number("user_version")?))
}
