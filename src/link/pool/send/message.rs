//! What a message is made of: what it costs, its receipt, its key of acknowledgement.
//!
//! What a reader would get wrong: a message costs more than its payload, for all that is kept of it until it ends is counted.

use std::{sync::Arc, time::SystemTime};

use tokio::time::Instant;

use crate::{endpoint::Endpoint, pool::slot::Slot, store::Record};
use wskeeper_core::{
    body::Body,
    budget::Budget,
    message::{Extras, Message, MessageId, Payload},
    receipt::{Receipt, State},
    requests,
};

/// What is kept beside a payload: the message's own fields, its places in queues, its receipt.
const BESIDE: usize = 256;

/// What a message takes of the process's budget: all that is kept of it until it ends.
pub(super) fn cost(payload: &Payload, key: Option<&str>) -> usize {
    payload.len() + key.map_or(0, str::len) + BESIDE
}

/// The key by which the peer's application will acknowledge the message.
pub(super) fn ack_key(config: &Endpoint, payload: &Payload) -> Option<Box<str>> {
    requests::key(payload.bytes(), &config.link.outbox.ack.as_ref()?.outgoing)
}

/// A stored message as an outbox takes it. What was accepted once is not refused for want of memory now.
#[allow(clippy::unnecessary_box_returns, reason = "outboxes take them boxed")]
pub(in crate::pool) fn restored(
    config: &Endpoint,
    record: Record,
    budget: &Arc<Budget>,
    date: SystemTime,
) -> Box<Message> {
    let now = Instant::now().into_std();
    let ack = ack_key(config, &record.payload);
    let share = budget.reserve_beyond(cost(&record.payload, record.key.as_deref()));
    let extras = Extras { key: record.key, ack, ..Extras::default() };
    Box::new(Message {
        id: record.id,
        expires_at: record.expires_at.and_then(|at| now.checked_add(at.duration_since(date).unwrap_or_default())),
        share,
        extras: extras.boxed(),
        body: record.payload.into(),
    })
}

/// What messages that came together take of it: they are kept as one thing.
pub(super) fn cost_of_all(body: &Body) -> usize {
    BESIDE
        + match body {
            Body::One(payload) => payload.len(),
            Body::Run(run) => run.held(),
        }
}

/// The names of a run follow each other, and there is room for them behind the first.
const ROOM: u128 = 0xFFFF;

/// Of the first of these.
pub(super) fn receipt(slot: &Slot, body: &Body, accepted_at: SystemTime) -> Receipt {
    let id = uuid::Uuid::now_v7().as_u128();
    Receipt {
        id: MessageId(if body.count() == 1 { id } else { id & !ROOM }),
        endpoint: Arc::clone(&slot.id.endpoint),
        link: slot.id.index,
        state: State::Queued,
        bytes: body.first_len() as u64,
        accepted_at,
        updated_at: accepted_at,
        generation: None,
        end_reason: None,
    }
}
