//! Which endpoints there are.
//!
//! What a reader would get wrong: while a reload is carried out they change one by one, so what runs may be some of the old and some of
//! the new.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use parking_lot::{Mutex, MutexGuard};

use super::{CommandError, runtime::EndpointRuntime, slot::Slot};

/// The endpoints of the pool, by name.
#[derive(Debug, Default)]
pub(super) struct Endpoints {
    running: Mutex<BTreeMap<Arc<str>, Arc<EndpointRuntime>>>,
    draining: AtomicBool,
}

impl Endpoints {
    /// Every endpoint in order of its name, as they are now.
    pub(super) fn all(&self) -> Vec<Arc<EndpointRuntime>> {
        self.running().values().cloned().collect()
    }

    pub(super) fn get(&self, name: &str) -> Option<Arc<EndpointRuntime>> {
        self.running().get(name).cloned()
    }

    pub(super) fn insert(&self, runtime: Arc<EndpointRuntime>) {
        self.running().insert(Arc::clone(&runtime.name), runtime);
    }

    pub(super) fn remove(&self, name: &str) -> Option<Arc<EndpointRuntime>> {
        self.running().remove(name)
    }

    pub(super) fn slot(&self, endpoint: &str, index: u32) -> Option<Arc<Slot>> {
        self.get(endpoint)?.slot(index)
    }

    /// A link that is told to do something.
    pub(super) fn commanded(&self, endpoint: &str, index: u32) -> Result<Arc<Slot>, CommandError> {
        self.slot(endpoint, index).ok_or_else(|| {
            // At the end of a stop there are no links left.
            if self.is_draining() {
                CommandError::Draining
            } else {
                CommandError::NoLink(format!("{endpoint}/{index}"))
            }
        })
    }

    pub(super) fn is_draining(&self) -> bool {
        self.draining.load(Ordering::SeqCst)
    }

    /// No message is taken from now on.
    pub(super) fn drain(&self) {
        self.draining.store(true, Ordering::SeqCst);
    }

    /// The list itself, locked.
    pub(super) fn running(&self) -> MutexGuard<'_, BTreeMap<Arc<str>, Arc<EndpointRuntime>>> {
        self.running.lock()
    }
}
