//! A courier between a log that forgets and a receiver that may answer anything.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;
use crate::epoch;

fn policy(max_items: usize, tells_gaps_alone: bool, on_refused: OnRefused) -> Policy {
    let backoff = backoff::Policy { first: Duration::from_secs(1), ..backoff::Policy::default() };
    let retry_after_max = Duration::from_mins(5);
    Policy { max_items, max_bytes: 100, tells_gaps_alone, on_refused, backoff, retry_after_max }
}

fn courier(max_items: usize) -> Courier<u64> {
    Courier::new(policy(max_items, true, OnRefused::Skip), (0, true), 1, epoch())
}

/// The cursors of what is tried now; gaps below 0.
fn tried(courier: &mut Courier<u64>, now: Instant) -> Vec<i64> {
    let told = |part: &Part<u64>| match part {
        Part::Item { cursor, .. } => i64::try_from(*cursor).unwrap(),
        Part::Gap(gap) => -i64::try_from(gap.to).unwrap(),
    };
    courier.poll_batch(now).map_or_else(Vec::new, |batch| batch.parts.iter().map(told).collect())
}

#[test]
fn one_batch_is_under_way_and_nothing_is_read_beside_it() {
    let (mut courier, now) = (courier(2), epoch());
    courier.take(1, 10, 1);
    assert!(courier.wants());
    courier.take(2, 10, 2);
    assert!(!courier.wants(), "that is a batch");
    assert_eq!(tried(&mut courier, now), [1, 2]);
    assert!(courier.poll_batch(now).is_none() && !courier.wants());
    courier.answered(now, 0, Verdict::Taken);
    assert!(courier.wants());
    assert_eq!((courier.cursor(), courier.poll_keep(now)), (2, Some(2)));
}

#[test]
fn what_failed_is_tried_again_as_it_was_after_a_delay_that_the_receiver_may_lengthen() {
    let (mut courier, mut now) = (courier(9), epoch());
    courier.take(1, 10, 1);
    assert_eq!(tried(&mut courier, now), [1]);
    let asked = Duration::from_mins(1);
    courier.answered(now, 0, Verdict::Failed { retry_after: Some(asked) });
    assert!(!courier.wants(), "the batch stays as it is");
    let due = courier.poll_timeout().unwrap();
    assert!(due >= now.later(asked) && due <= now.later(asked + asked / 10));
    assert!(tried(&mut courier, now).is_empty());
    now = due;
    assert_eq!(tried(&mut courier, now), [1]);
    courier.answered(now, 0, Verdict::Failed { retry_after: Some(Duration::MAX) });
    let due = courier.poll_timeout().unwrap();
    assert!(due <= now.later(Duration::from_secs(330)), "what it asks for has a limit");
    assert_eq!((courier.counts().failed, courier.counts().retries), (2, 1));
}

#[test]
fn a_refused_item_is_found_and_left_out_and_the_receiver_told() {
    let (mut courier, now) = (courier(8), epoch());
    (1..=8).for_each(|cursor| courier.take(cursor, 1, cursor));
    let mut taken = Vec::new();
    while let parts = tried(&mut courier, now)
        && !parts.is_empty()
    {
        if parts.contains(&5) {
            courier.answered(now, 0, Verdict::Refused);
        } else {
            taken.extend(parts);
            courier.answered(now, 0, Verdict::Taken);
        }
    }
    assert_eq!(taken, [1, 2, 3, 4, -5, 6, 7, 8]);
    assert_eq!((courier.counts().skipped, courier.counts().delivered, courier.cursor()), (1, 7, 8));
}

#[test]
fn an_item_that_the_receiver_names_is_left_out_at_once() {
    let (mut courier, now) = (courier(8), epoch());
    (1..=8).for_each(|cursor| courier.take(cursor, 1, cursor));
    assert_eq!(tried(&mut courier, now).len(), 8);
    courier.answered(now, 4, Verdict::RefusedFirst);
    assert_eq!(tried(&mut courier, now), [-5, 6, 7, 8]);
    assert_eq!((courier.counts().skipped, courier.counts().failed, courier.cursor()), (1, 1, 4));
}

#[test]
fn a_gap_that_was_refused_alone_waits_for_an_item() {
    let (mut courier, now) = (courier(8), epoch());
    courier.gap(Gap { kind: GapKind::Lag, missed: Some(3), from: 1, to: 3 });
    assert_eq!(tried(&mut courier, now), [-3]);
    courier.answered(now, 0, Verdict::Refused);
    assert!(tried(&mut courier, now).is_empty());
    courier.take(4, 1, 4);
    assert_eq!(tried(&mut courier, now), [-3, 4]);
}

#[test]
fn what_stops_hands_over_nothing_more() {
    for (on_refused, verdict) in [(OnRefused::Stop, Verdict::Refused), (OnRefused::Skip, Verdict::Gone)] {
        let (mut courier, now) = (Courier::new(policy(1, false, on_refused), (0, true), 1, epoch()), epoch());
        courier.take(1, 10, 1);
        assert_eq!(tried(&mut courier, now), [1]);
        courier.answered(now, 0, verdict);
        assert_eq!((courier.state(), courier.cursor()), (State::Stopped, 0));
        assert!(!courier.wants() && courier.poll_batch(now).is_none());
    }
}

#[test]
fn what_was_taken_before_a_failure_is_not_told_again() {
    let (mut courier, now) = (courier(8), epoch());
    (1..=4).for_each(|cursor| courier.take(cursor, 1, cursor));
    assert_eq!(tried(&mut courier, now), [1, 2, 3, 4]);
    courier.answered(now, 3, Verdict::Failed { retry_after: None });
    assert_eq!((courier.cursor(), courier.waiting_items()), (3, 1));
    let State::Waiting(due) = courier.state() else { panic!("{:?}", courier.state()) };
    assert_eq!(tried(&mut courier, due), [4]);
}

#[test]
fn a_cursor_that_could_not_be_kept_is_handed_over_again_a_second_later() {
    let (mut courier, now) = (courier(8), epoch());
    courier.take(1, 1, 1);
    assert_eq!(tried(&mut courier, now), [1]);
    courier.answered(now, 0, Verdict::Taken);
    assert_eq!(courier.poll_keep(now), Some(1));
    assert_eq!((courier.poll_keep(now), courier.poll_timeout()), (None, None), "it is under way");
    courier.kept(now, false);
    let again = now.later(Duration::from_secs(1));
    assert_eq!((courier.poll_keep(now), courier.poll_timeout()), (None, Some(again)));
    assert_eq!(courier.poll_keep(again), Some(1));
    courier.kept(again, true);
    courier.pass(9);
    assert_eq!(courier.poll_keep(again), None, "what is passed over is kept once a second");
    assert_eq!(courier.poll_timeout().and_then(|at| courier.poll_keep(at)), Some(9));
}

#[test]
fn a_batch_has_no_more_bytes_than_it_may_but_for_one_long_item() {
    let (mut courier, now) = (courier(8), epoch());
    courier.take(1, 60, 1);
    courier.take(2, 60, 2);
    assert!(!courier.wants());
    assert_eq!(tried(&mut courier, now), [1]);
    courier.answered(now, 0, Verdict::Taken);
    assert_eq!(tried(&mut courier, now), [2]);
    courier.answered(now, 0, Verdict::Taken);
    courier.take(3, 500, 3);
    assert_eq!(tried(&mut courier, now), [3]);
}

/// What happens next in a faulty world.
#[derive(Debug, Clone)]
enum Step {
    /// So many items arrive at the log.
    Arrive(u8),
    /// The log lets go of all but so many.
    Forget(u8),
    /// The courier reads so many.
    Read(u8),
    /// It tries, and the receiver answers so, having taken some before.
    Try(u8, Verdict),
    /// It tries, and the receiver takes it; the answer is lost.
    Deaf,
    /// The cursor is kept, or not.
    Keep(bool),
    /// The process dies, and another goes on by what was kept.
    Crash,
    Lost,
    Time(u16),
}

fn step() -> impl Strategy<Value = Step> {
    let verdict = prop_oneof![
        4 => Just(Verdict::Taken),
        2 => Just(Verdict::Failed { retry_after: None }),
        1 => Just(Verdict::Failed { retry_after: Some(Duration::from_secs(2)) }),
        2 => Just(Verdict::Refused),
        2 => Just(Verdict::RefusedFirst),
    ];
    prop_oneof![
        4 => (1..20_u8).prop_map(Step::Arrive),
        1 => (0..20_u8).prop_map(Step::Forget),
        4 => (1..20_u8).prop_map(Step::Read),
        6 => (0..4_u8, verdict).prop_map(|(taken, verdict)| Step::Try(taken, verdict)),
        1 => Just(Step::Deaf),
        3 => proptest::bool::weighted(0.8).prop_map(Step::Keep),
        1 => Just(Step::Crash),
        1 => Just(Step::Lost),
        3 => (0..3000_u16).prop_map(Step::Time),
    ]
}

/// A log, a courier, and a receiver that writes down what it is told. Items whose number is a multiple of 7 are not meant for it.
struct World {
    policy: Policy,
    courier: Courier<u64>,
    now: Instant,
    oldest: u64,
    newest: u64,
    position: u64,
    kept: u64,
    handed: Option<u64>,
    /// What the receiver had been told of when a cursor was handed over that is kept now.
    told: BTreeSet<u64>,
    /// All up to here was told to this life's receiver, or was kept by an earlier one.
    covered: u64,
    last_item: u64,
    seed: u64,
}

impl World {
    fn new(policy: Policy) -> Self {
        let now = epoch();
        let courier = Courier::new(policy.clone(), (0, true), 1, now);
        Self {
            policy,
            courier,
            now,
            oldest: 1,
            newest: 0,
            position: 0,
            kept: 0,
            handed: None,
            told: BTreeSet::new(),
            covered: 0,
            last_item: 0,
            seed: 1,
        }
    }

    fn take(&mut self, step: &Step) {
        match step {
            Step::Arrive(count) => self.newest += u64::from(*count),
            Step::Forget(left) => self.oldest = self.oldest.max((self.newest + 1).saturating_sub(u64::from(*left))),
            Step::Read(count) => self.read(*count),
            Step::Try(taken, verdict) => self.attempt(usize::from(*taken), *verdict, false),
            Step::Deaf => self.attempt(usize::MAX, Verdict::Failed { retry_after: None }, true),
            Step::Keep(works) => self.keep(*works),
            Step::Crash => self.crash(),
            Step::Lost => self.courier.lost(self.now),
            Step::Time(millis) => self.now = self.now.later(Duration::from_millis((*millis).into())),
        }
        assert!(self.courier.waiting_items() <= self.policy.max_items);
    }

    fn read(&mut self, count: u8) {
        for _ in 0..count {
            if !self.courier.wants() || self.position >= self.newest {
                break;
            }
            if self.position + 1 < self.oldest {
                let (from, to) = (self.position + 1, self.oldest - 1);
                let missed = Some(to - self.position);
                self.courier.gap(Gap { kind: GapKind::Lag, missed, from, to });
                self.position = to;
                continue;
            }
            self.position += 1;
            if self.position.is_multiple_of(7) {
                self.courier.pass(self.position);
            } else {
                self.courier.take(self.position, 10, self.position);
            }
        }
    }

    fn attempt(&mut self, taken: usize, verdict: Verdict, is_deaf: bool) {
        let Some(batch) = self.courier.poll_batch(self.now) else { return };
        assert!(!batch.parts.is_empty());
        let all = batch.parts.len();
        let has_all = verdict == Verdict::Taken || is_deaf;
        let heard: Vec<Part<u64>> = batch.parts.iter().take(if has_all { all } else { taken }).cloned().collect();
        for part in &heard {
            // Nothing between what it was told last and this is neither told nor unmeant.
            let untold = (self.covered + 1..part.first()).find(|cursor| !cursor.is_multiple_of(7));
            assert_eq!(untold, None, "before {part:?}");
            if let Part::Item { cursor, item, .. } = part {
                assert!(cursor == item && *cursor > self.last_item, "{part:?} after {}", self.last_item);
                self.last_item = *cursor;
            }
            self.covered = self.covered.max(part.last());
            self.told.extend(part.first()..=part.last());
        }
        if is_deaf {
            // It will be told once more: what was lost is the answer.
            (self.covered, self.last_item) = (self.courier.cursor(), self.courier.cursor());
            self.courier.answered(self.now, 0, verdict);
        } else {
            self.courier.answered(self.now, taken, verdict);
        }
    }

    fn keep(&mut self, works: bool) {
        if self.handed.is_none() {
            self.handed = self.courier.poll_keep(self.now);
        }
        if let Some(cursor) = self.handed.take() {
            assert!(cursor > self.kept);
            let untold = (1..=cursor).find(|cursor| !cursor.is_multiple_of(7) && !self.told.contains(cursor));
            assert_eq!(untold, None, "{cursor} is kept");
            if works {
                self.kept = cursor;
            }
            self.courier.kept(self.now, works);
        }
    }

    fn crash(&mut self) {
        self.seed += 1;
        self.courier = Courier::new(self.policy.clone(), (self.kept, true), self.seed, self.now);
        (self.position, self.covered, self.last_item) = (self.kept, self.kept, self.kept);
        self.handed = None;
    }

    /// The receiver is well from now on, and has time.
    fn end(&mut self) {
        for _ in 0..10_000 {
            self.read(u8::MAX);
            self.attempt(0, Verdict::Taken, false);
            self.keep(true);
            self.now = self.courier.poll_timeout().unwrap_or(self.now).max(self.now);
            if self.courier.cursor() == self.newest && self.kept == self.newest {
                return;
            }
            let rests = self.courier.waiting_items() == 0 && self.position == self.newest;
            if rests && !(self.policy.tells_gaps_alone && self.courier.takes_gaps_alone) {
                // A gap at the end goes with the next item, also where the receiver has refused one alone.
                self.newest += 1;
            }
        }
        panic!("it does not come to an end: {:?}", self.courier);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(if cfg!(miri) { 8 } else { 400 }))]

    /// At least once, in order, and no gap untold, whatever the receiver answers and whenever the process dies.
    #[test]
    fn a_receiver_is_told_of_everything_in_order(
        steps in proptest::collection::vec(step(), 1..200),
        max_items in 1..9_usize,
        tells_gaps_alone: bool,
        retries: bool,
    ) {
        let on_refused = if retries { OnRefused::Retry } else { OnRefused::Skip };
        let mut world = World::new(policy(max_items, tells_gaps_alone, on_refused));
        for step in &steps {
            world.take(step);
        }
        world.end();
    }
}
