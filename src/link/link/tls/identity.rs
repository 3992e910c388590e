//! The certificate of ours that a server is shown where it asks for one, and whether it asked.
//!
//! Some servers hang up without a word where they get none or another than they want: that they had asked is all there is to know.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use rustls::{SignatureScheme, client::ResolvesClientCert, sign::CertifiedKey};

/// What is shown, if anything is.
#[derive(Debug)]
pub(super) struct Identity {
    shown: Option<Arc<CertifiedKey>>,
    asked: AtomicBool,
}

impl Identity {
    pub(super) fn new(shown: Option<Arc<CertifiedKey>>) -> Self {
        Self { shown, asked: AtomicBool::new(false) }
    }

    /// Whether the server asked, and what it got.
    pub(super) fn asked(&self) -> Asked {
        match (self.asked.load(Ordering::Relaxed), &self.shown) {
            (false, _) => Asked::No,
            (true, None) => Asked::InVain,
            (true, Some(_)) => Asked::AndGot,
        }
    }
}

/// Whether a server has asked for a certificate of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::link) enum Asked {
    No,
    /// There is none.
    InVain,
    /// It was shown one.
    AndGot,
}

impl ResolvesClientCert for Identity {
    fn resolve(&self, _issuers: &[&[u8]], _schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        self.asked.store(true, Ordering::Relaxed);
        self.shown.clone()
    }

    fn has_certs(&self) -> bool {
        self.shown.is_some()
    }
}
