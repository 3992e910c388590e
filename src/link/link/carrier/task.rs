//! The task of a carrier: it moves the connection, looks whether its peer is still there, and tells of what changes for those to come.

use std::{
    future::{Future as _, poll_fn},
    pin::{Pin, pin},
    sync::{Arc, Weak},
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use h2::{
    Ping, PingPong,
    client::{Connection, SendRequest},
};
use tokio::{
    sync::oneshot,
    time::{Instant, Sleep, sleep_until},
};

use super::{SharedCarriers, departures::Departures, is_willing, metered::Metered};
use crate::{clock::Moment as _, link::Transport};
use wskeeper_core::carriers::{Beat, Pulse};

/// Where nothing asks for signs of life, it is looked after so long whether something does by now.
const LOOK: Duration = Duration::from_secs(30);

/// Told when the peer's settings are known: how many streams it takes, where it opens WebSockets; or why it is over before that.
pub(super) type Greeted = oneshot::Sender<Result<Option<u32>, h2::Error>>;

/// What the task has.
pub(super) struct Watched {
    pub(super) connection: Connection<Metered<Transport>, Bytes>,
    pub(super) departures: Arc<Departures>,
    pub(super) shared: Weak<SharedCarriers>,
    pub(super) id: u64,
    /// Until the peer has said its settings.
    pub(super) greeted: Option<(SendRequest<Bytes>, Greeted)>,
}

/// Runs until the connection has ended: by the peer, for its silence, or after the last link has gone.
pub(super) async fn run(mut watched: Watched) {
    let now = Instant::now();
    let mut pings = watched.connection.ping_pong();
    // Settings come first, so its answer says that they have come.
    let mut is_asked = pings.as_mut().is_some_and(|pings| pings.send_ping(Ping::opaque()).is_ok());
    let mut watch = Watch { pulse: Pulse::new(now.into_std()), arrived: 0, most: None };
    let mut sleep = pin!(sleep_until(now));
    poll_fn(|cx| {
        if let Poll::Ready(ended) = Pin::new(&mut watched.connection).poll(cx) {
            if let (Some((_, greeted)), Err(error)) = (watched.greeted.take(), ended) {
                // Who asked may have gone.
                drop(greeted.send(Err(error)));
            }
            return Poll::Ready(());
        }
        let is_answered = is_asked && pings.as_mut().is_some_and(|pings| pings.poll_pong(cx).is_ready());
        is_asked &= !is_answered;
        watched.greet(cx, is_answered);
        watched.tell_room(&mut watch);
        watched.poll_beat(cx, &mut watch, (&mut pings, &mut is_asked), sleep.as_mut())
    })
    .await;
    if let Some(shared) = watched.shared.upgrade() {
        shared.close(watched.id);
    }
}

/// What is known of the connection.
struct Watch {
    pulse: Pulse,
    /// Bytes that had arrived when it was last looked.
    arrived: u64,
    /// Streams that the peer took then.
    most: Option<usize>,
}

impl Watched {
    fn greet(&mut self, cx: &mut Context<'_>, is_answered: bool) {
        let Some((requests, greeted)) = &mut self.greeted else { return };
        let is_willing = is_willing(requests);
        if !(is_willing || is_answered) {
            // Where nobody waits for it any more, nothing is to keep the connection.
            if greeted.poll_closed(cx).is_ready() {
                self.greeted = None;
                cx.waker().wake_by_ref();
            }
            return;
        }
        let most = is_willing.then(|| room(requests.current_max_send_streams()));
        if let Some((_, greeted)) = self.greeted.take() {
            drop(greeted.send(Ok(most)));
        }
    }

    fn tell_room(&self, watch: &mut Watch) {
        let most = self.connection.max_concurrent_send_streams();
        if watch.most.replace(most) != Some(most)
            && let Some(shared) = self.shared.upgrade()
        {
            shared.allow(self.id, room(most));
        }
    }

    /// Ready where the connection is given up.
    fn poll_beat(
        &self,
        cx: &mut Context<'_>,
        watch: &mut Watch,
        (pings, is_asked): (&mut Option<PingPong>, &mut bool),
        mut sleep: Pin<&mut Sleep>,
    ) -> Poll<()> {
        let arrived = self.departures.arrived();
        if std::mem::replace(&mut watch.arrived, arrived) != arrived {
            watch.pulse.hear(Instant::now().into_std());
        }
        // What arrives moves the deadline away. A timer that ends too early costs less than one that is moved as often.
        while sleep.as_mut().poll(cx).is_ready() {
            let now = Instant::now();
            let beat = self.shared.upgrade().and_then(|shared| shared.beat());
            let next = match beat.map(|(idle, timeout)| watch.pulse.beat(now.into_std(), idle, timeout)) {
                None => now.later(LOOK),
                Some(Beat::At(at)) => Instant::from_std(at),
                Some(Beat::Ping) => {
                    *is_asked |= pings.as_mut().is_some_and(|pings| pings.send_ping(Ping::opaque()).is_ok());
                    // It leaves by the next turn.
                    cx.waker().wake_by_ref();
                    now
                }
                Some(Beat::Lost(silent)) => {
                    let silent = humantime::format_duration(Duration::from_secs(silent.as_secs()));
                    self.departures.give_up(format!(
                        "the HTTP/2 connection was given up: nothing arrived on it for {silent}, not even the answer to a ping"
                    ));
                    return Poll::Ready(());
                }
            };
            sleep.as_mut().reset(next);
        }
        Poll::Pending
    }
}

fn room(most: usize) -> u32 {
    u32::try_from(most).unwrap_or(u32::MAX)
}
