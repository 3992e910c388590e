//! Where a server is, and the way there.
//!
//! What a reader would get wrong: a name is resolved with every connection, and nothing of it is kept.

use std::{fmt, io, path::PathBuf};

use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::client::TlsStream;
use tokio_util::either::Either;

use super::tls::secure;

/// Where a server listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Server {
    /// On a port.
    Tcp {
        /// A name or an address, without brackets.
        host: String,
        /// The port.
        port: u16,
        /// By TLS: `https`.
        is_secure: bool,
    },
    /// On a unix socket.
    Unix(PathBuf),
}

/// What requests go over.
pub(super) type Stream = Either<Either<TlsStream<TcpStream>, TcpStream>, UnixStream>;

impl Server {
    /// One without TLS.
    pub fn plain(host: &str, port: u16) -> Self {
        Self::Tcp { host: host.into(), port, is_secure: false }
    }

    /// As in `Host`.
    pub fn authority(&self) -> String {
        match self {
            Self::Tcp { host, port, is_secure } => {
                let host = if host.contains(':') { format!("[{host}]") } else { host.clone() };
                if *port == if *is_secure { 443 } else { 80 } { host } else { format!("{host}:{port}") }
            }
            Self::Unix(_) => "localhost".into(),
        }
    }

    pub(super) async fn connect(&self) -> io::Result<Stream> {
        match self {
            Self::Tcp { host, port, is_secure } => {
                let stream = TcpStream::connect((host.as_str(), *port)).await?;
                let _ = stream.set_nodelay(true);
                Ok(Either::Left(if *is_secure {
                    Either::Left(secure(stream, host).await?)
                } else {
                    Either::Right(stream)
                }))
            }
            Self::Unix(path) => UnixStream::connect(path).await.map(Either::Right),
        }
    }
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp { is_secure, .. } => {
                let scheme = if *is_secure { "https" } else { "http" };
                write!(f, "{scheme}://{}", self.authority())
            }
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}
