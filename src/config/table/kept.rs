//! Keys of what an endpoint keeps for those who come later: its inbox, and receipts.
//!
//! What a reader would get wrong: `inbox.max_message` is no limit of what is kept, but of what may arrive.

use super::{
    kinds::{DURABILITY, any_time, count, size},
    none, table,
};
use crate::config::{ConfiguredEndpoint, check::MAX_SIZE};

table! {
    INBOX of ConfiguredEndpoint, "inbox." at (inbox), rules none, {
        /// "memory", or "disk": messages are written to storage.dir as well, and consumers continue with their cursors after a restart of the daemon.
        /// All inboxes together get half of storage.max_bytes.
        ///
        /// [Inboxes](delivery.md#inboxes) explains what this promises.
        durability (inbox.durable): DURABILITY, Live;
        /// At most this many messages are kept, for consumers that read later.
        max_messages: count(1..=100_000_000), Live;
        /// At most this many bytes are kept.
        max_bytes: size(1..=MAX_SIZE), Live;
        /// A larger message that arrives fails the connection with 1009.
        max_message: size(1..=1 << 30), Rotate;
    }
}

table! {
    RECEIPTS of ConfiguredEndpoint, "receipts." at (), rules none, {
        /// How long a receipt can be looked up after its message has ended.
        keep (receipts_keep): any_time(), Live;
    }
}
