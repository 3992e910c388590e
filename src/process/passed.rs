//! A listening socket that the service manager has made and passes on (`sd_listen_fds(3)`).
//!
//! What a reader would get wrong: it must be taken before the process has threads, because the variables that announce it
//! are taken out of the environment, so that no child takes the socket for its own.

use std::{env, io, net::TcpListener, os::unix::net::UnixListener};

use listenfd::ListenFd;
use socket2::SockRef;

/// A socket that listens already.
#[derive(Debug)]
pub enum Passed {
    /// TCP.
    Tcp(TcpListener),
    /// A unix socket; its file is the service manager's.
    Unix(UnixListener),
}

/// Why what was passed cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// More than one.
    #[error("{0} sockets were passed by the service manager; the API is served on one: keep one ListenStream=")]
    Many(usize),
    /// Not a stream socket that listens.
    #[error(
        "the descriptor that the service manager passed is no listening stream socket ({0}): use ListenStream= and Accept=no"
    )]
    Kind(io::Error),
}

/// Takes the socket that was passed to this process, if one was. To be called before the process has threads.
pub fn take() -> Result<Option<Passed>, Error> {
    let is_ours = env::var("LISTEN_PID").is_ok_and(|pid| pid.parse() == Ok(std::process::id()));
    if !is_ours {
        return Ok(None);
    }
    let mut passed = ListenFd::from_env();
    match passed.len() {
        0 => return Ok(None),
        1 => {}
        many => return Err(Error::Many(many)),
    }
    if let Ok(Some(socket)) = passed.take_unix_listener(0) {
        return listening(Passed::Unix(socket)).map(Some);
    }
    match passed.take_tcp_listener(0) {
        Ok(Some(socket)) => listening(Passed::Tcp(socket)).map(Some),
        Ok(None) => Ok(None),
        Err(error) => Err(Error::Kind(error)),
    }
}

fn listening(passed: Passed) -> Result<Passed, Error> {
    let socket = match &passed {
        Passed::Tcp(socket) => SockRef::from(socket),
        Passed::Unix(socket) => SockRef::from(socket),
    };
    match is_listener(&socket) {
        Ok(true) => Ok(passed),
        Ok(false) => Err(Error::Kind(io::Error::new(io::ErrorKind::InvalidInput, "it does not listen"))),
        Err(error) => Err(Error::Kind(error)),
    }
}

#[cfg(target_os = "linux")]
fn is_listener(socket: &SockRef<'_>) -> io::Result<bool> {
    socket.is_listener()
}

/// Others than systemd pass no sockets this way, and `accept` says what is wrong with one.
#[cfg(not(target_os = "linux"))]
fn is_listener(_: &SockRef<'_>) -> io::Result<bool> {
    Ok(true)
}
