//! The outbox, one promise at a time.

use std::time::Duration;

use super::*;
use crate::{
    bucket::Pacing,
    budget::{Budget, Share},
    message::{Extras, Payload},
};

mod acks;
mod again;
mod disk;
mod model;
mod runs;

/// What `Trial::pull` gives when nothing may leave.
const NOTHING: [usize; 0] = [];

/// An outbox with a clock, and all that it told.
struct Trial {
    outbox: Outbox,
    now: Instant,
    told: Vec<Ended>,
    sent: Vec<Sent>,
}

impl Trial {
    fn new(policy: Policy) -> Self {
        Self { outbox: Outbox::new(policy), now: crate::epoch(), told: Vec::new(), sent: Vec::new() }
    }

    fn small(on_full: OnFull) -> Self {
        Self::new(Policy { max_messages: 3, max_bytes: 100, max_message: 100, on_full, ..Policy::default() })
    }

    fn put(&mut self, id: u128, bytes: usize) -> Result<(), Refusal> {
        self.put_message(message(id, bytes, None))
    }

    fn put_message(&mut self, message: Box<Message>) -> Result<(), Refusal> {
        self.outbox.offer(self.now, message, true, &mut self.told).map_err(|(_, refusal)| refusal)
    }

    /// Pulls this many and answers with their lengths, by which the tests know them.
    fn pull(&mut self, count: usize) -> Vec<usize> {
        (0..count).map_while(|_| self.outbox.next(self.now)).map(|payload| payload.len()).collect()
    }

    fn flush(&mut self) {
        self.outbox.left(self.now, usize::MAX, &mut self.sent, &mut self.told);
    }

    fn lose(&mut self, begun: usize) {
        self.outbox.lost(begun, None, &mut self.told);
    }

    /// The peer closes the link with this code; answers with the message that is dead of it.
    fn close(&mut self, code: u16) -> Option<u128> {
        self.outbox.lost(usize::MAX, Some(code), &mut self.told).map(|message| message.id.0)
    }

    fn confirm(&mut self, fence: u64) {
        self.outbox.confirm(fence, &mut self.told);
    }

    fn wait(&mut self, millis: u64) {
        self.now += Duration::from_millis(millis);
        self.outbox.expire(self.now, &mut self.told);
    }

    /// What was told since the last look.
    fn told(&mut self) -> Vec<(u128, State, Option<EndReason>)> {
        self.told.drain(..).map(|ended| (ended.id.0, ended.state, ended.end_reason)).collect()
    }
}

#[allow(clippy::unnecessary_box_returns, reason = "the outbox takes them boxed")]
fn message(id: u128, bytes: usize, key: Option<&str>) -> Box<Message> {
    Box::new(Message {
        id: MessageId(id),
        body: Payload::binary(vec![0; bytes]).into(),
        extras: Extras { key: key.map(Into::into), ..Extras::default() }.boxed(),
        expires_at: None,
        share: Share::default(),
    })
}

fn unknown(id: u128) -> (u128, State, Option<EndReason>) {
    (id, State::Unknown, Some(EndReason::LinkLost))
}

#[test]
fn messages_leave_in_the_order_in_which_they_came() {
    let mut trial = Trial::small(OnFull::Reject);
    for id in 1..=3 {
        trial.put(id, 10 + id as usize).unwrap();
    }
    assert_eq!((trial.outbox.len(), trial.outbox.buffered_amount()), (3, 36));
    assert_eq!(trial.pull(9), [11, 12, 13]);
    assert_eq!((trial.outbox.len(), trial.outbox.buffered_amount()), (3, 36));
    trial.now += Duration::from_secs(2);
    trial.flush();
    assert!(trial.outbox.is_empty());
    assert_eq!(trial.outbox.buffered_amount(), 0);
    assert_eq!(trial.told(), [1, 2, 3].map(|id| (id, State::Written, None)));
    assert_eq!(trial.sent[0], Sent { kind: Kind::Binary, messages: 1, bytes: 11, waited: Duration::from_secs(2) });
}

#[test]
fn a_message_too_big_is_refused_whatever_else_holds() {
    for (ready, on_full) in [(true, OnFull::DropOldest), (false, OnFull::DropNewest)] {
        let mut trial = Trial::small(on_full);
        trial.outbox.set_policy(Policy { max_message: 5, when_down: WhenDown::Drop, on_full, ..Policy::default() });
        let answer = trial.outbox.offer(trial.now, message(1, 6, None), ready, &mut trial.told);
        assert!(matches!(answer, Err((_, Refusal::TooBig))));
    }
}

#[test]
fn a_link_that_is_down_holds_rejects_or_drops() {
    let cases = [(WhenDown::Hold, Ok(()), 1), (WhenDown::Reject, Err(Refusal::Down), 0), (WhenDown::Drop, Ok(()), 0)];
    for (when_down, expected, held) in cases {
        let mut trial = Trial::new(Policy { when_down, ..Policy::default() });
        let answer = trial.outbox.offer(trial.now, message(1, 1, None), false, &mut trial.told);
        assert_eq!((answer.map_err(|(_, refusal)| refusal), trial.outbox.len()), (expected, held));
        let told = trial.told();
        assert_eq!(told.is_empty(), when_down != WhenDown::Drop);
        assert!(told.iter().all(|it| *it == (1, State::Dropped, Some(EndReason::Down))));
    }
}

#[test]
fn a_full_outbox_does_as_its_policy_says() {
    let cases = [
        (OnFull::Reject, Err(Refusal::Full), vec![]),
        (OnFull::Wait, Err(Refusal::Wait), vec![]),
        (OnFull::DropNewest, Ok(()), vec![(4, State::Dropped, Some(EndReason::Overflow))]),
        (OnFull::DropOldest, Ok(()), vec![(1, State::Dropped, Some(EndReason::Evicted))]),
    ];
    for (on_full, expected, told) in cases {
        let mut trial = Trial::small(on_full);
        (1..=3).for_each(|id| trial.put(id, 10).unwrap());
        assert_eq!((trial.put(4, 10), trial.told()), (expected, told), "{on_full:?}");
        assert_eq!(trial.outbox.len(), 3);
    }
}

#[test]
fn as_many_of_the_oldest_go_as_the_bytes_ask_for() {
    let mut trial = Trial::small(OnFull::DropOldest);
    trial.put(1, 40).unwrap();
    trial.put(2, 40).unwrap();
    trial.put(3, 90).unwrap();
    assert_eq!(trial.told(), [1, 2].map(|id| (id, State::Dropped, Some(EndReason::Evicted))));
    assert_eq!(trial.outbox.buffered_amount(), 90);
}

#[test]
fn nothing_is_evicted_for_a_message_that_is_refused_all_the_same() {
    let mut trial = Trial::small(OnFull::DropOldest);
    trial.put(1, 60).unwrap();
    trial.put(2, 30).unwrap();
    assert_eq!(trial.pull(1), [60]);
    assert_eq!(trial.put(3, 50), Err(Refusal::Full));
    assert_eq!((trial.told(), trial.outbox.len()), (vec![], 2));
    assert_eq!(trial.put(4, 40), Ok(()));
    assert_eq!(trial.told(), [(2, State::Dropped, Some(EndReason::Evicted))]);
}

#[test]
fn room_that_can_never_come_is_not_waited_for() {
    let mut trial = Trial::new(Policy { max_bytes: 10, on_full: OnFull::Wait, ..Policy::default() });
    assert_eq!(trial.put(1, 11), Err(Refusal::Full));
}

#[test]
fn a_message_that_has_expired_already_takes_nobodys_room() {
    let mut trial = Trial::small(OnFull::DropOldest);
    (1..=3).for_each(|id| trial.put(id, 10).unwrap());
    let late = Message { expires_at: Some(trial.now), ..*message(4, 10, None) };
    assert_eq!(trial.put_message(Box::new(late)), Ok(()));
    assert_eq!((trial.told(), trial.outbox.len()), (vec![(4, State::Expired, Some(EndReason::Ttl))], 3));
}

#[test]
fn a_message_expires_in_the_queue_and_not_in_transit() {
    let mut trial = Trial::new(Policy { ttl: Some(Duration::from_millis(100)), ..Policy::default() });
    (1..=3).for_each(|id| trial.put(id, id as usize).unwrap());
    assert_eq!(trial.outbox.next_expiry(), Some(trial.now + Duration::from_millis(100)));
    assert_eq!(trial.pull(1), [1]);
    trial.wait(99);
    assert_eq!(trial.told(), []);
    trial.now += Duration::from_millis(1);
    assert!(trial.pull(1).is_empty());
    trial.wait(0);
    assert_eq!(trial.told(), [2, 3].map(|id| (id, State::Expired, Some(EndReason::Ttl))));
    assert_eq!((trial.outbox.next_expiry(), trial.outbox.buffered_amount()), (None, 1));
}

#[test]
fn a_messages_own_time_to_live_stands_before_the_policys() {
    let mut trial = Trial::new(Policy { ttl: Some(Duration::from_millis(100)), ..Policy::default() });
    let own = Message { expires_at: Some(trial.now + Duration::from_secs(9)), ..*message(1, 1, None) };
    trial.put_message(Box::new(own)).unwrap();
    trial.wait(5000);
    assert_eq!(trial.pull(1), [1]);
}

#[test]
fn only_the_newest_of_a_key_is_kept_and_goes_to_the_back() {
    let mut trial = Trial::new(Policy { conflate: true, max_messages: 2, ..Policy::default() });
    trial.put_message(message(1, 11, Some("a"))).unwrap();
    trial.put_message(message(2, 12, Some("b"))).unwrap();
    trial.put_message(message(3, 13, Some("a"))).unwrap();
    assert_eq!(trial.told(), [(1, State::Dropped, Some(EndReason::Conflated))]);
    assert_eq!(trial.pull(9), [12, 13]);
}

#[test]
fn what_is_in_transit_is_not_conflated_until_it_comes_back() {
    let mut trial = Trial::new(Policy { conflate: true, ..Policy::default() });
    trial.put_message(message(1, 11, Some("a"))).unwrap();
    trial.pull(1);
    trial.put_message(message(2, 12, Some("a"))).unwrap();
    trial.pull(1);
    trial.put_message(message(3, 13, Some("a"))).unwrap();
    assert_eq!((trial.told(), trial.outbox.len()), (vec![], 3));
    trial.lose(0);
    assert_eq!(trial.told(), [2, 1].map(|id| (id, State::Dropped, Some(EndReason::Conflated))));
    assert_eq!(trial.pull(9), [13]);
}

#[test]
fn conflation_that_is_switched_on_knows_what_is_queued() {
    let mut trial = Trial::new(Policy::default());
    trial.put_message(message(1, 11, Some("a"))).unwrap();
    trial.outbox.set_policy(Policy { conflate: true, ..Policy::default() });
    trial.put_message(message(2, 12, Some("a"))).unwrap();
    assert_eq!(trial.pull(9), [12]);
}

#[test]
fn lower_limits_evict_nothing() {
    let mut trial = Trial::small(OnFull::DropOldest);
    (1..=3).for_each(|id| trial.put(id, 10).unwrap());
    trial.outbox.set_policy(Policy { max_messages: 1, max_bytes: 5, on_full: OnFull::Reject, ..Policy::default() });
    assert_eq!(trial.put(4, 1), Err(Refusal::Full));
    assert_eq!((trial.told(), trial.pull(9)), (vec![], vec![10, 10, 10]));
}

#[test]
fn a_lost_link_leaves_unknown_what_had_begun_to_leave_and_sends_the_rest_again() {
    let sizes = [10, 200, 70_000, 20];
    for begun in 0..=sizes.len() {
        let mut trial = Trial::new(Policy::default());
        (1..).zip(sizes).for_each(|(id, bytes)| trial.put(id, bytes).unwrap());
        trial.pull(4);
        trial.put(5, 50).unwrap();
        trial.lose(begun);
        let lost: Vec<_> = (1..=begun as u128).map(unknown).collect();
        assert_eq!(trial.told(), lost, "{begun}");
        let left: Vec<_> = sizes[begun..].iter().copied().chain([50]).collect();
        assert_eq!(trial.outbox.buffered_amount(), left.iter().sum::<usize>() as u64);
        assert_eq!(trial.pull(9), left, "{begun}");
    }
}

#[test]
fn what_was_written_and_not_confirmed_is_unknown_when_the_link_is_lost() {
    let mut trial = Trial::small(OnFull::Reject);
    (1..=2).for_each(|id| trial.put(id, 10).unwrap());
    trial.pull(1);
    trial.flush();
    let fence = trial.outbox.fence();
    trial.pull(1);
    trial.flush();
    trial.told();
    trial.confirm(fence);
    assert_eq!(trial.told(), [(1, State::Confirmed, None)]);
    trial.lose(0);
    assert_eq!(trial.told(), [unknown(2)]);
}

#[test]
fn a_ping_covers_what_was_pulled_before_it_and_nothing_after() {
    let mut trial = Trial::small(OnFull::Reject);
    (1..=3).for_each(|id| trial.put(id, 10).unwrap());
    trial.pull(1);
    trial.flush();
    trial.pull(1);
    let fence = trial.outbox.fence();
    trial.pull(1);
    trial.told();
    trial.confirm(fence);
    assert_eq!(trial.told(), [(1, State::Confirmed, None)]);
    // The pong of a peer that answered while more was still being written proves the second one, too.
    trial.flush();
    let written = |id| (id, State::Written, None);
    assert_eq!(trial.told(), [written(2), (2, State::Confirmed, None), written(3)]);
}

#[test]
fn what_the_peer_has_proved_to_have_read_is_not_unknown_and_not_sent_again() {
    let mut trial = Trial::small(OnFull::Reject);
    (1..=2).for_each(|id| trial.put(id, 10).unwrap());
    trial.pull(1);
    let fence = trial.outbox.fence();
    trial.pull(1);
    trial.confirm(fence);
    trial.lose(1);
    assert_eq!(trial.told(), [(1, State::Confirmed, None)]);
    assert_eq!(trial.pull(9), [10]);
}

#[test]
fn a_mark_of_an_earlier_connection_covers_nothing_of_a_later_one() {
    let mut trial = Trial::small(OnFull::Reject);
    (1..=2).for_each(|id| trial.put(id, 10).unwrap());
    trial.pull(2);
    let stale = trial.outbox.fence();
    trial.lose(0);
    trial.pull(2);
    trial.flush();
    trial.told();
    trial.confirm(stale);
    assert_eq!(trial.told(), []);
}

#[test]
fn a_ping_is_wanted_for_a_waiter_or_for_many() {
    let mut trial = Trial::new(Policy::default());
    trial.put(1, 1).unwrap();
    trial.pull(1);
    trial.flush();
    assert!(!trial.outbox.wants_confirmation());
    let extras = Extras { wants_confirmation: true, ..Extras::default() }.boxed();
    trial.put_message(Box::new(Message { extras, ..*message(2, 1, None) })).unwrap();
    assert!(!trial.outbox.wants_confirmation());
    trial.pull(1);
    trial.flush();
    assert!(trial.outbox.wants_confirmation());
    assert!(trial.outbox.is_pressed_for_confirmation());
    let fence = trial.outbox.fence();
    trial.confirm(fence);
    assert!(!trial.outbox.wants_confirmation());
    for id in 0..unconfirmed::MANY as u128 {
        assert!(!trial.outbox.wants_confirmation());
        trial.put(id, 1).unwrap();
        trial.pull(1);
        trial.flush();
    }
    assert!(trial.outbox.wants_confirmation());
}

#[test]
fn a_proof_is_wanted_of_a_message_wherever_it_is() {
    let mut trial = Trial::new(Policy::default());
    for moment in 0..3 {
        trial.put(moment, 1).unwrap();
        let want = |trial: &mut Trial, now| {
            if moment == now {
                trial.outbox.want(MessageId(moment));
            }
        };
        want(&mut trial, 0);
        trial.pull(1);
        want(&mut trial, 1);
        trial.flush();
        want(&mut trial, 2);
        assert!(trial.outbox.is_pressed_for_confirmation(), "{moment}");
        let fence = trial.outbox.fence();
        trial.confirm(fence);
        assert!(!trial.outbox.wants_confirmation(), "{moment}");
    }
}

#[test]
fn what_the_bound_of_names_pushes_out_is_told_and_all_the_rest_is_unknown_when_the_link_is_lost() {
    let mut trial = Trial::new(Policy::default());
    for id in 0..=unconfirmed::MOST as u128 {
        trial.put(id, 1).unwrap();
        trial.pull(1);
        trial.flush();
    }
    let ends: Vec<_> = trial.told().into_iter().filter(|(_, state, _)| *state != State::Written).collect();
    assert_eq!(ends, [(0, State::Unknown, Some(EndReason::Unproven))]);
    trial.lose(0);
    let told = trial.told();
    assert_eq!((told.len(), told[0]), (unconfirmed::MOST, unknown(1)));
}

#[test]
fn what_has_left_counts_at_once_while_the_rest_is_on_its_way() {
    let mut trial = Trial::new(Policy::default());
    (1..=4).for_each(|id| trial.put(id, 10 * id as usize).unwrap());
    trial.pull(3);
    trial.outbox.left(trial.now, 2, &mut trial.sent, &mut trial.told);
    assert_eq!(trial.told(), [1, 2].map(|id| (id, State::Written, None)));
    assert_eq!((trial.outbox.buffered_amount(), trial.outbox.len(), trial.sent.len()), (70, 2, 2));
    // Of the third, a part; nothing that comes to nothing is taken off twice.
    trial.outbox.part_left(20);
    assert_eq!((trial.outbox.buffered_amount(), trial.outbox.len()), (50, 2));
    trial.outbox.part_left(31);
    assert_eq!(trial.outbox.buffered_amount(), 40);
    trial.lose(1);
    assert_eq!(trial.told(), [1, 2, 3].map(unknown));
    assert_eq!((trial.outbox.buffered_amount(), trial.pull(9)), (40, vec![40]));
}

#[test]
fn clearing_ends_what_is_queued() {
    let mut trial = Trial::small(OnFull::Reject);
    (1..=3).for_each(|id| trial.put(id, 10).unwrap());
    trial.pull(2);
    trial.lose(1);
    assert_eq!(trial.told(), [unknown(1)]);
    trial.outbox.clear(State::Dropped, EndReason::Shutdown, &mut trial.told);
    assert_eq!(trial.told(), [2, 3].map(|id| (id, State::Dropped, Some(EndReason::Shutdown))));
    assert_eq!((trial.outbox.len(), trial.outbox.buffered_amount()), (0, 0));
}

#[test]
fn a_share_of_the_budget_is_given_back_with_the_message() {
    let budget = Budget::new(100);
    let mut trial = Trial::small(OnFull::DropOldest);
    for id in 1..=4 {
        let share = budget.reserve(10).unwrap();
        trial.put_message(Box::new(Message { share, ..*message(id, 10, None) })).unwrap();
    }
    assert_eq!(budget.used(), 30);
    trial.pull(1);
    assert_eq!(budget.used(), 30);
    trial.flush();
    assert_eq!(budget.used(), 20);
    trial.outbox.clear(State::Dropped, EndReason::Removed, &mut trial.told);
    assert_eq!(budget.used(), 0);
}

#[test]
fn an_empty_message_is_a_message() {
    let mut trial = Trial::small(OnFull::Reject);
    (1..=3).for_each(|id| trial.put(id, 0).unwrap());
    assert_eq!((trial.put(4, 0), trial.outbox.buffered_amount()), (Err(Refusal::Full), 0));
    assert_eq!(trial.pull(9), [0, 0, 0]);
}
