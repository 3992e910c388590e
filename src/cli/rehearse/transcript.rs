//! A transcript: what the server says, what the session must send, and when time passes; one JSON object a line.
//!
//! What a reader would get wrong: no clock runs here. Time passes where a line says so, all at once, and what the session sends at an `in`
//! is compared with the `out` lines behind it; what no `out` names before the next `in` is not compared.

use std::{
    collections::VecDeque,
    fs,
    io::Read as _,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Map, Value};
use wskeeper_core::{
    clock::Clock as _,
    close::{self, CloseFrame},
    event::{Certificates, Established, Steps},
    link::{ConnectionInput, Frame, Received},
    message::{Kind, Payload},
    session::{Answer, Ask, Brought, Errand, Start},
};
use wskeeper_link::clock::Calendar;
use wskeeper_link::endpoint::{Endpoint, Session};

use super::{
    dial,
    names::Names,
    note,
    stage::{Stage, Verdict},
    teller::{HIDDEN, Teller},
    words,
};
use crate::{
    cli::{Failure, output::Output, words as told},
    config::{suggestion, text},
};

/// The largest one.
const SIZE_MAX: u64 = 64 << 20;
/// One pause at most.
const AFTER_MAX: Duration = Duration::from_hours(24);
/// Deadlines that may fall due in one pause.
const DUE_MAX: usize = 100_000;
/// What stands for anything.
const ANYTHING: &str = "***";

/// Lines, with their numbers.
pub(super) struct Transcript {
    lines: Vec<(usize, Line)>,
    name: String,
}

pub(super) enum Line {
    /// The server sends this.
    In(Payload),
    /// The session must have sent this.
    Out(Wanted),
    /// So much time passes.
    After(Duration),
    /// The server closes.
    Close(Option<CloseFrame>),
    /// The HTTP call that waits is answered by this status and body.
    Http(u16, Vec<u8>),
}

/// What must be sent.
pub(super) enum Wanted {
    Text(String),
    Json(Value),
    /// In lower case and without spaces.
    Hex(String),
}

/// A line that is none: the column, where that is known, and what would be right.
struct Broken(String);

/// What happens in a line, and then what stands beside it.
const KEYS: [&str; 12] =
    ["in", "in_hex", "in_base64", "out", "out_hex", "out_base64", "after", "close", "http", "reason", "opcode", "body"];
const VERBS: usize = 9;
const RIGHT: &str =
    "write one of `in`, `in_hex`, `in_base64`, `out`, `out_hex`, `out_base64`, `after`, `close` and `http`";

impl Transcript {
    /// Reads one; else every line that is none is told, with its place and what would be right.
    pub(super) fn read(path: &Path, output: &Output) -> Result<Self, Failure> {
        let name = if path == Path::new("-") { "stdin".to_owned() } else { path.display().to_string() };
        let cannot = |error: &dyn std::fmt::Display| Failure::Failed(format!("cannot read {name}: {error}"));
        let mut text = String::new();
        let read = if path == Path::new("-") {
            std::io::stdin().take(SIZE_MAX).read_to_string(&mut text)
        } else {
            fs::File::open(path).and_then(|file| file.take(SIZE_MAX).read_to_string(&mut text))
        };
        read.map_err(|error| cannot(&error))?;
        let (mut lines, mut broken) = (Vec::new(), 0_u64);
        for (at, line) in text.lines().enumerate() {
            let (number, line) = (at.saturating_add(1), line.trim());
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            match Line::parse(line) {
                Ok(line) => lines.push((number, line)),
                Err(Broken(why)) => {
                    output.note(format_args!("{name}:{number}: {why}"), super::Paint::Plain);
                    broken = broken.saturating_add(1);
                }
            }
        }
        if broken > 0 {
            return Err(Failure::Failed(format!("{name} has {}", told::count(broken, "broken line"))));
        }
        Ok(Self { lines, name })
    }

    /// Plays it.
    pub(super) fn play(
        &self,
        endpoint: &Endpoint,
        session: &Session,
        keys: &[Arc<str>],
        teller: &mut Teller<'_>,
    ) -> Result<Verdict, Failure> {
        let now = tokio::time::Instant::now().into_std();
        let url = endpoint.shown_url(0);
        let established = Box::new(Established {
            url: Arc::clone(&url),
            address: None,
            protocol: "".into(),
            compression: None,
            carrier: None,
            certificates: Certificates::default(),
            timings: Steps::default(),
        });
        let start = start(endpoint, session, now, teller.output());
        let (mut start, mut now, mut lines) = (Box::new(start), now, self.lines.iter());
        if !start.plan.dial.is_empty() {
            let lines = lines.by_ref().map(|(number, line)| (*number, line));
            match dial::play(*start, endpoint.link.connect_timeout, (&self.name, lines), teller, now)? {
                Ok((dialled, at)) => (start, now) = (Box::new(dialled), at),
                Err(verdict) => return Ok(verdict),
            }
        }
        teller.opened(now, &url, &format!("by {}, without a network", self.name))?;
        let stage = Stage::open(&endpoint.link, (start, established), keys, (1, now), teller)?;
        let mut scene = Scene { stage, now, sent: VecDeque::new(), asks: VecDeque::new(), names: Names::default() };
        scene.settle()?;
        for (number, line) in lines {
            if scene.stage.is_over() {
                let trouble = format!("the session was over before {}:{number}", self.name);
                scene.stage.verdict.trouble.get_or_insert(trouble);
                break;
            }
            if let Some(trouble) = scene.play(line)? {
                scene.stage.verdict.trouble = Some(format!("{}:{number}: {trouble}", self.name));
                break;
            }
        }
        Ok(scene.end())
    }
}

/// Where it is played.
struct Scene<'a, 'o> {
    stage: Stage<'a, 'o>,
    now: Instant,
    /// What was sent and has not been compared.
    sent: VecDeque<Payload>,
    /// HTTP calls that wait.
    asks: VecDeque<Ask>,
    names: Names,
}

impl Scene<'_, '_> {
    /// Answers what is not as the line says.
    fn play(&mut self, line: &Line) -> Result<Option<String>, Failure> {
        match line {
            Line::In(payload) => {
                self.sent.clear();
                self.stage.hear(self.now, &self.names.of_now(payload))?;
                self.settle()?;
            }
            Line::Out(wanted) => return Ok(self.compare(wanted)),
            Line::After(span) => return self.pass(*span),
            Line::Http(status, body) => {
                let Some(Ask { id, .. }) = self.asks.pop_front() else {
                    return Ok(Some(format!("the session waits for no HTTP call{}", self.waiting())));
                };
                let done = Ok(Brought::Answer(Answer::of(*status, body.clone())));
                self.stage.answer(self.now, id, done)?;
                self.settle()?;
            }
            Line::Close(frame) => {
                self.stage.teller.closed_by_peer(self.now, frame.as_ref())?;
                self.stage.feed(self.now, ConnectionInput::Received(Received::Close(frame.clone())))?;
                self.stage.feed(self.now, ConnectionInput::Ended { begun: 0, detail: "".into() })?;
            }
        }
        Ok(None)
    }

    /// Lets leave what is to leave. This peer answers each ping, and each Close.
    fn settle(&mut self) -> Result<(), Failure> {
        loop {
            if std::mem::take(&mut self.stage.hangs_up) {
                self.stage.feed(self.now, ConnectionInput::Ended { begun: 0, detail: "".into() })?;
            }
            while let Some(ask) = self.stage.next_ask() {
                match ask.errand {
                    Errand::Call(_) => self.asks.push_back(ask),
                    // What is made is secret, and stands in no transcript.
                    Errand::Make(_) => self.stage.answer(self.now, ask.id, Ok(Brought::Made(HIDDEN.into())))?,
                }
            }
            let Some(frame) = self.stage.next_frame(self.now)? else { break };
            self.stage.feed(self.now, ConnectionInput::Flushed)?;
            match frame {
                Frame::Session(payload) => self.sent.push_back(payload),
                Frame::Data(body) => self.sent.extend(body.payloads()),
                Frame::Ping(ping) => {
                    self.stage.feed(self.now, ConnectionInput::Heard)?;
                    self.stage.feed(self.now, ConnectionInput::Received(Received::Pong(ping)))?;
                }
                Frame::Close(frame) => {
                    self.stage.feed(self.now, ConnectionInput::CloseSent(frame.as_ref().map(|frame| frame.code)))?;
                    self.stage.feed(self.now, ConnectionInput::Received(Received::Close(frame)))?;
                    self.stage.feed(self.now, ConnectionInput::Ended { begun: 0, detail: "".into() })?;
                }
            }
        }
        Ok(())
    }

    fn pass(&mut self, span: Duration) -> Result<Option<String>, Failure> {
        let end = self.now.later(span);
        for _ in 0..DUE_MAX {
            let Some(at) = self.stage.due().filter(|at| *at <= end && !self.stage.is_over()) else {
                self.now = end;
                return Ok(None);
            };
            self.now = at.max(self.now);
            self.stage.pass(self.now)?;
            self.settle()?;
        }
        Ok(Some(format!("more than {DUE_MAX} deadlines fall due in this pause: make it shorter")))
    }

    fn compare(&mut self, wanted: &Wanted) -> Option<String> {
        let Some(payload) = self.sent.pop_front() else {
            return Some(format!("the session was to send {}, and sends nothing{}", wanted.shown(), self.waiting()));
        };
        let (text, is_hex) = self.stage.teller.hidden(&payload, self.stage.session());
        let is_wanted = match wanted {
            Wanted::Text(wanted) => !is_hex && is_like(&self.names.learn(wanted, &text), &text),
            Wanted::Json(wanted) => {
                // Members stand in one order in both.
                let value = serde_json::from_str::<Value>(&text).ok();
                let sent = value.as_ref().map_or_else(|| text.clone(), Value::to_string);
                let wanted = self.names.learn(&wanted.to_string(), &sent);
                let is_json = serde_json::from_str(&wanted).ok().zip(value);
                is_json.is_some_and(|(wanted, value)| is_json_like(&wanted, &value)) || is_like(&wanted, &text)
            }
            Wanted::Hex(wanted) => {
                let (hex, _) =
                    self.stage.teller.hidden(&Payload::binary(payload.bytes().clone()), self.stage.session());
                let hex = if is_hex { hex } else { words::hex(payload.bytes()) };
                is_like(wanted, &hex)
            }
        };
        (!is_wanted).then(|| format!("the session was to send {}, and sends {text}", wanted.shown()))
    }

    /// Where the opening waits, and what for.
    fn waiting(&self) -> String {
        self.stage.waiting("waits").map(|waits| format!("; {waits}")).unwrap_or_default()
    }

    fn end(mut self) -> Verdict {
        if self.stage.done_at().is_none() && !self.stage.is_over() && self.stage.verdict.trouble.is_none() {
            self.stage.verdict.trouble = Some(format!("the transcript ends here{}", self.waiting()));
        }
        self.stage.verdict
    }
}

/// What an attempt would bring. Of secrets that are not there a word stands in their place.
fn start(endpoint: &Endpoint, session: &Session, at: Instant, output: &Output) -> Start {
    let secret = |(place, template): (usize, &wskeeper_link::endpoint::Template)| match template.evaluate() {
        Ok(secret) => secret.expose().into(),
        Err(error) => {
            let stand_in = format!("secret-{}", place.saturating_add(1));
            note(output, &format!("{error}; {stand_in:?} stands for it"));
            stand_in.into()
        }
    };
    Start {
        plan: Arc::clone(&session.plan),
        secrets: session.secrets.iter().enumerate().map(secret).collect(),
        wall: Calendar::default().since_epoch(),
        at,
        endpoint: Arc::clone(&endpoint.name),
        link: 0,
        dialled: None,
        is_watched: true,
    }
}

/// Whether a text is as it is wanted, where `***` stands for anything.
fn is_like(wanted: &str, text: &str) -> bool {
    let mut parts = wanted.split(ANYTHING);
    let Some(rest) = parts.next().and_then(|first| text.strip_prefix(first)) else { return false };
    let parts: Vec<&str> = parts.collect();
    let Some((last, middle)) = parts.split_last() else { return rest.is_empty() };
    let found = middle.iter().try_fold(rest, |rest, part| rest.find(part).map(|at| &rest[at + part.len()..]));
    found.is_some_and(|rest| rest.ends_with(last))
}

fn is_json_like(wanted: &Value, value: &Value) -> bool {
    match (wanted, value) {
        (Value::String(wanted), _) if wanted == ANYTHING => true,
        (Value::String(wanted), Value::String(text)) => is_like(wanted, text),
        (Value::Number(wanted), Value::Number(number)) => wanted == number || wanted.as_f64() == number.as_f64(),
        (Value::Array(wanted), Value::Array(list)) => {
            wanted.len() == list.len() && wanted.iter().zip(list).all(|(wanted, value)| is_json_like(wanted, value))
        }
        (Value::Object(wanted), Value::Object(members)) => {
            wanted.len() == members.len()
                && wanted.iter().all(|(name, wanted)| members.get(name).is_some_and(|it| is_json_like(wanted, it)))
        }
        (wanted, value) => wanted == value,
    }
}

impl Wanted {
    fn shown(&self) -> String {
        match self {
            Self::Text(text) => text.clone(),
            Self::Json(value) => value.to_string(),
            Self::Hex(hex) => format!("hex {hex}"),
        }
    }
}

impl Line {
    fn parse(line: &str) -> Result<Self, Broken> {
        let members: Map<String, Value> = serde_json::from_str(line)
            .map_err(|error| Broken(format!("this is no JSON object, at column {}: {RIGHT}", error.column())))?;
        if let Some(unknown) = members.keys().find(|key| !KEYS.contains(&key.as_str())) {
            return Err(Broken(format!("`{unknown}` says nothing; {}", suggestion(unknown, &KEYS))));
        }
        let verbs: Vec<&str> = KEYS[..VERBS].iter().copied().filter(|key| members.contains_key(*key)).collect();
        let [verb] = verbs.as_slice() else { return Err(Broken(format!("one thing happens in a line; {RIGHT}"))) };
        let value = &members[*verb];
        if members.contains_key("reason") && *verb != "close" {
            return Err(Broken("`reason` stands beside `close`".into()));
        }
        if members.contains_key("body") && *verb != "http" {
            return Err(Broken("`body` stands beside `http`".into()));
        }
        let kind = members.get("opcode").map(opcode).transpose()?;
        match *verb {
            "in" => {
                let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
                Ok(Self::In(match kind {
                    Some(Kind::Binary) => Payload::binary(text),
                    Some(Kind::Text) | None => Payload::checked_text(text),
                }))
            }
            "in_hex" => Ok(Self::In(bytes(&unhex(value)?, kind)?)),
            "in_base64" => Ok(Self::In(bytes(&unbase64(value)?, kind)?)),
            "out" => {
                let text = value.as_str().map(|text| Wanted::Text(text.to_owned()));
                Ok(Self::Out(text.unwrap_or_else(|| Wanted::Json(value.clone()))))
            }
            "out_hex" => {
                let text = value.as_str().unwrap_or_default();
                let hex: String = text.split_whitespace().collect::<String>().to_ascii_lowercase();
                let is_hex = hex.split(ANYTHING).all(|part| part.bytes().all(|byte| byte.is_ascii_hexdigit()));
                (is_hex && !hex.is_empty())
                    .then_some(Self::Out(Wanted::Hex(hex)))
                    .ok_or_else(|| Broken("`out_hex` is no bytes: write them as \"10 0c ***\"".into()))
            }
            "out_base64" => Ok(Self::Out(Wanted::Hex(words::hex(&unbase64(value)?)))),
            "after" => after(value),
            "http" => http(value, members.get("body")),
            _ => close(value, members.get("reason")),
        }
    }
}

fn opcode(value: &Value) -> Result<Kind, Broken> {
    match value.as_str() {
        Some("text") => Ok(Kind::Text),
        Some("binary") => Ok(Kind::Binary),
        Some(_) | None => Err(Broken("`opcode` is \"text\" or \"binary\"".into())),
    }
}

fn bytes(bytes: &[u8], kind: Option<Kind>) -> Result<Payload, Broken> {
    let bytes = bytes::Bytes::copy_from_slice(bytes);
    match kind {
        Some(Kind::Text) => Payload::text(bytes).map_err(|_| Broken("a text is UTF-8, and these bytes are not".into())),
        Some(Kind::Binary) | None => Ok(Payload::binary(bytes)),
    }
}

fn unhex(value: &Value) -> Result<Vec<u8>, Broken> {
    let digits: Option<Vec<u8>> = value
        .as_str()
        .map(|text| text.split_whitespace().collect::<String>())
        .filter(|digits| digits.len().is_multiple_of(2))
        .and_then(|digits| digits.chars().map(|digit| u8::try_from(digit.to_digit(16)?).ok()).collect());
    let digits = digits.ok_or_else(|| Broken("`in_hex` is no bytes: write them as \"20 02 00 00\"".into()))?;
    Ok(digits.chunks(2).map(|pair| pair.iter().fold(0, |byte, digit| byte << 4 | digit)).collect())
}

fn unbase64(value: &Value) -> Result<Vec<u8>, Broken> {
    let bytes = value.as_str().and_then(|text| STANDARD.decode(text).ok());
    bytes.ok_or_else(|| Broken("this is no base64: write it with its padding, as \"aGk=\"".into()))
}

fn after(value: &Value) -> Result<Line, Broken> {
    let right = "write `after` as \"500ms\", \"20s\" or \"2m\"";
    let written = value.as_str().ok_or_else(|| Broken(right.into()))?;
    match text::duration(written) {
        Ok(span) if span <= AFTER_MAX => Ok(Line::After(span)),
        Ok(_) => Err(Broken("one pause is a day at most: write several".into())),
        Err(error) => Err(Broken(format!("{error}: {right}"))),
    }
}

fn http(status: &Value, body: Option<&Value>) -> Result<Line, Broken> {
    let status = status.as_u64().and_then(|status| u16::try_from(status).ok());
    let status = status.filter(|status| (100..600).contains(status));
    let status = status.ok_or_else(|| Broken("write `http` as a status, as 200, and `body` beside it".into()))?;
    let text = |body: &Value| body.as_str().map_or_else(|| body.to_string(), str::to_owned);
    Ok(Line::Http(status, body.map(text).unwrap_or_default().into_bytes()))
}

fn close(code: &Value, reason: Option<&Value>) -> Result<Line, Broken> {
    let right = "write `close` as a code that a server may send, as 1000 or 4004, or null for none";
    if code.is_null() {
        return Ok(Line::Close(None));
    }
    let code = code.as_u64().and_then(|code| u16::try_from(code).ok()).filter(|code| close::may_be_sent(*code));
    let code = code.ok_or_else(|| Broken(right.into()))?;
    let reason = reason.and_then(Value::as_str).unwrap_or_default().into();
    Ok(Line::Close(Some(CloseFrame { code, reason })))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_stars_stand_for_anything() {
        for (wanted, text, is) in [
            ("abc", "abc", true),
            ("abc", "abcd", false),
            ("a***c", "abbc", true),
            ("a***c", "ab", false),
            ("***b***", "abc", true),
            ("ab***ba", "aba", false),
        ] {
            assert_eq!(is_like(wanted, text), is, "{wanted} {text}");
        }
        let wanted = serde_json::json!({ "op": 2.0, "d": { "token": "***", "list": ["x***"] } });
        assert!(is_json_like(&wanted, &serde_json::json!({ "op": 2, "d": { "token": 7, "list": ["xyz"] } })));
        assert!(!is_json_like(
            &wanted,
            &serde_json::json!({ "op": 2, "d": { "token": 7, "list": ["xyz"], "more": 1 } })
        ));
    }

    #[test]
    fn a_line_that_is_none_says_what_would_be_right() {
        let why = |line: &str| Line::parse(line).err().map(|Broken(why)| why).unwrap_or_default();
        for (line, right) in [
            ("{\"in\": 1", "column"),
            ("{\"inn\": 1}", "`in`"),
            ("{\"in\": 1, \"out\": 2}", "one thing"),
            ("{}", "`after`"),
            ("{\"after\": 5}", "500ms"),
            ("{\"after\": \"5M\"}", "5min"),
            ("{\"in_hex\": \"2\"}", "20 02"),
            ("{\"in_base64\": \"a\"}", "padding"),
            ("{\"out_hex\": \"xy\"}", "10 0c"),
            ("{\"close\": 1006}", "4004"),
            ("{\"in\": 1, \"reason\": \"x\"}", "`close`"),
            ("{\"in\": 1, \"opcode\": \"ping\"}", "\"binary\""),
        ] {
            assert!(why(line).contains(right), "{line}: {}", why(line));
        }
    }
}
