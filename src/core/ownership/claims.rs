//! Who owns each link as far as is known, and what this member does with it.
//!
//! ```text
//!          Claim sent               Claim done,           ChainTaken
//!   No ─────────────────► No, tried ──────────► Taking ──────────────► Owned
//!   ▲                                             │  │                   │ give up
//!   │◄── cut: deadline, fenced, chain lost ───────┘  └────────► Closing ◄┘
//!   │                                                            │ Closed
//!   └───────────────── Free done ──────────────── Freeing ◄──────┘
//! ```
//! What a reader would get wrong: a claim is this member's only by an answer, or by a record that is newer than what its own compare-and-set
//! went over (`tried`). An older record with its name proves nothing: it may have been freed since, by an answer that was lost.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Instant,
};

use crate::event::LinkId;

/// Who had a link before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TakenFrom {
    /// Nobody.
    Free,
    /// A member that is dead.
    Dead,
    /// This one, before its tenure was over.
    Again,
}

/// All claims.
#[derive(Debug, Default)]
pub(super) struct Register {
    pub(super) all: BTreeMap<LinkId, LinkClaim>,
    /// Links whose record is to be written, as soon as there is room.
    pub(super) todo: BTreeSet<LinkId>,
    /// Links that belong elsewhere.
    pub(super) to_give: BTreeSet<LinkId>,
    /// Links that are being given, until somebody has claimed them.
    pub(super) moving: BTreeSet<LinkId>,
    /// Links that are not tried before a moment.
    again: BTreeSet<(Instant, LinkId)>,
    /// Answers that are waited for.
    pub(super) in_flight: usize,
    /// Links that are not `No`.
    active: usize,
}

/// The claim of one link.
#[derive(Debug, Default)]
pub(super) struct LinkClaim {
    pub(super) revision: u64,
    pub(super) holder: Option<Arc<str>>,
    pub(super) flight: Option<Flight>,
    /// A claim over this revision may have been done without an answer.
    tried: Option<u64>,
    pub(super) waits: bool,
    pub(super) mine: Mine,
    pub(super) origin: Option<TakenFrom>,
    /// The watch that has told of it last.
    watch: u64,
}

/// What is under way on the record of a link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Flight {
    /// This member claims it, over this revision.
    Claim(Arc<str>, u64),
    /// It is freed, over this revision.
    Free(u64),
    /// It is looked at, where this revision was known.
    Look(u64),
}

/// What this member does with a link, under which epoch.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Mine {
    /// Nothing.
    #[default]
    No,
    /// It takes over its chain.
    Taking(u64),
    /// It acts.
    Owned(u64),
    /// It ceases to act.
    Closing(u64),
    /// It does not act any more, and its chain goes up to there.
    Freeing(u64, Option<u64>),
}

/// What follows from a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Follows {
    /// Nothing is new.
    Nothing,
    /// Another holder, or none.
    Changed,
    /// This member has claimed it, under this epoch.
    Claimed(u64),
    /// Somebody else has what this member owned under this epoch.
    Lost(u64),
}

impl Mine {
    /// The epoch of a link that acts, or is about to or has just.
    pub(super) fn epoch(self) -> Option<u64> {
        match self {
            Self::Taking(epoch) | Self::Owned(epoch) | Self::Closing(epoch) => Some(epoch),
            Self::No | Self::Freeing(..) => None,
        }
    }
}

impl Register {
    /// Whether this member has anything to do with any link.
    pub(super) fn is_any_active(&self) -> bool {
        self.active > 0
    }

    /// How many links it owns.
    pub(super) fn load(&self) -> u32 {
        let is_owned = |claim: &&LinkClaim| matches!(claim.mine, Mine::Taking(_) | Mine::Owned(_));
        u32::try_from(self.all.values().filter(is_owned).count()).unwrap_or(u32::MAX)
    }

    /// The claim of a link.
    pub(super) fn get(&self, link: &LinkId) -> Option<&LinkClaim> {
        self.all.get(link)
    }

    /// It does something else with a link.
    pub(super) fn turn(&mut self, link: &LinkId, mine: Mine) {
        let claim = self.all.entry(link.clone()).or_default();
        let (before, after) = (claim.mine != Mine::No, mine != Mine::No);
        claim.mine = mine;
        self.active = self.active.saturating_add(usize::from(after)).saturating_sub(usize::from(before));
    }

    /// A record is known: from a watch, a look or an answer. `me` is who this member is, while it may act.
    pub(super) fn note(
        &mut self,
        link: &LinkId,
        (revision, holder): (u64, Option<Arc<str>>),
        me: Option<&str>,
        watch: u64,
    ) -> Follows {
        let claim = self.all.entry(link.clone()).or_default();
        claim.watch = claim.watch.max(watch);
        if revision <= claim.revision {
            return Follows::Nothing;
        }
        let is_mine = me.is_some() && holder.as_deref() == me;
        if holder.is_some() && claim.mine.epoch().is_none() {
            self.moving.remove(link);
        }
        let was_tried = claim.tried.is_some_and(|over| revision > over);
        (claim.revision, claim.holder) = (revision, holder);
        if was_tried {
            claim.tried = None;
        }
        if is_mine {
            if was_tried && claim.mine == Mine::No {
                self.turn(link, Mine::Taking(revision));
                return Follows::Claimed(revision);
            }
            return Follows::Changed;
        }
        let lost = claim.mine.epoch();
        self.turn(link, Mine::No);
        lost.map_or(Follows::Changed, Follows::Lost)
    }

    /// A write, or a look, is under way.
    pub(super) fn send(&mut self, link: &LinkId, flight: Flight, origin: Option<TakenFrom>) {
        let claim = self.all.entry(link.clone()).or_default();
        if let Flight::Claim(_, over) = flight {
            (claim.tried, claim.origin) = (Some(over), origin);
        }
        claim.flight = Some(flight);
        self.in_flight = self.in_flight.saturating_add(1);
    }

    /// What was under way, is not any more.
    pub(super) fn land(&mut self, link: &LinkId) -> Option<Flight> {
        let flight = self.all.get_mut(link)?.flight.take()?;
        self.in_flight = self.in_flight.saturating_sub(1);
        Some(flight)
    }

    /// A link is not tried before a moment.
    pub(super) fn wait(&mut self, link: &LinkId, until: Instant) {
        if let Some(claim) = self.all.get_mut(link) {
            claim.waits = true;
            self.again.insert((until, link.clone()));
        }
    }

    /// A link that has waited for long enough.
    pub(super) fn poll_again(&mut self, now: Instant) -> Option<LinkId> {
        let first = self.again.first().filter(|(at, _)| *at <= now).cloned()?;
        self.again.remove(&first);
        let (_, link) = first;
        if let Some(claim) = self.all.get_mut(&link) {
            claim.waits = false;
        }
        Some(link)
    }

    /// When to ask for that though nothing has happened.
    pub(super) fn next(&self) -> Option<Instant> {
        self.again.first().map(|(at, _)| *at)
    }

    /// All that acts is cut. What has ceased to act is still freed.
    pub(super) fn cut(&mut self) {
        let active: Vec<_> = self.all.iter().filter(|(_, claim)| claim.mine.epoch().is_some()).collect();
        let links: Vec<LinkId> = active.into_iter().map(|(link, _)| link.clone()).collect();
        for link in &links {
            self.turn(link, Mine::No);
        }
        self.to_give.clear();
        let all = &self.all;
        self.moving.retain(|link| all.get(link).is_some_and(|claim| matches!(claim.mine, Mine::Freeing(..))));
    }

    /// Nothing is known any more, but what is under way.
    pub(super) fn forget(&mut self) {
        self.all.retain(|_, claim| claim.flight.is_some());
        for claim in self.all.values_mut() {
            *claim = LinkClaim { flight: claim.flight.take(), ..LinkClaim::default() };
        }
        (self.active, self.todo, self.again) = (0, BTreeSet::new(), BTreeSet::new());
        self.to_give.clear();
        self.moving.clear();
    }

    /// A look has found nothing, where writes are decided.
    pub(super) fn gone(&mut self, link: &LinkId) {
        if let Some(claim) = self.all.get_mut(link).filter(|claim| claim.mine == Mine::No) {
            (claim.revision, claim.holder) = (0, None);
        }
    }

    /// A watch has told of all that stood there up to a revision: what it left out is not there any more.
    pub(super) fn sweep(&mut self, watch: u64, top: u64) {
        for claim in self.all.values_mut() {
            let is_idle = claim.mine == Mine::No && claim.flight.is_none() && claim.tried.is_none();
            if claim.watch != watch && claim.revision <= top && is_idle {
                (claim.revision, claim.holder) = (0, None);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn link() -> LinkId {
        LinkId { endpoint: "feed".into(), index: 0 }
    }

    fn by(name: &str) -> (u64, Option<Arc<str>>) {
        (7, Some(name.into()))
    }

    #[test]
    fn a_claim_whose_answer_was_lost_is_known_by_the_record_that_followed() {
        let mut claims = Register::default();
        claims.note(&link(), (3, None), Some("me"), 1);
        claims.send(&link(), Flight::Claim("me".into(), 3), Some(TakenFrom::Free));
        assert_eq!(claims.note(&link(), by("me"), Some("me"), 1), Follows::Claimed(7));
        assert_eq!(claims.get(&link()).unwrap().mine, Mine::Taking(7));
        assert_eq!(claims.note(&link(), by("me"), Some("me"), 0), Follows::Nothing, "the answer tells the same");
    }

    #[test]
    fn a_record_with_the_own_name_is_no_claim_that_was_not_tried() {
        let mut claims = Register::default();
        assert_eq!(claims.note(&link(), by("me"), Some("me"), 1), Follows::Changed);
        assert_eq!(claims.get(&link()).unwrap().mine, Mine::No);
    }

    #[test]
    fn a_claim_that_was_done_when_the_tenure_was_over_is_none() {
        let mut claims = Register::default();
        claims.send(&link(), Flight::Claim("me".into(), 0), Some(TakenFrom::Free));
        assert_eq!(claims.note(&link(), by("me"), None, 0), Follows::Changed);
        assert_eq!(claims.get(&link()).unwrap().mine, Mine::No);
        assert!(!claims.is_any_active());
    }

    #[test]
    fn what_somebody_else_has_claimed_is_lost() {
        let mut claims = Register::default();
        claims.send(&link(), Flight::Claim("me".into(), 0), Some(TakenFrom::Free));
        claims.note(&link(), by("me"), Some("me"), 0);
        claims.turn(&link(), Mine::Owned(7));
        assert_eq!(claims.note(&link(), (6, None), Some("me"), 1), Follows::Nothing, "it is older");
        assert_eq!(claims.note(&link(), (9, by("other").1), Some("me"), 1), Follows::Lost(7));
        assert!(!claims.is_any_active());
    }

    #[test]
    fn a_link_moves_until_somebody_has_claimed_it() {
        let mut claims = Register::default();
        claims.turn(&link(), Mine::Freeing(7, None));
        claims.moving.insert(link());
        assert_eq!(claims.note(&link(), (8, None), Some("me"), 1), Follows::Changed);
        assert!(claims.moving.contains(&link()));
        claims.note(&link(), (9, by("other").1), Some("me"), 1);
        assert!(claims.moving.is_empty());
    }

    #[test]
    fn a_watch_takes_away_what_it_leaves_out_but_nothing_newer() {
        let mut claims = Register::default();
        claims.note(&link(), by("other"), Some("me"), 1);
        claims.sweep(2, 6);
        assert_eq!(claims.get(&link()).unwrap().revision, 7);
        claims.sweep(2, 7);
        assert_eq!(claims.get(&link()).unwrap().holder, None);
    }
}
