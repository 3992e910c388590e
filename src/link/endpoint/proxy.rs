//! The proxy on the way to a server: what is written of it, and what that comes to at an attempt.
//!
//! What a reader would get wrong: user and password may stand in the URL, so neither a [`Via`] nor a fault shows anything but
//! [`Via::shown`]; and the environment is looked at for each server, because it may name a proxy for some of them only.

mod bypass;

use std::{fmt, path::PathBuf, sync::Arc};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use percent_encoding::percent_decode_str;
use url::{Host, Url};

use super::{
    FieldName, Secret, SecretError, Template,
    url::{Target, UNIX},
};

/// `proxy`, and what belongs to it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Proxy {
    /// `proxy`
    pub choice: ProxyChoice,
    /// `proxy_headers`: of the request to an HTTP proxy.
    pub headers: Vec<(FieldName, Template)>,
    /// `proxy_ca`: authorities that an https proxy's certificate is of, instead of the platform's; read at each attempt.
    pub ca: Option<PathBuf>,
    /// `deny` holds for it too: a caller of an API has named it, and not the operator.
    pub obeys_deny: bool,
}

impl Proxy {
    /// Whether a connection by `via` is not asked about `deny`.
    pub(crate) fn is_exempt(&self, via: Option<&Arc<Via>>) -> bool {
        via.is_some() && !self.obeys_deny
    }
}

/// `proxy`
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum ProxyChoice {
    /// None.
    #[default]
    Direct,
    /// That which the environment names for the server, as it does for curl.
    Environment,
    /// This one.
    Url(Template),
}

/// How a proxy is spoken to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProxyScheme {
    /// By CONNECT.
    Http,
    /// By CONNECT, under TLS.
    Https,
    /// By SOCKS 5, with addresses that are looked up here.
    Socks5,
    /// By SOCKS 5, with names that the proxy looks up.
    Socks5h,
}

impl ProxyScheme {
    const ALL: [Self; 4] = [Self::Http, Self::Https, Self::Socks5, Self::Socks5h];

    /// The word of the URL.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
            Self::Socks5 => "socks5",
            Self::Socks5h => "socks5h",
        }
    }

    const fn port(self) -> u16 {
        match self {
            Self::Http => 80,
            Self::Https => 443,
            Self::Socks5 | Self::Socks5h => 1080,
        }
    }
}

/// An evaluated proxy.
#[derive(Clone, PartialEq, Eq)]
pub struct Via {
    /// How it is spoken to.
    pub scheme: ProxyScheme,
    /// A name or an address; IPv6 without brackets.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// User and password.
    pub credentials: Option<(Secret, Secret)>,
    /// Of the request to it.
    pub headers: Vec<(FieldName, Secret)>,
    /// Authorities that its certificate is of.
    pub ca: Option<PathBuf>,
    /// Scheme, host and port, for people.
    pub shown: Arc<str>,
}

/// Why there is no proxy, though one is wanted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoProxy {
    /// A reference cannot be evaluated.
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// What the references gave is no proxy's URL.
    #[error("proxy cannot be used: {0}")]
    Evaluated(ProxyFault),
    /// What the environment has is none.
    #[error("{0} of the environment cannot be used: {1}")]
    Environment(&'static str, ProxyFault),
}

/// Why a text is no proxy's URL. Says nothing of the text itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ProxyFault {
    /// It cannot be parsed.
    #[error("it is not the URL of a proxy: {0}")]
    Malformed(url::ParseError),
    /// The scheme is another.
    #[error("its scheme is not one of http, https, socks5 and socks5h")]
    Scheme,
    /// There is more than scheme, user, password, host and port.
    #[error("it has a path or a query, which a proxy has none of")]
    Path,
    /// Port 0.
    #[error("port 0 cannot be connected to")]
    Port,
    /// RFC 1929 has one byte for their lengths.
    #[error("SOCKS 5 takes a user and a password of 1 to 255 bytes each")]
    Credentials,
}

/// Which variables name a proxy, those that win first. `HTTP_PROXY` is what a client of a CGI program may set, so it does not count there.
const SECURE: [&str; 4] = ["https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"];
const PLAIN: [&str; 4] = ["http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"];
const EXCEPT: [&str; 2] = ["no_proxy", "NO_PROXY"];
const CGI: &str = "REQUEST_METHOD";

type Environment<'e> = &'e dyn Fn(&str) -> Option<String>;

impl Proxy {
    /// Whether there can be one.
    pub fn is_none(&self) -> bool {
        self.choice == ProxyChoice::Direct
    }

    /// What its templates are, to be looked at.
    pub(crate) fn templates(&self) -> impl Iterator<Item = &Template> {
        let url = match &self.choice {
            ProxyChoice::Url(url) => Some(url),
            ProxyChoice::Direct | ProxyChoice::Environment => None,
        };
        url.into_iter().chain(self.headers.iter().map(|(_, value)| value))
    }

    /// The proxy for this server, evaluated now; `None`: there is none. It may read files, and so block.
    pub fn way_to(&self, target: &Target) -> Result<Option<Arc<Via>>, NoProxy> {
        self.way_by(target, &|name| std::env::var_os(name).map(|value| value.to_string_lossy().into_owned()))
    }

    fn way_by(&self, target: &Target, environment: Environment<'_>) -> Result<Option<Arc<Via>>, NoProxy> {
        let mut via = match &self.choice {
            // What is on this machine is behind no proxy.
            _ if target.unix.is_some() => return Ok(None),
            ProxyChoice::Direct => return Ok(None),
            ProxyChoice::Url(url) => {
                Via::parse(url.evaluate_as_url(environment)?.expose()).map_err(NoProxy::Evaluated)?
            }
            ProxyChoice::Environment => match named(target, environment) {
                Some((name, text)) => {
                    let text = if text.contains("://") { text } else { format!("http://{text}") };
                    Via::parse(&text).map_err(|fault| NoProxy::Environment(name, fault))?
                }
                None => return Ok(None),
            },
        };
        let value = |(name, value): &(FieldName, Template)| Ok((name.clone(), value.evaluate_with(environment)?));
        via.headers = self.headers.iter().map(value).collect::<Result<_, SecretError>>()?;
        via.ca.clone_from(&self.ca);
        Ok(Some(Arc::new(via)))
    }

    /// The proxy for this server as people may see it, without evaluating anything that is secret.
    pub fn shown_for(&self, url: &str) -> Option<String> {
        match &self.choice {
            ProxyChoice::Direct => None,
            ProxyChoice::Url(_) | ProxyChoice::Environment if url.starts_with(UNIX) => None,
            ProxyChoice::Url(url) => Some(url.shown()),
            ProxyChoice::Environment => {
                let headless = Self { choice: ProxyChoice::Environment, ..Self::default() };
                let via = headless.way_to(&Target::parse(url).ok()?).ok()??;
                Some(via.shown.to_string())
            }
        }
    }
}

/// The variable that names a proxy for this server, and what it says.
fn named(target: &Target, environment: Environment<'_>) -> Option<(&'static str, String)> {
    let set = |name: &'static str| Some((name, environment(name).filter(|text| !text.trim().is_empty())?));
    let names = if target.tls { SECURE } else { PLAIN };
    let is_meant = |name: &&'static str| *name != "HTTP_PROXY" || environment(CGI).is_none();
    let (name, text) = names.into_iter().filter(is_meant).find_map(set)?;
    let is_excepted =
        EXCEPT.into_iter().find_map(set).is_some_and(|(_, list)| bypass::bypasses(&list, &target.host, target.port));
    (!is_excepted).then(|| (name, text.trim().to_owned()))
}

impl Via {
    /// Reads an evaluated URL.
    pub fn parse(text: &str) -> Result<Self, ProxyFault> {
        let (word, rest) = text.split_once("://").ok_or(ProxyFault::Scheme)?;
        let scheme = ProxyScheme::ALL.into_iter().find(|scheme| scheme.as_str().eq_ignore_ascii_case(word));
        let scheme = scheme.ok_or(ProxyFault::Scheme)?;
        // Hosts of schemes that the standard does not know are not read as names. A port that a scheme has anyway is left out by it,
        // so what two schemes leave out was not there.
        let read = |as_scheme: &str| Url::parse(&format!("{as_scheme}://{rest}")).map_err(ProxyFault::Malformed);
        let url = read("http")?;
        let port = url.port().or(read("https")?.port()).unwrap_or(scheme.port());
        if port == 0 {
            return Err(ProxyFault::Port);
        }
        if url.path() != "/" || url.query().is_some() || url.fragment().is_some() {
            return Err(ProxyFault::Path);
        }
        let host = match url.host().ok_or(ProxyFault::Malformed(url::ParseError::EmptyHost))? {
            Host::Domain(name) => name.to_owned(),
            Host::Ipv4(address) => address.to_string(),
            Host::Ipv6(address) => address.to_string(),
        };
        let credentials = credentials(&url);
        let fits = |text: &Secret| (1..=255).contains(&text.expose().len());
        let is_socks = matches!(scheme, ProxyScheme::Socks5 | ProxyScheme::Socks5h);
        if is_socks && credentials.as_ref().is_some_and(|(user, password)| !fits(user) || !fits(password)) {
            return Err(ProxyFault::Credentials);
        }
        let shown = format!("{}://{}", scheme.as_str(), authority(&host, port)).into();
        Ok(Self { scheme, host, port, credentials, headers: Vec::new(), ca: None, shown })
    }

    /// `Proxy-Authorization` of its user and password.
    pub(crate) fn basic_auth(&self) -> Option<Secret> {
        let (user, password) = self.credentials.as_ref()?;
        let pair = format!("{}:{}", user.expose(), password.expose());
        Some(Secret::new(format!("Basic {}", STANDARD.encode(pair))))
    }
}

impl fmt::Debug for Via {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Via").field(&self.shown).finish()
    }
}

/// Host and port; an IPv6 address in brackets.
pub(crate) fn authority(host: &str, port: u16) -> String {
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}

fn credentials(url: &Url) -> Option<(Secret, Secret)> {
    let decoded = |text: &str| Secret::new(percent_decode_str(text).decode_utf8_lossy().into_owned());
    let password = url.password();
    (!url.username().is_empty() || password.is_some())
        .then(|| (decoded(url.username()), decoded(password.unwrap_or_default())))
}

#[cfg(test)]
mod tests;
