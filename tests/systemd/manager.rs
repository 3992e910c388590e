//! A service manager as far as a service can see: a datagram socket.

use std::{
    os::{linux::net::SocketAddrExt, unix::net},
    time::Duration,
};

use tokio::net::UnixDatagram;

use crate::support::{PATIENCE, daemon::Daemon};

/// The socket of a manager that has started a daemon.
pub struct Manager(UnixDatagram);

impl Manager {
    /// Binds a socket file in the daemon's folder, and tells the daemon of it.
    pub fn on_a_path(daemon: &mut Daemon) -> Self {
        let path = daemon.folder().join("notify");
        daemon.set_variable("NOTIFY_SOCKET", path.to_str().unwrap());
        Self(UnixDatagram::bind(path).unwrap())
    }

    /// The same without a file.
    pub fn abstract_one(daemon: &mut Daemon) -> Self {
        let name = daemon.folder().to_str().unwrap().to_owned();
        daemon.set_variable("NOTIFY_SOCKET", &format!("@{name}"));
        let address = net::SocketAddr::from_abstract_name(name).unwrap();
        let socket = net::UnixDatagram::bind_addr(&address).unwrap();
        socket.set_nonblocking(true).unwrap();
        Self(UnixDatagram::from_std(socket).unwrap())
    }

    /// The next message, line by line.
    pub async fn next(&self) -> Vec<String> {
        self.within(PATIENCE).await.expect("the daemon says something in time")
    }

    /// The next message, if one comes.
    pub async fn within(&self, patience: Duration) -> Option<Vec<String>> {
        let mut buffer = [0; 4096];
        let length = tokio::time::timeout(patience, self.0.recv(&mut buffer)).await.ok()?.unwrap();
        Some(String::from_utf8(buffer[..length].to_vec()).unwrap().lines().map(str::to_owned).collect())
    }

    /// The next message that is no refresh of the status and no sign of life.
    pub async fn word(&self) -> Vec<String> {
        loop {
            let message = self.next().await;
            if !message.iter().all(|line| line.starts_with("STATUS=") || line == "WATCHDOG=1") {
                return message;
            }
        }
    }

    /// Waits for a message with a line that begins so; answers with the line.
    pub async fn line(&self, beginning: &str) -> String {
        loop {
            if let Some(line) = self.next().await.into_iter().find(|line| line.starts_with(beginning)) {
                return line;
            }
        }
    }
}
