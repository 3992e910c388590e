//! A link's place in the pool: what is known of it, and where its facts go.
//!
//! The link's task is the only writer. It tells facts and shows its state; the slot keeps the last state for readers, so
//! that looking at ten thousand links asks none of them anything.

mod judge;

use std::{
    slice,
    sync::{
        Arc, Weak,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::SystemTime,
    vec,
};

use parking_lot::{Mutex, MutexGuard};

use super::{
    dead::{DeadLetter, DeadLetters},
    gauges::Vitals,
    receipts::Receipts,
    recorder::{self, Recorder, Transition},
    shown::Shown,
    spool::{Answer, Spool},
    traffic::Counters,
    view::{Explained, HistoryEntry, LinkView, StandingView},
    watchdog::Rest,
};
use crate::{
    clock::Calendar,
    endpoint::Endpoint,
    hub::{Hub, Item},
    link::{Host, Now, Offer, Order, Orders, Tap},
    observer::{Attempt, LinkObserver, Observer},
};
use wskeeper_core::{
    budget::{Budget, Lease, Rank},
    close::Closed,
    event::{Certificates, Event, LinkId},
    link::{Input, Link},
    message::{Message, MessageId},
    outbox::{self, Delivery, Ended, Keep, Room},
    phase::{Phase, ReadyState},
    receipt::{EndReason, State},
    run::Run,
};

/// Where in a standing the rank begins.
const RANK: u32 = 62;
/// Standings of a link that is ready, and of one that is on the way to it, with nothing queued.
pub(super) const BEST: (u64, u64) = (0, 1 << RANK);

/// Where the facts of an endpoint's links go.
#[derive(Debug)]
pub(super) struct Sinks {
    pub(super) inbox: Arc<Hub>,
    pub(super) log: Arc<Hub>,
    pub(super) receipts: Arc<Receipts>,
    pub(super) spool: Arc<Spool>,
    pub(super) dead: Arc<DeadLetters>,
    pub(super) tap: Arc<Tap>,
    pub(super) observer: Arc<dyn Observer>,
    pub(super) budget: Arc<Budget>,
    pub(super) calendar: Calendar,
    /// How many links show that they are ready.
    pub(super) ready: AtomicUsize,
}

/// One link's place.
#[derive(Debug)]
pub(super) struct Slot {
    pub(super) id: LinkId,
    pub(super) orders: Orders,
    observer: Arc<dyn LinkObserver>,
    sinks: Arc<Sinks>,
    seen: Mutex<Seen>,
    traffic: Counters,
    /// What the disk has answered and the link's task has not fetched yet.
    #[expect(clippy::box_collection, reason = "most links are not durable, and keep a pointer for it")]
    answers: Mutex<Option<Box<Vec<Input>>>>,
    /// The store may know messages of this link.
    durable: AtomicBool,
    me: Weak<Self>,
}

/// What the choice of a link, and sums over links, look at.
#[derive(Debug, Clone, Copy)]
pub(super) struct Load {
    pub(super) phase: Phase,
    pub(super) buffered_amount: u64,
    pub(super) queued_messages: u64,
    /// Written, and kept until they are confirmed.
    pub(super) unconfirmed: u64,
    pub(super) next_attempt_at: Option<SystemTime>,
}

/// The last state shown, and the flight recorder.
#[derive(Debug)]
struct Seen {
    shown: Shown,
    rest: Rest,
    unconfirmed: u64,
    vitals: Vitals,
    /// The limits that the observer knows of.
    limits: Option<Arc<outbox::Policy>>,
    recorder: Recorder,
    made: SystemTime,
    /// When the last connection was lost, and how, until there is another.
    lost: Option<Box<(SystemTime, Closed)>>,
    /// When an earlier life of the daemon heard the link last, until there is a connection.
    heard_until: Option<SystemTime>,
}

impl Slot {
    pub(super) fn new(
        id: LinkId,
        config: &Endpoint,
        orders: Orders,
        observer: Arc<dyn LinkObserver>,
        sinks: Arc<Sinks>,
    ) -> Arc<Self> {
        let made = sinks.calendar.now();
        let shown = Shown::beginning(config.shown_url(0), made);
        observer.link_added(shown.phase());
        let seen = Seen {
            rest: Rest::beginning(),
            unconfirmed: 0,
            vitals: Vitals::default(),
            limits: None,
            recorder: Recorder::default(),
            made,
            lost: None,
            heard_until: None,
            shown,
        };
        orders.settle(standing(Phase::Waiting, 0), Room::default());
        Arc::new_cyclic(|me| Self {
            id,
            orders,
            observer,
            sinks,
            seen: Mutex::new(seen),
            traffic: Counters::default(),
            answers: Mutex::default(),
            durable: AtomicBool::new(false),
            me: me.clone(),
        })
    }

    pub(super) fn view(&self) -> LinkView {
        self.view_of(&self.seen())
    }

    /// With what has been accepted since.
    fn view_of(&self, seen: &Seen) -> LinkView {
        let mut view = seen.shown.view(&self.id, self.traffic.read());
        let pending = self.orders.pending();
        view.buffered_amount += pending.bytes;
        view.queued_messages += u64::from(pending.messages);
        view
    }

    /// Accepts messages, in order, as long as the link need not be asked. Answers with how many.
    pub(super) fn accept(&self, offers: &mut vec::IntoIter<Offer>) -> u32 {
        let accepted = self.orders.accept(offers);
        if accepted.messages > 0 {
            self.observer.buffered(signed(accepted.bytes), accepted.messages.into());
        }
        accepted.messages
    }

    /// The number of its current connection, or of its last.
    pub(super) fn generation(&self) -> u64 {
        self.seen().shown.generation()
    }

    /// The highest number that any of its connections has had.
    pub(super) fn newest(&self) -> u64 {
        self.seen().shown.newest()
    }

    /// What the choice of a link goes by: the least is the best. Asks nobody.
    pub(super) fn standing(&self) -> u64 {
        self.orders.load()
    }

    pub(super) fn load(&self) -> Load {
        let seen = self.seen();
        let pending = self.orders.pending();
        Load {
            phase: seen.shown.phase(),
            buffered_amount: seen.shown.buffered_amount() + pending.bytes,
            queued_messages: seen.shown.queued_messages() + u64::from(pending.messages),
            unconfirmed: seen.unconfirmed,
            next_attempt_at: seen.shown.next_attempt_at(),
        }
    }

    pub(super) fn vitals(&self) -> (Vitals, Certificates) {
        let seen = self.seen();
        (seen.vitals, seen.shown.certificates())
    }

    /// How the link rests.
    pub(super) fn rest(&self) -> Rest {
        self.seen().rest
    }

    pub(super) fn history(&self) -> Vec<HistoryEntry> {
        self.seen().recorder.entries()
    }

    /// Counts messages whose ends no link can tell, because its task is gone.
    pub(super) fn lost(&self, ends: &[State], end_reason: EndReason) {
        for end in ends {
            self.observer.lost(*end, end_reason);
        }
    }

    pub(super) fn explain(&self, config: Arc<Endpoint>, standing: Option<StandingView>) -> Explained {
        let seen = self.seen();
        let view = self.view_of(&seen);
        let outage = match (&seen.lost, view.generation) {
            (Some(lost), _) => Some((lost.0, Some(Box::new(lost.1.clone())))),
            (None, 0) => Some((seen.made, None)),
            (None, _) => None,
        };
        let at = self.sinks.calendar.now();
        let (attempts, unconfirmed) = (seen.recorder.attempts(), seen.unconfirmed);
        Explained { view, config, outage, standing, attempts, unconfirmed, at }
    }

    /// Tells of a fact that the link itself cannot tell: its task panicked. Answers with the messages that it had not taken, and the next
    /// one will.
    pub(super) fn panicked(&self, count: u32) -> Vec<MessageId> {
        let event = Event::Panicked { count };
        self.observer.tell(&self.id, &event);
        let mut seen = self.seen();
        let (taken, in_line) = self.orders.lose_taken();
        let bytes = signed(seen.shown.buffered_amount() + taken.bytes);
        let messages = signed(seen.shown.queued_messages()) + i64::from(taken.messages);
        self.observer.buffered(-bytes, -messages);
        seen.shown.forget_queued();
        seen.unconfirmed = 0;
        seen.vitals.oldest_queued = None;
        seen.rest = Rest::beginning();
        if let Some(transition) = recorder::transition(&event) {
            seen.record(transition, self.sinks.calendar.now());
        }
        in_line
    }

    /// What takes the disk's answers to the link's task.
    fn answering(&self) -> Answer {
        let me = Weak::clone(&self.me);
        Arc::new(move |answer| {
            if let Some(slot) = me.upgrade() {
                slot.answer(answer);
            }
        })
    }

    /// Counts messages that were under way when the daemon ended without a word.
    pub(super) fn crashed(&self, messages: u64) {
        if messages > 0 {
            tracing::warn!(link = %self.id, messages, "messages were under way when the daemon ended: their receipts say unknown");
        }
        for _ in 0..messages {
            self.lost(&[State::Unknown], EndReason::Crash);
        }
    }

    /// Hands an answer of the disk to the link's task.
    fn answer(&self, answer: Input) {
        self.answers.lock().get_or_insert_default().push(answer);
        // Full: the task is awake, or about to be, and looks for answers whenever it is.
        let _ = self.orders.try_send(Box::new(Order::Disk));
    }

    /// An earlier life of the daemon heard this link last then.
    pub(super) fn was_heard_until(&self, at: SystemTime) {
        self.seen().heard_until = Some(at);
    }

    /// The store holds messages of this link.
    pub(super) fn set_durable(&self) {
        self.durable.store(true, Ordering::Relaxed);
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock()
    }

    /// Publishes what consumers read; `generation` is the connection it belongs to.
    fn publish(&self, generation: u64, at: SystemTime, item: Item) {
        self.sinks.log.publish(&self.id, generation, at, item.clone());
        self.sinks.inbox.publish(&self.id, generation, at, item);
    }

    /// Publishes the events that consumers read.
    fn publish_event(&self, link: &Link, at: SystemTime, event: &Event) {
        if let Event::Opened { generation, established } = event {
            let item =
                Item::Open { protocol: established.protocol.clone(), extensions: established.extensions.clone() };
            self.publish(*generation, at, item);
            let (lost, heard_until) = {
                let mut seen = self.seen();
                (seen.lost.take(), seen.heard_until.take())
            };
            if let Some(from) = heard_until.or(lost.map(|lost| lost.0)) {
                self.publish(*generation, at, Item::LinkGap { from, to: at });
            }
        } else if let Event::Closed { generation, closed, .. } = event {
            self.publish_end(*generation, at, closed, closed.cause.is_failure());
            // An old connection that has been replaced is no loss.
            if link.ready_state() != ReadyState::Open {
                self.seen().lost.get_or_insert_with(|| Box::new((at, Closed::clone(closed))));
            }
        } else if let Event::DialFailed(failure) = event {
            // A connection that was never open is failed, whoever ended it.
            self.publish_end(link.generation(), at, &failure.closed(), true);
        } else if let Event::Phase { to, reason, .. } = event {
            self.publish(link.generation(), at, Item::Phase { phase: *to, reason: *reason });
        }
    }

    /// `error` before `close` where the connection was failed (WHATWG §4).
    fn publish_end(&self, generation: u64, at: SystemTime, closed: &Closed, failed: bool) {
        if failed {
            let item = Item::Error { cause: closed.cause, detail: closed.detail.clone() };
            self.publish(generation, at, item);
        }
        self.publish(generation, at, Item::Close(Box::new(closed.clone())));
    }
}

impl Host for Slot {
    fn date(&self) -> SystemTime {
        self.sinks.calendar.now()
    }

    fn tell(&self, link: &Link, event: Event, now: Now) {
        let at = now.wall;
        self.observer.tell(&self.id, &event);
        self.traffic.count(&event, at);
        if let Some(transition) = recorder::transition(&event) {
            let mut seen = self.seen();
            seen.record(transition, at);
            let attempt = Attempt { url: seen.shown.url(), number: seen.shown.attempt() };
            self.sinks.observer.transition(&self.id, at, &event, attempt);
        }
        self.publish_event(link, at, &event);
    }

    fn deliver(&self, generation: u64, messages: Run, now: Now) {
        self.observer.tell_received(&self.id, generation, &messages);
        self.traffic.received(&messages);
        self.sinks.inbox.deliver(&self.id, generation, now.wall, messages);
    }

    fn settle(&self, link: &Link, reached: Vec<Ended>, generation: Option<u64>, now: Now) {
        self.observer.tell_receipts(&self.id, &reached, generation);
        let is_held = link.outbox_policy().delivery == Delivery::AtLeastOnce;
        if !self.durable.load(Ordering::Relaxed) {
            return self.sinks.receipts.advance(&reached, (now.at, now.wall), generation, is_held);
        }
        for one in &reached {
            if is_held && one.state == State::Written {
                self.sinks.receipts.advance(slice::from_ref(one), (now.at, now.wall), generation, is_held);
            } else {
                self.sinks.spool.settle(one.id, (one.state, one.end_reason), generation);
            }
        }
    }

    fn show(&self, link: &Link, now: Now, asked: bool) {
        let Now { at: now, wall } = now;
        let mut seen = self.seen();
        let (bytes, messages) = (link.buffered_amount(), link.queued_messages() as u64);
        let room = if asked { Room::default() } else { link.room() };
        // Under the lock of what is seen, so that nobody sees a message twice or not at all.
        let taken = self.orders.settle(standing(link.phase(), bytes), room);
        let delta = (
            signed(bytes) - signed(seen.shown.buffered_amount()) - signed(taken.bytes),
            signed(messages) - signed(seen.shown.queued_messages()) - i64::from(taken.messages),
        );
        if delta != (0, 0) {
            self.observer.buffered(delta.0, delta.1);
        }
        let policy = link.outbox_policy();
        if seen.limits.as_ref().is_none_or(|known| !Arc::ptr_eq(known, policy)) {
            let (before, limits) = (limits(seen.limits.as_deref()), limits(Some(policy)));
            self.observer.outbox_limits(limits.0 - before.0, limits.1 - before.1);
            seen.limits = Some(Arc::clone(policy));
        }
        match (seen.shown.phase() == Phase::Ready, link.phase() == Phase::Ready) {
            (false, true) => drop(self.sinks.ready.fetch_add(1, Ordering::Relaxed)),
            (true, false) => drop(self.sinks.ready.fetch_sub(1, Ordering::Relaxed)),
            (true, true) | (false, false) => {}
        }
        seen.unconfirmed = link.unconfirmed_messages() as u64;
        seen.vitals.follow(link, now);
        seen.rest.follow(link, now);
        seen.shown.follow(link, now, wall);
    }

    fn keep(&self, keep: &Keep, now: Now) {
        self.set_durable();
        // Later than a clock can say is never.
        let expires_at = keep.expires_at.and_then(|at| now.wall.checked_add(at.saturating_duration_since(now.at)));
        self.sinks.spool.keep(&self.id, keep, expires_at, self.answering());
    }

    fn mark(&self, ids: &[MessageId], marked: bool) {
        self.sinks.spool.mark(ids, marked, &self.answering());
    }

    fn answers(&self) -> Vec<Input> {
        // The disk answers for what it was given only.
        if !self.durable.load(Ordering::Relaxed) {
            return Vec::new();
        }
        self.answers.lock().take().map(|answers| *answers).unwrap_or_default()
    }

    fn bury(&self, message: Box<Message>) {
        let key = message.key().map(Into::into);
        let Message { id, payload, .. } = *message;
        let died_at = self.sinks.calendar.now();
        let letter = DeadLetter {
            id,
            endpoint: Arc::clone(&self.id.endpoint),
            link: self.id.index,
            key,
            payload,
            accepted_at: self.sinks.receipts.get(id).map_or(died_at, |receipt| receipt.accepted_at),
            end_reason: EndReason::Poison,
            died_at,
        };
        self.sinks.dead.bury(letter);
    }

    fn lease(&self) -> Lease {
        self.sinks.budget.lease(Rank::History)
    }

    fn watched(&self) -> Option<(&LinkId, &Tap)> {
        self.sinks.tap.is_watched().then(|| (&self.id, &*self.sinks.tap))
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let seen = self.seen.get_mut();
        self.observer.link_removed(seen.shown.phase());
        if seen.shown.phase() == Phase::Ready {
            self.sinks.ready.fetch_sub(1, Ordering::Relaxed);
        }
        let pending = self.orders.pending();
        let bytes = signed(seen.shown.buffered_amount() + pending.bytes);
        let messages = signed(seen.shown.queued_messages()) + i64::from(pending.messages);
        self.observer.buffered(-bytes, -messages);
        let limits = limits(seen.limits.as_deref());
        self.observer.outbox_limits(-limits.0, -limits.1);
    }
}

impl Seen {
    fn record(&mut self, transition: Transition, at: SystemTime) {
        self.recorder.record(transition, at, &self.shown);
    }
}

/// Ready links come first, those on the way to it next, those at rest last; of those that are as good, the one with the least
/// bufferedAmount.
fn standing(phase: Phase, buffered_amount: u64) -> u64 {
    let rank = match phase {
        Phase::Ready => 0,
        Phase::Opening | Phase::Connecting | Phase::Waiting | Phase::Closing => 1,
        Phase::Parked | Phase::Paused => 2,
    };
    rank << RANK | buffered_amount.min((1 << RANK) - 1)
}

/// What an outbox may hold: bytes, messages.
fn limits(policy: Option<&outbox::Policy>) -> (i64, i64) {
    policy.map_or((0, 0), |policy| (signed(policy.max_bytes), signed(policy.max_messages as u64)))
}

fn signed(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
