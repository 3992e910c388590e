//! Which link each key is with: the links there are to be, how many keys each has, and which keys wait for room.
//!
//! Knows places only; what follows of a [`Move`] is the set's business. What a reader would get wrong: the numbers of links may have holes. A
//! link beyond the least number is closed once it has been empty for a while, wherever it stands, and the next one gets the lowest number
//! that is free. A link that is on its way out counts among those that there may be until it is gone, and its number is taken last.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::Instant,
};

use super::Policy;
use crate::clock::Clock;

/// The places of an endpoint's keys on its links.
#[derive(Debug, Default)]
pub(super) struct Spread {
    links: BTreeMap<u32, Link>,
    /// Links by how many keys they have.
    loads: BTreeSet<(u32, u32)>,
    homes: BTreeMap<u64, u32>,
    /// Those that no link has room for, in order.
    waiting: BTreeSet<u64>,
    moves: VecDeque<Move>,
    /// Links that were closed and are not gone yet.
    closing: BTreeSet<u32>,
    /// Links have been opened or closed since that was last asked.
    has_other_links: bool,
}

/// A key comes to a link, leaves one, or both.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Move {
    pub(super) place: u64,
    pub(super) from: Option<u32>,
    /// `None`: it waits for room.
    pub(super) to: Option<u32>,
}

#[derive(Debug)]
struct Link {
    places: BTreeSet<u64>,
    standing: Standing,
    empty_since: Option<Instant>,
}

/// What is known of a link's connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    Up,
    /// It has never been ready.
    New(Instant),
    Down(Instant),
}

impl Spread {
    /// A key is there. Where no link has room, it waits if it `may_wait`; answers whether it is in.
    pub(super) fn enter(&mut self, now: Instant, policy: &Policy, place: u64, may_wait: bool) -> bool {
        if let Some(link) = self.choose(now, policy) {
            self.settle(now, place, None, Some(link));
        } else if may_wait {
            self.waiting.insert(place);
        } else {
            return false;
        }
        true
    }

    /// A key is gone. No other moves for that, but one that waits takes its room.
    pub(super) fn leave(&mut self, now: Instant, policy: &Policy, place: u64) {
        self.waiting.remove(&place);
        if let Some(link) = self.homes.remove(&place) {
            self.lay(now, link, place, false);
            self.fill(now, policy);
        }
    }

    /// The link that a key is with; `None`: it waits for room.
    pub(super) fn link_of(&self, place: u64) -> Option<u32> {
        self.homes.get(&place).copied()
    }

    /// What has moved.
    pub(super) fn poll_move(&mut self) -> Option<Move> {
        self.moves.pop_front()
    }

    /// The keys of a link, in order.
    pub(super) fn places(&self, link: u32) -> impl Iterator<Item = u64> {
        self.links.get(&link).into_iter().flat_map(|link| &link.places).copied()
    }

    /// The numbers of the links that there are to be.
    pub(super) fn links(&self) -> impl ExactSizeIterator<Item = u32> {
        self.links.keys().copied()
    }

    /// Whether there are to be others than when this was last asked.
    pub(super) fn take_other_links(&mut self) -> bool {
        std::mem::take(&mut self.has_other_links)
    }

    /// A link that was closed is gone.
    pub(super) fn set_gone(&mut self, link: u32) {
        self.closing.remove(&link);
    }

    /// A link is ready, or is so no more.
    pub(super) fn set_ready(&mut self, now: Instant, link: u32, is_ready: bool) {
        if let Some(link) = self.links.get_mut(&link) {
            link.standing = match (is_ready, link.standing) {
                (true, _) => Standing::Up,
                (false, Standing::Up) => Standing::Down(now),
                (false, down) => down,
            };
        }
    }

    /// Follows a changed policy. Keys of links that are no more, and those that are too many on one, go elsewhere.
    pub(super) fn follow(&mut self, now: Instant, policy: &Policy) {
        let (min, max) = policy.links;
        for index in 0..min {
            if !self.links.contains_key(&index) {
                self.open(now, index);
            }
        }
        let limit = limit(policy) as usize;
        let gone: BTreeMap<u32, Link> = self.links.split_off(&max);
        let mut homeless: Vec<(u32, u64)> = Vec::new();
        for (index, link) in gone {
            self.has_other_links = true;
            self.loads.remove(&(short(link.places.len()), index));
            homeless.extend(link.places.iter().map(|place| (index, *place)));
        }
        let too_many = |(index, link): (&u32, &Link)| {
            let (index, surplus) = (*index, link.places.iter().skip(limit).copied());
            surplus.map(|place| (index, place)).collect::<Vec<_>>()
        };
        homeless.extend(self.links.iter().flat_map(too_many));
        for (from, place) in homeless {
            self.lay(now, from, place, false);
            let to = self.choose(now, policy);
            self.settle(now, place, Some(from), to);
        }
        self.fill(now, policy);
    }

    /// Links that have been empty for too long are closed, and keys of those that are down for too long move.
    pub(super) fn expire(&mut self, now: Instant, policy: &Policy) {
        let due: Vec<u32> =
            self.links.iter().filter(|(_, link)| is_lost(link, now, policy)).map(|(at, _)| *at).collect();
        for index in due {
            self.empty(now, policy, index);
        }
        let min = policy.links.0;
        let is_over = |index: u32, link: &Link| {
            index >= min && link.empty_since.is_some_and(|since| since.later(policy.close_after) <= now)
        };
        let over: Vec<u32> = self.links.iter().filter(|(at, link)| is_over(**at, link)).map(|(at, _)| *at).collect();
        for index in over {
            self.links.remove(&index);
            self.closing.insert(index);
            self.loads.remove(&(0, index));
            self.has_other_links = true;
        }
    }

    /// When to call [`Spread::expire`].
    pub(super) fn poll_timeout(&self, policy: &Policy) -> Option<Instant> {
        let due = |(index, link): (&u32, &Link)| match (link.empty_since, link.standing) {
            (Some(since), _) => (*index >= policy.links.0).then(|| since.later(policy.close_after)),
            (None, Standing::New(since) | Standing::Down(since)) => Some(since.later(policy.spread_after?)),
            (None, Standing::Up) => None,
        };
        self.links.iter().filter_map(due).min()
    }

    /// The keys of a link that is down for too long go to others, as far as those have room.
    fn empty(&mut self, now: Instant, policy: &Policy, index: u32) {
        // The whole peer may be down, and then no link is better than another.
        let is_any_up = self.links.values().any(|link| link.standing == Standing::Up);
        let Some(link) = self.links.get_mut(&index) else { return };
        // A key that waits for a new link gains nothing by waiting for another.
        let was_up = matches!(link.standing, Standing::Down(_));
        // Where nobody has room now, there may be room later.
        link.standing = if was_up { Standing::Down(now) } else { Standing::New(now) };
        if !is_any_up {
            return;
        }
        let mut opened: BTreeSet<u32> = BTreeSet::new();
        for place in link.places.clone() {
            let fit = |index: u32, link: &Link| link.standing == Standing::Up || opened.contains(&index);
            let other = self.fewest(policy, fit).or_else(|| {
                let index = if was_up { self.free(policy) } else { None }?;
                self.open(now, index);
                opened.insert(index);
                Some(index)
            });
            let Some(other) = other else { return };
            self.lay(now, index, place, false);
            self.settle(now, place, Some(index), Some(other));
        }
    }

    /// Keys that wait take the room there is.
    fn fill(&mut self, now: Instant, policy: &Policy) {
        while let Some(place) = self.waiting.first().copied()
            && let Some(link) = self.choose(now, policy)
        {
            self.waiting.remove(&place);
            self.settle(now, place, None, Some(link));
        }
    }

    /// The link with the fewest keys that has room, one that is not down before those that are; or a new one.
    fn choose(&mut self, now: Instant, policy: &Policy) -> Option<u32> {
        let is_up = |_, link: &Link| !matches!(link.standing, Standing::Down(_));
        self.fewest(policy, is_up).or_else(|| self.fewest(policy, |_, _| true)).or_else(|| {
            let index = self.free(policy)?;
            self.open(now, index);
            Some(index)
        })
    }

    fn fewest(&self, policy: &Policy, is_fit: impl Fn(u32, &Link) -> bool) -> Option<u32> {
        let fit = |(_, link): &&(u32, u32)| self.links.get(link).is_some_and(|found| is_fit(*link, found));
        self.loads.iter().take_while(|(load, _)| *load < limit(policy)).find(fit).map(|(_, link)| *link)
    }

    /// The number of another link, where there may be one.
    fn free(&self, policy: &Policy) -> Option<u32> {
        let free = |index: &u32| !self.links.contains_key(index);
        let is_gone = |index: &u32| free(index) && !self.closing.contains(index);
        let there = self.links.len().saturating_add(self.closing.len());
        let new = if there < policy.links.1 as usize { (0..policy.links.1).find(is_gone) } else { None };
        new.or_else(|| (0..policy.links.1).find(free))
    }

    fn open(&mut self, now: Instant, index: u32) {
        let link = Link { places: BTreeSet::new(), standing: Standing::New(now), empty_since: Some(now) };
        self.links.insert(index, link);
        self.closing.remove(&index);
        self.loads.insert((0, index));
        self.has_other_links = true;
    }

    fn settle(&mut self, now: Instant, place: u64, from: Option<u32>, to: Option<u32>) {
        if let Some(link) = to {
            self.homes.insert(place, link);
            self.lay(now, link, place, true);
        } else {
            self.homes.remove(&place);
            self.waiting.insert(place);
        }
        self.moves.push_back(Move { place, from, to });
    }

    fn lay(&mut self, now: Instant, link: u32, place: u64, is_there: bool) {
        let Some(at) = self.links.get_mut(&link) else { return };
        self.loads.remove(&(short(at.places.len()), link));
        if is_there {
            at.places.insert(place);
        } else {
            at.places.remove(&place);
        }
        at.empty_since = at.places.is_empty().then_some(now);
        self.loads.insert((short(at.places.len()), link));
    }
}

fn is_lost(link: &Link, now: Instant, policy: &Policy) -> bool {
    let (Standing::New(since) | Standing::Down(since)) = link.standing else { return false };
    !link.places.is_empty() && policy.spread_after.is_some_and(|after| since.later(after) <= now)
}

fn limit(policy: &Policy) -> u32 {
    policy.per_link.unwrap_or(u32::MAX)
}

fn short(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    #[derive(Debug, Clone)]
    enum Deed {
        Enter(bool),
        Leave(usize),
        Ready(u32, bool),
        Pass(u64),
        Follow(Option<u32>, u32, u32),
        Gone(u32),
    }

    fn deeds() -> impl Strategy<Value = Vec<Deed>> {
        let deed = prop_oneof![
            8 => any::<bool>().prop_map(Deed::Enter),
            5 => any::<usize>().prop_map(Deed::Leave),
            4 => (0..5_u32, any::<bool>()).prop_map(|(link, is_ready)| Deed::Ready(link, is_ready)),
            4 => (0..80_u64).prop_map(Deed::Pass),
            1 => (prop::option::of(1..4_u32), 1..3_u32, 0..4_u32).prop_map(|(per, min, more)| Deed::Follow(per, min, more)),
            2 => (0..5_u32).prop_map(Deed::Gone),
        ];
        prop::collection::vec(deed, 0..80)
    }

    fn policy(per_link: Option<u32>, links: (u32, u32)) -> Policy {
        let (spread_after, close_after) = (Some(Duration::from_mins(1)), Duration::from_secs(10));
        Policy { max_keys: 1000, per_link, links, spread_after, close_after, has_template: true, is_durable: false }
    }

    /// Follows what it is told of, as the links do.
    #[derive(Default)]
    struct Followed(BTreeMap<u64, Option<u32>>);

    impl Followed {
        fn follow(&mut self, spread: &mut Spread) -> Vec<Move> {
            let moves: Vec<Move> = std::iter::from_fn(|| spread.poll_move()).collect();
            for Move { place, from, to } in &moves {
                assert_eq!(self.0.insert(*place, *to).flatten(), *from, "it leaves the link that it was with");
                assert_ne!(from, to);
            }
            moves
        }
    }

    proptest! {
        #[test]
        fn each_key_is_on_one_link_that_is_there_and_none_moves_that_need_not(story in deeds()) {
            let (mut now, mut policy) = (crate::epoch(), policy(Some(3), (1, 3)));
            let (mut spread, mut followed, mut next) = (Spread::default(), Followed::default(), 1_u64);
            // Those that have never been up are in neither, and may be lost at any time.
            let (mut up, mut down) = (BTreeSet::new(), BTreeMap::<u32, Instant>::new());
            spread.follow(now, &policy);
            for deed in story {
                let before = followed.0.clone();
                // Which keys may move by this deed, beside those that wait.
                let mut may: Box<dyn Fn(u32) -> bool> = Box::new(|_| false);
                match deed {
                    Deed::Enter(may_wait) => {
                        if spread.enter(now, &policy, next, may_wait) {
                            followed.0.insert(next, None);
                        }
                        next += 1;
                    }
                    Deed::Leave(which) if !followed.0.is_empty() => {
                        let place = *followed.0.keys().nth(which % followed.0.len()).unwrap();
                        spread.leave(now, &policy, place);
                        followed.0.remove(&place);
                    }
                    Deed::Leave(_) => {}
                    Deed::Gone(link) => spread.set_gone(link),
                    Deed::Ready(link, is_ready) => {
                        spread.set_ready(now, link, is_ready);
                        if is_ready {
                            down.remove(&link);
                            up.extend(spread.links().filter(|there| *there == link));
                        } else if up.remove(&link) {
                            down.insert(link, now);
                        }
                    }
                    Deed::Pass(seconds) => {
                        now += Duration::from_secs(seconds);
                        spread.expire(now, &policy);
                        let (up, down) = (up.clone(), down.clone());
                        may = Box::new(move |link| {
                            !up.contains(&link) && down.get(&link).is_none_or(|since| *since + Duration::from_mins(1) <= now)
                        });
                    }
                    Deed::Follow(per_link, min, more) => {
                        policy.per_link = per_link;
                        policy.links = (min, min + more);
                        spread.follow(now, &policy);
                        may = Box::new(|_| true);
                    }
                }
                for Move { place, from, .. } in followed.follow(&mut spread) {
                    prop_assert!(from.is_none_or(&may), "{place} left {from:?}: {before:?}");
                }
                let links: BTreeSet<u32> = spread.links().collect();
                up.retain(|link| links.contains(link));
                down.retain(|link, _| links.contains(link));
                let (min, max) = policy.links;
                prop_assert!((0..min).all(|index| links.contains(&index)) && links.iter().all(|index| *index < max));
                let mut seen = BTreeMap::new();
                for link in &links {
                    let places: Vec<u64> = spread.places(*link).collect();
                    prop_assert!(places.len() <= limit(&policy) as usize);
                    for place in places {
                        prop_assert_eq!(seen.insert(place, Some(*link)), None, "it is on two links");
                    }
                }
                let waits = followed.0.values().filter(|link| link.is_none()).count();
                seen.extend(followed.0.iter().filter(|(_, link)| link.is_none()).map(|(place, _)| (*place, None)));
                prop_assert_eq!(&seen, &followed.0);
                let is_full = links.len() == max as usize && links.iter().all(|link| spread.places(*link).count() == limit(&policy) as usize);
                prop_assert!(waits == 0 || is_full, "a key waits, and there is room");
            }
            // Nothing is left to do once all have gone for long enough.
            for place in followed.0.into_keys() {
                spread.leave(now, &policy, place);
            }
            spread.expire(now + Duration::from_mins(1), &policy);
            prop_assert_eq!(spread.links().collect::<Vec<_>>(), (0..policy.links.0).collect::<Vec<_>>());
            prop_assert_eq!(spread.poll_timeout(&policy), None);
        }
    }

    #[test]
    fn keys_of_a_link_that_never_comes_up_go_where_there_is_room_and_open_no_other() {
        let (now, policy) = (crate::epoch(), policy(Some(2), (1, 4)));
        let mut spread = Spread::default();
        spread.follow(now, &policy);
        for place in 1..=3 {
            assert!(spread.enter(now, &policy, place, false));
        }
        spread.set_ready(now, 0, true);
        assert_eq!(spread.link_of(3), Some(1));
        let later = now + Duration::from_mins(1);
        spread.expire(later, &policy);
        assert_eq!((spread.link_of(3), spread.links().len()), (Some(1), 2), "0 is full, and 2 would be as new");
        spread.leave(later, &policy, 1);
        spread.expire(later + Duration::from_mins(1), &policy);
        assert_eq!(spread.link_of(3), Some(0));
    }

    #[test]
    fn the_number_of_a_link_that_is_on_its_way_out_is_taken_last() {
        let (now, policy) = (crate::epoch(), policy(Some(1), (1, 3)));
        let mut spread = Spread::default();
        spread.follow(now, &policy);
        for place in 1..=2 {
            assert!(spread.enter(now, &policy, place, false));
        }
        spread.leave(now, &policy, 2);
        let later = now + policy.close_after;
        spread.expire(later, &policy);
        assert_eq!(spread.links().collect::<Vec<_>>(), [0]);
        for place in 3..=4 {
            assert!(spread.enter(later, &policy, place, false));
        }
        assert_eq!(
            [3, 4].map(|place| spread.link_of(place)),
            [Some(2), Some(1)],
            "and there are never more than three"
        );
        // Once it is gone, it is as any other.
        spread.leave(later, &policy, 4);
        let later = later + policy.close_after;
        spread.expire(later, &policy);
        spread.set_gone(1);
        spread.leave(later, &policy, 3);
        assert!(spread.enter(later, &policy, 5, false) && spread.link_of(5) == Some(2));
        assert!(spread.enter(later, &policy, 6, false) && spread.link_of(6) == Some(1));
    }

    #[test]
    fn what_has_no_room_waits_in_order() {
        let (now, policy) = (crate::epoch(), policy(Some(1), (1, 2)));
        let mut spread = Spread::default();
        spread.follow(now, &policy);
        assert_eq!([1, 2, 3, 4].map(|place| spread.enter(now, &policy, place, place > 2)), [true; 4]);
        assert!(!spread.enter(now, &policy, 5, false));
        assert_eq!([2, 3, 4].map(|place| spread.link_of(place)), [Some(1), None, None]);
        spread.leave(now, &policy, 1);
        assert_eq!([2, 3, 4].map(|place| spread.link_of(place)), [Some(1), Some(0), None]);
    }
}
