//! Compressed messages of every kind and length come back byte for byte from servers of others, whatever window and context they choose.
//!
//! What a reader would get wrong: the window and the context of an endpoint are what is asked for; the server may choose less.

mod brokers;
mod pieces;

use tokio_tungstenite::tungstenite::Message;

use crate::{
    QUICK, one,
    support::{
        compressed::{Asked, Echoed, LARGE, SIZES, messages},
        daemon::Daemon,
        peer::{Peer, Recipe, Script},
        tls::Authority,
    },
};

const ALL_BITS: [u8; 7] = [9, 10, 11, 12, 13, 14, 15];
const CONTEXTS: [&str; 3] = ["none", "peer", "both"];

const fn python(words: &'static [&'static str]) -> Recipe {
    Recipe::Script(Script { file: "deflate.py", needs: "websockets", words })
}

const fn node(words: &'static [&'static str]) -> Recipe {
    Recipe::Script(Script { file: "deflate.js", needs: "ws", words })
}

const fn cowboy(words: &'static [&'static str]) -> Recipe {
    Recipe::Script(Script { file: "cowboy.sh", needs: "rabbitmq-server", words })
}

/// Every window with every context, and the levels in turn.
fn every_window_and_context() -> impl Iterator<Item = Asked> {
    ALL_BITS.into_iter().flat_map(|bits| {
        CONTEXTS.into_iter().zip(0..).map(move |(context, number)| {
            // One of three is tried with large messages: those have other levels, too.
            let level = 1 + (4 * (bits - 9) + number) % 9;
            Asked { bits, context, level }
        })
    })
}

#[tokio::test]
async fn what_python_compresses_comes_back_whatever_is_asked_for() {
    comes_back_from(python(&["15"]), &ALL_BITS, true).await;
}

#[tokio::test]
async fn what_node_compresses_comes_back_whatever_is_asked_for() {
    comes_back_from(node(&["any"]), &ALL_BITS, true).await;
}

#[tokio::test]
async fn what_is_compressed_comes_back_with_less_than_was_asked_for() {
    // Node refuses the upgrade where its own window is not as small as what is asked for.
    for peer in [
        python(&["9"]),
        python(&["12", "forgetful"]),
        node(&["9"]),
        cowboy(&["11", "kept"]),
        cowboy(&["15", "forgotten"]),
    ] {
        comes_back_from(peer, &[12, 15], false).await;
    }
}

/// Twice each, so that there is something to refer to; a large one in one context of each window.
async fn comes_back_from(recipe: Recipe, bits: &[u8], has_large_one: bool) {
    let Some(peer) = Peer::start(recipe).await else { return };
    let all: Vec<_> = every_window_and_context().filter(|asked| bits.contains(&asked.bits)).collect();
    let url = format!("ws://127.0.0.1:{}/", peer.port);
    let sections: String = all.iter().map(|asked| asked.section(&url, "")).collect();
    let daemon = Daemon::start(&format!("{QUICK}{sections}")).await;
    for asked in all {
        let mut echoed = Echoed::by(&daemon, &asked.name()).await;
        assert!(asked.context != "none" || echoed.agreed.contains("server_no_context_takeover"), "{}", echoed.agreed);
        for message in SIZES.into_iter().chain(SIZES).flat_map(messages) {
            echoed.comes_back(message).await;
        }
        if has_large_one && CONTEXTS[usize::from(asked.bits) % 3] == asked.context {
            echoed.comes_back(messages(LARGE)[usize::from(asked.bits) % 4].clone()).await;
        }
        let link = daemon.api.link(&format!("{}/0", asked.name())).await;
        assert_eq!(link["generation"], 1, "nothing disturbed the connection: {link}");
    }
}

#[tokio::test]
async fn what_is_compressed_comes_back_through_nginx() {
    let authority = Authority::new();
    for recipe in [python(&["12"]), node(&["9"])] {
        let Some(peer) = Peer::start(recipe).await else { return };
        let Some(nginx) = authority.nginx("localhost", false, peer.port).await else { return };
        let url = format!("wss://localhost:{}/", nginx.port);
        let asked = Asked { bits: 15, context: "both", level: 3 };
        let trust = authority.trust(&asked.name());
        let daemon = Daemon::start(&format!("{QUICK}{}{trust}", asked.section(&url, ""))).await;
        let mut echoed = Echoed::by(&daemon, &asked.name()).await;
        let [line, _, noise, _] = messages(LARGE);
        for message in SIZES.into_iter().flat_map(messages).chain([line, noise]) {
            echoed.comes_back(message).await;
        }
    }
}

/// Erlang's zlib makes no byte of nothing where it has just flushed, so Cowboy's empty messages have none.
#[tokio::test]
async fn empty_messages_come_back_in_whatever_form_a_server_sends_them() {
    for recipe in [python(&["15"]), node(&["15"]), cowboy(&["15", "kept"]), cowboy(&["15", "forgotten"])] {
        let Some(peer) = Peer::start(recipe).await else { return };
        let asked = Asked { bits: 15, context: "both", level: 3 };
        let section = asked.section(&format!("ws://127.0.0.1:{}/", peer.port), "");
        let daemon = Daemon::start(&format!("{QUICK}{section}")).await;
        let mut echoed = Echoed::by(&daemon, &asked.name()).await;
        let hello = "hello ".repeat(100);
        for text in ["", &hello, "", "", &hello, ""] {
            echoed.comes_back(Message::text(text)).await;
            echoed.comes_back(Message::binary(text.to_owned())).await;
        }
    }
}

#[tokio::test]
async fn a_bomb_costs_a_connection_and_no_memory_and_what_is_no_deflate_is_told_as_that() {
    let Some(peer) = Peer::start(python(&["15"])).await else { return };
    let daemon = Daemon::start(&one(peer.port, "/", "compression = \"auto\"")).await;
    daemon.api.ready_after("e/0", 0).await;
    let before = daemon.peak_memory();
    for (command, cause, code, generation) in [("!bomb", "too_big", 1009, 1), ("!corrupt", "protocol", 1007, 2)] {
        daemon.api.send_text("e", command).await.expect(202);
        let ended = |link: &serde_json::Value| link["lastClose"]["cause"] == cause;
        let link = daemon.api.link_until("e/0", "lost", ended).await;
        let close = &link["lastClose"];
        assert_eq!((&close["sentCode"], &close["wasClean"]), (&code.into(), &false.into()), "{link}");
        daemon.api.ready_after("e/0", generation).await;
    }
    let grown = daemon.peak_memory() - before;
    assert!(grown < 8 << 20, "{grown} bytes for a bomb that is stopped at 1 MiB");
}

#[tokio::test]
async fn a_server_that_does_not_compress_is_used_without() {
    let Some(peer) = Peer::start(Recipe::Python).await else { return };
    let daemon = Daemon::start(&one(peer.port, "/", "compression = \"auto\"")).await;
    daemon.api.ready_after("e/0", 0).await;
    assert_eq!(daemon.api.link("e/0").await["extensions"], "");
}
