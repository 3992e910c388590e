//! What holds in every world, and what holds once nothing is wrong any more.

use super::*;

/// In the suite; by hand as many as `WSKEEPER_WORLDS` says.
const WORLDS: u64 = 30;

impl World {
    pub(super) fn is_any_exempt(&self) -> bool {
        self.nodes.iter().any(|node| node.is_exempt(self.now))
    }

    /// Two never act on a link at once.
    pub(super) fn check(&self) {
        let mut actors: BTreeMap<&LinkId, usize> = BTreeMap::new();
        for (index, node) in self.nodes.iter().enumerate().filter(|(_, node)| !node.is_exempt(self.now)) {
            for link in node.acting.keys().filter(|link| node.acts(link, self.now)) {
                let other = actors.insert(link, index);
                assert_eq!(other, None, "two act on {link}: {index} and another");
            }
        }
    }

    /// Nobody takes the claim of a member that has a record.
    pub(super) fn check_claim(&self, link: &LinkId, by: &Arc<str>) {
        let (_, Seen::Claim(_, holder)) = self.bucket.read(&Key::Claim(link.clone())) else { return };
        if let Some(holder) = holder.filter(|holder| holder != by) {
            let (_, seen) = self.bucket.read(&Key::Member(Arc::clone(&holder)));
            assert!(matches!(seen, Seen::Member(_, None)), "{by} takes {link} of {holder}, which is alive");
        }
    }

    /// Nobody is declared dead who may act, or who has renewed its record within a lease.
    pub(super) fn check_burial(&mut self, by: usize, name: &Arc<str>) {
        self.buried.push((by, Arc::clone(name)));
        let is_it = |node: &&Node| node.machine.name() == name && node.running != Running::Dead;
        if self.nodes[by].is_exempt(self.now) {
            return;
        }
        if let Some(node) = self.nodes.iter().find(is_it).filter(|node| !node.is_exempt(self.now)) {
            let may_act = node.machine.tenure().holds(node.local(self.now)) && !node.acting.is_empty();
            assert!(!may_act || node.running == Running::Stopped, "{name} is declared dead, and may act");
        }
        if let Some(written) = self.bucket.written.get(&Key::Member(Arc::clone(name))) {
            let since = self.now.saturating_duration_since(*written);
            assert!(since > LEASE * 95 / 100, "{name} is declared dead {since:?} after it was renewed");
        }
    }

    /// Those that hold links, or are to.
    fn holders(&self) -> Vec<&Node> {
        self.nodes.iter().filter(|node| node.running == Running::Yes && !node.is_draining).collect()
    }

    /// All links that somebody lists.
    fn listed(&self) -> BTreeSet<LinkId> {
        let lists = self.holders().into_iter().flat_map(|node| node.machine.configuration.links.iter());
        let link = |(endpoint, count): (&Arc<str>, &u32)| {
            let endpoint = Arc::clone(endpoint);
            (0..*count).map(move |index| LinkId { endpoint: Arc::clone(&endpoint), index }).collect::<Vec<_>>()
        };
        lists.flat_map(link).collect()
    }

    /// Links that nobody acts on, and that are not just being given.
    pub(super) fn dark(&self) -> Vec<LinkId> {
        let acts = |link: &LinkId| self.nodes.iter().any(|node| node.acts(link, self.now));
        let changes_hands = |link: &LinkId| self.moving.contains_key(link) || self.is_being_taken(link);
        self.listed().into_iter().filter(|link| !acts(link) && !changes_hands(link)).collect()
    }

    /// Somebody has claimed a link, and takes over its chain.
    fn is_being_taken(&self, link: &LinkId) -> bool {
        let takes =
            |node: &Node| node.machine.claims.get(link).is_some_and(|claim| matches!(claim.mine, Mine::Taking(_)));
        self.nodes.iter().any(|node| node.running == Running::Yes && takes(node))
    }

    /// Everything is owned, by whom it is to be.
    pub(super) fn check_settled(&self) {
        assert_eq!(self.dark(), [], "dark");
        let holders = self.holders();
        let total = self.listed().len() as u64;
        let is_alike = holders.iter().all(|node| node.machine.configuration == holders[0].machine.configuration);
        for node in &holders {
            let load = node.acting.len() as u64;
            let bound = placement::bound(total, holders.len() as u64);
            assert!(!is_alike || load <= bound, "{} has {load} of {total} links", node.name);
            for link in node.acting.keys() {
                let owner = node.machine.placement.owner(link);
                assert_eq!(owner, Some(node.machine.name()), "{link} is where it is not to be");
            }
        }
    }
}

/// Tells the stories of all seeds, and names those that break a promise.
fn tell(worlds: std::ops::Range<u64>, story: impl Fn(u64) + std::panic::RefUnwindSafe) {
    let broken: Vec<u64> = worlds.filter(|seed| std::panic::catch_unwind(|| story(*seed)).is_err()).collect();
    assert!(broken.is_empty(), "seeds {broken:?}");
}

/// Faults of all kinds for a while, and then none.
fn faulty(seed: u64) -> World {
    let mut world = World::faulty(seed);
    world.faults.clocks_stand = seed.is_multiple_of(4);
    world.run(LEASE * 12);
    world.heal();
    world.run(LEASE * 2);
    assert_eq!(world.dark(), [], "two leases after the last fault");
    world.run(LEASE * 3);
    world.check_settled();
    world
}

#[test]
fn every_promise_holds_in_every_world() {
    let worlds = std::env::var("WSKEEPER_WORLDS").ok().and_then(|worlds| worlds.parse().ok()).unwrap_or(WORLDS);
    tell(0..worlds, |seed| {
        faulty(seed);
    });
}

#[test]
fn the_worlds_have_every_kind_of_trouble() {
    let worlds: Vec<World> = (0..10).map(faulty).collect();
    let all = || worlds.iter().flat_map(|world| &world.nodes).map(|node| node.machine.counts());
    let sums = [
        all().map(|counts| counts.unanswered).sum::<u64>(),
        all().map(|counts| counts.adopted).sum(),
        all().map(|counts| counts.lapsed).sum(),
        all().map(|counts| counts.fenced).sum(),
        all().map(|counts| counts.buried).sum(),
        worlds.iter().map(|world| world.moved as u64).sum(),
    ];
    assert!(sums.iter().all(|sum| *sum > 5), "{sums:?}");
}

#[test]
fn one_seed_is_one_story() {
    assert_eq!(faulty(4).story, faulty(4).story);
}

/// Members that have started and settled, and nothing is wrong.
fn settled(seed: u64, members: usize, configurations: Vec<Configuration>) -> World {
    let mut world = World::new(seed, members, configurations);
    world.run(LEASE);
    world.check_settled();
    assert_eq!(world.moved, 0, "members that start together give each other nothing");
    world
}

fn feeds(links: u32) -> Configuration {
    configuration("a", &[("feed", links), ("pair", 2)])
}

#[test]
fn the_links_of_a_member_that_is_killed_are_owned_again_after_little_more_than_a_lease() {
    for seed in 0..20 {
        let mut world = settled(seed, 3, vec![feeds(10)]);
        world.strike(Fault::Kill(0));
        world.events.retain(|_, event| !matches!(event, Event::Fault(_)));
        assert!(!world.dark().is_empty());
        world.run(LEASE * 11 / 10);
        assert_eq!(world.dark(), [], "seed {seed}");
        world.check_settled();
    }
}

#[test]
fn after_an_outage_of_one_and_a_half_leases_nobody_declares_anybody_dead() {
    for seed in 0..20 {
        let mut world = settled(seed, 5, vec![feeds(10)]);
        world.strike(Fault::Outage(LEASE * 3 / 2));
        world.run(LEASE * 149 / 100);
        assert_eq!(world.dark().len(), 12, "everything is cut at nine tenths");
        world.run(LEASE / 100 + Duration::from_secs(2));
        assert_eq!(world.dark(), [], "seed {seed}: two seconds after it");
        world.run(LEASE * 2);
        assert_eq!((world.buried.as_slice(), world.moved), (&[][..], 0));
        assert!(world.nodes.iter().all(|node| node.machine.counts().lapsed == 1));
        world.check_settled();
    }
}

#[test]
fn a_short_outage_of_the_leader_cuts_nothing() {
    for seed in 0..20 {
        let mut world = settled(seed, 3, vec![feeds(10)]);
        for _ in 0..10 {
            world.strike(Fault::Outage(LEASE / 4));
            world.run(LEASE * 2 / 3);
            assert_eq!(world.dark(), []);
        }
        assert!(world.nodes.iter().all(|node| node.machine.counts().lapsed == 0));
        assert_eq!((world.buried.as_slice(), world.moved), (&[][..], 0));
    }
}

#[test]
fn a_member_that_joins_takes_what_it_is_to_own_and_few_links_move_at_once() {
    for seed in 0..10 {
        let mut world = settled(seed, 3, vec![feeds(60)]);
        world.join(0, None);
        world.run(LEASE);
        world.check_settled();
        let load = world.nodes[3].acting.len();
        assert!((10..=18).contains(&load) && world.moved <= load + load / 2, "{load} of {} moved", world.moved);
        assert!(world.most_moving <= POLICY.moves, "{} at once", world.most_moving);
    }
}

#[test]
fn in_a_rolling_restart_to_another_configuration_every_link_is_given_and_none_is_cut() {
    for seed in 0..10 {
        let next = configuration("b", &[("feed", 21), ("pair", 2)]);
        let mut world = settled(seed, 3, vec![feeds(20), next]);
        for old in 0..3 {
            world.nodes[old].is_draining = true;
            world.feed(old, Input::Drain);
            world.run(LEASE);
            assert_eq!(world.nodes[old].running, Running::Dead, "it has given everything away, and left");
            assert_eq!(world.nodes[old].machine.counts().lapsed, 0);
            assert_eq!(world.dark(), []);
            world.join(1, None);
            world.run(LEASE * 2);
        }
        world.check_settled();
        assert_eq!(world.buried, []);
        assert!(world.most_moving <= POLICY.moves, "{} at once", world.most_moving);
    }
}

#[test]
fn the_last_member_closes_its_links_and_leaves() {
    let mut world = settled(1, 1, vec![feeds(10)]);
    world.feed(0, Input::Drain);
    world.run(LEASE);
    assert_eq!(world.nodes[0].running, Running::Dead);
    assert_eq!(world.moved, 0);
}
