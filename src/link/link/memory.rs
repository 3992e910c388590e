//! What a link remembers of servers from one attempt to the next: cookies, and how a server asks for a password.
//!
//! What a reader would get wrong: most links have none of it. It is made when there is something to remember, and kept by the endpoint.

use std::fmt;

use parking_lot::Mutex;

pub(super) use cookies::Jar;
pub use digest::DigestTrouble;
pub(super) use digest::{
    ASKED, AnswersGiven, Challenge, Credentials, KnownChallenge, REFUSED, UNKNOWN, asked as digest_asked, response,
};

mod cookies;
mod digest;

/// What is remembered.
#[derive(Default)]
pub(crate) struct Memory {
    /// Cookies of servers.
    pub(super) jar: Jar,
    /// The last challenge that was answered, and whose it is.
    pub(super) challenge: Mutex<Option<KnownChallenge>>,
}

/// Cookies may be as good as passwords.
impl fmt::Debug for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Memory")
    }
}

impl Memory {
    /// How many cookies there are.
    pub(crate) fn cookies(&self) -> usize {
        self.jar.len()
    }

    /// Forgets the cookies.
    pub(crate) fn clear_cookies(&self) {
        self.jar.clear();
    }
}
