//! A program that sends one message after the other and remembers each answer; and what must be true of all of it at the end.
//!
//! A send whose answer was lost is *uncertain*: it may have been accepted or not. With an idempotency key it is sent again until
//! there is an answer, and then it is as certain as any other.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use serde_json::Value;
use tokio::time::{sleep, timeout};

use super::{chance::Chance, recorder::Recorder};
use crate::support::{PATIENCE, api::Api, until};

/// One message, as its sender remembers it.
#[derive(Debug, Clone)]
pub struct Sent {
    /// `CALLER-NUMBER`.
    pub text: String,
    /// Of its receipt; `None`: uncertain.
    pub id: Option<String>,
    /// Connections that the peer had seen when the receipt was seen `confirmed`.
    pub confirmed_at: Option<usize>,
}

/// A caller of one link.
pub struct Caller {
    /// What its messages begin with.
    pub name: String,
    /// Where it sends.
    pub endpoint: &'static str,
    /// The daemon, also after it was started again.
    pub api: Api,
    /// The peer of the link.
    pub recorder: Recorder,
    /// Its chance.
    pub chance: Arc<Chance>,
}

impl Caller {
    /// Sends until `enough`, which is asked after each message.
    pub async fn run(self, enough: Arc<AtomicBool>) -> Vec<Sent> {
        let mut sent: Vec<Sent> = Vec::new();
        for number in 1.. {
            let text = format!("{}-{number:06}", self.name);
            let id = self.send(&text).await;
            sent.push(Sent { text, id, confirmed_at: None });
            if self.chance.once_in(3) {
                let back = usize::try_from(self.chance.below(20)).unwrap().min(sent.len() - 1);
                let at = sent.len() - 1 - back;
                self.look(&mut sent[at]).await;
            }
            if enough.load(Ordering::Relaxed) {
                break;
            }
            if self.chance.once_in(8) {
                sleep(Duration::from_millis(self.chance.below(200))).await;
            }
        }
        sent
    }

    /// Answers with the receipt's id, or `None` where the answer was lost.
    async fn send(&self, text: &str) -> Option<String> {
        let path = format!("/v1/endpoints/{}/messages", self.endpoint);
        let key = self.chance.once_in(3).then(|| format!("key of {text}"));
        let mut headers = vec![("content-type", "text/plain")];
        headers.extend(key.as_deref().map(|key| ("idempotency-key", key)));
        loop {
            let answer = timeout(PATIENCE, self.api.try_post(&path, &headers, text.to_owned())).await;
            match answer.unwrap_or_else(|_| panic!("no answer to {text}")) {
                Ok(answer) if answer.status == 202 => return Some(answer.json()["id"].as_str().unwrap().to_owned()),
                // Full: not accepted.
                Ok(answer) if answer.status == 429 => sleep(Duration::from_millis(20)).await,
                // Stopping: not accepted.
                Ok(answer) if answer.json()["type"] == "urn:wskeeper:problem:draining" => self.until_it_is_back().await,
                Ok(answer) => panic!("{text}: {} {}", answer.status, String::from_utf8_lossy(&answer.body)),
                Err(_) => {
                    self.until_it_is_back().await;
                    // Without a key nobody knows whether it was accepted.
                    key.as_ref()?;
                }
            }
        }
    }

    async fn until_it_is_back(&self) {
        until("a daemon", || async { self.api.try_get("/livez").await.map_err(|error| error.to_string()) }).await;
    }

    /// Notes when a receipt says `confirmed`. The count of connections is taken afterwards: a later one is later for certain.
    async fn look(&self, sent: &mut Sent) {
        let Some(id) = sent.id.as_ref().filter(|_| sent.confirmed_at.is_none()) else { return };
        let Ok(answer) = self.api.try_get(&format!("/v1/messages/{id}")).await else { return };
        if answer.status == 200 && answer.json()["state"] == "confirmed" {
            sent.confirmed_at = Some(self.recorder.connections());
        }
    }
}

/// Waits until everything sent before has come to rest: a last message is confirmed, and links keep the order.
pub async fn settle(api: &Api, endpoint: &str) {
    let path = format!("/v1/endpoints/{endpoint}/messages?wait=confirmed&timeout=5s");
    until("a confirmed message behind all others", || async {
        let answer = api.post(&path, &[("content-type", "text/plain")], "settle").await;
        if answer.status == 200 { Ok(()) } else { Err(answer) }
    })
    .await;
}

/// What a link promised.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Promise {
    /// `delivery = "at_least_once"`.
    AtLeastOnce,
    /// `delivery = "at_most_once"`.
    AtMostOnce,
}

/// Sums of a run, for people.
#[derive(Debug, Default)]
pub struct Sums {
    pub certain: usize,
    pub uncertain: usize,
    pub arrived: usize,
    pub repeated: usize,
    pub unknown: usize,
    pub seen_confirmed: usize,
}

/// Holds the peer's record against the sender's, and every receipt against both. Answers with what is wrong.
pub async fn faults(promise: Promise, api: &Api, recorder: &Recorder, sent: &[Sent]) -> (Sums, Vec<String>) {
    let (mut sums, mut faults) = (Sums::default(), order_faults(recorder));
    let mut by_text: BTreeMap<String, Vec<usize>> = BTreeMap::new();
    for arrival in recorder.arrivals() {
        by_text.entry(arrival.text).or_default().push(arrival.connection);
    }
    for Sent { text, id, confirmed_at } in sent {
        let connections = by_text.get(text).map_or(&[][..], Vec::as_slice);
        sums.arrived += usize::from(!connections.is_empty());
        sums.repeated += usize::from(connections.len() > 1);
        sums.seen_confirmed += usize::from(confirmed_at.is_some());
        if promise == Promise::AtMostOnce && connections.len() > 1 {
            faults.push(format!("{text} arrived more than once, on connections {connections:?}"));
        }
        if let (Some(seen), Some(last)) = (confirmed_at, connections.last())
            && last >= seen
        {
            faults.push(format!("{text} was confirmed before connection {seen} and arrived again on {last}"));
        }
        let Some(id) = id else {
            sums.uncertain += 1;
            continue;
        };
        sums.certain += 1;
        let receipt = api.get(&format!("/v1/messages/{id}")).await;
        let state = if receipt.status == 200 { receipt.json()["state"].clone() } else { Value::Null };
        let state = state.as_str().unwrap_or("none");
        sums.unknown += usize::from(state == "unknown");
        let is_true = match (promise, state, connections.is_empty()) {
            (_, "confirmed", false) | (Promise::AtMostOnce, "unknown", _) => true,
            (Promise::AtLeastOnce | Promise::AtMostOnce, _, _) => false,
        };
        if !is_true {
            faults.push(format!("{text} was accepted, its receipt is {state:?}, it arrived on {connections:?}"));
        }
    }
    (sums, faults)
}

/// Each caller's messages come first in the order of acceptance, and on each connection in order and once.
fn order_faults(recorder: &Recorder) -> Vec<String> {
    let mut faults = Vec::new();
    let mut newest_by_connection: BTreeMap<(usize, String), String> = BTreeMap::new();
    for arrival in recorder.arrivals() {
        let Some((caller, _)) = arrival.text.rsplit_once('-') else { continue };
        let newest = newest_by_connection.entry((arrival.connection, caller.to_owned())).or_default();
        if *newest >= arrival.text {
            faults.push(format!("{} came after {newest} on connection {}", arrival.text, arrival.connection));
        }
        newest.clone_from(&arrival.text);
    }
    let mut newest_by_caller: BTreeMap<String, String> = BTreeMap::new();
    for text in recorder.first_arrivals() {
        let Some((caller, _)) = text.rsplit_once('-') else { continue };
        let newest = newest_by_caller.entry(caller.to_owned()).or_default();
        if *newest > text {
            faults.push(format!("{text} came for the first time after {newest}"));
        }
        *newest = text;
    }
    faults
}
