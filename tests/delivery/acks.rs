//! Confirmation by the peer's application: what it acknowledges is confirmed, what it does not goes out again.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_tungstenite::tungstenite::Message;

use crate::{
    LEAST, QUICK, endpoint,
    support::{daemon::Daemon, until},
};

const ACK: &str = "ack = { outgoing = \"/id\", incoming = \"/ack\" }\nack_timeout = \"500ms\"";

/// A peer that acknowledges each message by its `id`, but on its first `silent` connections only reads.
async fn application(silent: usize) -> (u16, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let connections = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&connections);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let answers = counted.fetch_add(1, Ordering::SeqCst) >= silent;
            tokio::spawn(async move {
                let mut socket = tokio_tungstenite::accept_async(stream).await.unwrap();
                while let Some(Ok(message)) = socket.next().await {
                    let Message::Text(text) = message else { continue };
                    let sent: Value = serde_json::from_str(&text).unwrap();
                    if answers {
                        let ack = json!({ "ack": sent["id"] }).to_string();
                        socket.send(Message::text(ack)).await.unwrap();
                    }
                }
            });
        }
    });
    (port, connections)
}

async fn state_becomes(daemon: &Daemon, receipt: &Value, wanted: &str) -> Value {
    let path = format!("/v1/messages/{}", receipt["id"].as_str().unwrap());
    until(wanted, || async {
        let receipt = daemon.api.get(&path).await.expect(200).json();
        if receipt["state"] == wanted { Ok(receipt) } else { Err(receipt) }
    })
    .await
}

#[tokio::test]
async fn at_least_once_a_message_without_its_acknowledgement_goes_out_again_until_it_has_it() {
    let (port, connections) = application(1).await;
    let daemon = Daemon::start(&format!("{QUICK}{}", endpoint("e", port, &format!("{LEAST}\n{ACK}")))).await;
    let receipt = daemon.api.send_text("e", r#"{"id":7}"#).await.expect(202).json();
    let confirmed = state_becomes(&daemon, &receipt, "confirmed").await;
    assert_eq!((confirmed["generation"].as_u64(), connections.load(Ordering::SeqCst)), (Some(2), 2));
}

#[tokio::test]
async fn at_most_once_a_message_without_its_acknowledgement_is_unknown_and_the_link_stays() {
    let (port, connections) = application(1).await;
    let daemon = Daemon::start(&format!("{QUICK}{}", endpoint("e", port, ACK))).await;
    let receipt = daemon.api.send_text("e", r#"{"id":7}"#).await.expect(202).json();
    let unknown = state_becomes(&daemon, &receipt, "unknown").await;
    assert_eq!((unknown["reason"].as_str(), connections.load(Ordering::SeqCst)), (Some("ack_timeout"), 1));
}
