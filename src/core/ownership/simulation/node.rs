//! A process: its machine, its clock, and what a driver does.

use std::collections::VecDeque;

use super::*;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Running {
    Yes,
    /// By SIGSTOP, or by its host: what comes in waits.
    Stopped,
    Dead,
}

#[derive(Debug)]
pub(super) struct Node {
    pub(super) machine: Ownership,
    pub(super) name: Arc<str>,
    pub(super) running: Running,
    /// What came in while it was stopped.
    pub(super) mail: VecDeque<Event>,
    /// Links that it acts on, as long as its tenure holds.
    pub(super) acting: BTreeMap<LinkId, u64>,
    /// Requests without an answer, and what is said where none comes.
    pub(super) asked: BTreeMap<u64, Input>,
    /// The number of its watch.
    pub(super) watch: u64,
    /// Nothing comes to it or leaves it.
    pub(super) is_cut_off: bool,
    pub(super) is_draining: bool,
    /// Its clock stood, and until then it need not have found out.
    pub(super) exempt_until: Option<Instant>,
    /// True time, its own time then, and how fast that runs, in thousandths.
    clock: (Instant, Instant, u64),
}

impl Node {
    pub(super) fn new(name: Arc<str>, configuration: Configuration, seed: u64, now: Instant, rate: u64) -> Self {
        Self {
            machine: Ownership::new(POLICY, Arc::clone(&name), configuration, seed, now),
            name,
            running: Running::Yes,
            mail: VecDeque::new(),
            acting: BTreeMap::new(),
            asked: BTreeMap::new(),
            watch: 0,
            is_cut_off: false,
            is_draining: false,
            exempt_until: None,
            clock: (now, now, rate),
        }
    }

    /// Its own time.
    pub(super) fn local(&self, now: Instant) -> Instant {
        let (base, local, rate) = self.clock;
        let passed = u64::try_from(now.saturating_duration_since(base).as_nanos()).unwrap();
        local + Duration::from_nanos(passed / 1000 * rate + passed % 1000 * rate / 1000)
    }

    /// The true time of a moment of its own.
    fn truly(&self, local: Instant) -> Instant {
        let (base, own, rate) = self.clock;
        let passed = u64::try_from(local.saturating_duration_since(own).as_nanos()).unwrap();
        base + Duration::from_nanos(passed / rate * 1000 + 1000)
    }

    /// Its clock has not moved since.
    pub(super) fn stand(&mut self, since: Instant, now: Instant) {
        let (_, _, rate) = self.clock;
        self.clock = (now, self.local(since), rate);
        self.exempt_until = Some(now + LEASE);
    }

    /// When it does something by itself.
    pub(super) fn wakes_at(&self) -> Option<Instant> {
        let at = self.machine.poll_timeout().filter(|_| self.running == Running::Yes)?;
        Some(self.truly(at))
    }

    /// Whether it may write to the socket of a link.
    pub(super) fn acts(&self, link: &LinkId, now: Instant) -> bool {
        self.running == Running::Yes && self.acting.contains_key(link) && self.machine.tenure().holds(self.local(now))
    }

    pub(super) fn is_exempt(&self, now: Instant) -> bool {
        self.exempt_until.is_some_and(|until| now < until)
    }
}

impl World {
    /// A command that is a request: it is sent, and waited for for a while.
    pub(super) fn ask(&mut self, node: usize, command: Command) {
        self.next += 1;
        let id = self.next;
        let unanswered = match &command {
            Command::Look(key) => Input::NotFound(key.clone()),
            other => Input::Answered(key(other), Answer::Unanswered),
        };
        let is_chain = matches!(unanswered, Input::Answered(Key::Member(_) | Key::Claim(_), _));
        let is_under_way = self.nodes[node].asked.values().any(|other| is_chain && *other == unanswered);
        assert!(!is_under_way, "{command:?} while another write of its key is under way");
        self.nodes[node].asked.insert(id, unanswered);
        self.plan(LEASE / 6, Event::Timeout { node, id });
        if self.nodes[node].is_cut_off || self.faults.strikes(&mut self.chance, 25) {
            return;
        }
        let delay = self.latency();
        self.plan(delay, Event::Request { node, id, command });
    }

    /// Mostly a little, sometimes longer than anybody waits.
    pub(super) fn latency(&mut self) -> Duration {
        if self.faults.strikes(&mut self.chance, 40) { self.span(10, 400) } else { self.span(0, 2) }
    }

    /// An answer goes back.
    pub(super) fn answer(&mut self, node: usize, id: u64, input: Input) {
        if !self.nodes[node].is_cut_off && !self.faults.strikes(&mut self.chance, 25) {
            let delay = self.latency();
            self.plan(delay, Event::Answer { node, id, input });
        }
    }
}

/// Which key a command is about.
pub(super) fn key(command: &Command) -> Key {
    match command {
        Command::Join(name, _) | Command::Renew(name, ..) | Command::Leave(name, _) | Command::Bury(name, _) => {
            Key::Member(Arc::clone(name))
        }
        Command::Describe(configuration, _) => Key::Configuration(Arc::clone(&configuration.digest)),
        Command::Claim(link, ..) | Command::Free(link, ..) => Key::Claim(link.clone()),
        Command::Look(key) => key.clone(),
        other => panic!("{other:?} is no request"),
    }
}
