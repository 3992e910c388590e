//! The inboxes that share a budget, so that their history gives way when room is needed.
//!
//! What a reader would get wrong: an inbox is not kept alive by being known here; one that has gone is left out.

use std::sync::{Arc, Weak};

use parking_lot::{Mutex, MutexGuard};
use wskeeper_core::budget::{Holder, Holders};

/// All inboxes of a budget.
#[derive(Debug, Default)]
pub(crate) struct Inboxes(Mutex<Vec<Weak<dyn Holder>>>);

impl Inboxes {
    fn list(&self) -> MutexGuard<'_, Vec<Weak<dyn Holder>>> {
        self.0.lock()
    }
}

impl Holders for Inboxes {
    fn add(&self, holder: Weak<dyn Holder>) {
        let mut list = self.list();
        list.retain(|holder| holder.strong_count() > 0);
        list.push(holder);
    }

    fn all(&self) -> Vec<Arc<dyn Holder>> {
        self.list().iter().filter_map(Weak::upgrade).collect()
    }
}
