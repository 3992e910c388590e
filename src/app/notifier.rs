//! What the service manager hears of the daemon's life, and the watchdog that must be earned.
//!
//! ```text
//! STATUS=starting … READY=1 ─┬─ RELOADING=1 … READY=1 ─┬─ STOPPING=1
//!                            └─ STATUS=…, WATCHDOG=1 ──┘
//! ```
//! What a reader would get wrong: `WATCHDOG=1` is not a sign that time passes. It is sent after a look at every link and a
//! round trip through some of their tasks ([`wskeeper_link::pool::Watchdog`]), and not at all where that look finds a fault.

use std::{future::Future, sync::Arc, time::Duration};

use parking_lot::Mutex;

use crate::{
    api::Planned,
    process::notify::{Notify, State},
};
use wskeeper_core::phase::Phase;
use wskeeper_link::pool::Pool;

/// The status is brought up to date this often, where it has changed.
const REFRESH: Duration = Duration::from_secs(1);
/// How often the pool is looked after where no watchdog says.
const LOOK: Duration = Duration::from_secs(10);
/// Below this a busy machine would be taken for a wedged daemon.
const TOLERANCE_MIN: Duration = Duration::from_secs(1);
/// What the end may take beyond `limits.drain`: closed streams, the store.
const AFTER_DRAIN: Duration = Duration::from_secs(10);

/// Tells the service manager.
#[derive(Debug)]
pub(super) struct Notifier {
    notify: Notify,
    said: Mutex<Said>,
}

/// What the status is made of, beside the pool.
#[derive(Debug, Default)]
struct Said {
    /// Why the last reload was refused, until one is not.
    refused: Option<String>,
    wedged: Option<String>,
    last: String,
}

impl Notifier {
    pub(super) fn new(notify: Notify) -> Arc<Self> {
        Arc::new(Self { notify, said: Mutex::default() })
    }

    /// The daemon listens, and its links are being made.
    pub(super) async fn starting(&self, links: u32) {
        self.notify.tell(&[State::Status(&format!("starting {}", count(u64::from(links), "link")))]).await;
    }

    /// The daemon listens and answers.
    pub(super) async fn ready(&self, pool: &Pool) {
        let status = self.status(pool);
        self.notify.tell(&[State::Ready, State::Status(&status)]).await;
    }

    /// Carries a reload out between the words for its beginning and its end. The end is told of a refused one as well: the
    /// daemon is ready, with the configuration that it has.
    pub(super) async fn reload(&self, pool: &Pool, reload: impl Future<Output = Planned>) -> Planned {
        self.notify.tell(&[State::Reloading, State::Status("reloading the configuration")]).await;
        let outcome = reload.await;
        self.said().refused = outcome.as_ref().err().map(ToString::to_string);
        // STOPPING=1 is the last word on that.
        if !pool.is_draining() {
            self.ready(pool).await;
        }
        outcome
    }

    /// The daemon drains, for so long at most.
    pub(super) async fn stopping(&self, pool: &Pool, drain: Duration) {
        let status = self.status(pool);
        self.notify
            .tell(&[State::Stopping, State::Extend(drain.saturating_add(AFTER_DRAIN)), State::Status(&status)])
            .await;
    }

    /// Keeps the status true and the watchdog fed. Never ends.
    pub(super) async fn run(&self, pool: &Pool) {
        tokio::join!(self.refresh(pool), self.look_after(pool));
    }

    async fn refresh(&self, pool: &Pool) {
        if !self.notify.is_heard() {
            return;
        }
        let mut ticks = tokio::time::interval(REFRESH);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let last = self.said().last.clone();
            let status = self.status(pool);
            if status != last {
                self.notify.tell(&[State::Status(&status)]).await;
            }
        }
    }

    async fn look_after(&self, pool: &Pool) {
        let interval = self.notify.watchdog().map_or(LOOK, |within| within / 3);
        let mut watchdog = pool.watchdog(interval.max(TOLERANCE_MIN));
        let mut ticks = tokio::time::interval(interval);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let wedged = watchdog.examine().await.err();
            self.said().wedged = wedged.as_ref().map(ToString::to_string);
            match wedged {
                None if self.notify.watchdog().is_some() => self.notify.tell(&[State::Watchdog]).await,
                // Nobody waits for it; the look is for /livez and the status.
                None => {}
                Some(wedged) => {
                    tracing::error!(%wedged, "the daemon is wedged: the watchdog gets no sign of life");
                    let status = self.status(pool);
                    self.notify.tell(&[State::Status(&status)]).await;
                }
            }
        }
    }

    /// What an operator reads first, first.
    fn status(&self, pool: &Pool) -> String {
        let summary = summary(pool);
        let mut said = self.said();
        let refused = said.refused.as_ref().map(|faults| format!("reload refused: {faults}"));
        let wedged = said.wedged.as_ref().map(|wedged| format!("wedged: {wedged}"));
        let status: Vec<String> = wedged.into_iter().chain(refused).chain([summary]).collect();
        said.last = status.join("; ");
        said.last.clone()
    }

    fn said(&self) -> parking_lot::MutexGuard<'_, Said> {
        self.said.lock()
    }
}

/// "12 of 14 links ready; 1 waiting, 1 parked; 3 messages queued"
fn summary(pool: &Pool) -> String {
    let (mut phases, mut queued) = ([0_u64; Phase::ALL.len()], 0);
    for totals in pool.totals() {
        queued += totals.queued_messages;
        for (sum, links) in phases.iter_mut().zip(totals.phases) {
            *sum += u64::from(links);
        }
    }
    let mut parts = Vec::new();
    if pool.is_draining() {
        parts.push("draining".to_owned());
    }
    let all: u64 = phases.iter().sum();
    let counted = || Phase::ALL.into_iter().zip(phases);
    let ready: u64 = counted().filter(|(phase, _)| *phase == Phase::Ready).map(|(_, links)| links).sum();
    parts.push(match all {
        0 if pool.is_draining() => "all links closed".into(),
        0 => "no endpoint is configured".into(),
        all => format!("{ready} of {} ready", count(all, "link")),
    });
    let others: Vec<String> = counted()
        .filter(|(phase, links)| *phase != Phase::Ready && *links > 0)
        .map(|(phase, links)| format!("{links} {phase}"))
        .collect();
    if !others.is_empty() {
        parts.push(others.join(", "));
    }
    if queued > 0 {
        parts.push(format!("{} queued", count(queued, "message")));
    }
    parts.join("; ")
}

fn count(number: u64, of: &str) -> String {
    if number == 1 { format!("1 {of}") } else { format!("{number} {of}s") }
}

#[cfg(test)]
mod tests {
    use std::{os::unix::net::UnixDatagram, path::Path};

    use prometheus::Registry;

    use super::*;
    use crate::{
        config,
        observe::{Families, Telling},
    };
    use wskeeper_core::link::Verb;

    const TEXT: &str = "[defaults]\nlinks = 2\n[endpoints.a]\nurl = \"ws://127.0.0.1:9/\"";

    async fn pool(text: &str) -> Pool {
        let config = config::parse_toml(text, "test.toml").expect("the configuration is valid").config;
        let families = Families::register(&Registry::new(), false).expect("metrics register");
        let pool = Pool::start(config.settings(), Telling::new(families, None), 1).await;
        for index in 0..2 {
            // Where there is no such link, there is nothing to pause.
            let _ = pool.command("a", index, Verb::Pause).await;
        }
        pool
    }

    /// A service manager, and a notifier that tells it.
    fn manager(folder: &Path) -> (UnixDatagram, Arc<Notifier>) {
        let path = folder.join("notify");
        let manager = UnixDatagram::bind(&path).expect("bound");
        manager.set_nonblocking(true).expect("a socket");
        let variable = move |name: &str| match name {
            "NOTIFY_SOCKET" => Some(path.clone().into()),
            "WATCHDOG_USEC" => Some("30000000".into()),
            _ => None,
        };
        (manager, Notifier::new(Notify::new(variable)))
    }

    fn heard(manager: &UnixDatagram) -> Vec<String> {
        let mut buffer = [0; 1024];
        std::iter::from_fn(|| manager.recv(&mut buffer).ok().map(|length| buffer[..length].to_vec()))
            .map(|message| String::from_utf8(message).expect("a text"))
            .collect()
    }

    #[tokio::test(start_paused = true)]
    async fn the_watchdog_is_fed_while_all_is_well_and_not_once_a_task_is_wedged() {
        let folder = tempfile::tempdir().expect("a folder");
        let ((manager, notifier), pool) = (manager(folder.path()), pool(TEXT).await);
        let _ = tokio::time::timeout(Duration::from_secs(35), notifier.run(&pool)).await;
        let fed = heard(&manager).iter().filter(|message| *message == "WATCHDOG=1\n").count();
        assert_eq!(fed, 4, "at a third of WATCHDOG_USEC, and at once");
        pool.wedge_an_endpoint();
        let _ = tokio::time::timeout(Duration::from_secs(35), notifier.run(&pool)).await;
        let heard = heard(&manager);
        assert!(!heard.iter().any(|message| message.contains("WATCHDOG=1")), "{heard:?}");
        assert!(heard.iter().any(|message| message.starts_with("STATUS=wedged: the task of a/0 does not answer; ")));
    }

    #[tokio::test(start_paused = true)]
    async fn a_status_that_does_not_change_is_not_said_again() {
        let folder = tempfile::tempdir().expect("a folder");
        let ((manager, notifier), pool) = (manager(folder.path()), pool(TEXT).await);
        let _ = tokio::time::timeout(Duration::from_mins(2), notifier.refresh(&pool)).await;
        assert_eq!(heard(&manager), ["STATUS=0 of 2 links ready; 2 paused\n"]);
    }

    #[tokio::test]
    async fn a_daemon_without_endpoints_says_so() {
        assert_eq!(summary(&pool("").await), "no endpoint is configured");
    }
}
