//! Links that the configuration loses and gets back: what the store holds for them is kept, and arrives in order, once.

use serde_json::Value;

use crate::{
    LEAST, MOST, QUICK, endpoint,
    recorder::Recorder,
    support::{daemon::Daemon, free_port},
};

/// Another endpoint, so that the store stays in use.
fn other() -> String {
    endpoint("other", free_port(), LEAST)
}

#[tokio::test]
async fn an_endpoint_that_is_removed_and_comes_back_by_reload_sends_what_it_held() {
    for outbox in [LEAST, MOST] {
        let recorder = Recorder::listen().await;
        let (gone, here) = (format!("{QUICK}{}", other()), endpoint("e", recorder.port, outbox));
        let daemon = Daemon::start(&format!("{gone}{}", endpoint("e", free_port(), outbox))).await;
        let sent = send(&daemon, "e", None, 0..20).await;
        reload(&daemon, &gone).await;
        daemon.api.send_text("e", "to nobody").await.expect(404);
        assert_eq!(daemon.api.metric("wskeeper_store_orphans").await, Some(20.0), "{outbox}");
        reload(&daemon, &format!("{gone}{here}")).await;
        recorder.until_exactly(&sent).await;
        assert_eq!(daemon.api.metric("wskeeper_store_orphans").await, Some(0.0), "{outbox}");
    }
}

#[tokio::test]
async fn an_endpoint_that_is_removed_and_comes_back_by_restart_sends_what_it_held() {
    let recorder = Recorder::listen().await;
    let gone = format!("{QUICK}{}", other());
    let mut daemon = Daemon::start(&format!("{gone}{}", endpoint("e", free_port(), LEAST))).await;
    let sent = send(&daemon, "e", None, 0..20).await;
    for sections in [&gone, &format!("{gone}{}", endpoint("e", recorder.port, LEAST))] {
        daemon.kill();
        daemon.configure(sections);
        daemon.relaunch().await;
    }
    recorder.until_exactly(&sent).await;
}

#[tokio::test]
async fn a_link_that_goes_and_comes_back_sends_what_it_held() {
    let (zero, down) = (Recorder::listen().await, free_port());
    let with = |port, links| endpoint("e", port, LEAST).replace("\nurl", &format!("\nlinks = {links}\nurl"));
    let mut daemon = Daemon::start(&format!("{QUICK}{}", with(down, 2))).await;
    let first = send(&daemon, "e", Some(0), 0..10).await;
    let second = send(&daemon, "e", Some(1), 10..20).await;
    reload(&daemon, &format!("{QUICK}{}", with(down, 1))).await;
    assert_eq!(daemon.api.metric("wskeeper_store_orphans").await, Some(10.0));
    // A restart in between changes nothing.
    daemon.kill();
    daemon.configure(&format!("{QUICK}{}", with(zero.port, 1)));
    daemon.relaunch().await;
    zero.until_exactly(&first).await;
    assert_eq!(daemon.api.metric("wskeeper_store_orphans").await, Some(10.0));
    // The recorder serves one connection at a time: link 0 leaves it to link 1.
    let one = Recorder::listen().await;
    reload(&daemon, &format!("{QUICK}{}", with(down, 1))).await;
    daemon.api.post("/v1/links/e/0/pause", &[], "").await;
    reload(&daemon, &format!("{QUICK}{}", with(one.port, 2))).await;
    one.until_exactly(&second).await;
}

async fn send(daemon: &Daemon, endpoint: &str, link: Option<u32>, numbers: std::ops::Range<u32>) -> Vec<String> {
    let link = link.map(|link| format!("?link={link}")).unwrap_or_default();
    let path = format!("/v1/endpoints/{endpoint}/messages{link}");
    let texts: Vec<String> = numbers.map(|number| format!("message {number}")).collect();
    for text in &texts {
        let receipt = daemon.api.post(&path, &[("content-type", "text/plain")], text.clone()).await.expect(202).json();
        assert_eq!(receipt["state"], "stored", "{receipt}");
    }
    texts
}

async fn reload(daemon: &Daemon, sections: &str) -> Value {
    daemon.configure(sections);
    daemon.api.post("/v1/reload", &[], "").await.expect(200).json()
}
