//! Drives one `core::link::Link` over tokio: orders in, frames out, events told.
//!
//! This room knows no pool: it is given a `Dial`er, a `Host` to tell, and orders. One task per link, one await.

mod arrival;
mod aside;
mod carrier;
mod deflate;
mod dial;
mod dialing;
mod driver;
mod errands;
mod farewell;
mod faulty;
mod frames;
#[doc(hidden)]
#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzzing;
pub mod json;
mod leaving;
mod memory;
mod once;
mod orders;
mod pledge;
mod pooled;
mod provider;
mod race;
mod reader;
mod resolve;
mod served;
mod socket;
mod tap;
#[cfg(test)]
mod tests;
mod tls;
mod transport;
mod tunnel;
mod upgrade;

use std::{
    future::Future,
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::oneshot,
};

use crate::endpoint::compression::Compression;
use wskeeper_core::{
    admission::{Dismissal, Request, Verdict},
    allowance::SharedAllowance,
    bucket::SharedBucket,
    budget::Hold,
    chaos::Fault,
    deflate::Agreement,
    event::{DialFailure, Established, Event, LinkId},
    link::{Input, Link, Policy, To, Verb},
    message::{Message, MessageId},
    outbox::{self, Keep, Refusal},
    receipt::EndReason,
    requests::Reply,
    run::Run as Messages,
    session::{Errand, Kept, Start, Waits},
    subscriptions::Reached,
};

pub use arrival::lacked_room;
pub(crate) use aside::Aside;
pub(crate) use carrier::SharedCarriers;
pub(crate) use dial::{Dialer, Source};
pub use dial::{RedirectTrouble, redirected_to, was_read};
pub use dialing::timed_out;
pub(crate) use driver::run;
pub(crate) use farewell::farewell;
pub use memory::DigestTrouble;
pub(crate) use memory::Memory;
pub use once::{Connected, Duplex, connect, reach, reach_in_clear, secure};
pub(crate) use orders::{Inbound, Inflow, Orders, orders};
pub(crate) use pledge::{Judge, Pledge, Ruling};
pub use provider::{Done, Nobody, Provider};
pub use served::{ServedStream, violation_in};
pub(crate) use tap::Tap;
pub use tap::{Direction, FrameKind, Looker, Sight, Tapped};
pub use tls::{TlsTrouble, lacks_certificate};
pub(crate) use transport::Transport;
pub use transport::limit_unacknowledged;
pub use upgrade::{UpgradeTrouble, retry_after};

/// A boxed future.
pub type BoxFuture<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// Which refusal of a message is one of all that stand behind it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    /// None: each is tried.
    Never,
    /// That for want of room.
    WhenFull,
    /// Any.
    WhenRefused,
}

impl Stop {
    fn is_at(self, refusal: Refusal) -> bool {
        match self {
            Self::Never => false,
            Self::WhenFull => refusal == Refusal::Full,
            Self::WhenRefused => true,
        }
    }
}

/// What a link's task is asked to do.
#[derive(Debug)]
pub(crate) enum Order {
    /// Offer messages to the outbox, in this order: a question, where they could not be accepted without one.
    Offers {
        /// The messages.
        offers: Vec<Offer>,
        /// Those behind the one that this names are refused as well.
        stop: Stop,
        /// What became of each, for who still waits for it.
        reply: oneshot::Sender<Vec<Offered>>,
    },
    /// Do this; the reply says that it has been taken.
    Verb(Verb, oneshot::Sender<()>),
    /// Put this fault under the connection; the reply says whether there was one.
    Inject(Fault, oneshot::Sender<bool>),
    /// Follow a new policy; `renew` when only a new connection can follow the rest of the change.
    Retune {
        /// The policy.
        policy: Arc<Policy>,
        /// What the links of the endpoint share.
        bucket: Option<Arc<dyn SharedBucket>>,
        /// The attempts that they may make together.
        allowance: Option<Arc<dyn SharedAllowance>>,
        /// Rotate, or close and dial again, as the policy says.
        renew: bool,
    },
    /// Take these behind what is queued: they are on disk already.
    #[expect(clippy::vec_box, reason = "the outbox holds them boxed, so they move as pointers")]
    Restore(Vec<Box<Message>>),
    /// Someone waits for the proof of this message, which was accepted when nobody did.
    Want(MessageId),
    /// Something has come in, from the disk or about subscriptions: look at [`Host::answers`].
    Disk,
    /// Another link has got in at the server that had asked this one to come later, or that it was sent to probe for others.
    ServerBack {
        /// It was sent to probe.
        was_sent: bool,
    },
    /// A file has changed that its credentials are read from.
    CredentialsChanged,
    /// The URL that it would rather be at has been back for long enough.
    Return,
    /// Say that the task runs.
    Answer(oneshot::Sender<()>),
    /// Close with 1001 and end within this time; what is still queued then is dropped with this end reason, unless it is on disk.
    Stop(Duration, EndReason),
}

/// A message on offer.
#[derive(Debug)]
pub(crate) struct Offer {
    /// The message.
    pub message: Box<Message>,
    /// Where it must wait for room: until when.
    pub until: Instant,
    /// Who is told of the ruling, whoever waits for the answer.
    pub pledge: Pledge,
}

/// What became of a message on offer.
#[derive(Debug)]
pub(crate) enum Offered {
    /// It was accepted, or why not.
    Decided(Result<(), Refusal>),
    /// It waits for room, and goes on waiting when nobody waits for the answer any more.
    Waits(oneshot::Receiver<Result<(), Refusal>>),
}

/// When a turn of a link's task began, by both clocks: they are read once for all that is done and told in it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Now {
    /// By the runtime's clock.
    pub(crate) at: Instant,
    /// By the wall clock.
    pub(crate) wall: SystemTime,
}

impl Now {
    fn read(host: &dyn Host) -> Self {
        Self { at: tokio::time::Instant::now().into_std(), wall: host.date() }
    }
}

/// What a link's task tells and shows. Calls must not block.
pub(crate) trait Host: Send + Sync + 'static {
    /// What the date is.
    fn date(&self) -> SystemTime;
    /// A fact, at the moment it became one. `link` is the state after it.
    fn tell(&self, link: &Link, event: Event, now: Now);
    /// Hands messages that arrived together on this connection to consumers.
    fn deliver(&self, generation: u64, messages: Messages, now: Now);
    /// Keeps the reply to a request, for who waits for it.
    fn reply(&self, reply: Reply);
    /// Notes that messages reached other states of their receipts, in this order, at least one.
    fn settle(&self, link: &Link, reached: Vec<outbox::Ended>, generation: Option<u64>, now: Now);
    /// The state changed. Called before anyone is told of a change, and before any reply to an order of this turn is sent. Where it is
    /// `asked` about messages, none is accepted without that.
    fn show(&self, link: &Link, now: Now, asked: bool);
    /// Begins to put a message on disk; the answer is announced by `Order::Disk`.
    fn keep(&self, keep: &Keep, now: Now);
    /// Begins to note on disk that these may have begun to leave (the answer is announced by `Order::Disk`), or that they
    /// have not after all (without an answer).
    fn mark(&self, ids: &[MessageId], marked: bool);
    /// Keys have come so far.
    fn subscribed(&self, reached: Vec<Reached>);
    /// What has come in since the last call: the disk's `Stored`, `NotStored` and `Marked`, and changes of what is to be subscribed to.
    fn answers(&self) -> Vec<Input>;
    /// Keeps a message that is dead.
    fn bury(&self, message: Box<Message>);
    /// Whether somebody listens to the link now.
    fn is_listened(&self) -> bool;
    /// An empty share of the process's memory, for what arrives.
    fn hold(&self) -> Hold;
    /// Where to tell of frames, while somebody looks at them. Asked for each frame.
    fn watched(&self) -> Option<(&LinkId, &Tap)>;
}

/// How far a dial has come, for the link's phase.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Progress {
    /// It waits for admission.
    Queued,
    /// It may go on.
    Admitted,
    /// It waits for values that it needs.
    Evaluating,
    /// It waits at this step of `dial`.
    Stepping(Waits),
    /// It looks the name up.
    Resolving,
    /// It connects by TCP.
    Connecting,
    /// It connects through a proxy.
    Tunnelling,
    /// It shakes hands by TLS.
    Securing,
    /// It asks for the upgrade.
    Upgrading,
    /// The server of its URL is known to be down, and it goes on with the URL of this index.
    PassedOver(usize),
}

/// Where an attempt tells how far it has come, in the task that polls it.
pub(crate) type Report = Box<dyn Fn(Progress) + Send + Sync>;

/// The byte stream under a WebSocket.
pub(crate) trait Wire: AsyncRead + AsyncWrite + Unpin + Send + 'static {
    /// Makes the coming drop reset the connection, so that the peer sees no orderly end.
    fn abort(&self);
    /// At most so many of the bytes that it took may not be with the kernel yet.
    fn unsent(&self) -> usize {
        0
    }
}

/// Makes connections.
pub(crate) trait Dial: Send + 'static {
    /// The byte stream under the WebSocket.
    type Stream: Wire;
    /// Begins an attempt. `kept` is what sessions have left.
    /// Dropping the future abandons it.
    fn dial(&self, to: To, kept: Option<Kept>, report: Report)
    -> BoxFuture<Result<Dialled<Self::Stream>, DialFailure>>;

    /// Does what a session wants to have done outside. Dropping the future abandons it.
    fn run(&self, errand: Errand) -> BoxFuture<Done>;
}

/// A stream after a successful upgrade.
#[derive(Debug)]
pub(crate) struct Dialled<S> {
    /// The stream.
    pub stream: S,
    /// Bytes of the first frames that came with the 101.
    pub early: Vec<u8>,
    /// What was agreed.
    pub established: Box<Established>,
    /// What is to follow, where a session does.
    pub session: Option<Box<Start>>,
    /// When the first of the values ends that it was made with.
    pub ends: Option<Instant>,
    /// How messages are compressed, where that was agreed on.
    pub compression: Option<(Compression, Agreement)>,
    /// The room that was had for the windows of it.
    pub windows: Option<Box<Hold>>,
}

/// Lets attempts begin. The pool's limits stand behind it.
pub(crate) trait Admit: Send + Sync + 'static {
    /// Waits until `link` may prepare an attempt; it keeps the permit until it is admitted. Dropping the future withdraws the request.
    fn prepare(self: Arc<Self>, link: LinkId) -> BoxFuture<PreparePermit>;
    /// Waits until one of the addresses may be dialled, and says which, the first free one in order; or until there is something else
    /// to do. Dropping the future withdraws the request.
    fn admit(self: Arc<Self>, request: Request) -> BoxFuture<Result<Box<Permit>, Dismissal>>;
    /// Waits until a further address of an attempt already admitted (RFC 8305) may be dialled; it counts for its address only.
    /// Dropping the future withdraws the request.
    fn admit_extra(self: Arc<Self>, link: LinkId, address: SocketAddr) -> BoxFuture<Box<Permit>>;
}

/// Permission to prepare an attempt, one of so many of an endpoint; dropping it lets the next one go on.
#[derive(Default)]
pub(crate) struct PreparePermit(Option<Box<dyn FnOnce() + Send>>);

impl PreparePermit {
    /// Permission that is given back by `leave`.
    pub(crate) fn new(leave: Box<dyn FnOnce() + Send>) -> Self {
        Self(Some(leave))
    }

    /// It was never had.
    pub(crate) fn forget(&mut self) {
        self.0 = None;
    }
}

impl std::fmt::Debug for PreparePermit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PreparePermit")
    }
}

impl Drop for PreparePermit {
    fn drop(&mut self) {
        if let Some(leave) = self.0.take() {
            leave();
        }
    }
}

/// Permission to have one connection CONNECTING to an address; dropping it gives the place back, with what the attempt says of
/// the address.
pub(crate) struct Permit {
    /// Which of the addresses.
    pub address: SocketAddr,
    /// What the attempt says of it.
    pub verdict: Option<Verdict>,
    /// Where nothing was said when this moment had come, its silence says this.
    pub silence: Option<(tokio::time::Instant, Verdict)>,
    /// Runs when the place is given back.
    pub release: Option<Box<dyn FnOnce(Option<Verdict>) + Send>>,
}

impl Permit {
    /// A place at an address, of which nothing is known yet.
    #[expect(clippy::unnecessary_box_returns, reason = "wherever it goes, a box is wanted")]
    pub(crate) fn new(address: SocketAddr, release: Option<Box<dyn FnOnce(Option<Verdict>) + Send>>) -> Box<Self> {
        Box::new(Self { address, verdict: None, silence: None, release })
    }
}

impl std::fmt::Debug for Permit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Permit").field("address", &self.address).finish_non_exhaustive()
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if let Some(release) = self.release.take() {
            let silence = self.silence.filter(|(at, _)| *at <= tokio::time::Instant::now());
            release(self.verdict.or(silence.map(|(_, verdict)| verdict)));
        }
    }
}
