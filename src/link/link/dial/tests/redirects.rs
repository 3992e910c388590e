//! Where redirects lead, what goes along, and what is said of those that are not followed.

use super::*;
use crate::link::{RedirectTrouble, redirected_to};

#[tokio::test]
async fn a_redirect_is_followed_only_where_allowed() {
    let (address, _server) = serve(vec![redirect("/b?key=k3y")]).await;
    let failure = dial(&format!("url = 'ws://{address}/a'"), Counted::new(1)).await.0.unwrap_err();
    assert_eq!((failure.cause, failure.status), (Cause::Upgrade, Some(307)));
    assert!(failure.detail.contains("/b") && !failure.detail.contains("k3y"), "{}", failure.detail);
}

#[tokio::test]
async fn credentials_go_along_within_an_origin_and_stay_behind_beyond_it() {
    let (there, elsewhere) = serve(vec![GOOD.into()]).await;
    let (here, origin) = serve(vec![redirect("/b#part"), redirect(&format!("http://x:y@{there}/c"))]).await;
    let toml = format!(
        "url = 'ws://al:open@{here}/a'\nredirects = 2\nheaders = {{ x-api-key = '${{env:PATH}}', user-agent = 'me' }}"
    );
    // One place is enough: each hop gives it back before the next asks.
    let established = dial(&toml, Counted::new(1)).await.0.unwrap().established;
    assert_eq!(&*established.url, format!("ws://{there}/c"));
    for request in origin.await.unwrap() {
        assert!(request.contains("authorization: Basic") && request.contains("x-api-key"), "{request}");
    }
    let request = elsewhere.await.unwrap().remove(0);
    assert!(request.starts_with("GET /c ") && request.contains("user-agent: me"), "{request}");
    assert!(!request.contains("authorization") && !request.contains("x-api-key"), "{request}");
}

#[tokio::test]
async fn whatever_is_made_of_a_secret_stays_behind_beyond_the_origin() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "hush").unwrap();
    let hush = format!("${{file:{}}}", file.path().display());
    let (there, elsewhere) = serve(vec![GOOD.into()]).await;
    let (here, origin) = serve(vec![redirect(&format!("ws://{there}/"))]).await;
    let toml = format!(
        "url = 'ws://{here}/'\nredirects = 1\nprotocols_optional = true\nprotocols = ['v2', 'bearer.{hush}', 'v1']\n\
         headers = {{ Authorization = 'Bearer a', Cookie = 'b=c', Proxy-Authorization = 'd', Origin = 'http://{hush}', \
         Accept-Language = 'en', Host = 'e.example' }}"
    );
    dial(&toml, Counted::new(1)).await.0.unwrap();
    let request = origin.await.unwrap().remove(0);
    assert!(request.contains("protocol: v2, bearer.hush, v1") && request.contains("cookie: b=c"), "{request}");
    let request = elsewhere.await.unwrap().remove(0);
    assert!(request.contains("protocol: v2, v1") && request.contains("accept-language: en"), "{request}");
    for left in ["hush", "authorization", "cookie", "origin", "e.example"] {
        assert!(!request.contains(left), "{left}: {request}");
    }
}

#[tokio::test]
async fn endless_redirects_end() {
    let (address, server) = serve(vec![redirect("/again"); 3]).await;
    let toml = format!("url = 'ws://{address}'\nredirects = 2");
    assert_eq!(dial(&toml, Counted::new(1)).await.0.unwrap_err().status, Some(307));
    assert_eq!(server.await.unwrap().len(), 3);
}

/// How an attempt ends whose server answers with this.
async fn ends(answer: &str, redirects: u32) -> DialFailure {
    let (address, _server) = serve(vec![answer.to_owned()]).await;
    let toml = format!("url = 'ws://{address}/a'\nredirects = {redirects}");
    dial(&toml, Counted::new(1)).await.0.unwrap_err()
}

#[tokio::test]
async fn why_a_redirect_is_not_followed_can_be_read_from_what_is_said() {
    let nowhere = "HTTP/1.1 302 Found\r\nContent-Length: 0\r\n\r\n";
    for (answer, redirects, trouble) in [
        (redirect("/b"), 0, RedirectTrouble::TooMany),
        (redirect("ftp://h.example/"), 3, RedirectTrouble::Unusable),
        (redirect("ws://[::1"), 3, RedirectTrouble::Unusable),
        (nowhere.into(), 3, RedirectTrouble::Nowhere),
        (nowhere.replace("302", "304"), 3, RedirectTrouble::Nowhere),
    ] {
        let failure = ends(&answer, redirects).await;
        assert!(failure.cause == Cause::Upgrade && failure.status.is_some());
        assert_eq!(RedirectTrouble::of(&failure.detail), trouble, "{}", failure.detail);
        assert_eq!(redirected_to(&failure.detail), None);
    }
}

#[tokio::test]
async fn what_fails_behind_a_redirect_names_where_that_led_without_its_secrets() {
    let failure = ends(&redirect("ws://al:open@127.0.0.1:1/t?key=k3y"), 1).await;
    assert_eq!(failure.cause, Cause::Connect);
    assert_eq!(redirected_to(&failure.detail), Some("ws://127.0.0.1:1/t"), "{}", failure.detail);
    assert!(!failure.detail.contains("open") && !failure.detail.contains("k3y"), "{}", failure.detail);
}
