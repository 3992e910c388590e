//! The composition root: what is built in which order, and drained in which.
//!
//! Up: registry, pool, listener, API. Down: no new messages, outboxes flushed until the deadline, links closed with 1001,
//! streams of local consumers ended, listener closed. One deadline governs all of it.

use std::{collections::BTreeMap, path::PathBuf, sync::Arc, time::SystemTime};

use prometheus::Registry;
use tokio::{sync::watch, time::Instant};

use crate::{
    api::{Api, ListenError, Listener, Reload, Reloaded},
    config::{self, Config},
    observe::Families,
    pool::{Left, Pool},
    process::{files, notify::Notify, passed::Passed, signals::Signals},
};
use herald::Herald;

mod herald;
#[cfg(feature = "wedge")]
mod wedge;

/// What the daemon is started with.
#[derive(Debug)]
pub struct Options {
    /// Checked.
    pub config: Arc<Config>,
    /// What a reload reads; `None`: there is nothing to reload.
    pub reload_from: Option<PathBuf>,
    /// A socket to serve the API on, in place of `api.listen`.
    pub socket: Option<Passed>,
    /// Who is told of the daemon's life.
    pub notify: Notify,
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
pub async fn run(options: Options, mut signals: Signals) -> Result<(), Error> {
    let Options { config, reload_from, socket, notify } = options;
    let herald = Herald::new(notify);
    let listener = match socket {
        Some(socket) => Listener::passed(socket, &config.api)?,
        None => Listener::bind(&config.api.listen).await?,
    };
    let registry = Registry::new();
    let families = Families::register(&registry, config.metrics.per_link)?;
    let seed = u64::from_be_bytes(std::array::from_fn(|byte| uuid::Uuid::new_v4().as_bytes()[byte]));
    let address = listener.to_string();
    let links: u32 = config.endpoints.values().map(|endpoint| endpoint.links).sum();
    files::raise_limit(u64::from(links) + config.api.max_connections as u64);
    tracing::info!(api = address, endpoints = config.endpoints.len(), links, seed, "wskeeper is up");
    families.reload_succeeded(SystemTime::now());
    herald.starting(links).await;
    let pool = Pool::start(Arc::clone(&config), Arc::clone(&families), seed).await;
    let reload = reloading(pool.clone(), Arc::clone(&families), reload_from, Arc::clone(&herald));
    let (stop, stopping) = watch::channel(false);
    let api = Api { pool: pool.clone(), registry, families, reload: Arc::clone(&reload) };
    let serving = tokio::spawn(api.serve(listener, stopping));
    #[cfg(feature = "wedge")]
    wedge::listen(pool.clone());
    herald.ready(&pool).await;
    let looking = tokio::spawn({
        let (herald, pool) = (Arc::clone(&herald), pool.clone());
        async move { herald.run(&pool).await }
    });
    loop {
        let stop = signals.stop.clone();
        tokio::select! {
            () = stopped(stop) => break,
            Some(()) = signals.reload.recv() => {
                // The outcome is logged and counted where it is made.
                let _ = reload().await;
            }
        }
    }
    drain(&pool, &herald).await;
    stop.send_replace(true);
    // A panic in the API is told by the runtime; the daemon is stopping all the same.
    let _ = serving.await;
    looking.abort();
    tracing::info!("wskeeper has stopped");
    Ok(())
}

async fn stopped(mut stop: watch::Receiver<bool>) {
    if stop.wait_for(|stop| *stop).await.is_err() {
        std::future::pending::<()>().await;
    }
}

async fn drain(pool: &Pool, herald: &Herald) {
    let drain = pool.config().limits.drain;
    pool.drain();
    herald.stopping(pool, drain).await;
    tracing::info!(deadline_s = drain.as_secs_f64(), "wskeeper is draining: it takes no new messages");
    let left = pool.shut_down(Instant::now() + drain).await;
    for Left { endpoint, messages, kept } in left {
        if kept {
            tracing::info!(%endpoint, messages, "messages were not sent before the deadline and are kept on disk");
        } else {
            tracing::warn!(%endpoint, messages, "messages were not sent before the deadline and are dropped");
        }
    }
}

/// Reads the configuration anew and follows it; one that is not valid changes nothing. Once begun it is carried through, also
/// where whoever asked for it has gone.
fn reloading(pool: Pool, families: Arc<Families>, from: Option<PathBuf>, herald: Arc<Herald>) -> Reload {
    Arc::new(move || {
        let (pool, families, from, herald) = (pool.clone(), Arc::clone(&families), from.clone(), Arc::clone(&herald));
        let task = tokio::spawn(async move { herald.reload(&pool, reload(&pool, &families, from)).await });
        Box::pin(async move { task.await.unwrap_or_else(|error| Err(vec![error.to_string()])) })
    })
}

async fn reload(pool: &Pool, families: &Families, from: Option<PathBuf>) -> Reloaded {
    let Some(path) = from else {
        return Err(vec!["this daemon was not started from a file, so there is nothing to reload".into()]);
    };
    let environment = environment();
    let loaded = tokio::task::spawn_blocking(move || config::load(&path, &environment)).await;
    let loaded = match loaded {
        Ok(Ok(loaded)) => loaded,
        Ok(Err(faults)) => {
            families.reload_failed();
            let faults: Vec<_> = faults.iter().map(ToString::to_string).collect();
            tracing::error!(faults = faults.join("; "), "reload refused: the configuration in force stays");
            return Err(faults);
        }
        Err(error) => {
            families.reload_failed();
            tracing::error!(%error, "reload failed");
            return Err(vec![error.to_string()]);
        }
    };
    for warning in &loaded.warnings {
        tracing::warn!(warning, "the configuration has a doubtful setting");
    }
    let changes = pool.apply(Arc::new(loaded.config)).await;
    families.reload_succeeded(SystemTime::now());
    let touched = changes.iter().filter(|change| change.action != "unchanged").count();
    tracing::info!(links = changes.len(), touched, "configuration reloaded");
    Ok(changes)
}

/// The environment as the configuration reads it; a variable that is not UTF-8 is none of ours.
pub fn environment() -> BTreeMap<String, String> {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect()
}
