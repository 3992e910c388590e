//! Servers that refuse, and what they say when they do: what is shown of it, to whom, and what is made of it.

use std::{process::Command, time::Duration};

use serde_json::Value;
use tokio::io::AsyncWriteExt as _;

use crate::{
    QUICK,
    support::{daemon::Daemon, raw::Raw, until},
};

/// A server that answers every upgrade with these bytes, holds the connection open after them, and never reads again.
async fn saying(answer: impl Into<Vec<u8>>) -> u16 {
    let (peer, answer) = (Raw::listen().await, answer.into());
    let port = peer.port;
    tokio::spawn(async move {
        let mut held = Vec::new();
        loop {
            let (mut stream, _) = peer.accept().await;
            let _sent = stream.write_all(&answer).await;
            held.push(stream);
        }
    });
    port
}

async fn explained(daemon: &Daemon) -> Value {
    daemon.api.get("/v1/links/e/0/explain").await.expect(200).json()
}

async fn rejection(daemon: &Daemon) -> Value {
    until("what the server said", || async {
        let seen = explained(daemon).await;
        if seen["rejection"].is_object() { Ok(seen["rejection"].clone()) } else { Err(seen) }
    })
    .await
}

fn endpoint(port: u16, more: &str) -> String {
    format!("{QUICK}\n[endpoints.e]\nurl = \"ws://127.0.0.1:{port}/?token=hunter2hunter2\"\n{more}\n")
}

#[tokio::test]
async fn what_a_server_says_is_shown_as_text_without_what_was_told_in_confidence() {
    let body = "\x1b[31m<b>banned</b>\n as it is: s3cr3t/of\"ours, in a URL: s3cr3t%2Fof%22ours, in JSON: s3cr3t\\/of\\u0022ours, \
                in HTML: s3cr3t&#x2F;of&quot;ours, hunter2hunter2, c00kie-of-ours, c00kie-of-theirs; in base64: czNjcjN0L29mIm91cnM=";
    let answer = format!(
        "HTTP/1.1 403 Forbidden\r\nSet-Cookie: sid=c00kie-of-theirs; Path=/\r\nX-Reason: banned\r\n\
         X-Echo: Bearer s3cr3t%2fof%22ours\r\nTransfer-Encoding: chunked\r\n\r\n{:x}\r\n{body}\r\n0\r\n\r\n",
        body.len()
    );
    let headers = "headers = { Authorization = 'Bearer s3cr3t/of\"ours', Cookie = 'sid=c00kie-of-ours' }";
    let daemon = Daemon::start(&endpoint(saying(answer).await, headers)).await;
    let said = rejection(&daemon).await;
    let text = said.to_string();
    for secret in ["s3cr3t", "ours", "theirs", "hunter2", "czNjcjN0"] {
        assert!(!text.contains(secret), "{secret}: {text}");
    }
    let shown = "\u{241b}[31m<b>banned</b>\n as it is: ***, in a URL: ***, in JSON: ***, in HTML: ***, ***, ***, ***; in base64: ***";
    assert!(said["body"].as_str().unwrap().starts_with(shown), "{text}");
    assert!(said["headers"].as_array().unwrap().iter().any(|header| header["value"] == "banned"), "{text}");
    assert_eq!((&said["status"], &said["isCut"]), (&403.into(), &false.into()));
    let mut command = Command::new(env!("CARGO_BIN_EXE_wskeeper"));
    let address = format!("unix:{}", daemon.folder().join("api.sock").display());
    command.args(["--api", &address, "explain", "e/0"]);
    let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    let printed = String::from_utf8(output.stdout).unwrap();
    assert!(
        printed.contains("What the server said when it refused") && printed.contains("x-reason: banned"),
        "{printed}"
    );
    assert!(!printed.contains('\u{1b}') && !printed.contains("s3cr3t"), "{printed}");
}

#[tokio::test]
async fn a_token_without_the_scope_admin_does_not_see_it() {
    let port = saying("HTTP/1.1 403 Forbidden\r\nContent-Length: 6\r\n\r\nbanned").await;
    let tokens = "[[api.tokens]]\nname = \"all\"\ntoken = \"${env:ALL}\"\nscopes = [\"read\", \"admin\"]\n\
                  [[api.tokens]]\nname = \"some\"\ntoken = \"${env:SOME}\"\nscopes = [\"read\"]\n";
    let mut daemon = Daemon::made(&format!("{tokens}{}", endpoint(port, "")));
    for name in ["ALL", "SOME"] {
        daemon.set_variable(name, &format!("token-{name}"));
    }
    daemon.launch();
    daemon.alive().await;
    let all = daemon.api.clone().with_token("token-ALL");
    let seen = until("what the server said", || async {
        let seen = all.get("/v1/links/e/0/explain").await.expect(200).json();
        if seen["rejection"].is_object() { Ok(seen) } else { Err(seen) }
    })
    .await;
    assert_eq!(seen["rejection"]["body"], "banned");
    let some = daemon.api.clone().with_token("token-SOME");
    let seen = some.get("/v1/links/e/0/explain").await.expect(200).json();
    assert!(seen["rejection"].is_null() && seen["link"].is_object(), "{seen}");
}

#[tokio::test]
async fn rows_of_outcomes_act_on_body_and_header() {
    let rows = |matching: &str| {
        format!("[[endpoints.e.outcomes]]\nthen = \"park\"\n[endpoints.e.outcomes.match]\n{matching}\n")
    };
    let answer = "HTTP/1.1 500 Oh\r\nX-Reason: quota\r\nContent-Length: 20\r\n\r\nToo many connections";
    for matching in ["body = \"(?i)too MANY\"", "header = { X-REASON = \"^quota$\" }\nstatus = 500"] {
        let daemon = Daemon::start(&endpoint(saying(answer).await, &rows(matching))).await;
        daemon.api.link_until("e/0", "a link that is parked", |link| link["phase"] == "parked").await;
        assert!(explained(&daemon).await["rule"]["matches"].as_str().unwrap().contains(" like "));
    }
}

#[tokio::test]
async fn a_hostile_body_holds_nothing_up_and_is_kept_to_4_kib() {
    let endless = ["HTTP/1.1 500 Oh\r\n\r\n", &"x".repeat(1 << 20)].concat();
    let chunks = ["HTTP/1.1 500 Oh\r\nTransfer-Encoding: chunked\r\n\r\n", &"1\r\ny\r\n".repeat(1 << 16)].concat();
    let silent = "HTTP/1.1 500 Oh\r\nContent-Length: 99999999\r\n\r\n".to_owned();
    for answer in [endless, chunks, silent] {
        let daemon = Daemon::start(&endpoint(saying(answer).await, "")).await;
        let said = rejection(&daemon).await;
        assert!(said["body"].as_str().unwrap().len() <= 4096 && said["isCut"] == true, "{said}");
        let tried = explained(&daemon).await;
        let tried = tried["attempts"].as_array().unwrap().iter().find(|tried| tried["result"] == "failed").unwrap();
        assert_eq!(tried["status"], 500);
        assert!(
            tried["timings"]["totalMs"].as_f64().unwrap() < Duration::from_secs(2).as_secs_f64() * 1000.0,
            "{tried}"
        );
    }
}
