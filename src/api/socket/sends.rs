//! What one local WebSocket has sent: accepted in order, all that is there at once, while its events flow on.
//!
//! The one thing a reader would get wrong: nothing here is a task. The connection's own loop drives it, so everything is
//! bounded by [`Sends::has_room`]: while there is none, the connection is not read, and its client feels it.

use std::{
    collections::VecDeque,
    future::poll_fn,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use futures_util::{
    FutureExt, StreamExt,
    future::{Fuse, FusedFuture},
    stream::FuturesUnordered,
};
use parking_lot::Mutex;
use serde_json::{Value, json};

use super::{
    super::{convert, messages::look_at_wait, problem::Problem},
    PATIENCE,
};
use wskeeper_core::receipt::{Receipt, State as ReceiptState};
use wskeeper_link::pool::{Pool, Refused, Send, Stop};

/// Messages of one connection that wait for their turn, and their bytes.
const AHEAD: usize = 64;
const AHEAD_BYTES: usize = 1 << 20;
/// Receipts of one connection that wait for a further state.
const WAITS: usize = 256;

/// A message from the client, or why it is none.
#[derive(Debug)]
pub(super) struct Request {
    /// What the client calls it.
    pub(super) reference: Option<Value>,
    /// What to send, and the state to answer at.
    pub(super) send: Result<(Send, ReceiptState), Problem>,
}

/// What became of a request.
#[derive(Debug)]
pub(super) struct Outcome {
    pub(super) reference: Option<Value>,
    pub(super) receipt: Result<Receipt, Problem>,
}

impl Outcome {
    /// The answer in the envelope.
    pub(super) fn envelope(&self) -> Value {
        let (kind, body) = match &self.receipt {
            Ok(receipt) => ("receipt", json!(convert::receipt(receipt))),
            Err(problem) => ("problem", problem.json()),
        };
        json!({ "type": kind, "ref": self.reference, kind: body })
    }
}

type Settling = Pin<Box<dyn Future<Output = Outcome> + std::marker::Send>>;
type Accepted = Result<Receipt, Refused>;
/// What the client calls a message, and the state to answer at.
type Asked = (Option<Value>, ReceiptState);

/// Messages that are being accepted, one after the other; the first may have to wait for room in the outbox.
struct Sending {
    accepting: Fuse<Pin<Box<dyn Future<Output = ()> + std::marker::Send>>>,
    /// What became of those whose turn is over.
    accepted: Arc<Mutex<VecDeque<Accepted>>>,
    asked: VecDeque<Asked>,
}

/// The sends of one connection.
pub(super) struct Sends {
    pool: Pool,
    /// Each is answered, and a refusal concerns nobody else. Else only a refusal is told, and what stands behind the refused
    /// one is refused with it.
    answers: bool,
    ahead: VecDeque<Request>,
    ahead_bytes: usize,
    sending: Option<Sending>,
    settling: FuturesUnordered<Settling>,
}

impl Sends {
    pub(super) fn new(pool: Pool, answers: bool) -> Self {
        let (ahead, settling) = (VecDeque::new(), FuturesUnordered::new());
        Self { pool, answers, ahead, ahead_bytes: 0, sending: None, settling }
    }

    /// Whether one more may be pushed.
    pub(super) fn has_room(&self) -> bool {
        self.ahead.len() < AHEAD && self.ahead_bytes < AHEAD_BYTES && self.settling.len() < WAITS
    }

    /// Bytes of those that wait for their turn.
    pub(super) fn ahead_bytes(&self) -> usize {
        self.ahead_bytes
    }

    /// Waits until nothing is left that has not been accepted or refused; nobody is told of it.
    pub(super) async fn all_accepted(&mut self) {
        poll_fn(|cx| {
            while !self.is_accepted() && self.poll_next(cx).is_ready() {}
            if self.is_accepted() { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }

    /// Takes one more, behind those before it.
    pub(super) fn push(&mut self, request: Request) {
        self.ahead_bytes += bytes(&request);
        self.ahead.push_back(request);
    }

    /// Drops what has not had its turn.
    pub(super) fn forget(&mut self) {
        self.ahead.clear();
        self.ahead_bytes = 0;
    }

    /// The next outcome to be told.
    pub(super) fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Outcome> {
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
            Poll::Ready(Some(outcome)) => Poll::Ready(outcome),
            Poll::Ready(None) | Poll::Pending => Poll::Pending,
        }
    }

    /// What is to be told of a message that was accepted or refused, if it is by now.
    fn outcome(&mut self, (reference, wanted): Asked, accepted: Accepted) -> Option<Outcome> {
        match accepted {
            Ok(receipt) if receipt.state < wanted => {
                self.settling.push(settle(self.pool.clone(), receipt, reference, wanted));
                None
            }
            Ok(receipt) => self.answers.then_some(Outcome { reference, receipt: Ok(receipt) }),
            Err(refused) => Some(Outcome { reference, receipt: Err(refused.into()) }),
        }
    }

    fn is_accepted(&self) -> bool {
        self.ahead.is_empty() && self.sending.is_none()
    }

    /// Begins to send all that can be sent together. One that cannot be sent at all has its outcome when it is the first.
    fn begin(&mut self) -> Option<Outcome> {
        let (mut sends, mut asked) = (Vec::new(), VecDeque::new());
        while let Some(request) = self.ahead.pop_front() {
            self.ahead_bytes -= bytes(&request);
            let Request { reference, send } = request;
            let looked = send.and_then(|(send, wanted)| {
                look_at_wait(&self.pool, &send.endpoint, wanted)?;
                Ok((send, wanted))
            });
            match looked {
                Ok((send, wanted)) => {
                    sends.push(send);
                    asked.push_back((reference, wanted));
                }
                Err(problem) if sends.is_empty() => return Some(Outcome { reference, receipt: Err(problem) }),
                // Its bytes are gone, so it counts as none.
                Err(problem) => {
                    self.ahead.push_front(Request { reference, send: Err(problem) });
                    break;
                }
            }
        }
        if !sends.is_empty() {
            self.sending = Some(Sending::new(self.pool.clone(), sends, asked, self.answers));
        }
        None
    }
}

impl Sending {
    fn new(pool: Pool, sends: Vec<Send>, asked: VecDeque<Asked>, answers: bool) -> Self {
        let accepted = Arc::<Mutex<VecDeque<Accepted>>>::default();
        let told = Arc::clone(&accepted);
        let stop = if answers { Stop::Never } else { Stop::WhenRefused };
        let accepting: Pin<Box<dyn Future<Output = ()> + std::marker::Send>> =
            Box::pin(async move { pool.send_all(sends, stop, |outcome| told.lock().push_back(outcome)).await });
        Self { accepting: accepting.fuse(), accepted, asked }
    }

    fn next(&mut self) -> Option<(Asked, Accepted)> {
        let accepted = self.accepted.lock().pop_front()?;
        Some((self.asked.pop_front()?, accepted))
    }
}

/// What became of the next message that is being accepted; `None` once all of them have been told.
fn poll_accepted(sending: &mut Option<Sending>, cx: &mut Context<'_>) -> Poll<Option<(Asked, Accepted)>> {
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

fn bytes(request: &Request) -> usize {
    request.send.as_ref().map_or(0, |(send, _)| send.payload.len())
}

fn settle(pool: Pool, receipt: Receipt, reference: Option<Value>, wanted: ReceiptState) -> Settling {
    Box::pin(async move {
        let settled = pool.settle(receipt.id, wanted, PATIENCE).await;
        Outcome { reference, receipt: Ok(settled.unwrap_or(receipt)) }
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{
        config::parse_toml,
        observe::{Families, Telling},
    };
    use wskeeper_core::message::Payload;

    const ROOMY: &str = "outbox.max_bytes = \"16MiB\"";

    impl Sends {
        async fn next(&mut self) -> Outcome {
            poll_fn(|cx| self.poll_next(cx)).await
        }
    }

    async fn sends(outbox: &str, answers: bool) -> Sends {
        let text = format!("[endpoints.e]\nurl = \"ws://127.0.0.1:1/\"\n{outbox}");
        let config = parse_toml(&text, "test.toml").unwrap().config;
        let families = Families::register(&prometheus::Registry::new(), false).unwrap();
        Sends::new(Pool::start(config.settings(), Telling::new(families, None), 1).await, answers)
    }

    fn request(bytes: usize, wanted: ReceiptState) -> Request {
        let send = Send {
            endpoint: "e".into(),
            link: None,
            key: None,
            ttl: None,
            idempotency_key: None,
            wants_confirmation: false,
            patience: PATIENCE,
            payload: Payload::binary(vec![0; bytes]),
        };
        Request { reference: None, send: Ok((send, wanted)) }
    }

    #[tokio::test]
    async fn messages_that_wait_for_their_turn_are_bounded_in_number_and_in_bytes() {
        let mut many = sends(ROOMY, true).await;
        (0..AHEAD).for_each(|_| many.push(request(1, ReceiptState::Queued)));
        assert!(!many.has_room());
        let mut large = sends(ROOMY, true).await;
        large.push(request(AHEAD_BYTES, ReceiptState::Queued));
        assert!(!large.has_room());
        assert!(large.next().await.receipt.is_ok());
        assert!(large.has_room());
    }

    #[tokio::test]
    async fn receipts_that_wait_for_a_state_are_bounded() {
        let mut sends = sends(ROOMY, true).await;
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
    async fn an_accepted_message_is_told_of_while_the_one_behind_it_waits_for_room() {
        let mut sends = sends("outbox = { max_messages = 1, on_full = \"wait\" }", true).await;
        (0..2).for_each(|_| sends.push(request(1, ReceiptState::Queued)));
        assert!(sends.next().await.receipt.is_ok());
        assert!(!sends.is_accepted());
        assert!(tokio::time::timeout(Duration::from_millis(1), sends.next()).await.is_err());
    }

    #[tokio::test]
    async fn without_answers_nothing_goes_past_a_refused_message() {
        for (outbox, refused) in
            [("outbox.max_message = 10", request(11, ReceiptState::Queued)), (ROOMY, request(1, ReceiptState::Stored))]
        {
            let mut sends = sends(outbox, false).await;
            sends.push(request(1, ReceiptState::Queued));
            sends.push(refused);
            (0..3).for_each(|_| sends.push(request(1, ReceiptState::Queued)));
            assert!(sends.next().await.receipt.is_err());
            sends.forget();
            sends.all_accepted().await;
            assert_eq!(sends.pool.link("e", 0).expect("it is configured").queued_messages, 1, "{outbox}");
        }
    }

    #[tokio::test]
    async fn with_answers_a_refusal_concerns_no_other_message() {
        let mut sends = sends("outbox.max_message = 10", true).await;
        for bytes in [1, 11, 1] {
            sends.push(request(bytes, ReceiptState::Queued));
        }
        let mut outcomes = Vec::new();
        for _ in 0..3 {
            outcomes.push(sends.next().await.receipt.is_ok());
        }
        assert_eq!(outcomes, [true, false, true]);
    }

    #[tokio::test]
    async fn what_was_refused_takes_no_room_from_what_comes() {
        let mut sends = sends(ROOMY, true).await;
        for _ in 0..3 {
            sends.push(request(1, ReceiptState::Queued));
            sends.push(request(AHEAD_BYTES, ReceiptState::Stored));
            assert!(sends.next().await.receipt.is_ok());
            assert!(sends.next().await.receipt.is_err(), "nothing is put on disk");
            assert!(sends.has_room());
        }
    }
}
