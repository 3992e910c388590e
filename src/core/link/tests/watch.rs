//! What watches the peer, and what its pongs prove.

use super::*;
use crate::heartbeat::{Watch, WhenIdle};

#[test]
fn silence_is_pinged_and_then_ends_the_connection() {
    let mut bench = Bench::open();
    bench.pass(Duration::from_secs(20));
    assert!(matches!(bench.frames()[..], [Frame::Ping(_)]));
    bench.pass(Duration::from_secs(10));
    assert!(bench.said.contains(&Command::Hangup(Lane::Current)));
    bench.feed(ended());
    assert_eq!((bench.last_close().cause, bench.last_close().code), (Cause::PongTimeout, 1006));
    assert_eq!(bench.link.phase(), Phase::Waiting);
}

#[test]
fn any_byte_keeps_the_link_alive_even_without_a_pong() {
    let heartbeat = heartbeat::Policy { watch: Watch::Pings(WhenIdle::In), ..heartbeat::Policy::default() };
    let mut bench = Bench::with(Policy { heartbeat, ..Policy::default() });
    bench.feed(Input::Start).feed(dialled());
    for _ in 0..100 {
        bench.pass(Duration::from_secs(25)).feed(ConnectionInput::Heard);
        let _ = bench.frames();
        bench.feed(ConnectionInput::Flushed);
    }
    assert_eq!(bench.link.phase(), Phase::Ready);
}

#[test]
fn a_peer_that_hears_nothing_for_long_is_pinged_whoever_it_is_that_talks() {
    for (when, pings) in [(WhenIdle::In, 0), (WhenIdle::Out, 4), (WhenIdle::Both, 4)] {
        let heartbeat = heartbeat::Policy { watch: Watch::Pings(when), ..heartbeat::Policy::default() };
        let mut bench = Bench::with(Policy { heartbeat, ..Policy::default() });
        bench.feed(Input::Start).feed(dialled());
        let mut sent = 0;
        // The peer talks each second and answers no ping; that it talks keeps it alive.
        for _ in 0..99 {
            bench.pass(Duration::from_secs(1)).feed(ConnectionInput::Heard);
            let frames = bench.frames();
            if !frames.is_empty() {
                sent += frames.len();
                bench.feed(ConnectionInput::Flushed);
            }
        }
        assert_eq!((sent, bench.link.phase()), (pings, Phase::Ready), "{when:?}");
    }
}

#[test]
fn only_a_peers_own_silence_ends_it_where_we_talk() {
    let mut bench = Bench::open();
    for _ in 0..29 {
        bench.send_unawaited("tick");
        let _ = bench.frames();
        bench.feed(ConnectionInput::Flushed).pass(Duration::from_secs(1));
    }
    assert_eq!(bench.link.phase(), Phase::Ready);
    bench.pass(Duration::from_secs(1));
    assert!(bench.said.contains(&Command::Hangup(Lane::Current)));
}

#[test]
fn without_pings_none_is_sent_and_silence_ends_only_what_it_is_said_to() {
    for (watch, ends) in [(Watch::Tcp, false), (Watch::Silence, true)] {
        let heartbeat = heartbeat::Policy { watch, ..heartbeat::Policy::default() };
        let mut bench = Bench::with(Policy { heartbeat, ..Policy::default() });
        bench.feed(Input::Start).feed(dialled());
        let id = bench.send("wants a proof");
        assert_eq!(bench.frames().len(), 1);
        bench.feed(ConnectionInput::Flushed).pass(Duration::from_secs(29)).feed(ConnectionInput::Heard);
        assert_eq!((bench.frames(), bench.states(id)), (vec![], vec![receipt::State::Written]));
        bench.pass(Duration::from_secs(29));
        assert_eq!((bench.frames(), bench.link.phase()), (vec![], Phase::Ready));
        bench.pass(Duration::from_secs(1));
        assert_eq!(bench.said.contains(&Command::Hangup(Lane::Current)), ends);
        bench.feed(Input::Verb(Verb::Pause));
        assert!(!bench.frames().iter().any(|frame| matches!(frame, Frame::Ping(_))), "no last ping either");
    }
}

/// How a peer is about what it hears and says.
#[derive(Debug, Clone, Copy)]
enum Peer {
    /// It ends the connection on any ping, and says something each so many seconds, if ever: Node's inspector.
    DropsOnPings(Option<u64>),
    /// It says something each second, and ends the connection with 1000 once it has heard nothing for a minute: Cowboy.
    CountsWhatItHears,
}

/// Ten minutes with such a peer. Answers with how many connections that took.
fn ten_minutes_with(peer: Peer, watch: Watch) -> usize {
    let heartbeat = heartbeat::Policy { watch, ..heartbeat::Policy::default() };
    let mut bench = Bench::with(Policy { heartbeat, ..Policy::default() });
    bench.feed(Input::Start).feed(dialled());
    let (mut answered, mut heard) = (bench.dials(), bench.now);
    for second in 1..=600 {
        bench.pass(Duration::from_secs(1));
        if bench.dials() > answered {
            answered = bench.dials();
            heard = bench.now;
            bench.feed(dialled());
        }
        if bench.link.phase() != Phase::Ready {
            continue;
        }
        let frames = bench.frames();
        if !frames.is_empty() {
            heard = bench.now;
            bench.feed(ConnectionInput::Flushed);
        }
        match peer {
            Peer::DropsOnPings(_) if frames.iter().any(|frame| matches!(frame, Frame::Ping(_))) => {
                bench.feed(ended());
            }
            Peer::DropsOnPings(Some(every)) if second % every == 0 => {
                bench.feed(ConnectionInput::Heard);
            }
            Peer::DropsOnPings(_) => {}
            Peer::CountsWhatItHears if bench.now - heard >= Duration::from_mins(1) => {
                let frame = CloseFrame { code: 1000, reason: "".into() };
                bench.feed(ConnectionInput::Received(Received::Close(Some(frame)))).feed(ended());
            }
            Peer::CountsWhatItHears => {
                bench.feed(ConnectionInput::Heard);
            }
        }
    }
    answered
}

#[test]
fn a_peer_that_hangs_up_on_pings_is_held_without_them() {
    assert_eq!(ten_minutes_with(Peer::DropsOnPings(None), Watch::Tcp), 1);
    assert_eq!(ten_minutes_with(Peer::DropsOnPings(Some(15)), Watch::Silence), 1);
    for peer in [Peer::DropsOnPings(None), Peer::DropsOnPings(Some(15))] {
        let held = ten_minutes_with(peer, heartbeat::Policy::default().watch);
        assert!(held > 5, "with pings it took {held} connections of {peer:?}");
    }
}

#[test]
fn a_peer_that_counts_only_what_it_hears_is_held_by_default() {
    assert_eq!(ten_minutes_with(Peer::CountsWhatItHears, heartbeat::Policy::default().watch), 1);
    assert_eq!(ten_minutes_with(Peer::CountsWhatItHears, Watch::Pings(WhenIdle::Out)), 1);
    let held = ten_minutes_with(Peer::CountsWhatItHears, Watch::Pings(WhenIdle::In));
    assert!(held > 5, "of one that is never silent itself, pings on its silence alone took {held} connections");
}

#[test]
fn a_change_of_what_is_watched_is_followed_at_once() {
    let with = |watch| {
        let heartbeat = heartbeat::Policy { watch, ..heartbeat::Policy::default() };
        Input::Policy(Arc::new(Policy { heartbeat, ..Policy::default() }))
    };
    let mut bench = Bench::open();
    bench.pass(Duration::from_secs(20)).feed(with(Watch::Tcp));
    assert_eq!(bench.frames(), [], "a ping that was due is not sent");
    bench.pass(Duration::from_hours(1));
    assert_eq!(bench.link.phase(), Phase::Ready);
    bench.feed(with(Watch::Pings(WhenIdle::Both))).pass(Duration::ZERO);
    assert!(matches!(bench.frames()[..], [Frame::Ping(_)]));
}

#[test]
fn a_pong_of_another_payload_is_told_and_proves_nothing() {
    let mut bench = Bench::open();
    let wrong = || ConnectionInput::Received(Received::Pong(bytes::Bytes::from_static(b"pong")));
    bench.feed(wrong());
    let id = bench.send("first");
    let _ = bench.frames();
    bench.feed(ConnectionInput::Flushed);
    let frames = bench.frames();
    let [Frame::Ping(nonce)] = &frames[..] else { panic!("{frames:?}") };
    bench.feed(wrong()).feed(wrong());
    let refused = bench.said.iter().filter(|said| matches!(said, Command::Tell(Event::PongRefused { .. }))).count();
    assert_eq!((refused, bench.link.pongs_refused()), (2, 2));
    assert_eq!(bench.states(id), [receipt::State::Written]);
    bench.feed(ConnectionInput::Received(Received::Pong(nonce.clone())));
    assert_eq!(bench.link.pongs_refused(), 0, "all is well again");
}

#[test]
fn a_pong_confirms_what_was_sent_before_its_ping() {
    let mut bench = Bench::open();
    let first = bench.send("first");
    let _ = bench.frames();
    bench.feed(ConnectionInput::Flushed);
    let frames = bench.frames();
    let [Frame::Ping(nonce)] = &frames[..] else { panic!("a ping asks for proof: {frames:?}") };
    let second = bench.send("second");
    let _ = bench.frames();
    bench.feed(ConnectionInput::Flushed).feed(ConnectionInput::Received(Received::Pong(nonce.clone())));
    assert_eq!(bench.states(first), [receipt::State::Written, receipt::State::Confirmed]);
    assert_eq!(bench.states(second), [receipt::State::Written]);
}

#[test]
fn a_peer_that_talks_but_takes_nothing_is_found_out() {
    let mut bench = Bench::open();
    bench.send("stuck");
    assert_eq!(bench.frames().len(), 1);
    for _ in 0..10 {
        bench.pass(Duration::from_secs(5)).feed(ConnectionInput::Heard);
    }
    assert!(bench.said.contains(&Command::Hangup(Lane::Current)));
}
