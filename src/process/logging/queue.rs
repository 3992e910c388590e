//! Lines on their way out: a bounded queue, and a thread of its own that writes them.
//!
//! Who logs never waits. A reader that reads nothing holds up this one thread; what comes once the queue is full is dropped and
//! counted. When the reader reads again, one line says how many are missing.

#![allow(clippy::disallowed_methods, reason = "a thread of its own, which no paused clock of a test may hold up")]

use std::{
    collections::VecDeque,
    io,
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, Instant},
};

use parking_lot::{Condvar, Mutex, MutexGuard};
use wskeeper_core::clock::Clock;

/// Lines that may wait.
const MOST_LINES: usize = 16_384;
/// Their bytes, that under way included.
const MOST_BYTES: usize = 4 << 20;

/// Where lines end up. It may block for as long as it likes.
pub(super) trait Sink {
    /// Writes one whole line.
    fn write(&mut self, line: &[u8]) -> io::Result<()>;
}

/// Lines that wait to be written.
#[derive(Debug, Default)]
pub(super) struct Queue {
    state: Mutex<State>,
    /// A line has come.
    filled: Condvar,
    /// A line has gone, or there is none.
    moved: Condvar,
    dropped: AtomicU64,
}

#[derive(Debug, Default)]
struct State {
    lines: VecDeque<Vec<u8>>,
    bytes: usize,
    is_busy: bool,
    /// Lines that have been tried, for who waits that some are.
    tried: u64,
    /// Lines dropped of which nothing has been said yet.
    untold: u64,
}

impl State {
    fn has_room_for(&self, bytes: usize, share: usize) -> bool {
        self.lines.len() < MOST_LINES / share && self.bytes + bytes <= MOST_BYTES / share
    }
}

impl Queue {
    /// Takes a line, or drops it.
    pub(super) fn push(&self, line: Vec<u8>) {
        let mut state = self.state();
        if state.has_room_for(line.len(), 1) {
            state.bytes += line.len();
            state.lines.push_back(line);
            self.filled.notify_one();
        } else {
            self.lose(&mut state);
        }
    }

    /// Lines that were dropped, or that the sink did not take.
    pub(super) fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    /// Writes what comes, for ever. `tell` is called with the number of lines that were dropped, once there is room again.
    pub(super) fn run(&self, mut sink: impl Sink, tell: impl Fn(u64)) {
        loop {
            let line = self.next();
            let outcome = sink.write(&line);
            if let Some(missing) = self.written(line.len(), outcome.is_ok()) {
                tell(missing);
            }
        }
    }

    /// Waits until all is written: for `most`, and no longer than `still` in which no line moves.
    pub(super) fn flush(&self, still: Duration, most: Duration) -> bool {
        let deadline = Instant::now().later(most);
        let mut state = self.state();
        loop {
            if state.lines.is_empty() && !state.is_busy {
                return true;
            }
            let (tried, left) = (state.tried, deadline.saturating_duration_since(Instant::now()));
            let is_still = |state: &mut State| state.tried == tried && (state.is_busy || !state.lines.is_empty());
            if self.moved.wait_while_for(&mut state, is_still, still.min(left)).timed_out() {
                return false;
            }
        }
    }

    fn next(&self) -> Vec<u8> {
        let mut state = self.state();
        loop {
            if let Some(line) = state.lines.pop_front() {
                state.is_busy = true;
                return line;
            }
            state.is_busy = false;
            self.moved.notify_all();
            self.filled.wait(&mut state);
        }
    }

    /// Answers with the number of lines to be told of. Not at the first room, or a slow reader would read of nothing else.
    fn written(&self, bytes: usize, is_out: bool) -> Option<u64> {
        let mut state = self.state();
        state.bytes -= bytes;
        state.tried += 1;
        self.moved.notify_all();
        if !is_out {
            self.lose(&mut state);
            return None;
        }
        let is_due = state.untold > 0 && state.has_room_for(0, 2);
        is_due.then(|| std::mem::take(&mut state.untold))
    }

    fn lose(&self, state: &mut State) {
        state.untold += 1;
        self.dropped.fetch_add(1, Ordering::Relaxed);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::{Arc, mpsc},
        thread,
    };

    use super::*;

    const LONG: Duration = Duration::from_secs(30);

    /// Passes lines on to a reader that takes them one at a time.
    struct Reader(mpsc::SyncSender<Vec<u8>>);

    impl Sink for Reader {
        fn write(&mut self, line: &[u8]) -> io::Result<()> {
            self.0.send(line.to_vec()).map_err(|_| io::ErrorKind::BrokenPipe.into())
        }
    }

    /// Starts a queue's writer, and answers with who reads what leaves it. A line that is told of stands in the queue as a text.
    fn start(queue: &Arc<Queue>) -> mpsc::Receiver<Vec<u8>> {
        let (sender, reader) = mpsc::sync_channel(0);
        let (writer, told) = (Arc::clone(queue), Arc::clone(queue));
        let tell = move |missing| told.push(format!("{missing} missing").into_bytes());
        thread::spawn(move || writer.run(Reader(sender), tell));
        reader
    }

    /// A queue whose writer is at work.
    fn queue() -> (Arc<Queue>, mpsc::Receiver<Vec<u8>>) {
        let queue = Arc::<Queue>::default();
        let reader = start(&queue);
        (queue, reader)
    }

    #[test]
    fn who_logs_does_not_wait_for_a_reader_and_what_finds_no_room_is_counted_and_told() {
        let queue = Arc::<Queue>::default();
        for number in 0..MOST_LINES * 2 {
            queue.push(format!("line {number}").into_bytes());
        }
        assert_eq!(queue.dropped(), MOST_LINES as u64);
        // Only now, or which lines find room depends on when the thread begins.
        let reader = start(&queue);
        for number in 0..MOST_LINES {
            assert_eq!(reader.recv_timeout(LONG).unwrap(), format!("line {number}").into_bytes());
        }
        assert_eq!(reader.recv_timeout(LONG).unwrap(), format!("{MOST_LINES} missing").into_bytes());
        assert!(queue.flush(LONG, LONG));
        queue.push(b"after".to_vec());
        assert_eq!(reader.recv_timeout(LONG).unwrap(), b"after", "it is told of once");
    }

    #[test]
    fn bytes_are_bounded_too() {
        let (queue, _reader) = queue();
        for _ in 0..100 {
            queue.push(vec![0; MOST_BYTES / 10]);
        }
        assert_eq!(queue.dropped(), 90);
        assert!(queue.state().bytes <= MOST_BYTES);
    }

    #[test]
    fn a_flush_waits_for_all_lines_but_not_for_a_reader_that_reads_nothing() {
        let (queue, reader) = queue();
        queue.push(b"last words".to_vec());
        assert!(!queue.flush(Duration::from_millis(20), LONG));
        let reading = thread::spawn(move || reader.recv_timeout(LONG));
        assert!(queue.flush(LONG, LONG));
        assert_eq!(reading.join().unwrap().unwrap(), b"last words");
    }

    #[test]
    fn a_line_that_the_sink_does_not_take_is_counted() {
        let (queue, reader) = queue();
        drop(reader);
        queue.push(b"to nobody".to_vec());
        assert!(queue.flush(LONG, LONG));
        assert_eq!(queue.dropped(), 1);
    }
}
