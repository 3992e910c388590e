//! Admission of the whole pool, asked by every dial: the core's rules behind a lock, with a oneshot for each that waits.
//!
//! A grant whose dial has gone away meanwhile is given back at once, so that nothing leaks through a cancelled attempt.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    sync::{Arc, Weak},
    time::SystemTime,
};

use parking_lot::{Mutex, MutexGuard};
use tokio::{
    sync::{Notify, oneshot},
    time::Instant,
};

use super::{endpoints::Endpoints, view::StandingView};
use crate::{
    link::{Admit, BoxFuture, Order, Permit, PreparePermit},
    observer::Observer,
};
use wskeeper_core::{
    admission::{Admission, Back, Dismissal, Grant, Policy, Request, Verdict, prepare::PrepareLimit},
    clock::Clock,
    event::LinkId,
};

/// Links named that hold a place.
const HOLDERS_SHOWN: usize = 8;

/// Admission over the whole pool.
#[derive(Debug)]
pub(super) struct AdmissionControl {
    state: Mutex<State>,
    /// A rate limit holds someone back, or a link waits to probe an address: `run` wakes when the moment has come.
    held_back: Notify,
    observer: Arc<dyn Observer>,
    /// Whose links it lets in, to tell them news.
    endpoints: Weak<Endpoints>,
}

#[derive(Debug)]
struct State {
    prepare: PrepareLimit,
    admission: Admission,
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
    Prepare(oneshot::Sender<PreparePermit>),
    /// To dial, or for something else to do.
    Permit(oneshot::Sender<Result<Box<Permit>, Dismissal>>),
    /// To dial a further address.
    Extra(oneshot::Sender<Box<Permit>>),
}

impl AdmissionControl {
    pub(super) fn new(policy: Policy, observer: Arc<dyn Observer>, endpoints: Weak<Endpoints>) -> Arc<Self> {
        let state = State {
            prepare: PrepareLimit::new(policy.total),
            admission: Admission::new(policy, Instant::now().into_std()),
            waiting: BTreeMap::new(),
            holders: BTreeMap::new(),
            next_ticket: 0,
            awake_at: None,
        };
        Arc::new(Self { state: Mutex::new(state), held_back: Notify::new(), observer, endpoints })
    }

    pub(super) fn set_policy(self: &Arc<Self>, policy: Policy) {
        let mut state = self.state();
        state.prepare.set_limit(policy.total);
        state.admission.set_policy(policy, Instant::now().into_std());
        drop(state);
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
        self.state().waiting.values().map(|waiter| waiter.link.clone()).collect()
    }

    /// Loses every request, as a fault would.
    #[cfg(test)]
    pub(super) fn forget_all(&self) {
        let forgotten = std::mem::take(&mut self.state().waiting);
        // Their tickets must not be answered.
        std::mem::forget(forgotten);
    }

    /// Where a link stands in line; `None`: it does not wait. Looks at everybody who does, so for people only.
    pub(super) fn standing(&self, link: &LinkId, date: SystemTime) -> Option<StandingView> {
        let state = self.state();
        let is_extra = |waiter: &Waiter| matches!(waiter.reply, Reply::Extra(_));
        let (ticket, _) = state.waiting.iter().find(|(_, waiter)| waiter.link == *link && !is_extra(waiter))?;
        let wanted = state.admission.addresses(*ticket);
        let holders = state.holders.values().filter(|(_, address)| wanted.contains(address));
        let holders: Vec<_> = holders.map(|(link, _)| link.clone()).take(HOLDERS_SHOWN).collect();
        let now = Instant::now().into_std();
        let down = state.admission.down_since(*ticket).map(|since| now.saturating_duration_since(since));
        let down_since = down.map(|down| date.earlier(down));
        let held_by_rate = down.is_none() && state.admission.held_by_rate(now).is_some();
        Some(StandingView {
            ahead: state.admission.ahead(*ticket).or_else(|| state.prepare.ahead(&link.endpoint, *ticket))?,
            held_by_rate: held_by_rate && holders.is_empty(),
            holders,
            connecting: state.admission.connecting(),
            down_since,
            awaited: state
                .admission
                .awaited(*ticket)
                .map(|(link, at)| (link.clone(), at.map(|at| date.later(at.saturating_duration_since(now))))),
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
        let mut state = self.state();
        Self::dismiss(&mut state);
        while let Some((ticket, address)) = state.admission.poll_grant(now) {
            // A withdrawn ticket is withdrawn from admission too, so each grant has its waiter.
            let Some(Waiter { link, reply }) = state.waiting.remove(&ticket) else { continue };
            let extra = matches!(reply, Reply::Extra(_));
            let control = Arc::clone(self);
            let release = Box::new(move |verdict| control.release(ticket, extra, verdict));
            state.holders.insert(ticket, (link, address));
            let permit = Permit::new(address, Some(release));
            let unwanted = match reply {
                Reply::Permit(reply) => reply.send(Ok(permit)).err().and_then(Result::ok),
                Reply::Extra(reply) => reply.send(permit).err(),
                Reply::Prepare(_) => Some(permit),
            };
            if let Some(mut unwanted) = unwanted {
                unwanted.release = None;
                state.release(now, ticket, extra, None);
            }
        }
        self.observer.admission_waiting(state.admission.waiting() + state.prepare.waiting());
        let next = state.admission.poll_timeout(now);
        let before = std::mem::replace(&mut state.awake_at, next);
        (next, next.is_some_and(|at| before.is_none_or(|before| at < before)))
    }

    /// Tells those who wait no more what to do instead.
    fn dismiss(state: &mut State) {
        while let Some((ticket, dismissal)) = state.admission.poll_dismissal() {
            if let Some(Waiter { reply: Reply::Permit(reply), .. }) = state.waiting.remove(&ticket) {
                // Who waited may have gone in this moment.
                let _ = reply.send(Err(dismissal));
            }
        }
    }

    fn release(self: &Arc<Self>, ticket: u64, extra: bool, verdict: Option<Verdict>) {
        let back = {
            let mut state = self.state();
            state.release(Instant::now().into_std(), ticket, extra, verdict);
            state.admission.take_back()
        };
        self.grant();
        for back in back {
            let (Back::PutOff(link) | Back::Sent(link)) = &back;
            let Some(endpoints) = self.endpoints.upgrade() else { return };
            if let Some(slot) = endpoints.slot(&link.endpoint, link.index) {
                // One that has so much to do comes when it was told to.
                let _ = slot.orders.try_send(Box::new(Order::ServerBack { was_sent: matches!(back, Back::Sent(_)) }));
            }
        }
    }

    /// Asks, and waits for the answer.
    fn ask<T: Send + 'static>(
        self: Arc<Self>,
        link: LinkId,
        reply: fn(oneshot::Sender<T>) -> Reply,
        ask: impl FnOnce(&mut Admission, u64),
    ) -> BoxFuture<T> {
        let (sender, answer) = oneshot::channel();
        let number = {
            let mut state = self.state();
            let number = state.next_ticket;
            state.next_ticket += 1;
            ask(&mut state.admission, number);
            state.waiting.insert(number, Waiter { link, reply: reply(sender) });
            number
        };
        self.grant();
        Box::pin(answered(Ticket { number, control: self }, answer))
    }

    /// Somebody who prepared an attempt is past it: others go on.
    fn leave(self: &Arc<Self>, endpoint: &Arc<str>) {
        let mut state = self.state();
        let mut leaving = 1;
        while leaving > 0 {
            leaving -= 1;
            for ticket in state.prepare.leave(endpoint) {
                let Some(Waiter { reply: Reply::Prepare(reply), .. }) = state.waiting.remove(&ticket) else { continue };
                if let Err(mut unwanted) = reply.send(self.prepare_permit(endpoint)) {
                    // Who waited has gone in this moment.
                    unwanted.forget();
                    leaving += 1;
                }
            }
        }
        self.observer.admission_waiting(state.admission.waiting() + state.prepare.waiting());
    }

    fn prepare_permit(self: &Arc<Self>, endpoint: &Arc<str>) -> PreparePermit {
        let (control, endpoint) = (Arc::clone(self), Arc::clone(endpoint));
        PreparePermit::new(Box::new(move || control.leave(&endpoint)))
    }

    fn withdraw(self: &Arc<Self>, ticket: u64) {
        let mut state = self.state();
        if let Some(waiter) = state.waiting.remove(&ticket) {
            match waiter.reply {
                Reply::Prepare(_) => state.prepare.withdraw(&waiter.link.endpoint, ticket),
                Reply::Permit(_) | Reply::Extra(_) => state.admission.withdraw(ticket),
            }
            drop(state);
            // The prober may have gone: another one is to probe.
            self.grant();
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }
}

impl State {
    fn release(&mut self, now: std::time::Instant, ticket: u64, extra: bool, verdict: Option<Verdict>) {
        if let Some((link, address)) = self.holders.remove(&ticket) {
            self.admission.release(now, Grant { ticket, link: &link, address, extra }, verdict);
        }
    }
}

/// A request that waits; dropping it withdraws it.
struct Ticket {
    number: u64,
    control: Arc<AdmissionControl>,
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.control.withdraw(self.number);
    }
}

/// Admission as links see it.
impl Admit for AdmissionControl {
    fn prepare(self: Arc<Self>, link: LinkId) -> BoxFuture<PreparePermit> {
        let mut state = self.state();
        let number = state.next_ticket;
        state.next_ticket += 1;
        if state.prepare.enter(&link.endpoint, number) {
            drop(state);
            return Box::pin(std::future::ready(self.prepare_permit(&link.endpoint)));
        }
        let (reply, answer) = oneshot::channel();
        state.waiting.insert(number, Waiter { link, reply: Reply::Prepare(reply) });
        self.observer.admission_waiting(state.admission.waiting() + state.prepare.waiting());
        drop(state);
        Box::pin(answered(Ticket { number, control: self }, answer))
    }

    fn admit(self: Arc<Self>, request: Request) -> BoxFuture<Result<Box<Permit>, Dismissal>> {
        let link = request.link.clone();
        self.ask(link, Reply::Permit, |admission, ticket| admission.ask(Instant::now().into_std(), ticket, request))
    }

    fn admit_extra(self: Arc<Self>, link: LinkId, address: SocketAddr) -> BoxFuture<Box<Permit>> {
        self.ask(link, Reply::Extra, |admission, ticket| admission.ask_extra(ticket, vec![address]))
    }
}

async fn answered<T>(_ticket: Ticket, answer: oneshot::Receiver<T>) -> T {
    match answer.await {
        Ok(answer) => answer,
        // Admission lives as long as its tickets, and a waiter is only ever removed to be answered or withdrawn.
        Err(_) => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests;
