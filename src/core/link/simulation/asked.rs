//! Requests in a world: links that ask, and peers that answer late, in any order, or not at all.
//!
//! What a reader would get wrong: callers use the same few ids, so whose a reply is can be told by the id that the link gave alone. A
//! message's number says who asked, and only the peer's record and the caller know it.

use super::*;
use crate::{
    message::Kind,
    requests::{Reply, Stamp},
};

/// Ids of callers.
const IDS: u64 = 3;

/// The requests of a world, in those that have them.
pub(super) fn policy(seed: u64) -> requests::Policy {
    if !seed.is_multiple_of(5) {
        return requests::Policy::default();
    }
    requests::Policy {
        id: Some("/id".into()),
        reply: Some("/id".into()),
        stamp: if seed.is_multiple_of(4) { Stamp::Uuid } else { Stamp::Seq },
        in_flight: [None, Some(1), Some(2)][(seed / 5 % 3) as usize],
        hide: seed.is_multiple_of(2),
        retry: seed.is_multiple_of(3),
        ..requests::Policy::default()
    }
}

/// What stands behind this name, up to the next comma or bracket.
fn value<'t>(text: &'t str, name: &str) -> &'t str {
    let rest = text.split_once(&format!("\"{name}\":")).map_or("", |(_, rest)| rest);
    rest.split([',', '}']).next().unwrap_or_default()
}

/// The number of a message, as its text says it.
pub(super) fn number(text: &str) -> u64 {
    let number = if text.starts_with('{') { value(text, "n") } else { text.trim_start_matches('.') };
    number.parse().expect("a number")
}

impl World {
    pub(super) fn asks(&self) -> bool {
        self.policy.requests.id.is_some()
    }

    /// A request, of a caller whose id is another's too.
    pub(super) fn ask(&mut self, index: usize) {
        let number = self.next;
        self.next += 1;
        let text = format!("{{\"n\":{number},\"id\":{}}}", number % IDS);
        let deadline = self.now + Duration::from_secs(1 + self.chance.bits() % 20);
        let asked = self.policy.requests.asked(&text.as_str().into(), deadline).expect("a request");
        let message = Message {
            id: MessageId(number.into()),
            body: text.as_str().into(),
            extras: Extras { request: Some(Box::new(asked)), ..Extras::default() }.boxed(),
            expires_at: Some(deadline),
            share: Share::default(),
        };
        let node = &mut self.nodes[index];
        node.held.insert(number, (text.len(), receipt::State::Queued));
        node.asked.insert(number, None);
        let (answer, commands) = node.link.offer(self.now, Box::new(message));
        if answer.is_err() {
            node.held.remove(&number);
            node.asked.remove(&number);
        }
        self.obey(index, commands);
    }

    /// A request leaves: with an id that no other of its connection has, and no more at once than may.
    pub(super) fn note_id(&mut self, index: usize, lane: Lane, text: &str) {
        let (id, number) = (value(text, "id").to_owned(), number(text));
        let most = self.policy.requests.in_flight.map_or(usize::MAX, |most| most as usize);
        let node = &mut self.nodes[index];
        let on = &mut node.lines[lane as usize];
        assert!(on.ids.iter().all(|(other, _)| *other != id), "{id} is given twice");
        let rises = |(last, _): &(String, u64)| last.parse::<u64>().ok() < id.parse::<u64>().ok();
        assert!(self.policy.requests.stamp != Stamp::Seq || on.ids.last().is_none_or(rises), "{id} does not rise");
        let is_open = |number: &u64| node.asked[number].is_none() && !node.held[number].1.is_end();
        let before = on.ids.iter().filter(|(_, number)| is_open(number)).count();
        assert!(before < most, "{before} requests wait already");
        on.ids.push((id, number));
    }

    /// The peer answers one of the requests that it has read, whichever, and some twice; or what was never asked.
    pub(super) fn reply(&mut self, index: usize, lane: Lane) {
        let (bits, is_twice) = (self.chance.bits(), self.one_in(8));
        let asked_on = self.nodes[index].line(lane);
        let heard = &mut asked_on.heard;
        let text = if heard.is_empty() {
            format!("{{\"id\":{},\"n\":0}}", bits >> 8)
        } else {
            let at = usize::try_from(bits % heard.len() as u64).expect("few");
            let number = if is_twice { heard[at] } else { heard.swap_remove(at) };
            let given = asked_on.ids.iter().rev().find(|(_, of)| *of == number);
            let (id, _) = given.expect("what was read has left");
            format!("{{\"id\":{id},\"n\":{number}}}")
        };
        let payload = Payload::from(text.as_str());
        self.feed_line(index, lane, ConnectionInput::Received(Received::Messages(Run::from(&payload))));
    }

    /// A caller has its reply: its own, with its own id, once, and while it waits for it.
    pub(super) fn replied(&mut self, index: usize, reply: &Reply) {
        let text = String::from_utf8(reply.payload.bytes().to_vec()).expect("text");
        let own = u64::try_from(reply.id.0).expect("small");
        assert_eq!(text, format!("{{\"id\":{},\"n\":{own}}}", own % IDS), "the reply to another, or another's id");
        assert_eq!(reply.payload.kind(), Kind::Text);
        let node = &mut self.nodes[index];
        assert!(!node.held[&own].1.is_end(), "{own} has ended before its reply");
        assert!(node.asked.insert(own, Some(text)).expect("a request").is_none(), "two replies to {own}");
    }
}

#[test]
fn requests_of_these_worlds_end_in_every_way() {
    let (mut replied, mut ends) = (0, BTreeSet::new());
    for seed in (0..400).filter(|seed| policy(seed / 5).id.is_some()) {
        let mut world = World::new(seed);
        (0..STEPS).for_each(|_| world.step());
        for node in &world.nodes {
            replied += node.asked.values().flatten().count();
            ends.extend(node.asked.keys().map(|number| node.held[number].1.as_str()));
        }
    }
    assert!(replied > 500, "{replied}");
    assert!(["confirmed", "unknown", "expired"].iter().all(|end| ends.contains(end)), "{ends:?}");
}
