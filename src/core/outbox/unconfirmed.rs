//! Messages written and not yet known to have been read by the peer, in the order of the stream.
//!
//! At most once, only their names are kept, and not more than [`MOST`]: past that bound the oldest is forgotten and stays
//! `written`. A ping is asked for at half of it, so this takes a peer that answers no ping while hundreds of messages leave.
//! At least once, the messages themselves are kept, within the limits of the outbox, which count them.

use std::collections::VecDeque;

use super::queue::Held;
use crate::core::message::MessageId;

/// Names kept at most.
pub(super) const MOST: usize = 1024;

/// Written messages in the order of the stream.
#[derive(Debug, Default)]
pub(super) struct Unconfirmed {
    written: VecDeque<Written>,
    /// How many of them someone waits for, or must be sent again if they are lost.
    wanted: usize,
    kept: usize,
    kept_bytes: u64,
}

/// One of them.
#[derive(Debug)]
pub(super) struct Written {
    /// Its place in the stream.
    pub(super) pulled: u64,
    pub(super) id: MessageId,
    pub(super) wanted: bool,
    /// Its place in the queue, and itself, where it must be sent again if it is lost.
    pub(super) kept: Option<(u64, Held)>,
}

impl Unconfirmed {
    /// A message was written.
    pub(super) fn push(&mut self, written: Written) {
        match &written.kept {
            Some((_, held)) => {
                self.kept += 1;
                self.kept_bytes += held.message.payload.len() as u64;
            }
            None if self.written.len() - self.kept == MOST => self.forget_oldest_name(),
            None => {}
        }
        self.wanted += usize::from(written.wants_ping());
        self.written.push_back(written);
    }

    /// The peer has read the stream up to a place.
    pub(super) fn confirm(&mut self, up_to: u64, mut tell: impl FnMut(Written)) {
        while self.written.front().is_some_and(|first| first.pulled <= up_to) {
            self.take(0).into_iter().for_each(&mut tell);
        }
    }

    /// Takes them all.
    pub(super) fn drain(&mut self) -> VecDeque<Written> {
        std::mem::take(self).written
    }

    pub(super) fn is_empty(&self) -> bool {
        self.written.is_empty()
    }

    /// The one written last.
    pub(super) fn last(&self) -> Option<&Written> {
        self.written.back()
    }

    /// Messages kept to be sent again.
    pub(super) fn kept(&self) -> usize {
        self.kept
    }

    /// Their application bytes.
    pub(super) fn kept_bytes(&self) -> u64 {
        self.kept_bytes
    }

    /// Whether it is time to ask the peer.
    pub(super) fn wants_ping(&self) -> bool {
        self.wanted > 0 || self.written.len() >= MOST / 2
    }

    fn forget_oldest_name(&mut self) {
        if let Some(oldest) = self.written.iter().position(|written| written.kept.is_none()) {
            self.take(oldest);
        }
    }

    fn take(&mut self, index: usize) -> Option<Written> {
        let taken = self.written.remove(index)?;
        self.wanted -= usize::from(taken.wants_ping());
        if let Some((_, held)) = &taken.kept {
            self.kept -= 1;
            self.kept_bytes -= held.message.payload.len() as u64;
        }
        if self.written.is_empty() {
            // Ten thousand links must not each keep the room of their busiest moment.
            self.written = VecDeque::new();
        }
        Some(taken)
    }
}

impl Written {
    fn wants_ping(&self) -> bool {
        self.wanted || self.kept.is_some()
    }
}
