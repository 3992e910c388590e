//! The socket of a link, which takes whole messages past tungstenite: what arrives is what tungstenite alone makes of the same bytes.
//!
//! What a reader would get wrong: nothing is compared after a violation or a Close, for what comes then is not processed. And a violation is
//! found here before tungstenite finds it, which looks at whole frames, and takes lengths in any form.

use std::{
    pin::{Pin, pin},
    task::{Context, Poll},
};

use bytes::Bytes;
use futures_util::{FutureExt as _, Sink as _, Stream as _, task::noop_waker_ref};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{
        Error, Message,
        protocol::{Role, WebSocketConfig},
    },
};

use super::{Input, Script, cut};
use crate::link::{arrival::Arrival, socket::Socket};
use wskeeper_core::{
    breach::Breach,
    close::{self, BAD_GATEWAY, CloseFrame},
    message::Payload,
    run::Run,
};

/// The first byte says how what follows comes in pieces, the second how much comes with the upgrade, the third how long a message may be.
pub fn frames(data: &[u8]) {
    let mut input = Input(data);
    let (cuts, early, max) = (input.byte(), input.byte(), input.byte());
    let max = [100, 20, 70_000, 1][usize::from(max & 3)];
    agree(input.0, (early & 0x3F).into(), max, |bytes| Script {
        pieces: cut(bytes, cuts),
        pauses: cuts & 1 != 0,
        end: (early & 0x40 != 0).then_some(std::io::ErrorKind::ConnectionReset),
        ..Script::default()
    });
}

/// Both read these bytes, so many of which come `early`, and none may be found where they differ.
pub(in super::super) fn agree(bytes: &[u8], early: usize, max: usize, script: impl Fn(&[u8]) -> Script) {
    let early = early.min(bytes.len());
    let (told, written) = ours(script(&bytes[early..]), &bytes[..early], max);
    let (expected, answers) = oracle(script(bytes), max);
    let Some(Told::Violation(code, is_long_form)) = told.last() else {
        // 1014 is answered in kind; tungstenite takes it for a code that may not be sent.
        let is_bad_gateway = told.last().is_some_and(Told::is_last) && matches!(told.last(), Some(Told::Close(_)));
        let whole = told.len() - usize::from(is_bad_gateway);
        assert_eq!(&told[..whole], &expected[..whole.min(expected.len())]);
        assert!(expected.len() == told.len(), "{expected:?}");
        if !matches!(told.last(), Some(Told::Close(_))) {
            assert_eq!(written, answers);
        }
        return;
    };
    let (before, then) = expected.split_at((told.len() - 1).min(expected.len()));
    assert_eq!(&told[..told.len() - 1], before);
    match then.first() {
        _ if *is_long_form => {}
        // The frame is not whole, or too long for anybody.
        Some(Told::Ended(_) | Told::Violation(close::TOO_BIG, _)) => {}
        Some(Told::Violation(theirs, _)) => assert_eq!(code, theirs),
        other => panic!("{:?} where tungstenite has {other:?}", told.last()),
    }
}

/// What one of the two has told.
#[derive(Debug, PartialEq, Eq)]
pub(in super::super) enum Told {
    Message(Payload),
    Ping(Bytes),
    Pong(Bytes),
    Close(Option<CloseFrame>),
    /// The code that says so; 1002 and `true` where a length is in a form that tungstenite lets pass, also that of a control frame.
    Violation(u16, bool),
    Ended(Box<str>),
}

impl Told {
    fn is_last(&self) -> bool {
        match self {
            Self::Message(_) | Self::Ping(_) | Self::Pong(_) => false,
            Self::Close(frame) => frame.as_ref().is_some_and(|frame| frame.code == BAD_GATEWAY),
            Self::Violation(..) | Self::Ended(_) => true,
        }
    }

    pub(in super::super) fn of(arrival: Arrival) -> Vec<Self> {
        match arrival {
            Arrival::Messages(run) => {
                let frames: Vec<u8> = run.payloads().flat_map(|payload| Run::from(&payload).frames()).collect();
                assert_eq!(run.frames(), frames, "they are frames as a local client takes them");
                run.payloads().map(Self::Message).collect()
            }
            Arrival::Pong(payload) => vec![Self::Pong(payload)],
            Arrival::Pinged(payload) => vec![Self::Ping(payload)],
            Arrival::Close(frame) => vec![Self::Close(frame)],
            Arrival::Nothing => vec![],
            Arrival::Violation { code, detail, .. } => {
                let long = [Breach::LongForm, Breach::LongControl].map(|breach| breach.to_string());
                vec![Self::Violation(code, long.iter().any(|words| **words == *detail))]
            }
            Arrival::Ended(detail) => vec![Self::Ended(detail)],
        }
    }

    /// What tungstenite says, without our words for it.
    fn of_oracle(read: Option<Result<Message, Error>>) -> Self {
        match read {
            None => Self::Ended("".into()),
            Some(Ok(Message::Text(text))) => Self::Message(Payload::checked_text(text)),
            Some(Ok(Message::Binary(bytes))) => Self::Message(Payload::binary(bytes)),
            Some(Ok(Message::Ping(payload))) => Self::Ping(payload),
            Some(Ok(Message::Pong(payload))) => Self::Pong(payload),
            // What it puts in place of a code that may not be sent.
            Some(Ok(Message::Close(Some(frame)))) if frame.reason.as_str() == "Protocol violation" => {
                Self::Violation(close::PROTOCOL_ERROR, false)
            }
            Some(Ok(Message::Close(frame))) => Self::Close(
                frame.map(|frame| CloseFrame { code: frame.code.into(), reason: frame.reason.as_str().into() }),
            ),
            Some(Ok(Message::Frame(_))) => panic!("tungstenite reads messages"),
            Some(Err(error)) => Self::of(Arrival::of_error(&error)).remove(0),
        }
    }
}

/// Behind a Close nothing is of interest, how it ends least of all.
fn without_what_follows_a_close(mut told: Vec<Told>) -> Vec<Told> {
    if let Some(close) = told.iter().position(|told| matches!(told, Told::Close(_))) {
        told.truncate(close + 1);
    }
    told
}

/// All that a socket tells, and the frames that it has written, unmasked.
fn ours(script: Script, early: &[u8], max: usize) -> (Vec<Told>, Vec<(u8, Vec<u8>)>) {
    let mut cx = Context::from_waker(noop_waker_ref());
    let mut socket = Socket::open(script, early, max, None);
    let mut told = Vec::new();
    while !told.last().is_some_and(Told::is_last) {
        if let Poll::Ready(arrival) = socket.poll_arrival(&mut cx) {
            told.extend(Told::of(arrival));
        }
        assert!(socket.poll_flush(&mut cx).is_ready());
    }
    let written = socket.wire().written.clone();
    (without_what_follows_a_close(told), unmasked(&written))
}

fn oracle(script: Script, max: usize) -> (Vec<Told>, Vec<(u8, Vec<u8>)>) {
    let mut cx = Context::from_waker(noop_waker_ref());
    let config = WebSocketConfig::default().max_message_size(Some(max)).max_frame_size(Some(max));
    let ws = pin!(WebSocketStream::from_raw_socket(script, Role::Client, Some(config)));
    let mut ws = ws.now_or_never().expect("it has nothing to wait for");
    let mut told = Vec::new();
    while !told.last().is_some_and(Told::is_last) {
        if let Poll::Ready(read) = Pin::new(&mut ws).poll_next(&mut cx) {
            told.push(Told::of_oracle(read));
        }
        // After the end there is nothing to flush to.
        let _ = Pin::new(&mut ws).poll_flush(&mut cx);
    }
    (without_what_follows_a_close(told), unmasked(&ws.get_ref().written))
}

/// Control frames of a client, which are all short.
pub(in super::super) fn unmasked(mut bytes: &[u8]) -> Vec<(u8, Vec<u8>)> {
    let mut frames = Vec::new();
    while let [first, length, m0, m1, m2, m3, rest @ ..] = bytes {
        let (payload, behind) = rest.split_at(usize::from(length & 0x7F));
        let mask = [m0, m1, m2, m3];
        frames.push((*first, payload.iter().zip(mask.into_iter().cycle()).map(|(byte, mask)| byte ^ mask).collect()));
        bytes = behind;
    }
    frames
}
