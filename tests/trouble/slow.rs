//! A peer that reads slowly: what is told of the sending follows what it reads.
//!
//! The system's buffers stand between, so what the peer has read has left for certain, and a little more may have.

use serde_json::Value;
use tokio::{io::AsyncReadExt, net::TcpStream};

use crate::{
    QUICK, one,
    support::{daemon::Daemon, raw::Raw, until},
};

const MIB: u64 = 1 << 20;

/// A daemon and a peer that is connected, and that has little room for what it has not read.
async fn connected() -> (Daemon, TcpStream) {
    let peer = Raw::listen().await;
    let more = "[endpoints.e.heartbeat]\nidle = \"10min\"\n[endpoints.e.outbox]\nmax_message = \"16MiB\"\nmax_bytes = \"64MiB\"";
    let daemon = Daemon::start(&format!("max_body = \"17MiB\"{QUICK}{}", one(peer.port, more))).await;
    let (mut stream, request) = peer.accept().await;
    socket2::SockRef::from(&stream).set_recv_buffer_size(64 << 10).unwrap();
    Raw::upgrade(&mut stream, &request).await.unwrap();
    daemon.api.ready_after("e/0", 0).await;
    (daemon, stream)
}

async fn read(stream: &mut TcpStream, bytes: u64) {
    stream.read_exact(&mut vec![0; usize::try_from(bytes).unwrap()]).await.unwrap();
}

fn number(link: &Value, key: &str) -> u64 {
    link[key].as_u64().unwrap_or_else(|| panic!("{key}: {link}"))
}

#[tokio::test]
async fn what_is_buffered_falls_within_one_message_as_the_peer_reads_it() {
    const TOTAL: u64 = 16 * MIB;
    let (daemon, mut stream) = connected().await;
    let receipt = daemon.api.send_binary("e", vec![7; usize::try_from(TOTAL).unwrap()]).await.expect(202).json();
    let mut seen = Vec::new();
    for mebibytes in 1..=8 {
        read(&mut stream, MIB).await;
        // Frames and masks are less than this of each mebibyte.
        let left = TOTAL - mebibytes * (MIB - 1024);
        let link =
            daemon.api.link_until("e/0", "less is buffered", |link| number(link, "bufferedAmount") <= left).await;
        seen.push(number(&link, "bufferedAmount"));
        assert_eq!((number(&link, "sentMessages"), number(&link, "queuedMessages")), (0, 1), "{link}");
    }
    // As much at a time as the system makes room for.
    assert!(seen.is_sorted_by(|more, less| more >= less) && seen[0] > seen[7] && seen[7] > 0, "{seen:?}");
    read(&mut stream, 8 * MIB).await;
    let link = daemon.api.link_until("e/0", "it has left", |link| number(link, "bufferedAmount") == 0).await;
    assert_eq!((number(&link, "sentMessages"), number(&link, "queuedMessages")), (1, 0), "{link}");
    let receipt = daemon.api.get(&format!("/v1/messages/{}", receipt["id"].as_str().unwrap())).await.expect(200).json();
    assert_eq!(receipt["state"], "written");
}

#[tokio::test]
async fn what_is_sent_and_written_follows_what_the_peer_reads() {
    const MESSAGES: u64 = 24;
    let (daemon, mut stream) = connected().await;
    let mut receipts = Vec::new();
    for _ in 0..MESSAGES {
        let receipt = daemon.api.send_binary("e", vec![7; usize::try_from(MIB).unwrap()]).await.expect(202).json();
        receipts.push(receipt["id"].as_str().unwrap().to_owned());
    }
    for whole in (2..=MESSAGES - 8).step_by(2) {
        // A frame or two more than so many messages.
        read(&mut stream, 2 * (MIB + 1024)).await;
        let follows = |link: &Value| {
            number(link, "sentMessages") >= whole && number(link, "bufferedAmount") <= (MESSAGES - whole) * MIB
        };
        let link = daemon.api.link_until("e/0", &format!("{whole} have left"), follows).await;
        assert!(number(&link, "sentMessages") < MESSAGES && number(&link, "bufferedAmount") > 0, "{link}");
        for (index, state) in [(whole - 1, "written"), (MESSAGES - 1, "queued")] {
            let id = &receipts[usize::try_from(index).unwrap()];
            // The numbers of the link may be seen a moment before the receipts of the same turn.
            until(&format!("message {index} is {state}"), async || {
                let receipt = daemon.api.get(&format!("/v1/messages/{id}")).await.expect(200).json();
                if receipt["state"] == state { Ok(()) } else { Err(receipt.to_string()) }
            })
            .await;
        }
    }
}
