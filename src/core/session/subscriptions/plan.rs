//! What the configuration says of subscriptions, as far as a connection runs it.
//!
//! What a reader would get wrong: without `confirm` nothing is waited for, and what `refuse` matches is still looked at.

use std::time::Duration;

use crate::session::{Matcher, Pointer, Send, Text, Var, When};

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
