//! Steps before there is a connection: a server that gives out URLs and tokens by HTTP, each good for one connection.

use parking_lot::Mutex;
use serde_json::json;

use crate::{
    QUICK,
    calls::{Http, Reply},
    stand::{Stand, text},
    support::{daemon::Daemon, until},
};

/// Gives a ticket of its own to each who asks.
async fn tickets() -> Http {
    let given = Mutex::new(0);
    Http::start(move |_| {
        let mut given = given.lock();
        *given += 1;
        (200, json!({ "path": format!("s3cret-path-{given}"), "token": format!("s3cret-token-{given}") }).to_string())
    })
    .await
}

fn config(ws: u16, http: u16) -> String {
    format!(
        r#"{QUICK}
[endpoints.e]
url = "ws://127.0.0.1:{ws}/${{var:path}}?v=1"
headers = {{ Authorization = "Bearer ${{var:token}}" }}
[endpoints.e.session]
dial = [
    {{ http = {{ method = "POST", url = "http://127.0.0.1:{http}/open", headers = {{ Authorization = "Bearer s3cret-app" }}, extract = {{ path = "/path", token = "/token" }} }} }},
    {{ set = {{ me = "me-${{var:token}}" }} }},
    {{ when = "!token", wait = "1s" }},
]
open = [
    {{ send = "login ${{var:me}}" }},
    {{ expect = {{ text = "welcome" }}, hide = true }},
]
"#
    )
}

fn welcome(heard: Option<&str>) -> Vec<tokio_tungstenite::tungstenite::Message> {
    heard.filter(|heard| heard.starts_with("login ")).map(|_| text("welcome")).into_iter().collect()
}

#[tokio::test]
async fn each_connection_has_a_url_a_header_and_a_login_of_its_own_also_one_that_a_rotation_opens() {
    let http = tickets().await;
    let mut stand = Stand::start("", welcome).await;
    let daemon = Daemon::start(&config(stand.port, http.port)).await;
    let link = daemon.api.ready_after("e/0", 0).await;
    let before = link["generation"].as_u64().unwrap();
    daemon.api.post("/v1/links/e/0/rotate", &[], "").await.expect(200);
    let link = daemon.api.ready_after("e/0", before).await;
    stand.restart().await;
    daemon.api.ready_after("e/0", link["generation"].as_u64().unwrap()).await;
    let asked = stand.asked();
    let wanted = |n: usize| format!("/s3cret-path-{n}?v=1 Bearer s3cret-token-{n}");
    // An attempt that met no server asked for a ticket too.
    assert_eq!(asked[..2], [wanted(1), wanted(2)]);
    let last = http.asked().len();
    assert_eq!((asked.len(), &asked[2]), (3, &wanted(last)));
    let logins: Vec<String> = stand.heard().concat();
    assert_eq!(logins, [1, 2, last].map(|n| format!("login me-s3cret-token-{n}")));
    assert!(http.asked()[0].starts_with("POST /open HTTP/1.1\r\n"), "{:?}", http.asked());
    let history = daemon.api.get("/v1/links/e/0/history").await.expect(200).body;
    let shown = daemon.api.get("/v1/endpoints/e").await.expect(200).body;
    let metrics = daemon.api.get("/metrics").await.expect(200).body;
    let said =
        [history, shown, metrics].map(|body| String::from_utf8_lossy(&body).into_owned()).concat() + &daemon.log();
    assert!(!said.contains("s3cret"), "{said}");
    // `http` and `set` of `dial`, and both of `open`, on each of three connections.
    assert!(said.contains("wskeeper_session_steps_total{endpoint=\"e\",result=\"ok\"} 12"), "{said}");
}

#[tokio::test]
async fn a_refusal_parks_the_link_with_the_servers_words_and_is_told_as_the_sessions() {
    let http = Http::start(|_| (401, "no such app: s3cret-app".into())).await;
    let stand = Stand::start("", welcome).await;
    let mut daemon = Daemon::made(&config(stand.port, http.port));
    daemon.launch();
    daemon.alive().await;
    let explained = crate::explained_when_parked(&daemon).await;
    for told in ["the call of dial[0] was answered with status 401 and said: no such app", "unauthorized"] {
        assert!(explained.contains(told), "{explained}");
    }
    assert_eq!(
        (http.asked().len(), stand.asked().len()),
        (2, 0),
        "once, and once more with secrets that were read again"
    );
    let link = daemon.api.link("e/0").await;
    let close = &link["lastClose"];
    assert_eq!((close["cause"].as_str(), close["label"].as_str()), (Some("session"), Some("unauthorized")), "{link}");
    let history = daemon.api.get("/v1/links/e/0/history").await.expect(200).body;
    let history = String::from_utf8_lossy(&history).into_owned();
    assert!(history.contains("session unauthorized: the call of dial[0]"), "{history}");
    let metrics = daemon.api.get("/metrics").await.expect(200).body;
    let metrics = String::from_utf8_lossy(&metrics).into_owned();
    assert!(metrics.contains("wskeeper_session_steps_total{endpoint=\"e\",result=\"failed\"} 2"), "{metrics}");
}

#[tokio::test]
async fn a_server_that_asks_for_patience_has_it() {
    let http = Http::start(|_| Reply { status: 429, headers: "retry-after: 240\r\n", body: String::new() }).await;
    let stand = Stand::start("", welcome).await;
    let mut daemon = Daemon::made(&config(stand.port, http.port));
    daemon.launch();
    daemon.alive().await;
    let link = daemon.api.link_until("e/0", "told to wait", |link| link["phaseReason"] == "retry_after").await;
    assert_eq!(
        (link["phase"].as_str(), link["lastClose"]["label"].as_str()),
        (Some("waiting"), Some("http")),
        "{link}"
    );
    assert_eq!(http.asked().len(), 1);
}

#[tokio::test]
async fn explain_says_at_which_step_an_attempt_waits() {
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let stand = Stand::start("", welcome).await;
    let mut daemon = Daemon::made(&config(stand.port, silent.local_addr().unwrap().port()));
    daemon.launch();
    daemon.alive().await;
    let held = silent.accept().await.unwrap();
    until("the step", || async {
        let explained = daemon.api.get("/v1/links/e/0/explain").await.expect(200).body;
        let explained = String::from_utf8_lossy(&explained).into_owned();
        if explained.contains("Before it connects, it waits at dial[0], step 1 of 3 (`http`).") {
            Ok(())
        } else {
            Err(explained)
        }
    })
    .await;
    drop(held);
}

#[tokio::test]
async fn what_is_made_for_an_attempt_is_not_asked_for_while_that_waits_in_line() {
    let http = tickets().await;
    let stand = Stand::start("", welcome).await;
    let hanging = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let place = hanging.local_addr().unwrap().port();
    let first = format!(
        "[admission]\ntotal = 1\n[endpoints.a]\nurl = \"ws://127.0.0.1:{place}/\"\nconnect_timeout = \"5min\"\n"
    );
    let mut daemon = Daemon::made(&format!("{QUICK}\n{first}"));
    daemon.launch();
    daemon.alive().await;
    let (held, _) = hanging.accept().await.unwrap();
    // The URL is known, so all else can wait.
    let value = format!(
        "values.value = {{ http = {{ url = \"http://127.0.0.1:{}/value\", extract = \"/token\" }} }}\n",
        http.port
    );
    let second = config(stand.port, http.port).replace("/${var:path}?v=1", "/").replace(
        "\nheaders = { Auth",
        "\nprotocols_optional = true\nprotocols = [\"${value:value}\"]\nheaders = { Auth",
    );
    daemon.configure(&format!("{second}{value}{first}"));
    daemon.api.post("/v1/reload", &[], "").await.expect(200);
    daemon.api.link_until("e/0", "in line", |link| link["phaseReason"] == "admission").await;
    assert_eq!(http.asked().len(), 0, "{:?}", http.asked());
    daemon.api.post("/v1/links/a/0/pause", &[], "").await.expect(200);
    daemon.api.ready_after("e/0", 0).await;
    drop(held);
    assert_eq!(http.asked().len(), 2, "{:?}", http.asked());
    assert_eq!(stand.asked(), ["/ Bearer s3cret-token-2"]);
}
