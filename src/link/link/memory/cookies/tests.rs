//! Which cookies a link keeps, and to whom it sends them.

use http::HeaderValue;
use proptest::prelude::*;

use super::*;

fn target(url: &str) -> Target {
    Target::parse(url).unwrap()
}

fn set(jar: &Jar, from: &str, cookies: &[&str]) {
    let mut headers = HeaderMap::new();
    for cookie in cookies {
        headers.append(SET_COOKIE, HeaderValue::from_bytes(cookie.as_bytes()).unwrap());
    }
    jar.keep(&headers, &target(from));
}

fn sent(jar: &Jar, to: &str) -> String {
    jar.header(&target(to), None).map(|cookies| cookies.expose().to_owned()).unwrap_or_default()
}

#[test]
fn a_cookie_goes_back_to_the_host_that_set_it_and_to_no_other() {
    let jar = Jar::default();
    set(&jar, "wss://feed.example/v2", &["SRV=one; Path=/; HttpOnly; Secure", "wide=1; Domain=example; Path=/"]);
    assert_eq!(sent(&jar, "wss://feed.example:8443/v3"), "SRV=one; wide=1");
    for other in ["wss://backup.example/", "wss://a.feed.example/", "wss://example/"] {
        assert_eq!(sent(&jar, other), "", "{other}");
    }
    set(&jar, "wss://feed.example/v2", &["other=x; Domain=elsewhere.example", "third=x; Domain=d.feed.example"]);
    assert_eq!(sent(&jar, "wss://feed.example/"), "SRV=one; wide=1");
    assert_eq!(sent(&jar, "wss://elsewhere.example/"), "");
}

#[test]
fn a_server_replaces_and_ends_its_cookies() {
    let jar = Jar::default();
    set(&jar, "ws://h/", &["a=1", "b=2", "a=3"]);
    assert_eq!((sent(&jar, "ws://h/").as_str(), jar.len()), ("a=3; b=2", 2));
    set(&jar, "ws://h/", &["a=; Max-Age=0"]);
    set(&jar, "ws://h/", &["b=; Expires=Thu, 01 Jan 1970 00:00:00 GMT", "c=1; Max-Age=-1"]);
    assert_eq!((sent(&jar, "ws://h/").as_str(), jar.len(), jar.0.lock().order.len()), ("", 0, 0));
    // `Max-Age` counts where both are given, however far it is.
    set(&jar, "ws://h/", &["d=1; Max-Age=99999999999999999999; Expires=Thu, 01 Jan 1970 00:00:00 GMT"]);
    assert_eq!(sent(&jar, "ws://h/"), "d=1");
}

#[test]
fn a_path_bounds_a_cookie_and_the_longest_goes_first() {
    let jar = Jar::default();
    set(&jar, "ws://h/v2/feed", &["own=1", "root=2; Path=/", "deep=3; Path=/v2/feed", "odd=4; Path=v2"]);
    assert_eq!(sent(&jar, "ws://h/v2/feed"), "deep=3; own=1; odd=4; root=2");
    assert_eq!(sent(&jar, "ws://h/v2/feeds"), "own=1; odd=4; root=2");
    assert_eq!(sent(&jar, "ws://h/v20"), "root=2");
}

#[test]
fn a_cookie_that_promises_tls_is_set_and_sent_over_tls_only() {
    let jar = Jar::default();
    for plain in ["ws://h/", "ws://localhost/", "ws://127.0.0.1/"] {
        set(&jar, plain, &["s=1; Secure", "__Secure-a=1", "__Host-b=1; Path=/"]);
        assert_eq!(sent(&jar, plain), "", "{plain}");
        set(&jar, &plain.replace("ws", "wss"), &["s=1; Secure"]);
        assert_eq!(sent(&jar, plain), "", "{plain}");
    }
    set(&jar, "ws://h/", &["s=2", "t=3"]);
    assert_eq!((sent(&jar, "wss://h/").as_str(), sent(&jar, "ws://h/").as_str()), ("s=1; t=3", "t=3"));
    let own = ["__Secure-a=1; Secure", "__Host-b=1; Secure; Path=/"];
    let broken = ["__secure-c=1", "__Host-d=1; Secure", "__Host-e=1; Secure; Path=/; Domain=i", "__host-f=1; Path=/"];
    set(&jar, "wss://i/", &own);
    set(&jar, "wss://i/", &broken);
    assert_eq!(sent(&jar, "wss://i/"), "__Secure-a=1; __Host-b=1");
}

#[test]
fn the_name_that_the_user_has_given_a_cookie_is_not_sent_twice() {
    let jar = Jar::default();
    set(&jar, "ws://h/", &["a=1", "b=2"]);
    let beside = |own: &str| jar.header(&target("ws://h/"), Some(own)).map(|cookies| cookies.expose().to_owned());
    assert_eq!(beside("b=mine; c=3").as_deref(), Some("a=1"));
    assert_eq!(beside(" b = mine;a=x"), None);
    assert_eq!(beside("").as_deref(), Some("a=1; b=2"));
}

#[test]
fn of_a_jar_that_is_full_the_oldest_cookies_go() {
    let jar = Jar::default();
    for number in 0..200 {
        set(&jar, "ws://h/", &[&format!("c{number}=v")]);
    }
    assert_eq!((jar.len(), sent(&jar, "ws://h/").starts_with("c150=v; c151=v; ")), (MOST, true));
    let jar = Jar::default();
    for number in 0..20 {
        set(&jar, "ws://h/", &[&format!("c{number}={}", "x".repeat(3000))]);
    }
    assert_eq!((jar.len(), sent(&jar, "ws://h/").starts_with("c15=x")), (5, true));
    set(&jar, "ws://h/", &[&format!("long={}", "x".repeat(LONGEST)), &format!("a=1; Path=/{}", "x".repeat(LONGEST))]);
    assert!(!sent(&jar, "ws://h/").contains("long") && jar.len() == 5);
}

#[test]
fn what_a_jar_holds_is_not_shown() {
    let memory = crate::link::memory::Memory::default();
    set(&memory.jar, "ws://h/", &["id=hunter2"]);
    let shown = format!("{memory:?} {:?}", memory.jar.header(&target("ws://h/"), None));
    assert_eq!((shown.find("hunter2"), memory.cookies()), (None, 1));
    memory.clear_cookies();
    assert_eq!(memory.cookies(), 0);
}

proptest! {
    /// Whatever servers set, a jar keeps its bounds, and what it sends is one line of pairs.
    #[test]
    fn whatever_servers_set_a_jar_stays_small(
        cookies in proptest::collection::vec("[ -~]{0,40}|[a-c]=[a-z;, ]{0,9}; ?(Path=/?[a-c/]{0,4}|Max-Age=-?[0-9]{0,25}|Domain=[.a-h]{0,3}|Secure|Expires=[ -~]{0,30})", 0..120),
        long in 0..4096_usize,
        host in "(h|10\\.0\\.0\\.1|\\[::1\\])",
        path in "[a-c/]{0,6}",
    ) {
        let jar = Jar::default();
        let url = format!("wss://{host}/{path}");
        for cookie in &cookies {
            set(&jar, &url, &[cookie, &format!("{cookie}; x={}", "y".repeat(long))]);
            let kept = jar.0.lock();
            prop_assert!(kept.order.len() <= MOST && kept.store.iter_any().count() == kept.order.len());
            prop_assert!(kept.order.iter().map(|(_, bytes)| bytes).sum::<usize>() <= MOST_BYTES);
        }
        let sent = sent(&jar, &url);
        prop_assert!(sent.len() <= MOST_BYTES && sent.bytes().all(|byte| matches!(byte, b'\t' | b' '..=b'~')));
    }
}
