//! A link of the simulation, and the two lines that the world gives it.
//!
//! What leaves a link is not yet read by its peer: it lies on the wire until the peer turns to it. So two connections race here
//! as they do outside, and a message that overtakes another on a newer connection is seen.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    net::SocketAddr,
};

use bytes::Bytes;

use super::{hosts::Mood, sleep::Sleep, toll::Toll, *};

/// An attempt or a connection.
#[derive(Debug, Default)]
#[allow(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
pub(super) struct Line {
    pub(super) dialing: bool,
    /// At which URL.
    pub(super) url: usize,
    /// Where it goes on to.
    pub(super) round: Option<Round>,
    pub(super) urgent: bool,
    /// URLs in a row whose servers were known to be down.
    pub(super) passed: usize,
    /// Times that the name led elsewhere.
    pub(super) moves: usize,
    /// The ticket that waits for admission.
    pub(super) asked: Option<u64>,
    /// The ticket that was let in, and where.
    pub(super) place: Option<(u64, SocketAddr)>,
    pub(super) open: bool,
    /// Of the server that opened it.
    pub(super) mood: Option<Mood>,
    /// Wire bytes pulled since the last flush.
    pub(super) pulled: u64,
    /// Data frames pulled since then, by the number that is their text, and where on the wire each begins.
    pub(super) unflushed: Vec<(u64, u64)>,
    /// Data frames that the peer has not read, and where on the wire each ends.
    pub(super) wire: VecDeque<(u64, u64)>,
    /// Wire bytes since the last flush that the peer has read.
    pub(super) taken: u64,
    pub(super) pings: Vec<Bytes>,
    /// A Close frame has left.
    pub(super) said_close: bool,
    /// The ids that requests got as they left, and the numbers of those.
    pub(super) ids: Vec<(String, u64)>,
    /// Requests that the peer has read and may answer.
    pub(super) heard: Vec<u64>,
}

/// A link and the transports that the world gives it.
pub(super) struct Node {
    pub(super) link: Link,
    pub(super) lines: [Line; 2],
    /// Data frames of which something left, in order.
    pub(super) left: Vec<u64>,
    /// Messages as the peer has read them, over all connections.
    pub(super) read: Vec<u64>,
    pub(super) held: BTreeMap<u64, (usize, receipt::State)>,
    /// Answers that the disk has not given yet.
    pub(super) disk: VecDeque<Input>,
    /// Messages that the disk has said it has.
    pub(super) stored: BTreeSet<u64>,
    pub(super) marked: BTreeSet<u64>,
    /// The connections that messages are bound to.
    pub(super) bound: BTreeMap<u64, u64>,
    /// Requests, and the replies to them.
    pub(super) asked: BTreeMap<u64, Option<String>>,
    pub(super) toll: Toll,
    pub(super) sleep: Sleep,
}

impl Node {
    pub(super) fn new(link: Link, now: Instant) -> Self {
        Self {
            link,
            lines: Default::default(),
            left: Vec::new(),
            read: Vec::new(),
            held: BTreeMap::new(),
            disk: VecDeque::new(),
            stored: BTreeSet::new(),
            marked: BTreeSet::new(),
            bound: BTreeMap::new(),
            asked: BTreeMap::new(),
            toll: Toll::new(now),
            sleep: Sleep::new(now),
        }
    }

    pub(super) fn line(&mut self, lane: Lane) -> &mut Line {
        &mut self.lines[lane as usize]
    }

    /// A data frame was pulled.
    pub(super) fn pull(&mut self, number: u64, len: u64) {
        let transport = self.line(Lane::Current);
        transport.unflushed.push((number, transport.pulled));
        transport.pulled += len;
        transport.wire.push_back((number, transport.pulled));
    }

    /// All that was pulled has left.
    pub(super) fn flush(&mut self, lane: Lane) {
        let transport = &mut self.lines[lane as usize];
        self.left.extend(transport.unflushed.drain(..).map(|(number, _)| number));
        transport.wire.iter_mut().for_each(|(_, end)| *end = 0);
        (transport.pulled, transport.taken) = (0, 0);
    }

    /// So many of the data frames that were pulled have left whole.
    pub(super) fn leave(&mut self, lane: Lane, count: usize) {
        let transport = &mut self.lines[lane as usize];
        self.left.extend(transport.unflushed.drain(..count).map(|(number, _)| number));
        let end = transport.unflushed.first().map_or(transport.pulled, |(_, begin)| *begin);
        transport.taken = transport.taken.max(end);
    }

    /// The connection is gone after so many bytes: what had not begun to leave never will.
    pub(super) fn cut(&mut self, lane: Lane, escaped: u64) {
        let transport = &mut self.lines[lane as usize];
        transport.unflushed.retain(|(_, begin)| *begin < escaped);
        self.left.extend(transport.unflushed.drain(..).map(|(number, _)| number));
        // Of the last of them only a part may have left, which no peer reads.
        transport.wire.retain(|(_, end)| *end <= escaped);
    }

    /// The peer reads the next of what has been pulled, whether or not the link knows that it has left.
    pub(super) fn read(&mut self, lane: Lane, most: usize) {
        let transport = &mut self.lines[lane as usize];
        let count = transport.wire.len().min(most);
        for (number, end) in transport.wire.drain(..count) {
            transport.taken = transport.taken.max(end);
            self.read.push(number);
            transport.heard.extend(self.asked.contains_key(&number).then_some(number));
        }
    }

    /// Whether the order of what the peer has read is that of acceptance, and nothing was read twice that may not be.
    pub(super) fn check_order(&self, delivery: Delivery) {
        // A request may be asked again.
        let read: Vec<u64> = self.read.iter().copied().filter(|number| !self.asked.contains_key(number)).collect();
        match delivery {
            Delivery::AtMostOnce => {
                assert!(read.is_sorted_by(|one, next| one < next), "order, and nothing twice: {read:?}");
            }
            Delivery::AtLeastOnce => {
                let mut seen = BTreeSet::new();
                let firsts = read.iter().filter(|number| seen.insert(**number));
                assert!(firsts.is_sorted(), "order: {read:?}");
            }
        }
    }
}
