//! The own record, and the chain of its renewals: one life of a member.
//!
//! What a reader would get wrong: a renewal whose answer is lost may have been done. Then the next one finds another revision there; that is
//! looked at, and where it is the own record it is gone on from. Only a record that is not there any more, or another's, ends the life.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use super::{
    Tenure,
    exchange::{Command, Key, MemberRecord, MemberState},
};
use crate::clock::Clock as _;

/// A renewal that was not answered is tried again after a sixtieth of the lease, within these.
const AGAIN: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(1));

/// One life of a member.
#[derive(Debug)]
pub(super) struct Life {
    lease: Duration,
    pub(super) name: Arc<str>,
    pub(super) nonce: u64,
    /// Of the own record; 0: there is none as far as is known.
    revision: u64,
    step: Step,
    /// What was written last.
    said: Option<MemberRecord>,
    /// It is to be written as soon as it can be.
    is_urgent: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    /// To be written then.
    Due(Instant),
    /// It is being written since then.
    Asked(Instant),
    /// It is being deleted.
    Leaving,
    /// To be looked at then.
    Unclear(Instant),
    /// It is being looked at.
    Looking,
    /// It is deleted.
    Left,
}

/// What an answer means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Renewed {
    /// The member has this tenure, by this revision.
    Held(Tenure, u64),
    /// Nothing is known yet.
    Unclear,
    /// It has left.
    Left,
}

impl Life {
    pub(super) fn new(lease: Duration, name: Arc<str>, nonce: u64, now: Instant) -> Self {
        Self { lease, name, nonce, revision: 0, step: Step::Due(now), said: None, is_urgent: false }
    }

    /// How long is waited after something that was not answered.
    pub(super) fn pause(lease: Duration) -> Duration {
        (lease / 60).clamp(AGAIN.0, AGAIN.1)
    }

    /// Whether the member has a record, as far as is known.
    pub(super) fn is_joined(&self) -> bool {
        self.revision > 0
    }

    /// Whether it has left, or is about to.
    pub(super) fn is_leaving(&self) -> bool {
        matches!(self.step, Step::Leaving | Step::Left)
    }

    /// Whether it looks at what stands in place of its record.
    pub(super) fn is_looking(&self) -> bool {
        self.step == Step::Looking
    }

    /// It does nothing any more.
    pub(super) fn end(&mut self) {
        self.step = Step::Left;
    }

    /// Whether this is its own record.
    pub(super) fn is_own(&self, name: &str, record: &MemberRecord) -> bool {
        *self.name == *name && record.nonce == self.nonce
    }

    /// The others are to know what has changed.
    pub(super) fn hurry(&mut self) {
        self.is_urgent = true;
    }

    /// The own record stands there with this revision.
    pub(super) fn adopt(&mut self, revision: u64) {
        self.revision = self.revision.max(revision);
    }

    /// The own record is not there any more since this revision. Says whether that is the end.
    pub(super) fn is_ended_by(&self, revision: u64) -> bool {
        self.is_joined() && revision > self.revision && !self.is_leaving()
    }

    /// What is to be written, or looked at, by now.
    pub(super) fn poll(&mut self, now: Instant, record: impl FnOnce() -> MemberRecord) -> Option<Command> {
        if let Step::Unclear(at) = self.step {
            return (at <= now).then(|| {
                self.step = Step::Looking;
                Command::Look(Key::Member(Arc::clone(&self.name)))
            });
        }
        let Step::Due(at) = self.step else { return None };
        if at > now && !self.is_urgent {
            return None;
        }
        let record = record();
        (self.step, self.is_urgent, self.said) = (Step::Asked(now), false, Some(record.clone()));
        let name = Arc::clone(&self.name);
        Some(if self.is_joined() { Command::Renew(name, record, self.revision) } else { Command::Join(name, record) })
    }

    /// When to ask for that though nothing has happened.
    pub(super) fn next(&self) -> Option<Instant> {
        match self.step {
            Step::Due(at) | Step::Unclear(at) => Some(at),
            Step::Asked(_) | Step::Leaving | Step::Looking | Step::Left => None,
        }
    }

    /// Deletes the own record, as soon as nothing else is under way.
    pub(super) fn leave(&mut self) -> Option<Command> {
        if !matches!(self.step, Step::Due(_)) {
            return None;
        }
        self.step = Step::Leaving;
        Some(Command::Leave(Arc::clone(&self.name), self.revision))
    }

    /// The write was done.
    pub(super) fn done(&mut self, revision: u64) -> Renewed {
        match self.step {
            Step::Asked(sent) => {
                self.adopt(revision);
                self.step = Step::Due(sent.later(self.lease / 3));
                Renewed::Held(Tenure::of(sent, self.lease), revision)
            }
            Step::Leaving => {
                self.step = Step::Left;
                Renewed::Left
            }
            Step::Due(_) | Step::Unclear(_) | Step::Looking | Step::Left => Renewed::Unclear,
        }
    }

    /// Something else stands there, or nothing was heard.
    pub(super) fn failed(&mut self, now: Instant, is_outdated: bool) {
        let again = now.later(Self::pause(self.lease));
        self.step = match self.step {
            Step::Asked(_) | Step::Leaving if is_outdated => Step::Unclear(now),
            Step::Asked(_) => Step::Due(again),
            Step::Leaving | Step::Looking => Step::Unclear(again),
            step @ (Step::Due(_) | Step::Unclear(_) | Step::Left) => step,
        };
    }

    /// It was looked at, and the own record is there: go on from it.
    pub(super) fn found(&mut self, now: Instant, revision: u64) {
        self.adopt(revision);
        if self.step == Step::Looking {
            self.step = Step::Due(now);
        }
    }

    /// Whether the others know what there is to know of it. How many links it has can wait.
    pub(super) fn has_said(&self, state: MemberState, digest: &Arc<str>) -> bool {
        self.said.as_ref().is_none_or(|said| said.state == state && said.digest == *digest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEASE: Duration = Duration::from_secs(12);

    fn record(life: &Life) -> MemberRecord {
        MemberRecord { nonce: life.nonce, state: MemberState::Up, digest: "a".into(), load: 0 }
    }

    fn joined(start: Instant) -> Life {
        let mut life = Life::new(LEASE, "host_1_1".into(), 7, start);
        let said = record(&life);
        assert!(matches!(life.poll(start, || said), Some(Command::Join(..))));
        assert_eq!(life.done(5), Renewed::Held(Tenure::of(start, LEASE), 5));
        life
    }

    #[test]
    fn a_record_is_renewed_every_third_of_a_lease_after_it_was_sent() {
        let start = crate::epoch();
        let mut life = joined(start);
        assert_eq!(life.next(), Some(start + LEASE / 3));
        let said = record(&life);
        assert_eq!(
            life.poll(start + LEASE / 3, || said.clone()),
            Some(Command::Renew("host_1_1".into(), said.clone(), 5))
        );
        assert_eq!(life.poll(start + LEASE, || said), None, "one at a time");
        // The answer is late, and counts from when it was sent.
        assert_eq!(life.done(9), Renewed::Held(Tenure::of(start + LEASE / 3, LEASE), 9));
    }

    #[test]
    fn a_renewal_whose_answer_was_lost_is_looked_at_and_gone_on_from() {
        let start = crate::epoch();
        let mut life = joined(start);
        let (now, said) = (start + LEASE / 3, record(&life));
        life.poll(now, || said.clone());
        life.failed(now, false);
        assert_eq!(life.next(), Some(now + LEASE / 60));
        life.poll(now + LEASE / 60, || said.clone());
        life.failed(now, true);
        assert!(matches!(life.poll(now, || said.clone()), Some(Command::Look(_))));
        life.found(now, 6);
        assert_eq!(life.poll(now, || said.clone()), Some(Command::Renew("host_1_1".into(), said, 6)));
    }

    #[test]
    fn what_has_changed_is_said_at_once() {
        let start = crate::epoch();
        let mut life = joined(start);
        let said = record(&life);
        let changed = MemberRecord { state: MemberState::Draining, ..said.clone() };
        assert!(life.has_said(said.state, &said.digest) && !life.has_said(changed.state, &said.digest));
        life.hurry();
        assert!(life.poll(start, || changed).is_some());
    }

    #[test]
    fn the_name_of_another_process_is_not_the_own_one() {
        let life = joined(crate::epoch());
        let other = MemberRecord { nonce: 8, ..record(&life) };
        assert!(!life.is_own("host_1_1", &other) && life.is_own("host_1_1", &record(&life)));
        assert!(life.is_ended_by(6) && !life.is_ended_by(5));
    }
}
