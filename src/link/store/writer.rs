//! The thread that owns the engine: it takes all that has been submitted, makes it one transaction, and tells everyone.
//!
//! While one batch is being synced the next one gathers, so a thousand callers share a sync and one caller has it alone.
//! What a reader would get wrong: facts (that a message was sent, that its writing may have begun) are not refused when the
//! disk is full. They are kept, ahead of what comes later, and tried again with each batch, at least once a second; there is
//! at most one settlement and one mark a held message, and their callers wait.

use std::{
    collections::{BTreeMap, VecDeque},
    mem,
    sync::Arc,
    time::Duration,
};

use parking_lot::{Condvar, Mutex};

use super::{
    Done, Op, Status, WriteError,
    engine::{Engine, Outcomes},
};

/// How often kept facts are tried again.
const RETRY: Duration = Duration::from_secs(1);
/// Ops of one transaction at most, and bytes of payload.
const BATCH_OPS: usize = 4096;
const BATCH_BYTES: usize = 16 << 20;

/// Looks at the engine, or learns that the store is closed.
pub(super) type Look = Box<dyn FnOnce(Option<&Engine>) + Send>;

/// What the thread is asked for.
pub(super) enum Task {
    /// To change something.
    Write(Op, Option<Done>),
    /// To look at something, after all changes that were submitted before.
    Read(Look),
}

/// What the thread and the rest of the store share.
#[derive(Default)]
pub(super) struct Shared {
    queue: Mutex<Queue>,
    wake: Condvar,
    status: Mutex<Status>,
}

#[derive(Default)]
struct Queue {
    tasks: VecDeque<Task>,
    /// Somebody asks how the files are.
    is_asked: bool,
    is_closing: bool,
    /// What the end is to vouch for.
    sealed: BTreeMap<Arc<str>, u64>,
    /// Nothing is taken any more.
    is_over: bool,
}

impl Shared {
    /// Hands tasks over, all of them to one batch where its size allows. Never waits for the disk.
    pub(super) fn submit(&self, tasks: impl IntoIterator<Item = Task>) {
        let mut queue = self.queue.lock();
        if queue.is_over || queue.is_closing {
            drop(queue);
            tasks.into_iter().for_each(|task| refuse(task, &WriteError::Closed));
            return;
        }
        queue.tasks.extend(tasks);
        drop(queue);
        self.wake.notify_one();
    }

    /// Asks the thread to finish what it has and to end.
    pub(super) fn close(&self, sealed: BTreeMap<Arc<str>, u64>) {
        let mut queue = self.queue.lock();
        if !queue.is_closing {
            (queue.is_closing, queue.sealed) = (true, sealed);
        }
        drop(queue);
        self.wake.notify_one();
    }

    /// Asks the thread to look at its files.
    pub(super) fn look(&self) {
        self.queue.lock().is_asked = true;
        self.wake.notify_one();
    }

    pub(super) fn status(&self) -> Status {
        self.status.lock().clone()
    }

    /// Waits for tasks, but not longer than `patience`. `None`: the store is to be closed.
    fn take(&self, patience: Option<Duration>) -> Option<VecDeque<Task>> {
        let mut queue = self.queue.lock();
        let is_idle = |queue: &mut Queue| queue.tasks.is_empty() && !queue.is_closing && !queue.is_asked;
        if is_idle(&mut queue) {
            match patience {
                None => self.wake.wait_while(&mut queue, is_idle),
                Some(patience) => {
                    self.wake.wait_while_for(&mut queue, is_idle, patience);
                }
            }
        }
        queue.is_asked = false;
        (!queue.tasks.is_empty() || !queue.is_closing).then(|| mem::take(&mut queue.tasks))
    }
}

/// Runs the engine until the store is closed.
pub(super) fn run(engine: Engine, shared: Arc<Shared>) {
    let mut writer = Writer { engine, shared, kept: Vec::new(), broken: None, away: None, inbox_failure: None };
    let _end = End(Arc::clone(&writer.shared));
    writer.report(None);
    loop {
        let patience = (!writer.kept.is_empty()).then_some(RETRY);
        let Some(tasks) = writer.shared.take(patience) else { break };
        if tasks.is_empty() {
            writer.look_around();
        }
        writer.serve(tasks);
    }
    writer.close();
}

struct Writer {
    engine: Engine,
    shared: Arc<Shared>,
    /// Facts that there was no room for.
    kept: Vec<(Op, Option<Done>)>,
    broken: Option<WriteError>,
    /// Its files are not where they were.
    away: Option<WriteError>,
    /// Why the last segment of an inbox was refused.
    inbox_failure: Option<WriteError>,
}

impl Writer {
    fn serve(&mut self, tasks: VecDeque<Task>) {
        let (mut batch, mut bytes) = (mem::take(&mut self.kept), 0);
        for task in tasks {
            match task {
                Task::Write(op, done) => {
                    bytes += op.payload_len();
                    batch.push((op, done));
                    if batch.len() >= BATCH_OPS || bytes >= BATCH_BYTES {
                        self.commit(mem::take(&mut batch));
                        batch = mem::take(&mut self.kept);
                        bytes = 0;
                    }
                }
                Task::Read(read) => {
                    self.commit(mem::take(&mut batch));
                    batch = mem::take(&mut self.kept);
                    read(Some(&self.engine));
                }
            }
        }
        self.commit(batch);
    }

    /// Commits the batch and tells everyone, once the status says how it went. Where there is no room, guests give way, and then
    /// those who can make some get another try alone.
    fn commit(&mut self, batch: Vec<(Op, Option<Done>)>) {
        if batch.is_empty() {
            return;
        }
        match self.attempt(&batch) {
            Ok(outcomes) => {
                let mut newest_first = batch.iter().zip(&outcomes).rev();
                if let Some((_, outcome)) = newest_first.find(|((op, _), _)| op.is_inbox()) {
                    self.inbox_failure = outcome.as_ref().err().cloned();
                }
                self.report(self.fullness(&batch, &outcomes));
                answer(batch, outcomes);
            }
            Err(full) if full.may_pass() => self.commit_without_guests(batch, &full),
            Err(broken) => {
                self.report(None);
                tell_all(batch, &broken);
            }
        }
    }

    fn commit_without_guests(&mut self, batch: Vec<(Op, Option<Done>)>, full: &WriteError) {
        let (guests, rest): (Vec<_>, Vec<_>) = batch.into_iter().partition(|(op, _)| op.is_guest());
        if guests.is_empty() {
            return self.commit_without_appends(rest, full);
        }
        if guests.iter().any(|(op, _)| op.is_inbox()) {
            self.inbox_failure = Some(full.clone());
        }
        // What the status said of messages stands.
        let failure = self.shared.status.lock().failure.clone();
        self.report(failure);
        tell_all(guests, full);
        self.commit(rest);
    }

    fn commit_without_appends(&mut self, batch: Vec<(Op, Option<Done>)>, full: &WriteError) {
        let (appends, rest): (Vec<_>, Vec<_>) = batch.into_iter().partition(|(op, _)| op.is_append());
        let second = if appends.is_empty() { Err(full.clone()) } else { self.attempt(&rest) };
        self.report(Some(full.clone()));
        tell_all(appends, full);
        match second {
            Ok(outcomes) => answer(rest, outcomes),
            Err(full) if full.may_pass() => {
                let (facts, wishes): (Vec<_>, Vec<_>) = rest.into_iter().partition(|(op, _)| op.is_fact());
                self.kept = facts;
                tell_all(wishes, &full);
            }
            Err(broken) => tell_all(rest, &broken),
        }
    }

    fn attempt(&mut self, batch: &[(Op, Option<Done>)]) -> Result<Outcomes, WriteError> {
        if let Some(broken) = &self.broken {
            return Err(broken.clone());
        }
        if batch.is_empty() {
            return Ok(Vec::new());
        }
        let ops: Vec<&Op> = batch.iter().map(|(op, _)| op).collect();
        self.look()?;
        let outcomes = self.engine.commit(&ops, self.engine.calendar.now());
        // What was deleted meanwhile has not been stored, whatever the engine says.
        let gone = self.engine.look().err().filter(|error| !error.may_pass());
        gone.map_or(outcomes, Err).inspect_err(|error| {
            if matches!(error, WriteError::Broken(_)) {
                self.broken = Some(error.clone());
            }
        })
    }

    /// Whether the files are where they were; told when that changes.
    fn look(&mut self) -> Result<(), WriteError> {
        let found = self.engine.look();
        match (&found, &self.away) {
            (Err(error), None) => tracing::error!(%error, "the store takes nothing"),
            (Ok(()), Some(_)) => tracing::info!("the store's files are back: it goes on"),
            (Ok(()), None) | (Err(_), Some(_)) => {}
        }
        self.away = found.as_ref().err().filter(|error| error.may_pass()).cloned();
        if let Err(broken @ WriteError::Broken(_)) = &found {
            self.broken = Some(broken.clone());
        }
        found
    }

    /// Somebody asks how things are while nothing is written.
    fn look_around(&mut self) {
        if self.broken.is_none() {
            // The status says it.
            let _ = self.look();
        }
        let before = self.shared.status.lock().failure.clone();
        self.report(before);
    }

    /// Why messages are refused after this batch, as far as is known. What was said before stands until a message was taken in
    /// or let go: a mark takes no room, and what changes nothing shows nothing.
    fn fullness(&self, batch: &[(Op, Option<Done>)], outcomes: &Outcomes) -> Option<WriteError> {
        let messages = || batch.iter().map(|(op, _)| op).zip(outcomes).filter(|(op, _)| !op.is_guest());
        let refused = messages().find_map(|(_, outcome)| outcome.as_ref().err()).cloned();
        let shows_room = messages().any(|(op, outcome)| !op.is_mark() && matches!(outcome, Ok(1..)));
        refused.or_else(|| if shows_room { None } else { self.shared.status.lock().failure.clone() })
    }

    /// Says how things are. A refusal for want of room stands until a message was taken in or let go without one.
    fn report(&self, full: Option<WriteError>) {
        let engine = &self.engine;
        let bytes = engine.used().ok();
        let mut status = self.shared.status.lock();
        status.bytes = bytes.unwrap_or(status.bytes);
        status.limit = engine.bounds.max_bytes;
        status.messages = engine.index.messages.len();
        status.receipts = engine.index.receipts.len();
        status.dead_letters = engine.index.letters.len();
        status.dead_bytes = engine.index.letter_bytes;
        status.dead_evicted = engine.evicted;
        status.commits = engine.commits;
        let full = full.filter(|error| matches!(error, WriteError::Full(_)));
        status.failure = self.broken.clone().or_else(|| self.away.clone()).or(full);
        status.inbox_bytes = engine.index.spans.bytes;
        status.inbox_failure = self.broken.clone().or_else(|| self.away.clone()).or_else(|| self.inbox_failure.clone());
    }

    fn close(mut self) {
        if self.broken.is_none() && self.look().is_err() {
            tracing::error!("what the store holds is not there after a restart, unless its files are put back");
        }
        let is_home = self.away.is_none();
        let Self { engine, kept, shared, broken, .. } = self;
        tell_all(kept, &WriteError::Closed);
        let sealed = mem::take(&mut shared.queue.lock().sealed);
        // What is broken is left as it is, for the next opening to look at; and beside what is away stand a stranger's files.
        if broken.is_none()
            && is_home
            && let Err(error) = engine.close(&sealed)
        {
            shared.status.lock().failure = Some(error);
        }
    }
}

/// However the thread ends, nobody waits for it afterwards.
struct End(Arc<Shared>);

impl Drop for End {
    fn drop(&mut self) {
        let left = {
            let mut queue = self.0.queue.lock();
            queue.is_over = true;
            mem::take(&mut queue.tasks)
        };
        for task in left {
            refuse(task, &WriteError::Closed);
        }
    }
}

fn answer(batch: Vec<(Op, Option<Done>)>, outcomes: Outcomes) {
    for ((_, done), outcome) in batch.into_iter().zip(outcomes) {
        if let Some(done) = done {
            done(outcome);
        }
    }
}

fn refuse(task: Task, error: &WriteError) {
    match task {
        Task::Write(_, Some(done)) => done(Err(error.clone())),
        Task::Write(_, None) => {}
        Task::Read(read) => read(None),
    }
}

fn tell_all(batch: Vec<(Op, Option<Done>)>, error: &WriteError) {
    for (op, done) in batch {
        refuse(Task::Write(op, done), error);
    }
}
