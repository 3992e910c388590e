//! Admission in worlds in which addresses go down and come back.

use std::{cmp::Reverse, collections::BinaryHeap, mem, time::Duration};

use proptest::prelude::*;

use super::{
    outages::{LONGEST, SHORTEST, STALE},
    *,
};
use crate::chance::Chance;

mod elsewhere;

fn address(last: u8) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, last], 80))
}

fn link(endpoint: &str, index: u32) -> LinkId {
    LinkId { endpoint: endpoint.into(), index }
}

fn asking(span: Duration) -> RetryAfter {
    RetryAfter::capped(span, Duration::MAX)
}

fn request(link: LinkId, addresses: Vec<SocketAddr>) -> Request {
    Request { link, addresses, urgent: false, elsewhere: Elsewhere::Nowhere }
}

fn ms(count: u64) -> Duration {
    Duration::from_millis(count)
}

/// A admission, and who has gone through it.
struct Trial {
    admission: Admission,
    now: Instant,
    links: BTreeMap<u64, LinkId>,
    /// What a name leads to for who asks again, where that is not what it was.
    moved_to: Option<SocketAddr>,
    asked: BTreeMap<u64, Vec<SocketAddr>>,
}

impl Trial {
    fn new(per_host: usize) -> Self {
        let now = crate::epoch();
        Self {
            admission: Admission::new(Policy { per_host, total: 64, rate: None }, now),
            now,
            links: BTreeMap::new(),
            moved_to: None,
            asked: BTreeMap::new(),
        }
    }

    fn ask(&mut self, ticket: u64, link: LinkId, addresses: &[u8]) {
        self.links.insert(ticket, link.clone());
        let addresses: Vec<_> = addresses.iter().copied().map(address).collect();
        self.asked.insert(ticket, addresses.clone());
        self.admission.ask(self.now, ticket, request(link, addresses));
    }

    fn granted(&mut self) -> Vec<(u64, SocketAddr)> {
        while let Some((ticket, dismissal)) = self.admission.poll_dismissal() {
            assert_eq!(dismissal, Dismissal::Again);
            let addresses = self.moved_to.map_or_else(|| self.asked[&ticket].clone(), |address| vec![address]);
            self.admission.ask(self.now, ticket, request(self.links[&ticket].clone(), addresses));
        }
        let now = self.now;
        std::iter::from_fn(|| self.admission.poll_grant(now)).collect()
    }

    fn end(&mut self, (ticket, address): (u64, SocketAddr), verdict: Verdict) {
        let link = self.links[&ticket].clone();
        self.admission.release(self.now, Grant { ticket, link: &link, address, extra: false }, Some(verdict));
    }

    /// One attempt of `link` at the address says this.
    fn learn(&mut self, ticket: u64, link: LinkId, at: u8, verdict: Verdict) {
        self.ask(ticket, link, &[at]);
        let granted = self.granted();
        assert_eq!(granted, [(ticket, address(at))]);
        self.end(granted[0], verdict);
    }
}

#[test]
fn while_an_address_is_down_one_link_at_a_time_looks_and_the_rest_follow_once_it_is_back() {
    let mut trial = Trial::new(4);
    for ticket in 0..100 {
        trial.ask(ticket, link("a", u32::try_from(ticket).unwrap()), &[1]);
    }
    let under_way = trial.granted();
    assert_eq!(under_way.len(), 4);
    for grant in under_way {
        trial.end(grant, Verdict::Unreachable);
    }
    assert_eq!((trial.granted().len(), trial.admission.waiting()), (0, 96), "those in line are held from then on");
    for probe in 4..20 {
        let at = trial.admission.poll_timeout(trial.now).expect("somebody is to probe");
        assert!(at > trial.now && at <= trial.now + LONGEST);
        trial.now = at;
        let probing = trial.granted();
        assert_eq!(probing, [(probe, address(1))]);
        trial.now += ms(10);
        assert_eq!(trial.granted(), [], "one at a time");
        trial.end(probing[0], Verdict::Unreachable);
    }
    trial.now = trial.admission.poll_timeout(trial.now).expect("somebody is to probe");
    let probing = trial.granted();
    trial.end(probing[0], Verdict::Up);
    let mut all = 0;
    loop {
        let granted = trial.granted();
        assert!(granted.len() <= 4);
        if granted.is_empty() {
            break;
        }
        for grant in granted {
            all += 1;
            trial.end(grant, Verdict::Up);
        }
    }
    assert_eq!((all, trial.admission.waiting()), (79, 0));
    assert!(trial.admission.held.is_empty() && trial.admission.outages.len() == 0);
}

#[test]
fn what_tcp_says_speaks_for_every_endpoint_and_what_comes_after_for_one() {
    let mut trial = Trial::new(9);
    trial.learn(0, link("a", 0), 1, Verdict::Failing(None));
    trial.ask(1, link("a", 1), &[1]);
    trial.ask(2, link("b", 0), &[1]);
    let granted = trial.granted();
    assert_eq!(granted, [(2, address(1))], "a service that is gone says nothing of its neighbour");
    trial.end(granted[0], Verdict::Unreachable);
    trial.ask(3, link("b", 1), &[1]);
    trial.ask(4, link("c", 0), &[1]);
    assert_eq!((trial.granted(), trial.admission.waiting()), (vec![], 3));
}

#[test]
fn an_endpoint_of_its_own_trouble_does_not_keep_the_others_from_looking() {
    let mut trial = Trial::new(9);
    trial.learn(0, link("a", 0), 1, Verdict::Failing(Some(asking(Duration::from_mins(10)))));
    trial.learn(1, link("b", 0), 1, Verdict::Unreachable);
    trial.ask(2, link("a", 1), &[1]);
    trial.ask(3, link("b", 1), &[1]);
    trial.now += SHORTEST;
    assert_eq!(trial.granted(), [(3, address(1))]);
}

#[test]
fn a_refusal_of_one_link_keeps_nobody_out() {
    let mut trial = Trial::new(1);
    trial.learn(0, link("a", 0), 1, Verdict::Up);
    trial.learn(1, link("a", 1), 1, Verdict::Up);
    assert_eq!(trial.admission.outages.len(), 0);
}

#[test]
fn the_link_that_looks_follows_its_own_backoff_as_if_it_were_alone() {
    let mut trial = Trial::new(1);
    for ticket in 0..10 {
        trial.learn(ticket, link("a", 0), 1, Verdict::Unreachable);
    }
    trial.ask(10, link("a", 1), &[1]);
    assert_eq!(trial.granted(), []);
}

#[test]
fn who_is_told_to_come_at_once_brings_no_look_without_a_pause() {
    let mut trial = Trial::new(1);
    trial.learn(0, link("a", 0), 1, Verdict::Failing(Some(asking(Duration::ZERO))));
    trial.ask(1, link("a", 1), &[1]);
    assert_eq!(trial.granted(), []);
    trial.now += SHORTEST.saturating_sub(ms(1));
    assert_eq!(trial.granted(), []);
    trial.now += ms(1);
    assert_eq!(trial.granted(), [(1, address(1))]);
}

#[test]
fn who_is_told_when_to_come_again_speaks_for_the_others() {
    let mut trial = Trial::new(1);
    trial.learn(0, link("a", 0), 1, Verdict::Failing(Some(asking(Duration::from_secs(7)))));
    trial.ask(1, link("a", 1), &[1]);
    assert_eq!(trial.admission.poll_timeout(trial.now), Some(trial.now + Duration::from_secs(7)));
    trial.now += Duration::from_secs(7);
    assert_eq!(trial.granted(), [(1, address(1))]);
}

#[test]
fn an_address_that_is_up_is_used_while_another_is_down() {
    let mut trial = Trial::new(1);
    trial.learn(0, link("a", 0), 1, Verdict::Unreachable);
    trial.ask(1, link("a", 1), &[1, 2]);
    assert_eq!(trial.granted(), [(1, address(2))]);
}

#[test]
fn a_look_that_is_abandoned_is_taken_over_by_the_next() {
    let mut trial = Trial::new(1);
    trial.learn(0, link("a", 0), 1, Verdict::Unreachable);
    trial.ask(1, link("a", 1), &[1]);
    trial.ask(2, link("a", 2), &[1]);
    trial.now += SHORTEST;
    let probing = trial.granted();
    assert_eq!(probing, [(1, address(1))]);
    let who = link("a", 1);
    trial.admission.release(trial.now, Grant { ticket: 1, link: &who, address: address(1), extra: false }, None);
    assert_eq!(trial.granted(), [(2, address(1))]);
    trial.admission.withdraw(2);
    assert_eq!((trial.admission.waiting(), trial.admission.connecting()), (0, 1));
}

#[test]
fn a_look_that_is_withdrawn_before_it_begins_is_taken_over_at_once() {
    let mut trial = Trial::new(2);
    trial.ask(0, link("a", 0), &[1]);
    trial.ask(1, link("b", 0), &[1]);
    let busy = trial.granted();
    trial.end(busy[0], Verdict::Failing(None));
    trial.ask(2, link("b", 1), &[1]);
    trial.ask(3, link("a", 1), &[1]);
    trial.ask(4, link("a", 2), &[1]);
    assert_eq!(trial.granted(), [(2, address(1))]);
    trial.now += SHORTEST;
    assert_eq!(
        (trial.granted(), trial.admission.awaited(4)),
        (vec![], Some((&link("a", 1), None))),
        "it is in line to probe"
    );
    trial.admission.withdraw(3);
    assert_eq!((trial.granted(), trial.admission.awaited(4)), (vec![], None), "and now the other one is");
    trial.end(busy[1], Verdict::Up);
    assert_eq!(trial.granted(), [(4, address(1))]);
}

#[test]
fn retry_after_is_as_long_as_was_asked_and_never_shorter_than_admission_has_it() {
    for (asked, wait) in
        [(Duration::ZERO, SHORTEST), (ms(1), SHORTEST), (Duration::from_mins(5), Duration::from_mins(5))]
    {
        let mut trial = Trial::new(1);
        trial.learn(0, link("a", 0), 1, Verdict::Failing(Some(asking(asked))));
        trial.ask(1, link("a", 1), &[1]);
        assert_eq!(trial.admission.poll_timeout(trial.now), Some(trial.now + wait), "{asked:?}");
        assert_eq!(trial.admission.awaited(1), Some((&link("a", 0), Some(trial.now + wait))));
    }
}

#[test]
fn others_wait_no_longer_than_the_cap_whatever_a_server_asks_for() {
    let mut trial = Trial::new(1);
    let capped = RetryAfter::capped(Duration::from_hours(1), Duration::from_secs(2));
    trial.learn(0, link("a", 0), 1, Verdict::Failing(Some(capped)));
    trial.ask(1, link("a", 1), &[1]);
    trial.now += Duration::from_secs(2);
    assert_eq!(trial.granted(), [(1, address(1))]);
}

#[test]
fn an_operators_word_is_not_held_and_what_it_finds_frees_all_others() {
    let mut trial = Trial::new(4);
    trial.learn(0, link("a", 0), 1, Verdict::Failing(Some(asking(Duration::from_hours(1)))));
    for ticket in 1..4 {
        trial.ask(ticket, link("a", u32::try_from(ticket).unwrap()), &[1]);
    }
    assert_eq!(trial.granted(), []);
    trial.admission.withdraw(2);
    trial.links.insert(4, link("a", 2));
    trial.admission.ask(trial.now, 4, Request { urgent: true, ..request(link("a", 2), vec![address(1)]) });
    assert_eq!(trial.admission.awaited(1), Some((&link("a", 2), None)), "it is the prober");
    let probing = trial.granted();
    assert_eq!((probing.as_slice(), trial.admission.take_back()), ([(4, address(1))].as_slice(), vec![]));
    trial.end(probing[0], Verdict::Up);
    assert_eq!(trial.granted(), [(1, address(1)), (3, address(1))]);
    assert_eq!(trial.admission.take_back(), [Back::PutOff(link("a", 0))], "who was told to come later need not");
}

#[test]
fn when_the_name_has_moved_all_that_wait_follow_at_once() {
    // Who finds out is the last prober, by its own backoff, or the one that is sent to probe.
    for finder in [Some(link("a", 0)), None] {
        let mut trial = Trial::new(4);
        trial.learn(0, link("a", 0), 1, Verdict::Failing(Some(asking(Duration::from_mins(5)))));
        for index in 1..120 {
            trial.ask(index.into(), link("a", index), &[1]);
        }
        assert_eq!(trial.granted(), []);
        trial.moved_to = Some(address(2));
        if let Some(finder) = finder {
            trial.learn(200, finder, 2, Verdict::Up);
        } else {
            trial.now += Duration::from_mins(5);
            let probing = trial.granted();
            assert_eq!(probing, [(1, address(1))]);
            trial.end(probing[0], Verdict::Moved);
        }
        let mut all = BTreeSet::new();
        loop {
            let granted = trial.granted();
            let Some(first) = granted.first() else { break };
            assert!(granted.len() <= 4 && first.1 == address(2));
            for grant in granted {
                all.insert(grant.0);
                trial.end(grant, Verdict::Up);
            }
        }
        assert!(all.len() >= 118 && trial.admission.waiting() == 0, "{}", all.len());
    }
}

#[test]
fn a_place_that_nobody_asks_about_is_forgotten() {
    let mut trial = Trial::new(1);
    for (ticket, at) in (0..50).zip(1..) {
        trial.learn(ticket, link("a", 0), at, Verdict::Unreachable);
        trial.now += STALE;
    }
    assert!(trial.admission.outages.len() < 4, "{}", trial.admission.outages.len());
}

/// What happened in a storm.
struct Storm {
    attempts: Vec<Instant>,
    while_down: usize,
    most: usize,
    all_ready: Duration,
}

/// When each is due, who, and how often it has tried.
type Due = BinaryHeap<Reverse<(Instant, u32, u32)>>;

/// Those that probed for others come at once when the server is back.
fn hurry(due: &mut Due, now: Instant, admission: &mut Admission) {
    let early: BTreeSet<u32> = admission
        .take_back()
        .into_iter()
        .filter_map(|back| match back {
            Back::Sent(link) => Some(link.index),
            Back::PutOff(_) => None,
        })
        .collect();
    if !early.is_empty() {
        let at = |Reverse((at, index, tried))| Reverse((if early.contains(&index) { now } else { at }, index, tried));
        *due = mem::take(due).into_iter().map(at).collect();
    }
}

/// `links` lose their server at once and are due again within its five seconds away; while it is away it refuses after
/// 1 ms, and then it takes 5 ms to let one in. A refused link comes again after a random time that doubles.
fn storm(links: u32, policy: Policy, seed: u64) -> Storm {
    const AWAY: Duration = Duration::from_secs(5);
    let start = crate::epoch();
    let (mut admission, mut chance) = (Admission::new(policy, start), Chance::new(seed));
    let mut due: Due =
        (0..links).map(|index| Reverse((start + chance.between(Duration::ZERO, AWAY), index, 0))).collect();
    let mut ends: BinaryHeap<Reverse<(Instant, u64)>> = BinaryHeap::new();
    let mut who: BTreeMap<u64, (LinkId, u32)> = BTreeMap::new();
    let mut under_way: BTreeMap<u64, SocketAddr> = BTreeMap::new();
    let (mut now, mut next, mut ready) = (start, 0, 0);
    let mut told = Storm { attempts: Vec::new(), while_down: 0, most: 0, all_ready: Duration::ZERO };
    while ready < links {
        hurry(&mut due, now, &mut admission);
        while let Some((ticket, _)) = admission.poll_dismissal() {
            admission.ask(now, ticket, request(who[&ticket].0.clone(), vec![address(1)]));
        }
        while let Some((ticket, at)) = admission.poll_grant(now) {
            let is_up = now >= start + AWAY;
            told.attempts.push(now);
            told.while_down += usize::from(!is_up);
            under_way.insert(ticket, at);
            told.most = told.most.max(under_way.len());
            ends.push(Reverse((now + if is_up { ms(5) } else { ms(1) }, ticket)));
        }
        let events =
            [due.peek().map(|event| event.0.0), ends.peek().map(|event| event.0.0), admission.poll_timeout(now)];
        now = events.into_iter().flatten().min().expect("somebody is to come");
        while let Some(&Reverse((at, index, tried))) = due.peek()
            && at <= now
        {
            due.pop();
            let id = link("a", index);
            who.insert(next, (id.clone(), tried));
            admission.ask(now, next, request(id, vec![address(1)]));
            next += 1;
        }
        while let Some(&Reverse((at, ticket))) = ends.peek()
            && at <= now
        {
            ends.pop();
            let ((id, tried), place) = (who.remove(&ticket).unwrap(), under_way.remove(&ticket).unwrap());
            let is_up = now >= start + AWAY + ms(5);
            let verdict = if is_up { Verdict::Up } else { Verdict::Unreachable };
            admission.release(now, Grant { ticket, link: &id, address: place, extra: false }, Some(verdict));
            if is_up {
                ready += 1;
            } else {
                let bound = ms(500) * 2_u32.pow(tried.min(6));
                due.push(Reverse((now + chance.between(Duration::ZERO, bound), id.index, tried + 1)));
            }
        }
    }
    told.all_ready = now - (start + AWAY);
    assert_eq!((admission.waiting(), admission.connecting()), (0, 0));
    told
}

#[test]
fn ten_thousand_links_come_back_at_the_limit_with_hardly_an_attempt_too_many() {
    let told = storm(10_000, Policy { per_host: 64, total: 64, rate: None }, 1);
    assert!(told.attempts.len() <= 10_500 && told.while_down <= 500, "{} {}", told.attempts.len(), told.while_down);
    // At the limit it takes 10,000 / 64 * 5 ms; the rest is the time until somebody probed.
    assert!(told.all_ready <= ms(785) + ms(260), "{:?}", told.all_ready);
    assert!(told.most <= 64, "{}", told.most);
}

#[test]
fn who_probed_for_the_others_is_back_with_them() {
    for (links, seed) in [(100, 3), (100, 4), (1_000, 5)] {
        let told = storm(links, Policy { per_host: 64, total: 64, rate: None }, seed);
        // Those of the first 64 that failed by themselves have come again since; the time until somebody probed is the rest.
        assert!(told.all_ready <= ms(u64::from(links) / 64 * 5 + 5 + 110), "{links}: {:?}", told.all_ready);
    }
}

#[test]
fn by_default_one_link_at_a_time_dials_in_a_storm() {
    let told = storm(500, Policy::default(), 2);
    assert_eq!(told.most, 1);
    assert!(told.while_down <= 200 && told.all_ready <= ms(500 * 5 + 300), "{} {:?}", told.while_down, told.all_ready);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn in_no_storm_is_a_limit_exceeded_or_a_link_left_behind(
        seed in any::<u64>(),
        links in 1_u32..200,
        per_host in 1_usize..9,
        total in 1_usize..9,
        rate in prop::option::of(20.0_f64..500.0),
    ) {
        let told = storm(links, Policy { per_host, total, rate }, seed);
        prop_assert!(told.most <= per_host.min(total));
        let spacing = rate.map_or(Duration::ZERO, |rate| Duration::from_secs_f64(rate.recip()));
        prop_assert!(told.attempts.windows(2).all(|pair| pair[1] - pair[0] >= spacing));
    }
}
