//! TLS by nginx: a good certificate, an expired one, one for another name; and a proxy that cuts what is idle.

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, date_time_ymd};
use tempfile::TempDir;

use crate::{
    QUICK, endpoint,
    support::{
        daemon::Daemon,
        peer::{Peer, Recipe},
    },
};

#[tokio::test]
async fn heartbeats_keep_a_link_up_through_a_proxy_that_cuts_idle_ones() {
    let authority = Authority::new();
    let Some(python) = Peer::start(Recipe::Python).await else { return };
    let Some(nginx) = authority.nginx("localhost", false, python.port).await else { return };
    let url = format!("wss://localhost:{}/", nginx.port);
    let beating = format!("{}\n[endpoints.kept.heartbeat]\nidle = \"2s\"", authority.trust("kept"));
    let silent = format!("{}\n[endpoints.cut.heartbeat]\nidle = \"1h\"", authority.trust("cut"));
    let sections = format!("{QUICK}{}{}", endpoint("kept", &url, &beating), endpoint("cut", &url, &silent));
    let daemon = Daemon::start(&sections).await;
    daemon.api.ready_after("kept/0", 0).await;
    let cut = daemon.api.ready_after("cut/0", 2).await;
    assert_eq!(cut["lastClose"]["code"], 1006, "{cut}");
    let kept = daemon.api.link("kept/0").await;
    assert_eq!((&kept["phase"], &kept["generation"]), (&"ready".into(), &1.into()), "{kept}");
    assert!(kept["rttMs"].is_number(), "{kept}");
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
        let failed = |link: &serde_json::Value| link["lastClose"]["cause"] == "tls";
        let link = daemon.api.link_until(&format!("{name}/0"), "failed", failed).await;
        assert_eq!(link["generation"], 0, "{link}");
        let history = daemon.api.get(&format!("/v1/links/{name}/0/history")).await.expect(200).body;
        assert!(String::from_utf8_lossy(&history).contains(word), "{name}: {history:?}");
    }
}

/// A certificate authority, and the file that makes an endpoint trust it.
struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    folder: TempDir,
}

impl Authority {
    fn new() -> Self {
        Self::named("authority of the tests")
    }

    fn named(name: &str) -> Self {
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
    fn trust(&self, endpoint: &str) -> String {
        format!("[endpoints.{endpoint}.tls]\nca = \"{}\"", self.folder.path().join("ca.pem").display())
    }

    /// An nginx with a certificate for this name.
    async fn nginx(&self, name: &str, expired: bool, upstream: u16) -> Option<Peer> {
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
