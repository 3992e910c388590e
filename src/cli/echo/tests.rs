//! The echo peer, met by a tungstenite client over loopback.

use futures_util::{SinkExt, StreamExt};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::mpsc,
    time::timeout,
};
use tokio_tungstenite::{
    WebSocketStream, client_async,
    tungstenite::{
        Error, Message,
        client::IntoClientRequest,
        error::ProtocolError,
        protocol::{CloseFrame, frame::coding::CloseCode},
    },
};

use super::*;

const SOON: Duration = Duration::from_secs(5);

async fn start(faults: Faults) -> (Peer, mpsc::Receiver<Fact>) {
    let (tell, told) = mpsc::channel(100);
    let tell = Arc::new(move |fact| drop(tell.try_send(fact)));
    (Peer::start("127.0.0.1:0", faults, tell).await.unwrap(), told)
}

async fn join(peer: &Peer) -> Result<WebSocketStream<TcpStream>, Error> {
    let stream = TcpStream::connect(peer.address()).await.unwrap();
    client_async(peer.url(), stream).await.map(|(socket, _)| socket)
}

async fn next(socket: &mut WebSocketStream<TcpStream>) -> Result<Message, Error> {
    timeout(SOON, socket.next()).await.expect("in time").expect("something")
}

fn is_reset(error: &Error) -> bool {
    matches!(error, Error::Io(error) if error.kind() == io::ErrorKind::ConnectionReset)
        || matches!(error, Error::Protocol(ProtocolError::ResetWithoutClosingHandshake))
}

#[tokio::test]
async fn text_and_binary_come_back_byte_for_byte_and_pings_are_answered() {
    let (peer, _told) = start(Faults::default()).await;
    let mut socket = join(&peer).await.unwrap();
    for message in
        [Message::text("grüße"), Message::text(""), Message::binary(vec![0, 255, 7]), Message::binary(vec![1; 70_000])]
    {
        socket.send(message.clone()).await.unwrap();
        assert_eq!(next(&mut socket).await.unwrap(), message);
    }
    socket.send(Message::Ping("nonce".into())).await.unwrap();
    assert_eq!(next(&mut socket).await.unwrap(), Message::Pong("nonce".into()));
}

#[tokio::test]
async fn a_close_is_answered_and_told() {
    let (peer, mut told) = start(Faults::default()).await;
    let mut socket = join(&peer).await.unwrap();
    let frame = CloseFrame { code: CloseCode::Library(4000), reason: "enough".into() };
    socket.close(Some(frame.clone())).await.unwrap();
    assert_eq!(next(&mut socket).await.unwrap(), Message::Close(Some(frame)));
    assert!(matches!(told.recv().await.unwrap().what, What::Opened { protocol: None, compression: None, .. }));
    assert_eq!(told.recv().await.unwrap().what, What::Ended { code: 4000, echoed: 0 });
}

#[tokio::test]
async fn a_client_that_breaks_a_rule_is_told_by_a_close() {
    let bad_text = [0x81, 0x81, 0, 0, 0, 0, 0xFF];
    let unmasked = [0x81, 0x01, b'x'];
    let reserved = [0xA1, 0x81, 0, 0, 0, 0, b'x'];
    let corrupt = [0xC1, 0x82, 0, 0, 0, 0, 0xFF, 0xFF];
    for compression in [false, true] {
        let (peer, _told) = start(Faults { compression, ..Faults::default() }).await;
        let corrupt = (&corrupt[..], if compression { 1007 } else { 1002 });
        for (sent, code) in [(&bad_text[..], 1007), (&unmasked, 1002), (&reserved, 1002), corrupt] {
            let mut stream = TcpStream::connect(peer.address()).await.unwrap();
            let head = format!(
                "GET / HTTP/1.1\r\nHost: {}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
                 Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Extensions: permessage-deflate\r\n\r\n",
                peer.address()
            );
            stream.write_all(head.as_bytes()).await.unwrap();
            let mut answer = Vec::new();
            while !answer.ends_with(b"\r\n\r\n") {
                answer.push(stream.read_u8().await.unwrap());
            }
            stream.write_all(sent).await.unwrap();
            let mut said = Vec::new();
            stream.shutdown().await.unwrap();
            timeout(SOON, stream.read_to_end(&mut said)).await.expect("in time").unwrap();
            let told = said.get(2..4).map(|code| u16::from_be_bytes([code[0], code[1]]));
            assert_eq!((said.first(), told), (Some(&0x88), Some(code)), "{sent:x?} {compression}: {said:x?}");
        }
    }
}

#[tokio::test]
async fn a_drop_is_a_reset() {
    let (peer, _told) = start(Faults { drop_every: Some(Duration::from_millis(50)), ..Faults::default() }).await;
    let mut socket = join(&peer).await.unwrap();
    let error = next(&mut socket).await.unwrap_err();
    assert!(is_reset(&error), "{error:?}");
}

#[tokio::test]
async fn it_closes_with_the_code_asked_for_after_the_time_asked_for() {
    let closing = |code| Some(Closing { code, reason: String::new(), after: Duration::from_millis(20) });
    for code in [1000, 1001, 1011, 1012, 1013, 3000, 4401] {
        let (peer, _told) = start(Faults { close: closing(code), ..Faults::default() }).await;
        let mut socket = join(&peer).await.unwrap();
        let Message::Close(Some(frame)) = next(&mut socket).await.unwrap() else { panic!("no close frame") };
        assert_eq!(u16::from(frame.code), code);
    }
    let (peer, _told) = start(Faults { close: closing(1005), ..Faults::default() }).await;
    assert_eq!(next(&mut join(&peer).await.unwrap()).await.unwrap(), Message::Close(None));
}

#[tokio::test]
async fn code_1006_ends_tcp_without_a_close_frame() {
    let close = Some(Closing { code: 1006, reason: String::new(), after: Duration::ZERO });
    let (peer, _told) = start(Faults { close, ..Faults::default() }).await;
    let error = next(&mut join(&peer).await.unwrap()).await.unwrap_err();
    assert!(matches!(error, Error::Protocol(ProtocolError::ResetWithoutClosingHandshake)), "{error:?}");
}

#[tokio::test]
async fn a_refusal_is_a_proper_http_answer() {
    let refusal = Refusal { status: 503, retry_after: Some(2) };
    let refuse = Some(Refusing { refusal, lasting: None, every: None });
    let (peer, mut told) = start(Faults { refuse, ..Faults::default() }).await;
    let Err(Error::Http(response)) = join(&peer).await else { panic!("not refused") };
    assert_eq!(response.status(), 503);
    assert_eq!(response.headers()["retry-after"], "2");
    assert_eq!(response.headers()["content-length"], "19");
    assert_eq!(told.recv().await.unwrap().what, What::Refused { status: 503, retry_after: Some(2) });
}

#[tokio::test]
async fn a_half_open_peer_takes_everything_and_says_nothing() {
    let (peer, mut told) = start(Faults { half_open: true, ..Faults::default() }).await;
    let mut socket = join(&peer).await.unwrap();
    // More than the kernel's buffers hold: it can only be written if the peer reads.
    timeout(SOON, socket.send(Message::binary(vec![0; 12 << 20]))).await.expect("it reads").unwrap();
    told.recv().await.unwrap();
    assert_eq!(told.recv().await.unwrap().what, What::Silent);
    drop(socket);
    assert_eq!(told.recv().await.unwrap().what, What::Ended { code: 1006, echoed: 0 });
}

#[tokio::test]
async fn a_stalled_peer_stops_reading() {
    let (peer, mut told) = start(Faults { stall: Some(Duration::ZERO), ..Faults::default() }).await;
    let mut socket = join(&peer).await.unwrap();
    told.recv().await.unwrap();
    assert_eq!(told.recv().await.unwrap().what, What::Stalled);
    let written = timeout(Duration::from_millis(300), socket.send(Message::binary(vec![0; 32 << 20]))).await;
    assert!(written.is_err(), "somebody read 32 MiB");
}

#[tokio::test]
async fn a_stalled_peer_notices_that_the_client_has_gone() {
    let (peer, mut told) = start(Faults { stall: Some(Duration::ZERO), ..Faults::default() }).await;
    let socket = join(&peer).await.unwrap();
    told.recv().await.unwrap();
    told.recv().await.unwrap();
    drop(socket);
    let fact = timeout(SOON, told.recv()).await.expect("in time").unwrap();
    assert_eq!(fact.what, What::Ended { code: 1006, echoed: 0 });
}

#[tokio::test]
async fn a_subprotocol_is_chosen_where_offered_and_demanded_where_not() {
    let (peer, _told) = start(Faults { subprotocol: Some("mqtt".into()), ..Faults::default() }).await;
    let Err(Error::Http(response)) = join(&peer).await else { panic!("not refused") };
    assert_eq!(response.status(), 400);
    let mut request = peer.url().into_client_request().unwrap();
    request.headers_mut().insert("Sec-WebSocket-Protocol", "soap, mqtt".parse().unwrap());
    let (_socket, response) = client_async(request, TcpStream::connect(peer.address()).await.unwrap()).await.unwrap();
    assert_eq!(response.headers()["sec-websocket-protocol"], "mqtt");
}

#[tokio::test]
async fn garbage_instead_of_an_upgrade_disturbs_nobody() {
    let (peer, mut told) = start(Faults::default()).await;
    let mut stream = TcpStream::connect(peer.address()).await.unwrap();
    stream.write_all(b"\x16\x03\x01 not http\r\n\r\n").await.unwrap();
    let _ = stream.read_to_end(&mut Vec::new()).await;
    assert!(matches!(told.recv().await.unwrap().what, What::Failed(_)));
    assert!(join(&peer).await.is_ok());
}

#[test]
fn a_refusal_has_its_periods() {
    let refusal = Refusal { status: 503, retry_after: None };
    let refusing = |lasting: Option<u64>, every: Option<u64>| Refusing {
        refusal,
        lasting: lasting.map(Duration::from_secs),
        every: every.map(Duration::from_secs),
    };
    let at = |refusing: Refusing, seconds| refusing.at(Duration::from_secs(seconds)).is_some();
    assert!(at(refusing(None, None), 1000));
    assert!(at(refusing(Some(5), None), 4) && !at(refusing(Some(5), None), 5));
    let periodic = refusing(Some(5), Some(20));
    assert!(at(periodic, 0) && !at(periodic, 19) && at(periodic, 24) && !at(periodic, 25));
}

#[test]
fn a_refusal_is_written_as_a_status_with_seconds() {
    assert_eq!("503".parse(), Ok(Refusal { status: 503, retry_after: None }));
    assert_eq!("429:7".parse(), Ok(Refusal { status: 429, retry_after: Some(7) }));
    for bad in ["", "abc", "200", "600", "503:x"] {
        assert!(bad.parse::<Refusal>().is_err(), "{bad}");
    }
}
