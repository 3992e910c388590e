//! The last state that a link has shown, kept small: there may be ten thousand of them, nearly all of which nobody looks at.
//!
//! What was agreed with the peer is shared with the link and the flight recorder, and what a reader sees is made on reading.

use std::{
    num::NonZeroU64,
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use super::view::{CarrierView, LinkView, RotationView, Traffic};
use wskeeper_core::{
    clock::Clock,
    close::Closed,
    event::{Certificates, Established, LinkId},
    failback::Whereabouts,
    link::{Link, Rotating},
    outcome::Row,
    phase::{Phase, ReadyState, Reason},
    session::Waits,
};

/// The last state shown.
#[derive(Debug)]
pub(super) struct Shown {
    phase: Phase,
    ready_state: ReadyState,
    reason: Reason,
    attempt: u32,
    generation: u64,
    buffered_amount: u64,
    queued_messages: u64,
    terms: Terms,
    since: SystemTime,
    next_attempt_at: Option<SystemTime>,
    last_inbound_at: Option<SystemTime>,
    rtt: Option<Duration>,
    pongs_refused: u32,
    ruling: Option<(Row, u32)>,
    last_close: Option<Box<End>>,
    /// In one box, for most links have none of it.
    passing: Option<Box<Passing>>,
}

/// What does not last.
#[derive(Debug)]
struct Passing {
    rotation: Option<RotationView>,
    /// Where the session of the current connection waits.
    waits: Option<Waits>,
    /// The URL that it would rather be at, by index.
    away: Option<usize>,
    /// Until when what is to leave is paced.
    paced_until: Option<SystemTime>,
}

/// How the last connection or attempt ended, as the link keeps it, and when by the wall clock.
type End = (Arc<(Arc<Closed>, Instant)>, SystemTime);

/// Where it is connected to.
#[derive(Debug)]
enum Terms {
    /// Where it will be: there was no connection yet.
    Wanted(Arc<str>),
    /// What was agreed for the last connection.
    Agreed(Arc<Established>),
}

impl Shown {
    /// A link that has shown nothing yet, and will dial this URL. Its next connection has the next number.
    pub(super) fn beginning(url: Arc<str>, since: SystemTime, generation: u64) -> Self {
        Self {
            phase: Phase::Waiting,
            ready_state: ReadyState::Closed,
            reason: Reason::Starting,
            attempt: 0,
            generation,
            buffered_amount: 0,
            queued_messages: 0,
            terms: Terms::Wanted(url),
            since,
            next_attempt_at: None,
            last_inbound_at: None,
            rtt: None,
            pongs_refused: 0,
            ruling: None,
            last_close: None,
            passing: None,
        }
    }

    /// Brings it up to date.
    pub(super) fn follow(&mut self, link: &Link, now: Instant, wall: SystemTime) {
        let past = |at: Instant| wall.earlier(now.saturating_duration_since(at));
        if let Some(last) = link.last_close()
            && self.last_close.as_deref().is_none_or(|(known, _)| !Arc::ptr_eq(known, last))
        {
            self.last_close = Some(Box::new((Arc::clone(last), past(last.1))));
        }
        if let Some(established) = link.established().filter(|_| self.generation != link.generation()) {
            self.terms = Terms::Agreed(Arc::clone(established));
        }
        if self.phase != link.phase() || self.reason != link.reason() {
            self.since = past(link.since());
        }
        self.phase = link.phase();
        self.ready_state = link.ready_state();
        self.generation = link.generation();
        self.buffered_amount = link.buffered_amount();
        self.queued_messages = link.queued_messages() as u64;
        self.attempt = link.attempt();
        self.next_attempt_at = link.next_attempt_at().map(|at| wall.later(at.saturating_duration_since(now)));
        self.reason = link.reason();
        self.ruling = link.ruling();
        self.rtt = link.rtt();
        self.pongs_refused = link.pongs_refused();
        self.last_inbound_at = link.last_heard().map(past);
        let rotation = link.rotating().map(|rotating| {
            let next_attempt_at = rotating.next_at.map(|at| wall.later(at.saturating_duration_since(now)));
            let Rotating { stage, attempt, next_at: _, generation, failure } = rotating;
            RotationView { stage, attempt, next_attempt_at, generation, failure: failure.map(Box::from) }
        });
        let waits = link.session_waits();
        let is_away = matches!(link.whereabouts(), Whereabouts::Away | Whereabouts::Returning);
        let away = is_away.then(|| link.home());
        let paced_until = link.paced_until().map(|at| wall.later(at.saturating_duration_since(now)));
        let is_any = rotation.is_some() || waits.is_some() || is_away || paced_until.is_some();
        self.passing = is_any.then(|| Box::new(Passing { rotation, waits, away, paced_until }));
    }

    /// The link's task is gone, and what it had queued.
    pub(super) fn forget_queued(&mut self) {
        (self.buffered_amount, self.queued_messages) = (0, 0);
    }

    /// As a reader sees it.
    pub(super) fn view(&self, id: &LinkId, traffic: Traffic) -> LinkView {
        let agreed = self.agreed().filter(|_| matches!(self.ready_state, ReadyState::Open | ReadyState::Closing));
        LinkView {
            endpoint: Arc::clone(&id.endpoint),
            index: id.index,
            phase: self.phase,
            ready_state: self.ready_state,
            generation: self.generation,
            url: Arc::clone(self.url()),
            protocol: agreed.map(|agreed| agreed.protocol.clone()).unwrap_or_default(),
            extensions: agreed.map(Established::extensions).unwrap_or_default(),
            carrier: agreed.and_then(|agreed| agreed.carrier).map(|number| CarrierView { number, links: 0 }),
            buffered_amount: self.buffered_amount,
            queued_messages: self.queued_messages,
            since: self.since,
            attempt: self.attempt,
            next_attempt_at: self.next_attempt_at,
            reason: self.reason,
            ruling: self.ruling,
            rtt: self.rtt,
            pongs_refused: self.pongs_refused,
            last_close: self.last_close.as_deref().map(|(last, at)| Box::new((Closed::clone(&last.0), *at))),
            last_inbound_at: self.last_inbound_at,
            traffic,
            rotation: self.passing.as_ref().and_then(|passing| passing.rotation.clone().map(Box::new)),
            waits: self.passing.as_ref().and_then(|passing| passing.waits),
            away: None,
            paced_until: self.passing.as_ref().and_then(|passing| passing.paced_until),
        }
    }

    /// Where it is.
    pub(super) fn phase(&self) -> Phase {
        self.phase
    }

    /// Why.
    pub(super) fn reason(&self) -> Reason {
        self.reason
    }

    /// Its home, by the index of the URL, where it is ready elsewhere.
    pub(super) fn away(&self) -> Option<usize> {
        self.passing.as_ref().and_then(|passing| passing.away)
    }

    /// Whether it has had a connection here.
    pub(super) fn was_open(&self) -> bool {
        self.agreed().is_some()
    }

    /// The number of its connection.
    pub(super) fn generation(&self) -> u64 {
        self.generation
    }

    /// The highest number of any of its connections.
    pub(super) fn newest(&self) -> u64 {
        let beside = self.passing.as_ref().and_then(|passing| passing.rotation.as_ref()?.generation);
        self.generation.max(beside.unwrap_or_default())
    }

    /// Attempts since it was last stable.
    pub(super) fn attempt(&self) -> u32 {
        self.attempt
    }

    /// bufferedAmount
    pub(super) fn buffered_amount(&self) -> u64 {
        self.buffered_amount
    }

    /// Messages in its outbox.
    pub(super) fn queued_messages(&self) -> u64 {
        self.queued_messages
    }

    /// When it dials by itself.
    pub(super) fn next_attempt_at(&self) -> Option<SystemTime> {
        self.next_attempt_at
    }

    /// The URL in use, or the last one, or the first to come.
    pub(super) fn url(&self) -> &Arc<str> {
        match &self.terms {
            Terms::Wanted(url) => url,
            Terms::Agreed(agreed) => &agreed.url,
        }
    }

    /// What the certificates of the last connection said.
    pub(super) fn certificates(&self) -> Certificates {
        self.agreed().map(|agreed| agreed.certificates).unwrap_or_default()
    }

    /// The HTTP/2 connection that carried this connection, where it is the last one.
    pub(super) fn carrier(&self, generation: u64) -> Option<NonZeroU64> {
        self.agreed().filter(|_| self.generation == generation)?.carrier
    }

    fn agreed(&self) -> Option<&Established> {
        match &self.terms {
            Terms::Wanted(_) => None,
            Terms::Agreed(agreed) => Some(agreed),
        }
    }
}
