//! What of its machine a dynamic endpoint may name.

use serde_json::{Value, json};

use crate::{
    path,
    peer::Peer,
    problem, sections, started,
    support::{daemon::Daemon, until},
};

/// Keys at which a text with a reference may stand, and what stands around it.
fn everywhere(reference: &str) -> Vec<Value> {
    let url = "ws://127.0.0.1:9/";
    vec![
        json!({ "url": format!("ws://127.0.0.1:9/{reference}") }),
        json!({ "urls": [url, format!("ws://127.0.0.1:9/{reference}")] }),
        json!({ "url": url, "headers": { "X-A": reference } }),
        json!({ "url": url, "protocols": [reference] }),
        json!({ "url": url, "proxy": format!("http://{reference}@h:1") }),
        json!({ "url": url, "proxy": "http://h:1", "proxy_headers": { "X-A": reference } }),
        json!({ "url": url, "session": { "open": [{ "send": reference }] } }),
        json!({ "url": url, "session": { "open": [{ "send": { "json": { "a": [reference] } } }] } }),
        json!({ "url": url, "session": { "dial": [{ "http": { "url": "http://h/", "headers": { "X-A": reference }, "extract": { "a": "/a" } } }] } }),
        json!({ "url": url, "session": { "on": [{ "match": { "text": "x" }, "send": reference }] } }),
        json!({ "url": url, "session": { "every": [{ "every": "1s", "send": reference }] } }),
        json!({ "url": url, "session": { "values": { "a": reference } } }),
        json!({ "url": url, "session": { "values": { "a": { "hmac": { "key": reference, "message": "x" } } } } }),
        json!({ "url": url, "subscriptions": { "add": format!("{reference} ${{key}}") } }),
        json!({ "url": url, "push": [{ "name": "p", "url": "http://h/", "secret": reference }] }),
        json!({ "url": url, "push": [{ "name": "p", "url": "http://h/", "headers": { "X-A": reference } }] }),
        json!({ "url": url, "push": [{ "name": "p", "url": "http://h/", "proxy": format!("http://{reference}@h:1") }] }),
    ]
}

#[tokio::test]
async fn a_reference_that_is_not_listed_is_refused_at_every_key() {
    let more = "[values]\nshared = \"${file:/etc/hostname}\"\nlisted = \"${file:/etc/hostname}\"\n";
    let api = "dynamic = \"memory\"\ndynamic_references = [\"${file:/etc/wskeeper/users/*}\", \"${env:FEED_*}\", \"${value:listed}\"]";
    let daemon = Daemon::start(&sections(api, more)).await;
    for reference in [
        "${file:/etc/shadow}",
        "${file:/etc/wskeeper/users/../../shadow}",
        "${file:users/a}",
        "${env:HOME}",
        "${credential:a}",
        "${value:shared}",
    ] {
        for keys in everywhere(reference) {
            let answer = daemon.api.put(&path("x"), keys.to_string()).await;
            let told = String::from_utf8_lossy(&answer.body).into_owned();
            assert!(answer.status == 422 && told.contains("is not among api.dynamic_references"), "{keys}: {told}");
        }
    }
    let allowed = json!({ "url": "ws://127.0.0.1:9/", "headers": { "X-A": "${file:/etc/wskeeper/users/a}", "X-B": "${env:FEED_A}", "X-C": "${value:listed}" } });
    daemon.api.put(&path("x"), allowed.to_string()).await.expect(201);
    // What is no reference out of the endpoint needs no list.
    let own = json!({ "url": "ws://127.0.0.1:9/", "session": { "values": { "a": "b", "shared": "mine" }, "open": [{ "send": "${value:a} ${value:shared} ${uuid} $${file:x}" }] } });
    daemon.api.put(&path("x"), own.to_string()).await.expect(200);
}

#[tokio::test]
async fn programs_files_and_sockets_of_the_machine_are_out_of_reach() {
    let daemon = started("memory").await;
    let url = "ws://127.0.0.1:9/";
    for (keys, wanted) in [
        (json!({ "url": url, "push": [{ "name": "p", "command": ["/bin/sh", "-c", "id"] }] }), "cannot run a program"),
        (
            json!({ "url": url, "session": { "values": { "a": { "command": ["/bin/id"] } }, "open": [{ "send": "${value:a}" }] } }),
            "cannot run a program",
        ),
        (json!({ "url": url, "session": { "values": { "a": { "command": ["/bin/id"] } } } }), "cannot run a program"),
        (json!({ "url": url, "bridges": [{ "name": "p", "broker": "b", "publish": "a" }] }), "cannot have bridges"),
        (json!({ "url": url, "tls": { "ca": "/etc/shadow" } }), "may not use this file"),
        (json!({ "url": url, "tls": { "cert": "/etc/passwd", "key": "/etc/shadow" } }), "may not use this file"),
        (json!({ "url": url, "proxy_ca": "ca.pem" }), "may not use this file"),
        (json!({ "url": "ws+unix:///run/docker.sock:/" }), "may not use this file"),
        (json!({ "url": "WS+UNIX:/run/docker.sock:/" }), "may not use this file"),
        (json!({ "url": "ws+unix:///run/${var:a|docker.sock}:/" }), "cannot have references"),
    ] {
        let answer = daemon.api.put(&path("x"), keys.to_string()).await;
        let told = String::from_utf8_lossy(&answer.body).into_owned();
        assert!(answer.status == 422 && told.contains(wanted), "{keys}: {told}");
        assert!(!told.contains("does not exist"), "nothing is told of files: {told}");
    }
}

#[tokio::test]
async fn what_the_file_denies_stays_denied() {
    let daemon = Daemon::start(
        &sections("dynamic = \"memory\"", "[endpoints.x]\nurl = \"ws://h/\"\n")
            .replace("[defaults]", "[defaults]\ndeny = [\"10.0.0.0/8\"]"),
    )
    .await;
    let put = daemon.api.put(&path("y"), json!({ "url": "ws://10.0.0.1/", "deny": [] }).to_string()).await.expect(201);
    assert_eq!(put.status, 201);
    assert_eq!(daemon.api.get(&path("y")).await.json()["config"]["deny"], json!(["10.0.0.0/8"]));
    let refused =
        |link: &Value| link["lastClose"]["detail"].as_str().is_some_and(|told| told.contains("`deny` has 10.0.0.0/8"));
    daemon.api.link_until("y/0", "kept away", refused).await;
}

#[tokio::test]
async fn a_proxy_that_a_caller_names_is_in_no_denied_network() {
    let peer = Peer::listen().await;
    let daemon = Daemon::start(
        &sections("dynamic = \"memory\"", "")
            .replace("[defaults]", "[defaults]\ndeny = [\"127.0.0.2/32\"]\nproxy = \"http://127.0.0.2:9\""),
    )
    .await;
    let url = format!("ws://127.0.0.1:{}/", peer.port);
    // That of the file may be anywhere: it is asked, and nobody is there.
    let told = [
        ("file", json!({ "url": url }), "is not reached"),
        ("own", json!({ "url": url, "proxy": "http://127.0.0.2:10" }), "`deny` has 127.0.0.2/32"),
    ];
    for (name, keys, told) in told {
        daemon.api.put(&path(name), keys.to_string()).await.expect(201);
        let refused = |link: &Value| link["lastClose"]["detail"].as_str().is_some_and(|said| said.contains(told));
        daemon.api.link_until(&format!("{name}/0"), told, refused).await;
    }
    let push = json!([{ "name": "p", "url": "http://127.0.0.1:9/", "proxy": "http://127.0.0.2:10" }]);
    daemon.api.put(&path("pushed"), json!({ "url": url, "proxy": "none", "push": push }).to_string()).await.expect(201);
    daemon.api.ready_after("pushed/0", 0).await;
    // It comes back.
    daemon.api.send_text("pushed", "hello").await.expect(202);
    until("a push that is kept away", || async {
        let seen = daemon.api.get(&path("pushed")).await.json()["pushes"][0]["lastError"].clone();
        if seen.as_str().is_some_and(|told| told.contains("`deny` has 127.0.0.2/32")) { Ok(()) } else { Err(seen) }
    })
    .await;
}

#[tokio::test]
async fn defaults_that_would_give_a_secret_to_any_server_are_a_fault_of_the_file() {
    let daemon = started("memory").await;
    let more = "headers = { Authorization = \"Bearer ${file:/etc/token}\" }\npush = [{ name = \"p\", command = [\"/bin/cat\"] }]\n";
    let text = sections("dynamic = \"memory\"", "").replace("[defaults]\n", &format!("[defaults]\n{more}"));
    daemon.configure(&text);
    let answer = daemon.api.post("/v1/reload", &[], "").await;
    let told = String::from_utf8_lossy(&answer.body).into_owned();
    assert_eq!((answer.status, problem(&answer)), (422, "configuration-invalid".into()));
    assert!(
        told.contains("defaults.headers.Authorization: `${file:/etc/token}` is not among api.dynamic_references"),
        "{told}"
    );
    assert!(told.contains("defaults.push: dynamic endpoints would run this program too"), "{told}");
}
