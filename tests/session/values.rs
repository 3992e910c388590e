//! Values against a server of tokens: one call for all links, one refresh where a token is refused, and what is made for a step.

use std::sync::Arc;

use parking_lot::Mutex;

use crate::{
    QUICK,
    calls::Http,
    stand::{Stand, text},
    support::daemon::Daemon,
};

/// A server of tokens: each is good until it is revoked, and says that it is good for an hour.
async fn token_server(allows: Arc<Mutex<bool>>) -> Http {
    let given = Mutex::new(0);
    Http::start(move |request| {
        if !*allows.lock() || !request.contains("Basic bWU6czNjcmV0LWNsaWVudA==") {
            return (401, "{\"error\": \"invalid_client\"}".into());
        }
        let mut given = given.lock();
        *given += 1;
        (
            200,
            format!("{{\"access_token\": \"s3cret-token-{given}\", \"token_type\": \"Bearer\", \"expires_in\": 3600}}"),
        )
    })
    .await
}

fn with_token(ws: u16, http: u16, links: u32) -> String {
    format!(
        r#"{QUICK}
[values]
token = {{ oauth2 = {{ token_url = "http://127.0.0.1:{http}/token", client_id = "me", client_secret = "s3cret-client" }} }}
[endpoints.e]
url = "ws://127.0.0.1:{ws}/"
links = {links}
[endpoints.e.session]
open = [
    {{ send = "login ${{value:token}}" }},
    {{ expect = [{{ text = "welcome", hide = true }}, {{ text = "refused", fail = "unauthorized" }}] }},
]
"#
    )
}

#[tokio::test]
async fn a_token_is_fetched_once_for_all_links_and_once_more_where_it_is_refused() {
    let http = token_server(Arc::new(Mutex::new(true))).await;
    let revoked = Arc::new(Mutex::new(String::new()));
    let stand = {
        let revoked = Arc::clone(&revoked);
        Stand::start("", move |heard| match heard {
            Some(heard) if heard == format!("login {}", revoked.lock()) => vec![text("refused")],
            Some(heard) if heard.starts_with("login s3cret-token-") => vec![text("welcome")],
            _ => Vec::new(),
        })
        .await
    };
    let daemon = Daemon::start(&with_token(stand.port, http.port, 8)).await;
    for link in 0..8 {
        daemon.api.ready_after(&format!("e/{link}"), 0).await;
    }
    assert_eq!(http.asked().len(), 1, "one call for eight links");
    *revoked.lock() = "s3cret-token-1".into();
    let mut stand = stand;
    stand.restart().await;
    for link in 0..8 {
        daemon.api.ready_after(&format!("e/{link}"), 1).await;
    }
    assert_eq!(http.asked().len(), 2, "one refresh for eight links that are refused");
    let metrics = daemon.api.get("/metrics").await.expect(200).body;
    let metrics = String::from_utf8_lossy(&metrics);
    assert!(metrics.contains("wskeeper_values_evaluated_total{kind=\"oauth2\",result=\"ok\"} 2"), "{metrics}");
    let shown = daemon.api.get("/v1/endpoints/e").await.expect(200).body;
    assert!(!String::from_utf8_lossy(&shown).contains("s3cret") && !daemon.log().contains("s3cret"));
}

#[tokio::test]
async fn what_is_signed_for_a_step_has_the_variables_of_its_connection() {
    let stand = Stand::start("", |heard| match heard {
        None => vec![text("{\"nonce\": \"what do ya want for nothing?\"}")],
        Some("5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843 by sh") => vec![text("welcome")],
        Some(_) => vec![text("refused")],
    })
    .await;
    let config = format!(
        r#"{QUICK}
[endpoints.e]
url = "ws://127.0.0.1:{}/"
[endpoints.e.session]
open = [
    {{ expect = {{ has = ["/nonce"], extract = {{ nonce = "/nonce" }} }} }},
    {{ send = "${{value:signature}} by ${{value:program}}" }},
    {{ expect = [{{ text = "welcome", hide = true }}, {{ text = "refused", fail = "unauthorized" }}] }},
]
[endpoints.e.session.values]
signature = {{ hmac = {{ key = "Jefe", message = "${{var:nonce}}" }} }}
program = {{ command = ["/bin/sh", "-c", "grep -qF 'for nothing?' && echo sh"], per = "use" }}
"#,
        stand.port
    );
    let daemon = Daemon::start(&config).await;
    daemon.api.ready_after("e/0", 0).await;
}

#[tokio::test]
async fn a_program_has_the_environment_without_what_is_the_daemons_alone() {
    let stand = Stand::start("", |heard| heard.map(|_| text("welcome")).into_iter().collect()).await;
    let config = format!(
        r#"{QUICK}
[endpoints.e]
url = "ws://127.0.0.1:{}/"
[endpoints.e.session]
open = [{{ send = "has ${{value:names}}" }}, {{ expect = {{ text = "welcome" }} }}]
values.names = {{ command = ["/bin/sh", "-c", "env | sed 's/=.*//' | sort | tr '\\n' ' '"] }}
"#,
        stand.port
    );
    let mut daemon = Daemon::made(&config);
    let folder = daemon.folder().display().to_string();
    let withheld = ["NOTIFY_SOCKET", "WATCHDOG_USEC", "LISTEN_FDS", "WSKEEPER_TOKEN"];
    for (name, value) in [
        ("NOTIFY_SOCKET", format!("{folder}/none")),
        ("WATCHDOG_USEC", "600000000".into()),
        ("LISTEN_FDS", "0".into()),
        ("WSKEEPER_TOKEN", "s3cret".into()),
        ("CREDENTIALS_DIRECTORY", folder.clone()),
        ("AWS_PROFILE", "feed".into()),
    ] {
        daemon.set_variable(name, &value);
    }
    daemon.launch();
    daemon.ready().await;
    let heard = stand.last("the names", |heard| !heard.is_empty()).await;
    let names: Vec<&str> = heard[0].split(' ').collect();
    assert!(["PATH", "CREDENTIALS_DIRECTORY", "AWS_PROFILE"].iter().all(|name| names.contains(name)), "{names:?}");
    assert!(!withheld.iter().any(|name| names.contains(name)), "{names:?}");
}

#[tokio::test]
async fn an_http_value_that_is_refused_is_asked_for_once_more_and_parks_the_link_which_a_probe_brings_back() {
    let allows = Arc::new(Mutex::new(false));
    let http = {
        let allows = Arc::clone(&allows);
        Http::start(
            move |_| if *allows.lock() { (200, "good".to_owned()) } else { (401, "no s3cret-key here".to_owned()) },
        )
        .await
    };
    let stand = Stand::start("", |_| Vec::new()).await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("key");
    std::fs::write(&file, "s3cret-key\n").unwrap();
    let config = format!(
        r#"{QUICK}
[values]
token = {{ http = {{ url = "http://127.0.0.1:{}/", headers = {{ X-Key = "${{file:{}}}" }} }}, ttl = "1h" }}
[endpoints.e]
url = "ws://127.0.0.1:{}/"
headers = {{ Authorization = "Bearer ${{value:token}}" }}
"#,
        http.port,
        file.display(),
        stand.port
    );
    let mut daemon = Daemon::made(&config);
    daemon.launch();
    daemon.alive().await;
    let explained = crate::explained_when_parked(&daemon).await;
    for told in ["the value token: the server answered with status 401 and said: no *** here", "unauthorized"] {
        assert!(explained.contains(told), "{explained}");
    }
    assert_eq!((http.asked().len(), stand.asked().len()), (2, 0), "one refresh");
    let link = daemon.api.link("e/0").await;
    let close = &link["lastClose"];
    assert_eq!((close["cause"].as_str(), close["label"].as_str()), (Some("session"), Some("unauthorized")), "{link}");
    assert!(link["nextAttemptAt"].is_string(), "there is a probe: {link}");
    // Back at once when the file changes that the value's key is read from.
    *allows.lock() = true;
    let next = folder.path().join("next");
    std::fs::write(&next, "s3cret-other\n").unwrap();
    std::fs::rename(next, &file).unwrap();
    daemon.api.ready_after("e/0", 0).await;
    assert_eq!(stand.asked(), ["/ Bearer good"]);
    assert!(http.asked()[2].contains("s3cret-other"));
}

#[tokio::test]
async fn a_link_that_is_parked_for_its_credentials_comes_back_at_once_when_their_file_changes() {
    let stand = Stand::start("", |heard| match heard {
        Some("login right") => vec![text("welcome")],
        Some(_) => vec![text("refused")],
        None => Vec::new(),
    })
    .await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("token");
    std::fs::write(&file, "wrong\n").unwrap();
    let config = format!(
        r#"{QUICK}
[endpoints.e]
url = "ws://127.0.0.1:{}/"
[endpoints.e.session]
open = [
    {{ send = "login ${{file:{}}}" }},
    {{ expect = [{{ text = "welcome", hide = true }}, {{ text = "refused", fail = "unauthorized" }}] }},
]
"#,
        stand.port,
        file.display()
    );
    let mut daemon = Daemon::made(&config);
    daemon.launch();
    daemon.alive().await;
    let _ = crate::explained_when_parked(&daemon).await;
    assert_eq!(stand.heard().len(), 2, "one refresh, and no more until the probe");
    let next = folder.path().join("next");
    std::fs::write(&next, "right\n").unwrap();
    std::fs::rename(next, &file).unwrap();
    daemon.api.ready_after("e/0", 0).await;
    assert_eq!(stand.heard().len(), 3);
}

#[tokio::test]
async fn a_connection_is_replaced_before_its_token_ends() {
    let given = Mutex::new(0);
    let http = Http::start(move |_| {
        let mut given = given.lock();
        *given += 1;
        (200, format!("{{\"access_token\": \"{given}\", \"expires_in\": 8}}"))
    })
    .await;
    let stand = Stand::start("", |heard| heard.map(|_| text("welcome")).into_iter().collect()).await;
    let config =
        with_token(stand.port, http.port, 1).replace("links = 1", "links = 1\nrotation.before_expiry = \"5s\"");
    let daemon = Daemon::start(&config).await;
    let link = daemon.api.ready_after("e/0", 0).await;
    daemon.api.ready_after("e/0", link["generation"].as_u64().unwrap()).await;
    assert!(stand.heard().len() >= 2);
}
