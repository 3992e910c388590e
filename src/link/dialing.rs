//! An attempt under way: the future that dials, and how far it has come.
//!
//! The attempt keeps its own timings, but one that takes too long is dropped, and they with it; so each step is timed here as
//! well, from outside.

use std::time::Instant;

use tokio::sync::mpsc;

use super::{BoxFuture, Dial, Progress, Wire, socket::Socket};
use crate::core::{
    close::Cause,
    event::{DialFailure, Established, Timings},
};

type Attempt<S> = BoxFuture<Result<(Box<Socket<S>>, Established), DialFailure>>;

/// An attempt under way.
pub(super) struct Dialing<S> {
    pub(super) attempt: Attempt<S>,
    pub(super) progress: mpsc::Receiver<Progress>,
    stage: Progress,
    /// When the stage began.
    since: Instant,
    timings: Timings,
}

impl<S: Wire> Dialing<S> {
    /// Begins one. In a box: there is none on most links, most of the time.
    pub(super) fn begin<D: Dial<Stream = S>>(dialer: &D, url: usize, max_inbound: usize, now: Instant) -> Box<Self> {
        let (tell, progress) = mpsc::channel(8);
        let dial = dialer.dial(url, tell);
        let attempt = Box::pin(async move {
            let dialled = dial.await?;
            let socket = Socket::new(dialled.stream, dialled.early, max_inbound).await;
            Ok((Box::new(socket), dialled.established))
        });
        Box::new(Self { attempt, progress, stage: Progress::Resolving, since: now, timings: Timings::default() })
    }

    /// One stage is over, and another begins.
    pub(super) fn enter(&mut self, stage: Progress, now: Instant) {
        let took = now.saturating_duration_since(self.since);
        let Timings { dns, admission, tcp, tls, upgrade, total } = &mut self.timings;
        let step = match self.stage {
            Progress::Resolving => dns,
            Progress::Queued => admission,
            Progress::Admitted | Progress::Connecting => tcp,
            Progress::Securing => tls,
            Progress::Upgrading => upgrade,
        };
        *step = Some(step.unwrap_or_default() + took);
        if self.stage != Progress::Queued {
            *total += took;
        }
        (self.stage, self.since) = (stage, now);
    }

    /// It has taken too long: the stage that it was in says what failed.
    pub(super) fn timed_out(mut self, now: Instant) -> DialFailure {
        self.enter(self.stage, now);
        let (cause, stage) = match self.stage {
            Progress::Resolving => (Cause::Dns, "resolving the name"),
            Progress::Queued | Progress::Admitted | Progress::Connecting => (Cause::Connect, "connecting"),
            Progress::Securing => (Cause::Tls, "the TLS handshake"),
            Progress::Upgrading => (Cause::Upgrade, "waiting for the answer to the upgrade"),
        };
        let detail = format!("timed out while {stage}").into();
        DialFailure { cause, status: None, retry_after: None, detail, timings: self.timings }
    }
}
