//! The way out: which link takes a message, and how it comes to be accepted.
//!
//! The receipt is entered *before* the link is asked, so that no state of the message can come before its receipt; a
//! refusal takes it out again.

use std::{
    collections::VecDeque,
    hash::{DefaultHasher, Hash, Hasher},
    mem,
    pin::pin,
    sync::Arc,
    time::{Duration, SystemTime},
};

use futures_util::FutureExt;
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
    link::{self, Offer, Order, Stop},
    observe,
};

/// A send on its way to its link.
struct Posted<'a> {
    pod: Arc<Pod>,
    slot: Arc<Slot>,
    receipt: Receipt,
    bytes: usize,
    /// `None`: a repeat, whose first message has been offered already.
    asked: Option<(Entry<'a>, oneshot::Receiver<Result<(), Refusal>>)>,
}

impl Inner {
    pub(super) async fn send(&self, send: Send) -> Result<Receipt, Refused> {
        let (posted, offer) = self.post(send, Instant::now())?;
        if let Some(offer) = offer {
            hand_over(&posted.slot, vec![offer], Stop::Never).await;
        }
        let accepted = self.offered(posted).await?;
        self.stored(accepted).await
    }

    /// Sends several, in order, asking each link once for all that follow each other, and tells what became of `each`, in order.
    pub(super) async fn send_all(&self, sends: Vec<Send>, stop: Stop, mut each: impl FnMut(Result<Receipt, Refused>)) {
        let mut told = Told { inner: self, each: &mut each, accepted: Vec::new() };
        // The patience of all of them ends at the same moment, so that none is let in behind one whose patience is over.
        let now = Instant::now();
        let mut sends = sends.into_iter().map(|send| self.post(send, now)).peekable();
        let mut is_over = false;
        while !is_over && let Some(first) = sends.next() {
            let (first, offer) = match first {
                Ok(posted) => posted,
                Err(refused) => {
                    is_over = refused.ends(stop);
                    told.outcome(Err(refused));
                    continue;
                }
            };
            let slot = Arc::clone(&first.slot);
            let (mut run, mut offers) = (VecDeque::from([first]), Vec::from_iter(offer));
            let follows = |next: &Result<(Posted<'_>, _), _>| {
                next.as_ref().is_ok_and(|(posted, _)| Arc::ptr_eq(&posted.slot, &slot))
            };
            while let Some(Ok((posted, offer))) = sends.next_if(follows) {
                run.push_back(posted);
                offers.extend(offer);
            }
            hand_over(&slot, offers, stop).await;
            let mut is_first = true;
            while !is_over && let Some(posted) = run.pop_front() {
                let mut offered = pin!(self.offered(posted));
                let outcome = if let Some(outcome) = offered.as_mut().now_or_never() {
                    outcome
                } else {
                    // It waits for room, and those before it need not wait with it.
                    if !mem::take(&mut is_first) {
                        told.all().await;
                    }
                    offered.await
                };
                is_over = outcome.as_ref().is_err_and(|refused| refused.ends(stop));
                told.outcome(outcome);
            }
        }
        told.all().await;
    }

    /// Chooses the link and enters the receipt.
    fn post(&self, send: Send, now: Instant) -> Result<(Posted<'_>, Option<Offer>), Refused> {
        let pod = self.pod(&send.endpoint).ok_or_else(|| Refused::NoEndpoint(send.endpoint.to_string()))?;
        let slot = choose(&pod, send.link, send.key.as_deref())
            // At the end of a stop there are no links left: that is not the caller's mistake.
            .map_err(|none| if self.is_draining() { Refused::Draining } else { none })
            .inspect_err(|refused| count(&pod, refused))?;
        let bytes = send.payload.len();
        // The outbox would say so too, but only when its turn has come.
        if bytes > pod.config().link.outbox.max_message {
            pod.metrics.refused(observe::Refused::Outbox(Refusal::TooBig));
            return Err(refused(&pod, &slot, Refusal::TooBig, bytes));
        }
        let share = self.admit(&pod, bytes).inspect_err(|refused| count(&pod, refused))?;
        let receipt = receipt(&slot, &send.payload);
        let (keep, key) = (pod.config().receipts_keep, send.idempotency_key.as_deref());
        if let Some(first) = self.receipts.accept(receipt.clone(), keep, key) {
            return Ok((Posted { pod, slot, receipt: first, bytes, asked: None }, None));
        }
        let (id, now) = (receipt.id, now.into_std());
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
        let (reply, answer) = oneshot::channel();
        let entry = Entry { inner: self, id, withdraw: true };
        let posted = Posted { pod, slot, receipt, bytes, asked: Some((entry, answer)) };
        Ok((posted, Some(Offer { message: Box::new(message), until, reply })))
    }

    /// Waits for the link's answer.
    async fn offered<'a>(&'a self, posted: Posted<'a>) -> Result<Accepted<'a>, Refused> {
        let Posted { pod, slot, receipt, bytes, asked } = posted;
        let Some((mut entry, answer)) = asked else { return Ok(Accepted { pod, receipt, entry: None }) };
        match answer.await {
            Ok(Ok(())) => {
                entry.withdraw = false;
                Ok(Accepted { pod, receipt, entry: Some(entry) })
            }
            Ok(Err(refusal)) => {
                pod.metrics.refused(observe::Refused::Outbox(refusal));
                Err(refused(&pod, &slot, refusal, bytes))
            }
            // The link's task has ended.
            Err(_) => Err(Refused::Draining).inspect_err(|refused| count(&pod, refused)),
        }
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
    async fn stored(&self, accepted: Accepted<'_>) -> Result<Receipt, Refused> {
        if !accepted.is_durable() {
            return Ok(self.taken(accepted.receipt));
        }
        let Accepted { pod, receipt, entry } = accepted;
        let id = receipt.id;
        // Without an entry, the message may as well have been refused and withdrawn by the call that brought it.
        let known = entry.is_some().then_some(receipt);
        let receipt = self.receipts.settle(id, State::Stored, Duration::MAX).await.or(known);
        if let Some(receipt) = receipt.filter(|receipt| receipt.fate != Some(Fate::Disk)) {
            return Ok(receipt);
        }
        if let Some(mut entry) = entry {
            entry.withdraw = true;
        }
        let unknown = || "the disk did not take it; look at the log".into();
        let refused = Refused::Store(self.spool.refusal().unwrap_or_else(unknown));
        count(&pod, &refused);
        Err(refused)
    }

    /// The receipt as it is by now, for it may have moved on already.
    fn taken(&self, receipt: Receipt) -> Receipt {
        self.receipts.get(receipt.id).unwrap_or(receipt)
    }
}

/// Tells outcomes in order; what the disk is yet to take is told when it has.
struct Told<'a, F> {
    inner: &'a Inner,
    each: &'a mut F,
    accepted: Vec<Result<Accepted<'a>, Refused>>,
}

impl<'a, F: FnMut(Result<Receipt, Refused>)> Told<'a, F> {
    fn outcome(&mut self, outcome: Result<Accepted<'a>, Refused>) {
        match outcome {
            Ok(accepted) if self.accepted.is_empty() && !accepted.is_durable() => {
                (self.each)(Ok(self.inner.taken(accepted.receipt)));
            }
            Err(refused) if self.accepted.is_empty() => (self.each)(Err(refused)),
            outcome => self.accepted.push(outcome),
        }
    }

    async fn all(&mut self) {
        for outcome in mem::take(&mut self.accepted) {
            (self.each)(match outcome {
                Ok(accepted) => self.inner.stored(accepted).await,
                Err(refused) => Err(refused),
            });
        }
    }
}

/// A message that its link has taken.
struct Accepted<'a> {
    pod: Arc<Pod>,
    receipt: Receipt,
    entry: Option<Entry<'a>>,
}

impl Accepted<'_> {
    fn is_durable(&self) -> bool {
        self.pod.config().link.outbox.durable
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

impl Refused {
    /// Whether it is one of all that stand behind the message.
    fn ends(&self, stop: Stop) -> bool {
        match stop {
            Stop::Never => false,
            Stop::WhenFull => self.is_full(),
            Stop::WhenRefused => true,
        }
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

/// Hands messages to their link. One whose task has ended drops them, and with them the replies.
async fn hand_over(slot: &Slot, offers: Vec<Offer>, stop: Stop) {
    if !offers.is_empty() {
        let _ = slot.orders.send(Box::new(Order::Offers { offers, stop })).await;
    }
}

/// The link asked for, or the one of the key, or the ready one with the least bufferedAmount.
fn choose(pod: &Pod, link: Option<u32>, key: Option<&str>) -> Result<Arc<Slot>, Refused> {
    let links = pod.links();
    let slot = match (link, key) {
        (Some(index), _) => pod.slot(index),
        (None, Some(key)) => key_hash(key)
            .checked_rem(u64::from(links))
            .and_then(|place| u32::try_from(place).ok())
            .and_then(|place| pod.slot(place)),
        (None, None) => pod.slot_with_least(|load| (rank(load.phase), load.buffered_amount)),
    };
    slot.ok_or_else(|| Refused::NoLink { endpoint: pod.name.to_string(), links })
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
