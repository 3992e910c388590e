//! What is owed on a message on offer: a ruling, whoever waits for the answer.
//!
//! A caller may go at any moment, and its message goes on without it: whether it was accepted is told to the judge by the link's
//! task. What a reader would get wrong: a pledge that is dropped rules, too. So an order that nobody takes, a line for room
//! whose task ends and a panic all come to a ruling.

use std::{fmt, sync::Arc};

use wskeeper_core::{message::MessageId, outbox::Refusal};

/// What became of a message on offer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ruling {
    /// The link has taken it.
    Accepted,
    /// The link has taken it, and it is accepted once the disk has it; which the disk says.
    Storing,
    /// The link has not taken it.
    Refused(Refusal),
    /// No link has looked at it, and none will.
    Forgotten,
}

/// Who is told of rulings. Calls must not block.
pub(crate) trait Judge: fmt::Debug + Send + Sync {
    /// What became of this message.
    fn ruled(&self, id: MessageId, ruling: Ruling);
}

/// A ruling that is owed on one message.
#[derive(Debug, Default)]
pub(crate) struct Pledge {
    owed: Option<(Arc<dyn Judge>, MessageId)>,
    /// Somebody may wait for an acceptance; a refusal is told anyway.
    is_awaited: bool,
}

impl Pledge {
    /// The judge is told what became of the message; that it was accepted, only where that `is_awaited`.
    pub(crate) fn new(judge: Arc<dyn Judge>, id: MessageId, is_awaited: bool) -> Self {
        Self { owed: Some((judge, id)), is_awaited }
    }

    /// Whether somebody may wait for an acceptance.
    pub(crate) fn is_awaited(&self) -> bool {
        self.is_awaited
    }

    /// Tells the ruling.
    pub(crate) fn rule(mut self, ruling: Ruling) {
        let is_told = self.is_told(ruling);
        if let Some((judge, id)) = self.owed.take().filter(|_| is_told) {
            judge.ruled(id, ruling);
        }
    }

    /// Whether anybody is told of this ruling.
    pub(crate) fn is_told(&self, ruling: Ruling) -> bool {
        match ruling {
            Ruling::Accepted | Ruling::Storing => self.is_awaited,
            Ruling::Refused(_) | Ruling::Forgotten => true,
        }
    }
}

impl Drop for Pledge {
    fn drop(&mut self) {
        if let Some((judge, id)) = self.owed.take() {
            judge.ruled(id, Ruling::Forgotten);
        }
    }
}
