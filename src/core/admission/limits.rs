//! Limits on attempts over the whole pool, so that a start-up or a storm is spread.
//!
//! A ticket is an attempt that has resolved its addresses. It waits in a line for each of them and is granted the first
//! that has a place; so a blocked address holds up nobody who can go elsewhere, and ten thousand tickets for one address
//! cost a grant no more than one does.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    time::{Duration, Instant},
};

use crate::clock::Clock;

/// The pool's limits on attempts.
#[derive(Debug, Clone, PartialEq)]
pub struct Policy {
    /// Connections CONNECTING to one IP address and port (RFC 6455 §4.1 demands 1).
    pub per_host: usize,
    /// Connections CONNECTING altogether.
    pub total: usize,
    /// New attempts a second, evenly spaced; `None`: no limit.
    pub rate: Option<f64>,
}

impl Default for Policy {
    fn default() -> Self {
        Self { per_host: 1, total: 64, rate: None }
    }
}

/// However low the rate, the next attempt is let go after this.
const LONGEST: Duration = Duration::from_hours(1);

#[derive(Debug)]
struct Queued {
    addresses: Vec<SocketAddr>,
    extra: bool,
}

/// The lines, and who is CONNECTING.
#[derive(Debug)]
pub(super) struct Limits {
    policy: Policy,
    requests: BTreeMap<u64, Queued>,
    /// Tickets in line, first come first served, by address and by whether they are extra.
    lines: BTreeMap<(SocketAddr, bool), BTreeSet<u64>>,
    /// The head of each line whose address has a place, by whether the line is of extra tickets.
    heads: BTreeMap<bool, BTreeSet<(u64, SocketAddr)>>,
    busy: BTreeMap<SocketAddr, usize>,
    connecting: usize,
    /// The rate allows no attempt before this.
    not_before: Instant,
}

impl Limits {
    /// Nobody waits, nobody dials.
    pub(super) fn new(policy: Policy, now: Instant) -> Self {
        Self {
            policy,
            requests: BTreeMap::new(),
            lines: BTreeMap::new(),
            heads: BTreeMap::new(),
            busy: BTreeMap::new(),
            connecting: 0,
            not_before: now,
        }
    }

    /// Follows new limits; who is CONNECTING stays so.
    pub(super) fn set_policy(&mut self, policy: Policy, now: Instant) {
        self.policy = policy;
        self.not_before = self.not_before.min(now.later(self.spacing()));
        let addresses: BTreeSet<_> = self.lines.keys().map(|(address, _)| *address).collect();
        for address in addresses {
            self.update(address, |_| {});
        }
    }

    /// Stands in line. `extra`: one more address of an attempt already admitted (RFC 8305), which counts for its address
    /// alone. `ticket` must be larger than any before it.
    pub(super) fn ask(&mut self, ticket: u64, addresses: Vec<SocketAddr>, extra: bool) {
        for address in &addresses {
            self.update(*address, |lines| {
                lines.entry((*address, extra)).or_default().insert(ticket);
            });
        }
        self.requests.insert(ticket, Queued { addresses, extra });
    }

    /// Leaves the line.
    pub(super) fn withdraw(&mut self, ticket: u64) {
        let Some(request) = self.requests.remove(&ticket) else { return };
        for address in request.addresses {
            self.update(address, |lines| leave(lines, (address, request.extra), ticket));
        }
    }

    /// The next ticket that may dial, and where. Its place is taken until `release`.
    pub(super) fn poll_grant(&mut self, now: Instant) -> Option<(u64, SocketAddr)> {
        let attempt = self.head(false).filter(|_| self.may_begin(now));
        let (ticket, _) = self.head(true).into_iter().chain(attempt).min()?;
        let request = self.requests.get(&ticket)?;
        let extra = request.extra;
        let address = request.addresses.iter().copied().find(|address| self.has_place(*address))?;
        self.withdraw(ticket);
        self.update(address, |_| {});
        *self.busy.entry(address).or_default() += 1;
        self.update(address, |_| {});
        if !extra {
            self.connecting += 1;
            self.not_before = self.not_before.max(now).later(self.spacing());
        }
        Some((ticket, address))
    }

    /// Gives a place back.
    pub(super) fn release(&mut self, address: SocketAddr, extra: bool) {
        if let Some(count) = self.busy.get_mut(&address) {
            *count -= 1;
            if *count == 0 {
                self.busy.remove(&address);
            }
        }
        if !extra {
            self.connecting = self.connecting.saturating_sub(1);
        }
        self.update(address, |_| {});
    }

    /// How many stand in line.
    pub(super) fn waiting(&self) -> usize {
        self.requests.len()
    }

    /// How many stand before a ticket in the shortest of its lines; `None`: it stands in none.
    pub(super) fn ahead(&self, ticket: u64) -> Option<usize> {
        let Queued { addresses, extra } = self.requests.get(&ticket)?;
        let lines = addresses.iter().filter_map(|address| self.lines.get(&(*address, *extra)));
        lines.map(|line| line.range(..ticket).count()).min()
    }

    /// Attempts under way.
    pub(super) fn connecting(&self) -> usize {
        self.connecting
    }

    /// When the rate lets the next one go, where the rate alone holds it back.
    pub(super) fn poll_timeout(&self, now: Instant) -> Option<Instant> {
        let held_back = self.not_before > now && self.connecting < self.policy.total && self.head(false).is_some();
        held_back.then_some(self.not_before)
    }

    fn may_begin(&self, now: Instant) -> bool {
        self.connecting < self.policy.total && self.not_before <= now
    }

    fn has_place(&self, address: SocketAddr) -> bool {
        self.busy.get(&address).is_none_or(|count| *count < self.policy.per_host)
    }

    fn head(&self, extra: bool) -> Option<(u64, SocketAddr)> {
        self.heads.get(&extra)?.first().copied()
    }

    fn spacing(&self) -> Duration {
        let spacing = |rate: f64| Duration::try_from_secs_f64(rate.recip()).unwrap_or(LONGEST).min(LONGEST);
        self.policy.rate.map_or(Duration::ZERO, spacing)
    }

    /// Changes the lines of an address and brings their heads up to date.
    fn update(&mut self, address: SocketAddr, change: impl FnOnce(&mut Lines)) {
        for extra in [false, true] {
            if let Some(head) = self.lines.get(&(address, extra)).and_then(BTreeSet::first) {
                self.heads.entry(extra).or_default().remove(&(*head, address));
            }
        }
        change(&mut self.lines);
        if !self.has_place(address) {
            return;
        }
        for extra in [false, true] {
            if let Some(head) = self.lines.get(&(address, extra)).and_then(BTreeSet::first) {
                self.heads.entry(extra).or_default().insert((*head, address));
            }
        }
    }
}

type Lines = BTreeMap<(SocketAddr, bool), BTreeSet<u64>>;

fn leave(lines: &mut Lines, line: (SocketAddr, bool), ticket: u64) {
    if let Some(tickets) = lines.get_mut(&line) {
        tickets.remove(&ticket);
        if tickets.is_empty() {
            lines.remove(&line);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn address(last: u8) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, last], 80))
    }

    fn admission(per_host: usize, total: usize, rate: Option<f64>) -> (Limits, Instant) {
        let now = crate::epoch();
        (Limits::new(Policy { per_host, total, rate }, now), now)
    }

    #[test]
    fn one_address_is_dialled_by_one_at_a_time_in_order() {
        let (mut limits, now) = admission(1, 64, None);
        for ticket in 0..3 {
            limits.ask(ticket, vec![address(1)], false);
        }
        for ticket in 0..3 {
            assert_eq!(limits.poll_grant(now), Some((ticket, address(1))));
            assert_eq!(limits.poll_grant(now), None);
            limits.release(address(1), false);
        }
        assert_eq!(limits.waiting(), 0);
    }

    #[test]
    fn a_blocked_address_holds_up_nobody_who_can_go_elsewhere() {
        let (mut limits, now) = admission(1, 64, None);
        limits.ask(0, vec![address(1)], false);
        limits.ask(1, vec![address(1)], false);
        limits.ask(2, vec![address(2)], false);
        limits.ask(3, vec![address(1), address(3)], false);
        assert_eq!(limits.poll_grant(now), Some((0, address(1))));
        assert_eq!(limits.poll_grant(now), Some((2, address(2))));
        assert_eq!(limits.poll_grant(now), Some((3, address(3))));
        assert_eq!(limits.poll_grant(now), None);
    }

    #[test]
    fn a_further_address_of_an_attempt_counts_for_the_address_alone() {
        let (mut limits, now) = admission(1, 1, None);
        limits.ask(0, vec![address(1)], false);
        limits.ask(1, vec![address(2)], false);
        assert_eq!(limits.poll_grant(now), Some((0, address(1))));
        assert_eq!(limits.poll_grant(now), None);
        limits.ask(2, vec![address(3)], true);
        assert_eq!(limits.poll_grant(now), Some((2, address(3))));
    }

    #[test]
    fn a_rate_spaces_attempts_and_says_when_the_next_may_go() {
        let (mut limits, now) = admission(9, 9, Some(2.0));
        for ticket in 0..3 {
            limits.ask(ticket, vec![address(1)], false);
        }
        assert!(limits.poll_grant(now).is_some());
        assert_eq!(limits.poll_grant(now), None);
        let next = now + Duration::from_millis(500);
        assert_eq!(limits.poll_timeout(now), Some(next));
        assert!(limits.poll_grant(next).is_some());
        assert_eq!(limits.poll_grant(next), None);
    }

    #[test]
    fn further_addresses_of_others_do_not_overtake_for_ever() {
        let (mut limits, now) = admission(1, 64, None);
        limits.ask(0, vec![address(1)], true);
        assert_eq!(limits.poll_grant(now), Some((0, address(1))));
        limits.ask(1, vec![address(1)], false);
        limits.ask(2, vec![address(1)], true);
        limits.release(address(1), true);
        assert_eq!(limits.poll_grant(now), Some((1, address(1))));
    }

    #[test]
    fn a_rate_that_is_nearly_nothing_still_lets_one_go() {
        let (mut limits, now) = admission(9, 9, Some(1e-300));
        limits.ask(0, vec![address(1)], false);
        limits.ask(1, vec![address(1)], false);
        assert!(limits.poll_grant(now).is_some());
        assert_eq!(limits.poll_timeout(now), Some(now + LONGEST));
    }

    #[test]
    fn ten_thousand_tickets_for_one_address_cost_a_grant_no_more_than_few() {
        let (mut limits, now) = admission(1, 64, None);
        for ticket in 0..10_000 {
            limits.ask(ticket, vec![address(1), address(2)], false);
        }
        // Quadratic work would take minutes here.
        for ticket in 0..10_000 {
            let (granted, place) = limits.poll_grant(now).unwrap();
            assert_eq!(granted, ticket);
            limits.release(place, false);
        }
        assert!(limits.lines.is_empty() && limits.busy.is_empty());
    }

    proptest! {
        #[test]
        fn no_rate_is_ever_exceeded_and_the_deadline_is_exact(
            rate in 0.5_f64..50.0,
            waits in prop::collection::vec(0_u64..300, 1..80),
        ) {
            let (mut limits, mut now) = admission(1000, 1000, Some(rate));
            let (mut granted, spacing) = (Vec::new(), limits.spacing());
            for (ticket, wait) in (0..).zip(waits) {
                limits.ask(ticket, vec![address(1)], false);
                granted.extend(limits.poll_grant(now).map(|_| now));
                prop_assert_eq!(limits.poll_grant(now), None);
                let next = limits.poll_timeout(now);
                prop_assert_eq!(next.is_some(), limits.waiting() > 0);
                prop_assert!(next.is_none_or(|at| at > now));
                now += Duration::from_millis(wait);
            }
            loop {
                granted.extend(std::iter::from_fn(|| limits.poll_grant(now)).map(|_| now));
                let Some(at) = limits.poll_timeout(now) else { break };
                now = at;
            }
            prop_assert_eq!(limits.waiting(), 0);
            prop_assert!(granted.windows(2).all(|pair| pair[1] - pair[0] >= spacing));
        }

        #[test]
        fn no_limit_is_ever_exceeded_and_nobody_starves(
            per_host in 1_usize..4,
            total in 1_usize..6,
            steps in prop::collection::vec((0_u8..4, prop::collection::vec(1_u8..5, 1..3)), 1..300),
        ) {
            let (mut limits, now) = admission(per_host, total, None);
            let mut held: Vec<(SocketAddr, bool)> = Vec::new();
            let mut asked: BTreeMap<u64, bool> = BTreeMap::new();
            let grant = |limits: &mut Limits, held: &mut Vec<_>, asked: &mut BTreeMap<u64, bool>| {
                while let Some((ticket, address)) = limits.poll_grant(now) {
                    held.push((address, asked.remove(&ticket).unwrap()));
                    for place in held.iter() {
                        assert!(held.iter().filter(|other| other.0 == place.0).count() <= per_host);
                    }
                    assert!(held.iter().filter(|place| !place.1).count() <= total);
                }
            };
            for (ticket, (step, hosts)) in (0_u64..).zip(steps) {
                match step {
                    0 if !held.is_empty() => {
                        let (address, extra) = held.swap_remove(hosts[0] as usize % held.len());
                        limits.release(address, extra);
                    }
                    1 if !asked.is_empty() => {
                        let gone = *asked.keys().next().unwrap();
                        asked.remove(&gone);
                        limits.withdraw(gone);
                    }
                    _ => {
                        asked.insert(ticket, step == 3);
                        limits.ask(ticket, hosts.into_iter().map(address).collect(), step == 3);
                    }
                }
                grant(&mut limits, &mut held, &mut asked);
            }
            while let Some((address, extra)) = held.pop() {
                limits.release(address, extra);
                grant(&mut limits, &mut held, &mut asked);
            }
            prop_assert!(asked.is_empty(), "left waiting: {:?}", asked);
            prop_assert_eq!(limits.waiting(), 0);
        }
    }
}
