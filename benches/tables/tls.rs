//! A far end over TLS that takes connections, answers pings and does nothing else.

use std::{cell::Cell, io, path::PathBuf, rc::Rc, sync::Arc, time::Duration};

use rustls::{ServerConfig, crypto::ring, pki_types::PrivatePkcs8KeyDer};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpSocket, TcpStream},
    sync::Notify,
    task::{AbortHandle, spawn_local},
};
use tokio_rustls::TlsAcceptor;

use super::{
    contestant::folder,
    frames::{self, PING, PONG},
    wire,
};
use crate::support::{Result, free_port};

const PATIENCE: Duration = Duration::from_mins(5);
const BACKLOG: u32 = 16_384;

/// The server, and whom a client has to trust.
#[derive(Debug)]
pub(crate) struct TlsPeer {
    port: u16,
    authority: PathBuf,
    open: Rc<Open>,
    listening: AbortHandle,
}

#[derive(Debug, Default)]
struct Open {
    count: Cell<usize>,
    over: Notify,
}

impl TlsPeer {
    pub(crate) fn start() -> Result<Self> {
        let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()])?;
        let key = PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(vec![made.cert.der().clone()], key.into())?;
        let authority = folder()?.join("authority.pem");
        std::fs::write(&authority, made.cert.pem())?;
        let port = free_port()?;
        let socket = TcpSocket::new_v4()?;
        socket.set_reuseaddr(true)?;
        socket.bind(([127, 0, 0, 1], port).into())?;
        let open = Rc::default();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listening = spawn_local(accept(socket.listen(BACKLOG)?, acceptor, Rc::clone(&open))).abort_handle();
        Ok(Self { port, authority, open, listening })
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// The certificate to trust.
    pub(crate) fn authority(&self) -> &PathBuf {
        &self.authority
    }

    /// Waits until so many connections are open.
    pub(crate) async fn wait_open(&self, count: usize) -> Result<()> {
        super::contestant::until("all links open", PATIENCE, || Ok(self.open.count.get() >= count)).await
    }
}

impl Drop for TlsPeer {
    fn drop(&mut self) {
        self.listening.abort();
        self.open.over.notify_waiters();
    }
}

async fn accept(listener: TcpListener, acceptor: TlsAcceptor, open: Rc<Open>) {
    while let Ok((stream, _)) = listener.accept().await {
        let (acceptor, open) = (acceptor.clone(), Rc::clone(&open));
        spawn_local(async move {
            tokio::select! {
                // A connection ends when its contestant is gone.
                _ = serve(stream, acceptor, &open) => {}
                () = open.over.notified() => {}
            }
        });
    }
}

async fn serve(stream: TcpStream, acceptor: TlsAcceptor, open: &Open) -> io::Result<()> {
    let mut stream = acceptor.accept(stream).await?;
    let (head, mut left) = wire::read_head(&mut stream).await?;
    stream.write_all(wire::answer(&head)?.as_bytes()).await?;
    open.count.set(open.count.get() + 1);
    let mut out = Vec::new();
    while stream.read_buf(&mut left).await? > 0 {
        let used = frames::each(&mut left, |head, payload| {
            if head.opcode == PING {
                frames::append(&mut out, PONG, true, payload, false);
            }
        });
        left.drain(..used);
        stream.write_all(&out).await?;
        out.clear();
    }
    Ok(())
}
