//! Faults that cannot be had otherwise, for tests of those who look for them.

use std::{
    future::{Future, poll_fn},
    pin::pin,
    sync::{Arc, atomic::Ordering},
    task::Poll,
};

use super::{handle::Pool, runtime::EndpointRuntime};

impl Pool {
    /// Holds what every look at the links needs, and never returns.
    #[cfg(debug_assertions)]
    pub fn wedge_the_supervisor(&self) {
        let _held = self.inner.parts.endpoints.running();
        loop {
            std::thread::park();
        }
    }

    /// The tasks of the first endpoint's links rest from now on, and never wake.
    pub fn wedge_an_endpoint(&self) {
        if let Some(runtime) = self.inner.parts.endpoints.running().values().next() {
            runtime.is_wedged.store(true, Ordering::SeqCst);
        }
    }
}

/// A link's task, until its endpoint is wedged.
pub(super) async fn until_wedged<T>(runtime: Arc<EndpointRuntime>, task: impl Future<Output = T>) -> T {
    let mut task = pin!(task);
    poll_fn(|cx| if runtime.is_wedged.load(Ordering::SeqCst) { Poll::Pending } else { task.as_mut().poll(cx) }).await
}
