//! Durable inboxes: consumers go on by cursor after the daemon was stopped or killed, and are told where they cannot.

use std::{fs, sync::Arc, time::Duration};

use nix::sys::signal::Signal;
use tokio::time::sleep;

use crate::{
    LEAST, QUICK,
    chance::Chance,
    consumer::{By, Consumer, Told, agree, gaps, judge, numbers, read},
    endpoint,
    recorder::Recorder,
    support::{daemon::Daemon, disk::SmallDisk, until},
    teller::Teller,
};

/// An endpoint at this port whose inbox has these lines.
fn inbox(name: &str, port: u16, lines: &str) -> String {
    format!("\n[endpoints.{name}]\nurl = \"ws://127.0.0.1:{port}/\"\n[endpoints.{name}.inbox]\n{lines}\n")
}

const DISK: &str = "durability = \"disk\"\nmax_messages = 100000\nmax_bytes = \"16MiB\"";
const MEMORY: &str = "max_messages = 100000\nmax_bytes = \"16MiB\"";

#[tokio::test]
async fn after_a_clean_restart_a_consumer_that_was_away_has_missed_nothing_but_the_time_without_link() {
    let (teller, forgetful) = (Teller::listen(0).await, Teller::listen(0).await);
    let sections = format!("{QUICK}{}{}", inbox("disk", teller.port, DISK), inbox("memory", forgetful.port, MEMORY));
    let mut daemon = Daemon::start(&sections).await;
    teller.tell(50);
    forgetful.tell(50);
    let before = [read(&daemon.api, "disk", "oldest", 19).await, read(&daemon.api, "memory", "oldest", 19).await];
    read(&daemon.api, "disk", "oldest", 49).await;
    read(&daemon.api, "memory", "oldest", 49).await;
    stop(&mut daemon).await;
    daemon.relaunch().await;
    teller.tell(10);
    forgetful.tell(10);
    let after = read(&daemon.api, "disk", &last(&before[0]), 59).await;
    assert_eq!(numbers(&after), (20..60).collect::<Vec<_>>());
    assert_eq!(gaps(&after), ["link"], "the peer was not heard between 49 and 50, and that is all");
    judge(&[before[0].clone(), after].concat());
    let after = read(&daemon.api, "memory", &last(&before[1]), 59).await;
    assert_eq!((gaps(&after)[0], numbers(&after)[0]), ("restart", 50), "{after:?}");
}

#[tokio::test]
async fn what_was_on_disk_is_there_after_kill_9_and_the_rest_is_a_gap() {
    let teller = Teller::listen(0).await;
    let mut daemon = Daemon::start(&format!("{QUICK}{}", inbox("disk", teller.port, DISK))).await;
    teller.tell(50);
    let before = read(&daemon.api, "disk", "oldest", 19).await;
    let all = read(&daemon.api, "disk", "oldest", 49).await;
    until_stored(&daemon).await;
    daemon.kill();
    daemon.relaunch().await;
    teller.tell(10);
    let after = read(&daemon.api, "disk", &last(&before), 59).await;
    assert_eq!(numbers(&after), (20..60).collect::<Vec<_>>());
    assert_eq!(gaps(&after), ["restart", "link"]);
    // Who was up to date is told of the same gap: nobody can know that nothing came after 49.
    let after = read(&daemon.api, "disk", &last(&all), 59).await;
    assert_eq!((numbers(&after), gaps(&after)), ((50..60).collect(), vec!["restart", "link"]));
}

#[tokio::test]
async fn consumers_account_for_everything_however_the_daemon_ends() {
    let chance = Chance::new("inboxes");
    let times = std::env::var("WSKEEPER_CRASHES").ok().and_then(|times| times.parse().ok()).unwrap_or(12);
    let (teller, small) = (Teller::listen(0).await, Teller::listen(200).await);
    // The small one's window moves on all the time.
    let little = "durability = \"disk\"\nmax_messages = 20";
    let sections = format!("{QUICK}{}{}", inbox("disk", teller.port, DISK), inbox("small", small.port, little));
    let mut daemon = Daemon::start(&sections).await;
    let consumers: Vec<_> = [("disk", By::Events), ("disk", By::Socket), ("small", By::Events)]
        .map(|(name, by)| Consumer::follow(&daemon.api, name, by))
        .into();
    teller.tell_on();
    small.tell_on();
    for _ in 0..times {
        sleep(Duration::from_millis(chance.below(500))).await;
        if chance.once_in(4) {
            stop(&mut daemon).await;
        } else {
            daemon.kill();
        }
        daemon.launch();
        if !chance.once_in(5) {
            daemon.alive().await;
        }
    }
    daemon.alive().await;
    daemon.api.ready_after("disk/0", 0).await;
    daemon.api.ready_after("small/0", 0).await;
    let marks = [teller.told() + 50, teller.told() + 50, small.told() + 50];
    for (consumer, mark) in consumers.iter().zip(marks) {
        consumer.until_told(mark).await;
    }
    let told: Vec<_> = consumers.iter().map(Consumer::told).collect();
    for told in &told {
        judge(told);
    }
    agree(&told[..2]);
    let all = read(&daemon.api, "disk", "oldest", *numbers(&told[0]).last().unwrap()).await;
    agree(&[told[0].clone(), told[1].clone(), all]);
    assert!(gaps(&told[0]).contains(&"restart"), "nothing was tried");
}

#[tokio::test]
async fn an_inbox_on_a_full_disk_goes_on_in_memory_and_its_consumers_are_told_after_a_restart() {
    let (teller, recorder) = (Teller::listen(20_000).await, Recorder::listen().await);
    let sections = format!("{QUICK}{}{}", inbox("disk", teller.port, DISK), endpoint("out", recorder.port, LEAST));
    let mut daemon = Daemon::made(&sections);
    let store = daemon.folder().join("store");
    let Some(disk) = SmallDisk::mount(&store, "8m") else { return };
    fs::write(store.join("somebody's"), vec![0; 5 << 20]).unwrap();
    daemon.launch();
    daemon.ready().await;
    teller.tell(300);
    let seen = read(&daemon.api, "disk", "oldest", 299).await;
    assert_eq!(numbers(&seen), (0..300).collect::<Vec<_>>(), "consumers notice nothing");
    until("a refusal", || async {
        let refused = daemon.api.metric("wskeeper_inbox_store_refused_total{endpoint=\"disk\"}").await;
        if refused > Some(0.0) { Ok(()) } else { Err(refused) }
    })
    .await;
    assert!(daemon.api.get("/v1/store").await.expect(200).json()["inboxFailure"].is_string());
    daemon.api.ready_after("disk/0", 0).await;
    stop(&mut daemon).await;
    daemon.relaunch().await;
    teller.tell(1);
    let after = read(&daemon.api, "disk", &last(&seen), 300).await;
    assert_eq!(gaps(&after)[0], "restart", "{after:?}");
    fs::remove_file(store.join("somebody's")).unwrap();
    until_stored(&daemon).await;
    assert!(daemon.api.get("/v1/store").await.expect(200).json()["inboxFailure"].is_null());
    drop(daemon);
    drop(disk);
}

#[tokio::test]
async fn a_reload_can_make_an_inbox_durable_and_take_it_off_the_disk_again() {
    let teller = Teller::listen(0).await;
    let sections = |lines| format!("{QUICK}{}", inbox("e", teller.port, lines));
    let mut daemon = Daemon::start(&sections(MEMORY)).await;
    teller.tell(10);
    let seen = read(&daemon.api, "e", "oldest", 4).await;
    read(&daemon.api, "e", "oldest", 9).await;
    daemon.configure(&sections(DISK));
    daemon.api.post("/v1/reload", &[], "").await.expect(200);
    until_stored(&daemon).await;
    let bytes = |daemon: &Daemon| {
        let api = daemon.api.clone();
        async move { api.metric("wskeeper_store_inbox_bytes").await.unwrap() }
    };
    assert!(bytes(&daemon).await > 0.0);
    stop(&mut daemon).await;
    daemon.relaunch().await;
    let again = read(&daemon.api, "e", &last(&seen), 9).await;
    assert_eq!((numbers(&again), gaps(&again)), ((5..10).collect(), vec![]));
    daemon.configure(&sections(MEMORY));
    daemon.api.post("/v1/reload", &[], "").await.expect(200);
    until("an empty store", || async {
        let bytes = bytes(&daemon).await;
        if bytes == 0.0 { Ok(()) } else { Err(bytes) }
    })
    .await;
    assert_eq!(numbers(&read(&daemon.api, "e", "oldest", 9).await), (0..10).collect::<Vec<_>>());
}

/// Asks the daemon to stop, and waits until it has.
async fn stop(daemon: &mut Daemon) {
    daemon.signal(Signal::SIGTERM);
    assert!(daemon.end().await.success());
}

/// Waits until every entry is on disk.
async fn until_stored(daemon: &Daemon) {
    let api = Arc::new(daemon.api.clone());
    until("all entries on disk", || async {
        let text = String::from_utf8(api.get("/metrics").await.expect(200).body.to_vec()).unwrap();
        let behind = |line: &&str| line.starts_with("wskeeper_inbox_unstored_entries{") && !line.ends_with(" 0");
        let status = api.get("/v1/store").await.expect(200).json();
        let is_begun = status["inboxBytes"].as_u64() > Some(0);
        if text.lines().any(|line| behind(&line)) || !is_begun { Err((text.len(), status)) } else { Ok(()) }
    })
    .await;
}

/// The cursor that its reader would come back with.
fn last(told: &[Told]) -> String {
    match told.last().expect("something") {
        Told::Number(_, cursor) | Told::Gap(_, cursor) => cursor.to_string(),
    }
}
