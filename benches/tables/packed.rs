//! permessage-deflate (RFC 7692) at the far end: messages that are compressed before anything is measured, and what comes back.
//!
//! Frames of one call may be sent again and again, also where the peer keeps a context: the first of them refers to nothing before it.

use zlib_rs::{Deflate, DeflateError, DeflateFlush, Inflate, InflateError, InflateFlush, compress_bound};

use super::{
    frames::{self, COMPRESSED, TEXT},
    peer::Raw,
};
use crate::support::Result;

/// As servers compress that were not told how.
const LEVEL: i32 = 6;
const WINDOW_BITS: u8 = 15;
/// What ends the last block of a message, and is left out of it (RFC 7692 §7.2.1).
const TAIL: [u8; 4] = [0x00, 0x00, 0xFF, 0xFF];
/// What a flush may add beyond a stream that is finished.
const FLUSHED: usize = 64;
/// No message is longer.
const LONGEST: usize = 64 << 10;

/// A frame for each; where `keeps`, they refer to those before.
pub(crate) fn frames(messages: &[String], keeps: bool) -> Result<Vec<u8>> {
    let mut deflate = Deflate::new(LEVEL, false, WINDOW_BITS);
    let mut out = Vec::new();
    for message in messages {
        if !keeps {
            deflate.reset();
        }
        let mut packed = vec![0; compress_bound(message.len()) + FLUSHED];
        let before = deflate.total_out();
        deflate.compress(message.as_bytes(), &mut packed, DeflateFlush::SyncFlush).map_err(DeflateError::as_str)?;
        packed.truncate(usize::try_from(deflate.total_out() - before)?);
        let packed = packed.strip_suffix(&TAIL).ok_or("a flush that does not end in an empty block")?;
        frames::append(&mut out, TEXT | COMPRESSED, true, packed, false);
    }
    Ok(out)
}

/// What these messages say; where `keeps`, they may refer to those before.
pub(crate) fn inflated(messages: &[Raw], keeps: bool) -> Result<Vec<String>> {
    let mut inflate = Inflate::new(false, WINDOW_BITS);
    let mut said = Vec::new();
    for Raw { is_compressed, payload } in messages {
        if !*is_compressed {
            said.push(String::from_utf8(payload.clone())?);
            continue;
        }
        if !keeps {
            inflate.reset(false);
        }
        let mut plain = vec![0; LONGEST];
        let before = inflate.total_out();
        let input = [&payload[..], &TAIL].concat();
        inflate.decompress(&input, &mut plain, InflateFlush::SyncFlush).map_err(InflateError::as_str)?;
        plain.truncate(usize::try_from(inflate.total_out() - before)?);
        said.push(String::from_utf8(plain)?);
    }
    Ok(said)
}
