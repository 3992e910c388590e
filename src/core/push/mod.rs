//! What one receiver is handed of a log, in order: which parts go together, when they are tried again, and up to where they are taken.
//!
//! ```text
//!            take, gap, pass                 poll_batch
//!   log ────────────────────► Reading ────────────────────► Trying ── Taken ──► Reading
//!                                ▲   ▲                         │ │ │
//!                                │   └── fewer, or one skipped ┘ │ └─ Gone, or a refusal that stops ─► Stopped
//!                                └────────── its time ── Waiting ◄┘ Failed
//! ```
//! Whoever has a receiver gives a [`Courier`] what it reads of a log by cursor, carries each [`Batch`] to the receiver, says how that went,
//! and keeps the cursor that it is told to keep. One batch is under way at a time, and nothing is read beside it.
//!
//! What a reader would get wrong: the cursor that is kept never passes what the receiver has not been told of, a gap as little as an item. So
//! after a crash at any moment each item is handed over again or had been taken, and no gap is forgotten.

mod part;

use std::{collections::VecDeque, time::Duration, time::Instant};

pub use self::part::{Batch, Gap, GapKind, Part};
use crate::{
    backoff::{self, Backoff},
    chance::Chance,
    clock::Clock as _,
};

/// What is merely passed over is kept this often, and what could not be kept is tried again after this.
const KEEP_PAUSE: Duration = Duration::from_secs(1);

/// So many gaps wait at most, of whatever kinds: what comes on top joins the last one.
const MAX_GAPS: usize = 32;

/// How a receiver is served.
#[derive(Debug, Clone, PartialEq)]
pub struct Policy {
    /// Items in a batch, at most.
    pub max_items: usize,
    /// Their bytes, at most; an item that is longer goes alone.
    pub max_bytes: usize,
    /// A gap may be told without an item behind it.
    pub tells_gaps_alone: bool,
    /// What becomes of an item that the receiver refuses for good.
    pub on_refused: OnRefused,
    /// How long is waited after a failure. `stable` means nothing here: what was taken starts over.
    pub backoff: backoff::Policy,
    /// What the receiver asks for counts up to this.
    pub retry_after_max: Duration,
}

/// What becomes of an item that the receiver refuses for good.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnRefused {
    /// It is left out, and the receiver told of the gap.
    Skip,
    /// Nothing more is handed over.
    Stop,
    /// It is tried again, as after a failure.
    Retry,
}

/// How an attempt went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// The receiver has all of it.
    Taken,
    /// It has not; later it may.
    Failed {
        /// Not before this, says the receiver.
        retry_after: Option<Duration>,
    },
    /// It will never take this.
    Refused,
    /// It will never take the first item that is not taken, and was not asked about those behind it.
    RefusedFirst,
    /// It wants nothing more.
    Gone,
}

/// What a courier does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// It reads, and has a batch as soon as there is something.
    Reading,
    /// A batch of so many parts is under way.
    Trying(usize),
    /// It tries again then.
    Waiting(Instant),
    /// It does nothing more.
    Stopped,
}

/// What has happened since the start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Items that the receiver has taken.
    pub delivered: u64,
    /// Their bytes.
    pub delivered_bytes: u64,
    /// Attempts that failed, and receivers that were lost between two.
    pub failed: u64,
    /// Attempts after the first of a batch.
    pub retries: u64,
    /// Items that the receiver has refused and that were left out.
    pub skipped: u64,
    /// Gaps that were sent to the receiver.
    pub gaps: u64,
    /// Cursors that could not be kept.
    pub unkept: u64,
}

/// Serves one receiver.
#[derive(Debug)]
pub struct Courier<T> {
    policy: Policy,
    backoff: Backoff,
    chance: Chance,
    state: State,
    parts: VecDeque<Part<T>>,
    items: usize,
    bytes: usize,
    /// Items in the next batch: fewer after a refusal, until the one that is refused is found.
    most: usize,
    /// The receiver takes a gap by itself, as far as is known.
    takes_gaps_alone: bool,
    /// Attempts of what is first in line.
    tries: u32,
    /// Read up to here, and told up to here.
    read: u64,
    told: u64,
    keeping: Keeping,
    counts: Counts,
}

/// Up to where somebody keeps it.
#[derive(Debug)]
struct Keeping {
    handed: u64,
    kept: u64,
    is_under_way: bool,
    /// Something was taken since.
    is_urgent: bool,
    next: Instant,
}

impl<T> Courier<T> {
    /// One that has told its receiver everything up to `cursor`. Where that is kept already `is_kept`, else it is to be at once.
    pub fn new(policy: Policy, (cursor, is_kept): (u64, bool), seed: u64, now: Instant) -> Self {
        let kept = if is_kept { cursor } else { 0 };
        let keeping = Keeping { handed: kept, kept, is_under_way: false, is_urgent: true, next: now };
        let (most, takes_gaps_alone) = (policy.max_items.max(1), policy.tells_gaps_alone);
        Self {
            policy,
            backoff: Backoff::default(),
            chance: Chance::new(seed),
            state: State::Reading,
            parts: VecDeque::new(),
            items: 0,
            bytes: 0,
            most,
            takes_gaps_alone,
            tries: 0,
            read: cursor,
            told: cursor,
            keeping,
            counts: Counts::default(),
        }
    }

    /// What it does.
    pub fn state(&self) -> State {
        self.state
    }

    /// What has happened.
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// Up to where everything was taken, told as a gap, or not meant.
    pub fn cursor(&self) -> u64 {
        if self.parts.is_empty() { self.read } else { self.told }
    }

    /// Items that were read and are not taken.
    pub fn waiting_items(&self) -> usize {
        self.items
    }

    /// Their bytes.
    pub fn waiting_bytes(&self) -> usize {
        self.bytes
    }

    /// Attempts of what is first in line.
    pub fn tries(&self) -> u32 {
        self.tries
    }

    /// Whether it takes more.
    pub fn wants(&self) -> bool {
        let has_room = self.items < self.policy.max_items.max(1) && self.bytes < self.policy.max_bytes;
        self.state == State::Reading && has_room
    }

    /// The next item of the log.
    pub fn take(&mut self, cursor: u64, bytes: usize, item: T) {
        self.parts.push_back(Part::Item { cursor, bytes, item });
        self.items += 1;
        self.bytes += bytes;
        self.read = self.read.max(cursor);
    }

    /// Items of the log are lost to this receiver.
    pub fn gap(&mut self, gap: Gap) {
        self.read = self.read.max(gap.to);
        let is_crowded = self.parts.len() - self.items >= MAX_GAPS;
        match self.parts.back_mut() {
            Some(Part::Gap(last)) if is_crowded || last.joins(&gap) => last.join(&gap),
            Some(_) | None => self.parts.push_back(Part::Gap(gap)),
        }
    }

    /// What stands up to here and was not given is not meant for this receiver.
    pub fn pass(&mut self, cursor: u64) {
        self.read = self.read.max(cursor);
    }

    /// What is to be carried to the receiver now. To be answered by [`Courier::answered`].
    pub fn poll_batch(&mut self, now: Instant) -> Option<Batch<'_, T>> {
        match self.state {
            State::Reading => {}
            State::Waiting(until) if until <= now => self.state = State::Reading,
            State::Waiting(_) | State::Trying(_) | State::Stopped => return None,
        }
        let count = self.next_parts();
        if count == 0 {
            return None;
        }
        self.counts.retries += u64::from(self.tries > 0);
        self.tries = self.tries.saturating_add(1);
        self.state = State::Trying(count);
        let tries = self.tries;
        Some(Batch { parts: self.parts.make_contiguous().get(..count).unwrap_or_default(), tries })
    }

    /// How the batch went that was under way: so many of its parts, from the first on, were taken before that.
    pub fn answered(&mut self, now: Instant, taken: usize, verdict: Verdict) {
        let State::Trying(count) = self.state else { return };
        let taken = if verdict == Verdict::Taken { count } else { taken.min(count) };
        if taken > 0 {
            self.settle(taken);
        }
        self.state = State::Reading;
        match verdict {
            Verdict::Taken => {}
            Verdict::Failed { retry_after } => self.wait(now, retry_after),
            Verdict::Gone => self.stop(),
            Verdict::Refused => self.refused(now, count - taken, false),
            Verdict::RefusedFirst => self.refused(now, count - taken, true),
        }
    }

    /// The receiver is lost, while nothing is under way: it is not tried again at once.
    pub fn lost(&mut self, now: Instant) {
        if matches!(self.state, State::Reading | State::Waiting(_)) {
            self.wait(now, None);
        }
    }

    /// It is there, and nothing is to be handed over: what it did before is forgiven.
    pub fn well(&mut self) {
        self.backoff.reset();
    }

    /// The cursor that is to be kept from now on. To be answered by [`Courier::kept`].
    pub fn poll_keep(&mut self, now: Instant) -> Option<u64> {
        if self.keep_at().is_none_or(|at| at > now) {
            return None;
        }
        let cursor = self.cursor();
        let keeping = &mut self.keeping;
        (keeping.handed, keeping.is_under_way, keeping.is_urgent) = (cursor, true, false);
        keeping.next = now.later(KEEP_PAUSE);
        Some(cursor)
    }

    /// The cursor that was to be kept is, or could not be.
    pub fn kept(&mut self, now: Instant, is_kept: bool) {
        let keeping = &mut self.keeping;
        keeping.is_under_way = false;
        if is_kept {
            keeping.kept = keeping.handed;
        } else {
            (keeping.handed, keeping.is_urgent, keeping.next) = (keeping.kept, false, now.later(KEEP_PAUSE));
            self.counts.unkept += 1;
        }
    }

    /// When there may be something to do, where nothing comes before.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let again = match self.state {
            State::Waiting(until) => Some(until),
            State::Reading | State::Trying(_) | State::Stopped => None,
        };
        again.into_iter().chain(self.keep_at()).min()
    }

    /// How many parts the next batch has: one item at least, or gaps where they may be told alone.
    fn next_parts(&self) -> usize {
        let (mut items, mut bytes, mut with_item) = (0, 0_usize, 0);
        let mut count = 0;
        for part in &self.parts {
            if let Part::Item { bytes: more, .. } = part {
                bytes = bytes.saturating_add(*more);
                if items > 0 && (items >= self.most || bytes > self.policy.max_bytes) {
                    break;
                }
                items += 1;
                with_item = count + 1;
            }
            count += 1;
        }
        if self.takes_gaps_alone { count } else { with_item }
    }

    /// The receiver has so many parts.
    fn settle(&mut self, count: usize) {
        for part in self.parts.drain(..count) {
            self.told = self.told.max(part.last());
            match part {
                Part::Item { bytes, .. } => {
                    self.items -= 1;
                    self.bytes -= bytes;
                    self.counts.delivered += 1;
                    self.counts.delivered_bytes += bytes as u64;
                }
                Part::Gap(_) => self.counts.gaps += 1,
            }
        }
        self.backoff.reset();
        self.tries = 0;
        self.takes_gaps_alone = self.policy.tells_gaps_alone;
        self.widen();
        self.keeping.is_urgent = true;
    }

    fn widen(&mut self) {
        self.most = self.most.saturating_mul(2).min(self.policy.max_items.max(1));
    }

    /// The first `count` parts are refused, or `only_first` of them.
    fn refused(&mut self, now: Instant, count: usize, only_first: bool) {
        self.counts.failed += 1;
        let items = self.parts.iter().take(count).filter(|part| matches!(part, Part::Item { .. })).count();
        match (items, self.policy.on_refused) {
            // It waits for an item to go with.
            (0, _) => self.takes_gaps_alone = false,
            (2.., _) if !only_first => self.most = items / 2,
            (_, OnRefused::Skip) => self.skip(),
            (_, OnRefused::Stop) => self.stop(),
            (_, OnRefused::Retry) => self.wait_uncounted(now, None),
        }
    }

    /// The first item becomes a gap.
    fn skip(&mut self) {
        let Some(place) = self.parts.iter().position(|part| matches!(part, Part::Item { .. })) else { return };
        if let Some(part) = self.parts.get_mut(place)
            && let Part::Item { cursor, bytes, .. } = *part
        {
            *part = Part::Gap(Gap { kind: GapKind::Refused, missed: Some(1), from: cursor, to: cursor });
            self.items -= 1;
            self.bytes -= bytes;
            self.counts.skipped += 1;
        }
        self.join_gaps();
        self.tries = 0;
        self.widen();
    }

    fn join_gaps(&mut self) {
        for part in std::mem::take(&mut self.parts) {
            match (self.parts.back_mut(), part) {
                (Some(Part::Gap(last)), Part::Gap(gap)) if last.joins(&gap) => last.join(&gap),
                (_, part) => self.parts.push_back(part),
            }
        }
    }

    fn stop(&mut self) {
        self.state = State::Stopped;
    }

    fn wait(&mut self, now: Instant, retry_after: Option<Duration>) {
        self.counts.failed += 1;
        self.wait_uncounted(now, retry_after);
    }

    fn wait_uncounted(&mut self, now: Instant, retry_after: Option<Duration>) {
        let own = self.backoff.next_delay(&self.policy.backoff, now, &mut self.chance);
        // It can only lengthen a delay.
        let asked = retry_after.map(|asked| self.chance.above(asked.min(self.policy.retry_after_max)));
        self.state = State::Waiting(now.later(own.max(asked.unwrap_or_default())));
    }

    /// When the cursor may be handed over that is not kept.
    fn keep_at(&self) -> Option<Instant> {
        let Keeping { handed, is_under_way, is_urgent, next, kept: _ } = self.keeping;
        let is_due = !is_under_way && self.cursor() > handed;
        // What is urgent is due since the last time.
        is_due.then(|| if is_urgent { next.earlier(KEEP_PAUSE) } else { next })
    }
}

#[cfg(test)]
mod tests;
