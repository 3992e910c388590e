//! Each message of the notify protocol, in its order.

use std::time::Duration;

use nix::sys::signal::Signal;

use crate::{
    manager::Manager,
    support::{daemon::Daemon, free_port, until},
};

/// Nobody listens there.
fn sections(links: u32) -> String {
    let port = free_port();
    format!("[limits]\ndrain = \"3s\"\n[endpoints.e]\nurl = \"ws://127.0.0.1:{port}/\"\nlinks = {links}\n")
}

#[tokio::test]
async fn a_life_is_told_message_by_message() {
    let mut daemon = Daemon::made(&sections(2));
    let manager = Manager::on_a_path(&mut daemon);
    daemon.launch();
    assert_eq!(manager.next().await, ["STATUS=starting 2 links"]);
    let ready = manager.next().await;
    assert_eq!((ready.len(), ready[0].as_str()), (2, "READY=1"));
    assert!(ready[1].starts_with("STATUS=0 of 2 links ready; "), "{ready:?}");
    // Not before it listens: what was told to be ready answers at the first try.
    daemon.api.try_get("/livez").await.unwrap().expect(200);

    let before = monotonic();
    daemon.signal(Signal::SIGHUP);
    reloads(&manager, before).await;

    daemon.signal(Signal::SIGTERM);
    let stopping = manager.word().await;
    assert_eq!(stopping[..2], ["STOPPING=1", "EXTEND_TIMEOUT_USEC=13000000"], "the drain, and a little for the rest");
    assert!(stopping[2].starts_with("STATUS=draining; "), "{stopping:?}");
    assert!(daemon.end().await.success());
    while let Some(message) = manager.within(Duration::ZERO).await {
        assert!(message.iter().all(|line| line.starts_with("STATUS=") || line == "WATCHDOG=1"), "{message:?}");
    }
}

#[tokio::test]
async fn a_refused_reload_ends_in_ready_and_stays_in_the_status_until_one_succeeds() {
    let good = sections(1);
    let mut daemon = Daemon::made(&good);
    let manager = Manager::abstract_one(&mut daemon);
    daemon.launch();
    assert_eq!(manager.word().await[0], "READY=1");
    daemon.configure("[endpoints.e]\nurl = \"nonsense\"\n");
    for _ in 0..2 {
        let before = monotonic();
        daemon.signal(Signal::SIGHUP);
        let ready = reloads(&manager, before).await;
        assert!(ready[1].starts_with("STATUS=reload refused: "), "{ready:?}");
        assert!(ready[1].contains("endpoints.e.url"), "{ready:?}");
    }
    daemon.configure(&good);
    let before = monotonic();
    // However it is asked for.
    let (answer, ready) = tokio::join!(daemon.api.post("/v1/reload", &[], ""), reloads(&manager, before));
    answer.expect(200);
    assert!(ready[1].starts_with("STATUS=0 of 1 link ready"), "{ready:?}");
}

#[tokio::test]
async fn the_status_follows_the_links() {
    let port = free_port();
    let endpoint = format!("[defaults.reconnect]\nfirst = \"50ms\"\n[endpoints.e]\nurl = \"ws://127.0.0.1:{port}/\"\n");
    let mut daemon = Daemon::made(&endpoint);
    let manager = Manager::on_a_path(&mut daemon);
    daemon.launch();
    manager.line("STATUS=0 of 1 link ready; 1 waiting").await;
    daemon.api.post("/v1/endpoints/e/messages", &[], "hello").await.expect(202);
    manager.line("STATUS=0 of 1 link ready; 1 waiting; 1 message queued").await;
    daemon.api.post("/v1/links/e/0/pause", &[], "").await;
    manager.line("STATUS=0 of 1 link ready; 1 paused; 1 message queued").await;
}

#[tokio::test]
async fn a_healthy_daemon_feeds_its_watchdog_again_and_again() {
    let mut daemon = Daemon::made(&sections(3));
    let manager = Manager::on_a_path(&mut daemon);
    daemon.set_variable("WATCHDOG_USEC", "900000");
    daemon.launch();
    for _ in 0..4 {
        manager.line("WATCHDOG=1").await;
    }
}

#[tokio::test]
async fn a_watchdog_that_is_meant_for_another_process_is_not_fed() {
    let mut daemon = Daemon::made(&sections(1));
    let manager = Manager::on_a_path(&mut daemon);
    daemon.set_variable("WATCHDOG_USEC", "30000");
    daemon.set_variable("WATCHDOG_PID", "1");
    daemon.launch();
    assert_eq!(manager.word().await[0], "READY=1");
    daemon.ready().await;
    // The link comes and goes meanwhile, as the status tells; the first look would have been at once.
    daemon.api.post("/v1/links/e/0/pause", &[], "").await;
    let mut said = Vec::new();
    while !said.iter().any(|line: &String| line.contains("1 paused")) {
        said.extend(manager.next().await);
    }
    assert!(!said.iter().any(|line| line == "WATCHDOG=1"), "{said:?}");
}

#[tokio::test]
async fn a_manager_that_has_gone_is_no_reason_to_stop() {
    let mut daemon = Daemon::made(&sections(1));
    let manager = Manager::on_a_path(&mut daemon);
    daemon.launch();
    assert_eq!(manager.word().await[0], "READY=1");
    drop(manager);
    daemon.api.post("/v1/reload", &[], "").await.expect(200);
    until("a word about it", || async {
        daemon.log().contains("the service manager does not take").then_some(()).ok_or("nothing")
    })
    .await;
}

/// A reload from its first word to its last; answers with the last.
async fn reloads(manager: &Manager, since: u128) -> Vec<String> {
    let begins = manager.word().await;
    assert_eq!(begins[0], "RELOADING=1", "{begins:?}");
    let time: u128 = begins[1].strip_prefix("MONOTONIC_USEC=").expect("in the same message").parse().unwrap();
    assert!((since..=monotonic()).contains(&time), "{time} is the time of this reload");
    let ends = manager.word().await;
    assert_eq!(ends[0], "READY=1", "{ends:?}");
    ends
}

fn monotonic() -> u128 {
    let uptime = nix::time::clock_gettime(nix::time::ClockId::CLOCK_MONOTONIC).unwrap();
    Duration::from(uptime).as_micros()
}
