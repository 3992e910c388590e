//! SIGTERM and SIGINT drain, a second one ends the process at once, SIGHUP reloads.
//!
//! What a reader would get wrong: the second signal does not go through the daemon, which may be the very thing that hangs.
//! It exits from the task that listens for signals, with 128 plus the signal's number, as a shell shows a killed process.

use std::io;

use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::{mpsc, watch},
};

/// What the daemon is asked to do from outside.
#[derive(Debug)]
pub struct Signals {
    /// True once the daemon is asked to stop.
    pub stop: watch::Receiver<bool>,
    /// One item per request to reload; requests that come while one waits are one.
    pub reload: mpsc::Receiver<()>,
}

/// The other end of [`Signals`], for a daemon that lives inside another program.
#[derive(Debug, Clone)]
pub struct Lever {
    stop: watch::Sender<bool>,
    reload: mpsc::Sender<()>,
}

impl Signals {
    /// Listens for the process's signals from now on. Needs a tokio runtime; fails where a handler cannot be installed.
    pub fn install() -> io::Result<Self> {
        let interrupt = signal(SignalKind::interrupt())?;
        let terminate = signal(SignalKind::terminate())?;
        let hangup = signal(SignalKind::hangup())?;
        // A file that may not grow (RLIMIT_FSIZE) is a write that fails, and not the end.
        drop(signal(SignalKind::from_raw(rustix::process::Signal::XFSZ.as_raw()))?);
        let (lever, signals) = Self::by_hand();
        tokio::spawn(listen(interrupt, terminate, hangup, lever));
        Ok(signals)
    }

    /// Signals that a program gives itself.
    pub fn by_hand() -> (Lever, Self) {
        let (stop, stopped) = watch::channel(false);
        let (reload, reloads) = mpsc::channel(1);
        (Lever { stop, reload }, Self { stop: stopped, reload: reloads })
    }

    /// Waits until the daemon is asked to stop. Where nobody is left to ask, that is forever.
    pub async fn stopped(&self) {
        if self.stop.clone().wait_for(|stop| *stop).await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

impl Lever {
    /// Asks the daemon to stop.
    pub fn stop(&self) {
        self.stop.send_replace(true);
    }

    /// Asks the daemon to reload.
    pub fn reload(&self) {
        // Full: a reload is about to begin anyway, and will read what is there then.
        let _ = self.reload.try_send(());
    }

    fn is_stopping(&self) -> bool {
        *self.stop.borrow()
    }
}

async fn listen(mut interrupt: Signal, mut terminate: Signal, mut hangup: Signal, lever: Lever) {
    loop {
        let number = tokio::select! {
            Some(()) = interrupt.recv() => SignalKind::interrupt().as_raw_value(),
            Some(()) = terminate.recv() => SignalKind::terminate().as_raw_value(),
            Some(()) = hangup.recv() => {
                lever.reload();
                continue;
            }
            else => return,
        };
        if lever.is_stopping() {
            super::logging::flush();
            std::process::exit(128 + number);
        }
        lever.stop();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_stop_is_seen_by_who_asks_before_and_after_it() {
        let (lever, signals) = Signals::by_hand();
        let before = signals.stopped();
        lever.stop();
        before.await;
        signals.stopped().await;
    }

    #[tokio::test]
    async fn reloads_that_nobody_has_begun_are_one() {
        let (lever, mut signals) = Signals::by_hand();
        lever.reload();
        lever.reload();
        assert_eq!(signals.reload.recv().await, Some(()));
        assert!(signals.reload.try_recv().is_err());
    }
}
