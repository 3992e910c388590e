//! A connection to the local API of a whole daemon that carries any bytes: what is asked completely is answered, each answer is one that the API gives, no secret is
//! in it, and the daemon answers others afterwards and stops in time.
//!
//! What a reader would get wrong: the daemon lives on one thread with a clock that is moved, so limits of minutes take no time. Its links lead to a socket that is not there.

use std::{
    fs,
    path::PathBuf,
    sync::{
        Arc, LazyLock, Once,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use parking_lot::Mutex;
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::UnixStream,
    runtime,
    signal::unix::{SignalKind, signal},
    time,
};
use wskeeper::{
    app,
    config::{Config, parse_toml},
    process::{notify::Notify, signals::Signals},
};

/// Longer than any limit of the API, so that what is not over then has no end, such as a stream of events.
const PATIENCE: Duration = Duration::from_mins(20);
/// What a secret of the configuration has in it.
const SECRET: &str = "s3cr3t-0f-th3-p33r";

/// One daemon at a time: they share a socket, and a panic is the daemon's that is there.
static TURN: Mutex<()> = Mutex::new(());
static PANICS: AtomicUsize = AtomicUsize::new(0);
static HOOK: Once = Once::new();

/// A folder of this process: its socket, and a file with a secret.
static FOLDER: LazyLock<PathBuf> = LazyLock::new(|| {
    let folder = std::env::temp_dir().join(format!("wskeeper-api-{}", std::process::id()));
    fs::create_dir_all(&folder).expect("a folder can be made");
    fs::write(folder.join("secret"), SECRET).expect("a file can be written");
    folder
});

static CONFIG: LazyLock<Arc<Config>> = LazyLock::new(|| {
    let at = FOLDER.display();
    let text = format!(
        r#"
[api]
listen = "unix:{at}/api.sock"
dynamic = "memory"
chaos = true
[values]
known = "${{file:{at}/secret}}"
[endpoints.a]
url = "ws+unix:{at}/nobody:/"
links = 2
start = "lazy"
headers = {{ X-Key = "${{file:{at}/secret}}" }}
[endpoints.a.subscriptions]
keys = ["one"]
add = {{ json = {{ add = "${{keys}}", id = "${{seq}}" }} }}
[endpoints.a.requests]
id = "/id"
reply = "/id"
[[endpoints.a.streams]]
name = "btc"
match = {{ "/s" = "BTCUSDT" }}
[endpoints.b]
url = "ws+unix:{at}/nobody:/b?key=${{value:known}}"
outbox = {{ max_messages = 2 }}
"#
    );
    let loaded = parse_toml(&text, "f.toml").unwrap_or_else(|faults| panic!("{faults}"));
    Arc::new(loaded.config)
});

/// The first byte says how the others, which are what a client sends, are cut.
pub(crate) fn api(data: &[u8]) {
    let Some((seed, sent)) = data.split_first() else { return };
    let _turn = TURN.lock();
    HOOK.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            PANICS.fetch_add(1, Ordering::Relaxed);
            before(panic);
        }));
    });
    let panics = PANICS.load(Ordering::Relaxed);
    let runtime = runtime::Builder::new_current_thread().enable_all().start_paused(true).build();
    runtime.expect("a runtime").block_on(async {
        // Rust's `main` has a write to a closed socket fail; libFuzzer's lets it end the process.
        let _heard = signal(SignalKind::pipe()).expect("a handler");
        let (lever, signals) = Signals::by_hand();
        let options =
            app::Options { config: Arc::clone(&CONFIG), reload_from: None, socket: None, notify: Notify::none() };
        let daemon = tokio::spawn(app::run(options, signals));
        let answers = said(sent, *seed).await;
        let health = said(b"GET /livez HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", 0).await;
        lever.stop();
        let ended = time::timeout(PATIENCE, daemon).await;
        judge(sent, &answers);
        assert!(health.starts_with(b"HTTP/1.1 200 "), "afterwards: {}", health.escape_ascii());
        assert!(matches!(ended, Ok(Ok(Ok(())))), "the daemon ends with {ended:?}");
    });
    assert_eq!(PANICS.load(Ordering::Relaxed), panics, "the daemon panics");
}

/// What the daemon answers to this, on a connection of its own.
async fn said(sent: &[u8], seed: u8) -> Vec<u8> {
    let mut connection = time::timeout(PATIENCE, up()).await.expect("the daemon is up in time");
    let mut answers = Vec::new();
    let (mut reads, mut writes) = connection.split();
    let talk = async {
        let length = if seed == 0 { sent.len().max(1) } else { usize::from(seed) };
        let writing = async {
            for piece in sent.chunks(length) {
                // The daemon may have hung up.
                if writes.write_all(piece).await.is_err() {
                    return;
                }
                tokio::task::yield_now().await;
            }
        };
        tokio::join!(writing, reads.read_to_end(&mut answers))
    };
    // It may hang up with a reset, and some answers have no end.
    let _ = time::timeout(PATIENCE, talk).await;
    answers
}

/// A connection, once the daemon listens.
async fn up() -> UnixStream {
    loop {
        match UnixStream::connect(FOLDER.join("api.sock")).await {
            Ok(connection) => return connection,
            Err(_) => time::sleep(Duration::from_millis(1)).await,
        }
    }
}

fn judge(sent: &[u8], answers: &[u8]) {
    let text = sent.trim_ascii_start();
    // HTTP/2 has frames.
    if text.starts_with(b"PRI ") {
        return;
    }
    let is_asked = text.windows(4).any(|end| end == b"\r\n\r\n");
    assert!(!is_asked || !answers.is_empty(), "no answer to {}", sent.escape_ascii());
    let secret = SECRET.as_bytes();
    let has = |bytes: &[u8]| bytes.windows(secret.len()).any(|part| part == secret);
    assert!(has(sent) || !has(answers), "a secret: {}", answers.escape_ascii());
    if let Some((status, head, body)) = first(answers) {
        assert!((100..600).contains(&status) && status != 500, "{status}: {}", answers.escape_ascii());
        if head.contains("application/problem+json") {
            let problem: Value = serde_json::from_slice(body).expect("a problem is JSON");
            assert_eq!(problem["status"], status, "{problem}");
            assert!(problem["title"].is_string() && problem["type"].is_string(), "{problem}");
        } else if status >= 400 {
            // Refused by hyper before the API saw it.
            assert!(body.is_empty() && matches!(status, 400 | 431), "{}", answers.escape_ascii());
        }
    }
}

/// Of the first answer: its status, its head in lower case, and its body, if it has a length.
fn first(answers: &[u8]) -> Option<(u16, String, &[u8])> {
    let end = answers.windows(4).position(|end| end == b"\r\n\r\n")?;
    let head = String::from_utf8(answers[..end].to_vec()).expect("a head is text").to_ascii_lowercase();
    let status =
        head.strip_prefix("http/1.1 ").or_else(|| head.strip_prefix("http/1.0 ")).and_then(|rest| rest.get(..3));
    let status = status.and_then(|status| status.parse().ok()).expect("an answer begins with its status");
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: "))?;
    let length: usize = length.parse().expect("a length is a number");
    Some((status, head, answers.get(end + 4..end + 4 + length)?))
}
