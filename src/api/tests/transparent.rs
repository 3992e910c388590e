//! Connections that programs open as their own, and the subprotocol that a plain local WebSocket is answered with.

use futures_util::{SinkExt, StreamExt};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::watch,
};
use tokio_tungstenite::{
    WebSocketStream, accept_hdr_async,
    tungstenite::{
        Message,
        handshake::server::{Request, Response},
        protocol::{CloseFrame, frame::coding::CloseCode},
    },
};

use super::bench::{Bench, PATIENCE, until};
use wskeeper_core::{link::Verb, phase::Phase};

const PATH: &str = "/v1/endpoints/feed/ws?transparent=true";

/// A peer that chooses the subprotocol `b`, greets each connection by its number, echoes, and closes or hangs up when it is told so.
struct Peer {
    port: u16,
    /// Whether connections are accepted.
    opens: watch::Sender<bool>,
}

impl Peer {
    async fn start() -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (opens, mut open) = watch::channel(true);
        tokio::spawn(async move {
            let mut count = 0;
            while let Ok((stream, _)) = listener.accept().await {
                open.wait_for(|open| *open).await.unwrap();
                count += 1;
                tokio::spawn(serve(stream, count));
            }
        });
        Self { port, opens }
    }
}

#[expect(clippy::result_large_err, reason = "the library's callback has it")]
async fn serve(stream: TcpStream, number: u32) {
    let choose = |_: &Request, mut response: Response| {
        response.headers_mut().insert("sec-websocket-protocol", "b".parse().unwrap());
        Ok(response)
    };
    let Ok(mut socket) = accept_hdr_async(stream, choose).await else { return };
    let _ = socket.send(Message::text(format!("hello {number}"))).await;
    while let Some(Ok(message)) = socket.next().await {
        match message {
            Message::Text(text) if text.as_str() == "close" => {
                let frame = CloseFrame { code: CloseCode::from(4001), reason: "enough".into() };
                let _ = socket.close(Some(frame)).await;
            }
            Message::Text(text) if text.as_str() == "empty" => drop(socket.close(None).await),
            Message::Text(text) if text.as_str() == "cut" => return,
            Message::Text(_) | Message::Binary(_) => drop(socket.send(message).await),
            _ => {}
        }
    }
}

async fn bench(peer: &Peer, keys: &str) -> Bench {
    let quick = "protocols = [\"a\", \"b\"]\nreconnect = { first = \"10ms\", initial = \"10ms\", max = \"50ms\" }";
    Bench::new(&format!("[endpoints.feed]\nurl = \"ws://127.0.0.1:{}/\"\n{quick}\n{keys}\n", peer.port)).await
}

async fn ready(bench: &Bench) {
    until("a ready link", async || (bench.pool.link("feed", 0).unwrap().phase == Phase::Ready).then_some(())).await;
}

type Client = WebSocketStream<TcpStream>;

async fn next(client: &mut Client) -> Option<Message> {
    tokio::time::timeout(PATIENCE, client.next()).await.expect("in time").and_then(Result::ok)
}

async fn text(client: &mut Client) -> String {
    match next(client).await {
        Some(Message::Text(text)) => text.to_string(),
        other => panic!("no text: {other:?}"),
    }
}

async fn say(client: &mut Client, text: &str) {
    client.send(Message::text(text)).await.unwrap();
}

/// The status that a client is refused with.
async fn refusal(bench: &Bench, path: &str) -> String {
    bench.try_socket(path, None).await.expect_err("it is refused").to_string()
}

/// What the client is answered with to its offers.
async fn chosen(bench: &Bench, path: &str, offers: &str) -> Option<String> {
    let head = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==";
    let mut stream = bench.dial().await;
    let request =
        format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n{head}\r\nSec-WebSocket-Protocol: {offers}\r\n\r\n");
    tokio::io::AsyncWriteExt::write_all(&mut stream, request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    while !answer.contains("\r\n\r\n") {
        let mut bytes = [0; 1024];
        let count = tokio::io::AsyncReadExt::read(&mut stream, &mut bytes).await.unwrap();
        assert!(count > 0, "{answer}");
        answer.push_str(&String::from_utf8_lossy(&bytes[..count]));
    }
    assert!(answer.starts_with("HTTP/1.1 101"), "{answer}");
    answer.lines().find_map(|line| line.strip_prefix("sec-websocket-protocol: ").map(str::to_owned))
}

#[tokio::test]
async fn a_connection_on_which_anybody_has_sent_is_not_the_next_programs() {
    let peer = Peer::start().await;
    let bench = bench(&peer, "").await;
    ready(&bench).await;
    assert_eq!(bench.call("POST", "/v1/endpoints/feed/messages?wait=confirmed", "login as alice").await.0, 200);
    let mut client = bench.socket(PATH, None).await;
    assert_eq!(text(&mut client).await, "hello 2");
    say(&mut client, "mine").await;
    assert_eq!(text(&mut client).await, "mine");
}

#[tokio::test]
async fn a_client_is_answered_with_the_subprotocol_that_the_endpoint_has() {
    let peer = Peer::start().await;
    let bench = bench(&peer, "").await;
    ready(&bench).await;
    let plain = "/v1/endpoints/feed/ws";
    for (offers, chosen_one) in
        [("b", Some("b")), ("c, b", Some("b")), ("a", None), ("b, wskeeper.v1.json", Some("wskeeper.v1.json"))]
    {
        assert_eq!(chosen(&bench, plain, offers).await.as_deref(), chosen_one, "{offers}");
    }
    assert_eq!(chosen(&bench, PATH, "c, b").await.as_deref(), Some("b"));
    bench.pool.command("feed", 0, Verb::Pause).await.unwrap();
    until("a paused link", async || (bench.pool.link("feed", 0).unwrap().phase == Phase::Paused).then_some(())).await;
    assert_eq!(chosen(&bench, plain, "c, a").await.as_deref(), Some("a"), "what it offers itself");
}

#[tokio::test]
async fn a_program_has_the_connection_from_its_first_message_to_the_peers_close() {
    let peer = Peer::start().await;
    let bench = bench(&peer, "").await;
    ready(&bench).await;
    let mut client = bench.socket(PATH, Some("b")).await;
    assert_eq!(text(&mut client).await, "hello 1");
    client.send(Message::binary(vec![1, 2])).await.unwrap();
    assert_eq!(next(&mut client).await, Some(Message::binary(vec![1, 2])));
    say(&mut client, "close").await;
    let close = CloseFrame { code: CloseCode::from(4001), reason: "enough".into() };
    assert_eq!(next(&mut client).await, Some(Message::Close(Some(close))));
    // It comes back by itself, and so does the link.
    let mut client = bench.socket(PATH, None).await;
    assert_eq!(text(&mut client).await, "hello 2");
    say(&mut client, "empty").await;
    assert_eq!(next(&mut client).await, Some(Message::Close(None)));
    let mut client = bench.socket(PATH, None).await;
    assert_eq!(text(&mut client).await, "hello 3");
    say(&mut client, "cut").await;
    assert_eq!(next(&mut client).await, None, "no Close came, so none is told");
}

#[tokio::test]
async fn a_connection_is_one_programs_unless_the_endpoint_shares_it() {
    let peer = Peer::start().await;
    let exclusive = bench(&peer, "").await;
    let mut client = exclusive.socket(PATH, None).await;
    assert_eq!(text(&mut client).await, "hello 1");
    assert!(refusal(&exclusive, PATH).await.contains("409"));
    assert!(exclusive.try_socket("/v1/endpoints/feed/ws", None).await.is_ok(), "readers are in nobody's way");
    drop(client);
    // What one has said on a connection is nothing to the next.
    let mut client = until("another's turn", async || exclusive.try_socket(PATH, None).await.ok()).await;
    assert_eq!(text(&mut client).await, "hello 2");
    drop(client);
    let shared = bench(&peer, "transparent = \"shared\"").await;
    let (mut one, mut other) = (shared.socket(PATH, None).await, shared.socket(PATH, None).await);
    assert_eq!((text(&mut one).await, text(&mut other).await), ("hello 3".into(), "hello 3".into()));
    say(&mut one, "for both").await;
    assert_eq!((text(&mut one).await, text(&mut other).await), ("for both".into(), "for both".into()));
}

#[tokio::test]
async fn a_link_that_is_not_ready_is_waited_for_and_not_for_ever() {
    let peer = Peer::start().await;
    let bench = bench(&peer, "").await;
    ready(&bench).await;
    bench.pool.command("feed", 0, Verb::Pause).await.unwrap();
    until("a paused link", async || (bench.pool.link("feed", 0).unwrap().phase == Phase::Paused).then_some(())).await;
    assert!(refusal(&bench, &format!("{PATH}&timeout=10ms")).await.contains("503"));
    assert!(refusal(&bench, &format!("{PATH}&link=1")).await.contains("404"));
    let path = format!("{PATH}&EIO=4&transport=websocket");
    let (mut client, ()) = tokio::join!(bench.socket(&path, None), async {
        until("a program that waits", async || {
            bench.pool.endpoint("feed").unwrap().totals.consumers.checked_sub(1).map(drop)
        })
        .await;
        bench.pool.command("feed", 0, Verb::Resume).await.unwrap();
    });
    assert_eq!(text(&mut client).await, "hello 2");
}

#[tokio::test]
async fn a_path_may_end_in_a_slash() {
    let peer = Peer::start().await;
    let bench = bench(&peer, "").await;
    let mut client = bench.socket("/v1/endpoints/feed/ws/?transparent=true&EIO=4", None).await;
    assert_eq!(text(&mut client).await, "hello 1");
}

#[tokio::test]
async fn what_a_program_says_never_leaves_on_another_connection() {
    let peer = Peer::start().await;
    let bench = bench(&peer, "").await;
    let mut client = bench.socket(PATH, None).await;
    assert_eq!(text(&mut client).await, "hello 1");
    peer.opens.send_replace(false);
    let mut listener = bench.socket("/v1/endpoints/feed/ws", None).await;
    say(&mut client, "cut").await;
    for number in 0..100 {
        // The client may have been told by now.
        let _ = client.send(Message::text(format!("late {number}"))).await;
    }
    while next(&mut client).await.is_some() {}
    peer.opens.send_replace(true);
    loop {
        let heard = text(&mut listener).await;
        assert!(!heard.starts_with("late"), "{heard}");
        if heard == "hello 2" {
            break;
        }
    }
    say(&mut listener, "last").await;
    assert_eq!(text(&mut listener).await, "last");
}

#[tokio::test]
async fn an_operators_word_ends_it_in_a_way_that_libraries_come_back_from() {
    let peer = Peer::start().await;
    let bench = bench(&peer, "").await;
    for verb in [Verb::Reconnect, Verb::Rotate] {
        let mut client = bench.socket(PATH, None).await;
        text(&mut client).await;
        bench.pool.command("feed", 0, verb).await.unwrap();
        match next(&mut client).await {
            Some(Message::Close(Some(frame))) => assert_eq!(u16::from(frame.code), 1012),
            other => panic!("{other:?}"),
        }
    }
}
