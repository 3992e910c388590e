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
        let wanted = format!("{host} is not dialled: 127.0.0.2 must not be dialled: `deny` has 127.0.0.2/32");
        assert!(failure.detail.contains(&wanted), "{}", failure.detail);
    }
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
