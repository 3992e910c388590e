//! Other hands at DEFLATE, each given a message at once, behind what was said before it.

use std::cell::RefCell;

use miniz_oxide::inflate::{
    TINFLStatus,
    core::{DecompressorOxide, decompress, inflate_flags},
};
use zlib_rs::{Deflate, DeflateConfig, DeflateFlush, Inflate, InflateFlush, Status};

/// What RFC 7692 §7.2.2 puts behind a message, and an empty final block: a message that is whole ends with it and not before.
const END: [u8; 9] = [0x00, 0x00, 0xFF, 0xFF, 0x01, 0x00, 0x00, 0xFF, 0xFF];
/// A message may have so many final blocks of its own.
const FINALS_MAX: u32 = 64;
/// No message of a target is longer.
const ROOM: usize = 1 << 20;
/// Further back than this nothing can refer.
const WINDOW: usize = 1 << 15;

thread_local! {
    static MADE: RefCell<(Vec<u8>, Box<DecompressorOxide>)> = RefCell::new((vec![0; ROOM], Box::default()));
}

/// Who inflates.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Hand {
    /// `miniz_oxide`, into a buffer that does not wrap: the history is what stands before the message.
    Miniz,
    /// The library of the shim, without the shim. It says whether both hands differ, or the shim is wrong.
    ZlibAtOnce,
}

/// What became of a message, or of the beginning of one.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Inflated {
    pub(super) plain: Vec<u8>,
    pub(super) end: Ending,
    /// Final blocks that something stands behind.
    pub(super) finals: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ending {
    /// It is whole, or it may go on where it is the beginning.
    Fine,
    /// It is no DEFLATE, or stops in the middle.
    Wrong,
    /// There is too much of it to look at.
    TooMuch,
}

/// What one step of a hand did.
enum Step {
    Final,
    Hungry,
    Full,
    Wrong,
}

impl Hand {
    /// A message, or where it is not `whole` its beginning, behind what was said before.
    pub(super) fn inflate(self, message: &[u8], is_whole: bool, before: &[u8]) -> Inflated {
        // Some servers make no byte of an empty message (docs/decisions/0084-empty-messages.md).
        if message.is_empty() {
            return Inflated { plain: Vec::new(), end: Ending::Fine, finals: 0 };
        }
        MADE.with_borrow_mut(|(out, miniz)| {
            let input = if is_whole { [message, &END].concat() } else { message.to_vec() };
            let start = before.len();
            out[..start].copy_from_slice(before);
            let (mut at, mut filled, mut finals) = (0, start, 0);
            let mut zlib = (self == Self::ZlibAtOnce).then(|| behind(before));
            miniz.init();
            let end = loop {
                let (read, written, step) = match &mut zlib {
                    None => by_miniz(miniz, &input[at..], out, filled),
                    Some(zlib) => by_zlib(zlib, &input[at..], &mut out[filled..]),
                };
                (at, filled) = (at + read, filled + written);
                match step {
                    Step::Wrong => break Ending::Wrong,
                    Step::Full => break Ending::TooMuch,
                    Step::Hungry if is_whole => break Ending::Wrong,
                    Step::Hungry => break Ending::Fine,
                    Step::Final if is_whole && at == input.len() => break Ending::Fine,
                    Step::Final if at > message.len() || finals == FINALS_MAX => break Ending::Wrong,
                    Step::Final => finals += 1,
                }
                // A message may end with a final block of its own.
                if at == message.len() {
                    break Ending::Fine;
                }
                miniz.init();
                if let Some(zlib) = &mut zlib {
                    *zlib = behind(&out[filled.saturating_sub(WINDOW)..filled]);
                }
            };
            Inflated { plain: out[start..filled].to_vec(), end, finals }
        })
    }
}

fn behind(before: &[u8]) -> Inflate {
    let mut inflate = Inflate::new(false, 15);
    if !before.is_empty() {
        inflate.set_dictionary(before).unwrap();
    }
    inflate
}

#[allow(clippy::wildcard_enum_match_arm, reason = "it may get more words for what is wrong")]
fn by_miniz(miniz: &mut DecompressorOxide, input: &[u8], out: &mut [u8], filled: usize) -> (usize, usize, Step) {
    let flags = inflate_flags::TINFL_FLAG_HAS_MORE_INPUT | inflate_flags::TINFL_FLAG_USING_NON_WRAPPING_OUTPUT_BUF;
    let (status, read, written) = decompress(miniz, input, out, filled, flags);
    let step = match status {
        TINFLStatus::Done => Step::Final,
        TINFLStatus::NeedsMoreInput => Step::Hungry,
        TINFLStatus::HasMoreOutput => Step::Full,
        _ => Step::Wrong,
    };
    (read, written, step)
}

fn by_zlib(zlib: &mut Inflate, input: &[u8], out: &mut [u8]) -> (usize, usize, Step) {
    let room = out.len();
    let status = zlib.decompress(input, out, InflateFlush::NoFlush);
    let (read, written) = (usize::try_from(zlib.total_in()).unwrap(), usize::try_from(zlib.total_out()).unwrap());
    let step = match status {
        Ok(Status::StreamEnd) => Step::Final,
        Ok(Status::Ok | Status::BufError) if written == room => Step::Full,
        Ok(Status::Ok | Status::BufError) => Step::Hungry,
        Err(_) => Step::Wrong,
    };
    (read, written, step)
}

/// A message as a peer may compress it, behind what it said before.
pub(super) fn compressed(plain: &[u8], before: &[u8], flush: DeflateFlush) -> Vec<u8> {
    thread_local! {
        static DEFLATE: RefCell<Deflate> =
            RefCell::new(Deflate::new_with_config(DeflateConfig { window_bits: -15, level: 1, ..DeflateConfig::default() }));
    }
    DEFLATE.with_borrow_mut(|deflate| {
        deflate.reset();
        if !before.is_empty() {
            deflate.set_dictionary(before).unwrap();
        }
        let mut out = vec![0; plain.len() + plain.len() / 8 + 64];
        let _ = deflate.compress(plain, &mut out, flush).unwrap();
        out.truncate(usize::try_from(deflate.total_out()).unwrap());
        if out.ends_with(&END[..4]) {
            out.truncate(out.len() - 4);
        }
        out
    })
}
