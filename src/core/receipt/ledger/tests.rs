//! The ledger: what is kept, until when, and what a key leads to.

use proptest::prelude::*;

use super::*;
use crate::{message::Payload, run::Run};

fn receipt(id: u128) -> Receipt {
    Receipt {
        id: MessageId(id),
        endpoint: "feed".into(),
        link: 0,
        state: State::Queued,
        bytes: 1,
        accepted_at: SystemTime::UNIX_EPOCH,
        updated_at: SystemTime::UNIX_EPOCH,
        generation: None,
        end_reason: None,
    }
}

const KEEP: Duration = Duration::from_mins(10);

fn advance(ledger: &mut Ledger, now: Instant, id: u128, state: State) -> bool {
    ledger.advance(now, SystemTime::UNIX_EPOCH, (MessageId(id), 1), (state, None), Some(1))
}

#[test]
fn a_receipt_never_goes_back_and_never_leaves_its_end() {
    let (mut ledger, now) = (Ledger::new(10), crate::epoch());
    ledger.accept(now, receipt(1), KEEP, None);
    assert!(advance(&mut ledger, now, 1, State::Written));
    assert!(!advance(&mut ledger, now, 1, State::Queued));
    assert!(advance(&mut ledger, now, 1, State::Confirmed));
    assert!(!advance(&mut ledger, now, 1, State::Unknown));
    assert_eq!(ledger.get(MessageId(1)).map(|receipt| receipt.state), Some(State::Confirmed));
}

#[test]
fn what_rests_is_kept_for_its_time_and_what_may_change_for_ever() {
    let (mut ledger, now) = (Ledger::new(10), crate::epoch());
    ledger.accept(now, receipt(1), KEEP, None);
    ledger.accept(now, receipt(2), KEEP, None);
    advance(&mut ledger, now, 1, State::Confirmed);
    ledger.expire(now + KEEP / 2);
    assert!(ledger.get(MessageId(1)).is_some());
    ledger.expire(now + KEEP);
    assert!(ledger.get(MessageId(1)).is_none());
    ledger.expire(now + KEEP * 100);
    assert!(ledger.get(MessageId(2)).is_some());
}

#[test]
fn a_receipt_is_kept_for_its_time_and_at_most_a_second_more() {
    let (mut ledger, begun) = (Ledger::new(10), crate::epoch());
    let later = begun + Duration::from_millis(300);
    for (id, now) in [(1, begun), (2, later)] {
        ledger.accept(now, receipt(id), KEEP, None);
        advance(&mut ledger, now, id, State::Written);
    }
    ledger.expire(later + KEEP);
    assert!(ledger.get(MessageId(1)).is_none());
    assert!(ledger.get(MessageId(2)).is_some());
    ledger.expire(later + KEEP + Duration::from_secs(1));
    assert!(ledger.get(MessageId(2)).is_none());
}

#[test]
fn a_confirmation_within_the_second_moves_nothing() {
    let (mut ledger, begun) = (Ledger::new(10), crate::epoch());
    ledger.accept(begun, receipt(1), KEEP, None);
    advance(&mut ledger, begun, 1, State::Written);
    let now = begun + Duration::from_millis(10);
    for id in 2..=3 {
        ledger.accept(now, receipt(id), KEEP, None);
        advance(&mut ledger, now, id, State::Written);
        advance(&mut ledger, now + Duration::from_millis(5), id, State::Confirmed);
    }
    assert_eq!(ledger.rest.len(), 3);
}

#[test]
fn what_waits_for_its_proof_is_not_forgotten_however_much_rests() {
    let (mut ledger, now) = (Ledger::new(2), crate::epoch());
    for id in 1..=9 {
        ledger.accept(now, receipt(id), KEEP, None);
    }
    assert!(ledger.advance_unproven(SystemTime::UNIX_EPOCH, (MessageId(1), 1), Some(1)));
    for id in 2..=9 {
        advance(&mut ledger, now, id, State::Confirmed);
    }
    ledger.expire(now + KEEP * 100);
    assert_eq!(ledger.get(MessageId(1)).map(|receipt| receipt.state), Some(State::Written));
    advance(&mut ledger, now, 1, State::Confirmed);
    ledger.expire(now + KEEP);
    assert!(ledger.get(MessageId(1)).is_none());
}

#[test]
fn past_the_bound_the_longest_rested_goes_first() {
    let (mut ledger, mut now) = (Ledger::new(3), crate::epoch());
    for id in 1..=5 {
        ledger.accept(now, receipt(id), KEEP, None);
        advance(&mut ledger, now, id, State::Written);
        now += Duration::from_secs(1);
        ledger.expire(now);
    }
    let kept: Vec<_> = (1..=5).filter(|id| ledger.get(MessageId(*id)).is_some()).collect();
    assert_eq!(kept, [3, 4, 5]);
}

#[test]
fn a_repeated_key_finds_the_first_message_for_ten_minutes() {
    let (mut ledger, now) = (Ledger::new(10), crate::epoch());
    let endpoint: Arc<str> = "feed".into();
    ledger.accept(now, receipt(1), KEEP * 9, Some("k"));
    assert_eq!(ledger.first_of(&endpoint, "k").map(|receipt| receipt.id), Some(MessageId(1)));
    assert!(ledger.first_of(&endpoint, "other").is_none());
    ledger.expire(now + CLAIM);
    assert!(ledger.first_of(&endpoint, "k").is_none());
}

#[test]
fn a_receipt_is_kept_as_long_as_its_key_is_known() {
    let (mut ledger, now) = (Ledger::new(10), crate::epoch());
    let endpoint: Arc<str> = "feed".into();
    ledger.accept(now, receipt(1), Duration::ZERO, Some("k"));
    ledger.accept(now, receipt(2), Duration::ZERO, None);
    advance(&mut ledger, now, 1, State::Written);
    advance(&mut ledger, now, 2, State::Written);
    ledger.expire(now);
    assert!(ledger.get(MessageId(2)).is_none());
    assert_eq!(ledger.first_of(&endpoint, "k").map(|receipt| receipt.id), Some(MessageId(1)));
    ledger.expire(now + CLAIM);
    assert!(ledger.get(MessageId(1)).is_none());
}

#[test]
fn refused_messages_push_out_no_key_and_leave_nothing_behind() {
    let (mut ledger, now) = (Ledger::new(3), crate::epoch());
    let endpoint: Arc<str> = "feed".into();
    ledger.accept(now, receipt(1), KEEP, Some("k"));
    for id in 2..100 {
        ledger.accept(now, receipt(id), KEEP, Some(&id.to_string()));
        ledger.withdraw(MessageId(id), 1);
        ledger.expire(now);
    }
    assert!(ledger.first_of(&endpoint, "k").is_some());
    assert_eq!((ledger.records.len(), ledger.claims.len(), ledger.claims_by_end.len()), (1, 1, 1));
}

#[test]
fn a_refused_message_leaves_the_key_to_the_one_that_has_it_now() {
    let (mut ledger, now) = (Ledger::new(10), crate::epoch());
    let endpoint: Arc<str> = "feed".into();
    ledger.accept(now, receipt(1), KEEP, Some("k"));
    ledger.expire(now + CLAIM);
    ledger.accept(now + CLAIM, receipt(2), KEEP, Some("k"));
    ledger.withdraw(MessageId(1), 1);
    assert_eq!(ledger.first_of(&endpoint, "k").map(|receipt| receipt.id), Some(MessageId(2)));
}

proptest! {
    /// Whatever is told in whatever order: states only climb, ends are ends, what is held is kept, the rest is bounded.
    #[test]
    fn a_ledger_keeps_what_it_must_and_no_more(
        steps in prop::collection::vec((0_u128..12, 0_usize..9, 0_u64..400), 1..200),
        limit in 1_usize..6,
    ) {
        let (mut ledger, mut now) = (Ledger::new(limit), crate::epoch());
        let mut held: BTreeMap<u128, State> = BTreeMap::new();
        for (id, step, seconds) in steps {
            let name = MessageId(id);
            let before = ledger.get(name).map(|receipt| receipt.state);
            match State::ALL.get(step) {
                Some(State::Queued) if before.is_none() => {
                    let key = (id % 2 == 0).then(|| id.to_string());
                    ledger.accept(now, receipt(id), Duration::from_secs(seconds), key.as_deref());
                    held.insert(id, State::Queued);
                }
                Some(state) => {
                    let news = advance(&mut ledger, now, id, *state);
                    prop_assert_eq!(news, before.is_some_and(|before| before.can_become(*state)));
                    if news {
                        prop_assert_eq!(ledger.get(name).map(|receipt| receipt.state), Some(*state));
                        held.remove(&id);
                        held.extend((*state == State::Stored).then_some((id, State::Stored)));
                    }
                }
                None => {
                    now += Duration::from_secs(seconds);
                    ledger.expire(now);
                    prop_assert!(ledger.at_rest <= limit);
                    prop_assert!(ledger.records.iter().all(|(_, record)| record.until.is_none_or(|until| until > now)));
                }
            }
            for (id, state) in &held {
                prop_assert_eq!(ledger.get(MessageId(*id)).map(|receipt| receipt.state), Some(*state));
            }
            prop_assert_eq!(ledger.records.len(), held.len() + ledger.at_rest);
            prop_assert_eq!(ledger.claims.len(), ledger.claims_by_end.len());
        }
    }
}

#[test]
fn a_refused_message_gives_its_key_back() {
    let (mut ledger, now) = (Ledger::new(10), crate::epoch());
    ledger.accept(now, receipt(1), KEEP, Some("k"));
    ledger.withdraw(MessageId(1), 1);
    assert!(ledger.first_of(&"feed".into(), "k").is_none());
    assert!(ledger.get(MessageId(1)).is_none());
}

/// Lengths of messages, each of its own.
fn lengths(count: u32) -> Lengths {
    let payloads: Vec<_> = (1..=count as usize).map(|length| Payload::binary(vec![0; length])).collect();
    Run::of(&payloads).lengths()
}

/// Messages that may be entered together: so many from each of these on.
const FIRSTS: [u128; 6] = [0, 10, 20, 30, 40, 50];
const TOGETHER: u32 = 8;

proptest! {
    /// Entered as runs or one by one, the same messages have the same receipts, whatever parts of the runs it is told of.
    #[test]
    fn messages_of_a_run_have_the_receipts_that_they_would_have_alone(
        steps in prop::collection::vec((0_u128..60, 1_u32..20, 0_usize..12, 0_u64..400), 1..120),
    ) {
        let (mut runs, mut singles) = (Ledger::new(1000), Ledger::new(1000));
        let (mut now, mut at, mut entered) = (crate::epoch(), SystemTime::UNIX_EPOCH, BTreeSet::new());
        for (id, count, step, seconds) in steps {
            let first = FIRSTS[id as usize / 10];
            match State::ALL.get(step) {
                // Nobody enters a name twice.
                Some(State::Queued) if entered.insert(first) => {
                    runs.accept_run(receipt(first), Duration::from_secs(seconds), TOGETHER, lengths(TOGETHER));
                    for (id, bytes) in (first..).zip(1..).take(TOGETHER as usize) {
                        singles.accept(now, Receipt { bytes, ..receipt(id) }, Duration::from_secs(seconds), None);
                    }
                }
                Some(state) => {
                    let news = runs.advance(now, at, (MessageId(id), count), (*state, None), Some(seconds));
                    let alone = (0..count).map(|place| MessageId(id).later(place));
                    let any = alone.map(|id| singles.advance(now, at, (id, 1), (*state, None), Some(seconds)));
                    prop_assert_eq!(news, any.fold(false, |any, news| any | news));
                }
                None if step % 4 == 0 => {
                    now += Duration::from_secs(seconds);
                    runs.expire(now);
                    singles.expire(now);
                }
                None if step % 4 == 1 => {
                    runs.withdraw(MessageId(id), count);
                    (0..count).for_each(|place| singles.withdraw(MessageId(id).later(place), 1));
                }
                None => at += Duration::from_secs(1),
            }
            for id in (0..60).map(MessageId) {
                prop_assert_eq!(runs.get(id), singles.get(id), "{:?}", id);
            }
            prop_assert_eq!(runs.at_rest, singles.at_rest);
            prop_assert_eq!(runs.unsettled("feed", 0), singles.unsettled("feed", 0));
        }
    }
}

#[test]
fn past_the_bound_a_run_goes_message_by_message() {
    let (mut ledger, mut now) = (Ledger::new(5), crate::epoch());
    ledger.accept_run(receipt(1), KEEP, 4, lengths(4));
    assert!(ledger.advance(now, SystemTime::UNIX_EPOCH, (MessageId(1), 4), (State::Written, None), Some(1)));
    for id in 5..=8 {
        now += Duration::from_secs(2);
        ledger.accept(now, receipt(id), KEEP, None);
        advance(&mut ledger, now, id, State::Written);
        ledger.expire(now);
        let kept = (1..=id).filter(|id| ledger.get(MessageId(*id)).is_some());
        assert!(kept.eq(id.saturating_sub(4).max(1)..=id));
    }
    assert_eq!(ledger.get(MessageId(4)).map(|receipt| receipt.bytes), Some(4));
    ledger.expire(now + KEEP + Duration::from_secs(1));
    assert_eq!((ledger.records.len(), ledger.at_rest), (0, 0));
}
