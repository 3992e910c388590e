//! What a receiver is told, in order: items of a log, and gaps where there should be some.
//!
//! What a reader would get wrong: gaps that follow each other become one, so that a receiver which is told of none for a day has a bounded
//! number of them to be told.

/// What a receiver is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Part<T> {
    /// An item.
    Item {
        /// Its number.
        cursor: u64,
        /// What it counts against the bytes of a batch.
        bytes: usize,
        /// The item.
        item: T,
    },
    /// Some are missing.
    Gap(Gap),
}

/// Items that a receiver does not get.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gap {
    /// Why.
    pub kind: GapKind,
    /// How many; `None`: nobody knows.
    pub missed: Option<u64>,
    /// They lie between this number and the next, both included.
    pub from: u64,
    /// The other end.
    pub to: u64,
}

/// Why a receiver does not get some.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GapKind {
    /// It was so slow that the log had let them go.
    Lag,
    /// They belong to an earlier life of the log, as far as is known.
    Restart,
    /// It has refused them.
    Refused,
    /// The log itself has not heard them.
    Link,
}

impl GapKind {
    /// Its word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Lag => "lag",
            Self::Restart => "restart",
            Self::Refused => "refused",
            Self::Link => "link",
        }
    }
}

impl Gap {
    /// Whether one that follows is told with it.
    pub(super) fn joins(&self, next: &Self) -> bool {
        self.kind == next.kind
    }

    pub(super) fn join(&mut self, next: &Self) {
        self.missed = self.missed.zip(next.missed).map(|(one, other)| one.saturating_add(other));
        (self.from, self.to) = (self.from.min(next.from), self.to.max(next.to));
    }
}

impl<T> Part<T> {
    /// The first number that it is about.
    pub fn first(&self) -> u64 {
        match self {
            Self::Item { cursor, .. } => *cursor,
            Self::Gap(gap) => gap.from,
        }
    }

    /// The last number that it is about.
    pub fn last(&self) -> u64 {
        match self {
            Self::Item { cursor, .. } => *cursor,
            Self::Gap(gap) => gap.to,
        }
    }
}

/// What goes to the receiver at once.
#[derive(Debug)]
pub struct Batch<'a, T> {
    /// In order, one at least.
    pub parts: &'a [Part<T>],
    /// Which attempt of it this is: 1 for the first.
    pub tries: u32,
}

impl<T> Batch<'_, T> {
    /// The first and the last number that it is about.
    pub fn span(&self) -> (u64, u64) {
        (self.parts.first().map_or(0, Part::first), self.parts.last().map_or(0, Part::last))
    }

    /// The numbers of its first and last item; `None`: there is none.
    pub fn items(&self) -> Option<(u64, u64)> {
        let mut cursors = self.parts.iter().filter_map(|part| match part {
            Part::Item { cursor, .. } => Some(*cursor),
            Part::Gap(_) => None,
        });
        let first = cursors.next()?;
        Some((first, cursors.next_back().unwrap_or(first)))
    }
}
