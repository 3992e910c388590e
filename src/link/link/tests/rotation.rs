//! Two connections of one link: which of them gets what, and when the old one goes.

use std::time::Duration;

use super::{
    bench::{Answer, Bench, payload},
    peer::Peer,
};
use crate::link::Progress;
use wskeeper_core::{
    close::Cause,
    event::Event,
    link::{Policy, Verb},
    message::{Kind, Payload},
    outbox::FRAGMENT_MAX,
    phase::Phase,
    receipt::State,
};

impl Bench {
    async fn rotated(&mut self, to: u64) {
        let rotated = |event: &Event| matches!(event, Event::Rotated { to: reached, .. } if *reached == to);
        self.until("rotated", |seen| seen.events.iter().any(rotated).then_some(())).await;
    }
}

/// Answers the ping that must be the next frame.
async fn prove(peer: &mut Peer) {
    let (first, nonce) = peer.next().await.expect("a ping");
    assert_eq!(first, 0x89, "a ping, not {nonce:?}");
    peer.frame(0x8A, &nonce).await;
}

#[tokio::test(start_paused = true)]
async fn the_new_connection_is_open_before_the_old_one_is_closed_and_both_are_read() {
    let (mut bench, mut old) = Bench::open().await;
    bench.verb(Verb::Rotate).await;
    let mut new = bench.peer().await;
    bench.rotated(2).await;
    old.text("on the old one").await;
    new.text("on the new one").await;
    assert_eq!(bench.messages(2).await.len(), 2);
    bench.send("to the new one".into()).await;
    assert_eq!(new.next().await, Some((0x81, "to the new one".into())));
    assert_eq!(old.next_close().await, 1000);
    old.text("the last word").await;
    old.close(1000, "").await;
    drop(old);
    let closed = bench.closed().await;
    assert_eq!((closed.cause, closed.code, closed.was_clean), (Cause::Rotate, 1000, true));
    assert_eq!(bench.messages(3).await[2], "the last word".into());
    assert_eq!(bench.dials(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_message_waits_until_the_peer_has_read_those_before_it() {
    let (mut bench, mut old) = Bench::open().await;
    let first = bench.send("first".into()).await;
    assert_eq!(old.next().await, Some((0x81, "first".into())));
    bench.verb(Verb::Rotate).await;
    let mut new = bench.peer().await;
    let second = bench.send("second".into()).await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(bench.buffered(), 6, "it waits");
    prove(&mut old).await;
    assert_eq!(new.next().await, Some((0x81, "second".into())));
    bench.receipt(first, State::Confirmed).await;
    bench.receipt(second, State::Written).await;
}

#[tokio::test(start_paused = true)]
async fn a_long_message_is_not_torn_apart_by_a_rotation() {
    let (mut bench, mut old) = Bench::open_with(64, Policy::default()).await;
    let long = bench.send(payload(Kind::Binary, vec![7; 3 * FRAGMENT_MAX])).await;
    old.take(1000).await;
    bench.verb(Verb::Rotate).await;
    let mut new = bench.peer().await;
    bench.send("behind it".into()).await;
    old.take(3 * (8 + FRAGMENT_MAX) - 1000).await;
    bench.receipt(long, State::Written).await;
    prove(&mut old).await;
    assert_eq!(new.next().await, Some((0x81, "behind it".into())));
    bench.receipt(long, State::Confirmed).await;
}

#[tokio::test(start_paused = true)]
async fn a_successor_that_is_refused_or_silent_does_not_disturb_the_connection() {
    for (answer, wait) in [(Answer::Refuse, 0), (Answer::Hang(Progress::Upgrading), 11)] {
        let (mut bench, mut peer) = Bench::open().await;
        bench.answer(answer);
        bench.verb(Verb::Rotate).await;
        tokio::time::sleep(Duration::from_secs(wait)).await;
        let failed = |event: &Event| matches!(event, Event::RotateFailed { .. });
        bench.until("no new connection", |seen| seen.events.iter().any(failed).then_some(())).await;
        bench.send("meanwhile".into()).await;
        assert_eq!(peer.next().await, Some((0x81, "meanwhile".into())));
        bench.phase(Phase::Ready).await;
        bench.answer(Answer::Accept(64));
        let mut new = bench.peer().await;
        prove(&mut peer).await;
        bench.rotated(2).await;
        bench.send("at last".into()).await;
        assert_eq!(new.next().await, Some((0x81, "at last".into())));
    }
}

#[tokio::test(start_paused = true)]
async fn a_connection_lost_while_the_new_one_stands_by_leaves_no_hole() {
    let (mut bench, mut old) = Bench::open().await;
    let written = bench.send("written".into()).await;
    assert!(old.next().await.is_some());
    bench.verb(Verb::Rotate).await;
    let mut new = bench.peer().await;
    bench.send("next".into()).await;
    drop(old);
    assert_eq!(new.next().await, Some((0x81, Payload::from("next").bytes().clone())));
    bench.receipt(written, State::Unknown).await;
    assert_eq!(bench.dials(), 2, "no other attempt was needed");
    bench.rotated(2).await;
}

#[tokio::test(start_paused = true)]
async fn a_stop_in_the_midst_of_a_rotation_closes_both_connections() {
    let (mut bench, mut old) = Bench::open().await;
    bench.verb(Verb::Rotate).await;
    let mut new = bench.peer().await;
    bench.rotated(2).await;
    bench.stop(Duration::from_secs(5)).await;
    assert_eq!((old.next_close().await, new.next_close().await), (1000, 1001));
    for peer in [&mut old, &mut new] {
        peer.close(1000, "").await;
    }
    drop((old, new));
    bench.end().await;
    let ends = bench.events().iter().filter(|event| matches!(event, Event::Closed { .. })).count();
    assert_eq!(ends, 2);
}
