//! What has gone over a link's connections, counted since the link was made.
//!
//! The link's task alone adds, and readers take no lock: the four numbers of one reading may be a message apart.

use std::{
    sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use super::view::Traffic;
use wskeeper_core::{clock, close::Cause, event::Event, run::Run};

/// The counters of one link.
#[derive(Debug, Default)]
pub(super) struct Counters {
    received_messages: AtomicU64,
    received_bytes: AtomicU64,
    sent_messages: AtomicU64,
    sent_bytes: AtomicU64,
    /// A ping has left, and nothing has come since.
    pinged: AtomicBool,
    /// A message has left on the current connection.
    spoken: AtomicBool,
    ended_after_ping: AtomicU32,
    /// Pings without a pong, and when the first of them left, in milliseconds since 1970.
    unanswered: AtomicU32,
    unanswered_since: AtomicU64,
}

impl Counters {
    /// Counts messages received.
    pub(super) fn received(&self, messages: &Run) {
        let bytes = usize::try_from(messages.message_bytes()).unwrap_or(usize::MAX);
        add((&self.received_messages, messages.count()), (&self.received_bytes, bytes));
        self.pinged.store(false, Ordering::Relaxed);
    }

    /// Counts messages written, and ends that follow a ping.
    pub(super) fn count(&self, event: &Event, at: SystemTime) {
        if let Event::Written(sent) = event {
            let bytes = sent.iter().map(|sent| sent.bytes).sum();
            let messages = sent.iter().map(|sent| sent.messages as usize).sum();
            add((&self.sent_messages, messages), (&self.sent_bytes, bytes));
            self.spoken.store(true, Ordering::Relaxed);
        } else if let Event::PingSent = event {
            self.pinged.store(true, Ordering::Relaxed);
            if self.unanswered.fetch_add(1, Ordering::Relaxed) == 0 {
                let since = at.duration_since(UNIX_EPOCH).unwrap_or_default();
                self.unanswered_since.store(u64::try_from(since.as_millis()).unwrap_or(u64::MAX), Ordering::Relaxed);
            }
        } else if let Event::Pong { .. } = event {
            // It answers pings: what ended after one before was not ended by it.
            self.ended_after_ping.store(0, Ordering::Relaxed);
            self.forget_pings();
        } else if let Event::Opened { .. } = event {
            self.spoken.store(false, Ordering::Relaxed);
            self.forget_pings();
        } else if let Event::Closed { closed, .. } = event {
            let is_after_ping = self.pinged.swap(false, Ordering::Relaxed)
                && matches!(closed.cause, Cause::Reset | Cause::Remote | Cause::Protocol);
            let times = self.ended_after_ping.load(Ordering::Relaxed).saturating_add(1);
            self.ended_after_ping.store(if is_after_ping { times } else { 0 }, Ordering::Relaxed);
            self.forget_pings();
        }
    }

    fn forget_pings(&self) {
        self.pinged.store(false, Ordering::Relaxed);
        self.unanswered.store(0, Ordering::Relaxed);
    }

    /// What was counted so far.
    pub(super) fn read(&self) -> Traffic {
        let unanswered_pings = self.unanswered.load(Ordering::Relaxed);
        let since = Duration::from_millis(self.unanswered_since.load(Ordering::Relaxed));
        Traffic {
            received_messages: self.received_messages.load(Ordering::Relaxed),
            received_bytes: self.received_bytes.load(Ordering::Relaxed),
            sent_messages: self.sent_messages.load(Ordering::Relaxed),
            sent_bytes: self.sent_bytes.load(Ordering::Relaxed),
            has_spoken: self.spoken.load(Ordering::Relaxed),
            ended_after_ping: self.ended_after_ping.load(Ordering::Relaxed),
            unanswered_pings,
            unanswered_since: (unanswered_pings > 0).then(|| clock::since_epoch(since)),
        }
    }
}

fn add((messages, count): (&AtomicU64, usize), (bytes, len): (&AtomicU64, usize)) {
    messages.fetch_add(count as u64, Ordering::Relaxed);
    bytes.fetch_add(len as u64, Ordering::Relaxed);
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use wskeeper_core::close::Closed;

    fn closed(cause: Cause) -> Event {
        let closed = Closed {
            code: 1006,
            reason: "".into(),
            was_clean: false,
            cause,
            sent_code: None,
            status: None,
            label: None,
            detail: "".into(),
        };
        Event::Closed { generation: 1, closed: Arc::new(closed), age: Duration::ZERO }
    }

    #[test]
    fn ends_that_follow_a_ping_before_its_pong_are_counted_while_they_come_in_a_row() {
        let counters = Counters::default();
        let pong = || Event::Pong { rtt: Duration::ZERO };
        let after = |events: &[Event]| {
            for event in events {
                counters.count(event, SystemTime::UNIX_EPOCH);
            }
            counters.read().ended_after_ping
        };
        assert_eq!(after(&[Event::PingSent, closed(Cause::Reset)]), 1);
        assert_eq!(after(&[Event::PingSent, closed(Cause::Remote)]), 2);
        assert_eq!(after(&[Event::PingSent, pong(), closed(Cause::Reset)]), 0, "the pong came");
        assert_eq!(after(&[Event::PingSent, closed(Cause::Reset)]), 1);
        assert_eq!(after(&[closed(Cause::Reset)]), 0, "there was no ping");
        assert_eq!(after(&[Event::PingSent, closed(Cause::Operator)]), 0, "it was ours");
        assert_eq!(after(&[Event::PingSent, closed(Cause::Reset)]), 1);
        assert_eq!(after(&[Event::PingSent, pong()]), 0, "it answers pings after all");
    }

    #[test]
    fn pings_without_a_pong_are_counted_since_the_first_of_them() {
        let counters = Counters::default();
        let pings = |events: &[Event]| {
            for event in events {
                counters.count(event, SystemTime::UNIX_EPOCH);
            }
            let Traffic { unanswered_pings, unanswered_since, .. } = counters.read();
            assert_eq!(unanswered_since.is_some(), unanswered_pings > 0);
            unanswered_pings
        };
        assert_eq!(pings(&[Event::PingSent]), 1);
        counters.received(&"x".into());
        assert_eq!(pings(&[Event::PingSent]), 2, "a message is no pong");
        let since = counters.read().unanswered_since;
        assert_eq!(pings(&[Event::PingSent]), 3);
        assert_eq!(counters.read().unanswered_since, since);
        assert_eq!(pings(&[Event::Pong { rtt: Duration::ZERO }]), 0);
        assert_eq!(pings(&[Event::PingSent, closed(Cause::Reset)]), 0, "it was of that connection");
    }
}
