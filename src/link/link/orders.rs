//! The line in which a link's orders wait: bounded, and without memory of its own while nobody waits.
//!
//! A channel of tokio's holds a block of thirty-two slots and its counters on cache lines of their own, 800 bytes for each
//! link, used or not; of all that a link keeps while it is idle that was a tenth. What a reader would get wrong: there is one
//! sender and it is shared, so it is not to be cloned; when it is gone, nobody can order anything any more.
//!
//! Where orders come from several tasks at about the same time, the first of them waits until those tasks have had their turn,
//! so that one write carries what they all send. Where orders come alone, none waits.

use std::{
    collections::VecDeque,
    sync::Arc,
    task::{Context, Poll, Waker},
};

use parking_lot::{Mutex, MutexGuard};
use tokio::sync::Semaphore;

use super::Order;

/// Room that an empty line keeps.
const SPARE: usize = 4;
/// So many orders in a row that came alone say that the next one does, too.
const ALONE: u8 = 2;
/// One in so many is given the chance to show that it does not.
const PROBE: u8 = 64;

/// A line in which `bound` orders may wait.
pub(crate) fn orders(bound: usize) -> (Orders, Inbound) {
    let line = Arc::new(Line { queue: Mutex::default(), room: Semaphore::new(bound) });
    (Orders { line: Arc::clone(&line) }, Inbound { line, company: Company::default() })
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
    company: Company,
}

/// Whether orders come in company: a burst is what is taken between two moments at which nothing is there.
#[derive(Debug, Default)]
struct Company {
    /// Orders taken of this burst: none, one, or more.
    taken: u8,
    /// The first of this burst has waited.
    has_waited: bool,
    /// Bursts in a row of one order; begins again at `ALONE` where one has had its chance.
    alone: u8,
}

/// The link's task takes no more orders.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ended;

#[derive(Debug)]
struct Line {
    queue: Mutex<Queue>,
    room: Semaphore,
}

#[derive(Debug, Default)]
struct Queue {
    orders: VecDeque<Box<Order>>,
    reader: Option<Waker>,
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
    /// The next order; `None` once the sender is gone and all that it ordered has been taken.
    pub(crate) fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Option<Box<Order>>> {
        let mut queue = self.line.queue();
        if queue.orders.is_empty() {
            if queue.closed {
                return Poll::Ready(None);
            }
            match &mut queue.reader {
                Some(reader) => reader.clone_from(cx.waker()),
                None => queue.reader = Some(cx.waker().clone()),
            }
            self.company.part();
            return Poll::Pending;
        }
        if self.company.waits() {
            drop(queue);
            // A task that wakes itself goes behind those that are ready now.
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let Some(order) = queue.orders.pop_front() else { return Poll::Pending };
        if queue.orders.is_empty() && queue.orders.capacity() > SPARE {
            queue.orders = VecDeque::new();
        }
        drop(queue);
        self.line.room.add_permits(1);
        Poll::Ready(Some(order))
    }
}

impl Company {
    /// Whether the order that comes next is to wait for others; no more than once in a burst.
    fn waits(&mut self) -> bool {
        let is_first = self.taken == 0 && !self.has_waited;
        self.has_waited = is_first && (self.alone < ALONE || self.alone >= PROBE);
        if !self.has_waited {
            self.taken = self.taken.saturating_add(1);
        }
        self.has_waited
    }

    /// The burst is over.
    fn part(&mut self) {
        match self.taken {
            0 => return,
            1 if self.alone >= PROBE => self.alone = ALONE,
            1 => self.alone += 1,
            _ => self.alone = 0,
        }
        (self.taken, self.has_waited) = (0, false);
    }
}

impl Drop for Inbound {
    fn drop(&mut self) {
        self.line.room.close();
        // Dropped outside the lock: with each goes the answer that somebody waits for.
        let _left = {
            let mut queue = self.line.queue();
            queue.closed = true;
            std::mem::take(&mut queue.orders)
        };
    }
}

impl Line {
    fn push(&self, order: Box<Order>) -> Result<(), Ended> {
        let reader = {
            let mut queue = self.queue();
            if queue.closed {
                return Err(Ended);
            }
            queue.orders.push_back(order);
            queue.reader.take()
        };
        reader.into_iter().for_each(Waker::wake);
        Ok(())
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock()
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use futures_util::FutureExt as _;
    use tokio::sync::oneshot;

    use super::*;

    fn order() -> (Box<Order>, oneshot::Receiver<()>) {
        let (reply, answer) = oneshot::channel();
        (Box::new(Order::Answer(reply)), answer)
    }

    #[tokio::test]
    async fn a_full_line_makes_the_sender_wait_until_an_order_is_taken() {
        let (orders, mut inbound) = orders(1);
        assert!(orders.try_send(order().0));
        assert!(!orders.try_send(order().0));
        let mut waiting = Box::pin(orders.send(order().0));
        assert!((&mut waiting).now_or_never().is_none());
        assert!(poll_fn(|cx| inbound.poll_recv(cx)).await.is_some());
        assert_eq!(waiting.await, Ok(()));
        assert!(poll_fn(|cx| inbound.poll_recv(cx)).await.is_some());
    }

    #[tokio::test]
    async fn a_reader_that_waits_is_woken_by_an_order_and_by_the_end_of_the_sender() {
        let (orders, mut inbound) = orders(4);
        let reader = tokio::spawn(async move {
            let mut taken = 0;
            while poll_fn(|cx| inbound.poll_recv(cx)).await.is_some() {
                taken += 1;
            }
            taken
        });
        tokio::task::yield_now().await;
        assert_eq!(orders.send(order().0).await, Ok(()));
        drop(orders);
        assert_eq!(reader.await.unwrap(), 1);
    }

    #[tokio::test]
    async fn the_first_of_orders_that_come_together_waits_for_the_others_and_one_that_comes_alone_does_not() {
        let (orders, mut inbound) = orders(4);
        let mut taken = |sent| {
            (0..sent).for_each(|_| assert!(orders.try_send(order().0)));
            let held = poll_fn(|cx| inbound.poll_recv(cx)).now_or_never().is_none();
            while poll_fn(|cx| inbound.poll_recv(cx)).now_or_never().is_some() {}
            assert!(inbound.line.queue().orders.is_empty());
            held
        };
        assert_eq!([3, 3, 1, 1].map(&mut taken), [true; 4]);
        assert_eq!([1, 1, 1, 3].map(&mut taken), [false; 4], "it has come alone twice, and has company again");
        assert_eq!([1, 3].map(&mut taken), [true; 2]);
    }

    #[tokio::test]
    async fn orders_left_behind_are_dropped_with_the_reader_and_later_ones_refused() {
        let (orders, inbound) = orders(1);
        let (left, answer) = order();
        assert!(orders.try_send(left));
        let waiting = orders.send(order().0);
        drop(inbound);
        assert!(answer.await.is_err(), "who waits for an answer is told that there will be none");
        assert_eq!(waiting.await, Err(Ended));
        assert!(!orders.try_send(order().0));
    }

    #[tokio::test]
    async fn an_empty_line_gives_the_room_of_its_busiest_moment_back() {
        let (orders, mut inbound) = orders(32);
        for _ in 0..32 {
            assert!(orders.try_send(order().0));
        }
        for _ in 0..32 {
            assert!(poll_fn(|cx| inbound.poll_recv(cx)).await.is_some());
        }
        assert!(inbound.line.queue().orders.capacity() <= SPARE);
    }
}
