//! Certificates of an authority made for one test, and nginx with them.

use std::{fs, path::PathBuf, sync::Arc};

use rcgen::{BasicConstraints, Certificate, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, date_time_ymd};
use rustls::{
    ServerConfig,
    crypto::ring,
    pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer},
};
use tempfile::TempDir;
use tokio_rustls::TlsAcceptor;

use super::peer::{Peer, Recipe};

/// A certificate authority, and the file that makes an endpoint trust it.
pub struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    folder: TempDir,
}

impl Authority {
    /// One for this test.
    pub fn new() -> Self {
        Self::named("authority of the tests")
    }

    /// One of this name.
    pub fn named(name: &str) -> Self {
        let mut params = CertificateParams::new(vec![]).unwrap();
        // Two authorities of one name would be taken for each other until the signature fails.
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let folder = TempDir::new().unwrap();
        fs::write(folder.path().join("ca.pem"), issuer.pem()).unwrap();
        Self { issuer, folder }
    }

    /// Its certificate.
    pub fn file(&self) -> PathBuf {
        self.folder.path().join("ca.pem")
    }

    /// The table that makes the endpoint trust this authority, and no other.
    pub fn trust(&self, endpoint: &str) -> String {
        format!("[endpoints.{endpoint}.tls]\nca = \"{}\"", self.file().display())
    }

    /// The same, and a certificate of ours by this authority.
    pub fn trust_and_show(&self, endpoint: &str) -> String {
        let (cert, key) = self.renew_client(false);
        format!("{}\ncert = \"{}\"\nkey = \"{}\"", self.trust(endpoint), cert.display(), key.display())
    }

    /// Writes a new certificate of ours, and its key, in place of those that were there. Answers with the files.
    pub fn renew_client(&self, expired: bool) -> (PathBuf, PathBuf) {
        let key = KeyPair::generate().unwrap();
        let (cert_file, key_file) = (self.folder.path().join("client.pem"), self.folder.path().join("client.key"));
        fs::write(&cert_file, self.certify("client", expired, &key).pem()).unwrap();
        fs::write(&key_file, key.serialize_pem()).unwrap();
        (cert_file, key_file)
    }

    /// An nginx with a certificate for this name.
    pub async fn nginx(&self, name: &str, expired: bool, upstream: u16) -> Option<Peer> {
        let key = KeyPair::generate().unwrap();
        let cert = self.certify(name, expired, &key).pem();
        Peer::start(Recipe::Nginx { upstream, cert, key: key.serialize_pem(), clients: None }).await
    }

    /// An nginx for `localhost` that demands a certificate of this authority.
    pub async fn nginx_for_clients(&self, upstream: u16) -> Option<Peer> {
        let key = KeyPair::generate().unwrap();
        let cert = self.certify("localhost", false, &key).pem();
        Peer::start(Recipe::Nginx { upstream, cert, key: key.serialize_pem(), clients: Some(self.issuer.pem()) }).await
    }

    /// A certificate for this name and its key, in PEM.
    pub fn pair(&self, name: &str) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        (self.certify(name, false, &key).pem(), key.serialize_pem())
    }

    /// The TLS end of a peer written in the test, for `localhost`.
    pub fn acceptor(&self) -> TlsAcceptor {
        let key = KeyPair::generate().unwrap();
        let certificate = self.certify("localhost", false, &key);
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], key)
            .unwrap();
        TlsAcceptor::from(Arc::new(config))
    }

    fn certify(&self, name: &str, expired: bool, key: &KeyPair) -> Certificate {
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        if expired {
            params.not_before = date_time_ymd(2019, 1, 1);
            params.not_after = date_time_ymd(2020, 1, 1);
        }
        params.signed_by(key, &self.issuer).unwrap()
    }
}
