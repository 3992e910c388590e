//! A far end over TLS that takes connections, answers pings, and floods on demand as the one without TLS does.

use std::{
    cell::{Cell, RefCell},
    io,
    path::PathBuf,
    rc::Rc,
    sync::Arc,
    time::Duration,
};

use rustls::{ServerConfig, crypto::ring, pki_types::PrivatePkcs8KeyDer};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpSocket, TcpStream},
    sync::Notify,
    task::{AbortHandle, spawn_local},
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};

use super::{
    contestant::folder,
    frames::{self, PING, PONG},
    wire,
};
use crate::support::{Result, free_port};

const PATIENCE: Duration = Duration::from_mins(5);
const BACKLOG: u32 = 16_384;
/// Bytes given to a stream at once.
const CHUNK: usize = 64 << 10;

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
    flood: RefCell<Flood>,
    floods: Notify,
    /// Connections that have taken the flood.
    taken: Cell<usize>,
}

/// What is sent on every connection: so many bytes of the chunk, again and again.
#[derive(Debug, Clone, Default)]
struct Flood {
    chunk: Rc<[u8]>,
    bytes: usize,
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

impl TlsPeer {
    /// Sends `count` messages on every connection, and waits until all have been taken.
    pub(crate) async fn flood(&self, message: &[u8], count: usize) -> Result<()> {
        let a_chunk = (CHUNK / message.len()).clamp(1, count);
        self.open.flood.replace(Flood { chunk: message.repeat(a_chunk).into(), bytes: message.len() * count });
        self.open.taken.set(0);
        // Each of them waits for it or for what its contestant says, which is nothing.
        self.open.floods.notify_waiters();
        let all = self.open.count.get();
        super::contestant::until("a flood", PATIENCE, || Ok(self.open.taken.get() >= all)).await
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
    loop {
        tokio::select! {
            read = stream.read_buf(&mut left) => if read? == 0 {
                return Ok(());
            },
            () = open.floods.notified() => {
                let flood = open.flood.borrow().clone();
                pour(&mut stream, flood).await?;
            }
        }
        let used = frames::each(&mut left, |head, payload| match head.opcode {
            PING => frames::append(&mut out, PONG, true, payload, false),
            PONG => open.taken.set(open.taken.get() + 1),
            _ => {}
        });
        left.drain(..used);
        stream.write_all(&out).await?;
        stream.flush().await?;
        out.clear();
    }
}

/// Writes the flood, and a ping behind it.
async fn pour(stream: &mut TlsStream<TcpStream>, Flood { chunk, mut bytes }: Flood) -> io::Result<()> {
    while bytes > 0 {
        let part = bytes.min(chunk.len());
        stream.write_all(&chunk[..part]).await?;
        bytes -= part;
    }
    let mut ping = Vec::new();
    frames::append(&mut ping, PING, true, b"", false);
    stream.write_all(&ping).await?;
    stream.flush().await
}
