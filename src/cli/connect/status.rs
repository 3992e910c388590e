//! What becomes of the link, on stderr, and how its messages end.
//!
//! What a reader would get wrong: the link's own task tells it, so nothing here waits: a line for which stderr has no room is left out.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use tokio::sync::watch;

use super::sink::Sink;
use crate::{
    cli::{
        output::{Output, Paint},
        words,
    },
    observe::visible,
};
use wskeeper_core::{
    close::{Cause, Closed},
    event::{Established, Event, LinkId, Timings},
    outbox::Ended,
    phase::{Phase, Reason},
    receipt::{EndReason, State},
};
use wskeeper_link::observer::{LinkObserver, Observer};

/// Lines that may wait for stderr.
const LINES: usize = 256;

/// Who tells, and counts.
#[derive(Debug)]
pub(super) struct Status {
    lines: Sink<(String, Paint)>,
    /// Faults only.
    quiet: bool,
    /// Messages that were accepted and will never have been sent.
    pub(super) unsent: AtomicU64,
    /// Those of which nobody knows.
    pub(super) unknown: AtomicU64,
    /// The link stays where it is: nothing but an operator would open it again, and there is none.
    pub(super) rests: watch::Sender<bool>,
}

impl Status {
    pub(super) fn start(output: &Output, quiet: bool) -> io::Result<Arc<Self>> {
        let output = output.clone();
        let lines = Sink::start(LINES, move |(line, paint): (String, Paint)| {
            output.note(line, paint);
            Ok(())
        })?;
        let (unsent, unknown) = (AtomicU64::new(0), AtomicU64::new(0));
        Ok(Arc::new(Self { lines, quiet, unsent, unknown, rests: watch::Sender::new(false) }))
    }

    /// Tells it, unless only faults are wanted.
    pub(super) fn note(&self, text: impl AsRef<str>, paint: Paint) {
        if !self.quiet {
            self.fault(text, paint);
        }
    }

    /// Tells it in any case.
    pub(super) fn fault(&self, text: impl AsRef<str>, paint: Paint) {
        self.lines.offer((format!("-- {}", visible(text.as_ref())), paint));
    }

    /// Waits until everything that was told is on stderr.
    pub(super) async fn told(&self) {
        self.lines.flush().await;
    }

    /// Waits until the link rests.
    pub(super) async fn rested(&self) {
        let _ = self.rests.subscribe().wait_for(|rests| *rests).await;
    }

    fn end(&self, state: State, reason: Option<EndReason>) {
        match state {
            // So many were sent that the proof of the older ones is not kept for.
            State::Unknown if reason == Some(EndReason::Unproven) => 0,
            State::Unknown => self.unknown.fetch_add(1, Relaxed),
            State::Expired | State::Dropped | State::Dead => self.unsent.fetch_add(1, Relaxed),
            State::Queued | State::Stored | State::Written | State::Confirmed => 0,
        };
    }

    fn phase(&self, to: Phase, reason: Reason, delay: Option<Duration>) {
        let next = delay.map(|delay| format!("next try in {}", words::span(delay)));
        match (to, next) {
            (Phase::Waiting, Some(next)) => self.note(next, Paint::Dim),
            (Phase::Parked, next) => {
                let next = next.map(|next| format!("; {next}")).unwrap_or_default();
                self.note(format!("parked ({reason}){next}"), Paint::Red);
            }
            (Phase::Paused, _) if reason == Reason::StayClosed => {
                self.note("it stays closed, as its settings say", Paint::Dim);
                self.rests.send_replace(true);
            }
            (
                Phase::Waiting | Phase::Paused | Phase::Connecting | Phase::Opening | Phase::Ready | Phase::Closing,
                _,
            ) => {}
        }
    }
}

impl LinkObserver for Status {
    /// Of most that happens nothing is said: what is new is not, either, until somebody wants it here.
    fn tell(&self, _link: &LinkId, event: &Event) {
        if let Event::Phase { to, reason, delay, .. } = event {
            self.phase(*to, *reason, *delay);
        } else if let Event::Opened { established, .. } = event {
            self.note(opened(established), Paint::Green);
        } else if let Event::SessionReady { opening, .. } = event {
            self.note(format!("the session is ready after {}", took(opening.took)), Paint::Green);
        } else if let Event::DialFailed(failure) = event {
            self.note(format!("{}: {}", words::cause(failure.cause), failure.detail), Paint::Yellow);
        } else if let Event::Closed { closed, age, .. } = event {
            let paint = if closed.was_clean { Paint::Dim } else { Paint::Yellow };
            self.note(ended(closed, *age), paint);
        } else if let Event::Rotated { .. } = event {
            self.note("a new connection has taken over", Paint::Dim);
        } else if let Event::RotateFailed { failure, .. } = event {
            self.note(format!("no new connection: {}", failure.detail), Paint::Yellow);
        } else if let Event::HeartbeatTimeout { silent } = event {
            self.note(format!("nothing was heard for {}", words::span(*silent)), Paint::Yellow);
        } else if let Event::Keepalive { answered: false } = event {
            self.note("a keepalive had no answer", Paint::Yellow);
        } else if let Event::Panicked { .. } = event {
            self.fault("the link's task panicked: a bug in wskeeper", Paint::Red);
        }
    }

    fn tell_receipts(&self, _link: &LinkId, reached: &[Ended], _generation: Option<u64>) {
        for ended in reached {
            self.end(ended.state, ended.end_reason);
        }
    }

    fn lost(&self, state: State, end_reason: EndReason) {
        self.end(state, Some(end_reason));
    }
}

/// The observer of a pool of which one link is looked at.
#[derive(Debug)]
pub(super) struct Teller(pub(super) Arc<Status>);

impl Observer for Teller {
    fn link(&self, _endpoint: &Arc<str>, _index: u32) -> Arc<dyn LinkObserver> {
        Arc::clone(&self.0) as Arc<dyn LinkObserver>
    }
}

fn took(span: Duration) -> String {
    words::millis(span.as_secs_f64() * 1e3)
}

fn opened(established: &Established) -> String {
    let Established { url, protocol, timings, .. } = established;
    let protocol = if protocol.is_empty() { String::new() } else { format!(", subprotocol {protocol}") };
    format!("connected to {url} in {}{protocol}", took(Timings::from(*timings).total))
}

fn ended(closed: &Closed, age: Duration) -> String {
    let Closed { code, reason, was_clean, cause, label, detail, .. } = closed;
    // Nobody but who typed it could.
    let why = if *cause == Cause::Operator { String::new() } else { format!(": {}", words::cause(*cause)) };
    let mut text = format!("closed after {}{why} ({code}", words::span(age));
    if !was_clean {
        text.push_str(", not clean");
    }
    text.push(')');
    for more in [Some(reason), label.as_ref(), Some(detail)].into_iter().flatten().filter(|more| !more.is_empty()) {
        text.push_str(": ");
        text.push_str(more);
    }
    text
}
