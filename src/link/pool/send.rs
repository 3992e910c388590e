//! The way out: which link takes a message, and how it comes to be accepted.
//!
//! The receipt is entered *before* the link has the message, so that no state of it can come before its receipt; a refusal takes it
//! out again. Where a link has said that it has room, the message is accepted here and by that; else the link is asked. What a reader
//! would get wrong: nothing else here decides. The link's task and the disk do, and tell the receipts; so a caller may go at any
//! moment, and who repeats its idempotency key hears the same verdict.

mod message;
mod together;
mod way;

use std::{
    iter::Peekable,
    mem,
    pin::Pin,
    sync::Arc,
    time::{Duration, SystemTime},
    vec,
};

use serde::de::IgnoredAny;
use tokio::{sync::oneshot, time::Instant};

pub(super) use self::message::restored;
use self::{
    message::{ack_key, cost, receipt},
    way::{Way, count},
};
use super::{
    Refused, Send,
    parts::PoolParts,
    receipts::{Entered, Entering, Hearing, Verdict},
    slot::Slot,
};
use crate::{
    link::{Judge, Offer, Offered, Order, Pledge, Stop, json},
    observer,
};
use wskeeper_core::{
    body::Body,
    budget::Share,
    message::{Extras, Message},
    outbox::Refusal,
    receipt::{Receipt, State},
    requests::Asked,
};

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
    /// Its idempotency key has a message already. The share is for while it waits for the verdict on that.
    Known(Box<Send>, Option<Share>),
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
    /// What it takes of the budget while it waits; `None`: there was no room.
    share: Option<Share>,
}

/// Who takes messages in.
#[derive(Debug)]
pub(super) struct Sender {
    parts: Arc<PoolParts>,
}

impl Sender {
    pub(super) fn new(parts: Arc<PoolParts>) -> Self {
        Self { parts }
    }

    /// Hands a message to a link's outbox.
    pub(super) async fn send(&self, send: Send) -> Result<Receipt, Refused> {
        let mut told = None;
        self.send_all(vec![send], Stop::Never, |outcome| told = Some(outcome)).await;
        // Where nothing stops it, each is told of.
        told.unwrap_or(Err(Refused::Draining))
    }

    /// Sends several, in order, asking each link once for all that follow each other, and tells what became of `each`, in order,
    /// up to the one at which it is to stop.
    pub(super) async fn send_all(&self, sends: Vec<Send>, stop: Stop, mut each: impl FnMut(Result<Receipt, Refused>)) {
        let mut told = Told { sender: self, each: &mut each, accepted: Vec::new(), stop, is_over: false };
        // The patience of all of them ends at the same moment, so that none is let in behind one whose patience is over.
        let now = Instant::now();
        let mut sends = sends.into_iter().peekable();
        while !told.is_over
            && let Some(first) = sends.next()
        {
            let to = (&*first.endpoint, first.link, first.key.as_deref(), first.generation);
            let way = match Way::choose(&self.parts.endpoints, to, first.is_request) {
                Ok(way) => way,
                Err(refused) => {
                    told.outcome(Err(refused));
                    continue;
                }
            };
            let Run { posted, offers, refused } = self.post(&way, first, &mut sends, now);
            let mut handed = hand_over(&way, offers, stop).await;
            for posted in posted {
                // What stands behind the last is not accepted: its link has been told so, too.
                if told.is_over {
                    break;
                }
                match posted {
                    Posted::First { receipt, .. } if handed.is_next_accepted() => {
                        told.outcome(Ok(Accepted::AtOnce(receipt)));
                    }
                    Posted::First { receipt, hearing } => {
                        let answer = told.answer(handed.answers.next()).await;
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

    /// Enters the receipts of the messages that go the same way.
    fn post(&self, way: &Way, first: Send, rest: &mut Peekable<vec::IntoIter<Send>>, now: Instant) -> Run {
        let mut run = Run::default();
        let mut prepared = Vec::with_capacity(1 + rest.len());
        let wall = self.parts.calendar.now();
        let mut next = Some(first);
        while let Some(send) = next {
            let one = if self.is_known(way, &send, &prepared) {
                let share = self.parts.budget.reserve(cost(&send.payload, send.key.as_deref()));
                Ok(Prepared::Known(Box::new(send), share))
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
        let mut receipts = self.parts.receipts.entering();
        for one in prepared {
            run.enter(way, one, &mut receipts);
        }
        run
    }

    /// Whether the idempotency key of a message has one already, or one that is about to be entered.
    fn is_known(&self, way: &Way, send: &Send, before: &[Prepared]) -> bool {
        send.idempotency_key.as_deref().is_some_and(|key| {
            before.iter().any(|one| one.key() == Some(key))
                || self.parts.receipts.first_of(&way.runtime.name, key).is_some()
        })
    }

    fn prepare(&self, way: &Way, send: Send, now: std::time::Instant, wall: SystemTime) -> Result<Prepared, Refused> {
        let bytes = send.payload.len();
        // The outbox would say so too, but only when its turn has come.
        if bytes > way.config.link.outbox.max_message {
            way.runtime.observer.refused(observer::Refused::Outbox(Refusal::TooBig));
            return Err(way.refused(Refusal::TooBig, bytes));
        }
        let share = self
            .admit(way, cost(&send.payload, send.key.as_deref()))
            .inspect_err(|refused| count(&way.runtime, refused))?;
        let request = send.is_request.then(|| asked(way, &send, now)).transpose()?;
        let repeat = send.idempotency_key.is_some().then(|| Box::new(send.clone()));
        let ack = if request.is_some() { None } else { ack_key(&way.config, &send.payload) };
        let Send { key, wants_confirmation, generation, waits, .. } = send;
        let body = Body::One(send.payload);
        let receipt = receipt(&way.slot, &body, wall);
        if request.is_some() {
            self.parts.receipts.expect_reply(receipt.id);
        }
        let extras = Extras { key, ack, wants_confirmation, generation, waits, request };
        let message = Message {
            id: receipt.id,
            expires_at: send.ttl.and_then(|ttl| now.checked_add(ttl)),
            extras: extras.boxed(),
            body,
            share,
        };
        let until = now.checked_add(send.patience).unwrap_or(now);
        Ok(Prepared::New { receipt, message: Box::new(message), until, repeat })
    }

    /// Whether the daemon can take so many bytes for this endpoint now; the share of its memory that they get.
    fn admit(&self, way: &Way, bytes: usize) -> Result<Share, Refused> {
        if self.parts.endpoints.is_draining() {
            return Err(Refused::Draining);
        }
        if way.is_durable()
            && let Some(why) = self.parts.spool.closed()
        {
            return Err(Refused::Store(why));
        }
        self.parts.budget.reserve(bytes).ok_or_else(|| self.full())
    }

    fn full(&self) -> Refused {
        Refused::Budget { used: self.parts.budget.used(), limit: self.parts.budget.limit() }
    }

    /// What a caller is told in the end.
    async fn heard(&self, accepted: Accepted) -> Result<Receipt, Refused> {
        let wants_proof = accepted.repeats_and_wants_proof();
        let outcome = self.decided(accepted).await;
        if let (true, Ok(receipt)) = (wants_proof, &outcome)
            && receipt.state < State::Confirmed
            && let Some(slot) = self.parts.endpoints.slot(&receipt.endpoint, receipt.link)
        {
            // A task that has ended has told the ends of its messages.
            let _ = slot.orders.send(Box::new(Order::Want(receipt.id))).await;
        }
        outcome
    }

    async fn decided(&self, accepted: Accepted) -> Result<Receipt, Refused> {
        match accepted {
            Accepted::AtOnce(receipt) => Ok(receipt),
            Accepted::Now { receipt, hearing: None }
            | Accepted::Before { repeat: Repeat { first: Some((receipt, None)), .. }, .. } => Ok(self.taken(receipt)),
            Accepted::Now { receipt, hearing: Some((hearing, way)) } => match verdict(hearing).await {
                Some(verdict) => self.told(&way, receipt, verdict).await,
                None => Err(Refused::Draining).inspect_err(|refused| count(&way.runtime, refused)),
            },
            Accepted::Before { repeat: Repeat { first: None, send, share }, .. } => {
                drop(share);
                self.send_anew(*send).await
            }
            Accepted::Before { repeat: Repeat { share: None, .. }, way, .. } => {
                Err(self.full()).inspect_err(|refused| count(&way.runtime, refused))
            }
            Accepted::Before {
                repeat: Repeat { first: Some((receipt, Some(hearing))), mut send, share },
                way,
                now,
            } => {
                let until = now.checked_add(send.patience).unwrap_or(now);
                match tokio::time::timeout_at(until, verdict(hearing)).await {
                    Ok(Some(verdict)) => self.told(&way, receipt, verdict).await,
                    Ok(None) => {
                        drop(share);
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
            Verdict::Accepted if way.is_durable() => {
                Ok(self.parts.receipts.settle(receipt.id, State::Stored, Duration::MAX).await.unwrap_or(receipt))
            }
            Verdict::Accepted => Ok(self.taken(receipt)),
            Verdict::Refused(refusal) => Err(way.turned_away(&receipt, refusal)),
            Verdict::NotStored(why) => Err(Refused::Store(why)).inspect_err(|refused| count(&way.runtime, refused)),
        }
    }

    /// The receipt as it is by now, for it may have moved on already.
    fn taken(&self, receipt: Receipt) -> Receipt {
        self.parts.receipts.get(receipt.id).unwrap_or(receipt)
    }
}

impl Way {
    /// What became of a message, by the link's answer; none: its task has ended.
    fn outcome(
        &self,
        receipt: Receipt,
        hearing: Option<Hearing>,
        answer: Option<Result<(), Refusal>>,
    ) -> Result<Accepted, Refused> {
        match answer {
            Some(Ok(())) => {
                let hearing = hearing.filter(|_| self.is_durable());
                Ok(Accepted::Now { receipt, hearing: hearing.map(|hearing| (hearing, self.clone())) })
            }
            Some(Err(refusal)) => Err(self.turned_away(&receipt, refusal)),
            None => Err(Refused::Draining).inspect_err(|refused| count(&self.runtime, refused)),
        }
    }
}

impl Prepared {
    fn key(&self) -> Option<&str> {
        match self {
            Self::New { repeat, .. } => repeat.as_ref()?.idempotency_key.as_deref(),
            Self::Known(send, _) => send.idempotency_key.as_deref(),
        }
    }
}

impl Run {
    fn enter(&mut self, way: &Way, one: Prepared, receipts: &mut Entering<'_>) {
        let (receipt, message, until, repeat) = match one {
            Prepared::New { receipt, message, until, repeat } => (receipt, message, until, repeat),
            Prepared::Known(send, share) => {
                let first = send.idempotency_key.as_deref().and_then(|key| receipts.first_of(&way.runtime.name, key));
                return self.posted.push(Posted::Repeat(Repeat { first, send, share }));
            }
        };
        let id = receipt.id;
        let key = repeat.as_ref().and_then(|send| send.idempotency_key.as_deref());
        let is_awaited = key.is_some() || way.is_durable();
        let entered = receipts.enter(receipt.clone(), way.config.receipts_keep, key, is_awaited);
        match (entered, repeat) {
            (Entered::Repeat(first, hearing), Some(send)) => {
                self.posted.push(Posted::Repeat(Repeat {
                    first: Some((first, hearing)),
                    send,
                    share: Some(message.share),
                }));
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

/// What a message has that is a request; or why it is none.
fn asked(way: &Way, send: &Send, now: std::time::Instant) -> Result<Box<Asked>, Refused> {
    let policy = &way.config.link.requests;
    let (Some(id), Some(_)) = (&policy.id, &policy.reply) else {
        return Err(Refused::NoRequests(way.config.name.to_string()));
    };
    let deadline = now.checked_add(send.ttl.unwrap_or_default()).unwrap_or(now);
    let asked = policy.asked(&send.payload, deadline).map(Box::new);
    // To find an id, the core looks at no more than brackets and quotes.
    let is_json = json::read::<IgnoredAny>(send.payload.bytes()).is_ok();
    asked.filter(|_| is_json).ok_or_else(|| Refused::NoId(id.clone()))
}

/// Tells outcomes in order; what is not decided yet is told when it is.
struct Told<'a, F> {
    sender: &'a Sender,
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
            Ok(Accepted::AtOnce(receipt)) if self.accepted.is_empty() => (self.each)(Ok(receipt)),
            Ok(Accepted::Now { receipt, hearing: None }) if self.accepted.is_empty() => {
                (self.each)(Ok(self.sender.taken(receipt)));
            }
            Err(refused) if self.accepted.is_empty() => (self.each)(Err(refused)),
            outcome => self.accepted.push(outcome),
        }
    }

    async fn all(&mut self) {
        for outcome in mem::take(&mut self.accepted) {
            (self.each)(match outcome {
                Ok(accepted) => self.sender.heard(accepted).await,
                Err(refused) => Err(refused),
            });
        }
    }
}

/// A message that nothing stands against so far.
enum Accepted {
    /// There was room for it, and nobody had to be asked.
    AtOnce(Receipt),
    /// Its link has taken it. Where it is accepted by another's word only, that is heard here.
    Now { receipt: Receipt, hearing: Option<(Hearing, Way)> },
    /// It has what its first message has, or will have.
    Before { repeat: Repeat, way: Way, now: Instant },
}

impl Accepted {
    /// Whether the caller waits for a proof, of which the first caller may have said nothing.
    fn repeats_and_wants_proof(&self) -> bool {
        match self {
            Self::AtOnce(_) | Self::Now { .. } => false,
            Self::Before { repeat, .. } => repeat.first.is_some() && repeat.send.wants_confirmation,
        }
    }
}

/// The verdict, when there is one; `None`: the message was never tried.
async fn verdict(mut hearing: Hearing) -> Option<Verdict> {
    hearing.wait_for(Option::is_some).await.ok()?.clone()
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

/// What became of messages that were handed to their link.
struct Handed {
    /// So many of the first were accepted at once.
    accepted: u32,
    /// The link's answers for those behind them. One whose task has ended drops them, and there is no answer.
    answers: vec::IntoIter<Offered>,
}

impl Handed {
    fn is_next_accepted(&mut self) -> bool {
        let left = self.accepted.checked_sub(1);
        self.accepted = left.unwrap_or_default();
        left.is_some()
    }
}

/// Hands messages to their link: what it has room for is accepted at once, and it is asked about the others.
async fn hand_over(way: &Way, offers: Vec<Offer>, stop: Stop) -> Handed {
    let mut offers = offers.into_iter();
    let accepted = if way.needs_no_question() { way.slot.accept(&mut offers) } else { 0 };
    let offers: Vec<_> = offers.collect();
    let mut answers = Vec::new();
    if !offers.is_empty() {
        let (reply, answer) = oneshot::channel();
        if way.slot.orders.send(Box::new(Order::Offers { offers, stop, reply })).await.is_ok() {
            answers = answer.await.unwrap_or_default();
        }
    }
    Handed { accepted, answers: answers.into_iter() }
}
