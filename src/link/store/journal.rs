//! What a pool asks of whoever keeps its accepted messages. [`Store`](super::Store), one disk, does so.
//!
//! What a reader would get wrong: an op is handed over, not waited for. Ops take effect in the order in which they were handed over, and
//! each one's [`Done`] is called once, when the op will outlive this process or has changed nothing. So it is never called before its
//! time, from whichever thread, and may be called before `submit` returns.

use std::{collections::BTreeMap, fmt::Debug, sync::Arc};

use futures_util::future::BoxFuture;
use tokio::sync::oneshot;

use super::{DeadLetter, Done, Op, ReadError, Record, Status, WriteError};

/// Where accepted messages, receipts, dead letters, durable inboxes and durable variables are kept.
///
/// Whoever makes one answers with what it holds ([`Recovered`](super::Recovered)) before the first op.
pub(crate) trait Journal: Debug + Send + Sync {
    /// Hands over an op. Never waits.
    fn submit(&self, op: Op, done: Option<Done>);

    /// Hands over several, with nothing in between.
    fn submit_all(&self, ops: &mut dyn Iterator<Item = (Op, Option<Done>)>);

    /// Messages of a link that have not ended, in the order of acceptance, with those that are submitted now.
    fn held(&self, endpoint: Arc<str>, link: u32) -> BoxFuture<'_, Result<Vec<Record>, ReadError>>;

    /// How many messages of an endpoint have not ended, with those that are submitted now.
    fn count(&self, endpoint: Arc<str>) -> BoxFuture<'_, Result<u64, ReadError>>;

    /// All dead letters, oldest first.
    fn letters(&self) -> BoxFuture<'_, Result<Vec<DeadLetter>, ReadError>>;

    /// How it is, as of the last write or look.
    fn status(&self) -> Status;

    /// Has it look whether it is still well, which the status then says. Does not wait for it.
    fn look(&self);

    /// Finishes what was submitted; nothing can be submitted any more. `sealed` are the inboxes whose entries were all written and that
    /// get no more, with the cursor of the last one.
    fn close(&self, sealed: BTreeMap<Arc<str>, u64>) -> BoxFuture<'_, ()>;
}

impl dyn Journal {
    /// Carries out an op: how many messages or letters it changed. Once called, the op takes place even if the caller goes.
    pub(crate) async fn write(&self, op: Op) -> Result<u64, WriteError> {
        let (tell, told) = oneshot::channel();
        self.submit(op, Some(Box::new(move |outcome| drop(tell.send(outcome)))));
        told.await.unwrap_or(Err(WriteError::Closed))
    }
}
