//! `wskeeper connect`: the real binary on pipes and on a terminal, against servers that echo, break off, flood and log in.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking, in its helpers too")]

use std::{
    fs::File,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{TcpListener, TcpStream},
    os::fd::OwnedFd,
    process::{Child, ChildStdin, Command, Stdio},
    sync::{Arc, mpsc},
    thread,
    time::Duration,
};

use nix::{
    pty::openpty,
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use parking_lot::Mutex;
use serde_json::Value;
use tokio_tungstenite::tungstenite::{Message, WebSocket, accept, protocol::frame::coding::CloseCode};

/// Nothing of these tests may take longer.
const LIMIT: Duration = Duration::from_secs(30);
const PAUSE: Duration = Duration::from_millis(5);
/// Short waits between attempts.
const QUICK: [&str; 6] =
    ["--set", "reconnect.first=20ms", "--set", "reconnect.initial=20ms", "--set", "reconnect.max=40ms"];

/// A server that does this with its first connection, with its second, and so on; the last is what all others get.
fn server(serve: impl Fn(usize, WebSocket<TcpStream>) + Send + Sync + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("ws://{}/", listener.local_addr().unwrap());
    let serve = Arc::new(serve);
    thread::spawn(move || {
        for (number, stream) in listener.incoming().enumerate() {
            let serve = Arc::clone(&serve);
            thread::spawn(move || {
                if let Ok(socket) = accept(stream.unwrap()) {
                    serve(number, socket);
                }
            });
        }
    });
    url
}

/// Says the same back, until the other side ends it; gives the code with which it did.
fn echo(socket: &mut WebSocket<TcpStream>) -> Option<CloseCode> {
    let mut code = None;
    while let Ok(message) = socket.read() {
        match message {
            Message::Close(frame) => code = frame.map(|frame| frame.code),
            Message::Text(_) | Message::Binary(_) => drop(socket.send(message)),
            Message::Ping(_) | Message::Pong(_) | Message::Frame(_) => drop(socket.flush()),
        }
    }
    code
}

fn echoing() -> String {
    server(|_, mut socket| {
        let _ = echo(&mut socket);
    })
}

fn command(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_wskeeper"));
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("WSKEEPER")) {
        command.env_remove(name);
    }
    command.arg("connect").args(args).env("TOKEN", "s3cret-4you");
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// `connect` with pipes.
struct Held {
    child: Child,
    stdin: Option<ChildStdin>,
    /// What stderr has said so far.
    said: Arc<Mutex<String>>,
}

impl Held {
    fn start(args: &[&str]) -> Self {
        let mut child = command(args).spawn().unwrap();
        let (stdin, said) = (child.stdin.take(), Arc::<Mutex<String>>::default());
        let (stderr, into) = (child.stderr.take().unwrap(), Arc::clone(&said));
        thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                let mut into = into.lock();
                into.push_str(&line);
                into.push('\n');
            }
        });
        Self { child, stdin, said }
    }

    fn types(&mut self, text: &str) {
        self.stdin.as_mut().unwrap().write_all(text.as_bytes()).unwrap();
    }

    /// What arrives, line by line.
    fn lines(&mut self) -> mpsc::Receiver<String> {
        let (to, lines) = mpsc::channel();
        let stdout = self.child.stdout.take().unwrap();
        thread::spawn(move || BufReader::new(stdout).lines().map_while(Result::ok).try_for_each(|line| to.send(line)));
        lines
    }

    fn until_said(&self, wanted: &str) {
        until(|| self.said.lock().contains(wanted), || format!("{wanted:?} in {:?}", self.said.lock()));
    }

    fn interrupt(&self) {
        kill(Pid::from_raw(self.child.id().cast_signed()), Signal::SIGINT).unwrap();
    }

    fn exit_code(&mut self) -> Option<i32> {
        let mut status = None;
        until(
            || {
                status = self.child.try_wait().unwrap();
                status.is_some()
            },
            || format!("the end; said: {:?}", self.said.lock()),
        );
        status.unwrap().code()
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn until(mut is_so: impl FnMut() -> bool, what: impl Fn() -> String) {
    for _ in 0..LIMIT.as_millis() / PAUSE.as_millis() {
        if is_so() {
            return;
        }
        #[allow(clippy::disallowed_methods, reason = "no runtime here; the loop waits for a condition")]
        thread::sleep(PAUSE);
    }
    panic!("waited in vain for {}", what());
}

fn next(lines: &mpsc::Receiver<String>) -> String {
    lines.recv_timeout(LIMIT).expect("a line")
}

/// Runs to its end with this on stdin: the exit code, stdout and stderr.
fn run(args: &[&str], input: &[u8]) -> (Option<i32>, Vec<u8>, String) {
    let mut child = command(args).spawn().unwrap();
    let (mut stdin, input) = (child.stdin.take().unwrap(), input.to_vec());
    let typing = thread::spawn(move || drop(stdin.write_all(&input)));
    let output = child.wait_with_output().unwrap();
    typing.join().unwrap();
    (output.status.code(), output.stdout, String::from_utf8_lossy(&output.stderr).into_owned())
}

#[test]
fn lines_of_a_pipe_go_in_and_messages_come_out_and_the_end_of_it_ends_the_link() {
    let (ended, how) = mpsc::channel();
    let ended = Mutex::new(ended);
    let url = server(move |_, mut socket| {
        let code = echo(&mut socket);
        ended.lock().send(code).unwrap();
    });
    let input = (0..5000).map(|number| format!("line {number}\n")).collect::<Vec<_>>().concat();
    let (code, out, said) = run(&[&url, "--exit-on-eof"], input.as_bytes());
    assert_eq!(code, Some(0), "{said}");
    let out = String::from_utf8(out).unwrap();
    let differ = out.lines().zip(input.lines()).position(|(came, sent)| came != sent);
    assert!(
        out == input,
        "{} of {} lines, which differ from {differ:?} on; {said}",
        out.lines().count(),
        input.lines().count()
    );
    assert!(said.contains("-- connected to ws://127.0.0.1:") && said.contains("(1000)"), "{said}");
    assert_eq!(how.recv_timeout(LIMIT).unwrap(), Some(CloseCode::Normal));
    let (code, _, said) = run(&[&url, "--exit-on-eof", "--quiet"], b"x\n");
    assert_eq!((code, said.as_str()), (Some(0), ""));
}

#[test]
fn a_pipe_that_ends_leaves_the_link_and_so_many_messages_end_it() {
    let mut held = Held::start(&[&echoing(), "--count", "2"]);
    let lines = held.lines();
    held.types("one\ntwo\n");
    held.stdin = None;
    assert_eq!([next(&lines), next(&lines)], ["one", "two"]);
    assert_eq!(held.exit_code(), Some(0));
    let mut held = Held::start(&[&echoing()]);
    held.stdin = None;
    held.until_said("stdin has ended; what arrives is printed until Ctrl-C");
    held.interrupt();
    assert_eq!(held.exit_code(), Some(0), "{:?}", held.said.lock());
}

#[test]
fn a_lost_connection_comes_back_and_what_is_typed_meanwhile_goes_over_the_next() {
    let url = server(|number, mut socket| {
        if number == 0 {
            // Reset without a word once it has heard something.
            let heard = socket.read();
            drop((heard, socket));
        } else {
            echo(&mut socket);
        }
    });
    let mut held = Held::start(&[&[url.as_str()], &QUICK[..]].concat());
    let lines = held.lines();
    held.until_said("connected");
    held.types("lost\n");
    held.until_said("-- closed after ");
    held.until_said("-- next try in ");
    held.types("kept\n");
    assert_eq!(next(&lines), "kept");
    held.interrupt();
    // The first was written when the link was lost, and nobody knows.
    assert_eq!(held.exit_code(), Some(1));
    held.until_said("-- 1 message sent when the link was lost, so read by the peer or not");
}

#[test]
fn what_could_not_be_sent_by_ctrl_c_is_told_and_the_exit_code_says_so() {
    let gone = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mut held = Held::start(&[&[&*format!("ws://{gone}/")], &QUICK[..]].concat());
    held.types("a\nb\n");
    held.until_said("-- no address accepted the connection: ");
    held.until_said("-- next try in ");
    held.interrupt();
    assert_eq!(held.exit_code(), Some(1));
    held.until_said("-- 2 messages not sent");
}

#[test]
fn who_reads_no_more_ends_it_though_nothing_more_arrives() {
    let url = server(|_, mut socket| {
        let _ = socket.send(Message::text("only"));
        let _ = echo(&mut socket);
    });
    let mut held = Held::start(&[&url, "--set", "tls.min_version=1.3"]);
    let mut read = BufReader::new(held.child.stdout.take().unwrap());
    let mut line = String::new();
    read.read_line(&mut line).unwrap();
    assert_eq!(line, "only\n");
    drop(read);
    assert_eq!(held.exit_code(), Some(0), "{:?}", held.said.lock());
}

#[test]
fn each_event_is_a_line_of_json_with_its_cursor() {
    let (code, out, said) = run(&[&echoing(), "--json", "--exit-on-eof"], b"{\"a\":1}\n");
    assert_eq!((code, said.as_str()), (Some(0), ""));
    let events: Vec<Value> =
        String::from_utf8(out).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let cursors: Vec<u64> = events.iter().map(|event| event["cursor"].as_u64().unwrap()).collect();
    assert!(cursors.windows(2).all(|pair| pair[0] + 1 == pair[1]), "{cursors:?}");
    let of = |kind: &str| events.iter().find(|event| event["type"] == kind).unwrap_or_else(|| panic!("{events:?}"));
    assert_eq!(of("message")["data"], "{\"a\":1}");
    assert_eq!((&of("open")["generation"], &of("close")["code"]), (&1.into(), &1000.into()));
}

#[test]
fn bytes_pass_as_they_are_and_messages_may_be_large() {
    let url = echoing();
    let bytes: Vec<u8> = (0..400_000_u32).map(|number| u8::try_from(number % 251).unwrap()).collect();
    let (code, out, said) = run(&[&url, "--binary", "--exit-on-eof"], &bytes);
    assert!(code == Some(0) && out == bytes, "{said}");
    let long = format!("{}\n", "x".repeat(5 << 20));
    let (code, out, said) = run(&[&url, "--exit-on-eof"], long.as_bytes());
    assert!(code == Some(0) && out == long.as_bytes(), "{said}");
    let binary = server(|_, mut socket| {
        socket.send(Message::binary(vec![0, 1, 2])).unwrap();
        echo(&mut socket);
    });
    let (code, out, said) = run(&[&binary, "--count", "1"], b"");
    assert_eq!((code, &*String::from_utf8(out).unwrap()), (Some(0), "binary 3 B base64 AAEC\n"), "{said}");
}

#[test]
fn a_reader_that_does_not_read_keeps_no_pong_from_the_server() {
    const FLOOD: usize = 2000;
    let (ponged, pong) = mpsc::channel();
    let ponged = Mutex::new(ponged);
    let url = server(move |_, mut socket| {
        // More than pipes hold.
        (0..FLOOD).for_each(|_| socket.write(Message::text("y".repeat(1000))).unwrap());
        socket.send(Message::Ping("are you there".into())).unwrap();
        while let Ok(message) = socket.read() {
            if let Message::Pong(payload) = message
                && payload.as_ref() == b"are you there"
            {
                ponged.lock().send(()).unwrap();
            }
        }
    });
    let mut held = Held::start(&[&url, "--count", "2000"]);
    pong.recv_timeout(LIMIT).expect("a pong though nobody reads stdout");
    let mut out = String::new();
    held.child.stdout.take().unwrap().read_to_string(&mut out).unwrap();
    assert_eq!((out.lines().count(), held.exit_code()), (FLOOD, Some(0)), "{:?}", held.said.lock());
}

#[test]
fn a_reader_that_has_gone_away_is_a_quiet_end() {
    let url = server(|_, mut socket| while socket.send(Message::text("tick")).is_ok() {});
    let mut held = Held::start(&[&url, "--quiet"]);
    let mut first = String::new();
    let mut stdout = BufReader::new(held.child.stdout.take().unwrap());
    stdout.read_line(&mut first).unwrap();
    drop(stdout);
    assert_eq!((first.as_str(), held.exit_code()), ("tick\n", Some(0)), "{:?}", held.said.lock());
}

#[test]
fn a_preset_logs_in_with_its_secret_before_what_is_typed_and_the_secret_is_not_shown() {
    let (told, heard) = mpsc::channel();
    let told = Mutex::new(told);
    let url = server(move |_, mut socket| {
        socket.send(Message::text("{\"type\":\"auth_required\"}")).unwrap();
        let login = socket.read().unwrap().into_text().unwrap().to_string();
        told.lock().send(login).unwrap();
        socket.send(Message::text("{\"type\":\"auth_ok\"}")).unwrap();
        echo(&mut socket);
    });
    let args = [&url, "--preset", "home-assistant", "--value", "token=${env:TOKEN}", "--exit-on-eof"];
    let (code, out, said) = run(&args, b"{\"id\":1}\n");
    assert_eq!((code, &*String::from_utf8(out).unwrap()), (Some(0), "{\"id\":1}\n"), "{said}");
    let login: Value = serde_json::from_str(&heard.recv_timeout(LIMIT).unwrap()).unwrap();
    assert_eq!(login["access_token"], "s3cret-4you");
    assert!(said.contains("the session is ready") && !said.contains("s3cret"), "{said}");
}

#[test]
fn headers_and_subprotocols_are_offered_as_said() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("ws://{}/", listener.local_addr().unwrap());
    let asked = thread::spawn(move || {
        let mut request = String::new();
        let mut reader = BufReader::new(listener.accept().unwrap().0);
        while !request.ends_with("\r\n\r\n") {
            reader.read_line(&mut request).unwrap();
        }
        request
    });
    let mut held =
        Held::start(&[&url, "-H", "Authorization: Bearer ${env:TOKEN}", "--protocol", "v2", "--protocol", "v1"]);
    let request = asked.join().unwrap();
    assert!(request.contains("Authorization: Bearer s3cret-4you\r\n"), "{request}");
    assert!(request.to_lowercase().contains("sec-websocket-protocol: v2, v1\r\n"), "{request}");
    held.interrupt();
    assert_eq!(held.exit_code(), Some(0), "{:?}", held.said.lock());
}

#[test]
fn what_is_wrong_is_told_with_the_key_that_it_is_of() {
    for (args, wanted) in [
        (&["ftp://x"][..], "endpoints.connect.url: its scheme is not one of ws, wss"),
        (&["ws://x", "--set", "heartbeat.idle=soon"], "endpoints.connect.heartbeat.idle: is not a duration"),
        (&["ws://x", "--preset", "nets"], "endpoints.connect.preset: there is no such preset"),
        (&["ws://x", "--set", "url=ws://y"], "--set url: the URL is the argument itself"),
        (&["ws://x", "--set", "links=2"], "--set links: `connect` holds one link"),
        (&["wss://x", "--set", "tls.min_version=1.4"], "endpoints.connect.tls.min_version: "),
    ] {
        let (code, _, said) = run(args, b"");
        assert!(code == Some(1) && said.contains(wanted), "{args:?}: {said}");
    }
    for args in
        [&["ws://x", "-H", "Authorization"][..], &["ws://x", "--value", "a=1"], &["ws://x", "--json", "--binary"]]
    {
        assert_eq!(run(args, b"").0, Some(2), "{args:?}");
    }
}

#[test]
fn on_a_terminal_ctrl_d_ends_it() {
    let (mut held, mut typing) = on_terminal(&[&echoing()]);
    held.until_said("-- connected to ");
    typing.write_all(b"typed\n").unwrap();
    // Once by the terminal itself.
    until(|| held.said.lock().matches("typed").count() == 2, || format!("{:?}", held.said.lock()));
    typing.write_all(&[4]).unwrap();
    assert_eq!(held.exit_code(), Some(0), "{:?}", held.said.lock());
}

#[test]
fn on_a_terminal_ctrl_d_ends_it_while_the_link_is_down_too() {
    let gone = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let (mut held, mut typing) = on_terminal(&[&[&*format!("ws://{gone}/")], &QUICK[..]].concat());
    held.until_said("-- next try in ");
    typing.write_all(b"typed\n").unwrap();
    held.until_said("typed");
    typing.write_all(&[4]).unwrap();
    assert_eq!(held.exit_code(), Some(1), "{:?}", held.said.lock());
    held.until_said("-- 1 message not sent");
}

/// One on a terminal, and what types there.
fn on_terminal(args: &[&str]) -> (Held, File) {
    let ends = openpty(None, None).unwrap();
    let stdio = |end: &OwnedFd| Stdio::from(end.try_clone().unwrap());
    let mut command = command(args);
    command.stdin(stdio(&ends.slave)).stdout(stdio(&ends.slave)).stderr(stdio(&ends.slave));
    let child = command.env("NO_COLOR", "1").spawn().unwrap();
    drop((command, ends.slave));
    let held = Held { child, stdin: None, said: Arc::default() };
    let (mut master, into) = (File::from(ends.master), Arc::clone(&held.said));
    let typing = master.try_clone().unwrap();
    thread::spawn(move || {
        let mut piece = [0; 4096];
        while let Ok(count @ 1..) = master.read(&mut piece) {
            into.lock().push_str(&String::from_utf8_lossy(&piece[..count]));
        }
    });
    (held, typing)
}

#[test]
fn keys_are_asked_for_on_each_connection_before_what_is_typed_and_a_refusal_is_told() {
    let (tell, told) = mpsc::channel();
    let tell = Mutex::new(tell);
    let url = server(move |number, mut socket| {
        while let Ok(message) = socket.read() {
            let Message::Text(text) = message else { continue };
            if text.contains("secret-stream") {
                let _ = socket.send(Message::text(r#"{"error":"secret-stream"}"#));
            }
            let is_last = text.as_str() == "hello";
            let _ = tell.lock().send(format!("{number} {text}"));
            if is_last && number == 0 {
                return;
            }
        }
    });
    let mut args = vec![url.as_str(), "--subscribe", "btc", "--subscribe", "secret-stream"];
    args.extend(["--set", r#"subscriptions.add={"text":"sub ${key}"}"#]);
    args.extend(["--set", r#"subscriptions.refuse={"has":["/error"],"key":"/error"}"#]);
    args.extend(QUICK);
    let mut held = Held::start(&args);
    held.types("hello\n");
    let wanted = ["0 sub btc", "0 sub secret-stream", "0 hello", "1 sub btc", "1 sub secret-stream"];
    let came: Vec<String> = (0..wanted.len()).map(|_| told.recv_timeout(LIMIT).unwrap()).collect();
    assert_eq!(came, wanted);
    held.until_said("-- subscribed to btc\n");
    held.until_said("-- secret-stream was refused: the peer said: ");
    held.interrupt();
    held.exit_code();
}

#[test]
fn a_key_that_nothing_says_how_to_ask_for_is_an_error_that_says_what_to_do() {
    let failed = |args: &[&str]| {
        let output = command(args).output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{args:?}");
        String::from_utf8(output.stderr).unwrap()
    };
    let said = failed(&["ws://127.0.0.1:9/", "--subscribe", "btc"]);
    assert!(said.contains(r#"nothing says how "btc" is asked for"#) && said.contains("--set 'subscriptions.add="));
    let said = failed(&["ws://127.0.0.1:9/", "--preset", "xmpp", "--subscribe", "btc"]);
    assert!(said.contains("preset xmpp has no subscriptions"), "{said}");
    let said = failed(&["ws://127.0.0.1:9/", "--preset", "binanec", "--subscribe", "btc"]);
    assert!(said.contains("did you mean") && said.contains("binance"), "{said}");
}
