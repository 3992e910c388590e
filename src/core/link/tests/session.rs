//! The link with a session: what may leave when, what a failure of the session does, and which side of a rotation does what.

use proptest::prelude::*;

use super::*;
use crate::{
    outcome::{Action, Match, Rule},
    session::{
        Answer, Brought, Start,
        tests::{dial::ticket, gateway},
    },
};

pub(super) const HELLO: &str = r#"{"op":10,"beat":1000}"#;
pub(super) const WELCOME: &str = r#"{"t":"READY","sid":"x","s":1}"#;
const REFUSED: &str = r#"{"t":"NO"}"#;

fn start(at: Instant) -> ConnectionInput {
    start_of(gateway(), at)
}

fn start_of(plan: crate::session::Plan, at: Instant) -> ConnectionInput {
    ConnectionInput::Session(Box::new(Start {
        plan: Arc::new(plan),
        secrets: ["hunter2".into()].into(),
        wall: Duration::from_secs(1),
        at,
        endpoint: "e".into(),
        link: 0,
        dialled: None,
        is_watched: false,
    }))
}

impl Bench {
    fn on(&mut self, lane: Lane, input: ConnectionInput) -> &mut Self {
        self.feed(Input::Connection(lane, input))
    }

    /// The connection of the attempt is open, and its session begins.
    pub(super) fn dialled(&mut self, lane: Lane) -> &mut Self {
        let start = start(self.now);
        self.on(lane, start).on(lane, dialled())
    }

    pub(super) fn hear(&mut self, lane: Lane, text: &str) -> &mut Self {
        self.on(lane, ConnectionInput::Received(Received::Messages(text.into())));
        // What is due at once is done before time passes.
        self.pass(Duration::ZERO)
    }

    fn log_in(&mut self, lane: Lane) -> &mut Self {
        self.dialled(lane).hear(lane, HELLO).hear(lane, WELCOME)
    }

    /// What leaves now, in words.
    pub(super) fn leaving(&mut self, lane: Lane) -> Vec<String> {
        let text = |payload: &crate::message::Payload| String::from_utf8_lossy(payload.bytes()).into_owned();
        let now = self.now;
        let word = |frame| match frame {
            Frame::Data(payload) => format!("data {}", text(&payload.into_first())),
            Frame::Session(payload) => text(&payload),
            Frame::Ping(_) => "ping".to_owned(),
            Frame::Close(frame) => format!("close {}", frame.map_or(0, |frame| frame.code)),
        };
        std::iter::from_fn(|| self.link.poll_transmit(now, lane)).map(word).collect()
    }

    fn says(&self, wanted: impl Fn(&Event) -> bool) -> usize {
        self.said.iter().filter(|said| matches!(said, Command::Tell(event) if wanted(event))).count()
    }
}

fn with_session() -> Bench {
    let mut bench = Bench::started();
    bench.log_in(Lane::Current);
    bench
}

#[test]
fn nothing_of_the_outbox_leaves_before_the_session_is_ready() {
    let mut bench = Bench::started();
    bench.send("queued");
    bench.dialled(Lane::Current);
    assert_eq!((bench.link.phase(), bench.link.ready_state()), (Phase::Opening, ReadyState::Open));
    assert_eq!(bench.leaving(Lane::Current), [""; 0]);
    bench.hear(Lane::Current, HELLO);
    assert_eq!(bench.leaving(Lane::Current), ["login hunter2"]);
    bench.hear(Lane::Current, WELCOME);
    assert_eq!(bench.link.phase(), Phase::Ready);
    assert_eq!(bench.leaving(Lane::Current)[..1], ["data queued"]);
    assert_eq!(bench.says(|event| matches!(event, Event::SessionReady { .. })), 1);
}

#[test]
fn an_application_that_is_silent_is_asked_though_its_websocket_answers_pings() {
    let mut plan = gateway();
    plan.every[0].every = crate::session::Interval::Fixed(Duration::from_secs(25));
    plan.every[0].when_idle = Some(heartbeat::WhenIdle::In);
    let mut bench = Bench::started();
    bench.on(Lane::Current, start_of(plan, bench.now)).on(Lane::Current, dialled());
    bench.hear(Lane::Current, HELLO).hear(Lane::Current, WELCOME);
    assert_eq!(bench.leaving(Lane::Current), ["login hunter2"]);
    bench.pass(Duration::from_secs(20));
    let now = bench.now;
    let Some(Frame::Ping(ping)) = bench.link.poll_transmit(now, Lane::Current) else { panic!("no ping") };
    bench.feed(ConnectionInput::Flushed).feed(ConnectionInput::Heard);
    bench.feed(ConnectionInput::Received(Received::Pong(ping)));
    bench.pass(Duration::from_secs(5));
    assert_eq!(bench.leaving(Lane::Current), ["beat 1"]);
}

#[test]
fn what_the_session_sends_is_no_message_of_a_callers() {
    let mut bench = with_session();
    let id = bench.send("mine");
    assert_eq!(bench.leaving(Lane::Current)[..2], ["login hunter2", "data mine"]);
    bench.feed(ConnectionInput::Left { messages: 1, pings: 0, part: 0 });
    assert!(!bench.states(id).contains(&receipt::State::Written), "the login has left, not the message");
    bench.feed(ConnectionInput::Left { messages: 1, pings: 0, part: 0 });
    assert!(bench.says(|event| matches!(event, Event::Written(_))) == 1);
}

#[test]
fn a_login_that_is_refused_is_tried_once_more_and_then_parked_with_the_peers_words() {
    let mut bench = Bench::started();
    for _ in 0..2 {
        bench.dialled(Lane::Current).hear(Lane::Current, HELLO).hear(Lane::Current, REFUSED);
        assert_eq!(bench.leaving(Lane::Current).last().map(String::as_str), Some("close 1000"));
        bench.feed(close(1000)).feed(ended());
        let closed = bench.last_close();
        assert_eq!((closed.cause, closed.label.as_deref()), (Cause::Session, Some("unauthorized")));
        assert!(closed.detail.contains(r#""NO""#), "{}", closed.detail);
        if bench.link.phase() == Phase::Waiting {
            bench.retry();
        }
    }
    assert_eq!((bench.link.phase(), bench.link.reason()), (Phase::Parked, Reason::Unauthorized));
}

#[test]
fn retry_after_of_a_call_in_open_is_obeyed_and_capped_on_either_connection() {
    let plan = || {
        let mut plan = ticket();
        plan.open = std::mem::take(&mut plan.dial);
        plan.open[0].when = None;
        plan
    };
    let refuse = |bench: &mut Bench, lane: Lane, asked: Duration| {
        bench.on(lane, start_of(plan(), bench.now)).on(lane, dialled());
        let id = bench.link.poll_ask(lane).expect("a call").id;
        let answer = Answer { retry_after: Some(asked), ..Answer::of(503, "") };
        bench.on(lane, ConnectionInput::Errand { id, done: Ok(Brought::Answer(answer)) }).pass(Duration::ZERO);
        bench.leaving(lane);
        bench.on(lane, close(1000)).on(lane, ended());
    };
    let mut bench = Bench::started();
    refuse(&mut bench, Lane::Current, Duration::from_secs(20));
    assert_eq!((bench.link.phase(), bench.link.reason()), (Phase::Waiting, Reason::RetryAfter));
    let wait = bench.link.next_attempt_at().expect("armed") - bench.now;
    assert!((Duration::from_secs(20)..=Duration::from_secs(22)).contains(&wait), "{wait:?}");
    bench.pass(wait);
    refuse(&mut bench, Lane::Current, Duration::from_hours(9));
    let wait = bench.link.next_attempt_at().expect("armed") - bench.now;
    assert!((Duration::from_mins(5)..=Duration::from_secs(330)).contains(&wait), "{wait:?}");

    let mut bench = with_session();
    bench.feed(Input::Verb(Verb::Rotate));
    refuse(&mut bench, Lane::Beside, Duration::from_secs(20));
    let next = bench.link.rotating().and_then(|rotating| rotating.next_at).expect("it is tried again");
    assert!(next - bench.now >= Duration::from_secs(20), "{:?}", next - bench.now);
}

#[test]
fn a_peer_that_ends_every_session_makes_no_storm() {
    let mut bench = Bench::started();
    let end = bench.now + Duration::from_secs(2);
    while bench.now < end {
        if bench.link.phase() == Phase::Connecting {
            bench.dialled(Lane::Current).hear(Lane::Current, HELLO).hear(Lane::Current, WELCOME);
            bench.feed(ConnectionInput::Ended { begun: 0, detail: "".into() });
        }
        bench.pass(Duration::from_millis(1));
    }
    assert!(bench.dials() <= 8, "{} logins in two seconds", bench.dials());
}

#[test]
fn a_row_says_what_is_forgotten_and_the_next_connection_logs_in_anew() {
    for (forget, expected) in [(&[][..], r#"{"op":6,"sid":"x"}"#), (&["sid"][..], "login hunter2")] {
        let row = Rule {
            when: Match { code: Some(4009..=4009), ..Match::default() },
            then: Action::Now,
            after: 1,
            forget: forget.iter().map(|name| Box::from(*name)).collect(),
        };
        let mut bench = Bench::with(Policy { outcomes: vec![row], ..Policy::default() });
        bench.feed(Input::Start).log_in(Lane::Current).feed(close(4009)).feed(ended());
        bench.retry();
        bench.dialled(Lane::Current).hear(Lane::Current, HELLO);
        assert_eq!(bench.leaving(Lane::Current), [expected]);
    }
}

#[test]
fn the_successor_is_ready_before_it_takes_over_and_the_old_one_says_farewell() {
    let mut bench = with_session();
    bench.leaving(Lane::Current);
    bench.feed(ConnectionInput::Flushed).feed(Input::Verb(Verb::Rotate));
    bench.dialled(Lane::Beside);
    bench.send("during");
    assert_eq!(bench.leaving(Lane::Current)[..1], ["data during"], "the old one carries on");
    let nonce = bench.said.len();
    bench.hear(Lane::Beside, HELLO);
    assert_eq!(bench.leaving(Lane::Beside), [r#"{"op":6,"sid":"x"}"#]);
    assert_eq!((bench.link.generation(), bench.said.len() > nonce), (1, true));
    // A proof of what has left on the old one, then the switch.
    bench.hear(Lane::Beside, r#"{"t":"RESUMED"}"#);
    let ping = bench.link.poll_transmit(bench.now, Lane::Current);
    if let Some(Frame::Ping(ping)) = ping {
        bench.feed(ConnectionInput::Flushed).feed(ConnectionInput::Received(Received::Pong(ping)));
    }
    bench.pass(Duration::from_secs(6));
    assert_eq!(bench.link.generation(), 2, "{:?}", bench.link.rotating());
    assert_eq!(bench.says(|event| matches!(event, Event::SessionReady { .. })), 2);
}

#[test]
fn a_farewell_goes_before_the_close_and_its_answer_is_waited_for() {
    let mut bench = with_session();
    bench.leaving(Lane::Current);
    bench.feed(ConnectionInput::Flushed).feed(Input::Verb(Verb::Close(Some(CloseFrame::of(1000)))));
    assert_eq!(bench.leaving(Lane::Current), ["bye"]);
    bench.feed(ConnectionInput::Flushed).hear(Lane::Current, r#"{"op":12}"#);
    assert_eq!(bench.leaving(Lane::Current), ["close 1000"]);
}

#[test]
fn a_farewell_without_an_answer_holds_the_close_up_for_half_its_time() {
    let mut bench = with_session();
    bench.leaving(Lane::Current);
    bench.feed(ConnectionInput::Flushed).feed(Input::Verb(Verb::Pause));
    assert_eq!(bench.leaving(Lane::Current), ["bye"]);
    bench.feed(ConnectionInput::Flushed).pass(Policy::default().close_timeout / 2);
    assert_eq!(bench.leaving(Lane::Current), ["close 1000"]);
}

#[test]
fn a_ping_that_is_owed_leaves_before_what_the_rules_ask_for() {
    let mut bench = Bench::started();
    bench.dialled(Lane::Current).hear(Lane::Current, r#"{"op":10,"beat":1000000}"#).hear(Lane::Current, WELCOME);
    bench.leaving(Lane::Current);
    bench.feed(ConnectionInput::Flushed);
    bench.pass(Policy::default().heartbeat.idle).hear(Lane::Current, r#"{"op":1}"#);
    assert_eq!(bench.leaving(Lane::Current), ["ping", "here"]);
}

#[derive(Debug, Clone)]
enum Doing {
    Hear(Lane, &'static str),
    Dial(Lane),
    Gone(Lane),
    Send,
    Pull(Lane),
    Rotate,
    Pass(u64),
}

fn doing() -> impl Strategy<Value = Doing> {
    let lane = || prop::sample::select(vec![Lane::Current, Lane::Current, Lane::Beside]);
    let text = prop::sample::select(vec![
        HELLO,
        WELCOME,
        HELLO,
        WELCOME,
        REFUSED,
        r#"{"op":9}"#,
        r#"{"op":7}"#,
        r#"{"op":1}"#,
    ]);
    prop_oneof![
        4 => (lane(), text).prop_map(|(lane, text)| Doing::Hear(lane, text)),
        2 => lane().prop_map(Doing::Dial),
        1 => lane().prop_map(Doing::Gone),
        2 => Just(Doing::Send),
        3 => lane().prop_map(Doing::Pull),
        1 => Just(Doing::Rotate),
        2 => (0..20_000_u64).prop_map(Doing::Pass),
    ]
}

proptest! {
    #[test]
    fn whatever_happens_a_connection_is_ready_once_and_carries_data_only_then(story in prop::collection::vec(doing(), 0..120)) {
        let mut bench = Bench::started();
        for doing in story {
            match doing {
                Doing::Hear(lane, text) => { bench.hear(lane, text); }
                Doing::Dial(lane) => { bench.dialled(lane); }
                Doing::Gone(lane) => { bench.on(lane, ended()); }
                Doing::Send => { bench.send("data"); }
                Doing::Rotate => { bench.feed(Input::Verb(Verb::Rotate)); }
                Doing::Pass(millis) => { bench.pass(Duration::from_millis(millis)); }
                Doing::Pull(lane) => {
                    let is_opening = bench.link.is_opening(lane);
                    let leaves = bench.leaving(lane);
                    let has_data = leaves.iter().any(|word| word.starts_with("data"));
                    prop_assert!(!(has_data && (is_opening || lane == Lane::Beside)), "{leaves:?}");
                    bench.on(lane, ConnectionInput::Flushed);
                }
            }
        }
        let mut readies = std::collections::BTreeMap::<u64, u32>::new();
        for said in &bench.said {
            if let Command::Tell(Event::SessionReady { generation, .. }) = said {
                *readies.entry(*generation).or_default() += 1;
            }
        }
        prop_assert!(readies.values().all(|count| *count == 1), "{readies:?}");
    }
}
