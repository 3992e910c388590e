//! Between durable outboxes and the journal, which is the store: what is put on disk when, and what comes back after a restart.
//!
//! A message is accepted when the store has it. Its end is told when the store knows of it, so that no receipt says more than a
//! restart would find. A store that fails refuses durable messages and nothing else: what it holds stays where it is.

use std::{collections::BTreeMap, io, sync::Arc, time::SystemTime};

use parking_lot::{Mutex, MutexGuard, RwLock};
use tokio::time::Instant;

use super::{
    dead::DeadLetter,
    receipts::{Receipts, Verdict},
};
use crate::clock::Calendar;
use crate::store::{self, Journal, KeptInbox, KeptKeys, Op, Receiver, Record, Settled, Store, WriteError};
use wskeeper_core::{
    clock::Clock,
    event::LinkId,
    link::Input,
    message::MessageId,
    outbox::{Ended, Keep},
    receipt::{CLAIM, EndReason, FAR, Receipt, State},
    session::Kept,
};

/// The store as the pool uses it.
#[derive(Debug)]
pub(super) struct Spool {
    standing: RwLock<Standing>,
    receipts: Arc<Receipts>,
    calendar: Calendar,
    /// Messages in the store that no link has, in order.
    waiting: Mutex<Waiting>,
    /// How many messages were under way when an earlier life ended, to be counted where the link is.
    crashed: Mutex<BTreeMap<(Arc<str>, u32), u64>>,
    /// Inboxes that an earlier life has left, until their endpoints take them up.
    inboxes: Mutex<BTreeMap<Arc<str>, KeptInbox>>,
    /// Variables of sessions that an earlier life has left, until their links take them up.
    variables: Mutex<BTreeMap<(Arc<str>, u32), Kept>>,
    /// Cursors of receivers that an earlier life has left.
    pub(super) cursors: Mutex<BTreeMap<Receiver, u64>>,
    /// Keys that programs held in an earlier life, until their endpoints take them up.
    keys: Mutex<BTreeMap<Arc<str>, KeptKeys>>,
}

/// Takes the store's answers to the link that asked.
pub(super) type DiskAnswer = Arc<dyn Fn(Input) + Send + Sync>;

/// By endpoint and link.
type Waiting = BTreeMap<(Arc<str>, u32), Vec<Record>>;

#[derive(Debug, Clone)]
enum Standing {
    /// No endpoint needs it.
    Unused,
    Open(Arc<dyn Journal>),
    /// It could not be opened.
    Failed(Arc<str>),
}

/// Messages in the store whose link is not in the configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Orphans {
    /// Whose they were.
    pub endpoint: Arc<str>,
    /// Which link's.
    pub link: u32,
    /// How many.
    pub messages: u64,
    /// Their bytes of payload.
    pub bytes: u64,
}

/// What the store held for a link whose task is gone.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Reclaimed {
    /// Waits for the link's next task.
    pub(super) waiting: Vec<MessageId>,
    /// May have begun to leave, at most once: `unknown`.
    pub(super) unknown: Vec<MessageId>,
}

/// How the store is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreView {
    /// Its numbers, where it is open.
    pub status: Option<store::Status>,
    /// Why it is not, or does not take messages.
    pub failure: Option<Arc<str>>,
}

impl Spool {
    pub(super) fn new(receipts: Arc<Receipts>, calendar: Calendar) -> Arc<Self> {
        Arc::new(Self {
            standing: RwLock::new(Standing::Unused),
            receipts,
            calendar,
            waiting: Mutex::default(),
            crashed: Mutex::default(),
            inboxes: Mutex::default(),
            variables: Mutex::default(),
            cursors: Mutex::default(),
            keys: Mutex::default(),
        })
    }

    /// Opens the store, if it is not open. Answers with its dead letters.
    pub(super) async fn open(self: &Arc<Self>, policy: Option<&store::Policy>) -> Vec<DeadLetter> {
        if self.is_open() {
            return Vec::new();
        }
        let Some(policy) = policy.cloned() else {
            return self.failed(&io::Error::other("no place is given for it"));
        };
        let (dir, calendar) = (policy.dir.clone(), self.calendar.clone());
        let opened = tokio::task::spawn_blocking(move || Store::open(&policy, calendar)).await;
        let (store, recovered) = match opened {
            Ok(Ok(opened)) => opened,
            Ok(Err(error)) => return self.failed(&error),
            Err(error) => return self.failed(&error),
        };
        tracing::info!(
            dir = %dir.display(),
            messages = recovered.messages.len(),
            receipts = recovered.receipts.len(),
            "the store is open"
        );
        self.begin(store, recovered).await
    }

    /// Goes on with what a journal has kept. Answers with its dead letters.
    pub(super) async fn begin(
        self: &Arc<Self>,
        journal: Arc<dyn Journal>,
        recovered: store::Recovered,
    ) -> Vec<DeadLetter> {
        *self.standing.write() = Standing::Open(Arc::clone(&journal));
        self.recover(recovered);
        match journal.letters().await {
            Ok(letters) => letters.into_iter().map(DeadLetter::from).collect(),
            Err(error) => {
                tracing::error!(%error, "dead letters cannot be shown");
                Vec::new()
            }
        }
    }

    /// Whether it is open, and so stays where it is.
    pub(super) fn is_open(&self) -> bool {
        matches!(self.standing(), Standing::Open(_))
    }

    /// Why durable messages need not even be tried; `None`: they may be. A store that is full or away is tried: it may be well again.
    pub(super) fn closed(&self) -> Option<Arc<str>> {
        match self.standing() {
            Standing::Unused => Some("the store is not open".into()),
            Standing::Failed(why) => Some(why),
            Standing::Open(store) => match store.status().failure? {
                WriteError::Full(_) | WriteError::Away(_) => None,
                broken @ (WriteError::Broken(_) | WriteError::Closed) => Some(broken.to_string().into()),
            },
        }
    }

    /// How it is; `None`: no endpoint needs it.
    pub(super) fn view(&self) -> Option<StoreView> {
        match self.standing() {
            Standing::Unused => None,
            Standing::Failed(why) => Some(StoreView { status: None, failure: Some(why) }),
            Standing::Open(store) => {
                store.look();
                let status = store.status();
                let failure = status.failure.as_ref().map(|failure| failure.to_string().into());
                Some(StoreView { status: Some(status), failure })
            }
        }
    }

    /// Puts a message on disk; its link learns how that went.
    pub(super) fn keep(
        self: &Arc<Self>,
        link: &LinkId,
        keep: &Keep,
        expires_at: Option<SystemTime>,
        answer: DiskAnswer,
    ) {
        let &Keep { place, id, .. } = keep;
        let now = self.calendar.now();
        let record = Record {
            id,
            endpoint: Arc::clone(&link.endpoint),
            link: link.index,
            accepted_at: self.receipts.get(id).map_or(now, |receipt| receipt.accepted_at),
            expires_at,
            key: keep.key.clone(),
            idempotency_key: self.receipts.terms(id).1.map(|(key, _)| key),
            payload: keep.payload.clone(),
            marked: false,
        };
        let (link, spool) = (link.clone(), Arc::clone(self));
        let done = move |result: Result<u64, WriteError>| match result {
            Ok(_) => {
                spool.receipts.end(id, spool.calendar.now(), State::Stored, None);
                spool.receipts.decide(id, Verdict::Accepted);
                answer(Input::Stored { place, id });
            }
            Err(error) => {
                tracing::warn!(%link, %id, %error, "a message could not be stored and is refused");
                answer(Input::NotStored { place, id });
                spool.receipts.decide(id, Verdict::NotStored(error.to_string().into()));
            }
        };
        self.submit(Op::Append(Box::new(record)), Box::new(done));
    }

    /// Notes that messages may have begun to leave, which has an answer, or have not after all, which has none.
    pub(super) fn mark(&self, ids: &[MessageId], marked: bool, answer: &DiskAnswer) {
        let Standing::Open(store) = self.standing() else { return };
        store.submit_all(&mut ids.iter().map(|&id| {
            let answer = Arc::clone(answer);
            // Without its mark a message must not leave; a store that cannot give it is broken, and says so.
            let done = move |result: Result<u64, _>| {
                if result.is_ok() {
                    answer(Input::Marked([id].into()));
                }
            };
            (Op::Mark { id, marked }, marked.then(|| Box::new(done) as store::Done))
        }));
    }

    /// A message reached a state that the store must know of; the receipt says so when it does.
    pub(super) fn settle(
        self: &Arc<Self>,
        id: MessageId,
        (state, end_reason): (State, Option<EndReason>),
        generation: Option<u64>,
    ) {
        let at = self.calendar.now();
        let (keep, claim) = self.receipts.terms(id);
        let settled = Settled {
            id,
            state,
            end_reason,
            generation,
            updated_at: at,
            keep_until: at.later(keep.min(FAR)),
            claim_until: claim.map(|(_, until)| until),
        };
        let spool = Arc::clone(self);
        // Where the disk fails, the receipt still says what is true.
        let done = move |_| {
            spool.receipts.advance(
                &[Ended { id, count: 1, state, end_reason }],
                (Instant::now().into_std(), at),
                generation,
                false,
            );
        };
        self.submit(Op::Settle(Box::new(settled)), Box::new(done));
    }

    /// What the store holds for a link that is about to start.
    pub(super) fn take(&self, id: &LinkId) -> Vec<Record> {
        self.waiting().remove(&(Arc::clone(&id.endpoint), id.index)).unwrap_or_default()
    }

    /// How many messages of this link were under way when an earlier life ended; told once.
    pub(super) fn take_crashed(&self, id: &LinkId) -> u64 {
        let mut crashed = self.crashed.lock();
        crashed.remove(&(Arc::clone(&id.endpoint), id.index)).unwrap_or_default()
    }

    /// The task of a link is gone: what the store holds for it waits for another one, but for what may have begun to leave, at
    /// most once, which ends `unknown` with this end reason.
    pub(super) async fn reclaim(self: &Arc<Self>, id: &LinkId, end_reason: EndReason) -> Reclaimed {
        let Standing::Open(store) = self.standing() else { return Reclaimed::default() };
        match store.held(Arc::clone(&id.endpoint), id.index).await {
            Ok(records) => {
                let (begun, records): (Vec<_>, Vec<_>) = records.into_iter().partition(|record| record.marked);
                for record in &begun {
                    self.settle(record.id, (State::Unknown, Some(end_reason)), None);
                }
                let names = |records: &[Record]| records.iter().map(|record| record.id).collect();
                let reclaimed = Reclaimed { waiting: names(&records), unknown: names(&begun) };
                if !records.is_empty() {
                    self.waiting().insert((Arc::clone(&id.endpoint), id.index), records);
                }
                reclaimed
            }
            Err(error) => {
                tracing::error!(link = %id, %error, "stored messages cannot be read back; a restart will");
                Reclaimed::default()
            }
        }
    }

    /// Messages that the store holds for the links of an endpoint; `None`: it cannot say.
    pub(super) async fn held(&self, endpoint: &str) -> Option<u64> {
        let Standing::Open(store) = self.standing() else { return None };
        store.count(endpoint.into()).await.ok()
    }

    /// Messages that wait for a link that nobody has configured.
    pub(super) fn orphans(&self) -> Vec<Orphans> {
        let waiting = self.waiting();
        let orphans = waiting.iter().map(|((endpoint, link), records)| Orphans {
            endpoint: Arc::clone(endpoint),
            link: *link,
            messages: records.len() as u64,
            bytes: records.iter().map(|record| record.payload.len() as u64).sum(),
        });
        orphans.collect()
    }

    /// What waits for a link; `None`: nothing.
    pub(super) fn waiting_for(&self, (endpoint, link): (&str, u32)) -> Option<Vec<Record>> {
        self.waiting().get(&(Arc::from(endpoint), link)).cloned()
    }

    /// What waited for a link has been decided on.
    pub(super) fn forget(&self, (endpoint, link): (&str, u32)) {
        self.waiting().remove(&(Arc::from(endpoint), link));
    }

    /// What an earlier life has left of an inbox.
    pub(super) fn take_inbox(&self, endpoint: &str) -> Option<KeptInbox> {
        self.inboxes.lock().remove(endpoint)
    }

    /// The inboxes that nobody has taken up.
    pub(super) fn take_inboxes(&self) -> BTreeMap<Arc<str>, KeptInbox> {
        std::mem::take(&mut self.inboxes.lock())
    }

    /// Drops what the store has of an inbox.
    pub(super) fn forget_inbox(&self, endpoint: &Arc<str>) {
        if let Standing::Open(store) = self.standing() {
            store.submit(Op::ForgetInbox(Arc::clone(endpoint)), None);
        }
    }

    /// What an earlier life has left of a link's variables.
    pub(super) fn take_variables(&self, endpoint: &Arc<str>, link: u32) -> Option<Kept> {
        self.variables.lock().remove(&(Arc::clone(endpoint), link))
    }

    /// Drops what an earlier life has left of variables that nobody wants.
    pub(super) fn drop_variables(&self, is_wanted: impl Fn(&str, u32) -> bool) {
        self.variables.lock().retain(|(endpoint, link), _| {
            let stays = is_wanted(endpoint, *link);
            if !stays {
                self.forget_variables(endpoint, Some(*link));
            }
            stays
        });
    }

    /// Drops what the store has of the variables of a link, or of all of an endpoint.
    pub(super) fn forget_variables(&self, endpoint: &Arc<str>, link: Option<u32>) {
        if let Standing::Open(store) = self.standing() {
            store.submit(Op::ForgetVariables { endpoint: Arc::clone(endpoint), link }, None);
        }
    }

    /// What an earlier life has left of keys that programs held.
    pub(super) fn take_keys(&self, endpoint: &str) -> KeptKeys {
        self.keys.lock().remove(endpoint).unwrap_or_default()
    }

    /// Whether it has left some.
    pub(super) fn has_keys(&self, endpoint: &str) -> bool {
        self.keys.lock().contains_key(endpoint)
    }

    /// Drops those that no endpoint has taken up.
    pub(super) fn drop_keys(&self) {
        for (endpoint, kept) in std::mem::take(&mut *self.keys.lock()) {
            let keys = kept.len();
            tracing::warn!(%endpoint, keys, "the configuration has no place for them any more: keys that programs held are released");
            self.forget_keys(&endpoint);
        }
    }

    /// Drops what the store has of an endpoint's keys.
    pub(super) fn forget_keys(&self, endpoint: &Arc<str>) {
        if let Standing::Open(store) = self.standing() {
            store.submit(Op::ForgetKeys(Arc::clone(endpoint)), None);
        }
    }

    /// Carries out an op and waits for the disk; answers with how many messages, letters or entries it concerned.
    pub(super) async fn carry_out(&self, op: Op) -> Result<u64, WriteError> {
        match self.standing() {
            Standing::Open(store) => store.write(op).await,
            Standing::Unused | Standing::Failed(_) => Err(WriteError::Closed),
        }
    }

    /// Writes what is under way and closes the store. `sealed` are the cursors of the last entries of inboxes that are complete.
    pub(super) async fn close(&self, sealed: BTreeMap<Arc<str>, u64>) {
        if let Standing::Open(store) = self.standing() {
            store.close(sealed).await;
        }
    }

    /// Hands over an op; never waits.
    pub(super) fn submit(&self, op: Op, done: store::Done) {
        match self.standing() {
            Standing::Open(store) => store.submit(op, Some(done)),
            Standing::Unused | Standing::Failed(_) => done(Err(WriteError::Closed)),
        }
    }

    fn failed(&self, error: &(dyn std::error::Error + Send + Sync)) -> Vec<DeadLetter> {
        let why: Arc<str> = match error.source() {
            Some(source) => format!("{error}: {source}").into(),
            None => error.to_string().into(),
        };
        tracing::error!(error = %why, "the store cannot be used: durable endpoints take no messages");
        *self.standing.write() = Standing::Failed(why);
        Vec::new()
    }

    fn recover(self: &Arc<Self>, recovered: store::Recovered) {
        *self.inboxes.lock() = recovered.inboxes;
        *self.variables.lock() = recovered.variables;
        *self.cursors.lock() = recovered.cursors;
        *self.keys.lock() = recovered.keys;
        let mut unknown = Vec::new();
        for kept in recovered.receipts {
            if kept.receipt.state == State::Written {
                unknown.push((kept.receipt.clone(), kept.receipt.generation));
            }
            self.receipts.restore(kept.receipt, Some(kept.keep_until), kept.claim);
        }
        for record in recovered.messages {
            let receipt = Receipt {
                id: record.id,
                endpoint: Arc::clone(&record.endpoint),
                link: record.link,
                state: State::Stored,
                bytes: record.payload.len() as u64,
                accepted_at: record.accepted_at,
                updated_at: record.accepted_at,
                generation: None,
                end_reason: None,
            };
            let claim = record.idempotency_key.clone().map(|key| (key, record.accepted_at.later(CLAIM)));
            self.receipts.restore(receipt.clone(), None, claim);
            if record.marked {
                unknown.push((receipt, None));
            } else {
                self.waiting().entry((Arc::clone(&record.endpoint), record.link)).or_default().push(record);
            }
        }
        // They were under way, at most once, when the daemon ended without a word.
        for (Receipt { id, endpoint, link, .. }, generation) in unknown {
            *self.crashed.lock().entry((endpoint, link)).or_default() += 1;
            self.settle(id, (State::Unknown, Some(EndReason::Crash)), generation);
        }
    }

    fn standing(&self) -> Standing {
        self.standing.read().clone()
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock()
    }
}

#[cfg(test)]
mod tests;
