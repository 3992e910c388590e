//! What TLS goes over, which remembers whether anything has come: TCP, or the TLS of a proxy.
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
    net::{TcpStream, UnixStream},
};
use tokio_rustls::client::TlsStream;

/// The head of a TLS record: what the library has read so much of without a complaint is TLS.
const RECORD_HEAD: usize = 5;

/// What a connection goes over.
#[derive(Debug)]
pub(crate) enum Under {
    /// TCP, through a proxy or not.
    Tcp(TcpStream),
    /// TLS with a proxy.
    Tls(Box<TlsStream<Heard>>),
    /// A socket of this machine.
    Unix(UnixStream),
}

impl Under {
    /// The socket itself, where it is TCP.
    pub(in crate::link) fn tcp(&self) -> Option<&TcpStream> {
        match self {
            Self::Tcp(tcp) => Some(tcp),
            Self::Tls(tls) => tls.get_ref().0.under().tcp(),
            Self::Unix(_) => None,
        }
    }
}

/// The connection, and how many bytes have come.
#[derive(Debug)]
pub(crate) struct Heard {
    under: Under,
    bytes: usize,
}

impl Heard {
    pub(in crate::link) fn new(under: Under) -> Self {
        Self { under, bytes: 0 }
    }

    /// The connection by itself.
    pub(in crate::link) fn into_under(self) -> Under {
        self.under
    }

    /// The connection itself.
    pub(in crate::link) fn under(&self) -> &Under {
        &self.under
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
        let read = match &mut this.under {
            Under::Tcp(tcp) => Pin::new(tcp).poll_read(cx, buf),
            Under::Tls(tls) => Pin::new(tls).poll_read(cx, buf),
            Under::Unix(unix) => Pin::new(unix).poll_read(cx, buf),
        };
        this.bytes = this.bytes.saturating_add(buf.filled().len().saturating_sub(before));
        read
    }
}

impl AsyncWrite for Heard {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match &mut self.get_mut().under {
            Under::Tcp(tcp) => Pin::new(tcp).poll_write(cx, bytes),
            Under::Tls(tls) => Pin::new(tls).poll_write(cx, bytes),
            Under::Unix(unix) => Pin::new(unix).poll_write(cx, bytes),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match &mut self.get_mut().under {
            Under::Tcp(tcp) => Pin::new(tcp).poll_write_vectored(cx, bytes),
            Under::Tls(tls) => Pin::new(tls).poll_write_vectored(cx, bytes),
            Under::Unix(unix) => Pin::new(unix).poll_write_vectored(cx, bytes),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match &self.under {
            Under::Tcp(tcp) => tcp.is_write_vectored(),
            Under::Tls(tls) => tls.is_write_vectored(),
            Under::Unix(unix) => unix.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().under {
            Under::Tcp(tcp) => Pin::new(tcp).poll_flush(cx),
            Under::Tls(tls) => Pin::new(tls).poll_flush(cx),
            Under::Unix(unix) => Pin::new(unix).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().under {
            Under::Tcp(tcp) => Pin::new(tcp).poll_shutdown(cx),
            Under::Tls(tls) => Pin::new(tls).poll_shutdown(cx),
            Under::Unix(unix) => Pin::new(unix).poll_shutdown(cx),
        }
    }
}
