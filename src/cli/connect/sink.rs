//! A stream that may be slow, written by a thread of its own.
//!
//! What a reader would get wrong: who writes to stdout or stderr waits for whoever reads it, and the task that does so would keep pongs
//! from being sent. Here only the thread waits.

use std::{io, thread};

use tokio::sync::{mpsc, oneshot};

/// The way to the thread.
#[derive(Debug)]
pub(super) struct Sink<T> {
    to: mpsc::Sender<Given<T>>,
    ended: oneshot::Receiver<io::Result<()>>,
}

/// What the thread is given.
#[derive(Debug)]
enum Given<T> {
    Piece(T),
    /// Somebody waits until what came before it is written.
    Mark(oneshot::Sender<()>),
}

impl<T: Send + 'static> Sink<T> {
    /// A thread that does this with each of what it is given; so many may wait for it.
    pub(super) fn start(room: usize, mut write: impl FnMut(T) -> io::Result<()> + Send + 'static) -> io::Result<Self> {
        let (to, mut given) = mpsc::channel(room);
        let (end, ended) = oneshot::channel();
        thread::Builder::new().spawn(move || {
            let mut written = Ok(());
            while written.is_ok()
                && let Some(given) = given.blocking_recv()
            {
                match given {
                    Given::Piece(piece) => written = write(piece),
                    Given::Mark(reached) => drop(reached),
                }
            }
            let _ = end.send(written);
        })?;
        Ok(Self { to, ended })
    }

    /// Waits for room; whether it will be written. It will not once something could not be.
    pub(super) async fn put(&self, piece: T) -> bool {
        self.to.send(Given::Piece(piece)).await.is_ok()
    }

    /// Writes it, if there is room now.
    pub(super) fn offer(&self, piece: T) {
        let _ = self.to.try_send(Given::Piece(piece));
    }

    /// Waits until what it was given so far is written, or cannot be.
    pub(super) async fn flush(&self) {
        let (reached, told) = oneshot::channel();
        if self.to.send(Given::Mark(reached)).await.is_ok() {
            let _ = told.await;
        }
    }

    /// Waits until everything is written.
    pub(super) async fn finish(self) -> io::Result<()> {
        drop(self.to);
        self.ended.await.unwrap_or(Ok(()))
    }
}
