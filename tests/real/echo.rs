//! Text and binary of every length that the framing treats differently come back byte for byte, from servers of others.

use crate::{
    one,
    support::{
        daemon::Daemon,
        peer::{Peer, Recipe},
    },
};

/// The ends of the three length encodings (RFC 6455 §5.2), nothing, and the largest message that the defaults allow.
const SIZES: [usize; 7] = [0, 1, 125, 126, 65_535, 65_536, 1 << 20];

#[tokio::test]
async fn every_size_and_kind_comes_back_from_python() {
    every_size_and_kind_comes_back(Recipe::Python).await;
}

#[tokio::test]
async fn every_size_and_kind_comes_back_from_node() {
    every_size_and_kind_comes_back(Recipe::Node).await;
}

async fn every_size_and_kind_comes_back(recipe: Recipe) {
    let Some(peer) = Peer::start(recipe).await else { return };
    let daemon = Daemon::start(&one(peer.port, "/", "")).await;
    daemon.api.ready_after("e/0", 0).await;
    let mut events = daemon.api.events("e", "from=latest&types=message").await;
    for size in SIZES {
        let text = text_of(size);
        daemon.api.send_text("e", &text).await.expect(202);
        let (data, binary) = events.next_of("message").await.payload();
        assert!(!binary && data == text.as_bytes(), "text of {size} bytes came back as {} bytes", data.len());
        let bytes: Vec<u8> = (0..=u8::MAX).rev().cycle().take(size).collect();
        daemon.api.send_binary("e", bytes.clone()).await.expect(202);
        let (data, binary) = events.next_of("message").await.payload();
        assert!(binary && data == bytes, "binary of {size} bytes came back as {} bytes", data.len());
    }
    assert_eq!(daemon.api.link("e/0").await["generation"], 1, "nothing disturbed the connection");
}

#[tokio::test]
async fn a_message_over_the_limit_is_refused_before_it_is_accepted() {
    let daemon = Daemon::start(&one(crate::support::free_port(), "/", "")).await;
    let problem = daemon.api.send_binary("e", vec![0; (1 << 20) + 1]).await.expect(413).json();
    assert!(problem["detail"].as_str().unwrap().contains("max_message"), "{problem}");
}

/// Text of so many bytes, letters of several lengths in it.
fn text_of(size: usize) -> String {
    let mut text = String::new();
    for letter in ['a', 'ü', '€', '🜁', '"', '\\', '\n', '\t', '\u{1}', 'z'].into_iter().cycle() {
        if text.len() + letter.len_utf8() > size {
            break;
        }
        text.push(letter);
    }
    text.extend(std::iter::repeat_n('.', size - text.len()));
    text
}
