//! An operator's words on messages: dead letters are sent again or dropped, orphans get another link or are discarded.
//!
//! An orphan is a message in the store whose link the configuration has no more. It is kept until somebody decides, or until
//! the link comes back and takes it. What was begun runs to its end whoever hangs up: a word that is carried out on disk only, or a
//! letter that is sent and not dropped, would be worse than none.

use std::{collections::BTreeSet, sync::Arc};

use super::{
    DeadLetter, Orphans, Page, Refused, Send, StoreView,
    handle::{Inner, Pool},
    turns::Turn,
};
use crate::{
    link::Order,
    store::{Op, Record, WriteError},
};
use wskeeper_core::{
    clock::Clock,
    message::MessageId,
    receipt::{EndReason, Receipt, State},
};

/// Why orphans were not moved or discarded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OrphanError {
    /// There are none.
    #[error("the store holds nothing for {0}")]
    None(String),
    /// They are to go to a link that is not there, or keeps nothing on disk.
    #[error("{0} is not a link that keeps messages on disk")]
    NoHome(String),
    /// The store did not take the change.
    #[error(transparent)]
    Store(#[from] WriteError),
}

impl Pool {
    /// Dead letters in order of acceptance, those after `after`, at most `limit`, of the endpoints `wanted`.
    pub fn dead_letters(
        &self,
        wanted: &dyn Fn(&str) -> bool,
        after: Option<MessageId>,
        limit: usize,
    ) -> Page<DeadLetter> {
        self.inner.parts.dead.list(wanted, after, limit)
    }

    /// One dead letter.
    pub fn dead_letter(&self, id: MessageId) -> Option<DeadLetter> {
        self.inner.parts.dead.get(id)
    }

    /// Sends a dead letter again, as a new message to the same endpoint; accepted, the letter is gone.
    pub async fn retry_dead_letter(&self, id: MessageId) -> Option<Result<Receipt, Refused>> {
        let pool = self.clone();
        to_its_end(async move { pool.retry(id).await }).await
    }

    async fn retry(&self, id: MessageId) -> Option<Result<Receipt, Refused>> {
        let DeadLetter { endpoint, key, payload, .. } = self.inner.parts.dead.get(id)?;
        let send = Send {
            key,
            // Of two who retry it at once, one sends it.
            idempotency_key: Some(format!("retry of dead letter {id}").into()),
            ..Send::new(endpoint, payload)
        };
        let outcome = self.inner.sender.send(send).await;
        if outcome.is_ok() {
            self.drop_letter(id).await;
        }
        Some(outcome)
    }

    /// Drops a dead letter; `false`: there is no such one.
    pub async fn drop_dead_letter(&self, id: MessageId) -> bool {
        let pool = self.clone();
        to_its_end(async move { pool.drop_letter(id).await }).await
    }

    async fn drop_letter(&self, id: MessageId) -> bool {
        let dropped = self.inner.parts.dead.remove(id).is_some();
        // One of a memory outbox is not in the store, and where the store fails it comes back with a restart.
        let _ = self.inner.parts.spool.carry_out(Op::DropDead(id)).await;
        dropped
    }

    /// Stored messages that wait for a link.
    pub fn orphans(&self) -> Vec<Orphans> {
        self.inner.parts.spool.orphans()
    }

    /// Gives a link's orphans to another link, behind what that one holds. Answers with how many.
    pub async fn move_orphans(&self, from: (&str, u32), to: (&str, u32)) -> Result<u64, OrphanError> {
        let (pool, from, to) = (self.clone(), (from.0.to_owned(), from.1), (to.0.to_owned(), to.1));
        to_its_end(async move { pool.rehome((&from.0, from.1), (&to.0, to.1)).await }).await
    }

    async fn rehome(&self, from: (&str, u32), to: (&str, u32)) -> Result<u64, OrphanError> {
        let inner = &self.inner;
        // No other word, and no configuration that brings the link back, comes in between.
        let _one_at_a_time = inner.supervisor.hold().await;
        let _turns = inner.turns_of(&[from.0, to.0]).await;
        let no_home = || OrphanError::NoHome(format!("{}/{}", to.0, to.1));
        let runtime = inner
            .parts
            .endpoints
            .get(to.0)
            .filter(|runtime| runtime.config().link.outbox.durable)
            .ok_or_else(no_home)?;
        let home = runtime.slot(to.1).ok_or_else(no_home)?;
        let records = orphans_of(inner, from)?;
        let place = |(endpoint, link): (&str, u32)| (Arc::from(endpoint), link);
        inner.parts.spool.carry_out(Op::Move { from: place(from), to: place(to) }).await?;
        inner.parts.spool.forget(from);
        let moved = records.len() as u64;
        home.set_durable();
        let messages = records.into_iter().map(|record| {
            inner.parts.receipts.rehome(record.id, &home.id);
            inner.supervisor.restored(&runtime, record)
        });
        // A task that has ended leaves them in the store, where the next one of that link finds them.
        let _ = home.orders.send(Box::new(Order::Restore(messages.collect()))).await;
        Ok(moved)
    }

    /// Discards a link's orphans; their receipts say `dropped`, `removed`. Answers with how many.
    pub async fn discard_orphans(&self, of: (&str, u32)) -> Result<u64, OrphanError> {
        let (pool, of) = (self.clone(), (of.0.to_owned(), of.1));
        to_its_end(async move { pool.discard((&of.0, of.1)).await }).await
    }

    async fn discard(&self, of: (&str, u32)) -> Result<u64, OrphanError> {
        let inner = &self.inner;
        let _one_at_a_time = inner.supervisor.hold().await;
        let _turns = inner.turns_of(&[of.0]).await;
        let records = orphans_of(inner, of)?;
        let at = inner.parts.calendar.now();
        let keep_until = at.later(wskeeper_core::receipt::CLAIM);
        inner.parts.spool.carry_out(Op::Discard { endpoint: of.0.into(), link: Some(of.1), at, keep_until }).await?;
        inner.parts.spool.forget(of);
        for record in &records {
            inner.parts.receipts.end(record.id, at, State::Dropped, Some(EndReason::Removed));
        }
        let discarded = records.len() as u64;
        inner.parts.observer.orphans_discarded(discarded);
        tracing::info!(endpoint = of.0, link = of.1, messages = discarded, "orphans discarded");
        Ok(discarded)
    }

    /// How the store is; `None`: no endpoint needs one.
    pub fn store(&self) -> Option<StoreView> {
        self.inner.parts.spool.view()
    }
}

impl Inner {
    /// The turns of these endpoints: always in the same order, so that nobody waits for one who waits for it.
    async fn turns_of(&self, names: &[&str]) -> Vec<Turn> {
        let mut turns = Vec::new();
        for name in names.iter().copied().collect::<BTreeSet<&str>>() {
            turns.push(self.supervisor.turn(&name.into()).await);
        }
        turns
    }
}

fn orphans_of(inner: &Inner, of: (&str, u32)) -> Result<Vec<Record>, OrphanError> {
    inner.parts.spool.waiting_for(of).ok_or_else(|| OrphanError::None(format!("{}/{}", of.0, of.1)))
}

/// Does work that must not stop half-way, whoever waits for it. Rare, so that a task for it costs nothing.
pub(super) fn to_its_end<T: std::marker::Send + 'static>(
    work: impl Future<Output = T> + std::marker::Send + 'static,
) -> impl Future<Output = T> + std::marker::Send + 'static {
    let task = tokio::spawn(work);
    async move {
        match task.await {
            Ok(done) => done,
            Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
            // The runtime ends, and with it whoever waits here.
            Err(_) => std::future::pending().await,
        }
    }
}
