//! Peers that break the protocol, lie, fall silent or hang up.

use std::time::Duration;

use super::{
    bench::{Answer, Bench, payload},
    peer::frame,
};
use wskeeper_core::{
    close::{Cause, Closed},
    event::Event,
    heartbeat::{self, Watch, WhenIdle},
    link::Policy,
    message::Kind,
    phase::Phase,
    receipt::State,
};

/// The peer writes `bytes`; the Close code that the link answers with, and how it ended.
async fn violated(bytes: &[u8]) -> (u16, Closed) {
    let (mut bench, mut peer) = Bench::open().await;
    peer.raw(bytes).await;
    let code = peer.next_close().await;
    drop(peer);
    (code, bench.closed().await)
}

#[tokio::test(start_paused = true)]
async fn each_breach_of_the_protocol_is_answered_with_its_code() {
    let breaches: [(&str, Vec<u8>, u16); 13] = [
        ("a masked frame", vec![0x81, 0x81, 1, 2, 3, 4, 0x60], 1002),
        ("a reserved bit", frame(0xC1, b"a"), 1002),
        ("a reserved data opcode", frame(0x83, b"a"), 1002),
        ("a reserved control opcode", frame(0x8B, b"a"), 1002),
        ("a fragmented ping", frame(0x09, b"a"), 1002),
        ("a ping of 126 bytes", frame(0x89, &[0; 126]), 1002),
        ("a continuation of nothing", frame(0x80, b"a"), 1002),
        ("a message within a message", [frame(0x01, b"a"), frame(0x81, b"b")].concat(), 1002),
        ("a Close of one byte", frame(0x88, &[3]), 1002),
        ("a Close whose reason is no UTF-8", frame(0x88, &[3, 232, 0xFF]), 1007),
        ("text that is no UTF-8", frame(0x81, &[0xC3, 0x28]), 1007),
        ("text that ends within a character", [frame(0x01, &[0xC3]), frame(0x80, b"(")].concat(), 1007),
        ("HTTP where frames should be", b"HTTP/1.1 400 Bad Request\r\n".repeat(4), 1002),
    ];
    for (what, bytes, expected) in breaches {
        let (code, closed) = violated(&bytes).await;
        assert_eq!(code, expected, "{what}");
        assert_eq!((closed.cause, closed.code, closed.was_clean), (Cause::Protocol, 1006, false), "{what}");
        assert_eq!(closed.sent_code, Some(expected), "{what}");
        assert!(!closed.detail.is_empty(), "{what}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_message_over_the_limit_is_refused_by_its_length_alone() {
    let lies: [(&str, Vec<u8>); 3] = [
        ("64 MiB", [&[0x82, 127][..], &(64u64 << 20).to_be_bytes()].concat()),
        ("the longest that there is", [&[0x82, 127, 0x7F][..], &[0xFF; 7]].concat()),
        ("one byte too many", [&[0x82, 127][..], &((1u64 << 20) + 1).to_be_bytes()].concat()),
    ];
    for (what, head) in lies {
        let (code, closed) = violated(&head).await;
        assert_eq!((code, closed.cause), (1009, Cause::TooBig), "{what}");
    }
}

#[tokio::test(start_paused = true)]
async fn fragments_are_added_up_against_the_limit() {
    let policy = Policy { max_inbound: 10, ..Policy::default() };
    let (mut bench, mut peer) = Bench::open_with(64 << 10, policy).await;
    peer.raw(&[frame(0x01, b"12345"), frame(0x80, b"67890")].concat()).await;
    assert_eq!(bench.messages(1).await[0].bytes(), "1234567890");
    peer.raw(&[frame(0x01, b"12345"), frame(0x00, b"67890"), frame(0x80, b"!")].concat()).await;
    assert_eq!(peer.next_close().await, 1009);
    drop(peer);
    assert_eq!(bench.closed().await.cause, Cause::TooBig);
}

#[tokio::test(start_paused = true)]
async fn what_follows_a_breach_is_thrown_away_for_a_bounded_time() {
    let (mut bench, mut peer) = Bench::open().await;
    peer.raw(&frame(0x83, b"")).await;
    assert_eq!(peer.next_close().await, 1002);
    let flood = frame(0x81, &[b'x'; 4000]);
    let before = tokio::time::Instant::now();
    while peer.pour(&flood).await {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert!(before.elapsed() <= Duration::from_secs(6), "{:?}", before.elapsed());
    assert_eq!(bench.closed().await.cause, Cause::Protocol);
    assert_eq!(bench.told().1, []);
}

#[tokio::test(start_paused = true)]
async fn a_close_with_a_code_that_may_not_be_sent_breaks_the_protocol() {
    for code in [0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65_535] {
        let (mut bench, mut peer) = Bench::open().await;
        peer.close(code, "why").await;
        assert_eq!(peer.next_close().await, 1002);
        drop(peer);
        let closed = bench.closed().await;
        assert_eq!((closed.code, &*closed.reason, closed.cause), (1006, "", Cause::Protocol));
        assert_eq!((closed.sent_code, closed.was_clean), (Some(1002), false));
        assert!(closed.detail.contains(&format!("code {code},")) && closed.detail.contains("why"), "{}", closed.detail);
    }
}

#[tokio::test(start_paused = true)]
async fn a_close_with_a_code_that_may_be_sent_is_answered_in_kind() {
    for code in [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 3999, 4000, 4999] {
        let (mut bench, mut peer) = Bench::open().await;
        peer.close(code, "why").await;
        assert_eq!(peer.next_close().await, code);
        drop(peer);
        let closed = bench.closed().await;
        assert_eq!((closed.code, &*closed.reason, closed.cause), (code, "why", Cause::Remote));
        assert_eq!((closed.sent_code, closed.was_clean), (Some(code), true));
    }
}

#[tokio::test(start_paused = true)]
async fn a_link_that_stays_closed_after_a_clean_close_comes_back_after_one_that_breaks_the_protocol() {
    let text = "[endpoints.a]\nurl = 'ws://peer/'\nreconnect.on_clean_close = 'stay_closed'";
    let settings = crate::written::settings(text);
    let policy = Policy::clone(&settings.endpoints["a"].link);
    for code in [1005, 1006, 1015, 0, 999] {
        let (mut bench, mut peer) = Bench::open_with(64 << 10, policy.clone()).await;
        peer.close(code, "").await;
        drop(peer);
        let _again = bench.peer().await;
    }
    let (mut bench, mut peer) = Bench::open_with(64 << 10, policy).await;
    peer.close(1000, "").await;
    assert_eq!(peer.next_close().await, 1000);
    drop(peer);
    bench.phase(Phase::Paused).await;
}

#[tokio::test(start_paused = true)]
async fn a_close_whose_answer_never_left_is_not_clean() {
    let (mut bench, mut peer) = Bench::open_with(64, Policy::default()).await;
    bench.send(payload(Kind::Text, vec![b'x'; 1000])).await;
    peer.close(1000, "").await;
    let closed = bench.closed().await;
    assert_eq!((closed.code, closed.cause), (1000, Cause::Remote));
    assert_eq!((closed.was_clean, closed.sent_code), (false, None));
}

#[tokio::test(start_paused = true)]
async fn nothing_after_a_close_overwrites_it() {
    let (mut bench, mut peer) = Bench::open().await;
    peer.raw(&[frame(0x88, &[0x03, 0xF3, b'o', b'k']), frame(0x81, b"late"), frame(0xFF, b"junk")].concat()).await;
    assert_eq!(peer.next_close().await, 1011);
    drop(peer);
    let closed = bench.closed().await;
    assert_eq!((closed.code, &*closed.reason, closed.was_clean, closed.cause), (1011, "ok", true, Cause::Remote));
}

#[tokio::test(start_paused = true)]
async fn an_end_of_the_stream_without_a_close_is_a_reset() {
    let (mut bench, peer) = Bench::open().await;
    drop(peer);
    let closed = bench.closed().await;
    assert_eq!((closed.code, closed.was_clean, closed.cause), (1006, false, Cause::Reset));
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_accepts_and_hangs_up_is_dialled_ever_less_often() {
    let mut bench = Bench::new(Answer::Accept(1024));
    let end = tokio::time::Instant::now() + Duration::from_mins(10);
    while let Ok(peer) = tokio::time::timeout_at(end, bench.peer()).await {
        drop(peer);
    }
    assert!((10..=45).contains(&bench.dials()), "{} dials", bench.dials());
}

#[tokio::test(start_paused = true)]
async fn a_silent_peer_is_found_out_in_idle_and_timeout() {
    let (mut bench, mut peer) = Bench::open().await;
    let before = tokio::time::Instant::now();
    assert_eq!(peer.next().await.expect("a ping").0, 0x89);
    assert_eq!(before.elapsed().as_secs(), 20);
    let closed = bench.closed().await;
    assert_eq!(closed.cause, Cause::PongTimeout);
    assert_eq!(before.elapsed().as_secs(), 30);
    assert_eq!(peer.next().await, None);
}

#[tokio::test(start_paused = true)]
async fn half_a_frame_is_a_sign_of_life() {
    let heartbeat = heartbeat::Policy { watch: Watch::Pings(WhenIdle::In), ..heartbeat::Policy::default() };
    let (mut bench, mut peer) = Bench::open_with(64 << 10, Policy { heartbeat, ..Policy::default() }).await;
    peer.raw(&frame(0x81, &[b'x'; 100])[..2]).await;
    for _ in 0..100 {
        tokio::time::sleep(Duration::from_secs(15)).await;
        peer.raw(b"x").await;
    }
    assert_eq!(bench.messages(1).await[0].len(), 100);
    assert!(!bench.events().contains(&Event::PingSent));
}

#[tokio::test(start_paused = true)]
async fn a_deaf_peer_is_heard_and_found_out_all_the_same() {
    let (mut bench, mut peer) = Bench::open_with(64, Policy::default()).await;
    let id = bench.send(payload(Kind::Text, vec![b'x'; 1000])).await;
    let before = tokio::time::Instant::now();
    let mut told = 0;
    while peer.pour(&frame(0x81, b"tick")).await {
        told += 1;
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert!(before.elapsed() <= Duration::from_secs(40), "still there");
    }
    assert!(bench.messages(29).await.len() >= 29 && told >= 29, "{told} were told");
    assert_eq!(bench.closed().await.cause, Cause::PongTimeout);
    bench.receipt(id, State::Unknown).await;
}

#[tokio::test(start_paused = true)]
async fn pings_are_answered_while_nothing_else_moves() {
    let (_bench, mut peer) = Bench::open().await;
    let before = tokio::time::Instant::now();
    for nonce in [&b""[..], b"1", &[7; 125]] {
        peer.frame(0x89, nonce).await;
        let (first, payload) = peer.next().await.expect("a pong");
        assert_eq!((first, &payload[..]), (0x8A, nonce));
    }
    assert_eq!(before.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn a_refused_dial_is_tried_again_and_succeeds() {
    let mut bench = Bench::new(Answer::Refuse);
    assert_eq!(bench.dial_failed().await.cause, Cause::Connect);
    bench.answer(Answer::Accept(64));
    let _peer = bench.peer().await;
    bench.phase(Phase::Ready).await;
}
