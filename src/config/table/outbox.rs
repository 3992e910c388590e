//! Keys of the section `outbox`.
//!
//! What a reader would get wrong: `delivery`, `durability` and `confirm_interval` may stand at the endpoint itself too; the rows here are those
//! that show them.

use super::{
    kinds::{DURABILITY, FLAG, Number, Optional, Over, Whole, Word, any_time, count, size, some_time},
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
        /// What happens to a message that was written when the link is lost. "at_most_once" never sends it again, and its receipt says
        /// `unknown`. "at_least_once" keeps each message until the peer has proved that it read it, and otherwise sends it again, in order,
        /// on the next connection. [Delivery](delivery.md) says what each promises.
        delivery: DELIVERY, Live;
        /// "memory", or "disk": a message is accepted when it is on disk in storage.dir, and it survives kill -9 and a power cut.
        durability (link.outbox.durable): DURABILITY, Live;
        /// Shortest time between pings that ask for confirmations, for peers that count control frames. Pings that are not urgent
        /// are always at least 10 ms apart.
        confirm_interval (link.confirm_interval): any_time(), Live;
        /// At most this many messages wait on a link.
        max_messages: count(1..=100_000_000), Live;
        /// At most this many bytes wait on a link: the limit of bufferedAmount.
        max_bytes: size(1..=MAX_SIZE), Live;
        /// A larger message is refused.
        ///
        /// At most `max_bytes`, which also limits the default.
        max_message: size(1..=1 << 30), Live;
        /// A message that is not sent within this time expires. Without it, messages do not expire.
        /// > #: ttl = "1min"
        ttl: Optional(some_time()), Live;
        /// If the outbox is full: "reject", "drop_oldest", "drop_newest", or "wait" (the caller waits, up to its timeout).
        on_full: ON_FULL, Live;
        /// If the link is not ready: "hold" the message, "reject" or "drop" it.
        when_down: WHEN_DOWN, Live;
        /// Of the messages with the same key that wait, keep only the newest.
        conflate: FLAG, Live;
        /// An acknowledgement of the peer's application confirms a message, instead of a pong: JSON pointers (RFC 6901) to the string or number that a message
        /// and its acknowledgement share. A message without such a value is confirmed by a pong.
        ///
        /// A section with `outgoing` and `incoming`.
        /// > #: [endpoints.trades.outbox.ack]
        /// > #: outgoing = "/id"
        /// > #: incoming = "/ack"
        ack: Over(check::ack), Live;
        /// With `ack`, how long wskeeper waits for an acknowledgement.
        ///
        /// `"30s"` if there is `ack`. After it, with "at_least_once", the connection is closed and the message is sent again; with "at_most_once" the message ends `unknown`.
        /// > #: ack_timeout = "30s"
        ack_timeout as "outbox.ack" by check::ACK_TIMEOUT, Live;
        /// At most this many messages a second leave on a link, for servers that end a connection which sends faster. Pings, pongs, sessions and subscriptions
        /// count and go first. Data waits in the outbox for its turn.
        ///
        /// [Pacing](delivery.md#pacing) explains how.
        /// > #: rate = 5
        rate (link.outbox.pacing.rate): RATE, Live;
        /// At most this many at once after a silence; by default as many as in a second. Data may not use the last of them: it is for pings, pongs, sessions and subscriptions.
        /// > #: burst = 5
        burst (link.outbox.pacing.burst): BURST, Live;
        /// The same limit in application bytes a second. A message larger than `burst_bytes` leaves when the whole burst is free, and the next ones wait longer.
        /// > #: rate_bytes = "1MiB"
        rate_bytes (link.outbox.pacing.rate_bytes): BYTES, Live;
        /// At most this many bytes at once; by default as many as in a second.
        /// > #: burst_bytes = "1MiB"
        burst_bytes (link.outbox.pacing.burst_bytes): BYTES, Live;
        /// The same limits for all links of the endpoint together, which take turns: for limits of an account or an address.
        total: section OUTBOX_TOTAL;
    }
}

table! {
    OUTBOX_TOTAL of ConfiguredEndpoint, "outbox.total." at (pacing), rules check::total_pacing, {
        /// At most this many messages a second on all links of the endpoint.
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
