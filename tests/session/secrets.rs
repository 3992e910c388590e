//! Secrets of every kind, planted, and then looked for in all that the daemon says: its log at `debug` (release builds tell nothing at
//! `trace`), each answer of the API, what the verbs print, its spans. The peer repeats what it was sent, in each way that peers have.

use std::{process::Command, sync::Arc};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use parking_lot::Mutex;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};

use crate::{
    QUICK,
    stand::{Stand, text},
    support::{daemon::Daemon, until},
};

/// Each kind has its own, so that what is found says which.
const SECRETS: [&str; 9] = [
    "env-s3cret/1+x",
    "file-s3cret/2+x",
    "cred-s3cret/3+x",
    "value-s3cret-4",
    "header-s3cret-5",
    "user-s3cret-6",
    "query-s3cret-7",
    "step-s3cret-8",
    "otlp-s3cret-9",
];

/// All that a collector is sent.
async fn collector() -> (u16, Arc<Mutex<Vec<u8>>>) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let (port, got) = (listener.local_addr().unwrap().port(), Arc::<Mutex<Vec<u8>>>::default());
    let keep = Arc::clone(&got);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let keep = Arc::clone(&keep);
            tokio::spawn(async move {
                let (mut whole, mut chunk) = (Vec::new(), [0; 4096]);
                while let Ok(1..) =
                    stream.read(&mut chunk).await.inspect(|read| whole.extend_from_slice(&chunk[..*read]))
                {
                    let text = String::from_utf8_lossy(&whole).into_owned();
                    let Some((head, rest)) = text.split_once("\r\n\r\n") else { continue };
                    let length = head
                        .lines()
                        .find_map(|line| line.to_lowercase().strip_prefix("content-length: ")?.parse().ok());
                    if length.is_some_and(|length: usize| rest.len() >= length) {
                        keep.lock().extend_from_slice(rest.as_bytes());
                        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}").await;
                        return;
                    }
                }
            });
        }
    });
    (port, got)
}

/// As it is, and as peers write it.
fn forms(secret: &str) -> Vec<String> {
    let each = |form: fn(u8) -> String| secret.bytes().flat_map(|byte| form(byte).into_bytes()).collect::<Vec<u8>>();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    let hex = text(each(|byte| format!("{byte:02x}")));
    let percent = text(each(|byte| format!("%{byte:02X}")));
    let encoded = secret.replace('/', "%2F").replace('+', "%2B");
    vec![secret.to_owned(), STANDARD.encode(secret).trim_end_matches('=').to_owned(), hex, percent, encoded]
}

/// Repeats what it was told, another way on each connection.
fn parrot(heard: Option<&str>) -> Vec<tokio_tungstenite::tungstenite::Message> {
    let Some(heard) = heard else { return Vec::new() };
    let Ok(login) = serde_json::from_str::<serde_json::Value>(heard) else { return Vec::new() };
    let said = |name: &str| login[name].as_str().unwrap_or_default().to_owned();
    let all: Vec<String> = ["env", "file", "cred"].iter().flat_map(|name| forms(&said(name))).collect();
    let way = login["seq"].as_u64().unwrap_or_default();
    let basic = STANDARD.encode(format!("user:{}", said("file")));
    vec![text(&format!("{{\"error\":{:?},\"basic\":{basic:?},\"way\":{way}}}", all.join(" ")))]
}

fn config(peer: u16, collector: u16) -> String {
    let [.., value, header, user, query, step, _] = SECRETS;
    format!(
        "{QUICK}\n[tracing]\notlp_endpoint = \"http://127.0.0.1:{collector}\"\n\
         headers = {{ X-Key = \"{}\" }}\n\
         [endpoints.e]\nurl = \"ws://al:{user}@127.0.0.1:{peer}/?key={query}\"\n\
         headers = {{ X-Key = \"{header}\", X-Env = \"${{env:PLANTED}}\" }}\n\
         [endpoints.e.session]\nvalues = {{ file = \"${{file:{{folder}}/secret}}\", password = \"{value}\" }}\n\
         open = [\n{{ send = {{ text = \"PASS {step} ${{value:password}}\" }} }},\n\
         {{ set = {{ copy = \"${{value:file}}\" }} }},\n\
         {{ send = {{ json = {{ env = \"${{env:PLANTED}}\", file = \"${{var:copy}}\", cred = \"${{credential:planted}}\" }} }} }},\n\
         {{ expect = {{ has = [\"/error\"], fail = \"refused\" }} }},\n]\n",
        SECRETS[8]
    )
}

#[tokio::test]
async fn no_secret_is_said_anywhere_whatever_its_kind_and_however_a_peer_repeats_it() {
    let stand = Stand::start("", parrot).await;
    let (port, spans) = collector().await;
    let mut daemon = Daemon::made(&config(stand.port, port));
    std::fs::write(daemon.folder().join("secret"), SECRETS[1]).unwrap();
    std::fs::write(daemon.folder().join("planted"), SECRETS[2]).unwrap();
    let folder = daemon.folder().display().to_string();
    daemon.set_variable("PLANTED", SECRETS[0]);
    daemon.set_variable("CREDENTIALS_DIRECTORY", &folder);
    daemon.launch();
    daemon.alive().await;
    daemon
        .api
        .link_until("e/0", "refused twice", |link| {
            link["lastClose"]["label"] == "refused" && link["generation"].as_u64() > Some(1)
        })
        .await;
    assert!(stand.heard()[0].iter().any(|heard| heard.contains(SECRETS[1])), "the peer has them: {:?}", stand.heard());
    until("spans", || async {
        let text = String::from_utf8_lossy(&spans.lock()).into_owned();
        if text.contains("websocket.session") && text.contains("refused") { Ok(()) } else { Err(text.len()) }
    })
    .await;
    let mut said = vec![("the spans".to_owned(), String::from_utf8_lossy(&spans.lock()).into_owned())];
    let document = daemon.api.get("/v1/openapi.json").await.expect(200).json();
    let paths = document["paths"].as_object().unwrap().iter().filter(|(_, calls)| calls.get("get").is_some());
    let streams = ["/events", "/frames", "/ws"];
    for (path, _) in paths.filter(|(path, _)| !streams.iter().any(|end| path.ends_with(end))) {
        let path = path.replace("{name}", "e").replace("{index}", "0").replace("{id}", "0");
        let answer = daemon.api.get(&path).await;
        said.push((path, String::from_utf8_lossy(&answer.body).into_owned()));
    }
    assert!(said.len() > 12, "{}", said.len());
    let mut events = daemon.api.events("e", "from=oldest&types=open,error,close,phase").await;
    // Messages are for consumers as they are.
    for _ in 0..4 {
        said.push(("events".into(), format!("{:?}", events.next().await)));
    }
    let config = daemon.config().display().to_string();
    let socket = format!("unix:{}", daemon.folder().join("api.sock").display());
    for args in [
        &["rehearse", "e", "--config", &config][..],
        &["explain", "e", "--api", &socket],
        &["status", "--api", &socket],
    ] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_wskeeper"));
        command.args(args).env("PLANTED", SECRETS[0]).env("CREDENTIALS_DIRECTORY", &folder);
        let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
        let text = [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes).into_owned()).concat();
        assert!(text.contains("refused"), "{args:?}: {text}");
        said.push((args[0].to_owned(), text));
    }
    said.push(("the log".into(), daemon.log()));
    let explained = said.iter().find(|(place, _)| place.ends_with("/explain")).unwrap();
    assert!(explained.1.contains("the peer said") && explained.1.contains("***"), "{}", explained.1);
    let found = found(&said);
    assert!(found.is_empty(), "{}", found.join("\n"));
}

/// Each secret that stands somewhere, and where.
fn found(said: &[(String, String)]) -> Vec<String> {
    let mut found = Vec::new();
    for (place, text) in said {
        for form in SECRETS.iter().flat_map(|secret| forms(secret)).filter(|form| text.contains(form.as_str())) {
            let line = text.lines().find(|line| line.contains(&form)).unwrap_or_default();
            found.push(format!("{form} in {place}: {}", line.chars().take(300).collect::<String>()));
        }
    }
    found
}

/// A server that refuses repeats the key that it was shown, as it is and in each way that servers have.
#[tokio::test]
async fn what_a_refusing_server_repeats_of_a_key_is_said_nowhere_be_it_of_a_step_or_of_a_value() {
    let http = crate::calls::Http::start(|request: &str| {
        let key = request.lines().find_map(|line| line.strip_prefix("x-key: ")).unwrap_or_default().to_owned();
        (403, forms(&key).join(" and "))
    })
    .await;
    let stand = Stand::start("", parrot).await;
    let call = format!("url = \"http://127.0.0.1:{}/\", headers = {{ X-Key = \"${{file:secret}}\" }}", http.port);
    let url = format!("url = \"ws://127.0.0.1:{}/\"", stand.port);
    let mut daemon = Daemon::made(&format!(
        "{QUICK}\n[endpoints.e]\n{url}\nsession.dial = [{{ http = {{ {call} }} }}]\n\
         [endpoints.v]\n{url}\nheaders = {{ X-Value = \"${{value:key}}\" }}\nsession.values.key = {{ http = {{ {call} }} }}\n"
    ));
    std::fs::write(daemon.folder().join("secret"), SECRETS[1]).unwrap();
    daemon.launch();
    daemon.alive().await;
    let mut said = Vec::new();
    for name in ["e", "v"] {
        daemon.api.link_until(&format!("{name}/0"), "parked", |link| link["phase"] == "parked").await;
        for path in [format!("endpoints/{name}"), format!("links/{name}/0/explain"), format!("links/{name}/0/history")]
        {
            let answer = daemon.api.get(&format!("/v1/{path}")).await.expect(200);
            said.push((path, String::from_utf8_lossy(&answer.body).into_owned()));
        }
    }
    said.push(("the log".into(), daemon.log()));
    for (place, text) in said.iter().filter(|(place, _)| place.ends_with("/explain")) {
        assert!(text.contains("status 403 and said: *** and ***"), "{place}: {text}");
    }
    assert!(http.asked()[0].contains(SECRETS[1]), "the server has it");
    assert!(found(&said).is_empty(), "{}", found(&said).join("\n"));
}
