//! An endpoint as the configuration holds it: what a pool is given, what was written of its session, and its pushes.
//!
//! What a reader would get wrong: it reads as the endpoint that a pool is given, whose fields are found through it. What was written is the
//! daemon's alone: links run the plan that was made of it.

use std::{
    ops::{Deref, DerefMut},
    sync::Arc,
};

use wskeeper_link::endpoint::Endpoint;

use super::{
    bridge::Bridge,
    push::Push,
    session,
    table::{
        Shown,
        endpoint::{ENDPOINT, OWN},
    },
};

/// `[endpoints.NAME]`, with `[defaults]` under it. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct ConfiguredEndpoint {
    /// What a pool is given.
    pub held: Arc<Endpoint>,
    /// What its session was made of.
    pub keys: Arc<session::Keys>,
    /// Several programs may have one connection to themselves at once.
    pub transparent_shared: bool,
    /// Where its messages go by themselves.
    pub push: Vec<Push>,
    /// Brokers that messages go to and come from.
    pub bridges: Vec<Bridge>,
}

impl ConfiguredEndpoint {
    /// Every key as people may see it, in the table's order.
    pub fn shown(&self) -> Shown {
        let mut members = OWN.show(self);
        members.extend(ENDPOINT.show(self));
        Shown::Members(members)
    }

    /// The keys of its session, to be changed.
    pub(super) fn keys_mut(&mut self) -> &mut session::Keys {
        Arc::make_mut(&mut self.keys)
    }
}

/// One of which nothing was written.
impl From<Arc<Endpoint>> for ConfiguredEndpoint {
    fn from(held: Arc<Endpoint>) -> Self {
        Self { held, ..Self::default() }
    }
}

impl Deref for ConfiguredEndpoint {
    type Target = Endpoint;

    fn deref(&self) -> &Endpoint {
        &self.held
    }
}

impl DerefMut for ConfiguredEndpoint {
    fn deref_mut(&mut self) -> &mut Endpoint {
        Arc::make_mut(&mut self.held)
    }
}
