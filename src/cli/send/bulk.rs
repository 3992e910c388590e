//! The lines of stdin, many in one request, in their order.
//!
//! What a reader would get wrong: a full outbox ends no request. The daemon is asked to try nothing behind the first line
//! that found no room (`on_full=stop`), so that those lines can be sent again, later and still in order.

use std::time::Duration;

use bytes::Bytes;
use http::{Method, StatusCode};
use serde_json::{Value, json};
use tokio::sync::watch;

use super::{
    flop,
    input::{Input, Line, MOST_LINES},
    path,
    tally::{Pace, Tally},
};
use crate::{
    api::wire::Receipt,
    cli::{
        Failure, args,
        client::{Call, Client, ClientError, Problem, escape, problem},
        output::{Output, Paint},
        stopped,
    },
};

/// Between two tries of a full outbox: at first, and at most.
const PAUSE: Duration = Duration::from_millis(1);
const PAUSE_MAX: Duration = Duration::from_millis(250);
/// The fewest lines that are tried while the outbox is full.
const FEWEST: usize = 16;
/// The request under way when Ctrl-C comes has this long to be answered.
const GRACE: Duration = Duration::from_secs(1);

/// Sends every line, and says at the end what became of them.
pub(super) async fn run(args: &args::Send, client: Client, output: &Output) -> Result<(), Failure> {
    let (tell, stop) = watch::channel(false);
    tokio::spawn(async move {
        stopped().await;
        tell.send_replace(true);
    });
    let most = if args.wait.is_some() { 1 } else { MOST_LINES };
    let mut bulk =
        Bulk { args, client, output, stop, tally: Tally::default(), pace: Pace::begin(), most, pause: PAUSE };
    let ended = bulk.all().await;
    bulk.told(ended)
}

/// A line that can be a message, with its number.
type Message = (u64, String);

/// What the daemon says of a line, with its JSON.
type Answer = (Result<Receipt, Problem>, Bytes);

/// How reading ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Whole,
    Interrupted,
}

struct Bulk<'a> {
    args: &'a args::Send,
    client: Client,
    output: &'a Output,
    /// True once the user wants an end.
    stop: watch::Receiver<bool>,
    tally: Tally,
    pace: Pace,
    /// Lines in the next request at most.
    most: usize,
    pause: Duration,
}

impl Bulk<'_> {
    async fn all(&mut self) -> Result<End, Failure> {
        let mut input = Input::new(tokio::io::stdin());
        let mut stop = self.stop.clone();
        loop {
            let lines = tokio::select! {
                lines = input.ready() => lines?,
                () = wanted(&mut stop) => return Ok(End::Interrupted),
            };
            if lines.is_empty() {
                return Ok(End::Whole);
            }
            let messages = self.sound(lines)?;
            let mut rest = &messages[..];
            while !rest.is_empty() {
                let before = self.tally.known();
                let ended = if *stop.borrow_and_update() {
                    Ok(None)
                } else {
                    self.some(&rest[..rest.len().min(self.most)]).await
                };
                let Ok(Some(done)) = ended else {
                    self.tally.unsent = rest.len() as u64 - (self.tally.known() - before);
                    return ended.map(|_| End::Interrupted);
                };
                rest = &rest[done..];
            }
        }
    }

    /// Leaves out the lines that cannot be messages.
    fn sound(&mut self, lines: Vec<Line>) -> Result<Vec<Message>, Failure> {
        let mut messages = Vec::with_capacity(lines.len());
        for Line { number, text } in lines {
            match text {
                Ok(text) => messages.push((number, text)),
                Err(flaw) => {
                    self.tally.refuse(number, &flaw.to_string(), flaw.to_string());
                    if self.args.json {
                        let title = "The line cannot be a message";
                        self.output.line(json!({ "status": 400, "title": title, "detail": flaw.to_string() }))?;
                    }
                }
            }
        }
        Ok(messages)
    }

    /// Sends some lines, and waits where the outbox was full; how many are dealt with, `None` when the user wants an end.
    async fn some(&mut self, messages: &[Message]) -> Result<Option<usize>, Failure> {
        let mut stop = self.stop.clone();
        let answers = tokio::select! {
            answers = self.ask(messages) => answers,
            () = async { wanted(&mut stop).await; tokio::time::sleep(GRACE).await } => {
                self.tally.unsure = messages.len() as u64;
                return Ok(None);
            }
        };
        let answers = answers.inspect_err(|failure| {
            // A problem is an answer: nothing was accepted.
            if !matches!(
                failure,
                Failure::Client(ClientError::Problem(_) | ClientError::Unreachable(_) | ClientError::Denied(_))
            ) {
                self.tally.unsure = messages.len() as u64;
            }
        })?;
        let done = self.book(messages, &answers)?;
        if done == messages.len() {
            (self.most, self.pause) = (if self.args.wait.is_some() { 1 } else { MOST_LINES }, PAUSE);
            self.draw(false);
            return Ok(Some(done));
        }
        if done == answers.len() {
            self.tally.unsure = (messages.len() - done) as u64;
            let error = format!("{done} of {} lines were answered", messages.len());
            return Err(ClientError::Lost { target: self.client.address(), error }.into());
        }
        if done > 0 {
            (self.most, self.pause) = ((done * 2).clamp(FEWEST, MOST_LINES), PAUSE);
        }
        self.draw(true);
        tokio::select! {
            () = tokio::time::sleep(self.pause) => {}
            () = wanted(&mut stop) => {}
        }
        self.pause = (self.pause * 2).min(PAUSE_MAX);
        Ok(Some(done))
    }

    /// Counts the answers up to the first that is to be tried again; how many lines are dealt with.
    fn book(&mut self, messages: &[Message], answers: &[Answer]) -> Result<usize, Failure> {
        let (mut told, mut done, mut end) = (Vec::new(), 0, None);
        for ((number, _), (answer, json)) in messages.iter().zip(answers) {
            match answer {
                Ok(receipt) => match flop(receipt) {
                    None => self.tally.accepted += 1,
                    Some((kind, text)) => self.tally.fail(*number, &kind, text),
                },
                Err(problem) if problem.status == 429 && !self.args.no_retry => break,
                Err(problem) if is_final(problem) => {
                    end = Some(ClientError::Problem(problem.clone()));
                    break;
                }
                // Only a message that was accepted has a receipt in its problem.
                Err(problem) if problem.more.contains_key("receipt") => {
                    self.tally.fail(*number, &problem.r#type, problem.to_string());
                }
                Err(problem) => self.tally.refuse(*number, &problem.r#type, problem.to_string()),
            }
            done += 1;
            if self.args.json {
                told.extend_from_slice(json);
                told.push(b'\n');
            }
        }
        self.output.raw(&told)?;
        end.map_or(Ok(done), |end| Err(end.into()))
    }

    /// Fewer answers than messages: the daemon stopped in the middle.
    async fn ask(&mut self, messages: &[Message]) -> Result<Vec<Answer>, Failure> {
        if let (Some(_), [(_, text)]) = (self.args.wait, messages) {
            let body = Some(("text/plain; charset=utf-8", Bytes::from(text.clone())));
            let call = Call { path: &path(self.args), body, headers: Vec::new() };
            let (status, body) = self.client.exchange(Method::POST, call).await?;
            return Ok(vec![answer(status, body)]);
        }
        let on_full = if self.args.no_retry { "next" } else { "stop" };
        let path = format!("/v1/endpoints/{}/messages:batch?on_full={on_full}", escape(&self.args.endpoint));
        let body = messages.iter().map(|(_, text)| self.line(text)).collect::<String>();
        let call = Call { path: &path, body: Some(("application/x-ndjson", body.into())), headers: Vec::new() };
        let (_, body) = self.client.call(Method::POST, call).await?;
        Ok(body
            .split(|byte| *byte == b'\n')
            .filter(|line| !line.is_empty())
            .map(|line| answer(StatusCode::OK, body.slice_ref(line)))
            .collect())
    }

    /// A line of the batch.
    fn line(&self, text: &str) -> String {
        let args::Send { key, ttl, link, generation, .. } = self.args;
        let mut line = if key.is_none() && ttl.is_none() && link.is_none() && generation.is_none() {
            Value::from(text).to_string()
        } else {
            let ttl = ttl.map(|ttl| format!("{}ms", ttl.as_millis()));
            json!({ "data": text, "key": key, "ttl": ttl, "link": link, "generation": generation }).to_string()
        };
        line.push('\n');
        line
    }

    fn draw(&mut self, waits: bool) {
        if !self.args.quiet
            && !self.args.json
            && let Some(progress) = self.pace.due(&self.tally, waits)
        {
            self.output.progress(&progress);
        }
    }

    /// The summary.
    fn told(self, ended: Result<End, Failure>) -> Result<(), Failure> {
        self.output.progress("");
        let early = if matches!(ended, Ok(End::Interrupted)) { "stopped early: " } else { "" };
        let is_clean = self.tally.is_clean() && matches!(ended, Ok(End::Whole));
        if !is_clean || !self.args.quiet && !self.args.json {
            self.output.note(format_args!("{early}{}", self.tally.counts()), Paint::Dim);
        }
        for reason in self.tally.reasons() {
            self.output.note(reason, Paint::Red);
        }
        ended?;
        if self.tally.is_clean() { Ok(()) } else { Err(Failure::Told) }
    }
}

/// Waits until the user wants an end.
async fn wanted(stop: &mut watch::Receiver<bool>) {
    if stop.wait_for(|stop| *stop).await.is_err() {
        std::future::pending::<()>().await;
    }
}

/// Problems that the next line would meet too.
fn is_final(problem: &Problem) -> bool {
    let is_for_all = [":draining", ":not-durable", ":not-confirmable", ":other-connection"]
        .iter()
        .any(|name| problem.r#type.ends_with(name));
    is_for_all || matches!(problem.status, 401 | 403 | 404)
}

/// In a batch the status is that of the whole, and a line's own is in its problem.
fn answer(status: StatusCode, json: Bytes) -> Answer {
    if !status.is_success() {
        return (Err(problem(status, &json)), json);
    }
    let refused = |_| serde_json::from_slice(&json).unwrap_or_else(|_| problem(status, &json));
    (serde_json::from_slice(&json).map_err(refused), json)
}
