//! Messages of 64 MiB, really sent: over the limit they cost a connection and no memory, under it they arrive whole.

use futures_util::StreamExt;

use crate::{
    one,
    support::{
        PATIENCE,
        daemon::Daemon,
        peer::{Peer, Recipe},
    },
};

const SIZE: usize = 64 << 20;

#[tokio::test]
async fn a_frame_of_64_mib_that_is_really_sent_ends_the_connection_and_costs_no_memory() {
    is_refused_and_costs_no_memory(&format!("!big {SIZE} 0")).await;
}

#[tokio::test]
async fn fragments_of_64_mib_that_are_really_sent_end_the_connection_and_cost_no_memory() {
    is_refused_and_costs_no_memory(&format!("!big {SIZE} 65536")).await;
}

#[tokio::test]
async fn a_message_of_64_mib_arrives_whole_where_the_limit_allows_it() {
    let Some(peer) = Peer::start(Recipe::Python).await else { return };
    let limits = "[endpoints.e.inbox]\nmax_message = \"80MiB\"\nmax_bytes = \"80MiB\"";
    let daemon = Daemon::start(&one(peer.port, "/", limits)).await;
    daemon.api.ready_after("e/0", 0).await;
    let mut socket = daemon.api.socket("e", "from=latest", false).await;
    // Fragments, so that the daemon has to put them together; a cycle of 251 fits no power of two.
    daemon.api.send_text("e", &format!("!big {SIZE} 1000000")).await.expect(202);
    let arrived = tokio::time::timeout(4 * PATIENCE, socket.next()).await.expect("a message in time");
    let message = arrived.unwrap().unwrap();
    assert!(message.is_binary());
    let bytes = message.into_data();
    assert_eq!(bytes.len(), SIZE);
    let wrong = bytes.iter().zip((0..251_u8).cycle()).position(|(seen, sent)| *seen != sent);
    assert_eq!(wrong, None, "the first wrong byte");
    assert_eq!(daemon.api.link("e/0").await["generation"], 1);
}

async fn is_refused_and_costs_no_memory(command: &str) {
    let Some(peer) = Peer::start(Recipe::Python).await else { return };
    let daemon = Daemon::start(&one(peer.port, "/", "")).await;
    daemon.api.ready_after("e/0", 0).await;
    let before = daemon.peak_memory();
    daemon.api.send_text("e", command).await.expect(202);
    let link = daemon.api.link_until("e/0", "lost", |link| link["lastClose"]["cause"].is_string()).await;
    let close = &link["lastClose"];
    assert_eq!((&close["cause"], &close["sentCode"]), (&"too_big".into(), &1009.into()), "{link}");
    assert_eq!(close["wasClean"], false, "{link}");
    daemon.api.ready_after("e/0", 1).await;
    let grown = daemon.peak_memory() - before;
    assert!(grown < 8 << 20, "{grown} bytes for a message that is refused at 1 MiB");
    let mut events = daemon.api.events("e", "from=latest&types=message").await;
    daemon.api.send_text("e", "on the next connection").await.expect(202);
    assert_eq!(events.next_of("message").await.payload().0, b"on the next connection");
}
