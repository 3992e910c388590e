//! The status page and what it asks: its files for everybody, data for tokens only.

use super::bench::{Bench, echo, until};

const GUARDED: &str = "[[api.tokens]]\nname = \"a\"\ntoken = \"${env:PATH}\"\nscopes = [\"read\"]\n";

#[tokio::test]
async fn the_page_needs_no_token_and_what_it_shows_does() {
    let bench = Bench::new(GUARDED).await;
    let (status, page) = bench.get("/").await;
    assert_eq!(status, 200);
    for file in page.split("=\"page/").skip(1).filter_map(|rest| rest.split('"').next()) {
        assert_eq!(bench.get(&format!("/page/{file}")).await.0, 200, "{file}");
    }
    assert_eq!(bench.get("/page/none.js").await.0, 404);
    for path in ["/v1/daemon", "/v1/links", "/v1/events", "/v1/store", "/pages"] {
        assert_eq!(bench.get(path).await.0, 401, "{path}");
    }
    let token = std::env::var("PATH").unwrap();
    let head = format!("Host: localhost\r\nConnection: close\r\nAuthorization: Bearer {token}");
    let (status, body) = bench.ask(&format!("GET /v1/daemon HTTP/1.1\r\n{head}\r\n\r\n")).await;
    let daemon: serde_json::Value = serde_json::from_str(&body).unwrap();
    assert_eq!((status, &daemon["access"]["scopes"]), (200, &serde_json::json!(["read"])), "{body}");
    bench.stop().await;
}

#[tokio::test]
async fn the_daemon_tells_that_it_drains() {
    let bench = Bench::new("").await;
    assert_eq!(bench.json("/v1/daemon").await["state"], "running");
    bench.pool.drain();
    assert_eq!(bench.json("/v1/daemon").await["state"], "draining");
    bench.stop().await;
}

#[tokio::test]
async fn a_link_counts_what_goes_over_it() {
    let port = echo().await;
    let bench = Bench::new(&format!("[endpoints.e]\nurl = \"ws://127.0.0.1:{port}/\"")).await;
    for body in ["four", "sixsix"] {
        let (status, answer) = bench.call("POST", "/v1/endpoints/e/messages?type=text", body).await;
        assert_eq!(status, 202, "{answer}");
    }
    let link = until("both echoed", async || {
        let link = bench.json("/v1/links/e/0").await;
        (link["receivedMessages"] == 2).then_some(link)
    })
    .await;
    assert_eq!(
        (&link["receivedBytes"], &link["sentMessages"], &link["sentBytes"]),
        (&10.into(), &2.into(), &10.into()),
        "{link}"
    );
    bench.stop().await;
}
