//! Thousands that come, change and go while others carry traffic.
//!
//! `WSKEEPER_DYNAMIC=10000` makes it that many; the suite has fewer, for the sake of those who wait.

use std::{
    env,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use futures_util::future::join_all;
use serde_json::{Value, json};
use tokio::{task::JoinHandle, time::Instant};

use crate::{
    path,
    peer::Peer,
    sections,
    support::{api::Api, daemon::Daemon, until, until_within},
};

const OTHERS: usize = 100;
/// Callers at once.
const CALLERS: usize = 8;

fn many() -> usize {
    env::var("WSKEEPER_DYNAMIC").ok().and_then(|count| count.parse().ok()).unwrap_or(400)
}

/// Calls for each number, by a few callers; answers with how long one took at most, and all of them.
async fn each(count: usize, call: impl AsyncFn(usize)) -> (Duration, Duration) {
    let (begun, call) = (Instant::now(), &call);
    let caller = |first: usize| async move {
        let mut longest = Duration::ZERO;
        for number in (first..count).step_by(CALLERS) {
            let at = Instant::now();
            call(number).await;
            longest = longest.max(at.elapsed());
        }
        longest
    };
    let longest = join_all((0..CALLERS).map(caller)).await.into_iter().max().unwrap_or_default();
    (longest, begun.elapsed())
}

fn body(port: u16, number: usize, (more, beside): (&Value, &Value)) -> String {
    // One link each at a few paths: what is looked at is the daemon.
    let mut keys = json!({ "url": format!("ws://127.0.0.1:{port}/many"), "heartbeat": { "idle": "1h" } });
    keys["outbox"] = more.clone();
    keys["headers"] = json!({ "X-User": number.to_string() });
    keys.as_object_mut().unwrap().extend(beside.as_object().unwrap().clone());
    keys.to_string()
}

/// Links that the others have, by name: generation and since when it is where it is.
async fn others(api: &Api) -> Vec<(String, u64, String)> {
    let mut links = Vec::new();
    for number in 0..OTHERS {
        let link = api.link(&format!("o{number:03}/0")).await;
        assert_eq!(link["phase"], "ready", "{link}");
        links.push((
            format!("o{number:03}"),
            link["generation"].as_u64().unwrap(),
            link["since"].as_str().unwrap().to_owned(),
        ));
    }
    links
}

/// Lines of `/metrics`.
async fn series(api: &Api) -> usize {
    let text = api.get("/metrics").await.expect(200).body;
    String::from_utf8(text.to_vec()).unwrap().lines().filter(|line| !line.starts_with('#')).count()
}

/// A daemon whose file has the others, and all of them are ready.
async fn begun(peer: &Peer) -> Daemon {
    rlimit::increase_nofile_limit(rlimit::INFINITY).unwrap();
    let endpoint =
        |number: usize| format!("[endpoints.o{number:03}]\nurl = \"ws://127.0.0.1:{}/o{number:03}\"\n", peer.port);
    let file: String = (0..OTHERS).map(endpoint).collect();
    let daemon = Daemon::start(&sections("dynamic = \"memory\"\nmax_connections = 4096", &file)).await;
    for number in 0..OTHERS {
        daemon.api.ready_after(&format!("o{number:03}/0"), 0).await;
    }
    daemon
}

/// What is sent to each of the others in turn, until it is stopped.
struct Traffic {
    stop: Arc<AtomicBool>,
    sending: JoinHandle<Vec<u64>>,
}

impl Traffic {
    fn begin(api: Api) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let is_over = Arc::clone(&stop);
        let sending = tokio::spawn(async move {
            let mut sent = vec![0_u64; OTHERS];
            while !is_over.load(Ordering::Relaxed) {
                for (number, sent) in sent.iter_mut().enumerate() {
                    api.send_text(&format!("o{number:03}"), "x").await.expect(202);
                    *sent += 1;
                }
            }
            sent
        });
        Self { stop, sending }
    }

    /// How many each has got.
    async fn end(self) -> Vec<u64> {
        self.stop.store(true, Ordering::Relaxed);
        self.sending.await.unwrap()
    }
}

async fn put_all(api: &Api, port: u16, count: usize, more: Value, wanted: u16) -> (Duration, Duration) {
    put_all_beside(api, port, count, (more, json!({})), wanted).await
}

async fn put_all_beside(
    api: &Api,
    port: u16,
    count: usize,
    (more, beside): (Value, Value),
    wanted: u16,
) -> (Duration, Duration) {
    each(count, async |number| {
        let answer = api.put(&path(&format!("m{number:05}")), body(port, number, (&more, &beside))).await;
        assert_eq!(answer.status, wanted, "{answer:?}");
    })
    .await
}

async fn remove_all(api: &Api, count: usize) -> (Duration, Duration) {
    each(count, async |number| {
        api.delete(&path(&format!("m{number:05}"))).await.expect(200);
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_endpoints_come_change_and_go_and_the_others_notice_nothing() {
    let (peer, count) = (Peer::listen().await, many());
    let daemon = begun(&peer).await;
    let api = daemon.api.clone();
    let (before, series_before) = (others(&api).await, series(&api).await);
    let traffic = Traffic::begin(api.clone());

    let made = put_all(&api, peer.port, count, json!({}), 201).await;
    until_within(Duration::from_mins(2), "their links", || async {
        let seen = peer.seen("many").connections;
        if seen >= count as u64 { Ok(()) } else { Err(seen) }
    })
    .await;
    let series_full = series(&api).await;
    let changed = put_all(&api, peer.port, count, json!({ "max_messages": 7 }), 200).await;
    assert_eq!(peer.seen("many").connections, count as u64, "what is applied live makes no connection");
    let removed = remove_all(&api, count).await;
    let sent = traffic.end().await;
    eprintln!(
        "{count} endpoints, longest call and all: made {made:?}, changed {changed:?}, removed {removed:?}; series {series_before} and \
         {series_full}; {} messages of the others",
        sent.iter().sum::<u64>()
    );

    assert_eq!(others(&api).await, before, "each has the connection that it had");
    for (number, sent) in sent.into_iter().enumerate() {
        assert!(sent > 0, "there was traffic");
        let name = format!("o{number:03}");
        until(&name, || async {
            let seen = peer.seen(&name);
            if seen.messages == sent && seen.connections == 1 { Ok(()) } else { Err((seen, sent)) }
        })
        .await;
    }
    let text = String::from_utf8(api.get("/metrics").await.body.to_vec()).unwrap();
    assert!(series_full > series_before + 50 * count && !text.contains("endpoint=\"m"), "no series of theirs is left");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_endpoints_took_that_have_gone_is_taken_by_those_that_come_after() {
    let (peer, count) = (Peer::listen().await, many());
    let daemon = begun(&peer).await;
    let mut used = Vec::new();
    for _ in 0..4 {
        put_all(&daemon.api, peer.port, count, json!({}), 201).await;
        used.push(daemon.memory());
        remove_all(&daemon.api, count).await;
    }
    // What the allocator keeps comes with the first rounds.
    assert!(used[3] < used[1] + (4 << 20), "{used:?} bytes, round by round");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lazy_endpoints_cost_no_connection_and_wake_when_somebody_sends() {
    let (peer, count) = (Peer::listen().await, many());
    let daemon = begun(&peer).await;
    let api = daemon.api.clone();
    let before = others(&api).await;
    let traffic = Traffic::begin(api.clone());

    let lazy = || json!({ "start": "lazy", "idle_timeout": "1s" });
    let made = put_all_beside(&api, peer.port, count, (json!({}), lazy()), 201).await;
    let memory = daemon.memory();
    let changed = put_all_beside(&api, peer.port, count, (json!({ "max_messages": 7 }), lazy()), 200).await;
    assert_eq!(peer.seen("many").connections, 0, "nobody has wanted one");
    let some = || (0..count).step_by(10);
    for number in some() {
        api.send_text(&format!("m{number:05}"), "x").await.expect(202);
    }
    until_within(Duration::from_mins(1), "what was sent to them", || async {
        let seen = peer.seen("many");
        if seen.messages == some().count() as u64 { Ok(()) } else { Err(seen) }
    })
    .await;
    for number in some() {
        let is_asleep = |link: &Value| link["phaseReason"] == "asleep";
        api.link_until(&format!("m{number:05}/0"), "a sleeping link", is_asleep).await;
    }
    assert_eq!(peer.seen("many").connections, some().count() as u64, "one for each message");
    let removed = remove_all(&api, count).await;
    let sent = traffic.end().await;
    eprintln!(
        "{count} lazy endpoints, longest call and all: made {made:?}, changed {changed:?}, removed {removed:?}; {memory} bytes; {} messages \
         of the others",
        sent.iter().sum::<u64>()
    );
    assert_eq!(others(&api).await, before, "each has the connection that it had");
    assert!(sent.iter().all(|sent| *sent > 0), "there was traffic");
}
