//! What a message on its way out consists of: data to be sent as one message, or several that came together.
//!
//! What a reader would get wrong: a run is several messages in every other respect, each with its name, its receipt and its end. It is
//! one thing only as long as the same becomes of all of them, and is cut where it does not.

use super::{message::Payload, run::Run};

/// Application data of one message, or of several whose names follow each other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Body {
    /// Of one.
    One(Payload),
    /// Of two at least. In a box, for the others.
    Run(Box<Run>),
}

impl Body {
    /// How many messages.
    #[inline]
    pub fn count(&self) -> u32 {
        match self {
            Self::One(_) => 1,
            Self::Run(run) => run.len(),
        }
    }

    /// Bytes of application data of all of them.
    #[inline]
    pub fn len(&self) -> usize {
        match self {
            Self::One(payload) => payload.len(),
            Self::Run(run) => usize::try_from(run.message_bytes()).unwrap_or(usize::MAX),
        }
    }

    /// Whether there is no application data; an empty message is a message.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes of application data of the first.
    #[inline]
    pub fn first_len(&self) -> usize {
        match self {
            Self::One(payload) => payload.len(),
            Self::Run(run) => usize::try_from(run.len_of(0)).unwrap_or(usize::MAX),
        }
    }

    /// Bytes of application data of the longest.
    pub fn longest(&self) -> usize {
        match self {
            Self::One(payload) => payload.len(),
            Self::Run(run) => run.messages().map(|(_, message)| message.len()).max().unwrap_or_default(),
        }
    }

    /// The data of the first; of one message that is all.
    pub fn into_first(self) -> Payload {
        match self {
            Self::One(payload) => payload,
            Self::Run(run) => run.payload(0),
        }
    }

    /// The data of each.
    pub fn payloads(&self) -> impl Iterator<Item = Payload> {
        let (one, run) = match self {
            Self::One(payload) => (Some(payload.clone()), None),
            Self::Run(run) => (None, Some(run.payloads())),
        };
        one.into_iter().chain(run.into_iter().flatten())
    }

    /// Takes off the first `count`, where more are left than those.
    #[must_use]
    pub fn split_to(&mut self, count: u32) -> Option<Self> {
        match self {
            Self::Run(run) if (1..run.count()).contains(&(count as usize)) => {
                let first = run.split_to(count as usize);
                if run.count() == 1 {
                    *self = Self::One(run.payload(0));
                }
                Some(first.into())
            }
            Self::One(_) | Self::Run(_) => None,
        }
    }
}

impl From<Payload> for Body {
    fn from(payload: Payload) -> Self {
        Self::One(payload)
    }
}

impl From<&str> for Body {
    fn from(text: &str) -> Self {
        Self::One(text.into())
    }
}

impl From<Run> for Body {
    fn from(run: Run) -> Self {
        if run.count() == 1 { Self::One(run.payload(0)) } else { Self::Run(Box::new(run)) }
    }
}
