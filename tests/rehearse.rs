//! `wskeeper rehearse`: presets by transcripts, without a network; and the real thing against a server.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking, in its helpers too")]
#![allow(unreachable_pub, reason = "what tests share is as public as a library's items")]
#![allow(dead_code, reason = "not all of what tests share is used here")]
#![allow(clippy::print_stderr, reason = "a failed test says why")]

#[path = "support/mod.rs"]
mod support;

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

use futures_util::{SinkExt, StreamExt};
use serde_json::Value;
use tokio::net::TcpListener;
use tokio_tungstenite::tungstenite::Message;

fn transcript(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/session/transcripts").join(name)
}

fn command(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_wskeeper"));
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("WSKEEPER")) {
        command.env_remove(name);
    }
    command.arg("rehearse").args(args).env("REHEARSED", "s3cret-4you");
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Exit code, and what was printed on both.
fn said(output: &Output) -> (Option<i32>, String) {
    let text = [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes).into_owned()).concat();
    (output.status.code(), text)
}

fn rehearse(args: &[&str]) -> (Option<i32>, String) {
    said(&command(args).output().unwrap())
}

fn preset(name: &str, values: &[&str], transcript: &Path) -> (Option<i32>, String) {
    let mut args = vec!["--preset", name, "--transcript", transcript.to_str().unwrap()];
    args.extend(values.iter().flat_map(|value| ["--value", value]));
    rehearse(&args)
}

/// A transcript with these lines.
fn written(lines: &str) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("t.ndjson");
    fs::write(&path, lines).unwrap();
    (folder, path)
}

const DISCORD: [&str; 2] = ["token=${env:REHEARSED}", "intents=513"];

#[test]
fn a_preset_becomes_ready_by_its_transcript_and_each_step_is_told() {
    let (code, text) = preset("discord", &DISCORD, &transcript("discord.ndjson"));
    assert_eq!(code, Some(0), "{text}");
    for told in [
        "open[0] expect  matched /op = 10; set beat = 1000",
        "open[1] send  left out",
        "open[2] send",
        "open[3] expect  matched 1 of 4: /op = 0, /t = \"READY\"; set resume_url = \"wss://resume.example/\", sid = \"abc\"",
        "on[0]  matched /op = 0; set seq = 7",
        "every[0] match  matched /op = 11",
        "a timer has its answer",
        "verdict: ready",
    ] {
        assert!(text.contains(told), "{told:?} is missing:\n{text}");
    }
    assert!(text.contains("\"token\":\"***\"") && !text.contains("s3cret"), "{text}");
    let (code, text) = preset("mqtt", &["user=user", "pass=${env:REHEARSED}"], &transcript("mqtt.ndjson"));
    // The length of the password is not that of the transcript.
    assert_eq!(code, Some(1), "{text}");
    let (code, text) = preset("mqtt", &["user=user", "pass=word"], &transcript("mqtt.ndjson"));
    assert_eq!(code, Some(0), "{text}");
    assert!(!text.contains("776f7264"), "what seems to be a password is shown: {text}");
}

/// Every preset, by what its server says: the values that it needs stand in the second line of its transcript.
#[test]
fn each_preset_becomes_ready_by_its_transcript() {
    let presets = fs::read_dir("config/presets").unwrap().map(|entry| entry.unwrap().path());
    let mut names: Vec<String> = presets.map(|path| path.file_stem().unwrap().to_str().unwrap().to_owned()).collect();
    names.sort();
    for name in names {
        let path = transcript(&format!("{name}.ndjson"));
        let lines = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let values = lines.lines().find_map(|line| line.strip_prefix("# values: ")).unwrap_or_default();
        let (code, text) =
            preset(&name, &values.split(' ').filter(|value| !value.is_empty()).collect::<Vec<_>>(), &path);
        assert!(code == Some(0) && text.contains("verdict: ready"), "{name}: {text}");
        assert!(!text.contains("s3cret"), "{name}: {text}");
    }
}

#[test]
fn a_refusal_says_why_and_the_code_says_that_it_is_not_ready() {
    let (code, text) = preset("discord", &DISCORD, &transcript("discord-refused.ndjson"));
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains("close 4004 Authentication failed.") && text.contains("verdict: not ready"), "{text}");
}

#[test]
fn a_transcript_that_ends_early_says_where_the_session_waits_and_for_what() {
    let (_folder, path) =
        written("{\"in\": {\"op\": 10, \"d\": {\"heartbeat_interval\": 1000}}}\n{\"in\": {\"op\": 3}}\n");
    let (code, text) = preset("discord", &DISCORD, &path);
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains("open[3] waits on; it looks for /op = 0, /t = \"READY\" | "), "{text}");
    assert!(text.contains("the transcript ends here; open[3] (expect) waits for /op = 0"), "{text}");
}

#[test]
fn what_is_not_sent_as_the_transcript_says_is_told_with_its_line() {
    let (_folder, path) = written("# nothing comes\n\n{\"out\": {\"op\": 2}}\n");
    let (code, text) = preset("discord", &DISCORD, &path);
    let told = ":3: the session was to send {\"op\":2}, and sends nothing; open[0] (expect) waits for /op = 10";
    assert!(code == Some(1) && text.contains(told), "{text}");
    let hello = "{\"in\": {\"op\": 10, \"d\": {\"heartbeat_interval\": 1000}}}\n{\"out\": {\"op\": 6}}\n";
    let (_folder, path) = written(hello);
    let (code, text) = preset("discord", &DISCORD, &path);
    assert!(code == Some(1) && text.contains("and sends {\"d\":"), "{text}");
    assert!(!text.contains("s3cret"), "{text}");
}

#[test]
fn time_passes_where_the_transcript_says_so_and_takes_none() {
    let (_folder, path) = written("{\"after\": \"1h\"}\n");
    let (code, text) = preset("discord", &DISCORD, &path);
    assert!(code == Some(1) && text.contains("timeout") && text.contains("open[0]"), "{text}");
}

#[test]
fn a_session_that_begins_again_is_not_told_to_wait_on() {
    let hello = r#"{"in": {"op": 10, "d": {"heartbeat_interval": 1000}}}"#;
    let (_folder, path) =
        written(&format!("{hello}\n{{\"in\": {{\"op\": 9}}}}\n{{\"after\": \"5s\"}}\n{{\"out\": \"***\"}}\n"));
    let (_, text) = preset("discord", &DISCORD, &path);
    assert!(text.contains("matched 4 of 4") && !text.contains("waits on"), "{text}");
}

#[test]
fn broken_lines_are_all_told_with_their_places_and_what_would_be_right() {
    let (_folder, path) =
        written("{\"in\": 1}\nhello\n{\"out\": 1, \"in\": 2}\n{\"aftr\": \"2s\"}\n{\"after\": \"2 hurry\"}\n");
    let (code, text) = preset("discord", &DISCORD, &path);
    assert_eq!(code, Some(1), "{text}");
    for (line, right) in [(2, "column 1"), (3, "one thing"), (4, "did you mean `after`?"), (5, "500ms")] {
        let told = text.lines().find(|told| told.contains(&format!("t.ndjson:{line}: ")));
        assert!(told.is_some_and(|told| told.contains(right)), "{line}: {text}");
    }
    assert!(text.contains("4 broken lines"), "{text}");
}

#[test]
fn each_fact_is_an_object_for_programs() {
    let path = transcript("discord.ndjson");
    let args = ["--preset", "discord", "--value", DISCORD[0], "--value", DISCORD[1], "--json", "--transcript"];
    let output = command(&[&args[..], &[path.to_str().unwrap()]].concat()).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let facts: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let step = facts.iter().find(|fact| fact["step"] == "open[3]").unwrap();
    assert_eq!((&step["alternative"], &step["set"]["sid"]), (&0.into(), &"\"abc\"".into()), "{text}");
    let last = facts.last().unwrap();
    assert_eq!((&last["event"], &last["fine"]), (&"verdict".into(), &true.into()), "{text}");
}

#[test]
fn an_http_call_is_answered_by_its_line_and_what_it_brings_is_not_shown() {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("c.toml");
    let session = "open = [{ http = { method = \"POST\", url = \"http://127.0.0.1:1/\", extract = { ticket = \"/ticket\" } } },\n\
        { send = { json = { ticket = \"${var:ticket}\" } } }]\n";
    fs::write(&config, format!("[endpoints.e]\nurl = \"ws://h/\"\n[endpoints.e.session]\n{session}")).unwrap();
    let path = folder.path().join("t.ndjson");
    let play = |lines: &str| {
        fs::write(&path, lines).unwrap();
        rehearse(&["e", "--config", config.to_str().unwrap(), "--transcript", path.to_str().unwrap()])
    };
    let (code, text) =
        play("{\"http\": 201, \"body\": {\"ticket\": \"t1cket-x\"}}\n{\"out\": {\"ticket\": \"***\"}}\n");
    assert!(code == Some(0) && text.contains("set ticket = ***") && !text.contains("t1cket-x"), "{text}");
    let (code, text) = play("{\"http\": 403}\n");
    assert!(code == Some(1) && text.contains("unauthorized") && text.contains("403"), "{text}");
    let (code, text) = play("{\"http\": 200, \"body\": {}}\n{\"http\": 200}\n");
    assert!(code == Some(1) && text.contains(":2: the session waits for no HTTP call"), "{text}");
}

/// Answers each login once with its own words, and keeps quiet to all else.
async fn server() -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let Ok(mut socket) = tokio_tungstenite::accept_async(stream).await else { continue };
            let _ = socket.send(Message::text("{\"hello\":1}")).await;
            while let Some(Ok(message)) = socket.next().await {
                if message.is_text() {
                    let login = message.to_text().unwrap().to_owned();
                    let answer = format!("{{\"welcome\":{login},\"number\":7}}");
                    let _ = socket.send(Message::text(answer)).await;
                }
            }
        }
    });
    port
}

fn configured(port: u16) -> (tempfile::TempDir, String) {
    let folder = tempfile::tempdir().unwrap();
    let config = format!(
        "[endpoints.e]\nurl = \"ws://127.0.0.1:{port}/\"\n[endpoints.e.session]\nopen = [\n\
         {{ expect = {{ has = [\"/hello\"] }} }},\n{{ send = {{ json = {{ token = \"${{env:REHEARSED}}\" }} }} }},\n\
         {{ expect = {{ has = [\"/welcome\"], extract = {{ number = \"/number\" }} }} }},\n]\n\
         leave = [{{ send = \"bye\" }}]\n"
    );
    let path = folder.path().join("wskeeper.toml");
    fs::write(&path, config).unwrap();
    (folder, path.display().to_string())
}

async fn rehearse_beside(args: Vec<String>) -> (Option<i32>, String) {
    let run = move || rehearse(&args.iter().map(String::as_str).collect::<Vec<_>>());
    tokio::task::spawn_blocking(run).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_real_server_is_rehearsed_with_and_what_was_recorded_plays_without_it() {
    let port = server().await;
    let (folder, config) = configured(port);
    let record = folder.path().join("t.ndjson").display().to_string();
    let args = ["e", "--config", &config, "--record", &record].map(str::to_owned).to_vec();
    let (code, text) = rehearse_beside(args).await;
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains("set number = 7") && text.contains("→ bye") && !text.contains("s3cret"), "{text}");
    let lines = fs::read_to_string(&record).unwrap();
    assert!(lines.contains("{\"out\":{\"token\":\"***\"}}") && !lines.contains("s3cret"), "{lines}");
    let args = ["e", "--config", &config, "--transcript", &record].map(str::to_owned).to_vec();
    let (code, text) = rehearse_beside(args).await;
    assert_eq!(code, Some(0), "{text}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_away_or_says_nothing_is_given_up_in_time() {
    let gone = support::free_port();
    let (_folder, config) = configured(gone);
    let (code, text) = rehearse_beside(["e", "--config", &config].map(str::to_owned).to_vec()).await;
    assert!(code == Some(1) && text.contains("verdict: not ready: connect"), "{text}");
    let port = support::raw::honest().await;
    let (_folder, config) = configured(port);
    let args = ["e", "--config", &config, "--timeout", "200ms"].map(str::to_owned).to_vec();
    let (code, text) = rehearse_beside(args).await;
    assert!(code == Some(1) && text.contains("given up: open[0] (expect) waited for has /hello"), "{text}");
}

#[test]
fn what_cannot_be_rehearsed_says_why() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("c.toml");
    fs::write(&path, "[endpoints.plain]\nurl = \"ws://127.0.0.1:1/\"\n").unwrap();
    let config = path.to_str().unwrap();
    for (args, told) in [
        (&["plain", "--config", config][..], "plain has no session"),
        (&["plan", "--config", config][..], "did you mean `plain`?"),
        (&["--preset", "discrod", "--url", "ws://h/"][..], "did you mean `discord`?"),
        (&["--preset", "nats"][..], "--preset needs --url, or --transcript"),
    ] {
        let (code, text) = rehearse(args);
        assert!(code.is_some_and(|code| code > 0) && text.contains(told), "{args:?}: {text}");
    }
}

/// A session whose URL comes by HTTP, from a server that says this.
fn dialled(http: &str, url: &str) -> (tempfile::TempDir, String) {
    let folder = tempfile::tempdir().unwrap();
    let config = format!(
        "[endpoints.e]\nurl = \"{url}\"\n[endpoints.e.session]\n\
         dial = [\n{{ http = {{ url = \"{http}\", headers = {{ X-Key = \"${{env:REHEARSED}}\" }}, extract = {{ url = \"/url\" }} }} }},\n\
         {{ when = \"!url\", wait = \"1s\" }},\n]\nopen = [{{ expect = {{ has = [\"/hello\"] }} }}]\n"
    );
    let path = folder.path().join("wskeeper.toml");
    fs::write(&path, config).unwrap();
    (folder, path.display().to_string())
}

/// Answers each request with this body.
async fn answering(body: String) -> String {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let place = format!("http://{}/", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut request = Vec::new();
            while !request.ends_with(b"\r\n\r\n") {
                let Ok(byte) = stream.read_u8().await else { break };
                request.push(byte);
            }
            let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", body.len());
            let _ = stream.write_all((head + &body).as_bytes()).await;
        }
    });
    place
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_done_before_there_is_a_connection_is_told_recorded_and_played() {
    let port = server().await;
    let http = answering(format!("{{\"url\": \"ws://127.0.0.1:{port}/s3cret-path\"}}")).await;
    let (folder, config) = dialled(&http, "${var:url}");
    let record = folder.path().join("t.ndjson").display().to_string();
    let args = ["e", "--config", &config, "--record", &record].map(str::to_owned).to_vec();
    let (code, text) = rehearse_beside(args).await;
    assert_eq!(code, Some(0), "{text}");
    for told in
        ["← HTTP 200", "dial[0] http  set url = ***", "dial[1] wait  left out", "open[0] expect  matched has /hello"]
    {
        assert!(text.contains(told) || told.starts_with("dial[1]"), "{told:?} is missing:\n{text}");
    }
    assert!(text.find("dial[0]") < text.find("connected in") && !text.contains("s3cret"), "{text}");

    // Steps of `dial` alone need no connection to be played.
    let (_folder, path) =
        written("{\"http\": 200, \"body\": {\"url\": \"ws://there.example/\"}}\n{\"in\": {\"hello\": 1}}\n");
    let (code, text) = rehearse(&["e", "--config", &config, "--transcript", path.to_str().unwrap()]);
    assert_eq!(code, Some(0), "{text}");
    for told in [
        "dial[0] http  set url = ***",
        "dial[1] wait  left out",
        "open[0] expect  matched has /hello",
        "verdict: ready",
    ] {
        assert!(text.contains(told), "{told:?} is missing:\n{text}");
    }
    for (lines, told) in [
        ("{\"in\": {\"hello\": 1}}\n", "there is no connection yet; dial[0] (http) waits"),
        (
            "{\"http\": 401, \"body\": \"no\"}\n",
            "session unauthorized: the call of dial[0] was answered with status 401 and said: no",
        ),
        ("{\"after\": \"1min\"}\n", "session timeout: dial took longer than 10s, and had come to dial[0] (http)"),
        ("", "the transcript ends here; dial[0] (http) waits"),
    ] {
        let (_folder, path) = written(lines);
        let (code, text) = rehearse(&["e", "--config", &config, "--transcript", path.to_str().unwrap()]);
        assert!(code == Some(1) && text.contains(told), "{told:?} is missing:\n{text}");
    }
}

/// Runs it up to a line with this, and ends it as Ctrl-C does.
async fn interrupted(config: String, at: &'static str) -> (Option<i32>, String) {
    use std::io::{BufRead as _, Read as _};
    let run = move || {
        let mut child = command(&["e", "--config", &config]).spawn().unwrap();
        let mut lines = std::io::BufReader::new(child.stdout.take().unwrap());
        let mut text = String::new();
        while !at.is_empty() && !text.contains(at) {
            assert!(lines.read_line(&mut text).unwrap() > 0, "it ended: {text}");
        }
        (child, lines, text)
    };
    let (mut child, mut lines, mut text) = tokio::task::spawn_blocking(run).await.unwrap();
    let pid = nix::unistd::Pid::from_raw(child.id().cast_signed());
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGINT).unwrap();
    tokio::task::spawn_blocking(move || {
        lines.read_to_string(&mut text).unwrap();
        let mut errors = String::new();
        child.stderr.take().unwrap().read_to_string(&mut errors).unwrap();
        (child.wait().unwrap().code(), text + &errors)
    })
    .await
    .unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ctrl_c_ends_a_rehearsal_in_order_and_says_where_it_was() {
    let port = support::raw::honest().await;
    let (_folder, config) = configured(port);
    let (code, text) = interrupted(config, "connected in").await;
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains("verdict: not ready: stopped: open[0] (expect) waited for has /hello"), "{text}");
    assert!(!text.contains('\u{1b}') && !text.contains("panicked"), "{text}");
}

#[test]
fn keys_are_asked_for_and_each_answer_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("wskeeper.toml");
    let config = r#"
[endpoints.e]
url = "ws://127.0.0.1:9"
[endpoints.e.session]
open = [{ send = "hello" }]
[endpoints.e.subscriptions]
keys = ["a", "b"]
add = { json = { do = "add", key = "${key}", id = "${seq}" } }
confirm = { has = ["/ok"], id = "/id" }
refuse = { has = ["/error"], id = "/id" }
"#;
    fs::write(&path, config).unwrap();
    let asked = |id: u64, key: &str| format!("{{\"out\": {{\"do\": \"add\", \"key\": \"{key}\", \"id\": {id}}}}}\n");
    let (ok, no) = ("{\"in\": {\"ok\": 1, \"id\": 1}}\n", "{\"in\": {\"error\": \"no such key\", \"id\": 2}}\n");
    let play = |lines: &str, more: &[&str]| {
        let (_folder, transcript) = written(lines);
        let mut args = vec!["e", "--config", path.to_str().unwrap(), "--transcript", transcript.to_str().unwrap()];
        args.extend(more);
        rehearse(&args)
    };
    let all = format!("{{\"out\": \"hello\"}}\n{}{}{ok}{no}", asked(1, "a"), asked(2, "b"));
    let (code, text) = play(&all, &[]);
    assert_eq!(code, Some(1), "{text}");
    for told in ["open[0] send", "subscribe a  confirmed", "subscribe b  refused: the peer said: ", "1 key refused: b"]
    {
        assert!(text.contains(told), "{told}: {text}");
    }
    let (code, text) = play(&format!("{}{ok}", asked(1, "a")), &[]);
    assert_eq!(code, Some(1), "{text}");
    let (code, text) = play(&all.replace(no, ""), &["--json"]);
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains("no answer about 1 of 2 keys: b"), "{text}");
    let fact =
        text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()).find(|fact| fact["event"] == "subscribe");
    assert_eq!(
        fact.map(|fact| (fact["key"].clone(), fact["state"].clone())),
        Some(("a".into(), "active".into())),
        "{text}"
    );
    // And one more of the caller's.
    let three = all.replace(no, "{\"in\": {\"ok\": 1, \"id\": 2}}\n{\"in\": {\"ok\": 1, \"id\": 3}}\n");
    let (code, text) = play(&three, &["--subscribe", "c"]);
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains("subscribe c  confirmed"), "{text}");
}
