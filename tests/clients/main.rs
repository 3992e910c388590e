//! The API as programs of others use it: a Python client generated from the OpenAPI document, Python's `websockets`, the command
//! line and event streams behind an nginx with its stock proxy settings.
//!
//! `tests/run` installs them and sets `WSKEEPER_TEST_REAL`; without it tests whose program is missing say that they are skipped.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking, in its helpers too")]
#![allow(unreachable_pub, reason = "what tests share is as public as a library's items")]
#![allow(clippy::print_stderr, reason = "a skipped test and a failed one say why")]

mod compression;
#[path = "../support/mod.rs"]
mod support;

use std::{
    path::{Path, PathBuf},
    process::Output,
};

use support::{
    PATIENCE,
    daemon::Daemon,
    free_port,
    peer::{Peer, Recipe, program_base},
    tls::Authority,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    process::Command,
};

/// An endpoint whose peer sends back what it gets.
async fn echoed() -> Option<(Peer, Daemon)> {
    let peer = Peer::start(Recipe::Python).await?;
    let daemon = Daemon::start(&format!("[endpoints.e]\nurl = \"ws://127.0.0.1:{}/\"\n", peer.port)).await;
    daemon.api.ready_after("e/0", 0).await;
    Some((peer, daemon))
}

/// nginx before the daemon's API: its port, and that of its TLS, where the API is below `/keeper/`.
async fn front(daemon: &Daemon, authority: &Authority) -> Option<(Peer, u16)> {
    let ((cert, key), tls) = (authority.pair("localhost"), free_port());
    let socket = daemon.folder().join("api.sock");
    Some((Peer::start(Recipe::Front { socket, cert, key, tls }).await?, tls))
}

fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients").join(name)
}

/// What a program says and how it ends; it has its time.
async fn run(command: &mut Command) -> Output {
    tokio::time::timeout(PATIENCE * 4, command.kill_on_drop(true).output()).await.expect("an end in time").unwrap()
}

#[track_caller]
fn said(output: &Output) -> String {
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{}: {out}\n{err}", output.status);
    out.into_owned()
}

#[tokio::test]
async fn a_client_that_is_generated_from_the_document_sends_and_looks_up() {
    let Some((_peer, daemon)) = echoed().await else { return };
    let Some((nginx, _)) = front(&daemon, &Authority::new()).await else { return };
    let bin = program_base().join("python/bin");
    let document = daemon.folder().join("openapi.json");
    std::fs::write(&document, daemon.api.get("/v1/openapi.json").await.expect(200).body).unwrap();
    let mut generator = Command::new(bin.join("openapi-python-client"));
    generator.args(["generate", "--meta", "none", "--path"]).arg(&document);
    generator.arg("--output-path").arg(daemon.folder().join("keeper")).current_dir(daemon.folder());
    said(&run(&mut generator).await);
    let mut client = Command::new(bin.join("python"));
    client
        .arg(script("generated.py"))
        .arg(format!("http://127.0.0.1:{}", nginx.port))
        .env("PYTHONPATH", daemon.folder());
    assert_eq!(said(&run(&mut client).await), "all is well\n");
}

#[tokio::test]
async fn pythons_websockets_sees_an_end_in_order() {
    let Some((_peer, daemon)) = echoed().await else { return };
    for protocol in ["", "wskeeper.v1.json"] {
        let mut client = Command::new(program_base().join("python/bin/python"));
        client.arg(script("websocket.py")).arg(daemon.folder().join("api.sock")).arg(protocol);
        assert_eq!(said(&run(&mut client).await), "1000 1000\n", "{protocol}");
    }
}

#[tokio::test]
async fn events_arrive_through_an_nginx_of_stock_settings_as_they_come() {
    let Some((_peer, daemon)) = echoed().await else { return };
    let Some((nginx, _)) = front(&daemon, &Authority::new()).await else { return };
    for path in ["/v1/endpoints/e/events?types=message", "/v1/endpoints/e/frames"] {
        let mut stream = TcpStream::connect(("127.0.0.1", nginx.port)).await.unwrap();
        stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n").as_bytes()).await.unwrap();
        let mut come = Vec::new();
        for wanted in ["wskeeper", "first", "second"] {
            if wanted != "wskeeper" {
                daemon.api.send_text("e", wanted).await.expect(202);
            }
            // Of frames only what they are is shown.
            let wanted = if path.ends_with("frames") && wanted != "wskeeper" { "event: frame" } else { wanted };
            let reading = async {
                while !String::from_utf8_lossy(&come).contains(wanted) {
                    assert!(stream.read_buf(&mut come).await.unwrap() > 0, "the stream ended");
                }
            };
            let in_time = tokio::time::timeout(PATIENCE, reading).await.is_ok();
            assert!(in_time, "{path}: {wanted} is held back: {}", String::from_utf8_lossy(&come));
        }
    }
}

#[tokio::test]
async fn the_command_line_goes_through_a_proxy_with_tls() {
    let Some((_peer, daemon)) = echoed().await else { return };
    let authority = Authority::new();
    let Some((_nginx, tls)) = front(&daemon, &authority).await else { return };
    let ask = |api: String, roots: &Path| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_wskeeper"));
        command.args(["--api", &api, "status", "--json"]).env("SSL_CERT_FILE", roots).env_remove("SSL_CERT_DIR");
        command
    };
    let told = said(&run(&mut ask(format!("https://localhost:{tls}/keeper"), &authority.file())).await);
    assert!(told.contains("\"ready\""), "{told}");
    let stranger = Authority::named("another authority");
    let refused = run(&mut ask(format!("https://localhost:{tls}/keeper"), &stranger.file())).await;
    assert!(!refused.status.success());
    let told = String::from_utf8_lossy(&refused.stderr);
    assert!(told.contains("SSL_CERT_FILE"), "{told}");
}
