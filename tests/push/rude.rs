//! Servers that do not answer as servers do.

use std::time::Duration;

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};

use crate::{endpoint, feed, push, receiver::Receiver, shown_until, support::daemon::Daemon};

/// A server that has read a request when `answer` begins.
async fn server<F: Future<Output = ()> + Send + 'static>(answer: fn(TcpStream) -> F) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut heard = Vec::new();
                while !heard.ends_with(b"}") {
                    if stream.read_buf(&mut heard).await.unwrap_or(0) == 0 {
                        return;
                    }
                }
                answer(stream).await;
            });
        }
    });
    format!("url = \"http://127.0.0.1:{port}/\"\ntimeout = \"400ms\"")
}

#[tokio::test]
async fn a_server_that_never_answers_or_a_byte_a_second_has_its_time_and_holds_up_no_other() {
    let silent = server(|stream| async move {
        std::future::pending::<()>().await;
        drop(stream);
    })
    .await;
    let slow = server(|mut stream| async move {
        for byte in b"HTTP/1.1 200 OK\r\n\r\n" {
            if stream.write_all(&[*byte]).await.is_err() {
                return;
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    })
    .await;
    let well = Receiver::start().await;
    let more = push("silent", &silent) + &push("slow", &slow) + &push("well", &well.url());
    let daemon = Daemon::start(&endpoint(feed::start().await, &more)).await;
    feed::send(&daemon, 20).await;
    well.asked_times(20).await;
    for name in ["silent", "slow"] {
        let now = shown_until(&daemon, name, "late", |now| now["failed"].as_u64() >= Some(2)).await;
        assert_eq!(now["lastError"], "the receiver did not answer within 400ms");
        assert_eq!(now["delivered"], 0);
    }
}

#[tokio::test]
async fn of_a_body_without_end_no_more_is_read_than_is_of_use() {
    let endless = server(|mut stream| async move {
        let head = b"HTTP/1.1 200 OK\r\ncontent-length: 10000000000\r\n\r\n";
        if stream.write_all(head).await.is_ok() {
            let zeros = vec![0; 1 << 20];
            while stream.write_all(&zeros).await.is_ok() {}
        }
    })
    .await;
    let dripping = server(|mut stream| async move {
        let mut said = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n").await;
        while said.is_ok() {
            said = stream.write_all(b"x").await;
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    })
    .await
    .replace("400ms", "10s");
    let more = push("endless", &endless) + &push("dripping", &dripping);
    let daemon = Daemon::start(&endpoint(feed::start().await, &more)).await;
    feed::send(&daemon, 3).await;
    shown_until(&daemon, "endless", "taken", |now| now["delivered"] == 3).await;
    shown_until(&daemon, "dripping", "taken", |now| now["delivered"] == 3).await;
    assert!(daemon.peak_memory() < 200 << 20, "{} bytes", daemon.peak_memory());
}

#[tokio::test]
async fn a_redirect_is_no_answer_and_one_that_is_gone_stops() {
    let (there, elsewhere) = (Receiver::start().await, Receiver::start().await);
    let place = format!("http://127.0.0.1:{}/other", elsewhere.port);
    there.replies((0..3).map(|_| (307, vec![("location", place.clone())])));
    there.replies([(410, vec![])]);
    let daemon = Daemon::start(&endpoint(feed::start().await, &push("hook", &there.url()))).await;
    feed::send(&daemon, 2).await;
    let now = shown_until(&daemon, "hook", "stopped", |now| now["state"] == "stopped").await;
    assert_eq!((there.asked().len(), elsewhere.asked().len(), &now["failed"]), (4, 0, &3.into()));
    assert!(daemon.log().contains("status 307; redirects are not followed"), "{}", daemon.log());
}
