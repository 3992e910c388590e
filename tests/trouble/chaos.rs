//! Each fault: what the peer and the consumers see, what receipts say, and that the link comes back.

use std::process::Command;

use serde_json::{Value, json};
use tokio::{io::AsyncReadExt, net::TcpStream};

use crate::{
    QUICK, one,
    support::{
        api::{Answer, Api},
        daemon::Daemon,
        raw::{self, Raw},
        until,
    },
};

pub(crate) async fn inject(api: &Api, body: &Value) -> Answer {
    api.post("/v1/links/e/0/chaos", &[], body.to_string()).await
}

/// Sends, waits until the peer has it, and answers with the message's id.
async fn sent(daemon: &Daemon, stream: &mut TcpStream, text: &str) -> String {
    let id = accepted(daemon, text).await;
    assert_eq!(data(stream).await, text);
    id
}

async fn accepted(daemon: &Daemon, text: &str) -> String {
    daemon.api.send_text("e", text).await.expect(202).json()["id"].as_str().unwrap().to_owned()
}

/// The next data message of the client.
async fn data(stream: &mut TcpStream) -> String {
    loop {
        let (first, body) = raw::read_frame(stream).await.expect("a frame");
        if first & 0x0f <= 2 {
            return String::from_utf8(body).unwrap();
        }
    }
}

async fn receipt_until(daemon: &Daemon, id: &str, state: &str) -> Value {
    until(&format!("a receipt that says {state}"), || async {
        let receipt = daemon.api.get(&format!("/v1/messages/{id}")).await.expect(200).json();
        if receipt["state"] == state { Ok(receipt) } else { Err(receipt) }
    })
    .await
}

async fn words(daemon: &Daemon) -> Vec<String> {
    let history = daemon.api.get("/v1/links/e/0/history").await.expect(200).json();
    history["items"].as_array().unwrap().iter().map(|entry| entry["event"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn no_fault_is_injected_unless_the_configuration_allows_it_and_there_is_a_connection() {
    let port = raw::honest().await;
    let daemon = Daemon::start(&one(port, "")).await;
    daemon.api.ready_after("e/0", 0).await;
    let refused = inject(&daemon.api, &json!({"fault": "drop"})).await.expect(403).json();
    assert_eq!(refused["type"], "urn:wskeeper:problem:chaos-off", "{refused}");
    assert!(refused["detail"].as_str().unwrap().contains("api.chaos = true"), "{refused}");
    daemon.configure(&format!("{QUICK}{}", one(port, "")));
    daemon.api.post("/v1/reload", &[], "").await.expect(200);
    daemon.api.post("/v1/links/e/0/pause", &[], "").await.expect(200);
    daemon.api.link_until("e/0", "paused", |link| link["phase"] == "paused").await;
    let refused = inject(&daemon.api, &json!({"fault": "drop"})).await.expect(409).json();
    assert_eq!(refused["type"], "urn:wskeeper:problem:no-connection", "{refused}");
    inject(&daemon.api, &json!({"fault": "fire"})).await.expect(400);
    daemon.api.post("/v1/links/e/9/chaos", &[], r#"{"fault": "drop"}"#).await.expect(404);
}

#[tokio::test]
async fn a_dropped_connection_is_reset_and_what_was_on_its_way_is_unknown() {
    let peer = Raw::listen().await;
    let daemon = Daemon::start(&format!("{QUICK}{}", one(peer.port, ""))).await;
    let mut stream = peer.accept_and_send(b"").await;
    let mut events = daemon.api.events("e", "from=oldest&types=close,error,gap,message").await;
    let id = sent(&daemon, &mut stream, "before").await;
    receipt_until(&daemon, &id, "written").await;
    let dropping = tokio::spawn({
        let api = daemon.api.clone();
        async move { inject(&api, &json!({"fault": "drop"})).await.expect(200) }
    });
    let mut rest = Vec::new();
    let ended = stream.read_to_end(&mut rest).await;
    assert_eq!(ended.unwrap_err().kind(), std::io::ErrorKind::ConnectionReset);
    dropping.await.unwrap();
    let mut stream = peer.accept_and_send(b"").await;
    let error = events.next_of("error").await;
    assert_eq!(error.data["cause"], "reset", "{error:?}");
    let close = events.next_of("close").await;
    assert_eq!((&close.data["code"], &close.data["wasClean"]), (&json!(1006), &json!(false)));
    assert_eq!(events.next_of("gap").await.data["kind"], "link");
    receipt_until(&daemon, &id, "unknown").await;
    sent(&daemon, &mut stream, "after").await;
    let words = words(&daemon).await;
    let chaos = words.iter().position(|word| word == "chaos").expect("the history tells of it");
    assert_eq!(words[chaos + 1..chaos + 3], ["phase", "close"], "{words:?}");
}

#[tokio::test]
async fn messages_in_flight_at_a_drop_are_sent_again_where_the_endpoint_promises_it() {
    let peer = Raw::listen().await;
    let more = "outbox = { delivery = \"at_least_once\" }";
    let daemon = Daemon::start(&format!("{QUICK}{}", one(peer.port, more))).await;
    let mut stream = peer.accept_and_send(b"").await;
    // The peer answers no ping, so nothing is confirmed.
    let id = sent(&daemon, &mut stream, "precious").await;
    inject(&daemon.api, &json!({"fault": "drop"})).await.expect(200);
    let mut stream = peer.accept_and_send(b"").await;
    assert_eq!(data(&mut stream).await, "precious");
    receipt_until(&daemon, &id, "written").await;
}

#[tokio::test]
async fn a_stalled_connection_goes_on_when_its_time_is_over_with_nothing_lost() {
    let peer = Raw::listen().await;
    let more = "heartbeat = { idle = \"1m\" }";
    let daemon = Daemon::start(&format!("{QUICK}{}", one(peer.port, more))).await;
    let mut stream = peer.accept_and_send(b"").await;
    sent(&daemon, &mut stream, "before").await;
    inject(&daemon.api, &json!({"fault": "stall", "for": "700ms"})).await.expect(200);
    let id = accepted(&daemon, "during").await;
    let receipt = daemon.api.get(&format!("/v1/messages/{id}")).await.expect(200).json();
    assert_eq!(receipt["state"], "queued", "nothing is handed to the network: {receipt}");
    assert_eq!(data(&mut stream).await, "during");
    receipt_until(&daemon, &id, "written").await;
    assert_eq!(daemon.api.link("e/0").await["generation"], 1);
}

#[tokio::test]
async fn a_stall_that_lasts_is_found_by_the_heartbeat() {
    let port = raw::honest().await;
    let daemon = Daemon::start(&format!("{QUICK}{}", one(port, ""))).await;
    daemon.api.ready_after("e/0", 0).await;
    inject(&daemon.api, &json!({"fault": "stall", "for": "1h"})).await.expect(200);
    let link = daemon.api.ready_after("e/0", 1).await;
    assert_eq!(link["lastClose"]["cause"], "pong_timeout", "{link}");
}

#[tokio::test]
async fn a_half_open_connection_swallows_what_is_sent_until_the_heartbeat_finds_out() {
    let peer = Raw::listen().await;
    let daemon = Daemon::start(&format!("{QUICK}{}", one(peer.port, ""))).await;
    let mut first = peer.accept_and_send(b"").await;
    daemon.api.ready_after("e/0", 0).await;
    inject(&daemon.api, &json!({"fault": "half_open"})).await.expect(200);
    let id = accepted(&daemon, "into the void").await;
    let mut second = peer.accept_and_send(b"").await;
    let receipt = receipt_until(&daemon, &id, "unknown").await;
    assert_eq!(receipt["generation"], 1, "{receipt}");
    let link = daemon.api.ready_after("e/0", 1).await;
    assert_eq!(link["lastClose"]["cause"], "pong_timeout", "{link}");
    let timeouts = daemon.api.metric("wskeeper_heartbeat_timeouts_total{endpoint=\"e\"}").await;
    assert!(timeouts.is_some_and(|count| count >= 1.0), "{timeouts:?}");
    let mut swallowed = Vec::new();
    // Pings before the fault may have come through.
    let _end = first.read_to_end(&mut swallowed).await;
    assert!(!String::from_utf8_lossy(&swallowed).contains("void"), "it never reached the peer");
    sent(&daemon, &mut second, "after").await;
}

#[tokio::test]
async fn a_close_is_answered_and_followed_as_if_the_peer_had_sent_it() {
    let peer = Raw::listen().await;
    let daemon = Daemon::start(&format!("{QUICK}{}", one(peer.port, ""))).await;
    let mut stream = peer.accept_and_send(b"").await;
    daemon.api.ready_after("e/0", 0).await;
    let mut events = daemon.api.events("e", "from=latest&types=close,error").await;
    inject(&daemon.api, &json!({"fault": "close", "code": 1012, "reason": "restart"})).await.expect(200);
    assert_eq!(raw::close_code(&mut stream).await, Some(1012), "the answer reaches the real peer");
    drop(stream);
    let close = events.next_of("close").await;
    assert_eq!((&close.data["code"], &close.data["reason"]), (&json!(1012), &json!("restart")));
    assert_eq!((&close.data["wasClean"], &close.data["cause"]), (&json!(true), &json!("remote")));
    let link = daemon.api.link_until("e/0", "waiting", |link| link["phase"] == "waiting").await;
    assert_eq!(link["phaseReason"], "service_restart", "{link}");
    daemon.api.post("/v1/links/e/0/reconnect", &[], "").await;
    let _open = peer.accept_and_send(b"").await;
    daemon.api.ready_after("e/0", 1).await;
}

#[tokio::test]
async fn the_verb_breaks_a_link_and_the_link_comes_back() {
    let port = raw::honest().await;
    let daemon = Daemon::start(&format!("{QUICK}{}", one(port, ""))).await;
    let mut generation = 0;
    for fault in [&["drop"][..], &["half-open"], &["stall", "--for", "1h"], &["close", "--code", "4000"]] {
        generation = daemon.api.ready_after("e/0", generation).await["generation"].as_u64().unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_wskeeper"));
        let address = format!("unix:{}", daemon.folder().join("api.sock").display());
        command.args(["--api", &address, "chaos", "e/0"]).args(fault);
        let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success() && said.starts_with("e/0: chaos accepted"), "{fault:?}: {output:?}");
    }
    daemon.api.ready_after("e/0", generation).await;
}
