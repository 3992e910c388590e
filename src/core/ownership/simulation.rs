//! Whole clusters in faulty worlds: members, a bucket with its watches, clocks and a network between them, all from one seed.
//!
//! Looked at in true time after everything that happens: who acts. A failure names its seed, and one seed is one story.
//!
//! What a reader would get wrong: members have clocks of their own, which run up to three in a hundred fast or slow, and stand where a machine
//! is paused by its host. Only then may two act at once, and only until the one that was paused has found out.

mod bucket;
mod faults;
mod node;
mod promises;

use std::collections::{BTreeMap, BTreeSet};

use self::{
    bucket::Bucket,
    faults::{Fault, Faults},
    node::{Node, Running},
};
use super::*;

const LEASE: Duration = Duration::from_secs(15);
const POLICY: Policy = Policy { lease: LEASE, settle: Duration::from_secs(3), moves: 6 };

/// What comes to pass at a moment.
#[derive(Debug, Clone)]
enum Event {
    /// A request reaches the bucket.
    Request { node: usize, id: u64, command: Command },
    /// An answer reaches a process.
    Answer { node: usize, id: u64, input: Input },
    /// A process waits for an answer no longer.
    Timeout { node: usize, id: u64 },
    /// A watch reaches the bucket.
    Watch { node: usize, number: u64 },
    /// A watch has a chance to tell of something.
    Pump(usize),
    /// Something reaches a process.
    Tell { node: usize, input: Input },
    /// A process has taken over a chain, or has not.
    Chain { node: usize, link: LinkId, epoch: u64 },
    /// A link of a process does not act any more.
    Closed { node: usize, link: LinkId, epoch: u64 },
    /// The world does something.
    Fault(Fault),
}

struct World {
    chance: Chance,
    now: Instant,
    events: BTreeMap<(Instant, u64), Event>,
    next: u64,
    bucket: Bucket,
    nodes: Vec<Node>,
    faults: Faults,
    configurations: Vec<Configuration>,
    /// Under which epoch a link was owned last, and its chain.
    epochs: BTreeMap<LinkId, u64>,
    chains: BTreeMap<LinkId, u64>,
    /// Links that are given, and by whom, until they are claimed; and how many there were at once.
    moving: BTreeMap<LinkId, usize>,
    most_moving: usize,
    moved: usize,
    /// Who has declared whom dead.
    buried: Vec<(usize, Arc<str>)>,
    /// What was done, for comparison.
    story: u64,
}

fn configuration(digest: &str, of: &[(&str, u32)]) -> Configuration {
    let links = of.iter().map(|(endpoint, count)| (Arc::from(*endpoint), *count)).collect();
    Configuration { digest: digest.into(), links: Arc::new(links) }
}

impl World {
    /// So many members that start at once, in a world without faults.
    fn new(seed: u64, members: usize, configurations: Vec<Configuration>) -> Self {
        let mut world = Self {
            chance: Chance::new(seed),
            now: crate::epoch(),
            events: BTreeMap::new(),
            next: 0,
            bucket: Bucket::default(),
            nodes: Vec::new(),
            faults: Faults::default(),
            configurations,
            epochs: BTreeMap::new(),
            chains: BTreeMap::new(),
            moving: BTreeMap::new(),
            most_moving: 0,
            moved: 0,
            buried: Vec::new(),
            story: 0,
        };
        (0..members).for_each(|_| world.join(0, None));
        world
    }

    /// Three to seven members, a few endpoints, and faults of all kinds.
    fn faulty(seed: u64) -> Self {
        let mut chance = Chance::new(seed ^ 0xfa17);
        let mut count = |least: u64, most: u64| least + chance.bits() % (most - least + 1);
        let (feed, pair) = (u32::try_from(count(1, 9)).unwrap(), u32::try_from(count(1, 3)).unwrap());
        let old = configuration("old", &[("feed", feed), ("pair", pair), ("gone", 2)]);
        let new = configuration("new", &[("feed", feed + 1), ("pair", pair), ("fresh", 2)]);
        let members = usize::try_from(count(3, 7)).unwrap();
        let mut world = Self::new(seed, members, vec![old, new]);
        world.faults.are_on = true;
        world.plan_fault();
        world
    }

    fn one_in(&mut self, many: u64) -> bool {
        self.chance.bits().is_multiple_of(many)
    }

    /// A span up to so many thousandths of a lease.
    fn span(&mut self, least: u32, most: u32) -> Duration {
        self.chance.between(LEASE / 1000 * least, LEASE / 1000 * most)
    }

    fn plan(&mut self, after: Duration, event: Event) {
        self.next += 1;
        self.events.insert((self.now + after, self.next), event);
    }

    /// A process starts; it may have the name of one that ran before.
    fn join(&mut self, configuration: usize, name: Option<Arc<str>>) {
        let seed = self.chance.bits();
        let rate = if self.faults.are_on { 970 + self.chance.bits() % 61 } else { 1000 };
        let name = name.unwrap_or_else(|| format!("host{}_{}", self.nodes.len(), self.nodes.len() + 10).into());
        let node = Node::new(name, self.configurations[configuration].clone(), seed, self.now, rate);
        self.nodes.push(node);
    }

    /// The next thing happens, if it does before `until`.
    fn step(&mut self, until: Instant) -> bool {
        let timer = |(index, node): (usize, &Node)| Some((node.wakes_at()?.max(self.now), index));
        let timer = self.nodes.iter().enumerate().filter_map(timer).min();
        let event = self.events.first_key_value().map(|((at, _), _)| *at);
        let next = event.into_iter().chain(timer.map(|(at, _)| at)).min();
        let Some(at) = next.filter(|at| *at <= until) else {
            self.now = until;
            return false;
        };
        self.now = at;
        match timer {
            Some((wakes, index)) if event.is_none_or(|event| wakes < event) => self.wake(index),
            Some(_) | None => {
                if let Some((_, event)) = self.events.pop_first() {
                    self.pass(event);
                }
            }
        }
        self.check();
        true
    }

    fn run(&mut self, span: Duration) {
        let until = self.now + span;
        while self.step(until) {}
    }

    fn pass(&mut self, event: Event) {
        match event {
            Event::Request { node, id, command } => self.request(node, id, command),
            Event::Watch { node, number } => self.watch(node, number),
            Event::Pump(watch) => self.pump(watch),
            Event::Fault(fault) => self.strike(fault),
            Event::Answer { node, .. }
            | Event::Timeout { node, .. }
            | Event::Tell { node, .. }
            | Event::Chain { node, .. }
            | Event::Closed { node, .. } => match self.nodes[node].running {
                Running::Yes => self.happen(event),
                Running::Stopped => self.nodes[node].mail.push_back(event),
                Running::Dead => {}
            },
        }
    }

    /// Something happens to a process that runs.
    fn happen(&mut self, event: Event) {
        match event {
            Event::Answer { node, id, input } => {
                if self.nodes[node].asked.remove(&id).is_some() {
                    self.feed(node, input);
                }
            }
            Event::Timeout { node, id } => {
                if let Some(input) = self.nodes[node].asked.remove(&id) {
                    self.feed(node, input);
                }
            }
            Event::Tell { node, input } => self.feed(node, input),
            Event::Chain { node, link, epoch } => {
                let chain = self.chains.entry(link.clone()).or_default();
                let is_taken = epoch > *chain;
                *chain = epoch.max(*chain);
                let input = if is_taken { Input::ChainTaken { link, epoch } } else { Input::ChainLost { link, epoch } };
                self.feed(node, input);
            }
            Event::Closed { node, link, epoch } => {
                if self.nodes[node].acting.get(&link) == Some(&epoch) {
                    self.nodes[node].acting.remove(&link);
                }
                self.feed(node, Input::Closed { link, epoch, upto: Some(epoch) });
            }
            Event::Request { .. } | Event::Watch { .. } | Event::Pump(_) | Event::Fault(_) => {}
        }
    }

    fn wake(&mut self, node: usize) {
        let local = self.nodes[node].local(self.now);
        let commands = self.nodes[node].machine.handle_timeout(local);
        let next = self.nodes[node].machine.poll_timeout();
        assert!(next.is_none_or(|at| at > local), "a deadline stayed due: {next:?} at {local:?}");
        self.obey(node, commands);
    }

    fn feed(&mut self, node: usize, input: Input) {
        let local = self.nodes[node].local(self.now);
        let commands = self.nodes[node].machine.handle(local, input);
        self.obey(node, commands);
    }

    fn obey(&mut self, node: usize, commands: Vec<Command>) {
        for command in commands {
            self.story = Chance::new(self.story ^ crate::hash::stable([&*format!("{node} {command:?}")])).bits();
            match command {
                Command::Watch(number) => {
                    self.nodes[node].watch = number;
                    let delay = self.span(0, 3);
                    self.plan(delay, Event::Watch { node, number });
                }
                Command::TakeChain { link, epoch } => {
                    let delay = self.span(0, 10);
                    self.plan(delay, Event::Chain { node, link, epoch });
                }
                Command::Own { link, epoch, .. } => {
                    let last = self.epochs.insert(link.clone(), epoch).unwrap_or_default();
                    assert!(epoch > last || self.is_any_exempt(), "{link} had epoch {last}, and has {epoch}");
                    let before = self.nodes[node].acting.insert(link, epoch);
                    assert_eq!(before, None, "a link is owned once");
                }
                Command::Disown { link, epoch, how } => self.disown(node, link, epoch, &how),
                Command::CutAll(_) => {
                    self.nodes[node].acting.clear();
                    self.moving.retain(|_, giver| *giver != node);
                }
                Command::Left => {
                    assert!(self.nodes[node].acting.is_empty(), "it left, and acts");
                    self.end(node);
                }
                Command::Look(_)
                | Command::Describe(..)
                | Command::Join(..)
                | Command::Renew(..)
                | Command::Leave(..)
                | Command::Bury(..)
                | Command::Claim(..)
                | Command::Free(..) => self.ask(node, command),
            }
        }
    }

    fn disown(&mut self, node: usize, link: LinkId, epoch: u64, how: &GivingUp) {
        if *how == GivingUp::Cut {
            self.nodes[node].acting.remove(&link);
            return;
        }
        if matches!(how, GivingUp::Move(_)) {
            self.moving.insert(link.clone(), node);
            self.most_moving = self.most_moving.max(self.moving.len());
            self.moved += 1;
        }
        let delay = self.span(1, 30);
        self.plan(delay, Event::Closed { node, link, epoch });
    }

    /// A process is gone.
    fn end(&mut self, node: usize) {
        self.nodes[node].running = Running::Dead;
        self.nodes[node].acting.clear();
        self.moving.retain(|_, giver| *giver != node);
    }
}
