//! What of each stream's bytes a carrier has handed to the kernel, told by who sees the frames leave.
//!
//! What a reader would get wrong: HTTP/2 takes bytes long before they leave, and says nothing of when they do. What it has taken has begun
//! to leave, for a part of it may be gone; it has left when it was seen to.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll, Waker},
};

use parking_lot::Mutex;

/// Bytes of one stream that have left.
#[derive(Debug, Default)]
pub(super) struct Departed(Mutex<(u64, Option<Waker>)>);

impl Departed {
    /// How many.
    pub(super) fn bytes(&self) -> u64 {
        self.0.lock().0
    }

    /// Whether so many have.
    pub(super) fn poll(&self, cx: &mut Context<'_>, bytes: u64) -> Poll<()> {
        let (left, waker) = &mut *self.0.lock();
        if *left >= bytes {
            return Poll::Ready(());
        }
        match waker {
            Some(known) => known.clone_from(cx.waker()),
            None => *waker = Some(cx.waker().clone()),
        }
        Poll::Pending
    }

    fn add(&self, bytes: u64) {
        let mut state = self.0.lock();
        state.0 += bytes;
        let waker = state.1.take();
        drop(state);
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

/// Those of the streams of a carrier, by their numbers.
#[derive(Debug, Default)]
pub(super) struct Departures {
    streams: Mutex<BTreeMap<u32, Arc<Departed>>>,
    /// Bytes that have arrived on the carrier, whoever they are for.
    arrived: AtomicU64,
    /// Why the carrier was given up, where it was us who did.
    given_up: Mutex<Option<Box<str>>>,
}

impl Departures {
    /// A stream begins.
    pub(super) fn enter(&self, stream: u32) -> Arc<Departed> {
        Arc::clone(self.streams.lock().entry(stream).or_default())
    }

    /// It is nobody's any more.
    pub(super) fn forget(&self, stream: u32) {
        self.streams.lock().remove(&stream);
    }

    /// So many bytes of a stream have left.
    pub(super) fn left(&self, stream: u32, bytes: u64) {
        let departed = self.streams.lock().get(&stream).cloned();
        if let Some(departed) = departed {
            departed.add(bytes);
        }
    }

    /// Bytes have arrived.
    pub(super) fn note_arrived(&self, bytes: usize) {
        self.arrived.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// How many have.
    pub(super) fn arrived(&self) -> u64 {
        self.arrived.load(Ordering::Relaxed)
    }

    /// The carrier is given up, for this.
    pub(super) fn give_up(&self, why: String) {
        *self.given_up.lock() = Some(why.into());
    }

    /// Why it was.
    pub(super) fn why_given_up(&self) -> Option<Box<str>> {
        self.given_up.lock().clone()
    }
}
