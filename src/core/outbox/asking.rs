//! Messages that the peer's application answers: acknowledgements and replies, by one table.
//!
//! What a reader would get wrong: an answer may come before the stream says that its message has left.

use std::time::Instant;

use super::{Answer, Delivery, Ended, Held, Outbox};
use crate::{
    message::{Message, MessageId},
    receipt::{EndReason, State},
    requests::{self, Stamp},
};

impl Outbox {
    /// An answer with this key has come: whose it is, and what its caller wants back.
    pub(super) fn answer(
        &mut self,
        answer: Answer,
        key: &str,
        ended: &mut Vec<Ended>,
    ) -> Option<(MessageId, Option<requests::Waiting>)> {
        if let Some((written, request)) = self.unconfirmed.answered(answer, key) {
            ended.push(written.ended(State::Confirmed, None));
            return Some((written.id, request));
        }
        let held = self.transit.iter_mut().find(|held| {
            let message = &held.message;
            let is_request = message.request().is_some();
            !held.acknowledged && is_request == (answer == Answer::Reply) && message.ack() == Some(key)
        })?;
        // All of it has left, though the stream has not said so.
        held.acknowledged = true;
        Some((held.message.id, held.message.request().map(requests::Asked::waiting)))
    }

    /// Ends those whose answer has not come in time.
    pub(super) fn give_up(&mut self, answer: Answer, now: Instant, ended: &mut Vec<Ended>) {
        for written in self.unconfirmed.give_up(answer, now) {
            ended.push(written.ended(State::Unknown, Some(EndReason::AckTimeout)));
        }
    }

    /// Whether a reply to this request might be one that comes late, to another with the same id.
    pub(super) fn is_late(&self, message: &Message) -> bool {
        message.request().is_some_and(|asked| self.unconfirmed.has_late_id(asked))
    }

    /// Ends the queued requests whose id is not free any more.
    fn end_late(&mut self, ended: &mut Vec<Ended>) {
        if !self.unconfirmed.has_late() {
            return;
        }
        let late = &self.unconfirmed;
        let is_late = |held: &Held| held.message.request().is_some_and(|asked| late.has_late_id(asked));
        for held in self.queue.take_all(is_late) {
            self.drop_held(held, State::Dropped, EndReason::IdInUse, ended);
        }
    }

    /// Ends all requests, for no reply to any of them will be found. What has begun to leave of one leaves.
    pub(crate) fn end_requests(&mut self, ended: &mut Vec<Ended>) {
        for written in self.unconfirmed.end_requests() {
            ended.push(written.ended(State::Unknown, Some(EndReason::Reload)));
        }
        for held in self.queue.take_all(|held| held.message.request().is_some()) {
            self.drop_held(held, State::Dropped, EndReason::Reload, ended);
        }
        for held in self.transit.iter_mut() {
            if let Some(asked) = held.message.extras.as_deref_mut().and_then(|extras| extras.request.as_deref_mut()) {
                asked.is_over = true;
            }
        }
    }

    /// Another connection takes messages now: what comes late on an earlier one is not looked for.
    pub(crate) fn forget_late(&mut self) {
        self.unconfirmed.forget_late();
    }

    /// Whether what is given to the network is kept to be sent again.
    pub(super) fn is_again(&self, held: &Held) -> bool {
        match held.message.request() {
            Some(asked) => asked.retry && !asked.is_over,
            None => self.policy.delivery == Delivery::AtLeastOnce,
        }
    }

    /// Requests that wait for their replies.
    pub(crate) fn asked(&self) -> usize {
        let leaving = self.transit.iter().filter(|held| !held.acknowledged && held.message.request().is_some());
        self.unconfirmed.waiting(Answer::Reply) + leaving.count()
    }

    /// Whether the message at the head is a request that has no id yet.
    #[inline]
    pub(crate) fn wants_id(&self) -> bool {
        self.queue.first().is_some_and(|first| first.message.request().is_some_and(|asked| asked.stamped.is_none()))
    }

    /// Whether what arrives may be a reply. A late one matters only where callers give the ids.
    pub(crate) fn expects_replies(&self, stamp: Stamp) -> bool {
        self.asked() > 0 || stamp == Stamp::Keep && self.unconfirmed.has_late()
    }

    /// Gives it one, unless that is its caller's and another one's too.
    pub(crate) fn give_id(&mut self, mut number: impl FnMut(u64) -> u64, name: impl FnOnce() -> String) {
        let Some(asked) = self.queue.first().and_then(|first| first.message.request()) else { return };
        if asked.own_key().is_some_and(|key| self.is_awaited(&key) || self.unconfirmed.is_late(&key)) {
            return;
        }
        if asked.is_numbered() {
            let mut given = number(self.pulled.max(self.numbered).saturating_add(1));
            // It may have been a caller's own before a reload.
            while self.unconfirmed.is_late(&given.to_string()) {
                given = number(given.saturating_add(1));
            }
            self.numbered = given;
        }
        if let Some((_, held)) = self.queue.iter_mut().next()
            && let Some(extras) = held.message.extras.as_deref_mut()
            && let Some(asked) = extras.request.as_deref_mut()
        {
            extras.ack = Some(asked.give(self.numbered, name));
        }
    }

    fn is_awaited(&self, key: &str) -> bool {
        let of_request = |held: &Held| held.message.request().is_some() && held.message.ack() == Some(key);
        self.unconfirmed.waits_for(Answer::Reply, key) || self.transit.iter().any(of_request)
    }

    /// A reply with this key has come.
    pub(crate) fn replied(&mut self, key: &str, ended: &mut Vec<Ended>) -> Option<(MessageId, requests::Waiting)> {
        let Some((id, request)) = self.answer(Answer::Reply, key, ended) else {
            self.unconfirmed.came_late(key);
            return None;
        };
        Some((id, request?))
    }

    /// Until when the next reply must have come.
    pub(crate) fn next_reply_deadline(&self) -> Option<Instant> {
        self.unconfirmed.next_deadline(Answer::Reply)
    }

    /// Ends the requests whose reply has not come in time.
    pub(crate) fn give_up_requests(&mut self, now: Instant, ended: &mut Vec<Ended>) {
        self.give_up(Answer::Reply, now, ended);
        self.end_late(ended);
    }
}
