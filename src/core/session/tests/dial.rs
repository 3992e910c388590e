//! The steps before there is a connection: what they ask for, what they hand over, and how they fail.

use super::*;

/// A ticket by HTTP, where the link has kept no session; the URL to go to comes with it.
pub(crate) fn ticket() -> Plan {
    let mut names = Names::default();
    let [sid, url, ticket] = ["sid", "url", "ticket"].map(|name| names.intern(name).unwrap());
    let unset = Some(When { var: sid, is_set: false });
    let call = Call {
        method: "POST".into(),
        url: Text::literal("https://api.example/ticket"),
        headers: [("authorization".into(), Text([TextPart::Value(Source::Secret(0))].into()))].into(),
        body: None,
        timeout: Duration::from_secs(10),
        max_bytes: 1 << 10,
        tls: CallTls::Endpoint,
        extract: [(url, pointer("/url")), (ticket, pointer("/ticket"))].into(),
        expect: [].into(),
    };
    let set = [(sid, Json::Text(Text([TextPart::Value(Source::Var(ticket, None))].into())))];
    let login = [TextPart::Literal("login ".into()), TextPart::Value(Source::Var(ticket, None))];
    let login = Send { body: Body::Text(Text(login.into())), kind: Kind::Text };
    Plan {
        names,
        keep: [sid, url].into(),
        dial: [
            Step { when: unset, ..step(Act::Http(call.into())) },
            step(Act::Wait(Duration::from_secs(1))),
            Step { when: unset, ..step(Act::Set(set.into())) },
        ]
        .into(),
        open: [step(Act::Send(login.into()))].into(),
        timeout: Duration::from_secs(30),
        max_json: 1 << 20,
        ..Plan::default()
    }
}

fn dial(plan: &Plan, kept: Option<&Kept>) -> Bench {
    let (now, mut chance) = (crate::epoch(), Chance::new(7));
    let (pace, stable) = (Duration::from_secs(1), Duration::ZERO);
    let mut outside = Outside { now, pace, stable, chance: &mut chance, wanted: None, is_beside: false };
    let session = Session::dial(start(plan, now), kept, Duration::from_secs(20), &mut outside);
    let mut bench = Bench { session, now, chance, kept: None, said: Vec::new(), sent: Vec::new() };
    bench.note();
    bench
}

impl Bench {
    fn answer(&mut self, answer: Answer) -> &mut Self {
        let Ask { id, errand } = self.session.poll_ask().expect("a call");
        assert!(matches!(errand, Errand::Call(_)));
        self.act(|session, outside| session.errand_done(id, Ok(Brought::Answer(answer)), outside));
        self
    }

    fn is_over(&self) -> bool {
        self.said.iter().any(|verdict| matches!(verdict, Verdict::Ready { .. }))
    }
}

const GIVEN: &str = r#"{"url": "wss://there.example/", "ticket": "t1"}"#;

#[test]
fn what_dial_brings_is_there_for_the_attempt_and_for_the_connection() {
    let plan = ticket();
    let mut bench = dial(&plan, None);
    assert_eq!(bench.session.waits(), Some(Waits { place: Place::Dial(0), of: 3, act: "http" }));
    bench.answer(Answer::of(200, GIVEN));
    assert_eq!(bench.session.waits().map(|waits| waits.place), Some(Place::Dial(1)));
    bench.pass(Duration::from_secs(1));
    assert!(bench.is_over() && bench.failure().is_none(), "{:?}", bench.said);
    let brought = bench.session.into_start(None);
    assert_eq!(brought.variable("url", None).as_deref(), Some("wss://there.example/"));
    assert_eq!((brought.variable("sid", None).as_deref(), brought.variable("other", None)), (Some("t1"), None));

    let mut bench = Bench::with(brought, None);
    assert_eq!(bench.sent, ["login t1"]);
    let opening = bench.session.take_opening(bench.now);
    let places: Vec<String> = opening.steps.iter().map(|step| step.place.to_string()).collect();
    assert_eq!((places, opening.ran()), (["dial[0]", "dial[1]", "dial[2]", "open[0]"].map(String::from).to_vec(), 4));
    assert_eq!(opening.steps[0].set[..], ["url".into(), "ticket".into()] as [Box<str>; 2]);
    assert_eq!(opening.steps[0].result, StepResult::Done);
    assert_eq!(bench.kept.and_then(|kept| kept.text("sid")).as_deref(), Some("t1"), "the link keeps it");
    assert_eq!(bench.session.shown("ticket").as_deref(), Some("***"), "what came by HTTP is secret");
}

#[test]
fn what_the_link_keeps_is_there_for_dial_and_newer_by_the_time_of_the_connection() {
    let kept: Kept = [("sid".into(), "old".into()), ("url".into(), "wss://kept/".into())].into_iter().collect();
    let plan = ticket();
    let mut bench = dial(&plan, Some(&kept));
    assert!(bench.session.poll_ask().is_none(), "its `when` does not hold");
    bench.pass(Duration::from_secs(1));
    let brought = bench.session.into_start(Some(&kept));
    assert_eq!(brought.variable("url", Some(&kept)).as_deref(), Some("wss://kept/"));
    let newer: Kept = [("sid".into(), "new".into())].into_iter().collect();
    let bench = Bench::with(brought, Some(Box::new(newer)));
    assert_eq!(bench.session.shown("sid").as_deref(), Some("***"));
    assert_eq!(bench.kept.and_then(|kept| kept.text("sid")).as_deref(), Some("new"));
}

#[test]
fn a_refusal_fails_the_attempt_with_its_label_the_servers_words_and_what_it_asks_for() {
    let later = Some(Duration::from_secs(7));
    for (answer, label, told, retry_after) in [
        (
            Answer::of(401, "no, hunter2"),
            "unauthorized",
            "the call of dial[0] was answered with status 401 and said: no, ***",
            None,
        ),
        (Answer { retry_after: later, ..Answer::of(429, "") }, "http", "with status 429", later),
        (Answer { retry_after: later, ..Answer::of(500, "") }, "http", "with status 500", None),
        (
            Answer { location: Some("https://b.example/login".into()), ..Answer::of(302, "") },
            "http",
            "with status 302 to https://b.example/login; redirects are not followed",
            None,
        ),
    ] {
        let plan = ticket();
        let mut bench = dial(&plan, None);
        bench.answer(answer);
        let failure = bench.failure().expect("it fails").clone();
        assert_eq!((&*failure.label, failure.cause, failure.retry_after), (label, Cause::Session, retry_after));
        assert!(failure.detail.contains(told), "{}", failure.detail);
        let opening = bench.session.take_opening(bench.now);
        assert_eq!((opening.steps.len(), opening.steps[0].result), (1, StepResult::Failed));
    }
}

#[test]
fn dial_ends_in_time_whatever_a_server_does() {
    let plan = ticket();
    let mut bench = dial(&plan, None);
    bench.pass(Duration::from_mins(1));
    let failure = bench.failure().expect("it fails");
    assert_eq!((&*failure.label, &*failure.detail), ("timeout", "the call of dial[0] was not answered in time"));

    let mut plan = ticket();
    let again = Expected { status: 200..=299, rule: rule(Matcher::default(), then(Then::Restart)) };
    let Act::Http(call) = &mut plan.dial[0].act else { panic!("it is a call") };
    call.expect = [again].into();
    let mut bench = dial(&plan, None);
    for _ in 0..100 {
        if bench.failure().is_some() {
            break;
        }
        if let Some(Ask { id, .. }) = bench.session.poll_ask() {
            bench.act(|session, outside| {
                session.errand_done(id, Ok(Brought::Answer(Answer::of(200, GIVEN))), outside);
            });
        }
        bench.pass(Duration::from_secs(1));
    }
    let failure = bench.failure().expect("it fails");
    assert!(failure.detail.contains("dial took longer than 20s"), "{}", failure.detail);
}

/// What a bug would say in its panic: `expect`, `unwrap` and `assert` write what they met by `Debug`.
#[test]
fn a_panic_over_anything_that_holds_a_secret_says_none() {
    let kept: Kept = [("sid".into(), "planted-kept".into())].into_iter().collect();
    let mut bench = dial(&ticket(), None);
    let ask = bench.session.poll_ask().unwrap();
    let brought = [
        Brought::Answer(Answer::of(200, "planted-body")),
        Brought::Made("planted-value".into()),
        Brought::Refused("planted-words".into()),
    ];
    let recipe = Recipe::Base64("planted-text".into());
    let mut other = dial(&ticket(), None);
    other.answer(Answer::of(200, r#"{"url": "planted-url", "ticket": "planted-ticket"}"#));
    other.pass(Duration::from_secs(1));
    let Bench { session, .. } = other;
    let dialled = session.into_start(None);
    let said = std::panic::catch_unwind(|| {
        panic!("{:?} {ask:?} {brought:?} {recipe:?} {kept:?} {dialled:?} {:?}", bench.session, dialled.dialled);
    });
    let said = *said.unwrap_err().downcast::<String>().unwrap();
    assert!(!said.contains("planted") && !said.contains("hunter2"), "{said}");
    assert!(said.contains("Request(POST)") && said.contains("Recipe(base64)"), "{said}");
}
