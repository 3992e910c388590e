//! An attempt under way: the future that dials, and how far it has come.
//!
//! The attempt keeps its own timings, but one that takes too long is dropped, and they with it; so each step is timed here as
//! well, from outside.

use std::{collections::VecDeque, sync::Arc, time::Instant};

use parking_lot::Mutex;

use super::{BoxFuture, Dial, Dialled, Progress, To, Wire};
use wskeeper_core::{
    close::Cause,
    event::{DialFailure, Timings},
    session::{Kept, Waits},
};

/// What the detail of an attempt begins with that took too long.
const TIMED_OUT: &str = "timed out while ";

/// Whether the detail of a failure is that of an attempt that took too long.
pub fn timed_out(detail: &str) -> bool {
    detail.starts_with(TIMED_OUT)
}

type Attempt<S> = BoxFuture<Result<Dialled<S>, DialFailure>>;

/// An attempt under way.
pub(super) struct Dialing<S> {
    pub(super) attempt: Attempt<S>,
    /// How far it has come, as it told.
    told: Arc<Mutex<VecDeque<Progress>>>,
    stage: Progress,
    /// When the stage began.
    since: Instant,
    timings: Timings,
}

impl<S: Wire> Dialing<S> {
    /// Begins one. In a box: there is none on most links, most of the time.
    pub(super) fn begin<D: Dial<Stream = S>>(dialer: &D, to: To, kept: Option<Kept>, now: Instant) -> Box<Self> {
        let told = Arc::<Mutex<VecDeque<Progress>>>::default();
        let log = Arc::clone(&told);
        let attempt = dialer.dial(to, kept, Box::new(move |step| log.lock().push_back(step)));
        Box::new(Self { attempt, told, stage: Progress::Resolving, since: now, timings: Timings::default() })
    }

    /// The next stage that it has come into.
    pub(super) fn step(&mut self, now: Instant) -> Option<Progress> {
        let step = {
            let mut told = self.told.lock();
            let step = told.pop_front()?;
            // Thousands may wait for admission: they keep no room for what follows it.
            if step == Progress::Queued && told.is_empty() {
                *told = VecDeque::new();
            }
            step
        };
        self.enter(step, now);
        Some(step)
    }

    /// One stage is over, and another begins.
    fn enter(&mut self, stage: Progress, now: Instant) {
        let took = now.saturating_duration_since(self.since);
        let Timings { dns, admission, tcp, tls, upgrade, total } = &mut self.timings;
        let step = match self.stage {
            Progress::Resolving | Progress::PassedOver(_) => dns,
            Progress::Queued => admission,
            Progress::Admitted | Progress::Connecting | Progress::Tunnelling => tcp,
            Progress::Securing => tls,
            Progress::Upgrading => upgrade,
            Progress::Evaluating | Progress::Stepping(_) => &mut None,
        };
        *step = Some(step.unwrap_or_default().saturating_add(took));
        if self.stage != Progress::Queued {
            *total = total.saturating_add(took);
        }
        (self.stage, self.since) = (stage, now);
    }

    /// It has taken too long: the stage that it was in says what failed.
    pub(super) fn timed_out(mut self, now: Instant) -> DialFailure {
        self.enter(self.stage, now);
        let mut label = None;
        let (cause, stage) = match self.stage {
            Progress::Resolving | Progress::PassedOver(_) => (Cause::Dns, "resolving the name".to_owned()),
            Progress::Queued | Progress::Admitted | Progress::Connecting => (Cause::Connect, "connecting".to_owned()),
            Progress::Tunnelling => (Cause::Proxy, "connecting through the proxy".to_owned()),
            Progress::Securing => (Cause::Tls, "waiting for the TLS handshake".to_owned()),
            Progress::Evaluating => (Cause::Secret, "waiting for the values that it needs".to_owned()),
            Progress::Stepping(Waits { place, act, .. }) => {
                label = Some("timeout".into());
                (Cause::Session, format!("waiting at {place} ({act})"))
            }
            Progress::Upgrading => (Cause::Upgrade, "waiting for the answer to the upgrade".to_owned()),
        };
        let failure = DialFailure::of(cause, format!("{TIMED_OUT}{stage}"));
        DialFailure { label, timings: self.timings, ..failure }
    }
}
