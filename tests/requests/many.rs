//! Many requests of several programs over a link that is cut and rotated: each ends once, and no reply is another's.

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicUsize, Ordering::SeqCst},
    time::Duration,
};

use futures_util::{SinkExt, StreamExt, stream};
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;

use crate::{
    asking,
    peer::Peer,
    support::{daemon::Daemon, until_within},
};

/// Of each program; the last of them uses a local WebSocket.
const EACH: usize = 2500;
const PROGRAMS: usize = 4;
/// How many each asks at once.
const AT_ONCE: usize = 16;
/// Requests that end between one blow and the next.
const BLOW: usize = 400;
/// One of so many is never answered.
const MUTE: usize = 101;
/// As long as it may take on a busy machine.
const LONG: Duration = Duration::from_mins(4);

/// How a request ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum End {
    Reply,
    Lost,
    Timeout,
}

/// Requests are named by who asks and which it is; ids are the same for all, as a number or as a text.
fn request(program: usize, place: usize) -> (Value, String, &'static str) {
    let say = format!("{program}/{place}");
    let id = if program.is_multiple_of(2) { json!(place) } else { json!(place.to_string()) };
    if place.is_multiple_of(MUTE) {
        return (json!({ "id": id, "say": say, "how": "mute" }), say, "300ms");
    }
    (json!({ "id": id, "say": say }), say, "2min")
}

/// What a caller got, which is to be its own.
fn judged(request: &Value, status: u16, body: &Value) -> End {
    match status {
        200 => {
            assert_eq!(*body, json!({ "id": request["id"], "echo": request["say"] }), "to {request}");
            End::Reply
        }
        503 => {
            assert_eq!(body["type"], "urn:wskeeper:problem:lost", "{request}: {body}");
            End::Lost
        }
        504 => End::Timeout,
        other => panic!("{request}: {other} {body}"),
    }
}

type Ends = Mutex<BTreeMap<String, End>>;

struct Run<'a> {
    daemon: &'a Daemon,
    ends: &'a Ends,
    ended: &'a AtomicUsize,
}

impl Run<'_> {
    fn note(&self, say: &str, end: End) {
        assert!(self.ends.lock().insert(say.to_owned(), end).is_none(), "{say} ended twice");
        self.ended.fetch_add(1, SeqCst);
    }

    async fn by_http(&self, program: usize) {
        let each = stream::iter(1..=EACH).map(|place| async move {
            let (request, say, timeout) = request(program, place);
            let path = format!("/v1/endpoints/e/requests?timeout={timeout}");
            let answer = self.daemon.api.post(&path, &[], request.to_string()).await;
            self.note(&say, judged(&request, answer.status, &answer.json()));
        });
        each.buffer_unordered(AT_ONCE).for_each(async |()| {}).await;
    }

    async fn by_socket(&self, program: usize) {
        let mut socket = self.daemon.api.socket("e", "types=close", true).await;
        let (mut next, mut open) = (1, 0);
        while next <= EACH || open > 0 {
            while next <= EACH && open < AT_ONCE {
                let (request, _, timeout) = request(program, next);
                let frame = json!({ "type": "request", "data": request.to_string(), "timeout": timeout, "ref": next });
                socket.send(Message::text(frame.to_string())).await.unwrap();
                (next, open) = (next + 1, open + 1);
            }
            let Message::Text(text) = socket.next().await.unwrap().unwrap() else { continue };
            let frame: Value = serde_json::from_str(&text).unwrap();
            let Some(place) = frame["ref"].as_u64() else { continue };
            let (request, say, _) = request(program, usize::try_from(place).unwrap());
            let end = match frame["type"].as_str() {
                Some("reply") => {
                    let body: Value = serde_json::from_str(frame["data"].as_str().unwrap()).unwrap();
                    judged(&request, 200, &body)
                }
                Some("problem") => {
                    let problem = &frame["problem"];
                    judged(&request, u16::try_from(problem["status"].as_u64().unwrap()).unwrap(), problem)
                }
                _ => panic!("{frame}"),
            };
            self.note(&say, end);
            open -= 1;
        }
    }

    /// Cuts the connection amid requests, and rotates it, in turns.
    async fn blows(&self, peer: &Peer) {
        for blow in 1_usize.. {
            let (at, all) = (blow * BLOW, PROGRAMS * EACH);
            if at + BLOW > all {
                return;
            }
            until_within(LONG, "more ends", || async {
                let ended = self.ended.load(SeqCst);
                if ended >= at { Ok(()) } else { Err(ended) }
            })
            .await;
            if blow.is_multiple_of(2) {
                // A link that has no connection now is not rotated.
                self.daemon.api.post("/v1/links/e/0/rotate", &[], "").await;
            } else {
                peer.cut_amid_requests().await;
            }
        }
    }
}

#[tokio::test]
async fn ten_thousand_requests_over_cuts_and_rotations_end_each_once_and_none_in_anothers_reply() {
    let peer = Peer::start().await;
    let daemon = Daemon::start(&asking(peer.port, "")).await;
    let (ends, ended) = (Ends::default(), AtomicUsize::new(0));
    let run = Run { daemon: &daemon, ends: &ends, ended: &ended };
    futures_util::join!(run.by_http(0), run.by_http(1), run.by_http(2), run.by_socket(3), run.blows(&peer));

    let ends = ends.into_inner();
    assert_eq!(ends.len(), PROGRAMS * EACH);
    let count = |wanted| ends.values().filter(|end| **end == wanted).count();
    let counts = [End::Reply, End::Lost, End::Timeout].map(count);
    assert!(counts[0] > PROGRAMS * EACH / 2 && counts.iter().all(|count| *count > 0), "{counts:?}");
    for (outcome, count) in ["reply", "lost", "timeout"].iter().zip(counts) {
        let series = format!("wskeeper_requests_total{{endpoint=\"e\",outcome=\"{outcome}\"}}");
        let counted = daemon.api.metric(&series).await.unwrap_or_default();
        assert!((counted - f64::from(u32::try_from(count).unwrap())).abs() < 0.5, "{outcome}: {counted}, {count}");
    }
    let (mut asked, mut last) = (BTreeMap::new(), BTreeMap::new());
    for heard in peer.heard() {
        *asked.entry(heard.say.clone()).or_insert(0) += 1;
        let number = heard.id.as_str().map_or_else(|| heard.id.as_u64(), |text| text.parse().ok()).unwrap();
        let before = last.insert(heard.connection, number);
        assert!(before.is_none_or(|before| before < number), "{heard:?} behind {before:?}");
    }
    assert!(asked.values().all(|times| *times == 1), "without retry nothing is asked twice");
    let replied = ends.iter().filter(|(_, end)| **end == End::Reply);
    assert!(replied.into_iter().all(|(say, _)| asked.contains_key(say)));
}

#[tokio::test]
async fn what_is_asked_again_over_cuts_has_its_reply_in_the_end() {
    let peer = Peer::start().await;
    let daemon = Daemon::start(&asking(peer.port, "retry = true")).await;
    let asks = stream::iter(1..=300).map(|place| {
        let daemon = &daemon;
        async move {
            let request = json!({ "id": 7, "say": format!("again {place}") });
            let path = "/v1/endpoints/e/requests?timeout=2min";
            let reply = daemon.api.post(path, &[], request.to_string()).await.expect(200).json();
            assert_eq!(reply, json!({ "id": 7, "echo": request["say"] }));
        }
    });
    let all = asks.buffer_unordered(AT_ONCE).for_each(async |()| {});
    let cuts = async {
        for _ in 0..3 {
            peer.cut_amid_requests().await;
        }
    };
    futures_util::join!(all, cuts);
    let heard = peer.heard();
    let first = heard.iter().find(|heard| heard.say == "again 1").unwrap();
    assert!(heard.len() > 300, "{} were asked, {first:?}", heard.len());
}
