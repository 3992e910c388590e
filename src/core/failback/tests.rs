//! Links away from home: who is probed and when, who returns and when, and what a home that does not keep links costs.

use proptest::{collection::vec, prelude::*};

use super::*;

const AFTER: Duration = Duration::from_mins(5);

/// Links that do at once what they are told, and a home that is up or down.
struct Bench {
    failback: Failback,
    now: Instant,
    /// When probes were made, and when links were told to return.
    probes: Vec<Instant>,
    returns: Vec<(Instant, u32)>,
}

impl Bench {
    fn new(after: Duration) -> Self {
        let failback = Failback::new(after, 7);
        Self { failback, now: crate::epoch(), probes: Vec::new(), returns: Vec::new() }
    }

    fn away(&mut self, links: u32) -> &mut Self {
        (0..links).for_each(|link| self.failback.note(self.now, link, 0, Whereabouts::Away));
        self
    }

    /// Time passes; probes are answered as `is_up` says, and `arrive` says where a link that returns ends up.
    fn pass(&mut self, time: Duration, is_up: impl Fn(Instant) -> bool, arrive: impl Fn(Instant) -> Whereabouts) {
        let end = self.now + time;
        while let Some(at) = self.failback.poll_timeout().filter(|at| *at <= end) {
            self.now = at.max(self.now);
            let mut acts = 0;
            while let Some(act) = self.failback.poll(self.now) {
                match act {
                    Homing::Probe { url, .. } => {
                        self.probes.push(self.now);
                        self.failback.probed(self.now, url, is_up(self.now));
                    }
                    Homing::Return(link) => {
                        self.returns.push((self.now, link));
                        self.failback.note(self.now, link, 0, Whereabouts::Returning);
                        self.failback.note(self.now, link, 0, arrive(self.now));
                    }
                }
                acts += 1;
                assert!(acts < 10_000, "there is always something to do");
            }
        }
        self.now = end;
    }
}

#[test]
fn nobody_is_probed_while_nobody_is_away() {
    let mut bench = Bench::new(AFTER);
    assert_eq!((bench.failback.poll_timeout(), bench.failback.poll(bench.now)), (None, None));
    bench.away(1);
    bench.failback.note(bench.now, 0, 0, Whereabouts::Nowhere);
    assert_eq!((bench.failback.poll_timeout(), bench.failback.is_any_away()), (None, false));
}

#[test]
fn a_thousand_links_make_as_many_probes_as_one() {
    let mut bench = Bench::new(AFTER);
    bench.away(1000).pass(Duration::from_hours(1), |_| false, |_| Whereabouts::Home);
    assert!((100..=120).contains(&bench.probes.len()), "{}", bench.probes.len());
    assert!(bench.returns.is_empty());
}

#[test]
fn all_return_spread_once_the_home_has_answered_for_long_enough() {
    let mut bench = Bench::new(AFTER);
    let start = bench.now;
    bench.away(1000).pass(Duration::from_mins(10), |_| true, |_| Whereabouts::Home);
    assert_eq!(bench.returns.len(), 1000);
    let (first, last) = (bench.returns[0].0 - start, bench.returns[999].0 - start);
    assert!(first >= AFTER && last <= AFTER + SPREAD_MAX + 3 * SPACING.1, "{first:?} {last:?}");
    assert!(last.saturating_sub(first) > SPREAD_MAX / 2, "they do not all go at once");
    assert_eq!(bench.failback.poll_timeout(), None);
}

#[test]
fn a_probe_that_fails_calls_off_those_who_have_not_gone() {
    let mut bench = Bench::new(AFTER);
    let start = bench.now;
    bench.away(1000).pass(
        AFTER + Duration::from_mins(10),
        |at| at < start + AFTER + Duration::from_secs(65),
        |_| Whereabouts::Home,
    );
    assert!((1..1000).contains(&bench.returns.len()), "{}", bench.returns.len());
}

#[test]
fn a_link_that_cannot_return_keeps_the_others_where_they_are() {
    let mut bench = Bench::new(AFTER);
    bench.away(1000).pass(Duration::from_mins(7), |_| true, |_| Whereabouts::Away);
    assert_eq!(bench.returns.len(), 1);
}

#[test]
fn a_home_that_keeps_no_link_is_tried_less_and_less() {
    let mut bench = Bench::new(AFTER);
    bench.away(1).pass(Duration::from_hours(24), |_| true, |_| Whereabouts::Away);
    let times: Vec<Instant> = bench.returns.iter().map(|(at, _)| *at).collect();
    assert!((8..=13).contains(&times.len()), "{} returns in a day", times.len());
    assert!(times.windows(2).all(|pair| pair[1] - pair[0] <= AFTER * LONGEST + Duration::from_mins(3)));
}

#[test]
fn a_home_that_keeps_links_again_is_trusted_as_before() {
    let mut bench = Bench::new(AFTER);
    let start = bench.now;
    let settled = start + Duration::from_hours(1);
    bench.away(1).pass(
        Duration::from_hours(2),
        |_| true,
        |at| {
            if at < settled { Whereabouts::Away } else { Whereabouts::Home }
        },
    );
    bench.pass(Duration::from_hours(24), |_| true, |_| Whereabouts::Home);
    let (again, before) = (bench.now, bench.returns.len());
    bench.away(1).pass(Duration::from_mins(7), |_| true, |_| Whereabouts::Home);
    assert_eq!(bench.returns.len(), before + 1);
    assert!(bench.returns[before].0 - again >= AFTER);
}

#[test]
fn a_probe_that_nobody_answers_any_more_keeps_no_link_away() {
    let mut bench = Bench::new(AFTER);
    bench.away(1).now += 2 * SPACING.1;
    assert!(bench.failback.poll(bench.now).is_some());
    bench.failback.note(bench.now, 0, 0, Whereabouts::Nowhere);
    bench.away(1).pass(2 * AFTER, |_| true, |_| Whereabouts::Home);
    assert!(!bench.failback.is_any_away());
}

#[test]
fn each_home_is_probed_by_itself() {
    let mut failback = Failback::new(AFTER, 7);
    let now = crate::epoch();
    failback.note(now, 0, 0, Whereabouts::Away);
    failback.note(now, 1, 1, Whereabouts::Away);
    let later = now + 2 * SPACING.1;
    let probes: BTreeSet<_> = std::iter::from_fn(|| failback.poll(later)).map(|act| format!("{act:?}")).collect();
    assert_eq!(probes.into_iter().collect::<Vec<_>>(), ["Probe { url: 0, link: 0 }", "Probe { url: 1, link: 1 }"]);
    assert_eq!(failback.poll_timeout(), None, "both are under way");
}

proptest! {
    /// A home that comes and goes, for as long as it will, and keeps links or not.
    #[test]
    fn however_a_home_flaps_no_link_goes_there_more_often_than_once_in_the_wait(
        phases in vec((1_u64..900, any::<bool>(), any::<bool>()), 1..60),
        after in 1_u64..600,
    ) {
        let after = Duration::from_secs(after);
        let mut bench = Bench::new(after);
        let start = bench.now;
        for (seconds, is_up, keeps) in phases {
            // Whoever was kept is away again with the next outage.
            bench.away(3);
            bench.pass(Duration::from_secs(seconds), |_| is_up, |_| if keeps { Whereabouts::Home } else { Whereabouts::Away });
        }
        let whole = bench.now - start;
        for link in 0..3 {
            let count = bench.returns.iter().filter(|(_, of)| *of == link).count() as u128;
            prop_assert!(count <= whole.as_nanos() / after.as_nanos(), "{count} in {whole:?} of {after:?}");
        }
        let spacing = (after / PROBES).clamp(SPACING.0, SPACING.1);
        prop_assert!(bench.probes.windows(2).all(|pair| pair[1] - pair[0] >= spacing));
    }

    /// Whatever was before: a home that answers from now on, and keeps links, has them all back in bounded time.
    #[test]
    fn a_home_that_is_back_for_good_gets_every_link(
        phases in vec((1_u64..900, any::<bool>(), any::<bool>()), 0..30),
        after in 1_u64..600,
    ) {
        let after = Duration::from_secs(after);
        let mut bench = Bench::new(after);
        for (seconds, is_up, keeps) in phases {
            bench.away(3);
            bench.pass(Duration::from_secs(seconds), |_| is_up, |_| if keeps { Whereabouts::Home } else { Whereabouts::Away });
        }
        bench.away(3);
        bench.pass(after * (LONGEST + 1) + 3 * SPACING.1, |_| true, |_| Whereabouts::Home);
        prop_assert!(!bench.failback.is_any_away());
    }
}
