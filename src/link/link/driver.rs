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
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll},
};

use tokio::{
    task::coop::unconstrained,
    time::{Sleep, sleep_until},
};

use self::{line::Line, offers::Waiting};
use super::{Dial, Host, Inbound, Inflow, Now, Order};
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
        is_timed: false,
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
            driver.feed(Now::read(&*driver.host), *first);
        }
        driver.poll_turn(cx, orders)
    }
}

#[allow(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
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
    /// The link has not changed since it was looked when it must be woken.
    is_timed: bool,
    /// There may be more to do for a step that this round has been past already.
    again: bool,
    done: bool,
    /// The host has been shown all that has changed.
    shown: bool,
}

impl<D: Dial> Driver<D> {
    fn poll_turn(&mut self, cx: &mut Context<'_>, orders: &mut Inbound) -> Poll<()> {
        let now = Now::read(&*self.host);
        for _ in 0..ROUNDS {
            self.again = false;
            self.poll_orders(cx, now, orders);
            self.take_answers(now);
            if self.is_due(now) {
                let commands = self.link.handle_timeout(now.at);
                self.changes();
                self.execute(now, commands);
            }
            if !self.done {
                self.poll_lines(cx, now);
                self.again |= self.serve_waiting(now);
            }
            if self.done {
                self.show(now);
                self.end_accepted(now, orders);
                return Poll::Ready(());
            }
            if !self.again {
                self.show(now);
                return self.poll_deadline(cx);
            }
        }
        self.show(now);
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Whether the link has something to do by now. Where it has not changed since the timer was armed, the timer says that it has not.
    fn is_due(&self, now: Now) -> bool {
        let is_early = self.is_timed && (!self.is_armed || self.sleep.deadline().into_std() > now.at);
        !is_early && self.link.poll_timeout().is_some_and(|(at, _)| at <= now.at)
    }

    fn poll_deadline(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let has_rung = self.is_armed && self.sleep.is_elapsed();
        if self.is_timed && !has_rung {
            return Poll::Pending;
        }
        self.is_timed = true;
        self.is_armed &= !has_rung;
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
            // It keeps the waker of this task and is not asked again, so it must not be put off for a task that has done much.
            if pin!(unconstrained(self.sleep.as_mut())).poll(cx).is_ready() {
                cx.waker().wake_by_ref();
            }
        }
        Poll::Pending
    }

    fn poll_orders(&mut self, cx: &mut Context<'_>, now: Now, orders: &mut Inbound) -> bool {
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

    fn take_answers(&mut self, now: Now) -> bool {
        let answers = self.host.answers();
        let any = !answers.is_empty();
        for answer in answers {
            self.feed(now, answer);
        }
        any
    }

    fn obey(&mut self, now: Now, order: Order) {
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
            Order::Retune { policy, bucket, allowance, renew } => {
                self.link.share(bucket);
                self.link.allow(allowance);
                self.feed(now, Input::Policy(policy));
                // A link that was not lazy has not listened to that.
                self.feed(now, Input::Listened(self.host.is_listened()));
                if renew {
                    self.feed(now, Input::Renew);
                }
            }
            Order::Restore(messages) => {
                for message in messages {
                    self.link.restore(now.at, message);
                    self.changes();
                }
            }
            // It only wakes: answers are looked for in every turn.
            Order::Want(id) => self.feed(now, Input::Want(id)),
            Order::Disk => {}
            Order::ServerBack { was_sent } => self.feed(now, Input::ServerBack { was_sent }),
            Order::CredentialsChanged => self.feed(now, Input::CredentialsChanged),
            Order::Return => self.feed(now, Input::Return),
            // Who asked may have lost patience.
            Order::Answer(reply) => drop(reply.send(())),
            Order::Stop(within, end_reason) => self.feed(now, Input::Stop(within, end_reason)),
        }
    }

    /// What an operator breaks is met as if it had broken by itself; only the log and the history tell.
    fn inject(&mut self, now: Now, fault: Fault) -> bool {
        let Line::Open(socket) = &mut self.line else { return false };
        let event = Event::Injected { generation: self.link.generation(), fault: fault.clone() };
        let close = socket.inject(fault);
        self.host.tell(&self.link, event, now);
        if let Some(frame) = close {
            self.feed_line(now, Lane::Current, ConnectionInput::Received(Received::Close(frame)));
        }
        true
    }

    fn feed(&mut self, now: Now, input: Input) {
        let commands = self.link.handle(now.at, input);
        self.changes();
        self.execute(now, commands);
    }

    /// The link changes: it is to be shown, and its deadlines looked at.
    fn changes(&mut self) {
        (self.shown, self.is_timed) = (false, false);
    }

    fn show(&mut self, now: Now) {
        if !mem::replace(&mut self.shown, true) {
            // Where one is asked about or waits for room, those that come behind it are not to pass it.
            self.host.show(&self.link, now, self.is_asked || self.waiting.is_some());
        }
    }

    fn execute(&mut self, now: Now, commands: Commands) {
        for command in commands {
            self.again |= match &command {
                Command::Tell(event) => !event.is_passing(),
                Command::Deliver { .. } | Command::Reply(_) | Command::Settle { .. } | Command::Subscribed(_) => false,
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
                Command::Dial { lane, to } => self.dial(now, lane, to),
                Command::GiveUp(lane) => self.give_up(now, lane),
                Command::Hangup(lane) => self.hang_up(now, lane, "".into()),
                Command::Switch => mem::swap(&mut self.line, &mut self.beside),
                Command::Tell(event) => {
                    // Who is told of a change finds a state that knows it; traffic alone can wait for the end of the turn.
                    if !event.is_traffic() {
                        self.show(now);
                    }
                    self.host.tell(&self.link, event, now);
                }
                Command::Deliver { generation, run } => self.host.deliver(generation, run, now),
                Command::Settle { reached, generation } => {
                    self.show(now);
                    self.host.settle(&self.link, reached, generation, now);
                }
                Command::Subscribed(reached) => self.host.subscribed(reached),
                Command::Keep(keep) => self.host.keep(&keep, now),
                Command::Mark { ids, marked } => self.host.mark(&ids, marked),
                Command::Reply(reply) => self.host.reply(*reply),
                Command::Bury(message) => self.host.bury(message),
                Command::Done => self.done = true,
            }
        }
    }
}
