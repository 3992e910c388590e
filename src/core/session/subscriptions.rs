//! Subscriptions as a session has them: what the configuration says of them, and what has been asked for on one connection.
//!
//! [`Asked`] knows no messages: it says which keys are to be asked for next, is told which of them an answer is about, and counts what is
//! still open. What a reader would get wrong: a key that is released before it was asked for is never asked for, so what waits in the order
//! may be gone when its turn comes.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
    time::{Duration, Instant},
};

use super::{Matcher, Pointer, Send, Text, Var, When};
use crate::{
    clock::Clock,
    message::Payload,
    subscriptions::{Change, Reached, State, Wanted, Wish},
};

/// `[endpoints.NAME.subscriptions]`, as far as a connection runs it.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Subscribing {
    /// What asks for keys that bring no message of their own.
    pub add: Option<Box<Send>>,
    /// What ends their subscriptions.
    pub remove: Option<Box<Send>>,
    /// So many keys go into one message at most.
    pub batch: usize,
    /// Messages are at least this far apart.
    pub spacing: Duration,
    /// What confirms keys; without any, a key is active once it was asked for.
    pub confirm: Box<[KeyAnswer]>,
    /// What refuses them.
    pub refuse: Box<[KeyAnswer]>,
    /// How long an answer is waited for.
    pub timeout: Duration,
    /// The peer still has what it had, where this holds after `open`.
    pub skip_when: Option<When>,
    /// The connection is ready once all are answered, not once they are sent.
    pub until_confirmed: bool,
}

/// A message of the peer's that says something of keys.
#[derive(Debug, Clone, PartialEq)]
pub struct KeyAnswer {
    /// What it is like.
    pub matcher: Matcher,
    /// Variables that are taken out of it.
    pub extract: Box<[(Var, Pointer)]>,
    /// Which keys it is about.
    pub which: Which,
    /// Consumers do not see it.
    pub hide: bool,
}

/// Which keys an answer is about.
#[derive(Debug, Clone, PartialEq)]
pub enum Which {
    /// Those of the oldest message that asked for keys and has not been answered. Whether the peer answers what ends a subscription is not
    /// known; where it does so in the same form, it must say of which.
    Oldest,
    /// Those that stand at this place.
    At(Pointer),
    /// The one that this text says.
    Named(Text),
    /// Those of the message whose `${seq}` or `${uuid}` stands at this place.
    Asked(Pointer),
}

/// Messages that wait for an answer at most; the next ones wait for these.
const OPEN_MAX: usize = 4096;
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
    /// Messages that are not answered, the oldest first, each until when.
    open: VecDeque<(u64, Instant)>,
    /// Their keys.
    messages: BTreeMap<u64, Asking>,
    by_token: BTreeMap<Box<str>, u64>,
    number: u64,
    next_at: Option<Instant>,
    /// Wishes that are to be asked for.
    due: usize,
    /// Those and the ones that were asked for and are not answered.
    pending: usize,
    has_begun: bool,
    changed: BTreeSet<u64>,
    let_go: Vec<u64>,
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

/// A message that asked for keys.
#[derive(Debug, Default)]
struct Asking {
    places: Vec<u64>,
    tokens: Vec<Box<str>>,
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
    places: Vec<u64>,
}

impl Asked {
    /// All of the link's are to be asked for, but for what the peer `still_has`.
    pub(super) fn begin(&mut self, wanted: &Wanted, still_has: bool) {
        self.has_begun = true;
        if still_has {
            self.todo.extend(wanted.leftover().cloned().map(Todo::Remove));
        }
        for wish in wanted.wishes() {
            if still_has && wanted.is_held(wish.place) {
                self.insert(wish.clone(), Stand::Active);
            } else {
                self.insert(wish.clone(), Stand::Due);
                self.todo.push_back(Todo::Add(wish.place));
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
                    self.insert(wish.clone(), Stand::Due);
                    self.todo.push_back(Todo::Add(wish.place));
                }
            }
            Change::Remove { place, message } => {
                let Some(Entry { mut wish, stand }) = self.entries.remove(place) else { return };
                if self.by_key.get(&wish.key) == Some(place) {
                    self.by_key.remove(&wish.key);
                }
                self.changed.remove(place);
                wish.remove = message.clone().or(wish.remove);
                match stand {
                    Stand::Due => {
                        (self.due, self.pending) = (self.due.saturating_sub(1), self.pending.saturating_sub(1));
                        self.stale = self.stale.saturating_add(1);
                        self.clean();
                    }
                    Stand::Asked(_) => {
                        self.pending = self.pending.saturating_sub(1);
                        self.todo.push_back(Todo::Remove(wish));
                    }
                    Stand::Active | Stand::Missed(_) => self.todo.push_back(Todo::Remove(wish)),
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

    fn insert(&mut self, wish: Wish, stand: Stand) {
        let place = wish.place;
        let due = usize::from(stand == Stand::Due);
        (self.due, self.pending) = (self.due.saturating_add(due), self.pending.saturating_add(due));
        self.by_key.insert(Arc::clone(&wish.key), place);
        self.entries.insert(place, Entry { wish, stand });
        self.changed.insert(place);
    }

    /// Whether a message is to be sent, once it may be.
    pub(super) fn has_next(&self) -> bool {
        !self.todo.is_empty()
    }

    /// Whether the next one waits for answers to earlier ones.
    pub(super) fn waits_for_answers(&self) -> bool {
        self.open.len() >= OPEN_MAX
    }

    /// When the next message may be sent; `None`: at once.
    pub(super) fn next_at(&self) -> Option<Instant> {
        self.next_at
    }

    /// Wishes that are not answered.
    pub(super) fn pending(&self) -> usize {
        self.pending
    }

    /// Wishes that were asked for, of all.
    pub(super) fn progress(&self) -> (usize, usize) {
        (self.entries.len().saturating_sub(self.due), self.entries.len())
    }

    /// When the oldest message must be answered that is not.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.open.front().map(|(_, until)| *until)
    }

    /// Takes what the next message is to say.
    pub(super) fn take(&mut self, plan: &Subscribing) -> Option<Next> {
        if self.waits_for_answers() {
            return None;
        }
        let batch = plan.batch.max(1);
        let mut next: Option<Next> = None;
        while let Some(todo) = self.todo.front() {
            let (is_add, place, wish) = match todo {
                Todo::Add(place) => {
                    if let Some(Entry { wish, stand: Stand::Due }) = self.entries.get(place) {
                        (true, *place, wish)
                    } else {
                        self.todo.pop_front();
                        self.stale = self.stale.saturating_sub(1);
                        continue;
                    }
                }
                Todo::Remove(wish) => (false, wish.place, wish),
            };
            let message = if is_add { &wish.add } else { &wish.remove };
            if !is_add && message.is_none() && plan.remove.is_none() {
                // Nothing can be said to the peer.
                self.let_go.push(place);
                self.todo.pop_front();
                continue;
            }
            match &mut next {
                None => {
                    let (keys, places, message) = (vec![Arc::clone(&wish.key)], vec![place], message.clone());
                    next = Some(Next { is_add, keys, message, places });
                }
                Some(next) if next.is_add == is_add && message.is_none() && next.keys.len() < batch => {
                    next.keys.push(Arc::clone(&wish.key));
                    next.places.push(place);
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
        if !next.is_add {
            self.let_go.extend(next.places);
            if !tokens.is_empty() && !plan.confirm.is_empty() {
                self.open(Vec::new(), tokens, now.later(plan.timeout));
            }
            return;
        }
        let number = self.number.saturating_add(1);
        let is_answered = !plan.confirm.is_empty();
        for place in &next.places {
            if let Some(entry) = self.entries.get_mut(place) {
                entry.stand = if is_answered { Stand::Asked(number) } else { Stand::Active };
                self.changed.insert(*place);
                self.due = self.due.saturating_sub(1);
                self.pending = self.pending.saturating_sub(usize::from(!is_answered));
            }
        }
        if is_answered || !plan.refuse.is_empty() {
            self.open(next.places, tokens, now.later(plan.timeout));
        }
    }

    fn open(&mut self, places: Vec<u64>, tokens: Vec<Box<str>>, until: Instant) {
        self.number = self.number.saturating_add(1);
        self.open.push_back((self.number, until));
        self.by_token.extend(tokens.iter().map(|token| (token.clone(), self.number)));
        self.messages.insert(self.number, Asking { places, tokens });
    }

    /// The wish of this key.
    pub(super) fn place(&self, key: &str) -> Option<u64> {
        self.by_key.get(key).copied()
    }

    /// The keys of the message that this names, which is answered by that.
    pub(super) fn of_token(&mut self, token: &str) -> Option<Vec<u64>> {
        let number = self.by_token.get(token).copied()?;
        Some(self.close(number))
    }

    /// The keys of the oldest message that asks for some and is not answered.
    pub(super) fn of_oldest(&mut self) -> Option<Vec<u64>> {
        let asks = |number: &u64| self.messages.get(number).is_some_and(|asking| !asking.places.is_empty());
        let number = self.open.iter().map(|(number, _)| *number).find(asks)?;
        Some(self.close(number))
    }

    fn close(&mut self, number: u64) -> Vec<u64> {
        let Some(asking) = self.messages.remove(&number) else { return Vec::new() };
        for token in &asking.tokens {
            self.by_token.remove(token);
        }
        while self.open.front().is_some_and(|(number, _)| !self.messages.contains_key(number)) {
            self.open.pop_front();
        }
        asking.places
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
            let stand = refused.map_or(Stand::Active, |why| Stand::Refused(Arc::clone(why)));
            if entry.stand != stand {
                entry.stand = stand;
                self.changed.insert(*place);
            }
            if let Some(number) = number {
                self.pending = self.pending.saturating_sub(1);
                self.is_done(number);
            }
        }
    }

    /// A message all of whose keys are answered is.
    fn is_done(&mut self, number: u64) {
        let is_open = |place: &u64| self.entries.get(place).is_some_and(|entry| entry.stand == Stand::Asked(number));
        // Each key is looked at once as long as answers come in order.
        if let Some(asking) = self.messages.get(&number)
            && !asking.places.iter().rev().any(is_open)
        {
            self.close(number);
        }
    }

    /// Messages whose time is over: their keys that are not answered are taken for refused.
    pub(super) fn expire(&mut self, now: Instant, why: &Arc<str>) {
        while let Some((number, until)) = self.open.front().copied()
            && until <= now
        {
            let places = self.close(number);
            self.open.retain(|(other, _)| *other != number);
            for place in places {
                if let Some(entry) = self.entries.get_mut(&place)
                    && entry.stand == Stand::Asked(number)
                {
                    entry.stand = Stand::Missed(Arc::clone(why));
                    self.pending = self.pending.saturating_sub(1);
                    self.changed.insert(place);
                }
            }
        }
    }

    /// What has changed since this was last asked, or where `all` are wanted, the states of all; and what the peer was told to end.
    pub(super) fn reached(&mut self, all: bool) -> (Vec<Reached>, Vec<u64>) {
        let changed = std::mem::take(&mut self.changed);
        let reached = |(place, entry): (&u64, &Entry)| {
            let (state, why) = match &entry.stand {
                Stand::Due | Stand::Asked(_) => (State::Pending, None),
                Stand::Active => (State::Active, None),
                Stand::Refused(why) | Stand::Missed(why) => (State::Refused, Some(Arc::clone(why))),
            };
            Reached { place: *place, state, why }
        };
        let told = if all {
            self.entries.iter().map(reached).collect()
        } else {
            changed.iter().filter_map(|place| Some(reached((place, self.entries.get(place)?)))).collect()
        };
        (told, std::mem::take(&mut self.let_go))
    }

    /// Whether anything is to be told.
    pub(super) fn has_changed(&self) -> bool {
        !self.changed.is_empty() || !self.let_go.is_empty()
    }
}

#[cfg(test)]
mod tests;
