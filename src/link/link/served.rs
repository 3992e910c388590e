//! The stream under the WebSocket of a client of ours, from the server's side: whole messages are taken from it before the WebSocket sees
//! them, and messages are given to it past the WebSocket, compressed where that was agreed on.
//!
//! What a reader would get wrong: as under a link's own, the WebSocket is given one frame at a time, so that between two messages it
//! holds nothing. What it writes by itself are whole control frames, which wait for the end of a message that is being compressed.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_tungstenite::tungstenite::{
    Error,
    error::{CapacityError, ProtocolError},
};

use super::{
    arrival::breach_in,
    deflate::{COMPRESSED, Inflating},
    frames::Frames,
    pooled::PooledStream,
};
use crate::endpoint::compression::Compression;
use wskeeper_core::{
    body::Body,
    close,
    deflate::Agreement,
    frame::{CONTINUATION, FIN, Head, opcode},
    outbox::FRAGMENT_MAX,
    run::Run,
};

/// A byte stream whose large buffers are lent by the thread. What is written must be flushed.
#[derive(Debug)]
pub struct ServedStream<S> {
    pooled: PooledStream<Inflating<S>>,
    /// Of what was handed out.
    frames: Frames,
    /// What is left of messages that are being compressed. In a box: on most connections none are.
    rest: Option<Box<Rest>>,
}

/// Messages, the first of which has been compressed up to there.
#[derive(Debug)]
struct Rest {
    run: Run,
    at: usize,
}

impl<S> ServedStream<S> {
    /// Nothing is held until something is read or written.
    pub fn new(stream: S, compression: Option<(Compression, Agreement)>) -> Self {
        let stream = match compression {
            None => Inflating::plain(stream),
            Some(agreed) => Inflating::served(stream, agreed),
        };
        Self { pooled: PooledStream::new(stream), frames: Frames::default(), rest: None }
    }

    /// Bytes that have arrived and belong to what was taken or handed out; of compressed messages, those that they consist of.
    pub fn taken(&self) -> u64 {
        self.pooled.read() - self.pooled.ahead().len() as u64
    }

    /// Bytes that have arrived, as `taken` counts them, and those that are held to inflate more.
    pub fn arrived(&self) -> u64 {
        self.pooled.read() + self.pooled.below().held()
    }

    /// Nothing is inflated any more: what comes is of no use.
    pub fn look_away(&mut self) {
        self.pooled.stream().look_away();
    }

    /// What lies below.
    pub fn below(&mut self) -> &mut S {
        self.pooled.stream().below()
    }
}

impl<S: AsyncRead + Unpin> ServedStream<S> {
    /// Whole messages that are there by now, in one frame each and at most `max` bytes long; `None`: something for the WebSocket, also a
    /// message that will leave in several frames.
    pub fn poll_messages(&mut self, cx: &mut Context<'_>, max: usize) -> Poll<io::Result<Option<Body>>> {
        if self.frames.is_between_messages() {
            self.pooled.poll_unmasked(cx, max.min(FRAGMENT_MAX))
        } else {
            Poll::Ready(Ok(None))
        }
    }
}

impl<S: AsyncWrite + Unpin> ServedStream<S> {
    /// Whether messages may be given. Where it is not ready, a flush makes room.
    pub fn poll_room(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            ready!(self.pooled.poll_room(cx))?;
            if self.rest.is_none() {
                return Poll::Ready(Ok(()));
            }
            ready!(self.pooled.poll_way(cx))?;
            self.rest = self.rest.take().and_then(|mut rest| self.give_part(&mut rest).then_some(rest));
        }
    }

    /// Takes messages, after `poll_room`, to be written with the next flush.
    pub fn give(&mut self, run: &Run) {
        if self.pooled.stream().compressing().is_none() {
            self.pooled.give(run.frames());
        } else {
            self.rest = Some(Box::new(Rest { run: run.clone(), at: 0 }));
        }
    }

    /// Gives the next fragment of the first message, or all of it where it is not compressed: whether anything is left.
    fn give_part(&mut self, Rest { run, at }: &mut Rest) -> bool {
        let Some(compressing) = self.pooled.stream().compressing() else { return false };
        let Some((kind, message)) = run.messages().next() else { return false };
        let end = message.len().min(*at + FRAGMENT_MAX);
        let fin = if end == message.len() { FIN } else { 0 };
        let compressed = match *at {
            0 => compressing.first(message, end),
            at => Some(compressing.next(message, at..end)),
        };
        let is_whole = fin != 0 || compressed.is_none();
        match compressed {
            Some(compressed) if *at == 0 => self.pooled.put_plain(fin | COMPRESSED | opcode(kind), &compressed),
            Some(compressed) => self.pooled.put_plain(fin | CONTINUATION, &compressed),
            None => {
                self.pooled.gather(Head::new(FIN | opcode(kind), message.len(), None).bytes());
                self.pooled.give(run.payload(0).bytes().clone());
            }
        }
        *at = if is_whole { 0 } else { end };
        let has_more = run.count() > 1;
        if is_whole && has_more {
            let _ = run.split_to(1);
        }
        !is_whole || has_more
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for ServedStream<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let Self { pooled, frames, .. } = &mut *self;
        ready!(pooled.poll_fill(cx))?;
        let before = buffer.filled().len();
        pooled.serve(frames.next_part(), buffer);
        frames.follow(&buffer.filled()[before..], &mut ());
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for ServedStream<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if self.rest.is_some() {
            ready!(self.poll_room(cx))?;
        }
        Pin::new(&mut self.pooled).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_room(cx))?;
        Pin::new(&mut self.pooled).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.pooled).poll_shutdown(cx)
    }
}

/// What a Close frame says to a client whose WebSocket has failed by this: a code and a reason. `None`: it has gone.
pub fn violation_in(error: &Error) -> Option<(u16, String)> {
    match error {
        // RFC 6455 §5.2: the first bit of 64 is none of the length's.
        Error::Capacity(CapacityError::MessageTooLong { size, .. }) if isize::try_from(*size).is_err() => {
            Some((close::PROTOCOL_ERROR, "the length of a frame has its first bit set".into()))
        }
        Error::Capacity(_) => Some((close::TOO_BIG, "the message is too large".into())),
        Error::Utf8(_) => Some((close::INVALID_DATA, "text must be UTF-8".into())),
        Error::Protocol(fault) if *fault != ProtocolError::ResetWithoutClosingHandshake => {
            Some((close::PROTOCOL_ERROR, fault.to_string()))
        }
        Error::Io(error) => breach_in(error).map(|breach| (breach.code(), breach.to_string())),
        Error::Protocol(_)
        | Error::ConnectionClosed
        | Error::AlreadyClosed
        | Error::Tls(_)
        | Error::WriteBufferFull(_)
        | Error::AttackAttempt
        | Error::Url(_)
        | Error::Http(_)
        | Error::HttpFormat(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::VecDeque, future::Future as _, pin::pin};

    use futures_util::{Stream as _, task::noop_waker_ref};
    use proptest::prelude::*;
    use tokio_tungstenite::{
        WebSocketStream,
        tungstenite::{
            Message,
            protocol::{Role, WebSocketConfig},
        },
    };

    use super::*;
    use wskeeper_core::{
        frame::{Head, mask},
        message::Payload,
    };

    const MAX: usize = 40_000;

    /// Gives these, one a read, with a pause before each, and then its end. What is written is forgotten.
    #[derive(Debug)]
    struct Pieces(VecDeque<Vec<u8>>, bool);

    impl AsyncRead for Pieces {
        fn poll_read(mut self: Pin<&mut Self>, _: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
            self.1 = !self.1 && !self.0.is_empty();
            if self.1 {
                return Poll::Pending;
            }
            if let Some(piece) = self.0.front_mut() {
                let part: Vec<u8> = piece.drain(..piece.len().min(buffer.remaining())).collect();
                buffer.put_slice(&part);
                if piece.is_empty() {
                    self.0.pop_front();
                }
            }
            Poll::Ready(Ok(()))
        }
    }

    impl AsyncWrite for Pieces {
        fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
            Poll::Ready(Ok(bytes.len()))
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    fn websocket<S: AsyncRead + AsyncWrite + Unpin>(stream: S) -> WebSocketStream<S> {
        let config = WebSocketConfig::default().max_message_size(Some(MAX)).max_frame_size(Some(MAX));
        let mut made = pin!(WebSocketStream::from_raw_socket(stream, Role::Server, Some(config)));
        match made.as_mut().poll(&mut Context::from_waker(noop_waker_ref())) {
            Poll::Ready(websocket) => websocket,
            Poll::Pending => panic!("there is nothing to wait for"),
        }
    }

    /// What the WebSocket has read, and whether more may come. A message is told as a frame, however it came.
    fn told<S: AsyncRead + AsyncWrite + Unpin>(websocket: &mut WebSocketStream<S>) -> Option<(String, bool)> {
        let mut cx = Context::from_waker(noop_waker_ref());
        let Poll::Ready(read) = Pin::new(websocket).poll_next(&mut cx) else { return None };
        let is_last =
            !matches!(read, Some(Ok(Message::Text(_) | Message::Binary(_) | Message::Ping(_) | Message::Pong(_))));
        let told = match read {
            Some(Ok(Message::Text(text))) => format!("{:?}", Payload::checked_text(text)),
            Some(Ok(Message::Binary(bytes))) => format!("{:?}", Payload::binary(bytes)),
            other => format!("{other:?}"),
        };
        Some((told, is_last))
    }

    fn oracle(pieces: VecDeque<Vec<u8>>) -> Vec<String> {
        let (mut websocket, mut all) = (websocket(Pieces(pieces, false)), Vec::new());
        loop {
            let Some((told, is_last)) = told(&mut websocket) else { continue };
            all.push(told);
            if is_last {
                return all;
            }
        }
    }

    fn ours(pieces: VecDeque<Vec<u8>>) -> Vec<String> {
        let mut cx = Context::from_waker(noop_waker_ref());
        let (mut websocket, mut all) = (websocket(ServedStream::new(Pieces(pieces, false), None)), Vec::new());
        loop {
            match websocket.get_mut().poll_messages(&mut cx, MAX) {
                Poll::Ready(Ok(Some(body))) => {
                    assert!(body.longest() <= FRAGMENT_MAX);
                    all.extend(body.payloads().map(|payload| format!("{payload:?}")));
                }
                Poll::Ready(Ok(None)) => {
                    let Some((told, is_last)) = told(&mut websocket) else { continue };
                    all.push(told);
                    if is_last {
                        return all;
                    }
                }
                Poll::Ready(Err(error)) => panic!("{error}"),
                Poll::Pending => {}
            }
        }
    }

    /// A frame of a client, or nearly.
    fn frame(first: u8, payload: &[u8], key: Option<[u8; 4]>) -> Vec<u8> {
        let mut frame = Head::new(first, payload.len(), key).bytes().to_vec();
        let start = frame.len();
        frame.extend_from_slice(payload);
        mask(&mut frame[start..], key.unwrap_or_default());
        frame
    }

    fn said() -> impl Strategy<Value = Vec<u8>> {
        let payload = || {
            prop_oneof![
                8 => prop::collection::vec(b' '..=b'~', 0..40),
                2 => "\\PC{0,60}".prop_map(String::into_bytes),
                1 => prop::sample::select(vec![125, 126, 9_000, FRAGMENT_MAX, FRAGMENT_MAX + 1, MAX])
                    .prop_map(|len| vec![b'x'; len]),
            ]
        };
        let key = || any::<[u8; 4]>();
        let message = move || {
            (prop::sample::select(vec![0x81, 0x82]), payload(), key())
                .prop_map(|(first, payload, key)| frame(first, &payload, Some(key)))
        };
        let control = (prop::sample::select(vec![0x89, 0x8A]), prop::collection::vec(any::<u8>(), 0..9), key())
            .prop_map(|(first, payload, key)| frame(first, &payload, Some(key)));
        let fragments = (payload(), payload(), key()).prop_map(|(one, other, key)| {
            [frame(0x02, &one, Some(key)), frame(0x89, b"!", Some(key)), frame(0x80, &other, Some(key))].concat()
        });
        let odd = prop_oneof![
            prop::collection::vec(any::<u8>(), 1..20).prop_map(|bytes| frame(0x81, &bytes, Some([1, 2, 3, 4]))),
            (any::<u8>(), payload(), key()).prop_map(|(first, payload, key)| frame(first, &payload, Some(key))),
            payload().prop_map(|payload| frame(0x81, &payload, None)),
            Just(frame(0x82, &vec![7; MAX + 1], Some([9; 4]))),
            Just(frame(0x88, &1000_u16.to_be_bytes(), Some([9; 4]))),
            prop::collection::vec(any::<u8>(), 0..20),
        ];
        prop_oneof![16 => message(), 3 => control, 2 => fragments, 1 => odd]
    }

    proptest! {
        #[test]
        fn what_a_client_says_is_what_tungstenite_alone_makes_of_it(
            said in prop::collection::vec(said(), 0..30),
            cuts in prop::collection::vec(prop_oneof![3 => 1_usize..40, 2 => 40_usize..5_000, 1 => Just(200_000)], 1..6),
        ) {
            let bytes = said.concat();
            let (mut pieces, mut rest) = (VecDeque::new(), &bytes[..]);
            let least = bytes.len() / 1_000 + 1;
            for cut in cuts.iter().cycle() {
                if rest.is_empty() {
                    break;
                }
                let (piece, behind) = rest.split_at(rest.len().min(least.max(*cut)));
                pieces.push_back(piece.to_vec());
                rest = behind;
            }
            prop_assert_eq!(ours(pieces.clone()), oracle(pieces));
        }
    }
}
