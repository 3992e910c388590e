//! The link on an open connection: what arrives, what leaves, and the clocks that traffic cannot hold up.
//!
//! Two clocks judge the peer: *silence* (nothing heard, not even after a ping) and *stall* (what we gave the transport has
//! not left it). The first is armed when a ping falls due, not when it leaves, so that a deaf peer is found out too.

use std::{
    mem,
    time::{Duration, Instant},
};

use super::{
    Command, Commands, Frame, Lane, Link,
    state::{Ending, State, Then},
};
use crate::core::{
    clock::Clock,
    close::{Cause, CloseFrame, NORMAL},
    event::Event,
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
        if matches!(self.state, State::Open(_)) {
            self.timers.set(Timer::Idle, now.later(self.policy.heartbeat.idle));
            self.timers.stop(Timer::Pong);
            self.owes_ping = false;
        }
    }

    pub(super) fn on_moved(&mut self, now: Instant) {
        if self.timers.get(Timer::Stall).is_some() {
            self.timers.set(Timer::Stall, now.later(self.stall_timeout()));
        }
        if self.outbox.is_in_transit() {
            self.extend_standby(now);
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
        let Some(proof) = self.pings.pong(now, payload) else { return };
        self.rtt = Some(proof.rtt);
        out.push(Command::Tell(Event::Pong { rtt: proof.rtt }));
        let mut confirmed = Vec::new();
        self.outbox.confirm(proof.fence, &mut confirmed);
        self.tell_receipts(confirmed, out);
    }

    pub(super) fn on_close(&mut self, now: Instant, frame: Option<CloseFrame>, out: &mut Commands) {
        let answered_with = frame.as_ref().map(CloseFrame::answer);
        if matches!(self.state, State::Open(_)) {
            let ending = Ending { owed: None, cause: Cause::Remote, detail: "".into(), then: Then::Outcome };
            self.begin_close(now, ending, out);
            if let State::Closing(closing) = &mut self.state {
                closing.sent_code = answered_with;
            }
        }
        let State::Closing(closing) = &mut self.state else { return };
        if closing.received.is_none() && !closing.ending.cause.is_failure() {
            closing.received = Some(frame);
            // Both sides closed at once: the answer that tungstenite sends stands for the Close that we owe.
            if closing.ending.owed.take().is_some() {
                closing.sent_code = answered_with;
            }
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
        out.extend((0..mem::take(&mut self.unflushed_pings)).map(|_| Command::Tell(Event::PingSent)));
        let (mut sent, mut ended) = (Vec::new(), Vec::new());
        self.outbox.flushed(now, &mut sent, &mut ended);
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
                let frame = closing.ending.owed.take()?;
                closing.sent_code = frame.as_ref().map(|frame| frame.code);
                Some(Frame::Close(frame))
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
        let settles = is_held && self.outbox.has_unproven() && self.outbox.since_fence() > 0;
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
        if !self.outbox.wants_confirmation() || self.pings.is_outstanding() {
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
        self.policy.heartbeat.idle.saturating_add(self.policy.heartbeat.timeout)
    }
}
