//! Whether a connection has a request under way, and since when it has none.
//!
//! A request is under way until its answer has been taken, so an event stream keeps its connection busy for its whole life.
//! Nobody is woken when one begins or ends: who waits for the connection to be idle looks again when it may be. An answer leaves
//! in pieces, so that what a slow client has not taken stays here, where it is counted, and not in HTTP's own buffers.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use axum::body::{Body, HttpBody};
use bytes::Bytes;
use hyper::body::{Frame, SizeHint};
use tokio::time::{Instant, sleep_until};

use wskeeper_core::budget::{Budget, Lease, Rank};
use wskeeper_link::clock::Moment;

/// What an answer hands over at a time.
const PIECE: usize = 16 << 10;

/// The requests of one connection.
#[derive(Debug)]
pub(super) struct Visits {
    began: Instant,
    under_way: AtomicUsize,
    /// When the last one ended, in nanoseconds after `began`.
    ended: AtomicU64,
    /// It is HTTP/2: requests come side by side.
    multiplexed: AtomicBool,
    /// Answers of HTTP/2 of which something has not been asked for yet.
    owed: AtomicUsize,
    /// When one of them was last asked, or handed something over, in nanoseconds after `began`.
    moved: AtomicU64,
}

/// A request under way.
#[derive(Debug)]
pub(super) struct Busy(Arc<Visits>);

impl Visits {
    pub(super) fn new() -> Arc<Self> {
        let (under_way, ended, multiplexed) = (AtomicUsize::new(0), AtomicU64::new(0), AtomicBool::new(false));
        let (owed, moved) = (AtomicUsize::new(0), AtomicU64::new(0));
        Arc::new(Self { began: Instant::now(), under_way, ended, multiplexed, owed, moved })
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
            let since = if self.is_busy() { Instant::now() } else { self.at(&self.ended) };
            let until = since.later(limit);
            if until <= Instant::now() {
                return;
            }
            sleep_until(until).await;
        }
    }

    /// Ends when for this long an HTTP/2 client has taken nothing of what it is owed. Where it opens no window, nothing
    /// is written that could be seen to stand still below. It never ends for HTTP/1, whose one answer is always being written.
    pub(super) async fn stalled(&self, limit: Duration) {
        loop {
            let is_owed = self.owed.load(Ordering::Acquire) > 0;
            let since = if is_owed { self.at(&self.moved) } else { Instant::now() };
            let until = since.later(limit);
            if until <= Instant::now() {
                return;
            }
            sleep_until(until).await;
        }
    }

    fn at(&self, nanos: &AtomicU64) -> Instant {
        self.began.later(Duration::from_nanos(nanos.load(Ordering::Relaxed)))
    }

    fn nanos(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    /// An answer is to be asked for more from now on; says whether that is minded.
    fn owe(&self) -> bool {
        let is_minded = self.is_multiplexed();
        if is_minded {
            self.moved.fetch_max(self.nanos(), Ordering::Relaxed);
            self.owed.fetch_add(1, Ordering::Release);
        }
        is_minded
    }

    fn asked(&self) {
        self.moved.fetch_max(self.nanos(), Ordering::Relaxed);
        self.owed.fetch_sub(1, Ordering::Release);
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        let Self(visits) = self;
        visits.ended.fetch_max(visits.nanos(), Ordering::Relaxed);
        visits.under_way.fetch_sub(1, Ordering::Release);
    }
}

/// The body of an answer. Its request is under way until it has been taken, or nobody wants it any more.
#[derive(Debug)]
pub(super) struct Answer {
    /// What is to be handed over next.
    rest: Bytes,
    /// Where more comes from.
    stream: Option<Body>,
    /// The share of what waits here; nothing where it is little, or somebody else has it.
    lease: Option<Lease>,
    budget: Option<Arc<Budget>>,
    /// It was not asked for what comes next yet, or for its end.
    is_owed: bool,
    busy: Busy,
}

impl Answer {
    /// All of it, which is not much.
    pub(super) fn whole(bytes: Bytes, busy: Busy) -> Self {
        Self::new(bytes, None, None, busy)
    }

    /// Counts what waits in `budget`; `None`: it is counted already.
    pub(super) fn stream(body: Body, budget: Option<Arc<Budget>>, busy: Busy) -> Self {
        Self::new(Bytes::new(), Some(body), budget, busy)
    }

    fn new(rest: Bytes, stream: Option<Body>, budget: Option<Arc<Budget>>, busy: Busy) -> Self {
        let mut answer = Self { rest, stream, lease: None, budget, is_owed: false, busy };
        answer.owe();
        answer
    }

    /// Also before the first piece, and for the last: without a window neither leaves.
    fn owe(&mut self) {
        self.is_owed = self.busy.0.owe();
    }

    fn asked(&mut self) {
        if std::mem::take(&mut self.is_owed) {
            self.busy.0.asked();
        }
    }

    /// The next piece of what is there.
    fn piece(&mut self) -> Bytes {
        let piece = self.rest.split_to(self.rest.len().min(PIECE));
        match &mut self.lease {
            // Fewer bytes are always to be had.
            Some(lease) => drop(lease.resize(self.rest.len() as u64)),
            None if self.rest.is_empty() => {}
            None => {
                self.lease = self.budget.as_ref().map(|budget| budget.lease(Rank::Leaving));
                self.lease.iter_mut().for_each(|lease| lease.resize_beyond(self.rest.len() as u64));
            }
        }
        if self.rest.is_empty() {
            self.lease = None;
        }
        self.owe();
        piece
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        self.asked();
    }
}

impl HttpBody for Answer {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        self.asked();
        if self.rest.is_empty() {
            let Some(stream) = &mut self.stream else { return Poll::Ready(None) };
            match ready!(Pin::new(stream).poll_frame(cx)) {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => self.rest = data,
                    Err(trailers) => return Poll::Ready(Some(Ok(trailers))),
                },
                end => return Poll::Ready(end),
            }
        }
        Poll::Ready(Some(Ok(Frame::data(self.piece()))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.stream.as_ref().is_none_or(HttpBody::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        let rest = self.rest.len() as u64;
        match &self.stream {
            None => SizeHint::with_exact(rest),
            Some(body) if rest == 0 => body.size_hint(),
            Some(_) => SizeHint::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt as _;
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

    #[tokio::test(start_paused = true)]
    async fn a_client_that_takes_nothing_of_an_answer_is_stalled_and_one_to_whom_nothing_is_owed_is_not() {
        let (visits, budget) = (Visits::new(), Budget::new(1 << 20));
        visits.set_multiplexed();
        let mut deaf = Answer::stream(Body::from(vec![b'x'; PIECE * 3]), Some(Arc::clone(&budget)), visits.begin());
        let began = Instant::now();
        visits.stalled(LIMIT).await;
        assert_eq!(began.elapsed(), LIMIT, "it was not asked at all");
        assert_eq!(deaf.frame().await.unwrap().unwrap().into_data().unwrap().len(), PIECE);
        assert_eq!(budget.used(), PIECE as u64 * 2);
        sleep(LIMIT / 2).await;
        assert_eq!(deaf.frame().await.unwrap().unwrap().into_data().unwrap().len(), PIECE);
        visits.stalled(LIMIT).await;
        assert_eq!(began.elapsed(), LIMIT + LIMIT / 2 + LIMIT);
        drop(deaf);
        assert_eq!(budget.used(), 0);
        assert!(tokio::time::timeout(LIMIT * 2, visits.stalled(LIMIT)).await.is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_of_http_1_is_minded_below() {
        let visits = Visits::new();
        let _deaf = Answer::whole(Bytes::from_static(b"x"), visits.begin());
        assert!(tokio::time::timeout(LIMIT * 2, visits.stalled(LIMIT)).await.is_err());
    }

    #[tokio::test]
    async fn an_answer_in_pieces_is_what_it_was() {
        let text: Vec<u8> = (0..PIECE * 2 + 7).map(|place| u8::try_from(place % 251).unwrap()).collect();
        for answer in [
            Answer::whole(text.clone().into(), Visits::new().begin()),
            Answer::stream(Body::from(text.clone()), None, Visits::new().begin()),
        ] {
            assert_eq!(HttpBody::size_hint(&answer).exact(), Some(text.len() as u64));
            assert_eq!(answer.collect().await.unwrap().to_bytes(), text);
        }
    }
}
