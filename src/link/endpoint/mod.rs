//! An endpoint as a pool holds it: where its links lead, with what, and how they behave.
//!
//! Nothing here says how that is written down: whoever makes an [`Endpoint`] has read it from somewhere, or has it in code. What a
//! reader would get wrong: secrets stay [`Template`]s, which are evaluated at each attempt and never shown.

use std::{fmt, path::PathBuf, sync::Arc, time::Duration};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use wskeeper_core::{allowance::Limit, bucket::Pacing, inbox, link, session, subscriptions};

pub use field::FieldName;
pub use secret::{Secret, hide};
pub use template::{Redaction, SecretError, Template, TemplateFault};

pub mod compression;
mod field;
pub mod file;
pub mod http2;
pub mod network;
pub mod proxy;
mod secret;
mod shown;
pub mod subprotocol;
pub mod template;
pub mod url;
pub mod value;

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
    /// What the server's own certificate or its key must be; without `ca` that is all it must be.
    pub pins: Vec<Pin>,
    /// Nothing older than TLS 1.3.
    pub only_1_3: bool,
    /// Application protocols to offer (RFC 7301); `None`: `http/1.1`.
    pub alpn: Option<Vec<Box<str>>>,
    /// The name is not sent (SNI).
    pub hides_name: bool,
}

/// SHA-256 of a certificate, or of its key as it stands in it (`SubjectPublicKeyInfo`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pin(pub [u8; 32]);

impl Pin {
    const WORD: &'static str = "sha256/";

    /// Reads `sha256/BASE64`.
    pub fn parse(text: &str) -> Option<Self> {
        STANDARD.decode(text.strip_prefix(Self::WORD)?).ok()?.try_into().ok().map(Self)
    }
}

impl fmt::Display for Pin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", Self::WORD, STANDARD.encode(self.0))
    }
}

/// User and password for Digest authentication (RFC 7616), which go to servers that ask for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Digest {
    /// The user.
    pub user: Template,
    /// The password.
    pub password: Template,
}

/// `[endpoints.NAME]`
#[derive(Debug, Clone)]
#[allow(clippy::struct_excessive_bools, reason = "each is a key of its own")]
pub struct Endpoint {
    /// The name.
    pub name: Arc<str>,
    /// `url` or `urls`; at least one.
    pub urls: Vec<Template>,
    /// Where each leads; `None` where something is left to be evaluated.
    pub targets: Vec<Option<Arc<url::Target>>>,
    /// How many links to hold; where its subscriptions open more, at least so many.
    pub links: u32,
    /// Subprotocols offered, in order.
    pub protocols: Vec<Template>,
    /// A server that chooses none of them is accepted.
    pub protocols_optional: bool,
    /// Headers of the upgrade request.
    pub headers: Vec<(FieldName, Template)>,
    /// Redirects followed.
    pub redirects: u32,
    /// Cookies that servers set are sent back to them.
    pub cookies: bool,
    /// `digest`
    pub digest: Option<Box<Digest>>,
    /// `tls`
    pub tls: Tls,
    /// `proxy`, `proxy_headers`, `proxy_ca`
    pub proxy: proxy::Proxy,
    /// `prefer`, `resolve`, `source_address`, `deny`
    pub network: network::Network,
    /// `http2`, `http2_links`
    pub http2: http2::Http2,
    /// `compression` and the keys that begin with it.
    pub compression: compression::Compression,
    /// Counts for `/readyz?links`.
    pub critical: bool,
    /// Links that must be ready then.
    pub min_ready: u32,
    /// `start`: its links have a connection only while somebody wants it.
    pub lazy: bool,
    /// `idle_timeout`: and for so long after that.
    pub idle_timeout: Duration,
    /// `reconnect.on_clean_close`; its rows stand at the end of `link.outcomes`.
    pub stay_closed: bool,
    /// `connect_timeout`, `heartbeat`, `reconnect`, `outcomes`, `outbox`.
    pub link: Arc<link::Policy>,
    /// `outbox.total`: how fast messages of all its links leave.
    pub pacing: Pacing,
    /// `reconnect.budget`: how many attempts all its links make.
    pub attempts: AttemptBudget,
    /// `inbox`
    pub inbox: inbox::Policy,
    /// `streams`
    pub streams: Vec<Stream>,
    /// How long receipts are kept after their end.
    pub receipts_keep: Duration,
    /// What connections run from OPEN on.
    pub session: Option<Arc<Session>>,
    /// What its links ask their peers for, where it has subscriptions.
    pub subscriptions: Option<Arc<Subscriptions>>,
    /// Values that its templates name, those of which others are made before them.
    pub values: Box<[Arc<value::Value>]>,
}

/// How many attempts the links of an endpoint make together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AttemptBudget {
    /// So many; `None`: as many as the backoff has them make.
    pub attempts: Option<u32>,
    /// Within any time as long as this.
    pub per: Duration,
}

impl AttemptBudget {
    /// Where there is one.
    pub fn limit(&self) -> Option<Limit> {
        self.attempts.map(|attempts| Limit { attempts, per: self.per })
    }
}

/// None, and a day.
impl Default for AttemptBudget {
    fn default() -> Self {
        Self { attempts: None, per: Duration::from_hours(24) }
    }
}

/// A named part of the inbox, with a ring of its own.
#[derive(Debug, Clone, PartialEq)]
pub struct Stream {
    /// The name.
    pub name: Arc<str>,
    /// What its messages have.
    pub filter: session::Filter,
    /// Messages kept at most.
    pub max_messages: usize,
    /// Their bytes.
    pub max_bytes: u64,
}

/// `subscriptions`, beside what its connections run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subscriptions {
    /// Those that it always has, in order.
    pub keys: Box<[Arc<str>]>,
    /// What holds for all of them.
    pub policy: subscriptions::Policy,
    /// The configuration says nothing of them: programs bring keys with messages of their own.
    pub is_bare: bool,
}

/// A session, and what an attempt reads for it.
#[derive(Clone, PartialEq, Default)]
pub struct Session {
    /// What connections run.
    pub plan: Arc<session::Plan>,
    /// Its references to secrets, each by its place in the plan (`session::Source::Secret`).
    pub secrets: Box<[Template]>,
}

impl Session {
    /// Whether the link keeps the variable of this name over a reconnect.
    pub fn keeps(&self, name: &str) -> bool {
        self.plan.keep.iter().any(|var| self.plan.names.name(*var) == name)
    }
}

impl Endpoint {
    /// The names of variables that outlive the daemon.
    pub fn durable_variables(&self) -> Box<[Box<str>]> {
        let plan = self.session.iter().map(|session| &session.plan);
        plan.flat_map(|plan| plan.durable.iter().map(|var| plan.names.name(*var).into())).collect()
    }
}

/// A plan may hold what was written in clear.
impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Session({} steps, {:?})", self.plan.open.len(), self.secrets)
    }
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
            cookies: false,
            digest: None,
            tls: Tls::default(),
            proxy: proxy::Proxy::default(),
            network: network::Network::default(),
            http2: http2::Http2::default(),
            compression: compression::Compression::default(),
            critical: false,
            min_ready: 1,
            lazy: false,
            idle_timeout: Duration::from_mins(1),
            stay_closed: false,
            link: Arc::default(),
            pacing: Pacing::default(),
            attempts: AttemptBudget::default(),
            inbox: inbox::Policy::default(),
            streams: Vec::new(),
            receipts_keep: Duration::from_mins(10),
            session: None,
            subscriptions: None,
            values: Box::default(),
        }
    }
}

impl Endpoint {
    /// The defaults, with this URL.
    pub fn new(name: &str, url: &str) -> Result<Self, url::UrlFault> {
        url::Target::parse(url)?;
        let mut endpoint = Self { name: name.into(), ..Self::default() };
        endpoint.urls.push(Template::literal(url).with_redaction(Redaction::Url));
        endpoint.agree();
        Ok(endpoint)
    }

    /// What follows from other fields is made so: where URLs lead, how many there are, the longest message that may arrive, how long a lazy
    /// link stays awake.
    pub fn agree(&mut self) {
        let target = |url: &Template| url::Target::parse(&url.as_literal()?).ok().map(Arc::new);
        self.targets = self.urls.iter().map(target).collect();
        let link = Arc::make_mut(&mut self.link);
        link.urls = self.urls.len();
        link.max_inbound = self.inbox.max_message;
        link.idle_timeout = self.lazy.then_some(self.idle_timeout);
    }

    /// Whether something of it is to be on disk.
    pub fn needs_store(&self) -> bool {
        self.link.outbox.durable || self.inbox.durable || !self.durable_variables().is_empty()
    }

    /// Whether it is to keep over a restart who holds which key.
    pub fn keeps_keys(&self) -> bool {
        self.link.outbox.durable || self.inbox.durable
    }

    /// The same, whose links ask for keys that bring a message of their own.
    #[must_use]
    pub fn with_subscriptions(&self) -> Self {
        let mut session = self.session.as_deref().cloned().unwrap_or_else(|| Session {
            plan: Arc::new(session::Plan {
                timeout: Duration::from_secs(30),
                max_json: session::MAX_JSON,
                ..session::Plan::default()
            }),
            ..Session::default()
        });
        let subscribing = session::Subscribing { batch: 1, ..session::Subscribing::default() };
        Arc::make_mut(&mut session.plan).subscriptions = Some(Box::new(subscribing));
        let policy = subscriptions::Policy {
            links: (self.links, self.links),
            is_durable: self.keeps_keys(),
            ..subscriptions::Policy::default()
        };
        let subscriptions = Subscriptions { keys: Box::default(), policy, is_bare: true };
        Self { session: Some(Arc::new(session)), subscriptions: Some(Arc::new(subscriptions)), ..self.clone() }
    }

    /// Whether its links remember something of servers in any case.
    pub(crate) fn remembers(&self) -> bool {
        self.cookies || self.digest.is_some()
    }

    /// User and password for Digest authentication, to be looked at.
    pub(crate) fn digest_templates(&self) -> impl Iterator<Item = &Template> {
        self.digest.iter().flat_map(|digest| [&digest.user, &digest.password])
    }

    /// How many links there may be at most.
    pub fn max_links(&self) -> u32 {
        self.subscriptions.as_ref().map_or(self.links, |subscriptions| subscriptions.policy.links.1.max(self.links))
    }

    /// A longer message is not read as JSON.
    pub fn max_json(&self) -> usize {
        self.session.as_ref().map_or(session::MAX_JSON, |session| session.plan.max_json)
    }

    /// Files that its credentials are read from: those of templates and values, and what is shown in TLS.
    pub fn credential_files(&self) -> Vec<PathBuf> {
        let headers = self.headers.iter().map(|(_, value)| value);
        let session = self.session.iter().flat_map(|session| &session.secrets);
        let values = self.values.iter().flat_map(|value| &value.secrets);
        let others = self.proxy.templates().chain(self.digest_templates());
        let templates =
            self.urls.iter().chain(headers).chain(&self.protocols).chain(session).chain(values).chain(others);
        let client = self.tls.client.iter().flat_map(|(chain, key)| [chain.clone(), key.clone()]);
        let mut files: Vec<PathBuf> =
            templates.flat_map(Template::files).map(std::path::Path::to_path_buf).chain(client).collect();
        files.sort();
        files.dedup();
        files
    }

    /// A URL as people see it: as it is dialled where it is known, else with its references. Empty where there is none.
    pub fn shown_url(&self, index: usize) -> Arc<str> {
        match (self.targets.get(index), self.urls.get(index)) {
            (Some(Some(target)), _) => Arc::clone(&target.shown),
            (_, Some(template)) => template.shown().into(),
            (_, None) => "".into(),
        }
    }
}
