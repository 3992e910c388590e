//! Starts, watches and ends the tasks of the links, and follows a changed configuration.
//!
//! A task that panics is started again within a budget; past it the link is parked with that reason. No other task, and
//! not the daemon, notices.

use std::{
    panic::AssertUnwindSafe,
    sync::{Arc, PoisonError, atomic::Ordering},
    time::Duration,
};

use futures_util::FutureExt;
use tokio::{sync::mpsc, time::Instant};

use super::{
    Change, Inner, Left, Orphans,
    pod::{Pod, Task},
    slot::{Sinks, Slot},
    spool::Reclaimed,
};
use crate::{
    config::{self, Config, Endpoint, EndpointChange, EndpointDiff},
    core::{
        event::LinkId,
        link::{Input, Link},
        phase::Reason,
        receipt::{Fate, State},
    },
    hub::Hub,
    link::{self, Dialer, Order},
    store::Store,
};

/// Orders that may wait for a link's task.
const ORDERS: usize = 32;
/// Panics forgiven within [`PANIC_WINDOW`].
const PANIC_BUDGET: u32 = 3;
const PANIC_WINDOW: Duration = Duration::from_mins(10);
/// What a task gets to end beyond the time that its link has for closing.
const GRACE: Duration = Duration::from_millis(500);

impl Inner {
    /// Brings the pool to `config`: what is unchanged is left alone.
    pub(super) async fn apply(self: &Arc<Self>, config: Arc<Config>) -> Vec<Change> {
        let _one_at_a_time = self.applying.lock().await;
        self.step();
        let diff = config::diff(&self.config(), &config);
        if !diff.restart.is_empty() {
            tracing::warn!(keys = diff.restart.join(", "), "these changes take a restart and are not in force");
        }
        let mut changes = Vec::new();
        self.gate.set_policy(config.admission.clone());
        self.open_store(&config).await;
        self.hand_out().await;
        for name in
            diff.endpoints.iter().filter(|(_, change)| **change == EndpointChange::Removed).map(|(name, _)| name)
        {
            self.remove_endpoint(name, &mut changes).await;
            self.step();
        }
        for (name, endpoint) in &config.endpoints {
            match (diff.endpoints.get(name), self.pod(name)) {
                (None, Some(pod)) => {
                    changes.extend(pod.slots().iter().map(|slot| change(slot, "unchanged", Vec::new())));
                }
                (Some(EndpointChange::Changed(found)), Some(pod)) => {
                    self.change_endpoint(&pod, endpoint, found, &mut changes).await;
                }
                (None | Some(_), None) => self.add_endpoint(endpoint, &mut changes),
                (Some(EndpointChange::Added | EndpointChange::Removed), Some(_)) => {}
            }
            self.step();
        }
        *self.config.write().unwrap_or_else(PoisonError::into_inner) = config;
        changes
    }

    /// A change moves: the one who looks after the whole is told.
    fn step(&self) {
        self.steps.fetch_add(1, Ordering::Relaxed);
    }

    /// Opens the store where an endpoint needs it, or an earlier life has left one.
    async fn open_store(&self, config: &Config) {
        let needed = config.endpoints.values().any(|endpoint| endpoint.link.outbox.durable);
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

    fn add_endpoint(self: &Arc<Self>, endpoint: &Arc<Endpoint>, changes: &mut Vec<Change>) {
        let name = Arc::clone(&endpoint.name);
        let inbox = Hub::new(endpoint.inbox.clone(), endpoint.links, Arc::clone(&self.budget), self.first_cursor);
        let sinks = Sinks {
            inbox,
            log: Arc::clone(&self.log),
            receipts: Arc::clone(&self.receipts),
            spool: Arc::clone(&self.spool),
            dead: Arc::clone(&self.dead),
        };
        let pod = Arc::new(Pod::new(Arc::clone(endpoint), Arc::new(sinks), self.families.endpoint(&name)));
        for index in 0..endpoint.links {
            self.add_link(&pod, endpoint, index, changes);
        }
        self.pods().insert(name, pod);
    }

    fn add_link(self: &Arc<Self>, pod: &Arc<Pod>, endpoint: &Arc<Endpoint>, index: u32, changes: &mut Vec<Change>) {
        let id = LinkId { endpoint: Arc::clone(&endpoint.name), index };
        changes.push(Change { link: id.to_string(), action: "added", why: Vec::new() });
        let (orders, inbound) = mpsc::channel(ORDERS);
        let metrics = self.families.link(&endpoint.name, index);
        let slot = Slot::new(id, endpoint, orders, metrics, Arc::clone(&pod.sinks));
        let handle = tokio::spawn(Arc::clone(self).keep(Arc::clone(pod), Arc::clone(&slot), inbound));
        pod.tasks().push(Task { slot, handle });
    }

    /// Runs a link's task, and runs it again when it panics.
    async fn keep(self: Arc<Self>, pod: Arc<Pod>, slot: Arc<Slot>, mut orders: mpsc::Receiver<Box<Order>>) {
        let (mut panics, mut window) = (0, Instant::now());
        let mut first = Input::Start;
        loop {
            let seed = self.seed.fetch_add(1, Ordering::Relaxed);
            let link = self.link(&pod, &slot, seed);
            let source = Arc::clone(&pod);
            let dialer = Dialer::new(slot.id.clone(), Arc::new(move || source.config_for_attempt()), self.gate());
            let host: Arc<Slot> = Arc::clone(&slot);
            // What a panic may leave half-done is dropped with the link; slot, ledger and hubs recover from a poisoned lock.
            let run = link::run(link, first, dialer, host, &mut orders);
            #[cfg(any(test, feature = "wedge"))]
            let run = super::wedge::until_wedged(&pod, run);
            if AssertUnwindSafe(run).catch_unwind().await.is_ok() {
                return;
            }
            if window.elapsed() > PANIC_WINDOW {
                (panics, window) = (0, Instant::now());
            }
            panics += 1;
            slot.panicked(panics);
            let Reclaimed { mut waiting, unknown } = self.spool.reclaim(&slot.id, Fate::Panicked).await;
            slot.lost(&vec![State::Unknown; unknown.len()], Fate::Panicked);
            waiting.extend(unknown);
            let ends = self.receipts.abandon(&slot.id.endpoint, slot.id.index, &waiting, Fate::Panicked);
            slot.lost(&ends, Fate::Panicked);
            first = if panics > PANIC_BUDGET { Input::Park(Reason::Panicked) } else { Input::Start };
        }
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

    async fn remove_endpoint(&self, name: &str, changes: &mut Vec<Change>) {
        let Some(pod) = self.pods().remove(name) else { return };
        let tasks = std::mem::take(&mut *pod.tasks());
        changes.extend(tasks.iter().map(|task| change(&task.slot, "removed", Vec::new())));
        self.end_removed(tasks, pod.config().link.close_timeout).await;
        pod.sinks.inbox.close();
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

    async fn change_endpoint(
        self: &Arc<Self>,
        pod: &Arc<Pod>,
        new: &Arc<Endpoint>,
        found: &EndpointDiff,
        changes: &mut Vec<Change>,
    ) {
        let old = pod.config();
        pod.set_config(Arc::clone(new));
        pod.sinks.inbox.set_policy(new.inbox.clone(), new.links);
        let keep = (new.links as usize).min(pod.tasks().len());
        let surplus = pod.tasks().split_off(keep);
        let redial = !found.redial.is_empty();
        let action = match (redial, found.live.is_empty()) {
            (true, _) => "reconnect",
            (false, false) => "applied live",
            (false, true) => "unchanged",
        };
        for slot in pod.slots() {
            if redial || !found.live.is_empty() {
                let policy = Arc::clone(&new.link);
                // A task that has ended was told to: nothing is left to retune.
                let _ = slot.orders.send(Box::new(Order::Retune { policy, redial })).await;
            }
            let why = found.redial.iter().chain(&found.live).copied().collect();
            changes.push(change(&slot, action, why));
        }
        changes.extend(surplus.iter().map(|task| change(&task.slot, "removed", Vec::new())));
        self.end_removed(surplus, old.link.close_timeout).await;
        for index in old.links..new.links {
            self.add_link(pod, new, index, changes);
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
        let flush_until = deadline - longest_close.min(left / 2);
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
            let held = tokio::time::timeout_at(deadline + GRACE, self.spool.held(&left.endpoint)).await;
            left.messages = held.ok().flatten().unwrap_or(left.messages);
        }
        left.retain(|left| left.messages > 0);
        for pod in pods {
            pod.sinks.inbox.close();
        }
        self.log.close();
        // A disk that hangs must not hold up the end for ever; what it has said yes to is there.
        let _ = tokio::time::timeout_at(deadline + GRACE, self.spool.close()).await;
        left
    }
}

fn change(slot: &Slot, action: &'static str, why: Vec<&'static str>) -> Change {
    Change { link: slot.id.to_string(), action, why }
}

/// Stops tasks and waits for their ends; one that does not end in time is aborted.
async fn end(tasks: Vec<Task>, within: Duration, fate: Fate) {
    let deadline = Instant::now() + within + GRACE;
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
