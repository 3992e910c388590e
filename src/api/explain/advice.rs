//! What would help: for each cause, code and status what a person can do, with the names of the settings concerned.
//!
//! It is written for somebody who was woken: what to look at, what to type. It shows where a secret comes from, never the
//! secret. A ready link gets no advice about its past.

use std::time::SystemTime;

use super::ends::{about_end, is_of_the_server};
use crate::{
    config::Endpoint,
    core::phase::{Phase, Reason},
    observe::words,
    pool::{LinkView, StandingView},
};

/// Sentences, the most likely help first.
pub(super) fn advice(view: &LinkView, config: &Endpoint, standing: Option<&StandingView>) -> Vec<String> {
    let mut advice = Vec::new();
    if view.phase == Phase::Ready {
        advice.extend(about_pongs(view));
        return advice;
    }
    let stopped_by_hand = view.reason == Reason::Operator && view.phase == Phase::Paused;
    let closed = view.last_close.as_deref().map(|(closed, _)| closed).filter(|_| !stopped_by_hand);
    if let Some(closed) = closed {
        advice.extend(about_pings(view, config));
        advice.extend(about_end(view, closed, config));
    }
    advice.extend(about_phase(view, config));
    advice.extend(standing.map(about_admission));
    let another_may_help = closed.is_some_and(is_of_the_server);
    if another_may_help && !closed_for_good(view) && config.urls.len() == 1 && view.attempt >= 10 {
        advice.push("It has one URL only; `urls` takes several, and the next is tried when one fails.".into());
    }
    advice
}

fn about_pongs(view: &LinkView) -> Option<String> {
    (view.pongs_refused > 0).then(|| {
        "The peer, or something between, must answer a ping with its payload (RFC 6455 §5.5.3). Until it does, let its application \
         acknowledge messages (outbox.ack), or do without a proof: delivery = \"at_most_once\"."
            .into()
    })
}

fn closed_for_good(view: &LinkView) -> bool {
    matches!(view.phase, Phase::Paused | Phase::Parked)
}

fn name(view: &LinkView) -> String {
    format!("{}/{}", view.endpoint, view.index)
}

/// Twice may be chance, but costs little to be told.
fn about_pings(view: &LinkView, config: &Endpoint) -> Option<String> {
    let times = view.traffic.ended_after_ping;
    (times >= 2).then(|| {
        format!(
            "It ended {times} times in a row right after our ping, which was not answered: some peers hang up on pings. It pings \
             after {} of silence (heartbeat.idle); heartbeat.ping = false sends none.",
            words::span(config.link.heartbeat.idle)
        )
    })
}

fn about_phase(view: &LinkView, config: &Endpoint) -> Option<String> {
    let name = name(view);
    let probe = words::span(config.link.park_probe);
    match view.reason {
        Reason::Operator | Reason::StayClosed if view.phase == Phase::Paused => {
            Some(format!("`wskeeper resume {name}` lets it dial again."))
        }
        Reason::Unauthorized | Reason::Refused => Some(format!(
            "When it is put right, `wskeeper resume {name}` tries now; by itself it probes every {probe} \
             (reconnect.park_probe)."
        )),
        Reason::Panicked => Some(format!(
            "Please report it with the log; `wskeeper resume {name}` tries again, by itself it does every {probe}."
        )),
        Reason::Slow | Reason::RetryAfter | Reason::ServiceRestart => {
            Some(format!("`wskeeper reconnect {name}` does not wait for that."))
        }
        Reason::Starting
        | Reason::Admission
        | Reason::Underway
        | Reason::Backoff
        | Reason::Immediate
        | Reason::Refresh
        | Reason::NextUrl
        | Reason::Operator
        | Reason::StayClosed
        | Reason::Reload
        | Reason::Rotate
        | Reason::Shutdown => None,
    }
}

fn about_admission(standing: &StandingView) -> String {
    let StandingView { ahead, holders, connecting, held_by_rate, down_since, awaited } = standing;
    if let Some(since) = down_since {
        let next = match awaited {
            None => String::new(),
            // Which link it is, those who may see it are told in `awaits`.
            Some((_, None)) => " One tries now.".into(),
            Some((_, Some(at))) => {
                let left = at.duration_since(SystemTime::now()).unwrap_or_default();
                format!(" The next try is in {}.", words::span(left))
            }
        };
        return format!(
            "Its server has been down for {}: one link at a time tries it, and when that one gets in all may follow.{next}",
            words::span(since.elapsed().unwrap_or_default())
        );
    }
    let ahead = match ahead {
        0 => "It is the next in line".to_owned(),
        ahead => format!("{} before it in line", words::count(*ahead as u64, "attempt")),
    };
    if *held_by_rate {
        return format!("{ahead}; admission.rate lets it go a little later. Raise it if the server can take more.");
    }
    match holders.len() as u64 {
        0 => format!(
            "{ahead}; {} are under way in the whole pool, as many as admission.total allows.",
            words::count(*connecting as u64, "attempt")
        ),
        holders => format!(
            "{ahead}; {} to the same address are under way, as many as admission.per_host allows. Raise it if the server \
             is yours.",
            words::count(holders, "attempt")
        ),
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::Arc, time::SystemTime};

    use super::*;
    use crate::{
        config::parse_toml,
        core::{
            close::{Cause, Closed},
            outcome::Row,
            phase::ReadyState,
        },
        pool::Traffic,
    };

    fn config(keys: &str) -> Endpoint {
        let text = format!("[endpoints.e]\nurl = \"wss://h.example/v1?key=hush\"\n{keys}");
        let config = parse_toml(&text, "test.toml").unwrap().config;
        Endpoint::clone(&config.endpoints["e"])
    }

    fn down(cause: Cause, code: u16, status: Option<u16>) -> LinkView {
        let closed =
            Closed { code, reason: "".into(), was_clean: false, cause, sent_code: None, status, detail: "".into() };
        LinkView {
            endpoint: Arc::from("e"),
            index: 0,
            phase: Phase::Waiting,
            ready_state: ReadyState::Closed,
            generation: 1,
            url: "wss://h.example/v1".into(),
            protocol: "".into(),
            extensions: "".into(),
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
        }
    }

    fn told(cause: Cause, code: u16, status: Option<u16>, keys: &str) -> String {
        advice(&sent(down(cause, code, status), 1), &config(keys), None).join("\n")
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
    fn advice_names_the_setting_with_its_value() {
        assert!(told(Cause::TooBig, 1006, None, "inbox = { max_message = \"2MiB\" }").contains("now 2.0 MiB"));
        assert!(told(Cause::Remote, 1009, None, "outbox = { max_message = \"64KiB\" }").contains("now 64.0 KiB"));
        let expired = detailed(Cause::Tls, "the server's certificate has expired");
        let told_of = advice(&expired, &config("tls = { server_name = \"inner\" }"), None).join(" ");
        assert!(told_of.contains("inner (tls.server_name)"));
        assert!(told(Cause::Upgrade, 1006, Some(302), "redirects = 3").contains("now 3"));
        let keys = "headers = { Authorization = \"Bearer ${env:FEED_TOKEN}\" }";
        assert!(told(Cause::Remote, 4401, None, keys).contains("header Authorization = Bearer ${env:FEED_TOKEN}"));
    }

    #[test]
    fn a_ready_link_gets_no_advice_about_its_past_and_a_paused_one_the_verb_that_wakes_it() {
        let ready = LinkView { phase: Phase::Ready, reason: Reason::Underway, ..down(Cause::Tls, 1006, None) };
        let unproven = LinkView { pongs_refused: 1, ..ready.clone() };
        assert!(advice(&unproven, &config(""), None).join("").contains("outbox.ack"));
        assert_eq!(advice(&ready, &config(""), None), Vec::<String>::new());
        let paused = LinkView { phase: Phase::Paused, reason: Reason::Operator, ..down(Cause::Tls, 1006, None) };
        assert_eq!(advice(&paused, &config(""), None), ["`wskeeper resume e/0` lets it dial again."]);
        let parked =
            LinkView { phase: Phase::Parked, reason: Reason::Refused, ..down(Cause::Upgrade, 1006, Some(404)) };
        let told = advice(&parked, &config("reconnect = { park_probe = \"7m\" }"), None).join(" ");
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
            let said = advice(&view, &config, None).join("\n");
            assert!(said.contains(sentence), "not said: {sentence}\n{said}");
            let said = advice(&other, &beside, None).join("\n");
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
            ("sends more headers than are read", upgrade(long), upgrade(ended)),
            ("within connect_timeout, now", upgrade(slow), upgrade(ended)),
            ("hung up in place of an answer", upgrade(ended), upgrade(slow)),
        ]);
    }

    #[test]
    fn what_is_said_of_tls_is_true() {
        let tls = |detail| plain(detailed(Cause::Tls, detail));
        let slow = "timed out while waiting for the TLS handshake";
        let no_tls = "the server closed the connection in the TLS handshake: is this a TLS port?";
        let expired = "the server's certificate has expired";
        let client = "the server demands a client certificate: set one (tls.cert, tls.key)";
        hold([
            ("The certificate is checked against", tls(expired), tls(no_tls)),
            ("The certificate is checked against", tls(expired), tls(slow)),
            ("No certificate was looked at", tls(no_tls), tls(expired)),
            ("Set tls.cert and tls.key", tls(client), tls(no_tls)),
            ("within connect_timeout, now", tls(slow), tls(no_tls)),
        ]);
    }

    #[test]
    fn what_is_said_of_what_repeats_is_true() {
        let reset = |times| plain(repeated(down(Cause::Reset, 1006, None), times));
        let busy = |times| plain(repeated(remote(1013), times));
        let pinged = |times| {
            let view = down(Cause::Reset, 1006, None);
            plain(LinkView { traffic: Traffic { ended_after_ping: times, ..view.traffic }, ..view })
        };
        let no_address = || plain(repeated(down(Cause::Connect, 1006, None), 10));
        hold([
            ("It dials again by itself", reset(1), reset(10)),
            ("10 times in a row", reset(10), reset(2)),
            ("it dials again by itself", busy(1), busy(7)),
            ("`urls` takes several", no_address(), plain(repeated(status(400), 10))),
            ("`urls` takes several", plain(repeated(status(503), 10)), plain(repeated(status(503), 9))),
            ("2 times in a row right after our ping", pinged(2), pinged(1)),
        ]);
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
    }

    #[test]
    fn nothing_comforts_where_something_can_be_done() {
        for code in 1000..=1015 {
            for status in (300..600).map(Some).chain([None]) {
                let view =
                    repeated(down(if status.is_some() { Cause::Upgrade } else { Cause::Remote }, code, status), 10);
                let said = advice(&view, &at("wss://h.example/v1", ""), None).join("\n");
                assert!(!said.contains("nothing to mend") && !said.to_lowercase().contains("nothing to do"), "{said}");
            }
        }
    }
}
