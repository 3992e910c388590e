//! The subscriptions of an endpoint at work: who holds which key, and the links that are told.
//!
//! Programs put and release keys by [`Pool`]; what a link is to do about it goes to its task as what the disk answers does, in the order in
//! which it was decided. What a reader would get wrong: links are told under the lock of the set, so that no two changes of one key pass each
//! other on the way; nothing that holds a lock of a link's slot may ask the set for anything.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant, SystemTime},
};

use parking_lot::Mutex;
use tokio::{sync::Notify, time::sleep_until};

use super::{
    handle::Pool,
    lasting::{self, Handed},
    parts::PoolParts,
    runtime::EndpointRuntime,
    supervisor::Supervisor,
};
use crate::endpoint::{self, Endpoint};
use wskeeper_core::{
    budget::{Budget, Lease, Rank},
    clock::Clock,
    link::Input,
    message::Payload,
    subscriptions::{Change, Held, Holder, Policy, Reached, Refusal, Set, State, Told},
};

fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

/// A key that somebody wants.
#[derive(Debug, Clone)]
pub struct Subscribe {
    /// The key.
    pub key: Box<str>,
    /// Who holds it.
    pub holder: Holder,
    /// It is released where this is not renewed in time.
    pub lease: Option<Duration>,
    /// What asks the peer for it; without one the endpoint's template does.
    pub message: Option<Payload>,
}

/// Why a key was not taken, or not released.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SubscribeError {
    /// There is no such endpoint.
    NoEndpoint(String),
    /// It has no subscriptions.
    NoSubscriptions(String),
    /// The set says no.
    Refused(Refusal),
    /// The message is longer than the endpoint takes.
    TooBig {
        /// Its bytes.
        bytes: usize,
        /// So many at most.
        limit: usize,
    },
    /// All the memory that may be taken is taken.
    NoRoom,
    /// There is no such key, or this one does not hold it.
    NotHeld(String),
    /// The pool is stopping.
    Draining,
}

/// A key as it is now.
#[derive(Debug, Clone)]
pub struct SubscriptionView {
    /// The key.
    pub key: Arc<str>,
    /// The link that it is with; `None`: it waits until one has room.
    pub link: Option<u32>,
    /// What became of it.
    pub state: State,
    /// Why it was refused.
    pub why: Option<Arc<str>>,
    /// Who holds it.
    pub holders: Vec<HolderView>,
}

/// One who holds a key.
#[derive(Debug, Clone)]
pub struct HolderView {
    /// Who.
    pub holder: Holder,
    /// When the lease ends, where there is one.
    pub until: Option<SystemTime>,
}

/// What an endpoint's links ask their peers for. In a box: most endpoints have none.
#[derive(Debug)]
pub(super) struct Subscriptions {
    kept: Mutex<Option<Box<Kept>>>,
    /// The newest place of sets that have ended: links and peers may still know it.
    newest: AtomicU64,
    handed: Arc<Handed>,
    budget: Arc<Budget>,
    wake: Arc<Notify>,
}

#[derive(Debug)]
struct Kept {
    set: Set,
    /// The configuration has no subscriptions: a program came with a message of its own.
    is_bare: bool,
    /// For keys and messages.
    lease: Lease,
}

impl Subscriptions {
    pub(super) fn new(budget: &Arc<Budget>, wake: Arc<Notify>) -> Self {
        Self {
            kept: Mutex::default(),
            newest: AtomicU64::new(0),
            handed: Handed::new(&wake),
            budget: Arc::clone(budget),
            wake,
        }
    }

    /// There are subscriptions from now on, if there were none.
    fn begin_set(&self, now: Instant, configured: &endpoint::Subscriptions) {
        let kept = &mut *self.kept.lock();
        let kept = kept.get_or_insert_with(|| {
            let lease = self.budget.lease(Rank::Arriving);
            let mut set = Set::new(now, configured.policy.clone());
            set.number_after(self.newest.load(Ordering::Relaxed));
            Box::new(Kept { set, is_bare: true, lease })
        });
        kept.is_bare &= configured.is_bare;
    }

    /// Whether a program has brought subscriptions to an endpoint that has none by its configuration.
    pub(super) fn is_bare(&self) -> bool {
        self.kept.lock().as_ref().is_some_and(|kept| kept.is_bare)
    }

    /// A link says what became of its keys.
    pub(super) fn reached(&self, link: u32, reached: Vec<Reached>) {
        if let Some(kept) = &mut *self.kept.lock() {
            kept.set.reached(link, reached);
        }
    }

    /// A link is ready, or is so no more.
    pub(super) fn set_ready(&self, now: Instant, link: u32, is_ready: bool) {
        if let Some(kept) = &mut *self.kept.lock() {
            kept.set.set_ready(now, link, is_ready);
            if !is_ready {
                self.wake.notify_one();
            }
        }
    }

    /// A link that was closed is gone.
    pub(super) fn set_gone(&self, link: u32) {
        if let Some(kept) = &mut *self.kept.lock() {
            kept.set.set_gone(link);
        }
    }

    /// A link begins: it is `told` what it is to ask for, where there is anything.
    pub(super) fn begin(&self, link: u32, told: impl FnOnce(Box<[Change]>)) {
        if let Some(kept) = &*self.kept.lock() {
            let wishes = kept.set.wishes(link);
            if !wishes.is_empty() {
                told(wishes.into());
            }
        }
    }

    /// The numbers of the links that there are to be; `None`: the endpoint has no subscriptions.
    pub(super) fn links(&self) -> Option<BTreeSet<u32>> {
        self.kept.lock().as_ref().map(|kept| kept.set.links().collect())
    }

    /// How many keys are in each state, in the order of [`State::ALL`]; `None` where the endpoint has no subscriptions.
    pub(super) fn counts(&self) -> Option<[usize; State::ALL.len()]> {
        self.kept.lock().as_ref().map(|kept| kept.set.counts())
    }

    /// So many keys there are, and may be, where those are more.
    pub(super) fn surplus(&self) -> Option<(usize, usize)> {
        self.kept.lock().as_ref()?.set.surplus()
    }

    /// The same as `counts` of a link.
    pub(super) fn counts_of(&self, link: u32) -> Option<[usize; State::ALL.len()]> {
        self.kept.lock().as_ref().map(|kept| kept.set.counts_of(link))
    }
}

impl EndpointRuntime {
    /// Changes the set, and tells links what follows.
    fn with_set<R>(&self, act: impl FnOnce(&mut Set) -> R) -> Option<R> {
        let subscriptions = &self.sinks.subscriptions;
        let mut kept = subscriptions.kept.lock();
        let kept = kept.as_deref_mut()?;
        let due = kept.set.poll_timeout();
        let answer = act(&mut kept.set);
        self.tell(&mut kept.set);
        subscriptions.handed.hand_over(&mut kept.set, &self.name, &self.sinks.spool, &self.sinks.calendar);
        if kept.set.take_other_links() || kept.set.poll_timeout() != due {
            subscriptions.wake.notify_one();
        }
        // What is released makes room, and what was there already stays.
        kept.lease.resize_beyond(kept.set.bytes() as u64);
        Some(answer)
    }

    /// There are no subscriptions any more; answers how many keys programs held, where there were.
    fn end_set(&self) -> Option<usize> {
        let subscriptions = &self.sinks.subscriptions;
        let mut locked = subscriptions.kept.lock();
        let mut kept = locked.take()?;
        let held = kept.set.held_by_programs();
        subscriptions.newest.store(kept.set.end(now()), Ordering::Relaxed);
        self.tell(&mut kept.set);
        Some(held)
    }

    fn tell(&self, set: &mut Set) {
        let mut told: BTreeMap<u32, Vec<Change>> = BTreeMap::new();
        while let Some((link, change)) = set.poll_change() {
            told.entry(link).or_default().push(change);
        }
        for (link, changes) in told {
            // A link that is about to begin asks what it is to do.
            if let Some(slot) = self.slot(link) {
                slot.answer(Input::Subscriptions(changes.into()));
            }
        }
    }

    fn view_of_key(&self, held: Held) -> SubscriptionView {
        let (now, wall) = (now(), self.sinks.calendar.now());
        let until = |at: Instant| wall.checked_add(at.saturating_duration_since(now));
        let holder =
            |(holder, until_at): (Holder, Option<Instant>)| HolderView { holder, until: until_at.and_then(until) };
        let Held { key, link, state, why, holders } = held;
        SubscriptionView { key, link, state, why, holders: holders.into_iter().map(holder).collect() }
    }
}

/// An endpoint as it is in force: where programs hold keys of one whose configuration says nothing of subscriptions, it has some all the same.
pub(super) fn in_force(endpoint: &Arc<Endpoint>, holds_keys: bool) -> Arc<Endpoint> {
    if holds_keys && endpoint.subscriptions.is_none() {
        Arc::new(endpoint.with_subscriptions())
    } else {
        Arc::clone(endpoint)
    }
}

/// The endpoint is as it is in force.
pub(super) fn configure(runtime: &EndpointRuntime, endpoint: &Endpoint, was_durable: bool) {
    let subscriptions = &runtime.sinks.subscriptions;
    if was_durable && !endpoint.keeps_keys() {
        runtime.sinks.spool.forget_keys(&runtime.name);
    }
    let Some(configured) = &endpoint.subscriptions else {
        return end(runtime);
    };
    let now = now();
    subscriptions.begin_set(now, configured);
    let refused = runtime.with_set(|set| {
        set.set_policy(now, Policy::clone(&configured.policy));
        let refused = set.configure(now, &configured.keys);
        if endpoint.keeps_keys() {
            lasting::restore(runtime, set, now);
            if !was_durable {
                set.touch(None);
            }
        }
        refused
    });
    for (key, refusal) in refused.unwrap_or_default() {
        tracing::warn!(endpoint = %runtime.name, %key, ?refusal, "a key of the configuration is not subscribed to");
    }
    if let Some((keys, max_keys)) = subscriptions.surplus() {
        tracing::warn!(endpoint = %runtime.name, keys, max_keys, "programs hold more keys than subscriptions.max_keys allows: they stay, and no others are taken");
    }
    subscriptions.wake.notify_one();
}

/// The configuration has the endpoint, or its subscriptions, no more: whoever holds keys holds them no more.
pub(super) fn end(runtime: &EndpointRuntime) {
    let Some(keys) = runtime.end_set() else { return };
    runtime.sinks.spool.forget_keys(&runtime.name);
    if keys > 0 {
        tracing::warn!(endpoint = %runtime.name, keys, "the configuration has no subscriptions here any more: keys that programs held are released");
    }
}

/// Releases what is not renewed, and has as many links as the keys need, again and again.
pub(super) async fn keep(parts: Arc<PoolParts>, supervisor: Arc<Supervisor>) {
    let (mut refused_keys, mut retry_at) = (BTreeMap::<Arc<str>, BTreeSet<Arc<str>>>::new(), now());
    loop {
        let now = now();
        let mut next: Option<Instant> = None;
        for runtime in parts.endpoints.all() {
            let due = runtime.sinks.subscriptions.kept.lock().as_ref().and_then(|kept| kept.set.poll_timeout());
            let due = if due.is_some_and(|at| at <= now) {
                runtime.with_set(|set| {
                    set.expire(now);
                    set.poll_timeout()
                })
            } else {
                Some(due)
            };
            next = next.into_iter().chain(due.flatten()).min();
        }
        let mut again = None;
        for runtime in parts.endpoints.all() {
            let refused = runtime.sinks.subscriptions.handed.take_refused();
            if !refused.is_empty() {
                // Beside those that wait for the next try already.
                refused_keys.entry(Arc::clone(&runtime.name)).or_default().extend(refused);
            }
        }
        if !refused_keys.is_empty() && now >= retry_at {
            for (name, refused) in std::mem::take(&mut refused_keys) {
                if let Some(runtime) = parts.endpoints.get(&name) {
                    runtime.with_set(|set| set.touch(Some(refused.into_iter().collect())));
                }
            }
            retry_at = now.later(lasting::RETRY);
        }
        if !refused_keys.is_empty() {
            again = Some(retry_at);
        }
        let look_at = supervisor.fit_links().await;
        let next = next.into_iter().chain(look_at).chain(again).min();
        tokio::select! {
            () = parts.wake_subscriptions.notified() => {}
            () = sleep_until(next.unwrap_or(now).into()), if next.is_some() => {}
        }
    }
}

impl Pool {
    fn with_subscriptions(&self, endpoint: &str) -> Result<Arc<EndpointRuntime>, SubscribeError> {
        let no_endpoint = || SubscribeError::NoEndpoint(endpoint.to_owned());
        let runtime = self.inner.parts.endpoints.get(endpoint).ok_or_else(no_endpoint)?;
        if runtime.sinks.subscriptions.counts().is_none() {
            return Err(SubscribeError::NoSubscriptions(endpoint.to_owned()));
        }
        Ok(runtime)
    }

    fn begin_bare(&self, endpoint: &str) -> Result<Arc<EndpointRuntime>, SubscribeError> {
        let no_endpoint = || SubscribeError::NoEndpoint(endpoint.to_owned());
        let runtime = self.inner.parts.endpoints.get(endpoint).ok_or_else(no_endpoint)?;
        if let Some(subscriptions) = &runtime.config().with_subscriptions().subscriptions {
            runtime.sinks.subscriptions.begin_set(now(), subscriptions);
        }
        runtime.sinks.subscriptions.wake.notify_one();
        Ok(runtime)
    }

    /// Waits until the store has said what becomes of the keys that were put or released, where the endpoint keeps them.
    pub async fn subscriptions_settled(&self, endpoint: &str) {
        if let Some(runtime) = self.inner.parts.endpoints.get(endpoint) {
            runtime.sinks.subscriptions.handed.settled().await;
        }
    }

    /// Somebody wants a key, or renews a lease. Answers with the key as it is now, and whether it is new.
    pub fn subscribe_to(
        &self,
        endpoint: &str,
        subscribe: Subscribe,
    ) -> Result<(SubscriptionView, bool), SubscribeError> {
        let Subscribe { key, holder, lease, message } = subscribe;
        let runtime = self.with_subscriptions(endpoint);
        if self.is_draining() {
            return Err(SubscribeError::Draining);
        }
        let runtime = match runtime {
            // Its message says all that there is to know.
            Err(SubscribeError::NoSubscriptions(_)) if message.is_some() => self.begin_bare(endpoint)?,
            runtime => runtime?,
        };
        let limit = runtime.config().link.outbox.max_message;
        if let Some(bytes) = message.as_ref().map(Payload::len).filter(|bytes| *bytes > limit) {
            return Err(SubscribeError::TooBig { bytes, limit });
        }
        let weight = key.len() + message.as_ref().map_or(0, Payload::len);
        // What is held beside it is not much more.
        drop(self.budget().reserve(weight).ok_or(SubscribeError::NoRoom)?);
        let now = now();
        let put = runtime.with_set(|set| {
            let told = set.put(now, &key, holder, lease, message)?;
            Ok((set.get(&key), told == Told::New))
        });
        match put {
            Some(Ok((Some(held), is_new))) => Ok((runtime.view_of_key(held), is_new)),
            Some(Err(refusal)) => Err(SubscribeError::Refused(refusal)),
            Some(Ok((None, _))) | None => Err(SubscribeError::NoSubscriptions(endpoint.to_owned())),
        }
    }

    /// Somebody releases a key; the last says so to the peer, in words of its own where there is a `message`. Answers whether it was the
    /// last.
    pub fn unsubscribe_from(
        &self,
        endpoint: &str,
        key: &str,
        holder: &Holder,
        message: Option<Payload>,
    ) -> Result<bool, SubscribeError> {
        let runtime = self.with_subscriptions(endpoint)?;
        let limit = runtime.config().link.outbox.max_message;
        if let Some(bytes) = message.as_ref().map(Payload::len).filter(|bytes| *bytes > limit) {
            return Err(SubscribeError::TooBig { bytes, limit });
        }
        let released = runtime.with_set(|set| set.release(now(), key, holder, message)).flatten();
        released.ok_or_else(|| SubscribeError::NotHeld(key.to_owned()))
    }

    /// One releases all that it holds.
    pub fn unsubscribe_all(&self, endpoint: &str, holder: &Holder) {
        if let Ok(runtime) = self.with_subscriptions(endpoint) {
            runtime.with_set(|set| set.release_all(now(), holder));
        }
    }

    /// A key.
    pub fn subscription(&self, endpoint: &str, key: &str) -> Result<SubscriptionView, SubscribeError> {
        let runtime = self.with_subscriptions(endpoint)?;
        let held = runtime.with_set(|set| set.get(key)).flatten();
        held.map(|held| runtime.view_of_key(held)).ok_or_else(|| SubscribeError::NotHeld(key.to_owned()))
    }

    /// Keys in order, those behind this place, at most so many; and the place of the last where there are more.
    pub fn subscriptions(
        &self,
        endpoint: &str,
        after: u64,
        limit: usize,
    ) -> Result<(Vec<SubscriptionView>, Option<u64>), SubscribeError> {
        let runtime = self.with_subscriptions(endpoint)?;
        let (held, next) = runtime.with_set(|set| set.list(after, limit)).unwrap_or_default();
        Ok((held.into_iter().map(|held| runtime.view_of_key(held)).collect(), next))
    }
}
