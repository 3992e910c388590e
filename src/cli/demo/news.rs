//! The demo's news: what happens to the links, in plain words, from the pool's event stream.

use std::{collections::BTreeMap, convert::Infallible, sync::atomic::Ordering, time::Duration};

use http::StatusCode;
use serde_json::Value;

use super::{clock, traffic::Tally};
use crate::cli::{
    client::{Call, Client},
    output::{Output, Paint},
    sse::Parser,
    words,
};
use wskeeper_core::close::Cause;

/// Prints news for ever; connects again where the stream ends.
pub(super) async fn follow(port: u16, tally: &Tally, output: &Output) -> Infallible {
    let client = Client::local(port);
    let mut seen = BTreeMap::new();
    loop {
        let call = Call { path: "/v1/events?from=oldest", ..Call::default() };
        if let Ok(mut answer) = client.stream(call).await {
            let mut parser = Parser::default();
            while let Some(Ok(chunk)) = answer.next().await {
                let read = parser.feed(&chunk, |event| {
                    let data = serde_json::from_str(&event.data).unwrap_or_default();
                    if let Some((text, paint)) = story(&event.kind, &data, &mut seen, tally) {
                        let text = format!("{}  {}", clock(tally.started.elapsed()), output.paint(&text, paint));
                        let _ = output.line(text);
                    }
                });
                if read.is_err() {
                    break;
                }
            }
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}

/// A line for an event that a person would want to hear of. `seen` holds the newest cursor told of for each endpoint's link.
fn story(kind: &str, data: &Value, seen: &mut BTreeMap<String, u64>, tally: &Tally) -> Option<(String, Paint)> {
    let number = |key: &str| data.get(key).and_then(Value::as_u64);
    let link = format!("{}/{}", text(data, "endpoint"), number("link").unwrap_or_default());
    // A stream read again from the oldest event brings what has been told.
    let cursor = number("cursor").or_else(|| text(data, "cursor").parse().ok()).unwrap_or_default();
    let last = seen.entry(link.clone()).or_default();
    if cursor != 0 && cursor <= *last {
        return None;
    }
    *last = cursor;
    match kind {
        "open" => {
            let generation = number("generation").unwrap_or_default();
            if generation <= 1 {
                return Some((format!("{link} is connected"), Paint::Green));
            }
            tally.reconnects.fetch_add(1, Ordering::Relaxed);
            Some((
                format!("{link} is connected again (connection {generation}) and sends what was queued"),
                Paint::Green,
            ))
        }
        "error" => {
            let cause = Cause::from_word(text(data, "cause")).map_or(text(data, "cause"), |cause| words::cause(cause));
            let status = text(data, "detail").split_once("upgrade with status ").and_then(|(_, rest)| rest.get(..3));
            let status = status.and_then(|status| status.parse::<StatusCode>().ok());
            let cause = status.map_or_else(|| cause.to_owned(), |status| status.to_string());
            Some((format!("{link} is down: {cause}"), Paint::Red))
        }
        "close" if Cause::from_word(text(data, "cause")).is_some_and(|cause| !cause.is_failure()) => {
            Some((format!("{link} was closed with {}", number("code").unwrap_or_default()), Paint::Yellow))
        }
        _ => None,
    }
}

fn text<'a>(data: &'a Value, key: &str) -> &'a str {
    data.get(key).and_then(Value::as_str).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[tokio::test]
    async fn only_what_a_person_would_ask_about_is_told_and_only_once() {
        let (tally, mut seen) = (Tally::default(), BTreeMap::new());
        let open = json!({"endpoint":"a","link":0,"generation":2,"cursor":5});
        let (text, _) = story("open", &open, &mut seen, &tally).unwrap();
        assert!(text.starts_with("a/0 is connected again (connection 2)"), "{text}");
        assert!(story("open", &open, &mut seen, &tally).is_none());
        assert_eq!(tally.reconnects.load(Ordering::Relaxed), 1);
        assert!(story("phase", &json!({"endpoint":"a","link":0,"cursor":6}), &mut seen, &tally).is_none());
        let error = json!({"endpoint":"a","link":0,"cursor":7,"cause":"upgrade","detail":"the server answered the upgrade with status 503, not with 101"});
        let (text, _) = story("error", &error, &mut seen, &tally).unwrap();
        assert_eq!(text, "a/0 is down: 503 Service Unavailable");
    }
}
