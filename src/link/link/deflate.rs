//! permessage-deflate (RFC 7692) on a connection of a link or of a local client: below what reads frames on the way in, and where a
//! message is given to the transport on the way out.
//!
//! What a reader would get wrong: nothing of zlib belongs to a connection. Compressors and inflaters are the thread's, and a connection has
//! an inflater in the middle of a message only. Where a side keeps its context, that is its last bytes, given to whichever is borrowed next.

mod compressing;
mod inflater;
mod inflating;
mod message;

pub(super) use self::{compressing::Compressing, inflating::Inflating};

/// The bit of a message's first frame that says that it is compressed (RFC 7692 §6).
pub(super) const COMPRESSED: u8 = 0x40;
/// What ends the last block of a message, and is left out of it (RFC 7692 §7.2.1).
const TAIL: [u8; 4] = [0x00, 0x00, 0xFF, 0xFF];

/// The last bytes of what was said, as many as a window has.
#[derive(Debug, Default)]
#[allow(
    clippy::box_collection,
    reason = "where no context is kept, there is none, and each link that compresses has two"
)]
struct History(Option<Box<Vec<u8>>>);

impl History {
    /// These were said, too; no more than `most` bytes are of use.
    fn add(&mut self, said: &[u8], most: usize) {
        let said = &said[said.len().saturating_sub(most)..];
        let history = self.0.get_or_insert_default();
        let kept = history.len().min(most - said.len());
        history.drain(..history.len() - kept);
        history.reserve_exact(said.len());
        history.extend_from_slice(said);
    }

    fn bytes(&self) -> &[u8] {
        self.0.as_deref().map_or(&[], Vec::as_slice)
    }
}

#[cfg(test)]
mod tests;
