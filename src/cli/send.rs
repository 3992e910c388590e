//! `wskeeper send`: one message, or each line of stdin.
//!
//! What a reader would get wrong: a line is accepted before the next one is read, so that Ctrl-C can say how many were.
//! Lines travel one request each over one kept connection; order is the order of stdin.

use std::time::Duration;

use bytes::Bytes;
use http::{Method, StatusCode};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, BufReader},
    time::Instant,
};

use super::{
    Failure, args,
    client::{Call, Client, ClientError, Problem, escape},
    facts::Receipt,
    output::{Output, Paint},
    words,
};

/// Progress is drawn at most this often.
const PROGRESS: Duration = Duration::from_millis(200);
/// How often a full outbox is asked again while lines of stdin wait.
const FULL: Duration = Duration::from_millis(100);

/// Sends, and says what became of it.
pub(super) async fn run(args: args::Send, client: Client, output: &Output) -> Result<(), Failure> {
    let mut sender = Sender { path: path(&args), args, client, output, accepted: 0, drawn: Instant::now() };
    match sender.args.text.clone() {
        Some(text) if text != "-" => {
            let receipt = sender.deliver(Bytes::from(text)).await?;
            sender.told(&receipt)
        }
        Some(_) | None if sender.args.binary => {
            let mut bytes = Vec::new();
            tokio::io::stdin().read_to_end(&mut bytes).await?;
            let receipt = sender.deliver(Bytes::from(bytes)).await?;
            sender.told(&receipt)
        }
        Some(_) | None => sender.lines().await,
    }
}

struct Sender<'a> {
    args: args::Send,
    path: String,
    client: Client,
    output: &'a Output,
    accepted: u64,
    drawn: Instant,
}

impl Sender<'_> {
    async fn lines(&mut self) -> Result<(), Failure> {
        let mut lines = BufReader::new(tokio::io::stdin()).lines();
        let mut stop = std::pin::pin!(super::stopped());
        let ended = loop {
            let line = tokio::select! {
                () = &mut stop => break Ok(true),
                line = lines.next_line() => line,
            };
            let line = match line {
                Ok(Some(line)) => line,
                Ok(None) => break Ok(false),
                Err(error) => break Err(Failure::from(error)),
            };
            // The message under way when Ctrl-C comes is not counted: it may have been accepted or not.
            let outcome = tokio::select! {
                outcome = self.patient(Bytes::from(line)) => outcome,
                () = &mut stop => break Ok(true),
            };
            match outcome {
                Ok(receipt) => self.one_more(&receipt)?,
                Err(failure) => break Err(failure),
            }
        };
        self.output.progress("");
        let accepted = words::count(self.accepted, "message");
        match ended {
            Ok(interrupted) => {
                let early = if interrupted { "stopped early: " } else { "" };
                if !self.args.quiet && !self.args.json || interrupted {
                    self.output.note(format_args!("{early}{accepted} accepted"), Paint::Dim);
                }
                Ok(())
            }
            Err(failure) => {
                self.output.note(format_args!("{accepted} accepted before the failure"), Paint::Dim);
                Err(failure)
            }
        }
    }

    fn one_more(&mut self, receipt: &serde_json::Value) -> Result<(), Failure> {
        self.accepted += 1;
        if self.args.json {
            self.output.line(receipt)?;
        } else if !self.args.quiet && self.drawn.elapsed() >= PROGRESS {
            self.drawn = Instant::now();
            self.output.progress(&format!("{} accepted", words::count(self.accepted, "message")));
        }
        Ok(())
    }

    /// Waits while the outbox is full: stdin can wait, and a pipe is the place to hold what is not wanted yet.
    async fn patient(&mut self, body: Bytes) -> Result<serde_json::Value, Failure> {
        loop {
            match self.deliver(body.clone()).await {
                Err(Failure::Client(ClientError::Problem(Problem { status: 429, .. }))) => {
                    self.output.progress(&format!(
                        "{} accepted; the outbox is full, waiting",
                        words::count(self.accepted, "message")
                    ));
                    tokio::time::sleep(FULL).await;
                }
                other => return other,
            }
        }
    }

    async fn deliver(&mut self, body: Bytes) -> Result<serde_json::Value, Failure> {
        let kind = if self.args.binary { "application/octet-stream" } else { "text/plain; charset=utf-8" };
        let call = Call { path: &self.path, body: Some((kind, body)), headers: Vec::new() };
        let (status, body) = self.client.exchange(Method::POST, call).await?;
        if status == StatusCode::GATEWAY_TIMEOUT {
            let wanted = self.args.wait.map_or("its state", args::Wait::as_str);
            let patience = words::span(self.args.timeout);
            let text = format!("accepted, but not {wanted} within {patience}; the message stays queued");
            return Err(Failure::Failed(text));
        }
        if !status.is_success() {
            return Err(ClientError::Problem(super::client::problem(status, &body)).into());
        }
        let receipt: serde_json::Value = serde_json::from_slice(&body).unwrap_or_default();
        let facts: Receipt = serde_json::from_value(receipt.clone()).unwrap_or_default();
        if matches!(facts.state.as_str(), "dropped" | "expired" | "unknown" | "dead") {
            let reason = facts.reason.map(|reason| format!(" ({reason})")).unwrap_or_default();
            return Err(Failure::Failed(format!("message {} ended as {}{reason}", facts.id, facts.state)));
        }
        Ok(receipt)
    }

    fn told(&self, receipt: &serde_json::Value) -> Result<(), Failure> {
        if self.args.json {
            return Ok(self.output.line(receipt)?);
        }
        if self.args.quiet {
            return Ok(());
        }
        let facts: Receipt = serde_json::from_value(receipt.clone()).unwrap_or_default();
        Ok(self.output.line(format_args!("{} on {}/{}  {}", facts.state, facts.endpoint, facts.link, facts.id))?)
    }
}

fn path(args: &args::Send) -> String {
    let mut query = Vec::new();
    if let Some(wait) = args.wait {
        query.push(format!("wait={}", wait.as_str()));
        query.push(format!("timeout={}ms", args.timeout.as_millis()));
    }
    query.extend(args.key.as_ref().map(|key| format!("key={}", escape(key))));
    query.extend(args.ttl.map(|ttl| format!("ttl={}ms", ttl.as_millis())));
    query.extend(args.link.map(|link| format!("link={link}")));
    let mark = if query.is_empty() { "" } else { "?" };
    format!("/v1/endpoints/{}/messages{mark}{}", escape(&args.endpoint), query.join("&"))
}
