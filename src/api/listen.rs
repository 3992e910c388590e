//! Where the local API listens: a TCP address or a unix socket.
//!
//! A socket file that somebody answers on belongs to a running daemon and is left alone; one whose connections the kernel refuses is
//! what a crash left behind, and is replaced. Any other answer says nothing: a daemon with a full backlog gives none either. A socket that the service manager passes on stands for `api.listen`, and its file is not ours.

use std::{
    fmt, io,
    mem::MaybeUninit,
    net::{IpAddr, SocketAddr},
    os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt},
    path::{Path, PathBuf},
    time::Duration,
};

use socket2::{SockRef, TcpKeepalive};
use tokio::net::{TcpListener, TcpSocket, TcpStream, UnixListener, UnixStream};

use crate::{
    config::{self, Listen},
    process::passed::Passed,
};
use wskeeper_link::link::limit_unacknowledged;

/// A client that has said nothing for this long is probed.
const PROBE: Duration = Duration::from_mins(1);

/// A bound listener.
#[derive(Debug)]
pub enum Listener {
    /// TCP.
    Tcp(TcpListener),
    /// A unix socket and its file, removed at the end.
    Unix(UnixListener, SocketFile),
    /// A unix socket whose file the service manager has made, and will remove.
    Passed(UnixListener),
}

/// The file of a socket that was made here.
#[derive(Debug)]
pub struct SocketFile {
    path: PathBuf,
    inode: Inode,
}

impl SocketFile {
    fn of(path: &Path) -> io::Result<Self> {
        Ok(Self { path: path.to_owned(), inode: inode(&std::fs::symlink_metadata(path)?) })
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        // Somebody else may have put another in its place.
        if std::fs::symlink_metadata(&self.path).is_ok_and(|there| inode(&there) == self.inode) {
            // Already gone is as good as removed.
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

/// Device and number of a file.
type Inode = (u64, u64);

fn inode(metadata: &std::fs::Metadata) -> Inode {
    (metadata.dev(), metadata.ino())
}

/// Why the API cannot listen.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// The address is taken, or not this machine's.
    #[error("api.listen: cannot listen on {address}: {error}{}", remedy(error))]
    Tcp {
        /// As configured.
        address: SocketAddr,
        /// The system's word.
        error: io::Error,
    },
    /// Another daemon answers there.
    #[error("api.listen: another program answers on unix:{}", .0.display())]
    Taken(PathBuf),
    /// What stands there may be another daemon's.
    #[error(
        "api.listen: a socket stands at unix:{} and it cannot be told whether another program uses it ({error}): end that program, \
         or remove the socket",
        .path.display()
    )]
    Unclear {
        /// As configured.
        path: PathBuf,
        /// What came of connecting to it.
        error: io::Error,
    },
    /// The path is something else than a socket, or cannot be made one.
    #[error("api.listen: cannot make the socket {}: {error}", .path.display())]
    Unix {
        /// As configured.
        path: PathBuf,
        /// The system's word.
        error: io::Error,
    },
    /// A socket that the service manager passed on cannot be used.
    #[error("the socket that the service manager passed cannot be used: {0}")]
    Passed(io::Error),
    /// The same, because it is open to other machines.
    #[error(
        "{0}, which the service manager passed, can be reached from other machines, and there are no tokens: add \
         [[api.tokens]], or let ListenStream= name 127.0.0.1 or a unix socket"
    )]
    Exposed(SocketAddr),
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

impl Accepted {
    /// Whether something has arrived from it already.
    pub(super) fn speaks(&self) -> bool {
        let socket = match self {
            Self::Tcp(stream) => SockRef::from(stream),
            Self::Unix(stream) => SockRef::from(stream),
        };
        socket.peek(&mut [MaybeUninit::uninit()]).is_ok_and(|bytes| bytes > 0)
    }
}

/// Connections that may wait to be accepted, where the system allows as many.
const BACKLOG: u32 = 4096;

/// What helps where the port is taken, as the end of a sentence.
fn remedy(error: &io::Error) -> &'static str {
    if error.kind() == io::ErrorKind::AddrInUse {
        "; another daemon or the demo has it: stop it, or set api.listen (or WSKEEPER__API__LISTEN)"
    } else {
        ""
    }
}

fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    // As TcpListener::bind does: a restart need not wait for connections of the last run.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

impl Listener {
    /// Binds what the configuration says.
    pub async fn bind(listen: &Listen) -> Result<Self, ListenError> {
        match listen {
            Listen::Tcp(address) => {
                bind(*address).map(Self::Tcp).map_err(|error| ListenError::Tcp { address: *address, error })
            }
            Listen::Unix { path, mode, group } => {
                let failed = |error| ListenError::Unix { path: path.clone(), error };
                remove_stale(path).await?;
                let listener = UnixListener::bind(path).map_err(failed)?;
                let file = SocketFile::of(path).map_err(failed)?;
                std::fs::set_permissions(path, std::fs::Permissions::from_mode(*mode)).map_err(failed)?;
                if let Some(group) = group {
                    give(path, group).map_err(|error| ListenError::Group {
                        path: path.clone(),
                        group: group.clone(),
                        error,
                    })?;
                }
                Ok(Self::Unix(listener, file))
            }
        }
    }

    /// Takes a socket that listens already. One that other machines can reach demands tokens, as `api.listen` does.
    pub fn passed(passed: Passed, api: &config::Api) -> Result<Self, ListenError> {
        let failed = ListenError::Passed;
        match passed {
            Passed::Tcp(socket) => {
                let address = socket.local_addr().map_err(failed)?;
                if !address.ip().to_canonical().is_loopback() && api.tokens.is_empty() {
                    return Err(ListenError::Exposed(address));
                }
                socket.set_nonblocking(true).map_err(failed)?;
                TcpListener::from_std(socket).map(Self::Tcp).map_err(failed)
            }
            Passed::Unix(socket) => {
                socket.set_nonblocking(true).map_err(failed)?;
                UnixListener::from_std(socket).map(Self::Passed).map_err(failed)
            }
        }
    }

    /// The next connection. A TCP client that is dead is noticed within `unacknowledged`, give or take a minute.
    pub(super) async fn accept(&self, unacknowledged: Duration) -> io::Result<Accepted> {
        match self {
            Self::Tcp(listener) => {
                let (stream, _) = listener.accept().await?;
                // A client that has hung up already is found out at the first read.
                let _ = prepare(&stream, unacknowledged);
                Ok(Accepted::Tcp(stream))
            }
            Self::Unix(listener, _) | Self::Passed(listener) => Ok(Accepted::Unix(listener.accept().await?.0)),
        }
    }

    /// The address bound, which is not always the one configured; `None` for a unix socket.
    pub(super) fn ip(&self) -> Option<IpAddr> {
        match self {
            Self::Tcp(listener) => listener.local_addr().ok().map(|address| address.ip()),
            Self::Unix(..) | Self::Passed(_) => None,
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
            Self::Unix(_, file) => write!(f, "unix:{}", file.path.display()),
            Self::Passed(listener) => match listener.local_addr() {
                Ok(address) => match address.as_pathname() {
                    Some(path) => write!(f, "unix:{}", path.display()),
                    None => f.write_str("unix:(no path)"),
                },
                Err(_) => f.write_str("unix:(unknown)"),
            },
        }
    }
}

/// No delay for small writes; probes while nothing is said; on Linux a limit to how long what was written may stay
/// unacknowledged, and how long a closed window is waited for.
fn prepare(stream: &TcpStream, unacknowledged: Duration) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let socket = SockRef::from(stream);
    socket.set_tcp_keepalive(&TcpKeepalive::new().with_time(PROBE).with_interval(PROBE / 4))?;
    limit_unacknowledged(stream, unacknowledged)
}

async fn remove_stale(path: &Path) -> Result<(), ListenError> {
    let failed = |error| ListenError::Unix { path: path.to_owned(), error };
    let metadata = match std::fs::symlink_metadata(path) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(failed(error)),
    };
    if !metadata.file_type().is_socket() {
        return Err(failed(io::Error::new(io::ErrorKind::AlreadyExists, "a file that is no socket stands there")));
    }
    match UnixStream::connect(path).await {
        Ok(_) => return Err(ListenError::Taken(path.to_owned())),
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(ListenError::Unclear { path: path.to_owned(), error }),
    }
    // Somebody who was quicker may have replaced it already.
    drop(SocketFile { path: path.to_owned(), inode: inode(&metadata) });
    Ok(())
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
    async fn a_socket_that_does_not_refuse_is_left_alone_even_if_it_does_not_answer() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("api.sock");
        let bound = socket2::Socket::new(socket2::Domain::UNIX, socket2::Type::STREAM, None).expect("a socket");
        bound.bind(&socket2::SockAddr::unix(&path).expect("an address")).expect("bound");
        bound.listen(0).expect("listening");
        // A live daemon that accepts nothing for now: its backlog is full, and the kernel says to try again.
        let mut waiting = Vec::new();
        while let Ok(client) = UnixStream::connect(&path).await {
            waiting.push(client);
        }
        assert!(matches!(Listener::bind(&unix(&path)).await, Err(ListenError::Unclear { .. })));
        assert!(path.exists(), "it is the other's");
        let datagrams = folder.path().join("datagrams");
        let _other = std::os::unix::net::UnixDatagram::bind(&datagrams).expect("bound");
        assert!(matches!(Listener::bind(&unix(&datagrams)).await, Err(ListenError::Unclear { .. })));
        assert!(datagrams.exists());
    }

    #[tokio::test]
    async fn a_socket_that_another_daemon_has_put_in_place_of_ours_is_not_removed() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("api.sock");
        let ours = Listener::bind(&unix(&path)).await.expect("bound");
        // Kept under another name, so that its number is not given away again.
        std::fs::rename(&path, folder.path().join("moved")).expect("renamed");
        let theirs = Listener::bind(&unix(&path)).await.expect("bound");
        drop(ours);
        assert!(path.exists());
        drop(theirs);
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
    #[cfg(target_os = "linux")]
    async fn an_accepted_socket_notices_a_dead_client() {
        let listener = Listener::bind(&Listen::Tcp("127.0.0.1:0".parse().expect("an address"))).await.expect("bound");
        let Listener::Tcp(inner) = &listener else { panic!("no TCP") };
        let _client = TcpStream::connect(inner.local_addr().expect("an address")).await.expect("connected");
        let limit = Duration::from_secs(90);
        let Ok(Accepted::Tcp(stream)) = listener.accept(limit).await else { panic!("no TCP") };
        let socket = SockRef::from(&stream);
        assert!(socket.keepalive().expect("readable") && stream.nodelay().expect("readable"));
        assert_eq!(socket.tcp_user_timeout().expect("readable"), Some(limit));
    }

    #[tokio::test]
    async fn a_taken_port_names_the_setting_and_says_what_to_do() {
        let taken = TcpListener::bind("127.0.0.1:0").await.expect("bound");
        let address = taken.local_addr().expect("an address");
        let error = Listener::bind(&Listen::Tcp(address)).await.expect_err("taken");
        let error = error.to_string();
        assert!(error.starts_with("api.listen: cannot listen on 127.0.0.1:"), "{error}");
        assert!(error.ends_with("stop it, or set api.listen (or WSKEEPER__API__LISTEN)"), "{error}");
    }
}
