//! At least once: what comes back, in which order, and what a peer that refuses a message gets of it.

use super::*;

fn again() -> Trial {
    Trial::new(Policy { max_messages: 3, max_bytes: 100, delivery: Delivery::AtLeastOnce, ..Policy::default() })
}

/// Messages of 1, 2 and 3 bytes, all written.
fn written() -> Trial {
    let mut trial = again();
    for id in [1_u8, 2, 3] {
        trial.put(id.into(), id.into()).unwrap();
    }
    assert_eq!(trial.pull(3), [1, 2, 3]);
    trial.flush();
    trial.told();
    trial
}

#[test]
fn what_was_written_goes_out_again_before_what_is_newer() {
    let mut trial = written();
    trial.confirm(1);
    trial.put(4, 4).unwrap();
    trial.lose(0);
    assert_eq!(trial.told(), [(1, State::Confirmed, None)]);
    assert_eq!(trial.pull(9), [2, 3, 4]);
}

#[test]
fn what_waits_for_its_confirmation_counts_towards_the_limits_but_is_not_buffered() {
    let mut trial = written();
    assert_eq!((trial.outbox.len(), trial.outbox.buffered_amount()), (0, 0));
    assert_eq!(trial.put(4, 4), Err(Refusal::Full));
    trial.confirm(1);
    assert_eq!(trial.put(4, 4), Ok(()));
    trial.lose(0);
    assert_eq!((trial.outbox.len(), trial.outbox.buffered_amount()), (3, 9));
}

#[test]
fn every_written_message_asks_for_its_proof() {
    let mut trial = written();
    assert!(trial.outbox.wants_confirmation());
    trial.confirm(3);
    assert!(!trial.outbox.wants_confirmation());
}

#[test]
fn a_proof_is_urgent_when_what_waits_for_it_takes_an_eighth_of_the_room() {
    let policy = Policy { max_messages: 16, max_bytes: 160, delivery: Delivery::AtLeastOnce, ..Policy::default() };
    for (sizes, pressed) in [(&[1, 1][..], false), (&[1, 1, 1], true), (&[20], false), (&[21], true)] {
        let mut trial = Trial::new(policy.clone());
        for (id, bytes) in (0..).zip(sizes) {
            trial.put(id, *bytes).unwrap();
            trial.pull(1);
            trial.flush();
        }
        assert_eq!(trial.outbox.is_pressed_for_confirmation(), pressed, "{sizes:?}");
        let fence = trial.outbox.fence();
        trial.confirm(fence);
        assert!(!trial.outbox.is_pressed_for_confirmation(), "{sizes:?}");
    }
}

#[test]
fn a_proof_is_urgent_when_a_message_must_not_leave_before_it() {
    let mut trial = Trial::new(Policy { delivery: Delivery::AtLeastOnce, ..Policy::default() });
    for id in [1, 2] {
        trial.put(id, 1).unwrap();
    }
    trial.pull(2);
    trial.flush();
    trial.close(1008);
    assert!(!trial.outbox.is_pressed_for_confirmation(), "nothing has left");
    trial.pull(1);
    trial.flush();
    assert!(trial.outbox.is_pressed_for_confirmation(), "the second suspect waits");
}

#[test]
fn what_may_have_arrived_ends_unknown_and_never_expired_or_dropped() {
    let mut trial = again();
    let short = Message { expires_at: Some(trial.now + Duration::from_millis(5)), ..*message(1, 10, None) };
    trial.put_message(Box::new(short)).unwrap();
    trial.pull(1);
    trial.lose(1);
    assert_eq!(trial.told(), [], "it waits for the next connection");
    trial.wait(10);
    assert_eq!(trial.told(), [(1, State::Unknown, Some(EndReason::Ttl))]);
}

#[test]
fn a_message_that_had_not_begun_to_leave_is_no_suspect() {
    let mut trial = again();
    trial.put(1, 10).unwrap();
    for _ in 0..5 {
        trial.pull(1);
        assert_eq!(trial.outbox.lost(0, Some(1008), &mut trial.told), None);
    }
    assert_eq!(trial.pull(1), [10]);
}

#[test]
fn a_message_that_the_peer_refuses_three_times_in_a_row_is_dead_and_the_rest_goes_on() {
    let mut trial = written();
    // All three may have been it; from now on they leave one at a time.
    assert_eq!(trial.close(1008), None);
    assert_eq!(trial.pull(9), [1]);
    trial.flush();
    assert_eq!(trial.pull(9), NOTHING, "the next suspect waits for the proof of this one");
    let fence = trial.outbox.fence();
    trial.confirm(fence);
    assert_eq!(trial.pull(9), [2]);
    assert_eq!(trial.close(1003), None);
    trial.told();
    assert_eq!(trial.pull(9), [2]);
    assert_eq!(trial.close(1009), Some(2));
    assert_eq!(trial.told(), [(2, State::Dead, Some(EndReason::Poison))]);
    assert_eq!(trial.pull(9), [3]);
    assert_eq!(trial.close(1007), None, "an innocent suspect starts from what it had");
    assert_eq!(trial.pull(9), [3]);
    assert_eq!(trial.close(1007), Some(3));
}

#[test]
fn another_end_in_between_clears_the_suspicion() {
    let mut trial = again();
    trial.put(1, 10).unwrap();
    for _ in 0..2 {
        trial.pull(1);
        assert_eq!(trial.close(1008), None);
    }
    trial.pull(1);
    assert_eq!(trial.close(1001), None);
    for _ in 0..2 {
        trial.pull(1);
        assert_eq!(trial.close(1008), None);
    }
    trial.pull(1);
    assert_eq!(trial.close(1008), Some(1));
}

#[test]
fn the_oldest_message_is_the_one_held_the_longest_in_transit_or_queued_and_keeps_its_age_when_it_comes_back() {
    let mut trial = Trial::new(Policy::default());
    let first = trial.now;
    assert_eq!(trial.outbox.oldest_at(), None);
    trial.put(1, 1).unwrap();
    trial.now += Duration::from_secs(1);
    let second = trial.now;
    trial.put(2, 2).unwrap();
    assert_eq!(trial.outbox.oldest_at(), Some(first));
    trial.pull(1);
    assert_eq!(trial.outbox.oldest_at(), Some(first), "in transit");
    trial.lose(0);
    assert_eq!(trial.outbox.oldest_at(), Some(first), "back at the head");
    trial.pull(1);
    trial.flush();
    assert_eq!(trial.outbox.oldest_at(), Some(second), "the first has left");
    trial.pull(1);
    trial.flush();
    assert_eq!(trial.outbox.oldest_at(), None);
}
