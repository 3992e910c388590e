//! `wskeeper endpoints`, from a terminal.

use std::{
    fs,
    process::{Command, Output},
};

use crate::{path, peer::Peer, started, support::daemon::Daemon};

fn run(daemon: &Daemon, words: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_wskeeper"))
        .arg("endpoints")
        .args(words)
        .env("WSKEEPER_API", format!("unix:{}", daemon.folder().join("api.sock").display()))
        .output()
        .unwrap()
}

fn said(output: &Output) -> (Option<i32>, String) {
    (output.status.code(), [&output.stdout[..], &output.stderr].map(String::from_utf8_lossy).concat())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_endpoint_is_put_from_a_file_shown_listed_and_removed() {
    let (peer, daemon) = (Peer::listen().await, started("disk").await);
    let file = daemon.folder().join("user.toml");
    let name = file.display().to_string();
    fs::write(&file, format!("url = \"ws://127.0.0.1:{}/u\"\nlinks = 2\nlinkz = 3\n", peer.port)).unwrap();
    let (code, told) = said(&run(&daemon, &["put", "u", &name]));
    assert_eq!(code, Some(1), "{told}");
    assert!(told.contains(&format!("{name}:3: linkz: unknown key; did you mean `links`?")), "{told}");
    fs::write(&file, format!("url = \"ws://127.0.0.1:{}/u\"\nlinks = 2\n", peer.port)).unwrap();
    let (code, told) = said(&run(&daemon, &["put", "u", &name, "--dry-run"]));
    assert!(
        code == Some(0) && told.contains("u/0…1 (2 links)") && told.contains("u would be kept on disk: 2 added"),
        "{told}"
    );
    assert_eq!(daemon.api.get(&path("u")).await.status, 404);
    let (code, told) = said(&run(&daemon, &["put", "u", &name, "--new", "--keep", "memory"]));
    assert!(code == Some(0) && told.contains("u is kept in memory: 2 added"), "{told}");
    let (code, told) = said(&run(&daemon, &["put", "u", &name, "--new"]));
    assert!(code == Some(1) && told.contains("not as If-Match or If-None-Match demands"), "{told}");
    daemon.api.ready_after("u/1", 0).await;
    let (code, told) = said(&run(&daemon, &["list"]));
    let row: Vec<&str> = told.lines().nth(1).unwrap_or_default().split_whitespace().collect();
    assert_eq!((code, row[..3].to_vec()), (Some(0), vec!["u", "memory", "2"]), "{told}");
    let (code, told) = said(&run(&daemon, &["show", "u"]));
    assert!(code == Some(0) && told.contains("\"source\": \"memory\""), "{told}");
    let (code, told) = said(&run(&daemon, &["remove", "u", "--drain", "1s"]));
    assert_eq!((code, told.as_str()), (Some(0), "u removed: 2 links, all it had was sent\n"));
    let (code, told) = said(&run(&daemon, &["remove", "u"]));
    assert!(code == Some(1) && told.contains("no endpoint is named \"u\""), "{told}");
}
