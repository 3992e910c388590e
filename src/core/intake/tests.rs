//! An intake between a broker that hands over again what is given back, and an outbox that takes what it likes.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;
use crate::epoch;

fn policy(max_in_flight: usize) -> Policy {
    let backoff = backoff::Policy { first: Duration::from_secs(1), ..backoff::Policy::default() };
    Policy { max_in_flight, max_bytes: 100, backoff }
}

fn settles(intake: &mut Intake, now: Instant) -> Vec<Settle> {
    std::iter::from_fn(|| intake.poll_settle(now)).collect()
}

#[test]
fn as_much_is_in_hand_as_may_be() {
    let (mut intake, now) = (Intake::new(policy(3), 1), epoch());
    assert_eq!(intake.room(now), 3);
    let first = intake.take(10);
    intake.take(90);
    assert_eq!(intake.room(now), 0, "that is a hundred bytes");
    intake.end(now, first, SendEnd::Taken);
    assert_eq!((intake.room(now), settles(&mut intake, now)), (2, vec![Settle::Acknowledge(first)]));
}

#[test]
fn what_came_after_a_refused_message_is_given_back_with_it() {
    let (mut intake, now) = (Intake::new(policy(9), 1), epoch());
    let [one, two, three] = [10, 10, 10].map(|bytes| intake.take(bytes));
    intake.end(now, two, SendEnd::Refused);
    let until = intake.waits_until().unwrap();
    let delay = until.duration_since(now).saturating_sub(MARGIN);
    assert_eq!(settles(&mut intake, now), [Settle::GiveBack(two, delay), Settle::GiveBack(three, delay)]);
    assert_eq!((intake.in_hand(), intake.room(now), intake.poll_timeout(now)), (1, 0, Some(until)));
    assert!(intake.room(until) > 0);
    intake.end(now, one, SendEnd::Taken);
    assert_eq!(intake.room(now), 0, "what was given back is to come before what follows it");
    assert_eq!((intake.counts().refused, intake.counts().given_back), (1, 2));
}

#[test]
fn what_can_never_be_sent_holds_up_nothing() {
    let (mut intake, now) = (Intake::new(policy(9), 1), epoch());
    let [one, two] = [10, 10].map(|bytes| intake.take(bytes));
    intake.end(now, one, SendEnd::Impossible);
    intake.end(now, one, SendEnd::Impossible);
    intake.end(now, two, SendEnd::Taken);
    assert_eq!(settles(&mut intake, now), [Settle::Drop(one), Settle::Acknowledge(two)]);
    assert_eq!((intake.counts().dropped, intake.waits_until()), (1, None));
}

#[test]
fn a_broker_is_told_in_time_of_what_is_still_in_hand() {
    let (mut intake, mut now) = (Intake::new(policy(9), 1), epoch());
    intake.extend_every(Duration::from_secs(10), now);
    assert_eq!(intake.poll_timeout(now), None);
    let one = intake.take(10);
    now = intake.poll_timeout(now).unwrap();
    assert_eq!(settles(&mut intake, now), [Settle::Extend(one)]);
    assert_eq!(intake.poll_timeout(now), Some(now.later(Duration::from_secs(10))));
}

#[test]
fn a_stop_gives_back_what_was_not_accepted() {
    let (mut intake, now) = (Intake::new(policy(9), 1), epoch());
    let [one, two] = [10, 10].map(|bytes| intake.take(bytes));
    intake.stop(Some(two));
    assert_eq!(settles(&mut intake, now), [Settle::GiveBack(two, Duration::ZERO)]);
    assert_eq!(intake.room(now), 0);
    intake.end(now, one, SendEnd::Taken);
    assert_eq!(settles(&mut intake, now), [Settle::Acknowledge(one)]);
}

/// What happens next.
#[derive(Debug, Clone)]
enum Step {
    /// The broker hands over what there is room for, up to so many.
    HandOver(u8),
    /// The outbox looks at the next message that it has not accepted.
    Accept(SendEnd),
    /// A message that it has accepted, one of so many, is as far as the broker waits for.
    Proven(u8),
    Time(u16),
}

fn step() -> impl Strategy<Value = Step> {
    let end = prop_oneof![4 => Just(SendEnd::Taken), 2 => Just(SendEnd::Refused), 1 => Just(SendEnd::Impossible)];
    prop_oneof![
        4 => (1..8_u8).prop_map(Step::HandOver),
        6 => end.prop_map(Step::Accept),
        4 => any::<u8>().prop_map(Step::Proven),
        3 => (0..3000_u16).prop_map(Step::Time),
    ]
}

/// A broker with numbered messages, and an outbox that writes down what it accepts.
struct World {
    intake: Intake,
    now: Instant,
    /// What the broker has not handed over, or has got back, with the moment from which it may be handed over.
    queue: BTreeMap<u32, Instant>,
    /// The broker's number of each number of ours that was handed over and not settled.
    out: Vec<(u64, u32)>,
    /// Not accepted yet, in order.
    fresh: VecDeque<u64>,
    accepted: Vec<u64>,
    sent: Vec<u32>,
    gone: BTreeSet<u32>,
    acknowledged: BTreeSet<u32>,
}

impl World {
    fn take(&mut self, step: &Step) {
        match step {
            Step::HandOver(most) => {
                for _ in 0..*most {
                    let due = self.queue.iter().find(|(_, from)| **from <= self.now).map(|(message, _)| *message);
                    let Some(message) = due.filter(|_| self.intake.room(self.now) > 0) else { break };
                    self.queue.remove(&message);
                    let number = self.intake.take(1);
                    self.out.push((number, message));
                    self.fresh.push_back(number);
                }
            }
            Step::Accept(end) => {
                let Some(number) = self.fresh.pop_front() else { return };
                let message = self.message(number);
                match end {
                    SendEnd::Taken => {
                        self.sent.push(message);
                        self.accepted.push(number);
                    }
                    SendEnd::Refused => {
                        self.fresh.clear();
                        self.intake.end(self.now, number, SendEnd::Refused);
                    }
                    SendEnd::Impossible => {
                        self.gone.insert(message);
                        self.intake.end(self.now, number, SendEnd::Impossible);
                    }
                }
            }
            Step::Proven(which) => {
                if !self.accepted.is_empty() {
                    let number = self.accepted.remove(usize::from(*which) % self.accepted.len());
                    self.intake.end(self.now, number, SendEnd::Taken);
                }
            }
            Step::Time(millis) => self.now = self.now.later(Duration::from_millis((*millis).into())),
        }
        self.settle();
        assert!(self.intake.in_hand() <= self.intake.policy.max_in_flight);
        assert_eq!(self.intake.in_hand(), self.out.len());
    }

    fn message(&self, number: u64) -> u32 {
        self.out.iter().find(|(ours, _)| *ours == number).unwrap().1
    }

    fn settle(&mut self) {
        for settle in settles(&mut self.intake, self.now) {
            let (number, back) = match settle {
                Settle::Acknowledge(number) => {
                    let message = self.message(number);
                    self.acknowledged.insert(message);
                    (number, None)
                }
                Settle::Drop(number) => (number, None),
                // A broker's timers begin later.
                Settle::GiveBack(number, delay) => (number, Some(self.now.later(delay).later(MARGIN / 2))),
                Settle::Extend(_) => continue,
            };
            let message = self.message(number);
            self.out.retain(|(ours, _)| *ours != number);
            if let Some(from) = back {
                self.queue.insert(message, from);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(if cfg!(miri) { 8 } else { 400 }))]

    /// Every message is sent once, in order, whatever the outbox refuses; and only what was sent is acknowledged.
    #[test]
    fn what_is_refused_comes_again_in_order(steps in proptest::collection::vec(step(), 1..200), most in 1..9_usize) {
        let messages = 40;
        let mut world = World {
            intake: Intake::new(policy(most), 1),
            now: epoch(),
            queue: (0..messages).map(|message| (message, epoch())).collect(),
            out: Vec::new(),
            fresh: VecDeque::new(),
            accepted: Vec::new(),
            sent: Vec::new(),
            gone: BTreeSet::new(),
            acknowledged: BTreeSet::new(),
        };
        for step in &steps {
            world.take(step);
        }
        for _ in 0..10_000 {
            world.take(&Step::HandOver(u8::MAX));
            world.take(&Step::Accept(SendEnd::Taken));
            world.take(&Step::Proven(0));
            world.take(&Step::Time(60_000));
        }
        let wanted: Vec<u32> = (0..messages).filter(|message| !world.gone.contains(message)).collect();
        prop_assert_eq!(&world.sent, &wanted);
        prop_assert_eq!(world.acknowledged.into_iter().collect::<Vec<_>>(), wanted);
    }
}
