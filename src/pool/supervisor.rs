//! Starts, watches and ends the tasks of the links, and follows a changed configuration.
//!
//! A task that panics is started again within a budget; past it the link is parked with that reason. No other task, and
//! not the daemon, notices.

use std::{
    panic::AssertUnwindSafe,
    sync::{Arc, PoisonError, atomic::Ordering},
    time::Duration,
};

use futures_util::{FutureExt, future::join_all};
use tokio::time::Instant;

use super::{
    Draining, Inner, Left, Orphans,
    keeper::{self, seal},
    pod::{Pod, Task},
    slot::{Sinks, Slot},
    spool::Reclaimed,
};
use crate::{
    config::{self, Action, Config, Endpoint, Loaded, Plan, Step},
    core::{
        clock::Clock,
        event::LinkId,
        link::{Input, Link},
        phase::Reason,
        receipt::{Fate, State},
    },
    hub::Hub,
    link::{self, Dialer, Inbound, Order},
    store::Store,
};

/// Orders that may wait for a link's task: as many as it takes in one round.
const ORDERS: usize = 128;
/// Panics forgiven within [`PANIC_WINDOW`].
const PANIC_BUDGET: u32 = 3;
const PANIC_WINDOW: Duration = Duration::from_mins(10);
/// What a task gets to end beyond the time that its link has for closing.
const GRACE: Duration = Duration::from_millis(500);

impl Inner {
    /// What bringing the pool to `new` would do.
    pub(super) fn plan(&self, new: Loaded) -> Plan {
        config::plan(&self.config(), new, self.spool.is_open())
    }

    /// Brings the pool to `new`: what is unchanged is left alone.
    pub(super) async fn apply(self: &Arc<Self>, new: Loaded) -> Result<Plan, Draining> {
        let _one_at_a_time = self.applying.lock().await;
        if self.is_draining() {
            return Err(Draining);
        }
        self.step();
        let plan = self.plan(new);
        self.gate.0.set_policy(plan.config.admission.clone());
        self.open_store(&plan.config).await;
        self.hand_out().await;
        // At once: links that end wait for their peers.
        join_all(plan.steps.iter().map(|(name, step)| self.carry_out(name, step, plan.config.endpoints.get(name))))
            .await;
        self.drop_inboxes();
        *self.config.write().unwrap_or_else(PoisonError::into_inner) = Arc::clone(&plan.config);
        Ok(plan)
    }

    async fn carry_out(self: &Arc<Self>, name: &str, step: &Step, endpoint: Option<&Arc<Endpoint>>) {
        match endpoint {
            Some(endpoint) if step.before == 0 => self.add_endpoint(endpoint),
            Some(endpoint) if !step.is_unchanged() => self.change_endpoint(endpoint, step).await,
            Some(_) => {}
            None => self.remove_endpoint(name).await,
        }
        self.step();
    }

    /// A change moves: the one who looks after the whole is told.
    fn step(&self) {
        self.steps.fetch_add(1, Ordering::Relaxed);
    }

    /// Opens the store where an endpoint needs it, or an earlier life has left one.
    async fn open_store(&self, config: &Config) {
        let needed = config.endpoints.values().any(|endpoint| endpoint.link.outbox.durable || endpoint.inbox.durable);
        if needed || Store::exists(&config.storage.dir) {
            for letter in self.spool.open(&config.storage).await {
                self.dead.bury(letter);
            }
        }
    }

    /// Stored messages of links that run already go to them: the store could not be opened when they started.
    async fn hand_out(&self) {
        for Orphans { endpoint, link, .. } in self.spool.orphans() {
            let Some((pod, slot)) = self.pod(&endpoint).and_then(|pod| Some((Arc::clone(&pod), pod.slot(link)?)))
            else {
                continue;
            };
            slot.set_durable();
            slot.crashed(self.spool.take_crashed(&slot.id));
            let records = self.spool.take(&slot.id);
            let messages = records.into_iter().map(|record| self.restored(&pod, record));
            // A task that has ended leaves them in the store, where the next one of that link finds them.
            let _ = slot.orders.send(Box::new(Order::Restore(messages.collect()))).await;
        }
    }

    fn add_endpoint(self: &Arc<Self>, endpoint: &Arc<Endpoint>) {
        let name = Arc::clone(&endpoint.name);
        let kept = if endpoint.inbox.durable { self.spool.take_inbox(&name) } else { None }.unwrap_or_default();
        let heard_until = keeper::heard_until(&kept.entries);
        let (past, stored) = keeper::past(kept, self.next_cursor());
        let inbox = Hub::resumed(endpoint.inbox.clone(), endpoint.links, &self.budget, past);
        let sinks = Sinks {
            inbox,
            log: Arc::clone(&self.log),
            receipts: Arc::clone(&self.receipts),
            spool: Arc::clone(&self.spool),
            dead: Arc::clone(&self.dead),
            tap: Arc::default(),
            spans: self.spans.clone(),
        };
        let pod = Arc::new(Pod::new(Arc::clone(endpoint), Arc::new(sinks), self.families.endpoint(&name), heard_until));
        for index in 0..endpoint.links {
            self.add_link(&pod, endpoint, index);
        }
        self.keep_inbox(&pod, endpoint.inbox.durable, stored);
        self.pods().insert(name, pod);
    }

    fn add_link(self: &Arc<Self>, pod: &Arc<Pod>, endpoint: &Arc<Endpoint>, index: u32) {
        let id = LinkId { endpoint: Arc::clone(&endpoint.name), index };
        let (orders, inbound) = link::orders(ORDERS);
        let metrics = self.families.link(&endpoint.name, index);
        let slot = Slot::new(id, endpoint, orders, metrics, Arc::clone(&pod.sinks));
        if let Some(at) = pod.heard_until.get(&index) {
            slot.was_heard_until(*at);
        }
        let handle = tokio::spawn(Arc::clone(self).keep(Arc::clone(pod), Arc::clone(&slot), inbound));
        pod.tasks().push(Task { slot, handle });
    }

    /// Runs a link's task, and runs it again when it panics. Not an `async fn`: that would hold all that it is given twice.
    #[allow(
        clippy::manual_async_fn,
        reason = "an async fn holds its arguments twice, and there may be ten thousand of them"
    )]
    fn keep(self: Arc<Self>, pod: Arc<Pod>, slot: Arc<Slot>, mut orders: Inbound) -> impl Future<Output = ()> + Send {
        async move {
            let (mut panics, mut window) = (0, Instant::now());
            loop {
                let first = if panics > PANIC_BUDGET { Input::Park(Reason::Panicked) } else { Input::Start };
                let run = self.run(&pod, &slot, first, &mut orders);
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
        pod: &Arc<Pod>,
        slot: &Arc<Slot>,
        first: Input,
        orders: &'a mut Inbound,
    ) -> impl Future<Output = ()> + Send + use<'a> {
        let seed = self.seed.fetch_add(1, Ordering::Relaxed);
        let link = self.link(pod, slot, seed);
        let dialer = Dialer::new(slot.id.clone(), Arc::<Pod>::clone(pod), self.gate());
        let host: Arc<Slot> = Arc::clone(slot);
        let run = link::run(link, first, dialer, host, orders);
        #[cfg(any(test, debug_assertions))]
        let run = super::wedge::until_wedged(Arc::clone(pod), run);
        run
    }

    async fn on_panic(&self, slot: &Slot, panics: u32) {
        slot.panicked(panics);
        let Reclaimed { mut waiting, unknown } = self.spool.reclaim(&slot.id, Fate::Panicked).await;
        slot.lost(&vec![State::Unknown; unknown.len()], Fate::Panicked);
        waiting.extend(unknown);
        let ends = self.receipts.abandon(&slot.id.endpoint, slot.id.index, &waiting, Fate::Panicked);
        slot.lost(&ends, Fate::Panicked);
    }

    /// A new link, with what the store holds for it.
    fn link(&self, pod: &Pod, slot: &Slot, seed: u64) -> Box<Link> {
        let now = Instant::now().into_std();
        slot.crashed(self.spool.take_crashed(&slot.id));
        let mut link = Box::new(Link::new(Arc::clone(&pod.config().link), seed, now));
        for record in self.spool.take(&slot.id) {
            slot.set_durable();
            link.restore(now, self.restored(pod, record));
        }
        link
    }

    async fn remove_endpoint(&self, name: &str) {
        let Some(pod) = self.pods().remove(name) else { return };
        let tasks = std::mem::take(&mut *pod.tasks());
        self.end_removed(tasks, pod.config().link.close_timeout).await;
        pod.sinks.inbox.close();
        self.forget_inbox(&pod).await;
    }

    /// Ends links that the configuration has no more. What the store holds for them waits for an operator's word.
    async fn end_removed(&self, tasks: Vec<Task>, within: Duration) {
        let ids: Vec<_> = tasks.iter().map(|task| task.slot.id.clone()).collect();
        end(tasks, within, Fate::Removed).await;
        for id in ids {
            let messages = self.spool.reclaim(&id, Fate::Removed).await.waiting.len();
            if messages > 0 {
                tracing::warn!(link = %id, messages, "the link is gone; its stored messages are kept");
            }
        }
    }

    async fn change_endpoint(self: &Arc<Self>, new: &Arc<Endpoint>, step: &Step) {
        let Some(pod) = self.pod(&new.name) else { return };
        let old = pod.config();
        pod.set_config(Arc::clone(new));
        pod.sinks.inbox.set_policy(new.inbox.clone(), new.links);
        self.follow_inbox(&pod, old.inbox.durable, new.inbox.durable).await;
        let keep = (step.after as usize).min(pod.tasks().len());
        let surplus = pod.tasks().split_off(keep);
        let renew = match step.kept {
            Action::Rotate | Action::Reconnect => Some(true),
            Action::AppliedLive => Some(false),
            // Those two are not of links that are there before and after.
            Action::Unchanged | Action::Added | Action::Removed => None,
        };
        if let Some(renew) = renew {
            for slot in pod.slots() {
                let policy = Arc::clone(&new.link);
                // A task that has ended was told to: nothing is left to retune.
                let _ = slot.orders.send(Box::new(Order::Retune { policy, renew })).await;
            }
        }
        self.end_removed(surplus, old.link.close_timeout).await;
        for index in step.before..step.after {
            self.add_link(&pod, new, index);
        }
    }

    /// Flushes what can be flushed, closes every link with 1001, and ends by `deadline`. Answers with the messages left, by
    /// endpoint.
    pub(super) async fn shut_down(&self, deadline: Instant) -> Vec<Left> {
        self.draining.store(true, Ordering::SeqCst);
        let pods: Vec<_> = self.pods().values().cloned().collect();
        let longest_close = pods.iter().map(|pod| pod.config().link.close_timeout).max().unwrap_or_default();
        // Half of the time at most goes to closing.
        let left = deadline.saturating_duration_since(Instant::now());
        let flush_until = deadline.earlier(longest_close.min(left / 2));
        // A reload that is under way makes links; none begins after it, because the pool drains.
        drop(tokio::time::timeout_at(flush_until, self.applying.lock()).await);
        let mut look = tokio::time::interval(Duration::from_millis(20));
        while Instant::now() < flush_until && pods.iter().any(|pod| pod.can_flush(flush_until)) {
            look.tick().await;
        }
        let mut left = Vec::new();
        for pod in &pods {
            let (messages, kept) = (pod.open_messages(), pod.config().link.outbox.durable);
            if messages > 0 {
                left.push(Left { endpoint: Arc::clone(&pod.name), messages, kept });
            }
        }
        let tasks: Vec<_> = pods.iter().flat_map(|pod| std::mem::take(&mut *pod.tasks())).collect();
        let within = deadline.saturating_duration_since(Instant::now());
        end(tasks, within, Fate::Shutdown).await;
        for left in left.iter_mut().filter(|left| left.kept) {
            // The last pong may have confirmed some. A disk that hangs or fails leaves the count as it was.
            let held = tokio::time::timeout_at(deadline.later(GRACE), self.spool.held(&left.endpoint)).await;
            left.messages = held.ok().flatten().unwrap_or(left.messages);
        }
        left.retain(|left| left.messages > 0);
        for pod in &pods {
            pod.sinks.inbox.close();
        }
        self.log.close();
        // A disk that hangs must not hold up the end for ever; what it has said yes to is there.
        let sealed = seal(&pods, deadline.later(GRACE)).await;
        let _ = tokio::time::timeout_at(deadline.later(GRACE), self.spool.close(sealed)).await;
        left
    }
}

/// Stops tasks and waits for their ends; one that does not end in time is aborted.
async fn end(tasks: Vec<Task>, within: Duration, fate: Fate) {
    let deadline = Instant::now().later(within.saturating_add(GRACE));
    for task in &tasks {
        // A task that has ended needs no order, and one that takes none is aborted below.
        let _ = tokio::time::timeout_at(deadline, task.slot.orders.send(Box::new(Order::Stop(within, fate)))).await;
    }
    for mut task in tasks {
        if tokio::time::timeout_at(deadline, &mut task.handle).await.is_err() {
            task.handle.abort();
        }
    }
}
