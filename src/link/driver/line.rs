//! A link's two lines, each an attempt or a connection: how they are moved, and what that tells the link.
//!
//! What happens on a line is told with its lane. The line of a connection that leaves is moved as the current one is: what
//! arrives on it is read, and answers that are made below us go out.

use std::{
    mem,
    task::{Context, Poll},
    time::Instant,
};

use super::{BATCH, Driver};
use crate::{
    core::link::{Frame, Input, Lane, Received},
    link::{
        Dial, Dialled, Progress, ack,
        dialing::Dialing,
        socket::{Arrival, Socket},
    },
};

/// An attempt, a connection, or neither.
pub(super) enum Line<S> {
    None,
    Dialing(Box<Dialing<S>>),
    Open(Box<Socket<S>>),
}

impl<D: Dial> Driver<D> {
    pub(super) fn poll_lines(&mut self, cx: &mut Context<'_>, now: Instant) -> bool {
        // The one that leaves comes first: what arrived on it is older.
        let beside = self.poll_line(cx, now, Lane::Beside);
        self.poll_line(cx, now, Lane::Current) || beside
    }

    fn poll_line(&mut self, cx: &mut Context<'_>, now: Instant, lane: Lane) -> bool {
        match self.line(lane) {
            Line::None => false,
            Line::Dialing(_) => self.poll_dial(cx, now, lane),
            Line::Open(_) => {
                let wrote = self.poll_write(cx, now, lane);
                let flushed = self.poll_flush(cx, now, lane);
                let read = self.poll_read(cx, now, lane);
                wrote || flushed || read
            }
        }
    }

    fn poll_dial(&mut self, cx: &mut Context<'_>, now: Instant, lane: Lane) -> bool {
        let Line::Dialing(dialing) = self.line(lane) else { return false };
        let attempt = dialing.attempt.as_mut().poll(cx);
        let steps = dialing.steps(now);
        let moved = !steps.is_empty();
        for step in steps {
            match step {
                Progress::Queued => self.feed_line(now, lane, Input::Queued),
                Progress::Admitted => self.feed_line(now, lane, Input::Admitted),
                Progress::Resolving | Progress::Connecting | Progress::Securing | Progress::Upgrading => {}
            }
        }
        match attempt {
            Poll::Pending => return moved,
            Poll::Ready(Ok(Dialled { stream, early, established })) => {
                *self.line(lane) = Line::Open(Socket::open(stream, early, self.link.max_inbound()));
                self.feed_line(now, lane, Input::Dialled(established));
            }
            Poll::Ready(Err(failure)) => {
                *self.line(lane) = Line::None;
                self.feed_line(now, lane, Input::DialFailed(Box::new(failure)));
            }
        }
        true
    }

    fn poll_write(&mut self, cx: &mut Context<'_>, now: Instant, lane: Lane) -> bool {
        for given in 0..BATCH {
            let Line::Open(socket) = self.line(lane) else { return true };
            if socket.poll_room(cx).is_pending() {
                return given > 0;
            }
            let Some(frame) = self.next_frame(now, lane) else { return given > 0 };
            if let (Some((link, tap)), Some(generation)) = (self.host.watched(), self.generation(lane)) {
                tap.sent(link, generation, &frame);
            }
            if let Line::Open(socket) = self.line(lane) {
                socket.give(frame);
            }
        }
        true
    }

    fn next_frame(&mut self, now: Instant, lane: Lane) -> Option<Frame> {
        match lane {
            Lane::Current => self.link.poll_transmit(now),
            Lane::Beside => self.link.poll_transmit_beside(),
        }
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>, now: Instant, lane: Lane) -> bool {
        let Line::Open(socket) = self.line(lane) else { return false };
        let left = socket.poll_flush(cx) == Poll::Ready(true);
        let (answer, moved) = (socket.answered(), socket.moved());
        if let (Some(answer), Some((link, tap)), Some(generation)) =
            (answer, self.host.watched(), self.generation(lane))
        {
            tap.answered(link, generation, *answer);
        }
        if left {
            self.feed_line(now, lane, Input::Flushed);
        } else if moved {
            self.feed_line(now, lane, Input::Moved);
        }
        left
    }

    fn poll_read(&mut self, cx: &mut Context<'_>, now: Instant, lane: Lane) -> bool {
        for taken in 0..BATCH {
            let Line::Open(socket) = self.line(lane) else { return true };
            let arrival = socket.poll_arrival(cx);
            let heard = socket.heard();
            self.look_at(lane, &arrival);
            if heard {
                self.feed_line(now, lane, Input::Heard);
            }
            match arrival {
                Poll::Pending => return taken > 0,
                Poll::Ready(Arrival::Nothing | Arrival::Pinged(_)) => {}
                Poll::Ready(Arrival::Received(received)) => {
                    let acknowledged = self.acknowledged(&received);
                    self.feed_line(now, lane, Input::Received(received));
                    if let Some(key) = acknowledged {
                        self.feed(now, Input::Acknowledged(key));
                    }
                }
                Poll::Ready(Arrival::Violation { code, cause, detail }) => {
                    self.feed_line(now, lane, Input::Violation { code, cause, detail });
                }
                Poll::Ready(Arrival::Ended(detail)) => {
                    self.hang_up(now, lane, detail);
                    return true;
                }
            }
        }
        true
    }

    /// Shows what arrived to those who look at frames.
    fn look_at(&mut self, lane: Lane, arrival: &Poll<Arrival>) {
        let generation = self.generation(lane);
        if let (Some((link, tap)), Some(generation), Poll::Ready(arrival)) = (self.host.watched(), generation, arrival)
        {
            tap.arrived(link, generation, arrival);
            if let Line::Open(socket) = self.line(lane) {
                socket.note_answer_to(arrival);
            }
        }
    }

    /// The key of the message that this one acknowledges.
    fn acknowledged(&self, received: &Received) -> Option<Box<str>> {
        let incoming = &self.link.outbox_policy().ack.as_ref()?.incoming;
        match received {
            Received::Message(payload) => ack::key(payload, incoming),
            Received::Pong(_) | Received::Close(_) => None,
        }
    }

    /// Begins an attempt.
    pub(super) fn dial(&mut self, now: Instant, lane: Lane, url: usize) {
        *self.line(lane) = Line::Dialing(Dialing::begin(&self.dialer, url, now));
    }

    /// The attempt has taken too long.
    pub(super) fn give_up(&mut self, now: Instant, lane: Lane) {
        let Line::Dialing(dialing) = mem::replace(self.line(lane), Line::None) else { return };
        self.feed_line(now, lane, Input::DialFailed(Box::new(dialing.timed_out(now))));
    }

    /// Drops the line; an open one ends by it.
    pub(super) fn hang_up(&mut self, now: Instant, lane: Lane, detail: Box<str>) {
        if let Line::Open(socket) = mem::replace(self.line(lane), Line::None) {
            let escaped = socket.escaped();
            let detail = if detail.is_empty() { socket.broken().unwrap_or_default().into() } else { detail };
            drop(socket);
            self.feed_line(now, lane, Input::Ended { escaped, detail });
        }
    }

    fn line(&mut self, lane: Lane) -> &mut Line<D::Stream> {
        match lane {
            Lane::Current => &mut self.line,
            Lane::Beside => &mut self.beside,
        }
    }

    fn generation(&self, lane: Lane) -> Option<u64> {
        match lane {
            Lane::Current => Some(self.link.generation()),
            Lane::Beside => self.link.generation_beside(),
        }
    }

    fn feed_line(&mut self, now: Instant, lane: Lane, input: Input) {
        match lane {
            Lane::Current => self.feed(now, input),
            Lane::Beside => self.feed(now, Input::Beside(Box::new(input))),
        }
    }
}
