//! What is stored, what comes back, what leaves.

use super::*;

#[test]
fn a_new_folder_becomes_an_empty_store_for_its_owner_alone() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("deep").join("store");
    let (store, recovered) = open(&dir);
    write(&store, append(1)).unwrap();
    assert!(recovered.messages.is_empty() && recovered.receipts.is_empty());
    assert_eq!(fs::metadata(&dir).unwrap().permissions().mode() & 0o777, 0o700);
    for entry in fs::read_dir(&dir).unwrap() {
        let entry = entry.unwrap();
        assert_eq!(entry.metadata().unwrap().permissions().mode() & 0o777, 0o600, "{:?}", entry.file_name());
    }
}

#[test]
fn all_that_was_appended_comes_back_whole_and_in_order() {
    let folder = tempfile::tempdir().unwrap();
    let full = Record {
        endpoint: "näher".into(),
        link: 3,
        expires_at: Some(at(500)),
        key: Some("k".into()),
        idempotency_key: Some("once".into()),
        payload: Payload::binary(vec![0, 255, 7]),
        marked: true,
        ..record(5)
    };
    let records = [record(9), full, Record { payload: Payload::from(""), ..record(1) }];
    let (store, _) = open(folder.path());
    for record in &records {
        assert_eq!(write(&store, Op::Append(Box::new(record.clone()))), Ok(1));
    }
    drop(store);
    let (store, recovered) = open(folder.path());
    assert_eq!(recovered.messages, records);
    assert_eq!(write(&store, append(9)), Ok(0), "it is held already");
    assert_eq!(store.status().messages, 3);
}

#[test]
fn what_was_acknowledged_is_there_after_a_crash() {
    let (folder, after) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (store, _) = open(folder.path());
    for id in 0..50 {
        write(&store, append(id)).unwrap();
    }
    copy(folder.path(), after.path());
    assert_eq!(ids(&open(after.path()).1), (0..50).collect::<Vec<_>>());
}

#[test]
fn a_settled_message_leaves_and_its_receipt_stays() {
    let folder = tempfile::tempdir().unwrap();
    let (store, _) = open(folder.path());
    write_all(&store, [append(1), append(2), settle(1, State::Confirmed)]);
    drop(store);
    let (_store, recovered) = open(folder.path());
    assert_eq!(ids(&recovered), [2]);
    let [kept] = &recovered.receipts[..] else { panic!("{:?}", recovered.receipts) };
    assert_eq!((kept.receipt.id, kept.receipt.state), (MessageId(1), State::Confirmed));
    assert_eq!((kept.receipt.bytes, kept.receipt.generation, kept.receipt.end_reason), (9, Some(7), None));
    assert_eq!((kept.receipt.accepted_at, kept.receipt.updated_at, kept.keep_until), (at(1), at(2), at(1000)));
}

#[test]
fn a_message_of_an_earlier_run_can_be_settled() {
    let folder = tempfile::tempdir().unwrap();
    write(&open(folder.path()).0, append(1)).unwrap();
    write(&open(folder.path()).0, settle(1, State::Confirmed)).unwrap();
    assert!(ids(&open(folder.path()).1).is_empty());
}

#[test]
fn a_receipt_climbs_and_never_goes_back() {
    let folder = tempfile::tempdir().unwrap();
    let (store, _) = open(folder.path());
    let told = write_all(
        &store,
        [
            append(1),
            settle(1, State::Written),
            settle(1, State::Confirmed),
            settle(1, State::Unknown),
            settle(2, State::Dropped),
        ],
    );
    assert_eq!(told, [Ok(1), Ok(1), Ok(1), Ok(0), Ok(0)]);
    drop(store);
    assert_eq!(open(folder.path()).1.receipts[0].receipt.state, State::Confirmed);
}

#[test]
fn a_receipt_goes_when_its_time_is_up_and_its_key_is_not_claimed_any_more() {
    let folder = tempfile::tempdir().unwrap();
    let (store, _) = open(folder.path());
    let claiming = Record { idempotency_key: Some("once".into()), ..record(1) };
    let past = UNIX_EPOCH + Duration::from_secs(1);
    let old = |id| Settled { keep_until: past, ..settled(id, State::Confirmed) };
    write_all(&store, [Op::Append(Box::new(claiming)), append(2), append(3)]);
    write(&store, Op::Settle(Box::new(Settled { claim_until: Some(at(9)), ..old(1) }))).unwrap();
    write(&store, Op::Settle(Box::new(Settled { claim_until: Some(at(9)), ..old(2) }))).unwrap();
    assert_eq!(store.status().receipts, 1);
    drop(store);
    let (_store, recovered) = open(folder.path());
    assert_eq!(ids(&recovered), [3]);
    assert_eq!(recovered.receipts.len(), 1);
    assert_eq!(recovered.receipts[0].claim, Some(("once".into(), at(9))));
}

#[test]
fn the_date_says_which_receipts_are_old() {
    let folder = tempfile::tempdir().unwrap();
    let on = |day| Store::open(&policy(folder.path()), Calendar::new(move || at(day))).unwrap();
    let (store, _) = on(5);
    let until = |id, day| Op::Settle(Box::new(Settled { keep_until: at(day), ..settled(id, State::Confirmed) }));
    write_all(&store, [append(1), append(2), until(1, 9), until(2, 20)]);
    drop(store);
    let kept = |day| on(day).1.receipts.iter().map(|kept| kept.receipt.id).collect::<Vec<_>>();
    assert_eq!(kept(8), [MessageId(1), MessageId(2)]);
    assert_eq!(kept(9), [MessageId(2)]);
    assert_eq!(kept(20), []);
}

#[test]
fn a_mark_comes_back_and_can_be_taken_off() {
    let folder = tempfile::tempdir().unwrap();
    let mark = |id, marked| Op::Mark { id: MessageId(id), marked };
    let (store, _) = open(folder.path());
    let told = write_all(&store, [append(1), append(2), mark(1, true), mark(2, true), mark(2, false), mark(3, true)]);
    assert_eq!(told, [Ok(1), Ok(1), Ok(1), Ok(1), Ok(1), Ok(0)]);
    drop(store);
    let marks: Vec<_> = open(folder.path()).1.messages.iter().map(|record| record.marked).collect();
    assert_eq!(marks, [true, false]);
}

#[test]
fn messages_of_a_link_that_is_gone_move_or_are_dropped_by_word() {
    let folder = tempfile::tempdir().unwrap();
    let (store, _) = open(folder.path());
    let on = |id, endpoint: &str, link| Op::Append(Box::new(Record { endpoint: endpoint.into(), link, ..record(id) }));
    write_all(&store, [on(1, "old", 1), on(2, "old", 0), on(3, "old", 1), on(4, "gone", 0), on(5, "gone", 1)]);
    let moved = Op::Move { from: ("old".into(), 1), to: ("new".into(), 2) };
    let dropped = Op::Discard { endpoint: "gone".into(), link: None, at: at(3), keep_until: at(99) };
    assert_eq!(write_all(&store, [moved, dropped]), [Ok(2), Ok(2)]);
    drop(store);
    let (_store, recovered) = open(folder.path());
    let places: Vec<_> = recovered.messages.iter().map(|r| (r.id.0, &*r.endpoint, r.link)).collect();
    assert_eq!(places, [(1, "new", 2), (2, "old", 0), (3, "new", 2)]);
    for kept in &recovered.receipts {
        assert_eq!((kept.receipt.state, kept.receipt.end_reason), (State::Dropped, Some(EndReason::Removed)));
    }
    assert_eq!(recovered.receipts.len(), 2);
}

#[test]
fn a_dead_letter_is_kept_listed_revived_and_removed() {
    let folder = tempfile::tempdir().unwrap();
    let (store, _) = open(folder.path());
    write_all(&store, [append(1), append(2), append(3), dead(1), dead(2), dead(3)]);
    drop(store);
    let (store, recovered) = open(folder.path());
    assert!(ids(&recovered).is_empty());
    assert_eq!(letters(&store), [1, 2, 3]);
    let page = block_on(store.dead(Some("feed".into()), Some(MessageId(1)), 1)).unwrap();
    assert_eq!(page[0].id, MessageId(2));
    assert!(block_on(store.dead(Some("other".into()), None, 9)).unwrap().is_empty());
    let letter = block_on(store.dead_letter(MessageId(2))).unwrap().unwrap();
    assert_eq!((letter.end_reason, letter.payload), (Some(EndReason::Poison), Payload::from("message 2")));
    let revive = |letter, id| Op::Revive { letter: MessageId(letter), record: Box::new(record(id)) };
    let told = write_all(&store, [revive(2, 4), revive(2, 5), Op::DropDead(MessageId(3)), Op::DropDead(MessageId(3))]);
    assert_eq!(told, [Ok(1), Ok(0), Ok(1), Ok(0)]);
    assert_eq!(letters(&store), [1]);
    drop(store);
    assert_eq!(ids(&open(folder.path()).1), [4]);
}

#[test]
fn a_thousand_callers_who_come_while_one_is_served_share_one_commit() {
    let folder = tempfile::tempdir().unwrap();
    let (store, _) = open(folder.path());
    let (go, wait) = mpsc::channel::<()>();
    let (tell_served, served) = mpsc::channel();
    store.submit(
        append(0),
        Some(Box::new(move |_| {
            tell_served.send(()).unwrap();
            wait.recv().unwrap();
        })),
    );
    served.recv().unwrap();
    let (tell, told) = mpsc::channel();
    for id in 1..=1000 {
        let tell = tell.clone();
        store.submit(append(id), Some(Box::new(move |outcome| tell.send(outcome).unwrap())));
    }
    drop(tell);
    go.send(()).unwrap();
    assert!(told.iter().all(|outcome| outcome == Ok(1)));
    assert_eq!(store.status().commits, 2);
}

#[test]
fn what_is_submitted_together_is_one_commit() {
    let folder = tempfile::tempdir().unwrap();
    let (store, _) = open(folder.path());
    let before = store.status().commits;
    write_all(&store, (0..1000).map(append));
    assert_eq!(store.status().commits, before + 1);
}

#[test]
fn a_closed_store_has_all_that_was_submitted_and_takes_no_more() {
    let folder = tempfile::tempdir().unwrap();
    let (store, _) = open(folder.path());
    for id in 0..100 {
        store.submit(append(id), None);
    }
    block_on(store.close(BTreeMap::new()));
    assert_eq!(write(&store, append(100)), Err(WriteError::Closed));
    assert_eq!(block_on(store.dead_letter(MessageId(1))), Err(ReadError::Closed));
    assert!(!folder.path().join("store.sqlite-wal").exists(), "the log is folded into the file");
    assert_eq!(ids(&open(folder.path()).1), (0..100).collect::<Vec<_>>());
}

#[test]
fn a_panic_on_the_writers_thread_ends_the_store_and_loses_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let (store, _) = open(folder.path());
    store.submit(append(1), Some(Box::new(|_| panic!("on purpose"))));
    assert!(matches!(block_on(store.dead(None, None, 1)), Err(ReadError::Closed)));
    assert_eq!(write(&store, append(2)), Err(WriteError::Closed));
    drop(store);
    assert_eq!(ids(&open(folder.path()).1), [1]);
}

#[test]
fn the_last_handle_may_go_on_the_writers_own_thread() {
    let folder = tempfile::tempdir().unwrap();
    let (store, _) = open(folder.path());
    let mut closed = store.closed.clone();
    let (go, wait) = mpsc::channel::<()>();
    let handle = Arc::clone(&store);
    store.submit(
        append(1),
        Some(Box::new(move |_| {
            wait.recv().unwrap();
            drop(handle);
        })),
    );
    drop(store);
    go.send(()).unwrap();
    assert!(*block_on(closed.wait_for(|closed| *closed)).unwrap());
    assert_eq!(ids(&open(folder.path()).1), [1]);
}
