//! A peer written in the test, byte by byte: for what no honest server sends.

use futures_util::{SinkExt, StreamExt};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

/// A listening socket.
pub struct Raw {
    listener: TcpListener,
    /// Where.
    pub port: u16,
}

impl Raw {
    /// Listens on a free port.
    pub async fn listen() -> Self {
        Self::listen_at(0).await
    }

    /// Listens on this port.
    pub async fn listen_at(port: u16) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", port)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        Self { listener, port }
    }

    /// The next connection, with its upgrade request read.
    pub async fn accept(&self) -> (TcpStream, String) {
        let accepted = tokio::time::timeout(super::PATIENCE, self.listener.accept()).await.expect("a dial in time");
        let mut stream = accepted.unwrap().0;
        let request = request(&mut stream).await;
        (stream, request)
    }

    /// The next connection, upgraded; then whatever `bytes` are.
    pub async fn accept_and_send(&self, bytes: &[u8]) -> TcpStream {
        let (mut stream, request) = self.accept().await;
        Self::upgrade(&mut stream, &request).await.unwrap();
        // The client may hang up in the middle of it.
        let _sent = stream.write_all(bytes).await;
        stream
    }

    /// Answers the upgrade request.
    pub async fn upgrade(stream: &mut TcpStream, request: &str) -> std::io::Result<()> {
        Self::upgrade_with(stream, request, "").await
    }

    /// The same with further header lines, each with its end.
    pub async fn upgrade_with(stream: &mut TcpStream, request: &str, lines: &str) -> std::io::Result<()> {
        let key = header(request, "sec-websocket-key");
        let accept = derive_accept_key(key.as_bytes());
        let answer = format!(
            "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: {accept}\r\n{lines}\r\n"
        );
        stream.write_all(answer.as_bytes()).await
    }
}

/// The head of a request, as far as it comes.
pub async fn request(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(_) => break,
        }
    }
    String::from_utf8_lossy(&head).into_owned()
}

/// The code of the Close frame that the client sends; `None` where it sends none before the end.
pub async fn close_code(stream: &mut TcpStream) -> Option<u16> {
    loop {
        let (first, body) = read_frame(stream).await?;
        if first & 0x0f == 8 {
            return body.first_chunk().map(|code| u16::from_be_bytes(*code));
        }
    }
}

/// The next frame that the client sends: its first byte and its body, unmasked; `None` at the end.
pub async fn read_frame(stream: &mut TcpStream) -> Option<(u8, Vec<u8>)> {
    let (first, second) = (stream.read_u8().await.ok()?, stream.read_u8().await.ok()?);
    let length = match second & 0x7f {
        126 => u64::from(stream.read_u16().await.ok()?),
        127 => stream.read_u64().await.ok()?,
        short => u64::from(short),
    };
    assert_eq!(second & 0x80, 0x80, "a client masks every frame (RFC 6455 §5.3)");
    let mut mask = [0; 4];
    stream.read_exact(&mut mask).await.ok()?;
    let mut body = vec![0; usize::try_from(length).unwrap()];
    stream.read_exact(&mut body).await.ok()?;
    Some((first, body.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask).collect()))
}

/// The head of a frame from a server.
pub fn head(opcode: u8, length: u64) -> Vec<u8> {
    let mut bytes = vec![0x80 | opcode];
    match length {
        0..=125 => bytes.push(u8::try_from(length).unwrap()),
        126..=65535 => {
            bytes.push(126);
            bytes.extend(u16::try_from(length).unwrap().to_be_bytes());
        }
        _ => {
            bytes.push(127);
            bytes.extend(length.to_be_bytes());
        }
    }
    bytes
}

/// A header of a request, or the empty string.
pub fn header(request: &str, name: &str) -> String {
    let lines = request.lines().filter_map(|line| line.split_once(':'));
    lines
        .into_iter()
        .find(|(key, _)| key.eq_ignore_ascii_case(name))
        .map_or_else(String::new, |(_, value)| value.trim().to_owned())
}

/// The port of an echo peer that keeps every rule, for as long as the test's runtime lives.
pub async fn honest() -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let Ok(mut socket) = tokio_tungstenite::accept_async(stream).await else { return };
                while let Some(Ok(message)) = socket.next().await {
                    let is_data = message.is_text() || message.is_binary();
                    if is_data && socket.send(message).await.is_err() {
                        return;
                    }
                }
            });
        }
    });
    port
}
