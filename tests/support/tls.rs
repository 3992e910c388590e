//! Certificates of an authority made for one test, and nginx with them.

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, date_time_ymd};
use tempfile::TempDir;

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
        std::fs::write(folder.path().join("ca.pem"), issuer.pem()).unwrap();
        Self { issuer, folder }
    }

    /// The table that makes the endpoint trust this authority, and no other.
    pub fn trust(&self, endpoint: &str) -> String {
        format!("[endpoints.{endpoint}.tls]\nca = \"{}\"", self.folder.path().join("ca.pem").display())
    }

    /// An nginx with a certificate for this name.
    pub async fn nginx(&self, name: &str, expired: bool, upstream: u16) -> Option<Peer> {
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        if expired {
            params.not_before = date_time_ymd(2019, 1, 1);
            params.not_after = date_time_ymd(2020, 1, 1);
        }
        let key = KeyPair::generate().unwrap();
        let cert = params.signed_by(&key, &self.issuer).unwrap().pem();
        Peer::start(Recipe::Nginx { upstream, cert, key: key.serialize_pem() }).await
    }
}
