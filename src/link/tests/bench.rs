//! A driven link over in-memory streams, and the peer's end of each.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex},
    sync::{mpsc, oneshot, watch},
    task::JoinHandle,
    time::timeout,
};

use crate::{
    core::{
        budget::Share,
        close::{Cause, Closed},
        event::{DialFailure, Established, Event, Timings},
        link::{Link, Policy, Verb},
        message::{Kind, Message, MessageId, Payload},
        outbox::Refusal,
        phase::Phase,
        receipt::{Fate, State},
    },
    link::{BoxFuture, Dial, Dialled, Host, Offer, Order, Progress, run},
};

/// Longer than any test waits, in simulated time.
const PATIENCE: Duration = Duration::from_hours(1);

/// What the test's dialer does with an attempt.
#[derive(Debug, Clone, Copy)]
pub(super) enum Answer {
    /// A stream that holds this many bytes each way.
    Accept(usize),
    /// Reports this step and then hangs.
    Hang(Progress),
    /// Fails at once.
    Refuse,
}

/// What the host has seen, and the link as it was last shown.
#[derive(Debug, Default)]
pub(super) struct Seen {
    pub(super) events: Vec<Event>,
    pub(super) phase: Option<Phase>,
    pub(super) buffered: u64,
}

#[derive(Debug)]
struct Recorder {
    seen: Mutex<Seen>,
    news: watch::Sender<u64>,
}

impl Recorder {
    fn note(&self, link: &Link, event: Option<Event>) {
        let mut seen = self.seen.lock().unwrap();
        seen.events.extend(event);
        seen.phase = Some(link.phase());
        seen.buffered = link.buffered_amount();
        drop(seen);
        self.news.send_modify(|version| *version += 1);
    }
}

impl Host for Recorder {
    fn tell(&self, link: &Link, _: Instant, event: Event) {
        self.note(link, Some(event));
    }

    fn show(&self, link: &Link, _: Instant) {
        self.note(link, None);
    }
}

struct Wire {
    answer: Arc<Mutex<Answer>>,
    dials: Arc<AtomicUsize>,
    peers: mpsc::Sender<DuplexStream>,
    early: Vec<u8>,
}

impl Dial for Wire {
    type Stream = DuplexStream;

    fn dial(
        &self,
        _: usize,
        progress: mpsc::Sender<Progress>,
    ) -> BoxFuture<Result<Dialled<DuplexStream>, DialFailure>> {
        self.dials.fetch_add(1, Ordering::Relaxed);
        let answer = *self.answer.lock().unwrap();
        let (peers, early) = (self.peers.clone(), self.early.clone());
        Box::pin(async move {
            match answer {
                Answer::Accept(room) => {
                    let (stream, peer) = duplex(room);
                    let _ = peers.send(peer).await;
                    Ok(Dialled { stream, early, established: established() })
                }
                Answer::Hang(step) => {
                    let _ = progress.send(step).await;
                    std::future::pending().await
                }
                Answer::Refuse => Err(DialFailure {
                    cause: Cause::Connect,
                    status: None,
                    retry_after: None,
                    detail: "refused".into(),
                    timings: Timings::default(),
                }),
            }
        })
    }
}

fn established() -> Established {
    Established {
        url: "ws://peer.test/".into(),
        address: None,
        protocol: "".into(),
        extensions: "".into(),
        timings: Timings::default(),
    }
}

/// A running link.
pub(super) struct Bench {
    orders: Option<mpsc::Sender<Order>>,
    recorder: Arc<Recorder>,
    news: watch::Receiver<u64>,
    peers: mpsc::Receiver<DuplexStream>,
    answer: Arc<Mutex<Answer>>,
    dials: Arc<AtomicUsize>,
    task: JoinHandle<()>,
    next_id: u128,
}

impl Bench {
    pub(super) fn new(answer: Answer) -> Self {
        Self::with(answer, Policy::default(), Vec::new())
    }

    pub(super) fn with(answer: Answer, policy: Policy, early: Vec<u8>) -> Self {
        let (orders, mut inbox) = mpsc::channel(4);
        let (tell, peers) = mpsc::channel(64);
        let (news, listener) = watch::channel(0);
        let recorder = Arc::new(Recorder { seen: Mutex::default(), news });
        let (answer, dials) = (Arc::new(Mutex::new(answer)), Arc::new(AtomicUsize::new(0)));
        let wire = Wire { answer: Arc::clone(&answer), dials: Arc::clone(&dials), peers: tell, early };
        let link = Link::new(Arc::new(policy), 7, tokio::time::Instant::now().into_std());
        let host: Arc<dyn Host> = recorder.clone();
        let task = tokio::spawn(async move { run(link, wire, host, &mut inbox).await });
        Self { orders: Some(orders), recorder, news: listener, peers, answer, dials, task, next_id: 0 }
    }

    /// A link that is ready, and its peer.
    pub(super) async fn open() -> (Self, Peer) {
        Self::open_with(64 << 10, Policy::default()).await
    }

    pub(super) async fn open_with(room: usize, policy: Policy) -> (Self, Peer) {
        let mut bench = Self::with(Answer::Accept(room), policy, Vec::new());
        let peer = bench.peer().await;
        bench.phase(Phase::Ready).await;
        (bench, peer)
    }

    pub(super) fn answer(&self, answer: Answer) {
        *self.answer.lock().unwrap() = answer;
    }

    pub(super) fn dials(&self) -> usize {
        self.dials.load(Ordering::Relaxed)
    }

    /// The peer's end of the next connection.
    pub(super) async fn peer(&mut self) -> Peer {
        let stream = timeout(PATIENCE, self.peers.recv()).await.expect("a dial in time").expect("a dialer");
        Peer { stream }
    }

    /// Waits until the host has seen something.
    pub(super) async fn until<T>(&mut self, what: &str, mut find: impl FnMut(&Seen) -> Option<T>) -> T {
        let end = tokio::time::Instant::now() + PATIENCE;
        loop {
            self.news.borrow_and_update();
            if let Some(found) = find(&self.recorder.seen.lock().unwrap()) {
                return found;
            }
            let news = tokio::time::timeout_at(end, self.news.changed()).await;
            assert!(news.is_ok(), "{what}: not seen among {:#?}", self.events());
        }
    }

    pub(super) async fn phase(&mut self, wanted: Phase) {
        self.until(wanted.as_str(), |seen| (seen.phase == Some(wanted)).then_some(())).await;
    }

    /// How the first connection of the test ended.
    pub(super) async fn closed(&mut self) -> Closed {
        self.until("closed", |seen| {
            seen.events.iter().find_map(|event| match event {
                Event::Closed { closed, .. } => Some((**closed).clone()),
                _ => None,
            })
        })
        .await
    }

    pub(super) async fn dial_failed(&mut self) -> DialFailure {
        self.until("dial failed", |seen| {
            seen.events.iter().find_map(|event| match event {
                Event::DialFailed(failure) => Some((**failure).clone()),
                _ => None,
            })
        })
        .await
    }

    /// What has arrived once there are `count` messages.
    pub(super) async fn messages(&mut self, count: usize) -> Vec<Payload> {
        self.until("messages", |seen| {
            let arrived: Vec<_> = seen
                .events
                .iter()
                .filter_map(|event| match event {
                    Event::Message { payload, .. } => Some(payload.clone()),
                    _ => None,
                })
                .collect();
            (arrived.len() >= count).then_some(arrived)
        })
        .await
    }

    /// Waits until a message has this state.
    pub(super) async fn receipt(&mut self, id: MessageId, wanted: State) {
        self.until(wanted.as_str(), |seen| {
            seen.events.iter().find_map(|event| match event {
                Event::Receipt { id: of, state, .. } if *of == id && *state == wanted => Some(()),
                _ => None,
            })
        })
        .await;
    }

    pub(super) fn events(&self) -> Vec<Event> {
        self.recorder.seen.lock().unwrap().events.clone()
    }

    pub(super) fn buffered(&self) -> u64 {
        self.recorder.seen.lock().unwrap().buffered
    }

    pub(super) async fn order(&self, order: Order) {
        let orders = self.orders.as_ref().expect("orders are open");
        timeout(PATIENCE, orders.send(order)).await.expect("orders are taken").expect("the link lives");
    }

    pub(super) async fn verb(&self, verb: Verb) {
        let (reply, taken) = oneshot::channel();
        self.order(Order::Verb(verb, reply)).await;
        taken.await.expect("an answer");
    }

    /// Offers a message and leaves the answer to the caller.
    pub(super) async fn offer(
        &mut self,
        payload: Payload,
        patience: Duration,
    ) -> (MessageId, oneshot::Receiver<Result<(), Refusal>>) {
        self.next_id += 1;
        let id = MessageId(self.next_id);
        let share = Share::default();
        let message = Box::new(Message { id, payload, key: None, expires_at: None, wants_confirmation: false, share });
        let (reply, answer) = oneshot::channel();
        let until = (tokio::time::Instant::now() + patience).into_std();
        self.order(Order::Offer(Offer { message, until, reply })).await;
        (id, answer)
    }

    pub(super) async fn send(&mut self, payload: Payload) -> MessageId {
        let (id, answer) = self.offer(payload, Duration::ZERO).await;
        assert_eq!(answer.await.expect("an answer"), Ok(()));
        id
    }

    pub(super) async fn stop(&self, within: Duration) {
        self.order(Order::Stop(within, Fate::Shutdown)).await;
    }

    /// The pool goes away without a word.
    pub(super) fn abandon(&mut self) {
        self.orders = None;
    }

    /// Waits for the end of the task; says how long that took.
    pub(super) async fn end(&mut self) -> Duration {
        let before = tokio::time::Instant::now();
        timeout(PATIENCE, &mut self.task).await.expect("an end in time").expect("no panic");
        before.elapsed()
    }
}

/// The peer's end of a connection, in raw bytes.
pub(super) struct Peer {
    stream: DuplexStream,
}

impl Peer {
    pub(super) async fn raw(&mut self, bytes: &[u8]) {
        timeout(PATIENCE, self.stream.write_all(bytes)).await.expect("taken in time").expect("written");
    }

    /// As much as is taken before the other side has gone.
    pub(super) async fn pour(&mut self, bytes: &[u8]) -> bool {
        timeout(PATIENCE, self.stream.write_all(bytes)).await.expect("taken in time").is_ok()
    }

    pub(super) async fn frame(&mut self, first: u8, payload: &[u8]) {
        let bytes = frame(first, payload);
        self.raw(&bytes).await;
    }

    pub(super) async fn text(&mut self, text: &str) {
        self.frame(0x81, text.as_bytes()).await;
    }

    pub(super) async fn close(&mut self, code: u16, reason: &str) {
        let mut body = code.to_be_bytes().to_vec();
        body.extend(reason.as_bytes());
        self.frame(0x88, &body).await;
    }

    /// The next frame that the link sent: its first byte and its payload, unmasked. `None` at the end of the stream.
    pub(super) async fn next(&mut self) -> Option<(u8, Bytes)> {
        timeout(PATIENCE, self.read_frame()).await.expect("a frame in time")
    }

    /// The code of the Close frame that is the next frame.
    pub(super) async fn next_close(&mut self) -> u16 {
        let (first, body) = self.next().await.expect("a Close frame");
        assert_eq!(first, 0x88, "a Close frame: {body:?}");
        u16::from_be_bytes([body[0], body[1]])
    }

    /// Bytes that the link sent, without taking them apart.
    pub(super) async fn take(&mut self, count: usize) {
        let mut bytes = vec![0; count];
        timeout(PATIENCE, self.stream.read_exact(&mut bytes)).await.expect("in time").expect("so many");
    }

    async fn read_frame(&mut self) -> Option<(u8, Bytes)> {
        let first = self.stream.read_u8().await.ok()?;
        let length = self.stream.read_u8().await.ok()?;
        assert_eq!(length & 0x80, 0x80, "a client masks every frame");
        let length = match length & 0x7f {
            126 => usize::from(self.stream.read_u16().await.ok()?),
            127 => usize::try_from(self.stream.read_u64().await.ok()?).expect("a length"),
            short => usize::from(short),
        };
        let mut mask = [0; 4];
        self.stream.read_exact(&mut mask).await.ok()?;
        let mut payload = vec![0; length];
        self.stream.read_exact(&mut payload).await.ok()?;
        payload.iter_mut().zip(mask.iter().cycle()).for_each(|(byte, mask)| *byte ^= mask);
        Some((first, payload.into()))
    }
}

/// An unmasked frame with this first byte.
pub(super) fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![first];
    match payload.len() {
        short @ 0..=125 => bytes.push(u8::try_from(short).expect("short")),
        middle @ 126..=65535 => {
            bytes.push(126);
            bytes.extend(u16::try_from(middle).expect("middle").to_be_bytes());
        }
        long => {
            bytes.push(127);
            bytes.extend((long as u64).to_be_bytes());
        }
    }
    bytes.extend(payload);
    bytes
}

/// Text or binary of the same bytes.
pub(super) fn payload(kind: Kind, bytes: Vec<u8>) -> Payload {
    match kind {
        Kind::Text => Payload::text(bytes.into()).expect("UTF-8"),
        Kind::Binary => Payload::binary(bytes),
    }
}
