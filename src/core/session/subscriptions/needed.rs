//! The wishes that `ready` waits for: those that stood when the connection began to ask, and in a rotation those that the old connection
//! has asked for meanwhile.
//!
//! What a reader would get wrong: it never grows by what programs put, for they may put keys faster than these can be asked for. What has
//! come since is asked for behind these, whether the connection is ready or not.

use std::collections::BTreeSet;

/// What is still to come, by places.
#[derive(Debug, Default)]
pub(super) struct Needed {
    /// To be said.
    due: BTreeSet<u64>,
    /// Said, and not answered.
    open: BTreeSet<u64>,
}

impl Needed {
    /// This one is waited for until it is said, and answered.
    pub(super) fn add(&mut self, place: u64) {
        self.due.insert(place);
    }

    /// The same of one that is said already.
    pub(super) fn add_open(&mut self, place: u64) {
        self.open.insert(place);
    }

    /// It was said, and the peer is to answer.
    pub(super) fn said(&mut self, place: u64) {
        if self.due.remove(&place) {
            self.open.insert(place);
        }
    }

    /// It is answered, or nobody wants it any more.
    pub(super) fn done(&mut self, place: u64) {
        self.due.remove(&place);
        self.open.remove(&place);
    }

    /// Whether all have been said; and answered, where `answers` are waited for.
    pub(super) fn is_over(&self, answers: bool) -> bool {
        self.due.is_empty() && (!answers || self.open.is_empty())
    }
}
