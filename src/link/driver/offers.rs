//! Messages on offer: taken, refused, or in line for room in the outbox.
//!
//! Who waits keeps its place: a message that comes later does not pass one that waits, even where it would fit.

use std::time::Instant;

use tokio::sync::oneshot;

use super::{Driver, WAITING_MAX};
use crate::{
    core::outbox::Refusal,
    link::{Dial, Offer, Stop},
};

impl<D: Dial> Driver<D> {
    pub(super) fn offer_all(&mut self, now: Instant, offers: Vec<Offer>, stop: Stop) {
        let mut is_over = false;
        // Where the caller has gone, the receipt has gone with it.
        for offer in offers.into_iter().filter(|offer| !offer.reply.is_closed()) {
            if is_over {
                refuse(offer.reply, Refusal::Full);
            } else if self.waiting.is_empty() {
                is_over = self.offer(now, offer).is_some_and(|refusal| stop.is_at(refusal));
            } else if self.waiting.len() < WAITING_MAX {
                self.waiting.push_back(offer);
            } else {
                is_over = stop.is_at(Refusal::Full);
                refuse(offer.reply, Refusal::Full);
            }
        }
    }

    /// Offers a message; one that must wait for room goes to the front of the line it came from. Answers with why it was
    /// refused, if it was.
    fn offer(&mut self, now: Instant, offer: Offer) -> Option<Refusal> {
        let Offer { message, until, reply } = offer;
        let (answer, commands) = self.link.offer(now, message);
        self.execute(now, commands);
        match answer {
            Ok(()) => {
                self.host.show(&self.link, now);
                let _ = reply.send(Ok(()));
                None
            }
            Err((message, Refusal::Wait)) if until > now => {
                self.waiting.push_front(Offer { message, until, reply });
                None
            }
            Err((_, refusal)) => {
                // Where it was to wait, its patience is over: there was no room in time.
                let refusal = if refusal == Refusal::Wait { Refusal::Full } else { refusal };
                refuse(reply, refusal);
                Some(refusal)
            }
        }
    }

    /// Lets callers in that waited for room, in order, and turns away those whose patience is over.
    pub(super) fn serve_waiting(&mut self, now: Instant) -> bool {
        let before = self.waiting.len();
        while let Some(first) = self.waiting.pop_front() {
            let behind = self.waiting.len();
            if !first.reply.is_closed() {
                self.offer(now, first);
            }
            if self.waiting.len() > behind {
                break;
            }
        }
        if self.waiting.iter().any(|offer| offer.until <= now || offer.reply.is_closed()) {
            let (over, patient) = self.waiting.drain(..).partition(|offer| offer.until <= now);
            self.waiting = patient;
            for offer in Vec::from(over) as Vec<Offer> {
                refuse(offer.reply, Refusal::Full);
            }
            self.waiting.retain(|offer| !offer.reply.is_closed());
        }
        self.waiting.len() != before
    }
}

fn refuse(reply: oneshot::Sender<Result<(), Refusal>>, refusal: Refusal) {
    // A caller that has gone needs no answer.
    let _ = reply.send(Err(refusal));
}
