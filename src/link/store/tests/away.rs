//! Files that are moved, replaced or removed while they are in use.

use super::*;

fn looks(store: &Store) -> Option<WriteError> {
    store.look();
    // A task of the thread's that comes after the look.
    let _ = write(store, Op::DropDead(MessageId(u128::MAX)));
    store.status().failure
}

#[test]
fn a_folder_that_was_moved_takes_nothing_until_it_is_back() {
    let root = tempfile::tempdir().unwrap();
    let (dir, elsewhere) = (root.path().join("store"), root.path().join("elsewhere"));
    let (store, _) = open(&dir);
    assert_eq!(write(&store, append(1)), Ok(1));
    fs::rename(&dir, &elsewhere).unwrap();
    assert!(matches!(looks(&store), Some(WriteError::Away(_))), "nobody need send something to see it");
    assert!(matches!(write(&store, append(2)), Err(WriteError::Away(_))));
    // Another folder in its place is not it.
    fs::create_dir(&dir).unwrap();
    for entry in fs::read_dir(&elsewhere).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), dir.join(entry.file_name())).unwrap();
    }
    assert!(matches!(write(&store, append(3)), Err(WriteError::Away(_))));
    fs::remove_dir_all(&dir).unwrap();
    fs::rename(&elsewhere, &dir).unwrap();
    assert_eq!(looks(&store), None);
    assert_eq!(write(&store, append(4)), Ok(1));
    drop(store);
    let ids: Vec<_> = open(&dir).1.messages.iter().map(|record| record.id.0).collect();
    assert_eq!(ids, [1, 4]);
}

#[test]
fn what_ended_while_the_folder_was_away_is_on_disk_when_it_is_back() {
    let root = tempfile::tempdir().unwrap();
    let (dir, elsewhere) = (root.path().join("store"), root.path().join("elsewhere"));
    let (store, _) = open(&dir);
    assert_eq!(write(&store, append(1)), Ok(1));
    fs::rename(&dir, &elsewhere).unwrap();
    let (tell, told) = mpsc::channel();
    store.submit(settle(1, State::Confirmed), Some(Box::new(move |outcome| tell.send(outcome).unwrap())));
    assert!(matches!(write(&store, append(2)), Err(WriteError::Away(_))));
    assert!(told.try_recv().is_err(), "it is kept");
    fs::rename(&elsewhere, &dir).unwrap();
    assert_eq!(told.recv(), Ok(Ok(1)));
}

#[test]
fn files_that_were_removed_are_final_and_a_stranger_s_in_their_place_are_left_alone() {
    for file in ["store.sqlite", "store.sqlite-wal", "store.sqlite-mark", "wskeeper.lock"] {
        let root = tempfile::tempdir().unwrap();
        let dir = root.path().join("store");
        let (store, _) = open(&dir);
        assert_eq!(write(&store, append(1)), Ok(1));
        fs::remove_file(dir.join(file)).unwrap();
        assert!(matches!(looks(&store), Some(WriteError::Broken(_))), "{file}");
        assert!(matches!(write(&store, append(2)), Err(WriteError::Broken(_))), "{file}");
        fs::write(dir.join(file), "a stranger's").unwrap();
        assert!(matches!(write(&store, append(3)), Err(WriteError::Broken(_))), "{file}");
        drop(store);
        assert_eq!(fs::read(dir.join(file)).unwrap(), b"a stranger's", "{file}");
    }
}

#[test]
fn times_that_no_number_can_say_are_as_late_as_one_can() {
    let root = tempfile::tempdir().unwrap();
    let (store, _) = open(root.path());
    let far = [1 << 40, 4_000_000_000_000_000_000, 9_000_000_000_000_000_000];
    for (id, seconds) in (1..).zip(far) {
        let expires_at = UNIX_EPOCH.checked_add(Duration::from_secs(seconds));
        let record = Record { expires_at, ..record(id) };
        assert_eq!(write(&store, Op::Append(Box::new(record))), Ok(1));
    }
    drop(store);
    let year_3000 = UNIX_EPOCH + Duration::from_hours(9_028_800);
    for record in open(root.path()).1.messages {
        assert!(record.expires_at.is_some_and(|at| at > year_3000), "{record:?}");
    }
}
