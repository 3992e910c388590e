//! A bare client of tungstenite: a task per connection that reads and counts.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use futures_util::StreamExt;
use rustls::{
    ClientConfig, RootCertStore,
    crypto::ring,
    pki_types::{CertificateDer, ServerName, pem::PemObject as _},
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
};
use tokio_rustls::TlsConnector;
use tokio_tungstenite::{client_async_with_config, tungstenite::protocol::WebSocketConfig};

use crate::support::Result;

static COUNT: AtomicU64 = AtomicU64::new(0);

/// Holds so many connections, with read buffers of so many bytes.
pub(super) async fn count(buffer: usize, peer: u16, connections: u32) -> Result<()> {
    for _ in 0..connections {
        read(connect(peer).await?, peer, buffer).await?;
    }
    std::future::pending().await
}

/// The same over TLS.
pub(super) async fn count_tls(authority: &str, buffer: usize, peer: u16, connections: u32) -> Result<()> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(authority)?)?;
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    let connector = TlsConnector::from(Arc::new(config));
    for _ in 0..connections {
        let stream = connector.connect(ServerName::try_from("127.0.0.1")?, connect(peer).await?).await?;
        read(stream, peer, buffer).await?;
    }
    std::future::pending().await
}

async fn connect(peer: u16) -> Result<TcpStream> {
    let stream = TcpStream::connect(("127.0.0.1", peer)).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

async fn read(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static, peer: u16, buffer: usize) -> Result<()> {
    let config = WebSocketConfig::default().read_buffer_size(buffer);
    let url = format!("ws://127.0.0.1:{peer}/");
    let (mut socket, _) = client_async_with_config(url, stream, Some(config)).await?;
    tokio::spawn(async move {
        while let Some(Ok(message)) = socket.next().await {
            if message.is_text() || message.is_binary() {
                COUNT.fetch_add(1, Ordering::Relaxed);
            }
        }
    });
    Ok(())
}
