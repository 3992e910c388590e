//! The flight recorder: a link's last transitions, kept small and told at length only when somebody asks.
//!
//! There may be ten thousand of them, nearly all of which nobody ever reads. So an entry is a few numbers, sentences are made
//! on reading, and a recorder that has nothing to say holds no memory.

use std::{
    collections::VecDeque,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use super::{
    shown::Shown,
    view::{AttemptEnd, AttemptView, HistoryEntry},
};
use wskeeper_core::{
    chaos::Fault,
    clock,
    close::{Cause, Closed},
    event::{DialFailure, Established, Event, Steps},
    phase::{Phase, Reason},
    session::Place,
};

/// Transitions remembered of each link.
const HISTORY: usize = 32;
/// A link that has come up once, and has been idle since, has no more than these.
const FEW: usize = 8;

/// The last transitions of a link.
#[derive(Debug, Default)]
pub(super) struct Recorder(VecDeque<Entry>);

#[derive(Debug)]
struct Entry {
    /// Milliseconds since 1970.
    at: u64,
    /// Enough for a connection a second for a century; beyond it stays at the last.
    generation: u32,
    /// Enough for months of attempts a minute apart; beyond it stays at the last.
    attempt: u16,
    phase: Phase,
    reason: Reason,
    what: What,
}

/// What happened, and on which connection, where that is not simply the current one.
pub(super) type Transition = (What, Option<u64>);

/// What happened; what is long is in a box, because most is not.
#[derive(Debug)]
pub(super) enum What {
    Phase {
        from: Phase,
        delay: Option<Millis>,
    },
    Dial {
        url: u16,
    },
    Failed(Box<Failed>),
    /// As `Dial` and `Failed`, beside a connection that goes on.
    Rotating {
        attempt: u16,
        url: u16,
    },
    RotateFailed(Box<(Failed, Option<Millis>)>),
    Rotated {
        from: u32,
    },
    Open(Arc<Established>),
    /// Its session is ready, after so long.
    SessionReady(Millis),
    /// It has not been; the step that it had come to.
    SessionUnready(Option<Box<(Place, &'static str)>>),
    Closed(Box<(Arc<Closed>, Millis)>),
    /// What a timer of the session waited for.
    KeepaliveMissed,
    /// A pong is no proof.
    PongRefused,
    Silent(Millis),
    Injected(Box<Fault>),
    Panicked(u32),
}

#[derive(Debug)]
pub(super) struct Failed {
    cause: Cause,
    status: Option<u16>,
    /// Of the steps of `dial`.
    label: Option<Box<str>>,
    detail: Box<str>,
    steps: Steps,
}

/// A duration of up to 49 days; a longer one stays there.
#[derive(Debug, Clone, Copy)]
pub(super) struct Millis(u32);

impl From<Duration> for Millis {
    fn from(duration: Duration) -> Self {
        Self(u32::try_from(duration.as_millis()).unwrap_or(u32::MAX))
    }
}

impl From<Millis> for Duration {
    fn from(millis: Millis) -> Self {
        Self::from_millis(millis.0.into())
    }
}

impl Recorder {
    /// Remembers a transition; `shown` is the link after it.
    pub(super) fn record(&mut self, (what, generation): Transition, at: SystemTime, shown: &Shown) {
        if self.0.len() == HISTORY {
            self.0.pop_front();
        }
        if self.0.len() == self.0.capacity() {
            // Most links are idle, and have little to tell; the others soon have all that is remembered.
            self.0.reserve_exact(if self.0.len() < FEW { 2 } else { self.0.len().min(HISTORY - self.0.len()) });
        }
        self.0.push_back(Entry {
            at: u64::try_from(at.duration_since(UNIX_EPOCH).unwrap_or_default().as_millis()).unwrap_or_default(),
            generation: number(generation.unwrap_or(shown.generation())),
            attempt: u16::try_from(shown.attempt()).unwrap_or(u16::MAX),
            phase: shown.phase(),
            reason: shown.reason(),
            what,
        });
    }

    /// What is remembered, oldest first.
    pub(super) fn entries(&self) -> Vec<HistoryEntry> {
        self.0.iter().map(Entry::tell).collect()
    }

    /// The attempts among it, oldest first.
    pub(super) fn attempts(&self) -> Vec<AttemptView> {
        let mut attempts: Vec<AttemptView> = Vec::new();
        for entry in &self.0 {
            let begun = match entry.what {
                What::Dial { url } => Some((url, entry.attempt)),
                What::Rotating { attempt, url } => Some((url, attempt)),
                What::Phase { .. }
                | What::Failed(_)
                | What::RotateFailed(_)
                | What::Rotated { .. }
                | What::Open(_)
                | What::SessionReady(_)
                | What::SessionUnready(_)
                | What::KeepaliveMissed
                | What::Closed(_)
                | What::PongRefused
                | What::Silent(_)
                | What::Injected(_)
                | What::Panicked(_) => None,
            };
            if let Some((url, attempt)) = begun {
                let at = entry.at();
                attempts.push(AttemptView {
                    at,
                    attempt: attempt.into(),
                    url: url.into(),
                    end: None,
                    timings: None,
                    then: None,
                });
                continue;
            }
            // What belongs to an attempt that has been forgotten has nowhere to go.
            let Some(last) = attempts.last_mut() else { continue };
            match &entry.what {
                What::Failed(failed) => last.fail(failed),
                What::RotateFailed(failed) => {
                    last.fail(&failed.0);
                    last.then = failed.1.map(Duration::from);
                }
                What::Open(opened) => {
                    last.end = Some(AttemptEnd::Open { address: opened.address });
                    last.timings = Some(opened.timings.into());
                }
                What::Phase { delay: Some(delay), .. } => last.then = last.then.or(Some((*delay).into())),
                What::Phase { delay: None, .. }
                | What::Dial { .. }
                | What::Rotating { .. }
                | What::Rotated { .. }
                | What::SessionReady(_)
                | What::SessionUnready(_)
                | What::KeepaliveMissed
                | What::Closed(_)
                | What::PongRefused
                | What::Silent(_)
                | What::Injected(_)
                | What::Panicked(_) => {}
            }
        }
        attempts
    }
}

/// An event as the recorder keeps it, with the connection that it belongs to, where that is not simply the current one. `None`: it is
/// no transition, and need not ask for the recorder's lock.
pub(super) fn transition(event: &Event) -> Option<Transition> {
    let short = |url: usize| u16::try_from(url).unwrap_or(u16::MAX);
    Some(match event {
        Event::Phase { from, delay, .. } => (What::Phase { from: *from, delay: delay.map(Millis::from) }, None),
        Event::Dialing { url, .. } => (What::Dial { url: short(*url) }, None),
        Event::DialFailed(failure) => (What::Failed(Box::new((&**failure).into())), None),
        Event::Rotating { attempt, url } => {
            (What::Rotating { attempt: u16::try_from(*attempt).unwrap_or(u16::MAX), url: short(*url) }, None)
        }
        Event::RotateFailed { failure, delay } => {
            (What::RotateFailed(Box::new(((&**failure).into(), delay.map(Millis::from)))), None)
        }
        Event::Rotated { from, to } => (What::Rotated { from: number(*from) }, Some(*to)),
        Event::Opened { generation, established } => (What::Open(Arc::clone(established)), Some(*generation)),
        Event::Closed { generation, closed, age } => {
            (What::Closed(Box::new((Arc::clone(closed), (*age).into()))), Some(*generation))
        }
        Event::SessionReady { generation, opening } => (What::SessionReady(opening.took.into()), Some(*generation)),
        Event::SessionFailed { generation, opening } => {
            let step = opening.steps.last().map(|step| Box::new((step.place, step.act)));
            (What::SessionUnready(step), Some(*generation))
        }
        Event::Keepalive { answered: false } => (What::KeepaliveMissed, None),
        Event::HeartbeatTimeout { silent } => (What::Silent((*silent).into()), None),
        Event::Injected { generation, fault } => (What::Injected(Box::new(fault.clone())), Some(*generation)),
        Event::Panicked { count } => (What::Panicked(*count), None),
        Event::PongRefused { first: true } => (What::PongRefused, None),
        Event::Keepalive { answered: true }
        | Event::Hidden(_)
        | Event::Paced { .. }
        | Event::Written(_)
        | Event::PingSent
        | Event::Pong { .. }
        | Event::PongRefused { first: false } => return None,
    })
}

impl From<&DialFailure> for Failed {
    fn from(failure: &DialFailure) -> Self {
        let DialFailure { cause, status, retry_after: _, label, detail, timings, steps: _, rejection: _ } = failure;
        let (label, detail) = (label.clone(), detail.clone());
        Self { cause: *cause, status: *status, label, detail, steps: (*timings).into() }
    }
}

impl Failed {
    fn tell(&self) -> String {
        let Self { cause, label, detail, .. } = self;
        let label = label.as_ref().map(|label| format!(" {label}")).unwrap_or_default();
        format!("{cause}{label}: {detail}")
    }
}

impl AttemptView {
    fn fail(&mut self, failed: &Failed) {
        let Failed { cause, status, label: _, detail, steps } = failed;
        self.end = Some(AttemptEnd::Failed { cause: *cause, status: *status, detail: detail.clone() });
        self.timings = Some((*steps).into());
    }
}

fn number(generation: u64) -> u32 {
    u32::try_from(generation).unwrap_or(u32::MAX)
}

impl Entry {
    fn at(&self) -> SystemTime {
        clock::since_epoch(Duration::from_millis(self.at))
    }

    fn tell(&self) -> HistoryEntry {
        HistoryEntry {
            at: self.at(),
            event: self.what.word(),
            phase: self.phase,
            reason: self.reason,
            generation: self.generation.into(),
            attempt: self.attempt.into(),
            detail: self.detail(),
            timings: match &self.what {
                What::Open(opened) => Some(opened.timings.into()),
                What::Failed(failed) => Some(failed.steps.into()),
                What::RotateFailed(failed) => Some(failed.0.steps.into()),
                What::Phase { .. }
                | What::Dial { .. }
                | What::Rotating { .. }
                | What::Rotated { .. }
                | What::SessionReady(_)
                | What::SessionUnready(_)
                | What::KeepaliveMissed
                | What::Closed(_)
                | What::PongRefused
                | What::Silent(_)
                | What::Injected(_)
                | What::Panicked(_) => None,
            },
        }
    }

    fn detail(&self) -> String {
        match &self.what {
            What::Phase { from, delay } => {
                let Self { phase, reason, .. } = self;
                let next = delay.map(|delay| format!(", next in {}", seconds(delay))).unwrap_or_default();
                format!("{from} → {phase} ({reason}){next}")
            }
            What::Dial { url } => format!("attempt {}, url {url}", self.attempt),
            What::Failed(failed) => failed.tell(),
            What::Rotating { attempt, url } => format!("attempt {attempt} at a new connection beside, url {url}"),
            What::RotateFailed(failed) => {
                let (failed, delay) = &**failed;
                let next = delay.map(|delay| format!(", next in {}", seconds(delay))).unwrap_or_default();
                format!("no new connection: {}{next}", failed.tell())
            }
            What::Rotated { from } => format!("switched from connection {from} to {}", self.generation),
            What::Open(opened) => {
                let address = opened.address.map(|address| format!(" at {address}")).unwrap_or_default();
                format!("open: {}{address}", opened.url)
            }
            What::SessionReady(took) => format!("the session is ready after {}", seconds(*took)),
            What::SessionUnready(None) => "the session was not ready".to_owned(),
            What::SessionUnready(Some(step)) => {
                format!("the session was not ready, and had come to {} ({})", step.0, step.1)
            }
            What::KeepaliveMissed => "what a timer of the session waits for did not come in time".to_owned(),
            What::Closed(closed) => {
                let (closed, age) = &**closed;
                let Closed { code, reason, cause, label, detail, .. } = &**closed;
                let label = label.as_ref().map(|label| format!(" {label}")).unwrap_or_default();
                let text = format!("closed after {}: {code} {reason} ({cause}{label}) {detail}", seconds(*age));
                text.trim_end().to_owned()
            }
            What::PongRefused => "a pong without the payload of our ping: it proves nothing".to_owned(),
            What::Silent(silent) => format!("nothing heard for {}", seconds(*silent)),
            What::Injected(fault) => injected(fault),
            What::Panicked(count) => format!("panic {count} of this link's task"),
        }
    }
}

impl What {
    const fn word(&self) -> &'static str {
        match self {
            Self::Phase { .. } => "phase",
            Self::Dial { .. } => "dial",
            Self::Failed(_) => "dial_failed",
            Self::Rotating { .. } => "rotating",
            Self::RotateFailed(_) => "rotate_failed",
            Self::Rotated { .. } => "rotated",
            Self::Open(_) => "open",
            Self::SessionReady(_) => "session_ready",
            Self::SessionUnready(_) => "session_unready",
            Self::KeepaliveMissed => "keepalive_missed",
            Self::Closed(_) => "close",
            Self::PongRefused => "pong_refused",
            Self::Silent(_) => "heartbeat_timeout",
            Self::Injected(_) => "chaos",
            Self::Panicked(_) => "panic",
        }
    }
}

fn injected(fault: &Fault) -> String {
    let word = fault.as_str();
    match fault {
        Fault::Drop | Fault::HalfOpen | Fault::Close(None) => format!("injected by request: {word}"),
        Fault::Stall(lasting) => format!("injected by request: {word} for {}", seconds((*lasting).into())),
        Fault::Close(Some(frame)) => format!("injected by request: {word} {} {}", frame.code, frame.reason),
    }
}

fn seconds(millis: Millis) -> String {
    format!("{:.1} s", Duration::from(millis).as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_recorder_holds_no_memory_and_an_entry_little() {
        assert_eq!(Recorder::default().0.capacity(), 0);
        assert!(size_of::<Entry>() <= 32, "{}", size_of::<Entry>());
    }
}
