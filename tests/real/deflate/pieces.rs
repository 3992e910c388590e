//! Compressed messages in fragments, with control frames between them, both ways.

use super::{CONTEXTS, node, python};
use crate::{
    QUICK,
    support::{
        compressed::{Asked, Echoed, LARGE, SIZES, messages},
        daemon::Daemon,
        peer::{Peer, Recipe},
    },
};

/// A link pings in the middle of a message, too: as soon as nothing has come for a moment.
const RESTLESS: &str = "heartbeat = { idle = \"100ms\", timeout = \"30s\" }";

#[tokio::test]
async fn fragments_of_python_with_pings_between_are_put_together_and_so_are_those_sent() {
    between_fragments(python(&["15", "pieces"])).await;
}

#[tokio::test]
async fn fragments_of_node_with_pings_between_are_put_together_and_so_are_those_sent() {
    between_fragments(node(&["any", "pieces"])).await;
}

async fn between_fragments(recipe: Recipe) {
    let Some(peer) = Peer::start(recipe).await else { return };
    let url = format!("ws://127.0.0.1:{}/", peer.port);
    let all = CONTEXTS.into_iter().zip([9, 12, 15]).map(|(context, bits)| Asked { bits, context, level: 1 });
    let sections: String = all.clone().map(|asked| asked.section(&url, RESTLESS)).collect();
    let daemon = Daemon::start(&format!("{QUICK}{sections}")).await;
    for asked in all {
        let mut echoed = Echoed::by(&daemon, &asked.name()).await;
        for message in SIZES.into_iter().flat_map(messages) {
            echoed.comes_back(message).await;
        }
        // And control frames of the link's come between its own.
        let [_, letters, ..] = messages(LARGE);
        let before = between(&peer);
        while between(&peer) == before {
            echoed.comes_back(letters.clone()).await;
        }
        let link = daemon.api.link(&format!("{}/0", asked.name())).await;
        assert_eq!(link["generation"], 1, "nothing disturbed the connection: {link}");
    }
}

/// Control frames that the server got between two fragments.
fn between(peer: &Peer) -> usize {
    peer.log().lines().filter(|line| *line == "between").count()
}
