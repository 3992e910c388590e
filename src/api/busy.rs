//! Whether a connection has a request under way, and since when it has none.
//!
//! A request is under way until its answer has been taken, so an event stream keeps its connection busy for its whole life.
//! Nobody is woken when one begins or ends: who waits for the connection to be idle looks again when it may be.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use axum::body::{Body, HttpBody};
use bytes::Bytes;
use hyper::body::{Frame, SizeHint};
use tokio::time::{Instant, sleep_until};

/// The requests of one connection.
#[derive(Debug)]
pub(super) struct Visits {
    began: Instant,
    under_way: AtomicUsize,
    /// When the last one ended, in nanoseconds after `began`.
    ended: AtomicU64,
    /// It is HTTP/2: requests come side by side.
    multiplexed: AtomicBool,
}

/// A request under way.
#[derive(Debug)]
pub(super) struct Busy(Arc<Visits>);

impl Visits {
    pub(super) fn new() -> Arc<Self> {
        let (under_way, ended, multiplexed) = (AtomicUsize::new(0), AtomicU64::new(0), AtomicBool::new(false));
        Arc::new(Self { began: Instant::now(), under_way, ended, multiplexed })
    }

    /// A request begins; it ends when this is dropped.
    pub(super) fn begin(self: &Arc<Self>) -> Busy {
        self.under_way.fetch_add(1, Ordering::Relaxed);
        Busy(Arc::clone(self))
    }

    pub(super) fn set_multiplexed(&self) {
        self.multiplexed.store(true, Ordering::Relaxed);
    }

    pub(super) fn is_multiplexed(&self) -> bool {
        self.multiplexed.load(Ordering::Relaxed)
    }

    pub(super) fn is_busy(&self) -> bool {
        self.under_way.load(Ordering::Acquire) > 0
    }

    /// Ends when no request has been under way for this long.
    pub(super) async fn idle(&self, limit: Duration) {
        loop {
            let since = if self.is_busy() {
                Instant::now()
            } else {
                self.began + Duration::from_nanos(self.ended.load(Ordering::Relaxed))
            };
            let until = since + limit;
            if until <= Instant::now() {
                return;
            }
            sleep_until(until).await;
        }
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        let Self(visits) = self;
        let now = u64::try_from(visits.began.elapsed().as_nanos()).unwrap_or(u64::MAX);
        visits.ended.fetch_max(now, Ordering::Relaxed);
        visits.under_way.fetch_sub(1, Ordering::Release);
    }
}

/// The body of an answer. Its request is under way until it has been taken, or nobody wants it any more.
#[derive(Debug)]
pub(super) struct Answer {
    part: Part,
    _busy: Busy,
}

#[derive(Debug)]
enum Part {
    /// All of it; empty once it has been taken.
    Whole(Bytes),
    Stream(Body),
}

impl Answer {
    pub(super) fn whole(bytes: Bytes, busy: Busy) -> Self {
        Self { part: Part::Whole(bytes), _busy: busy }
    }

    pub(super) fn stream(body: Body, busy: Busy) -> Self {
        Self { part: Part::Stream(body), _busy: busy }
    }
}

impl HttpBody for Answer {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        match &mut self.part {
            Part::Whole(bytes) if bytes.is_empty() => Poll::Ready(None),
            Part::Whole(bytes) => Poll::Ready(Some(Ok(Frame::data(std::mem::take(bytes))))),
            Part::Stream(body) => Pin::new(body).poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.part {
            Part::Whole(bytes) => bytes.is_empty(),
            Part::Stream(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.part {
            Part::Whole(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Part::Stream(body) => body.size_hint(),
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::sleep;

    use super::*;

    const LIMIT: Duration = Duration::from_secs(10);

    #[tokio::test(start_paused = true)]
    async fn a_connection_is_idle_once_its_last_request_is_a_while_ago() {
        let (visits, began) = (Visits::new(), Instant::now());
        let (request, other) = (visits.begin(), visits.begin());
        tokio::spawn(async move {
            sleep(LIMIT * 3).await;
            drop(request);
            sleep(LIMIT / 2).await;
            drop(other);
        });
        visits.idle(LIMIT).await;
        assert_eq!(began.elapsed(), LIMIT * 3 + LIMIT / 2 + LIMIT);
    }
}
