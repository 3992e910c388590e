//! The way in to the addresses: admission, and before it what is known of addresses that are down.
//!
//! While an address is down one link at a time looks whether it is back, with a whole upgrade, because a balancer accepts
//! connections for servers that are gone. The other links wait, without an attempt, so their backoff does not grow; once the
//! address is back they all go, as fast as the limits of admission let them; those that its server had asked to come later too. An
//! operator's word is not held: that link looks itself. Who was held and may go asks again first, with the addresses that its name has by then.
//!
//! What a reader would get wrong: there are two ways to be down. What TCP says speaks for the address, and so for everybody. What
//! comes after it (a reset before the answer, silence, 502, 503) may be the fault of one service behind a shared address, so it
//! speaks for the endpoint at that address only. And an answer that refuses one link (401, 404) speaks for neither: who gives it is
//! there.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use super::{
    admission::{Admission, Policy},
    clock::Clock,
    event::{LinkId, RetryAfter},
};

/// The first look at what has just gone down comes after this at the earliest, unless the link that saw it go looks itself.
const SHORTEST: Duration = Duration::from_millis(100);
/// Between two looks at what has long been down.
const LONGEST: Duration = Duration::from_secs(5);
/// Looks are so many to the age of an outage: it is known to be over within a fiftieth of it.
const LOOKS: u32 = 50;
/// What nobody has asked about for this long is forgotten.
const STALE: Duration = Duration::from_mins(5);

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

/// An address, for all endpoints or for one.
type Place = (SocketAddr, Option<Arc<str>>);

/// A place that is down.
#[derive(Debug)]
struct Outage {
    since: Instant,
    /// Who waits may not look before this.
    next: Instant,
    /// Who looks, or looked last: it follows its own backoff, as if it were alone.
    prober: LinkId,
    /// Whose look is under way.
    looking: Option<u64>,
    /// Who was asked to come later.
    put_off: BTreeSet<LinkId>,
}

/// What is asked for.
#[derive(Debug, Clone)]
pub struct Knock {
    /// By whom.
    pub link: LinkId,
    /// To be let in at one of these, the first that is free.
    pub addresses: Vec<SocketAddr>,
    /// By an operator's word: it is not held.
    pub urgent: bool,
}

/// A request that waits.
#[derive(Debug)]
struct Request {
    link: LinkId,
    addresses: Vec<SocketAddr>,
    /// Before the door; else it stands in line for admission.
    held: bool,
}

/// The door.
#[derive(Debug)]
pub struct Door {
    admission: Admission,
    requests: BTreeMap<u64, Request>,
    /// Requests that are held, by each of their addresses and their endpoint.
    held: BTreeMap<(SocketAddr, Arc<str>), BTreeSet<u64>>,
    held_count: usize,
    outages: BTreeMap<Place, Outage>,
    /// Links that were asked to come later by a server that lets others in.
    back: Vec<LinkId>,
    /// Tickets that are held no more, and are to ask again.
    again: BTreeSet<u64>,
}

impl Door {
    /// Nobody waits, and nothing is known to be down.
    pub fn new(policy: Policy, now: Instant) -> Self {
        Self {
            admission: Admission::new(policy, now),
            requests: BTreeMap::new(),
            held: BTreeMap::new(),
            held_count: 0,
            outages: BTreeMap::new(),
            back: Vec::new(),
            again: BTreeSet::new(),
        }
    }

    /// Follows new limits; who is CONNECTING stays so.
    pub fn set_policy(&mut self, policy: Policy, now: Instant) {
        self.admission.set_policy(policy, now);
    }

    /// Asks to be let in. `ticket` must be larger than any before it, or one that was told to ask again.
    pub fn ask(&mut self, now: Instant, ticket: u64, knock: Knock) {
        let Knock { link, addresses, urgent } = knock;
        self.requests.insert(ticket, Request { link, addresses, held: false });
        self.place(now, ticket, urgent);
    }

    /// Asks for a further address of an attempt already let in (RFC 8305). It is not held: its attempt is the one that looks.
    pub fn ask_extra(&mut self, ticket: u64, addresses: Vec<SocketAddr>) {
        self.admission.ask(ticket, addresses, true);
    }

    /// Leaves.
    pub fn withdraw(&mut self, ticket: u64) {
        self.admission.withdraw(ticket);
        self.again.remove(&ticket);
        if let Some(request) = self.requests.remove(&ticket) {
            self.unhold(ticket, &request);
        }
        self.stop_looking(ticket);
    }

    /// The next ticket that may dial, and where. Its place is taken until `release`.
    pub fn poll_grant(&mut self, now: Instant) -> Option<(u64, SocketAddr)> {
        self.send_to_look(now);
        let (ticket, address) = self.admission.poll_grant(now)?;
        self.requests.remove(&ticket);
        Some((ticket, address))
    }

    /// An attempt is over at one of its addresses.
    pub fn release(&mut self, now: Instant, grant: Grant<'_>, verdict: Option<Verdict>) {
        let Grant { ticket, link, address, extra } = grant;
        self.stop_looking(ticket);
        self.admission.release(address, extra);
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

    /// The next ticket that is to ask again, with the addresses that its name has now.
    pub fn poll_again(&mut self) -> Option<u64> {
        self.again.pop_first()
    }

    /// Takes the links that were asked to come later by a server that lets others in: their wait is over.
    pub fn take_back(&mut self) -> Vec<LinkId> {
        std::mem::take(&mut self.back)
    }

    /// How many wait.
    pub fn waiting(&self) -> usize {
        self.admission.waiting() + self.held_count
    }

    /// How many come before a ticket; `None`: it does not wait.
    pub fn ahead(&self, ticket: u64) -> Option<usize> {
        let Some(request) = self.requests.get(&ticket).filter(|request| request.held) else {
            return self.admission.ahead(ticket);
        };
        let lines = request
            .addresses
            .iter()
            .filter_map(|address| self.held.get(&(*address, Arc::clone(&request.link.endpoint))));
        lines.map(|line| line.range(..ticket).count()).min()
    }

    /// Since when all that a ticket waits for has been down, where that is what it waits for.
    pub fn down_since(&self, ticket: u64) -> Option<Instant> {
        let Request { link, addresses, held } = self.requests.get(&ticket)?;
        let since = |address: &SocketAddr| self.outages_of(link, *address).map(|outage| outage.since).min();
        held.then(|| addresses.iter().filter_map(since).min()).flatten()
    }

    /// Who is waited for by a ticket that is held: who looks now, or who did last and when the next look is due.
    pub fn awaited(&self, ticket: u64) -> Option<(&LinkId, Option<Instant>)> {
        let Request { link, addresses, held: true } = self.requests.get(&ticket)? else { return None };
        let outages = addresses.iter().flat_map(|address| self.outages_of(link, *address));
        let next = outages.map(|outage| (outage.looking.is_none().then_some(outage.next), outage));
        next.min_by_key(|(next, _)| *next).map(|(next, outage)| (&outage.prober, next))
    }

    /// The addresses that a ticket waits for.
    pub fn addresses(&self, ticket: u64) -> &[SocketAddr] {
        self.requests.get(&ticket).map_or(&[], |request| &request.addresses)
    }

    /// Attempts under way.
    pub fn connecting(&self) -> usize {
        self.admission.connecting()
    }

    /// When the rate lets the next one go, where the rate alone holds it back.
    pub fn held_by_rate(&self, now: Instant) -> Option<Instant> {
        self.admission.poll_timeout(now)
    }

    /// When to call `poll_grant` though nothing has happened.
    pub fn poll_timeout(&self, now: Instant) -> Option<Instant> {
        let looks = self.outages.iter().filter(|(place, outage)| outage.looking.is_none() && self.has_held(place));
        // A look whose time has come waits for one that is under way elsewhere: its end is news.
        let look = looks.map(|(_, outage)| outage.next).filter(|next| *next > now).min();
        look.into_iter().chain(self.admission.poll_timeout(now)).min()
    }

    /// Puts a request where it belongs: in line for those of its addresses that are not known to be down, or, where all are,
    /// before the door, unless it may look.
    fn place(&mut self, now: Instant, ticket: u64, urgent: bool) {
        let Some(Request { link, addresses, .. }) = self.requests.get(&ticket) else { return };
        let up: Vec<_> = addresses.iter().copied().filter(|address| self.is_up(link, *address)).collect();
        if !up.is_empty() {
            self.admission.ask(ticket, up, false);
            return;
        }
        if !self.look(now, ticket, urgent) {
            self.hold(ticket);
        }
    }

    /// Lets a request look after its addresses, if it may look after one. An urgent one may, and is the one that looks from then on.
    fn look(&mut self, now: Instant, ticket: u64, urgent: bool) -> bool {
        let Some(Request { link, addresses, .. }) = self.requests.get(&ticket) else { return false };
        let is_free = |outage: &Outage| outage.looking.is_none() && (outage.next <= now || outage.prober == *link);
        let may_look = |outage: &Outage| urgent || is_free(outage);
        let free: Vec<_> =
            addresses.iter().copied().filter(|address| self.outages_of(link, *address).all(may_look)).collect();
        if free.is_empty() {
            return false;
        }
        let link = link.clone();
        for address in &free {
            for place in [(*address, None), (*address, Some(Arc::clone(&link.endpoint)))] {
                if let Some(outage) = self.outages.get_mut(&place) {
                    (outage.looking, outage.prober) = (Some(ticket), link.clone());
                }
            }
        }
        self.admission.ask(ticket, free, false);
        true
    }

    /// Sends one of those who wait to each place that is due for a look.
    fn send_to_look(&mut self, now: Instant) {
        let is_due = |outage: &Outage| outage.looking.is_none() && outage.next <= now;
        let due: Vec<Place> =
            self.outages.iter().filter(|(_, outage)| is_due(outage)).map(|(place, _)| place.clone()).collect();
        for place in due {
            let mut first: Vec<u64> = self.lines(&place).filter_map(|line| line.first().copied()).collect();
            first.sort_unstable();
            // An endpoint of its own trouble does not keep the others from looking.
            if let Some(ticket) = first.into_iter().find(|ticket| self.look(now, *ticket, false)) {
                self.let_in_line(ticket);
            }
        }
    }

    fn shut(&mut self, now: Instant, place: &Place, link: &LinkId, wait: Option<RetryAfter>) {
        self.forget_stale(now);
        let is_new = !self.outages.contains_key(place);
        let outage = self.outages.entry(place.clone()).or_insert_with(|| Outage {
            since: now,
            next: now,
            prober: link.clone(),
            looking: None,
            put_off: BTreeSet::new(),
        });
        let spacing = (now.saturating_duration_since(outage.since) / LOOKS).clamp(SHORTEST, LONGEST);
        outage.next = now.later(wait.map_or(spacing, |wait| wait.span().max(spacing)));
        outage.prober = link.clone();
        if wait.is_some() {
            outage.put_off.insert(link.clone());
        }
        if is_new {
            // Who stands in line for it already comes back before the door.
            let hit = |request: &Request| {
                let of_endpoint = place.1.as_ref().is_none_or(|endpoint| *endpoint == request.link.endpoint);
                !request.held && of_endpoint && request.addresses.contains(&place.0)
            };
            let tickets: Vec<u64> =
                self.requests.iter().filter(|(_, request)| hit(request)).map(|(ticket, _)| *ticket).collect();
            for ticket in tickets {
                self.stop_looking(ticket);
                self.admission.withdraw(ticket);
                self.place(now, ticket, false);
            }
        }
    }

    fn reopen(&mut self, places: impl IntoIterator<Item = Place>) {
        for place in places {
            if let Some(outage) = self.outages.remove(&place) {
                self.back.extend(outage.put_off);
                self.let_all_go(&place);
            }
        }
    }

    /// A link has got in. Where it was the one that looked elsewhere, those of its endpoint that wait there go after it: their name
    /// leads to where it is now.
    fn follow(&mut self, link: &LinkId) {
        let left = self.outages.iter().filter(|(_, outage)| outage.prober == *link && outage.looking.is_none());
        let left: Vec<Place> = left.map(|((address, _), _)| (*address, Some(Arc::clone(&link.endpoint)))).collect();
        for place in left {
            self.let_all_go(&place);
        }
    }

    fn let_all_go(&mut self, place: &Place) {
        let tickets: BTreeSet<u64> = self.lines(place).flatten().copied().collect();
        for ticket in tickets {
            if let Some(request) = self.requests.remove(&ticket) {
                self.unhold(ticket, &request);
                self.again.insert(ticket);
            }
        }
    }

    /// Forgets what has been down and nobody waits for: addresses of names come and go.
    fn forget_stale(&mut self, now: Instant) {
        let stale = |outage: &Outage| outage.looking.is_none() && now.saturating_duration_since(outage.next) > STALE;
        let places = self.outages.iter().filter(|(place, outage)| stale(outage) && !self.has_held(place));
        let places: Vec<_> = places.map(|(place, _)| place.clone()).collect();
        for place in places {
            self.outages.remove(&place);
        }
    }

    fn stop_looking(&mut self, ticket: u64) {
        for outage in self.outages.values_mut().filter(|outage| outage.looking == Some(ticket)) {
            outage.looking = None;
        }
    }

    fn hold(&mut self, ticket: u64) {
        let Some(request) = self.requests.get_mut(&ticket) else { return };
        request.held = true;
        self.held_count += 1;
        for address in &request.addresses {
            self.held.entry((*address, Arc::clone(&request.link.endpoint))).or_default().insert(ticket);
        }
    }

    /// It is held no more, and stands in line.
    fn let_in_line(&mut self, ticket: u64) {
        let Some(mut request) = self.requests.remove(&ticket) else { return };
        self.unhold(ticket, &request);
        request.held = false;
        self.requests.insert(ticket, request);
    }

    fn unhold(&mut self, ticket: u64, request: &Request) {
        self.held_count -= usize::from(request.held);
        for address in request.addresses.iter().filter(|_| request.held) {
            let key = (*address, Arc::clone(&request.link.endpoint));
            if let Some(line) = self.held.get_mut(&key) {
                line.remove(&ticket);
                if line.is_empty() {
                    self.held.remove(&key);
                }
            }
        }
    }

    fn is_up(&self, link: &LinkId, address: SocketAddr) -> bool {
        self.outages_of(link, address).next().is_none()
    }

    fn outages_of(&self, link: &LinkId, address: SocketAddr) -> impl Iterator<Item = &Outage> {
        // Most of the time nothing is down, and nothing need be looked up.
        let places = (!self.outages.is_empty()).then(|| [(address, None), (address, Some(Arc::clone(&link.endpoint)))]);
        places.into_iter().flatten().filter_map(|place| self.outages.get(&place))
    }

    fn has_held(&self, place: &Place) -> bool {
        self.lines(place).next().is_some()
    }

    /// The lines of those who are held and wait for this place.
    fn lines<'a>(&'a self, (address, endpoint): &'a Place) -> impl Iterator<Item = &'a BTreeSet<u64>> {
        let first = (*address, endpoint.clone().unwrap_or_default());
        self.held
            .range(first..)
            .take_while(move |((of, by), _)| of == address && endpoint.as_ref().is_none_or(|endpoint| endpoint == by))
            .map(|(_, line)| line)
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
