//! What tests of the real binary stand on: the daemon as a child, a client of its API, peers, and waiting by condition.
//!
//! Nothing here sleeps to synchronise: each wait asks for a condition again and again until its deadline, and then says what it saw.

#![allow(dead_code, unreachable_pub, unused_imports, unused_macros, reason = "each test crate uses its own part")]

pub mod api;
pub mod chance;
pub mod compressed;
pub mod daemon;
pub mod deflate;
pub mod disk;
pub mod peer;
pub mod raw;
pub mod sse;
pub mod terminal;
pub mod tls;

use std::{fmt::Debug, future::Future, net::TcpListener, time::Duration};

use tokio::time::Instant;

/// Short waits for all endpoints; a parked link is probed after so long. More lines of `[defaults.reconnect]` may follow.
macro_rules! quick {
    ($park_probe:literal) => {
        concat!(
            "\n[defaults]\nconnect_timeout = \"2s\"\nclose_timeout = \"1s\"\n[defaults.reconnect]\n",
            "first = \"50ms\"\ninitial = \"50ms\"\nmax = \"300ms\"\nstable = \"1s\"\npark_probe = \"",
            $park_probe,
            "\"\n"
        )
    };
}
pub(crate) use quick;

/// How long a test waits for anything.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Asks until the answer is `Ok`; after `PATIENCE` panics with the last `Err`.
pub async fn until<T, E: Debug, F: Future<Output = Result<T, E>>>(what: &str, ask: impl FnMut() -> F) -> T {
    until_within(PATIENCE, what, ask).await
}

/// The same with another patience, for what is slow on a busy machine.
pub async fn until_within<T, E: Debug, F: Future<Output = Result<T, E>>>(
    patience: Duration,
    what: &str,
    mut ask: impl FnMut() -> F,
) -> T {
    let deadline = Instant::now() + patience;
    loop {
        match ask().await {
            Ok(answer) => return answer,
            Err(seen) if Instant::now() > deadline => panic!("waited in vain for {what}; last seen: {seen:?}"),
            Err(_) => tokio::time::sleep(Duration::from_millis(15)).await,
        }
    }
}

/// A TCP port on loopback that nobody listens on, from below the ephemeral range, so that no dial takes it meanwhile.
pub fn free_port() -> u16 {
    let spread = std::process::id().wrapping_mul(2_654_435_761) ^ random();
    (0..2000)
        .map(|step| 20_000 + u16::try_from((spread.wrapping_add(step * 7)) % 12_000).unwrap())
        .find(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok())
        .expect("a free port")
}

fn random() -> u32 {
    use std::hash::{BuildHasher, RandomState};
    u32::try_from(RandomState::new().hash_one(0) & 0xffff_ffff).unwrap()
}
