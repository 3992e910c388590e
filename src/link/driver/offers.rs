//! Messages on offer: taken, refused, or in line for room in the outbox.
//!
//! What waits keeps its place: a message that comes later does not pass one that waits, even where it would fit.

use std::{mem, time::Instant};

use tokio::sync::oneshot;

use super::{Driver, WAITING_MAX};
use crate::{
    core::outbox::Refusal,
    link::{Dial, Offer, Offered, Stop},
};

/// A message in line for room.
pub(super) struct Waiting {
    pub(super) offer: Offer,
    reply: oneshot::Sender<Result<(), Refusal>>,
}

impl Waiting {
    fn new(offer: Offer) -> (Self, Offered) {
        let (reply, answer) = oneshot::channel();
        (Self { offer, reply }, Offered::Waits(answer))
    }

    /// Who asked may have gone, and needs no answer then.
    fn answer(self, answer: Result<(), Refusal>) {
        let _ = self.reply.send(answer);
    }
}

impl<D: Dial> Driver<D> {
    pub(super) fn offer_all(
        &mut self,
        now: Instant,
        offers: Vec<Offer>,
        stop: Stop,
        reply: oneshot::Sender<Vec<Offered>>,
    ) {
        // Where the caller has gone, the receipts have gone with it.
        if reply.is_closed() {
            return;
        }
        let mut is_over = false;
        let mut answers = Vec::with_capacity(offers.len());
        for offer in offers {
            let answer = if is_over {
                Offered::Decided(Err(Refusal::Full))
            } else if self.waiting.is_empty() {
                match self.offer(now, offer) {
                    Ok(answer) => Offered::Decided(answer),
                    Err(offer) => self.wait(offer),
                }
            } else if self.waiting.len() < WAITING_MAX {
                self.wait(offer)
            } else {
                Offered::Decided(Err(Refusal::Full))
            };
            is_over |= matches!(answer, Offered::Decided(Err(refusal)) if stop.is_at(refusal));
            answers.push(answer);
        }
        self.show(now);
        let _ = reply.send(answers);
    }

    /// Offers a message. One that must wait for room comes back.
    fn offer(&mut self, now: Instant, offer: Offer) -> Result<Result<(), Refusal>, Offer> {
        let Offer { message, until } = offer;
        let (answer, commands) = self.link.offer(now, message);
        self.shown = false;
        self.execute(now, commands);
        match answer {
            Ok(()) => Ok(Ok(())),
            Err((message, Refusal::Wait)) if until > now => Err(Offer { message, until }),
            // It was to wait, and its patience is over: there was no room in time.
            Err((_, Refusal::Wait)) => Ok(Err(Refusal::Full)),
            Err((_, refusal)) => Ok(Err(refusal)),
        }
    }

    fn wait(&mut self, offer: Offer) -> Offered {
        let (waiting, answer) = Waiting::new(offer);
        self.waiting.push_back(waiting);
        answer
    }

    /// Lets messages in that waited for room, in order, and turns away those whose patience is over.
    pub(super) fn serve_waiting(&mut self, now: Instant) -> bool {
        let before = self.waiting.len();
        while let Some(Waiting { offer, reply }) = self.waiting.pop_front() {
            if reply.is_closed() {
                continue;
            }
            match self.offer(now, offer) {
                Ok(answer) => {
                    self.show(now);
                    let _ = reply.send(answer);
                }
                Err(offer) => {
                    self.waiting.push_front(Waiting { offer, reply });
                    break;
                }
            }
        }
        if self.waiting.iter().any(|waiting| waiting.offer.until <= now || waiting.reply.is_closed()) {
            let all = mem::take(&mut self.waiting);
            let (over, patient) = all.into_iter().partition::<Vec<_>, _>(|waiting| waiting.offer.until <= now);
            self.waiting = patient.into_iter().filter(|waiting| !waiting.reply.is_closed()).collect();
            for waiting in over {
                waiting.answer(Err(Refusal::Full));
            }
        }
        self.waiting.len() != before
    }
}
