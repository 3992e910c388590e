//! Who may dial, where and when: limits over the whole pool, and before them what is known of addresses that are down.
//!
//! `limits` spreads attempts (how many to an address, altogether, a second). `outages` is a circuit breaker: while an address is
//! down one link at a time probes it with a whole upgrade, because a balancer accepts connections for servers that are gone. The
//! other links are `held` without an attempt, so their backoff does not grow. Once the address is back they all go, as fast as the
//! limits let them; so do those that its server had asked to come later, and those that were sent to probe and failed. A link with an operator's order is not held: it probes
//! itself. A link that was held asks again before it dials, with the addresses that its name has by then. A link with other URLs
//! goes on to the next one instead of being held, once round; then it is held until a link of its endpoint gets in anywhere.
//! `prepare` limits how many links of an endpoint evaluate secrets and look up names before they come here.
//!
//! What a reader would get wrong: there are two ways to be down. What TCP says speaks for the address, and so for all endpoints.
//! What comes after it (a reset before the answer, silence, 502, 503) may be the fault of one service behind a shared address, so
//! it speaks for the endpoint at that address only. An answer that refuses one link (401, 404) speaks for neither: the server is there.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    sync::Arc,
    time::Instant,
};

use held::Held;
use limits::Limits;
use outages::{Outages, Scope};

use super::event::{LinkId, RetryAfter};

pub use limits::Policy;
pub use outages::Back;

pub mod prepare;

mod held;
mod limits;
mod outages;

/// What an attempt says about where it went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It answers, be it with a refusal.
    Up,
    /// TCP does not reach it.
    Unreachable,
    /// It was not tried: the name does not lead there any more.
    Moved,
    /// TCP reaches it, and no answer comes, or one that says to come later: after this time, where it says so.
    Failing(Option<RetryAfter>),
}

/// What is asked for.
#[derive(Debug, Clone)]
pub struct Request {
    /// By whom.
    pub link: LinkId,
    /// To be let in at one of these, the first that is free.
    pub addresses: Vec<SocketAddr>,
    /// By an operator's order: it is not held.
    pub urgent: bool,
    /// Where else its link can go.
    pub elsewhere: Elsewhere,
}

/// Whether a link has other URLs to go to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Elsewhere {
    /// It has none.
    Nowhere,
    /// It has, and has not asked there yet: instead of being held it is sent there.
    Untried,
    /// It has asked there, and is to be held here; when a link of its endpoint gets in anywhere it asks again.
    Tried,
}

/// Why a request waits no more without being let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dismissal {
    /// Ask again, with the addresses that the name has now.
    Again,
    /// All that was asked for is down: ask at another URL.
    Elsewhere,
}

/// A request that waits.
#[derive(Debug)]
struct Waiting {
    link: LinkId,
    addresses: Vec<SocketAddr>,
    elsewhere: Elsewhere,
    /// By an outage; else it stands in line for the limits.
    held: bool,
}

/// Admission of all links of a pool.
#[derive(Debug)]
pub struct Admission {
    limits: Limits,
    requests: BTreeMap<u64, Waiting>,
    held: Held,
    outages: Outages,
    /// Who need not wait any more.
    back: Vec<Back>,
    /// To be said to these tickets.
    dismissals: BTreeMap<u64, Dismissal>,
}

impl Admission {
    /// Nobody waits, and nothing is known to be down.
    pub fn new(policy: Policy, now: Instant) -> Self {
        Self {
            limits: Limits::new(policy, now),
            requests: BTreeMap::new(),
            held: Held::default(),
            outages: Outages::default(),
            back: Vec::new(),
            dismissals: BTreeMap::new(),
        }
    }

    /// Follows new limits; who is CONNECTING stays so.
    pub fn set_policy(&mut self, policy: Policy, now: Instant) {
        self.limits.set_policy(policy, now);
    }

    /// Asks to be let in. `ticket` must be larger than any before it, or one that was told to ask again.
    pub fn ask(&mut self, now: Instant, ticket: u64, request: Request) {
        let Request { link, addresses, urgent, elsewhere } = request;
        self.requests.insert(ticket, Waiting { link, addresses, elsewhere, held: false });
        self.enqueue(now, ticket, urgent);
    }

    /// Asks for a further address of an attempt already let in (RFC 8305). It is not held: its attempt is the probe.
    pub fn ask_extra(&mut self, ticket: u64, addresses: Vec<SocketAddr>) {
        self.limits.ask(ticket, addresses, true);
    }

    /// Leaves.
    pub fn withdraw(&mut self, ticket: u64) {
        self.limits.withdraw(ticket);
        self.dismissals.remove(&ticket);
        if let Some(request) = self.requests.remove(&ticket) {
            self.held.remove(ticket, &request);
        }
        self.outages.stop_probing(ticket);
    }

    /// The next ticket that may dial, and where. Its place is taken until `release`.
    pub fn poll_grant(&mut self, now: Instant) -> Option<(u64, SocketAddr)> {
        self.send_to_probe(now);
        let (ticket, address) = self.limits.poll_grant(now)?;
        self.requests.remove(&ticket);
        Some((ticket, address))
    }

    /// An attempt is over at one of its addresses.
    pub fn release(&mut self, now: Instant, grant: Grant<'_>, verdict: Option<Verdict>) {
        let Grant { ticket, link, address, extra } = grant;
        self.outages.stop_probing(ticket);
        self.limits.release(address, extra);
        let whole = (address, None);
        let own = (address, Some(Arc::clone(&link.endpoint)));
        match verdict {
            None => {}
            Some(Verdict::Up) => {
                self.reopen([whole, own]);
                self.follow(link);
            }
            Some(Verdict::Moved) => self.let_all_go(&own),
            Some(Verdict::Unreachable) => self.shut(now, &whole, link, None),
            Some(Verdict::Failing(wait)) => {
                self.reopen([whole]);
                self.shut(now, &own, link, wait);
            }
        }
    }

    /// The next ticket that waits no more without being let in, and what it is told.
    pub fn poll_dismissal(&mut self) -> Option<(u64, Dismissal)> {
        self.dismissals.pop_first()
    }

    /// Takes the links that wait, by themselves and not here, for a server that lets others in: their wait is over.
    pub fn take_back(&mut self) -> Vec<Back> {
        std::mem::take(&mut self.back)
    }

    /// How many wait.
    pub fn waiting(&self) -> usize {
        self.limits.waiting() + self.held.count()
    }

    /// How many come before a ticket; `None`: it does not wait.
    pub fn ahead(&self, ticket: u64) -> Option<usize> {
        let Some(request) = self.requests.get(&ticket).filter(|request| request.held) else {
            return self.limits.ahead(ticket);
        };
        self.held.ahead(ticket, request)
    }

    /// Since when all that a ticket waits for has been down, where that is what it waits for.
    pub fn down_since(&self, ticket: u64) -> Option<Instant> {
        let Waiting { link, addresses, held, .. } = self.requests.get(&ticket)?;
        let since = |address: &SocketAddr| self.outages.of(link, *address).map(|outage| outage.since).min();
        held.then(|| addresses.iter().filter_map(since).min()).flatten()
    }

    /// Who is waited for by a ticket that is held: who probes now, or who did last and when the next probe is due.
    pub fn awaited(&self, ticket: u64) -> Option<(&LinkId, Option<Instant>)> {
        let Waiting { link, addresses, held: true, .. } = self.requests.get(&ticket)? else { return None };
        let outages = addresses.iter().flat_map(|address| self.outages.of(link, *address));
        let next = outages.map(|outage| (outage.probing.is_none().then_some(outage.next), outage));
        next.min_by_key(|(next, _)| *next).map(|(next, outage)| (&outage.prober, next))
    }

    /// The addresses that a ticket waits for.
    pub fn addresses(&self, ticket: u64) -> &[SocketAddr] {
        self.requests.get(&ticket).map_or(&[], |request| &request.addresses)
    }

    /// Attempts under way.
    pub fn connecting(&self) -> usize {
        self.limits.connecting()
    }

    /// When the rate lets the next one go, where the rate alone holds it back.
    pub fn held_by_rate(&self, now: Instant) -> Option<Instant> {
        self.limits.poll_timeout(now)
    }

    /// When to call `poll_grant` though nothing has happened.
    pub fn poll_timeout(&self, now: Instant) -> Option<Instant> {
        let probes = self.outages.to_probe().filter(|(scope, _)| self.held.has(scope));
        // A probe whose time has come waits for one that is under way elsewhere: its end is news.
        let probe = probes.map(|(_, next)| next).filter(|next| *next > now).min();
        probe.into_iter().chain(self.limits.poll_timeout(now)).min()
    }

    /// Puts a request where it belongs: in line for those of its addresses that are not known to be down. Where all are, it is held,
    /// unless it may probe or can go elsewhere.
    fn enqueue(&mut self, now: Instant, ticket: u64, urgent: bool) {
        let Some(Waiting { link, addresses, elsewhere, .. }) = self.requests.get(&ticket) else { return };
        let is_up = |address: &SocketAddr| self.outages.of(link, *address).next().is_none();
        let (up, elsewhere): (Vec<_>, _) = (addresses.iter().copied().filter(is_up).collect(), *elsewhere);
        if !up.is_empty() {
            self.limits.ask(ticket, up, false);
            return;
        }
        if self.probe(now, ticket, urgent, false) {
            return;
        }
        match elsewhere {
            Elsewhere::Untried => self.dismiss(ticket, Dismissal::Elsewhere),
            Elsewhere::Nowhere | Elsewhere::Tried => self.hold(ticket),
        }
    }

    /// Lets a request probe those of its addresses that it may. An urgent one may probe all, and is the prober from then on.
    fn probe(&mut self, now: Instant, ticket: u64, urgent: bool, is_sent: bool) -> bool {
        let Some(Waiting { link, addresses, .. }) = self.requests.get(&ticket) else { return false };
        let free = self.outages.for_probe(now, link, addresses, urgent);
        if free.is_empty() {
            return false;
        }
        self.outages.probe(ticket, link, &free, is_sent);
        self.limits.ask(ticket, free, false);
        true
    }

    /// Sends one of those that are held to each scope that is due for a probe.
    fn send_to_probe(&mut self, now: Instant) {
        let due = self.outages.to_probe().filter(|(_, next)| *next <= now);
        let due: Vec<Scope> = due.map(|(scope, _)| scope.clone()).collect();
        for scope in due {
            let mut first: Vec<u64> = self.held.of(&scope).filter_map(|line| line.first().copied()).collect();
            first.sort_unstable();
            // An endpoint of its own trouble does not keep the others from probing.
            if let Some(ticket) = first.into_iter().find(|ticket| self.probe(now, *ticket, false, true)) {
                self.let_in_line(ticket);
            }
        }
    }

    fn shut(&mut self, now: Instant, scope: &Scope, link: &LinkId, wait: Option<RetryAfter>) {
        self.outages.forget_stale(now, |scope| self.held.has(scope));
        let is_new = self.outages.shut(now, scope, link, wait);
        if is_new {
            // Requests that stand in line for it already are held from now on.
            let hit = |request: &Waiting| {
                let of_endpoint = scope.1.as_ref().is_none_or(|endpoint| *endpoint == request.link.endpoint);
                !request.held && of_endpoint && request.addresses.contains(&scope.0)
            };
            let tickets: Vec<u64> =
                self.requests.iter().filter(|(_, request)| hit(request)).map(|(ticket, _)| *ticket).collect();
            for ticket in tickets {
                self.outages.stop_probing(ticket);
                self.limits.withdraw(ticket);
                self.enqueue(now, ticket, false);
            }
        }
    }

    fn reopen(&mut self, scopes: impl IntoIterator<Item = Scope>) {
        for scope in scopes {
            if let Some(back) = self.outages.reopen(&scope) {
                self.back.extend(back);
                self.let_all_go(&scope);
            }
        }
    }

    /// A link has got in. Where it was the prober elsewhere, those of its endpoint that wait there go after it: their name
    /// leads to where it is now. So do those that can go there by another URL.
    fn follow(&mut self, link: &LinkId) {
        for scope in self.outages.probed_by(link) {
            self.let_all_go(&scope);
        }
        for ticket in self.held.with_other_urls(&link.endpoint) {
            self.dismiss(ticket, Dismissal::Again);
        }
    }

    fn let_all_go(&mut self, scope: &Scope) {
        let tickets: BTreeSet<u64> = self.held.of(scope).flatten().copied().collect();
        for ticket in tickets {
            self.dismiss(ticket, Dismissal::Again);
        }
    }

    /// It waits no more.
    fn dismiss(&mut self, ticket: u64, dismissal: Dismissal) {
        if let Some(request) = self.requests.remove(&ticket) {
            self.held.remove(ticket, &request);
            self.dismissals.insert(ticket, dismissal);
        }
    }

    fn hold(&mut self, ticket: u64) {
        let Some(request) = self.requests.get_mut(&ticket) else { return };
        request.held = true;
        self.held.insert(ticket, request);
    }

    /// It is held no more, and stands in line.
    fn let_in_line(&mut self, ticket: u64) {
        let Some(request) = self.requests.get_mut(&ticket) else { return };
        self.held.remove(ticket, request);
        request.held = false;
    }
}

/// What was granted to whom.
#[derive(Debug, Clone, Copy)]
pub struct Grant<'a> {
    /// The ticket.
    pub ticket: u64,
    /// Whose it was.
    pub link: &'a LinkId,
    /// Where.
    pub address: SocketAddr,
    /// A further address of an attempt.
    pub extra: bool,
}

#[cfg(test)]
mod tests;
