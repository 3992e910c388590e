//! Ways through squid, tinyproxy, dante and microsocks: what goes through, what they refuse, and what the environment says of them.

use serde_json::Value;

use crate::{
    QUICK, endpoint,
    support::{
        daemon::Daemon,
        peer::{Peer, Recipe, Script},
        tls::Authority,
    },
};

/// User and password that squid and microsocks know, percent-encoded.
const KNOWN: &str = "al%40ice:o%3Apen%2F@";

async fn proxy(program: &'static str) -> Option<Peer> {
    let words: &'static [&'static str] = match program {
        "squid" => &["squid"],
        "tinyproxy" => &["tinyproxy"],
        "danted" => &["danted"],
        _ => &["microsocks"],
    };
    Peer::start(Recipe::Script(Script { file: "proxy.sh", needs: program, words })).await
}

/// An endpoint through this proxy.
fn through(name: &str, url: &str, proxy: &str, more: &str) -> String {
    endpoint(name, url, &format!("proxy = \"{proxy}\"\n{more}"))
}

#[tokio::test]
async fn messages_go_through_each_kind_of_proxy() {
    let Some(python) = Peer::start(Recipe::Python).await else { return };
    for (program, scheme, user) in [
        ("squid", "http", KNOWN),
        ("tinyproxy", "http", "alice:open@"),
        ("danted", "socks5h", ""),
        ("danted", "socks5", ""),
        ("microsocks", "socks5h", KNOWN),
        ("microsocks", "socks5", KNOWN),
    ] {
        let Some(proxy) = proxy(program).await else { return };
        let shown = format!("{scheme}://127.0.0.1:{}", proxy.port);
        let url = format!("ws://localhost:{}/", python.port);
        let by = format!("{scheme}://{user}127.0.0.1:{}", proxy.port);
        let daemon = Daemon::start(&format!("{QUICK}{}", through("e", &url, &by, ""))).await;
        daemon.api.ready_after("e/0", 0).await;
        let mut events = daemon.api.events("e", "from=latest&types=message").await;
        for size in [0, 126, 300_000] {
            let bytes: Vec<u8> = (0..=u8::MAX).cycle().take(size).collect();
            daemon.api.send_binary("e", bytes.clone()).await.expect(202);
            assert!(events.next_of("message").await.payload() == (bytes, true), "{program}: {size} bytes");
        }
        let explained = daemon.api.get("/v1/links/e/0/explain").await.expect(200).json();
        assert_eq!(explained["proxy"], shown, "{explained}");
        let config = daemon.api.get("/v1/endpoints/e").await.expect(200).json();
        assert_eq!(config["config"]["proxy"], shown, "{config}");
        assert!(!daemon.log().contains("pen/") && !daemon.log().contains("o%3A"), "{}", daemon.log());
    }
}

#[tokio::test]
async fn tls_and_calls_of_the_session_go_through_the_proxy_too() {
    let authority = Authority::new();
    let Some(python) = Peer::start(Recipe::Python).await else { return };
    let Some(nginx) = authority.nginx("localhost", false, python.port).await else { return };
    let Some(squid) = proxy("squid").await else { return };
    let by = format!("http://{KNOWN}127.0.0.1:{}", squid.port);
    let call = format!(
        "session.dial = [{{ http = {{ url = \"https://localhost:{}/\", expect = {{ status = \"100-599\" }} }} }}]\n{}",
        nginx.port,
        authority.trust("e")
    );
    let url = format!("wss://localhost:{}/", nginx.port);
    let daemon = Daemon::start(&format!("{QUICK}{}", through("e", &url, &by, &call))).await;
    daemon.api.ready_after("e/0", 0).await;
    daemon.api.send_text("e", "hello").await.expect(202);
    drop(daemon);
    // squid writes down what has ended.
    let wanted = format!("CONNECT localhost:{}", nginx.port);
    crate::support::until("both in its log", || async {
        let log = squid.log();
        if log.matches(&wanted).count() >= 2 { Ok(()) } else { Err(log) }
    })
    .await;
}

#[tokio::test]
async fn a_proxy_that_refuses_is_a_failure_of_its_own_class_that_says_what_it_asks_for() {
    let failed = |link: &Value| link["lastClose"]["cause"] == "proxy";
    for (program, scheme, asks) in [
        ("squid", "http", "Basic realm=\"here\""),
        ("tinyproxy", "http", "Basic realm="),
        ("microsocks", "socks5h", ""),
    ] {
        let Some(proxy) = proxy(program).await else { return };
        let to = |user: &str| format!("{scheme}://{user}127.0.0.1:{}", proxy.port);
        let none = through("none", "ws://localhost:9/", &to(""), "");
        let wrong = through("wrong", "ws://localhost:10/", &to("alice:wr0ng@"), "");
        let daemon = Daemon::start(&format!("{QUICK}{none}{wrong}")).await;
        let is_by_connect = scheme == "http";
        // squid has a rule for that port, which comes first; tinyproxy has a status of its own for a wrong password.
        let (none, wrong) = if program == "squid" { (403, 407) } else { (407, 401) };
        for (name, status) in [("none/0", none), ("wrong/0", wrong)] {
            let link = daemon.api.link_until(name, "failed", failed).await;
            assert_eq!(link["lastClose"]["status"].as_u64(), is_by_connect.then_some(status), "{link}");
            let detail = link["lastClose"]["detail"].as_str().unwrap();
            assert!(status != 407 || detail.contains(asks), "{detail}");
            let advice =
                daemon.api.get(&format!("/v1/links/{name}/explain")).await.expect(200).json()["advice"].to_string();
            assert!(advice.contains("proxy"), "{advice}");
        }
        if is_by_connect {
            daemon.api.link_until("wrong/0", "parked", |link| link["phase"] == "parked").await;
        }
        assert!(!daemon.log().contains("wr0ng"), "{}", daemon.log());
    }
}

#[tokio::test]
async fn the_environment_says_which_proxy_and_for_whom_it_is_not() {
    let Some(python) = Peer::start(Recipe::Python).await else { return };
    let Some(squid) = proxy("squid").await else { return };
    let port = python.port;
    let there = through("there", &format!("ws://localhost:{port}/"), "env", "");
    let here = through("here", &format!("ws://127.0.0.1:{port}/"), "env", "");
    let mut daemon = Daemon::made(&format!("{QUICK}{there}{here}"));
    daemon.set_variable("HTTP_PROXY", &format!("{KNOWN}127.0.0.1:{}", squid.port));
    daemon.set_variable("NO_PROXY", "nowhere.example, 127.0.0.0/8");
    daemon.relaunch().await;
    daemon.api.ready_after("there/0", 0).await;
    daemon.api.ready_after("here/0", 0).await;
    let proxy = |name: &str| format!("/v1/links/{name}/0/explain");
    let shown = format!("http://127.0.0.1:{}", squid.port);
    assert_eq!(daemon.api.get(&proxy("there")).await.expect(200).json()["proxy"], shown);
    assert_eq!(daemon.api.get(&proxy("here")).await.expect(200).json()["proxy"], Value::Null);
}
