//! What one local WebSocket has sent: accepted one after the other, in order, while its events flow on.
//!
//! The one thing a reader would get wrong: nothing here is a task. The connection's own loop drives it, so everything is
//! bounded by [`Sends::has_room`]: while there is none, the connection is not read, and its client feels it.

use std::{collections::VecDeque, pin::Pin};

use futures_util::{StreamExt, stream::FuturesUnordered};
use serde_json::{Value, json};

use super::{
    super::{convert, messages::look_at_wait, problem::Problem},
    PATIENCE,
};
use crate::{
    core::receipt::{Receipt, State as Rung},
    pool::{Pool, Refused, Send},
};

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
    pub(super) send: Result<(Send, Rung), Problem>,
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

type Sending = Pin<Box<dyn Future<Output = (Option<Value>, Rung, Result<Receipt, Refused>)> + std::marker::Send>>;
type Settling = Pin<Box<dyn Future<Output = Outcome> + std::marker::Send>>;

/// The sends of one connection.
pub(super) struct Sends {
    pool: Pool,
    ahead: VecDeque<Request>,
    ahead_bytes: usize,
    /// The one that is being accepted; it may have to wait for room in the outbox.
    sending: Option<Sending>,
    settling: FuturesUnordered<Settling>,
}

impl Sends {
    pub(super) fn new(pool: Pool) -> Self {
        let (ahead, settling) = (VecDeque::new(), FuturesUnordered::new());
        Self { pool, ahead, ahead_bytes: 0, sending: None, settling }
    }

    /// Whether one more may be pushed.
    pub(super) fn has_room(&self) -> bool {
        self.ahead.len() < AHEAD && self.ahead_bytes < AHEAD_BYTES && self.settling.len() < WAITS
    }

    /// Whether nothing is left that has not been accepted or refused.
    pub(super) fn is_accepted(&self) -> bool {
        self.ahead.is_empty() && self.sending.is_none()
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

    /// The next outcome; waits for one, for ever where there is nothing. Nothing is lost when the future is dropped.
    pub(super) async fn next(&mut self) -> Outcome {
        loop {
            if self.sending.is_none()
                && let Some(request) = self.ahead.pop_front()
            {
                self.ahead_bytes -= bytes(&request);
                match request.send {
                    Ok((send, wanted)) => {
                        if let Err(problem) = look_at_wait(&self.pool, &send.endpoint, wanted) {
                            return Outcome { reference: request.reference, receipt: Err(problem) };
                        }
                        self.sending = Some(accept(self.pool.clone(), send, request.reference, wanted));
                    }
                    Err(problem) => return Outcome { reference: request.reference, receipt: Err(problem) },
                }
            }
            tokio::select! {
                (reference, wanted, receipt) = under_way(&mut self.sending) => {
                    self.sending = None;
                    match receipt {
                        Ok(receipt) if receipt.state < wanted => {
                            self.settling.push(settle(self.pool.clone(), receipt, reference, wanted));
                        }
                        Ok(receipt) => return Outcome { reference, receipt: Ok(receipt) },
                        Err(refused) => return Outcome { reference, receipt: Err(refused.into()) },
                    }
                }
                Some(outcome) = self.settling.next() => return outcome,
            }
        }
    }
}

fn bytes(request: &Request) -> usize {
    request.send.as_ref().map_or(0, |(send, _)| send.payload.len())
}

async fn under_way(sending: &mut Option<Sending>) -> (Option<Value>, Rung, Result<Receipt, Refused>) {
    match sending {
        Some(sending) => sending.await,
        None => std::future::pending().await,
    }
}

fn accept(pool: Pool, send: Send, reference: Option<Value>, wanted: Rung) -> Sending {
    Box::pin(async move { (reference, wanted, pool.send(send).await) })
}

fn settle(pool: Pool, receipt: Receipt, reference: Option<Value>, wanted: Rung) -> Settling {
    Box::pin(async move {
        let settled = pool.settle(receipt.id, wanted, PATIENCE).await;
        Outcome { reference, receipt: Ok(settled.unwrap_or(receipt)) }
    })
}

#[cfg(test)]
mod tests {
    use std::{sync::Arc, time::Duration};

    use super::*;
    use crate::{config::parse_toml, core::message::Payload, observe::Families};

    async fn sends() -> Sends {
        let text = "[endpoints.e]\nurl = \"ws://127.0.0.1:1/\"\noutbox.max_bytes = \"16MiB\"";
        let config = parse_toml(text, "test.toml").unwrap().config;
        let families = Families::register(&prometheus::Registry::new(), false).unwrap();
        Sends::new(Pool::start(Arc::new(config), families, 1).await)
    }

    fn request(bytes: usize, wanted: Rung) -> Request {
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
        let mut many = sends().await;
        (0..AHEAD).for_each(|_| many.push(request(1, Rung::Queued)));
        assert!(!many.has_room());
        let mut large = sends().await;
        large.push(request(AHEAD_BYTES, Rung::Queued));
        assert!(!large.has_room());
        assert!(large.next().await.receipt.is_ok());
        assert!(large.has_room());
    }

    #[tokio::test]
    async fn receipts_that_wait_for_a_state_are_bounded() {
        let mut sends = sends().await;
        let mut pushed = 0;
        while sends.has_room() {
            sends.push(request(1, Rung::Written));
            pushed += 1;
            while !sends.is_accepted() {
                // Nothing is written, so no outcome comes; the wait lets the link answer.
                let outcome = tokio::time::timeout(Duration::from_millis(1), sends.next()).await;
                assert!(outcome.is_err(), "{outcome:?}");
            }
        }
        assert_eq!(pushed, WAITS);
    }
}
