//! Parts of an inbox, read from the real binary: `?match=`, `?stream=`, and the same of `wskeeper tail`.
//!
//! The server says, for each text that it hears, as many messages as that number, of symbols in turn.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking, in its helpers too")]
#![allow(unreachable_pub, reason = "what tests share is as public as a library's items")]
#![allow(clippy::print_stderr, reason = "a failed test says why")]

mod support;

use std::process::{Command, Stdio};

use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use support::daemon::Daemon;
use tokio::net::TcpListener;
use tokio_tungstenite::tungstenite::Message;

const SYMBOLS: usize = 100;

fn message(number: usize) -> String {
    json!({ "s": format!("S{}", number % SYMBOLS), "n": number }).to_string()
}

async fn server() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut socket = tokio_tungstenite::accept_async(stream).await.unwrap();
                while let Some(Ok(heard)) = socket.next().await {
                    let Ok(count) = heard.to_text().unwrap_or_default().parse::<usize>() else { continue };
                    for number in 0..count {
                        socket.feed(Message::text(message(number))).await.unwrap();
                    }
                    socket.flush().await.unwrap();
                }
            });
        }
    });
    port
}

fn configured(port: u16, more: &str) -> String {
    format!("[endpoints.e]\nurl = 'ws://127.0.0.1:{port}/'\ninbox.max_messages = 10\n{more}\n")
}

/// A stream of this symbol.
fn stream(name: &str, symbol: usize) -> String {
    format!("[[endpoints.e.streams]]\nname = '{name}'\nmatch = {{ '/s' = 'S{symbol}' }}\n")
}

/// What `wskeeper tail` prints.
fn tail(daemon: &Daemon, args: &[&str]) -> String {
    let api = format!("unix:{}", daemon.folder().join("api.sock").display());
    let mut command = Command::new(env!("CARGO_BIN_EXE_wskeeper"));
    command.args(["tail", "e", "--api", &api]).args(args).stdin(Stdio::null());
    String::from_utf8(command.output().unwrap().stdout).unwrap()
}

#[tokio::test]
async fn a_reader_of_a_stream_gets_all_of_it_though_the_inbox_has_turned_over_meanwhile() {
    let daemon = Daemon::start(&configured(server().await, &stream("seven", 7))).await;
    daemon.api.ready_after("e/0", 0).await;
    let first: u64 = daemon.api.events("e", "from=oldest").await.next().await.id.parse().unwrap();
    daemon.api.send_text("e", "5000").await.expect(202);
    let mut seven = daemon.api.events("e", "stream=seven&from=oldest&types=message").await;
    let mut cursor = 0_u64;
    for round in 0..50 {
        // A gap would come here as one.
        let event = seven.next().await;
        assert_eq!(
            (event.kind.as_str(), event.data["data"].as_str().unwrap()),
            ("message", &*message(round * SYMBOLS + 7))
        );
        cursor = event.id.parse().unwrap();
    }
    // The last message of the whole inbox, and what was lost of it.
    let mut whole = daemon.api.events("e", &format!("from={first}&types=message")).await;
    let gap = whole.next().await;
    assert_eq!((gap.kind.as_str(), gap.data["kind"].as_str()), ("gap", Some("lag")), "{gap:?}");
    // A cursor of a stream is good for that stream.
    let mut again = daemon.api.events("e", &format!("stream=seven&types=message&from={}", cursor - 1)).await;
    assert_eq!(again.next().await.payload().0, message(4907).as_bytes());
    let shown = daemon.api.get("/v1/endpoints/e").await.expect(200).json();
    assert_eq!(shown["config"]["streams"][0]["match"], json!({ "/s": "\"S7\"" }), "{shown}");
    let printed = tokio::task::spawn_blocking(move || {
        tail(&daemon, &["--stream", "seven", "--from", "oldest", "--types", "message", "--count", "2"])
    });
    assert_eq!(printed.await.unwrap(), format!("{}\n{}\n", message(7), message(107)));
}

#[tokio::test]
async fn a_reader_with_conditions_is_told_of_messages_that_meet_all_of_them_and_of_all_else() {
    let config = configured(server().await, "").replace("max_messages = 10", "max_messages = 1000");
    let daemon = Daemon::start(&config).await;
    daemon.api.ready_after("e/0", 0).await;
    let mut plain = daemon.api.socket("e", "match=/s=S3", false).await;
    let mut envelope = daemon.api.socket("e", "match=/s=S3&match=/n=103.0", true).await;
    let mut events = daemon.api.events("e", "from=oldest&match=%2Fs%3DS3").await;
    assert_eq!(events.next().await.kind, "phase", "what is no message is told as ever");
    daemon.api.send_text("e", "300").await.expect(202);
    for number in [3, 103, 203] {
        assert_eq!(events.next_of("message").await.payload().0, message(number).as_bytes());
        assert_eq!(plain.next().await.unwrap().unwrap(), Message::text(message(number)));
    }
    let told = loop {
        let event: Value = serde_json::from_str(envelope.next().await.unwrap().unwrap().to_text().unwrap()).unwrap();
        if event["type"] == "message" {
            break event;
        }
    };
    assert_eq!(told["data"], message(103));
    let printed =
        tokio::task::spawn_blocking(move || tail(&daemon, &["--match", "/s=S9", "--from", "oldest", "--count", "3"]));
    assert_eq!(printed.await.unwrap(), [9, 109, 209].map(|number| message(number) + "\n").concat());
}

#[tokio::test]
async fn what_cannot_be_read_is_refused_with_what_can() {
    let daemon = Daemon::start(&configured(1, &stream("seven", 7))).await;
    for (query, status, wanted) in [
        ("stream=seve", 404, "did you mean `seven`?"),
        ("match=s=S7", 400, "a JSON pointer"),
        ("match=/s", 400, "match=/s=BTCUSDT"),
        ("stream=a&stream=b", 400, "given twice"),
    ] {
        let answer = daemon.api.get(&format!("/v1/endpoints/e/events?{query}")).await.expect(status);
        assert!(String::from_utf8_lossy(&answer.body).contains(wanted), "{query}: {answer:?}");
    }
    daemon.api.get("/v1/endpoints/f/events?stream=seven").await.expect(404);
    daemon.api.get("/v1/events?stream=seven").await.expect(400);
}

#[tokio::test]
async fn a_reload_brings_streams_and_takes_them_while_the_link_stays() {
    let port = server().await;
    let daemon = Daemon::start(&configured(port, &stream("goes", 1))).await;
    let generation = daemon.api.ready_after("e/0", 0).await["generation"].clone();
    let mut goes = daemon.api.events("e", "stream=goes&types=message").await;
    daemon.configure(&configured(port, &stream("comes", 2)));
    let report = daemon.api.post("/v1/reload", &[], "").await.expect(200).json();
    assert_eq!(
        (&report["changes"][0]["action"], &report["changes"][0]["why"]),
        (&json!("applied live"), &json!(["streams"]))
    );
    assert!(goes.within(support::PATIENCE).await.is_none(), "it is over");
    let mut comes = daemon.api.events("e", "stream=comes&types=message").await;
    daemon.api.send_text("e", "3").await.expect(202);
    assert_eq!(comes.next().await.payload().0, message(2).as_bytes());
    assert_eq!(daemon.api.link("e/0").await["generation"], generation);
    assert_eq!(daemon.api.metric("wskeeper_consumers{endpoint=\"e\"}").await, Some(1.0));
}
