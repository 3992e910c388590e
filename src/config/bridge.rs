//! `[[endpoints.NAME.bridges]]`: what goes to brokers by itself, and what comes from there.
//!
//! What a reader would get wrong: a bridge to a broker is a push with another receiver. All that a push is holds for it: a cursor, batches, gaps.

use std::sync::Arc;

use wskeeper_core::session::Address;

use super::{broker::Broker, push::Push};

/// One bridge.
#[derive(Debug, Clone, PartialEq)]
pub enum Bridge {
    /// To a broker.
    Out(Push),
}

/// A broker that receives.
#[derive(Debug, Clone, PartialEq)]
pub struct ToBroker {
    /// Which.
    pub broker: Arc<Broker>,
    /// Under which address messages are published: a subject of NATS.
    pub address: Address,
    /// Where gaps are told.
    pub gaps: Arc<str>,
    /// The stream of JetStream that is to store them, and say so; `None`: the broker stores nothing.
    pub stream: Option<Arc<str>>,
}

impl Bridge {
    /// What it is called.
    pub fn name(&self) -> &Arc<str> {
        match self {
            Self::Out(push) => &push.name,
        }
    }
}
