//! Somebody outside does not take what the daemon says, or does not give what it asks for: no link, no probe and no end waits for that.

use std::{
    fs::{self, File, OpenOptions},
    io::Write,
    os::{
        fd::OwnedFd,
        unix::{fs::MetadataExt, net::UnixDatagram},
    },
    path::{Path, PathBuf},
    time::Duration,
};

use nix::sys::signal::Signal;
use rustix::fs::{CWD, FileType, Mode, OFlags, fcntl_setfl, mknodat};
use serde_json::Value;
use tokio::io::AsyncWriteExt;

use crate::{
    QUICK, one,
    support::{
        PATIENCE,
        daemon::Daemon,
        raw::{self, Raw},
        until,
    },
};

/// A pipe that is full. Who holds its first end and does not read is the reader that stalls.
fn full_pipe() -> (OwnedFd, OwnedFd) {
    let (reader, writer) = std::io::pipe().unwrap();
    fcntl_setfl(&writer, OFlags::NONBLOCK).unwrap();
    let mut file = File::from(OwnedFd::from(writer));
    while file.write(&[b'.'; 512]).is_ok() {}
    fcntl_setfl(&file, OFlags::empty()).unwrap();
    (reader.into(), file.into())
}

fn make_pipe(path: &Path) {
    mknodat(CWD, path, FileType::Fifo, Mode::RWXU, 0).unwrap();
}

/// A datagram socket at this path that takes nothing more.
fn full_socket(path: &Path) -> UnixDatagram {
    let listener = UnixDatagram::bind(path).unwrap();
    let sender = UnixDatagram::unbound().unwrap();
    sender.set_nonblocking(true).unwrap();
    while sender.send_to(b"X=1\n", path).is_ok() {}
    listener
}

/// Links are made, pings are answered, probes are answered, and the daemon ends when it is told to.
async fn all_goes_on(daemon: &mut Daemon, peer: &Raw) {
    daemon.launch();
    daemon.ready().await;
    for round in 0_u8..8 {
        let (mut stream, request) = peer.accept().await;
        Raw::upgrade(&mut stream, &request).await.unwrap();
        stream.write_all(&[0x89, 1, round]).await.unwrap();
        let pong = async {
            while let Some((first, body)) = raw::read_frame(&mut stream).await {
                if first & 0x0f == 10 {
                    return body;
                }
            }
            panic!("the daemon hung up");
        };
        assert_eq!(tokio::time::timeout(PATIENCE, pong).await.expect("a pong"), [round]);
        daemon.api.get("/livez").await.expect(200);
        daemon.api.post("/v1/links/e/0/reconnect", &[], "").await;
    }
    daemon.signal(Signal::SIGTERM);
    assert!(daemon.end().await.success());
}

fn sections(peer: &Raw) -> String {
    format!("{QUICK}{}\n[limits]\ndrain = \"1s\"", one(peer.port, ""))
}

#[tokio::test]
async fn a_log_that_nobody_reads_holds_up_nothing() {
    let peer = Raw::listen().await;
    let mut daemon = Daemon::made(&sections(&peer));
    let (_reader, writer) = full_pipe();
    daemon.log_to(writer);
    all_goes_on(&mut daemon, &peer).await;
}

#[tokio::test]
async fn a_journal_that_reads_nothing_holds_up_nothing() {
    if fs::metadata("/proc/self").unwrap().uid() != 0 {
        eprintln!("skipped: only root may put a journal of its own in place");
        return;
    }
    let peer = Raw::listen().await;
    let mut daemon = Daemon::made(&sections(&peer));
    let path = daemon.folder().join("journal");
    let _journal = full_socket(&path);
    let mount = format!(
        "mount -t tmpfs none /run && mkdir -p /run/systemd/journal && ln -s {} /run/systemd/journal/socket && exec \"$0\" \"$@\"",
        path.display()
    );
    daemon.run_under(&["unshare", "--mount", "sh", "-c", &mount]);
    daemon.set_variable("JOURNAL_STREAM", "1:1");
    all_goes_on(&mut daemon, &peer).await;
    assert!(!daemon.log().contains("cannot be reached"), "it logged to the journal");
}

/// Makes connections, and with them lines, until `is` says that it is enough.
async fn talk(daemon: &Daemon, peer: &Raw, what: &str, is: impl AsyncFn() -> bool) {
    let talking = async {
        while !is().await {
            let (mut stream, request) = peer.accept().await;
            Raw::upgrade(&mut stream, &request).await.unwrap();
            daemon.api.post("/v1/links/e/0/reconnect", &[], "").await.expect(200);
        }
    };
    tokio::time::timeout(PATIENCE, talking).await.unwrap_or_else(|_| panic!("waited in vain for {what}"));
}

/// The log's file takes no more, the daemon goes on and counts; there is room again, and the log says how much is missing.
async fn a_full_disk_holds_up_nothing(daemon: &mut Daemon, peer: &Raw, log: impl Fn(&Daemon) -> PathBuf) {
    daemon.launch();
    daemon.ready().await;
    let dropped =
        async || daemon.api.metric("wskeeper_log_lines_dropped_total").await.is_some_and(|lines| lines > 20.0);
    talk(daemon, peer, "lines that found no room", dropped).await;
    for path in ["/livez", "/readyz"] {
        daemon.api.get(path).await.expect(200);
    }
    let log = log(daemon);
    let full = fs::metadata(&log).unwrap().len();
    assert!((1..=ROOM).contains(&full), "{full}");
    OpenOptions::new().write(true).open(&log).unwrap().set_len(0).unwrap();
    let told = async || fs::read_to_string(&log).unwrap().contains("were dropped while the log was not read");
    talk(daemon, peer, "what is missing", told).await;
    daemon.signal(Signal::SIGTERM);
    assert!(daemon.end().await.success());
}

/// What the log may have, in bytes.
const ROOM: u64 = 16 << 10;

#[tokio::test]
async fn a_log_on_a_disk_that_is_full_holds_up_nothing() {
    if fs::metadata("/proc/self").unwrap().uid() != 0 {
        eprintln!("skipped: only root may mount a small disk");
        return;
    }
    let peer = Raw::listen().await;
    let mut daemon = Daemon::made(&sections(&peer));
    let disk = daemon.folder().join("disk");
    fs::create_dir(&disk).unwrap();
    let log = disk.join("log");
    let mount =
        format!("mount -t tmpfs -o size={ROOM} none {} && exec \"$0\" \"$@\" 2>>{}", disk.display(), log.display());
    daemon.run_under(&["unshare", "--mount", "sh", "-c", &mount]);
    // The disk is in the daemon's own world.
    let seen = |daemon: &Daemon| PathBuf::from(format!("/proc/{}/root{}", daemon.id(), log.display()));
    a_full_disk_holds_up_nothing(&mut daemon, &peer, seen).await;
}

#[tokio::test]
async fn a_log_that_may_not_grow_holds_up_nothing() {
    let peer = Raw::listen().await;
    let mut daemon = Daemon::made(&sections(&peer));
    let log = daemon.folder().join("limited");
    let file = OpenOptions::new().create(true).append(true).open(&log).unwrap();
    daemon.log_to(file.into());
    daemon.run_under(&["prlimit", &format!("--fsize={ROOM}")]);
    a_full_disk_holds_up_nothing(&mut daemon, &peer, |_| log.clone()).await;
}

#[tokio::test]
async fn a_service_manager_that_reads_nothing_holds_up_nothing() {
    let peer = Raw::listen().await;
    let mut daemon = Daemon::made(&sections(&peer));
    let path = daemon.folder().join("notify");
    let _manager = full_socket(&path);
    daemon.set_variable("NOTIFY_SOCKET", path.to_str().unwrap());
    all_goes_on(&mut daemon, &peer).await;
}

#[tokio::test]
async fn faults_at_the_start_end_the_daemon_though_nobody_reads_them() {
    let mut daemon = Daemon::made("listen_on = 1");
    let (_reader, writer) = full_pipe();
    daemon.log_to(writer);
    daemon.launch();
    assert_eq!(daemon.end().await.code(), Some(2));
}

#[tokio::test]
async fn a_secret_or_a_configuration_that_is_a_pipe_is_refused_and_waited_for_by_nobody() {
    let port = raw::honest().await;
    let hung = format!(
        "[endpoints.hung]\nurl = \"ws://127.0.0.1:{port}/\"\nlinks = 3\nheaders = {{ X-Key = \"${{file:{{folder}}/pipe}}\" }}\n"
    );
    let mut daemon = Daemon::made(&format!("{QUICK}{}{hung}", one(port, "")));
    make_pipe(&daemon.folder().join("pipe"));
    daemon.launch();
    daemon.ready().await;
    daemon.api.ready_after("e/0", 0).await;
    let said = daemon.api.link_until("hung/0", "its end", |link| link["lastClose"]["cause"] == "secret").await;
    let explained = daemon.api.get("/v1/links/hung/0/explain").await.expect(200).json();
    assert!(explained["ended"].as_str().unwrap().contains("is a pipe, "), "{said} {explained}");

    fs::remove_file(daemon.config()).unwrap();
    make_pipe(&daemon.config());
    let answer = tokio::time::timeout(PATIENCE, daemon.api.post("/v1/reload", &[], "")).await.expect("an answer");
    assert!(answer.expect(422).json().to_string().contains("is a pipe, "));
}

/// What the service manager has heard since the last call.
fn heard(manager: &UnixDatagram) -> Vec<String> {
    let mut buffer = [0; 4096];
    std::iter::from_fn(|| manager.recv(&mut buffer).ok().map(|length| buffer[..length].to_vec()))
        .map(|message| String::from_utf8(message).unwrap())
        .collect()
}

#[tokio::test]
async fn a_process_that_was_stopped_for_a_while_is_not_wedged_when_it_runs_again() {
    let port = raw::honest().await;
    let mut daemon = Daemon::made(&format!("{QUICK}{}", one(port, "links = 4")));
    let path = daemon.folder().join("notify");
    let manager = UnixDatagram::bind(&path).unwrap();
    manager.set_nonblocking(true).unwrap();
    daemon.set_variable("NOTIFY_SOCKET", path.to_str().unwrap());
    daemon.set_variable("WATCHDOG_USEC", "3000000");
    daemon.launch();
    daemon.ready().await;
    daemon.api.ready_after("e/3", 0).await;
    daemon.signal(Signal::SIGSTOP);
    // Not to wait for anything: this is how long it is stopped, and beyond all tolerance.
    tokio::time::sleep(Duration::from_secs(8)).await;
    let _before = heard(&manager);
    daemon.signal(Signal::SIGCONT);
    daemon.api.get("/livez").await.expect(200);
    let mut since = Vec::new();
    until("two signs of life", || {
        since.extend(heard(&manager));
        let signs = since.iter().filter(|message| message.contains("WATCHDOG=1")).count();
        std::future::ready(if signs >= 2 { Ok(()) } else { Err(since.clone()) })
    })
    .await;
    assert!(!since.iter().any(|message| message.contains("wedged")), "{since:?}");
    let log = daemon.log();
    assert!(log.contains("the process did not run for"), "{log}");
    let wedged = |line: &&str| serde_json::from_str::<Value>(line).is_ok_and(|line| line["wedged"].is_string());
    assert_eq!(log.lines().find(wedged), None);
}
