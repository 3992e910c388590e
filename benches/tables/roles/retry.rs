//! A client that tries again at once: what a loop around `connect` does when its server goes away.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use futures_util::StreamExt;
use tokio::{net::TcpStream, sync::Semaphore, time::sleep};
use tokio_tungstenite::{client_async_with_config, tungstenite::protocol::WebSocketConfig};

use crate::support::Result;

const TELLS: Duration = Duration::from_millis(100);
/// Connections under way at once, at the start only: the first wave is not what is measured.
const STARTS: usize = 64;

static ATTEMPTS: AtomicU64 = AtomicU64::new(0);

/// Holds so many connections, and says how often it has tried.
#[allow(clippy::print_stdout, reason = "the harness reads it")]
pub(super) async fn run(peer: u16, connections: u32) -> Result<()> {
    let start = Arc::new(Semaphore::new(STARTS));
    for _ in 0..connections {
        let permit = Arc::clone(&start).acquire_owned().await?;
        tokio::spawn(async move {
            let mut permit = Some(permit);
            loop {
                ATTEMPTS.fetch_add(1, Ordering::Relaxed);
                // Whatever went wrong, it tries again.
                let _ = hold(peer, || drop(permit.take())).await;
                tokio::task::yield_now().await;
            }
        });
    }
    loop {
        println!("{}", ATTEMPTS.load(Ordering::Relaxed));
        sleep(TELLS).await;
    }
}

async fn hold(peer: u16, opened: impl FnOnce()) -> Result<()> {
    let stream = TcpStream::connect(("127.0.0.1", peer)).await?;
    stream.set_nodelay(true)?;
    let config = WebSocketConfig::default().read_buffer_size(4 << 10);
    let (mut socket, _) = client_async_with_config(format!("ws://127.0.0.1:{peer}/"), stream, Some(config)).await?;
    opened();
    while let Some(Ok(_)) = socket.next().await {}
    Ok(())
}
