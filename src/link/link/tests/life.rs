//! Messages both ways, receipts, and the attempt that takes too long.

use std::time::Duration;

use super::{
    bench::{Answer, Bench, payload},
    peer::frame,
};
use crate::link::Progress;
use wskeeper_core::{
    close::Cause,
    event::Event,
    link::Policy,
    message::{Kind, Payload},
    outbox::{Ended, FRAGMENT_MAX},
    phase::Phase,
    receipt::State,
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
    // The head of its frame and the mask take 8.
    bench.until("what fits has left", |seen| (seen.buffered == 1000 - (64 - 8)).then_some(())).await;
    peer.take(500).await;
    bench.until("half of it has left", |seen| (seen.buffered == 1000 - (64 - 8) - 500).then_some(())).await;
    peer.take(8 + 500).await;
    bench.receipt(id, State::Written).await;
    assert_eq!(bench.buffered(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_pong_need_not_wait_for_the_end_of_a_long_message() {
    let (mut bench, mut peer) = Bench::open_with(64, Policy::default()).await;
    let long = bench.send(payload(Kind::Text, vec![b'x'; 5 * FRAGMENT_MAX + 1])).await;
    peer.frame(0x89, b"now").await;
    let mut frames = Vec::new();
    while let Some((first, bytes)) = peer.fragment().await {
        frames.push((first, bytes.len()));
        if first == 0x80 {
            break;
        }
    }
    let all = [(0x01, FRAGMENT_MAX), (0x8A, 3), (0x00, FRAGMENT_MAX)];
    assert_eq!(frames[..3], all);
    assert_eq!(frames[6..], [(0x80, 1)]);
    bench.receipt(long, State::Written).await;
}

#[tokio::test(start_paused = true)]
async fn a_long_message_whose_last_byte_had_not_left_is_unknown_and_the_next_goes_again() {
    let (mut bench, mut peer) = Bench::open_with(1, Policy::default()).await;
    let size = 2 * FRAGMENT_MAX + 7;
    let long = bench.send(payload(Kind::Binary, vec![1; size])).await;
    let next = bench.send(Payload::from("next")).await;
    peer.take(2 * (8 + FRAGMENT_MAX) + 6 + 7 - 2).await;
    drop(peer);
    bench.receipt(long, State::Unknown).await;
    let mut peer = bench.peer().await;
    assert_eq!(peer.next().await.expect("a message"), (0x81, "next".into()));
    bench.receipt(next, State::Written).await;
}

#[tokio::test(start_paused = true)]
async fn a_message_cut_short_by_the_peers_close_is_not_written() {
    let (mut bench, mut peer) = Bench::open_with(64, Policy::default()).await;
    let long = bench.send(payload(Kind::Binary, vec![1; 5 * FRAGMENT_MAX])).await;
    peer.close(1000, "enough").await;
    while let Some((first, _)) = peer.fragment().await {
        if first == 0x88 {
            break;
        }
    }
    drop(peer);
    bench.receipt(long, State::Unknown).await;
    let written = |event: &Event| matches!(event, Event::Written(_));
    assert!(!bench.events().iter().any(written));
    let closed = bench.closed().await;
    assert_eq!((closed.code, &*closed.reason, closed.was_clean), (1000, "enough", true));
}

#[tokio::test(start_paused = true)]
async fn each_write_that_is_taken_makes_room_though_the_outbox_is_never_empty() {
    // On the wire 106 bytes each.
    let (mut bench, mut peer) = Bench::open_with(1024, Policy::default()).await;
    let mut ids = Vec::new();
    for number in 0..40 {
        ids.push(bench.send(payload(Kind::Text, vec![b'0' + number; 100])).await);
    }
    // Of the tenth, all but 36 bytes.
    bench.until("what fits has left", |seen| (seen.buffered == 3036).then_some(())).await;
    bench.receipt(ids[8], State::Written).await;
    peer.take(10 * 106).await;
    bench.until("more has left", |seen| (seen.buffered == 2036).then_some(())).await;
    drop(peer);
    for id in &ids[..20] {
        bench.receipt(*id, State::Unknown).await;
    }
    let mut peer = bench.peer().await;
    for number in 20..40 {
        assert_eq!(peer.next().await.expect("a message").1[0], b'0' + number);
    }
    bench.receipt(ids[39], State::Written).await;
    assert_eq!(bench.told().0.iter().filter(|reached| reached.state == State::Unknown).count(), 20);
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

/// What each message has come to, by its name.
fn states(bench: &Bench) -> Vec<(u128, State)> {
    let each = |reached: Ended| (0..reached.count).map(move |place| (reached.id.later(place).0, reached.state));
    let mut states: Vec<_> = bench.told().0.into_iter().flat_map(each).collect();
    states.sort_by_key(|(id, _)| *id);
    states
}

#[tokio::test(start_paused = true)]
async fn of_messages_that_came_together_those_that_had_begun_to_leave_are_unknown_and_the_others_go_again() {
    // On the wire 16 bytes each: six whole ones and four bytes fit.
    let (mut bench, peer) = Bench::open_with(100, Policy::default()).await;
    let payloads: Vec<_> = (b'a'..=b't').map(|letter| payload(Kind::Binary, vec![letter; 10])).collect();
    let ids = bench.accept(&payloads);
    bench.until("what fits has left", |seen| (seen.buffered == 140).then_some(())).await;
    drop(peer);
    bench.receipt(ids[6], State::Unknown).await;
    let mut peer = bench.peer().await;
    for payload in &payloads[7..] {
        assert_eq!(peer.next().await, Some((0x82, payload.bytes().clone())));
    }
    bench.receipt(ids[19], State::Written).await;
    let reached = |id: &u128| match id {
        1..=6 => vec![(*id, State::Written), (*id, State::Unknown)],
        7 => vec![(7, State::Unknown)],
        _ => vec![(*id, State::Written)],
    };
    assert_eq!(states(&bench), (1..=20).flat_map(|id| reached(&id)).collect::<Vec<_>>());
}

/// Wherever the connection is cut, the same becomes of the same messages, together or each for itself.
#[tokio::test(start_paused = true)]
async fn messages_that_came_together_leave_and_end_as_they_would_alone_wherever_they_are_cut() {
    let payloads: Vec<_> = (0..12_usize)
        .map(|len| payload(if len % 3 == 0 { Kind::Text } else { Kind::Binary }, vec![b'x'; len * 7]))
        .collect();
    for room in [1, 7, 40, 100, 333, 500] {
        for taken in [0, 1, 6, 20, 77, 300] {
            let mut outcomes = Vec::new();
            for together in [true, false] {
                let (mut bench, mut peer) = Bench::open_with(room, Policy::default()).await;
                let ids = if together {
                    bench.accept(&payloads)
                } else {
                    payloads.iter().flat_map(|one| bench.accept(std::slice::from_ref(one))).collect()
                };
                peer.take(taken).await;
                Bench::idle().await;
                drop(peer);
                let mut peer = bench.peer().await;
                let reading = tokio::spawn(async move {
                    let mut arrived = Vec::new();
                    while let Some((first, payload)) = peer.next().await {
                        arrived.extend((first < 0x88).then_some((first, payload)));
                    }
                    arrived
                });
                Bench::idle().await;
                bench.stop(Duration::ZERO).await;
                let arrived = reading.await.expect("no panic");
                assert!(states(&bench).iter().any(|(id, _)| *id == ids[11].0));
                outcomes.push((states(&bench), arrived));
            }
            assert_eq!(outcomes[0], outcomes[1], "{room} bytes fit, and {taken} were read");
        }
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
