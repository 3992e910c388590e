//! What one client sends and asks: accepted in order, all that is there at once, while other things go on.
//!
//! What a reader would get wrong: nothing here is a task. Its holder drives it, so everything is bounded by [`Sends::has_room`]: while
//! there is none, the client is not read, and feels it.

use std::{
    collections::VecDeque,
    future::poll_fn,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use futures_util::{
    FutureExt, StreamExt,
    future::{Fuse, FusedFuture},
    stream::FuturesUnordered,
};
use parking_lot::Mutex;
use tokio::time::Instant;

use crate::{
    link::Stop,
    pool::{Answered, Pool, Refused, Send},
};
use wskeeper_core::{
    body::Body,
    receipt::{Receipt, State as ReceiptState},
};

/// Messages of one client that wait for their turn, and their bytes.
const AHEAD: usize = 64;
const AHEAD_BYTES: usize = 1 << 20;
/// Receipts of one client that wait for a further state.
const WAITS: usize = 256;
/// Requests of one client that have not ended.
const ASKS: usize = 64;

/// A message from the client, or why it is none. `R` is what the client calls it, `E` how it is told of what was not done.
#[derive(Debug)]
pub struct Request<R, E> {
    /// What the client calls it.
    pub reference: R,
    /// What to send, and the state to answer at. What [`Send::asking`] made is answered at its end.
    pub send: Result<(Send, ReceiptState), E>,
}

/// What the holder of [`Sends`] is told, and what a refusal means for those behind the refused one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answering {
    /// Each is answered, and a refusal concerns nobody else.
    Each,
    /// Each is answered up to a refused one. What stands behind that is not sent, nor told of.
    InOrder,
    /// Only a refusal is told. What stands behind the refused one is not sent, nor told of.
    Refusals,
}

/// What became of it.
#[derive(Debug)]
pub struct Outcome<R, E> {
    /// What the client called it.
    pub reference: R,
    /// What there is to tell.
    pub end: Result<Became, E>,
}

/// What became of what was accepted.
#[derive(Debug)]
pub enum Became {
    /// The receipt of a message, in the state that was asked for, or in another end.
    Receipt(Receipt),
    /// How a request ended.
    Answered(Answered),
}

/// What is said against a message before it is sent: whether this state can be waited for at its endpoint, say.
type Objection<E> = fn(&Pool, &Send, ReceiptState) -> Result<(), E>;

type Settling<R, E> = Pin<Box<dyn Future<Output = Outcome<R, E>> + std::marker::Send>>;
type Accepted = Result<Receipt, Refused>;

/// What is to be told once a message is accepted.
struct Asked<R> {
    /// What the client calls it.
    reference: R,
    /// The state to answer at.
    wanted: ReceiptState,
    /// Of a request: when it came, and how long its reply is waited for from then on.
    request: Option<(Instant, Duration)>,
}

/// Messages that are being accepted, one after the other; the first may have to wait for room in the outbox.
struct Sending<R> {
    accepting: Fuse<Pin<Box<dyn Future<Output = ()> + std::marker::Send>>>,
    /// What became of those whose turn is over.
    accepted: Arc<Mutex<VecDeque<Accepted>>>,
    asked: VecDeque<Asked<R>>,
}

/// The sends of one client.
pub struct Sends<R, E> {
    pool: Pool,
    objection: Objection<E>,
    /// How long the state that was asked for is waited for.
    patience: Duration,
    answering: Answering,
    /// With the moment at which each request came.
    ahead: VecDeque<(Request<R, E>, Option<Instant>)>,
    ahead_bytes: usize,
    /// Requests that have not been told of.
    asks: usize,
    sending: Option<Sending<R>>,
    settling: FuturesUnordered<Settling<R, E>>,
}

impl<R: std::marker::Send + 'static, E: From<Refused> + 'static> Sends<R, E> {
    /// Nothing is sent yet. A state is waited for with this `patience`.
    pub fn new(pool: Pool, objection: Objection<E>, patience: Duration, answering: Answering) -> Self {
        let (ahead, settling) = (VecDeque::new(), FuturesUnordered::new());
        Self { pool, objection, patience, answering, ahead, ahead_bytes: 0, asks: 0, sending: None, settling }
    }

    /// Where they are sent.
    pub fn pool(&self) -> &Pool {
        &self.pool
    }

    /// Whether one more may be pushed.
    pub fn has_room(&self) -> bool {
        let has_turn = self.ahead.len() < AHEAD && self.ahead_bytes < AHEAD_BYTES;
        has_turn && self.settling.len() < WAITS && self.asks < ASKS
    }

    /// Bytes of those that wait for their turn.
    pub fn ahead_bytes(&self) -> usize {
        self.ahead_bytes
    }

    /// Waits until nothing is left that has not been accepted or refused; nobody is told of it.
    pub async fn all_accepted(&mut self) {
        poll_fn(|cx| {
            while !self.is_accepted() && self.poll_next(cx).is_ready() {}
            if self.is_accepted() { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }

    /// Accepts messages that came together at once, in order, as far as that can be. Answers with those that are left, to be pushed.
    pub fn accept(&self, endpoint: &str, link: Option<u32>, body: Body) -> Option<Body> {
        if self.is_accepted() { self.pool.accept(endpoint, link, body) } else { Some(body) }
    }

    /// Takes one more, behind those before it.
    pub fn push(&mut self, request: Request<R, E>) {
        self.ahead_bytes += bytes(&request);
        let came = is_request(&request).then(Instant::now);
        self.asks += usize::from(came.is_some());
        self.ahead.push_back((request, came));
    }

    /// Drops what has not had its turn.
    pub fn forget(&mut self) {
        self.asks -= self.ahead.iter().filter(|(_, came)| came.is_some()).count();
        self.ahead.clear();
        self.ahead_bytes = 0;
    }

    /// The next outcome to be told.
    pub fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Outcome<R, E>> {
        loop {
            if self.sending.is_none()
                && let Some(outcome) = self.begin()
            {
                return Poll::Ready(outcome);
            }
            match poll_accepted(&mut self.sending, cx) {
                Poll::Ready(Some((asked, accepted))) => {
                    if let Some(outcome) = self.outcome(asked, accepted) {
                        return Poll::Ready(outcome);
                    }
                }
                Poll::Ready(None) => {}
                Poll::Pending => break,
            }
        }
        match self.settling.poll_next_unpin(cx) {
            Poll::Ready(Some(outcome)) => {
                self.asks -= usize::from(matches!(outcome.end, Ok(Became::Answered(_))));
                Poll::Ready(outcome)
            }
            Poll::Ready(None) | Poll::Pending => Poll::Pending,
        }
    }

    /// What is to be told of a message that was accepted or refused, if it is by now.
    fn outcome(&mut self, asked: Asked<R>, accepted: Accepted) -> Option<Outcome<R, E>> {
        let Asked { reference, wanted, request } = asked;
        match (accepted, request) {
            (Ok(receipt), Some(timing)) => {
                self.settling.push(answered(&self.pool, receipt, reference, timing));
                None
            }
            (Ok(receipt), None) if receipt.state < wanted => {
                self.settling.push(settle((self.pool.clone(), self.patience), receipt, reference, wanted));
                None
            }
            (Ok(receipt), None) => {
                let is_told = self.answering != Answering::Refusals;
                is_told.then_some(Outcome { reference, end: Ok(Became::Receipt(receipt)) })
            }
            (Err(refused), request) => {
                self.asks -= usize::from(request.is_some());
                Some(Outcome { reference, end: Err(refused.into()) })
            }
        }
    }

    fn is_accepted(&self) -> bool {
        self.ahead.is_empty() && self.sending.is_none()
    }

    /// Begins to send all that can be sent together. One that cannot be sent at all has its outcome when it is the first.
    fn begin(&mut self) -> Option<Outcome<R, E>> {
        let (mut sends, mut asked) = (Vec::new(), VecDeque::new());
        while let Some((request, came)) = self.ahead.pop_front() {
            self.ahead_bytes -= bytes(&request);
            let Request { reference, send } = request;
            let looked = send.and_then(|(send, wanted)| {
                (self.objection)(&self.pool, &send, wanted)?;
                Ok((send, wanted))
            });
            match looked {
                Ok((mut send, wanted)) => {
                    let request = came.map(|came| (came, since(came, &mut send)));
                    sends.push(send);
                    asked.push_back(Asked { reference, wanted, request });
                }
                // Its bytes are gone, so it counts as none.
                Err(problem) => {
                    self.asks -= usize::from(came.is_some());
                    if sends.is_empty() {
                        return Some(Outcome { reference, end: Err(problem) });
                    }
                    self.ahead.push_front((Request { reference, send: Err(problem) }, None));
                    break;
                }
            }
        }
        if !sends.is_empty() {
            self.sending = Some(Sending::new(self.pool.clone(), sends, asked, self.answering));
        }
        None
    }
}

impl<R> Sending<R> {
    fn new(pool: Pool, sends: Vec<Send>, asked: VecDeque<Asked<R>>, answering: Answering) -> Self {
        let accepted = Arc::<Mutex<VecDeque<Accepted>>>::default();
        let told = Arc::clone(&accepted);
        let stop = if answering == Answering::Each { Stop::Never } else { Stop::WhenRefused };
        let accepting: Pin<Box<dyn Future<Output = ()> + std::marker::Send>> =
            Box::pin(async move { pool.send_all(sends, stop, |outcome| told.lock().push_back(outcome)).await });
        Self { accepting: accepting.fuse(), accepted, asked }
    }

    fn next(&mut self) -> Option<(Asked<R>, Accepted)> {
        let accepted = self.accepted.lock().pop_front()?;
        Some((self.asked.pop_front()?, accepted))
    }
}

/// What became of the next message that is being accepted; `None` once all of them have been told.
fn poll_accepted<R>(sending: &mut Option<Sending<R>>, cx: &mut Context<'_>) -> Poll<Option<(Asked<R>, Accepted)>> {
    let Some(way) = sending else { return Poll::Pending };
    if let Some(next) = way.next() {
        return Poll::Ready(Some(next));
    }
    let is_over = way.accepting.is_terminated() || way.accepting.poll_unpin(cx).is_ready();
    match way.next() {
        Some(next) => Poll::Ready(Some(next)),
        None if is_over => {
            *sending = None;
            Poll::Ready(None)
        }
        None => Poll::Pending,
    }
}

fn bytes<R, E>(request: &Request<R, E>) -> usize {
    request.send.as_ref().map_or(0, |(send, _)| send.payload.len())
}

fn is_request<R, E>(request: &Request<R, E>) -> bool {
    request.send.as_ref().is_ok_and(|(send, _)| send.is_request)
}

/// Has a request know that it came a while ago; answers with how long its reply is waited for from then on.
fn since(came: Instant, send: &mut Send) -> Duration {
    let (waited, timeout) = (came.elapsed(), send.ttl.unwrap_or_default());
    send.ttl = Some(timeout.saturating_sub(waited));
    send.patience = send.patience.saturating_sub(waited);
    timeout
}

fn answered<R: std::marker::Send + 'static, E: 'static>(
    pool: &Pool,
    receipt: Receipt,
    reference: R,
    (came, timeout): (Instant, Duration),
) -> Settling<R, E> {
    let answered = pool.answered(receipt, came, timeout);
    Box::pin(async move { Outcome { reference, end: Ok(Became::Answered(answered.await)) } })
}

fn settle<R: std::marker::Send + 'static, E: 'static>(
    (pool, patience): (Pool, Duration),
    receipt: Receipt,
    reference: R,
    wanted: ReceiptState,
) -> Settling<R, E> {
    Box::pin(async move {
        let settled = pool.settle(receipt.id, wanted, patience).await;
        Outcome { reference, end: Ok(Became::Receipt(settled.unwrap_or(receipt))) }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{observer::Silent, written};
    use wskeeper_core::message::Payload;

    const ROOMY: &str = "outbox.max_bytes = 16_777_216";

    const PATIENCE: Duration = Duration::from_mins(1);

    /// Where nothing is put on disk, nobody can wait until it is.
    fn not_durable(_pool: &Pool, _send: &Send, wanted: ReceiptState) -> Result<(), Refused> {
        if wanted == ReceiptState::Stored { Err(Refused::Store("nothing is put on disk".into())) } else { Ok(()) }
    }

    impl Sends<(), Refused> {
        async fn next(&mut self) -> Outcome<(), Refused> {
            poll_fn(|cx| self.poll_next(cx)).await
        }
    }

    async fn sends(outbox: &str, answering: Answering) -> Sends<(), Refused> {
        let text = format!("[endpoints.e]\nurl = \"ws://127.0.0.1:1/\"\n{outbox}");
        let pool = Pool::start(written::settings(&text), Arc::new(Silent), 1).await;
        Sends::new(pool, not_durable, PATIENCE, answering)
    }

    fn request(bytes: usize, wanted: ReceiptState) -> Request<(), Refused> {
        let send = Send { patience: PATIENCE, ..Send::new("e", Payload::binary(vec![0; bytes])) };
        Request { reference: (), send: Ok((send, wanted)) }
    }

    #[tokio::test]
    async fn messages_that_wait_for_their_turn_are_bounded_in_number_and_in_bytes() {
        let mut many = sends(ROOMY, Answering::Each).await;
        (0..AHEAD).for_each(|_| many.push(request(1, ReceiptState::Queued)));
        assert!(!many.has_room());
        let mut large = sends(ROOMY, Answering::Each).await;
        large.push(request(AHEAD_BYTES, ReceiptState::Queued));
        assert!(!large.has_room());
        assert!(large.next().await.end.is_ok());
        assert!(large.has_room());
    }

    #[tokio::test]
    async fn receipts_that_wait_for_a_state_are_bounded() {
        let mut sends = sends(ROOMY, Answering::Each).await;
        let mut pushed = 0;
        while sends.has_room() {
            sends.push(request(1, ReceiptState::Written));
            pushed += 1;
            while !sends.is_accepted() {
                // Nothing is written, so no outcome comes; the wait lets the link answer.
                let outcome = tokio::time::timeout(Duration::from_millis(1), sends.next()).await;
                assert!(outcome.is_err(), "{outcome:?}");
            }
        }
        assert_eq!(pushed, WAITS);
    }

    #[tokio::test]
    async fn requests_that_have_not_ended_are_bounded_and_end_in_time() {
        let keys = "requests = { id = \"/id\", reply = \"/id\" }";
        let mut sends = sends(keys, Answering::Each).await;
        let timeout = Duration::from_millis(300);
        let mut pushed = 0;
        while sends.has_room() {
            let send = Send { patience: timeout, ..Send::new("e", "{}") };
            sends.push(Request { reference: (), send: Ok((send.asking(timeout), ReceiptState::Queued)) });
            pushed += 1;
        }
        assert_eq!(pushed, ASKS);
        for _ in 0..ASKS {
            let end = sends.next().await.end;
            assert!(matches!(end, Ok(Became::Answered(Answered::Late(_)))), "{end:?}");
        }
        assert!(sends.has_room());
    }

    #[tokio::test]
    async fn an_accepted_message_is_told_of_while_the_one_behind_it_waits_for_room() {
        let mut sends = sends("outbox = { max_messages = 1, on_full = \"wait\" }", Answering::Each).await;
        (0..2).for_each(|_| sends.push(request(1, ReceiptState::Queued)));
        assert!(sends.next().await.end.is_ok());
        assert!(!sends.is_accepted());
        assert!(tokio::time::timeout(Duration::from_millis(1), sends.next()).await.is_err());
    }

    #[tokio::test]
    async fn without_answers_nothing_goes_past_a_refused_message() {
        for (outbox, refused) in
            [("outbox.max_message = 10", request(11, ReceiptState::Queued)), (ROOMY, request(1, ReceiptState::Stored))]
        {
            let mut sends = sends(outbox, Answering::Refusals).await;
            sends.push(request(1, ReceiptState::Queued));
            sends.push(refused);
            (0..3).for_each(|_| sends.push(request(1, ReceiptState::Queued)));
            assert!(sends.next().await.end.is_err());
            sends.forget();
            sends.all_accepted().await;
            assert_eq!(sends.pool.link("e", 0).expect("it is configured").queued_messages, 1, "{outbox}");
        }
    }

    #[tokio::test]
    async fn in_order_each_is_told_of_up_to_a_refused_one() {
        let mut sends = sends("outbox.max_message = 10", Answering::InOrder).await;
        for bytes in [1, 1, 11, 1] {
            sends.push(request(bytes, ReceiptState::Queued));
        }
        let told = [sends.next().await, sends.next().await, sends.next().await].map(|outcome| outcome.end.is_ok());
        assert_eq!(told, [true, true, false]);
        sends.forget();
        sends.all_accepted().await;
        assert_eq!(sends.pool.link("e", 0).expect("it is configured").queued_messages, 2);
    }

    #[tokio::test]
    async fn with_answers_a_refusal_concerns_no_other_message() {
        let mut sends = sends("outbox.max_message = 10", Answering::Each).await;
        for bytes in [1, 11, 1] {
            sends.push(request(bytes, ReceiptState::Queued));
        }
        let mut outcomes = Vec::new();
        for _ in 0..3 {
            outcomes.push(sends.next().await.end.is_ok());
        }
        assert_eq!(outcomes, [true, false, true]);
    }

    #[tokio::test]
    async fn what_was_refused_takes_no_room_from_what_comes() {
        let mut sends = sends(ROOMY, Answering::Each).await;
        for _ in 0..3 {
            sends.push(request(1, ReceiptState::Queued));
            sends.push(request(AHEAD_BYTES, ReceiptState::Stored));
            assert!(sends.next().await.end.is_ok());
            assert!(sends.next().await.end.is_err(), "nothing is put on disk");
            assert!(sends.has_room());
        }
    }
}
