//! An outbox that takes messages as runs beside one that takes the same messages one by one.

use proptest::prelude::*;

use super::*;
use crate::{body::Body, run::Run};

#[derive(Debug, Clone)]
enum Order {
    /// Messages of these lengths that come together, the even ones text.
    Take(Vec<usize>),
    /// One that has to be asked about.
    Offer(usize),
    Pull,
    Leave(usize),
    Part(usize),
    Fence,
    Pong,
    Lose(usize),
    /// What is promised of a message changes, and runs with it.
    Promise(Delivery),
    Clear,
}

fn order() -> impl Strategy<Value = Order> {
    let delivery = prop::sample::select(vec![Delivery::AtMostOnce, Delivery::AtMostOnce, Delivery::AtLeastOnce]);
    prop_oneof![
        6 => prop::collection::vec(0_usize..9, 1..12).prop_map(Order::Take),
        2 => (0_usize..40).prop_map(Order::Offer),
        6 => Just(Order::Pull),
        4 => (0_usize..14).prop_map(Order::Leave),
        1 => (0_usize..9).prop_map(Order::Part),
        2 => Just(Order::Fence),
        2 => Just(Order::Pong),
        2 => (0_usize..20).prop_map(Order::Lose),
        1 => delivery.prop_map(Order::Promise),
        1 => Just(Order::Clear),
    ]
}

/// Two outboxes that have heard the same.
struct Pair {
    now: Instant,
    policy: Policy,
    runs: Outbox,
    singles: Outbox,
    /// Where the last ping stands in the stream of each.
    fences: (u64, u64),
    named: u128,
    told: (Vec<Ended>, Vec<Ended>),
    sent: (Vec<Sent>, Vec<Sent>),
}

#[allow(clippy::unnecessary_box_returns, reason = "the outbox takes them boxed")]
fn single(id: u128, payload: Payload) -> Box<Message> {
    Box::new(Message {
        id: MessageId(id),
        body: payload.into(),
        extras: None,
        expires_at: None,
        share: Share::default(),
    })
}

impl Pair {
    fn new(policy: Policy) -> Self {
        Self {
            now: crate::epoch(),
            runs: Outbox::new(policy.clone()),
            singles: Outbox::new(policy.clone()),
            policy,
            fences: (0, 0),
            named: 0,
            told: (Vec::new(), Vec::new()),
            sent: (Vec::new(), Vec::new()),
        }
    }

    fn take(&mut self, lengths: &[usize]) {
        let payload = |len: &usize| {
            let bytes = vec![b'x'; *len];
            if len.is_multiple_of(2) { Payload::checked_text(bytes) } else { Payload::binary(bytes) }
        };
        let payloads: Vec<_> = lengths.iter().map(payload).collect();
        let mut run = Box::new(Message { body: Run::of(&payloads).into(), ..*single(self.named, "".into()) });
        let room = self.runs.room(true).take(&run.body);
        // One by one there is room for as many.
        let mut alone = self.singles.room(true);
        let fits = payloads.iter().take_while(|payload| alone.take(&Body::One((*payload).clone())) == 1);
        assert_eq!(room as usize, fits.count());
        for (id, payload) in (self.named..).zip(payloads).take(room as usize) {
            self.singles.take(self.now, single(id, payload), &mut self.told.1);
        }
        let run = if room < run.count() { run.split_to(room).map(Box::new) } else { Some(run) };
        if let Some(run) = run {
            self.runs.take(self.now, run, &mut self.told.0);
        }
        self.named += u128::from(room);
    }

    fn offer(&mut self, len: usize) {
        let message = || single(self.named, Payload::binary(vec![0; len]));
        let runs = self.runs.offer(self.now, message(), true, &mut self.told.0);
        let singles = self.singles.offer(self.now, message(), true, &mut self.told.1);
        assert_eq!(runs, singles);
        self.named += 1;
    }

    fn pull(&mut self) {
        let body = self.runs.next(self.now);
        for payload in body.iter().flat_map(Body::payloads) {
            assert_eq!(self.singles.next(self.now), Some(Body::One(payload)));
        }
        if body.is_none() {
            assert_eq!(self.singles.next(self.now), None);
        }
    }

    fn step(&mut self, order: Order) {
        match order {
            Order::Take(lengths) => self.take(&lengths),
            Order::Offer(len) => self.offer(len),
            Order::Pull => self.pull(),
            Order::Leave(count) => {
                self.now += Duration::from_millis(1);
                self.runs.left(self.now, count, &mut self.sent.0, &mut self.told.0);
                self.singles.left(self.now, count, &mut self.sent.1, &mut self.told.1);
            }
            Order::Part(bytes) => {
                self.runs.part_left(bytes);
                self.singles.part_left(bytes);
            }
            Order::Fence => {
                assert_eq!(self.runs.since_fence(), self.singles.since_fence());
                self.fences = (self.runs.fence(), self.singles.fence());
            }
            Order::Pong => {
                self.runs.confirm(self.fences.0, &mut self.told.0);
                self.singles.confirm(self.fences.1, &mut self.told.1);
            }
            Order::Lose(begun) => {
                assert_eq!(
                    self.runs.lost(begun, None, &mut self.told.0),
                    self.singles.lost(begun, None, &mut self.told.1)
                );
            }
            Order::Promise(delivery) => {
                self.policy.delivery = delivery;
                self.runs.set_policy(self.policy.clone());
                self.singles.set_policy(self.policy.clone());
            }
            Order::Clear => {
                self.step(Order::Lose(0));
                self.runs.clear(State::Dropped, EndReason::Removed, &mut self.told.0);
                self.singles.clear(State::Dropped, EndReason::Removed, &mut self.told.1);
            }
        }
    }

    /// Both have told and hold the same.
    fn check(&mut self) {
        let each = |told: &mut Vec<Ended>| {
            let told = std::mem::take(told).into_iter();
            let each = |one: Ended| (0..one.count).map(move |place| (one.id.later(place).0, one.state, one.end_reason));
            let mut each: Vec<_> = told.flat_map(each).collect();
            // What one message comes to it comes to in order; runs tell of one state after the other.
            each.sort_by_key(|(id, ..)| *id);
            each
        };
        assert_eq!(each(&mut self.told.0), each(&mut self.told.1));
        let sums = |sent: &mut Vec<Sent>| {
            let sent = std::mem::take(sent);
            [Kind::Text, Kind::Binary].map(|kind| {
                let of_kind = || sent.iter().filter(move |sent| sent.kind == kind);
                let waited: Duration = of_kind().map(|sent| sent.waited * sent.messages).sum();
                let messages: u32 = of_kind().map(|sent| sent.messages).sum();
                (messages, of_kind().map(|sent| sent.bytes).sum::<usize>(), waited)
            })
        };
        assert_eq!(sums(&mut self.sent.0), sums(&mut self.sent.1));
        let held = |outbox: &Outbox| {
            (
                (outbox.len(), outbox.buffered_amount(), outbox.oldest_at(), outbox.room(true)),
                (outbox.unconfirmed(), outbox.has_unproven(), outbox.is_in_transit()),
                outbox.is_pressed_for_confirmation(),
            )
        };
        assert_eq!(held(&self.runs), held(&self.singles));
    }
}

proptest! {
    #[test]
    fn messages_that_come_together_become_what_they_would_alone(
        on_full in prop::sample::select(vec![OnFull::Reject, OnFull::DropOldest]),
        orders in prop::collection::vec(order(), 1..150),
    ) {
        let policy = Policy { max_messages: 30, max_bytes: 120, max_message: 60, on_full, ..Policy::default() };
        let mut pair = Pair::new(policy);
        for order in orders {
            pair.step(order);
            pair.check();
        }
    }
}

/// A run of three in transit, of 1, 2 and 3 bytes.
fn in_transit() -> Trial {
    let mut trial = Trial::new(Policy::default());
    let run = Run::of(&[1, 2, 3].map(|len| Payload::binary(vec![0; len])));
    trial.outbox.take(trial.now, Box::new(Message { body: run.into(), ..*message(7, 0, None) }), &mut trial.told);
    assert_eq!(trial.pull(2), [6]);
    trial
}

#[test]
fn of_a_run_that_is_cut_what_had_begun_is_unknown_and_the_rest_leaves_again() {
    let mut trial = in_transit();
    trial.outbox.left(trial.now, 1, &mut trial.sent, &mut trial.told);
    assert_eq!(trial.told(), [(7, State::Written, None)]);
    assert_eq!((trial.outbox.len(), trial.outbox.buffered_amount()), (2, 5));
    trial.outbox.part_left(9);
    assert_eq!(trial.outbox.buffered_amount(), 3);
    trial.put(1, 20).unwrap();
    trial.lose(1);
    assert_eq!(trial.told(), [unknown(7), unknown(8)]);
    assert_eq!(trial.pull(2), [3, 20], "before what came later");
}

#[test]
fn what_evicts_takes_no_more_of_a_run_than_it_must() {
    let mut trial = Trial::small(OnFull::DropOldest);
    let run = Run::of(&[1, 2, 3].map(|len| Payload::binary(vec![0; len])));
    trial.outbox.take(trial.now, Box::new(Message { body: run.into(), ..*message(7, 0, None) }), &mut trial.told);
    trial.put(1, 20).unwrap();
    assert_eq!(trial.told(), [(7, State::Dropped, Some(EndReason::Evicted))]);
    assert_eq!(trial.pull(9), [5, 20]);
}

#[test]
fn a_run_gives_its_share_of_the_budget_back_as_it_leaves() {
    let budget = Budget::new(1000);
    let mut trial = Trial::new(Policy::default());
    let run = Run::of(&[1, 2, 3].map(|len| Payload::binary(vec![0; len])));
    let share = budget.reserve(10).unwrap();
    trial.outbox.take(
        trial.now,
        Box::new(Message { body: run.into(), share, ..*message(7, 0, None) }),
        &mut trial.told,
    );
    trial.pull(1);
    trial.outbox.left(trial.now, 2, &mut trial.sent, &mut trial.told);
    assert_eq!(budget.used(), 7, "what is kept beside the messages goes with the last");
    trial.flush();
    assert_eq!(budget.used(), 0);
}

#[test]
fn whoever_waits_for_a_message_of_a_run_has_the_peer_asked_wherever_that_is() {
    for (wanted, pulled, left) in [(8, 1, 3), (9, 1, 1), (8, 1, 0), (7, 0, 0)] {
        let mut trial = Trial::new(Policy::default());
        let run = Run::of(&[1, 2, 3].map(|len| Payload::binary(vec![0; len])));
        trial.outbox.take(trial.now, Box::new(Message { body: run.into(), ..*message(7, 0, None) }), &mut trial.told);
        trial.pull(pulled);
        trial.outbox.left(trial.now, left, &mut trial.sent, &mut trial.told);
        trial.outbox.want(MessageId(10));
        assert!(!trial.outbox.wants_confirmation(), "that is none of them");
        trial.outbox.want(MessageId(wanted));
        trial.pull(1);
        trial.flush();
        assert!(trial.outbox.wants_confirmation(), "{wanted}");
    }
}
