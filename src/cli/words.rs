//! Phases as people see them, and the words that the daemon uses too.
//!
//! What a reader would get wrong: a phase is shown by its shape first; colour only repeats it.

use super::output::Paint;
use wskeeper_core::phase::Phase;

pub(super) use crate::observe::words::{between, bytes, cause, count, grouped, millis, span};

/// A phase's shape; readable without colours.
pub(super) const fn shape(phase: Option<Phase>) -> &'static str {
    match phase {
        Some(Phase::Ready) => "●",
        Some(Phase::Connecting | Phase::Opening | Phase::Closing) => "◐",
        Some(Phase::Waiting) => "○",
        Some(Phase::Paused) => "◌",
        Some(Phase::Parked) => "✕",
        None => "?",
    }
}

/// A phase's colour.
pub(super) const fn tint(phase: Option<Phase>) -> Paint {
    match phase {
        Some(Phase::Ready) => Paint::Green,
        Some(Phase::Connecting | Phase::Opening | Phase::Closing | Phase::Waiting) => Paint::Yellow,
        Some(Phase::Parked) => Paint::Red,
        Some(Phase::Paused) => Paint::Dim,
        None => Paint::Plain,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_phase_has_a_shape() {
        for phase in Phase::ALL {
            assert_ne!(shape(Some(phase)), "?");
        }
    }
}
