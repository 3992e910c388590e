//! Who is told what a pool does: traits that metrics, log lines and spans implement.
//!
//! Every method does nothing unless it is written, so an observer names only what it wants to know. What a reader would get wrong: they
//! are called by the tasks of links, in between their work and some of them under a lock, so none may wait. What came together is told
//! together.

use std::{
    fmt,
    sync::Arc,
    time::{Duration, SystemTime},
};

use wskeeper_core::{
    event::{Certificates, Event, LinkId},
    outbox::{Ended, Refusal},
    phase::Phase,
    receipt::{EndReason, State},
    run::Run,
};

/// Who is told of a pool.
pub trait Observer: fmt::Debug + Send + Sync {
    /// Who is told of a link. Asked once, when the link is made, and dropped when it is gone; several links may share one.
    fn link(&self, _endpoint: &Arc<str>, _index: u32) -> Arc<dyn LinkObserver> {
        Arc::new(Silent)
    }

    /// Who is told of an endpoint. Asked once, when it is made, and dropped when it is gone.
    fn endpoint(&self, _name: &Arc<str>) -> Arc<dyn EndpointObserver> {
        Arc::new(Silent)
    }

    /// A fact that changes where a link is, told to its own observer before: here with its time, and the attempt it belongs to.
    fn transition(&self, _link: &LinkId, _at: SystemTime, _event: &Event, _attempt: Attempt<'_>) {}

    /// So many attempts wait for admission now.
    fn admission_waiting(&self, _attempts: usize) {}

    /// An operator discarded stored messages whose link there is no more.
    fn orphans_discarded(&self, _messages: u64) {}

    /// Bytes that wait in the pool, and how many may. Told by `Pool::observe`.
    fn payload(&self, _held_bytes: u64, _limit_bytes: u64) {}

    /// The store, and how many dead letters there are. Told by `Pool::observe`.
    fn store(&self, _store: StoreGauges, _dead_letters: usize) {}
}

/// Who is told of a link, or of several.
pub trait LinkObserver: fmt::Debug + Send + Sync {
    /// A link exists from now on, in this phase.
    fn link_added(&self, _phase: Phase) {}

    /// A link in this phase is gone.
    fn link_removed(&self, _phase: Phase) {}

    /// What the outbox holds changed by this much.
    fn buffered(&self, _delta_bytes: i64, _delta_messages: i64) {}

    /// What the outbox may hold changed by this much: a link came, went, or follows other limits.
    fn outbox_limits(&self, _delta_bytes: i64, _delta_messages: i64) {}

    /// A fact about the link of this name.
    fn tell(&self, _link: &LinkId, _event: &Event) {}

    /// Messages arrived, and are about to be handed to consumers.
    fn tell_received(&self, _link: &LinkId, _generation: u64, _messages: &Run) {}

    /// Receipts reach new states, before those who wait for them know.
    fn tell_receipts(&self, _link: &LinkId, _reached: &[Ended], _generation: Option<u64>) {}

    /// A message ended where no link can tell of it: its task is gone.
    fn lost(&self, _state: State, _end_reason: EndReason) {}
}

/// Who is told of an endpoint.
pub trait EndpointObserver: fmt::Debug + Send + Sync {
    /// A message was not accepted; its sender was told.
    fn refused(&self, _reason: Refused) {}

    /// A consumer was told of a gap of this many entries; `None` where nobody knows how many.
    fn gap(&self, _missed: Option<u64>) {}

    /// A request ended, after so long.
    fn requested(&self, _outcome: Requested, _took: Duration) {}

    /// The store refused to write entries of the inbox.
    fn inbox_refused(&self) {}

    /// The store refused to write variables of its sessions.
    fn variables_refused(&self) {}

    /// The endpoint as it is now. Told by `Pool::observe`.
    fn show(&self, _now: EndpointGauges) {}
}

/// How a request ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Requested {
    /// By its reply.
    Reply,
    /// By a reply that says that it failed.
    Error,
    /// Its connection was lost, or the link let it go.
    Lost,
    /// No reply came in time.
    Timeout,
}

/// An attempt to connect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attempt<'a> {
    /// Where it leads, as people see it.
    pub url: &'a str,
    /// Its number since the link was stable.
    pub number: u32,
}

/// Why a message was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    /// The outbox said so.
    Outbox(Refusal),
    /// All the memory that messages may take is taken.
    Memory,
    /// A durable outbox, and the store cannot take the message.
    Store,
    /// The pool is stopping.
    Draining,
}

/// An endpoint as it is when somebody looks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct EndpointGauges {
    /// The newest cursor of its inbox.
    pub inbox_cursor: u64,
    /// Entries of a durable inbox that are not on disk yet.
    pub unstored: u64,
    /// Local consumers of it.
    pub consumers: u64,
    /// How long the message has been queued that has been for the longest.
    pub oldest_message: Duration,
    /// How long the link has not been ready that has not for the longest, those aside that an operator paused.
    pub longest_not_ready: Duration,
    /// Ready links that it needs, where it is critical.
    pub min_ready: u32,
    /// Keys in each state, in the order of `subscriptions::State::ALL`, where it has subscriptions.
    pub subscriptions: Option<[usize; 3]>,
    /// Ready links that are not at the first of their URLs, where it has several.
    pub away: Option<u32>,
    /// Attempts of its links that count, and how many may, where `reconnect.budget` says so.
    pub budget: Option<(u32, u32)>,
    /// Of its links' certificates those that expire first.
    pub certificates: Certificates,
    /// Connections by HTTP/2 that its links share, where there has been one.
    pub carriers: Option<usize>,
}

/// The store of durable outboxes, in numbers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct StoreGauges {
    /// An endpoint needs it, or an earlier life has left one.
    pub needed: bool,
    /// It takes messages.
    pub up: bool,
    /// Bytes of the file that hold something.
    pub bytes: u64,
    /// What it may grow to.
    pub limit_bytes: u64,
    /// Messages that have not ended.
    pub messages: u64,
    /// Bytes of durable inboxes.
    pub inbox_bytes: u64,
    /// Messages whose link is not in the configuration.
    pub orphans: u64,
}

/// Tells nobody.
#[derive(Debug, Clone, Copy, Default)]
pub struct Silent;

impl Observer for Silent {}
impl LinkObserver for Silent {}
impl EndpointObserver for Silent {}
