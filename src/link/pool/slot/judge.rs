//! What the link rules on messages on offer, told to their receipts.
//!
//! What a reader would get wrong: of a message that goes to the disk nothing is said here; the spool says it.

use super::Slot;
use crate::{
    link::{Judge, Ruling},
    pool::receipts::Verdict,
};
use wskeeper_core::message::MessageId;

impl Judge for Slot {
    fn ruled(&self, id: MessageId, ruling: Ruling) {
        let receipts = &self.sinks.receipts;
        match ruling {
            Ruling::Accepted => receipts.decide(id, Verdict::Accepted),
            // The spool says.
            Ruling::Storing => {}
            Ruling::Refused(refusal) => receipts.decide(id, Verdict::Refused(refusal)),
            Ruling::Forgotten => receipts.forget(id),
        }
    }
}
