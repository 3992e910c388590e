//! What a pool keeps, each part in its own room: made once, and shared by those who act on it.

use std::{
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use tokio::sync::Notify;

use super::{
    admission::AdmissionControl, dead::DeadLetters, endpoints::Endpoints, noted::Noted, probes::Probes,
    receipts::Receipts, rejections::Rejections, settings::Settings, spool::Spool,
};
use crate::{
    clock::Calendar,
    hub::{Hub, Inboxes},
    link::Provider,
    observer::Observer,
};
use wskeeper_core::{budget::Budget, inbox};

/// The parts of a pool.
#[derive(Debug)]
pub(super) struct PoolParts {
    pub(super) endpoints: Arc<Endpoints>,
    pub(super) receipts: Arc<Receipts>,
    pub(super) spool: Arc<Spool>,
    pub(super) dead: Arc<DeadLetters>,
    /// What servers said that refused links.
    pub(super) rejections: Arc<Rejections>,
    pub(super) admission: Arc<AdmissionControl>,
    pub(super) observer: Arc<dyn Observer>,
    pub(super) provider: Arc<dyn Provider>,
    /// Endpoints with links that are parked.
    pub(super) parked: Arc<Noted>,
    /// Endpoints with links that are away from home.
    pub(super) strays: Arc<Noted>,
    /// Who asks whether first URLs are back.
    pub(super) probes: Arc<Probes>,
    pub(super) calendar: Calendar,
    pub(super) budget: Arc<Budget>,
    /// The pool's own log: every endpoint's events but messages.
    pub(super) log: Arc<Hub>,
    /// Wakes who looks after what is subscribed to.
    pub(super) wake_subscriptions: Arc<Notify>,
    /// The least cursor with which an inbox of this run begins.
    pub(super) first_cursor: u64,
}

/// Events that the pool's own log keeps.
const LOG: inbox::Policy = inbox::Policy { max_messages: 0, max_bytes: 0, max_message: 0, durable: false };

impl PoolParts {
    /// Those of a pool without endpoints yet, whatever `settings` name.
    pub(super) fn new(settings: &Settings, observer: Arc<dyn Observer>) -> Arc<Self> {
        let budget = Budget::with_holders(settings.memory, Box::<Inboxes>::default());
        let endpoints = Arc::<Endpoints>::default();
        let admission =
            AdmissionControl::new(settings.admission.clone(), Arc::clone(&observer), Arc::downgrade(&endpoints));
        let calendar = settings.calendar.clone();
        let receipts = Receipts::new(settings.receipts, calendar.clone());
        let first_cursor = first_cursor(calendar.now());
        Arc::new(Self {
            endpoints,
            spool: Spool::new(Arc::clone(&receipts), calendar.clone()),
            receipts,
            dead: Arc::default(),
            rejections: Rejections::new(&budget),
            admission,
            observer,
            provider: Arc::clone(&settings.provider),
            parked: Arc::default(),
            strays: Arc::default(),
            probes: Arc::default(),
            calendar,
            log: Hub::new(LOG, 1, &budget, first_cursor),
            budget,
            wake_subscriptions: Arc::default(),
            first_cursor,
        })
    }
}

/// Cursors of this run start above every cursor of an earlier one, as long as no inbox took a million entries a second.
pub(super) fn first_cursor(now: SystemTime) -> u64 {
    let since = now.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or_default().saturating_mul(1000)
}
