//! Which HTTP/2 connection of an endpoint carries the next link's WebSocket (RFC 8441), and where HTTP/2 is known not to do.
//!
//! A carrier is one HTTP/2 connection; a link's WebSocket is one stream of it. What a reader would get wrong: a carrier that takes no
//! more links is not at its end. It goes on for those that it has, and is gone with the last of them.

use std::{
    collections::{BTreeMap, VecDeque},
    net::SocketAddr,
    time::{Duration, Instant},
};

use crate::clock::Clock;

pub use pulse::{Beat, Pulse};

mod pulse;

/// It is tried again after so long whether an address speaks HTTP/2 by now.
pub const FORGET: Duration = Duration::from_mins(10);
/// Addresses of which it is remembered that they do not; the oldest is forgotten first.
pub const REMEMBERED: usize = 64;

/// What decides whether a carrier takes one more link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    /// Links on one carrier at most.
    pub most: u32,
    /// One that has been there for so long takes no more.
    pub retire_after: Option<Duration>,
    /// HTTP/1.1 does where HTTP/2 does not.
    pub falls_back: bool,
}

/// Where the next link's WebSocket goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Assignment {
    /// On this carrier: the link is counted on it from now on, until it leaves.
    On(u64),
    /// This one is being made, and may have room: ask again when it is open, or has come to nothing.
    Wait(u64),
    /// On a new one, which is to be made. The link is counted on it.
    New(u64),
    /// By HTTP/1.1: the address is known not to do otherwise.
    Plain,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// It is being made.
    Opening,
    /// It takes links: so many at most by the peer's word.
    Open { at: SocketAddr, since: Instant, most: u32 },
    /// It takes none.
    Closing,
}

#[derive(Debug)]
struct Carrier<K> {
    key: K,
    state: State,
    links: u32,
}

/// The carriers of an endpoint. `K` is all that makes two connections equal, but for the address.
#[derive(Debug)]
pub struct Carriers<K> {
    newest: u64,
    all: BTreeMap<u64, Carrier<K>>,
    /// Addresses that do not speak HTTP/2, or not for WebSockets, and until when that is remembered, which is in order.
    plain: VecDeque<(SocketAddr, Instant)>,
}

impl<K> Default for Carriers<K> {
    fn default() -> Self {
        Self { newest: 0, all: BTreeMap::new(), plain: VecDeque::new() }
    }
}

impl<K: PartialEq + Clone> Carriers<K> {
    /// Where a link goes that may be carried to one of these addresses: where it would be dialled, and those that are raced with it. What is
    /// known of one of them is taken for what all of them do, for it is one name's.
    pub fn place(&mut self, now: Instant, key: &K, addresses: &[SocketAddr], policy: Policy) -> Assignment {
        if policy.falls_back && addresses.iter().any(|address| self.is_plain(now, *address)) {
            return Assignment::Plain;
        }
        let has_room = |carrier: &Carrier<K>| match carrier.state {
            State::Open { at, since, most } => {
                let is_old = policy.retire_after.is_some_and(|age| now.saturating_duration_since(since) >= age);
                carrier.key == *key && addresses.contains(&at) && !is_old && carrier.links < most.min(policy.most)
            }
            State::Opening | State::Closing => false,
        };
        // The fullest, so that the others may come to their end.
        let open = self.all.iter_mut().filter(|(_, carrier)| has_room(carrier));
        if let Some((id, carrier)) = open.max_by_key(|(id, carrier)| (carrier.links, std::cmp::Reverse(**id))) {
            carrier.links += 1;
            return Assignment::On(*id);
        }
        let is_coming = |carrier: &Carrier<K>| carrier.state == State::Opening && carrier.key == *key;
        if let Some((id, _)) = self.all.iter().find(|(_, carrier)| is_coming(carrier)) {
            return Assignment::Wait(*id);
        }
        self.newest += 1;
        self.all.insert(self.newest, Carrier { key: key.clone(), state: State::Opening, links: 1 });
        Assignment::New(self.newest)
    }

    /// A carrier is there.
    pub fn open(&mut self, now: Instant, id: u64, at: SocketAddr, most: u32) {
        if let Some(carrier) = self.all.get_mut(&id).filter(|carrier| carrier.state == State::Opening) {
            carrier.state = State::Open { at, since: now, most };
        }
    }

    /// The peer allows so many streams on it from now on.
    pub fn allow(&mut self, id: u64, allowed: u32) {
        if let Some(Carrier { state: State::Open { most, .. }, .. }) = self.all.get_mut(&id) {
            *most = allowed;
        }
    }

    /// It takes no more links: the peer has said so, or it has ended.
    pub fn close(&mut self, id: u64) {
        if let Some(carrier) = self.all.get_mut(&id) {
            carrier.state = State::Closing;
        }
    }

    /// A link that was counted on it is not on it any more. Answers with whether that was the last one: then it is gone.
    pub fn leave(&mut self, id: u64) -> bool {
        let Some(carrier) = self.all.get_mut(&id) else { return false };
        carrier.links = carrier.links.saturating_sub(1);
        carrier.links == 0 && self.all.remove(&id).is_some()
    }

    /// HTTP/2 does not do for WebSockets there.
    pub fn note_plain(&mut self, now: Instant, address: SocketAddr) {
        self.plain.retain(|(known, until)| *known != address && *until > now);
        if self.plain.len() >= REMEMBERED {
            self.plain.pop_front();
        }
        self.plain.push_back((address, now.later(FORGET)));
    }

    /// Whether it is remembered of an address that HTTP/2 does not do there.
    pub fn is_plain(&self, now: Instant, address: SocketAddr) -> bool {
        self.plain.iter().any(|(known, until)| *known == address && *until > now)
    }

    /// How many links a carrier has; none where there is no such carrier.
    pub fn links(&self, id: u64) -> u32 {
        self.all.get(&id).map_or(0, |carrier| carrier.links)
    }

    /// How many carriers there are, those that are being made aside.
    pub fn count(&self) -> usize {
        self.all.values().filter(|carrier| carrier.state != State::Opening).count()
    }
}

#[cfg(test)]
mod tests;
