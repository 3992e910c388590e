//! What an operator wrote, checked: a `Config` that exists cannot be wrong.
//!
//! `load` reads files and environment into one tree of values that know their file; `check` turns the tree into `Config`
//! or into *all* its faults. Secrets stay `Template`s: they are evaluated at each attempt and never shown.

use std::{
    collections::BTreeMap,
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use ::config::FileFormat;

use wskeeper_core::admission;
use wskeeper_link::{endpoint::Template, pool, store};

pub use check::keys;
pub(crate) use check::section::suggestion;
pub use dynamic::{Base, Definition, Form, Judged, MAX_BYTES, judge};
pub use emptied::emptied;
pub use endpoint::ConfiguredEndpoint;
pub use fault::{Fault, Faults};
pub use in_force::{Dynamic, InForce, source};
pub use plan::{Beside, EndpointChange, LinkChange, ReloadAction, ReloadPlan, change, plan, plan_with};
pub use shelf::Shelf;
pub use source::{Fingerprint, Sources};
pub use table::{
    Shown,
    daemon::{Api, Limits, Log, Metrics, Storage},
};

pub mod bridge;
pub mod broker;
mod check;
#[cfg(test)]
mod classes;
mod diff;
mod dynamic;
mod emptied;
mod endpoint;
mod environment;
mod fault;
#[cfg(test)]
mod faulty;
mod in_force;
mod place;
mod plan;
pub mod preset;
pub mod push;
pub(crate) mod reach;
pub mod session;
mod shelf;
mod source;
pub(crate) mod table;
pub mod text;
pub mod watch;

/// A configuration, and what about it may not be meant.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// Checked.
    pub config: Config,
    /// One sentence each, in stable order; nothing secret.
    pub warnings: Vec<String>,
}

/// Reads a file or a folder of files, lays `WSKEEPER__…` variables of `environment` over it, and checks the whole.
pub fn load(path: &Path, environment: &BTreeMap<String, String>) -> Result<Loaded, Faults> {
    Sources::read(path).load(environment)
}

impl Sources {
    /// Lays `WSKEEPER__…` variables of `environment` over what was read, and checks the whole.
    pub fn load(&self, environment: &BTreeMap<String, String>) -> Result<Loaded, Faults> {
        let mut faults = Vec::new();
        let mut root = self.parse(&mut faults);
        let unreadable = !faults.is_empty();
        environment::overlay(&mut root, environment, &mut faults);
        let checked = check::check(&root, self.folder(), faults.clone());
        let mut doubts = self.warnings();
        doubts.extend(environment::doubts(environment));
        match Faults::new(faults) {
            // Half a tree would be blamed for what the unreadable half may hold.
            Some(faults) if unreadable => Err(faults),
            Some(_) | None => checked.map(|(config, warnings)| {
                doubts.extend(warnings);
                Loaded { config, warnings: doubts }
            }),
        }
    }
}

/// Reads a text in TOML as if it were the file `name`, without environment. Relative paths start from that name's folder.
pub fn parse_toml(text: &str, name: &str) -> Result<Loaded, Faults> {
    parse(text, name, FileFormat::Toml)
}

/// As [`parse_toml`], for YAML.
pub fn parse_yaml(text: &str, name: &str) -> Result<Loaded, Faults> {
    parse(text, name, FileFormat::Yaml)
}

/// What a configuration that the command line makes is called.
pub(crate) const COMMAND_LINE: &str = "the command line";

/// As [`parse_toml`], for JSON.
pub fn parse_json(text: &str, name: &str) -> Result<Loaded, Faults> {
    parse(text, name, FileFormat::Json)
}

fn parse(text: &str, name: &str, format: FileFormat) -> Result<Loaded, Faults> {
    let mut faults = Vec::new();
    let root = source::parse(text, name, format, &mut faults);
    if let Some(faults) = Faults::new(faults) {
        return Err(faults);
    }
    let folder = Path::new(name).parent().unwrap_or(Path::new(""));
    check::check(&root, folder, Vec::new()).map(|(config, warnings)| Loaded { config, warnings })
}

/// The whole configuration.
#[derive(Debug, Clone, Default)]
pub struct Config {
    /// A reload follows each change of the files by itself.
    pub watch: bool,
    /// A reload may leave no endpoint.
    pub allow_empty: bool,
    /// `[api]`
    pub api: Api,
    /// `[log]`
    pub log: Log,
    /// `[metrics]`
    pub metrics: Metrics,
    /// `[admission]`
    pub admission: admission::Policy,
    /// `[limits]`
    pub limits: Limits,
    /// `[storage]`
    pub storage: Storage,
    /// `[tracing]`
    pub tracing: Tracing,
    /// `[brokers.NAME]`
    pub brokers: BTreeMap<Arc<str>, Arc<broker::Broker>>,
    /// `[endpoints.NAME]`, each with `[defaults]` under it.
    pub endpoints: BTreeMap<Arc<str>, ConfiguredEndpoint>,
    /// What lies under endpoints that come by the API.
    pub base: Arc<Base>,
}

impl Config {
    /// What of it is the pool's, but for dynamic endpoints.
    pub fn settings(&self) -> pool::Settings {
        pool::Settings {
            admission: self.admission.clone(),
            memory: self.limits.memory,
            receipts: self.limits.receipts,
            store: Some(store::Policy::new(&self.storage.dir, self.storage.max_bytes)),
            endpoints: self
                .endpoints
                .iter()
                .map(|(name, written)| (Arc::clone(name), Arc::clone(&written.held)))
                .collect(),
            ..pool::Settings::default()
        }
    }
}

/// Where the local API listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Listen {
    /// TCP.
    Tcp(SocketAddr),
    /// A unix socket.
    Unix {
        /// Its path.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
        /// The group that owns it.
        group: Option<String>,
    },
}

impl Default for Listen {
    fn default() -> Self {
        Self::Tcp(SocketAddr::from((Ipv4Addr::LOCALHOST, 7700)))
    }
}

/// Whether endpoints may come by the API, and where they are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DynamicMode {
    /// None may come.
    Off,
    /// They end with the daemon.
    Memory,
    /// They come back after a restart.
    Disk,
}

impl DynamicMode {
    /// The words of the configuration.
    pub(crate) const WORDS: [(&'static str, Self); 3] =
        [("off", Self::Off), ("memory", Self::Memory), ("disk", Self::Disk)];
}

/// When `/readyz` says ready.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Readiness {
    /// Configuration and listeners are up and the daemon is not draining.
    Process,
    /// And every `critical` endpoint has `min_ready` links ready.
    Links,
}

/// What a token allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scope {
    /// Look.
    Read,
    /// Send messages.
    Send,
    /// Operate links, reload.
    Admin,
}

/// `[[api.tokens]]`
#[derive(Debug, Clone, PartialEq)]
pub struct Token {
    /// For logs.
    pub name: Arc<str>,
    /// Where the secret is: `${file:…}`, `${credential:…}` or `${env:…}`.
    pub secret: Template,
    /// What it allows.
    pub scopes: Vec<Scope>,
    /// Only these endpoints; `None`: all.
    pub endpoints: Option<Vec<Arc<str>>>,
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// `journald` under systemd's journal, `pretty` on a terminal, else `json`.
    Auto,
    /// For people.
    Pretty,
    /// One JSON object a line.
    Json,
    /// The journal's native protocol.
    Journald,
}

impl LogFormat {
    /// The words of the configuration.
    pub(crate) const WORDS: [(&'static str, Self); 4] =
        [("auto", Self::Auto), ("pretty", Self::Pretty), ("json", Self::Json), ("journald", Self::Journald)];
}

/// `[tracing]`: spans of connections for OpenTelemetry.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Tracing {
    /// Where they go; `None`: nowhere.
    pub otlp: Option<Otlp>,
}

/// A collector that speaks OTLP over HTTP.
#[derive(Debug, Clone, PartialEq)]
pub struct Otlp {
    /// Its host.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// The path for traces.
    pub path: String,
    /// Headers of each request.
    pub headers: Vec<(http::HeaderName, Template)>,
    /// `service.name`
    pub service_name: String,
    /// A request must be answered within this.
    pub timeout: Duration,
}
