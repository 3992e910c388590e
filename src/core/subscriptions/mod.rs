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

/// What a link is to ask for on each of its connections.
#[derive(Debug, Default)]
pub struct Wanted {
    wishes: BTreeMap<u64, Wish>,
    /// What the peer has, as far as the last connection of ours knows.
    held: BTreeMap<u64, Wish>,
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
                if let (Some(held), Some(message)) = (self.held.get_mut(place), message) {
                    held.remove = Some(message.clone());
                }
            }
        }
    }

    /// All, in order.
    pub(crate) fn wishes(&self) -> impl Iterator<Item = &Wish> {
        self.wishes.values()
    }

    /// What the peer has that is wished for no more.
    pub(crate) fn leftover(&self) -> impl Iterator<Item = &Wish> {
        self.held.iter().filter(|(place, _)| !self.wishes.contains_key(place)).map(|(_, wish)| wish)
    }

    /// Whether the peer has it, where it still knows what the last connection asked for.
    pub(crate) fn is_held(&self, place: u64) -> bool {
        self.held.contains_key(&place)
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

    /// Notes what a connection says of its wishes.
    pub(crate) fn note(&mut self, reached: &[Reached]) {
        for Reached { place, state, .. } in reached {
            match (state, self.wishes.get(place)) {
                (State::Active, Some(wish)) => drop(self.held.insert(*place, wish.clone())),
                (State::Pending | State::Refused, _) => drop(self.held.remove(place)),
                (State::Active, None) => {}
            }
        }
    }

    /// The peer has been told that these are not wanted any more.
    pub(crate) fn forget(&mut self, places: &[u64]) {
        for place in places {
            self.held.remove(place);
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
