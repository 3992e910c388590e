//! A TCP connection that remembers whether anything has come over it.
//!
//! A server that closes without a word in the handshake may have no TLS at all. Only what it has sent before says that it has, and the
//! library does not tell that of a handshake that fails.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};

/// The head of a TLS record: what the library has read so much of without a complaint is TLS.
const RECORD_HEAD: usize = 5;

/// The connection, and how many bytes have come.
#[derive(Debug)]
pub struct Heard {
    tcp: TcpStream,
    bytes: usize,
}

impl Heard {
    pub(super) fn new(tcp: TcpStream) -> Self {
        Self { tcp, bytes: 0 }
    }

    /// The connection itself.
    pub(in crate::link) fn tcp(&self) -> &TcpStream {
        &self.tcp
    }

    /// Whether what has come has the head of a record at least.
    pub(super) fn has_record(&self) -> bool {
        self.bytes >= RECORD_HEAD
    }
}

impl AsyncRead for Heard {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buf.filled().len();
        let read = Pin::new(&mut this.tcp).poll_read(cx, buf);
        this.bytes = this.bytes.saturating_add(buf.filled().len().saturating_sub(before));
        read
    }
}

impl AsyncWrite for Heard {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().tcp).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().tcp).poll_write_vectored(cx, bytes)
    }

    fn is_write_vectored(&self) -> bool {
        self.tcp.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().tcp).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().tcp).poll_shutdown(cx)
    }
}
