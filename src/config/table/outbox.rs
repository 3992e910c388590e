//! Keys of the section `outbox`.
//!
//! What a reader would get wrong: `delivery`, `durability` and `confirm_interval` may stand at the endpoint itself too; the rows here are those
//! that show them.

use super::{
    endpoint::DURABILITY,
    kinds::{FLAG, Number, Optional, Over, Whole, Word, any_time, count, size, some_time},
    table,
};
use crate::config::{
    ConfiguredEndpoint,
    check::{MAX_SIZE, endpoint as check},
};
use wskeeper_core::outbox::{Delivery, OnFull, WhenDown};

pub(super) const DELIVERY: Word<Delivery> =
    Word(&[("at_most_once", Delivery::AtMostOnce), ("at_least_once", Delivery::AtLeastOnce)]);

const ON_FULL: Word<OnFull> = Word(&[
    ("reject", OnFull::Reject),
    ("drop_oldest", OnFull::DropOldest),
    ("drop_newest", OnFull::DropNewest),
    ("wait", OnFull::Wait),
]);

const WHEN_DOWN: Word<WhenDown> =
    Word(&[("hold", WhenDown::Hold), ("reject", WhenDown::Reject), ("drop", WhenDown::Drop)]);

const RATE: Optional<Number> = Optional(Number(0.001..=1_000_000.0));
const BURST: Optional<Whole<u32>> = Optional(count(1..=1_000_000));
const BYTES: Optional<Whole<u64>> = Optional(size(1..=MAX_SIZE));

table! {
    OUTBOX of ConfiguredEndpoint, "outbox." at (link.outbox), rules check::outbox, {
        /// What follows the loss of a link for what was written on it: "at_most_once" never sends it again, and its receipt says
        /// `unknown`; "at_least_once" keeps each message until the peer has proved that it read it, and else sends it again, in order,
        /// on the next connection. docs/delivery.md says what each promises.
        delivery: DELIVERY, Live;
        /// "memory", or "disk": a message is accepted when it is on disk in storage.dir, and survives kill -9 and a power cut.
        durability (link.outbox.durable): DURABILITY, Live;
        /// Pings that ask the peer for its proof are at least so far apart. For peers that count control frames; those that are not urgent
        /// are 10 ms apart in any case.
        confirm_interval (link.confirm_interval): any_time(), Live;
        /// Messages that a link holds, not yet sent.
        max_messages: count(1..=100_000_000), Live;
        /// Their bytes: the limit of bufferedAmount.
        max_bytes: size(1..=MAX_SIZE), Live;
        /// A larger message is refused.
        ///
        /// At most `max_bytes`, and by default no more than that.
        max_message: size(1..=1 << 30), Live;
        /// A message not sent within this expires. Without it none does.
        /// > #: ttl = "1min"
        ttl: Optional(some_time()), Live;
        /// No room: "reject", "drop_oldest", "drop_newest", or "wait" (the caller waits, up to its timeout).
        on_full: ON_FULL, Live;
        /// Not ready: "hold", "reject" or "drop".
        when_down: WHEN_DOWN, Live;
        /// Keeps only the newest message of a key while it queues.
        conflate: FLAG, Live;
        /// Lets the peer's application confirm messages instead of a pong: JSON pointers (RFC 6901) to the string or number that a message
        /// and its acknowledgement share. A message without one is confirmed by a pong.
        ///
        /// A section: `outgoing` and `incoming`.
        /// > #: [endpoints.trades.outbox.ack]
        /// > #: outgoing = "/id"
        /// > #: incoming = "/ack"
        ack: Over(check::ack), Live;
        /// With `ack`, an acknowledgement that has not come after this will not come.
        ///
        /// `"30s"` with `ack`. At least once the connection is closed and the message sent again, at most once it ends `unknown`.
        /// > #: ack_timeout = "30s"
        ack_timeout as "outbox.ack" by check::ACK_TIMEOUT, Live;
        /// Messages a second that leave on a link, at most. Pings (ours, and answers to the peer's), sessions and subscriptions count and go ahead; data waits in
        /// the outbox for its turn. For servers that end a connection which sends faster.
        ///
        /// [Pacing](delivery.md#pacing) says how.
        /// > #: rate = 5
        rate (link.outbox.pacing.rate): RATE, Live;
        /// So many at once, after a silence: as many as in a second unless given. Data leaves the last of them to what goes ahead.
        /// > #: burst = 5
        burst (link.outbox.pacing.burst): BURST, Live;
        /// The same in application bytes a second. A message larger than `burst_bytes` leaves from a full bucket, and what follows waits for longer.
        /// > #: rate_bytes = "1MiB"
        rate_bytes (link.outbox.pacing.rate_bytes): BYTES, Live;
        /// So many bytes at once; as many as in a second unless given.
        /// > #: burst_bytes = "1MiB"
        burst_bytes (link.outbox.pacing.burst_bytes): BYTES, Live;
        /// The same for all links of the endpoint together, which take turns: for limits of an account or an address.
        total: section OUTBOX_TOTAL;
    }
}

table! {
    OUTBOX_TOTAL of ConfiguredEndpoint, "outbox.total." at (pacing), rules check::total_pacing, {
        /// Messages a second of all links of the endpoint, at most.
        /// > #: rate = 50
        rate: RATE, Live;
        /// So many at once; as many as in a second unless given.
        /// > #: burst = 50
        burst: BURST, Live;
        /// Application bytes a second.
        /// > #: rate_bytes = "10MiB"
        rate_bytes: BYTES, Live;
        /// So many at once; as many as in a second unless given.
        /// > #: burst_bytes = "10MiB"
        burst_bytes: BYTES, Live;
    }
}
