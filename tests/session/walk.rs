//! What every server is put through with its preset: traffic, its death, a cut of TCP, rotations under load, a wrong password.
//!
//! What a reader would get wrong: it is the server's own record that is looked at, not what the daemon says of itself. On each new connection
//! the login comes first, then what is asked for again, then the first message that has waited.

use std::{path::PathBuf, sync::Arc};

use parking_lot::Mutex;
use serde_json::Value;

use crate::{
    explained_when_parked, is_down,
    support::{
        PATIENCE,
        daemon::Daemon,
        peer::{Peer, Recipe},
        until,
    },
    wire::Wire,
    with_preset,
};

/// Rotations under load.
const ROTATIONS: u64 = 3;

/// What stands in the record once it is written what the server passes on.
pub const WATCHING: &str = "watching\n";

/// A server, what the link asks of it, and how its record says what it heard.
pub struct Case {
    /// The preset.
    pub preset: &'static str,
    /// The server.
    pub recipe: Recipe,
    /// Where it is, by its port and a password.
    pub url: fn(u16, &str) -> String,
    /// Keys of the endpoint, by a password; `PORT` in them is where the server is.
    pub keys: fn(&str) -> String,
    /// The password that is right.
    pub password: &'static str,
    /// What `explain` says of another one; nothing where none is asked for.
    pub refusal: &'static str,
    /// Steps that stand in place of those of the preset's `open`; empty where those stay.
    pub open: &'static str,
    /// A step behind them, and what of it is in the record; both empty where there is none.
    pub replay: (&'static str, &'static str),
    /// What of the login is in the record.
    pub login: &'static str,
    /// A message that has this mark, and whether it is binary.
    pub message: fn(&str) -> (String, bool),
    /// What of it is in the record.
    pub heard: fn(&str) -> String,
    /// What consumers see in answer to it.
    pub answer: fn(&str) -> String,
    /// Whether a message waits for the answer to the one before.
    pub one_at_a_time: bool,
    /// Writes what the server passes on into its record, where it tells only of logins, and [`WATCHING`] before that.
    pub watch: Option<fn(u16, PathBuf)>,
}

impl Case {
    fn config(&self, port: u16, password: &str) -> String {
        let text = std::fs::read_to_string(format!("config/presets/{}.toml", self.preset)).unwrap();
        let preset = || text.split("open = [\n").nth(1).and_then(|rest| rest.split("\n]\n").next()).unwrap_or_default();
        let open = if self.open.is_empty() { preset() } else { self.open };
        let open = match self.replay.0 {
            "" if self.open.is_empty() => String::new(),
            step => format!("session.open = [\n{open}\n{step}\n]"),
        };
        let keys = (self.keys)(password).replace("PORT", &port.to_string());
        let more = format!("{keys}\n{open}\ninbox.max_bytes = \"16MiB\"");
        with_preset(self.preset, &(self.url)(port, password), &more)
    }
}

/// Where it is going on.
struct Walk {
    case: Case,
    peer: Peer,
    wire: Wire,
    daemon: Daemon,
    /// What consumers have seen.
    seen: Arc<Mutex<Vec<String>>>,
    messages: u32,
}

/// All of it.
pub async fn walk(case: Case) {
    let Some(peer) = Peer::start(case.recipe.clone()).await else { return };
    if let Some(watch) = case.watch {
        watch(peer.port, peer.log_file());
        until("the watcher", || async { if peer.log().contains(WATCHING) { Ok(()) } else { Err(peer.log()) } }).await;
    }
    let wire = Wire::to(peer.port).await;
    let daemon = Daemon::start(&case.config(wire.port, case.password)).await;
    let seen = Arc::default();
    tokio::spawn(see(daemon.api.events("e", "from=latest&types=message").await, Arc::clone(&seen)));
    let mut walk = Walk { case, peer, wire, daemon, seen, messages: 0 };
    walk.daemon.api.ready_after("e/0", 0).await;
    let mark = walk.send().await;
    walk.is_answered(&mark).await;
    walk.survives_the_death_of_the_server().await;
    walk.survives_a_cut().await;
    walk.rotates_under_load().await;
    walk.parks_a_wrong_password().await;
}

async fn see(mut events: crate::support::sse::Events, seen: Arc<Mutex<Vec<String>>>) {
    while let Some(event) = events.within(4 * PATIENCE).await {
        if event.kind == "message" {
            seen.lock().push(String::from_utf8_lossy(&event.payload().0).into_owned());
        }
    }
}

impl Walk {
    /// Sends a message with a mark of its own.
    async fn send(&mut self) -> String {
        self.messages += 1;
        let mark = format!("m{:04}", self.messages);
        let (text, is_binary) = (self.case.message)(&mark);
        let sent = if is_binary {
            self.daemon.api.send_binary("e", text).await
        } else {
            self.daemon.api.send_text("e", &text).await
        };
        sent.expect(202);
        mark
    }

    async fn generation(&self) -> u64 {
        self.daemon.api.link("e/0").await["generation"].as_u64().unwrap()
    }

    /// What consumers have seen of the answer to a message.
    fn answers(&self, mark: &str) -> usize {
        let answer = (self.case.answer)(mark);
        self.seen.lock().iter().filter(|seen| seen.contains(&answer)).count()
    }

    async fn is_answered(&self, mark: &str) {
        until(&format!("an answer to {mark}"), || async {
            let last = || self.seen.lock().iter().rev().take(5).cloned().collect::<Vec<_>>();
            if self.answers(mark) > 0 { Ok(()) } else { Err(last()) }
        })
        .await;
    }

    /// What the record says behind a place of what was heard, once the server has heard this message.
    async fn record(&self, from: usize, mark: &str) -> String {
        let heard = (self.case.heard)(mark);
        let is_heard = |line: &&str| !line.contains("Sending");
        until(&format!("{heard:?} in the record"), || async {
            let record: String = self.peer.log()[from..].split_inclusive('\n').filter(is_heard).collect();
            if record.contains(&heard) { Ok(record) } else { Err(record) }
        })
        .await
    }

    /// The login, what is asked for again, and the message that has waited, in this order.
    async fn is_in_order(&self, from: usize, mark: &str) {
        let record = self.record(from, mark).await;
        let heard = (self.case.heard)(mark);
        let marks = [self.case.login, self.case.replay.1, &heard].into_iter().filter(|what| !what.is_empty());
        let places: Vec<_> = marks.map(|what| (what, record.find(what))).collect();
        let in_order = places.iter().all(|(_, at)| at.is_some()) && places.is_sorted_by_key(|(_, at)| *at);
        assert!(in_order, "{places:?} in\n{record}");
    }

    async fn survives_the_death_of_the_server(&mut self) {
        let before = self.generation().await;
        self.peer.kill();
        self.daemon.api.link_until("e/0", "down", is_down).await;
        let mark = self.send().await;
        self.peer.restart().await;
        self.daemon.api.ready_after("e/0", before).await;
        self.is_in_order(0, &mark).await;
        self.is_answered(&mark).await;
    }

    async fn survives_a_cut(&mut self) {
        let before = self.generation().await;
        self.wire.cut().await;
        self.daemon.api.link_until("e/0", "down", is_down).await;
        let (from, mark) = (self.peer.log().len(), self.send().await);
        self.wire.mend().await;
        self.daemon.api.ready_after("e/0", before).await;
        self.is_in_order(from, &mark).await;
        self.is_answered(&mark).await;
    }

    /// Every message reaches the server once and in order, and is answered.
    async fn rotates_under_load(&mut self) {
        let (from, mut marks) = (self.peer.log().len(), Vec::new());
        let unanswered = if self.case.one_at_a_time { 1 } else { 100 };
        for _ in 0..ROTATIONS {
            let before = self.generation().await;
            self.daemon.api.post("/v1/links/e/0/rotate", &[], "").await.expect(200);
            let is_next = |link: &Value| link["phase"] == "ready" && link["generation"].as_u64() > Some(before);
            while !is_next(&self.daemon.api.link("e/0").await) {
                marks.push(self.send().await);
                // A slow server under a fast sender is another test's.
                if let Some(earlier) = marks.len().checked_sub(unanswered) {
                    self.is_answered(&marks[earlier]).await;
                }
            }
        }
        marks.push(self.send().await);
        let record = self.record(from, &marks[marks.len() - 1]).await;
        let places = marks.iter().map(|mark| {
            let heard = (self.case.heard)(mark);
            assert_eq!(record.matches(&heard).count(), 1, "{mark} of {} in\n{record}", marks.len());
            record.find(&heard)
        });
        assert!(places.is_sorted(), "in another order:\n{record}");
        for each in [self.case.login, self.case.replay.1].into_iter().filter(|each| !each.is_empty()) {
            assert!(record.matches(each).count() >= usize::try_from(ROTATIONS).unwrap(), "{each} in {record}");
        }
        for mark in &marks {
            self.is_answered(mark).await;
        }
    }

    async fn parks_a_wrong_password(&mut self) {
        if self.case.refusal.is_empty() {
            return;
        }
        let mut daemon = Daemon::made(&self.case.config(self.peer.port, "s3cret-wrong"));
        daemon.launch();
        daemon.alive().await;
        let explained = explained_when_parked(&daemon).await;
        assert!(explained.contains(self.case.refusal), "{explained}");
        let shown = String::from_utf8_lossy(&daemon.api.get("/v1/endpoints/e").await.expect(200).body).into_owned();
        for shown in [explained, shown, daemon.log()] {
            assert!(!shown.contains("s3cret-wrong"), "{shown}");
        }
    }
}
