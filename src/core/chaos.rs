//! Faults that an operator may ask for, so that people can see what their programs make of them.
//!
//! A fault is put under the link, where a real one would be: nothing above knows the difference, and every receipt, gap and
//! metric is that of the real fault.

use std::{ops::RangeInclusive, time::Duration};

use super::close::{BadClose, CloseFrame, MAX_REASON_BYTES};

/// Codes that an honest peer may put into a Close frame (RFC 6455 §7.4, and 1012 to 1014 of the registry).
const PEER_CODES: [RangeInclusive<u16>; 3] = [1000..=1003, 1007..=1014, 3000..=4999];

/// What is to go wrong with a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// TCP is reset at once, in both directions.
    Drop,
    /// Nothing is read and nothing written for this long; then the connection goes on, if it still is.
    Stall(Duration),
    /// What is written vanishes and nothing arrives any more, until something gives the connection up.
    HalfOpen,
    /// As if the peer had sent this Close frame.
    Close(Option<CloseFrame>),
}

impl Fault {
    /// A Close of the peer's; neither code nor reason means a frame without a body.
    pub fn close(code: Option<u16>, reason: Option<&str>) -> Result<Self, BadClose> {
        let reason = reason.unwrap_or_default();
        if let Some(code) = code
            && !PEER_CODES.iter().any(|codes| codes.contains(&code))
        {
            return Err(BadClose::PeerCode(code));
        }
        if reason.len() > MAX_REASON_BYTES {
            return Err(BadClose::Reason(reason.len()));
        }
        if code.is_none() && reason.is_empty() {
            return Ok(Self::Close(None));
        }
        Ok(Self::Close(Some(CloseFrame { code: code.unwrap_or(1000), reason: reason.into() })))
    }

    /// The word used in JSON and logs.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Drop => "drop",
            Self::Stall(_) => "stall",
            Self::HalfOpen => "half_open",
            Self::Close(_) => "close",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_close_has_a_code_that_a_peer_may_send() {
        for code in [1000, 1001, 1003, 1007, 1012, 1014, 3000, 4401] {
            assert!(Fault::close(Some(code), Some("why")).is_ok(), "{code}");
        }
        for code in [0, 999, 1004, 1005, 1006, 1015, 2999, 5000] {
            assert_eq!(Fault::close(Some(code), None), Err(BadClose::PeerCode(code)));
        }
        assert_eq!(Fault::close(None, None), Ok(Fault::Close(None)));
        assert_eq!(Fault::close(None, Some(&"x".repeat(124))), Err(BadClose::Reason(124)));
    }
}
