//! permessage-deflate on streams of HTTP/2, agreed on by extended CONNECT, with another's choice of window and context.

use crate::{
    QUICK, peer,
    support::{
        compressed::{Asked, Echoed, LARGE, SIZES, messages},
        daemon::Daemon,
    },
};

#[tokio::test]
async fn what_is_compressed_comes_back_over_http2_whatever_was_agreed_on() {
    let Some(peer) = peer(&["window=1000000"]).await else { return };
    let all = [
        (15, "both", ""),
        (15, "peer", "server_max_window_bits=9;client_max_window_bits=10"),
        (12, "none", "server_no_context_takeover;client_no_context_takeover;server_max_window_bits=12"),
        (9, "both", "client_max_window_bits=9;server_max_window_bits=9;server_no_context_takeover"),
    ]
    .map(|(bits, context, answer)| (Asked { bits, context, level: 3 }, answer));
    let section = |(asked, answer): &(Asked, &str)| {
        asked.section(&format!("ws://127.0.0.1:{}/deflate/{answer}", peer.port), "http2 = \"require\"")
    };
    let daemon = Daemon::start(&format!("{QUICK}{}", all.iter().map(section).collect::<String>())).await;
    for (kind, (asked, answer)) in all.into_iter().enumerate() {
        let mut echoed = Echoed::by(&daemon, &asked.name()).await;
        assert!(answer.split(';').all(|parameter| echoed.agreed.contains(parameter)), "{}", echoed.agreed);
        for message in SIZES.into_iter().chain(SIZES).flat_map(messages) {
            echoed.comes_back(message).await;
        }
        echoed.comes_back(messages(LARGE)[kind].clone()).await;
        let link = daemon.api.link(&format!("{}/0", asked.name())).await;
        assert_eq!(link["generation"], 1, "nothing disturbed the stream: {link}");
    }
    assert!(
        peer.log().lines().any(|line| line.starts_with("deflated ") && line.contains(" 1 ")),
        "it inflated nothing"
    );
}
