//! Compressed messages of every kind come back byte for byte from servers of others, whatever window and context they choose.

use crate::{
    one,
    support::{
        daemon::Daemon,
        peer::{Peer, Recipe, Script},
    },
};

/// Below the threshold, one piece, some of them, fragments both ways, the largest that the defaults allow.
const SIZES: [usize; 7] = [0, 255, 256, 16_384, 40_000, 100_001, 1 << 20];

const fn python(words: &'static [&'static str]) -> Recipe {
    Recipe::Script(Script { file: "deflate.py", needs: "websockets", words })
}

const fn node(words: &'static [&'static str]) -> Recipe {
    Recipe::Script(Script { file: "deflate.js", needs: "ws", words })
}

#[tokio::test]
async fn what_python_compresses_comes_back_whatever_was_agreed_on() {
    for (words, bits) in [(&["9"][..], 9), (&["12"], 15), (&["15"], 12), (&["15"], 15)] {
        what_is_compressed_comes_back(python(words), bits).await;
    }
}

#[tokio::test]
async fn what_node_compresses_comes_back_whatever_was_agreed_on() {
    // It refuses the upgrade where its own window is not as small as what is asked for.
    for (words, bits) in [(&["9"][..], 9), (&["9"], 12), (&["12"], 15), (&["15"], 15)] {
        what_is_compressed_comes_back(node(words), bits).await;
    }
}

async fn what_is_compressed_comes_back(recipe: Recipe, bits: u8) {
    let Some(peer) = Peer::start(recipe).await else { return };
    for context in ["none", "peer", "both"] {
        let keys =
            format!("compression = \"auto\"\ncompression_window_bits = {bits}\ncompression_context = \"{context}\"");
        let daemon = Daemon::start(&one(peer.port, "/", &keys)).await;
        daemon.api.ready_after("e/0", 0).await;
        let agreed = daemon.api.link("e/0").await["extensions"].to_string();
        assert!(agreed.contains("permessage-deflate"), "{agreed}");
        assert_eq!(agreed.contains("server_no_context_takeover"), context == "none", "{agreed}");
        let mut events = daemon.api.events("e", "from=latest&types=message").await;
        // Twice, so that there is something to refer to.
        for size in SIZES.into_iter().chain(SIZES) {
            let text =
                "{\"price\":12.5,\"size\":7,\"side\":\"sell\"} €".chars().cycle().take(size / 2).collect::<String>();
            daemon.api.send_text("e", &text).await.expect(202);
            let (data, binary) = events.next_of("message").await.payload();
            assert!(!binary && data == text.as_bytes(), "text of {} bytes, {agreed}", text.len());
            let noise = noise(size);
            daemon.api.send_binary("e", noise.clone()).await.expect(202);
            let (data, binary) = events.next_of("message").await.payload();
            assert!(binary && data == noise, "noise of {size} bytes, {agreed}");
        }
        assert_eq!(daemon.api.link("e/0").await["generation"], 1, "nothing disturbed the connection");
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

fn noise(size: usize) -> Vec<u8> {
    let mut state = size as u64;
    let next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        state.to_be_bytes()[0]
    };
    std::iter::repeat_with(next).take(size).collect()
}
