//! `GET /metrics`: one text for all who ask at the same time, made by a thread of its own.
//!
//! The text of thousands of series takes a second to write, and the threads that serve links have better to do. One is made at a
//! time, whoever asks meanwhile gets the same, and a text that was much work serves for a second.

use std::{
    sync::{Arc, mpsc},
    thread,
    time::Duration,
};

use axum::{
    body::{Body, Bytes},
    extract::State,
    response::{IntoResponse, Response},
};
use http::{HeaderValue, header};
use tokio::{sync::oneshot, time::Instant};

#[cfg(test)]
use super::wire;
use super::{Shared, problem::Problem};
use wskeeper_core::budget::{Budget, Lease, Rank};
use wskeeper_link::clock::Moment;

/// How long a text serves that took the processor as long as this; another is made anew.
const FRESH: Duration = Duration::from_secs(1);
const MUCH: Duration = Duration::from_millis(50);
/// What the thread's priority is lowered by.
#[cfg(target_os = "linux")]
const NICE: i32 = 5;

/// The body of an answer has its share of the budget.
#[derive(Debug, Clone, Copy)]
pub(super) struct Shares;

/// `None`: there was no room for it.
type Text = Option<Bytes>;

/// Asks the thread that makes the text.
#[derive(Debug)]
pub(super) struct Scribe(mpsc::Sender<oneshot::Sender<Text>>);

impl Scribe {
    /// Starts the thread; it ends with what this returns.
    pub(super) fn start(budget: Arc<Budget>, write: impl FnMut() -> String + Send + 'static) -> Self {
        let (ask, asked) = mpsc::channel();
        let began = thread::Builder::new().name("metrics".into()).spawn(move || serve(&asked, &budget, write));
        if let Err(error) = began {
            tracing::error!(%error, "there is no thread for metrics, so there are none");
        }
        Self(ask)
    }

    async fn text(&self) -> Result<Bytes, Problem> {
        let (tell, told) = oneshot::channel();
        // Without the thread, both fail.
        let _ = self.0.send(tell);
        match told.await {
            Ok(text) => text.ok_or_else(Problem::no_room),
            Err(_) => Err(Problem::new(
                http::StatusCode::INTERNAL_SERVER_ERROR,
                "internal",
                "The daemon failed",
                "metrics cannot be written; look at the log",
            )),
        }
    }
}

/// A text and its share, which all who read it have together.
struct Written {
    text: String,
    _lease: Lease,
}

impl AsRef<[u8]> for Written {
    fn as_ref(&self) -> &[u8] {
        self.text.as_bytes()
    }
}

fn serve(asked: &mpsc::Receiver<oneshot::Sender<Text>>, budget: &Arc<Budget>, mut write: impl FnMut() -> String) {
    // Of this thread alone, on Linux. Where it may not be lowered, the text is made as fast as anything.
    #[cfg(target_os = "linux")]
    let _ = rustix::process::nice(NICE);
    let mut kept: Option<(Bytes, Instant)> = None;
    while let Ok(first) = asked.recv() {
        let fresh = kept.take().filter(|(_, until)| Instant::now() < *until);
        kept = fresh.or_else(|| {
            let began = spent();
            let (text, mut lease) = (write(), budget.lease(Rank::Leaving));
            let is_much = spent().saturating_sub(began) >= MUCH;
            let until = Instant::now().later(if is_much { FRESH } else { Duration::ZERO });
            let has_room = lease.resize(text.len() as u64);
            has_room.then(|| (Bytes::from_owner(Written { text, _lease: lease }), until))
        });
        let text = kept.as_ref().map(|(text, _)| text.clone());
        // All of them before the first is told: who asks again after an answer wants what has been counted since.
        let all: Vec<_> = std::iter::once(first).chain(asked.try_iter()).collect();
        for who in all {
            // Who has gone does not want it any more.
            let _ = who.send(text.clone());
        }
    }
}

/// The processor's time that this thread has had.
fn spent() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::try_from(time).unwrap_or_default()
}

/// `GET /metrics`, Prometheus text 0.0.4
#[cfg_attr(test, utoipa::path(get, path = "/metrics", tag = "daemon", operation_id = "metrics",
    responses((status = 200, description = "Prometheus text 0.0.4.", body = String, content_type = "text/plain"), (status = "default", description = "A problem (RFC 9457).", content_type = "application/problem+json", body = wire::Problem))))]
pub(super) async fn metrics(State(shared): State<Arc<Shared>>) -> Result<Response, Problem> {
    let text = shared.scribe.text().await?;
    let kind = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    let mut response = ([(header::CONTENT_TYPE, kind)], Body::from(text)).into_response();
    response.extensions_mut().insert(Shares);
    Ok(response)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic;

    use parking_lot::Mutex;

    use super::*;

    #[tokio::test]
    async fn who_asks_while_a_text_is_made_has_the_same() {
        let (made, budget) = (Arc::new(atomic::AtomicU32::new(0)), Budget::new(1 << 20));
        let (go, gate) = mpsc::channel::<()>();
        let (count, gate) = (Arc::clone(&made), Mutex::new(gate));
        let scribe = Scribe::start(Arc::clone(&budget), move || {
            gate.lock().recv().unwrap();
            let made = count.fetch_add(1, atomic::Ordering::Relaxed) + 1;
            format!("text {made}")
        });
        let all = futures_util::future::join_all((0..16).map(|_| scribe.text()));
        let open = async { go.send(()).unwrap() };
        let (texts, ()) = tokio::join!(all, open);
        assert!(texts.iter().all(|text| text.as_deref() == Ok(b"text 1")), "{texts:?}");
        assert_eq!(budget.used(), 6, "all of them have one text");
    }

    #[tokio::test]
    async fn who_asks_again_after_an_answer_has_a_newer_text() {
        let mut made = 0;
        let scribe = Scribe::start(Budget::new(1 << 20), move || {
            made += 1;
            made.to_string()
        });
        for wanted in 1..=500 {
            assert_eq!(scribe.text().await.as_deref(), Ok(wanted.to_string().as_bytes()));
        }
    }

    #[tokio::test]
    async fn a_text_for_which_there_is_no_room_is_refused() {
        let budget = Budget::new(3);
        let _queued = budget.reserve(2);
        let scribe = Scribe::start(budget, || "text".into());
        assert!(scribe.text().await.is_err_and(|problem| problem.is_full()));
    }
}
