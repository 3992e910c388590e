//! An endpoint at work: its configuration in force, its links' slots and tasks, its inbox.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::SystemTime,
};

#[cfg(test)]
use std::{
    io,
    net::{IpAddr, SocketAddr},
};

use parking_lot::{Mutex, MutexGuard, RwLock};
#[cfg(test)]
use tokio::sync::watch;
use tokio::time::Instant;

use super::{
    allowance::Counting,
    bucket::EndpointBucket,
    inbox_writer::InboxWriter,
    listeners::Listeners,
    owned::LinkTask,
    slot::{BEST, Sinks, Slot},
    view::{EndpointView, Totals},
};
#[cfg(test)]
use crate::link::BoxFuture;
use crate::{
    clock::Calendar,
    endpoint::{Endpoint, file::FileMarks},
    link::{Aside, Memory, Order, Provider, SharedCarriers, Source},
    observer::EndpointObserver,
};
use wskeeper_core::{budget::Account, phase::Phase};

/// An endpoint at work.
#[derive(Debug)]
pub(super) struct EndpointRuntime {
    pub(super) name: Arc<str>,
    pub(super) sinks: Arc<Sinks>,
    pub(super) observer: Arc<dyn EndpointObserver>,
    provider: Arc<dyn Provider>,
    /// When an earlier life of the daemon heard its links last, as far as a durable inbox tells.
    pub(super) heard_until: BTreeMap<u32, SystemTime>,
    config: RwLock<Arc<Endpoint>>,
    /// Those of its links that are here, in the order of their numbers.
    tasks: Mutex<Vec<LinkTask>>,
    /// The numbers of links that are on their way out, and in `tasks` no more.
    ending: Mutex<BTreeSet<u32>>,
    /// The highest number of a connection of links that were here and are not, by their own numbers.
    left: Mutex<BTreeMap<u32, u64>>,
    /// Whose turn it is among links that are as good as each other.
    turn: AtomicUsize,
    /// Where messages of its links are paced together.
    pub(super) bucket: Mutex<Option<Arc<EndpointBucket>>>,
    /// What its attempts are counted by, where they are.
    pub(super) counting: Mutex<Option<Box<Counting>>>,
    /// Where its links do what may block.
    aside: Aside,
    /// How the files were that the last attempt read its credentials from.
    read: Mutex<FileMarks>,
    /// What its links remember of servers, those that do, by their numbers.
    memories: Mutex<BTreeMap<u32, Arc<Memory>>>,
    /// The tasks of its links are to rest for ever.
    #[cfg(any(test, debug_assertions))]
    pub(super) is_wedged: std::sync::atomic::AtomicBool,
    /// Writes the inbox to disk, where it is durable.
    inbox_writer: Mutex<Option<InboxWriter>>,
    /// So many attempts to come are to panic.
    #[cfg(test)]
    pub(super) faults: std::sync::atomic::AtomicU32,
}

impl Sinks {
    /// Local consumers of the inbox and of its streams.
    pub(super) fn readers(&self) -> usize {
        self.inbox.readers() + self.streams.readers()
    }

    /// Ends all reading, once what is there has been read.
    pub(super) fn close(&self) {
        self.inbox.close();
        self.streams.close();
    }
}

impl Source for EndpointRuntime {
    /// As an attempt reads it, in the link's own task.
    fn endpoint(&self) -> Arc<Endpoint> {
        #[cfg(test)]
        {
            use std::sync::atomic::Ordering::SeqCst;
            let faulty = self.faults.fetch_update(SeqCst, SeqCst, |left| left.checked_sub(1)).is_ok();
            assert!(!faulty, "a fault that a test asked for");
        }
        self.config()
    }

    fn aside(&self) -> Aside {
        self.aside.clone()
    }

    fn calendar(&self) -> Calendar {
        self.sinks.calendar.clone()
    }

    fn carriers(&self) -> Arc<SharedCarriers> {
        Arc::clone(self.sinks.carriers.get_or_init(Arc::default))
    }

    fn account(&self) -> Option<Arc<Account>> {
        Some(Arc::clone(&self.sinks.account))
    }

    fn note(&self, marks: FileMarks) {
        *self.read.lock() = marks;
    }

    fn memory(&self, link: u32, begin: bool) -> Option<Arc<Memory>> {
        let mut memories = self.memories.lock();
        if begin { Some(Arc::clone(memories.entry(link).or_default())) } else { memories.get(&link).cloned() }
    }

    fn provider(&self) -> Arc<dyn Provider> {
        Arc::clone(&self.provider)
    }

    #[cfg(test)]
    fn resolve(&self, host: &str, port: u16) -> BoxFuture<io::Result<Vec<SocketAddr>>> {
        if let Ok(ip) = host.parse() {
            return Box::pin(std::future::ready(Ok(vec![SocketAddr::new(ip, port)])));
        }
        let mut name = NAME.with(watch::Sender::subscribe);
        Box::pin(async move {
            let found = name.wait_for(Option::is_some).await.map_err(io::Error::other)?;
            Ok(found.iter().map(|ip| SocketAddr::new(*ip, port)).collect())
        })
    }
}

#[cfg(test)]
thread_local! {
    /// Where every name leads in the tests of this thread; `None`: its resolver hangs.
    pub(super) static NAME: watch::Sender<Option<IpAddr>> = watch::Sender::new(None);
}

impl EndpointRuntime {
    pub(super) fn new(
        config: Arc<Endpoint>,
        sinks: Arc<Sinks>,
        (observer, provider): (Arc<dyn EndpointObserver>, Arc<dyn Provider>),
        heard_until: BTreeMap<u32, SystemTime>,
    ) -> Self {
        let (name, bucket) = (Arc::clone(&config.name), Mutex::new(EndpointBucket::of(config.pacing)));
        Self {
            name,
            sinks,
            observer,
            provider,
            heard_until,
            config: RwLock::new(config),
            tasks: Mutex::new(Vec::new()),
            ending: Mutex::default(),
            left: Mutex::default(),
            turn: AtomicUsize::new(0),
            bucket,
            counting: Mutex::default(),
            aside: Aside::default(),
            read: Mutex::default(),
            memories: Mutex::default(),
            #[cfg(any(test, debug_assertions))]
            is_wedged: false.into(),
            inbox_writer: Mutex::default(),
            #[cfg(test)]
            faults: 0.into(),
        }
    }

    pub(super) fn config(&self) -> Arc<Endpoint> {
        Arc::clone(&self.config.read())
    }

    pub(super) fn set_config(&self, config: Arc<Endpoint>) {
        self.sinks.homes.follow(&config);
        let mut memories = self.memories.lock();
        memories.retain(|link, _| *link < config.max_links());
        if !config.cookies {
            memories.values().for_each(|memory| memory.clear_cookies());
        }
        drop(memories);
        *self.config.write() = config;
    }

    pub(super) fn tasks(&self) -> MutexGuard<'_, Vec<LinkTask>> {
        self.tasks.lock()
    }

    pub(super) fn ending(&self) -> MutexGuard<'_, BTreeSet<u32>> {
        self.ending.lock()
    }

    pub(super) fn left(&self) -> MutexGuard<'_, BTreeMap<u32, u64>> {
        self.left.lock()
    }

    pub(super) fn listeners(&self) -> MutexGuard<'_, Listeners> {
        self.sinks.listeners.lock()
    }

    pub(super) fn set_inbox_writer(&self, inbox_writer: InboxWriter) {
        *self.inbox_writer() = Some(inbox_writer);
    }

    pub(super) fn take_inbox_writer(&self) -> Option<InboxWriter> {
        self.inbox_writer().take()
    }

    fn inbox_writer(&self) -> MutexGuard<'_, Option<InboxWriter>> {
        self.inbox_writer.lock()
    }

    /// Entries of a durable inbox that are not on disk yet.
    pub(super) fn behind(&self) -> usize {
        self.inbox_writer().as_ref().map_or(0, |inbox_writer| inbox_writer.behind(&self.sinks.inbox))
    }

    /// Its links follow its configuration, and what they share; they `renew` their connections where it asks for new ones.
    pub(super) async fn retune(&self, renew: bool) {
        let config = self.config();
        for slot in self.slots() {
            let policy = Arc::clone(&config.link);
            let order = Order::Retune { policy, bucket: self.bucket(), allowance: self.allowance(), renew };
            // A task that has ended was told to: nothing is left to retune.
            let _ = slot.orders.send(Box::new(order)).await;
        }
    }

    /// One of those whose standing is the best: they take turns. Behind the first that is as good as any can be, none is looked at.
    pub(super) fn best_slot(&self) -> Option<Arc<Slot>> {
        let tasks = self.tasks();
        let best = match &tasks[..] {
            [] => return None,
            [only] => only,
            tasks => {
                let first = self.turn.fetch_add(1, Ordering::Relaxed) % tasks.len();
                let (before, from) = tasks.split_at(first);
                let is_any_ready = self.sinks.ready.load(Ordering::Relaxed) > 0;
                let enough = if is_any_ready { BEST.0 } else { BEST.1 };
                let mut best = (u64::MAX, from.first()?);
                for task in from.iter().chain(before) {
                    let standing = task.slot.standing();
                    if standing < best.0 {
                        best = (standing, task);
                    }
                    if standing <= enough {
                        break;
                    }
                }
                best.1
            }
        };
        Some(Arc::clone(&best.slot))
    }

    pub(super) fn totals(&self) -> Totals {
        let mut totals = Totals {
            inbox_cursor: self.sinks.inbox.cursor(),
            consumers: self.sinks.readers() as u64,
            subscriptions: self.sinks.subscriptions.counts(),
            budget: self.attempts(),
            ..Totals::default()
        };
        for task in self.tasks().iter() {
            let load = task.slot.load();
            if let Some(place) = Phase::ALL.iter().position(|phase| *phase == load.phase) {
                totals.phases[place] += 1;
            }
            totals.asleep += u32::from(load.is_asleep);
            totals.buffered_amount += load.buffered_amount;
            totals.queued_messages += load.queued_messages;
        }
        totals
    }

    /// How many cookies a link keeps, where its endpoint has them kept.
    pub(super) fn cookies(&self, link: u32) -> Option<usize> {
        let memories = self.memories.lock();
        self.config().cookies.then(|| memories.get(&link).map_or(0, |memory| memory.cookies()))
    }

    /// Whether a link of it is parked.
    pub(super) fn has_parked(&self) -> bool {
        self.tasks().iter().any(|task| task.slot.load().phase == Phase::Parked)
    }

    /// How its files are, where they are not as the last attempt found them.
    pub(super) async fn changed_files(&self) -> Option<FileMarks> {
        let files = self.config().credential_files();
        if files.is_empty() {
            return None;
        }
        let marks = self.aside.run(move || FileMarks::of(&files)).await.ok()?;
        (*self.read.lock() != marks).then_some(marks)
    }

    pub(super) fn view(&self) -> EndpointView {
        EndpointView { config: self.config(), totals: self.totals() }
    }

    /// Messages that a stop now would leave unsent, or sent and unconfirmed where that is not enough.
    pub(super) fn open_messages(&self) -> u64 {
        self.slots().iter().map(|slot| slot.load()).map(|load| load.queued_messages + load.unconfirmed).sum()
    }

    /// Whether something is queued that may still leave before `deadline`, or a confirmation may still come.
    pub(super) fn can_flush(&self, deadline: Instant) -> bool {
        self.slots().iter().any(|slot| {
            let load = slot.load();
            let waits_for_proof = load.unconfirmed > 0 && load.phase == Phase::Ready;
            waits_for_proof
                || load.queued_messages > 0
                    && match load.phase {
                        Phase::Connecting | Phase::Opening | Phase::Ready => true,
                        Phase::Waiting => load.next_attempt_at.is_none_or(|at| {
                            at.duration_since(self.sinks.calendar.now()).unwrap_or_default()
                                < deadline.saturating_duration_since(Instant::now())
                        }),
                        // It is about to wake.
                        Phase::Paused => load.is_asleep,
                        Phase::Closing | Phase::Parked => false,
                    }
        })
    }
}
