//! What is refused for want of room, and how it goes on.

use super::*;

const SMALL: u64 = 1 << 20;

#[test]
fn a_full_store_refuses_messages_and_goes_on_when_some_are_settled() {
    let folder = tempfile::tempdir().unwrap();
    let policy = Policy::new(folder.path(), SMALL);
    let (store, _) = Store::open(&policy, Calendar::default()).unwrap();
    let held = fill(&store);
    assert!((60..90).contains(&held), "{held} messages of 10 kB in 1 MiB");
    assert!(matches!(store.status().failure, Some(WriteError::Full(_))));
    drop(store);

    let (store, recovered) = Store::open(&policy, Calendar::default()).unwrap();
    assert_eq!(ids(&recovered), (0..held).collect::<Vec<_>>(), "full, and all there");
    assert!(matches!(write(&store, big(held)), Err(WriteError::Full(_))));
    for id in 0..10 {
        write(&store, settle(id, State::Confirmed)).unwrap();
    }
    assert_eq!(write(&store, big(held)), Ok(1));
    assert_eq!(store.status().failure, None);
}

#[test]
fn a_full_store_can_settle_every_message_whatever_becomes_of_it() {
    let folder = tempfile::tempdir().unwrap();
    let (store, _) = Store::open(&Policy::new(folder.path(), SMALL), Calendar::default()).unwrap();
    let mut held = 0;
    while write_all(&store, (held..held + 50).map(append)).iter().all(Result::is_ok) {
        held += 50;
    }
    for first in (0..held + 50).step_by(50) {
        let end = |id| if id % 3 == 0 { dead(id) } else { settle(id, State::Confirmed) };
        let told = write_all(&store, (first..first + 50).map(end));
        assert!(told.iter().all(Result::is_ok), "{told:?}");
    }
    assert_eq!(store.status().messages, 0);
    assert!(fs::metadata(folder.path().join("store.sqlite")).unwrap().len() <= SMALL);
}

#[test]
fn a_message_that_never_fits_is_refused_and_the_next_one_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let (store, _) = Store::open(&Policy::new(folder.path(), SMALL), Calendar::default()).unwrap();
    let huge = Op::Append(Box::new(Record { payload: Payload::binary(vec![7; 2 << 20]), ..record(1) }));
    let told = write_all(&store, [huge, append(2)]);
    assert!(matches!(told[..], [Err(WriteError::Full(_)), Ok(1)]), "{told:?}");
}

#[test]
fn a_disk_that_refuses_writes_keeps_facts_waiting_and_refuses_the_rest() {
    let folder = tempfile::tempdir().unwrap();
    let (store, _) = open(folder.path());
    write_all(&store, [append(1), append(2), append(3)]);
    refuse_writes(&store, true);
    let (tell, told) = mpsc::channel();
    let facts = [settle(1, State::Confirmed), Op::Mark { id: MessageId(2), marked: true }];
    for fact in facts {
        let tell = tell.clone();
        store.submit(fact, Some(Box::new(move |outcome| tell.send(outcome).unwrap())));
    }
    let refused = write_all(&store, [append(4), Op::DropDead(MessageId(9))]);
    assert!(refused.iter().all(|outcome| matches!(outcome, Err(WriteError::Full(_)))), "{refused:?}");
    assert!(matches!(store.status().failure, Some(WriteError::Full(_))));
    assert!(told.try_recv().is_err(), "a fact waits");

    refuse_writes(&store, false);
    // By itself, within its second.
    let patience = Duration::from_secs(30);
    assert_eq!((told.recv_timeout(patience), told.recv_timeout(patience)), (Ok(Ok(1)), Ok(Ok(1))));
    assert_eq!(write(&store, append(4)), Ok(1));
    assert_eq!(store.status().failure, None);
    drop(store);
    let (_store, recovered) = open(folder.path());
    assert_eq!(ids(&recovered), [2, 3, 4]);
    assert!(recovered.messages[0].marked);
}

#[test]
fn facts_keep_their_order_while_they_wait() {
    let folder = tempfile::tempdir().unwrap();
    let (store, _) = open(folder.path());
    write_all(&store, [append(1), append(2)]);
    refuse_writes(&store, true);
    store.submit(settle(1, State::Written), None);
    assert!(write(&store, append(3)).is_err());
    store.submit(settle(1, State::Unknown), None);
    assert!(write(&store, append(3)).is_err());
    refuse_writes(&store, false);
    write(&store, append(3)).unwrap();
    drop(store);
    let (_store, recovered) = open(folder.path());
    assert_eq!(ids(&recovered), [2, 3]);
    assert_eq!(recovered.receipts[0].receipt.state, State::Unknown);
}

#[test]
fn after_damage_nothing_more_is_written_until_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let (store, _) = open(folder.path());
    write_all(&store, [append(1), append(2)]);
    on_engine(&store, |db| db.execute_batch("UPDATE message SET payload = x'00' WHERE seq = 1").unwrap());
    assert!(matches!(write(&store, settle(1, State::Confirmed)), Err(WriteError::Broken(_))));
    assert!(matches!(write(&store, append(3)), Err(WriteError::Broken(_))));
    assert!(matches!(store.status().failure, Some(WriteError::Broken(_))));
    drop(store);
    let error = Store::open(&policy(folder.path()), Calendar::default()).map(drop).unwrap_err();
    assert!(matches!(error, OpenError::Corrupt { .. }), "{error}");
}

#[test]
fn a_failed_batch_leaves_nothing_behind() {
    let folder = tempfile::tempdir().unwrap();
    let (store, _) = open(folder.path());
    write(&store, append(1)).unwrap();
    // The engine's own limit stands in for a disk that fills in the middle of a transaction.
    on_engine(&store, |db| db.pragma_update_and_check(None, "max_page_count", 1, |_| Ok(())).unwrap());
    let told = write_all(&store, [append(2), big(3), big(4)]);
    assert!(told.iter().all(|outcome| matches!(outcome, Err(WriteError::Full(_)))), "{told:?}");
    assert_eq!(store.status().messages, 1);
    on_engine(&store, |db| db.pragma_update_and_check(None, "max_page_count", 10_000, |_| Ok(())).unwrap());
    assert_eq!(write_all(&store, [append(2), big(3)]), [Ok(1), Ok(1)]);
    drop(store);
    assert_eq!(ids(&open(folder.path()).1), [1, 2, 3]);
}

#[test]
fn dead_letters_are_bounded_by_number_and_the_oldest_go() {
    let folder = tempfile::tempdir().unwrap();
    let policy = Policy { max_dead: 3, ..policy(folder.path()) };
    let (store, _) = Store::open(&policy, Calendar::default()).unwrap();
    write_all(&store, (0..5).map(append).chain((0..5).map(dead)));
    assert_eq!(letters(&store), [2, 3, 4]);
    assert_eq!((store.status().dead_letters, store.status().dead_evicted), (3, 2));
    drop(store);
    let (store, _) = Store::open(&policy, Calendar::default()).unwrap();
    write_all(&store, [append(9), dead(9)]);
    assert_eq!(letters(&store), [3, 4, 9]);
}

#[test]
fn dead_letters_are_bounded_by_bytes_and_the_oldest_go() {
    let folder = tempfile::tempdir().unwrap();
    let (store, _) =
        Store::open(&Policy { max_dead_bytes: 25_000, ..policy(folder.path()) }, Calendar::default()).unwrap();
    write_all(&store, (0..3).map(big).chain((0..3).map(dead)));
    assert_eq!(letters(&store), [1, 2]);
    assert_eq!(store.status().dead_bytes, 20_000);
    let longer = Op::Append(Box::new(Record { payload: Payload::binary(vec![0; 30_000]), ..record(7) }));
    write_all(&store, [longer, dead(7)]);
    assert_eq!(letters(&store), [0; 0], "one that is longer than all that may be kept is not kept");
    assert_eq!((store.status().dead_bytes, store.status().receipts), (0, 4));
}

#[test]
fn receipts_are_bounded_and_those_whose_time_is_up_first_go() {
    let folder = tempfile::tempdir().unwrap();
    let (store, _) = Store::open(&Policy { max_receipts: 2, ..policy(folder.path()) }, Calendar::default()).unwrap();
    for (id, keep) in [(1, 300), (2, 100), (3, 200)] {
        let settled = Settled { keep_until: at(keep), ..settled(id, State::Confirmed) };
        write_all(&store, [append(id), Op::Settle(Box::new(settled))]);
    }
    drop(store);
    let kept: Vec<_> = open(folder.path()).1.receipts.iter().map(|kept| kept.receipt.id.0).collect();
    assert_eq!(kept, [1, 3]);
}

#[test]
fn a_million_bytes_through_a_small_store_leave_it_small() {
    let folder = tempfile::tempdir().unwrap();
    let (store, _) =
        Store::open(&Policy { max_receipts: 10, ..Policy::new(folder.path(), SMALL) }, Calendar::default()).unwrap();
    for round in 0..20 {
        let these = || round * 50..(round + 1) * 50;
        let told = write_all(&store, these().map(big).chain(these().map(|id| settle(id, State::Confirmed))));
        assert!(told.iter().all(|outcome| *outcome == Ok(1)));
    }
    let size = |name: &str| fs::metadata(folder.path().join(name)).unwrap().len();
    assert!(size("store.sqlite") <= SMALL);
    assert!(size("store.sqlite-wal") < 8 << 20, "{}", size("store.sqlite-wal"));
}

/// Messages of 10 kB until no more is taken: how many were.
fn fill(store: &Store) -> u128 {
    (0..1000).find(|id| matches!(write(store, big(*id)), Err(WriteError::Full(_)))).unwrap()
}

fn big(id: u128) -> Op {
    Op::Append(Box::new(Record { payload: Payload::binary(id.to_be_bytes().repeat(625)), ..record(id) }))
}

pub(super) fn refuse_writes(store: &Store, refused: bool) {
    on_engine(store, move |db| db.pragma_update(None, "query_only", refused).unwrap());
}

/// Does something to the open database behind the store's back.
fn on_engine(store: &Store, act: impl FnOnce(&rusqlite::Connection) + Send + 'static) {
    let (tell, told) = mpsc::channel();
    store.shared.submit([Task::Read(Box::new(move |engine| {
        act(&engine.unwrap().db);
        tell.send(()).unwrap();
    }))]);
    told.recv().unwrap();
}
