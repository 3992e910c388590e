//! Starts, watches and ends the tasks of the links, and follows a changed configuration.
//!
//! A task that panics is started again within a budget; past it the link is parked with that reason. No other task, and
//! not the daemon, notices.

use std::{
    panic::AssertUnwindSafe,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use futures_util::{
    FutureExt,
    future::{join, join_all},
};
use parking_lot::Mutex;
use tokio::{sync::OwnedRwLockReadGuard, time::Instant};

use super::{
    Draining, Follow, Left, Settings,
    admission::AdmissionControl,
    durable_inboxes::{self, seal},
    durable_variables::DurableVariables,
    homes::Homes,
    owned::{self, GRACE},
    parts::{self, PoolParts},
    runtime::EndpointRuntime,
    send,
    slot::{Sinks, Slot},
    spool::Reclaimed,
    subscriptions::{self, Subscriptions},
    turns::{Turn, Turns},
};
use crate::clock::Moment;
use crate::{
    endpoint::Endpoint,
    hub::{Hub, Streams},
    link::{self, Dialer, Inbound, Tap},
    store::{self, Record},
};
use wskeeper_core::{
    budget::Account,
    link::{Input, Link},
    message::Message,
    phase::Reason,
    receipt::{EndReason, State},
};

/// Panics forgiven within [`PANIC_WINDOW`].
const PANIC_BUDGET: u32 = 3;
const PANIC_WINDOW: Duration = Duration::from_mins(10);

/// Who starts, changes and ends links.
#[derive(Debug)]
pub(super) struct Supervisor {
    parts: Arc<PoolParts>,
    /// One reload at a time, and no operator's change of the store beside it.
    applying: tokio::sync::Mutex<()>,
    /// One change of an endpoint at a time.
    turns: Arc<Turns>,
    /// Single endpoints come and go; the end of the pool waits for those that are on their way.
    gate: Arc<tokio::sync::RwLock<()>>,
    /// Where the store is, by the last settings.
    pub(super) store: Mutex<Option<store::Policy>>,
    /// Steps that reloads have taken.
    steps: AtomicU64,
    /// Chance, one number for each task of a link.
    seed: AtomicU64,
}

impl Supervisor {
    /// Nobody's yet: [`Supervisor::apply`] makes the first links. `seed` fixes all chance.
    pub(super) fn new(parts: Arc<PoolParts>, seed: u64) -> Arc<Self> {
        Arc::new(Self {
            parts,
            applying: tokio::sync::Mutex::default(),
            turns: Arc::default(),
            gate: Arc::default(),
            store: Mutex::default(),
            steps: AtomicU64::new(0),
            seed: AtomicU64::new(seed),
        })
    }

    /// Keeps reloads, and other changes that must not meet one, from going on.
    pub(super) async fn hold(&self) -> tokio::sync::MutexGuard<'_, ()> {
        self.applying.lock().await
    }

    /// Waits until nobody else changes the endpoint of this name.
    pub(super) async fn turn(&self, name: &Arc<str>) -> Turn {
        self.turns.take(name).await
    }

    /// The same where nobody does.
    pub(super) fn try_turn(&self, name: &Arc<str>) -> Option<Turn> {
        self.turns.try_take(name)
    }

    /// A single endpoint is about to come or go. While this is held the pool does not end.
    pub(super) async fn changing(&self) -> Result<OwnedRwLockReadGuard<()>, Draining> {
        let gate = Arc::clone(&self.gate).read_owned().await;
        if self.parts.endpoints.is_draining() { Err(Draining) } else { Ok(gate) }
    }

    pub(super) fn parts(&self) -> &Arc<PoolParts> {
        &self.parts
    }

    /// The step that a change which is under way has reached; `None`: there is none.
    pub(super) fn under_way(&self) -> Option<u64> {
        self.applying.try_lock().is_err().then(|| self.steps.load(Ordering::Relaxed))
    }

    /// Brings the pool to `new`: what is unchanged is left alone.
    pub(super) async fn apply(
        self: &Arc<Self>,
        new: Settings,
        follow: &(dyn Fn(&Endpoint, &Endpoint) -> Follow + Sync),
    ) -> Result<(), Draining> {
        let _one_at_a_time = self.applying.lock().await;
        if self.parts.endpoints.is_draining() {
            return Err(Draining);
        }
        self.step();
        self.parts.admission.set_policy(new.admission.clone());
        self.store.lock().clone_from(&new.store);
        self.open_store(new.endpoints.values().any(|endpoint| self.wants_store(endpoint))).await;
        let old = self.parts.endpoints.all();
        let gone = old.iter().map(|runtime| &runtime.name).filter(|name| !new.endpoints.contains_key(*name));
        // At once: links that end wait for their peers.
        join(
            join_all(gone.map(|name| self.remove_endpoint(name))),
            join_all(new.endpoints.values().map(|endpoint| self.bring_to(endpoint, |old, new| follow(old, new)))),
        )
        .await;
        durable_inboxes::drop_inboxes(&self.parts.spool, &self.parts.endpoints);
        self.parts.spool.drop_keys();
        // What an endpoint's budget has used was taken up when it began.
        self.parts.spool.drop_variables(|name, link| {
            let config = self.parts.endpoints.get(name).map(|runtime| runtime.config());
            config.is_some_and(|config| link < config.max_links() && !config.durable_variables().is_empty())
        });
        Ok(())
    }

    /// What is there follows `new`, or it comes.
    pub(super) async fn bring_to(
        self: &Arc<Self>,
        new: &Arc<Endpoint>,
        follow: impl FnOnce(&Endpoint, &Endpoint) -> Follow + Send,
    ) {
        let _turn = self.turn(&new.name).await;
        match self.parts.endpoints.get(&new.name) {
            None => self.add_endpoint(new),
            Some(runtime) => {
                let old = runtime.config();
                let follow = follow(&old, new);
                if follow != Follow::Unchanged || old.links != new.links {
                    self.change_endpoint(&runtime, new, follow).await;
                }
            }
        }
        self.step();
    }

    /// A change moves: the one who looks after the whole is told.
    pub(super) fn step(&self) {
        self.steps.fetch_add(1, Ordering::Relaxed);
    }

    fn add_endpoint(self: &Arc<Self>, endpoint: &Arc<Endpoint>) {
        let name = Arc::clone(&endpoint.name);
        let holds_keys = endpoint.keeps_keys() && self.parts.spool.has_keys(&name);
        let endpoint = &subscriptions::in_force(endpoint, holds_keys);
        let kept = if endpoint.inbox.durable { self.parts.spool.take_inbox(&name) } else { None }.unwrap_or_default();
        let heard_until = durable_inboxes::heard_until(&kept.entries);
        let (past, stored) = durable_inboxes::past(kept, self.next_cursor());
        let inbox = Hub::resumed(endpoint.inbox.clone(), endpoint.max_links(), &self.parts.budget, past);
        let streams = Streams::default();
        streams.follow(endpoint, &self.parts.budget, self.next_cursor());
        let sinks = Sinks {
            carriers: OnceLock::new(),
            inbox,
            streams,
            log: Arc::clone(&self.parts.log),
            receipts: Arc::clone(&self.parts.receipts),
            spool: Arc::clone(&self.parts.spool),
            dead: Arc::clone(&self.parts.dead),
            rejections: Arc::clone(&self.parts.rejections),
            tap: Arc::new(Tap::new(self.parts.calendar.clone())),
            observer: Arc::clone(&self.parts.observer),
            account: Account::new(&self.parts.budget),
            calendar: self.parts.calendar.clone(),
            parked: Arc::clone(&self.parts.parked),
            listeners: Mutex::default(),
            homes: Homes::new(&self.parts.strays, endpoint, self.seed.fetch_add(1, Ordering::Relaxed)),
            ready: AtomicUsize::new(0),
            subscriptions: Subscriptions::new(&self.parts.budget, Arc::clone(&self.parts.wake_subscriptions)),
            variables: DurableVariables::default(),
        };
        let runtime = Arc::new(EndpointRuntime::new(
            Arc::clone(endpoint),
            Arc::new(sinks),
            (self.parts.observer.endpoint(&name), Arc::clone(&self.parts.provider)),
            heard_until,
        ));
        subscriptions::configure(&runtime, endpoint, true);
        self.follow_variables(&runtime, endpoint);
        runtime.follow_budget(endpoint.attempts.limit());
        self.add_links(&runtime, endpoint, &self.wanted(&runtime, endpoint));
        durable_inboxes::write_inbox(&self.parts.spool, &runtime, endpoint.inbox.durable, stored);
        let has_keys = runtime.sinks.subscriptions.counts().is_some();
        self.parts.endpoints.insert(runtime);
        if has_keys {
            // What it holds may be due; until now nobody could have looked.
            self.parts.wake_subscriptions.notify_one();
        }
    }

    fn follow_variables(&self, runtime: &EndpointRuntime, endpoint: &Endpoint) {
        let names = endpoint.durable_variables();
        runtime.sinks.variables.follow(names, &runtime.name, &self.parts.spool, &runtime.observer);
    }

    /// Runs a link's task, and runs it again when it panics. Not an `async fn`: that would hold all that it is given twice.
    #[allow(
        clippy::manual_async_fn,
        reason = "an async fn holds its arguments twice, and there may be ten thousand of them"
    )]
    pub(super) fn keep(
        self: Arc<Self>,
        runtime: Arc<EndpointRuntime>,
        slot: Arc<Slot>,
        mut orders: Inbound,
    ) -> impl Future<Output = ()> + Send {
        async move {
            let (mut panics, mut window) = (0, Instant::now());
            loop {
                let first = if panics > PANIC_BUDGET { Input::Park(Reason::Panicked) } else { Input::Start };
                let run = self.run(&runtime, &slot, first, &mut orders);
                // What a panic may leave half-done is dropped with the link; slot, ledger and hubs recover from a poisoned lock.
                if AssertUnwindSafe(run).catch_unwind().await.is_ok() {
                    return;
                }
                if window.elapsed() > PANIC_WINDOW {
                    (panics, window) = (0, Instant::now());
                }
                panics += 1;
                // In a box: it is rare.
                Box::pin(self.on_panic(&slot, panics)).await;
            }
        }
    }

    fn run<'a>(
        self: &Arc<Self>,
        runtime: &Arc<EndpointRuntime>,
        slot: &Arc<Slot>,
        first: Input,
        orders: &'a mut Inbound,
    ) -> impl Future<Output = ()> + Send + use<'a> {
        let seed = self.seed.fetch_add(1, Ordering::Relaxed);
        let link = self.link(runtime, slot, seed);
        let dialer = Dialer::new(
            slot.id.clone(),
            Arc::<EndpointRuntime>::clone(runtime),
            Arc::<AdmissionControl>::clone(&self.parts.admission),
        );
        let host: Arc<Slot> = Arc::clone(slot);
        let run = link::run(link, first, dialer, host, orders);
        #[cfg(any(test, debug_assertions))]
        let run = super::wedge::until_wedged(Arc::clone(runtime), run);
        run
    }

    async fn on_panic(&self, slot: &Slot, panics: u32) {
        let in_line = slot.panicked(panics);
        let Reclaimed { mut waiting, unknown } = self.parts.spool.reclaim(&slot.id, EndReason::Panicked).await;
        slot.lost(&vec![State::Unknown; unknown.len()], EndReason::Panicked);
        waiting.extend(unknown);
        waiting.extend(in_line);
        let ends = self.parts.receipts.abandon(&slot.id.endpoint, slot.id.index, &waiting, EndReason::Panicked);
        slot.lost(&ends, EndReason::Panicked);
    }

    /// A new link, with what the store holds for it.
    fn link(&self, runtime: &EndpointRuntime, slot: &Slot, seed: u64) -> Box<Link> {
        let now = Instant::now().into_std();
        slot.crashed(self.parts.spool.take_crashed(&slot.id));
        let mut link = Box::new(Link::new(Arc::clone(&runtime.config().link), seed, now));
        link.stand_at(runtime.sinks.homes.place(slot.id.index));
        link.number_after(slot.newest());
        link.share(runtime.bucket());
        link.allow(runtime.allowance());
        if let Some(kept) = runtime.sinks.variables.recall(slot.id.index) {
            link.recall(kept);
        }
        for record in self.parts.spool.take(&slot.id) {
            slot.set_durable();
            link.restore(now, self.restored(runtime, record));
        }
        // Nothing is to be done before it has begun.
        runtime.sinks.subscriptions.begin(slot.id.index, |changes| {
            drop(link.handle(now, Input::Subscriptions(changes)));
        });
        drop(link.handle(now, Input::Listened(runtime.listeners().has(slot.id.index))));
        link
    }

    async fn remove_endpoint(&self, name: &Arc<str>) {
        let _turn = self.turn(name).await;
        if let Some(runtime) = self.parts.endpoints.remove(name) {
            self.end_endpoint(&runtime).await;
        }
    }

    /// Ends an endpoint that has no name any more, in the turn of that name.
    pub(super) async fn end_endpoint(&self, runtime: &EndpointRuntime) {
        let tasks = runtime.part_with(|_| true);
        self.disown(runtime, tasks, runtime.config().link.close_timeout).await;
        runtime.sinks.close();
        subscriptions::end(runtime);
        durable_inboxes::forget_inbox(&self.parts.spool, runtime).await;
        runtime.sinks.variables.follow(Box::default(), &runtime.name, &self.parts.spool, &runtime.observer);
        runtime.follow_budget(None);
        self.step();
    }

    async fn change_endpoint(self: &Arc<Self>, runtime: &Arc<EndpointRuntime>, new: &Arc<Endpoint>, follow: Follow) {
        let old = runtime.config();
        let new = &subscriptions::in_force(new, runtime.sinks.subscriptions.is_bare());
        runtime.set_config(Arc::clone(new));
        runtime.pace(new.pacing);
        runtime.follow_budget(new.attempts.limit());
        runtime.sinks.inbox.set_policy(new.inbox.clone(), new.max_links());
        runtime.sinks.streams.follow(new, &self.parts.budget, self.next_cursor());
        durable_inboxes::follow_inbox(&self.parts.spool, runtime, old.inbox.durable, new.inbox.durable).await;
        subscriptions::configure(runtime, new, old.keeps_keys());
        // Of those that come and go with keys, the others are closed once they hold no message.
        let surplus = runtime.part_with(|slot| slot.id.index >= new.max_links());
        let renew = match follow {
            Follow::Renew => Some(true),
            Follow::Live => Some(false),
            Follow::Unchanged => None,
        };
        if let Some(renew) = renew {
            runtime.retune(renew).await;
        }
        self.follow_variables(runtime, new);
        self.disown(runtime, surplus, old.link.close_timeout).await;
        (new.max_links()..old.max_links()).for_each(|index| runtime.sinks.variables.forget(index));
        self.add_links(runtime, new, &self.wanted(runtime, new));
    }

    /// A stored message as an outbox takes it.
    #[allow(clippy::unnecessary_box_returns, reason = "outboxes take them boxed")]
    pub(super) fn restored(&self, runtime: &EndpointRuntime, record: Record) -> Box<Message> {
        let config = runtime.config();
        self.parts.receipts.set_keep(record.id, config.receipts_keep);
        send::restored(&config, record, &self.parts.budget, self.parts.calendar.now())
    }

    /// The first cursor of an inbox that begins now: above those of one that had the endpoint's name before.
    fn next_cursor(&self) -> u64 {
        parts::first_cursor(self.parts.calendar.now()).max(self.parts.first_cursor)
    }

    /// Flushes what can be flushed, closes every link with 1001, and ends by `deadline`. Answers with the messages left, by
    /// endpoint.
    pub(super) async fn shut_down(&self, deadline: Instant) -> Vec<Left> {
        self.parts.endpoints.drain();
        let runtimes = self.parts.endpoints.all();
        let longest_close =
            runtimes.iter().map(|runtime| runtime.config().link.close_timeout).max().unwrap_or_default();
        // Half of the time at most goes to closing.
        let left = deadline.saturating_duration_since(Instant::now());
        let flush_until = deadline.earlier(longest_close.min(left / 2));
        // A reload that is under way makes links, and so does an endpoint that comes; none begins after it, because the pool drains.
        let changes = async { drop((self.gate.write().await, self.applying.lock().await)) };
        let _ = tokio::time::timeout_at(flush_until, changes).await;
        let mut look = tokio::time::interval(Duration::from_millis(20));
        while Instant::now() < flush_until && runtimes.iter().any(|runtime| runtime.can_flush(flush_until)) {
            look.tick().await;
        }
        let mut left = Vec::new();
        for runtime in &runtimes {
            let (messages, kept) = (runtime.open_messages(), runtime.config().link.outbox.durable);
            if messages > 0 {
                left.push(Left { endpoint: Arc::clone(&runtime.name), messages, kept });
            }
        }
        let tasks: Vec<_> = runtimes.iter().flat_map(|runtime| runtime.part_with(|_| true)).collect();
        let within = deadline.saturating_duration_since(Instant::now());
        owned::end(tasks, within, EndReason::Shutdown).await;
        for left in left.iter_mut().filter(|left| left.kept) {
            // The last pong may have confirmed some. A disk that hangs or fails leaves the count as it was.
            let held = tokio::time::timeout_at(deadline.later(GRACE), self.parts.spool.held(&left.endpoint)).await;
            left.messages = held.ok().flatten().unwrap_or(left.messages);
        }
        left.retain(|left| left.messages > 0);
        for runtime in &runtimes {
            runtime.sinks.close();
            runtime.sinks.variables.finish();
            runtime.finish_budget();
        }
        self.parts.log.close();
        // A disk that hangs must not hold up the end for ever; what it has said yes to is there.
        let sealed = seal(&runtimes, deadline.later(GRACE)).await;
        let _ = tokio::time::timeout_at(deadline.later(GRACE), self.parts.spool.close(sealed)).await;
        left
    }
}
