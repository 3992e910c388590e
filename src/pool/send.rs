//! The way out: which link takes a message, and how it comes to be accepted.
//!
//! The receipt is entered *before* the link is asked, so that no state of the message can come before its receipt; a
//! refusal takes it out again.

use std::{
    hash::{DefaultHasher, Hash, Hasher},
    sync::Arc,
    time::{Duration, SystemTime},
};

use tokio::{sync::oneshot, time::Instant};

use super::{Inner, Pod, Refused, Send, Slot};
use crate::{
    core::{
        budget::Share,
        message::{Message, MessageId, Payload},
        outbox::Refusal,
        phase::Phase,
        receipt::{Fate, Receipt, State},
    },
    link::{self, Offer, Order},
    observe,
};

impl Inner {
    pub(super) async fn send(&self, send: Send) -> Result<Receipt, Refused> {
        let pod = self.pod(&send.endpoint).ok_or_else(|| Refused::NoEndpoint(send.endpoint.to_string()))?;
        let slot = choose(&pod, send.link, send.key.as_deref())?;
        let share = self.admit(&pod, send.payload.len()).inspect_err(|refused| count(&pod, refused))?;
        let receipt = receipt(&slot, &send.payload);
        let (keep, key) = (pod.config().receipts_keep, send.idempotency_key.as_deref());
        if let Some(first) = self.receipts.accept(receipt.clone(), keep, key) {
            return self.accepted(&pod, first).await;
        }
        let (id, bytes, now) = (receipt.id, send.payload.len(), Instant::now().into_std());
        let ack = ack_key(&pod, &send.payload);
        let message = Message {
            id,
            expires_at: send.ttl.and_then(|ttl| now.checked_add(ttl)),
            payload: send.payload,
            key: send.key,
            wants_confirmation: send.wants_confirmation,
            ack,
            share,
        };
        let until = now.checked_add(send.patience).unwrap_or(now);
        // Withdrawn also when the caller goes away before there is an answer.
        let mut entry = Entry { inner: self, id, withdraw: true };
        let offered = offer(&slot, Box::new(message), until).await;
        entry.withdraw = offered.is_err();
        let outcome = match offered {
            Ok(()) => self.accepted(&pod, receipt).await,
            Err(None) => Err(Refused::Draining),
            Err(Some(refusal)) => {
                pod.metrics.refused(observe::Refused::Outbox(refusal));
                return Err(refused(&pod, &slot, refusal, bytes));
            }
        };
        entry.withdraw = outcome.is_err();
        outcome.inspect_err(|refused| count(&pod, refused))
    }

    /// Whether the daemon can take so many bytes for this endpoint now; the share of its memory that they get.
    fn admit(&self, pod: &Pod, bytes: usize) -> Result<Share, Refused> {
        if self.is_draining() {
            return Err(Refused::Draining);
        }
        if pod.config().link.outbox.durable
            && let Some(why) = self.spool.closed()
        {
            return Err(Refused::Store(why));
        }
        let full = || Refused::Budget { used: self.budget.used(), limit: self.budget.limit() };
        self.budget.reserve(bytes).ok_or_else(full)
    }

    /// The link has taken the message; a durable one is accepted when the store has it, too.
    async fn accepted(&self, pod: &Pod, receipt: Receipt) -> Result<Receipt, Refused> {
        let id = receipt.id;
        if !pod.config().link.outbox.durable {
            return Ok(self.receipts.get(id).unwrap_or(receipt));
        }
        let receipt = self.receipts.settle(id, State::Stored, Duration::MAX).await.unwrap_or(receipt);
        if receipt.fate == Some(Fate::Disk) {
            let unknown = || "the disk did not take it; look at the log".into();
            return Err(Refused::Store(self.spool.failure().unwrap_or_else(unknown)));
        }
        Ok(receipt)
    }
}

/// The key by which the peer's application will acknowledge the message.
pub(super) fn ack_key(pod: &Pod, payload: &Payload) -> Option<Box<str>> {
    link::ack::key(payload, &pod.config().link.outbox.ack.as_ref()?.outgoing)
}

fn receipt(slot: &Slot, payload: &Payload) -> Receipt {
    let accepted_at = SystemTime::now();
    Receipt {
        id: MessageId(uuid::Uuid::now_v7().as_u128()),
        endpoint: Arc::clone(&slot.id.endpoint),
        link: slot.id.index,
        state: State::Queued,
        bytes: payload.len() as u64,
        accepted_at,
        updated_at: accepted_at,
        generation: None,
        fate: None,
    }
}

/// Counts a refusal that is not the outbox's.
fn count(pod: &Pod, refused: &Refused) {
    match refused {
        Refused::Draining => pod.metrics.refused(observe::Refused::Draining),
        Refused::Store(_) => pod.metrics.refused(observe::Refused::Store),
        Refused::Budget { .. } => pod.metrics.refused(observe::Refused::Memory),
        // The caller's mistake, or told by the outbox.
        Refused::NoEndpoint(_)
        | Refused::NoLink { .. }
        | Refused::TooBig { .. }
        | Refused::Full { .. }
        | Refused::Down { .. } => {}
    }
}

/// An entered receipt, taken out again unless the message is accepted.
struct Entry<'a> {
    inner: &'a Inner,
    id: MessageId,
    withdraw: bool,
}

impl Drop for Entry<'_> {
    fn drop(&mut self) {
        if self.withdraw {
            self.inner.receipts.withdraw(self.id);
        }
    }
}

/// Asks the link; `None`: its task has ended.
async fn offer(slot: &Slot, message: Box<Message>, until: std::time::Instant) -> Result<(), Option<Refusal>> {
    let (reply, answer) = oneshot::channel();
    slot.orders.send(Box::new(Order::Offer(Offer { message, until, reply }))).await.map_err(|_| None)?;
    answer.await.map_err(|_| None)?.map_err(Some)
}

/// The link asked for, or the one of the key, or the ready one with the least bufferedAmount.
fn choose(pod: &Pod, link: Option<u32>, key: Option<&str>) -> Result<Arc<Slot>, Refused> {
    let slots = pod.slots();
    let links = u32::try_from(slots.len()).unwrap_or(u32::MAX);
    let none = || Refused::NoLink { endpoint: pod.name.to_string(), links };
    if let Some(index) = link {
        return slots.into_iter().find(|slot| slot.id.index == index).ok_or_else(none);
    }
    if let Some(key) = key {
        let place = key_hash(key).checked_rem(u64::from(links)).ok_or_else(none)?;
        return slots.into_iter().nth(usize::try_from(place).unwrap_or_default()).ok_or_else(none);
    }
    slots
        .into_iter()
        .min_by_key(|slot| {
            let load = slot.load();
            (rank(load.phase), load.buffered_amount)
        })
        .ok_or_else(none)
}

/// Ready links come first, those on the way to it next, those at rest last.
fn rank(phase: Phase) -> u8 {
    match phase {
        Phase::Ready => 0,
        Phase::Opening | Phase::Connecting | Phase::Waiting | Phase::Closing => 1,
        Phase::Parked | Phase::Paused => 2,
    }
}

/// The same for the same key in every run: `DefaultHasher::new` has fixed keys.
fn key_hash(key: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    key.hash(&mut hasher);
    hasher.finish()
}

fn refused(pod: &Pod, slot: &Slot, refusal: Refusal, bytes: usize) -> Refused {
    let config = pod.config();
    let policy = &config.link.outbox;
    let load = slot.load();
    match refusal {
        Refusal::TooBig => Refused::TooBig { bytes, limit: policy.max_message },
        Refusal::Down => Refused::Down { link: slot.id.to_string(), phase: load.phase },
        Refusal::Full | Refusal::Wait => Refused::Full {
            link: slot.id.to_string(),
            messages: usize::try_from(load.queued_messages).unwrap_or(usize::MAX),
            bytes: load.buffered_amount,
            max_messages: policy.max_messages,
            max_bytes: policy.max_bytes,
        },
    }
}
