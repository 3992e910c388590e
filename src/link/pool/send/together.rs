//! The way out of messages that came together.
//!
//! What a reader would get wrong: this refuses nothing and asks nobody. What is not accepted here goes the way of single messages.

use super::{
    Sender,
    message::{cost_of_all, receipt},
    way::Way,
};
use wskeeper_core::{body::Body, message::Message};

impl Sender {
    /// Accepts messages that came together, of which nothing is said but where they go, as far as nobody need be asked. Answers with those
    /// that are left: who sends them hears why.
    pub(in crate::pool) fn accept(&self, endpoint: &str, link: Option<u32>, body: Body) -> Option<Body> {
        if self.parts.endpoints.is_draining() {
            return Some(body);
        }
        let Ok(way) = Way::choose(&self.parts.endpoints, (endpoint, link, None, None), false) else {
            return Some(body);
        };
        let policy = &way.config.link.outbox;
        if !policy.takes_runs() || body.longest() > policy.max_message {
            return Some(body);
        }
        let Some(share) = self.parts.budget.reserve(cost_of_all(&body)) else { return Some(body) };
        let receipt = receipt(&way.slot, &body, self.parts.calendar.now());
        let id = receipt.id;
        self.parts.receipts.entering().enter_all(receipt, way.config.receipts_keep, &body);
        let message = Box::new(Message { id, body, extras: None, expires_at: None, share });
        let rest = way.slot.accept_run(message)?;
        self.parts.receipts.withdraw(rest.id, rest.count());
        Some(rest.body)
    }
}
