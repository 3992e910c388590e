//! TLS by nginx: a good certificate, an expired one, one for another name; and a proxy that cuts what is idle.

use futures_util::StreamExt;
use serde_json::Value;
use tokio::{
    io::AsyncWriteExt,
    net::{TcpListener, TcpStream},
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};
use tokio_tungstenite::WebSocketStream;

use crate::{
    QUICK, endpoint,
    support::{
        PATIENCE,
        daemon::Daemon,
        peer::{Peer, Recipe},
        tls::Authority,
    },
};

/// What the proxy's `proxy_read_timeout` is, in seconds.
const CUT_AFTER: u64 = 5;

#[tokio::test]
async fn a_proxy_cuts_an_idle_link_again_and_again_and_one_with_heartbeats_never() {
    let authority = Authority::new();
    let Some(python) = Peer::start(Recipe::Python).await else { return };
    let Some(nginx) = authority.nginx("localhost", false, python.port).await else { return };
    let url = format!("wss://localhost:{}/", nginx.port);
    let beating = format!("{}\n[endpoints.kept.heartbeat]\nidle = \"2s\"", authority.trust("kept"));
    let silent = format!("{}\n[endpoints.cut.heartbeat]\nidle = \"1h\"", authority.trust("cut"));
    let sections = format!("{QUICK}{}{}", endpoint("kept", &url, &beating), endpoint("cut", &url, &silent));
    let daemon = Daemon::start(&sections).await;
    daemon.api.ready_after("kept/0", 0).await;
    let begun = tokio::time::Instant::now();
    let mut generation = daemon.api.ready_after("cut/0", 0).await["generation"].as_u64().unwrap();
    // The proxy keeps the time: each idle connection lasts as long as it allows. The first may have begun before the other link.
    for _ in 0..5 {
        let cut = daemon.api.ready_after("cut/0", generation).await;
        assert_eq!((&cut["lastClose"]["code"], &cut["lastClose"]["wasClean"]), (&1006.into(), &false.into()), "{cut}");
        generation = cut["generation"].as_u64().unwrap();
    }
    assert!(begun.elapsed().as_secs() > 3 * CUT_AFTER, "the proxy did not keep its time: {:?}", begun.elapsed());
    let kept = daemon.api.link("kept/0").await;
    assert_eq!((&kept["phase"], &kept["generation"]), (&"ready".into(), &1.into()), "{kept}");
    assert!(kept["rttMs"].is_number() && kept["lastClose"].is_null(), "{kept}");
    let pings = daemon.api.metric("wskeeper_pings_sent_total{endpoint=\"kept\"}").await.unwrap();
    assert!(pings >= 5.0, "only {pings} pings kept it up");
}

#[tokio::test]
async fn messages_cross_tls_byte_for_byte() {
    let authority = Authority::new();
    let Some(python) = Peer::start(Recipe::Python).await else { return };
    let Some(nginx) = authority.nginx("localhost", false, python.port).await else { return };
    let url = format!("wss://localhost:{}/", nginx.port);
    let daemon = Daemon::start(&format!("{QUICK}{}", endpoint("e", &url, &authority.trust("e")))).await;
    daemon.api.ready_after("e/0", 0).await;
    let mut events = daemon.api.events("e", "from=latest&types=message").await;
    for size in [0, 126, 65_536, 1 << 20] {
        let bytes: Vec<u8> = (0..=u8::MAX).cycle().take(size).collect();
        daemon.api.send_binary("e", bytes.clone()).await.expect(202);
        assert!(events.next_of("message").await.payload() == (bytes, true), "{size} bytes");
    }
}

#[tokio::test]
async fn without_an_authority_of_its_own_an_endpoint_trusts_the_platforms() {
    let authority = Authority::new();
    let Some(python) = Peer::start(Recipe::Python).await else { return };
    let Some(nginx) = authority.nginx("localhost", false, python.port).await else { return };
    let url = format!("wss://localhost:{}/", nginx.port);
    let mut daemon = Daemon::made(&format!("{QUICK}{}", endpoint("e", &url, "")));
    // Where the platform keeps its authorities can be said by this variable, as OpenSSL has it.
    daemon.run_under(&["env", &format!("SSL_CERT_FILE={}", authority.file().display())]);
    daemon.relaunch().await;
    daemon.api.ready_after("e/0", 0).await;
}

#[tokio::test]
async fn a_bad_certificate_is_a_tls_failure_that_says_what_is_wrong() {
    let authority = Authority::new();
    let Some(expired) = authority.nginx("localhost", true, 9).await else { return };
    let Some(foreign) = authority.nginx("elsewhere.test", false, 9).await else { return };
    let Some(unknown) = Authority::named("stranger").nginx("localhost", false, 9).await else { return };
    let peers = [("expired", &expired, "xpired"), ("foreign", &foreign, "name"), ("unknown", &unknown, "nknown")];
    let sections = peers
        .map(|(name, nginx, _)| endpoint(name, &format!("wss://localhost:{}/", nginx.port), &authority.trust(name)));
    let daemon = Daemon::start(&format!("{QUICK}{}", sections.concat())).await;
    for (name, _, word) in peers {
        let failed = |link: &Value| link["lastClose"]["cause"] == "tls";
        let link = daemon.api.link_until(&format!("{name}/0"), "failed", failed).await;
        assert_eq!(link["generation"], 0, "{link}");
        let history = daemon.api.get(&format!("/v1/links/{name}/0/history")).await.expect(200).body;
        assert!(String::from_utf8_lossy(&history).contains(word), "{name}: {history:?}");
    }
}

#[tokio::test]
async fn a_proxy_that_demands_a_certificate_gets_ours_and_says_400_where_there_is_none() {
    let authority = Authority::new();
    let Some(python) = Peer::start(Recipe::Python).await else { return };
    let Some(nginx) = authority.nginx_for_clients(python.port).await else { return };
    let url = format!("wss://localhost:{}/", nginx.port);
    let known = endpoint("known", &url, &authority.trust_and_show("known"));
    let daemon =
        Daemon::start(&format!("{QUICK}{known}{}", endpoint("unknown", &url, &authority.trust("unknown")))).await;
    daemon.api.ready_after("known/0", 0).await;
    // nginx lets the handshake pass, and refuses by HTTP.
    let refused = |link: &Value| link["lastClose"]["cause"] == "upgrade";
    let link = daemon.api.link_until("unknown/0", "refused", refused).await;
    assert_eq!(link["generation"], 0, "{link}");
    let history = daemon.api.get("/v1/links/unknown/0/history").await.expect(200).body;
    assert!(String::from_utf8_lossy(&history).contains("400"), "{history:?}");
}

#[tokio::test]
async fn a_certificate_of_ours_that_has_expired_is_told_and_a_renewed_one_is_shown_by_the_next_attempt() {
    let authority = Authority::new();
    let Some(python) = Peer::start(Recipe::Python).await else { return };
    let Some(nginx) = authority.nginx_for_clients(python.port).await else { return };
    let url = format!("wss://localhost:{}/", nginx.port);
    let section = endpoint("e", &url, &authority.trust_and_show("e"));
    authority.renew_client(true);
    let daemon = Daemon::start(&format!("{QUICK}{section}")).await;
    let told = "the client certificate that it was shown has expired on 2020-01-01T00:00:00Z";
    let refused = |link: &Value| link["lastClose"]["detail"].as_str().is_some_and(|detail| detail.contains(told));
    let link = daemon.api.link_until("e/0", "refused", refused).await;
    assert_eq!((&link["lastClose"]["status"], &link["generation"]), (&400.into(), &0.into()), "{link}");
    authority.renew_client(false);
    daemon.api.ready_after("e/0", 0).await;
    let ends =
        daemon.api.metric("wskeeper_certificate_not_after_timestamp_seconds{endpoint=\"e\",kind=\"client\"}").await;
    // And once more while it is ready, by a rotation.
    authority.renew_client(false);
    daemon.api.post("/v1/links/e/0/rotate", &[], "").await.expect(200);
    let link = daemon.api.ready_after("e/0", 1).await;
    assert!(ends > Some(1_700_000_000.0) && link["phase"] == "ready", "{ends:?} {link}");
}

#[tokio::test]
async fn tls_that_ends_without_close_notify_is_one_abnormal_close() {
    for sent in [&[][..], &[0x82, 100, 1, 2, 3]] {
        let (peer, daemon) = cut_off_peer().await;
        let mut socket = peer.accept().await;
        socket.get_mut().write_all(sent).await.unwrap();
        drop(cut(socket));
        let _next = peer.accept().await;
        let link = daemon.api.ready_after("e/0", 1).await;
        assert_eq!(link["generation"], 2, "{link}");
        let close = &link["lastClose"];
        assert_eq!(
            (&close["code"], &close["wasClean"], &close["cause"]),
            (&1006.into(), &false.into(), &"reset".into())
        );
        let closes = "wskeeper_closes_total{cause=\"reset\",clean=\"false\",code=\"1006\",endpoint=\"e\"}";
        assert_eq!(daemon.api.metric(closes).await, Some(1.0));
    }
}

#[tokio::test]
async fn a_close_frame_stays_clean_though_tls_ends_without_close_notify() {
    let (peer, daemon) = cut_off_peer().await;
    let mut socket = peer.accept().await;
    socket.close(None).await.unwrap();
    while let Some(Ok(_)) = socket.next().await {}
    drop(cut(socket));
    let _next = peer.accept().await;
    let link = daemon.api.ready_after("e/0", 1).await;
    let close = &link["lastClose"];
    assert_eq!((&close["code"], &close["wasClean"], &close["cause"]), (&1005.into(), &true.into(), &"remote".into()));
}

/// A peer that speaks TLS, so that a test may end TCP under it.
struct CutOff {
    listener: TcpListener,
    acceptor: TlsAcceptor,
}

impl CutOff {
    async fn accept(&self) -> WebSocketStream<TlsStream<TcpStream>> {
        let dialled = tokio::time::timeout(PATIENCE, self.listener.accept()).await.expect("a dial in time");
        let tls = self.acceptor.accept(dialled.unwrap().0).await.unwrap();
        tokio_tungstenite::accept_async(tls).await.unwrap()
    }
}

async fn cut_off_peer() -> (CutOff, Daemon) {
    let authority = Authority::new();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("wss://localhost:{}/", listener.local_addr().unwrap().port());
    let peer = CutOff { listener, acceptor: authority.acceptor() };
    let daemon = Daemon::start(&format!("{QUICK}{}", endpoint("e", &url, "tls = { insecure = true }"))).await;
    (peer, daemon)
}

/// TCP without the TLS over it: dropping it sends FIN and no alert.
fn cut(socket: WebSocketStream<TlsStream<TcpStream>>) -> TcpStream {
    socket.into_inner().into_inner().0
}
