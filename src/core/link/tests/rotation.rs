//! The link while it rotates: who may send when, what a failure leaves as it was, and how the old connection goes.

use super::*;
use crate::{close::NORMAL, message::Extras, outbox::Delivery};

fn beside(input: ConnectionInput) -> Input {
    Input::Connection(Lane::Beside, input)
}

/// An open link that has been asked to rotate, and dials beside.
fn rotating(policy: Policy) -> Bench {
    let mut bench = Bench::with(policy);
    bench.feed(Input::Start).feed(dialled()).feed(Input::Verb(Verb::Rotate));
    assert_eq!(bench.stage(), Some("dialing"));
    bench
}

impl Bench {
    fn stage(&self) -> Option<&'static str> {
        self.link.rotating().map(|rotating| rotating.stage)
    }

    fn count(&self, wanted: &Command) -> usize {
        self.said.iter().filter(|said| *said == wanted).count()
    }

    fn dials_beside(&self) -> usize {
        let beside = |said: &&Command| matches!(said, Command::Dial { lane: Lane::Beside, .. });
        self.said.iter().filter(beside).count()
    }

    /// The ends told so far: generation, code, cause.
    pub(super) fn ends(&self) -> Vec<(u64, u16, Cause)> {
        let end = |said: &Command| match said {
            Command::Tell(Event::Closed { generation, closed, .. }) => Some((*generation, closed.code, closed.cause)),
            _ => None,
        };
        self.said.iter().filter_map(end).collect()
    }

    /// The messages told so far, with their generation.
    fn arrived(&self) -> Vec<(u64, String)> {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let messages = |said: &Command| match said {
            Command::Deliver { generation, run } => {
                run.messages().map(|(_, bytes)| (*generation, text(bytes))).collect()
            }
            _ => Vec::new(),
        };
        self.said.iter().flat_map(messages).collect()
    }

    /// Everything pulled so far is in the kernel, and the peer answers the ping that came last.
    pub(super) fn prove(&mut self) -> &mut Self {
        let nonce = self.frames().into_iter().rev().find_map(|frame| match frame {
            Frame::Ping(nonce) => Some(nonce),
            Frame::Data(_) | Frame::Session(_) | Frame::Close(_) => None,
        });
        let nonce = nonce.expect("a ping asks for the proof");
        self.feed(ConnectionInput::Flushed).feed(ConnectionInput::Received(Received::Pong(nonce)))
    }
}

#[test]
fn the_new_connection_takes_over_and_the_old_one_is_closed_after_the_overlap() {
    let mut bench = rotating(Policy::default());
    bench.feed(beside(dialled()));
    assert_eq!((bench.stage(), bench.link.generation(), bench.link.phase()), (Some("leaving"), 2, Phase::Ready));
    assert_eq!(bench.count(&Command::Switch), 1);
    assert_eq!(bench.link.poll_transmit(bench.now, Lane::Beside), None, "the old one is still read");
    bench.feed(beside(ConnectionInput::Received(Received::Messages("late".into()))));
    bench.pass(Duration::from_secs(1));
    let farewell = Frame::Close(Some(CloseFrame { code: NORMAL, reason: "".into() }));
    assert_eq!(
        (bench.link.poll_transmit(bench.now, Lane::Beside), bench.link.poll_transmit(bench.now, Lane::Beside)),
        (Some(farewell), None)
    );
    bench.feed(beside(ConnectionInput::Received(Received::Messages("last".into()))));
    bench.feed(beside(ConnectionInput::CloseSent(Some(NORMAL)))).feed(beside(close(NORMAL))).feed(beside(ended()));
    assert_eq!(bench.arrived(), [(1, "late".into()), (1, "last".into())]);
    assert_eq!(bench.ends(), [(1, NORMAL, Cause::Rotate)]);
    assert_eq!((bench.last_close().was_clean, bench.last_close().sent_code), (true, Some(NORMAL)));
    assert_eq!((bench.stage(), bench.link.phase()), (None, Phase::Ready));
    let phases = bench.said.iter().filter(|said| matches!(said, Command::Tell(Event::Phase { .. }))).count();
    assert_eq!(phases, 2, "connecting and ready, once");
}

#[test]
fn nothing_leaves_on_the_new_connection_before_the_old_one_has_proved_what_left_on_it() {
    let mut bench = rotating(Policy::default());
    let first = bench.send("first");
    assert_eq!(bench.frames(), [text("first")]);
    bench.feed(beside(dialled()));
    let second = bench.send("second");
    assert_eq!((bench.stage(), bench.link.generation()), (Some("standby"), 1));
    let frames = bench.frames();
    let [Frame::Ping(nonce)] = &frames[..] else { panic!("a ping, and no message: {frames:?}") };
    bench.feed(ConnectionInput::Flushed);
    assert_eq!((bench.frames(), bench.link.generation()), (vec![], 1), "one ping is enough");
    bench.feed(ConnectionInput::Received(Received::Pong(nonce.clone())));
    assert_eq!(bench.states(first), [receipt::State::Written, receipt::State::Confirmed]);
    assert_eq!((bench.frames(), bench.link.generation()), (vec![text("second")], 2));
    bench.feed(ConnectionInput::Flushed).prove();
    assert_eq!(bench.states(second), [receipt::State::Written, receipt::State::Confirmed]);
}

#[test]
fn a_ping_of_the_old_connection_is_nothing_to_the_new_one() {
    let mut bench = Bench::open();
    bench.pass(Duration::from_secs(20));
    let frames = bench.frames();
    let [Frame::Ping(old)] = &frames[..] else { panic!("a ping for the silence: {frames:?}") };
    bench.feed(ConnectionInput::Flushed).feed(Input::Verb(Verb::Rotate));
    bench.feed(beside(dialled()));
    assert_eq!((bench.link.generation(), bench.stage()), (2, Some("leaving")), "nothing is to be proved");
    let pong = |bytes: &'static [u8]| ConnectionInput::Received(Received::Pong(bytes::Bytes::from_static(bytes)));
    bench.feed(beside(ConnectionInput::Received(Received::Pong(old.clone())))).feed(beside(pong(b"unsolicited")));
    bench.feed(ConnectionInput::Received(Received::Pong(old.clone()))).feed(pong(b"unsolicited"));
    let is_of_pong = |said: &&Command| matches!(said, Command::Tell(Event::Pong { .. } | Event::PongRefused { .. }));
    assert_eq!((bench.said.iter().find(is_of_pong), bench.link.rtt()), (None, None));
    let id = bench.send("on the new one");
    assert_eq!(bench.frames().len(), 1);
    bench.feed(ConnectionInput::Flushed).prove();
    assert_eq!(bench.states(id), [receipt::State::Written, receipt::State::Confirmed]);
}

#[test]
fn a_pong_that_proves_less_than_all_does_not_switch() {
    let mut bench = rotating(Policy::default());
    bench.send("one");
    let _ = bench.frames();
    bench.feed(ConnectionInput::Flushed);
    let frames = bench.frames();
    let [Frame::Ping(early)] = &frames[..] else { panic!("{frames:?}") };
    bench.send("two");
    let _ = bench.frames();
    bench.feed(ConnectionInput::Flushed).feed(beside(dialled()));
    bench.feed(ConnectionInput::Received(Received::Pong(early.clone())));
    assert_eq!(bench.stage(), Some("standby"));
    bench.prove();
    assert_eq!(bench.stage(), Some("leaving"));
}

#[test]
fn a_refused_successor_leaves_the_link_as_it_was_and_is_tried_again() {
    let mut bench = rotating(Policy::default());
    bench.feed(beside(refused(Some(404), None)));
    assert_eq!((bench.stage(), bench.link.phase(), bench.link.attempt()), (Some("waiting"), Phase::Ready, 1));
    assert!(bench.link.last_close().is_none());
    let failure = bench.link.rotating().and_then(|rotating| rotating.failure).expect("why");
    assert!(failure.contains("upgrade"), "{failure}");
    bench.send("meanwhile");
    assert_eq!(bench.frames(), [text("meanwhile")]);
    bench.pass(Duration::from_secs(5));
    assert_eq!((bench.dials_beside(), bench.stage()), (2, Some("dialing")));
    bench.feed(beside(refused(Some(503), Some(Duration::from_mins(1))))).pass(Duration::from_secs(59));
    assert_eq!(bench.dials_beside(), 2, "Retry-After is obeyed");
    bench.feed(ConnectionInput::Heard).pass(Duration::from_secs(8));
    assert_eq!(bench.dials_beside(), 3);
}

#[test]
fn a_successor_that_does_not_answer_is_given_up_in_time() {
    let mut bench = rotating(Policy::default());
    bench.pass(Duration::from_secs(4)).feed(beside(ConnectionInput::Queued)).pass(Duration::from_secs(10));
    assert_eq!(bench.count(&Command::GiveUp(Lane::Beside)), 0, "its clock stands still while it is queued");
    bench.feed(beside(ConnectionInput::Admitted)).feed(ConnectionInput::Heard).pass(Duration::from_secs(6));
    assert_eq!(bench.count(&Command::GiveUp(Lane::Beside)), 1);
    assert_eq!(bench.link.phase(), Phase::Ready);
}

#[test]
fn a_successor_lost_before_its_turn_is_made_again() {
    let mut bench = rotating(Policy::default());
    bench.send("held");
    let _ = bench.frames();
    bench.feed(beside(dialled()));
    bench.feed(beside(close(1011))).feed(beside(ended()));
    assert_eq!((bench.ends(), bench.stage()), (vec![(2, 1011, Cause::Remote)], Some("waiting")));
    assert!(bench.link.last_close().is_none(), "it never was the link's connection");
    bench.send("goes on");
    assert!(bench.frames().contains(&text("goes on")));
    bench.feed(ConnectionInput::Flushed).pass(Duration::from_secs(5)).feed(beside(dialled()));
    bench.prove();
    assert_eq!((bench.link.generation(), bench.stage()), (3, Some("leaving")));
}

#[test]
fn an_old_connection_lost_while_a_new_one_stands_by_costs_nothing() {
    let policy = again();
    let mut bench = rotating(policy);
    let id = bench.send("again");
    let _ = bench.frames();
    bench.feed(ConnectionInput::Flushed).feed(beside(dialled()));
    bench.feed(ConnectionInput::Ended { begun: 0, detail: "reset".into() });
    assert_eq!((bench.link.phase(), bench.link.generation(), bench.dials()), (Phase::Ready, 2, 2));
    assert_eq!(bench.frames(), [text("again")], "at least once, it goes out on the new one");
    bench.feed(ConnectionInput::Flushed).prove();
    assert_eq!(bench.states(id).last(), Some(&receipt::State::Confirmed));
    assert_eq!(bench.ends(), [(1, 1006, Cause::Reset)]);
}

fn again() -> Policy {
    let outbox = outbox::Policy { delivery: Delivery::AtLeastOnce, ..outbox::Policy::default() };
    Policy { outbox: outbox.into(), ..Policy::default() }
}

#[test]
fn an_attempt_beside_becomes_the_links_own_when_the_connection_is_lost() {
    let mut bench = rotating(Policy::default());
    bench.pass(Duration::from_secs(4)).feed(close(1001)).feed(ended());
    assert_eq!((bench.link.phase(), bench.dials(), bench.stage()), (Phase::Connecting, 2, None));
    bench.pass(Duration::from_secs(6));
    assert_eq!(bench.count(&Command::GiveUp(Lane::Current)), 1, "its clock goes on");
    bench.feed(refused(None, None));
    assert_eq!(bench.link.phase(), Phase::Waiting);
}

#[test]
fn a_peer_that_gives_no_proof_has_its_connection_closed_first() {
    let mut bench = rotating(again());
    let id = bench.send("first");
    let _ = bench.frames();
    bench.feed(ConnectionInput::Flushed).feed(beside(dialled()));
    bench.send("second");
    assert!(matches!(bench.frames()[..], [Frame::Ping(_)]));
    bench.feed(ConnectionInput::Flushed).pass(Duration::from_secs(5));
    assert_eq!((bench.link.phase(), bench.link.reason()), (Phase::Closing, Reason::Rotate));
    assert!(matches!(&bench.frames()[..], [Frame::Ping(_), Frame::Close(Some(frame))] if frame.code == NORMAL));
    bench.feed(close(NORMAL)).feed(ended());
    assert_eq!((bench.link.phase(), bench.link.generation()), (Phase::Ready, 2));
    assert_eq!(bench.frames(), [text("first"), text("second")], "in order");
    assert_eq!((bench.ends(), bench.dials()), (vec![(1, NORMAL, Cause::Rotate)], 2));
    bench.feed(ConnectionInput::Flushed).prove();
    assert_eq!(bench.states(id).last(), Some(&receipt::State::Confirmed));
}

#[test]
fn a_long_message_on_its_way_gets_the_time_it_needs() {
    let mut bench = rotating(Policy::default());
    bench.send("long");
    let _ = bench.frames();
    bench.feed(beside(dialled()));
    for _ in 0..10 {
        bench
            .pass(Duration::from_secs(4))
            .feed(ConnectionInput::Left { messages: 0, pings: 0, part: 0 })
            .feed(ConnectionInput::Heard);
    }
    assert_eq!((bench.stage(), bench.link.phase()), (Some("standby"), Phase::Ready));
    bench.feed(ConnectionInput::Flushed).prove();
    assert_eq!(bench.stage(), Some("leaving"));
}

#[test]
fn a_second_word_while_it_rotates_is_followed_when_there_is_room() {
    let mut bench = rotating(Policy::default());
    bench.feed(Input::Renew);
    assert_eq!((bench.count(&Command::Hangup(Lane::Beside)), bench.dials_beside()), (1, 2), "what it dials may be old");
    bench.feed(beside(dialled())).feed(Input::Verb(Verb::Rotate));
    assert_eq!((bench.stage(), bench.dials_beside()), (Some("leaving"), 2), "there are two connections already");
    bench.pass(Duration::from_secs(1)).feed(beside(ended()));
    assert_eq!((bench.stage(), bench.dials_beside()), (Some("dialing"), 3));
}

#[test]
fn what_an_operator_says_otherwise_ends_a_rotation() {
    for verb in [Verb::Pause, Verb::Close(None), Verb::Reconnect] {
        let mut bench = rotating(Policy::default());
        bench.feed(Input::Verb(verb.clone()));
        assert_eq!((bench.count(&Command::Hangup(Lane::Beside)), bench.stage()), (1, None), "{verb:?}");
        let mut bench = rotating(Policy::default());
        bench.send("held");
        let _ = bench.frames();
        bench.feed(beside(dialled())).feed(Input::Verb(verb.clone()));
        assert!(matches!(bench.link.poll_transmit(bench.now, Lane::Beside), Some(Frame::Close(Some(_)))), "{verb:?}");
        bench.feed(beside(close(NORMAL))).feed(beside(ended()));
        assert_eq!((bench.stage(), bench.dials_beside()), (None, 1), "{verb:?}");
        assert_eq!(bench.ends(), [(2, NORMAL, Cause::Operator)]);
    }
}

#[test]
fn a_stop_leaves_neither_connection_behind() {
    let mut bench = rotating(Policy::default());
    bench.feed(beside(dialled())).feed(Input::Stop(Duration::from_secs(1), EndReason::Shutdown));
    assert!(matches!(bench.link.poll_transmit(bench.now, Lane::Beside), Some(Frame::Close(Some(_)))));
    bench.feed(ended());
    let order = |wanted: &Command| bench.said.iter().position(|said| said == wanted).expect("said");
    assert!(order(&Command::Hangup(Lane::Beside)) < order(&Command::Done));
    bench.feed(beside(ended()));
    assert_eq!((bench.ends().len(), bench.link.poll_timeout()), (2, None));
}

#[test]
fn where_two_connections_may_not_be_open_the_old_one_is_closed_first() {
    let mut bench = Bench::with(Policy { rotates: false, ..Policy::default() });
    bench.feed(Input::Start).feed(dialled()).feed(Input::Verb(Verb::Rotate));
    assert_eq!((bench.stage(), bench.link.phase()), (None, Phase::Closing));
    bench.feed(ended());
    assert_eq!((bench.link.phase(), bench.last_close().cause), (Phase::Connecting, Cause::Operator));
}

#[test]
fn a_link_that_is_not_open_has_nothing_to_rotate() {
    let mut bench = Bench::started();
    bench.feed(Input::Renew);
    assert_eq!((bench.dials(), bench.stage(), bench.count(&Command::Hangup(Lane::Current))), (2, None, 1));
    bench.feed(refused(None, None)).feed(Input::Verb(Verb::Rotate));
    assert_eq!((bench.dials(), bench.link.phase()), (2, Phase::Waiting), "its next connection is a new one anyway");
    bench.feed(Input::Verb(Verb::Pause)).feed(Input::Renew);
    assert_eq!((bench.dials(), bench.link.phase()), (2, Phase::Paused));
}

#[test]
fn a_successor_that_breaks_the_protocol_is_closed_with_its_code() {
    let mut bench = rotating(Policy::default());
    bench.send("held");
    let _ = bench.frames();
    bench.feed(beside(dialled()));
    bench.feed(beside(ConnectionInput::Violation { code: 1002, cause: Cause::Protocol, detail: "bad".into() }));
    assert!(
        matches!(bench.link.poll_transmit(bench.now, Lane::Beside), Some(Frame::Close(Some(frame))) if frame.code == 1002)
    );
    bench.feed(beside(ConnectionInput::Violation { code: 1002, cause: Cause::Protocol, detail: "worse".into() }));
    assert_eq!(bench.count(&Command::Hangup(Lane::Beside)), 1);
    bench.feed(beside(ended()));
    assert_eq!((bench.ends(), bench.stage()), (vec![(2, 1006, Cause::Protocol)], Some("waiting")));
}

#[test]
fn an_old_connection_that_does_not_answer_its_close_is_cut() {
    let mut bench = rotating(Policy::default());
    bench.feed(beside(dialled())).pass(Duration::from_secs(1));
    assert!(bench.link.poll_transmit(bench.now, Lane::Beside).is_some());
    bench.pass(Duration::from_secs(5));
    assert_eq!(bench.count(&Command::Hangup(Lane::Beside)), 1);
    bench.feed(beside(ended()));
    assert_eq!((bench.ends(), bench.stage()), (vec![(1, 1006, Cause::Rotate)], None));
}

#[test]
fn a_reload_while_the_old_connection_closes_first_is_followed_too() {
    let mut bench = rotating(again());
    bench.send("unproven");
    let _ = bench.frames();
    bench.feed(ConnectionInput::Flushed).feed(beside(dialled())).pass(Duration::from_secs(5));
    assert_eq!(bench.link.phase(), Phase::Closing);
    bench.feed(Input::Renew).feed(ended());
    assert_eq!((bench.link.generation(), bench.stage(), bench.dials_beside()), (2, Some("dialing"), 2));
}

#[test]
fn an_acknowledgement_is_waited_for_as_long_as_it_may_take() {
    let outbox = outbox::Policy {
        ack: Some(outbox::Ack { outgoing: "/id".into(), incoming: "/ack".into(), timeout: Duration::from_secs(12) }),
        ..outbox::Policy::default()
    };
    let policy = Policy { outbox: outbox.into(), ..Policy::default() };
    for comes in [true, false] {
        let mut bench = rotating(policy.clone());
        let id = MessageId(1);
        let message = Message {
            id,
            body: "one".into(),
            expires_at: None,
            extras: Extras { ack: Some("a".into()), ..Extras::default() }.boxed(),
            share: Share::default(),
        };
        assert!(bench.link.offer(bench.now, Box::new(message)).0.is_ok());
        let _ = bench.frames();
        bench.feed(ConnectionInput::Flushed).feed(beside(dialled()));
        bench.pass(Duration::from_secs(9)).feed(ConnectionInput::Heard);
        assert_eq!((bench.stage(), bench.link.phase()), (Some("standby"), Phase::Ready));
        if comes {
            bench.feed(Input::Acknowledged("a".into()));
        } else {
            bench.pass(Duration::from_secs(3));
        }
        let end = if comes { receipt::State::Confirmed } else { receipt::State::Unknown };
        assert_eq!((bench.states(id).last(), bench.stage()), (Some(&end), Some("leaving")));
        assert_eq!(bench.link.phase(), Phase::Ready, "the link itself has lost nothing");
    }
}
