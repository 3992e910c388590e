//! Durable inboxes in the store: what comes back of them, and that they are guests.

use super::{bounds::refuse_writes, *};

const SMALL: u64 = 1 << 20;

fn sealed(inboxes: &[(&str, u64)]) -> BTreeMap<Arc<str>, u64> {
    inboxes.iter().map(|(name, last)| (Arc::from(*name), *last)).collect()
}

fn version(dir: &Path) -> u32 {
    let header = fs::read(dir.join("store.sqlite")).unwrap();
    u32::from_be_bytes(header[60..64].try_into().unwrap())
}

fn cursors(recovered: &Recovered, endpoint: &str) -> Vec<u64> {
    recovered.inboxes.get(endpoint).map_or_else(Vec::new, |kept| kept.entries.iter().map(|(_, e)| e.cursor).collect())
}

#[test]
fn entries_come_back_in_order_with_what_they_follow() {
    let folder = tempfile::tempdir().unwrap();
    let (store, _) = open(folder.path());
    assert_eq!(write(&store, arrived("feed", 9, &[10, 11], 0)), Ok(2));
    assert_eq!(write(&store, arrived("desk", 99, &[500], 0)), Ok(1));
    assert_eq!(write(&store, arrived("feed", 11, &[1000], 0)), Ok(1));
    drop(store);
    let (_, recovered) = open(folder.path());
    let expected = [(9, entry("feed", 10)), (10, entry("feed", 11)), (11, entry("feed", 1000))];
    assert_eq!(recovered.inboxes["feed"], KeptInbox { entries: expected.to_vec(), sealed: None });
    assert_eq!(recovered.inboxes["desk"].entries, [(99, entry("desk", 500))]);
}

#[test]
fn what_fell_out_of_the_window_goes() {
    let folder = tempfile::tempdir().unwrap();
    let (store, _) = open(folder.path());
    for first in [10, 20, 30] {
        write(&store, arrived("feed", first - 1, &[first, first + 1], 0)).unwrap();
    }
    write(&store, arrived("desk", 0, &[1], 0)).unwrap();
    // 21 is still in it, and stands in one segment with 20.
    assert_eq!(write(&store, arrived("feed", 31, &[32], 21)), Ok(1));
    drop(store);
    let (_, recovered) = open(folder.path());
    assert_eq!(cursors(&recovered, "feed"), [20, 21, 30, 31, 32]);
    assert_eq!(cursors(&recovered, "desk"), [1]);
}

#[test]
fn a_store_without_inboxes_has_the_format_of_before_and_gets_it_back() {
    let folder = tempfile::tempdir().unwrap();
    let close = |store: Arc<Store>| block_on(store.close(BTreeMap::new()));
    let (store, _) = open(folder.path());
    write(&store, append(1)).unwrap();
    close(store);
    assert_eq!(version(folder.path()), 1);
    let (store, recovered) = open(folder.path());
    assert_eq!(ids(&recovered), [1]);
    write_all(&store, [arrived("feed", 9, &[10], 0), arrived("desk", 9, &[10], 0)]);
    close(store);
    assert_eq!(version(folder.path()), 2);
    let (store, _) = open(folder.path());
    assert_eq!(write(&store, Op::ForgetInbox("feed".into())), Ok(1));
    assert_eq!(write(&store, Op::ForgetInbox("nobody".into())), Ok(0));
    close(store);
    assert_eq!(version(folder.path()), 2);
    let (store, recovered) = open(folder.path());
    assert_eq!((cursors(&recovered, "feed"), cursors(&recovered, "desk")), (vec![], vec![10]));
    write(&store, Op::ForgetInbox("desk".into())).unwrap();
    // It can be made again, too.
    write_all(&store, [arrived("feed", 9, &[10], 0), Op::ForgetInbox("feed".into()), append(2)]);
    close(store);
    assert_eq!(version(folder.path()), 1);
    assert_eq!(ids(&open(folder.path()).1), [1, 2]);
}

#[test]
fn a_seal_is_there_for_one_life_only() {
    let folder = tempfile::tempdir().unwrap();
    let (store, _) = open(folder.path());
    write(&store, arrived("feed", 9, &[10], 0)).unwrap();
    block_on(store.close(sealed(&[("feed", 10), ("a-b.c_d", 7)])));
    let (store, recovered) = open(folder.path());
    assert_eq!(recovered.inboxes["feed"].sealed, Some(10));
    assert_eq!(recovered.inboxes["a-b.c_d"], KeptInbox { entries: vec![], sealed: Some(7) });
    drop(store);
    assert_eq!(open(folder.path()).1.inboxes["feed"].sealed, None);
}

#[test]
fn a_store_that_cannot_be_opened_has_no_seal_afterwards() {
    let folder = tempfile::tempdir().unwrap();
    let (store, _) = open(folder.path());
    write(&store, arrived("feed", 9, &[10], 0)).unwrap();
    block_on(store.close(sealed(&[("feed", 10)])));
    let away = folder.path().join("away");
    fs::rename(folder.path().join("store.sqlite"), &away).unwrap();
    fs::write(folder.path().join("store.sqlite"), "a letter to a friend").unwrap();
    Store::open(&policy(folder.path()), Calendar::default()).map(drop).unwrap_err();
    fs::rename(&away, folder.path().join("store.sqlite")).unwrap();
    let (_, recovered) = open(folder.path());
    assert_eq!((cursors(&recovered, "feed"), recovered.inboxes["feed"].sealed), (vec![10], None));
}

#[test]
fn a_seal_that_nobody_can_read_seals_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let (store, _) = open(folder.path());
    write(&store, arrived("feed", 9, &[10], 0)).unwrap();
    drop(store);
    fs::write(folder.path().join("inbox.sealed"), b"ten feed\n\xff\xfe\n12\n").unwrap();
    assert_eq!(open(folder.path()).1.inboxes["feed"].sealed, None);
    assert!(!folder.path().join("inbox.sealed").exists());
}

#[test]
fn inboxes_have_half_of_the_store_and_the_oldest_go_first() {
    let folder = tempfile::tempdir().unwrap();
    let policy = Policy::new(folder.path(), SMALL);
    let (store, _) = Store::open(&policy, Calendar::default()).unwrap();
    for cursor in 1..=100 {
        assert_eq!(write(&store, long(if cursor % 2 == 0 { "feed" } else { "desk" }, cursor)), Ok(1));
        assert!(store.status().inbox_bytes <= SMALL / 2);
    }
    assert_eq!(store.status().failure, None);
    drop(store);
    let (_, recovered) = Store::open(&policy, Calendar::default()).unwrap();
    let mut all = [cursors(&recovered, "feed"), cursors(&recovered, "desk")].concat();
    all.sort_unstable();
    let kept = all.len() as u64;
    assert!((25..52).contains(&kept), "{kept} of 10 kB in half of 1 MiB");
    assert_eq!(all, (101 - kept..101).collect::<Vec<_>>());
}

#[test]
fn messages_take_the_room_of_inboxes_and_never_the_other_way_round() {
    let folder = tempfile::tempdir().unwrap();
    let policy = Policy::new(folder.path(), SMALL);
    let alone = {
        let folder = tempfile::tempdir().unwrap();
        fill(&Store::open(&Policy::new(folder.path(), SMALL), Calendar::default()).unwrap().0)
    };
    let (store, _) = Store::open(&policy, Calendar::default()).unwrap();
    for cursor in 1..=40 {
        write(&store, long("feed", cursor)).unwrap();
    }
    let held = fill(&store);
    assert!(held + 2 >= alone, "{held} messages beside an inbox, {alone} alone");
    assert_eq!(store.status().inbox_bytes, 0);
    let refused = write(&store, long("feed", 41));
    assert!(matches!(refused, Err(WriteError::Full(_))), "{refused:?}");
    assert!(store.status().inbox_failure.is_some());
    drop(store);
    let (store, recovered) = Store::open(&policy, Calendar::default()).unwrap();
    assert_eq!(recovered.messages.len() as u128, held);
    // An inbox that is refused is no reason to say that messages are.
    assert_eq!(store.status().failure, None);
    assert!(write(&store, long("feed", 42)).is_err());
    assert_eq!(store.status().failure, None);
    for id in 0..10 {
        write(&store, settle(id, State::Confirmed)).unwrap();
    }
    assert_eq!(write(&store, long("feed", 43)), Ok(1));
    assert_eq!(store.status().inbox_failure, None);
}

#[test]
fn a_segment_that_never_fits_is_refused_and_costs_no_other() {
    let folder = tempfile::tempdir().unwrap();
    let policy = Policy::new(folder.path(), SMALL);
    let (store, _) = Store::open(&policy, Calendar::default()).unwrap();
    write(&store, arrived("feed", 9, &[10], 0)).unwrap();
    let huge = Entry { item: Item::Message(Payload::binary(vec![7; 600 << 10])), ..entry("desk", 1) };
    let segment = Segment { endpoint: "desk".into(), after: 0, entries: vec![huge.into()], oldest: 0 };
    let told = write_all(&store, [Op::Arrived(Box::new(segment)), append(1)]);
    assert!(matches!(told[..], [Err(WriteError::Full(_)), Ok(1)]), "{told:?}");
    drop(store);
    assert_eq!(cursors(&Store::open(&policy, Calendar::default()).unwrap().1, "feed"), [10]);
}

#[test]
fn a_disk_without_space_refuses_the_inbox_and_not_the_message_beside_it() {
    let folder = tempfile::tempdir().unwrap();
    let (store, _) = open(folder.path());
    write(&store, append(1)).unwrap();
    refuse_writes(&store, true);
    let refused = write(&store, arrived("feed", 9, &[10], 0));
    assert!(matches!(refused, Err(WriteError::Full(_))), "{refused:?}");
    assert!(store.status().inbox_failure.is_some());
    assert_eq!(store.status().failure, None, "nothing is known of messages");
    refuse_writes(&store, false);
    let told = write_all(&store, [arrived("feed", 9, &[10], 0), append(2)]);
    assert_eq!(told, [Ok(1), Ok(1)]);
    assert_eq!(store.status().inbox_failure, None);
}

/// Messages of 10 kB until one is refused.
fn fill(store: &Store) -> u128 {
    let big = |id| Op::Append(Box::new(Record { payload: Payload::binary(vec![7; 10_000]), ..record(id) }));
    (0..1000).find(|id| write(store, big(*id)).is_err()).unwrap()
}

/// A segment of one entry of 10 kB.
fn long(endpoint: &str, cursor: u64) -> Op {
    let entry = Entry { item: Item::Message(Payload::binary(vec![7; 10_000])), ..entry(endpoint, cursor) };
    Op::Arrived(Box::new(Segment {
        endpoint: endpoint.into(),
        after: cursor - 1,
        entries: vec![entry.into()],
        oldest: 0,
    }))
}
