//! What servers said when they last refused links, of the whole pool.
//!
//! A link that was never refused costs nothing here. What a reader would get wrong: this is history. It counts as such in the budget, gives
//! way to what is accepted, the oldest first, and has a bound of its own.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Weak},
    time::SystemTime,
};

use parking_lot::{Mutex, MutexGuard};

use super::view::RejectionView;
use wskeeper_core::{
    budget::{Budget, Holder, Lease, Rank},
    event::{DialFailure, LinkId},
};

/// Bytes kept at most.
const MOST_BYTES: u64 = 16 << 20;
/// Bytes of one beside its texts, about.
const ENTRY: usize = 256;

/// The last refusal of each link.
#[derive(Debug)]
pub(super) struct Rejections(Mutex<Kept>);

#[derive(Debug)]
struct Kept {
    by_link: HashMap<LinkId, (u64, RejectionView)>,
    /// Oldest first.
    by_age: BTreeMap<u64, LinkId>,
    next: u64,
    lease: Lease,
}

impl Rejections {
    pub(super) fn new(budget: &Arc<Budget>) -> Arc<Self> {
        let kept =
            Kept { by_link: HashMap::new(), by_age: BTreeMap::new(), next: 0, lease: budget.lease(Rank::History) };
        let rejections = Arc::new(Self(Mutex::new(kept)));
        let holder: Weak<dyn Holder> = Arc::downgrade(&rejections) as _;
        budget.register(holder);
        rejections
    }

    /// Keeps what was said, where anything was and there is room for it.
    pub(super) fn keep(&self, link: &LinkId, failure: &DialFailure, at: SystemTime) {
        let Some(said) = &failure.rejection else { return };
        let view = RejectionView { at, status: failure.status, said: Arc::clone(said) };
        let size = view.size();
        let kept = &mut *self.kept();
        kept.forget(link);
        while kept.lease.bytes().saturating_add(size) > MOST_BYTES && kept.forget_oldest() {}
        while !kept.lease.resize(kept.lease.bytes().saturating_add(size)) {
            if !kept.forget_oldest() {
                return;
            }
        }
        kept.by_age.insert(kept.next, link.clone());
        kept.by_link.insert(link.clone(), (kept.next, view));
        kept.next += 1;
    }

    pub(super) fn get(&self, link: &LinkId) -> Option<RejectionView> {
        self.kept().by_link.get(link).map(|(_, view)| view.clone())
    }

    /// The link is gone.
    pub(super) fn forget(&self, link: &LinkId) {
        self.kept().forget(link);
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.0.lock()
    }
}

impl Kept {
    fn forget(&mut self, link: &LinkId) {
        if let Some((number, view)) = self.by_link.remove(link) {
            self.by_age.remove(&number);
            self.lease.resize(self.lease.bytes().saturating_sub(view.size()));
        }
    }

    fn forget_oldest(&mut self) -> bool {
        let Some((_, link)) = self.by_age.pop_first() else { return false };
        self.forget(&link);
        true
    }
}

impl RejectionView {
    fn size(&self) -> u64 {
        self.said.size().saturating_add(ENTRY) as u64
    }
}

impl Holder for Rejections {
    fn held(&self, may_wait: bool) -> Option<u64> {
        let kept = self.0.try_lock().or_else(|| may_wait.then(|| self.kept()))?;
        Some(kept.lease.bytes())
    }

    fn shrink(&self, to: u64, may_wait: bool) {
        let Some(mut kept) = self.0.try_lock().or_else(|| may_wait.then(|| self.kept())) else { return };
        while kept.lease.bytes() > to && kept.forget_oldest() {}
    }
}

#[cfg(test)]
mod tests {
    use wskeeper_core::{close::Cause, rejection::Rejection};

    use super::*;

    fn link(index: u32) -> LinkId {
        LinkId { endpoint: "e".into(), index }
    }

    fn refused(body: &str) -> DialFailure {
        let said = Rejection::new([].into_iter(), body.as_bytes(), true);
        DialFailure { status: Some(403), rejection: Some(Arc::new(said)), ..DialFailure::of(Cause::Upgrade, "") }
    }

    fn body(rejections: &Rejections, index: u32) -> Option<String> {
        Some(rejections.get(&link(index))?.said.body.to_string())
    }

    #[test]
    fn the_last_of_each_link_is_kept_and_the_oldest_go_where_room_is_needed() {
        let budget = Budget::with_holders(4 << 10, Box::<crate::hub::Inboxes>::default());
        let rejections = Rejections::new(&budget);
        let keep = |index, failure: &DialFailure| rejections.keep(&link(index), failure, SystemTime::UNIX_EPOCH);
        keep(0, &DialFailure::of(Cause::Connect, "refused"));
        assert_eq!((body(&rejections, 0), budget.used()), (None, 0));
        keep(0, &refused("no"));
        keep(0, &DialFailure::of(Cause::Connect, "refused"));
        keep(1, &refused("nor you"));
        keep(0, &refused("still no"));
        assert_eq!(
            (body(&rejections, 0).as_deref(), body(&rejections, 1).as_deref()),
            (Some("still no"), Some("nor you"))
        );
        keep(2, &refused(&"x".repeat(2500)));
        assert_eq!((body(&rejections, 0), body(&rejections, 1)), (Some("still no".to_owned()), None));
        keep(3, &refused(&"x".repeat(4000)));
        assert_eq!((budget.used(), body(&rejections, 3)), (0, None), "history never has the last quarter");
        keep(4, &refused("no"));
        assert!(budget.reserve(4 << 10).is_some(), "it gives way");
        assert_eq!(body(&rejections, 4), None);
        keep(5, &refused("no"));
        rejections.forget(&link(5));
        assert_eq!(budget.used(), 0);
    }

    #[test]
    fn it_has_a_bound_of_its_own() {
        let budget = Budget::new(1 << 30);
        let rejections = Rejections::new(&budget);
        for index in 0..5000 {
            rejections.keep(&link(index), &refused(&"x".repeat(4096)), SystemTime::UNIX_EPOCH);
        }
        assert!((MOST_BYTES - (8 << 10)..=MOST_BYTES).contains(&budget.used()), "{}", budget.used());
        assert!(body(&rejections, 0).is_none() && body(&rejections, 4999).is_some());
    }
}
