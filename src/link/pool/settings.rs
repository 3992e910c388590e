//! What a pool is to hold, and what it may take for that.
//!
//! What a reader would get wrong: `memory`, `receipts`, `provider` and `calendar` are those that the pool started with; only the rest can be changed later.

use std::{collections::BTreeMap, sync::Arc};

use crate::{
    clock::Calendar,
    endpoint::Endpoint,
    link::{Nobody, Provider},
    store,
};
use wskeeper_core::admission;

/// Endpoints, and what they share.
#[derive(Debug, Clone)]
pub struct Settings {
    /// How many connections may be opened at once, and how fast.
    pub admission: admission::Policy,
    /// Bytes of all that waits: outboxes, inboxes, what arrives and what has not left.
    pub memory: u64,
    /// Receipts kept; the oldest ended ones go first.
    pub receipts: usize,
    /// Where durable outboxes and inboxes are; `None`: there can be none.
    pub store: Option<store::Policy>,
    /// Who does what sessions ask for. That which the pool started with.
    pub provider: Arc<dyn Provider>,
    /// Where the date is read. That which the pool started with.
    pub calendar: Calendar,
    /// By name.
    pub endpoints: BTreeMap<Arc<str>, Arc<Endpoint>>,
}

/// 256 MiB, 100,000 receipts, no store and no endpoint.
impl Default for Settings {
    fn default() -> Self {
        Self {
            admission: admission::Policy::default(),
            memory: 256 << 20,
            receipts: 100_000,
            store: None,
            provider: Arc::new(Nobody),
            calendar: Calendar::default(),
            endpoints: BTreeMap::new(),
        }
    }
}

/// What links that stay do about new settings of their endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Follow {
    /// Nothing.
    Unchanged,
    /// They follow them with the connection that they have.
    Live,
    /// They need a new connection: beside the old one where `link.rotates` says so, else after it.
    Renew,
}
