//! Reads the engine's write-ahead log before the engine does, because the engine takes damage in it for its end.
//!
//! SQLite ends its recovery at the first frame whose checksum is wrong, and forgets what follows without a word: right for a
//! write that a crash tore, wrong for a flipped bit under messages that were acknowledged. The two can be told apart: a
//! transaction is written only after the one before it was synced. So where a transaction ends behind the bad frame and
//! another frame follows it, acknowledged data is damaged. The log's format: <https://sqlite.org/fileformat2.html#walformat>.

use std::{
    fs::File,
    io::{self, BufReader, ErrorKind, Read},
    path::Path,
};

const HEADER: usize = 32;
const FRAME_HEADER: usize = 24;
/// Whether checksums are over big-endian words is the lowest bit.
const MAGIC: u32 = 0x377f_0682;

/// What a log holds.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct Log {
    /// Names this round of the log: it starts over with new ones. `None`: there is no log, or only the beginning of a header.
    pub(super) salts: Option<[u8; 8]>,
    /// Frames of whole transactions, up to the first bad one.
    pub(super) frames: u64,
    /// What is wrong with it, where acknowledged data is.
    pub(super) damage: Option<String>,
}

/// Reads the log of this path. None at all is an empty one.
pub(super) fn examine(path: &Path) -> io::Result<Log> {
    match File::open(path) {
        Ok(file) => read(BufReader::with_capacity(1 << 16, file)),
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(Log::default()),
        Err(e) => Err(e),
    }
}

fn read(mut file: impl Read) -> io::Result<Log> {
    let mut header = [0; HEADER];
    if !fill(&mut file, &mut header)? {
        return Ok(Log::default());
    }
    let magic = word(&header, 0);
    let mut sum = Sum { is_big_endian: magic & 1 == 1, parts: (0, 0) };
    sum.add(&header[..24]);
    if magic & !1 != MAGIC || !sum.is(&header[24..]) {
        return Ok(Log { damage: Some("the header of its log is damaged".to_owned()), ..Log::default() });
    }
    let mut salts = [0; 8];
    salts.copy_from_slice(&header[16..24]);
    let mut log = Log { salts: Some(salts), ..Log::default() };
    let mut page = vec![0; (word(&header, 8) as usize).clamp(512, 1 << 16)];
    let (mut frame, mut number, mut bad, mut ended_after) = ([0; FRAME_HEADER], 0, None, false);
    while fill(&mut file, &mut frame)? && fill(&mut file, &mut page)? {
        number += 1;
        let is_ours = frame[8..16] == salts;
        let is_end = word(&frame, 4) != 0;
        if bad.is_none() {
            sum.add(&frame[..8]);
            sum.add(&page);
            if is_ours && sum.is(&frame[16..]) {
                log.frames = if is_end { number } else { log.frames };
                continue;
            }
            bad = Some(number);
        }
        if is_ours && ended_after {
            log.damage = bad.map(|bad| format!("frame {bad} of its log is damaged, and acknowledged ones follow it"));
            break;
        }
        ended_after |= is_ours && is_end;
    }
    Ok(log)
}

/// Whether there was enough to fill it.
fn fill(file: &mut impl Read, buffer: &mut [u8]) -> io::Result<bool> {
    match file.read_exact(buffer) {
        Ok(()) => Ok(true),
        Err(e) if e.kind() == ErrorKind::UnexpectedEof => Ok(false),
        Err(e) => Err(e),
    }
}

fn word(bytes: &[u8], at: usize) -> u32 {
    bytes.get(at..at + 4).and_then(|word| word.try_into().ok()).map_or(0, u32::from_be_bytes)
}

/// The log's checksum, which runs on from frame to frame.
struct Sum {
    is_big_endian: bool,
    parts: (u32, u32),
}

impl Sum {
    fn add(&mut self, bytes: &[u8]) {
        for pair in bytes.as_chunks::<8>().0 {
            let (mut first, mut second) = (word(pair, 0), word(pair, 4));
            if !self.is_big_endian {
                (first, second) = (first.swap_bytes(), second.swap_bytes());
            }
            self.parts.0 = self.parts.0.wrapping_add(first).wrapping_add(self.parts.1);
            self.parts.1 = self.parts.1.wrapping_add(second).wrapping_add(self.parts.0);
        }
    }

    fn is(&self, stored: &[u8]) -> bool {
        self.parts == (word(stored, 0), word(stored, 4))
    }
}
