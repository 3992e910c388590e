//! How far receivers outside have come with an endpoint's inbox, kept in the store.
//!
//! What a reader would get wrong: a cursor that an earlier life has left is there until somebody takes it or says whose are still wanted;
//! the store forgets it in the second case only.

use std::{future::Future, sync::Arc};

use tokio::sync::oneshot;

use super::Pool;
use crate::store::{Op, Receiver, WriteError};

impl Pool {
    /// How far an earlier life of the daemon has come with this receiver of an endpoint.
    pub fn take_cursor(&self, endpoint: &Arc<str>, receiver: &Arc<str>) -> Option<u64> {
        self.inner.parts.spool.cursors.lock().remove(&(Arc::clone(endpoint), Arc::clone(receiver)))
    }

    /// Has the store keep how far it has come, in the place of what was kept. Begins at once, and takes place even if nobody waits.
    pub fn keep_cursor(
        &self,
        of: Receiver,
        cursor: u64,
    ) -> impl Future<Output = Result<(), WriteError>> + Send + use<> {
        let (tell, told) = oneshot::channel();
        // Who asked may have gone.
        let done = move |outcome: Result<u64, _>| drop(tell.send(outcome.map(drop)));
        self.inner.parts.spool.submit(Op::KeepCursor { of, cursor }, Box::new(done));
        async { told.await.unwrap_or(Err(WriteError::Closed)) }
    }

    /// There is no such receiver any more.
    pub fn forget_cursor(&self, of: Receiver) {
        // What cannot be forgotten now is not wanted at the next start either.
        self.inner.parts.spool.submit(Op::ForgetCursor(of), Box::new(drop));
    }

    /// Forgets cursors that an earlier life has left and nobody has taken, but for those that are wanted.
    pub fn drop_cursors(&self, is_wanted: impl Fn(&Receiver) -> bool) {
        let mut cursors = self.inner.parts.spool.cursors.lock();
        let left = std::mem::take(&mut *cursors);
        for (of, cursor) in left {
            if is_wanted(&of) {
                cursors.insert(of, cursor);
            } else {
                self.forget_cursor(of);
            }
        }
    }

    /// How many entries of an endpoint's inbox, or of one of its streams, stand after a cursor.
    pub fn behind(&self, endpoint: &str, stream: Option<&str>, cursor: u64) -> Option<usize> {
        let runtime = self.inner.parts.endpoints.get(endpoint)?;
        match stream {
            None => Some(runtime.sinks.inbox.count_after(cursor)),
            Some(stream) => Some(runtime.sinks.streams.get(stream)?.count_after(cursor)),
        }
    }
}
