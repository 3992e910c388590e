//! The way out: which link takes a message, and how it comes to be accepted.
//!
//! The receipt is entered *before* the link is asked, so that no state of the message can come before its receipt; a
//! refusal takes it out again. What a reader would get wrong: nothing here decides. The link's task and the disk do, and tell
//! the receipts; so a caller may go at any moment, and who repeats its idempotency key hears the same verdict.

use std::{
    hash::{DefaultHasher, Hash, Hasher},
    iter::Peekable,
    mem,
    pin::Pin,
    sync::Arc,
    time::{Duration, SystemTime},
    vec,
};

use tokio::{sync::oneshot, time::Instant};

use super::{
    Inner, Pod, Refused, Send, Slot,
    receipts::{Entered, Entering, Hearing, Verdict},
};
use crate::{
    config::Endpoint,
    core::{
        budget::Share,
        message::{Extras, Message, MessageId, Payload},
        outbox::Refusal,
        phase::Phase,
        receipt::{Receipt, State},
    },
    link::{self, Judge, Offer, Offered, Order, Pledge, Stop},
    observe,
};

/// What is kept beside a payload: the message's own fields, its places in queues, its receipt.
const BESIDE: usize = 256;

/// Where messages go.
#[derive(Clone)]
struct Way {
    pod: Arc<Pod>,
    config: Arc<Endpoint>,
    slot: Arc<Slot>,
    /// What the first of them asked for.
    link: Option<u32>,
    is_keyed: bool,
}

/// Messages that go one way, their receipts entered.
#[derive(Default)]
struct Run {
    posted: Vec<Posted>,
    offers: Vec<Offer>,
    /// Why the one behind them is not among them, where it was refused at once.
    refused: Option<Refused>,
}

/// A message whose receipt is to be entered.
enum Prepared {
    /// In `repeat` what it was made of, where it has an idempotency key.
    New { receipt: Receipt, message: Box<Message>, until: std::time::Instant, repeat: Option<Box<Send>> },
    /// Its idempotency key has a message already.
    Known(Box<Send>),
}

enum Posted {
    First { receipt: Receipt, hearing: Option<Hearing> },
    Repeat(Repeat),
}

/// A message whose idempotency key has had one before.
struct Repeat {
    /// That one, and where its verdict is heard if it is still to come. `None`: it was refused a moment ago.
    first: Option<(Receipt, Option<Hearing>)>,
    /// What is sent where the first one is never tried.
    send: Box<Send>,
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
                // What stands behind the last is not accepted: its link has been told so, too.
                if told.is_over {
                    break;
                }
                match posted {
                    Posted::First { receipt, hearing } => {
                        let answer = told.answer(offered.next()).await;
                        told.outcome(way.outcome(receipt, hearing, answer));
                    }
                    Posted::Repeat(repeat) => told.outcome(Ok(Accepted::Before { repeat, way: way.clone(), now })),
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
    fn post(&self, way: &Way, first: Send, rest: &mut Peekable<vec::IntoIter<Send>>, now: Instant) -> Run {
        let mut run = Run::default();
        let mut prepared = Vec::with_capacity(1 + rest.len());
        let wall = SystemTime::now();
        let mut next = Some(first);
        while let Some(send) = next {
            let one = if self.is_known(way, &send, &prepared) {
                Ok(Prepared::Known(Box::new(send)))
            } else {
                self.prepare(way, send, now.into_std(), wall)
            };
            match one {
                Ok(one) => prepared.push(one),
                Err(refused) => {
                    run.refused = Some(refused);
                    break;
                }
            }
            next = rest.next_if(|send| way.is_of(send));
        }
        let mut receipts = self.receipts.entering();
        for one in prepared {
            run.enter(way, one, &mut receipts);
        }
        run
    }

    /// Whether the idempotency key of a message has one already, or one that is about to be entered.
    fn is_known(&self, way: &Way, send: &Send, before: &[Prepared]) -> bool {
        send.idempotency_key.as_deref().is_some_and(|key| {
            before.iter().any(|one| one.key() == Some(key)) || self.receipts.first_of(&way.pod.name, key).is_some()
        })
    }

    fn prepare(&self, way: &Way, send: Send, now: std::time::Instant, wall: SystemTime) -> Result<Prepared, Refused> {
        let bytes = send.payload.len();
        // The outbox would say so too, but only when its turn has come.
        if bytes > way.config.link.outbox.max_message {
            way.pod.metrics.refused(observe::Refused::Outbox(Refusal::TooBig));
            return Err(way.refused(Refusal::TooBig, bytes));
        }
        let share = self
            .admit(way, cost(&send.payload, send.key.as_deref()))
            .inspect_err(|refused| count(&way.pod, refused))?;
        let receipt = receipt(&way.slot, &send.payload, wall);
        let repeat = send.idempotency_key.is_some().then(|| Box::new(send.clone()));
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
        Ok(Prepared::New { receipt, message: Box::new(message), until, repeat })
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

    /// What a caller is told in the end.
    async fn heard(&self, accepted: Accepted) -> Result<Receipt, Refused> {
        match accepted {
            Accepted::Now { receipt, hearing: None }
            | Accepted::Before { repeat: Repeat { first: Some((receipt, None)), .. }, .. } => Ok(self.taken(receipt)),
            Accepted::Now { receipt, hearing: Some((hearing, way)) } => match verdict(hearing).await {
                Some(verdict) => self.told(&way, receipt, verdict).await,
                None => Err(Refused::Draining).inspect_err(|refused| count(&way.pod, refused)),
            },
            Accepted::Before { repeat: Repeat { first: None, send }, .. } => self.send_anew(*send).await,
            Accepted::Before { repeat: Repeat { first: Some((receipt, Some(hearing))), mut send }, way, now } => {
                let until = now.checked_add(send.patience).unwrap_or(now);
                match tokio::time::timeout_at(until, verdict(hearing)).await {
                    Ok(Some(verdict)) => self.told(&way, receipt, verdict).await,
                    Ok(None) => {
                        send.patience = until.saturating_duration_since(Instant::now());
                        self.send_anew(*send).await
                    }
                    Err(_) => Err(Refused::Undecided),
                }
            }
        }
    }

    /// A repeat whose first message was never tried is the first. In a box: it is what it is a part of.
    fn send_anew(
        &self,
        send: Send,
    ) -> Pin<Box<dyn Future<Output = Result<Receipt, Refused>> + std::marker::Send + '_>> {
        Box::pin(self.send(send))
    }

    async fn told(&self, way: &Way, receipt: Receipt, verdict: Verdict) -> Result<Receipt, Refused> {
        match verdict {
            // One that ended at once is shown when the disk knows of it.
            Verdict::Accepted if way.config.link.outbox.durable => {
                Ok(self.receipts.settle(receipt.id, State::Stored, Duration::MAX).await.unwrap_or(receipt))
            }
            Verdict::Accepted => Ok(self.taken(receipt)),
            Verdict::Refused(refusal) => Err(way.turned_away(&receipt, refusal)),
            Verdict::NotStored(why) => Err(Refused::Store(why)).inspect_err(|refused| count(&way.pod, refused)),
        }
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
    fn outcome(
        &self,
        receipt: Receipt,
        hearing: Option<Hearing>,
        answer: Option<Result<(), Refusal>>,
    ) -> Result<Accepted, Refused> {
        match answer {
            Some(Ok(())) => {
                let hearing = hearing.filter(|_| self.config.link.outbox.durable);
                Ok(Accepted::Now { receipt, hearing: hearing.map(|hearing| (hearing, self.clone())) })
            }
            Some(Err(refusal)) => Err(self.turned_away(&receipt, refusal)),
            None => Err(Refused::Draining).inspect_err(|refused| count(&self.pod, refused)),
        }
    }

    /// The outbox's refusal, counted.
    fn turned_away(&self, receipt: &Receipt, refusal: Refusal) -> Refused {
        self.pod.metrics.refused(observe::Refused::Outbox(refusal));
        self.refused(refusal, usize::try_from(receipt.bytes).unwrap_or(usize::MAX))
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

impl Prepared {
    fn key(&self) -> Option<&str> {
        match self {
            Self::New { repeat, .. } => repeat.as_ref()?.idempotency_key.as_deref(),
            Self::Known(send) => send.idempotency_key.as_deref(),
        }
    }
}

impl Run {
    fn enter(&mut self, way: &Way, one: Prepared, receipts: &mut Entering<'_>) {
        let (receipt, message, until, repeat) = match one {
            Prepared::New { receipt, message, until, repeat } => (receipt, message, until, repeat),
            Prepared::Known(send) => {
                let first = send.idempotency_key.as_deref().and_then(|key| receipts.first_of(&way.pod.name, key));
                return self.posted.push(Posted::Repeat(Repeat { first, send }));
            }
        };
        let id = receipt.id;
        let key = repeat.as_ref().and_then(|send| send.idempotency_key.as_deref());
        let is_awaited = key.is_some() || way.config.link.outbox.durable;
        let entered = receipts.enter(receipt.clone(), way.config.receipts_keep, key, is_awaited);
        match (entered, repeat) {
            (Entered::Repeat(first, hearing), Some(send)) => {
                self.posted.push(Posted::Repeat(Repeat { first: Some((first, hearing)), send }));
            }
            // Without a key there is no repeat.
            (Entered::Repeat(..), None) => {}
            (Entered::First(hearing), _) => {
                let judge: Arc<dyn Judge> = Arc::<Slot>::clone(&way.slot);
                self.offers.push(Offer { message, until, pledge: Pledge::new(judge, id, is_awaited) });
                self.posted.push(Posted::First { receipt, hearing });
            }
        }
    }
}

/// Tells outcomes in order; what is not decided yet is told when it is.
struct Told<'a, F> {
    inner: &'a Inner,
    each: &'a mut F,
    accepted: Vec<Result<Accepted, Refused>>,
    stop: Stop,
    /// The one that was told last is the last to be told.
    is_over: bool,
}

impl<F: FnMut(Result<Receipt, Refused>)> Told<'_, F> {
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

    fn outcome(&mut self, outcome: Result<Accepted, Refused>) {
        self.is_over = outcome.as_ref().is_err_and(|refused| refused.ends(self.stop));
        match outcome {
            Ok(Accepted::Now { receipt, hearing: None }) if self.accepted.is_empty() => {
                (self.each)(Ok(self.inner.taken(receipt)));
            }
            Err(refused) if self.accepted.is_empty() => (self.each)(Err(refused)),
            outcome => self.accepted.push(outcome),
        }
    }

    async fn all(&mut self) {
        for outcome in mem::take(&mut self.accepted) {
            (self.each)(match outcome {
                Ok(accepted) => self.inner.heard(accepted).await,
                Err(refused) => Err(refused),
            });
        }
    }
}

/// A message that nothing stands against so far.
enum Accepted {
    /// Its link has taken it. Where it is accepted by another's word only, that is heard here.
    Now { receipt: Receipt, hearing: Option<(Hearing, Way)> },
    /// It has what its first message has, or will have.
    Before { repeat: Repeat, way: Way, now: Instant },
}

/// The verdict, when there is one; `None`: the message was never tried.
async fn verdict(mut hearing: Hearing) -> Option<Verdict> {
    hearing.wait_for(Option::is_some).await.ok()?.clone()
}

/// What a message takes of the process's budget: all that is kept of it until it ends.
pub(super) fn cost(payload: &Payload, key: Option<&str>) -> usize {
    payload.len() + key.map_or(0, str::len) + BESIDE
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
        | Refused::Down { .. }
        // The first one is told of.
        | Refused::Undecided => {}
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
