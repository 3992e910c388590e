//! Requests and their replies: an id of our own for each, and the caller's own back in the reply.
//!
//! A request is a message of the outbox that a reply confirms, as an acknowledgement does: one table holds what waits for either. What a
//! reader would get wrong: the id is given at the moment the frame is, not before, so ids rise on each connection in the order in
//! which requests leave; and a request that is asked again has another one.

mod text;

use std::time::Instant;

use bytes::Bytes;

use super::{
    message::{Kind, MessageId, Payload},
    session::Matcher,
};

pub use self::text::key;

/// How requests and replies belong together.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Policy {
    /// Where the id stands in a request (RFC 6901). Without it there are no requests.
    pub id: Option<Box<str>>,
    /// Where it stands in a reply.
    pub reply: Option<Box<str>>,
    /// A reply like this says that the request failed.
    pub error: Option<Box<Matcher>>,
    /// Which id a request gets.
    pub stamp: Stamp,
    /// So many requests at most wait for a reply at once, with what timers of the session wait for.
    pub in_flight: Option<u32>,
    /// Consumers do not see replies.
    pub hide: bool,
    /// A request whose connection is lost is asked again on the next one.
    pub retry: bool,
}

/// Which id a request gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Stamp {
    /// A number, as text where the caller's is text: rising on each connection.
    #[default]
    Seq,
    /// A random one.
    Uuid,
    /// The caller's own.
    Keep,
}

/// What a message has that is a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    /// The text before the id, the caller's id, and the text behind it.
    head: Bytes,
    own: Option<Bytes>,
    tail: Bytes,
    kind: Kind,
    stamp: Stamp,
    /// No reply is waited for after this.
    pub deadline: Instant,
    /// It is asked again where its connection is lost.
    pub retry: bool,
    /// As it leaves, once it has an id.
    pub(crate) stamped: Option<Payload>,
    /// It has begun to leave, and no reply to it will be found: it ends once it has left.
    pub(crate) is_over: bool,
}

/// A reply to a request, with the caller's id in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// The request.
    pub id: MessageId,
    /// The reply.
    pub payload: Payload,
    /// It says that the request failed.
    pub is_error: bool,
}

/// What is kept of a request while its reply is waited for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Waiting {
    pub(crate) own: Option<Bytes>,
    pub(crate) deadline: Instant,
}

impl Policy {
    /// A request, if the message is one: an object or array with a string or number at `id`, or an object that has none there yet.
    pub fn asked(&self, payload: &Payload, deadline: Instant) -> Option<Asked> {
        let (text, pointer) = (payload.bytes(), self.id.as_deref()?);
        let asked = |head, own, tail| {
            let Self { stamp, retry, .. } = *self;
            let kind = payload.kind();
            Asked { head, own, tail, kind, stamp, deadline, retry, stamped: None, is_over: false }
        };
        if let Some(at) = text::value(text, pointer) {
            let own = Bytes::copy_from_slice(&text[at.clone()]);
            text::meaning(&own)?;
            return Some(asked(text.slice(..at.start), Some(own), text.slice(at.end..)));
        }
        let (at, has_more) = text::room(text, pointer).filter(|_| self.stamp != Stamp::Keep)?;
        let name = pointer.rsplit_once('/')?.1;
        let is_plain = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-.$@".contains(&byte));
        let mut head = text[..at].to_vec();
        head.extend_from_slice(format!("\"{name}\":").as_bytes());
        let mut tail = if has_more { b",".to_vec() } else { Vec::new() };
        tail.extend_from_slice(&text[at..]);
        is_plain.then(|| asked(head.into(), None, tail.into()))
    }

    /// Whether requests and replies belong together as by this one: what was asked by the one is answered by the other.
    pub(crate) fn is_as(&self, other: &Self) -> bool {
        (&self.id, &self.reply, self.stamp) == (&other.id, &other.reply, other.stamp)
    }

    /// The key of a reply.
    pub(crate) fn key_of(&self, message: &[u8]) -> Option<Box<str>> {
        key(message, self.reply.as_deref()?)
    }

    /// A reply as its caller gets it.
    pub(crate) fn reply(&self, id: MessageId, message: &Payload, own: Option<&Bytes>) -> Reply {
        let is_error = self.error.as_ref().is_some_and(|matcher| matcher.is_met_by_itself(message));
        let at = self.reply.as_deref().and_then(|pointer| text::value(message.bytes(), pointer));
        let payload = match (at, own) {
            (Some(at), Some(own)) => {
                let text = message.bytes();
                payload(message.kind(), &[&text[..at.start], own, &text[at.end..]])
            }
            (Some(_) | None, Some(_) | None) => message.clone(),
        };
        Reply { id, payload, is_error }
    }
}

impl Asked {
    /// Gives it an id; answers with the key that its reply will have.
    pub(crate) fn give(&mut self, number: u64, name: impl FnOnce() -> String) -> Box<str> {
        let is_text = self.own.as_ref().is_some_and(|own| own.starts_with(b"\""));
        let id: Bytes = match (self.stamp, &self.own) {
            (Stamp::Keep, Some(own)) => own.clone(),
            (Stamp::Uuid, _) => format!("\"{}\"", name()).into(),
            (Stamp::Seq | Stamp::Keep, _) if is_text => format!("\"{number}\"").into(),
            (Stamp::Seq | Stamp::Keep, _) => number.to_string().into(),
        };
        self.stamped = Some(payload(self.kind, &[&self.head, &id, &self.tail]));
        text::meaning(&id).unwrap_or_default()
    }

    /// Whether its id is to be a number of ours.
    pub(crate) fn is_numbered(&self) -> bool {
        match self.stamp {
            Stamp::Seq => true,
            Stamp::Uuid => false,
            Stamp::Keep => self.own.is_none(),
        }
    }

    /// The key that its reply has where its id is kept.
    pub(crate) fn own_key(&self) -> Option<Box<str>> {
        self.own.as_deref().filter(|_| self.stamp == Stamp::Keep).and_then(text::meaning)
    }

    pub(crate) fn waiting(&self) -> Waiting {
        Waiting { own: self.own.clone(), deadline: self.deadline }
    }
}

fn payload(kind: Kind, parts: &[&[u8]]) -> Payload {
    let bytes = parts.concat();
    match kind {
        // The parts of a text, and what stands between them, are UTF-8.
        Kind::Text => Payload::checked_text(bytes),
        Kind::Binary => Payload::binary(bytes),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(pointer: &str, text: &str) -> Option<Asked> {
        let policy = Policy { id: Some(pointer.into()), reply: Some(pointer.into()), ..Policy::default() };
        policy.asked(&text.into(), crate::epoch())
    }

    fn stamped(pointer: &str, text: &str) -> Option<(String, String)> {
        let mut asked = asked(pointer, text)?;
        let key = asked.give(41, || "u".into());
        Some((String::from_utf8(asked.stamped?.bytes().to_vec()).unwrap(), key.into()))
    }

    #[test]
    fn an_id_is_given_in_the_callers_own_type_and_nothing_else_changes() {
        for (pointer, text, wanted) in [
            ("/id", r#"{ "id" : 1,"x":[ 1 ]}"#, r#"{ "id" : 41,"x":[ 1 ]}"#),
            ("/id", r#"{"x":"é","id":"a\"b"}"#, r#"{"x":"é","id":"41"}"#),
            ("/1", r#"[2,"q","Heartbeat",{}]"#, r#"[2,"41","Heartbeat",{}]"#),
            ("/id", r#"{"type":"get"}"#, r#"{"id":41,"type":"get"}"#),
            ("/id", "{ }", r#"{"id":41 }"#),
        ] {
            assert_eq!(stamped(pointer, text), Some((wanted.into(), "41".into())), "{text}");
        }
        for text in ["", "hello", r#"{"id":null}"#, r#"{"id":{}}"#, "[1]", "7"] {
            assert_eq!(stamped("/id", text), None, "{text}");
        }
    }

    #[test]
    fn a_reply_gets_the_callers_id_back_as_it_was_written() {
        let asked = asked("/id", r#"{"id": "caf\u00e9"}"#).unwrap();
        let policy = Policy { reply: Some("/id".into()), ..Policy::default() };
        let reply = policy.reply(MessageId(1), &r#"{"result": [1 ,2], "id":"41"}"#.into(), asked.own.as_ref());
        assert_eq!(reply.payload, r#"{"result": [1 ,2], "id":"caf\u00e9"}"#.into());
        assert!(!reply.is_error);
    }
}
