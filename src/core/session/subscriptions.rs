//! Subscriptions as a session has them: what the configuration says of them, and what has been asked for on one connection.
//!
//! [`Asked`] knows no messages: it says which keys are to be asked for next, is told which of them an answer is about, and counts what is
//! still open. What a reader would get wrong: a key that is released before it was asked for is never asked for, so what waits in the order
//! may be gone when its turn comes.

mod needed;
mod peer;
mod plan;
mod questions;

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
    time::Instant,
};

pub use self::plan::{KeyAnswer, Subscribing, Which};
use self::{needed::Needed, peer::PeerKeys, questions::Questions};
use crate::{
    clock::Clock,
    message::Payload,
    subscriptions::{Change, Has, Reached, State, Stay, Wanted, Wish},
};

/// What waits in the order may have been released so often before the order is cleaned.
const STALE_MAX: usize = 64;

/// What has been asked for on one connection.
#[derive(Debug, Default)]
pub(super) struct Asked {
    entries: BTreeMap<u64, Entry>,
    by_key: BTreeMap<Arc<str>, u64>,
    todo: VecDeque<Todo>,
    /// How many of those were released before they were asked for.
    stale: usize,
    /// Messages that are not answered.
    pub(super) questions: Questions,
    next_at: Option<Instant>,
    /// Wishes that are to be asked for.
    due: usize,
    /// Those that `ready` waits for.
    needed: Needed,
    /// Another connection is to take the place of this one: it asks for nothing more, and ends what is released.
    is_held: bool,
    has_begun: bool,
    changed: BTreeSet<u64>,
    /// What the peer has, where it may still know it on the next connection.
    peer: Option<Box<PeerKeys>>,
}

#[derive(Debug)]
struct Entry {
    wish: Wish,
    stand: Stand,
}

/// What became of a wish.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Stand {
    Due,
    Asked(u64),
    Active,
    /// By the peer's word.
    Refused(Arc<str>),
    /// The peer has not answered, and may have it.
    Missed(Arc<str>),
}

#[derive(Debug)]
enum Todo {
    Add(u64),
    Remove(Wish),
}

/// The next message: for these keys, by their own words or by the template.
#[derive(Debug)]
pub(super) struct Next {
    pub(super) is_add: bool,
    pub(super) keys: Vec<Arc<str>>,
    pub(super) message: Option<Payload>,
    wishes: Vec<Wish>,
}

/// What has changed since this was last asked.
#[derive(Debug, Default)]
pub(crate) struct News {
    /// What became of wishes.
    pub(crate) reached: Vec<Reached>,
    /// What the peer has, and has no more.
    pub(crate) held: Vec<(Arc<str>, Option<Has>)>,
}

impl Asked {
    /// All of the link's are to be asked for. Where a peer may still have what an earlier connection has asked for, `still_has` says
    /// whether this one does: then not what it has for certain.
    pub(super) fn begin(&mut self, wanted: &Wanted, still_has: Option<bool>) {
        self.has_begun = true;
        let mut sure = BTreeSet::new();
        if let Some(still_has) = still_has {
            let peer = self.peer.get_or_insert_default();
            for has in wanted.held().filter(|_| still_has) {
                peer.still_has(has.clone());
                let wish = &has.wish;
                if !wanted.wants(wish.place) {
                    self.needed.add(wish.place);
                    self.todo.push_back(Todo::Remove(wish.clone()));
                } else if has.stay == Stay::Sure {
                    sure.insert(wish.place);
                }
            }
        }
        for wish in wanted.wishes() {
            if sure.contains(&wish.place) {
                self.insert(wish.clone(), Stand::Active);
            } else {
                self.needed.add(wish.place);
                self.be_due(wish.clone());
            }
        }
    }

    pub(super) fn has_begun(&self) -> bool {
        self.has_begun
    }

    /// Follows a change of what the link is to ask for.
    pub(super) fn follow(&mut self, change: &Change) {
        if !self.has_begun {
            return;
        }
        match change {
            Change::Add(wish) => {
                let is_due = match self.entries.get_mut(&wish.place) {
                    None => true,
                    Some(entry) => {
                        entry.wish = wish.clone();
                        matches!(entry.stand, Stand::Refused(_) | Stand::Missed(_))
                    }
                };
                if is_due {
                    self.be_due(wish.clone());
                }
            }
            Change::Remove { place, message } => {
                let Some(Entry { mut wish, stand }) = self.entries.remove(place) else { return };
                if self.by_key.get(&wish.key) == Some(place) {
                    self.by_key.remove(&wish.key);
                }
                self.changed.remove(place);
                self.needed.done(*place);
                wish.remove = message.clone().or(wish.remove);
                match stand {
                    Stand::Due => {
                        self.due = self.due.saturating_sub(1);
                        self.stale = self.stale.saturating_add(usize::from(!self.is_held));
                        self.clean();
                    }
                    Stand::Asked(_) | Stand::Active | Stand::Missed(_) => self.todo.push_back(Todo::Remove(wish)),
                    // The peer has nothing to end.
                    Stand::Refused(_) => {}
                }
            }
        }
    }

    /// Takes what was released out of the order, before it is more than the rest: a client may ask and release faster than messages leave.
    fn clean(&mut self) {
        if self.stale > STALE_MAX && self.stale.saturating_mul(2) > self.todo.len() {
            self.todo.retain(|todo| match todo {
                Todo::Add(place) => self.entries.contains_key(place),
                Todo::Remove(_) => true,
            });
            self.stale = 0;
        }
    }

    /// It is to be asked for, behind what waits already.
    fn be_due(&mut self, wish: Wish) {
        if !self.is_held {
            self.todo.push_back(Todo::Add(wish.place));
        }
        self.insert(wish, Stand::Due);
    }

    fn insert(&mut self, wish: Wish, stand: Stand) {
        let place = wish.place;
        self.due = self.due.saturating_add(usize::from(stand == Stand::Due));
        self.by_key.insert(Arc::clone(&wish.key), place);
        self.entries.insert(place, Entry { wish, stand });
        self.changed.insert(place);
    }

    /// Whether a message is to be sent, once it may be.
    pub(super) fn has_next(&self) -> bool {
        !self.todo.is_empty()
    }

    /// Whether the next one waits for answers to earlier ones. A peer that confirms nothing owes none.
    pub(super) fn waits_for_answers(&self, plan: &Subscribing) -> bool {
        !plan.confirm.is_empty() && self.questions.is_full()
    }

    /// When the next message may be sent; `None`: at once.
    pub(super) fn next_at(&self) -> Option<Instant> {
        self.next_at
    }

    /// Whether all that `ready` waits for has been said; and answered, where `answers` are waited for.
    pub(super) fn is_over(&self, answers: bool) -> bool {
        self.needed.is_over(answers)
    }

    /// It asks for no key from now on, or does again. Answers with those that it has asked for, all of which the peer may have.
    pub(super) fn hold(&mut self, is_held: bool) -> Vec<u64> {
        if self.is_held == is_held {
            return Vec::new();
        }
        self.is_held = is_held;
        self.todo.retain(|todo| matches!(todo, Todo::Remove(_)));
        self.stale = 0;
        if is_held {
            let asked = |(place, entry): (&u64, &Entry)| match entry.stand {
                Stand::Asked(_) | Stand::Active | Stand::Missed(_) => Some(*place),
                Stand::Due | Stand::Refused(_) => None,
            };
            return self.entries.iter().filter_map(asked).collect();
        }
        let due = self.entries.iter().filter(|(_, entry)| entry.stand == Stand::Due);
        self.todo.extend(due.map(|(place, _)| Todo::Add(*place)));
        Vec::new()
    }

    pub(super) fn is_held(&self) -> bool {
        self.is_held
    }

    /// `ready` waits for these, too, as far as the link still wants them.
    pub(super) fn wait_for(&mut self, places: &[u64]) {
        for place in places {
            match self.entries.get(place).map(|entry| &entry.stand) {
                Some(Stand::Due) => self.needed.add(*place),
                Some(Stand::Asked(_)) => self.needed.add_open(*place),
                Some(Stand::Active | Stand::Refused(_) | Stand::Missed(_)) | None => {}
            }
        }
    }

    /// Wishes that were asked for, of all.
    pub(super) fn progress(&self) -> (usize, usize) {
        (self.entries.len().saturating_sub(self.due), self.entries.len())
    }

    /// Takes what the next message is to say.
    pub(super) fn take(&mut self, plan: &Subscribing) -> Option<Next> {
        if self.waits_for_answers(plan) {
            return None;
        }
        let batch = plan.batch.max(1);
        let mut next: Option<Next> = None;
        while let Some(todo) = self.todo.front() {
            let (is_add, wish) = match todo {
                Todo::Add(place) => {
                    if let Some(Entry { wish, stand: Stand::Due }) = self.entries.get(place) {
                        (true, wish)
                    } else {
                        self.todo.pop_front();
                        self.stale = self.stale.saturating_sub(1);
                        continue;
                    }
                }
                Todo::Remove(wish) => (false, wish),
            };
            let message = if is_add { &wish.add } else { &wish.remove };
            if !is_add && message.is_none() && plan.remove.is_none() {
                // Nothing can be said to the peer.
                self.needed.done(wish.place);
                if let Some(peer) = &mut self.peer {
                    peer.lacks(wish);
                }
                self.todo.pop_front();
                continue;
            }
            match &mut next {
                None => {
                    let (keys, wishes, message) = (vec![Arc::clone(&wish.key)], vec![wish.clone()], message.clone());
                    next = Some(Next { is_add, keys, message, wishes });
                }
                Some(next) if next.is_add == is_add && message.is_none() && next.keys.len() < batch => {
                    next.keys.push(Arc::clone(&wish.key));
                    next.wishes.push(wish.clone());
                }
                Some(_) => break,
            }
            self.todo.pop_front();
            if next.as_ref().is_some_and(|next| next.message.is_some()) {
                break;
            }
        }
        next
    }

    /// That message is on its way, and an answer can name it by these.
    pub(super) fn sent(&mut self, next: Next, tokens: Vec<Box<str>>, plan: &Subscribing, now: Instant) {
        if !plan.spacing.is_zero() {
            self.next_at = Some(now.later(plan.spacing));
        }
        let Next { is_add, wishes, .. } = next;
        let places: Vec<u64> = wishes.iter().map(|wish| wish.place).collect();
        if let Some(peer) = &mut self.peer {
            peer.says(wishes, is_add);
        }
        if !is_add {
            for place in &places {
                self.needed.done(*place);
            }
            if !tokens.is_empty() && !plan.confirm.is_empty() {
                self.questions.open(Vec::new(), tokens, now.later(plan.timeout));
            }
            return;
        }
        let number = self.questions.next();
        let is_answered = !plan.confirm.is_empty();
        for place in &places {
            if let Some(entry) = self.entries.get_mut(place) {
                entry.stand = if is_answered { Stand::Asked(number) } else { Stand::Active };
                self.changed.insert(*place);
                self.due = self.due.saturating_sub(1);
            }
            if is_answered {
                self.needed.said(*place);
            } else {
                self.needed.done(*place);
            }
        }
        if is_answered || !plan.refuse.is_empty() {
            self.questions.open(places, tokens, now.later(plan.timeout));
        }
    }

    /// Nothing says how to ask for these.
    pub(super) fn cannot_ask(&mut self, next: &Next, why: &Arc<str>) {
        for Wish { place, .. } in &next.wishes {
            if let Some(entry) = self.entries.get_mut(place) {
                entry.stand = Stand::Refused(Arc::clone(why));
                self.changed.insert(*place);
                self.due = self.due.saturating_sub(1);
            }
            self.needed.done(*place);
        }
    }

    /// The wish of this key.
    pub(super) fn place(&self, key: &str) -> Option<u64> {
        self.by_key.get(key).copied()
    }

    /// The peer has answered.
    pub(super) fn answered(&mut self, places: &[u64], refused: Option<&Arc<str>>) {
        for place in places {
            let Some(entry) = self.entries.get_mut(place) else { continue };
            let number = match entry.stand {
                Stand::Due => continue,
                Stand::Asked(number) => Some(number),
                Stand::Active | Stand::Refused(_) | Stand::Missed(_) => None,
            };
            match (&mut self.peer, refused) {
                (Some(peer), Some(_)) => peer.lacks(&entry.wish),
                (Some(peer), None) => peer.confirmed(&entry.wish),
                (None, _) => {}
            }
            let stand = refused.map_or(Stand::Active, |why| Stand::Refused(Arc::clone(why)));
            if entry.stand != stand {
                entry.stand = stand;
                self.changed.insert(*place);
            }
            self.needed.done(*place);
            if let Some(number) = number {
                self.is_done(number);
            }
        }
    }

    /// A message all of whose keys are answered is.
    fn is_done(&mut self, number: u64) {
        let is_open = |place: &u64| self.entries.get(place).is_some_and(|entry| entry.stand == Stand::Asked(number));
        // Each key is looked at once as long as answers come in order.
        if self.questions.places(number).is_some_and(|places| !places.iter().rev().any(is_open)) {
            self.questions.close(number);
        }
    }

    /// Messages whose time is over: their keys that are not answered are taken for refused.
    pub(super) fn expire(&mut self, now: Instant, why: &Arc<str>) {
        while let Some((number, places)) = self.questions.expire(now) {
            for place in places {
                if let Some(entry) = self.entries.get_mut(&place)
                    && entry.stand == Stand::Asked(number)
                {
                    entry.stand = Stand::Missed(Arc::clone(why));
                    self.needed.done(place);
                    self.changed.insert(place);
                }
            }
        }
    }

    /// A ping is sent, behind all that was said where that `has_left`, and no other is out.
    pub(super) fn pinged(&mut self, has_left: bool) {
        if let Some(peer) = &mut self.peer {
            peer.pinged(has_left);
        }
    }

    /// The pong of that ping has come, or of a later one.
    pub(super) fn ponged(&mut self, plan: &Subscribing) {
        if let Some(peer) = &mut self.peer {
            peer.ponged(plan.confirm.is_empty());
        }
    }

    /// What has changed since this was last asked, or where `all` is wanted, all.
    pub(super) fn news(&mut self, all: bool) -> News {
        let changed = std::mem::take(&mut self.changed);
        let reached_of = |(place, entry): (&u64, &Entry)| {
            let (state, why) = match &entry.stand {
                Stand::Due | Stand::Asked(_) => (State::Pending, None),
                Stand::Active => (State::Active, None),
                Stand::Refused(why) | Stand::Missed(why) => (State::Refused, Some(Arc::clone(why))),
            };
            Reached { place: *place, state, why }
        };
        let reached = if all {
            self.entries.iter().map(reached_of).collect()
        } else {
            changed.iter().filter_map(|place| Some(reached_of((place, self.entries.get(place)?)))).collect()
        };
        let held = self.peer.as_mut().map(|peer| peer.take_changed(all)).unwrap_or_default();
        News { reached, held }
    }

    /// Whether anything is to be told.
    pub(super) fn has_changed(&self) -> bool {
        !self.changed.is_empty() || self.peer.as_ref().is_some_and(|peer| peer.has_changed())
    }
}

#[cfg(test)]
mod tests;
