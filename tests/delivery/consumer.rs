//! A program that reads an inbox and comes back with its last cursor whenever the daemon was away; and what must be true of all
//! that it was told.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use futures_util::StreamExt;
use parking_lot::Mutex;
use serde_json::Value;
use tokio::{task::JoinHandle, time::sleep};

use crate::support::{PATIENCE, api::Api, until};

/// What a consumer was told.
#[derive(Debug, Clone, PartialEq)]
pub enum Told {
    /// A number, and with which cursor.
    Number(u64, u64),
    /// A gap of this kind, and the cursor to go on from.
    Gap(String, u64),
}

/// How it reads.
#[derive(Debug, Clone, Copy)]
pub enum By {
    /// Server-sent events.
    Events,
    /// The local WebSocket with its envelope.
    Socket,
}

/// A consumer at work.
pub struct Consumer {
    told: Arc<Mutex<Vec<Told>>>,
    task: JoinHandle<()>,
}

impl Consumer {
    /// One that reads from the oldest entry on, for as long as it lives.
    pub fn follow(api: &Api, endpoint: &'static str, by: By) -> Self {
        let told = Arc::<Mutex<Vec<Told>>>::default();
        let (api, record) = (api.clone(), Arc::clone(&told));
        let task = tokio::spawn(async move {
            let mut cursor = "oldest".to_owned();
            loop {
                match by {
                    By::Events => by_events(&api, endpoint, &mut cursor, &record).await,
                    By::Socket => by_socket(&api, endpoint, &mut cursor, &record).await,
                }
                sleep(Duration::from_millis(20)).await;
            }
        });
        Self { told, task }
    }

    /// What it was told so far.
    pub fn told(&self) -> Vec<Told> {
        self.told.lock().clone()
    }

    /// The numbers that it was told so far.
    pub fn numbers(&self) -> Vec<u64> {
        numbers(&self.told())
    }

    /// Waits until it was told this number or a later one.
    pub async fn until_told(&self, number: u64) {
        until(&format!("number {number}"), || async {
            let last = self.numbers().last().copied();
            if last >= Some(number) { Ok(()) } else { Err(last) }
        })
        .await;
    }
}

impl Drop for Consumer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Reads what stands in an inbox behind a cursor, up to this number.
pub async fn read(api: &Api, endpoint: &str, from: &str, last: u64) -> Vec<Told> {
    let mut events = api.events(endpoint, &format!("from={from}&types=message")).await;
    let mut told = Vec::new();
    while numbers(&told).last() != Some(&last) {
        told.extend(understand(&events.next().await.data));
    }
    told
}

/// The numbers in what was told.
pub fn numbers(told: &[Told]) -> Vec<u64> {
    told.iter().filter_map(|told| if let Told::Number(number, _) = told { Some(*number) } else { None }).collect()
}

/// The kinds of gaps in what was told.
pub fn gaps(told: &[Told]) -> Vec<&str> {
    told.iter().filter_map(|told| if let Told::Gap(kind, _) = told { Some(kind.as_str()) } else { None }).collect()
}

/// Panics unless cursors and numbers only rise, and every number that is not there has a gap in its place.
pub fn judge(told: &[Told]) {
    let (mut last_cursor, mut last_number, mut has_gap) = (0, None, true);
    for one in told {
        let cursor = match one {
            Told::Number(_, cursor) | Told::Gap(_, cursor) => *cursor,
        };
        assert!(cursor > last_cursor, "{one:?} after cursor {last_cursor}");
        last_cursor = cursor;
        match one {
            Told::Gap(..) => has_gap = true,
            Told::Number(number, _) => {
                let next = last_number.map_or(0, |last| last + 1);
                assert!(*number >= next, "{one:?} after number {last_number:?}");
                assert!(*number == next || has_gap, "{next} to {number} are missing, and nobody said so");
                (last_number, has_gap) = (Some(*number), false);
            }
        }
    }
}

/// Panics where two were told different numbers by one cursor.
pub fn agree(all: &[Vec<Told>]) {
    let mut known = BTreeMap::new();
    for one in all.iter().flatten() {
        if let Told::Number(number, cursor) = one {
            assert_eq!(known.entry(*cursor).or_insert(*number), number, "by cursor {cursor}");
        }
    }
}

async fn by_events(api: &Api, endpoint: &str, cursor: &mut String, record: &Mutex<Vec<Told>>) {
    // Only a client that comes back has a cursor, and it says it as a browser does.
    let headers = [("accept", "text/event-stream"), ("last-event-id", cursor.as_str())];
    let Ok(mut events) = api.try_events(endpoint, "from=oldest&types=message", &headers).await else { return };
    while let Some(event) = events.within(PATIENCE).await {
        note(&event.data, cursor, record);
    }
}

async fn by_socket(api: &Api, endpoint: &str, cursor: &mut String, record: &Mutex<Vec<Told>>) {
    let query = format!("from={cursor}&types=message");
    let Ok(mut socket) = api.try_socket(endpoint, &query, true).await else { return };
    while let Some(Ok(message)) = socket.next().await {
        if let Ok(text) = message.to_text()
            && let Ok(value) = serde_json::from_str(text)
        {
            note(&value, cursor, record);
        }
    }
}

fn note(event: &Value, cursor: &mut String, record: &Mutex<Vec<Told>>) {
    if let Some(told) = understand(event) {
        *cursor = event["cursor"].to_string();
        record.lock().push(told);
    }
}

fn understand(event: &Value) -> Option<Told> {
    let cursor = event["cursor"].as_u64()?;
    match event["type"].as_str()? {
        "message" => {
            let number = event["data"].as_str()?.split(' ').next()?.parse().ok()?;
            Some(Told::Number(number, cursor))
        }
        "gap" => Some(Told::Gap(event["kind"].as_str()?.to_owned(), cursor)),
        _ => None,
    }
}
