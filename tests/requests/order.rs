//! What one local WebSocket sends and asks leaves in the order in which it came, whatever else goes on.

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;

use crate::{
    asking,
    peer::Peer,
    support::{chance::Chance, daemon::Daemon, until},
};

/// Messages of a run, of which about two of three are requests.
const MESSAGES: usize = 300;
/// Those of them that come before the link is open.
const BEFORE: usize = 50;

/// Sends and asks by one local WebSocket, and waits for all answers.
async fn talk(daemon: &Daemon, chance: &Chance) -> Vec<String> {
    let socket = daemon.api.socket("e", "types=close", true).await;
    let (mut sink, mut stream) = socket.split();
    let say = |place: usize| format!("{place}");
    let sending = async {
        for place in 0..MESSAGES {
            if place == BEFORE {
                daemon.api.post("/v1/links/e/0/resume", &[], "").await.expect(200);
            }
            let kind = if chance.once_in(3) { "send" } else { "request" };
            let data = json!({ "say": say(place) }).to_string();
            let frame = json!({ "type": kind, "data": data, "ref": place });
            sink.send(Message::text(frame.to_string())).await.unwrap();
        }
    };
    let answers = async {
        let mut answered = 0;
        while answered < MESSAGES {
            let Message::Text(text) = stream.next().await.unwrap().unwrap() else { continue };
            let frame: Value = serde_json::from_str(&text).unwrap();
            answered += usize::from(frame["ref"].is_u64());
            assert!(
                frame["ref"].is_null() || ["reply", "receipt"].iter().any(|kind| frame["type"] == *kind),
                "{frame}"
            );
        }
    };
    futures_util::join!(sending, answers);
    (0..MESSAGES).map(say).collect()
}

#[tokio::test]
async fn what_one_local_websocket_sends_and_asks_leaves_in_its_order() {
    let chance = Chance::new("order");
    for keys in ["", "in_flight = 1", "in_flight = 3", "stamp = \"uuid\""] {
        let peer = Peer::start().await;
        let daemon = Daemon::start(&asking(peer.port, keys)).await;
        daemon.api.post("/v1/links/e/0/pause", &[], "").await.expect(200);
        let said = talk(&daemon, &chance).await;
        let heard: Vec<String> = until("all of it", || async {
            let heard: Vec<String> = peer.heard().into_iter().map(|heard| heard.say).collect();
            if heard.len() >= MESSAGES { Ok(heard) } else { Err(heard.len()) }
        })
        .await;
        assert_eq!(heard, said, "{keys}");
    }
}
