//! The verbs on terminals of the sizes that people have, without colours, on one that cannot draw, and into a pipe.

use std::{
    fs::File,
    io::{Read, Write},
    os::fd::OwnedFd,
    process::{Child, Command, Stdio},
    sync::Arc,
    time::Duration,
};

use nix::{
    pty::{Winsize, openpty},
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use parking_lot::Mutex;
use serde_json::{Value, json};

use crate::{Api, events, ok, stderr, stdout};

/// A verb of these tests may take this long.
const LIMIT: Duration = Duration::from_secs(30);
/// Between two looks.
const PAUSE: Duration = Duration::from_millis(5);

/// A program whose stdout and stderr are a terminal, and what it has written.
struct Run {
    child: Child,
    written: Arc<Mutex<Vec<u8>>>,
    reader: Option<std::thread::JoinHandle<()>>,
    size: (usize, usize),
}

impl Run {
    /// Starts a verb on a terminal of so many columns and lines.
    fn start(mut command: Command, (width, height): (u16, u16), variables: &[(&str, &str)]) -> Self {
        let size = Winsize { ws_row: height, ws_col: width, ws_xpixel: 0, ws_ypixel: 0 };
        let ends = openpty(Some(&size), None).unwrap();
        let stdio = |end: &OwnedFd| Stdio::from(end.try_clone().unwrap());
        command.env("TERM", "xterm-256color").env_remove("NO_COLOR").envs(variables.iter().copied());
        command.stdout(stdio(&ends.slave)).stderr(stdio(&ends.slave));
        let child = command.spawn().unwrap();
        // The ends of the child alone hold the terminal open.
        drop((command, ends.slave));
        let written = Arc::new(Mutex::new(Vec::new()));
        let (mut master, into) = (File::from(ends.master), written.clone());
        let reader = std::thread::spawn(move || {
            let mut piece = [0; 4096];
            while let Ok(count @ 1..) = master.read(&mut piece) {
                into.lock().extend_from_slice(&piece[..count]);
            }
        });
        Self { child, written, reader: Some(reader), size: (width.into(), height.into()) }
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.written.lock()).into_owned()
    }

    fn until(&mut self, what: &str, is_so: impl Fn(&str) -> bool) {
        for _ in 0..LIMIT.as_millis() / PAUSE.as_millis() {
            if is_so(&self.text()) {
                return;
            }
            #[allow(clippy::disallowed_methods, reason = "no runtime here; the loop waits for a condition")]
            std::thread::sleep(PAUSE);
        }
        panic!("{what} did not come:\n{}", self.text());
    }

    fn interrupt(&self) {
        kill(Pid::from_raw(self.child.id().cast_signed()), Signal::SIGINT).unwrap();
    }

    /// The exit code, once everything it wrote is read.
    fn ended(&mut self) -> Option<i32> {
        for _ in 0..LIMIT.as_millis() / PAUSE.as_millis() {
            if let Some(status) = self.child.try_wait().unwrap() {
                self.reader.take().unwrap().join().unwrap();
                return status.code();
            }
            #[allow(clippy::disallowed_methods, reason = "no runtime here; the loop waits for a condition")]
            std::thread::sleep(PAUSE);
        }
        panic!("the verb did not end:\n{}", self.text());
    }

    fn screen(&self) -> Screen {
        let mut screen = Screen::new(self.size);
        screen.take(&self.text());
        screen
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What a person sees: as much of a terminal as the verbs use.
struct Screen {
    lines: Vec<Vec<char>>,
    at: (usize, usize),
    size: (usize, usize),
    /// Lines that were pushed out at the top.
    scrolled: usize,
    is_alternate: bool,
    is_cursor_hidden: bool,
}

impl Screen {
    fn new(size: (usize, usize)) -> Self {
        let lines = vec![vec![' '; size.0]; size.1];
        Self { lines, at: (0, 0), size, scrolled: 0, is_alternate: false, is_cursor_hidden: false }
    }

    fn take(&mut self, text: &str) {
        let mut chars = text.chars();
        while let Some(char) = chars.next() {
            match char {
                '\x1b' => {
                    assert_eq!(chars.next(), Some('['), "only control sequences");
                    let mut body = String::new();
                    let last = loop {
                        match chars.next() {
                            Some(char @ ('@'..='~')) => break char,
                            Some(char) => body.push(char),
                            None => return,
                        }
                    };
                    self.obey(&body, last);
                }
                '\r' => self.at.0 = 0,
                '\n' => self.down(),
                char => {
                    if self.at.0 == self.size.0 {
                        self.at.0 = 0;
                        self.down();
                    }
                    self.lines[self.at.1][self.at.0] = char;
                    self.at.0 += 1;
                }
            }
        }
    }

    fn obey(&mut self, body: &str, last: char) {
        let (column, row) = self.at;
        match (body, last) {
            ("", 'H') => self.at = (0, 0),
            ("", 'K') => self.lines[row][column.min(self.size.0)..].fill(' '),
            ("2", 'K') => self.lines[row].fill(' '),
            ("", 'J') => {
                self.lines[row][column.min(self.size.0)..].fill(' ');
                self.lines[row + 1..].iter_mut().for_each(|line| line.fill(' '));
            }
            ("?1049", 'h' | 'l') => self.is_alternate = last == 'h',
            ("?25", 'h' | 'l') => self.is_cursor_hidden = last == 'l',
            (_, 'm') => {}
            other => panic!("{other:?} is not known here"),
        }
    }

    fn down(&mut self) {
        if self.at.1 + 1 < self.size.1 {
            self.at.1 += 1;
        } else {
            self.scrolled += 1;
            self.lines.remove(0);
            self.lines.push(vec![' '; self.size.0]);
        }
    }

    fn shown(&self) -> Vec<String> {
        self.lines.iter().map(|line| line.iter().collect::<String>().trim_end().to_owned()).collect()
    }
}

/// 38 links, of which every seventh fails in words of some length.
fn links() -> Vec<Value> {
    let one = |index: u32| {
        let mut link = crate::link(index, if index % 7 == 3 { "waiting" } else { "ready" });
        if index % 7 == 3 {
            link["nextAttemptAt"] = json!("2020-01-01T00:00:09.000Z");
            link["lastClose"]["cause"] = json!("pong_timeout");
        }
        link["endpoint"] = json!("market-data");
        link
    };
    (0..38).map(one).collect()
}

fn world() -> Api {
    Api::start(|asked, _| {
        let line = asked.line.as_str();
        let long =
            "It is a long sentence that says at some length what a person would want to know of a link that is down.";
        if line.starts_with("GET /v1/links?") {
            return ok(&json!({"items": links(), "next": null}));
        }
        if line.contains("/explain") {
            return ok(&json!({"link": links()[3], "why": long, "ended": long, "next": long, "advice": [long],
                "attempts": [{"at": "2020-01-01T00:00:00.000Z", "attempt": 1, "url": "wss://h/", "result": "failed", "cause": "upgrade",
                    "status": 503, "detail": long, "timings": {"tcpMs": 0.5, "totalMs": 12.0}}]}));
        }
        if line.contains("/history") || line.contains("/orphans") {
            return ok(&json!({"items": [], "next": null}));
        }
        if line.contains("/dead-letters") {
            return ok(&json!({"items": [crate::kept::letter("019a8f0c6f0a7d0e8a1b2c3d4e5f6071")], "next": null}));
        }
        if line.contains("/plan") {
            return ok(
                &json!({"changes": [{"link": "market-data/0", "action": "reconnect", "why": ["url", "headers", "protocols",
                "heartbeat.idle", "heartbeat.timeout", "reconnect.max", "tls.ca", "outbox.delivery"]}]}),
            );
        }
        if line.contains("/events") {
            return events("event: message\nid: 1\ndata: {\"data\":\"hello\"}\n\n");
        }
        match line {
            "GET /livez" => ok(&json!({"status": "alive", "version": "1.2.3", "uptimeSeconds": 130})),
            "GET /v1/store" => ok(&crate::store("ok", 2, 1)),
            _ => ok(&json!({})),
        }
    })
}

const SIZES: [(u16, u16); 4] = [(80, 24), (40, 12), (200, 60), (120, 8)];

#[test]
fn a_watched_status_fits_its_terminal_and_leaves_it_as_it_was() {
    let api = world();
    for size in SIZES {
        let mut run = Run::start(api.command(&["status", "--watch"]), size, &[]);
        // Two pictures, one over the other.
        run.until("the second picture", |text| text.matches("STATE").count() > 1 && text.ends_with("\x1b[J"));
        let screen = run.screen();
        let shown = screen.shown();
        let all = shown.join("\n");
        assert!(screen.is_alternate && screen.is_cursor_hidden);
        assert_eq!(screen.scrolled, 0, "{size:?}:\n{all}");
        assert!(shown[0].starts_with("wskeeper 1.2.3 at"), "{size:?}:\n{all}");
        assert!(all.contains("38 links"), "{size:?}:\n{all}");
        let header = shown.iter().position(|line| line.contains("STATE")).unwrap();
        let first = &shown[header + 1];
        assert!(first.contains("market-data/3") && first.contains("waiting") && first.contains("now"), "{all}");
        let rows = shown.iter().filter(|line| line.contains("market-data/")).count();
        if rows < 38 {
            let more = shown.iter().rfind(|line| !line.is_empty()).unwrap();
            assert!(more.starts_with(&format!("… and {} more", 38 - rows)), "{size:?}:\n{all}");
        } else {
            assert!(size.1 > 40, "{all}");
        }
        run.interrupt();
        assert_eq!(run.ended(), Some(0));
        let screen = run.screen();
        assert!(!screen.is_alternate && !screen.is_cursor_hidden, "{:?}", run.text());
    }
}

#[test]
fn no_line_of_a_verb_is_wider_than_its_terminal() {
    let api = world();
    let verbs: [&[&str]; 5] = [
        &["status"],
        &["explain", "market-data/3"],
        &["plan"],
        &["dead", "list"],
        &["status", "--links", "-e", "market-data"],
    ];
    for size in [(80, 24), (60, 24), (200, 24)] {
        for verb in verbs {
            let mut run = Run::start(api.command(verb), size, &[("NO_COLOR", "1")]);
            assert_eq!(run.ended(), Some(0), "{}", run.text());
            let text = run.text();
            assert!(!text.contains('\x1b'), "{text:?}");
            for line in text.lines() {
                assert!(line.chars().count() <= size.0.into(), "{verb:?} at {size:?}: {line:?}");
            }
        }
    }
}

#[test]
fn a_terminal_that_cannot_draw_gets_text_alone() {
    let api = world();
    let verbs: [&[&str]; 6] = [
        &["status"],
        &["explain", "market-data/3"],
        &["plan"],
        &["dead", "list"],
        &["tail", "market-data", "--count", "1"],
        &["send", "market-data", "text", "--quiet"],
    ];
    for verb in verbs {
        let mut run = Run::start(api.command(verb), (80, 24), &[("TERM", "dumb")]);
        run.ended();
        assert!(!run.text().contains('\x1b'), "{verb:?}: {:?}", run.text());
    }
    let mut run = Run::start(api.command(&["status", "--watch"]), (80, 24), &[("TERM", "dumb")]);
    run.until("the second picture", |text| text.matches("STATE").count() > 1);
    run.interrupt();
    assert_eq!(run.ended(), Some(0));
    assert!(!run.text().contains('\x1b'), "{:?}", run.text());
}

#[test]
fn a_terminal_without_colours_is_drawn_on_without_them() {
    let api = world();
    let mut run = Run::start(api.command(&["status", "--watch"]), (80, 24), &[("NO_COLOR", "1")]);
    run.until("the second picture", |text| text.matches("STATE").count() > 1);
    run.interrupt();
    assert_eq!(run.ended(), Some(0));
    let text = run.text();
    let colours = regex_lite::Regex::new("\x1b\\[[0-9;]*m").unwrap();
    assert!(text.contains("\x1b[H") && !colours.is_match(&text), "{text:?}");
}

#[test]
fn a_pipe_gets_text_alone_from_every_verb_and_all_of_it() {
    let api = world();
    let verbs: [&[&str]; 8] = [
        &["status"],
        &["status", "--links"],
        &["explain", "market-data/3"],
        &["plan"],
        &["reload"],
        &["dead", "list"],
        &["orphans", "list"],
        &["tail", "market-data", "--count", "1"],
    ];
    for verb in verbs {
        let output = api.run(verb);
        let text = format!("{}{}", stdout(&output), stderr(&output));
        assert!(!text.contains('\x1b'), "{verb:?}: {text:?}");
    }
    let rows = stdout(&api.run(&["status"])).lines().filter(|line| line.contains("market-data/")).count();
    assert_eq!(rows, 38);
    let mut child = api.command(&["status", "--watch"]).spawn().unwrap();
    let mut pictures = std::io::BufReader::new(child.stdout.take().unwrap());
    let (mut text, mut line) = (String::new(), String::new());
    while text.matches("STATE").count() < 2 {
        line.clear();
        assert_ne!(std::io::BufRead::read_line(&mut pictures, &mut line).unwrap(), 0, "{text}");
        text.push_str(&line);
    }
    kill(Pid::from_raw(child.id().cast_signed()), Signal::SIGINT).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0));
    assert!(!text.contains('\x1b'), "{text:?}");
}

#[test]
fn progress_of_a_send_keeps_to_its_line_and_is_gone_at_the_end() {
    // One line of each request finds room.
    let api = Api::start(|asked, _| {
        let lines = asked.body.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).count();
        let accepted = crate::sending::accepted("queued");
        let full =
            json!({"type": "urn:wskeeper:problem:outbox-full", "title": "full", "status": 429, "detail": "full"});
        let answers = (0..lines).map(|at| if at == 0 { &accepted } else { &full });
        axum::response::IntoResponse::into_response(
            answers.map(|answer| format!("{answer}\n")).collect::<Vec<_>>().concat(),
        )
    });
    for size in [(80, 24), (30, 24)] {
        let mut command = api.command(&["send", "t"]);
        command.stdin(Stdio::piped());
        let mut run = Run::start(command, size, &[]);
        let mut input = run.child.stdin.take().unwrap();
        input.write_all("line\n".repeat(1000).as_bytes()).unwrap();
        run.until("progress", |text| text.matches("\x1b[2K").count() > 3);
        run.interrupt();
        assert_eq!(run.ended(), Some(0), "{}", run.text());
        let screen = run.screen();
        let shown: Vec<String> = screen.shown().into_iter().filter(|line| !line.is_empty()).collect();
        assert!(shown[0].starts_with("stopped early: "), "{shown:?}");
        assert!(!shown.join(" ").contains("/s"), "{shown:?}");
        drop(input);
    }
}

#[test]
fn ctrl_c_ends_a_verb_that_waits() {
    let api = world();
    let mut run = Run::start(api.command(&["tail", "market-data"]), (80, 24), &[]);
    run.until("a message", |text| text.contains("hello"));
    run.interrupt();
    assert_eq!(run.ended(), Some(0), "{}", run.text());
}
