//! What is logged: levels, fields, and what a peer's text cannot do.

use std::{io, sync::Arc, time::Duration};

use parking_lot::Mutex;
use tracing::Subscriber;
use tracing_subscriber::{filter::Targets, layer::SubscriberExt};

use super::*;

#[test]
fn a_transition_is_one_line_with_its_cause() {
    let lines = logged("info", |world| {
        world.tell(&phase(Phase::Ready, Phase::Waiting));
        world.tell(&opened());
        world.tell(&dial_failed(Cause::Tls));
    });
    assert_eq!(lines.len(), 3, "{lines:?}");
    assert_eq!(lines[0]["level"], "INFO");
    let fields = &lines[0]["fields"];
    assert_eq!(fields["message"], "link changed phase");
    assert_eq!(fields["link"], "trades/0");
    assert_eq!((&fields["phase"], &fields["reason"]), (&"waiting".into(), &"backoff".into()));
    assert_eq!(fields["delay_ms"], 1500);
    assert_eq!(lines[1]["fields"]["url"], "wss://feed.example/v2");
    assert_eq!((&lines[2]["level"], &lines[2]["fields"]["cause"]), (&"WARN".into(), &"tls".into()));
}

#[test]
fn losses_and_parked_links_are_warnings_and_what_policy_drops_is_not() {
    let lines = logged("info", |world| {
        world.tell(&phase(Phase::Waiting, Phase::Parked));
        world.tell(&closed(1006, false, Cause::Reset));
        world.settle(State::Unknown, Some(EndReason::LinkLost));
        world.settle(State::Dropped, Some(EndReason::Evicted));
        world.tell(&Event::HeartbeatTimeout { silent: Duration::from_secs(30) });
    });
    assert_eq!(lines.len(), 4, "{lines:?}");
    assert!(lines.iter().all(|line| line["level"] == "WARN"), "{lines:?}");
}

#[test]
fn a_payload_is_logged_at_no_level() {
    let lines = logged("trace", |world| {
        world.receive("hush");
        world.tell(&Event::PingSent);
    });
    assert_eq!(lines.len(), 2, "{lines:?}");
    assert!(!format!("{lines:?}").contains("hush"), "{lines:?}");
}

#[test]
fn a_peers_text_is_a_plain_string_in_json() {
    let lines = logged("info", |world| {
        world.tell(&bye("say \"bye\""));
        world.tell(&bye(""));
        world.tell(&bye(HOSTILE));
    });
    let reasons: Vec<&str> = lines.iter().map(|line| line["fields"]["reason"].as_str().unwrap()).collect();
    assert_eq!(reasons, ["say \"bye\"", "", HARMLESS]);
    assert_eq!(lines[0]["fields"]["detail"], "say \"bye\"");
}

#[test]
fn a_peers_text_forges_no_line_no_field_and_no_colour_in_the_form_for_people() {
    let subscriber = |page: Page| {
        let form = tracing_subscriber::fmt::layer().compact().with_ansi(false).with_writer(move || page.clone());
        tracing_subscriber::registry().with(form)
    };
    let text = written(subscriber, |world| world.tell(&bye(HOSTILE)));
    assert_eq!(text.lines().count(), 1, "{text}");
    assert!(text.contains(&format!("reason={HARMLESS:?} clean=true")), "{text}");
    assert!(!text.trim_end().chars().any(char::is_control), "{text:?}");
}

/// A line's end, a colour, the one-byte form of its beginning, and what turns the reading direction round.
const HOSTILE: &str = "bye\r\nINFO forged \u{1b}[31m\u{9b}31m\u{7f}\u{202e} code=1000";
const HARMLESS: &str = "bye␍␊INFO forged ␛[31m\u{fffd}31m␡\u{fffd} code=1000";

fn bye(text: &str) -> Event {
    let mut ending = closed(4000, true, Cause::Remote);
    if let Event::Closed { closed, .. } = &mut ending {
        let closed = Arc::make_mut(closed);
        (closed.reason, closed.detail) = (text.into(), text.into());
    }
    ending
}

/// The lines that `tell` leaves in a JSON log of this level.
fn logged(level: &str, tell: impl FnOnce(&World)) -> Vec<serde_json::Value> {
    let json = |page: Page| {
        let form = tracing_subscriber::fmt::layer().json().with_writer(move || page.clone());
        tracing_subscriber::registry().with(form).with(level.parse::<Targets>().unwrap())
    };
    written(json, tell).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn written<S: Subscriber + Send + Sync>(subscriber: impl FnOnce(Page) -> S, tell: impl FnOnce(&World)) -> String {
    let page = Page::default();
    tracing::subscriber::with_default(subscriber(page.clone()), || tell(&World::new(false)));
    let bytes = page.0.lock().clone();
    String::from_utf8(bytes).unwrap()
}

#[derive(Clone, Default)]
struct Page(Arc<Mutex<Vec<u8>>>);

impl io::Write for Page {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
