//! Entries of a durable inbox as they stand on disk: some that follow each other are one segment, which is one row. Messages that
//! arrived together are one entry each there.
//!
//! ```text
//! entry = link u32, generation u64, at i64 (ms since 1970), kind u8, fields u8, field*      (big-endian)
//! field = length u32, bytes
//! ```
//! The number of an entry is not written: it is the segment's first one and its place. What a reader would get wrong: an entry
//! whose kind or word this version does not know is no damage. A later version may have had it; it is left out, and consumers
//! are told of a gap.

use std::{str, sync::Arc, time::SystemTime};

use bytes::{Buf, BufMut, Bytes};

use super::row::{kind as opcode, millis, payload, time};
use wskeeper_core::{
    close::{Cause, Closed},
    entry::{Arrived, Entry, Item, Stretch},
    event::LinkId,
    message::Kind,
    phase::{Phase, Reason},
};

/// Bytes of a field's length.
const LENGTH: usize = 4;
/// Bytes of a message beside its payload.
const MESSAGE_HEAD: usize = 4 + 8 + 8 + 1 + 1 + (LENGTH + 8) + LENGTH;

/// Entries of an inbox that are to be on disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Segment {
    /// Whose inbox.
    pub endpoint: Arc<str>,
    /// Nothing is missing between this number and the first entry.
    pub after: u64,
    /// They follow each other without a jump.
    pub entries: Vec<Stretch>,
    /// What has a smaller number need not be on disk any more.
    pub oldest: u64,
}

impl Segment {
    /// Bytes of messages in it.
    pub(super) fn payload_len(&self) -> usize {
        self.entries.iter().map(Stretch::message_bytes).sum()
    }

    /// How many entries.
    pub(super) fn count(&self) -> u64 {
        self.entries.iter().map(Stretch::count).sum()
    }
}

/// What the store held of one inbox.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KeptInbox {
    /// Oldest first, each with the number after which nothing is missing before it.
    pub entries: Vec<(u64, Entry)>,
    /// The inbox was closed in order, and this was the number of its last entry: none has come after it.
    pub sealed: Option<u64>,
}

/// Writes entries.
pub(super) fn encode(entries: &[Stretch]) -> Vec<u8> {
    let count = usize::try_from(entries.iter().map(Stretch::count).sum::<u64>()).unwrap_or_default();
    let bytes: usize = entries.iter().map(Stretch::message_bytes).sum();
    let mut text = Vec::with_capacity(bytes + count * MESSAGE_HEAD);
    for stretch in entries {
        match stretch {
            Stretch::Entry(entry) => {
                let (kind, fields) = fields(&entry.item);
                let fields: Vec<&[u8]> = fields.iter().map(|field| &field[..]).collect();
                put(&mut text, (&entry.link, entry.generation, entry.at), kind, &fields);
            }
            Stretch::Arrived(arrived) => {
                let Arrived { link, generation, at, run, .. } = &**arrived;
                // But for its last field, a message begins as all of its kind in the run.
                let head = |kind| {
                    let mut head = Vec::with_capacity(MESSAGE_HEAD);
                    put(&mut head, (link, *generation, *at), MESSAGE, &[&i64::from(opcode(kind)).to_be_bytes(), &[]]);
                    head.truncate(head.len() - LENGTH);
                    head
                };
                let (texts, binaries) = (head(Kind::Text), head(Kind::Binary));
                for (kind, bytes) in run.messages() {
                    text.put_slice(match kind {
                        Kind::Text => &texts,
                        Kind::Binary => &binaries,
                    });
                    put_field(&mut text, bytes);
                }
            }
        }
    }
    text
}

fn put(text: &mut Vec<u8>, (link, generation, at): (&LinkId, u64, SystemTime), kind: u8, fields: &[&[u8]]) {
    text.put_u32(link.index);
    text.put_u64(generation);
    text.put_i64(millis(at));
    text.put_u8(kind);
    text.put_u8(fields.len().try_into().unwrap_or(u8::MAX));
    for field in fields {
        put_field(text, field);
    }
}

fn put_field(text: &mut Vec<u8>, field: &[u8]) {
    text.put_u32(field.len().try_into().unwrap_or(u32::MAX));
    text.put_slice(field);
}

/// Reads what [`encode`] wrote; `None` in the place of an entry that this version does not know. `None` altogether: this is
/// something else.
pub(super) fn decode(mut text: &[u8], endpoint: &Arc<str>, first: u64, count: u64) -> Option<Vec<Option<Entry>>> {
    let mut entries = Vec::new();
    for cursor in first..first.checked_add(count)? {
        let (index, generation, at) = (text.try_get_u32().ok()?, text.try_get_u64().ok()?, text.try_get_i64().ok()?);
        let (kind, fields) = (text.try_get_u8().ok()?, text.try_get_u8().ok()?);
        let fields: Vec<&[u8]> = (0..fields).map(|_| field(&mut text)).collect::<Option<_>>()?;
        let link = LinkId { endpoint: Arc::clone(endpoint), index };
        entries.push(item(kind, &fields).map(|item| Entry { cursor, at: time(at), link, generation, item }));
    }
    text.is_empty().then_some(entries)
}

fn field<'a>(text: &mut &'a [u8]) -> Option<&'a [u8]> {
    let len = usize::try_from(text.try_get_u32().ok()?).ok()?;
    text.split_off(..len)
}

const OPEN: u8 = 0;
const MESSAGE: u8 = 1;
const ERROR: u8 = 2;
const CLOSE: u8 = 3;
const PHASE: u8 = 4;
const LINK_GAP: u8 = 5;

fn fields(item: &Item) -> (u8, Vec<Bytes>) {
    let text = |text: &str| Bytes::copy_from_slice(text.as_bytes());
    let number = |number: i64| Bytes::copy_from_slice(&number.to_be_bytes());
    match item {
        Item::Open { protocol, extensions } => (OPEN, vec![text(protocol), text(extensions)]),
        Item::Message(payload) => (MESSAGE, vec![number(opcode(payload.kind()).into()), payload.bytes().clone()]),
        Item::Error { cause, detail } => (ERROR, vec![text(cause.as_str()), text(detail)]),
        Item::Close(closed) => {
            let Closed { code, reason, was_clean, cause, sent_code, status, label, detail } = &**closed;
            let maybe = |code: &Option<u16>| code.map(|code| number(code.into())).unwrap_or_default();
            let (code, clean) = (number((*code).into()), number((*was_clean).into()));
            let (sent, status) = (maybe(sent_code), maybe(status));
            let mut fields = vec![code, text(reason), clean, text(cause.as_str()), sent, status, text(detail)];
            // Where there is none, an entry is as versions without sessions wrote and read it.
            fields.extend(label.as_deref().map(text));
            (CLOSE, fields)
        }
        Item::Phase { phase, reason } => (PHASE, vec![text(phase.as_str()), text(reason.as_str())]),
        Item::LinkGap { from, to } => (LINK_GAP, vec![number(millis(*from)), number(millis(*to))]),
    }
}

fn item(kind: u8, fields: &[&[u8]]) -> Option<Item> {
    let number = |bytes: &[u8]| Some(i64::from_be_bytes(bytes.try_into().ok()?));
    let maybe = |bytes: &[u8]| Some(if bytes.is_empty() { None } else { Some(number(bytes)?.try_into().ok()?) });
    let item = match (kind, fields) {
        (OPEN, [protocol, extensions]) => Item::Open { protocol: boxed(protocol)?, extensions: boxed(extensions)? },
        (MESSAGE, [opcode, bytes]) => Item::Message(payload(bytes, number(opcode)?.try_into().ok()?).ok()?),
        (ERROR, [cause, detail]) => {
            Item::Error { cause: Cause::from_word(str::from_utf8(cause).ok()?)?, detail: boxed(detail)? }
        }
        (CLOSE, [code, reason, clean, cause, sent, status, detail, label @ ..]) if label.len() <= 1 => {
            Item::Close(Arc::new(Closed {
                code: number(code)?.try_into().ok()?,
                reason: boxed(reason)?,
                was_clean: number(clean)? != 0,
                cause: Cause::from_word(str::from_utf8(cause).ok()?)?,
                sent_code: maybe(sent)?,
                status: maybe(status)?,
                label: match label {
                    [label] => Some(boxed(label)?),
                    _ => None,
                },
                detail: boxed(detail)?,
            }))
        }
        (PHASE, [phase, reason]) => Item::Phase {
            phase: Phase::from_word(str::from_utf8(phase).ok()?)?,
            reason: Reason::from_word(str::from_utf8(reason).ok()?)?,
        },
        (LINK_GAP, [from, to]) => Item::LinkGap { from: time(number(from)?), to: time(number(to)?) },
        _ => return None,
    };
    Some(item)
}

fn boxed(bytes: &[u8]) -> Option<Box<str>> {
    str::from_utf8(bytes).ok().map(Into::into)
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;
    use wskeeper_core::{message::Payload, run::Marks, scan::scan};

    fn all() -> Vec<Item> {
        let closed = |sent_code| Closed {
            code: 1006,
            reason: "güte".into(),
            was_clean: false,
            cause: Cause::Reset,
            sent_code,
            status: sent_code.map(|_| 503),
            label: sent_code.map(|_| "unauthorized".into()),
            detail: "reset by peer".into(),
        };
        vec![
            Item::Open { protocol: "json.v2".into(), extensions: "".into() },
            Item::Message("text".into()),
            Item::Message(Payload::binary(vec![0, 255, 7])),
            Item::Message("".into()),
            Item::Error { cause: Cause::Tls, detail: "unknown authority".into() },
            Item::Close(Arc::new(closed(None))),
            Item::Close(Arc::new(closed(Some(4000)))),
            Item::Phase { phase: Phase::Parked, reason: Reason::Unauthorized },
            Item::LinkGap { from: UNIX_EPOCH + Duration::from_millis(5), to: UNIX_EPOCH + Duration::from_millis(9) },
        ]
    }

    fn entries(items: Vec<Item>) -> Vec<Stretch> {
        let link = LinkId { endpoint: "feed".into(), index: 3 };
        let at = UNIX_EPOCH + Duration::from_millis(1234);
        let entry = |(cursor, item)| Entry { cursor, at, link: link.clone(), generation: 8, item }.into();
        (70..).zip(items).map(entry).collect()
    }

    #[test]
    fn every_kind_of_entry_comes_back_as_it_was() {
        let written = entries(all());
        let read = decode(&encode(&written), &"feed".into(), 70, written.len() as u64).unwrap();
        let entries = written.iter().flat_map(Stretch::entries);
        assert_eq!(read, entries.map(|entry| Some(Entry::clone(&entry))).collect::<Vec<_>>());
    }

    #[test]
    fn messages_that_arrived_together_are_written_as_each_for_itself_and_into_as_much_room() {
        let mut marks = Marks::default();
        let frames = [&b"\x81\x04text"[..], b"\x82\x03\x00\xFF\x07", b"\x81\x00"].concat();
        let (end, _) = scan(&frames, 100, &mut marks);
        let link = LinkId { endpoint: "feed".into(), index: 3 };
        let at = UNIX_EPOCH + Duration::from_millis(1234);
        let arrived = Arrived { cursor: 70, at, link, generation: 8, run: marks.take(frames.into(), end) };
        let together = [Stretch::Arrived(arrived.into())];
        let singles: Vec<Stretch> = together[0].entries().map(|entry| Entry::clone(&entry).into()).collect();
        let text = encode(&together);
        assert_eq!(text, encode(&singles));
        assert_eq!((text.len(), text.capacity()), (3 * MESSAGE_HEAD + 7, 3 * MESSAGE_HEAD + 7));
    }

    #[test]
    fn every_word_reads_back() {
        let reasons = Reason::ALL.map(|reason| Item::Phase { phase: Phase::Ready, reason });
        let causes = Cause::ALL.map(|cause| Item::Error { cause, detail: "".into() });
        let written = entries(reasons.into_iter().chain(causes).collect());
        let read = decode(&encode(&written), &"feed".into(), 70, written.len() as u64).unwrap();
        assert!(read.iter().all(Option::is_some));
    }

    #[test]
    fn a_word_of_a_later_version_costs_its_entry_and_no_other() {
        let written = entries(vec![Item::Message("a".into()), all()[7].clone(), Item::Message("b".into())]);
        let text = encode(&written);
        let place = text.windows(6).position(|word| word == b"parked").unwrap();
        let mut text = text;
        text[place..place + 6].copy_from_slice(b"frozen");
        let read = decode(&text, &"feed".into(), 70, 3).unwrap();
        assert!(read[0].is_some() && read[1].is_none() && read[2].is_some());
    }

    #[test]
    fn what_is_cut_or_has_more_behind_it_is_something_else() {
        let written = entries(all());
        let text = encode(&written);
        let count = written.len() as u64;
        for len in 0..text.len() {
            assert_eq!(decode(&text[..len], &"feed".into(), 70, count), None, "{len}");
        }
        assert_eq!(decode(&text, &"feed".into(), 70, count - 1), None);
        assert_eq!(decode(&text, &"feed".into(), u64::MAX, count), None);
    }
}
