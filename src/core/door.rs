//! The way in to the addresses: admission, and before it what is known of addresses that are down.
//!
//! While an address is down one link at a time looks whether it is back, with a whole upgrade, because a balancer accepts
//! connections for servers that are gone. The other links wait, without an attempt, so their backoff does not grow; once the
//! address is back they all go, as fast as the limits of admission let them; those that its server had asked to come later too. An
//! operator's word is not held: that link looks itself. Who was held and may go asks again first, with the addresses that its name has by
//! then. And who has other URLs goes on to the next one instead of waiting, once round; then it is held where it is, until a link of its
//! endpoint gets in anywhere.
//!
//! What a reader would get wrong: there are two ways to be down. What TCP says speaks for the address, and so for everybody. What
//! comes after it (a reset before the answer, silence, 502, 503) may be the fault of one service behind a shared address, so it
//! speaks for the endpoint at that address only. And an answer that refuses one link (401, 404) speaks for neither: who gives it is
//! there.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    sync::Arc,
    time::Instant,
};

use lines::Lines;
use outages::{Outages, Place};

use super::{
    admission::{Admission, Policy},
    event::{LinkId, RetryAfter},
};

mod lines;
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
pub struct Knock {
    /// By whom.
    pub link: LinkId,
    /// To be let in at one of these, the first that is free.
    pub addresses: Vec<SocketAddr>,
    /// By an operator's word: it is not held.
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

/// What is said to who waits no more, and is not let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Word {
    /// Ask again, with the addresses that the name has now.
    Again,
    /// All that was asked for is down: ask at another URL.
    Elsewhere,
}

/// A request that waits.
#[derive(Debug)]
struct Request {
    link: LinkId,
    addresses: Vec<SocketAddr>,
    elsewhere: Elsewhere,
    /// Before the door; else it stands in line for admission.
    held: bool,
}

/// The door.
#[derive(Debug)]
pub struct Door {
    admission: Admission,
    requests: BTreeMap<u64, Request>,
    held: Lines,
    outages: Outages,
    /// Links that were asked to come later by a server that lets others in.
    back: Vec<LinkId>,
    /// To be said to these tickets.
    words: BTreeMap<u64, Word>,
}

impl Door {
    /// Nobody waits, and nothing is known to be down.
    pub fn new(policy: Policy, now: Instant) -> Self {
        Self {
            admission: Admission::new(policy, now),
            requests: BTreeMap::new(),
            held: Lines::default(),
            outages: Outages::default(),
            back: Vec::new(),
            words: BTreeMap::new(),
        }
    }

    /// Follows new limits; who is CONNECTING stays so.
    pub fn set_policy(&mut self, policy: Policy, now: Instant) {
        self.admission.set_policy(policy, now);
    }

    /// Asks to be let in. `ticket` must be larger than any before it, or one that was told to ask again.
    pub fn ask(&mut self, now: Instant, ticket: u64, knock: Knock) {
        let Knock { link, addresses, urgent, elsewhere } = knock;
        self.requests.insert(ticket, Request { link, addresses, elsewhere, held: false });
        self.place(now, ticket, urgent);
    }

    /// Asks for a further address of an attempt already let in (RFC 8305). It is not held: its attempt is the one that looks.
    pub fn ask_extra(&mut self, ticket: u64, addresses: Vec<SocketAddr>) {
        self.admission.ask(ticket, addresses, true);
    }

    /// Leaves.
    pub fn withdraw(&mut self, ticket: u64) {
        self.admission.withdraw(ticket);
        self.words.remove(&ticket);
        if let Some(request) = self.requests.remove(&ticket) {
            self.held.remove(ticket, &request);
        }
        self.outages.stop_looking(ticket);
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
        self.outages.stop_looking(ticket);
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

    /// The next ticket that waits no more without being let in, and what it is told.
    pub fn poll_word(&mut self) -> Option<(u64, Word)> {
        self.words.pop_first()
    }

    /// Takes the links that were asked to come later by a server that lets others in: their wait is over.
    pub fn take_back(&mut self) -> Vec<LinkId> {
        std::mem::take(&mut self.back)
    }

    /// How many wait.
    pub fn waiting(&self) -> usize {
        self.admission.waiting() + self.held.count()
    }

    /// How many come before a ticket; `None`: it does not wait.
    pub fn ahead(&self, ticket: u64) -> Option<usize> {
        let Some(request) = self.requests.get(&ticket).filter(|request| request.held) else {
            return self.admission.ahead(ticket);
        };
        self.held.ahead(ticket, request)
    }

    /// Since when all that a ticket waits for has been down, where that is what it waits for.
    pub fn down_since(&self, ticket: u64) -> Option<Instant> {
        let Request { link, addresses, held, .. } = self.requests.get(&ticket)?;
        let since = |address: &SocketAddr| self.outages.of(link, *address).map(|outage| outage.since).min();
        held.then(|| addresses.iter().filter_map(since).min()).flatten()
    }

    /// Who is waited for by a ticket that is held: who looks now, or who did last and when the next look is due.
    pub fn awaited(&self, ticket: u64) -> Option<(&LinkId, Option<Instant>)> {
        let Request { link, addresses, held: true, .. } = self.requests.get(&ticket)? else { return None };
        let outages = addresses.iter().flat_map(|address| self.outages.of(link, *address));
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
        let looks = self.outages.to_look().filter(|(place, _)| self.held.has(place));
        // A look whose time has come waits for one that is under way elsewhere: its end is news.
        let look = looks.map(|(_, next)| next).filter(|next| *next > now).min();
        look.into_iter().chain(self.admission.poll_timeout(now)).min()
    }

    /// Puts a request where it belongs: in line for those of its addresses that are not known to be down, or, where all are,
    /// before the door, unless it may look or can go elsewhere.
    fn place(&mut self, now: Instant, ticket: u64, urgent: bool) {
        let Some(Request { link, addresses, elsewhere, .. }) = self.requests.get(&ticket) else { return };
        let is_up = |address: &SocketAddr| self.outages.of(link, *address).next().is_none();
        let (up, elsewhere): (Vec<_>, _) = (addresses.iter().copied().filter(is_up).collect(), *elsewhere);
        if !up.is_empty() {
            self.admission.ask(ticket, up, false);
            return;
        }
        if self.look(now, ticket, urgent) {
            return;
        }
        match elsewhere {
            Elsewhere::Untried => self.dismiss(ticket, Word::Elsewhere),
            Elsewhere::Nowhere | Elsewhere::Tried => self.hold(ticket),
        }
    }

    /// Lets a request look after its addresses, if it may look after one. An urgent one may, and is the one that looks from then on.
    fn look(&mut self, now: Instant, ticket: u64, urgent: bool) -> bool {
        let Some(Request { link, addresses, .. }) = self.requests.get(&ticket) else { return false };
        let free = self.outages.for_look(now, link, addresses, urgent);
        if free.is_empty() {
            return false;
        }
        self.outages.look(ticket, link, &free);
        self.admission.ask(ticket, free, false);
        true
    }

    /// Sends one of those who wait to each place that is due for a look.
    fn send_to_look(&mut self, now: Instant) {
        let due = self.outages.to_look().filter(|(_, next)| *next <= now);
        let due: Vec<Place> = due.map(|(place, _)| place.clone()).collect();
        for place in due {
            let mut first: Vec<u64> = self.held.of(&place).filter_map(|line| line.first().copied()).collect();
            first.sort_unstable();
            // An endpoint of its own trouble does not keep the others from looking.
            if let Some(ticket) = first.into_iter().find(|ticket| self.look(now, *ticket, false)) {
                self.let_in_line(ticket);
            }
        }
    }

    fn shut(&mut self, now: Instant, place: &Place, link: &LinkId, wait: Option<RetryAfter>) {
        self.outages.forget_stale(now, |place| self.held.has(place));
        let is_new = self.outages.shut(now, place, link, wait);
        if is_new {
            // Who stands in line for it already comes back before the door.
            let hit = |request: &Request| {
                let of_endpoint = place.1.as_ref().is_none_or(|endpoint| *endpoint == request.link.endpoint);
                !request.held && of_endpoint && request.addresses.contains(&place.0)
            };
            let tickets: Vec<u64> =
                self.requests.iter().filter(|(_, request)| hit(request)).map(|(ticket, _)| *ticket).collect();
            for ticket in tickets {
                self.outages.stop_looking(ticket);
                self.admission.withdraw(ticket);
                self.place(now, ticket, false);
            }
        }
    }

    fn reopen(&mut self, places: impl IntoIterator<Item = Place>) {
        for place in places {
            if let Some(put_off) = self.outages.reopen(&place) {
                self.back.extend(put_off);
                self.let_all_go(&place);
            }
        }
    }

    /// A link has got in. Where it was the one that looked elsewhere, those of its endpoint that wait there go after it: their name
    /// leads to where it is now. So do those that can go there by another URL.
    fn follow(&mut self, link: &LinkId) {
        for place in self.outages.looked_at_by(link) {
            self.let_all_go(&place);
        }
        for ticket in self.held.with_other_urls(&link.endpoint) {
            self.dismiss(ticket, Word::Again);
        }
    }

    fn let_all_go(&mut self, place: &Place) {
        let tickets: BTreeSet<u64> = self.held.of(place).flatten().copied().collect();
        for ticket in tickets {
            self.dismiss(ticket, Word::Again);
        }
    }

    /// It waits no more.
    fn dismiss(&mut self, ticket: u64, word: Word) {
        if let Some(request) = self.requests.remove(&ticket) {
            self.held.remove(ticket, &request);
            self.words.insert(ticket, word);
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
