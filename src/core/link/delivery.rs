//! How messages come to a link, and what becomes of them, whichever connection carried them: told as receipts.

use std::{sync::Arc, time::Instant};

use super::{
    Command, Commands, Link,
    state::{Ending, State, Then},
};
use crate::{
    allowance::SharedAllowance,
    bucket::SharedBucket,
    close::{Cause, CloseFrame, NORMAL},
    event::Event,
    message::{Message, MessageId},
    outbox::{Delivery, Ended, Outbox, Refusal, Room},
    phase::ReadyState,
    receipt,
    timers::Timer,
};

impl Link {
    /// Offers a message to the outbox, one. A refused message comes back with why. A stopped link takes none: nothing would
    /// ever end it.
    pub fn offer(&mut self, now: Instant, message: Box<Message>) -> (Result<(), (Box<Message>, Refusal)>, Commands) {
        if matches!(self.state, State::Stopped(_)) {
            return (Err((message, Refusal::Down)), Commands::new());
        }
        // What waits for its turn on a new connection lets nothing more leave on the old one.
        if message.generation().is_some_and(|bound| self.carrying() != Some(bound) || self.has_standby()) {
            return (Err((message, Refusal::Generation)), Commands::new());
        }
        let (mut out, mut ended) = (Commands::new(), Vec::new());
        let id = message.id;
        let carries = self.carries();
        let outbox = self.shared.outbox();
        let answer = outbox.offer(now, message, carries, &mut ended);
        let keep = outbox.keep(id).map(|keep| Command::Keep(Box::new(keep)));
        self.tell_receipts(ended, &mut out);
        out.extend(keep);
        if self.lazy.is_some() {
            self.follow_wishes(now, &mut out);
        }
        (answer, out)
    }

    /// What it accepts without being asked: who accepts a message for it gives it to [`Link::take`].
    pub fn room(&self) -> Room {
        match self.state {
            State::Stopped(_) => Room::default(),
            State::Made | State::Waiting | State::Active(_) | State::Parked | State::Asleep | State::Paused => {
                match self.shared.outbox.as_deref() {
                    Some(outbox) => outbox.room(self.carries()),
                    None => self.shared.policy.outbox.room(self.carries()),
                }
            }
        }
    }

    /// Takes a message that was accepted for it, or several. A stopped link ends it as it has ended all that it held.
    #[must_use]
    pub fn take(&mut self, now: Instant, message: Box<Message>) -> Commands {
        let (mut out, mut ended) = (Commands::new(), Vec::new());
        if let State::Stopped(end_reason) = self.state {
            let (id, count) = (message.id, message.count());
            ended.push(Ended { id, count, state: receipt::State::Dropped, end_reason: Some(end_reason) });
        } else {
            self.shared.outbox().take(now, message, &mut ended);
        }
        self.tell_receipts(ended, &mut out);
        if self.has_apart() {
            self.unbind(&mut out);
        }
        if self.lazy.is_some() {
            self.follow_wishes(now, &mut out);
        }
        out
    }

    /// Links of its endpoint share this bucket, or none. Before it starts, and whenever that changes.
    pub fn share(&mut self, bucket: Option<Arc<dyn SharedBucket>>) {
        if bucket.is_some() || self.shared.outbox.is_some() {
            self.shared.outbox().share(bucket);
        }
    }

    /// Attempts of the links of its endpoint take from this allowance, or from none. Before it starts, and whenever that changes.
    pub fn allow(&mut self, allowance: Option<Arc<dyn SharedAllowance>>) {
        self.pace.allow(allowance);
    }

    /// Whether what leaves it is counted, answers to the peer's pings too.
    #[inline]
    pub fn is_paced(&self) -> bool {
        self.shared.is_paced()
    }

    /// Until when what is to leave waits for its turn, where it does.
    pub fn paced_until(&self) -> Option<Instant> {
        let outbox = self.shared.outbox.as_deref().filter(|_| self.ready_state() == ReadyState::Open)?;
        outbox.paced_until()
    }

    /// Whether messages can leave now, or will in a moment.
    fn carries(&self) -> bool {
        self.state.is_ready() || self.has_standby() || self.wakes()
    }

    pub(super) fn expire(&mut self, now: Instant, out: &mut Commands) {
        self.settle_by(out, |outbox, ended| outbox.expire(now, ended));
    }

    /// Does something that brings messages to their ends, if there are any.
    pub(super) fn settle_by(&mut self, out: &mut Commands, act: impl FnOnce(&mut Outbox, &mut Vec<Ended>)) {
        let mut ended = Vec::new();
        if let Some(outbox) = &mut self.shared.outbox {
            act(outbox, &mut ended);
        }
        self.tell_receipts(ended, out);
    }

    pub(super) fn on_want(&mut self, id: MessageId) {
        if let Some(outbox) = &mut self.shared.outbox {
            outbox.want(id);
        }
    }

    pub(super) fn on_stored(&mut self, place: u64, id: MessageId) {
        if let Some(outbox) = &mut self.shared.outbox {
            outbox.stored(place, id);
        }
    }

    pub(super) fn on_marked(&mut self, ids: &[MessageId]) {
        if let Some(outbox) = &mut self.shared.outbox {
            outbox.marked(ids);
        }
    }

    /// Which deadline of messages is next, and when.
    pub(super) fn next_of_messages(&self, outbox: &Outbox) -> Option<(Instant, Timer)> {
        let expiry = outbox.next_expiry().map(|at| (at, Timer::Expiry));
        let ack = outbox.next_ack_deadline().filter(|_| self.state.is_ready()).map(|at| (at, Timer::Ack));
        let reply = outbox.next_reply_deadline().map(|at| (at, Timer::Ack));
        let paced = outbox.paced_until().map(|at| (at, Timer::Pace));
        expiry.into_iter().chain(ack).chain(reply).chain(paced).min()
    }

    pub(super) fn tell_receipts(&self, reached: Vec<Ended>, out: &mut Commands) {
        if !reached.is_empty() {
            let generation = (self.generation > 0).then_some(self.generation);
            out.push(Command::Settle { reached, generation });
        }
    }

    /// Ends what is bound to a connection that carries messages no more. The last of each change, so that nothing of it can be pulled.
    pub(super) fn unbind(&mut self, out: &mut Commands) {
        let carrying = self.carrying();
        self.settle_by(out, |outbox, ended| outbox.unbind(carrying, ended));
    }

    /// The number of the connection that carries messages, or will once its session is ready.
    pub(super) fn carrying(&self) -> Option<u64> {
        let connection = self.state.connection().filter(|connection| connection.is_open())?;
        connection.open().map(|open| open.generation)
    }

    pub(super) fn on_not_stored(&mut self, place: u64, id: MessageId, out: &mut Commands) {
        self.settle_by(out, |outbox, ended| outbox.not_stored(place, id, ended));
    }

    pub(super) fn on_acknowledged(&mut self, key: &str, out: &mut Commands) {
        self.settle_by(out, |outbox, ended| outbox.acknowledge(key, ended));
    }

    /// Ends the requests whose replies have not come in time.
    pub(super) fn miss_replies(&mut self, now: Instant, out: &mut Commands) {
        let due = self.shared.outbox.as_deref().and_then(Outbox::next_reply_deadline);
        if due.is_some_and(|at| at <= now) {
            self.settle_by(out, |outbox, ended| outbox.give_up_requests(now, ended));
        }
    }

    /// Looks for acknowledgements that have not come in time. At least once, the messages must go out again, in order, so the
    /// connection ends; at most once, it is not known what became of them.
    pub(super) fn miss_acks(&mut self, now: Instant, out: &mut Commands) {
        let due = self.shared.outbox.as_deref().and_then(Outbox::next_ack_deadline);
        if !self.state.is_ready() || due.is_none_or(|at| at > now) {
            return;
        }
        match self.shared.policy.outbox.delivery {
            Delivery::AtMostOnce => self.settle_by(out, |outbox, ended| outbox.give_up_acks(now, ended)),
            Delivery::AtLeastOnce => {
                let code = self.shared.policy.heartbeat.abort_code.unwrap_or(NORMAL);
                let owed = Some(Some(CloseFrame { code, reason: "no acknowledgement".into() }));
                let detail = "a message was not acknowledged in time".into();
                self.close(now, Ending { owed, cause: Cause::Mute, label: None, detail }, Then::Outcome, out);
            }
        }
    }

    /// What was paced may leave: it is pulled, now that it may be.
    pub(super) fn end_pause(&mut self, now: Instant, out: &mut Commands) {
        let waited = self.shared.outbox.as_deref_mut().and_then(|outbox| outbox.end_pause(now));
        out.extend(waited.map(|waited| Command::Tell(Event::Paced { waited })));
    }

    /// Asks for the marks that messages need before they leave, while they can leave.
    pub(super) fn mark(&mut self, out: &mut Commands) {
        if self.state.is_ready()
            && let Some(outbox) = &mut self.shared.outbox
        {
            let ids = outbox.take_unmarked();
            if !ids.is_empty() {
                out.push(Command::Mark { ids: ids.into(), marked: true });
            }
        }
    }
}
