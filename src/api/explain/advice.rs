//! What would help: for each cause, code and status what a person can do, with the names of the settings concerned.
//!
//! It is written for somebody who was woken: what to look at, what to type. It shows where a secret comes from, never the
//! secret. A ready link gets no advice about its past.

use crate::{
    config::{Endpoint, Template},
    core::{
        close::{Cause, Closed},
        phase::{Phase, Reason},
    },
    observe::words,
    pool::{LinkView, StandingView},
};

/// Sentences, the most likely help first.
pub(super) fn advice(view: &LinkView, config: &Endpoint, standing: Option<&StandingView>) -> Vec<String> {
    let mut advice = Vec::new();
    if view.phase == Phase::Ready {
        return advice;
    }
    let stopped_by_hand = view.reason == Reason::Operator && view.phase == Phase::Paused;
    if let Some((closed, _)) = view.last_close.as_deref().filter(|_| !stopped_by_hand) {
        advice.extend(about_end(view, closed, config));
    }
    advice.extend(about_phase(view, config));
    advice.extend(standing.map(about_admission));
    if !closed_for_good(view) && config.urls.len() == 1 && view.attempt >= 10 {
        advice.push("It has one URL only; `urls` takes several, and the next is tried when one fails.".into());
    }
    advice
}

fn closed_for_good(view: &LinkView) -> bool {
    matches!(view.phase, Phase::Paused | Phase::Parked)
}

fn name(view: &LinkView) -> String {
    format!("{}/{}", view.endpoint, view.index)
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
    let StandingView { ahead, holders, connecting, held_by_rate, down_since } = standing;
    if let Some(since) = down_since {
        return format!(
            "Its server has been down for {}: one link at a time tries it, and when that one gets in all may follow.",
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

/// What to do about the way in which the last connection or attempt ended.
fn about_end(view: &LinkView, closed: &Closed, config: &Endpoint) -> Option<String> {
    let url = &view.url;
    Some(match closed.cause {
        Cause::Secret => "Check that the file, credential or variable exists and that the daemon's user may read it; \
                          it is read again at each attempt."
            .into(),
        Cause::Dns => format!(
            "Check the host in {url} and the resolver of this machine (`getent hosts` with that name; /etc/resolv.conf)."
        ),
        Cause::Connect => format!(
            "Check that the server of {url} runs and listens on the address named above, and that a firewall lets the port \
             through; connect_timeout is {}.",
            words::span(config.link.connect_timeout)
        ),
        Cause::Tls => about_tls(config),
        Cause::Proxy => "Check the proxy's address and credentials.".into(),
        Cause::Upgrade => about_status(closed.status, url, config),
        Cause::Subprotocol => {
            let offered: Vec<_> = config.protocols.iter().map(Template::shown).collect();
            format!(
                "The endpoint offers {}; set `protocols` to what the server speaks, or protocols_optional = true.",
                if offered.is_empty() { "none".into() } else { offered.join(", ") }
            )
        }
        Cause::TooBig => format!(
            "Raise inbox.max_message, now {}, if the peer may send messages of that size.",
            words::bytes(config.inbox.max_message as u64)
        ),
        Cause::PongTimeout => format!(
            "The path or the peer went silent for longer than heartbeat.idle {} and heartbeat.timeout {}. If it comes again \
             and again, look for a proxy or firewall that drops idle connections, and set idle below its limit.",
            words::span(config.link.heartbeat.idle),
            words::span(config.link.heartbeat.timeout)
        ),
        Cause::Mute => "The peer's application acknowledges nothing: look there, and at outbox.ack.".into(),
        Cause::Protocol => "The peer broke the WebSocket protocol: that is for the people who run it to mend. \
                            `wskeeper tail --frames` shows what comes."
            .into(),
        Cause::Reset => "The server, or something between, ended TCP without a word: a crash, a proxy's limit or a \
                         deployment. Nothing to do unless it comes again and again."
            .into(),
        Cause::Script => "Compare the opening script with what the peer answers.".into(),
        Cause::Remote => return about_code(closed.code, config),
        Cause::Operator | Cause::Reload | Cause::Rotate | Cause::Shutdown => return None,
    })
}

fn about_tls(config: &Endpoint) -> String {
    let authority = match &config.tls.ca {
        Some(path) => format!("{} (tls.ca)", path.display()),
        None => "the platform's authorities (tls.ca is not set)".into(),
    };
    let name = match &config.tls.server_name {
        Some(name) => format!("{name} (tls.server_name)"),
        None => "the host of the URL".into(),
    };
    format!(
        "The certificate is checked against {authority} for {name}. Check its dates, its name and who signed it, and this \
         machine's clock."
    )
}

fn about_status(status: Option<u16>, url: &str, config: &Endpoint) -> String {
    match status {
        None => format!("What answers at {url} does not speak WebSocket: check host, port and path."),
        Some(401 | 403 | 407) => about_credentials(config),
        Some(404 | 410) => format!("The server knows no such path: check the path of {url}."),
        Some(429) => {
            "The server has had too many attempts from here: hold fewer `links`, or lower admission.rate.".into()
        }
        Some(300..=399) => {
            format!("The server sends elsewhere: write the new URL, or raise `redirects`, now {}.", config.redirects)
        }
        Some(500..=599) => "The server, or a proxy before it, is in trouble: nothing to mend here.".into(),
        Some(_) => "The server does not like the request: check the URL, `headers` and `protocols`.".into(),
    }
}

/// Where what the peer refused comes from.
fn about_credentials(config: &Endpoint) -> String {
    let headers = config.headers.iter().filter(|(_, value)| value.has_references());
    let headers = headers.map(|(name, value)| format!("header {name} = {}", value.shown()));
    let urls = config.urls.iter().filter(|url| url.has_references()).map(|_| "a reference in the URL".to_owned());
    let protocols = config.protocols.iter().filter(|protocol| protocol.has_references());
    let protocols = protocols.map(|protocol| format!("protocol {}", protocol.shown()));
    let sources: Vec<_> = headers.chain(urls).chain(protocols).collect();
    if sources.is_empty() {
        let has_header = config.headers.iter().any(|(name, _)| *name == http::header::AUTHORIZATION);
        return if has_header {
            "The header Authorization is written in the configuration: put a valid one there and reload.".into()
        } else {
            "The request carries no secret: set headers.Authorization, for example to \"Bearer ${file:PATH}\".".into()
        };
    }
    format!("The credentials come from {}: put fresh ones there; they are read at each attempt.", sources.join(", "))
}

/// What a peer means with its Close.
fn about_code(code: u16, config: &Endpoint) -> Option<String> {
    Some(match code {
        1002 => {
            "The peer says that a frame broke the protocol: please report it, with `wskeeper tail --frames`.".into()
        }
        1003 => "The peer takes no messages of that type: compare text and binary with what it expects.".into(),
        1007 => "The peer says that a message was not what its type says: look at what is sent.".into(),
        1008 => "The peer says that a message broke its policy: look at what is sent, and at its rules.".into(),
        1009 => format!(
            "The peer takes no messages of that size: lower outbox.max_message, now {}.",
            words::bytes(config.link.outbox.max_message as u64)
        ),
        1010 => "The peer wants an extension that wskeeper does not offer.".into(),
        1011 => "The peer's application failed: that is for the people who run it to mend.".into(),
        1012 | 1013 => "The peer restarts or is busy: nothing to do but wait.".into(),
        1014 => "A gateway before the peer does not reach it: nothing to mend here.".into(),
        3000 | 3003 | 4401 | 4403 => about_credentials(config),
        3008 => {
            "The peer waited too long for something, a login perhaps: compare what is sent first with what it wants."
                .into()
        }
        3001..=4999 => "The code is the service's own: its documentation says what it means.".into(),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use std::{sync::Arc, time::SystemTime};

    use super::*;
    use crate::{config::parse_toml, core::phase::ReadyState, pool::Traffic};

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
            last_close: Some(Box::new((closed, SystemTime::UNIX_EPOCH))),
            last_inbound_at: None,
            traffic: Traffic::default(),
            rotation: None,
        }
    }

    fn told(cause: Cause, code: u16, status: Option<u16>, keys: &str) -> String {
        advice(&down(cause, code, status), &config(keys), None).join("\n")
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
        assert!(told(Cause::Tls, 1006, None, "tls = { server_name = \"inner\" }").contains("inner (tls.server_name)"));
        assert!(told(Cause::Upgrade, 1006, Some(302), "redirects = 3").contains("now 3"));
        let keys = "headers = { Authorization = \"Bearer ${env:FEED_TOKEN}\" }";
        assert!(told(Cause::Remote, 4401, None, keys).contains("header authorization = Bearer ${env:FEED_TOKEN}"));
        assert!(told(Cause::Upgrade, 1006, Some(401), "").contains("carries no secret"));
    }

    #[test]
    fn a_ready_link_gets_no_advice_about_its_past_and_a_paused_one_the_verb_that_wakes_it() {
        let ready = LinkView { phase: Phase::Ready, reason: Reason::Underway, ..down(Cause::Tls, 1006, None) };
        assert_eq!(advice(&ready, &config(""), None), Vec::<String>::new());
        let paused = LinkView { phase: Phase::Paused, reason: Reason::Operator, ..down(Cause::Tls, 1006, None) };
        assert_eq!(advice(&paused, &config(""), None), ["`wskeeper resume e/0` lets it dial again."]);
        let parked =
            LinkView { phase: Phase::Parked, reason: Reason::Refused, ..down(Cause::Upgrade, 1006, Some(404)) };
        let told = advice(&parked, &config("reconnect = { park_probe = \"7m\" }"), None).join(" ");
        assert!(told.contains("path of wss://h.example/v1") && told.contains("every 7m"), "{told}");
    }
}
