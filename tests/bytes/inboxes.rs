//! Inbox history gives way to what is sent.

use futures_util::{SinkExt, StreamExt};
use tokio::{io::AsyncWriteExt, net::TcpListener};
use tokio_tungstenite::{accept_async, tungstenite::Message};

use crate::support::{
    daemon::Daemon,
    raw::{Raw, header, honest},
    until,
};

const MESSAGES: usize = 64;
const BYTES: usize = 32 << 10;
const ENDPOINTS: usize = 8;

/// The port of a peer that sends so many messages of so many bytes to each client at once, and then reads.
pub(crate) async fn flooding(messages: usize, bytes: usize) -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut socket = accept_async(stream).await.unwrap();
                for _ in 0..messages {
                    socket.send(Message::binary(vec![0; bytes])).await.unwrap();
                }
                while let Some(Ok(_)) = socket.next().await {}
            });
        }
    });
    port
}

/// The port of a peer that begins a message of so many bytes on each connection, and sends the last of them to nobody.
async fn beginning(bytes: usize) -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut socket = accept_async(stream).await.unwrap();
                // Fragments of which none is the last.
                let fragment = vec![0; 60_000];
                let head = [&[0x02, 126][..], &60_000_u16.to_be_bytes()].concat();
                let next = [&[0x00, 126][..], &60_000_u16.to_be_bytes()].concat();
                for index in 0..bytes / fragment.len() {
                    let head = if index == 0 { &head } else { &next };
                    // The daemon may have had enough.
                    if socket.get_mut().write_all(&[head, &fragment[..]].concat()).await.is_err() {
                        return;
                    }
                }
                while let Some(Ok(_)) = socket.next().await {}
            });
        }
    });
    port
}

#[tokio::test]
async fn messages_that_peers_do_not_end_take_half_of_what_history_may_and_nothing_of_others() {
    const LINKS: usize = 40;
    let (port, other) = (beginning(960_000).await, honest().await);
    let sections = format!(
        "[limits]\nmemory = \"16MiB\"\n[admission]\nper_host = 16\n[endpoints.down]\nurl = \"ws://127.0.0.1:1/\"\n\
         [endpoints.e]\nurl = \"ws://127.0.0.1:{port}/\"\nlinks = {LINKS}\n\
         [endpoints.other]\nurl = \"ws://127.0.0.1:{other}/\"\n"
    );
    let daemon = Daemon::start(&sections).await;
    let before = daemon.memory();
    until("links that are refused the rest of a message", async || {
        let links = daemon.api.get("/v1/links?limit=100").await.expect(200).json();
        let items = links["items"].as_array().unwrap();
        let is_refused = |link: &serde_json::Value| link["lastClose"]["sentCode"] == 1009;
        if items.iter().any(is_refused) { Ok(()) } else { Err(items.len()) }
    })
    .await;
    until("those that hold their part", async || {
        let used = daemon.api.metric("wskeeper_payload_bytes").await.unwrap();
        // Half of three quarters, and what inboxes keep of ends.
        assert!(used <= 6_600_000.0, "{used}");
        if used >= 5e6 { Ok(()) } else { Err(used) }
    })
    .await;
    comes_whole(&daemon, "other", 1_000_000).await;
    assert!(daemon.memory() < before + (16 << 20) + (40 << 20), "{} after {before}", daemon.memory());
    daemon.api.send_binary("down", vec![0; 1_000_000]).await.expect(202);
}

/// The port of a peer that agrees to compression as it is offered, and says nothing.
async fn agreeing() -> u16 {
    let raw = Raw::listen().await;
    let port = raw.port;
    tokio::spawn(async move {
        let mut open = Vec::new();
        loop {
            let (mut stream, request) = raw.accept().await;
            let offer = header(&request, "sec-websocket-extensions");
            let agreed = offer.replace("; client_max_window_bits", "");
            Raw::upgrade_with(&mut stream, &request, &format!("Sec-WebSocket-Extensions: {agreed}\r\n")).await.unwrap();
            open.push(stream);
        }
    });
    port
}

/// What an echoing peer of an endpoint is sent comes back, and its connection stays.
async fn comes_whole(daemon: &Daemon, endpoint: &str, bytes: usize) {
    let link = format!("{endpoint}/0");
    let before = daemon.api.ready_after(&link, 0).await;
    let mut events = daemon.api.events(endpoint, "types=message").await;
    daemon.api.send_binary(endpoint, vec![7; bytes]).await.expect(202);
    assert_eq!(events.next().await.payload().0.len(), bytes);
    assert_eq!(daemon.api.link(&link).await["generation"], before["generation"]);
}

#[tokio::test]
async fn windows_of_compression_are_offered_while_there_is_room_and_leave_some_to_others() {
    const LINKS: usize = 60;
    let (port, other) = (agreeing().await, honest().await);
    let daemon = Daemon::start(&format!(
        "[limits]\nmemory = \"2MiB\"\n[admission]\nper_host = 64\n\
         [endpoints.e]\nurl = \"ws://127.0.0.1:{port}/\"\nlinks = {LINKS}\ncompression = \"auto\"\n\
         compression_context = \"peer\"\n[endpoints.other]\nurl = \"ws://127.0.0.1:{other}/\"\n"
    ))
    .await;
    let (mut with, mut without) = (0, 0);
    for index in 0..LINKS {
        match daemon.api.ready_after(&format!("e/{index}"), 0).await["extensions"].as_str().unwrap() {
            "permessage-deflate; client_no_context_takeover" => with += 1,
            "permessage-deflate; server_no_context_takeover; client_no_context_takeover" => without += 1,
            other => panic!("{other}"),
        }
    }
    // 32 KiB each, of half of three quarters.
    assert_eq!((with, without), (24, 36));
    comes_whole(&daemon, "other", 500_000).await;
    for index in 0..LINKS {
        daemon.api.post(&format!("/v1/links/e/{index}/pause"), &[], "").await.expect(200);
    }
    until("their room to be given back", async || {
        let used = daemon.api.metric("wskeeper_payload_bytes").await.unwrap();
        if used < 600_000.0 { Ok(()) } else { Err(used) }
    })
    .await;
}

#[tokio::test]
async fn full_inboxes_leave_room_for_what_is_sent() {
    let port = flooding(MESSAGES, BYTES).await;
    let endpoint = |index| format!("[endpoints.e{index}]\nurl = \"ws://127.0.0.1:{port}/\"\n");
    let endpoints = (0..ENDPOINTS).map(endpoint).collect::<Vec<_>>().concat();
    let sections = format!(
        "[limits]\nmemory = \"4MiB\"\n[admission]\nper_host = 16\n[endpoints.down]\nurl = \"ws://127.0.0.1:1/\"\n{endpoints}"
    );
    let daemon = Daemon::start(&sections).await;
    for index in 0..ENDPOINTS {
        until("a full inbox", async || {
            let series = format!("wskeeper_messages_total{{direction=\"in\",endpoint=\"e{index}\",type=\"binary\"}}");
            let read = daemon.api.metric(&series).await;
            if read == Some(64.0) { Ok(()) } else { Err(read) }
        })
        .await;
    }
    // More than the reserve, and nearly all there is: history goes, message by message.
    for _ in 0..36 {
        daemon.api.send_binary("down", vec![0; 100_000]).await.expect(202);
    }
    until("the accepted to be counted", async || {
        let used = daemon.api.metric("wskeeper_payload_bytes").await.unwrap();
        assert!(used <= 4_194_304.0, "{used}");
        if used >= 3_600_000.0 { Ok(()) } else { Err(used) }
    })
    .await;
    let refused = daemon.api.send_binary("down", vec![0; 1_000_000]).await.expect(429);
    assert_eq!(refused.json()["type"], "urn:wskeeper:problem:memory-full", "what was accepted stays");
    let mut reader = daemon.api.events("e0", "from=1&types=message").await;
    let event = reader.next().await;
    assert_eq!(event.kind, "gap", "{event:?}");
}
