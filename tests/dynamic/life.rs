//! The life of one endpoint, and of writers who do not know of each other.

use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::{
    keys, logged, names, path,
    peer::Peer,
    problem, put, sections, started,
    support::{daemon::Daemon, until},
    told,
};

#[tokio::test]
async fn an_endpoint_is_made_changed_by_the_classes_of_a_reload_and_removed() {
    let (peer, daemon) = (Peer::listen().await, started("memory").await);
    let made = put(&daemon, "user-1", &keys(peer.port, "user-1")).await.expect(201);
    let etag = made.headers["etag"].to_str().unwrap().to_owned();
    let report = made.json();
    assert_eq!(told(&report), ["user-1/0 added endpoint"]);
    assert_eq!((&report["source"], report["etag"].as_str()), (&json!("memory"), Some(etag.as_str())));
    daemon.api.ready_after("user-1/0", 0).await;
    daemon.api.send_text("user-1", "hello").await.expect(202);
    until("the message", || async {
        if peer.seen("user-1").messages == 1 { Ok(()) } else { Err(peer.seen("user-1")) }
    })
    .await;

    let shown = daemon.api.get(&path("user-1")).await.expect(200);
    assert_eq!(shown.headers["etag"], etag.as_str());
    assert_eq!(shown.json()["source"], "memory");
    // The same again, in the other form.
    let toml = format!("url = \"ws://127.0.0.1:{}/user-1\"\n", peer.port);
    let same = daemon.api.put_with(&path("user-1"), &[("content-type", "application/toml")], toml).await.expect(200);
    assert_eq!(
        (told(&same.json()), same.headers["etag"].to_str().unwrap()),
        (vec!["user-1/0 unchanged".into()], &*etag)
    );

    let mut changed = keys(peer.port, "user-1");
    changed["heartbeat"] = json!({ "idle": "7s" });
    assert_eq!(
        told(&put(&daemon, "user-1", &changed).await.expect(200).json()),
        ["user-1/0 applied live heartbeat.idle"]
    );
    changed["headers"] = json!({ "X-A": "b" });
    let dry = daemon.api.put(&format!("{}?dry_run=true", path("user-1")), changed.to_string()).await.expect(200);
    assert_eq!(told(&dry.json()), ["user-1/0 rotate headers"]);
    assert_eq!(daemon.api.get(&path("user-1")).await.json()["config"]["headers"], json!([]), "nothing was done");
    changed["links"] = json!(2);
    let both = put(&daemon, "user-1", &changed).await.expect(200).json();
    assert_eq!(told(&both), ["user-1/0 rotate headers", "user-1/1 added links"]);
    daemon.api.ready_after("user-1/0", 1).await;
    changed["rotation"] = json!({ "enabled": false });
    changed["headers"] = json!({ "X-A": "c" });
    let closed = put(&daemon, "user-1", &changed).await.expect(200).json();
    assert!(told(&closed)[0].starts_with("user-1/0 reconnect headers"), "{closed}");
    daemon.api.ready_after("user-1/1", 1).await;

    let gone = daemon.api.delete(&path("user-1")).await.expect(200).json();
    assert_eq!(gone, json!({ "name": "user-1", "links": 2, "unsentMessages": 0 }));
    assert_eq!(daemon.api.get(&path("user-1")).await.status, 404);
    assert_eq!(daemon.api.delete(&path("user-1")).await.status, 404);
    let text = String::from_utf8(daemon.api.get("/metrics").await.body.to_vec()).unwrap();
    assert!(
        !text.contains("user-1") && text.contains("wskeeper_endpoint_changes_total{change=\"put\",result=\"ok\"} 5"),
        "{text}"
    );
    logged(&daemon, &["endpoint removed by the API", "\"endpoint\":\"user-1\"", "\"links\":2"]).await;
    assert_eq!(daemon.log().matches("endpoint put by the API").count(), 4, "what does nothing is no change");
}

#[tokio::test]
async fn what_a_removed_endpoint_could_not_send_is_told_and_a_send_meanwhile_is_refused() {
    let daemon = started("memory").await;
    // Nobody listens there.
    put(
        &daemon,
        "down",
        &json!({ "url": "ws://127.0.0.1:9/", "reconnect": { "first": "1h", "initial": "1h", "max": "1h" } }),
    )
    .await
    .expect(201);
    let id = daemon.api.send_text("down", "lost").await.expect(202).json()["id"].as_str().unwrap().to_owned();
    let gone = daemon.api.delete(&format!("{}?drain=200ms", path("down"))).await.expect(200).json();
    assert_eq!(gone["unsentMessages"], 1);
    let receipt = daemon.api.get(&format!("/v1/messages/{id}")).await.expect(200).json();
    assert_eq!((&receipt["state"], &receipt["reason"]), (&json!("dropped"), &json!("removed")));

    let peer = Peer::listen().await;
    for round in 0..20 {
        put(&daemon, "race", &keys(peer.port, "race")).await.expect(201);
        let sends = (0..8).map(|_| daemon.api.send_text("race", "x"));
        let removed = path("race");
        let (sent, gone) = tokio::join!(join_all(sends), daemon.api.delete(&removed));
        gone.expect(200);
        for answer in sent {
            assert!([202, 404, 503].contains(&answer.status), "{round}: {answer:?}");
            if answer.status == 202 {
                let id = answer.json()["id"].as_str().unwrap().to_owned();
                // Each that was accepted ends.
                until("an end", || async {
                    let receipt = daemon.api.get(&format!("/v1/messages/{id}")).await.expect(200).json();
                    let ended =
                        ["written", "confirmed", "dropped", "unknown"].map(Value::from).contains(&receipt["state"]);
                    if ended { Ok(()) } else { Err(receipt) }
                })
                .await;
            }
        }
    }
}

#[tokio::test]
async fn of_two_writers_one_is_told_that_the_other_was_there() {
    let (peer, daemon) = (Peer::listen().await, started("memory").await);
    let body = keys(peer.port, "x").to_string();
    let none = [("if-none-match", "*")];
    let made = join_all((0..8).map(|_| daemon.api.put_with("/v1/endpoints/x", &none, body.clone()))).await;
    let mut statuses: Vec<u16> = made.iter().map(|answer| answer.status).collect();
    statuses.sort_unstable();
    assert_eq!(statuses, [201, 412, 412, 412, 412, 412, 412, 412]);
    let etag = daemon.api.get("/v1/endpoints/x").await.headers["etag"].to_str().unwrap().to_owned();
    let changes = (2..6).map(|links| {
        let mut keys = keys(peer.port, "x");
        keys["links"] = links.into();
        let (api, etag) = (&daemon.api, etag.clone());
        async move { api.put_with("/v1/endpoints/x", &[("if-match", &etag)], keys.to_string()).await }
    });
    let answers = join_all(changes).await;
    assert_eq!(answers.iter().filter(|answer| answer.status == 200).count(), 1);
    let other = answers.iter().find(|answer| answer.status == 412).unwrap();
    assert_eq!(problem(other), "changed-meanwhile");
    assert_eq!(daemon.api.delete_with("/v1/endpoints/x", &[("if-match", &etag)]).await.status, 412);
    let etag = other.json()["etag"].as_str().unwrap().to_owned();
    daemon.api.delete_with("/v1/endpoints/x", &[("if-match", &etag)]).await.expect(200);
}

#[tokio::test]
async fn many_who_make_change_and_remove_one_name_leave_what_the_last_said() {
    let (peer, daemon) = (Peer::listen().await, started("memory").await);
    let acts = (0..60_u32).map(|act| {
        let (daemon, peer) = (&daemon, &peer);
        async move {
            if act % 5 == 4 {
                let status = daemon.api.delete("/v1/endpoints/x").await.status;
                assert!([200, 404].contains(&status), "{status}");
            } else {
                let mut keys = keys(peer.port, "x");
                keys["links"] = (1 + act % 3).into();
                let status = put(daemon, "x", &keys).await.status;
                assert!([200, 201].contains(&status), "{status}");
            }
        }
    });
    join_all(acts).await;
    put(&daemon, "x", &keys(peer.port, "x")).await;
    daemon.api.ready_after("x/0", 0).await;
    let links = daemon.api.get("/v1/links").await.expect(200).json();
    assert_eq!(links["items"].as_array().unwrap().len(), 1, "{links}");
    assert_eq!(names(&daemon).await, ["x"]);
}

#[tokio::test]
async fn nothing_comes_where_the_configuration_does_not_say_so_or_beyond_its_limit() {
    let off = Daemon::start(&sections("", "")).await;
    let denied = put(&off, "x", &json!({ "url": "ws://h/" })).await;
    assert_eq!((denied.status, problem(&denied)), (409, "dynamic-off".into()));
    let few =
        Daemon::start("dynamic = \"memory\"\n[limits]\nendpoints = 2\n[endpoints.file]\nurl = \"ws://127.0.0.1:9/\"\n")
            .await;
    for (name, wanted) in [("file", "endpoint-of-file"), ("one", ""), ("two", "too-many-endpoints")] {
        let answer = put(&few, name, &json!({ "url": "ws://127.0.0.1:9/" })).await;
        assert_eq!(if answer.status == 201 { String::new() } else { problem(&answer) }, wanted, "{name}");
    }
    assert_eq!(problem(&few.api.delete("/v1/endpoints/file").await), "endpoint-of-file");
    few.api.delete("/v1/endpoints/one").await.expect(200);
    put(&few, "two", &json!({ "url": "ws://127.0.0.1:9/" })).await.expect(201);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_removal_that_drains_holds_up_its_own_name_only() {
    let (peer, daemon) = (Peer::listen().await, started("memory").await);
    // It may dial in a moment, and nobody listens there: what it has waits.
    put(&daemon, "slow", &json!({ "url": "ws://127.0.0.1:9/" })).await.expect(201);
    daemon.api.send_text("slow", "x").await.expect(202);
    let (api, body) = (daemon.api.clone(), keys(peer.port, "slow").to_string());
    let removing = tokio::spawn(async move { api.delete("/v1/endpoints/slow?drain=3s").await });
    until("the name to be free", || async {
        let status = daemon.api.get(&path("slow")).await.status;
        if status == 404 { Ok(()) } else { Err(status) }
    })
    .await;
    let api = daemon.api.clone();
    let again = tokio::spawn(async move { api.put("/v1/endpoints/slow", body).await });
    put(&daemon, "other", &keys(peer.port, "other")).await.expect(201);
    daemon.api.post("/v1/reload", &[], "").await.expect(200);
    put(&daemon, "third", &keys(peer.port, "third")).await.expect(201);
    assert!(!removing.is_finished() && !again.is_finished(), "they wait for the outbox");
    assert_eq!(removing.await.unwrap().expect(200).json()["unsentMessages"], 1);
    again.await.unwrap().expect(201);
    daemon.api.ready_after("slow/0", 0).await;
}
