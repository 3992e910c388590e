//! What a pool tells of the whole, taken to the metrics and the spans; a link's own facts are those of `telling`.
//!
//! What a reader would get wrong: the trait's methods do nothing by themselves, so one that is forgotten would go untold. Clippy refuses
//! that here.

use std::{sync::Arc, time::SystemTime};

use super::{Families, Spans};
use wskeeper_core::event::{Event, LinkId};
use wskeeper_link::observer::{Attempt, EndpointObserver, LinkObserver, Observer, StoreGauges};

/// The daemon's observer of its pool.
#[derive(Debug)]
pub struct Telling {
    families: Arc<Families>,
    /// Where spans go, if anywhere.
    spans: Option<Arc<Spans>>,
}

impl Telling {
    /// One that tells these.
    pub fn new(families: Arc<Families>, spans: Option<Arc<Spans>>) -> Arc<Self> {
        Arc::new(Self { families, spans })
    }
}

#[deny(clippy::missing_trait_methods, reason = "each is to be told")]
impl Observer for Telling {
    fn link(&self, endpoint: &Arc<str>, index: u32) -> Arc<dyn LinkObserver> {
        self.families.link(endpoint, index)
    }

    fn endpoint(&self, name: &Arc<str>) -> Arc<dyn EndpointObserver> {
        self.families.endpoint(name)
    }

    fn transition(&self, link: &LinkId, at: SystemTime, event: &Event, attempt: Attempt<'_>) {
        if let Some(spans) = &self.spans {
            spans.tell(link, at, event, (attempt.url, attempt.number));
        }
    }

    fn admission_waiting(&self, attempts: usize) {
        self.families.admission_waiting(attempts);
    }

    fn orphans_discarded(&self, messages: u64) {
        self.families.orphans_discarded(messages);
    }

    fn payload(&self, held_bytes: u64, limit_bytes: u64) {
        self.families.payload(held_bytes, limit_bytes);
    }

    fn store(&self, store: StoreGauges, dead_letters: usize) {
        self.families.store(store, dead_letters);
    }
}
