//! Requests: a message is sent, and its caller gets the reply to it.
//!
//! What a reader would get wrong: how a request ends is decided by its link, and told by its receipt; a caller that goes away ends nothing.

use std::time::Duration;

use tokio::time::Instant;

use super::{Pool, Refused, Send, operator::to_its_end};
use crate::observer::Requested;
use wskeeper_core::{
    receipt::{EndReason, Receipt, State},
    requests::Reply,
};

/// A link tells the end of a request when its time is over; a task that is busy may do so later.
const GRACE: Duration = Duration::from_secs(5);

/// How a request ended.
#[derive(Debug, Clone, PartialEq)]
pub enum Answered {
    /// By a reply, be it one that says that the request failed.
    Reply(Reply),
    /// Its connection was lost before the reply came, or the link let it go.
    Lost(Receipt),
    /// No reply came in time.
    Late(Receipt),
}

impl Pool {
    /// Sends a request and waits for its reply, for so long. A request that is refused has not been asked.
    pub async fn request(&self, send: Send, timeout: Duration) -> Result<Answered, Refused> {
        let (pool, began) = (self.clone(), Instant::now());
        to_its_end(async move {
            let receipt = pool.inner.sender.send(send.asking(timeout)).await?;
            Ok(pool.answer(receipt, began, timeout).await)
        })
        .await
    }

    /// Waits for the end of a request that was accepted, and counts it, whether or not its caller stays. It `began` when it was asked for.
    pub(super) fn answered(
        &self,
        receipt: Receipt,
        began: Instant,
        timeout: Duration,
    ) -> impl Future<Output = Answered> + std::marker::Send + 'static {
        let pool = self.clone();
        to_its_end(async move { pool.answer(receipt, began, timeout).await })
    }

    async fn answer(&self, receipt: Receipt, began: Instant, timeout: Duration) -> Answered {
        let receipts = &self.inner.parts.receipts;
        let patience = timeout.saturating_add(GRACE);
        let settled = receipts.settle(receipt.id, State::Confirmed, patience).await.unwrap_or(receipt);
        let endpoint = std::sync::Arc::clone(&settled.endpoint);
        let (answered, outcome) = match receipts.take_reply(settled.id) {
            Some(reply) if reply.is_error => (Answered::Reply(reply), Requested::Error),
            Some(reply) => (Answered::Reply(reply), Requested::Reply),
            None if is_late(&settled) => (Answered::Late(settled), Requested::Timeout),
            None => (Answered::Lost(settled), Requested::Lost),
        };
        if let Some(runtime) = self.inner.parts.endpoints.get(&endpoint) {
            runtime.observer.requested(outcome, began.elapsed());
        }
        answered
    }
}

/// Whether it was waited for to the end.
fn is_late(receipt: &Receipt) -> bool {
    let by_time = [EndReason::Ttl, EndReason::AckTimeout];
    !receipt.state.is_end() || receipt.end_reason.is_some_and(|reason| by_time.contains(&reason))
}
