//! Links of one server that was away, with admission before them: when it is back, the last comes in right behind the first.
//!
//! Time passes by deadlines only and nothing but the round trip of an attempt takes any, so what is seen here is what waits do.

use std::{collections::BTreeMap, net::SocketAddr};

use super::*;
use crate::{
    admission::{self, Admission, Back, Elsewhere, Grant, Request, Verdict},
    event::LinkId,
};

const LINKS: usize = 100;
const PER_HOST: usize = 64;
/// An attempt takes so long, whatever comes of it.
const ROUND_TRIP: Duration = Duration::from_micros(500);

struct Server {
    links: Vec<Link>,
    admission: Admission,
    now: Instant,
    is_up: bool,
    next_ticket: u64,
    waiting: BTreeMap<u64, usize>,
    /// When attempts end, by ticket.
    under_way: BTreeMap<u64, (Instant, usize)>,
    opened: Vec<Option<Instant>>,
}

fn id(index: usize) -> LinkId {
    LinkId { endpoint: "feed".into(), index: u32::try_from(index).expect("few") }
}

fn address() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 9))
}

impl Server {
    /// All links are open.
    fn with_links(seed: u64) -> Self {
        let (now, policy) = (crate::epoch(), Arc::new(Policy::default()));
        let link = |index| Link::new(Arc::clone(&policy), seed * 1_000 + index, now);
        let limits = admission::Policy { per_host: PER_HOST, total: PER_HOST, rate: None };
        let mut server = Self {
            links: (0..LINKS as u64).map(link).collect(),
            admission: Admission::new(limits, now),
            now,
            is_up: true,
            next_ticket: 0,
            waiting: BTreeMap::new(),
            under_way: BTreeMap::new(),
            opened: vec![None; LINKS],
        };
        (0..LINKS).for_each(|index| server.feed(index, Input::Start));
        server.pass(Duration::from_secs(1));
        assert!(server.are_all_open());
        server
    }

    fn are_all_open(&self) -> bool {
        self.opened.iter().all(Option::is_some)
    }

    fn feed(&mut self, index: usize, input: impl Into<Input>) {
        let commands = self.links[index].handle(self.now, input.into());
        self.obey(index, commands);
    }

    fn obey(&mut self, index: usize, commands: Commands) {
        for command in commands {
            if let Command::Dial { to, .. } = command {
                self.ask(index, to.urgent);
                self.feed(index, ConnectionInput::Queued);
            }
        }
        while self.links[index].poll_transmit(self.now, Lane::Current).is_some() {}
    }

    fn ask(&mut self, index: usize, urgent: bool) {
        let (addresses, elsewhere) = (vec![address()], Elsewhere::Nowhere);
        self.waiting.insert(self.next_ticket, index);
        self.admission.ask(self.now, self.next_ticket, Request { link: id(index), addresses, urgent, elsewhere });
        self.next_ticket += 1;
    }

    fn let_in(&mut self) {
        loop {
            if let Some((ticket, _)) = self.admission.poll_dismissal() {
                let index = self.waiting.remove(&ticket).expect("it waits");
                self.ask(index, false);
            } else if let Some((ticket, _)) = self.admission.poll_grant(self.now) {
                let index = self.waiting.remove(&ticket).expect("it waits");
                self.under_way.insert(ticket, (self.now + ROUND_TRIP, index));
                self.feed(index, ConnectionInput::Admitted);
            } else {
                let back = self.admission.take_back();
                if back.is_empty() {
                    return;
                }
                for back in back {
                    let (Back::PutOff(link) | Back::Sent(link)) = &back;
                    let was_sent = matches!(back, Back::Sent(_));
                    self.feed(link.index as usize, Input::ServerBack { was_sent });
                }
            }
        }
    }

    fn end(&mut self, ticket: u64, index: usize) {
        let verdict = if self.is_up { Verdict::Up } else { Verdict::Unreachable };
        let grant = Grant { ticket, link: &id(index), address: address(), extra: false };
        self.admission.release(self.now, grant, Some(verdict));
        if self.is_up {
            self.opened[index] = Some(self.now);
            self.feed(index, dialled());
        } else {
            self.feed(index, refused(None, None));
        }
    }

    /// Lets so much time pass.
    fn pass(&mut self, time: Duration) {
        let until = self.now + time;
        loop {
            self.let_in();
            let timers = self.links.iter().filter_map(|link| link.poll_timeout().map(|(at, _)| at));
            let ends = self.under_way.values().map(|(at, _)| *at);
            let next = timers.chain(ends).chain(self.admission.poll_timeout(self.now)).min();
            let Some(next) = next.filter(|next| *next <= until) else { break };
            self.now = self.now.max(next);
            while let Some((ticket, (at, index))) =
                self.under_way.first_key_value().map(|(ticket, end)| (*ticket, *end))
                && at <= self.now
            {
                self.under_way.remove(&ticket);
                self.end(ticket, index);
            }
            for index in 0..LINKS {
                let commands = self.links[index].handle_timeout(self.now);
                self.obey(index, commands);
            }
        }
        self.now = until;
    }
}

#[test]
fn all_links_are_back_within_a_fiftieth_of_the_outage_and_their_round_trips() {
    for (seed, away) in (0..10).flat_map(|seed| [6, 20, 60].map(|secs| (seed, Duration::from_secs(secs)))) {
        let mut server = Server::with_links(seed);
        (server.is_up, server.opened) = (false, vec![None; LINKS]);
        (0..LINKS).for_each(|index| server.feed(index, ConnectionInput::Ended { begun: 0, detail: "".into() }));
        // By then the first delay of each is over, which is drawn for it alone (RFC 6455 §7.2.3) and which nothing cuts short.
        assert!(away > Policy::default().backoff.first);
        server.pass(away);
        server.is_up = true;
        let turns = u32::try_from(LINKS.div_ceil(PER_HOST)).expect("few");
        server.pass(away / 50 + (turns + 2) * ROUND_TRIP);
        let late: Vec<_> = (0..LINKS).filter(|index| server.opened[*index].is_none()).collect();
        assert!(late.is_empty(), "seed {seed}, away for {away:?}: {late:?} still wait");
    }
}
