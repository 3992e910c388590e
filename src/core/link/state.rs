//! Where a link is: each state owns what exists only in it.

use std::{sync::Arc, time::Instant};

use super::connection::Connection;
use crate::{
    close::{ABNORMAL, Cause, CloseFrame, Closed, NO_STATUS},
    event::Established,
    phase::{Phase, Reason},
    receipt::EndReason,
};

#[derive(Debug)]
pub(super) enum State {
    /// Made, not started.
    Made,
    /// The retry timer runs.
    Waiting,
    /// There is a connection, or an attempt at one.
    Active(Connection),
    /// The retry timer runs, slowly.
    Parked,
    /// Until somebody wants it.
    Asleep,
    /// Until an operator's word.
    Paused,
    /// The end, for this reason.
    Stopped(EndReason),
}

impl State {
    pub(super) fn connection(&self) -> Option<&Connection> {
        match self {
            Self::Active(connection) => Some(connection),
            Self::Made | Self::Waiting | Self::Parked | Self::Asleep | Self::Paused | Self::Stopped(_) => None,
        }
    }

    pub(super) fn connection_mut(&mut self) -> Option<&mut Connection> {
        match self {
            Self::Active(connection) => Some(connection),
            Self::Made | Self::Waiting | Self::Parked | Self::Asleep | Self::Paused | Self::Stopped(_) => None,
        }
    }

    /// Whether it carries messages.
    pub(super) fn is_ready(&self) -> bool {
        self.connection().is_some_and(Connection::is_ready)
    }

    pub(super) fn phase(&self) -> Phase {
        match self {
            Self::Active(connection) => connection.phase(),
            Self::Made | Self::Waiting => Phase::Waiting,
            Self::Parked => Phase::Parked,
            Self::Asleep | Self::Paused | Self::Stopped(_) => Phase::Paused,
        }
    }
}

#[derive(Debug)]
pub(super) struct Open {
    /// Its number.
    pub(super) generation: u64,
    pub(super) established: Arc<Established>,
    pub(super) since: Instant,
}

#[derive(Debug)]
pub(super) struct Closing {
    pub(super) open: Open,
    pub(super) ending: Ending,
    /// The code of our Close frame, once that has left, be it only the answer to the peer's.
    #[allow(clippy::option_option, reason = "no frame, a frame without a body, one with a body: three things")]
    pub(super) sent: Option<Option<u16>>,
    /// The first Close frame received.
    #[allow(clippy::option_option, reason = "no frame, a frame without a body, one with a body: three things")]
    pub(super) received: Option<Option<CloseFrame>>,
}

/// Why and how an open connection is brought to its end.
#[derive(Debug)]
pub(super) struct Ending {
    /// A Close frame that still has to leave; `None` where there is none to send, or the peer's is answered below.
    #[allow(clippy::option_option, reason = "no frame, a frame without a body, one with a body: three things")]
    pub(super) owed: Option<Option<CloseFrame>>,
    pub(super) cause: Cause,
    /// What a session calls it.
    pub(super) label: Option<Box<str>>,
    pub(super) detail: Box<str>,
}

impl Closing {
    /// The facts of the connection, now that its transport is gone.
    pub(super) fn closed(&self) -> Closed {
        let (code, reason) = match &self.received {
            Some(Some(frame)) => (frame.code, frame.reason.clone()),
            Some(None) => (NO_STATUS, "".into()),
            None => (ABNORMAL, "".into()),
        };
        Closed {
            code,
            reason,
            was_clean: self.received.is_some() && self.sent.is_some(),
            cause: self.ending.cause,
            sent_code: self.sent.flatten(),
            status: None,
            label: self.ending.label.clone(),
            detail: self.ending.detail.clone(),
        }
    }
}

/// What follows the end of a connection that is closing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Then {
    /// The outcome table decides.
    Outcome,
    /// Dial again at once.
    Redial(Reason),
    /// Rest until somebody wants it.
    Sleep,
    /// Rest until an operator's word.
    Pause,
    /// The end.
    Stop(EndReason),
}
