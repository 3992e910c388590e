//! Takes spans to the collector: a batch at a time, each on a connection of its own, which a collector that restarts cannot spoil.
//!
//! A batch that cannot be delivered is tried again for a while, and then counted and gone: links are never held up for it. What
//! comes meanwhile waits in the queue, which is bounded. Only the change is logged, not each failure.
//!
//! What a reader would get wrong: a batch whose answer was lost is sent again, so a collector may get a span twice, under the same id.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use http::{Request, header};
use parking_lot::Mutex;
use serde_json::Value as Json;
use tokio::{
    sync::{Semaphore, mpsc, watch},
    task::JoinHandle,
    time::{Instant, sleep, timeout, timeout_at},
};

use super::{QUEUE, Span, Spans, json};
use crate::{
    client::{Connection, Error, Server},
    config::Otlp,
    observe::Families,
};
use wskeeper_core::{
    backoff::{Backoff, Policy},
    chance::Chance,
};
use wskeeper_link::clock::Moment;

/// Spans of one request.
const BATCH: usize = 512;
/// What a first span waits for company.
const COMPANY: Duration = Duration::from_secs(1);
/// A batch that does not arrive is tried again for so long.
const PERSISTENCE: Duration = Duration::from_mins(1);
/// The first pause between two tries lies below this.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// The longest pause between two tries.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);
/// The pause between two tries once the daemon stops.
const LAST_PAUSE: Duration = Duration::from_millis(100);
/// Bytes of an answer that are read.
const ANSWER: usize = 64 << 10;

/// Why a batch did not arrive.
#[derive(Debug, thiserror::Error)]
enum ExportError {
    #[error("a header's secret cannot be used: {0}")]
    Header(String),
    #[error("the collector {0}")]
    Unanswered(#[from] Error),
    #[error("the collector answered with HTTP {0}")]
    Status(http::StatusCode),
}

impl ExportError {
    /// Whether the same batch may be taken later: by OTLP's own list of statuses, and whenever there was no answer.
    fn is_passing(&self) -> bool {
        match self {
            Self::Unanswered(_) | Self::Header(_) => true,
            Self::Status(status) => matches!(status.as_u16(), 429 | 502 | 503 | 504),
        }
    }
}

/// The exporter at work.
#[derive(Debug)]
pub struct Exporter {
    task: JoinHandle<()>,
    stop: watch::Sender<bool>,
}

impl Exporter {
    /// Starts it. To be called within a tokio runtime.
    pub fn start(otlp: Otlp, families: Arc<Families>) -> (Self, Arc<Spans>) {
        let (queue, spans) = mpsc::channel(QUEUE);
        let (stop, stopping) = watch::channel(false);
        let instance = uuid::Uuid::new_v4().to_string();
        let resource = json::resource(&otlp.service_name, &instance);
        let chance = Chance::new(uuid::Uuid::new_v4().as_u64_pair().1);
        let (otlp, is_failing, reading) = (Arc::new(otlp), false, Arc::new(Semaphore::new(1)));
        let courier = Courier { otlp, resource, families: Arc::clone(&families), chance, is_failing, reading };
        let task = tokio::spawn(courier.run(spans, stopping));
        (Self { task, stop }, Arc::new(Spans { queue, open: Mutex::default(), families }))
    }

    /// Delivers what is queued, until then. The rest is gone.
    pub async fn finish(mut self, deadline: Instant) {
        self.stop.send_replace(true);
        if timeout_at(deadline, &mut self.task).await.is_err() {
            tracing::warn!("spans were not all exported before the deadline");
            self.task.abort();
        }
    }
}

struct Courier {
    otlp: Arc<Otlp>,
    resource: Json,
    families: Arc<Families>,
    chance: Chance,
    is_failing: bool,
    reading: Arc<Semaphore>,
}

impl Courier {
    async fn run(mut self, mut spans: mpsc::Receiver<Span>, mut stop: watch::Receiver<bool>) {
        let mut batch = Vec::new();
        loop {
            let is_stopping = *stop.borrow();
            tokio::select! {
                biased;
                count = spans.recv_many(&mut batch, BATCH) => if count == 0 { return },
                _ = stop.wait_for(|stop| *stop) => return,
            }
            // A little later there is more for the same request; at the end there is no later.
            if !is_stopping && batch.len() < BATCH {
                let more = async { while batch.len() < BATCH && spans.recv_many(&mut batch, BATCH).await > 0 {} };
                tokio::select! {
                    _ = timeout(COMPANY, more) => {}
                    _ = stop.wait_for(|stop| *stop) => {}
                }
            }
            self.deliver(&batch, &mut stop).await;
            batch.clear();
        }
    }

    async fn deliver(&mut self, batch: &[Span], stop: &mut watch::Receiver<bool>) {
        let body = Bytes::from(json::request(&self.resource, batch).to_string());
        let sent = batch.len() as u64;
        match self.persist(&body, stop).await {
            Ok(rejected) => {
                self.families.spans_exported(sent.saturating_sub(rejected));
                self.families.spans_dropped(rejected.min(sent));
                if std::mem::take(&mut self.is_failing) {
                    tracing::info!("spans are exported again");
                }
            }
            Err(error) => {
                self.families.spans_dropped(sent);
                self.fail(&error);
            }
        }
    }

    /// Posts again and again while that may help. Once the daemon stops there is no time for long pauses.
    async fn persist(&mut self, body: &Bytes, stop: &mut watch::Receiver<bool>) -> Result<u64, ExportError> {
        let give_up = Instant::now().later(PERSISTENCE);
        let policy = Policy { first: FIRST_PAUSE, max: LONGEST_PAUSE, ..Policy::default() };
        let mut backoff = Backoff::default();
        loop {
            let error = match self.post(body.clone()).await {
                Err(error) if error.is_passing() => error,
                outcome => return outcome,
            };
            let now = Instant::now();
            let pause = backoff.next_delay(&policy, now.into_std(), &mut self.chance);
            if now.later(pause) > give_up {
                return Err(error);
            }
            self.fail(&error);
            if *stop.borrow() {
                sleep(LAST_PAUSE).await;
            } else {
                let _ = timeout(pause, stop.wait_for(|stop| *stop)).await;
            }
        }
    }

    fn fail(&mut self, error: &ExportError) {
        if !std::mem::replace(&mut self.is_failing, true) {
            tracing::warn!(%error, "spans cannot be exported; they wait while there is room, and are dropped then");
        }
    }

    /// Answers with how many spans the collector rejected.
    async fn post(&self, body: Bytes) -> Result<u64, ExportError> {
        let (otlp, until) = (Arc::clone(&self.otlp), Instant::now().later(self.otlp.timeout));
        // One reading at a time: where a file hangs, the next try waits for it in vain, and holds no further thread.
        let reading = Arc::clone(&self.reading);
        let headers = async {
            let held = reading.acquire_owned().await.ok();
            let evaluating = tokio::task::spawn_blocking(move || {
                let _held = held;
                evaluate(&otlp)
            });
            evaluating.await.map_err(|error| ExportError::Header(error.to_string()))?
        };
        let headers = timeout_at(until, headers).await.map_err(|_| Error::Late)??;
        let mut request = Request::new(body);
        *request.method_mut() = http::Method::POST;
        *request.uri_mut() = self.otlp.path.parse().map_err(|_| ExportError::Header("the path".into()))?;
        *request.headers_mut() = headers;
        let collector = Server::plain(&self.otlp.host, self.otlp.port);
        let answer = Connection::open(&collector, Some(until)).await?.send(request).await?;
        let status = answer.status();
        let answer = match answer.whole(ANSWER).await {
            Err(Error::Late) => return Err(Error::Late.into()),
            answer => answer.unwrap_or_default(),
        };
        if !status.is_success() {
            return Err(ExportError::Status(status));
        }
        let answer: Json = serde_json::from_slice(&answer).unwrap_or_default();
        let rejected = &answer["partialSuccess"]["rejectedSpans"];
        Ok(rejected.as_u64().or_else(|| rejected.as_str()?.parse().ok()).unwrap_or(0))
    }
}

/// Reads secrets, so it blocks.
fn evaluate(otlp: &Otlp) -> Result<http::HeaderMap, ExportError> {
    let bad = |error: &dyn std::fmt::Display| ExportError::Header(error.to_string());
    let mut headers = http::HeaderMap::new();
    let host = if otlp.host.contains(':') { format!("[{}]", otlp.host) } else { otlp.host.clone() };
    let host = format!("{host}:{}", otlp.port);
    headers.insert(header::HOST, host.try_into().map_err(|error: header::InvalidHeaderValue| bad(&error))?);
    headers.insert(header::CONTENT_TYPE, http::HeaderValue::from_static("application/json"));
    for (name, template) in &otlp.headers {
        let secret = template.evaluate().map_err(|error| bad(&error))?;
        let mut value = http::HeaderValue::from_bytes(secret.expose().as_bytes()).map_err(|error| bad(&error))?;
        value.set_sensitive(true);
        headers.insert(name.clone(), value);
    }
    Ok(headers)
}
