//! The store's folder: made for its owner alone, and locked against a second daemon.
//!
//! The lock is the kernel's, on an open file, and ends with the process however it ends. The file and the number in it stay;
//! the number is for people and decides nothing.
//!
//! The seal is a file that is there only between two lives of a daemon: for each inbox that was written to disk whole, the cursor
//! of its last entry. It is removed before anything else, because a later life gives out entries that it does not know of; a
//! file can be removed from a full disk too, which could not be said of a row.

use std::{
    collections::BTreeMap,
    fs::{self, DirBuilder, File, OpenOptions, TryLockError},
    io::{self, Read, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{OpenError, WriteError, anchor};

pub(super) const LOCK: &str = "wskeeper.lock";
const STORE: &str = "store.sqlite";
pub(super) const SEAL: &str = "inbox.sealed";

/// Where the store of a folder is.
pub(super) fn store_in(dir: &Path) -> PathBuf {
    dir.join(STORE)
}

/// A folder that is ours for as long as this lives.
#[derive(Debug)]
pub(super) struct Folder {
    dir: PathBuf,
    /// Holds the lock.
    lock: File,
}

impl Folder {
    /// Makes the folder where there is none, and takes it.
    pub(super) fn take(dir: &Path) -> Result<Self, OpenError> {
        if !dir.is_dir() {
            DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(|e| OpenError::from_io(dir, e))?;
            sync_folder(dir.parent().unwrap_or(dir))?;
        }
        let path = dir.join(LOCK);
        let fault = |e| OpenError::from_io(&path, e);
        let mut lock = private(OpenOptions::new().read(true).write(true).create(true)).open(&path).map_err(fault)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(OpenError::InUse { dir: dir.to_owned(), pid: owner(&mut lock) });
            }
            Err(TryLockError::Error(e)) => return Err(fault(e)),
        }
        sign(&mut lock).map_err(fault)?;
        Ok(Self { dir: dir.to_owned(), lock })
    }

    /// Looks whether the lock is still where another daemon would look for it.
    pub(super) fn look(&self) -> Result<(), WriteError> {
        anchor::look(&self.dir.join(LOCK), &self.lock)
    }

    /// Where the store's file is.
    pub(super) fn store(&self) -> PathBuf {
        store_in(&self.dir)
    }

    /// Leaves the cursors of the last entries of inboxes that are complete.
    pub(super) fn seal(&self, inboxes: &BTreeMap<Arc<str>, u64>) -> Result<(), OpenError> {
        if inboxes.is_empty() {
            return Ok(());
        }
        let (path, draft) = (self.dir.join(SEAL), self.dir.join(format!("{SEAL}.new")));
        let write = || {
            let mut file = private(OpenOptions::new().write(true).create(true)).truncate(true).open(&draft)?;
            for (endpoint, cursor) in inboxes {
                writeln!(file, "{cursor} {endpoint}")?;
            }
            file.sync_all()?;
            fs::rename(&draft, &path)
        };
        write().map_err(|e| OpenError::from_io(&path, e))?;
        sync_folder(&self.dir)
    }

    /// Takes what [`Folder::seal`] left, so that it is there no more. A line that cannot be read is left out: its inbox then has
    /// a gap, which is true of every inbox that nobody can vouch for.
    pub(super) fn break_seal(&self) -> Result<BTreeMap<Arc<str>, u64>, OpenError> {
        let path = self.dir.join(SEAL);
        let text = match fs::read(&path) {
            Ok(text) => text,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(BTreeMap::new()),
            Err(e) => return Err(OpenError::from_io(path, e)),
        };
        fs::remove_file(&path).map_err(|e| OpenError::from_io(&path, e))?;
        sync_folder(&self.dir)?;
        let line = |line: &str| {
            let (cursor, endpoint) = line.split_once(' ')?;
            Some((Arc::from(endpoint), cursor.parse().ok()?))
        };
        Ok(String::from_utf8_lossy(&text).lines().filter_map(line).collect())
    }

    /// Makes the store's file, empty, for its owner alone. One that is there stays as it is.
    pub(super) fn make_store(&self) -> Result<(), OpenError> {
        let path = self.store();
        match private(OpenOptions::new().write(true).create_new(true)).open(&path) {
            Ok(file) => {
                file.sync_all().map_err(|e| OpenError::from_io(&path, e))?;
                sync_folder(&self.dir)
            }
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            Err(e) => Err(OpenError::from_io(path, e)),
        }
    }
}

fn private(options: &mut OpenOptions) -> &mut OpenOptions {
    options.mode(0o600).truncate(false)
}

/// A file's name is on disk only when its folder is.
fn sync_folder(dir: &Path) -> Result<(), OpenError> {
    let dir = if dir.as_os_str().is_empty() { Path::new(".") } else { dir };
    File::open(dir).and_then(|folder| folder.sync_all()).map_err(|e| OpenError::from_io(dir, e))
}

fn owner(lock: &mut File) -> Option<u32> {
    let mut text = String::new();
    lock.take(32).read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}

fn sign(lock: &mut File) -> io::Result<()> {
    lock.set_len(0)?;
    writeln!(lock, "{}", std::process::id())
}
