//! Accepted messages on disk: what the store has said yes to is there after `kill -9` and after a power cut.
//!
//! # Files
//! ```text
//! the folder              0700 where we make it
//!   wskeeper.lock         0600 locked by the kernel while a daemon has the folder; the number in it is the daemon's, for people
//!   store.sqlite          0600 an SQLite database in WAL mode: application_id 0x77736b01, user_version = format (1 to 16)
//!     message             one row a message that has not ended, by seq = order of acceptance
//!     receipt             one row a message that came to rest, until its time is up
//!     letter              one row a dead letter, oldest first
//!     inbox               with durable inboxes only, and the format is one higher then: one row a segment, see `segment`
//!     variable            with durable variables only, and the format is two higher then: one row a link
//!     cursor              with pushes of durable inboxes only, and the format is four higher then: one row a receiver
//!     subscription        with keys that programs hold only, and the format is eight higher then: one row a key
//!   store.sqlite-wal      SQLite's write-ahead log, folded into the file at 4 MiB and removed by a clean end
//!   store.sqlite-mark     20 bytes: salts of the log's round, its acknowledged frames (big-endian), CRC-32; synced when cleared
//!   inbox.sealed          between two lives of the daemon: which inboxes are complete up to which cursor
//! ```
//! Every row carries a CRC-32 over all that it says; SQLite itself checks the shape of its pages and each frame of the log.
//!
//! # Guarantees
//! 1. **Done means synced.** `Done(Ok)` comes after the sync of the transaction that holds the op. Ops take effect in the
//!    order submitted; those of one [`Store::submit_all`] in one transaction, up to 4096 ops or 16 MiB.
//! 2. **A refusal has changed nothing**, with one exception: of what was under way when the disk failed to *sync*
//!    ([`WriteError::Broken`]) it is not known whether it is there. A failed sync is final until a restart: the system may say
//!    yes to a later one and have forgotten what it could not write.
//! 3. **Full is not broken.** Past `max_bytes`, or with no space on the disk, messages are refused with [`WriteError::Full`];
//!    settlements and marks are kept and tried again until they are on disk, and the store goes on by itself once there is room.
//!    So it is while the files are not where they were opened ([`WriteError::Away`]): what is written to a file that nobody will
//!    find is not on disk. Files that were deleted never come back, and that is [`WriteError::Broken`].
//! 4. **What cannot be understood is left as it is.** Opening fails with a clear error and no byte of the file or its log
//!    has changed: a foreign file, a later format, a damaged page, row or log, a log without its file.
//! 5. **Damage is found** when it is in a row, in a page's structure, or in the log before its last acknowledged frame. Not found:
//!    after a power cut, a log that was cut behind the last mark that had reached the disk.
//!
//! 6. **Inboxes are guests**, and so are variables, cursors and keys. Segments never take room from a message ([`Op::Arrived`] is refused or makes others
//!    go), and a refusal of theirs shows in [`Status::inbox_failure`] alone; one of variables, a cursor or a key is told to who wrote them. What the disk did not take is a gap after a restart.
//!
//! What a reader would get wrong: the queue in front of the writer has no bound of its own. It holds at most what outboxes may
//! hold (each message is appended, marked and settled once, and its bytes count against the process's budget), and one segment
//! of each inbox, whose next one is cut when that is on disk; so a bound here
//! would only be a second one to get wrong.

mod anchor;
mod change;
mod cursors;
mod engine;
mod fault;
mod folder;
#[doc(hidden)]
#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzzing;
mod inbox;
mod index;
mod journal;
mod keys;
mod log;
mod mark;
mod open;
mod record;
mod row;
mod segment;
mod variables;
mod writer;

#[cfg(test)]
mod tests;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
    thread::{self, JoinHandle},
};

use futures_util::future::{BoxFuture, FutureExt as _};
use parking_lot::Mutex;
use tokio::sync::{oneshot, watch};

pub(crate) use self::journal::Journal;
pub use self::{
    cursors::Receiver,
    fault::{OpenError, ReadError, WriteError},
    record::{DeadLetter, Done, KeptKeys, KeptReceipt, Op, Record, Recovered, Settled},
    segment::{KeptInbox, Segment},
    variables::COMMON,
};
use self::{
    engine::Engine,
    row::Unreadable,
    writer::{Shared, Task},
};
use crate::clock::Calendar;
use wskeeper_core::message::MessageId;

/// Where the store is, and how much it may keep.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// The folder, made for its owner alone where there is none.
    pub dir: PathBuf,
    /// Bytes of the file, at least 1 MiB. New messages are refused at seven eighths of it (16 MiB below it, if that is more),
    /// so that what is held can still be settled. The log beside the file takes a few MiB more.
    pub max_bytes: u64,
    /// Dead letters kept; past it the oldest go.
    pub max_dead: usize,
    /// Bytes of their payloads; at most a quarter of `max_bytes`.
    pub max_dead_bytes: u64,
    /// Receipts kept; past it those whose time is up first go.
    pub max_receipts: usize,
}

impl Policy {
    /// A store with the usual bounds: 1000 dead letters of 16 MiB together, 100,000 receipts.
    pub fn new(dir: impl Into<PathBuf>, max_bytes: u64) -> Self {
        Self { dir: dir.into(), max_bytes, max_dead: 1000, max_dead_bytes: 16 << 20, max_receipts: 100_000 }
    }
}

/// How the store is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Status {
    /// Bytes of the file that hold something.
    pub bytes: u64,
    /// `max_bytes`.
    pub limit: u64,
    /// Messages that have not ended.
    pub messages: usize,
    /// Receipts of others.
    pub receipts: usize,
    /// Dead letters.
    pub dead_letters: usize,
    /// Bytes of their payloads.
    pub dead_bytes: u64,
    /// Dead letters that went for newer ones, since the start.
    pub dead_evicted: u64,
    /// Transactions synced since the start.
    pub commits: u64,
    /// Why messages are refused: [`WriteError::Full`] until a message was taken in or let go, [`WriteError::Away`] until the
    /// files are back, [`WriteError::Broken`] until a restart.
    pub failure: Option<WriteError>,
    /// Bytes of durable inboxes.
    pub inbox_bytes: u64,
    /// Why the last segment of an inbox was refused; `None`: it was not.
    pub inbox_failure: Option<WriteError>,
}

/// The open store. Closed when it is dropped, which waits for the disk; [`Store::close`] does not block.
pub struct Store {
    shared: Arc<Shared>,
    /// Becomes true once the file is closed.
    closed: watch::Receiver<bool>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Store {
    /// Opens the store of this folder, or makes one; the calendar says which receipts are old. Reads and checks all of it: blocks for about a second a gigabyte.
    pub fn open(policy: &Policy, calendar: Calendar) -> Result<(Arc<Self>, Recovered), OpenError> {
        let (engine, recovered) = Engine::open(policy, calendar)?;
        let shared = Arc::new(Shared::default());
        let (tell_closed, closed) = watch::channel(false);
        let run = {
            let shared = Arc::clone(&shared);
            move || {
                writer::run(engine, shared);
                tell_closed.send_replace(true);
            }
        };
        let thread = thread::Builder::new()
            .name("store".to_owned())
            .spawn(run)
            .map_err(|source| OpenError::Io { path: policy.dir.clone(), source })?;
        Ok((Arc::new(Self { shared, closed, thread: Mutex::new(Some(thread)) }), recovered))
    }

    /// Hands an op to the writer. Never waits; `done` is told when the op is on disk, or will not be.
    pub fn submit(&self, op: Op, done: Option<Done>) {
        self.shared.submit([Task::Write(op, done)]);
    }

    /// Hands over several ops with nothing in between.
    pub fn submit_all(&self, ops: impl IntoIterator<Item = (Op, Option<Done>)>) {
        self.shared.submit(ops.into_iter().map(|(op, done)| Task::Write(op, done)));
    }

    /// Carries out an op: how many messages or letters it changed. Once called, the op takes place even if the caller goes.
    pub async fn write(&self, op: Op) -> Result<u64, WriteError> {
        let journal: &dyn Journal = self;
        journal.write(op).await
    }

    /// Whether there is a store in this folder, as far as can be seen.
    pub fn exists(dir: &Path) -> bool {
        folder::store_in(dir).exists()
    }

    /// Whether its folder is there, and ours to look into.
    pub fn has_place(dir: &Path) -> bool {
        std::fs::read_dir(dir).is_ok()
    }

    /// Messages of a link that have not ended, in the order of acceptance, with those that are submitted now.
    pub async fn held(&self, endpoint: Arc<str>, link: u32) -> Result<Vec<Record>, ReadError> {
        self.read(move |engine| engine.held(&endpoint, link)).await
    }

    /// How many messages of an endpoint have not ended, with those that are submitted now.
    pub async fn count(&self, endpoint: Arc<str>) -> Result<u64, ReadError> {
        self.read(move |engine| engine.count(&endpoint)).await
    }

    /// Dead letters of an endpoint or of all, oldest first, from behind `after`, at most `limit`.
    pub async fn dead(
        &self,
        endpoint: Option<Arc<str>>,
        after: Option<MessageId>,
        limit: usize,
    ) -> Result<Vec<DeadLetter>, ReadError> {
        self.read(move |engine| engine.letters(endpoint.as_deref(), after, limit)).await
    }

    /// One dead letter.
    pub async fn dead_letter(&self, id: MessageId) -> Result<Option<DeadLetter>, ReadError> {
        self.read(move |engine| engine.letter(id)).await
    }

    /// Has the thread look whether its files are still there, which the status then says. Does not wait for it.
    pub fn look(&self) {
        self.shared.look();
    }

    /// How the store is, as of the last commit or look.
    pub fn status(&self) -> Status {
        self.shared.status()
    }

    /// Finishes what was submitted, folds the log into the file and closes it. Returns when that is done. `sealed` are the
    /// inboxes whose entries were all written and that get no more, with the cursor of the last one.
    pub async fn close(&self, sealed: BTreeMap<Arc<str>, u64>) {
        self.shared.close(sealed);
        // An error means that the thread is gone, and the file closed with it.
        let _ = self.closed.clone().wait_for(|closed| *closed).await;
    }

    async fn read<T: Send + 'static>(
        &self,
        look: impl FnOnce(&Engine) -> Result<T, Unreadable> + Send + 'static,
    ) -> Result<T, ReadError> {
        let (tell, told) = oneshot::channel();
        self.shared.submit([Task::Read(Box::new(move |engine| {
            let answer = match engine.map(look) {
                Some(Ok(found)) => Ok(found),
                Some(Err(fault)) => Err(ReadError::Unreadable(fault.to_string().into())),
                None => Err(ReadError::Closed),
            };
            // Whoever asked may have gone.
            let _ = tell.send(answer);
        }))]);
        told.await.unwrap_or(Err(ReadError::Closed))
    }
}

impl Journal for Store {
    fn submit(&self, op: Op, done: Option<Done>) {
        self.submit(op, done);
    }

    fn submit_all(&self, ops: &mut dyn Iterator<Item = (Op, Option<Done>)>) {
        self.submit_all(ops);
    }

    fn held(&self, endpoint: Arc<str>, link: u32) -> BoxFuture<'_, Result<Vec<Record>, ReadError>> {
        self.held(endpoint, link).boxed()
    }

    fn count(&self, endpoint: Arc<str>) -> BoxFuture<'_, Result<u64, ReadError>> {
        self.count(endpoint).boxed()
    }

    fn letters(&self) -> BoxFuture<'_, Result<Vec<DeadLetter>, ReadError>> {
        self.dead(None, None, usize::MAX).boxed()
    }

    fn status(&self) -> Status {
        self.status()
    }

    fn look(&self) {
        self.look();
    }

    fn close(&self, sealed: BTreeMap<Arc<str>, u64>) -> BoxFuture<'_, ()> {
        self.close(sealed).boxed()
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        self.shared.close(BTreeMap::new());
        let thread = self.thread.get_mut().take();
        // The last handle may go in a `Done` on the thread itself, which then ends by itself.
        if let Some(thread) = thread.filter(|thread| thread.thread().id() != thread::current().id()) {
            // A panic of it has been told to those who waited.
            let _ = thread.join();
        }
    }
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store").field("status", &self.status()).finish_non_exhaustive()
    }
}
