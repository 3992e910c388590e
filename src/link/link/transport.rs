//! The byte stream under a WebSocket: TCP, or TLS over TCP.
//!
//! Dropping a [`Transport`] ends TCP in order (FIN); only after [`Transport::abort`] does dropping it send RST.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use socket2::{SockRef, TcpKeepalive};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpStream, UnixStream},
};
use tokio_rustls::client::TlsStream;

use super::{
    Wire,
    carrier::CarriedStream,
    tls::{Heard, Under},
};

/// A connection, with or without TLS.
#[derive(Debug)]
pub(crate) enum Transport {
    /// Bytes as they are.
    Plain(TcpStream),
    /// Under TLS: the server's, or that of a proxy before a server without.
    Tls(Box<TlsStream<Heard>>),
    /// On a socket of this machine.
    Unix(UnixStream),
    /// One stream of many on a connection by HTTP/2.
    Carried(Box<CarriedStream>),
}

impl From<Under> for Transport {
    fn from(under: Under) -> Self {
        match under {
            Under::Tcp(tcp) => Self::Plain(tcp),
            Under::Tls(tls) => Self::Tls(tls),
            Under::Unix(unix) => Self::Unix(unix),
        }
    }
}

/// What TLS may take beyond what the kernel takes. With room for a long frame, so that it leaves by one write.
const TLS_HOLDS: usize = 32 << 10;

impl Transport {
    /// A connection under TLS.
    pub(super) fn secured(mut tls: TlsStream<Heard>) -> Self {
        tls.get_mut().1.set_buffer_limit(Some(TLS_HOLDS));
        Self::Tls(Box::new(tls))
    }

    /// The protocol that TLS has agreed on (ALPN).
    pub(super) fn agreed(&self) -> Option<&str> {
        match self {
            Self::Tls(tls) => std::str::from_utf8(tls.get_ref().1.alpn_protocol()?).ok(),
            Self::Plain(_) | Self::Unix(_) | Self::Carried(_) => None,
        }
    }

    /// The socket itself, where it is TCP.
    pub(crate) fn tcp(&self) -> Option<&TcpStream> {
        match self {
            Self::Plain(tcp) => Some(tcp),
            Self::Tls(tls) => tls.get_ref().0.under().tcp(),
            Self::Unix(_) | Self::Carried(_) => None,
        }
    }
}

impl Wire for Transport {
    /// By RST, so that nothing unsent or unacknowledged is kept in the kernel; of many streams by one's reset.
    ///
    /// A socket that is already dead is as good as reset, so there is no error to hand on.
    fn abort(&self) {
        if let Self::Carried(carried) = self {
            carried.abort();
        }
        if let Some(tcp) = self.tcp() {
            let _ = SockRef::from(tcp).set_linger(Some(Duration::ZERO));
        }
    }

    fn unsent(&self) -> usize {
        match self {
            Self::Plain(_) | Self::Unix(_) => 0,
            Self::Tls(tls) => held(tls),
            Self::Carried(carried) => carried.unsent(),
        }
    }
}

/// What TLS may still hold, with that of a proxy below it.
fn held(tls: &TlsStream<Heard>) -> usize {
    let (heard, session) = tls.get_ref();
    let below = match heard.under() {
        Under::Tcp(_) | Under::Unix(_) => 0,
        Under::Tls(tls) => held(tls),
    };
    below + if session.wants_write() { TLS_HOLDS } else { 0 }
}

/// The longest `TCP_USER_TIMEOUT`: the kernel takes milliseconds as a signed number of 32 bits.
#[cfg(target_os = "linux")]
const LONGEST_USER_TIMEOUT: Duration = Duration::from_millis(i32::MAX as u64);

/// Probes of TCP come so far apart at least, and at most: the kernel takes whole seconds, up to 32,767.
const PROBES: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(32_767));

/// Sets what every connection needs: no delay for small frames, and on Linux a limit to how long written bytes may stay
/// unacknowledged (`TCP_USER_TIMEOUT`), which backs up the heartbeat. Where there is none, TCP probes a peer that has been silent
/// for `probe`; what ends the connection is the same limit.
pub(super) fn prepare(tcp: &TcpStream, unacknowledged: Duration, probe: Option<Duration>) -> io::Result<()> {
    tcp.set_nodelay(true)?;
    if let Some(probe) = probe {
        let (least, most) = PROBES;
        let (idle, interval) = (probe.clamp(least, most), (unacknowledged / 4).clamp(least, most));
        SockRef::from(tcp).set_tcp_keepalive(&TcpKeepalive::new().with_time(idle).with_interval(interval))?;
    }
    limit_unacknowledged(tcp, unacknowledged)
}

/// Ends the connection once written bytes have stayed unacknowledged, or a closed window has been waited for, so long.
pub fn limit_unacknowledged(tcp: &TcpStream, limit: Duration) -> io::Result<()> {
    #[cfg(target_os = "linux")]
    SockRef::from(tcp).set_tcp_user_timeout(Some(limit.min(LONGEST_USER_TIMEOUT)))?;
    #[cfg(not(target_os = "linux"))]
    let _ = (tcp, limit);
    Ok(())
}

impl AsyncRead for Transport {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(tcp) => Pin::new(tcp).poll_read(cx, buf),
            Self::Tls(tls) => Pin::new(tls).poll_read(cx, buf),
            Self::Unix(unix) => Pin::new(unix).poll_read(cx, buf),
            Self::Carried(carried) => Pin::new(&mut **carried).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Transport {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(tcp) => Pin::new(tcp).poll_write(cx, bytes),
            Self::Tls(tls) => Pin::new(tls).poll_write(cx, bytes),
            Self::Unix(unix) => Pin::new(unix).poll_write(cx, bytes),
            Self::Carried(carried) => Pin::new(&mut **carried).poll_write(cx, bytes),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(tcp) => Pin::new(tcp).poll_write_vectored(cx, slices),
            Self::Tls(tls) => Pin::new(tls).poll_write_vectored(cx, slices),
            Self::Unix(unix) => Pin::new(unix).poll_write_vectored(cx, slices),
            Self::Carried(carried) => Pin::new(&mut **carried).poll_write_vectored(cx, slices),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Plain(tcp) => tcp.is_write_vectored(),
            Self::Tls(tls) => tls.is_write_vectored(),
            Self::Unix(unix) => unix.is_write_vectored(),
            Self::Carried(_) => false,
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(tcp) => Pin::new(tcp).poll_flush(cx),
            Self::Tls(tls) => Pin::new(tls).poll_flush(cx),
            Self::Unix(unix) => Pin::new(unix).poll_flush(cx),
            Self::Carried(carried) => Pin::new(&mut **carried).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(tcp) => Pin::new(tcp).poll_shutdown(cx),
            Self::Tls(tls) => Pin::new(tls).poll_shutdown(cx),
            Self::Unix(unix) => Pin::new(unix).poll_shutdown(cx),
            Self::Carried(carried) => Pin::new(&mut **carried).poll_shutdown(cx),
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::{io::AsyncReadExt as _, net::TcpListener};

    use super::*;

    async fn pair() -> (Transport, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let near = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        (Transport::Plain(near), listener.accept().await.unwrap().0)
    }

    #[tokio::test]
    async fn a_dropped_transport_ends_in_order() {
        let (near, mut far) = pair().await;
        drop(near);
        assert_eq!(far.read(&mut [0; 8]).await.unwrap(), 0);
    }

    #[tokio::test]
    async fn an_aborted_transport_resets_the_connection() {
        let (near, mut far) = pair().await;
        near.abort();
        drop(near);
        assert_eq!(far.read(&mut [0; 8]).await.unwrap_err().kind(), io::ErrorKind::ConnectionReset);
    }

    #[tokio::test]
    #[cfg(target_os = "linux")]
    async fn a_prepared_socket_neither_delays_nor_waits_for_ever() {
        let (near, _far) = pair().await;
        prepare(near.tcp().unwrap(), Duration::from_secs(30), None).unwrap();
        assert!(near.tcp().unwrap().nodelay().unwrap() && !SockRef::from(near.tcp().unwrap()).keepalive().unwrap());
        assert_eq!(SockRef::from(near.tcp().unwrap()).tcp_user_timeout().unwrap(), Some(Duration::from_secs(30)));
    }

    #[tokio::test]
    #[cfg(target_os = "linux")]
    async fn what_the_kernel_takes_narrower_than_the_configuration_is_brought_within_it() {
        let (near, _far) = pair().await;
        for (limit, probe) in [(Duration::MAX, Duration::MAX), (Duration::from_millis(1), Duration::from_millis(1))] {
            prepare(near.tcp().unwrap(), limit, Some(probe)).unwrap();
        }
        assert!(SockRef::from(near.tcp().unwrap()).keepalive().unwrap());
    }
}
