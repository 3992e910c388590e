//! The flight recorder: a link's last transitions, each with a sentence for people.

use std::{
    collections::VecDeque,
    time::{Duration, SystemTime},
};

use super::view::{HistoryEntry, LinkView};
use crate::core::{chaos::Fault, close::Closed, event::Event};

/// Transitions remembered of each link.
const HISTORY: usize = 32;

/// The last transitions of a link.
#[derive(Debug, Default)]
pub(super) struct Recorder(VecDeque<HistoryEntry>);

impl Recorder {
    /// Remembers an event of which [`detail`] has something to say; `view` is the link after it.
    pub(super) fn record(&mut self, event: &Event, at: SystemTime, view: &LinkView, detail: Box<str>) {
        if self.0.len() == HISTORY {
            self.0.pop_front();
        }
        self.0.push_back(HistoryEntry {
            at,
            event: word(event),
            phase: view.phase,
            reason: view.reason,
            generation: view.generation,
            attempt: view.attempt,
            detail,
            timings: match event {
                Event::Opened { established, .. } => Some(Box::new(established.timings)),
                Event::DialFailed(failure) => Some(Box::new(failure.timings)),
                Event::Phase { .. }
                | Event::Dialing { .. }
                | Event::Closed { .. }
                | Event::Message { .. }
                | Event::Written { .. }
                | Event::Receipt { .. }
                | Event::PingSent
                | Event::Pong { .. }
                | Event::HeartbeatTimeout { .. }
                | Event::Injected { .. }
                | Event::Panicked { .. } => None,
            },
        });
    }

    /// What is remembered, oldest first.
    pub(super) fn entries(&self) -> Vec<HistoryEntry> {
        self.0.iter().cloned().collect()
    }
}

/// What the flight recorder says of an event; `None`: it does not record it.
pub(super) fn detail(event: &Event) -> Option<Box<str>> {
    Some(match event {
        Event::Phase { from, to, reason, delay, .. } => match delay {
            Some(delay) => format!("{from} → {to} ({reason}), next in {}", seconds(*delay)).into(),
            None => format!("{from} → {to} ({reason})").into(),
        },
        Event::Dialing { attempt, url } => format!("attempt {attempt}, url {url}").into(),
        Event::DialFailed(failure) => format!("{}: {}", failure.cause, failure.detail).into(),
        Event::Opened { established, .. } => format!("open: {}", established.url).into(),
        Event::Closed { closed, age, .. } => {
            let Closed { code, reason, cause, detail, .. } = &**closed;
            format!("closed after {}: {code} {reason} ({cause}) {detail}", seconds(*age)).trim_end().into()
        }
        Event::Injected { fault, .. } => injected(fault).into(),
        Event::Panicked { count } => format!("panic {count} of this link's task").into(),
        Event::HeartbeatTimeout { silent } => format!("nothing heard for {}", seconds(*silent)).into(),
        Event::Message { .. }
        | Event::Written { .. }
        | Event::Receipt { .. }
        | Event::PingSent
        | Event::Pong { .. } => return None,
    })
}

fn injected(fault: &Fault) -> String {
    let word = fault.as_str();
    match fault {
        Fault::Drop | Fault::HalfOpen | Fault::Close(None) => format!("injected by request: {word}"),
        Fault::Stall(lasting) => format!("injected by request: {word} for {}", seconds(*lasting)),
        Fault::Close(Some(frame)) => format!("injected by request: {word} {} {}", frame.code, frame.reason),
    }
}

fn word(event: &Event) -> &'static str {
    match event {
        Event::Phase { .. } => "phase",
        Event::Dialing { .. } => "dial",
        Event::DialFailed(_) => "dial_failed",
        Event::Opened { .. } => "open",
        Event::Closed { .. } => "close",
        Event::Message { .. } => "message",
        Event::Written { .. } => "written",
        Event::Receipt { .. } => "receipt",
        Event::PingSent => "ping",
        Event::Pong { .. } => "pong",
        Event::HeartbeatTimeout { .. } => "heartbeat_timeout",
        Event::Injected { .. } => "chaos",
        Event::Panicked { .. } => "panic",
    }
}

fn seconds(duration: Duration) -> String {
    format!("{:.1} s", duration.as_secs_f64())
}
