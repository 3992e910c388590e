//! One WebSocket over any byte stream, as the driver needs it: never split, counted on both sides, every error classed.
//!
//! tungstenite answers pings and Closes by itself, but its answers leave only with a later read, write or flush; so what
//! arrived may owe a flush. It sends no Close when the peer breaks the protocol: the link does, and then the rest of the
//! stream is read raw and thrown away, because nothing after a violation may be processed (RFC 6455 §7.1.7).

use std::{
    pin::{Pin, pin},
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use futures_util::{FutureExt as _, Sink, Stream};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{
        Error, Message,
        error::ProtocolError,
        protocol::{
            CloseFrame as WireClose, Role, WebSocketConfig,
            frame::{
                Frame as WireFrame,
                coding::{Data, OpCode},
            },
        },
    },
};

use super::{
    Wire,
    arrival::{Answer, Arrival},
    errands::Errands,
    faulty::Faulty,
    leaving::Left,
    metered::Metered,
    pooled::Found,
    tls,
};
use wskeeper_core::{
    budget::Lease,
    chaos::Fault,
    close::{BAD_GATEWAY, CloseFrame},
    link::Frame,
    message::Kind,
    outbox,
};

/// tungstenite's read buffer: enough for a pong, for whole messages do not reach it.
const READ_BUFFER: usize = 64;
/// Where messages come in fragments. Not below 1 KiB: `BytesMut` remembers no smaller size when it has to begin a new one, and
/// then each message costs some allocations.
const FRAGMENTS_BUFFER: usize = 1 << 10;
/// What has arrived of a message counts in the process's budget from here on.
const SMALL: u64 = 16 << 10;
/// Reads of one turn whose bytes are thrown away.
const DISCARD_READS: usize = 2;
/// What may pile up in tungstenite: one frame, and its own answers. Below it frames gather until a flush.
const WRITE_BUFFER: usize = outbox::FRAGMENT_MAX + (4 << 10);

/// An open WebSocket.
#[derive(Debug)]
#[allow(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
pub(super) struct Socket<S> {
    ws: WebSocketStream<Metered<S>>,
    heard_until: u64,
    moved_until: u64,
    /// Frames of ours are below us and not known to have left.
    unflushed: bool,
    /// What is left of a message that leaves in fragments.
    rest: Option<Bytes>,
    /// An answer of tungstenite's may be waiting.
    owes_answer: bool,
    /// A write failed: reading goes on, because the peer's Close may still be there.
    broken: Option<Box<str>>,
    /// The peer broke the protocol: what comes is thrown away.
    discarding: bool,
    /// The peer has sent its Close.
    heard_close: bool,
    /// A Close has been sent, or is about to be, so none is sent in answer.
    said_close: bool,
    /// The answer that may be waiting, while somebody looks at frames.
    noted: Option<Box<Answer>>,
    /// Up to here what has been read belongs to frames that are done with.
    whole_until: u64,
    /// The share of the process's memory that a message has which is not whole, where that is much.
    arriving: Option<Box<Lease>>,
    /// What is done outside for the session of this connection; it ends with it.
    pub(super) errands: Errands,
}

impl<S: Wire> Socket<S> {
    /// Takes over `stream` after the upgrade; `early` are bytes that came with the 101.
    pub(super) fn open(stream: S, early: &[u8], max_inbound: usize) -> Box<Self> {
        let config = WebSocketConfig::default()
            .read_buffer_size(READ_BUFFER)
            .write_buffer_size(0)
            .max_write_buffer_size(WRITE_BUFFER)
            .max_message_size(Some(max_inbound))
            .max_frame_size(Some(max_inbound));
        let metered = Metered::new(stream, early);
        let ws = at_once(WebSocketStream::from_raw_socket(metered, Role::Client, Some(config)));
        Box::new(Self {
            ws,
            heard_until: 0,
            moved_until: 0,
            unflushed: false,
            rest: None,
            owes_answer: false,
            broken: None,
            discarding: false,
            heard_close: false,
            said_close: false,
            noted: None,
            whole_until: 0,
            arriving: None,
            errands: Errands::default(),
        })
    }

    /// Whether bytes have arrived since this was last asked.
    pub(super) fn heard(&mut self) -> bool {
        let read = self.ws.get_ref().read();
        std::mem::replace(&mut self.heard_until, read) != read
    }

    /// Whether nothing is left of what was there at the last read. Whoever reads is woken when there is more.
    pub(super) fn is_drained(&self) -> bool {
        self.ws.get_ref().is_drained()
    }

    /// Whether the stream has taken bytes since this was last asked.
    pub(super) fn moved(&mut self) -> bool {
        let written = self.ws.get_ref().written();
        std::mem::replace(&mut self.moved_until, written) != written
    }

    /// What of our frames has left since this was last asked.
    pub(super) fn left(&mut self) -> Left {
        self.ws.get_mut().left()
    }

    /// Application bytes that have left of the next message that will have left whole.
    pub(super) fn part(&mut self) -> usize {
        self.ws.get_mut().part()
    }

    /// Messages that have begun to leave, and have not left whole.
    pub(super) fn begun(&mut self) -> usize {
        self.ws.get_mut().begun()
    }

    /// Why writing failed, once it has.
    pub(super) fn broken(&self) -> Option<&str> {
        self.broken.as_deref()
    }

    /// Whether there is room for a frame. A message that leaves in fragments goes on leaving by it.
    pub(super) fn poll_room(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        while self.broken.is_none() {
            // What is given to a transport that takes nothing could neither expire nor make room any more.
            let ready = if self.ws.get_ref().is_blocked() {
                Pin::new(&mut self.ws).poll_flush(cx)
            } else {
                Pin::new(&mut self.ws).poll_ready(cx)
            };
            match ready!(ready) {
                Ok(()) => match self.rest.take() {
                    Some(rest) => self.give_fragment(Data::Continue, rest),
                    None => return Poll::Ready(()),
                },
                Err(error) => self.break_off(&error),
            }
        }
        Poll::Pending
    }

    /// Gives a frame to the transport, after `poll_room`.
    pub(super) fn give(&mut self, frame: Frame) {
        self.unflushed = true;
        self.said_close |= matches!(frame, Frame::Close(_));
        match frame {
            Frame::Data(payload) | Frame::Session(payload) => {
                let code = match payload.kind() {
                    Kind::Text => Data::Text,
                    Kind::Binary => Data::Binary,
                };
                self.give_fragment(code, payload.bytes().clone());
            }
            Frame::Ping(payload) => self.start(Message::Ping(payload)),
            Frame::Close(frame) => self.start(Message::Close(frame.as_ref().map(wire_close))),
        }
    }

    /// A raw frame: the text was found to be UTF-8 when it was accepted.
    fn give_fragment(&mut self, code: Data, mut bytes: Bytes) {
        let fragment = bytes.split_to(bytes.len().min(outbox::FRAGMENT_MAX));
        let last = bytes.is_empty();
        self.rest = (!last).then_some(bytes);
        self.start(Message::Frame(WireFrame::message(fragment, OpCode::Data(code), last)));
    }

    fn start(&mut self, message: Message) {
        let is_data = matches!(message, Message::Frame(_));
        match Pin::new(&mut self.ws).start_send(message) {
            Ok(()) => {}
            // The peer's Close came first: tungstenite's answer to it stands for ours. A message it cut short has not left.
            Err(Error::Protocol(ProtocolError::SendAfterClosing)) if !is_data => self.owes_answer = true,
            Err(error) => self.break_off(&error),
        }
    }

    /// Pushes everything to the kernel. Ready with `true` when frames of ours have left by it.
    pub(super) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<bool> {
        if self.broken.is_some() || !(self.unflushed || self.owes_answer) {
            return Poll::Ready(false);
        }
        if self.rest.is_some() {
            ready!(self.poll_room(cx));
        }
        match ready!(Pin::new(&mut self.ws).poll_flush(cx)) {
            Ok(()) => {
                self.owes_answer = false;
                Poll::Ready(std::mem::take(&mut self.unflushed))
            }
            // The handshake is over and the answer has left; the read side tells the end.
            Err(Error::ConnectionClosed) => {
                self.owes_answer = false;
                Poll::Ready(false)
            }
            Err(error) => {
                self.break_off(&error);
                Poll::Ready(false)
            }
        }
    }

    /// What arrives next.
    pub(super) fn poll_arrival(&mut self, cx: &mut Context<'_>) -> Poll<Arrival> {
        if self.discarding {
            return self.poll_discard(cx).map(Arrival::Ended);
        }
        if let Some(arrival) = ready!(self.poll_messages(cx)) {
            return Poll::Ready(arrival);
        }
        let arrival = match ready!(Pin::new(&mut self.ws).poll_next(cx)) {
            None => Arrival::Ended("".into()),
            Some(Ok(message)) => {
                self.owes_answer |= matches!(message, Message::Ping(_) | Message::Close(_));
                self.heard_close |= matches!(message, Message::Close(_));
                self.is_done_with(&message);
                let arrival = Arrival::of(message, self.ws.get_ref().tail());
                self.answer_in_kind(&arrival);
                arrival
            }
            Some(Err(error)) => Arrival::of_error(&error),
        };
        self.discarding |= matches!(arrival, Arrival::Violation { .. });
        Poll::Ready(arrival)
    }

    /// Whole messages, or the end, without tungstenite; nothing where the next frame is one for it. After a Close it has all.
    fn poll_messages(&mut self, cx: &mut Context<'_>) -> Poll<Option<Arrival>> {
        if self.heard_close || !self.ws.get_ref().is_between_messages() {
            return Poll::Ready(None);
        }
        let max = self.ws.get_config().max_message_size.unwrap_or(usize::MAX);
        Poll::Ready(match ready!(self.ws.get_mut().poll_messages(cx, max)) {
            Ok(Found::Messages(run)) => {
                self.is_done();
                Some(Arrival::Messages(run))
            }
            Ok(Found::Other) => {
                self.prepare_for_fragments();
                None
            }
            Ok(Found::End) => Some(Arrival::Ended("".into())),
            Err(error) => Some(Arrival::of_error(&Error::Io(error))),
        })
    }

    /// A control frame may stand between two fragments; a whole message ends what had begun.
    fn is_done_with(&mut self, message: &Message) {
        match message {
            Message::Ping(payload) | Message::Pong(payload) => self.whole_until += 2 + payload.len() as u64,
            Message::Text(_) | Message::Binary(_) | Message::Close(_) | Message::Frame(_) => self.is_done(),
        }
    }

    fn is_done(&mut self) {
        let stream = self.ws.get_ref();
        self.whole_until = stream.read() - stream.ahead().len() as u64;
        self.arriving = None;
    }

    /// Bytes that have arrived of a message that is not whole, where they are many.
    pub(super) fn arriving(&self) -> Option<u64> {
        let begun = self.ws.get_ref().read().saturating_sub(self.whole_until);
        (begun > SMALL && !self.discarding).then_some(begun)
    }

    /// Gives so many bytes their share of the process's memory, as history has it: a `lease` where there is none yet. Where there is no
    /// room, nothing that comes is processed any more.
    pub(super) fn hold(&mut self, bytes: u64, lease: impl FnOnce() -> Lease) -> Option<Arrival> {
        let share = self.arriving.get_or_insert_with(|| Box::new(lease()));
        if share.resize(bytes) {
            return None;
        }
        share.claim(bytes);
        if share.resize(bytes) {
            return None;
        }
        self.discarding = true;
        Some(Arrival::without_room())
    }

    /// tungstenite keeps its read buffer for life. One that is to put fragments together is made anew, once, between two messages,
    /// while it holds nothing; else the small one has to do.
    fn prepare_for_fragments(&mut self) {
        let begins_one = |first: &u8| first & 0x88 == 0;
        let config = *self.ws.get_config();
        let is_busy = self.unflushed || self.owes_answer || self.rest.is_some();
        let is_ending = self.said_close || self.heard_close || self.broken.is_some();
        if config.read_buffer_size == FRAGMENTS_BUFFER
            || is_busy
            || is_ending
            || !self.ws.get_ref().ahead().first().is_some_and(begins_one)
        {
            return;
        }
        let (stream, config) = (self.ws.get_mut().take(), config.read_buffer_size(FRAGMENTS_BUFFER));
        self.ws = at_once(WebSocketStream::from_raw_socket(stream, Role::Client, Some(config)));
    }

    /// tungstenite answers 1014 as a code that may not be sent, which it may (RFC 6455 §7.4.2: it is registered). Its answer waits in
    /// it, and goes with it: another takes its place, while nothing else is in there, and answers as it would any other code.
    fn answer_in_kind(&mut self, arrival: &Arrival) {
        let Arrival::Close(Some(frame)) = arrival else { return };
        if frame.code != BAD_GATEWAY || self.said_close || self.broken.is_some() || self.ws.get_ref().is_blocked() {
            return;
        }
        let (frame, config) = (wire_close(frame), *self.ws.get_config());
        let stream = self.ws.get_mut().take();
        self.ws = at_once(WebSocketStream::from_raw_socket(stream, Role::Client, Some(config)));
        self.rest = None;
        self.start(Message::Close(Some(frame)));
    }

    fn poll_discard(&mut self, cx: &mut Context<'_>) -> Poll<Box<str>> {
        for _ in 0..DISCARD_READS {
            match ready!(self.ws.get_mut().poll_discard(cx)) {
                Ok(0) => return Poll::Ready("".into()),
                Ok(_) => {}
                Err(error) => return Poll::Ready(tls::told(&error).into()),
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Remembers what tungstenite is about to send by itself; of several pings it answers the last (RFC 6455 §5.5.3).
    pub(super) fn note_answer_to(&mut self, arrival: &Arrival) {
        let answer = match arrival {
            Arrival::Pinged(payload) => Answer::Pong(payload.clone()),
            Arrival::Close(frame) if !self.said_close => {
                self.said_close = true;
                Answer::to_close(frame.as_ref())
            }
            Arrival::Messages(_)
            | Arrival::Pong(_)
            | Arrival::Close(_)
            | Arrival::Nothing
            | Arrival::Violation { .. }
            | Arrival::Ended(_) => return,
        };
        self.noted = Some(Box::new(answer));
    }

    /// What was remembered, once it has left.
    pub(super) fn answered(&mut self) -> Option<Box<Answer>> {
        if self.owes_answer || self.broken.is_some() { None } else { self.noted.take() }
    }

    fn break_off(&mut self, error: &Error) {
        self.broken.get_or_insert_with(|| {
            if let Error::Io(error) = error { tls::told(error) } else { error.to_string() }.into()
        });
    }

    /// Puts a fault under the connection. Answers with the Close frame that the peer is to have sent, if it is to have.
    #[allow(clippy::option_option, reason = "no frame, a frame without a body, one with a body: three things")]
    pub(super) fn inject(&mut self, fault: Fault) -> Option<Option<CloseFrame>> {
        match fault {
            Fault::Drop => self.faulty(Faulty::reset),
            Fault::Stall(lasting) => self.faulty(|stream| stream.stall(lasting)),
            Fault::HalfOpen => self.faulty(Faulty::half_open),
            Fault::Close(frame) => {
                self.noted = Some(Box::new(Answer::to_close(frame.as_ref())));
                self.said_close = true;
                // tungstenite would have answered by itself.
                self.start(Message::Close(frame.as_ref().map(wire_close)));
                self.owes_answer = true;
                return Some(frame);
            }
        }
        None
    }

    fn faulty(&mut self, fault: impl FnOnce(&mut Faulty<S>)) {
        self.ws.get_mut().faulty().map(fault);
    }
}

fn wire_close(frame: &CloseFrame) -> WireClose {
    WireClose { code: frame.answer().into(), reason: String::from(&*frame.reason).into() }
}

/// What a future gives that never waits: tungstenite's makers are such, and need a waker only to keep it.
fn at_once<T>(future: impl Future<Output = T>) -> T {
    let mut future = pin!(future);
    loop {
        if let Some(made) = (&mut future).now_or_never() {
            return made;
        }
    }
}

#[cfg(test)]
mod tests;
