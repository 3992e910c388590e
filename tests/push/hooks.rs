//! Servers that answer as servers do.

use std::time::Duration;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use ring::hmac;

use crate::{
    endpoint, feed, push,
    receiver::{Asked, Receiver},
    shown, shown_until,
    support::{
        daemon::Daemon,
        peer::{Peer, Recipe, Script},
        until,
    },
};

/// Whether the signature is that of Standard Webhooks.
fn is_signed(asked: &Asked, key: &[u8]) -> bool {
    let (id, timestamp) = (asked.header("webhook-id"), asked.header("webhook-timestamp"));
    let mut signed = format!("{id}.{timestamp}.").into_bytes();
    signed.extend_from_slice(&asked.body);
    let tag = STANDARD.decode(asked.header("webhook-signature").strip_prefix("v1,").unwrap()).unwrap();
    hmac::verify(&hmac::Key::new(hmac::HMAC_SHA256, key), &signed, &tag).is_ok()
}

#[tokio::test]
async fn each_message_is_posted_as_it_came_signed_and_again_under_the_same_name_where_it_failed() {
    let receiver = Receiver::start().await;
    receiver.replies([(500, vec![]), (503, vec![("retry-after", "1".to_owned())])]);
    let keys = format!(
        "{}\nheaders = {{ X-Key = \"${{file:{{folder}}/key}}\" }}\nsecret = \"${{file:{{folder}}/secret}}\"",
        receiver.url()
    );
    let mut daemon = Daemon::made(&endpoint(feed::start().await, &push("hook", &keys)));
    std::fs::write(daemon.folder().join("key"), "hunter2\n").unwrap();
    std::fs::write(daemon.folder().join("secret"), format!("whsec_{}\n", STANDARD.encode("s3cret"))).unwrap();
    daemon.launch();
    daemon.ready().await;
    feed::send(&daemon, 3).await;
    let asked = receiver.asked_times(5).await;
    assert_eq!(asked.iter().map(Asked::number).collect::<Vec<_>>(), [0, 0, 0, 1, 2]);
    for one in &asked {
        assert_eq!((one.path.as_str(), one.header("x-key")), ("/hook?a=b", "hunter2"));
        assert_eq!(one.header("content-type"), "application/json");
        assert!(is_signed(one, b"s3cret"), "{one:?}");
        assert_eq!(one.header("idempotency-key"), one.header("webhook-id"));
        assert_eq!((one.header("wskeeper-endpoint"), one.header("wskeeper-link")), ("e", "0"));
    }
    let ids: Vec<&str> = asked.iter().map(|one| one.header("webhook-id")).collect();
    assert!(ids[0] == ids[1] && ids[1] == ids[2] && ids[2] != ids[3] && ids[3] != ids[4], "{ids:?}");
    assert_eq!(asked.iter().map(|one| one.header("wskeeper-attempt")).collect::<Vec<_>>(), ["1", "2", "3", "1", "1"]);
    assert!(asked[2].at - asked[1].at >= Duration::from_secs(1), "Retry-After");
    // An inbox in memory: nobody knows what was before.
    assert!(asked[0].header("wskeeper-gap").starts_with("restart; from="), "{:?}", asked[0]);
    assert_eq!(asked[3].header("wskeeper-gap"), "");
    let now = shown_until(&daemon, "hook", "all taken", |now| now["delivered"] == 3).await;
    assert_eq!((&now["failed"], &now["retries"], &now["failingSince"]), (&2.into(), &2.into(), &().into()));
    assert_eq!(now["to"], format!("http://127.0.0.1:{}/hook", receiver.port), "{now}");
    assert_eq!(daemon.api.metric("wskeeper_push_delivered_total{endpoint=\"e\",push=\"hook\"}").await, Some(3.0));
    let log = daemon.log();
    assert!(!log.contains("hunter2") && !log.contains("s3cret") && !log.contains(&STANDARD.encode("s3cret")));
    assert!(log.contains("a push is not taken by its receiver"), "{log}");
}

#[tokio::test]
async fn a_message_that_is_refused_for_good_is_left_out_and_told_or_stops_the_push() {
    let refuses = |asked: &Asked| (asked.number() == 2).then_some(422);
    let (skips, stops) = (Receiver::at(0, refuses).await, Receiver::at(0, refuses).await);
    let more = push("skips", &skips.url()) + &push("stops", &format!("{}\non_refused = \"stop\"", stops.url()));
    let daemon = Daemon::start(&endpoint(feed::start().await, &more)).await;
    feed::send(&daemon, 5).await;
    let asked = skips.asked_times(5).await;
    assert_eq!(asked.iter().map(Asked::number).collect::<Vec<_>>(), [0, 1, 2, 3, 4]);
    let cursor = asked[2].header("wskeeper-cursor");
    assert_eq!(asked[3].header("wskeeper-gap"), format!("refused; missed=1; from={cursor}; to={cursor}"));
    let now = shown_until(&daemon, "skips", "all taken", |now| now["delivered"] == 4).await;
    assert_eq!((&now["skipped"], &now["gaps"]), (&1.into(), &2.into()), "the first is that of the restart");
    let now = shown_until(&daemon, "stops", "stopped", |now| now["state"] == "stopped").await;
    assert!(now["lastError"].as_str().unwrap().ends_with("status 422 and said: noted"), "{now}");
    assert_eq!(stops.asked().len(), 3);
    let explained = daemon.api.get("/v1/links/e/0/explain").await.expect(200).json();
    assert_eq!(explained["pushes"].as_array().unwrap().len(), 2, "{explained}");
}

#[tokio::test]
async fn events_go_many_in_one_request_and_one_that_is_refused_is_found_among_them() {
    let receiver =
        Receiver::at(0, |asked| asked.body.windows(8).any(|part| part == br#"\"n\":13"#).then_some(400)).await;
    let keys = format!("{}\nbody = \"events\"\nmatch = {{ \"/s\" = \"odd\" }}", receiver.url());
    let daemon = Daemon::start(&endpoint(feed::start().await, &push("hook", &keys))).await;
    feed::send(&daemon, 40).await;
    shown_until(&daemon, "hook", "all but one taken", |now| now["delivered"] == 19 && now["skipped"] == 1).await;
    let (mut numbers, mut gaps) = (Vec::new(), Vec::new());
    for asked in receiver.asked().into_iter().filter(|asked| !asked.body.windows(8).any(|part| part == br#"\"n\":13"#))
    {
        assert_eq!(asked.header("content-type"), "application/x-ndjson");
        for line in asked.lines() {
            match line["type"].as_str().unwrap() {
                "message" => {
                    let data: serde_json::Value = serde_json::from_str(line["data"].as_str().unwrap()).unwrap();
                    numbers.push(data["n"].as_u64().unwrap());
                }
                "gap" => gaps.push(line["kind"].as_str().unwrap().to_owned()),
                other => panic!("{other}: {line}"),
            }
        }
    }
    assert_eq!(numbers, (0..40).filter(|n| n % 2 == 1 && *n != 13).collect::<Vec<_>>());
    assert_eq!(gaps, ["restart", "refused"]);
    assert!(receiver.asked().len() < 19, "several go together");
}

#[tokio::test]
async fn a_receiver_that_was_away_is_told_how_much_it_missed_and_holds_up_nobody() {
    let port = crate::support::free_port();
    let keys = format!("url = \"http://127.0.0.1:{port}/\"\nbody = \"events\"\nbatch = 1");
    let more = format!("inbox.max_messages = 10\n{}", push("hook", &keys));
    let daemon = Daemon::start(&endpoint(feed::start().await, &more)).await;
    feed::send(&daemon, 1).await;
    shown_until(&daemon, "hook", "failing", |now| now["failed"].as_u64() > Some(1)).await;
    let mut events = daemon.api.events("e", "from=latest&types=message").await;
    for _ in 0..50 {
        feed::send(&daemon, 1).await;
        assert_eq!(events.next().await.kind, "message", "another reader goes on");
    }
    let now = shown(&daemon, "hook").await;
    assert!(now["behind"].as_u64().unwrap() >= 10 && !now["failingSince"].is_null(), "{now}");
    assert!(now["lastError"].as_str().unwrap().contains("is not reached"), "{now}");
    let receiver = Receiver::at(port, |_| None).await;
    let now = shown_until(&daemon, "hook", "taken again", |now| now["behind"] == 0).await;
    let lines: Vec<_> = receiver.asked().iter().flat_map(Asked::lines).collect();
    let lag = lines.iter().find(|line| line["kind"] == "lag").unwrap();
    let messages = lines.iter().filter(|line| line["type"] == "message").count() as u64;
    assert_eq!((messages, &lag["type"]), (now["delivered"].as_u64().unwrap(), &"gap".into()));
    // The log has facts about the link among its entries.
    assert!(lag["missed"].as_u64().unwrap() + messages >= 51, "{lag} {messages}");
}

#[tokio::test]
async fn a_change_of_a_push_touches_no_link_and_one_that_is_removed_ends() {
    let (first, second) = (Receiver::start().await, Receiver::start().await);
    let port = feed::start().await;
    let with = |keys: &str| endpoint(port, &format!("inbox.durability = \"disk\"\n{}", push("hook", keys)));
    let daemon = Daemon::start(&with(&first.url())).await;
    feed::send(&daemon, 2).await;
    first.asked_times(2).await;
    let generation = daemon.api.link("e/0").await["generation"].clone();
    shown_until(&daemon, "hook", "all taken", |now| now["delivered"] == 2).await;
    daemon.configure(&with(&second.url()));
    let plan = daemon.api.post("/v1/reload", &[], "").await.expect(200).json();
    assert_eq!(
        (&plan["changes"][0]["action"], &plan["changes"][0]["why"][0]),
        (&"applied live".into(), &"push".into())
    );
    feed::send(&daemon, 1).await;
    let asked = second.asked_times(1).await;
    assert_eq!((asked[0].number(), asked[0].header("wskeeper-gap")), (2, ""), "it goes on where it was");
    assert_eq!((first.asked().len(), &daemon.api.link("e/0").await["generation"]), (2, &generation));
    daemon.configure(&endpoint(port, "inbox.durability = \"disk\""));
    daemon.api.post("/v1/reload", &[], "").await.expect(200);
    feed::send(&daemon, 1).await;
    let endpoint = daemon.api.get("/v1/endpoints/e").await.expect(200).json();
    assert_eq!((endpoint["pushes"].as_array().unwrap().len(), second.asked().len()), (0, 1));
}

#[tokio::test]
async fn an_empty_message_has_a_length() {
    let receiver = Receiver::start().await;
    let daemon = Daemon::start(&endpoint(feed::start().await, &push("hook", &receiver.url()))).await;
    daemon.api.ready_after("e/0", 0).await;
    daemon.api.send_text("e", "empty").await.expect(202);
    let asked = receiver.asked_times(1).await;
    assert_eq!((asked[0].header("content-length"), asked[0].body.len()), ("0", 0), "{asked:?}");
}

#[tokio::test]
async fn nothing_is_signed_with_an_empty_secret() {
    let receiver = Receiver::start().await;
    let keys = format!("{}\nsecret = \"${{file:{{folder}}/secret}}\"", receiver.url());
    let mut daemon = Daemon::made(&endpoint(feed::start().await, &push("hook", &keys)));
    std::fs::write(daemon.folder().join("secret"), "\n").unwrap();
    daemon.launch();
    daemon.ready().await;
    feed::send(&daemon, 1).await;
    let now = shown_until(&daemon, "hook", "failing", |now| now["lastError"].is_string()).await;
    assert!(now["lastError"].as_str().unwrap().contains("secret is empty"), "{now}");
    std::fs::write(daemon.folder().join("secret"), "s3cret\n").unwrap();
    assert!(is_signed(&receiver.asked_times(1).await[0], b"s3cret"));
}

#[tokio::test]
async fn a_server_that_repeats_what_it_was_told_in_confidence_is_not_quoted_with_it() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let router = axum::Router::new().fallback(|request: axum::extract::Request| async move {
        (http::StatusCode::INTERNAL_SERVER_ERROR, format!("{} {:?}", request.uri(), request.headers()))
    });
    tokio::spawn(async move { axum::serve(listener, router).await });
    let keys = format!(
        "url = \"http://127.0.0.1:{port}/services/${{file:{{folder}}/key}}\"\nheaders = {{ Authorization = \"Bearer ${{file:{{folder}}/token}}\" }}"
    );
    let mut daemon = Daemon::made(&endpoint(feed::start().await, &push("hook", &keys)));
    std::fs::write(daemon.folder().join("key"), "T0000-hush\n").unwrap();
    std::fs::write(daemon.folder().join("token"), "hunter2\n").unwrap();
    daemon.launch();
    daemon.ready().await;
    feed::send(&daemon, 1).await;
    let now = shown_until(&daemon, "hook", "failing", |now| now["lastError"].is_string()).await;
    assert!(now["lastError"].as_str().unwrap().contains("status 500 and said: "), "{now}");
    let explained = daemon.api.get("/v1/links/e/0/explain").await.expect(200).json();
    for text in [now.to_string(), explained.to_string(), daemon.log()] {
        assert!(!text.contains("hush") && !text.contains("hunter2"), "{text}");
    }
}

#[tokio::test]
async fn a_push_goes_through_its_own_proxy_and_says_what_that_refuses() {
    const WORDS: [(&str, &[&str], &str); 2] =
        [("squid", &["squid"], "http"), ("microsocks", &["microsocks"], "socks5h")];
    for (needs, words, scheme) in WORDS {
        let Some(proxy) = Peer::start(Recipe::Script(Script { file: "proxy.sh", needs, words })).await else { return };
        let receiver = Receiver::start().await;
        let by = |user: &str| format!("{}\nproxy = \"{scheme}://{user}127.0.0.1:{}\"", receiver.url(), proxy.port);
        let more = push("hook", &by("al%40ice:o%3Apen%2F@")) + &push("wrong", &by("al%40ice:wr0ng@"));
        let daemon = Daemon::start(&endpoint(feed::start().await, &more)).await;
        feed::send(&daemon, 3).await;
        let asked = receiver.asked_times(3).await;
        assert_eq!(asked.iter().map(Asked::number).collect::<Vec<_>>(), [0, 1, 2]);
        let wrong = shown_until(&daemon, "wrong", "refused by the proxy", |now| !now["lastError"].is_null()).await;
        let told = wrong["lastError"].as_str().unwrap();
        let place = format!("the proxy {scheme}://127.0.0.1:{}", proxy.port);
        assert!(told.contains(&place) && (scheme != "http" || told.contains("407")), "{told}");
        let config = daemon.api.get("/v1/endpoints/e").await.expect(200).json()["config"].to_string();
        assert!(config.contains(&format!("{scheme}://127.0.0.1:{}", proxy.port)), "{config}");
        let log = daemon.log();
        assert!(
            ![&config, &log, told]
                .iter()
                .any(|text| text.contains("wr0ng") || text.contains("o:pen") || text.contains("o%3Apen")),
            "{config} {log}"
        );
        let port = receiver.port;
        drop(daemon);
        if needs == "squid" {
            // squid writes down what has ended.
            until("the push in its log", || async {
                let log = proxy.log();
                if log.contains(&format!("CONNECT 127.0.0.1:{port}")) { Ok(()) } else { Err(log) }
            })
            .await;
        }
    }
}

#[tokio::test]
async fn a_push_does_not_reach_a_network_that_its_endpoint_denies() {
    let receiver = Receiver::start().await;
    let url = format!("url = \"http://localhost:{}/\"\n", receiver.port);
    let denied =
        format!("deny = [\"127.0.0.2/32\"]\nresolve = {{ \"localhost:{}\" = [\"127.0.0.2\"] }}\n", receiver.port);
    let daemon = Daemon::start(&endpoint(feed::start().await, &(denied + &push("hook", &url)))).await;
    feed::send(&daemon, 1).await;
    let now = shown_until(&daemon, "hook", "a failure", |now| !now["lastError"].is_null()).await;
    assert!(now["lastError"].as_str().unwrap().contains("`deny`"), "{now}");
    assert!(receiver.asked().is_empty());
}
