//! Links of an endpoint that are here: they come by `own`, go by `disown`, and are found by their numbers.
//!
//! What a reader would get wrong: the numbers may have holes. How many links the endpoint has, and which of them a key takes, is what its
//! configuration says. And a link that comes back is the same link: it goes on with the numbers of connections that it had.

use std::{sync::Arc, time::Duration};

use tokio::{task::JoinHandle, time::Instant};

use super::{runtime::EndpointRuntime, slot::Slot, supervisor::Supervisor};
use crate::{
    clock::Moment,
    endpoint::Endpoint,
    link::{self, Order},
};
use wskeeper_core::{event::LinkId, link::Input, receipt::EndReason};

/// Orders that may wait for a link's task: as many as it takes in one round.
const ORDERS: usize = 128;
/// What a task gets to end beyond the time that its link has for closing.
pub(super) const GRACE: Duration = Duration::from_millis(500);

/// A link's task. The links of an endpoint stand in the order of their index.
#[derive(Debug)]
pub(super) struct LinkTask {
    pub(super) slot: Arc<Slot>,
    pub(super) handle: JoinHandle<()>,
}

impl EndpointRuntime {
    pub(super) fn slots(&self) -> Vec<Arc<Slot>> {
        self.tasks().iter().map(|task| Arc::clone(&task.slot)).collect()
    }

    pub(super) fn slot(&self, index: u32) -> Option<Arc<Slot>> {
        let tasks = self.tasks();
        let is_it = |task: &&LinkTask| task.slot.id.index == index;
        // Without holes before it, it stands where its number says.
        let task = tasks.get(index as usize).filter(is_it).or_else(|| {
            let at = tasks.binary_search_by_key(&index, |task| task.slot.id.index).ok()?;
            tasks.get(at)
        });
        task.map(|task| Arc::clone(&task.slot))
    }

    /// How many links it has, wherever they are: those of its configuration, and here those that have come with keys.
    pub(super) fn links(&self) -> u32 {
        let here = u32::try_from(self.tasks().len()).unwrap_or(u32::MAX);
        self.config().links.max(here)
    }

    /// From now on nobody finds these links. They are to be disowned.
    pub(super) fn part_with(&self, is_meant: impl Fn(&Slot) -> bool) -> Vec<LinkTask> {
        self.tasks().extract_if(.., |task| is_meant(&task.slot)).collect()
    }

    fn add_task(&self, task: LinkTask) {
        let mut tasks = self.tasks();
        let at = tasks.partition_point(|other| other.slot.id.index < task.slot.id.index);
        tasks.insert(at, task);
    }
}

impl Supervisor {
    /// A link comes, and begins.
    pub(super) fn own(self: &Arc<Self>, runtime: &Arc<EndpointRuntime>, endpoint: &Arc<Endpoint>, index: u32) {
        let id = LinkId { endpoint: Arc::clone(&endpoint.name), index };
        let (orders, inbound) = link::orders(ORDERS);
        let observer = self.parts().observer.link(&endpoint.name, index);
        let newest = runtime.left().remove(&index).unwrap_or_default();
        let slot = Slot::new(id, endpoint, orders, observer, Arc::clone(&runtime.sinks), newest);
        if let Some(at) = runtime.heard_until.get(&index) {
            slot.was_heard_until(*at);
        }
        let handle = tokio::spawn(Arc::clone(self).keep(Arc::clone(runtime), Arc::clone(&slot), inbound));
        runtime.add_task(LinkTask { slot, handle });
        // What changed meanwhile found no link.
        let Some(slot) = runtime.slot(index) else { return };
        runtime.tell_listened(&[&*slot]);
        runtime.sinks.subscriptions.begin(index, |changes| slot.answer(Input::Subscriptions(changes)));
    }

    /// Ends links that their endpoint has parted with. What the store holds for them waits: for an operator's word, or for a link that
    /// comes back.
    pub(super) async fn disown(&self, runtime: &EndpointRuntime, tasks: Vec<LinkTask>, within: Duration) {
        let slots: Vec<_> = tasks.iter().map(|task| Arc::clone(&task.slot)).collect();
        end(tasks, within, EndReason::Removed).await;
        runtime.left().extend(slots.iter().map(|slot| (slot.id.index, slot.newest())));
        let ids: Vec<_> = slots.into_iter().map(|slot| slot.id.clone()).collect();
        for id in ids {
            let messages = self.parts().spool.reclaim(&id, EndReason::Removed).await.waiting.len();
            if messages > 0 {
                tracing::warn!(link = %id, messages, "the link is gone; its stored messages are kept");
            }
        }
    }
}

/// Stops tasks and waits for their ends; one that does not end in time is aborted.
pub(super) async fn end(tasks: Vec<LinkTask>, within: Duration, end_reason: EndReason) {
    let deadline = Instant::now().later(within.saturating_add(GRACE));
    for task in &tasks {
        // A task that has ended needs no order, and one that takes none is aborted below.
        let _ =
            tokio::time::timeout_at(deadline, task.slot.orders.send(Box::new(Order::Stop(within, end_reason)))).await;
    }
    for mut task in tasks {
        if tokio::time::timeout_at(deadline, &mut task.handle).await.is_err() {
            task.handle.abort();
        }
    }
}
