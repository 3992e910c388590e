//! Tokens in files that cannot be read.

use std::process::Command;

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
