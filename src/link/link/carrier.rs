//! HTTP/2 connections that carry WebSockets, one stream each (RFC 8441): those of an endpoint, shared by its links.
//!
//! The core decides which one takes the next link. What a reader would get wrong: nobody owns a carrier. It lives in a task of its own and
//! ends with the last seat on it, so a link that goes takes nobody else along.

use std::{collections::BTreeMap, fmt, io, net::SocketAddr, num::NonZeroU64, sync::Arc, time::Duration};

use bytes::Bytes;
use h2::client::SendRequest;
use parking_lot::Mutex;
use tokio::{
    sync::{Notify, oneshot},
    time::Instant,
};

use super::{Transport, tls, upgrade::RESET};
use wskeeper_core::{
    carriers::{Assignment, Carriers, Policy},
    event::Certificates,
    heartbeat,
};

pub(super) use ask::{CarriedAnswer, Unanswered, ask, fault};
pub(super) use key::CarrierKey;
pub(crate) use stream::CarriedStream;

use departures::Departures;

mod ask;
mod departures;
mod key;
mod metered;
mod stream;
mod task;

/// What may arrive of a link before it has been read, in bytes.
const STREAM_WINDOW: u32 = 256 << 10;
/// The same of all links on a carrier together.
const CARRIER_WINDOW: u32 = 1 << 20;
/// What a link may have given to a carrier that has not left, in bytes.
const HELD_BACK: usize = 32 << 10;
/// The head of an answer, as HTTP/2 counts it.
const MOST_HEAD: u32 = 16 << 10;

#[derive(Default)]
struct Known {
    decided: Carriers<Arc<CarrierKey>>,
    /// Those that are open.
    open: BTreeMap<u64, Riding>,
    /// After so much silence a carrier is asked for a sign of life, and is given up after so much more.
    beat: Option<(Duration, Duration)>,
}

/// The carriers of an endpoint.
#[derive(Default)]
pub(crate) struct SharedCarriers {
    known: Mutex<Known>,
    /// A carrier is there, or has come to nothing.
    news: Notify,
}

impl fmt::Debug for SharedCarriers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SharedCarriers")
    }
}

/// A link's place on a carrier, until it is dropped.
pub(crate) struct Seat {
    shared: Arc<SharedCarriers>,
    id: u64,
}

impl fmt::Debug for Seat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Seat({})", self.id)
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.shared.leave(self.id);
    }
}

impl Seat {
    /// The number of its carrier, among those of the endpoint.
    pub(super) fn carrier(&self) -> Option<NonZeroU64> {
        NonZeroU64::new(self.id)
    }

    /// Says of its carrier what is found out when the seat is gone. Who asks on it and gives up after this moment has waited long enough
    /// to say that it does not answer.
    pub(super) fn again(&self, silent: Instant) -> Retirement {
        Retirement { shared: Arc::clone(&self.shared), id: self.id, silent: Some(silent) }
    }
}

/// Says of a carrier that it takes no more links. Those that it has stay.
pub(super) struct Retirement {
    shared: Arc<SharedCarriers>,
    id: u64,
    /// From then on a drop says it, until something is heard.
    silent: Option<Instant>,
}

impl Retirement {
    /// It has answered.
    pub(super) fn heard(&mut self) {
        self.silent = None;
    }

    /// It takes none.
    pub(super) fn close(&self) {
        self.shared.close(self.id);
    }
}

impl Drop for Retirement {
    fn drop(&mut self) {
        if self.silent.is_some_and(|silent| Instant::now() >= silent) {
            self.close();
        }
    }
}

/// Where a link goes.
pub(super) enum Seated {
    /// On a carrier that is there.
    On(Seat, Riding),
    /// On one that is to be made.
    New(Seat),
    /// By HTTP/1.1.
    Plain,
}

/// What a link needs of the carrier that it goes on.
#[derive(Clone)]
pub(super) struct Riding {
    requests: SendRequest<Bytes>,
    departures: Arc<Departures>,
    pub(super) certificates: Certificates,
    pub(super) asked: tls::Asked,
    pub(super) address: SocketAddr,
}

/// What a carrier is made of.
pub(super) struct Material {
    pub(super) stream: Transport,
    pub(super) certificates: Certificates,
    pub(super) asked: tls::Asked,
    pub(super) address: SocketAddr,
}

/// Why there is no carrier.
pub(super) enum NoCarrier {
    /// The peer does not open WebSockets by HTTP/2: its settings do not say that it does.
    Unwilling,
    /// What came is no HTTP/2.
    Foreign,
    /// It takes no streams.
    Full,
    /// It ended.
    Broken(h2::Error),
}

impl SharedCarriers {
    /// How many there are.
    pub(crate) fn count(&self) -> usize {
        self.known.lock().decided.count()
    }

    /// One takes no more links: something that it carried was given up by us.
    pub(crate) fn retire(&self, id: NonZeroU64) {
        self.close(id.get());
    }

    /// How many links one has.
    pub(crate) fn links(&self, id: NonZeroU64) -> u32 {
        self.known.lock().decided.links(id.get())
    }

    /// Finds a place for a link. Where a carrier is being made that may have one, waits for it.
    pub(super) async fn seat(
        self: &Arc<Self>,
        key: &Arc<CarrierKey>,
        addresses: &[SocketAddr],
        (policy, heartbeat): (Policy, &heartbeat::Policy),
    ) -> Seated {
        loop {
            let news = self.news.notified();
            {
                let known = &mut *self.known.lock();
                known.beat = heartbeat.pings().then_some((heartbeat.idle, heartbeat.timeout));
                match known.decided.place(Instant::now().into_std(), key, addresses, policy) {
                    Assignment::Plain => return Seated::Plain,
                    Assignment::New(id) => return Seated::New(Seat { shared: Arc::clone(self), id }),
                    Assignment::On(id) => {
                        if let Some(riding) = known.open.get(&id).filter(|riding| is_willing(&riding.requests)) {
                            return Seated::On(Seat { shared: Arc::clone(self), id }, riding.clone());
                        }
                        // What it has promised it has taken back.
                        known.decided.close(id);
                        known.left(id);
                        continue;
                    }
                    Assignment::Wait(_) => {}
                }
            }
            news.await;
        }
    }

    /// HTTP/2 does not do for WebSockets at this address.
    pub(super) fn note_plain(&self, address: SocketAddr) {
        self.known.lock().decided.note_plain(Instant::now().into_std(), address);
    }

    /// Begins HTTP/2 on a connection, and waits for the peer's settings.
    pub(super) async fn begin(self: &Arc<Self>, seat: &Seat, made: Material) -> Result<Riding, NoCarrier> {
        let Material { stream, certificates, asked, address } = made;
        let departures = Arc::new(Departures::default());
        let metered = metered::Metered::new(stream, Arc::clone(&departures));
        let handshake = h2::client::Builder::new()
            .enable_push(false)
            .initial_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CARRIER_WINDOW)
            .max_header_list_size(MOST_HEAD)
            .max_send_buffer_size(HELD_BACK)
            .handshake(metered);
        let (requests, connection) = handshake.await.map_err(NoCarrier::Broken)?;
        let (greeted, greeting) = oneshot::channel();
        let watched = task::Watched {
            connection,
            departures: Arc::clone(&departures),
            shared: Arc::downgrade(self),
            id: seat.id,
            greeted: Some((requests.clone(), greeted)),
        };
        tokio::spawn(task::run(watched));
        let most = match greeting.await {
            Ok(Ok(Some(0))) => return Err(NoCarrier::Full),
            Ok(Ok(Some(most))) => most,
            Ok(Ok(None)) => return Err(NoCarrier::Unwilling),
            Ok(Err(error)) if error.is_library() => return Err(NoCarrier::Foreign),
            Ok(Err(error)) => return Err(NoCarrier::Broken(error)),
            // Its task is gone, as only a panic or the end of the runtime takes it away.
            Err(_) => return Err(NoCarrier::Broken(h2::Error::from(h2::Reason::INTERNAL_ERROR))),
        };
        let riding = Riding { requests, departures, certificates, asked, address };
        let mut known = self.known.lock();
        known.decided.open(Instant::now().into_std(), seat.id, address, most);
        known.open.insert(seat.id, riding.clone());
        drop(known);
        self.news.notify_waiters();
        Ok(riding)
    }

    fn leave(&self, id: u64) {
        self.known.lock().left(id);
        // Where it has come to nothing, another is to be made by one of those who wait.
        self.news.notify_waiters();
    }

    /// By what a carrier finds out that its peer is gone.
    fn beat(&self) -> Option<(Duration, Duration)> {
        self.known.lock().beat
    }

    /// The peer takes so many streams on it at once.
    fn allow(&self, id: u64, most: u32) {
        self.known.lock().decided.allow(id, most);
    }

    fn close(&self, id: u64) {
        self.known.lock().decided.close(id);
    }
}

impl Known {
    fn left(&mut self, id: u64) {
        if self.decided.leave(id) {
            self.open.remove(&id);
        }
    }
}

/// Whether the peer's settings say that it opens WebSockets.
fn is_willing(requests: &SendRequest<Bytes>) -> bool {
    requests.is_extended_connect_protocol_enabled()
}

/// What ended a stream or a carrier, in words that hold nothing of the peer's.
pub(super) fn told(error: &h2::Error) -> String {
    let reason = error.reason();
    // Its words are the RFC's own.
    let reason = reason.map_or_else(String::new, |reason| format!(" ({}, {:#x})", name(reason), u32::from(reason)));
    match error.get_io() {
        Some(io) => format!("the HTTP/2 connection broke: {}", tls::told(io)),
        None if error.is_go_away() && error.is_remote() => format!("the server ended the HTTP/2 connection{reason}"),
        None if error.is_go_away() => format!("the server broke the rules of HTTP/2{reason}"),
        None if error.is_remote() => format!("the server {RESET}{reason}"),
        None if error.is_reset() && error.is_library() => {
            format!("the server broke the rules of HTTP/2, or sent a head of more than 16 KiB{reason}")
        }
        None => format!("HTTP/2 failed{reason}"),
    }
}

/// As RFC 9113 §7 calls it.
fn name(reason: h2::Reason) -> String {
    format!("{reason:?}")
}

fn broken(error: &h2::Error) -> io::Error {
    io::Error::other(told(error))
}
