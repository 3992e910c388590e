//! `wskeeper tail`: what arrives from an endpoint, as lines.
//!
//! What a reader would get wrong: stdout carries data only. A link that goes down, a gap, a daemon that is restarted are
//! told on stderr, so that a pipe sees messages and nothing else; `--json` puts every event on stdout instead.

use std::time::Duration;

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::Value;

use super::{
    Failure, args,
    client::{Call, Client, ClientError, escape},
    output::{Output, Paint, unread},
    sse::{Parser, SseEvent},
};
use crate::{api::wire::Frame, observe::visible};

/// Between two tries to reach a daemon that has gone away.
const RETRY: Duration = Duration::from_secs(1);

/// Prints until Ctrl-C, or until `--count` messages.
pub(super) async fn run(args: args::Tail, client: Client, output: &Output) -> Result<(), Failure> {
    tokio::select! {
        ended = follow(&args, &client, output) => ended,
        () = super::stopped() => Ok(()),
        () = unread() => Ok(()),
    }
}

async fn follow(args: &args::Tail, client: &Client, output: &Output) -> Result<(), Failure> {
    let mut tail = Tail { args, output, seen: String::new(), messages: 0, is_away: false };
    let mut was_connected = false;
    loop {
        let error = match tail.read(client, &mut was_connected).await {
            Ok(()) => return Ok(()),
            Err(Failure::Client(error)) if was_connected && error.is_transport() => error,
            Err(failure) => return Err(failure),
        };
        let was_told = std::mem::replace(&mut tail.is_away, true);
        if !was_told {
            output.note(format_args!("-- {error} Trying again each second."), Paint::Yellow);
        }
        tokio::time::sleep(RETRY).await;
    }
}

struct Tail<'a> {
    args: &'a args::Tail,
    output: &'a Output,
    /// The cursor of the last event seen: where a new stream goes on.
    seen: String,
    messages: u64,
    is_away: bool,
}

impl Tail<'_> {
    /// Reads one stream; `Ok` when enough was read.
    async fn read(&mut self, client: &Client, was_connected: &mut bool) -> Result<(), Failure> {
        let path = path(self.args);
        let mut headers = vec![("accept", "text/event-stream".to_owned())];
        if !self.seen.is_empty() {
            headers.push(("last-event-id", self.seen.clone()));
        }
        let mut answer = client.stream(Call { path: &path, headers, ..Call::default() }).await?;
        *was_connected = true;
        if std::mem::take(&mut self.is_away) {
            self.output.note("-- the daemon is back", Paint::Dim);
        }
        let mut parser = Parser::default();
        while let Some(chunk) = answer.next().await {
            let chunk = chunk.map_err(|error| client.lost(error))?;
            let mut events = Vec::new();
            parser.feed(&chunk, |event| events.push(event))?;
            for event in events {
                if self.show(&event)? {
                    return Ok(());
                }
            }
        }
        Err(ClientError::Lost { target: client.address(), error: "the event stream ended.".into() }.into())
    }

    /// Prints an event; whether it was the last one wanted.
    fn show(&mut self, event: &SseEvent) -> Result<bool, Failure> {
        if !event.id.is_empty() {
            self.seen.clone_from(&event.id);
        }
        let data: Value = serde_json::from_str(&event.data).unwrap_or_else(|_| Value::String(event.data.clone()));
        if self.args.json {
            self.output.line(&data)?;
        } else if event.kind == "frame" {
            self.output.line(frame(&data))?;
        } else if event.kind == "message" {
            self.output.raw(&line(&data))?;
        } else {
            self.output.note(note(&event.kind, &data), Paint::Dim);
        }
        self.messages += u64::from(matches!(event.kind.as_str(), "message" | "frame"));
        Ok(self.args.count.is_some_and(|count| self.messages >= count))
    }
}

fn path(args: &args::Tail) -> String {
    if args.frames {
        let link = args.link.map(|link| format!("&link={link}")).unwrap_or_default();
        return format!("/v1/endpoints/{}/frames?payloads={}{link}", escape(&args.endpoint), args.payloads);
    }
    let types = if args.types.is_empty() { String::new() } else { format!("&types={}", escape(&args.types.join(","))) };
    let stream = args.stream.iter().map(|name| format!("&stream={}", escape(name)));
    let parts = stream.chain(args.matches.iter().map(|condition| format!("&match={}", escape(condition))));
    let parts: String = parts.collect::<Vec<_>>().concat();
    format!("/v1/endpoints/{}/events?from={}{types}{parts}", escape(&args.endpoint), args.from)
}

/// Text as it is; binary in base64, marked, because a terminal cannot show it.
fn line(data: &Value) -> Vec<u8> {
    let text = data.get("data").and_then(Value::as_str).unwrap_or_default();
    if data.get("binary").and_then(Value::as_bool) == Some(true) {
        let bytes = STANDARD.decode(text).map_or(0, |bytes| bytes.len());
        return format!("binary {bytes} B base64 {text}\n").into_bytes();
    }
    format!("{text}\n").into_bytes()
}

/// A frame as a line; what a peer says cannot steer the terminal.
fn frame(data: &Value) -> String {
    let frame: Frame = serde_json::from_value(data.clone()).unwrap_or_default();
    let text = |text: Option<String>| text.unwrap_or_default();
    let arrow = if frame.direction.as_deref() == Some("in") { "←" } else { "→" };
    let bytes = frame.bytes.unwrap_or_default();
    let (link, generation) = (text(frame.link), frame.generation.unwrap_or_default());
    let close = frame.code.map(|code| format!(" {code} {}", text(frame.reason))).unwrap_or_default();
    let more = if frame.truncated { "…" } else { "" };
    let shown = frame.data.map(|shown| format!("  {shown}{more}")).unwrap_or_default();
    let whole =
        format!("{} {arrow} {link} #{generation} {} {bytes} B{close}{shown}", text(frame.at), text(frame.opcode));
    visible(whole.trim_end()).into_owned()
}

fn note(kind: &str, data: &Value) -> String {
    let text = |key: &str| match data.get(key) {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) => text.clone(),
        Some(value) => value.to_string(),
    };
    let link = match text("link").as_str() {
        // What a consumer lost is of all links of the endpoint.
        "" => text("endpoint"),
        index => format!("{}/{index}", text("endpoint")),
    };
    let more = match kind {
        "open" => format!("connection {} is open", text("generation")),
        "close" => {
            let clean = if data.get("wasClean").and_then(Value::as_bool) == Some(true) { "clean" } else { "not clean" };
            format!("closed with {} ({}, {clean}) {}", text("code"), text("cause"), text("reason"))
        }
        "error" => format!("failed: {} {}", text("cause"), text("detail")),
        "phase" => format!("{} ({})", text("phase"), text("phaseReason")),
        "gap" if text("from").is_empty() => return format!("-- {} frames went by unseen", text("missed")),
        "gap" if text("kind") == "link" => {
            format!("not heard from {} to {}: the link was down", text("from"), text("to"))
        }
        // How many is not known where an earlier run of the daemon had them.
        "gap" if text("missed").is_empty() => format!("missed events, {} to {}", text("from"), text("to")),
        "gap" => format!("missed {} events, {} to {}", text("missed"), text("from"), text("to")),
        _ => data.to_string(),
    };
    format!("-- {link} {}", visible(more.trim_end()))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_text_message_is_a_line_and_a_binary_one_is_marked() {
        assert_eq!(line(&json!({"data": "hello"})), b"hello\n");
        assert_eq!(line(&json!({"data": "AAE=", "binary": true})), b"binary 2 B base64 AAE=\n");
    }

    #[test]
    fn other_events_are_sentences() {
        let close = json!({"endpoint":"t","link":0,"code":1006,"cause":"reset","wasClean":false,"reason":""});
        assert_eq!(note("close", &close), "-- t/0 closed with 1006 (reset, not clean)");
        let gap = json!({"endpoint":"t","link":0,"kind":"lag","missed":3,"from":5,"to":7});
        assert_eq!(note("gap", &gap), "-- t/0 missed 3 events, 5 to 7");
        let lag = json!({"endpoint":"t","link":null,"kind":"lag","missed":null,"from":9,"to":9});
        assert_eq!(note("gap", &lag), "-- t missed events, 9 to 9");
        let phase = json!({"endpoint":"t","link":0,"phase":"waiting","phaseReason":"backoff"});
        assert_eq!(note("phase", &phase), "-- t/0 waiting (backoff)");
    }
}
