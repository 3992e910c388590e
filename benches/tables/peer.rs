//! The far end: a WebSocket server within the harness, one for each contestant.
//!
//! It echoes or swallows what comes, floods on demand, and can go away and come back. How it knows that a contestant has taken
//! a flood: it pings behind it, and the pong says that all before was read.

use std::{
    cell::{Cell, RefCell},
    io,
    net::SocketAddr,
    rc::Rc,
    time::Duration,
};

use tokio::{
    net::{TcpListener, TcpSocket, TcpStream},
    sync::Notify,
    task::{AbortHandle, spawn_local},
    time::{Instant, timeout_at},
};

use super::{
    frames::{self, CLOSE, CONTINUATION, Head, PING, PONG},
    wire::Wire,
};
use crate::support::Result;

/// Connections that may wait to be accepted: a whole storm.
const BACKLOG: u32 = 16_384;
/// A contestant that has not done its part by then is stuck.
const PATIENCE: Duration = Duration::from_mins(2);
/// Bytes given to a stream at once.
const CHUNK: usize = 64 << 10;

/// What becomes of messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Echo,
    Sink,
}

/// A server.
#[derive(Debug)]
pub(crate) struct Peer {
    address: SocketAddr,
    state: Rc<State>,
    listening: RefCell<Option<AbortHandle>>,
}

#[derive(Debug)]
struct State {
    kind: Kind,
    open: RefCell<Vec<Rc<Conn>>>,
    serving: RefCell<Vec<AbortHandle>>,
    received: Cell<u64>,
    /// Bytes of their payloads, as they were on the wire.
    payload: Cell<u64>,
    /// Messages of one connection, while somebody wants to see them.
    kept: RefCell<Option<Vec<Raw>>>,
    changed: Notify,
}

/// A message as it was on the wire.
#[derive(Debug)]
pub(crate) struct Raw {
    pub(crate) is_compressed: bool,
    pub(crate) payload: Vec<u8>,
}

#[derive(Debug)]
struct Conn {
    wire: Wire,
    pongs: Cell<u64>,
}

impl Peer {
    /// Listens on a port of its own.
    pub(crate) fn start(kind: Kind) -> Result<Self> {
        let state = State {
            kind,
            open: RefCell::default(),
            serving: RefCell::default(),
            received: Cell::new(0),
            payload: Cell::new(0),
            kept: RefCell::default(),
            changed: Notify::new(),
        };
        let address = SocketAddr::from(([127, 0, 0, 1], crate::support::free_port()?));
        let peer = Self { address, state: Rc::new(state), listening: RefCell::default() };
        peer.come_back()?;
        Ok(peer)
    }

    pub(crate) fn port(&self) -> u16 {
        self.address.port()
    }

    /// Messages ever received.
    pub(crate) fn received(&self) -> u64 {
        self.state.received.get()
    }

    /// Bytes of payloads ever received, as they were on the wire.
    pub(crate) fn payload(&self) -> u64 {
        self.state.payload.get()
    }

    /// Keeps what comes from now on, for [`Self::kept`].
    pub(crate) fn keep(&self) {
        self.state.kept.replace(Some(Vec::new()));
    }

    /// What was kept, and no more is.
    pub(crate) fn kept(&self) -> Vec<Raw> {
        self.state.kept.take().unwrap_or_default()
    }

    /// Waits until so many connections are open.
    pub(crate) async fn wait_open(&self, count: usize) -> Result<()> {
        self.state.wait(|| self.state.open.borrow().len() >= count).await
    }

    /// Waits until so many messages have ever been received.
    pub(crate) async fn wait_received(&self, count: u64) -> Result<()> {
        self.state.wait(|| self.received() >= count).await
    }

    /// Resets every connection and refuses new ones.
    pub(crate) fn go_away(&self) -> Result<()> {
        if let Some(listening) = self.listening.take() {
            listening.abort();
        }
        for conn in self.state.open.take() {
            conn.wire.reset_on_drop()?;
        }
        self.state.serving.take().iter().for_each(AbortHandle::abort);
        Ok(())
    }

    /// Listens, again where it did before.
    pub(crate) fn come_back(&self) -> Result<()> {
        let socket = TcpSocket::new_v4()?;
        socket.set_reuseaddr(true)?;
        socket.bind(self.address)?;
        let listener = socket.listen(BACKLOG)?;
        let task = spawn_local(accept(listener, Rc::clone(&self.state)));
        self.listening.replace(Some(task.abort_handle()));
        Ok(())
    }

    /// Sends `count` messages on every connection, and waits until all have been taken.
    pub(crate) async fn flood(&self, message: &[u8], count: usize) -> Result<()> {
        let conns = self.state.open.borrow().clone();
        self.flood_these(&conns, message, count).await
    }

    /// The same on one connection: the first that was opened is 0.
    pub(crate) async fn flood_one(&self, conn: usize, message: &[u8], count: usize) -> Result<()> {
        let conn = self.state.open.borrow().get(conn).cloned().ok_or("no such connection")?;
        self.flood_these(&[conn], message, count).await
    }

    async fn flood_these(&self, conns: &[Rc<Conn>], message: &[u8], count: usize) -> Result<()> {
        let before: Vec<u64> = conns.iter().map(|conn| conn.pongs.get()).collect();
        let a_chunk = (CHUNK / message.len()).clamp(1, count);
        let chunk: Rc<[u8]> = message.repeat(a_chunk).into();
        let writers: Vec<_> = conns
            .iter()
            .map(|conn| spawn_local(pour(Rc::clone(conn), Rc::clone(&chunk), message.len() * count)))
            .collect();
        for writer in writers {
            writer.await??;
        }
        self.state.wait(|| conns.iter().zip(&before).all(|(conn, before)| conn.pongs.get() > *before)).await
    }

    /// Sends these bytes on every connection, without waiting for anything.
    pub(crate) async fn send(&self, bytes: &[u8]) -> Result<()> {
        let conns = self.state.open.borrow().clone();
        for conn in conns {
            conn.wire.write(bytes).await?;
        }
        Ok(())
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        // It cannot fail for a reason that matters to one that ends.
        let _ = self.go_away();
    }
}

impl State {
    fn note(&self, head: Head, bytes: &[u8]) {
        self.payload.set(self.payload.get() + bytes.len() as u64);
        let mut kept = self.kept.borrow_mut();
        let Some(kept) = kept.as_mut() else { return };
        match kept.last_mut() {
            Some(begun) if head.opcode == CONTINUATION => begun.payload.extend_from_slice(bytes),
            _ => kept.push(Raw { is_compressed: head.is_compressed, payload: bytes.into() }),
        }
    }

    async fn wait(&self, done: impl Fn() -> bool) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let changed = self.changed.notified();
            if done() {
                return Ok(());
            }
            timeout_at(deadline, changed).await.map_err(|_| "the contestant took too long")?;
        }
    }
}

async fn accept(listener: TcpListener, state: Rc<State>) {
    while let Ok((stream, _)) = listener.accept().await {
        let task = spawn_local(serve(stream, Rc::clone(&state)));
        state.serving.borrow_mut().push(task.abort_handle());
    }
}

async fn serve(stream: TcpStream, state: Rc<State>) {
    let Ok(wire) = Wire::accept(stream).await else { return };
    let conn = Rc::new(Conn { wire, pongs: Cell::new(0) });
    state.open.borrow_mut().push(Rc::clone(&conn));
    state.changed.notify_waiters();
    // A connection ends when its contestant wants it, or is gone.
    let _ = converse(&conn, &state).await;
    state.open.borrow_mut().retain(|open| !Rc::ptr_eq(open, &conn));
}

async fn converse(conn: &Rc<Conn>, state: &State) -> io::Result<()> {
    let mut out = Vec::new();
    let mut is_over = false;
    while !is_over {
        let (mut messages, mut pongs) = (0, 0);
        conn.wire
            .read(|head, payload| match head.opcode {
                PING => frames::append(&mut out, PONG, true, payload, false),
                PONG => pongs += 1,
                CLOSE => {
                    frames::append(&mut out, CLOSE, true, payload, false);
                    is_over = true;
                }
                opcode => {
                    messages += u64::from(head.is_last);
                    state.note(head, payload);
                    if state.kind == Kind::Echo {
                        frames::append(&mut out, opcode, head.is_last, payload, false);
                    }
                }
            })
            .await?;
        conn.wire.write(&out).await?;
        out.clear();
        if out.capacity() > CHUNK {
            out.shrink_to(0);
        }
        state.received.set(state.received.get() + messages);
        conn.pongs.set(conn.pongs.get() + pongs);
        if pongs > 0 || state.kind == Kind::Sink {
            state.changed.notify_waiters();
        }
    }
    Ok(())
}

/// Writes the chunk again and again, so many bytes of it, and a ping behind.
async fn pour(conn: Rc<Conn>, chunk: Rc<[u8]>, mut bytes: usize) -> io::Result<()> {
    while bytes > 0 {
        let part = bytes.min(chunk.len());
        conn.wire.write(&chunk[..part]).await?;
        bytes -= part;
    }
    let mut ping = Vec::new();
    frames::append(&mut ping, PING, true, b"", false);
    conn.wire.write(&ping).await
}
