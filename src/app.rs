//! The composition root: what is built in which order, and drained in which.
//!
//! Up: registry, pool, listener, API. Down: no new messages, outboxes flushed until the deadline, links closed with 1001,
//! streams of local consumers ended, listener closed. One deadline governs all of it.

use std::{collections::BTreeMap, path::PathBuf, sync::Arc, time::Duration};

use prometheus::Registry;
use tokio::{
    sync::{RwLock, watch},
    time::Instant,
};

use crate::{
    api::{Api, ListenError, Listener, WRITING},
    config::{Beside, Config, Fingerprint, InForce, Sources},
    observe::{Exporter, Families, Telling},
    process::{files, notify::Notify, passed::Passed, signals::Signals},
    provider::DaemonProvider,
    push::Pushes,
};
use dynamic::{Dynamics, Rejudged, Shelved};
use notifier::Notifier;
use reload::Reloader;
use wskeeper_link::clock::Moment;
use wskeeper_link::{
    clock::Calendar,
    pace,
    pool::{Left, Pool, Settings},
};

mod dynamic;
mod notifier;
mod reload;
#[cfg(test)]
mod settings;
#[cfg(debug_assertions)]
mod wedge;

/// What the daemon is started with.
#[derive(Debug)]
pub struct Options {
    /// Checked.
    pub config: Arc<Config>,
    /// What a reload reads; `None`: there is nothing to reload.
    pub reload_from: Option<Origin>,
    /// A socket to serve the API on, in place of `api.listen`.
    pub socket: Option<Passed>,
    /// Who is told of the daemon's life.
    pub notify: Notify,
}

/// Where the configuration comes from, and what was there.
#[derive(Debug)]
pub struct Origin {
    path: PathBuf,
    read: Fingerprint,
    filled: Vec<PathBuf>,
}

impl Origin {
    /// A path, and what was read there.
    pub fn new(path: PathBuf, sources: &Sources) -> Self {
        Self { path, read: sources.fingerprint(), filled: sources.filled() }
    }
}

/// Why the daemon could not start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The API cannot listen.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// Metrics cannot be registered: a bug.
    #[error("metrics cannot be registered: {0}")]
    Metrics(#[from] prometheus::Error),
}

/// Runs the daemon until it is asked to stop, and then until it has stopped.
pub async fn run(options: Options, signals: Signals) -> Result<(), Error> {
    let Options { config, reload_from, socket, notify } = options;
    let notifier = Notifier::new(notify);
    let listener = match socket {
        Some(socket) => Listener::passed(socket, &config.api)?,
        None => Listener::bind(&config.api.listen).await?,
    };
    let families = Families::register(&Registry::new(), config.metrics.per_link)?;
    let seed = u64::from_be_bytes(std::array::from_fn(|byte| uuid::Uuid::new_v4().as_bytes()[byte]));
    let address = listener.to_string();
    let (shelf, settled) = unshelved(&config).await;
    let at_work = settled.at_work();
    let links = announce((&config, &at_work), &address, seed);
    let calendar = Calendar::default();
    families.reload_succeeded(calendar.now());
    pace::keep();
    notifier.starting(links).await;
    let otlp = config.tracing.otlp.clone();
    let (exporter, spans) = otlp.map(|otlp| Exporter::start(otlp, Arc::clone(&families))).unzip();
    let telling = Telling::new(Arc::clone(&families), spans);
    let (pool, pushes) = hold((&config, &at_work), (&families, telling), calendar, seed).await;
    let config = InForce::new(config);
    let followers = (pool.clone(), pushes.clone(), config.clone());
    let (reloader, dynamics) = changers(followers, &families, (shelf, settled), (reload_from, &notifier)).await;
    let (stop, stopping) = watch::channel(false);
    let api = Api {
        pool: pool.clone(),
        config: config.clone(),
        families,
        reload: Arc::new(reloader.clone()),
        endpoints: Arc::new(dynamics),
        pushes: pushes.clone(),
    };
    let serving = tokio::spawn(api.serve(listener, stopping));
    #[cfg(debug_assertions)]
    wedge::listen(pool.clone());
    notifier.ready(&pool).await;
    let looking = tokio::spawn({
        let (notifier, pool) = (Arc::clone(&notifier), pool.clone());
        async move { notifier.run(&pool).await }
    });
    let Signals { stop: mut asked, reload } = signals;
    tokio::select! {
        () = turned(&mut asked, true) => {}
        () = reloader.follow(reload) => {}
    }
    let limit = config.get().limits.drain;
    let deadline = Instant::now().later(limit);
    drain((&pool, &pushes), &notifier, limit.saturating_sub(spans_share(exporter.is_some(), limit))).await;
    stop.send_replace(true);
    // A panic in the API is told by the runtime; the daemon is stopping all the same.
    let _ = serving.await;
    looking.abort();
    if let Some(exporter) = exporter {
        // The last spans are those of the links that were just closed.
        exporter.finish(deadline.min(Instant::now().later(LAST_SPANS))).await;
    }
    tracing::info!("wskeeper has stopped");
    Ok(())
}

/// Says that the daemon is up, and has room for its links. Answers with how many there are.
fn announce((config, beside): (&Config, &Beside), address: &str, seed: u64) -> u32 {
    let all = || config.endpoints.iter().chain(beside);
    let links = all().map(|(_, endpoint)| endpoint.links).sum();
    let most: u64 = all().map(|(_, endpoint)| u64::from(endpoint.max_links())).sum();
    files::raise_limit(most + config.api.max_connections as u64);
    tracing::info!(api = address, endpoints = all().count(), links, seed, "wskeeper is up");
    links
}

/// Who changes what is held: by the file, and by the API.
async fn changers(
    followers: (Pool, Pushes, InForce),
    families: &Arc<Families>,
    (shelf, settled): (Shelved, Rejudged),
    (reload_from, notifier): (Option<Origin>, &Arc<Notifier>),
) -> (Reloader, Dynamics) {
    followers.2.set_all_dynamic(settled.all);
    let turn = Arc::<RwLock<()>>::default();
    let dynamics = Dynamics::new(followers.clone(), Arc::clone(families), Arc::clone(&turn), shelf);
    dynamics.forget(settled.taken).await;
    let changers = (dynamics.clone(), turn);
    let reloader = Reloader::new(followers, changers, Arc::clone(families), reload_from, Arc::clone(notifier));
    (reloader, dynamics)
}

/// Endpoints that came by the API in an earlier life, over the configuration of this one.
async fn unshelved(config: &Arc<Config>) -> (Shelved, Rejudged) {
    let (shelf, found) = dynamic::unshelve(config).await;
    let judging = tokio::task::spawn_blocking({
        let config = Arc::clone(config);
        move || dynamic::settle(&config, found)
    });
    // It ends otherwise only where the runtime does.
    let settled = judging.await.unwrap_or_default();
    for warning in &settled.warnings {
        tracing::warn!(warning, "endpoints on disk do not fit the configuration");
    }
    (shelf, settled)
}

/// The links of a configuration and of endpoints beside it, and what goes from them by itself.
async fn hold(
    (config, beside): (&Config, &Beside),
    (families, telling): (&Arc<Families>, Arc<Telling>),
    calendar: Calendar,
    seed: u64,
) -> (Pool, Pushes) {
    let settings = Settings {
        provider: Arc::new(DaemonProvider::new(Some(Arc::clone(families)), seed, calendar.clone())),
        calendar,
        ..config.settings()
    };
    let held = beside.iter().map(|(name, endpoint)| (Arc::clone(name), Arc::clone(&endpoint.held)));
    let settings = Settings { endpoints: settings.endpoints.into_iter().chain(held).collect(), ..settings };
    let pool = Pool::start(settings, telling, seed).await;
    let pushes = Pushes::new(pool.clone(), WRITING, seed);
    pushes.start(config.endpoints.iter().chain(beside)).await;
    (pool, pushes)
}

/// Waits until a switch stands so. Where nobody is left to turn it, that is forever.
async fn turned(switch: &mut watch::Receiver<bool>, wanted: bool) {
    if switch.wait_for(|turned| *turned == wanted).await.is_err() {
        std::future::pending::<()>().await;
    }
}

/// What the last spans get to reach the collector, at most.
const LAST_SPANS: Duration = Duration::from_secs(1);

/// What of `limits.drain` is kept for the last spans.
fn spans_share(is_exporting: bool, limit: Duration) -> Duration {
    if is_exporting { LAST_SPANS.min(limit / 4) } else { Duration::ZERO }
}

/// What pushes get to end, at most: outboxes are flushed meanwhile.
const LAST_PUSHES: Duration = Duration::from_secs(5);

async fn drain((pool, pushes): (&Pool, &Pushes), notifier: &Notifier, within: Duration) {
    let deadline = Instant::now().later(within);
    pool.drain();
    tracing::info!(deadline_s = within.as_secs_f64(), "wskeeper is draining: it takes no new messages");
    // Told first, but a service manager that takes nothing costs the links none of their time.
    let closing = async {
        // Before links close: what they bring then is not handed over any more, and stays where the inbox is durable.
        pushes.stop(Instant::now().later(LAST_PUSHES.min(within / 4))).await;
        pool.shut_down(deadline).await
    };
    let ((), left) = tokio::join!(notifier.stopping(pool, within), closing);
    for Left { endpoint, messages, kept } in left {
        if kept {
            tracing::info!(%endpoint, messages, "messages were not sent before the deadline and are kept on disk");
        } else {
            tracing::warn!(%endpoint, messages, "messages were not sent before the deadline and are dropped");
        }
    }
}

/// The environment as the configuration reads it; a variable that is not UTF-8 is none of ours.
pub fn environment() -> BTreeMap<String, String> {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect()
}
