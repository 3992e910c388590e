//! What arrives, to stdout.
//!
//! What a reader would get wrong: it reads by a cursor, as consumers of the daemon do, so a slow stdout holds up nothing: what the
//! inbox has let go meanwhile is a gap, and told.

use std::io;

use serde_json::to_vec;
use tokio::sync::watch;

use super::{sink::Sink, status::Status};
use crate::{
    api::{self, BinaryType},
    cli::{args, output::Paint, words},
};
use wskeeper_core::message::{Kind, Payload};
use wskeeper_link::{
    hub::{Entry, Item, Next, Reader},
    pool::local::Lag,
};

/// So many bytes are written at once.
const PIECE: usize = 64 << 10;

/// Who prints.
#[derive(Debug)]
pub(super) struct Printer<'a> {
    pub(super) args: &'a args::Connect,
    pub(super) name: &'a str,
    pub(super) status: &'a Status,
    /// Messages so far.
    pub(super) heard: &'a watch::Sender<u64>,
    pub(super) reader: Reader,
}

impl Printer<'_> {
    /// Prints until it was enough, the link is gone, or nobody reads it.
    pub(super) async fn run(mut self, out: Sink<Vec<u8>>) -> io::Result<()> {
        loop {
            let mut piece = Vec::new();
            let mut next = Some(self.reader.next().await);
            let mut goes_on = true;
            while let Some(read) = next.take() {
                goes_on = self.put(&mut piece, read);
                if goes_on && piece.len() < PIECE {
                    next = self.reader.try_next();
                }
            }
            if (!piece.is_empty() && !out.put(piece).await) || !goes_on {
                return out.finish().await;
            }
        }
    }

    /// Whether there is more to come.
    fn put(&self, piece: &mut Vec<u8>, next: Next) -> bool {
        match next {
            Next::Closed => return false,
            Next::Gap { missed, from, to } => self.missed(piece, Lag { missed, from, to }),
            Next::Entry(entry) => {
                if self.args.json {
                    // What is ours can be written.
                    piece.extend(to_vec(&api::event(&entry, BinaryType::Base64)).unwrap_or_default());
                    piece.push(b'\n');
                }
                if let Entry { item: Item::Message(payload), .. } = &*entry {
                    if !self.args.json {
                        self.message(piece, payload);
                    }
                    self.heard.send_modify(|heard| *heard += 1);
                    return self.args.count.is_none_or(|count| *self.heard.borrow() < count);
                }
            }
        }
        true
    }

    fn message(&self, piece: &mut Vec<u8>, payload: &Payload) {
        if self.args.binary {
            piece.extend_from_slice(payload.bytes());
            return;
        }
        match payload.kind() {
            Kind::Text => piece.extend_from_slice(payload.bytes()),
            Kind::Binary => {
                let text = BinaryType::Base64.write(payload.bytes());
                piece.extend_from_slice(format!("binary {} B base64 {text}", payload.len()).as_bytes());
            }
        }
        piece.push(b'\n');
    }

    fn missed(&self, piece: &mut Vec<u8>, lag: Lag) {
        if self.args.json {
            piece.extend(to_vec(&api::lag(Some(self.name), lag)).unwrap_or_default());
            piece.push(b'\n');
            return;
        }
        let missed = lag.missed.map_or_else(|| "events".to_owned(), |missed| words::count(missed, "event"));
        self.status.fault(format!("missed {missed}: stdout is too slow"), Paint::Yellow);
    }
}
