//! Confirmation by the peer's application.

use super::*;

fn acked(delivery: Delivery) -> Trial {
    let ack = Ack { outgoing: "/id".into(), incoming: "/ack".into(), timeout: Duration::from_millis(100) };
    Trial::new(Policy { delivery, ack: Some(ack), ..Policy::default() })
}

impl Trial {
    fn put_keyed(&mut self, id: u128, key: &str) {
        let extras = Extras { ack: Some(key.into()), ..Extras::default() }.boxed();
        self.put_message(Box::new(Message { extras, ..*message(id, 10, None) })).unwrap();
    }

    fn acknowledge(&mut self, key: &str) {
        self.outbox.acknowledge(key, &mut self.told);
    }

    fn send_all(&mut self) {
        self.pull(9);
        self.flush();
        self.told();
    }
}

fn confirmed(id: u128) -> (u128, State, Option<EndReason>) {
    (id, State::Confirmed, None)
}

#[test]
fn a_message_with_a_key_is_confirmed_by_its_acknowledgement_and_by_no_pong() {
    let mut trial = acked(Delivery::AtMostOnce);
    trial.put_keyed(1, "a");
    trial.put(2, 10).unwrap();
    trial.put_keyed(3, "b");
    trial.send_all();
    let fence = trial.outbox.fence();
    trial.confirm(fence);
    assert_eq!(trial.told(), [confirmed(2)]);
    trial.acknowledge("b");
    trial.acknowledge("nobody's");
    trial.acknowledge("a");
    assert_eq!(trial.told(), [confirmed(3), confirmed(1)]);
    assert!(!trial.outbox.has_unproven());
}

#[test]
fn of_two_messages_with_one_key_the_older_is_meant() {
    let mut trial = acked(Delivery::AtLeastOnce);
    trial.put_keyed(1, "a");
    trial.put_keyed(2, "a");
    trial.send_all();
    trial.acknowledge("a");
    assert_eq!(trial.told(), [confirmed(1)]);
    trial.acknowledge("a");
    assert_eq!(trial.told(), [confirmed(2)]);
}

#[test]
fn an_acknowledgement_may_come_before_the_stream_says_that_the_message_has_left() {
    let mut trial = acked(Delivery::AtLeastOnce);
    trial.put_keyed(1, "a");
    trial.put_keyed(2, "b");
    trial.pull(2);
    trial.acknowledge("a");
    assert_eq!(trial.told(), []);
    trial.lose(0);
    assert_eq!(trial.told(), [confirmed(1)]);
    assert_eq!(trial.pull(9), [10]);
    trial.acknowledge("b");
    trial.flush();
    assert_eq!(trial.told(), [(2, State::Written, None), confirmed(2)]);
}

#[test]
fn what_is_not_acknowledged_goes_out_again_in_order_with_what_no_pong_confirmed() {
    let mut trial = acked(Delivery::AtLeastOnce);
    trial.put_keyed(1, "a");
    trial.put_message(message(2, 20, None)).unwrap();
    trial.put_keyed(3, "c");
    trial.send_all();
    trial.acknowledge("c");
    trial.told();
    trial.lose(0);
    assert_eq!(trial.pull(9), [10, 20]);
}

#[test]
fn at_most_once_an_acknowledgement_that_does_not_come_leaves_the_message_unknown() {
    let mut trial = acked(Delivery::AtMostOnce);
    trial.put_keyed(1, "a");
    trial.send_all();
    let since = trial.now;
    trial.wait(50);
    trial.put_keyed(2, "b");
    trial.send_all();
    assert_eq!(trial.outbox.next_ack_deadline(), Some(since + Duration::from_millis(100)));
    trial.wait(50);
    trial.outbox.give_up_acks(trial.now, &mut trial.told);
    assert_eq!(trial.told(), [(1, State::Unknown, Some(EndReason::AckTimeout))]);
    assert_eq!(trial.outbox.next_ack_deadline(), Some(since + Duration::from_millis(150)));
}

#[test]
fn at_most_once_the_names_that_wait_are_bounded_and_what_is_pushed_out_is_told() {
    let mut trial = acked(Delivery::AtMostOnce);
    let long = "k".repeat(1000);
    let most = unconfirmed::MOST_BYTES.div_ceil(unacknowledged::cost(&long));
    for id in 0..=most as u128 {
        trial.put_keyed(id, &long);
        trial.pull(1);
        trial.flush();
    }
    let ends: Vec<_> = trial.told().into_iter().filter(|(_, state, _)| *state != State::Written).collect();
    assert_eq!(ends, [(0, State::Unknown, Some(EndReason::Unproven))]);
    trial.acknowledge(&long);
    assert_eq!(trial.told(), [confirmed(1)]);
}
