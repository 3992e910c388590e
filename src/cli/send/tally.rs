//! What became of the lines of stdin, counted, and how that is told.
//!
//! What a reader would get wrong: the counts add up to the lines read. A line whose answer was lost is neither accepted nor
//! refused, and is told as what it is.

use std::{collections::BTreeMap, time::Duration};

use tokio::time::Instant;

use crate::cli::words;

/// The counts.
#[derive(Debug, Default)]
pub(super) struct Tally {
    /// Accepted, and as far as was asked for.
    pub(super) accepted: u64,
    /// Accepted, and then not as far as was asked for.
    pub(super) failed: u64,
    /// Not accepted.
    pub(super) refused: u64,
    /// Sent, and the answer did not come.
    pub(super) unsure: u64,
    /// Read, and not sent.
    pub(super) unsent: u64,
    reasons: BTreeMap<String, Reason>,
}

#[derive(Debug)]
struct Reason {
    count: u64,
    line: u64,
    text: String,
}

impl Tally {
    /// The line was refused; `kind` tells reasons of one kind from others.
    pub(super) fn refuse(&mut self, line: u64, kind: &str, text: String) {
        self.refused += 1;
        self.because(line, kind, text);
    }

    /// The line was accepted, and then the message did not come as far as was asked for.
    pub(super) fn fail(&mut self, line: u64, kind: &str, text: String) {
        self.failed += 1;
        self.because(line, kind, text);
    }

    /// Whether every line that was read was accepted and came as far as was asked for.
    pub(super) fn is_clean(&self) -> bool {
        self.failed + self.refused + self.unsure == 0
    }

    /// Lines that were sent.
    pub(super) fn known(&self) -> u64 {
        self.accepted + self.failed + self.refused + self.unsure
    }

    /// One line: the counts that are not zero.
    pub(super) fn counts(&self) -> String {
        let mut parts = vec![format!("{} accepted", words::count(self.accepted, "message"))];
        let others = [
            (self.failed, "accepted but failed"),
            (self.refused, "refused"),
            (self.unsure, "under way, so accepted or not"),
            (self.unsent, "read but not sent"),
        ];
        parts.extend(others.iter().filter(|(n, _)| *n > 0).map(|(n, what)| format!("{} {what}", words::grouped(*n))));
        parts.join(", ")
    }

    /// A line for each kind of reason.
    pub(super) fn reasons(&self) -> impl Iterator<Item = String> {
        self.reasons.values().map(|Reason { count, line, text }| {
            format!("  {} from line {} on: {text}", words::count(*count, "line"), words::grouped(*line))
        })
    }

    fn because(&mut self, line: u64, kind: &str, text: String) {
        self.reasons.entry(kind.to_owned()).and_modify(|reason| reason.count += 1).or_insert(Reason {
            count: 1,
            line,
            text,
        });
    }
}

/// When progress was drawn last, and how many lines had been dealt with then.
#[derive(Debug)]
pub(super) struct Pace {
    at: Instant,
    count: u64,
}

impl Pace {
    /// Progress is drawn at most this often.
    const PERIOD: Duration = Duration::from_millis(200);

    pub(super) fn begin() -> Self {
        Self { at: Instant::now(), count: 0 }
    }

    /// What to draw, when it is time to.
    pub(super) fn due(&mut self, tally: &Tally, waits: bool) -> Option<String> {
        let passed = self.at.elapsed();
        if passed < Self::PERIOD {
            return None;
        }
        let count = tally.known();
        let millis = u64::try_from(passed.as_millis()).unwrap_or(u64::MAX).max(1);
        let rate = (count - self.count).saturating_mul(1000) / millis;
        *self = Self { at: Instant::now(), count };
        let waits = if waits { "; the outbox is full, waiting" } else { "" };
        Some(format!("{}, {}/s{waits}", tally.counts(), words::grouped(rate)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_counts_say_what_there_is_and_why() {
        let mut tally = Tally { accepted: 1200, ..Tally::default() };
        assert_eq!(tally.counts(), "1,200 messages accepted");
        assert!(tally.is_clean());
        tally.refuse(7, "too-large", "too large".into());
        tally.refuse(9, "too-large", "too large".into());
        tally.fail(8, "expired", "ended as expired".into());
        tally.unsent = 3;
        assert_eq!(tally.counts(), "1,200 messages accepted, 1 accepted but failed, 2 refused, 3 read but not sent");
        let reasons: Vec<String> = tally.reasons().collect();
        assert_eq!(reasons, ["  1 line from line 8 on: ended as expired", "  2 lines from line 7 on: too large"]);
        assert!(!tally.is_clean());
    }

    #[tokio::test(start_paused = true)]
    async fn progress_is_drawn_a_few_times_a_second_with_the_rate_since_the_last() {
        let (mut tally, mut pace) = (Tally::default(), Pace::begin());
        tally.accepted = 500;
        assert_eq!(pace.due(&tally, false), None);
        tokio::time::advance(Duration::from_millis(250)).await;
        assert_eq!(pace.due(&tally, false).unwrap(), "500 messages accepted, 2,000/s");
        tokio::time::advance(Duration::from_secs(1)).await;
        let waiting = pace.due(&tally, true).unwrap();
        assert_eq!(waiting, "500 messages accepted, 0/s; the outbox is full, waiting");
    }
}
