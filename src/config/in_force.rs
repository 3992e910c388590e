//! The configuration in force, for all who look at it: that of the file, and beside it the endpoints that came by the API.
//!
//! What a reader would get wrong: each is set when the pool has followed it, so an endpoint may run meanwhile that is not named here yet, or no
//! longer. And dynamic endpoints are no part of [`Config`]: a change of one must not look like a change of the whole.

use std::{collections::BTreeMap, sync::Arc};

use parking_lot::RwLock;

use super::{Config, ConfiguredEndpoint, Definition};
use wskeeper_core::outbox;
use wskeeper_link::endpoint::Endpoint;

/// An endpoint that came by the API.
#[derive(Debug, Clone)]
pub struct Dynamic {
    /// What was put.
    pub definition: Definition,
    /// It is on disk too.
    pub is_kept: bool,
    /// As it is at work; `None`: the file that is in force does not allow it.
    pub at_work: Option<ConfiguredEndpoint>,
}

/// Where an endpoint that came by the API is kept.
pub const fn source(is_kept: bool) -> &'static str {
    if is_kept { "disk" } else { "memory" }
}

/// Cheap to clone; all clones are one.
#[derive(Debug, Clone)]
pub struct InForce(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    file: RwLock<Arc<Config>>,
    dynamic: RwLock<BTreeMap<Arc<str>, Dynamic>>,
}

impl InForce {
    /// This one, for now.
    pub fn new(config: Arc<Config>) -> Self {
        Self(Arc::new(Inner { file: RwLock::new(config), dynamic: RwLock::default() }))
    }

    /// That of the file, as it is now.
    pub fn get(&self) -> Arc<Config> {
        Arc::clone(&self.0.file.read())
    }

    /// Another from now on.
    pub fn set(&self, config: Arc<Config>) {
        *self.0.file.write() = config;
    }

    /// An endpoint, of the file or dynamic.
    pub fn endpoint(&self, name: &str) -> Option<ConfiguredEndpoint> {
        self.0.file.read().endpoints.get(name).cloned().or_else(|| self.0.dynamic.read().get(name)?.at_work.clone())
    }

    /// An endpoint that a pool holds, as it is written. One that is not named comes or goes: nothing is known of what is written of its session.
    pub fn written(&self, held: &Arc<Endpoint>) -> ConfiguredEndpoint {
        self.endpoint(&held.name).unwrap_or_else(|| Arc::clone(held).into())
    }

    /// A dynamic endpoint.
    pub fn dynamic(&self, name: &str) -> Option<Dynamic> {
        self.0.dynamic.read().get(name).cloned()
    }

    /// Where an endpoint is from: the `file`; or the API, which keeps it in `memory` or on `disk`.
    pub fn source(&self, name: &str) -> &'static str {
        self.0.dynamic.read().get(name).map_or("file", |dynamic| source(dynamic.is_kept))
    }

    /// The outbox of an endpoint, of the file or dynamic.
    pub fn outbox(&self, name: &str) -> Option<Arc<outbox::Policy>> {
        let of = |endpoint: &ConfiguredEndpoint| Arc::clone(&endpoint.link.outbox);
        let fixed = self.0.file.read().endpoints.get(name).map(of);
        fixed.or_else(|| self.0.dynamic.read().get(name)?.at_work.as_ref().map(of))
    }

    /// All of them.
    pub fn all_dynamic(&self) -> BTreeMap<Arc<str>, Dynamic> {
        self.0.dynamic.read().clone()
    }

    /// They are these from now on.
    pub fn set_all_dynamic(&self, all: BTreeMap<Arc<str>, Dynamic>) {
        *self.0.dynamic.write() = all;
    }

    /// All that are at work, as they are.
    pub fn at_work(&self) -> BTreeMap<Arc<str>, ConfiguredEndpoint> {
        let all = self.0.dynamic.read();
        all.iter().filter_map(|(name, dynamic)| Some((Arc::clone(name), dynamic.at_work.clone()?))).collect()
    }

    /// One comes, or changes.
    pub fn put_dynamic(&self, name: Arc<str>, dynamic: Dynamic) {
        self.0.dynamic.write().insert(name, dynamic);
    }

    /// One goes.
    pub fn remove_dynamic(&self, name: &str) {
        self.0.dynamic.write().remove(name);
    }

    /// How many endpoints there are: of the file, dynamic ones in memory only, and those on disk too.
    pub fn counts(&self) -> [usize; 3] {
        let dynamic = self.0.dynamic.read();
        let on_disk = dynamic.values().filter(|dynamic| dynamic.is_kept).count();
        [self.get().endpoints.len(), dynamic.len() - on_disk, on_disk]
    }

    /// How many dynamic ones there are.
    pub fn count_dynamic(&self) -> usize {
        self.0.dynamic.read().len()
    }
}
