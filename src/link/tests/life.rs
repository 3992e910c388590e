//! Messages both ways, receipts, and the attempt that takes too long.

use std::time::Duration;

use super::{
    bench::{Answer, Bench, payload},
    peer::frame,
};
use crate::{
    core::{
        close::Cause,
        event::Event,
        link::Policy,
        message::{Kind, Payload},
        phase::Phase,
        receipt::State,
    },
    link::Progress,
};

#[tokio::test(start_paused = true)]
async fn messages_of_every_length_pass_both_ways_byte_for_byte() {
    let (mut bench, mut peer) = Bench::open_with(4 << 20, Policy::default()).await;
    let mut count = 0;
    for length in [0, 1, 125, 126, 65_535, 65_536, 1 << 20] {
        for (kind, first) in [(Kind::Text, 0x81), (Kind::Binary, 0x82)] {
            let bytes: Vec<u8> = (0..length).map(|at| b'a' + u8::try_from(at % 26).unwrap()).collect();
            bench.send(payload(kind, bytes.clone())).await;
            assert_eq!(peer.next().await.expect("a frame"), (first, bytes.clone().into()));
            peer.frame(first, &bytes).await;
            count += 1;
            let arrived = bench.messages(count).await;
            assert_eq!(arrived[count - 1], payload(kind, bytes));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_came_with_the_101_is_not_lost() {
    let mut bench = Bench::with(Answer::Accept(64), Policy::default(), frame(0x81, b"early"));
    let mut peer = bench.peer().await;
    peer.text("later").await;
    let arrived = bench.messages(2).await;
    assert_eq!((arrived[0].bytes(), arrived[1].bytes()), (&"early".into(), &"later".into()));
}

#[tokio::test(start_paused = true)]
async fn bytes_are_buffered_until_the_stream_has_taken_them() {
    let (mut bench, mut peer) = Bench::open_with(64, Policy::default()).await;
    let id = bench.send(payload(Kind::Binary, vec![1; 1000])).await;
    assert_eq!(bench.buffered(), 1000);
    peer.take(500).await;
    assert_eq!(bench.buffered(), 1000);
    peer.take(8 + 500).await;
    bench.receipt(id, State::Written).await;
    assert_eq!(bench.buffered(), 0);
}

#[tokio::test(start_paused = true)]
async fn what_had_not_begun_to_leave_goes_again_and_the_rest_does_not() {
    let (mut bench, mut peer) = Bench::open_with(64, Policy::default()).await;
    let begun = bench.send(payload(Kind::Text, vec![b'a'; 100])).await;
    let mut held = Vec::new();
    for text in ["b", "c"] {
        held.push(bench.send(Payload::from(text)).await);
    }
    peer.take(10).await;
    drop(peer);
    bench.receipt(begun, State::Unknown).await;
    let mut peer = bench.peer().await;
    for text in ["b", "c"] {
        assert_eq!(peer.next().await.expect("a message"), (0x81, text.into()));
    }
    for id in held {
        bench.receipt(id, State::Written).await;
    }
}

#[tokio::test(start_paused = true)]
async fn an_attempt_that_takes_too_long_says_where_it_stood() {
    let steps = [
        (Progress::Resolving, Cause::Dns),
        (Progress::Connecting, Cause::Connect),
        (Progress::Securing, Cause::Tls),
        (Progress::Upgrading, Cause::Upgrade),
    ];
    for (step, cause) in steps {
        let mut bench = Bench::new(Answer::Hang(step));
        let before = tokio::time::Instant::now();
        let failure = bench.dial_failed().await;
        assert_eq!((failure.cause, before.elapsed().as_secs()), (cause, 10));
        assert!(failure.detail.contains("timed out"), "{}", failure.detail);
    }
}

#[tokio::test(start_paused = true)]
async fn waiting_for_admission_costs_the_attempt_no_time() {
    let mut bench = Bench::new(Answer::Hang(Progress::Queued));
    bench.phase(Phase::Waiting).await;
    tokio::time::sleep(Duration::from_hours(10)).await;
    assert!(!bench.events().iter().any(|event| matches!(event, Event::DialFailed(_))));
    assert_eq!(bench.dials(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_ready_link_wakes_only_for_its_heartbeat() {
    let (bench, mut peer) = Bench::open().await;
    for _ in 0..50 {
        let (first, nonce) = peer.next().await.expect("a ping");
        assert_eq!(first, 0x89);
        peer.frame(0x8A, &nonce).await;
    }
    tokio::task::yield_now().await;
    let pings = bench.events().iter().filter(|event| **event == Event::PingSent).count();
    assert_eq!((pings, bench.dials()), (50, 1));
}
