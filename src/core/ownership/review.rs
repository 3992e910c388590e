//! What this member claims, gives and frees: the difference between where links are and where they are to be.
//!
//! What a reader would get wrong: all links are looked at only when members, or what they list, have changed. What happens to one link looks at
//! that link, so ten thousand claims cost ten thousand steps and no more.

use std::{collections::BTreeSet, sync::Arc, time::Instant};

use super::{
    Opening, Ownership, Stale,
    claims::{Flight, Mine, TakenFrom},
    exchange::{Command, GivingUp},
    life::Life,
    placement::{Candidate, Placement},
};
use crate::{clock::Clock as _, event::LinkId};

/// So many claims are written at once, at most.
const AT_ONCE: usize = 256;

/// What is to become of a link.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Want {
    Nothing,
    Claim(TakenFrom),
    Free(u64, Option<u64>),
    Give(Arc<str>),
    Close,
}

impl Ownership {
    /// Looks at all links, where that is due.
    pub(super) fn review(&mut self, now: Instant) {
        if self.stale == Stale::No || !self.is_believed(now) {
            return;
        }
        if std::mem::replace(&mut self.stale, Stale::No) == Stale::Placement {
            self.place();
        }
        let mut links: BTreeSet<LinkId> = self.placement.links_of(&self.life.name).collect();
        let held = self
            .claims
            .all
            .iter()
            .filter(|(_, claim)| claim.mine != Mine::No || claim.holder.as_ref() == Some(&self.life.name));
        links.extend(held.map(|(link, _)| link.clone()));
        for link in &links {
            self.examine(now, link);
        }
        let (claims, placement, name) = (&mut self.claims, &self.placement, &self.life.name);
        let all = &claims.all;
        claims.moving.retain(|link| {
            let is_free = all.get(link).is_none_or(|claim| claim.mine == Mine::No);
            !is_free || placement.owner(link).is_some_and(|owner| owner != name)
        });
        let named: BTreeSet<&str> = all.values().filter_map(|claim| claim.holder.as_deref()).collect();
        self.members.forget(now, |name| named.contains(name));
    }

    fn place(&mut self) {
        let candidate = |(name, record): (&Arc<str>, &super::MemberRecord)| {
            let (rank, links) = self.configurations.get(&record.digest)?;
            Some(Candidate { name: Arc::clone(name), rank: *rank, links: Arc::clone(links) })
        };
        self.placement = Placement::new(self.members.eligible().filter_map(candidate).collect());
        self.counts.placements = self.counts.placements.saturating_add(1);
    }

    /// Looks at a link, and notes what is to be done.
    pub(super) fn examine(&mut self, now: Instant, link: &LinkId) {
        let want = self.want(now, link);
        if want == Want::Close {
            self.give_up(link, GivingUp::Close);
        }
        let set = |set: &mut BTreeSet<LinkId>, is_in| if is_in { set.insert(link.clone()) } else { set.remove(link) };
        set(&mut self.claims.todo, matches!(want, Want::Claim(_) | Want::Free(..)));
        set(&mut self.claims.to_give, matches!(want, Want::Give(_)));
    }

    /// What is to become of a link, as far as is known.
    fn want(&self, now: Instant, link: &LinkId) -> Want {
        let desired = self.placement.owner(link);
        let is_ours = desired == Some(&self.life.name);
        let is_listed = self.configuration.links.get(&link.endpoint).is_some_and(|count| link.index < *count);
        let may_claim = is_ours && self.may_claim(now);
        let Some(claim) = self.claims.get(link) else {
            return if may_claim { Want::Claim(TakenFrom::Free) } else { Want::Nothing };
        };
        match claim.mine {
            Mine::Closing(_) => Want::Nothing,
            Mine::Freeing(epoch, upto) => Want::Free(epoch, upto),
            Mine::Taking(_) | Mine::Owned(_) if !is_listed => Want::Close,
            Mine::Taking(_) | Mine::Owned(_) => match desired {
                Some(to) if !is_ours => Want::Give(Arc::clone(to)),
                None if self.is_draining && self.stale < Stale::Placement => Want::Close,
                Some(_) | None => Want::Nothing,
            },
            Mine::No => match &claim.holder {
                None if may_claim => Want::Claim(TakenFrom::Free),
                // Before it has joined, the name may be that of another process.
                Some(holder) if *holder == self.life.name && self.life.is_joined() => match desired {
                    Some(_) if may_claim => Want::Claim(TakenFrom::Again),
                    Some(_) if is_ours => Want::Nothing,
                    Some(_) => Want::Free(claim.revision, None),
                    None if self.is_draining || !is_listed => Want::Free(claim.revision, None),
                    None => Want::Nothing,
                },
                Some(holder) if may_claim && self.members.is_dead(holder) => Want::Claim(TakenFrom::Dead),
                Some(_) | None => Want::Nothing,
            },
        }
    }

    fn may_claim(&self, now: Instant) -> bool {
        self.opening == Opening::Open && !self.is_draining && self.is_believed(now) && self.tenure.holds(now)
    }

    /// How many links may be given at once: its part of what all may.
    fn quota(&self) -> usize {
        let members = self.members.count().max(1);
        self.policy.moves.checked_div(members).unwrap_or_default().max(1)
    }

    /// Whether links may be given by now.
    fn gives(&self, now: Instant) -> bool {
        self.is_believed(now) && (self.is_draining || self.settles_at.is_none())
    }

    /// Carries out what was noted, as far as there is room.
    pub(super) fn carry_out(&mut self, now: Instant) {
        while self.claims.moving.len() < self.quota()
            && self.gives(now)
            && let Some(link) = self.claims.to_give.pop_first()
        {
            if let Want::Give(to) = self.want(now, &link) {
                self.claims.moving.insert(link.clone());
                self.give_up(&link, GivingUp::Move(to));
            }
        }
        while self.claims.in_flight < AT_ONCE
            && let Some(link) = self.claims.todo.pop_first()
        {
            self.write(now, &link);
        }
    }

    /// Writes the record of a link, unless something is under way: then its answer looks at the link again.
    fn write(&mut self, now: Instant, link: &LinkId) {
        let claim = self.claims.get(link);
        if claim.is_some_and(|claim| claim.flight.is_some() || claim.waits) {
            return;
        }
        let over = claim.map_or(0, |claim| claim.revision);
        match self.want(now, link) {
            Want::Claim(origin) => {
                let name = Arc::clone(&self.life.name);
                self.claims.send(link, Flight::Claim(Arc::clone(&name), over), Some(origin));
                self.commands.push(Command::Claim(link.clone(), name, over));
            }
            Want::Free(over, upto) => {
                self.claims.send(link, Flight::Free(over), None);
                self.commands.push(Command::Free(link.clone(), over, upto));
            }
            Want::Nothing | Want::Give(_) | Want::Close => {}
        }
    }

    fn give_up(&mut self, link: &LinkId, how: GivingUp) {
        let Some(epoch) = self.claims.get(link).and_then(|claim| claim.mine.epoch()) else { return };
        self.claims.turn(link, Mine::Closing(epoch));
        self.commands.push(Command::Disown { link: link.clone(), epoch, how });
    }

    /// A link is not tried for a while.
    pub(super) fn wait(&mut self, now: Instant, link: &LinkId) {
        let pause = self.chance.above(Life::pause(self.policy.lease));
        self.claims.wait(link, now.later(pause));
    }
}
