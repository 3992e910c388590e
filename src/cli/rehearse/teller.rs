//! Tells what happens: lines for people or objects for programs, and the transcript that is recorded.
//!
//! What a reader would get wrong: what is secret is hidden here, in the text that is told, so a recorded transcript holds `***` in its place
//! and is compared with what is hidden in the same way.

use std::{
    fs::File,
    io::Write as _,
    os::unix::fs::OpenOptionsExt as _,
    time::{Duration, Instant},
};

use serde_json::{Map, Value, json};

use super::{stage::Verdict, words};
use crate::{
    cli::{
        Failure, args,
        output::{Output, Paint},
        words::{count, millis},
    },
    observe::visible,
};
use wskeeper_core::{
    clock::Clock as _,
    close::{Cause, CloseFrame, Closed},
    message::{Kind, Payload},
    session::{Answer, Brought, Place, Plan, Session, StepResult, Stepped},
    subscriptions::State,
};

/// What stands for what is not shown.
pub(super) const HIDDEN: &str = "***";
/// Shorter texts in clear stand in other words too.
const CLEAR_MIN: usize = 3;
/// Characters of a message on a line for people.
const SHOWN: usize = 300;
/// A pause that is recorded.
const PAUSE: Duration = Duration::from_millis(50);

/// Where it goes.
pub(super) struct Teller<'o> {
    output: &'o Output,
    is_json: bool,
    /// Secrets that are written in clear.
    clear: Vec<String>,
    began: Option<Instant>,
    record: Option<(File, Instant)>,
}

impl<'o> Teller<'o> {
    pub(super) fn new(output: &'o Output, args: &args::Rehearse, mut clear: Vec<String>) -> Result<Self, Failure> {
        clear.retain(|text| text.len() >= CLEAR_MIN);
        clear.sort_unstable_by_key(|text| std::cmp::Reverse(text.len()));
        let open = |path| File::options().write(true).create(true).truncate(true).mode(0o600).open(path);
        let cannot = |error| Failure::Failed(format!("cannot write the transcript: {error}"));
        let file = args.record.as_ref().map(open).transpose().map_err(cannot)?;
        let record = file.map(|file| (file, tokio::time::Instant::now().into_std()));
        Ok(Self { output, is_json: args.json, clear, began: None, record })
    }

    /// Where notes go.
    pub(super) fn output(&self) -> &'o Output {
        self.output
    }

    /// The connection is open.
    pub(super) fn opened(&mut self, now: Instant, url: &str, how: &str) -> Result<(), Failure> {
        self.begin(now);
        self.fact(now, "open", json!({ "url": url }), &format!("{url}  {how}"), Paint::Bold)
    }

    /// Something is done, if it is the first, at this moment.
    pub(super) fn begin(&mut self, at: Instant) {
        if self.began.is_none() {
            self.began = Some(at);
            if let Some((_, last)) = &mut self.record {
                *last = at;
            }
        }
    }

    /// A message, in or out.
    pub(super) fn message(
        &mut self,
        now: Instant,
        payload: &Payload,
        is_in: bool,
        session: Option<&Session>,
    ) -> Result<(), Failure> {
        let (text, is_hex) = self.hidden(payload, session);
        self.record(now, |_| recorded(&text, is_hex, payload.kind(), is_in))?;
        let (event, arrow) = if is_in { ("in", "←") } else { ("out", "→") };
        let mut fact = json!({ "kind": payload.kind().as_str() });
        fact[if is_hex { "hex" } else { "text" }] = text.clone().into();
        let clipped: String = text.chars().take(SHOWN).collect();
        let dots = if clipped.len() < text.len() { "…" } else { "" };
        let hex = if is_hex { "hex " } else { "" };
        self.fact(now, event, fact, &format!("{arrow} {hex}{}{dots}", visible(&clipped)), Paint::Dim)
    }

    /// What came of an HTTP call. Its body may be a token, so its size alone is told.
    pub(super) fn answered(
        &mut self,
        now: Instant,
        done: &Result<Brought, Box<str>>,
        session: Option<&Session>,
    ) -> Result<(), Failure> {
        let (fact, line) = match done {
            Ok(Brought::Answer(Answer { status, body, .. })) => {
                let (text, _) = self.hidden(&Payload::binary(body.clone()), session);
                let json = serde_json::from_str::<Value>(&text).unwrap_or_else(|_| text.into());
                self.record(now, |_| json!({ "http": status, "body": json }))?;
                let line = format!("← HTTP {status}, {} bytes", body.len());
                (json!({ "status": status, "bytes": body.len() }), line)
            }
            Ok(Brought::Refused(_)) => {
                return self.fact(now, "made", json!({ "refused": true }), "a value was refused", Paint::Dim);
            }
            Ok(Brought::Made(_)) => return self.fact(now, "made", json!({}), "a value was made", Paint::Dim),
            Err(why) => {
                let why = session.map_or_else(|| why.to_string(), |session| session.without_secrets(why.as_ref()));
                (json!({ "failed": why }), format!("the HTTP call failed: {why}"))
            }
        };
        self.fact(now, "http", fact, &visible(&line), Paint::Dim)
    }

    /// A message as it may be shown; whether in hexadecimal.
    pub(super) fn hidden(&self, payload: &Payload, session: Option<&Session>) -> (String, bool) {
        let (text, is_hex) = words::payload(payload);
        let mut text = session.map_or_else(|| text.clone(), |session| session.without_secrets(&text));
        for clear in &self.clear {
            let escaped = Value::from(clear.as_str()).to_string();
            for form in [clear, escaped.trim_matches('"'), &words::hex(clear.as_bytes())] {
                text = text.replace(form, HIDDEN);
            }
        }
        (text, is_hex)
    }

    /// A step is over.
    pub(super) fn step(
        &mut self,
        at: Instant,
        step: &Stepped,
        plan: &Plan,
        session: Option<&Session>,
    ) -> Result<(), Failure> {
        let matched = words::matched(plan, step.place, step.alternative);
        let value = |name: &str| {
            let shown = session.and_then(|session| session.shown(name)).unwrap_or_else(|| HIDDEN.to_owned());
            self.clear.iter().fold(shown, |shown, clear| shown.replace(clear.as_str(), HIDDEN))
        };
        let set: Vec<(&str, String)> = step.set.iter().map(|name| (&**name, value(name))).collect();
        let what = match (step.result, &matched) {
            (StepResult::LeftOut, _) => "left out: its `when` does not hold".to_owned(),
            (StepResult::Failed, None) => "failed".to_owned(),
            (StepResult::Failed, Some(matched)) => format!("matched {matched}, which fails the session"),
            (StepResult::Done | StepResult::Underway, Some(matched)) => format!("matched {matched}"),
            (StepResult::Done | StepResult::Underway, None) => String::new(),
        };
        let sets = set.iter().map(|(name, value)| format!("{name} = {value}")).collect::<Vec<_>>().join(", ");
        let sets = if sets.is_empty() { sets } else { format!("set {sets}") };
        let told: Vec<_> = [what, sets].into_iter().filter(|told| !told.is_empty()).collect();
        let fact = json!({
            "step": step.place.to_string(),
            "act": step.act,
            "result": step.result.as_str(),
            "alternative": step.alternative,
            "matched": matched,
            "set": set.iter().map(|(name, value)| ((*name).to_owned(), Value::from(value.as_str()))).collect::<Map<_, _>>(),
        });
        let act = match step.place {
            Place::Dial(_) | Place::Open(_) | Place::Leave(_) | Place::Every(_) => format!(" {}", step.act),
            Place::On(_) => String::new(),
        };
        let paint = if step.result == StepResult::Failed { Paint::Red } else { Paint::Plain };
        let line = format!("{}{act}  {}", step.place, visible(&told.join("; ")));
        self.fact(at, "step", fact, line.trim_end(), paint)
    }

    /// A message came that the step of `open` which waits does not look for.
    pub(super) fn unmatched(&mut self, now: Instant, plan: &Plan, step: usize) -> Result<(), Failure> {
        let wanted = Self::wanted(plan, step);
        let line = format!("open[{step}] waits on; it looks for {}", wanted.join(" | "));
        self.fact(
            now,
            "unmatched",
            json!({ "step": format!("open[{step}]"), "wanted": wanted }),
            &visible(&line),
            Paint::Yellow,
        )
    }

    /// What a step of `open` looks for.
    pub(super) fn wanted(plan: &Plan, step: usize) -> Vec<String> {
        words::alternatives(plan, step).iter().map(|rule| words::matcher(&rule.matcher, plan)).collect()
    }

    /// A key is confirmed or refused; where nothing `confirms` any, it was asked for.
    pub(super) fn subscription(
        &mut self,
        now: Instant,
        (key, state, why): (&str, State, Option<&str>),
        confirms: bool,
        session: Option<&Session>,
    ) -> Result<(), Failure> {
        let safe = |text: &str| {
            let text = session.map_or_else(|| text.to_owned(), |session| session.without_secrets(text));
            self.clear.iter().fold(text, |text, clear| text.replace(clear.as_str(), HIDDEN))
        };
        let why = why.map(safe);
        let (said, paint) = match (state, &why) {
            (State::Refused, why) => (format!("refused: {}", why.as_deref().unwrap_or_default()), Paint::Red),
            (State::Active | State::Pending, _) if confirms => ("confirmed".to_owned(), Paint::Plain),
            (State::Active | State::Pending, _) => ("asked for; nothing confirms it".to_owned(), Paint::Plain),
        };
        let line = format!("subscribe {}  {}", visible(key), visible(&said));
        self.fact(now, "subscribe", json!({ "key": key, "state": state.as_str(), "why": why }), &line, paint)
    }

    pub(super) fn keepalive(&mut self, now: Instant, answered: bool) -> Result<(), Failure> {
        let line = if answered { "a timer has its answer" } else { "a timer's answer did not come in time" };
        self.fact(now, "keepalive", json!({ "answered": answered }), line, Paint::Plain)
    }

    pub(super) fn ready(&mut self, now: Instant, took: Duration, steps: usize) -> Result<(), Failure> {
        let line = format!("ready after {} and {steps} steps", of_millis(took));
        self.fact(now, "ready", json!({ "tookMs": took.as_secs_f64() * 1e3, "steps": steps }), &line, Paint::Green)
    }

    /// A Close of the peer's.
    pub(super) fn closed_by_peer(&mut self, now: Instant, frame: Option<&CloseFrame>) -> Result<(), Failure> {
        let (code, reason) = frame.map_or((None, ""), |frame| (Some(frame.code), &*frame.reason));
        self.record(now, |_| json!({ "close": code, "reason": reason }))?;
        let line =
            format!("← close {} {reason}", code.map_or_else(|| "without a code".into(), |code| code.to_string()));
        self.fact(now, "close", json!({ "code": code, "reason": reason }), visible(&line).trim_end(), Paint::Dim)
    }

    /// What follows is an end that a transcript cannot bring about.
    pub(super) fn stop_recording(&mut self) {
        self.record = None;
    }

    /// What became of it.
    pub(super) fn verdict(&mut self, verdict: &Verdict) -> Result<(), Failure> {
        let ended = verdict.ended.as_ref();
        let how = |closed: &Closed| {
            let label = closed.label.as_ref().map(|label| format!(" {label}")).unwrap_or_default();
            let said = if closed.cause == Cause::Remote {
                format!(" {} {}", closed.code, closed.reason)
            } else {
                String::new()
            };
            let detail = if closed.detail.is_empty() { String::new() } else { format!(": {}", closed.detail) };
            format!("{}{label}{}{detail}", closed.cause, said.trim_end())
        };
        let end = ended.filter(|closed| closed.cause.is_failure() || verdict.ready.is_none()).map(how);
        let refused = match verdict.refused.len() as u64 {
            0 => None,
            refused => Some(format!("{} refused: {}", count(refused, "key"), verdict.refused.join(", "))),
        };
        let why = verdict.trouble.clone().into_iter().chain(refused).chain(end).collect::<Vec<_>>().join("; ");
        let line = match (verdict.ready, why.is_empty()) {
            (Some(_), true) => "verdict: ready".to_owned(),
            (Some(_), false) => format!("verdict: ready, then not well: {why}"),
            (None, true) => "verdict: not ready".to_owned(),
            (None, false) => format!("verdict: not ready: {why}"),
        };
        let fact = json!({
            "event": "verdict",
            "fine": verdict.is_fine(),
            "ready": verdict.ready.is_some(),
            "cause": ended.map(|closed| closed.cause.as_str()),
            "code": ended.map(|closed| closed.code),
            "status": ended.and_then(|closed| closed.status),
            "label": ended.and_then(|closed| closed.label.as_deref()),
            "detail": ended.map(|closed| &*closed.detail),
            "trouble": verdict.trouble,
            "refused": verdict.refused,
        });
        let paint = if verdict.is_fine() { Paint::Green } else { Paint::Red };
        let line = if self.is_json { fact.to_string() } else { self.output.paint(&visible(&line), paint) };
        Ok(self.output.line(line)?)
    }

    fn fact(&mut self, at: Instant, event: &str, mut fact: Value, line: &str, paint: Paint) -> Result<(), Failure> {
        let since = at.saturating_duration_since(*self.began.get_or_insert(at));
        if self.is_json {
            fact["event"] = event.into();
            fact["atMs"] = (since.as_secs_f64() * 1e3).into();
            return Ok(self.output.line(fact)?);
        }
        Ok(self.output.line(format_args!("{:>9}  {}", of_millis(since), self.output.paint(line, paint)))?)
    }

    fn record(&mut self, now: Instant, line: impl FnOnce(&Self) -> Value) -> Result<(), Failure> {
        let line = line(self);
        let Some((file, last)) = &mut self.record else { return Ok(()) };
        let pause = now.saturating_duration_since(*last);
        let mut text = String::new();
        if pause >= PAUSE {
            // Rounded up: what was due then is due in the transcript.
            let millis = pause.as_millis().saturating_add(1);
            text = format!("{}\n", json!({ "after": format!("{millis}ms") }));
            *last = last.later(pause);
        }
        let written = file.write_all(format!("{text}{line}\n").as_bytes());
        written.map_err(|error| Failure::Failed(format!("cannot write the transcript: {error}")))
    }
}

fn of_millis(span: Duration) -> String {
    millis(span.as_secs_f64() * 1e3)
}

fn recorded(text: &str, is_hex: bool, kind: Kind, is_in: bool) -> Value {
    let word = if is_in { "in" } else { "out" };
    if is_hex {
        return json!({ format!("{word}_hex"): text });
    }
    let value = serde_json::from_str::<Value>(text).ok().filter(|value| value.is_object() || value.is_array());
    let mut line = json!({ word: value.unwrap_or_else(|| text.into()) });
    if kind == Kind::Binary {
        line["opcode"] = "binary".into();
    }
    line
}
