//! Rotation: a new connection is opened beside the current one, takes its place between two messages, and the old one is closed.
//!
//! ```text
//!  Rotate             101             nothing is unproven           transport gone
//! ────────► dialing ───────► standby ─────────────────────► leaving ──────────────► (none)
//!            ▲   │ failed       │ closed or lost             ▲  │ another one is wanted
//!            └─ waiting         └────────────────────────────┘  └────────► dialing, waiting
//! ```
//! `standby` is the new connection, `leaving` the old one, or a new one that came to nothing. There is one at a time, so a link
//! has two connections at most. One that leaves is still read: what the peer had sent on it is not thrown away.
//!
//! What a reader would get wrong: two connections race. So no message leaves on the new one before a pong has proved that the
//! peer has read all that left on the old one; while that proof is awaited, messages queue. Thus nothing is ever unproven on
//! the connection beside, and the outbox knows of one stream only. A peer that gives no proof in time has the old connection
//! closed first, as any other is, with the new one in readiness.

mod beside;

use std::{
    mem,
    time::{Duration, Instant},
};

use super::{
    Command, Commands, Frame, Lane, Link,
    pace::Pace,
    state::{Closing, Ending, Open, State, Then},
};
use crate::core::{
    clock::Clock,
    close::{Cause, CloseFrame, NORMAL},
    event::Event,
    phase::Reason,
    timers::Timer,
};

/// A rotation under way. In a box: most links have none, most of the time.
#[derive(Debug)]
pub(super) struct Rotation {
    stage: Stage,
    /// A new connection is wanted once the one that leaves is gone.
    wanted: bool,
    pace: Pace,
    attempt: u32,
    failure: Option<Box<str>>,
}

#[derive(Debug)]
enum Stage {
    /// The next attempt is made then.
    Waiting { at: Instant },
    /// An attempt is under way until then; while it is queued for admission its remaining time is kept.
    Dialing { queued: Option<Duration>, until: Option<Instant> },
    /// The new connection is open; until then the old one has time to prove what has left on it.
    Standby { open: Open, until: Option<Instant> },
    /// Until the next step the connection is read, then it gets a Close frame, then it is cut.
    Leaving { closing: Closing, lingers: bool, until: Option<Instant> },
}

/// A rotation as it can be seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rotating<'a> {
    /// `waiting` for the next attempt, `dialing`, `standby` (the new connection is open, the old one is to prove what has left
    /// on it) or `leaving` (the old one is on its way out).
    pub stage: &'static str,
    /// Attempts so far.
    pub attempt: u32,
    /// When the next attempt is made, where one is waited for.
    pub next_at: Option<Instant>,
    /// The number of the connection beside the current one.
    pub generation: Option<u64>,
    /// Why the last attempt came to nothing.
    pub failure: Option<&'a str>,
}

impl Rotation {
    fn new() -> Self {
        Self {
            // Replaced at once.
            stage: Stage::Dialing { queued: None, until: None },
            wanted: false,
            pace: Pace::default(),
            attempt: 0,
            failure: None,
        }
    }

    fn due(&self) -> Option<Instant> {
        match &self.stage {
            Stage::Waiting { at } => Some(*at),
            Stage::Dialing { until, .. } | Stage::Standby { until, .. } | Stage::Leaving { until, .. } => *until,
        }
    }

    fn is_dialing(&self) -> bool {
        matches!(self.stage, Stage::Dialing { .. })
    }

    fn open(&self) -> Option<&Open> {
        match &self.stage {
            Stage::Waiting { .. } | Stage::Dialing { .. } => None,
            Stage::Standby { open, .. } | Stage::Leaving { closing: Closing { open, .. }, .. } => Some(open),
        }
    }
}

impl Link {
    /// The rotation under way.
    pub fn rotating(&self) -> Option<Rotating<'_>> {
        let rotation = self.rotation.as_deref()?;
        let (stage, next_at) = match &rotation.stage {
            Stage::Waiting { at } => ("waiting", Some(*at)),
            Stage::Dialing { .. } => ("dialing", None),
            Stage::Standby { .. } => ("standby", None),
            Stage::Leaving { .. } => ("leaving", None),
        };
        let generation = rotation.open().map(|open| open.generation);
        let failure = rotation.failure.as_deref();
        Some(Rotating { stage, attempt: rotation.attempt, next_at, generation, failure })
    }

    /// The number of the connection beside the current one.
    pub fn generation_beside(&self) -> Option<u64> {
        Some(self.rotation.as_deref()?.open()?.generation)
    }

    /// The next frame for the connection beside the current one: a Close is all that it may get.
    pub fn poll_transmit_beside(&mut self) -> Option<Frame> {
        match &mut self.rotation.as_deref_mut()?.stage {
            Stage::Waiting { .. } | Stage::Dialing { .. } | Stage::Standby { .. } => None,
            Stage::Leaving { closing, .. } => Some(Frame::Close(closing.ending.owed.take()?)),
        }
    }

    /// When its next step is due.
    #[inline]
    pub(super) fn rotation_due(&self) -> Option<Instant> {
        self.rotation.as_deref()?.due()
    }

    /// Whether a new connection is open and waits for its turn.
    #[inline]
    pub(super) fn has_standby(&self) -> bool {
        self.rotation.as_deref().is_some_and(|rotation| matches!(rotation.stage, Stage::Standby { .. }))
    }

    /// Whether a new connection is being made, or open already.
    pub(super) fn is_coming(&self) -> bool {
        self.has_standby() || self.rotation.as_deref().is_some_and(Rotation::is_dialing)
    }

    /// Begins one, or begins it again: what an attempt under way was to follow may be old by now.
    pub(super) fn rotate(&mut self, now: Instant, urgent: bool, out: &mut Commands) {
        let rotation = self.rotation.get_or_insert_with(|| Box::new(Rotation::new()));
        match rotation.stage {
            Stage::Standby { .. } | Stage::Leaving { .. } => rotation.wanted = true,
            Stage::Waiting { .. } | Stage::Dialing { until: None, queued: None } => {
                self.dial_beside(now, urgent, out);
            }
            Stage::Dialing { .. } => {
                out.push(Command::Hangup(Lane::Beside));
                self.dial_beside(now, urgent, out);
            }
        }
    }

    fn dial_beside(&mut self, now: Instant, urgent: bool, out: &mut Commands) {
        let Some(rotation) = self.rotation.as_deref_mut() else { return };
        rotation.wanted = false;
        rotation.attempt = rotation.attempt.saturating_add(1);
        let url = rotation.pace.begin(self.policy.urls);
        rotation.stage = Stage::Dialing { queued: None, until: Some(now.later(self.policy.connect_timeout)) };
        out.push(Command::Tell(Event::Rotating { attempt: rotation.attempt, url }));
        out.push(Command::Dial { lane: Lane::Beside, url, urgent });
    }

    /// A step of the rotation is due.
    pub(super) fn on_rotation_due(&mut self, now: Instant, out: &mut Commands) {
        let close_timeout = self.policy.close_timeout;
        let Some(rotation) = self.rotation.as_deref_mut().filter(|rotation| rotation.due().is_some_and(|at| at <= now))
        else {
            return;
        };
        match &mut rotation.stage {
            Stage::Waiting { .. } => self.dial_beside(now, false, out),
            Stage::Dialing { until, .. } => {
                *until = None;
                out.push(Command::GiveUp(Lane::Beside));
            }
            Stage::Standby { until, .. } => {
                // An acknowledgement that does not come has an end of its own, later.
                *until = self.outbox.next_ack_deadline().filter(|at| *at > now);
                if until.is_some() {
                    return;
                }
                let normal = CloseFrame { code: NORMAL, reason: "".into() };
                let detail = "the peer did not prove in time what it had read".into();
                let then = Then::Redial(Reason::Rotate);
                self.begin_close(now, Ending { owed: Some(Some(normal)), cause: Cause::Rotate, detail, then }, out);
            }
            Stage::Leaving { closing, lingers: lingers @ true, until } => {
                *lingers = false;
                *until = Some(now.later(close_timeout));
                closing.ending.owed = Some(Some(CloseFrame { code: NORMAL, reason: "".into() }));
            }
            Stage::Leaving { until, .. } => {
                *until = None;
                out.push(Command::Hangup(Lane::Beside));
            }
        }
    }

    /// The current connection took more of what has been given to it, so its proof may come later.
    pub(super) fn extend_standby(&mut self, now: Instant) {
        if let Some(Rotation { stage: Stage::Standby { until: Some(until), .. }, .. }) = self.rotation.as_deref_mut() {
            *until = now.later(self.policy.close_timeout);
        }
    }

    /// Lets the new connection take its place once nothing is unproven on the old one.
    pub(super) fn settle(&mut self, now: Instant, out: &mut Commands) {
        if !self.has_standby() || self.outbox.has_unproven() {
            return;
        }
        let State::Open(_) = &self.state else { return };
        let State::Open(old) = mem::replace(&mut self.state, State::Waiting) else { return };
        let ending = Ending { owed: None, cause: Cause::Rotate, detail: "".into(), then: Then::Outcome };
        let closing = Closing { open: old, ending, sent: None, received: None };
        self.pings.clear();
        let overlap = self.policy.overlap;
        let leaving = Stage::Leaving { closing, lingers: true, until: Some(now.later(overlap)) };
        self.take_place(now, Some(leaving), out);
    }

    /// The current connection is gone: what is beside takes its place, if it can. Answers whether it did.
    pub(super) fn adopt(&mut self, now: Instant, out: &mut Commands) -> bool {
        match self.rotation.as_deref().map(|rotation| &rotation.stage) {
            Some(Stage::Standby { .. }) => {
                self.take_place(now, None, out);
                true
            }
            Some(Stage::Dialing { queued, until }) => {
                let (queued, until) = (*queued, *until);
                self.pace.set_url(self.rotation.take().map_or(0, |rotation| rotation.pace.url()));
                self.attempt = self.attempt.saturating_add(1);
                let reason = if queued.is_some() { Reason::Admission } else { Reason::Underway };
                self.enter(now, State::Dialing { queued }, reason, None, out);
                if let Some(until) = until {
                    self.timers.set(Timer::Connect, until);
                }
                out.push(Command::Switch);
                true
            }
            Some(Stage::Waiting { .. }) => {
                self.rotation = None;
                false
            }
            Some(Stage::Leaving { .. }) | None => false,
        }
    }

    /// The new connection becomes the current one; the old one, if it is there, leaves.
    fn take_place(&mut self, now: Instant, leaving: Option<Stage>, out: &mut Commands) {
        let Some(mut rotation) = self.rotation.take() else { return };
        let stage = mem::replace(&mut rotation.stage, Stage::Waiting { at: now });
        let Stage::Standby { open, .. } = stage else { return };
        let (from, to) = (self.generation, open.generation);
        self.generation = to;
        self.pace.set_url(rotation.pace.url());
        self.become_open(now, open, out);
        out.push(Command::Switch);
        out.push(Command::Tell(Event::Rotated { from, to }));
        let again = rotation.wanted;
        if let Some(stage) = leaving {
            rotation.stage = stage;
            (rotation.attempt, rotation.pace) = (0, Pace::default());
            self.rotation = Some(rotation);
        } else if again {
            self.rotate(now, false, out);
        }
    }

    /// The link is to do something else: no new connection is wanted, and one beside is closed.
    pub(super) fn dismiss(&mut self, now: Instant, cause: Cause, out: &mut Commands) {
        let Some(rotation) = self.rotation.as_deref_mut() else { return };
        match &rotation.stage {
            Stage::Waiting { .. } => self.rotation = None,
            Stage::Dialing { .. } => {
                self.rotation = None;
                out.push(Command::Hangup(Lane::Beside));
            }
            Stage::Leaving { lingers: false, .. } => rotation.wanted = false,
            Stage::Leaving { lingers: true, .. } | Stage::Standby { .. } => {
                let lingered = matches!(rotation.stage, Stage::Leaving { .. });
                let cause = if lingered { Cause::Rotate } else { cause };
                let owed = Some(Some(CloseFrame { code: NORMAL, reason: "".into() }));
                self.leave_beside(now, Ending { owed, cause, detail: "".into(), then: Then::Outcome }, out);
                if let Some(rotation) = self.rotation.as_deref_mut() {
                    rotation.wanted = false;
                }
            }
        }
    }

    /// The link ends now, and with it what is beside.
    pub(super) fn cut_beside(&self, out: &mut Commands) {
        if self.rotation.as_deref().is_some_and(|rotation| rotation.open().is_some()) {
            out.push(Command::Hangup(Lane::Beside));
        }
    }

    /// A connection is about to be dialled anyway: no other is wanted for that.
    pub(super) fn is_renewed(&mut self) {
        if let Some(rotation) = self.rotation.as_deref_mut() {
            rotation.wanted = false;
        }
    }
}
