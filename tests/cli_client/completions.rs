//! What shells complete: verbs, options, and names that the daemon says.

use std::{os::unix::fs::symlink, process::Command};

use axum::response::Response;
use serde_json::json;

use crate::{Api, Asked, ok, stderr, stdout};

fn names(asked: &Asked, _: usize) -> Response {
    let endpoint = |name: &str| json!({"name": name, "config": {"urls": [format!("wss://{name}.example/")]}});
    let link = |index: u32| json!({"endpoint": "trades", "index": index, "phase": "parked"});
    let items = if asked.line.starts_with("GET /v1/links") {
        [link(0), link(1)]
    } else {
        [endpoint("trades"), endpoint("books")]
    };
    ok(&json!({"items": items, "next": null}))
}

/// What the binary answers to a shell, before the cursor: the words, the last of them unfinished.
fn words(api: &str, words: &[&str]) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_wskeeper"));
    command.env("WSKEEPER_COMPLETE", "fish").env("WSKEEPER_API", api).arg("--").arg("wskeeper").args(words);
    let output = command.output().unwrap();
    assert!(output.status.success() && output.stderr.is_empty(), "{}", stderr(&output));
    stdout(&output)
}

#[test]
fn endpoints_and_links_of_the_daemon_are_completed() {
    let api = Api::start(names);
    let at = format!("http://{}", api.address);
    for verb in [
        &["send"][..],
        &["tail"],
        &["request"],
        &["subscribe"],
        &["endpoints", "remove"],
        &["dead", "list", "--endpoint"],
    ] {
        let all = words(&at, &[verb, &[""]].concat());
        assert!(all.contains("trades\twss://trades.example/\n") && all.contains("books\t"), "{verb:?}: {all}");
        let one = words(&at, &[verb, &["tr"]].concat());
        assert!(one.starts_with("trades\t") && !one.contains("books"), "{verb:?}: {one}");
    }
    for verb in ["explain", "close", "rotate", "resume"] {
        let all = words(&at, &[verb, "trades/"]);
        assert!(all.contains("trades/0\tparked\ntrades/1\tparked"), "{verb}: {all}");
    }
    assert!(!words(&at, &["send", "--link", ""]).contains("trades"), "an index is no name");
}

#[test]
fn without_a_daemon_verbs_and_options_are_completed_and_nothing_is_said() {
    let nobody = "http://127.0.0.1:1";
    assert!(words(nobody, &["rec"]).starts_with("reconnect\t"));
    assert!(words(nobody, &["send", "--wa"]).starts_with("--wait\t"));
    assert!(!words(nobody, &["explain", ""]).contains("trades"));
}

/// The script as Bash runs it.
#[test]
fn bash_completes_the_name_of_a_link() {
    let api = Api::start(names);
    let folder = tempfile::tempdir().unwrap();
    symlink(env!("CARGO_BIN_EXE_wskeeper"), folder.path().join("wskeeper")).unwrap();
    let typed = "source <(wskeeper completions bash); COMP_WORDS=(wskeeper explain trades/1); COMP_CWORD=2; COMP_TYPE=9
        _clap_complete_wskeeper wskeeper trades/1 explain; printf '%s|' \"${COMPREPLY[@]}\"";
    let path = format!("{}:{}", folder.path().display(), std::env::var("PATH").unwrap());
    let output = Command::new("bash")
        .args(["-c", typed])
        .env("PATH", path)
        .env("WSKEEPER_API", format!("http://{}", api.address))
        .output();
    let output = output.unwrap();
    assert_eq!(stdout(&output).trim(), "trades/1|", "{}", stderr(&output));
}
