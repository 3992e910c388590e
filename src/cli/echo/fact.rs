//! What happens at the echo peer, told once.

use std::{fmt, net::SocketAddr};

use wskeeper_core::deflate::Agreement;

/// One thing that happened to one connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fact {
    /// Counts connections from 1.
    pub connection: u64,
    /// What happened.
    pub what: What,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum What {
    /// The upgrade was answered with 101.
    Opened {
        /// The client's address.
        from: SocketAddr,
        /// The subprotocol chosen.
        protocol: Option<String>,
        /// What was agreed on for compression.
        compression: Option<Agreement>,
    },
    /// The upgrade was answered with this status.
    Refused {
        /// HTTP status.
        status: u16,
        /// Seconds in `Retry-After`.
        retry_after: Option<u32>,
    },
    /// What came was not a WebSocket upgrade, or it broke off.
    Failed(String),
    /// The connection was reset on purpose.
    Dropped,
    /// It no longer reads and answers.
    Stalled,
    /// It reads and no longer answers.
    Silent,
    /// The peer began to close.
    Closing {
        /// With this code.
        code: u16,
    },
    /// The connection ended.
    Ended {
        /// Code of the client's Close frame: 1005 it had none, 1006 there was no Close frame.
        code: u16,
        /// Messages echoed.
        echoed: u64,
    },
}

impl fmt::Display for Fact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "#{} ", self.connection)?;
        match &self.what {
            What::Opened { from, protocol, compression } => {
                write!(f, "open from {from}")?;
                if let Some(protocol) = protocol {
                    write!(f, ", subprotocol {protocol}")?;
                }
                if let Some(agreed) = compression {
                    write!(f, ", {agreed}")?;
                }
                Ok(())
            }
            What::Refused { status, retry_after: Some(seconds) } => {
                write!(f, "refused with {status}, Retry-After {seconds} s")
            }
            What::Refused { status, retry_after: None } => write!(f, "refused with {status}"),
            What::Failed(error) => write!(f, "failed: {error}"),
            What::Dropped => f.write_str("reset on purpose (TCP RST)"),
            What::Stalled => f.write_str("stalled on purpose: no longer reads"),
            What::Silent => f.write_str("silent on purpose: reads and never answers"),
            What::Closing { code: 1006 } => f.write_str("TCP ended on purpose without a Close frame"),
            What::Closing { code } => write!(f, "closing on purpose with {code}"),
            What::Ended { code, echoed } => write!(f, "ended ({code}), {echoed} echoed"),
        }
    }
}
