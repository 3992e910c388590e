//! Keys that programs hold, kept over a restart where the endpoint is durable: each change is handed to the store, and what an earlier life
//! has left comes back when the endpoint begins.
//!
//! What a reader would get wrong: a disk that refuses a key refuses no subscription. It is held in memory, said in the log, and tried again.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant, UNIX_EPOCH},
};

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tokio::sync::{Notify, watch};

use super::{runtime::EndpointRuntime, spool::Spool};
use crate::{clock::Calendar, store::Op};
use wskeeper_core::{
    clock::{Clock, since_epoch},
    message::{Kind, Payload},
    subscriptions::{Lasting, Set},
};

/// A lease that ends before this is over after a restart goes on so long: nobody could renew it meanwhile.
const GRACE: Duration = Duration::from_secs(5);
/// When the disk is asked again that has refused.
pub(super) const RETRY: Duration = Duration::from_secs(1);
/// How long somebody waits who wants to know that a key is on disk.
const PATIENCE: Duration = Duration::from_secs(5);

/// What an endpoint has handed to the store.
#[derive(Debug)]
pub(super) struct Handed {
    count: AtomicU64,
    done: watch::Sender<u64>,
    refused: Mutex<BTreeSet<Arc<str>>>,
    /// Those that were refused last.
    lacking: Mutex<BTreeSet<Arc<str>>>,
    wake: Arc<Notify>,
}

/// A row, as JSON.
#[derive(Serialize, Deserialize)]
struct Row {
    place: u64,
    text: Option<String>,
    binary: Option<Vec<u8>>,
    /// Each, and the millisecond since 1970 at which the lease ends.
    holders: BTreeMap<Arc<str>, Option<u64>>,
}

impl Handed {
    pub(super) fn new(wake: &Arc<Notify>) -> Arc<Self> {
        Arc::new(Self {
            count: AtomicU64::new(0),
            done: watch::Sender::new(0),
            refused: Mutex::default(),
            lacking: Mutex::default(),
            wake: Arc::clone(wake),
        })
    }

    /// Hands over what has changed.
    pub(super) fn hand_over(self: &Arc<Self>, set: &mut Set, endpoint: &Arc<str>, spool: &Spool, calendar: &Calendar) {
        while let Some((key, lasting)) = set.poll_lasting() {
            let kept = lasting.map_or_else(Box::default, |lasting| encode(lasting, calendar));
            self.count.fetch_add(1, Ordering::Relaxed);
            let (this, endpoint) = (Arc::clone(self), Arc::clone(endpoint));
            let of = (Arc::clone(&endpoint), Arc::clone(&key));
            let done = move |outcome: Result<u64, _>| {
                match outcome {
                    Ok(_) => {
                        let mut lacking = this.lacking.lock();
                        if lacking.remove(&key) && lacking.is_empty() {
                            tracing::info!(%endpoint, "who holds which key is on disk again");
                        }
                    }
                    Err(error) => {
                        this.refused.lock().insert(Arc::clone(&key));
                        this.wake.notify_one();
                        let mut lacking = this.lacking.lock();
                        if lacking.insert(key) && lacking.len() == 1 {
                            tracing::warn!(%endpoint, %error, "who holds which key is kept in memory only, until the store takes it");
                        }
                    }
                }
                this.done.send_modify(|done| *done += 1);
            };
            spool.submit(Op::HoldKey { of, kept }, Box::new(done));
        }
    }

    /// Those that the disk has refused.
    pub(super) fn take_refused(&self) -> BTreeSet<Arc<str>> {
        std::mem::take(&mut self.refused.lock())
    }

    /// Waits until the store has said what becomes of all that it was handed, but not for ever.
    pub(super) async fn settled(&self) {
        let wanted = self.count.load(Ordering::Relaxed);
        let mut done = self.done.subscribe();
        // What a store does not take is said where it is known.
        let _ = tokio::time::timeout(PATIENCE, done.wait_for(|done| *done >= wanted)).await;
    }
}

/// Takes up what an earlier life has left for an endpoint, in its order.
pub(super) fn restore(runtime: &EndpointRuntime, set: &mut Set, now: Instant) {
    let left = runtime.sinks.spool.take_keys(&runtime.name);
    let decoded = left.into_iter().filter_map(|(key, kept)| decode(key, &kept, now, &runtime.sinks.calendar));
    let mut lasting: Vec<Lasting> = decoded.collect();
    lasting.sort_by_key(|lasting| lasting.place);
    for lasting in lasting {
        let key = Arc::clone(&lasting.key);
        if let Err(refusal) = set.restore(now, lasting) {
            tracing::warn!(endpoint = %runtime.name, %key, ?refusal, "a key from before the restart is not subscribed to");
        }
    }
}

fn encode(lasting: Lasting, calendar: &Calendar) -> Box<[u8]> {
    let Lasting { key: _, place, message, holders } = lasting;
    let (now, wall) = (tokio::time::Instant::now().into_std(), calendar.now());
    let millis = |until: Instant| {
        let at = wall.checked_add(until.saturating_duration_since(now))?.duration_since(UNIX_EPOCH).ok()?;
        u64::try_from(at.as_millis()).ok()
    };
    let (mut text, mut binary) = (None, None);
    if let Some(message) = message {
        match message.kind() {
            Kind::Text => text = Some(String::from_utf8_lossy(message.bytes()).into_owned()),
            Kind::Binary => binary = Some(message.bytes().to_vec()),
        }
    }
    let holders = holders.into_iter().map(|(name, until)| (name, until.map(|at| millis(at).unwrap_or(u64::MAX))));
    let row = Row { place, text, binary, holders: holders.collect() };
    serde_json::to_vec(&row).unwrap_or_default().into()
}

/// `None`: it was written by somebody else, and is nothing that can be held.
fn decode(key: Arc<str>, kept: &[u8], now: Instant, calendar: &Calendar) -> Option<Lasting> {
    let Row { place, text, binary, holders } = serde_json::from_slice(kept).ok()?;
    let message = text.map(|text| Payload::from(&*text)).or(binary.map(Payload::binary));
    let wall = calendar.now();
    let until = |millis: u64| {
        let left = since_epoch(Duration::from_millis(millis)).duration_since(wall).unwrap_or_default();
        now.later(left.max(GRACE))
    };
    let holders = holders.into_iter().map(|(name, at)| (name, at.map(until))).collect();
    Some(Lasting { key, place, message, holders })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_comes_back_as_it_was_and_a_lease_that_nobody_could_renew_goes_on_for_a_while() {
        let (calendar, now) = (Calendar::default(), tokio::time::Instant::now().into_std());
        for message in [None, Some(Payload::from("+a")), Some(Payload::binary(vec![0, 255]))] {
            let holders = vec![("x".into(), None), ("y".into(), Some(now.later(Duration::from_secs(1))))];
            let lasting = Lasting { key: "a".into(), place: 7, message: message.clone(), holders };
            let back = decode("a".into(), &encode(lasting, &calendar), now, &calendar).unwrap();
            assert_eq!((back.place, back.message), (7, message));
            assert_eq!(back.holders, [("x".into(), None), ("y".into(), Some(now.later(GRACE)))]);
        }
        assert_eq!(decode("a".into(), b"{}", now, &calendar), None);
    }
}
