//! The example, run against an echo server of this test.

#[allow(dead_code, reason = "it is a program too")]
#[path = "../examples/embed.rs"]
mod embed;

use futures_util::{SinkExt as _, StreamExt as _};
use tokio::net::TcpListener;
use tokio_tungstenite::accept_async;

#[tokio::test]
async fn the_example_hears_what_it_has_said() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
    let url = format!("ws://{}/", listener.local_addr().expect("it is bound"));
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut socket = accept_async(stream).await.expect("it asks for an upgrade");
                while let Some(Ok(message)) = socket.next().await {
                    if message.is_text() {
                        socket.send(message).await.expect("it listens");
                    }
                }
            });
        }
    });
    assert_eq!(&*embed::talk(&url).await.expect("it talks"), "hello");
}
