//! Cursors of receivers in the store: what comes back of them, and that they are guests.

use super::*;

fn of(receiver: &str) -> Receiver {
    ("feed".into(), receiver.into())
}

fn keep(receiver: &str, cursor: u64) -> Op {
    Op::KeepCursor { of: of(receiver), cursor }
}

#[test]
fn the_newest_of_each_receiver_comes_back_and_the_format_says_that_there_are_some() {
    let folder = tempfile::tempdir().unwrap();
    let (store, _) = open(folder.path());
    assert_eq!(write_all(&store, [keep("a", 1), keep("b", u64::MAX), keep("a", 2)]), vec![Ok(1); 3]);
    block_on(store.close(BTreeMap::new()));
    assert_eq!(variables::version(folder.path()), 5);
    let (store, recovered) = open(folder.path());
    assert_eq!(recovered.cursors, BTreeMap::from([(of("a"), 2), (of("b"), u64::MAX)]));
    assert_eq!(write_all(&store, ["a", "c", "b"].map(|name| Op::ForgetCursor(of(name)))), [Ok(1), Ok(0), Ok(1)]);
    block_on(store.close(BTreeMap::new()));
    assert_eq!(variables::version(folder.path()), 1);
    assert!(open(folder.path()).1.cursors.is_empty());
}

#[test]
fn in_a_store_that_is_full_of_messages_a_cursor_still_moves() {
    let folder = tempfile::tempdir().unwrap();
    let (store, _) = Store::open(&Policy::new(folder.path(), 1 << 20), Calendar::default()).unwrap();
    write(&store, keep("a", 1)).unwrap();
    let big = |id| Op::Append(Box::new(Record { payload: Payload::binary(vec![7; 10_000]), ..record(id) }));
    let held = (1..1000).find(|id| write(&store, big(*id)).is_err()).unwrap();
    // What is left is less than the large ones take, and more than a few of these.
    while write(&store, append(u128::from(u64::MAX) + held + u128::from(store.status().commits))).is_ok() {}
    assert_eq!(write(&store, keep("a", 2)), Ok(1));
    assert!(matches!(write(&store, keep("b", 1)), Err(WriteError::Full(_))));
}

#[test]
fn a_flipped_bit_in_one_is_found() {
    let folder = tempfile::tempdir().unwrap();
    let (store, _) = open(folder.path());
    write(&store, keep("webhook", 5)).unwrap();
    block_on(store.close(BTreeMap::new()));
    let path = folder.path().join("store.sqlite");
    let mut bytes = fs::read(&path).unwrap();
    let at = bytes.windows(7).rposition(|window| window == b"webhook").unwrap();
    bytes[at] ^= 1;
    fs::write(&path, bytes).unwrap();
    let refused = Store::open(&policy(folder.path()), Calendar::default()).map(drop).unwrap_err();
    assert!(
        matches!(refused, OpenError::Corrupt { .. }) && refused.to_string().contains("cursor of feed/"),
        "{refused}"
    );
}
