//! The link on an open connection: what arrives, what leaves, and the clocks that traffic cannot hold up.
//!
//! Two clocks judge the peer: *silence* (nothing heard, not even after a ping) and *stall* (what we gave the transport has
//! not left it). The first is armed when a ping falls due, not when it leaves, so that a deaf peer is found out too.

use std::time::{Duration, Instant};

use super::{
    Command, Commands, Frame, Lane, Link,
    state::{Ending, State, Then},
};
use crate::core::{
    clock::Clock,
    close::{Cause, CloseFrame, NORMAL},
    event::Event,
    heartbeat::{Watch, WhenIdle},
    message::{MessageId, Payload},
    outbox::{Delivery, Ended},
    timers::Timer,
};

/// On a busy link, the ping that asks for a proof waits until nothing else is to leave, or so many messages have left.
const PROOF_AFTER: u64 = 256;
/// Where no caller waits for a proof and there is room, pings that ask for one are at least this far apart. Both sides pay for
/// each with a wake-up, and a peer nearby would answer ten thousand a second.
pub const SPACING: Duration = Duration::from_millis(10);

impl Link {
    pub(super) fn on_heard(&mut self, now: Instant) {
        self.heard = Some(now);
        if !matches!(self.state, State::Open(_)) {
            return;
        }
        self.timers.stop(Timer::Pong);
        match self.policy.heartbeat.watch {
            Watch::Pings(when) => {
                // A ping that only asks whether the peer is there has its answer.
                self.owes_ping &= when != WhenIdle::In;
                self.expect_silence(now, when);
            }
            Watch::Silence => self.timers.set(Timer::Pong, now.later(self.policy.heartbeat.detection())),
            Watch::Tcp => {}
        }
    }

    /// Something has left: the peer hears of us.
    fn on_sent(&mut self, now: Instant) {
        self.sent = Some(now);
        if let (State::Open(_), Watch::Pings(when @ (WhenIdle::Out | WhenIdle::Both))) =
            (&self.state, self.policy.heartbeat.watch)
        {
            self.expect_silence(now, when);
        }
    }

    /// Arms the clock of the next ping by what was last heard and sent. While an answer is awaited, another clock watches what
    /// arrives.
    fn expect_silence(&mut self, now: Instant, when: WhenIdle) {
        if self.owes_ping {
            return;
        }
        let awaits = self.timers.get(Timer::Pong).is_some();
        let (heard, sent) = (self.heard.unwrap_or(now), self.sent.unwrap_or(now));
        let since = match when {
            WhenIdle::In if awaits => return,
            WhenIdle::In => heard,
            WhenIdle::Both if !awaits => heard.min(sent),
            WhenIdle::Out | WhenIdle::Both => sent,
        };
        self.timers.set(Timer::Idle, since.later(self.policy.heartbeat.idle));
    }

    /// Watches an open connection as the policy says, from what was last heard and sent.
    pub(super) fn watch(&mut self, now: Instant) {
        let heartbeat = &self.policy.heartbeat;
        match heartbeat.watch {
            Watch::Pings(when) => self.expect_silence(now, when),
            Watch::Silence => {
                let until = self.heard.unwrap_or(now).later(heartbeat.detection());
                self.stop_pinging();
                self.timers.set(Timer::Pong, until);
            }
            Watch::Tcp => self.stop_pinging(),
        }
    }

    pub(super) fn stop_pinging(&mut self) {
        self.owes_ping = false;
        self.timers.stop(Timer::Idle);
        self.timers.stop(Timer::Pong);
    }

    pub(super) fn on_left(&mut self, now: Instant, messages: usize, pings: u32, out: &mut Commands) {
        if self.timers.get(Timer::Stall).is_some() {
            self.timers.set(Timer::Stall, now.later(self.stall_timeout()));
        }
        if self.outbox.is_in_transit() {
            self.extend_standby(now);
        }
        self.depart(now, messages, pings.min(self.unflushed_pings), out);
    }

    pub(super) fn on_close_sent(&mut self, code: Option<u16>) {
        if let State::Closing(closing) = &mut self.state {
            closing.sent.get_or_insert(code);
        }
    }

    pub(super) fn on_idle(&mut self, now: Instant) {
        self.owes_ping = true;
        self.timers.set_if_unarmed(Timer::Pong, now.later(self.policy.heartbeat.timeout));
    }

    pub(super) fn on_silence(&mut self, now: Instant, detail: &str, out: &mut Commands) {
        let silent = self.heard.map_or(Duration::ZERO, |heard| now.saturating_duration_since(heard));
        out.push(Command::Tell(Event::HeartbeatTimeout { silent }));
        let farewell = self.policy.heartbeat.abort_code.map(|code| Some(CloseFrame { code, reason: "".into() }));
        let abort = farewell.is_none();
        let ending = Ending { owed: farewell, cause: Cause::PongTimeout, detail: detail.into(), then: Then::Outcome };
        self.begin_close(now, ending, out);
        if abort {
            // Without a Close frame there is no handshake to wait for.
            self.timers.stop(Timer::Close);
            out.push(Command::Hangup(Lane::Current));
        }
    }

    pub(super) fn on_messages(&mut self, payloads: Vec<Payload>, out: &mut Commands) {
        // WHATWG §4: a message that arrives while readyState is not OPEN is dropped.
        if matches!(self.state, State::Open(_)) {
            out.push(Command::Tell(Event::Messages { generation: self.generation, payloads }));
        }
    }

    pub(super) fn on_pong(&mut self, now: Instant, payload: &[u8], out: &mut Commands) {
        let Some(proof) = self.pings.pong(now, payload) else {
            out.extend(self.pings.refuse().map(|first| Command::Tell(Event::PongRefused { first })));
            return;
        };
        self.rtt = Some(proof.rtt);
        out.push(Command::Tell(Event::Pong { rtt: proof.rtt }));
        let mut confirmed = Vec::new();
        self.outbox.confirm(proof.fence, &mut confirmed);
        self.tell_receipts(confirmed, out);
    }

    pub(super) fn on_close(&mut self, now: Instant, frame: Option<CloseFrame>, out: &mut Commands) {
        if matches!(self.state, State::Open(_)) {
            let ending = Ending { owed: None, cause: Cause::Remote, detail: "".into(), then: Then::Outcome };
            self.begin_close(now, ending, out);
        }
        let State::Closing(closing) = &mut self.state else { return };
        if closing.received.is_none() && !closing.ending.cause.is_failure() {
            closing.received = Some(frame);
            // Both sides closed at once: the answer that is made below stands for the Close that we owe.
            closing.ending.owed = None;
        }
    }

    pub(super) fn on_violation(&mut self, now: Instant, code: u16, cause: Cause, detail: Box<str>, out: &mut Commands) {
        match &self.state {
            State::Open(_) => {
                let frame = CloseFrame { code, reason: "".into() };
                self.begin_close(now, Ending { owed: Some(Some(frame)), cause, detail, then: Then::Outcome }, out);
            }
            // It was about to end anyway, and what it sends can no longer be read.
            State::Closing(_) => out.push(Command::Hangup(Lane::Current)),
            State::Made | State::Waiting | State::Dialing { .. } | State::Parked | State::Paused | State::Stopped => {}
        }
    }

    pub(super) fn on_flushed(&mut self, now: Instant, out: &mut Commands) {
        self.timers.stop(Timer::Stall);
        self.depart(now, usize::MAX, self.unflushed_pings, out);
    }

    /// So much more of what was pulled has left.
    fn depart(&mut self, now: Instant, messages: usize, pings: u32, out: &mut Commands) {
        self.on_sent(now);
        self.unflushed_pings -= pings;
        out.extend((0..pings).map(|_| Command::Tell(Event::PingSent)));
        let (mut sent, mut ended) = (Vec::new(), Vec::new());
        self.outbox.left(now, messages, &mut sent, &mut ended);
        if !sent.is_empty() {
            self.extend_standby(now);
            out.push(Command::Tell(Event::Written(sent)));
        }
        self.tell_receipts(ended, out);
    }

    /// The next frame, pulled when the transport has room: Close before a heartbeat before data. A ping that only asks for a
    /// proof comes behind the data.
    pub fn poll_transmit(&mut self, now: Instant) -> Option<Frame> {
        match &mut self.state {
            State::Closing(closing) if !(self.owes_ping && closing.ending.owed.is_some()) => {
                Some(Frame::Close(closing.ending.owed.take()?))
            }
            State::Closing(_) => Some(self.ping(now)),
            State::Open(_) => {
                let frame = self.next_while_open(now)?;
                self.timers.set_if_unarmed(Timer::Stall, now.later(self.stall_timeout()));
                Some(frame)
            }
            State::Made | State::Waiting | State::Dialing { .. } | State::Parked | State::Paused | State::Stopped => {
                None
            }
        }
    }

    fn next_while_open(&mut self, now: Instant) -> Option<Frame> {
        let is_held = self.has_standby();
        let pings = self.owes_ping || (self.outbox.since_fence() >= PROOF_AFTER && self.wants_proof(now));
        if !pings
            && !is_held
            && let Some(payload) = self.outbox.next(now)
        {
            return Some(Frame::Data(payload));
        }
        // Where nothing else is to leave now, one ping speaks for all of it.
        let settles =
            is_held && self.policy.heartbeat.pings() && self.outbox.has_unproven() && self.outbox.since_fence() > 0;
        if !(pings || settles || self.wants_proof(now)) {
            return None;
        }
        self.timers.set_if_unarmed(Timer::Pong, now.later(self.policy.heartbeat.timeout));
        Some(self.ping(now))
    }

    fn ping(&mut self, now: Instant) -> Frame {
        self.owes_ping = false;
        self.pinged = Some(now);
        self.unflushed_pings += 1;
        let fence = self.outbox.fence();
        Frame::Ping(self.pings.ping(now, fence, &mut self.chance))
    }

    pub(super) fn expire(&mut self, now: Instant, out: &mut Commands) {
        let mut ended = Vec::new();
        self.outbox.expire(now, &mut ended);
        self.tell_receipts(ended, out);
    }

    pub(super) fn tell_receipts(&self, reached: Vec<Ended>, out: &mut Commands) {
        if !reached.is_empty() {
            let generation = (self.generation > 0).then_some(self.generation);
            out.push(Command::Tell(Event::Receipts { reached, generation }));
        }
    }

    pub(super) fn on_not_stored(&mut self, place: u64, id: MessageId, out: &mut Commands) {
        let mut ended = Vec::new();
        self.outbox.not_stored(place, id, &mut ended);
        self.tell_receipts(ended, out);
    }

    pub(super) fn on_acknowledged(&mut self, key: &str, out: &mut Commands) {
        let mut ended = Vec::new();
        self.outbox.acknowledge(key, &mut ended);
        self.tell_receipts(ended, out);
    }

    /// Looks for acknowledgements that have not come in time. At least once, the messages must go out again, in order, so the
    /// connection ends; at most once, it is not known what became of them.
    pub(super) fn miss_acks(&mut self, now: Instant, out: &mut Commands) {
        let is_open = matches!(self.state, State::Open(_));
        if !is_open || self.outbox.next_ack_deadline().is_none_or(|at| at > now) {
            return;
        }
        match self.outbox.delivery() {
            Delivery::AtMostOnce => {
                let mut ended = Vec::new();
                self.outbox.give_up_acks(now, &mut ended);
                self.tell_receipts(ended, out);
            }
            Delivery::AtLeastOnce => {
                let code = self.policy.heartbeat.abort_code.unwrap_or(NORMAL);
                let owed = Some(Some(CloseFrame { code, reason: "no acknowledgement".into() }));
                let detail = "a message was not acknowledged in time".into();
                self.begin_close(now, Ending { owed, cause: Cause::Mute, detail, then: Then::Outcome }, out);
            }
        }
    }

    /// Asks for the marks that messages need before they leave, while they can leave.
    pub(super) fn mark(&mut self, out: &mut Commands) {
        if matches!(self.state, State::Open(_)) {
            let ids = self.outbox.to_mark();
            if !ids.is_empty() {
                out.push(Command::Mark { ids: ids.into(), marked: true });
            }
        }
    }

    /// Whether a message waits for its proof and no ping is on its way: one outstanding at a time clocks itself. Where it is
    /// too early for the next one, the timer is armed.
    fn wants_proof(&mut self, now: Instant) -> bool {
        if !self.outbox.wants_confirmation() || self.pings.is_outstanding() || !self.policy.heartbeat.pings() {
            return false;
        }
        let interval = self.policy.confirm_interval;
        let interval = if self.outbox.is_pressed_for_confirmation() { interval } else { interval.max(SPACING) };
        match self.pinged.map(|at| at.later(interval)) {
            Some(at) if at > now => {
                self.timers.set(Timer::Confirm, at);
                false
            }
            Some(_) | None => true,
        }
    }

    fn stall_timeout(&self) -> Duration {
        self.policy.heartbeat.detection()
    }
}
