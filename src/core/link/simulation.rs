//! Whole pools in faulty worlds: links, admission and peers that refuse, drop, stall and answer, all from one seed.
//!
//! The promises of a link are checked at every step of every world. A failure names its seed, and one seed is one story.

mod node;
mod world;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use self::{
    node::{Line, Node},
    world::failed,
};
use super::*;
use crate::core::{
    admission::{self, Admission},
    budget::Share,
    close::{Cause, CloseFrame},
    event::{Certificates, DialFailure, Event, RetryAfter, Steps, Timings},
    message::{Extras, MessageId},
    outbox::{Delivery, Ended},
    receipt::{self, Fate},
};

const LINKS: usize = 4;
const STEPS: usize = 300;
const WORLDS: u64 = 1500;

struct World {
    chance: Chance,
    now: Instant,
    nodes: Vec<Node>,
    admission: Admission,
    tickets: u64,
    next: u64,
    /// Nothing breaks and nobody refuses.
    calm: bool,
    /// Nor is anything late.
    benign: bool,
    delivery: Delivery,
    durable: bool,
}

fn address() -> std::net::SocketAddr {
    std::net::SocketAddr::from(([127, 0, 0, 1], 9))
}

impl World {
    fn new(seed: u64) -> Self {
        Self::with(seed, Policy::default())
    }

    /// A world in which nothing breaks, though much is late.
    fn calm(seed: u64) -> Self {
        // However late, a proof comes in time.
        let patient = Duration::from_hours(1);
        let heartbeat = heartbeat::Policy { idle: patient, timeout: patient, ..heartbeat::Policy::default() };
        let mut world = Self::with(seed, Policy { close_timeout: patient, heartbeat, ..Policy::default() });
        world.calm = true;
        world
    }

    fn with(seed: u64, policy: Policy) -> Self {
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
            rotates: !seed.is_multiple_of(7),
            overlap: Duration::from_secs(seed % 3),
            ..policy
        };
        let policy = Arc::new(policy);
        let node = |index: usize| Node::new(Link::new(Arc::clone(&policy), seed.wrapping_mul(31) + index as u64, now));
        let admission = Admission::new(admission::Policy::default(), now);
        let nodes = (0..LINKS).map(node).collect();
        let chance = Chance::new(seed);
        let mut world =
            Self { chance, now, nodes, admission, tickets: 0, next: 0, calm: false, benign: false, delivery, durable };
        for index in 0..LINKS {
            world.feed(index, Input::Start);
        }
        world
    }

    fn one_in(&mut self, many: u64) -> bool {
        self.chance.bits().is_multiple_of(many)
    }

    fn feed_line(&mut self, index: usize, lane: Lane, input: Input) {
        match lane {
            Lane::Current => self.feed(index, input),
            Lane::Beside => self.feed(index, Input::Beside(Box::new(input))),
        }
    }

    fn feed(&mut self, index: usize, input: Input) {
        let commands = self.nodes[index].link.handle(self.now, input);
        self.obey(index, commands);
    }

    fn obey(&mut self, index: usize, commands: Commands) {
        for command in commands {
            match command {
                Command::Dial { lane, .. } => {
                    let ticket = self.tickets;
                    let transport = self.nodes[index].line(lane);
                    assert!(
                        !transport.dialing && !transport.open,
                        "one dial and one connection at a time in each lane"
                    );
                    (transport.dialing, transport.asked) = (true, Some(ticket));
                    self.admission.ask(ticket, vec![address()], false);
                    self.tickets += 1;
                    self.feed_line(index, lane, Input::Queued);
                }
                Command::GiveUp(lane) => {
                    self.end_dial(index, lane);
                    self.feed_line(index, lane, failed(Cause::Connect, None, None));
                }
                Command::Hangup(lane) => {
                    self.end_dial(index, lane);
                    self.lose(index, lane);
                }
                Command::Switch => self.nodes[index].lines.swap(0, 1),
                Command::Tell(Event::Receipts { reached, .. }) => {
                    for Ended { id, state, .. } in reached {
                        self.settle(index, id, state);
                    }
                }
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
        let was_read = self.nodes[index].read.contains(&number);
        assert!(state != receipt::State::Confirmed || was_read, "{number} is confirmed, and was never read");
    }

    fn grant(&mut self) {
        while let Some((ticket, _)) = self.admission.poll_grant(self.now) {
            let asks = |lane: Lane| self.nodes.iter().position(|node| node.lines[lane as usize].asked == Some(ticket));
            let found = [Lane::Current, Lane::Beside].into_iter().find_map(|lane| Some((asks(lane)?, lane)));
            let (index, lane) = found.expect("who asked");
            let transport = self.nodes[index].line(lane);
            (transport.asked, transport.place) = (None, true);
            self.feed_line(index, lane, Input::Admitted);
        }
    }

    fn send(&mut self, index: usize) {
        let number = self.next;
        self.next += 1;
        let text = format!("{:.>1$}", number, (self.chance.bits() % 40) as usize);
        let message = Message {
            id: MessageId(number.into()),
            payload: text.as_str().into(),
            extras: Extras { wants_confirmation: self.one_in(2), ..Extras::default() }.boxed(),
            expires_at: self.one_in(4).then(|| self.now + Duration::from_secs(3)),
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
        assert!(self.nodes.iter().flat_map(|node| &node.lines).filter(|line| line.place).count() <= 1, "admission");
        for node in &self.nodes {
            let held = node.held.values().filter(|(_, state)| *state == receipt::State::Queued);
            let sum: usize = held.map(|(len, _)| len).sum();
            assert!(node.link.buffered_amount() <= 100 && node.link.queued_messages() <= 5, "limits");
            if self.delivery == Delivery::AtMostOnce {
                assert_eq!(node.link.buffered_amount(), sum as u64, "bufferedAmount is the sum of what is held");
            }
            node.check_order(self.delivery);
            let is_written = |(_, state): &(usize, receipt::State)| *state == receipt::State::Written;
            let has_none = node.lines.iter().all(|line| !line.open);
            assert!(
                !(has_none && self.delivery == Delivery::AtMostOnce && node.held.values().any(is_written)),
                "written, and no connection that could prove it"
            );
            let resting = matches!(node.link.phase(), Phase::Paused);
            let waits = node.lines.iter().any(|line| line.asked.is_some() || line.open);
            assert!(resting || waits || node.link.poll_timeout().is_some(), "wedged: {:?}", node.link.phase());
        }
    }

    fn step(&mut self) {
        self.pass();
        self.grant();
        for index in 0..LINKS {
            for lane in [Lane::Current, Lane::Beside] {
                self.answer_dial(index, lane);
                if self.nodes[index].line(lane).open {
                    self.touch(index, lane);
                }
            }
            self.turn_disk(index);
            if !self.calm && self.one_in(40) {
                let verbs = [Verb::Close(None), Verb::Reconnect, Verb::Pause, Verb::Resume, Verb::Resume];
                let verb = verbs[(self.chance.bits() % 5) as usize].clone();
                self.feed(index, Input::Verb(verb));
            }
            if !self.benign && self.one_in(12) {
                let wish = if self.one_in(2) { Input::Renew } else { Input::Verb(Verb::Rotate) };
                self.feed(index, wish);
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
        (self.calm, self.benign) = (true, true);
        for index in 0..LINKS {
            self.feed(index, Input::Verb(Verb::Resume));
        }
        let end = self.now + Duration::from_mins(12);
        while self.now < end {
            self.step();
        }
        assert!(self.nodes.iter().all(|node| node.link.phase() == Phase::Ready), "not ready in a benign world");
        assert!(self.nodes.iter().all(|node| node.link.rotating().is_none()), "a rotation without an end");
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
            assert!(node.lines.iter().all(|line| !line.dialing && !line.open), "not stopped");
        }
    }
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

#[test]
fn a_link_that_rotates_all_the_time_loses_nothing_where_nothing_else_happens() {
    for seed in (0..WORLDS).filter(|seed| !seed.is_multiple_of(7) && !seed.is_multiple_of(3)).step_by(12) {
        let mut world = World::calm(seed);
        for step in 0..STEPS {
            world.step();
            if step % 5 == 0 {
                (0..LINKS).for_each(|index| world.feed(index, Input::Renew));
            }
        }
        for node in &world.nodes {
            assert!(
                node.link.generation() > 10 && node.link.phase() == Phase::Ready,
                "seed {seed}: {}",
                node.link.generation()
            );
            let lost = [receipt::State::Unknown, receipt::State::Dropped];
            assert!(!node.held.values().any(|(_, state)| lost.contains(state)), "seed {seed}: {:?}", node.held);
            assert!(node.read.is_sorted_by(|one, next| one < next), "seed {seed}: {:?}", node.read);
        }
    }
}
