//! What happens to the attempt, or to the connection, beside the current one.
//!
//! Nothing that does can harm the current connection: a new one that comes to nothing is tried again, an old one goes.

use std::{
    mem,
    sync::Arc,
    time::{Duration, Instant},
};

use super::{Rotation, Stage};
use crate::core::{
    clock::Clock,
    close::{Cause, CloseFrame, Closed},
    event::{DialFailure, Established, Event, RetryAfter},
    link::{
        Command, Commands, Input, Lane, Link, Received, pace,
        state::{Closing, Ending, Open, Then},
    },
};

impl Link {
    /// Something happened to the attempt, or to the connection, beside the current one.
    pub(in crate::core::link) fn on_beside(&mut self, now: Instant, input: Input, out: &mut Commands) {
        match input {
            Input::Queued => self.on_queued_beside(now),
            Input::Admitted => self.on_admitted_beside(now),
            Input::PassedOver(url) => {
                if let Some(rotation) = self.rotation.as_deref_mut().filter(|rotation| rotation.is_dialing()) {
                    rotation.pace.set_url(url);
                }
            }
            Input::Dialled(established) => self.on_standby(now, established, out),
            Input::DialFailed(failure) => self.on_rotate_failed(now, failure, out),
            Input::Received(received) => self.on_received_beside(now, received, out),
            Input::Violation { code, cause, detail } => {
                let owed = Some(Some(CloseFrame { code, reason: "".into() }));
                self.leave_beside(now, Ending { owed, cause, detail, then: Then::Outcome }, out);
            }
            Input::CloseSent(code) => {
                if let Some(Rotation { stage: Stage::Leaving { closing, .. }, .. }) = self.rotation.as_deref_mut() {
                    closing.sent.get_or_insert(code);
                }
            }
            Input::Ended { begun: _, detail } => self.on_ended_beside(now, detail, out),
            // Each stage has an end of its own, whatever is heard or taken; and the rest is of the link, not of one of its
            // connections.
            Input::Heard
            | Input::Left { .. }
            | Input::Flushed
            | Input::Start
            | Input::Park(_)
            | Input::Verb(_)
            | Input::Policy(_)
            | Input::Renew
            | Input::ServerBack
            | Input::Beside(_)
            | Input::Stop(..)
            | Input::Acknowledged(_)
            | Input::Stored { .. }
            | Input::NotStored { .. }
            | Input::Marked(_) => {}
        }
    }

    fn on_queued_beside(&mut self, now: Instant) {
        if let Some(Rotation { stage: Stage::Dialing { queued, until }, .. }) = self.rotation.as_deref_mut() {
            *queued = queued.or(until.map(|at| at.saturating_duration_since(now)));
            *until = None;
        }
    }

    fn on_admitted_beside(&mut self, now: Instant) {
        if let Some(Rotation { stage: Stage::Dialing { queued, until }, .. }) = self.rotation.as_deref_mut() {
            *until = until.or(queued.map(|left| now.later(left)));
            *queued = None;
        }
    }

    fn on_standby(&mut self, now: Instant, established: Box<Established>, out: &mut Commands) {
        let Some(rotation) = self.rotation.as_deref_mut().filter(|rotation| rotation.is_dialing()) else { return };
        self.newest += 1;
        let generation = self.newest;
        let established = Arc::<Established>::from(established);
        out.push(Command::Tell(Event::Opened { generation, established: Arc::clone(&established) }));
        rotation.failure = None;
        let open = Open { generation, established, since: now };
        rotation.stage = Stage::Standby { open, until: Some(now.later(self.policy.close_timeout)) };
    }

    fn on_rotate_failed(&mut self, now: Instant, failure: Box<DialFailure>, out: &mut Commands) {
        if self.rotation.as_deref().is_some_and(Rotation::is_dialing) {
            let delay = self.retry_beside(now, &failure.closed(), failure.retry_after);
            out.push(Command::Tell(Event::RotateFailed { failure, delay }));
        }
    }

    /// The new connection was not to be had, or did not last: after a delay by the outcome table, another attempt. The wish
    /// stays for as long as the current connection does, so where the table would park or stay closed it is asked for slowly.
    fn retry_beside(&mut self, now: Instant, closed: &Closed, retry_after: Option<RetryAfter>) -> Option<Duration> {
        if !self.state.is_open() {
            self.rotation = None;
            return None;
        }
        let rotation = self.rotation.as_deref_mut()?;
        let ended = pace::Ended { closed, retry_after, was_open: false };
        let (_, delay) = rotation.pace.after(&self.policy, now, ended, &mut self.chance);
        rotation.failure = Some(format!("{}: {}", closed.cause, closed.detail).into());
        rotation.stage = Stage::Waiting { at: now.later(delay) };
        Some(delay)
    }

    fn on_received_beside(&mut self, now: Instant, received: Received, out: &mut Commands) {
        match received {
            Received::Messages(payloads) => {
                // An old one may say to its end what it has to say, as long as the link itself is open.
                if let Some(generation) = self.generation_beside()
                    && (self.state.is_open() || self.has_standby())
                {
                    out.push(Command::Tell(Event::Messages { generation, payloads }));
                }
            }
            // No ping of ours is out on it.
            Received::Pong(_) => {}
            Received::Close(frame) => {
                self.leave_beside(
                    now,
                    Ending { owed: None, cause: Cause::Remote, detail: "".into(), then: Then::Outcome },
                    out,
                );
                let Some(Rotation { stage: Stage::Leaving { closing, .. }, .. }) = self.rotation.as_deref_mut() else {
                    return;
                };
                if closing.received.is_none() && !closing.ending.cause.is_failure() {
                    closing.received = Some(frame);
                    // The answer that is made below stands for a Close that we still owe.
                    closing.ending.owed = None;
                }
            }
        }
    }

    /// The connection beside comes to its end: a new one before its turn, or an old one while it lingers.
    pub(super) fn leave_beside(&mut self, now: Instant, ending: Ending, out: &mut Commands) {
        let until = Some(now.later(self.policy.close_timeout));
        let Some(rotation) = self.rotation.as_deref_mut() else { return };
        let stage = mem::replace(&mut rotation.stage, Stage::Waiting { at: now });
        rotation.stage = match stage {
            Stage::Standby { open, .. } => {
                rotation.wanted = true;
                let closing = Closing { open, ending, sent: None, received: None };
                Stage::Leaving { closing, lingers: false, until }
            }
            Stage::Leaving { closing, lingers: true, .. } => {
                Stage::Leaving { closing: Closing { ending, ..closing }, lingers: false, until }
            }
            Stage::Leaving { closing, lingers: false, until } => {
                // It was about to end anyway, and after a violation nothing can be read.
                if ending.cause.is_failure() {
                    out.push(Command::Hangup(Lane::Beside));
                }
                Stage::Leaving { closing, lingers: false, until }
            }
            stage @ (Stage::Waiting { .. } | Stage::Dialing { .. }) => stage,
        };
    }

    fn on_ended_beside(&mut self, now: Instant, detail: Box<str>, out: &mut Commands) {
        let detail = if detail.is_empty() { "the peer ended TCP without a Close frame".into() } else { detail };
        if matches!(
            self.rotation.as_deref(),
            Some(Rotation { stage: Stage::Standby { .. } | Stage::Leaving { lingers: true, .. }, .. })
        ) {
            self.leave_beside(now, Ending { owed: None, cause: Cause::Reset, detail, then: Then::Outcome }, out);
        }
        let Some(rotation) = self.rotation.as_deref_mut() else { return };
        let Stage::Leaving { closing, .. } = &rotation.stage else { return };
        let closed = closing.closed();
        let generation = closing.open.generation;
        let age = now.saturating_duration_since(closing.open.since);
        out.push(Command::Tell(Event::Closed { generation, closed: Box::new(closed.clone()), age }));
        if !rotation.wanted || !self.state.is_open() {
            self.rotation = None;
        } else if generation > self.generation {
            self.retry_beside(now, &closed, None);
        } else {
            self.dial_beside(now, false, out);
        }
        if generation < self.generation {
            self.last_close = Some(Arc::new((closed, now)));
        }
    }
}
