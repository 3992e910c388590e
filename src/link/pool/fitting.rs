//! As many links as an endpoint's keys need: more are opened as keys come, and those that have had none for a while are closed.
//!
//! What a reader would get wrong: a link that is to be closed is not gone. It takes no new message that may go elsewhere, and is closed once
//! those that it has have left; where keys need it again before that, it stays.

use std::{
    collections::BTreeSet,
    sync::Arc,
    time::{Duration, Instant},
};

use super::{runtime::EndpointRuntime, slot::Slot, supervisor::Supervisor};
use crate::endpoint::Endpoint;
use wskeeper_core::clock::Clock;

/// How often links that are to be closed are looked at.
const LOOK: Duration = Duration::from_millis(250);

impl Supervisor {
    /// Opens and closes links where the set of keys says so. Answers when to look again; `None`: once it says something else.
    pub(super) async fn fit_links(self: &Arc<Self>) -> Option<Instant> {
        let runtimes = self.parts().endpoints.all();
        if runtimes.iter().all(|runtime| self.fits(runtime)) {
            return None;
        }
        let mut is_done = true;
        for runtime in runtimes.iter().filter(|runtime| !self.fits(runtime)) {
            // A change of the endpoint does the same, and no two may.
            let Some(_turn) = self.try_turn(&runtime.name) else {
                is_done = false;
                continue;
            };
            let is_there = self.parts().endpoints.get(&runtime.name).is_some_and(|now| Arc::ptr_eq(&now, runtime));
            is_done &= !is_there || self.fit(runtime).await;
        }
        (!is_done).then(|| tokio::time::Instant::now().into_std().later(LOOK))
    }

    fn fits(&self, runtime: &EndpointRuntime) -> bool {
        let has: BTreeSet<u32> = runtime.tasks().iter().map(|task| task.slot.id.index).collect();
        let config = runtime.config();
        let is_bare = config.subscriptions.is_none() && runtime.sinks.subscriptions.is_bare();
        self.parts().endpoints.is_draining() || !is_bare && has == self.wanted(runtime, &config)
    }

    /// Answers whether nothing is left to do.
    async fn fit(self: &Arc<Self>, runtime: &Arc<EndpointRuntime>) -> bool {
        let mut config = runtime.config();
        if config.subscriptions.is_none() && runtime.sinks.subscriptions.is_bare() {
            config = Arc::new(config.with_subscriptions());
            runtime.set_config(Arc::clone(&config));
            // Only a new connection asks for keys; it begins beside the old one where it may.
            runtime.retune(true).await;
        }
        let wanted = self.wanted(runtime, &config);
        self.add_links(runtime, &config, &wanted);
        let surplus = runtime.slots().into_iter().filter(|slot| !wanted.contains(&slot.id.index));
        // Who has chosen it before it was to be closed has had the time to give it the message.
        let over: Vec<Arc<Slot>> = surplus.filter(|slot| slot.set_leaves(true) && is_empty(slot)).collect();
        let tasks = runtime.part_with(|slot| over.iter().any(|other| other.id == slot.id));
        if !tasks.is_empty() {
            let (this, ended) = (Arc::clone(self), Arc::clone(runtime));
            runtime.ending().extend(over.iter().map(|slot| slot.id.index));
            tokio::spawn(async move {
                this.disown(&ended, tasks, config.link.close_timeout).await;
                for slot in over {
                    ended.sinks.variables.forget(slot.id.index);
                    ended.ending().remove(&slot.id.index);
                    ended.sinks.subscriptions.set_gone(slot.id.index);
                }
            });
        }
        self.fits(runtime)
    }

    /// Opens the links that are not there. One of the same number that is on its way out ends first.
    pub(super) fn add_links(
        self: &Arc<Self>,
        runtime: &Arc<EndpointRuntime>,
        config: &Arc<Endpoint>,
        wanted: &BTreeSet<u32>,
    ) {
        for index in wanted {
            match runtime.slot(*index) {
                Some(slot) => drop(slot.set_leaves(false)),
                None if runtime.ending().contains(index) => {}
                None => self.own(runtime, config, *index),
            }
        }
    }

    /// The numbers of the links that an endpoint is to have.
    pub(super) fn wanted(&self, runtime: &EndpointRuntime, config: &Endpoint) -> BTreeSet<u32> {
        let mut wanted = runtime.sinks.subscriptions.links().unwrap_or_else(|| (0..config.links).collect());
        let max = config.max_links();
        if max > config.links {
            // What the store has for one must leave.
            let orphans = self.parts().spool.orphans().into_iter().filter(|orphans| orphans.endpoint == runtime.name);
            wanted.extend(orphans.map(|orphans| orphans.link).filter(|link| *link < max));
        }
        wanted
    }
}

/// Whether it holds no message.
fn is_empty(slot: &Slot) -> bool {
    let load = slot.load();
    load.queued_messages == 0 && load.unconfirmed == 0
}
