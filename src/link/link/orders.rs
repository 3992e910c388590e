//! The line in which a link's orders wait, and messages that it need not be asked about: bounded, and without memory of its own while
//! nobody waits.
//!
//! A channel of tokio's holds a block of thirty-two slots and its counters on cache lines of their own, 800 bytes for each
//! link, used or not; of all that a link keeps while it is idle that was a tenth. What a reader would get wrong: there is one
//! sender and it is shared, so it is not to be cloned; when it is gone, nobody can order anything any more.
//!
//! The link's task says how much its outbox takes (`settle`), and up to that a message is accepted by being put in line: room is
//! counted and the line is joined under one lock, so no limit is ever passed, no order is ever changed, and what is accepted is in the
//! line of a task that has not ended. While a question is in the line, messages that come behind it are questions too.
//!
//! Where orders come from several tasks at about the same time, the first of them waits until those tasks have had their turn,
//! so that one write carries what they all send. Where they come alone, none waits.

use std::{
    collections::VecDeque,
    mem,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll, Waker},
    vec,
};

use bursts::Bursts;
use parking_lot::{Mutex, MutexGuard};
use tokio::sync::Semaphore;

use super::{Offer, Order, Ruling};
use wskeeper_core::{
    message::{Message, MessageId},
    outbox::Room,
};

mod bursts;

/// Room that an empty line keeps.
const SPARE: usize = 4;
/// A line in which `bound` orders may wait.
pub(crate) fn orders(bound: usize) -> (Orders, Inbound) {
    let line = Line { queue: Mutex::default(), room: Semaphore::new(bound), load: AtomicU64::new(u64::MAX) };
    let line = Arc::new(line);
    (Orders { line: Arc::clone(&line) }, Inbound { line })
}

/// Where a link's orders go.
#[derive(Debug)]
pub(crate) struct Orders {
    line: Arc<Line>,
}

/// Where they come from.
#[derive(Debug)]
pub(crate) struct Inbound {
    line: Arc<Line>,
}

/// What a link's task takes from its line.
#[derive(Debug)]
pub(crate) enum Inflow {
    /// A message that is accepted, or several.
    Message(Box<Message>),
    /// An order.
    Order(Box<Order>),
}

/// The link's task takes no more orders.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ended;

#[derive(Debug)]
struct Line {
    queue: Mutex<Queue>,
    room: Semaphore,
    /// How the link stands among others: see [`Orders::load`]. Written under the lock of the queue.
    load: AtomicU64,
}

#[derive(Debug, Default)]
struct Queue {
    inflow: VecDeque<Inflow>,
    reader: Option<Waker>,
    /// What more is accepted without a question.
    free: Room,
    /// Accepted so, and not yet shown by the link.
    pending: Room,
    /// What of that the link has taken.
    taken: Room,
    /// Questions in the line.
    questions: u16,
    bursts: Bursts,
    /// One of the two ends is gone.
    closed: bool,
}

impl Orders {
    /// Adds an order, when there is room.
    pub(crate) async fn send(&self, order: Box<Order>) -> Result<(), Ended> {
        self.line.room.acquire().await.map_err(|_| Ended)?.forget();
        self.line.push(order)
    }

    /// Adds an order if there is room now. Answers with whether it has.
    pub(crate) fn try_send(&self, order: Box<Order>) -> bool {
        let Ok(room) = self.line.room.try_acquire() else { return false };
        room.forget();
        self.line.push(order).is_ok()
    }

    /// Accepts messages, in order, as long as the link need not be asked. Answers with how many and how much; those that are left are to
    /// be asked about.
    pub(crate) fn accept(&self, offers: &mut vec::IntoIter<Offer>) -> Room {
        let mut accepted = Room::default();
        let mut awaited = Vec::new();
        let reader = {
            let mut queue = self.line.queue();
            if queue.closed {
                return accepted;
            }
            while let Some(offer) = offers.as_slice().first()
                && queue.free.take(&offer.message.body) > 0
                && let Some(Offer { message, pledge, .. }) = offers.next()
            {
                accepted.join(Room::of(&message.body));
                queue.inflow.push_back(Inflow::Message(message));
                if pledge.is_awaited() {
                    awaited.push(pledge);
                } else {
                    pledge.rule(Ruling::Accepted);
                }
            }
            self.has_joined(&mut queue, accepted)
        };
        reader.into_iter().for_each(Waker::wake);
        for pledge in awaited {
            pledge.rule(Ruling::Accepted);
        }
        accepted
    }

    /// Accepts messages that came together, as far as the link need not be asked. Answers with how many and how much, and with those that
    /// are left.
    pub(crate) fn accept_run(&self, mut message: Box<Message>) -> (Room, Option<Box<Message>>) {
        let mut queue = self.line.queue();
        let count = if queue.closed { 0 } else { queue.free.take(&message.body) };
        let (first, rest) = if count == message.count() {
            (message, None)
        } else {
            let Some(first) = message.split_to(count) else { return (Room::default(), Some(message)) };
            (Box::new(first), Some(message))
        };
        let accepted = Room::of(&first.body);
        queue.inflow.push_back(Inflow::Message(first));
        let reader = self.has_joined(&mut queue, accepted);
        drop(queue);
        reader.into_iter().for_each(Waker::wake);
        (accepted, rest)
    }

    /// So much has been put in line. Who reads it is to be woken.
    fn has_joined(&self, queue: &mut Queue, accepted: Room) -> Option<Waker> {
        if accepted.messages == 0 {
            return None;
        }
        queue.pending.join(accepted);
        let load = self.line.load.load(Ordering::Relaxed);
        self.line.load.store(load.saturating_add(accepted.bytes), Ordering::Relaxed);
        queue.bursts.arrives();
        queue.reader.take()
    }

    /// The link shows how it stands: at this load, without what is still in line, and with room for so much more. Answers with what it has
    /// taken of the line since it last did.
    pub(crate) fn settle(&self, load: u64, room: Room) -> Room {
        let mut queue = self.line.queue();
        let taken = mem::take(&mut queue.taken);
        queue.pending = queue.pending.without(taken);
        queue.free = if queue.questions == 0 { room.without(queue.pending) } else { Room::default() };
        self.line.load.store(load.saturating_add(queue.pending.bytes), Ordering::Relaxed);
        taken
    }

    /// What was shown last, with the bytes that have been accepted since. Asks nobody.
    pub(crate) fn load(&self) -> u64 {
        self.line.load.load(Ordering::Relaxed)
    }

    /// Accepted, and not yet shown by the link.
    pub(crate) fn pending(&self) -> Room {
        self.line.queue().pending
    }

    /// The link's task was lost: so is what it has taken. Answers with how much that is, beside what it has shown, and with the names of
    /// those that are still in line.
    pub(crate) fn lose_taken(&self) -> (Room, Vec<MessageId>) {
        let mut queue = self.line.queue();
        let taken = mem::take(&mut queue.taken);
        queue.pending = queue.pending.without(taken);
        queue.free = Room::default();
        let names = queue.inflow.iter().flat_map(|inflow| match inflow {
            Inflow::Message(message) => (0..message.count()).map(|place| message.id.later(place)).collect(),
            Inflow::Order(order) => match &**order {
                Order::Offers { offers, .. } => offers.iter().map(|offer| offer.message.id).collect(),
                Order::Verb(..)
                | Order::Inject(..)
                | Order::Retune { .. }
                | Order::Restore(_)
                | Order::Want(_)
                | Order::Disk
                | Order::ServerBack { .. }
                | Order::Answer(_)
                | Order::CredentialsChanged
                | Order::Return
                | Order::Stop(..) => Vec::new(),
            },
        });
        (taken, names.collect())
    }
}

impl Drop for Orders {
    fn drop(&mut self) {
        let reader = {
            let mut queue = self.line.queue();
            queue.closed = true;
            queue.reader.take()
        };
        reader.into_iter().for_each(Waker::wake);
    }
}

impl Inbound {
    /// The next in line; `None` once the sender is gone and all that it ordered has been taken.
    pub(crate) fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Option<Inflow>> {
        let mut queue = self.line.queue();
        let Some(first) = queue.inflow.front() else {
            if queue.closed {
                return Poll::Ready(None);
            }
            match &mut queue.reader {
                Some(reader) => reader.clone_from(cx.waker()),
                None => queue.reader = Some(cx.waker().clone()),
            }
            queue.bursts.ends();
            return Poll::Pending;
        };
        // What has been taken is to have the chance to leave before the question is answered.
        let waits_for_room = queue.taken.messages > 0 && first.is_question();
        if waits_for_room || queue.bursts.is_to_wait() {
            drop(queue);
            // A task that wakes itself goes behind those that are ready now.
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let inflow = queue.pop();
        drop(queue);
        if let Some(Inflow::Order(_)) = inflow {
            self.line.room.add_permits(1);
        }
        inflow.map_or(Poll::Pending, |inflow| Poll::Ready(Some(inflow)))
    }

    /// Takes no more, and answers with the messages that are accepted and still in line: nothing is accepted from now on.
    #[expect(clippy::vec_box, reason = "the outbox holds them boxed, so they move as pointers")]
    pub(crate) fn close(&mut self) -> Vec<Box<Message>> {
        self.line.room.close();
        let left = {
            let mut queue = self.line.queue();
            queue.closed = true;
            queue.taken = queue.pending;
            mem::take(&mut queue.inflow)
        };
        let accepted = left.into_iter().filter_map(|inflow| match inflow {
            Inflow::Message(message) => Some(message),
            // Outside the lock: with it goes the answer that somebody waits for.
            Inflow::Order(_) => None,
        });
        accepted.collect()
    }
}

impl Inflow {
    fn is_question(&self) -> bool {
        match self {
            Self::Message(_) => false,
            Self::Order(order) => matches!(**order, Order::Offers { .. }),
        }
    }
}

impl Drop for Inbound {
    fn drop(&mut self) {
        self.close();
    }
}

impl Line {
    fn push(&self, order: Box<Order>) -> Result<(), Ended> {
        let inflow = Inflow::Order(order);
        let reader = {
            let mut queue = self.queue();
            if queue.closed {
                return Err(Ended);
            }
            if inflow.is_question() {
                queue.questions = queue.questions.saturating_add(1);
                queue.free = Room::default();
            }
            queue.inflow.push_back(inflow);
            queue.bursts.arrives();
            queue.reader.take()
        };
        reader.into_iter().for_each(Waker::wake);
        Ok(())
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock()
    }
}

impl Queue {
    fn pop(&mut self) -> Option<Inflow> {
        let inflow = self.inflow.pop_front()?;
        if self.inflow.is_empty() && self.inflow.capacity() > SPARE {
            self.inflow = VecDeque::new();
        }
        match &inflow {
            Inflow::Message(message) => self.taken.join(Room::of(&message.body)),
            question if question.is_question() => self.questions = self.questions.saturating_sub(1),
            Inflow::Order(_) => {}
        }
        Some(inflow)
    }
}

#[cfg(test)]
mod tests;
