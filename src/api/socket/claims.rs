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
