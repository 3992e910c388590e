//! What consumers of an inbox read: a numbered fact about a link.
//!
//! The number is all that a consumer keeps. It is never given to another entry, not even by a later run of the daemon.
//!
//! What a reader would get wrong: messages that arrived together are kept and passed on together, and each has its number all the
//! same. Entries are made of them for those who want them one by one.

use std::{sync::Arc, time::SystemTime};

use super::{
    close::{Cause, Closed},
    event::LinkId,
    message::Payload,
    phase::{Phase, Reason},
    run::Run,
};

/// A numbered fact that consumers may read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its number in the hub: 1 more than the one before, in one run of the daemon. A run starts at a number drawn from the
    /// wall clock, above every cursor of an earlier one.
    pub cursor: u64,
    /// When it happened.
    pub at: SystemTime,
    /// Whose fact.
    pub link: LinkId,
    /// The connection it belongs to; the last one where none is open.
    pub generation: u64,
    /// What happened.
    pub item: Item,
}

/// What happened, in the words of the WHATWG standard and of the contract.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Item {
    /// A connection is OPEN.
    Open {
        /// Subprotocol in use, or empty.
        protocol: Box<str>,
        /// Extensions in use, or empty.
        extensions: Box<str>,
    },
    /// A message arrived.
    Message(Payload),
    /// A connection or an attempt failed; `close` follows.
    Error {
        /// Why.
        cause: Cause,
        /// For people.
        detail: Box<str>,
    },
    /// A connection or an attempt ended.
    Close(Arc<Closed>),
    /// The link's phase changed.
    Phase {
        /// Now.
        phase: Phase,
        /// Why.
        reason: Reason,
    },
    /// The link was down: what the peer sent meanwhile was not heard.
    LinkGap {
        /// When it was last ready.
        from: SystemTime,
        /// When it was ready again.
        to: SystemTime,
    },
}

impl Item {
    /// Bytes of application data, for a message.
    pub fn message_len(&self) -> Option<usize> {
        match self {
            Self::Message(payload) => Some(payload.len()),
            Self::Open { .. } | Self::Error { .. } | Self::Close(_) | Self::Phase { .. } | Self::LinkGap { .. } => None,
        }
    }
}

/// Messages that arrived together: as many entries, whose numbers follow each other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Arrived {
    /// The number of the first.
    pub cursor: u64,
    /// When they arrived.
    pub at: SystemTime,
    /// On which link.
    pub link: LinkId,
    /// On which connection.
    pub generation: u64,
    /// The messages.
    pub run: Run,
}

impl Arrived {
    /// The number of the last.
    pub fn last(&self) -> u64 {
        self.cursor + self.run.count() as u64 - 1
    }

    /// The entry of this number.
    ///
    /// # Panics
    /// Where it is none of these.
    pub fn entry(&self, cursor: u64) -> Entry {
        let item = Item::Message(self.run.payload(self.place(cursor)));
        Entry { cursor, at: self.at, link: self.link.clone(), generation: self.generation, item }
    }

    /// Those from this number on; the last one at least.
    #[must_use]
    pub fn starting_at(&self, cursor: u64) -> Self {
        let cursor = cursor.clamp(self.cursor, self.last());
        Self { cursor, link: self.link.clone(), run: self.run.skip(self.place(cursor)), ..*self }
    }

    fn place(&self, cursor: u64) -> usize {
        usize::try_from(cursor - self.cursor).unwrap_or(usize::MAX)
    }
}

/// Entries that are kept as one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stretch {
    /// What is no message.
    Entry(Arc<Entry>),
    /// Messages.
    Arrived(Arc<Arrived>),
}

impl Stretch {
    /// The number of the first entry.
    pub fn first(&self) -> u64 {
        match self {
            Self::Entry(entry) => entry.cursor,
            Self::Arrived(arrived) => arrived.cursor,
        }
    }

    /// The number of the last entry.
    pub fn last(&self) -> u64 {
        match self {
            Self::Entry(entry) => entry.cursor,
            Self::Arrived(arrived) => arrived.last(),
        }
    }

    /// How many entries.
    pub fn count(&self) -> u64 {
        self.last() - self.first() + 1
    }

    /// The entry of this number.
    ///
    /// # Panics
    /// Where it is none of these.
    pub fn entry(&self, cursor: u64) -> Arc<Entry> {
        match self {
            Self::Entry(entry) => Arc::clone(entry),
            Self::Arrived(arrived) => Arc::new(arrived.entry(cursor)),
        }
    }

    /// Each entry for itself.
    pub fn entries(&self) -> impl Iterator<Item = Arc<Entry>> {
        (self.first()..=self.last()).map(|cursor| self.entry(cursor))
    }

    /// Bytes of application data in it.
    pub fn message_bytes(&self) -> usize {
        match self {
            Self::Entry(entry) => entry.item.message_len().unwrap_or_default(),
            Self::Arrived(arrived) => usize::try_from(arrived.run.message_bytes()).unwrap_or(usize::MAX),
        }
    }
}

impl From<Entry> for Stretch {
    /// A message is a run of one.
    fn from(entry: Entry) -> Self {
        let Entry { cursor, at, link, generation, item } = entry;
        match item {
            Item::Message(payload) => {
                Self::Arrived(Arc::new(Arrived { cursor, at, link, generation, run: (&payload).into() }))
            }
            item @ (Item::Open { .. }
            | Item::Error { .. }
            | Item::Close(_)
            | Item::Phase { .. }
            | Item::LinkGap { .. }) => Self::Entry(Arc::new(Entry { cursor, at, link, generation, item })),
        }
    }
}
