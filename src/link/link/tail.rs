//! The last Close frame that arrived, so that one with a forbidden code can be reported as the peer sent it.
//!
//! Real servers put 1006 into Close frames. tungstenite answers that with 1002, rightly, and then hands out its own answer
//! in place of what was received.

use std::str;

use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

use super::frames::Watcher;
use wskeeper_core::close::CloseFrame;

/// The reason that tungstenite puts in place of a forbidden Close.
pub(super) const REPLACEMENT: &str = "Protocol violation";

/// First byte of a Close frame: FIN and opcode 8.
const CLOSE: u8 = 0x88;
/// The longest body of a control frame (RFC 6455 §5.5).
const LONGEST: usize = 125;

/// The body of the Close frame that came last. Until one comes, it holds no memory.
#[derive(Debug, Default)]
pub(super) struct Tail(Vec<u8>);

impl Watcher for Tail {
    fn begins(&mut self, first: u8) {
        if first == CLOSE {
            self.0.clear();
        }
    }

    fn body(&mut self, first: u8, part: &[u8]) {
        if first == CLOSE {
            let room = LONGEST - self.0.len();
            self.0.extend_from_slice(&part[..part.len().min(room)]);
        }
    }
}

impl Tail {
    /// The last Close, if its code is one that may not be sent.
    pub(super) fn forbidden_close(&self) -> Option<CloseFrame> {
        forbidden(&self.0)
    }
}

fn forbidden(body: &[u8]) -> Option<CloseFrame> {
    let [high, low, reason @ ..] = body else { return None };
    let code = u16::from_be_bytes([*high, *low]);
    let reason = str::from_utf8(reason).ok()?;
    (!CloseCode::from(code).is_allowed()).then(|| CloseFrame { code, reason: reason.into() })
}

#[cfg(test)]
mod tests {
    use super::{super::frames::Frames, *};

    fn close(code: u16, reason: &str) -> Vec<u8> {
        let mut frame = vec![CLOSE, u8::try_from(2 + reason.len()).unwrap()];
        frame.extend(code.to_be_bytes());
        frame.extend(reason.as_bytes());
        frame
    }

    fn said(pieces: &[&[u8]]) -> Option<(u16, String)> {
        let (mut frames, mut tail) = (Frames::default(), Tail::default());
        for piece in pieces {
            frames.follow(piece, &mut tail);
        }
        tail.forbidden_close().map(|frame| (frame.code, frame.reason.into()))
    }

    #[test]
    fn a_forbidden_code_is_found_behind_other_frames_and_in_pieces() {
        let frame = close(1006, "abnormal");
        let told = Some((1006, "abnormal".to_owned()));
        let others = [&[0x82, 3, CLOSE, 2, 3][..], &[0x89, 2, CLOSE, 1]].concat();
        assert_eq!(said(&[&frame]), told);
        for at in 0..frame.len() {
            assert_eq!(said(&[&others, &frame[..at], &frame[at..]]), told, "cut at {at}");
        }
        assert_eq!(said(&[&close(999, &"x".repeat(123))]), Some((999, "x".repeat(123))));
    }

    #[test]
    fn what_is_no_close_costs_no_memory_and_one_that_is_too_long_no_more_than_a_close() {
        let (mut frames, mut tail) = (Frames::default(), Tail::default());
        frames.follow(&[0x82, 3, CLOSE, 2, 3], &mut tail);
        assert_eq!(tail.0.capacity(), 0);
        frames.follow(&[&[CLOSE, 126, 2, 0][..], &[7; 512]].concat(), &mut tail);
        assert_eq!(tail.0.len(), LONGEST);
    }

    #[test]
    fn an_allowed_code_and_no_close_at_all_are_left_alone() {
        assert_eq!(said(&[&close(1002, REPLACEMENT)]), None);
        assert_eq!(said(&[&[0x82, 3, CLOSE, 2, 3]]), None);
        assert_eq!(said(&[]), None);
    }
}
