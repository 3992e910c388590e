//! What is put, and is no endpoint.

use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::UnixStream,
};

use crate::{keys, logged, names, path, peer::Peer, problem, put, sections, started, support::daemon::Daemon};

/// The pointer and the line of each fault.
fn places(answer: &Value) -> Vec<(String, Option<u64>)> {
    let errors = answer["errors"].as_array().unwrap().iter();
    errors.map(|error| (error["pointer"].as_str().unwrap().to_owned(), error["line"].as_u64())).collect()
}

#[tokio::test]
async fn every_fault_is_told_with_the_pointer_of_its_key_and_nothing_is_made() {
    let daemon = started("memory").await;
    let body = "{\n \"url\": \"ftp://h/\",\n \"links\": 0,\n \"outbox\": { \"max_bites\": 1 },\n \"headers\": { \"X.Y\": 5 }\n}";
    let answer = daemon.api.put(&path("x"), body).await;
    assert_eq!((answer.status, problem(&answer)), (422, "endpoint-invalid".into()));
    let mut found = places(&answer.json());
    found.sort();
    let wanted = [("/headers/X.Y", 5), ("/links", 3), ("/outbox/max_bites", 4), ("/url", 2)];
    assert_eq!(found, wanted.map(|(pointer, line)| (pointer.to_owned(), Some(line))));
    let told = answer.json().to_string();
    assert!(told.contains("did you mean `max_bytes`?"), "{told}");

    for (body, wanted) in [
        ("{", "syntax error"),
        ("[]", "holds no sections"),
        ("{\"url\":\"ws://h/\",\"url\":\"ws://i/\"}", "duplicate key"),
        ("{}", "is missing"),
        ("{\"endpoints\":{\"a\":{\"url\":\"ws://h/\"}}}", "unknown key"),
    ] {
        let answer = daemon.api.put(&path("x"), body).await;
        assert!(answer.status == 422 && answer.json().to_string().contains(wanted), "{body}: {answer:?}");
    }
    let deep = format!("{{\"url\":\"ws://h/\",\"session\":{{\"open\":{}1{}}}}}", "[".repeat(60), "]".repeat(60));
    assert!(daemon.api.put(&path("x"), deep).await.json().to_string().contains("nested too deep"));
    let very_deep = "[".repeat(100_000);
    assert_eq!(daemon.api.put(&path("x"), very_deep).await.status, 422);
    assert_eq!(
        daemon.api.put_with(&path("x"), &[("content-type", "application/yaml")], "url: ws://h/").await.status,
        415
    );
    assert_eq!(daemon.api.put(&path("x"), vec![0xff, 0xfe]).await.status, 400);
    assert_eq!(daemon.api.put(&format!("{}?kept=disk", path("x")), "{}").await.status, 400);
    assert_eq!(names(&daemon).await, Vec::<String>::new());
}

#[tokio::test]
async fn a_name_that_is_none_is_refused_and_leads_nowhere() {
    let daemon = started("disk").await;
    let long = "n".repeat(65);
    for name in ["..%2F..%2Fevil", "%2e%2e", ".hidden", "a%2Fb", "a%00b", "-x", "x%20y", "%C3%A9", &long, ".lock"] {
        let answer = daemon.api.put(&path(name), "{\"url\":\"ws://h/\"}").await;
        assert!([400, 404, 422].contains(&answer.status), "{name}: {answer:?}");
    }
    let files: Vec<_> = std::fs::read_dir(daemon.folder().join("storage/endpoints"))
        .unwrap()
        .map(|file| file.unwrap().file_name())
        .collect();
    assert_eq!(files, [".lock"]);
    assert_eq!(names(&daemon).await, Vec::<String>::new());
}

#[tokio::test]
async fn a_body_that_is_huge_or_never_ends_is_cut_off_and_holds_up_nobody() {
    let peer = Peer::listen().await;
    let daemon = Daemon::start(&sections("dynamic = \"memory\"\nbody_timeout = \"500ms\"", "")).await;
    let huge = json!({ "url": "ws://h/", "headers": { "X-A": "x".repeat(2 << 20) } }).to_string();
    assert_eq!(daemon.api.put(&path("x"), huge).await.status, 413);
    let mut slow = UnixStream::connect(daemon.folder().join("api.sock")).await.unwrap();
    slow.write_all(b"PUT /v1/endpoints/x HTTP/1.1\r\nhost: localhost\r\ncontent-length: 100\r\n\r\n{\"url\":")
        .await
        .unwrap();
    // Another writes the same meanwhile.
    put(&daemon, "x", &keys(peer.port, "x")).await.expect(201);
    let mut answer = Vec::new();
    slow.read_to_end(&mut answer).await.unwrap();
    assert!(answer.starts_with(b"HTTP/1.1 408"), "{}", String::from_utf8_lossy(&answer));
    daemon.api.ready_after("x/0", 0).await;
}

#[tokio::test]
async fn only_a_token_with_the_scope_admin_for_that_name_makes_endpoints_and_no_secret_is_shown() {
    let text = "dynamic = \"memory\"\n[[api.tokens]]\nname = \"all\"\ntoken = \"${env:ALL}\"\nscopes = [\"admin\", \"read\"]\n\
        [[api.tokens]]\nname = \"one\"\ntoken = \"${env:ONE}\"\nscopes = [\"admin\"]\nendpoints = [\"mine\"]\n\
        [[api.tokens]]\nname = \"reader\"\ntoken = \"${env:READER}\"\nscopes = [\"read\", \"send\"]\n";
    let mut daemon = Daemon::made(&sections(text, ""));
    for name in ["ALL", "ONE", "READER"] {
        daemon.set_variable(name, &format!("token-{name}"));
    }
    daemon.launch();
    daemon.alive().await;
    let body =
        "{\"url\":\"ws://user:hunter2@127.0.0.1:9/?key=hunter3\",\"headers\":{\"Authorization\":\"Bearer hunter4\"}}";
    for (token, name, wanted) in [
        ("token-READER", "mine", 403),
        ("token-ONE", "other", 403),
        ("token-ONE", "mine", 422),
        ("token-ALL", "other", 201),
    ] {
        // Credentials twice are a fault, of which no text is told.
        let body = if wanted == 422 { body.to_owned() } else { body.replace("user:hunter2@", "") };
        let answer = daemon.api.clone().with_token(token).put(&path(name), body).await;
        assert_eq!(answer.status, wanted, "{token} {name}: {answer:?}");
        assert!(!String::from_utf8_lossy(&answer.body).contains("hunter"), "{answer:?}");
    }
    let shown = daemon.api.clone().with_token("token-READER").get(&path("other")).await.expect(200);
    logged(&daemon, &["endpoint put by the API", "\"by\":\"all\"", "\"endpoint\":\"other\""]).await;
    assert!(!String::from_utf8_lossy(&shown.body).contains("hunter") && !daemon.log().contains("hunter"));
}
