//! What the loss of a connection means for the messages that were given to it.
//!
//! At most once, what may have arrived is `unknown`. At least once, it goes back to the head of the queue, unless the peer
//! has refused it too often: a close with 1003, 1007, 1008 or 1009 is a strike against every message that may have brought it
//! on. From then on the suspects leave one at a time, so that the next such close has only one of them to blame.

use super::{Ended, Held, Outbox, ended_of, transit::InTransit};
use crate::{
    message::Message,
    receipt::{EndReason, State},
};

/// Strikes after which a message is dead.
const STRIKES: u8 = 3;

/// Close codes that blame a message (RFC 6455 §7.4.1): unsupported data, invalid payload, policy violation, too big.
const BLAMING: [u16; 4] = [1003, 1007, 1008, 1009];

impl Outbox {
    /// The connection is gone after the first `begun` of those in transit had begun to leave; `code` is the peer's close code, if
    /// it sent one. What had not begun to leave goes back to the head of the queue, in order. Answers with the message that
    /// is dead now, if there is one.
    pub fn lost(&mut self, begun: usize, code: Option<u16>, ended: &mut Vec<Ended>) -> Option<Box<Message>> {
        let (mut back, mut suspects) = (Vec::new(), 0);
        self.part = 0;
        for written in self.unconfirmed.drain() {
            match written.kept {
                Some((place, held)) => {
                    self.hold(&held.message);
                    back.push((place, held));
                    suspects += 1;
                }
                None => ended.push(written.ended(State::Unknown, Some(EndReason::LinkLost))),
            }
        }
        let (with, without) = self.take_in_transit(begun);
        let all = with.into_iter().map(|one| (one, true)).chain(without.into_iter().map(|one| (one, false)));
        for (InTransit { place, pulled, mut held }, begun) in all {
            if held.acknowledged || (held.message.ack().is_none() && pulled <= self.confirmed) {
                self.end_held(held, State::Confirmed, None, ended);
            } else if held.message.request().is_some_and(|asked| asked.is_over) {
                held.sent |= begun;
                self.drop_held(held, State::Dropped, EndReason::Reload, ended);
            } else if begun && !self.is_again(&held) {
                self.drop_held(held, State::Unknown, EndReason::LinkLost, ended);
            } else {
                held.sent |= begun;
                back.push((place, held));
                suspects += usize::from(begun);
            }
        }
        let dead = self.blame(code, suspects, &mut back, ended);
        // On the next connection they have other ids, and so has the one that had its own and has not been pulled.
        let head = self.queue.iter_mut().next();
        let requests = back.iter_mut().map(|(_, held)| held).chain(head.map(|(_, held)| held));
        let requests = requests.filter_map(|held| held.message.extras.as_deref_mut()?.request.as_deref_mut());
        requests.for_each(|asked| asked.stamped = None);
        // Newest first, so that among messages of one key that return together the newest one stays.
        for (place, held) in back.into_iter().rev() {
            if self.queue.newest_of(&held.message).is_some() {
                self.drop_held(held, State::Dropped, EndReason::Conflated, ended);
            } else {
                self.queue.insert(place, held);
            }
        }
        dead
    }

    /// Whether `first` may leave now, where a suspect must have the stream to itself.
    #[inline]
    pub(super) fn suspicion_allows(&self, first: &Held) -> bool {
        let last_is_suspect = match self.transit.last() {
            Some(held) => held.strikes > 0,
            None => {
                self.unconfirmed.last().and_then(|last| last.kept.as_ref()).is_some_and(|(_, held)| held.strikes > 0)
            }
        };
        !last_is_suspect && (first.strikes == 0 || !self.has_unproven())
    }

    /// Counts a strike against the first `suspects`, which may have brought the close on, and takes out the last of them if
    /// it is its third.
    fn blame(
        &mut self,
        code: Option<u16>,
        suspects: usize,
        back: &mut Vec<(u64, Held)>,
        ended: &mut Vec<Ended>,
    ) -> Option<Box<Message>> {
        let blamed = code.is_some_and(|code| BLAMING.contains(&code));
        for (_, held) in &mut back[..suspects] {
            held.strikes = if blamed { held.strikes.saturating_add(1) } else { 0 };
        }
        let last = suspects.checked_sub(1)?;
        if back[last].1.strikes < STRIKES {
            return None;
        }
        let (_, held) = back.remove(last);
        self.let_go(&held.message);
        ended.push(ended_of(&held.message, State::Dead, Some(EndReason::Poison)));
        Some(held.message)
    }
}
