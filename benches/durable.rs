//! How many messages a second are accepted durably by 1, 64 and 1024 callers at once, beside SQLite alone and a bare
//! write + fdatasync.
//!
//! `cargo run --release -p benches --bin durable`, about half a minute. A disk's sync has moods, so all contestants take short turns on the same
//! disk, and the median turn counts; look at the ratios. The two others are given all N messages at hand and sync them together:
//! the best that N callers could ever share. The store has to gather them from N callers, who each wait for their own answer.

#![allow(clippy::print_stdout, reason = "what a bench says goes to its user")]
#![allow(clippy::cast_precision_loss, reason = "counts of a bench are far below 2^52")]

use std::{
    error::Error,
    fs::{File, OpenOptions},
    io::Write,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, SystemTime},
};

use futures_util::future::join_all;
use support::Result;
use tokio::{runtime::Runtime, time::Instant};
use wskeeper_core::message::{MessageId, Payload};
use wskeeper_link::clock::Calendar;
use wskeeper_link::store::{Op, Policy, Record, Store};

mod support;

const CALLERS: [u64; 3] = [1, 64, 1024];
const TURN: Duration = Duration::from_millis(900);
const TURNS: usize = 3;
const PAYLOAD: usize = 100;

fn main() -> Result<()> {
    let folder = tempfile::tempdir_in(support::scratch()?)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let mut bare = Bare::new(folder.path())?;
    let mut sqlite = Alone::new(folder.path())?;
    let mut store = Durable::new(folder.path(), runtime)?;
    println!("messages of {PAYLOAD} bytes accepted durably a second; median of {TURNS} turns of {TURN:?} each\n");
    println!(
        "{:>8}{:>14}{:>14}{:>14}{:>12}{:>12}{:>14}",
        "callers", "bare sync", "SQLite", "wskeeper", "to bare", "to SQLite", "a commit"
    );
    for callers in CALLERS {
        let mut turns = [[0.0; 3]; TURNS];
        let before = store.store.status();
        for turn in &mut turns {
            *turn = [
                rate(callers, |id| bare.accept(id, callers))?,
                rate(callers, |_| sqlite.accept(callers))?,
                store.turn(callers)?,
            ];
        }
        let after = store.store.status();
        let [bare, sqlite, durable] = [0, 1, 2].map(|who| median(turns.map(|turn| turn[who])));
        println!(
            "{callers:>8}{bare:>14.0}{sqlite:>14.0}{durable:>14.0}{:>12.2}{:>12.2}{:>14.1}",
            durable / bare,
            durable / sqlite,
            (after.messages - before.messages) as f64 / (after.commits - before.commits) as f64
        );
    }
    Ok(())
}

fn median(mut turns: [f64; TURNS]) -> f64 {
    turns.sort_by(f64::total_cmp);
    turns[TURNS / 2]
}

/// Messages a second of one who has them at hand, `batch` a sync.
fn rate(batch: u64, mut accept: impl FnMut(u64) -> Result<()>) -> Result<f64> {
    let (began, mut count) = (Instant::now(), 0);
    while began.elapsed() < TURN {
        accept(count)?;
        count += batch;
    }
    Ok(count as f64 / began.elapsed().as_secs_f64())
}

/// One write and one sync a batch.
struct Bare(File);

impl Bare {
    fn new(dir: &Path) -> Result<Self> {
        Ok(Self(OpenOptions::new().create(true).append(true).open(dir.join("bare"))?))
    }

    fn accept(&mut self, first: u64, count: u64) -> Result<()> {
        let mut bytes = Vec::new();
        for id in first..first + count {
            bytes.extend(u128::from(id).to_be_bytes());
            bytes.extend([b'x'; PAYLOAD]);
        }
        self.0.write_all(&bytes)?;
        Ok(self.0.sync_data()?)
    }
}

/// One transaction a batch, with the settings that make it durable and nothing else.
struct Alone {
    db: rusqlite::Connection,
    next: i64,
}

impl Alone {
    fn new(dir: &Path) -> Result<Self> {
        let db = rusqlite::Connection::open(dir.join("alone.sqlite"))?;
        db.pragma_update_and_check(None, "journal_mode", "WAL", |_| Ok(()))?;
        db.pragma_update(None, "synchronous", "FULL")?;
        db.execute_batch("CREATE TABLE message(seq INTEGER PRIMARY KEY, id BLOB, payload BLOB)")?;
        Ok(Self { db, next: 0 })
    }

    fn accept(&mut self, count: u64) -> Result<()> {
        let transaction = self.db.transaction()?;
        {
            let mut insert = transaction.prepare_cached("INSERT INTO message VALUES (?1, ?2, ?3)")?;
            for _ in 0..count {
                self.next += 1;
                insert.execute((self.next, u128::from(self.next.unsigned_abs()).to_be_bytes(), [b'x'; PAYLOAD]))?;
            }
        }
        Ok(transaction.commit()?)
    }
}

/// The store, and callers who each wait until their message is accepted before they bring the next.
struct Durable {
    store: Arc<Store>,
    runtime: Runtime,
    next: Arc<AtomicU64>,
}

impl Durable {
    fn new(dir: &Path, runtime: Runtime) -> Result<Self> {
        let (store, _) = Store::open(&Policy::new(dir.join("store"), 64 << 30), Calendar::default())?;
        Ok(Self { store, runtime, next: Arc::default() })
    }

    fn turn(&mut self, callers: u64) -> Result<f64> {
        let (began, before) = (Instant::now(), self.next.load(Ordering::Relaxed));
        let is_over = Arc::new(AtomicBool::new(false));
        let tasks: Vec<_> = (0..callers)
            .map(|_| {
                let (store, next, is_over) = (self.store.clone(), self.next.clone(), is_over.clone());
                self.runtime.spawn(async move {
                    while !is_over.load(Ordering::Relaxed) {
                        store.write(message(next.fetch_add(1, Ordering::Relaxed))).await?;
                    }
                    Ok::<_, wskeeper_link::store::WriteError>(())
                })
            })
            .collect();
        self.runtime.block_on(async {
            tokio::time::sleep(TURN).await;
            is_over.store(true, Ordering::Relaxed);
            for ended in join_all(tasks).await {
                ended??;
            }
            Ok::<_, Box<dyn Error>>(())
        })?;
        Ok((self.next.load(Ordering::Relaxed) - before) as f64 / began.elapsed().as_secs_f64())
    }
}

fn message(id: u64) -> Op {
    Op::Append(Box::new(Record {
        id: MessageId(id.into()),
        endpoint: "feed".into(),
        link: 0,
        accepted_at: SystemTime::UNIX_EPOCH,
        expires_at: None,
        key: None,
        idempotency_key: None,
        payload: Payload::checked_text(&[b'x'; PAYLOAD][..]),
        marked: false,
    }))
}
