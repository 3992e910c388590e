//! mosquitto's WebSocket listener: it insists on the subprotocol `mqtt` and on binary frames.

use crate::{
    one,
    support::{
        daemon::Daemon,
        peer::{Peer, Recipe},
        sse::Events,
    },
};

#[tokio::test]
async fn mqtt_crosses_in_binary_frames() {
    let Some(mosquitto) = Peer::start(Recipe::Mosquitto).await else { return };
    let daemon = Daemon::start(&one(mosquitto.port, "/mqtt", "protocols = [\"mqtt\"]")).await;
    let link = daemon.api.ready_after("e/0", 0).await;
    assert_eq!(link["protocol"], "mqtt", "{link}");
    let mut inbox = Inbox { events: daemon.api.events("e", "from=latest&types=message").await, bytes: Vec::new() };

    let connect = packet(0x10, &[&string("MQTT"), &[4, 2, 0, 60], &string("wskeeper")]);
    daemon.api.send_binary("e", connect).await.expect(202);
    assert_eq!(inbox.packet().await, [0x20, 2, 0, 0], "CONNACK: accepted");

    daemon.api.send_binary("e", packet(0x82, &[&[0, 1], &string("ticks"), &[0]])).await.expect(202);
    assert_eq!(inbox.packet().await, [0x90, 3, 0, 1, 0], "SUBACK");

    let publish = packet(0x30, &[&string("ticks"), &[0, 255, 128, 1]]);
    daemon.api.send_binary("e", publish.clone()).await.expect(202);
    assert_eq!(inbox.packet().await, publish, "what is published comes back as it was");
}

#[tokio::test]
async fn a_server_without_the_subprotocol_is_a_failure_of_its_own_class() {
    let Some(python) = Peer::start(Recipe::Python).await else { return };
    let daemon = Daemon::start(&one(python.port, "/", "protocols = [\"mqtt\"]")).await;
    let failed = |link: &serde_json::Value| link["lastClose"]["cause"] == "subprotocol";
    daemon.api.link_until("e/0", "failed", failed).await;
}

/// MQTT packets from a stream of messages that need not keep their borders.
struct Inbox {
    events: Events,
    bytes: Vec<u8>,
}

impl Inbox {
    async fn packet(&mut self) -> Vec<u8> {
        loop {
            if let Some(rest) = self.bytes.get(1)
                && self.bytes.len() >= 2 + usize::from(*rest)
            {
                return self.bytes.drain(..2 + usize::from(*rest)).collect();
            }
            let (data, binary) = self.events.next_of("message").await.payload();
            assert!(binary, "MQTT comes in binary frames");
            self.bytes.extend(data);
        }
    }
}

/// A packet of fewer than 128 bytes.
fn packet(kind: u8, parts: &[&[u8]]) -> Vec<u8> {
    let body = parts.concat();
    [&[kind, u8::try_from(body.len()).unwrap()], body.as_slice()].concat()
}

fn string(text: &str) -> Vec<u8> {
    [&u16::try_from(text.len()).unwrap().to_be_bytes(), text.as_bytes()].concat()
}
