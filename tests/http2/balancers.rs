//! haproxy and nghttpx: HTTP/2 in front, HTTP/1.1 behind, as fleets have them.

use std::{fs, path::Path};

use tempfile::TempDir;

use super::{
    Peer, QUICK, Recipe, Script,
    support::{daemon::Daemon, tls::Authority},
};

/// One of them, with a certificate of this authority, before this port. It demands certificates of the authority in `clients`.
pub(super) async fn balancer(
    program: &'static str,
    authority: &Authority,
    folder: &TempDir,
    upstream: u16,
    clients: Option<&Path>,
) -> Option<Peer> {
    let (cert, key) = authority.pair("localhost");
    let (cert_file, key_file) = (folder.path().join("cert.pem"), folder.path().join("key.pem"));
    fs::write(&cert_file, cert).unwrap();
    fs::write(&key_file, key).unwrap();
    let words =
        [program.to_owned(), upstream.to_string(), cert_file.display().to_string(), key_file.display().to_string()];
    let words = words.into_iter().chain(clients.map(|file| file.display().to_string()));
    // A recipe is of words that are there for good.
    let words: Vec<&'static str> = words.map(|word| &*Box::leak(word.into_boxed_str())).collect();
    Peer::start(Recipe::Script(Script { file: "http2.sh", needs: program, words: words.leak() })).await
}

#[tokio::test]
async fn links_share_a_connection_to_a_balancer_and_come_back_over_one_after_its_restart() {
    for program in ["haproxy", "nghttpx"] {
        let (authority, folder) = (Authority::new(), TempDir::new().unwrap());
        let Some(python) = Peer::start(Recipe::Python).await else { return };
        let Some(mut balancer) = balancer(program, &authority, &folder, python.port, None).await else { return };
        let config = format!(
            "{QUICK}\n[endpoints.e]\nurl = \"wss://localhost:{}/\"\nhttp2 = \"auto\"\nlinks = 8\nhttp2_links = 5\n{}\n",
            balancer.port,
            authority.trust("e")
        );
        let daemon = Daemon::start(&config).await;
        for generation in 0..2 {
            for index in 0..8 {
                let link = daemon.api.ready_after(&format!("e/{index}"), generation).await;
                assert!(link["http2"]["connection"].as_u64().is_some(), "{program}: {link}");
            }
            let shared = daemon.api.metric("wskeeper_http2_connections{endpoint=\"e\"}").await;
            assert_eq!(shared, Some(2.0), "{program}");
            let mut events = daemon.api.events("e", "from=latest&types=message").await;
            for size in [0, 126, 300_000] {
                let bytes: Vec<u8> = (0..=u8::MAX).cycle().take(size).collect();
                daemon.api.send_binary("e", bytes.clone()).await.expect(202);
                assert!(events.next_of("message").await.payload() == (bytes, true), "{program}: {size} bytes");
            }
            if generation == 0 {
                balancer.restart().await;
            }
        }
    }
}
