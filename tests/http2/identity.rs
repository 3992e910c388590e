//! What makes two connections equal: links share one only where each would have made the same.

use tempfile::TempDir;

use super::{
    Peer, QUICK, Recipe, Script,
    balancers::balancer,
    connections, ended, endpoint, peer,
    support::{daemon::Daemon, tls::Authority, until},
    told,
};

async fn reload(daemon: &Daemon, config: &str) {
    daemon.configure(config);
    daemon.api.post("/v1/reload", &[], "").await.expect(200);
}

/// The connection that carries this link.
async fn carrier(daemon: &Daemon, link: &str, after: u64) -> u64 {
    let link = daemon.api.ready_after(link, after).await;
    link["http2"]["connection"].as_u64().unwrap_or_else(|| panic!("{link}"))
}

#[tokio::test]
async fn links_share_a_connection_through_a_proxy_and_none_without_it() {
    let (authority, folder) = (Authority::new(), TempDir::new().unwrap());
    let Some(python) = Peer::start(Recipe::Python).await else { return };
    let Some(balancer) = balancer("haproxy", &authority, &folder, python.port, None).await else { return };
    let squid = Script { file: "proxy.sh", needs: "squid", words: &["squid"] };
    let Some(squid) = Peer::start(Recipe::Script(squid)).await else { return };
    let config = |proxy: &str| {
        format!(
            "{QUICK}\n[endpoints.e]\nurl = \"wss://localhost:{}/\"\nhttp2 = \"require\"\nlinks = 4\nproxy = \"{proxy}\"\n{}\n",
            balancer.port,
            authority.trust("e")
        )
    };
    let daemon = Daemon::start(&config(&format!("http://al%40ice:o%3Apen%2F@127.0.0.1:{}", squid.port))).await;
    for index in 0..4 {
        assert_eq!(carrier(&daemon, &format!("e/{index}"), 0).await, 1);
    }
    let mut events = daemon.api.events("e", "from=latest&types=message").await;
    let bytes: Vec<u8> = (0..=u8::MAX).cycle().take(300_000).collect();
    daemon.api.send_binary("e", bytes.clone()).await.expect(202);
    assert!(events.next_of("message").await.payload() == (bytes, true));
    reload(&daemon, &config("none")).await;
    for index in 0..4 {
        assert_eq!(carrier(&daemon, &format!("e/{index}"), 1).await, 2);
    }
    drop(daemon);
    // squid writes down what has ended.
    let asked = format!("CONNECT localhost:{}", balancer.port);
    until("one way through squid", || async {
        let log = squid.log();
        if log.matches(&asked).count() == 1 { Ok(()) } else { Err(log) }
    })
    .await;
}

#[tokio::test]
async fn a_link_with_a_new_certificate_of_ours_does_not_ride_on_a_connection_with_the_old_one() {
    let (authority, folder) = (Authority::new(), TempDir::new().unwrap());
    let Some(python) = Peer::start(Recipe::Python).await else { return };
    let clients = authority.file();
    let Some(balancer) = balancer("haproxy", &authority, &folder, python.port, Some(&clients)).await else { return };
    let url = format!("wss://localhost:{}/", balancer.port);
    let keys = format!("http2 = \"require\"\nlinks = 3\n{}", authority.trust_and_show("e"));
    let daemon = Daemon::start(&format!("{QUICK}\n[endpoints.e]\nurl = \"{url}\"\n{keys}\n")).await;
    for index in 0..3 {
        assert_eq!(carrier(&daemon, &format!("e/{index}"), 0).await, 1);
    }
    authority.renew_client(false);
    for index in 0..3 {
        let link = format!("e/{index}");
        daemon.api.post(&format!("/v1/links/{link}/rotate"), &[], "").await.expect(200);
        assert_eq!(carrier(&daemon, &link, 1).await, 2, "{link}: those with the new one share theirs");
    }
}

#[tokio::test]
async fn a_connection_comes_from_the_source_address_that_is_set() {
    let Some(peer) = peer(&[]).await else { return };
    let config = |source: &str| {
        let keys = format!("links = 3\nsource_address = \"{source}\"");
        format!("{QUICK}{}", endpoint("e", peer.port, "/echo", &keys))
    };
    let daemon = Daemon::start(&config("127.0.0.3")).await;
    for index in 0..3 {
        assert_eq!(carrier(&daemon, &format!("e/{index}"), 0).await, 1);
    }
    told(&peer, "connection 1 127.0.0.3", 1).await;
    reload(&daemon, &config("127.0.0.4")).await;
    for index in 0..3 {
        assert_eq!(carrier(&daemon, &format!("e/{index}"), 1).await, 2);
    }
    told(&peer, "connection 2 127.0.0.4", 1).await;
}

#[tokio::test]
async fn no_link_comes_to_a_denied_address_on_a_connection_that_was_made_before() {
    let Some(peer) = peer(&[]).await else { return };
    let config = |keys: &str| {
        let moved = endpoint("moved", peer.port, "/status/307", "redirects = 1\ndeny = [\"127.0.0.0/8\"]");
        format!("{QUICK}{}{moved}", endpoint("e", peer.port, "/echo", keys))
    };
    let daemon = Daemon::start(&config("links = 1")).await;
    daemon.api.ready_after("e/0", 0).await;
    ended(&daemon, "moved/0", "connect", "`deny` has 127.0.0.0/8").await;
    reload(&daemon, &config("links = 2\ndeny = [\"127.0.0.0/8\"]")).await;
    ended(&daemon, "e/1", "connect", "`deny` has 127.0.0.0/8").await;
    assert_eq!((connections(&peer, 1).await, daemon.api.link("e/1").await["generation"].as_u64()), (1, Some(0)));
}
