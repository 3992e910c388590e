//! What may leave when, by a link's own bucket and by the one that the links of its endpoint share.
//!
//! The shared one gives turns: a moment each, counted when it is given, so links come to theirs in the order in which they asked, and none
//! starves. What a reader would get wrong: a turn belongs to the link, not to a message. Whatever goes first then uses it, and one
//! that is not used in time is gone.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use super::Outbox;
use crate::{
    body::Body,
    bucket::{Bucket, SharedBucket, Want},
    clock::Clock,
};

/// A turn is good for so long: turns that were saved up could be used all at once.
const GOOD_FOR: Duration = Duration::from_millis(100);

/// Both buckets, as a link has them.
#[derive(Debug, Default)]
pub(super) struct Pacer {
    own: Bucket,
    shared: Option<Arc<dyn SharedBucket>>,
    turn: Option<Turn>,
    /// Since when something waits, and until when.
    pause: Option<(Instant, Instant)>,
    /// When what asked last may leave, and what it was.
    told: Option<(Want, Instant)>,
}

/// What the shared bucket has given and counted.
#[derive(Debug, Clone, Copy)]
struct Turn {
    at: Instant,
    bytes: u64,
}

impl Pacer {
    /// How many of these may leave now, from the first on. They are counted.
    pub(super) fn admit(&mut self, now: Instant, body: &Body) -> u32 {
        let mut sizes = sizes(body).peekable();
        let Some(first) = sizes.next().filter(|first| self.may(now, Want::Data(*first))) else { return 0 };
        self.pass(now, first);
        if sizes.peek().is_none() {
            return 1;
        }
        let (own, mut count) = (&mut self.own, 1_u32);
        let mut more = |mut shared: Option<&mut Bucket>| {
            while let Some(bytes) = sizes.next_if(|bytes| {
                let is_there = |bucket: &mut Bucket| bucket.next(now, Want::Data(*bytes)) <= now;
                is_there(own) && shared.as_deref_mut().is_none_or(is_there)
            }) {
                own.take(now, 1, bytes);
                if let Some(shared) = shared.as_deref_mut() {
                    shared.take(now, 1, bytes);
                }
                count = count.saturating_add(1);
            }
        };
        match &self.shared {
            None => more(None),
            Some(shared) => shared.lend(&mut |shared| more(Some(shared))),
        }
        count
    }

    /// Whether one message may leave now. If it may, [`Pacer::pass`] must follow.
    fn may(&mut self, now: Instant, want: Want) -> bool {
        // What has not asked does not move the moment that was told: else a peer that pings could keep messages for ever.
        let told = self.told.filter(|(of, _)| *of == want).map(|(_, at)| at);
        let own = self.own.next(now, want);
        let own = told.map_or(own, |told| own.min(told.max(now)));
        let at = if own > now { own } else { self.turn(now, want) };
        if at > now {
            let since = self.pause.map_or(now, |(since, _)| since);
            (self.pause, self.told) = (Some((since, at)), Some((want, at)));
        }
        at <= now
    }

    /// When its turn at the shared bucket is.
    fn turn(&mut self, now: Instant, want: Want) -> Instant {
        let Some(shared) = &self.shared else { return now };
        if let Some(turn) = self.turn.filter(|turn| now <= turn.at.later(GOOD_FOR)) {
            return turn.at;
        }
        let bytes = match want {
            Want::Ahead => 0,
            Want::Data(bytes) => bytes,
        };
        let mut at = now;
        shared.lend(&mut |bucket| {
            at = bucket.next(now, want);
            bucket.take(at, 1, bytes);
        });
        self.turn = Some(Turn { at, bytes });
        at
    }

    /// One message leaves, which has asked.
    fn pass(&mut self, now: Instant, bytes: u64) {
        (self.pause, self.told) = (None, None);
        self.own.take(now, 1, bytes);
        if let Some(shared) = &self.shared {
            // A turn may have been taken for a message that was smaller.
            let paid = self.turn.take().map_or(0, |turn| turn.bytes);
            if bytes > paid {
                shared.lend(&mut |bucket| bucket.take(now, 0, bytes.saturating_sub(paid)));
            }
        }
    }

    /// Something leaves that has not asked.
    fn count(&mut self, now: Instant, bytes: u64) {
        self.own.count(now, bytes);
        if let Some(shared) = &self.shared {
            shared.lend(&mut |bucket| bucket.count(now, bytes));
        }
    }
}

fn sizes(body: &Body) -> impl Iterator<Item = u64> {
    let (one, run) = match body {
        Body::One(payload) => (Some(payload.len() as u64), None),
        Body::Run(run) => (None, Some(run.messages().map(|(_, message)| message.len() as u64))),
    };
    one.into_iter().chain(run.into_iter().flatten())
}

impl Outbox {
    /// Follows its policy.
    pub(super) fn pace(&mut self) {
        let pacing = self.policy.pacing;
        match &mut self.pacer {
            Some(pacer) => {
                pacer.own.set(pacing);
                (pacer.pause, pacer.told) = (None, None);
                if !pacing.is_limited() && pacer.shared.is_none() {
                    self.pacer = None;
                }
            }
            None if pacing.is_limited() => {
                self.pacer = Some(Box::new(Pacer { own: Bucket::new(pacing), ..Pacer::default() }));
            }
            None => {}
        }
    }

    /// Shares this bucket, or none, with other links.
    pub(crate) fn share(&mut self, bucket: Option<Arc<dyn SharedBucket>>) {
        if bucket.is_some() || self.pacer.is_some() {
            let pacing = self.policy.pacing;
            let pacer =
                self.pacer.get_or_insert_with(|| Box::new(Pacer { own: Bucket::new(pacing), ..Pacer::default() }));
            (pacer.shared, pacer.turn) = (bucket, None);
            self.pace();
        }
    }

    /// Whether what leaves is counted.
    #[inline]
    pub(crate) fn is_paced(&self) -> bool {
        self.pacer.is_some()
    }

    /// Whether something that goes ahead of data may leave now. If it may, [`Outbox::goes_ahead`] must follow.
    pub(crate) fn may_go_ahead(&mut self, now: Instant) -> bool {
        self.pacer.as_deref_mut().is_none_or(|pacer| pacer.may(now, Want::Ahead))
    }

    /// That leaves.
    pub(crate) fn goes_ahead(&mut self, now: Instant, bytes: usize) {
        if let Some(pacer) = &mut self.pacer {
            pacer.pass(now, bytes as u64);
        }
    }

    /// Something leaves that has waited for nothing.
    pub(crate) fn counts(&mut self, now: Instant, bytes: usize) {
        if let Some(pacer) = &mut self.pacer {
            pacer.count(now, bytes as u64);
        }
    }

    /// Until when what is to leave waits.
    #[inline]
    pub(crate) fn paced_until(&self) -> Option<Instant> {
        self.pacer.as_deref()?.pause.map(|(_, until)| until)
    }

    /// The pause is over, if it is; answers with how long it was.
    #[inline]
    pub(crate) fn end_pause(&mut self, now: Instant) -> Option<Duration> {
        let (since, _) = self.pacer.as_deref_mut()?.pause.take_if(|(_, until)| *until <= now)?;
        Some(now.saturating_duration_since(since))
    }
}
