//! `wskeeper explain LINK`: why a link is where it is, what comes next, what would help. In sentences.

use std::time::SystemTime;

use serde_json::Value;

use super::{
    Failure,
    args::LinkName,
    client::{Client, ClientError, escape},
    facts::{moment, name, phase},
    output::{Output, Paint},
    status::STORE,
    words,
};
use crate::{
    api::wire::{DeadLetter, HistoryEntry, LastClose, Link, List, Orphans, Store, Timings},
    core::{close::Cause, phase::Phase},
    observe::visible,
};

/// Lines of the flight recorder shown.
const SHOWN: usize = 12;

/// Prints the explanation.
pub(super) async fn run(link: &LinkName, mut client: Client, output: &Output) -> Result<(), Failure> {
    let path = format!("/v1/links/{}/{}", escape(&link.endpoint), link.index);
    let facts: Link = client.get(&path).await?;
    let history: List<HistoryEntry> = client.get(&format!("{path}/history")).await?;
    let now = SystemTime::now();
    let headline = headline(&facts, now);
    output.line(output.paint(&headline, words::tint(phase(&facts))))?;
    for sentence in sentences(&facts, now).into_iter().chain(keeping(link, &mut client).await?) {
        output.line(format_args!("  {sentence}"))?;
    }
    if !history.items.is_empty() {
        output.line(output.paint("\nWhat happened last", Paint::Bold))?;
    }
    let skipped = history.items.len().saturating_sub(SHOWN);
    for entry in history.items.iter().skip(skipped) {
        output.line(format_args!("  {}", recorded(entry, now)))?;
    }
    Ok(())
}

/// What the store and the dead letters have to do with it.
async fn keeping(link: &LinkName, client: &mut Client) -> Result<Vec<String>, ClientError> {
    let store: Store = client.get(STORE).await?;
    let mut sentences = Vec::new();
    if store.state != "unused" {
        let endpoint: Value = client.get(&format!("/v1/endpoints/{}", escape(&link.endpoint))).await?;
        let is_durable = endpoint.pointer("/config/outbox/durability").and_then(Value::as_str) == Some("disk");
        sentences.extend(is_durable.then(|| stored(&store)));
    }
    if store.dead_letters > 0 {
        let path = format!("/v1/dead-letters?limit=1000&endpoint={}", escape(&link.endpoint));
        let letters: Vec<DeadLetter> = client.pages(&path).await?;
        let dead = letters.iter().filter(|letter| letter.link == link.index).count() as u64;
        sentences.extend((dead > 0).then(|| {
            let verb = format!("`wskeeper dead list --endpoint {}`", link.endpoint);
            format!("The peer refused {} for good; {verb} shows what.", words::count(dead, "message"))
        }));
    }
    if store.orphans > 0 {
        let orphans: List<Orphans> = client.get("/v1/orphans").await?;
        let mine = orphans.items.iter().filter(|orphans| orphans.endpoint == link.endpoint);
        let messages = mine.map(|orphans| orphans.messages).sum();
        sentences.extend((messages > 0).then(|| {
            let count = words::count(messages, "stored message");
            format!("{count} of this endpoint wait for a link that is gone; `wskeeper orphans list` shows them.")
        }));
    }
    Ok(sentences)
}

fn stored(store: &Store) -> String {
    match &store.failure {
        Some(why) => format!("The store takes no messages, so sends to it are refused: {}.", visible(why)),
        None => format!(
            "Its messages are kept on disk; the store holds {}, {} of {}.",
            words::count(store.messages, "message"),
            words::bytes(store.bytes),
            words::bytes(store.limit_bytes)
        ),
    }
}

fn headline(link: &Link, now: SystemTime) -> String {
    let since = moment(&link.since).map(|since| format!(" for {}", words::between(since, now))).unwrap_or_default();
    format!("{} {} is {}{since}", words::shape(phase(link)), name(link), link.phase)
}

fn sentences(link: &Link, now: SystemTime) -> Vec<String> {
    let mut sentences = vec![why(link)];
    if phase(link) == Some(Phase::Ready) {
        let rtt = link.rtt_ms.map(|rtt| format!("; the last ping came back in {}", words::millis(rtt)));
        sentences.push(format!("Connection {} to {}{}.", link.generation, link.url, rtt.unwrap_or_default()));
        let heard = link.last_inbound_at.as_deref().and_then(moment);
        sentences.extend(heard.map(|at| format!("The peer was last heard {} ago.", words::between(at, now))));
    } else if !link.url.is_empty() {
        sentences.push(format!("It dials {}.", link.url));
    }
    if let Some(close) = &link.last_close {
        sentences.push(ended(close, now));
        if phase(link) != Some(Phase::Ready)
            && let Some(cause) = Cause::from_word(&close.cause)
            && let Some(help) = help(cause, close)
        {
            sentences.push(help.to_owned());
        }
    }
    sentences.extend(next(link, now));
    sentences.push(match link.queued_messages {
        0 => "Nothing is queued.".to_owned(),
        messages => {
            let queued = words::count(messages, "message");
            let verb = if messages == 1 { "is" } else { "are" };
            format!(
                "{queued} ({}) {verb} queued and will be sent in order once it is ready.",
                words::bytes(link.buffered_amount)
            )
        }
    });
    sentences
}

/// `phaseReason` in plain words, with what an operator could do.
fn why(link: &Link) -> String {
    let name = name(link);
    match link.phase_reason.as_str() {
        "starting" => "It has just been made.".into(),
        "admission" => {
            "It waits its turn: admission limits how many links dial at once (admission.per_host, .total, .rate)."
                .into()
        }
        "underway" if phase(link) == Some(Phase::Ready) => "All is well.".into(),
        "underway" => "An attempt is under way.".into(),
        "backoff" => format!(
            "It waits before it dials again; {} in a row did not last.",
            words::count(link.attempt.into(), "attempt")
        ),
        "retry_after" => "The server asked for this delay with Retry-After.".into(),
        "service_restart" => "The peer said that it restarts (1012); links come back spread over 5 to 30 s.".into(),
        "immediate" => "A rule of outcomes says to dial again at once.".into(),
        "slow" => "A rule of outcomes says to wait long.".into(),
        "refresh" => "The peer refused the credentials; they are read anew for one more try.".into(),
        "next_url" => "The next URL of the endpoint is tried.".into(),
        "operator" => {
            format!("An operator or a local program stopped it. `wskeeper resume {name}` lets it dial again.")
        }
        "stay_closed" => format!(
            "The peer closed it and the configuration says to stay closed. `wskeeper resume {name}` lets it dial again."
        ),
        "unauthorized" => format!(
            "The peer refused the credentials twice. Put them right, then `wskeeper resume {name}`; a slow probe goes on meanwhile."
        ),
        "refused" => format!(
            "The peer refused in the same way too many times in a row. A slow probe goes on; `wskeeper resume {name}` tries now."
        ),
        "panicked" => format!(
            "Its task panicked too often: a bug in wskeeper, please report it with the log. `wskeeper resume {name}` tries again."
        ),
        "reload" => "A changed configuration asks for a new connection.".into(),
        "shutdown" => "The daemon is stopping.".into(),
        "" => "The daemon gives no reason.".into(),
        other => format!("The reason is {other:?}, which this version of wskeeper does not know."),
    }
}

fn ended(close: &LastClose, now: SystemTime) -> String {
    let ago = moment(&close.at).map(|at| format!(" {} ago", words::between(at, now))).unwrap_or_default();
    let clean = if close.was_clean { "cleanly" } else { "not cleanly" };
    let reason = if close.reason.is_empty() { String::new() } else { format!(", reason {:?}", close.reason) };
    let detail = if close.detail.is_empty() { String::new() } else { format!(": {}", visible(&close.detail)) };
    let cause = Cause::from_word(&close.cause).map_or(close.cause.clone(), |cause| words::cause(cause).to_owned());
    format!("The last connection or attempt ended{ago}, {clean}, with {}{reason}: {cause}{detail}.", close.code)
}

/// What would help, where something would.
const fn help(cause: Cause, close: &LastClose) -> Option<&'static str> {
    match cause {
        Cause::Secret => Some("Check that the file, credential or variable exists and that the daemon may read it."),
        Cause::Dns => Some("Check the host in the URL and the resolver of this machine."),
        Cause::Connect => Some("Check that the server runs and that a firewall lets the port through."),
        Cause::Tls => Some("Check the certificate's name and dates, and tls.ca if the authority is your own."),
        Cause::Proxy => Some("Check the proxy's address and credentials."),
        Cause::Upgrade => {
            Some("Check the path of the URL, the headers and the credentials; the detail has the HTTP status.")
        }
        Cause::Subprotocol => Some("Set protocols to what the server speaks, or protocols_optional = true."),
        Cause::TooBig => Some("Raise inbox.max_message if the peer may send messages of that size."),
        Cause::PongTimeout => Some("The path or the peer went silent; nothing to do unless it comes again and again."),
        Cause::Remote if close.code == 1009 => {
            Some("The peer takes no messages of that size: lower outbox.max_message.")
        }
        Cause::Remote if close.code == 1008 => {
            Some("The peer says that a message broke its policy: look at what is sent.")
        }
        Cause::Remote
        | Cause::Operator
        | Cause::Reload
        | Cause::Shutdown
        | Cause::Script
        | Cause::Mute
        | Cause::Protocol
        | Cause::Reset => None,
    }
}

fn next(link: &Link, now: SystemTime) -> Option<String> {
    let at = link.next_attempt_at.as_deref().and_then(moment);
    match (phase(link)?, at) {
        (Phase::Waiting | Phase::Parked, Some(at)) => {
            let wait = at.duration_since(now).map_or_else(|_| "now".into(), |wait| format!("in {}", words::span(wait)));
            let now_verb = format!("`wskeeper reconnect {}` tries now", name(link));
            Some(format!("The next try is {wait}; {now_verb}."))
        }
        (Phase::Waiting, None) => Some("It dials as soon as it is admitted.".into()),
        (Phase::Paused, _) => Some("It does not dial until it is resumed.".into()),
        (Phase::Connecting | Phase::Opening | Phase::Ready | Phase::Closing, _) | (Phase::Parked, None) => None,
    }
}

fn recorded(entry: &HistoryEntry, now: SystemTime) -> String {
    let ago = moment(&entry.at).map(|at| words::between(at, now)).unwrap_or_default();
    let timings = entry.timings.as_ref().map(timed).unwrap_or_default();
    let line = format!(
        "{ago:>8} ago  #{:<4} {:<17} {:<10} {}{timings}",
        entry.generation,
        entry.event,
        entry.phase,
        visible(&entry.detail)
    );
    line.trim_end().to_owned()
}

fn timed(timings: &Timings) -> String {
    let steps = [
        ("DNS", timings.dns_ms),
        ("admission", timings.admission_ms),
        ("TCP", timings.tcp_ms),
        ("TLS", timings.tls_ms),
        ("upgrade", timings.upgrade_ms),
        ("total", Some(timings.total_ms)),
    ];
    let steps: Vec<_> =
        steps.iter().filter_map(|(name, took)| took.map(|took| format!("{name} {}", words::millis(took)))).collect();
    if steps.is_empty() { String::new() } else { format!("  [{}]", steps.join(", ")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now() -> SystemTime {
        moment("2026-01-01T00:01:00Z").unwrap()
    }

    fn waiting() -> Link {
        Link {
            endpoint: "trades".into(),
            phase: "waiting".into(),
            phase_reason: "backoff".into(),
            attempt: 3,
            url: "wss://feed.example/v2".into(),
            since: "2026-01-01T00:00:50Z".into(),
            next_attempt_at: Some("2026-01-01T00:01:04Z".into()),
            queued_messages: 1,
            buffered_amount: 10,
            last_close: Some(LastClose {
                code: 1006,
                cause: "tls".into(),
                detail: "certificate expired".into(),
                at: "2026-01-01T00:00:50Z".into(),
                ..LastClose::default()
            }),
            ..Link::default()
        }
    }

    #[test]
    fn a_waiting_link_says_why_when_and_what_would_help() {
        assert_eq!(headline(&waiting(), now()), "○ trades/0 is waiting for 10s");
        assert_eq!(
            sentences(&waiting(), now()),
            [
                "It waits before it dials again; 3 attempts in a row did not last.",
                "It dials wss://feed.example/v2.",
                "The last connection or attempt ended 10s ago, not cleanly, with 1006: the TLS handshake failed: certificate expired.",
                "Check the certificate's name and dates, and tls.ca if the authority is your own.",
                "The next try is in 4s; `wskeeper reconnect trades/0` tries now.",
                "1 message (10 B) is queued and will be sent in order once it is ready.",
            ]
        );
    }

    #[test]
    fn a_ready_link_gives_no_advice_about_its_past() {
        let ready = Link { phase: "ready".into(), phase_reason: "underway".into(), generation: 2, ..waiting() };
        let text = sentences(&ready, now()).join(" ");
        assert!(text.starts_with("All is well."), "{text}");
        assert!(!text.contains("Check the certificate"), "{text}");
        assert!(!text.contains("next try"), "{text}");
    }

    #[test]
    fn a_paused_link_names_the_verb_that_wakes_it() {
        let paused = Link { phase: "paused".into(), phase_reason: "operator".into(), ..waiting() };
        assert!(why(&paused).contains("`wskeeper resume trades/0`"));
    }

    #[test]
    fn every_reason_of_this_version_has_its_sentence() {
        use crate::core::phase::Reason;
        for reason in [
            Reason::Starting,
            Reason::Admission,
            Reason::Underway,
            Reason::Backoff,
            Reason::RetryAfter,
            Reason::ServiceRestart,
            Reason::Immediate,
            Reason::Slow,
            Reason::Refresh,
            Reason::NextUrl,
            Reason::Operator,
            Reason::StayClosed,
            Reason::Unauthorized,
            Reason::Refused,
            Reason::Panicked,
            Reason::Reload,
            Reason::Shutdown,
        ] {
            let link = Link { phase_reason: reason.as_str().into(), ..waiting() };
            assert!(!why(&link).contains("does not know"), "{reason}");
        }
    }

    #[test]
    fn a_store_that_takes_nothing_says_why() {
        let ok = Store { state: "ok".into(), messages: 2, bytes: 1536, limit_bytes: 1 << 30, ..Store::default() };
        assert_eq!(stored(&ok), "Its messages are kept on disk; the store holds 2 messages, 1.5 KiB of 1.0 GiB.");
        let failed = Store { failure: Some("no space".into()), ..ok };
        assert_eq!(stored(&failed), "The store takes no messages, so sends to it are refused: no space.");
    }

    #[test]
    fn an_attempt_shows_its_timings() {
        let timings = Timings { tcp_ms: Some(0.5), total_ms: 12.0, ..Timings::default() };
        assert_eq!(timed(&timings), "  [TCP 0.50 ms, total 12 ms]");
    }
}
