//! A full house: whoever asks for health has an answer, whatever others have taken.

use std::{
    io::{BufRead, BufReader, Write},
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use tokio::net::UnixStream;

use crate::support::{PATIENCE, daemon::Daemon, until};

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

/// Asks once. It blocks: where the system's own queue is full, the kernel lets it wait its turn.
fn probe(socket: &Path) -> std::io::Result<String> {
    let (mut stream, mut line) = (std::os::unix::net::UnixStream::connect(socket)?, String::new());
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n")?;
    BufReader::new(stream).read_line(&mut line)?;
    Ok(line)
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
    let (over, made) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let flood: Vec<_> = (0..2)
        .map(|_| {
            let (over, made, socket) = (Arc::clone(&over), Arc::clone(&made), socket.clone());
            std::thread::spawn(move || {
                let mut kept = std::collections::VecDeque::new();
                while !over.load(Ordering::Relaxed) {
                    if let Ok(stream) = std::os::unix::net::UnixStream::connect(&socket) {
                        made.fetch_add(1, Ordering::Relaxed);
                        kept.push_back(stream);
                    }
                    if kept.len() > 200 {
                        kept.pop_front();
                    }
                }
            })
        })
        .collect();
    until("a flood", async || {
        let made = made.load(Ordering::Relaxed);
        if made > 1000 { Ok(()) } else { Err(made) }
    })
    .await;
    let mut failed = Vec::new();
    for _ in 0..50 {
        let socket = socket.clone();
        match tokio::task::spawn_blocking(move || probe(&socket)).await.unwrap() {
            Ok(line) if line.starts_with("HTTP/1.1 200") => {}
            other => failed.push(format!("{other:?}")),
        }
    }
    over.store(true, Ordering::Relaxed);
    for thread in flood {
        thread.join().unwrap();
    }
    assert!(failed.is_empty(), "{} of 50 failed among {made:?} connections: {failed:?}", failed.len());
}
