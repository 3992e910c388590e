//! Who is there, as far as the watch has told, and who can be declared dead.
//!
//! What a reader would get wrong: a record that is missing proves nothing. The bucket keeps the last record of a key only, so a watch may tell
//! of a claim before it tells of the record that its holder has written anew. Such a holder is *presumed*: it is waited for like any other, and
//! dead when its key is written over the revision that was seen last, be it 0.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use super::exchange::{MemberRecord, MemberState};
use crate::clock::Clock as _;

/// The members that are known.
#[derive(Debug)]
pub(super) struct Members {
    lease: Duration,
    all: BTreeMap<Arc<str>, Known>,
    /// When the own record came back last, and since when it has done so without a gap.
    returned: Option<Instant>,
    steady_since: Option<Instant>,
}

#[derive(Debug)]
struct Known {
    /// `None`: presumed, or dead.
    record: Option<MemberRecord>,
    revision: u64,
    /// When its last renewal was seen, or when it was presumed, or died.
    seen: Instant,
    is_dead: bool,
    /// Its death is being declared.
    is_asked: bool,
    /// It is not tried before this.
    not_before: Instant,
    /// The watch that has told of it last.
    watch: u64,
}

/// What a record means for the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Meaning {
    /// Nothing: it was renewed, or it is old.
    Nothing,
    /// Links stand elsewhere from now on.
    Changed,
}

impl Members {
    pub(super) fn new(lease: Duration) -> Self {
        Self { lease, all: BTreeMap::new(), returned: None, steady_since: None }
    }

    /// A watch, or a look, has told of a record.
    pub(super) fn note(
        &mut self,
        now: Instant,
        (name, record): (&Arc<str>, Option<MemberRecord>),
        revision: u64,
        watch: u64,
    ) -> Meaning {
        let Some(known) = self.all.get_mut(name) else {
            let is_dead = record.is_none();
            self.enter(now, name, record, (revision, watch));
            return if is_dead { Meaning::Nothing } else { Meaning::Changed };
        };
        known.watch = known.watch.max(watch);
        if revision <= known.revision {
            return Meaning::Nothing;
        }
        let place =
            |record: &Option<MemberRecord>| record.as_ref().map(|record| (record.state, Arc::clone(&record.digest)));
        let is_dead = record.is_none();
        let is_same = known.is_dead == is_dead && place(&known.record) == place(&record);
        (known.revision, known.seen, known.is_dead, known.record) = (revision, now, is_dead, record);
        if is_same { Meaning::Nothing } else { Meaning::Changed }
    }

    /// A claim names a member that nothing is known of.
    pub(super) fn presume(&mut self, now: Instant, name: &Arc<str>) {
        if !self.all.contains_key(name) {
            self.enter(now, name, None, (0, 0));
            if let Some(known) = self.all.get_mut(name) {
                known.is_dead = false;
            }
        }
    }

    fn enter(&mut self, now: Instant, name: &Arc<str>, record: Option<MemberRecord>, (revision, watch): (u64, u64)) {
        let is_dead = record.is_none();
        let known = Known { record, revision, seen: now, is_dead, is_asked: false, not_before: now, watch };
        self.all.insert(Arc::clone(name), known);
    }

    /// A watch has told of all that stood there up to a revision. Who is not among it is presumed from now on. Says whether anyone is missing.
    pub(super) fn sweep(&mut self, watch: u64, top: u64) -> bool {
        let mut is_any = false;
        for known in self.all.values_mut() {
            if known.watch != watch && known.revision <= top && !known.is_dead && known.revision > 0 {
                (known.record, known.revision, is_any) = (None, 0, true);
            }
        }
        is_any
    }

    /// The own record came back through the watch.
    pub(super) fn returned(&mut self, now: Instant) {
        let is_gap = |last: Instant| now.saturating_duration_since(last) > self.lease / 2;
        if self.returned.is_none_or(is_gap) {
            self.steady_since = Some(now);
        }
        self.returned = Some(now);
    }

    /// What was seen until now proves nothing for what is not seen.
    pub(super) fn doubt(&mut self) {
        (self.returned, self.steady_since) = (None, None);
    }

    /// Whether the own record came back lately.
    pub(super) fn is_fresh(&self, now: Instant) -> bool {
        self.returned.is_some_and(|last| now.saturating_duration_since(last) <= self.lease / 2)
    }

    /// Whether a member is known to be dead.
    pub(super) fn is_dead(&self, name: &str) -> bool {
        self.all.get(name).is_some_and(|known| known.is_dead)
    }

    /// Those who have not died and can be given links.
    pub(super) fn eligible(&self) -> impl Iterator<Item = (&Arc<str>, &MemberRecord)> {
        let records = self.all.iter().filter_map(|(name, known)| Some((name, known.record.as_ref()?)));
        records.filter(|(_, record)| record.state == MemberState::Up)
    }

    /// How many have a record.
    pub(super) fn count(&self) -> usize {
        self.all.values().filter(|known| known.record.is_some()).count()
    }

    /// When a member can be declared dead: no renewal was seen for a lease, while the own ones came back all that time.
    fn due(&self, known: &Known) -> Option<Instant> {
        let waits = !known.is_dead && !known.is_asked;
        let since = known.seen.max(self.steady_since?);
        waits.then(|| since.later(self.lease).max(known.not_before))
    }

    /// A member beside `own` that is to be declared dead by now, and the revision that was seen last.
    pub(super) fn poll_death(&mut self, now: Instant, own: &str) -> Option<(Arc<str>, u64)> {
        let is_due =
            |(name, known): &(&Arc<str>, &Known)| &***name != own && self.due(known).is_some_and(|at| at < now);
        let name = self.all.iter().find(is_due).map(|(name, _)| Arc::clone(name))?;
        let known = self.all.get_mut(&name)?;
        known.is_asked = true;
        Some((name, known.revision))
    }

    /// When to ask for that though nothing has happened.
    pub(super) fn next_death(&self, own: &str) -> Option<Instant> {
        let others = self.all.iter().filter(|(name, _)| &***name != own);
        let due = others.filter_map(|(_, known)| self.due(known)).min()?;
        Some(due.later(Duration::from_nanos(1)))
    }

    /// The declaration was answered: by the revision that it has, or it is not tried again before `then`.
    pub(super) fn buried(&mut self, now: Instant, name: &str, done: Option<u64>, then: Instant) {
        let Some(known) = self.all.get_mut(name) else { return };
        (known.is_asked, known.not_before) = (false, then);
        if let Some(revision) = done {
            // A watch may have told of it before.
            if revision > known.revision {
                (known.revision, known.seen, known.is_dead, known.record) = (revision, now, true, None);
            }
        }
    }

    /// Forgets those who are dead for two leases and that nothing names.
    pub(super) fn forget(&mut self, now: Instant, is_named: impl Fn(&str) -> bool) {
        let since = |known: &Known| now.saturating_duration_since(known.seen);
        self.all.retain(|name, known| !known.is_dead || since(known) < self.lease.saturating_mul(2) || is_named(name));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEASE: Duration = Duration::from_secs(12);

    fn up(digest: &str) -> MemberRecord {
        MemberRecord { nonce: 1, state: MemberState::Up, digest: digest.into(), load: 0 }
    }

    /// One other that was seen at the start, and the own record that comes back every third of a lease for so long.
    fn watched(start: Instant, thirds: u32) -> Members {
        let mut members = Members::new(LEASE);
        members.note(start, (&"other".into(), Some(up("a"))), 7, 1);
        (0..=thirds).for_each(|third| members.returned(start + LEASE / 3 * third));
        members
    }

    #[test]
    fn a_member_is_dead_after_a_lease_without_a_renewal_while_the_own_ones_came_back() {
        let start = crate::epoch();
        let mut members = watched(start, 3);
        let then = members.next_death("own").unwrap();
        assert!(then > start + LEASE && then < start + LEASE + Duration::from_millis(1));
        assert_eq!(members.poll_death(start + LEASE, "own"), None);
        assert_eq!(members.poll_death(then, "own"), Some(("other".into(), 7)));
        assert_eq!(members.poll_death(then, "own"), None, "it is asked once");
        assert!(!members.is_dead("other"));
        members.buried(then, "other", Some(9), then);
        assert!(members.is_dead("other"));
    }

    #[test]
    fn what_is_not_seen_while_the_own_record_does_not_come_back_proves_nothing() {
        let start = crate::epoch();
        let mut members = watched(start, 0);
        let back = start + LEASE * 2;
        members.returned(back);
        assert_eq!(members.poll_death(back, "own"), None);
        (1..=3).for_each(|third| members.returned(back + LEASE / 3 * third));
        assert_eq!(members.poll_death(back + LEASE, "own"), None);
        assert!(members.poll_death(back + LEASE + Duration::from_millis(1), "own").is_some());
    }

    #[test]
    fn a_record_that_is_told_of_again_is_no_renewal() {
        let start = crate::epoch();
        let mut members = watched(start, 3);
        members.note(start + LEASE, (&"other".into(), Some(up("a"))), 7, 2);
        assert!(members.poll_death(start + LEASE + Duration::from_millis(1), "own").is_some());
    }

    #[test]
    fn a_renewal_changes_nothing_for_the_others_and_another_configuration_does() {
        let (start, other) = (crate::epoch(), Arc::from("other"));
        let mut members = watched(start, 0);
        assert_eq!(members.note(start, (&other, Some(up("a"))), 8, 1), Meaning::Nothing);
        assert_eq!(members.note(start, (&other, Some(up("b"))), 9, 1), Meaning::Changed);
        assert_eq!(members.note(start, (&other, Some(up("a"))), 8, 1), Meaning::Nothing, "it is older");
        assert_eq!(members.note(start, (&other, None), 10, 1), Meaning::Changed);
        assert!(members.is_dead("other"));
    }

    #[test]
    fn a_holder_that_nothing_is_known_of_is_waited_for_and_buried_over_nothing() {
        let start = crate::epoch();
        let mut members = watched(start, 3);
        members.presume(start, &"ghost".into());
        assert!(!members.is_dead("ghost"));
        members.note(start + LEASE / 2, (&"other".into(), Some(up("a"))), 8, 1);
        let then = start + LEASE + Duration::from_millis(1);
        assert_eq!(members.poll_death(then, "own"), Some(("ghost".into(), 0)));
    }

    #[test]
    fn who_is_missing_in_what_a_newer_watch_tells_is_presumed() {
        let start = crate::epoch();
        let mut members = watched(start, 3);
        assert!(!members.sweep(2, 6), "the watch is behind the record");
        assert!(members.sweep(2, 7));
        assert_eq!((members.count(), members.is_dead("other")), (0, false));
    }

    #[test]
    fn the_dead_are_forgotten_when_nothing_names_them() {
        let start = crate::epoch();
        let mut members = watched(start, 0);
        members.note(start, (&"other".into(), None), 8, 1);
        members.forget(start + LEASE, |_| false);
        assert!(members.is_dead("other"));
        members.forget(start + LEASE * 2, |name| name == "other");
        assert!(members.is_dead("other"));
        members.forget(start + LEASE * 2, |_| false);
        assert!(!members.is_dead("other"));
    }
}
