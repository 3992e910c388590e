//! Messages written and not yet known to have been read by the peer: their names only, and not more than [`MOST`].
//!
//! Past that bound the oldest is forgotten and stays `written`. A ping is asked for at half of it, so this takes a peer that
//! answers no ping while hundreds of messages leave.

use std::collections::VecDeque;

use crate::core::message::MessageId;

/// Names kept at most.
pub(super) const MOST: usize = 1024;

/// Written messages in the order of the stream.
#[derive(Debug, Default)]
pub(super) struct Unconfirmed {
    written: VecDeque<Written>,
    /// How many of them someone waits for.
    wanted: usize,
}

#[derive(Debug)]
struct Written {
    pulled: u64,
    id: MessageId,
    wanted: bool,
}

impl Unconfirmed {
    /// A message was written; `pulled` is its place in the stream.
    pub(super) fn push(&mut self, pulled: u64, id: MessageId, wanted: bool) {
        if self.written.len() == MOST {
            self.pop();
        }
        self.wanted += usize::from(wanted);
        self.written.push_back(Written { pulled, id, wanted });
    }

    /// The peer has read the stream up to a place.
    pub(super) fn confirm(&mut self, up_to: u64, mut tell: impl FnMut(MessageId)) {
        while self.written.front().is_some_and(|first| first.pulled <= up_to) {
            self.pop().into_iter().for_each(&mut tell);
        }
    }

    /// Takes them all.
    pub(super) fn drain(&mut self, tell: impl FnMut(MessageId)) {
        self.confirm(u64::MAX, tell);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.written.is_empty()
    }

    /// Whether it is time to ask the peer.
    pub(super) fn wants_ping(&self) -> bool {
        self.wanted > 0 || self.written.len() >= MOST / 2
    }

    fn pop(&mut self) -> Option<MessageId> {
        let first = self.written.pop_front()?;
        self.wanted -= usize::from(first.wanted);
        if self.written.is_empty() {
            // Ten thousand links must not each keep the room of their busiest moment.
            self.written = VecDeque::new();
        }
        Some(first.id)
    }
}
