//! A link's ordered queue of accepted messages not yet handed to the network.
//!
//! ```text
//! offer -> queued -> next -> in transit -> left -> unconfirmed -> confirm
//!             ^                  |                        |
//!             +----- lost: not begun, or at least once ---+---- lost, at most once: unknown
//! ```
//! What a reader would get wrong: `bufferedAmount` is queued *and* in transit, and what is in transit can neither be evicted,
//! conflated nor expired, because the stream may hold half of its frame. What has been sent once can no longer be `dropped`
//! or `expired` either: it may have arrived, so it ends `unknown`.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use self::{
    pacer::Pacer,
    queue::{Disk, Held, Queue},
    transit::Transit,
    unacknowledged::Answer,
    unconfirmed::Unconfirmed,
};
use super::{
    message::{Kind, Message, MessageId},
    receipt::{EndReason, State},
};

pub use self::{
    disk::Keep,
    policy::{Ack, Delivery, OnFull, Policy, Refusal, Room, WhenDown},
};

mod asking;
mod disk;
mod loss;
mod pacer;
mod policy;
mod queue;
mod transit;
mod unacknowledged;
mod unconfirmed;

#[cfg(test)]
mod tests;

/// Messages accepted for one link, in order.
#[derive(Debug, Default)]
pub struct Outbox {
    policy: Arc<Policy>,
    queue: Queue,
    transit: Transit,
    /// Messages in the queue and in transit.
    held: usize,
    unconfirmed: Unconfirmed,
    /// Application bytes in the queue and in transit.
    bytes: u64,
    /// Those that have left, of the first message in transit.
    part: u64,
    /// Messages accepted so far: the place of the next one in the queue.
    accepted: u64,
    /// Messages pulled so far: the place of the newest one in the stream. Never starts over, so a mark of an earlier
    /// connection covers nothing of a later one.
    pulled: u64,
    /// The number that a request was given last as its id.
    numbered: u64,
    /// The peer has read everything pulled up to here.
    confirmed: u64,
    /// Where the newest mark is.
    fenced: u64,
    /// In a box: most have none.
    pacer: Option<Box<Pacer>>,
}

/// A message that reached a state, or several whose names follow each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ended {
    /// Which message; of several the first.
    pub id: MessageId,
    /// How many.
    pub count: u32,
    /// The state: `Written`, or an end.
    pub state: State,
    /// Why, where it was not sent or it is not known whether it arrived.
    pub end_reason: Option<EndReason>,
}

/// Messages of one kind that were handed to the network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sent {
    /// Their kind.
    pub kind: Kind,
    /// How many.
    pub messages: u32,
    /// Their application bytes.
    pub bytes: usize,
    /// How long each was held.
    pub waited: Duration,
}

/// A longer message leaves in several frames, so that control frames need not wait for all of it (RFC 6455 §5.4). Below the
/// 32 KB that hosted gateways allow a frame.
pub const FRAGMENT_MAX: usize = 31 << 10;

/// Where an offered message goes.
enum Verdict {
    /// Into the queue; the message that it replaces goes.
    Queue,
    /// The same, and the oldest ones make room as far as they must.
    Evict,
    /// Accepted, and ended at once.
    End(State, EndReason),
    Refuse(Refusal),
}

impl Outbox {
    /// An empty outbox. Allocates nothing until it is used.
    pub fn new(policy: impl Into<Arc<Policy>>) -> Self {
        let mut outbox = Self::default();
        outbox.set_policy(policy);
        outbox
    }

    /// Follows new limits. What is held already stays, even above a lower limit.
    pub fn set_policy(&mut self, policy: impl Into<Arc<Policy>>) {
        self.policy = policy.into();
        self.queue.set_conflate(self.policy.conflate);
        if !self.policy.takes_runs() {
            self.queue.split();
            self.transit.split();
        }
        self.pace();
    }

    /// Offers a message, one; `ready` says whether the link is. Decides before it drops anything: a refusal comes back with the
    /// message and has changed nothing. What is dropped for it, or it itself where policy drops it at once, is in `ended`.
    pub fn offer(
        &mut self,
        now: Instant,
        mut message: Box<Message>,
        ready: bool,
        ended: &mut Vec<Ended>,
    ) -> Result<(), (Box<Message>, Refusal)> {
        self.date(now, &mut message);
        match self.judge(now, &message, ready) {
            Verdict::Refuse(refusal) => return Err((message, refusal)),
            Verdict::End(state, end_reason) => {
                ended.push(ended_of(&message, state, Some(end_reason)));
            }
            verdict @ (Verdict::Queue | Verdict::Evict) => {
                if message.key().is_some() {
                    self.conflate(&message, ended);
                }
                while matches!(verdict, Verdict::Evict) && !self.fits(&message, 0, 0) {
                    let Some(oldest) = self.queue.pop_one() else { break };
                    self.drop_held(oldest, State::Dropped, EndReason::Evicted, ended);
                }
                // One that is bound to a connection is worth nothing after it, nor is a request after its caller.
                let is_kept = self.policy.durable && message.generation().is_none() && message.request().is_none();
                let disk = if is_kept { Disk::Storing } else { Disk::Free };
                self.accept(now, message, disk);
            }
        }
        Ok(())
    }

    /// What it would take now, whatever its kind: a message that was accepted for this is given to [`Outbox::take`]. `ready` says whether
    /// the link is.
    pub(crate) fn room(&self, ready: bool) -> Room {
        let messages = u32::try_from(self.len() + self.unconfirmed.kept()).unwrap_or(u32::MAX);
        let bytes = self.bytes + self.unconfirmed.kept_bytes();
        self.policy.room(ready).without(Room { bytes, messages })
    }

    /// Takes a message that was accepted for the room that there was, or several, whatever has changed since.
    #[inline]
    pub(crate) fn take(&mut self, now: Instant, mut message: Box<Message>, ended: &mut Vec<Ended>) {
        if message.count() > 1 && !self.policy.takes_runs() {
            return self.take_apart(now, message, ended);
        }
        self.date(now, &mut message);
        if message.expires_at.is_some_and(|at| at <= now) {
            ended.push(ended_of(&message, State::Expired, Some(EndReason::Ttl)));
            return;
        }
        if message.extras.is_some() {
            if self.is_late(&message) {
                ended.push(ended_of(&message, State::Dropped, Some(EndReason::IdInUse)));
                return;
            }
            if message.key().is_some() {
                self.conflate(&message, ended);
            }
        }
        self.accept(now, message, Disk::Free);
    }

    #[cold]
    fn take_apart(&mut self, now: Instant, message: Box<Message>, ended: &mut Vec<Ended>) {
        message.singles().for_each(|message| self.take(now, message, ended));
    }

    /// A mark for a ping that is sent now: it covers all that was pulled before it, written or still in transit.
    pub(crate) fn fence(&mut self) -> u64 {
        self.fenced = self.pulled;
        self.pulled
    }

    /// Messages pulled since the last mark.
    pub(crate) fn since_fence(&self) -> u64 {
        self.pulled - self.fenced
    }

    /// The pong for the ping with this mark has arrived: the peer has read everything before it.
    pub fn confirm(&mut self, fence: u64, ended: &mut Vec<Ended>) {
        self.confirmed = self.confirmed.max(fence.min(self.pulled));
        self.unconfirmed.confirm(self.confirmed, ended);
    }

    /// Someone waits for the proof of this message from now on, wherever it is: the ping that asks for it may be due at once.
    pub fn want(&mut self, id: MessageId) {
        if !self.unconfirmed.want(id) {
            let mut held = self.transit.iter_mut().chain(self.queue.iter_mut().map(|(_, held)| held));
            if let Some(held) = held.find(|held| held.message.is_named(id)) {
                held.message.want_confirmation();
            }
        }
    }

    /// The peer has acknowledged the message of this key. One that nobody waits for means nothing.
    pub fn acknowledge(&mut self, key: &str, ended: &mut Vec<Ended>) {
        self.answer(Answer::Ack, key, ended);
    }

    /// Until when the next acknowledgement must have come.
    pub(crate) fn next_ack_deadline(&self) -> Option<Instant> {
        self.unconfirmed.next_deadline(Answer::Ack)
    }

    /// At most once, ends the messages whose acknowledgement has not come in time.
    pub(crate) fn give_up_acks(&mut self, now: Instant, ended: &mut Vec<Ended>) {
        self.give_up(Answer::Ack, now, ended);
    }

    /// Whether something has been given to the network that has no proof yet.
    pub(crate) fn has_unproven(&self) -> bool {
        self.is_in_transit() || !self.unconfirmed.is_empty()
    }

    /// Whether a message is on its way to the kernel.
    pub(crate) fn is_in_transit(&self) -> bool {
        !self.transit.is_empty()
    }

    /// Whether a ping should ask the peer how far it has read: a written message wants it, or many are unconfirmed.
    pub fn wants_confirmation(&self) -> bool {
        self.unconfirmed.wants_ping()
    }

    /// Whether that ping is urgent: a caller waits for it, many are unconfirmed, what is kept takes an eighth of the room, or a
    /// message must not leave before it.
    pub(crate) fn is_pressed_for_confirmation(&self) -> bool {
        let (kept, kept_bytes) = (self.unconfirmed.kept(), self.unconfirmed.kept_bytes());
        self.unconfirmed.is_pressing()
            || kept > self.policy.max_messages / 8
            || kept_bytes > self.policy.max_bytes / 8
            || self.queue.first().is_some_and(|first| !self.suspicion_allows(first))
    }

    /// Ends the queued messages whose time to live has run out.
    pub fn expire(&mut self, now: Instant, ended: &mut Vec<Ended>) {
        while let Some(held) = self.queue.pop_expired(now) {
            self.drop_held(held, State::Expired, EndReason::Ttl, ended);
        }
    }

    /// Whether any queued message may be for [`Outbox::unbind`] or [`Outbox::take_unmarked`].
    #[inline]
    pub(crate) fn has_apart(&self) -> bool {
        self.queue.has_apart()
    }

    /// Ends the queued messages that are bound to another connection than this one, which is the only one that carries messages now. To
    /// be called whenever that changes, before anything is pulled.
    pub(crate) fn unbind(&mut self, generation: Option<u64>, ended: &mut Vec<Ended>) {
        for held in self.queue.take_bound(generation) {
            let end_reason = if held.sent { EndReason::LinkLost } else { EndReason::Generation };
            self.drop_held(held, State::Dropped, end_reason, ended);
        }
    }

    /// When the next queued message expires.
    pub(crate) fn next_expiry(&self) -> Option<Instant> {
        self.queue.next_expiry()
    }

    /// Ends everything queued, after [`Outbox::lost`]: the link is removed, or the daemon stops. What is on disk stays there,
    /// without an end; answers with those of it that are marked, which is to be taken back. What was written keeps its state.
    pub fn clear(&mut self, state: State, end_reason: EndReason, ended: &mut Vec<Ended>) -> Vec<MessageId> {
        let mut marked = Vec::new();
        while let Some((_, held)) = self.queue.pop() {
            match held.disk {
                Disk::Free => self.drop_held(held, state, end_reason, ended),
                Disk::Storing | Disk::Stored => self.let_go(&held.message),
                Disk::Marking | Disk::Marked => {
                    self.let_go(&held.message);
                    marked.push(held.message.id);
                }
            }
        }
        marked
    }

    /// Bytes of application data accepted and not yet handed to the network (WHATWG WebSockets §3.1), framing not counted.
    pub fn buffered_amount(&self) -> u64 {
        self.bytes - self.part
    }

    /// Messages accepted and not yet handed to the network.
    pub fn len(&self) -> usize {
        self.held
    }

    /// When the message was accepted that has been held the longest of these.
    pub(crate) fn oldest_at(&self) -> Option<Instant> {
        let in_transit = self.transit.first().map(|held| held.accepted_at);
        in_transit.into_iter().chain(self.queue.first().map(|held| held.accepted_at)).min()
    }

    /// Messages handed to the network and kept until they are confirmed.
    pub fn unconfirmed(&self) -> usize {
        self.unconfirmed.kept()
    }

    /// Whether messages are to leave, must be kept until they are proved, or are waited for. One whose proof nobody waits for is not.
    pub(crate) fn is_in_use(&self, pings: bool) -> bool {
        self.held > 0
            || self.unconfirmed() > 0
            || pings && self.wants_confirmation()
            || self.next_ack_deadline().is_some()
            || self.next_reply_deadline().is_some()
    }

    /// Whether nothing is held.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn judge(&self, now: Instant, message: &Message, ready: bool) -> Verdict {
        let bytes = message.body.len();
        if bytes > self.policy.max_message {
            return Verdict::Refuse(Refusal::TooBig);
        }
        if !ready {
            match self.policy.when_down {
                WhenDown::Hold => {}
                WhenDown::Reject => return Verdict::Refuse(Refusal::Down),
                WhenDown::Drop => return Verdict::End(State::Dropped, EndReason::Down),
            }
        }
        if message.expires_at.is_some_and(|at| at <= now) {
            return Verdict::End(State::Expired, EndReason::Ttl);
        }
        if self.is_late(message) {
            return Verdict::End(State::Dropped, EndReason::IdInUse);
        }
        let (count, freed) = match self.queue.newest_of(message) {
            Some((_, older)) => (1, older.message.body.len() as u64),
            None => (0, 0),
        };
        if self.fits(message, count, freed) {
            return Verdict::Queue;
        }
        match self.policy.on_full {
            OnFull::DropNewest => Verdict::End(State::Dropped, EndReason::Overflow),
            OnFull::DropOldest if self.fits_alone(message) => Verdict::Evict,
            // Room that can never come is not waited for.
            OnFull::Wait if bytes as u64 <= self.policy.max_bytes => Verdict::Refuse(Refusal::Wait),
            OnFull::Reject if message.waits() && bytes as u64 <= self.policy.max_bytes => {
                Verdict::Refuse(Refusal::Wait)
            }
            OnFull::Reject | OnFull::DropOldest | OnFull::Wait => Verdict::Refuse(Refusal::Full),
        }
    }

    /// Whether one more message stays within the limits once `count` messages of `freed` bytes are gone.
    fn fits(&self, message: &Message, count: usize, freed: u64) -> bool {
        let bytes = message.body.len() as u64;
        let bytes = (self.bytes - freed).saturating_add(self.unconfirmed.kept_bytes()).saturating_add(bytes);
        self.len() - count + self.unconfirmed.kept() < self.policy.max_messages && bytes <= self.policy.max_bytes
    }

    /// Whether it does where nothing is left but what is in transit.
    fn fits_alone(&self, message: &Message) -> bool {
        let (in_transit, bytes) = self.transit.sum();
        self.fits(message, self.held - in_transit, self.bytes - bytes)
    }

    /// One that brings no time to live has that of the policy.
    fn date(&self, now: Instant, message: &mut Message) {
        if message.expires_at.is_none() {
            message.expires_at = self.policy.ttl.and_then(|ttl| now.checked_add(ttl));
        }
    }

    fn accept(&mut self, now: Instant, message: Box<Message>, disk: Disk) {
        let count = message.count();
        self.hold(&message);
        self.queue.insert(self.accepted, Held::new(message, now, disk));
        self.accepted += u64::from(count);
    }

    /// Drops the queued message that this one replaces.
    fn conflate(&mut self, message: &Message, ended: &mut Vec<Ended>) {
        let older = self.queue.newest_of(message).map(|(place, _)| place);
        if let Some(held) = older.and_then(|place| self.queue.remove(place)) {
            self.drop_held(held, State::Dropped, EndReason::Conflated, ended);
        }
    }

    fn hold(&mut self, message: &Message) {
        self.held += message.count() as usize;
        self.bytes += message.body.len() as u64;
    }

    fn let_go(&mut self, message: &Message) {
        self.held -= message.count() as usize;
        self.bytes -= message.body.len() as u64;
    }

    /// Ends what was held, other than by having arrived.
    fn drop_held(&mut self, held: Held, state: State, end_reason: EndReason, ended: &mut Vec<Ended>) {
        let state = if held.sent { State::Unknown } else { state };
        self.end_held(held, state, Some(end_reason), ended);
    }

    fn end_held(&mut self, held: Held, state: State, end_reason: Option<EndReason>, ended: &mut Vec<Ended>) {
        let Held { message, .. } = held;
        self.let_go(&message);
        ended.push(ended_of(&message, state, end_reason));
    }
}

fn ended_of(message: &Message, state: State, end_reason: Option<EndReason>) -> Ended {
    Ended { id: message.id, count: message.count(), state, end_reason }
}
