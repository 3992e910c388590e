//! The log of an inbox: its limits, its numbers and its gaps, whether messages come one by one or together.

use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::budget::{Budget, Rank};

/// The lengths of messages, which take a byte of the budget each.
#[derive(Debug, PartialEq, Eq)]
struct Lens(Vec<u64>);

impl Parts for Lens {
    fn message_len(&self, place: usize) -> u64 {
        self.0[place]
    }

    fn shed(&mut self, gone: usize) -> Option<u64> {
        (2 * gone >= self.0.len()).then(|| {
            self.0.drain(..gone);
            self.0.len() as u64
        })
    }
}

fn ring(max_messages: usize, max_bytes: u64) -> Ring<Lens> {
    with(max_messages, max_bytes, &Budget::new(u64::MAX))
}

fn with(max_messages: usize, max_bytes: u64, budget: &Arc<Budget>) -> Ring<Lens> {
    let policy = Policy { max_messages, max_bytes, ..Policy::default() };
    Ring::new(policy, 4, 1, budget.lease(Rank::History))
}

impl Ring<Lens> {
    fn message(&mut self, bytes: u64, cost: u64) -> u64 {
        self.push_messages(Lens(vec![bytes]), 1, bytes, cost)
    }

    fn run(&mut self, lens: &[u64]) -> u64 {
        self.push_messages(Lens(lens.to_vec()), lens.len(), lens.iter().sum(), lens.len() as u64)
    }

    fn entry_after(&self, cursor: u64) -> Option<u64> {
        match self.read(cursor) {
            Read::Entry(number, _) => Some(number),
            Read::Gap { .. } | Read::CaughtUp => None,
        }
    }
}

#[test]
fn the_newest_message_is_kept_whatever_its_size() {
    let mut ring = ring(10, 100);
    ring.message(50, 50);
    ring.message(1000, 1000);
    assert_eq!(ring.read(0), Read::Gap { from: 1, to: 1, missed: Some(1) });
    assert_eq!(ring.read(1), Read::Entry(2, &Lens(vec![1000])));
}

#[test]
fn a_used_up_budget_costs_the_inbox_its_oldest_first() {
    let budget = Budget::new(16);
    let mut ring = with(10, 100, &budget);
    for _ in 1..=5 {
        ring.message(4, 6);
    }
    assert_eq!((ring.oldest(), budget.used()), (4, 12));
    ring.shrink(11);
    assert_eq!((ring.oldest(), budget.used()), (5, 6));
    ring.message(100, 100);
    assert_eq!((ring.oldest(), budget.used()), (6, 100), "the newest is kept");
    drop(ring);
    assert_eq!(budget.used(), 0);
}

#[test]
fn where_messages_that_came_together_find_no_room_the_last_of_them_is_kept() {
    let budget = Budget::new(16);
    let mut ring = with(100, 100, &budget);
    ring.message(1, 1);
    ring.run(&[1; 50]);
    assert_eq!((ring.oldest(), ring.newest(), budget.used()), (51, 51, 1));
    assert_eq!(ring.read(0), Read::Gap { from: 1, to: 50, missed: Some(50) });
}

#[test]
fn memory_goes_with_the_messages_and_not_only_with_the_last_of_those_that_came_together() {
    let budget = Budget::new(1000);
    let mut ring = with(100, 1000, &budget);
    ring.run(&[1; 100]);
    for gone in 1..=99 {
        ring.message(1, 1);
        let left = 100 - gone;
        assert!(budget.used() <= 2 * left + gone, "{} of {left} and {gone}", budget.used());
        assert_eq!((ring.oldest(), ring.count_after(0)), (gone + 1, 100));
    }
}

#[test]
fn a_jump_is_a_gap_for_those_who_may_have_missed_something_in_it() {
    let mut ring = ring(10, 100);
    ring.message(1, 1);
    // A clean end: nothing came after 1.
    ring.jump(100, 1);
    ring.message(1, 1);
    assert_eq!(ring.entry_after(1), Some(100));
    assert_eq!(ring.entry_after(99), Some(100));
    // Nobody here has given this number.
    assert_eq!(ring.read(50), Read::Gap { from: 51, to: 99, missed: None });
    // A crash: nobody knows what came after 100.
    ring.jump(200, 199);
    assert_eq!(ring.read(100), Read::Gap { from: 101, to: 199, missed: None });
    assert_eq!(ring.read(150), Read::Gap { from: 151, to: 199, missed: None });
    assert_eq!(ring.read(199), Read::CaughtUp);
    ring.run(&[1, 1, 1]);
    assert_eq!(ring.read(150), Read::Gap { from: 151, to: 199, missed: None });
    assert_eq!([199, 200, 201].map(|cursor| ring.entry_after(cursor)), [Some(200), Some(201), Some(202)]);
    let numbers = |cursor| ring.run_after(cursor).map(|(after, run)| (after, run.map(|(n, _)| n).collect::<Vec<_>>()));
    assert_eq!(numbers(0), Some((0, vec![1])));
    assert_eq!(numbers(1), Some((1, vec![100])));
    assert_eq!(numbers(100), Some((199, vec![200])));
    assert_eq!(numbers(201), Some((201, vec![202])));
    assert_eq!(numbers(202), None);
}

#[test]
fn a_gap_that_reaches_over_a_jump_is_not_counted() {
    let mut ring = ring(1, 100);
    ring.jump(10, 9);
    ring.message(1, 1);
    ring.run(&[1, 1]);
    assert_eq!(ring.read(3), Read::Gap { from: 4, to: 11, missed: None });
    assert_eq!(ring.read(9), Read::Gap { from: 10, to: 11, missed: Some(2) });
    ring.jump(20, 12);
    ring.message(1, 1);
    assert_eq!(ring.read(11), Read::Gap { from: 12, to: 12, missed: Some(1) });
    assert_eq!(ring.entry_after(12), Some(20));
}

#[test]
fn numbers_are_never_given_twice() {
    let mut ring = ring(10, 100);
    ring.jump(50, 49);
    ring.message(1, 1);
    ring.jump(7, 6);
    assert_eq!(ring.message(1, 1), 51);
}

/// What comes: something that is no message, messages together, or a jump.
#[derive(Debug, Clone)]
enum Push {
    Other,
    Run(Vec<u64>),
    Jump(u64, bool),
}

fn push() -> impl Strategy<Value = Push> {
    prop_oneof![
        1 => Just(Push::Other),
        4 => prop::collection::vec(0_u64..60, 1..12).prop_map(Push::Run),
        1 => (1_u64..9, any::<bool>()).prop_map(|(leap, known)| Push::Jump(leap, known)),
    ]
}

proptest! {
    #[test]
    fn messages_together_leave_the_same_numbers_and_gaps_as_one_by_one(pushes in prop::collection::vec(push(), 1..60)) {
        let (mut together, mut single) = (ring(8, 200), ring(8, 200));
        for push in pushes {
            match push {
                Push::Other => prop_assert_eq!(together.push(Lens(vec![]), 1), single.push(Lens(vec![]), 1)),
                Push::Run(lens) => {
                    let first = together.run(&lens);
                    for (number, len) in (first..).zip(lens) {
                        prop_assert_eq!(single.message(len, 1), number);
                    }
                }
                Push::Jump(leap, known) => {
                    for ring in [&mut together, &mut single] {
                        let (number, newest) = (ring.newest() + leap, ring.newest());
                        ring.jump(number, if known { newest } else { number - 1 });
                    }
                }
            }
            prop_assert!(together.messages <= 8 && (together.bytes <= 200 || together.messages == 1));
            prop_assert_eq!(
                (together.oldest(), together.start(), together.newest(), together.messages, together.bytes, together.others),
                (single.oldest(), single.start(), single.newest(), single.messages, single.bytes, single.others)
            );
            for cursor in 0..=together.newest() + 1 {
                prop_assert_eq!(told(&together, cursor), told(&single, cursor), "after {}", cursor);
                prop_assert_eq!(together.count_after(cursor), single.count_after(cursor));
                prop_assert_eq!(span(&together, cursor), span(&single, cursor));
            }
        }
    }
}

/// What is told after a cursor, without what it is in.
#[derive(Debug, PartialEq, Eq)]
enum Told {
    Entry(u64),
    Gap(u64, u64, Option<u64>),
    Nothing,
}

fn told(ring: &Ring<Lens>, cursor: u64) -> Told {
    match ring.read(cursor) {
        Read::Entry(number, _) => Told::Entry(number),
        Read::Gap { from, to, missed } => Told::Gap(from, to, missed),
        Read::CaughtUp => Told::Nothing,
    }
}

/// The number that all that follow without a jump come after, and the first of them.
fn span(ring: &Ring<Lens>, cursor: u64) -> Option<(u64, Option<u64>)> {
    ring.run_after(cursor).map(|(after, mut run)| (after, run.next().map(|(number, _)| number)))
}
