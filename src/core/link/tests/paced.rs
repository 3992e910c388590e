//! A link whose messages are paced: what waits, what goes ahead, and that nothing but the time changes.

use proptest::prelude::*;

use super::{
    session::{HELLO, WELCOME},
    *,
};
use crate::{
    bucket::{Bucket, Pacing, SharedBucket},
    run::Run,
};

fn paced(pacing: Pacing) -> Policy {
    Policy {
        outbox: Arc::new(outbox::Policy { pacing, ..outbox::Policy::default() }),
        confirm_interval: Duration::from_hours(1),
        ..Policy::default()
    }
}

/// `burst` messages at once, then one a second.
fn slowly(burst: u32) -> Policy {
    paced(Pacing { rate: Some(1.0), burst: Some(burst), ..Pacing::default() })
}

fn open(policy: Policy) -> Bench {
    let mut bench = Bench::with(policy);
    bench.feed(Input::Start).feed(dialled());
    bench
}

impl Bench {
    /// Its peer takes all that may leave, and answers pings; how many messages it has got.
    fn heard_data(&mut self) -> usize {
        let mut count = 0;
        for frame in self.frames() {
            match frame {
                Frame::Ping(nonce) => drop(self.feed(ConnectionInput::Received(Received::Pong(nonce)))),
                frame => count += usize::from(matches!(frame, Frame::Data(_))),
            }
        }
        self.feed(ConnectionInput::Flushed).feed(ConnectionInput::Heard);
        count
    }
}

fn pauses(bench: &Bench) -> Vec<Duration> {
    let paused = |said: &Command| match said {
        Command::Tell(Event::Paced { waited }) => Some(*waited),
        _ => None,
    };
    bench.said.iter().filter_map(paused).collect()
}

#[test]
fn what_is_more_than_the_burst_waits_in_order_and_is_told_of() {
    let mut bench = open(slowly(3));
    for word in ["1", "2", "3", "4"] {
        bench.send_unawaited(word);
    }
    assert_eq!(bench.frames(), [text("1"), text("2")], "the last of the burst is for what goes ahead");
    let until = bench.link.paced_until().expect("it waits");
    assert!(until - bench.now <= Duration::from_millis(1001));
    assert_eq!((bench.link.queued_messages(), bench.link.poll_timeout()), (4, Some((until, Timer::Pace))));
    bench.pass(Duration::from_millis(1001));
    assert_eq!(bench.frames(), [text("3")]);
    bench.pass(Duration::from_millis(1001));
    assert_eq!(bench.frames(), [text("4")]);
    assert_eq!((bench.frames(), bench.link.paced_until()), (vec![], None));
    assert_eq!(pauses(&bench).len(), 2);
}

#[test]
fn pings_of_both_sides_count_and_wait_for_nothing() {
    let mut bench = open(slowly(3));
    bench.feed(ConnectionInput::Pinged).feed(ConnectionInput::Pinged).feed(ConnectionInput::Pinged);
    bench.send_unawaited("late");
    assert_eq!(bench.frames(), []);
    bench.pass(Duration::from_millis(1900));
    assert_eq!(bench.frames(), []);
    bench.pass(Duration::from_millis(101));
    assert_eq!(bench.frames(), [text("late")]);
    bench.pass(Duration::from_secs(20));
    assert!(matches!(bench.frames()[..], [Frame::Ping(_)]), "a heartbeat");
}

#[test]
fn pings_of_the_peer_make_no_more_debt_than_a_burst() {
    let mut bench = open(slowly(3));
    for _ in 0..1000 {
        bench.feed(ConnectionInput::Pinged);
    }
    bench.send_unawaited("late");
    bench.pass(Duration::from_millis(5001));
    assert_eq!(bench.frames(), [text("late")], "three in debt, and one beside the last of a burst");
}

#[test]
fn no_stream_of_pings_keeps_messages_for_ever() {
    for (burst, pings) in [(1, 1), (1, 7), (4, 1), (4, 50)] {
        let mut bench = open(Policy {
            heartbeat: heartbeat::Policy { idle: Duration::from_secs(1), ..heartbeat::Policy::default() },
            ..slowly(burst)
        });
        for _ in 0..100 {
            bench.send_unawaited("one of many");
        }
        let mut left = 0;
        for _ in 0..60 {
            for _ in 0..pings {
                bench.feed(ConnectionInput::Pinged);
            }
            left += bench.heard_data();
            bench.pass(Duration::from_secs(1));
        }
        assert!(left >= 60 / (burst as usize + 4), "{left} of a minute with {pings} pings a second, burst {burst}");
    }
}

#[test]
fn a_session_goes_ahead_and_waits_for_its_own_turn_only() {
    let mut bench = Bench::with(slowly(1));
    bench.feed(Input::Start).dialled(Lane::Current);
    bench.send_unawaited("data");
    bench.hear(Lane::Current, HELLO);
    assert_eq!(bench.leaving(Lane::Current).len(), 1, "the login");
    bench.hear(Lane::Current, WELCOME);
    assert_eq!(bench.leaving(Lane::Current), [""; 0]);
    bench.pass(Duration::from_millis(1001));
    let first = bench.leaving(Lane::Current);
    assert!(first.len() == 1 && !first[0].starts_with("data"), "its heartbeat was due, and is first: {first:?}");
}

#[test]
fn a_message_expires_while_it_is_paced() {
    let mut bench = open(slowly(1));
    bench.send_unawaited("1");
    assert_eq!(bench.frames(), [text("1")]);
    let (id, body, share) = (MessageId(9), "short".into(), Share::default());
    let expires_at = Some(bench.now + Duration::from_millis(500));
    let (answer, said) = bench.link.offer(bench.now, Box::new(Message { id, body, extras: None, expires_at, share }));
    assert!(answer.is_ok());
    bench.said.extend(said);
    bench.pass(Duration::from_secs(2));
    assert_eq!((bench.states(id), bench.frames()), (vec![receipt::State::Expired], vec![]));
}

#[test]
fn a_run_is_cut_where_the_bucket_ends() {
    let mut bench = open(slowly(4));
    let run = Run::of(&["a", "b", "c", "d", "e"].map(crate::message::Payload::from));
    let message =
        Message { id: MessageId(1), body: run.into(), extras: None, expires_at: None, share: Share::default() };
    drop(bench.link.take(bench.now, Box::new(message)));
    let count = |frames: Vec<Frame>| -> Vec<u32> {
        let count = |frame| match frame {
            Frame::Data(body) => body.count(),
            _ => 0,
        };
        frames.into_iter().map(count).collect()
    };
    assert_eq!(count(bench.frames()), [3]);
    bench.pass(Duration::from_millis(1001));
    assert_eq!(count(bench.frames()), [1]);
    bench.pass(Duration::from_millis(1001));
    assert_eq!((count(bench.frames()), bench.link.queued_messages()), (vec![1], 5), "nothing has been flushed");
    bench.feed(ConnectionInput::Flushed);
    assert_eq!(bench.link.queued_messages(), 0);
}

#[test]
fn both_connections_of_a_rotation_share_one_bucket() {
    let mut bench = open(slowly(2));
    bench.send_unawaited("1");
    assert_eq!(bench.frames(), [text("1")]);
    bench.feed(ConnectionInput::Flushed);
    bench.feed(Input::Verb(Verb::Rotate));
    bench.feed(Input::Connection(Lane::Beside, dialled()));
    bench.send_unawaited("2");
    let frames = bench.frames();
    let [Frame::Ping(nonce)] = &frames[..] else { panic!("a proof is asked for: {frames:?}") };
    bench.feed(ConnectionInput::Flushed).feed(ConnectionInput::Received(Received::Pong(nonce.clone())));
    assert_eq!((bench.link.generation(), bench.frames()), (2, vec![]), "what left on the old one counts");
    bench.pass(Duration::from_millis(3900));
    assert_eq!(bench.frames(), [text("2")]);
}

#[test]
fn a_policy_without_rates_lets_all_go_at_once() {
    let mut bench = open(slowly(1));
    bench.send_unawaited("1");
    bench.send_unawaited("2");
    assert_eq!(bench.frames().len(), 1);
    bench.feed(Input::Policy(Arc::new(Policy::default())));
    assert_eq!((bench.frames(), bench.link.is_paced()), (vec![text("2")], false));
}

#[allow(clippy::cast_precision_loss, reason = "counts of a test")]
fn number(count: usize) -> f64 {
    count as f64
}

/// A bucket that the links of a test share.
#[derive(Debug)]
#[expect(clippy::disallowed_types, reason = "the core knows no lock; its tests take the one at hand")]
struct Together(std::sync::Mutex<Bucket>);

impl SharedBucket for Together {
    fn lend(&self, act: &mut dyn FnMut(&mut Bucket)) {
        act(&mut self.0.lock().unwrap());
    }
}

fn together(pacing: Pacing) -> Arc<Together> {
    #[expect(clippy::disallowed_types, reason = "the core knows no lock; its tests take the one at hand")]
    let lock = std::sync::Mutex::new(Bucket::new(pacing));
    Arc::new(Together(lock))
}

/// So many links with a bucket of their own each and one together, each with so much to send; what left, and when, until this moment.
fn left(own: Pacing, shared: Pacing, waiting: &[usize], lasting: Duration) -> Vec<(Duration, usize)> {
    let bucket: Arc<dyn SharedBucket> = together(shared);
    let mut benches: Vec<_> = waiting.iter().map(|_| open(paced(own))).collect();
    for (bench, count) in benches.iter_mut().zip(waiting) {
        bench.link.share(Some(Arc::clone(&bucket)));
        bench.now = crate::epoch();
        for _ in 0..*count {
            let _ = bench.send_unawaited("x");
        }
    }
    let start = benches[0].now;
    let (mut left, mut now) = (Vec::new(), start);
    while now <= start + lasting {
        for (index, bench) in benches.iter_mut().enumerate() {
            bench.now = now;
            if bench.link.poll_timeout().is_some_and(|(at, _)| at <= now) {
                let said = bench.link.handle_timeout(now);
                bench.said.extend(said);
            }
            left.extend((0..bench.heard_data()).map(|_| (now - start, index)));
        }
        let next = benches.iter().filter_map(|bench| bench.link.paced_until()).min();
        now = next.unwrap_or(now + Duration::from_secs(1)).max(now + Duration::from_micros(1));
    }
    left
}

#[test]
fn links_that_share_a_bucket_take_turns() {
    let shared = Pacing { rate: Some(10.0), burst: Some(1), ..Pacing::default() };
    let left = left(Pacing::default(), shared, &[100, 100, 3, 100], Duration::from_secs(10));
    let of = |link: usize| left.iter().filter(|(_, of)| *of == link).count();
    assert!((99..=102).contains(&left.len()), "ten a second for ten seconds: {}", left.len());
    assert_eq!(of(2), 3);
    assert!([0, 1, 3].map(of).iter().all(|count| (31..=34).contains(count)), "{:?}", [0, 1, 2, 3].map(of));
}

proptest! {
    #[test]
    fn no_window_has_more_than_the_shared_burst_and_what_came_meanwhile(
        own in prop::option::of(1.0..50.0),
        rate in 1.0..50.0,
        burst in 1_u32..10,
        waiting in prop::collection::vec(0_usize..30, 1..6),
    ) {
        let own = Pacing { rate: own, ..Pacing::default() };
        let shared = Pacing { rate: Some(rate), burst: Some(burst), ..Pacing::default() };
        let left = left(own, shared, &waiting, Duration::from_mins(2));
        for from in 0..left.len() {
            for to in from..left.len() {
                let most = f64::from(burst) + rate * left[to].0.saturating_sub(left[from].0).as_secs_f64();
                prop_assert!(number(to - from + 1) <= most + 1e-3);
            }
        }
        let slowest = own.rate.unwrap_or(rate).min(rate / number(waiting.len()));
        let most = waiting.iter().sum::<usize>();
        if number(most) / slowest < 100.0 {
            prop_assert_eq!(left.len(), most, "all left");
        }
    }

    #[test]
    fn pacing_changes_when_messages_leave_and_nothing_else(
        rate in 0.5..20.0, burst in 1_u32..6, rate_bytes in prop::option::of(1_u64..30),
        orders in prop::collection::vec(prop_oneof![4 => (1_usize..9).prop_map(Some), 2 => Just(None)], 1..40),
    ) {
        let pacing = Pacing { rate: Some(rate), burst: Some(burst), rate_bytes, burst_bytes: None };
        let (mut paced, mut free) = (open(paced(pacing)), open(Policy::default()));
        let mut sent = (Vec::new(), Vec::new());
        for order in orders {
            for (bench, sent) in [(&mut paced, &mut sent.0), (&mut free, &mut sent.1)] {
                match order {
                    Some(bytes) => {
                        let _ = bench.send_unawaited(&"x".repeat(bytes));
                    }
                    None => {
                        bench.pass(Duration::from_millis(300));
                    }
                }
                sent.extend(bench.frames().into_iter().filter(|frame| matches!(frame, Frame::Data(_))));
                bench.feed(ConnectionInput::Flushed);
            }
        }
        // The peer answers, so that neither is given up.
        for _ in 0..5000 {
            paced.pass(Duration::from_secs(1)).feed(ConnectionInput::Heard);
            sent.0.extend(paced.frames().into_iter().filter(|frame| matches!(frame, Frame::Data(_))));
            paced.feed(ConnectionInput::Flushed);
            if paced.link.queued_messages() == 0 {
                break;
            }
        }
        prop_assert_eq!(sent.0, sent.1);
        prop_assert_eq!(paced.link.buffered_amount(), 0);
    }
}
