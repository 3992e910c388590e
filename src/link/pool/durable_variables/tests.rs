//! Durable variables over a journal in memory, by a clock that stands until all rest.

use std::{collections::BTreeMap, sync::atomic::AtomicU32};

use futures_util::future::{BoxFuture, FutureExt as _};

use super::*;
use crate::{
    clock::Calendar,
    pool::receipts::Receipts,
    store::{DeadLetter, Done, Journal, ReadError, Record, Recovered, Status},
};

#[derive(Debug, Default)]
struct Memory {
    written: Mutex<Vec<String>>,
    is_full: AtomicBool,
}

impl Memory {
    fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.written.lock())
    }
}

impl Journal for Memory {
    fn submit(&self, op: Op, done: Option<Done>) {
        let is_full = self.is_full.load(Ordering::Relaxed);
        if !is_full {
            self.written.lock().push(match op {
                Op::Remember { of, kept } => format!("{}/{} {}", of.0, of.1, kept.to_json()),
                Op::ForgetVariables { endpoint, link } => format!("{endpoint}/{link:?} forgotten"),
                other => panic!("none of theirs: {other:?}"),
            });
        }
        if let Some(done) = done {
            done(if is_full { Err(WriteError::Full("no room".into())) } else { Ok(1) });
        }
    }

    fn submit_all(&self, ops: &mut dyn Iterator<Item = (Op, Option<Done>)>) {
        ops.for_each(|(op, done)| self.submit(op, done));
    }

    fn held(&self, _endpoint: Arc<str>, _link: u32) -> BoxFuture<'_, Result<Vec<Record>, ReadError>> {
        async { Ok(Vec::new()) }.boxed()
    }

    fn count(&self, _endpoint: Arc<str>) -> BoxFuture<'_, Result<u64, ReadError>> {
        async { Ok(0) }.boxed()
    }

    fn letters(&self) -> BoxFuture<'_, Result<Vec<DeadLetter>, ReadError>> {
        async { Ok(Vec::new()) }.boxed()
    }

    fn status(&self) -> Status {
        Status::default()
    }

    fn look(&self) {}

    fn close(&self, _sealed: BTreeMap<Arc<str>, u64>) -> BoxFuture<'_, ()> {
        async {}.boxed()
    }
}

/// Counts refusals.
#[derive(Debug, Default)]
struct Counts(AtomicU32);

impl EndpointObserver for Counts {
    fn variables_refused(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

struct Bench {
    journal: Arc<Memory>,
    spool: Arc<Spool>,
    counts: Arc<Counts>,
    variables: DurableVariables,
}

impl Bench {
    async fn with(names: &[&str], variables: BTreeMap<(Arc<str>, u32), Kept>) -> Self {
        let spool = Spool::new(Receipts::new(10, Calendar::default()), Calendar::default());
        let bench = Self {
            journal: Arc::default(),
            spool: Arc::clone(&spool),
            counts: Arc::default(),
            variables: DurableVariables::default(),
        };
        spool.begin(Arc::<Memory>::clone(&bench.journal), Recovered { variables, ..Recovered::default() }).await;
        bench.follow(names);
        bench
    }

    fn follow(&self, names: &[&str]) {
        let names = names.iter().map(|name| Box::from(*name)).collect();
        let observer: Arc<dyn EndpointObserver> = Arc::<Counts>::clone(&self.counts);
        self.variables.follow(names, &"e".into(), &self.spool, &observer);
    }

    fn note(&self, seq: u64) {
        self.variables.note(0, Some(&kept(seq)));
    }
}

fn kept(seq: u64) -> Kept {
    [("seq".into(), seq.into()), ("other".into(), "x".into())].into_iter().collect()
}

async fn after(millis: u64) {
    tokio::time::sleep(Duration::from_millis(millis)).await;
}

#[tokio::test(start_paused = true)]
async fn what_changes_is_written_at_once_and_then_the_newest_once_a_second() {
    let bench = Bench::with(&["seq"], BTreeMap::new()).await;
    for seq in 1..=5 {
        bench.note(seq);
    }
    after(1).await;
    assert_eq!(bench.journal.take(), [r#"e/0 {"seq":5}"#]);
    for seq in 6..=500 {
        bench.note(seq);
        after(1).await;
    }
    assert!(bench.journal.take().is_empty(), "a sync for each would be too many");
    after(600).await;
    assert_eq!(bench.journal.take(), [r#"e/0 {"seq":500}"#]);
    bench.note(500);
    after(10_000).await;
    assert!(bench.journal.take().is_empty(), "nothing has changed");
    bench.variables.note(0, None);
    after(1).await;
    assert_eq!(bench.journal.take(), ["e/0 {}"], "all is forgotten");
}

#[tokio::test(start_paused = true)]
async fn an_orderly_end_hands_over_the_newest_and_nothing_follows() {
    let bench = Bench::with(&["seq"], BTreeMap::new()).await;
    bench.note(1);
    after(1).await;
    bench.note(2);
    bench.variables.finish();
    assert_eq!(bench.journal.take(), [r#"e/0 {"seq":1}"#, r#"e/0 {"seq":2}"#]);
    bench.note(3);
    after(10_000).await;
    assert!(bench.journal.take().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_disk_that_refuses_is_tried_again_each_second_with_the_newest() {
    let bench = Bench::with(&["seq"], BTreeMap::new()).await;
    bench.journal.is_full.store(true, Ordering::Relaxed);
    bench.note(1);
    after(3_500).await;
    assert_eq!(bench.counts.0.load(Ordering::Relaxed), 4);
    bench.note(2);
    bench.journal.is_full.store(false, Ordering::Relaxed);
    after(1_000).await;
    assert_eq!(bench.journal.take(), [r#"e/0 {"seq":2}"#]);
    assert_eq!(bench.counts.0.load(Ordering::Relaxed), 4);
}

#[tokio::test(start_paused = true)]
async fn a_link_goes_on_with_what_is_durable_still_and_another_life_has_left() {
    let left = BTreeMap::from([(("e".into(), 0), kept(7)), (("gone".into(), 0), kept(1)), (("e".into(), 3), kept(2))]);
    let bench = Bench::with(&["seq"], left).await;
    bench.spool.drop_variables(|endpoint, link| endpoint == "e" && link < 2);
    assert_eq!(bench.journal.take(), ["e/Some(3) forgotten", "gone/Some(0) forgotten"]);
    assert_eq!(bench.variables.recall(0), Some(kept(7).only(&["seq".into()])));
    assert_eq!(bench.variables.recall(1), None);
    after(1).await;
    assert_eq!(bench.journal.take(), [r#"e/0 {"seq":7}"#], "the other is not durable any more");
    bench.note(8);
    assert_eq!(bench.variables.recall(0), Some(kept(8).only(&["seq".into()])), "as after a panic");
    after(2_000).await;
    bench.journal.take();
    bench.variables.note(1, Some(&kept(1)));
    bench.variables.forget(1);
    after(2_000).await;
    assert_eq!(bench.journal.take(), ["e/Some(1) forgotten"], "its link is gone");
    bench.follow(&["other"]);
    bench.note(9);
    after(2_000).await;
    assert_eq!(bench.journal.take(), [r#"e/0 {"other":"x"}"#]);
    bench.follow(&[]);
    bench.note(10);
    after(2_000).await;
    assert_eq!(bench.journal.take(), ["e/None forgotten"]);
    assert_eq!(bench.variables.recall(0), None);
}
