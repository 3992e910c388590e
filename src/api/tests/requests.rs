//! Requests by each way in, against a peer that answers out of order, not at all, or goes.

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_tungstenite::tungstenite::Message;

use super::bench::{Bench, PATIENCE, until};
use wskeeper_core::phase::Phase;

const PATH: &str = "/v1/endpoints/feed/requests";

/// A peer that answers `{ "id", "echo": the request's "say" }`: two at a time the wrong way round where it is told `pair`, with an error where
/// it is told `fail`, and not at all where it is told `mute`. Told `cut`, it hangs up.
async fn peer() -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let Ok(mut socket) = tokio_tungstenite::accept_async(stream).await else { return };
                let mut held = Vec::new();
                while let Some(Ok(Message::Text(text))) = socket.next().await {
                    let request: Value = serde_json::from_str(text.as_str()).unwrap();
                    let mut reply = json!({ "id": request["id"], "echo": request["say"] });
                    match request["how"].as_str() {
                        Some("mute") => continue,
                        Some("cut") => return,
                        Some("pair") if held.is_empty() => {
                            held.push(reply);
                            continue;
                        }
                        Some("fail") => reply["error"] = "no".into(),
                        _ => {}
                    }
                    for reply in [reply].into_iter().chain(held.drain(..)) {
                        let _ = socket.send(Message::text(reply.to_string())).await;
                    }
                }
            });
        }
    });
    port
}

async fn bench(keys: &str) -> Bench {
    let port = peer().await;
    let quick = "reconnect = { first = \"10ms\", initial = \"10ms\", max = \"50ms\" }";
    let requests = format!("requests = {{ id = \"/id\", reply = \"/id\", error = {{ has = [\"/error\"] }}{keys} }}");
    let bench = Bench::new(&format!("[endpoints.feed]\nurl = \"ws://127.0.0.1:{port}/\"\n{quick}\n{requests}\n[endpoints.plain]\nurl = \"ws://127.0.0.1:{port}/\"\n")).await;
    until("a ready link", async || (bench.pool.link("feed", 0).unwrap().phase == Phase::Ready).then_some(())).await;
    bench
}

async fn ask(bench: &Bench, query: &str, body: Value) -> (u16, Value) {
    let (status, body) = bench.call("POST", &format!("{PATH}{query}"), &body.to_string()).await;
    (status, serde_json::from_str(&body).unwrap_or(Value::String(body)))
}

#[tokio::test]
async fn each_caller_gets_its_own_reply_with_its_own_id() {
    let bench = bench("").await;
    let asked = |say: &str| json!({ "id": 7, "how": "pair", "say": say });
    let (one, other) = tokio::join!(ask(&bench, "", asked("one")), ask(&bench, "", asked("other")));
    assert_eq!(one, (200, json!({ "id": 7, "echo": "one" })));
    assert_eq!(other, (200, json!({ "id": 7, "echo": "other" })));
    assert_eq!(ask(&bench, "", json!({ "id": "x", "say": 1 })).await, (200, json!({ "id": "x", "echo": 1 })));
    assert_eq!(
        ask(&bench, "", json!({ "id": 1, "how": "fail" })).await,
        (502, json!({ "id": 1, "echo": null, "error": "no" }))
    );
}

#[tokio::test]
async fn what_gets_no_reply_says_why() {
    let bench = bench("").await;
    let (status, problem) = ask(&bench, "?timeout=50ms", json!({ "id": 1, "how": "mute" })).await;
    assert_eq!((status, &problem["type"]), (504, &json!("urn:wskeeper:problem:no-reply")));
    let mute = ask(&bench, "", json!({ "id": 1, "how": "mute" }));
    let (lost, ()) = tokio::join!(mute, async {
        until("a request that is out", async || {
            (bench.pool.link("feed", 0).unwrap().traffic.sent_messages >= 2).then_some(())
        })
        .await;
        let _ = ask(&bench, "", json!({ "id": 1, "how": "cut" })).await;
    });
    assert_eq!((lost.0, &lost.1["type"]), (503, &json!("urn:wskeeper:problem:lost")));
    assert_eq!(ask(&bench, "", json!(["no id"])).await.0, 400);
    assert_eq!(bench.call("POST", "/v1/endpoints/plain/requests", "{}").await.0, 409);
    assert_eq!(bench.call("POST", "/v1/endpoints/other/requests", "{}").await.0, 404);
    assert_eq!(ask(&bench, "?generation=99", json!({})).await.0, 409);
    let (_, metrics) = bench.get("/metrics").await;
    for wanted in [
        "wskeeper_requests_total{endpoint=\"feed\",outcome=\"timeout\"} 1",
        "wskeeper_requests_total{endpoint=\"feed\",outcome=\"lost\"} 2",
    ] {
        assert!(metrics.contains(wanted), "{wanted}: {metrics}");
    }
}

#[tokio::test]
async fn an_envelope_asks_too() {
    let bench = bench(", hide = true").await;
    let mut socket = bench.socket("/v1/endpoints/feed/ws", Some("wskeeper.v1.json")).await;
    for (data, reference) in [("{\"id\":5,\"say\":\"a\"}", 1), ("no request", 2)] {
        let request = json!({ "type": "request", "data": data, "timeout": "10s", "ref": reference });
        socket.send(Message::text(request.to_string())).await.unwrap();
    }
    let mut said = std::collections::BTreeMap::new();
    while said.len() < 2 {
        let text = tokio::time::timeout(PATIENCE, socket.next()).await.unwrap().unwrap().unwrap();
        let event: Value = serde_json::from_str(text.to_text().unwrap()).unwrap();
        assert_ne!(event["type"], "message", "replies are hidden");
        if let Some(reference) = event["ref"].as_u64() {
            said.insert(reference, event);
        }
    }
    let reply: Value = serde_json::from_str(said[&1]["data"].as_str().unwrap()).unwrap();
    assert_eq!((&said[&1]["type"], reply), (&json!("reply"), json!({ "id": 5, "echo": "a" })));
    assert_eq!(said[&2]["problem"]["status"], 400);
}

#[tokio::test]
async fn three_programs_with_the_same_ids_share_a_link_that_is_cut_all_the_time() {
    let bench = bench("").await;
    let program = async |name: &'static str| {
        for number in 0..60 {
            let say = format!("{name} {number}");
            let how = if number % 20 == 19 { "cut" } else { "" };
            let (status, reply) = ask(&bench, "?timeout=2s", json!({ "id": number, "how": how, "say": say })).await;
            match status {
                200 => assert_eq!(reply, json!({ "id": number, "echo": say })),
                503 | 504 => {}
                other => panic!("{other}: {reply}"),
            }
        }
    };
    tokio::join!(program("one"), program("two"), program("three"));
}

#[tokio::test]
async fn requests_that_wait_are_counted_and_explain_says_why_they_do() {
    let bench = bench(", in_flight = 1").await;
    let mute = async { ask(&bench, "?timeout=60s", json!({ "id": 1, "how": "mute" })).await };
    let behind = async { ask(&bench, "?timeout=60s", json!({ "id": 2, "say": "behind" })).await };
    let counted = async |waiting: u64| {
        until("one asked", async || {
            let (_, endpoint) = bench.call("GET", "/v1/endpoints/feed", "").await;
            let endpoint: Value = serde_json::from_str(&endpoint).unwrap();
            (endpoint["requests"] == json!({ "waiting": waiting, "asked": 1, "inFlight": 1 })).then_some(())
        })
        .await;
    };
    let look = async {
        counted(1).await;
        let (_, explained) = bench.call("GET", "/v1/links/feed/0/explain", "").await;
        let explained: Value = serde_json::from_str(&explained).unwrap();
        let told = "1 request waits for the reply to 1 request before it: requests.in_flight allows no more at once.";
        assert_eq!(explained["requestsWhy"], told);
        assert_eq!(explained["requests"], json!({ "waiting": 1, "asked": 1, "inFlight": 1 }));
    };
    let both = async {
        counted(0).await;
        tokio::select! {
            (status, body) = behind => panic!("{status} {body}"),
            () = look => {}
        }
    };
    tokio::select! {
        (status, body) = mute => panic!("{status} {body}"),
        () = both => {}
    }
    let (_, plain) = bench.call("GET", "/v1/endpoints/plain", "").await;
    let plain: Value = serde_json::from_str(&plain).unwrap();
    assert!(plain["requests"].is_null() && plain["streams"] == json!([]), "{plain}");
}
