//! Where the local API listens: a TCP address or a unix socket.
//!
//! A socket file that somebody answers on belongs to a running daemon and is left alone; one that nobody answers on is what
//! a crash left behind, and is replaced.

use std::{
    fmt, io,
    net::SocketAddr,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};

use crate::config::Listen;

/// A bound listener.
#[derive(Debug)]
pub enum Listener {
    /// TCP.
    Tcp(TcpListener),
    /// A unix socket and its path, removed at the end.
    Unix(UnixListener, PathBuf),
}

/// Why the API cannot listen.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// The address is taken, or not this machine's.
    #[error("api.listen: cannot listen on {address}: {error}")]
    Tcp {
        /// As configured.
        address: SocketAddr,
        /// The system's word.
        error: io::Error,
    },
    /// Another daemon answers there.
    #[error("api.listen: another program answers on unix:{}", .0.display())]
    Taken(PathBuf),
    /// The path is something else than a socket, or cannot be made one.
    #[error("api.listen: cannot make the socket {}: {error}", .path.display())]
    Unix {
        /// As configured.
        path: PathBuf,
        /// The system's word.
        error: io::Error,
    },
    /// The group does not exist or may not be given.
    #[error("api.socket_group: cannot give {} to the group {group:?}: {error}", .path.display())]
    Group {
        /// The socket.
        path: PathBuf,
        /// As configured.
        group: String,
        /// What is wrong.
        error: io::Error,
    },
}

/// A connection of either kind.
#[derive(Debug)]
pub(super) enum Accepted {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Listener {
    /// Binds what the configuration says.
    pub async fn bind(listen: &Listen) -> Result<Self, ListenError> {
        match listen {
            Listen::Tcp(address) => {
                let bound = TcpListener::bind(address).await;
                bound.map(Self::Tcp).map_err(|error| ListenError::Tcp { address: *address, error })
            }
            Listen::Unix { path, mode, group } => {
                let failed = |error| ListenError::Unix { path: path.clone(), error };
                remove_stale(path).await?;
                let listener = UnixListener::bind(path).map_err(failed)?;
                std::fs::set_permissions(path, std::fs::Permissions::from_mode(*mode)).map_err(failed)?;
                if let Some(group) = group {
                    give(path, group).map_err(|error| ListenError::Group {
                        path: path.clone(),
                        group: group.clone(),
                        error,
                    })?;
                }
                Ok(Self::Unix(listener, path.clone()))
            }
        }
    }

    pub(super) async fn accept(&self) -> io::Result<Accepted> {
        match self {
            Self::Tcp(listener) => {
                let (stream, _) = listener.accept().await?;
                stream.set_nodelay(true)?;
                Ok(Accepted::Tcp(stream))
            }
            Self::Unix(listener, _) => Ok(Accepted::Unix(listener.accept().await?.0)),
        }
    }
}

impl fmt::Display for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(listener) => match listener.local_addr() {
                Ok(address) => write!(f, "http://{address}"),
                Err(_) => f.write_str("http://(unknown)"),
            },
            Self::Unix(_, path) => write!(f, "unix:{}", path.display()),
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        if let Self::Unix(_, path) = self {
            // Already gone is as good as removed.
            let _ = std::fs::remove_file(path);
        }
    }
}

async fn remove_stale(path: &Path) -> Result<(), ListenError> {
    let failed = |error| ListenError::Unix { path: path.to_owned(), error };
    let metadata = match std::fs::symlink_metadata(path) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(failed(error)),
    };
    if !std::os::unix::fs::FileTypeExt::is_socket(&metadata.file_type()) {
        return Err(failed(io::Error::new(io::ErrorKind::AlreadyExists, "a file that is no socket stands there")));
    }
    if UnixStream::connect(path).await.is_ok() {
        return Err(ListenError::Taken(path.to_owned()));
    }
    std::fs::remove_file(path).map_err(failed)
}

/// Gives the socket to a group by its name in `/etc/group`, or by its number.
fn give(path: &Path, group: &str) -> io::Result<()> {
    let id = match group.parse() {
        Ok(id) => id,
        Err(_) => std::fs::read_to_string("/etc/group")?
            .lines()
            .map(|line| line.split(':').collect::<Vec<_>>())
            .find(|fields| fields.first() == Some(&group))
            .and_then(|fields| fields.get(2)?.parse().ok())
            .ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "there is no such group"))?,
    };
    std::os::unix::fs::chown(path, None, Some(id))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unix(path: &Path) -> Listen {
        Listen::Unix { path: path.to_owned(), mode: 0o660, group: None }
    }

    #[tokio::test]
    async fn a_stale_socket_is_replaced_and_a_live_one_left_alone() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("api.sock");
        drop(std::os::unix::net::UnixListener::bind(&path).expect("bound"));
        let listener = Listener::bind(&unix(&path)).await.expect("the stale socket is replaced");
        let mode = std::fs::metadata(&path).expect("there").permissions().mode();
        assert_eq!(mode & 0o777, 0o660);
        assert!(matches!(Listener::bind(&unix(&path)).await, Err(ListenError::Taken(_))));
        drop(listener);
        assert!(!path.exists());
    }

    #[tokio::test]
    async fn a_file_in_the_way_is_never_removed() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("precious");
        std::fs::write(&path, "data").expect("written");
        assert!(matches!(Listener::bind(&unix(&path)).await, Err(ListenError::Unix { .. })));
        assert_eq!(std::fs::read_to_string(&path).expect("there"), "data");
    }

    #[tokio::test]
    async fn a_taken_port_names_the_setting() {
        let taken = TcpListener::bind("127.0.0.1:0").await.expect("bound");
        let address = taken.local_addr().expect("an address");
        let error = Listener::bind(&Listen::Tcp(address)).await.expect_err("taken");
        assert!(error.to_string().starts_with("api.listen: cannot listen on 127.0.0.1:"));
    }
}
