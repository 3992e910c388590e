//! The handle through which everything else uses the pool.
//!
//! A [`Pool`] is cheap to clone. Reading (`links`, `receipt`) never waits for a link; asking (`send`, `command`) goes to the link's
//! task as an order and comes back with its answer.

use std::{sync::Arc, time::Duration};

use parking_lot::Mutex;
use tokio::{sync::oneshot, task::AbortHandle, time::Instant};

use super::{
    CommandError, Draining, EndpointView, Explained, Follow, HistoryEntry, Left, LinkView, Page, Refused, RequestsView,
    Send, Settings, Totals, homes::bring_home, listeners::Wakes, parts::PoolParts, send::Sender, subscriptions,
    supervisor::Supervisor, waking::wake_parked, wedged::LastLook,
};
use crate::{
    clock::Calendar,
    endpoint::Endpoint,
    hub,
    link::{Looker, Order, Stop},
    observer::{self, Observer},
};
use wskeeper_core::{
    body::Body,
    budget::Budget,
    chaos::Fault,
    link::Verb,
    message::MessageId,
    outbox::Refusal,
    phase::Phase,
    receipt::{self, Receipt},
};

/// A handle to the pool.
#[derive(Debug, Clone)]
pub struct Pool {
    pub(super) inner: Arc<Inner>,
}

/// What the pool keeps, and who acts on it.
#[derive(Debug)]
pub(super) struct Inner {
    pub(super) parts: Arc<PoolParts>,
    pub(super) sender: Sender,
    pub(super) supervisor: Arc<Supervisor>,
    /// Tasks that serve all links, by what they do.
    pub(super) servants: [(&'static str, AbortHandle); 5],
    /// The last look at the whole.
    pub(super) watchdog: Mutex<Option<LastLook>>,
}

impl Pool {
    /// A pool that holds the links of `settings`, and tells `observer` what it does. `seed` fixes all its chance. To be called within a
    /// tokio runtime.
    pub async fn start(settings: Settings, observer: Arc<dyn Observer>, seed: u64) -> Self {
        let parts = PoolParts::new(&settings, observer);
        let supervisor = Supervisor::new(Arc::clone(&parts), seed);
        let servants = [
            ("lets links in", tokio::spawn(Arc::clone(&parts.admission).run()).abort_handle()),
            ("forgets receipts", tokio::spawn(Arc::clone(&parts.receipts).run()).abort_handle()),
            (
                "keeps subscriptions",
                tokio::spawn(subscriptions::keep(Arc::clone(&parts), Arc::clone(&supervisor))).abort_handle(),
            ),
            (
                "wakes parked links",
                tokio::spawn(wake_parked(Arc::clone(&parts.endpoints), Arc::clone(&parts.parked))).abort_handle(),
            ),
            ("brings links home", tokio::spawn(bring_home(Arc::clone(&parts))).abort_handle()),
        ];
        // Nothing can drain a pool that nobody has yet.
        let _ = supervisor.apply(settings, &|_, _| Follow::Unchanged).await;
        let sender = Sender::new(Arc::clone(&parts));
        Self { inner: Arc::new(Inner { parts, sender, supervisor, servants, watchdog: Mutex::default() }) }
    }

    /// What everything that waits in the process has a share of.
    pub fn budget(&self) -> &Arc<Budget> {
        &self.inner.parts.budget
    }

    /// The longest message that an endpoint takes; `None`: there is no such endpoint.
    pub fn longest(&self, endpoint: &str) -> Option<usize> {
        Some(self.inner.parts.endpoints.get(endpoint)?.config().link.outbox.max_message)
    }

    /// Counts a message that was refused before it was read, for it is longer than that; says so.
    pub fn too_long(&self, endpoint: &str, bytes: usize) -> Refused {
        match self.inner.parts.endpoints.get(endpoint) {
            Some(runtime) => {
                runtime.observer.refused(observer::Refused::Outbox(Refusal::TooBig));
                Refused::TooBig { bytes, limit: runtime.config().link.outbox.max_message }
            }
            None => Refused::NoEndpoint(endpoint.to_owned()),
        }
    }

    /// Every endpoint, by name.
    pub fn endpoints(&self) -> Vec<EndpointView> {
        self.inner.parts.endpoints.running().values().map(|runtime| runtime.view()).collect()
    }

    /// Endpoints by name, those after `after` that are `wanted`, at most `limit`. Nothing is added up for others.
    pub fn endpoints_after(&self, after: &str, wanted: &dyn Fn(&str) -> bool, limit: usize) -> Vec<EndpointView> {
        let after = (std::ops::Bound::Excluded(after), std::ops::Bound::Unbounded);
        let found: Vec<_> = {
            let running = self.inner.parts.endpoints.running();
            let runtimes = running.range::<str, _>(after).filter(|(name, _)| wanted(name));
            runtimes.take(limit).map(|(_, runtime)| Arc::clone(runtime)).collect()
        };
        found.iter().map(|runtime| runtime.view()).collect()
    }

    /// How many endpoints there are.
    pub fn count(&self) -> usize {
        self.inner.parts.endpoints.running().len()
    }

    /// Each endpoint's sums over its links.
    pub fn totals(&self) -> Vec<Totals> {
        self.inner.parts.endpoints.running().values().map(|runtime| runtime.totals()).collect()
    }

    /// One endpoint.
    pub fn endpoint(&self, name: &str) -> Option<EndpointView> {
        Some(self.inner.parts.endpoints.get(name)?.view())
    }

    /// Links in order of endpoint and index, those after `after`, at most `limit`, of the endpoints `wanted`.
    pub fn links(
        &self,
        wanted: &dyn Fn(&str) -> bool,
        phase: Option<Phase>,
        after: Option<(&str, u32)>,
        limit: usize,
    ) -> Page<LinkView> {
        let runtimes = self.inner.parts.endpoints.all();
        let mut found = runtimes
            .iter()
            .filter(|runtime| wanted(&runtime.name))
            .flat_map(|runtime| runtime.slots())
            .filter(|slot| after.is_none_or(|after| (&*slot.id.endpoint, slot.id.index) > after))
            .map(|slot| slot.view())
            .filter(|view| phase.is_none_or(|phase| view.phase == phase));
        let items = found.by_ref().take(limit).collect();
        Page { items, more: found.next().is_some() }
    }

    /// The numbers of the links that an endpoint has now.
    pub fn links_of(&self, endpoint: &str) -> Vec<u32> {
        let runtime = self.inner.parts.endpoints.get(endpoint);
        runtime.iter().flat_map(|runtime| runtime.slots()).map(|slot| slot.id.index).collect()
    }

    /// One link.
    pub fn link(&self, endpoint: &str, index: u32) -> Option<LinkView> {
        Some(self.inner.parts.endpoints.slot(endpoint, index)?.view())
    }

    /// The flight recorder of a link, oldest first.
    pub fn history(&self, endpoint: &str, index: u32) -> Option<Vec<HistoryEntry>> {
        Some(self.inner.parts.endpoints.slot(endpoint, index)?.history())
    }

    /// Why a link is where it is.
    pub fn explain(&self, endpoint: &str, index: u32) -> Option<Explained> {
        let runtime = self.inner.parts.endpoints.get(endpoint)?;
        let slot = runtime.slot(index)?;
        let standing = self.inner.parts.admission.standing(&slot.id, self.inner.parts.calendar.now());
        let requests = self.requests(endpoint, Some(index));
        let (cookies, budget) = (runtime.cookies(index), runtime.attempts());
        Some(Explained { requests, cookies, budget, ..slot.explain(runtime.config(), standing) })
    }

    /// The requests of an endpoint that have not ended, or of one of its links; `None`: it has none.
    pub fn requests(&self, endpoint: &str, link: Option<u32>) -> Option<RequestsView> {
        let config = self.inner.parts.endpoints.get(endpoint)?.config();
        config.link.requests.id.as_ref().map(|_| self.inner.parts.receipts.requests(endpoint, link))
    }

    /// The streams of an endpoint, by name.
    pub fn streams(&self, endpoint: &str) -> Vec<hub::StreamView> {
        self.inner.parts.endpoints.get(endpoint).map(|runtime| runtime.sinks.streams.seen()).unwrap_or_default()
    }

    /// Where the pool reads the date.
    pub fn calendar(&self) -> &Calendar {
        &self.inner.parts.calendar
    }

    /// Hands a message to a link's outbox. `Ok` means accepted (or, with an idempotency key, accepted before).
    pub async fn send(&self, send: Send) -> Result<Receipt, Refused> {
        self.inner.sender.send(send).await
    }

    /// Sends several messages in order, at the cost of few questions, and tells what became of `each`, in order. Where `stop`
    /// says so, none behind the one that it names is tried, and that one is told of last.
    pub async fn send_all(&self, sends: Vec<Send>, stop: Stop, each: impl FnMut(Result<Receipt, Refused>)) {
        self.inner.sender.send_all(sends, stop, each).await;
    }

    /// Accepts messages that came together, in order, as far as no link need be asked, for this link or the best one. Answers with those
    /// that are left, to be sent one by one; nothing is wrong with them so far.
    pub fn accept(&self, endpoint: &str, link: Option<u32>, body: Body) -> Option<Body> {
        self.inner.sender.accept(endpoint, link, body)
    }

    /// A receipt, while it is kept.
    pub fn receipt(&self, id: MessageId) -> Option<Receipt> {
        self.inner.parts.receipts.get(id)
    }

    /// Waits until the message has reached `wanted` or can no longer, at most `patience`; answers with the receipt as it is
    /// then.
    pub async fn settle(&self, id: MessageId, wanted: receipt::State, patience: Duration) -> Option<Receipt> {
        self.inner.parts.receipts.settle(id, wanted, patience).await
    }

    /// Asks a link to do something; answers once the link has taken it.
    pub async fn command(&self, endpoint: &str, index: u32, verb: Verb) -> Result<LinkView, CommandError> {
        let slot = self.inner.parts.endpoints.commanded(endpoint, index)?;
        let phase = slot.view().phase;
        if verb == Verb::Rotate && phase != Phase::Ready {
            // Its next connection is a new one anyway.
            return Err(CommandError::NoConnection { link: format!("{endpoint}/{index}"), phase });
        }
        if let Some(runtime) = self.inner.parts.endpoints.get(endpoint) {
            runtime.may_dial(&verb)?;
        }
        let (reply, taken) = oneshot::channel();
        slot.orders.send(Box::new(Order::Verb(verb, reply))).await.map_err(|_| CommandError::Draining)?;
        taken.await.map_err(|_| CommandError::Draining)?;
        Ok(slot.view())
    }

    /// Puts a fault under a link's connection; answers once it is there.
    pub async fn inject(&self, endpoint: &str, index: u32, fault: Fault) -> Result<LinkView, CommandError> {
        let slot = self.inner.parts.endpoints.commanded(endpoint, index)?;
        let (reply, taken) = oneshot::channel();
        slot.orders.send(Box::new(Order::Inject(fault, reply))).await.map_err(|_| CommandError::Draining)?;
        let view = match taken.await {
            Ok(true) => return Ok(slot.view()),
            Ok(false) => slot.view(),
            Err(_) => return Err(CommandError::Draining),
        };
        Err(CommandError::NoConnection { link: format!("{endpoint}/{index}"), phase: view.phase })
    }

    /// Reads an endpoint's inbox. Lazy links are awake as long as somebody does.
    pub fn subscribe(&self, endpoint: &str, from: hub::From) -> Option<hub::Reader> {
        self.read(endpoint, (None, from), Some(Wakes::All))
    }

    /// Reads the inbox, or a stream; lazy links that it `wakes` are awake meanwhile.
    pub(super) fn read(
        &self,
        endpoint: &str,
        (stream, from): (Option<&str>, hub::From),
        wakes: Option<Wakes>,
    ) -> Option<hub::Reader> {
        let runtime = self.inner.parts.endpoints.get(endpoint)?;
        let reader = match stream {
            None => runtime.sinks.inbox.subscribe(from),
            Some(stream) => runtime.sinks.streams.get(stream)?.subscribe(from),
        };
        Some(reader.listening(wakes.map(|wakes| hub::Listening::to(&runtime, wakes.link()))))
    }

    /// The cursor of the entry that tells that a connection opened, while the inbox has it.
    pub fn opened(&self, endpoint: &str, link: u32, generation: u64) -> Option<u64> {
        self.inner.parts.endpoints.get(endpoint)?.sinks.inbox.opened(link, generation)
    }

    /// Reads a stream of an endpoint; `None`: it has none of this name.
    pub fn subscribe_stream(&self, endpoint: &str, stream: &str, from: hub::From) -> Option<hub::Reader> {
        self.read(endpoint, (Some(stream), from), Some(Wakes::All))
    }

    /// Looks at an endpoint's frames as they go by.
    pub fn look(&self, endpoint: &str, payloads: bool) -> Option<Looker> {
        Some(self.inner.parts.endpoints.get(endpoint)?.sinks.tap.look(payloads))
    }

    /// Reads the pool's own log: all events but messages.
    pub fn subscribe_all(&self, from: hub::From) -> hub::Reader {
        self.inner.parts.log.subscribe(from)
    }

    /// Counts that a consumer of this endpoint was told of a gap.
    pub fn count_gap(&self, endpoint: &str, missed: Option<u64>) {
        if let Some(runtime) = self.inner.parts.endpoints.get(endpoint) {
            runtime.observer.gap(missed);
        }
    }

    /// Follows new settings: endpoints come and go, and so do links of those that stay; what the others of their links do, `follow` says
    /// of the old and the new endpoint. To be run to its end; half of a change leaves links that no settings name.
    pub async fn apply(
        &self,
        new: Settings,
        follow: &(dyn Fn(&Endpoint, &Endpoint) -> Follow + Sync),
    ) -> Result<(), Draining> {
        self.inner.supervisor.apply(new, follow).await
    }

    /// Whether there is an open store, which stays where it is until the pool ends.
    pub fn has_store(&self) -> bool {
        self.inner.parts.spool.is_open()
    }

    /// Whether the daemon is stopping.
    pub fn is_draining(&self) -> bool {
        self.inner.parts.endpoints.is_draining()
    }

    /// Takes no new messages from now on.
    pub fn drain(&self) {
        self.inner.parts.endpoints.drain();
    }

    /// Flushes what can be flushed, closes every link with 1001, and ends by `deadline`. Answers with the messages left
    /// unsent, by endpoint.
    pub async fn shut_down(&self, deadline: Instant) -> Vec<Left> {
        self.inner.supervisor.shut_down(deadline).await
    }
}
