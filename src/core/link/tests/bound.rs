//! Messages that are bound to one connection: they leave on it, or never.

use super::*;
use crate::{
    message::Extras,
    outbox::{Delivery, Refusal},
    receipt::EndReason,
};

fn beside(input: ConnectionInput) -> Input {
    Input::Connection(Lane::Beside, input)
}

fn bound(generation: u64) -> Extras {
    Extras { generation: Some(generation), ..Extras::default() }
}

impl Bench {
    /// What the link says to a message that is bound to this connection.
    fn refusal(&mut self, generation: u64) -> Option<Refusal> {
        let (id, extras) = (MessageId(1 << 40), bound(generation).boxed());
        let message = Message { id, body: "x".into(), extras, expires_at: None, share: Share::default() };
        self.link.offer(self.now, Box::new(message)).0.err().map(|(_, refusal)| refusal)
    }

    fn ends_of(&self, id: MessageId) -> Vec<(receipt::State, Option<EndReason>)> {
        let reached = self.said.iter().filter_map(|said| match said {
            Command::Settle { reached, .. } => Some(reached),
            _ => None,
        });
        reached.flatten().filter(|ended| ended.id == id).map(|ended| (ended.state, ended.end_reason)).collect()
    }
}

const PASSED: (receipt::State, Option<EndReason>) = (receipt::State::Dropped, Some(EndReason::Generation));

#[test]
fn a_message_that_is_bound_to_another_connection_is_refused() {
    let mut bench = Bench::started();
    assert_eq!(bench.refusal(0), Some(Refusal::Generation), "there is none");
    assert_eq!(bench.refusal(1), Some(Refusal::Generation), "it is not open");
    bench.feed(dialled());
    assert_eq!([bench.refusal(0), bench.refusal(2)], [Some(Refusal::Generation); 2]);
    assert_eq!(bench.refusal(1), None);
    bench.feed(Input::Verb(Verb::Close(None)));
    assert_eq!(bench.refusal(1), Some(Refusal::Generation), "nothing leaves on it any more");
    bench.feed(ended());
    assert_eq!(bench.refusal(1), Some(Refusal::Generation), "it is gone");
}

#[test]
fn what_was_accepted_for_a_connection_and_has_not_left_when_it_is_lost_never_leaves() {
    let mut bench = Bench::open();
    let (login, other) = (bench.offer("login", bound(1)), bench.send("other"));
    bench.feed(ended());
    assert_eq!((bench.ends_of(login), bench.ends_of(other)), (vec![PASSED], vec![]));
    assert_eq!((bench.link.queued_messages(), bench.link.buffered_amount()), (1, 5));
    bench.pass(Duration::from_secs(5)).feed(dialled());
    assert_eq!((bench.link.generation(), bench.frames()), (2, vec![text("other")]));
}

#[test]
fn it_goes_as_soon_as_its_connection_begins_to_close() {
    let mut bench = Bench::open();
    let login = bench.offer("login", bound(1));
    bench.feed(close(1000));
    assert_eq!(bench.ends_of(login), [PASSED]);
}

#[test]
fn what_had_not_begun_to_leave_does_not_come_back_for_the_next_connection() {
    let mut bench = Bench::open();
    let (first, second) = (bench.offer("first", bound(1)), bench.offer("second", bound(1)));
    assert_eq!(bench.frames(), [text("first"), text("second")]);
    bench.feed(ConnectionInput::Ended { begun: 1, detail: "".into() });
    assert_eq!(bench.ends_of(first), [(receipt::State::Unknown, Some(EndReason::LinkLost))]);
    assert_eq!(bench.ends_of(second), [PASSED]);
}

#[test]
fn at_least_once_is_once_for_what_is_bound_to_a_connection() {
    let outbox = outbox::Policy { delivery: Delivery::AtLeastOnce, ..outbox::Policy::default() };
    let mut bench = Bench::with(Policy { outbox: Arc::new(outbox), ..Policy::default() });
    bench.feed(Input::Start).feed(dialled());
    let (login, free) = (bench.offer("login", bound(1)), bench.send("free"));
    bench.frames();
    bench.feed(ConnectionInput::Flushed).feed(ended());
    assert_eq!(bench.ends_of(login).last(), Some(&(receipt::State::Unknown, Some(EndReason::LinkLost))));
    bench.pass(Duration::from_secs(5)).feed(dialled());
    assert_eq!(bench.frames().first(), Some(&text("free")));
    assert_eq!(bench.ends_of(free).len(), 1, "written");
}

#[test]
fn a_rotation_leaves_it_behind() {
    let mut bench = Bench::open();
    bench.send("unproven");
    bench.frames();
    bench.feed(Input::Verb(Verb::Rotate)).feed(beside(dialled()));
    assert_eq!(bench.link.generation(), 1, "the old one is still to prove what it has read");
    assert_eq!([bench.refusal(1), bench.refusal(2)], [Some(Refusal::Generation); 2]);
    let mut bench = Bench::open();
    let login = bench.offer("login", bound(1));
    bench.feed(Input::Verb(Verb::Rotate)).feed(beside(dialled()));
    assert_eq!((bench.link.generation(), bench.frames()), (2, vec![]));
    assert_eq!(bench.ends_of(login), [PASSED]);
}

#[test]
fn it_is_not_put_on_disk() {
    let outbox = outbox::Policy { durable: true, ..outbox::Policy::default() };
    let mut bench = Bench::with(Policy { outbox: Arc::new(outbox), ..Policy::default() });
    bench.feed(Input::Start).feed(dialled());
    bench.offer("login", bound(1));
    assert!(!bench.said.iter().any(|said| matches!(said, Command::Keep(_) | Command::Mark { .. })));
    assert_eq!(bench.frames(), [text("login")]);
}

#[test]
fn a_link_that_begins_anew_gives_no_number_twice() {
    let mut bench = Bench::with(Policy::default());
    bench.link.number_after(7);
    bench.feed(Input::Start);
    assert_eq!(bench.refusal(7), Some(Refusal::Generation));
    bench.feed(dialled());
    assert_eq!((bench.link.generation(), bench.refusal(8)), (8, None));
}
