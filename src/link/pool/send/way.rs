//! Which link takes a message, and in whose name a refusal is told and counted.

use std::sync::Arc;

use crate::{
    endpoint::Endpoint,
    observer,
    pool::{Refused, Send, endpoints::Endpoints, runtime::EndpointRuntime, slot::Slot},
};
use wskeeper_core::{hash, outbox::Refusal, receipt::Receipt};

/// The endpoint; the link that is asked for, the key, the connection that they are bound to.
type To<'a> = (&'a str, Option<u32>, Option<&'a str>, Option<u64>);

/// Where messages go.
#[derive(Clone)]
pub(super) struct Way {
    pub(super) runtime: Arc<EndpointRuntime>,
    pub(super) config: Arc<Endpoint>,
    pub(super) slot: Arc<Slot>,
    /// What the first of them asked for.
    link: Option<u32>,
    is_keyed: bool,
    /// The connection that they are bound to.
    generation: Option<u64>,
    /// They are requests.
    is_request: bool,
}

impl Way {
    /// Chooses the link.
    pub(super) fn choose(
        endpoints: &Endpoints,
        (endpoint, link, key, generation): To<'_>,
        is_request: bool,
    ) -> Result<Way, Refused> {
        let runtime = endpoints.get(endpoint).ok_or_else(|| Refused::NoEndpoint(endpoint.to_owned()))?;
        let slot = choose(&runtime, link, key)
            // At the end of a stop there are no links left: that is not the caller's mistake.
            .map_err(|none| if endpoints.is_draining() { Refused::Draining } else { none })
            .inspect_err(|refused| count(&runtime, refused))?;
        if generation.is_some() && link.is_none() && key.is_none() && runtime.links() > 1 {
            return Err(Refused::AnyGeneration { endpoint: runtime.name.to_string(), links: runtime.links() });
        }
        let is_keyed = key.is_some();
        Ok(Way { config: runtime.config(), runtime, slot, link, is_keyed, generation, is_request })
    }

    /// Whether the message goes the same way.
    pub(super) fn is_of(&self, send: &Send) -> bool {
        send.endpoint == self.runtime.name
            && send.generation == self.generation
            && send.is_request == self.is_request
            && match &send.key {
                None if !self.is_keyed => send.link == self.link,
                key => {
                    choose(&self.runtime, send.link, key.as_deref()).is_ok_and(|slot| Arc::ptr_eq(&slot, &self.slot))
                }
            }
    }

    /// Whether they may be accepted by the room that the link has shown: where a message goes to the disk, replaces one, or is bound to a
    /// connection, the link decides.
    pub(super) fn needs_no_question(&self) -> bool {
        let policy = &self.config.link.outbox;
        !(policy.durable || policy.conflate && self.is_keyed || self.generation.is_some())
    }

    /// Whether they go to the disk: what is bound to a connection is worth nothing after it, nor is a request after its caller.
    pub(super) fn is_durable(&self) -> bool {
        self.config.link.outbox.durable && self.generation.is_none() && !self.is_request
    }

    /// The outbox's refusal, counted.
    pub(super) fn turned_away(&self, receipt: &Receipt, refusal: Refusal) -> Refused {
        self.runtime.observer.refused(observer::Refused::Outbox(refusal));
        self.refused(refusal, usize::try_from(receipt.bytes).unwrap_or(usize::MAX))
    }

    pub(super) fn refused(&self, refusal: Refusal, bytes: usize) -> Refused {
        let policy = &self.config.link.outbox;
        let load = self.slot.load();
        match refusal {
            Refusal::TooBig => Refused::TooBig { bytes, limit: policy.max_message },
            Refusal::Down => Refused::Down { link: self.slot.id.to_string(), phase: load.phase },
            Refusal::Generation => Refused::Generation {
                link: self.slot.id.to_string(),
                generation: self.generation.unwrap_or_default(),
                current: self.slot.generation(),
                phase: load.phase,
            },
            Refusal::Full | Refusal::Wait => Refused::Full {
                link: self.slot.id.to_string(),
                messages: usize::try_from(load.queued_messages).unwrap_or(usize::MAX),
                bytes: load.buffered_amount,
                max_messages: policy.max_messages,
                max_bytes: policy.max_bytes,
            },
        }
    }
}

/// Counts a refusal that is not the outbox's.
pub(super) fn count(runtime: &EndpointRuntime, refused: &Refused) {
    match refused {
        Refused::Draining => runtime.observer.refused(observer::Refused::Draining),
        Refused::Store(_) => runtime.observer.refused(observer::Refused::Store),
        Refused::Budget { .. } => runtime.observer.refused(observer::Refused::Memory),
        // The caller's mistake, or told by the outbox.
        Refused::NoEndpoint(_)
        | Refused::NoLink { .. }
        | Refused::TooBig { .. }
        | Refused::Full { .. }
        | Refused::Down { .. }
        | Refused::Generation { .. }
        | Refused::AnyGeneration { .. }
        | Refused::NoRequests(_)
        | Refused::NoId(_)
        // The first one is told of.
        | Refused::Undecided => {}
    }
}

/// The link asked for, or the one of the key, or the ready one with the least bufferedAmount.
fn choose(runtime: &EndpointRuntime, link: Option<u32>, key: Option<&str>) -> Result<Arc<Slot>, Refused> {
    let slot = match (link, key) {
        (Some(index), _) => runtime.slot(index),
        // By the links that are always there: those that come and go must not change which one a key's messages take.
        (None, Some(key)) => hash::stable([key])
            .checked_rem(u64::from(runtime.config().links))
            .and_then(|place| u32::try_from(place).ok())
            .and_then(|place| runtime.slot(place)),
        (None, None) => runtime.best_slot(),
    };
    slot.ok_or_else(|| Refused::NoLink { endpoint: runtime.name.to_string(), links: runtime.links() })
}
