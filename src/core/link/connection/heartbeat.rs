//! The current connection while it is open: what leaves on it, and the clocks that watch its peer.

use std::time::{Duration, Instant};

use super::{Change, Connection, Shared};
use crate::{
    backoff::LEAST_STABLE,
    clock::Clock,
    close::{Cause, CloseFrame},
    event::Event,
    heartbeat::{Watch, WhenIdle},
    link::{Command, Commands, Frame, Lane, Policy, state::Ending},
    outbox::Outbox,
    timers::Timer,
};

/// On a busy link, the ping that asks for a proof waits until nothing else is to leave, or so many messages have left.
const PROOF_AFTER: u64 = 256;
/// Where no caller waits for a proof and there is room, pings that ask for one are at least this far apart. Both sides pay for
/// each with a wake-up, and a peer nearby would answer ten thousand a second.
pub const SPACING: Duration = Duration::from_millis(10);

impl Connection {
    /// It is the current one from now on: messages leave on it, and it is watched.
    pub(in crate::link) fn take_over(&mut self, now: Instant, shared: &mut Shared) {
        self.lane = Lane::Current;
        (shared.signs.heard, self.sent) = (Some(now), Some(now));
        self.watch(now, shared);
        self.session_takes_over(now, shared);
        if let Some(after) = shared.policy.rotate_after {
            // A tenth sooner at most, so that links that came together do not go together.
            let at = now.later(shared.chance.between(after.saturating_sub(after / 10), after));
            self.timers.set(Timer::Age, self.timers.get(Timer::Age).map_or(at, |earlier| earlier.min(at)));
        }
        self.timers.set(Timer::Stable, now.later(shared.policy.backoff.stable.max(LEAST_STABLE)));
    }

    /// It is the current one no more.
    pub(in crate::link) fn step_aside(&mut self) {
        self.lane = Lane::Beside;
        self.timers.clear();
        self.pings.clear();
        self.owes_ping = false;
        self.session_steps_aside();
    }

    /// Watches it as a changed policy says, from what was last heard and sent.
    pub(in crate::link) fn watch_anew(&mut self, now: Instant, shared: &Shared) {
        if self.is_ready() {
            self.stop_pinging();
            self.watch(now, shared);
        }
    }

    /// Pongs that answered no ping of ours, while one was out.
    pub(in crate::link) fn pongs_refused(&self) -> u32 {
        self.pings.refused()
    }

    fn watch(&mut self, now: Instant, shared: &Shared) {
        let heartbeat = &shared.policy.heartbeat;
        match heartbeat.watch {
            Watch::Pings(when) => self.expect_silence(now, when, shared),
            Watch::Silence => {
                self.stop_pinging();
                self.timers.set(Timer::Pong, shared.signs.heard.unwrap_or(now).later(heartbeat.detection()));
            }
            Watch::Tcp => self.stop_pinging(),
        }
    }

    fn stop_pinging(&mut self) {
        self.owes_ping = false;
        self.timers.stop(Timer::Idle);
        self.timers.stop(Timer::Pong);
    }

    /// Arms the clock of the next ping by what was last heard and sent. While an answer is awaited, another clock watches what
    /// arrives.
    fn expect_silence(&mut self, now: Instant, when: WhenIdle, shared: &Shared) {
        if self.owes_ping {
            return;
        }
        let awaits = self.timers.is_armed(Timer::Pong);
        let (heard, sent) = (shared.signs.heard.unwrap_or(now), self.sent.unwrap_or(now));
        let since = match when {
            WhenIdle::In if awaits => return,
            WhenIdle::In => heard,
            WhenIdle::Both if !awaits => heard.min(sent),
            WhenIdle::Out | WhenIdle::Both => sent,
        };
        self.timers.set(Timer::Idle, since.later(shared.policy.heartbeat.idle));
    }

    pub(super) fn on_heard(&mut self, now: Instant, shared: &mut Shared) {
        if self.lane == Lane::Beside {
            return;
        }
        shared.signs.heard = Some(now);
        if !self.is_ready() {
            return;
        }
        self.timers.stop(Timer::Pong);
        match shared.policy.heartbeat.watch {
            Watch::Pings(when) => {
                // A ping that only asks whether the peer is there has its answer.
                self.owes_ping &= when != WhenIdle::In;
                self.expect_silence(now, when, shared);
            }
            Watch::Silence => self.timers.set(Timer::Pong, now.later(shared.policy.heartbeat.detection())),
            Watch::Tcp => {}
        }
    }

    pub(super) fn on_idle(&mut self, now: Instant, policy: &Policy) {
        self.owes_ping = true;
        self.timers.set_if_unarmed(Timer::Pong, || now.later(policy.heartbeat.timeout));
    }

    pub(super) fn on_silence(&mut self, now: Instant, detail: &str, shared: &mut Shared, out: &mut Commands) -> Change {
        let silent = shared.signs.heard.map_or(Duration::ZERO, |heard| now.saturating_duration_since(heard));
        out.push(Command::Tell(Event::HeartbeatTimeout { silent }));
        let owed = shared.policy.heartbeat.abort_code.map(|code| Some(CloseFrame::of(code)));
        self.end(now, Ending { owed, cause: Cause::PongTimeout, label: None, detail: detail.into() }, shared)
    }

    pub(super) fn on_pong(&mut self, now: Instant, payload: &[u8], shared: &mut Shared, out: &mut Commands) {
        let Some(proof) = self.pings.pong(now, payload) else {
            out.extend(self.pings.refuse().map(|first| Command::Tell(Event::PongRefused { first })));
            return;
        };
        self.tell_ponged();
        shared.signs.rtt = Some(proof.rtt);
        out.push(Command::Tell(Event::Pong { rtt: proof.rtt }));
        let mut confirmed = Vec::new();
        if let Some(outbox) = &mut shared.outbox {
            outbox.confirm(proof.fence, &mut confirmed);
        }
        self.tell_receipts(confirmed, out);
    }

    pub(super) fn on_left(
        &mut self,
        now: Instant,
        messages: usize,
        pings: u32,
        shared: &mut Shared,
        out: &mut Commands,
    ) {
        if self.timers.is_armed(Timer::Stall) {
            self.timers.set(Timer::Stall, now.later(shared.policy.heartbeat.detection()));
        }
        self.depart(now, messages, pings.min(self.unflushed_pings), shared, out);
    }

    pub(super) fn on_flushed(&mut self, now: Instant, shared: &mut Shared, out: &mut Commands) {
        self.timers.stop(Timer::Stall);
        self.forget_given();
        self.depart(now, usize::MAX, self.unflushed_pings, shared, out);
    }

    /// So much more of what was pulled has left: the peer hears of us.
    fn depart(&mut self, now: Instant, messages: usize, pings: u32, shared: &mut Shared, out: &mut Commands) {
        self.sent = Some(now);
        if let (true, Lane::Current, Watch::Pings(when @ (WhenIdle::Out | WhenIdle::Both))) =
            (self.is_ready(), self.lane, shared.policy.heartbeat.watch)
        {
            self.expect_silence(now, when, shared);
        }
        self.unflushed_pings -= pings;
        out.extend((0..pings).map(|_| Command::Tell(Event::PingSent)));
        let (Lane::Current, Some(outbox)) = (self.lane, &mut shared.outbox) else { return };
        let (mut sent, mut ended) = (Vec::new(), Vec::new());
        outbox.left(now, messages, &mut sent, &mut ended);
        if !sent.is_empty() {
            out.push(Command::Tell(Event::Written(sent)));
        }
        self.tell_receipts(ended, out);
    }

    #[inline]
    pub(super) fn next_while_open(&mut self, now: Instant, is_held: bool, shared: &mut Shared) -> Option<Frame> {
        if !self.owes_ping
            && let Some(frame) = self.next_of_session(now, shared)
        {
            return Some(frame);
        }
        if self.lane == Lane::Beside || !self.is_ready() {
            return None;
        }
        let Shared { policy, chance, signs, outbox: Some(outbox), .. } = shared else {
            return self.owes_ping.then(|| self.ask_peer(now, shared));
        };
        let pings = self.owes_ping
            || (outbox.since_fence() >= PROOF_AFTER && self.wants_proof(now, policy, signs.pinged, outbox));
        if !pings && !is_held {
            if outbox.wants_id() {
                self.give_id(policy, chance, outbox);
            }
            if let Some(body) = outbox.next(now) {
                self.note_given(now, body.count());
                return Some(Frame::Data(body));
            }
        }
        // Where nothing else is to leave now, one ping speaks for all of it.
        let settles = is_held && policy.heartbeat.pings() && outbox.has_unproven() && outbox.since_fence() > 0;
        let is_due = pings || settles || self.wants_proof(now, policy, signs.pinged, outbox);
        is_due.then(|| self.ask_peer(now, shared))
    }

    /// A ping whose pong is waited for.
    fn ask_peer(&mut self, now: Instant, shared: &mut Shared) -> Frame {
        self.timers.set_if_unarmed(Timer::Pong, || now.later(shared.policy.heartbeat.timeout));
        self.ping(now, shared)
    }

    pub(super) fn ping(&mut self, now: Instant, shared: &mut Shared) -> Frame {
        let fence = shared.outbox.as_deref_mut().map_or(0, Outbox::fence);
        self.tell_pinged();
        shared.counts(now, 0);
        self.owes_ping = false;
        shared.signs.pinged = Some(now);
        self.unflushed_pings += 1;
        Frame::Ping(self.pings.ping(now, fence, &mut shared.chance))
    }

    /// Whether a message waits for its proof and no ping is on its way: one outstanding at a time clocks itself. Where it is
    /// too early for the next one, the timer is armed.
    fn wants_proof(&mut self, now: Instant, policy: &Policy, pinged: Option<Instant>, outbox: &Outbox) -> bool {
        if !outbox.wants_confirmation() || self.pings.is_outstanding() || !policy.heartbeat.pings() {
            return false;
        }
        let interval = policy.confirm_interval;
        let interval = if outbox.is_pressed_for_confirmation() { interval } else { interval.max(SPACING) };
        match pinged.map(|at| at.later(interval)) {
            Some(at) if at > now => {
                self.timers.set(Timer::Confirm, at);
                false
            }
            Some(_) | None => true,
        }
    }
}
