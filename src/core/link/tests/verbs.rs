//! An operator's words: what they end, and which waits they cut short.

use super::*;

#[test]
fn what_is_closed_while_connecting_is_failed() {
    let stop = Input::Stop(Duration::ZERO, EndReason::Shutdown);
    let verb = |verb| Input::Verb(verb);
    for (input, cause, phase) in [
        (verb(Verb::Close(None)), Cause::Operator, Phase::Paused),
        (verb(Verb::Pause), Cause::Operator, Phase::Paused),
        (verb(Verb::Reconnect), Cause::Operator, Phase::Connecting),
        (verb(Verb::Rotate), Cause::Operator, Phase::Connecting),
        (Input::Renew, Cause::Reload, Phase::Connecting),
        (stop, Cause::Shutdown, Phase::Paused),
    ] {
        let mut bench = Bench::started();
        bench.pass(Duration::from_secs(1)).said.clear();
        bench.feed(input);
        let told = bench.said.iter().filter_map(|command| match command {
            Command::Tell(Event::Phase { to, .. }) => Some(to.to_string()),
            Command::Tell(Event::DialFailed(failure)) => {
                assert_eq!(failure.timings.total, Duration::from_secs(1));
                Some(failure.cause.to_string())
            }
            Command::Hangup(Lane::Current) => Some("hangup".to_owned()),
            _ => None,
        });
        let wanted = ["closing", "hangup", &cause.to_string(), &phase.to_string()].map(str::to_owned);
        assert_eq!(told.collect::<Vec<_>>(), wanted);
        let last = bench.last_close();
        assert_eq!((last.code, last.was_clean, last.cause, last.sent_code), (1006, false, cause, None));
        assert_eq!(bench.link.phase(), phase);
    }
}

#[test]
fn an_operators_word_cuts_every_wait_short() {
    for verb in [Verb::Resume, Verb::Reconnect] {
        let to = To { round: Some(Round::default()), urgent: true, ..To::default() };
        let urgent = Command::Dial { lane: Lane::Current, to };
        let mut waiting = Bench::started();
        waiting.feed(refused(Some(503), Some(Duration::from_mins(5)))).said.clear();
        waiting.feed(Input::Verb(verb.clone()));
        assert_eq!((waiting.link.phase(), waiting.said.contains(&urgent)), (Phase::Connecting, true), "{verb:?}");
        let mut held = Bench::started();
        held.feed(ConnectionInput::Queued).said.clear();
        held.feed(Input::Verb(verb.clone()));
        assert_eq!((held.link.phase(), held.said.contains(&urgent)), (Phase::Connecting, true), "{verb:?}");
    }
}

#[test]
fn an_operators_close_goes_after_what_is_in_transit_and_ends_in_paused() {
    let mut bench = Bench::open();
    let frame = CloseFrame { code: 3000, reason: "tea".into() };
    bench.feed(Input::Verb(Verb::Close(Some(frame.clone()))));
    assert_eq!(bench.frames(), [Frame::Close(Some(frame))]);
    bench.feed(ConnectionInput::Received(Received::Messages("late".into())));
    bench.feed(close(3000)).feed(ended());
    assert_eq!((bench.link.phase(), bench.link.reason()), (Phase::Paused, Reason::Operator));
    assert_eq!(bench.link.poll_timeout(), None);
    assert!(!bench.said.iter().any(|command| matches!(command, Command::Deliver { .. })));
    bench.feed(Input::Verb(Verb::Resume));
    assert_eq!(bench.link.phase(), Phase::Connecting);
}

#[test]
fn a_word_for_the_next_connection_leaves_a_close_in_progress_a_round_trip_and_no_more() {
    let words = [Verb::Reconnect, Verb::Resume];
    for (first, then) in [Verb::Close(None), Verb::Pause, Verb::Reconnect]
        .into_iter()
        .flat_map(|first| words.clone().map(|then| (first.clone(), then)))
        .filter(|(first, then)| (first, then) != (&Verb::Reconnect, &Verb::Resume))
    {
        let mut bench = Bench::open();
        bench.feed(Input::Verb(first.clone()));
        assert_eq!(bench.frames().len(), 1, "a Close");
        bench.pass(Duration::from_secs(1)).feed(Input::Verb(then.clone()));
        bench.pass(Duration::from_millis(300));
        assert_eq!(bench.said.last(), Some(&Command::Hangup(Lane::Current)), "{first:?}, {then:?}");
        bench.feed(ended());
        assert_eq!((bench.link.phase(), bench.dials()), (Phase::Connecting, 2), "{first:?}, {then:?}");
    }
    // It waits no longer than before, either.
    let mut bench = Bench::open();
    bench.feed(Input::Verb(Verb::Pause));
    bench.frames();
    bench
        .pass(Policy::default().close_timeout.saturating_sub(Duration::from_millis(100)))
        .feed(Input::Verb(Verb::Resume));
    bench.pass(Duration::from_millis(100));
    assert_eq!(bench.said.last(), Some(&Command::Hangup(Lane::Current)));
}

#[test]
fn a_proof_that_somebody_wants_later_is_asked_for_then() {
    let mut bench = Bench::open();
    let id = bench.send_unawaited("x");
    assert_eq!(bench.frames(), [text("x")]);
    bench.feed(ConnectionInput::Flushed);
    bench.pass(Duration::from_secs(1));
    assert_eq!(bench.frames(), []);
    bench.feed(Input::Want(id));
    let Some(Frame::Ping(payload)) = bench.frames().pop() else { panic!("no ping") };
    bench.feed(ConnectionInput::Received(Received::Pong(payload)));
    assert_eq!(bench.states(id).last(), Some(&receipt::State::Confirmed));
    // One that has its proof, or is not there, asks for nothing.
    bench.feed(Input::Want(id)).feed(Input::Want(MessageId(99)));
    bench.pass(Duration::from_secs(1));
    assert_eq!(bench.frames(), []);
}
