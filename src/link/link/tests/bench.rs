//! A driven link over in-memory streams, and the peer's end of each.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use parking_lot::Mutex;
use tokio::{
    io::{DuplexStream, duplex},
    sync::{mpsc, oneshot, watch},
    task::JoinHandle,
    time::timeout,
};

use super::peer::{PATIENCE, Peer};
use crate::clock::Calendar;
use crate::link::{
    BoxFuture, Dial, Dialled, Done, Host, Now, Offer, Offered, Order, Orders, Pledge, Progress, Report, Stop, Tap, To,
    orders, run,
};
use wskeeper_core::{
    budget::{Account, Budget, Hold, Share},
    close::{Cause, Closed},
    event::{Certificates, DialFailure, Established, Event, LinkId, Steps, Timings},
    link::{Input, Link, Policy, Verb},
    message::{Kind, Message, MessageId, Payload},
    outbox::{Ended, Keep, Refusal, Room},
    phase::{Phase, Reason},
    receipt::{EndReason, State},
    requests::Reply,
    run::{Marks, Run as Messages},
    session::{Errand, Kept, Plan, Request, Start},
};

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
    pub(super) delivered: Vec<Payload>,
    pub(super) reached: Vec<Ended>,
    pub(super) phase: Option<Phase>,
    pub(super) buffered: u64,
}

#[derive(Debug)]
struct Recorder {
    seen: Mutex<Seen>,
    answers: Mutex<Vec<Input>>,
    news: watch::Sender<u64>,
}

impl Recorder {
    fn note(&self, what: impl FnOnce(&mut Seen)) {
        what(&mut self.seen.lock());
        self.news.send_modify(|version| *version += 1);
    }

    fn follow(&self, link: &Link) {
        self.note(|seen| (seen.phase, seen.buffered) = (Some(link.phase()), link.buffered_amount()));
    }
}

impl Host for Recorder {
    fn date(&self) -> std::time::SystemTime {
        Calendar::default().now()
    }

    fn keep(&self, keep: &Keep, _: Now) {
        self.answers.lock().push(Input::Stored { place: keep.place, id: keep.id });
    }

    fn mark(&self, ids: &[MessageId], marked: bool) {
        if marked {
            self.answers.lock().push(Input::Marked(ids.into()));
        }
    }

    fn answers(&self) -> Vec<Input> {
        std::mem::take(&mut self.answers.lock())
    }

    fn subscribed(&self, _reached: Vec<wskeeper_core::subscriptions::Reached>) {}

    fn bury(&self, _message: Box<Message>) {}

    fn reply(&self, _reply: Reply) {}

    fn is_listened(&self) -> bool {
        false
    }

    fn hold(&self) -> Hold {
        Account::new(&Budget::new(u64::MAX)).hold()
    }

    fn watched(&self) -> Option<(&LinkId, &Tap)> {
        None
    }

    fn tell(&self, link: &Link, event: Event, _: Now) {
        self.note(|seen| seen.events.push(event));
        self.follow(link);
    }

    fn deliver(&self, _: u64, messages: Messages, _: Now) {
        self.note(|seen| seen.delivered.extend(messages.payloads()));
    }

    fn settle(&self, link: &Link, reached: Vec<Ended>, _: Option<u64>, _: Now) {
        self.note(|seen| seen.reached.extend(reached));
        self.follow(link);
    }

    fn show(&self, link: &Link, _: Now, _: bool) {
        self.follow(link);
    }
}

/// In memory there is nothing to reset: the peer's end fails when this one is dropped.
impl crate::link::Wire for DuplexStream {
    fn abort(&self) {}
}

struct Cable {
    answer: Arc<Mutex<Answer>>,
    dials: Arc<AtomicUsize>,
    peers: mpsc::Sender<DuplexStream>,
    early: Vec<u8>,
    session: Option<Arc<Plan>>,
    calls: mpsc::Sender<Called>,
}

/// A call, and who waits for its answer.
pub(super) type Called = (Request, oneshot::Sender<Done>);

impl Dial for Cable {
    type Stream = DuplexStream;

    fn dial(&self, _: To, _: Option<Kept>, report: Report) -> BoxFuture<Result<Dialled<DuplexStream>, DialFailure>> {
        self.dials.fetch_add(1, Ordering::Relaxed);
        let answer = *self.answer.lock();
        let (peers, early) = (self.peers.clone(), self.early.clone());
        let session = self.session.clone().map(|plan| Box::new(start(plan)));
        Box::pin(async move {
            match answer {
                Answer::Accept(room) => {
                    let (stream, peer) = duplex(room);
                    let _ = peers.send(peer).await;
                    Ok(Dialled {
                        stream,
                        early,
                        established: Box::new(established()),
                        session,
                        ends: None,
                        compression: None,
                        windows: None,
                    })
                }
                Answer::Hang(step) => {
                    report(step);
                    std::future::pending().await
                }
                Answer::Refuse => Err(DialFailure {
                    cause: Cause::Connect,
                    status: None,
                    retry_after: None,
                    label: None,
                    detail: "refused".into(),
                    timings: Timings::default(),
                    steps: None,
                    rejection: None,
                }),
            }
        })
    }

    fn run(&self, errand: Errand) -> BoxFuture<Done> {
        let Errand::Call(request) = errand else { panic!("a value is wanted") };
        let (reply, answer) = oneshot::channel();
        let _ = self.calls.try_send((*request, reply));
        Box::pin(async move { answer.await.unwrap_or_else(|_| Err("gone".into())) })
    }
}

fn start(plan: Arc<Plan>) -> Start {
    Start {
        plan,
        secrets: ["hunter2".into()].into(),
        wall: Duration::from_secs(1),
        at: tokio::time::Instant::now().into_std(),
        endpoint: "e".into(),
        link: 0,
        dialled: None,
        is_watched: false,
    }
}

fn established() -> Established {
    Established {
        url: "ws://peer.test/".into(),
        address: None,
        protocol: "".into(),
        compression: None,
        carrier: None,
        certificates: Certificates::default(),
        timings: Steps::default(),
    }
}

/// A running link.
pub(super) struct Bench {
    orders: Option<Orders>,
    recorder: Arc<Recorder>,
    news: watch::Receiver<u64>,
    peers: mpsc::Receiver<DuplexStream>,
    pub(super) calls: mpsc::Receiver<Called>,
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
        Self::start(answer, policy, early, None)
    }

    /// A link whose connections run this plan.
    pub(super) fn with_session(plan: Plan, policy: Policy) -> Self {
        Self::start(Answer::Accept(64 << 10), policy, Vec::new(), Some(Arc::new(plan)))
    }

    fn start(answer: Answer, policy: Policy, early: Vec<u8>, session: Option<Arc<Plan>>) -> Self {
        let (orders, mut inbox) = orders(4);
        let (tell, peers) = mpsc::channel(64);
        let (call, calls) = mpsc::channel(64);
        let (news, listener) = watch::channel(0);
        let recorder = Arc::new(Recorder { seen: Mutex::default(), answers: Mutex::default(), news });
        let (answer, dials) = (Arc::new(Mutex::new(answer)), Arc::new(AtomicUsize::new(0)));
        let wire =
            Cable { answer: Arc::clone(&answer), dials: Arc::clone(&dials), peers: tell, early, session, calls: call };
        let link = Link::new(Arc::new(policy), 7, tokio::time::Instant::now().into_std());
        let host: Arc<dyn Host> = recorder.clone();
        let task = tokio::spawn(async move { run(Box::new(link), Input::Start, wire, host, &mut inbox).await });
        Self { orders: Some(orders), recorder, news: listener, peers, calls, answer, dials, task, next_id: 0 }
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
        *self.answer.lock() = answer;
    }

    pub(super) fn dials(&self) -> usize {
        self.dials.load(Ordering::Relaxed)
    }

    /// The peer's end of the next connection.
    pub(super) async fn peer(&mut self) -> Peer {
        let stream = timeout(PATIENCE, self.peers.recv()).await.expect("a dial in time").expect("a dialer");
        Peer::new(stream)
    }

    /// Waits until the host has seen something.
    pub(super) async fn until<T>(&mut self, what: &str, mut find: impl FnMut(&Seen) -> Option<T>) -> T {
        let end = tokio::time::Instant::now() + PATIENCE;
        loop {
            self.news.borrow_and_update();
            if let Some(found) = find(&self.recorder.seen.lock()) {
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

    /// The phases of a link that has ended, and why it came to each.
    pub(super) async fn phases(&mut self) -> Vec<(Phase, Reason)> {
        self.phase(Phase::Paused).await;
        let seen = self.recorder.seen.lock();
        let phase = |event: &Event| match event {
            Event::Phase { to, reason, .. } => Some((*to, *reason)),
            _ => None,
        };
        seen.events.iter().filter_map(phase).collect()
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
        self.until("messages", |seen| (seen.delivered.len() >= count).then(|| seen.delivered.clone())).await
    }

    /// Waits until a message has this state.
    pub(super) async fn receipt(&mut self, id: MessageId, wanted: State) {
        let is_it =
            |reached: &Ended| (0..reached.count).any(|place| reached.id.later(place) == id) && reached.state == wanted;
        self.until(wanted.as_str(), |seen| seen.reached.iter().any(is_it).then_some(())).await;
    }

    /// The states that messages have reached, and the messages that have arrived, in their order.
    pub(super) fn told(&self) -> (Vec<Ended>, Vec<Payload>) {
        let seen = self.recorder.seen.lock();
        (seen.reached.clone(), seen.delivered.clone())
    }

    pub(super) fn events(&self) -> Vec<Event> {
        self.recorder.seen.lock().events.clone()
    }

    pub(super) fn buffered(&self) -> u64 {
        self.recorder.seen.lock().buffered
    }

    pub(super) async fn order(&self, order: Order) {
        let orders = self.orders.as_ref().expect("orders are open");
        timeout(PATIENCE, orders.send(Box::new(order))).await.expect("orders are taken").expect("the link lives");
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
    ) -> (MessageId, BoxFuture<Option<Result<(), Refusal>>>) {
        self.next_id += 1;
        let id = MessageId(self.next_id);
        let share = Share::default();
        let message = Box::new(Message { id, body: payload.into(), extras: None, expires_at: None, share });
        let (reply, answer) = oneshot::channel();
        let until = (tokio::time::Instant::now() + patience).into_std();
        self.order(Order::Offers {
            offers: vec![Offer { message, until, pledge: Pledge::default() }],
            stop: Stop::Never,
            reply,
        })
        .await;
        let answer = async {
            match answer.await.ok()?.pop()? {
                Offered::Decided(answer) => Some(answer),
                Offered::Waits(answer) => answer.await.ok(),
            }
        };
        (id, Box::pin(answer))
    }

    pub(super) async fn send(&mut self, payload: Payload) -> MessageId {
        let (id, answer) = self.offer(payload, Duration::ZERO).await;
        assert_eq!(answer.await, Some(Ok(())));
        id
    }

    /// Messages that come together and are accepted without a question. Answers with their names.
    pub(super) fn accept(&mut self, payloads: &[Payload]) -> Vec<MessageId> {
        let (mut bytes, mut marks) = (Vec::new(), Marks::default());
        for payload in payloads {
            bytes.extend_from_slice(&Messages::from(payload).frames());
            marks.push(bytes.len() - payload.len(), payload.len(), payload.kind());
        }
        let body = marks.take_body(bytes.into(), 0);
        let (id, count) = (MessageId(self.next_id + 1), body.count());
        self.next_id += u128::from(count);
        let message = Message { id, body, extras: None, expires_at: None, share: Share::default() };
        let orders = self.orders.as_ref().expect("orders are open");
        orders.settle(0, Room { bytes: u64::MAX, messages: u32::MAX });
        assert!(orders.accept_run(Box::new(message)).1.is_none());
        (0..count).map(|place| id.later(place)).collect()
    }

    /// Waits until nobody can do anything any more: only then does a clock move that stands still.
    pub(super) async fn idle() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }

    pub(super) async fn stop(&self, within: Duration) {
        self.order(Order::Stop(within, EndReason::Shutdown)).await;
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

/// Text or binary of the same bytes.
pub(super) fn payload(kind: Kind, bytes: Vec<u8>) -> Payload {
    match kind {
        Kind::Text => Payload::text(bytes.into()).expect("UTF-8"),
        Kind::Binary => Payload::binary(bytes),
    }
}
