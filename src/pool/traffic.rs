//! What has gone over a link's connections, counted since the link was made.
//!
//! The link's task alone adds, and readers take no lock: the four numbers of one reading may be a message apart.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

use super::view::Traffic;
use crate::core::{close::Cause, event::Event, message::Payload};

/// The counters of one link.
#[derive(Debug, Default)]
pub(super) struct Counters {
    received_messages: AtomicU64,
    received_bytes: AtomicU64,
    sent_messages: AtomicU64,
    sent_bytes: AtomicU64,
    /// A ping has left, and nothing has come since.
    pinged: AtomicBool,
    ended_after_ping: AtomicU32,
}

impl Counters {
    /// Counts messages received.
    pub(super) fn received(&self, payloads: &[Payload]) {
        let bytes = payloads.iter().map(Payload::len).sum();
        add((&self.received_messages, payloads.len()), (&self.received_bytes, bytes));
        self.pinged.store(false, Ordering::Relaxed);
    }

    /// Counts messages written, and ends that follow a ping.
    pub(super) fn count(&self, event: &Event) {
        if let Event::Written(sent) = event {
            let bytes = sent.iter().map(|sent| sent.bytes).sum();
            add((&self.sent_messages, sent.len()), (&self.sent_bytes, bytes));
        } else if let Event::PingSent = event {
            self.pinged.store(true, Ordering::Relaxed);
        } else if let Event::Pong { .. } | Event::Opened { .. } = event {
            self.pinged.store(false, Ordering::Relaxed);
        } else if let Event::Closed { closed, .. } = event {
            let is_after_ping = self.pinged.swap(false, Ordering::Relaxed)
                && matches!(closed.cause, Cause::Reset | Cause::Remote | Cause::Protocol);
            let times = self.ended_after_ping.load(Ordering::Relaxed).saturating_add(1);
            self.ended_after_ping.store(if is_after_ping { times } else { 0 }, Ordering::Relaxed);
        }
    }

    /// What was counted so far.
    pub(super) fn read(&self) -> Traffic {
        Traffic {
            received_messages: self.received_messages.load(Ordering::Relaxed),
            received_bytes: self.received_bytes.load(Ordering::Relaxed),
            sent_messages: self.sent_messages.load(Ordering::Relaxed),
            sent_bytes: self.sent_bytes.load(Ordering::Relaxed),
            ended_after_ping: self.ended_after_ping.load(Ordering::Relaxed),
        }
    }
}

fn add((messages, count): (&AtomicU64, usize), (bytes, len): (&AtomicU64, usize)) {
    messages.fetch_add(count as u64, Ordering::Relaxed);
    bytes.fetch_add(len as u64, Ordering::Relaxed);
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::core::close::Closed;

    fn closed(cause: Cause) -> Event {
        let closed = Closed {
            code: 1006,
            reason: "".into(),
            was_clean: false,
            cause,
            sent_code: None,
            status: None,
            detail: "".into(),
        };
        Event::Closed { generation: 1, closed: Box::new(closed), age: Duration::ZERO }
    }

    #[test]
    fn ends_that_follow_a_ping_before_its_pong_are_counted_while_they_come_in_a_row() {
        let counters = Counters::default();
        let pong = || Event::Pong { rtt: Duration::ZERO };
        let after = |events: &[Event]| {
            for event in events {
                counters.count(event);
            }
            counters.read().ended_after_ping
        };
        assert_eq!(after(&[Event::PingSent, closed(Cause::Reset)]), 1);
        assert_eq!(after(&[Event::PingSent, closed(Cause::Remote)]), 2);
        assert_eq!(after(&[Event::PingSent, pong(), closed(Cause::Reset)]), 0, "the pong came");
        assert_eq!(after(&[Event::PingSent, closed(Cause::Reset)]), 1);
        assert_eq!(after(&[closed(Cause::Reset)]), 0, "there was no ping");
        assert_eq!(after(&[Event::PingSent, closed(Cause::Operator)]), 0, "it was ours");
    }
}
