//! A wire that loses things: a TCP relay on loopback that cuts, resets, slices and swallows at random places of the stream.
//!
//! A cut falls at any byte, so most of them leave a truncated frame. Whatever a connection's end reason, its peer side ends when the
//! daemon's side does, so that a peer which serves one connection after the other sees them in the daemon's order.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
};

use super::chance::Chance;

/// The bytes of a connection before anything happens to it: the upgrade, at least.
const HEAD: u64 = 300;

/// A relay to one port.
pub struct Proxy {
    /// Where it listens.
    pub port: u16,
    state: Arc<State>,
}

struct State {
    chance: Chance,
    is_faulty: AtomicBool,
    faults: AtomicU64,
}

/// What happens to a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum EndReason {
    /// Nothing.
    Honest,
    /// Both sides end after so many bytes from the daemon.
    Cut(u64),
    /// The same, with RST.
    Reset(u64),
    /// After so many bytes from the daemon nothing goes through any more, either way, and nobody is told.
    BlackHole(u64),
    /// After so many bytes to the daemon its side is reset: confirmations on their way are lost.
    Deaf(u64),
}

impl Proxy {
    /// To this port, with faults from the beginning.
    pub async fn to(upstream: u16, chance: Chance) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let state = Arc::new(State { chance, is_faulty: true.into(), faults: 0.into() });
        let shared = Arc::clone(&state);
        tokio::spawn(async move {
            while let Ok((daemon, _)) = listener.accept().await {
                // Here, so that the peer sees connections in the daemon's order.
                let Ok(peer) = TcpStream::connect(("127.0.0.1", upstream)).await else { continue };
                let state = Arc::clone(&shared);
                tokio::spawn(async move { relay(daemon, peer, &state).await });
            }
        });
        Self { port, state }
    }

    /// New connections are left alone from now on.
    pub fn behave(&self) {
        self.state.is_faulty.store(false, Ordering::Relaxed);
    }

    /// Connections that something happened to.
    pub fn faults(&self) -> u64 {
        self.state.faults.load(Ordering::Relaxed)
    }
}

impl State {
    fn draw(&self) -> EndReason {
        let at = |reach| HEAD + self.chance.below(reach);
        if !self.is_faulty.load(Ordering::Relaxed) {
            return EndReason::Honest;
        }
        match self.chance.below(8) {
            0 | 1 => EndReason::Cut(at(1500)),
            2 | 3 => EndReason::Reset(at(1500)),
            4 => EndReason::BlackHole(at(1500)),
            5 | 6 => EndReason::Deaf(135 + self.chance.below(80)),
            // A long one.
            _ => EndReason::Cut(at(6000)),
        }
    }

    fn strike(&self) {
        self.faults.fetch_add(1, Ordering::Relaxed);
    }
}

async fn relay(daemon: TcpStream, peer: TcpStream, state: &State) {
    let (end_reason, slices) = (state.draw(), state.chance.once_in(4));
    daemon.set_nodelay(true).unwrap();
    peer.set_nodelay(true).unwrap();
    let resets = matches!(end_reason, EndReason::Reset(_) | EndReason::Deaf(_));
    if resets {
        // Closed with something unsent or unread it would be RST too; this makes sure of it.
        daemon.set_zero_linger().unwrap();
    }
    let (up_limit, down_limit) = match end_reason {
        EndReason::Honest => (u64::MAX, u64::MAX),
        EndReason::Cut(at) | EndReason::Reset(at) | EndReason::BlackHole(at) => (at, u64::MAX),
        EndReason::Deaf(at) => (u64::MAX, at),
    };
    // Halves are kept to the end: one that is dropped tells the other side.
    let (mut from_daemon, mut to_daemon) = daemon.into_split();
    let (mut from_peer, mut to_peer) = peer.into_split();
    let is_fault = tokio::select! {
        is_fault = pump(&mut from_daemon, &mut to_peer, up_limit, slices, state) => is_fault,
        is_fault = pump(&mut from_peer, &mut to_daemon, down_limit, false, state) => is_fault,
    };
    if is_fault {
        state.strike();
        if matches!(end_reason, EndReason::BlackHole(_)) {
            swallow(&mut from_daemon).await;
        }
    }
}

/// Copies until the end, or until `limit` bytes have gone through, which is a fault: `true`.
async fn pump(from: &mut OwnedReadHalf, to: &mut OwnedWriteHalf, limit: u64, slices: bool, state: &State) -> bool {
    let (mut left, mut buffer) = (limit, [0; 4096]);
    loop {
        let Ok(read @ 1..) = from.read(&mut buffer).await else { return false };
        let passes = read.min(usize::try_from(left).unwrap_or(usize::MAX));
        for slice in buffer[..passes].chunks(if slices { 1 + read % 7 } else { buffer.len() }) {
            if to.write_all(slice).await.is_err() {
                return false;
            }
            if slices && state.chance.once_in(16) {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        }
        left -= passes as u64;
        if left == 0 {
            return true;
        }
    }
}

/// Takes whatever comes, until the daemon gives up.
async fn swallow(from: &mut OwnedReadHalf) {
    let mut buffer = [0; 4096];
    while let Ok(1..) = from.read(&mut buffer).await {}
}
