//! What the links of an endpoint may make of attempts together (`reconnect.budget`), and what of it is used, which a store keeps where one is open.
//!
//! What a reader would get wrong: no attempt waits for the disk. What is used is written at once, and then ten times a second at most; so
//! after a kill the disk may be so much behind.

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

/// The least time between two writes.
const PAUSE: Duration = Duration::from_millis(100);
/// The same once the store has refused one.
const LONG_PAUSE: Duration = Duration::from_secs(1);

/// Behind the lock that the core has none of.
#[derive(Debug)]
pub(super) struct EndpointAllowance {
    endpoint: Arc<str>,
    spool: Arc<Spool>,
    calendar: Calendar,
    counted: Mutex<Counted>,
    /// More has been used.
    news: Notify,
}

#[derive(Debug)]
struct Counted {
    allowance: Allowance,
    /// Nothing is written any more.
    is_over: bool,
}

/// Attempts that are counted, and who writes down how many.
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
    /// Goes on with what an earlier life has used.
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

    /// Hands over what is used; `None`: nothing is written any more.
    fn hand_over(&self) -> Option<oneshot::Receiver<Result<u64, WriteError>>> {
        let mut counted = self.counted.lock();
        if counted.is_over {
            return None;
        }
        let at = now();
        let used = counted.allowance.used(at);
        let kept = Box::new(kept(used.iter().map(|(end, count)| (self.calendar.date(*end, at), *count))));
        let (tell, told) = oneshot::channel();
        // Under the lock, so that what is forgotten is forgotten after it. Who asked may have gone.
        let op = Op::Remember { of: (Arc::clone(&self.endpoint), COMMON), kept };
        self.spool.submit(op, Box::new(move |outcome| drop(tell.send(outcome))));
        Some(told)
    }

    /// Writes what is used, as long as it is counted.
    async fn write(self: Arc<Self>) {
        let mut is_refused = false;
        loop {
            self.news.notified().await;
            if !self.spool.is_open() {
                // It is told once there is one.
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
    /// What attempts of its links take from, where they are counted.
    pub(super) fn allowance(&self) -> Option<Arc<dyn SharedAllowance>> {
        self.shared_allowance().map(|shared| shared as Arc<dyn SharedAllowance>)
    }

    /// What is used, and until when no attempt may begin.
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

    /// Whether a link may dial because an operator says so.
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

    /// Follows the endpoint's budget: what has been used counts on. Without one it is forgotten.
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

    /// Counts what an earlier life of the daemon has left, where the store has it.
    pub(super) fn recall_attempts(&self) {
        let Some(shared) = self.shared_allowance() else { return };
        if let Some(kept) = self.sinks.spool.take_variables(&self.name, COMMON) {
            shared.recall(&kept);
        } else {
            // A store that has been opened meanwhile has none of it.
            shared.news.notify_one();
        }
    }

    /// The daemon ends in order: hands over what is used, before the store is closed.
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

/// As it stands in the store: attempts by the dates on which their slots end, in milliseconds since 1970.
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
