//! When links of an endpoint go back to the URL that they would rather be at, their home.
//!
//! A link that another URL has taken in is *away*. While there is one, its home is probed, by one attempt at a time for all links that are
//! away from it. Once it has answered every probe for long enough, they are told to return, one after the other; the link itself does that
//! by a rotation, so nothing is lost on the way.
//!
//! What a reader would get wrong: a home that answers probes may still not keep links. So a link that came back and is soon away again, or
//! that could not return, makes all wait twice as long as before, up to [`LONGEST`] times; only a home that keeps them ends that.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use crate::{chance::Chance, clock::Clock};

/// Probes of a home in the time for which it has to answer.
pub const PROBES: u32 = 10;
/// Between two probes there is this at least, and at most.
const SPACING: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(30));
/// The wait for a home that does not keep its links grows to this many times what is configured.
pub const LONGEST: u32 = 32;
/// Links return over this part of the wait, at most over [`SPREAD_MAX`].
const SPREAD: u32 = 5;
/// A thousand links are back after a minute.
const SPREAD_MAX: Duration = Duration::from_mins(1);

/// Where a link is, as seen from its home.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Whereabouts {
    /// It is not ready: it will try its home by itself.
    Nowhere,
    /// It is ready at the URL that comes first for it.
    Home,
    /// It is ready at another.
    Away,
    /// It is, and makes a connection at home.
    Returning,
}

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Homing {
    /// Ask the server of this URL for a connection, as this link would, and say by [`Failback::probed`] what came of it.
    Probe {
        /// From 0.
        url: usize,
        /// As which link.
        link: u32,
    },
    /// This link may return.
    Return(u32),
}

/// What is known of the home of a link that is away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Outlook {
    /// Since when it has answered every probe.
    pub answers_since: Option<Instant>,
    /// When it has done so for long enough.
    pub returns_at: Option<Instant>,
    /// When it is probed next; `None`: it is being probed.
    pub next_probe: Option<Instant>,
    /// How long it has to answer.
    pub wait: Duration,
}

/// The links of an endpoint that are away, and their homes.
#[derive(Debug)]
pub struct Failback {
    after: Duration,
    chance: Chance,
    away: BTreeMap<u32, Away>,
    /// By the index of the URL. They outlast the absence of links, for what is known of them.
    homes: BTreeMap<usize, Home>,
    /// Links that may return, and when they do.
    going: BTreeSet<(Instant, u32)>,
}

#[derive(Debug)]
struct Away {
    home: usize,
    goes_at: Option<Instant>,
    step: Step,
}

/// How far a link has come on its way home.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Waits,
    /// It may go, and has not said that it does: it may have had something else to do.
    Told,
    Goes,
}

#[derive(Debug)]
struct Home {
    /// Links that are away from it.
    missed: usize,
    next: Instant,
    is_probed: bool,
    answers_since: Option<Instant>,
    /// How often, in a row, it has not kept those who came back.
    relapses: u32,
    /// When one came back last.
    returned: Option<Instant>,
}

impl Failback {
    /// Nobody is away. A home is to have answered for `after`.
    pub fn new(after: Duration, seed: u64) -> Self {
        let (away, homes, going) = (BTreeMap::new(), BTreeMap::new(), BTreeSet::new());
        Self { after, chance: Chance::new(seed), away, homes, going }
    }

    /// Whether any link is away.
    pub fn is_any_away(&self) -> bool {
        !self.away.is_empty()
    }

    /// Follows another configuration.
    pub fn set_after(&mut self, after: Duration) {
        self.after = after;
    }

    /// A link is there now, and its home is the URL of this index.
    pub fn note(&mut self, now: Instant, link: u32, home: usize, whereabouts: Whereabouts) {
        match whereabouts {
            Whereabouts::Away => self.leave(now, link, home),
            Whereabouts::Returning => {
                if let Some(away) = self.away.get_mut(&link) {
                    away.step = Step::Goes;
                }
            }
            Whereabouts::Home | Whereabouts::Nowhere => self.end(now, link),
        }
    }

    /// What came of a probe.
    pub fn probed(&mut self, now: Instant, url: usize, answers: bool) {
        let (spacing, wait) = (self.chance.above(self.spacing()), self.wait(url));
        let Some(home) = self.homes.get_mut(&url) else { return };
        home.is_probed = false;
        home.next = now.later(spacing);
        if !answers {
            self.call_off(url);
            return;
        }
        let since = *home.answers_since.get_or_insert(now);
        if now.saturating_duration_since(since) < wait {
            return;
        }
        let spread = (self.after / SPREAD).min(SPREAD_MAX);
        for (link, away) in &mut self.away {
            if away.home == url && (away.goes_at.is_none() || away.step == Step::Told) {
                away.step = Step::Waits;
                let at = now.later(self.chance.between(Duration::ZERO, spread));
                away.goes_at = Some(at);
                self.going.insert((at, *link));
            }
        }
    }

    /// What is to be done by now, one thing after the other.
    pub fn poll(&mut self, now: Instant) -> Option<Homing> {
        if let Some((at, link)) = self.going.first().copied().filter(|(at, _)| *at <= now) {
            self.going.remove(&(at, link));
            if let Some(away) = self.away.get_mut(&link) {
                away.step = Step::Told;
            }
            return Some(Homing::Return(link));
        }
        let is_due = |home: &Home| home.missed > 0 && !home.is_probed && home.next <= now;
        let (url, home) = self.homes.iter_mut().find(|(_, home)| is_due(home))?;
        let link = self.away.iter().find(|(_, away)| away.home == *url).map(|(link, _)| *link)?;
        home.is_probed = true;
        Some(Homing::Probe { url: *url, link })
    }

    /// When to call `poll` though nothing has happened.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let probes = self.homes.values().filter(|home| home.missed > 0 && !home.is_probed).map(|home| home.next);
        probes.chain(self.going.first().map(|(at, _)| *at)).min()
    }

    /// What is known of the home of a link that is away.
    pub fn outlook(&self, link: u32) -> Option<Outlook> {
        let away = self.away.get(&link)?;
        let home = self.homes.get(&away.home)?;
        let wait = self.wait(away.home);
        let returns_at = away.goes_at.or(home.answers_since.map(|since| since.later(wait)));
        let next_probe = (!home.is_probed).then_some(home.next);
        Some(Outlook { answers_since: home.answers_since, returns_at, next_probe, wait })
    }

    /// A link is away, still or again.
    fn leave(&mut self, now: Instant, link: u32, home: usize) {
        match self.away.get_mut(&link) {
            Some(away) if away.home == home => {
                if away.step == Step::Goes {
                    // It could not return.
                    (away.step, away.goes_at) = (Step::Waits, None);
                    self.relapse(home);
                }
                return;
            }
            Some(_) => self.end(now, link),
            None => {}
        }
        let (first, wait) = (self.chance.above(self.spacing()), self.wait(home));
        let known = self.homes.entry(home).or_insert(Home {
            missed: 0,
            next: now,
            is_probed: false,
            answers_since: None,
            relapses: 0,
            returned: None,
        });
        if known.missed == 0 {
            // A probe that is under way may never be answered: who had asked for it may be gone.
            (known.next, known.answers_since, known.is_probed) = (now.later(first), None, false);
        }
        known.missed = known.missed.saturating_add(1);
        self.away.insert(link, Away { home, goes_at: None, step: Step::Waits });
        match known.returned.take() {
            Some(at) if now.saturating_duration_since(at) < wait => self.relapse(home),
            Some(_) => known.relapses = 0,
            None => {}
        }
    }

    /// A link is away no more, or at least not ready anywhere.
    fn end(&mut self, now: Instant, link: u32) {
        let Some(away) = self.away.remove(&link) else { return };
        if let Some(at) = away.goes_at {
            self.going.remove(&(at, link));
        }
        if let Some(home) = self.homes.get_mut(&away.home) {
            home.missed = home.missed.saturating_sub(1);
            if away.step == Step::Goes {
                home.returned = Some(now);
            }
        }
    }

    /// A home did not keep a link: it has to answer for longer before others return.
    fn relapse(&mut self, url: usize) {
        if let Some(home) = self.homes.get_mut(&url) {
            home.relapses = home.relapses.saturating_add(1);
        }
        self.call_off(url);
    }

    /// Nobody returns there for now.
    fn call_off(&mut self, url: usize) {
        if let Some(home) = self.homes.get_mut(&url) {
            home.answers_since = None;
        }
        for (link, away) in self.away.iter_mut().filter(|(_, away)| away.home == url && away.step != Step::Goes) {
            away.step = Step::Waits;
            if let Some(at) = away.goes_at.take() {
                self.going.remove(&(at, *link));
            }
        }
    }

    fn wait(&self, url: usize) -> Duration {
        let relapses = self.homes.get(&url).map_or(0, |home| home.relapses);
        self.after.saturating_mul(2_u32.saturating_pow(relapses).min(LONGEST))
    }

    fn spacing(&self) -> Duration {
        (self.after / PROBES).clamp(SPACING.0, SPACING.1)
    }
}

#[cfg(test)]
mod tests;
