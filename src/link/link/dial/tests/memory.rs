//! What a link remembers of servers: cookies that go back, and challenges that are answered.

use super::*;
use crate::link::memory::{ASKED, REFUSED, UNKNOWN};

/// A link that dials again and again.
struct World(Arc<Endpoint>, Mutex<Option<Arc<Memory>>>);

impl Source for World {
    fn endpoint(&self) -> Arc<Endpoint> {
        Arc::clone(&self.0)
    }

    fn memory(&self, _: u32, begin: bool) -> Option<Arc<Memory>> {
        let mut memory = self.1.lock();
        if begin { Some(Arc::clone(memory.get_or_insert_default())) } else { memory.clone() }
    }
}

fn world(toml: &str) -> Arc<World> {
    Arc::new(World(endpoint(toml), Mutex::default()))
}

async fn attempt(world: &Arc<World>) -> Result<Dialled<Transport>, DialFailure> {
    let dialer = Dialer::new(id(), Arc::clone(world) as _, Counted::new(1));
    dialer.dial(first(), None, Box::new(|_| {})).await
}

/// A 401 that would take MD5, or SHA-256.
fn challenge(nonce: &str, rest: &str) -> String {
    let digest = |nonce: &str, algorithm: &str| {
        format!(
            "WWW-Authenticate: Digest realm=\"r\", nonce=\"{nonce}\", qop=\"auth\", algorithm={algorithm}{rest}\r\n"
        )
    };
    let (md5, sha) = (digest("weak", "MD5"), digest(nonce, "SHA-256"));
    format!("HTTP/1.1 401 Unauthorized\r\n{md5}{sha}Content-Length: 0\r\n\r\n")
}

fn authorization(request: &str) -> Option<&str> {
    request.lines().find_map(|line| line.strip_prefix("authorization: "))
}

fn cookie(request: &str) -> Option<&str> {
    request.lines().find_map(|line| line.strip_prefix("cookie: "))
}

const DIGEST: &str = "digest = { user = 'al', password = 'hunter2' }";

#[tokio::test]
async fn a_cookie_of_a_refusal_or_a_101_goes_back_with_the_next_upgrade() {
    let refusal = "HTTP/1.1 503 No\r\nSet-Cookie: SRV=one\r\n\r\n".to_owned();
    let moved = GOOD.replace("Upgrade: websocket", "Upgrade: websocket\r\nSet-Cookie: SRV=two");
    for (keys, sent) in [("cookies = true", [None, Some("SRV=one"), Some("SRV=two")]), ("", [None; 3])] {
        let (address, server) = serve(vec![refusal.clone(), moved.clone(), GOOD.into()]).await;
        let world = world(&format!("url = 'ws://{address}/'\n{keys}"));
        let failure = attempt(&world).await.unwrap_err();
        assert!(!failure.detail.contains("SRV"), "{}", failure.detail);
        attempt(&world).await.unwrap();
        attempt(&world).await.unwrap();
        let requests = server.await.unwrap();
        assert_eq!(requests.iter().map(|request| cookie(request)).collect::<Vec<_>>(), sent, "{keys}");
        assert_eq!(world.1.lock().is_some(), !keys.is_empty(), "nothing is remembered unasked");
    }
}

#[tokio::test]
async fn cookies_go_along_a_redirect_to_the_host_that_set_them_only() {
    let (there, elsewhere) = serve(vec![GOOD.into()]).await;
    let elsewhere_url = format!("ws://localhost:{}/", there.port());
    let set = |to: &str| redirect(to).replace("\r\n\r\n", "\r\nSet-Cookie: id=s3cret; Path=/\r\n\r\n");
    let (here, origin) = serve(vec![set("/b"), set(&elsewhere_url)]).await;
    let world = world(&format!("url = 'ws://{here}/a'\nredirects = 2\ncookies = true"));
    attempt(&world).await.unwrap();
    let requests = origin.await.unwrap();
    assert_eq!((cookie(&requests[0]), cookie(&requests[1])), (None, Some("id=s3cret")));
    assert_eq!(cookie(&elsewhere.await.unwrap()[0]), None);
}

#[tokio::test]
async fn a_challenge_is_answered_at_once_and_the_next_attempt_is_not_asked() {
    let answers = vec![challenge("one", ""), GOOD.into(), GOOD.into(), challenge("two", ""), GOOD.into()];
    let (address, server) = serve(answers).await;
    let world = world(&format!("url = 'ws://{address}/v2?k=v'\n{DIGEST}"));
    for _ in 0..3 {
        attempt(&world).await.unwrap();
    }
    let requests = server.await.unwrap();
    let answers: Vec<&str> = requests.iter().map(|request| authorization(request).unwrap_or_default()).collect();
    assert_eq!(answers[0], "", "nothing goes before it is asked for");
    for (answer, nonce, count) in
        [(answers[1], "one", 1), (answers[2], "one", 2), (answers[3], "one", 3), (answers[4], "two", 1)]
    {
        for part in
            [format!("nonce=\"{nonce}\""), format!("nc=0000000{count}"), "SHA-256".into(), "uri=\"/v2?k=v\"".into()]
        {
            assert!(answer.contains(&part) && !answer.contains("hunter2"), "{part}: {answer}");
        }
    }
}

#[tokio::test]
async fn a_password_that_is_refused_is_not_tried_again_within_the_attempt() {
    let (address, server) = serve(vec![challenge("one", ""), challenge("two", "")]).await;
    let world = world(&format!("url = 'ws://{address}/'\n{DIGEST}"));
    let failure = attempt(&world).await.unwrap_err();
    assert_eq!((failure.cause, failure.status), (Cause::Upgrade, Some(401)));
    assert!(failure.detail.ends_with(REFUSED), "{}", failure.detail);
    assert_eq!(server.await.unwrap().len(), 2);
    assert!(world.1.lock().as_ref().unwrap().challenge.lock().is_none(), "the next one begins anew");
}

#[tokio::test]
async fn a_nonce_that_is_stale_is_renewed_once_and_never_in_a_circle() {
    let stale = || challenge("next", ", stale=true");
    let (address, server) = serve(vec![challenge("one", ""), stale(), GOOD.into(), stale(), stale(), stale()]).await;
    let world = world(&format!("url = 'ws://{address}/'\n{DIGEST}"));
    attempt(&world).await.unwrap();
    assert_eq!(attempt(&world).await.unwrap_err().status, Some(401));
    assert_eq!(server.await.unwrap().len(), 6);
}

#[tokio::test]
async fn userinfo_is_basic_until_the_server_asks_for_digest() {
    let (address, server) = serve(vec![challenge("one", ""), GOOD.into(), GOOD.into()]).await;
    let world = world(&format!("url = 'ws://al:o%3Apen@{address}/'"));
    attempt(&world).await.unwrap();
    attempt(&world).await.unwrap();
    let requests = server.await.unwrap();
    assert_eq!(authorization(&requests[0]), Some("Basic YWw6bzpwZW4="));
    for request in &requests[1..] {
        let answer = authorization(request).unwrap();
        assert!(answer.starts_with("Digest username=\"al\"") && answer.contains("nonce=\"one\""), "{answer}");
    }
}

#[tokio::test]
async fn a_challenge_that_cannot_be_answered_is_a_401_that_says_so() {
    let basic = "HTTP/1.1 401 No\r\nWWW-Authenticate: Basic realm=\"r\"\r\n\r\n".to_owned();
    let unknown =
        "HTTP/1.1 401 No\r\nWWW-Authenticate: Digest realm=\"r\", nonce=\"n\", algorithm=X\r\n\r\n".to_owned();
    let bearer = "headers = { Authorization = 'Bearer t' }";
    for (keys, answer, told) in [
        ("", challenge("one", ""), ASKED),
        (bearer, challenge("one", ""), ASKED),
        (DIGEST, unknown, UNKNOWN),
        (DIGEST, basic, "not with 101"),
    ] {
        let (address, server) = serve(vec![answer]).await;
        let failure = attempt(&world(&format!("url = 'ws://{address}/'\n{keys}"))).await.unwrap_err();
        assert!(failure.status == Some(401) && failure.detail.ends_with(told), "{}", failure.detail);
        let bearer = (keys == bearer).then_some("Bearer t");
        assert_eq!(authorization(&server.await.unwrap()[0]), bearer);
    }
}

#[tokio::test]
async fn an_answer_goes_along_within_an_origin_and_stays_behind_beyond_it() {
    let (there, elsewhere) = serve(vec![challenge("theirs", "")]).await;
    let (here, origin) = serve(vec![challenge("one", ""), redirect("/b"), redirect(&format!("ws://{there}/"))]).await;
    let world = world(&format!("url = 'ws://{here}/a'\nredirects = 2\n{DIGEST}"));
    let failure = attempt(&world).await.unwrap_err();
    assert!(failure.status == Some(401) && failure.detail.contains(ASKED), "{}", failure.detail);
    let requests = origin.await.unwrap();
    assert!(authorization(&requests[2]).is_some_and(|answer| answer.contains("uri=\"/b\"")), "{}", requests[2]);
    assert_eq!(authorization(&elsewhere.await.unwrap()[0]), None);
}

#[tokio::test]
async fn what_a_refusal_quotes_of_cookies_and_answers_is_not_kept() {
    let set = "HTTP/1.1 503 No\r\nSet-Cookie: id=s3cret-cookie\r\nContent-Length: 0\r\n\r\n".to_owned();
    // It replaces what it quotes.
    let quote = "HTTP/1.1 503 No\r\nSet-Cookie: id=another-one\r\nX-Was: s3cret-cookie\r\nContent-Length: 17\r\n\r\nit: s3cret-cookie";
    let (address, server) = serve(vec![set, quote.to_owned()]).await;
    let world = world(&format!("url = 'ws://{address}/'\ncookies = true"));
    for _ in 0..2 {
        let failure = format!("{:?}", attempt(&world).await.unwrap_err());
        assert!(!failure.contains("s3cret") && !failure.contains("another-one"), "{failure}");
    }
    assert_eq!(cookie(&server.await.unwrap()[1]), Some("id=s3cret-cookie"));
}
