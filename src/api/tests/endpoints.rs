//! What is shown of an endpoint: every key of its configuration, and nothing that is secret.

use serde_json::{Value, json};

use super::bench::Bench;
use crate::config;

/// Keys that stand under another name.
const ELSEWHERE: [(&str, &str); 11] = [
    ("url", "/urls"),
    ("reconnect.on_clean_close", "/outcomes"),
    ("headers.*", "/headers"),
    ("proxy_headers.*", "/proxyHeaders"),
    ("resolve.*", "/resolve"),
    ("session.values.*", "/session/values"),
    ("delivery", "/outbox/delivery"),
    ("durability", "/outbox/durability"),
    ("confirm_interval", "/outbox/confirmInterval"),
    ("outbox.ack.outgoing", "/outbox/ack"),
    ("outbox.ack.incoming", "/outbox/ack"),
];

#[tokio::test]
async fn every_key_of_an_endpoint_is_shown_with_its_unit() {
    let bench = Bench::new("[endpoints.feed]\nurl = \"ws://127.0.0.1:1/\"").await;
    let config = bench.json("/v1/endpoints/feed").await["config"].take();
    let keys = config::keys();
    let keys: Vec<&str> = keys.iter().filter_map(|key| key.strip_prefix("endpoints.*.")).collect();
    assert!(keys.len() > 30, "{keys:?}");
    for key in keys.into_iter().filter(|key| !key.contains('[')) {
        let pointer = ELSEWHERE.iter().find(|(name, _)| *name == key);
        let pointer = pointer.map_or_else(|| format!("/{}", camel(key)), |(_, pointer)| (*pointer).to_owned());
        let shown = ["", "Ms", "Bytes"].iter().any(|unit| config.pointer(&format!("{pointer}{unit}")).is_some());
        assert!(shown, "{key} is not at {pointer} of {config}");
    }
}

/// `close_timeout` is `closeTimeout`; a dot is a step down.
fn camel(key: &str) -> String {
    let mut camel = String::new();
    for (index, word) in key.replace('.', "/").split('_').enumerate() {
        let (first, rest) = word.split_at(usize::from(index > 0));
        camel.push_str(&first.to_uppercase());
        camel.push_str(rest);
    }
    camel
}

#[tokio::test]
async fn the_configuration_in_force_is_shown_with_its_links_and_sums() {
    let text = r#"
[defaults.heartbeat]
idle = "7s"
[endpoints.feed]
urls = ["ws://127.0.0.1:1/a", "ws://127.0.0.1:1/b"]
links = 2
outcomes = [{ match = { code = "4000-4099", reason = "bye" }, then = "park", after = 3 }]
reconnect.on_clean_close = "stay_closed"
outbox = { max_bytes = "10KiB", on_full = "drop_oldest", ttl = "2s" }
tls = { cert = "chain.pem", key = "key.pem", server_name = "h.example" }
"#;
    let bench = Bench::new(text).await;
    let endpoint = bench.json("/v1/endpoints/feed").await;
    let config = &endpoint["config"];
    assert_eq!(
        config["heartbeat"],
        json!({ "ping": true, "whenIdle": "both", "idleMs": 7000, "timeoutMs": 10_000, "abortCode": null })
    );
    assert_eq!(config["reconnect"]["firstMs"], 5000);
    assert_eq!((&config["outbox"]["maxMessageBytes"], &config["outbox"]["ttlMs"]), (&json!(10_240), &json!(2000)));
    assert_eq!(config["outbox"]["onFull"], "drop_oldest");
    assert_eq!(config["tls"]["serverName"], "h.example");
    let rows = config["outcomes"].as_array().unwrap();
    assert_eq!(
        rows[0],
        json!({ "match": { "code": "4000-4099", "reason": "bye", "status": null, "class": null, "label": null, "body": null, "header": {} }, "then": "park", "after": 3, "forget": [] })
    );
    assert_eq!((&rows[1]["match"]["class"], &rows[1]["then"]), (&json!("remote"), &json!("stay_closed")));
    let links: Vec<&Value> = endpoint["links"]["items"].as_array().unwrap().iter().map(|link| &link["index"]).collect();
    assert_eq!((links, &endpoint["links"]["next"]), (vec![&json!(0), &json!(1)], &Value::Null));
    assert_eq!(endpoint["totals"]["phases"].as_object().unwrap().values().filter_map(Value::as_u64).sum::<u64>(), 2);
    let listed = bench.json("/v1/endpoints").await["items"][0].take();
    assert_eq!((&listed["config"], listed.get("links")), (config, None));
}

#[tokio::test]
async fn nothing_secret_is_shown_anywhere() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("secret");
    std::fs::write(&file, "evaluated-secret").unwrap();
    let file = file.display();
    let text = format!(
        r#"
[[api.tokens]]
name = "all"
token = "${{file:{file}}}"
scopes = ["read"]
[endpoints.feed]
urls = ["ws://user:clear-password@127.0.0.1:1/a?key=clear-query", "ws://${{file:{file}}}@127.0.0.1:1/?k=${{file:{file}}}"]
headers = {{ X-Key = "clear-${{file:{file}}}" }}
protocols = ["p.${{file:{file}}}"]
[endpoints.other]
url = "ws://127.0.0.1:1/"
headers = {{ Authorization = "Bearer clear-token" }}
"#
    );
    let bench = Bench::new(&text).await;
    for path in [
        "/v1/endpoints",
        "/v1/endpoints/feed",
        "/v1/endpoints/other",
        "/v1/links",
        "/v1/links/feed/0",
        "/v1/links/feed/0/history",
    ] {
        let request = format!(
            "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nAuthorization: Bearer evaluated-secret\r\n\r\n"
        );
        let (status, body) = bench.ask(&request).await;
        assert_eq!(status, 200, "{path}: {body}");
        for secret in ["evaluated-secret", "clear-", "user:"] {
            assert!(!body.contains(secret), "{path} shows {secret}: {body}");
        }
    }
}
