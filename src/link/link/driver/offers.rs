//! Messages that were accepted, and messages on offer: taken, refused, or in line for room in the outbox.
//!
//! What waits keeps its place: a message that comes later does not pass one that waits, even where it would fit. What a reader
//! would get wrong: nothing here looks whether its caller is still there. What was offered comes to its ruling.

use std::mem;

use tokio::sync::oneshot;

use super::{Driver, WAITING_MAX};
use crate::link::{Dial, Inbound, Now, Offer, Offered, Pledge, Ruling, Stop};
use wskeeper_core::{link::Command, message::Message, outbox::Refusal};

/// A message in line for room.
pub(super) struct Waiting {
    pub(super) offer: Offer,
    reply: oneshot::Sender<Result<(), Refusal>>,
    /// Those of one order, and which refusal of one refuses those behind it.
    order: (u32, Stop),
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
    /// Takes a message that is accepted.
    pub(super) fn take(&mut self, now: Now, message: Box<Message>) {
        // Only by its time to live could it be the first to be due.
        let is_timed = self.is_timed && message.expires_at.is_none() && self.link.outbox_policy().ttl.is_none();
        let commands = self.link.take(now.at, message);
        self.changes();
        self.is_timed = is_timed;
        self.execute(now, commands);
    }

    /// The link has stopped: what was accepted for it and not taken ends with what it held.
    pub(super) fn end_accepted(&mut self, now: Now, orders: &mut Inbound) {
        for message in orders.close() {
            self.take(now, message);
        }
        self.show(now);
    }

    pub(super) fn offer_all(&mut self, now: Now, offers: Vec<Offer>, stop: Stop, reply: oneshot::Sender<Vec<Offered>>) {
        self.offered = self.offered.wrapping_add(1);
        let mut is_over = false;
        let mut answers = Vec::with_capacity(offers.len());
        let mut rulings: Vec<(Pledge, Ruling)> = Vec::new();
        for offer in offers {
            let in_line = self.waiting.as_ref().map_or(0, |line| line.len());
            let answer = if is_over || in_line >= WAITING_MAX {
                rulings.push((offer.pledge, Ruling::Refused(Refusal::Full)));
                Offered::Decided(Err(Refusal::Full))
            } else if in_line == 0 {
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
    fn offer(&mut self, now: Now, offer: Offer) -> Result<Decided, Offer> {
        let Offer { message, until, pledge } = offer;
        self.is_asked = true;
        self.changes();
        let (answer, commands) = self.link.offer(now.at, message);
        let is_stored = pledge.is_awaited() && commands.iter().any(|command| matches!(command, Command::Keep(_)));
        self.execute(now, commands);
        self.is_asked = false;
        self.changes();
        let refusal = match answer {
            Ok(()) => {
                let ruling = if is_stored { Ruling::Storing } else { Ruling::Accepted };
                return Ok(Decided { answer: Ok(()), pledge, ruling });
            }
            Err((message, Refusal::Wait)) if until > now.at => return Err(Offer { message, until, pledge }),
            // It was to wait, and its patience is over: there was no room in time.
            Err((_, Refusal::Wait)) => Refusal::Full,
            Err((_, refusal)) => refusal,
        };
        Ok(Decided { answer: Err(refusal), pledge, ruling: Ruling::Refused(refusal) })
    }

    fn wait(&mut self, offer: Offer, stop: Stop) -> Offered {
        let (reply, answer) = oneshot::channel();
        self.waiting.get_or_insert_default().push_back(Waiting { offer, reply, order: (self.offered, stop) });
        Offered::Waits(answer)
    }

    /// Lets messages in that waited for room, in order, and turns away those whose patience is over.
    pub(super) fn serve_waiting(&mut self, now: Now) -> bool {
        let Some(before) = self.waiting.as_ref().map(|line| line.len()) else { return false };
        while let Some(Waiting { offer, reply, order }) = self.waiting.as_mut().and_then(|line| line.pop_front()) {
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
                    self.waiting.get_or_insert_default().push_front(Waiting { offer, reply, order });
                    break;
                }
            }
        }
        if self.waiting.iter().flat_map(|line| line.iter()).any(|waiting| waiting.offer.until <= now.at) {
            self.turn_away(|waiting| waiting.offer.until <= now.at);
        }
        let left = self.waiting.as_ref().map_or(0, |line| line.len());
        if left == 0 {
            // Messages are accepted without a question again.
            self.waiting = None;
            self.changes();
        }
        left != before
    }

    fn turn_away(&mut self, whom: impl Fn(&Waiting) -> bool) {
        let Some(line) = &mut self.waiting else { return };
        let (over, patient) = mem::take(&mut **line).into_iter().partition::<Vec<_>, _>(whom);
        **line = patient.into();
        for waiting in over {
            waiting.refuse(Refusal::Full);
        }
    }
}
