//! Disks that fail: a sync that is refused, no space, nothing that may be written, files that are not a store.
//!
//! Whatever it is, durable messages are refused with the reason, all others go on, and nothing on disk is deleted.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
    process::Command,
};

use crate::{
    LEAST, QUICK, endpoint,
    recorder::Recorder,
    support::{api::Answer, daemon::Daemon, disk::SmallDisk, free_port, until},
};

/// Two endpoints: `disk` and `memory`.
fn both(disk: u16, memory: u16) -> String {
    format!("{QUICK}{}{}", endpoint("disk", disk, LEAST), endpoint("memory", memory, ""))
}

#[tokio::test]
async fn after_a_sync_that_failed_durable_messages_are_refused_and_what_was_acknowledged_survives() {
    if !has("strace") {
        return;
    }
    let (disk, memory) = (Recorder::listen().await, Recorder::listen().await);
    // The store's own making syncs a few times; the count is far beyond it.
    let mut daemon = Daemon::made(&both(free_port(), memory.port));
    let trace = daemon.folder().join("trace").display().to_string();
    let inject = "inject=fdatasync,fsync:error=EIO:when=30";
    // -D: the daemon stays our child, and the tracer its own.
    daemon.run_under(&["strace", "-D", "-f", "-qq", "-e", "trace=fdatasync,fsync", "-e", inject, "-o", &trace]);
    daemon.launch();
    daemon.ready().await;
    let mut accepted = Vec::new();
    let refused = loop {
        let text = format!("message {}", accepted.len());
        let answer = daemon.api.send_text("disk", &text).await;
        if answer.status != 202 {
            break answer;
        }
        accepted.push(text);
        assert!(accepted.len() < 100, "no sync has failed");
    };
    assert_unavailable(&refused, "out of order until a restart");
    assert_degraded(&daemon, &memory, "out of order until a restart").await;
    // A later sync would work again: it must not be believed.
    assert_unavailable(&daemon.api.send_text("disk", "later").await, "out of order until a restart");
    // The one that was under way when the disk failed may be there: nobody said yes to it.
    let uncertain = format!("message {}", accepted.len());
    assert_survived(daemon, (&disk, &memory), accepted, &uncertain).await;
}

#[tokio::test]
async fn after_writes_that_were_cut_short_nothing_that_was_acknowledged_is_missing() {
    let (disk, memory) = (Recorder::listen().await, Recorder::listen().await);
    let mut daemon = Daemon::made(&both(free_port(), memory.port));
    // The system writes what fits below a limit that no page ends at, and says how little that was.
    daemon.run_under(&["sh", "-c", "trap '' XFSZ; ulimit -f 901; exec \"$@\"", "sh"]);
    daemon.launch();
    daemon.ready().await;
    let mut accepted = Vec::new();
    let refused = loop {
        let text = format!("message {} {}", accepted.len(), "x".repeat(3000));
        let answer = daemon.api.send_text("disk", &text).await;
        if answer.status != 202 {
            break answer;
        }
        accepted.push(text);
        assert!(accepted.len() < 900, "no write was cut short");
    };
    assert_unavailable(&refused, "store");
    assert_degraded(&daemon, &memory, "store").await;
    assert_survived(daemon, (&disk, &memory), accepted, "").await;
}

/// Starts the daemon anew on a disk that works: all that was accepted arrives, in order and once, but perhaps `uncertain`.
async fn assert_survived(
    mut daemon: Daemon,
    (disk, memory): (&Recorder, &Recorder),
    mut accepted: Vec<String>,
    uncertain: &str,
) {
    daemon.kill();
    daemon.run_under(&[]);
    daemon.configure(&both(disk.port, memory.port));
    daemon.relaunch().await;
    daemon.ready().await;
    daemon.api.send_text("disk", "after").await.expect(202);
    until("all that was accepted", || async {
        let texts = disk.first_arrivals();
        if texts.last().is_some_and(|last| last == "after") { Ok(()) } else { Err(texts.len()) }
    })
    .await;
    let texts: Vec<String> = disk.texts().into_iter().filter(|text| text != uncertain).collect();
    accepted.push("after".to_owned());
    assert_eq!(texts, accepted);
}

#[tokio::test]
async fn a_store_that_is_full_refuses_until_what_it_holds_has_gone_out() {
    let recorder = Recorder::listen().await;
    recorder.stall(true);
    let sections = both(recorder.port, free_port()).replace("[limits]", "max_bytes = \"2MiB\"\n[limits]");
    let daemon = Daemon::start(&sections).await;
    let mut accepted = fill(&daemon, "max_bytes of the store").await;
    recorder.stall(false);
    accepts_again(&daemon, &recorder, &mut accepted).await;
}

#[tokio::test]
async fn a_disk_without_space_refuses_until_there_is_some_again() {
    let recorder = Recorder::listen().await;
    recorder.stall(true);
    let mut daemon = Daemon::made(&both(recorder.port, free_port()));
    let store = daemon.folder().join("store");
    let Some(disk) = SmallDisk::mount(&store, "8m") else { return };
    fs::write(store.join("somebody's"), vec![0; 5 << 20]).unwrap();
    daemon.launch();
    daemon.ready().await;
    let mut accepted = fill(&daemon, "full").await;
    recorder.stall(false);
    until("what was held", || async {
        let texts = recorder.first_arrivals();
        if texts == accepted { Ok(()) } else { Err((texts.len(), accepted.len())) }
    })
    .await;
    fs::remove_file(store.join("somebody's")).unwrap();
    accepts_again(&daemon, &recorder, &mut accepted).await;
    drop(daemon);
    drop(disk);
}

#[tokio::test]
async fn a_folder_that_is_moved_refuses_until_it_is_back_and_one_that_is_removed_until_a_restart() {
    let (disk, memory) = (Recorder::listen().await, Recorder::listen().await);
    let mut daemon = Daemon::start(&both(disk.port, memory.port)).await;
    let (store, elsewhere) = (daemon.folder().join("store"), daemon.folder().join("elsewhere"));
    daemon.api.send_text("disk", "one").await.expect(202);
    fs::rename(&store, &elsewhere).unwrap();
    unready(&daemon, "not where it was").await;
    assert_unavailable(&daemon.api.send_text("disk", "nobody would find it").await, "not where it was");
    fs::rename(&elsewhere, &store).unwrap();
    daemon.ready().await;
    daemon.api.send_text("disk", "two").await.expect(202);
    disk.until_exactly(&["one".to_owned(), "two".to_owned()]).await;
    fs::remove_dir_all(&store).unwrap();
    unready(&daemon, "removed while it was in use").await;
    assert_unavailable(&daemon.api.send_text("disk", "nobody would find it").await, "removed while it was in use");
    assert_degraded(&daemon, &memory, "removed while it was in use").await;
    daemon.kill();
    daemon.relaunch().await;
    daemon.ready().await;
    daemon.api.send_text("disk", "three").await.expect(202);
    disk.until_exactly(&["one".to_owned(), "two".to_owned(), "three".to_owned()]).await;
}

/// Waits until readiness tells of it, without a message that is sent.
async fn unready(daemon: &Daemon, why: &str) {
    until("a daemon that is not ready", || async {
        let answer = daemon.api.get("/readyz").await;
        let is_told =
            answer.status == 503 && answer.json()["detail"].as_str().is_some_and(|detail| detail.contains(why));
        if is_told { Ok(()) } else { Err(answer) }
    })
    .await;
}

#[tokio::test]
async fn a_folder_that_may_not_be_written_takes_only_durable_messages_down() {
    let mut daemon = Daemon::made("");
    let memory = Recorder::listen().await;
    let store = daemon.folder().join("store");
    fs::create_dir(&store).unwrap();
    // Root may write anywhere, but for a file system that nobody may write.
    let disk = if is_root() { SmallDisk::mount_read_only(&store) } else { None };
    if is_root() && disk.is_none() {
        return;
    }
    fs::set_permissions(&store, fs::Permissions::from_mode(0o500)).ok();
    daemon.configure(&both(free_port(), memory.port));
    daemon.relaunch().await;
    let why = if disk.is_some() { "read-only file system" } else { "no permission" };
    assert_unavailable(&daemon.api.send_text("disk", "one").await, why);
    assert_degraded(&daemon, &memory, why).await;
    drop(daemon);
    fs::set_permissions(&store, fs::Permissions::from_mode(0o700)).ok();
    drop(disk);
}

#[tokio::test]
async fn a_file_that_is_no_store_is_left_as_it_is() {
    let memory = Recorder::listen().await;
    let mut daemon = Daemon::made(&both(free_port(), memory.port));
    let store = daemon.folder().join("store");
    fs::create_dir(&store).unwrap();
    fs::write(store.join("store.sqlite"), "somebody's diary, and not a short one\n".repeat(50)).unwrap();
    assert_left_alone(&mut daemon, &memory, "is not a store of wskeeper").await;
}

#[tokio::test]
async fn a_damaged_store_is_left_as_it_is() {
    let memory = Recorder::listen().await;
    let mut daemon = Daemon::start(&both(free_port(), memory.port)).await;
    for number in 0..200 {
        daemon.api.send_text("disk", &format!("{number} {}", "x".repeat(500))).await.expect(202);
    }
    daemon.signal(nix::sys::signal::Signal::SIGTERM);
    assert!(daemon.end().await.success());
    let file = daemon.folder().join("store/store.sqlite");
    let mut bytes = fs::read(&file).unwrap();
    // The last one: pages that grew keep stale copies of the first ones.
    let at = bytes.windows(20).rposition(|window| window == [b'x'; 20]).expect("a message in the file");
    bytes[at] = b'y';
    fs::write(&file, bytes).unwrap();
    assert_left_alone(&mut daemon, &memory, "is damaged").await;
}

#[tokio::test]
async fn a_second_daemon_in_the_same_folder_leaves_the_store_to_the_first() {
    let (disk, memory) = (Recorder::listen().await, Recorder::listen().await);
    disk.stall(true);
    let first = Daemon::start(&both(disk.port, free_port())).await;
    first.api.send_text("disk", "one").await.expect(202);
    let shared = first.folder().display().to_string();
    let mut second = Daemon::made(&both(disk.port, memory.port).replace("{folder}", &shared));
    second.relaunch().await;
    let answer = second.api.send_text("disk", "stolen").await;
    assert_unavailable(&answer, "another wskeeper (process ");
    assert_degraded(&second, &memory, "another wskeeper").await;
    first.api.send_text("disk", "two").await.expect(202);
    drop(second);
    disk.stall(false);
    disk.until_exactly(&["one".to_owned(), "two".to_owned()]).await;
}

/// Fills the store while the peer is deaf, until it refuses. Answers with what was accepted.
async fn fill(daemon: &Daemon, why: &str) -> Vec<String> {
    let mut accepted = Vec::new();
    let refused = loop {
        let text = format!("{:04} {}", accepted.len(), "x".repeat(20_000));
        let answer = daemon.api.send_text("disk", &text).await;
        if answer.status != 202 {
            break answer;
        }
        accepted.push(text);
        assert!(accepted.len() < 400, "never full");
    };
    assert!(accepted.len() > 20, "full after {}", accepted.len());
    assert_unavailable(&refused, why);
    daemon.api.send_text("memory", "goes on").await.expect(202);
    assert_eq!(daemon.api.metric("wskeeper_store_up").await, Some(0.0));
    assert!(daemon.api.get("/readyz").await.expect(503).json()["detail"].as_str().unwrap().contains(why));
    accepted
}

/// Durable messages are taken again without a restart, and everything accepted arrives.
async fn accepts_again(daemon: &Daemon, recorder: &Recorder, accepted: &mut Vec<String>) {
    until("room for another message", || async {
        let answer = daemon.api.send_text("disk", "again").await;
        if answer.status == 202 { Ok(()) } else { Err(answer) }
    })
    .await;
    accepted.push("again".to_owned());
    until("all that was accepted, in order", || async {
        let texts = recorder.first_arrivals();
        if texts == *accepted { Ok(()) } else { Err((texts.len(), accepted.len())) }
    })
    .await;
    until("a store that takes messages", || async {
        let ready = daemon.api.get("/readyz").await;
        if ready.status == 200 { Ok(()) } else { Err(ready) }
    })
    .await;
    assert_eq!(daemon.api.metric("wskeeper_store_up").await, Some(1.0));
}

/// Starts the daemon on what is in its folder: durable messages are refused, others go on, and no byte has changed.
async fn assert_left_alone(daemon: &mut Daemon, memory: &Recorder, why: &str) {
    let store = daemon.folder().join("store");
    let before = contents(&store);
    daemon.relaunch().await;
    assert_unavailable(&daemon.api.send_text("disk", "one").await, why);
    assert_degraded(daemon, memory, why).await;
    assert!(daemon.log().contains(why), "{}", daemon.log());
    daemon.signal(nix::sys::signal::Signal::SIGTERM);
    assert!(daemon.end().await.success());
    let after = contents(&store);
    assert_eq!(before.keys().collect::<Vec<_>>(), after.keys().collect::<Vec<_>>());
    assert!(before == after, "a file has changed");
}

#[track_caller]
fn assert_unavailable(answer: &Answer, why: &str) {
    let problem = answer.json();
    assert_eq!((answer.status, &problem["type"]), (503, &"urn:wskeeper:problem:store-unavailable".into()), "{problem}");
    assert!(problem["detail"].as_str().unwrap().contains(why), "{problem}");
}

/// The daemon says why, and a message that needs no disk arrives.
async fn assert_degraded(daemon: &Daemon, memory: &Recorder, why: &str) {
    let ready = daemon.api.get("/readyz").await.expect(503).json();
    assert!(ready["detail"].as_str().unwrap().contains(why), "{ready}");
    assert_eq!(daemon.api.metric("wskeeper_store_up").await, Some(0.0));
    daemon.api.send_text("memory", "goes on").await.expect(202);
    memory.until_exactly(&["goes on".to_owned()]).await;
}

/// Everything in a folder but empty files and the lock, which says who has it.
fn contents(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let files =
        entries.filter(|path| !path.ends_with("wskeeper.lock")).map(|path| (path.clone(), fs::read(path).unwrap()));
    files.filter(|(_, bytes)| !bytes.is_empty()).collect()
}

fn is_root() -> bool {
    fs::metadata("/proc/self").unwrap().uid() == 0
}

fn has(program: &str) -> bool {
    let there = Command::new(program).arg("-V").output().is_ok_and(|output| output.status.success());
    if !there {
        assert!(std::env::var_os("WSKEEPER_TEST_REAL").is_none(), "{program} is missing: tests/run installs it");
        eprintln!("skipped: {program} is not installed");
    }
    there
}
