//! TLS on loopback, with an authority made for each test.

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, date_time_ymd};
use rustls::{
    RootCertStore, ServerConfig,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer},
    server::{WebPkiClientVerifier, danger::ClientCertVerifier},
};
use tokio_rustls::TlsAcceptor;

use super::*;
use crate::link::TlsTrouble;

/// The first moment of 2021, when an expired certificate of these tests did.
const EXPIRED: i64 = 1_609_459_200;
/// The first moment of 2035, when a client's does.
const CLIENT_EXPIRES: i64 = 2_051_222_400;

pub(super) struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    folder: tempfile::TempDir,
}

impl Authority {
    pub(super) fn new(name: &str) -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("ca.pem"), issuer.pem()).unwrap();
        Self { issuer, folder }
    }

    pub(super) fn file(&self) -> String {
        self.folder.path().join("ca.pem").display().to_string()
    }

    /// What serves by TLS as 127.0.0.1.
    pub(super) fn acceptor(&self) -> TlsAcceptor {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], PrivatePkcs8KeyDer::from(key.serialize_der()).into())
            .unwrap();
        TlsAcceptor::from(Arc::new(config))
    }

    /// Serves one connection with a certificate for `name`.
    pub(super) async fn serve(&self, name: &str, expired: bool) -> SocketAddr {
        self.serve_to(name, expired, WebPkiClientVerifier::no_client_auth()).await
    }

    /// Serves one connection, to a client with a certificate of this authority.
    async fn serve_to_its_own(&self) -> SocketAddr {
        let mut roots = RootCertStore::empty();
        roots.add(self.issuer.der().clone()).unwrap();
        let provider = Arc::new(ring::default_provider());
        let clients = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build().unwrap();
        self.serve_to("127.0.0.1", false, clients).await
    }

    /// Writes a client's certificate and key; gives the settings that show them.
    fn client(&self) -> String {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec!["client".to_owned()]).unwrap();
        params.not_after = date_time_ymd(2035, 1, 1);
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let (cert_file, key_file) = (self.folder.path().join("client.pem"), self.folder.path().join("client.key"));
        std::fs::write(&cert_file, certificate.pem()).unwrap();
        std::fs::write(&key_file, key.serialize_pem()).unwrap();
        format!("cert = '{}', key = '{}'", cert_file.display(), key_file.display())
    }

    /// Serves one connection with the authority's own certificate.
    async fn serve_itself(&self) -> SocketAddr {
        let key = self.issuer.key().serialize_der();
        self.serve_with(self.issuer.der().clone(), key, WebPkiClientVerifier::no_client_auth(), GOOD).await
    }

    async fn serve_to(&self, name: &str, expired: bool, clients: Arc<dyn ClientCertVerifier>) -> SocketAddr {
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        if expired {
            params.not_before = date_time_ymd(2020, 1, 1);
            params.not_after = date_time_ymd(2021, 1, 1);
        }
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        self.serve_with(certificate.der().clone(), key.serialize_der(), clients, GOOD).await
    }

    /// Serves one connection: asks for a certificate of this authority and, as nginx does, refuses in HTTP whoever shows none.
    async fn serve_refusing(&self) -> SocketAddr {
        let mut roots = RootCertStore::empty();
        roots.add(self.issuer.der().clone()).unwrap();
        let provider = Arc::new(ring::default_provider());
        let clients = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).allow_unauthenticated();
        let params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let refusal = "HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n";
        self.serve_with(certificate.der().clone(), key.serialize_der(), clients.build().unwrap(), refusal).await
    }

    /// Serves one connection, to a client with a certificate of this authority; any other it leaves without saying why.
    async fn serve_silently(&self, versions: &[&'static rustls::SupportedProtocolVersion]) -> SocketAddr {
        let mut roots = RootCertStore::empty();
        roots.add(self.issuer.der().clone()).unwrap();
        let provider = Arc::new(ring::default_provider());
        let clients = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider));
        let params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let config = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(versions)
            .unwrap()
            .with_client_cert_verifier(clients.build().unwrap())
            .with_single_cert(vec![certificate.der().clone()], PrivatePkcs8KeyDer::from(key.serialize_der()).into())
            .unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            let (mut tcp, _) = listener.accept().await.unwrap();
            let mut tls = rustls::ServerConnection::new(Arc::new(config)).unwrap();
            // The alert that it would send is left in it.
            loop {
                let mut bytes = [0; 4096];
                let read = tcp.read(&mut bytes).await.unwrap();
                assert!(read > 0, "the client hung up first");
                let mut rest = &bytes[..read];
                while !rest.is_empty() {
                    tls.read_tls(&mut rest).unwrap();
                }
                if tls.process_new_packets().is_err() {
                    break;
                }
                let mut out = Vec::new();
                while tls.wants_write() {
                    tls.write_tls(&mut out).unwrap();
                }
                tcp.write_all(&out).await.unwrap();
            }
            tcp.shutdown().await.unwrap();
            // A reset would overtake the end.
            drop(tcp.read_to_end(&mut Vec::new()).await);
        });
        address
    }

    async fn serve_with(
        &self,
        certificate: CertificateDer<'static>,
        key: Vec<u8>,
        clients: Arc<dyn ClientCertVerifier>,
        says: &'static str,
    ) -> SocketAddr {
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key));
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_client_cert_verifier(clients)
            .with_single_cert(vec![certificate], key)
            .unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        tokio::spawn(async move {
            let (tcp, _): (TcpStream, _) = listener.accept().await.unwrap();
            match acceptor.accept(tcp).into_fallible().await {
                Ok(mut stream) => {
                    answer(&mut stream, says).await;
                    let _ = stream.read_u8().await;
                }
                // Open until the client goes: a reset could overtake the alert.
                Err((_, mut tcp)) => drop(tcp.read_to_end(&mut Vec::new()).await),
            }
        });
        address
    }
}

async fn secured(address: SocketAddr, tls: &str) -> Result<Dialled<Transport>, DialFailure> {
    dial(&format!("url = 'wss://{address}'\ntls = {{ {tls} }}"), Counted::new(1)).await.0
}

/// The detail of a failure of TLS.
async fn fault(address: SocketAddr, tls: &str) -> String {
    let failure = secured(address, tls).await.unwrap_err();
    assert_eq!(failure.cause, Cause::Tls);
    failure.detail.into()
}

#[tokio::test]
async fn a_certificate_of_the_configured_authority_is_trusted() {
    let authority = Authority::new("ours");
    let address = authority.serve("127.0.0.1", false).await;
    let dialled = secured(address, &format!("ca = '{}'", authority.file())).await.unwrap();
    assert!(matches!(dialled.stream, Transport::Tls(_)));
    assert!(Timings::from(dialled.established.timings).tls.is_some());
}

#[tokio::test]
async fn another_name_may_be_asked_for() {
    let authority = Authority::new("ours");
    let address = authority.serve("feed.example", false).await;
    secured(address, &format!("ca = '{}', server_name = 'feed.example'", authority.file())).await.unwrap();
}

#[tokio::test]
async fn what_is_wrong_with_a_certificate_is_told() {
    let authority = Authority::new("ours");
    let ca = format!("ca = '{}'", authority.file());
    let detail = fault(authority.serve("127.0.0.1", true).await, &ca).await;
    assert!(detail.contains("expired"), "{detail}");
    let detail = fault(authority.serve("other.example", false).await, &ca).await;
    assert!(detail.contains("other.example"), "{detail}");
    let other = Authority::new("another");
    let foreign = format!("ca = '{}'", other.file());
    let detail = fault(authority.serve("127.0.0.1", false).await, &foreign).await;
    assert!(detail.contains("unknown issuer"), "{detail}");
    let detail = fault(authority.serve_itself().await, &ca).await;
    assert!(detail.contains("is that of an authority (CA:TRUE)"), "{detail}");
}

#[tokio::test]
async fn an_insecure_endpoint_believes_anything() {
    let authority = Authority::new("ours");
    let dialled = secured(authority.serve("other.example", true).await, "insecure = true").await.unwrap();
    assert_eq!(dialled.established.certificates, Certificates { peer: Some(EXPIRED), client: None });
}

#[tokio::test]
async fn a_server_without_tls_is_told_as_such() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let (mut tcp, _) = listener.accept().await.unwrap();
        tcp.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await.unwrap();
        let _ = tcp.read_to_end(&mut Vec::new()).await;
    });
    let detail = fault(address, "insecure = true").await;
    assert!(detail.contains("is not TLS: is this a TLS port?"), "{detail}");
}

#[tokio::test]
async fn an_authority_that_cannot_be_read_is_named() {
    let authority = Authority::new("ours");
    let file = authority.file();
    let address = authority.serve("127.0.0.1", false).await;
    std::fs::write(&file, "nothing").unwrap();
    let detail = fault(address, &format!("ca = '{file}'")).await;
    assert!(detail.contains(&file), "{detail}");
}

#[tokio::test]
async fn a_certificate_of_ours_is_shown_to_a_server_that_demands_one() {
    let authority = Authority::new("ours");
    let address = authority.serve_to_its_own().await;
    let dialled = secured(address, &format!("ca = '{}', {}", authority.file(), authority.client())).await.unwrap();
    assert_eq!(dialled.established.certificates.client, Some(CLIENT_EXPIRES));
    assert!(dialled.established.certificates.peer > Some(CLIENT_EXPIRES), "the peer's is its own");
}

#[tokio::test]
async fn a_server_that_demands_a_certificate_of_ours_and_gets_none_is_a_failure_of_tls() {
    let authority = Authority::new("ours");
    let detail = fault(authority.serve_to_its_own().await, &format!("ca = '{}'", authority.file())).await;
    assert!(detail.contains("tls.cert") && detail.contains("demands a client certificate"), "{detail}");
}

/// Passes a connection on to a server until that says so much, then hangs up without a word: as Python's asyncio does where a
/// handshake fails.
async fn cut(server: SocketAddr, after: usize) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let (mut near, _) = listener.accept().await.unwrap();
        let mut far = TcpStream::connect(server).await.unwrap();
        let (mut asks, mut says) = (near.split(), far.split());
        let mut said = tokio::io::AsyncReadExt::take(&mut says.0, after as u64);
        let up = tokio::io::copy(&mut asks.0, &mut says.1);
        let down = async {
            tokio::io::copy(&mut said, &mut asks.1).await.unwrap();
            // All that the client still has to say is read, so that its end is no reset.
            asks.1.shutdown().await.unwrap();
        };
        let _ = tokio::join!(up, down);
    });
    address
}

#[tokio::test]
async fn a_server_that_hangs_up_in_the_handshake_is_blamed_for_no_more_than_is_known() {
    let authority = Authority::new("ours");
    let ca = format!("ca = '{}'", authority.file());
    for (after, word, trouble) in [
        (0, "without a word of TLS", TlsTrouble::Silent),
        (4, "without a word of TLS", TlsTrouble::Silent),
        (5, "in the middle of the TLS handshake", TlsTrouble::Other),
        (200, "in the middle of the TLS handshake", TlsTrouble::Other),
    ] {
        let address = cut(authority.serve("127.0.0.1", false).await, after).await;
        let detail = fault(address, &ca).await;
        assert!(detail.contains(word) && !detail.contains("://"), "{after}: {detail}");
        assert_eq!(TlsTrouble::of(&detail), trouble, "{after}");
    }
}

#[tokio::test]
async fn a_server_that_hangs_up_when_it_gets_no_certificate_of_ours_is_said_to_have_asked() {
    let authority = Authority::new("ours");
    let ca = format!("ca = '{}'", authority.file());
    for versions in [&[&rustls::version::TLS13][..], &[&rustls::version::TLS12]] {
        let address = authority.serve_silently(versions).await;
        let detail = fault(address, &ca).await;
        assert!(detail.contains("asked for a client certificate, got none"), "{versions:?}: {detail}");
        assert!(detail.contains("tls.cert") && !detail.contains("://"), "{detail}");
    }
}

#[tokio::test]
async fn a_refusal_in_http_says_that_a_certificate_was_asked_for() {
    let authority = Authority::new("ours");
    let ca = format!("ca = '{}'", authority.file());
    let failure = secured(authority.serve_refusing().await, &ca).await.unwrap_err();
    assert_eq!((failure.cause, failure.status), (Cause::Upgrade, Some(400)));
    assert!(crate::link::lacks_certificate(&failure.detail), "{}", failure.detail);
    let shown = format!("{ca}, {}", authority.client());
    let failure = secured(authority.serve_refusing().await, &shown).await.unwrap_err();
    assert!(!crate::link::lacks_certificate(&failure.detail), "{}", failure.detail);
}

#[tokio::test]
async fn a_certificate_of_ours_that_the_server_does_not_trust_is_a_failure_of_tls() {
    let (authority, stranger) = (Authority::new("ours"), Authority::new("strange"));
    let tls = format!("ca = '{}', {}", authority.file(), stranger.client());
    let detail = fault(authority.serve_to_its_own().await, &tls).await;
    assert!(detail.contains("tls.cert"), "{detail}");
}
