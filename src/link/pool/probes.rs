//! How many probes of first URLs are under way at once, of all endpoints together.
//!
//! An endpoint has one at a time, but there may be thousands of endpoints with one server that is down, and a probe is held by no outage. What
//! a reader would get wrong: who waits here has no time limit, for the time that others take says nothing of the server.

use std::{
    collections::HashMap,
    sync::{Arc, Weak},
};

use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Of one server.
const PER_SERVER: usize = 4;
/// Of all.
const TOTAL: usize = 128;
/// Servers that are known without being probed, before they are looked through.
const FORGOTTEN: usize = 64;

/// All that probe.
#[derive(Debug)]
pub(super) struct Probes {
    total: Arc<Semaphore>,
    by_server: Mutex<HashMap<Box<str>, Weak<Semaphore>>>,
}

/// A place among them, until it is dropped.
#[derive(Debug)]
pub(super) struct ProbePermit {
    _of_server: OwnedSemaphorePermit,
    _of_all: OwnedSemaphorePermit,
    /// Those who wait for it find the same.
    _server: Arc<Semaphore>,
}

impl Default for Probes {
    fn default() -> Self {
        Self { total: Arc::new(Semaphore::new(TOTAL)), by_server: Mutex::default() }
    }
}

impl Probes {
    /// Waits for its turn at a server. `None`: never, for nobody closes them.
    pub(super) async fn turn(&self, server: &str) -> Option<ProbePermit> {
        let server = self.server(server);
        // That of the server first: who waits for one that is down is not to keep others waiting.
        let of_server = Arc::clone(&server).acquire_owned().await.ok()?;
        let of_all = Arc::clone(&self.total).acquire_owned().await.ok()?;
        Some(ProbePermit { _of_server: of_server, _of_all: of_all, _server: server })
    }

    fn server(&self, name: &str) -> Arc<Semaphore> {
        let mut by_server = self.by_server.lock();
        if let Some(known) = by_server.get(name).and_then(Weak::upgrade) {
            return known;
        }
        if by_server.len() >= FORGOTTEN {
            by_server.retain(|_, known| known.strong_count() > 0);
        }
        let new = Arc::new(Semaphore::new(PER_SERVER));
        by_server.insert(name.into(), Arc::downgrade(&new));
        new
    }
}

#[cfg(test)]
mod tests {
    use tokio::task::JoinSet;

    use super::*;

    #[tokio::test]
    async fn a_server_has_four_at_once_and_keeps_no_other_waiting() {
        let probes = Arc::new(Probes::default());
        let mut held = Vec::new();
        for _ in 0..PER_SERVER {
            held.push(probes.turn("down.example:443").await.unwrap());
        }
        let mut waiting = JoinSet::new();
        for _ in 0..1000 {
            let probes = Arc::clone(&probes);
            waiting.spawn(async move { probes.turn("down.example:443").await.is_some() });
        }
        for server in 0..100 {
            drop(probes.turn(&format!("{server}.example:443")).await.unwrap());
        }
        assert!(waiting.try_join_next().is_none());
        assert!(probes.by_server.lock().len() <= FORGOTTEN);
        held.pop();
        assert!(waiting.join_all().await.into_iter().all(|had| had));
    }

    #[tokio::test]
    async fn all_servers_together_have_so_many() {
        let probes = Probes::default();
        let mut held = Vec::new();
        for server in 0..TOTAL {
            held.push(probes.turn(&format!("{server}.example")).await.unwrap());
        }
        let mut next = Box::pin(probes.turn("another.example"));
        assert!(futures_util::FutureExt::now_or_never(&mut next).is_none());
        held.pop();
        assert!(next.await.is_some());
    }
}
