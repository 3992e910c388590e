//! Connections that programs have opened as their own.
//!
//! What a reader would get wrong: a claim says who has a link's connection now, and which connection anyone has had: what a program has
//! said on one is nothing to the next, which therefore gets a new one.

use std::{collections::BTreeMap, sync::Arc};

use parking_lot::Mutex;

/// Which links are somebody's.
#[derive(Debug, Clone, Default)]
pub(in crate::api) struct Claims(Arc<Mutex<BTreeMap<Link, Held>>>);

/// An endpoint's name, and the number of one of its links.
type Link = (Arc<str>, u32);

#[derive(Debug, Default)]
struct Held {
    is_taken: bool,
    /// The connection that somebody had last.
    used: u64,
}

/// A link that is somebody's, as long as this lives.
#[derive(Debug)]
pub(super) struct Claim {
    claims: Claims,
    link: Link,
    is_exclusive: bool,
}

impl Claims {
    /// Claims a link, unless it is somebody's. Who shares it is in nobody's way.
    pub(super) fn take(&self, endpoint: &Arc<str>, link: u32, is_exclusive: bool) -> Option<Claim> {
        let link = (Arc::clone(endpoint), link);
        if is_exclusive {
            let mut all = self.0.lock();
            let held = all.entry(link.clone()).or_default();
            if std::mem::replace(&mut held.is_taken, true) {
                return None;
            }
        }
        Some(Claim { claims: self.clone(), link, is_exclusive })
    }

    /// An endpoint has gone: connections of another of its name begin at the first number again.
    pub(in crate::api) fn forget(&self, endpoint: &Arc<str>) {
        let links = (Arc::clone(endpoint), 0)..=(Arc::clone(endpoint), u32::MAX);
        let is_free = |_: &Link, held: &mut Held| {
            held.used = 0;
            !held.is_taken
        };
        self.0.lock().extract_if(links, is_free).for_each(drop);
    }
}

impl Claim {
    /// Which link.
    pub(super) fn link(&self) -> u32 {
        self.link.1
    }

    /// Whether nobody has had this connection.
    pub(super) fn is_unused(&self, generation: u64) -> bool {
        self.claims.0.lock().get(&self.link).is_none_or(|held| held.used != generation)
    }

    /// It is used from now on.
    pub(super) fn begin(&self, generation: u64) {
        if let Some(held) = self.claims.0.lock().get_mut(&self.link) {
            held.used = generation;
        }
    }

    /// Whether nobody else has it.
    pub(super) fn is_exclusive(&self) -> bool {
        self.is_exclusive
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        if self.is_exclusive
            && let Some(held) = self.claims.0.lock().get_mut(&self.link)
        {
            held.is_taken = false;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_known_of_an_endpoint_that_has_gone() {
        let (claims, one, other) = (Claims::default(), Arc::from("one"), Arc::from("one-more"));
        let held = claims.take(&one, 3, true).unwrap();
        held.begin(1);
        for endpoint in [&one, &other] {
            let claim = claims.take(endpoint, 0, true).unwrap();
            claim.begin(1);
        }
        claims.forget(&one);
        assert!(claims.take(&one, 3, true).is_none(), "somebody has it yet");
        assert!(held.is_unused(1) && claims.take(&one, 0, true).unwrap().is_unused(1));
        assert!(!claims.take(&other, 0, true).unwrap().is_unused(1));
    }
}
