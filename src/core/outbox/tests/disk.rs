//! Durable outboxes: nothing leaves before the disk has it, and nothing on disk is ended by leaving.

use super::*;

fn durable(delivery: Delivery) -> Trial {
    Trial::new(Policy { delivery, durable: true, ..Policy::default() })
}

impl Trial {
    fn place(&self, id: u128) -> u64 {
        self.outbox.keep(MessageId(id)).expect("it is for the disk").place
    }

    fn put_stored(&mut self, id: u128, bytes: usize) {
        self.put(id, bytes).unwrap();
        let place = self.place(id);
        self.outbox.stored(place, MessageId(id));
    }
}

#[test]
fn a_message_leaves_when_it_is_stored_and_nothing_overtakes_it() {
    let mut trial = durable(Delivery::AtLeastOnce);
    trial.put(1, 1).unwrap();
    let first = trial.place(1);
    trial.put_stored(2, 2);
    assert_eq!(trial.pull(9), NOTHING);
    assert_eq!(trial.outbox.buffered_amount(), 3, "it counts from the moment it was taken");
    trial.outbox.stored(first, MessageId(1));
    assert_eq!(trial.pull(9), [1, 2]);
}

#[test]
fn at_most_once_a_message_leaves_when_its_mark_is_stored_too() {
    let mut trial = durable(Delivery::AtMostOnce);
    trial.put_stored(1, 1);
    trial.put_stored(2, 2);
    assert_eq!(trial.pull(9), NOTHING);
    let ids = trial.outbox.take_unmarked();
    assert_eq!(ids, [MessageId(1), MessageId(2)]);
    assert_eq!(trial.outbox.take_unmarked(), [], "asked for once");
    trial.outbox.marked(&ids[..1]);
    assert_eq!(trial.pull(9), [1]);
    trial.outbox.marked(&ids[1..]);
    assert_eq!(trial.pull(9), [2]);
}

#[test]
fn at_least_once_no_mark_is_asked_for() {
    let mut trial = durable(Delivery::AtLeastOnce);
    trial.put_stored(1, 1);
    assert_eq!(trial.outbox.take_unmarked(), []);
}

#[test]
fn what_the_disk_refuses_was_not_accepted() {
    let mut trial = durable(Delivery::AtLeastOnce);
    trial.put(1, 1).unwrap();
    let place = trial.place(1);
    trial.outbox.not_stored(place, MessageId(9), &mut trial.told);
    assert_eq!(trial.told(), [], "an answer for another message of that place is for nobody");
    trial.outbox.not_stored(place, MessageId(1), &mut trial.told);
    assert_eq!(trial.told(), [(1, State::Dropped, Some(EndReason::Disk))]);
    assert_eq!(trial.outbox.buffered_amount(), 0);
}

#[test]
fn a_message_that_was_dropped_at_once_is_not_for_the_disk() {
    let mut trial =
        Trial::new(Policy { max_messages: 1, on_full: OnFull::DropNewest, durable: true, ..Policy::default() });
    trial.put(1, 1).unwrap();
    trial.put(2, 1).unwrap();
    assert_eq!(trial.outbox.keep(MessageId(2)), None);
}

#[test]
fn what_is_on_disk_outlives_the_link_and_its_marks_are_taken_back() {
    let mut trial = durable(Delivery::AtMostOnce);
    trial.put_stored(1, 1);
    let ids = trial.outbox.take_unmarked();
    trial.outbox.marked(&ids);
    trial.put_stored(2, 2);
    let marked = trial.outbox.clear(State::Dropped, EndReason::Shutdown, &mut trial.told);
    assert_eq!(marked, [MessageId(1)]);
    assert_eq!(trial.told(), []);
    assert_eq!((trial.outbox.len(), trial.outbox.buffered_amount()), (0, 0));
}

#[test]
fn what_was_kept_through_a_restart_comes_first_and_needs_no_storing() {
    let mut trial = durable(Delivery::AtLeastOnce);
    trial.outbox.restore(trial.now, message(1, 1, None));
    trial.put_stored(2, 2);
    assert_eq!(trial.pull(9), [1, 2]);
}
