//! Whether messages are compressed (RFC 7692), and how.

use wskeeper_core::deflate::{MOST_BITS, Proposal, Takeover};

/// `compression` and the keys that begin with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Compression {
    /// Whether it is offered.
    pub is_offered: bool,
    /// How hard ours are compressed: 1 to 9.
    pub level: u8,
    /// Shorter messages leave as they are.
    pub threshold: u32,
    /// What is offered.
    pub offer: Proposal,
}

impl Default for Compression {
    fn default() -> Self {
        let offer = Proposal { context: Takeover::Neither, window_bits: MOST_BITS };
        Self { is_offered: false, level: 3, threshold: 256, offer }
    }
}
