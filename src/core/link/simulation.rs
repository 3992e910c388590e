//! Whole pools in faulty worlds: links, admission and peers that refuse, drop, stall and answer, all from one seed.
//!
//! The promises of a link are checked at every step of every world. A failure names its seed, and one seed is one story.
//!
//! What a reader would get wrong: two kinds of worlds are needed. In a fickle one everything happens to a link, and time passes with all
//! of it; in a hostile one servers keep to what they do, at once, which is what makes a link run in circles.

mod asked;
mod budget;
mod end;
mod hosts;
mod node;
mod sleep;
mod toll;
mod world;

use std::{
    collections::BTreeSet,
    sync::Arc,
    time::{Duration, Instant},
};

use self::{
    hosts::{Hosts, Mood},
    node::{Line, Node},
};
use super::*;
use crate::{
    admission,
    budget::Share,
    close::{Cause, CloseFrame},
    event::{Certificates, DialFailure, Event, LinkId, RetryAfter, Steps, Timings},
    message::{Extras, MessageId, Payload},
    outbox::{Delivery, Ended},
    outcome::{Action, Match},
    receipt::{self, EndReason},
    run::Run,
};

const LINKS: usize = 4;
const STEPS: usize = 300;
const WORLDS: u64 = 1500;

#[allow(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
struct World {
    chance: Chance,
    now: Instant,
    nodes: Vec<Node>,
    policy: Arc<Policy>,
    hosts: Hosts,
    next: u64,
    /// Nothing breaks and nobody refuses.
    calm: bool,
    /// Nor is anything late.
    benign: bool,
    /// Servers keep to what they do, and do it at once; and nobody else interferes.
    hostile: bool,
    delivery: Delivery,
    durable: bool,
    /// What all links together may dial.
    allowed: Option<Arc<budget::Allowed>>,
}

/// Rows that people write, and that make links go round where nothing bounds them.
fn rows(kind: u64) -> Vec<Rule> {
    let closed = |code| Match { code: Some(code), ..Match::default() };
    let refused = Match { status: Some(500..=599), ..Match::default() };
    let row = |when, then| Rule { when, then, after: 1, forget: [].into() };
    match kind {
        0 | 1 => Vec::new(),
        2 => vec![row(closed(1000..=4999), Action::NextUrl), row(refused, Action::NextUrl)],
        3 => vec![row(closed(4001..=4001), Action::Now), row(closed(1000..=4999), Action::Now)],
        _ => vec![row(closed(1006..=1012), Action::Now), row(refused, Action::Slow)],
    }
}

impl World {
    fn new(seed: u64) -> Self {
        Self::with(seed, Policy::default(), Mood::Fickle)
    }

    /// A world of servers that keep to what they do.
    fn hostile(seed: u64) -> Self {
        let mut world = Self::with(seed, Policy::default(), Mood::Well);
        world.hostile = true;
        (0..world.policy.urls).for_each(|url| world.change_mood(url));
        world
    }

    /// A world in which nothing breaks, though much is late.
    fn calm(seed: u64) -> Self {
        // However late, a proof comes in time.
        let patient = Duration::from_hours(1);
        let heartbeat = heartbeat::Policy { idle: patient, timeout: patient, ..heartbeat::Policy::default() };
        let patient = Policy { close_timeout: patient, heartbeat, ..Policy::default() };
        let mut world = Self::with(seed, patient, Mood::Well);
        world.calm = true;
        world
    }

    fn with(seed: u64, policy: Policy, mood: Mood) -> Self {
        let now = crate::epoch();
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
            urls: 1 + (seed / 2 % 3) as usize,
            url_order: if seed.is_multiple_of(11) { UrlOrder::Shuffle } else { UrlOrder::Listed },
            failback: !seed.is_multiple_of(5),
            retry_after_max: Duration::from_secs(2 + seed % 11 * 30),
            park_probe: Duration::from_mins(1 + seed % 10),
            outcomes: rows(seed % 5),
            requests: asked::policy(seed / 5),
            idle_timeout: policy.idle_timeout.or(seed.is_multiple_of(13).then(|| Duration::from_secs(1 + seed % 70))),
            ..policy
        };
        let policy = Arc::new(policy);
        let link = |index: usize| {
            let mut link = Link::new(Arc::clone(&policy), seed.wrapping_mul(31) + index as u64, now);
            link.stand_at(u32::try_from(index).expect("few"));
            link
        };
        let mut world = Self {
            chance: Chance::new(seed),
            now,
            nodes: (0..LINKS).map(|index| Node::new(link(index), now)).collect(),
            hosts: Hosts::new(policy.urls, mood, now),
            policy,
            next: 0,
            calm: false,
            benign: false,
            hostile: false,
            delivery,
            durable,
            allowed: budget::Allowed::of(seed, now),
        };
        for index in 0..LINKS {
            world.allow(index);
            world.feed(index, Input::Start);
            world.listen_at_random(index);
        }
        world
    }

    fn any_url(&mut self) -> usize {
        usize::try_from(self.chance.bits() % self.policy.urls as u64).expect("few")
    }

    fn one_in(&mut self, many: u64) -> bool {
        self.chance.bits().is_multiple_of(many)
    }

    /// Nothing breaks by chance.
    fn is_quiet(&self) -> bool {
        self.calm || self.hostile
    }

    fn feed_line(&mut self, index: usize, lane: Lane, input: ConnectionInput) {
        self.feed(index, Input::Connection(lane, input));
    }

    fn feed(&mut self, index: usize, input: Input) {
        let commands = self.nodes[index].link.handle(self.now, input);
        self.obey(index, commands);
    }

    fn obey(&mut self, index: usize, commands: Commands) {
        self.note_wishes(index);
        for command in commands {
            self.check_sleep(index, &command);
            match command {
                Command::Dial { lane, to: To { url, urgent, round, .. } } => {
                    self.note_dial();
                    let line = self.nodes[index].line(lane);
                    assert!(!line.dialing && !line.open, "one dial and one connection at a time in each lane");
                    *line = Line { dialing: true, url, round, urgent, ..Line::default() };
                    self.knock(index, lane);
                    self.feed_line(index, lane, ConnectionInput::Queued);
                }
                Command::GiveUp(lane) => self.give_up(index, lane),
                Command::Hangup(lane) => {
                    self.end_dial(index, lane, None);
                    self.lose(index, lane);
                }
                Command::Switch => self.nodes[index].lines.swap(0, 1),
                Command::Settle { reached, .. } => {
                    for Ended { id, count, state, .. } in reached {
                        (0..count).for_each(|place| self.settle(index, id.later(place), state));
                    }
                }
                Command::Tell(Event::Phase { delay: Some(delay), .. }) => {
                    assert!(delay <= Duration::from_mins(11), "delay {delay:?}");
                }
                Command::Tell(_)
                | Command::Deliver { .. }
                | Command::Done
                | Command::Bury(_)
                | Command::Subscribed(_) => {}
                Command::Reply(reply) => self.replied(index, &reply),
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

    /// Messages that come together, as many as there is room for.
    fn send_run(&mut self, index: usize) {
        let numbers: Vec<_> = (self.next..).take(2 + (self.chance.bits() % 3) as usize).collect();
        let texts: Vec<_> = numbers.iter().map(|number| format!("{number:.>9}")).collect();
        let body = Run::of(&texts.iter().map(|text| Payload::from(text.as_str())).collect::<Vec<_>>()).into();
        let mut message =
            Message { id: MessageId(self.next.into()), body, extras: None, expires_at: None, share: Share::default() };
        let link = &mut self.nodes[index].link;
        let accepted = link.room().take(&message.body);
        let message = if accepted < message.count() { message.split_to(accepted) } else { Some(message) };
        self.next += u64::from(accepted);
        let Some(message) = message else { return };
        let commands = link.take(self.now, Box::new(message));
        let queued = numbers.iter().zip(&texts).take(accepted as usize);
        self.nodes[index].held.extend(queued.map(|(number, text)| (*number, (text.len(), receipt::State::Queued))));
        self.obey(index, commands);
    }

    fn send(&mut self, index: usize) {
        if self.one_in(4) {
            return self.send_run(index);
        }
        if self.asks() && self.one_in(2) {
            return self.ask(index);
        }
        let number = self.next;
        self.next += 1;
        let text = format!("{:.>1$}", number, (self.chance.bits() % 40) as usize);
        let generation = self.nodes[index].link.generation() + self.chance.bits() % 2;
        let generation = self.one_in(5).then_some(generation);
        let message = Message {
            id: MessageId(number.into()),
            body: text.as_str().into(),
            extras: Extras { wants_confirmation: self.one_in(2), generation, ..Extras::default() }.boxed(),
            expires_at: self.one_in(4).then(|| self.now + Duration::from_secs(3)),
            share: Share::default(),
        };
        self.nodes[index].held.insert(number, (text.len(), receipt::State::Queued));
        self.nodes[index].bound.extend(generation.map(|generation| (number, generation)));
        let is_accepted =
            generation.is_none() && self.one_in(2) && self.nodes[index].link.room().take(&message.body) == 1;
        let link = &mut self.nodes[index].link;
        let (answer, commands) = if is_accepted {
            (Ok(()), link.take(self.now, Box::new(message)))
        } else {
            link.offer(self.now, Box::new(message))
        };
        if answer.is_err() {
            self.nodes[index].held.remove(&number);
        }
        self.obey(index, commands);
    }

    fn pass(&mut self) {
        let limit = self.now + Duration::from_millis(1 + self.chance.bits() % 4000);
        let deadlines = self.nodes.iter().filter_map(|node| node.link.poll_timeout()).map(|(at, _)| at);
        self.now = deadlines
            .chain(self.hosts.admission.poll_timeout(self.now))
            .min()
            .map_or(limit, |at| at.min(limit))
            .max(self.now);
        for index in 0..LINKS {
            let commands = self.nodes[index].link.handle_timeout(self.now);
            let next = self.nodes[index].link.poll_timeout();
            assert!(next.is_none_or(|(at, _)| at > self.now), "a deadline stayed due: {next:?}");
            self.obey(index, commands);
            if self.nodes[index].link.attempt() == 0 {
                self.nodes[index].toll.start_over(self.now);
            }
        }
    }

    fn check(&self) {
        let places = self.nodes.iter().flat_map(|node| &node.lines).filter_map(|line| line.place);
        let mut addresses = BTreeSet::new();
        assert!(places.into_iter().all(|(_, address)| addresses.insert(address)), "admission");
        assert!(self.hosts.admission.waiting() == 0 || self.hosts.has_news_to_come(self.now), "held for ever");
        for node in &self.nodes {
            self.check_awake(node);
            node.toll.check(&self.policy, self.now);
            let held = node.held.values().filter(|(_, state)| *state == receipt::State::Queued);
            let sum: usize = held.map(|(len, _)| len).sum();
            assert!(node.link.buffered_amount() <= 100 && node.link.queued_messages() <= 5, "limits");
            if self.delivery == Delivery::AtMostOnce && !self.policy.requests.retry {
                assert_eq!(node.link.buffered_amount(), sum as u64, "bufferedAmount is the sum of what is held");
            }
            node.check_order(self.delivery);
            // A request that is to be asked again stays so.
            let is_again = |number: &u64| self.policy.requests.retry && node.asked.contains_key(number);
            let is_written =
                |(number, (_, state)): (&u64, &(usize, _))| *state == receipt::State::Written && !is_again(number);
            let has_none = node.lines.iter().all(|line| !line.open);
            assert!(
                !(has_none && self.delivery == Delivery::AtMostOnce && node.held.iter().any(is_written)),
                "written, and no connection that could prove it"
            );
            let resting = matches!(node.link.phase(), Phase::Paused);
            let waits = node.lines.iter().any(|line| line.asked.is_some() || line.open);
            assert!(resting || waits || node.link.poll_timeout().is_some(), "wedged: {:?}", node.link.phase());
        }
    }

    fn step(&mut self) {
        self.pass();
        self.let_in_all();
        if !self.calm && self.one_in(40) {
            let url = self.any_url();
            if self.hostile {
                self.change_mood(url);
            }
            if self.one_in(4) {
                self.hosts.move_away(url);
            }
        }
        for index in 0..LINKS {
            for lane in [Lane::Current, Lane::Beside] {
                self.answer_dial(index, lane);
                if self.nodes[index].line(lane).open {
                    self.touch(index, lane);
                }
            }
            self.turn_disk(index);
            if !self.is_quiet() && self.one_in(40) {
                let verbs = [Verb::Close(None), Verb::Reconnect, Verb::Pause, Verb::Resume, Verb::Resume];
                let verb = verbs[(self.chance.bits() % 5) as usize].clone();
                self.nodes[index].sleep.is_ordered = true;
                self.order(index, Input::Verb(verb));
                self.nodes[index].sleep.is_ordered = false;
            }
            if !self.benign && !self.hostile && self.one_in(12) {
                let wish = match self.chance.bits() % 3 {
                    0 => Input::Renew,
                    1 => Input::Verb(Verb::Rotate),
                    _ => Input::Return,
                };
                self.order(index, wish);
            }
            self.listen_at_random(index);
            if self.is_busy(index) && self.one_in(3) {
                self.send(index);
            }
        }
        self.let_in_all();
        self.check();
    }

    /// An order that brings an attempt of its own.
    fn order(&mut self, index: usize, input: Input) {
        self.nodes[index].toll.ordered += 1;
        self.feed(index, input);
    }

    /// A server has something else in mind, for all that have come to it.
    fn change_mood(&mut self, url: usize) {
        let mood = if self.one_in(4) { Mood::Well } else { self.any_mood() };
        self.hosts.servers[url].mood = mood;
        for index in 0..LINKS {
            if self.nodes[index].link.url() == url {
                self.lose(index, Lane::Current);
            }
        }
    }
}

/// Tells the stories of all seeds, and names those that break a promise.
fn tell(world: fn(u64) -> World) {
    let broken = |seed: &u64| {
        let told = std::panic::catch_unwind(|| {
            let mut world = world(*seed);
            for _ in 0..STEPS {
                world.step();
            }
            world.recover();
            world.stop();
        });
        told.is_err()
    };
    let broken: Vec<u64> = (0..WORLDS).filter(broken).collect();
    assert!(broken.is_empty(), "seeds {broken:?}");
}

#[test]
fn every_promise_holds_in_every_world() {
    tell(World::new);
}

#[test]
fn every_promise_holds_whatever_servers_keep_doing() {
    tell(World::hostile);
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
    let is_fit = |seed: &u64| ![3, 7, 13].iter().any(|factor| seed.is_multiple_of(*factor));
    for seed in (0..WORLDS).filter(is_fit).step_by(12) {
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
            // A request is not waited for for ever.
            let is_other = |number: &u64| !node.bound.contains_key(number) && !node.asked.contains_key(number);
            let is_lost = |(number, (_, state)): (&u64, &(usize, _))| lost.contains(state) && is_other(number);
            assert!(!node.held.iter().any(is_lost), "seed {seed}: {:?}", node.held);
            let read: Vec<_> = node.read.iter().filter(|number| !node.asked.contains_key(*number)).collect();
            assert!(read.is_sorted_by(|one, next| one < next), "seed {seed}: {read:?}");
        }
    }
}
