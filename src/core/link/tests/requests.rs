//! Requests on a link: ids, replies, what becomes of them when connections go, and whose each reply is.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::{
    message::Payload,
    receipt::{EndReason, State},
    requests::{Policy as Requests, Stamp},
    run::Run,
};

/// How a request ended.
#[derive(Debug, Clone, PartialEq, Eq)]
enum End {
    Reply(String),
    Error(String),
    Lost,
    Timeout,
}

fn policy(requests: Requests) -> Policy {
    let requests = Requests { id: Some("/id".into()), reply: Some("/id".into()), ..requests };
    Policy { requests, ..Policy::default() }
}

impl Bench {
    fn asking(requests: Requests) -> Self {
        let mut bench = Self::with(policy(requests));
        bench.feed(Input::Start).feed(dialled());
        bench
    }

    fn ask(&mut self, text: &str, timeout: Duration) -> MessageId {
        self.next_id += 1;
        let (id, deadline) = (MessageId(self.next_id), self.now + timeout);
        let asked = self.link.shared.policy.requests.asked(&text.into(), deadline).expect("a request");
        let extras = Extras { request: Some(Box::new(asked)), ..Extras::default() }.boxed();
        let message = Message { id, body: text.into(), extras, expires_at: Some(deadline), share: Share::default() };
        let (answer, commands) = self.link.offer(self.now, Box::new(message));
        assert!(answer.is_ok());
        self.said.extend(commands);
        id
    }

    /// What left as text.
    fn asked(&mut self) -> Vec<String> {
        let frames = self.frames();
        frames
            .into_iter()
            .filter_map(|frame| match frame {
                Frame::Data(payload) => Some(String::from_utf8(payload.into_first().bytes().to_vec()).unwrap()),
                _ => None,
            })
            .collect()
    }

    fn hears(&mut self, text: &str) {
        self.feed(ConnectionInput::Received(Received::Messages(Run::from(&Payload::from(text)))));
    }

    /// How requests ended, in order; one that ends twice is there twice.
    fn ended(&self) -> Vec<(MessageId, End)> {
        let mut replies = BTreeMap::new();
        let mut ends = Vec::new();
        for said in &self.said {
            match said {
                Command::Reply(reply) => {
                    let text = String::from_utf8(reply.payload.bytes().to_vec()).unwrap();
                    let end = if reply.is_error { End::Error(text) } else { End::Reply(text) };
                    assert!(replies.insert(reply.id, end).is_none(), "two replies to one");
                }
                Command::Settle { reached, .. } => {
                    for ended in reached.iter().filter(|ended| ended.state.is_end()) {
                        let end = match (ended.state, ended.end_reason) {
                            (State::Confirmed, _) => {
                                replies.get(&ended.id).cloned().expect("its reply, before its end")
                            }
                            (_, Some(EndReason::Ttl | EndReason::AckTimeout)) => End::Timeout,
                            (_, _) => End::Lost,
                        };
                        ends.push((ended.id, end));
                    }
                }
                _ => {}
            }
        }
        ends
    }

    fn delivered(&self) -> usize {
        self.said
            .iter()
            .map(|said| match said {
                Command::Deliver { run, .. } => run.count(),
                _ => 0,
            })
            .sum()
    }
}

const LONG: Duration = Duration::from_secs(30);

#[test]
fn requests_with_one_id_get_each_its_own_reply_and_their_own_ids_back() {
    let mut bench = Bench::asking(Requests::default());
    let ids = [r#"{"id":1,"q":"a"}"#, r#"{"id":1,"q":"b"}"#, r#"{"q":"c","id":"1"}"#].map(|text| bench.ask(text, LONG));
    assert_eq!(bench.asked(), [r#"{"id":1,"q":"a"}"#, r#"{"id":2,"q":"b"}"#, r#"{"q":"c","id":"3"}"#]);
    bench.feed(ConnectionInput::Flushed);
    for reply in [
        r#"{"r": "of c","id":"3"}"#,
        r#"{"id":1,"r":"of a"}"#,
        r#"{"id":9}"#,
        r#"{"id":1,"r":"again"}"#,
        r#"{"id":2,"r":"of b"}"#,
    ] {
        bench.hears(reply);
    }
    let reply = |text: &str| End::Reply(text.into());
    let wanted = [
        (ids[2], reply(r#"{"r": "of c","id":"1"}"#)),
        (ids[0], reply(r#"{"id":1,"r":"of a"}"#)),
        (ids[1], reply(r#"{"id":1,"r":"of b"}"#)),
    ];
    assert_eq!(bench.ended(), wanted);
    assert_eq!(bench.delivered(), 5, "consumers see replies, unless they are hidden");
}

#[test]
fn a_reply_may_be_hidden_and_may_be_an_error_and_may_come_before_its_request_is_flushed() {
    let is_error = crate::session::Matcher {
        has: [crate::session::Pointer::parse("/error").unwrap()].into(),
        ..Default::default()
    };
    let mut bench = Bench::asking(Requests { hide: true, error: Some(Box::new(is_error)), ..Requests::default() });
    let id = bench.ask("{}", LONG);
    assert_eq!(bench.asked(), [r#"{"id":1}"#]);
    bench.hears(r#"{"id":1,"error":"no"}"#);
    assert_eq!(bench.ended(), []);
    bench.feed(ConnectionInput::Flushed);
    assert_eq!(bench.ended(), [(id, End::Error(r#"{"id":1,"error":"no"}"#.into()))]);
    assert_eq!(bench.delivered(), 0);
}

#[test]
fn what_is_not_answered_is_late_and_what_loses_its_connection_is_lost_or_asked_again() {
    let mut bench = Bench::asking(Requests::default());
    let late = bench.ask(r#"{"id":1}"#, Duration::from_secs(3));
    bench.asked();
    bench.feed(ConnectionInput::Flushed).pass(Duration::from_secs(3));
    let lost = bench.ask(r#"{"id":2}"#, LONG);
    bench.asked();
    bench.feed(ConnectionInput::Flushed).feed(ended());
    assert_eq!(bench.ended(), [(late, End::Timeout), (lost, End::Lost)]);
    let mut bench = Bench::asking(Requests { retry: true, ..Requests::default() });
    let again = bench.ask(r#"{"id":"x"}"#, LONG);
    let asked = bench.asked();
    bench.feed(ConnectionInput::Flushed).feed(ended()).pass(Duration::from_secs(5)).feed(dialled());
    let asked_again = bench.asked();
    assert_ne!(asked, asked_again, "it has another id");
    bench.hears(&asked[0]);
    assert_eq!(bench.ended(), [], "a reply to what was asked before is none");
    bench.hears(&asked_again[0]);
    bench.feed(ConnectionInput::Flushed);
    assert_eq!(bench.ended(), [(again, End::Reply(r#"{"id":"x"}"#.into()))]);
}

#[test]
fn one_in_flight_is_one_and_an_id_that_is_kept_is_awaited_once() {
    let mut bench = Bench::asking(Requests { in_flight: Some(1), ..Requests::default() });
    for text in [r#"{"id":1}"#, r#"{"id":1}"#] {
        bench.ask(text, LONG);
    }
    assert_eq!(bench.asked(), [r#"{"id":1}"#]);
    bench.feed(ConnectionInput::Flushed);
    bench.hears(r#"{"id":1}"#);
    assert_eq!(bench.asked(), [r#"{"id":2}"#]);
    let mut bench = Bench::asking(Requests { stamp: Stamp::Keep, ..Requests::default() });
    for text in [r#"{"id":1}"#, r#"{"id":2}"#, r#"{"id":1}"#] {
        bench.ask(text, LONG);
    }
    assert_eq!(bench.asked(), [r#"{"id":1}"#, r#"{"id":2}"#]);
    bench.hears(r#"{"id":1}"#);
    assert_eq!(bench.asked(), [] as [&str; 0], "what was asked before has not left, as far as is known");
    bench.feed(ConnectionInput::Flushed);
    assert_eq!(bench.asked(), [r#"{"id":1}"#]);
}

#[test]
fn an_id_whose_reply_did_not_come_in_time_is_free_when_it_has_come_or_the_connection_has_gone() {
    let mut bench = Bench::asking(Requests { stamp: Stamp::Keep, ..Requests::default() });
    let short = Duration::from_secs(3);
    let late = bench.ask(r#"{"id":1}"#, short);
    let behind = bench.ask(r#"{"id":1,"behind":1}"#, LONG);
    assert_eq!(bench.asked(), [r#"{"id":1}"#]);
    bench.feed(ConnectionInput::Flushed).pass(short);
    let again = bench.ask(r#"{"id":1,"again":1}"#, LONG);
    let other = bench.ask(r#"{"id":2}"#, LONG);
    assert_eq!(bench.asked(), [r#"{"id":2}"#], "nothing waits for an id that may never be free");
    assert_eq!(bench.ended(), [(late, End::Timeout), (behind, End::Lost), (again, End::Lost)]);
    bench.feed(ConnectionInput::Flushed);
    bench.hears(r#"{"id":2,"r":"of other"}"#);
    bench.hears(r#"{"id":1,"r":"late"}"#);
    let free = bench.ask(r#"{"id":1,"free":1}"#, LONG);
    assert_eq!(bench.asked(), [r#"{"id":1,"free":1}"#]);
    bench.feed(ConnectionInput::Flushed);
    bench.hears(r#"{"id":1,"r":"of free"}"#);
    let reply = |text: &str| End::Reply(text.into());
    let wanted = [(other, reply(r#"{"id":2,"r":"of other"}"#)), (free, reply(r#"{"id":1,"r":"of free"}"#))];
    assert_eq!(bench.ended()[3..], wanted);

    let late = bench.ask(r#"{"id":3}"#, short);
    bench.asked();
    bench.feed(ConnectionInput::Flushed).pass(short).feed(ended());
    assert_eq!(bench.ended()[5..], [(late, End::Timeout)]);
    bench.pass(Duration::from_secs(5)).feed(dialled());
    bench.ask(r#"{"id":3}"#, LONG);
    assert_eq!(bench.asked(), [r#"{"id":3}"#], "another connection owes nothing");
}

#[test]
fn a_reload_that_changes_what_belongs_together_ends_what_waits() {
    for (after, asks) in [
        (Requests::default(), false),
        (Requests { id: Some("/n".into()), reply: Some("/n".into()), ..Requests::default() }, true),
        (
            Requests { id: Some("/id".into()), reply: Some("/id".into()), stamp: Stamp::Keep, ..Requests::default() },
            true,
        ),
    ] {
        let mut bench = Bench::asking(Requests { retry: true, in_flight: Some(2), ..Requests::default() });
        let written = bench.ask(r#"{"id":7}"#, LONG);
        bench.asked();
        bench.feed(ConnectionInput::Flushed);
        let leaving = bench.ask(r#"{"id":7}"#, LONG);
        bench.asked();
        let queued = bench.ask(r#"{"id":7}"#, LONG);
        bench.asked();
        let now = Policy { requests: after.clone(), ..policy(Requests::default()) };
        bench.feed(Input::Policy(Arc::new(now)));
        bench.feed(ConnectionInput::Flushed);
        assert_eq!(bench.ended(), [(written, End::Lost), (queued, End::Lost), (leaving, End::Lost)]);
        assert_eq!(bench.asked(), [] as [&str; 0]);
        if asks {
            let text = r#"{"id":2,"n":2}"#;
            let refused = bench.ask(text, LONG);
            let is_kept = after.stamp == Stamp::Keep;
            assert_eq!(bench.asked().len(), usize::from(!is_kept), "the reply to what had id 2 may come");
            assert_eq!(bench.ended().len(), 3 + usize::from(is_kept));
            assert!(!is_kept || bench.ended()[3] == (refused, End::Lost));
        }
    }
}

#[test]
fn a_number_that_was_a_callers_own_is_passed_over() {
    let mut bench = Bench::asking(Requests { stamp: Stamp::Keep, ..Requests::default() });
    bench.ask(r#"{"id":2}"#, LONG);
    bench.asked();
    bench.feed(ConnectionInput::Flushed);
    bench.feed(Input::Policy(Arc::new(policy(Requests::default()))));
    for text in [r#"{"id":1}"#, r#"{"id":1}"#] {
        bench.ask(text, LONG);
    }
    assert_eq!(bench.asked(), [r#"{"id":3}"#, r#"{"id":4}"#]);
}

#[test]
fn a_number_that_timed_out_is_no_callers_own_before_its_reply_has_come() {
    let mut bench = Bench::asking(Requests::default());
    let short = Duration::from_secs(1);
    bench.ask(r#"{"id":"a"}"#, short);
    bench.asked();
    bench.feed(ConnectionInput::Flushed).pass(short);
    let keep = Requests { stamp: Stamp::Keep, ..Requests::default() };
    bench.feed(Input::Policy(Arc::new(policy(keep))));
    let early = bench.ask(r#"{"id":"1"}"#, LONG);
    assert_eq!((bench.asked().len(), &bench.ended()[1..]), (0, &[(early, End::Lost)][..]));
    bench.hears(r#"{"id":"1","r":"late"}"#);
    bench.ask(r#"{"id":"1"}"#, LONG);
    assert_eq!(bench.asked(), [r#"{"id":"1"}"#]);
}

#[test]
fn a_random_id_is_text() {
    let mut bench = Bench::asking(Requests { stamp: Stamp::Uuid, ..Requests::default() });
    bench.ask(r#"{"id":1}"#, LONG);
    let [asked] = &bench.asked()[..] else { panic!("one") };
    assert_eq!(asked.len(), r#"{"id":"xxxxxxxx-xxxx-4xxx-yxxx-xxxxxxxxxxxx"}"#.len(), "{asked}");
}

#[derive(Debug, Clone)]
enum Happens {
    Ask(u8, u64),
    Leave,
    Reply(usize),
    Strange(u8),
    Lose(usize),
    Open,
    Rotate,
    Switch,
    Pass(u64),
    Reload,
}

fn happens() -> impl Strategy<Value = Happens> {
    prop_oneof![
        4 => (0..3_u8, 1..20_u64).prop_map(|(id, timeout)| Happens::Ask(id, timeout)),
        4 => Just(Happens::Leave),
        4 => (0..8_usize).prop_map(Happens::Reply),
        1 => (0..9_u8).prop_map(Happens::Strange),
        1 => (0..3_usize).prop_map(Happens::Lose),
        3 => Just(Happens::Open),
        1 => Just(Happens::Rotate),
        2 => Just(Happens::Switch),
        2 => (1..8_u64).prop_map(Happens::Pass),
        1 => Just(Happens::Reload),
    ]
}

proptest! {
    /// Whatever happens, each request ends once, and what it gets is the reply to it, with its own id.
    #[test]
    fn each_request_ends_in_exactly_one_way_and_no_reply_goes_to_another(
        story in proptest::collection::vec(happens(), 1..80), retry: bool, most in proptest::option::of(1..3_u32),
        mut stamp in prop_oneof![Just(Stamp::Seq), Just(Stamp::Keep)],
    ) {
        let mut bench = Bench::asking(Requests { retry, in_flight: most, stamp, ..Requests::default() });
        let mut own = BTreeMap::new();
        // What the peer has heard on the current connection and not answered.
        let mut heard: Vec<String> = Vec::new();
        let mut last = 0;
        for one in story {
            let generation = bench.link.generation();
            match one {
                Happens::Ask(id, timeout) => {
                    let mark = own.len();
                    let made = bench.ask(&format!("{{\"id\":{id},\"mark\":{mark}}}"), Duration::from_secs(timeout));
                    own.insert(made, format!("{{\"id\":{id},\"mark\":{mark}}}"));
                }
                Happens::Leave => {
                    for asked in bench.asked() {
                        let number: u64 = crate::requests::key(asked.as_bytes(), "/id").unwrap().parse().unwrap();
                        prop_assert!(stamp == Stamp::Keep || number > last, "ids rise");
                        last = if stamp == Stamp::Keep { last } else { number };
                        heard.push(asked);
                    }
                    prop_assert!(most.is_none_or(|most| bench.link.shared.asked() <= most as usize));
                    bench.feed(ConnectionInput::Flushed);
                }
                Happens::Reply(which) if !heard.is_empty() => {
                    let reply = heard.remove(which % heard.len());
                    bench.hears(&reply);
                }
                Happens::Reply(_) => {}
                Happens::Strange(id) => bench.hears(&format!("{{\"id\":\"n{id}\"}}")),
                Happens::Lose(begun) => {
                    heard.clear();
                    bench.feed(ConnectionInput::Ended { begun, detail: "".into() });
                }
                Happens::Open => {
                    if bench.link.phase() == Phase::Connecting {
                        bench.feed(dialled());
                    }
                }
                Happens::Reload => {
                    stamp = if stamp == Stamp::Seq { Stamp::Keep } else { Stamp::Seq };
                    let requests = Requests { retry, in_flight: most, stamp, ..Requests::default() };
                    bench.feed(Input::Policy(Arc::new(policy(requests))));
                }
                Happens::Rotate => drop(bench.feed(Input::Verb(Verb::Rotate))),
                Happens::Switch => drop(bench.feed(Input::Connection(Lane::Beside, dialled()))),
                Happens::Pass(seconds) => {
                    bench.pass(Duration::from_secs(seconds));
                    if bench.link.phase() != Phase::Ready {
                        heard.clear();
                    }
                }
            }
            // Whatever made it the last that the old connection waited for: a reply, a timeout, a reload.
            if bench.link.generation() != generation {
                heard.clear();
            }
        }
        bench.feed(Input::Stop(Duration::ZERO, EndReason::Shutdown));
        bench.pass(Duration::from_mins(1));
        bench.feed(ConnectionInput::Ended { begun: 0, detail: "".into() });
        let ends = bench.ended();
        prop_assert_eq!(ends.len(), own.len(), "each ends once: {:?}", ends);
        for (id, end) in ends {
            if let End::Reply(text) = end {
                prop_assert_eq!(&text, &own[&id]);
            }
        }
    }
}
