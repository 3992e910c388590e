//! A daemon that wedges itself at SIGUSR2, so that tests can see what a watchdog makes of it. In debug builds only: no
//! package and no image has it, and `tests/image/run` looks.
//!
//! `WSKEEPER_WEDGE` says how: `supervisor` (unless told: what everybody needs is held for ever), or `link` (the tasks
//! of the first endpoint's links rest and never wake).

use tokio::signal::unix::{SignalKind, signal};

use wskeeper_link::pool::Pool;

/// Waits for the signal from now on.
pub(super) fn listen(pool: Pool) {
    let Ok(mut wanted) = signal(SignalKind::user_defined2()) else { return };
    tokio::spawn(async move {
        wanted.recv().await;
        tracing::error!("wedging on purpose");
        if std::env::var("WSKEEPER_WEDGE").is_ok_and(|how| how == "link") {
            pool.wedge_an_endpoint();
        } else {
            tokio::task::spawn_blocking(move || pool.wedge_the_supervisor());
        }
    });
}
