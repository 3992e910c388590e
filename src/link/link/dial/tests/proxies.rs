//! Ways through proxies that are well, refuse, or are hostile.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use tokio::io::copy_bidirectional;

use super::{secure::Authority, *};

const THROUGH: &str = "HTTP/1.1 200 Connection established\r\nContent-Length: 5\r\n\r\n";

async fn head(stream: &mut (impl AsyncRead + Unpin)) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.unwrap());
    }
    String::from_utf8(head).unwrap()
}

/// A proxy by CONNECT, for one connection: gives what it was asked, and leads to where that says if it answers so.
async fn connect_proxy(
    authority: Option<&Authority>,
    says: impl Into<String>,
) -> (SocketAddr, tokio::task::JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (acceptor, says) = (authority.map(Authority::acceptor), says.into());
    let task = tokio::spawn(async move {
        let (tcp, _) = listener.accept().await.unwrap();
        match acceptor {
            None => lead(tcp, &says).await,
            Some(acceptor) => lead(acceptor.accept(tcp).await.unwrap(), &says).await,
        }
    });
    (address, task)
}

async fn lead(mut stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static, says: &str) -> String {
    let asked = head(&mut stream).await;
    let _ = stream.write_all(says.as_bytes()).await;
    let _ = stream.flush().await;
    if says == THROUGH {
        let place = asked.split(' ').nth(1).unwrap().to_owned();
        let mut server = TcpStream::connect(place).await.unwrap();
        tokio::spawn(async move { copy_bidirectional(&mut stream, &mut server).await });
    }
    asked
}

#[tokio::test]
async fn connect_leads_to_the_server_and_the_proxy_alone_gets_what_is_for_it() {
    let (server, requests) = serve(vec![GOOD.into()]).await;
    let (proxy, asked) = connect_proxy(None, THROUGH).await;
    let admission = Counted::new(1);
    let toml = format!(
        "url = 'ws://{server}/v2'\nproxy = 'http://al%40ice:o%3Apen@{proxy}'\nheaders = {{ X-Mine = 'a' }}\n\
         proxy_headers = {{ X-Theirs = 'b' }}"
    );
    let (outcome, progress) = dial(&toml, Arc::clone(&admission)).await;
    let established = outcome.unwrap().established;
    assert_eq!((established.address, &*established.url), (Some(proxy), &*format!("ws://{server}/v2")));
    assert_eq!(*admission.asked.lock(), [(vec![proxy], false)], "the proxy's address is what is waited for");
    assert_eq!(*admission.verdicts.lock(), [Some(Verdict::Up)]);
    assert_eq!(progress, [Progress::Resolving, Progress::Admitted, Progress::Tunnelling, Progress::Upgrading]);
    let asked = asked.await.unwrap();
    assert!(
        asked.starts_with(&format!("CONNECT {server} HTTP/1.1\r\nHost: {server}\r\nUser-Agent: wskeeper/")),
        "{asked}"
    );
    let basic = STANDARD.encode("al@ice:o:pen");
    assert!(asked.contains(&format!("Proxy-Authorization: Basic {basic}\r\n")) && asked.contains("X-Theirs: b\r\n"));
    assert!(!asked.contains("X-Mine"), "{asked}");
    let request = requests.await.unwrap().remove(0);
    assert!(request.contains("x-mine: a") && !request.contains("proxy-") && !request.contains("theirs"), "{request}");
}

#[tokio::test]
async fn a_token_in_a_header_of_the_proxy_wins_over_user_and_password() {
    let (server, _requests) = serve(vec![GOOD.into()]).await;
    let (proxy, asked) = connect_proxy(None, THROUGH).await;
    let token = "proxy_headers = { Proxy-Authorization = 'Bearer t0ken' }";
    dial(&format!("url = 'ws://{server}/'\nproxy = 'http://u:p@{proxy}'\n{token}"), Counted::new(1)).await.0.unwrap();
    let asked = asked.await.unwrap();
    assert!(asked.contains("Proxy-Authorization: Bearer t0ken\r\n") && !asked.contains("Basic"), "{asked}");
}

#[tokio::test]
async fn tls_goes_through_a_proxy_with_and_without_tls_of_its_own() {
    let (authority, theirs) = (Authority::new("server"), Authority::new("proxy"));
    for secure in [false, true] {
        for by_tls in [false, true] {
            let (proxy, _asked) = connect_proxy(by_tls.then_some(&theirs), THROUGH).await;
            let (server, scheme) = if secure {
                (authority.serve("127.0.0.1", false).await, "wss")
            } else {
                (serve(vec![GOOD.into()]).await.0, "ws")
            };
            let word = if by_tls { "https" } else { "http" };
            let toml = format!(
                "url = '{scheme}://{server}/'\ntls = {{ ca = '{}' }}\nproxy = '{word}://{proxy}'\nproxy_ca = '{}'",
                authority.file(),
                theirs.file()
            );
            let dialled = dial(&toml, Counted::new(1)).await.0.unwrap();
            assert_eq!(dialled.established.certificates.peer.is_some(), secure);
            assert_eq!(dialled.stream.tcp().unwrap().peer_addr().unwrap(), proxy);
            assert_eq!(matches!(dialled.stream, Transport::Plain(_)), !secure && !by_tls);
        }
    }
    let (proxy, _asked) = connect_proxy(Some(&theirs), THROUGH).await;
    let toml = format!("url = 'ws://h/'\nproxy = 'https://{proxy}'\nproxy_ca = '{}'", authority.file());
    let failure = dial(&toml, Counted::new(1)).await.0.unwrap_err();
    assert_eq!(failure.cause, Cause::Proxy);
    assert!(failure.detail.contains("does not agree on TLS: the server's certificate"), "{}", failure.detail);
}

async fn refused(says: &str, proxy_keys: &str, urls: &str) -> (DialFailure, Option<Verdict>) {
    let (proxy, _asked) = connect_proxy(None, says).await;
    let admission = Counted::new(1);
    let toml = format!("{urls}\nproxy = 'http://al:s3cret@{proxy}'\n{proxy_keys}");
    let failure = dial(&toml, Arc::clone(&admission)).await.0.unwrap_err();
    let verdict = admission.verdicts.lock()[0];
    (failure, verdict)
}

#[tokio::test]
async fn a_refused_connect_is_told_with_its_status_and_what_the_proxy_asks_for() {
    let url = "url = 'wss://feed.example/'";
    let asks = "HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic realm=\"squid\"\r\n\r\n";
    let (failure, verdict) = refused(asks, "", url).await;
    assert_eq!((failure.cause, failure.status, verdict), (Cause::Proxy, Some(407), Some(Verdict::Up)));
    let wanted = "refused CONNECT to feed.example:443 with status 407 Proxy Authentication Required; it asks for Basic realm=\"squid\"";
    assert!(
        failure.detail.ends_with(wanted) && failure.detail.starts_with("the proxy http://127.0.0.1:"),
        "{}",
        failure.detail
    );
    let (failure, verdict) = refused("HTTP/1.1 503 Busy\r\nRetry-After: 7\r\n\r\n", "", url).await;
    let seven = Some(RetryAfter::capped(Duration::from_secs(7), Duration::MAX));
    assert_eq!((failure.status, failure.retry_after, verdict), (Some(503), seven, Some(Verdict::Failing(seven))));
    let urls = "urls = ['wss://a.example/', 'wss://b.example/']";
    let (_, verdict) = refused("HTTP/1.1 502 Bad Gateway\r\n\r\n", "", urls).await;
    assert_eq!(verdict, Some(Verdict::Up), "another of its servers may be there");
    let (failure, _) = refused("HTTP/1.0 403 Forbidden\r\n\r\n", "", url).await;
    assert_eq!((failure.cause, failure.status), (Cause::Proxy, Some(403)));
}

#[tokio::test]
async fn a_hostile_proxy_is_read_so_far_and_no_further_and_shows_no_secret() {
    let url = "url = 'wss://feed.example/'";
    let endless = format!("HTTP/1.1 200 OK\r\nX: {}", "y".repeat(1 << 20));
    let interim = "HTTP/1.1 103 Early\r\n\r\n".repeat(4000);
    let lines = format!("HTTP/1.1 200 OK\r\n{}\r\n", "a: b\r\n".repeat(200));
    let early = format!("{THROUGH}SSH-2.0-x\r\n");
    let echo = |what: &str| format!("HTTP/1.1 407 No\r\nProxy-Authenticate: {what}\r\n\r\n");
    let long = echo(&"z".repeat(4000));
    let encoded = STANDARD.encode("al:s3cret");
    for (says, told) in [
        (endless.as_str(), "answers with a head of more than 16 KiB"),
        (&interim, "answers with a head of more than 16 KiB"),
        (&lines, "answers with more than 100 header lines"),
        (&early, "something behind its answer"),
        ("\u{5}\0", "did not answer by HTTP/1.1"),
        ("SSH-2.0-OpenSSH\r\n\r\n", "did not answer by HTTP/1.1"),
        ("HTTP/1.1 999999 x\r\n\r\n", "did not answer by HTTP/1.1"),
        ("", "closed the connection in place of an answer"),
        (&long, "…"),
        (&echo("Basic realm=\"s3cret\""), "it asks for Basic realm=\"***\""),
        (&echo("Basic realm=\"\u{1b}[2J\""), "did not answer by HTTP/1.1"),
        (&echo(&encoded), "it asks for ***"),
        (&echo("Basic realm=\"\u{e4}\ta\""), "it asks for Basic realm=\"a\""),
    ] {
        // What the proxy still says when nobody listens any more must not reset what it has said.
        let (failure, _) = refused(says, "", url).await;
        assert_eq!(failure.cause, Cause::Proxy, "{}", failure.detail);
        assert!(failure.detail.contains(told), "{told}: {}", failure.detail);
        assert!(failure.detail.len() < 400 && !failure.detail.contains("s3cret"), "{}", failure.detail);
        assert!(!failure.detail.contains(&encoded) && !failure.detail.contains('\u{1b}'), "{}", failure.detail);
    }
}

/// A proxy by SOCKS 5, for one connection: gives what it was asked for, and leads to `server`.
async fn socks_proxy(
    method: u8,
    reply: u8,
    server: Option<SocketAddr>,
) -> (SocketAddr, tokio::task::JoinHandle<Vec<u8>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let task = tokio::spawn(async move {
        let (mut tcp, _) = listener.accept().await.unwrap();
        let mut asked = Vec::new();
        let mut methods = [0; 2];
        tcp.read_exact(&mut methods).await.unwrap();
        tcp.read_exact(&mut vec![0; methods[1].into()]).await.unwrap();
        tcp.write_all(&[5, method]).await.unwrap();
        if method == 2 {
            for _ in 0..2 {
                let length = if asked.is_empty() {
                    tcp.read_u16().await.unwrap() & 0xff
                } else {
                    tcp.read_u8().await.unwrap().into()
                };
                let mut word = vec![0; length.into()];
                tcp.read_exact(&mut word).await.unwrap();
                asked.extend(word);
            }
            tcp.write_all(&[1, u8::from(asked != b"usersecret")]).await.unwrap();
        }
        let mut request = [0; 4];
        if tcp.read_exact(&mut request).await.is_err() {
            return asked;
        }
        let length = match request[3] {
            1 => 6,
            4 => 18,
            _ => usize::from(tcp.read_u8().await.unwrap()) + 2,
        };
        let mut place = vec![0; length];
        tcp.read_exact(&mut place).await.unwrap();
        asked.extend([request[3]].into_iter().chain(place));
        tcp.write_all(&[5, reply, 0, 3, 1, b'x', 0, 80]).await.unwrap();
        if let Some(server) = server.filter(|_| reply == 0) {
            let mut server = TcpStream::connect(server).await.unwrap();
            tokio::spawn(async move { copy_bidirectional(&mut tcp, &mut server).await });
        }
        asked
    });
    (address, task)
}

#[tokio::test]
async fn socks_is_given_a_name_or_an_address_and_user_and_password() {
    let name = |port: u16| [&[3][..], b"localhost", &port.to_be_bytes()].concat();
    let ipv4 = |port: u16| [&[1, 127, 0, 0, 1][..], &port.to_be_bytes()].concat();
    let ipv6 = |port: u16| [&[4][..], &std::net::Ipv6Addr::LOCALHOST.octets(), &port.to_be_bytes()].concat();
    for (word, host, method) in [("socks5h", "localhost", 0), ("socks5h", "127.0.0.1", 2), ("socks5", "localhost", 2)] {
        let (server, _requests) = serve(vec![GOOD.into()]).await;
        let (proxy, asked) = socks_proxy(method, 0, Some(server)).await;
        let port = server.port();
        let toml = format!("url = 'ws://{host}:{port}/'\nproxy = '{word}://user:secret@{proxy}'");
        let dialled = dial(&toml, Counted::new(1)).await.0.unwrap();
        assert_eq!(dialled.established.address, Some(proxy));
        let asked = asked.await.unwrap();
        let asked = asked.strip_prefix(b"usersecret").unwrap_or(&asked);
        if (word, host) == ("socks5h", "localhost") {
            assert_eq!(asked, name(port));
        } else {
            assert!(asked == ipv4(port) || asked == ipv6(port), "{asked:?}");
        }
    }
}

#[tokio::test]
async fn what_a_socks_proxy_says_is_told_in_plain_words() {
    for (method, reply, keys, told, verdict) in [
        (0xff, 0, "", "wants another authentication", Some(Verdict::Up)),
        (2, 0, "", "wants another authentication", Some(Verdict::Up)),
        (2, 0, "user:wrong@", "does not take user and password", Some(Verdict::Up)),
        (0, 1, "", "did not connect: it failed", Some(Verdict::Failing(None))),
        (0, 2, "", "its rules do not allow it", Some(Verdict::Up)),
        (0, 4, "", "the host is not reached", Some(Verdict::Failing(None))),
        (0, 5, "", "the server refused the connection", Some(Verdict::Failing(None))),
        (0, 8, "", "does not take this kind of address", Some(Verdict::Up)),
        (0, 99, "", "a code that SOCKS 5 does not have", Some(Verdict::Up)),
    ] {
        let (proxy, asked) = socks_proxy(method, reply, None).await;
        let admission = Counted::new(1);
        let toml = format!("url = 'ws://feed.example/'\nproxy = 'socks5h://{keys}{proxy}'");
        let failure = dial(&toml, Arc::clone(&admission)).await.0.unwrap_err();
        assert_eq!((failure.cause, failure.status), (Cause::Proxy, None));
        assert!(failure.detail.contains(told) && !failure.detail.contains("wrong"), "{told}: {}", failure.detail);
        assert_eq!(*admission.verdicts.lock(), [verdict], "{told}");
        asked.abort();
    }
    let (web, _asked) = connect_proxy(None, "HTTP/1.1 400 Bad Request\r\n\r\n").await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let other = listener.local_addr().unwrap();
    tokio::spawn(
        async move { listener.accept().await.unwrap().0.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await },
    );
    let failure =
        dial(&format!("url = 'ws://feed.example/'\nproxy = 'socks5h://{other}'"), Counted::new(1)).await.0.unwrap_err();
    assert!(failure.detail.contains("is it an HTTP proxy"), "{}", failure.detail);
    let _ = web;
}

#[tokio::test]
async fn a_name_too_long_for_socks_is_asked_for_nowhere() {
    for last in ["a".repeat(63), format!("{}.aa", "a".repeat(61))] {
        let name = format!("{}{last}", format!("{}.", "a".repeat(63)).repeat(3));
        let is_too_long = name.len() > 255;
        assert_eq!(name.len(), 255 + usize::from(is_too_long));
        let (proxy, asked) = socks_proxy(0, 4, None).await;
        let toml = format!("url = 'ws://{name}/'\nproxy = 'socks5h://{proxy}'");
        let told = dial(&toml, Counted::new(1)).await.0.unwrap_err().detail;
        let wanted = if is_too_long { "has more than 255 bytes" } else { "the host is not reached" };
        assert!(told.contains(wanted), "{told}");
        if is_too_long {
            asked.abort();
        } else {
            let asked = asked.await.unwrap();
            assert_eq!(asked.get(1..256), Some(name.as_bytes()), "it came whole");
        }
    }
}

#[tokio::test]
async fn a_proxy_that_is_not_there_is_what_failed() {
    let (proxy, admission) = (dead().await, Counted::new(1));
    let failure =
        dial(&format!("url = 'wss://h/'\nproxy = 'http://{proxy}'"), Arc::clone(&admission)).await.0.unwrap_err();
    assert_eq!(
        (failure.cause, *admission.verdicts.lock().first().unwrap()),
        (Cause::Proxy, Some(Verdict::Unreachable))
    );
    assert!(failure.detail.starts_with(&format!("the proxy http://{proxy} is not reached: ")), "{}", failure.detail);
    let failure = dial("url = 'wss://h/'\nproxy = 'http://nowhere.invalid:1'", Counted::new(1)).await.0.unwrap_err();
    assert_eq!(failure.cause, Cause::Proxy);
    assert!(failure.detail.starts_with("the proxy http://nowhere.invalid:1 was not resolved: "), "{}", failure.detail);
}
