//! The client against servers that answer byte for byte, or do not.

use std::time::Duration;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, duplex},
    net::{TcpListener, UnixListener},
};

use super::*;
use wskeeper_link::clock::Moment;

const REQUEST: &str = "POST /path?a=b HTTP/1.1\r\nhost: here\r\ncontent-length: 5\r\n\r\nhello";

/// A server of one connection, which answers each request of [`REQUEST`]'s length with the next of these.
async fn serve(answers: &'static [&'static str]) -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move { answer(listener.accept().await.unwrap().0, answers).await });
    Server::plain("127.0.0.1", port)
}

async fn answer(mut stream: impl AsyncReadExt + AsyncWriteExt + Unpin, answers: &[&str]) {
    for said in answers {
        let mut asked = vec![0; REQUEST.len()];
        stream.read_exact(&mut asked).await.unwrap();
        assert_eq!(String::from_utf8(asked).unwrap(), REQUEST);
        stream.write_all(said.as_bytes()).await.unwrap();
    }
}

fn request() -> Request<Bytes> {
    let request = Request::post("/path?a=b").header("host", "here");
    request.body(Bytes::from_static(b"hello")).unwrap()
}

#[tokio::test]
async fn a_connection_carries_one_request_after_the_other() {
    const CHUNKED: &str =
        "HTTP/1.1 404 Not Found\r\ntransfer-encoding: chunked\r\n\r\n2\r\nab\r\n1\r\nc\r\n0\r\nx: y\r\n\r\n";
    let server = serve(&["HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi", CHUNKED]).await;
    let mut connection = Connection::open(&server, None).await.unwrap();
    let answer = connection.send(request()).await.unwrap();
    assert_eq!((answer.status(), answer.whole(2).await.unwrap()), (StatusCode::OK, Bytes::from_static(b"hi")));
    assert!(connection.is_ready().await);
    let answer = connection.send(request()).await.unwrap();
    assert_eq!((answer.status(), answer.whole(3).await.unwrap()), (StatusCode::NOT_FOUND, Bytes::from_static(b"abc")));
    assert!(!connection.is_ready().await, "the server has gone");
}

#[tokio::test]
async fn a_unix_socket_is_a_server_too() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("socket");
    let listener = UnixListener::bind(&path).unwrap();
    tokio::spawn(async move {
        answer(listener.accept().await.unwrap().0, &["HTTP/1.1 204 No Content\r\n\r\n"]).await;
    });
    let mut connection = Connection::open(&Server::Unix(path), None).await.unwrap();
    assert_eq!(connection.send(request()).await.unwrap().status(), StatusCode::NO_CONTENT);
}

#[tokio::test]
async fn no_more_is_read_than_is_wanted() {
    for said in [
        "HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nabc",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nab\r\n1\r\nc\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\n\r\nabc",
    ] {
        let said: &'static [&'static str] = Box::leak(Box::new([said]));
        let mut connection = Connection::open(&serve(said).await, None).await.unwrap();
        let error = connection.send(request()).await.unwrap().whole(2).await.unwrap_err();
        assert_eq!(error.to_string(), "answered with more than 2 bytes");
    }
}

#[tokio::test]
async fn an_answer_that_breaks_off_is_none() {
    let server = serve(&["HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nab"]).await;
    let mut answer = Connection::open(&server, None).await.unwrap().send(request()).await.unwrap();
    assert_eq!(answer.next().await.unwrap().unwrap(), "ab");
    assert!(matches!(answer.next().await, Some(Err(Error::Lost(_)))));
}

#[tokio::test]
async fn the_end_in_time_holds_for_the_handshake_the_head_and_the_body() {
    // Nobody accepts: TCP is there, and TLS never is.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let silent = |is_secure| Server::Tcp { host: "127.0.0.1".into(), port, is_secure };
    let soon = || Some(Instant::now().later(Duration::from_millis(20)));
    assert!(matches!(Connection::open(&silent(true), soon()).await, Err(Error::Late)));
    let mut connection = Connection::open(&silent(false), soon()).await.unwrap();
    assert!(matches!(connection.send(request()).await, Err(Error::Late)));
    let (near, mut far) = duplex(1024);
    let (sender, carrying) = handshake(TokioIo::new(near)).await.unwrap();
    tokio::spawn(carrying);
    let mut connection = Connection { sender, until: None };
    let sending = tokio::spawn(async move { connection.send(request()).await });
    far.read_exact(&mut [0; REQUEST.len()]).await.unwrap();
    far.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nab").await.unwrap();
    let answer = Answer { until: soon(), ..sending.await.unwrap().unwrap() };
    assert!(matches!(answer.whole(9).await, Err(Error::Late)));
}

#[tokio::test]
async fn where_nobody_listens_is_told_as_the_system_tells_it() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let server = Server::plain("127.0.0.1", listener.local_addr().unwrap().port());
    drop(listener);
    match Connection::open(&server, None).await {
        Err(Error::Unreachable(error)) => assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_server_is_named_as_in_its_url() {
    let tcp = |host: &str, port, is_secure| Server::Tcp { host: host.into(), port, is_secure };
    for (server, authority, shown) in [
        (tcp("a.example", 80, false), "a.example", "http://a.example"),
        (tcp("a.example", 443, false), "a.example:443", "http://a.example:443"),
        (tcp("a.example", 443, true), "a.example", "https://a.example"),
        (tcp("::1", 8080, true), "[::1]:8080", "https://[::1]:8080"),
        (Server::Unix("/run/x.sock".into()), "localhost", "unix:/run/x.sock"),
    ] {
        assert_eq!((server.authority().as_str(), server.to_string().as_str()), (authority, shown));
    }
}
