//! Whether the peer is still there: a ping once nothing has arrived for `idle`, and the end if nothing arrives in `timeout` after it.

use std::time::Duration;

/// When to ping and when to give up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// A ping is sent once nothing has arrived for this long. Worst-case detection is `idle + timeout`.
    pub idle: Duration,
    /// Nothing at all arriving for this long after the ping ends the connection.
    pub timeout: Duration,
    /// The Close code sent then; `None` aborts TCP without one.
    pub abort_code: Option<u16>,
}

impl Default for Policy {
    fn default() -> Self {
        Self { idle: Duration::from_secs(20), timeout: Duration::from_secs(10), abort_code: None }
    }
}
