//! What a client sends, up to where it is handed to the pool.
//!
//! What a reader would get wrong: whole messages that are there together never come to the WebSocket. What the pool does not take of them
//! without a question waits here, and nothing is read until it has gone.

use std::task::{Context, Poll};

use futures_util::StreamExt;
use tokio::time::Instant;
use tokio_tungstenite::tungstenite::{Error, Message};

use super::{
    super::{
        End,
        envelope::{self, Wanted},
    },
    Session,
};
use wskeeper_core::{body::Body, close::TOO_BIG, message::Payload};
use wskeeper_link::link::violation_in;

/// What has arrived counts in the budget from here on.
const SMALL: u64 = 16 << 10;

impl Session {
    /// Takes what the client has sent by now, up to a ping: its pong must have left before there may be another, or a client that
    /// does not read has as many as it likes wait here.
    pub(super) fn read(&mut self, cx: &mut Context<'_>) -> Result<(), End> {
        let mut heard = false;
        while !self.owes && self.has_pushed() && self.hears() && self.poll_arrival(cx)?.is_ready() {
            heard = true;
            self.arrived = self.socket.get_ref().taken();
        }
        if heard {
            self.heard = Instant::now();
        }
        self.count_arriving()
    }

    /// Takes what arrives next.
    fn poll_arrival(&mut self, cx: &mut Context<'_>) -> Result<Poll<()>, End> {
        if !self.terms.envelope {
            let max = self.socket.get_config().max_message_size.unwrap_or(usize::MAX);
            match self.socket.get_mut().poll_messages(cx, max) {
                Poll::Ready(Ok(Some(body))) => {
                    // What is bound to a connection is asked about.
                    let is_free = self.terms.generation.is_none();
                    let accept = |body| self.sends.accept(&self.terms.endpoint, self.terms.link, body);
                    self.rest = if is_free { accept(body) } else { Some(body) };
                    return Ok(Poll::Ready(()));
                }
                Poll::Ready(Ok(None)) => {}
                Poll::Ready(Err(error)) => return Err(fault(&error.into())),
                Poll::Pending => return Ok(Poll::Pending),
            }
        }
        match self.socket.poll_next_unpin(cx) {
            Poll::Ready(arrived) => self.take(arrived).map(Poll::Ready),
            Poll::Pending => Ok(Poll::Pending),
        }
    }

    /// Pushes what is left of messages that came together, as far as there is room. Answers with whether that was all.
    fn has_pushed(&mut self) -> bool {
        while self.sends.has_room()
            && let Some(mut body) = self.rest.take()
        {
            let first = match body.split_to(1) {
                Some(first) => {
                    self.rest = Some(body);
                    first
                }
                None => body,
            };
            self.sends.push(self.terms.plain(first.into_first()));
        }
        self.rest.is_none()
    }

    /// What waits here has its share of the budget, or the client is told to come again later.
    fn count_arriving(&mut self) -> Result<(), End> {
        let begun = self.socket.get_ref().arrived() - self.arrived;
        let waiting = begun + (self.sends.ahead_bytes() + self.rest.as_ref().map_or(0, Body::len)) as u64;
        let waiting = if waiting > SMALL { waiting } else { 0 };
        if waiting == self.arriving.bytes() || self.arriving.resize(waiting) { Ok(()) } else { Err(End::NoRoom) }
    }

    fn take(&mut self, arrived: Option<Result<Message, Error>>) -> Result<(), End> {
        let request = match arrived {
            None | Some(Ok(Message::Close(_))) => return Err(End::Gone),
            Some(Err(error)) => return Err(fault(&error)),
            Some(Ok(Message::Text(text))) if self.terms.envelope => {
                let wanted = envelope::read(text.as_str(), &|payload| self.terms.message(payload));
                match self.holding.take(wanted) {
                    // What is wanted of keys is done.
                    None | Some(Wanted::Subscribe { .. } | Wanted::Unsubscribe { .. }) => return Ok(()),
                    Some(Wanted::Send(request)) => request,
                }
            }
            Some(Ok(Message::Text(text))) => self.terms.plain(Payload::checked_text(text)),
            Some(Ok(Message::Binary(_))) if self.terms.envelope => {
                return Err(End::Farewell(1003, "with wskeeper.v1.json everything is text".into()));
            }
            Some(Ok(Message::Binary(bytes))) => self.terms.plain(Payload::binary(bytes)),
            // The library has its pong ready.
            Some(Ok(Message::Ping(_))) => {
                self.owes = true;
                return Ok(());
            }
            Some(Ok(Message::Pong(_) | Message::Frame(_))) => return Ok(()),
        };
        self.sends.push(request);
        Ok(())
    }

    /// Whether one more message may be taken from the client.
    pub(super) fn hears(&self) -> bool {
        self.sends.has_room() && self.holding.has_room()
    }
}

/// What a client is told of its own fault, unless the connection is simply gone.
fn fault(error: &Error) -> End {
    match violation_in(error) {
        Some((code @ TOO_BIG, _)) => End::Farewell(code, "the message is larger than outbox.max_message allows".into()),
        Some((code, why)) => End::Farewell(code, why),
        None => End::Gone,
    }
}
