//! A link's two lines, each an attempt or a connection: how they are moved, and what that tells the link.
//!
//! What happens on a line is told with its lane. The line of a connection that leaves is moved as the current one is: what
//! arrives on it is read, and answers that are made below us go out.

use std::{
    mem,
    sync::Arc,
    task::{Context, Poll},
};

use super::{BATCH, BATCH_BYTES, Driver};
use crate::link::{
    Dial, Dialled, Now, Progress, To, arrival::Arrival, dialing::Dialing, leaving::Left, socket::Socket,
};
use wskeeper_core::{
    link::{ConnectionInput, Input, Lane, Received},
    requests,
    run::Run,
    session::Ask,
};

/// An attempt, a connection, or neither.
pub(super) enum Line<S> {
    None,
    Dialing(Box<Dialing<S>>),
    Open(Box<Socket<S>>),
}

impl<D: Dial> Driver<D> {
    pub(super) fn poll_lines(&mut self, cx: &mut Context<'_>, now: Now) -> bool {
        // The one that leaves comes first: what arrived on it is older.
        let beside = self.poll_line(cx, now, Lane::Beside);
        self.poll_line(cx, now, Lane::Current) || beside
    }

    fn poll_line(&mut self, cx: &mut Context<'_>, now: Now, lane: Lane) -> bool {
        match self.line(lane) {
            Line::None => false,
            Line::Dialing(_) => self.poll_dial(cx, now, lane),
            Line::Open(_) => {
                let mut moved = self.poll_errands(cx, now, lane);
                moved |= self.poll_read(cx, now, lane);
                let was_broken = self.is_broken(lane);
                loop {
                    moved |= self.poll_write(cx, now, lane);
                    let (left, any) = self.poll_flush(cx, now, lane);
                    moved |= any;
                    // What has left makes way, for a ping that asks for its proof first of all.
                    if !left || self.again {
                        break;
                    }
                }
                // Where nothing can be written, reading tells the end.
                self.again |= self.is_broken(lane) != was_broken;
                moved | self.begin_errands(lane)
            }
        }
    }

    fn poll_dial(&mut self, cx: &mut Context<'_>, now: Now, lane: Lane) -> bool {
        let Line::Dialing(dialing) = self.line(lane) else { return false };
        let attempt = dialing.attempt.as_mut().poll(cx);
        self.again |= attempt.is_ready();
        let mut moved = false;
        while let Line::Dialing(dialing) = self.line(lane)
            && let Some(step) = dialing.step(now.at)
        {
            moved = true;
            match step {
                Progress::Queued => self.feed_line(now, lane, ConnectionInput::Queued),
                Progress::Admitted => self.feed_line(now, lane, ConnectionInput::Admitted),
                Progress::PassedOver(url) => self.feed_line(now, lane, ConnectionInput::PassedOver(url)),
                Progress::Stepping(waits) => {
                    self.feed_line(now, lane, ConnectionInput::Waits(Some(Box::new(waits))));
                }
                Progress::Connecting | Progress::Tunnelling => {
                    self.feed_line(now, lane, ConnectionInput::Waits(None));
                }
                Progress::Evaluating | Progress::Resolving | Progress::Securing | Progress::Upgrading => {}
            }
        }
        match attempt {
            Poll::Pending => return moved,
            Poll::Ready(Ok(Dialled { stream, early, established, session, ends, compression, windows })) => {
                let mut socket = Socket::open(stream, &early, self.link.max_inbound(), compression);
                socket.keep(windows);
                *self.line(lane) = Line::Open(socket);
                if let Some(start) = session {
                    self.feed_line(now, lane, ConnectionInput::Session(start));
                }
                self.feed_line(now, lane, ConnectionInput::Dialled(established));
                if let Some(at) = ends {
                    self.feed_line(now, lane, ConnectionInput::Expires(at));
                }
            }
            Poll::Ready(Err(failure)) => {
                *self.line(lane) = Line::None;
                self.feed_line(now, lane, ConnectionInput::DialFailed(Box::new(failure)));
            }
        }
        true
    }

    /// Tells what is done of what the session of a line has asked for.
    fn poll_errands(&mut self, cx: &mut Context<'_>, now: Now, lane: Lane) -> bool {
        let mut any = false;
        while let Line::Open(socket) = self.line(lane)
            && let Some((id, done)) = socket.errands.poll(cx)
        {
            any = true;
            self.feed_line(now, lane, ConnectionInput::Errand { id, done });
        }
        any
    }

    fn begin_errands(&mut self, lane: Lane) -> bool {
        let mut any = false;
        while let Some(Ask { id, errand }) = self.link.poll_ask(lane) {
            any = true;
            let errand = self.dialer.run(errand);
            if let Line::Open(socket) = self.line(lane) {
                socket.errands.add(id, errand);
            }
        }
        // They are polled for the first time in the next round.
        self.again |= any;
        any
    }

    fn poll_write(&mut self, cx: &mut Context<'_>, now: Now, lane: Lane) -> bool {
        for given in 0..BATCH {
            let Line::Open(socket) = self.line(lane) else { return true };
            if socket.poll_room(cx).is_pending() {
                return given > 0;
            }
            // Also where there is none it may have armed a timer.
            self.is_timed = false;
            let Some(frame) = self.link.poll_transmit(now.at, lane) else { return given > 0 };
            self.changes();
            if let (Some((link, tap)), Some(generation)) = (self.host.watched(), self.generation(lane)) {
                tap.sent(link, generation, &frame);
            }
            if let Line::Open(socket) = self.line(lane) {
                socket.give(frame);
            }
        }
        self.again = true;
        true
    }

    /// Answers with whether all of ours has left by it, and whether anything has.
    fn poll_flush(&mut self, cx: &mut Context<'_>, now: Now, lane: Lane) -> (bool, bool) {
        let Line::Open(socket) = self.line(lane) else { return (false, false) };
        let all = socket.poll_flush(cx) == Poll::Ready(true);
        let (answer, moved) = (socket.answered(), socket.moved());
        let left = if moved || all { socket.left() } else { Left::default() };
        if let (Some(answer), Some((link, tap)), Some(generation)) =
            (answer, self.host.watched(), self.generation(lane))
        {
            tap.answered(link, generation, *answer);
        }
        if all {
            self.feed_line(now, lane, ConnectionInput::Flushed);
        } else if moved {
            self.tell_left(now, lane, left);
        }
        self.tell_close(now, lane, left);
        (all, all || moved)
    }

    fn tell_left(&mut self, now: Now, lane: Lane, left: Left) {
        let messages = usize::try_from(left.messages).unwrap_or(usize::MAX);
        let part = if let Line::Open(socket) = self.line(lane) { socket.part() } else { 0 };
        self.feed_line(now, lane, ConnectionInput::Left { messages, pings: left.pings, part });
    }

    fn tell_close(&mut self, now: Now, lane: Lane, left: Left) {
        if let Some(code) = left.close {
            self.feed_line(now, lane, ConnectionInput::CloseSent(code));
        }
    }

    fn poll_read(&mut self, cx: &mut Context<'_>, now: Now, lane: Lane) -> bool {
        let mut bytes = 0;
        for taken in 0..BATCH {
            match self.poll_arrival(cx, now, lane) {
                Some(Poll::Ready(arrival)) => {
                    if let Arrival::Messages(run) = &arrival {
                        bytes += run.message_bytes();
                    }
                    self.follow(now, lane, arrival);
                    // To ask again would be to hear that there is nothing.
                    if matches!(self.line(lane), Line::Open(socket) if socket.is_drained()) {
                        self.count_arriving(now, lane);
                        return true;
                    }
                }
                Some(Poll::Pending) => {
                    self.count_arriving(now, lane);
                    return taken > 0;
                }
                None => break,
            }
            if bytes >= BATCH_BYTES {
                break;
            }
        }
        self.again = true;
        true
    }

    /// What has arrived of a message that is not whole has its share of the process's memory; where there is none the connection fails,
    /// and nobody else's does.
    fn count_arriving(&mut self, now: Now, lane: Lane) {
        let Line::Open(socket) = self.line(lane) else { return };
        let Some(bytes) = socket.arriving() else { return };
        let host = Arc::clone(&self.host);
        if let Line::Open(socket) = self.line(lane)
            && let Some(refusal) = socket.hold(bytes, || host.hold())
        {
            self.follow(now, lane, refusal);
        }
    }

    /// What arrives next on a line that is open.
    fn poll_arrival(&mut self, cx: &mut Context<'_>, now: Now, lane: Lane) -> Option<Poll<Arrival>> {
        let Line::Open(socket) = self.line(lane) else { return None };
        let arrival = socket.poll_arrival(cx);
        let heard = socket.heard();
        self.look_at(lane, &arrival);
        if heard {
            self.feed_line(now, lane, ConnectionInput::Heard);
        }
        Some(arrival)
    }

    fn deliver(&mut self, now: Now, lane: Lane, run: Run) {
        let keys = self.acknowledged(&run);
        self.feed_line(now, lane, ConnectionInput::Received(Received::Messages(run)));
        for key in keys {
            self.feed(now, Input::Acknowledged(key));
        }
    }

    fn follow(&mut self, now: Now, lane: Lane, arrival: Arrival) {
        match arrival {
            Arrival::Messages(run) => self.deliver(now, lane, run),
            Arrival::Pinged(_) if self.link.is_paced() => self.feed_line(now, lane, ConnectionInput::Pinged),
            Arrival::Nothing | Arrival::Pinged(_) => {}
            Arrival::Pong(payload) => self.feed_line(now, lane, ConnectionInput::Received(Received::Pong(payload))),
            Arrival::Close(frame) => self.feed_line(now, lane, ConnectionInput::Received(Received::Close(frame))),
            Arrival::Violation { code, cause, detail } => {
                self.feed_line(now, lane, ConnectionInput::Violation { code, cause, detail });
            }
            Arrival::Ended(detail) => self.hang_up(now, lane, detail),
        }
    }

    /// Shows what arrived to those who look at frames.
    fn look_at(&mut self, lane: Lane, arrival: &Poll<Arrival>) {
        let generation = self.generation(lane);
        if let (Some((link, tap)), Some(generation), Poll::Ready(arrival)) = (self.host.watched(), generation, arrival)
        {
            tap.arrived(link, generation, arrival, self.link.is_opening(lane));
            if let Line::Open(socket) = self.line(lane) {
                socket.note_answer_to(arrival);
            }
        }
    }

    /// The keys of the messages that these acknowledge.
    fn acknowledged(&self, run: &Run) -> Vec<Box<str>> {
        let Some(ack) = &self.link.outbox_policy().ack else { return Vec::new() };
        run.messages().filter_map(|(_, bytes)| requests::key(bytes, &ack.incoming)).collect()
    }

    /// Begins an attempt.
    pub(super) fn dial(&mut self, now: Now, lane: Lane, to: To) {
        *self.line(lane) = Line::Dialing(Dialing::begin(&self.dialer, to, self.link.kept().cloned(), now.at));
    }

    /// The attempt has taken too long.
    pub(super) fn give_up(&mut self, now: Now, lane: Lane) {
        let Line::Dialing(dialing) = mem::replace(self.line(lane), Line::None) else { return };
        self.feed_line(now, lane, ConnectionInput::DialFailed(Box::new(dialing.timed_out(now.at))));
    }

    /// Drops the line; an open one ends by it.
    pub(super) fn hang_up(&mut self, now: Now, lane: Lane, detail: Box<str>) {
        if let Line::Open(mut socket) = mem::replace(self.line(lane), Line::None) {
            // The peer's end may have overtaken the word that ours has left.
            socket.settle();
            let (left, begun) = (socket.left(), socket.begun());
            let detail = if detail.is_empty() { socket.broken().unwrap_or_default().into() } else { detail };
            drop(socket);
            if left != Left::default() {
                self.tell_left(now, lane, left);
                self.tell_close(now, lane, left);
            }
            self.feed_line(now, lane, ConnectionInput::Ended { begun, detail });
        }
    }

    fn is_broken(&mut self, lane: Lane) -> bool {
        matches!(self.line(lane), Line::Open(socket) if socket.broken().is_some())
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

    pub(super) fn feed_line(&mut self, now: Now, lane: Lane, input: ConnectionInput) {
        self.feed(now, Input::Connection(lane, input));
    }
}
