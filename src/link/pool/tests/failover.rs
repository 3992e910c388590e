//! Links with more than one way to go, on a clock that moves only while nothing else does.

use std::sync::atomic::AtomicUsize;

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
    time::{Instant, sleep},
};
use tokio_tungstenite::accept_async;

use super::{super::runtime::NAME, *};

const MUCH_LATER: &str = "Retry-After: 3600\r\n";

/// A server that is busy, and counts those who come.
fn busy(line: &'static str, listener: TcpListener) -> Arc<AtomicUsize> {
    let calls = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&calls);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            counted.fetch_add(1, Ordering::SeqCst);
            let mut request = [0; 4096];
            let _ = stream.read(&mut request).await;
            let answer = format!("HTTP/1.1 503 Service Unavailable\r\n{line}Content-Length: 0\r\n\r\n");
            let _ = stream.write_all(answer.as_bytes()).await;
        }
    });
    calls
}

/// A server that keeps every link.
fn well(listener: TcpListener) {
    tokio::spawn(async move {
        let mut kept = Vec::new();
        while let Ok((stream, _)) = listener.accept().await {
            kept.extend(accept_async(stream).await);
        }
    });
}

/// A free port, at this address.
async fn listen(host: u8, port: u16) -> TcpListener {
    TcpListener::bind(std::net::SocketAddr::from(([127, 0, 0, host], port))).await.expect("a port is free")
}

fn port(listener: &TcpListener) -> u16 {
    listener.local_addr().expect("it is bound").port()
}

async fn started(text: &str) -> Pool {
    let settings = written::settings(text);
    Pool::start(settings, Arc::new(Silent), 1).await
}

fn in_phase(pool: &Pool, links: u32, phase: Phase) -> u32 {
    let is_in = |link: &u32| pool.link("e", *link).expect("it is configured").phase == phase;
    u32::try_from((0..links).filter(is_in).count()).expect("few")
}

/// How long it took until all links were ready.
async fn until_ready(pool: &Pool, links: u32) -> Duration {
    let began = Instant::now();
    let ready = async {
        while in_phase(pool, links, Phase::Ready) < links {
            sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(Duration::from_mins(10), ready).await.expect("all get in");
    began.elapsed()
}

#[tokio::test(start_paused = true)]
async fn links_held_by_a_server_that_asks_to_come_later_try_the_next_url() {
    const LINKS: u32 = 6;
    let (first, second) = (listen(1, 0).await, listen(1, 0).await);
    let urls = [&first, &second].map(port);
    let calls = busy(MUCH_LATER, first);
    well(second);
    let [first, second] = urls.map(|port| format!("ws://127.0.0.1:{port}/"));
    let pool = started(&format!("[endpoints.e]\nurls = ['{first}', '{second}']\nlinks = {LINKS}")).await;
    // The one that was refused waits for its first retry; nobody else waits, and nobody else asks.
    let took = until_ready(&pool, LINKS).await;
    assert!(took <= Duration::from_secs(6), "{took:?}");
    assert_eq!(calls.load(Ordering::SeqCst), 1);
    for link in 0..LINKS {
        assert_eq!(*pool.link("e", link).expect("it is configured").url, *second);
    }
}

/// A pool whose links are held, all but those that have looked: the name leads to a server that is busy.
async fn held(links: u32) -> (Pool, Arc<AtomicUsize>, TcpListener) {
    NAME.with(|name| name.send_replace(Some([127, 0, 0, 1].into())));
    let first = listen(1, 0).await;
    let port = port(&first);
    let calls = busy("", first);
    let pool = started(&format!("[endpoints.e]\nurl = 'ws://moving.example:{port}/'\nlinks = {links}")).await;
    let waiting = async {
        while pool.inner.parts.admission.waiting().len() < links as usize * 3 / 4 || calls.load(Ordering::SeqCst) < 2 {
            sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(PATIENCE, waiting).await.expect("they are held");
    // Another address, and the same port.
    (pool, calls, listen(2, port).await)
}

#[tokio::test(start_paused = true)]
async fn links_held_while_their_name_moves_follow_it_at_once() {
    const LINKS: u32 = 120;
    let (pool, calls, second) = held(LINKS).await;
    sleep(Duration::from_mins(3)).await;
    assert_eq!(in_phase(&pool, LINKS, Phase::Ready), 0);
    well(second);
    NAME.with(|name| name.send_replace(Some([127, 0, 0, 2].into())));
    let before = calls.load(Ordering::SeqCst);
    let took = until_ready(&pool, LINKS).await;
    // Admission sends somebody to look every five seconds at least.
    assert!(took <= Duration::from_secs(6), "{took:?}");
    assert_eq!(calls.load(Ordering::SeqCst), before, "nobody goes where the name led");
}

#[tokio::test(start_paused = true)]
async fn a_resolver_that_hangs_while_the_name_moves_keeps_nobody_longer_than_it_hangs() {
    const LINKS: u32 = 120;
    let (pool, _, second) = held(LINKS).await;
    well(second);
    NAME.with(|name| name.send_replace(None));
    sleep(Duration::from_mins(2)).await;
    assert_eq!(in_phase(&pool, LINKS, Phase::Ready), 0);
    NAME.with(|name| name.send_replace(Some([127, 0, 0, 2].into())));
    let took = until_ready(&pool, LINKS).await;
    // But for those whose attempt had failed meanwhile, and that wait for their backoff.
    assert!(took <= Duration::from_mins(1), "{took:?}");
}
