//! How much an outbox holds, and what it does with what it cannot.
//!
//! `max_bytes` counts application data only: it is the limit of bufferedAmount, not of memory.

use std::time::{Duration, Instant};

use crate::clock::Clock;

/// How long an acknowledgement is waited for where the policy says no more that there are any.
const FORGOTTEN: Duration = Duration::from_secs(30);

use crate::{body::Body, bucket::Pacing};

/// What happens to a message for which there is no room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnFull {
    /// The caller gets an error.
    Reject,
    /// The oldest messages make room.
    DropOldest,
    /// It is accepted and dropped at once, with a receipt that says so.
    DropNewest,
    /// The caller waits, up to its timeout.
    Wait,
}

/// What happens to a message while the link is not ready.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WhenDown {
    /// It is held.
    Hold,
    /// The caller gets an error.
    Reject,
    /// It is accepted and dropped at once, with a receipt that says so.
    Drop,
}

/// What is promised of a message once it has been handed to the network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Delivery {
    /// It is never sent again.
    AtMostOnce,
    /// It is kept until the peer is known to have read it, and sent again, in order, on the next connection.
    AtLeastOnce,
}

/// How the peer's application acknowledges messages. Both pointers (RFC 6901) lead to a value, a string or a number, that is
/// the same in a message and in its acknowledgement. Who reads JSON follows them; the outbox only compares.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ack {
    /// Into what is sent; a message without such a value is confirmed by a pong.
    pub outgoing: Box<str>,
    /// Into what arrives.
    pub incoming: Box<str>,
    /// An acknowledgement that has not come after this will not come.
    pub timeout: Duration,
}

/// The limits and policies of one outbox.
#[derive(Debug, Clone, PartialEq)]
pub struct Policy {
    /// Messages held at most; at least once, those that wait for their confirmation count.
    pub max_messages: usize,
    /// Bytes of application data held at most: the limit of bufferedAmount. At least once, what waits for its confirmation
    /// counts too, because it comes back when the link is lost.
    pub max_bytes: u64,
    /// The largest message accepted.
    pub max_message: usize,
    /// Time to live of a message that brings none.
    pub ttl: Option<Duration>,
    /// No room.
    pub on_full: OnFull,
    /// Not ready.
    pub when_down: WhenDown,
    /// Only the newest message of a key is kept while it queues.
    pub conflate: bool,
    /// What follows the loss of a link for what was written on it.
    pub delivery: Delivery,
    /// Confirmation by the peer's application.
    pub ack: Option<Ack>,
    /// A message is accepted when it is on disk, and leaves only then.
    pub durable: bool,
    /// How fast messages leave.
    pub pacing: Pacing,
}

impl Policy {
    /// Until when a message that is written now must be acknowledged.
    pub(super) fn ack_deadline(&self, now: Instant) -> Instant {
        // Where nothing is acknowledged any more, none is waited for for longer than others were.
        now.later(self.ack.as_ref().map_or(FORGOTTEN, |ack| ack.timeout))
    }

    /// What an empty outbox takes without a question.
    pub(crate) fn room(&self, ready: bool) -> Room {
        // The disk has to be asked; and so have those policies by which a message ends at once.
        if self.durable || (self.when_down != WhenDown::Hold && !ready) {
            return Room::default();
        }
        Room { bytes: self.max_bytes, messages: u32::try_from(self.max_messages).unwrap_or(u32::MAX) }
    }

    /// Whether messages that came together may stay so. Else each has something of its own: a deadline, a key that acknowledges it, a
    /// place on the disk, or another connection that it is sent on again.
    pub fn takes_runs(&self) -> bool {
        self.delivery == Delivery::AtMostOnce && self.ttl.is_none() && self.ack.is_none() && !self.durable
    }
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            max_messages: 1000,
            max_bytes: 8 << 20,
            max_message: 1 << 20,
            ttl: None,
            on_full: OnFull::Reject,
            when_down: WhenDown::Hold,
            conflate: false,
            delivery: Delivery::AtMostOnce,
            ack: None,
            durable: false,
            pacing: Pacing::default(),
        }
    }
}

/// So many messages, and bytes of application data.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Room {
    /// Of all of them.
    pub bytes: u64,
    /// How many.
    pub messages: u32,
}

impl Room {
    /// What these need.
    pub fn of(body: &Body) -> Self {
        Self { bytes: body.len() as u64, messages: body.count() }
    }

    /// Takes what the first of these need, as many as it is there for. Answers with how many.
    pub fn take(&mut self, body: &Body) -> u32 {
        let all = Self::of(body);
        if self.messages >= all.messages && self.bytes >= all.bytes {
            *self = self.without(all);
            return all.messages;
        }
        let before = self.messages;
        if let Body::Run(run) = body {
            for (_, message) in run.messages() {
                let bytes = message.len() as u64;
                if self.messages == 0 || self.bytes < bytes {
                    break;
                }
                *self = self.without(Self { bytes, messages: 1 });
            }
        }
        before - self.messages
    }

    /// Counts more messages.
    pub fn join(&mut self, more: Self) {
        self.bytes = self.bytes.saturating_add(more.bytes);
        self.messages = self.messages.saturating_add(more.messages);
    }

    /// What is left of it without these.
    #[must_use]
    pub fn without(self, those: Self) -> Self {
        Self { bytes: self.bytes.saturating_sub(those.bytes), messages: self.messages.saturating_sub(those.messages) }
    }
}

/// Why a message is not accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// It is larger than `max_message`.
    TooBig,
    /// There is no room, and `on_full` says `reject`.
    Full,
    /// There is no room now, and `on_full` says `wait`: offer it again when there is.
    Wait,
    /// The link is not ready, and `when_down` says `reject`.
    Down,
    /// The connection that it is bound to is not the current one, or carries no more messages.
    Generation,
}
