//! Presets that sign, or fetch what they need before they dial, against stand-ins: Slack, OKX, Coinbase.

use std::{
    fs,
    sync::{
        Arc,
        atomic::{AtomicU16, Ordering},
    },
};

use base64::{Engine, prelude::BASE64_STANDARD, prelude::BASE64_URL_SAFE_NO_PAD};
use ring::{hmac, signature};
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;

use crate::{
    answer,
    calls::Http,
    explained_when_parked,
    stand::{Stand, text},
    support::daemon::Daemon,
    with_preset,
};

fn said(value: &Value) -> Vec<Message> {
    vec![text(&value.to_string())]
}

fn read(heard: &str) -> Value {
    serde_json::from_str(heard).unwrap_or_default()
}

/// Slack's gateway: `hello`, an envelope for each word, and a request to change over.
fn socket_mode(heard: Option<&str>) -> Vec<Message> {
    match heard {
        None => said(&json!({ "type": "hello", "num_connections": 1 })),
        Some("refresh") => said(&json!({ "type": "disconnect", "reason": "refresh_requested" })),
        Some("disable") => said(&json!({ "type": "disconnect", "reason": "link_disabled" })),
        Some(ack) if read(ack)["envelope_id"].is_string() => Vec::new(),
        Some("queued") => Vec::new(),
        Some(word) => said(&json!({ "type": "events_api", "envelope_id": format!("id of {word}"), "payload": {} })),
    }
}

/// What gives out URLs: each has a ticket of its own.
async fn tickets(gateway: Arc<AtomicU16>) -> Http {
    let given = AtomicU16::new(0);
    Http::start(move |request| {
        if !request.contains("authorization: Bearer xapp-right\r\n") {
            return (200, json!({ "ok": false, "error": "invalid_auth" }).to_string());
        }
        let (port, ticket) = (gateway.load(Ordering::Relaxed), given.fetch_add(1, Ordering::Relaxed));
        (200, json!({ "ok": true, "url": format!("ws://127.0.0.1:{port}/link/?ticket={ticket}") }).to_string())
    })
    .await
}

fn slack(http: u16, token: &str) -> String {
    let values = format!("session.values = {{ api = \"http://127.0.0.1:{http}/api\", token = \"{token}\" }}");
    with_preset("slack", "${value:socket}", &values)
}

#[tokio::test]
async fn slack_gives_out_a_url_for_each_connection_and_each_envelope_is_acknowledged() {
    let port = Arc::new(AtomicU16::new(0));
    let http = tickets(Arc::clone(&port)).await;
    let mut stand = Stand::start("", socket_mode).await;
    port.store(stand.port, Ordering::Relaxed);
    let daemon = Daemon::start(&slack(http.port, "xapp-right")).await;
    let link = daemon.api.ready_after("e/0", 0).await;
    assert!(answer(&daemon, "hello").await.contains("id of hello"), "`hello` is hidden");
    let is_acknowledged =
        |heard: &[String]| heard.last().is_some_and(|last| last == r#"{"envelope_id":"id of hello"}"#);
    stand.last("an acknowledgement", is_acknowledged).await;

    daemon.api.send_text("e", "refresh").await.expect(202);
    let link = daemon.api.ready_after("e/0", link["generation"].as_u64().unwrap()).await;
    stand.heard_after_a_restart(&daemon).await;
    assert!(link["generation"].as_u64() >= Some(2));
    let tickets: Vec<String> = stand.asked();
    let wanted = ["/link/?ticket=0 ", "/link/?ticket=1 "];
    assert!(tickets.len() >= 3 && tickets[..2] == wanted && tickets.last() != Some(&tickets[1]), "{tickets:?}");
    stand.goes_on(&daemon, "").await;

    daemon.api.send_text("e", "disable").await.expect(202);
    assert!(explained_when_parked(&daemon).await.contains("link_disabled"));
}

#[tokio::test]
async fn slack_refuses_a_token_and_the_link_is_parked() {
    let http = tickets(Arc::default()).await;
    let mut daemon = Daemon::made(&slack(http.port, "s3cret-wrong"));
    daemon.launch();
    daemon.alive().await;
    let explained = explained_when_parked(&daemon).await;
    assert!(explained.contains("socket") && !explained.contains("s3cret-wrong"), "{explained}");
    assert!(!daemon.log().contains("s3cret-wrong"));
}

/// OKX's private channels: the login is signed over its own time.
fn exchange(heard: Option<&str>) -> Vec<Message> {
    let Some(heard) = heard else { return Vec::new() };
    if heard == "ping" {
        return vec![text("pong")];
    }
    let login = read(heard);
    if login["op"] == "login" {
        let login = &login["args"][0];
        let signed = format!("{}GET/users/self/verify", login["timestamp"].as_str().unwrap());
        let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, b"right"), signed.as_bytes());
        let is_right =
            login["sign"] == BASE64_STANDARD.encode(tag) && login["apiKey"] == "key" && login["passphrase"] == "phrase";
        let (event, code, msg) = if is_right { ("login", "0", "") } else { ("error", "60007", "Invalid sign") };
        return said(&json!({ "event": event, "code": code, "msg": msg, "connId": "a4d3ae55" }));
    }
    match heard {
        "upgrade" => said(
            &json!({ "event": "notice", "code": "64008", "msg": "The connection will soon be closed for a service upgrade." }),
        ),
        "queued" => Vec::new(),
        _ => said(&json!({ "event": "subscribe", "arg": { "channel": "account" }, "connId": "a4d3ae55" })),
    }
}

fn okx(port: u16, secret: &str) -> String {
    let values = format!("session.values = {{ key = \"key\", secret = \"{secret}\", passphrase = \"phrase\" }}");
    // As seldom as in the preset would be too long to wait for.
    let every = "session.every = [{ every = \"200ms\", when_idle = \"in\", send = \"ping\", expect = { regex = '^pong$' }, hide = true }]";
    with_preset("okx", &format!("ws://127.0.0.1:{port}/ws/v5/private"), &format!("{values}\n{every}"))
}

#[tokio::test]
async fn okx_is_logged_into_by_a_signature_first_on_every_connection_and_left_before_an_upgrade() {
    let mut stand = Stand::start("", exchange).await;
    let daemon = Daemon::start(&okx(stand.port, "right")).await;
    let link = daemon.api.ready_after("e/0", 0).await;
    stand.last("two pings", |heard| heard.iter().filter(|heard| *heard == "ping").count() >= 2).await;
    assert!(answer(&daemon, "hello").await.contains("account"), "the login and pongs are hidden");
    daemon.api.send_text("e", "upgrade").await.expect(202);
    daemon.api.ready_after("e/0", link["generation"].as_u64().unwrap()).await;
    let heard = stand.heard_after_a_restart(&daemon).await;
    assert_eq!(read(&heard[0])["op"], "login", "{heard:?}");
    assert_eq!(heard.iter().filter(|heard| read(heard)["op"] == "login").count(), 1);
    stand.goes_on(&daemon, r#""op":"login""#).await;
}

#[tokio::test]
async fn okx_refuses_a_signature_in_its_own_words() {
    let stand = Stand::start("", exchange).await;
    let mut daemon = Daemon::made(&okx(stand.port, "s3cret-wrong"));
    daemon.launch();
    daemon.alive().await;
    let explained = explained_when_parked(&daemon).await;
    assert!(explained.contains("Invalid sign") && !explained.contains("s3cret-wrong"), "{explained}");
}

/// Coinbase's: what is subscribed to is told back, where the JWT is signed by this key.
fn advanced_trade(heard: Option<&str>, public: &[u8]) -> Vec<Message> {
    let Some(heard) = heard else { return Vec::new() };
    let request = read(heard);
    match request["channel"].as_str() {
        Some("heartbeats") => said(&json!({ "channel": "heartbeats", "events": [{ "heartbeat_counter": 1 }] })),
        Some(channel) => {
            let jwt = request["jwt"].as_str().unwrap_or_default();
            let (signed, signature) = jwt.rsplit_once('.').unwrap_or_default();
            let key = signature::UnparsedPublicKey::new(&signature::ECDSA_P256_SHA256_FIXED, public);
            let decode = |part: &str| BASE64_URL_SAFE_NO_PAD.decode(part).unwrap_or_default();
            let parts: Vec<Value> =
                signed.split('.').map(|part| serde_json::from_slice(&decode(part)).unwrap()).collect();
            let says = |name: &str, of: usize| parts[of][name].as_str().unwrap_or_default().to_owned();
            let lasts = parts[1]["exp"].as_u64().unwrap_or(0) - parts[1]["iat"].as_u64().unwrap_or(0);
            let is_right = key.verify(signed.as_bytes(), &decode(signature)).is_ok()
                && (says("kid", 0), says("sub", 1), says("iss", 1), lasts)
                    == ("key".into(), "key".into(), "cdp".into(), 120)
                && parts[1]["nbf"].is_u64();
            if !is_right {
                return said(&json!({ "type": "error", "message": "authentication failure" }));
            }
            let subscriptions = json!({ "subscriptions": { channel: ["BTC-USD"] } });
            said(&json!({ "channel": "subscriptions", "events": [subscriptions] }))
        }
        None if heard == "queued" => Vec::new(),
        None => said(&json!({ "channel": "user", "events": [] })),
    }
}

async fn coinbase(right: &rcgen::KeyPair) -> Stand {
    let public = right.public_key_raw().to_vec();
    Stand::start("", move |heard| advanced_trade(heard, &public)).await
}

fn subscribed(port: u16, key: &rcgen::KeyPair) -> Daemon {
    let values = "session.values = { key = \"key\", secret = \"${file:{folder}/key.pem}\", channel = \"user\", products = '[\"BTC-USD\"]' }";
    let daemon = Daemon::made(&with_preset("coinbase", &format!("ws://127.0.0.1:{port}"), values));
    fs::write(daemon.folder().join("key.pem"), key.serialize_pem()).unwrap();
    daemon
}

fn key() -> rcgen::KeyPair {
    rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap()
}

#[tokio::test]
async fn coinbase_is_subscribed_to_by_a_jwt_first_on_every_connection() {
    let right = key();
    let mut stand = coinbase(&right).await;
    let mut daemon = subscribed(stand.port, &right);
    daemon.launch();
    daemon.ready().await;
    assert!(answer(&daemon, "hello").await.contains("user"), "heartbeats are hidden");
    let heard = stand.heard_after_a_restart(&daemon).await;
    let channels: Vec<Value> = heard.iter().map(|heard| read(heard)["channel"].clone()).collect();
    assert_eq!(channels, [json!("user"), json!("heartbeats"), Value::Null], "{heard:?}");
    stand.goes_on(&daemon, "jwt").await;
}

#[tokio::test]
async fn coinbase_refuses_a_jwt_in_its_own_words() {
    let stand = coinbase(&key()).await;
    let mut daemon = subscribed(stand.port, &key());
    daemon.launch();
    daemon.alive().await;
    let explained = explained_when_parked(&daemon).await;
    assert!(explained.contains("authentication failure"), "{explained}");
}
