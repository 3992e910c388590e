//! What has gone over a link's connections, counted since the link was made.
//!
//! The link's task alone adds, and readers take no lock: the four numbers of one reading may be a message apart.

use std::sync::atomic::{AtomicU64, Ordering};

use super::view::Traffic;
use crate::core::{event::Event, message::Payload};

/// The counters of one link.
#[derive(Debug, Default)]
pub(super) struct Counters {
    received_messages: AtomicU64,
    received_bytes: AtomicU64,
    sent_messages: AtomicU64,
    sent_bytes: AtomicU64,
}

impl Counters {
    /// Counts messages received or written.
    pub(super) fn count(&self, event: &Event) {
        match event {
            Event::Messages { payloads, .. } => {
                let bytes = payloads.iter().map(Payload::len).sum();
                add((&self.received_messages, payloads.len()), (&self.received_bytes, bytes));
            }
            Event::Written(sent) => {
                let bytes = sent.iter().map(|sent| sent.bytes).sum();
                add((&self.sent_messages, sent.len()), (&self.sent_bytes, bytes));
            }
            Event::Phase { .. }
            | Event::Dialing { .. }
            | Event::DialFailed(_)
            | Event::Rotating { .. }
            | Event::RotateFailed { .. }
            | Event::Rotated { .. }
            | Event::Opened { .. }
            | Event::Closed { .. }
            | Event::Receipts { .. }
            | Event::PingSent
            | Event::Pong { .. }
            | Event::HeartbeatTimeout { .. }
            | Event::Injected { .. }
            | Event::Panicked { .. } => {}
        }
    }

    /// What was counted so far.
    pub(super) fn read(&self) -> Traffic {
        Traffic {
            received_messages: self.received_messages.load(Ordering::Relaxed),
            received_bytes: self.received_bytes.load(Ordering::Relaxed),
            sent_messages: self.sent_messages.load(Ordering::Relaxed),
            sent_bytes: self.sent_bytes.load(Ordering::Relaxed),
        }
    }
}

fn add((messages, count): (&AtomicU64, usize), (bytes, len): (&AtomicU64, usize)) {
    messages.fetch_add(count as u64, Ordering::Relaxed);
    bytes.fetch_add(len as u64, Ordering::Relaxed);
}
