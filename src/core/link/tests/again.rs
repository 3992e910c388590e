//! The link at least once, with acknowledgements, and with a disk under it.

use super::*;
use crate::{
    close::NORMAL,
    message::Extras,
    outbox::{Ack, Delivery},
    receipt::State as ReceiptState,
};

fn again() -> Policy {
    let outbox = outbox::Policy { delivery: Delivery::AtLeastOnce, ..outbox::Policy::default() };
    Policy { outbox: outbox.into(), ..Policy::default() }
}

fn open(policy: Policy) -> Bench {
    let mut bench = Bench::with(policy);
    bench.feed(Input::Start).feed(dialled());
    bench
}

impl Bench {
    /// The data frames among those that leave now, as text; everything is flushed.
    fn texts(&mut self) -> Vec<String> {
        let frames = self.frames();
        self.feed(ConnectionInput::Flushed);
        let text = |frame| match frame {
            Frame::Data(payload) => Some(String::from_utf8(payload.into_first().bytes().to_vec()).expect("text")),
            Frame::Session(_) | Frame::Ping(_) | Frame::Close(_) => None,
        };
        frames.into_iter().filter_map(text).collect()
    }

    fn pings(&mut self) -> usize {
        self.frames().iter().filter(|frame| matches!(frame, Frame::Ping(_))).count()
    }

    /// The peer closes with this code; the link dials again and is open.
    fn closed_and_back(&mut self, code: u16) {
        self.feed(ConnectionInput::Received(Received::Close(Some(CloseFrame { code, reason: "".into() }))));
        self.feed(ConnectionInput::Ended { begun: 0, detail: "".into() });
        self.pass(Duration::from_mins(5)).feed(dialled());
    }

    fn rung(&self, id: MessageId) -> Option<ReceiptState> {
        let of = |command: &Command| match command {
            Command::Settle { reached, .. } => {
                reached.iter().rev().find(|reached| reached.id == id).map(|reached| reached.state)
            }
            _ => None,
        };
        self.said.iter().rev().find_map(of)
    }
}

#[test]
fn what_no_pong_has_confirmed_goes_out_on_the_next_connection() {
    let mut bench = open(again());
    let id = bench.send("one");
    assert_eq!(bench.texts(), ["one"]);
    bench.closed_and_back(1001);
    assert_eq!(bench.texts(), ["one"]);
    assert_eq!(bench.rung(id), Some(ReceiptState::Written));
    assert_eq!(bench.link.generation(), 2);
}

#[test]
fn pings_for_a_confirmation_keep_their_distance() {
    let mut bench = open(Policy { confirm_interval: Duration::from_secs(2), ..again() });
    bench.send("one");
    bench.texts();
    let Some(Frame::Ping(nonce)) = bench.frames().pop() else { panic!("a ping asks for the proof") };
    bench.feed(ConnectionInput::Flushed).feed(ConnectionInput::Received(Received::Pong(nonce)));
    bench.send("two");
    bench.texts();
    assert_eq!(bench.pings(), 0, "it is too early");
    bench.pass(Duration::from_secs(2));
    assert_eq!(bench.pings(), 1);
}

/// Answers the ping that leaves now.
fn pong(bench: &mut Bench) {
    let Some(Frame::Ping(nonce)) = bench.frames().pop() else { panic!("a ping asks for the proof") };
    bench.feed(ConnectionInput::Flushed).feed(ConnectionInput::Received(Received::Pong(nonce)));
}

#[test]
fn a_proof_that_nobody_waits_for_is_asked_for_a_little_later() {
    let mut bench = open(again());
    bench.send_unawaited("one");
    bench.texts();
    pong(&mut bench);
    let second = bench.send_unawaited("two");
    bench.texts();
    assert_eq!(bench.pings(), 0, "it is too early");
    bench.pass(SPACING);
    pong(&mut bench);
    assert_eq!(bench.rung(second), Some(ReceiptState::Confirmed));
}

#[test]
fn a_proof_that_a_caller_waits_for_is_asked_for_at_once() {
    let mut bench = open(again());
    for text in ["one", "two"] {
        bench.send_unawaited(text);
        let awaited = bench.send(text);
        bench.texts();
        pong(&mut bench);
        assert_eq!(bench.rung(awaited), Some(ReceiptState::Confirmed), "{text}");
    }
}

#[test]
fn a_missing_acknowledgement_ends_the_connection_and_the_message_goes_out_again() {
    let mut policy = again();
    Arc::make_mut(&mut policy.outbox).ack =
        Some(Ack { outgoing: "/id".into(), incoming: "/ack".into(), timeout: Duration::from_secs(3) });
    let mut bench = open(policy);
    let message = Message {
        id: MessageId(1),
        body: "one".into(),
        expires_at: None,
        extras: Extras { ack: Some("a".into()), ..Extras::default() }.boxed(),
        share: Share::default(),
    };
    assert!(bench.link.offer(bench.now, Box::new(message)).0.is_ok());
    assert_eq!(bench.texts(), ["one"]);
    bench.pass(Duration::from_secs(3));
    let closes =
        bench.frames().into_iter().filter(|frame| matches!(frame, Frame::Close(Some(close)) if close.code == NORMAL));
    assert_eq!(closes.count(), 1);
    bench.closed_and_back(NORMAL);
    assert_eq!(bench.texts(), ["one"]);
    bench.feed(Input::Acknowledged("a".into()));
    assert_eq!(bench.rung(MessageId(1)), Some(ReceiptState::Confirmed));
}

#[test]
fn a_refused_message_is_buried_and_the_link_does_not_park_for_it() {
    let mut bench = open(again());
    let ids = ["poison one", "poison two"].map(|text| bench.send(text));
    for _ in 0..6 {
        bench.texts();
        bench.closed_and_back(1008);
    }
    let buried = bench.said.iter().filter(|command| matches!(command, Command::Bury(_))).count();
    assert_eq!((buried, ids.map(|id| bench.rung(id))), (2, [Some(ReceiptState::Dead); 2]));
    assert_eq!(bench.link.phase(), Phase::Ready);
}

#[test]
fn marks_are_asked_for_only_while_messages_can_leave() {
    let outbox = outbox::Policy { durable: true, ..outbox::Policy::default() };
    let mut bench = Bench::with(Policy { outbox: outbox.into(), ..Policy::default() });
    bench.feed(Input::Start);
    let id = bench.send("one");
    bench.feed(Input::Stored { place: 0, id });
    let marks =
        |bench: &Bench| bench.said.iter().filter(|said| matches!(said, Command::Mark { marked: true, .. })).count();
    assert_eq!(marks(&bench), 0);
    bench.feed(dialled());
    assert_eq!((marks(&bench), bench.texts().len()), (1, 0));
    bench.feed(Input::Marked([id].into()));
    assert_eq!(bench.texts(), ["one"]);
}
