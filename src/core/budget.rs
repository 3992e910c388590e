//! The byte budget of the whole process: every payload that is held has a share, given back when it is dropped.
//!
//! A share is a guard, so no path through the outbox or the inbox can forget to give bytes back.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

/// How many bytes of payload the process may hold, and holds.
#[derive(Debug)]
pub struct Budget {
    limit: u64,
    used: AtomicU64,
}

impl Budget {
    /// A budget of `limit` bytes.
    pub fn new(limit: u64) -> Arc<Self> {
        Arc::new(Self { limit, used: AtomicU64::new(0) })
    }

    /// Bytes held now.
    pub fn used(&self) -> u64 {
        self.used.load(Ordering::Relaxed)
    }

    /// Bytes that may be held.
    pub fn limit(&self) -> u64 {
        self.limit
    }

    /// A share of `bytes`, or nothing where that would exceed the limit.
    pub fn reserve(self: &Arc<Self>, bytes: usize) -> Option<Share> {
        let bytes = bytes as u64;
        self.used
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |used| {
                used.checked_add(bytes).filter(|sum| *sum <= self.limit)
            })
            .ok()
            .map(|_| Share { budget: Some(Arc::clone(self)), bytes })
    }
}

/// Bytes reserved in a [`Budget`]; dropping it gives them back.
#[derive(Debug, Default)]
pub struct Share {
    budget: Option<Arc<Budget>>,
    bytes: u64,
}

impl Share {
    /// Bytes that are held though there is no room for them.
    pub fn beyond(bytes: u64) -> Self {
        Self { budget: None, bytes }
    }

    /// How many.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }
}

impl PartialEq for Share {
    /// As many bytes, of whatever budget.
    fn eq(&self, other: &Self) -> bool {
        self.bytes == other.bytes
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        if let Some(budget) = &self.budget {
            budget.used.fetch_sub(self.bytes, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dropped_share_is_given_back_and_the_limit_holds() {
        let budget = Budget::new(10);
        let six = budget.reserve(6);
        assert!(six.is_some());
        assert!(budget.reserve(5).is_none());
        assert_eq!(budget.used(), 6);
        drop(six);
        assert_eq!(budget.used(), 0);
        assert!(budget.reserve(10).is_some());
    }
}
