//! A lazy link: it has a connection only while somebody sends, subscribes or listens, and for a while after that.
//!
//! ```text
//!            wanted                                       nobody has wanted it for `idle_timeout`
//! asleep ───────────► active, waiting, parked, as any link ───────────────────────────────────────► closing (1000) ──► asleep
//!    ▲                                │ the next attempt is due, and nobody wants it
//!    └────────────────────────────────┘
//! ```
//! What a reader would get wrong: a link that waits between two attempts does not fall asleep before the next one is due. So whoever wakes
//! it again finds the delay of the backoff over, and none of its own.

use std::time::Instant;

use super::{
    Commands, Link, Policy,
    state::{State, Then},
};
use crate::{
    clock::Clock,
    close::{Cause, CloseFrame, NORMAL},
    phase::{ReadyState, Reason},
};

/// What a link has that is lazy. In a box: most links have none.
#[derive(Debug, Default)]
pub(super) struct Lazy {
    /// Somebody listens to what arrives.
    is_heard: bool,
    /// It was woken, and there was no connection to be had, or it was lost.
    is_down: bool,
    /// Since when nobody has wanted it.
    unwanted_since: Option<Instant>,
}

impl Lazy {
    /// That of a link which has just been made.
    pub(super) fn of(policy: &Policy) -> Option<Box<Self>> {
        policy.idle_timeout.map(|_| Box::default())
    }
}

impl Link {
    /// Whether it has no connection because nobody wants one.
    pub fn is_asleep(&self) -> bool {
        matches!(self.state, State::Asleep)
    }

    /// Whether somebody wants it to have a connection.
    pub(super) fn is_wanted(&self) -> bool {
        self.lazy.as_deref().is_none_or(|lazy| lazy.is_heard || self.shared.is_in_use())
    }

    /// Whether what is sent now is sent to a link that is on its way up, or will be by that.
    pub(super) fn wakes(&self) -> bool {
        self.lazy.as_deref().is_some_and(|lazy| !lazy.is_down)
    }

    /// Somebody listens, or nobody does any more.
    pub(super) fn on_listened(&mut self, is_heard: bool) {
        if let Some(lazy) = &mut self.lazy {
            lazy.is_heard = is_heard;
        }
    }

    /// An operator wants something of it: that counts as if somebody had wanted it until now.
    pub(super) fn stay_awake(&mut self, now: Instant) {
        if let Some(lazy) = &mut self.lazy {
            lazy.unwanted_since = Some(now);
        }
    }

    /// It was lost, or could not be had; or it is well.
    pub(super) fn set_down(&mut self, is_down: bool) {
        if let Some(lazy) = &mut self.lazy {
            lazy.is_down = is_down;
        }
    }

    /// Nothing is under way, and an attempt would be next: it is made where somebody wants it.
    pub(super) fn dial_if_wanted(&mut self, now: Instant, reason: Reason, out: &mut Commands) {
        if self.is_wanted() {
            self.dial(now, reason, out);
        } else {
            self.then = Then::Outcome;
            self.set_down(false);
            self.enter(now, State::Asleep, Reason::Asleep, None, out);
        }
    }

    /// When it is to fall asleep, or to wake.
    #[inline]
    pub(super) fn sleep_due(&self) -> Option<Instant> {
        let lazy = self.lazy.as_deref()?;
        let is_idle = match &self.state {
            // What the disk has brought back tells nobody.
            State::Asleep => return self.is_wanted().then_some(self.since),
            State::Active(connection) => connection.is_ready() || connection.is_queued(),
            State::Made | State::Waiting | State::Parked | State::Paused | State::Stopped(_) => false,
        };
        let since = lazy.unwanted_since.filter(|_| is_idle)?;
        Some(since.later(self.shared.policy.idle_timeout?))
    }

    /// Nobody has wanted it for so long.
    pub(super) fn fall_asleep(&mut self, now: Instant, out: &mut Commands) {
        if self.is_wanted() || self.sleep_due().is_none_or(|at| at > now) {
            return;
        }
        if self.state.is_ready() {
            // It did what it was there for.
            self.on_stable();
        }
        self.leave(now, Some(CloseFrame::of(NORMAL)), Cause::Idle, Then::Sleep, out);
    }

    /// Notes whether somebody wants it. Who wants it while it is asleep wakes it, and while it is on its way there need not wait for a
    /// peer that is slow to say goodbye.
    pub(super) fn follow_wishes(&mut self, now: Instant, out: &mut Commands) {
        let is_wanted = self.is_wanted();
        let Some(lazy) = &mut self.lazy else { return };
        if !is_wanted {
            lazy.unwanted_since.get_or_insert(now);
            return;
        }
        lazy.unwanted_since = None;
        if self.is_asleep() {
            self.dial(now, Reason::Underway, out);
        } else if self.then == Then::Sleep && self.ready_state() == ReadyState::Closing {
            self.hurry(now);
        }
    }

    /// Follows another policy, which is in force already.
    pub(super) fn follow_laziness(&mut self, now: Instant, out: &mut Commands) {
        match (&self.lazy, self.shared.policy.idle_timeout) {
            (None, Some(_)) => self.lazy = Some(Box::default()),
            (Some(_), None) => {
                self.lazy = None;
                if self.is_asleep() {
                    self.dial(now, Reason::Reload, out);
                }
            }
            (None, None) | (Some(_), Some(_)) => {}
        }
    }
}
