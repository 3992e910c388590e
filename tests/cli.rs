//! The real binary: help, usage errors, exit codes, completions, and the verbs that need no daemon.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    io::{BufRead, BufReader, Write},
    process::{Child, Command, Output, Stdio},
    time::Duration,
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

/// No verb of these tests may take longer.
const LIMIT: Duration = Duration::from_secs(30);
/// Between two looks at a process.
const PAUSE: Duration = Duration::from_millis(5);

fn command(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_wskeeper"));
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("WSKEEPER")) {
        command.env_remove(name);
    }
    command.args(args).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn run(args: &[&str]) -> Output {
    command(args).output().unwrap()
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// Ends the child even where a test fails.
struct Running(Child);

impl Running {
    fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.0.id().cast_signed()), signal).unwrap();
    }

    fn exit_code(&mut self) -> Option<i32> {
        for _ in 0..LIMIT.as_millis() / PAUSE.as_millis() {
            if let Some(status) = self.0.try_wait().unwrap() {
                return status.code();
            }
            #[allow(clippy::disallowed_methods, reason = "no runtime here; the loop waits for a condition")]
            std::thread::sleep(PAUSE);
        }
        panic!("the process did not end in time");
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn the_help_teaches_every_verb() {
    let help = run(&["--help"]);
    assert_eq!(help.status.code(), Some(0));
    let text = stdout(&help);
    let verbs = [
        "run",
        "demo",
        "connect",
        "check",
        "presets",
        "rehearse",
        "status",
        "explain",
        "send",
        "request",
        "tail",
        "close",
        "subscribe",
        "unsubscribe",
        "subscriptions",
        "reconnect",
        "rotate",
        "pause",
        "resume",
        "chaos",
        "plan",
        "reload",
        "endpoints",
        "dead",
        "orphans",
        "echo",
        "completions",
    ];
    for verb in verbs {
        assert!(text.contains(&format!("\n  {verb} ")), "{verb} is missing:\n{text}");
        let own = run(&[verb, "--help"]);
        assert_eq!(own.status.code(), Some(0), "{verb}");
        assert!(stdout(&own).contains("Usage: wskeeper"), "{verb}");
    }
    assert!(text.contains("wskeeper demo"), "the help says where to begin");
}

/// Each verb, and each verb within one.
fn commands() -> Vec<Vec<String>> {
    let mut found = vec![Vec::new()];
    let mut at = 0;
    while at < found.len() {
        let words: Vec<&str> = found[at].iter().map(String::as_str).chain(["--help"]).collect();
        let text = stdout(&run(&words));
        let verbs = text.split("Commands:\n").nth(1).unwrap_or_default();
        for line in verbs.lines().take_while(|line| line.starts_with("  ")) {
            let word = line.split_whitespace().next().unwrap();
            if line.starts_with("  ") && !line.starts_with("   ") && word != "help" {
                found.push([found[at].clone(), vec![word.to_owned()]].concat());
            }
        }
        at += 1;
    }
    found
}

#[test]
fn every_help_fits_80_columns_and_offers_a_daemon_only_where_one_is_asked() {
    let all = commands();
    assert!(all.len() > 30, "{all:?}");
    for words in all {
        let text = stdout(&run(&words.iter().map(String::as_str).chain(["--help"]).collect::<Vec<_>>()));
        for line in text.lines() {
            assert!(line.chars().count() <= 80, "{words:?}: {line:?}");
        }
        let asks = words.first().is_some_and(|verb| {
            !["run", "demo", "connect", "check", "presets", "rehearse", "echo", "completions"].contains(&verb.as_str())
        });
        let option = "\n      --api <URL>";
        assert_eq!(text.contains(option) && text.contains("--token-file <PATH>"), asks, "{words:?}:\n{text}");
        assert_eq!(text.contains(option), asks, "{words:?}:\n{text}");
    }
}

#[test]
fn an_address_before_the_verb_is_that_behind_it_and_refused_where_no_daemon_is_asked() {
    let early = run(&["--api", "http://127.0.0.1:1", "status"]);
    assert_eq!(early.status.code(), Some(1));
    assert!(
        stderr(&early).starts_with("wskeeper status: no daemon answers at http://127.0.0.1:1 ("),
        "{}",
        stderr(&early)
    );
    let both = command(&["--api", "http://127.0.0.1:1", "status", "--api", "http://127.0.0.1:2"]).output().unwrap();
    assert!(stderr(&both).contains("127.0.0.1:2 ("), "{}", stderr(&both));
    let told =
        command(&["--api", "http://127.0.0.1:1", "status"]).env("WSKEEPER_API", "http://127.0.0.1:2").output().unwrap();
    assert!(stderr(&told).contains("127.0.0.1:1 ("), "{}", stderr(&told));
    for verb in [&["check", "x.toml"][..], &["completions", "bash"], &["echo"], &["run"], &["demo"]] {
        let output = run(&[&["--api", "http://127.0.0.1:1"], verb].concat());
        assert_eq!(output.status.code(), Some(2), "{verb:?}");
        assert!(stderr(&output).contains("asks none"), "{}", stderr(&output));
        assert_eq!(run(&[verb, &["--api", "http://127.0.0.1:1"]].concat()).status.code(), Some(2), "{verb:?}");
    }
}

#[test]
fn check_warns_of_what_is_not_read_and_answers_0() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("a.toml"), "[endpoints.a]\nurl = \"ws://127.0.0.1:1/\"\n").unwrap();
    std::fs::write(folder.path().join("b.tml"), "x = 1\n").unwrap();
    let output =
        command(&["check", folder.path().to_str().unwrap()]).env("WSKEEPER_API__LISTEN", "[::1]:1").output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let text = stderr(&output);
    assert!(text.contains("warning: ") && text.contains("b.tml"), "{text}");
    assert!(text.contains("WSKEEPER_API__LISTEN is not read; write WSKEEPER__API__LISTEN"), "{text}");
}

#[test]
fn a_quiet_echo_peer_prints_its_address_and_nothing_else() {
    let mut peer =
        Running(command(&["echo", "--listen", "127.0.0.1:0", "--quiet", "--refuse", "503"]).spawn().unwrap());
    let mut lines = BufReader::new(peer.0.stdout.take().unwrap()).lines();
    let first = lines.next().unwrap().unwrap();
    let address = first.strip_prefix("ws://").unwrap().strip_suffix('/').unwrap();
    let mut stream = std::net::TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(LIMIT)).unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
    std::io::Read::read_to_end(&mut stream, &mut Vec::new()).unwrap();
    peer.signal(Signal::SIGINT);
    assert_eq!(peer.exit_code(), Some(0));
    assert_eq!(lines.count(), 0);
}

#[test]
fn wrong_usage_is_exit_code_2_and_says_what_is_wrong() {
    let wrong: [&[&str]; 17] = [
        &[],
        &["fly"],
        &["send"],
        &["explain", "trades/x"],
        &["tail", "trades", "--from", "yesterday"],
        &["echo", "--drop-every", "soon"],
        &["echo", "--refuse", "200"],
        &["echo", "--refuse-for", "5s"],
        &["close", "trades/0", "--code", "1006"],
        &["chaos", "trades/0"],
        &["chaos", "trades/0", "drop", "--for", "1s"],
        &["dead", "drop"],
        &["dead", "retry", "019a", "--all", "trades"],
        &["dead", "show", "019a", "--raw", "--json"],
        &["orphans", "move", "trades/3"],
        &["endpoints", "put", "user-1"],
        &["endpoints", "put", "user-1", "a.toml", "--keep", "nowhere"],
    ];
    for args in wrong {
        let output = run(args);
        assert_eq!(output.status.code(), Some(2), "{args:?}: {}", stderr(&output));
        assert!(!output.stderr.is_empty(), "{args:?}");
    }
    assert!(stderr(&run(&["close", "t/0", "--code", "1006"])).contains("use 1000 or 3000 to 4999"));
}

#[test]
fn every_client_verb_says_how_to_start_a_daemon_that_does_not_answer() {
    // A port that was free a moment ago and that nobody listens on.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let api = format!("http://127.0.0.1:{port}");
    let verbs: [&[&str]; 13] = [
        &["status"],
        &["explain", "a/0"],
        &["send", "a", "text"],
        &["tail", "a"],
        &["close", "a/0"],
        &["pause", "a/0"],
        &["resume", "a/0"],
        &["plan"],
        &["reload"],
        &["dead", "list"],
        &["dead", "drop", "019a"],
        &["orphans", "discard", "a/0"],
        &["endpoints", "list"],
    ];
    for verb in verbs {
        let output = command(verb).args(["--api", &api]).output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{verb:?}");
        let text = stderr(&output);
        assert!(text.contains(&api) && text.contains("Is it running?"), "{verb:?}: {text}");
    }
    let output = command(&["status"]).env("WSKEEPER_API", "unix:/nowhere/api.sock").output().unwrap();
    assert!(stderr(&output).contains("unix:/nowhere/api.sock"));
    assert_eq!(run(&["status", "--api", "ftp://x"]).status.code(), Some(1));
}

#[test]
fn check_answers_0_for_a_good_file_and_1_with_every_fault_for_a_bad_one() {
    let folder = tempfile::tempdir().unwrap();
    let good = folder.path().join("good.toml");
    std::fs::write(&good, "[endpoints.trades]\nurl = \"wss://user:hidden@feed.example/v2?key=hidden\"\nlinks = 2\n")
        .unwrap();
    let output = run(&["check", good.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let text = stdout(&output);
    assert!(text.contains("1 endpoint, 2 links") && text.contains("feed.example"), "{text}");
    assert!(!text.contains("hidden"), "{text}");

    let bad = folder.path().join("bad.toml");
    std::fs::write(&bad, "[endpoints.trades]\nurl = \"ftp://x\"\nlinkz = 2\n[log]\nformat = \"loud\"\n").unwrap();
    let output = run(&["check", bad.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(1));
    let text = stderr(&output);
    for place in ["bad.toml", "endpoints.trades.url", "endpoints.trades.linkz", "log.format", "3 faults"] {
        assert!(text.contains(place), "{place} is missing:\n{text}");
    }
    assert_eq!(run(&["check", "/nowhere.toml"]).status.code(), Some(1));
}

#[test]
fn a_daemon_with_a_bad_configuration_does_not_start_and_says_by_its_code_that_trying_again_mends_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let bad = folder.path().join("bad.toml");
    std::fs::write(&bad, "[endpoints.trades]\nlinkz = 2\n").unwrap();
    let output = run(&["run", "--config", bad.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("endpoints.trades.linkz"), "{}", stderr(&output));
    assert_eq!(run(&["run", "--config", "/nowhere.toml"]).status.code(), Some(2));
    let unit = include_str!("../deploy/systemd/wskeeper.service");
    assert!(unit.contains("\nRestartPreventExitStatus=2\n"), "what a service manager must know");
}

#[test]
fn a_state_that_cannot_be_awaited_is_a_usage_error_that_names_those_that_can() {
    let output = run(&["send", "trades", "x", "--wait", "dead"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("possible values: queued, stored, written, confirmed"), "{}", stderr(&output));
}

#[test]
fn completions_exist_for_each_shell() {
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let output = run(&["completions", shell]);
        assert_eq!(output.status.code(), Some(0), "{shell}");
        assert!(stdout(&output).contains("WSKEEPER_COMPLETE"), "{shell}");
    }
    assert!(stdout(&run(&["completions", "nushell"])).contains("export extern \"wskeeper reconnect\""));
    assert_eq!(run(&["completions", "cobol"]).status.code(), Some(2));
}

#[test]
fn a_reader_that_has_gone_away_is_a_quiet_end() {
    let mut child = Running(command(&["completions", "zsh"]).spawn().unwrap());
    drop(child.0.stdout.take());
    assert_eq!(child.exit_code(), Some(0));
    let mut text = String::new();
    std::io::Read::read_to_string(&mut child.0.stderr.take().unwrap(), &mut text).unwrap();
    assert_eq!(text, "");
}

#[test]
fn nothing_is_coloured_where_there_is_no_terminal() {
    for args in [&["--help"][..], &["status", "--api", "http://127.0.0.1:1"]] {
        let output = run(args);
        assert!(!stdout(&output).contains('\x1b') && !stderr(&output).contains('\x1b'), "{args:?}");
    }
}

#[test]
fn the_echo_peer_serves_until_a_signal_and_prints_what_happens() {
    let mut peer = Running(command(&["echo", "--listen", "127.0.0.1:0", "--refuse", "429:3"]).spawn().unwrap());
    let mut lines = BufReader::new(peer.0.stdout.take().unwrap()).lines();
    let first = lines.next().unwrap().unwrap();
    let address = first.strip_prefix("listening on ws://").unwrap().trim_end_matches('/').to_owned();
    let mut stream = std::net::TcpStream::connect(&address).unwrap();
    stream.set_read_timeout(Some(LIMIT)).unwrap();
    let request = "GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
        Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    std::io::Read::read_to_string(&mut stream, &mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 429 Too Many Requests\r\n"), "{answer}");
    assert!(answer.to_lowercase().contains("retry-after: 3\r\n"), "{answer}");
    assert_eq!(lines.next().unwrap().unwrap(), "#1 refused with 429, Retry-After 3 s");
    peer.signal(Signal::SIGINT);
    assert_eq!(peer.exit_code(), Some(0));
}

#[test]
fn an_echo_peer_on_a_taken_address_says_so() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let output = run(&["echo", "--listen", &address]);
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains(&address), "{}", stderr(&output));
}
