//! The TCP between the daemon and a server, to be cut: a relay that ends all its connections and takes no new one until it is mended.

use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    task::JoinSet,
};

use crate::support::until;

/// A relay.
pub struct Wire {
    /// Where it listens.
    pub port: u16,
    upstream: u16,
    running: JoinSet<()>,
}

impl Wire {
    /// To this port.
    pub async fn to(upstream: u16) -> Self {
        let mut wire = Self { port: 0, upstream, running: JoinSet::new() };
        wire.mend().await;
        wire
    }

    /// Ends all that goes through it, with RST for the daemon.
    pub async fn cut(&mut self) {
        self.running.shutdown().await;
    }

    /// Takes connections again, where it did.
    pub async fn mend(&mut self) {
        let (port, upstream) = (self.port, self.upstream);
        let listener = until("a port", || TcpListener::bind(("127.0.0.1", port))).await;
        self.port = listener.local_addr().unwrap().port();
        self.running.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((daemon, _)) = listener.accept().await {
                daemon.set_zero_linger().unwrap();
                connections.spawn(relay(daemon, upstream));
            }
        });
    }
}

async fn relay(mut daemon: TcpStream, upstream: u16) {
    if let Ok(mut server) = TcpStream::connect(("127.0.0.1", upstream)).await {
        let _ended = copy_bidirectional(&mut daemon, &mut server).await;
    }
}
