//! Tokens in files that cannot be read, and in subprotocols.

use std::process::Command;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::bench::Bench;

#[tokio::test]
async fn a_token_in_a_pipe_lets_nobody_in_and_holds_up_nobody() {
    let folder = tempfile::tempdir().unwrap();
    // Nobody writes to it: to wait for that would be for ever.
    let pipe = folder.path().join("token");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let tokens =
        format!("[[api.tokens]]\nname = \"a\"\ntoken = \"${{file:{}}}\"\nscopes = [\"read\"]\n", pipe.display());
    let bench = Bench::new(&tokens).await;
    let ask = "GET /v1/links HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nAuthorization: Bearer hunter2\r\n\r\n";
    assert_eq!(bench.ask(ask).await.0, 401);
    assert_eq!(bench.get("/livez").await.0, 200);
}

/// Its two bytes above 0xFB are `-` and `_` in base64url, `+` and `/` in base64.
const SECRET: &str = "s\u{fb}\u{ff}?>secret";

fn token_protocol(token: impl AsRef<[u8]>) -> String {
    format!("wskeeper.token.{}", URL_SAFE_NO_PAD.encode(token))
}

/// An opening handshake with these headers: the status, and the head of the answer.
async fn shake(bench: &Bench, headers: &[String]) -> (u16, String) {
    let mut stream = bench.dial().await;
    let head = "GET /v1/endpoints/feed/ws HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    let headers = headers.join("\r\n");
    stream.write_all(format!("{head}{headers}\r\n\r\n").as_bytes()).await.unwrap();
    let mut answer = String::new();
    while !answer.contains("\r\n\r\n") {
        let byte = stream.read_u8().await.unwrap();
        answer.push(byte.into());
    }
    (answer[9..12].parse().unwrap(), answer.to_lowercase())
}

async fn with_token() -> (Bench, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("token");
    std::fs::write(&file, SECRET).unwrap();
    let token = format!(
        "[[api.tokens]]\nname = \"page\"\ntoken = \"${{file:{}}}\"\nscopes = [\"read\", \"send\"]\n",
        file.display()
    );
    (
        Bench::new(&format!("{token}[endpoints.feed]\nurl = \"ws://127.0.0.1:1/\"\nprotocols = [\"mqtt\"]\n")).await,
        folder,
    )
}

#[tokio::test]
async fn a_websocket_may_bring_its_token_in_a_subprotocol_which_is_never_answered() {
    let (bench, _folder) = with_token().await;
    let token = token_protocol(SECRET);
    for (offers, chosen) in [
        (format!("wskeeper.v1.json, {token}"), Some("wskeeper.v1.json")),
        (format!("{token}, wskeeper.v1.json"), Some("wskeeper.v1.json")),
        (format!("{token},wskeeper.v1.plain"), Some("wskeeper.v1.plain")),
        (format!("wskeeper.v1.plain, mqtt, {token}"), Some("mqtt")),
        (token.clone(), None),
    ] {
        let (status, answer) = shake(&bench, &[format!("Sec-WebSocket-Protocol: {offers}")]).await;
        assert_eq!(status, 101, "{offers}: {answer}");
        let told = answer.lines().find_map(|line| line.strip_prefix("sec-websocket-protocol: "));
        assert_eq!(told, chosen, "{offers}");
    }
    let apart = ["Sec-WebSocket-Protocol: wskeeper.v1.json".to_owned(), format!("Sec-WebSocket-Protocol: {token}")];
    assert_eq!(shake(&bench, &apart).await.0, 101);
}

#[tokio::test]
async fn a_subprotocol_lets_nobody_in_with_a_wrong_token_or_beside_a_wrong_header() {
    let (bench, _folder) = with_token().await;
    let padded = format!("{}=", token_protocol(SECRET));
    for offer in [
        &token_protocol("wrong"),
        &token_protocol(""),
        &token_protocol([0xff, 0xfe]),
        "wskeeper.token.!",
        &padded,
        "mqtt",
    ] {
        let (status, answer) = shake(&bench, &[format!("Sec-WebSocket-Protocol: wskeeper.v1.json, {offer}")]).await;
        assert_eq!(status, 401, "{offer}: {answer}");
    }
    let beside =
        ["Authorization: Bearer wrong".to_owned(), format!("Sec-WebSocket-Protocol: {}", token_protocol(SECRET))];
    assert_eq!(shake(&bench, &beside).await.0, 401);
}
