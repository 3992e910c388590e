//! Tokens in files that hang.

use std::process::Command;

use tokio::io::AsyncWriteExt;

use super::bench::{Bench, rest};

#[tokio::test]
async fn a_token_file_that_hangs_holds_up_nobody_who_needs_no_token() {
    let folder = tempfile::tempdir().unwrap();
    // A pipe that nobody writes to: opening it waits.
    let pipe = folder.path().join("token");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let tokens =
        format!("[[api.tokens]]\nname = \"a\"\ntoken = \"${{file:{}}}\"\nscopes = [\"read\"]\n", pipe.display());
    let bench = Bench::new(&tokens).await;
    let mut waiting = bench.dial().await;
    let ask =
        b"GET /v1/links HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nAuthorization: Bearer hunter2\r\n\r\n";
    waiting.write_all(ask).await.unwrap();
    // Two questions, so that the first has surely been taken up when the second is answered.
    for _ in 0..2 {
        assert_eq!(bench.get("/livez").await.0, 200);
    }
    tokio::task::spawn_blocking(move || std::fs::write(pipe, "hunter2\n").unwrap()).await.unwrap();
    assert!(rest(&mut waiting).await.starts_with("HTTP/1.1 200 "));
}
