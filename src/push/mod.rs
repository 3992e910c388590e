//! Messages that go by themselves: each push reads an inbox by cursor, and hands what it reads to a server or to a program.
//!
//! What is decided is decided by `wskeeper_core::push`; here are the tasks around it. A push is a consumer as any other is: what it has
//! not taken holds up nobody, and what the inbox has let go meanwhile is a gap that its receiver is told of.
//!
//! What a reader would get wrong: a push is no part of a pool's endpoint. A change of one restarts its task and touches no link.

mod bridge;
mod hook;
mod nats;
mod outlet;
mod parcel;
mod program;
mod sign;
mod task;
mod view;
mod words;

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use futures_util::future::join_all;
use parking_lot::Mutex;
use tokio::{sync::watch, task::JoinHandle, time::Instant};
use wskeeper_link::{
    clock::Moment,
    hub::{Entry, From},
    pool::{Pool, local::Lag},
};

use self::{task::Pushing, view::Board};
use crate::{
    config::{ConfiguredEndpoint, bridge::Bridge, push::Push},
    observe::{Families, PushNumbers},
};

pub use view::PushView;

/// What a push that changes gets to end an attempt that is under way.
const GRACE: Duration = Duration::from_secs(2);

/// How what a receiver is told is written, one line of JSON each.
#[derive(Debug, Clone, Copy)]
pub struct Writing {
    /// An entry of the inbox.
    pub entry: fn(&Entry) -> Vec<u8>,
    /// A gap of the receiver's own, of this endpoint, and the word of its kind.
    pub gap: fn(&str, Lag, &'static str) -> Vec<u8>,
}

/// All pushes. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Pushes(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    pool: Pool,
    writing: Writing,
    running: Mutex<BTreeMap<Whose, Running>>,
    /// Chance, one number for each task.
    seed: AtomicU64,
}

/// An endpoint's name and a push's.
type Whose = (Arc<str>, Arc<str>);

/// A push at work.
#[derive(Debug)]
struct Running {
    push: Push,
    is_durable: bool,
    board: Arc<Board>,
    /// When it has to have ended.
    stop: watch::Sender<Option<Instant>>,
    task: JoinHandle<()>,
}

/// Where one begins.
#[derive(Debug, Clone, Copy)]
struct Begin {
    from: From,
    /// The cursor is on disk.
    is_kept: bool,
    /// There may have been something before.
    after_restart: bool,
}

impl Pushes {
    /// None yet.
    pub fn new(pool: Pool, writing: Writing, seed: u64) -> Self {
        Self(Arc::new(Inner { pool, writing, running: Mutex::default(), seed: seed.into() }))
    }

    /// The first pushes of the daemon, which go on where an earlier life has come to.
    pub async fn start<'a>(&self, endpoints: impl Iterator<Item = (&'a Arc<str>, &'a ConfiguredEndpoint)>) {
        self.bring_to(endpoints.flat_map(wanted).collect(), None, true).await;
        let running = self.0.running.lock();
        self.0.pool.drop_cursors(|of| running.contains_key(of));
    }

    /// Follows a new configuration, which has these endpoints, once the pool does.
    pub async fn follow<'a>(&self, endpoints: impl Iterator<Item = (&'a Arc<str>, &'a ConfiguredEndpoint)>) {
        self.bring_to(endpoints.flat_map(wanted).collect(), None, false).await;
    }

    /// Follows a change of one endpoint, once the pool does; `None`: it has gone.
    pub async fn follow_one(&self, name: &Arc<str>, endpoint: Option<&ConfiguredEndpoint>) {
        let wanted: BTreeMap<_, _> = endpoint.into_iter().flat_map(|endpoint| wanted((name, endpoint))).collect();
        if !wanted.is_empty() || self.has(name) {
            self.bring_to(wanted, Some(name), false).await;
        }
    }

    /// Ends all of them: an attempt that is under way, and what is there for a receiver that is well, have until then.
    pub async fn stop(&self, deadline: Instant) {
        let all = std::mem::take(&mut *self.0.running.lock());
        join_all(all.into_values().map(|running| running.end(deadline))).await;
    }

    /// Those of an endpoint, by name: pushes, or bridges.
    pub fn of(&self, endpoint: &str, bridges: bool) -> Vec<PushView> {
        let running = self.0.running.lock();
        let own = running.iter().filter(|((of, _), _)| **of == *endpoint);
        let views = own.map(|(of, running)| self.view(of, running));
        views.filter(|view| view.broker.is_some() == bridges).collect()
    }

    /// Brings what `/metrics` shows of them up to date.
    pub fn observe(&self, families: &Families) {
        let mut numbers: BTreeMap<Arc<str>, Vec<PushNumbers>> = BTreeMap::new();
        for (of, running) in &*self.0.running.lock() {
            numbers.entry(Arc::clone(&of.0)).or_default().push(self.view(of, running).numbers());
        }
        families.show_pushes(&numbers);
    }

    fn view(&self, (endpoint, name): &Whose, running: &Running) -> PushView {
        let (push, shown) = (&running.push, running.board.read());
        let behind = self.0.pool.behind(endpoint, push.stream.as_deref(), shown.read).unwrap_or_default();
        PushView::of(name, push, running.is_durable, shown, behind)
    }

    /// Whether an endpoint has one.
    fn has(&self, endpoint: &Arc<str>) -> bool {
        let first = (Arc::clone(endpoint), Arc::from(""));
        self.0.running.lock().range(first..).next().is_some_and(|((of, _), _)| of == endpoint)
    }

    /// Brings those of `only` this endpoint, or all, to what is wanted.
    async fn bring_to(&self, wanted: BTreeMap<Whose, (Push, bool)>, only: Option<&str>, is_start: bool) {
        let is_over = |of: &Whose, running: &mut Running| {
            let is_same = |(push, durable): &(Push, bool)| *push == running.push && *durable == running.is_durable;
            only.is_none_or(|only| *of.0 == *only) && !wanted.get(of).is_some_and(is_same)
        };
        let changed: BTreeMap<_, _> = self.0.running.lock().extract_if(.., is_over).collect();
        let deadline = Instant::now().later(GRACE);
        let ended = join_all(changed.into_iter().map(|(of, running)| async move {
            let (board, stream, was_durable) =
                (Arc::clone(&running.board), running.push.stream.clone(), running.is_durable);
            running.end(deadline).await;
            (of, (board.read().cursor, stream, was_durable))
        }))
        .await;
        let ended: BTreeMap<Whose, _> = ended.into_iter().collect();
        for (of, (_, _, was_durable)) in &ended {
            if *was_durable && !wanted.get(of).is_some_and(|(_, durable)| *durable) {
                self.0.pool.forget_cursor(of.clone());
            }
        }
        for (of, (push, is_durable)) in wanted {
            if self.0.running.lock().contains_key(&of) {
                continue;
            }
            let before = ended.get(&of).filter(|(_, stream, _)| *stream == push.stream).map(|(cursor, _, _)| *cursor);
            let kept = || if is_durable { self.0.pool.take_cursor(&of.0, &of.1) } else { None };
            let begin = match before {
                Some(cursor) => Begin { from: From::After(cursor), is_kept: false, after_restart: false },
                None => match kept() {
                    Some(cursor) => Begin { from: From::After(cursor), is_kept: true, after_restart: false },
                    // What came since the start of the daemon is there still.
                    None if is_start && !is_durable => {
                        Begin { from: From::Oldest, is_kept: false, after_restart: true }
                    }
                    None => Begin { from: From::Latest, is_kept: false, after_restart: false },
                },
            };
            self.begin(of, push, is_durable, begin);
        }
    }

    fn begin(&self, of: Whose, push: Push, is_durable: bool, begin: Begin) {
        let inner = &self.0;
        let seed = inner.seed.fetch_add(1, Ordering::Relaxed);
        let (stop, stopping) = watch::channel(None);
        let board = Arc::<Board>::default();
        let made =
            Pushing::new(&inner.pool, &of, (&push, is_durable), (begin, seed), (inner.writing, Arc::clone(&board)));
        let Some(task) = made else {
            let (endpoint, push) = &of;
            tracing::error!(%endpoint, %push, "a push has nothing to read");
            return;
        };
        let task = tokio::spawn(task.run(stopping));
        inner.running.lock().insert(of, Running { push, is_durable, board, stop, task });
    }
}

impl Running {
    async fn end(mut self, deadline: Instant) {
        self.stop.send_replace(Some(deadline));
        // It ends by itself; one that does not is not waited for.
        if tokio::time::timeout_at(deadline.later(GRACE), &mut self.task).await.is_err() {
            self.task.abort();
        }
    }
}

/// Whose each push of an endpoint is, the push, and whether its cursor is kept.
fn wanted<'a>(
    (name, endpoint): (&'a Arc<str>, &'a ConfiguredEndpoint),
) -> impl Iterator<Item = (Whose, (Push, bool))> + use<'a> {
    let durable = endpoint.inbox.durable;
    let bridges = endpoint.bridges.iter().map(|Bridge::Out(push)| push);
    endpoint
        .push
        .iter()
        .chain(bridges)
        .map(move |push| ((Arc::clone(name), Arc::clone(&push.name)), (push.clone(), durable && push.stream.is_none())))
}
