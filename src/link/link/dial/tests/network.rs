//! Where dials come from, where they may not go, and what stands for a look-up.

use super::*;

#[tokio::test]
async fn a_dial_comes_from_the_address_that_is_written() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let seen = tokio::spawn(async move {
        let (stream, from) = listener.accept().await.unwrap();
        answer(stream, GOOD).await;
        from.ip().to_string()
    });
    let toml = format!("url = 'ws://{address}/'\nsource_address = '127.0.0.9'");
    dial(&toml, Counted::new(1)).await.0.unwrap();
    assert_eq!(seen.await.unwrap(), "127.0.0.9");
    // An address for documentation, which no machine has.
    let toml = format!("url = 'ws://{address}/'\nsource_address = '192.0.2.1'");
    let admission = Counted::new(1);
    let failure = dial(&toml, Arc::clone(&admission)).await.0.unwrap_err();
    assert!(failure.detail.contains("source_address 192.0.2.1 cannot be used here"), "{}", failure.detail);
    assert_eq!(
        (failure.cause, *admission.verdicts.lock().first().unwrap()),
        (Cause::Connect, None),
        "it says nothing of the server"
    );
}

#[tokio::test]
async fn where_no_server_may_be_none_is_dialled_whatever_a_name_or_a_redirect_says() {
    let (here, _server) = serve(vec![redirect("ws://127.0.0.2:9/")]).await;
    let deny = "deny = ['127.0.0.2/32', '::1/128']";
    for (url, keys, host) in [
        ("ws://127.0.0.2:9/".to_owned(), "", "127.0.0.2"),
        ("ws://feed.invalid:9/".to_owned(), "resolve = { 'feed.invalid:9' = '127.0.0.2' }", "feed.invalid"),
        (format!("ws://{here}/"), "redirects = 1", "127.0.0.2"),
        ("ws://127.0.0.2:9/".to_owned(), "proxy = 'http://PROXY'", "127.0.0.2"),
    ] {
        // A proxy that takes the connection, and is not asked.
        let proxy = TcpListener::bind("127.0.0.2:0").await.unwrap();
        let keys = keys.replace("PROXY", &proxy.local_addr().unwrap().to_string());
        let admission = Counted::new(1);
        let failure = dial(&format!("url = '{url}'\n{deny}\n{keys}"), admission).await.0.unwrap_err();
        assert_eq!(failure.cause, Cause::Connect, "{}", failure.detail);
        let wanted = format!("{host} is not dialled: `deny` has 127.0.0.2/32 (127.0.0.2)");
        assert!(failure.detail.contains(&wanted), "{}", failure.detail);
    }
}

#[tokio::test]
async fn the_unspecified_address_leads_to_this_machine_and_is_denied_with_it() {
    let listener = TcpListener::bind("0.0.0.0:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    for (url, deny, shown) in [
        (format!("ws://0.0.0.0:{port}/"), "127.0.0.0/8", "`deny` has 127.0.0.0/8 (0.0.0.0)"),
        (format!("ws://[::]:{port}/"), "::1/128", "`deny` has ::1/128 (::)"),
        (format!("ws://0.0.0.0:{port}/"), "0.0.0.0/32", "`deny` has 0.0.0.0/32 (0.0.0.0)"),
    ] {
        let toml = format!("url = '{url}'\ndeny = ['{deny}']");
        let failure = dial(&toml, Counted::new(1)).await.0.unwrap_err();
        assert!(failure.cause == Cause::Connect && failure.detail.contains(shown), "{}", failure.detail);
    }
    // What comes is hung up on at once.
    let dialled = tokio::spawn(async move { listener.accept().await.map(drop) });
    tokio::task::yield_now().await;
    assert!(!dialled.is_finished(), "nothing was dialled");
    // It is there, where nothing denies it.
    let toml = format!("url = 'ws://0.0.0.0:{port}/'\ndeny = ['10.0.0.0/8']");
    let (failed, accepted) = tokio::join!(dial(&toml, Counted::new(1)), dialled);
    accepted.unwrap().unwrap();
    assert!(failed.0.is_err(), "it is no WebSocket server");
}

#[tokio::test]
async fn a_server_on_a_unix_socket_is_dialled_there_and_its_redirects_stay_there() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.sock");
    let listener = tokio::net::UnixListener::bind(&path).unwrap();
    let requests = tokio::spawn(async move {
        let mut requests = Vec::new();
        for says in [redirect("/b"), GOOD.to_owned(), redirect("ws+unix:///run/other.sock:/")] {
            requests.push(answer(listener.accept().await.unwrap().0, &says).await);
        }
        requests
    });
    let toml = format!("url = 'ws+unix://{}:/a?k=v'\nredirects = 1\nproxy = 'http://127.0.0.1:9'", path.display());
    let admission = Counted::new(1);
    let dialled = dial(&toml, Arc::clone(&admission)).await.0.unwrap();
    assert_eq!(&*dialled.established.url, format!("ws+unix://{}:/b", path.display()));
    assert!(dialled.established.address.is_none() && matches!(dialled.stream, Transport::Unix(_)));
    let asked: Vec<_> = admission.asked.lock().clone();
    assert!(asked.len() == 2 && asked[0] == asked[1], "the socket is what is waited for: {asked:?}");
    let failure = dial(&toml, Counted::new(1)).await.0.unwrap_err();
    assert!(failure.detail.contains("to a unix socket, which a server cannot name"), "{}", failure.detail);
    let requests = requests.await.unwrap();
    assert!(
        requests[0].starts_with("GET /a?k=v HTTP/1.1") && requests[0].contains("host: localhost\r\n"),
        "{requests:?}"
    );
    assert!(requests[1].starts_with("GET /b HTTP/1.1"), "{requests:?}");
    std::fs::remove_file(&path).unwrap();
    let admission = Counted::new(1);
    let failure = dial(&toml, Arc::clone(&admission)).await.0.unwrap_err();
    assert_eq!((failure.cause, admission.verdicts.lock()[0]), (Cause::Connect, Some(Verdict::Unreachable)));
}

#[tokio::test]
async fn an_address_that_is_written_stands_for_the_look_up_and_the_name_for_all_else() {
    let (server, requests) = serve(vec![GOOD.into()]).await;
    let toml =
        format!("url = 'ws://feed.invalid:{0}/'\nresolve = {{ 'feed.invalid:{0}' = '127.0.0.1' }}", server.port());
    let established = dial(&toml, Counted::new(1)).await.0.unwrap().established;
    assert_eq!(established.address, Some(server));
    let request = requests.await.unwrap().remove(0);
    assert!(request.contains(&format!("host: feed.invalid:{}", server.port())), "{request}");
}
