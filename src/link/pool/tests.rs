//! The pool with links whose tasks fail: what one link's fault may and may not touch.

mod acceptance;
mod extremes;
mod failover;
mod journal;
mod links;

use std::{
    collections::BTreeMap,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use parking_lot::Mutex;
use tokio::time::{Instant, timeout};

use super::*;
use crate::{
    hub,
    observer::{LinkObserver, Observer, Silent},
    written,
};
use wskeeper_core::{
    link::Verb,
    message::{MessageId, Payload},
    phase::{Phase, Reason},
    receipt::{EndReason, Receipt, State},
};

const PATIENCE: Duration = Duration::from_secs(20);

/// Two endpoints that nobody listens for, and that rest until somebody wants them.
const TEXT: &str = r#"
    [endpoints.faulty]
    url = "ws://127.0.0.1:9/"
    [endpoints.sound]
    url = "ws://127.0.0.1:9/"
"#;

/// Notes what was lost.
#[derive(Debug, Default, Clone)]
struct Losses(Arc<Mutex<Vec<(State, EndReason)>>>);

impl Observer for Losses {
    fn link(&self, _endpoint: &Arc<str>, _index: u32) -> Arc<dyn LinkObserver> {
        Arc::new(self.clone())
    }
}

impl LinkObserver for Losses {
    fn lost(&self, state: State, end_reason: EndReason) {
        self.0.lock().push((state, end_reason));
    }
}

async fn pool() -> Pool {
    told(Arc::new(Silent)).await
}

async fn told(observer: Arc<dyn Observer>) -> Pool {
    let settings = written::settings(TEXT);
    let pool = Pool::start(settings, observer, 1).await;
    for endpoint in ["faulty", "sound"] {
        pool.command(endpoint, 0, Verb::Pause).await.expect("the link obeys");
    }
    pool
}

/// The next `count` attempts of the faulty link panic, and it is told to begin one.
async fn break_down(pool: &Pool, count: u32) {
    pool.inner.parts.endpoints.get("faulty").expect("it is configured").faults.store(count, Ordering::SeqCst);
    // The task panics before it can answer.
    let _ = pool.command("faulty", 0, Verb::Resume).await;
}

async fn rests(pool: &Pool, phase: Phase, reason: Reason) -> LinkView {
    let wait = async {
        loop {
            let view = pool.link("faulty", 0).expect("it is configured");
            if (view.phase, view.reason) == (phase, reason) {
                return view;
            }
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, wait).await.expect("the link comes to rest")
}

fn send(endpoint: &str) -> Send {
    Send::new(endpoint, Payload::binary("tick"))
}

#[tokio::test]
async fn a_link_that_panics_goes_on_with_a_new_task() {
    let pool = pool().await;
    break_down(&pool, 1).await;
    let view = rests(&pool, Phase::Waiting, Reason::Backoff).await;
    assert_eq!(view.attempt, 1, "the new task counts from the start");
    let panics =
        pool.history("faulty", 0).expect("it is configured").iter().filter(|line| line.event == "panic").count();
    assert_eq!(panics, 1);
}

#[tokio::test]
async fn a_link_that_panics_too_often_is_parked_and_can_be_resumed() {
    let pool = pool().await;
    break_down(&pool, 4).await;
    let parked = rests(&pool, Phase::Parked, Reason::Panicked).await;
    assert!(parked.next_attempt_at.is_some(), "a parked link probes");
    let sound = pool.link("sound", 0).expect("it is configured");
    assert_eq!((sound.phase, sound.reason), (Phase::Paused, Reason::Operator), "nobody else notices");
    pool.command("faulty", 0, Verb::Resume).await.expect("a parked link obeys");
    rests(&pool, Phase::Waiting, Reason::Backoff).await;
}

#[tokio::test]
async fn what_a_panicking_task_held_is_dropped_with_that_reason() {
    let losses = Arc::new(Losses::default());
    let pool = told(Arc::<Losses>::clone(&losses)).await;
    let receipt = pool.send(send("faulty")).await.expect("it is accepted");
    break_down(&pool, 1).await;
    let receipt = pool.settle(receipt.id, State::Confirmed, PATIENCE).await.expect("the receipt is kept");
    assert_eq!((receipt.state, receipt.end_reason), (State::Dropped, Some(EndReason::Panicked)));
    assert_eq!(pool.link("faulty", 0).expect("it is configured").buffered_amount, 0);
    assert_eq!(*losses.0.lock(), [(State::Dropped, EndReason::Panicked)], "the loss is told");
}

#[tokio::test(start_paused = true)]
async fn receipts_of_an_idle_pool_are_forgotten_in_time() {
    let pool = pool().await;
    let mut dropped = send("sound");
    dropped.ttl = Some(Duration::from_secs(1));
    let receipt = pool.send(dropped).await.expect("it is accepted");
    let end = pool.settle(receipt.id, State::Confirmed, PATIENCE).await.expect("the receipt is kept");
    assert_eq!(end.state, State::Expired);
    let keep = pool.endpoint("sound").expect("it is configured").config.receipts_keep;
    tokio::time::sleep(keep + Duration::from_secs(30)).await;
    assert!(pool.receipt(receipt.id).is_none());
}

#[tokio::test]
async fn what_is_paused_while_connecting_ends_as_browsers_have_it() {
    // It accepts, and never answers the upgrade.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let url = format!("ws://{}/", silent.local_addr().expect("it is bound"));
    let settings = written::settings(&format!("[endpoints.e]\nurl = '{url}'"));
    let pool = Pool::start(settings, Arc::new(Silent), 1).await;
    let connecting = async {
        while pool.link("e", 0).expect("it is configured").phase != Phase::Connecting {
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, connecting).await.expect("it dials");
    let mut events = pool.subscribe_all(hub::From::Latest);
    pool.command("e", 0, Verb::Pause).await.expect("the link obeys");
    let mut told = Vec::new();
    while told.len() < 4 {
        let next = events.next_within(PATIENCE).await.expect("there is more");
        let hub::Next::Entry(entry) = next else { panic!("{next:?}") };
        told.push(match &entry.item {
            hub::Item::Phase { phase, .. } => phase.to_string(),
            hub::Item::Error { cause, .. } => format!("error {cause}"),
            hub::Item::Close(closed) => format!("close {} {} {}", closed.code, closed.was_clean, closed.cause),
            item => panic!("{item:?}"),
        });
    }
    assert_eq!(told, ["closing", "error operator", "close 1006 false operator", "paused"]);
}
