//! Dead letters, orphans and the store, from the first refusal to an operator's word.

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use serde_json::{Value, json};

use super::bench::{Bench, picky, until};
use crate::config::parse_toml;

const DEAD: &str = "/v1/dead-letters";

fn parsed(body: &str) -> Value {
    serde_json::from_str(body).unwrap_or_else(|error| panic!("{error}: {body:?}"))
}

/// An endpoint whose peer refuses what begins with `bad`, and the switch for that.
async fn refused() -> (Bench, Arc<AtomicBool>) {
    let refuses = Arc::new(AtomicBool::new(true));
    let port = picky(Arc::clone(&refuses)).await;
    let text = format!(
        "[endpoints.feed]\nurl = \"ws://127.0.0.1:{port}/\"\n\
         reconnect = {{ first = \"1ms\", initial = \"1ms\", max = \"1ms\" }}\noutbox = {{ delivery = \"at_least_once\" }}"
    );
    (Bench::new(&text).await, refuses)
}

async fn dead(bench: &Bench, number: usize) -> Value {
    until("dead letters", async || {
        let list = bench.json(DEAD).await;
        (list["items"].as_array().unwrap().len() == number).then_some(list)
    })
    .await
}

#[tokio::test]
async fn a_refused_message_is_listed_shown_and_sent_again() {
    let (bench, refuses) = refused().await;
    let (status, receipt) = bench.call("POST", "/v1/endpoints/feed/messages?key=k", "bad news").await;
    assert_eq!(status, 202);
    let id = parsed(&receipt)["id"].as_str().unwrap().to_owned();
    let letter = dead(&bench, 1).await["items"][0].take();
    let told = |key: &str| letter[key].clone();
    assert_eq!((told("id"), told("endpoint"), told("link")), (json!(id), json!("feed"), json!(0)));
    assert_eq!((told("key"), told("kind"), told("bytes")), (json!("k"), json!("text"), json!(8)));
    assert_eq!((told("reason"), letter.get("data")), (json!("poison"), None));
    assert!(told("acceptedAt").as_str() <= told("diedAt").as_str(), "{letter}");
    assert_eq!(bench.json(&format!("/v1/messages/{id}")).await["state"], "dead");
    assert_eq!(bench.json(&format!("{DEAD}/{id}")).await["data"], "bad news");
    assert_eq!(bench.json("/v1/store").await["deadLetters"], 1);
    refuses.store(false, Ordering::Relaxed);
    let (status, again) = bench.call("POST", &format!("{DEAD}/{id}/retry"), "").await;
    assert_eq!(status, 202, "{again}");
    let again = parsed(&again)["id"].as_str().unwrap().to_owned();
    assert_ne!(again, id);
    until("a confirmed message", async || {
        (bench.json(&format!("/v1/messages/{again}")).await["state"] == "confirmed").then_some(())
    })
    .await;
    assert_eq!(bench.get(&format!("{DEAD}/{id}")).await.0, 404);
}

#[tokio::test]
async fn dead_letters_come_in_pages_and_are_dropped() {
    let (bench, _refuses) = refused().await;
    for body in ["bad 1", "bad 2", "bad 3"] {
        assert_eq!(bench.call("POST", "/v1/endpoints/feed/messages?type=binary", body).await.0, 202);
    }
    let all = dead(&bench, 3).await;
    let ids: Vec<_> = all["items"].as_array().unwrap().iter().map(|letter| letter["id"].as_str().unwrap()).collect();
    let page = bench.json(&format!("{DEAD}?limit=2&endpoint=feed")).await;
    assert_eq!((&page["items"][1]["id"], &page["next"]), (&json!(ids[1]), &json!(ids[1])));
    let rest = bench.json(&format!("{DEAD}?after={}", ids[1])).await;
    assert_eq!((&rest["items"][0]["id"], &rest["next"]), (&json!(ids[2]), &Value::Null));
    assert_eq!(bench.json(&format!("{DEAD}?endpoint=other")).await["items"], json!([]));
    let data = bench.json(&format!("{DEAD}/{}?binaryType=hex", ids[0])).await["data"].take();
    assert_eq!(data, "6261642031");
    assert_eq!(bench.call("DELETE", &format!("{DEAD}/{}", ids[0]), "").await, (204, String::new()));
    assert_eq!(bench.call("DELETE", &format!("{DEAD}/{}", ids[0]), "").await.0, 404);
    dead(&bench, 2).await;
}

#[tokio::test]
async fn a_letter_that_is_refused_when_sent_again_stays() {
    let (bench, _refuses) = refused().await;
    bench.call("POST", "/v1/endpoints/feed/messages", "bad").await;
    let id = dead(&bench, 1).await["items"][0]["id"].as_str().unwrap().to_owned();
    bench.apply(parse_toml("", "test.toml").unwrap()).await;
    let (status, problem) = bench.call("POST", &format!("{DEAD}/{id}/retry"), "").await;
    assert_eq!((status, &parsed(&problem)["type"]), (404, &json!("urn:wskeeper:problem:not-found")), "{problem}");
    dead(&bench, 1).await;
}

fn durable(folder: &Path, names: &[&str]) -> String {
    let endpoints = names
        .iter()
        .map(|name| format!("[endpoints.{name}]\nurl = \"ws://127.0.0.1:1/\"\noutbox = {{ durability = \"disk\" }}\n"));
    format!("[storage]\ndir = {:?}\n{}", folder.display().to_string(), endpoints.collect::<String>())
}

#[tokio::test]
async fn orphans_are_listed_moved_and_discarded() {
    let folder = tempfile::tempdir().unwrap();
    let bench = Bench::new(&durable(folder.path(), &["gone", "home"])).await;
    for body in ["one", "four"] {
        assert_eq!(bench.call("POST", "/v1/endpoints/gone/messages", body).await.0, 202);
    }
    assert_eq!(bench.json("/v1/orphans").await, json!({ "items": [], "next": null }));
    bench.apply(parse_toml(&durable(folder.path(), &["home"]), "test.toml").unwrap()).await;
    let orphans = bench.json("/v1/orphans").await;
    assert_eq!(orphans["items"], json!([{ "endpoint": "gone", "link": 0, "messages": 2, "bytes": 7 }]));
    let store = bench.json("/v1/store").await;
    assert_eq!((&store["state"], &store["messages"], &store["orphans"]), (&json!("ok"), &json!(2), &json!(2)));
    let to = |endpoint: &str| format!("{{\"endpoint\": {endpoint:?}, \"link\": 0}}");
    assert_eq!(bench.call("POST", "/v1/orphans/gone/0/move", "{}").await.0, 400);
    assert_eq!(bench.call("POST", "/v1/orphans/gone/0/move", &to("nowhere")).await.0, 409);
    assert_eq!(bench.call("POST", "/v1/orphans/gone/7/move", &to("home")).await.0, 404);
    let moved = bench.call("POST", "/v1/orphans/gone/0/move", &to("home")).await;
    assert_eq!(moved, (200, "{\"messages\":2}".to_owned()));
    until("messages that are queued at their new link", async || {
        (bench.json("/v1/links/home/0").await["queuedMessages"] == 2).then_some(())
    })
    .await;
    assert_eq!(bench.call("DELETE", "/v1/orphans/gone/0", "").await.0, 404);
    bench.apply(parse_toml(&durable(folder.path(), &[]), "test.toml").unwrap()).await;
    assert_eq!(bench.call("DELETE", "/v1/orphans/home/0", "").await, (200, "{\"messages\":2}".to_owned()));
    assert_eq!(bench.json("/v1/store").await["messages"], 0);
}

#[tokio::test]
async fn stored_can_be_waited_for_where_messages_are_stored() {
    let folder = tempfile::tempdir().unwrap();
    let text = durable(folder.path(), &["disk"]) + "[endpoints.memory]\nurl = \"ws://127.0.0.1:1/\"\n";
    let bench = Bench::new(&text).await;
    let (status, receipt) = bench.call("POST", "/v1/endpoints/disk/messages?wait=stored", "x").await;
    assert_eq!((status, &parsed(&receipt)["state"]), (200, &json!("stored")), "{receipt}");
    let (status, problem) = bench.call("POST", "/v1/endpoints/memory/messages?wait=stored", "x").await;
    assert_eq!((status, &parsed(&problem)["type"]), (409, &json!("urn:wskeeper:problem:not-durable")), "{problem}");
    assert_eq!(bench.json("/v1/links/memory/0").await["queuedMessages"], 0);
}

#[tokio::test]
async fn receipts_and_idempotency_keys_of_a_durable_endpoint_outlive_the_daemon() {
    let folder = tempfile::tempdir().unwrap();
    let text = durable(folder.path(), &["disk"]);
    let post = "POST /v1/endpoints/disk/messages HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\
                Idempotency-Key: k\r\nContent-Length: 1\r\n\r\nx";
    let first = Bench::new(&text).await;
    let (status, receipt) = first.ask(post).await;
    assert_eq!(status, 202, "{receipt}");
    first.pool.shut_down(tokio::time::Instant::now()).await;
    first.stop().await;
    let second = Bench::new(&text).await;
    let (status, repeat) = second.ask(post).await;
    assert_eq!((status, &parsed(&repeat)["id"]), (202, &parsed(&receipt)["id"]), "{repeat}");
    let id = parsed(&receipt)["id"].as_str().unwrap().to_owned();
    assert_eq!(second.json(&format!("/v1/messages/{id}")).await["state"], "stored");
    assert_eq!(second.json("/v1/links/disk/0").await["queuedMessages"], 1);
}

#[tokio::test]
async fn a_store_that_can_be_opened_again_gives_its_messages_to_links_that_run() {
    let folder = tempfile::tempdir().unwrap();
    let text = durable(folder.path(), &["disk"]);
    let first = Bench::new(&text).await;
    assert_eq!(first.call("POST", "/v1/endpoints/disk/messages", "x").await.0, 202);
    first.pool.shut_down(tokio::time::Instant::now()).await;
    first.stop().await;
    let lock = std::fs::File::open(folder.path().join("wskeeper.lock")).unwrap();
    // The first daemon's store lets go of it once its thread has ended.
    until("the lock", async || lock.try_lock().ok()).await;
    let second = Bench::new(&text).await;
    assert_eq!(second.json("/v1/store").await["state"], "failed");
    lock.unlock().unwrap();
    second.apply(parse_toml(&text, "test.toml").unwrap()).await;
    assert_eq!(second.json("/v1/store").await["state"], "ok");
    until("the message at its link", async || {
        (second.json("/v1/links/disk/0").await["queuedMessages"] == 1).then_some(())
    })
    .await;
    assert_eq!(second.json("/v1/orphans").await["items"], json!([]));
}

#[tokio::test]
async fn a_store_that_cannot_be_opened_is_told_of_and_refuses_only_what_needs_it() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("store.sqlite"), "not a store, and longer than nothing").unwrap();
    let text = durable(folder.path(), &["disk"]) + "[endpoints.memory]\nurl = \"ws://127.0.0.1:1/\"\n";
    let bench = Bench::new(&text).await;
    let store = bench.json("/v1/store").await;
    assert_eq!(store["state"], "failed");
    assert!(store["failure"].as_str().is_some_and(|why| why.contains("is not a store of wskeeper")), "{store}");
    let (status, problem) = bench.call("POST", "/v1/endpoints/disk/messages", "x").await;
    assert_eq!((status, &parsed(&problem)["type"]), (503, &json!("urn:wskeeper:problem:store-unavailable")));
    assert_eq!(bench.call("POST", "/v1/endpoints/memory/messages", "x").await.0, 202);
    assert_eq!(bench.get("/readyz").await.0, 503);
}
