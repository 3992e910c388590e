//! Where a daemon's API is: a URL, or a unix socket.

use std::{fmt, io, path::PathBuf};

use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::client::TlsStream;
use tokio_util::either::Either;

use super::ClientError;
use crate::cli::secure::secure;

/// The sockets of the installed service: its own, and that of `wskeeper.socket`.
const SERVICE: [&str; 2] = ["/run/wskeeper/api.sock", "/run/wskeeper.sock"];

/// Where the daemon is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Target {
    Tcp(Place),
    Unix(PathBuf),
}

/// A daemon's API by its URL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    /// By a proxy with TLS.
    is_secure: bool,
    host: String,
    port: u16,
    /// Before each path; without a slash at its end.
    pub(super) prefix: String,
}

impl Place {
    pub(super) fn plain(host: &str, port: u16) -> Self {
        Self { is_secure: false, host: host.into(), port, prefix: String::new() }
    }

    /// As in `Host`.
    pub(super) fn authority(&self) -> String {
        let host = if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() };
        if self.port == if self.is_secure { 443 } else { 80 } { host } else { format!("{host}:{}", self.port) }
    }
}

/// What requests go over.
pub(super) type Stream = Either<Either<TlsStream<TcpStream>, TcpStream>, UnixStream>;

impl Target {
    pub(super) async fn open(&self) -> io::Result<Stream> {
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

/// Where a daemon may be that nobody has said anything about: the installed service, else one that was started by hand.
pub(super) fn usual() -> Vec<Target> {
    let mut usual: Vec<Target> = SERVICE.into_iter().map(|path| Target::Unix(path.into())).collect();
    usual.push(Target::Tcp(Place::plain("127.0.0.1", 7700)));
    usual
}

pub(super) fn target(api: &str) -> Result<Target, ClientError> {
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
}
