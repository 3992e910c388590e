//! Whether WebSockets are opened by HTTP/2 (RFC 8441).
//!
//! What a reader would get wrong: `auto` never asks a server without TLS, for such a one does not say whether it speaks HTTP/2.

use super::url::Target;

/// `http2`, `http2_links`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Http2 {
    /// Whether.
    pub mode: Mode,
    /// Links on one connection at most.
    pub links: u32,
}

/// `http2`
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Mode {
    /// By HTTP/1.1, each link on a connection of its own.
    #[default]
    Never,
    /// Where the server speaks it over TLS, and says that it opens WebSockets by it; else by HTTP/1.1.
    Auto,
    /// By HTTP/2 alone, without TLS too.
    Require,
}

impl Default for Http2 {
    fn default() -> Self {
        Self { mode: Mode::Never, links: 100 }
    }
}

impl Http2 {
    /// Whether this server is asked for it.
    pub(crate) fn is_for(&self, target: &Target) -> bool {
        match self.mode {
            Mode::Never => false,
            Mode::Auto => target.tls,
            Mode::Require => true,
        }
    }

    /// Whether HTTP/1.1 does where HTTP/2 does not.
    pub(crate) fn falls_back(&self) -> bool {
        self.mode != Mode::Require
    }
}
