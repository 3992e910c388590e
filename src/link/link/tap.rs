//! A look at an endpoint's traffic, frame by frame, for a person who wonders what is on the wire.
//!
//! Nobody looks, most of the time: then a frame costs one relaxed load. Who looks is never waited for: the ring is bounded, and
//! a looker that is too slow is told how many frames went by. Payloads stay out of it unless a looker asks for them, and those of a
//! session's own messages in any case: there are secrets in them.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
    },
    time::SystemTime,
};

use bytes::Bytes;
use parking_lot::{Mutex, MutexGuard};
use tokio::sync::broadcast::{self, error::RecvError};

use super::arrival::{Answer, Arrival};
use crate::clock::Calendar;
use wskeeper_core::{
    close::CloseFrame,
    event::LinkId,
    link::Frame,
    message::{Kind, Payload},
};

/// Frames that may wait for the slowest looker.
const RING: usize = 256;
/// Bytes of a payload that are shown at most: with [`RING`], a megabyte an endpoint.
pub(super) const SHOWN: usize = 4 << 10;

/// Nobody looks.
const OFF: u8 = 0;
/// Somebody looks, at frames without their payloads.
const FRAMES: u8 = 1;
/// Somebody wants payloads.
const PAYLOADS: u8 = 2;

/// Which way a frame went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// From the peer.
    In,
    /// To the peer.
    Out,
}

/// What kind of frame it was. A message in fragments is told once, as a whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FrameKind {
    /// Text.
    Text,
    /// Binary.
    Binary,
    /// A ping.
    Ping,
    /// A pong.
    Pong,
    /// A Close with what it says.
    Close(Option<CloseFrame>),
}

/// A frame that went by.
#[derive(Debug, Clone)]
pub struct Tapped {
    /// On which link.
    pub link: LinkId,
    /// On which connection.
    pub generation: u64,
    /// When it was read, or handed to the socket.
    pub at: SystemTime,
    /// Which way.
    pub direction: Direction,
    /// What.
    pub kind: FrameKind,
    /// Bytes of its payload.
    pub bytes: usize,
    /// Its first 4 KiB, where somebody wanted payloads and may see this one.
    pub start: Option<Bytes>,
}

/// Where an endpoint's frames can be looked at.
#[derive(Debug, Default)]
pub(crate) struct Tap {
    calendar: Calendar,
    level: AtomicU8,
    ring: Mutex<Ring>,
}

#[derive(Debug, Default)]
struct Ring {
    /// Made with the first looker, dropped with the last.
    frames: Option<broadcast::Sender<Arc<Tapped>>>,
    lookers: usize,
    payloads: usize,
}

impl Ring {
    fn level(&self) -> u8 {
        match (self.lookers, self.payloads) {
            (0, _) => OFF,
            (_, 0) => FRAMES,
            (_, _) => PAYLOADS,
        }
    }
}

impl Tap {
    /// One that nobody looks at yet.
    pub(crate) fn new(calendar: Calendar) -> Self {
        Self { calendar, ..Self::default() }
    }

    /// Begins to look.
    pub(crate) fn look(self: &Arc<Self>, payloads: bool) -> Looker {
        let mut ring = self.ring();
        ring.lookers += 1;
        ring.payloads += usize::from(payloads);
        self.level.store(ring.level(), Ordering::Relaxed);
        let frames = ring.frames.get_or_insert_with(|| broadcast::channel(RING).0).subscribe();
        Looker { frames, payloads, tap: Arc::clone(self) }
    }

    /// Whether anybody looks.
    pub(crate) fn is_watched(&self) -> bool {
        self.level.load(Ordering::Relaxed) != OFF
    }

    /// A frame was handed to the socket. As with all of these, ask [`Tap::is_watched`] first.
    pub(super) fn sent(&self, link: &LinkId, generation: u64, frame: &Frame) {
        let (frame, may_show) = match frame {
            Frame::Data(body) => {
                let tell = |payload| self.tell((link, generation), (Direction::Out, true), data(&payload));
                return body.payloads().for_each(tell);
            }
            Frame::Session(payload) => (data(payload), false),
            Frame::Ping(payload) => ((FrameKind::Ping, payload.clone()), true),
            Frame::Close(frame) => (close(frame.as_ref()), true),
        };
        self.tell((link, generation), (Direction::Out, may_show), frame);
    }

    /// Something was read: a frame, or what is none. What answers a login `is_of_session`.
    pub(super) fn arrived(&self, link: &LinkId, generation: u64, arrival: &Arrival, is_of_session: bool) {
        let frame = match arrival {
            Arrival::Messages(run) => {
                let tell = |payload| self.tell((link, generation), (Direction::In, !is_of_session), data(&payload));
                return run.payloads().for_each(tell);
            }
            Arrival::Pong(payload) => (FrameKind::Pong, payload.clone()),
            Arrival::Close(frame) => close(frame.as_ref()),
            Arrival::Pinged(payload) => (FrameKind::Ping, payload.clone()),
            Arrival::Nothing | Arrival::Violation { .. } | Arrival::Ended(_) => return,
        };
        self.tell((link, generation), (Direction::In, !is_of_session), frame);
    }

    /// An answer made below has left.
    pub(super) fn answered(&self, link: &LinkId, generation: u64, answer: Answer) {
        let frame = match answer {
            Answer::Pong(payload) => (FrameKind::Pong, payload),
            Answer::Close(frame) => close(frame.as_ref()),
        };
        self.tell((link, generation), (Direction::Out, true), frame);
    }

    fn tell(
        &self,
        (link, generation): (&LinkId, u64),
        (direction, may_show): (Direction, bool),
        (kind, payload): (FrameKind, Bytes),
    ) {
        let wanted = may_show && self.level.load(Ordering::Relaxed) == PAYLOADS;
        // Copied: a looker holds up no buffer of a connection.
        let start = wanted.then(|| Bytes::copy_from_slice(&payload[..payload.len().min(SHOWN)]));
        let (link, at, bytes) = (link.clone(), self.calendar.now(), payload.len());
        let frame = Tapped { link, generation, at, direction, kind, bytes, start };
        if let Some(frames) = &self.ring().frames {
            // The last looker may just have gone.
            let _ = frames.send(Arc::new(frame));
        }
    }

    fn ring(&self) -> MutexGuard<'_, Ring> {
        self.ring.lock()
    }
}

fn data(payload: &Payload) -> (FrameKind, Bytes) {
    let kind = match payload.kind() {
        Kind::Text => FrameKind::Text,
        Kind::Binary => FrameKind::Binary,
    };
    (kind, payload.bytes().clone())
}

/// The size is that of the body on the wire; what it says stands in the kind.
fn close(frame: Option<&CloseFrame>) -> (FrameKind, Bytes) {
    let body = frame.map(|frame| [&frame.code.to_be_bytes()[..], frame.reason.as_bytes()].concat());
    (FrameKind::Close(frame.cloned()), body.unwrap_or_default().into())
}

/// What a looker sees next.
#[derive(Debug)]
pub enum Sight {
    /// A frame.
    Frame(Arc<Tapped>),
    /// So many went by unseen.
    Missed(u64),
}

/// Somebody who looks; dropping it ends that.
#[derive(Debug)]
pub struct Looker {
    frames: broadcast::Receiver<Arc<Tapped>>,
    payloads: bool,
    tap: Arc<Tap>,
}

impl Looker {
    /// Waits for the next frame.
    pub async fn next(&mut self) -> Sight {
        match self.frames.recv().await {
            Ok(frame) => Sight::Frame(frame),
            Err(RecvError::Lagged(missed)) => Sight::Missed(missed),
            // The ring lives as long as anybody looks.
            Err(RecvError::Closed) => std::future::pending().await,
        }
    }

    /// Whether it asked for payloads; frames may carry them for somebody else.
    pub fn wants_payloads(&self) -> bool {
        self.payloads
    }
}

impl Drop for Looker {
    fn drop(&mut self) {
        let mut ring = self.tap.ring();
        ring.lookers -= 1;
        ring.payloads -= usize::from(self.payloads);
        if ring.lookers == 0 {
            ring.frames = None;
        }
        self.tap.level.store(ring.level(), Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn link() -> LinkId {
        LinkId { endpoint: "e".into(), index: 0 }
    }

    fn send(tap: &Tap, text: &str) {
        tap.sent(&link(), 1, &Frame::Data(text.into()));
    }

    async fn seen(looker: &mut Looker) -> Arc<Tapped> {
        match looker.next().await {
            Sight::Frame(frame) => frame,
            Sight::Missed(missed) => panic!("{missed} missed"),
        }
    }

    #[tokio::test]
    async fn payloads_are_kept_only_while_somebody_asks_for_them_and_never_whole_where_they_are_long() {
        let tap = Arc::new(Tap::default());
        let mut looker = tap.look(false);
        send(&tap, "secret");
        let frame = seen(&mut looker).await;
        assert_eq!((frame.bytes, &frame.start), (6, &None));
        let mut other = tap.look(true);
        send(&tap, &"x".repeat(SHOWN + 1));
        assert_eq!(seen(&mut other).await.start.as_ref().map(Bytes::len), Some(SHOWN));
        drop(other);
        let _ = seen(&mut looker).await;
        send(&tap, "secret");
        assert_eq!(seen(&mut looker).await.start, None);
    }

    #[tokio::test]
    async fn a_message_of_the_sessions_is_seen_and_what_it_says_is_not() {
        let tap = Arc::new(Tap::default());
        let mut looker = tap.look(true);
        tap.sent(&link(), 1, &Frame::Session(Payload::from("secret")));
        tap.arrived(&link(), 1, &Arrival::Messages("token!".into()), true);
        for _ in 0..2 {
            let frame = seen(&mut looker).await;
            assert_eq!((frame.bytes, &frame.kind, &frame.start), (6, &FrameKind::Text, &None));
        }
    }

    #[tokio::test]
    async fn a_slow_looker_is_not_waited_for_and_is_told_how_much_it_missed() {
        let tap = Arc::new(Tap::default());
        let mut looker = tap.look(false);
        for _ in 0..RING + 7 {
            send(&tap, "x");
        }
        assert!(matches!(looker.next().await, Sight::Missed(7)));
        assert_eq!(seen(&mut looker).await.direction, Direction::Out);
    }

    #[tokio::test]
    async fn nothing_is_held_when_nobody_looks() {
        let tap = Arc::new(Tap::default());
        send(&tap, "x");
        assert!(tap.ring().frames.is_none());
        drop(tap.look(true));
        assert!(!tap.is_watched() && tap.ring().frames.is_none());
    }
}
