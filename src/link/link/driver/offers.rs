//! Messages on offer: taken, refused, or in line for room in the outbox.
//!
//! What waits keeps its place: a message that comes later does not pass one that waits, even where it would fit. What a reader
//! would get wrong: nothing here looks whether its caller is still there. What was offered comes to its ruling.

use std::{mem, time::Instant};

use tokio::sync::oneshot;

use super::{Driver, WAITING_MAX};
use crate::link::{Dial, Offer, Offered, Pledge, Ruling, Stop};
use wskeeper_core::{link::Command, outbox::Refusal};

/// A message in line for room.
pub(super) struct Waiting {
    pub(super) offer: Offer,
    reply: oneshot::Sender<Result<(), Refusal>>,
    /// Those of one order, and which refusal of one refuses those behind it.
    order: (u64, Stop),
}

/// What became of a message that does not wait. Nobody has been told yet.
struct Decided {
    answer: Result<(), Refusal>,
    pledge: Pledge,
    ruling: Ruling,
}

impl Waiting {
    /// Nothing has changed by it. Who asked may have gone, and needs no answer then.
    fn refuse(self, refusal: Refusal) {
        self.offer.pledge.rule(Ruling::Refused(refusal));
        let _ = self.reply.send(Err(refusal));
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
        self.offered += 1;
        let mut is_over = false;
        let mut answers = Vec::with_capacity(offers.len());
        let mut rulings: Vec<(Pledge, Ruling)> = Vec::new();
        for offer in offers {
            let answer = if is_over || self.waiting.len() >= WAITING_MAX {
                rulings.push((offer.pledge, Ruling::Refused(Refusal::Full)));
                Offered::Decided(Err(Refusal::Full))
            } else if self.waiting.is_empty() {
                match self.offer(now, offer) {
                    Ok(Decided { answer, pledge, ruling }) => {
                        if pledge.is_told(ruling) {
                            rulings.push((pledge, ruling));
                        } else {
                            pledge.rule(ruling);
                        }
                        Offered::Decided(answer)
                    }
                    Err(offer) => self.wait(offer, stop),
                }
            } else {
                self.wait(offer, stop)
            };
            is_over |= matches!(answer, Offered::Decided(Err(refusal)) if stop.is_at(refusal));
            answers.push(answer);
        }
        // What has changed is counted before anybody is told.
        self.show(now);
        for (pledge, ruling) in rulings {
            pledge.rule(ruling);
        }
        // The caller may have gone.
        let _ = reply.send(answers);
    }

    /// Offers a message. One that must wait for room comes back.
    fn offer(&mut self, now: Instant, offer: Offer) -> Result<Decided, Offer> {
        let Offer { message, until, pledge } = offer;
        let (answer, commands) = self.link.offer(now, message);
        let is_stored = pledge.is_awaited() && commands.iter().any(|command| matches!(command, Command::Keep(_)));
        self.shown = false;
        self.execute(now, commands);
        let refusal = match answer {
            Ok(()) => {
                let ruling = if is_stored { Ruling::Storing } else { Ruling::Accepted };
                return Ok(Decided { answer: Ok(()), pledge, ruling });
            }
            Err((message, Refusal::Wait)) if until > now => return Err(Offer { message, until, pledge }),
            // It was to wait, and its patience is over: there was no room in time.
            Err((_, Refusal::Wait)) => Refusal::Full,
            Err((_, refusal)) => refusal,
        };
        Ok(Decided { answer: Err(refusal), pledge, ruling: Ruling::Refused(refusal) })
    }

    fn wait(&mut self, offer: Offer, stop: Stop) -> Offered {
        let (reply, answer) = oneshot::channel();
        self.waiting.push_back(Waiting { offer, reply, order: (self.offered, stop) });
        Offered::Waits(answer)
    }

    /// Lets messages in that waited for room, in order, and turns away those whose patience is over.
    pub(super) fn serve_waiting(&mut self, now: Instant) -> bool {
        let before = self.waiting.len();
        while let Some(Waiting { offer, reply, order }) = self.waiting.pop_front() {
            match self.offer(now, offer) {
                Ok(Decided { answer, pledge, ruling }) => {
                    self.show(now);
                    pledge.rule(ruling);
                    let _ = reply.send(answer);
                    if answer.is_err_and(|refusal| order.1.is_at(refusal)) {
                        self.turn_away(|waiting| waiting.order.0 == order.0);
                    }
                }
                Err(offer) => {
                    self.waiting.push_front(Waiting { offer, reply, order });
                    break;
                }
            }
        }
        if self.waiting.iter().any(|waiting| waiting.offer.until <= now) {
            self.turn_away(|waiting| waiting.offer.until <= now);
        }
        self.waiting.len() != before
    }

    fn turn_away(&mut self, whom: impl Fn(&Waiting) -> bool) {
        let (over, patient) = mem::take(&mut self.waiting).into_iter().partition::<Vec<_>, _>(whom);
        self.waiting = patient.into();
        for waiting in over {
            waiting.refuse(Refusal::Full);
        }
    }
}
