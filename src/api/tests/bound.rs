//! Sends that are bound to a connection, by each way in.

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;

use super::bench::{Bench, PATIENCE, echo, until};
use wskeeper_core::{link::Verb, phase::Phase};

const SENDS: &str = "/v1/endpoints/feed/messages";

/// An endpoint whose links are ready.
async fn ready(links: u32) -> Bench {
    let port = echo().await;
    let keys = format!("links = {links}\nreconnect.first = \"10ms\"");
    let bench =
        Bench::new(&format!("[admission]\nper_host = 9\n[endpoints.feed]\nurl = \"ws://127.0.0.1:{port}/\"\n{keys}\n"))
            .await;
    until("ready links", async || {
        (0..links).all(|index| bench.pool.link("feed", index).unwrap().phase == Phase::Ready).then_some(())
    })
    .await;
    bench
}

async fn sent(bench: &Bench, query: &str, header: &str) -> (u16, Value) {
    let head = format!("POST {SENDS}{query} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{header}");
    let (status, body) = bench.ask(&format!("{head}Content-Length: 1\r\n\r\nx")).await;
    (status, serde_json::from_str(&body).unwrap())
}

#[tokio::test]
async fn a_send_goes_on_the_connection_that_it_names_or_not_at_all() {
    let bench = ready(1).await;
    for (status, query, header) in [
        (202, "?generation=1", ""),
        (202, "", "If-Match: \"1\"\r\n"),
        (202, "?generation=1", "If-Match: \"1\"\r\n"),
        (409, "?generation=2", ""),
        (409, "", "If-Match: \"0\"\r\n"),
        (400, "?generation=1", "If-Match: \"2\"\r\n"),
        (400, "", "If-Match: *\r\n"),
        (400, "", "If-Match: \"1\", \"2\"\r\n"),
        (400, "?generation=-1", ""),
    ] {
        assert_eq!(sent(&bench, query, header).await.0, status, "{query} {header}");
    }
    let (_, problem) = sent(&bench, "?generation=7", "").await;
    assert_eq!(
        (&problem["type"], &problem["generation"]),
        (&json!("urn:wskeeper:problem:other-connection"), &json!(1))
    );
    bench.pool.command("feed", 0, Verb::Reconnect).await.unwrap();
    until("the next connection", async || (bench.pool.link("feed", 0).unwrap().generation == 2).then_some(())).await;
    assert_eq!(sent(&bench, "?generation=1", "").await.0, 409);
    bench.pool.command("feed", 0, Verb::Pause).await.unwrap();
    until("a paused link", async || (bench.pool.link("feed", 0).unwrap().phase == Phase::Paused).then_some(())).await;
    let (status, problem) = sent(&bench, "?generation=2", "").await;
    assert_eq!((status, &problem["phase"]), (409, &json!("paused")));
    assert_eq!(bench.pool.link("feed", 0).unwrap().queued_messages, 0);
}

#[tokio::test]
async fn of_several_links_one_must_be_named_for_each_has_its_own_numbers() {
    let bench = ready(2).await;
    assert_eq!(sent(&bench, "?generation=1", "").await.0, 400);
    assert_eq!(sent(&bench, "?generation=1&link=1", "").await.0, 202);
    assert_eq!(sent(&bench, "?generation=1&key=k", "").await.0, 202);
}

#[tokio::test]
async fn lines_of_a_batch_and_envelopes_name_connections_too() {
    let bench = ready(1).await;
    let lines = "\"a\"\n{\"data\":\"b\",\"generation\":2}\n{\"data\":\"c\",\"generation\":1}\n";
    for (query, refused) in [("", [false, true, false]), ("?generation=2", [true, true, false])] {
        let (_, body) = bench.call("POST", &format!("{SENDS}:batch{query}"), lines).await;
        let is_refused = |line: &str| serde_json::from_str::<Value>(line).unwrap()["status"] == 409;
        assert_eq!(
            body.lines().filter(|line| line.starts_with('{')).map(is_refused).collect::<Vec<_>>(),
            refused,
            "{body}"
        );
    }
    let mut socket = bench.socket("/v1/endpoints/feed/ws?types=gap", Some("wskeeper.v1.json")).await;
    for (generation, kind) in [(1, "receipt"), (2, "problem")] {
        let send = json!({ "type": "send", "data": "x", "generation": generation });
        socket.send(Message::text(send.to_string())).await.unwrap();
        let answer = tokio::time::timeout(PATIENCE, socket.next()).await.unwrap().unwrap().unwrap();
        assert_eq!(serde_json::from_str::<Value>(answer.to_text().unwrap()).unwrap()["type"], kind);
    }
}
