//! Each sentence is said in a world that makes it true, and not in the one beside it that makes it false.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use super::{advice::advice, explanation, sentences};
use crate::config::{InForce, parse_toml};
use wskeeper_core::{
    close::{Cause, Closed},
    outcome::Row,
    phase::{Phase, ReadyState, Reason},
};
use wskeeper_link::{
    endpoint::Endpoint,
    pool::{AttemptEnd, AttemptView, Explained, LinkView, RequestsView, Traffic},
};

mod offer;

/// The date of all these worlds.
fn now() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_hours(24 * 365 * 30)
}

fn config(keys: &str) -> Endpoint {
    let text = format!("[endpoints.e]\nurl = \"wss://h.example/v1?key=hush\"\n{keys}");
    let config = parse_toml(&text, "test.toml").unwrap().config;
    Endpoint::clone(&config.endpoints["e"])
}

fn down(cause: Cause, code: u16, status: Option<u16>) -> LinkView {
    let closed = Closed {
        code,
        reason: "".into(),
        was_clean: false,
        cause,
        sent_code: None,
        status,
        label: None,
        detail: "".into(),
    };
    LinkView {
        endpoint: Arc::from("e"),
        index: 0,
        phase: Phase::Waiting,
        ready_state: ReadyState::Closed,
        generation: 1,
        url: "wss://h.example/v1".into(),
        protocol: "".into(),
        extensions: "".into(),
        carrier: None,
        buffered_amount: 0,
        queued_messages: 0,
        since: SystemTime::UNIX_EPOCH,
        attempt: 1,
        next_attempt_at: None,
        reason: Reason::Backoff,
        ruling: None,
        rtt: None,
        pongs_refused: 0,
        last_close: Some(Box::new((closed, SystemTime::UNIX_EPOCH))),
        last_inbound_at: None,
        traffic: Traffic::default(),
        rotation: None,
        waits: None,
        away: None,
        paced_until: None,
    }
}

fn told(cause: Cause, code: u16, status: Option<u16>, keys: &str) -> String {
    advice(&sent(down(cause, code, status), 1), &config(keys), None, now()).join("\n")
}

#[test]
fn every_failure_has_its_advice_and_none_shows_a_secret() {
    for cause in Cause::ALL.into_iter().filter(|cause| cause.is_failure()) {
        let told = told(cause, 1006, None, "headers = { Authorization = \"Bearer hush\" }");
        assert!(!told.is_empty(), "{cause}");
        assert!(!told.contains("hush"), "{told}");
    }
    for status in [301, 400, 401, 403, 404, 407, 410, 426, 429, 500, 503] {
        assert!(!told(Cause::Upgrade, 1006, Some(status), "").is_empty(), "{status}");
    }
    for code in [1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 4000, 4401] {
        assert!(!told(Cause::Remote, code, None, "").is_empty(), "{code}");
    }
    for code in [1000, 1001, 1005] {
        assert!(told(Cause::Remote, code, None, "").is_empty(), "an end in order needs no help: {code}");
    }
}

#[test]
fn every_word_for_why_is_explained_in_the_documents() {
    let page = include_str!("../../../docs/troubleshooting.md");
    let words = Reason::ALL.map(Reason::as_str).into_iter().chain(Cause::ALL.map(Cause::as_str));
    let missing: Vec<&str> = words.filter(|word| !page.contains(&format!("`{word}`"))).collect();
    assert!(missing.is_empty(), "docs/troubleshooting.md does not explain {missing:?}");
}

#[test]
fn advice_names_the_setting_with_its_value() {
    assert!(told(Cause::TooBig, 1006, None, "inbox = { max_message = \"2MiB\" }").contains("now 2.0 MiB"));
    let no_room = detailed(Cause::TooBig, "there is no room in memory for the rest of a message");
    let told_of = advice(&no_room, &config(""), None, now()).join(" ");
    assert!(told_of.contains("limits.memory: raise it") && !told_of.contains("now 1.0 MiB"), "{told_of}");
    let (closed, _) = no_room.last_close.as_deref().expect("it ended");
    let ended = sentences::ended(closed);
    assert!(ended.contains("could not be kept") && !ended.contains("larger than"), "{ended}");
    assert!(told(Cause::Remote, 1009, None, "outbox = { max_message = \"64KiB\" }").contains("now 64.0 KiB"));
    let expired = detailed(Cause::Tls, "the server's certificate has expired");
    let told_of = advice(&expired, &config("tls = { server_name = \"inner\" }"), None, now()).join(" ");
    assert!(told_of.contains("inner (tls.server_name)"));
    let keys = "headers = { Authorization = \"Bearer ${env:FEED_TOKEN}\" }";
    assert!(told(Cause::Remote, 4401, None, keys).contains("header Authorization = Bearer ${env:FEED_TOKEN}"));
}

#[test]
fn a_ready_link_gets_no_advice_about_its_past_and_a_paused_one_the_verb_that_wakes_it() {
    let ready = LinkView { phase: Phase::Ready, reason: Reason::Underway, ..down(Cause::Tls, 1006, None) };
    let unproven = LinkView { pongs_refused: 1, ..ready.clone() };
    assert!(advice(&unproven, &config(""), None, now()).join("").contains("outbox.ack"));
    assert_eq!(advice(&ready, &config(""), None, now()), Vec::<String>::new());
    let paused = LinkView { phase: Phase::Paused, reason: Reason::Operator, ..down(Cause::Tls, 1006, None) };
    assert_eq!(advice(&paused, &config(""), None, now()), ["`wskeeper resume e/0` lets it dial again."]);
    let parked = LinkView { phase: Phase::Parked, reason: Reason::Refused, ..down(Cause::Upgrade, 1006, Some(404)) };
    let told = advice(&parked, &config("reconnect = { park_probe = \"7m\" }"), None, now()).join(" ");
    assert!(told.contains("path of wss://h.example/v1") && told.contains("every 7m"), "{told}");
}

/// An endpoint with this URL and these keys.
fn at(url: &str, keys: &str) -> Endpoint {
    let text = format!("[endpoints.e]\nurl = \"{url}\"\n{keys}");
    let config = parse_toml(&text, "test.toml").unwrap().config;
    Endpoint::clone(&config.endpoints["e"])
}

fn detailed(cause: Cause, detail: &str) -> LinkView {
    let mut view = down(cause, 1006, None);
    if let Some(last) = &mut view.last_close {
        last.0.detail = detail.into();
    }
    view
}

fn detailed_at(url: &str, detail: &str) -> LinkView {
    LinkView { url: url.into(), ..detailed(Cause::Upgrade, detail) }
}

fn repeated(view: LinkView, times: u32) -> LinkView {
    LinkView { attempt: times, ruling: Some((Row::Default, times)), ..view }
}

fn sent(view: LinkView, messages: u64) -> LinkView {
    LinkView { traffic: Traffic { sent_messages: messages, ..view.traffic }, ..view }
}

type World = (LinkView, Endpoint);

/// Each sentence is said in a world that makes it true, and not in the one beside it that makes it false.
#[track_caller]
fn hold(sentences: impl IntoIterator<Item = (&'static str, World, World)>) {
    for (sentence, (view, config), (other, beside)) in sentences {
        let said = advice(&view, &config, None, now()).join("\n");
        assert!(said.contains(sentence), "not said: {sentence}\n{said}");
        let said = advice(&other, &beside, None, now()).join("\n");
        assert!(!said.contains(sentence), "untrue: {sentence}\n{said}");
    }
}

fn plain(view: LinkView) -> World {
    (view, at("wss://h.example/v1", ""))
}

fn status(status: u16) -> LinkView {
    down(Cause::Upgrade, 1006, Some(status))
}

fn remote(code: u16) -> LinkView {
    down(Cause::Remote, code, None)
}

#[test]
fn what_is_said_of_credentials_is_true() {
    let refused = |url: &str, keys: &str| (status(401), at(url, keys));
    let bare = || refused("wss://h.example/v1", "");
    let header = "headers = { X-Api-Key = \"k\" }";
    hold([
        ("carries no secret", bare(), refused("wss://u:p@h.example/v1", "")),
        ("carries no secret", bare(), refused("wss://h.example/v1?key=k", "")),
        ("carries no secret", bare(), refused("wss://h.example/v1", header)),
        ("the URL's userinfo", refused("wss://u:p@h.example/v1", ""), bare()),
        ("the URL's query", refused("wss://h.example/?k=v", ""), refused("wss://u@h.example/", "")),
        ("header X-Api-Key", refused("wss://h.example/", header), bare()),
    ]);
}

#[test]
fn what_is_said_of_an_answer_to_the_upgrade_is_true() {
    let upgrade = |detail| plain(detailed(Cause::Upgrade, detail));
    let slow = "timed out while waiting for the answer to the upgrade";
    let ended = "the connection was closed by the server before the upgrade request was answered";
    let long = "the head of the server's answer has more than 100 header lines";
    hold([
        ("does not take a WebSocket upgrade", plain(status(501)), plain(status(503))),
        ("does not take HTTP/1.1", plain(status(505)), plain(status(500))),
        ("does not speak WebSocket", upgrade("the server's 101 is not valid: x"), upgrade(slow)),
        ("does not speak WebSocket", upgrade("the server did not speak HTTP/1.1"), upgrade(long)),
    ]);
    hold([
        ("sends more headers than are read", upgrade(long), upgrade(ended)),
        ("within connect_timeout, now", upgrade(slow), upgrade(ended)),
        ("took TLS and hung up in place of an answer", upgrade(ended), upgrade(slow)),
        (
            "whether the port wants wss",
            (detailed_at("ws://h.example/v1", ended), at("ws://h.example/v1", "")),
            upgrade(ended),
        ),
    ]);
}

fn redirected(detail: &str) -> World {
    let mut view = detailed(Cause::Upgrade, detail);
    if let Some(last) = &mut view.last_close {
        last.0.status = Some(302);
    }
    (view, at("wss://h.example/v1", "redirects = 3"))
}

#[test]
fn what_is_said_of_a_redirect_is_true() {
    let redirects = |rest: &str| redirected(&format!("the server redirects (status 302) {rest}"));
    let limit = || redirects("to wss://b.example/, and no more redirects are allowed");
    let ftp = || redirects("to what cannot be used: the scheme is ftp");
    let away = || redirects("to ws://b.example/, which would give up TLS");
    let nowhere = || redirected("the server answered the upgrade with status 302, not with 101");
    hold([
        ("raise `redirects`, now 3", limit(), nowhere()),
        ("raise `redirects`", limit(), ftp()),
        ("raise `redirects`", limit(), away()),
        ("without TLS", away(), limit()),
        ("no WebSocket can be opened", ftp(), nowhere()),
        ("does not say where to (Location)", nowhere(), limit()),
    ]);
}

#[test]
fn what_failed_behind_a_redirect_is_said_of_where_that_led() {
    let failed = "nothing answers at 127.0.0.1:1; the URL's server had redirected to wss://b.example/t";
    let beyond = |cause| plain(detailed(cause, failed));
    let before = |cause| plain(detailed(cause, "nothing answers"));
    hold([
        ("the server of wss://b.example/t runs", beyond(Cause::Connect), before(Cause::Connect)),
        ("the server of wss://h.example/v1 runs", before(Cause::Connect), beyond(Cause::Connect)),
        ("the host in wss://b.example/t", beyond(Cause::Dns), before(Cause::Dns)),
        ("at wss://b.example/t", beyond(Cause::Upgrade), before(Cause::Upgrade)),
    ]);
}

#[test]
fn what_is_said_of_addresses_and_pins_is_true() {
    let connect = |detail| plain(detailed(Cause::Connect, detail));
    let tls = |detail| plain(detailed(Cause::Tls, detail));
    let denied = "h.example is not dialled: `deny` has 10.0.0.0/8 (10.0.0.1)";
    let from = "1.2.3.4:443: source_address 192.0.2.1 cannot be used here: Cannot assign requested address";
    let pinned = "the server's certificate is none of those in tls.pin: its key is sha256/x=";
    hold([
        ("the endpoint's `deny` has", connect(denied), connect("1.2.3.4:443: refused")),
        ("Set source_address", connect(from), connect(denied)),
        ("runs and listens", connect("1.2.3.4:443: refused"), connect(denied)),
        ("write it into tls.pin", tls(pinned), tls("the server's certificate has expired")),
        ("is checked against", tls("the server's certificate has expired"), tls(pinned)),
    ]);
}

#[test]
fn what_is_said_of_a_way_through_a_proxy_is_true() {
    let through = |status: Option<u16>, keys: &str| told(Cause::Proxy, 1006, status, keys);
    let (bare, known) = ("proxy = 'http://p.example:3128'", "proxy = 'http://u:hush@p.example:3128'");
    for (said, status, keys) in [
        ("asks for authentication", Some(407), bare),
        ("does not take the credentials", Some(407), known),
        ("does not take the credentials", Some(401), known),
        (
            "does not take the credentials",
            Some(407),
            "proxy = 'http://p'\nproxy_headers = { Proxy-Authorization = 'Bearer hush' }",
        ),
        ("SSL_ports", Some(403), bare),
        ("did not reach the server of wss://h.example/v1", Some(503), known),
        ("does not take CONNECT", Some(404), bare),
        ("now http://p.example:3128", None, known),
        ("NO_PROXY", None, "proxy = 'env'"),
    ] {
        let told = through(status, keys);
        assert!(told.contains(said) && !told.contains("hush"), "{told}");
    }
    assert!(!through(Some(407), known).contains("asks for authentication"));
    assert!(!through(Some(503), bare).contains("SSL_ports") && !through(None, bare).contains("did not reach"));
}

#[test]
fn what_is_said_of_a_proxy_and_of_a_reference_is_true() {
    let secret = |detail| plain(detailed(Cause::Secret, detail));
    let missing = "${env:X}: the environment has no variable X: set it for the daemon";
    hold([
        ("headers.Proxy-Authorization", plain(status(407)), plain(status(401))),
        ("headers.Authorization", plain(status(401)), plain(status(407))),
        ("variable exists", secret(missing), secret("the evaluated URL cannot be used: its scheme is htp")),
        ("what it holds is not what it should be", secret("the evaluated header A cannot be sent"), secret(missing)),
    ]);
    let view = secret("the evaluated URL cannot be used: x").0;
    let said = sentences::ended(&view.last_close.unwrap().0);
    assert!(!said.contains("could not be read"), "{said}");
    let view = secret(missing).0;
    assert!(sentences::ended(&view.last_close.unwrap().0).contains("could not be read"));
}

#[test]
fn what_is_said_of_a_connection_that_is_open_is_true() {
    let ready = || LinkView { phase: Phase::Ready, reason: Reason::Underway, ..remote(1000) };
    let policy = config("heartbeat = { timeout = \"2s\" }");
    let long_ago = Some(SystemTime::UNIX_EPOCH);
    let pinged = |unanswered_pings, unanswered_since| {
        let traffic = Traffic { unanswered_pings, unanswered_since, ..Traffic::default() };
        LinkView { traffic, ..ready() }
    };
    let dropped = |ended_after_ping| {
        let traffic = Traffic { ended_after_ping, ..Traffic::default() };
        LinkView { traffic, ..ready() }
    };
    let well = |view: &LinkView| sentences::why(view, false, &policy.link, now());
    for (view, wanted) in [
        (pinged(5, long_ago), "5 pings in a row have had no pong since 1970-01-01T00:00:00.000Z"),
        (LinkView { pongs_refused: 2, ..pinged(5, long_ago) }, "2 pongs came without the payload"),
        (dropped(2), "2 in a row before it ended right after our ping"),
        (repeated(ready(), 30), "30 in a row before it did not last"),
    ] {
        let said = well(&view);
        assert!(said.contains(wanted) && !said.contains("All is well"), "{said}");
        assert!(!advice(&view, &policy, None, now()).is_empty(), "{said}");
    }
    let stable = LinkView { attempt: 0, ..repeated(ready(), 30) };
    let down_before = LinkView { last_close: down(Cause::Connect, 1006, None).last_close, ..repeated(ready(), 30) };
    for view in [ready(), pinged(1, long_ago), pinged(5, Some(now())), dropped(1), stable, down_before] {
        assert_eq!((well(&view).as_str(), advice(&view, &policy, None, now())), ("All is well.", Vec::new()));
    }
    let again = config("outbox = { delivery = \"at_least_once\" }");
    let said = advice(&pinged(5, long_ago), &again, None, now()).join(" ");
    assert!(said.contains("heartbeat.ping = false") && said.contains("outbox.ack") && said.contains("outbox fills"));
    assert!(!advice(&pinged(5, long_ago), &policy, None, now()).join(" ").contains("outbox fills"));
}

#[test]
fn what_is_said_of_tls_is_true() {
    let tls = |detail| plain(detailed(Cause::Tls, detail));
    let slow = "timed out while waiting for the TLS handshake";
    let no_tls = "what the server sent is not TLS: is this a TLS port?";
    let silent = "the server closed the connection in the TLS handshake without a word of TLS";
    let within = "the server closed the connection in the middle of the TLS handshake and did not say why";
    let expired = "the server's certificate has expired";
    let client = "the server demands a client certificate: set one (tls.cert, tls.key)";
    hold(vec![
        ("The certificate is checked against", tls(expired), tls(no_tls)),
        ("The certificate is checked against", tls(expired), tls(slow)),
        ("does not speak TLS", tls(no_tls), tls(expired)),
        ("does not speak TLS", tls(no_tls), tls(silent)),
        ("ws://", tls(no_tls), tls(silent)),
        ("ws://", tls(no_tls), tls(within)),
        ("TLS newer than 1.1", tls(silent), tls(within)),
        ("Set tls.cert and tls.key", tls(client), tls(no_tls)),
        ("within connect_timeout, now", tls(slow), tls(no_tls)),
    ]);
}

#[test]
fn what_is_said_of_what_repeats_is_true() {
    let reset = |times| plain(repeated(down(Cause::Reset, 1006, None), times));
    let busy = |times| plain(repeated(remote(1013), times));
    let in_order = |times| plain(repeated(remote(1000), times));
    let pinged = |times| {
        let view = down(Cause::Reset, 1006, None);
        plain(LinkView { traffic: Traffic { ended_after_ping: times, ..view.traffic }, ..view })
    };
    let no_address = || plain(repeated(down(Cause::Connect, 1006, None), 10));
    hold([
        ("It dials again by itself", reset(1), reset(10)),
        ("10 times in a row", reset(10), reset(2)),
        ("it dials again by itself", busy(1), busy(7)),
        ("closed in order 30 times in a row", in_order(30), in_order(2)),
        ("`urls` takes several", no_address(), plain(repeated(status(400), 10))),
        ("`urls` takes several", plain(repeated(status(503), 10)), plain(repeated(status(503), 9))),
        ("2 times in a row right after our ping", pinged(2), pinged(1)),
    ]);
}

#[test]
fn what_never_opened_failed_and_did_not_end() {
    let ended = |view: LinkView| sentences::ended(&view.last_close.unwrap().0);
    assert_eq!(ended(down(Cause::Connect, 1006, None)), "It failed: no address accepted the connection.");
    assert!(ended(remote(1013)).starts_with("It ended not cleanly, with 1013"));
    let why = |attempt| sentences::why(&LinkView { attempt, ..status(503) }, false, &config("").link, now());
    assert_eq!(why(0), "It waits before it dials again.");
    assert!(why(1).ends_with(", because the last attempt made no connection that lasted."));
    assert!(why(7).ends_with("; 7 attempts in a row made no connection that lasted."));
}

#[test]
fn advice_names_the_url_that_failed_and_not_the_one_that_is_next() {
    let text = "[endpoints.e]\nurls = [\"wss://a.example/\", \"wss://b.example/\"]";
    let config = parse_toml(text, "test.toml").unwrap().config;
    let both = config.endpoints["e"].held.clone();
    let in_force = InForce::new(config.into());
    let failed = AttemptEnd::Failed { cause: Cause::Connect, status: None, detail: "".into() };
    let attempt =
        |url, end| AttemptView { at: SystemTime::UNIX_EPOCH, attempt: 1, url, end, timings: None, then: None };
    let said = |attempts| {
        let view = LinkView { url: "wss://b.example/".into(), ..down(Cause::Connect, 1006, None) };
        let explained = Explained {
            view,
            config: both.clone(),
            outage: None,
            standing: None,
            attempts,
            unconfirmed: 0,
            rejection: None,
            subscriptions: None,
            surplus: None,
            requests: None,
            streams: Vec::new(),
            cookies: None,
            budget: None,
            at: now(),
        };
        explanation(&explained, &in_force, &|_| true).advice.join(" ")
    };
    assert!(said(vec![attempt(0, Some(failed)), attempt(1, None)]).contains("the server of wss://a.example/ runs"));
    assert!(said(Vec::new()).contains("the server of the URL that failed runs"));
}

#[test]
fn requests_that_wait_are_told_what_they_wait_for() {
    let policy = |in_flight| {
        let keys = format!("[endpoints.e.requests]\nid = \"/id\"\nreply = \"/id\"\n{in_flight}");
        config(&keys).link
    };
    let said = |view: &LinkView, waiting, asked, in_flight| {
        sentences::requests(view, RequestsView { waiting, asked }, &policy(in_flight)).unwrap_or_default()
    };
    let lost = down(Cause::Connect, 1006, None);
    let (ready, one) = (LinkView { phase: Phase::Ready, ..lost.clone() }, "in_flight = 1");
    assert_eq!(said(&ready, 0, 3, one), "");
    let told = "2 requests wait for the reply to 1 request before them: requests.in_flight allows no more at once.";
    assert_eq!(said(&ready, 2, 1, one), told);
    assert!(said(&ready, 1, 0, one).starts_with("1 request waits for its turn: what timers of the session ask"));
    assert_eq!(said(&ready, 3, 9, ""), "3 requests wait to be sent, in order.");
    assert_eq!(said(&lost, 1, 0, one), "1 request waits until the link is ready, each as long as its timeout allows.");
}

#[test]
fn what_is_said_of_our_messages_is_true() {
    let spoken = |code| plain(sent(remote(code), 1));
    let silent = |code| plain(remote(code));
    hold([
        ("by a message perhaps", spoken(1008), silent(1008)),
        ("though no message was sent", silent(1008), spoken(1008)),
        ("lower outbox.max_message", spoken(1009), silent(1009)),
        ("compare text and binary", spoken(1003), silent(1003)),
        ("look at what is sent", spoken(1007), silent(1007)),
    ]);
    // What asks for keys, or logs in, is a message too, which no counter of messages has.
    let keys = "[endpoints.e.subscriptions]\nkeys = [\"a\"]\nadd = \"+${key}\"";
    let said = |code| advice(&remote(code), &config(keys), None, now()).join(" ");
    assert!(
        said(1008).contains("subscriptions.per_link") && said(1009).contains("subscriptions.batch"),
        "{}",
        said(1008)
    );
    let login = "[endpoints.e.session]\nopen = [{ send = \"hello\" }]";
    assert!(!advice(&remote(1008), &config(login), None, now()).join(" ").contains("no message was sent"));
}

#[test]
fn nothing_comforts_where_something_can_be_done() {
    for code in 1000..=1015 {
        for status in (300..600).map(Some).chain([None]) {
            let view = repeated(down(if status.is_some() { Cause::Upgrade } else { Cause::Remote }, code, status), 10);
            let said = advice(&view, &at("wss://h.example/v1", ""), None, now()).join("\n");
            assert!(!said.contains("nothing to mend") && !said.to_lowercase().contains("nothing to do"), "{said}");
        }
    }
}
