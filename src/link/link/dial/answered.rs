//! A server that asks for a password by Digest: it is answered within the attempt, on a connection of its own.
//!
//! What a reader would get wrong: an answer that is refused is not repeated here, or a wrong password would be tried again and again at once.
//! It fails the attempt as any 401, and what follows that is the outcome table's.

use super::{Ask, Attempt, UpgradeFault};
use crate::{
    endpoint::http2::Mode,
    link::memory::{ASKED, Challenge, KnownChallenge, REFUSED, UNKNOWN},
};

impl Attempt {
    /// Has what is remembered of servers; where there is nothing, begins with it if that is wanted.
    pub(super) fn remember(&mut self, begin: bool) {
        if self.memory.is_none() {
            self.memory = self.source.memory(self.id.index, begin);
        }
    }

    /// Whether this server is known to ask for Digest, or is to be asked by it. Then it is asked by HTTP/1.1: what the method of an extended
    /// CONNECT is to whom that looks at the answer, nothing says.
    pub(super) fn is_challenged(&self, ask: &Ask) -> bool {
        let is_known = || {
            let memory = self.memory.as_ref()?;
            memory.challenge.lock().as_ref().map(|known| known.is_of(&ask.goal.target))
        };
        self.endpoint.http2.mode == Mode::Auto && (self.endpoint.digest.is_some() || is_known() == Some(true))
    }

    /// Whether a refusal is a challenge that the next request answers.
    pub(super) fn answers_to(&mut self, ask: &Ask, fault: &UpgradeFault) -> bool {
        let Some(asks) = fault.asks() else { return false };
        let (challenge, has_credentials) = (Challenge::strongest(asks), ask.credentials().is_some());
        let challenge = match challenge {
            _ if !has_credentials => Err(ASKED),
            None => Err(UNKNOWN),
            // By HTTP/2 alone it cannot be answered.
            Some(_) if self.endpoint.http2.mode == Mode::Require => Err(UNKNOWN),
            Some(challenge) => Ok(challenge),
        };
        match challenge {
            Ok(challenge) if self.answers.again(&challenge) => {
                self.remember(true);
                if let Some(memory) = &self.memory {
                    *memory.challenge.lock() = Some(KnownChallenge::new(&ask.goal.target, challenge));
                }
                true
            }
            Ok(_) => {
                // What is known of it has not helped, and the next attempt begins anew.
                if let Some(memory) = &self.memory {
                    memory.challenge.lock().take();
                }
                self.unanswered = Some(REFUSED);
                false
            }
            Err(why) => {
                self.unanswered = Some(why);
                false
            }
        }
    }
}
