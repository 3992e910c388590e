//! Durable inboxes of endpoints: whose inbox is written to disk, and what comes back of it after a restart.
//!
//! What a reader would get wrong: an inbox that is durable may have begun before the store could be opened. What it writes then takes the
//! place of what was there.

use std::{collections::BTreeMap, sync::Arc, time::SystemTime};

use tokio::time::Instant;

use super::{endpoints::Endpoints, inbox_writer::InboxWriter, runtime::EndpointRuntime, spool::Spool};
use crate::{hub::Past, store::KeptInbox};
use wskeeper_core::entry::{Entry, Item};

/// The first cursor of a run is so far above the last one known, even where the clock was set back. No run gives more in the time
/// in which the disk falls behind.
const LEAP: u64 = 1_000_000_000;

/// What an earlier life has left of inboxes that nobody has taken up. One that is durable began before the store could be
/// opened: what it writes takes the place of what was there.
pub(super) fn drop_inboxes(spool: &Arc<Spool>, endpoints: &Endpoints) {
    for name in spool.take_inboxes().into_keys() {
        if !endpoints.get(&name).is_some_and(|runtime| runtime.config().inbox.durable) {
            spool.forget_inbox(&name);
        }
    }
}

/// Has a durable inbox written to disk. All up to `stored` is there.
pub(super) fn write_inbox(spool: &Arc<Spool>, runtime: &EndpointRuntime, durable: bool, stored: u64) {
    if durable {
        let (inbox, spool) = (Arc::clone(&runtime.sinks.inbox), Arc::clone(spool));
        runtime.set_inbox_writer(InboxWriter::start(
            Arc::clone(&runtime.name),
            inbox,
            spool,
            Arc::clone(&runtime.observer),
            stored,
        ));
    }
}

/// An inbox is not to be on disk any more.
pub(super) async fn forget_inbox(spool: &Arc<Spool>, runtime: &EndpointRuntime) {
    if let Some(inbox_writer) = runtime.take_inbox_writer() {
        inbox_writer.stop().await;
        spool.forget_inbox(&runtime.name);
    }
}

/// Follows a change of `inbox.durability`.
pub(super) async fn follow_inbox(spool: &Arc<Spool>, runtime: &EndpointRuntime, before: bool, after: bool) {
    match (before, after) {
        (false, true) => write_inbox(spool, runtime, true, 0),
        (true, false) => forget_inbox(spool, runtime).await,
        (true, true) | (false, false) => {}
    }
}

/// Waits until the closed inboxes are on disk: the cursors of the last entries of those that are.
pub(super) async fn seal(runtimes: &[Arc<EndpointRuntime>], deadline: Instant) -> BTreeMap<Arc<str>, u64> {
    let mut sealed = BTreeMap::new();
    for runtime in runtimes {
        let Some(mut inbox_writer) = runtime.take_inbox_writer() else { continue };
        let last = tokio::time::timeout_at(deadline, inbox_writer.finish()).await;
        sealed.extend(last.ok().flatten().map(|last| (Arc::clone(&runtime.name), last)));
    }
    sealed
}

/// What an earlier run left, as an inbox takes it up; cursors begin at `first` or later. Second, the cursor up to which all
/// of it is on disk.
pub(super) fn past(kept: KeptInbox, first: u64) -> (Past, u64) {
    let KeptInbox { entries, sealed } = kept;
    let last = entries.last().map_or(0, |(_, entry)| entry.cursor);
    let sealed = sealed.filter(|sealed| *sealed >= last);
    let known = sealed.unwrap_or(last);
    let first = if known < first { first } else { known + LEAP };
    (Past { entries, first, after: sealed.unwrap_or(first - 1) }, known)
}

/// Since when each link of an inbox has been down, as far as its entries tell: a link that was up when they end has been heard
/// until then.
pub(super) fn heard_until(entries: &[(u64, Entry)]) -> BTreeMap<u32, SystemTime> {
    let mut links: BTreeMap<u32, Option<SystemTime>> = BTreeMap::new();
    for (_, entry) in entries {
        let down = links.entry(entry.link.index);
        match &entry.item {
            Item::Open { .. } | Item::Message(_) => {
                *down.or_default() = None;
            }
            // An attempt that failed, where there has been no connection, tells nothing of one.
            Item::Close(_) if entry.generation > 0 => {
                down.or_default().get_or_insert(entry.at);
            }
            Item::Close(_) | Item::Error { .. } | Item::Phase { .. } | Item::LinkGap { .. } => {}
        }
    }
    let last = entries.last().map(|(_, entry)| entry.at);
    links.into_iter().filter_map(|(link, down)| Some((link, down.or(last)?))).collect()
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;
    use wskeeper_core::{
        close::{Cause, Closed},
        event::LinkId,
    };

    fn entry(cursor: u64, index: u32, generation: u64, item: Item) -> (u64, Entry) {
        let at = UNIX_EPOCH + Duration::from_secs(cursor);
        (cursor - 1, Entry { cursor, at, link: LinkId { endpoint: "feed".into(), index }, generation, item })
    }

    fn open() -> Item {
        Item::Open { protocol: "".into(), extensions: "".into() }
    }

    fn close() -> Item {
        let (reason, detail) = ("".into(), "".into());
        Item::Close(Arc::new(Closed {
            code: 1006,
            reason,
            was_clean: false,
            cause: Cause::Reset,
            sent_code: None,
            status: None,
            label: None,
            detail,
        }))
    }

    #[test]
    fn a_link_is_down_since_its_close_or_since_nothing_more_is_known_of_it() {
        let entries = [
            entry(1, 0, 1, open()),
            entry(2, 1, 1, open()),
            entry(3, 0, 1, close()),
            entry(4, 0, 1, close()),
            entry(5, 2, 0, close()),
            entry(6, 3, 4, Item::Message("x".into())),
        ];
        let at = |second| UNIX_EPOCH + Duration::from_secs(second);
        assert_eq!(heard_until(&entries), BTreeMap::from([(0, at(3)), (1, at(6)), (3, at(6))]));
    }

    #[test]
    fn a_sealed_inbox_goes_on_and_another_has_a_gap() {
        let kept = |sealed| KeptInbox { entries: vec![entry(7, 0, 1, open())], sealed };
        let told = |sealed, first| {
            let (past, stored) = past(kept(sealed), first);
            (past.first, past.after, stored)
        };
        assert_eq!(told(Some(7), 100), (100, 7, 7));
        assert_eq!(told(Some(9), 100), (100, 9, 9));
        assert_eq!(told(None, 100), (100, 99, 7));
        // The seal of another time, and a clock that was set back.
        assert_eq!(told(Some(6), 100), (100, 99, 7));
        assert_eq!(told(None, 5), (7 + LEAP, 6 + LEAP, 7));
        let empty = past(KeptInbox { entries: Vec::new(), sealed: Some(50) }, 100).0;
        assert_eq!((empty.first, empty.after), (100, 50));
    }
}
