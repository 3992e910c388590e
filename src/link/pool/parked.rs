//! Which endpoints have links that are parked, for who wakes them.
//!
//! What a reader would get wrong: nobody strikes an endpoint off. Who takes the list looks which of them still have such a link, and notes
//! those again.

use std::{collections::BTreeSet, sync::Arc};

use parking_lot::Mutex;
use tokio::sync::Notify;

/// Endpoints of which a link may be parked.
#[derive(Debug, Default)]
pub(super) struct Parked {
    endpoints: Mutex<BTreeSet<Arc<str>>>,
    news: Notify,
}

impl Parked {
    /// A link of this endpoint is parked.
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
