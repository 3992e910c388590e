//! Which endpoints have something to be looked after, for who does that.
//!
//! What a reader would get wrong: nobody strikes an endpoint off. Who takes the list looks which of them still have it, and notes those again.

use std::{collections::BTreeSet, sync::Arc};

use parking_lot::Mutex;
use tokio::sync::Notify;

/// Endpoints that may have something to be looked after.
#[derive(Debug, Default)]
pub(super) struct Noted {
    endpoints: Mutex<BTreeSet<Arc<str>>>,
    news: Notify,
}

impl Noted {
    /// This endpoint has.
    pub(super) fn note(&self, endpoint: &Arc<str>) {
        if self.endpoints.lock().insert(Arc::clone(endpoint)) {
            self.news.notify_one();
        }
    }

    /// Waits until there is one, and takes all.
    pub(super) async fn take(&self) -> BTreeSet<Arc<str>> {
        loop {
            let endpoints = std::mem::take(&mut *self.endpoints.lock());
            if !endpoints.is_empty() {
                return endpoints;
            }
            self.news.notified().await;
        }
    }
}
