//! `push`: where messages of the inbox go by themselves.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use http::HeaderName;

use super::{MAX_DURATION, item::Item, proxy, request, section::Section, streams};
use crate::config::{
    ConfiguredEndpoint,
    bridge::Bridge,
    push::{self, Push, PushBody, PushHttp, PushTo},
};
use wskeeper_core::{
    backoff,
    push::{OnRefused, Policy},
    session::Filter,
};
use wskeeper_link::endpoint::{Template, template::Redaction, url::Target};

/// As many as this an endpoint may have.
const MOST: usize = 16;
const LEAST: Duration = Duration::from_millis(10);
const TIMEOUT: Duration = Duration::from_secs(30);
/// What a receiver's `Retry-After` counts up to.
const RETRY_AFTER_MAX: Duration = Duration::from_hours(1);
/// Messages in one request of events.
const BATCH: usize = 100;
const MOST_ITEMS: u64 = 10_000;
const MAX_BYTES: u64 = 1 << 20;
const MOST_BYTES: u64 = 64 << 20;

/// Headers that a push, or HTTP itself, gives a request.
const OWNED: [&str; 10] = [
    "connection",
    "content-length",
    "expect",
    "host",
    "idempotency-key",
    "keep-alive",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];
const OWNED_BEGINNINGS: [&str; 2] = ["webhook-", "wskeeper-"];

/// The list, where it is written; pushes with a fault are left out.
pub(in crate::config) fn read(section: &Section<'_>, pushes: &mut Vec<Push>) {
    let Some(list) = section.list("push") else { return };
    if list.len() > MOST {
        section.fault("push", format!("are {}, more than {MOST}", list.len()), "let one receiver pass messages on");
        return;
    }
    let mut names = BTreeSet::new();
    *pushes = list.iter().filter_map(|section| push(section, &mut names)).collect();
}

/// A push, or a bridge, may name a stream that the endpoint has.
pub(super) fn look_at_streams(section: &Section<'_>, endpoint: &ConfiguredEndpoint) {
    let known: Vec<&str> = endpoint.streams.iter().map(|stream| &*stream.name).collect();
    let bridges = endpoint.bridges.iter().map(|bridge| match bridge {
        Bridge::Out(push) => ("bridges", push),
    });
    for (key, push) in endpoint.push.iter().map(|push| ("push", push)).chain(bridges) {
        if let Some(stream) = push.stream.as_deref().filter(|stream| !known.contains(stream)) {
            let hint = match known.as_slice() {
                [] => "the endpoint has no `streams`".to_owned(),
                known => super::section::suggestion(stream, known),
            };
            section.fault(key, format!("{:?} reads a stream that there is not", &*push.name), hint);
        }
    }
}

fn push(section: &Section<'_>, names: &mut BTreeSet<String>) -> Option<Push> {
    let name = name(section, names, "push");
    let to = to(section);
    let is_command = section.has("command");
    let body = body(section, is_command);
    let reading = reading(section);
    let policy = policy_of(section, body.unwrap_or(PushBody::Events));
    let timeout = timeout(section);
    section.finish();
    let (stream, filter) = reading?;
    Some(Push { name: name?, to: to?, body: body?, stream, filter, policy: policy?, timeout: timeout? })
}

/// `name`, which no other of these has.
pub(super) fn name(section: &Section<'_>, names: &mut BTreeSet<String>, what: &str) -> Option<Arc<str>> {
    if !section.has("name") {
        section.fault("name", "is missing", "say what it is called: its cursor is kept under that name");
    }
    section.get("name").and_then(|item| streams::name(&item, names, what))
}

/// `stream` and `match`: what is read.
pub(super) fn reading(section: &Section<'_>) -> Option<(Option<Arc<str>>, Option<Filter>)> {
    let stream = section.get("stream").map(|item| item.text().map(Arc::from));
    let filter = section.section("match").entries().into_iter().map(|(source, item)| streams::wanted(&item, source));
    let filter: Option<Vec<_>> = filter.collect::<Vec<_>>().into_iter().collect();
    let filter = filter.map(|wanted| (!wanted.is_empty()).then(|| Filter::new(wanted)))?;
    Some((stream.map_or(Some(None), |stream| stream.map(Some))?, filter))
}

/// `timeout`
pub(super) fn timeout(section: &Section<'_>) -> Option<Duration> {
    section.get("timeout").map_or(Some(TIMEOUT), |item| item.duration(LEAST..=MAX_DURATION))
}

/// `url` with its own keys, or `command`.
fn to(section: &Section<'_>) -> Option<PushTo> {
    let url = section.get("url").map(|item| url(&item));
    let command = section.get("command").map(|item| command(&item));
    let headers = section.section("headers").entries().into_iter().map(|(name, item)| header(name, &item));
    let headers: Option<Vec<_>> = headers.collect::<Vec<_>>().into_iter().collect();
    let secret = section.get("secret").map(|item| secret(&item));
    let words = [("system", false), ("endpoint", true)];
    let tls = section.get("tls").map_or(Some(false), |item| item.word(&words));
    let proxy = proxy::read(section);
    match (url, command) {
        (Some(url), None) => {
            let (url, headers, secret) = (url?, headers?, secret.map_or(Some(None), |secret| secret.map(Some))?);
            let http = PushHttp { url, headers, secret, tls_of_endpoint: tls?, proxy: proxy? };
            look_at_credentials(section, &http);
            Some(PushTo::Http(Box::new(http)))
        }
        (None, Some(command)) => {
            for key in ["headers", "secret", "tls", "proxy", "proxy_headers", "proxy_ca"] {
                if section.has(key) {
                    section.fault(key, "means nothing for a program", "leave it out");
                }
            }
            command.map(PushTo::Command)
        }
        (Some(_), Some(_)) => {
            section.fault("command", "stands beside `url`, and a push goes to one receiver", "make two of it");
            None
        }
        (None, None) => {
            let hint = "say where to: url = \"https://receiver.example/hook\", or command = [\"/usr/bin/program\"]";
            section.fault("url", "is missing", hint);
            None
        }
    }
}

fn url(item: &Item<'_>) -> Option<Template> {
    let template = item.template()?.with_redaction(Redaction::Url);
    request::look_at_files(item, &template);
    if let Some(Err(fault)) = template.as_literal().map(|literal| Target::http(&literal)) {
        item.fault(fault.to_string(), "write it like \"https://receiver.example/hook\"");
        return None;
    }
    Some(template)
}

fn command(item: &Item<'_>) -> Option<Vec<Template>> {
    if !item.report.may_run(item.value.origin(), &item.path) {
        return None;
    }
    let list = item.list()?;
    if list.is_empty() {
        item.fault("names no program", "write it with its arguments: [\"/usr/bin/program\", \"--option\"]");
        return None;
    }
    list.iter().map(|item| Some(item.template()?.with_redaction(Redaction::Open))).collect()
}

fn header(name: &str, item: &Item<'_>) -> Option<(HeaderName, Template)> {
    let template = item.template().map(|template| template.with_redaction(Redaction::Literals));
    let Ok(header) = HeaderName::try_from(name) else {
        item.fault("is not a header's name", "write it as HTTP does: \"X-Api-Key\"");
        return None;
    };
    let is_owned = OWNED.contains(&header.as_str())
        || OWNED_BEGINNINGS.iter().any(|beginning| header.as_str().starts_with(beginning));
    if is_owned {
        item.fault("is a header that a push gives its requests itself", "leave it out");
        return None;
    }
    let template = template?;
    request::look_at_files(item, &template);
    Some((header, template))
}

fn secret(item: &Item<'_>) -> Option<Template> {
    let template = item.template()?.with_redaction(Redaction::Literals);
    request::look_at_files(item, &template);
    if let Some(Err(fault)) = template.as_literal().map(|literal| push::signing_key(&literal)) {
        item.fault(fault, "give receiver and daemon the same secret: \"${file:push.secret}\"");
        return None;
    }
    Some(template)
}

fn look_at_credentials(section: &Section<'_>, http: &PushHttp) {
    let Some(Ok(target)) = http.url.as_literal().map(|text| Target::parse(&text)) else { return };
    let authorized = http.headers.iter().any(|(name, _)| matches!(name.as_str(), "authorization" | "cookie"));
    if !target.tls && !target.is_loopback() && (authorized || target.basic_auth.is_some()) {
        section.warn("url", "credentials go over the network in clear: use https://");
    }
}

fn body(section: &Section<'_>, is_command: bool) -> Option<PushBody> {
    let unsaid = if is_command { PushBody::Events } else { PushBody::Message };
    let body = section.get("body").map_or(Some(unsaid), |item| item.word(&PushBody::WORDS))?;
    if is_command && body == PushBody::Message {
        section.fault("body", "a message may have lines, or none: a program gets events", "leave it out");
        return None;
    }
    Some(body)
}

fn policy_of(section: &Section<'_>, body: PushBody) -> Option<Policy> {
    let is_single = body == PushBody::Message;
    let policy = policy(section, ("batch", if is_single { 1 } else { BATCH }), !is_single)?;
    if is_single && policy.max_items > 1 {
        section.fault("batch", "is more than the one message that a body has", "write body = \"events\" for several");
    }
    Some(policy)
}

/// Batches of at most so many messages as this key says, and delays.
pub(super) fn policy(
    section: &Section<'_>,
    (key, unsaid): (&'static str, usize),
    tells_gaps_alone: bool,
) -> Option<Policy> {
    let whole = |item: Item<'_>| usize::try_from(item.integer(1..=MOST_ITEMS)?).ok();
    let max_items = section.get(key).map_or(Some(unsaid), whole);
    let max_bytes = section.get("max_bytes").map_or(Some(MAX_BYTES), |item| item.size(1..=MOST_BYTES));
    let words = [("skip", OnRefused::Skip), ("stop", OnRefused::Stop), ("retry", OnRefused::Retry)];
    let on_refused = section.get("on_refused").map_or(Some(OnRefused::Skip), |item| item.word(&words));
    let backoff = delays(&section.section("retry"));
    Some(Policy {
        max_items: max_items?,
        max_bytes: usize::try_from(max_bytes?).unwrap_or(usize::MAX),
        tells_gaps_alone,
        on_refused: on_refused?,
        backoff: backoff?,
        retry_after_max: RETRY_AFTER_MAX,
    })
}

/// `initial` and `max`, between attempts.
pub(super) fn delays(retry: &Section<'_>) -> Option<backoff::Policy> {
    let defaults = (Duration::from_secs(1), Duration::from_mins(1));
    let span = |key, unsaid| retry.get(key).map_or(Some(unsaid), |item| item.duration(LEAST..=MAX_DURATION));
    let (initial, max) = (span("initial", defaults.0), span("max", defaults.1));
    if let (Some(initial), Some(max)) = (initial, max)
        && initial > max
    {
        let key = if retry.has("initial") { "initial" } else { "max" };
        retry.fault(key, "`initial` is longer than `max`", "write an `initial` of at most `max`");
    }
    retry.finish();
    let (initial, max) = (initial?, max?);
    Some(backoff::Policy {
        first: initial,
        initial: initial.saturating_mul(2).min(max),
        max,
        ..backoff::Policy::default()
    })
}
