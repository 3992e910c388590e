//! The bucket that the links of an endpoint share, where its messages are paced together.
//!
//! What a reader would get wrong: nobody waits in its lock. A link is given the moment of its turn and waits for that by itself.

use std::{sync::Arc, time::Instant};

use parking_lot::Mutex;

use super::runtime::EndpointRuntime;
use wskeeper_core::bucket::{Bucket, Pacing, SharedBucket};

/// Behind the lock that the core has none of.
#[derive(Debug)]
pub(super) struct EndpointBucket {
    pacing: Pacing,
    bucket: Mutex<Bucket>,
}

impl SharedBucket for EndpointBucket {
    fn lend(&self, act: &mut dyn FnMut(&mut Bucket)) {
        act(&mut self.bucket.lock());
    }
}

impl EndpointBucket {
    /// Where there is anything to wait for.
    pub(super) fn of(pacing: Pacing) -> Option<Arc<Self>> {
        pacing.is_limited().then(|| Arc::new(Self { pacing, bucket: Mutex::new(Bucket::new(pacing)) }))
    }

    /// As if all of a burst had just left.
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a burst is a number of messages or bytes"
    )]
    fn empty(&self, now: Instant) {
        self.bucket.lock().take(now, self.pacing.most_messages() as u32, self.pacing.most_bytes() as u64);
    }
}

impl EndpointRuntime {
    /// What its links share.
    pub(super) fn bucket(&self) -> Option<Arc<dyn SharedBucket>> {
        let bucket = self.bucket.lock().clone();
        bucket.map(|bucket| bucket as Arc<dyn SharedBucket>)
    }

    /// Follows other rates, by another bucket: turns that were given at the old ones mean nothing. Nobody knows what has left a moment
    /// ago, so it begins empty.
    pub(super) fn pace(&self, pacing: Pacing) {
        let mut bucket = self.bucket.lock();
        if bucket.as_ref().is_none_or(|bucket| bucket.pacing != pacing) {
            *bucket = EndpointBucket::of(pacing);
            if let Some(bucket) = &*bucket {
                bucket.empty(tokio::time::Instant::now().into_std());
            }
        }
    }
}
