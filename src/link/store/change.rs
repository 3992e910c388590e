//! What each op does to the rows, inside the transaction of its batch.
//!
//! A message leaves its table before its receipt or letter is written, so that a full file can reuse its pages at once.

use std::time::SystemTime;

use rusqlite::{CachedStatement, params};

use super::{
    DeadLetter, KeptReceipt, Op, Record, Settled, WriteError,
    engine::Engine,
    index::Place,
    row::{self, Unreadable, millis},
};
use wskeeper_core::{
    message::MessageId,
    receipt::{EndReason, Receipt, State},
};

impl Engine {
    /// Carries out one op: how many rows it changed, or that there was no room for it.
    pub(super) fn apply(&mut self, op: &Op) -> Result<Result<u64, WriteError>, Unreadable> {
        match op {
            Op::Append(record) => self.append(record),
            Op::Mark { id, marked } => self.mark_message(*id, *marked).map(Ok),
            Op::Settle(settled) => self.settle(settled).map(Ok),
            Op::Move { from, to } => {
                let places = self.messages_of(&from.0, Some(from.1))?;
                for (_, seq) in &places {
                    self.readdress(*seq, to)?;
                }
                Ok(Ok(places.len() as u64))
            }
            Op::Discard { endpoint, link, at, keep_until } => {
                let places = self.messages_of(endpoint, *link)?;
                for (id, _) in &places {
                    self.settle(&Settled {
                        id: *id,
                        state: State::Dropped,
                        end_reason: Some(EndReason::Removed),
                        generation: None,
                        updated_at: *at,
                        keep_until: *keep_until,
                        claim_until: None,
                    })?;
                }
                Ok(Ok(places.len() as u64))
            }
            Op::Revive { letter, record } => {
                if self.index.letter(*letter).is_none() {
                    return Ok(Ok(0));
                }
                match self.append(record)? {
                    Ok(1) => self.drop_letter(*letter).map(Ok),
                    refused_or_held => Ok(refused_or_held),
                }
            }
            Op::DropDead(id) => self.drop_letter(*id).map(Ok),
            Op::Arrived(segment) => self.arrived(segment),
            Op::ForgetInbox(endpoint) => self.forget_inbox(endpoint).map(Ok),
            Op::Remember { of, kept } => self.remember(of, kept),
            Op::ForgetVariables { endpoint, link } => self.forget_variables(endpoint, *link).map(Ok),
            Op::KeepCursor { of, cursor } => self.keep_cursor(of, *cursor),
            Op::ForgetCursor(of) => self.forget_cursor(of).map(Ok),
            Op::HoldKey { of, kept } => self.hold_key(of, kept),
            Op::ForgetKeys(endpoint) => self.forget_keys(endpoint).map(Ok),
        }
    }

    /// Drops receipts that have been kept long enough, and the oldest of too many.
    pub(super) fn prune(&mut self, now: SystemTime) -> Result<(), Unreadable> {
        let now = millis(now);
        while let Some((keep, id)) = self.index.receipts.first().copied()
            && (keep <= now || self.index.receipts.len() > self.bounds.receipts)
        {
            self.prepared("DELETE FROM receipt WHERE id = ?1")?.execute([id.0.to_be_bytes()])?;
            self.index.remove_receipt(id);
        }
        Ok(())
    }

    fn append(&mut self, record: &Record) -> Result<Result<u64, WriteError>, Unreadable> {
        if self.index.knows(record.id) {
            return Ok(Ok(0));
        }
        if !self.finds_room(cost(record))? {
            return Ok(Err(self.full()?));
        }
        let (seq, sum) = (self.index.take_next(), row::message_sum(record));
        self.prepared("INSERT INTO message VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)")?.execute(
            params![
                seq,
                record.id.0.to_be_bytes(),
                &*record.endpoint,
                record.link,
                millis(record.accepted_at),
                record.expires_at.map(millis),
                record.key.as_deref(),
                record.idempotency_key.as_deref(),
                record.marked,
                row::kind(record.payload.kind()),
                &record.payload.bytes()[..],
                sum,
            ],
        )?;
        self.index.messages.insert(record.id, Place { seq, marked: record.marked, sum });
        Ok(Ok(1))
    }

    fn mark_message(&mut self, id: MessageId, marked: bool) -> Result<u64, Unreadable> {
        let Some(place) = self.index.messages.get(&id).copied() else { return Ok(0) };
        if place.marked != marked {
            let sum = place.sum ^ row::MARKED;
            self.prepared("UPDATE message SET marked = ?2, sum = ?3 WHERE seq = ?1")?
                .execute(params![place.seq, marked, sum])?;
            self.index.messages.insert(id, Place { marked, sum, ..place });
        }
        Ok(1)
    }

    fn settle(&mut self, settled: &Settled) -> Result<u64, Unreadable> {
        let Some(place) = self.index.messages.remove(&settled.id) else { return self.climb(settled) };
        let sql = format!("DELETE FROM message WHERE seq = ?1 RETURNING {}", row::MESSAGE);
        let record = row::all(self.prepared(&sql)?.query([place.seq])?, row::message)?.pop();
        let Some(record) = record else {
            return Err(Unreadable::Damaged(format!("message {} is gone from its row", settled.id)));
        };
        self.keep_receipt(&receipt_of(&record, settled))?;
        if settled.state == State::Dead {
            self.bury(record, settled)?;
        }
        Ok(1)
    }

    /// The message has left already: only its receipt can follow.
    fn climb(&mut self, settled: &Settled) -> Result<u64, Unreadable> {
        let sql = format!("SELECT {} FROM receipt WHERE id = ?1", row::RECEIPT);
        let found = row::all(self.prepared(&sql)?.query([settled.id.0.to_be_bytes()])?, row::receipt)?.pop();
        let Some(mut kept) = found.filter(|kept| kept.receipt.state.can_become(settled.state)) else { return Ok(0) };
        kept.receipt.state = settled.state;
        kept.receipt.end_reason = settled.end_reason;
        kept.receipt.updated_at = settled.updated_at;
        kept.receipt.generation = settled.generation.or(kept.receipt.generation);
        kept.keep_until = keep_until(settled.keep_until, kept.claim.as_ref().map(|(_, until)| *until));
        self.keep_receipt(&kept)?;
        Ok(1)
    }

    fn keep_receipt(&mut self, kept: &KeptReceipt) -> Result<(), Unreadable> {
        let receipt = &kept.receipt;
        let keep = millis(kept.keep_until);
        self.prepared(
            "INSERT OR REPLACE INTO receipt VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)",
        )?
        .execute(params![
            receipt.id.0.to_be_bytes(),
            &*receipt.endpoint,
            receipt.link,
            receipt.state.as_str(),
            receipt.end_reason.map(EndReason::as_str),
            receipt.bytes.cast_signed(),
            millis(receipt.accepted_at),
            millis(receipt.updated_at),
            receipt.generation.map(u64::cast_signed),
            keep,
            kept.claim.as_ref().map(|(key, _)| &**key),
            kept.claim.as_ref().map(|(_, until)| millis(*until)),
            row::receipt_sum(kept),
        ])?;
        self.index.add_receipt(receipt.id, keep);
        Ok(())
    }

    /// Keeps the message as a dead letter; the oldest go for it.
    fn bury(&mut self, record: Record, settled: &Settled) -> Result<(), Unreadable> {
        let letter = DeadLetter {
            id: record.id,
            endpoint: record.endpoint,
            link: record.link,
            accepted_at: record.accepted_at,
            died_at: settled.updated_at,
            end_reason: settled.end_reason,
            key: record.key,
            payload: record.payload,
        };
        let seq = self.index.take_next();
        self.prepared("INSERT INTO letter VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)")?.execute(params![
            seq,
            letter.id.0.to_be_bytes(),
            &*letter.endpoint,
            letter.link,
            millis(letter.accepted_at),
            millis(letter.died_at),
            letter.end_reason.map(EndReason::as_str),
            letter.key.as_deref(),
            row::kind(letter.payload.kind()),
            &letter.payload.bytes()[..],
            row::letter_sum(&letter),
        ])?;
        self.index.add_letter(seq, letter.id, letter.payload.len() as u64);
        while self.index.letters.len() > self.bounds.letters || self.index.letter_bytes > self.bounds.letter_bytes {
            let Some(oldest) = self.index.letters.keys().next().copied() else { break };
            self.remove_letter(oldest)?;
            self.evicted += 1;
        }
        Ok(())
    }

    fn drop_letter(&mut self, id: MessageId) -> Result<u64, Unreadable> {
        match self.index.letter(id) {
            Some(seq) => self.remove_letter(seq).map(|()| 1),
            None => Ok(0),
        }
    }

    fn remove_letter(&mut self, seq: i64) -> Result<(), Unreadable> {
        self.prepared("DELETE FROM letter WHERE seq = ?1")?.execute([seq])?;
        self.index.remove_letter(seq);
        Ok(())
    }

    fn messages_of(&self, endpoint: &str, link: Option<u32>) -> Result<Vec<(MessageId, i64)>, Unreadable> {
        let mut query = self
            .prepared("SELECT id, seq FROM message WHERE endpoint = ?1 AND (?2 IS NULL OR link = ?2) ORDER BY seq")?;
        let rows =
            query.query_map((endpoint, link), |row| Ok((MessageId(u128::from_be_bytes(row.get(0)?)), row.get(1)?)))?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    fn readdress(&mut self, seq: i64, to: &(std::sync::Arc<str>, u32)) -> Result<(), Unreadable> {
        let sql = format!("SELECT {} FROM message WHERE seq = ?1", row::MESSAGE);
        let found = row::all(self.prepared(&sql)?.query([seq])?, row::message)?.pop();
        let Some(mut record) = found else { return Ok(()) };
        record.endpoint = to.0.clone();
        record.link = to.1;
        let sum = row::message_sum(&record);
        self.prepared("UPDATE message SET endpoint = ?2, link = ?3, sum = ?4 WHERE seq = ?1")?.execute(params![
            seq,
            &*record.endpoint,
            record.link,
            sum
        ])?;
        self.index.messages.insert(record.id, Place { seq, marked: record.marked, sum });
        Ok(())
    }

    /// Why there was no room.
    pub(super) fn full(&self) -> Result<WriteError, Unreadable> {
        let text = format!("{} of {} bytes are in use (max_bytes of the store)", self.used()?, self.bounds.max_bytes);
        Ok(WriteError::Full(text.into()))
    }

    pub(super) fn prepared(&self, sql: &str) -> Result<CachedStatement<'_>, Unreadable> {
        Ok(self.db.prepare_cached(sql)?)
    }
}

fn receipt_of(record: &Record, settled: &Settled) -> KeptReceipt {
    let claim = record.idempotency_key.clone().zip(settled.claim_until);
    KeptReceipt {
        receipt: Receipt {
            id: record.id,
            endpoint: record.endpoint.clone(),
            link: record.link,
            state: settled.state,
            bytes: record.payload.len() as u64,
            accepted_at: record.accepted_at,
            updated_at: settled.updated_at,
            generation: settled.generation,
            end_reason: settled.end_reason,
        },
        keep_until: keep_until(settled.keep_until, claim.as_ref().map(|(_, until)| *until)),
        claim,
    }
}

/// A receipt is kept as long as its idempotency key is known.
fn keep_until(keep: SystemTime, claim: Option<SystemTime>) -> SystemTime {
    claim.map_or(keep, |claim| keep.max(claim))
}

/// Bytes of pages that a message takes.
fn cost(record: &Record) -> u64 {
    let strings = [Some(&*record.endpoint), record.key.as_deref(), record.idempotency_key.as_deref()];
    row::cost(strings.into_iter().flatten().map(str::len).sum::<usize>() + record.payload.len())
}
