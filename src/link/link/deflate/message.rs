//! A compressed message of the other end's while it is under way.
//!
//! What a reader would get wrong: a text is looked at as it is inflated, not when a piece is full, so a wrong byte is found as early as
//! in a text that is not compressed.

use super::{History, inflater::Inflater};
use wskeeper_core::{breach::Breach, frame, utf8::Utf8};

/// A compressed message under way.
pub(super) struct Message {
    /// The first byte of the next frame of it that is handed out, without `FIN`.
    pub(super) first: u8,
    pub(super) inflater: Inflater,
    /// Of a text: up to here the piece has been looked at.
    text: Option<(Utf8, usize)>,
}

impl Message {
    /// One that has begun: a text, or else a binary message. It may refer to what was said before it.
    pub(super) fn begin(opcode: u8, history: &History) -> Self {
        let text = (opcode == frame::TEXT).then(|| (Utf8::default(), 0));
        Self { first: opcode, inflater: Inflater::borrow(history), text }
    }

    /// Looks at what has been inflated of a text and not been looked at. Who reads it would, but is not given a piece before it is full.
    pub(super) fn look(&mut self) -> Result<(), Breach> {
        let Some((text, looked_at)) = &mut self.text else { return Ok(()) };
        let piece = self.inflater.piece();
        let fits = text.add(&piece[*looked_at..]);
        *looked_at = piece.len();
        if fits { Ok(()) } else { Err(Breach::NotUtf8) }
    }

    /// The piece has been handed out.
    pub(super) fn empty(&mut self) {
        self.inflater.empty();
        self.first = frame::CONTINUATION;
        if let Some((_, looked_at)) = &mut self.text {
            *looked_at = 0;
        }
    }
}
