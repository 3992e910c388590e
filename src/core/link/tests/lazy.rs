//! A link that has a connection only while somebody wants one.

use super::*;
use crate::{
    outbox::WhenDown,
    subscriptions::{Change, Wish},
};

const IDLE: Duration = Duration::from_secs(90);

fn lazy(policy: Policy) -> Bench {
    let mut bench = Bench::with(Policy { idle_timeout: Some(IDLE), ..policy });
    bench.feed(Input::Start);
    bench
}

fn is_asleep(bench: &Bench) -> bool {
    (bench.link.phase(), bench.link.reason()) == (Phase::Paused, Reason::Asleep)
}

/// What was pulled has left, the peer lives, and it ends each closing handshake.
fn serve(bench: &mut Bench) {
    for frame in bench.frames() {
        bench.feed(ConnectionInput::Flushed);
        match frame {
            Frame::Ping(nonce) => drop(bench.feed(ConnectionInput::Received(Received::Pong(nonce)))),
            Frame::Data(_) => drop(bench.feed(ConnectionInput::Left { messages: 1, pings: 0, part: 0 })),
            Frame::Close(_) => drop(bench.feed(ConnectionInput::CloseSent(Some(1000))).feed(close(1000)).feed(ended())),
            Frame::Session(_) => {}
        }
    }
}

/// Time passes at a peer that lives. Answers after how long the link has fallen asleep.
fn until_asleep(bench: &mut Bench) -> Duration {
    let since = bench.now;
    while !is_asleep(bench) && bench.now - since < IDLE * 20 {
        bench.pass(Duration::from_secs(1)).feed(ConnectionInput::Heard);
        serve(bench);
    }
    bench.now - since
}

fn key(place: u64) -> Change {
    Change::Add(Wish { place, key: "key".into(), add: Some("+key".into()), remove: None })
}

#[test]
fn a_lazy_link_does_not_dial_until_somebody_sends_and_then_the_message_leaves() {
    let mut bench = lazy(Policy::default());
    bench.pass(Duration::from_hours(9));
    assert!(is_asleep(&bench) && bench.dials() == 0);
    let id = bench.send("a");
    assert_eq!((bench.dials(), bench.link.phase()), (1, Phase::Connecting));
    bench.feed(dialled());
    assert_eq!(bench.frames()[0], text("a"));
    bench.feed(ConnectionInput::Left { messages: 1, pings: 0, part: 0 });
    assert_eq!(bench.states(id), [receipt::State::Written]);
}

#[test]
fn a_connection_that_nobody_has_wanted_for_the_idle_timeout_is_closed_with_1000() {
    let mut bench = lazy(Policy::default());
    bench.send_unawaited("a");
    bench.feed(dialled());
    serve(&mut bench);
    assert_eq!(until_asleep(&mut bench), IDLE);
    assert_eq!((bench.last_close().sent_code, bench.last_close().cause), (Some(1000), Cause::Idle));
    assert_eq!((bench.dials(), bench.link.attempt()), (1, 0));
}

#[test]
fn each_message_puts_the_sleep_off() {
    let mut bench = lazy(Policy::default());
    bench.send_unawaited("a");
    bench.feed(dialled());
    for _ in 0..5 {
        serve(&mut bench);
        for _ in 0..80 {
            bench.pass(Duration::from_secs(1)).feed(ConnectionInput::Heard);
            serve(&mut bench);
        }
        bench.send_unawaited("b");
        serve(&mut bench);
    }
    assert_eq!((bench.dials(), until_asleep(&mut bench)), (1, IDLE));
}

#[test]
fn whoever_listens_or_holds_a_key_keeps_the_link_awake() {
    let gone = || Change::Remove { place: 1, message: None };
    let wishes = [
        (Input::Listened(true), Input::Listened(false)),
        (Input::Subscriptions([key(1)].into()), Input::Subscriptions([gone()].into())),
    ];
    for (comes, goes) in wishes {
        let mut bench = lazy(Policy::default());
        bench.feed(comes).feed(dialled());
        for _ in 0..1000 {
            bench.pass(Duration::from_secs(1)).feed(ConnectionInput::Heard);
            serve(&mut bench);
        }
        assert_eq!(bench.link.phase(), Phase::Ready);
        bench.feed(goes);
        assert_eq!((until_asleep(&mut bench), bench.dials()), (IDLE, 1));
    }
}

#[test]
fn a_message_that_comes_while_the_link_says_goodbye_leaves_on_the_next_connection_at_once() {
    let mut bench = lazy(Policy::default());
    bench.feed(Input::Listened(true)).feed(dialled()).feed(Input::Listened(false));
    while bench.link.phase() != Phase::Closing {
        bench.pass(Duration::from_secs(1)).feed(ConnectionInput::Heard);
    }
    let _ = bench.frames();
    bench.send("late");
    bench.pass(Duration::from_millis(250));
    assert!(bench.said.contains(&Command::Hangup(Lane::Current)), "a peer that says nothing is not waited for");
    bench.feed(ended());
    assert_eq!((bench.dials(), bench.link.phase()), (2, Phase::Connecting));
    bench.feed(dialled());
    assert_eq!(bench.frames()[0], text("late"));
}

#[test]
fn a_wake_that_fails_is_tried_again_by_the_backoff_while_somebody_wants_it_and_no_longer() {
    let mut bench = lazy(Policy::default());
    bench.feed(Input::Listened(true));
    for _ in 0..5 {
        bench.feed(refused(None, None));
        assert_eq!(bench.link.phase(), Phase::Waiting);
        bench.retry();
    }
    assert_eq!(bench.dials(), 6);
    bench.feed(refused(None, None)).feed(Input::Listened(false));
    let due = bench.link.next_attempt_at().expect("an attempt is waited for");
    bench.feed(Input::Listened(true)).feed(Input::Listened(false));
    assert_eq!((bench.link.next_attempt_at(), bench.link.phase()), (Some(due), Phase::Waiting), "the delay stands");
    bench.retry();
    assert!(is_asleep(&bench) && bench.dials() == 6);
    bench.feed(Input::Listened(true));
    assert_eq!(bench.dials(), 7);
}

#[test]
fn a_link_that_waits_to_be_let_in_and_is_wanted_by_nobody_leaves_the_line() {
    let mut bench = lazy(Policy::default());
    bench.feed(Input::Listened(true)).feed(ConnectionInput::Queued).feed(Input::Listened(false));
    bench.pass(IDLE.saturating_sub(Duration::from_secs(1)));
    assert_eq!(bench.link.reason(), Reason::Admission);
    bench.pass(Duration::from_secs(1));
    assert!(is_asleep(&bench) && bench.said.contains(&Command::Hangup(Lane::Current)));
}

#[test]
fn who_asks_for_a_proof_or_a_reply_is_waited_with() {
    let mut bench = lazy(Policy::default());
    let id = bench.send("a");
    bench.feed(dialled());
    let frames = bench.frames();
    bench.feed(ConnectionInput::Flushed).pass(Duration::from_secs(5)).feed(ConnectionInput::Heard);
    assert_eq!(bench.states(id), [receipt::State::Written]);
    let Some(Frame::Ping(nonce)) =
        frames.into_iter().chain(bench.frames()).find(|frame| matches!(frame, Frame::Ping(_)))
    else {
        panic!("no ping asks for the proof")
    };
    bench.feed(ConnectionInput::Flushed).feed(ConnectionInput::Received(Received::Pong(nonce)));
    assert_eq!(bench.states(id).last(), Some(&receipt::State::Confirmed));
    assert_eq!(until_asleep(&mut bench), IDLE);
}

#[test]
fn a_message_to_a_sleeping_link_is_none_to_a_link_that_is_down() {
    let reject = outbox::Policy { when_down: WhenDown::Reject, ..outbox::Policy::default() };
    let mut bench = lazy(Policy { outbox: Arc::new(reject), ..Policy::default() });
    assert!(bench.link.room().messages > 0);
    bench.send("a");
    bench.send("b");
    bench.feed(refused(None, None));
    assert_eq!(bench.link.room().messages, 0, "now it is down");
}

#[test]
fn pause_and_resume_have_the_last_word_over_a_sleeping_link() {
    let mut bench = lazy(Policy::default());
    bench.feed(Input::Verb(Verb::Pause));
    assert_eq!((bench.link.phase(), bench.link.reason()), (Phase::Paused, Reason::Operator));
    let told = |bench: &Bench| {
        let is_it = |command: &&Command| {
            matches!(command, Command::Tell(Event::Phase { to: Phase::Paused, reason: Reason::Operator, .. }))
        };
        bench.said.iter().filter(is_it).count()
    };
    assert_eq!(told(&bench), 1);
    bench.send("a");
    bench.feed(Input::Listened(true)).pass(Duration::from_hours(1)).feed(Input::Listened(false));
    assert_eq!(bench.dials(), 0, "nobody but an operator wakes it");
    bench.feed(Input::Verb(Verb::Resume)).feed(dialled());
    serve(&mut bench);
    assert_eq!((bench.dials(), bench.link.phase()), (1, Phase::Ready));
    until_asleep(&mut bench);
    for verb in [Verb::Resume, Verb::Reconnect] {
        let before = bench.dials();
        bench.feed(Input::Verb(verb)).feed(dialled());
        assert_eq!((bench.dials(), bench.link.phase()), (before + 1, Phase::Ready));
        assert_eq!(until_asleep(&mut bench), IDLE);
    }
    bench.feed(Input::Verb(Verb::Rotate)).feed(Input::Renew);
    assert!(is_asleep(&bench));
}

#[test]
fn a_reload_wakes_a_link_that_is_lazy_no_more_and_lets_one_fall_asleep_that_is_from_now_on() {
    let mut bench = lazy(Policy::default());
    bench.feed(Input::Policy(Arc::default()));
    assert_eq!((bench.dials(), bench.link.reason()), (1, Reason::Reload));
    bench.feed(dialled()).pass(Duration::from_secs(1)).feed(ConnectionInput::Heard);
    bench.feed(Input::Policy(Arc::new(Policy { idle_timeout: Some(IDLE), ..Policy::default() })));
    assert_eq!(until_asleep(&mut bench), IDLE);
    bench.feed(Input::Listened(true)).feed(dialled()).feed(Input::Listened(false));
    let shorter = Policy { idle_timeout: Some(IDLE / 3), ..Policy::default() };
    bench.feed(Input::Policy(Arc::new(shorter)));
    assert_eq!(until_asleep(&mut bench), IDLE / 3);
}

#[test]
fn what_the_disk_has_brought_back_wakes_the_link() {
    let restored = || {
        let id = MessageId(1);
        Box::new(Message { id, body: "a".into(), extras: None, expires_at: None, share: Share::default() })
    };
    let durable = outbox::Policy { durable: true, ..outbox::Policy::default() };
    let policy = Policy { idle_timeout: Some(IDLE), outbox: Arc::new(durable), ..Policy::default() };
    let mut bench = Bench::with(policy.clone());
    bench.link.restore(bench.now, restored());
    bench.feed(Input::Start);
    assert_eq!(bench.dials(), 1);
    let mut bench = Bench::with(policy);
    bench.feed(Input::Start).pass(Duration::from_secs(1));
    assert!(is_asleep(&bench));
    bench.link.restore(bench.now, restored());
    bench.pass(Duration::ZERO);
    assert_eq!(bench.dials(), 1);
}

#[test]
fn a_message_that_expires_before_there_is_a_connection_is_no_reason_for_one() {
    let short = outbox::Policy { ttl: Some(Duration::from_secs(1)), ..outbox::Policy::default() };
    let mut bench = lazy(Policy { outbox: Arc::new(short), ..Policy::default() });
    let id = bench.send_unawaited("a");
    bench.feed(refused(Some(503), Some(Duration::from_secs(20))));
    bench.pass(Duration::from_mins(1));
    assert_eq!(bench.states(id), [receipt::State::Expired]);
    assert!(is_asleep(&bench) && bench.dials() == 1);
}
