//! Until when messages at rest are kept, in order of time.
//!
//! A queue for each length of keeping: what comes to rest later is kept until later, so an entry goes to its queue's end, or near
//! it. An entry is never searched for: one whose message has gone, or is kept until another time, is found out at the head.

use std::{
    collections::{BTreeMap, VecDeque},
    time::{Duration, Instant},
};

use crate::core::message::MessageId;

#[derive(Debug, Default)]
pub(super) struct Rest {
    queues: BTreeMap<Duration, VecDeque<(Instant, MessageId)>>,
}

impl Rest {
    /// Notes a message that is kept for about `keep`, until `until`.
    pub(super) fn note(&mut self, keep: Duration, until: Instant, id: MessageId) {
        let queue = self.queues.entry(keep).or_default();
        if queue.back().is_none_or(|(last, _)| *last <= until) {
            queue.push_back((until, id));
        } else {
            queue.insert(queue.partition_point(|(at, _)| *at <= until), (until, id));
        }
    }

    /// Until when the first is kept, be it as it may.
    pub(super) fn earliest(&self) -> Option<Instant> {
        self.queues.values().filter_map(|queue| queue.front()).map(|(until, _)| *until).min()
    }

    /// The message that is kept the shortest. `is_so` says whether a message is kept until then; entries of which it is not so
    /// are dropped.
    pub(super) fn first(&mut self, is_so: impl Fn(Instant, MessageId) -> bool) -> Option<(Instant, MessageId)> {
        self.queues.retain(|_, queue| {
            while queue.pop_front_if(|(until, id)| !is_so(*until, *id)).is_some() {}
            !queue.is_empty()
        });
        self.queues.values().filter_map(|queue| queue.front()).min().copied()
    }
}
