//! Opening the store: when it is opened, and what endpoints and links that already run get from it.
//!
//! What a reader would get wrong: they may have run for long. If the store could not be opened, each reload tries again.

use std::sync::Arc;

use super::{Orphans, subscriptions, supervisor::Supervisor};
use crate::{endpoint::Endpoint, link::Order, store::Store};

impl Supervisor {
    /// Whether this endpoint needs the store. A budget of attempts uses the store only if its folder exists.
    pub(super) fn wants_store(&self, endpoint: &Endpoint) -> bool {
        let has_place = || self.store.lock().as_ref().is_some_and(|store| Store::has_place(&store.dir));
        endpoint.needs_store() || endpoint.attempts.limit().is_some() && has_place()
    }

    /// Opens the store if it is `needed` or an earlier run has left one, and gives its contents to endpoints that already run.
    pub(super) async fn open_store(&self, needed: bool) {
        let policy = self.store.lock().clone();
        if needed || policy.as_ref().is_some_and(|store| Store::exists(&store.dir)) {
            for letter in self.parts().spool.open(policy.as_ref()).await {
                self.parts().dead.bury(letter);
            }
        }
        self.hand_out().await;
        for runtime in self.parts().endpoints.all() {
            runtime.recall_attempts();
            // The store could not be opened when it began.
            let config = runtime.config();
            if config.keeps_keys() && self.parts().spool.has_keys(&runtime.name) {
                subscriptions::configure(&runtime, &subscriptions::in_force(&config, true), true);
            }
        }
    }

    /// Stored messages of links that run already go to them: the store could not be opened when they started.
    async fn hand_out(&self) {
        for Orphans { endpoint, link, .. } in self.parts().spool.orphans() {
            let Some((runtime, slot)) = self
                .parts()
                .endpoints
                .get(&endpoint)
                .and_then(|runtime| Some((Arc::clone(&runtime), runtime.slot(link)?)))
            else {
                continue;
            };
            slot.set_durable();
            slot.crashed(self.parts().spool.take_crashed(&slot.id));
            let records = self.parts().spool.take(&slot.id);
            let messages = records.into_iter().map(|record| self.restored(&runtime, record));
            // A task that has ended leaves them in the store, where the next one of that link finds them.
            let _ = slot.orders.send(Box::new(Order::Restore(messages.collect()))).await;
        }
    }
}
