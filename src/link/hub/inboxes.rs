//! The inboxes that share a budget, so that their history gives way when room is needed.
//!
//! What a reader would get wrong: an inbox is not kept alive by being known here; one that has gone is left out, and struck off when there
//! may be as many of those as of others. So one more costs the same however many there are.

use std::sync::{Arc, Weak};

use parking_lot::Mutex;
use wskeeper_core::budget::{Holder, Holders};

/// As many are kept without a look.
const FEW: usize = 16;

/// All inboxes of a budget.
#[derive(Debug, Default)]
pub(crate) struct Inboxes(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    list: Vec<Weak<dyn Holder>>,
    /// How many there were when those that have gone were struck off.
    looked_at: usize,
}

impl Holders for Inboxes {
    fn add(&self, holder: Weak<dyn Holder>) {
        let Known { list, looked_at } = &mut *self.0.lock();
        if list.len() >= FEW.max(2 * *looked_at) {
            list.retain(|holder| holder.strong_count() > 0);
            list.shrink_to(FEW.max(2 * list.len()));
            *looked_at = list.len();
        }
        list.push(holder);
    }

    fn all(&self) -> Vec<Arc<dyn Holder>> {
        self.0.lock().list.iter().filter_map(Weak::upgrade).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug)]
    struct Nothing;

    impl Holder for Nothing {
        fn held(&self, _may_wait: bool) -> Option<u64> {
            Some(0)
        }

        fn shrink(&self, _to: u64, _may_wait: bool) {}
    }

    #[test]
    fn those_that_have_gone_are_never_more_than_twice_those_that_were_there() {
        let inboxes = Inboxes::default();
        let stays: Vec<Arc<dyn Holder>> = (0..20).map(|_| Arc::new(Nothing) as Arc<dyn Holder>).collect();
        for holder in &stays {
            inboxes.add(Arc::downgrade(holder));
        }
        for _ in 0..1000 {
            let goes: Arc<dyn Holder> = Arc::new(Nothing);
            inboxes.add(Arc::downgrade(&goes));
        }
        assert_eq!(inboxes.all().len(), 20);
        assert!(inboxes.0.lock().list.len() <= 2 * 21, "{}", inboxes.0.lock().list.len());
    }
}
