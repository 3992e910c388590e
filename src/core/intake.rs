//! What a broker hands over to be sent: how much of it is in hand, and what the broker is told of each message.
//! Its driver, bridges from a broker, comes next (docs/decisions/0090-brokers.md).
//!
//! ```text
//!            take                    Taken ──► Settle::Acknowledge
//!   broker ───────► in hand ── end ── Impossible ──► Settle::Drop
//!      ▲                              Refused ──► Settle::GiveBack, with all that came after it
//!      └────────── after a delay, in the same order ──────────┘
//! ```
//! Whoever has a source gives an [`Intake`] each message that comes, sends it, says how that [`SendEnd`]ed, and does what [`Intake::poll_settle`] says.
//!
//! What a reader would get wrong: a refusal is one of all that came after the refused message. None of them was sent, so they are given back
//! with it and come again behind it: the order is kept.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use crate::{
    backoff::{self, Backoff},
    chance::Chance,
    clock::Clock as _,
};

/// So much longer than what is given back nothing is read: a broker's timers begin later, and what it holds back must not come behind what
/// follows it.
const MARGIN: Duration = Duration::from_millis(250);

/// How a source is read.
#[derive(Debug, Clone, PartialEq)]
pub struct Policy {
    /// Messages in hand, at most.
    pub max_in_flight: usize,
    /// Their bytes, at most; a longer message is in hand alone.
    pub max_bytes: usize,
    /// How long nothing is read after a refusal.
    pub backoff: backoff::Policy,
}

/// How the sending of a message ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SendEnd {
    /// It is as far as the broker is to wait for.
    Taken,
    /// There was no room for it, or its link is down; later there may be.
    Refused,
    /// It will never be sent.
    Impossible,
}

/// What a broker is told of a message, by the number that [`Intake::take`] gave it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Settle {
    /// It need not be handed over again.
    Acknowledge(u64),
    /// It is to be handed over again, after this.
    GiveBack(u64, Duration),
    /// It is to be handed over to nobody again.
    Drop(u64),
    /// It is still in hand.
    Extend(u64),
}

/// What has happened since the start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct IntakeCounts {
    /// Messages that came, those that came again among them.
    pub received: u64,
    /// Their bytes.
    pub received_bytes: u64,
    /// Messages that were acknowledged.
    pub taken: u64,
    /// Refusals.
    pub refused: u64,
    /// Messages that were given back.
    pub given_back: u64,
    /// Messages that will never be sent.
    pub dropped: u64,
}

/// Reads one source.
#[derive(Debug)]
pub struct Intake {
    policy: Policy,
    backoff: Backoff,
    chance: Chance,
    /// Nothing is read before.
    until: Option<Instant>,
    is_stopped: bool,
    /// In order of their numbers.
    held: VecDeque<(u64, usize)>,
    bytes: usize,
    next: u64,
    settles: VecDeque<Settle>,
    /// How often the broker is told of what is still in hand, and when it is next.
    extends: Option<(Duration, Instant)>,
    counts: IntakeCounts,
}

impl Intake {
    /// One that has nothing in hand.
    pub fn new(policy: Policy, seed: u64) -> Self {
        Self {
            policy,
            backoff: Backoff::default(),
            chance: Chance::new(seed),
            until: None,
            is_stopped: false,
            held: VecDeque::new(),
            bytes: 0,
            next: 0,
            settles: VecDeque::new(),
            extends: None,
            counts: IntakeCounts::default(),
        }
    }

    /// The broker wants to be told this often that a message is still in hand.
    pub fn extend_every(&mut self, every: Duration, now: Instant) {
        self.extends = Some((every, now.later(every)));
    }

    /// What has happened.
    pub fn counts(&self) -> IntakeCounts {
        self.counts
    }

    /// Messages in hand.
    pub fn in_hand(&self) -> usize {
        self.held.len()
    }

    /// Their bytes.
    pub fn bytes_in_hand(&self) -> usize {
        self.bytes
    }

    /// When it reads again, where it waits.
    pub fn waits_until(&self) -> Option<Instant> {
        self.until
    }

    /// So many messages more may come now.
    pub fn room(&self, now: Instant) -> usize {
        let may = !self.is_stopped && self.until.is_none_or(|until| until <= now) && self.bytes < self.policy.max_bytes;
        if may { self.policy.max_in_flight.max(1).saturating_sub(self.held.len()) } else { 0 }
    }

    /// A message has come; answers with its number. One that comes while there is no room is to be refused.
    pub fn take(&mut self, bytes: usize) -> u64 {
        let number = self.next;
        self.next += 1;
        self.held.push_back((number, bytes));
        self.bytes += bytes;
        self.counts.received += 1;
        self.counts.received_bytes += bytes as u64;
        number
    }

    /// How the sending of a message ended. One that is not in hand has ended before.
    pub fn end(&mut self, now: Instant, number: u64, end: SendEnd) {
        let Ok(place) = self.held.binary_search_by_key(&number, |(number, _)| *number) else { return };
        match end {
            SendEnd::Taken => {
                // What was given back comes first all the same, so the wait goes on.
                self.backoff.reset();
                self.counts.taken += 1;
                self.release(place);
                self.settles.push_back(Settle::Acknowledge(number));
            }
            SendEnd::Impossible => {
                self.counts.dropped += 1;
                self.release(place);
                self.settles.push_back(Settle::Drop(number));
            }
            SendEnd::Refused => {
                self.counts.refused += 1;
                let delay = self.backoff.next_delay(&self.policy.backoff, now, &mut self.chance);
                self.until = Some(now.later(delay).later(MARGIN));
                self.give_back(place, delay);
            }
        }
    }

    /// Nothing more is read. What was not accepted yet, from this message on, is given back at once.
    pub fn stop(&mut self, from: Option<u64>) {
        self.is_stopped = true;
        if let Some(from) = from {
            self.give_back(self.held.partition_point(|(number, _)| *number < from), Duration::ZERO);
        }
    }

    /// The broker is lost, and with it whatever it would have been told.
    pub fn lost(&mut self, now: Instant) {
        self.settles.clear();
        let delay = self.backoff.next_delay(&self.policy.backoff, now, &mut self.chance);
        self.until = Some(now.later(delay));
    }

    /// What the broker is to be told next.
    pub fn poll_settle(&mut self, now: Instant) -> Option<Settle> {
        if let Some((every, _)) = self.extends.filter(|(_, at)| *at <= now) {
            self.extends = Some((every, now.later(every)));
            self.settles.extend(self.held.iter().map(|(number, _)| Settle::Extend(*number)));
        }
        self.settles.pop_front()
    }

    /// When there may be something to do, where nothing comes before.
    pub fn poll_timeout(&self, now: Instant) -> Option<Instant> {
        let again = self.until.filter(|until| *until > now && !self.is_stopped);
        let extend = self.extends.map(|(_, at)| at).filter(|_| !self.held.is_empty());
        again.into_iter().chain(extend).min()
    }

    fn release(&mut self, place: usize) {
        if let Some((_, bytes)) = self.held.remove(place) {
            self.bytes -= bytes;
        }
    }

    fn give_back(&mut self, place: usize, delay: Duration) {
        for (number, bytes) in self.held.drain(place..) {
            self.bytes -= bytes;
            self.counts.given_back += 1;
            self.settles.push_back(Settle::GiveBack(number, delay));
        }
    }
}

#[cfg(test)]
mod tests;
