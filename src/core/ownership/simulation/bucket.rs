//! The bucket: the last record of each key, revisions, compare-and-set, and watches that tell late, leave out what was written over, and end.

use super::*;

#[derive(Debug, Default)]
pub(super) struct Bucket {
    /// All that was ever written: the revision is the place, from 1.
    log: Vec<(Key, Seen)>,
    last: BTreeMap<Key, u64>,
    pub(super) watches: Vec<Watching>,
    /// It answers nobody until then.
    pub(super) away_until: Option<Instant>,
    /// When a record was written last.
    pub(super) written: BTreeMap<Key, Instant>,
}

#[derive(Debug)]
pub(super) struct Watching {
    pub(super) node: usize,
    number: u64,
    /// What stood there when it began, the last first; `None`: all of it was told.
    filling: Option<Vec<u64>>,
    position: u64,
    /// It tells of what was written over, too.
    tells_all: bool,
    /// It tells of nothing until then.
    pub(super) stalls_until: Option<Instant>,
    pub(super) is_over: bool,
    /// What it has told last arrives then: the next is not to arrive before.
    arrives: Instant,
    is_planned: bool,
}

impl Bucket {
    pub(super) fn revision(&self, key: &Key) -> u64 {
        self.last.get(key).copied().unwrap_or_default()
    }

    /// What stands at a key.
    pub(super) fn read(&self, key: &Key) -> (u64, Seen) {
        let revision = self.revision(key);
        let nothing = || match key {
            Key::Member(name) => Seen::Member(Arc::clone(name), None),
            Key::Configuration(digest) => Seen::Configuration(Arc::clone(digest), None),
            Key::Claim(link) => Seen::Claim(link.clone(), None),
        };
        (revision, self.at(revision).map_or_else(nothing, |(_, seen)| seen.clone()))
    }

    fn at(&self, revision: u64) -> Option<&(Key, Seen)> {
        self.log.get(usize::try_from(revision.checked_sub(1)?).unwrap())
    }

    pub(super) fn newest(&self) -> u64 {
        self.log.len() as u64
    }

    fn write(&mut self, now: Instant, key: Key, seen: Seen) -> u64 {
        self.log.push((key.clone(), seen));
        let revision = self.newest();
        self.written.insert(key.clone(), now);
        self.last.insert(key, revision);
        revision
    }

    /// The last of each key up to a revision, the oldest last.
    fn snapshot(&self, limit: u64) -> Vec<u64> {
        let mut last = BTreeMap::new();
        for (place, (key, _)) in self.log.iter().take(usize::try_from(limit).unwrap()).enumerate() {
            last.insert(key, place as u64 + 1);
        }
        let mut revisions: Vec<u64> = last.into_values().collect();
        revisions.sort_unstable_by(|one, other| other.cmp(one));
        revisions
    }

    /// What a watch tells of next.
    fn next(&self, watch: usize) -> Option<u64> {
        let Watching { position, tells_all, .. } = self.watches[watch];
        if tells_all {
            return Some(position + 1).filter(|next| *next <= self.newest());
        }
        self.last.values().copied().filter(|revision| *revision > position).min()
    }
}

impl World {
    fn is_away(&self) -> bool {
        self.bucket.away_until.is_some_and(|until| self.now < until)
    }

    /// A request has come.
    pub(super) fn request(&mut self, node: usize, id: u64, command: Command) {
        let key = node::key(&command);
        let is_read = matches!(command, Command::Look(_));
        if self.is_away() || self.faults.strikes(&mut self.chance, 60) {
            // Nobody leads, or another write of this key is under way: said at once, or known when there is a connection again.
            let input = if is_read { Input::NotFound(key) } else { Input::Answered(key, Answer::Unanswered) };
            if self.one_in(2) {
                self.answer(node, id, input);
            } else if let Some(until) = self.bucket.away_until.filter(|until| *until > self.now) {
                self.plan(until - self.now, Event::Answer { node, id, input });
            }
            return;
        }
        if is_read {
            let (revision, seen) = self.bucket.read(&key);
            return self.answer(node, id, Input::Found(revision, seen));
        }
        let (over, seen) = match command {
            Command::Describe(configuration, over) => {
                (over, Seen::Configuration(configuration.digest, Some(configuration.links)))
            }
            Command::Join(name, record) => (0, Seen::Member(name, Some(record))),
            Command::Renew(name, record, over) => (over, Seen::Member(name, Some(record))),
            Command::Leave(name, over) => (over, Seen::Member(name, None)),
            Command::Bury(name, over) => {
                if self.bucket.revision(&key) == over {
                    self.check_burial(node, &name);
                }
                (over, Seen::Member(name, None))
            }
            Command::Claim(link, name, over) => {
                if self.bucket.revision(&key) == over {
                    self.check_claim(&link, &name);
                    self.moving.remove(&link);
                }
                (over, Seen::Claim(link, Some(name)))
            }
            Command::Free(link, over, _) => (over, Seen::Claim(link, None)),
            other => panic!("{other:?} is no request"),
        };
        let answer = if self.bucket.revision(&key) == over {
            let revision = self.bucket.write(self.now, key.clone(), seen);
            for watch in 0..self.bucket.watches.len() {
                self.plan_pump(watch);
            }
            Answer::Done(revision)
        } else {
            Answer::Outdated
        };
        self.answer(node, id, Input::Answered(key, answer));
    }

    /// A process has asked for a watch.
    pub(super) fn watch(&mut self, node: usize, number: u64) {
        if self.is_away() || self.nodes[node].is_cut_off {
            let delay = self.latency();
            return self.plan(delay, Event::Tell { node, input: Input::Watch(number, WatchNews::Ended) });
        }
        for watching in self.bucket.watches.iter_mut().filter(|watching| watching.node == node) {
            watching.is_over = true;
        }
        // It may be served by a follower that is behind.
        let is_stale = self.faults.strikes(&mut self.chance, 8);
        let behind = if is_stale { self.chance.bits() % 20 } else { 0 };
        let limit = self.bucket.newest().saturating_sub(behind);
        let watching = Watching {
            node,
            number,
            filling: Some(self.bucket.snapshot(limit)),
            position: limit,
            tells_all: self.one_in(2),
            stalls_until: None,
            is_over: false,
            arrives: self.now,
            is_planned: false,
        };
        self.bucket.watches.push(watching);
        self.plan_pump(self.bucket.watches.len() - 1);
    }

    fn plan_pump(&mut self, watch: usize) {
        let Watching { is_over, is_planned, stalls_until, .. } = self.bucket.watches[watch];
        if is_over || is_planned {
            return;
        }
        self.bucket.watches[watch].is_planned = true;
        let stalled = stalls_until.map_or(Duration::ZERO, |until| until.saturating_duration_since(self.now));
        let delay = self.span(0, 2).max(stalled);
        self.plan(delay, Event::Pump(watch));
    }

    /// A watch tells of one thing.
    pub(super) fn pump(&mut self, watch: usize) {
        self.bucket.watches[watch].is_planned = false;
        let Watching { node, number, is_over, stalls_until, arrives, .. } = self.bucket.watches[watch];
        if is_over {
            return;
        }
        if self.is_away() || self.nodes[node].is_cut_off || stalls_until.is_some_and(|until| until > self.now) {
            // Later, where nobody ends it before.
            self.bucket.watches[watch].is_planned = true;
            return self.plan(LEASE / 50, Event::Pump(watch));
        }
        let entry = |revision: u64| WatchNews::Entry(revision, self.bucket.at(revision).unwrap().1.clone());
        let filling = self.bucket.watches[watch].filling.as_ref();
        let watched = match filling.map(|left| left.last().copied()) {
            Some(Some(revision)) => entry(revision),
            Some(None) => WatchNews::Current,
            None => match self.bucket.next(watch) {
                Some(revision) => entry(revision),
                None => return,
            },
        };
        let watching = &mut self.bucket.watches[watch];
        match (&watched, &mut watching.filling) {
            (WatchNews::Entry(..), Some(left)) => {
                left.pop();
            }
            (WatchNews::Entry(revision, _), None) => watching.position = *revision,
            (WatchNews::Current | WatchNews::Ended, filling) => *filling = None,
        }
        let delay = self.latency();
        let arrives = arrives.max(self.now + delay);
        self.bucket.watches[watch].arrives = arrives;
        self.plan(arrives - self.now, Event::Tell { node, input: Input::Watch(number, watched) });
        self.plan_pump(watch);
    }

    /// A watch ends, and its process is told.
    pub(super) fn end_watch(&mut self, watch: usize) {
        let Watching { node, number, is_over, .. } = self.bucket.watches[watch];
        if !is_over {
            self.bucket.watches[watch].is_over = true;
            let delay = self.latency();
            self.plan(delay, Event::Tell { node, input: Input::Watch(number, WatchNews::Ended) });
        }
    }
}
