//! Whether a connection has a request under way, and since when it has none.
//!
//! A request is under way until its answer has been taken, so an event stream keeps its connection busy for its whole life.

use std::{
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use axum::body::{Body, HttpBody};
use bytes::Bytes;
use hyper::body::{Frame, SizeHint};
use tokio::sync::watch;

/// A request under way.
#[derive(Debug)]
pub(super) struct Busy(watch::Sender<usize>);

impl Busy {
    /// Counts itself in until it is dropped.
    pub(super) fn new(count: &watch::Sender<usize>) -> Self {
        count.send_modify(|count| *count += 1);
        Self(count.clone())
    }

    /// Counts until the body has been taken, or nobody wants it any more.
    pub(super) fn until_taken(self, body: Body) -> Answer {
        Answer { body, _busy: self }
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.send_modify(|count| *count -= 1);
    }
}

/// Ends when no request has been under way for this long, or nobody counts any more.
pub(super) async fn idle(mut busy: watch::Receiver<usize>, limit: Duration) {
    while busy.wait_for(|count| *count == 0).await.is_ok() {
        match tokio::time::timeout(limit, busy.wait_for(|count| *count > 0)).await {
            Ok(Ok(_)) => {}
            Ok(Err(_)) | Err(_) => return,
        }
    }
}

/// The body of an answer.
#[derive(Debug)]
pub(super) struct Answer {
    body: Body,
    _busy: Busy,
}

impl HttpBody for Answer {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::{Instant, sleep};

    use super::*;

    const LIMIT: Duration = Duration::from_secs(10);

    #[tokio::test(start_paused = true)]
    async fn a_connection_is_idle_once_its_last_request_is_a_while_ago() {
        let (count, began) = (watch::Sender::new(0), Instant::now());
        let request = Busy::new(&count);
        let other = Busy::new(&count);
        tokio::spawn(async move {
            sleep(LIMIT * 3).await;
            drop(request);
            sleep(LIMIT / 2).await;
            drop(other);
        });
        idle(count.subscribe(), LIMIT).await;
        assert_eq!(began.elapsed(), LIMIT * 3 + LIMIT / 2 + LIMIT);
    }
}
