//! What the daemon says of a link that is down, and what the command line makes of it.

use std::{fs, process::Command};

use serde_json::{Value, json};
use tokio::{io::AsyncWriteExt, net::TcpListener};

use crate::{
    QUICK, one,
    support::{
        daemon::Daemon,
        free_port,
        raw::{self, Raw},
        until,
    },
};

async fn explained(daemon: &Daemon, link: &str) -> Value {
    daemon.api.get(&format!("/v1/links/{link}/explain")).await.expect(200).json()
}

async fn explained_when(daemon: &Daemon, link: &str, what: &str, is: impl Fn(&Value) -> bool) -> Value {
    until(what, || async {
        let seen = explained(daemon, link).await;
        if is(&seen) { Ok(seen) } else { Err(seen) }
    })
    .await
}

fn advice(explained: &Value) -> String {
    let advice = explained["advice"].as_array().unwrap();
    advice.iter().map(|sentence| sentence.as_str().unwrap()).collect::<Vec<_>>().join("\n")
}

fn last_attempt(explained: &Value) -> &Value {
    explained["attempts"].as_array().unwrap().iter().rfind(|attempt| attempt["result"] == "failed").unwrap()
}

async fn printed(daemon: &Daemon, link: &str) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_wskeeper"));
    let address = format!("unix:{}", daemon.folder().join("api.sock").display());
    command.args(["--api", &address, "explain", link]);
    let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// A server that answers every upgrade with this status.
async fn refusing(status: &'static str) -> u16 {
    let peer = Raw::listen().await;
    let port = peer.port;
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = peer.accept().await;
            let answer = format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
            let _sent = stream.write_all(answer.as_bytes()).await;
        }
    });
    port
}

#[tokio::test]
async fn refused_credentials_name_the_file_they_come_from_and_never_what_is_in_it() {
    let port = refusing("401 Unauthorized").await;
    let mut daemon = Daemon::made(&format!(
        "{QUICK}{}",
        one(
            port,
            "headers = { Authorization = \"Bearer ${file:{folder}/token}\" }\nreconnect = { park_probe = \"10m\" }"
        )
    ));
    fs::write(daemon.folder().join("token"), "hush-hush\n").unwrap();
    daemon.launch();
    daemon.ready().await;
    let seen = explained_when(&daemon, "e/0", "parked", |seen| seen["link"]["phase"] == "parked").await;
    assert_eq!(seen["link"]["lastClose"]["status"], 401, "{seen}");
    assert_eq!((&seen["rule"]["then"], &seen["rule"]["inARow"]), (&json!("refresh"), &json!(2)), "{seen}");
    assert_eq!(seen["rule"]["matches"], "HTTP status 401 or 403");
    let told = advice(&seen);
    for part in ["header Authorization = Bearer ${file:", "/token}", "`wskeeper resume e/0`", "every 10m"] {
        assert!(told.contains(part), "{part} is missing: {told}");
    }
    assert_eq!(last_attempt(&seen)["status"], 401);
    assert!(last_attempt(&seen)["timings"]["upgradeMs"].is_number(), "{seen}");
    let text = printed(&daemon, "e/0").await;
    for part in ["e/0 is parked", "What would help", "What was tried", "upgrade 401", "The rule that decided is"] {
        assert!(text.contains(part), "{part} is missing:\n{text}");
    }
    for text in [text, seen.to_string(), daemon.log()] {
        assert!(!text.contains("hush"), "{text}");
    }
}

#[tokio::test]
async fn a_server_that_is_not_there_is_told_with_its_address_and_what_comes_next() {
    let port = free_port();
    let daemon = Daemon::start(&format!("{QUICK}{}", one(port, ""))).await;
    let seen = explained_when(&daemon, "e/0", "three attempts", |seen| {
        seen["link"]["phase"] == "waiting" && seen["link"]["attempt"].as_u64() >= Some(3)
    })
    .await;
    assert!(last_attempt(&seen)["detail"].as_str().unwrap().contains(&format!("127.0.0.1:{port}")), "{seen}");
    assert_eq!(last_attempt(&seen)["cause"], "connect");
    assert!(last_attempt(&seen)["timings"]["tcpMs"].is_number(), "{seen}");
    assert!(last_attempt(&seen)["thenWaitsMs"].is_number(), "{seen}");
    assert!(advice(&seen).contains("runs and listens"), "{seen}");
    assert_eq!(seen["outage"]["lost"], Value::Null, "there was no connection yet: {seen}");
    assert!(seen["next"].as_str().unwrap().contains("wskeeper reconnect e/0"), "{seen}");
    assert_eq!(seen["rule"]["then"], "backoff", "{seen}");
}

#[tokio::test]
async fn how_the_connection_was_lost_is_known_after_more_attempts_than_the_recorder_keeps() {
    let peer = Raw::listen().await;
    let port = peer.port;
    let daemon = Daemon::start(&format!("{QUICK}{}", one(port, ""))).await;
    let mut stream = peer.accept_and_send(b"").await;
    daemon.api.ready_after("e/0", 0).await;
    stream.write_all(&[raw::head(8, 2 + 4), vec![0x03, 0xf3], b"oops".to_vec()].concat()).await.unwrap();
    drop((peer, stream));
    let seen = explained_when(&daemon, "e/0", "40 attempts", |seen| seen["link"]["attempt"].as_u64() >= Some(40)).await;
    assert_eq!((&seen["outage"]["lost"]["code"], &seen["outage"]["lost"]["reason"]), (&json!(1011), &json!("oops")));
    let history = daemon.api.get("/v1/links/e/0/history").await.expect(200).json();
    assert!(!history.to_string().contains("oops"), "it has been forgotten there");
    assert!(printed(&daemon, "e/0").await.contains("that one ended with 1011 \"oops\" (remote)"));
    let _listener = TcpListener::bind(("127.0.0.1", port)).await.unwrap();
}

#[tokio::test]
async fn an_attempt_that_takes_too_long_says_how_far_it_came_and_who_waits_for_it() {
    let peer = Raw::listen().await;
    let sections = format!("{QUICK}\n[endpoints.e]\nurl = \"ws://127.0.0.1:{}/\"\nlinks = 3\n", peer.port);
    let daemon = Daemon::start(&sections).await;
    let (first, _) = peer.accept().await;
    let holder = (0..3).map(|index| format!("e/{index}"));
    let mut waiting = Vec::new();
    for link in holder {
        let seen = explained_when(&daemon, &link, "it dials or waits", |seen| {
            seen["link"]["phase"] == "connecting" || seen["link"]["phaseReason"] == "admission"
        })
        .await;
        if seen["link"]["phaseReason"] == "admission" {
            waiting.push(seen);
        }
    }
    assert_eq!(waiting.len(), 2, "{waiting:?}");
    let mut ahead: Vec<_> = waiting.iter().map(|seen| seen["admission"]["ahead"].as_u64().unwrap()).collect();
    ahead.sort_unstable();
    assert_eq!(ahead, [0, 1]);
    assert_eq!(waiting[0]["admission"]["holders"].as_array().unwrap().len(), 1, "{waiting:?}");
    assert!(advice(&waiting[0]).contains("admission.per_host"), "{waiting:?}");
    let holder = waiting[0]["admission"]["holders"][0].as_str().unwrap().to_owned();
    let seen = explained_when(&daemon, &holder, "a failure", |seen| {
        seen["attempts"].as_array().unwrap().iter().any(|attempt| attempt["result"] == "failed")
    })
    .await;
    let attempt = last_attempt(&seen);
    assert_eq!(attempt["cause"], "upgrade", "{seen}");
    assert!(attempt["timings"]["tcpMs"].is_number() && attempt["timings"]["upgradeMs"].is_number(), "{seen}");
    drop(first);
}
