//! The pool's admission, asked by every dial: the core's rules behind a lock, with a oneshot for each that waits.
//!
//! A grant whose dial has gone away meanwhile is given back at once, so that nothing leaks through a cancelled attempt.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::{
    sync::{Notify, oneshot},
    time::Instant,
};

use super::view::StandingView;
use crate::{
    core::{
        admission::{Admission, Policy},
        event::LinkId,
    },
    link::{BoxFuture, Gate, Permit},
    observe::Families,
};

/// Links named that hold a place.
const HOLDERS_SHOWN: usize = 8;

/// Admission over the whole pool.
#[derive(Debug)]
pub(super) struct Gatekeeper {
    desk: Mutex<Desk>,
    /// A rate limit holds someone back: `run` wakes at the moment it does not.
    held_back: Notify,
    families: Arc<Families>,
}

#[derive(Debug)]
struct Desk {
    admission: Admission,
    waiting: BTreeMap<u64, Waiter>,
    /// Who is CONNECTING, and where.
    holders: BTreeMap<u64, (LinkId, SocketAddr)>,
    next_ticket: u64,
}

#[derive(Debug)]
struct Waiter {
    link: LinkId,
    reply: oneshot::Sender<Permit>,
    extra: bool,
}

impl Gatekeeper {
    pub(super) fn new(policy: Policy, families: Arc<Families>) -> Arc<Self> {
        let admission = Admission::new(policy, Instant::now().into_std());
        let desk = Desk { admission, waiting: BTreeMap::new(), holders: BTreeMap::new(), next_ticket: 0 };
        Arc::new(Self { desk: Mutex::new(desk), held_back: Notify::new(), families })
    }

    pub(super) fn set_policy(self: &Arc<Self>, policy: Policy) {
        self.desk().admission.set_policy(policy, Instant::now().into_std());
        self.grant();
    }

    /// Grants what a rate limit had held back, when its time has come. Runs as long as the pool.
    pub(super) async fn run(self: Arc<Self>) {
        loop {
            let next = self.desk().admission.poll_timeout(Instant::now().into_std());
            match next {
                Some(at) => {
                    let _ = tokio::time::timeout_at(at.into(), self.held_back.notified()).await;
                    self.grant();
                }
                None => self.held_back.notified().await,
            }
        }
    }

    /// The links that wait to be let in.
    pub(super) fn waiting(&self) -> BTreeSet<LinkId> {
        self.desk().waiting.values().map(|waiter| waiter.link.clone()).collect()
    }

    /// Loses every request, as a fault would.
    #[cfg(test)]
    pub(super) fn forget_all(&self) {
        let forgotten = std::mem::take(&mut self.desk().waiting);
        // Their tickets must not be answered.
        std::mem::forget(forgotten);
    }

    /// Where a link stands in line; `None`: it does not wait. Looks at everybody who does, so for people only.
    pub(super) fn standing(&self, link: &LinkId) -> Option<StandingView> {
        let desk = self.desk();
        let (ticket, _) = desk.waiting.iter().find(|(_, waiter)| waiter.link == *link && !waiter.extra)?;
        let wanted = desk.admission.addresses(*ticket);
        let holders = desk.holders.values().filter(|(_, address)| wanted.contains(address));
        let holders: Vec<_> = holders.map(|(link, _)| link.clone()).take(HOLDERS_SHOWN).collect();
        let held_by_rate = desk.admission.poll_timeout(Instant::now().into_std()).is_some();
        Some(StandingView {
            ahead: desk.admission.ahead(*ticket)?,
            held_by_rate: held_by_rate && holders.is_empty(),
            holders,
            connecting: desk.admission.connecting(),
        })
    }

    fn grant(self: &Arc<Self>) {
        let now = Instant::now().into_std();
        let mut desk = self.desk();
        while let Some((ticket, address)) = desk.admission.poll_grant(now) {
            // A withdrawn ticket is withdrawn from the admission too, so each grant has its waiter.
            let Some(Waiter { link, reply, extra }) = desk.waiting.remove(&ticket) else { continue };
            let keeper = Arc::clone(self);
            let release = Box::new(move || keeper.release(ticket, address, extra));
            desk.holders.insert(ticket, (link, address));
            if let Err(mut unwanted) = reply.send(Permit { address, release: Some(release) }) {
                unwanted.release = None;
                desk.holders.remove(&ticket);
                desk.admission.release(address, extra);
            }
        }
        self.families.admission_waiting(desk.admission.waiting());
        if desk.admission.poll_timeout(now).is_some() {
            self.held_back.notify_one();
        }
    }

    fn release(self: &Arc<Self>, ticket: u64, address: SocketAddr, extra: bool) {
        let mut desk = self.desk();
        desk.holders.remove(&ticket);
        desk.admission.release(address, extra);
        drop(desk);
        self.grant();
    }

    fn withdraw(self: &Arc<Self>, ticket: u64) {
        let mut desk = self.desk();
        if desk.waiting.remove(&ticket).is_some() {
            desk.admission.withdraw(ticket);
            self.families.admission_waiting(desk.admission.waiting());
        }
    }

    fn desk(&self) -> MutexGuard<'_, Desk> {
        self.desk.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A request that waits; dropping it withdraws it.
struct Ticket {
    number: u64,
    keeper: Arc<Gatekeeper>,
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.keeper.withdraw(self.number);
    }
}

/// The pool's gate as the link room sees it.
#[derive(Debug, Clone)]
pub(super) struct PoolGate(pub(super) Arc<Gatekeeper>);

impl Gate for PoolGate {
    fn admit(&self, link: LinkId, addresses: Vec<SocketAddr>, extra: bool) -> BoxFuture<Permit> {
        let keeper = Arc::clone(&self.0);
        let (reply, answer) = oneshot::channel();
        let number = {
            let mut desk = keeper.desk();
            let number = desk.next_ticket;
            desk.next_ticket += 1;
            desk.waiting.insert(number, Waiter { link, reply, extra });
            desk.admission.ask(number, addresses, extra);
            number
        };
        keeper.grant();
        let ticket = Ticket { number, keeper };
        Box::pin(async move {
            let _ticket = ticket;
            match answer.await {
                Ok(permit) => permit,
                // The keeper lives as long as its tickets, and a waiter is only ever removed to be answered or withdrawn.
                Err(_) => std::future::pending().await,
            }
        })
    }
}
