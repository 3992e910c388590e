//! Whole pools in faulty worlds: links, admission and peers that refuse, drop, stall and answer, all from one seed.
//!
//! The promises of a link are checked at every step of every world. A failure names its seed, and one seed is one story.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;

use super::*;
use crate::core::{
    admission::{self, Admission},
    budget::Share,
    close::{Cause, CloseFrame},
    event::{Certificates, DialFailure, Event, Timings},
    message::MessageId,
    outbox::Delivery,
    receipt::{self, Fate},
};

const LINKS: usize = 4;
const STEPS: usize = 300;
const WORLDS: u64 = 1500;

/// A link and the transport that the world gives it.
struct Node {
    link: Link,
    dialing: bool,
    asked: Option<u64>,
    place: bool,
    open: bool,
    /// Wire bytes pulled since the last flush.
    pulled: u64,
    /// Data frames pulled since then, by the number that is their text, and where on the wire each begins.
    unflushed: Vec<(u64, u64)>,
    /// Data frames of which something left, in order.
    left: Vec<u64>,
    pings: Vec<Bytes>,
    held: BTreeMap<u64, (usize, receipt::State)>,
    /// Answers that the disk has not given yet.
    disk: VecDeque<Input>,
    /// Messages that the disk has said it has.
    stored: BTreeSet<u64>,
    marked: BTreeSet<u64>,
}

struct World {
    chance: Chance,
    now: Instant,
    nodes: Vec<Node>,
    admission: Admission,
    tickets: u64,
    next: u64,
    benign: bool,
    delivery: Delivery,
    durable: bool,
}

fn address() -> std::net::SocketAddr {
    std::net::SocketAddr::from(([127, 0, 0, 1], 9))
}

impl World {
    fn new(seed: u64) -> Self {
        let now = crate::core::epoch();
        let delivery = if seed.is_multiple_of(2) { Delivery::AtMostOnce } else { Delivery::AtLeastOnce };
        let durable = seed.is_multiple_of(3);
        let policy = Policy {
            outbox: Arc::new(outbox::Policy {
                max_messages: 5,
                max_bytes: 100,
                delivery,
                durable,
                ..outbox::Policy::default()
            }),
            confirm_interval: Duration::from_secs(seed % 5),
            ..Policy::default()
        };
        let policy = Arc::new(policy);
        let node = |index: usize| Node {
            link: Link::new(Arc::clone(&policy), seed.wrapping_mul(31) + index as u64, now),
            dialing: false,
            asked: None,
            place: false,
            open: false,
            pulled: 0,
            unflushed: Vec::new(),
            left: Vec::new(),
            pings: Vec::new(),
            held: BTreeMap::new(),
            disk: VecDeque::new(),
            stored: BTreeSet::new(),
            marked: BTreeSet::new(),
        };
        let admission = Admission::new(admission::Policy::default(), now);
        let nodes = (0..LINKS).map(node).collect();
        let chance = Chance::new(seed);
        let mut world = Self { chance, now, nodes, admission, tickets: 0, next: 0, benign: false, delivery, durable };
        for index in 0..LINKS {
            world.feed(index, Input::Start);
        }
        world
    }

    fn one_in(&mut self, many: u64) -> bool {
        self.chance.bits().is_multiple_of(many)
    }

    fn feed(&mut self, index: usize, input: Input) {
        let commands = self.nodes[index].link.handle(self.now, input);
        self.obey(index, commands);
    }

    fn obey(&mut self, index: usize, commands: Commands) {
        for command in commands {
            match command {
                Command::Dial { .. } => {
                    assert!(!self.nodes[index].dialing && !self.nodes[index].open, "one dial at a time");
                    self.nodes[index].dialing = true;
                    self.nodes[index].asked = Some(self.tickets);
                    self.admission.ask(self.tickets, vec![address()], false);
                    self.tickets += 1;
                    self.feed(index, Input::Queued);
                }
                Command::GiveUp => {
                    self.end_dial(index);
                    self.feed(index, failed(Cause::Connect, None));
                }
                Command::Hangup => {
                    self.end_dial(index);
                    self.lose(index);
                }
                Command::Tell(Event::Receipt { id, state, .. }) => self.settle(index, id, state),
                Command::Tell(Event::Phase { delay: Some(delay), .. }) => {
                    assert!(delay <= Duration::from_mins(11), "delay {delay:?}");
                }
                Command::Tell(_) | Command::Done | Command::Bury(_) => {}
                Command::Keep(keep) => {
                    let answer = if self.one_in(8) {
                        Input::NotStored { place: keep.place, id: keep.id }
                    } else {
                        Input::Stored { place: keep.place, id: keep.id }
                    };
                    self.nodes[index].disk.push_back(answer);
                }
                Command::Mark { ids, marked: true } => self.nodes[index].disk.push_back(Input::Marked(ids)),
                Command::Mark { ids, marked: false } => {
                    let taken_back = |number: &u64| ids.contains(&MessageId((*number).into()));
                    self.nodes[index].marked.retain(|number| !taken_back(number));
                }
            }
        }
    }

    /// The disk answers, sooner or later, in order.
    fn turn_disk(&mut self, index: usize) {
        while (self.benign || self.one_in(2))
            && let Some(answer) = self.nodes[index].disk.pop_front()
        {
            let number = |id: &MessageId| u64::try_from(id.0).expect("small");
            let node = &mut self.nodes[index];
            if let Input::Stored { id, .. } = &answer {
                node.stored.insert(number(id));
            } else if let Input::Marked(ids) = &answer {
                node.marked.extend(ids.iter().map(number));
            }
            self.feed(index, answer);
        }
    }

    fn settle(&mut self, index: usize, id: MessageId, state: receipt::State) {
        let number = u64::try_from(id.0).expect("small");
        let (_, before) = self.nodes[index].held.get_mut(&number).expect("an accepted message");
        assert!(!before.is_end(), "{number} left its end {before}");
        *before = state;
    }

    fn end_dial(&mut self, index: usize) {
        let node = &mut self.nodes[index];
        node.dialing = false;
        if let Some(ticket) = node.asked.take() {
            self.admission.withdraw(ticket);
        }
        if std::mem::take(&mut node.place) {
            self.admission.release(address(), false);
        }
    }

    fn lose(&mut self, index: usize) {
        if std::mem::take(&mut self.nodes[index].open) {
            let escaped = self.chance.bits() % (self.nodes[index].pulled + 1);
            let node = &mut self.nodes[index];
            node.left.extend(node.unflushed.drain(..).filter(|(_, begin)| *begin < escaped).map(|(number, _)| number));
            node.pulled = 0;
            node.pings.clear();
            self.feed(index, Input::Ended { escaped, detail: "".into() });
        }
    }

    fn grant(&mut self) {
        while let Some((ticket, _)) = self.admission.poll_grant(self.now) {
            let index = self.nodes.iter().position(|node| node.asked == Some(ticket)).expect("who asked");
            self.nodes[index].asked = None;
            self.nodes[index].place = true;
            self.feed(index, Input::Admitted);
        }
    }

    /// What the world does to a link that dials.
    fn answer_dial(&mut self, index: usize) {
        if !self.nodes[index].place || !(self.benign || self.one_in(2)) {
            return;
        }
        self.end_dial(index);
        if self.benign || self.one_in(2) {
            let established = Established {
                url: "ws://peer/".into(),
                address: None,
                protocol: "".into(),
                extensions: "".into(),
                certificates: Certificates::default(),
                timings: Timings::default(),
            };
            self.nodes[index].open = true;
            self.feed(index, Input::Dialled(Box::new(established)));
        } else {
            let status = [None, Some(401), Some(404), Some(429), Some(503)][(self.chance.bits() % 5) as usize];
            self.feed(index, failed(if status.is_some() { Cause::Upgrade } else { Cause::Dns }, status));
        }
    }

    /// What the world does to an open link.
    fn touch(&mut self, index: usize) {
        while let Some(frame) = self.nodes[index].link.poll_transmit(self.now) {
            let node = &mut self.nodes[index];
            assert!(node.open, "a frame left a link that is not open");
            match frame {
                Frame::Data(payload) => {
                    let text = String::from_utf8(payload.bytes().to_vec()).expect("text");
                    let number = text.trim_start_matches('.').parse().expect("a number");
                    assert!(!self.durable || node.stored.contains(&number), "{number} left before it was stored");
                    let needs_mark = self.durable && self.delivery == Delivery::AtMostOnce;
                    assert!(!needs_mark || node.marked.contains(&number), "{number} left before it was marked");
                    node.unflushed.push((number, node.pulled));
                    node.pulled += payload.len() as u64 + 6;
                }
                Frame::Ping(nonce) => node.pings.push(nonce),
                Frame::Close(_) => {}
            }
        }
        if self.benign || self.one_in(2) {
            let node = &mut self.nodes[index];
            node.left.extend(node.unflushed.drain(..).map(|(number, _)| number));
            node.pulled = 0;
            self.feed(index, Input::Flushed);
        }
        if self.benign || self.one_in(3) {
            self.feed(index, Input::Heard);
            for nonce in std::mem::take(&mut self.nodes[index].pings) {
                self.feed(index, Input::Received(Received::Pong(nonce)));
            }
        }
        if !self.benign && self.one_in(10) {
            let code = [1000, 1001, 1008, 1011, 1012, 1013, 3000, 4401][(self.chance.bits() % 8) as usize];
            let frame = CloseFrame { code, reason: "".into() };
            self.feed(index, Input::Received(Received::Close(Some(frame))));
        }
        if (!self.benign && self.one_in(8)) || self.nodes[index].link.phase() == Phase::Closing {
            self.lose(index);
        }
    }

    fn send(&mut self, index: usize) {
        let number = self.next;
        self.next += 1;
        let text = format!("{:.>1$}", number, (self.chance.bits() % 40) as usize);
        let message = Message {
            id: MessageId(number.into()),
            payload: text.as_str().into(),
            key: None,
            expires_at: self.one_in(4).then(|| self.now + Duration::from_secs(3)),
            wants_confirmation: self.one_in(2),
            ack: None,
            share: Share::default(),
        };
        self.nodes[index].held.insert(number, (text.len(), receipt::State::Queued));
        let (answer, commands) = self.nodes[index].link.offer(self.now, Box::new(message));
        if answer.is_err() {
            self.nodes[index].held.remove(&number);
        }
        self.obey(index, commands);
    }

    fn pass(&mut self) {
        let limit = self.now + Duration::from_millis(1 + self.chance.bits() % 4000);
        let deadlines = self.nodes.iter().filter_map(|node| node.link.poll_timeout()).map(|(at, _)| at);
        self.now = deadlines.min().map_or(limit, |at| at.min(limit)).max(self.now);
        for index in 0..LINKS {
            let commands = self.nodes[index].link.handle_timeout(self.now);
            self.obey(index, commands);
            let next = self.nodes[index].link.poll_timeout();
            assert!(next.is_none_or(|(at, _)| at > self.now), "a deadline stayed due: {next:?}");
        }
    }

    fn check(&self) {
        assert!(self.nodes.iter().filter(|node| node.place).count() <= 1, "admission");
        for node in &self.nodes {
            let held = node.held.values().filter(|(_, state)| *state == receipt::State::Queued);
            let sum: usize = held.map(|(len, _)| len).sum();
            assert!(node.link.buffered_amount() <= 100 && node.link.queued_messages() <= 5, "limits");
            match self.delivery {
                Delivery::AtMostOnce => {
                    assert_eq!(node.link.buffered_amount(), sum as u64, "bufferedAmount is the sum of what is held");
                    assert!(
                        node.left.is_sorted_by(|one, next| one < next),
                        "order, and nothing twice: {:?}",
                        node.left
                    );
                }
                Delivery::AtLeastOnce => {
                    let mut seen = BTreeSet::new();
                    let firsts = node.left.iter().filter(|number| seen.insert(**number));
                    assert!(firsts.is_sorted(), "order: {:?}", node.left);
                }
            }
            let resting = matches!(node.link.phase(), Phase::Paused);
            let waits = node.asked.is_some() || node.open;
            assert!(resting || waits || node.link.poll_timeout().is_some(), "wedged: {:?}", node.link.phase());
        }
    }

    fn step(&mut self) {
        self.pass();
        self.grant();
        for index in 0..LINKS {
            self.answer_dial(index);
            self.turn_disk(index);
            if self.nodes[index].open {
                self.touch(index);
            }
            if !self.benign && self.one_in(40) {
                let verbs = [Verb::Close(None), Verb::Reconnect, Verb::Pause, Verb::Resume, Verb::Resume];
                let verb = verbs[(self.chance.bits() % 5) as usize].clone();
                self.feed(index, Input::Verb(verb));
            }
            if self.one_in(3) {
                self.send(index);
            }
        }
        self.grant();
        self.check();
    }

    /// The world turns benign: every link must come back by itself, or by a `resume` where an operator paused it.
    fn recover(&mut self) {
        self.benign = true;
        for index in 0..LINKS {
            self.feed(index, Input::Verb(Verb::Resume));
        }
        let end = self.now + Duration::from_mins(12);
        while self.now < end {
            self.step();
        }
        assert!(self.nodes.iter().all(|node| node.link.phase() == Phase::Ready), "not ready in a benign world");
    }

    fn stop(&mut self) {
        for index in 0..LINKS {
            self.feed(index, Input::Stop(Duration::from_secs(1), Fate::Shutdown));
        }
        self.now += Duration::from_secs(1);
        self.pass();
        for node in &self.nodes {
            let open = |state: &receipt::State| matches!(state, receipt::State::Queued | receipt::State::Stored);
            // What is on disk is kept, and goes on in another life.
            assert!(self.durable || !node.held.values().any(|(_, state)| open(state)), "a message without an end");
            let lost = |number: &u64| node.held[number].1 == receipt::State::Unknown && !node.left.contains(number);
            assert!(self.delivery == Delivery::AtMostOnce || !node.held.keys().any(lost), "lost, at least once");
            assert!(!node.dialing && !node.open, "not stopped");
        }
    }
}

fn failed(cause: Cause, status: Option<u16>) -> Input {
    Input::DialFailed(Box::new(DialFailure {
        cause,
        status,
        retry_after: status.filter(|status| *status == 429).map(|_| Duration::from_secs(7)),
        detail: "".into(),
        timings: Timings::default(),
    }))
}

#[test]
fn every_promise_holds_in_every_world() {
    for seed in 0..WORLDS {
        let told = std::panic::catch_unwind(|| {
            let mut world = World::new(seed);
            for _ in 0..STEPS {
                world.step();
            }
            world.recover();
            world.stop();
        });
        assert!(told.is_ok(), "seed {seed}");
    }
}

#[test]
fn one_seed_is_one_story() {
    let story = |seed| {
        let mut world = World::new(seed);
        for _ in 0..STEPS {
            world.step();
        }
        world.nodes.iter().map(|node| (node.link.generation(), node.left.clone())).collect::<Vec<_>>()
    };
    assert_eq!(story(42), story(42));
}
