//! Records as rows, each with a checksum over all that it says.
//!
//! The engine checks the shape of its pages, not what stands in them. With a checksum of ours a flipped bit in a payload is
//! found when it is read, and never goes out to a peer. Numbers and strings enter the sum with their lengths.

use std::{
    collections::BTreeSet,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use bytes::Bytes;
use rusqlite::{Row, Rows};

use super::{DeadLetter, KeptReceipt, Record};
use wskeeper_core::{
    clock,
    message::{Kind, MessageId, Payload},
    receipt::{EndReason, Receipt, State},
};

/// Why a row cannot be read.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unreadable {
    /// What it says does not fit its checksum, or means nothing to us.
    #[error("{0}")]
    Damaged(String),
    /// The engine cannot read it.
    #[error("{0}")]
    Engine(#[from] rusqlite::Error),
}

/// Bytes that a row takes beside its payload and its strings: numbers, the cell, its share of half-filled pages.
const ROW: usize = 160;
/// Payload bytes of a page that holds nothing else.
const OVERFLOW: usize = 4092;

pub(super) const MESSAGE: &str = "id, endpoint, link, accepted, expires, key, idempotency, marked, kind, payload, sum";
pub(super) const LETTER: &str = "id, endpoint, link, accepted, died, fate, key, kind, payload, sum";
pub(super) const RECEIPT: &str =
    "id, endpoint, link, state, fate, bytes, accepted, updated, generation, keep, idempotency, claim, sum";

/// What a mark does to a message's checksum, so that it can be set without reading the payload again.
pub(super) const MARKED: u32 = 0x5a96_3cf0;

/// Names of endpoints, each held once however many records have it.
#[derive(Debug, Default)]
pub(super) struct Names(BTreeSet<Arc<str>>);

impl Names {
    fn get(&mut self, name: &str) -> Arc<str> {
        if let Some(known) = self.0.get(name) {
            return Arc::clone(known);
        }
        let name: Arc<str> = name.into();
        self.0.insert(Arc::clone(&name));
        name
    }
}

/// Reads a row of [`MESSAGE`].
pub(super) fn message(row: &Row<'_>, names: &mut Names) -> Result<Record, Unreadable> {
    let payload = payload(row.get_ref(9)?.as_blob().map_err(rusqlite::Error::from)?, row.get(8)?)?;
    let record = Record {
        id: id(row)?,
        endpoint: names.get(row.get_ref(1)?.as_str().map_err(rusqlite::Error::from)?),
        link: row.get(2)?,
        accepted_at: time(row.get(3)?),
        expires_at: row.get::<_, Option<i64>>(4)?.map(time),
        key: boxed(row.get(5)?),
        idempotency_key: boxed(row.get(6)?),
        marked: row.get(7)?,
        payload,
    };
    check(message_sum(&record), row.get(10)?, record.id)?;
    Ok(record)
}

/// Reads a row of [`LETTER`].
pub(super) fn letter(row: &Row<'_>, names: &mut Names) -> Result<DeadLetter, Unreadable> {
    let payload = payload(row.get_ref(8)?.as_blob().map_err(rusqlite::Error::from)?, row.get(7)?)?;
    let letter = DeadLetter {
        id: id(row)?,
        endpoint: names.get(row.get_ref(1)?.as_str().map_err(rusqlite::Error::from)?),
        link: row.get(2)?,
        accepted_at: time(row.get(3)?),
        died_at: time(row.get(4)?),
        end_reason: end_reason(row.get(5)?)?,
        key: boxed(row.get(6)?),
        payload,
    };
    check(letter_sum(&letter), row.get(9)?, letter.id)?;
    Ok(letter)
}

/// Reads a row of [`RECEIPT`].
pub(super) fn receipt(row: &Row<'_>, names: &mut Names) -> Result<KeptReceipt, Unreadable> {
    let state: String = row.get(3)?;
    let claim = row.get::<_, Option<i64>>(11)?.map(time);
    let kept = KeptReceipt {
        receipt: Receipt {
            id: id(row)?,
            endpoint: names.get(row.get_ref(1)?.as_str().map_err(rusqlite::Error::from)?),
            link: row.get(2)?,
            state: State::from_word(&state).ok_or_else(|| Unreadable::Damaged(format!("no state is `{state}`")))?,
            end_reason: end_reason(row.get(4)?)?,
            bytes: row.get::<_, i64>(5)?.cast_unsigned(),
            accepted_at: time(row.get(6)?),
            updated_at: time(row.get(7)?),
            generation: row.get::<_, Option<i64>>(8)?.map(i64::cast_unsigned),
        },
        keep_until: time(row.get(9)?),
        claim: boxed(row.get(10)?).zip(claim),
    };
    check(receipt_sum(&kept), row.get(12)?, kept.receipt.id)?;
    Ok(kept)
}

/// All rows, read with one of the functions above.
pub(super) fn all<T>(
    mut rows: Rows<'_>,
    read: impl Fn(&Row<'_>, &mut Names) -> Result<T, Unreadable>,
) -> Result<Vec<T>, Unreadable> {
    let (mut names, mut found) = (Names::default(), Vec::new());
    while let Some(row) = rows.next()? {
        found.push(read(row, &mut names)?);
    }
    Ok(found)
}

pub(super) fn message_sum(record: &Record) -> u32 {
    let mut sum = Sum::new(record.id, &record.endpoint, record.link);
    sum.number(millis(record.accepted_at));
    sum.option(record.expires_at.map(millis));
    sum.text(record.key.as_deref());
    sum.text(record.idempotency_key.as_deref());
    let sum = sum.payload(&record.payload);
    if record.marked { sum ^ MARKED } else { sum }
}

pub(super) fn letter_sum(letter: &DeadLetter) -> u32 {
    let mut sum = Sum::new(letter.id, &letter.endpoint, letter.link);
    sum.number(millis(letter.accepted_at));
    sum.number(millis(letter.died_at));
    sum.text(letter.end_reason.map(EndReason::as_str));
    sum.text(letter.key.as_deref());
    sum.payload(&letter.payload)
}

pub(super) fn receipt_sum(kept: &KeptReceipt) -> u32 {
    let receipt = &kept.receipt;
    let mut sum = Sum::new(receipt.id, &receipt.endpoint, receipt.link);
    sum.text(Some(receipt.state.as_str()));
    sum.text(receipt.end_reason.map(EndReason::as_str));
    sum.number(receipt.bytes.cast_signed());
    sum.number(millis(receipt.accepted_at));
    sum.number(millis(receipt.updated_at));
    sum.option(receipt.generation.map(u64::cast_signed));
    sum.number(millis(kept.keep_until));
    sum.text(kept.claim.as_ref().map(|(key, _)| &**key));
    sum.option(kept.claim.as_ref().map(|(_, until)| millis(*until)));
    sum.0.finalize()
}

/// Of a segment: its `after`, its first number and how many entries it has, and its text.
pub(super) fn segment_sum(endpoint: &str, numbers: [u64; 3], text: &[u8]) -> u32 {
    let mut sum = Sum(crc32fast::Hasher::new());
    sum.text(Some(endpoint));
    for number in numbers {
        sum.number(number.cast_signed());
    }
    sum.0.update(text);
    sum.0.finalize()
}

/// Of a link's variables.
pub(super) fn variables_sum((endpoint, link): &(Arc<str>, u32), text: &[u8]) -> u32 {
    let mut sum = Sum(crc32fast::Hasher::new());
    sum.text(Some(endpoint));
    sum.number((*link).into());
    sum.0.update(text);
    sum.0.finalize()
}

/// The checksum of a receiver's cursor.
pub(super) fn cursor_sum((endpoint, receiver): &(Arc<str>, Arc<str>), cursor: u64) -> u32 {
    let mut sum = Sum(crc32fast::Hasher::new());
    sum.text(Some(endpoint));
    sum.text(Some(receiver));
    sum.number(cursor.cast_signed());
    sum.0.finalize()
}

/// Of a key of a subscription.
pub(super) fn key_sum((endpoint, key): &(Arc<str>, Arc<str>), kept: &[u8]) -> u32 {
    let mut sum = Sum(crc32fast::Hasher::new());
    sum.text(Some(endpoint));
    sum.text(Some(key));
    sum.0.update(kept);
    sum.0.finalize()
}

/// Bytes of pages that a row takes whose strings and payload have so many bytes; rather too many than too few.
pub(super) fn cost(bytes: usize) -> u64 {
    let row = ROW + bytes;
    // A row that fits a page may leave most of the page before it empty; one that does not takes whole pages.
    let bytes = if row < OVERFLOW / 4 { row + row / 8 } else { (row / OVERFLOW + 2) * OVERFLOW };
    bytes as u64
}

/// Whole milliseconds since 1970; what is earlier is then, and what is later than a number can say is as late as it can.
pub(super) fn millis(at: SystemTime) -> i64 {
    let since = at.duration_since(UNIX_EPOCH).unwrap_or_default();
    since.as_millis().try_into().unwrap_or(i64::MAX)
}

pub(super) fn time(millis: i64) -> SystemTime {
    clock::since_epoch(Duration::from_millis(millis.try_into().unwrap_or(0)))
}

fn id(row: &Row<'_>) -> rusqlite::Result<MessageId> {
    Ok(MessageId(u128::from_be_bytes(row.get(0)?)))
}

fn boxed(text: Option<String>) -> Option<Box<str>> {
    text.map(String::into_boxed_str)
}

fn end_reason(word: Option<String>) -> Result<Option<EndReason>, Unreadable> {
    word.map(|word| EndReason::from_word(&word).ok_or_else(|| Unreadable::Damaged(format!("no reason is `{word}`"))))
        .transpose()
}

/// Text was UTF-8 when it was stored, and the row's checksum says that it still is.
pub(super) fn payload(bytes: &[u8], kind: u8) -> Result<Payload, Unreadable> {
    let bytes = Bytes::copy_from_slice(bytes);
    match kind {
        1 => Ok(Payload::checked_text(bytes)),
        2 => Ok(Payload::binary(bytes)),
        other => Err(Unreadable::Damaged(format!("no kind of message is {other}"))),
    }
}

/// The opcode (RFC 6455 §5.2).
pub(super) fn kind(kind: Kind) -> u8 {
    match kind {
        Kind::Text => 1,
        Kind::Binary => 2,
    }
}

fn check(sum: u32, stored: u32, id: MessageId) -> Result<(), Unreadable> {
    if sum == stored { Ok(()) } else { Err(Unreadable::Damaged(format!("message {id} is not what was stored"))) }
}

struct Sum(crc32fast::Hasher);

impl Sum {
    fn new(id: MessageId, endpoint: &str, link: u32) -> Self {
        let mut sum = Self(crc32fast::Hasher::new());
        sum.0.update(&id.0.to_be_bytes());
        sum.text(Some(endpoint));
        sum.number(link.into());
        sum
    }

    fn number(&mut self, number: i64) {
        self.0.update(&number.to_be_bytes());
    }

    fn option(&mut self, number: Option<i64>) {
        self.0.update(&[u8::from(number.is_some())]);
        self.number(number.unwrap_or(0));
    }

    fn text(&mut self, text: Option<&str>) {
        self.option(text.map(|text| i64::try_from(text.len()).unwrap_or(i64::MAX)));
        self.0.update(text.unwrap_or_default().as_bytes());
    }

    fn payload(mut self, payload: &Payload) -> u32 {
        self.0.update(&[kind(payload.kind())]);
        self.0.update(payload.bytes());
        self.0.finalize()
    }
}
