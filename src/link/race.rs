//! Connects to the first of several addresses that answers (RFC 8305): the next is tried after a stagger, or at once when
//! the one before failed. Losers are dropped, and with them their places in the gate.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use futures_util::{StreamExt, stream::FuturesUnordered};
use tokio::{net::TcpStream, sync::mpsc, time::sleep};

use super::{BoxFuture, Gate, Permit, Progress, transport};
use crate::core::event::LinkId;

/// Between the starts of two attempts (RFC 8305 §8, "Connection Attempt Delay").
const STAGGER: Duration = Duration::from_millis(250);

/// A TCP connection that won, and its place in the gate.
#[derive(Debug)]
pub(super) struct Won {
    pub(super) tcp: TcpStream,
    pub(super) permit: Permit,
}

/// What a race needs.
pub(super) struct Race {
    pub(super) link: LinkId,
    pub(super) gate: Arc<dyn Gate>,
    /// How long written bytes may stay unacknowledged.
    pub(super) unacknowledged: Duration,
}

impl Race {
    /// Runs the race; `first` has been let in already. An error names every address and what became of it.
    pub(super) async fn run(
        &self,
        first: Permit,
        addresses: &[SocketAddr],
        progress: &mpsc::Sender<Progress>,
    ) -> Result<Won, String> {
        let mut rest = addresses.iter().copied().filter(|address| *address != first.address).collect::<Vec<_>>();
        rest.reverse();
        let mut runners: FuturesUnordered<BoxFuture<Result<Won, (SocketAddr, io::Error)>>> = FuturesUnordered::new();
        runners.push(Box::pin(connect(first, self.unacknowledged)));
        // Told for the sake of a timeout; nobody listens once the attempt is over.
        let _ = progress.send(Progress::Connecting).await;
        let mut faults = Vec::new();
        loop {
            tokio::select! {
                Some(ended) = runners.next() => match ended {
                    Ok(won) => return Ok(won),
                    Err((address, error)) => {
                        faults.push(format!("{address}: {error}"));
                        match rest.pop() {
                            Some(next) => runners.push(self.join(next)),
                            None if runners.is_empty() => return Err(faults.join("; ")),
                            None => {}
                        }
                    }
                },
                () = sleep(STAGGER), if !rest.is_empty() => {
                    if let Some(next) = rest.pop() {
                        runners.push(self.join(next));
                    }
                }
            }
        }
    }

    fn join(&self, address: SocketAddr) -> BoxFuture<Result<Won, (SocketAddr, io::Error)>> {
        let admitted = self.gate.admit(self.link.clone(), vec![address], true);
        let unacknowledged = self.unacknowledged;
        Box::pin(async move { connect(admitted.await, unacknowledged).await })
    }
}

async fn connect(permit: Permit, unacknowledged: Duration) -> Result<Won, (SocketAddr, io::Error)> {
    let address = permit.address;
    let connected = async {
        let tcp = TcpStream::connect(address).await?;
        transport::prepare(&tcp, unacknowledged)?;
        Ok(tcp)
    };
    match connected.await {
        Ok(tcp) => Ok(Won { tcp, permit }),
        Err(error) => Err((address, error)),
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    #[derive(Debug)]
    struct Open;

    impl Gate for Open {
        fn admit(&self, _: LinkId, addresses: Vec<SocketAddr>, _: bool) -> BoxFuture<Permit> {
            Box::pin(async move { Permit { address: addresses[0], release: None } })
        }
    }

    async fn race(addresses: &[SocketAddr]) -> Result<Won, String> {
        let link = LinkId { endpoint: "test".into(), index: 0 };
        let race = Race { link, gate: Arc::new(Open), unacknowledged: Duration::from_secs(1) };
        let (progress, _kept) = mpsc::channel(8);
        race.run(Permit { address: addresses[0], release: None }, addresses, &progress).await
    }

    async fn closed_port() -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("bound");
        listener.local_addr().expect("an address")
    }

    #[tokio::test]
    async fn a_dead_first_address_gives_way_to_the_second() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("bound");
        let alive = listener.local_addr().expect("an address");
        let won = race(&[closed_port().await, alive]).await.expect("the second answers");
        assert_eq!(won.permit.address, alive);
        assert!(won.tcp.nodelay().expect("a socket"));
    }

    #[tokio::test]
    async fn a_lost_race_names_every_address() {
        let (one, two) = (closed_port().await, closed_port().await);
        let fault = race(&[one, two]).await.expect_err("nobody listens");
        assert!(fault.contains(&one.to_string()) && fault.contains(&two.to_string()), "{fault}");
    }
}
