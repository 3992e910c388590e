//! The servers of a world, and admission before them: what the dialer does between `Command::Dial` and a connection is done here.
//!
//! A server keeps to its mood for a while, for it is the steady ones that make a link run in circles.

use std::net::SocketAddr;

use super::*;
use crate::admission::{Admission, Back, Dismissal, Elsewhere, Grant, Request, Verdict};

/// An attempt that finds the name elsewhere asks again so many times.
const MOVES: usize = 3;
/// No news lets anybody ask more often than this before time passes.
const ROUNDS: usize = 10_000;
/// What servers ask for: nothing, what is of no use, what is of use, and what no clock can hold.
const ASKED: [Option<Duration>; 8] = [
    None,
    Some(Duration::ZERO),
    Some(Duration::from_nanos(1)),
    Some(Duration::from_secs(7)),
    Some(Duration::from_hours(9)),
    Some(Duration::from_secs(u32::MAX as u64)),
    Some(Duration::from_secs(u64::MAX)),
    Some(Duration::MAX),
];

/// It asks everybody to come much later.
pub(super) const BUSY: Mood =
    Mood::Refuses(Refusal { cause: Cause::Upgrade, status: Some(503), asked: Some(Duration::from_secs(u64::MAX)) });

/// What a server does with those who come.
#[derive(Debug, Clone, Copy)]
pub(super) enum Mood {
    /// Now this, now that.
    Fickle,
    /// Keeps them.
    Well,
    /// Cannot be reached.
    Down,
    /// Takes connections, and says nothing.
    Silent,
    /// Answers the upgrade with something else than a valid 101.
    Refuses(Refusal),
    /// Opens, and at once closes with this code.
    Closes(u16),
    /// Opens, and at once resets.
    Resets,
    /// Opens, and at once breaks the protocol.
    Breaks,
}

/// How an attempt fails, and what it says of the address.
#[derive(Debug, Clone, Copy)]
pub(super) struct Refusal {
    pub(super) cause: Cause,
    pub(super) status: Option<u16>,
    pub(super) asked: Option<Duration>,
}

impl Refusal {
    /// As the link room judges it.
    fn verdict(self, most: Duration) -> Option<Verdict> {
        match (self.cause, self.status) {
            (Cause::Connect, _) => Some(Verdict::Unreachable),
            (Cause::Dns, _) => None,
            (_, Some(429 | 502 | 503 | 504)) => {
                Some(Verdict::Failing(self.asked.map(|asked| RetryAfter::capped(asked, most))))
            }
            (_, Some(_) | None) => Some(Verdict::Up),
        }
    }
}

/// What a URL leads to.
#[derive(Debug)]
pub(super) struct Server {
    pub(super) mood: Mood,
    /// The last number of its address.
    host: u8,
}

/// All servers, and admission.
pub(super) struct Hosts {
    pub(super) servers: Vec<Server>,
    pub(super) admission: Admission,
    tickets: u64,
}

impl Hosts {
    pub(super) fn new(urls: usize, mood: Mood, now: Instant) -> Self {
        let servers = (0_u8..).take(urls).map(|host| Server { mood, host: host * 80 }).collect();
        Self { servers, admission: Admission::new(admission::Policy::default(), now), tickets: 0 }
    }

    fn address(&self, url: usize) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, self.servers[url].host], 9))
    }

    /// Whether links that are held will be let go.
    pub(super) fn has_news_to_come(&self, now: Instant) -> bool {
        self.admission.connecting() > 0 || self.admission.poll_timeout(now).is_some()
    }

    /// The name leads elsewhere from now on.
    pub(super) fn move_away(&mut self, url: usize) {
        let server = &mut self.servers[url];
        server.host = server.host / 80 * 80 + (server.host + 1) % 80;
    }
}

/// Most links are of one endpoint, one is of another that has the same servers.
fn id(index: usize) -> LinkId {
    let endpoint = if index + 1 == LINKS { "other" } else { "most" };
    LinkId { endpoint: endpoint.into(), index: u32::try_from(index).expect("few") }
}

impl World {
    /// Asks to be let in at the URL of the attempt.
    pub(super) fn knock(&mut self, index: usize, lane: Lane) {
        let (urls, ticket) = (self.policy.urls, self.hosts.tickets);
        self.hosts.tickets += 1;
        let Line { url, round, passed, urgent, .. } = *self.nodes[index].line(lane);
        let elsewhere = match urls {
            1 => Elsewhere::Nowhere,
            _ if passed + 1 < urls || round.is_none() => Elsewhere::Untried,
            _ => Elsewhere::Tried,
        };
        self.nodes[index].line(lane).asked = Some(ticket);
        let addresses = vec![self.hosts.address(url)];
        self.hosts.admission.ask(self.now, ticket, Request { link: id(index), addresses, urgent, elsewhere });
    }

    /// Lets in the links that admission lets in, and tells the others what to do instead.
    pub(super) fn let_in_all(&mut self) {
        for _ in 0..ROUNDS {
            if let Some((ticket, dismissal)) = self.hosts.admission.poll_dismissal() {
                self.follow(ticket, dismissal);
            } else if let Some((ticket, address)) = self.hosts.admission.poll_grant(self.now) {
                self.let_in(ticket, address);
            } else {
                let back = self.hosts.admission.take_back();
                if back.is_empty() {
                    return;
                }
                for back in back {
                    let (Back::PutOff(link) | Back::Sent(link)) = &back;
                    self.feed(link.index as usize, Input::ServerBack { was_sent: matches!(back, Back::Sent(_)) });
                }
            }
        }
        panic!("who is let go comes back without an end");
    }

    fn follow(&mut self, ticket: u64, dismissal: Dismissal) {
        let (index, lane) = self.who(ticket);
        let urls = self.policy.urls;
        let transport = self.nodes[index].line(lane);
        transport.asked = None;
        match dismissal {
            Dismissal::Again => transport.passed = 0,
            Dismissal::Elsewhere => {
                let Some(round) = transport.round else {
                    self.end_dial(index, lane, None);
                    let refusal = Refusal { cause: Cause::Connect, status: None, asked: None };
                    return self.feed_line(index, lane, self.failed(refusal));
                };
                transport.passed += 1;
                transport.url = round.after(transport.url, urls);
                let url = transport.url;
                self.feed_line(index, lane, ConnectionInput::PassedOver(url));
            }
        }
        self.knock(index, lane);
    }

    fn let_in(&mut self, ticket: u64, address: SocketAddr) {
        let (index, lane) = self.who(ticket);
        let transport = self.nodes[index].line(lane);
        transport.asked = None;
        transport.place = Some((ticket, address));
        if self.hosts.address(transport.url) != address && transport.moves < MOVES {
            transport.moves += 1;
            self.give_back(index, lane, Some(Verdict::Moved));
            self.knock(index, lane);
            return;
        }
        if lane == Lane::Current {
            self.nodes[index].toll.attempts += 1;
        }
        self.feed_line(index, lane, ConnectionInput::Admitted);
    }

    fn who(&self, ticket: u64) -> (usize, Lane) {
        let asks = |lane: Lane| self.nodes.iter().position(|node| node.lines[lane as usize].asked == Some(ticket));
        [Lane::Current, Lane::Beside].into_iter().find_map(|lane| Some((asks(lane)?, lane))).expect("who asked")
    }

    fn give_back(&mut self, index: usize, lane: Lane, verdict: Option<Verdict>) {
        if let Some((ticket, address)) = self.nodes[index].line(lane).place.take() {
            let link = id(index);
            self.hosts.admission.release(self.now, Grant { ticket, link: &link, address, extra: false }, verdict);
        }
    }

    pub(super) fn end_dial(&mut self, index: usize, lane: Lane, verdict: Option<Verdict>) {
        let transport = self.nodes[index].line(lane);
        transport.dialing = false;
        if let Some(ticket) = transport.asked.take() {
            self.hosts.admission.withdraw(ticket);
        }
        self.give_back(index, lane, verdict);
    }

    /// The attempt has had no answer in time.
    pub(super) fn give_up(&mut self, index: usize, lane: Lane) {
        let refusal = Refusal { cause: Cause::Upgrade, status: None, asked: None };
        self.end_dial(index, lane, Some(Verdict::Failing(None)));
        self.feed_line(index, lane, self.failed(refusal));
    }

    /// What the server does to a link that dials.
    pub(super) fn answer_dial(&mut self, index: usize, lane: Lane) {
        let Line { url, place: Some((_, address)), .. } = *self.nodes[index].line(lane) else { return };
        if !(self.benign || self.hostile || self.one_in(2)) {
            return;
        }
        let is_there = self.hosts.address(url) == address;
        let usual = self.hosts.servers[url].mood;
        let mood = match usual {
            _ if !is_there => Mood::Down,
            Mood::Fickle if self.one_in(2) => Mood::Well,
            Mood::Fickle => self.any_mood(),
            mood => mood,
        };
        let refusal = match mood {
            Mood::Fickle | Mood::Well | Mood::Closes(_) | Mood::Resets | Mood::Breaks => {
                return self.open(index, lane, mood);
            }
            Mood::Silent => return,
            Mood::Down => Refusal { cause: Cause::Connect, status: None, asked: None },
            Mood::Refuses(refusal) => refusal,
        };
        self.end_dial(index, lane, refusal.verdict(self.policy.retry_after_max));
        self.feed_line(index, lane, self.failed(refusal));
    }

    fn open(&mut self, index: usize, lane: Lane, mood: Mood) {
        let established = Established {
            url: "ws://peer/".into(),
            address: None,
            protocol: "".into(),
            compression: None,
            carrier: None,
            certificates: Certificates::default(),
            timings: Steps::default(),
        };
        self.end_dial(index, lane, Some(Verdict::Up));
        let transport = self.nodes[index].line(lane);
        (transport.open, transport.mood) = (true, Some(mood));
        self.feed_line(index, lane, ConnectionInput::Dialled(Box::new(established)));
    }

    fn failed(&self, Refusal { cause, status, asked }: Refusal) -> ConnectionInput {
        ConnectionInput::DialFailed(Box::new(DialFailure {
            cause,
            status,
            retry_after: asked.map(|asked| RetryAfter::capped(asked, self.policy.retry_after_max)),
            label: None,
            detail: "".into(),
            timings: Timings::default(),
            steps: None,
            rejection: None,
        }))
    }

    /// A mood that is not good.
    pub(super) fn any_mood(&mut self) -> Mood {
        let bits = self.chance.bits();
        let pick = |from: &[u16]| from[(bits >> 16) as usize % from.len()];
        let asked = ASKED[(bits >> 32) as usize % ASKED.len()];
        let refuses = |cause, status, asked| Mood::Refuses(Refusal { cause, status, asked });
        match bits % 12 {
            0 => Mood::Down,
            1 => Mood::Silent,
            2 => Mood::Resets,
            3 => Mood::Breaks,
            // Of any kind, those that no registry knows too.
            4 => refuses(Cause::Upgrade, Some(100 + u16::try_from((bits >> 16) % 900).expect("small")), asked),
            5 => refuses(Cause::Upgrade, Some(pick(&[401, 403, 404, 410, 500, 501])), asked),
            6 | 7 => refuses(Cause::Upgrade, Some(pick(&[429, 502, 503, 504])), asked),
            // A 101 that is wrong, or with what was not asked for.
            8 => refuses(if bits & 1 << 16 == 0 { Cause::Upgrade } else { Cause::Subprotocol }, None, None),
            9 => refuses(if bits & 1 << 16 == 0 { Cause::Dns } else { Cause::Tls }, None, None),
            10 => Mood::Closes(u16::try_from((bits >> 16) % 65_536).expect("small")),
            _ => Mood::Closes(pick(&[1000, 1001, 1008, 1011, 1012, 1013, 4001, 4002, 4401])),
        }
    }
}
