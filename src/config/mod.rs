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

use wskeeper_core::{admission, inbox, link};

pub use check::keys;
pub use emptied::emptied;
pub use fault::{Fault, Faults};
pub use field::FieldName;
pub use plan::{Action, Change, Plan, Step, plan};
pub use secret::Secret;
pub use source::{Fingerprint, Sources};
pub use table::{
    Shown,
    daemon::{Api, Limits, Log, Metrics, Storage},
};
pub use template::{Redaction, SecretError, Template, TemplateFault};

mod check;
#[cfg(test)]
mod classes;
mod diff;
mod emptied;
mod environment;
mod fault;
mod field;
pub mod file;
mod place;
mod plan;
mod secret;
mod shown;
mod source;
pub mod subprotocol;
pub(crate) mod table;
pub mod template;
pub mod text;
pub mod url;
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
    /// `[endpoints.NAME]`, each with `[defaults]` under it.
    pub endpoints: BTreeMap<Arc<str>, Arc<Endpoint>>,
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
    pub name: String,
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

/// `tls`
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tls {
    /// PEM file of certificate authorities trusted *instead of* the platform's; read at each attempt.
    pub ca: Option<PathBuf>,
    /// Client certificate chain and key, PEM; read at each attempt.
    pub client: Option<(PathBuf, PathBuf)>,
    /// The name to verify and send as SNI, where it is not the URL's host.
    pub server_name: Option<String>,
    /// Accept any certificate. For tests only.
    pub insecure: bool,
}

/// `[endpoints.NAME]`
#[derive(Debug, Clone)]
pub struct Endpoint {
    /// The name.
    pub name: Arc<str>,
    /// `url` or `urls`; at least one.
    pub urls: Vec<Template>,
    /// Where each leads; `None` where something is left to be evaluated.
    pub targets: Vec<Option<Arc<url::Target>>>,
    /// How many links to hold.
    pub links: u32,
    /// Subprotocols offered, in order.
    pub protocols: Vec<Template>,
    /// A server that chooses none of them is accepted.
    pub protocols_optional: bool,
    /// Headers of the upgrade request.
    pub headers: Vec<(FieldName, Template)>,
    /// Redirects followed.
    pub redirects: u32,
    /// `tls`
    pub tls: Tls,
    /// Counts for `/readyz?links`.
    pub critical: bool,
    /// Links that must be ready then.
    pub min_ready: u32,
    /// `reconnect.on_clean_close`; its rows stand at the end of `link.outcomes`.
    pub stay_closed: bool,
    /// `connect_timeout`, `heartbeat`, `reconnect`, `outcomes`, `outbox`.
    pub link: Arc<link::Policy>,
    /// `inbox`
    pub inbox: inbox::Policy,
    /// How long receipts are kept after their end.
    pub receipts_keep: Duration,
}

/// The defaults, with no URL yet.
impl Default for Endpoint {
    fn default() -> Self {
        Self {
            name: "".into(),
            urls: Vec::new(),
            targets: Vec::new(),
            links: 1,
            protocols: Vec::new(),
            protocols_optional: false,
            headers: Vec::new(),
            redirects: 0,
            tls: Tls::default(),
            critical: false,
            min_ready: 1,
            stay_closed: false,
            link: Arc::default(),
            inbox: inbox::Policy::default(),
            receipts_keep: Duration::from_mins(10),
        }
    }
}

impl Endpoint {
    /// A URL as people see it: as it is dialled where it is known, else with its references. Empty where there is none.
    pub fn shown_url(&self, index: usize) -> Arc<str> {
        match (self.targets.get(index), self.urls.get(index)) {
            (Some(Some(target)), _) => Arc::clone(&target.shown),
            (_, Some(template)) => template.shown().into(),
            (_, None) => "".into(),
        }
    }

    /// Every key as people may see it, in the table's order.
    pub fn shown(&self) -> Shown {
        let mut members = table::endpoint::OWN.show(self);
        members.extend(table::endpoint::ENDPOINT.show(self));
        Shown::Members(members)
    }
}
