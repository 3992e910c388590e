//! The client protocol of NATS: what a server says, read from bytes, and what is said to it.
//!
//! What a reader would get wrong: what a server says a message has in bytes is held against the limit before any of them is waited for, so no server
//! decides how much memory it gets.

use std::{fmt, str};

use bytes::{Buf as _, Bytes, BytesMut};

/// The longest line; that of `INFO` names all servers of a cluster.
const MAX_LINE: usize = 64 << 10;
/// What headers begin with.
const VERSION: &str = "NATS/1.0";

/// Says that we are there.
pub const PING: &[u8] = b"PING\r\n";
/// Answers a `PING`.
pub const PONG: &[u8] = b"PONG\r\n";

/// What a server says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ServerOp {
    /// About itself, in JSON.
    Info(Bytes),
    /// A message of a subscription.
    Message(Delivered),
    /// It asks whether we are there.
    Ping,
    /// It has read all that was said before our `PING`.
    Pong,
    /// All is well.
    Ok,
    /// Something is not.
    Error(Box<str>),
}

/// A message of a subscription.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivered {
    /// Where it was published.
    pub subject: Box<str>,
    /// The subscription's number.
    pub sid: u64,
    /// Where an answer goes.
    pub reply: Option<Box<str>>,
    /// As they stand in it; empty: it has none.
    pub headers: Bytes,
    /// What it is.
    pub payload: Bytes,
}

/// Why what a server says is not understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// A line does not end.
    Line,
    /// It is none of what servers say.
    Word,
    /// A message without what one has.
    Message,
    /// A message of so many bytes.
    TooLong(u64),
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Line => write!(f, "it sends a line of more than {MAX_LINE} bytes"),
            Self::Word => write!(f, "it does not speak the protocol of NATS"),
            Self::Message => write!(f, "it sends a message that is none"),
            Self::TooLong(bytes) => write!(f, "it sends a message of {bytes} bytes, which is more than is taken"),
        }
    }
}

/// Reads what a server says.
#[derive(Debug)]
pub struct OpReader {
    bytes: BytesMut,
    max: u64,
}

impl OpReader {
    /// Takes messages of so many bytes, headers included.
    pub fn new(max: u64) -> Self {
        Self { bytes: BytesMut::new(), max }
    }

    /// Where what is read of the server goes, at its end.
    pub fn buffer(&mut self) -> &mut BytesMut {
        &mut self.bytes
    }

    /// What it says next; `None`: not all of that is there.
    pub fn read(&mut self) -> Result<Option<ServerOp>, Fault> {
        let Some(end) = self.bytes.iter().take(MAX_LINE + 2).position(|byte| *byte == b'\n') else {
            return if self.bytes.len() > MAX_LINE { Err(Fault::Line) } else { Ok(None) };
        };
        let line = self.bytes.get(..end).unwrap_or_default();
        let line = str::from_utf8(line.strip_suffix(b"\r").unwrap_or(line)).map_err(|_| Fault::Word)?;
        let (word, rest) = line.split_once([' ', '\t']).unwrap_or((line, ""));
        let rest = rest.trim();
        let said = match word.to_ascii_uppercase().as_str() {
            "INFO" => ServerOp::Info(Bytes::copy_from_slice(rest.as_bytes())),
            "PING" => ServerOp::Ping,
            "PONG" => ServerOp::Pong,
            "+OK" => ServerOp::Ok,
            "-ERR" => ServerOp::Error(rest.trim_matches('\'').into()),
            "MSG" => return self.message(end + 1, Announced::read(rest, false).ok_or(Fault::Message)?),
            "HMSG" => return self.message(end + 1, Announced::read(rest, true).ok_or(Fault::Message)?),
            _ => return Err(Fault::Word),
        };
        self.bytes.advance(end + 1);
        Ok(Some(said))
    }

    fn message(&mut self, line: usize, announced: Announced) -> Result<Option<ServerOp>, Fault> {
        let Announced { subject, sid, reply, headers, all } = announced;
        if all > self.max {
            return Err(Fault::TooLong(all));
        }
        let (Ok(headers), Ok(all)) = (usize::try_from(headers), usize::try_from(all)) else {
            return Err(Fault::Message);
        };
        let Some(payload) = all.checked_sub(headers) else { return Err(Fault::Message) };
        let end = line.saturating_add(all);
        match self.bytes.get(end..end.saturating_add(2)) {
            None => return Ok(None),
            Some(b"\r\n") => {}
            Some(_) => return Err(Fault::Message),
        }
        self.bytes.advance(line);
        let headers = self.bytes.split_to(headers).freeze();
        let payload = self.bytes.split_to(payload).freeze();
        self.bytes.advance(2);
        Ok(Some(ServerOp::Message(Delivered { subject, sid, reply, headers, payload })))
    }
}

/// The line before a message.
struct Announced {
    subject: Box<str>,
    sid: u64,
    reply: Option<Box<str>>,
    /// Bytes of headers.
    headers: u64,
    /// Bytes, those included.
    all: u64,
}

impl Announced {
    fn read(line: &str, has_headers: bool) -> Option<Self> {
        let mut words: Vec<&str> = line.split_whitespace().collect();
        let all = words.pop()?.parse().ok()?;
        let headers = if has_headers { words.pop()?.parse().ok()? } else { 0 };
        let (subject, sid, reply) = match words.as_slice() {
            [subject, sid] => (*subject, *sid, None),
            [subject, sid, reply] => (*subject, *sid, Some((*reply).into())),
            _ => return None,
        };
        Some(Self { subject: subject.into(), sid: sid.parse().ok()?, reply, headers, all })
    }
}

impl Delivered {
    /// The code and the words of a server that answers in place of somebody.
    pub fn status(&self) -> Option<(u16, &str)> {
        let first = str::from_utf8(&self.headers).ok()?.lines().next()?;
        let (code, words) = first.strip_prefix(VERSION)?.trim().split_once(' ').map_or_else(
            || (first.strip_prefix(VERSION).unwrap_or_default().trim(), ""),
            |(code, words)| (code, words.trim()),
        );
        Some((code.parse().ok()?, words))
    }

    /// The value of a header, the first of them.
    pub fn header(&self, name: &str) -> Option<&str> {
        let lines = str::from_utf8(&self.headers).ok()?.lines().skip(1);
        let mut fields = lines.filter_map(|line| line.split_once(':'));
        fields.find(|(field, _)| field.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim())
    }
}

/// Whether a word of a subject may have this letter. What may have a meaning of its own at its beginning is none of them.
pub fn is_plain(letter: char) -> bool {
    !(letter.is_whitespace() || letter.is_control() || ".*>$".contains(letter))
}

/// Who we are, in JSON.
pub fn connect(out: &mut BytesMut, json: &[u8]) {
    lines(out, &[b"CONNECT ", json]);
}

/// Asks for messages of a subject, for one of a group where there is one.
pub fn subscribe(out: &mut BytesMut, subject: &str, group: Option<&str>, sid: u64) {
    let group = group.map(|group| format!("{group} ")).unwrap_or_default();
    lines(out, &[format!("SUB {subject} {group}{sid}").as_bytes()]);
}

/// Publishes a message, with headers whose names and values have no line ends.
pub fn publish(out: &mut BytesMut, subject: &str, reply: Option<&str>, headers: &[(&str, &str)], payload: &[u8]) {
    let reply = reply.map(|reply| format!("{reply} ")).unwrap_or_default();
    if headers.is_empty() {
        lines(out, &[format!("PUB {subject} {reply}{}", payload.len()).as_bytes()]);
    } else {
        let fields = headers_of(headers);
        let all = fields.len().saturating_add(payload.len());
        lines(out, &[format!("HPUB {subject} {reply}{} {all}", fields.len()).as_bytes()]);
        out.extend_from_slice(fields.as_bytes());
    }
    lines(out, &[payload]);
}

/// Bytes that a server counts of such a message.
pub fn size(headers: &[(&str, &str)], payload: &[u8]) -> usize {
    let fields = if headers.is_empty() { 0 } else { headers_of(headers).len() };
    fields.saturating_add(payload.len())
}

fn headers_of(headers: &[(&str, &str)]) -> String {
    let fields = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n"));
    [format!("{VERSION}\r\n")].into_iter().chain(fields).chain(["\r\n".to_owned()]).collect()
}

fn lines(out: &mut BytesMut, parts: &[&[u8]]) {
    for part in parts {
        out.extend_from_slice(part);
    }
    out.extend_from_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn hear(bytes: &[u8]) -> Result<Vec<ServerOp>, Fault> {
        let mut hearing = OpReader::new(1 << 10);
        hearing.buffer().extend_from_slice(bytes);
        let mut said = Vec::new();
        while let Some(next) = hearing.read()? {
            said.push(next);
        }
        Ok(said)
    }

    fn one(bytes: &[u8]) -> ServerOp {
        hear(bytes).unwrap().remove(0)
    }

    #[test]
    fn what_a_server_says_is_read() {
        assert_eq!(one(b"INFO {\"a\":1} \r\n"), ServerOp::Info(Bytes::from_static(b"{\"a\":1}")));
        assert_eq!(hear(b"PING\r\nPONG\r\n+OK\r\nPI").unwrap(), [ServerOp::Ping, ServerOp::Pong, ServerOp::Ok]);
        assert_eq!(one(b"-ERR 'Authorization Violation'\r\n"), ServerOp::Error("Authorization Violation".into()));
        assert_eq!(one(b"-ERR\r\n"), ServerOp::Error("".into()));
        let ServerOp::Message(message) = one(b"MSG a.b 7 r.1 2\r\nhi\r\n") else { panic!() };
        assert_eq!((&*message.subject, message.sid, message.reply.as_deref()), ("a.b", 7, Some("r.1")));
        assert_eq!((&*message.payload, message.status()), (&b"hi"[..], None));
        let ServerOp::Message(message) = one(b"HMSG a 7 34 36\r\nNATS/1.0\r\nNats-Msg-Id: x\r\nB: c\r\n\r\nhi\r\n")
        else {
            panic!()
        };
        assert_eq!(
            (message.header("nats-msg-id"), message.header("none"), &*message.payload),
            (Some("x"), None, &b"hi"[..])
        );
        let ServerOp::Message(message) = one(b"HMSG a 7 26 26\r\nNATS/1.0 503 No Answer\r\n\r\n\r\n") else { panic!() };
        assert_eq!(message.status(), Some((503, "No Answer")));
        let ServerOp::Message(message) = one(b"HMSG a 7 16 16\r\nNATS/1.0 503\r\n\r\n\r\n") else { panic!() };
        assert_eq!(message.status(), Some((503, "")));
    }

    #[test]
    fn what_no_server_says_is_a_fault_at_once() {
        for (bytes, wanted) in [
            (&b"HTTP/1.1 400 Bad Request\r\n"[..], Fault::Word),
            (b"\xff\xfe\r\n", Fault::Word),
            (b"\r\n", Fault::Word),
            (b"MSG a 7\r\n", Fault::Message),
            (b"MSG a 7 -1\r\n", Fault::Message),
            (b"MSG a 7 r s 1\r\n", Fault::Message),
            (b"MSG a 7 2\r\nhi!!", Fault::Message),
            (b"HMSG a 7 9 3\r\n", Fault::Message),
            (b"MSG a 7 18446744073709551615\r\n", Fault::TooLong(u64::MAX)),
            (b"MSG a 7 1025\r\n", Fault::TooLong(1025)),
        ] {
            assert_eq!(hear(bytes), Err(wanted), "{}", bytes.escape_ascii());
        }
        assert_eq!(hear(&vec![b'x'; MAX_LINE + 1]), Err(Fault::Line));
    }

    #[test]
    fn what_is_said_to_a_server_has_its_form() {
        let mut out = BytesMut::new();
        connect(&mut out, b"{}");
        subscribe(&mut out, "a.*", None, 1);
        subscribe(&mut out, "a.*", Some("g"), 2);
        publish(&mut out, "a", None, &[], b"hi");
        publish(&mut out, "a", Some("r"), &[("A", "b")], b"hi");
        let wanted = "CONNECT {}\r\nSUB a.* 1\r\nSUB a.* g 2\r\nPUB a 2\r\nhi\r\nHPUB a r 18 20\r\nNATS/1.0\r\nA: b\r\n\r\nhi\r\n";
        assert_eq!(str::from_utf8(&out).unwrap(), wanted);
        assert_eq!((size(&[], b"hi"), size(&[("A", "b")], b"hi")), (2, 20));
    }

    proptest! {
        /// However the bytes come, the same is heard; and no bytes panic.
        #[test]
        fn cuts_change_nothing(bytes in proptest::collection::vec(piece(), 0..12), cut in 1..9_usize) {
            let bytes = bytes.concat();
            let (mut hearing, mut heard) = (OpReader::new(1 << 10), Vec::new());
            let mut fault = None;
            'all: for part in bytes.chunks(cut) {
                hearing.buffer().extend_from_slice(part);
                loop {
                    match hearing.read() {
                        Ok(Some(said)) => heard.push(said),
                        Ok(None) => break,
                        Err(found) => {
                            fault = Some(found);
                            break 'all;
                        }
                    }
                }
            }
            match (hear(&bytes), fault) {
                (Ok(whole), None) => prop_assert_eq!(whole, heard),
                (Err(whole), Some(fault)) => prop_assert_eq!(whole, fault),
                other => prop_assert!(false, "{other:?}"),
            }
        }
    }

    fn piece() -> impl Strategy<Value = Vec<u8>> {
        prop_oneof![
            Just(b"MSG a 1 3\r\nabc\r\n".to_vec()),
            Just(b"HMSG a 1 r 12 14\r\nNATS/1.0\r\n\r\nhi\r\n".to_vec()),
            Just(b"INFO {}\r\n".to_vec()),
            Just(b"-ERR\r\n".to_vec()),
            Just(b"PING\n".to_vec()),
            proptest::collection::vec(any::<u8>(), 0..20),
        ]
    }
}
