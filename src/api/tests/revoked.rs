//! A token that is taken away, changed or narrowed while somebody uses it: what goes on with it ends, and nothing else does.

use std::path::Path;

use futures_util::{SinkExt, StreamExt};
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tokio_tungstenite::{
    WebSocketStream, client_async,
    tungstenite::{Message, client::IntoClientRequest},
};

use super::bench::{Bench, PATIENCE, rest, until};
use crate::config::parse_toml;
use wskeeper_core::link::Verb;

/// Two endpoints, and these tokens: name, scopes, endpoints.
fn text(folder: &Path, tokens: &[(&str, &str, &str)]) -> String {
    let token = |(name, scopes, endpoints): &(&str, &str, &str)| {
        let file = folder.join(name);
        let only = if endpoints.is_empty() { String::new() } else { format!("endpoints = [{endpoints}]\n") };
        format!(
            "[[api.tokens]]\nname = \"{name}\"\ntoken = \"${{file:{}}}\"\nscopes = [{scopes}]\n{only}",
            file.display()
        )
    };
    let tokens: String = tokens.iter().map(token).collect();
    format!("{tokens}[endpoints.a]\nurl = \"ws://127.0.0.1:1/\"\n[endpoints.b]\nurl = \"ws://127.0.0.1:1/\"\n")
}

const ALL: &str = "\"read\", \"send\", \"admin\"";
const BEFORE: [(&str, &str, &str); 2] = [("mine", ALL, "\"a\""), ("other", ALL, "")];

/// A bench with [`BEFORE`], whose secrets are their names.
async fn bench() -> (Bench, TempDir) {
    let folder = TempDir::new().unwrap();
    for name in ["mine", "other"] {
        std::fs::write(folder.path().join(name), name).unwrap();
    }
    (Bench::new(&text(folder.path(), &BEFORE)).await, folder)
}

async fn apply(bench: &Bench, text: &str) {
    bench.apply(parse_toml(&format!("[api]\n{text}"), "test.toml").unwrap()).await;
}

/// A stream that has begun to be answered.
async fn stream(bench: &Bench, method: &str, path: &str, token: &str) -> TcpStream {
    let mut stream = bench.dial().await;
    let head =
        format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\nConnection: close");
    stream.write_all(format!("{head}\r\nTransfer-Encoding: chunked\r\n\r\n").as_bytes()).await.unwrap();
    let mut answer = [0; 12];
    stream.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"HTTP/1.1 200", "{path}");
    stream
}

async fn socket(bench: &Bench, endpoint: &str, protocol: Option<&str>, token: &str) -> WebSocketStream<TcpStream> {
    let url = format!("ws://localhost:{}/v1/endpoints/{endpoint}/ws?types=message", bench.port);
    let mut request = url.into_client_request().unwrap();
    request.headers_mut().insert("authorization", format!("Bearer {token}").parse().unwrap());
    if let Some(protocol) = protocol {
        request.headers_mut().insert("sec-websocket-protocol", protocol.parse().unwrap());
    }
    client_async(request, bench.dial().await).await.unwrap().0
}

/// The code that a socket is closed with.
async fn closed(socket: &mut WebSocketStream<TcpStream>) -> (u16, String) {
    let reading = async {
        loop {
            if let Message::Close(Some(frame)) = socket.next().await.expect("a Close").unwrap() {
                return (frame.code.into(), frame.reason.to_string());
            }
        }
    };
    tokio::time::timeout(PATIENCE, reading).await.expect("a Close in time")
}

#[tokio::test]
async fn what_a_token_began_ends_when_it_is_taken_away_narrowed_or_changed() {
    let narrowed = ("mine", "\"admin\"", "\"a\"");
    for (what, after, secret) in [
        ("taken away", &[BEFORE[1]][..], "mine"),
        ("its scopes are fewer", &[narrowed, BEFORE[1]], "mine"),
        ("its endpoints are others", &[("mine", ALL, "\"b\""), BEFORE[1]], "mine"),
        ("its secret is another", &BEFORE, "new"),
    ] {
        let (bench, folder) = bench().await;
        let mut streams = Vec::new();
        for path in ["/v1/endpoints/a/events", "/v1/endpoints/a/frames", "/v1/endpoints/a/frames?payloads=true"] {
            streams.push((path, stream(&bench, "GET", path, "mine").await));
        }
        let path = "/v1/endpoints/a/messages:batch";
        streams.push((path, stream(&bench, "POST", path, "mine").await));
        let mut sockets =
            [socket(&bench, "a", None, "mine").await, socket(&bench, "a", Some("wskeeper.v1.json"), "mine").await];
        let mut untouched = stream(&bench, "GET", "/v1/events", "other").await;

        std::fs::write(folder.path().join("mine"), secret).unwrap();
        apply(&bench, &text(folder.path(), after)).await;
        for (path, stream) in &mut streams {
            let told = rest(stream).await;
            assert_eq!(told.contains("urn:wskeeper:problem:"), path.ends_with("batch"), "{what}: {path}: {told}");
        }
        for socket in &mut sockets {
            let (code, reason) = closed(socket).await;
            assert_eq!(code, 1008, "{what}");
            assert!(reason.starts_with("no longer allowed: "), "{what}: {reason}");
            // The other side is gone, or takes it and does nothing with it.
            let _ = socket.send(Message::text("too late")).await;
        }
        assert_eq!(bench.pool.endpoint("a").unwrap().totals.queued_messages, 0, "{what}");

        bench.pool.command("b", 0, Verb::Pause).await.unwrap();
        let mut told = Vec::new();
        until("an event for the token that is as it was", async || {
            assert!(untouched.read_buf(&mut told).await.unwrap() > 0, "{what}: it ended");
            String::from_utf8_lossy(&told).contains("\"paused\"").then_some(())
        })
        .await;
    }
}

#[tokio::test]
async fn what_a_token_began_goes_on_while_it_still_allows_that() {
    let (bench, folder) = bench().await;
    let mut reader = stream(&bench, "GET", "/v1/endpoints/a/events", "mine").await;
    let mut looker = stream(&bench, "GET", "/v1/endpoints/a/frames?payloads=true", "mine").await;
    apply(&bench, &text(folder.path(), &[BEFORE[1], ("mine", "\"read\"", "\"b\", \"a\"")])).await;
    // Payloads are for admins only.
    rest(&mut looker).await;
    bench.pool.command("a", 0, Verb::Pause).await.unwrap();
    let mut told = Vec::new();
    until("an event", async || {
        assert!(reader.read_buf(&mut told).await.unwrap() > 0, "it ended");
        String::from_utf8_lossy(&told).contains("\"paused\"").then_some(())
    })
    .await;
}

#[tokio::test]
async fn what_began_without_a_token_ends_when_one_is_needed() {
    let folder = TempDir::new().unwrap();
    std::fs::write(folder.path().join("mine"), "mine").unwrap();
    let bench = Bench::new(&text(folder.path(), &[])).await;
    let mut reader = stream(&bench, "GET", "/v1/events", "none is asked for").await;
    let mut socket = socket(&bench, "a", None, "none is asked for").await;
    apply(&bench, &text(folder.path(), &[("mine", ALL, "")])).await;
    rest(&mut reader).await;
    assert_eq!(closed(&mut socket).await.0, 1008);
}

#[tokio::test]
async fn a_secret_that_changes_in_its_file_ends_what_came_with_the_old_one() {
    let (bench, folder) = bench().await;
    let mut reader = stream(&bench, "GET", "/v1/endpoints/a/events", "mine").await;
    std::fs::write(folder.path().join("mine"), "new").unwrap();
    rest(&mut reader).await;
    stream(&bench, "GET", "/v1/endpoints/a/events", "new").await;
}
