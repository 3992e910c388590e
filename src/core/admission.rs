//! Who may dial now: limits over the whole pool, so that a start-up or a storm is spread.

/// The pool's limits on attempts.
#[derive(Debug, Clone, PartialEq)]
pub struct Policy {
    /// Connections CONNECTING to one IP address and port (RFC 6455 §4.1 demands 1).
    pub per_host: usize,
    /// Connections CONNECTING altogether.
    pub total: usize,
    /// New attempts a second; `None`: no limit.
    pub rate: Option<f64>,
}

impl Default for Policy {
    fn default() -> Self {
        Self { per_host: 1, total: 64, rate: None }
    }
}
