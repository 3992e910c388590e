//! Links whose messages are compressed, and messages of every kind to try them with.

use futures_util::{SinkExt, StreamExt};
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;

use super::{PATIENCE, api::Socket, daemon::Daemon};

/// Below the threshold, one piece, some of them, fragments both ways.
pub const SIZES: [usize; 8] = [0, 1, 255, 256, 16_384, 40_000, 65_536, 100_001];
/// As long as messages get.
pub const LARGE: usize = 16 << 20;

/// What is asked for by an endpoint, whose name says it.
#[derive(Clone, Copy)]
pub struct Asked {
    /// The window, both ways.
    pub bits: u8,
    /// Who keeps one.
    pub context: &'static str,
    /// How hard it compresses.
    pub level: u8,
}

impl Asked {
    /// Its name.
    pub fn name(self) -> String {
        format!("{}-{}-{}", self.bits, self.context, self.level)
    }

    /// Its section, with room for large messages; `more` are lines of its own table.
    pub fn section(self, url: &str, more: &str) -> String {
        let (name, Self { bits, context, level }) = (self.name(), self);
        format!(
            "\n[endpoints.{name}]\nurl = \"{url}\"\ncompression = \"auto\"\ncompression_window_bits = {bits}\n\
             compression_context = \"{context}\"\ncompression_level = {level}\n{more}\n\
             [endpoints.{name}.outbox]\nmax_message = \"17MiB\"\nmax_bytes = \"34MiB\"\n\
             [endpoints.{name}.inbox]\nmax_message = \"17MiB\"\nmax_bytes = \"17MiB\"\n"
        )
    }
}

/// A link whose server sends back what it gets, and a program that uses it.
pub struct Echoed {
    socket: Socket,
    /// What was agreed on.
    pub agreed: String,
}

impl Echoed {
    /// By this endpoint.
    pub async fn by(daemon: &Daemon, endpoint: &str) -> Self {
        let link = daemon.api.ready_after(&format!("{endpoint}/0"), 0).await;
        let agreed = format!("{endpoint}: {}", link["extensions"]);
        assert!(agreed.contains("permessage-deflate"), "{agreed}");
        Self { socket: daemon.api.socket(endpoint, "from=latest", false).await, agreed }
    }

    /// Sends it, and panics unless the same comes back.
    pub async fn comes_back(&mut self, message: Message) {
        let kind = if message.is_text() { "a text" } else { "a binary message" };
        let what = format!("{kind} of {} bytes, {}", message.len(), self.agreed);
        let there_and_back = async {
            self.socket.send(message.clone()).await.unwrap();
            loop {
                let back = self.socket.next().await.expect("an open socket").unwrap();
                if back.is_text() || back.is_binary() {
                    return back;
                }
            }
        };
        let back = timeout(2 * PATIENCE, there_and_back).await.unwrap_or_else(|_| panic!("{what}: nothing came back"));
        assert!(back == message, "{what}");
    }
}

/// Messages of this length: texts and binary ones, repetitive and random.
pub fn messages(size: usize) -> [Message; 4] {
    let mut line = "{\"price\":12.5,\"size\":7,\"side\":\"sell\"} €".repeat(1 + size / 40);
    line.truncate(line.floor_char_boundary(size));
    let noise = noise(size);
    // Half of what it says is chance.
    let letters: String = noise.iter().map(|byte| char::from(b'@' | (byte & 0x1F))).collect();
    let numbers: Vec<u8> = (0..=250).cycle().take(size).collect();
    [Message::text(line), Message::text(letters), Message::binary(noise), Message::binary(numbers)]
}

fn noise(size: usize) -> Vec<u8> {
    let mut state = size as u64;
    let next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        state.to_be_bytes()[0]
    };
    std::iter::repeat_with(next).take(size).collect()
}
