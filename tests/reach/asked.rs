//! What a server sees of how it is to be reached: from which address, under which name, by which protocols, and whether it is the one that is known.

use std::{net::IpAddr, sync::Arc};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use parking_lot::Mutex;
use ring::digest::{SHA256, digest};
use rustls::{
    ServerConfig,
    crypto::ring as provider,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
    server::Acceptor,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, copy_bidirectional},
    net::{TcpListener, TcpStream},
};
use tokio_rustls::LazyConfigAcceptor;

use crate::{
    QUICK, explained, lazy,
    support::{daemon::Daemon, tls::Authority, until},
};

/// A connection, as the server sees it before it answers.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Asked {
    from: IpAddr,
    name: Option<String>,
    alpn: Vec<String>,
}

struct Server {
    port: u16,
    pin: String,
    asked: Arc<Mutex<Vec<Asked>>>,
}

/// One at 127.0.0.1 whose certificate nobody has signed that a client trusts.
async fn server(versions: &[&'static rustls::SupportedProtocolVersion]) -> Server {
    let (cert, key) = Authority::new().pair("another.example");
    let cert = CertificateDer::from_pem_slice(cert.as_bytes()).unwrap();
    let pin = format!("sha256/{}", STANDARD.encode(digest(&SHA256, &cert)));
    let config = ServerConfig::builder_with_provider(Arc::new(provider::default_provider()))
        .with_protocol_versions(versions)
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![cert], PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap())
        .unwrap();
    let (listener, config) = (TcpListener::bind("127.0.0.1:0").await.unwrap(), Arc::new(config));
    let (port, asked) = (listener.local_addr().unwrap().port(), Arc::<Mutex<Vec<Asked>>>::default());
    let noted = Arc::clone(&asked);
    tokio::spawn(async move {
        while let Ok((stream, from)) = listener.accept().await {
            let (noted, config) = (Arc::clone(&noted), Arc::clone(&config));
            tokio::spawn(async move {
                let Ok(start) = LazyConfigAcceptor::new(Acceptor::default(), stream).await else { return };
                let hello = start.client_hello();
                let text = |name: &[u8]| String::from_utf8_lossy(name).into_owned();
                let alpn = hello.alpn().map(|names| names.map(text).collect()).unwrap_or_default();
                noted.lock().push(Asked { from: from.ip(), name: hello.server_name().map(str::to_owned), alpn });
                let Ok(stream) = start.into_stream(config).await else { return };
                let Ok(mut socket) = tokio_tungstenite::accept_async(stream).await else { return };
                while futures_util::StreamExt::next(&mut socket).await.is_some_and(|message| message.is_ok()) {}
            });
        }
    });
    Server { port, pin, asked }
}

/// An endpoint that finds it by `resolve` alone, under a name that no resolver has.
fn endpoint(server: &Server, keys: &str, tls: &str) -> String {
    let port = server.port;
    format!(
        "{QUICK}\n[endpoints.e]\nurl = \"wss://peer.invalid:{port}/\"\nresolve = {{ \"peer.invalid:{port}\" = [\"127.0.0.1\"] }}\n{keys}\n\
         [endpoints.e.tls]\n{tls}\n"
    )
}

#[tokio::test]
async fn a_server_known_by_its_pin_is_reached_from_an_address_and_under_a_name_as_the_keys_say() {
    let server = server(&[&rustls::version::TLS13, &rustls::version::TLS12]).await;
    let pin = format!("pin = [\"{}\"]", server.pin);
    let asked = |from: &str, name: Option<&str>, alpn: &[&str]| Asked {
        from: from.parse().unwrap(),
        name: name.map(str::to_owned),
        alpn: alpn.iter().map(|&name| name.to_owned()).collect(),
    };
    for (keys, tls, wanted) in [
        ("", "", asked("127.0.0.1", Some("peer.invalid"), &["http/1.1"])),
        ("source_address = \"127.0.0.2\"\nprefer = \"ipv4\"", "sni = false", asked("127.0.0.2", None, &["http/1.1"])),
        ("", "alpn = []\nmin_version = \"1.3\"", asked("127.0.0.1", Some("peer.invalid"), &[])),
        ("", "alpn = [\"x/1\", \"http/1.1\"]", asked("127.0.0.1", Some("peer.invalid"), &["x/1", "http/1.1"])),
    ] {
        let daemon = Daemon::start(&endpoint(&server, keys, &format!("{pin}\n{tls}"))).await;
        daemon.api.ready_after("e/0", 0).await;
        assert_eq!(server.asked.lock().drain(..).collect::<Vec<_>>(), [wanted], "{keys} {tls}");
    }
}

#[tokio::test]
async fn a_server_that_is_another_or_too_old_is_refused_with_what_would_help() {
    let old = server(&[&rustls::version::TLS12]).await;
    let pin = format!("pin = [\"{}\"]", old.pin);
    let other = format!("pin = [\"sha256/{}\"]", STANDARD.encode([7; 32]));
    for (tls, wanted) in [
        (format!("{pin}\nmin_version = \"1.3\""), "tls.min_version"),
        (other, "none of those in tls.pin: its key is sha256/"),
    ] {
        let daemon = Daemon::start(&endpoint(&old, "", &tls)).await;
        until("the refusal", || async {
            let said = explained(&daemon).await.replace("\n      ", " ").replace("\n    ", " ");
            if said.contains(wanted) { Ok(()) } else { Err(said) }
        })
        .await;
    }
    let daemon = Daemon::start(&endpoint(&old, "", &pin)).await;
    daemon.api.ready_after("e/0", 0).await;
}

/// A proxy with a certificate for `localhost` by this authority: its port, and the heads of what it was asked.
async fn proxy(authority: &Authority) -> (u16, Arc<Mutex<Vec<String>>>) {
    let (listener, acceptor) = (TcpListener::bind("127.0.0.1:0").await.unwrap(), authority.acceptor());
    let (port, heads) = (listener.local_addr().unwrap().port(), Arc::<Mutex<Vec<String>>>::default());
    let noted = Arc::clone(&heads);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (noted, acceptor) = (Arc::clone(&noted), acceptor.clone());
            tokio::spawn(async move {
                let Ok(mut client) = acceptor.accept(stream).await else { return };
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    let Ok(byte) = client.read_u8().await else { return };
                    head.push(byte);
                }
                let head = String::from_utf8(head).unwrap();
                let to = head.split(' ').nth(1).unwrap().to_owned();
                noted.lock().push(head);
                let mut server = TcpStream::connect(to).await.unwrap();
                client.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
                let _ended = copy_bidirectional(&mut client, &mut server).await;
            });
        }
    });
    (port, heads)
}

#[tokio::test]
async fn a_proxy_with_tls_is_known_by_proxy_ca_and_gets_proxy_headers() {
    let (authority, (server, _)) = (Authority::new(), lazy::watching(0).await);
    let (proxy, heads) = proxy(&authority).await;
    let endpoint = |ca: &Authority| {
        format!(
            "{QUICK}\n[endpoints.e]\nurl = \"ws://127.0.0.1:{server}/\"\nproxy = \"https://localhost:{proxy}\"\nproxy_ca = \"{}\"\n\
             [endpoints.e.proxy_headers]\nProxy-Authorization = \"Bearer s3cret-of-the-proxy\"\n",
            ca.file().display()
        )
    };
    let daemon = Daemon::start(&endpoint(&Authority::named("another"))).await;
    daemon.api.link_until("e/0", "an attempt that failed", |link| link["lastClose"]["cause"] == "proxy").await;
    assert!(heads.lock().is_empty(), "nothing is said to a proxy that is not known");
    daemon.configure(&endpoint(&authority));
    daemon.api.post("/v1/reload", &[], "").await.expect(200);
    daemon.api.ready_after("e/0", 0).await;
    let head = heads.lock()[0].to_lowercase();
    assert!(head.starts_with(&format!("connect 127.0.0.1:{server} http/1.1\r\n")), "{head}");
    assert!(head.contains("\r\nproxy-authorization: bearer s3cret-of-the-proxy\r\n"), "{head}");
    let said = explained(&daemon).await;
    assert!(said.contains(&format!("through the proxy https://localhost:{proxy}")), "{said}");
    assert!(!said.contains("s3cret") && !daemon.log().contains("s3cret"), "{said}");
}
