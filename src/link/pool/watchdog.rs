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
    rest::Soundness,
    slot::Slot,
    wedged::{LastLook, Wedged},
};
use crate::{link::Order, pace};
use wskeeper_core::event::LinkId;

#[cfg(test)]
mod tests;

/// Links that are asked at one look; the next look asks the next ones.
const ASKED: usize = 128;
/// A step of a reload may take this and the longest `close_timeout`.
const STEP: Duration = Duration::from_mins(2);

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
                    Soundness::Well => {}
                    Soundness::Overdue(late) => return Err(Wedged::Overdue(id.clone(), late)),
                    Soundness::Adrift => return Err(Wedged::Adrift(id.clone(), rest.phase, rest.reason)),
                    Soundness::AsksToBeLetIn if known.get_or_init(|| inner.parts.admission.waiting()).contains(id) => {}
                    // It may have been let in this very moment: then it has moved by the next look.
                    Soundness::AsksToBeLetIn if self.missed.get(id) != Some(&rest.since) => {
                        missed.insert(id.clone(), rest.since);
                    }
                    Soundness::AsksToBeLetIn => return Err(Wedged::Forgotten(id.clone())),
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
