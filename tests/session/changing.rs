//! A rotation every second under a load in both directions, with a session; and a session that never becomes ready while callers send.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use futures_util::{SinkExt, StreamExt};
use parking_lot::Mutex;
use tokio::{net::TcpListener, sync::watch, time::interval};
use tokio_tungstenite::tungstenite::Message;

use crate::{
    QUICK,
    stand::Stand,
    support::{daemon::Daemon, until},
};

/// Messages each way.
const COUNT: u64 = 6_000;

#[derive(Default)]
struct Records {
    heard: Vec<String>,
    /// The next number to say.
    next: u64,
    /// Of the connections, by which the newest that has logged in speaks.
    newest: usize,
    logins: usize,
}

impl Records {
    fn log_in(&mut self) -> usize {
        self.logins += 1;
        self.newest = self.logins;
        self.logins
    }
}

/// Logs in who asks, and says a thousand numbers a second on the newest connection that is logged in.
async fn speaker(begin: watch::Receiver<bool>) -> (u16, Arc<Mutex<Records>>) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let (port, records) = (listener.local_addr().unwrap().port(), Arc::<Mutex<Records>>::default());
    let keep = Arc::clone(&records);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (records, begin) = (Arc::clone(&keep), begin.clone());
            tokio::spawn(async move {
                let Ok(mut socket) = tokio_tungstenite::accept_async(stream).await else { return };
                let (mut ticks, mut me) = (interval(Duration::from_millis(10)), 0);
                loop {
                    tokio::select! {
                        message = socket.next() => match message {
                            Some(Ok(Message::Text(text))) if text.as_str() == "login" => {
                                me = records.lock().log_in();
                                if socket.send(Message::text("welcome")).await.is_err() { return }
                            }
                            Some(Ok(Message::Text(text))) => records.lock().heard.push(text.to_string()),
                            Some(Ok(_)) => {}
                            Some(Err(_)) | None => return,
                        },
                        _ = ticks.tick() => {
                            let numbers = {
                                let mut records = records.lock();
                                let speaks = *begin.borrow() && me > 0 && records.newest == me;
                                let first = records.next;
                                if speaks { records.next = (first + 10).min(COUNT) }
                                first..records.next
                            };
                            for number in numbers {
                                if socket.send(Message::text(format!("down {number}"))).await.is_err() { return }
                            }
                        }
                    }
                }
            });
        }
    });
    (port, records)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rotation_each_second_under_load_loses_nothing_and_brings_nothing_twice() {
    let (start, started) = watch::channel(false);
    let (port, records) = speaker(started).await;
    let session =
        "[endpoints.e.session]\nopen = [{ send = \"login\" }, { expect = { text = \"welcome\", hide = true } }]\n";
    let more = "[endpoints.e.rotation]\noverlap = \"200ms\"\n";
    let daemon =
        Daemon::start(&format!("{QUICK}\n[endpoints.e]\nurl = \"ws://127.0.0.1:{port}/\"\n{more}{session}")).await;
    daemon.api.ready_after("e/0", 0).await;
    let mut events = daemon.api.events("e", "from=oldest&types=message,gap").await;
    start.send(true).unwrap();
    let consumer = tokio::spawn(async move {
        let mut seen = BTreeMap::<String, u32>::new();
        while seen.len() < usize::try_from(COUNT).unwrap() {
            let event = events.next().await;
            assert_eq!(event.kind, "message", "{event:?}");
            *seen.entry(String::from_utf8(event.payload().0).unwrap()).or_default() += 1;
        }
        seen
    });
    let api = daemon.api.clone();
    let sender = tokio::spawn(async move {
        let mut ticks = interval(Duration::from_millis(50));
        for first in (0..COUNT).step_by(50) {
            ticks.tick().await;
            let lines: String =
                (first..first + 50).flat_map(|number| [format!("\"up {number}\""), "\n".into()]).collect();
            let headers = [("content-type", "application/x-ndjson")];
            api.post("/v1/endpoints/e/messages:batch", &headers, lines).await.expect(200);
        }
    });
    let mut rotations = interval(Duration::from_secs(1));
    rotations.tick().await;
    let mut asked = 0;
    while !sender.is_finished() {
        rotations.tick().await;
        let answer = daemon.api.post("/v1/links/e/0/rotate", &[], "").await;
        asked += u32::from(answer.status == 200);
    }
    sender.await.unwrap();
    let seen = consumer.await.unwrap();
    assert!(
        seen.values().all(|times| *times == 1),
        "a message came twice: {:?}",
        seen.iter().find(|(_, times)| **times > 1)
    );
    until("all that was sent", || async {
        let heard = records.lock().heard.len() as u64;
        if heard >= COUNT { Ok(()) } else { Err(heard) }
    })
    .await;
    let records = records.lock();
    let expected: Vec<String> = (0..COUNT).map(|number| format!("up {number}")).collect();
    assert_eq!(records.heard, expected, "in order, each once");
    assert!(asked >= 3 && records.logins >= 4, "{asked} rotations, {} logins", records.logins);
}

#[tokio::test]
async fn while_a_session_never_becomes_ready_sends_wait_within_the_limits_of_the_outbox() {
    let stand = Stand::start("", |_| Vec::new()).await;
    let session =
        "[endpoints.e.session]\ntimeout = \"5min\"\nopen = [{ expect = { text = \"never\" }, timeout = \"5min\" } ]\n";
    let outbox = "outbox = { max_messages = 200, max_bytes = \"1MiB\" }\n";
    let config = format!("{QUICK}\n[endpoints.e]\nurl = \"ws://127.0.0.1:{}/\"\n{outbox}{session}", stand.port);
    let mut daemon = Daemon::made(&config);
    daemon.launch();
    daemon.alive().await;
    daemon.api.link_until("e/0", "opening", |link| link["phase"] == "opening").await;
    let text = "x".repeat(4 << 10);
    let before = daemon.memory();
    let mut answers = BTreeMap::<u16, u32>::new();
    for _ in 0..2_000 {
        *answers.entry(daemon.api.send_text("e", &text).await.status).or_default() += 1;
    }
    assert_eq!(answers.get(&202).copied(), Some(200), "{answers:?}");
    assert_eq!(answers.get(&429).copied(), Some(1_800), "{answers:?}");
    let grown = daemon.memory().saturating_sub(before);
    assert!(grown < 16 << 20, "{grown} bytes for 800 KiB");
    assert!(stand.heard().iter().all(Vec::is_empty), "nothing has left: {:?}", stand.heard().len());
}
