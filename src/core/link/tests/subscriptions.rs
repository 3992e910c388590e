//! Links that ask for the keys of a set, and peers that know who has what: whatever is put, released, cut, rotated or refused, in the end each
//! peer has the keys of its link, and no other has them.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;
use crate::{
    message::Kind,
    session::{
        Body, Expression, KeyAnswer, Matcher, Names, Plan, Send, Source, Start, Subscribing, Text, TextPart, When,
        Which,
    },
    subscriptions::{self, Holder, Set, State as KeyState, Told},
};

mod churn;
mod resumed;
mod spread;

/// Keys in one message, and messages a second.
const BATCH: usize = 3;
const SPACING: Duration = Duration::from_millis(200);
/// How long a link stays that has no key.
const CLOSE_AFTER: Duration = Duration::from_secs(8);

fn said(word: &str) -> Send {
    let parts = [TextPart::Literal(word.into()), TextPart::Value(Source::Keys)];
    Send { body: Body::Text(Text(parts.into())), kind: Kind::Text }
}

/// `+a,b` asks, `-a` releases, and the peer says `ok a` or `no a`. `more` of the plan may be otherwise.
fn plan(more: impl FnOnce(&mut Plan)) -> Arc<Plan> {
    let mut names = Names::default();
    let key = names.intern("key").unwrap();
    let answer = |word: &str| KeyAnswer {
        matcher: Matcher {
            regex: Some((Expression::parse(&format!("^{word} (?<key>.*)$")).unwrap(), [key].into())),
            ..Matcher::default()
        },
        extract: [].into(),
        which: Which::Named(Text([TextPart::Value(Source::Var(key, None))].into())),
        hide: true,
    };
    let subscribing = Subscribing {
        add: Some(said("+").into()),
        remove: Some(said("-").into()),
        batch: BATCH,
        spacing: SPACING,
        confirm: [answer("ok")].into(),
        refuse: [answer("no")].into(),
        timeout: Duration::from_secs(10),
        skip_when: None,
        until_confirmed: false,
    };
    let mut plan = Plan { names, subscriptions: Some(Box::new(subscribing)), max_json: 1 << 20, ..Plan::default() };
    more(&mut plan);
    Arc::new(plan)
}

/// The other side of one connection.
#[derive(Debug, Default)]
struct Peer {
    number: u64,
    has: BTreeSet<String>,
    heard: Vec<String>,
    /// When messages about keys came.
    moments: Vec<Instant>,
}

struct Node {
    link: Link,
    peers: BTreeMap<bool, Peer>,
    dialing: Vec<Lane>,
    before: Vec<Peer>,
    /// The set wants it.
    is_there: bool,
}

impl Node {
    fn new(index: usize, now: Instant, before: Vec<Peer>) -> Self {
        let link = Link::new(Arc::new(Policy::default()), index as u64, now);
        Self { link, peers: BTreeMap::new(), dialing: Vec::new(), before, is_there: false }
    }
}

struct World {
    set: Set,
    nodes: Vec<Node>,
    plan: Arc<Plan>,
    now: Instant,
    /// Peers do not answer.
    is_mute: bool,
    was_mute: bool,
    /// They read nothing more on the connections that they have now, and this one of their links is.
    is_deaf: BTreeSet<usize>,
    /// They still know on the next connection what they had on the last.
    resumes: bool,
    connections: u64,
    held: BTreeMap<String, BTreeSet<u8>>,
}

fn policy(per_link: Option<u32>, links: (u32, u32), spread_after: Option<Duration>) -> subscriptions::Policy {
    subscriptions::Policy {
        max_keys: 1000,
        per_link,
        links,
        spread_after,
        close_after: CLOSE_AFTER,
        has_template: true,
        is_durable: false,
    }
}

impl World {
    fn new(plan: Arc<Plan>, policy: subscriptions::Policy) -> Self {
        let now = crate::epoch();
        let set = Set::new(now, policy);
        let mut world = Self {
            set,
            nodes: Vec::new(),
            plan,
            now,
            is_mute: false,
            was_mute: false,
            is_deaf: BTreeSet::new(),
            resumes: false,
            connections: 0,
            held: BTreeMap::new(),
        };
        world.fit();
        world
    }

    /// The links that the set wants.
    fn fit(&mut self) {
        let links: BTreeSet<usize> = self.set.links().map(|index| index as usize).collect();
        for index in 0..links.last().map_or(0, |last| last + 1).max(self.nodes.len()) {
            if index == self.nodes.len() {
                self.nodes.push(Node::new(index, self.now, Vec::new()));
            }
            let (wanted, node) = (links.contains(&index), &mut self.nodes[index]);
            if wanted == node.is_there {
                continue;
            }
            node.before.extend(std::mem::take(&mut node.peers).into_values());
            *node = Node { is_there: wanted, ..Node::new(index, self.now, std::mem::take(&mut node.before)) };
            if wanted {
                let wishes = self.set.wishes(u32::try_from(index).unwrap());
                self.feed(index, Input::Subscriptions(wishes.into()));
                self.feed(index, Input::Start);
            } else {
                self.set.set_gone(u32::try_from(index).unwrap());
            }
        }
        let mut told: BTreeMap<u32, Vec<subscriptions::Change>> = BTreeMap::new();
        while let Some((link, change)) = self.set.poll_change() {
            told.entry(link).or_default().push(change);
        }
        for (index, changes) in told {
            if self.nodes[index as usize].is_there {
                self.feed(index as usize, Input::Subscriptions(changes.into()));
            }
        }
        self.pump();
    }

    fn feed(&mut self, index: usize, input: Input) {
        let commands = self.nodes[index].link.handle(self.now, input);
        self.follow(index, commands);
    }

    fn on(&mut self, index: usize, lane: Lane, input: ConnectionInput) {
        self.feed(index, Input::Connection(lane, input));
    }

    fn follow(&mut self, index: usize, commands: Commands) {
        for command in commands {
            match command {
                Command::Dial { lane, .. } => self.nodes[index].dialing.push(lane),
                Command::Switch => {
                    let node = &mut self.nodes[index];
                    let swapped = std::mem::take(&mut node.peers);
                    node.peers = swapped.into_iter().map(|(lane, peer)| (!lane, peer)).collect();
                    // Where the old one is still there, nothing may be missing on the new one.
                    if let (Some(old), Some(new)) = (node.peers.get(&false), node.peers.get(&true)) {
                        let link = u32::try_from(index).unwrap();
                        let wanted = self.set.list(0, 1000).0.into_iter().filter(|held| held.link == Some(link));
                        for key in wanted.map(|held| held.key.to_string()).filter(|key| old.has.contains(key)) {
                            assert!(new.has.contains(&key), "{key} is not there yet: {new:?}");
                        }
                    }
                }
                Command::Hangup(lane) | Command::GiveUp(lane) => {
                    let node = &mut self.nodes[index];
                    node.dialing.retain(|dialing| *dialing != lane);
                    if let Some(peer) = node.peers.remove(&(lane == Lane::Current)) {
                        node.before.push(peer);
                    }
                    self.on(index, lane, ended());
                }
                Command::Subscribed(reached) => self.set.reached(u32::try_from(index).unwrap(), reached),
                Command::Tell(Event::Phase { to, .. }) => {
                    self.set.set_ready(self.now, u32::try_from(index).unwrap(), to == Phase::Ready);
                }
                _ => {}
            }
        }
    }

    /// All that can happen now.
    fn pump(&mut self) {
        for index in 0..self.nodes.len() {
            while self.pump_dial(index) || self.pump_lane(index, Lane::Current) || self.pump_lane(index, Lane::Beside) {
            }
        }
    }

    fn pump_dial(&mut self, index: usize) -> bool {
        let Some(lane) = self.nodes[index].dialing.pop() else { return false };
        let start = Start {
            plan: Arc::clone(&self.plan),
            secrets: [].into(),
            wall: Duration::from_secs(1),
            at: self.now,
            endpoint: "e".into(),
            link: u32::try_from(index).unwrap(),
            is_watched: false,
            dialled: None,
        };
        let node = &mut self.nodes[index];
        let has = node.before.last().filter(|_| self.resumes).map(|peer| peer.has.clone()).unwrap_or_default();
        node.peers.insert(lane == Lane::Current, Peer { number: self.connections, has, ..Peer::default() });
        self.connections += 1;
        self.is_deaf.remove(&index);
        self.on(index, lane, ConnectionInput::Session(Box::new(start)));
        self.on(index, lane, dialled());
        true
    }

    fn pump_lane(&mut self, index: usize, lane: Lane) -> bool {
        let due = |node: &Node, now| node.link.poll_timeout().is_some_and(|(at, _)| at <= now);
        if due(&self.nodes[index], self.now) {
            let commands = self.nodes[index].link.handle_timeout(self.now);
            self.follow(index, commands);
            return true;
        }
        let Some(frame) = self.nodes[index].link.poll_transmit(self.now, lane) else { return false };
        self.on(index, lane, ConnectionInput::Flushed);
        if self.is_deaf.contains(&index) {
            if let Frame::Close(_) = frame {
                self.end(index, lane);
            }
            return true;
        }
        self.on(index, lane, ConnectionInput::Heard);
        match frame {
            Frame::Session(payload) => {
                let text = String::from_utf8_lossy(payload.bytes()).into_owned();
                let number = self.nodes[index].peers.get(&(lane == Lane::Current)).map(|peer| peer.number);
                for answer in self.hear(index, lane, &text) {
                    // An answer may bring the switch, and those that follow come on what is the current connection then.
                    let peers = &self.nodes[index].peers;
                    let Some((is_current, _)) = peers.iter().find(|(_, peer)| Some(peer.number) == number) else {
                        break;
                    };
                    let lane = if *is_current { Lane::Current } else { Lane::Beside };
                    let run = answer.as_str().into();
                    self.on(index, lane, ConnectionInput::Received(Received::Messages(run)));
                }
            }
            Frame::Ping(payload) => self.on(index, lane, ConnectionInput::Received(Received::Pong(payload))),
            Frame::Close(_) => self.end(index, lane),
            Frame::Data(_) => {}
        }
        true
    }

    fn hear(&mut self, index: usize, lane: Lane, text: &str) -> Vec<String> {
        let (now, is_mute) = (self.now, self.is_mute);
        let Some(peer) = self.nodes[index].peers.get_mut(&(lane == Lane::Current)) else { return Vec::new() };
        peer.heard.push(text.to_owned());
        peer.moments.push(now);
        let (word, keys) = text.split_at(1);
        let mut answers = Vec::new();
        assert!(keys.split(',').count() <= BATCH, "{text}");
        for key in keys.split(',') {
            match word {
                "+" if key.starts_with('x') => answers.push(format!("no {key}")),
                "+" => {
                    assert!(
                        peer.has.insert(key.to_owned()) || self.was_mute,
                        "{key} is asked for twice: {:?}",
                        peer.heard
                    );
                    answers.push(format!("ok {key}"));
                }
                _ => drop(peer.has.remove(key)),
            }
        }
        if is_mute { Vec::new() } else { answers }
    }

    /// The connection is gone.
    fn end(&mut self, index: usize, lane: Lane) {
        let node = &mut self.nodes[index];
        if let Some(peer) = node.peers.remove(&(lane == Lane::Current)) {
            node.before.push(peer);
            self.on(index, lane, ended());
        }
    }

    fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        loop {
            self.pump();
            let links = self.nodes.iter().filter_map(|node| Some(node.link.poll_timeout()?.0));
            let next = links.chain(self.set.poll_timeout()).min().filter(|at| *at <= end);
            self.now = next.map_or(end, |at| at.max(self.now));
            self.set.expire(self.now);
            self.fit();
            if next.is_none() {
                return;
            }
        }
    }

    fn put(&mut self, key: &str, holder: u8) {
        let name = Holder::Named(holder.to_string().into());
        if self.set.put(self.now, key, name, None, None).is_ok() {
            self.held.entry(key.to_owned()).or_default().insert(holder);
        }
        self.fit();
    }

    fn release(&mut self, key: &str, holder: u8) {
        let last = self.set.release(self.now, key, &Holder::Named(holder.to_string().into()), None);
        let mut holds = false;
        if let Some(holders) = self.held.get_mut(key) {
            holds = holders.remove(&holder);
            let is_last = holders.is_empty();
            assert!(!holds || last == Some(is_last), "{key}: {last:?}");
            if is_last {
                self.held.remove(key);
            }
        }
        assert_eq!(last.is_some(), holds);
        self.fit();
    }

    fn links(&self) -> Vec<usize> {
        (0..self.nodes.len()).filter(|index| self.nodes[*index].is_there).collect()
    }

    fn has(&self, index: usize) -> BTreeSet<String> {
        self.nodes[index].peers.get(&true).map(|peer| peer.has.clone()).unwrap_or_default()
    }

    /// What must hold once nothing happens any more.
    fn look(&self) {
        let (all, _) = self.set.list(0, 1000);
        let keys: BTreeSet<String> = all.iter().map(|held| held.key.to_string()).collect();
        assert_eq!(keys, self.held.keys().cloned().collect(), "none is lost, and none is held by nobody");
        let mut seen: BTreeSet<String> = BTreeSet::new();
        for index in 0..self.nodes.len() {
            let link = u32::try_from(index).unwrap();
            let wanted = all.iter().filter(|held| held.link == Some(link) && !held.key.starts_with('x'));
            let wanted: BTreeSet<String> = wanted.map(|held| held.key.to_string()).collect();
            assert_eq!(self.has(index), wanted, "link {index}");
            assert!(wanted.is_disjoint(&seen), "a key is on two links");
            seen.extend(wanted);
        }
        for held in &all {
            let wanted = if held.key.starts_with('x') { KeyState::Refused } else { KeyState::Active };
            assert_eq!(held.state, wanted, "{held:?}");
        }
        let counts = self.set.counts();
        assert_eq!(counts.iter().sum::<usize>(), all.len());
        for peer in self.nodes.iter().flat_map(|node| node.before.iter().chain(node.peers.values())) {
            assert!(peer.moments.windows(2).all(|pair| pair[1] - pair[0] >= SPACING), "{:?}", peer.moments);
        }
    }
}

#[derive(Debug, Clone)]
enum Deed {
    Put(String, u8),
    Release(String, u8),
    Cut(usize),
    Rotate(usize),
    Mute(bool),
    Pass(u64),
}

fn deeds() -> impl Strategy<Value = Vec<Deed>> {
    let key =
        || (0..12_u8, any::<bool>()).prop_map(|(key, _)| if key > 9 { format!("x{key}") } else { format!("k{key}") });
    let deed = prop_oneof![
        6 => (key(), 0..3_u8).prop_map(|(key, holder)| Deed::Put(key, holder)),
        4 => (key(), 0..3_u8).prop_map(|(key, holder)| Deed::Release(key, holder)),
        2 => (0..4_usize).prop_map(Deed::Cut),
        2 => (0..4_usize).prop_map(Deed::Rotate),
        1 => any::<bool>().prop_map(Deed::Mute),
        4 => (0..20_000_u64).prop_map(Deed::Pass),
    ];
    prop::collection::vec(deed, 0..60)
}

proptest! {
    #[test]
    fn whatever_happens_each_peer_has_the_keys_of_its_link(
        story in deeds(), per_link in prop::option::of(2..5_u32), max in 1..4_u32, spreads in any::<bool>(),
    ) {
        let spread_after = spreads.then_some(Duration::from_secs(5));
        let mut world = World::new(plan(|_| ()), policy(per_link, (1, max), spread_after));
        for deed in story {
            match deed {
                Deed::Put(key, holder) => world.put(&key, holder),
                Deed::Release(key, holder) => world.release(&key, holder),
                Deed::Cut(index) if world.links().contains(&index) => world.end(index, Lane::Current),
                Deed::Rotate(index) if world.links().contains(&index) => world.feed(index, Input::Verb(Verb::Rotate)),
                Deed::Cut(_) | Deed::Rotate(_) => {}
                Deed::Mute(is_mute) => {
                    world.is_mute = is_mute;
                    world.was_mute |= is_mute;
                }
                Deed::Pass(millis) => world.pass(Duration::from_millis(millis)),
            }
            world.pump();
        }
        // What was not answered meanwhile is asked for again on a new connection.
        world.is_mute = false;
        world.pass(Duration::from_mins(10));
        for index in 0..world.nodes.len() {
            world.end(index, Lane::Current);
        }
        world.pass(Duration::from_mins(10));
        world.look();
    }
}

#[test]
fn a_key_that_is_put_twice_is_shared_and_a_lease_ends() {
    let mut world = World::new(plan(|_| ()), policy(None, (1, 1), None));
    let put = |world: &mut World, name: &str, lease: Option<u64>| {
        let lease = lease.map(Duration::from_secs);
        world.set.put(world.now, "k", Holder::Named(name.into()), lease, None)
    };
    assert_eq!(put(&mut world, "one", Some(10)), Ok(Told::New));
    assert_eq!(put(&mut world, "two", None), Ok(Told::Shared));
    world.fit();
    world.pass(Duration::from_secs(8));
    assert_eq!(put(&mut world, "one", Some(10)), Ok(Told::Shared), "it is renewed");
    world.pass(Duration::from_secs(8));
    assert_eq!(world.set.get("k").unwrap().holders.len(), 2);
    world.pass(Duration::from_secs(8));
    assert_eq!(world.set.get("k").unwrap().holders.len(), 1);
    assert_eq!(world.set.release(world.now, "k", &Holder::Named("two".into()), None), Some(true));
    world.fit();
    assert_eq!(world.nodes[0].peers[&true].heard, ["+k", "-k"]);
    assert_eq!(world.set.bytes(), 0);
}

#[test]
fn a_new_connection_that_takes_the_place_of_a_lost_one_waits_for_no_confirmation() {
    let mut world = World::new(plan(|_| ()), policy(None, (1, 1), None));
    world.put("a", 0);
    world.pass(Duration::from_secs(5));
    (world.is_mute, world.was_mute) = (true, true);
    world.feed(0, Input::Verb(Verb::Rotate));
    world.pass(Duration::from_secs(1));
    assert_eq!(world.nodes[0].peers[&false].heard, ["+a"], "it waits for the answer beside the old one");
    world.end(0, Lane::Current);
    assert_eq!(
        (world.nodes[0].link.phase(), &world.nodes[0].peers[&true].heard[..]),
        (Phase::Ready, &["+a".to_owned()][..])
    );
}

#[test]
fn what_is_confirmed_that_nobody_asked_for_changes_nothing() {
    let mut world = World::new(plan(|_| ()), policy(None, (1, 1), None));
    world.put("a", 0);
    world.pass(Duration::from_secs(5));
    for number in 0..1000 {
        let run = format!("ok other{number}").as_str().into();
        world.on(0, Lane::Current, ConnectionInput::Received(Received::Messages(run)));
    }
    world.pass(Duration::from_secs(5));
    world.look();
    assert_eq!(world.set.list(0, 9).0.len(), 1);
}
