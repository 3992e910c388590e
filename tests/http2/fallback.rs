//! Where HTTP/2 does not do: HTTP/1.1 in its place, unless that is forbidden.

use std::sync::Arc;

use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, copy_bidirectional},
    net::{TcpListener, TcpStream},
};

use super::{
    Peer, QUICK, Recipe, connections, ended, peer,
    support::{daemon::Daemon, tls::Authority},
};

/// A front with TLS, which sends HTTP/2 to one port and HTTP/1.1 to another. Answers with its own port.
async fn front(authority: &Authority, offers: &[&str], http2: u16, http1: u16) -> u16 {
    let (cert, key) = authority.pair("localhost");
    let chain = CertificateDer::pem_slice_iter(cert.as_bytes()).collect::<Result<Vec<_>, _>>().unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap())
        .unwrap();
    config.alpn_protocols = offers.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((tcp, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let Ok(mut tls) = acceptor.accept(tcp).await else { return };
                let is_http2 = tls.get_ref().1.alpn_protocol() == Some(b"h2");
                let mut to = TcpStream::connect(("127.0.0.1", if is_http2 { http2 } else { http1 })).await.unwrap();
                // Ends when either does.
                let _ = copy_bidirectional(&mut tls, &mut to).await;
            });
        }
    });
    port
}

/// What answers each request, and HTTP/2, by a refusal in HTTP/1.1. Answers with its port.
async fn refuses_by_http_1_1() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((mut tcp, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut asked = vec![0; 1024];
                // Who has gone needs no answer.
                if tcp.read(&mut asked).await.is_ok() {
                    let _ = tcp.write_all(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n").await;
                }
                while matches!(tcp.read(&mut asked).await, Ok(1..)) {}
            });
        }
    });
    port
}

fn secure(name: &str, port: u16, mode: &str, authority: &Authority) -> String {
    format!(
        "\n[endpoints.{name}]\nurl = \"wss://localhost:{port}/echo\"\nhttp2 = \"{mode}\"\nlinks = 3\n{}\n",
        authority.trust(name)
    )
}

async fn echoes(daemon: &Daemon, endpoint: &str) {
    let mut events = daemon.api.events(endpoint, "from=latest&types=message").await;
    daemon.api.send_text(endpoint, "hello").await.expect(202);
    assert_eq!(events.next_of("message").await.payload(), (b"hello".to_vec(), false), "{endpoint}");
}

#[tokio::test]
async fn over_tls_links_share_a_connection_where_the_server_offers_it() {
    let (Some(peer), Some(python)) = (peer(&[]).await, Peer::start(Recipe::Python).await) else { return };
    let authority = Authority::new();
    let port = front(&authority, &["h2", "http/1.1"], peer.port, python.port).await;
    let all: String = ["auto", "require", "never"].map(|mode| secure(mode, port, mode, &authority)).concat();
    let daemon = Daemon::start(&format!("{QUICK}{all}")).await;
    for mode in ["auto", "require", "never"] {
        for index in 0..3 {
            let link = daemon.api.ready_after(&format!("{mode}/{index}"), 0).await;
            let is_shared = link["http2"]["links"].as_u64().is_some();
            assert_eq!(is_shared, mode != "never", "{link}");
        }
        echoes(&daemon, mode).await;
    }
    assert_eq!(connections(&peer, 2).await, 2, "{}", peer.log());
    let expires =
        daemon.api.metric("wskeeper_certificate_not_after_timestamp_seconds{endpoint=\"auto\",kind=\"peer\"}");
    assert!(expires.await.is_some(), "each link knows the certificate of the connection");
}

#[tokio::test]
async fn where_the_server_does_not_offer_http_2_it_is_http_1_1_unless_that_is_forbidden() {
    let (Some(peer), Some(python)) = (peer(&[]).await, Peer::start(Recipe::Python).await) else { return };
    let authority = Authority::new();
    let port = front(&authority, &["http/1.1"], peer.port, python.port).await;
    let both = secure("auto", port, "auto", &authority) + &secure("require", port, "require", &authority);
    let daemon = Daemon::start(&format!("{QUICK}{both}")).await;
    for index in 0..3 {
        let link = daemon.api.ready_after(&format!("auto/{index}"), 0).await;
        assert!(link["http2"].is_null(), "{link}");
    }
    echoes(&daemon, "auto").await;
    // With nothing in common a server ends TLS (RFC 7301 section 3.2).
    let seen = ended(&daemon, "require/0", "tls", "").await;
    assert!(seen["lastClose"]["detail"].as_str().is_some_and(|said| said.contains("ALPN")), "{seen}");
}

#[tokio::test]
async fn where_the_settings_do_not_say_it_the_server_is_asked_by_http_1_1_and_not_tried_again_soon() {
    let (Some(peer), Some(python)) = (peer(&["flagless"]).await, Peer::start(Recipe::Python).await) else { return };
    let authority = Authority::new();
    let port = front(&authority, &["h2", "http/1.1"], peer.port, python.port).await;
    let daemon = Daemon::start(&format!("{QUICK}{}", secure("auto", port, "auto", &authority))).await;
    for index in 0..3 {
        let link = daemon.api.ready_after(&format!("auto/{index}"), 0).await;
        assert!(link["http2"].is_null() && link["lastClose"].is_null(), "{link}");
    }
    echoes(&daemon, "auto").await;
    for index in 0..3 {
        daemon.api.post(&format!("/v1/links/auto/{index}/reconnect"), &[], "").await.expect(200);
        daemon.api.ready_after(&format!("auto/{index}"), 1).await;
    }
    assert_eq!(connections(&peer, 1).await, 1, "{}", peer.log());
    drop(daemon);
    let daemon = Daemon::start(&format!("{QUICK}{}", secure("require", port, "require", &authority))).await;
    ended(&daemon, "require/0", "upgrade", "http2 = \"require\"").await;
    let advice = daemon.api.get("/v1/links/require/0/explain").await.expect(200).json()["advice"].to_string();
    assert!(advice.contains("http2"), "{advice}");
}

#[tokio::test]
async fn a_server_that_agrees_to_http_2_and_does_not_speak_it_is_asked_by_http_1_1() {
    let Some(python) = Peer::start(Recipe::Python).await else { return };
    let authority = Authority::new();
    let port = front(&authority, &["h2", "http/1.1"], refuses_by_http_1_1().await, python.port).await;
    let both = secure("auto", port, "auto", &authority) + &secure("require", port, "require", &authority);
    let daemon = Daemon::start(&format!("{QUICK}{both}")).await;
    for index in 0..3 {
        let link = daemon.api.ready_after(&format!("auto/{index}"), 0).await;
        assert!(link["http2"].is_null() && link["lastClose"].is_null(), "{link}");
    }
    echoes(&daemon, "auto").await;
    ended(&daemon, "require/0", "upgrade", "does not answer in HTTP/2").await;
    let advice = daemon.api.get("/v1/links/require/0/explain").await.expect(200).json()["advice"].to_string();
    assert!(advice.contains("http2"), "{advice}");
}
