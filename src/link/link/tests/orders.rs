//! Orders are obeyed in every state, and every one is answered.

use std::time::Duration;

use super::{
    bench::{Answer, Bench},
    peer::frame,
};
use crate::link::{Order, Progress, driver::BATCH};
use wskeeper_core::{
    close::{Cause, CloseFrame},
    link::{Policy, Verb},
    message::Payload,
    outbox::{self, OnFull, Refusal},
    phase::{Phase, Reason},
    receipt::{EndReason, State},
};

const MINUTE: Duration = Duration::from_mins(1);

fn waiting_outbox(max_messages: usize) -> Policy {
    let outbox = outbox::Policy { max_messages, on_full: OnFull::Wait, ..outbox::Policy::default() };
    Policy { outbox: outbox.into(), ..Policy::default() }
}

#[tokio::test(start_paused = true)]
async fn a_pause_is_obeyed_in_every_state() {
    for answer in [Answer::Hang(Progress::Resolving), Answer::Hang(Progress::Queued), Answer::Refuse] {
        let mut bench = Bench::new(answer);
        tokio::task::yield_now().await;
        bench.verb(Verb::Pause).await;
        bench.phase(Phase::Paused).await;
        bench.verb(Verb::Resume).await;
        bench.answer(Answer::Accept(64));
        bench.verb(Verb::Reconnect).await;
        let _peer = bench.peer().await;
        bench.phase(Phase::Ready).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_close_is_sent_as_asked_and_ends_in_paused() {
    let (mut bench, mut peer) = Bench::open().await;
    bench.verb(Verb::Close(Some(CloseFrame { code: 3001, reason: "tea".into() }))).await;
    assert_eq!(&peer.next().await.expect("a Close").1[..], b"\x0b\xb9tea");
    bench.phase(Phase::Closing).await;
    bench.verb(Verb::Close(None)).await;
    peer.close(3001, "tea").await;
    drop(peer);
    let closed = bench.closed().await;
    assert_eq!((closed.code, closed.was_clean, closed.cause), (3001, true, Cause::Operator));
    bench.phase(Phase::Paused).await;
}

#[tokio::test(start_paused = true)]
async fn a_close_that_is_never_answered_ends_after_close_timeout() {
    let (mut bench, mut peer) = Bench::open().await;
    bench.verb(Verb::Close(None)).await;
    let before = tokio::time::Instant::now();
    assert_eq!(peer.next().await.expect("a Close"), (0x88, "".into()));
    assert_eq!(peer.next().await, None, "TCP is aborted");
    assert_eq!(before.elapsed().as_secs(), 5);
    assert!(!bench.closed().await.was_clean);
}

#[tokio::test(start_paused = true)]
async fn a_stop_sends_1001_and_ends_in_the_time_it_names() {
    let (mut bench, mut peer) = Bench::open().await;
    bench.stop(Duration::from_secs(2)).await;
    assert_eq!(peer.next_close().await, 1001);
    assert_eq!(bench.end().await.as_secs(), 2);
    for answer in [Answer::Hang(Progress::Upgrading), Answer::Refuse] {
        let mut bench = Bench::new(answer);
        tokio::task::yield_now().await;
        bench.stop(MINUTE).await;
        assert_eq!(bench.end().await, Duration::ZERO);
    }
}

#[tokio::test(start_paused = true)]
async fn a_link_that_a_reload_has_no_more_says_so_and_not_that_the_daemon_stops() {
    for (end_reason, cause, reason) in
        [(EndReason::Removed, Cause::Reload, Reason::Reload), (EndReason::Shutdown, Cause::Shutdown, Reason::Shutdown)]
    {
        let (mut bench, mut peer) = Bench::open().await;
        bench.order(Order::Stop(Duration::from_secs(2), end_reason)).await;
        assert_eq!(peer.next_close().await, 1001);
        assert_eq!(bench.closed().await.cause, cause);
        let reasons = bench.phases().await;
        assert!(reasons.ends_with(&[(Phase::Closing, reason), (Phase::Paused, reason)]), "{reasons:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_abandoned_link_ends_at_once_and_does_not_spin() {
    let (mut bench, peer) = Bench::open().await;
    bench.abandon();
    assert_eq!(bench.end().await, Duration::ZERO);
    drop(peer);
    let mut bench = Bench::new(Answer::Hang(Progress::Connecting));
    bench.abandon();
    assert_eq!(bench.end().await, Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn what_is_offered_behind_a_stop_is_not_accepted() {
    let mut bench = Bench::new(Answer::Refuse);
    tokio::task::yield_now().await;
    bench.stop(MINUTE).await;
    let (_, answer) = bench.offer(Payload::from("late"), MINUTE).await;
    bench.end().await;
    assert_ne!(answer.await, Some(Ok(())));
}

#[tokio::test(start_paused = true)]
async fn an_offer_that_waits_when_the_link_stops_is_not_accepted() {
    let mut bench = Bench::with(Answer::Refuse, waiting_outbox(1), Vec::new());
    let held = bench.send(Payload::from("held")).await;
    let (_, answer) = bench.offer(Payload::from("waits"), MINUTE).await;
    bench.stop(MINUTE).await;
    bench.end().await;
    bench.receipt(held, State::Dropped).await;
    assert_ne!(answer.await, Some(Ok(())));
}

#[tokio::test(start_paused = true)]
async fn what_waits_for_room_is_let_in_in_order_also_when_its_caller_has_gone() {
    let mut bench = Bench::with(Answer::Refuse, waiting_outbox(1), Vec::new());
    bench.send(Payload::from("0")).await;
    let mut answers = Vec::new();
    for text in ["1", "2", "3", "4"] {
        answers.push(bench.offer(Payload::from(text), MINUTE).await.1);
    }
    drop(answers.remove(1));
    bench.answer(Answer::Accept(64));
    let mut peer = bench.peer().await;
    for text in ["0", "1", "2", "3", "4"] {
        assert_eq!(peer.next().await.expect("a message"), (0x81, text.into()));
    }
    for answer in answers {
        assert_eq!(answer.await, Some(Ok(())));
    }
}

#[tokio::test(start_paused = true)]
async fn the_ping_that_asks_for_a_proof_follows_its_message_at_once() {
    let outbox = outbox::Policy { delivery: outbox::Delivery::AtLeastOnce, ..outbox::Policy::default() };
    let policy = Policy { outbox: outbox.into(), ..Policy::default() };
    let (mut bench, mut peer) = Bench::open_with(64 << 10, policy).await;
    let before = tokio::time::Instant::now();
    bench.send(Payload::from("one")).await;
    assert_eq!(peer.next().await.expect("a message"), (0x81, "one".into()));
    assert_eq!(peer.next().await.expect("a ping").0, 0x89);
    assert_eq!(before.elapsed(), Duration::ZERO, "no timer was waited for");
}

#[tokio::test(start_paused = true)]
async fn more_than_one_round_takes_goes_on_in_the_next_both_ways() {
    const MANY: usize = 3 * BATCH;
    let mut bench = Bench::new(Answer::Refuse);
    for _ in 0..MANY {
        bench.send(Payload::from("out")).await;
    }
    bench.answer(Answer::Accept(64 << 10));
    let mut peer = bench.peer().await;
    let before = tokio::time::Instant::now();
    for _ in 0..MANY {
        assert_eq!(peer.next().await.expect("a message"), (0x81, "out".into()));
    }
    peer.raw(&frame(0x81, b"in").repeat(MANY)).await;
    bench.messages(MANY).await;
    assert_eq!(before.elapsed(), Duration::ZERO, "no timer was waited for");
}

#[tokio::test(start_paused = true)]
async fn patience_that_is_over_is_a_full_outbox() {
    let mut bench = Bench::with(Answer::Hang(Progress::Queued), waiting_outbox(1), Vec::new());
    bench.send(Payload::from("0")).await;
    let (_, none) = bench.offer(Payload::from("1"), Duration::ZERO).await;
    assert_eq!(none.await, Some(Err(Refusal::Full)));
    let (_, some) = bench.offer(Payload::from("2"), Duration::from_secs(7)).await;
    let before = tokio::time::Instant::now();
    assert_eq!(some.await, Some(Err(Refusal::Full)));
    assert_eq!(before.elapsed().as_secs(), 7);
}

#[tokio::test(start_paused = true)]
async fn a_new_policy_applies_at_once_and_redials_only_when_asked() {
    let (mut bench, mut peer) = Bench::open().await;
    let outbox = outbox::Policy { max_message: 3, ..outbox::Policy::default() };
    let policy = std::sync::Arc::new(Policy { outbox: outbox.into(), ..Policy::default() });
    bench.order(Order::Retune { policy: policy.clone(), bucket: None, allowance: None, renew: false }).await;
    let (_, answer) = bench.offer(Payload::from("four"), MINUTE).await;
    assert_eq!(answer.await, Some(Err(Refusal::TooBig)));
    assert_eq!(bench.dials(), 1);
    let policy = std::sync::Arc::new(Policy { rotates: false, ..Policy::clone(&policy) });
    bench.order(Order::Retune { policy, bucket: None, allowance: None, renew: true }).await;
    assert_eq!(peer.next_close().await, 1000);
    peer.close(1000, "").await;
    drop(peer);
    let _peer = bench.peer().await;
    assert_eq!(bench.closed().await.cause, Cause::Reload);
}
