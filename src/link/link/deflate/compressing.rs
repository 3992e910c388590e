//! Compresses messages of ours, fragment by fragment, each with a compressor of the thread.
//!
//! A fragment ends on a byte and is flushed, so the next one can be compressed by another compressor that is given what went before.
//! What a reader would get wrong: what did not become smaller leaves as it is, and is no part of the context then.

use std::{cell::RefCell, fmt, ops::Range};

use zlib_rs::{Deflate, DeflateConfig, DeflateFlush, compress_bound};

use super::{History, TAIL};
use crate::endpoint::compression::Compression;
use wskeeper_core::deflate::{LEAST_BITS, OneWay};

/// Compressors that a thread keeps: endpoints may differ in what they compress with.
const SPARE: usize = 4;
/// What a flush may add to a fragment, beyond what zlib says of a stream that is finished.
const FLUSHED: usize = 64;

thread_local! {
    static COMPRESSORS: RefCell<Vec<Compressor>> = const { RefCell::new(Vec::new()) };
}

struct Compressor {
    /// Its window and level.
    made: (u8, u8),
    deflate: Deflate,
}

/// How messages of one connection are compressed.
pub(in super::super) struct Compressing {
    window_bits: u8,
    level: u8,
    /// Shorter messages leave as they are.
    threshold: u32,
    /// Whether what was said goes into the next message.
    keeps: bool,
    history: History,
}

impl fmt::Debug for Compressing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Compressing({} bits)", self.window_bits)
    }
}

impl Compressing {
    /// As it was agreed on. With a window that zlib does not have, nothing is compressed.
    pub(super) fn new(settings: Compression, OneWay { keeps_context, window_bits }: OneWay) -> Self {
        Self {
            window_bits,
            level: settings.level,
            threshold: if window_bits < LEAST_BITS { u32::MAX } else { settings.threshold },
            keeps: keeps_context,
            history: History::default(),
        }
    }

    /// Bytes that it keeps between messages, at most.
    pub(super) fn window(&self) -> u64 {
        OneWay { keeps_context: self.keeps, window_bits: self.window_bits }.window()
    }

    /// The first fragment of a message, where it is worth it.
    pub(in super::super) fn first(&mut self, message: &[u8], fragment: usize) -> Option<Vec<u8>> {
        if u32::try_from(message.len()).is_ok_and(|length| length < self.threshold) {
            return None;
        }
        let compressed = self.compress(message, 0..fragment);
        if compressed.len() >= fragment {
            return None;
        }
        self.note(message, fragment);
        Some(compressed)
    }

    /// A later fragment of a message whose first one was compressed.
    pub(in super::super) fn next(&mut self, message: &[u8], fragment: Range<usize>) -> Vec<u8> {
        let end = fragment.end;
        let compressed = self.compress(message, fragment);
        self.note(message, end);
        compressed
    }

    fn note(&mut self, message: &[u8], end: usize) {
        if self.keeps && end == message.len() {
            self.history.add(message, 1 << self.window_bits);
        }
    }

    fn compress(&self, message: &[u8], fragment: Range<usize>) -> Vec<u8> {
        let before = match fragment.start {
            0 => self.history.bytes(),
            start => &message[start.saturating_sub(1 << self.window_bits)..start],
        };
        let mut compressed = COMPRESSORS.with_borrow_mut(|spare| {
            let made = (self.window_bits, self.level);
            let at = spare.iter().position(|compressor| compressor.made == made);
            let mut compressor = at.map_or_else(|| Compressor::new(made), |at| spare.remove(at));
            let compressed = compressor.compress(before, &message[fragment.clone()]);
            spare.truncate(SPARE - 1);
            spare.insert(0, compressor);
            compressed
        });
        if fragment.end == message.len() && compressed.ends_with(&TAIL) {
            compressed.truncate(compressed.len() - TAIL.len());
        }
        compressed
    }
}

impl Compressor {
    fn new((window_bits, level): (u8, u8)) -> Self {
        // Less than nothing: no header of zlib's.
        let window = -i32::from(window_bits);
        let config = DeflateConfig { window_bits: window, level: level.into(), ..DeflateConfig::default() };
        Self { made: (window_bits, level), deflate: Deflate::new_with_config(config) }
    }

    fn compress(&mut self, before: &[u8], plain: &[u8]) -> Vec<u8> {
        self.deflate.reset();
        if !before.is_empty() {
            // It is refused in the middle of a stream only.
            let _ = self.deflate.set_dictionary(before);
        }
        let mut compressed = vec![0; compress_bound(plain.len()) + FLUSHED];
        loop {
            let (read, written) = self.done();
            let _ = self.deflate.compress(&plain[read..], &mut compressed[written..], DeflateFlush::SyncFlush);
            let (_, written) = self.done();
            if written < compressed.len() {
                compressed.truncate(written);
                return compressed;
            }
            compressed.resize(2 * written, 0);
        }
    }

    /// Bytes that it has read and written since it was reset: no more than there are.
    fn done(&self) -> (usize, usize) {
        let small = |count: u64| usize::try_from(count).unwrap_or(usize::MAX);
        (small(self.deflate.total_in()), small(self.deflate.total_out()))
    }
}
