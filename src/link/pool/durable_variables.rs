//! Variables of sessions that outlive the daemon (`session.durable`): noted by each link's task, written to disk by one task an endpoint.
//!
//! A link notes what its session keeps whenever it shows itself, which costs no disk; what has changed since is written together, at once
//! and then once a second at most, and when the daemon stops. What a reader would get wrong: so after a kill the disk may be a second
//! behind. It is never ahead, and a service whose sessions can be resumed sends again what came since.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use futures_util::future::join_all;
use parking_lot::Mutex;
use tokio::{
    sync::{Notify, oneshot},
    task::JoinHandle,
};

use super::spool::Spool;
use crate::{
    observer::EndpointObserver,
    store::{Op, WriteError},
};
use wskeeper_core::session::Kept;

/// The least time between two writes of an endpoint's variables.
const PAUSE: Duration = Duration::from_secs(1);

/// The durable variables of an endpoint's links.
#[derive(Debug, Default)]
pub(super) struct DurableVariables {
    /// Whether there are any: links that have none look no further.
    is_on: AtomicBool,
    writer: Mutex<Option<Writer>>,
}

/// Who is at work for an endpoint that has some.
#[derive(Debug)]
struct Writer {
    notes: Arc<Notes>,
    task: JoinHandle<()>,
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

#[derive(Debug)]
struct Notes {
    endpoint: Arc<str>,
    spool: Arc<Spool>,
    noted: Mutex<Noted>,
    /// Something is not on disk.
    news: Notify,
}

#[derive(Debug, Default)]
struct Noted {
    names: Box<[Box<str>]>,
    links: BTreeMap<u32, Note>,
    /// Nothing is written any more.
    is_over: bool,
}

#[derive(Debug)]
struct Note {
    kept: Kept,
    /// It has been handed to the store.
    is_stored: bool,
}

impl DurableVariables {
    /// Follows the names that the configuration has; without any, what was written is forgotten.
    pub(super) fn follow(
        &self,
        names: Box<[Box<str>]>,
        endpoint: &Arc<str>,
        spool: &Arc<Spool>,
        observer: &Arc<dyn EndpointObserver>,
    ) {
        let mut writer = self.writer.lock();
        self.is_on.store(!names.is_empty(), Ordering::Relaxed);
        match &*writer {
            _ if names.is_empty() => {
                if let Some(writer) = writer.take() {
                    writer.notes.end();
                }
            }
            Some(writer) => writer.notes.rename(names),
            None => {
                let notes = Arc::new(Notes {
                    endpoint: Arc::clone(endpoint),
                    spool: Arc::clone(spool),
                    noted: Mutex::new(Noted { names, ..Noted::default() }),
                    news: Notify::new(),
                });
                let task = tokio::spawn(Arc::clone(&notes).write(Arc::clone(observer)));
                *writer = Some(Writer { notes, task });
            }
        }
    }

    /// What a link that is about to start goes on with: what its last task has noted, else what an earlier life of the daemon has left.
    pub(super) fn recall(&self, link: u32) -> Option<Kept> {
        self.notes()?.recall(link)
    }

    /// A link's session keeps this now.
    pub(super) fn note(&self, link: u32, kept: Option<&Kept>) {
        if self.is_on.load(Ordering::Relaxed)
            && let Some(notes) = self.notes()
        {
            notes.note(link, kept);
        }
    }

    /// A link is gone.
    pub(super) fn forget(&self, link: u32) {
        if let Some(notes) = self.notes() {
            let mut noted = notes.noted.lock();
            noted.links.remove(&link);
            notes.spool.forget_variables(&notes.endpoint, Some(link));
        }
    }

    /// The daemon ends in order: hands over what is not on disk, before the store is closed.
    pub(super) fn finish(&self) {
        if let Some(notes) = self.notes() {
            drop(notes.hand_over());
            notes.noted.lock().is_over = true;
        }
    }

    fn notes(&self) -> Option<Arc<Notes>> {
        self.writer.lock().as_ref().map(|writer| Arc::clone(&writer.notes))
    }
}

impl Notes {
    fn recall(&self, link: u32) -> Option<Kept> {
        let mut noted = self.noted.lock();
        if let Some(note) = noted.links.get(&link) {
            return Some(note.kept.clone());
        }
        let left = self.spool.take_variables(&self.endpoint, link)?;
        let kept = left.only(&noted.names);
        let is_stored = kept == left;
        noted.links.insert(link, Note { kept: kept.clone(), is_stored });
        if !is_stored {
            self.news.notify_one();
        }
        Some(kept)
    }

    fn note(&self, link: u32, kept: Option<&Kept>) {
        let mut noted = self.noted.lock();
        let Noted { names, links, is_over: _ } = &mut *noted;
        let note = links.entry(link).or_insert(Note { kept: Kept::default(), is_stored: true });
        if kept.map_or(note.kept.is_empty(), |kept| kept.has_only(names, &note.kept)) {
            return;
        }
        note.kept = kept.map(|kept| kept.only(names)).unwrap_or_default();
        if std::mem::replace(&mut note.is_stored, false) {
            self.news.notify_one();
        }
    }

    /// Others are durable from now on.
    fn rename(&self, names: Box<[Box<str>]>) {
        let mut noted = self.noted.lock();
        for note in noted.links.values_mut() {
            let kept = note.kept.only(&names);
            if kept != note.kept {
                (note.kept, note.is_stored) = (kept, false);
            }
        }
        noted.names = names;
        self.news.notify_one();
    }

    /// None are. The store learns of it behind all that was handed to it.
    fn end(&self) {
        let mut noted = self.noted.lock();
        (noted.is_over, noted.links) = (true, BTreeMap::new());
        self.spool.forget_variables(&self.endpoint, None);
    }

    /// Hands over all that has changed: which links', and how the disk takes it.
    fn hand_over(&self) -> Vec<(u32, oneshot::Receiver<Result<u64, WriteError>>)> {
        let mut noted = self.noted.lock();
        if noted.is_over {
            return Vec::new();
        }
        let changed = noted.links.iter_mut().filter(|(_, note)| !note.is_stored);
        // The store has them before another can be handed over, so the newest is the last.
        changed
            .map(|(link, note)| {
                note.is_stored = true;
                let (tell, told) = oneshot::channel();
                let op = Op::Remember { of: (Arc::clone(&self.endpoint), *link), kept: Box::new(note.kept.clone()) };
                // Who asked may have gone.
                self.spool.submit(op, Box::new(move |outcome| drop(tell.send(outcome))));
                (*link, told)
            })
            .collect()
    }

    /// Writes what has changed, as long as there are durable variables.
    async fn write(self: Arc<Self>, observer: Arc<dyn EndpointObserver>) {
        let mut is_refused = false;
        loop {
            self.news.notified().await;
            while let Err(error) = self.write_once().await {
                observer.variables_refused();
                if !std::mem::replace(&mut is_refused, true) {
                    let endpoint = &self.endpoint;
                    tracing::warn!(%endpoint, %error, "durable variables of sessions are kept in memory only: after a restart sessions begin with older ones, or anew");
                }
                tokio::time::sleep(PAUSE).await;
            }
            if std::mem::take(&mut is_refused) {
                tracing::info!(endpoint = %self.endpoint, "durable variables of sessions are written to disk again");
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    async fn write_once(&self) -> Result<(), WriteError> {
        let handed = self.hand_over();
        let outcomes = join_all(handed.into_iter().map(|(link, told)| async move { (link, told.await) })).await;
        let mut result = Ok(());
        for (link, outcome) in outcomes {
            if let Err(error) = outcome.unwrap_or(Err(WriteError::Closed)) {
                // The newest is written next time, whichever that is then.
                self.noted.lock().links.get_mut(&link).into_iter().for_each(|note| note.is_stored = false);
                result = Err(error);
            }
        }
        result
    }
}

#[cfg(test)]
mod tests;
