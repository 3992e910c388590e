//! How many connections there are, and what happens to one too many.
//!
//! The one thing a reader would get wrong: a full daemon still answers. What comes on top of `api.max_connections` gets a
//! place in a small reserve for one quick request, where only health and metrics are served; and a reserve that is full
//! gives up the one who has said nothing for longest. So idle consumers, however many, never starve a probe, and neither does who
//! connects thousands of times a second: a probe has said what it wants by the time it is let in.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    task::AbortHandle,
    time::Instant,
};

use super::busy::Visits;
use crate::observe::Families;

/// Places beyond the limit.
const RESERVE: usize = 128;
/// The same where they take of the files that are kept back.
const SPARE: usize = 32;
/// That all places are taken is logged at most this often.
const QUIET: Duration = Duration::from_mins(1);

/// A connection's place, held for its whole life: also by the task that an upgraded one goes on in.
pub(super) type Place = Arc<OwnedSemaphorePermit>;

/// The places of one listener.
#[derive(Debug)]
pub(super) struct Places {
    free: Arc<Semaphore>,
    limit: u32,
    families: Arc<Families>,
    reserve: VecDeque<Extra>,
    warned: Option<Instant>,
}

/// A connection in the reserve.
#[derive(Debug)]
struct Extra {
    task: AbortHandle,
    visits: Arc<Visits>,
    /// Something had arrived when it was accepted.
    speaks: bool,
}

/// What a connection was accepted with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Room {
    /// A file that was free.
    Free,
    /// One that was kept back.
    Spare,
}

impl Places {
    /// `limit` free places.
    pub(super) fn new(limit: usize, families: Arc<Families>) -> Self {
        let limit = u32::try_from(limit).unwrap_or(u32::MAX);
        families.api_connections(0, limit.into());
        let free = Arc::new(Semaphore::new(limit as usize));
        Self { free, limit, families, reserve: VecDeque::new(), warned: None }
    }

    /// A place; `None`: all are taken.
    pub(super) fn take(&mut self) -> Option<Place> {
        let Ok(place) = Arc::clone(&self.free).try_acquire_owned() else {
            if self.warned.is_none_or(|at| at.elapsed() >= QUIET) {
                self.warned = Some(Instant::now());
                tracing::warn!(
                    limit = self.limit,
                    "api.max_connections is reached: further consumers get 503 until one goes"
                );
            }
            return self.refuse();
        };
        Some(Arc::new(place))
    }

    /// No place, whatever is free.
    pub(super) fn refuse(&self) -> Option<Place> {
        self.families.api_refused();
        None
    }

    /// Takes a connection into the reserve.
    pub(super) fn admit(&mut self, task: AbortHandle, visits: Arc<Visits>, speaks: bool, room: Room) {
        self.reserve.retain(|extra| !extra.task.is_finished());
        let most = if room == Room::Free { RESERVE } else { SPARE };
        while self.reserve.len() >= most {
            let silent = self.reserve.iter().position(|extra| !extra.speaks && !extra.visits.is_busy());
            if let Some(extra) = self.reserve.remove(silent.unwrap_or(0)) {
                extra.task.abort();
            }
        }
        self.reserve.push_back(Extra { task, visits, speaks });
    }

    /// Counts the places taken, for whoever asks.
    pub(super) fn counter(&self) -> Counter {
        Counter { free: Arc::clone(&self.free), limit: self.limit, families: Arc::clone(&self.families) }
    }

    /// Waits until every place is free again.
    pub(super) async fn emptied(&self) {
        // The semaphore is never closed.
        let _ = self.free.acquire_many(self.limit).await;
    }
}

/// Says how many places are taken.
#[derive(Debug)]
pub(super) struct Counter {
    free: Arc<Semaphore>,
    limit: u32,
    families: Arc<Families>,
}

impl Counter {
    /// Brings the metric up to date.
    pub(super) fn observe(&self) {
        let taken = u64::from(self.limit).saturating_sub(self.free.available_permits() as u64);
        self.families.api_connections(taken, self.limit.into());
    }
}
