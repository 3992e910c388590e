//! How often a link dials, whatever its peers answer and its rows say: the bound of the contract, and what goes into it.

use std::ops::RangeInclusive;

use proptest::{collection::vec, prelude::*};

use super::*;
use crate::{
    backoff::LEAST,
    outcome::{Action, Match},
};

/// What a peer does with an attempt.
#[derive(Debug, Clone)]
enum Answer {
    /// Refuses it.
    Refuse(Option<u16>, Option<Duration>),
    /// Opens, and closes at once.
    Close(u16),
    /// Opens, and resets at once.
    Reset,
    /// Opens, and breaks the protocol at once.
    Break,
}

fn answer() -> impl Strategy<Value = Answer> {
    let status = prop_oneof![
        Just(None),
        [400_u16, 401, 403, 404, 410, 429, 500, 502, 503].prop_map_any().prop_map(Some),
        any::<u16>().prop_map(Some)
    ];
    let asked = [0, 1, 7, 86_400, u64::MAX].prop_map_any().prop_map(Duration::from_secs);
    let code = prop_oneof![
        [1000_u16, 1001, 1002, 1003, 1005, 1006, 1008, 1011, 1012, 1013, 4401, 4403].prop_map_any(),
        any::<u16>()
    ];
    prop_oneof![
        (status, prop::option::of(asked)).prop_map(|(status, asked)| Answer::Refuse(status, asked)),
        code.prop_map(Answer::Close),
        Just(Answer::Reset),
        Just(Answer::Break),
    ]
}

/// One of a list.
trait Choice<T> {
    fn prop_map_any(self) -> prop::sample::Select<T>
    where
        T: Clone + std::fmt::Debug + 'static;
}

impl<T, const N: usize> Choice<T> for [T; N] {
    fn prop_map_any(self) -> prop::sample::Select<T>
    where
        T: Clone + std::fmt::Debug + 'static,
    {
        prop::sample::select(Vec::from(self))
    }
}

/// A row that says one of the words of the configuration, or what only the built-in table says.
fn row() -> impl Strategy<Value = Rule> {
    let range = || {
        let known = [1000..=1000_u16, 1001..=1015, 4000..=4999, 1006..=1006, 401..=403, 429..=503, 0..=u16::MAX];
        prop::option::of(known.prop_map_any())
    };
    let class = prop::option::of(Vec::from(Cause::ALL).prop_select());
    let then = [
        Action::Backoff,
        Action::Now,
        Action::Slow,
        Action::Park,
        Action::Refresh,
        Action::NextUrl,
        Action::Within(Duration::ZERO, Duration::from_millis(1)),
        Action::RetryAfter,
    ];
    (range(), range(), class, then.prop_map_any(), 1_u32..4).prop_map(
        |(code, status, class, then, after): (Option<RangeInclusive<u16>>, _, _, _, _)| Rule {
            forget: [].into(),
            when: Match { code, status, class, ..Match::default() },
            then,
            after,
        },
    )
}

trait Selected<T> {
    fn prop_select(self) -> prop::sample::Select<T>
    where
        T: Clone + std::fmt::Debug + 'static;
}

impl<T> Selected<T> for Vec<T> {
    fn prop_select(self) -> prop::sample::Select<T>
    where
        T: Clone + std::fmt::Debug + 'static,
    {
        prop::sample::select(self)
    }
}

fn span() -> impl Strategy<Value = Duration> {
    [0, 1, 20, 500, 5_000, 60_000].prop_map_any().prop_map(Duration::from_millis)
}

fn policy() -> impl Strategy<Value = Policy> {
    let backoff = (span(), span(), span(), span(), [0.0, 1.0, 1.5, 2.0, 1000.0].prop_map_any());
    let backoff = backoff.prop_map(|(first, initial, max, stable, multiplier)| backoff::Policy {
        first: first.min(max),
        initial: initial.min(max),
        max,
        multiplier,
        stable: stable.max(Duration::from_secs(2)),
    });
    let default = Just(backoff::Policy::default());
    (1_usize..5, vec(row(), 0..5), prop_oneof![default.boxed(), backoff.boxed()], span()).prop_map(
        |(urls, outcomes, backoff, park_probe)| Policy { urls, park_probe, backoff, outcomes, ..Policy::default() },
    )
}

/// For how long the attempts are counted: for so many of the largest delays that chance evens out.
fn watch(policy: &backoff::Policy) -> Duration {
    policy.first + 150 * policy.max.max(LEAST)
}

/// As many attempts as the backoff's own schedule has in this time, with delays of four fifths of what they are on average, and
/// those that need no delay.
fn most(policy: &Policy) -> usize {
    let backoff::Policy { first, initial, max, multiplier, .. } = policy.backoff;
    let (time, max) = (watch(&policy.backoff), max.max(LEAST));
    let (mut gone, mut bound, mut count) = (first.mul_f64(0.4), initial.max(LEAST), 1);
    while gone < time {
        gone += bound.mul_f64(0.4);
        bound = bound.mul_f64(multiplier.max(1.0)).min(max);
        count += 1;
    }
    let (start, now, round) = (1, 1, policy.urls - 1);
    start + count + now + round
}

impl Bench {
    /// Does what the peer answers to the attempt under way.
    fn meet(&mut self, answer: &Answer) {
        match answer {
            Answer::Refuse(status, asked) => drop(self.feed(refused(*status, *asked))),
            Answer::Close(code) => {
                self.feed(dialled()).feed(close(*code)).feed(ended());
            }
            Answer::Reset => drop(self.feed(dialled()).feed(ended())),
            Answer::Break => {
                let broken = ConnectionInput::Violation { code: 1002, cause: Cause::Protocol, detail: "".into() };
                self.feed(dialled()).feed(broken).feed(ended());
            }
        }
    }

    /// Lets time pass until there is another attempt than those that it was asked for before; says whether there is one by then.
    fn until_dial(&mut self, end: Instant) -> bool {
        loop {
            if let Some(at) = self.said.iter().position(|said| matches!(said, Command::Dial { .. })) {
                self.said.drain(..=at);
                return true;
            }
            self.said.clear();
            let Some((at, _)) = self.link.poll_timeout().filter(|(at, _)| *at <= end) else { return false };
            self.pass(at.saturating_duration_since(self.now));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn no_answers_and_no_rows_make_a_link_dial_more_often_than_its_backoff(
        policy in policy(),
        answers in vec(answer(), 1..6),
        others_get_in in any::<bool>(),
        passes_over in any::<bool>(),
    ) {
        let urls = policy.urls;
        let (most, time) = (most(&policy), watch(&policy.backoff));
        let mut bench = Bench::with(policy);
        bench.feed(Input::Start);
        let (end, mut dials) = (bench.now + time, 0);
        while dials <= most && bench.until_dial(end) {
            if passes_over {
                bench.feed(ConnectionInput::PassedOver((bench.link.url() + 1) % urls));
            }
            bench.meet(&answers[dials % answers.len()]);
            if others_get_in {
                bench.feed(Input::ServerBack { was_sent: false });
            }
            dials += 1;
        }
        prop_assert!(dials <= most, "{} attempts in {:?}, at most {}", dials, time, most);
    }

    #[test]
    fn nor_more_often_beside_a_connection_that_is_to_be_replaced(
        policy in policy(),
        answers in vec(answer(), 1..6),
    ) {
        let patient = Duration::from_hours(10_000);
        let heartbeat = heartbeat::Policy { idle: patient, timeout: patient, ..heartbeat::Policy::default() };
        let (most, time) = (most(&policy), watch(&policy.backoff));
        let mut bench = Bench::with(Policy { heartbeat, ..policy });
        bench.feed(Input::Start).feed(dialled());
        // Never proved, so a new connection does not take its place.
        bench.send("unproven");
        let _ = bench.frames();
        bench.feed(ConnectionInput::Flushed).feed(Input::Verb(Verb::Rotate));
        bench.said.retain(|said| matches!(said, Command::Dial { lane: Lane::Beside, .. }));
        let (end, mut dials) = (bench.now + time, 0);
        while dials <= most && bench.until_dial(end) {
            let beside = |input| Input::Connection(Lane::Beside, input);
            match &answers[dials % answers.len()] {
                Answer::Refuse(status, asked) => drop(bench.feed(beside(refused(*status, *asked)))),
                Answer::Close(code) => {
                    bench.feed(beside(dialled())).feed(beside(close(*code))).feed(beside(ended()));
                }
                Answer::Reset | Answer::Break => {
                    bench.feed(beside(dialled())).feed(beside(ended()));
                }
            }
            dials += 1;
        }
        prop_assert!(dials <= most, "{} attempts in {:?}, at most {}", dials, time, most);
    }
}

fn rows(rows: &[(u16, Action)]) -> Vec<Rule> {
    let rule = |(code, then): &(u16, Action)| Rule {
        forget: [].into(),
        when: Match { code: Some(*code..=*code), ..Match::default() },
        then: *then,
        after: 1,
    };
    rows.iter().map(rule).collect()
}

#[test]
fn retry_after_never_shortens_a_delay() {
    for asked in [Duration::ZERO, Duration::from_millis(1), Duration::from_secs(1)] {
        let mut bench = Bench::started();
        for _ in 0..30 {
            bench.feed(refused(Some(503), Some(asked)));
            assert!(bench.retry() >= asked);
        }
        let begin = bench.now;
        for _ in 0..100 {
            bench.feed(refused(Some(429), Some(asked))).retry();
        }
        assert!(bench.now - begin > Duration::from_mins(35), "{asked:?}: {:?}", bench.now - begin);
    }
}

#[test]
fn a_server_that_lets_others_in_is_not_left_alone_for_longer_than_the_backoff_says() {
    let mut bench = Bench::started();
    bench.feed(refused(Some(503), Some(Duration::from_mins(5))));
    assert_eq!(bench.link.reason(), Reason::RetryAfter);
    bench.feed(Input::ServerBack { was_sent: false });
    let first = backoff::Policy::default().first;
    assert_eq!(bench.link.reason(), Reason::Backoff);
    assert!(bench.retry() <= first, "{:?}", bench.now);
    bench.feed(refused(Some(500), None)).feed(Input::ServerBack { was_sent: false });
    assert!(bench.link.next_attempt_at().is_some_and(|at| at > bench.now), "nobody had asked it to wait");
}

#[test]
fn a_link_that_probed_for_others_goes_with_them() {
    let mut bench = Bench::started();
    bench.feed(refused(None, None));
    assert_eq!(bench.link.reason(), Reason::Backoff);
    bench.feed(Input::ServerBack { was_sent: true });
    assert_eq!(bench.link.phase(), Phase::Connecting);
    bench.feed(refused(Some(503), Some(Duration::from_mins(5)))).feed(Input::ServerBack { was_sent: true });
    assert_eq!(bench.link.reason(), Reason::Backoff, "a server's word ends, the backoff after it does not");
    assert!(bench.link.next_attempt_at().is_some_and(|at| at > bench.now));
}

#[test]
fn now_is_granted_once_until_the_link_is_stable_whichever_rows_say_it() {
    let outcomes = rows(&[(4001, Action::Now), (4002, Action::Now)]);
    let mut bench = Bench::with(Policy { outcomes, ..Policy::default() });
    bench.feed(Input::Start);
    bench.meet(&Answer::Close(4001));
    assert_eq!((bench.link.reason(), bench.retry()), (Reason::Immediate, Duration::ZERO));
    for code in [4002, 4001, 4002] {
        bench.meet(&Answer::Close(code));
        assert_eq!(bench.link.reason(), Reason::Backoff);
        bench.retry();
    }
    bench.feed(dialled());
    for _ in 0..4 {
        bench.pass(Duration::from_secs(10)).feed(ConnectionInput::Heard);
    }
    bench.feed(close(4002)).feed(ended());
    assert_eq!(bench.link.reason(), Reason::Immediate);
}

#[test]
fn next_url_goes_round_once_without_a_delay_and_goes_on_with_one() {
    let outcomes = rows(&[(4001, Action::NextUrl)]);
    let mut bench = Bench::with(Policy { outcomes, urls: 3, ..Policy::default() });
    bench.feed(Input::Start);
    let mut waits = Vec::new();
    for _ in 0..9 {
        bench.meet(&Answer::Close(4001));
        waits.push(bench.retry());
    }
    assert_eq!(bench.urls(), [0, 1, 2, 0, 1, 2, 0, 1, 2, 0]);
    assert_eq!(waits.iter().filter(|wait| wait.is_zero()).count(), 2, "{waits:?}");
}

#[test]
fn a_now_that_is_spent_keeps_nobody_from_the_next_url() {
    let outcomes = rows(&[(1006, Action::Now)]);
    let mut bench = Bench::with(Policy { outcomes, urls: 2, ..Policy::default() });
    bench.feed(Input::Start);
    for _ in 0..4 {
        bench.feed(refused(None, None)).retry();
    }
    assert_eq!(bench.urls(), [0, 0, 1, 0, 1]);
}

#[test]
fn after_a_connection_that_lasted_the_first_url_has_its_turn_again() {
    let mut bench = Bench::with(Policy { urls: 3, ..Policy::default() });
    bench.feed(Input::Start).feed(refused(None, None)).retry();
    bench.feed(dialled()).last().feed(ended()).retry();
    assert_eq!(bench.urls(), [0, 1, 0]);
}

#[test]
fn a_server_that_lets_in_and_throws_out_is_passed_over_as_one_that_refuses() {
    for failback in [true, false] {
        let mut bench = Bench::with(Policy { urls: 2, failback, ..Policy::default() });
        bench.feed(Input::Start);
        for _ in 0..3 {
            bench.meet(&Answer::Reset);
            bench.retry();
        }
        assert_eq!(bench.urls(), [0, 1, 0, 1]);
    }
}

#[test]
fn a_link_that_has_been_stable_stays_where_it_is_and_has_forgotten_what_was_before() {
    let mut bench = Bench::with(Policy { urls: 2, ..Policy::default() });
    bench.feed(Input::Start).feed(refused(None, None)).retry();
    assert_eq!(bench.link.ruling().map(|(_, times)| times), Some(1), "one row has decided once");
    bench.feed(dialled()).last();
    assert_eq!((bench.link.url(), bench.link.ruling(), bench.link.phase()), (1, None, Phase::Ready));
}

#[test]
fn a_backoff_of_another_policy_begins_with_its_first_delay() {
    let mut bench = Bench::started();
    let first = Duration::from_millis(20);
    for _ in 0..8 {
        bench.feed(refused(None, None)).retry();
    }
    for _ in 0..8 {
        for multiplier in [2.0, 3.0] {
            let backoff = backoff::Policy { first, multiplier, ..backoff::Policy::default() };
            bench.feed(Input::Policy(Arc::new(Policy { backoff, ..Policy::default() }))).feed(refused(None, None));
            assert!(bench.retry() <= first);
        }
    }
}

#[test]
fn slow_is_from_half_of_the_longest_delay_to_all_of_it() {
    let max = backoff::Policy::default().max;
    let mut bench = Bench::with(Policy { outcomes: rows(&[(1006, Action::Slow)]), ..Policy::default() });
    bench.feed(Input::Start);
    for _ in 0..20 {
        assert!((max / 2..=max).contains(&bench.feed(refused(None, None)).retry()));
    }
}

#[test]
fn of_what_a_server_asks_for_the_last_word_counts() {
    let mut bench = Bench::started();
    bench.feed(refused(Some(503), Some(Duration::from_mins(4)))).feed(Input::Verb(Verb::Resume));
    assert!(bench.feed(refused(Some(503), Some(Duration::from_secs(20)))).retry() <= Duration::from_secs(40));
}

#[test]
fn what_an_operator_or_a_reload_orders_begins_with_the_first_url_again() {
    for order in [Input::Verb(Verb::Reconnect), Input::Renew] {
        let mut bench = Bench::with(Policy { urls: 3, rotates: false, ..Policy::default() });
        bench.feed(Input::Start).feed(refused(None, None)).retry();
        bench.feed(dialled()).feed(order).feed(ended());
        assert_eq!(bench.urls(), [0, 1, 0]);
    }
}

#[test]
fn a_server_that_asks_to_come_later_keeps_nobody_from_the_next_url() {
    let mut bench = Bench::with(Policy { urls: 2, ..Policy::default() });
    bench.feed(Input::Start).feed(refused(Some(503), Some(Duration::from_mins(4))));
    assert!(bench.retry() <= Duration::from_secs(5));
    assert_eq!(bench.urls(), [0, 1]);
    let begin = bench.now;
    bench.feed(refused(None, None)).retry();
    bench.feed(refused(None, None)).retry();
    assert_eq!(bench.urls(), [0, 1, 1, 1], "the first is left alone");
    while bench.now < begin + Duration::from_mins(5) {
        bench.feed(refused(None, None)).retry();
    }
    assert!(bench.urls()[4..].contains(&0), "and then has its turn");
    // Where all ask, the one that is back first is asked.
    let mut bench = Bench::with(Policy { urls: 2, ..Policy::default() });
    bench.feed(Input::Start).feed(refused(Some(503), Some(Duration::from_secs(90)))).retry();
    bench.feed(refused(Some(503), Some(Duration::from_mins(4))));
    assert_eq!(bench.link.reason(), Reason::RetryAfter);
    assert!(bench.retry() > Duration::from_secs(80));
    assert_eq!(bench.urls(), [0, 1, 0]);
}

#[test]
fn an_attempt_that_goes_on_at_the_next_url_is_the_same_attempt() {
    let mut bench = Bench::with(Policy { urls: 3, ..Policy::default() });
    bench
        .feed(Input::Start)
        .feed(ConnectionInput::Queued)
        .feed(ConnectionInput::Admitted)
        .feed(ConnectionInput::PassedOver(1));
    assert_eq!((bench.link.url(), bench.link.attempt(), bench.dials()), (1, 1, 1));
    bench.feed(refused(Some(503), Some(Duration::from_mins(5)))).retry();
    bench.feed(refused(None, None)).retry();
    assert_eq!(bench.urls(), [0, 2, 0], "what asked to be left alone is the second");
    bench.feed(dialled()).feed(ConnectionInput::PassedOver(1));
    assert_eq!(bench.link.url(), 0, "it is open, and goes nowhere");
}

#[test]
fn a_rotation_that_fails_tries_the_next_url() {
    let mut bench = Bench::with(Policy { urls: 3, ..Policy::default() });
    bench.feed(Input::Start).feed(dialled()).feed(Input::Verb(Verb::Rotate));
    for _ in 0..2 {
        bench.feed(Input::Connection(Lane::Beside, refused(None, None)));
        bench.pass(Duration::from_secs(5)).feed(ConnectionInput::Heard);
    }
    assert_eq!(bench.urls(), [0, 0, 1, 2]);
}

#[test]
fn a_new_connection_that_is_lost_before_its_turn_is_tried_at_the_next_url() {
    let mut bench = Bench::with(Policy { urls: 3, ..Policy::default() });
    bench.feed(Input::Start).feed(dialled());
    bench.send("unproven");
    let _ = bench.frames();
    bench.feed(ConnectionInput::Flushed).feed(Input::Verb(Verb::Rotate));
    let beside = |input| Input::Connection(Lane::Beside, input);
    for _ in 0..2 {
        bench.feed(beside(dialled())).feed(beside(ended()));
        bench.pass(Duration::from_secs(5)).feed(ConnectionInput::Heard);
    }
    assert_eq!(bench.urls(), [0, 0, 1, 2]);
}

#[test]
fn a_new_connection_that_is_lost_before_its_turn_brings_no_attempt_without_a_delay() {
    let mut bench = Bench::open();
    bench.send("unproven");
    let _ = bench.frames();
    bench.feed(ConnectionInput::Flushed).feed(Input::Verb(Verb::Rotate));
    bench.feed(Input::Connection(Lane::Beside, dialled()));
    bench.pass(Duration::from_secs(5));
    assert_eq!(bench.link.phase(), Phase::Closing, "the peer has proved nothing");
    bench.feed(Input::Connection(Lane::Beside, ended())).feed(ended());
    assert_eq!((bench.link.phase(), bench.dials()), (Phase::Waiting, 2));
}
