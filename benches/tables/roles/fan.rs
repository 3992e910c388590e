//! The cost of the `write` itself: what comes from the peer is written to every caller, by plain system calls.
//!
//! No runtime, no WebSocket library: a read from the peer, and for each caller one `write` of the same bytes.

use std::{
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    sync::Arc,
};

use parking_lot::Mutex;

use super::super::wire;
use crate::support::Result;

/// Bytes read from the peer at once.
const BUFFER: usize = 64 << 10;

pub(super) fn run(port: u16, peer: u16) -> Result<()> {
    let callers = Arc::new(Mutex::new(Vec::new()));
    let listener = TcpListener::bind(("127.0.0.1", port))?;
    let mut far = TcpStream::connect(("127.0.0.1", peer))?;
    far.write_all(
        b"GET / HTTP/1.1\r\nHost: peer\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
          Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
    )?;
    read_head(&mut far)?;
    let joined = Arc::clone(&callers);
    std::thread::spawn(move || {
        for mut near in listener.incoming().flatten() {
            let upgraded = read_head(&mut near)
                .and_then(|head| near.write_all(wire::answer(&head)?.as_bytes()))
                .and_then(|()| near.set_nodelay(true));
            if upgraded.is_ok() {
                joined.lock().push(near);
            }
        }
    });
    let mut buffer = vec![0; BUFFER];
    loop {
        let read = far.read(&mut buffer)?;
        if read == 0 {
            return Ok(());
        }
        for near in &mut *callers.lock() {
            near.write_all(&buffer[..read])?;
        }
    }
}

/// Nobody sends a frame before the whole head was answered, so nothing behind it is lost.
fn read_head(stream: &mut TcpStream) -> std::io::Result<String> {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte)?;
        head.push(byte[0]);
    }
    Ok(String::from_utf8_lossy(&head).into_owned())
}
