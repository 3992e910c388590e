//! What a connection holds of the process's memory: the windows of compression, and of a message that is not whole what is there of it.
//!
//! What a reader would get wrong: the windows are held whole from the attempt on, before any byte of them is there; so a connection finds room
//! for them or is made without, and is not ended for them later.

use super::{Socket, Wire};
use crate::link::arrival::Arrival;
use wskeeper_core::budget::Hold;

/// What has begun to arrive counts in the budget from here on.
const SMALL: u64 = 16 << 10;

impl<S: Wire> Socket<S> {
    /// Keeps what was held for the windows, as far as they were agreed on.
    pub(in super::super) fn keep(&mut self, windows: Option<Box<Hold>>) {
        self.arriving = windows;
        self.hold_windows_alone();
    }

    /// Gives back what was held for a message.
    pub(super) fn hold_windows_alone(&mut self) {
        let windows = self.stream.stream().windows();
        // Never more than it has: where nobody counts, or a message found no room beside its window, there is nothing to be had.
        self.arriving = self.arriving.take().filter(|_| windows > 0);
        if let Some(hold) = &mut self.arriving {
            let _ = hold.resize(windows.min(hold.bytes()));
        }
    }

    /// Bytes that have arrived of a message that is not whole, with what is needed to inflate it and the windows, where they are many.
    pub(in super::super) fn arriving(&mut self) -> Option<u64> {
        let begun = self.stream.read().saturating_sub(self.whole_until) + self.stream.stream().held();
        (begun > SMALL && !self.discarding).then(|| begun + self.stream.stream().windows())
    }

    /// Holds so many bytes of the process's memory: by a `hold` of its endpoint's where there is none yet. Where there is no room,
    /// nothing that comes is processed any more.
    pub(in super::super) fn hold(&mut self, bytes: u64, hold: impl FnOnce() -> Hold) -> Option<Arrival> {
        if self.arriving.get_or_insert_with(|| Box::new(hold())).resize(bytes) {
            return None;
        }
        self.discarding = true;
        Some(Arrival::without_room())
    }
}
