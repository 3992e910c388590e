//! The way out: which link takes a message, and how it comes to be accepted.
//!
//! The receipt is entered *before* the link is asked, so that no state of the message can come before its receipt; a
//! refusal takes it out again.

use std::{
    hash::{DefaultHasher, Hash, Hasher},
    iter::Peekable,
    mem,
    sync::Arc,
    time::{Duration, SystemTime},
    vec,
};

use tokio::{sync::oneshot, time::Instant};

use super::{Inner, Pod, Refused, Send, Slot};
use crate::{
    config::Endpoint,
    core::{
        budget::Share,
        message::{Extras, Message, MessageId, Payload},
        outbox::Refusal,
        phase::Phase,
        receipt::{Fate, Receipt, State},
    },
    link::{self, Offer, Offered, Order, Stop},
    observe,
};

/// Where messages go.
struct Way {
    pod: Arc<Pod>,
    config: Arc<Endpoint>,
    slot: Arc<Slot>,
    /// What the first of them asked for.
    link: Option<u32>,
    is_keyed: bool,
}

/// Messages that go one way, their receipts entered.
struct Run<'a> {
    posted: Vec<Posted<'a>>,
    offers: Vec<Offer>,
    /// Why the one behind them is not among them, where it was refused at once.
    refused: Option<Refused>,
}

struct Posted<'a> {
    receipt: Receipt,
    /// `None`: a repeat, whose first message has been offered already.
    entry: Option<Entry<'a>>,
}

impl Inner {
    pub(super) async fn send(&self, send: Send) -> Result<Receipt, Refused> {
        let mut told = None;
        self.send_all(vec![send], Stop::Never, |outcome| told = Some(outcome)).await;
        // Where nothing stops it, each is told of.
        told.unwrap_or(Err(Refused::Draining))
    }

    /// Sends several, in order, asking each link once for all that follow each other, and tells what became of `each`, in order,
    /// up to the one at which it is to stop.
    pub(super) async fn send_all(&self, sends: Vec<Send>, stop: Stop, mut each: impl FnMut(Result<Receipt, Refused>)) {
        let mut told = Told { inner: self, each: &mut each, accepted: Vec::new(), stop, is_over: false };
        // The patience of all of them ends at the same moment, so that none is let in behind one whose patience is over.
        let now = Instant::now();
        let mut sends = sends.into_iter().peekable();
        while !told.is_over
            && let Some(first) = sends.next()
        {
            let way = match self.way(&first) {
                Ok(way) => way,
                Err(refused) => {
                    told.outcome(Err(refused));
                    continue;
                }
            };
            let Run { posted, offers, refused } = self.post(&way, first, &mut sends, now);
            let mut offered = hand_over(&way.slot, offers, stop).await.into_iter();
            for posted in posted {
                // What stands behind the last is not accepted, and its receipt goes with it.
                if !told.is_over {
                    let is_repeat = posted.entry.is_none();
                    let answer = if is_repeat { Some(Ok(())) } else { told.answer(offered.next()).await };
                    told.outcome(way.outcome(posted, answer));
                }
            }
            if let Some(refused) = refused.filter(|_| !told.is_over) {
                told.outcome(Err(refused));
            }
        }
        told.all().await;
    }

    /// Chooses the link.
    fn way(&self, send: &Send) -> Result<Way, Refused> {
        let pod = self.pod(&send.endpoint).ok_or_else(|| Refused::NoEndpoint(send.endpoint.to_string()))?;
        let slot = choose(&pod, send.link, send.key.as_deref())
            // At the end of a stop there are no links left: that is not the caller's mistake.
            .map_err(|none| if self.is_draining() { Refused::Draining } else { none })
            .inspect_err(|refused| count(&pod, refused))?;
        Ok(Way { config: pod.config(), pod, slot, link: send.link, is_keyed: send.key.is_some() })
    }

    /// Enters the receipts of the messages that go the same way.
    fn post(&self, way: &Way, first: Send, rest: &mut Peekable<vec::IntoIter<Send>>, now: Instant) -> Run<'_> {
        let mut run = Run { posted: Vec::new(), offers: Vec::new(), refused: None };
        let mut prepared = Vec::with_capacity(1 + rest.len());
        let wall = SystemTime::now();
        let mut next = Some(first);
        while let Some(mut send) = next {
            let key = send.idempotency_key.take();
            match self.prepare(way, send, now.into_std(), wall) {
                Ok((receipt, offer)) => prepared.push((receipt, key, offer)),
                Err(refused) => {
                    run.refused = Some(refused);
                    break;
                }
            }
            next = rest.next_if(|send| way.is_of(send));
        }
        let mut receipts = self.receipts.entering();
        for (receipt, key, offer) in prepared {
            let id = receipt.id;
            let first = receipts.enter(receipt.clone(), way.config.receipts_keep, key.as_deref());
            let entry = first.is_none().then(|| {
                run.offers.push(offer);
                Entry { inner: self, id, withdraw: true }
            });
            run.posted.push(Posted { receipt: first.unwrap_or(receipt), entry });
        }
        run
    }

    fn prepare(
        &self,
        way: &Way,
        send: Send,
        now: std::time::Instant,
        wall: SystemTime,
    ) -> Result<(Receipt, Offer), Refused> {
        let bytes = send.payload.len();
        // The outbox would say so too, but only when its turn has come.
        if bytes > way.config.link.outbox.max_message {
            way.pod.metrics.refused(observe::Refused::Outbox(Refusal::TooBig));
            return Err(way.refused(Refusal::TooBig, bytes));
        }
        let share = self.admit(way, bytes).inspect_err(|refused| count(&way.pod, refused))?;
        let receipt = receipt(&way.slot, &send.payload, wall);
        let ack = ack_key(&way.config, &send.payload);
        let extras = Extras { key: send.key, ack, wants_confirmation: send.wants_confirmation };
        let message = Message {
            id: receipt.id,
            expires_at: send.ttl.and_then(|ttl| now.checked_add(ttl)),
            extras: extras.boxed(),
            payload: send.payload,
            share,
        };
        let until = now.checked_add(send.patience).unwrap_or(now);
        Ok((receipt, Offer { message: Box::new(message), until }))
    }

    /// Whether the daemon can take so many bytes for this endpoint now; the share of its memory that they get.
    fn admit(&self, way: &Way, bytes: usize) -> Result<Share, Refused> {
        if self.is_draining() {
            return Err(Refused::Draining);
        }
        if way.config.link.outbox.durable
            && let Some(why) = self.spool.closed()
        {
            return Err(Refused::Store(why));
        }
        let full = || Refused::Budget { used: self.budget.used(), limit: self.budget.limit() };
        self.budget.reserve(bytes).ok_or_else(full)
    }

    /// The link has taken the message; a durable one is accepted when the store has it, too.
    async fn stored(&self, accepted: Accepted<'_>) -> Result<Receipt, Refused> {
        let Accepted { receipt, entry, stores } = accepted;
        let Some(pod) = stores else { return Ok(self.taken(receipt)) };
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

impl Way {
    /// Whether the message goes the same way.
    fn is_of(&self, send: &Send) -> bool {
        send.endpoint == self.pod.name
            && match &send.key {
                None if !self.is_keyed => send.link == self.link,
                key => choose(&self.pod, send.link, key.as_deref()).is_ok_and(|slot| Arc::ptr_eq(&slot, &self.slot)),
            }
    }

    /// What became of a message, by the link's answer; none: its task has ended.
    fn outcome<'a>(&self, posted: Posted<'a>, answer: Option<Result<(), Refusal>>) -> Result<Accepted<'a>, Refused> {
        let Posted { receipt, mut entry } = posted;
        match answer {
            Some(Ok(())) => {
                if let Some(entry) = &mut entry {
                    entry.withdraw = false;
                }
                let stores = self.config.link.outbox.durable.then(|| Arc::clone(&self.pod));
                Ok(Accepted { receipt, entry, stores })
            }
            Some(Err(refusal)) => {
                self.pod.metrics.refused(observe::Refused::Outbox(refusal));
                Err(self.refused(refusal, usize::try_from(receipt.bytes).unwrap_or(usize::MAX)))
            }
            None => Err(Refused::Draining).inspect_err(|refused| count(&self.pod, refused)),
        }
    }

    fn refused(&self, refusal: Refusal, bytes: usize) -> Refused {
        let policy = &self.config.link.outbox;
        let load = self.slot.load();
        match refusal {
            Refusal::TooBig => Refused::TooBig { bytes, limit: policy.max_message },
            Refusal::Down => Refused::Down { link: self.slot.id.to_string(), phase: load.phase },
            Refusal::Full | Refusal::Wait => Refused::Full {
                link: self.slot.id.to_string(),
                messages: usize::try_from(load.queued_messages).unwrap_or(usize::MAX),
                bytes: load.buffered_amount,
                max_messages: policy.max_messages,
                max_bytes: policy.max_bytes,
            },
        }
    }
}

/// Tells outcomes in order; what the disk is yet to take is told when it has.
struct Told<'a, F> {
    inner: &'a Inner,
    each: &'a mut F,
    accepted: Vec<Result<Accepted<'a>, Refused>>,
    stop: Stop,
    /// The one that was told last is the last to be told.
    is_over: bool,
}

impl<'a, F: FnMut(Result<Receipt, Refused>)> Told<'a, F> {
    /// The link's answer; where the message waits for room, those before it need not wait with it.
    async fn answer(&mut self, offered: Option<Offered>) -> Option<Result<(), Refusal>> {
        match offered? {
            Offered::Decided(answer) => Some(answer),
            Offered::Waits(answer) => {
                self.all().await;
                answer.await.ok()
            }
        }
    }

    fn outcome(&mut self, outcome: Result<Accepted<'a>, Refused>) {
        self.is_over = outcome.as_ref().is_err_and(|refused| refused.ends(self.stop));
        match outcome {
            Ok(Accepted { receipt, stores: None, .. }) if self.accepted.is_empty() => {
                (self.each)(Ok(self.inner.taken(receipt)));
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
    receipt: Receipt,
    entry: Option<Entry<'a>>,
    /// Whose store is to have it, too.
    stores: Option<Arc<Pod>>,
}

/// The key by which the peer's application will acknowledge the message.
pub(super) fn ack_key(config: &Endpoint, payload: &Payload) -> Option<Box<str>> {
    link::ack::key(payload, &config.link.outbox.ack.as_ref()?.outgoing)
}

fn receipt(slot: &Slot, payload: &Payload, accepted_at: SystemTime) -> Receipt {
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

/// Hands messages to their link; answers with what became of each. One whose task has ended drops them, and there is no answer.
async fn hand_over(slot: &Slot, offers: Vec<Offer>, stop: Stop) -> Vec<Offered> {
    if offers.is_empty() {
        return Vec::new();
    }
    let (reply, answer) = oneshot::channel();
    match slot.orders.send(Box::new(Order::Offers { offers, stop, reply })).await {
        Ok(()) => answer.await.unwrap_or_default(),
        Err(_) => Vec::new(),
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
