//! One TCP connection from many addresses (RFC 8305 §5).
//!
//! Each address needs a permit of its own, and the first needs one that counts as a new attempt. A loser gives its permit
//! back at once, by being dropped.

use std::{
    fmt::Write as _,
    io,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use futures_util::{StreamExt as _, stream::FuturesUnordered};
use tokio::{
    net::TcpStream,
    time::{Instant, sleep_until},
};

use super::{Admit, Permit, resolve, transport};
use crate::clock::Moment;
use wskeeper_core::{admission::Verdict, event::LinkId};

/// The next address is tried when the last one has not answered for this long (RFC 8305 §8).
const STAGGER: Duration = Duration::from_millis(250);

/// The account of failures has at most this many bytes.
const MOST_DETAIL: usize = 1000;

/// How long to wait for what.
#[derive(Debug, Clone, Copy)]
pub(super) struct Patience {
    /// What was sent may stay unacknowledged for this long.
    pub(super) unacknowledged: Duration,
    /// TCP asks a silent peer for a sign of life after so long, where nothing else does.
    pub(super) probe: Option<Duration>,
    /// An address that has said nothing for this long when it is given up does not answer.
    pub(super) silence: Duration,
    /// The address of this machine that it comes from.
    pub(super) source: Option<IpAddr>,
}

/// Where an attempt may go.
pub(super) struct Admitted {
    pub(super) permit: Box<Permit>,
    /// The other addresses, in order.
    pub(super) others: Vec<SocketAddr>,
}

/// The connection made first.
pub(super) struct Won {
    pub(super) tcp: TcpStream,
    pub(super) permit: Box<Permit>,
    /// From the permit for the first address until the connection.
    pub(super) took: Duration,
}

/// No address accepted. Displays what became of each.
#[derive(Debug, thiserror::Error)]
#[error("{detail}")]
pub(super) struct Lost {
    pub(super) detail: String,
    pub(super) took: Duration,
}

/// Connects to the first address, which has its permit, or one of the others.
pub(super) async fn race(
    admission: &Arc<dyn Admit>,
    link: &LinkId,
    Admitted { permit: first, others }: Admitted,
    patience: Patience,
) -> Result<Won, Lost> {
    let began = Instant::now();
    let lost = |detail| Lost { detail, took: began.elapsed() };
    if others.is_empty() {
        // Most names have one address, and there is nobody to race with.
        let (tcp, permit) =
            connect(Ask::Have(first), admission, link, patience).await.map_err(|(address, error)| {
                let mut detail = String::new();
                note(&mut detail, address, &error);
                lost(detail)
            })?;
        return Ok(Won { tcp, permit, took: began.elapsed() });
    }
    let mut rest = others.into_iter();
    let mut running = FuturesUnordered::new();
    running.push(connect(Ask::Have(first), admission, link, patience));
    let mut next_at = began.later(STAGGER);
    let mut detail = String::new();
    loop {
        let failed = tokio::select! {
            biased;
            Some(finished) = running.next(), if !running.is_empty() => match finished {
                Ok((tcp, permit)) => return Ok(Won { tcp, permit, took: began.elapsed() }),
                Err(failed) => Some(failed),
            },
            () = sleep_until(next_at), if rest.len() > 0 => None,
        };
        if let Some((address, error)) = failed {
            note(&mut detail, address, &error);
        }
        if let Some(address) = rest.next() {
            running.push(connect(Ask::Need(address), admission, link, patience));
            next_at = Instant::now().later(STAGGER);
        } else if running.is_empty() {
            return Err(lost(detail));
        }
    }
}

/// Whether there is a permit yet.
enum Ask {
    Have(Box<Permit>),
    Need(SocketAddr),
}

async fn connect(
    ask: Ask,
    admission: &Arc<dyn Admit>,
    link: &LinkId,
    Patience { unacknowledged, probe, silence, source }: Patience,
) -> Result<(TcpStream, Box<Permit>), (SocketAddr, io::Error)> {
    let mut permit = match ask {
        Ask::Have(permit) => permit,
        Ask::Need(address) => Arc::clone(admission).admit_extra(link.clone(), address).await,
    };
    permit.silence = Some((Instant::now().later(silence), Verdict::Unreachable));
    let tcp = resolve::connect(permit.address, source).await;
    permit.silence = None;
    permit.verdict = tcp.as_ref().err().and_then(verdict);
    match tcp.and_then(|tcp| transport::prepare(&tcp, unacknowledged, probe).map(|()| tcp)) {
        Ok(tcp) => Ok((tcp, permit)),
        Err(error) => Err((permit.address, error)),
    }
}

/// What a failure to connect says of the address. What is lacking here (file descriptors, ports, a right) says nothing.
fn verdict(error: &io::Error) -> Option<Verdict> {
    use io::ErrorKind::{
        ConnectionAborted, ConnectionRefused, ConnectionReset, HostUnreachable, NetworkUnreachable, TimedOut,
    };
    let speaks = [ConnectionAborted, ConnectionRefused, ConnectionReset, HostUnreachable, NetworkUnreachable, TimedOut];
    speaks.contains(&error.kind()).then_some(Verdict::Unreachable)
}

fn note(detail: &mut String, address: SocketAddr, error: &io::Error) {
    if detail.len() < MOST_DETAIL {
        let separator = if detail.is_empty() { "" } else { "; " };
        // Writing to a String cannot fail.
        let _ = write!(detail, "{separator}{address}: {error}");
    }
}
