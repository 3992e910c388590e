//! One WebSocket over any byte stream, as the driver needs it: never split, counted on both sides, every error classed.
//!
//! What is whole and plain is read and written here: messages, pings, pongs. Everything else is for the reader of frames, which makes
//! the answer to a Close by itself; all answers leave with a later flush, so what arrived may owe one. No Close is sent by itself when
//! the peer breaks the protocol: the link does. The rest of the stream is read raw then and thrown away, because nothing after a violation
//! (RFC 6455 §7.1.7) or a Close (§1.4) is processed.

use std::{
    mem,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use tokio::io::AsyncWrite as _;
use tokio_tungstenite::tungstenite::{Error, Message, error::ProtocolError, protocol::CloseFrame as WireClose};

use super::{
    Wire,
    arrival::{Answer, Arrival, breach_in},
    deflate::{COMPRESSED, Inflating},
    errands::Errands,
    faulty::Faulty,
    leaving::{Leaving, Left},
    pooled::{Found, PooledStream},
    reader::{Reader, Stream},
    tls,
};
use crate::endpoint::compression::Compression;
use wskeeper_core::{
    body::Body,
    budget::Hold,
    chaos::Fault,
    close::{BAD_GATEWAY, CloseFrame},
    deflate::Agreement,
    frame::{self, CONTINUATION, FIN, opcode},
    link::Frame,
    outbox,
    run::Run,
    scan::{CONTROL_HEAD, Control},
};

mod room;

/// Reads of one turn whose bytes are thrown away.
const DISCARD_READS: usize = 2;

/// First bytes of control frames (RFC 6455 §5.2).
const PING: u8 = FIN | frame::PING;
const PONG: u8 = FIN | frame::PONG;

/// What is left of a message.
#[derive(Debug)]
struct Rest {
    message: Bytes,
    at: usize,
    is_compressed: bool,
}

/// An open WebSocket.
#[derive(Debug)]
#[allow(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
pub(super) struct Socket<S> {
    stream: Stream<S>,
    /// Where there was need of one.
    reader: Option<Box<Reader>>,
    max_inbound: usize,
    heard_until: u64,
    moved_until: u64,
    /// Frames of ours are below us and not known to have left.
    unflushed: bool,
    /// What is left of a message that leaves in fragments. In a box: on most links none does.
    rest: Option<Box<Rest>>,
    /// An answer to something that arrived may be waiting.
    owes_answer: bool,
    /// A write failed: reading goes on, because the peer's Close may still be there.
    broken: Option<Box<str>>,
    /// The peer has sent its Close, or broke the protocol: what comes is thrown away.
    discarding: bool,
    /// The peer has sent its Close.
    heard_close: bool,
    /// A Close has been sent, or is about to be, so none is sent in answer.
    said_close: bool,
    /// The answer that may be waiting, while somebody looks at frames.
    noted: Option<Box<Answer>>,
    /// Up to here what has been read belongs to frames that are done with.
    whole_until: u64,
    /// What is held of the process's memory: the windows of compression, and a message that is not whole, where that is much.
    arriving: Option<Box<Hold>>,
    /// What is done outside for the session of this connection; it ends with it.
    pub(super) errands: Errands,
}

impl<S: Wire> Socket<S> {
    /// Takes over `stream` after the upgrade; `early` are bytes that came with the 101.
    pub(super) fn open(
        stream: S,
        early: &[u8],
        max_inbound: usize,
        compression: Option<(Compression, Agreement)>,
    ) -> Box<Self> {
        let leaving = Leaving::new(Faulty::new(stream));
        let stream = match compression {
            None => PooledStream::with_early(Inflating::plain(leaving), early),
            Some(agreed) => PooledStream::new(Inflating::new(leaving, agreed, early)),
        };
        Box::new(Self {
            stream,
            reader: None,
            max_inbound,
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
        let read = self.stream.read() + self.stream.stream().read();
        mem::replace(&mut self.heard_until, read) != read
    }

    /// Whether nothing is left of what was there at the last read. Whoever reads is woken when there is more.
    pub(super) fn is_drained(&self) -> bool {
        self.stream.is_drained()
    }

    /// Whether the stream has taken bytes since this was last asked.
    pub(super) fn moved(&mut self) -> bool {
        let written = self.stream.written();
        mem::replace(&mut self.moved_until, written) != written
    }

    /// What of our frames has left since this was last asked.
    pub(super) fn left(&mut self) -> Left {
        self.stream.stream().below().left()
    }

    /// Everything that has left is known to have, for nothing leaves after this.
    pub(super) fn settle(&mut self) {
        self.stream.stream().below().settle();
    }

    /// Application bytes that have left of the next message that will have left whole.
    pub(super) fn part(&mut self) -> usize {
        self.stream.stream().below().part()
    }

    /// Messages that have begun to leave, and have not left whole.
    pub(super) fn begun(&mut self) -> usize {
        self.stream.stream().below().begun()
    }

    /// Why writing failed, once it has.
    pub(super) fn broken(&self) -> Option<&str> {
        self.broken.as_deref()
    }

    /// Whether there is room for a frame. A message that leaves in fragments goes on leaving by it.
    pub(super) fn poll_room(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        while self.broken.is_none() && !self.is_cut_short() {
            if let Err(error) = ready!(self.stream.poll_way(cx)) {
                self.break_off(&Error::Io(error));
                break;
            }
            // An answer need not wait for the end of a long message.
            if self.owes_answer {
                let _ = self.poll_answer();
            }
            match self.rest.take() {
                Some(rest) => self.give_rest(rest),
                None => return Poll::Ready(()),
            }
        }
        Poll::Pending
    }

    /// A Close came before the end of a message of ours, the rest of which never leaves.
    fn is_cut_short(&self) -> bool {
        self.rest.is_some() && (self.said_close || self.heard_close)
    }

    /// Puts what the reader answers into the stream.
    fn poll_answer(&mut self) -> Poll<()> {
        let Some(reader) = &mut self.reader else { return Poll::Ready(()) };
        match ready!(reader.poll_answer(&mut self.stream)) {
            Ok(()) => {}
            Err(error) => self.break_off(&error),
        }
        Poll::Ready(())
    }

    /// Gives a frame to the transport, after `poll_room`.
    pub(super) fn give(&mut self, frame: Frame) {
        self.unflushed = true;
        match frame {
            Frame::Data(Body::One(payload)) | Frame::Session(payload) => {
                self.give_message(opcode(payload.kind()), payload.bytes());
            }
            Frame::Data(Body::Run(run)) => self.give_run(&run),
            // Behind a Close nothing leaves.
            Frame::Ping(_) if self.said_close || self.heard_close => self.owes_answer = true,
            Frame::Ping(payload) => self.stream.put(PING, &payload),
            Frame::Close(frame) => {
                self.said_close = true;
                self.close(frame.as_ref());
            }
        }
    }

    /// The text was found to be UTF-8 when it was accepted.
    fn give_message(&mut self, opcode: u8, message: &Bytes) {
        let at = message.len().min(outbox::FRAGMENT_MAX);
        let is_compressed = self.give_first(opcode, message, at);
        let is_last = at == message.len();
        self.rest = (!is_last).then(|| Box::new(Rest { message: message.clone(), at, is_compressed }));
    }

    /// Gives the first fragment of a message, so long: whether it was compressed.
    fn give_first(&mut self, opcode: u8, message: &[u8], fragment: usize) -> bool {
        let compressing = self.stream.stream().compressing();
        let compressed = compressing.and_then(|compressing| compressing.first(message, fragment));
        let fin = if fragment == message.len() { FIN } else { 0 };
        match &compressed {
            Some(compressed) => self.stream.put(fin | COMPRESSED | opcode, compressed),
            None => self.stream.put(fin | opcode, &message[..fragment]),
        }
        compressed.is_some()
    }

    fn give_rest(&mut self, mut rest: Box<Rest>) {
        let Rest { message, at, is_compressed } = &mut *rest;
        let fragment = *at..message.len().min(*at + outbox::FRAGMENT_MAX);
        let is_last = fragment.end == message.len();
        let first = if is_last { FIN | CONTINUATION } else { CONTINUATION };
        *at = fragment.end;
        let compressing = self.stream.stream().compressing().filter(|_| *is_compressed);
        match compressing.map(|compressing| compressing.next(message, fragment.clone())) {
            Some(compressed) => self.stream.put(first, &compressed),
            None => self.stream.put(first, &message[fragment]),
        }
        self.rest = (!is_last).then_some(rest);
    }

    /// None of its messages is longer than a fragment.
    fn give_run(&mut self, run: &Run) {
        for (kind, payload) in run.messages() {
            self.give_first(opcode(kind), payload, payload.len());
        }
    }

    /// The reader of frames closes, for it knows what is left to say then.
    fn close(&mut self, frame: Option<&CloseFrame>) {
        let ahead = self.stream.ahead();
        let reader = self.reader.get_or_insert_with(|| Reader::new(ahead, self.max_inbound));
        match reader.close(&mut self.stream, frame.map(wire_close)) {
            Ok(()) => {}
            // The peer's Close came first: the answer to it stands for ours.
            Err(Error::Protocol(ProtocolError::SendAfterClosing)) => self.owes_answer = true,
            Err(error) => self.break_off(&error),
        }
    }

    /// Pushes everything to the kernel. Ready with `true` when frames of ours have left by it.
    pub(super) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<bool> {
        if self.broken.is_some() || !(self.unflushed || self.owes_answer) {
            return Poll::Ready(false);
        }
        if self.rest.is_some() && !self.is_cut_short() {
            ready!(self.poll_room(cx));
        }
        loop {
            let answered = self.poll_answer();
            if let Err(error) = ready!(Pin::new(&mut self.stream).poll_flush(cx)) {
                self.break_off(&Error::Io(error));
            }
            if self.broken.is_some() {
                return Poll::Ready(false);
            }
            if answered.is_ready() {
                break;
            }
            // Now there is room for it.
        }
        self.owes_answer = false;
        Poll::Ready(mem::take(&mut self.unflushed) && self.rest.is_none())
    }

    /// What arrives next.
    pub(super) fn poll_arrival(&mut self, cx: &mut Context<'_>) -> Poll<Arrival> {
        if self.discarding {
            return self.poll_discard(cx).map(Arrival::Ended);
        }
        let arrival = match ready!(self.poll_messages(cx)) {
            Some(arrival) => arrival,
            None => ready!(self.poll_reader(cx)),
        };
        self.discarding |= matches!(arrival, Arrival::Violation { .. } | Arrival::Close(_));
        Poll::Ready(arrival)
    }

    /// What the reader of frames finds.
    fn poll_reader(&mut self, cx: &mut Context<'_>) -> Poll<Arrival> {
        let ahead = self.stream.ahead();
        let reader = self.reader.get_or_insert_with(|| Reader::new(ahead, self.max_inbound));
        Poll::Ready(match ready!(reader.poll_next(cx, &mut self.stream)) {
            Ok(message) => {
                let arrival = Arrival::of(&message, || reader.said());
                self.owes_answer |= matches!(message, Message::Ping(_) | Message::Close(_));
                self.heard_close |= matches!(message, Message::Close(_));
                self.is_done_with(&message);
                self.answer_in_kind(&arrival);
                arrival
            }
            Err(error) => Arrival::of_error(&error),
        })
    }

    /// Whole messages, a ping or pong, or the end; nothing where the next frame is one for the reader.
    fn poll_messages(&mut self, cx: &mut Context<'_>) -> Poll<Option<Arrival>> {
        let reader = self.reader.as_ref();
        if reader.is_some_and(|reader| !reader.is_between_messages()) {
            return Poll::Ready(None);
        }
        // Answers leave in order, and none behind a Close.
        let takes_pings = self.stream.has_room() && !self.said_close && !(self.owes_answer && reader.is_some());
        Poll::Ready(match ready!(self.stream.poll_messages(cx, self.max_inbound, takes_pings)) {
            Ok(Found::Messages(run)) => {
                self.is_done();
                Some(Arrival::Messages(run))
            }
            Ok(Found::Control(control, payload)) => {
                self.is_done();
                Some(match control {
                    Control::Ping => {
                        self.stream.put(PONG, &payload);
                        self.owes_answer = true;
                        Arrival::Pinged(payload)
                    }
                    Control::Pong => Arrival::Pong(payload),
                })
            }
            Ok(Found::Other) => None,
            Ok(Found::End) => Some(Arrival::Ended("".into())),
            Err(error) => Some(Arrival::of_error(&Error::Io(error))),
        })
    }

    /// A control frame may stand between two fragments; a whole message ends what had begun.
    fn is_done_with(&mut self, message: &Message) {
        match message {
            Message::Ping(payload) | Message::Pong(payload) => {
                self.whole_until += (CONTROL_HEAD + payload.len()) as u64;
            }
            Message::Text(_) | Message::Binary(_) | Message::Close(_) | Message::Frame(_) => self.is_done(),
        }
    }

    fn is_done(&mut self) {
        self.whole_until = self.stream.read() - self.stream.ahead().len() as u64;
        if self.arriving.is_some() {
            self.hold_windows_alone();
        }
    }

    /// tungstenite answers 1014 as a code that may not be sent, which it may (RFC 6455 §7.4.2: it is registered). Its answer waits in
    /// it, and goes with it: another takes its place, while nothing else is in there, and answers as it would any other code.
    fn answer_in_kind(&mut self, arrival: &Arrival) {
        let Arrival::Close(Some(frame)) = arrival else { return };
        if frame.code != BAD_GATEWAY || self.said_close || self.broken.is_some() || self.stream.is_blocked() {
            return;
        }
        (self.reader, self.rest) = (None, None);
        self.close(Some(frame));
    }

    fn poll_discard(&mut self, cx: &mut Context<'_>) -> Poll<Box<str>> {
        self.stream.stream().look_away();
        for _ in 0..DISCARD_READS {
            match ready!(self.stream.poll_discard(cx)) {
                Ok(0) => return Poll::Ready("".into()),
                Ok(_) => {}
                // It was found before anybody looked away.
                Err(error) if breach_in(&error).is_some() => {}
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
            Fault::Drop => self.faulty().reset(),
            Fault::Stall(lasting) => self.faulty().stall(lasting),
            Fault::HalfOpen => self.faulty().half_open(),
            Fault::Close(frame) => {
                self.noted = Some(Box::new(Answer::to_close(frame.as_ref())));
                // It would have answered by itself.
                self.close(frame.as_ref());
                self.owes_answer = true;
                return Some(frame);
            }
        }
        None
    }

    /// Bytes that were handed out of what arrived.
    #[cfg(test)]
    pub(super) fn handed_out(&self) -> u64 {
        self.stream.read()
    }

    /// What lies below everything.
    #[cfg(any(test, feature = "fuzzing"))]
    pub(super) fn wire(&mut self) -> &S {
        self.faulty().inner()
    }

    fn faulty(&mut self) -> &mut Faulty<S> {
        self.stream.stream().below().faulty()
    }
}

fn wire_close(frame: &CloseFrame) -> WireClose {
    WireClose { code: frame.answer().into(), reason: String::from(&*frame.reason).into() }
}

#[cfg(test)]
mod tests;
