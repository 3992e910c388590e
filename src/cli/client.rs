//! A small HTTP client of the daemon's local API, over TCP or a unix socket.
//!
//! What a reader would get wrong: one connection is kept between requests and made anew when the daemon has closed it, but
//! a request whose answer was lost is never repeated by itself: a message might be sent twice.

use std::{fmt, io, path::PathBuf, sync::OnceLock};

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full};
use hyper::{
    body::Incoming,
    client::conn::http1::{SendRequest, handshake},
};
use hyper_util::rt::TokioIo;
use serde::de::DeserializeOwned;
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::client::TlsStream;
use tokio_util::either::Either;

use super::{args::Remote, secure::secure, trouble};
use crate::api::wire::List;

/// The sockets of the installed service: its own, and that of `wskeeper.socket`.
const SERVICE: [&str; 2] = ["/run/wskeeper/api.sock", "/run/wskeeper.sock"];

/// Where the daemon is.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Target {
    Tcp(Place),
    Unix(PathBuf),
}

/// A daemon's API by its URL.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Place {
    /// By a proxy with TLS.
    is_secure: bool,
    host: String,
    port: u16,
    /// Before each path; without a slash at its end.
    prefix: String,
}

impl Place {
    fn plain(host: &str, port: u16) -> Self {
        Self { is_secure: false, host: host.into(), port, prefix: String::new() }
    }

    /// As in `Host`.
    fn authority(&self) -> String {
        let host = if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() };
        if self.port == if self.is_secure { 443 } else { 80 } { host } else { format!("{host}:{}", self.port) }
    }
}

/// What requests go over.
type Stream = Either<Either<TlsStream<TcpStream>, TcpStream>, UnixStream>;

impl Target {
    async fn open(&self) -> io::Result<Stream> {
        match self {
            Self::Tcp(place) => {
                let stream = TcpStream::connect((place.host.as_str(), place.port)).await?;
                let _ = stream.set_nodelay(true);
                Ok(Either::Left(if place.is_secure {
                    Either::Left(secure(stream, &place.host).await?)
                } else {
                    Either::Right(stream)
                }))
            }
            Self::Unix(path) => UnixStream::connect(path).await.map(Either::Right),
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(place) => {
                let scheme = if place.is_secure { "https" } else { "http" };
                write!(f, "{scheme}://{}{}", place.authority(), place.prefix)
            }
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// Why the daemon was not reached, or what it answered instead.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ClientError {
    /// `--api` cannot be read.
    #[error("--api {0:?} is not an address: write http://HOST:PORT, https://HOST or unix:/path/to/api.sock")]
    Address(String),
    /// The token file cannot be read.
    #[error("cannot read the API token from {path}: {error}")]
    Token {
        /// The file.
        path: String,
        /// Why.
        error: String,
    },
    /// No connection.
    #[error(
        "no daemon answers at {0}. Is it running? Start it with `wskeeper run --config PATH`, or say where it is with --api or \
         WSKEEPER_API."
    )]
    Unreachable(String),
    /// There is a socket that this user may not use.
    #[error("{0}: Permission denied: be a member of the socket's group (api.socket_group), or root")]
    Denied(String),
    /// The connection was lost before the answer.
    #[error("the daemon at {target} hung up: {error}")]
    Lost {
        /// Where.
        target: String,
        /// Why.
        error: String,
    },
    /// An RFC 9457 problem.
    #[error("{0}")]
    Problem(Problem),
    /// Not what this version understands.
    #[error("the answer of {target} is not what this version of wskeeper expects: {error}")]
    Answer {
        /// Where.
        target: String,
        /// What is wrong.
        error: String,
    },
}

impl ClientError {
    /// Whether the same request may succeed once the daemon is back.
    pub(crate) fn is_transport(&self) -> bool {
        match self {
            Self::Unreachable(_) | Self::Lost { .. } => true,
            Self::Problem(problem) => problem.status == 503,
            Self::Address(_) | Self::Token { .. } | Self::Denied(_) | Self::Answer { .. } => false,
        }
    }
}

/// What the daemon says is wrong (RFC 9457).
#[derive(Debug, Clone, Default, serde::Deserialize)]
#[serde(default)]
pub(crate) struct Problem {
    /// HTTP status.
    pub(crate) status: u16,
    /// Stable name of the kind of problem.
    pub(crate) r#type: String,
    /// One line.
    pub(crate) title: String,
    /// What happened and what to do.
    pub(crate) detail: String,
    /// Everything else: faults of a configuration, and the like.
    #[serde(flatten)]
    pub(crate) more: serde_json::Map<String, serde_json::Value>,
}

impl Problem {
    /// Whether the daemon says it, and not something before it.
    pub(crate) fn is_ours(&self) -> bool {
        self.r#type.starts_with("urn:wskeeper:problem:")
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.title.as_str(), trouble::in_words(&self.detail).as_str()) {
            ("", "") => write!(f, "the daemon answered with HTTP {}", self.status),
            (title, "") => write!(f, "{title} (HTTP {})", self.status),
            ("", detail) => write!(f, "{detail} (HTTP {})", self.status),
            (title, detail) if self.is_ours() => write!(f, "{title}: {detail}"),
            (title, detail) => write!(f, "{title}: {detail} (HTTP {})", self.status),
        }
    }
}

/// A request to come.
#[derive(Debug, Default)]
pub(crate) struct Call<'a> {
    /// Path and query.
    pub(crate) path: &'a str,
    /// Sent with it.
    pub(crate) body: Option<(&'static str, Bytes)>,
    /// Further headers.
    pub(crate) headers: Vec<(&'static str, String)>,
}

/// A client with at most one idle connection.
#[derive(Debug)]
pub(crate) struct Client {
    /// Where the daemon may be; never empty.
    targets: Vec<Target>,
    /// Which of them answered.
    found: OnceLock<usize>,
    token: Option<String>,
    idle: Option<SendRequest<Full<Bytes>>>,
}

/// Where a daemon may be that nobody has said anything about: the installed service, else one that was started by hand.
fn usual() -> Vec<Target> {
    let mut usual: Vec<Target> = SERVICE.into_iter().map(|path| Target::Unix(path.into())).collect();
    usual.push(Target::Tcp(Place::plain("127.0.0.1", 7700)));
    usual
}

/// Nobody listens there: a stopped service leaves its socket behind.
fn is_nobody(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::ConnectionRefused | io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

impl Client {
    /// Reads the address and the token; connects with the first request.
    pub(crate) fn new(remote: &Remote) -> Result<Self, ClientError> {
        let token =
            match &remote.token_file {
                Some(path) => Some(std::fs::read_to_string(path).map_err(|error| ClientError::Token {
                    path: path.display().to_string(),
                    error: error.to_string(),
                })?),
                None => std::env::var("WSKEEPER_TOKEN").ok(),
            };
        let token = token.map(|token| token.trim().to_owned()).filter(|token| !token.is_empty());
        let targets = remote.api.as_deref().map_or_else(|| Ok(usual()), |api| target(api).map(|one| vec![one]))?;
        Ok(Self { targets, found: OnceLock::new(), token, idle: None })
    }

    /// A client of a daemon on this TCP port of the loopback address.
    pub(crate) fn local(port: u16) -> Self {
        let targets = vec![Target::Tcp(Place::plain("127.0.0.1", port))];
        Self { targets, found: OnceLock::new(), token: None, idle: None }
    }

    /// The address as people write it.
    pub(crate) fn address(&self) -> String {
        self.target().to_string()
    }

    /// The one that answered, else the first that is tried.
    fn target(&self) -> &Target {
        &self.targets[self.found.get().copied().unwrap_or_default()]
    }

    /// Reads a JSON resource.
    pub(crate) async fn get<T: DeserializeOwned>(&mut self, path: &str) -> Result<T, ClientError> {
        let (_, body) = self.call(Method::GET, Call { path, ..Call::default() }).await?;
        self.read(&body)
    }

    /// Reads a list to its end, page by page; `path` has a query already.
    pub(crate) async fn pages<T: DeserializeOwned>(&mut self, path: &str) -> Result<Vec<T>, ClientError> {
        let (mut items, mut after) = (Vec::new(), String::new());
        loop {
            let page: List<T> = self.get(&format!("{path}{after}")).await?;
            let is_empty = page.items.is_empty();
            items.extend(page.items);
            match page.next {
                Some(next) if !is_empty => after = format!("&after={}", escape(&next)),
                Some(_) | None => return Ok(items),
            }
        }
    }

    /// Posts JSON, or nothing, and reads JSON; an empty answer reads as `null`.
    pub(crate) async fn post<T: DeserializeOwned>(
        &mut self,
        path: &str,
        body: Option<&serde_json::Value>,
    ) -> Result<T, ClientError> {
        let body = body.map(|value| ("application/json", Bytes::from(value.to_string())));
        let (_, body) = self.call(Method::POST, Call { path, body, headers: Vec::new() }).await?;
        self.read(if body.is_empty() { b"null" } else { &body })
    }

    /// A whole answer, if it is a success.
    pub(crate) async fn call(&mut self, method: Method, call: Call<'_>) -> Result<(StatusCode, Bytes), ClientError> {
        let (status, body) = self.exchange(method, call).await?;
        if status.is_success() { Ok((status, body)) } else { Err(ClientError::Problem(problem(status, &body))) }
    }

    /// A whole answer, whatever its status.
    pub(crate) async fn exchange(
        &mut self,
        method: Method,
        call: Call<'_>,
    ) -> Result<(StatusCode, Bytes), ClientError> {
        let mut sender = self.sender().await?;
        let request = self.request(method, call)?;
        let response = sender.send_request(request).await.map_err(|error| self.lost(&error))?;
        let status = response.status();
        let body = response.into_body().collect().await.map_err(|error| self.lost(&error))?.to_bytes();
        self.idle = Some(sender);
        Ok((status, body))
    }

    /// An answer whose body is read as it comes, on a connection of its own.
    pub(crate) async fn stream(&self, call: Call<'_>) -> Result<Response<Incoming>, ClientError> {
        let mut sender = self.connect().await?;
        let request = self.request(Method::GET, call)?;
        let response = sender.send_request(request).await.map_err(|error| self.lost(&error))?;
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        let body = response.into_body().collect().await.map_err(|error| self.lost(&error))?.to_bytes();
        Err(ClientError::Problem(problem(status, &body)))
    }

    /// A body as JSON.
    pub(crate) fn read<T: DeserializeOwned>(&self, body: &[u8]) -> Result<T, ClientError> {
        serde_json::from_slice(body)
            .map_err(|error| ClientError::Answer { target: self.address(), error: error.to_string() })
    }

    async fn sender(&mut self) -> Result<SendRequest<Full<Bytes>>, ClientError> {
        if let Some(mut idle) = self.idle.take()
            && idle.ready().await.is_ok()
        {
            return Ok(idle);
        }
        self.connect().await
    }

    async fn connect(&self) -> Result<SendRequest<Full<Bytes>>, ClientError> {
        let stream = self.reach().await?;
        let (sender, connection) = handshake(TokioIo::new(stream)).await.map_err(|error| self.lost(&error))?;
        // Its errors are seen by the request under way.
        tokio::spawn(async move { drop(connection.await) });
        Ok(sender)
    }

    /// A connection to the first that is there.
    async fn reach(&self) -> Result<Stream, ClientError> {
        let mut tried = Vec::new();
        let is_wanted = |at: &usize| self.found.get().is_none_or(|found| found == at);
        for (at, target) in self.targets.iter().enumerate().filter(|(at, _)| is_wanted(at)) {
            match target.open().await {
                Ok(stream) => {
                    let _ = self.found.set(at);
                    return Ok(stream);
                }
                Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                    return Err(ClientError::Denied(target.to_string()));
                }
                Err(error) => {
                    tried.push(format!("{target} ({error})"));
                    if !is_nobody(&error) {
                        break;
                    }
                }
            }
        }
        Err(ClientError::Unreachable(tried.join(", ")))
    }

    fn request(&self, method: Method, call: Call<'_>) -> Result<Request<Full<Bytes>>, ClientError> {
        let (host, prefix) = match self.target() {
            Target::Tcp(place) => (place.authority(), place.prefix.as_str()),
            Target::Unix(_) => ("localhost".into(), ""),
        };
        let uri = format!("{prefix}{}", call.path);
        let mut request = Request::builder().method(method).uri(uri).header(header::HOST, host);
        if let Some(token) = &self.token
            && let Ok(mut value) = HeaderValue::try_from(format!("Bearer {token}"))
        {
            value.set_sensitive(true);
            request = request.header(header::AUTHORIZATION, value);
        }
        for (name, value) in call.headers {
            request = request.header(name, value);
        }
        let body = match call.body {
            Some((kind, body)) => {
                request = request.header(header::CONTENT_TYPE, kind);
                Full::new(body)
            }
            None => Full::default(),
        };
        request.body(body).map_err(|error| ClientError::Answer { target: self.address(), error: error.to_string() })
    }

    fn lost(&self, error: &hyper::Error) -> ClientError {
        ClientError::Lost { target: self.address(), error: error.to_string() }
    }
}

/// A name as one segment of a path, or as a value of a query.
pub(crate) fn escape(text: &str) -> String {
    percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC).to_string()
}

fn target(api: &str) -> Result<Target, ClientError> {
    let bad = || ClientError::Address(api.to_owned());
    if let Some(path) = api.strip_prefix("unix:") {
        let path = path.strip_prefix("//").unwrap_or(path);
        return if path.is_empty() { Err(bad()) } else { Ok(Target::Unix(path.into())) };
    }
    let url = if api.contains("://") { api.to_owned() } else { format!("http://{api}") };
    let url = url::Url::parse(&url).map_err(|_| bad())?;
    let host = url.host_str().ok_or_else(bad)?;
    let has_more = url.query().is_some() || url.fragment().is_some() || !url.username().is_empty();
    if !matches!(url.scheme(), "http" | "https") || has_more {
        return Err(bad());
    }
    Ok(Target::Tcp(Place {
        is_secure: url.scheme() == "https",
        host: host.trim_start_matches('[').trim_end_matches(']').to_owned(),
        port: url.port_or_known_default().ok_or_else(bad)?,
        prefix: url.path().trim_end_matches('/').to_owned(),
    }))
}

/// What an answer that is no success says is wrong.
pub(crate) fn problem(status: StatusCode, body: &[u8]) -> Problem {
    let mut problem: Problem = serde_json::from_slice(body).unwrap_or_else(|_| Problem {
        detail: String::from_utf8_lossy(body).trim().chars().take(300).collect(),
        ..Problem::default()
    });
    problem.status = status.as_u16();
    if problem.title.is_empty() && problem.detail.is_empty() {
        problem.title.push_str(status.canonical_reason().unwrap_or_default());
    }
    problem
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_http_or_a_unix_socket() {
        let tcp = |host: &str, port| Target::Tcp(Place::plain(host, port));
        assert_eq!(target("http://127.0.0.1:7700").unwrap(), tcp("127.0.0.1", 7700));
        assert_eq!(target("localhost:7701").unwrap(), tcp("localhost", 7701));
        assert_eq!(target("http://[::1]:7700/").unwrap(), tcp("::1", 7700));
        assert_eq!(target("unix:/run/x.sock").unwrap(), Target::Unix("/run/x.sock".into()));
        assert_eq!(target("unix:///run/x.sock").unwrap(), Target::Unix("/run/x.sock".into()));
        for bad in ["", "unix:", "ftp://x", "http://", "http://me@x", "https://x/?a=b"] {
            assert!(target(bad).is_err(), "{bad}");
        }
    }

    #[tokio::test]
    async fn a_socket_that_nobody_listens_on_is_passed_over_and_all_that_were_tried_are_told() {
        let folder = tempfile::tempdir().unwrap();
        let stale = folder.path().join("stale.sock");
        drop(std::os::unix::net::UnixListener::bind(&stale).unwrap());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let tcp = Target::Tcp(Place::plain("127.0.0.1", port));
        let targets = vec![Target::Unix(folder.path().join("none.sock")), Target::Unix(stale), tcp];
        let client = Client { targets, found: OnceLock::new(), token: None, idle: None };
        client.reach().await.unwrap();
        assert_eq!(client.address(), format!("http://127.0.0.1:{port}"));
        drop(listener);
        // What has answered once is where the daemon is.
        let told = client.reach().await.unwrap_err().to_string();
        assert!(told.contains(&format!("at http://127.0.0.1:{port} (")) && !told.contains("none.sock"), "{told}");
        let told = Client { found: OnceLock::new(), ..client }.reach().await.unwrap_err().to_string();
        for part in
            ["none.sock (No such file", "stale.sock (Connection refused", &format!(":{port} (Connection refused")]
        {
            assert!(told.contains(part), "{part}: {told}");
        }
    }

    #[test]
    fn a_proxy_with_tls_may_have_a_path() {
        for (api, shown) in [
            ("https://keeper.example", "https://keeper.example"),
            ("https://keeper.example:443/", "https://keeper.example"),
            ("https://keeper.example:8443/ws/keeper/", "https://keeper.example:8443/ws/keeper"),
            ("http://keeper.example/", "http://keeper.example"),
            ("http://[::1]:7700/x", "http://[::1]:7700/x"),
        ] {
            assert_eq!(target(api).unwrap().to_string(), shown);
        }
    }

    #[test]
    fn a_problem_says_what_happened_and_its_status() {
        let body = br#"{"type":"urn:wskeeper:full","title":"Outbox full","detail":"10 messages held","status":429}"#;
        let problem = problem(StatusCode::TOO_MANY_REQUESTS, body);
        assert_eq!(problem.to_string(), "Outbox full: 10 messages held (HTTP 429)");
    }

    #[test]
    fn an_answer_that_is_no_problem_document_is_shown_as_it_is() {
        assert_eq!(problem(StatusCode::BAD_GATEWAY, b"nginx\n").to_string(), "nginx (HTTP 502)");
        assert_eq!(problem(StatusCode::NOT_FOUND, b"").to_string(), "Not Found (HTTP 404)");
    }
}
