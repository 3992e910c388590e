//! Which member is to own which link: rendezvous hashing with bounded load.
//!
//! Every member computes the same from the same members, so nobody has to be asked. A link goes to the member that has the highest number for the
//! pair of both, unless that one is full; when a member joins, links move to it and to nobody else, but for what a bound pushes on. Members
//! with the newest configuration come first, and the last link of an endpoint does not join all of its others on one member.
//!
//! What a reader would get wrong: another number for the same pair moves links in every cluster, and two versions of the program that do not
//! agree give a link to and fro. The numbers are recorded in a test.

use std::{cmp::Reverse, collections::BTreeMap, sync::Arc};

use super::exchange::Links;
use crate::{chance::Chance, event::LinkId, hash};

/// A member that can be given links.
#[derive(Debug, Clone)]
pub(super) struct Candidate {
    pub(super) name: Arc<str>,
    /// How new its configuration is.
    pub(super) rank: u64,
    /// What that lists.
    pub(super) links: Arc<Links>,
}

/// Where all links are to be.
#[derive(Debug, Default)]
pub(super) struct Placement {
    names: Vec<Arc<str>>,
    /// For each link of an endpoint the place of its owner in `names`.
    owners: BTreeMap<Arc<str>, Vec<Option<usize>>>,
}

/// How full the members are while links are placed.
struct Filling<'a> {
    candidates: &'a [Candidate],
    numbers: Vec<u64>,
    loads: Vec<u64>,
    bound: u64,
    owners: BTreeMap<Arc<str>, Vec<Option<usize>>>,
}

impl Placement {
    pub(super) fn new(mut candidates: Vec<Candidate>) -> Self {
        candidates.sort_by(|one, other| (Reverse(one.rank), &one.name).cmp(&(Reverse(other.rank), &other.name)));
        let all = union(&candidates);
        let mut filling = Filling::new(&candidates, &all);
        // What few can have is not to find them full.
        filling.fill(&all, |lists| !lists);
        filling.fill(&all, |lists| lists);
        let owners = std::mem::take(&mut filling.owners);
        Self { names: candidates.into_iter().map(|candidate| candidate.name).collect(), owners }
    }

    /// Who is to own a link.
    pub(super) fn owner(&self, link: &LinkId) -> Option<&Arc<str>> {
        let place = (*self.owners.get(&link.endpoint)?.get(usize::try_from(link.index).ok()?)?)?;
        self.names.get(place)
    }

    /// The links that a member is to own.
    pub(super) fn links_of(&self, name: &str) -> impl Iterator<Item = LinkId> {
        let place = self.names.iter().position(|known| **known == *name);
        let is_its = move |owner: &Option<usize>| owner.is_some() && *owner == place;
        let named =
            self.owners.iter().flat_map(|(endpoint, owners)| (0..).zip(owners).map(move |link| (endpoint, link)));
        named
            .filter(move |(_, (_, owner))| is_its(owner))
            .map(|(endpoint, (index, _))| LinkId { endpoint: Arc::clone(endpoint), index })
    }

    /// How many members there are to give links to.
    pub(super) fn members(&self) -> usize {
        self.names.len()
    }
}

/// All links that any of the members lists.
fn union(candidates: &[Candidate]) -> Links {
    let mut all = Links::new();
    let mut last: Option<&Arc<Links>> = None;
    for candidate in candidates {
        // Most have the same.
        if last.is_some_and(|last| Arc::ptr_eq(last, &candidate.links)) {
            continue;
        }
        last = Some(&candidate.links);
        for (endpoint, count) in &*candidate.links {
            let known = all.entry(Arc::clone(endpoint)).or_default();
            *known = (*known).max(*count);
        }
    }
    all
}

/// What a member may own at most: a tenth more than its part.
pub(super) fn bound(links: u64, members: u64) -> u64 {
    (links * 11).div_ceil((members * 10).max(1))
}

/// The one member that all of these links are with.
fn only(owners: &[Option<usize>]) -> Option<usize> {
    let (first, rest) = owners.split_first()?;
    first.filter(|_| rest.iter().all(|owner| owner == first))
}

impl<'a> Filling<'a> {
    fn new(candidates: &'a [Candidate], all: &Links) -> Self {
        let numbers = candidates.iter().map(|candidate| hash::stable([&*candidate.name])).collect();
        let bound = bound(all.values().map(|count| u64::from(*count)).sum(), candidates.len() as u64);
        let owners = all.iter().map(|(endpoint, count)| (Arc::clone(endpoint), vec![None; *count as usize])).collect();
        Self { candidates, numbers, loads: vec![0; candidates.len()], bound, owners }
    }

    /// Places the links for which it is `meant` whether everybody lists them.
    fn fill(&mut self, all: &Links, meant: impl Fn(bool) -> bool) {
        for (endpoint, count) in all {
            let number = hash::stable([&**endpoint]);
            let listed: Vec<u32> =
                self.candidates.iter().map(|candidate| candidate.links.get(endpoint).copied().unwrap_or(0)).collect();
            let Some(mut owners) = self.owners.remove(endpoint) else { continue };
            let common = listed.iter().copied().min().unwrap_or(0);
            for index in (0..*count).filter(|index| meant(*index < common)) {
                let (place, is_last) = (index as usize, index + 1 == *count);
                let alone = if is_last { only(owners.get(..place).unwrap_or_default()) } else { None };
                let owner = self.best(number.wrapping_add(u64::from(index)), alone, |place| index < listed[place]);
                if let Some(owner) = owner {
                    self.loads[owner] += 1;
                }
                owners[place] = owner;
            }
            self.owners.insert(Arc::clone(endpoint), owners);
        }
    }

    /// The member for a link: not `alone`, and one that has room, where there is one.
    fn best(&self, link: u64, alone: Option<usize>, lists: impl Fn(usize) -> bool) -> Option<usize> {
        let places = || (0..self.candidates.len()).filter(|place| lists(*place));
        let score = |place: &usize| Chance::new(link ^ self.numbers[*place]).bits();
        let has_room = |place: &usize| self.loads[*place] < self.bound;
        let newest = |place: &usize| (self.candidates[*place].rank, score(place));
        let first = places().filter(|place| has_room(place) && Some(*place) != alone).max_by_key(newest);
        first
            .or_else(|| places().filter(has_room).max_by_key(newest))
            .or_else(|| places().min_by_key(|place| (self.loads[*place], Reverse(score(place)))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn links(of: &[(&str, u32)]) -> Arc<Links> {
        Arc::new(of.iter().map(|(endpoint, count)| (Arc::from(*endpoint), *count)).collect())
    }

    fn members(count: usize, links: &Arc<Links>) -> Vec<Candidate> {
        let named = |number| Candidate { name: format!("host{number}_1_1").into(), rank: 1, links: Arc::clone(links) };
        (0..count).map(named).collect()
    }

    /// A hundred endpoints of a hundred links.
    fn ten_thousand() -> Arc<Links> {
        Arc::new((0..100).map(|number| (format!("endpoint{number}").into(), 100)).collect())
    }

    fn loads(placement: &Placement) -> Vec<u64> {
        placement.names.iter().map(|name| placement.links_of(name).count() as u64).collect()
    }

    /// From whom to whom links go.
    fn moves(before: &Placement, after: &Placement) -> Vec<(Arc<str>, Arc<str>)> {
        let links = before.names.iter().flat_map(|name| before.links_of(name).map(move |link| (name, link)));
        let moved = links.filter_map(|(name, link)| Some((Arc::clone(name), Arc::clone(after.owner(&link)?))));
        moved.filter(|(from, to)| from != to).collect()
    }

    #[test]
    fn links_stand_where_they_have_always_stood() {
        let placement = Placement::new(members(4, &links(&[("feed", 8), ("orders", 2), ("größe", 2)])));
        let place = |link: LinkId| (link.to_string(), placement.owner(&link).unwrap().to_string());
        let mut all: Vec<_> = placement.names.iter().flat_map(|name| placement.links_of(name)).map(place).collect();
        all.sort();
        let named: Vec<_> = all.iter().map(|(link, name)| format!("{link} {}", &name[4..5])).collect();
        assert_eq!(named, RECORDED, "another number moves links in every cluster");
    }

    const RECORDED: [&str; 12] = [
        "feed/0 2",
        "feed/1 3",
        "feed/2 1",
        "feed/3 3",
        "feed/4 3",
        "feed/5 2",
        "feed/6 2",
        "feed/7 2",
        "größe/0 1",
        "größe/1 0",
        "orders/0 0",
        "orders/1 1",
    ];

    #[test]
    fn loads_are_within_the_bound_and_everything_is_placed() {
        for count in 1..=7 {
            for (endpoints, each) in [(1, 1), (1, 12), (12, 1), (5, 2), (3, 7), (40, 5)] {
                let named = |number| (format!("e{number}").into(), each);
                let listed = Arc::new((0..endpoints).map(named).collect::<Links>());
                let loads = loads(&Placement::new(members(count, &listed)));
                let total = u64::from(endpoints * each);
                assert_eq!(loads.iter().sum::<u64>(), total);
                assert!(loads.iter().all(|load| *load <= bound(total, count as u64)), "{loads:?} of {total}");
            }
        }
        assert_eq!([bound(12, 3), bound(10_000, 4), bound(1, 7), bound(0, 1)], [5, 2750, 1, 0]);
    }

    #[test]
    fn of_ten_thousand_links_those_move_that_the_member_takes_who_joins_and_no_others() {
        let listed = ten_thousand();
        for count in 1..7 {
            let before = Placement::new(members(count, &listed));
            let after = Placement::new(members(count + 1, &listed));
            let moved = moves(&before, &after);
            let joined = after.names.iter().find(|name| !before.names.contains(name)).unwrap();
            assert!(moved.iter().all(|(_, to)| to == joined), "to {count} members");
            assert_eq!(moved.len(), after.links_of(joined).count());
            // Who leaves again gives back the same.
            assert_eq!(moves(&after, &before).len(), moved.len());
        }
    }

    #[test]
    fn of_few_links_hardly_more_move_than_a_member_takes_who_joins() {
        let (mut moved, mut needed) = (0, 0);
        for seed in 0..200 {
            let listed = links(&[(&format!("feed{seed}"), 12), (&format!("orders{seed}"), 12)]);
            for count in 2..6 {
                let (before, after) =
                    (Placement::new(members(count, &listed)), Placement::new(members(count + 1, &listed)));
                moved += moves(&before, &after).len() as u64;
                needed += loads(&after).last().unwrap();
            }
        }
        assert!(moved * 4 < needed * 5, "{moved} links moved, {needed} had to");
    }

    #[test]
    fn two_links_of_an_endpoint_stand_on_two_members() {
        for number in 0..100 {
            let name = format!("pair{number}");
            let placement = Placement::new(members(3, &links(&[(&name, 2)])));
            assert_eq!(loads(&placement).iter().max(), Some(&1));
        }
    }

    #[test]
    fn a_link_goes_to_a_member_that_lists_it_and_to_the_newest_first() {
        let (old, new) = (links(&[("feed", 10), ("gone", 3)]), links(&[("feed", 10), ("fresh", 3)]));
        let mut mixed = members(3, &old);
        mixed[1] = Candidate { rank: 2, links: new, ..mixed[1].clone() };
        let placement = Placement::new(mixed);
        let owned_by = |name: &str| {
            let mut endpoints: Vec<_> = placement.links_of(name).map(|link| link.endpoint.to_string()).collect();
            endpoints.dedup();
            (placement.links_of(name).count(), endpoints)
        };
        // It has as many as the bound allows, and what nobody else lists.
        assert_eq!(owned_by("host1_1_1"), (6, vec!["feed".to_owned(), "fresh".to_owned()]));
        assert_eq!(owned_by("host0_1_1").0 + owned_by("host2_1_1").0, 10);
    }

    #[test]
    fn nobody_owns_what_nobody_lists() {
        let placement = Placement::new(members(2, &links(&[("feed", 1)])));
        assert_eq!(placement.owner(&LinkId { endpoint: "feed".into(), index: 1 }), None);
        assert_eq!(placement.owner(&LinkId { endpoint: "other".into(), index: 0 }), None);
        assert_eq!(Placement::new(Vec::new()).members(), 0);
    }
}
