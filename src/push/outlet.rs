//! Who receives, and how an attempt went.
//!
//! What a reader would get wrong: an attempt has the outlet to itself and gives it back, so nothing of one is ever half done when its
//! future is dropped: the outlet goes with it.

use std::{sync::Arc, time::SystemTime};

use tokio::time::Instant;
use wskeeper_core::push::{Batch, Part, Verdict};
use wskeeper_link::hub::Entry;

use super::{
    bridge::Publisher,
    hook::Hook,
    parcel::{Parcel, ParcelTerms},
    program::Program,
};

/// Who receives.
#[derive(Debug)]
pub(super) enum Outlet {
    Hook(Box<Hook>),
    Program(Box<Program>),
    Broker(Box<Publisher>),
}

/// What is to be handed over in one attempt.
#[derive(Debug)]
pub(super) struct Consignment {
    parts: Vec<Part<Arc<Entry>>>,
    tries: u32,
    terms: ParcelTerms,
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

impl Consignment {
    pub(super) fn of(batch: &Batch<'_, Arc<Entry>>, terms: ParcelTerms) -> Self {
        Self { parts: batch.parts.to_vec(), tries: batch.tries, terms }
    }

    fn parcel(&self) -> Parcel {
        Parcel::of(&Batch { parts: &self.parts, tries: self.tries }, &self.terms)
    }
}

impl Carried {
    pub(super) fn failed(taken: usize, why: impl Into<String>) -> Self {
        Self { taken, verdict: Verdict::Failed { retry_after: None }, why: Some(why.into()) }
    }
}

impl Outlet {
    pub(super) async fn carry(mut self, consignment: Consignment) -> (Self, Carried) {
        let carried = match &mut self {
            Self::Hook(hook) => hook.carry(&consignment.parcel()).await,
            Self::Program(program) => program.carry(&consignment.parcel()).await,
            Self::Broker(publisher) => publisher.carry(&consignment.parts).await,
        };
        (self, carried)
    }

    /// Between two attempts: waits until it is known how the receiver is. Has a program run, and a broker connected.
    pub(super) async fn fate(&mut self) -> Fate {
        match self {
            Self::Hook(_) => std::future::pending().await,
            Self::Program(program) => program.fate().await,
            Self::Broker(publisher) => publisher.fate().await,
        }
    }

    /// Since when its broker is connected, where it has one.
    pub(super) fn connected_since(&self) -> Option<SystemTime> {
        match self {
            Self::Hook(_) | Self::Program(_) => None,
            Self::Broker(publisher) => publisher.connected_since(),
        }
    }

    /// There is nothing more for it.
    pub(super) async fn end(self, deadline: Instant) {
        match self {
            Self::Hook(_) | Self::Broker(_) => {}
            Self::Program(mut program) => program.end(deadline).await,
        }
    }
}
