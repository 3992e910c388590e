//! The loop around one link: one task, one await, no decision of its own.
//!
//! A turn serves orders, does what is due, moves the dial or the connection as far as it goes, and asks for the next
//! deadline *last*, because pulling a frame may have moved it. Half-done work lives in fields, so nothing is lost between
//! turns; a dial, a full transport or a slow consumer never makes the loop deaf to orders. While a link rotates it has two
//! lines, both moved in each turn.
//!
//! What a reader would get wrong: one round is enough for traffic, because each step stands before those that it makes work
//! for. Whatever makes work for a step before it must say so by `again`, or it waits until something else wakes the task.

mod line;
mod offers;

use std::{
    collections::VecDeque,
    future::Future,
    mem,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Instant,
};

use tokio::time::{Sleep, sleep_until};

use self::{line::Line, offers::Waiting};
use super::{Dial, Host, Inbound, Inflow, Order};
use wskeeper_core::{
    chaos::Fault,
    event::Event,
    link::{Command, Commands, ConnectionInput, Input, Lane, Link, Received},
    receipt::EndReason,
};

/// Rounds of one turn before other tasks get theirs.
const ROUNDS: usize = 16;
/// Orders, frames out and arrivals taken in one round.
pub(super) const BATCH: usize = 128;
/// Bytes of messages taken in one round, but for the last that came together.
pub(super) const BATCH_BYTES: u64 = 256 << 10;
/// Messages that may wait for room in one outbox.
const WAITING_MAX: usize = 1024;

/// Runs `link`, beginning with `first`, until it has stopped, or its orders have ended and it has been stopped for that.
pub(crate) fn run<D: Dial>(
    link: Box<Link>,
    first: Input,
    dialer: D,
    host: Arc<dyn Host>,
    orders: &mut Inbound,
) -> Run<'_, D> {
    let driver = Box::new(Driver {
        first: Some(Box::new(first)),
        link,
        dialer,
        host,
        line: Line::None,
        beside: Line::None,
        waiting: None,
        offered: 0,
        is_asked: false,
        sleep: Box::pin(sleep_until(tokio::time::Instant::now())),
        is_armed: false,
        again: false,
        done: false,
        shown: false,
    });
    Run { driver, orders }
}

/// A link's task. Not an `async fn`: that would hold all that it is given twice, and there may be ten thousand of them.
pub(crate) struct Run<'a, D: Dial> {
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
    /// The connection that is to come, or the one that was.
    beside: Line<D::Stream>,
    /// Messages that wait for room, in order; one at least.
    #[allow(clippy::box_collection, reason = "it is seldom there, and every link has this")]
    waiting: Option<Box<VecDeque<Waiting>>>,
    /// Questions about messages so far.
    offered: u32,
    /// One of them is being answered.
    is_asked: bool,
    /// Where it is armed, it ends never later than the next deadline.
    sleep: Pin<Box<Sleep>>,
    is_armed: bool,
    /// There may be more to do for a step that this round has been past already.
    again: bool,
    done: bool,
    /// The host has been shown all that has changed.
    shown: bool,
}

fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

impl<D: Dial> Driver<D> {
    fn poll_turn(&mut self, cx: &mut Context<'_>, orders: &mut Inbound) -> Poll<()> {
        for _ in 0..ROUNDS {
            let now = now();
            self.again = false;
            let mut moved = self.poll_orders(cx, now, orders);
            moved |= self.take_answers(now);
            if self.link.poll_timeout().is_some_and(|(at, _)| at <= now) {
                let commands = self.link.handle_timeout(now);
                self.shown = false;
                self.execute(now, commands);
                moved = true;
            }
            if !self.done {
                moved |= self.poll_lines(cx, now);
                let let_in = self.serve_waiting(now);
                self.again |= let_in;
                moved |= let_in;
            }
            if moved {
                self.show(now);
            }
            if self.done {
                self.end_accepted(now, orders);
                return Poll::Ready(());
            }
            if !self.again {
                return self.poll_deadline(cx);
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    fn poll_deadline(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let link = self.link.poll_timeout().map(|(at, _)| at);
        let patience = self.waiting.iter().flat_map(|line| line.iter()).map(|waiting| waiting.offer.until).min();
        let Some(at) = link.into_iter().chain(patience).min() else {
            self.is_armed = false;
            return Poll::Pending;
        };
        // Each message moves the deadline away. A timer that ends too early costs less than one that is moved as often.
        if !self.is_armed || at < self.sleep.deadline().into_std() {
            self.sleep.as_mut().reset(at.into());
            self.is_armed = true;
        }
        if self.sleep.as_mut().poll(cx).is_ready() {
            self.is_armed = false;
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
                Poll::Ready(Some(Inflow::Message(message))) => self.take(now, message),
                Poll::Ready(Some(Inflow::Order(order))) => self.obey(now, *order),
                Poll::Ready(None) => {
                    // Nobody can order anything any more: the pool is gone without a word.
                    self.feed(now, Input::Stop(std::time::Duration::ZERO, EndReason::Shutdown));
                    return true;
                }
            }
        }
        self.again = true;
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
            Order::Offers { offers, stop, reply } => self.offer_all(now, offers, stop, reply),
            Order::Verb(verb, reply) => {
                self.feed(now, Input::Verb(verb));
                self.show(now);
                // The caller may have gone; what it asked for is done all the same.
                let _ = reply.send(());
            }
            Order::Inject(fault, reply) => {
                let found = self.inject(now, fault);
                let _ = reply.send(found);
            }
            Order::Retune { policy, renew } => {
                self.feed(now, Input::Policy(policy));
                if renew {
                    self.feed(now, Input::Renew);
                }
            }
            Order::Restore(messages) => {
                for message in messages {
                    self.link.restore(now, message);
                    self.shown = false;
                }
            }
            // It only wakes: answers are looked for in every turn.
            Order::Want(id) => self.feed(now, Input::Want(id)),
            Order::Disk => {}
            Order::ServerBack => self.feed(now, Input::ServerBack),
            // Who asked may have lost patience.
            Order::Answer(reply) => drop(reply.send(())),
            Order::Stop(within, end_reason) => self.feed(now, Input::Stop(within, end_reason)),
        }
    }

    /// What an operator breaks is met as if it had broken by itself; only the log and the history tell.
    fn inject(&mut self, now: Instant, fault: Fault) -> bool {
        let Line::Open(socket) = &mut self.line else { return false };
        let event = Event::Injected { generation: self.link.generation(), fault: fault.clone() };
        let close = socket.inject(fault);
        self.host.tell(&self.link, event);
        if let Some(frame) = close {
            self.feed_line(now, Lane::Current, ConnectionInput::Received(Received::Close(frame)));
        }
        true
    }

    fn feed(&mut self, now: Instant, input: Input) {
        let commands = self.link.handle(now, input);
        self.shown = false;
        self.execute(now, commands);
    }

    fn show(&mut self, now: Instant) {
        if !mem::replace(&mut self.shown, true) {
            // Where one is asked about or waits for room, those that come behind it are not to pass it.
            self.host.show(&self.link, now, self.is_asked || self.waiting.is_some());
        }
    }

    fn execute(&mut self, now: Instant, commands: Commands) {
        for command in commands {
            self.again |= match &command {
                Command::Tell(event) => !event.is_passing(),
                Command::Deliver { .. } | Command::Settle { .. } => false,
                Command::Dial { .. }
                | Command::GiveUp(_)
                | Command::Hangup(_)
                | Command::Switch
                | Command::Keep(_)
                | Command::Mark { .. }
                | Command::Bury(_)
                | Command::Done => true,
            };
            match command {
                Command::Dial { lane, url, urgent } => self.dial(now, lane, (url, urgent)),
                Command::GiveUp(lane) => self.give_up(now, lane),
                Command::Hangup(lane) => self.hang_up(now, lane, "".into()),
                Command::Switch => mem::swap(&mut self.line, &mut self.beside),
                Command::Tell(event) => {
                    // Who is told of a change finds a state that knows it; traffic alone can wait for the end of the turn.
                    if !event.is_traffic() {
                        self.show(now);
                    }
                    self.host.tell(&self.link, event);
                }
                Command::Deliver { generation, run } => self.host.deliver(generation, run),
                Command::Settle { reached, generation } => {
                    self.show(now);
                    self.host.settle(&self.link, reached, generation);
                }
                Command::Keep(keep) => self.host.keep(&keep, now),
                Command::Mark { ids, marked } => self.host.mark(&ids, marked),
                Command::Bury(message) => self.host.bury(message),
                Command::Done => self.done = true,
            }
        }
    }
}
