//! A link's ordered queue of accepted messages not yet handed to the network.
//!
//! ```text
//! offer ──► queued ──next──► in transit ──flushed──► unconfirmed ──confirm──► confirmed
//!              ▲                  │ not begun             │
//!              └──────lost────────┴─ begun ──► unknown ◄──┘ lost
//! ```
//! bufferedAmount counts what is queued or in transit: nothing has left before the kernel has all of it. A message that
//! has begun to leave when the link is lost is never sent again; one that has not begun goes back to the head.

mod queue;
#[cfg(test)]
mod tests;

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use self::queue::Queue;
use super::{
    message::{Kind, Message, MessageId, Payload},
    receipt::{Fate, State},
};

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

/// The limits and policies of one outbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// Messages held at most.
    pub max_messages: usize,
    /// Bytes of application data held at most: the limit of bufferedAmount.
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
        }
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
}

/// A message reached a state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ended {
    /// Which.
    pub id: MessageId,
    /// The state reached.
    pub state: State,
    /// Why, where it was not sent.
    pub fate: Option<Fate>,
}

/// A message was handed to the kernel in full.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sent {
    /// Its kind.
    pub kind: Kind,
    /// Its application bytes.
    pub bytes: usize,
    /// How long it was held.
    pub waited: Duration,
}

/// A longer message leaves in several frames, so that control frames need not wait for all of it (RFC 6455 §5.4). Below the
/// 32 KB that hosted gateways allow a frame.
pub const FRAGMENT_MAX: usize = 31 << 10;

/// Written messages remembered until they are confirmed; beyond it the oldest stay `written`, their end at most once.
const UNCONFIRMED_MAX: usize = 1024;

/// A message with what the outbox knows of it.
#[derive(Debug)]
struct Held {
    message: Box<Message>,
    since: Instant,
}

#[derive(Debug)]
struct Unconfirmed {
    seq: u64,
    id: MessageId,
    wants_confirmation: bool,
}

/// A link's queue. Takes no memory of its own until it is used.
#[derive(Debug)]
pub struct Outbox {
    policy: Policy,
    queue: Queue,
    transit: VecDeque<Held>,
    unconfirmed: VecDeque<Unconfirmed>,
    /// How many unconfirmed ones someone waits for.
    wanted: usize,
    bytes: u64,
    /// Messages written so far: the numbers of the unconfirmed.
    written: u64,
}

impl Outbox {
    /// An empty outbox.
    pub fn new(policy: Policy) -> Self {
        Self {
            policy,
            queue: Queue::default(),
            transit: VecDeque::new(),
            unconfirmed: VecDeque::new(),
            wanted: 0,
            bytes: 0,
            written: 0,
        }
    }

    /// Follows a new policy. What is held stays held, also above a lower limit.
    pub fn set_policy(&mut self, policy: Policy) {
        self.policy = policy;
    }

    /// Takes a message, or gives it back with why. What had to go for it is pushed to `ended`.
    pub fn offer(
        &mut self,
        now: Instant,
        mut message: Box<Message>,
        ready: bool,
        ended: &mut Vec<Ended>,
    ) -> Result<(), (Box<Message>, Refusal)> {
        let len = message.payload.len();
        if len > self.policy.max_message {
            return Err((message, Refusal::TooBig));
        }
        if !ready {
            match self.policy.when_down {
                WhenDown::Hold => {}
                WhenDown::Reject => return Err((message, Refusal::Down)),
                WhenDown::Drop => {
                    ended.push(Ended { id: message.id, state: State::Dropped, fate: Some(Fate::Down) });
                    return Ok(());
                }
            }
        }
        let older = if self.policy.conflate { self.queue.newest_of(message.key.as_deref()) } else { None };
        let freed = older.map_or((0, 0), |(_, bytes)| (1, bytes));
        if !self.fits(len as u64, freed) {
            match self.policy.on_full {
                OnFull::Reject => return Err((message, Refusal::Full)),
                OnFull::Wait => return Err((message, Refusal::Wait)),
                OnFull::DropNewest => {
                    ended.push(Ended { id: message.id, state: State::Dropped, fate: Some(Fate::Overflow) });
                    return Ok(());
                }
                OnFull::DropOldest => {
                    // Decide before dropping: what is in transit cannot make room.
                    if !self.could_fit(len as u64) {
                        return Err((message, Refusal::Full));
                    }
                }
            }
        }
        if let Some((seq, _)) = older {
            self.remove(seq, Fate::Conflated, State::Dropped, ended);
        }
        while !self.fits(len as u64, (0, 0)) {
            let Some(seq) = self.queue.head() else { break };
            self.remove(seq, Fate::Evicted, State::Dropped, ended);
        }
        if message.expires_at.is_none() {
            message.expires_at = self.policy.ttl.and_then(|ttl| now.checked_add(ttl));
        }
        self.bytes += len as u64;
        self.queue.push_back(Held { message, since: now });
        Ok(())
    }

    /// Moves the head into transit and gives its payload. Call `expire` first.
    pub fn next(&mut self, now: Instant) -> Option<Payload> {
        let first = self.queue.head_held()?;
        if first.message.expires_at.is_some_and(|at| at <= now) {
            return None;
        }
        let held = self.queue.pop_front()?;
        let payload = held.message.payload.clone();
        self.transit.push_back(held);
        Some(payload)
    }

    /// The kernel has everything that was in transit.
    pub fn flushed(&mut self, now: Instant, sent: &mut Vec<Sent>, ended: &mut Vec<Ended>) {
        while let Some(Held { message, since }) = self.transit.pop_front() {
            let bytes = message.payload.len();
            self.bytes -= bytes as u64;
            self.written += 1;
            let waited = now.saturating_duration_since(since);
            sent.push(Sent { kind: message.payload.kind(), bytes, waited });
            ended.push(Ended { id: message.id, state: State::Written, fate: None });
            if self.unconfirmed.len() == UNCONFIRMED_MAX {
                self.forget_oldest();
            }
            self.wanted += usize::from(message.wants_confirmation);
            self.unconfirmed.push_back(Unconfirmed {
                seq: self.written,
                id: message.id,
                wants_confirmation: message.wants_confirmation,
            });
        }
    }

    /// A mark for a ping made now: it covers everything written or in transit, which precedes the ping in the stream.
    pub fn fence(&self) -> u64 {
        self.written + self.transit.len() as u64
    }

    /// The ping of this mark was answered.
    pub fn confirm(&mut self, fence: u64, ended: &mut Vec<Ended>) {
        while self.unconfirmed.front().is_some_and(|first| first.seq <= fence) {
            let Some(first) = self.forget_oldest() else { break };
            ended.push(Ended { id: first, state: State::Confirmed, fate: None });
        }
    }

    /// Whether a ping should ask for proof: someone waits for it, or the unconfirmed pile up.
    pub fn wants_confirmation(&self) -> bool {
        self.wanted > 0 || self.unconfirmed.len() >= UNCONFIRMED_MAX / 2
    }

    /// The link was lost after its stream had taken `escaped` bytes since the last flush.
    pub fn lost(&mut self, escaped: u64, ended: &mut Vec<Ended>) {
        let unknown = |id| Ended { id, state: State::Unknown, fate: Some(Fate::LinkLost) };
        ended.extend(self.unconfirmed.drain(..).map(|message| unknown(message.id)));
        self.wanted = 0;
        let mut before = 0;
        let mut unsent = Vec::new();
        while let Some(held) = self.transit.pop_front() {
            let begun = before < escaped;
            before += wire_len(held.message.payload.len());
            if begun {
                self.bytes -= held.message.payload.len() as u64;
                ended.push(unknown(held.message.id));
            } else {
                unsent.push(held);
            }
        }
        for held in unsent.into_iter().rev() {
            self.queue.push_front(held);
        }
    }

    /// Drops what is past its time to live.
    pub fn expire(&mut self, now: Instant, ended: &mut Vec<Ended>) {
        while let Some(seq) = self.queue.expired(now) {
            self.remove(seq, Fate::Ttl, State::Expired, ended);
        }
    }

    /// When the next message expires.
    pub fn next_expiry(&self) -> Option<Instant> {
        self.queue.next_expiry()
    }

    /// Ends everything that is queued.
    pub fn clear(&mut self, state: State, fate: Fate, ended: &mut Vec<Ended>) {
        while let Some(seq) = self.queue.head() {
            self.remove(seq, fate, state, ended);
        }
    }

    /// Bytes of application data queued or in transit.
    pub fn buffered_amount(&self) -> u64 {
        self.bytes
    }

    /// Messages queued or in transit.
    pub fn len(&self) -> usize {
        self.queue.len() + self.transit.len()
    }

    /// Whether nothing is queued or in transit.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn fits(&self, bytes: u64, (messages_freed, bytes_freed): (usize, u64)) -> bool {
        self.len() - messages_freed < self.policy.max_messages
            && (self.bytes - bytes_freed).saturating_add(bytes) <= self.policy.max_bytes
    }

    /// Whether it would fit with nothing queued.
    fn could_fit(&self, bytes: u64) -> bool {
        let in_transit: u64 = self.transit.iter().map(|held| held.message.payload.len() as u64).sum();
        self.transit.len() < self.policy.max_messages && in_transit.saturating_add(bytes) <= self.policy.max_bytes
    }

    fn remove(&mut self, seq: u64, fate: Fate, state: State, ended: &mut Vec<Ended>) {
        if let Some(held) = self.queue.remove(seq) {
            self.bytes -= held.message.payload.len() as u64;
            ended.push(Ended { id: held.message.id, state, fate: Some(fate) });
        }
    }

    fn forget_oldest(&mut self) -> Option<MessageId> {
        let oldest = self.unconfirmed.pop_front()?;
        self.wanted -= usize::from(oldest.wants_confirmation);
        Some(oldest.id)
    }
}

/// Bytes of a masked message on the wire (RFC 6455 §5.2), in frames of at most [`FRAGMENT_MAX`].
fn wire_len(payload: usize) -> u64 {
    let frame = |payload: usize| {
        let header = if payload <= 125 { 2 } else { 4 };
        (header + 4 + payload) as u64
    };
    let (full, rest) = (payload / FRAGMENT_MAX, payload % FRAGMENT_MAX);
    let last = if rest > 0 || full == 0 { frame(rest) } else { 0 };
    full as u64 * frame(FRAGMENT_MAX) + last
}
