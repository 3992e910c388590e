//! What a link's task tells its slot: facts for those who look, and what must become of messages.
//!
//! What a reader would get wrong: what is told here is told once, in the order in which it happened. Nothing here may wait.

use std::{
    slice,
    sync::{Arc, atomic::Ordering},
    time::SystemTime,
};

use super::{Gap, Slot, limits, signed, standing};
use crate::{
    hub::{Entry, Item, Stored},
    link::{Host, Now, Tap},
    observer::Attempt,
    pool::{dead::DeadLetter, recorder},
};
use wskeeper_core::{
    budget::Hold,
    close::{Cause, Closed},
    event::{Event, LinkId},
    link::{Input, Link},
    message::{Message, MessageId},
    outbox::{Delivery, Ended, Keep, Room},
    phase::{Phase, ReadyState},
    receipt::{EndReason, State},
    requests::Reply,
    run::Run,
    subscriptions::Reached,
};

impl Host for Slot {
    fn date(&self) -> SystemTime {
        self.sinks.calendar.now()
    }

    fn tell(&self, link: &Link, event: Event, now: Now) {
        let at = now.wall;
        self.observer.tell(&self.id, &event);
        self.traffic.count(&event, at);
        if let Event::DialFailed(failure) | Event::RotateFailed { failure, .. } = &event {
            self.sinks.rejections.keep(&self.id, failure, at);
        }
        if let Some(transition) = recorder::transition(&event) {
            let mut seen = self.seen();
            seen.record(transition, at);
            if let Event::Closed { generation, closed, .. } = &event
                && closed.cause == Cause::PongTimeout
                && let (Some(carrier), Some(carriers)) = (seen.shown.carrier(*generation), self.sinks.carriers.get())
            {
                carriers.retire(carrier);
            }
            let attempt = Attempt { url: seen.shown.url(), number: seen.shown.attempt() };
            self.sinks.observer.transition(&self.id, at, &event, attempt);
        }
        self.publish_event(link, at, &event);
    }

    fn deliver(&self, generation: u64, messages: Run, now: Now) {
        self.observer.tell_received(&self.id, generation, &messages);
        self.traffic.received(&messages);
        match self.sinks.streams.current() {
            None => self.sinks.inbox.deliver(&self.id, generation, now.wall, messages),
            Some(streams) => self.sinks.inbox.deliver_sorted(&self.id, generation, now.wall, messages, &streams),
        }
    }

    fn reply(&self, reply: Reply) {
        self.sinks.receipts.reply(reply);
    }

    fn settle(&self, link: &Link, reached: Vec<Ended>, generation: Option<u64>, now: Now) {
        self.observer.tell_receipts(&self.id, &reached, generation);
        let is_held = link.outbox_policy().delivery == Delivery::AtLeastOnce;
        if !self.durable.load(Ordering::Relaxed) {
            return self.sinks.receipts.advance(&reached, (now.at, now.wall), generation, is_held);
        }
        for one in &reached {
            // What the disk knows comes alone.
            if one.count > 1 || (is_held && one.state == State::Written) {
                self.sinks.receipts.advance(slice::from_ref(one), (now.at, now.wall), generation, is_held);
            } else {
                self.sinks.spool.settle(one.id, (one.state, one.end_reason), generation);
            }
        }
    }

    fn show(&self, link: &Link, now: Now, asked: bool) {
        let Now { at: now, wall } = now;
        self.sinks.variables.note(self.id.index, link.kept());
        let mut seen = self.seen();
        let (bytes, messages) = (link.buffered_amount(), link.queued_messages() as u64);
        let room = if asked { Room::default() } else { link.room() };
        // Under the lock of what is seen, so that nobody sees a message twice or not at all.
        let taken = self.orders.settle(standing((link.phase(), link.reason()), bytes), room);
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
        let (was_ready, is_ready) = (seen.shown.phase() == Phase::Ready, link.phase() == Phase::Ready);
        match (was_ready, is_ready) {
            (false, true) => drop(self.sinks.ready.fetch_add(1, Ordering::Relaxed)),
            (true, false) => drop(self.sinks.ready.fetch_sub(1, Ordering::Relaxed)),
            (true, true) | (false, false) => {}
        }
        let is_parked = seen.shown.phase() != Phase::Parked && link.phase() == Phase::Parked;
        seen.unconfirmed = link.unconfirmed_messages() as u64;
        seen.vitals.follow(link, now);
        seen.rest.follow(link, now);
        let was_away = seen.shown.away().is_some();
        seen.shown.follow(link, now, wall);
        let is_away = seen.shown.away().is_some();
        drop(seen);
        if was_away | is_away {
            self.sinks.homes.note(now, self.id.index, link);
        }
        if was_ready != is_ready {
            // Whoever holds the lock of the set may wait for those of slots.
            self.sinks.subscriptions.set_ready(now, self.id.index, is_ready);
        }
        if is_parked {
            self.sinks.parked.note(&self.id.endpoint);
        }
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
        // Of most links nothing ever comes in.
        if !self.has_answers.load(Ordering::Relaxed) || !self.has_answers.swap(false, Ordering::Acquire) {
            return Vec::new();
        }
        self.answers.lock().take().map(|answers| *answers).unwrap_or_default()
    }

    fn subscribed(&self, reached: Vec<Reached>) {
        self.sinks.subscriptions.reached(self.id.index, reached);
    }

    fn bury(&self, message: Box<Message>) {
        let key = message.key().map(Into::into);
        let Message { id, body, .. } = *message;
        let payload = body.into_first();
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

    fn is_listened(&self) -> bool {
        self.sinks.listeners.lock().has(self.id.index)
    }

    fn hold(&self) -> Hold {
        self.sinks.account.hold()
    }

    fn watched(&self) -> Option<(&LinkId, &Tap)> {
        self.sinks.tap.is_watched().then(|| (&self.id, &*self.sinks.tap))
    }
}

impl Slot {
    /// Publishes what consumers read; `generation` is the connection it belongs to.
    fn publish(&self, generation: u64, at: SystemTime, item: Item) {
        let fact = Stored::from(Entry { cursor: 0, at, link: self.id.clone(), generation, item });
        self.sinks.log.publish(fact.clone());
        self.sinks.streams.publish(&fact);
        self.sinks.inbox.publish(fact);
    }

    /// Publishes the events that consumers read.
    fn publish_event(&self, link: &Link, at: SystemTime, event: &Event) {
        if let Event::Opened { generation, established } = event {
            let (protocol, extensions) = (established.protocol.clone(), established.extensions());
            let item = Item::Open { protocol, extensions };
            self.publish(*generation, at, item);
            let gap = self.seen().gap.take();
            if let Some(gap) = gap {
                self.publish(*generation, at, Item::LinkGap { from: gap.from, to: at });
            }
        } else if let Event::Closed { generation, closed, .. } = event {
            self.publish_end(*generation, at, closed, closed.cause.is_failure());
            // An old connection that has been replaced is no loss.
            if link.ready_state() != ReadyState::Open {
                let lost = || Box::new(Gap { from: at, lost: Some(Arc::clone(closed)) });
                self.seen().gap.get_or_insert_with(lost);
            }
        } else if let Event::DialFailed(failure) = event {
            // A connection that was never open is failed, whoever ended it.
            self.publish_end(link.generation(), at, &Arc::new(failure.closed()), true);
        } else if let Event::Phase { to, reason, .. } = event {
            self.publish(link.generation(), at, Item::Phase { phase: *to, reason: *reason });
        }
    }

    /// `error` before `close` where the connection was failed (WHATWG §4).
    fn publish_end(&self, generation: u64, at: SystemTime, closed: &Arc<Closed>, failed: bool) {
        if failed {
            let item = Item::Error { cause: closed.cause, detail: closed.detail.clone() };
            self.publish(generation, at, item);
        }
        self.publish(generation, at, Item::Close(Arc::clone(closed)));
    }
}
