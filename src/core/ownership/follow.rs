//! What follows from each thing that a machine is told, and what is due by itself.
//!
//! What a reader would get wrong: an answer may come when the tenure is over, or when the process is another member by now. What it tells is
//! still true of the bucket, and is noted; but nobody becomes an owner by it.

use std::{sync::Arc, time::Instant};

use super::*;

impl Ownership {
    /// Whether what is seen can be acted on: the watch is there, and tells of the own renewals.
    pub(super) fn is_believed(&self, now: Instant) -> bool {
        self.lookout.is_current() && self.members.is_fresh(now) && self.opening != Opening::Unseen
    }

    /// The tenure may be over.
    pub(super) fn lapse(&mut self, now: Instant) {
        if self.tenure.deadline().is_some_and(|deadline| deadline <= now) {
            self.counts.lapsed = self.counts.lapsed.saturating_add(1);
            self.cut(CutCause::Deadline);
        }
    }

    fn cut(&mut self, cause: CutCause) {
        self.tenure = Tenure::Over;
        self.claims.cut();
        self.commands.push(Command::CutAll(cause));
    }

    /// The life of this member has ended: it goes on as another.
    fn fence(&mut self, now: Instant) {
        self.counts.fenced = self.counts.fenced.saturating_add(1);
        self.cut(CutCause::Fenced);
        self.number = self.number.saturating_add(1);
        let name = format!("{}_{}", self.base, self.number).into();
        self.life = Life::new(self.policy.lease, name, self.chance.bits(), now);
        // Nothing of what was seen need be so any more, the bucket itself may be another.
        self.members = Members::new(self.policy.lease);
        self.claims.forget();
        self.configurations.clear();
        (self.placement, self.stale) = (Placement::default(), Stale::Placement);
        (self.opening, self.settles_at, self.describing) = (Opening::Unseen, None, Describing::Due(now));
        self.lookout.start_over(now);
        if self.is_draining {
            self.end();
        }
    }

    fn end(&mut self) {
        self.life.end();
        self.commands.push(Command::Left);
    }

    /// What is due by now.
    pub(super) fn work(&mut self, now: Instant) -> Vec<Command> {
        self.lapse(now);
        if !self.life.is_leaving() {
            self.speak(now);
            self.watch(now);
            self.settle(now);
            let is_believed = self.is_believed(now);
            let was_believed = std::mem::replace(&mut self.was_believed, is_believed);
            if is_believed && !was_believed {
                self.outdate(Stale::Links);
            }
            self.bury(now);
            while let Some(link) = self.claims.poll_again(now) {
                self.examine(now, &link);
            }
            self.review(now);
            self.carry_out(now);
            self.leave();
        }
        std::mem::take(&mut self.commands)
    }

    /// Writes what the others are to know of this member.
    fn speak(&mut self, now: Instant) {
        if let Describing::Due(at) = self.describing
            && at <= now
        {
            // A configuration that is new here is the newest, even where it stood there before.
            let known = self.configurations.get(&self.configuration.digest).map_or(0, |(revision, _)| *revision);
            let over = if self.described.is_some() { known } else { 0 };
            self.describing = Describing::Asked;
            self.commands.push(Command::Describe(self.configuration.clone(), over));
        }
        let Some(digest) = self.described.clone() else { return };
        let state = match self.opening {
            _ if self.is_draining => MemberState::Draining,
            Opening::From(_) | Opening::Open if !self.lookout.is_blind() => MemberState::Up,
            Opening::Unseen | Opening::From(_) | Opening::Open => MemberState::Joining,
        };
        if !self.life.has_said(state, &digest) {
            self.life.hurry();
        }
        let (nonce, claims) = (self.life.nonce, &self.claims);
        let command = self.life.poll(now, || MemberRecord { nonce, state, digest, load: claims.load() });
        self.commands.extend(command);
    }

    fn watch(&mut self, now: Instant) {
        if let Some(number) = self.lookout.poll(now) {
            self.counts.watches = self.counts.watches.saturating_add(1);
            self.commands.push(Command::Watch(number));
        }
    }

    fn settle(&mut self, now: Instant) {
        if self.settles_at.is_some_and(|at| at <= now) {
            self.settles_at = None;
        }
        if matches!(self.opening, Opening::From(at) if at <= now) {
            self.opening = Opening::Open;
            self.outdate(Stale::Links);
        }
    }

    /// Declares dead who is to be.
    fn bury(&mut self, now: Instant) {
        while self.is_believed(now)
            && let Some((name, revision)) = self.members.poll_death(now, &self.life.name)
        {
            self.commands.push(Command::Bury(name, revision));
        }
    }

    /// Leaves, once everything is given away.
    fn leave(&mut self) {
        let has_others = self.placement.members() > 0;
        let is_over = !self.claims.is_any_active()
            && self.claims.todo.is_empty()
            && self.claims.in_flight == 0
            && (self.claims.moving.is_empty() || !has_others);
        if self.is_draining && is_over && self.stale == Stale::No {
            if !self.life.is_joined() {
                self.end();
            } else if let Some(command) = self.life.leave() {
                // The record is deleted with this: nothing may act from now on.
                self.tenure = Tenure::Over;
                self.commands.push(command);
            }
        }
    }

    /// Links may belong elsewhere from now on.
    fn members_changed(&mut self, now: Instant) {
        self.settles_at = Some(now.later(self.policy.settle));
        self.outdate(Stale::Placement);
    }

    /// Links are to be looked at, or placed, when that can be believed.
    fn outdate(&mut self, stale: Stale) {
        self.stale = self.stale.max(stale);
    }

    pub(super) fn configure(&mut self, now: Instant, configuration: Configuration) {
        if configuration.digest != self.configuration.digest {
            self.describing = Describing::Due(now);
        }
        self.configuration = configuration;
        self.outdate(Stale::Links);
    }

    pub(super) fn described(&mut self, now: Instant, digest: &Arc<str>, answer: Answer) {
        if *digest != self.configuration.digest {
            return;
        }
        self.describing = match answer {
            // Somebody else has said the same meanwhile.
            Answer::Done(_) | Answer::Outdated => {
                self.described = Some(Arc::clone(digest));
                Describing::Done
            }
            Answer::Unanswered => Describing::Due(now.later(Life::pause(self.policy.lease))),
        };
    }

    pub(super) fn watched(&mut self, now: Instant, watched: WatchNews) {
        match watched {
            WatchNews::Entry(revision, seen) => {
                self.lookout.note(revision);
                self.entry(now, revision, seen);
            }
            WatchNews::Current => {
                let (top, number) = (self.lookout.filled(now), self.lookout.number());
                self.claims.sweep(number, top);
                if self.members.sweep(number, top) {
                    self.members_changed(now);
                }
                self.outdate(Stale::Links);
                self.see_itself(now);
            }
            WatchNews::Ended => self.lookout.ended(now, &mut self.chance),
        }
    }

    /// The watch has told of a key.
    fn entry(&mut self, now: Instant, revision: u64, seen: Seen) {
        let watch = self.lookout.number();
        match seen {
            Seen::Member(name, record) if name == self.life.name => {
                match &record {
                    Some(record) if self.life.is_own(&name, record) => {
                        self.life.adopt(revision);
                        if self.lookout.returned(revision) {
                            self.members.returned(now);
                        }
                    }
                    Some(_) | None if self.life.is_ended_by(revision) => return self.fence(now),
                    Some(_) | None => {}
                }
                self.note_member(now, &name, record, (revision, watch));
                self.see_itself(now);
            }
            Seen::Member(name, record) => self.note_member(now, &name, record, (revision, watch)),
            Seen::Configuration(digest, links) => self.note_configuration(now, revision, digest, links),
            Seen::Claim(link, holder) => self.note_claim(now, &link, (revision, holder), watch),
        }
    }

    /// The member can be given links once its own record came back.
    fn see_itself(&mut self, now: Instant) {
        if self.opening == Opening::Unseen && self.lookout.is_current() && self.members.is_fresh(now) {
            let is_other = |holder: &Arc<str>| *holder != self.life.name && !self.members.is_dead(holder);
            let is_held = self.claims.all.values().any(|claim| claim.holder.as_ref().is_some_and(is_other));
            // Who holds links gives them away when that is due. Where nobody does, all may be about to start.
            self.opening = Opening::From(if is_held { now } else { now.later(self.policy.settle) });
        }
    }

    fn note_member(
        &mut self,
        now: Instant,
        name: &Arc<str>,
        record: Option<MemberRecord>,
        (revision, watch): (u64, u64),
    ) {
        if self.members.note(now, (name, record), revision, watch) == Meaning::Changed {
            self.members_changed(now);
        }
    }

    fn note_configuration(&mut self, now: Instant, revision: u64, digest: Arc<str>, links: Option<Arc<Links>>) {
        if self.configurations.get(&digest).is_some_and(|(known, _)| revision <= *known) {
            return;
        }
        match links {
            // Most have the same, which is kept once.
            Some(links) if links == self.configuration.links => {
                self.configurations.insert(digest, (revision, Arc::clone(&self.configuration.links)));
            }
            Some(links) => {
                self.configurations.insert(digest, (revision, links));
            }
            None => {
                if digest == self.configuration.digest {
                    self.describing = Describing::Due(now);
                }
                self.configurations.remove(&digest);
            }
        }
        self.members_changed(now);
    }

    fn note_claim(&mut self, now: Instant, link: &LinkId, record: (u64, Option<Arc<str>>), watch: u64) {
        if let Some(holder) = record.1.as_ref().filter(|holder| **holder != self.life.name) {
            self.members.presume(now, holder);
        }
        let me = self.tenure.holds(now).then_some(&*self.life.name);
        match self.claims.note(link, record, me, watch) {
            Follows::Nothing => return,
            Follows::Changed => {}
            Follows::Claimed(epoch) => self.commands.push(Command::TakeChain { link: link.clone(), epoch }),
            Follows::Lost(epoch) => {
                self.commands.push(Command::Disown { link: link.clone(), epoch, how: GivingUp::Cut });
            }
        }
        self.examine(now, link);
    }

    pub(super) fn member_answered(&mut self, now: Instant, name: &Arc<str>, answer: Answer) {
        if *name != self.life.name {
            return self.buried(now, name, answer);
        }
        match answer {
            Answer::Done(revision) => match self.life.done(revision) {
                Renewed::Held(tenure, revision) => {
                    self.counts.renewed = self.counts.renewed.saturating_add(1);
                    self.lookout.renewed(now, revision);
                    let held = self.tenure.holds(now);
                    self.tenure = self.tenure.extended(tenure);
                    if !held {
                        self.outdate(Stale::Links);
                    }
                    self.lapse(now);
                }
                Renewed::Left => self.commands.push(Command::Left),
                Renewed::Unclear => {}
            },
            Answer::Outdated => self.life.failed(now, true),
            Answer::Unanswered => {
                self.counts.unanswered = self.counts.unanswered.saturating_add(1);
                self.life.failed(now, false);
            }
        }
    }

    /// The death of another member was declared, or was not.
    fn buried(&mut self, now: Instant, name: &Arc<str>, answer: Answer) {
        let then = now.later(self.policy.lease / 6);
        match answer {
            Answer::Done(revision) => {
                self.counts.buried = self.counts.buried.saturating_add(1);
                self.members.buried(now, name, Some(revision), then);
                self.members_changed(now);
            }
            Answer::Outdated => {
                self.members.buried(now, name, None, then);
                self.commands.push(Command::Look(Key::Member(Arc::clone(name))));
            }
            Answer::Unanswered => self.members.buried(now, name, None, then),
        }
    }

    pub(super) fn claim_answered(&mut self, now: Instant, link: &LinkId, answer: Answer) {
        let Some(flight) = self.claims.land(link) else { return };
        let (holder, over) = match flight {
            Flight::Claim(name, over) => (Some(name), over),
            Flight::Free(over) | Flight::Look(over) => (None, over),
        };
        match answer {
            Answer::Done(revision) => self.note_claim(now, link, (revision, holder), 0),
            Answer::Outdated if self.claims.get(link).is_some_and(|claim| claim.revision == over) => {
                self.claims.send(link, Flight::Look(over), None);
                self.commands.push(Command::Look(Key::Claim(link.clone())));
            }
            Answer::Outdated => {}
            Answer::Unanswered => self.wait(now, link),
        }
        self.examine(now, link);
    }

    pub(super) fn found(&mut self, now: Instant, revision: u64, seen: Seen) {
        match seen {
            Seen::Member(name, record) if name == self.life.name => match record {
                Some(record) if self.life.is_own(&name, &record) => {
                    self.counts.adopted = self.counts.adopted.saturating_add(1);
                    self.life.found(now, revision);
                }
                Some(_) | None if self.life.is_looking() => self.fence(now),
                Some(_) | None => {}
            },
            Seen::Member(name, record) => self.note_member(now, &name, record, (revision, 0)),
            Seen::Configuration(digest, links) => self.note_configuration(now, revision, digest, links),
            Seen::Claim(link, holder) => {
                let Some(Flight::Look(over)) = self.claims.land(&link) else { return };
                let is_known = revision <= over;
                self.note_claim(now, &link, (revision, holder), 0);
                if is_known {
                    if revision == 0 {
                        self.claims.gone(&link);
                    }
                    self.wait(now, &link);
                }
                self.examine(now, &link);
            }
        }
    }

    pub(super) fn not_found(&mut self, now: Instant, key: &Key) {
        match key {
            Key::Member(name) if *name == self.life.name => self.life.failed(now, false),
            Key::Claim(link) => {
                self.claims.land(link);
                self.wait(now, link);
            }
            Key::Member(_) | Key::Configuration(_) => {}
        }
    }

    pub(super) fn chain_taken(&mut self, now: Instant, link: &LinkId, epoch: u64) {
        let Some(claim) = self.claims.get(link).filter(|claim| claim.mine == Mine::Taking(epoch)) else { return };
        let from = claim.origin.unwrap_or(TakenFrom::Free);
        self.claims.turn(link, Mine::Owned(epoch));
        self.commands.push(Command::Own { link: link.clone(), epoch, from });
        self.examine(now, link);
    }

    pub(super) fn chain_lost(&mut self, now: Instant, link: &LinkId, epoch: u64) {
        if self.claims.get(link).and_then(|claim| claim.mine.epoch()) == Some(epoch) {
            self.claims.turn(link, Mine::No);
            self.wait(now, link);
        }
    }

    pub(super) fn closed(&mut self, now: Instant, link: &LinkId, epoch: u64, upto: Option<u64>) {
        if self.claims.get(link).and_then(|claim| claim.mine.epoch()) == Some(epoch) {
            self.claims.turn(link, Mine::Freeing(epoch, upto));
            self.examine(now, link);
        }
    }
}
