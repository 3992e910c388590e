//! The pool's door, asked by every dial: the core's rules behind a lock, with a oneshot for each that waits.
//!
//! A grant whose dial has gone away meanwhile is given back at once, so that nothing leaks through a cancelled attempt.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::SystemTime,
};

use tokio::{
    sync::{Notify, oneshot},
    time::Instant,
};

use super::{endpoints::Endpoints, view::StandingView};
use crate::{
    link::{BoxFuture, Gate, Order, Permit, Place},
    observe::Families,
};
use wskeeper_core::{
    admission::Policy,
    clock::Clock,
    door::{Door, Grant, Knock, Verdict, Word},
    event::LinkId,
    lobby::Lobby,
};

/// Links named that hold a place.
const HOLDERS_SHOWN: usize = 8;

/// Admission over the whole pool.
#[derive(Debug)]
pub(super) struct Gatekeeper {
    desk: Mutex<Desk>,
    /// A rate limit holds someone back, or somebody waits to look after an address: `run` wakes when the moment has come.
    held_back: Notify,
    families: Arc<Families>,
    /// Whose links it lets in, to tell them news.
    endpoints: Weak<Endpoints>,
}

#[derive(Debug)]
struct Desk {
    lobby: Lobby,
    door: Door,
    waiting: BTreeMap<u64, Waiter>,
    /// Who is CONNECTING, and where.
    holders: BTreeMap<u64, (LinkId, SocketAddr)>,
    next_ticket: u64,
    /// When `run` looks again by itself, or sooner.
    awake_at: Option<std::time::Instant>,
}

#[derive(Debug)]
struct Waiter {
    link: LinkId,
    reply: Reply,
}

/// What it waits for.
#[derive(Debug)]
enum Reply {
    /// To prepare an attempt.
    Place(oneshot::Sender<Place>),
    /// To dial, or for something else to do.
    Permit(oneshot::Sender<Result<Box<Permit>, Word>>),
    /// To dial a further address.
    Extra(oneshot::Sender<Box<Permit>>),
}

impl Gatekeeper {
    pub(super) fn new(policy: Policy, families: Arc<Families>, endpoints: Weak<Endpoints>) -> Arc<Self> {
        let desk = Desk {
            lobby: Lobby::new(policy.total),
            door: Door::new(policy, Instant::now().into_std()),
            waiting: BTreeMap::new(),
            holders: BTreeMap::new(),
            next_ticket: 0,
            awake_at: None,
        };
        Arc::new(Self { desk: Mutex::new(desk), held_back: Notify::new(), families, endpoints })
    }

    pub(super) fn set_policy(self: &Arc<Self>, policy: Policy) {
        let mut desk = self.desk();
        desk.lobby.set_limit(policy.total);
        desk.door.set_policy(policy, Instant::now().into_std());
        drop(desk);
        self.grant();
    }

    /// Grants what a rate limit or an outage had held back, when its time has come. Runs as long as the pool.
    pub(super) async fn run(self: Arc<Self>) {
        loop {
            let (next, _) = self.let_in();
            let news = self.held_back.notified();
            match next {
                Some(at) => drop(tokio::time::timeout_at(at.into(), news).await),
                None => news.await,
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
        let is_extra = |waiter: &Waiter| matches!(waiter.reply, Reply::Extra(_));
        let (ticket, _) = desk.waiting.iter().find(|(_, waiter)| waiter.link == *link && !is_extra(waiter))?;
        let wanted = desk.door.addresses(*ticket);
        let holders = desk.holders.values().filter(|(_, address)| wanted.contains(address));
        let holders: Vec<_> = holders.map(|(link, _)| link.clone()).take(HOLDERS_SHOWN).collect();
        let now = Instant::now().into_std();
        let down = desk.door.down_since(*ticket).map(|since| now.saturating_duration_since(since));
        let down_since = down.map(|down| SystemTime::now().earlier(down));
        let held_by_rate = down.is_none() && desk.door.held_by_rate(now).is_some();
        Some(StandingView {
            ahead: desk.door.ahead(*ticket).or_else(|| desk.lobby.ahead(&link.endpoint, *ticket))?,
            held_by_rate: held_by_rate && holders.is_empty(),
            holders,
            connecting: desk.door.connecting(),
            down_since,
            awaited: desk.door.awaited(*ticket).map(|(link, at)| {
                (link.clone(), at.map(|at| SystemTime::now().later(at.saturating_duration_since(now))))
            }),
        })
    }

    /// Grants what can be granted, and wakes `run` where that has to look again before it would.
    fn grant(self: &Arc<Self>) {
        if let (Some(_), true) = self.let_in() {
            self.held_back.notify_one();
        }
    }

    /// Grants what can be granted. Answers with when to look again though nothing has happened, and whether that is sooner than it was.
    fn let_in(self: &Arc<Self>) -> (Option<std::time::Instant>, bool) {
        let now = Instant::now().into_std();
        let mut desk = self.desk();
        Self::tell_words(&mut desk);
        while let Some((ticket, address)) = desk.door.poll_grant(now) {
            // A withdrawn ticket is withdrawn from the admission too, so each grant has its waiter.
            let Some(Waiter { link, reply }) = desk.waiting.remove(&ticket) else { continue };
            let extra = matches!(reply, Reply::Extra(_));
            let keeper = Arc::clone(self);
            let release = Box::new(move |verdict| keeper.release(ticket, extra, verdict));
            desk.holders.insert(ticket, (link, address));
            let permit = Permit::new(address, Some(release));
            let unwanted = match reply {
                Reply::Permit(reply) => reply.send(Ok(permit)).err().and_then(Result::ok),
                Reply::Extra(reply) => reply.send(permit).err(),
                Reply::Place(_) => Some(permit),
            };
            if let Some(mut unwanted) = unwanted {
                unwanted.release = None;
                desk.release(now, ticket, extra, None);
            }
        }
        self.families.admission_waiting(desk.door.waiting() + desk.lobby.waiting());
        let next = desk.door.poll_timeout(now);
        let before = std::mem::replace(&mut desk.awake_at, next);
        (next, next.is_some_and(|at| before.is_none_or(|before| at < before)))
    }

    /// Tells those who wait no more what to do instead.
    fn tell_words(desk: &mut Desk) {
        while let Some((ticket, word)) = desk.door.poll_word() {
            if let Some(Waiter { reply: Reply::Permit(reply), .. }) = desk.waiting.remove(&ticket) {
                // Who waited may have gone in this moment.
                let _ = reply.send(Err(word));
            }
        }
    }

    fn release(self: &Arc<Self>, ticket: u64, extra: bool, verdict: Option<Verdict>) {
        let back = {
            let mut desk = self.desk();
            desk.release(Instant::now().into_std(), ticket, extra, verdict);
            desk.door.take_back()
        };
        self.grant();
        for link in back {
            let Some(endpoints) = self.endpoints.upgrade() else { return };
            if let Some(slot) = endpoints.slot(&link.endpoint, link.index) {
                // One that has so much to do comes when it was told to.
                let _ = slot.orders.try_send(Box::new(Order::ServerBack));
            }
        }
    }

    /// Somebody who prepared an attempt is past it: others go on.
    fn leave(self: &Arc<Self>, endpoint: &Arc<str>) {
        let mut desk = self.desk();
        let mut leaving = 1;
        while leaving > 0 {
            leaving -= 1;
            for ticket in desk.lobby.leave(endpoint) {
                let Some(Waiter { reply: Reply::Place(reply), .. }) = desk.waiting.remove(&ticket) else { continue };
                if let Err(mut unwanted) = reply.send(self.place(endpoint)) {
                    // Who waited has gone in this moment.
                    unwanted.forget();
                    leaving += 1;
                }
            }
        }
        self.families.admission_waiting(desk.door.waiting() + desk.lobby.waiting());
    }

    fn place(self: &Arc<Self>, endpoint: &Arc<str>) -> Place {
        let (keeper, endpoint) = (Arc::clone(self), Arc::clone(endpoint));
        Place::new(Box::new(move || keeper.leave(&endpoint)))
    }

    fn withdraw(self: &Arc<Self>, ticket: u64) {
        let mut desk = self.desk();
        if let Some(waiter) = desk.waiting.remove(&ticket) {
            match waiter.reply {
                Reply::Place(_) => desk.lobby.withdraw(&waiter.link.endpoint, ticket),
                Reply::Permit(_) | Reply::Extra(_) => desk.door.withdraw(ticket),
            }
            drop(desk);
            // Who was to look instead of the others may have gone: another one is to.
            self.grant();
        }
    }

    fn desk(&self) -> MutexGuard<'_, Desk> {
        self.desk.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Desk {
    fn release(&mut self, now: std::time::Instant, ticket: u64, extra: bool, verdict: Option<Verdict>) {
        if let Some((link, address)) = self.holders.remove(&ticket) {
            self.door.release(now, Grant { ticket, link: &link, address, extra }, verdict);
        }
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
    fn approach(&self, link: LinkId) -> BoxFuture<Place> {
        let keeper = Arc::clone(&self.0);
        let mut desk = keeper.desk();
        let number = desk.next_ticket;
        desk.next_ticket += 1;
        if desk.lobby.enter(&link.endpoint, number) {
            drop(desk);
            return Box::pin(std::future::ready(keeper.place(&link.endpoint)));
        }
        let (reply, answer) = oneshot::channel();
        desk.waiting.insert(number, Waiter { link, reply: Reply::Place(reply) });
        self.0.families.admission_waiting(desk.door.waiting() + desk.lobby.waiting());
        drop(desk);
        Box::pin(answered(Ticket { number, keeper }, answer))
    }

    fn admit(&self, knock: Knock) -> BoxFuture<Result<Box<Permit>, Word>> {
        let link = knock.link.clone();
        self.ask(link, Reply::Permit, |door, ticket| door.ask(Instant::now().into_std(), ticket, knock))
    }

    fn admit_extra(&self, link: LinkId, address: SocketAddr) -> BoxFuture<Box<Permit>> {
        self.ask(link, Reply::Extra, |door, ticket| door.ask_extra(ticket, vec![address]))
    }
}

impl PoolGate {
    fn ask<T: Send + 'static>(
        &self,
        link: LinkId,
        reply: fn(oneshot::Sender<T>) -> Reply,
        ask: impl FnOnce(&mut Door, u64),
    ) -> BoxFuture<T> {
        let keeper = Arc::clone(&self.0);
        let (sender, answer) = oneshot::channel();
        let number = {
            let mut desk = keeper.desk();
            let number = desk.next_ticket;
            desk.next_ticket += 1;
            ask(&mut desk.door, number);
            desk.waiting.insert(number, Waiter { link, reply: reply(sender) });
            number
        };
        keeper.grant();
        Box::pin(answered(Ticket { number, keeper }, answer))
    }
}

async fn answered<T>(_ticket: Ticket, answer: oneshot::Receiver<T>) -> T {
    match answer.await {
        Ok(answer) => answer,
        // The keeper lives as long as its tickets, and a waiter is only ever removed to be answered or withdrawn.
        Err(_) => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests;
