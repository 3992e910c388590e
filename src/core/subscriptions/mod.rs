//! Subscriptions: what links are to have asked their peers for, whatever becomes of their connections.
//!
//! Each endpoint has one [`Set`]: keys in order, who holds each, and the link that each is with. A link is told of its part by [`Change`]s and
//! keeps it in [`Wanted`]; the session of each of its connections asks for all of that after `open` (`session::subscriptions`), and the link
//! answers with what was [`Reached`].
//!
//! What a reader would get wrong: a wish goes by its place, not by its key. A key that is released and asked for again is another wish, so
//! what a link says of the first is nothing about the second.

mod held;
mod lasting;
mod set;
mod spread;

use std::{collections::BTreeMap, sync::Arc};

pub use held::{Held, Holder, Lasting, Policy, Refusal, Told};

pub use set::Set;

use crate::message::Payload;

/// A key that a link is to ask for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wish {
    /// Its place in the order of the endpoint; never given twice.
    pub place: u64,
    /// The key.
    pub key: Arc<str>,
    /// What asks for it; else the template of the configuration makes it.
    pub add: Option<Payload>,
    /// What ends the subscription; else the template, where there is one.
    pub remove: Option<Payload>,
}

/// A link is to ask for something else.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// It asks for this too; where it does already and the peer has refused, again.
    Add(Wish),
    /// It does without the wish of this place.
    Remove {
        /// Which.
        place: u64,
        /// What says so to the peer.
        message: Option<Payload>,
    },
}

/// What became of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum State {
    /// It is to be asked for, or was, and the peer has not answered.
    Pending,
    /// The peer has confirmed it; where none is waited for, it was asked for.
    Active,
    /// The peer has refused it, or has not answered in time. It is asked for again on the next connection.
    Refused,
}

impl State {
    /// Each, in order.
    pub const ALL: [Self; 3] = [Self::Pending, Self::Active, Self::Refused];

    /// The word in the API and in metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Active => "active",
            Self::Refused => "refused",
        }
    }
}

/// What became of a wish on a link's current connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reached {
    /// Which.
    pub place: u64,
    /// So far.
    pub state: State,
    /// Why it was refused, for people.
    pub why: Option<Arc<str>>,
}

/// A key that a peer has, or may have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Has {
    pub(crate) wish: Wish,
    pub(crate) stay: Stay,
}

/// Whether it does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stay {
    /// It was asked for, and the peer may not have read that.
    Perhaps,
    /// The peer has read it.
    Sure,
    /// It was ended, and the peer may not have read that.
    Ending,
}

/// What a link is to ask for on each of its connections.
#[derive(Debug, Default)]
pub struct Wanted {
    wishes: BTreeMap<u64, Wish>,
    /// What the peer has, as far as the last connection of ours knows, where it may still know it on the next one.
    held: BTreeMap<Arc<str>, Has>,
    /// The connection that was last told of.
    told: Option<u64>,
}

impl Wanted {
    /// Follows a change.
    pub(crate) fn follow(&mut self, change: &Change) {
        match change {
            Change::Add(wish) => drop(self.wishes.insert(wish.place, wish.clone())),
            Change::Remove { place, message } => {
                self.wishes.remove(place);
                if message.is_some()
                    && let Some(has) = self.held.values_mut().find(|has| has.wish.place == *place)
                {
                    has.wish.remove.clone_from(message);
                }
            }
        }
    }

    /// All, in order.
    pub(crate) fn wishes(&self) -> impl Iterator<Item = &Wish> {
        self.wishes.values()
    }

    /// Whether there are none.
    pub(crate) fn is_empty(&self) -> bool {
        self.wishes.is_empty()
    }

    /// What the peer has, or may have, where it still knows what the last connection asked for.
    pub(crate) fn held(&self) -> impl Iterator<Item = &Has> {
        self.held.values()
    }

    /// Whether it is wished for.
    pub(crate) fn wants(&self, place: u64) -> bool {
        self.wishes.contains_key(&place)
    }

    /// Whether this connection is the one that was last told of.
    pub(crate) fn is_told(&self, generation: u64) -> bool {
        self.told == Some(generation)
    }

    /// It is so from now on. Where it was not, what the peer has is what this one says.
    pub(crate) fn tell(&mut self, generation: u64) {
        if self.told.replace(generation) != Some(generation) {
            self.held.clear();
        }
    }

    /// Notes what the peer has by what was said on a connection.
    pub(crate) fn note(&mut self, changed: Vec<(Arc<str>, Option<Has>)>) {
        for (key, has) in changed {
            match has {
                Some(has) => drop(self.held.insert(key, has)),
                None => drop(self.held.remove(&key)),
            }
        }
    }

    /// There is no connection any more that was told of: all are to be asked for.
    pub(crate) fn lose(&mut self) -> Vec<Reached> {
        if self.told.take().is_none() {
            return Vec::new();
        }
        self.wishes.keys().map(|place| Reached { place: *place, state: State::Pending, why: None }).collect()
    }
}
