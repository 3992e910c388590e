//! Keys of the section `requests`.
//!
//! What a reader would get wrong: they are of messages that have a reply, and not of what is asked for by HTTP.

use super::{
    kinds::{By, FLAG, Optional, Word, count},
    session::ERROR,
    table,
};
use crate::config::{
    ConfiguredEndpoint,
    check::endpoint::{pointer, requests},
};
use wskeeper_core::requests::Stamp;

table! {
    REQUESTS of ConfiguredEndpoint, "requests." at (link.requests), rules requests, {
        /// Where the id of a request stands: a JSON pointer (RFC 6901) to a string or number. docs/requests.md teaches it.
        ///
        /// With `reply`, makes `POST …/requests` answer with the reply. A request that has no such member gets one.
        /// > #: id = "/id"
        id: Optional(By(pointer)), Live;
        /// Where the same id stands in its reply.
        /// > #: reply = "/id"
        reply: Optional(By(pointer)), Live;
        /// A reply that matches says that the request failed, and its caller gets it with status 502.
        ///
        /// A [matcher](sessions.md), without variables.
        /// > #: error = { has = ["/error"] }
        error by ERROR, Live;
        /// Which id a request gets, so that programs that know nothing of each other share one connection: a number that rises ("seq"), a
        /// random one ("uuid"), or its caller's ("keep"). The caller's own stands in the reply that it gets.
        ///
        /// A number is text where the caller's id is.
        stamp: Word(&[("seq", Stamp::Seq), ("uuid", Stamp::Uuid), ("keep", Stamp::Keep)]), Live;
        /// So many requests at most wait for a reply at once on a connection, with those that timers of the session wait for; the others wait
        /// for their turn, and what stands behind them.
        /// > #: in_flight = 1
        in_flight: Optional(count(1..=1_000_000)), Live;
        /// Consumers do not see replies.
        hide: FLAG, Live;
        /// A request whose connection is lost is asked again on the next one, within its timeout; else it is lost (503).
        retry: FLAG, Live;
    }
}
