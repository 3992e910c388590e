//! The pool: every link of the configuration, and the handle through which everything else uses them.
//!
//! A [`Pool`] is a cheap handle to clone. Reading (`links`, `receipt`) never waits for a link; asking (`send`, `command`)
//! goes to the link's task as an order and comes back with its answer.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, RwLock,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use tokio::{sync::oneshot, task::AbortHandle, time::Instant};

use self::{
    dead::DeadLetters,
    gatekeeper::{Gatekeeper, PoolGate},
    pod::Pod,
    pulse::Pulse,
    receipts::Receipts,
    slot::Slot,
    spool::Spool,
};
use crate::{
    config::{Config, Loaded, Plan},
    core::{
        budget::Budget,
        chaos::Fault,
        inbox,
        link::Verb,
        message::MessageId,
        outbox::Refusal,
        phase::Phase,
        receipt::{self, Receipt},
    },
    hub::{self, Hub, Inboxes},
    link::{Looker, Order},
    observe::{self, Families, Spans},
};

pub use crate::link::Stop;
pub use asked::{CommandError, Draining, Left, Refused, Send};
pub use dead::DeadLetter;
pub use operator::OrphanError;
pub use pulse::{Examiner, Wedged};
pub use spool::{Orphans, StoreView};
pub use view::{
    AttemptEnd, AttemptView, EndpointView, Explained, HistoryEntry, LinkView, Page, StandingView, Totals, Traffic,
};

mod asked;
mod dead;
mod gatekeeper;
mod gauges;
mod keeper;
mod operator;
mod pod;
mod pulse;
mod receipts;
mod recorder;
mod send;
mod shown;
mod slot;
mod spool;
mod supervisor;
#[cfg(test)]
mod tests;
mod traffic;
mod view;
#[cfg(any(test, debug_assertions))]
mod wedge;

/// A handle to the pool.
#[derive(Debug, Clone)]
pub struct Pool {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    config: RwLock<Arc<Config>>,
    pods: Mutex<BTreeMap<Arc<str>, Arc<Pod>>>,
    /// One reload at a time.
    applying: tokio::sync::Mutex<()>,
    /// Steps that reloads have taken.
    steps: AtomicU64,
    /// Tasks that serve all links, by what they do.
    servants: [(&'static str, AbortHandle); 2],
    /// The last look at the whole.
    pulse: Mutex<Option<Pulse>>,
    families: Arc<Families>,
    budget: Arc<Budget>,
    receipts: Arc<Receipts>,
    spool: Arc<Spool>,
    dead: Arc<DeadLetters>,
    gate: Arc<PoolGate>,
    /// The pool's own log: every endpoint's events but messages.
    log: Arc<Hub>,
    first_cursor: u64,
    /// Where spans go, if anywhere.
    spans: Option<Arc<Spans>>,
    seed: AtomicU64,
    draining: AtomicBool,
}

/// Events that the pool's own log keeps.
const LOG: inbox::Policy = inbox::Policy { max_messages: 0, max_bytes: 0, max_message: 0, durable: false };

impl Pool {
    /// A pool that holds the links of `config`. `seed` fixes all its chance. To be called within a tokio runtime.
    pub async fn start(config: Arc<Config>, families: Arc<Families>, seed: u64) -> Self {
        Self::start_traced(config, families, seed, None).await
    }

    /// As [`Pool::start`], and tells of connections as spans.
    pub async fn start_traced(
        config: Arc<Config>,
        families: Arc<Families>,
        seed: u64,
        spans: Option<Arc<Spans>>,
    ) -> Self {
        let budget = Budget::with_holders(config.limits.memory, Box::<Inboxes>::default());
        let first_cursor = first_cursor(SystemTime::now());
        let gate = Gatekeeper::new(config.admission.clone(), Arc::clone(&families));
        let receipts = Receipts::new(config.limits.receipts);
        let servants = [
            ("lets links in", tokio::spawn(Arc::clone(&gate).run()).abort_handle()),
            ("forgets receipts", tokio::spawn(Arc::clone(&receipts).run()).abort_handle()),
        ];
        let empty = Config { endpoints: BTreeMap::new(), ..Config::clone(&config) };
        let inner = Arc::new(Inner {
            config: RwLock::new(Arc::new(empty)),
            pods: Mutex::new(BTreeMap::new()),
            applying: tokio::sync::Mutex::new(()),
            steps: AtomicU64::new(0),
            servants,
            pulse: Mutex::default(),
            spool: Spool::new(Arc::clone(&receipts)),
            dead: Arc::default(),
            receipts,
            log: Hub::new(LOG, 1, &budget, first_cursor),
            families,
            budget,
            gate: Arc::new(PoolGate(gate)),
            first_cursor,
            spans,
            seed: AtomicU64::new(seed),
            draining: AtomicBool::new(false),
        });
        inner.gate.0.serve(Arc::downgrade(&inner));
        // Nothing can drain a pool that nobody has yet.
        let _ = inner.apply(Loaded { config: Config::clone(&config), warnings: Vec::new() }).await;
        Self { inner }
    }

    /// What everything that waits in the process has a share of.
    pub fn budget(&self) -> &Arc<Budget> {
        &self.inner.budget
    }

    /// The longest message that an endpoint takes; `None`: there is no such endpoint.
    pub fn longest(&self, endpoint: &str) -> Option<usize> {
        Some(self.inner.pod(endpoint)?.config().link.outbox.max_message)
    }

    /// Counts a message that was refused before it was read, for it is longer than that; says so.
    pub fn too_long(&self, endpoint: &str, bytes: usize) -> Refused {
        match self.inner.pod(endpoint) {
            Some(pod) => {
                pod.metrics.refused(observe::Refused::Outbox(Refusal::TooBig));
                Refused::TooBig { bytes, limit: pod.config().link.outbox.max_message }
            }
            None => Refused::NoEndpoint(endpoint.to_owned()),
        }
    }

    /// Every endpoint, by name.
    pub fn endpoints(&self) -> Vec<EndpointView> {
        self.inner.pods().values().map(|pod| pod.view()).collect()
    }

    /// Each endpoint's sums over its links.
    pub fn totals(&self) -> Vec<Totals> {
        self.inner.pods().values().map(|pod| pod.totals()).collect()
    }

    /// One endpoint.
    pub fn endpoint(&self, name: &str) -> Option<EndpointView> {
        Some(self.inner.pod(name)?.view())
    }

    /// Links in order of endpoint and index, those after `after`, at most `limit`, of the endpoints `wanted`.
    pub fn links(
        &self,
        wanted: &dyn Fn(&str) -> bool,
        phase: Option<Phase>,
        after: Option<(&str, u32)>,
        limit: usize,
    ) -> Page<LinkView> {
        let pods: Vec<_> = self.inner.pods().values().cloned().collect();
        let mut found = pods
            .iter()
            .filter(|pod| wanted(&pod.name))
            .flat_map(|pod| pod.slots())
            .filter(|slot| after.is_none_or(|after| (&*slot.id.endpoint, slot.id.index) > after))
            .map(|slot| slot.view())
            .filter(|view| phase.is_none_or(|phase| view.phase == phase));
        let items = found.by_ref().take(limit).collect();
        Page { items, more: found.next().is_some() }
    }

    /// One link.
    pub fn link(&self, endpoint: &str, index: u32) -> Option<LinkView> {
        Some(self.inner.slot(endpoint, index)?.view())
    }

    /// The flight recorder of a link, oldest first.
    pub fn history(&self, endpoint: &str, index: u32) -> Option<Vec<HistoryEntry>> {
        Some(self.inner.slot(endpoint, index)?.history())
    }

    /// Why a link is where it is.
    pub fn explain(&self, endpoint: &str, index: u32) -> Option<Explained> {
        let pod = self.inner.pod(endpoint)?;
        let slot = pod.slot(index)?;
        let standing = self.inner.gate.0.standing(&slot.id);
        Some(slot.explain(pod.config(), standing))
    }

    /// Hands a message to a link's outbox. `Ok` means accepted (or, with an idempotency key, accepted before).
    pub async fn send(&self, send: Send) -> Result<Receipt, Refused> {
        self.inner.send(send).await
    }

    /// Sends several messages in order, at the cost of few questions, and tells what became of `each`, in order. Where `stop`
    /// says so, none behind the one that it names is tried, and that one is told of last.
    pub async fn send_all(&self, sends: Vec<Send>, stop: Stop, each: impl FnMut(Result<Receipt, Refused>)) {
        self.inner.send_all(sends, stop, each).await;
    }

    /// A receipt, while it is kept.
    pub fn receipt(&self, id: MessageId) -> Option<Receipt> {
        self.inner.receipts.get(id)
    }

    /// Waits until the message has reached `wanted` or can no longer, at most `patience`; answers with the receipt as it is
    /// then.
    pub async fn settle(&self, id: MessageId, wanted: receipt::State, patience: Duration) -> Option<Receipt> {
        self.inner.receipts.settle(id, wanted, patience).await
    }

    /// Asks a link to do something; answers once the link has taken it.
    pub async fn command(&self, endpoint: &str, index: u32, verb: Verb) -> Result<LinkView, CommandError> {
        let slot = self.inner.commanded(endpoint, index)?;
        let phase = slot.view().phase;
        if verb == Verb::Rotate && matches!(phase, Phase::Waiting | Phase::Paused | Phase::Closing) {
            // Its next connection is a new one anyway.
            return Err(CommandError::NoConnection { link: format!("{endpoint}/{index}"), phase });
        }
        let (reply, taken) = oneshot::channel();
        slot.orders.send(Box::new(Order::Verb(verb, reply))).await.map_err(|_| CommandError::Draining)?;
        taken.await.map_err(|_| CommandError::Draining)?;
        Ok(slot.view())
    }

    /// Puts a fault under a link's connection; answers once it is there.
    pub async fn inject(&self, endpoint: &str, index: u32, fault: Fault) -> Result<LinkView, CommandError> {
        let slot = self.inner.commanded(endpoint, index)?;
        let (reply, taken) = oneshot::channel();
        slot.orders.send(Box::new(Order::Inject(fault, reply))).await.map_err(|_| CommandError::Draining)?;
        let view = match taken.await {
            Ok(true) => return Ok(slot.view()),
            Ok(false) => slot.view(),
            Err(_) => return Err(CommandError::Draining),
        };
        Err(CommandError::NoConnection { link: format!("{endpoint}/{index}"), phase: view.phase })
    }

    /// Reads an endpoint's inbox.
    pub fn subscribe(&self, endpoint: &str, from: hub::From) -> Option<hub::Reader> {
        Some(self.inner.pod(endpoint)?.sinks.inbox.subscribe(from))
    }

    /// Looks at an endpoint's frames as they go by.
    pub fn look(&self, endpoint: &str, payloads: bool) -> Option<Looker> {
        Some(self.inner.pod(endpoint)?.sinks.tap.look(payloads))
    }

    /// Reads the pool's own log: all events but messages.
    pub fn subscribe_all(&self, from: hub::From) -> hub::Reader {
        self.inner.log.subscribe(from)
    }

    /// Counts that a consumer of this endpoint was told of a gap.
    pub fn count_gap(&self, endpoint: &str, missed: Option<u64>) {
        if let Some(pod) = self.inner.pod(endpoint) {
            pod.metrics.gap(missed);
        }
    }

    /// What following a new configuration would do.
    pub fn plan(&self, new: Loaded) -> Plan {
        self.inner.plan(new)
    }

    /// Follows a new configuration, and answers with the plan that it carried out: untouched links keep their connections. To be
    /// run to its end; half a plan leaves links that no configuration names.
    pub async fn apply(&self, new: Loaded) -> Result<Plan, Draining> {
        self.inner.apply(new).await
    }

    /// The configuration in force.
    pub fn config(&self) -> Arc<Config> {
        self.inner.config()
    }

    /// Whether the daemon is stopping.
    pub fn is_draining(&self) -> bool {
        self.inner.is_draining()
    }

    /// Takes no new messages from now on.
    pub fn drain(&self) {
        self.inner.draining.store(true, Ordering::SeqCst);
    }

    /// Flushes what can be flushed, closes every link with 1001, and ends by `deadline`. Answers with the messages left
    /// unsent, by endpoint.
    pub async fn shut_down(&self, deadline: Instant) -> Vec<Left> {
        self.inner.shut_down(deadline).await
    }
}

impl Inner {
    fn config(&self) -> Arc<Config> {
        Arc::clone(&self.config.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn pods(&self) -> MutexGuard<'_, BTreeMap<Arc<str>, Arc<Pod>>> {
        self.pods.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn pod(&self, name: &str) -> Option<Arc<Pod>> {
        self.pods().get(name).cloned()
    }

    fn slot(&self, endpoint: &str, index: u32) -> Option<Arc<Slot>> {
        self.pod(endpoint)?.slot(index)
    }

    fn commanded(&self, endpoint: &str, index: u32) -> Result<Arc<Slot>, CommandError> {
        self.slot(endpoint, index).ok_or_else(|| {
            // At the end of a stop there are no links left.
            if self.is_draining() {
                CommandError::Draining
            } else {
                CommandError::NoLink(format!("{endpoint}/{index}"))
            }
        })
    }

    fn is_draining(&self) -> bool {
        self.draining.load(Ordering::SeqCst)
    }

    /// The first cursor of an inbox that begins now: above those of one that had the endpoint's name before.
    fn next_cursor(&self) -> u64 {
        first_cursor(SystemTime::now()).max(self.first_cursor)
    }

    fn gate(&self) -> Arc<PoolGate> {
        Arc::clone(&self.gate)
    }
}

/// Cursors of this run start above every cursor of an earlier one, as long as no inbox took a million entries a second.
fn first_cursor(now: SystemTime) -> u64 {
    let since = now.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or_default().saturating_mul(1000)
}
