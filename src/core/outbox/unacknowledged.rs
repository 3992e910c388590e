//! Messages written that the peer's application answers by a key of its own: a pong proves nothing of them.
//!
//! An answer is an acknowledgement, or the reply to a request; both are waited for in one table, until their deadlines. Answers may come in
//! any order. Of two messages with one key, the older is meant.
//!
//! What a reader would get wrong: an id is not free when its time is over, but when its reply has come or the connection has gone. Else the
//! late reply would be taken for that to the next request with the id. That goes for ids that we gave too: a reload may let callers give theirs.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::Instant,
};

use super::queue::Written;
use crate::requests;

/// Written messages by their places in the stream, with indexes of keys and deadlines. In a box: most links wait for no answer.
#[derive(Debug, Default)]
pub(super) struct Unacknowledged(Option<Box<Places>>);

/// Which answer is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Answer {
    Ack,
    Reply,
}

#[derive(Debug, Default)]
struct Places {
    written: BTreeMap<u64, Waiting>,
    keys: BTreeSet<(Answer, Box<str>, u64)>,
    /// Of each kind of answer.
    deadlines: [BTreeSet<(Instant, u64)>; 2],
    /// What they take, without the messages that are kept.
    bytes: usize,
    late: Late,
}

/// Keys of requests that have ended and whose replies may come.
#[derive(Debug, Default)]
struct Late {
    keys: BTreeSet<Box<str>>,
    /// The same, oldest first.
    order: VecDeque<Box<str>>,
    bytes: usize,
}

/// What keys of late replies may take. Past it the oldest is not looked for any more.
const LATE_BYTES: usize = 64 << 10;

#[derive(Debug)]
struct Waiting {
    deadline: Instant,
    key: Box<str>,
    request: Option<Box<requests::Waiting>>,
    written: Written,
}

impl Waiting {
    fn answer(&self) -> Answer {
        if self.request.is_some() { Answer::Reply } else { Answer::Ack }
    }
}

impl Unacknowledged {
    /// A message was written; its acknowledgement will have this key.
    pub(super) fn push(&mut self, deadline: Instant, key: Box<str>, written: Written) {
        self.insert(Waiting { deadline, key, request: None, written });
    }

    /// A request was written; its reply will have this key.
    pub(super) fn push_request(&mut self, request: requests::Waiting, key: Box<str>, written: Written) {
        self.insert(Waiting { deadline: request.deadline, key, request: Some(Box::new(request)), written });
    }

    fn insert(&mut self, waiting: Waiting) {
        let places = self.0.get_or_insert_default();
        let (pulled, answer) = (waiting.written.pulled, waiting.answer());
        places.bytes += cost(&waiting.key);
        places.keys.insert((answer, waiting.key.clone(), pulled));
        places.deadlines[answer as usize].insert((waiting.deadline, pulled));
        places.written.insert(pulled, waiting);
    }

    /// An answer with this key has come.
    pub(super) fn take(&mut self, answer: Answer, key: &str) -> Option<(Written, Option<requests::Waiting>)> {
        let pulled = self.place(answer, key)?;
        let Waiting { request, written, .. } = self.remove(pulled)?;
        Some((written, request.map(|request| *request)))
    }

    /// The place of the oldest that such an answer is for.
    pub(super) fn place(&self, answer: Answer, key: &str) -> Option<u64> {
        let mut from = self.0.as_deref()?.keys.range((answer, Box::from(key), 0)..);
        Some(from.next().filter(|(of, found, _)| *of == answer && &**found == key)?.2)
    }

    /// How many wait for such an answer.
    pub(super) fn waiting(&self, answer: Answer) -> usize {
        self.0.as_deref().map_or(0, |places| places.deadlines[answer as usize].len())
    }

    /// Takes the oldest of which only the name is kept.
    pub(super) fn take_oldest_name(&mut self) -> Option<Written> {
        let mut places = self.0.as_deref()?.written.iter();
        let pulled = *places.find(|(_, waiting)| waiting.written.kept.is_none())?.0;
        Some(self.give_up(pulled)?.written)
    }

    /// Takes one whose answer is not waited for any more, though it may come.
    fn give_up(&mut self, pulled: u64) -> Option<Waiting> {
        let waiting = self.remove(pulled)?;
        if waiting.request.is_some() {
            self.note_late(waiting.key.clone());
        }
        Some(waiting)
    }

    fn remove(&mut self, pulled: u64) -> Option<Waiting> {
        let places = self.0.as_deref_mut()?;
        let waiting = places.written.remove(&pulled)?;
        places.bytes -= cost(&waiting.key);
        places.keys.remove(&(waiting.answer(), waiting.key.clone(), pulled));
        places.deadlines[waiting.answer() as usize].remove(&(waiting.deadline, pulled));
        self.tidy();
        Some(waiting)
    }

    /// Most links wait for no answer, and are to have nothing for it.
    fn tidy(&mut self) {
        self.0.take_if(|places| places.written.is_empty() && places.late.keys.is_empty());
    }

    /// Takes those whose deadline has come.
    pub(super) fn take_due(&mut self, answer: Answer, now: Instant) -> Vec<Written> {
        let mut due = Vec::new();
        while let Some((_, pulled)) = self.first_due(answer).filter(|(at, _)| *at <= now) {
            due.extend(self.give_up(pulled).map(|waiting| waiting.written));
        }
        due
    }

    /// Takes all requests.
    pub(super) fn take_requests(&mut self) -> Vec<Written> {
        let mut all = Vec::new();
        while let Some((_, pulled)) = self.first_due(Answer::Reply) {
            let Some(Waiting { key, written, .. }) = self.remove(pulled) else { break };
            self.note_late(key);
            all.push(written);
        }
        all
    }

    /// A request with this key has ended, and its reply may come.
    pub(super) fn note_late(&mut self, key: Box<str>) {
        let late = &mut self.0.get_or_insert_default().late;
        if late.keys.insert(key.clone()) {
            late.bytes += Late::cost(&key);
            late.order.push_back(key);
        }
        while late.bytes > LATE_BYTES
            && let Some(oldest) = late.order.pop_front()
        {
            late.bytes -= Late::cost(&oldest);
            late.keys.remove(&oldest);
        }
    }

    /// Whether there are such.
    #[inline]
    pub(super) fn has_late(&self) -> bool {
        self.0.as_deref().is_some_and(|places| !places.late.keys.is_empty())
    }

    /// Whether a late reply with this key may come.
    pub(super) fn is_late(&self, key: &str) -> bool {
        self.0.as_deref().is_some_and(|places| places.late.keys.contains(key))
    }

    /// A reply with this key has come that nobody waits for.
    pub(super) fn came_late(&mut self, key: &str) {
        let Some(places) = self.0.as_deref_mut() else { return };
        if places.late.keys.remove(key) {
            places.late.order.retain(|late| **late != *key);
            places.late.bytes -= Late::cost(key);
            self.tidy();
        }
    }

    /// Late replies are not looked for any more.
    pub(super) fn forget_late(&mut self) {
        if let Some(places) = self.0.as_deref_mut() {
            places.late = Late::default();
            self.tidy();
        }
    }

    fn first_due(&self, answer: Answer) -> Option<(Instant, u64)> {
        self.0.as_deref()?.deadlines[answer as usize].first().copied()
    }

    /// When the first of them has waited long enough.
    pub(super) fn next_deadline(&self, answer: Answer) -> Option<Instant> {
        self.first_due(answer).map(|(at, _)| at)
    }

    /// Takes them all, in the order of the stream.
    pub(super) fn drain(&mut self) -> impl Iterator<Item = Written> {
        self.0.take().into_iter().flat_map(|places| places.written.into_values()).map(|waiting| waiting.written)
    }

    /// The one written last.
    pub(super) fn last(&self) -> Option<&Written> {
        self.0.as_deref()?.written.last_key_value().map(|(_, waiting)| &waiting.written)
    }

    /// What they take, about.
    pub(super) fn bytes(&self) -> usize {
        self.0.as_deref().map_or(0, |places| places.bytes)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.as_deref().is_none_or(|places| places.written.is_empty())
    }
}

impl Late {
    fn cost(key: &str) -> usize {
        2 * (size_of::<Box<str>>() + key.len())
    }
}

/// What a message takes while it waits: its place, its key twice, its deadline, and the nodes of the trees.
pub(super) fn cost(key: &str) -> usize {
    2 * (size_of::<(u64, Waiting)>() + key.len())
}
