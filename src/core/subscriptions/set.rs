//! The subscriptions of an endpoint: which keys, who holds them, with which link each is.
//!
//! A key is there as long as somebody holds it: a program by a name, with a lease or without, a local WebSocket, the configuration. With which
//! link it is, [`Spread`] says. What links are to do about it is fetched by [`Set::poll_change`].
//!
//! What a reader would get wrong: a lease that has ended is still held until [`Set::expire`] is called, as with every deadline of the core.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
    time::{Duration, Instant},
};

use super::{
    Change, Held, Holder, Policy, Reached, Refusal, State, Told, Wish,
    spread::{Move, Spread},
};
use crate::{clock::Clock, message::Payload};

/// The longest key, in bytes.
pub(super) const KEY_MAX: usize = 1024;
/// Who may hold one key.
pub(super) const HOLDERS_MAX: usize = 256;
/// What a key costs beside its bytes, about.
const OVERHEAD: usize = 512;

/// The keys of an endpoint.
#[derive(Debug)]
pub struct Set {
    policy: Policy,
    pub(super) keys: BTreeMap<Arc<str>, Key>,
    /// Keys of which what is kept over a restart has changed.
    pub(super) touched: BTreeSet<Arc<str>>,
    by_place: BTreeMap<u64, Arc<str>>,
    next: u64,
    spread: Spread,
    leases: BTreeSet<(Instant, Arc<str>, Holder)>,
    changes: VecDeque<(u32, Change)>,
    counts: [usize; State::ALL.len()],
    bytes: usize,
}

/// How a key comes into the set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Coming {
    /// Somebody asks, and can be told that there is no room.
    Asked,
    /// By the configuration: where there is no room, it waits.
    Configured,
    /// It was there before a restart, and somebody was told so: no limit that is new since lets it go.
    Restored,
}

#[derive(Debug)]
pub(super) struct Key {
    pub(super) wish: Wish,
    state: State,
    why: Option<Arc<str>>,
    pub(super) holders: BTreeMap<Holder, Option<Instant>>,
}

impl Set {
    /// No keys, and as many links as there must be.
    pub fn new(now: Instant, policy: Policy) -> Self {
        let mut set = Self {
            keys: BTreeMap::new(),
            touched: BTreeSet::new(),
            by_place: BTreeMap::new(),
            next: 1,
            spread: Spread::default(),
            leases: BTreeSet::new(),
            changes: VecDeque::new(),
            counts: [0; State::ALL.len()],
            bytes: 0,
            policy,
        };
        set.spread.follow(now, &set.policy);
        set
    }

    /// Places are given above those of the set that the links have followed before, up to `newest`.
    pub fn number_after(&mut self, newest: u64) {
        self.next = self.next.max(newest.saturating_add(1));
    }

    /// There are no subscriptions any more, whoever holds keys, and links are told so. Answers with the newest place.
    pub fn end(&mut self, now: Instant) -> u64 {
        let homes = |place: &u64| self.spread.link_of(*place).is_some();
        // Those that wait first: they take no room that becomes free.
        let (at_home, waiting): (Vec<u64>, Vec<u64>) = self.by_place.keys().partition(|place| homes(place));
        for place in waiting.into_iter().chain(at_home) {
            if let Some(key) = self.by_place.get(&place).cloned() {
                self.remove(now, &key, None);
            }
        }
        self.next.saturating_sub(1)
    }

    /// Somebody wants a key, or renews a lease.
    pub fn put(
        &mut self,
        now: Instant,
        key: &str,
        holder: Holder,
        lease: Option<Duration>,
        message: Option<Payload>,
    ) -> Result<Told, Refusal> {
        let coming = if holder == Holder::Configuration { Coming::Configured } else { Coming::Asked };
        self.put_as(now, key, (holder, coming), lease, message)
    }

    pub(super) fn put_as(
        &mut self,
        now: Instant,
        key: &str,
        (holder, coming): (Holder, Coming),
        lease: Option<Duration>,
        message: Option<Payload>,
    ) -> Result<Told, Refusal> {
        if key.is_empty() || key.len() > KEY_MAX {
            return Err(Refusal::BadKey);
        }
        let told = if let Some(held) = self.keys.get_mut(key) {
            if held.holders.len() >= HOLDERS_MAX && !held.holders.contains_key(&holder) {
                return Err(Refusal::TooManyHolders(HOLDERS_MAX));
            }
            let is_other = message.is_some() && held.wish.add != message;
            if is_other {
                self.bytes = self.bytes.saturating_sub(weight(&held.wish));
                held.wish.add = message;
                self.bytes = self.bytes.saturating_add(weight(&held.wish));
            }
            if let Some(link) = self.spread.link_of(held.wish.place)
                && (is_other || held.state == State::Refused)
            {
                self.changes.push_back((link, Change::Add(held.wish.clone())));
            }
            Told::Shared
        } else {
            self.add(now, key, message, coming)?;
            Told::New
        };
        self.hold(key, holder, lease.map(|lease| now.later(lease)));
        Ok(told)
    }

    fn add(&mut self, now: Instant, key: &str, message: Option<Payload>, coming: Coming) -> Result<(), Refusal> {
        let is_back = coming == Coming::Restored;
        if message.is_none() && !self.policy.has_template && !is_back {
            return Err(Refusal::NoMessage);
        }
        if self.keys.len() >= self.policy.max_keys && !is_back {
            return Err(Refusal::TooMany(self.policy.max_keys));
        }
        let place = self.next;
        if !self.spread.enter(now, &self.policy, place, coming != Coming::Asked) {
            return Err(Refusal::Full {
                per_link: self.policy.per_link.unwrap_or(u32::MAX),
                links: self.policy.links.1,
            });
        }
        self.next = self.next.saturating_add(1);
        let key: Arc<str> = key.into();
        let wish = Wish { place, key: Arc::clone(&key), add: message, remove: None };
        self.bytes = self.bytes.saturating_add(weight(&wish));
        self.by_place.insert(place, Arc::clone(&key));
        self.count(State::Pending, true);
        let why = self.spread.link_of(place).is_none().then(|| no_room(&self.policy));
        self.keys.insert(key, Key { wish, state: State::Pending, why, holders: BTreeMap::new() });
        self.follow_moves();
        Ok(())
    }

    /// Tells links of keys that have come or gone.
    fn follow_moves(&mut self) {
        while let Some(Move { place, from, to }) = self.spread.poll_move() {
            let Some(held) = self.by_place.get(&place).and_then(|key| self.keys.get_mut(key)) else { continue };
            if let Some(link) = from {
                self.changes.push_back((link, Change::Remove { place, message: None }));
            }
            if let Some(link) = to {
                self.changes.push_back((link, Change::Add(held.wish.clone())));
            }
            held.why = if to.is_none() { Some(no_room(&self.policy)) } else { None };
            let before = std::mem::replace(&mut held.state, State::Pending);
            self.count(before, false);
            self.count(State::Pending, true);
        }
    }

    fn hold(&mut self, key: &str, holder: Holder, until: Option<Instant>) {
        let Some(held) = self.keys.get_mut(key) else { return };
        let key = &held.wish.key;
        if self.policy.is_durable {
            self.touched.insert(Arc::clone(key));
        }
        if let Some(until) = until {
            self.leases.insert((until, Arc::clone(key), holder.clone()));
        }
        if let Some(Some(before)) = held.holders.insert(holder.clone(), until)
            && until != Some(before)
        {
            self.leases.remove(&(before, Arc::clone(key), holder));
        }
    }

    /// Somebody releases a key; the last one says it to the peer, in its own words where there is a `message`. `None`: that one does not
    /// hold it. Answers whether it was the last.
    pub fn release(&mut self, now: Instant, key: &str, holder: &Holder, message: Option<Payload>) -> Option<bool> {
        let held = self.keys.get_mut(key)?;
        let until = held.holders.remove(holder)?;
        if self.policy.is_durable {
            self.touched.insert(Arc::clone(&held.wish.key));
        }
        if let Some(until) = until {
            self.leases.remove(&(until, Arc::clone(&held.wish.key), holder.clone()));
        }
        if !held.holders.is_empty() {
            return Some(false);
        }
        self.remove(now, key, message);
        Some(true)
    }

    /// One releases all that it holds.
    pub fn release_all(&mut self, now: Instant, holder: &Holder) {
        let theirs = self.keys.values().filter(|held| held.holders.contains_key(holder));
        let keys: Vec<Arc<str>> = theirs.map(|held| Arc::clone(&held.wish.key)).collect();
        for key in keys {
            self.release(now, &key, holder, None);
        }
    }

    fn remove(&mut self, now: Instant, key: &str, message: Option<Payload>) {
        let Some(Key { wish, state, .. }) = self.keys.remove(key) else { return };
        self.by_place.remove(&wish.place);
        self.bytes = self.bytes.saturating_sub(weight(&wish));
        self.count(state, false);
        if let Some(link) = self.spread.link_of(wish.place) {
            self.changes.push_back((link, Change::Remove { place: wish.place, message }));
        }
        self.spread.leave(now, &self.policy, wish.place);
        self.follow_moves();
    }

    /// The configuration holds these keys, and no others. Answers with those that are not taken, and why.
    pub fn configure(&mut self, now: Instant, keys: &[Arc<str>]) -> Vec<(Arc<str>, Refusal)> {
        let wanted: BTreeSet<&str> = keys.iter().map(|key| &**key).collect();
        let holds = |held: &&Key| held.holders.contains_key(&Holder::Configuration);
        let before = self.keys.values().filter(holds).map(|held| Arc::clone(&held.wish.key));
        for key in before.filter(|key| !wanted.contains(&**key)).collect::<Vec<_>>() {
            self.release(now, &key, &Holder::Configuration, None);
        }
        let put = |key: &Arc<str>| {
            self.put(now, key, Holder::Configuration, None, None).err().map(|refusal| (Arc::clone(key), refusal))
        };
        keys.iter().filter_map(put).collect()
    }

    /// Keys whose leases have ended are released, and keys of links that are down for too long move.
    pub fn expire(&mut self, now: Instant) {
        while let Some((until, key, holder)) = self.leases.first().cloned()
            && until <= now
        {
            self.leases.pop_first();
            self.release(now, &key, &holder, None);
        }
        self.spread.expire(now, &self.policy);
        self.follow_moves();
    }

    /// When to call [`Set::expire`].
    pub fn poll_timeout(&self) -> Option<Instant> {
        let lease = self.leases.first().map(|(until, ..)| *until);
        lease.into_iter().chain(self.spread.poll_timeout(&self.policy)).min()
    }

    /// What a link is to do next, and which.
    pub fn poll_change(&mut self) -> Option<(u32, Change)> {
        self.changes.pop_front()
    }

    /// What a link is to ask for that begins.
    pub fn wishes(&self, link: u32) -> Vec<Change> {
        let wish = |place| Some(Change::Add(self.keys.get(self.by_place.get(&place)?)?.wish.clone()));
        self.spread.places(link).filter_map(wish).collect()
    }

    /// A link says what became of its keys.
    pub fn reached(&mut self, link: u32, reached: Vec<Reached>) {
        for Reached { place, state, why } in reached {
            let Some(held) = self.by_place.get(&place).and_then(|key| self.keys.get_mut(key)) else { continue };
            if self.spread.link_of(place) == Some(link) {
                let before = std::mem::replace(&mut held.state, state);
                held.why = why;
                self.count(before, false);
                self.count(state, true);
            }
        }
    }

    /// A link is ready, or is so no more.
    pub fn set_ready(&mut self, now: Instant, link: u32, is_ready: bool) {
        self.spread.set_ready(now, link, is_ready);
    }

    /// A link that was closed, because there was nothing left for it to do, is gone.
    pub fn set_gone(&mut self, link: u32) {
        self.spread.set_gone(link);
    }

    /// The numbers of the links that there are to be, which may have holes.
    pub fn links(&self) -> impl ExactSizeIterator<Item = u32> {
        self.spread.links()
    }

    /// Whether there are to be others than when this was last asked.
    pub fn take_other_links(&mut self) -> bool {
        self.spread.take_other_links()
    }

    /// Follows a changed policy. Keys of links that are no more, and those that are too many on one, go elsewhere.
    pub fn set_policy(&mut self, now: Instant, policy: Policy) {
        if self.policy != policy {
            self.policy = policy;
            self.spread.follow(now, &self.policy);
            self.follow_moves();
        }
    }

    fn count(&mut self, state: State, is_one_more: bool) {
        if let Some(count) = self.counts.get_mut(state as usize) {
            *count = if is_one_more { count.saturating_add(1) } else { count.saturating_sub(1) };
        }
    }

    /// How many keys somebody holds beside the configuration.
    pub fn held_by_programs(&self) -> usize {
        let is_theirs = |key: &&Key| key.holders.keys().any(|holder| *holder != Holder::Configuration);
        self.keys.values().filter(is_theirs).count()
    }

    /// So many keys are there, and may be, where those are more: no more are taken, and none is let go.
    pub fn surplus(&self) -> Option<(usize, usize)> {
        let counts = (self.keys.len(), self.policy.max_keys);
        (counts.0 > counts.1).then_some(counts)
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// How many keys are in each state, in the order of [`State::ALL`].
    pub fn counts(&self) -> [usize; State::ALL.len()] {
        self.counts
    }

    /// How many keys a link has in each state.
    pub fn counts_of(&self, link: u32) -> [usize; State::ALL.len()] {
        let mut counts = [0_usize; State::ALL.len()];
        for held in self.spread.places(link).filter_map(|place| self.keys.get(self.by_place.get(&place)?)) {
            if let Some(count) = counts.get_mut(held.state as usize) {
                *count = count.saturating_add(1);
            }
        }
        counts
    }

    /// What it takes, in bytes, about.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// A key.
    pub fn get(&self, key: &str) -> Option<Held> {
        self.keys.get(key).map(|held| self.shown(held))
    }

    /// Keys in order, those behind the one at this place, at most so many; and the place of the last where there are more.
    pub fn list(&self, after: u64, limit: usize) -> (Vec<Held>, Option<u64>) {
        let mut rest = self.by_place.range(after.saturating_add(1)..);
        let page: Vec<(&u64, &Arc<str>)> = rest.by_ref().take(limit).collect();
        let last = page.last().map(|(place, _)| **place).filter(|_| rest.next().is_some());
        (page.into_iter().filter_map(|(_, key)| self.get(key)).collect(), last)
    }

    fn shown(&self, held: &Key) -> Held {
        Held {
            key: Arc::clone(&held.wish.key),
            link: self.spread.link_of(held.wish.place),
            state: held.state,
            why: held.why.clone(),
            holders: held.holders.iter().map(|(holder, until)| (holder.clone(), *until)).collect(),
        }
    }
}

fn no_room(policy: &Policy) -> Arc<str> {
    let (per_link, links) = (policy.per_link.unwrap_or(u32::MAX), policy.links.1);
    format!("no link has room: each of {links} has {per_link} keys, as `subscriptions.per_link` allows").into()
}

fn weight(wish: &Wish) -> usize {
    let message = wish.add.as_ref().map_or(0, Payload::len);
    OVERHEAD.saturating_add(wish.key.len()).saturating_add(message)
}
