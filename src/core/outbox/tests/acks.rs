//! Confirmation by the peer's application.

use super::*;

fn acked(delivery: Delivery) -> Desk {
    let ack = Ack { outgoing: "/id".into(), incoming: "/ack".into(), timeout: Duration::from_millis(100) };
    Desk::new(Policy { delivery, ack: Some(ack), ..Policy::default() })
}

impl Desk {
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
    let mut desk = acked(Delivery::AtMostOnce);
    desk.put_keyed(1, "a");
    desk.put(2, 10).unwrap();
    desk.put_keyed(3, "b");
    desk.send_all();
    let fence = desk.outbox.fence();
    desk.confirm(fence);
    assert_eq!(desk.told(), [confirmed(2)]);
    desk.acknowledge("b");
    desk.acknowledge("nobody's");
    desk.acknowledge("a");
    assert_eq!(desk.told(), [confirmed(3), confirmed(1)]);
    assert!(!desk.outbox.has_unproven());
}

#[test]
fn of_two_messages_with_one_key_the_older_is_meant() {
    let mut desk = acked(Delivery::AtLeastOnce);
    desk.put_keyed(1, "a");
    desk.put_keyed(2, "a");
    desk.send_all();
    desk.acknowledge("a");
    assert_eq!(desk.told(), [confirmed(1)]);
    desk.acknowledge("a");
    assert_eq!(desk.told(), [confirmed(2)]);
}

#[test]
fn an_acknowledgement_may_come_before_the_stream_says_that_the_message_has_left() {
    let mut desk = acked(Delivery::AtLeastOnce);
    desk.put_keyed(1, "a");
    desk.put_keyed(2, "b");
    desk.pull(2);
    desk.acknowledge("a");
    assert_eq!(desk.told(), []);
    desk.lose(0);
    assert_eq!(desk.told(), [confirmed(1)]);
    assert_eq!(desk.pull(9), [10]);
    desk.acknowledge("b");
    desk.flush();
    assert_eq!(desk.told(), [(2, State::Written, None), confirmed(2)]);
}

#[test]
fn what_is_not_acknowledged_goes_out_again_in_order_with_what_no_pong_confirmed() {
    let mut desk = acked(Delivery::AtLeastOnce);
    desk.put_keyed(1, "a");
    desk.put_message(message(2, 20, None)).unwrap();
    desk.put_keyed(3, "c");
    desk.send_all();
    desk.acknowledge("c");
    desk.told();
    desk.lose(0);
    assert_eq!(desk.pull(9), [10, 20]);
}

#[test]
fn at_most_once_an_acknowledgement_that_does_not_come_leaves_the_message_unknown() {
    let mut desk = acked(Delivery::AtMostOnce);
    desk.put_keyed(1, "a");
    desk.send_all();
    let since = desk.now;
    desk.wait(50);
    desk.put_keyed(2, "b");
    desk.send_all();
    assert_eq!(desk.outbox.next_ack_deadline(), Some(since + Duration::from_millis(100)));
    desk.wait(50);
    desk.outbox.give_up_acks(desk.now, &mut desk.told);
    assert_eq!(desk.told(), [(1, State::Unknown, Some(EndReason::AckTimeout))]);
    assert_eq!(desk.outbox.next_ack_deadline(), Some(since + Duration::from_millis(150)));
}

#[test]
fn at_most_once_the_names_that_wait_are_bounded_and_what_is_pushed_out_is_told() {
    let mut desk = acked(Delivery::AtMostOnce);
    let long = "k".repeat(1000);
    let most = unconfirmed::MOST_BYTES.div_ceil(unacknowledged::cost(&long));
    for id in 0..=most as u128 {
        desk.put_keyed(id, &long);
        desk.pull(1);
        desk.flush();
    }
    let ends: Vec<_> = desk.told().into_iter().filter(|(_, state, _)| *state != State::Written).collect();
    assert_eq!(ends, [(0, State::Unknown, Some(EndReason::Unproven))]);
    desk.acknowledge(&long);
    assert_eq!(desk.told(), [confirmed(1)]);
}
