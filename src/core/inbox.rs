//! An endpoint's bounded, numbered log of what arrived.

/// How much of the log is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// Messages kept at most.
    pub max_messages: usize,
    /// Bytes of application data kept at most; the newest message is kept whatever its size.
    pub max_bytes: u64,
    /// The largest message that may arrive; a larger one fails the connection with 1009.
    pub max_message: usize,
}

impl Default for Policy {
    fn default() -> Self {
        Self { max_messages: 1024, max_bytes: 1 << 20, max_message: 1 << 20 }
    }
}
