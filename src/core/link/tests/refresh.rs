//! Credentials that were refused, that have changed, or that end: what is evaluated anew, and when.

use super::*;
use crate::values::{Told, Values};

impl Bench {
    /// When what was evaluated for the last attempt had been refused.
    fn refused_before(&self) -> Option<Instant> {
        let dialled = |said: &Command| match said {
            Command::Dial { to, .. } => Some(to.refused),
            _ => None,
        };
        self.said.iter().rev().find_map(dialled).expect("an attempt")
    }

    fn parked() -> Self {
        let mut bench = Self::started();
        bench.feed(refused(Some(401), None)).retry();
        bench.feed(refused(Some(401), None));
        assert_eq!(bench.link.phase(), Phase::Parked);
        bench
    }
}

#[test]
fn a_refusal_has_values_made_anew_once() {
    let mut bench = Bench::started();
    assert_eq!(bench.refused_before(), None);
    let at = bench.now;
    bench.feed(refused(Some(401), None)).retry();
    assert_eq!((bench.refused_before(), bench.dials()), (Some(at), 2));
    bench.feed(refused(Some(401), None)).retry();
    assert_eq!((bench.refused_before(), bench.dials()), (None, 3), "that is the probe of a parked link");
    let mut bench = Bench::started();
    bench.feed(refused(None, None)).retry();
    assert_eq!(bench.refused_before(), None, "no server has refused them");
}

#[test]
fn a_parked_link_tries_at_once_when_its_credentials_change_and_one_refresh_later_it_is_parked_again() {
    let mut bench = Bench::parked();
    let (dials, probe) = (bench.dials(), bench.link.next_attempt_at());
    bench.pass(Duration::from_secs(1));
    assert_eq!(bench.link.next_attempt_at(), probe, "the probe keeps its time");
    bench.feed(Input::CredentialsChanged);
    assert_eq!((bench.dials(), bench.link.phase()), (dials + 1, Phase::Connecting));
    assert!(bench.refused_before().is_some());
    bench.feed(refused(Some(401), None)).retry();
    bench.feed(refused(Some(401), None));
    assert_eq!((bench.dials(), bench.link.phase()), (dials + 2, Phase::Parked));
    let mut open = Bench::open();
    open.feed(Input::CredentialsChanged);
    assert_eq!(open.link.phase(), Phase::Ready, "one that is well is left alone");
}

#[test]
fn a_connection_is_replaced_for_its_age_and_before_a_value_ends() {
    const DAY: Duration = Duration::from_hours(24);
    let policy =
        || Policy { rotate_after: Some(DAY), rotate_before_expiry: Some(Duration::from_mins(1)), ..Policy::default() };
    let dials_after = |bench: &mut Bench, time| bench.pass(time).dials();
    let open = |policy| {
        let mut bench = Bench::with(Policy {
            heartbeat: heartbeat::Policy { watch: heartbeat::Watch::Tcp, ..heartbeat::Policy::default() },
            ..policy
        });
        bench.feed(Input::Start).feed(dialled());
        bench
    };
    let mut aged = open(policy());
    assert_eq!(dials_after(&mut aged, DAY * 8 / 10), 1);
    assert_eq!(dials_after(&mut aged, DAY / 4), 2);
    let mut expiring = open(policy());
    let ends = expiring.now + Duration::from_hours(1);
    expiring.feed(ConnectionInput::Expires(ends));
    assert_eq!(dials_after(&mut expiring, Duration::from_mins(58)), 1);
    assert_eq!(dials_after(&mut expiring, Duration::from_mins(2)), 2);
    let mut ended = open(policy());
    ended.feed(ConnectionInput::Expires(ended.now));
    assert_eq!(ended.dials(), 1, "one that is new is used first");
    assert_eq!(dials_after(&mut ended, Duration::from_mins(1)), 2);
    let mut neither = open(Policy::default());
    neither.feed(ConnectionInput::Expires(neither.now));
    assert_eq!(dials_after(&mut neither, DAY * 3), 1);
}

impl Bench {
    /// What was done since `told`: attempts are let in with the token of now, and what is closed is gone.
    fn follow(&mut self, told: &mut usize, values: &mut Values<&'static str>) {
        while let Some(said) = self.said.get(*told).map(|said| match said {
            Command::Dial { lane, .. } | Command::Hangup(lane) => Some((*lane, matches!(said, Command::Dial { .. }))),
            _ => None,
        }) {
            *told += 1;
            let Some((lane, is_dial)) = said else { continue };
            if !is_dial {
                self.feed(Input::Connection(lane, ended()));
                continue;
            }
            let Told::Value(_, Some(ends)) = values.ask(self.now, &"token", None) else { panic!("somebody waits") };
            self.feed(Input::Connection(lane, dialled()));
            // The two have changed places by now, where nothing was to be proved.
            self.feed(ConnectionInput::Expires(ends));
        }
        for lane in [Lane::Beside, Lane::Current] {
            while let Some(frame) = self.link.poll_transmit(self.now, lane) {
                if let Frame::Close(Some(CloseFrame { code, .. })) = frame {
                    self.feed(Input::Connection(lane, ConnectionInput::CloseSent(Some(code))));
                    self.feed(Input::Connection(lane, close(code)));
                    self.feed(Input::Connection(lane, ended()));
                }
            }
        }
    }
}

#[test]
fn a_token_that_ends_every_five_seconds_makes_no_storm_in_a_day_and_parks_nobody() {
    const SPAN: Duration = Duration::from_secs(5);
    let mut policy = Policy { rotate_before_expiry: Some(Duration::from_secs(1)), ..Policy::default() };
    policy.backoff.stable = Duration::from_secs(1);
    policy.heartbeat.watch = heartbeat::Watch::Tcp;
    let (mut bench, mut values) = (Bench::with(policy), Values::new(7));
    let made = || Ok(("token".into(), Some(SPAN)));
    assert_eq!(values.ask(bench.now, &"token", None), Told::Make);
    values.made(bench.now, &"token", made());
    bench.feed(Input::Start);
    let (end, mut told, mut makings) = (bench.now + Duration::from_hours(24), 0, 1_u32);
    while bench.now < end {
        bench.follow(&mut told, &mut values);
        assert_ne!(bench.link.phase(), Phase::Parked);
        let next = bench.link.poll_timeout().map(|(at, _)| at).into_iter().chain(values.poll_timeout()).min().unwrap();
        bench.pass(next.saturating_duration_since(bench.now));
        for key in values.due(bench.now) {
            makings += 1;
            values.made(bench.now, &key, made());
        }
    }
    let day = 24 * 3600 / 5;
    assert!((day..=day * 2).contains(&makings), "{makings} tokens were made");
    let dials = bench.dials();
    assert!((usize::try_from(day).unwrap()..=86_400).contains(&dials), "{dials} attempts");
    assert_eq!(bench.ends().iter().filter(|(_, _, cause)| cause.is_failure()).count(), 0, "none was lost");
}
