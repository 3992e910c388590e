//! A server that sends numbered messages when it is told to: as many as the number that it hears, an empty one, or the JSON that it hears.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::json;
use tokio::net::TcpListener;
use tokio_tungstenite::tungstenite::Message;

use crate::support::daemon::Daemon;

/// Starts one. Its numbers go on over connections, from 0.
pub async fn start() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let next = Arc::new(AtomicU64::new(0));
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let next = Arc::clone(&next);
            tokio::spawn(async move {
                let Ok(mut socket) = tokio_tungstenite::accept_async(stream).await else { return };
                while let Some(Ok(heard)) = socket.next().await {
                    if heard.to_text().is_ok_and(|text| text == "empty")
                        && socket.send(Message::text("")).await.is_err()
                    {
                        return;
                    }
                    if heard.to_text().is_ok_and(|text| text.starts_with('{'))
                        && socket.send(heard.clone()).await.is_err()
                    {
                        return;
                    }
                    let Ok(count) = heard.to_text().unwrap_or_default().parse::<usize>() else { continue };
                    for _ in 0..count {
                        let number = next.fetch_add(1, Ordering::Relaxed);
                        let parity = if number.is_multiple_of(2) { "even" } else { "odd" };
                        let text = json!({ "n": number, "s": parity, "rare": number.is_multiple_of(3000) });
                        if socket.feed(Message::text(text.to_string())).await.is_err() {
                            return;
                        }
                    }
                    if socket.flush().await.is_err() {
                        return;
                    }
                }
            });
        }
    });
    port
}

/// Has it send so many more.
pub async fn send(daemon: &Daemon, count: usize) {
    daemon.api.ready_after("e/0", 0).await;
    daemon.api.send_text("e", &count.to_string()).await.expect(202);
}
