//! The program of the demo that sends, and its book of what became of each message.

use std::{
    convert::Infallible,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use http::Method;
use tokio::{
    sync::Semaphore,
    time::{Instant, interval},
};

use super::clock;
use crate::api::wire::{Problem, Receipt};
use crate::cli::{
    client::{Call, Client},
    output::{Output, Paint},
    words,
};

/// Each endpoint gets a message this often.
const PERIOD: Duration = Duration::from_millis(500);
/// The book is read out this often.
const REPORT: Duration = Duration::from_secs(5);
/// Messages that wait for their end at once; more are not sent.
const UNDER_WAY: usize = 300;
const ENDPOINTS: [&str; 3] = ["dropping", "stalling", "refusing"];

/// What became of the messages, and of the links.
#[derive(Debug)]
pub(super) struct Tally {
    pub(super) started: Instant,
    places: Semaphore,
    sent: AtomicU64,
    confirmed: AtomicU64,
    unknown: AtomicU64,
    other: AtomicU64,
    pub(super) reconnects: AtomicU64,
}

impl Default for Tally {
    fn default() -> Self {
        let zero = || AtomicU64::new(0);
        Self {
            started: Instant::now(),
            places: Semaphore::new(UNDER_WAY),
            sent: zero(),
            confirmed: zero(),
            unknown: zero(),
            other: zero(),
            reconnects: zero(),
        }
    }
}

impl Tally {
    /// Waits until every message has its end.
    pub(super) async fn settled(&self) {
        let all = u32::try_from(UNDER_WAY).unwrap_or(u32::MAX);
        drop(self.places.acquire_many(all).await);
    }

    /// The last lines of the demo.
    pub(super) fn summary(&self) -> String {
        let [sent, confirmed, unknown, other] = self.numbers();
        let open = sent.saturating_sub(confirmed + unknown + other);
        format!(
            "\n{} sent in {}: {} confirmed by the peers,\n{} unknown (on the wire when a link was lost), {} still queued or under \
             way,\n{} other; {} reconnects. None vanished.",
            words::count(sent, "message"),
            words::span(Duration::from_secs(self.started.elapsed().as_secs())),
            words::grouped(confirmed),
            words::grouped(unknown),
            words::grouped(open),
            words::grouped(other),
            words::grouped(self.reconnects.load(Ordering::Relaxed)),
        )
    }

    fn numbers(&self) -> [u64; 4] {
        [&self.sent, &self.confirmed, &self.unknown, &self.other].map(|number| number.load(Ordering::Relaxed))
    }

    fn record(&self, state: &str) {
        let number = match state {
            "confirmed" => &self.confirmed,
            "unknown" => &self.unknown,
            _ => &self.other,
        };
        number.fetch_add(1, Ordering::Relaxed);
    }
}

/// Sends for ever.
pub(super) async fn send(port: u16, tally: &Arc<Tally>) -> Infallible {
    let mut tick = interval(PERIOD);
    let mut number = 0_u64;
    loop {
        tick.tick().await;
        number += 1;
        for endpoint in ENDPOINTS {
            let (tally, text) = (tally.clone(), format!("message {number} for {endpoint}"));
            tokio::spawn(async move {
                let Ok(place) = tally.places.try_acquire() else { return };
                one(port, endpoint, text, &tally).await;
                drop(place);
            });
        }
    }
}

/// One message to its end.
async fn one(port: u16, endpoint: &str, text: String, tally: &Tally) {
    let path = format!("/v1/endpoints/{endpoint}/messages?wait=confirmed&timeout=60s");
    let call = Call { path: &path, body: Some(("text/plain", Bytes::from(text))), headers: Vec::new() };
    tally.sent.fetch_add(1, Ordering::Relaxed);
    // An answer that never comes leaves the message in the book as under way, which is what it is.
    if let Ok((_, body)) = Client::local(port).exchange(Method::POST, call).await {
        let state = reached(&body);
        if state != "queued" && state != "written" {
            tally.record(&state);
        }
    }
}

/// The state in a receipt, or in that of a problem; a message that was refused has none.
fn reached(body: &[u8]) -> String {
    let receipt = serde_json::from_slice::<Receipt>(body).ok();
    let receipt = receipt.or_else(|| serde_json::from_slice::<Problem>(body).ok()?.receipt);
    receipt.map(|receipt| receipt.state).unwrap_or_default()
}

/// Reads the book out, for ever.
pub(super) async fn report(tally: &Tally, output: &Output) -> Infallible {
    let mut tick = interval(REPORT);
    tick.tick().await;
    loop {
        tick.tick().await;
        let [sent, confirmed, unknown, other] = tally.numbers();
        let open = sent.saturating_sub(confirmed + unknown + other);
        let text = format!(
            "{}  receipts: {sent} sent, {confirmed} confirmed, {unknown} unknown, {open} queued or under way",
            clock(tally.started.elapsed())
        );
        // A reader that has gone away is told of by the next line that matters.
        let _ = output.line(output.paint(&text, Paint::Dim));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_book_adds_up() {
        let tally = Tally::default();
        tally.sent.store(10, Ordering::Relaxed);
        for state in ["confirmed", "confirmed", "unknown", "dropped"] {
            tally.record(state);
        }
        let summary = tally.summary();
        assert!(summary.contains("10 messages sent"), "{summary}");
        assert!(summary.contains("2 confirmed"), "{summary}");
        assert!(summary.contains("6 still queued"), "{summary}");
        assert!(summary.contains("1 other"), "{summary}");
        tally.settled().await;
    }
}
