//! The attempts that all links of an endpoint may make (`reconnect.budget`), and how many are used. If a store is open, it keeps the count.
//!
//! What a reader would get wrong: no attempt waits for the disk. A change is written at once, but at most ten times a second. So after a kill
//! the count on disk may lack the attempts of the last 100 ms.

use std::{
    sync::Arc,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use parking_lot::Mutex;
use tokio::{
    sync::{Notify, oneshot},
    task::JoinHandle,
};

use super::{CommandError, runtime::EndpointRuntime, spool::Spool, view::BudgetView};
use crate::{
    clock::Calendar,
    store::{COMMON, Op, WriteError},
};
use wskeeper_core::{
    allowance::{Allowance, For, Limit, SharedAllowance, Standing},
    clock::{self, Clock as _},
    link::Verb,
    session::{Kept, Value},
};

/// Shortest time between two writes.
const PAUSE: Duration = Duration::from_millis(100);
/// The same after the store has refused a write.
const LONG_PAUSE: Duration = Duration::from_secs(1);

/// The allowance of an endpoint, behind a lock, for its links.
#[derive(Debug)]
pub(super) struct EndpointAllowance {
    endpoint: Arc<str>,
    spool: Arc<Spool>,
    calendar: Calendar,
    counted: Mutex<Counted>,
    /// There is something to write.
    news: Notify,
}

#[derive(Debug)]
struct Counted {
    allowance: Allowance,
    /// Nothing is written any more.
    is_over: bool,
}

/// An allowance, and the task that writes its count.
#[derive(Debug)]
pub(super) struct Counting {
    shared: Arc<EndpointAllowance>,
    writer: JoinHandle<()>,
}

impl Drop for Counting {
    fn drop(&mut self) {
        self.writer.abort();
    }
}

impl SharedAllowance for EndpointAllowance {
    fn take(&self, now: Instant, what: For) -> Result<(), Instant> {
        let taken = self.counted.lock().allowance.take(now, what);
        if taken.is_ok() {
            self.news.notify_one();
        }
        taken
    }

    fn until(&self, now: Instant, what: For) -> Option<Instant> {
        self.counted.lock().allowance.until(now, what)
    }
}

impl EndpointAllowance {
    /// Adds the attempts of an earlier run of the daemon.
    fn recall(&self, kept: &Kept) {
        let (at, wall) = (now(), self.calendar.now());
        let moment = |date: SystemTime| match date.duration_since(wall) {
            Ok(ahead) => at.later(ahead),
            Err(past) => at.earlier(past.duration()),
        };
        self.counted
            .lock()
            .allowance
            .restore(at, &slots(kept).map(|(end, count)| (moment(end), count)).collect::<Vec<_>>());
        self.news.notify_one();
    }

    /// Gives the count to the store. `None`: nothing is written any more.
    fn hand_over(&self) -> Option<oneshot::Receiver<Result<u64, WriteError>>> {
        let mut counted = self.counted.lock();
        if counted.is_over {
            return None;
        }
        let at = now();
        let used = counted.allowance.used(at);
        let kept = Box::new(kept(used.iter().map(|(end, count)| (self.calendar.date(*end, at), *count))));
        let (tell, told) = oneshot::channel();
        // Under the lock, so that a later removal reaches the store after this. The receiver may be gone.
        let op = Op::Remember { of: (Arc::clone(&self.endpoint), COMMON), kept };
        self.spool.submit(op, Box::new(move |outcome| drop(tell.send(outcome))));
        Some(told)
    }

    /// Writes each change of the count.
    async fn write(self: Arc<Self>) {
        let mut is_refused = false;
        loop {
            self.news.notified().await;
            if !self.spool.is_open() {
                // `recall_attempts` wakes this when a store opens.
                continue;
            }
            let Some(told) = self.hand_over() else { return };
            let endpoint = &self.endpoint;
            match told.await.unwrap_or(Err(WriteError::Closed)) {
                Ok(_) => {
                    if std::mem::take(&mut is_refused) {
                        tracing::info!(%endpoint, "the attempts of reconnect.budget are written to disk again");
                    }
                    tokio::time::sleep(PAUSE).await;
                }
                Err(error) => {
                    if !std::mem::replace(&mut is_refused, true) {
                        tracing::warn!(%endpoint, %error, "the attempts of reconnect.budget are counted in memory only: after a restart some of them are forgotten");
                    }
                    self.news.notify_one();
                    tokio::time::sleep(LONG_PAUSE).await;
                }
            }
        }
    }
}

impl EndpointRuntime {
    /// The allowance that its links take attempts from, if there is a budget.
    pub(super) fn allowance(&self) -> Option<Arc<dyn SharedAllowance>> {
        self.shared_allowance().map(|shared| shared as Arc<dyn SharedAllowance>)
    }

    /// Attempts that are used, and when the next may begin. `None` without a budget.
    pub(super) fn attempts(&self) -> Option<BudgetView> {
        let (shared, at) = (self.shared_allowance()?, now());
        let Standing { limit: Limit { attempts, per }, used, until } = shared.counted.lock().allowance.standing(at);
        Some(BudgetView {
            attempts,
            per,
            used,
            is_kept: shared.spool.is_open(),
            until: until.map(|until| shared.calendar.date(until, at)),
        })
    }

    /// Whether the budget lets an operator have a link dial.
    pub(super) fn may_dial(&self, verb: &Verb) -> Result<(), CommandError> {
        let what = match verb {
            Verb::Reconnect => For::Down,
            Verb::Rotate => For::Spare,
            Verb::Close(_) | Verb::Pause | Verb::Resume => return Ok(()),
        };
        let (Some(shared), at) = (self.shared_allowance(), now()) else { return Ok(()) };
        match (shared.until(at, what), self.attempts()) {
            (Some(until), Some(budget)) => Err(CommandError::Spent {
                budget: BudgetView { until: Some(shared.calendar.date(until, at)), ..budget },
                is_spare: what == For::Spare,
            }),
            (None, _) | (_, None) => Ok(()),
        }
    }

    /// Changes the budget. Used attempts keep counting; without a budget they are forgotten.
    pub(super) fn follow_budget(&self, limit: Option<Limit>) {
        let mut counting = self.counting.lock();
        match (limit, counting.as_deref()) {
            (None, None) => {}
            (None, Some(over)) => {
                over.shared.counted.lock().is_over = true;
                *counting = None;
                self.sinks.spool.forget_variables(&self.name, Some(COMMON));
            }
            (Some(limit), Some(Counting { shared, .. })) => {
                shared.counted.lock().allowance.set_limit(now(), limit);
                shared.news.notify_one();
            }
            (Some(limit), None) => {
                let shared = Arc::new(EndpointAllowance {
                    endpoint: Arc::clone(&self.name),
                    spool: Arc::clone(&self.sinks.spool),
                    calendar: self.sinks.calendar.clone(),
                    counted: Mutex::new(Counted { allowance: Allowance::new(limit, now()), is_over: false }),
                    news: Notify::new(),
                });
                let writer = tokio::spawn(Arc::clone(&shared).write());
                *counting = Some(Box::new(Counting { shared, writer }));
            }
        }
        drop(counting);
        self.recall_attempts();
    }

    /// Adds the count of an earlier run of the daemon, if the store has one.
    pub(super) fn recall_attempts(&self) {
        let Some(shared) = self.shared_allowance() else { return };
        if let Some(kept) = self.sinks.spool.take_variables(&self.name, COMMON) {
            shared.recall(&kept);
        } else {
            // A store that has been opened meanwhile does not have the count.
            shared.news.notify_one();
        }
    }

    /// Gives the last count to the store, before the store closes.
    pub(super) fn finish_budget(&self) {
        if let Some(shared) = self.shared_allowance() {
            drop(shared.hand_over());
            shared.counted.lock().is_over = true;
        }
    }

    fn shared_allowance(&self) -> Option<Arc<EndpointAllowance>> {
        self.counting.lock().as_ref().map(|counting| Arc::clone(&counting.shared))
    }
}

/// The form in the store: the number of attempts by the end of their slot, in milliseconds since 1970.
fn kept(used: impl Iterator<Item = (SystemTime, u32)>) -> Kept {
    let millis = |end: SystemTime| end.duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
    used.map(|(end, count)| (millis(end).to_string().into(), Value::from(count))).collect()
}

fn slots(kept: &Kept) -> impl Iterator<Item = (SystemTime, u32)> {
    kept.iter().filter_map(|(end, count)| {
        let count = count.as_u64().and_then(|count| u32::try_from(count).ok())?;
        Some((clock::since_epoch(Duration::from_millis(end.parse().ok()?)), count))
    })
}

fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}
