//! Links of an endpoint that are away from the first of their URLs: who they are, what is known of those URLs, and how they come home.
//!
//! What is decided is `wskeeper_core::failback`. Here it is fed with what links show, probes are made, and links are told. What a reader
//! would get wrong: there is no task while nobody is away, and one for all links of an endpoint while somebody is.

use std::{
    collections::BTreeMap,
    panic::AssertUnwindSafe,
    sync::Arc,
    time::{Duration, Instant},
};

use futures_util::FutureExt as _;
use parking_lot::{Mutex, MutexGuard};
use tokio::{
    sync::Notify,
    task::JoinSet,
    time::{sleep_until, timeout},
};

use super::{admission::AdmissionControl, noted::Noted, parts::PoolParts, runtime::EndpointRuntime, view::AwayView};
use crate::{
    clock::Calendar,
    endpoint::Endpoint,
    link::{Dial as _, Dialer, Order, farewell},
};
use wskeeper_core::{
    allowance::For,
    chance::Chance,
    clock::Clock,
    event::LinkId,
    failback::{Failback, Homing},
    link::{Link, Policy, Round, To},
};

/// The homes of an endpoint's links.
#[derive(Debug)]
pub(super) struct Homes {
    endpoint: Arc<str>,
    /// Where links find the place in the order of the URLs that their number is added to.
    first_place: u32,
    known: Mutex<Known>,
    strays: Arc<Noted>,
    news: Notify,
}

#[derive(Debug)]
struct Known {
    /// `None`: links stay where they are.
    failback: Option<Failback>,
    urls: Vec<Arc<str>>,
    /// Why the last probe of a URL came to nothing.
    failures: BTreeMap<usize, Box<str>>,
    /// Somebody looks after it.
    is_tended: bool,
    seed: u64,
}

impl Homes {
    /// Nobody is away.
    pub(super) fn new(strays: &Arc<Noted>, endpoint: &Endpoint, seed: u64) -> Self {
        let first_place = u32::try_from(Chance::new(seed).bits() >> 33).unwrap_or_default();
        let known = Known { failback: None, urls: Vec::new(), failures: BTreeMap::new(), is_tended: false, seed };
        let (strays, known) = (Arc::clone(strays), Mutex::new(known));
        let homes = Self { endpoint: Arc::clone(&endpoint.name), first_place, known, strays, news: Notify::new() };
        homes.follow(endpoint);
        homes
    }

    /// Follows the endpoint's configuration.
    pub(super) fn follow(&self, endpoint: &Endpoint) {
        let Policy { failback, failback_after, .. } = *endpoint.link;
        let urls: Vec<_> = (0..endpoint.urls.len()).map(|index| endpoint.shown_url(index)).collect();
        let mut known = self.known();
        let seed = known.seed;
        let is_other = known.urls != urls;
        known.urls = urls;
        if !failback {
            known.failback = None;
        } else if let Some(known) = known.failback.as_mut().filter(|_| !is_other) {
            known.set_after(failback_after);
        } else {
            known.failback = Some(Failback::new(failback_after, seed));
            known.failures.clear();
        }
        drop(known);
        self.news.notify_one();
    }

    /// The place of a link in the order of the URLs.
    pub(super) fn place(&self, link: u32) -> u32 {
        self.first_place.wrapping_add(link)
    }

    /// The URL that a link begins with.
    pub(super) fn first(&self, policy: &Policy, link: u32) -> usize {
        Round::new(policy.url_order, self.place(link)).first(policy.urls)
    }

    /// A link is away, or was until now.
    pub(super) fn note(&self, now: Instant, index: u32, link: &Link) {
        let mut known = self.known();
        let Some(failback) = &mut known.failback else { return };
        let was_due = failback.poll_timeout();
        failback.note(now, index, link.home(), link.whereabouts());
        let (is_news, is_any) = (failback.poll_timeout() != was_due, failback.is_any_away());
        let begins = is_any && !known.is_tended;
        drop(known);
        if begins {
            self.strays.note(&self.endpoint);
        } else if is_news {
            self.news.notify_one();
        }
    }

    /// What is known of the home of a link that is away.
    pub(super) fn view(&self, link: u32, away: Option<usize>, calendar: &Calendar) -> Option<Box<AwayView>> {
        let home = away?;
        let known = self.known();
        let outlook = known.failback.as_ref().and_then(|failback| failback.outlook(link));
        let now = now();
        let date = |at| calendar.date(at, now);
        Some(Box::new(AwayView {
            home,
            home_url: known.urls.get(home).map(Arc::clone).unwrap_or_default(),
            returns: known.failback.is_some(),
            answers_since: outlook.and_then(|outlook| outlook.answers_since).map(date),
            returns_at: outlook.and_then(|outlook| outlook.returns_at).map(date),
            next_probe_at: outlook.and_then(|outlook| outlook.next_probe).map(date),
            wait: outlook.map_or(Duration::ZERO, |outlook| outlook.wait),
            failure: known.failures.get(&home).cloned(),
        }))
    }

    /// Somebody begins to look after them; false: somebody does already, or there is nobody to look after.
    fn begin(&self) -> bool {
        let mut known = self.known();
        let begins = !known.is_tended && known.failback.as_ref().is_some_and(Failback::is_any_away);
        known.is_tended |= begins;
        begins
    }

    /// What is to be done now, or when to ask again; `None`: nobody is away any more, and nobody looks after them from now on.
    fn next(&self) -> Option<Result<Homing, Instant>> {
        let (mut known, now) = (self.known(), now());
        let failback = known.failback.as_mut().filter(|failback| failback.is_any_away());
        let Some(failback) = failback else {
            known.is_tended = false;
            return None;
        };
        Some(failback.poll(now).ok_or_else(|| failback.poll_timeout().unwrap_or(now.later(Duration::from_mins(1)))))
    }

    /// What came of a probe.
    fn probed(&self, url: usize, failure: Option<Box<str>>) {
        let mut known = self.known();
        let shown = known.urls.get(url).map(Arc::clone).unwrap_or_default();
        if let Some(failback) = &mut known.failback {
            failback.probed(now(), url, failure.is_none());
        }
        let is_news = match failure {
            Some(failure) => known.failures.insert(url, failure).is_none(),
            None => known.failures.remove(&url).is_some(),
        };
        let failure = known.failures.get(&url).cloned();
        drop(known);
        if let Some(detail) = failure.filter(|_| is_news) {
            tracing::info!(endpoint = %self.endpoint, url = %shown, detail = %detail, "the first URL of links that are at another does not answer a probe");
        } else if is_news {
            tracing::info!(endpoint = %self.endpoint, url = %shown, "the first URL of links that are at another answers probes again");
        }
        self.news.notify_one();
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock()
    }
}

/// Looks after the links that are away, of all endpoints.
pub(super) async fn bring_home(parts: Arc<PoolParts>) {
    // They end with this.
    let mut tending = JoinSet::new();
    loop {
        tokio::select! {
            names = parts.strays.take() => {
                for runtime in names.iter().filter_map(|name| parts.endpoints.get(name)) {
                    if runtime.sinks.homes.begin() {
                        tending.spawn(tend(runtime, Arc::clone(&parts)));
                    }
                }
            }
            Some(_) = tending.join_next(), if !tending.is_empty() => {}
        }
    }
}

/// Looks after those of one endpoint.
async fn tend(runtime: Arc<EndpointRuntime>, parts: Arc<PoolParts>) {
    let homes = &runtime.sinks.homes;
    let mut probes = JoinSet::new();
    while let Some(next) = homes.next() {
        match next {
            Ok(Homing::Probe { url, link }) => {
                probes.spawn(probe(Arc::clone(&runtime), Arc::clone(&parts), url, link));
            }
            Ok(Homing::Return(link)) => {
                if let Some(slot) = runtime.slot(link) {
                    // One that has so much to do is told again after the next probe.
                    let _ = slot.orders.try_send(Box::new(Order::Return));
                }
            }
            Err(at) => {
                tokio::select! {
                    () = homes.news.notified() => {}
                    () = sleep_until(at.into()) => {}
                    Some(_) = probes.join_next(), if !probes.is_empty() => {}
                }
            }
        }
    }
}

/// Asks for a connection as the link would, up to the 101, and closes it.
async fn probe(runtime: Arc<EndpointRuntime>, parts: Arc<PoolParts>, url: usize, link: u32) {
    let config = runtime.config();
    let _turn = parts.probes.turn(&server(&config, url)).await;
    if let Some(Err(_)) = runtime.allowance().map(|allowance| allowance.take(now(), For::Spare)) {
        let failure = "reconnect.budget leaves no attempt for a probe".into();
        return runtime.sinks.homes.probed(url, Some(failure));
    }
    let id = LinkId { endpoint: Arc::clone(&runtime.name), index: link };
    let admission = Arc::<AdmissionControl>::clone(&parts.admission);
    let dialer = Dialer::new(id, Arc::<EndpointRuntime>::clone(&runtime), admission);
    // No outage holds it: nobody else's word on whether the server is back is waited for.
    let to = To { url, urgent: true, ..To::default() };
    let dialling = timeout(config.link.connect_timeout, async { dialer.dial(to, None, Box::new(|_| {})).await });
    // A panic, of which the log tells, is no answer either; without one nobody would probe again.
    let (dialled, failure) = match AssertUnwindSafe(dialling).catch_unwind().await {
        Ok(Ok(Ok(dialled))) => (Some(dialled), None),
        Ok(Ok(Err(failure))) => (None, Some(format!("{}: {}", failure.cause, failure.detail))),
        Ok(Err(_)) => (None, Some("no connection came about within connect_timeout".to_owned())),
        Err(_) => (None, Some("the attempt panicked: a bug in wskeeper".to_owned())),
    };
    runtime.sinks.homes.probed(url, failure.map(String::into_boxed_str));
    if let Some(dialled) = dialled {
        farewell(dialled).await;
    }
}

/// What tells the server of a URL from others.
fn server(config: &Endpoint, url: usize) -> String {
    match config.targets.get(url) {
        Some(Some(target)) => format!("{}:{}", target.host, target.port),
        // Where it leads is not known yet: it stands for itself.
        Some(None) | None => config.shown_url(url).to_string(),
    }
}

fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}
