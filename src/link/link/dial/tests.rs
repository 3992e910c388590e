//! Dials over loopback: what each step of an attempt makes of peers that are well, slow, missing or wrong.

use std::{
    net::SocketAddr,
    path::Path,
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use parking_lot::Mutex;
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::{Semaphore, mpsc},
};
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use super::*;
use crate::{
    endpoint::{Session, Template},
    link::{Permit, race::Admitted},
    written,
};
use wskeeper_core::admission::{Dismissal, Elsewhere, Request};

mod made;
mod memory;
mod network;
mod pinned;
mod proxies;
mod redirects;
mod secure;

/// Lets `places` be held at once, and remembers who asked for what.
struct Counted {
    places: Arc<Semaphore>,
    held: Arc<AtomicUsize>,
    asked: Mutex<Vec<(Vec<SocketAddr>, bool)>>,
    verdicts: Arc<Mutex<Vec<Option<Verdict>>>>,
}

impl Counted {
    fn new(places: usize) -> Arc<Self> {
        Arc::new(Self {
            places: Arc::new(Semaphore::new(places)),
            held: Arc::default(),
            asked: Mutex::default(),
            verdicts: Arc::default(),
        })
    }
}

impl Admit for Counted {
    fn prepare(self: Arc<Self>, _link: LinkId) -> BoxFuture<PreparePermit> {
        Box::pin(std::future::ready(PreparePermit::default()))
    }

    fn admit(self: Arc<Self>, request: Request) -> BoxFuture<Result<Box<Permit>, Dismissal>> {
        let permit = self.let_in(request.addresses, false);
        Box::pin(async { Ok(permit.await) })
    }

    fn admit_extra(self: Arc<Self>, _link: LinkId, address: SocketAddr) -> BoxFuture<Box<Permit>> {
        self.let_in(vec![address], true)
    }
}

impl Counted {
    fn let_in(&self, addresses: Vec<SocketAddr>, extra: bool) -> BoxFuture<Box<Permit>> {
        self.asked.lock().push((addresses.clone(), extra));
        let (places, held) = (Arc::clone(&self.places), Arc::clone(&self.held));
        let verdicts = Arc::clone(&self.verdicts);
        Box::pin(async move {
            let place = places.acquire_owned().await.unwrap();
            held.fetch_add(1, Ordering::SeqCst);
            let release = move |verdict| {
                verdicts.lock().push(verdict);
                held.fetch_sub(1, Ordering::SeqCst);
                drop(place);
            };
            Permit::new(addresses[0], Some(Box::new(release)))
        })
    }
}

fn id() -> LinkId {
    LinkId { endpoint: "feed".into(), index: 0 }
}

fn dynamic(admission: &Arc<Counted>) -> Arc<dyn Admit> {
    Arc::clone(admission) as _
}

/// Admitted to the first of these.
async fn admitted(admission: &Arc<Counted>, mut addresses: Vec<SocketAddr>) -> Admitted {
    let request = Request { link: id(), addresses: addresses.clone(), urgent: false, elsewhere: Elsewhere::Nowhere };
    let permit = Arc::clone(admission).admit(request).await.unwrap();
    addresses.retain(|address| *address != permit.address);
    Admitted { permit, others: addresses }
}

fn endpoint(toml: &str) -> Arc<Endpoint> {
    let settings = written::settings(&format!("[endpoints.feed]\n{toml}"));
    Arc::clone(&settings.endpoints["feed"])
}

const PATIENCE: Patience =
    Patience { unacknowledged: Duration::from_secs(30), probe: None, silence: Duration::from_secs(5), source: None };

/// The first URL, and the others in turn.
fn first() -> To {
    To { round: Some(Round::default()), ..To::default() }
}

fn telling(told: mpsc::Sender<Progress>) -> Report {
    Box::new(move |step| told.try_send(step).expect("there is room"))
}

async fn dial(toml: &str, admission: Arc<Counted>) -> (Result<Dialled<Transport>, DialFailure>, Vec<Progress>) {
    let endpoint = endpoint(toml);
    let dialer = Dialer::new(id(), Arc::new(move || Arc::clone(&endpoint)), admission);
    let (told, mut heard) = mpsc::channel(64);
    let outcome = dialer.dial(first(), None, telling(told)).await;
    let mut progress = Vec::new();
    while let Some(step) = heard.recv().await {
        progress.push(step);
    }
    (outcome, progress)
}

/// An address where nobody listens.
async fn dead() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap()
}

/// Reads one request and answers it, `{accept}` replaced.
async fn answer(mut stream: impl AsyncRead + AsyncWrite + Unpin, answer: &str) -> String {
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        match stream.read_u8().await {
            Ok(byte) => request.push(byte),
            Err(_) => return String::new(),
        }
    }
    let request = String::from_utf8(request).unwrap().to_lowercase_names();
    let key = request.lines().find_map(|line| line.strip_prefix("sec-websocket-key: ")).unwrap();
    stream.write_all(answer.replace("{accept}", &derive_accept_key(key.as_bytes())).as_bytes()).await.unwrap();
    stream.flush().await.unwrap();
    request
}

trait LowercaseNames {
    fn to_lowercase_names(&self) -> String;
}

impl LowercaseNames for String {
    fn to_lowercase_names(&self) -> String {
        let lower = |line: &str| match line.split_once(": ") {
            Some((name, value)) => format!("{}: {value}\r\n", name.to_lowercase()),
            None => format!("{line}\r\n"),
        };
        self.lines().map(lower).collect()
    }
}

const GOOD: &str = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {accept}\r\n\r\n";

/// Answers each connection with the next of `answers`; gives the requests.
async fn serve(answers: Vec<String>) -> (SocketAddr, tokio::task::JoinHandle<Vec<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let task = tokio::spawn(async move {
        let mut requests = Vec::new();
        for text in answers {
            let (stream, _) = listener.accept().await.unwrap();
            requests.push(answer(stream, &text).await);
        }
        requests
    });
    (address, task)
}

#[tokio::test]
async fn an_uncontended_dial_is_never_queued_and_gives_its_place_back() {
    let (address, _server) = serve(vec![GOOD.into()]).await;
    let admission = Counted::new(1);
    let (outcome, progress) = dial(&format!("url = 'ws://{address}/v2?key=k3y'"), Arc::clone(&admission)).await;
    let established = outcome.unwrap().established;
    assert_eq!(&*established.url, format!("ws://{address}/v2"));
    assert_eq!(established.address, Some(address));
    let timings = Timings::from(established.timings);
    assert!(timings.upgrade.is_some() && timings.tls.is_none());
    assert_eq!(progress, [Progress::Resolving, Progress::Admitted, Progress::Connecting, Progress::Upgrading]);
    assert_eq!(admission.held.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn a_dial_that_must_wait_says_so_first() {
    let (address, _server) = serve(vec![GOOD.into()]).await;
    let admission = Counted::new(0);
    let (told, mut heard) = mpsc::channel(8);
    let endpoint = endpoint(&format!("url = 'ws://{address}'"));
    let dialer = Dialer::new(id(), Arc::new(move || Arc::clone(&endpoint)), Arc::clone(&admission) as Arc<dyn Admit>);
    let attempt = tokio::spawn(dialer.dial(first(), None, telling(told)));
    assert_eq!(heard.recv().await, Some(Progress::Resolving));
    assert_eq!(heard.recv().await, Some(Progress::Queued));
    admission.places.add_permits(1);
    assert_eq!(heard.recv().await, Some(Progress::Admitted));
    attempt.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_dead_address_is_followed_by_the_next_at_once() {
    let (live, _server) = serve(vec![GOOD.into()]).await;
    let admission = Counted::new(2);
    let first = dead().await;
    let won = race::race(&dynamic(&admission), &id(), admitted(&admission, vec![first, live]).await, PATIENCE)
        .await
        .ok()
        .unwrap();
    assert_eq!(won.permit.address, live);
    assert_eq!(*admission.asked.lock(), [(vec![first, live], false), (vec![live], true)]);
    assert_eq!(admission.held.load(Ordering::SeqCst), 1, "only the winner holds a place");
}

#[tokio::test(start_paused = true)]
async fn a_silent_address_is_raced_by_the_next_after_250_ms() {
    let (live, _server) = serve(vec![GOOD.into()]).await;
    let silent = Silent::new();
    let admission = Counted::new(2);
    let addresses = vec![silent.address, live];
    let won = race::race(&dynamic(&admission), &id(), admitted(&admission, addresses.clone()).await, PATIENCE)
        .await
        .ok()
        .unwrap();
    assert_eq!(won.permit.address, live);
    assert_eq!(*admission.asked.lock(), [(addresses, false), (vec![live], true)]);
    // The clock moves only while nothing else can: by the stagger, and nothing more.
    assert!((250..260).contains(&won.took.as_millis()), "{:?}", won.took);
    assert_eq!(admission.held.load(Ordering::SeqCst), 1, "the silent one has given its place back");
}

/// Tells the first to ask again, lets the second in where the name does not lead any more, and the third where it leads.
struct Moving(Mutex<usize>, Arc<Mutex<Vec<Option<Verdict>>>>);

impl Admit for Moving {
    fn prepare(self: Arc<Self>, _link: LinkId) -> BoxFuture<PreparePermit> {
        Box::pin(std::future::ready(PreparePermit::default()))
    }

    fn admit(self: Arc<Self>, request: Request) -> BoxFuture<Result<Box<Permit>, Dismissal>> {
        let step = std::mem::replace(&mut *self.0.lock(), usize::MAX).min(2);
        *self.0.lock() = step + 1;
        let verdicts = Arc::clone(&self.1);
        let found = request.addresses.into_iter().find(SocketAddr::is_ipv4).unwrap();
        Box::pin(async move {
            tokio::time::sleep(Duration::from_secs(2)).await;
            let address = if step == 1 { SocketAddr::from(([127, 9, 9, 9], 9)) } else { found };
            let release = move |verdict| verdicts.lock().push(verdict);
            if step == 0 { Err(Dismissal::Again) } else { Ok(Permit::new(address, Some(Box::new(release)))) }
        })
    }

    fn admit_extra(self: Arc<Self>, _link: LinkId, _address: SocketAddr) -> BoxFuture<Box<Permit>> {
        Box::pin(std::future::pending())
    }
}

#[tokio::test(start_paused = true)]
async fn who_has_waited_goes_where_the_name_leads_by_then() {
    let (live, _server) = serve(vec![GOOD.into()]).await;
    let endpoint = endpoint(&format!("url = 'ws://localhost:{}/'\nconnect_timeout = '1h'", live.port()));
    let admission = Arc::new(Moving(Mutex::new(0), Arc::default()));
    let dialer = Dialer::new(id(), Arc::new(move || Arc::clone(&endpoint)), Arc::clone(&admission) as Arc<dyn Admit>);
    let (told, _heard) = mpsc::channel(64);
    let dialled = dialer.dial(first(), None, telling(told)).await.unwrap();
    assert_eq!(dialled.established.address, Some(live));
    assert_eq!(*admission.1.lock(), [Some(Verdict::Moved), Some(Verdict::Up)]);
}

/// Sends on who has not asked everywhere; the first who has is to ask again, and the next is let in.
struct Sending(Mutex<Vec<(u16, Elsewhere)>>);

impl Admit for Sending {
    fn prepare(self: Arc<Self>, _link: LinkId) -> BoxFuture<PreparePermit> {
        Box::pin(std::future::ready(PreparePermit::default()))
    }

    fn admit(
        self: Arc<Self>,
        Request { addresses, elsewhere, .. }: Request,
    ) -> BoxFuture<Result<Box<Permit>, Dismissal>> {
        let mut asked = self.0.lock();
        asked.push((addresses[0].port(), elsewhere));
        let tried = asked.iter().filter(|(_, elsewhere)| *elsewhere == Elsewhere::Tried).count();
        Box::pin(std::future::ready(match elsewhere {
            Elsewhere::Untried => Err(Dismissal::Elsewhere),
            Elsewhere::Tried if tried == 1 => Err(Dismissal::Again),
            Elsewhere::Tried | Elsewhere::Nowhere => Ok(Permit::new(addresses[0], None)),
        }))
    }

    fn admit_extra(self: Arc<Self>, _link: LinkId, _address: SocketAddr) -> BoxFuture<Box<Permit>> {
        Box::pin(std::future::pending())
    }
}

#[tokio::test]
async fn an_attempt_goes_once_round_its_urls_and_after_news_once_more() {
    use Elsewhere::{Nowhere, Tried, Untried};
    let (elsewhere, _end) = serve(vec![GOOD.into()]).await;
    let (live, _server) = serve(vec![redirect(&format!("ws://{elsewhere}/"))]).await;
    let toml = format!("urls = ['ws://127.0.0.1:1/', 'ws://{live}/', 'ws://127.0.0.1:3/']\nredirects = 1");
    let endpoint = endpoint(&toml);
    let admission = Arc::new(Sending(Mutex::default()));
    let dialer = Dialer::new(id(), Arc::new(move || Arc::clone(&endpoint)), Arc::clone(&admission) as Arc<dyn Admit>);
    let (told, mut heard) = mpsc::channel(64);
    let dialled = dialer.dial(first(), None, telling(told)).await.unwrap();
    assert_eq!(dialled.established.address, Some(elsewhere));
    let (one, two, three) = (1, live.port(), 3);
    let round = [(one, Untried), (two, Untried), (three, Tried), (three, Untried), (one, Untried), (two, Tried)];
    let hop = (elsewhere.port(), Nowhere);
    assert_eq!(*admission.0.lock(), round.into_iter().chain([hop]).collect::<Vec<_>>());
    let mut passed = Vec::new();
    while let Some(step) = heard.recv().await {
        passed.extend(if let Progress::PassedOver(url) = step { Some(url) } else { None });
    }
    assert_eq!(passed, [1, 2, 0, 1]);
}

/// An address that answers no dial: its queue of connections not yet accepted is full, and then Linux drops what comes.
struct Silent {
    address: SocketAddr,
    _open: Vec<socket2::Socket>,
}

impl Silent {
    fn new() -> Self {
        let stream = || socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        let listener = stream();
        listener.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
        listener.listen(0).unwrap();
        let address = listener.local_addr().unwrap();
        let mut open = vec![listener];
        loop {
            let caller = stream();
            let unanswered = caller.connect_timeout(&address, Duration::from_millis(200)).is_err();
            open.push(caller);
            if unanswered {
                return Self { address: address.as_socket().unwrap(), _open: open };
            }
        }
    }
}

#[tokio::test]
async fn an_attempt_at_dead_addresses_names_each() {
    let (one, other) = (dead().await, dead().await);
    let admission = Counted::new(2);
    let lost = race::race(&dynamic(&admission), &id(), admitted(&admission, vec![one, other]).await, PATIENCE)
        .await
        .err()
        .unwrap();
    assert!(lost.detail.contains(&one.to_string()) && lost.detail.contains(&other.to_string()), "{lost}");
    assert_eq!(admission.held.load(Ordering::SeqCst), 0);
    let (outcome, _) = dial(&format!("url = 'ws://{one}'"), admission).await;
    assert_eq!(outcome.unwrap_err().cause, Cause::Connect);
}

#[tokio::test]
async fn an_abandoned_attempt_gives_its_place_back() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = endpoint(&format!("url = 'ws://{}'", listener.local_addr().unwrap()));
    let admission = Counted::new(1);
    let dialer = Dialer::new(id(), Arc::new(move || Arc::clone(&endpoint)), Arc::clone(&admission) as Arc<dyn Admit>);
    let (told, mut heard) = mpsc::channel(8);
    let mut attempt = dialer.dial(first(), None, telling(told));
    loop {
        tokio::select! {
            outcome = &mut attempt => panic!("nobody answered, yet {outcome:?}"),
            step = heard.recv() => if step == Some(Progress::Upgrading) { break },
        }
    }
    assert_eq!(admission.held.load(Ordering::SeqCst), 1, "the place is held until the peer has answered");
    drop(attempt);
    assert_eq!(admission.held.load(Ordering::SeqCst), 0);
    let (mut stream, _) = listener.accept().await.unwrap();
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).await.unwrap();
}

#[tokio::test]
async fn a_missing_secret_is_named_before_anything_is_dialled() {
    let admission = Counted::new(1);
    let toml = "url = 'ws://127.0.0.1:9'\nheaders.authorization = 'Bearer ${env:WSKEEPER_NOT_SET}'";
    let (outcome, progress) = dial(toml, Arc::clone(&admission)).await;
    let failure = outcome.unwrap_err();
    assert_eq!(failure.cause, Cause::Secret);
    assert!(failure.detail.contains("${env:WSKEEPER_NOT_SET}"), "{}", failure.detail);
    assert!(progress.is_empty() && admission.asked.lock().is_empty());
}

#[tokio::test]
async fn a_name_that_cannot_be_resolved_is_a_matter_of_dns() {
    let (outcome, _) = dial("url = 'ws://no-such-host.invalid'", Counted::new(1)).await;
    let failure = outcome.unwrap_err();
    assert_eq!(failure.cause, Cause::Dns);
    assert!(failure.detail.contains("no-such-host.invalid"), "{}", failure.detail);
}

#[tokio::test]
async fn a_refusal_keeps_its_status_and_delay() {
    let refusal = "HTTP/1.1 503 Service Unavailable\r\nRetry-After: 7\r\nContent-Length: 0\r\n\r\n";
    let (address, _server) = serve(vec![refusal.into()]).await;
    let failure = dial(&format!("url = 'ws://{address}'"), Counted::new(1)).await.0.unwrap_err();
    assert_eq!((failure.cause, failure.status), (Cause::Upgrade, Some(503)));
    assert_eq!(failure.retry_after.map(RetryAfter::span), Some(Duration::from_secs(7)));
}

#[tokio::test]
async fn an_attempt_says_what_it_has_learned_of_the_address() {
    let status = |line: &str| format!("HTTP/1.1 {line}\r\nContent-Length: 0\r\n\r\n");
    for (answer, verdict) in [
        (GOOD.to_owned(), Verdict::Up),
        (status("401 Unauthorized"), Verdict::Up),
        (status("404 Not Found"), Verdict::Up),
        (status("502 Bad Gateway"), Verdict::Failing(None)),
        (
            status("503 Service Unavailable\r\nRetry-After: 7"),
            Verdict::Failing(Some(RetryAfter::capped(Duration::from_secs(7), Duration::MAX))),
        ),
        (String::new(), Verdict::Failing(None)),
    ] {
        let (address, _server) = serve(vec![answer.clone()]).await;
        let admission = Counted::new(1);
        drop(dial(&format!("url = 'ws://{address}'"), Arc::clone(&admission)).await);
        assert_eq!(*admission.verdicts.lock(), [Some(verdict)], "{answer:?}");
    }
    let admission = Counted::new(1);
    drop(dial(&format!("url = 'ws://{}'", dead().await), Arc::clone(&admission)).await);
    assert_eq!(*admission.verdicts.lock(), [Some(Verdict::Unreachable)]);
}

#[tokio::test(start_paused = true)]
async fn silence_until_an_attempt_is_given_up_says_that_the_service_does_not_answer() {
    for (patience, verdict) in [(1, None), (6, Some(Verdict::Failing(None)))] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = endpoint(&format!("url = 'ws://{}'", listener.local_addr().unwrap()));
        let admission = Counted::new(1);
        let dialer =
            Dialer::new(id(), Arc::new(move || Arc::clone(&endpoint)), Arc::clone(&admission) as Arc<dyn Admit>);
        let (told, mut heard) = mpsc::channel(8);
        let mut attempt = dialer.dial(first(), None, telling(told));
        loop {
            tokio::select! {
                outcome = &mut attempt => panic!("nobody answered, yet {outcome:?}"),
                step = heard.recv() => if step == Some(Progress::Upgrading) { break },
            }
        }
        assert!(tokio::time::timeout(Duration::from_secs(patience), attempt).await.is_err());
        assert_eq!(*admission.verdicts.lock(), [verdict]);
    }
}

fn redirect(to: &str) -> String {
    format!("HTTP/1.1 307 Temporary Redirect\r\nLocation: {to}\r\nContent-Length: 0\r\n\r\n")
}

#[tokio::test]
async fn a_session_is_evaluated_with_its_attempt_and_a_url_has_the_variables_that_were_kept() {
    let (address, server) = serve(vec![GOOD.into()]).await;
    let template = |text: &str| Template::parse_with_variables(text, Path::new("")).unwrap();
    let mut endpoint = Endpoint::clone(&endpoint("url = 'ws://unused/'"));
    endpoint.urls = vec![template(&format!("ws://{address}/${{var:path|first}}"))];
    endpoint.targets = vec![None];
    let secrets = [template("${env:PATH}")].into();
    endpoint.session = Some(Arc::new(Session { secrets, ..Session::default() }));
    let endpoint = Arc::new(endpoint);
    let dialer = Dialer::new(id(), Arc::new(move || Arc::clone(&endpoint)), Counted::new(1));
    let (told, _heard) = mpsc::channel(64);
    let dialled = dialer.dial(first(), None, telling(told)).await.unwrap();
    let start = dialled.session.expect("a session");
    assert_eq!((&*start.endpoint, start.link, start.secrets.len()), ("feed", 0, 1));
    assert!(!start.secrets[0].is_empty() && !format!("{start:?}").contains(&*start.secrets[0]));
    assert!(server.await.unwrap()[0].starts_with("GET /first "));
}

#[tokio::test]
async fn the_secrets_of_a_session_go_to_no_other_origin() {
    let (address, _server) = serve(vec![redirect("ws://other.invalid/")]).await;
    let mut endpoint = Endpoint::clone(&endpoint(&format!("url = 'ws://{address}/'\nredirects = 3")));
    let secrets = [Template::literal("secret")].into();
    endpoint.session = Some(Arc::new(Session { secrets, ..Session::default() }));
    let endpoint = Arc::new(endpoint);
    let dialer = Dialer::new(id(), Arc::new(move || Arc::clone(&endpoint)), Counted::new(1));
    let (told, _heard) = mpsc::channel(64);
    let failure = dialer.dial(first(), None, telling(told)).await.unwrap_err();
    assert!(failure.detail.contains("the secrets of the session do not go"), "{}", failure.detail);
}
