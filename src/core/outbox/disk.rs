//! Messages that must be on disk before they are accepted, and before they leave.
//!
//! At least once, a message leaves when it is stored. At most once, it leaves when a note is stored, too, that its writing may
//! have begun: after a crash nobody could tell otherwise, and it would be sent twice. Both come back in order, because the
//! disk takes them in order.

use std::time::Instant;

use super::{Delivery, Disk, Ended, Held, Outbox};
use crate::{
    message::{Message, MessageId, Payload},
    receipt::{EndReason, State},
};

/// Notes asked for ahead of the stream, so that they share a write to the disk.
const AHEAD: usize = 64;

/// A message for the disk.
#[derive(Debug, Clone, PartialEq)]
pub struct Keep {
    /// Its place in the queue, to be said with the answer.
    pub place: u64,
    /// Its name.
    pub id: MessageId,
    /// What is sent.
    pub payload: Payload,
    /// Ordering and conflation key.
    pub key: Option<Box<str>>,
    /// Not sent after this moment.
    pub expires_at: Option<Instant>,
}

impl Outbox {
    /// What the disk is to keep of the message offered last, if it was accepted and is to be kept.
    pub fn keep(&self, id: MessageId) -> Option<Keep> {
        let place = self.accepted.checked_sub(1).filter(|_| self.policy.durable)?;
        let held = self.queue.get(place).filter(|held| held.message.id == id && held.disk == Disk::Storing)?;
        let message = &*held.message;
        let key = message.key().map(Into::into);
        Some(Keep { place, id, payload: message.body.clone().into_first(), key, expires_at: message.expires_at })
    }

    /// Puts a message back that the disk kept through a restart. Limits do not apply: it was accepted.
    pub fn restore(&mut self, now: Instant, message: Box<Message>) {
        self.hold(&message);
        self.queue.insert(self.accepted, Held::new(message, now, Disk::Stored));
        self.accepted += 1;
    }

    /// The message at a place is on disk.
    pub fn stored(&mut self, place: u64, id: MessageId) {
        if let Some(held) = self.queue.get_mut(place).filter(|held| held.message.id == id) {
            held.disk = Disk::Stored;
        }
    }

    /// The disk refused the message at a place: it is not accepted after all.
    pub(crate) fn not_stored(&mut self, place: u64, id: MessageId, ended: &mut Vec<Ended>) {
        if self.queue.get(place).is_some_and(|held| held.message.id == id)
            && let Some(held) = self.queue.remove(place)
        {
            self.drop_held(held, State::Dropped, EndReason::Disk, ended);
        }
    }

    /// Messages that may leave soon and are to be marked on disk first.
    pub(crate) fn take_unmarked(&mut self) -> Vec<MessageId> {
        let mut ids = Vec::new();
        if self.policy.delivery == Delivery::AtLeastOnce
            || self.queue.first().is_none_or(|held| held.disk == Disk::Free)
        {
            return ids;
        }
        for (_, held) in self.queue.iter_mut().take(AHEAD).take_while(|(_, held)| held.disk != Disk::Storing) {
            if held.disk == Disk::Stored {
                held.disk = Disk::Marking;
                ids.push(held.message.id);
            }
        }
        ids
    }

    /// These are marked on disk.
    pub fn marked(&mut self, ids: &[MessageId]) {
        for (_, held) in self.queue.iter_mut().take(AHEAD) {
            if held.disk == Disk::Marking && ids.contains(&held.message.id) {
                held.disk = Disk::Marked;
            }
        }
    }

    /// Whether the disk has what it must have before this message leaves.
    pub(super) fn disk_allows(&self, held: &Held) -> bool {
        match held.disk {
            Disk::Free | Disk::Marked => true,
            Disk::Stored => self.policy.delivery == Delivery::AtLeastOnce,
            Disk::Storing | Disk::Marking => false,
        }
    }
}
