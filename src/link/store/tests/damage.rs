//! What a look at the files must find before anything is changed.
//!
//! An opening that fails must leave the file and its log as they were, and one that succeeds must have all that was
//! acknowledged: nothing in between.

use std::{collections::BTreeMap, path::PathBuf};

use super::*;

type Files = BTreeMap<PathBuf, Vec<u8>>;

#[test]
fn a_foreign_file_is_left_alone() {
    for content in ["a letter to a friend", "SQLite format 3\0 and then nothing of the kind"] {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("store.sqlite"), content).unwrap();
        assert!(matches!(refused(folder.path()), OpenError::NotOurs(_)));
    }
}

#[test]
fn a_database_of_another_program_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.sqlite");
    let db = rusqlite::Connection::open(&path).unwrap();
    db.execute_batch("CREATE TABLE message(seq); PRAGMA user_version = 1").unwrap();
    drop(db);
    assert!(matches!(refused(folder.path()), OpenError::NotOurs(_)));
}

#[test]
fn a_later_format_is_left_to_a_later_version() {
    let folder = sound();
    overwrite(&folder.path().join("store.sqlite"), 60, &[0, 0, 0, 17]);
    assert!(matches!(refused(folder.path()), OpenError::NewerVersion { found: 17, known: 16, .. }));
}

#[test]
fn a_cut_file_is_found_wherever_it_was_cut() {
    let folder = sound();
    let whole = fs::read(folder.path().join("store.sqlite")).unwrap();
    for len in (0..whole.len()).step_by(whole.len() / 40) {
        let folder = copied(folder.path());
        fs::write(folder.path().join("store.sqlite"), &whole[..len]).unwrap();
        let error = refused(folder.path());
        assert!(matches!(error, OpenError::Corrupt { .. } | OpenError::NotOurs(_)), "at {len}: {error}");
    }
}

#[test]
fn a_flipped_byte_of_the_file_is_found_or_harmless() {
    let folder = sound();
    for_each_flip(folder.path(), "store.sqlite", 103);
}

#[test]
fn a_flipped_byte_of_the_log_is_found_or_harmless() {
    let folder = crashed();
    for_each_flip(folder.path(), "store.sqlite-wal", 997);
}

#[test]
fn a_cut_log_is_found_wherever_it_was_cut() {
    let folder = crashed();
    let whole = fs::read(folder.path().join("store.sqlite-wal")).unwrap();
    for len in (0..whole.len()).step_by(whole.len() / 50).chain([32, 32 + 4120]) {
        let folder = copied(folder.path());
        fs::write(folder.path().join("store.sqlite-wal"), &whole[..len]).unwrap();
        let error = refused(folder.path());
        assert!(matches!(error, OpenError::Corrupt { .. }), "at {len}: {error}");
    }
}

#[test]
fn a_log_without_its_file_and_a_file_without_its_log_are_found() {
    for missing in ["store.sqlite", "store.sqlite-wal"] {
        let folder = crashed();
        fs::remove_file(folder.path().join(missing)).unwrap();
        assert!(matches!(refused(folder.path()), OpenError::Corrupt { .. }), "without {missing}");
    }
}

#[test]
fn without_its_mark_a_damaged_log_is_still_found_before_its_last_transaction() {
    let folder = crashed();
    fs::remove_file(folder.path().join("store.sqlite-mark")).unwrap();
    let log = folder.path().join("store.sqlite-wal");
    let frames = (fs::metadata(&log).unwrap().len() - 32) / 4120;
    for frame in 0..frames / 2 {
        let folder = copied(folder.path());
        let log = folder.path().join("store.sqlite-wal");
        let at = 32 + frame * 4120 + 30 + frame * 17;
        let byte = fs::read(&log).unwrap()[usize::try_from(at).unwrap()];
        overwrite(&log, at, &[!byte]);
        assert!(matches!(refused(folder.path()), OpenError::Corrupt { .. }), "frame {frame}");
    }
}

#[test]
fn what_a_crash_tore_at_the_end_of_the_log_was_never_acknowledged_and_is_no_damage() {
    let folder = crashed();
    let log = folder.path().join("store.sqlite-wal");
    let mut bytes = fs::read(&log).unwrap();
    let salts = bytes[16..24].to_vec();
    // Frames of one more transaction, its last one with a commit mark, none with a right checksum.
    for end in [0_u32, 0, 9] {
        bytes.extend(3_u32.to_be_bytes());
        bytes.extend(end.to_be_bytes());
        bytes.extend(&salts);
        bytes.extend([7; 8 + 4096]);
    }
    fs::write(&log, bytes).unwrap();
    assert_eq!(ids(&open(folder.path()).1), ALL);
}

#[test]
fn a_second_daemon_is_told_who_has_the_store() {
    let folder = tempfile::tempdir().unwrap();
    let (store, _) = open(folder.path());
    write(&store, append(1)).unwrap();
    let error = refused(folder.path());
    assert!(matches!(error, OpenError::InUse { pid: Some(pid), .. } if pid == std::process::id()), "{error}");
    assert_eq!(write(&store, append(2)), Ok(1));
    drop(store);
    assert_eq!(ids(&open(folder.path()).1), [1, 2]);
}

#[test]
fn a_folder_that_takes_no_files_is_said_so() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o500)).unwrap();
    // Permissions do not hold root back; the kernel's own folders do.
    let dir = match fs::write(folder.path().join("probe"), "") {
        Ok(()) => Path::new("/sys").join("wskeeper"),
        Err(_) => folder.path().to_owned(),
    };
    let error = Store::open(&policy(&dir), Calendar::default()).map(drop).unwrap_err();
    assert!(matches!(error, OpenError::Permission { .. } | OpenError::ReadOnly { .. }), "{error}");
}

#[test]
fn every_refusal_to_open_says_what_to_do() {
    use std::io::{Error, ErrorKind};
    let path = PathBuf::from("/d");
    let error = |kind: ErrorKind| OpenError::from_io(&path, Error::from(kind));
    assert!(matches!(error(ErrorKind::ReadOnlyFilesystem), OpenError::ReadOnly { .. }));
    assert!(matches!(error(ErrorKind::StorageFull), OpenError::NoSpace { .. }));
    assert!(matches!(error(ErrorKind::NotADirectory), OpenError::Io { .. }));
    for error in [error(ErrorKind::ReadOnlyFilesystem), error(ErrorKind::StorageFull), OpenError::NotOurs(path)] {
        let text = error.to_string();
        assert!(text.contains("/d") && text.contains(": "), "{text}");
    }
}

const ALL: [u128; 20] = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19];

/// A store that was closed, with a record of each kind and one that is longer than a page.
fn sound() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let (store, _) = open(folder.path());
    fill(&store);
    block_on(store.close(BTreeMap::new()));
    folder
}

/// A store that nobody closed: all is in the log.
fn crashed() -> tempfile::TempDir {
    let (folder, after) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (store, _) = open(folder.path());
    fill(&store);
    copy(folder.path(), after.path());
    after
}

fn fill(store: &Store) {
    for id in ALL {
        write(store, append(id)).unwrap();
    }
    write(store, arrived("feed", 9, &[10, 11], 0)).unwrap();
    for id in 20..24 {
        write_all(store, [append(id), if id % 2 == 0 { dead(id) } else { settle(id, State::Confirmed) }]);
    }
}

/// Flips one byte at a time: either it is found and nothing is changed, or all is there.
fn for_each_flip(dir: &Path, name: &str, step: usize) {
    let whole = fs::read(dir.join(name)).unwrap();
    let mut found = 0;
    for place in (0..whole.len()).step_by(step) {
        let folder = copied(dir);
        overwrite(&folder.path().join(name), place as u64, &[!whole[place]]);
        let before = files(folder.path());
        if let Ok((store, recovered)) = Store::open(&policy(folder.path()), Calendar::default()) {
            let expected = ALL.map(record);
            assert_eq!(recovered.messages, expected, "byte {place}");
            let receipts: Vec<_> = recovered.receipts.iter().map(|kept| kept.receipt.id.0).collect();
            assert_eq!(receipts, [20, 21, 22, 23], "byte {place}");
            let expected = vec![(9, entry("feed", 10)), (10, entry("feed", 11))];
            assert_eq!(recovered.inboxes["feed"].entries, expected, "byte {place}");
            let letters = block_on(store.dead(None, None, 9)).map(|letters| letters.len());
            assert!(matches!(letters, Ok(2) | Err(ReadError::Unreadable(_))), "byte {place}: {letters:?}");
        } else {
            found += 1;
            assert_eq!(files(folder.path()), before, "byte {place}");
        }
    }
    assert!(found > 0);
}

/// Opens, which must fail and change nothing.
fn refused(dir: &Path) -> OpenError {
    let before = files(dir);
    let error = Store::open(&policy(dir), Calendar::default()).map(|(_, recovered)| ids(&recovered)).unwrap_err();
    assert_eq!(files(dir), before, "{error}");
    error
}

fn copied(dir: &Path) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    copy(dir, folder.path());
    folder
}

/// All that is in the folder but the lock, without files that are empty: an opening may leave such.
fn files(dir: &Path) -> Files {
    let read = |entry: fs::DirEntry| (entry.path(), fs::read(entry.path()).unwrap());
    fs::read_dir(dir)
        .unwrap()
        .map(|entry| read(entry.unwrap()))
        .filter(|(path, bytes)| !path.ends_with("wskeeper.lock") && !bytes.is_empty())
        .collect()
}

fn overwrite(path: &Path, at: u64, bytes: &[u8]) {
    use std::os::unix::fs::FileExt;
    fs::OpenOptions::new().write(true).open(path).unwrap().write_all_at(bytes, at).unwrap();
}
