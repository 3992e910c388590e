//! Stdin, to the link: its lines, or its bytes.
//!
//! What a reader would get wrong: a full outbox refuses nothing here. It makes stdin wait, which is where a pipe holds what is not wanted yet.

use std::{cell::Cell, time::Duration};

use bytes::BytesMut;
use tokio::{io::AsyncReadExt as _, sync::watch};

use super::status::Status;
use crate::cli::{
    Failure,
    output::Paint,
    send::{Flaw, Input, Line},
};
use wskeeper_core::message::{MessageId, Payload};
use wskeeper_link::{
    link::Stop,
    pool::{Pool, Send},
};

/// As long as stdin may have to wait.
pub(super) const FOREVER: Duration = Duration::from_hours(24 * 365);
/// Bytes of a message with `--binary`, at most.
const PIECE: usize = 64 << 10;

/// Who sends.
#[derive(Debug)]
pub(super) struct Sender<'a> {
    pub(super) pool: &'a Pool,
    pub(super) endpoint: &'a str,
    pub(super) status: &'a Status,
    /// The end of all of it will be waited for.
    pub(super) confirms: bool,
    /// The last message that was accepted.
    pub(super) last: Cell<Option<MessageId>>,
    /// Lines that were not sent: they could not be, or their turn has not come.
    pub(super) unsent: Cell<u64>,
    /// Nothing more is to be read.
    pub(super) stop: watch::Sender<bool>,
}

impl Sender<'_> {
    /// Sends lines until there are no more.
    pub(super) async fn lines(&self) -> Result<(), Failure> {
        let mut input = Input::new(tokio::io::stdin());
        loop {
            let lines = tokio::select! {
                lines = input.ready() => lines?,
                () = self.stopped() => return Ok(()),
            };
            if lines.is_empty() {
                return Ok(());
            }
            let mut payloads = Vec::with_capacity(lines.len());
            for Line { number, text } in lines {
                match text {
                    Ok(text) => payloads.push(Payload::checked_text(text)),
                    Err(flaw) => self.refuse(&format!("line {number}: {}", why(flaw))),
                }
            }
            self.send(payloads).await;
        }
    }

    /// Sends bytes until there are no more.
    pub(super) async fn bytes(&self) -> Result<(), Failure> {
        let mut input = tokio::io::stdin();
        loop {
            // What there is room for is what is read at most.
            let mut read = BytesMut::with_capacity(PIECE);
            let count = tokio::select! {
                count = input.read_buf(&mut read) => count?,
                () = self.stopped() => return Ok(()),
            };
            if count == 0 {
                return Ok(());
            }
            self.send(vec![Payload::binary(read.split().freeze())]).await;
        }
    }

    async fn send(&self, payloads: Vec<Payload>) {
        let send = |payload| Send {
            wants_confirmation: self.confirms,
            patience: FOREVER,
            ..Send::new(self.endpoint, payload)
        };
        self.unsent.set(self.unsent.get() + payloads.len() as u64);
        let sends = payloads.into_iter().map(send).collect();
        self.pool
            .send_all(sends, Stop::Never, |outcome| match outcome {
                Ok(receipt) => {
                    self.last.set(Some(receipt.id));
                    self.unsent.set(self.unsent.get() - 1);
                }
                Err(refused) if *self.stop.borrow() => drop(refused),
                Err(refused) => self.status.fault(format!("not sent: {refused}"), Paint::Red),
            })
            .await;
    }

    fn refuse(&self, why: &str) {
        self.unsent.set(self.unsent.get() + 1);
        self.status.fault(why, Paint::Red);
    }

    async fn stopped(&self) {
        let _ = self.stop.subscribe().wait_for(|stop| *stop).await;
    }
}

fn why(flaw: Flaw) -> &'static str {
    match flaw {
        Flaw::NotUtf8 => "not UTF-8, as a text message must be; --binary sends bytes",
        Flaw::TooLong => "longer than 64 MiB; nothing of it was sent",
    }
}
