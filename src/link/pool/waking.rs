//! Wakes links that are parked for a refusal once a file changes that their credentials are read from.
//!
//! What a reader would get wrong: a file that is being written changes again. A change counts when two looks have found the same, and it is
//! not what the last attempt has read.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use tokio::time::{sleep, timeout};

use super::{endpoints::Endpoints, noted::Noted};
use crate::{endpoint::file::FileMarks, link::Order};
use wskeeper_core::phase::Phase;

/// Between two looks, which are made only while a link is parked, and at its endpoint only.
const PAUSE: Duration = Duration::from_secs(1);
/// A file system that hangs holds up the others for so long.
const PATIENCE: Duration = Duration::from_secs(1);

/// Looks, again and again.
pub(super) async fn wake_parked(endpoints: Arc<Endpoints>, parked: Arc<Noted>) {
    let mut seen: BTreeMap<Arc<str>, FileMarks> = BTreeMap::new();
    loop {
        let mut now: BTreeMap<Arc<str>, FileMarks> = BTreeMap::new();
        for name in parked.take().await {
            let Some(runtime) = endpoints.get(&name).filter(|runtime| runtime.has_parked()) else { continue };
            parked.note(&name);
            let Some(marks) = timeout(PATIENCE, runtime.changed_files()).await.ok().flatten() else { continue };
            if seen.get(&runtime.name) != Some(&marks) {
                now.insert(Arc::clone(&runtime.name), marks);
                continue;
            }
            tracing::info!(endpoint = %runtime.name, "a file of the credentials has changed: parked links try again");
            for slot in runtime.slots().into_iter().filter(|slot| slot.load().phase == Phase::Parked) {
                // Where its orders are full it is not at rest.
                let _ = slot.orders.try_send(Box::new(Order::CredentialsChanged));
            }
        }
        seen = now;
        sleep(PAUSE).await;
    }
}
