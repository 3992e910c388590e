//! The hot paths: what the core does for each message, and for each heartbeat.
//!
//! A path is set up before its first walk and left in the state that it was found in, so that a thousand walks are a thousand
//! times the same. What a walk frees is in its count.

use std::{
    collections::VecDeque,
    hint::black_box,
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use bytes::{Bytes, BytesMut};
use wskeeper_core::{
    admission::{Admission, Elsewhere, Grant, Policy as Limits, Request, Verdict},
    budget::{Budget, Rank, Share},
    event::{Certificates, Established, LinkId, Steps},
    frame::{Head, mask},
    inbox::{self, Parts, Read, Ring},
    link::{ConnectionInput, Frame, Input, Lane, Link, Policy, Received},
    message::{Message, MessageId, Payload},
    outbox::{self, Outbox},
    receipt::{Ledger, Receipt, State},
    run::{Marks, Run},
    scan::{Behind, scan, unmask},
    session::{Do, Document, Filter, Json, MAX_JSON, Matcher, Plan, Pointer, Rule, Rules, Sorter, Start, Wanted},
    timers::Timer,
};

type Walk = fn(u32);

/// Each by its name.
pub(crate) const PATHS: [(&str, Walk); 20] = [
    ("64 messages are found", found),
    ("link takes a message in", message_in),
    ("link takes 64 messages in", messages_in),
    ("link sends a message", message_out),
    ("link sends 64 messages", messages_out),
    ("link sends a run of 64", run_out),
    ("link pings and hears a pong", heartbeat),
    ("link is lost and comes back", reconnect),
    ("one of 10,000 is let in", admission),
    ("inbox takes a message", inbox_message),
    ("inbox takes 64 messages", inbox_messages),
    ("a reader filters a message", filtering),
    ("a stream's reader takes one", streamed),
    ("1,000 streams sort a message", sorting),
    ("outbox queues and settles", outbox),
    ("ledger enters and settles", ledger),
    ("ledger settles a run of 64", ledger_run),
    ("64 of a client are found", found_masked),
    ("ten rules see a message", rules),
    ("serde_json reads it alone", json),
];

/// In what was read, which is little: it is copied.
fn found(times: u32) {
    let frames = run(64).frames();
    let mut marks = Marks::default();
    for _ in 0..times {
        let (end, behind) = scan(black_box(&frames), 1 << 20, &mut marks);
        assert_eq!(behind, Behind::Part(0));
        black_box(marks.take(Bytes::copy_from_slice(&frames[..end]), end));
    }
}

fn found_masked(times: u32) {
    let (mut frames, key) = (Vec::new(), [1, 2, 3, 4]);
    for payload in run(64).payloads() {
        frames.extend_from_slice(Head::new(0x81, payload.len(), Some(key)).bytes());
        let start = frames.len();
        frames.extend_from_slice(payload.bytes());
        mask(&mut frames[start..], key);
    }
    let mut marks = Marks::default();
    for _ in 0..times {
        let mut unmasked = BytesMut::with_capacity(frames.len());
        assert_eq!(unmask(black_box(&frames), 1 << 20, &mut unmasked, &mut marks), (frames.len(), Behind::Part(0)));
        black_box(marks.take_body(unmasked.freeze(), 0));
    }
}

fn message_in(times: u32) {
    receive(times, 1);
}

fn messages_in(times: u32) {
    receive(times, 64);
}

fn receive(times: u32, together: usize) {
    let (mut link, now) = open();
    let run = run(together);
    for _ in 0..times {
        black_box(link.handle(now, on(ConnectionInput::Heard)));
        black_box(link.handle(now, on(ConnectionInput::Received(Received::Messages(run.clone())))));
    }
}

fn message_out(times: u32) {
    send(times, 1);
}

fn messages_out(times: u32) {
    send(times, 64);
}

fn send(times: u32, together: u32) {
    let (mut link, now) = open();
    for walk in 0..times {
        // Accepted by the room that the link has shown, as nearly all are.
        assert!(link.room().messages >= together);
        for id in 0..together {
            black_box(link.take(now, message(walk * together + id)));
        }
        while let Some(frame) = link.poll_transmit(now, Lane::Current) {
            black_box(frame);
        }
        black_box(link.handle(now, on(ConnectionInput::Flushed)));
        black_box(link.poll_timeout());
    }
}

/// As it came from a local client: one thing in the queue, in transit and in the receipts.
fn run_out(times: u32) {
    let (mut link, now) = open();
    let run = run(64);
    for walk in 0..times {
        let id = MessageId((walk * 64).into());
        let body = run.clone().into();
        assert_eq!(link.room().take(&body), 64);
        let message = Message { id, body, extras: None, expires_at: None, share: Share::default() };
        black_box(link.take(now, Box::new(message)));
        while let Some(frame) = link.poll_transmit(now, Lane::Current) {
            black_box(frame);
        }
        black_box(link.handle(now, on(ConnectionInput::Flushed)));
        black_box(link.poll_timeout());
    }
}

fn heartbeat(times: u32) {
    let (mut link, _) = open();
    for _ in 0..times {
        let mut ping = None;
        while ping.is_none() {
            let (now, _) = link.poll_timeout().expect("an open link has a heartbeat");
            black_box(link.handle_timeout(now));
            ping = link.poll_transmit(now, Lane::Current).map(|frame| (now, frame));
        }
        let Some((now, Frame::Ping(nonce))) = ping else { panic!("an idle link sends pings only") };
        black_box(link.handle(now, on(ConnectionInput::Flushed)));
        black_box(link.handle(now, on(ConnectionInput::Heard)));
        black_box(link.handle(now, on(ConnectionInput::Received(Received::Pong(nonce)))));
    }
}

/// From its end to where all is as before, heartbeats and all.
fn reconnect(times: u32) {
    let (mut link, mut now) = open();
    for _ in 0..times {
        black_box(link.handle(now, on(ConnectionInput::Ended { begun: 0, detail: "".into() })));
        let mut dialled = false;
        loop {
            let (at, timer) = link.poll_timeout().expect("it dials, or has a heartbeat");
            now = at;
            black_box(link.handle_timeout(now));
            if timer == Timer::Stable {
                break;
            }
            if timer == Timer::Retry && !dialled {
                dialled = true;
                black_box(link.handle(now, on(ConnectionInput::Queued)));
                black_box(link.handle(now, on(ConnectionInput::Admitted)));
                black_box(link.handle(now, on(ConnectionInput::Dialled(Box::new(established())))));
            } else {
                black_box(link.poll_transmit(now, Lane::Current));
                black_box(link.handle(now, on(ConnectionInput::Flushed)));
                black_box(link.handle(now, on(ConnectionInput::Heard)));
            }
        }
    }
}

/// One has got in, and leaves its place to the next, of which there are thousands: so it is when a server is back.
fn admission(times: u32) {
    let (now, server) = (now(), SocketAddr::from(([127, 0, 0, 1], 80)));
    let endpoint: Arc<str> = "feed".into();
    let id = |index| LinkId { endpoint: Arc::clone(&endpoint), index };
    let request =
        |index| Request { link: id(index), addresses: vec![server], urgent: false, elsewhere: Elsewhere::Nowhere };
    let mut admission = Admission::new(Limits { per_host: 64, total: 64, rate: None }, now);
    (0..10_000).for_each(|index| admission.ask(now, index.into(), request(index)));
    let mut granted: VecDeque<_> = std::iter::from_fn(|| admission.poll_grant(now)).collect();
    for walk in 0..times {
        let (ticket, address) = granted.pop_front().expect("64 are under way");
        let link = id(walk);
        let grant = Grant { ticket, link: &link, address, extra: false };
        admission.release(now, grant, Some(Verdict::Up));
        granted.extend(admission.poll_grant(now));
        black_box((admission.take_back(), admission.poll_dismissal(), admission.poll_timeout(now)));
        admission.ask(now, u64::from(walk) + 10_000, request(walk));
    }
}

fn inbox_message(times: u32) {
    inbox(times, 1);
}

fn inbox_messages(times: u32) {
    inbox(times, 64);
}

/// What a ring keeps.
struct Kept(Run);

impl Parts for Kept {
    fn message_len(&self, place: usize) -> u64 {
        self.0.len_of(place)
    }

    fn shed(&mut self, _: usize) -> Option<u64> {
        None
    }
}

/// A message of one of a thousand symbols.
fn of_symbol(symbol: usize) -> Run {
    Run::from(&*TRADE.replace("BNBBTC", &format!("S{symbol}")))
}

fn symbol_filter(symbol: usize) -> Filter {
    Filter::new(Filter::condition(&format!("/s=S{symbol}")))
}

/// A ring with a message of each of a thousand symbols.
fn symbols() -> Ring<Kept> {
    let policy = inbox::Policy::default();
    let mut ring = Ring::new(policy, 16, 1, Budget::new(1 << 30).lease(Rank::History));
    for run in (0..1000).map(of_symbol) {
        let (bytes, cost) = (run.message_bytes(), run.held() as u64);
        ring.push_messages(Kept(run), 1, bytes, cost);
    }
    ring
}

/// A reader of the whole inbox looks for one symbol by itself.
fn filtering(times: u32) {
    let (ring, filter) = (symbols(), symbol_filter(7));
    for cursor in (0..1000).cycle().take(times as usize) {
        if let Read::Entry(_, kept) = ring.read(black_box(cursor)) {
            black_box(kept.0.messages().any(|(_, bytes)| filter.is_met(&Document::read(bytes, MAX_JSON))));
        }
    }
}

/// A reader of that symbol's stream: once for a thousand messages of the inbox.
fn streamed(times: u32) {
    let mut ring = Ring::new(inbox::Policy::default(), 16, 1, Budget::new(1 << 30).lease(Rank::History));
    let run = of_symbol(7);
    let (bytes, cost) = (run.message_bytes(), run.held() as u64);
    ring.push_messages(Kept(run), 1, bytes, cost);
    for _ in 0..times {
        if let Read::Entry(_, kept) = ring.read(black_box(0)) {
            black_box(kept.0.payload(0));
        }
    }
}

/// A message is read, and the stream that it is for is found.
fn sorting(times: u32) {
    let sorter = Sorter::new((0..1000).map(symbol_filter).collect());
    let run = of_symbol(7);
    for _ in 0..times {
        for (_, bytes) in run.messages() {
            let document = Document::read(black_box(bytes), MAX_JSON);
            sorter.sort(&document, |stream| {
                black_box(stream);
            });
        }
    }
}

/// A full window: each takes the place of the oldest.
fn inbox(times: u32, together: usize) {
    let budget = Budget::new(1 << 30);
    let policy = inbox::Policy::default();
    let full = policy.max_messages / together;
    let mut ring = Ring::new(policy, 16, 1, budget.lease(Rank::History));
    let run = run(together);
    let mut push = || {
        let (count, bytes, cost) = (run.count(), run.message_bytes(), run.held() as u64);
        ring.push_messages(Kept(run.clone()), count, bytes, cost)
    };
    for _ in 0..full {
        push();
    }
    for _ in 0..times {
        black_box(push());
    }
}

fn outbox(times: u32) {
    let now = now();
    let mut outbox = Outbox::new(outbox::Policy::default());
    let (mut sent, mut ended) = (Vec::new(), Vec::new());
    for id in 0..times {
        assert!(outbox.offer(now, message(id), true, &mut ended).is_ok());
        black_box(outbox.next(now));
        outbox.left(now, 1, &mut sent, &mut ended);
        sent.clear();
        ended.clear();
    }
}

fn ledger(times: u32) {
    let (now, at) = (now(), SystemTime::UNIX_EPOCH);
    let mut ledger = Ledger::new(1_000);
    let endpoint: Arc<str> = "feed".into();
    let mut enter = |id: u32| {
        let id = MessageId(id.into());
        ledger.accept(now, receipt(id, &endpoint, at), Duration::from_mins(10), None);
        black_box(ledger.advance(now, at, (id, 1), (State::Written, None), Some(1)));
    };
    // Full, as it is on a busy daemon.
    (0..1_000).for_each(&mut enter);
    (1_000..1_000 + times).for_each(&mut enter);
}

/// The same for messages that came together.
fn ledger_run(times: u32) {
    let (now, at) = (now(), SystemTime::UNIX_EPOCH);
    let mut ledger = Ledger::new(1_024);
    let (endpoint, run): (Arc<str>, _) = ("feed".into(), run(64));
    let mut enter = |walk: u32| {
        let id = MessageId((walk * 64).into());
        ledger.expire(now);
        ledger.accept_run(receipt(id, &endpoint, at), Duration::from_mins(10), 64, run.lengths());
        black_box(ledger.advance(now, at, (id, 64), (State::Written, None), Some(1)));
        black_box(ledger.advance(now, at, (id, 64), (State::Confirmed, None), Some(1)));
    };
    (0..16).for_each(&mut enter);
    (16..16 + times).for_each(&mut enter);
}

fn receipt(id: MessageId, endpoint: &Arc<str>, at: SystemTime) -> Receipt {
    Receipt {
        id,
        endpoint: Arc::clone(endpoint),
        link: 0,
        state: State::Queued,
        bytes: 64,
        accepted_at: at,
        updated_at: at,
        generation: None,
        end_reason: None,
    }
}

/// What an exchange says of a trade; the last of ten rules is for it, and takes two variables out.
const TRADE: &str = r#"{"e":"trade","E":1672515782136,"s":"BNBBTC","t":12345,"p":"0.00100000","q":"100.5","b":88,"a":50,"T":1672515782136,"m":true,"M":true,"x":{"y":[1,2,3],"z":"note"}}"#;

/// A link whose session looks at each message as JSON.
fn rules(times: u32) {
    let mut plan = Plan { timeout: Duration::from_secs(30), max_json: 1 << 20, ..Plan::default() };
    let extract = ["/E", "/s"].map(|at| (plan.names.intern(at).expect("there are two"), pointer(at)));
    let rule = |kind: &str, act: Do| {
        let json = [Wanted { at: pointer("/e"), value: Json::Literal(kind.into()) }].into();
        Rule { matcher: Matcher { json, ..Matcher::default() }, act }
    };
    let kinds = ["depth", "kline", "ticker", "book", "error", "login", "pong", "subscribed", "notice"];
    let last = rule("trade", Do { extract: extract.into(), ..Do::default() });
    plan.on = Rules::new(kinds.map(|kind| rule(kind, Do::default())).into_iter().chain([last]).collect());
    let (mut link, now) = open_with(Some(Arc::new(plan)));
    let run = Run::from(&Payload::checked_text(Bytes::from_static(TRADE.as_bytes())));
    for _ in 0..times {
        black_box(link.handle(now, on(ConnectionInput::Heard)));
        black_box(link.handle(now, on(ConnectionInput::Received(Received::Messages(run.clone())))));
    }
}

/// What any program must do that looks into it.
fn json(times: u32) {
    for _ in 0..times {
        black_box(serde_json::from_str::<serde_json::Value>(black_box(TRADE)).expect("it is JSON"));
    }
}

fn pointer(source: &str) -> Pointer {
    Pointer::parse(source).expect("it is one")
}

fn on(input: ConnectionInput) -> Input {
    Input::Connection(Lane::Current, input)
}

fn open() -> (Link, Instant) {
    open_with(None)
}

fn open_with(session: Option<Arc<Plan>>) -> (Link, Instant) {
    let now = now();
    let mut link = Link::new(Arc::new(Policy::default()), 7, now);
    black_box(link.handle(now, Input::Start));
    if let Some(plan) = session {
        let start = Start {
            plan,
            secrets: [].into(),
            wall: Duration::from_secs(1),
            at: now,
            endpoint: "feed".into(),
            link: 0,
            dialled: None,
            is_watched: false,
        };
        black_box(link.handle(now, on(ConnectionInput::Session(Box::new(start)))));
    }
    black_box(link.handle(now, on(ConnectionInput::Dialled(Box::new(established())))));
    (link, now)
}

fn established() -> Established {
    Established {
        url: "ws://peer/".into(),
        address: None,
        protocol: "".into(),
        compression: None,
        carrier: None,
        certificates: Certificates::default(),
        timings: Steps::default(),
    }
}

fn message(id: u32) -> Box<Message> {
    Box::new(Message {
        id: MessageId(id.into()),
        body: payload().into(),
        extras: None,
        expires_at: None,
        share: Share::default(),
    })
}

/// So many messages that came together.
fn run(count: usize) -> Run {
    let (mut bytes, mut marks) = (Vec::new(), Marks::default());
    for _ in 0..count {
        let frame = Run::from(&payload()).frames();
        marks.push(bytes.len() + frame.len() - payload().len(), payload().len(), payload().kind());
        bytes.extend(frame);
    }
    let room = bytes.len();
    marks.take(bytes.into(), room)
}

fn payload() -> Payload {
    Payload::checked_text(Bytes::from_static(&[b'x'; 64]))
}

/// Where time stands still.
#[allow(clippy::disallowed_methods, reason = "an `Instant` can be had from the clock only, and here it then stands")]
fn now() -> Instant {
    Instant::now()
}
