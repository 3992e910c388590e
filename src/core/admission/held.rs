//! Requests that outages hold back, in line for each of their addresses.
//!
//! One waits in as many lines as it has addresses: it leaves all of them at once.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    sync::Arc,
};

use super::{Elsewhere, Waiting, outages::Scope};

/// Requests that are held.
#[derive(Debug, Default)]
pub(super) struct Held {
    /// By each of their addresses and their endpoint.
    by_address: BTreeMap<(SocketAddr, Arc<str>), BTreeSet<u64>>,
    /// Those that have other URLs, by their endpoint.
    elsewhere: BTreeMap<Arc<str>, BTreeSet<u64>>,
    count: usize,
}

impl Held {
    /// Holds a request.
    pub(super) fn insert(&mut self, ticket: u64, request: &Waiting) {
        let endpoint = &request.link.endpoint;
        for address in &request.addresses {
            self.by_address.entry((*address, Arc::clone(endpoint))).or_default().insert(ticket);
        }
        if request.elsewhere == Elsewhere::Tried {
            self.elsewhere.entry(Arc::clone(endpoint)).or_default().insert(ticket);
        }
        self.count += 1;
    }

    /// Holds it no more, if it did.
    pub(super) fn remove(&mut self, ticket: u64, request: &Waiting) {
        if !request.held {
            return;
        }
        let endpoint = &request.link.endpoint;
        for address in &request.addresses {
            leave(&mut self.by_address, &(*address, Arc::clone(endpoint)), ticket);
        }
        leave(&mut self.elsewhere, endpoint, ticket);
        self.count -= 1;
    }

    /// How many are held.
    pub(super) fn count(&self) -> usize {
        self.count
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.count == 0 && self.by_address.is_empty() && self.elsewhere.is_empty()
    }

    /// How many come before this one, where it is nearest to the front.
    pub(super) fn ahead(&self, ticket: u64, request: &Waiting) -> Option<usize> {
        let line = |address: &SocketAddr| self.by_address.get(&(*address, Arc::clone(&request.link.endpoint)));
        request.addresses.iter().filter_map(line).map(|line| line.range(..ticket).count()).min()
    }

    /// Those of this endpoint that have other URLs.
    pub(super) fn with_other_urls(&self, endpoint: &str) -> Vec<u64> {
        self.elsewhere.get(endpoint).map(|tickets| tickets.iter().copied().collect()).unwrap_or_default()
    }

    /// Whether somebody waits for this scope.
    pub(super) fn has(&self, scope: &Scope) -> bool {
        self.of(scope).next().is_some()
    }

    /// The lines of those who wait for this scope.
    pub(super) fn of<'a>(&'a self, (address, endpoint): &'a Scope) -> impl Iterator<Item = &'a BTreeSet<u64>> {
        let first = (*address, endpoint.clone().unwrap_or_default());
        self.by_address
            .range(first..)
            .take_while(move |((of, by), _)| of == address && endpoint.as_ref().is_none_or(|endpoint| endpoint == by))
            .map(|(_, line)| line)
    }
}

fn leave<K: Ord>(lines: &mut BTreeMap<K, BTreeSet<u64>>, key: &K, ticket: u64) {
    if let Some(line) = lines.get_mut(key) {
        line.remove(&ticket);
        if line.is_empty() {
            lines.remove(key);
        }
    }
}
