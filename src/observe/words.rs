//! Numbers, times and causes as people read them.
//!
//! The daemon's explanations and the command line share them, so that both say the same thing in the same words.

use std::time::{Duration, SystemTime};

use wskeeper_core::close::Cause;

/// A span in its two largest units: `4s`, `2m 10s`, `3d 4h`.
pub fn span(span: Duration) -> String {
    let seconds = span.as_secs();
    let (large, small, names) = match seconds {
        0 if span.subsec_millis() > 0 => return format!("{}ms", span.subsec_millis()),
        0..60 => return format!("{seconds}s"),
        60..3600 => (seconds / 60, seconds % 60, ("m", "s")),
        3600..86_400 => (seconds / 3600, seconds % 3600 / 60, ("h", "m")),
        _ => (seconds / 86_400, seconds % 86_400 / 3600, ("d", "h")),
    };
    if small == 0 { format!("{large}{}", names.0) } else { format!("{large}{} {small}{}", names.0, names.1) }
}

/// From `earlier` to `later` in whole seconds; nothing where clocks disagree.
pub fn between(earlier: SystemTime, later: SystemTime) -> String {
    let passed = later.duration_since(earlier).unwrap_or_default();
    span(Duration::from_secs(passed.as_secs()))
}

/// Bytes with a binary unit: `0 B`, `1.5 KiB`.
pub fn bytes(bytes: u64) -> String {
    bytesize::ByteSize(bytes).display().iec().to_string()
}

/// A count with its noun: `1 message`, `2 messages`.
pub fn count(number: u64, noun: &str) -> String {
    format!("{} {noun}{}", grouped(number), if number == 1 { "" } else { "s" })
}

/// A number in groups of three digits.
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (position, digit) in digits.chars().enumerate() {
        if position > 0 && (digits.len() - position).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Milliseconds: `0.42 ms`, `17 ms`.
pub fn millis(millis: f64) -> String {
    if millis < 10.0 { format!("{millis:.2} ms") } else { format!("{millis:.0} ms") }
}

/// What ended a connection or an attempt, as the end of a sentence.
pub const fn cause(cause: Cause) -> &'static str {
    match cause {
        Cause::Remote => "the peer closed it",
        Cause::Operator => "an operator or a local program closed it",
        Cause::Reload => "a reload closed it",
        Cause::Rotate => "a new connection has taken its place",
        Cause::Idle => "nobody had used it for idle_timeout",
        Cause::Shutdown => "the daemon stopped",
        Cause::Secret => "a secret could not be read",
        Cause::Dns => "the host name could not be resolved",
        Cause::Connect => "no address accepted the connection",
        Cause::Tls => "the TLS handshake failed",
        Cause::Proxy => "there is no way through the proxy",
        Cause::Upgrade => "the server refused the WebSocket upgrade",
        Cause::Subprotocol => "no subprotocol was agreed",
        Cause::Session => "the session failed",
        Cause::PongTimeout => "nothing was heard after a ping",
        Cause::Mute => "no data came for too long",
        Cause::Protocol => "the peer broke the WebSocket protocol",
        Cause::TooBig => "a message was larger than inbox.max_message",
        Cause::Reset => "the TCP connection ended without a Close frame",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_shows_its_two_largest_units() {
        let shown = |millis| span(Duration::from_millis(millis));
        assert_eq!(shown(0), "0s");
        assert_eq!(shown(250), "250ms");
        assert_eq!(shown(59_999), "59s");
        assert_eq!(shown(60_000), "1m");
        assert_eq!(shown(130_000), "2m 10s");
        assert_eq!(shown(3_900_000), "1h 5m");
        assert_eq!(shown(86_400_000 * 3 + 3_600_000 * 4), "3d 4h");
    }

    #[test]
    fn a_clock_that_went_back_shows_nothing_rather_than_nonsense() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(10);
        assert_eq!(between(now, SystemTime::UNIX_EPOCH), "0s");
    }

    #[test]
    fn sizes_and_counts_are_readable() {
        assert_eq!(bytes(0), "0 B");
        assert_eq!(bytes(1536), "1.5 KiB");
        assert_eq!(count(1, "message"), "1 message");
        assert_eq!(count(1_234_567, "message"), "1,234,567 messages");
        assert_eq!(grouped(100), "100");
        assert_eq!(millis(0.417), "0.42 ms");
        assert_eq!(millis(17.4), "17 ms");
    }
}
