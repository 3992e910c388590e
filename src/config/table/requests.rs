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
        /// Where the id of a request is: a JSON pointer (RFC 6901) to a string or number. [Requests](requests.md) shows how.
        ///
        /// With `id` and `reply`, `POST …/requests` answers with the reply. A request without an id gets one.
        /// > #: id = "/id"
        id: Optional(By(pointer)), Live;
        /// Where the same id is in the reply.
        /// > #: reply = "/id"
        reply: Optional(By(pointer)), Live;
        /// A reply that matches means that the request failed. The caller gets it with status 502.
        ///
        /// A [matcher](sessions.md), without variables.
        /// > #: error = { has = ["/error"] }
        error by ERROR, Live;
        /// Which id a request gets, so that programs can share a connection without using the same ids: a rising number ("seq"), a
        /// random id ("uuid"), or the caller's own ("keep"). The reply that the caller gets has the caller's own id in any case.
        ///
        /// If the caller's id is text, the number is text too.
        stamp: Word(&[("seq", Stamp::Seq), ("uuid", Stamp::Uuid), ("keep", Stamp::Keep)]), Live;
        /// At most this many requests wait for a reply on a connection at the same time, those of the session's timers included. Further requests wait for their
        /// turn, and so do messages behind them.
        /// > #: in_flight = 1
        in_flight: Optional(count(1..=1_000_000)), Live;
        /// Consumers do not see replies.
        hide: FLAG, Live;
        /// If the connection is lost, send the request again on the next one, within its timeout. Otherwise the caller gets 503 (`lost`).
        retry: FLAG, Live;
    }
}
