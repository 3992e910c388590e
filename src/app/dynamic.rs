//! Endpoints that come and go by the API: what is asked first, what is written where, and in which order.
//!
//! What a reader would get wrong: the disk has the new definition before the links follow it, and the old one is off the disk before they end.
//! So what was answered is what a restart finds.

use std::{
    collections::BTreeMap,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use tokio::{sync::RwLock, task::spawn_blocking};

use crate::{
    api::{Asked, Denied, Done, DynamicEndpoints, Gone, Put, Remove},
    config::{
        self, Beside, Config, ConfiguredEndpoint, Definition, Dynamic, DynamicMode, EndpointChange, Form, InForce,
        Judged, ReloadAction, Shelf,
    },
    observe::Families,
    push::Pushes,
};
use wskeeper_link::pool::{Pool, Turns};

/// Endpoints that are named in one line of the log.
const NAMED: usize = 5;

/// A cheap handle to clone.
#[derive(Clone)]
pub(super) struct Dynamics {
    inner: Arc<Inner>,
}

struct Inner {
    pool: Pool,
    pushes: Pushes,
    config: InForce,
    families: Arc<Families>,
    /// A reload is alone: it judges all of them anew.
    whole: Arc<RwLock<()>>,
    turns: Arc<Turns>,
    shelf: Shelved,
    /// How many are about to be made.
    coming: AtomicUsize,
}

/// Where they are kept.
pub(super) enum Shelved {
    /// There is no such place.
    Nowhere,
    /// There.
    On(Arc<Shelf>),
    /// It could not be opened, for this.
    Failed(String),
}

/// Takes the folder of endpoints where the configuration has one, and what is in it.
pub(super) async fn unshelve(config: &Config) -> (Shelved, BTreeMap<Arc<str>, Dynamic>) {
    let dir = config.storage.dir.clone();
    if config.api.dynamic != DynamicMode::Disk {
        tell_of_left(&dir, config.api.dynamic).await;
        return (Shelved::Nowhere, BTreeMap::new());
    }
    let opened = spawn_blocking(move || Shelf::open(&dir)).await.map_err(std::io::Error::other).flatten();
    match opened {
        Ok((shelf, found)) => {
            let dynamic = |definition| Dynamic { definition, is_kept: true, at_work: None };
            let found = found.into_iter().map(|(name, definition)| (name, dynamic(definition))).collect();
            (Shelved::On(Arc::new(shelf)), found)
        }
        Err(error) => {
            let dir = config.storage.dir.display();
            tracing::error!(%dir, %error, "endpoints on disk cannot be read: the daemon holds none of them and can keep no others");
            (Shelved::Failed(error.to_string()), BTreeMap::new())
        }
    }
}

async fn tell_of_left(dir: &Path, keeping: DynamicMode) {
    let folder = dir.to_owned();
    let left = spawn_blocking(move || Shelf::count(&folder)).await.unwrap_or_default();
    if left > 0 {
        let api_dynamic = if keeping == DynamicMode::Off { "off" } else { "memory" };
        tracing::warn!(endpoints = left, dir = %dir.display(), api_dynamic, "endpoints on disk are not held, because api.dynamic is not \"disk\"");
    }
}

/// Dynamic endpoints over a configuration of the file.
#[derive(Default)]
pub(super) struct Rejudged {
    /// Those that stay, at work or not.
    pub(super) all: BTreeMap<Arc<str>, Dynamic>,
    /// Those whose names the file has.
    pub(super) taken: Vec<(Arc<str>, Dynamic)>,
    /// What is to be told.
    pub(super) warnings: Vec<String>,
}

impl Rejudged {
    /// Those that are at work.
    pub(super) fn at_work(&self) -> Beside {
        self.all.iter().filter_map(|(name, dynamic)| Some((Arc::clone(name), dynamic.at_work.clone()?))).collect()
    }
}

/// Judges all of them over `config`. It looks at files, so it may block.
pub(super) fn settle(config: &Config, dynamic: BTreeMap<Arc<str>, Dynamic>) -> Rejudged {
    let mut settled = Rejudged::default();
    let mut refused = Vec::new();
    for (name, dynamic) in dynamic {
        if config.endpoints.contains_key(&name) {
            let told = format!(
                "endpoints.{name}: the API created an endpoint with this name; the endpoint of the file replaces it"
            );
            settled.warnings.push(told);
            settled.taken.push((name, dynamic));
            continue;
        }
        let at_work = match config::judge(&config.base, &name, dynamic.definition.as_str(), Form::Json) {
            Ok(judged) => Some(kept(dynamic.at_work, judged.endpoint)),
            Err(faults) => {
                let fault = faults.iter().next().map(ToString::to_string).unwrap_or_default();
                refused.push(format!("{name} ({fault})"));
                None
            }
        };
        settled.all.insert(name, Dynamic { at_work, ..dynamic });
    }
    if !refused.is_empty() {
        let more = refused.len().saturating_sub(NAMED);
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        refused.truncate(NAMED);
        settled.warnings.push(format!(
            "this configuration makes endpoints of the API invalid; they have no links until a reload makes them valid: {}{more}",
            refused.join(", ")
        ));
    }
    settled
}

/// The old one where nothing of it has changed: the pool has it already.
fn kept(old: Option<ConfiguredEndpoint>, new: ConfiguredEndpoint) -> ConfiguredEndpoint {
    let is_same = |old: &ConfiguredEndpoint| {
        let change = config::change(Some(old), Some(&new), Vec::new());
        change.kept == ReloadAction::Unchanged && change.before == change.after
    };
    match old {
        Some(old) if is_same(&old) => old,
        Some(_) | None => new,
    }
}

impl Dynamics {
    pub(super) fn new(
        (pool, pushes, config): (Pool, Pushes, InForce),
        families: Arc<Families>,
        whole: Arc<RwLock<()>>,
        shelf: Shelved,
    ) -> Self {
        let (turns, coming) = (Arc::default(), AtomicUsize::new(0));
        Self { inner: Arc::new(Inner { pool, pushes, config, families, whole, turns, shelf, coming }) }
    }

    /// The file has taken these over: they are kept no more.
    pub(super) async fn forget(&self, taken: Vec<(Arc<str>, Dynamic)>) {
        for (name, _) in taken.into_iter().filter(|(_, dynamic)| dynamic.is_kept) {
            if let Err(Denied::Disk(error)) = self.inner.off_disk(&name).await {
                tracing::error!(endpoint = %name, error, "an endpoint that the file has is still on disk too");
            }
        }
    }
}

impl DynamicEndpoints for Dynamics {
    fn put(&self, put: Put) -> Asked<Done> {
        let inner = Arc::clone(&self.inner);
        Box::pin(to_its_end(async move {
            let is_dry = put.dry_run;
            let done = inner.put(put).await;
            if !is_dry {
                inner.families.endpoint_put(done.is_ok());
            }
            done
        }))
    }

    fn remove(&self, remove: Remove) -> Asked<Gone> {
        let inner = Arc::clone(&self.inner);
        Box::pin(to_its_end(async move {
            let gone = inner.remove(remove).await;
            inner.families.endpoint_removed(gone.is_ok());
            gone
        }))
    }
}

/// Does it also when whoever asked has gone.
async fn to_its_end<T: Send + 'static>(
    work: impl Future<Output = Result<T, Denied>> + Send + 'static,
) -> Result<T, Denied> {
    tokio::spawn(work).await.unwrap_or_else(|error| Err(Denied::Failed(error.to_string())))
}

/// A place among those that there may be, until the endpoint is there.
struct Place<'a>(&'a AtomicUsize);

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Inner {
    /// What is there of this name, which the file must not have.
    fn before(&self, config: &Config, name: &Arc<str>) -> Result<Option<Dynamic>, Denied> {
        if config.api.dynamic == DynamicMode::Off {
            return Err(Denied::Off);
        }
        if config.endpoints.contains_key(name) {
            return Err(Denied::OfFile(Arc::clone(name)));
        }
        Ok(self.config.dynamic(name))
    }

    async fn put(&self, put: Put) -> Result<Done, Denied> {
        let Put { name, text, form, when, keep, dry_run, who } = put;
        // The turn first: whoever waits for one of the same name, which may drain, must not hold up a reload.
        let _turn = self.turns.take(&name).await;
        let _with_others = self.whole.read().await;
        let config = self.config.get();
        let before = self.before(&config, &name)?;
        let tag = before.as_ref().map(|before| before.definition.tag());
        if !when.hold(tag.as_deref()) {
            return Err(Denied::Otherwise(tag));
        }
        let judged = judge(&config, Arc::clone(&name), text, form).await?;
        let is_kept = is_kept(config.api.dynamic, keep, &judged.in_clear)?;
        let _place = if before.is_none() { Some(self.place(&config)?) } else { None };
        let Judged { endpoint, definition, warnings, .. } = judged;
        let old = before.as_ref().and_then(|before| before.at_work.as_ref());
        let change = config::change(old, Some(&endpoint), self.pool.links_of(&name));
        let changes = change.changes(&name).collect();
        let done = Done { is_new: before.is_none(), is_kept, tag: definition.tag(), changes, warnings };
        let is_same =
            |before: &Dynamic| before.definition == definition && before.is_kept == is_kept && before.at_work.is_some();
        if dry_run || before.as_ref().is_some_and(is_same) {
            return Ok(done);
        }
        if self.pool.is_draining() {
            return Err(Denied::Draining);
        }
        self.write(&name, is_kept.then_some(&definition), before.as_ref()).await?;
        let held = Arc::clone(&endpoint.held);
        let new = Dynamic { definition, is_kept, at_work: Some(endpoint.clone()) };
        if self.pool.put(held, change.follow()).await.is_err() {
            return Err(self.undone(&name, before.as_ref(), Some(&new)).await);
        }
        self.pushes.follow_one(&name, Some(&endpoint)).await;
        tell(&name, &change, is_kept, who.as_deref());
        self.config.put_dynamic(name, new);
        Ok(done)
    }

    async fn remove(&self, remove: Remove) -> Result<Gone, Denied> {
        let Remove { name, when, drain, who } = remove;
        let _turn = self.turns.take(&name).await;
        let with_others = self.whole.read().await;
        let config = self.config.get();
        let before = self.before(&config, &name)?.ok_or_else(|| Denied::None(Arc::clone(&name)))?;
        let tag = before.definition.tag();
        if !when.hold(Some(&tag)) {
            return Err(Denied::Otherwise(Some(tag)));
        }
        if self.pool.is_draining() {
            return Err(Denied::Draining);
        }
        self.write(&name, None, Some(&before)).await?;
        self.config.remove_dynamic(&name);
        let Ok(leaving) = self.pool.take_out(&name).await else {
            let undone = self.undone(&name, Some(&before), None).await;
            self.config.put_dynamic(name, before);
            return Err(undone);
        };
        // From here on nobody finds it, and a reload need not wait for its outbox.
        drop(with_others);
        let mut gone = Gone { links: 0, messages: 0 };
        if let Some(leaving) = leaving {
            let removed = leaving.end(drain.unwrap_or(config.limits.drain)).await;
            gone = Gone { links: removed.links, messages: removed.messages };
        }
        self.pushes.follow_one(&name, None).await;
        let (Gone { links, messages }, by) = (gone, who.as_deref());
        tracing::info!(endpoint = %name, by, links, unsent_messages = messages, "endpoint removed by the API");
        Ok(gone)
    }

    /// A place for one more.
    fn place(&self, config: &Config) -> Result<Place<'_>, Denied> {
        let coming = self.coming.fetch_add(1, Ordering::SeqCst);
        let place = Place(&self.coming);
        let there = config.endpoints.len() + self.config.count_dynamic();
        if there + coming < config.limits.endpoints { Ok(place) } else { Err(Denied::TooMany(there)) }
    }

    /// Has on disk what is to be there, where anything is or was.
    async fn write(&self, name: &Arc<str>, new: Option<&Definition>, before: Option<&Dynamic>) -> Result<(), Denied> {
        match new {
            Some(new) if before.is_some_and(|before| before.is_kept && before.definition == *new) => Ok(()),
            Some(new) => {
                let (name, new) = (Arc::clone(name), new.clone());
                self.on_disk(move |shelf| shelf.put(&name, &new)).await
            }
            None if before.is_some_and(|before| before.is_kept) => self.off_disk(name).await,
            None => Ok(()),
        }
    }

    /// The pool has begun to drain: a restart is to find on disk what there was, for the caller is told that nothing has changed.
    async fn undone(&self, name: &Arc<str>, before: Option<&Dynamic>, new: Option<&Dynamic>) -> Denied {
        let kept = before.filter(|before| before.is_kept).map(|before| &before.definition);
        if let Err(Denied::Disk(error)) = self.write(name, kept, new).await {
            tracing::error!(endpoint = %name, error, "a change of an endpoint was refused, because the daemon stops, and is on disk");
        }
        Denied::Draining
    }

    async fn off_disk(&self, name: &Arc<str>) -> Result<(), Denied> {
        let name = Arc::clone(name);
        self.on_disk(move |shelf| shelf.remove(&name)).await
    }

    async fn on_disk(&self, act: impl FnOnce(&Shelf) -> std::io::Result<()> + Send + 'static) -> Result<(), Denied> {
        let kept = match &self.shelf {
            Shelved::On(there) => Arc::clone(there),
            Shelved::Failed(why) => return Err(Denied::Disk(why.clone())),
            Shelved::Nowhere => return Err(Denied::NotKept),
        };
        let done = spawn_blocking(move || act(&kept)).await.map_err(std::io::Error::other).flatten();
        done.map_err(|error| Denied::Disk(error.to_string()))
    }
}

async fn judge(config: &Arc<Config>, name: Arc<str>, text: Arc<str>, form: Form) -> Result<Judged, Denied> {
    let base = Arc::clone(&config.base);
    let judged = spawn_blocking(move || config::judge(&base, &name, &text, form)).await;
    judged.map_err(|error| Denied::Failed(error.to_string()))?.map_err(Denied::Invalid)
}

/// Whether it is to be on disk.
fn is_kept(keeping: DynamicMode, asked: Option<bool>, in_clear: &[String]) -> Result<bool, Denied> {
    match (keeping, asked) {
        (DynamicMode::Off, _) => Err(Denied::Off),
        (DynamicMode::Memory, Some(true)) => Err(Denied::NotKept),
        (DynamicMode::Memory, Some(false) | None) | (DynamicMode::Disk, Some(false)) => Ok(false),
        (DynamicMode::Disk, Some(true) | None) if in_clear.is_empty() => Ok(true),
        (DynamicMode::Disk, Some(true) | None) => Err(Denied::InClear(in_clear.to_vec())),
    }
}

fn tell(name: &str, change: &EndpointChange, is_kept: bool, by: Option<&str>) {
    let count = |action| change.count(action);
    tracing::info!(
        endpoint = name,
        by,
        on_disk = is_kept,
        unchanged = count(ReloadAction::Unchanged),
        live = count(ReloadAction::AppliedLive),
        rotate = count(ReloadAction::Rotate),
        reconnect = count(ReloadAction::Reconnect),
        added = count(ReloadAction::Added),
        removed = count(ReloadAction::Removed),
        keys = change.why.join(", "),
        "endpoint put by the API"
    );
}
