//! One endpoint that comes, changes or goes, beside all others.
//!
//! What a reader would get wrong: nothing here looks at other endpoints, so that it costs the same among ten thousand. An endpoint that goes has
//! lost its name before its links end: who asks for it then is told that there is none.

use std::{sync::Arc, time::Duration};

use tokio::{sync::OwnedRwLockReadGuard, time::Instant};

use super::{
    Draining, Follow, Pool, operator::to_its_end, runtime::EndpointRuntime, supervisor::Supervisor, turns::Turn,
};
use crate::{clock::Moment, endpoint::Endpoint};

/// How often the outbox of an endpoint that goes is looked at.
const LOOK: Duration = Duration::from_millis(20);

/// An endpoint that has lost its name, and whose links are there yet. Another of that name begins once this has ended.
#[derive(Debug)]
#[must_use = "its links end by `end`"]
pub struct Departing {
    supervisor: Arc<Supervisor>,
    runtime: Arc<EndpointRuntime>,
    _gate: OwnedRwLockReadGuard<()>,
    _turn: Turn,
}

impl Departing {
    /// Ends the links once their outboxes are empty, after `drain` at the latest. It is carried out also when nobody waits for it.
    pub async fn end(self, drain: Duration) -> Removed {
        to_its_end(async move {
            self.supervisor.flush(&self.runtime, Instant::now().later(drain)).await;
            let removed = Removed { links: self.runtime.links(), messages: self.runtime.open_messages() };
            self.supervisor.end_endpoint(&self.runtime).await;
            removed
        })
        .await
    }
}

/// What was left of an endpoint that has gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Removed {
    /// How many links it had.
    pub links: u32,
    /// Messages that had not left, or had and were not confirmed where that counts.
    pub messages: u64,
}

impl Pool {
    /// One endpoint comes, or what is there follows `new`; others are not looked at. It is carried out also when nobody waits for it.
    pub async fn put(&self, new: Arc<Endpoint>, follow: Follow) -> Result<(), Draining> {
        let supervisor = Arc::clone(&self.inner.supervisor);
        to_its_end(async move { supervisor.put(&new, follow).await }).await
    }

    /// Takes an endpoint out: from now on nobody finds it by its name. `None`: there is none.
    pub async fn take_out(&self, name: &str) -> Result<Option<Departing>, Draining> {
        let supervisor = Arc::clone(&self.inner.supervisor);
        let gate = supervisor.changing().await?;
        let turn = supervisor.turn(&name.into()).await;
        let taken = supervisor.parts().endpoints.remove(name);
        Ok(taken.map(|runtime| Departing { supervisor, runtime, _gate: gate, _turn: turn }))
    }
}

impl Supervisor {
    async fn put(self: &Arc<Self>, new: &Arc<Endpoint>, follow: Follow) -> Result<(), Draining> {
        let _gate = self.changing().await?;
        // The first that needs the store: what an earlier life has left there is handed out, as a reload does.
        let _one_at_a_time = if self.wants_store(new) && !self.parts().spool.is_open() {
            let held = self.hold().await;
            self.open_store(true).await;
            Some(held)
        } else {
            None
        };
        self.bring_to(new, |_, _| follow).await;
        Ok(())
    }

    /// Waits until what is queued has left, or cannot in time. A stop of the daemon ends the wait.
    async fn flush(&self, runtime: &EndpointRuntime, deadline: Instant) {
        let mut look = tokio::time::interval(LOOK);
        while Instant::now() < deadline && runtime.can_flush(deadline) && !self.parts().endpoints.is_draining() {
            look.tick().await;
        }
    }
}
