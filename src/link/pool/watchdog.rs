//! Whether every link rests as the first invariant allows, and whether those who hold the links still answer.
//!
//! Every link is connected, has a timer armed, waits for admission, or is parked or paused with a reason. What a link shows is
//! held against the clock, so ten thousand of them cost no question; a few at a time are asked too, in turn, because a task
//! that rests without a timer could be dead and look the same.
//!
//! What a reader would get wrong: a fault is no verdict on a peer. A link that is down and waits is well; one whose deadline
//! passed long ago without anything done is not, whatever its phase.

use std::{
    cell::OnceCell,
    collections::BTreeMap,
    fmt,
    sync::Arc,
    time::{Duration, Instant},
};

use futures_util::future::join_all;
use tokio::{
    sync::oneshot,
    time::{sleep, timeout},
};

use super::{
    handle::{Inner, Pool},
    slot::Slot,
};
use crate::{link::Order, pace};
use wskeeper_core::{
    event::LinkId,
    link::Link,
    phase::{Phase, Reason},
};

#[cfg(test)]
mod tests;

/// Links that are asked at one look; the next look asks the next ones.
const ASKED: usize = 128;
/// A step of a reload may take this and the longest `close_timeout`.
const STEP: Duration = Duration::from_mins(2);

/// How a link rests, as it shows it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rest {
    phase: Phase,
    reason: Reason,
    /// The next thing that it will do by itself.
    due: Option<Instant>,
    /// Since when all this is so.
    since: Instant,
}

impl Rest {
    /// The rest of a link whose task is to begin.
    pub(super) fn beginning() -> Self {
        let now = now();
        Self { phase: Phase::Waiting, reason: Reason::Starting, due: Some(now), since: now }
    }

    /// Brings it up to date.
    pub(super) fn follow(&mut self, link: &Link, now: Instant) {
        let due = link.poll_timeout().map(|(at, _)| at);
        if (self.phase, self.reason, self.due) != (link.phase(), link.reason(), due) {
            *self = Self { phase: link.phase(), reason: link.reason(), due, since: now };
        }
    }

    /// What the first invariant says of it. Less than `tolerance` is forgiven: it may be a moment between two states.
    fn judge(self, now: Instant, tolerance: Duration) -> Verdict {
        let Self { phase, reason, due, since } = self;
        if let Some(due) = due {
            let late = now.saturating_duration_since(due);
            return if late > tolerance { Verdict::Overdue(late) } else { Verdict::Well };
        }
        if now.saturating_duration_since(since) <= tolerance {
            return Verdict::Well;
        }
        match (phase, reason) {
            (Phase::Paused, _) => Verdict::Well,
            (Phase::Waiting, Reason::Admission) => Verdict::AsksToBeLetIn,
            (
                Phase::Waiting | Phase::Connecting | Phase::Opening | Phase::Ready | Phase::Closing | Phase::Parked,
                _,
            ) => Verdict::Adrift,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Well,
    Overdue(Duration),
    Adrift,
    /// Well, as long as admission knows of it.
    AsksToBeLetIn,
}

/// What is wrong with the daemon itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wedged {
    /// A deadline passed so long ago, and nothing was done.
    Overdue(LinkId, Duration),
    /// No timer is armed, and none of the allowed reasons is there.
    Adrift(LinkId, Phase, Reason),
    /// It waits for an admission that it has not asked for.
    Forgotten(LinkId),
    /// Its task has ended, and the link has not.
    Ended(LinkId),
    /// Its task does not answer.
    Deaf(LinkId),
    /// A task that serves all links has ended.
    Servant(&'static str),
    /// A reload, or an operator's change of the store, has not moved for so long.
    Reload(Duration),
}

impl fmt::Display for Wedged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Overdue(link, late) => write!(f, "{link} should have acted {} s ago", late.as_secs()),
            Self::Adrift(link, phase, reason) => write!(f, "{link} is {phase} ({reason}) with no timer armed"),
            Self::Forgotten(link) => write!(f, "{link} waits for an admission that nobody will give"),
            Self::Ended(link) => write!(f, "the task of {link} has ended"),
            Self::Deaf(link) => write!(f, "the task of {link} does not answer"),
            Self::Servant(name) => write!(f, "the task that {name} has ended"),
            Self::Reload(since) => write!(f, "a change of the pool has not moved for {} s", since.as_secs()),
        }
    }
}

/// Looks at a pool again and again, and remembers where it was.
#[derive(Debug)]
pub struct Watchdog {
    pool: Pool,
    tolerance: Duration,
    next: usize,
    /// Links that admission did not know of at the last look, and since when they wait.
    missed: BTreeMap<LinkId, Instant>,
    /// The last step of a change that is under way, and when it was first seen.
    step: Option<(u64, Instant)>,
}

/// The outcome of the last look.
#[derive(Debug)]
pub(super) struct LastLook {
    at: Instant,
    /// A look must follow within this.
    within: Duration,
    wedged: Option<Wedged>,
}

impl Pool {
    /// Somebody who looks whether the pool is well. What is late by less than `tolerance` is forgiven, and an answer waited
    /// for as long: a busy machine is no fault.
    pub fn watchdog(&self, tolerance: Duration) -> Watchdog {
        Watchdog { pool: self.clone(), tolerance, next: 0, missed: BTreeMap::new(), step: None }
    }

    /// What is wrong with the daemon itself by the last look, or that nobody looks any more. Before the first look all is well.
    pub fn wedged(&self) -> Option<String> {
        let watchdog = self.inner.watchdog.lock();
        let LastLook { at, within, wedged } = watchdog.as_ref()?;
        let age = now().saturating_duration_since(*at);
        let is_stale = age > *within && !pace::resumed_within(*within);
        wedged
            .as_ref()
            .map(ToString::to_string)
            .or_else(|| is_stale.then(|| format!("the daemon has not looked after its links for {} s", age.as_secs())))
    }
}

impl Watchdog {
    /// Looks once.
    pub async fn examine(&mut self) -> Result<(), Wedged> {
        let outcome = loop {
            let outcome = self.look().await;
            if outcome.is_ok() || !pace::resumed_within(self.tolerance) {
                break outcome;
            }
            // The whole process had been stopped: what fell due meanwhile gets a moment to be done.
            self.step = None;
            self.missed.clear();
            sleep(self.tolerance / 4).await;
        };
        let watchdog = LastLook { at: now(), within: self.tolerance * 6, wedged: outcome.clone().err() };
        *self.pool.inner.watchdog.lock() = Some(watchdog);
        outcome
    }

    async fn look(&mut self) -> Result<(), Wedged> {
        let now = now();
        let inner = &self.pool.inner;
        if let Some((name, _)) = inner.servants.iter().find(|(_, task)| task.is_finished()) {
            return Err(Wedged::Servant(name));
        }
        self.step = follow_step(inner, self.step, now)?;
        let asked = self.look_at_all(now)?;
        self.next = if asked.len() < ASKED { 0 } else { self.next + ASKED };
        let answers = join_all(asked.iter().map(|slot| timeout(self.tolerance, answers(slot)))).await;
        let deaf = asked.iter().zip(answers).find(|(_, answer)| answer.is_err());
        deaf.map_or(Ok(()), |(slot, _)| Err(Wedged::Deaf(slot.id.clone())))
    }

    /// Reads what every link shows; answers with those whose turn it is to be asked.
    fn look_at_all(&mut self, now: Instant) -> Result<Vec<Arc<Slot>>, Wedged> {
        let inner = &self.pool.inner;
        let (mut asked, mut number) = (Vec::new(), 0);
        let mut missed = BTreeMap::new();
        let known = OnceCell::new();
        let runtimes = inner.parts.endpoints.all();
        for runtime in runtimes {
            for task in runtime.tasks().iter() {
                let id = &task.slot.id;
                if task.handle.is_finished() {
                    return Err(Wedged::Ended(id.clone()));
                }
                let rest = task.slot.rest();
                match rest.judge(now, self.tolerance) {
                    Verdict::Well => {}
                    Verdict::Overdue(late) => return Err(Wedged::Overdue(id.clone(), late)),
                    Verdict::Adrift => return Err(Wedged::Adrift(id.clone(), rest.phase, rest.reason)),
                    Verdict::AsksToBeLetIn if known.get_or_init(|| inner.parts.admission.waiting()).contains(id) => {}
                    // It may have been let in this very moment: then it has moved by the next look.
                    Verdict::AsksToBeLetIn if self.missed.get(id) != Some(&rest.since) => {
                        missed.insert(id.clone(), rest.since);
                    }
                    Verdict::AsksToBeLetIn => return Err(Wedged::Forgotten(id.clone())),
                }
                if number >= self.next && asked.len() < ASKED {
                    asked.push(Arc::clone(&task.slot));
                }
                number += 1;
            }
        }
        self.missed = missed;
        Ok(asked)
    }
}

/// A change that is under way must take its next step in time.
fn follow_step(inner: &Inner, last: Option<(u64, Instant)>, now: Instant) -> Result<Option<(u64, Instant)>, Wedged> {
    let Some(step) = inner.supervisor.under_way() else { return Ok(None) };
    let Some((_, since)) = last.filter(|(seen, _)| *seen == step) else { return Ok(Some((step, now))) };
    let longest = inner
        .parts
        .endpoints
        .running()
        .values()
        .map(|runtime| runtime.config().link.close_timeout)
        .max()
        .unwrap_or_default();
    let still = now.saturating_duration_since(since);
    if still > STEP.saturating_add(longest) { Err(Wedged::Reload(still)) } else { Ok(Some((step, since))) }
}

/// Waits for a word of a link's task. One that has ended meanwhile was told to, by a change of the configuration.
async fn answers(slot: &Slot) {
    let (reply, answer) = oneshot::channel();
    if slot.orders.send(Box::new(Order::Answer(reply))).await.is_ok() {
        let _ = answer.await;
    }
}

fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}
