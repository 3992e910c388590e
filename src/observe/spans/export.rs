//! Takes spans to the collector: a batch at a time, each on a connection of its own, which a collector that restarts cannot spoil.
//!
//! A batch that cannot be delivered is counted and gone: links are never held up for it. Only the change is logged, not each
//! failure.

use std::{io, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{Request, header};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_util::rt::TokioIo;
use serde_json::Value as Json;
use tokio::{
    net::TcpStream,
    sync::{mpsc, watch},
    task::JoinHandle,
    time::{Instant, timeout, timeout_at},
};

use super::{QUEUE, Span, Spans, json};
use crate::{config::Otlp, observe::Families};

/// Spans of one request.
const BATCH: usize = 512;
/// What a first span waits for company.
const COMPANY: Duration = Duration::from_secs(1);
/// Bytes of an answer that are read.
const ANSWER: usize = 64 << 10;

/// Why a batch did not arrive.
#[derive(Debug, thiserror::Error)]
enum ExportError {
    #[error("a header's secret cannot be used: {0}")]
    Header(String),
    #[error("the collector is not reached: {0}")]
    Connect(#[from] io::Error),
    #[error("the collector hung up: {0}")]
    Http(#[from] hyper::Error),
    #[error("the collector answered with HTTP {0}")]
    Status(http::StatusCode),
    #[error("the collector did not answer in time")]
    Late,
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
        let courier = Courier { otlp: Arc::new(otlp), resource, families: Arc::clone(&families), is_failing: false };
        let task = tokio::spawn(courier.run(spans, stopping));
        (Self { task, stop }, Arc::new(Spans { queue, open: std::sync::Mutex::default(), families }))
    }

    /// Delivers what is queued, until then.
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
    is_failing: bool,
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
            self.deliver(&batch).await;
            batch.clear();
        }
    }

    async fn deliver(&mut self, batch: &[Span]) {
        let body = json::request(&self.resource, batch).to_string();
        let outcome = timeout(self.otlp.timeout, self.post(body)).await.unwrap_or(Err(ExportError::Late));
        let sent = batch.len() as u64;
        match outcome {
            Ok(rejected) => {
                self.families.spans_exported(sent.saturating_sub(rejected));
                self.families.spans_dropped(rejected.min(sent));
                if std::mem::take(&mut self.is_failing) {
                    tracing::info!("spans are exported again");
                }
            }
            Err(error) => {
                self.families.spans_dropped(sent);
                if !std::mem::replace(&mut self.is_failing, true) {
                    tracing::warn!(%error, "spans cannot be exported; they are dropped until they can");
                }
            }
        }
    }

    /// Answers with how many spans the collector rejected.
    async fn post(&self, body: String) -> Result<u64, ExportError> {
        let otlp = Arc::clone(&self.otlp);
        let headers = tokio::task::spawn_blocking(move || evaluate(&otlp)).await;
        let headers = headers.map_err(|error| ExportError::Header(error.to_string()))??;
        let stream = TcpStream::connect((self.otlp.host.as_str(), self.otlp.port)).await?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        let connection = tokio::spawn(connection);
        let mut request = Request::new(Full::new(Bytes::from(body)));
        *request.method_mut() = http::Method::POST;
        *request.uri_mut() = self.otlp.path.parse().map_err(|_| ExportError::Header("the path".into()))?;
        *request.headers_mut() = headers;
        let response = sender.send_request(request).await?;
        let status = response.status();
        let answer =
            Limited::new(response.into_body(), ANSWER).collect().await.map(http_body_util::Collected::to_bytes);
        connection.abort();
        if !status.is_success() {
            return Err(ExportError::Status(status));
        }
        let answer: Json = serde_json::from_slice(&answer.unwrap_or_default()).unwrap_or_default();
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
