//! The configuration in force, for all who look at it.
//!
//! What a reader would get wrong: it is set when the pool has followed a new one, so an endpoint may run meanwhile that it does not
//! name yet, or no longer.

use std::sync::Arc;

use parking_lot::RwLock;

use super::Config;

/// Cheap to clone; all clones are one.
#[derive(Debug, Clone)]
pub struct InForce(Arc<RwLock<Arc<Config>>>);

impl InForce {
    /// This one, for now.
    pub fn new(config: Arc<Config>) -> Self {
        Self(Arc::new(RwLock::new(config)))
    }

    /// As it is now.
    pub fn get(&self) -> Arc<Config> {
        Arc::clone(&self.0.read())
    }

    /// Another from now on.
    pub fn set(&self, config: Arc<Config>) {
        *self.0.write() = config;
    }
}
