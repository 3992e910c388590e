//! What the fuzz target of the store does with the bytes that it is given: files that are changed in places are opened, or refused and left as they are.
//!
//! What a reader would get wrong: no program has this in it. It is built for tests and with the feature `fuzzing` only.

#![allow(clippy::unwrap_used, clippy::missing_panics_doc, reason = "a target fails by a panic")]

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process,
    sync::OnceLock,
    time::Duration,
};

use tokio::runtime::Builder;

use super::{Op, Policy, Record, Recovered, Segment, Settled, Store, folder, segment};
use crate::clock::Calendar;
use wskeeper_core::{
    clock::since_epoch,
    entry::{Entry, Item},
    event::LinkId,
    message::{MessageId, Payload},
    receipt::State,
};

/// The files of a store, by their names.
type Files = BTreeMap<String, Vec<u8>>;

/// The first byte says what the others are: a file, places of one and what stands there, or the text of a segment of an inbox.
pub fn store(data: &[u8]) {
    let Some((what, rest)) = data.split_first() else { return };
    match what & 3 {
        0 => tried(&changed(&files().0, rest)),
        1 => tried(&changed(&files().1, rest)),
        2 => tried(&[("store.sqlite".to_owned(), rest.to_vec())].into()),
        _ => segment_is_read(rest),
    }
}

/// Opens these, twice where they can be opened.
fn tried(files: &Files) {
    let folder = Folder::with(files);
    // Whoever has the folder may give out entries of inboxes, so the seal is broken in any case.
    let without_seal = |mut files: Files| {
        files.remove(folder::SEAL);
        files
    };
    let before = without_seal(folder.files());
    let Ok(first) = folder.opened() else {
        assert!(without_seal(folder.files()) == before, "what is refused is not left as it was");
        return;
    };
    let second = folder.opened().unwrap_or_else(|error| panic!("what was opened is refused then: {error}"));
    assert_eq!(first.messages, second.messages);
}

/// Changes of four bytes and more: which file, where, how many bytes, and those.
fn changed(files: &Files, mut changes: &[u8]) -> Files {
    let mut files = files.clone();
    let count = files.len();
    while let [which, high, middle, low, length, rest @ ..] = changes {
        let (new, rest) = rest.split_at(usize::from(*length).min(rest.len()));
        changes = rest;
        let Some(file) = files.values_mut().nth(usize::from(*which) % count) else { return files };
        let at = usize::from(*high) << 16 | usize::from(*middle) << 8 | usize::from(*low);
        let at = at % (file.len() + 1);
        // Nothing new: the file ends there.
        if new.is_empty() {
            file.truncate(at);
        }
        file.splice(at..file.len().min(at + new.len()), new.iter().copied());
    }
    files
}

fn segment_is_read(text: &[u8]) {
    let endpoint = "feed".into();
    for count in [0, 1, 2, 9, u64::MAX] {
        if let Some(entries) = segment::decode(text, &endpoint, 7, count) {
            assert!(entries.len() as u64 == count, "{count} and not {}", entries.len());
        }
    }
}

/// Those of a store that was closed, and of one that was killed.
fn files() -> &'static (Files, Files) {
    static MADE: OnceLock<(Files, Files)> = OnceLock::new();
    MADE.get_or_init(|| {
        let folder = Folder::with(&Files::new());
        let (store, _) = Store::open(&folder.policy(), Calendar::default()).unwrap();
        let runtime = Builder::new_current_thread().build().unwrap();
        let written = runtime.block_on(async {
            for op in ops() {
                store.write(op).await.unwrap();
            }
            let killed = folder.files();
            store.close([("feed".into(), 11)].into()).await;
            (folder.files(), killed)
        });
        assert!(written.0.len() > 1 && written.1.len() > 2, "{:?} {:?}", written.0.keys(), written.1.keys());
        written
    })
}

fn ops() -> Vec<Op> {
    let at = since_epoch(Duration::from_secs(2_000_000_000));
    let record = |id| Record {
        id: MessageId(id),
        endpoint: "feed".into(),
        link: 0,
        accepted_at: at,
        expires_at: None,
        key: Some("key".into()),
        idempotency_key: None,
        payload: Payload::from("a message"),
        marked: false,
    };
    let settled = Settled {
        id: MessageId(1),
        state: State::Confirmed,
        end_reason: None,
        generation: Some(7),
        updated_at: at,
        keep_until: since_epoch(Duration::from_secs(2_000_003_600)),
        claim_until: None,
    };
    let entry = |cursor| {
        let link = LinkId { endpoint: "feed".into(), index: 1 };
        Entry { cursor, at, link, generation: 3, item: Item::Message(Payload::from("an entry")) }
    };
    let entries = [10, 11].map(|cursor| entry(cursor).into()).into();
    vec![
        Op::Append(Box::new(record(1))),
        Op::Append(Box::new(record(2))),
        Op::Settle(Box::new(settled)),
        Op::Arrived(Box::new(Segment { endpoint: "feed".into(), after: 9, entries, oldest: 0 })),
    ]
}

/// A folder of its own, in memory where there is a place for it, that goes with it.
struct Folder(PathBuf);

impl Folder {
    fn with(files: &Files) -> Self {
        let shared = Path::new("/dev/shm");
        let above = if shared.is_dir() { shared.to_owned() } else { std::env::temp_dir() };
        let folder = Self(above.join(format!("wskeeper-fuzz-{}-{:?}", process::id(), std::thread::current().id())));
        let _ = fs::remove_dir_all(&folder.0);
        fs::create_dir(&folder.0).unwrap();
        for (name, bytes) in files {
            fs::write(folder.0.join(name), bytes).unwrap();
        }
        folder
    }

    fn policy(&self) -> Policy {
        Policy::new(&self.0, 64 << 20)
    }

    fn opened(&self) -> Result<Recovered, super::OpenError> {
        let (store, recovered) = Store::open(&self.policy(), Calendar::default())?;
        let runtime = Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let _ = store.dead(None, None, 9).await;
            store.close(BTreeMap::new()).await;
        });
        Ok(recovered)
    }

    /// All but the lock, without files that are empty: an opening may leave such.
    fn files(&self) -> Files {
        let entries = fs::read_dir(&self.0).unwrap().map(|entry| entry.unwrap().path());
        let named =
            entries.map(|path| (path.file_name().unwrap().to_string_lossy().into_owned(), fs::read(&path).unwrap()));
        named.filter(|(name, bytes)| name != folder::LOCK && !bytes.is_empty()).collect()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[cfg(test)]
mod tests;
