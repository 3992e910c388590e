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
        message::{Message, MessageId},
        outbox::Refusal,
        phase::Phase,
        receipt::{Fate, Receipt, State},
    },
    link::{Offer, Order},
    observe,
};

impl Inner {
    pub(super) async fn send(&self, send: Send) -> Result<Receipt, Refused> {
        let pod = self.pod(&send.endpoint).ok_or_else(|| Refused::NoEndpoint(send.endpoint.to_string()))?;
        let slot = choose(&pod, send.link, send.key.as_deref())?;
        if self.is_draining() {
            pod.metrics.refused(observe::Refused::Draining);
            return Err(Refused::Draining);
        }
        let durable = pod.config().link.outbox.durable;
        if durable && let Some(why) = self.spool.failure() {
            pod.metrics.refused(observe::Refused::Store);
            return Err(Refused::Store(why));
        }
        let Some(share) = self.budget.reserve(send.payload.len()) else {
            pod.metrics.refused(observe::Refused::Memory);
            return Err(Refused::Budget { used: self.budget.used(), limit: self.budget.limit() });
        };
        let id = MessageId(uuid::Uuid::now_v7().as_u128());
        let (accepted_at, now) = (SystemTime::now(), Instant::now().into_std());
        let receipt = Receipt {
            id,
            endpoint: Arc::clone(&pod.name),
            link: slot.id.index,
            state: State::Queued,
            bytes: send.payload.len() as u64,
            accepted_at,
            updated_at: accepted_at,
            generation: None,
            fate: None,
        };
        let keep = pod.config().receipts_keep;
        if let Some(first) = self.receipts.accept(receipt.clone(), keep, send.idempotency_key.as_deref()) {
            if durable {
                return self.stored(first.id, None).await.map_err(Refused::Store);
            }
            return Ok(first);
        }
        let message = Message {
            id,
            expires_at: send.ttl.and_then(|ttl| now.checked_add(ttl)),
            payload: send.payload,
            key: send.key,
            wants_confirmation: send.wants_confirmation,
            share,
        };
        let bytes = message.payload.len();
        let until = now.checked_add(send.patience).unwrap_or(now);
        // Withdrawn also when the caller goes away before there is an answer.
        let mut entry = Entry { inner: self, id, withdraw: true };
        match offer(&slot, Box::new(message), until).await {
            Ok(()) => {
                entry.withdraw = false;
                if !durable {
                    return Ok(self.receipts.get(id).unwrap_or(receipt));
                }
                self.stored(id, Some(receipt)).await.map_err(|why| {
                    entry.withdraw = true;
                    pod.metrics.refused(observe::Refused::Store);
                    Refused::Store(why)
                })
            }
            Err(None) => {
                pod.metrics.refused(observe::Refused::Draining);
                Err(Refused::Draining)
            }
            Err(Some(refusal)) => {
                pod.metrics.refused(observe::Refused::Outbox(refusal));
                Err(refused(&pod, &slot, refusal, bytes))
            }
        }
    }
}

impl Inner {
    /// Waits until the store has the message; its receipt then, or why it has not. `accepted` stands for a receipt that is no
    /// longer kept; without it, the message may as well have been refused and withdrawn by the call that brought it.
    async fn stored(&self, id: MessageId, accepted: Option<Receipt>) -> Result<Receipt, Arc<str>> {
        let receipt = self.receipts.settle(id, State::Stored, Duration::MAX).await.or(accepted);
        receipt
            .filter(|receipt| receipt.fate != Some(Fate::Disk))
            .ok_or_else(|| self.spool.refusal().unwrap_or_else(|| "the disk did not take it; look at the log".into()))
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
