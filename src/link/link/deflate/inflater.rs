//! An inflater of the thread, and the piece of a message that it has made so far.

use std::cell::RefCell;

use zlib_rs::{Inflate, InflateFlush, Status};

use super::{History, TAIL};
use wskeeper_core::{breach::Breach, deflate::MOST_BITS};

/// A longer message comes in pieces of this length.
pub(super) const PIECE: usize = 16 << 10;
/// Inflaters that a thread keeps.
const SPARE: usize = 2;
/// What zlib allocates for one, with a piece.
pub(super) const HELD: usize = (47 << 10) + PIECE;
/// Final blocks of one message: each costs more than its two bytes.
const FINALS_MAX: u8 = 64;

/// What is read behind the last byte of a message: what was left out of it, and a final block without bytes. A message that is whole
/// ends with that and not before.
const END: [u8; 9] = {
    let [a, b, c, d] = TAIL;
    [a, b, c, d, 0x01, 0x00, 0x00, 0xFF, 0xFF]
};

thread_local! {
    static INFLATERS: RefCell<Vec<Inflater>> = const { RefCell::new(Vec::new()) };
}

/// A message that is being inflated.
pub(super) struct Inflater {
    inflate: Inflate,
    piece: Box<[u8]>,
    filled: usize,
    finals: u8,
    /// It has read nothing yet, or nothing since a final block. Some servers make no byte of an empty message, such as those by Erlang's zlib.
    rests: bool,
    /// So many bytes of [`END`] have been read.
    ended: usize,
}

const CORRUPT: Breach = Breach::Deflate("a compressed message that is corrupt");
const TRUNCATED: Breach = Breach::Deflate("a compressed message that is corrupt, or stops before its end");
const FINALS: Breach = Breach::Deflate("a compressed message with more than 64 final blocks");

impl Inflater {
    /// One of the thread's, for a message behind this.
    pub(super) fn borrow(history: &History) -> Self {
        let mut this = INFLATERS.with_borrow_mut(Vec::pop).unwrap_or_else(|| Self {
            inflate: Inflate::new(false, MOST_BITS),
            piece: vec![0; PIECE].into(),
            filled: 0,
            finals: 0,
            rests: true,
            ended: 0,
        });
        (this.filled, this.finals, this.rests, this.ended) = (0, 0, true, 0);
        this.begin(history.bytes());
        this
    }

    /// Back to the thread.
    pub(super) fn give_back(self) {
        INFLATERS.with_borrow_mut(|spare| {
            if spare.len() < SPARE {
                spare.push(self);
            }
        });
    }

    fn begin(&mut self, before: &[u8]) {
        self.inflate.reset(false);
        if !before.is_empty() {
            // It is refused where a header of zlib's is awaited only.
            let _ = self.inflate.set_dictionary(before);
        }
    }

    /// What it has made, and there is no more room behind it.
    pub(super) fn is_full(&self) -> bool {
        self.filled == PIECE
    }

    /// What it has made since this was last emptied.
    pub(super) fn piece(&self) -> &[u8] {
        &self.piece[..self.filled]
    }

    /// The piece has been taken.
    pub(super) fn empty(&mut self) {
        self.filled = 0;
    }

    /// Reads from the front of these, until the piece is full at most: how many. `history` is what was said before the piece.
    pub(super) fn read(&mut self, input: &[u8], history: &History) -> Result<usize, Breach> {
        let (read, status) = self.step(input)?;
        self.rests &= read == 0;
        if status == Status::StreamEnd {
            self.count_final()?;
            // What stands behind a final block is the next one of the same message (RFC 7692 §7.2.3.4).
            let mut before = History::default();
            before.add(history.bytes(), 1 << MOST_BITS);
            before.add(self.piece(), 1 << MOST_BITS);
            self.begin(before.bytes());
            self.rests = true;
        } else if read == 0 && !self.is_full() {
            return Err(CORRUPT);
        }
        Ok(read)
    }

    /// Behind the last byte of the message: whether that is all of it. Where it is not, the piece is full.
    pub(super) fn finish(&mut self) -> Result<bool, Breach> {
        let filled = self.filled;
        let is_all = self.end();
        if is_all.is_err() {
            // A block that stops too soon takes the end for what it stores, and the other end has not said that.
            self.filled = filled;
        }
        is_all
    }

    /// The same, with what it makes of its end.
    fn end(&mut self) -> Result<bool, Breach> {
        if self.rests {
            return Ok(true);
        }
        let (read, status) = self.step(&END[self.ended..]).map_err(|_| TRUNCATED)?;
        self.ended += read;
        match status {
            Status::StreamEnd if self.ended == END.len() => Ok(true),
            // A final block of the message itself, which had no room for its last bytes until now.
            Status::StreamEnd if self.ended == 0 => self.count_final().map(|()| true),
            Status::Ok | Status::BufError if self.is_full() => Ok(false),
            Status::Ok | Status::BufError | Status::StreamEnd => Err(TRUNCATED),
        }
    }

    fn count_final(&mut self) -> Result<(), Breach> {
        self.finals += 1;
        if self.finals > FINALS_MAX { Err(FINALS) } else { Ok(()) }
    }

    fn step(&mut self, input: &[u8]) -> Result<(usize, Status), Breach> {
        let (before, made) = (self.inflate.total_in(), self.inflate.total_out());
        let status = self.inflate.decompress(input, &mut self.piece[self.filled..], InflateFlush::NoFlush);
        // Neither is more than what it was given.
        let small = |count: u64| usize::try_from(count).unwrap_or(usize::MAX);
        // What was made before bytes that are corrupt counts too.
        self.filled += small(self.inflate.total_out() - made);
        Ok((small(self.inflate.total_in() - before), status.map_err(|_| CORRUPT)?))
    }
}
