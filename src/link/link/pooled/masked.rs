//! Frames of ours, put behind what waits: those of a client masked (RFC 6455 §5.3), those of a server as they are.
//!
//! What a reader would get wrong: a frame is put whole, however much waits by then. Who asks for room first keeps that small.

use std::{
    io,
    task::{Context, Poll, ready},
};

use tokio::io::AsyncWrite;

use super::{GATHERED_MAX, PooledStream};
use wskeeper_core::frame::{Head, mask};

impl<S> PooledStream<S> {
    /// Whether little enough waits for another frame.
    pub(in super::super) fn has_room(&self) -> bool {
        !self.blocked && self.gathered.len() < GATHERED_MAX
    }

    /// Puts a frame behind what waits; `first` is its first byte.
    pub(in super::super) fn put(&mut self, first: u8, payload: &[u8]) {
        let key: [u8; 4] = rand::random();
        self.gather(Head::new(first, payload.len(), Some(key)).bytes());
        let start = self.gathered.len();
        self.gathered.extend_from_slice(payload);
        mask(&mut self.gathered[start..], key);
    }

    /// The same without a mask, which is a server's frame.
    pub(in super::super) fn put_plain(&mut self, first: u8, payload: &[u8]) {
        self.gather(Head::new(first, payload.len(), None).bytes());
        self.gathered.extend_from_slice(payload);
    }
}

impl<S: AsyncWrite + Unpin> PooledStream<S> {
    /// Waits until little enough waits for another frame.
    pub(in super::super) fn poll_way(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.has_room() {
            ready!(self.poll_give_all(cx))?;
        }
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use tokio_tungstenite::tungstenite::protocol::{Role, WebSocket};

    use super::*;

    #[tokio::test]
    async fn a_server_reads_each_frame_as_it_was_put() {
        let lengths = [0, 1, 7, 8, 125, 126, 127, 1_000, 65_535, 65_536];
        let mut pooled = PooledStream::new(tokio::io::empty());
        for length in lengths {
            pooled.put(0x82, &vec![0xA5; length]);
        }
        assert!(!pooled.has_room());
        let written = Cursor::new(pooled.gathered.to_vec());
        let mut server = WebSocket::from_raw_socket(written, Role::Server, None);
        for length in lengths {
            assert_eq!(server.read().expect("it is a frame of a client").into_data(), vec![0xA5; length]);
        }
        std::future::poll_fn(|cx| pooled.poll_way(cx)).await.expect("it takes everything");
        assert!(pooled.has_room() && pooled.gathered.capacity() == 0);
    }

    #[test]
    fn no_two_frames_have_the_same_mask() {
        let mut pooled = PooledStream::new(());
        pooled.put(0x89, b"");
        pooled.put(0x89, b"");
        assert_ne!(pooled.gathered[2..6], pooled.gathered[8..12]);
    }
}
