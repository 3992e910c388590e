//! The peer's end of a connection, in raw bytes: nothing here keeps it from breaking the protocol.

use std::time::Duration;

use bytes::Bytes;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, DuplexStream},
    time::timeout,
};

/// Longer than any test waits, in simulated time.
pub(super) const PATIENCE: Duration = Duration::from_hours(1);

/// The peer's end of a connection, in raw bytes.
pub(super) struct Peer {
    stream: DuplexStream,
}

impl Peer {
    pub(super) fn new(stream: DuplexStream) -> Self {
        Self { stream }
    }

    pub(super) async fn raw(&mut self, bytes: &[u8]) {
        timeout(PATIENCE, self.stream.write_all(bytes)).await.expect("taken in time").expect("written");
    }

    /// As much as is taken before the other side has gone.
    pub(super) async fn pour(&mut self, bytes: &[u8]) -> bool {
        timeout(PATIENCE, self.stream.write_all(bytes)).await.expect("taken in time").is_ok()
    }

    pub(super) async fn frame(&mut self, first: u8, payload: &[u8]) {
        let bytes = frame(first, payload);
        self.raw(&bytes).await;
    }

    pub(super) async fn text(&mut self, text: &str) {
        self.frame(0x81, text.as_bytes()).await;
    }

    pub(super) async fn close(&mut self, code: u16, reason: &str) {
        let mut body = code.to_be_bytes().to_vec();
        body.extend(reason.as_bytes());
        self.frame(0x88, &body).await;
    }

    /// The next frame or whole message that the link sent: its first byte (as if it were one frame) and its payload, unmasked.
    /// `None` at the end of the stream.
    pub(super) async fn next(&mut self) -> Option<(u8, Bytes)> {
        let (mut first, start) = self.fragment().await?;
        let mut payload = start.to_vec();
        while first & 0x80 == 0 {
            let (next, more) = self.fragment().await?;
            assert_eq!(next & 0x7f, 0, "a continuation");
            first |= next;
            payload.extend(more);
        }
        Some((first, payload.into()))
    }

    /// The next frame that the link sent, as it is.
    pub(super) async fn fragment(&mut self) -> Option<(u8, Bytes)> {
        timeout(PATIENCE, self.read_frame()).await.expect("a frame in time")
    }

    /// The code of the Close frame that is the next frame.
    pub(super) async fn next_close(&mut self) -> u16 {
        let (first, body) = self.next().await.expect("a Close frame");
        assert_eq!(first, 0x88, "a Close frame: {body:?}");
        u16::from_be_bytes([body[0], body[1]])
    }

    /// Bytes that the link sent, without taking them apart.
    pub(super) async fn take(&mut self, count: usize) {
        let mut bytes = vec![0; count];
        timeout(PATIENCE, self.stream.read_exact(&mut bytes)).await.expect("in time").expect("so many");
    }

    async fn read_frame(&mut self) -> Option<(u8, Bytes)> {
        let first = self.stream.read_u8().await.ok()?;
        let length = self.stream.read_u8().await.ok()?;
        assert_eq!(length & 0x80, 0x80, "a client masks every frame");
        let length = match length & 0x7f {
            126 => usize::from(self.stream.read_u16().await.ok()?),
            127 => usize::try_from(self.stream.read_u64().await.ok()?).expect("a length"),
            short => usize::from(short),
        };
        let mut mask = [0; 4];
        self.stream.read_exact(&mut mask).await.ok()?;
        let mut payload = vec![0; length];
        self.stream.read_exact(&mut payload).await.ok()?;
        payload.iter_mut().zip(mask.iter().cycle()).for_each(|(byte, mask)| *byte ^= mask);
        Some((first, payload.into()))
    }
}

/// An unmasked frame with this first byte.
pub(super) fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![first];
    match payload.len() {
        short @ 0..=125 => bytes.push(u8::try_from(short).expect("short")),
        middle @ 126..=65535 => {
            bytes.push(126);
            bytes.extend(u16::try_from(middle).expect("middle").to_be_bytes());
        }
        long => {
            bytes.push(127);
            bytes.extend((long as u64).to_be_bytes());
        }
    }
    bytes.extend(payload);
    bytes
}
