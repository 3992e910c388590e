//! An echo peer that misbehaves on demand: for `wskeeper echo`, for the demo, and for tests.
//!
//! What a reader would get wrong: faults are timed from two different moments. `drop_every` and the refusal's periods run
//! from the start of the peer, so that all connections meet them together; `stall` and `close` run from each upgrade.

use std::{
    fmt, io,
    net::SocketAddr,
    str::FromStr,
    sync::{Arc, atomic::AtomicU64},
    time::Duration,
};

use tokio::{
    net::{TcpListener, ToSocketAddrs},
    task::{JoinHandle, JoinSet},
    time::Instant,
};

pub use fact::{Fact, What};

mod connection;
mod fact;
pub(super) mod verb;

/// How the peer misbehaves; the default does not.
#[derive(Debug, Clone, Default)]
pub struct Faults {
    /// All connections are reset each time this has passed since the start.
    pub drop_every: Option<Duration>,
    /// This long after the upgrade it stops reading and answering; the connection stays.
    pub stall: Option<Duration>,
    /// Closes by itself.
    pub close: Option<Closing>,
    /// Answers the upgrade with an HTTP error.
    pub refuse: Option<Refusing>,
    /// Takes the upgrade, reads, and never answers.
    pub half_open: bool,
    /// Before each echo.
    pub delay: Duration,
    /// The only subprotocol it speaks.
    pub subprotocol: Option<String>,
    /// It agrees to permessage-deflate where that is offered.
    pub compression: bool,
}

/// A close that the peer begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Closing {
    /// Close code; 1005: a Close frame without a code; 1006: TCP ends without a Close frame.
    pub code: u16,
    /// Reason of the Close frame.
    pub reason: String,
    /// Time from the upgrade.
    pub after: Duration,
}

/// An HTTP answer that is not 101.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refusal {
    /// HTTP status.
    pub status: u16,
    /// `Retry-After`, in seconds.
    pub retry_after: Option<u32>,
}

impl FromStr for Refusal {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (status, retry_after) = match text.split_once(':') {
            Some((status, seconds)) => {
                let seconds = seconds.parse().map_err(|_| format!("{seconds:?} is not a number of seconds"))?;
                (status, Some(seconds))
            }
            None => (text, None),
        };
        match status.parse() {
            Ok(status) if (300..=599).contains(&status) => Ok(Self { status, retry_after }),
            Ok(_) | Err(_) => Err(format!("{status:?} is not an HTTP status from 300 to 599")),
        }
    }
}

/// When upgrades are refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refusing {
    /// With what.
    pub refusal: Refusal,
    /// For how long; `None`: always.
    pub lasting: Option<Duration>,
    /// And again each time this has passed; `None`: only after the start.
    pub every: Option<Duration>,
}

impl Refusing {
    /// The refusal in force `elapsed` after the start of the peer.
    pub fn at(&self, elapsed: Duration) -> Option<Refusal> {
        let Some(lasting) = self.lasting else { return Some(self.refusal) };
        let into_period = match self.every.map(|every| every.as_nanos()) {
            None | Some(0) => elapsed.as_nanos(),
            Some(every) => elapsed.as_nanos() % every,
        };
        (into_period < lasting.as_nanos()).then_some(self.refusal)
    }
}

/// Is told each fact; must not block.
pub type Tell = Arc<dyn Fn(Fact) + Send + Sync>;

/// A running peer; dropping it ends the peer and its connections.
pub struct Peer {
    address: SocketAddr,
    task: JoinHandle<()>,
}

impl fmt::Debug for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Peer").field("address", &self.address).finish_non_exhaustive()
    }
}

impl Peer {
    /// Listens and serves. Fails where the address cannot be bound.
    pub async fn start(listen: impl ToSocketAddrs, faults: Faults, tell: Tell) -> io::Result<Self> {
        let listener = TcpListener::bind(listen).await?;
        let address = listener.local_addr()?;
        let peer = Arc::new(Shared { faults, tell, started: Instant::now(), connections: AtomicU64::new(0) });
        Ok(Self { address, task: tokio::spawn(accept(listener, peer)) })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its URL.
    pub fn url(&self) -> String {
        format!("ws://{}/", self.address)
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// What all connections of a peer share.
struct Shared {
    faults: Faults,
    tell: Tell,
    started: Instant,
    connections: AtomicU64,
}

async fn accept(listener: TcpListener, peer: Arc<Shared>) {
    // Connections live in this set, so that they end with the task.
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, from)) => drop(connections.spawn(connection::serve(peer.clone(), stream, from))),
                // Out of file descriptors, most likely: the next connection to end gives one back.
                Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
            },
            Some(_) = connections.join_next() => {}
        }
    }
}

#[cfg(test)]
mod tests;
