//! Messages on their way through the transport: pulled by it, and told by it to have left.
//!
//! What a reader would get wrong: a run is pulled as one thing and leaves as its frames do. What has left of it is cut off, so what stands
//! in transit has not left whole.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use super::{Ended, Held, Outbox, Sent, queue::Written};
use crate::{
    body::Body,
    message::{Kind, Message},
    receipt::{EndReason, State},
    requests::Asked,
    run::Sum,
};

/// About as many messages as the driver gives to the network together.
const TOGETHER: usize = 128;

/// Messages in the order of the stream.
#[derive(Debug, Default)]
pub(super) struct Transit {
    pulled: VecDeque<InTransit>,
}

#[derive(Debug)]
pub(super) struct InTransit {
    /// Its place in the queue, to go back to; of several, that of the first.
    pub(super) place: u64,
    /// Its place in the stream; of several, that of the last.
    pub(super) pulled: u64,
    pub(super) held: Held,
}

impl Transit {
    fn push(&mut self, one: InTransit, behind: usize) {
        if self.pulled.is_empty() {
            self.pulled.reserve((1 + behind).min(TOGETHER));
        }
        self.pulled.push_back(one);
    }

    /// Takes the first, or as much of it as these are, one at least.
    #[inline]
    fn pop(&mut self, count: usize) -> Option<InTransit> {
        let first = self.pulled.pop_front()?;
        Some(if first.held.message.count() as usize <= count { first } else { self.cut(first, count) })
    }

    /// Takes so many messages off; the others stay.
    #[cold]
    fn cut(&mut self, mut all: InTransit, count: usize) -> InTransit {
        let count = u32::try_from(count).unwrap_or(u32::MAX);
        let Some(message) = all.held.message.split_to(count) else { return all };
        let (place, left) = (all.place, u64::from(all.held.message.count()));
        let first = InTransit { place, pulled: all.pulled - left, held: all.held.with(Box::new(message)) };
        all.place += u64::from(count);
        self.pulled.push_front(all);
        first
    }

    /// Makes each message stand for itself.
    pub(super) fn split(&mut self) {
        for one in std::mem::take(&mut self.pulled) {
            let InTransit { place, pulled, held } = one;
            let before = pulled - u64::from(held.message.count());
            let singles = held.singles().zip(0..);
            self.pulled.extend(singles.map(|(held, at)| InTransit {
                place: place + at,
                pulled: before + 1 + at,
                held,
            }));
        }
    }

    /// How many messages, and their application bytes.
    pub(super) fn sum(&self) -> (usize, u64) {
        let messages = self.pulled.iter().map(|one| &one.held.message);
        messages.fold((0, 0), |(count, bytes), message| {
            (count + message.count() as usize, bytes + message.body.len() as u64)
        })
    }

    pub(super) fn is_empty(&self) -> bool {
        self.pulled.is_empty()
    }

    pub(super) fn first(&self) -> Option<&Held> {
        self.pulled.front().map(|first| &first.held)
    }

    pub(super) fn last(&self) -> Option<&Held> {
        self.pulled.back().map(|last| &last.held)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Held> {
        self.pulled.iter().map(|one| &one.held)
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Held> {
        self.pulled.iter_mut().map(|one| &mut one.held)
    }
}

impl Outbox {
    /// The next message for the transport, or several that came together, which are now in transit. Never one that has expired:
    /// [`Outbox::expire`] comes first. Nor one that the disk does not have as it must, nor one that would hide which message a peer
    /// refuses.
    pub fn next(&mut self, now: Instant) -> Option<Body> {
        let first = self.queue.first()?;
        if first.is_expired(now) || !self.disk_allows(first) || !self.suspicion_allows(first) {
            return None;
        }
        // Without an id it may not leave.
        let stamped = first.message.request().map(|asked| asked.stamped.clone());
        let body = stamped.map_or_else(|| Some(first.message.body.clone()), |stamped| stamped.map(Body::One))?;
        let body = if self.pacer.is_some() { self.admitted(now, body)? } else { body };
        let (place, held) = self.queue.pop()?;
        self.pulled += u64::from(body.count());
        self.transit.push(InTransit { place, pulled: self.pulled, held }, self.queue.len());
        Some(body)
    }

    /// As much of the first of the queue as may leave now, cut off from the rest.
    #[inline(never)]
    fn admitted(&mut self, now: Instant, mut body: Body) -> Option<Body> {
        let count = self.pacer.as_deref_mut()?.admit(now, &body);
        if count == 0 {
            return None;
        }
        let Some(first) = body.split_to(count) else { return Some(body) };
        self.queue.cut_first(count);
        Some(first)
    }

    /// So many of those in transit, at most all, have been handed to the kernel whole: `Written`, and to be confirmed.
    pub fn left(&mut self, now: Instant, count: usize, sent: &mut Vec<Sent>, ended: &mut Vec<Ended>) {
        let mut count = count;
        self.part = 0;
        let most = count.min(self.transit.pulled.len());
        sent.reserve(most);
        ended.reserve(most);
        while count > 0
            && let Some(one) = self.transit.pop(count)
        {
            count -= one.held.message.count() as usize;
            self.has_left(now, one, sent, ended);
        }
        if self.transit.is_empty() {
            // Ten thousand links must not each keep the room of their busiest moment.
            self.transit = Transit::default();
        }
    }

    #[inline]
    fn has_left(&mut self, now: Instant, one: InTransit, sent: &mut Vec<Sent>, ended: &mut Vec<Ended>) {
        let InTransit { place, pulled, mut held } = one;
        let message = &held.message;
        let (id, count, wanted) = (message.id, message.count(), message.wants_confirmation());
        self.held -= count as usize;
        self.bytes -= message.body.len() as u64;
        tell_sent(now.saturating_duration_since(held.accepted_at), message, sent);
        ended.push(Ended { id, count, state: State::Written, end_reason: None });
        held.sent = true;
        let ack = held.message.ack().map(Into::into);
        if held.acknowledged || (ack.is_none() && pulled <= self.confirmed) {
            ended.push(Ended { id, count, state: State::Confirmed, end_reason: None });
            return;
        }
        if held.message.request().is_some_and(|asked| asked.is_over) {
            ended.push(Ended { id, count, state: State::Unknown, end_reason: Some(EndReason::Reload) });
            self.unconfirmed.never_answered(ack.unwrap_or_default());
            return;
        }
        let request = held.message.request().map(Asked::waiting);
        let kept = self.is_again(&held).then_some((place, held));
        let written = Written { pulled, id, count, wanted, kept };
        let given_up = match (ack, request) {
            (Some(key), Some(request)) => self.unconfirmed.push_request(request, key, written),
            (Some(key), None) => self.unconfirmed.push_keyed(self.policy.ack_deadline(now), key, written),
            (None, _) => self.unconfirmed.push(written),
        };
        // Nobody would tell its end when the link is lost.
        let reason = Some(EndReason::Unproven);
        ended.extend(given_up.map(|(id, count)| Ended { id, count, state: State::Unknown, end_reason: reason }));
    }

    /// So many bytes of the first message in transit have been handed to the kernel. Its room is given back when all of it has.
    pub fn part_left(&mut self, bytes: usize) {
        self.part = self.transit.first().map_or(0, |first| bytes.min(first.message.body.first_len()) as u64);
    }

    /// Takes those in transit that have begun to leave, `begun` messages, apart from those behind them that have not.
    pub(super) fn take_in_transit(&mut self, mut begun: usize) -> (Vec<InTransit>, Vec<InTransit>) {
        let (mut with, mut without) = (Vec::new(), Vec::new());
        while begun > 0
            && let Some(one) = self.transit.pop(begun)
        {
            begun -= one.held.message.count() as usize;
            with.push(one);
        }
        without.extend(std::mem::take(&mut self.transit).pulled);
        (with, without)
    }
}

#[inline]
fn tell_sent(waited: Duration, message: &Message, sent: &mut Vec<Sent>) {
    match &message.body {
        Body::One(payload) => sent.push(Sent { kind: payload.kind(), messages: 1, bytes: payload.len(), waited }),
        Body::Run(run) => {
            for kind in [Kind::Text, Kind::Binary] {
                let Sum { messages, bytes } = run.sum(kind);
                if messages > 0 {
                    sent.push(Sent { kind, messages, bytes: bytes as usize, waited });
                }
            }
        }
    }
}
