//! `wskeeper explain LINK`: why a link is where it is, what was tried, what comes next, what would help.
//!
//! What a reader would get wrong: the sentences are the daemon's (`GET /v1/links/…/explain`). Here they are only put in order,
//! and the times that pass are put in words.

use std::time::{Duration, SystemTime};

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
    api::wire::{
        Attempt, Bridge, BudgetState, DeadLetter, Explanation, HistoryEntry, Http2Connection, Link, List, Orphans,
        Outage, Push, Rejection, Store, StreamCounts, SubscriptionCounts, Timings,
    },
    observe::visible,
};
use wskeeper_core::phase::Phase;
use wskeeper_link::clock::Calendar;

/// Lines of the flight recorder shown.
const SHOWN: usize = 12;
/// Streams shown.
const STREAMS: usize = 10;
/// Lines shown of what a server said that refused.
const REFUSAL: usize = 40;
/// Attempts shown.
const ATTEMPTS: usize = 5;

/// Prints the explanation.
pub(super) async fn run(link: &LinkName, mut client: Client, output: &Output) -> Result<(), Failure> {
    let path = format!("/v1/links/{}/{}", escape(&link.endpoint), link.index);
    let facts: Explanation = client.get(&format!("{path}/explain")).await?;
    let history: List<HistoryEntry> = client.get(&format!("{path}/history")).await?;
    let now = Calendar::default().now();
    let tint = words::tint(phase(&facts.link));
    output.line(output.paint(&headline(&facts.link, now), tint))?;
    let about = sentences(&facts, now).into_iter().chain(subscribed(&facts)).chain(asked(&facts));
    let about = about.chain(streams(&facts)).chain(facts.pushes.iter().map(|push| pushed(push, now)));
    let about = about.chain(facts.bridges.iter().map(|bridge| bridged(bridge, now)));
    for sentence in about.chain(keeping(link, &mut client).await?) {
        output.folded(&format!("  {sentence}"), 4)?;
    }
    let advice: Vec<_> = facts.advice.iter().map(|advice| format!("→ {advice}")).collect();
    section("What would help", &advice, output)?;
    section("What was tried", &last(&facts.attempts, ATTEMPTS, |attempt| tried(attempt, now)), output)?;
    section(
        "What the server said when it refused",
        &facts.rejection.as_ref().map(|said| rejected(said, now)).unwrap_or_default(),
        output,
    )?;
    section("What happened last", &last(&history.items, SHOWN, |entry| recorded(entry, now)), output)
}

fn section(title: &str, lines: &[String], output: &Output) -> Result<(), Failure> {
    if lines.is_empty() {
        return Ok(());
    }
    output.line(output.paint(&format!("\n{title}"), Paint::Bold))?;
    lines.iter().try_for_each(|line| Ok(output.folded(&format!("  {line}"), 6)?))
}

fn last<T>(items: &[T], most: usize, line: impl Fn(&T) -> String) -> Vec<String> {
    items.iter().skip(items.len().saturating_sub(most)).map(line).collect()
}

/// What the store and the dead letters have to do with it.
async fn keeping(link: &LinkName, client: &mut Client) -> Result<Vec<String>, ClientError> {
    // A token for some endpoints learns nothing of all at once, but may ask for what is theirs.
    let store: Option<Store> = client.get_if_allowed(STORE).await?;
    let store = store.as_ref();
    let mut sentences = Vec::new();
    if store.is_none_or(|store| store.state != "unused") {
        let endpoint: Value = client.get(&format!("/v1/endpoints/{}", escape(&link.endpoint))).await?;
        let is_durable = endpoint.pointer("/config/outbox/durability").and_then(Value::as_str) == Some("disk");
        sentences.extend(is_durable.then(|| store.map_or_else(|| "Its messages are kept on disk.".to_owned(), stored)));
    }
    if store.is_none_or(|store| store.dead_letters > 0) {
        let path = format!("/v1/dead-letters?limit=1000&endpoint={}", escape(&link.endpoint));
        let letters: Vec<DeadLetter> = client.pages(&path).await?;
        let dead = letters.iter().filter(|letter| letter.link == link.index).count() as u64;
        sentences.extend((dead > 0).then(|| {
            let verb = format!("`wskeeper dead list --endpoint {}`", link.endpoint);
            format!("The peer refused {} for good; {verb} shows what.", words::count(dead, "message"))
        }));
    }
    if store.is_none_or(|store| store.orphans > 0) {
        let orphans: List<Orphans> = client.get("/v1/orphans").await?;
        let mine = orphans.items.iter().filter(|orphans| orphans.endpoint == link.endpoint);
        let messages = mine.map(|orphans| orphans.messages).sum();
        sentences.extend((messages > 0).then(|| {
            let count = words::count(messages, "stored message");
            let verb = if messages == 1 { "waits" } else { "wait" };
            format!("{count} of this endpoint {verb} for a link that is gone; `wskeeper orphans list` shows more.")
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

/// How its keys stand.
fn subscribed(facts: &Explanation) -> Option<String> {
    let SubscriptionCounts { pending, active, refused } = facts.subscriptions?;
    let sum = pending.saturating_add(active).saturating_add(refused);
    let others = [(pending, "pending"), (refused, "refused")].into_iter().filter(|(count, _)| *count > 0);
    let states = others.map(|(count, word)| format!("{} {word}", words::grouped(count)));
    let states: Vec<String> = std::iter::once(format!("{} active", words::grouped(active))).chain(states).collect();
    (sum > 0).then(|| format!("Of {} {}.", words::count(sum, "subscription"), states.join(", ")))
}

/// How a push of its endpoint goes.
fn pushed(push: &Push, now: SystemTime) -> String {
    let Push {
        name, to, state, delivered, behind, skipped, failing_since, last_error, next_attempt_at, not_kept, ..
    } = push;
    let head = format!("Push {name} to {}: {} taken", visible(to), words::grouped(*delivered));
    let failing = (failing_since, "its receiver has taken nothing", last_error);
    handed_over(head, (*behind, *skipped, state), failing, (next_attempt_at, not_kept), now)
}

/// How a bridge of its endpoint goes.
fn bridged(bridge: &Bridge, now: SystemTime) -> String {
    let Bridge { name, broker, subject, state, delivered, behind, skipped, failing_since, last_error, .. } = bridge;
    let connected = match bridge.connected_since.as_deref().and_then(moment) {
        Some(since) => format!("connected for {}", words::between(since, now)),
        None => "not connected".to_owned(),
    };
    let (subject, delivered) = (visible(subject), words::grouped(*delivered));
    let head = format!("Bridge {name} to {subject} of broker {broker}, {connected}: {delivered} taken");
    let failing = (failing_since, "its broker has taken nothing", last_error);
    handed_over(head, (*behind, *skipped, state), failing, (&bridge.next_attempt_at, &bridge.not_kept), now)
}

/// The rest of that sentence.
fn handed_over(
    head: String,
    (behind, skipped, state): (u64, u64, &str),
    (failing_since, failing, last_error): (&Option<String>, &str, &Option<String>),
    (next_attempt_at, not_kept): (&Option<String>, &Option<String>),
    now: SystemTime,
) -> String {
    let word = if behind == 1 { "entry" } else { "entries" };
    let time = |at: &Option<String>| at.as_deref().and_then(moment);
    let failing = time(failing_since).map(|since| {
        let why = last_error.as_deref().map(visible).unwrap_or_default();
        format!("; {failing} for {}: {why}", words::between(since, now))
    });
    let left = time(next_attempt_at).and_then(|at| at.duration_since(now).ok());
    let parts = [
        Some(head),
        (behind > 0).then(|| format!(", {} {word} behind", words::grouped(behind))),
        (skipped > 0).then(|| format!(", {} skipped", words::grouped(skipped))),
        failing,
        (state == "stopped").then(|| "; it has stopped, until a reload changes it or the daemon starts again".into()),
        left.map(|left| format!("; it tries again in {}", words::span(left))),
        not_kept.as_deref().map(|why| format!("; its cursor is not on disk: {}", visible(why))),
    ];
    parts.into_iter().flatten().chain([".".to_owned()]).collect()
}

/// How its requests stand, and why they wait.
fn asked(facts: &Explanation) -> Vec<String> {
    let asked = facts.requests.as_ref().map_or(0, |requests| requests.asked);
    let told = (asked > 0).then(|| {
        let verb = if asked == 1 { "has" } else { "have" };
        format!("{} {verb} left and no reply yet.", words::count(asked, "request"))
    });
    facts.requests_why.clone().into_iter().chain(told).collect()
}

/// The streams of its endpoint that somebody reads, those first that need a look.
fn streams(facts: &Explanation) -> Vec<String> {
    let mut read: Vec<_> = facts.streams.iter().filter(|stream| stream.readers > 0).collect();
    read.sort_by_key(|stream| std::cmp::Reverse((stream.lost, stream.behind)));
    let more = read.len().saturating_sub(STREAMS);
    let told = read.iter().take(STREAMS).map(|stream| {
        let StreamCounts { name, bytes, readers, behind, lost, .. } = stream;
        let readers = words::count(*readers, "reader");
        let behind = if *behind == 0 { String::new() } else { format!(", {} behind", words::grouped(*behind)) };
        let lost = if *lost == 0 { String::new() } else { format!(", {} missed", words::count(*lost, "entry")) };
        format!("Stream {name}: {readers}{behind}{lost}; it holds {}.", words::bytes(*bytes))
    });
    let rest = (more > 0).then(|| format!("{} more are read.", words::count(more as u64, "stream")));
    told.chain(rest).collect()
}

fn sentences(facts: &Explanation, now: SystemTime) -> Vec<String> {
    let link = &facts.link;
    let mut sentences = vec![facts.why.clone()];
    let is_ready = phase(link) == Some(Phase::Ready);
    let through = facts.proxy.as_ref().map(|proxy| format!(" through the proxy {proxy}")).unwrap_or_default();
    if is_ready {
        let rtt = link.rtt_ms.map(|rtt| format!("; the last ping came back in {}", words::millis(rtt)));
        let carried = link.http2.map(|Http2Connection { connection, links }| {
            format!(", over HTTP/2 connection {connection} with {}", words::count(links.into(), "link"))
        });
        let (carried, rtt) = (carried.unwrap_or_default(), rtt.unwrap_or_default());
        let with = if link.extensions.is_empty() { String::new() } else { format!(", with {}", link.extensions) };
        sentences.push(format!("Connection {} to {}{through}{carried}{with}{rtt}.", link.generation, link.url));
        let heard = link.last_inbound_at.as_deref().and_then(moment);
        sentences.extend(heard.map(|at| format!("The peer was last heard {} ago.", words::between(at, now))));
    } else if !link.url.is_empty() {
        sentences.push(format!("It dials {}{through}.", link.url));
    }
    sentences.extend(facts.cookies.map(|count| match count {
        0 => "It keeps cookies, and no server has set one.".to_owned(),
        _ => format!("It keeps {}, which go back to the server that set them.", words::count(count.into(), "cookie")),
    }));
    sentences.extend(facts.budget.as_ref().map(|budget| spent(budget, now)));
    sentences.extend(facts.outage.as_ref().map(|outage| down(outage, now)));
    if let (Some(ended), Some(close)) = (&facts.ended, &link.last_close) {
        let ago = moment(&close.at).map(|at| format!(", {} ago", words::between(at, now))).unwrap_or_default();
        let which =
            if is_ready { "The connection or attempt before this one" } else { "The last connection or attempt" };
        sentences.push(format!("{which}{ago}: {}", visible(ended)));
    }
    sentences.extend(facts.rule.as_ref().map(|rule| format!("The rule that decided is {}", visible(&rule.sentence))));
    sentences.extend(
        facts
            .admission
            .as_ref()
            .filter(|place| !place.holders.is_empty())
            .map(|place| format!("The address is being dialled by {}.", place.holders.join(", "))),
    );
    sentences.extend(next(facts, now));
    sentences.push(queued(facts, now));
    sentences
}

/// What is to leave, and whether it does.
fn queued(facts: &Explanation, now: SystemTime) -> String {
    let link = &facts.link;
    let queued = words::count(link.queued_messages, "message");
    let size = words::bytes(link.buffered_amount);
    let (verb, wait) = if link.queued_messages == 1 { ("is", "waits") } else { ("are", "wait") };
    match (link.queued_messages, link.paced_until.as_deref().and_then(moment)) {
        (0, _) if facts.unconfirmed_messages > 0 => format!(
            "Nothing is queued; {} that left and that the peer has not proved to have read {} the outbox.",
            words::count(facts.unconfirmed_messages, "message"),
            if facts.unconfirmed_messages == 1 { "counts in" } else { "count in" }
        ),
        (0, _) => "Nothing is queued.".to_owned(),
        (_, Some(until)) => {
            let left = until.duration_since(now).unwrap_or_default();
            let next = words::millis(left.as_secs_f64() * 1000.0);
            format!("{queued} ({size}) {wait} for a turn, by the rates of outbox; the next is in {next}.")
        }
        (_, None) if phase(link) == Some(Phase::Ready) => format!("{queued} ({size}) {verb} being sent in order."),
        (_, None) => format!("{queued} ({size}) {verb} queued and will be sent in order once it is ready."),
    }
}

/// What its endpoint has used of its attempts.
fn spent(budget: &BudgetState, now: SystemTime) -> String {
    let BudgetState { attempts, per_ms, used, kept, until } = budget;
    let per = words::span(Duration::from_millis(*per_ms));
    let until = until.as_deref().and_then(|until| Some((until, moment(until)?.duration_since(now).ok()?)));
    let until = until.map(|(until, left)| format!("; the next may begin in {}, at {until}", words::span(left)));
    let (used, attempts) = (words::grouped((*used).into()), words::grouped((*attempts).into()));
    let forgets = if *kept { "" } else { "; a restart forgets them, because there is no store" };
    format!("Its endpoint has made {used} of {attempts} attempts within {per}{}{forgets}.", until.unwrap_or_default())
}

fn down(outage: &Outage, now: SystemTime) -> String {
    let since = moment(&outage.since).map(|since| words::between(since, now)).unwrap_or_default();
    match &outage.lost {
        None => format!("It has had no connection yet, for {since}."),
        Some(lost) => {
            let reason = if lost.reason.is_empty() { String::new() } else { format!(" {:?}", lost.reason) };
            let detail = if lost.detail.is_empty() { String::new() } else { format!(": {}", visible(&lost.detail)) };
            format!(
                "It has had no connection for {since}, since {}; that one ended with {}{reason} ({}){detail}.",
                outage.since, lost.code, lost.cause
            )
        }
    }
}

fn next(facts: &Explanation, now: SystemTime) -> Option<String> {
    let at = facts.link.next_attempt_at.as_deref().and_then(moment);
    let next = facts.next.as_ref()?;
    let Some(at) = at else { return Some(next.clone()) };
    let left = at.duration_since(now).map_or_else(|_| "now".into(), |wait| format!("in {}", words::span(wait)));
    let (what, by_hand) = next.split_once(';').unwrap_or((next.trim_end_matches('.'), ""));
    Some(if by_hand.is_empty() { format!("{what} {left}.") } else { format!("{what} {left};{by_hand}") })
}

/// The answer that refused an upgrade: a stranger's text.
fn rejected(said: &Rejection, now: SystemTime) -> Vec<String> {
    let ago = moment(&said.at).map(|at| words::between(at, now)).unwrap_or_default();
    let status = said.status.map(|status| format!("status {status}")).unwrap_or_default();
    let headers = said.headers.iter().map(|header| format!("{}: {}", visible(&header.name), visible(&header.value)));
    let body = said.body.lines().filter(|line| !line.trim().is_empty()).map(|line| visible(line).into_owned());
    let lines: Vec<String> = std::iter::once(format!("{ago} ago, {status}")).chain(headers).chain(body).collect();
    let is_cut = said.is_cut || lines.len() > REFUSAL;
    lines.into_iter().take(REFUSAL).chain(is_cut.then(|| "…".to_owned())).collect()
}

fn tried(attempt: &Attempt, now: SystemTime) -> String {
    let ago = moment(&attempt.at).map(|at| words::between(at, now)).unwrap_or_default();
    let outcome = match (&attempt.cause, &attempt.address) {
        (Some(cause), _) => {
            let status = attempt.status.map(|status| format!(" {status}")).unwrap_or_default();
            format!("{cause}{status}: {}", visible(attempt.detail.as_deref().unwrap_or_default()))
        }
        (None, Some(address)) => format!("{} at {address}", attempt.result),
        (None, None) => attempt.result.clone(),
    };
    let timings = attempt.timings.as_ref().map(timed).unwrap_or_default();
    let then = attempt.then_waits_ms.map(|wait| format!("  then {}", words::millis(wait))).unwrap_or_default();
    format!("{ago:>8} ago  attempt {} {}  {outcome}{timings}{then}", attempt.attempt, visible(&attempt.url))
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
mod tests;
