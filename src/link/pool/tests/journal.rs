//! A pool over a journal in memory, which refuses what a test wants refused.
//!
//! What a reader would get wrong: the pool has no say in this. It is the same pool as over a disk; that it is what keeps its promises
//! over any [`Journal`] is what is tried here.

use futures_util::future::{BoxFuture, FutureExt as _};

use super::*;
use crate::store::{self, DeadLetter, Done, Journal, Op, ReadError, Record, Recovered, Settled, Status, WriteError};

/// Keeps what it is given, but for the message of this place in the order of acceptance.
#[derive(Debug, Default)]
struct Memory {
    refuses: Option<usize>,
    kept: Mutex<Kept>,
}

#[derive(Debug, Default, Clone)]
struct Kept {
    asked: usize,
    messages: Vec<Record>,
    ends: Vec<Settled>,
}

impl Memory {
    fn refusing(place: usize) -> Arc<Self> {
        Arc::new(Self { refuses: Some(place), kept: Mutex::default() })
    }

    fn carry_out(&self, op: Op) -> Result<u64, WriteError> {
        let mut kept = self.kept.lock();
        match op {
            Op::Append(record) => {
                kept.asked += 1;
                if self.refuses == Some(kept.asked) {
                    return Err(WriteError::Full("there is no room for the third".into()));
                }
                kept.messages.push(*record);
            }
            Op::Mark { id, marked } => {
                kept.messages.iter_mut().filter(|record| record.id == id).for_each(|record| record.marked = marked);
            }
            Op::Settle(settled) => {
                kept.messages.retain(|record| record.id != settled.id);
                kept.ends.push(*settled);
            }
            other => panic!("this pool has no use for {other:?}"),
        }
        Ok(1)
    }

    /// What another life of the pool finds.
    fn recovered(&self) -> Recovered {
        Recovered { messages: self.kept.lock().messages.clone(), ..Recovered::default() }
    }
}

impl Journal for Memory {
    fn submit(&self, op: Op, done: Option<Done>) {
        let outcome = self.carry_out(op);
        if let Some(done) = done {
            done(outcome);
        }
    }

    fn submit_all(&self, ops: &mut dyn Iterator<Item = (Op, Option<Done>)>) {
        ops.for_each(|(op, done)| self.submit(op, done));
    }

    fn held(&self, endpoint: Arc<str>, link: u32) -> BoxFuture<'_, Result<Vec<Record>, ReadError>> {
        let mut held = self.kept.lock().messages.clone();
        held.retain(|record| record.endpoint == endpoint && record.link == link);
        async { Ok(held) }.boxed()
    }

    fn count(&self, endpoint: Arc<str>) -> BoxFuture<'_, Result<u64, ReadError>> {
        async move { Ok(self.held(endpoint, 0).await?.len() as u64) }.boxed()
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

/// A pool with one durable endpoint `e`, whose link rests.
async fn over(journal: &Arc<Memory>) -> Pool {
    let pool = Pool::start(Settings::default(), Arc::new(Silent), 1).await;
    pool.inner.parts.spool.begin(Arc::<Memory>::clone(journal), journal.recovered()).await;
    let text =
        "[storage]\ndir = '/nowhere'\n[endpoints.e]\nurl = 'ws://127.0.0.1:9/'\noutbox = { durability = 'disk' }";
    let settings = written::settings(text);
    assert_eq!(settings.store.as_ref().map(|policy| store::Store::exists(&policy.dir)), Some(false));
    pool.apply(settings, &|_, _| Follow::Unchanged).await.expect("nothing drains it");
    pool.command("e", 0, Verb::Pause).await.expect("the link obeys");
    pool
}

#[tokio::test]
async fn whose_message_the_disk_refuses_hears_it_and_the_next_is_taken() {
    let journal = Memory::refusing(3);
    let pool = over(&journal).await;
    let mut heard = Vec::new();
    for _ in 0..4 {
        heard.push(pool.send(send("e")).await);
    }
    assert!(matches!(&heard[2], Err(Refused::Store(why)) if why.contains("third")), "{heard:?}");
    let accepted: Vec<MessageId> = heard.iter().flatten().map(|receipt| receipt.id).collect();
    assert_eq!(accepted.len(), 3, "{heard:?}");
    for id in &accepted {
        assert_eq!(pool.receipt(*id).map(|receipt| receipt.state), Some(State::Stored));
    }
    let kept: Vec<MessageId> = journal.kept.lock().messages.iter().map(|record| record.id).collect();
    assert_eq!(kept, accepted, "what was promised, in order, and nothing else");
    assert_eq!(pool.link("e", 0).expect("it is configured").queued_messages, 3);
}

#[tokio::test]
async fn a_batch_in_which_the_disk_refuses_one_is_otherwise_taken() {
    let journal = Memory::refusing(2);
    let pool = over(&journal).await;
    let mut heard = Vec::new();
    pool.send_all(vec![send("e"); 3], Stop::Never, |outcome| heard.push(outcome.is_ok())).await;
    assert_eq!(heard, [true, false, true]);
    assert_eq!(journal.kept.lock().messages.len(), 2);
}

#[tokio::test]
async fn what_a_journal_holds_another_life_of_the_pool_takes_up() {
    let journal = Arc::<Memory>::default();
    let id = over(&journal).await.send(send("e")).await.expect("it is kept").id;
    // As after a crash: nobody has closed anything.
    let pool = over(&journal).await;
    assert_eq!(pool.receipt(id).map(|receipt| receipt.state), Some(State::Stored));
    assert_eq!(pool.link("e", 0).expect("it is configured").queued_messages, 1);
    assert!(journal.kept.lock().ends.is_empty(), "it waits for its link");
}
