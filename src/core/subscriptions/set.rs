//! The subscriptions of an endpoint: which keys, who holds them, with which link each is.
//!
//! A key is there as long as somebody holds it: a program by a name, with a lease or without, a local WebSocket, the configuration. It goes to
//! the link with the fewest and stays there. What links are to do about it is fetched by [`Set::poll_change`].
//!
//! What a reader would get wrong: a lease that has ended is still held until [`Set::expire`] is called, as with every deadline of the core.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
    time::{Duration, Instant},
};

use super::{Change, Held, Holder, Policy, Reached, Refusal, State, Told, Wish};
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
    keys: BTreeMap<Arc<str>, Key>,
    by_place: BTreeMap<u64, Arc<str>>,
    next: u64,
    links: Vec<Link>,
    /// Links by how many keys they have.
    loads: BTreeSet<(u32, u32)>,
    leases: BTreeSet<(Instant, Arc<str>, Holder)>,
    changes: VecDeque<(u32, Change)>,
    counts: [usize; State::ALL.len()],
    bytes: usize,
}

#[derive(Debug)]
struct Key {
    wish: Wish,
    link: u32,
    state: State,
    why: Option<Arc<str>>,
    holders: BTreeMap<Holder, Option<Instant>>,
}

#[derive(Debug, Default)]
struct Link {
    places: BTreeSet<u64>,
    down_since: Option<Instant>,
}

impl Set {
    /// No keys, and as many links as there must be.
    pub fn new(policy: Policy) -> Self {
        let mut set = Self {
            keys: BTreeMap::new(),
            by_place: BTreeMap::new(),
            next: 1,
            links: Vec::new(),
            loads: BTreeSet::new(),
            leases: BTreeSet::new(),
            changes: VecDeque::new(),
            counts: [0; State::ALL.len()],
            bytes: 0,
            policy,
        };
        set.follow_links();
        set
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
            if is_other || held.state == State::Refused {
                self.changes.push_back((held.link, Change::Add(held.wish.clone())));
            }
            Told::Shared
        } else {
            self.add(key, message)?;
            Told::New
        };
        self.hold(key, holder, lease.map(|lease| now.later(lease)));
        Ok(told)
    }

    fn add(&mut self, key: &str, message: Option<Payload>) -> Result<(), Refusal> {
        if message.is_none() && !self.policy.has_template {
            return Err(Refusal::NoMessage);
        }
        if self.keys.len() >= self.policy.max_keys {
            return Err(Refusal::TooMany(self.policy.max_keys));
        }
        let Some(link) = self.choose() else {
            return Err(Refusal::Full {
                per_link: self.policy.per_link.unwrap_or(u32::MAX),
                links: self.policy.links.1,
            });
        };
        let key: Arc<str> = key.into();
        let place = self.next;
        self.next = self.next.saturating_add(1);
        let wish = Wish { place, key: Arc::clone(&key), add: message, remove: None };
        self.bytes = self.bytes.saturating_add(weight(&wish));
        self.by_place.insert(place, Arc::clone(&key));
        self.count(State::Pending, true);
        self.changes.push_back((link, Change::Add(wish.clone())));
        self.lay(link, place, true);
        self.keys.insert(key, Key { wish, link, state: State::Pending, why: None, holders: BTreeMap::new() });
        Ok(())
    }

    fn hold(&mut self, key: &str, holder: Holder, until: Option<Instant>) {
        let Some(held) = self.keys.get_mut(key) else { return };
        let key = &held.wish.key;
        if let Some(until) = until {
            self.leases.insert((until, Arc::clone(key), holder.clone()));
        }
        if let Some(Some(before)) = held.holders.insert(holder.clone(), until)
            && until != Some(before)
        {
            self.leases.remove(&(before, Arc::clone(key), holder));
        }
    }

    /// Somebody lets go of a key; the last one says it to the peer, in its own words where there is a `message`. `None`: that one does not
    /// hold it. Answers whether it was the last.
    pub fn release(&mut self, key: &str, holder: &Holder, message: Option<Payload>) -> Option<bool> {
        let held = self.keys.get_mut(key)?;
        let until = held.holders.remove(holder)?;
        if let Some(until) = until {
            self.leases.remove(&(until, Arc::clone(&held.wish.key), holder.clone()));
        }
        if !held.holders.is_empty() {
            return Some(false);
        }
        self.remove(key, message);
        Some(true)
    }

    /// One lets go of all that it holds.
    pub fn release_all(&mut self, holder: &Holder) {
        let theirs = self.keys.values().filter(|held| held.holders.contains_key(holder));
        let keys: Vec<Arc<str>> = theirs.map(|held| Arc::clone(&held.wish.key)).collect();
        for key in keys {
            self.release(&key, holder, None);
        }
    }

    fn remove(&mut self, key: &str, message: Option<Payload>) {
        let Some(Key { wish, link, state, .. }) = self.keys.remove(key) else { return };
        self.by_place.remove(&wish.place);
        self.bytes = self.bytes.saturating_sub(weight(&wish));
        self.count(state, false);
        self.lay(link, wish.place, false);
        self.changes.push_back((link, Change::Remove { place: wish.place, message }));
        self.shrink();
    }

    /// The configuration holds these keys, and no others. Answers with those that are not taken, and why.
    pub fn configure(&mut self, now: Instant, keys: &[Arc<str>]) -> Vec<(Arc<str>, Refusal)> {
        let wanted: BTreeSet<&str> = keys.iter().map(|key| &**key).collect();
        let holds = |held: &&Key| held.holders.contains_key(&Holder::Configuration);
        let before = self.keys.values().filter(holds).map(|held| Arc::clone(&held.wish.key));
        for key in before.filter(|key| !wanted.contains(&**key)).collect::<Vec<_>>() {
            self.release(&key, &Holder::Configuration, None);
        }
        let put = |key: &Arc<str>| {
            self.put(now, key, Holder::Configuration, None, None).err().map(|refusal| (Arc::clone(key), refusal))
        };
        keys.iter().filter_map(put).collect()
    }

    /// Leases that have ended are let go of, and keys of links that are down for too long move.
    pub fn expire(&mut self, now: Instant) {
        while let Some((until, key, holder)) = self.leases.first().cloned()
            && until <= now
        {
            self.leases.pop_first();
            self.release(&key, &holder, None);
        }
        self.spread(now);
    }

    /// When to call [`Set::expire`].
    pub fn poll_timeout(&self) -> Option<Instant> {
        let lease = self.leases.first().map(|(until, ..)| *until);
        let after = self.policy.spread_after;
        let down = |link: &Link| Some(link.down_since.filter(|_| !link.places.is_empty())?.later(after?));
        lease.into_iter().chain(self.links.iter().filter_map(down)).min()
    }

    /// What a link is to do next, and which.
    pub fn poll_change(&mut self) -> Option<(u32, Change)> {
        self.changes.pop_front()
    }

    /// What a link is to ask for that begins.
    pub fn wishes(&self, link: u32) -> Vec<Change> {
        let places = self.links.get(link as usize).into_iter().flat_map(|link| &link.places);
        let wish = |place| Some(Change::Add(self.keys.get(self.by_place.get(place)?)?.wish.clone()));
        places.filter_map(wish).collect()
    }

    /// A link says how far it has come.
    pub fn reached(&mut self, link: u32, reached: Vec<Reached>) {
        for Reached { place, state, why } in reached {
            let Some(held) = self.by_place.get(&place).and_then(|key| self.keys.get_mut(key)) else { continue };
            if held.link == link {
                let before = std::mem::replace(&mut held.state, state);
                held.why = why;
                self.count(before, false);
                self.count(state, true);
            }
        }
    }

    /// A link is ready, or is so no more.
    pub fn set_ready(&mut self, now: Instant, link: u32, is_ready: bool) {
        if let Some(link) = self.links.get_mut(link as usize) {
            link.down_since = if is_ready { None } else { link.down_since.or(Some(now)) };
        }
    }

    /// How many links are needed.
    pub fn links(&self) -> u32 {
        short(self.links.len())
    }

    /// Follows a changed policy. Keys of links that are no more, and those that are too many on one, go elsewhere.
    pub fn set_policy(&mut self, policy: Policy) {
        self.policy = policy;
        self.follow_links();
        let limit = self.policy.per_link.unwrap_or(u32::MAX) as usize;
        let surplus = self.links.iter().flat_map(|link| link.places.iter().skip(limit).copied());
        for place in surplus.collect::<Vec<_>>() {
            self.relay(place);
        }
        self.shrink();
    }

    fn follow_links(&mut self) {
        let (min, max) = self.policy.links;
        while self.links() < min {
            self.grow();
        }
        while self.links() > max {
            let index = self.links().saturating_sub(1);
            let Some(link) = self.links.pop() else { break };
            self.loads.remove(&(short(link.places.len()), index));
            for place in link.places {
                self.displace(place);
            }
        }
    }

    /// A key whose link is gone goes elsewhere; where no other has room, to the one with the fewest all the same.
    fn displace(&mut self, place: u64) {
        let link = self.choose().or(self.loads.first().map(|(_, link)| *link)).unwrap_or_default();
        self.settle(place, link);
    }

    /// A key goes to another link, if one has room.
    fn relay(&mut self, place: u64) -> bool {
        let Some(link) = self.choose() else { return false };
        let Some(from) = self.link_of(place) else { return false };
        if from == link {
            return false;
        }
        self.lay(from, place, false);
        self.changes.push_back((from, Change::Remove { place, message: None }));
        self.settle(place, link);
        true
    }

    fn settle(&mut self, place: u64, link: u32) {
        let Some(held) = self.by_place.get(&place).and_then(|key| self.keys.get_mut(key)) else { return };
        let before = std::mem::replace(&mut held.state, State::Pending);
        (held.link, held.why) = (link, None);
        self.changes.push_back((link, Change::Add(held.wish.clone())));
        self.count(before, false);
        self.count(State::Pending, true);
        self.lay(link, place, true);
    }

    fn link_of(&self, place: u64) -> Option<u32> {
        Some(self.keys.get(self.by_place.get(&place)?)?.link)
    }

    fn spread(&mut self, now: Instant) {
        let Some(after) = self.policy.spread_after else { return };
        for index in 0..self.links() {
            let Some(link) = self.links.get_mut(index as usize) else { break };
            if link.places.is_empty() || link.down_since.is_none_or(|since| since.later(after) > now) {
                continue;
            }
            // Where nobody has room now, there may be room later.
            link.down_since = Some(now);
            let places: Vec<u64> = link.places.iter().copied().collect();
            for place in places {
                let other = self.choose_of(|link| link.down_since.is_none());
                let Some(other) = other.or_else(|| self.is_any_up().then(|| self.grow_if_may()).flatten()) else {
                    break;
                };
                self.lay(index, place, false);
                self.changes.push_back((index, Change::Remove { place, message: None }));
                self.settle(place, other);
            }
        }
        self.shrink();
    }

    /// The whole peer may be down, and then no link is better than another.
    fn is_any_up(&self) -> bool {
        self.links.iter().any(|link| link.down_since.is_none())
    }

    /// The link with the fewest keys that has room, or a new one.
    fn choose(&mut self) -> Option<u32> {
        self.choose_of(|_| true).or_else(|| self.grow_if_may())
    }

    fn choose_of(&self, is_fit: impl Fn(&Link) -> bool) -> Option<u32> {
        let limit = self.policy.per_link.unwrap_or(u32::MAX);
        let fit = |(_, link): &&(u32, u32)| self.links.get(*link as usize).is_some_and(&is_fit);
        self.loads.iter().take_while(|(load, _)| *load < limit).find(fit).map(|(_, link)| *link)
    }

    fn grow_if_may(&mut self) -> Option<u32> {
        (self.links() < self.policy.links.1).then(|| self.grow())
    }

    fn grow(&mut self) -> u32 {
        let index = self.links();
        self.links.push(Link::default());
        self.loads.insert((0, index));
        index
    }

    /// Links at the end that have nothing to do are not needed.
    fn shrink(&mut self) {
        while self.links() > self.policy.links.0 && self.links.last().is_some_and(|link| link.places.is_empty()) {
            let index = self.links().saturating_sub(1);
            self.links.pop();
            self.loads.remove(&(0, index));
        }
    }

    fn lay(&mut self, link: u32, place: u64, is_there: bool) {
        let Some(at) = self.links.get_mut(link as usize) else { return };
        self.loads.remove(&(short(at.places.len()), link));
        if is_there {
            at.places.insert(place);
        } else {
            at.places.remove(&place);
        }
        self.loads.insert((short(at.places.len()), link));
    }

    fn count(&mut self, state: State, is_one_more: bool) {
        if let Some(count) = self.counts.get_mut(state as usize) {
            *count = if is_one_more { count.saturating_add(1) } else { count.saturating_sub(1) };
        }
    }

    /// How many keys are in each state, in the order of [`State::ALL`].
    pub fn counts(&self) -> [usize; State::ALL.len()] {
        self.counts
    }

    /// How many keys a link has in each state.
    pub fn counts_of(&self, link: u32) -> [usize; State::ALL.len()] {
        let mut counts = [0_usize; State::ALL.len()];
        let places = self.links.get(link as usize).into_iter().flat_map(|link| &link.places);
        for held in places.filter_map(|place| self.keys.get(self.by_place.get(place)?)) {
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
        self.keys.get(key).map(shown)
    }

    /// Keys in order, those behind the one at this place, at most so many; and the place of the last where there are more.
    pub fn list(&self, after: u64, limit: usize) -> (Vec<Held>, Option<u64>) {
        let mut rest = self.by_place.range(after.saturating_add(1)..);
        let page: Vec<(&u64, &Arc<str>)> = rest.by_ref().take(limit).collect();
        let last = page.last().map(|(place, _)| **place).filter(|_| rest.next().is_some());
        (page.into_iter().filter_map(|(_, key)| self.get(key)).collect(), last)
    }
}

fn shown(held: &Key) -> Held {
    Held {
        key: Arc::clone(&held.wish.key),
        link: held.link,
        state: held.state,
        why: held.why.clone(),
        holders: held.holders.iter().map(|(holder, until)| (holder.clone(), *until)).collect(),
    }
}

fn weight(wish: &Wish) -> usize {
    let message = wish.add.as_ref().map_or(0, Payload::len);
    OVERHEAD.saturating_add(wish.key.len()).saturating_add(message)
}

fn short(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}
