//! Who the daemon is to a broker, and by TLS: what a server that knows its users says, and that no secret is shown.

use std::fs;

use tempfile::TempDir;

use crate::{
    bridge,
    broker::Client,
    endpoint, feed, shown_until,
    support::{
        daemon::Daemon,
        peer::{Peer, Recipe},
        tls::Authority,
    },
};

const USERS: &str = "authorization { users: [{ user: keeper, password: hunter2, permissions: { publish: [\"md.>\"] } }, { user: any, password: any }] }\nno_auth_user: any";

#[tokio::test]
async fn a_user_publishes_what_it_may_and_its_password_is_shown_nowhere() {
    let Some(nats) = Peer::start(Recipe::Broker(USERS.into())).await else { return };
    let mut client = Client::connect(nats.port).await;
    client.subscribe("md.>").await;
    let more = bridge("may", "publish = \"md.x\"") + &bridge("may-not", "publish = \"other.x\"");
    let with = |password: &str| {
        let login = format!("[brokers.main]\nuser = \"keeper\"\npassword = \"{password}\"");
        endpoint(0, nats.port, &more).replace("[brokers.main]", &login)
    };
    let port = feed::start().await;
    let with = |password: &str| with(password).replace("ws://127.0.0.1:0/", &format!("ws://127.0.0.1:{port}/"));
    let mut daemon = Daemon::made(&with("${file:password}"));
    fs::write(daemon.folder().join("password"), "hunter3").unwrap();
    daemon.launch();
    daemon.ready().await;
    let refused =
        |now: &serde_json::Value| now["lastError"].as_str().is_some_and(|why| why.contains("Authorization Violation"));
    shown_until(&daemon, "may", "refused", refused).await;
    fs::write(daemon.folder().join("password"), "hunter2").unwrap();
    feed::send(&daemon, 1).await;
    assert_eq!(&*client.next().await.subject, "md.x", "the file is read at each attempt");
    let denied =
        |now: &serde_json::Value| now["lastError"].as_str().is_some_and(|why| why.contains("Permissions Violation"));
    shown_until(&daemon, "may-not", "denied", denied).await;
    let told = [
        daemon.api.get("/v1/endpoints/e").await.expect(200).json().to_string(),
        daemon.api.get("/v1/links/e/0/explain").await.expect(200).json().to_string(),
        daemon.log(),
    ];
    assert!(told.iter().all(|told| !told.contains("hunter")), "{told:?}");
}

#[tokio::test]
async fn by_tls_the_broker_must_be_who_it_says() {
    let (authority, folder) = (Authority::new(), TempDir::new().unwrap());
    let (cert, key) = authority.pair("127.0.0.1");
    let [cert, key] = [("cert.pem", cert), ("key.pem", key)].map(|(name, text)| {
        let path = folder.path().join(name);
        fs::write(&path, text).unwrap();
        path
    });
    let lines = format!("tls {{ cert_file: {cert:?}, key_file: {key:?} }}");
    let Some(nats) = Peer::start(Recipe::Broker(lines)).await else { return };
    let feed = feed::start().await;
    let with = |tls: &str| {
        let more = bridge("md", "publish = \"md.x\"");
        endpoint(feed, nats.port, &more)
            .replace("connect_timeout = \"2s\"", &format!("connect_timeout = \"2s\"\n{tls}"))
    };
    let daemon = Daemon::start(&with("")).await;
    let told = |now: &serde_json::Value| now["lastError"].as_str().is_some_and(|why| why.contains("certificate"));
    shown_until(&daemon, "md", "not trusted", told).await;
    daemon.configure(&with(&format!("tls = {{ ca = {:?} }}", authority.file())));
    daemon.api.post("/v1/reload", &[], "").await.expect(200);
    feed::send(&daemon, 3).await;
    shown_until(&daemon, "md", "delivered", |now| now["delivered"] == 3 && now["connectedSince"].is_string()).await;
}
