//! One TCP stream after its upgrade, read and written without a buffer of its own.
//!
//! All streams of the harness live on one thread and lend its scratch while they read; ten thousand of them cost little, and a
//! busy one reads 256 KiB at once.

use std::{cell::RefCell, io};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use super::frames::{self, Head};
use wskeeper_core::deflate::{MOST_BITS, Proposal, Takeover};

const SCRATCH: usize = 256 << 10;
const HEAD_MAX: usize = 8 << 10;

thread_local! {
    static SCRATCH_OF_THREAD: RefCell<Vec<u8>> = RefCell::new(vec![0; SCRATCH]);
}

/// A stream and what of it was read but is no whole frame yet.
#[derive(Debug)]
pub(crate) struct Wire {
    stream: TcpStream,
    left: RefCell<Vec<u8>>,
}

impl Wire {
    /// Asks for an upgrade, and for this subprotocol.
    pub(crate) async fn connect(port: u16, path: &str, subprotocol: Option<&str>) -> io::Result<Self> {
        let subprotocol = subprotocol.map(|name| format!("Sec-WebSocket-Protocol: {name}\r\n")).unwrap_or_default();
        let mut stream = TcpStream::connect(("127.0.0.1", port)).await?;
        stream.set_nodelay(true)?;
        let request = format!(
            "GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{subprotocol}\r\n"
        );
        stream.write_all(request.as_bytes()).await?;
        let (head, left) = read_head(&mut stream).await?;
        if !head.starts_with("HTTP/1.1 101") {
            return Err(io::Error::other(format!("no upgrade: {head}")));
        }
        Ok(Self { stream, left: left.into() })
    }

    /// Answers a request for an upgrade.
    pub(crate) async fn accept(mut stream: TcpStream) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        let (head, left) = read_head(&mut stream).await?;
        stream.write_all(answer(&head)?.as_bytes()).await?;
        Ok(Self { stream, left: left.into() })
    }

    /// Waits for bytes, and calls `take` for each frame that they make whole.
    pub(crate) async fn read(&self, mut take: impl FnMut(Head, &[u8])) -> io::Result<()> {
        loop {
            self.stream.readable().await?;
            let read: io::Result<usize> = SCRATCH_OF_THREAD.with_borrow_mut(|scratch| {
                let mut left = self.left.borrow_mut();
                let kept = left.len();
                if scratch.len() < kept + SCRATCH {
                    scratch.resize(kept + SCRATCH, 0);
                }
                let read = self.stream.try_read(&mut scratch[kept..])?;
                scratch[..kept].copy_from_slice(&left);
                let used = frames::each(&mut scratch[..kept + read], &mut take);
                left.clear();
                left.extend_from_slice(&scratch[used..kept + read]);
                if left.is_empty() {
                    left.shrink_to(0);
                }
                Ok(read)
            });
            match read {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(_) => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Writes all of it.
    pub(crate) async fn write(&self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            match self.stream.try_write(bytes) {
                Ok(written) => bytes = &bytes[written..],
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.stream.writable().await?,
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Lets the coming drop reset the connection, as a machine does that went away.
    pub(crate) fn reset_on_drop(&self) -> io::Result<()> {
        self.stream.set_zero_linger()
    }
}

/// What the harness agrees to where permessage-deflate is offered: whatever is asked for.
const AGREES: Proposal = Proposal { context: Takeover::Both, window_bits: MOST_BITS };

/// The answer to a request for an upgrade.
pub(crate) fn answer(request: &str) -> io::Result<String> {
    let values = |wanted: &'static str| {
        let fields = request.lines().filter_map(|line| line.split_once(':'));
        fields.filter(|(name, _)| name.eq_ignore_ascii_case(wanted)).map(|(_, value)| value.trim())
    };
    let key = values("sec-websocket-key").next().ok_or_else(|| io::Error::other("not a request for an upgrade"))?;
    let accept = derive_accept_key(key.as_bytes());
    let agreed = AGREES.answer(values("sec-websocket-extensions").map(str::as_bytes));
    let agreed = agreed.map(|agreed| format!("Sec-WebSocket-Extensions: {agreed}\r\n")).unwrap_or_default();
    Ok(format!(
        "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Accept: {accept}\r\n{agreed}\r\n"
    ))
}

/// Reads up to the empty line; the rest belongs to the frames.
pub(crate) async fn read_head(stream: &mut (impl AsyncReadExt + Unpin)) -> io::Result<(String, Vec<u8>)> {
    let mut bytes = Vec::with_capacity(1 << 10);
    loop {
        if stream.read_buf(&mut bytes).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            let rest = bytes.split_off(end + 4);
            return Ok((String::from_utf8_lossy(&bytes).into_owned(), rest));
        }
        if bytes.len() > HEAD_MAX {
            return Err(io::Error::other("no end of the head"));
        }
    }
}
