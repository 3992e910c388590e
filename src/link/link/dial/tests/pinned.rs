//! Servers that are known by a pin, and what else is said of TLS.

use rcgen::{CertificateParams, KeyPair};
use rustls::{
    ServerConfig, SupportedProtocolVersion,
    crypto::ring,
    pki_types::PrivatePkcs8KeyDer,
    version::{TLS12, TLS13},
};
use tokio_rustls::TlsAcceptor;

use super::{secure::Authority, *};
use crate::endpoint::Pin;

/// A device that signed its certificate itself, for a name that nobody dials.
struct Device {
    certificate: rcgen::Certificate,
    key: KeyPair,
}

impl Device {
    fn new() -> Self {
        let key = KeyPair::generate().unwrap();
        Self { certificate: CertificateParams::new(vec!["device".to_owned()]).unwrap().self_signed(&key).unwrap(), key }
    }

    /// Serves one connection. Answers with the name and the protocol that it was asked for.
    async fn serve(
        &self,
        versions: &[&'static SupportedProtocolVersion],
    ) -> (SocketAddr, tokio::task::JoinHandle<Option<(Option<String>, Option<Vec<u8>>)>>) {
        let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_protocol_versions(versions)
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(
                vec![self.certificate.der().clone()],
                PrivatePkcs8KeyDer::from(self.key.serialize_der()).into(),
            )
            .unwrap();
        config.alpn_protocols = vec![b"http/1.1".to_vec(), b"other".to_vec()];
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let task = tokio::spawn(async move {
            let (tcp, _) = listener.accept().await.unwrap();
            match TlsAcceptor::from(Arc::new(config)).accept(tcp).into_fallible().await {
                Ok(mut stream) => {
                    let session = stream.get_ref().1;
                    let asked = (session.server_name().map(str::to_owned), session.alpn_protocol().map(<[u8]>::to_vec));
                    answer(&mut stream, GOOD).await;
                    Some(asked)
                }
                // Open until the client goes: a reset could overtake the alert.
                Err((_, mut tcp)) => {
                    drop(tcp.read_to_end(&mut Vec::new()).await);
                    None
                }
            }
        });
        (address, task)
    }
}

async fn secured(address: SocketAddr, tls: &str) -> Result<Dialled<Transport>, DialFailure> {
    dial(&format!("url = 'wss://{address}'\ntls = {{ {tls} }}"), Counted::new(1)).await.0
}

const ALL: &[&SupportedProtocolVersion] = &[&TLS13, &TLS12];

#[tokio::test]
async fn a_pin_alone_is_enough_for_a_certificate_that_nobody_signed() {
    use ::ring::digest::{SHA256, digest};
    use rcgen::PublicKeyData as _;
    let device = Device::new();
    let pin = |bytes: &[u8]| Pin(digest(&SHA256, bytes).as_ref().try_into().unwrap());
    for pin in [pin(device.certificate.der()), pin(&device.key.subject_public_key_info())] {
        for versions in [&[&TLS13][..], &[&TLS12]] {
            let (address, _server) = device.serve(versions).await;
            secured(address, &format!("pin = ['sha256/{}', '{pin}']", "A".repeat(43) + "=")).await.unwrap();
        }
    }
    let other = Device::new();
    let (address, _server) = other.serve(ALL).await;
    let wrong = pin(device.certificate.der());
    let failure = secured(address, &format!("pin = ['{wrong}']")).await.unwrap_err();
    let told = "the server's certificate is none of those in tls.pin: its key is ";
    let shown = failure.detail.strip_prefix(told).unwrap_or_else(|| panic!("{}", failure.detail));
    assert_eq!((failure.cause, Pin::parse(shown)), (Cause::Tls, Some(pin(&other.key.subject_public_key_info()))));
}

#[tokio::test]
async fn with_an_authority_both_must_hold() {
    let device = Device::new();
    let pin = {
        let (address, _server) = device.serve(ALL).await;
        let failure = secured(address, &format!("pin = ['sha256/{}=']", "A".repeat(43))).await.unwrap_err();
        failure.detail.rsplit(' ').next().unwrap().to_owned()
    };
    let (address, _server) = device.serve(ALL).await;
    let authority = Authority::new("ours");
    let failure = secured(address, &format!("pin = ['{pin}'], ca = '{}'", authority.file())).await.unwrap_err();
    assert!(failure.detail.contains("unknown issuer"), "{}", failure.detail);
    let address = authority.serve("127.0.0.1", false).await;
    let failure = secured(address, &format!("pin = ['{pin}'], ca = '{}'", authority.file())).await.unwrap_err();
    assert!(failure.detail.contains("none of those in tls.pin"), "{}", failure.detail);
}

#[tokio::test]
async fn the_oldest_version_the_protocols_and_the_name_are_as_they_are_written() {
    let device = Device::new();
    let (address, _server) = device.serve(&[&TLS12]).await;
    let failure = secured(address, "insecure = true, min_version = '1.3'").await.unwrap_err();
    assert!(failure.detail.contains("tls.min_version"), "{}", failure.detail);
    for (keys, name, protocol) in [
        ("", Some("feed.example"), Some("http/1.1")),
        ("min_version = '1.3', alpn = ['other'], ", Some("feed.example"), Some("other")),
        ("alpn = [], sni = false, ", None, None),
    ] {
        let (address, server) = device.serve(ALL).await;
        secured(address, &format!("{keys}insecure = true, server_name = 'feed.example'")).await.unwrap();
        let asked = (name.map(str::to_owned), protocol.map(|protocol| protocol.as_bytes().to_vec()));
        assert_eq!(server.await.unwrap(), Some(asked), "{keys}");
    }
}
