//! What a link does between OPEN and `ready`, and by itself while it is ready: a login, a heartbeat of the application's, an answer to
//! each envelope, a resume. It is data, a [`Plan`], and a machine that runs it on **one connection**, a [`Session`].
//!
//! ```text
//!  101        the last step of `open`, or `ready`           it is the current connection       another one is
//! ─────► opening ──────────────────────────────► ready ─────────────────────────────────► keeping ──────────► ready
//!           │ ▲ restart, after a delay                   rules look at each message;   timers and `mute` run too
//!           └─┘
//! ```
//! Before the 101 the steps of `dial` run, by the same machine and without a connection: what they bring comes with the attempt ([`Dialled`]).
//!
//! The successor in a rotation runs the same machine as the current connection does, and takes over once it is ready. Rules look at every
//! message from OPEN on, on either side; timers and `mute` belong to the current connection alone.
//!
//! Nothing here reads a clock, a file or chance. What comes from outside arrives with [`Start`]: the values of the references, as they
//! were read for this attempt, and what the wall clock said. Three lifetimes of variables: those of a message (`${seq}`, `${uuid}`: one of
//! each in one message), those of a connection, and the names in `keep`, which the link keeps in [`Kept`] for the connections that
//! follow. Only the current connection writes there, so that a successor that comes to nothing leaves no trace.
//!
//! All is bounded, whatever a peer does: steps in one `open` ([`STEPS_MAX`]) and the pace of a `restart`, messages that wait to leave
//! ([`QUEUE_MAX`]), what variables hold ([`VARIABLES_MAX`]), the distance of timers ([`INTERVAL_MIN`]), and work for one message, which is
//! looked at once by each rule and parsed once at most.
//!
//! Where the endpoint has subscriptions, all keys of the link are asked for after the last step and before `ready`, and what changes of them
//! after that is said at once (`subscriptions`).
//!
//! What a reader would get wrong: an alternative of an `expect` that matches takes nothing from the rules. They look at the same message,
//! for the first event of a gateway may be its answer to a login as well.

mod address;
mod errand;
mod expression;
mod filter;
mod index;
mod json;
mod machine;
mod make;
mod matcher;
mod plan;
mod render;
mod subscriptions;
mod template;
#[cfg(test)]
pub(crate) mod tests;
mod trace;
mod variables;

pub use address::{Address, AddressFault, Unaddressed};
pub use errand::{Answer, Ask, Brought, Call, CallTls, Errand, Expected, Request};
pub use expression::Expression;
pub use filter::{Document, Filter, MAX_JSON, Sorter};
pub use index::Rules;
pub use json::{Pointer, Value};
pub use machine::{
    CANNOT_ASK, Dialled, Failure, INTERVAL_MIN, KEEPALIVE, Outside, QUEUE_BYTES_MAX, QUEUE_MAX, STEPS_MAX, SUBSCRIBE,
    Session, Verdict, Waits, of_peer,
};
pub use make::{Algorithm, Encoding, Hash, Made, Make, Recipe};
pub use matcher::{Matcher, Wanted};
pub use plan::{Act, Do, Every, First, Interval, Mute, Plan, Rule, Step, Then, When};
pub use render::Start;
pub(crate) use render::uuid;
pub(crate) use subscriptions::News;
pub use subscriptions::{KeyAnswer, Subscribing, Which};
pub use template::{Body, BytesPart, Json, Send, Source, Text, TextPart};
pub use trace::{Opening, Place, StepResult, Stepped};
pub use variables::{Kept, Names, VARIABLES_MAX, Var};
