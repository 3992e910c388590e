//! A session with a clock in the test's hand: one behaviour a test, and what holds whatever a peer says.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use proptest::prelude::*;

use super::*;
use crate::{
    chance::Chance,
    close::Cause,
    message::{Kind, Payload},
};

pub(crate) mod dial;

struct Bench {
    session: Session,
    now: Instant,
    chance: Chance,
    kept: Option<Box<Kept>>,
    said: Vec<Verdict>,
    sent: Vec<String>,
}

fn pointer(source: &str) -> Pointer {
    Pointer::parse(source).unwrap()
}

fn json(at: &str, value: impl Into<Value>) -> Matcher {
    Matcher { json: [Wanted { at: pointer(at), value: Json::Literal(value.into()) }].into(), ..Matcher::default() }
}

fn send(text: &str) -> Send {
    Send { body: Body::Text(Text::literal(text)), kind: Kind::Text }
}

fn step(act: Act) -> Step {
    Step::of(act)
}

fn expect(alternatives: Vec<Rule>) -> Step {
    step(Act::Expect { alternatives: alternatives.into(), timeout: Duration::from_secs(10) })
}

fn rule(matcher: Matcher, act: Do) -> Rule {
    Rule { matcher, act }
}

fn then(then: Then) -> Do {
    Do { then, ..Do::default() }
}

/// A gateway: hello, a resume or a login, and what follows it.
pub(crate) fn gateway() -> Plan {
    let mut names = Names::default();
    let (sid, seq, beat) = (names.intern("sid").unwrap(), names.intern("seq").unwrap(), names.intern("beat").unwrap());
    let when = |is_set| Some(When { var: sid, is_set });
    let extract = |var, at: &str| Do { extract: [(var, pointer(at))].into(), ..Do::default() };
    let member = |name: &str, json: Json| (Box::from(name), json);
    let resume = Json::Object(
        [member("op", Json::Literal(6.into())), member("sid", Json::Value(Source::Var(sid, None)))].into(),
    );
    let resume = Send { body: Body::Json(resume), kind: Kind::Text };
    let login = [TextPart::Literal("login ".into()), TextPart::Value(Source::Secret(0))];
    let login = Send { body: Body::Text(Text(login.into())), kind: Kind::Text };
    let beats = Send {
        body: Body::Text(Text([TextPart::Literal("beat ".into()), TextPart::Value(Source::Var(seq, None))].into())),
        kind: Kind::Text,
    };
    Plan {
        names,
        keep: [sid, seq].into(),
        durable: Box::default(),
        open: [
            expect(vec![rule(json("/op", 10), extract(beat, "/beat"))]),
            Step { when: when(true), ..Step::of(Act::Send(resume.into())) },
            Step { when: when(false), ..Step::of(Act::Send(login.into())) },
            expect(vec![
                rule(json("/t", "READY"), extract(sid, "/sid")),
                rule(json("/t", "RESUMED"), Do::default()),
                rule(json("/op", 9), Do { forget: [sid].into(), ..then(Then::Restart) }),
                rule(json("/t", "NO"), then(Then::Fail("unauthorized".into()))),
            ]),
        ]
        .into(),
        timeout: Duration::from_secs(30),
        on: Rules::new(
            [
                rule(Matcher { has: [pointer("/s")].into(), ..Matcher::default() }, extract(seq, "/s")),
                rule(json("/op", 1), Do { send: Some(Box::new(send("here"))), hide: true, ..Do::default() }),
                rule(json("/op", 7), then(Then::Rotate)),
            ]
            .into(),
        ),
        dial: [].into(),
        every: [Every {
            every: Interval::Var(beat, Duration::from_millis(1)),
            first: First::After,
            when_idle: None,
            steps: [
                step(Act::Send(beats.into())),
                expect(vec![rule(json("/op", 11), Do { hide: true, ..Do::default() })]),
            ]
            .into(),
        }]
        .into(),
        mute: None,
        leave: [step(Act::Send(Box::new(send("bye")))), expect(vec![rule(json("/op", 12), Do::default())])].into(),
        subscriptions: None,
        max_json: 1 << 20,
    }
}

fn start(plan: &Plan, at: Instant) -> Start {
    Start {
        plan: Arc::new(plan.clone()),
        secrets: ["hunter2".into()].into(),
        wall: Duration::from_secs(1),
        at,
        endpoint: "e".into(),
        link: 0,
        dialled: None,
        is_watched: false,
    }
}

impl Bench {
    fn begin(plan: &Plan, kept: Option<Box<Kept>>) -> Self {
        Self::with(start(plan, crate::epoch()), kept)
    }

    fn with(start: Start, kept: Option<Box<Kept>>) -> Self {
        let now = crate::epoch();
        let mut chance = Chance::new(7);
        let (pace, stable) = (Duration::from_secs(1), Duration::from_secs(30));
        let mut outside = Outside { now, pace, stable, chance: &mut chance, wanted: None, is_beside: false };
        let session = Session::begin(start, 1, kept.as_deref(), &mut outside);
        let mut bench = Self { session, now, chance, kept, said: Vec::new(), sent: Vec::new() };
        bench.note();
        bench
    }

    fn act<R>(&mut self, act: impl FnOnce(&mut Session, &mut Outside<'_>) -> R) -> R {
        let mut outside = Outside {
            now: self.now,
            pace: Duration::from_secs(1),
            stable: Duration::from_secs(30),
            chance: &mut self.chance,
            wanted: None,
            is_beside: false,
        };
        let answer = act(&mut self.session, &mut outside);
        self.note();
        answer
    }

    fn note(&mut self) {
        self.session.remember(&mut self.kept, false);
        self.said.extend(std::iter::from_fn(|| self.session.poll_verdict()));
        let text = |payload: Payload| String::from_utf8_lossy(payload.bytes()).into_owned();
        self.sent.extend(std::iter::from_fn(|| self.session.poll_transmit()).map(text));
    }

    fn hear(&mut self, text: &str) -> bool {
        self.act(|session, outside| session.handle(&text.into(), outside))
    }

    fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        while let Some(at) = self.session.poll_timeout().filter(|at| *at <= end) {
            self.now = at.max(self.now);
            self.act(Session::handle_timeout);
            assert!(self.session.poll_timeout().is_none_or(|next| next > self.now), "a deadline stayed due");
        }
        self.now = end;
    }

    fn log_in(&mut self) {
        self.hear(r#"{"op":10,"beat":1000}"#);
        self.hear(r#"{"t":"READY","sid":"x","s":1}"#);
        self.act(Session::take_over);
    }

    fn failure(&self) -> Option<&Failure> {
        self.said.iter().find_map(|verdict| match verdict {
            Verdict::End(failure) => Some(&**failure),
            Verdict::Ready { .. } | Verdict::Answered | Verdict::Rotate => None,
        })
    }
}

#[test]
fn steps_run_in_order_and_the_session_is_ready_after_the_last() {
    let mut bench = Bench::begin(&gateway(), None);
    assert_eq!((bench.sent.len(), bench.session.is_ready()), (0, false));
    assert_eq!(bench.session.waits(), Some(Waits { place: Place::Open(0), of: 4, act: "expect" }));
    bench.hear(r#"{"op":10,"beat":1000}"#);
    assert_eq!((bench.sent.as_slice(), bench.session.is_ready()), (&["login hunter2".to_owned()][..], false));
    bench.hear(r#"{"t":"READY","sid":"x","s":1}"#);
    assert!(bench.session.is_ready());
    assert_eq!(bench.said, [Verdict::Ready { took: Duration::ZERO, steps: 3 }]);
}

#[test]
fn what_open_did_is_noted_with_names_and_without_values() {
    let mut bench = Bench::begin(&gateway(), None);
    bench.pass(Duration::from_secs(1));
    bench.hear(r#"{"op":10,"beat":1000}"#);
    bench.hear(r#"{"t":"READY","sid":"x","s":1}"#);
    let now = bench.now;
    let opening = bench.session.take_opening(now);
    let told: Vec<_> = opening.steps.iter().map(|step| (step.place.to_string(), step.act, step.result)).collect();
    let done = |at: usize, act| (format!("open[{at}]"), act, StepResult::Done);
    assert_eq!(told, [done(0, "expect"), done(2, "send"), done(3, "expect")]);
    assert_eq!(
        (opening.took, opening.steps[0].took, opening.ran()),
        (Duration::from_secs(1), Duration::from_secs(1), 3)
    );
    // What the rule of `on` has set at the same message is not the step's.
    assert_eq!((opening.steps[2].alternative, &*opening.steps[2].set), (Some(0), &["sid".into()][..]));
    bench.act(Session::take_over);
    bench.pass(Duration::from_secs(5));
    assert!(bench.session.steps().is_empty(), "timers and rules go on for ever, and nobody looks on");
}

#[test]
fn a_step_that_fails_is_noted_as_such() {
    let mut bench = Bench::begin(&gateway(), None);
    bench.hear(r#"{"op":10}"#);
    bench.hear(r#"{"t":"NO"}"#);
    let now = bench.now;
    let last = bench.session.take_opening(now).steps.pop().unwrap();
    assert_eq!((last.place, last.result, last.alternative), (Place::Open(3), StepResult::Failed, Some(3)));
}

#[test]
fn a_variable_that_came_from_a_secret_is_not_shown() {
    let mut plan = gateway();
    let (copy, again) = (plan.names.intern("copy").unwrap(), plan.names.intern("again").unwrap());
    let text = Text([TextPart::Literal("Bearer ".into()), TextPart::Value(Source::Secret(0))].into());
    let sets = [(copy, Json::Text(text)), (again, Json::Value(Source::Var(copy, None)))];
    let sets = sets.map(|set| step(Act::Set([set].into())));
    plan.open = sets.into_iter().chain(plan.open).collect();
    let mut bench = Bench::begin(&plan, None);
    bench.hear(r#"{"op":10,"beat":1000}"#);
    bench.hear(r#"{"t":"READY","sid":"hunter2-x","s":1}"#);
    let shown = ["copy", "again", "beat", "sid", "none"].map(|name| bench.session.shown(name));
    let some = |text: &str| Some(text.to_owned());
    assert_eq!(shown, [some("***"), some("***"), some("1000"), some("\"***-x\""), None]);
    assert_eq!(bench.session.without_secrets("is Bearer hunter2 right?"), "is *** right?");
}

#[test]
fn what_is_kept_resumes_the_next_connection_and_nothing_else_survives() {
    let plan = gateway();
    let mut first = Bench::begin(&plan, None);
    first.log_in();
    first.hear(r#"{"s":5}"#);
    let kept = first.kept.take().unwrap();
    assert_eq!((kept.get("sid"), kept.get("seq"), kept.get("beat")), (Some(&"x".into()), Some(&5.into()), None));
    let mut next = Bench::begin(&plan, Some(kept));
    next.hear(r#"{"op":10,"beat":1000}"#);
    assert_eq!(next.sent, [r#"{"op":6,"sid":"x"}"#]);
}

#[test]
fn a_restart_is_slowed_and_bounded() {
    let mut bench = Bench::begin(&gateway(), None);
    for _ in 0..2000 {
        bench.hear(r#"{"op":10,"beat":1000}"#);
        bench.hear(r#"{"op":9}"#);
        bench.pass(Duration::from_millis(1));
    }
    assert_eq!(bench.sent.len(), 2, "after two seconds of refusals: {:?}", bench.sent);
    for _ in 0..200 {
        bench.hear(r#"{"op":10,"beat":1000}"#);
        bench.hear(r#"{"op":9}"#);
        bench.pass(Duration::from_secs(1));
    }
    assert!(bench.sent.len() < 10 && bench.failure().is_some_and(|failure| &*failure.label == "timeout"));
}

#[test]
fn a_refusal_says_the_peers_words_and_no_secret() {
    let mut bench = Bench::begin(&gateway(), None);
    bench.hear(r#"{"op":10}"#);
    bench.hear("{\"t\":\"NO\",\"why\":\"hunter2 is wrong\"}");
    let failure = bench.failure().unwrap();
    assert_eq!((&*failure.label, failure.cause), ("unauthorized", Cause::Session));
    assert_eq!(&*failure.detail, "the peer said: {\"t\":\"NO\",\"why\":\"*** is wrong\"}");
}

#[test]
fn what_does_not_come_in_time_ends_the_opening() {
    let mut bench = Bench::begin(&gateway(), None);
    bench.pass(Duration::from_secs(10));
    assert!(bench.failure().is_some_and(|failure| failure.detail.contains("open[0]")), "{:?}", bench.said);
}

#[test]
fn a_timer_sends_and_a_missing_answer_ends_the_connection() {
    let mut bench = Bench::begin(&gateway(), None);
    bench.log_in();
    bench.pass(Duration::from_secs(1));
    assert_eq!(bench.sent.last().map(String::as_str), Some("beat 1"));
    assert!(bench.hear(r#"{"op":11}"#), "it is hidden");
    assert_eq!(bench.said.last(), Some(&Verdict::Answered));
    bench.pass(Duration::from_secs(12));
    assert!(bench.failure().is_some_and(|failure| &*failure.label == "keepalive" && failure.is_silence));
}

#[test]
fn an_end_is_decided_once_whatever_is_asked_behind_it() {
    let mut bench = Bench::begin(&gateway(), None);
    bench.hear(r#"{"op":10,"beat":"never"}"#);
    bench.hear(r#"{"t":"READY","sid":"x","s":1}"#);
    for _ in 0..2 {
        bench.act(Session::take_over);
    }
    let ends = bench.said.iter().filter(|verdict| matches!(verdict, Verdict::End(_)));
    assert_eq!(ends.count(), 1, "{:?}", bench.said);
}

#[test]
fn timers_run_on_the_current_connection_alone() {
    let mut bench = Bench::begin(&gateway(), None);
    bench.hear(r#"{"op":10,"beat":1000}"#);
    bench.hear(r#"{"t":"READY","sid":"x"}"#);
    bench.pass(Duration::from_mins(1));
    assert_eq!(bench.sent.len(), 1);
    bench.act(Session::take_over);
    bench.act(|session, _| session.step_aside());
    bench.pass(Duration::from_mins(1));
    assert_eq!(bench.sent.len(), 1);
}

#[test]
fn a_farewell_waits_for_its_answer_and_not_for_long() {
    let left = |answer: Option<&str>, time| {
        let mut bench = Bench::begin(&gateway(), None);
        bench.log_in();
        bench.act(|session, outside| session.leave(Duration::from_secs(2), outside));
        assert_eq!((bench.sent.last().map(String::as_str), bench.session.is_leaving()), (Some("bye"), true));
        answer.map(|answer| bench.hear(answer));
        bench.pass(time);
        assert!(bench.failure().is_none());
        !bench.session.is_leaving()
    };
    assert!(left(Some(r#"{"op":12}"#), Duration::ZERO));
    assert!(!left(Some(r#"{"op":1}"#), Duration::from_secs(1)));
    assert!(left(None, Duration::from_secs(2)));
}

#[test]
fn who_is_not_ready_says_no_farewell() {
    let mut bench = Bench::begin(&gateway(), None);
    bench.act(|session, outside| session.leave(Duration::from_secs(2), outside));
    assert_eq!((bench.sent.len(), bench.session.is_leaving(), bench.session.poll_timeout()), (0, false, None));
}

#[test]
fn a_peer_that_asks_for_another_connection_waits_until_this_one_is_stable() {
    let mut bench = Bench::begin(&gateway(), None);
    bench.hear(r#"{"op":10,"beat":1000000}"#);
    bench.hear(r#"{"t":"READY","sid":"x"}"#);
    bench.act(Session::take_over);
    bench.hear(r#"{"op":7}"#);
    bench.pass(Duration::from_secs(29));
    assert!(!bench.said.contains(&Verdict::Rotate));
    bench.hear(r#"{"op":7}"#);
    bench.pass(Duration::from_secs(9));
    assert_eq!(bench.said.iter().filter(|verdict| **verdict == Verdict::Rotate).count(), 1);
}

#[test]
fn a_flood_that_asks_for_answers_ends_the_connection_and_grows_nothing() {
    let mut bench = Bench::begin(&gateway(), None);
    bench.log_in();
    let mut chance = Chance::new(1);
    let now = bench.now;
    for _ in 0..=QUEUE_MAX {
        let (pace, stable) = (Duration::ZERO, Duration::ZERO);
        let mut outside = Outside { now, pace, stable, chance: &mut chance, wanted: None, is_beside: false };
        bench.session.handle(&r#"{"op":1}"#.into(), &mut outside);
    }
    assert!(matches!(bench.session.poll_verdict(), Some(Verdict::End(failure)) if &*failure.label == "overflow"));
    assert_eq!(bench.session.poll_transmit(), None);
}

#[test]
fn a_pointer_goes_into_lists_members_and_strings() {
    let document = json::parse(br#"{"a":[{"b":1},{"b":"{\"c\":2}"}]}"#).unwrap();
    let any = |at: &str, wanted: Value| pointer(at).any(&document, |value| json::is_same(value, &wanted));
    assert!(any("/a/*/b", 1.0.into()) && any("/a/1/b!/c", 2.into()) && !any("/a/01/b", 1.into()));
    assert_eq!((Pointer::parse("a"), Pointer::parse("/~2")), (None, None));
}

#[test]
fn numbers_are_the_same_where_they_count_the_same_and_large_ids_are_not() {
    let is_same = |one: &str, other: &str| {
        let read = |text: &str| json::parse(text.as_bytes()).unwrap();
        json::is_same(&read(one), &read(other)) && json::is_same(&read(other), &read(one))
    };
    let same = [
        ("1", "1.0"),
        ("1e2", "100"),
        ("0", "-0.0"),
        ("-3", "-3.0"),
        ("0.1", "1e-1"),
        ("9007199254740992.0", "9007199254740992"),
    ];
    assert!(same.iter().all(|(one, other)| is_same(one, other)), "{same:?}");
    for number in ["0.9452706955539223", "1939149162.7785106", "18446744073709551615", "-9223372036854775808", "1.0"] {
        assert_eq!(json::parse(number.as_bytes()).unwrap().to_string(), number, "it is passed on as it came");
    }
    let other = [
        ("9007199254740992", "9007199254740993"),
        ("9007199254740992.0", "9007199254740993"),
        ("18446744073709551615", "18446744073709551614"),
        ("1", "1.5"),
        ("1", "\"1\""),
    ];
    assert!(!other.iter().any(|(one, other)| is_same(one, other)), "{other:?}");
}

#[test]
fn binary_messages_are_made_from_parts_and_matched_by_bytes() {
    let parts = [
        BytesPart::Fixed([0x10].as_slice().into()),
        BytesPart::VarLen([BytesPart::Prefixed(Text::literal("MQTT"))].into()),
    ];
    let plan = Plan {
        open: [step(Act::Send(Box::new(Send { body: Body::Bytes(parts.into()), kind: Kind::Binary })))].into(),
        timeout: Duration::from_secs(1),
        ..Plan::default()
    };
    let bench = Bench::begin(&plan, None);
    assert_eq!(bench.sent, ["\u{10}\u{6}\0\u{4}MQTT"]);
    let expression = Expression::parse(r"^\x20\x02.\x00").unwrap();
    assert!(expression.is_match(&[0x20, 2, 0xff, 0]) && !expression.is_match(&[0x20, 2, 0xff, 1]));
    assert!(Expression::literal("gü.").unwrap().is_match("a gü. b".as_bytes()));
}

fn any_message() -> impl Strategy<Value = String> {
    prop_oneof![
        (0..12_i64, 0..2000_i64).prop_map(|(op, beat)| format!(r#"{{"op":{op},"beat":{beat},"s":{beat}}}"#)),
        prop::sample::select(vec![r#"{"t":"READY","sid":"x"}"#, r#"{"t":"RESUMED"}"#, "no json", "{"])
            .prop_map(str::to_owned),
    ]
}

proptest! {
    #[test]
    fn whatever_a_peer_says_and_when_all_is_bounded(story in prop::collection::vec((any_message(), 0..3000_u64), 0..200)) {
        let mut bench = Bench::begin(&gateway(), None);
        let (mut readies, mut took_over) = (0, false);
        for (message, millis) in story {
            bench.hear(&message);
            if bench.session.is_ready() && !took_over {
                took_over = true;
                bench.act(Session::take_over);
            }
            let before = bench.sent.len();
            bench.pass(Duration::from_millis(millis));
            prop_assert!(bench.sent.len() - before <= 1 + usize::try_from(millis / 100).unwrap_or(0), "timers are bounded");
        }
        readies += bench.said.iter().filter(|verdict| matches!(verdict, Verdict::Ready { .. })).count();
        prop_assert!(readies <= 1);
        prop_assert_eq!(took_over, readies == 1);
    }

    #[test]
    fn rules_that_are_looked_up_are_those_that_would_be_tried(ops in prop::collection::vec(0..20_i64, 0..40), at in 0..20_i64) {
        let rules = Rules::new(ops.iter().map(|op| rule(json("/op", *op), Do::default())).collect());
        for text in [format!(r#"{{"op":{at}.0}}"#), format!(r#"{{"op":{at}}}"#), format!(r#"{{"op":-{}.0}}"#, -at)] {
            let payload = Payload::from(text.replace("--", "").as_str());
            let message = matcher::Message::new(&payload, 1 << 20);
            let found = rules.candidates(&message).filter(|(_, rule)| rule.matcher == json("/op", at)).count();
            prop_assert_eq!(found, ops.iter().filter(|op| **op == at).count());
        }
    }
}
