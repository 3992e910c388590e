//! The task that writes a durable inbox to disk.
//!
//! The disk is one more reader of the inbox. It has a cursor and no queue: links publish without knowing of it, and while it is
//! slow, full or broken the ring moves on as ever. What the ring has dropped is not in the retained window any more, so
//! it need not be written. What a reader would get wrong: nothing here promises that an entry which a consumer has seen is on
//! disk. It promises that the consumer is told of a gap where it may not be.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::task::JoinHandle;

use super::spool::Spool;
use crate::{
    hub::{Hub, Stretch},
    observer::EndpointObserver,
    store::{Op, Segment},
};

/// So long entries gather before they are written together. A kill may cost a consumer's resumption this much and a sync.
const LINGER: Duration = Duration::from_millis(50);
/// How long until a disk that refused is tried again.
const RETRY: Duration = Duration::from_secs(1);
/// Bytes of a segment, about.
const SEGMENT: usize = 256 << 10;
/// The task that writes an inbox to disk.
#[derive(Debug)]
pub(super) struct InboxWriter {
    /// Up to here all is on disk, or out of the window.
    stored: Arc<AtomicU64>,
    task: JoinHandle<Option<u64>>,
}

impl InboxWriter {
    /// Writes what stands in the inbox after `stored`, and what comes.
    pub(super) fn start(
        endpoint: Arc<str>,
        inbox: Arc<Hub>,
        spool: Arc<Spool>,
        observer: Arc<dyn EndpointObserver>,
        stored: u64,
    ) -> Self {
        let stored = Arc::new(AtomicU64::new(stored));
        let work = Work { endpoint, inbox, spool, observer, stored: Arc::clone(&stored), is_refused: false };
        Self { stored, task: tokio::spawn(work.run()) }
    }

    /// Entries that are kept and not on disk yet.
    pub(super) fn behind(&self, inbox: &Hub) -> usize {
        inbox.count_after(self.stored.load(Ordering::Relaxed))
    }

    /// Waits until all of a closed inbox is on disk: the cursor of its last entry. `None`: the disk did not take it.
    pub(super) async fn finish(&mut self) -> Option<u64> {
        (&mut self.task).await.ok().flatten()
    }

    /// Ends it as it stands.
    pub(super) async fn stop(mut self) {
        self.task.abort();
        // Aborted or done: it is over.
        let _ = (&mut self.task).await;
    }
}

impl Drop for InboxWriter {
    fn drop(&mut self) {
        self.task.abort();
    }
}

struct Work {
    endpoint: Arc<str>,
    inbox: Arc<Hub>,
    spool: Arc<Spool>,
    observer: Arc<dyn EndpointObserver>,
    stored: Arc<AtomicU64>,
    is_refused: bool,
}

impl Work {
    async fn run(mut self) -> Option<u64> {
        loop {
            let is_closed = self.inbox.is_closed();
            match self.write_all().await {
                true if is_closed => return Some(self.inbox.cursor()),
                false if is_closed => return None,
                true => {
                    self.inbox.published().await;
                    if !self.inbox.is_closed() {
                        tokio::time::sleep(LINGER).await;
                    }
                }
                false => tokio::time::sleep(RETRY).await,
            }
        }
    }

    /// Writes until nothing is left; `false`: the store refused.
    async fn write_all(&mut self) -> bool {
        let mut stored = self.stored.load(Ordering::Relaxed);
        while let Some(unstored) = self.inbox.unstored(stored, SEGMENT) {
            stored = unstored.entries.last().map_or(stored, Stretch::last);
            let segment = Segment {
                endpoint: Arc::clone(&self.endpoint),
                after: unstored.after,
                entries: unstored.entries,
                oldest: unstored.oldest,
            };
            match self.spool.carry_out(Op::Arrived(Box::new(segment))).await {
                Ok(_) => {
                    self.stored.store(stored, Ordering::Relaxed);
                    if std::mem::take(&mut self.is_refused) {
                        tracing::info!(endpoint = %self.endpoint, "the inbox is written to disk again");
                    }
                }
                Err(error) => {
                    self.observer.inbox_refused();
                    if !std::mem::replace(&mut self.is_refused, true) {
                        let endpoint = &self.endpoint;
                        tracing::warn!(%endpoint, %error, "the inbox is kept in memory only: after a restart its consumers have a gap");
                    }
                    return false;
                }
            }
        }
        true
    }
}
