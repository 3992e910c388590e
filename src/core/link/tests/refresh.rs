//! Credentials that were refused, that have changed, or that end: what is evaluated anew, and when.

use super::*;

impl Bench {
    /// When what was evaluated for the last attempt had been refused.
    fn refused_before(&self) -> Option<Instant> {
        let dialled = |said: &Command| match said {
            Command::Dial { refused, .. } => Some(*refused),
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
        bench.feed(Input::Start).feed(ConnectionInput::Dialled(established()));
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
