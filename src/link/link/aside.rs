//! Work that may block for as long as it likes (resolving a name, reading secrets and certificates), beside the runtime's workers.
//!
//! What a reader would get wrong: an attempt that is given up leaves such work behind, for no thread can be called back. So an
//! endpoint whose resolver or file system hangs holds its share of threads, however often it tries; and all endpoints together leave
//! some to the API and to reloads.

use std::sync::Arc;

use tokio::{sync::Semaphore, task::JoinError};

/// Threads that one endpoint may hold.
const OWN: usize = 16;
/// Threads that all endpoints may hold, of the 512 that the runtime has.
const ALL: usize = 384;

static EVERYBODY: Semaphore = Semaphore::const_new(ALL);

/// An endpoint's share of the threads. A cheap handle to clone.
#[derive(Debug, Clone)]
pub(crate) struct Aside(Arc<Semaphore>);

impl Default for Aside {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(OWN)))
    }
}

impl Aside {
    /// Does the work when there is a thread for it. Fails where it panics, or the runtime ends.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, JoinError> {
        // Neither is ever closed.
        let own = Arc::clone(&self.0).acquire_owned().await.ok();
        let shared = EVERYBODY.acquire().await.ok();
        let done = tokio::task::spawn_blocking(move || {
            let _held = (own, shared);
            work()
        });
        done.await
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::{
            atomic::{AtomicUsize, Ordering::SeqCst},
            mpsc,
        },
        time::Duration,
    };

    use parking_lot::Mutex;

    use super::*;

    #[tokio::test]
    async fn an_endpoint_whose_work_hangs_holds_its_share_of_threads_and_holds_up_nobody_else() {
        let (release, hang) = mpsc::channel::<()>();
        let (hang, begun) = (Arc::new(Mutex::new(hang)), Arc::new(AtomicUsize::new(0)));
        let (stuck, well) = (Aside::default(), Aside::default());
        for _ in 0..OWN * 3 {
            let (hang, begun) = (Arc::clone(&hang), Arc::clone(&begun));
            let work = stuck.run(move || {
                begun.fetch_add(1, SeqCst);
                // Ends when the sender is dropped.
                let _ = hang.lock().recv();
            });
            // Given up, as an attempt is by its timeout.
            let _ = tokio::time::timeout(Duration::from_millis(5), work).await;
        }
        assert_eq!(well.run(|| 7).await.unwrap(), 7);
        assert!(begun.load(SeqCst) <= OWN);
        drop(release);
        assert_eq!(stuck.run(|| 8).await.unwrap(), 8, "and goes on when its work does");
    }
}
