//! Durable variables in the store: what comes back of them, and that they are guests.

use wskeeper_core::session::Kept;

use super::{bounds::refuse_writes, *};

fn kept(seq: u64) -> Kept {
    [("sid".into(), "abc".into()), ("seq".into(), seq.into())].into_iter().collect()
}

fn remember(endpoint: &str, link: u32, kept: Kept) -> Op {
    Op::Remember { of: (endpoint.into(), link), kept: Box::new(kept) }
}

fn forget(endpoint: &str, link: Option<u32>) -> Op {
    Op::ForgetVariables { endpoint: endpoint.into(), link }
}

fn seqs(recovered: &Recovered) -> Vec<(&str, u32, u64)> {
    let seq = |kept: &Kept| kept.text("seq").unwrap().parse().unwrap();
    recovered.variables.iter().map(|((endpoint, link), kept)| (&**endpoint, *link, seq(kept))).collect()
}

pub(super) fn version(dir: &Path) -> u32 {
    let header = fs::read(dir.join("store.sqlite")).unwrap();
    u32::from_be_bytes(header[60..64].try_into().unwrap())
}

#[test]
fn the_newest_of_each_link_comes_back_and_what_is_forgotten_does_not() {
    let folder = tempfile::tempdir().unwrap();
    let (store, _) = open(folder.path());
    let told = write_all(
        &store,
        [
            remember("feed", 0, kept(1)),
            remember("feed", 1, kept(7)),
            remember("desk", 0, kept(3)),
            remember("feed", 0, kept(2)),
            remember("desk", 1, kept(4)),
        ],
    );
    assert_eq!(told, vec![Ok(1); 5]);
    drop(store);
    let (store, recovered) = open(folder.path());
    assert_eq!(seqs(&recovered), [("desk", 0, 3), ("desk", 1, 4), ("feed", 0, 2), ("feed", 1, 7)]);
    assert_eq!(recovered.variables[&("feed".into(), 1)].text("sid").as_deref(), Some("abc"));
    assert_eq!(write(&store, remember("feed", 0, Kept::default())), Ok(1));
    assert_eq!(write(&store, forget("feed", Some(0))), Ok(0));
    assert_eq!(write(&store, forget("desk", None)), Ok(2));
    drop(store);
    assert_eq!(seqs(&open(folder.path()).1), [("feed", 1, 7)]);
}

#[test]
fn what_the_links_of_an_endpoint_have_in_common_is_not_forgotten_with_their_variables() {
    let folder = tempfile::tempdir().unwrap();
    let (store, _) = open(folder.path());
    write_all(&store, [remember("feed", 0, kept(1)), remember("feed", COMMON, kept(2)), forget("feed", None)]);
    drop(store);
    let (store, recovered) = open(folder.path());
    assert_eq!(seqs(&recovered), [("feed", COMMON, 2)]);
    assert_eq!(write(&store, forget("feed", Some(COMMON))), Ok(1));
}

#[test]
fn the_format_says_that_there_are_some_and_only_then() {
    let folder = tempfile::tempdir().unwrap();
    let mut versions = Vec::new();
    let changes = [
        append(1),
        remember("feed", 0, kept(1)),
        arrived("feed", 9, &[10], 0),
        forget("feed", None),
        remember("feed", 0, kept(2)),
        Op::ForgetInbox("feed".into()),
        remember("feed", 0, Kept::default()),
        Op::HoldKey { of: ("feed".into(), "a".into()), kept: [1].into() },
        Op::HoldKey { of: ("feed".into(), "a".into()), kept: [].into() },
    ];
    for change in changes {
        let (store, _) = open(folder.path());
        write(&store, change).unwrap();
        block_on(store.close(BTreeMap::new()));
        versions.push(version(folder.path()));
    }
    assert_eq!(versions, [1, 3, 4, 2, 4, 3, 1, 9, 1]);
    assert_eq!(ids(&open(folder.path()).1), [1]);
}

#[test]
fn a_disk_without_space_refuses_them_and_not_the_message_beside_them() {
    let folder = tempfile::tempdir().unwrap();
    let (store, _) = open(folder.path());
    write(&store, append(1)).unwrap();
    refuse_writes(&store, true);
    let refused = write(&store, remember("feed", 0, kept(1)));
    assert!(matches!(refused, Err(WriteError::Full(_))), "{refused:?}");
    let status = store.status();
    assert_eq!((status.failure, status.inbox_failure), (None, None), "nothing is known of others");
    refuse_writes(&store, false);
    assert_eq!(write_all(&store, [remember("feed", 0, kept(2)), append(2)]), [Ok(1), Ok(1)]);
    drop(store);
    assert_eq!(seqs(&open(folder.path()).1), [("feed", 0, 2)]);
}

#[test]
fn in_a_store_that_is_full_of_messages_those_that_grow_by_nothing_still_change() {
    let folder = tempfile::tempdir().unwrap();
    let (store, _) = Store::open(&Policy::new(folder.path(), 1 << 20), Calendar::default()).unwrap();
    write(&store, remember("feed", 0, kept(10))).unwrap();
    let big = |id| Op::Append(Box::new(Record { payload: Payload::binary(vec![7; 10_000]), ..record(id) }));
    let held = (1..1000).find(|id| write(&store, big(*id)).is_err()).unwrap();
    // What is left is less than the large ones take, and more than a few of these.
    while write(&store, append(u128::from(u64::MAX) + held + u128::from(store.status().commits))).is_ok() {}
    assert_eq!(write(&store, remember("feed", 0, kept(11))), Ok(1));
    let refused = write(&store, remember("feed", 1, kept(1)));
    assert!(matches!(refused, Err(WriteError::Full(_))), "{refused:?}");
}

#[test]
fn a_flipped_bit_in_them_is_found() {
    let folder = tempfile::tempdir().unwrap();
    let (store, _) = open(folder.path());
    write(&store, remember("feed", 0, kept(5))).unwrap();
    block_on(store.close(BTreeMap::new()));
    let path = folder.path().join("store.sqlite");
    let mut bytes = fs::read(&path).unwrap();
    let at = bytes.windows(3).rposition(|window| window == b"abc").unwrap();
    bytes[at] ^= 1;
    fs::write(&path, bytes).unwrap();
    let refused = Store::open(&policy(folder.path()), Calendar::default()).map(drop).unwrap_err();
    assert!(matches!(refused, OpenError::Corrupt { .. }) && refused.to_string().contains("feed/0"), "{refused}");
}
