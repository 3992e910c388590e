//! Where a daemon's API is: a URL, or a unix socket.

use std::fmt;

use super::ClientError;
use crate::client::Server;

/// The sockets of the installed service: its own, and that of `wskeeper.socket`.
const SERVICE: [&str; 2] = ["/run/wskeeper/api.sock", "/run/wskeeper.sock"];

/// Where the daemon is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Target {
    pub(super) server: Server,
    /// Before each path, where a proxy has put it; without a slash at its end.
    pub(super) prefix: String,
}

impl From<Server> for Target {
    fn from(server: Server) -> Self {
        Self { server, prefix: String::new() }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.server, self.prefix)
    }
}

/// Where a daemon may be that nobody has said anything about: the installed service, else one that was started by hand.
pub(super) fn usual() -> Vec<Target> {
    let mut usual: Vec<Target> = SERVICE.into_iter().map(|path| Server::Unix(path.into()).into()).collect();
    usual.push(Server::plain("127.0.0.1", 7700).into());
    usual
}

pub(super) fn target(api: &str) -> Result<Target, ClientError> {
    let bad = || ClientError::Address(api.to_owned());
    if let Some(path) = api.strip_prefix("unix:") {
        let path = path.strip_prefix("//").unwrap_or(path);
        return if path.is_empty() { Err(bad()) } else { Ok(Server::Unix(path.into()).into()) };
    }
    let url = if api.contains("://") { api.to_owned() } else { format!("http://{api}") };
    let url = url::Url::parse(&url).map_err(|_| bad())?;
    let host = url.host_str().ok_or_else(bad)?;
    let has_more = url.query().is_some() || url.fragment().is_some() || !url.username().is_empty();
    if !matches!(url.scheme(), "http" | "https") || has_more {
        return Err(bad());
    }
    let server = Server::Tcp {
        is_secure: url.scheme() == "https",
        host: host.trim_start_matches('[').trim_end_matches(']').to_owned(),
        port: url.port_or_known_default().ok_or_else(bad)?,
    };
    Ok(Target { server, prefix: url.path().trim_end_matches('/').to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_http_or_a_unix_socket() {
        let tcp = |host: &str, port| Target::from(Server::plain(host, port));
        assert_eq!(target("http://127.0.0.1:7700").unwrap(), tcp("127.0.0.1", 7700));
        assert_eq!(target("localhost:7701").unwrap(), tcp("localhost", 7701));
        assert_eq!(target("http://[::1]:7700/").unwrap(), tcp("::1", 7700));
        assert_eq!(target("unix:/run/x.sock").unwrap(), Server::Unix("/run/x.sock".into()).into());
        assert_eq!(target("unix:///run/x.sock").unwrap(), Server::Unix("/run/x.sock".into()).into());
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
