//! Messages written and not yet known to have been read by the peer, in the order of the stream.
//!
//! At most once, only their names are kept, and not more than [`MOST_BYTES`] of those that a pong confirms and of those that an
//! acknowledgement does: past that bound the oldest is given up, and its receipt says so. A ping is asked for long before, so this
//! takes a peer that proves nothing while tens of thousands of messages leave. At least once, the messages themselves are kept,
//! within the limits of the outbox, which count them.

use std::{collections::VecDeque, time::Instant};

use super::{
    Ended,
    queue::Written,
    unacknowledged::{Answer, Unacknowledged},
};
use crate::{message::MessageId, receipt::State, requests};

/// What names may take.
pub(super) const MOST_BYTES: usize = 4 << 20;
/// Names that a pong confirms, kept at most.
pub(super) const MOST: usize = MOST_BYTES / size_of::<Written>();
/// So many without a proof are many.
pub(super) const MANY: usize = 512;

/// Written messages in the order of the stream.
#[derive(Debug, Default)]
pub(super) struct Unconfirmed {
    /// Those that a pong confirms.
    written: VecDeque<Written>,
    /// Those that an acknowledgement confirms.
    unacknowledged: Unacknowledged,
    tally: Tally,
}

/// What is among them.
#[derive(Debug, Default)]
struct Tally {
    /// How many a pong confirms.
    by_pong: usize,
    /// How many that a pong confirms someone waits for, or must be sent again if they are lost.
    wanted: usize,
    /// How many of these someone waits for.
    urgent: usize,
    kept: usize,
    kept_bytes: u64,
}

impl Unconfirmed {
    /// A message was written that a pong confirms. Answers with one that is given up for it.
    pub(super) fn push(&mut self, written: Written) -> Option<(MessageId, u32)> {
        let is_full = written.kept.is_none() && self.written.len() >= MOST;
        let given_up = if is_full { self.give_up_oldest_name() } else { None };
        self.tally.add(&written, true);
        self.written.push_back(written);
        given_up
    }

    /// A message was written that an acknowledgement with this key confirms. Answers with one that is given up for it.
    pub(super) fn push_keyed(
        &mut self,
        deadline: Instant,
        key: Box<str>,
        written: Written,
    ) -> Option<(MessageId, u32)> {
        let given_up = self.make_room(&written);
        self.unacknowledged.push(deadline, key, written);
        given_up
    }

    /// A request was written, which a reply with this key confirms. Answers with one that is given up for it.
    pub(super) fn push_request(
        &mut self,
        request: requests::Waiting,
        key: Box<str>,
        written: Written,
    ) -> Option<(MessageId, u32)> {
        let given_up = self.make_room(&written);
        self.unacknowledged.push_request(request, key, written);
        given_up
    }

    fn make_room(&mut self, written: &Written) -> Option<(MessageId, u32)> {
        let is_full = written.kept.is_none() && self.unacknowledged.bytes() >= MOST_BYTES;
        let given_up = if is_full { self.unacknowledged.take_oldest_name() } else { None };
        if let Some(given_up) = &given_up {
            self.tally.remove(given_up, false);
        }
        self.tally.add(written, false);
        given_up.map(|written| (written.id, written.count))
    }

    /// Someone waits for the proof of this message from now on; answers whether it is here.
    pub(super) fn want(&mut self, id: MessageId) -> bool {
        let is_it = |written: &&mut Written| written.is_named(id);
        let Some(written) = self.written.iter_mut().rfind(is_it) else { return false };
        self.tally.remove(written, true);
        written.wanted = true;
        self.tally.add(written, true);
        true
    }

    /// The peer has read the stream up to a place: ends what that confirms, in order.
    pub(super) fn confirm(&mut self, up_to: u64, ended: &mut Vec<Ended>) {
        let confirmed = self.written.partition_point(|written| written.pulled <= up_to);
        ended.extend(self.written.drain(..confirmed).map(|written| {
            self.tally.remove(&written, true);
            written.ended(State::Confirmed, None)
        }));
        if self.written.is_empty() {
            // Ten thousand links must not each keep the room of their busiest moment.
            self.written = VecDeque::new();
        }
    }

    /// An answer with this key has come.
    pub(super) fn answered(&mut self, answer: Answer, key: &str) -> Option<(Written, Option<requests::Waiting>)> {
        let answered = self.unacknowledged.take(answer, key)?;
        self.tally.remove(&answered.0, false);
        Some(answered)
    }

    /// Takes those whose answer has not come in time.
    pub(super) fn give_up(&mut self, answer: Answer, now: Instant) -> Vec<Written> {
        let due = self.unacknowledged.take_due(answer, now);
        for written in &due {
            self.tally.remove(written, false);
        }
        due
    }

    /// Takes all requests: no reply to any of them will be found.
    pub(super) fn end_requests(&mut self) -> Vec<Written> {
        let all = self.unacknowledged.take_requests();
        for written in &all {
            self.tally.remove(written, false);
        }
        all
    }

    /// A request that had this key has ended, and its reply may come.
    pub(super) fn never_answered(&mut self, key: Box<str>) {
        self.unacknowledged.note_late(key);
    }

    /// Whether replies to requests that have ended may come.
    #[inline]
    pub(super) fn has_late(&self) -> bool {
        self.unacknowledged.has_late()
    }

    /// Whether this request's id, given by its caller, is that of such a one.
    pub(super) fn has_late_id(&self, asked: &requests::Asked) -> bool {
        self.has_late() && asked.own_key().is_some_and(|key| self.is_late(&key))
    }

    /// Whether one with this key may come.
    pub(super) fn is_late(&self, key: &str) -> bool {
        self.unacknowledged.is_late(key)
    }

    /// It has come.
    pub(super) fn came_late(&mut self, key: &str) {
        self.unacknowledged.came_late(key);
    }

    /// None will.
    pub(super) fn forget_late(&mut self) {
        self.unacknowledged.forget_late();
    }

    /// How many wait for such an answer.
    pub(super) fn waiting(&self, answer: Answer) -> usize {
        self.unacknowledged.waiting(answer)
    }

    /// Whether such an answer with this key is waited for.
    pub(super) fn waits_for(&self, answer: Answer, key: &str) -> bool {
        self.unacknowledged.place(answer, key).is_some()
    }

    /// Until when the next answer must have come.
    pub(super) fn next_deadline(&self, answer: Answer) -> Option<Instant> {
        self.unacknowledged.next_deadline(answer)
    }

    /// Takes them all, in the order of the stream.
    pub(super) fn drain(&mut self) -> Vec<Written> {
        let mut all = std::mem::take(self);
        let mut drained: Vec<_> = all.written.into_iter().chain(all.unacknowledged.drain()).collect();
        drained.sort_by_key(|written| written.pulled);
        drained
    }

    pub(super) fn is_empty(&self) -> bool {
        self.written.is_empty() && self.unacknowledged.is_empty()
    }

    /// The one written last.
    pub(super) fn last(&self) -> Option<&Written> {
        self.written.back().into_iter().chain(self.unacknowledged.last()).max_by_key(|written| written.pulled)
    }

    /// Messages kept to be sent again.
    pub(super) fn kept(&self) -> usize {
        self.tally.kept
    }

    /// Their application bytes.
    pub(super) fn kept_bytes(&self) -> u64 {
        self.tally.kept_bytes
    }

    /// Whether it is time to ask the peer.
    pub(super) fn wants_ping(&self) -> bool {
        self.tally.wanted > 0 || self.is_pressing()
    }

    /// Whether a caller waits for the proof of one, or many have none.
    pub(super) fn is_pressing(&self) -> bool {
        self.tally.urgent > 0 || self.tally.by_pong >= MANY
    }

    fn give_up_oldest_name(&mut self) -> Option<(MessageId, u32)> {
        let oldest = self.written.iter().position(|written| written.kept.is_none())?;
        let given_up = self.written.remove(oldest)?;
        self.tally.remove(&given_up, true);
        Some((given_up.id, given_up.count))
    }
}

impl Tally {
    fn add(&mut self, written: &Written, by_pong: bool) {
        self.by_pong += if by_pong { written.count as usize } else { 0 };
        self.wanted += usize::from(by_pong && written.wants_ping());
        self.urgent += usize::from(by_pong && written.wanted);
        if let Some((_, held)) = &written.kept {
            self.kept += 1;
            self.kept_bytes += held.message.body.len() as u64;
        }
    }

    fn remove(&mut self, written: &Written, by_pong: bool) {
        self.by_pong -= if by_pong { written.count as usize } else { 0 };
        self.wanted -= usize::from(by_pong && written.wants_ping());
        self.urgent -= usize::from(by_pong && written.wanted);
        if let Some((_, held)) = &written.kept {
            self.kept -= 1;
            self.kept_bytes -= held.message.body.len() as u64;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_left_keeps_no_room() {
        let (mut unconfirmed, mut ended) = (Unconfirmed::default(), Vec::new());
        for pulled in 0..100 {
            let _ =
                unconfirmed.push(Written { pulled, id: MessageId(pulled.into()), count: 1, wanted: false, kept: None });
        }
        unconfirmed.confirm(98, &mut ended);
        assert!(unconfirmed.written.capacity() > 0);
        unconfirmed.confirm(99, &mut ended);
        assert_eq!((unconfirmed.written.capacity(), ended.len()), (0, 100));
    }
}
