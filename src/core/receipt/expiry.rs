//! Until when messages at rest are kept, in order of time.
//!
//! A queue for each length of keeping: what comes to rest later is kept until later, so an entry goes to its queue's end, or near
//! it. An entry is never searched for: one whose message has gone, or is kept until another time, is found out at the head.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use crate::message::MessageId;

/// Messages that are kept for about as long: their ends come in order, or nearly.
#[derive(Debug)]
struct Queue {
    keep: Duration,
    ends: VecDeque<(Instant, MessageId)>,
}

#[derive(Debug, Default)]
pub(super) struct Expiry {
    /// There are as many as there are settings of endpoints: a few.
    queues: Vec<Queue>,
}

impl Expiry {
    /// Notes a message that is kept for about `keep`, until `until`.
    pub(super) fn note(&mut self, keep: Duration, until: Instant, id: MessageId) {
        let ends = match self.queues.iter_mut().position(|queue| queue.keep == keep) {
            Some(place) => &mut self.queues[place].ends,
            None => &mut self.queues.push_mut(Queue { keep, ends: VecDeque::new() }).ends,
        };
        if ends.back().is_none_or(|(last, _)| *last <= until) {
            ends.push_back((until, id));
        } else {
            ends.insert(ends.partition_point(|(at, _)| *at <= until), (until, id));
        }
    }

    /// The first message is known by another name now, until then still.
    pub(super) fn rename_first(&mut self, until: Instant, id: MessageId, new: MessageId) {
        let firsts = self.queues.iter_mut().filter_map(|queue| queue.ends.front_mut());
        firsts.filter(|first| **first == (until, id)).for_each(|first| first.1 = new);
    }

    /// How many notes there are.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.queues.iter().map(|queue| queue.ends.len()).sum()
    }

    /// Until when the first is kept, be it as it may.
    pub(super) fn earliest(&self) -> Option<Instant> {
        self.queues.iter().filter_map(|queue| queue.ends.front()).map(|(until, _)| *until).min()
    }

    /// The message that is kept the shortest. `is_so` says whether a message is kept until then; entries of which it is not so
    /// are dropped.
    pub(super) fn first(&mut self, is_so: impl Fn(Instant, MessageId) -> bool) -> Option<(Instant, MessageId)> {
        for queue in &mut self.queues {
            while queue.ends.pop_front_if(|(until, id)| !is_so(*until, *id)).is_some() {}
        }
        self.queues.retain(|queue| !queue.ends.is_empty());
        self.queues.iter().filter_map(|queue| queue.ends.front()).min().copied()
    }
}
