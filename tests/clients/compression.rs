//! Clients of others whose messages are compressed on both of their ways: to the daemon, and from it to `wskeeper echo`.

use std::{path::Path, process::Stdio};

use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::{Child, Command},
};

use crate::{
    run, said, script,
    support::{daemon::Daemon, peer::program_base},
};

/// `wskeeper echo`, and its address.
async fn echo(words: &[&str]) -> (Child, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_wskeeper"));
    command.args(["echo", "--quiet", "--listen", "127.0.0.1:0"]).args(words);
    let mut child = command.stdout(Stdio::piped()).kill_on_drop(true).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let url = lines.next_line().await.unwrap().expect("it listens");
    (child, url)
}

/// A daemon that compresses for its clients, and whose endpoint `e` compresses in this context.
async fn compressing(url: &str, context: &str) -> Daemon {
    let room = "max_message = \"16MiB\"\nmax_bytes = \"64MiB\"";
    let daemon = Daemon::start(&format!(
        "compression = \"auto\"\n[endpoints.e]\nurl = \"{url}\"\ncompression = \"auto\"\ncompression_context = \"{context}\"\n\
         [endpoints.e.outbox]\n{room}\n[endpoints.e.inbox]\n{room}\n"
    ))
    .await;
    daemon.api.ready_after("e/0", 0).await;
    daemon
}

const NEITHER: &str = "permessage-deflate; server_no_context_takeover; client_no_context_takeover";

#[tokio::test]
async fn what_python_compresses_goes_through_and_comes_back_whatever_it_asks_for() {
    let python = program_base().join("python/bin/python");
    if !is_there(&python) {
        return;
    }
    let (_echo, url) = echo(&["--compression"]).await;
    for (context, bits, protocol) in
        [("none", 0, ""), ("peer", 9, ""), ("both", 12, ""), ("none", 15, "wskeeper.v1.json")]
    {
        let daemon = compressing(&url, context).await;
        let link = daemon.api.link("e/0").await;
        let agreed = link["extensions"].as_str().unwrap();
        assert_eq!(agreed.contains("server_no_context_takeover"), context == "none", "{agreed}");
        assert_eq!(agreed.contains("client_no_context_takeover"), context != "both", "{agreed}");
        let mut client = Command::new(&python);
        client.arg(script("compression.py")).arg(daemon.folder().join("api.sock")).args([&bits.to_string(), protocol]);
        let agreed = said(&run(&mut client).await);
        let wanted = match bits {
            0 => NEITHER.to_owned(),
            15 => format!("{NEITHER}; server_max_window_bits=15"),
            bits => format!("{NEITHER}; server_max_window_bits={bits}; client_max_window_bits={bits}"),
        };
        assert_eq!(agreed.trim_end(), wanted);
    }
}

#[tokio::test]
async fn what_node_compresses_goes_through_and_comes_back_also_on_a_connection_of_its_own() {
    if !is_there(&program_base().join("node/node_modules/ws")) {
        return;
    }
    let (_echo, url) = echo(&["--compression"]).await;
    for query in ["types=message", "transparent=true"] {
        let daemon = compressing(&url, "none").await;
        let mut client = Command::new("node");
        client.env("NODE_PATH", program_base().join("node/node_modules"));
        client.arg(script("compression.js")).arg(daemon.folder().join("api.sock")).arg(query);
        assert_eq!(said(&run(&mut client).await).trim_end(), "permessage-deflate", "{query}");
    }
}

#[tokio::test]
async fn a_client_that_offers_compression_to_a_daemon_without_it_goes_on_without() {
    let python = program_base().join("python/bin/python");
    if !is_there(&python) {
        return;
    }
    let (_echo, url) = echo(&[]).await;
    let room = "max_message = \"16MiB\"\nmax_bytes = \"64MiB\"";
    let daemon = Daemon::start(&format!(
        "[endpoints.e]\nurl = \"{url}\"\ncompression = \"auto\"\n[endpoints.e.outbox]\n{room}\n[endpoints.e.inbox]\n{room}\n"
    ))
    .await;
    assert_eq!(daemon.api.ready_after("e/0", 0).await["extensions"], "", "the peer has none either");
    let mut client = Command::new(&python);
    client.arg(script("compression.py")).arg(daemon.folder().join("api.sock")).args(["0", ""]);
    assert_eq!(said(&run(&mut client).await), "\n");
}

fn is_there(program: &Path) -> bool {
    let is = program.exists();
    assert!(is || std::env::var_os("WSKEEPER_TEST_REAL").is_none(), "{} is missing", program.display());
    if !is {
        eprintln!("skipped: {} is missing", program.display());
    }
    is
}
