//! Who receives, and how an attempt went.
//!
//! What a reader would get wrong: an attempt has the outlet to itself and gives it back, so nothing of one is ever half done when its
//! future is dropped: the outlet goes with it.

use tokio::time::Instant;
use wskeeper_core::push::Verdict;

use super::{hook::Hook, parcel::Parcel, program::Program};

/// Who receives.
#[derive(Debug)]
pub(super) enum Outlet {
    Hook(Box<Hook>),
    Program(Box<Program>),
}

/// How an attempt went.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Carried {
    /// So many parts were taken before it ended.
    pub(super) taken: usize,
    pub(super) verdict: Verdict,
    /// For people, where it was not all well.
    pub(super) why: Option<String>,
}

/// What becomes of a receiver between two attempts.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// It is there, as far as that can be known without anything to hand over.
    Well,
    /// It is not, for this reason.
    Lost(String),
}

impl Carried {
    pub(super) fn failed(taken: usize, why: impl Into<String>) -> Self {
        Self { taken, verdict: Verdict::Failed { retry_after: None }, why: Some(why.into()) }
    }
}

impl Outlet {
    pub(super) async fn carry(self, parcel: Parcel) -> (Self, Carried) {
        match self {
            Self::Hook(mut hook) => {
                let carried = hook.carry(&parcel).await;
                (Self::Hook(hook), carried)
            }
            Self::Program(mut program) => {
                let carried = program.carry(&parcel).await;
                (Self::Program(program), carried)
            }
        }
    }

    /// Between two attempts: waits until it is known how the receiver is. Has a program run.
    pub(super) async fn fate(&mut self) -> Fate {
        match self {
            Self::Hook(_) => std::future::pending().await,
            Self::Program(program) => program.fate().await,
        }
    }

    /// There is nothing more for it.
    pub(super) async fn end(self, deadline: Instant) {
        match self {
            Self::Hook(_) => {}
            Self::Program(mut program) => program.end(deadline).await,
        }
    }
}
