//! The line by itself: what is accepted in it, what waits in it, and when its reader is told.

use std::future::poll_fn;

use futures_util::FutureExt as _;
use proptest::prelude::*;
use tokio::sync::oneshot;
use wskeeper_core::{
    body::Body,
    budget::Share,
    message::Payload,
    run::{Marks, Run as Messages},
};

use super::*;
use crate::link::{Pledge, Stop};

/// Nobody's limit.
const AMPLE: Room = Room { bytes: u64::MAX, messages: u32::MAX };

fn offer(id: u128, bytes: usize) -> Offer {
    offer_of(message(id, Payload::binary(vec![0; bytes]).into()))
}

#[allow(clippy::unnecessary_box_returns, reason = "the line takes them boxed")]
fn message(id: u128, body: Body) -> Box<Message> {
    Box::new(Message { id: MessageId(id), body, extras: None, expires_at: None, share: Share::default() })
}

fn offer_of(message: Box<Message>) -> Offer {
    let until = tokio::time::Instant::now().into_std();
    Offer { message, until, pledge: Pledge::default() }
}

/// Of these lengths, together.
fn run(lengths: &[usize]) -> Body {
    let (mut bytes, mut marks) = (Vec::new(), Marks::default());
    for length in lengths {
        let payload = Payload::binary(vec![0; *length]);
        bytes.extend_from_slice(&Messages::from(&payload).frames());
        marks.push(bytes.len() - length, *length, payload.kind());
    }
    marks.take_body(bytes.into(), 0)
}

/// How long each is.
fn lengths(message: &Message) -> Vec<usize> {
    message.body.payloads().map(|payload| payload.len()).collect()
}

fn count(held: &mut Room, bytes: usize) {
    held.join(Room { bytes: bytes as u64, messages: 1 });
}

fn accept(orders: &Orders, offers: Vec<Offer>) -> u32 {
    orders.accept(&mut offers.into_iter()).messages
}

#[allow(clippy::unnecessary_box_returns, reason = "orders are boxed")]
fn question(offers: Vec<Offer>) -> Box<Order> {
    Box::new(Order::Offers { offers, stop: Stop::Never, reply: oneshot::channel().0 })
}

fn take(inbound: &mut Inbound) -> Option<Inflow> {
    // Once more, where it has waited for others.
    let mut poll = || poll_fn(|cx| inbound.poll_recv(cx)).now_or_never().flatten();
    poll().or_else(poll)
}

/// What may happen to a line.
#[derive(Debug, Clone)]
enum Step {
    /// Of these lengths, each for itself or together.
    Send(Vec<usize>, bool),
    Take,
    Leave,
    Show,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => (prop::collection::vec(0_usize..30, 1..4), any::<bool>()).prop_map(|(all, run)| Step::Send(all, run)),
        3 => Just(Step::Take),
        1 => Just(Step::Leave),
        1 => Just(Step::Show),
    ]
}

proptest! {
    /// The outbox is a queue of lengths here: what is accepted at once it takes, what it is asked about only where there is room.
    #[test]
    fn no_limit_is_passed_and_no_message_however_they_are_accepted(steps in prop::collection::vec(step(), 1..80)) {
        const LIMITS: Room = Room { bytes: 60, messages: 5 };
        let (orders, mut inbound) = orders(100);
        orders.settle(0, LIMITS);
        let (mut outbox, mut names, mut newest) = (VecDeque::new(), 0, 0);
        let room = |outbox: &VecDeque<usize>| {
            let mut held = Room::default();
            for bytes in outbox {
                count(&mut held, *bytes);
            }
            LIMITS.without(held)
        };
        for step in steps {
            match step {
                Step::Send(lengths, true) => {
                    let (_, mut rest) = orders.accept_run(message(names + 1, run(&lengths)));
                    names += lengths.len() as u128;
                    let singles = std::iter::from_fn(|| match rest.as_mut()?.split_to(1) {
                        Some(first) => Some(Box::new(first)),
                        None => rest.take(),
                    });
                    let offers: Vec<_> = singles.map(offer_of).collect();
                    if !offers.is_empty() {
                        prop_assert!(orders.try_send(question(offers)));
                    }
                }
                Step::Send(lengths, false) => {
                    let offers: Vec<_> = lengths.iter().map(|bytes| { names += 1; offer(names, *bytes) }).collect();
                    let mut offers = offers.into_iter();
                    orders.accept(&mut offers);
                    if offers.len() > 0 {
                        prop_assert!(orders.try_send(question(offers.collect())));
                    }
                }
                Step::Take => {
                    let taken = match take(&mut inbound) {
                        Some(Inflow::Message(message)) => {
                            outbox.extend(lengths(&message));
                            (message.id.0..).take(message.count() as usize).collect()
                        }
                        Some(Inflow::Order(order)) => {
                            let Order::Offers { offers, .. } = *order else { panic!("another order") };
                            for offer in &offers {
                                if room(&outbox).take(&offer.message.body) > 0 {
                                    outbox.push_back(offer.message.body.len());
                                }
                            }
                            offers.iter().map(|offer| offer.message.id.0).collect()
                        }
                        None => Vec::new(),
                    };
                    prop_assert!(taken.iter().all(|name| *name > newest && { newest = *name; true }), "{taken:?}");
                }
                Step::Leave => drop(outbox.pop_front()),
                Step::Show => drop(orders.settle(0, room(&outbox))),
            }
            let mut held = orders.line.queue().inflow.iter().fold(Room::default(), |mut held, inflow| {
                if let Inflow::Message(message) = inflow { held.join(Room::of(&message.body)) }
                held
            });
            for bytes in &outbox {
                count(&mut held, *bytes);
            }
            prop_assert!(held.bytes <= LIMITS.bytes && held.messages <= LIMITS.messages, "{held:?}");
            prop_assert_eq!(orders.load(), orders.pending().bytes);
        }
    }
}

#[tokio::test]
async fn a_question_is_passed_by_nothing_and_waits_for_what_was_accepted_before_it() {
    let (orders, mut inbound) = orders(4);
    assert_eq!(accept(&orders, vec![offer(1, 1)]), 0, "nothing was shown yet");
    orders.settle(0, AMPLE);
    assert_eq!(accept(&orders, vec![offer(1, 1)]), 1);
    assert!(orders.try_send(question(vec![offer(2, 1)])));
    assert_eq!(accept(&orders, vec![offer(3, 1)]), 0);
    assert!(matches!(take(&mut inbound), Some(Inflow::Message(_))));
    assert!(take(&mut inbound).is_none(), "the first may leave, and there is more room");
    assert_eq!(orders.settle(0, AMPLE), Room { bytes: 1, messages: 1 });
    assert_eq!(accept(&orders, vec![offer(3, 1)]), 0);
    assert!(matches!(take(&mut inbound), Some(Inflow::Order(_))));
    orders.settle(0, AMPLE);
    assert_eq!(accept(&orders, vec![offer(3, 1)]), 1);
}

#[tokio::test]
async fn what_is_accepted_when_the_task_ends_is_given_to_it_and_nothing_is_accepted_after_that() {
    let (orders, mut inbound) = orders(4);
    orders.settle(7, AMPLE);
    assert_eq!(accept(&orders, vec![offer(1, 2), offer(2, 3)]), 2);
    assert_eq!((orders.load(), orders.pending()), (12, Room { bytes: 5, messages: 2 }));
    let left: Vec<_> = inbound.close().into_iter().map(|message| message.id.0).collect();
    assert_eq!(left, [1, 2]);
    assert_eq!(orders.settle(0, AMPLE), Room { bytes: 5, messages: 2 });
    assert_eq!(accept(&orders, vec![offer(3, 1)]), 0);
    assert_eq!((orders.load(), orders.pending()), (0, Room::default()));
}

#[tokio::test]
async fn what_a_lost_task_had_taken_is_lost_and_what_is_in_line_is_the_next_ones() {
    let (orders, mut inbound) = orders(4);
    orders.settle(0, AMPLE);
    assert_eq!(accept(&orders, vec![offer(1, 2), offer(2, 3)]), 2);
    assert!(take(&mut inbound).is_some());
    assert!(orders.try_send(question(vec![offer(3, 1)])));
    let in_line = [2, 3].map(MessageId).into();
    assert_eq!(orders.lose_taken(), (Room { bytes: 2, messages: 1 }, in_line));
    assert_eq!(orders.pending(), Room { bytes: 3, messages: 1 });
}

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
        assert!(inbound.line.queue().inflow.is_empty());
        held
    };
    assert_eq!([3, 3, 1, 1].map(&mut taken), [true; 4]);
    assert_eq!([1, 1, 1, 3].map(&mut taken), [false; 4], "it has come alone twice, and then together again");
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
    assert!(inbound.line.queue().inflow.capacity() <= SPARE);
}
