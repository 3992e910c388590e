//! What is known to be down, and who probes whether it is back.
//!
//! A probe is one link's, and takes each scope that it would find out about: the address, and its endpoint at the address.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use crate::{
    clock::Clock,
    event::{LinkId, RetryAfter},
};

/// The first probe of what has just gone down comes after this at the earliest, unless the link that saw it go probes itself.
pub(super) const SHORTEST: Duration = Duration::from_millis(100);
/// Between two probes of what has long been down.
pub(super) const LONGEST: Duration = Duration::from_secs(5);
/// Probes are so many to the age of an outage: it is known to be over within a fiftieth of it.
pub(super) const PROBES: u32 = 50;
/// What nobody has asked about for this long is forgotten.
pub(super) const STALE: Duration = Duration::from_mins(5);

/// An address, for all endpoints or for one.
pub(super) type Scope = (SocketAddr, Option<Arc<str>>);

/// Who need not wait any more for a server that is back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Back {
    /// The server had asked it to come later. Its own backoff goes on.
    PutOff(LinkId),
    /// It was held, and was sent to probe for the others while the server was down. It has not failed by its own attempt, so it goes
    /// with those for whom it probed.
    Sent(LinkId),
}

/// An outage of a scope.
#[derive(Debug)]
pub(super) struct Outage {
    pub(super) since: Instant,
    /// A link that is held may not probe before this.
    pub(super) next: Instant,
    /// Who probes, or did last: it follows its own backoff, as if it were alone.
    pub(super) prober: LinkId,
    /// Whose probe is under way.
    pub(super) probing: Option<u64>,
    /// Who was asked to come later, and when.
    put_off: BTreeMap<LinkId, Instant>,
    /// Who was held and has probed for the others.
    sent: BTreeSet<LinkId>,
}

impl Outage {
    fn may_be_probed(&self, now: Instant, link: &LinkId) -> bool {
        let is_put_off = || self.put_off.get(link).is_some_and(|until| *until > now);
        self.probing.is_none() && (self.next <= now || self.prober == *link && !is_put_off())
    }
}

/// All that is down.
#[derive(Debug, Default)]
pub(super) struct Outages(BTreeMap<Scope, Outage>);

impl Outages {
    /// What keeps a link from an address.
    pub(super) fn of(&self, link: &LinkId, address: SocketAddr) -> impl Iterator<Item = &Outage> {
        // Most of the time nothing is down, and nothing need be looked up.
        let scopes = (!self.0.is_empty()).then(|| scopes(link, address));
        scopes.into_iter().flatten().filter_map(|scope| self.0.get(&scope))
    }

    /// Scopes that nobody probes, and when a link that is held may.
    pub(super) fn to_probe(&self) -> impl Iterator<Item = (&Scope, Instant)> {
        self.0.iter().filter(|(_, outage)| outage.probing.is_none()).map(|(scope, outage)| (scope, outage.next))
    }

    /// Those of the addresses that a link may probe; an urgent one may probe all.
    pub(super) fn for_probe(
        &self,
        now: Instant,
        link: &LinkId,
        addresses: &[SocketAddr],
        urgent: bool,
    ) -> Vec<SocketAddr> {
        let may =
            |address: &SocketAddr| self.of(link, *address).all(|outage| urgent || outage.may_be_probed(now, link));
        addresses.iter().copied().filter(may).collect()
    }

    /// A link probes these addresses, and is their prober from then on. `is_sent`: not by its own backoff, but for all that are held.
    pub(super) fn probe(&mut self, ticket: u64, link: &LinkId, addresses: &[SocketAddr], is_sent: bool) {
        for scope in addresses.iter().flat_map(|address| scopes(link, *address)) {
            if let Some(outage) = self.0.get_mut(&scope) {
                (outage.probing, outage.prober) = (Some(ticket), link.clone());
                if is_sent {
                    outage.sent.insert(link.clone());
                }
            }
        }
    }

    /// The probe of this ticket is over, or will not be.
    pub(super) fn stop_probing(&mut self, ticket: u64) {
        for outage in self.0.values_mut().filter(|outage| outage.probing == Some(ticket)) {
            outage.probing = None;
        }
    }

    /// A link has found a scope down, and was asked to come later than this. Answers whether that is news.
    pub(super) fn shut(&mut self, now: Instant, scope: &Scope, link: &LinkId, wait: Option<RetryAfter>) -> bool {
        let is_new = !self.0.contains_key(scope);
        let outage = self.0.entry(scope.clone()).or_insert_with(|| Outage {
            since: now,
            next: now,
            prober: link.clone(),
            probing: None,
            put_off: BTreeMap::new(),
            sent: BTreeSet::new(),
        });
        let spacing = (now.saturating_duration_since(outage.since) / PROBES).clamp(SHORTEST, LONGEST);
        outage.next = now.later(wait.map_or(spacing, |wait| wait.span().max(spacing)));
        outage.prober = link.clone();
        if let Some(wait) = wait {
            outage.put_off.insert(link.clone(), now.later(wait.span()));
        }
        is_new
    }

    /// A scope is back, if it was down: who need not wait for it any more.
    pub(super) fn reopen(&mut self, scope: &Scope) -> Option<impl Iterator<Item = Back> + use<>> {
        let Outage { put_off, sent, .. } = self.0.remove(scope)?;
        Some(put_off.into_keys().map(Back::PutOff).chain(sent.into_iter().map(Back::Sent)))
    }

    /// Where a link was the last to probe, as its endpoint sees it.
    pub(super) fn probed_by(&self, link: &LinkId) -> Vec<Scope> {
        let left = self.0.iter().filter(|(_, outage)| outage.prober == *link && outage.probing.is_none());
        left.map(|((address, _), _)| (*address, Some(Arc::clone(&link.endpoint)))).collect()
    }

    /// Forgets what has been down and nobody waits for: addresses of names come and go.
    pub(super) fn forget_stale(&mut self, now: Instant, is_awaited: impl Fn(&Scope) -> bool) {
        let is_stale = |outage: &Outage| outage.probing.is_none() && now.saturating_duration_since(outage.next) > STALE;
        self.0.retain(|scope, outage| !is_stale(outage) || is_awaited(scope));
    }

    /// How many there are.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }
}

/// What speaks for a link at an address.
fn scopes(link: &LinkId, address: SocketAddr) -> [Scope; 2] {
    [(address, None), (address, Some(Arc::clone(&link.endpoint)))]
}
