//! Acceptance, whoever hangs up: sends are polled by hand and cut off between any two polls, and repeated with their keys.
//!
//! The model is one sentence: a key has one message or none, everybody who asks by it hears the same, and who is refused leaves it
//! free.

use std::{
    future::{Future, poll_fn},
    pin::pin,
    task::Poll,
};

use futures_util::{
    FutureExt as _,
    future::{join, join_all},
};
use proptest::prelude::*;

use super::*;

/// Polls after which a send is cut off, beyond which it has been accepted or refused.
const POLLS: usize = 5;

/// Where a caller hangs up.
#[derive(Debug, Clone, Copy)]
struct Cut {
    /// After so many polls.
    polls: usize,
    /// Only once it has been woken again: what it waited for is there, and nobody takes it.
    woken: bool,
}

fn cuts() -> impl Iterator<Item = Cut> {
    (0..POLLS).flat_map(|polls| [false, true].map(|woken| Cut { polls, woken }))
}

/// Polls a future until it is cut off; what it came to, if it came to something before.
async fn cut_off<T>(future: impl Future<Output = T>, cut: Cut) -> Option<T> {
    let mut future = pin!(future);
    let mut polls = 0;
    poll_fn(|cx| {
        if polls == cut.polls {
            return Poll::Ready(None);
        }
        polls += 1;
        match future.as_mut().poll(cx) {
            Poll::Ready(outcome) => Poll::Ready(Some(outcome)),
            Poll::Pending if polls == cut.polls && !cut.woken => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        }
    })
    .await
}

/// A pool with one endpoint `e`, whose link rests, so that what it takes stays.
async fn resting(storage: &str, outbox: &str) -> Pool {
    let text = format!("{storage}\n[endpoints.e]\nurl = 'ws://127.0.0.1:9/'\noutbox = {{ {outbox} }}");
    let settings = written::settings(&text);
    let pool = Pool::start(settings, Arc::new(Silent), 1).await;
    pool.command("e", 0, Verb::Pause).await.expect("the link obeys");
    pool
}

/// One whose sender has the patience to hear what becomes of the first of its key.
fn keyed(key: &str) -> Send {
    Send { idempotency_key: Some(key.into()), patience: PATIENCE, ..send("e") }
}

async fn held(pool: &Pool) -> u64 {
    // Behind every order that was given before.
    pool.command("e", 0, Verb::Pause).await.expect("the link obeys");
    pool.link("e", 0).expect("it is configured").queued_messages
}

fn is_free(pool: &Pool, key: &str) -> bool {
    pool.inner.parts.receipts.first_of(&"e".into(), key).is_none()
}

/// What one heard who was not cut off is what all hear.
fn assert_agreed(pool: &Pool, heard: &[Result<Receipt, Refused>], why: &str) {
    let ids: Vec<_> = heard.iter().map(|outcome| outcome.as_ref().ok().map(|receipt| receipt.id)).collect();
    assert!(ids.windows(2).all(|pair| pair[0] == pair[1]), "{why}: {heard:?}");
    for id in ids.into_iter().flatten() {
        assert!(pool.receipt(id).is_some(), "{why}: the receipt cannot be looked up");
    }
}

async fn is_there_once_however_it_is_cut(pool: &Pool) {
    let mut wanted = 0;
    for cut in cuts() {
        for rivals in [0, 1] {
            let why = format!("{cut:?}, {rivals} beside it");
            let key = format!("{cut:?} {rivals}");
            let mut heard = Vec::new();
            let first = cut_off(pool.send(keyed(&key)), cut);
            if rivals == 0 {
                heard.extend(first.await);
            } else {
                let (first, rival) = join(first, pool.send(keyed(&key))).await;
                heard.extend(first);
                heard.push(rival);
            }
            heard.push(pool.send(keyed(&key)).await);
            wanted += 1;
            assert!(heard.iter().all(Result::is_ok), "{why}: {heard:?}");
            assert_agreed(pool, &heard, &why);
            assert_eq!(held(pool).await, wanted, "{why}");
        }
    }
}

#[tokio::test]
async fn a_send_that_is_cut_off_at_any_moment_and_repeated_is_there_once() {
    let pool = resting("", "").await;
    is_there_once_however_it_is_cut(&pool).await;
}

#[tokio::test]
async fn so_is_one_for_the_disk() {
    let folder = tempfile::tempdir().expect("a folder");
    let storage = format!("[storage]\ndir = '{}'", folder.path().display());
    let pool = resting(&storage, "durability = 'disk'").await;
    is_there_once_however_it_is_cut(&pool).await;
}

#[tokio::test]
async fn a_refusal_is_the_same_for_all_and_leaves_the_key_free() {
    let pool = resting("", "max_messages = 1").await;
    pool.send(send("e")).await.expect("there is room for one");
    for cut in cuts() {
        let (first, rival) = join(cut_off(pool.send(keyed("k")), cut), pool.send(keyed("k"))).await;
        let heard: Vec<_> = first.into_iter().chain([rival, pool.send(keyed("k")).await]).collect();
        assert!(heard.iter().all(|outcome| matches!(outcome, Err(Refused::Full { .. }))), "{cut:?}: {heard:?}");
        assert_eq!(held(&pool).await, 1, "{cut:?}");
        assert!(is_free(&pool, "k"), "{cut:?}");
    }
}

#[tokio::test]
async fn what_the_disk_refuses_is_refused_for_all_and_does_not_stand_in_the_way_of_the_next() {
    let folder = tempfile::tempdir().expect("a folder");
    let storage = format!("[storage]\ndir = '{}'\nmax_bytes = 1048576", folder.path().display());
    let pool = resting(&storage, "durability = 'disk'").await;
    let large = |key: &str| Send { payload: Payload::binary(vec![0; (1 << 20) - 1]), ..keyed(key) };
    for cut in cuts() {
        let key = format!("{cut:?}");
        let (first, rival) = join(cut_off(pool.send(large(&key)), cut), pool.send(large(&key))).await;
        let heard: Vec<_> = first.into_iter().chain([rival]).collect();
        assert!(heard.iter().all(|outcome| matches!(outcome, Err(Refused::Store(_)))), "{cut:?}: {heard:?}");
        // Smaller, so that there is room: the refusal of the first one is not its.
        let repeat = pool.send(keyed(&key)).await;
        assert!(repeat.is_ok(), "{cut:?}: {repeat:?}");
    }
    assert_eq!(held(&pool).await, cuts().count() as u64);
}

#[tokio::test]
async fn one_key_in_three_messages_of_a_batch_has_one_message_or_three_refusals() {
    for (room, is_taken) in [(1, false), (2, true)] {
        let pool = resting("", &format!("max_messages = {room}")).await;
        pool.send(send("e")).await.expect("there is room for one");
        let mut heard = Vec::new();
        pool.send_all(vec![keyed("k"), keyed("k"), keyed("k")], Stop::Never, |outcome| heard.push(outcome)).await;
        assert_eq!(heard.len(), 3);
        assert!(heard.iter().all(|outcome| outcome.is_ok() == is_taken), "{heard:?}");
        assert_agreed(&pool, &heard, "a batch");
        assert_eq!(held(&pool).await, room);
        assert_eq!(is_free(&pool, "k"), !is_taken);
    }
}

#[tokio::test(start_paused = true)]
async fn one_that_waits_for_room_goes_on_waiting_without_its_caller_and_who_repeats_it_waits_too() {
    let pool = resting("", "max_messages = 1, on_full = 'wait'").await;
    let filler = Send { ttl: Some(Duration::from_secs(5)), ..send("e") };
    pool.send(filler).await.expect("there is room for one");
    let patient = || Send { patience: Duration::from_mins(1), ..keyed("k") };
    assert!(cut_off(pool.send(patient()), Cut { polls: 2, woken: false }).await.is_none());
    let hasty = Send { patience: Duration::from_secs(1), ..keyed("k") };
    assert_eq!(pool.send(hasty).await, Err(Refused::Undecided), "nobody knows yet");
    let receipt = pool.send(patient()).await.expect("there is room when the filler has expired");
    assert_eq!(held(&pool).await, 1);
    assert_eq!(pool.send(keyed("k")).await.map(|receipt| receipt.id), Ok(receipt.id));
}

#[tokio::test]
async fn a_repeat_of_what_was_accepted_needs_no_room() {
    let pool = resting("", "max_messages = 1").await;
    let receipt = pool.send(keyed("k")).await.expect("there is room for one");
    assert!(matches!(pool.send(send("e")).await, Err(Refused::Full { .. })));
    let large = Send { payload: Payload::binary(vec![0; 2 << 20]), ..keyed("k") };
    assert_eq!(pool.send(large).await.map(|receipt| receipt.id), Ok(receipt.id), "the key alone says what a repeat is");
}

#[tokio::test]
async fn a_dead_letter_that_is_retried_by_two_of_whom_one_hangs_up_is_sent_once_and_gone() {
    let pool = resting("", "").await;
    for (number, cut) in (1..).zip(cuts()) {
        let id = MessageId(number);
        let now = pool.calendar().now();
        pool.inner.parts.dead.bury(DeadLetter {
            id,
            endpoint: "e".into(),
            link: 0,
            key: None,
            payload: Payload::binary("tick"),
            accepted_at: now,
            end_reason: EndReason::Poison,
            died_at: now,
        });
        join(cut_off(pool.retry_dead_letter(id), cut), pool.retry_dead_letter(id)).await;
        let gone = async {
            while pool.dead_letter(id).is_some() {
                tokio::task::yield_now().await;
            }
        };
        timeout(PATIENCE, gone).await.unwrap_or_else(|_| panic!("{cut:?}: the letter is still there"));
        assert_eq!(u128::from(held(&pool).await), number, "{cut:?}");
    }
}

#[tokio::test]
async fn orphans_that_are_moved_are_with_their_new_link_although_the_operator_hangs_up() {
    for cut in cuts() {
        let folder = tempfile::tempdir().expect("a folder");
        let storage = format!("[storage]\ndir = '{}'", folder.path().display());
        let gone = format!("{storage}\n[endpoints.gone]\nurl = 'ws://127.0.0.1:9/'\noutbox.durability = 'disk'");
        let earlier = resting(&gone, "").await;
        earlier.send(send("gone")).await.expect("it is accepted");
        earlier.shut_down(Instant::now() + Duration::from_secs(1)).await;
        let pool = resting(&storage, "durability = 'disk'").await;
        assert_eq!(pool.orphans().len(), 1, "{cut:?}");
        cut_off(pool.move_orphans(("gone", 0), ("e", 0)), cut).await;
        // Behind it; and where it was not begun, instead of it.
        let _ = pool.move_orphans(("gone", 0), ("e", 0)).await;
        assert!(pool.orphans().is_empty(), "{cut:?}");
        assert_eq!(held(&pool).await, 1, "{cut:?}");
    }
}

/// One who sends with a key: alone, or beside another.
#[derive(Debug, Clone)]
struct Step {
    keys: Vec<u8>,
    cut: Option<(usize, bool)>,
    beside: Option<u8>,
}

fn step() -> impl Strategy<Value = Step> {
    let keys = prop::collection::vec(0_u8..6, 1..4);
    let cut = prop::option::of((0..POLLS, any::<bool>()));
    (keys, cut, prop::option::of(0_u8..6)).prop_map(|(keys, cut, beside)| Step { keys, cut, beside })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn any_sends_cut_off_anywhere_leave_what_a_map_of_keys_would(steps in prop::collection::vec(step(), 1..12)) {
        tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime").block_on(async {
            let pool = resting("", "max_messages = 3").await;
            let mut model: BTreeMap<u8, MessageId> = BTreeMap::new();
            for step in steps {
                let mut heard = Vec::new();
                let sends = step.keys.iter().map(|key| keyed(&key.to_string())).collect();
                let batch = pool.send_all(sends, Stop::Never, |outcome| heard.push(outcome));
                let (polls, woken) = step.cut.unwrap_or((usize::MAX, false));
                let beside = async {
                    match step.beside {
                        Some(key) => Some((key, pool.send(keyed(&key.to_string())).await)),
                        None => None,
                    }
                };
                let (_, beside) = join(cut_off(batch, Cut { polls, woken }), beside).await;
                let told = step.keys.iter().copied().zip(heard).chain(beside);
                for (key, outcome) in told {
                    if let Ok(receipt) = outcome {
                        assert_eq!(*model.entry(key).or_insert(receipt.id), receipt.id, "one message a key");
                        assert!(pool.receipt(receipt.id).is_some());
                    }
                }
                // All are sent again, so that it is known what became of those of whom nobody heard.
                for key in step.keys {
                    match pool.send(keyed(&key.to_string())).await {
                        Ok(receipt) => assert_eq!(*model.entry(key).or_insert(receipt.id), receipt.id),
                        Err(refused) => {
                            assert!(matches!(refused, Refused::Full { .. }), "{refused:?}");
                            assert!(!model.contains_key(&key) && is_free(&pool, &key.to_string()));
                        }
                    }
                }
                assert_eq!(held(&pool).await, model.len() as u64);
            }
        });
    }
}

#[tokio::test]
async fn what_a_link_has_room_for_is_accepted_without_a_question() {
    let pool = resting("", "max_messages = 2").await;
    for queued in 1..=2 {
        let receipt = pool.send(send("e")).now_or_never().expect("nobody is waited for").expect("there is room");
        assert_eq!(pool.receipt(receipt.id).map(|receipt| receipt.state), Some(State::Queued));
        let view = pool.link("e", 0).expect("it is configured");
        assert_eq!((view.queued_messages, view.buffered_amount), (queued, 4 * queued), "seen at once");
    }
    let mut refused = Box::pin(pool.send(send("e")));
    assert!((&mut refused).now_or_never().is_none(), "only the link can refuse it");
    assert!(matches!(refused.await, Err(Refused::Full { messages: 2, .. })));
    assert_eq!(held(&pool).await, 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_many_that_send_at_once_as_many_are_accepted_as_there_is_room_for() {
    let pool = resting("", "max_messages = 100").await;
    let senders = (0..8).map(|_| {
        let pool = pool.clone();
        tokio::spawn(async move {
            let mut accepted = 0_u64;
            for _ in 0..40 {
                match pool.send(send("e")).await {
                    Ok(_) => accepted += 1,
                    Err(refused) => assert!(matches!(refused, Refused::Full { .. }), "{refused:?}"),
                }
            }
            accepted
        })
    });
    let accepted: u64 = join_all(senders).await.into_iter().map(|sender| sender.expect("it ends")).sum();
    assert_eq!((accepted, held(&pool).await), (100, 100));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_accepted_while_its_link_ends_has_an_end() {
    for round in 0..20 {
        let pool = resting("", "").await;
        let senders = (0..2).map(|_| {
            let pool = pool.clone();
            tokio::spawn(async move {
                let mut accepted = Vec::new();
                while accepted.len() < 1000 {
                    match pool.send(send("e")).await {
                        Ok(receipt) => accepted.push(receipt.id),
                        Err(Refused::Full { .. }) => tokio::task::yield_now().await,
                        Err(_) => break,
                    }
                }
                accepted
            })
        });
        let senders = join_all(senders);
        let (senders, end_reason) = if round % 2 == 0 {
            let without = written::settings("[endpoints.f]\nurl = 'ws://127.0.0.1:9/'");
            let (senders, _) = join(senders, pool.apply(without, &|_, _| Follow::Live)).await;
            (senders, EndReason::Removed)
        } else {
            let (senders, _) = join(senders, pool.shut_down(Instant::now() + Duration::from_secs(1))).await;
            (senders, EndReason::Shutdown)
        };
        for id in senders.into_iter().flat_map(|sender| sender.expect("it ends")) {
            let receipt = pool.receipt(id).expect("it was accepted");
            assert_eq!((receipt.state, receipt.end_reason), (State::Dropped, Some(end_reason)), "round {round}");
        }
    }
}
