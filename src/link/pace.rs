//! Whether this process ran all the time: it may have been stopped (SIGSTOP, a debugger, a frozen cgroup), or the machine with it.
//!
//! What a reader would get wrong: it is a thread, not a task, that keeps the pace. Tasks that hang are what a watchdog looks for
//! and must not be forgiven; where a thread that does nothing but sleep did not run either, nobody in the process could. A
//! suspended machine is not seen here at all: the monotonic clock stands still with it, so nothing is late.

#![allow(
    clippy::disallowed_methods,
    reason = "a thread of its own, and the clock by which the whole process stands still"
)]

use std::{
    sync::OnceLock,
    thread,
    time::{Duration, Instant},
};

use parking_lot::Mutex;

/// Between two beats.
const BEAT: Duration = Duration::from_millis(250);
/// What is longer between two beats was no busy machine.
const GAP: Duration = Duration::from_secs(2);

static PACE: OnceLock<Mutex<Pace>> = OnceLock::new();

#[derive(Debug)]
struct Pace {
    beat: Instant,
    resumed: Option<Instant>,
}

impl Pace {
    /// Answers with how long nothing ran, if that was long.
    fn look(&mut self, now: Instant) -> Option<Duration> {
        let gap = now.saturating_duration_since(self.beat);
        self.beat = now;
        (gap > GAP).then(|| {
            self.resumed = Some(now);
            gap
        })
    }

    fn resumed_within(&self, time: Duration, now: Instant) -> bool {
        self.resumed.is_some_and(|at| now.saturating_duration_since(at) <= time)
    }
}

/// Keeps the pace from now on. Without it, nothing is ever found to have been stopped.
pub fn keep() {
    if PACE.set(Mutex::new(Pace { beat: Instant::now(), resumed: None })).is_ok() {
        // Without a thread the pace is looked at less often, and the daemon forgiven more.
        let _ = thread::Builder::new().name("pace".into()).spawn(|| {
            loop {
                thread::sleep(BEAT);
                look();
            }
        });
    }
}

/// Whether the process runs again, after it had been stopped, since less than this.
pub(crate) fn resumed_within(time: Duration) -> bool {
    // It may be seen here before the thread has run.
    look();
    let Some(pace) = PACE.get() else { return false };
    pace.lock().resumed_within(time, Instant::now())
}

fn look() {
    let Some(pace) = PACE.get() else { return };
    let gap = pace.lock().look(Instant::now());
    if let Some(gap) = gap {
        let seconds = gap.as_secs();
        tracing::warn!(seconds, "the process did not run for {seconds} s: it was stopped, or the machine was");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gap_between_beats_is_a_stop_and_forgiven_for_a_while() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut pace = Pace { beat: start, resumed: None };
        assert_eq!(pace.look(at(1)), None, "a busy machine");
        assert!(!pace.resumed_within(Duration::MAX, at(1)));
        assert_eq!(pace.look(at(61)), Some(Duration::from_mins(1)));
        assert!(pace.resumed_within(Duration::from_secs(10), at(71)));
        assert!(!pace.resumed_within(Duration::from_secs(10), at(72)));
    }
}
