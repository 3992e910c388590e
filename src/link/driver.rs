//! The loop around one link: one task, one await, no decision of its own.
//!
//! A turn serves orders, does what is due, moves the dial or the connection as far as it goes, and asks for the next
//! deadline *last*, because pulling a frame may have moved it. Half-done work lives in fields, so nothing is lost between
//! turns; a dial, a full transport or a slow consumer never makes the loop deaf to orders.

use std::{
    collections::VecDeque,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Instant,
};

use tokio::{
    sync::oneshot,
    time::{Sleep, sleep_until},
};

use super::{
    Dial, Host, Inbound, Offer, Order, Progress, Stop, ack,
    dialing::Dialing,
    socket::{Arrival, Socket},
};
use crate::core::{
    chaos::Fault,
    event::Event,
    link::{Command, Commands, Input, Link, Received},
    outbox::Refusal,
    receipt::Fate,
};

/// Rounds of one turn before other tasks get theirs.
const ROUNDS: usize = 16;
/// Orders, frames out and frames in taken in one round.
const BATCH: usize = 128;
/// Callers that may wait for room in one outbox.
const WAITING_MAX: usize = 1024;

/// Runs `link`, beginning with `first`, until it has stopped, or its orders have ended and it has been stopped for that.
pub fn run<D: Dial>(link: Box<Link>, first: Input, dialer: D, host: Arc<dyn Host>, orders: &mut Inbound) -> Run<'_, D> {
    let driver = Box::new(Driver {
        first: Some(Box::new(first)),
        link,
        dialer,
        host,
        line: Line::None,
        waiting: VecDeque::new(),
        sleep: Box::pin(sleep_until(tokio::time::Instant::now())),
        armed: None,
        done: false,
    });
    Run { driver, orders }
}

/// A link's task. Not an `async fn`: that would hold all that it is given twice, and there may be ten thousand of them.
pub struct Run<'a, D: Dial> {
    driver: Box<Driver<D>>,
    orders: &'a mut Inbound,
}

impl<D: Dial + Unpin> Future for Run<'_, D> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let Self { driver, orders } = &mut *self;
        if let Some(first) = driver.first.take() {
            driver.feed(now(), *first);
        }
        driver.poll_turn(cx, orders)
    }
}

struct Driver<D: Dial> {
    /// What it begins with, until it has begun.
    first: Option<Box<Input>>,
    link: Box<Link>,
    dialer: D,
    host: Arc<dyn Host>,
    line: Line<D::Stream>,
    /// Callers that wait for room, in order.
    waiting: VecDeque<Offer>,
    sleep: Pin<Box<Sleep>>,
    armed: Option<Instant>,
    done: bool,
}

enum Line<S> {
    None,
    Dialing(Box<Dialing<S>>),
    Open(Box<Socket<S>>),
}

fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

impl<D: Dial> Driver<D> {
    fn poll_turn(&mut self, cx: &mut Context<'_>, orders: &mut Inbound) -> Poll<()> {
        for _ in 0..ROUNDS {
            let now = now();
            let mut moved = self.poll_orders(cx, now, orders);
            moved |= self.take_answers(now);
            if self.link.poll_timeout().is_some_and(|(at, _)| at <= now) {
                let commands = self.link.handle_timeout(now);
                self.execute(now, commands);
                moved = true;
            }
            if !self.done {
                moved |= self.poll_line(cx, now);
                moved |= self.serve_waiting(now);
            }
            if moved {
                self.host.show(&self.link, now);
            }
            if self.done {
                return Poll::Ready(());
            }
            if !moved {
                return self.poll_deadline(cx);
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    fn poll_deadline(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let link = self.link.poll_timeout().map(|(at, _)| at);
        let patience = self.waiting.iter().map(|offer| offer.until).min();
        let Some(at) = link.into_iter().chain(patience).min() else {
            self.armed = None;
            return Poll::Pending;
        };
        if self.armed != Some(at) {
            self.sleep.as_mut().reset(at.into());
            self.armed = Some(at);
        }
        if self.sleep.as_mut().poll(cx).is_ready() {
            self.armed = None;
            cx.waker().wake_by_ref();
        }
        Poll::Pending
    }

    fn poll_orders(&mut self, cx: &mut Context<'_>, now: Instant, orders: &mut Inbound) -> bool {
        for taken in 0..BATCH {
            // A stopped link takes nothing more: what it accepted now would have no end.
            if self.done {
                return true;
            }
            match orders.poll_recv(cx) {
                Poll::Pending => return taken > 0,
                Poll::Ready(Some(order)) => self.obey(now, *order),
                Poll::Ready(None) => {
                    // Nobody can order anything any more: the pool is gone without a word.
                    self.feed(now, Input::Stop(std::time::Duration::ZERO, Fate::Shutdown));
                    return true;
                }
            }
        }
        true
    }

    fn take_answers(&mut self, now: Instant) -> bool {
        let answers = self.host.answers();
        let any = !answers.is_empty();
        for answer in answers {
            self.feed(now, answer);
        }
        any
    }

    fn obey(&mut self, now: Instant, order: Order) {
        match order {
            Order::Offers { offers, stop } => self.offer_all(now, offers, stop),
            Order::Verb(verb, reply) => {
                self.feed(now, Input::Verb(verb));
                self.host.show(&self.link, now);
                // The caller may have gone; what it asked for is done all the same.
                let _ = reply.send(());
            }
            Order::Inject(fault, reply) => {
                let found = self.inject(now, fault);
                let _ = reply.send(found);
            }
            Order::Retune { policy, redial } => {
                self.feed(now, Input::Policy(policy));
                if redial {
                    self.feed(now, Input::Redial);
                }
            }
            Order::Restore(messages) => {
                for message in messages {
                    self.link.restore(now, message);
                }
            }
            // It only wakes: answers are looked for in every turn.
            Order::Disk => {}
            // Who asked may have lost patience.
            Order::Answer(reply) => drop(reply.send(())),
            Order::Stop(within, fate) => self.feed(now, Input::Stop(within, fate)),
        }
    }

    /// What an operator breaks is met as if it had broken by itself; only the log and the history tell.
    fn inject(&mut self, now: Instant, fault: Fault) -> bool {
        let Line::Open(socket) = &mut self.line else { return false };
        let event = Event::Injected { generation: self.link.generation(), fault: fault.clone() };
        let close = socket.inject(fault);
        self.host.tell(&self.link, event);
        if let Some(frame) = close {
            self.feed(now, Input::Received(Received::Close(frame)));
        }
        true
    }

    fn offer_all(&mut self, now: Instant, offers: Vec<Offer>, stop: Stop) {
        let mut is_over = false;
        // Where the caller has gone, the receipt has gone with it.
        for offer in offers.into_iter().filter(|offer| !offer.reply.is_closed()) {
            if is_over {
                refuse(offer.reply, Refusal::Full);
            } else if self.waiting.is_empty() {
                is_over = self.offer(now, offer).is_some_and(|refusal| stop.is_at(refusal));
            } else if self.waiting.len() < WAITING_MAX {
                self.waiting.push_back(offer);
            } else {
                is_over = stop.is_at(Refusal::Full);
                refuse(offer.reply, Refusal::Full);
            }
        }
    }

    /// Offers a message; one that must wait for room goes to the front of the line it came from. Answers with why it was
    /// refused, if it was.
    fn offer(&mut self, now: Instant, offer: Offer) -> Option<Refusal> {
        let Offer { message, until, reply } = offer;
        let (answer, commands) = self.link.offer(now, message);
        self.execute(now, commands);
        match answer {
            Ok(()) => {
                self.host.show(&self.link, now);
                let _ = reply.send(Ok(()));
                None
            }
            Err((message, Refusal::Wait)) if until > now => {
                self.waiting.push_front(Offer { message, until, reply });
                None
            }
            Err((_, refusal)) => {
                // Where it was to wait, its patience is over: there was no room in time.
                let refusal = if refusal == Refusal::Wait { Refusal::Full } else { refusal };
                refuse(reply, refusal);
                Some(refusal)
            }
        }
    }

    /// Lets callers in that waited for room, in order, and turns away those whose patience is over.
    fn serve_waiting(&mut self, now: Instant) -> bool {
        let before = self.waiting.len();
        while let Some(first) = self.waiting.pop_front() {
            let behind = self.waiting.len();
            if !first.reply.is_closed() {
                self.offer(now, first);
            }
            if self.waiting.len() > behind {
                break;
            }
        }
        if self.waiting.iter().any(|offer| offer.until <= now || offer.reply.is_closed()) {
            let (over, patient) = self.waiting.drain(..).partition(|offer| offer.until <= now);
            self.waiting = patient;
            for offer in Vec::from(over) as Vec<Offer> {
                refuse(offer.reply, Refusal::Full);
            }
            self.waiting.retain(|offer| !offer.reply.is_closed());
        }
        self.waiting.len() != before
    }

    fn poll_line(&mut self, cx: &mut Context<'_>, now: Instant) -> bool {
        match &mut self.line {
            Line::None => false,
            Line::Dialing(_) => self.poll_dial(cx, now),
            Line::Open(_) => {
                let wrote = self.poll_write(cx, now);
                let flushed = self.poll_flush(cx, now);
                let read = self.poll_read(cx, now);
                wrote || flushed || read
            }
        }
    }

    fn poll_dial(&mut self, cx: &mut Context<'_>, now: Instant) -> bool {
        let Line::Dialing(dialing) = &mut self.line else { return false };
        let attempt = dialing.attempt.as_mut().poll(cx);
        let steps = dialing.steps(now);
        let moved = !steps.is_empty();
        for step in steps {
            match step {
                Progress::Queued => self.feed(now, Input::Queued),
                Progress::Admitted => self.feed(now, Input::Admitted),
                Progress::Resolving | Progress::Connecting | Progress::Securing | Progress::Upgrading => {}
            }
        }
        match attempt {
            Poll::Pending => return moved,
            Poll::Ready(Ok((socket, established))) => {
                self.line = Line::Open(socket);
                self.feed(now, Input::Dialled(established));
            }
            Poll::Ready(Err(failure)) => {
                self.line = Line::None;
                self.feed(now, Input::DialFailed(Box::new(failure)));
            }
        }
        true
    }

    fn poll_write(&mut self, cx: &mut Context<'_>, now: Instant) -> bool {
        for given in 0..BATCH {
            let Line::Open(socket) = &mut self.line else { return true };
            if socket.poll_room(cx).is_pending() {
                return given > 0;
            }
            let Some(frame) = self.link.poll_transmit(now) else { return given > 0 };
            if let Some((link, tap)) = self.host.watched() {
                tap.sent(link, self.link.generation(), &frame);
            }
            socket.give(frame);
        }
        true
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>, now: Instant) -> bool {
        let Line::Open(socket) = &mut self.line else { return false };
        let left = socket.poll_flush(cx) == Poll::Ready(true);
        if let Some(answer) = socket.answered()
            && let Some((link, tap)) = self.host.watched()
        {
            tap.answered(link, self.link.generation(), *answer);
        }
        let moved = socket.moved();
        if left {
            self.feed(now, Input::Flushed);
        } else if moved {
            self.feed(now, Input::Moved);
        }
        left
    }

    fn poll_read(&mut self, cx: &mut Context<'_>, now: Instant) -> bool {
        for taken in 0..BATCH {
            let Line::Open(socket) = &mut self.line else { return true };
            let arrival = socket.poll_arrival(cx);
            if let (Some((link, tap)), Poll::Ready(arrival)) = (self.host.watched(), &arrival) {
                tap.arrived(link, self.link.generation(), arrival);
                socket.note_answer_to(arrival);
            }
            if socket.heard() {
                self.feed(now, Input::Heard);
            }
            match arrival {
                Poll::Pending => return taken > 0,
                Poll::Ready(Arrival::Nothing | Arrival::Pinged(_)) => {}
                Poll::Ready(Arrival::Received(received)) => {
                    let acknowledged = self.acknowledged(&received);
                    self.feed(now, Input::Received(received));
                    if let Some(key) = acknowledged {
                        self.feed(now, Input::Acknowledged(key));
                    }
                }
                Poll::Ready(Arrival::Violation { code, cause, detail }) => {
                    self.feed(now, Input::Violation { code, cause, detail });
                }
                Poll::Ready(Arrival::Ended(detail)) => {
                    self.hang_up(now, detail);
                    return true;
                }
            }
        }
        true
    }

    /// The key of the message that this one acknowledges.
    fn acknowledged(&self, received: &Received) -> Option<Box<str>> {
        let incoming = &self.link.outbox_policy().ack.as_ref()?.incoming;
        match received {
            Received::Message(payload) => ack::key(payload, incoming),
            Received::Pong(_) | Received::Close(_) => None,
        }
    }

    fn feed(&mut self, now: Instant, input: Input) {
        let commands = self.link.handle(now, input);
        self.execute(now, commands);
    }

    fn execute(&mut self, now: Instant, commands: Commands) {
        let mut shown = false;
        for command in commands {
            match command {
                Command::Dial { url } => {
                    self.line = Line::Dialing(Dialing::begin(&self.dialer, url, self.link.max_inbound(), now));
                }
                Command::GiveUp => self.give_up(now),
                Command::Hangup => self.hang_up(now, "".into()),
                Command::Tell(event) => {
                    // Who is told of a change finds a state that knows it; traffic alone can wait for the end of the turn.
                    if !shown && !event.is_traffic() {
                        self.host.show(&self.link, now);
                        shown = true;
                    }
                    self.host.tell(&self.link, event);
                }
                Command::Keep(keep) => self.host.keep(&keep, now),
                Command::Mark { ids, marked } => self.host.mark(&ids, marked),
                Command::Bury(message) => self.host.bury(message),
                Command::Done => self.done = true,
            }
        }
    }

    /// The attempt has taken too long.
    fn give_up(&mut self, now: Instant) {
        let Line::Dialing(dialing) = std::mem::replace(&mut self.line, Line::None) else { return };
        self.feed(now, Input::DialFailed(Box::new(dialing.timed_out(now))));
    }

    /// Drops the line; an open one ends by it.
    fn hang_up(&mut self, now: Instant, detail: Box<str>) {
        if let Line::Open(socket) = std::mem::replace(&mut self.line, Line::None) {
            let escaped = socket.escaped();
            let detail = if detail.is_empty() { socket.broken().unwrap_or_default().into() } else { detail };
            drop(socket);
            self.feed(now, Input::Ended { escaped, detail });
        }
    }
}

fn refuse(reply: oneshot::Sender<Result<(), Refusal>>, refusal: Refusal) {
    // A caller that has gone needs no answer.
    let _ = reply.send(Err(refusal));
}
