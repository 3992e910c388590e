//! DEFLATE by another hand than the daemon's: what it compresses is read by this, and the other way round.

use miniz_oxide::{
    deflate::core::{CompressorOxide, TDEFLFlush, TDEFLStatus, compress, create_comp_flags_from_zip_params},
    inflate::{
        TINFLStatus,
        core::{DecompressorOxide, decompress, inflate_flags::TINFL_FLAG_HAS_MORE_INPUT},
    },
};

/// What ends the last block of a message, and is left out of it (RFC 7692 §7.2.1).
const TAIL: [u8; 4] = [0x00, 0x00, 0xFF, 0xFF];
/// The largest window that DEFLATE has.
const WINDOW: usize = 32 << 10;

/// Inflates messages of one context.
pub struct Inflater {
    state: Box<DecompressorOxide>,
    window: Vec<u8>,
    at: usize,
}

impl Inflater {
    /// One that has read nothing.
    pub fn new() -> Self {
        Self { state: Box::default(), window: vec![0; WINDOW], at: 0 }
    }

    /// The next message; `None` where it is none.
    pub fn inflated(&mut self, message: &[u8]) -> Option<Vec<u8>> {
        let input = [message, &TAIL].concat();
        let (mut rest, mut plain) = (&input[..], Vec::new());
        loop {
            let (status, read, written) =
                decompress(&mut self.state, rest, &mut self.window, self.at, TINFL_FLAG_HAS_MORE_INPUT);
            plain.extend(&self.window[self.at..self.at + written]);
            self.at = (self.at + written) % WINDOW;
            rest = &rest[read..];
            if status == TINFLStatus::NeedsMoreInput {
                return Some(plain);
            }
            if status != TINFLStatus::HasMoreOutput {
                return None;
            }
        }
    }
}

/// A message that is compressed by itself.
pub fn deflated(plain: &[u8]) -> Vec<u8> {
    let mut state = CompressorOxide::new(create_comp_flags_from_zip_params(9, -15, 0));
    let mut message = vec![0; plain.len() + 1024];
    let (status, read, written) = compress(&mut state, plain, &mut message, TDEFLFlush::Sync);
    assert_eq!((status, read), (TDEFLStatus::Okay, plain.len()));
    message.truncate(written);
    assert!(message.ends_with(&TAIL));
    message.truncate(written - TAIL.len());
    message
}
