//! The loop of one push: it reads, has what is due carried, keeps the cursor, and waits in one place.
//!
//! What a reader would get wrong: nothing half done lives in a future that may be dropped. The attempt under way has the outlet, and stands
//! in a field until it has ended; so a stop waits for it, up to its deadline.

use std::{future::Future, pin::Pin, sync::Arc, time::Duration};

use futures_util::FutureExt as _;
use tokio::{
    sync::watch,
    time::{Instant, sleep_until, timeout_at},
};
use wskeeper_core::{
    budget::{Lease, Rank},
    push::{Courier, Gap, GapKind, State, Verdict},
};
use wskeeper_link::{
    clock::Moment,
    hub::{Entry, From, Item},
    pool::{
        Pool,
        local::{Consumer, EventType, Lag, Told, Wish},
    },
    store::WriteError,
};

use super::{
    Begin, Whose, Writing,
    bridge::Publisher,
    hook::Hook,
    outlet::{Carried, Consignment, Fate, Outlet},
    parcel::ParcelTerms,
    program::Program,
    view::Board,
};
use crate::config::push::{Push, PushBody, PushTo};

/// What a push waits for room in the budget.
const PAUSE: Duration = Duration::from_millis(100);
/// What a gap, or what is no message, counts as.
const SMALL: usize = 256;

type Attempt = Pin<Box<dyn Future<Output = (Outlet, Carried)> + Send>>;
type Keep = Pin<Box<dyn Future<Output = Result<(), WriteError>> + Send>>;

/// A push at work.
pub(super) struct Pushing {
    pool: Pool,
    whose: Whose,
    push: Push,
    is_durable: bool,
    writing: Writing,
    board: Arc<Board>,
    consumer: Consumer,
    courier: Courier<Arc<Entry>>,
    /// What is read and not taken, and its text.
    lease: Lease,
    supply: Supply,
    /// Where the outlet is: here, or in the attempt.
    outlet: Option<Outlet>,
    attempt: Option<Attempt>,
    keep: Option<Keep>,
    is_failing: bool,
}

/// Whether there is more to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Supply {
    Open,
    /// There is no room for it in the budget now.
    Short,
    /// Nothing comes any more.
    Over,
}

/// What woke the loop.
enum Woken {
    Stop(Option<Instant>),
    Carried(Outlet, Carried),
    Kept(Result<(), WriteError>),
    Read(Option<Told>),
    Receiver(Fate),
    Timer,
}

impl Pushing {
    /// `None`: there is nothing to read.
    pub(super) fn new(
        pool: &Pool,
        whose: &Whose,
        (push, is_durable): (&Push, bool),
        (begin, seed): (Begin, u64),
        (writing, board): (Writing, Arc<Board>),
    ) -> Option<Self> {
        let wish = Wish {
            from: begin.from,
            types: Some(vec![EventType::Message]),
            link: None,
            stream: push.stream.as_deref().map(Into::into),
            filter: push.filter.clone(),
            close_on_lag: false,
            // It is always there: a lazy link would never sleep.
            wakes: false,
        };
        let consumer = Consumer::of(pool, &whose.0, wish)?;
        let begins = consumer.position();
        // A cursor that was never given here, by a clock that was set back, is none to go on from.
        let is_kept = begin.is_kept && begin.from == From::After(begins);
        let now = Instant::now().into_std();
        let mut courier = Courier::new(push.policy.clone(), (begins, is_kept), seed, now);
        if begin.after_restart {
            courier.gap(Gap { kind: GapKind::Restart, missed: None, from: begins, to: begins });
        }
        let outlet = match &push.to {
            PushTo::Http(http) => {
                let hook = Hook::new((**http).clone(), push.timeout, pool.clone(), Arc::clone(&whose.0));
                Outlet::Hook(Box::new(hook))
            }
            PushTo::Command(arguments) => {
                Outlet::Program(Box::new(Program::new(arguments.clone(), push.timeout, whose.clone())))
            }
            PushTo::Broker(to) => {
                let publisher = Publisher::new((**to).clone(), push.timeout, pool.clone(), whose.clone(), writing);
                Outlet::Broker(Box::new(publisher))
            }
        };
        Some(Self {
            pool: pool.clone(),
            whose: whose.clone(),
            push: push.clone(),
            is_durable,
            writing,
            board,
            consumer,
            courier,
            lease: pool.budget().lease(Rank::Leaving),
            supply: Supply::Open,
            outlet: Some(outlet),
            attempt: None,
            keep: None,
            is_failing: false,
        })
    }

    /// Works until it is stopped, or there is nothing more to come.
    pub(super) async fn run(mut self, mut stop: watch::Receiver<Option<Instant>>) {
        let mut ending: Option<(Instant, u64)> = None;
        loop {
            self.read_on();
            self.begin_attempt();
            self.begin_keep();
            self.show();
            if self.is_over(ending) {
                break;
            }
            match self.wait(&mut stop, ending.map(|(deadline, _)| deadline)).await {
                Woken::Stop(deadline) => {
                    let unread = self.pool.behind(&self.whose.0, self.push.stream.as_deref(), self.consumer.position());
                    let target = self.consumer.position().saturating_add(unread.unwrap_or_default() as u64);
                    ending = Some((deadline.unwrap_or_else(Instant::now), target));
                }
                Woken::Carried(outlet, carried) => self.carried(outlet, carried),
                Woken::Kept(outcome) => self.kept(&outcome),
                Woken::Read(read) => self.read(read),
                Woken::Receiver(Fate::Well) => {
                    self.courier.well();
                    self.well();
                }
                Woken::Receiver(Fate::Lost(why)) => {
                    self.courier.lost(now());
                    self.failed(&why);
                }
                Woken::Timer if self.supply == Supply::Short => self.supply = Supply::Open,
                Woken::Timer => {}
            }
        }
        let deadline = ending.map_or_else(Instant::now, |(deadline, _)| deadline);
        self.finish(deadline).await;
    }

    async fn wait(&mut self, stop: &mut watch::Receiver<Option<Instant>>, ending: Option<Instant>) -> Woken {
        let reads = self.courier.wants() && self.supply == Supply::Open;
        let timer = self.courier.poll_timeout().map(Instant::from_std);
        let timer = timer
            .into_iter()
            .chain((self.supply == Supply::Short).then(|| Instant::now().later(PAUSE)))
            .chain(ending)
            .min();
        let is_reading = self.courier.state() == State::Reading;
        let Self { attempt, keep, outlet, consumer, .. } = self;
        tokio::select! {
            biased;
            deadline = stopped(stop), if ending.is_none() => Woken::Stop(deadline),
            (outlet, carried) = under_way(attempt) => Woken::Carried(outlet, carried),
            outcome = under_way(keep) => Woken::Kept(outcome),
            read = consumer.next_or_passed(), if reads => Woken::Read(read),
            fate = fate(outlet), if is_reading => Woken::Receiver(fate),
            () = until(timer) => Woken::Timer,
        }
    }

    /// Takes what is there already.
    fn read_on(&mut self) {
        while self.courier.wants() && self.supply == Supply::Open {
            let Some(read) = self.consumer.next_or_passed().now_or_never() else { return };
            self.read(read);
        }
    }

    fn read(&mut self, read: Option<Told>) {
        match read {
            Some(Told::Entry(entry)) => self.take(entry),
            Some(Told::Gap(Lag { missed, from, to }) | Told::Lagged(Lag { missed, from, to })) => {
                let kind = if missed.is_some() { GapKind::Lag } else { GapKind::Restart };
                self.courier.gap(Gap { kind, missed, from, to });
            }
            Some(Told::Gone) => self.supply = Supply::Over,
            None => self.courier.pass(self.consumer.position()),
        }
    }

    fn take(&mut self, entry: Arc<Entry>) {
        let cursor = entry.cursor;
        if matches!(entry.item, Item::LinkGap { .. }) && self.push.body == PushBody::Message {
            self.courier.gap(Gap { kind: GapKind::Link, missed: None, from: cursor, to: cursor });
            return;
        }
        let bytes = entry.item.message_len().unwrap_or(SMALL);
        // It, and its text.
        let held = (self.courier.waiting_bytes().saturating_add(bytes) as u64).saturating_mul(2);
        if self.lease.resize(held) {
            self.courier.take(cursor, bytes, entry);
        } else {
            self.consumer.put_back();
            self.supply = Supply::Short;
        }
    }

    fn begin_attempt(&mut self) {
        let Some(outlet) = self.outlet.take() else { return };
        self.attempt = None;
        match self.courier.poll_batch(now()) {
            Some(batch) => {
                let terms = ParcelTerms { body: self.push.body, whose: self.whose.clone(), writing: self.writing };
                self.attempt = Some(Box::pin(outlet.carry(Consignment::of(&batch, terms))));
            }
            None => self.outlet = Some(outlet),
        }
    }

    fn begin_keep(&mut self) {
        if !self.is_durable || self.keep.is_some() {
            return;
        }
        if let Some(cursor) = self.courier.poll_keep(now()) {
            self.keep = Some(Box::pin(self.pool.keep_cursor(self.whose.clone(), cursor)));
        }
    }

    fn carried(&mut self, outlet: Outlet, Carried { taken, verdict, why }: Carried) {
        self.attempt = None;
        self.outlet = Some(outlet);
        let before = self.courier.counts();
        self.courier.answered(now(), taken, verdict);
        // Never more than is held.
        let _ = self.lease.resize((self.courier.waiting_bytes() as u64).saturating_mul(2));
        if self.courier.counts().delivered > before.delivered {
            let at = self.pool.calendar().now();
            self.board.change(|shown| shown.delivered_at = Some(at));
        }
        match why {
            Some(why) => self.failed(&why),
            None if verdict == Verdict::Taken => self.well(),
            None => {}
        }
    }

    fn failed(&mut self, why: &str) {
        let at = self.pool.calendar().now();
        self.board.change(|shown| {
            shown.error = Some((why.into(), at));
            shown.failing_since.get_or_insert(at);
        });
        let ((endpoint, push), what) = (&self.whose, self.push.what());
        let is_stopped = self.courier.state() == State::Stopped;
        if is_stopped {
            tracing::error!(%endpoint, %push, why, "a {what} has stopped: its receiver wants nothing more, or has refused a message");
        } else if !std::mem::replace(&mut self.is_failing, true) {
            tracing::warn!(%endpoint, %push, why, "a {what} is not taken by its receiver; it is tried again");
        }
    }

    fn well(&mut self) {
        self.board.change(|shown| shown.failing_since = None);
        if std::mem::take(&mut self.is_failing) {
            let ((endpoint, push), what) = (&self.whose, self.push.what());
            let skipped = self.courier.counts().skipped;
            tracing::info!(%endpoint, %push, skipped, "the receiver of a {what} is there again");
        }
    }

    fn kept(&mut self, outcome: &Result<(), WriteError>) {
        self.keep = None;
        self.courier.kept(now(), outcome.is_ok());
        let why = outcome.as_ref().err().map(|error| Arc::<str>::from(error.to_string()));
        let mut was_well = false;
        self.board.change(|shown| {
            was_well = shown.unkept.is_none();
            shown.unkept.clone_from(&why);
        });
        let ((endpoint, push), what) = (&self.whose, self.push.what());
        match why {
            Some(why) if was_well => {
                tracing::warn!(%endpoint, %push, %why, "the cursor of a {what} is not on disk: after a restart its receiver gets messages again");
            }
            None if !was_well => tracing::info!(%endpoint, %push, "the cursor of a {what} is on disk again"),
            Some(_) | None => {}
        }
    }

    fn show(&self) {
        let now = Instant::now();
        let (state, next) = match self.courier.state() {
            State::Reading => ("idle", None),
            State::Trying(_) => ("sending", None),
            State::Waiting(at) => ("waiting", Some(at)),
            State::Stopped => ("stopped", None),
        };
        let calendar = self.pool.calendar();
        let next_at = next.and_then(|at| {
            let left = at.saturating_duration_since(now.into_std());
            calendar.now().checked_add(left)
        });
        self.board.change(|shown| {
            (shown.state, shown.next_at) = (state, next_at);
            (shown.read, shown.cursor) = (self.consumer.position(), self.courier.cursor());
            (shown.waiting, shown.tries) = (self.courier.waiting_items(), self.courier.tries());
            shown.counts = self.courier.counts();
            // An attempt has the outlet with it, and says how it went.
            if let Some(outlet) = &self.outlet {
                shown.connected_since = outlet.connected_since();
            }
        });
    }

    /// A stop waits for what is under way, and for what was there where the receiver is well.
    fn is_over(&self, ending: Option<(Instant, u64)>) -> bool {
        let rests = self.attempt.is_none();
        match ending {
            Some((deadline, _)) if Instant::now() >= deadline => true,
            Some((_, target)) => {
                let is_well = self.courier.state() == State::Reading && self.supply == Supply::Open;
                rests && (!is_well || self.courier.cursor() >= target)
            }
            None => self.supply == Supply::Over && rests && self.courier.waiting_items() == 0,
        }
    }

    /// The last cursor goes to disk, and a program ends.
    async fn finish(mut self, deadline: Instant) {
        if let Some(keep) = self.keep.take() {
            match timeout_at(deadline, keep).await {
                Ok(outcome) => self.kept(&outcome),
                Err(_) => return,
            }
        }
        self.begin_keep();
        self.show();
        // Handed over, it takes place whether or not it is waited for.
        let keep = self.keep.take();
        let outlet = self.outlet.take();
        let keeping = async {
            if let Some(keep) = keep {
                drop(timeout_at(deadline, keep).await);
            }
        };
        let ending = async {
            if let Some(outlet) = outlet {
                outlet.end(deadline).await;
            }
        };
        tokio::join!(keeping, ending);
    }
}

fn now() -> std::time::Instant {
    Instant::now().into_std()
}

async fn stopped(stop: &mut watch::Receiver<Option<Instant>>) -> Option<Instant> {
    // Where nobody is left to say so, it is over.
    stop.wait_for(Option::is_some).await.map_or(None, |deadline| *deadline)
}

async fn under_way<T>(work: &mut Option<Pin<Box<dyn Future<Output = T> + Send>>>) -> T {
    match work {
        Some(work) => work.await,
        None => std::future::pending().await,
    }
}

async fn fate(outlet: &mut Option<Outlet>) -> Fate {
    match outlet {
        Some(outlet) => outlet.fate().await,
        None => std::future::pending().await,
    }
}

async fn until(moment: Option<Instant>) {
    match moment {
        Some(moment) => sleep_until(moment).await,
        None => std::future::pending().await,
    }
}
