//! Requests that take turns with timers of the session, and a daemon that is killed between a request and its reply.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering::SeqCst},
};

use futures_util::{SinkExt, StreamExt, future::join_all};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_tungstenite::tungstenite::Message;

use crate::{QUICK, asking, peer::Peer, support::daemon::Daemon};

/// A server that takes one call at a time: one that comes before the answer to another is told of on the spot, and ends the connection.
async fn strict(beats: Arc<AtomicUsize>) -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let beats = Arc::clone(&beats);
            tokio::spawn(async move {
                let Ok(mut socket) = tokio_tungstenite::accept_async(stream).await else { return };
                while let Some(Ok(message)) = socket.next().await {
                    let Message::Text(text) = message else { continue };
                    // What else is said before the answer shows itself meanwhile, where there is such a thing.
                    for _ in 0..20 {
                        tokio::task::yield_now().await;
                    }
                    if let Some(Some(Ok(Message::Text(second)))) = futures_util::FutureExt::now_or_never(socket.next())
                    {
                        let fault = format!("{second} came before the answer to {text}");
                        let _ = socket.send(Message::text(json!([4, "fault", fault]).to_string())).await;
                        return;
                    }
                    let call: Value = serde_json::from_str(&text).unwrap();
                    beats.fetch_add(usize::from(call[2] == "Heartbeat"), SeqCst);
                    if socket.send(Message::text(json!([3, call[1], call[3]]).to_string())).await.is_err() {
                        return;
                    }
                }
            });
        }
    });
    port
}

#[tokio::test]
async fn a_timer_of_the_session_and_requests_of_three_programs_take_turns_one_at_a_time() {
    let beats = Arc::new(AtomicUsize::new(0));
    let port = strict(Arc::clone(&beats)).await;
    let config = format!(
        "{QUICK}\n[endpoints.e]\nurl = \"ws://127.0.0.1:{port}\"\n\
         [endpoints.e.session]\nevery = [{{ every = \"100ms\", steps = [\n\
         {{ set = {{ beat = \"${{uuid}}\" }} }},\n{{ send = {{ json = [2, \"${{var:beat}}\", \"Heartbeat\", {{}}] }} }},\n\
         {{ expect = {{ json = {{ \"/0\" = 3, \"/1\" = \"${{var:beat}}\" }} }}, timeout = \"30s\", hide = true }},\n] }}]\n\
         [endpoints.e.requests]\nid = \"/1\"\nreply = \"/1\"\nstamp = \"uuid\"\nin_flight = 1\nerror = {{ json = {{ \"/0\" = 4 }} }}\n"
    );
    let daemon = Daemon::start(&config).await;
    let link = daemon.api.link("e/0").await;
    let mut rounds = 0;
    // Requests do not keep the timer from its turn, nor it them from theirs.
    while beats.load(SeqCst) < 4 || rounds < 3 {
        rounds += 1;
        let asks = (0..3).flat_map(|program| (0..20).map(move |id| (program, id))).map(async |(program, id)| {
            let call = json!([2, id.to_string(), "DataTransfer", { "of": program, "id": id }]);
            let path = "/v1/endpoints/e/requests?timeout=1min";
            let reply = daemon.api.post(path, &[], call.to_string()).await.expect(200).json();
            assert_eq!(reply, json!([3, id.to_string(), { "of": program, "id": id }]));
        });
        join_all(asks).await;
    }
    assert_eq!(daemon.api.link("e/0").await["generation"], link["generation"], "no second call ended the connection");
}

#[tokio::test]
async fn a_daemon_that_is_killed_between_a_request_and_its_reply_asks_nothing_again() {
    let peer = Peer::start().await;
    let stored = "retry = true\n[endpoints.e.outbox]\ndurability = \"disk\"\n[storage]\ndir = \"{folder}/store\"";
    let mut daemon = Daemon::start(&asking(peer.port, stored)).await;
    peer.hold(true);
    let api = daemon.api.clone();
    let ask = |say: &str| json!({ "id": 1, "say": say }).to_string();
    let (path, left) = ("/v1/endpoints/e/requests", ask("left"));
    let waiting = tokio::spawn(async move { api.try_post(path, &[], left).await.map(|answer| answer.status) });
    peer.hears("left").await;
    daemon.kill();
    // The caller is not told anything that is not so.
    assert!(waiting.await.unwrap().is_err());
    peer.hold(false);
    daemon.relaunch().await;
    let reply = daemon.api.post(path, &[], ask("after")).await.expect(200).json();
    assert_eq!(reply, json!({ "id": 1, "echo": "after" }));
    let heard: Vec<String> = peer.heard().into_iter().map(|heard| heard.say).collect();
    assert_eq!(heard, ["left", "after"]);
}
