//! What only says that it is a NATS: whatever it answers, the daemon is well, and so is the link.

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
};

use crate::{bridge, endpoint, feed, shown_until, support::daemon::Daemon};

const INFO: &str = "INFO {\"headers\":true,\"max_payload\":1048576}\r\n";

/// What a broker says first, and what it says to whatever it hears then; and what is told of that.
const ANSWERS: [(&str, &str, &str); 14] = [
    ("HTTP/1.1 400 Bad Request\r\n\r\n", "", "does not speak the protocol"),
    ("-ERR\r\n", "", "does not speak the protocol"),
    ("INFO\r\n", "", "not understood"),
    ("INFO {\"max_payload\":-1}\r\n", "", "not understood"),
    ("INFO []\r\n", "", "not understood"),
    ("INFO {}\r\n", "", "takes no headers"),
    ("INFO {\"tls_required\":true}\r\nPONG\r\n", "", "in clear"),
    (INFO, "-ERR\r\n", "the server says"),
    (INFO, "-ERR 'no \u{1b}[31m hunter2'\r\n", "the server says: no"),
    (INFO, "PONG\r\nMSG a 1 18446744073709551615\r\n", "more than is taken"),
    (INFO, "PONG\r\nHMSG a 1 9 3\r\nxx", "a message that is none"),
    (INFO, "PONG\r\nMSG _INBOX.x.9999999999999999999999 1 2\r\nhi\r\nMSG \r\n", "a message that is none"),
    (INFO, "PONG\r\n\u{fffd}\r\n", "does not speak the protocol"),
    (INFO, "PONG\r\nPING\r\n+OK\r\nINFO x\r\nnonsense\r\n", "does not speak the protocol"),
];

/// Says that to everybody.
async fn rude((first, then): (&'static str, &'static str)) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut heard = vec![0; 1 << 16];
                let _ = stream.write_all(first.as_bytes()).await;
                while stream.read(&mut heard).await.is_ok_and(|read| read > 0) {
                    let _ = stream.write_all(then.as_bytes()).await;
                }
            });
        }
    });
    port
}

#[tokio::test]
async fn whatever_a_broker_answers_is_told_and_harms_nobody() {
    for (first, then, wanted) in ANSWERS {
        let port = rude((first, then)).await;
        let more = bridge("md", "publish = \"md\"\njetstream = \"MARKET\"");
        let daemon = Daemon::start(&endpoint(feed::start().await, port, &more)).await;
        feed::send(&daemon, 3).await;
        let now =
            shown_until(&daemon, "md", wanted, |now| now["lastError"].as_str().is_some_and(|why| why.contains(wanted)))
                .await;
        assert_eq!(now["delivered"], 0, "{now}");
        let link = daemon.api.link("e/0").await;
        assert_eq!(link["phase"], "ready", "{link}");
    }
}

#[tokio::test]
async fn a_broker_that_never_ends_a_line_gets_no_more_memory_for_it() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let line = vec![b'x'; 1 << 16];
            tokio::spawn(async move { while stream.write_all(&line).await.is_ok() {} });
        }
    });
    let more = bridge("md", "publish = \"md\"");
    let daemon = Daemon::start(&endpoint(feed::start().await, port, &more)).await;
    shown_until(&daemon, "md", "told", |now| {
        now["lastError"].as_str().is_some_and(|why| why.contains("a line of more than"))
    })
    .await;
}
