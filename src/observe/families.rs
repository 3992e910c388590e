//! All that is counted, and the text that `/metrics` gives of it.
//!
//! The numbers of links and endpoints are handles that their owners hold and drop; here is only which there are. Without
//! `per_link` all links of an endpoint share one handle, however many there are. What a reader would get wrong: the crate `prometheus`
//! has the daemon's own numbers alone, once each; those of endpoints, which may be thousands, are written by `text`.

use std::{
    collections::BTreeMap,
    sync::{Arc, Weak},
};

use parking_lot::Mutex;
use prometheus::Registry;

use super::{
    daemon::Daemon,
    endpoint::{self, EndpointMetrics},
    link::{self, LinkMetrics},
    push::{self, PushNumbers},
};

/// The `Content-Type` of [`Families::render`]'s text.
pub const CONTENT_TYPE: &str = prometheus::TEXT_FORMAT;

/// Every metric of wskeeper.
#[derive(Debug)]
pub struct Families {
    per_link: bool,
    pub(super) daemon: Daemon,
    links: Mutex<BTreeMap<Key, Weak<LinkMetrics>>>,
    endpoints: Mutex<BTreeMap<Arc<str>, Weak<EndpointMetrics>>>,
}

/// Whose numbers: an endpoint's, or with `per_link` a link's.
pub(super) type Key = (Arc<str>, Option<u32>);

impl Families {
    /// With the process's own numbers in `registry`. Fails where a name is registered already.
    pub fn register(registry: &Registry, per_link: bool) -> prometheus::Result<Arc<Self>> {
        let daemon = Daemon::register(registry)?;
        Ok(Arc::new(Self { per_link, daemon, links: Mutex::default(), endpoints: Mutex::default() }))
    }

    /// The numbers of a link: its own with `per_link`, else those that all links of the endpoint share. They leave `/metrics` when the
    /// last holder drops them.
    pub fn link(self: &Arc<Self>, endpoint: &Arc<str>, index: u32) -> Arc<LinkMetrics> {
        let key = (Arc::clone(endpoint), self.per_link.then_some(index));
        held(&self.links, key, |key| LinkMetrics::new(self, key))
    }

    /// The numbers of an endpoint. They leave `/metrics` when the last holder drops them.
    pub fn endpoint(self: &Arc<Self>, name: &Arc<str>) -> Arc<EndpointMetrics> {
        held(&self.endpoints, Arc::clone(name), |name| EndpointMetrics::new(self, name))
    }

    /// The pushes of endpoints are these; those of others are gone.
    pub fn show_pushes(&self, now: &BTreeMap<Arc<str>, Vec<PushNumbers>>) {
        for endpoint in live(&self.endpoints) {
            endpoint.show_pushes(now.get(endpoint.name()).cloned().unwrap_or_default());
        }
    }

    /// All of it, as Prometheus text 0.0.4.
    pub fn render(&self) -> String {
        let mut text = self.daemon.render();
        let links = live(&self.links);
        for family in link::FAMILIES {
            family.write(links.iter().map(|handle| (handle.labels(), &**handle)), &mut text);
        }
        let endpoints = live(&self.endpoints);
        for family in endpoint::FAMILIES.iter().chain(push::FAMILIES) {
            family.write(endpoints.iter().map(|handle| (handle.labels(), &**handle)), &mut text);
        }
        text
    }

    /// The names of all families of links and endpoints, and of the daemon's that have a series.
    pub fn names(&self) -> Vec<String> {
        let links = link::FAMILIES.iter().map(|family| family.name);
        let endpoints = endpoint::FAMILIES.iter().chain(push::FAMILIES).map(|family| family.name);
        let mut names = self.daemon.names();
        names.extend(links.chain(endpoints).map(str::to_owned));
        names
    }

    /// The last holder drops `handle`; a newer one of that key stays.
    pub(super) fn release_link(&self, key: &Key, handle: *const LinkMetrics) {
        release(&self.links, key, handle);
    }

    /// As [`Self::release_link`], for an endpoint.
    pub(super) fn release_endpoint(&self, name: &Arc<str>, handle: *const EndpointMetrics) {
        release(&self.endpoints, name, handle);
    }
}

/// The handle of that key, made if there is none.
fn held<K: Ord + Clone, T>(all: &Mutex<BTreeMap<K, Weak<T>>>, key: K, make: impl FnOnce(K) -> T) -> Arc<T> {
    let mut all = all.lock();
    if let Some(handle) = all.get(&key).and_then(Weak::upgrade) {
        return handle;
    }
    let handle = Arc::new(make(key.clone()));
    all.insert(key, Arc::downgrade(&handle));
    handle
}

/// Those that somebody holds. The last of one may be dropped here, so the map must not be locked any more.
fn live<K, T>(all: &Mutex<BTreeMap<K, Weak<T>>>) -> Vec<Arc<T>> {
    all.lock().values().filter_map(Weak::upgrade).collect()
}

fn release<K: Ord, T>(all: &Mutex<BTreeMap<K, Weak<T>>>, key: &K, handle: *const T) {
    let mut all = all.lock();
    if all.get(key).is_some_and(|weak| std::ptr::eq(weak.as_ptr(), handle)) {
        all.remove(key);
    }
}
