//! Reads the configuration again when a signal, a caller or the file itself asks for it, and has the pool follow it.
//!
//! What a reader would get wrong: the files are read *after* the turn has come, never before. Of two reloads at once the later
//! would otherwise put what the earlier had read back in force. And a reload runs in a task of its own, to its end: a caller who
//! hangs up must not leave half of a plan.

use std::{path::PathBuf, sync::Arc};

use parking_lot::Mutex;
use tokio::sync::{RwLock, mpsc, watch};

use super::{
    Origin,
    dynamic::{self, Dynamics, Rejudged},
    environment,
    notifier::Notifier,
    turned,
};
use crate::{
    api::{Planned, Planning, Reload, ReloadError},
    config::{
        self, Config, DynamicMode, Fingerprint, InForce, Loaded, ReloadAction, ReloadPlan, Sources, watch::FileWatch,
    },
    observe::Families,
    push::Pushes,
};
use wskeeper_link::pool::{Draining, Pool};

/// Who asks for a reload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Trigger {
    Signal,
    Api,
    /// Only a reason to look: the same content again is not reloaded.
    Watch,
}

impl Trigger {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Signal => "signal",
            Self::Api => "api",
            Self::Watch => "watch",
        }
    }
}

/// A cheap handle to clone.
#[derive(Clone)]
pub(super) struct Reloader {
    inner: Arc<Inner>,
}

struct Inner {
    pool: Pool,
    pushes: Pushes,
    config: InForce,
    dynamics: Dynamics,
    families: Arc<Families>,
    notifier: Arc<Notifier>,
    /// One at a time, and none while an endpoint is put by the API.
    turn: Arc<RwLock<()>>,
    file: Option<File>,
    /// Whether the file is to be watched, as the configuration in force says.
    watching: watch::Sender<bool>,
}

struct File {
    path: PathBuf,
    /// What was read last, in force or refused.
    read: Mutex<Fingerprint>,
    /// The files that what is in force was read from, but for empty ones.
    filled: Mutex<Vec<PathBuf>>,
}

/// A configuration, and the files that hold something of it.
type Filled = (Loaded, Vec<PathBuf>);

impl Reloader {
    pub(super) fn new(
        (pool, pushes, config): (Pool, Pushes, InForce),
        (dynamics, turn): (Dynamics, Arc<RwLock<()>>),
        families: Arc<Families>,
        from: Option<Origin>,
        notifier: Arc<Notifier>,
    ) -> Self {
        let file =
            from.map(|Origin { path, read, filled }| File { path, read: Mutex::new(read), filled: Mutex::new(filled) });
        let watching = watch::Sender::new(config.get().watch);
        let inner = Inner { pool, pushes, config, dynamics, families, notifier, turn, file, watching };
        Self { inner: Arc::new(inner) }
    }

    /// Reloads for each signal, and for each change of the file while `watch` says so. Does not end; dropped, it leaves a
    /// reload that is under way to its end.
    pub(super) async fn follow(&self, mut signals: mpsc::Receiver<()>) {
        tokio::join!(self.follow_signals(&mut signals), self.follow_file());
    }

    async fn follow_signals(&self, signals: &mut mpsc::Receiver<()>) {
        // One that comes meanwhile waits in the channel.
        while signals.recv().await.is_some() {
            // The outcome is logged and counted where it is made.
            let _ = self.reload_for(Trigger::Signal).await;
        }
        std::future::pending::<()>().await;
    }

    async fn follow_file(&self) {
        let Some(file) = &self.inner.file else { return std::future::pending().await };
        let mut watch = FileWatch::new(file.path.clone());
        let mut watching = self.inner.watching.subscribe();
        loop {
            turned(&mut watching, true).await;
            tracing::info!(path = %file.path.display(), "the configuration is watched for changes");
            let mut off = watching.clone();
            let following = async {
                loop {
                    watch.changed(|| file.read()).await;
                    let _ = self.reload_for(Trigger::Watch).await;
                }
            };
            tokio::select! {
                () = following => {}
                () = turned(&mut off, false) => tracing::info!("the configuration is not watched any more"),
            }
        }
    }

    /// `None`: the content was read before.
    async fn reload_for(&self, trigger: Trigger) -> Result<Option<ReloadPlan>, ReloadError> {
        let inner = Arc::clone(&self.inner);
        let reloading = tokio::spawn(async move { inner.reload(trigger).await });
        reloading.await.unwrap_or_else(|error| Err(ReloadError::Failed(error.to_string())))
    }
}

impl Reload for Reloader {
    fn plan(&self) -> Planning {
        let inner = Arc::clone(&self.inner);
        Box::pin(async move {
            let file = inner.file()?;
            // Endpoints that come by the API meanwhile are not held up by a look.
            let _turn = inner.turn.read().await;
            let (_, loaded) = file.load(inner.config.get()).await?;
            Ok(inner.plan(loaded?.0).await?.0)
        })
    }

    fn reload(&self) -> Planning {
        let this = self.clone();
        Box::pin(async move {
            let plan = this.reload_for(Trigger::Api).await?;
            plan.ok_or_else(|| ReloadError::Failed("nothing was read".into()))
        })
    }
}

impl Inner {
    fn file(&self) -> Result<&File, ReloadError> {
        self.file.as_ref().ok_or(ReloadError::NoFile)
    }

    async fn reload(&self, trigger: Trigger) -> Result<Option<ReloadPlan>, ReloadError> {
        let file = self.file()?;
        let _turn = self.turn.write().await;
        let loaded = file.load(self.config.get()).await;
        if let Ok((read, _)) = &loaded {
            if trigger == Trigger::Watch && *read == file.read() {
                return Ok(None);
            }
            *file.read.lock() = *read;
        }
        if self.pool.is_draining() {
            return Err(ReloadError::Draining);
        }
        self.notifier.reload(&self.pool, self.follow(loaded.and_then(|(_, loaded)| loaded), trigger)).await.map(Some)
    }

    /// What bringing the daemon to `new` would do, and what becomes of endpoints that came by the API. To be asked in one's turn.
    async fn plan(&self, new: Loaded) -> Result<(ReloadPlan, Rejudged), ReloadError> {
        let dynamic = self.config.all_dynamic();
        let settling = tokio::task::spawn_blocking(move || (dynamic::settle(&new.config, dynamic), new));
        let (mut settled, new) = settling.await.map_err(|error| ReloadError::Failed(error.to_string()))?;
        let old = self.config.get();
        // Where endpoints are kept stays as it is, as where the store is.
        let is_open = self.pool.has_store() || old.api.dynamic == DynamicMode::Disk;
        let (before, after) = (self.config.at_work(), settled.at_work());
        let mut plan = config::plan_with(&old, new, is_open, &|name| self.pool.links_of(name), (&before, &after));
        plan.warnings.append(&mut settled.warnings);
        Ok((plan, settled))
    }

    async fn apply(&self, new: Loaded) -> Result<ReloadPlan, ReloadError> {
        let (plan, settled) = self.plan(new).await?;
        let at_work = settled.at_work();
        let mut settings = plan.config.settings();
        settings
            .endpoints
            .extend(at_work.iter().map(|(name, endpoint)| (Arc::clone(name), Arc::clone(&endpoint.held))));
        let applied = self.pool.apply(settings, &|_, new| plan.follow(&new.name)).await;
        applied.map_err(|Draining| ReloadError::Draining)?;
        self.config.set(Arc::clone(&plan.config));
        self.config.set_all_dynamic(settled.all);
        self.pushes.follow(plan.config.endpoints.iter().chain(&at_work)).await;
        self.dynamics.forget(settled.taken).await;
        Ok(plan)
    }

    async fn follow(&self, loaded: Result<Filled, ReloadError>, trigger: Trigger) -> Planned {
        let outcome = match loaded {
            Ok((loaded, filled)) => {
                let applied = self.apply(loaded).await;
                if let (Ok(_), Some(file)) = (&applied, &self.file) {
                    *file.filled.lock() = filled;
                }
                applied
            }
            Err(error) => Err(error),
        };
        match &outcome {
            Ok(plan) => {
                self.families.reload_succeeded(self.pool.calendar().now());
                self.watching.send_replace(plan.config.watch);
                tell(plan, trigger);
            }
            Err(ReloadError::Draining | ReloadError::NoFile) => {}
            Err(error @ (ReloadError::Invalid(_) | ReloadError::Failed(_))) => {
                self.families.reload_failed();
                let (trigger, faults) = (trigger.as_str(), error.to_string());
                tracing::error!(trigger, faults, "reload refused: the configuration in force stays");
            }
        }
        outcome
    }
}

impl File {
    fn read(&self) -> Fingerprint {
        *self.read.lock()
    }

    /// What the file holds, and the configuration that it makes in place of `old`, or its faults.
    async fn load(&self, old: Arc<Config>) -> Result<(Fingerprint, Result<Filled, ReloadError>), ReloadError> {
        let path = self.path.clone();
        let filled = self.filled.lock().clone();
        let read = tokio::task::spawn_blocking(move || {
            let sources = Sources::read(&path);
            let loaded = sources.load(&environment()).and_then(|loaded| {
                config::emptied(&sources, &loaded.config, &old, &filled).map_or(Ok((loaded, sources.filled())), Err)
            });
            let faults = loaded.map_err(|faults| faults.iter().map(ToString::to_string).collect());
            (sources.fingerprint(), faults.map_err(ReloadError::Invalid))
        });
        read.await.map_err(|error| ReloadError::Failed(error.to_string()))
    }
}

fn tell(plan: &ReloadPlan, trigger: Trigger) {
    for warning in &plan.warnings {
        tracing::warn!(warning, "the configuration has a doubtful setting");
    }
    if !plan.restart.is_empty() {
        tracing::warn!(keys = plan.restart.join(", "), "these changes take a restart and are not in force");
    }
    tracing::info!(
        trigger = trigger.as_str(),
        unchanged = plan.count(ReloadAction::Unchanged),
        live = plan.count(ReloadAction::AppliedLive),
        rotate = plan.count(ReloadAction::Rotate),
        reconnect = plan.count(ReloadAction::Reconnect),
        added = plan.count(ReloadAction::Added),
        removed = plan.count(ReloadAction::Removed),
        keys = plan.live.join(", "),
        "configuration reloaded"
    );
}
