//! Values and bytes from templates: pure, given what came from outside and what the connection knows.
//!
//! What a reader would get wrong: all of one message is made in one [`Scene`], so `${seq}` and `${uuid}` are the same wherever they stand
//! in it, and the next message has others.

use std::{
    borrow::Cow,
    fmt::{self, Write as _},
    sync::Arc,
    time::{Duration, Instant},
};

use super::{
    Body, BytesPart, Call, Dialled, Json, Plan, Request, Send, Source, Text, TextPart,
    json::{self, Value},
    variables::Variables,
};
use crate::{chance::Chance, message::Payload};

/// The largest message that a session sends, in bytes.
const MESSAGE_MAX: usize = 1 << 20;

/// A session as an attempt brings it: the plan, and all that it needs from outside.
pub struct Start {
    /// What is to be done.
    pub plan: Arc<Plan>,
    /// The values of its references to secrets.
    pub secrets: Box<[Box<str>]>,
    /// What the wall clock said, since 1970.
    pub wall: Duration,
    /// When.
    pub at: Instant,
    /// The endpoint's name.
    pub endpoint: Arc<str>,
    /// The link's number.
    pub link: u32,
    /// What the steps of `dial` have brought, where there are any.
    pub dialled: Option<Box<Dialled>>,
    /// Someone looks on: rules and timers are noted too, and steps that are left out.
    pub is_watched: bool,
}

impl fmt::Debug for Start {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Start({}/{})", self.endpoint, self.link)
    }
}

/// Where templates are evaluated.
pub(super) struct Scene<'a> {
    pub(super) start: &'a Start,
    pub(super) variables: &'a Variables,
    pub(super) generation: u64,
    pub(super) now: Instant,
    /// The counter of the connection and chance; a matcher has neither.
    pub(super) fresh: Option<(&'a mut u64, &'a mut Chance)>,
    pub(super) seq: Option<u64>,
    pub(super) uuid: Option<String>,
    /// Those of subscriptions that the message is about.
    pub(super) keys: &'a [Arc<str>],
}

/// What was made cannot be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unsendable {
    /// It is larger than a session may send.
    TooLarge,
    /// A text behind a length of two bytes has more than those can say.
    TooLong,
}

impl<'a> Scene<'a> {
    /// Where nothing is counted and nothing drawn.
    pub(super) fn still(start: &'a Start, variables: &'a Variables, generation: u64, now: Instant) -> Self {
        Self { start, variables, generation, now, fresh: None, seq: None, uuid: None, keys: &[] }
    }

    fn value(&mut self, source: &Source) -> Value {
        match source {
            Source::Secret(index) => self.start.secrets.get(*index).map_or(Value::Null, |text| (&**text).into()),
            Source::Var(var, default) => match (self.variables.get(*var), default) {
                (Some(value), _) => value.clone(),
                (None, Some(default)) => (&**default).into(),
                (None, None) => Value::Null,
            },
            Source::Seq => self.seq().into(),
            Source::Uuid => self.uuid().into(),
            Source::Now => self.wall().as_secs().into(),
            Source::NowMillis => u64::try_from(self.wall().as_millis()).unwrap_or(u64::MAX).into(),
            Source::NowRfc3339 => rfc3339(self.wall()).into(),
            Source::Endpoint => (&*self.start.endpoint).into(),
            Source::Link => self.start.link.into(),
            Source::Generation => self.generation.into(),
            Source::Key => self.keys.first().map_or(Value::Null, |key| (&**key).into()),
            Source::Keys => Value::Array(self.keys.iter().map(|key| (&**key).into()).collect()),
        }
    }

    fn seq(&mut self) -> u64 {
        if self.seq.is_none()
            && let Some((counter, _)) = &mut self.fresh
        {
            **counter = counter.saturating_add(1);
            self.seq = Some(**counter);
        }
        self.seq.unwrap_or_default()
    }

    fn uuid(&mut self) -> String {
        if let (None, Some((_, chance))) = (&self.uuid, &mut self.fresh) {
            self.uuid = Some(uuid(chance.bits(), chance.bits()));
        }
        self.uuid.clone().unwrap_or_default()
    }

    pub(super) fn wall(&self) -> Duration {
        self.start.wall.saturating_add(self.now.saturating_duration_since(self.start.at))
    }

    pub(super) fn text(&mut self, text: &Text) -> String {
        let mut made = String::new();
        for part in &text.0 {
            match part {
                TextPart::Literal(literal) => made.push_str(literal),
                TextPart::Value(Source::Keys) => made.push_str(&self.keys.join(",")),
                TextPart::Value(source) => {
                    let value = self.value(source);
                    made.push_str(&json::text(&value));
                }
            }
        }
        made
    }

    pub(super) fn json(&mut self, json: &Json) -> Value {
        match json {
            Json::Literal(value) => value.clone(),
            Json::Value(source) => self.value(source),
            Json::Text(text) => self.text(text).into(),
            Json::List(list) => Value::Array(list.iter().map(|each| self.json(each)).collect()),
            Json::Object(members) => {
                Value::Object(members.iter().map(|(name, each)| (name.to_string(), self.json(each))).collect())
            }
        }
    }

    /// What is wanted of a value, without a copy where nothing is to be evaluated.
    pub(super) fn wanted<'j>(&mut self, json: &'j Json) -> Cow<'j, Value> {
        match json.literal() {
            Some(value) => Cow::Borrowed(value),
            None => Cow::Owned(self.json(json)),
        }
    }

    pub(super) fn message(&mut self, send: &Send) -> Result<Payload, Unsendable> {
        let bytes: Vec<u8> = match &send.body {
            Body::Text(text) => self.text(text).into(),
            Body::Json(json) => self.json(json).to_string().into(),
            Body::Fixed(bytes) => return Ok(payload(send, bytes.clone())),
            Body::Bytes(parts) => self.bytes(parts)?,
        };
        if bytes.len() > MESSAGE_MAX {
            return Err(Unsendable::TooLarge);
        }
        Ok(payload(send, bytes.into()))
    }

    /// A call as it is to be made.
    pub(super) fn request(&mut self, call: &Call) -> Result<Request, Unsendable> {
        let mut headers: Vec<_> = call.headers.iter().map(|(name, value)| (name.clone(), self.text(value))).collect();
        let body: Vec<u8> = match &call.body {
            None => Vec::new(),
            Some(Body::Text(text)) => self.text(text).into(),
            Some(Body::Json(json)) => {
                if !headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("content-type")) {
                    headers.push(("content-type".into(), "application/json".into()));
                }
                self.json(json).to_string().into()
            }
            Some(Body::Fixed(bytes)) => bytes.to_vec(),
            Some(Body::Bytes(parts)) => self.bytes(parts)?,
        };
        if body.len() > MESSAGE_MAX {
            return Err(Unsendable::TooLarge);
        }
        Ok(Request {
            method: call.method.clone(),
            url: self.text(&call.url),
            headers,
            body: body.into(),
            timeout: call.timeout,
            max_bytes: call.max_bytes,
            tls: call.tls,
        })
    }

    fn bytes(&mut self, parts: &[BytesPart]) -> Result<Vec<u8>, Unsendable> {
        let mut made = Vec::new();
        for part in parts {
            match part {
                BytesPart::Fixed(bytes) => made.extend_from_slice(bytes),
                BytesPart::Text(text) => made.extend_from_slice(self.text(text).as_bytes()),
                BytesPart::Prefixed(text) => {
                    let text = self.text(text);
                    let length = u16::try_from(text.len()).map_err(|_| Unsendable::TooLong)?;
                    made.extend_from_slice(&length.to_be_bytes());
                    made.extend_from_slice(text.as_bytes());
                }
                BytesPart::VarLen(parts) => {
                    let within = self.bytes(parts)?;
                    let mut left = within.len();
                    loop {
                        let low = u8::try_from(left & 0x7f).unwrap_or_default();
                        left >>= 7;
                        made.push(if left > 0 { low | 0x80 } else { low });
                        if left == 0 {
                            break;
                        }
                    }
                    made.extend_from_slice(&within);
                }
            }
        }
        Ok(made)
    }
}

/// Text only where it is UTF-8, which all but fixed bytes are.
fn payload(send: &Send, bytes: bytes::Bytes) -> Payload {
    match send.kind {
        crate::message::Kind::Text => Payload::text(bytes.clone()).unwrap_or_else(|_| Payload::binary(bytes)),
        crate::message::Kind::Binary => Payload::binary(bytes),
    }
}

/// A name of version 4 from random bits.
pub(crate) fn uuid(high: u64, low: u64) -> String {
    let high = high & !0xf000 | 0x4000;
    let low = low & (u64::MAX >> 2) | 1 << 63;
    let hex = format!("{high:016x}{low:016x}");
    let mut text = String::with_capacity(36);
    for (at, digit) in hex.chars().enumerate() {
        if matches!(at, 8 | 12 | 16 | 20) {
            text.push('-');
        }
        text.push(digit);
    }
    text
}

/// A moment of the wall clock in UTC, to the millisecond: days to dates by Hinnant's algorithm, years from March.
fn rfc3339(since_epoch: Duration) -> String {
    // A clock that is past the year 9999 says that it stands there.
    let seconds = i64::try_from(since_epoch.as_secs()).unwrap_or(i64::MAX).min(253_402_300_799);
    let (days, second) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    let from_march = days.saturating_add(719_468);
    let (era, day_of_era) = (from_march.div_euclid(146_097), from_march.rem_euclid(146_097));
    #[allow(clippy::arithmetic_side_effects, reason = "all are small: the seconds are bounded above")]
    let (year, month, day) = {
        let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let shifted = (5 * day_of_year + 2) / 153;
        let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
        (year_of_era + era * 400 + i64::from(month <= 2), month, day_of_year - (153 * shifted + 2) / 5 + 1)
    };
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    let mut text = String::new();
    let millis = since_epoch.subsec_millis();
    let _ = write!(text, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{millis:03}Z");
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_written_as_rfc_3339_says() {
        let at = |seconds, millis| rfc3339(Duration::from_secs(seconds) + Duration::from_millis(millis));
        assert_eq!(at(0, 0), "1970-01-01T00:00:00.000Z");
        assert_eq!(at(951_782_400, 7), "2000-02-29T00:00:00.007Z");
        assert_eq!(at(1_795_910_399, 999), "2026-11-28T23:59:59.999Z");
        assert_eq!(at(4_107_542_399, 0), "2100-02-28T23:59:59.000Z");
        assert_eq!(rfc3339(Duration::MAX), "9999-12-31T23:59:59.999Z");
    }

    #[test]
    fn a_random_name_says_its_version_and_variant() {
        assert_eq!(uuid(0, 0), "00000000-0000-4000-8000-000000000000");
        assert_eq!(uuid(u64::MAX, u64::MAX), "ffffffff-ffff-4fff-bfff-ffffffffffff");
    }
}
