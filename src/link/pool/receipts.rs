//! The pool's receipts: the core's ledger made shareable, with those who wait for a state.
//!
//! A waiter is woken by the change it waits for, never by polling. An end wakes every waiter of the message, because what
//! it waits for can no longer come.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, SystemTime},
};

use parking_lot::{Mutex, MutexGuard};
use tokio::{
    sync::watch,
    time::{Instant, MissedTickBehavior},
};

use super::view::RequestsView;
use crate::clock::Calendar;
use wskeeper_core::{
    body::Body,
    clock::Clock,
    event::LinkId,
    message::MessageId,
    outbox::{Ended, Refusal},
    receipt::{CLAIM, EndReason, FAR, Ledger, Receipt, State},
    requests::Reply,
};

/// How often old receipts are looked for; a daemon in use forgets them by the way.
const TIDY: Duration = Duration::from_secs(10);

/// Receipts and those who wait.
#[derive(Debug)]
pub(super) struct Receipts {
    book: Mutex<Book>,
    calendar: Calendar,
}

#[derive(Debug)]
struct Book {
    ledger: Ledger,
    waiting: BTreeMap<MessageId, watch::Sender<()>>,
    /// Messages that are neither accepted nor refused yet, where somebody may wait for it.
    undecided: BTreeMap<MessageId, watch::Sender<Option<Verdict>>>,
    /// Requests, and their replies once they have come.
    replies: BTreeMap<MessageId, Option<Reply>>,
}

/// Whether a message was accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Verdict {
    Accepted,
    /// Its outbox refused it.
    Refused(Refusal),
    /// The disk did not take it, and why.
    NotStored(Arc<str>),
}

/// Where a verdict is heard. One that ends without a verdict: the message was never tried.
pub(super) type Hearing = watch::Receiver<Option<Verdict>>;

/// What became of a receipt that was to be entered.
pub(super) enum Entered {
    /// It is there.
    First(Option<Hearing>),
    /// The idempotency key has led to this one before, and its verdict is heard there if it is still to come.
    Repeat(Receipt, Option<Hearing>),
}

impl Receipts {
    /// At most `limit` receipts of messages that are at rest.
    pub(super) fn new(limit: usize, calendar: Calendar) -> Arc<Self> {
        let book = Book {
            ledger: Ledger::new(limit),
            waiting: BTreeMap::new(),
            undecided: BTreeMap::new(),
            replies: BTreeMap::new(),
        };
        Arc::new(Self { book: Mutex::new(book), calendar })
    }

    /// Forgets what has been kept long enough, also where nothing is sent any more. Runs as long as the pool.
    pub(super) async fn run(self: Arc<Self>) {
        let mut tidy = tokio::time::interval(TIDY);
        tidy.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let now = tidy.tick().await;
            self.book().ledger.expire(now.into_std());
        }
    }

    /// Enters receipts, all that follow each other at once. Nothing else happens to any receipt meanwhile.
    pub(super) fn entering(&self) -> Entering<'_> {
        let now = Instant::now().into_std();
        let mut book = self.book();
        book.ledger.expire(now);
        Entering { book, now }
    }

    /// Enters a message of an earlier life; `until` when its receipt is kept, where it is at rest.
    pub(super) fn restore(&self, receipt: Receipt, until: Option<SystemTime>, claim: Option<(Box<str>, SystemTime)>) {
        let (now, wall) = (Instant::now().into_std(), self.calendar.now());
        let moment = |at: SystemTime| now.later(at.duration_since(wall).unwrap_or_default().min(FAR));
        let claim = claim.map(|(key, until)| (key, moment(until)));
        self.book().ledger.restore(receipt, CLAIM, until.map(moment), claim);
    }

    /// A message of an earlier life has an endpoint again, which says how long its receipt is kept after its end.
    pub(super) fn set_keep(&self, id: MessageId, keep: Duration) {
        self.book().ledger.set_keep(id, keep);
    }

    /// Another link holds the message now.
    pub(super) fn rehome(&self, id: MessageId, to: &LinkId) {
        self.book().ledger.rehome(id, &to.endpoint, to.index);
    }

    /// How long a message's receipt is kept after its end; the idempotency key that leads to it, and until when.
    pub(super) fn terms(&self, id: MessageId) -> (Duration, Option<(Box<str>, SystemTime)>) {
        let (now, wall) = (Instant::now().into_std(), self.calendar.now());
        let book = self.book();
        let claim = book.ledger.claim(id);
        let claim = claim.map(|(key, until)| (key.into(), wall.later(until.saturating_duration_since(now))));
        (book.ledger.keep(id).unwrap_or(CLAIM), claim)
    }

    /// The message of an idempotency key, accepted or undecided.
    pub(super) fn first_of(&self, endpoint: &Arc<str>, key: &str) -> Option<(Receipt, Option<Hearing>)> {
        self.book().first_of(endpoint, key)
    }

    /// The verdict on a message, for all who wait for it. The receipt of one that was not accepted is gone, and its key is free.
    pub(super) fn decide(&self, id: MessageId, verdict: Verdict) {
        let mut book = self.book();
        if verdict != Verdict::Accepted {
            book.withdraw(id);
        }
        if let Some(hearing) = book.undecided.remove(&id) {
            hearing.send_replace(Some(verdict));
        }
    }

    /// So many messages were not accepted, and nobody has heard of them.
    pub(super) fn withdraw(&self, id: MessageId, count: u32) {
        self.book().ledger.withdraw(id, count);
    }

    /// The message was never tried: whoever repeats it may.
    pub(super) fn forget(&self, id: MessageId) {
        let mut book = self.book();
        book.withdraw(id);
        book.undecided.remove(&id);
    }

    /// Messages reached states. Where what is written `is_held`, it stays until the peer has proved to have read it.
    pub(super) fn advance(
        &self,
        reached: &[Ended],
        (now, at): (std::time::Instant, SystemTime),
        generation: Option<u64>,
        is_held: bool,
    ) {
        let mut book = self.book();
        for Ended { id, count, state, end_reason } in reached {
            let has_moved = if is_held && *state == State::Written {
                book.ledger.advance_unproven(at, (*id, *count), generation)
            } else {
                book.ledger.advance(now, at, (*id, *count), (*state, *end_reason), generation)
            };
            if has_moved && !book.waiting.is_empty() {
                for (_, waiters) in book.waiting.range(*id..id.later(*count)) {
                    waiters.send_replace(());
                }
            }
        }
    }

    /// One message reached a state, and no link tells of it.
    pub(super) fn end(&self, id: MessageId, at: SystemTime, state: State, end_reason: Option<EndReason>) {
        self.advance(&[Ended { id, count: 1, state, end_reason }], (Instant::now().into_std(), at), None, false);
    }

    /// A reply to this message is to be kept until it is taken.
    pub(super) fn expect_reply(&self, id: MessageId) {
        self.book().replies.insert(id, None);
    }

    /// A reply has come.
    pub(super) fn reply(&self, reply: Reply) {
        if let Some(kept) = self.book().replies.get_mut(&reply.id) {
            *kept = Some(reply);
        }
    }

    /// The reply to a message, if it has come; none is kept from now on.
    pub(super) fn take_reply(&self, id: MessageId) -> Option<Reply> {
        self.book().replies.remove(&id).flatten()
    }

    /// Requests of an endpoint that have not ended, or of one of its links.
    pub(super) fn requests(&self, endpoint: &str, link: Option<u32>) -> RequestsView {
        let (book, mut requests) = (self.book(), RequestsView::default());
        let open = book.replies.iter().filter(|(_, reply)| reply.is_none());
        for receipt in open.filter_map(|(id, _)| book.ledger.get(*id)) {
            if &*receipt.endpoint != endpoint || link.is_some_and(|link| link != receipt.link) {
                continue;
            }
            match receipt.state {
                State::Queued | State::Stored => requests.waiting += 1,
                State::Written => requests.asked += 1,
                State::Confirmed | State::Unknown | State::Expired | State::Dropped | State::Dead => {}
            }
        }
        requests
    }

    pub(super) fn get(&self, id: MessageId) -> Option<Receipt> {
        self.book().ledger.get(id)
    }

    /// Ends every message of a link whose task is gone, but for those `kept` on disk: what was held is lost with it. Answers
    /// with the ends.
    pub(super) fn abandon(&self, endpoint: &str, link: u32, kept: &[MessageId], end_reason: EndReason) -> Vec<State> {
        let open = self.book().ledger.unsettled(endpoint, link);
        open.into_iter()
            .filter(|(id, _)| !kept.contains(id))
            .map(|(id, state)| {
                let end = if state == State::Written { State::Unknown } else { State::Dropped };
                self.end(id, self.calendar.now(), end, Some(end_reason));
                end
            })
            .collect()
    }

    /// Waits until the message has reached `wanted`, or has ended, or patience has.
    pub(super) async fn settle(&self, id: MessageId, wanted: State, patience: Duration) -> Option<Receipt> {
        let mut waiter = {
            let mut book = self.book();
            let receipt = book.ledger.get(id)?;
            if is_settled(receipt.state, wanted) {
                return Some(receipt);
            }
            let changed = book.waiting.entry(id).or_insert_with(|| watch::channel(()).0).subscribe();
            Waiter { receipts: self, id, changed }
        };
        let _ = tokio::time::timeout(patience, async {
            while waiter.changed.changed().await.is_ok() {
                if self.get(id).is_none_or(|receipt| is_settled(receipt.state, wanted)) {
                    break;
                }
            }
        })
        .await;
        self.get(id)
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock()
    }
}

impl Book {
    fn first_of(&self, endpoint: &Arc<str>, key: &str) -> Option<(Receipt, Option<Hearing>)> {
        let first = self.ledger.first_of(endpoint, key)?;
        let hearing = self.undecided.get(&first.id).map(watch::Sender::subscribe);
        Some((first, hearing))
    }

    fn withdraw(&mut self, id: MessageId) {
        self.ledger.withdraw(id, 1);
        self.waiting.remove(&id);
        self.replies.remove(&id);
    }
}

/// Receipts are being entered.
pub(super) struct Entering<'a> {
    book: MutexGuard<'a, Book>,
    now: std::time::Instant,
}

impl Entering<'_> {
    /// Enters a receipt, and the key is its; unless the key has a message already. Where the verdict `is_awaited`, it can be heard.
    pub(super) fn enter(&mut self, receipt: Receipt, keep: Duration, key: Option<&str>, is_awaited: bool) -> Entered {
        if let Some((first, hearing)) = key.and_then(|key| self.book.first_of(&receipt.endpoint, key)) {
            return Entered::Repeat(first, hearing);
        }
        let Book { ledger, undecided, .. } = &mut *self.book;
        let id = receipt.id;
        ledger.accept(self.now, receipt, keep, key);
        Entered::First(is_awaited.then(|| undecided.entry(id).or_insert_with(|| watch::channel(None).0).subscribe()))
    }

    /// Enters messages that nobody waits for: the receipt is that of the first.
    pub(super) fn enter_all(&mut self, receipt: Receipt, keep: Duration, body: &Body) {
        match body {
            Body::One(_) => self.book.ledger.accept(self.now, receipt, keep, None),
            Body::Run(run) => self.book.ledger.accept_run(receipt, keep, body.count(), run.lengths()),
        }
    }

    /// The message of an idempotency key.
    pub(super) fn first_of(&self, endpoint: &Arc<str>, key: &str) -> Option<(Receipt, Option<Hearing>)> {
        self.book.first_of(endpoint, key)
    }
}

/// Someone who waits for a message. The last to go, also one who gave up waiting, takes the entry away.
struct Waiter<'a> {
    receipts: &'a Receipts,
    id: MessageId,
    changed: watch::Receiver<()>,
}

impl Drop for Waiter<'_> {
    fn drop(&mut self) {
        let mut book = self.receipts.book();
        // This one still counts.
        if book.waiting.get(&self.id).is_some_and(|waiters| waiters.receiver_count() <= 1) {
            book.waiting.remove(&self.id);
        }
    }
}

/// Whether there is nothing to wait for: it is there, or past it, or can no longer come.
fn is_settled(state: State, wanted: State) -> bool {
    state.is_end() || state >= wanted
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    fn receipt(id: MessageId) -> Receipt {
        let at = SystemTime::UNIX_EPOCH;
        Receipt {
            id,
            endpoint: "e".into(),
            link: 0,
            state: State::Queued,
            bytes: 1,
            accepted_at: at,
            updated_at: at,
            generation: None,
            end_reason: None,
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_receipt_and_a_key_of_an_earlier_life_are_kept_until_their_date() {
        let date = |seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        let receipts = Receipts::new(10, Calendar::new(move || date(1_000)));
        let [first, second] = [1, 2].map(|id| Receipt { state: State::Confirmed, ..receipt(MessageId(id)) });
        receipts.restore(first, Some(date(1_010)), None);
        receipts.restore(second, Some(date(1_020)), Some(("once".into(), date(1_030))));
        assert_eq!(receipts.terms(MessageId(2)).1, Some(("once".into(), date(1_030))));
        let known = |receipts: &Receipts| {
            receipts.entering();
            [1, 2].map(|id| receipts.get(MessageId(id)).is_some())
        };
        tokio::time::advance(Duration::from_secs(9)).await;
        assert_eq!(known(&receipts), [true, true]);
        tokio::time::advance(Duration::from_secs(2)).await;
        assert_eq!(known(&receipts), [false, true]);
        tokio::time::advance(Duration::from_secs(20)).await;
        assert_eq!(known(&receipts), [false, false]);
    }

    #[tokio::test]
    async fn a_caller_that_gives_up_waiting_leaves_nothing_behind() {
        let (receipts, id) = (Receipts::new(10, Calendar::default()), MessageId(1));
        assert!(matches!(receipts.entering().enter(receipt(id), Duration::ZERO, None, false), Entered::First(None)));
        let mut waiting = Box::pin(receipts.settle(id, State::Written, Duration::from_mins(1)));
        assert!((&mut waiting).now_or_never().is_none());
        let other = receipts.settle(id, State::Written, Duration::from_mins(1));
        assert!(other.now_or_never().is_none());
        assert_eq!(receipts.book().waiting.len(), 1);
        drop(waiting);
        assert_eq!(receipts.book().waiting.len(), 0);
    }
}
