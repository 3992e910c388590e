//! The answer to an upgrade: whatever it is, it is judged in the same way however it comes in pieces, and no fault shows what is secret.

use std::{
    pin::Pin,
    task::{Context, Poll},
    time::{Duration, SystemTime},
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    runtime::{Builder, Runtime},
};
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use super::{Input, Script, cut};
use crate::{
    clock::Calendar,
    endpoint::{FieldName, Secret, url::Target},
    link::{
        memory::Jar,
        upgrade::{Agreed, MayFollow, Wish, upgrade as ask},
    },
};
use wskeeper_core::deflate::{Proposal, Takeover};

/// What nobody is to see, though a server says it.
const SECRET: &str = "Bearer-s3cret-0123456789";
/// What stands for the answer to our key in an input.
const ACCEPT: &[u8] = b"\x01";
const PATIENCE: Duration = Duration::from_millis(1);
/// A longer head is refused as soon as so much of it is there, which depends on how it comes.
const HEAD_MAX: usize = 15 << 10;

/// The first byte says what is offered, the second how the answer comes in pieces.
pub fn upgrade(data: &[u8]) {
    thread_local! {
        static RUNTIME: Runtime = Builder::new_current_thread().enable_time().build().unwrap();
    }
    let mut input = Input(data);
    let (offer, cuts) = (input.byte(), input.byte());
    let answer = &input.0[..input.0.len().min(HEAD_MAX)];
    RUNTIME.with(|runtime| {
        let (whole, cut) =
            runtime.block_on(async { (outcome(offer, answer, 0).await, outcome(offer, answer, cuts).await) });
        assert_eq!(whole, cut, "it depends on how it comes");
    });
}

/// What is agreed on, or why nothing is.
async fn outcome(offer: u8, answer: &[u8], cuts: u8) -> String {
    let target = Target::parse("ws://feed.example/v2?token=ab").unwrap();
    let offered = [Secret::new("chat.v1"), Secret::new(SECRET)];
    let protocols = &offered[..usize::from(offer & 3).min(2)];
    let header = [("X-Token".parse::<FieldName>().unwrap(), Secret::new(SECRET))];
    let jar = Jar::default();
    let compression = (offer & 4 != 0).then_some(Proposal {
        context: [Takeover::Neither, Takeover::Peer, Takeover::Both][usize::from(offer >> 6).min(2)],
        window_bits: if offer & 8 == 0 { 15 } else { 10 },
    });
    let wish = Wish {
        target: &target,
        headers: &header,
        open: &(Vec::new(), vec![true, false]),
        authorization: None,
        jar: Some(&jar),
        protocols,
        protocols_optional: offer & 16 != 0,
        compression,
        retry_after_max: Duration::from_hours(1),
        next: MayFollow { redirects: offer & 32 != 0, answers: offer & 32 != 0 },
        patience: PATIENCE,
        calendar: Calendar::new(|| SystemTime::UNIX_EPOCH),
    };
    let server = Server { script: Script::default(), answer: Some(answer.to_vec()), answered: Vec::new(), cuts };
    match ask(server, &wish).await {
        Ok(Agreed { stream, early, chosen }) => {
            let said = stream.answered;
            let rest: Vec<u8> = stream.script.pieces.into_iter().flatten().collect();
            let early = [early, rest].concat();
            assert!(said.ends_with(&early), "what came behind the head is what was read of the stream");
            let head = String::from_utf8_lossy(&said[..said.len() - early.len()]).to_ascii_lowercase();
            let wanted = ["http/1.1 101", "websocket", "upgrade", "sec-websocket-accept", "\n"];
            assert!(wanted.iter().all(|part| head.contains(part)), "{head}");
            assert!(chosen.protocol.is_none_or(|place| place < protocols.len()));
            assert!(chosen.protocol.is_some() || protocols.is_empty() || wish.protocols_optional);
            assert!(chosen.compression.is_none() || compression.is_some());
            format!("{chosen:?}")
        }
        Err(fault) => {
            let told = format!("{fault} {fault:?}");
            assert!(!told.contains(SECRET), "{told}");
            told
        }
    }
}

/// Answers the key of the request.
#[derive(Debug)]
struct Server {
    script: Script,
    /// What it says, with this in the place of [`ACCEPT`] once it has the request.
    answer: Option<Vec<u8>>,
    answered: Vec<u8>,
    cuts: u8,
}

impl AsyncRead for Server {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        if let Some(answer) = self.answer.take() {
            let request = String::from_utf8(self.script.written.clone()).unwrap();
            let key =
                request.split("Sec-WebSocket-Key: ").nth(1).and_then(|rest| rest.lines().next()).unwrap_or_default();
            // A refusal may show it, and the key is another one each time.
            let is_accepted = answer.starts_with(b"HTTP/1.1 101");
            let accept = if is_accepted { derive_accept_key(key.as_bytes()) } else { "a key".to_owned() };
            let parts: Vec<&[u8]> = answer.splitn(2, |byte| ACCEPT.contains(byte)).collect();
            self.answered = parts.join(accept.as_bytes());
            self.script.pieces = cut(&self.answered, self.cuts);
        }
        Pin::new(&mut self.script).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Server {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.script).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.script).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.script).poll_shutdown(cx)
    }
}
