//! When the next attempt may begin, and at which URL: the one place where every delay is made.
//!
//! The bound (contract, section 4): whatever peers answer and whatever rows say, the attempts of a link since it was last stable are
//! those of the backoff's own schedule, one `now`, and one round of the URLs. So each end draws a delay of the backoff, but for those
//! two; all else, `Retry-After` too, can only make it longer. What an operator or a reload orders comes on top.
//!
//! What a reader would get wrong: a connection that opens proves nothing. What was granted comes back after `stable`, never on open.

use std::{
    iter::successors,
    sync::Arc,
    time::{Duration, Instant},
};

use super::{Policy, round::Round};
use crate::{
    allowance::{For, SharedAllowance},
    backoff::Backoff,
    chance::Chance,
    clock::Clock,
    close::Closed,
    event::RetryAfter,
    outcome::{Action, End, Row, Streak},
    phase::Reason,
    rejection::Rejection,
};

/// How an attempt, or the connection that it made, ended.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ended<'a> {
    pub(super) closed: &'a Closed,
    pub(super) retry_after: Option<RetryAfter>,
    pub(super) rejection: Option<&'a Rejection>,
    /// The link had been stable: the next attempt begins with the first URL again, or with that of the connection where the link is to stay.
    /// A connection that did not last so long is a failed attempt: a server that lets in and throws out is no better than one that is away.
    pub(super) was_stable: bool,
}

/// What follows an end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    /// An attempt.
    Wait(Reason),
    /// The same, slowly.
    Park(Reason),
    /// Nothing, until an operator's word; the delay is that of a slow attempt, for who makes one all the same.
    StayClosed,
}

/// What is known of the attempts since the link was last stable.
#[derive(Debug, Default)]
pub(super) struct Pace {
    backoff: Backoff,
    streak: Streak,
    url: u32,
    /// Among the links of its endpoint, for the order of its URLs.
    place: u32,
    now_spent: bool,
    /// What the next attempt is made of is evaluated anew.
    refreshes: bool,
    /// Attempts at a next URL without a delay.
    urls_spent: u32,
    /// In a box: hardly any link has any.
    rare: Option<Box<Rare>>,
}

/// What hardly any link has.
#[derive(Debug, Default)]
struct Rare {
    resting: Option<Resting>,
    /// Attempts of all links of the endpoint take from it.
    allowance: Option<Arc<dyn SharedAllowance>>,
}

/// What servers have asked for.
#[derive(Debug)]
struct Resting {
    /// URLs that are to be left alone until then.
    urls: Vec<(usize, Instant)>,
    /// When the delay ends that the link would have had without that.
    own: Instant,
}

impl Pace {
    /// That of the link of this place among those of its endpoint.
    pub(super) fn of(place: u32, policy: &Policy) -> Self {
        let mut made = Self { place, ..Self::default() };
        made.set_url(made.home(policy));
        made
    }

    /// That of attempts beside the connection in use, from this URL on.
    pub(super) fn beside(&self, url: usize) -> Self {
        let mut pace = Self { place: self.place, ..Self::default() };
        pace.set_url(url);
        pace
    }

    /// An attempt begins: at which of so many URLs, and whether what was evaluated before has been refused.
    pub(super) fn begin(&mut self, urls: usize) -> (usize, bool) {
        self.set_url(self.url() % urls.max(1));
        (self.url(), std::mem::take(&mut self.refreshes))
    }

    /// The URL in use, or to use.
    pub(super) fn url(&self) -> usize {
        self.url as usize
    }

    /// The connection in use was made at this URL, or the attempt under way is.
    pub(super) fn set_url(&mut self, url: usize) {
        self.url = u32::try_from(url).unwrap_or_default();
    }

    /// The order of its URLs.
    pub(super) fn round(&self, policy: &Policy) -> Round {
        Round::new(policy.url_order, self.place)
    }

    /// The URL that it would rather be at.
    pub(super) fn home(&self, policy: &Policy) -> usize {
        self.round(policy).first(policy.urls)
    }

    /// Where the next connection is looked for first: at home, unless it is to stay where it is.
    pub(super) fn first(&self, policy: &Policy) -> usize {
        if policy.failback { self.home(policy) } else { self.url() }
    }

    /// The row that decided last, and how many ends in a row it has decided.
    pub(super) fn ruling(&self) -> Option<(Row, u32)> {
        self.streak.last()
    }

    /// The link has been stable.
    pub(super) fn start_over(&mut self) {
        let allowance = self.rare.take().and_then(|rare| rare.allowance);
        *self = Self { url: self.url, place: self.place, ..Self::default() };
        self.allow(allowance);
    }

    /// An operator intervened, or what the peer refused is out of its way: nothing is in a row any more.
    pub(super) fn forget_row(&mut self) {
        self.streak.reset();
    }

    /// What the next attempt is made of is evaluated anew.
    pub(super) fn refresh(&mut self) {
        self.refreshes = true;
    }

    /// The backoff follows another policy.
    pub(super) fn restart_backoff(&mut self) {
        self.backoff.reset();
    }

    /// What follows this end, and after which delay.
    pub(super) fn after(
        &mut self,
        policy: &Policy,
        now: Instant,
        ended: Ended<'_>,
        chance: &mut Chance,
    ) -> (Next, Duration) {
        let Ended { closed, retry_after, rejection, was_stable } = ended;
        let Closed { code, reason, status, cause, label, .. } = closed;
        let end = End { code: *code, reason, status: *status, cause: *cause, label: label.as_deref(), rejection };
        let (action, _) = self.streak.decide(&policy.outcomes, end);
        self.refreshes |= action == Action::Refresh;
        if let (Action::RetryAfter, Some(asked)) = (action, retry_after) {
            self.rest(now, now.later(chance.above(asked.span())));
        }
        let (delay, next) = self.delay(policy, now, action, closed, chance);
        if let Some(resting) = self.rare.as_mut().and_then(|rare| rare.resting.as_mut()) {
            resting.own = now.later(delay);
        }
        // What is tried once more is tried at the same server; a `now` that is spent is no such try.
        let once_more = action == Action::Refresh || next == Next::Wait(Reason::Immediate);
        let first = match (action == Action::NextUrl || !was_stable, once_more) {
            (false, _) => self.first(policy),
            (true, true) => self.url(),
            (true, false) => self.round(policy).after(self.url(), policy.urls),
        };
        self.choose(policy, first, now, (next, delay))
    }

    /// The delay that the action asks for: never less than the backoff's own, but for what is granted once.
    fn delay(
        &mut self,
        policy: &Policy,
        now: Instant,
        action: Action,
        closed: &Closed,
        chance: &mut Chance,
    ) -> (Duration, Next) {
        match action {
            Action::Now if !self.now_spent => {
                self.now_spent = true;
                return (Duration::ZERO, Next::Wait(Reason::Immediate));
            }
            Action::NextUrl if (self.urls_spent as usize).saturating_add(1) < policy.urls => {
                self.urls_spent += 1;
                return (Duration::ZERO, Next::Wait(Reason::NextUrl));
            }
            Action::Backoff
            | Action::Now
            | Action::Slow
            | Action::Park
            | Action::Refresh
            | Action::NextUrl
            | Action::StayClosed
            | Action::Within(..)
            | Action::RetryAfter => {}
        }
        let own = self.backoff.next_delay(&policy.backoff, now, chance);
        let max = policy.backoff.max;
        match action {
            Action::Slow => (own.max(chance.between(max / 2, max)), Next::Wait(Reason::Slow)),
            Action::Within(low, high) => (own.max(chance.between(low, high)), Next::Wait(Reason::ServiceRestart)),
            Action::StayClosed => (own.max(chance.above(policy.park_probe)), Next::StayClosed),
            Action::Park => {
                let reason = match (closed.status, closed.code, closed.label.as_deref()) {
                    (Some(401 | 403), ..) | (None, 4401 | 4403, _) | (None, _, Some("unauthorized")) => {
                        Reason::Unauthorized
                    }
                    (Some(_) | None, ..) => Reason::Refused,
                };
                (own.max(chance.above(policy.park_probe)), Next::Park(reason))
            }
            Action::Refresh => (own, Next::Wait(Reason::Refresh)),
            Action::Backoff | Action::Now | Action::NextUrl | Action::RetryAfter => (own, Next::Wait(Reason::Backoff)),
        }
    }

    /// From `first` on, the first URL that is not to be left alone for longer than this anyway; else the one that is back first.
    fn choose(
        &mut self,
        policy: &Policy,
        first: usize,
        now: Instant,
        (next, delay): (Next, Duration),
    ) -> (Next, Duration) {
        let (urls, round) = (policy.urls.max(1), self.round(policy));
        let at = now.later(delay);
        let back_at = |url: &usize| {
            let resting = self.rare.iter().flat_map(|rare| &rare.resting).flat_map(|resting| &resting.urls);
            resting.filter(|(of, until)| of == url && *until > at).map(|(_, until)| *until).max()
        };
        let order = successors(Some(first % urls), |url| Some(round.after(*url, urls))).take(urls);
        let chosen = order.map(|url| (back_at(&url), url)).min_by_key(|(back_at, _)| *back_at);
        let (back_at, url) = chosen.unwrap_or_default();
        self.set_url(url);
        match (back_at, next) {
            (Some(back_at), Next::Wait(_)) => (Next::Wait(Reason::RetryAfter), back_at.saturating_duration_since(now)),
            (Some(back_at), Next::Park(_) | Next::StayClosed) => (next, back_at.saturating_duration_since(now)),
            (None, _) => (next, delay),
        }
    }

    /// The server of this URL wants to be left alone until then.
    fn rest(&mut self, now: Instant, until: Instant) {
        let url = self.url();
        let rare = self.rare.get_or_insert_default();
        let resting = rare.resting.get_or_insert_with(|| Resting { urls: Vec::new(), own: now });
        resting.urls.retain(|(of, until)| *of != url && *until > now);
        resting.urls.push((url, until));
    }

    /// Another link has got in, so nobody need be left alone: what is left of the delay without that.
    pub(super) fn end_rest(&mut self, now: Instant) -> Option<Duration> {
        let resting = self.rare.as_mut()?.resting.take();
        resting.map(|resting| resting.own.saturating_duration_since(now))
    }

    /// Attempts take from this, or from nothing.
    pub(super) fn allow(&mut self, allowance: Option<Arc<dyn SharedAllowance>>) {
        if allowance.is_some() || self.rare.is_some() {
            self.rare.get_or_insert_default().allowance = allowance;
        }
    }

    /// An attempt is about to begin; or this is when it may.
    pub(super) fn take(&self, now: Instant, what: For) -> Result<(), Instant> {
        self.allowance().map_or(Ok(()), |allowance| allowance.take(now, what))
    }

    /// Whether no attempt may begin now.
    pub(super) fn is_spent(&self, now: Instant) -> bool {
        self.allowance().is_some_and(|allowance| allowance.until(now, For::Down).is_some())
    }

    fn allowance(&self) -> Option<&dyn SharedAllowance> {
        self.rare.as_deref()?.allowance.as_deref()
    }
}
