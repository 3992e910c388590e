//! The pool: every link of the configuration, and the handle through which everything else uses them.
//!
//! Who owns what, from below: a `slot` is a link's place, a `runtime` an endpoint at work, `endpoints` the list of them; `receipts`, the
//! `spool` (what is on disk) and the `admission` (who may dial) each keep one kind of state. Above them two act: `send` takes messages
//! in, and the `supervisor` starts, changes and ends links. The [`Pool`] is the handle to all; no file below it names it.

pub use self::{
    asked::{CommandError, Draining, Left, Refused, Send},
    dead::DeadLetter,
    handle::Pool,
    operator::OrphanError,
    request::Answered,
    settings::{Follow, Settings},
    single::{Departing, Removed},
    spool::{Orphans, StoreView},
    subscriptions::{HolderView, Subscribe, SubscribeError, SubscriptionView},
    turns::{Turn, Turns},
    view::{
        AttemptEnd, AttemptView, AwayView, BudgetView, CarrierView, EndpointView, Explained, HistoryEntry, LinkView,
        Page, RejectionView, RequestsView, RotationView, StandingView, Totals, Traffic,
    },
    watchdog::Watchdog,
    wedged::Wedged,
};
pub use crate::link::Stop;

mod admission;
mod allowance;
mod asked;
mod bucket;
mod cursors;
mod dead;
mod durable_inboxes;
mod durable_variables;
mod endpoints;
mod fitting;
mod gauges;
mod handle;
mod homes;
mod inbox_writer;
mod lasting;
mod listeners;
pub mod local;
mod noted;
mod opening;
mod operator;
mod owned;
mod parts;
mod probes;
mod receipts;
mod recorder;
mod rejections;
mod request;
mod rest;
mod runtime;
mod send;
mod settings;
mod shown;
mod single;
mod slot;
mod spool;
mod subscriptions;
mod supervisor;
#[cfg(test)]
mod tests;
mod traffic;
mod turns;
mod view;
mod waking;
mod watchdog;
#[cfg(any(test, debug_assertions))]
mod wedge;
mod wedged;
