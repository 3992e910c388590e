//! Whether orders come together: the first of a burst waits for the others, so that one write carries what they all send.
//!
//! A burst is what is taken between two moments at which nothing is there. What a reader would get wrong: where bursts of one have come
//! in a row none waits, but now and then one does, or it would never be seen that they come together again.

use std::mem;

/// So many bursts in a row that came alone say that the next one does, too.
const ALONE: u8 = 2;
/// One in so many is given the chance to show that it does not.
const PROBE: u8 = 64;

/// How orders have come.
#[derive(Debug, Default)]
pub(super) struct Bursts {
    /// So often was something put in line since the last burst was over: never, once, or more.
    came: u8,
    /// This burst is being taken, or has waited.
    has_begun: bool,
    /// Bursts in a row that came at once; begins again at `ALONE` where one has had its chance.
    alone: u8,
}

impl Bursts {
    /// Something comes, with all that is put in line at the same moment.
    pub(super) fn arrives(&mut self) {
        self.came = self.came.saturating_add(1);
    }

    /// Whether the first that comes is to wait for others; no more than once in a burst.
    pub(super) fn is_to_wait(&mut self) -> bool {
        !mem::replace(&mut self.has_begun, true) && (self.alone < ALONE || self.alone >= PROBE)
    }

    /// The burst is over.
    pub(super) fn ends(&mut self) {
        match self.came {
            0 => return,
            1 if self.alone >= PROBE => self.alone = ALONE,
            1 => self.alone += 1,
            _ => self.alone = 0,
        }
        (self.came, self.has_begun) = (0, false);
    }
}
