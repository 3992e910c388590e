//! A full house: whoever asks for health has an answer, whatever others have taken.

use std::{
    collections::VecDeque,
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};

use tokio::{net::UnixStream, time::Instant};

use crate::support::{PATIENCE, daemon::Daemon, free_port, until};

#[tokio::test]
async fn health_is_served_when_no_file_may_be_opened_any_more() {
    // Links and clients take what there is together: a peer that takes connections and says nothing.
    let port = silent().await;
    let mut daemon = Daemon::made(&format!(
        "max_connections = 1000\nheader_timeout = \"1min\"\n[admission]\nper_host = 1000\ntotal = 1000\n[endpoints.e]\nurl = \"ws://127.0.0.1:{port}/\"\nlinks = 60\nconnect_timeout = \"1min\"\n"
    ));
    daemon.run_under(&["prlimit", "--nofile=160"]);
    daemon.launch();
    daemon.alive().await;
    let socket = daemon.folder().join("api.sock");
    let mut silent = Vec::new();
    for _ in 0..200 {
        silent.push(UnixStream::connect(&socket).await.unwrap());
    }
    for _ in 0..10 {
        daemon.api.get("/livez").await.expect(200);
        daemon.api.get("/readyz").await.expect(200);
    }
    daemon.api.get("/v1/links").await.expect(503);
    drop(silent);
    until("a place", async || {
        let answer = daemon.api.get("/v1/links").await;
        if answer.status == 200 { Ok(()) } else { Err(answer) }
    })
    .await;
}

/// Asks once, by a stream that blocks: where the system's own queue is full, the kernel lets it wait its turn.
fn probe<S: Read + Write>(mut stream: S, path: &str) -> std::io::Result<String> {
    let mut line = String::new();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n")?;
    BufReader::new(stream).read_line(&mut line)?;
    Ok(line)
}

fn by_socket(socket: &Path) -> std::io::Result<std::os::unix::net::UnixStream> {
    let stream = std::os::unix::net::UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    Ok(stream)
}

fn by_tcp(port: u16) -> std::io::Result<TcpStream> {
    let stream = TcpStream::connect_timeout(&([127, 0, 0, 1], port).into(), PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    Ok(stream)
}

/// Clients that connect as fast as they can, and say nothing.
struct Flood {
    over: Arc<AtomicBool>,
    made: Arc<AtomicU64>,
    began: Instant,
    threads: Vec<JoinHandle<()>>,
}

impl Flood {
    /// Begins one, and waits until it runs.
    async fn begin<S: 'static>(connect: impl Fn() -> std::io::Result<S> + Clone + Send + 'static) -> Self {
        let (over, made) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let threads = (0..2).map(|_| {
            let (over, made, connect) = (Arc::clone(&over), Arc::clone(&made), connect.clone());
            std::thread::spawn(move || {
                let mut kept = VecDeque::new();
                while !over.load(Ordering::Relaxed) {
                    if let Ok(stream) = connect() {
                        made.fetch_add(1, Ordering::Relaxed);
                        kept.push_back(stream);
                    }
                    if kept.len() > 200 {
                        kept.pop_front();
                    }
                }
            })
        });
        let flood = Self { threads: threads.collect(), began: Instant::now(), over, made };
        until("a flood", async || {
            let made = flood.made.load(Ordering::Relaxed);
            if made > 1000 { Ok(()) } else { Err(made) }
        })
        .await;
        flood
    }

    /// Ends it; how many a second there were.
    fn end(self) -> u64 {
        self.over.store(true, Ordering::Relaxed);
        for thread in self.threads {
            thread.join().unwrap();
        }
        self.made.load(Ordering::Relaxed) * 1000 / u64::try_from(self.began.elapsed().as_millis()).unwrap().max(1)
    }
}

/// Probes so many times; those that had no 200.
async fn probes<S: Read + Write + 'static>(
    count: usize,
    connect: impl Fn() -> std::io::Result<S> + Clone + Send + 'static,
) -> Vec<String> {
    let mut failed = Vec::new();
    for round in 0..count {
        let (connect, path) = (connect.clone(), if round % 5 == 4 { "/metrics" } else { "/livez" });
        let probing = tokio::task::spawn_blocking(move || probe(connect()?, path));
        match probing.await.unwrap() {
            Ok(line) if line.starts_with("HTTP/1.1 200") => {}
            other => failed.push(format!("{path} {other:?}")),
        }
    }
    failed
}

/// The port of a peer that answers nothing.
async fn silent() -> u16 {
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        let mut kept = Vec::new();
        while let Ok(accepted) = listener.accept().await {
            kept.push(accepted);
        }
    });
    port
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn health_is_served_while_others_connect_as_fast_as_they_can() {
    let daemon =
        Daemon::start("max_connections = 8\nheader_timeout = \"1min\"\n[endpoints.e]\nurl = \"ws://127.0.0.1:1/\"\n")
            .await;
    let socket = daemon.folder().join("api.sock");
    let connect = move || by_socket(&socket);
    let flood = Flood::begin(connect.clone()).await;
    let failed = probes(50, connect).await;
    let rate = flood.end();
    assert!(failed.is_empty(), "{} of 50 failed among {rate} connections a second: {failed:?}", failed.len());
}

/// A daemon on TCP, and its port.
async fn on_tcp(daemon: &mut Daemon) -> u16 {
    let port = free_port();
    let text = format!(
        "[api]\nlisten = \"127.0.0.1:{port}\"\nmax_connections = 8\nheader_timeout = \"1min\"\n[endpoints.e]\nurl = \"ws://127.0.0.1:1/\"\n"
    );
    std::fs::write(daemon.config(), text).unwrap();
    daemon.launch();
    until("an answer", async || match by_tcp(port).and_then(|stream| probe(stream, "/readyz")) {
        Ok(line) if line.starts_with("HTTP/1.1 200") => Ok(()),
        other => Err(other),
    })
    .await;
    port
}

/// Floods it over TCP, for some seconds at most.
async fn health_outlasts_a_flood(port: u16) {
    let connect = move || by_tcp(port);
    let flood = Flood::begin(move || {
        let stream = by_tcp(port)?;
        // Or the ports of the whole system would be in TIME_WAIT soon.
        socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO))?;
        Ok(stream)
    })
    .await;
    let failed = probes(50, connect).await;
    let rate = flood.end();
    eprintln!("{rate} connections a second");
    assert!(failed.is_empty(), "{} of 50 failed among {rate} connections a second: {failed:?}", failed.len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn health_is_served_over_tcp_while_others_connect_as_fast_as_they_can() {
    let mut daemon = Daemon::made("");
    let port = on_tcp(&mut daemon).await;
    health_outlasts_a_flood(port).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn health_is_served_over_tcp_while_others_connect_and_no_file_may_be_opened_any_more() {
    let mut daemon = Daemon::made("");
    daemon.run_under(&["prlimit", "--nofile=160"]);
    let port = on_tcp(&mut daemon).await;
    let silent: Vec<_> = (0..200).map(|_| by_tcp(port).unwrap()).collect();
    health_outlasts_a_flood(port).await;
    drop(silent);
}
