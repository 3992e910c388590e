//! What becomes of a link's messages, whichever connection carried them: told as receipts.

use std::time::Instant;

use super::{
    Command, Commands, Link,
    state::{Ending, Then},
};
use crate::{
    close::{Cause, CloseFrame, NORMAL},
    message::MessageId,
    outbox::{Delivery, Ended},
};

impl Link {
    pub(super) fn expire(&mut self, now: Instant, out: &mut Commands) {
        let mut ended = Vec::new();
        self.shared.outbox.expire(now, &mut ended);
        self.tell_receipts(ended, out);
    }

    pub(super) fn tell_receipts(&self, reached: Vec<Ended>, out: &mut Commands) {
        if !reached.is_empty() {
            let generation = (self.generation > 0).then_some(self.generation);
            out.push(Command::Settle { reached, generation });
        }
    }

    /// Ends what is bound to a connection that carries messages no more. The last of each change, so that nothing of it can be pulled.
    pub(super) fn unbind(&mut self, out: &mut Commands) {
        let mut ended = Vec::new();
        self.shared.outbox.unbind(self.carrying(), &mut ended);
        self.tell_receipts(ended, out);
    }

    /// The number of the connection that carries messages, or will once its session is ready.
    pub(super) fn carrying(&self) -> Option<u64> {
        let connection = self.state.connection().filter(|connection| connection.is_open())?;
        connection.open().map(|open| open.generation)
    }

    pub(super) fn on_not_stored(&mut self, place: u64, id: MessageId, out: &mut Commands) {
        let mut ended = Vec::new();
        self.shared.outbox.not_stored(place, id, &mut ended);
        self.tell_receipts(ended, out);
    }

    pub(super) fn on_acknowledged(&mut self, key: &str, out: &mut Commands) {
        let mut ended = Vec::new();
        self.shared.outbox.acknowledge(key, &mut ended);
        self.tell_receipts(ended, out);
    }

    /// Ends the requests whose replies have not come in time.
    pub(super) fn miss_replies(&mut self, now: Instant, out: &mut Commands) {
        if self.shared.outbox.next_reply_deadline().is_some_and(|at| at <= now) {
            let mut ended = Vec::new();
            self.shared.outbox.give_up_requests(now, &mut ended);
            self.tell_receipts(ended, out);
        }
    }

    /// Looks for acknowledgements that have not come in time. At least once, the messages must go out again, in order, so the
    /// connection ends; at most once, it is not known what became of them.
    pub(super) fn miss_acks(&mut self, now: Instant, out: &mut Commands) {
        if !self.state.is_ready() || self.shared.outbox.next_ack_deadline().is_none_or(|at| at > now) {
            return;
        }
        match self.shared.outbox.delivery() {
            Delivery::AtMostOnce => {
                let mut ended = Vec::new();
                self.shared.outbox.give_up_acks(now, &mut ended);
                self.tell_receipts(ended, out);
            }
            Delivery::AtLeastOnce => {
                let code = self.shared.policy.heartbeat.abort_code.unwrap_or(NORMAL);
                let owed = Some(Some(CloseFrame { code, reason: "no acknowledgement".into() }));
                let detail = "a message was not acknowledged in time".into();
                self.close(now, Ending { owed, cause: Cause::Mute, label: None, detail }, Then::Outcome, out);
            }
        }
    }

    /// Asks for the marks that messages need before they leave, while they can leave.
    pub(super) fn mark(&mut self, out: &mut Commands) {
        if self.state.is_ready() {
            let ids = self.shared.outbox.take_unmarked();
            if !ids.is_empty() {
                out.push(Command::Mark { ids: ids.into(), marked: true });
            }
        }
    }
}
