//! The link with a clock in the test's hand: one behaviour a test.

use super::*;
use crate::{
    budget::Share,
    close::{Cause, CloseFrame},
    event::{Certificates, DialFailure, Event, RetryAfter, Steps, Timings},
    message::{Extras, MessageId},
    receipt::{self, EndReason},
};

mod again;
mod back;
mod bound;
mod home;
mod lazy;
mod pace;
mod paced;
mod refresh;
mod requests;
mod rotation;
mod session;
mod subscriptions;
mod verbs;
mod watch;

/// A link, a clock, and what the link has said.
struct Bench {
    link: Link,
    now: Instant,
    said: Vec<Command>,
    next_id: u128,
}

fn dialled() -> ConnectionInput {
    ConnectionInput::Dialled(Box::new(Established {
        url: "ws://peer/".into(),
        address: None,
        protocol: "".into(),
        compression: None,
        carrier: None,
        certificates: Certificates::default(),
        timings: Steps::default(),
    }))
}

fn refused(status: Option<u16>, asked: Option<Duration>) -> ConnectionInput {
    let retry_after = asked.map(|asked| RetryAfter::capped(asked, Policy::default().retry_after_max));
    ConnectionInput::DialFailed(Box::new(DialFailure {
        cause: if status.is_some() { Cause::Upgrade } else { Cause::Connect },
        status,
        retry_after,
        label: None,
        detail: "refused".into(),
        timings: Timings::default(),
        steps: None,
        rejection: None,
    }))
}

impl From<ConnectionInput> for Input {
    fn from(input: ConnectionInput) -> Self {
        Self::Connection(Lane::Current, input)
    }
}

impl Bench {
    fn with(policy: Policy) -> Self {
        let now = crate::epoch();
        Self { link: Link::new(Arc::new(policy), 7, now), now, said: Vec::new(), next_id: 0 }
    }

    fn started() -> Self {
        let mut bench = Self::with(Policy::default());
        bench.feed(Input::Start);
        bench
    }

    fn open() -> Self {
        let mut bench = Self::started();
        bench.feed(dialled());
        bench
    }

    /// What happens to a connection happens to the current one, where nothing else is said.
    fn feed(&mut self, input: impl Into<Input>) -> &mut Self {
        let commands = self.link.handle(self.now, input.into());
        self.said.extend(commands);
        self
    }

    fn pass(&mut self, time: Duration) -> &mut Self {
        let end = self.now + time;
        while let Some((at, _)) = self.link.poll_timeout().filter(|(at, _)| *at <= end) {
            self.now = at.max(self.now);
            let commands = self.link.handle_timeout(self.now);
            self.said.extend(commands);
            assert!(self.link.poll_timeout().is_none_or(|(next, _)| next > self.now), "a deadline stayed due");
        }
        self.now = end;
        self
    }

    /// The connection lasts until the link is stable.
    fn last(&mut self) -> &mut Self {
        while self.link.attempt() > 0 {
            self.pass(Duration::from_secs(10)).feed(ConnectionInput::Heard);
        }
        self
    }

    fn send(&mut self, text: &str) -> MessageId {
        self.offer(text, Extras { wants_confirmation: true, ..Extras::default() })
    }

    /// Nobody waits for its proof.
    fn send_unawaited(&mut self, text: &str) -> MessageId {
        self.offer(text, Extras::default())
    }

    fn offer(&mut self, text: &str, extras: Extras) -> MessageId {
        self.next_id += 1;
        let id = MessageId(self.next_id);
        let (body, extras, share) = (text.into(), extras.boxed(), Share::default());
        let message = Message { id, body, extras, expires_at: None, share };
        let (answer, commands) = self.link.offer(self.now, Box::new(message));
        assert!(answer.is_ok());
        self.said.extend(commands);
        id
    }

    fn frames(&mut self) -> Vec<Frame> {
        std::iter::from_fn(|| self.link.poll_transmit(self.now, Lane::Current)).collect()
    }

    fn dials(&self) -> usize {
        self.said.iter().filter(|command| matches!(command, Command::Dial { .. })).count()
    }

    /// The URLs dialled, in order.
    fn urls(&self) -> Vec<usize> {
        let url = |command: &Command| match command {
            Command::Dial { to, .. } => Some(to.url),
            _ => None,
        };
        self.said.iter().filter_map(url).collect()
    }

    /// Waits for the next attempt; answers with how long that took.
    fn retry(&mut self) -> Duration {
        let wait = self.link.next_attempt_at().expect("a retry is armed") - self.now;
        self.pass(wait);
        wait
    }

    fn states(&self, wanted: MessageId) -> Vec<receipt::State> {
        self.said
            .iter()
            .filter_map(|command| match command {
                Command::Settle { reached, .. } => Some(reached),
                _ => None,
            })
            .flatten()
            .filter(|reached| reached.id == wanted)
            .map(|reached| reached.state)
            .collect()
    }

    fn last_close(&self) -> &Closed {
        &self.link.last_close().expect("a connection has ended").0
    }
}

fn text(text: &str) -> Frame {
    Frame::Data(text.into())
}

fn close(code: u16) -> ConnectionInput {
    ConnectionInput::Received(Received::Close(Some(CloseFrame { code, reason: "".into() })))
}

fn ended() -> ConnectionInput {
    ConnectionInput::Ended { begun: 0, detail: "".into() }
}

#[test]
fn a_started_link_dials_and_becomes_ready_with_generation_1() {
    let mut bench = Bench::started();
    assert_eq!((bench.link.phase(), bench.link.ready_state()), (Phase::Connecting, ReadyState::Connecting));
    bench.feed(dialled());
    assert_eq!((bench.link.phase(), bench.link.ready_state()), (Phase::Ready, ReadyState::Open));
    assert_eq!(bench.link.generation(), 1);
}

#[test]
fn the_attempts_clock_stands_still_while_it_is_queued() {
    let mut bench = Bench::started();
    bench.pass(Duration::from_secs(4)).feed(ConnectionInput::Queued);
    assert_eq!((bench.link.phase(), bench.link.reason()), (Phase::Waiting, Reason::Admission));
    bench.pass(Duration::from_hours(1)).feed(ConnectionInput::Admitted).pass(Duration::from_secs(5));
    assert!(!bench.said.contains(&Command::GiveUp(Lane::Current)));
    bench.pass(Duration::from_secs(2));
    assert!(bench.said.contains(&Command::GiveUp(Lane::Current)));
}

#[test]
fn the_first_retry_comes_within_five_seconds_and_the_bound_grows_to_the_cap() {
    let mut bench = Bench::started();
    let mut waits = Vec::new();
    for _ in 0..200 {
        bench.feed(refused(None, None));
        let at = bench.link.next_attempt_at().expect("a retry is armed");
        waits.push(at - bench.now);
        bench.pass(at - bench.now);
    }
    assert!(waits[0] <= Duration::from_secs(5));
    assert!(waits[1] <= Duration::from_millis(500));
    assert!(waits.iter().all(|wait| *wait <= Duration::from_mins(1)));
    let late = &waits[20..];
    assert!(late.iter().any(|wait| *wait < Duration::from_secs(10)), "the spread survives the cap");
    assert!(late.iter().any(|wait| *wait > Duration::from_secs(50)));
}

#[test]
fn a_peer_that_accepts_and_hangs_up_is_dialled_less_and_less() {
    let mut bench = Bench::started();
    let end = bench.now + Duration::from_mins(10);
    while bench.now < end {
        if bench.link.phase() == Phase::Connecting {
            bench.feed(dialled()).feed(ended());
        }
        let wait = bench.link.next_attempt_at().map_or(Duration::from_secs(1), |at| at - bench.now);
        bench.pass(wait);
    }
    assert!((10..=45).contains(&bench.dials()), "{} dials in ten minutes", bench.dials());
}

#[test]
fn the_backoff_starts_over_only_after_the_link_was_stable() {
    let mut bench = Bench::started();
    for _ in 0..10 {
        bench.feed(refused(None, None)).pass(Duration::from_mins(1));
    }
    bench.feed(dialled());
    assert!(bench.link.attempt() > 5);
    for _ in 0..3 {
        bench.pass(Duration::from_secs(11)).feed(ConnectionInput::Heard);
    }
    assert_eq!(bench.link.attempt(), 0);
}

#[test]
fn an_abort_code_is_sent_and_the_wait_for_its_answer_is_bounded() {
    let heartbeat = heartbeat::Policy { abort_code: Some(4000), ..heartbeat::Policy::default() };
    let mut bench = Bench::with(Policy { heartbeat, ..Policy::default() });
    bench.feed(Input::Start).feed(dialled()).pass(Duration::from_secs(31));
    assert!(matches!(&bench.frames()[..], [Frame::Close(Some(frame))] if frame.code == 4000));
    assert!(!bench.said.contains(&Command::Hangup(Lane::Current)));
    bench.pass(Duration::from_secs(5));
    assert!(bench.said.contains(&Command::Hangup(Lane::Current)));
}

#[test]
fn a_peers_close_is_clean_and_keeps_its_code() {
    let mut bench = Bench::open();
    bench.feed(close(1011)).feed(ConnectionInput::CloseSent(Some(1011)));
    bench.feed(ConnectionInput::Violation { code: 1002, cause: Cause::Protocol, detail: "late".into() }).feed(ended());
    let closed = bench.last_close();
    assert_eq!((closed.code, closed.was_clean, closed.cause), (1011, true, Cause::Remote));
    assert_eq!(closed.sent_code, Some(1011));
}

#[test]
fn a_close_without_a_body_is_1005_and_no_close_at_all_is_1006() {
    let mut bench = Bench::open();
    bench.feed(ConnectionInput::Received(Received::Close(None))).feed(ConnectionInput::CloseSent(None)).feed(ended());
    assert_eq!((bench.last_close().code, bench.last_close().was_clean), (1005, true));
    let mut bench = Bench::open();
    bench.feed(ended());
    assert_eq!((bench.last_close().code, bench.last_close().was_clean), (1006, false));
    assert_eq!(bench.last_close().cause, Cause::Reset);
}

#[test]
fn a_close_that_never_left_is_neither_clean_nor_told_as_sent() {
    for word in [Some(close(1000)), None] {
        let mut bench = Bench::open();
        match word {
            Some(received) => drop(bench.feed(received)),
            None => drop(bench.feed(Input::Verb(Verb::Close(None)))),
        }
        let _ = bench.frames();
        let got_none = bench.link.phase() == Phase::Closing;
        bench.pass(Duration::from_secs(5)).feed(ended());
        assert!(got_none && !bench.last_close().was_clean);
        assert_eq!(bench.last_close().sent_code, None);
    }
}

#[test]
fn the_codes_of_both_sides_are_told_as_they_left_and_came() {
    let mut bench = Bench::open();
    bench.feed(Input::Verb(Verb::Pause));
    let _ = bench.frames();
    bench.feed(ConnectionInput::CloseSent(Some(1000))).feed(close(1001)).feed(ended());
    let closed = bench.last_close();
    assert_eq!((closed.code, closed.sent_code, closed.was_clean), (1001, Some(1000), true));
}

#[test]
fn a_refused_upgrade_is_refreshed_once_and_then_parked_with_a_probe() {
    let mut bench = Bench::started();
    bench.feed(refused(Some(401), None));
    assert_eq!((bench.link.phase(), bench.link.reason()), (Phase::Waiting, Reason::Refresh));
    bench.pass(Duration::from_secs(5)).feed(refused(Some(401), None));
    assert_eq!((bench.link.phase(), bench.link.reason()), (Phase::Parked, Reason::Unauthorized));
    bench.pass(Duration::from_mins(11));
    assert_eq!(bench.link.phase(), Phase::Connecting);
}

#[test]
fn retry_after_is_obeyed_and_capped() {
    let mut bench = Bench::started();
    bench.feed(refused(Some(503), Some(Duration::from_secs(20))));
    let wait = bench.link.next_attempt_at().expect("armed") - bench.now;
    assert!((Duration::from_secs(20)..=Duration::from_secs(22)).contains(&wait));
    bench.pass(wait).feed(refused(Some(429), Some(Duration::from_hours(9))));
    let wait = bench.link.next_attempt_at().expect("armed") - bench.now;
    assert!(wait <= Duration::from_secs(330));
}

#[test]
fn messages_wait_while_the_link_is_down_and_leave_in_order() {
    let mut bench = Bench::started();
    for word in ["a", "b", "c"] {
        bench.send(word);
    }
    assert_eq!(bench.link.buffered_amount(), 3);
    assert!(bench.frames().is_empty());
    bench.feed(dialled());
    assert_eq!(bench.frames(), [text("a"), text("b"), text("c")]);
    assert_eq!(bench.link.buffered_amount(), 3, "not handed to the network yet");
    bench.feed(ConnectionInput::Flushed);
    assert_eq!(bench.link.buffered_amount(), 0);
}

#[test]
fn each_write_that_the_kernel_takes_is_followed() {
    let mut bench = Bench::open();
    let ids = ["a", "bb", "ccc"].map(|word| bench.send(word));
    let _ = bench.frames();
    bench.feed(ConnectionInput::Left { messages: 0, pings: 0, part: 0 });
    assert_eq!((bench.link.buffered_amount(), bench.link.queued_messages()), (6, 3));
    bench.feed(ConnectionInput::Left { messages: 2, pings: 0, part: 0 });
    assert_eq!((bench.link.buffered_amount(), bench.link.queued_messages()), (3, 1));
    assert_eq!(bench.states(ids[1]), [receipt::State::Written]);
    assert_eq!(bench.states(ids[2]), []);
    bench.feed(ConnectionInput::Ended { begun: 1, detail: "reset".into() });
    assert!(ids.iter().all(|id| bench.states(*id).last() == Some(&receipt::State::Unknown)));
}

#[test]
fn all_that_was_on_its_way_is_unknown_when_a_peer_that_reads_nothing_is_gone() {
    let policy = Policy {
        outbox: Arc::new(outbox::Policy { max_messages: 5000, ..outbox::Policy::default() }),
        ..Policy::default()
    };
    let mut bench = Bench::with(policy);
    bench.feed(Input::Start).feed(dialled());
    let ids: Vec<_> = (0..3000).map(|_| bench.send_unawaited("x")).collect();
    let _ = bench.frames();
    bench
        .feed(ConnectionInput::Left { messages: 2900, pings: 0, part: 0 })
        .feed(ConnectionInput::Ended { begun: 100, detail: "reset".into() });
    assert!(ids.iter().all(|id| bench.states(*id).last() == Some(&receipt::State::Unknown)));
}

#[test]
fn what_had_begun_is_unknown_and_what_had_not_is_sent_again() {
    let mut bench = Bench::open();
    let ids = ["written", "begun", "unsent"].map(|word| {
        let id = bench.send(word);
        if word == "written" {
            let _ = bench.frames();
            bench.feed(ConnectionInput::Flushed);
        }
        id
    });
    let _ = bench.frames();
    bench.feed(ConnectionInput::Ended { begun: 1, detail: "reset".into() });
    assert_eq!(bench.states(ids[0]).last(), Some(&receipt::State::Unknown));
    assert_eq!(bench.states(ids[1]).last(), Some(&receipt::State::Unknown));
    bench.feed(Input::Verb(Verb::Reconnect)).feed(dialled());
    assert_eq!(bench.frames(), [text("unsent")]);
}

#[test]
fn a_stopped_link_takes_no_message_that_nothing_would_end() {
    let mut bench = Bench::started();
    bench.feed(Input::Stop(Duration::ZERO, EndReason::Shutdown)).pass(Duration::ZERO);
    assert!(bench.said.contains(&Command::Done));
    let late =
        Message { id: MessageId(9), body: "late".into(), extras: None, expires_at: None, share: Share::default() };
    let (answer, commands) = bench.link.offer(bench.now, Box::new(late));
    assert!(matches!(answer, Err((_, outbox::Refusal::Down))));
    assert_eq!((commands.len(), bench.link.queued_messages()), (0, 0));
}

#[test]
fn a_stopped_link_dials_no_more_and_ends_in_time() {
    for stage in 0..5 {
        let mut bench = match stage {
            0 => Bench::with(Policy::default()),
            1 => Bench::started(),
            _ => Bench::open(),
        };
        match stage {
            3 => drop(bench.feed(close(1000))),
            4 => drop(bench.feed(ended())),
            _ => {}
        }
        let id = bench.send("left");
        let dials = bench.dials();
        bench.feed(Input::Stop(Duration::from_secs(1), EndReason::Shutdown));
        bench.pass(Duration::from_secs(1));
        if bench.said.contains(&Command::Hangup(Lane::Current)) && !bench.said.contains(&Command::Done) {
            bench.feed(ended());
        }
        assert!(bench.said.contains(&Command::Done), "stage {stage}");
        bench.pass(Duration::from_hours(1));
        assert_eq!(bench.dials(), dials);
        assert_eq!(bench.states(id), [receipt::State::Dropped]);
    }
}

#[test]
fn a_violation_fails_the_connection_with_its_code() {
    let mut bench = Bench::open();
    bench.feed(ConnectionInput::Violation { code: 1009, cause: Cause::TooBig, detail: "64 MiB".into() });
    assert!(matches!(&bench.frames()[..], [Frame::Close(Some(frame))] if frame.code == 1009));
    bench.feed(ConnectionInput::CloseSent(Some(1009))).feed(close(1009)).feed(ended());
    let closed = bench.last_close();
    assert_eq!((closed.code, closed.was_clean, closed.cause), (1006, false, Cause::TooBig));
    assert_eq!(closed.sent_code, Some(1009));
}

#[test]
fn a_failed_url_gives_way_to_the_next() {
    let mut bench = Bench::with(Policy { urls: 2, ..Policy::default() });
    bench.feed(Input::Start).feed(refused(None, None)).pass(Duration::from_secs(5)).feed(refused(None, None));
    bench.pass(Duration::from_secs(5));
    assert_eq!(bench.urls(), [0, 1, 0]);
}

#[test]
fn a_close_of_ours_is_preceded_by_a_ping_that_proves_what_was_sent() {
    let mut bench = Bench::open();
    let id = bench.send("last words");
    let frames = bench.frames();
    assert_eq!(frames, [text("last words")]);
    bench.feed(ConnectionInput::Flushed).feed(Input::Stop(Duration::from_secs(5), EndReason::Shutdown));
    let frames = bench.frames();
    let [Frame::Ping(nonce), Frame::Close(Some(_))] = &frames[..] else { panic!("{frames:?}") };
    bench
        .feed(ConnectionInput::Flushed)
        .feed(ConnectionInput::Received(Received::Pong(nonce.clone())))
        .feed(close(1001))
        .feed(ended());
    assert_eq!(bench.states(id), [receipt::State::Written, receipt::State::Confirmed]);
    assert!(bench.said.contains(&Command::Done));
}
