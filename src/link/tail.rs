//! The last bytes that arrived, so that a Close frame with a forbidden code can be reported as the peer sent it.
//!
//! Real servers put 1006 into Close frames. tungstenite answers that with 1002, rightly, and then hands out its own answer
//! in place of what was received. The Close is the last frame of its direction, so the tail of the stream still has it.

use std::str;

use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

use wskeeper_core::close::CloseFrame;

/// The reason that tungstenite puts in place of a forbidden Close.
pub(super) const REPLACEMENT: &str = "Protocol violation";

/// First byte of a Close frame: FIN and opcode 8.
const CLOSE: u8 = 0x88;
/// The longest Close frame from a server: two bytes of header, no mask, 125 bytes of body.
const LONGEST: usize = 2 + 125;

/// The last bytes of a stream, from the first on that may begin a Close frame. Where none may, it holds no memory.
#[derive(Debug, Default)]
pub(super) struct Tail(Vec<u8>);

impl Tail {
    /// Remembers what arrived.
    pub(super) fn push(&mut self, arrived: &[u8]) {
        let arrived = &arrived[arrived.len().saturating_sub(LONGEST)..];
        let too_old = (self.0.len() + arrived.len()).saturating_sub(LONGEST);
        self.begin_at(too_old);
        let begins = if self.0.is_empty() { arrived.iter().position(|byte| *byte == CLOSE) } else { Some(0) };
        if let Some(start) = begins {
            self.0.extend_from_slice(&arrived[start..]);
        } else if self.0.capacity() > 0 {
            self.0 = Vec::new();
        }
    }

    /// Forgets what stands before the first byte from `start` on that may begin a Close frame.
    fn begin_at(&mut self, start: usize) {
        if start > 0 {
            let begins =
                self.0[start..].iter().position(|byte| *byte == CLOSE).map_or(self.0.len(), |ahead| start + ahead);
            self.0.drain(..begins);
        }
    }

    /// The Close frame at the very end, if its code is one that may not be sent.
    pub(super) fn forbidden_close(&self) -> Option<CloseFrame> {
        let bytes = &self.0;
        (0..bytes.len()).rev().find_map(|start| match &bytes[start..] {
            [CLOSE, len, body @ ..] if usize::from(*len) == body.len() => forbidden(body),
            _ => None,
        })
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
    use super::*;

    fn close(code: u16, reason: &str) -> Vec<u8> {
        let mut frame = vec![CLOSE, u8::try_from(2 + reason.len()).unwrap()];
        frame.extend(code.to_be_bytes());
        frame.extend(reason.as_bytes());
        frame
    }

    fn said(pieces: &[&[u8]]) -> Option<(u16, String)> {
        let mut tail = Tail::default();
        for piece in pieces {
            tail.push(piece);
        }
        tail.forbidden_close().map(|frame| (frame.code, frame.reason.into()))
    }

    #[test]
    fn a_forbidden_code_is_found_behind_other_frames_and_in_pieces() {
        let frame = close(1006, "abnormal");
        let told = Some((1006, "abnormal".to_owned()));
        assert_eq!(said(&[&frame]), told);
        assert_eq!(said(&[&[7; 5000], &frame]), told);
        for at in 0..frame.len() {
            assert_eq!(said(&[&[CLOSE; 300], &frame[..at], &frame[at..]]), told, "cut at {at}");
        }
        assert_eq!(said(&[&close(999, &"x".repeat(123))]), Some((999, "x".repeat(123))));
    }

    #[test]
    fn a_stream_without_a_byte_that_may_begin_a_close_costs_no_memory() {
        let mut tail = Tail::default();
        for piece in [&[1; 300][..], &[CLOSE, 2, 3], &[4; 200]] {
            tail.push(piece);
        }
        assert_eq!(tail.0.capacity(), 0);
    }

    #[test]
    fn an_allowed_code_and_no_close_at_all_are_left_alone() {
        assert_eq!(said(&[&close(1002, REPLACEMENT)]), None);
        assert_eq!(said(&[&[CLOSE; 127]]), None);
        assert_eq!(said(&[]), None);
    }
}
