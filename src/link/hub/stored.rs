//! Entries as a hub keeps them: messages that arrived together as one.
//!
//! An inbox keeps what a link came into last, so there are two such entries for each link, and most say no more than a word:
//! those stand in the ring itself, and become an [`Entry`] when somebody reads them.

use std::{
    sync::Arc,
    time::{Duration, UNIX_EPOCH},
};

use super::{Arrived, Entry, Item, Stretch};
use wskeeper_core::{
    clock,
    close::Closed,
    event::LinkId,
    inbox::Parts,
    phase::{Phase, Reason},
};

/// An entry, whole or in brief, or messages.
#[derive(Debug, Clone)]
pub(crate) enum Stored {
    /// Hubs share it: its number here is the place in the ring, not its own.
    Whole(Arc<Entry>),
    Brief(Brief),
    Arrived(Arc<Arrived>),
}

/// A place in the ring, with its numbers.
const BRIEF: u64 = 40 + size_of::<Stored>() as u64;
/// The same and an entry beside it.
const WHOLE: u64 = BRIEF + 16 + size_of::<Entry>() as u64;
/// The same and messages beside it.
const ARRIVED: u64 = BRIEF + 16 + size_of::<Arrived>() as u64;

/// An entry of a few words.
#[derive(Debug, Clone)]
pub(crate) struct Brief {
    endpoint: Arc<str>,
    index: u32,
    what: What,
    generation: u64,
    /// Nanoseconds since 1970.
    at: u64,
}

#[derive(Debug, Clone, Copy)]
enum What {
    /// Without subprotocol and extensions.
    Open,
    Phase(Phase, Reason),
}

impl From<Entry> for Stored {
    fn from(entry: Entry) -> Self {
        let what = match &entry.item {
            Item::Message(payload) => {
                let Entry { cursor, at, link, generation, .. } = entry;
                return Self::Arrived(Arc::new(Arrived { cursor, at, link, generation, run: payload.into() }));
            }
            Item::Open { protocol, extensions } if protocol.is_empty() && extensions.is_empty() => Some(What::Open),
            Item::Phase { phase, reason } => Some(What::Phase(*phase, *reason)),
            Item::Open { .. } | Item::Error { .. } | Item::Close(_) | Item::LinkGap { .. } => None,
        };
        let nanos = || u64::try_from(entry.at.duration_since(UNIX_EPOCH).ok()?.as_nanos()).ok();
        match what.and_then(|what| Some((what, nanos()?))) {
            Some((what, at)) => {
                let Entry { link: LinkId { endpoint, index }, generation, .. } = entry;
                Self::Brief(Brief { endpoint, index, what, generation, at })
            }
            None => Self::Whole(Arc::new(entry)),
        }
    }
}

impl Stored {
    /// How many messages it is, and their application bytes.
    pub(super) fn messages(&self) -> Option<(usize, u64)> {
        match self {
            Self::Arrived(arrived) => Some((arrived.run.count(), arrived.run.message_bytes())),
            Self::Whole(_) | Self::Brief(_) => None,
        }
    }

    /// What it takes of the process's budget: its text or data, and what it is kept in.
    pub(super) fn cost(&self) -> u64 {
        match self {
            Self::Whole(entry) => WHOLE + text_len(&entry.item) as u64,
            Self::Brief(_) => BRIEF,
            Self::Arrived(arrived) => ARRIVED + arrived.run.held() as u64,
        }
    }

    /// The link and the connection that it is of, and whether it tells that this one opened.
    pub(super) fn of(&self) -> (u32, u64, bool) {
        match self {
            Self::Whole(entry) => (entry.link.index, entry.generation, matches!(entry.item, Item::Open { .. })),
            Self::Brief(brief) => (brief.index, brief.generation, matches!(brief.what, What::Open)),
            Self::Arrived(arrived) => (arrived.link.index, arrived.generation, false),
        }
    }

    /// From the entry of this number on.
    pub(super) fn stretch(&self, cursor: u64) -> Stretch {
        match self {
            Self::Arrived(arrived) if arrived.cursor == cursor => Stretch::Arrived(Arc::clone(arrived)),
            Self::Arrived(arrived) => Stretch::Arrived(Arc::new(arrived.starting_at(cursor))),
            Self::Whole(_) | Self::Brief(_) => Stretch::Entry(self.entry(cursor)),
        }
    }

    /// The entry of this number.
    pub(super) fn entry(&self, cursor: u64) -> Arc<Entry> {
        let Brief { endpoint, index, what, generation, at } = match self {
            Self::Whole(entry) if entry.cursor == cursor => return Arc::clone(entry),
            Self::Whole(entry) => return Arc::new(Entry { cursor, ..Entry::clone(entry) }),
            Self::Arrived(arrived) => return Arc::new(arrived.entry(cursor)),
            Self::Brief(brief) => brief,
        };
        let item = match *what {
            What::Open => Item::Open { protocol: "".into(), extensions: "".into() },
            What::Phase(phase, reason) => Item::Phase { phase, reason },
        };
        Arc::new(Entry {
            cursor,
            at: clock::since_epoch(Duration::from_nanos(*at)),
            link: LinkId { endpoint: Arc::clone(endpoint), index: *index },
            generation: *generation,
            item,
        })
    }
}

impl Parts for Stored {
    fn message_len(&self, place: usize) -> u64 {
        match self {
            Self::Arrived(arrived) => arrived.run.len_of(place),
            Self::Whole(_) | Self::Brief(_) => 0,
        }
    }

    fn shed(&mut self, gone: usize) -> Option<u64> {
        let Self::Arrived(arrived) = self else { return None };
        if !arrived.run.is_wasteful_without(gone) {
            return None;
        }
        let rest = arrived.starting_at(arrived.cursor + gone as u64);
        *arrived = Arc::new(Arrived { run: rest.run.detached(), ..rest });
        Some(self.cost())
    }
}

/// Bytes of what it says.
fn text_len(item: &Item) -> usize {
    match item {
        Item::Open { protocol, extensions } => protocol.len() + extensions.len(),
        Item::Message(payload) => payload.len(),
        Item::Error { detail, .. } => detail.len(),
        Item::Close(closed) => size_of::<Closed>() + closed.reason.len(),
        Item::Phase { .. } | Item::LinkGap { .. } => 0,
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;

    fn entry(at: SystemTime, item: Item) -> Entry {
        Entry { cursor: 7, at, link: LinkId { endpoint: "e".into(), index: 3 }, generation: 9, item }
    }

    #[test]
    fn an_entry_comes_back_as_it_was_stored() {
        let at = UNIX_EPOCH + Duration::new(1_800_000_000, 123_456_789);
        let open = |protocol: &str| Item::Open { protocol: protocol.into(), extensions: "".into() };
        let phase = Item::Phase { phase: Phase::Parked, reason: Reason::Operator };
        let gap = Item::LinkGap { from: UNIX_EPOCH, to: at };
        for (item, in_brief) in [(open(""), true), (open("v1"), false), (phase.clone(), true), (gap, false)] {
            let stored = Stored::from(entry(at, item.clone()));
            assert_eq!(matches!(stored, Stored::Brief(_)), in_brief, "{item:?}");
            assert_eq!(*stored.entry(7), entry(at, item));
        }
        let before = UNIX_EPOCH - Duration::from_nanos(1);
        assert_eq!(*Stored::from(entry(before, phase.clone())).entry(7), entry(before, phase));
    }

    #[test]
    fn what_is_kept_of_every_link_is_small() {
        assert!(size_of::<Stored>() <= 40, "{}", size_of::<Stored>());
    }
}
