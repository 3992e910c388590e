//! A balancer that keeps clients by a cookie: haproxy with `cookie SRV insert`.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use futures_util::StreamExt;
use tokio::net::TcpListener;

use crate::{
    one,
    support::{
        daemon::Daemon,
        peer::{Peer, Recipe, Script},
    },
};

const ROUNDS: u64 = 6;

/// A server that counts its connections, and keeps them until the client ends them.
async fn server() -> (u16, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let count = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&count);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let counted = Arc::clone(&counted);
            tokio::spawn(async move {
                let Ok(mut socket) = tokio_tungstenite::accept_async(stream).await else { return };
                counted.fetch_add(1, Ordering::SeqCst);
                while let Some(Ok(_)) = socket.next().await {}
            });
        }
    });
    (port, count)
}

/// Where the connections of a link went that was told to connect again and again.
async fn spread(keys: &str) -> Option<[usize; 2]> {
    let (first, second) = (server().await, server().await);
    let words: Vec<&'static str> =
        [first.0, second.0].into_iter().map(|port| &*Box::leak(port.to_string().into_boxed_str())).collect();
    let script = Script { file: "sticky.sh", needs: "haproxy", words: Box::leak(words.into_boxed_slice()) };
    let haproxy = Peer::start(Recipe::Script(script)).await?;
    let daemon = Daemon::start(&one(haproxy.port, "/", keys)).await;
    for round in 0..ROUNDS {
        daemon.api.ready_after("e/0", round).await;
        if round + 1 < ROUNDS {
            daemon.api.post("/v1/links/e/0/reconnect", &[], "").await.expect(200);
        }
    }
    assert!(!daemon.log().contains("SRV="), "{}", daemon.log());
    Some([first.1, second.1].map(|count| count.load(Ordering::SeqCst)))
}

#[tokio::test]
async fn a_link_with_cookies_comes_back_to_the_server_that_the_balancer_had_chosen() {
    let Some(mut kept) = spread("cookies = true").await else { return };
    kept.sort_unstable();
    assert_eq!(kept, [0, usize::try_from(ROUNDS).unwrap()]);
    assert!(spread("").await.unwrap().iter().all(|count| *count > 0), "without them the balancer deals");
}
