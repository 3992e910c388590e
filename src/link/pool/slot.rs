//! A link's place in the pool: what is known of it, and where its facts go.
//!
//! The link's task is the only writer. It tells facts and shows its state; the slot keeps the last state for readers, so
//! that looking at ten thousand links asks none of them anything.

use std::{
    sync::{
        Arc, OnceLock, Weak,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::SystemTime,
    vec,
};

use parking_lot::{Mutex, MutexGuard};

use super::{
    dead::DeadLetters,
    durable_variables::DurableVariables,
    gauges::Vitals,
    homes::Homes,
    listeners::Listeners,
    noted::Noted,
    receipts::Receipts,
    recorder::{self, Recorder, Transition},
    rejections::Rejections,
    rest::Rest,
    shown::Shown,
    spool::{DiskAnswer, Spool},
    subscriptions::Subscriptions,
    traffic::Counters,
    view::{Explained, HistoryEntry, LinkView, StandingView},
};
use crate::{
    clock::Calendar,
    endpoint::Endpoint,
    hub::{Hub, Streams},
    link::{Offer, Order, Orders, SharedCarriers, Tap},
    observer::{LinkObserver, Observer},
};
use wskeeper_core::{
    budget::Account,
    close::Closed,
    event::{Certificates, Event, LinkId},
    link::Input,
    message::{Message, MessageId},
    outbox::{self, Room},
    phase::{Phase, Reason},
    receipt::{EndReason, State},
};

mod host;
mod judge;

/// Where in a standing the rank begins.
const RANK: u32 = 62;
/// Standings of a link that is ready, and of one that is on the way to it, with nothing queued.
pub(super) const BEST: (u64, u64) = (0, 1 << RANK);

/// That of a link that is to be closed.
const LEAVES: u64 = u64::MAX - 1;

/// Where the facts of an endpoint's links go.
#[derive(Debug)]
pub(super) struct Sinks {
    pub(super) inbox: Arc<Hub>,
    pub(super) streams: Streams,
    pub(super) log: Arc<Hub>,
    pub(super) receipts: Arc<Receipts>,
    pub(super) spool: Arc<Spool>,
    pub(super) dead: Arc<DeadLetters>,
    pub(super) rejections: Arc<Rejections>,
    pub(super) tap: Arc<Tap>,
    pub(super) observer: Arc<dyn Observer>,
    /// What its links hold of messages that are not whole.
    pub(super) account: Arc<Account>,
    pub(super) calendar: Calendar,
    pub(super) parked: Arc<Noted>,
    pub(super) homes: Homes,
    /// Who listens to what arrives.
    pub(super) listeners: Mutex<Listeners>,
    pub(super) variables: DurableVariables,
    /// How many links show that they are ready.
    pub(super) ready: AtomicUsize,
    /// What they ask their peers for.
    pub(super) subscriptions: Subscriptions,
    /// Connections that they share, where there has been one.
    pub(super) carriers: OnceLock<Arc<SharedCarriers>>,
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
    /// Something may have come in for it.
    has_answers: AtomicBool,
    /// It is to be closed once it holds no message.
    leaves: AtomicBool,
    me: Weak<Self>,
}

/// What the choice of a link, and sums over links, look at.
#[derive(Debug, Clone, Copy)]
pub(super) struct Load {
    pub(super) phase: Phase,
    /// It is paused because nobody wants it.
    pub(super) is_asleep: bool,
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
    /// In a box: a link that is well has none.
    gap: Option<Box<Gap>>,
}

/// What there is of no connection, until there is one.
#[derive(Debug)]
struct Gap {
    /// When the last connection was lost, or when an earlier life of the daemon heard the link last.
    from: SystemTime,
    /// How it was lost.
    lost: Option<Arc<Closed>>,
}

impl Slot {
    /// One that goes on behind the number of its `newest` connection; 0: it has had none.
    pub(super) fn new(
        id: LinkId,
        config: &Endpoint,
        orders: Orders,
        observer: Arc<dyn LinkObserver>,
        sinks: Arc<Sinks>,
        newest: u64,
    ) -> Arc<Self> {
        let made = sinks.calendar.now();
        let shown = Shown::beginning(config.shown_url(sinks.homes.first(&config.link, id.index)), made, newest);
        observer.link_added(shown.phase());
        let seen = Seen {
            rest: Rest::beginning(),
            unconfirmed: 0,
            vitals: Vitals::default(),
            limits: None,
            recorder: Recorder::default(),
            made,
            gap: None,
            shown,
        };
        orders.settle(standing((Phase::Waiting, Reason::Starting), 0), Room::default());
        Arc::new_cyclic(|me| Self {
            id,
            orders,
            observer,
            sinks,
            seen: Mutex::new(seen),
            traffic: Counters::default(),
            answers: Mutex::default(),
            durable: AtomicBool::new(false),
            has_answers: AtomicBool::new(false),
            leaves: AtomicBool::new(false),
            me: me.clone(),
        })
    }

    pub(super) fn view(&self) -> LinkView {
        self.view_of(&self.seen())
    }

    /// With what has been accepted since.
    fn view_of(&self, seen: &Seen) -> LinkView {
        let mut view = seen.shown.view(&self.id, self.traffic.read());
        view.away = self.sinks.homes.view(self.id.index, seen.shown.away(), &self.sinks.calendar);
        let pending = self.orders.pending();
        view.buffered_amount += pending.bytes;
        view.queued_messages += u64::from(pending.messages);
        if let (Some(carrier), Some(carriers)) = (&mut view.carrier, self.sinks.carriers.get()) {
            carrier.links = carriers.links(carrier.number);
        }
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

    /// The same for messages that came together. Answers with those that are left.
    pub(super) fn accept_run(&self, message: Box<Message>) -> Option<Box<Message>> {
        let (accepted, rest) = self.orders.accept_run(message);
        if accepted.messages > 0 {
            self.observer.buffered(signed(accepted.bytes), accepted.messages.into());
        }
        rest
    }

    /// What the choice of a link goes by: the least is the best. Asks nobody.
    pub(super) fn standing(&self) -> u64 {
        if self.leaves.load(Ordering::Relaxed) { LEAVES } else { self.orders.load() }
    }

    pub(super) fn load(&self) -> Load {
        let seen = self.seen();
        let pending = self.orders.pending();
        Load {
            phase: seen.shown.phase(),
            is_asleep: seen.shown.reason() == Reason::Asleep && seen.shown.phase() == Phase::Paused,
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

    /// Whether it is ready, and not at its home.
    pub(super) fn is_away(&self) -> bool {
        self.seen().shown.away().is_some()
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
        let subscriptions = self.sinks.subscriptions.counts_of(self.id.index);
        let surplus = self.sinks.subscriptions.surplus();
        let seen = self.seen();
        let view = self.view_of(&seen);
        let outage = match (seen.gap.as_deref(), seen.shown.was_open()) {
            (Some(Gap { from, lost: Some(closed) }), _) => Some((*from, Some(Arc::clone(closed)))),
            (Some(_) | None, false) => Some((seen.made, None)),
            (Some(_) | None, true) => None,
        };
        let at = self.sinks.calendar.now();
        let (attempts, unconfirmed) = (seen.recorder.attempts(), seen.unconfirmed);
        let streams = self.sinks.streams.seen();
        let requests = None;
        let rejection = self.sinks.rejections.get(&self.id).map(Box::new);
        Explained {
            view,
            config,
            outage,
            standing,
            attempts,
            unconfirmed,
            rejection,
            at,
            subscriptions,
            surplus,
            requests,
            streams,
            cookies: None,
            budget: None,
        }
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
    fn answering(&self) -> DiskAnswer {
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

    /// Hands an answer of the disk, or a change of what is to be subscribed to, to the link's task.
    pub(super) fn answer(&self, answer: Input) {
        self.answers.lock().get_or_insert_default().push(answer);
        self.has_answers.store(true, Ordering::Release);
        // Full: the task is awake, or about to be, and looks for answers whenever it is.
        let _ = self.orders.try_send(Box::new(Order::Disk));
    }

    /// It is to be closed once it holds no message, or is not after all. Answers whether it was so already.
    pub(super) fn set_leaves(&self, leaves: bool) -> bool {
        self.leaves.swap(leaves, Ordering::Relaxed) == leaves
    }

    /// An earlier life of the daemon heard this link last then.
    pub(super) fn was_heard_until(&self, at: SystemTime) {
        self.seen().gap = Some(Box::new(Gap { from: at, lost: None }));
    }

    /// The store holds messages of this link.
    pub(super) fn set_durable(&self) {
        self.durable.store(true, Ordering::Relaxed);
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock()
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.sinks.rejections.forget(&self.id);
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

/// Ready links come first, those on the way to it next, with those that a message wakes, those at rest last; of those that are as good, the one with the least
/// bufferedAmount.
fn standing((phase, reason): (Phase, Reason), buffered_amount: u64) -> u64 {
    let rank = match phase {
        Phase::Ready => 0,
        Phase::Opening | Phase::Connecting | Phase::Waiting | Phase::Closing => 1,
        Phase::Paused if reason == Reason::Asleep => 1,
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
