//! Lines out of a body that arrives in pieces, each bounded; a line that is too long is an error and is skipped.

use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use futures_util::{Stream, StreamExt};
use tokio::time::Instant;

use super::{json::BOM, problem::Problem};
use wskeeper_core::budget::Lease;
use wskeeper_link::clock::Moment;

/// What has arrived of a line is counted from here on.
const SMALL: usize = 16 << 10;

/// Reads lines.
#[derive(Debug)]
pub(super) struct Lines<S> {
    pieces: S,
    pending: BytesMut,
    /// How far `pending` has been searched for a line's end.
    searched: usize,
    longest: usize,
    /// For what has arrived of a long line.
    lease: Lease,
    /// For a line that has begun.
    patience: Duration,
    /// The rest of a line that was too long is thrown away.
    skipping: bool,
    ended: bool,
    /// No line has been read.
    first: bool,
}

impl<S: Stream<Item = Result<Bytes, axum::Error>> + Unpin> Lines<S> {
    pub(super) fn new(pieces: S, longest: usize, patience: Duration, lease: Lease) -> Self {
        Self {
            pieces,
            pending: BytesMut::new(),
            searched: 0,
            longest,
            lease,
            patience,
            skipping: false,
            ended: false,
            first: true,
        }
    }

    /// The next line without its end; `None` after the last. Between lines it waits for ever, within one it does not.
    pub(super) async fn next(&mut self) -> Option<Result<Bytes, Problem>> {
        let mut until = None;
        loop {
            if let Some(end) = self.pending[self.searched..].iter().position(|byte| *byte == b'\n') {
                let line = self.pending.split_to(self.searched + end).freeze();
                self.pending.advance(1);
                self.searched = 0;
                if !std::mem::take(&mut self.skipping) {
                    return Some(self.judge(line));
                }
                continue;
            }
            self.searched = self.pending.len();
            if self.ended {
                let line = std::mem::take(&mut self.pending).freeze();
                self.searched = 0;
                return (!line.is_empty() && !self.skipping).then(|| self.judge(line));
            }
            if let Some(problem) = self.look_at_length() {
                self.pending = BytesMut::new();
                self.searched = 0;
                if !std::mem::replace(&mut self.skipping, true) {
                    return Some(Err(problem));
                }
            }
            if !self.pending.is_empty() || self.skipping {
                until.get_or_insert(Instant::now().later(self.patience));
            }
            let Some(piece) = by(until, self.pieces.next()).await else {
                (self.ended, self.skipping) = (true, false);
                self.pending.clear();
                self.searched = 0;
                return Some(Err(Problem::late_body("a line was not complete within api.body_timeout")));
            };
            match piece {
                Some(Ok(piece)) => self.pending.extend_from_slice(&piece),
                // The sender broke off within a line, which then never was one.
                Some(Err(_)) => return None,
                None => self.ended = true,
            }
        }
    }

    /// Why no more of the line that has begun is kept.
    fn look_at_length(&mut self) -> Option<Problem> {
        let length = self.pending.len();
        if length > self.longest {
            return Some(self.too_long());
        }
        let counted = if length > SMALL { length as u64 } else { 0 };
        let has_room = counted == self.lease.bytes() || self.lease.resize(counted);
        (!has_room).then(Problem::no_room)
    }

    fn judge(&mut self, mut line: Bytes) -> Result<Bytes, Problem> {
        if std::mem::take(&mut self.first) && line.starts_with(BOM) {
            line.advance(BOM.len());
        }
        if line.len() > self.longest { Err(self.too_long()) } else { Ok(line) }
    }

    fn too_long(&self) -> Problem {
        Problem::too_large(format!("a line has more than {} bytes", self.longest))
    }
}

/// What the future gives; `None`: it was not there by then.
async fn by<T>(until: Option<Instant>, future: impl Future<Output = T>) -> Option<T> {
    match until {
        Some(until) => tokio::time::timeout_at(until, future).await.ok(),
        None => Some(future.await),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wskeeper_core::budget::{Budget, Rank};

    const PATIENCE: Duration = Duration::from_secs(10);

    fn lease(bytes: u64) -> Lease {
        Budget::new(bytes).lease(Rank::Arriving)
    }

    async fn read(pieces: &[&'static str], longest: usize) -> Vec<Result<Bytes, ()>> {
        let pieces: Vec<_> = pieces.iter().map(|piece| Ok(Bytes::from_static(piece.as_bytes()))).collect();
        let mut lines = Lines::new(futures_util::stream::iter(pieces), longest, PATIENCE, lease(1 << 20));
        let mut read = Vec::new();
        while let Some(line) = lines.next().await {
            read.push(line.map_err(|_| ()));
        }
        read
    }

    #[tokio::test]
    async fn lines_are_whole_however_they_arrive() {
        let read = read(&["a", "b\nc", "\n\nd"], 10).await;
        let lines: Vec<_> = ["ab", "c", "", "d"].map(|line| Ok(Bytes::from_static(line.as_bytes()))).into();
        assert_eq!(read, lines);
    }

    #[tokio::test]
    async fn a_mark_of_the_byte_order_before_the_first_line_is_none_of_it() {
        for pieces in [&["\u{feff}a\n\u{feff}b"][..], &["\u{feff}", "a", "\n\u{feff}b\n"]] {
            let lines = ["a", "\u{feff}b"].map(|line| Ok(Bytes::from_static(line.as_bytes())));
            assert_eq!(read(pieces, 10).await, lines);
        }
        assert_eq!(read(&["\u{feff}"], 10).await, [Ok(Bytes::new())]);
    }

    #[tokio::test]
    async fn a_line_that_is_too_long_is_one_error_and_the_next_is_read() {
        let read = read(&["12345", "67890", "12345\nok\n"], 8).await;
        assert_eq!(read, [Err(()), Ok(Bytes::from_static(b"ok"))]);
    }

    #[tokio::test]
    async fn a_line_for_which_there_is_no_memory_is_one_error_and_the_next_is_read() {
        let long: &'static str = "x".repeat(SMALL * 2).leak();
        let pieces = [long, long, "\nok\n"].map(|piece| Ok(Bytes::from_static(piece.as_bytes())));
        let mut lines = Lines::new(futures_util::stream::iter(pieces), SMALL * 8, PATIENCE, lease(SMALL as u64 * 3));
        assert!(lines.next().await.is_some_and(|line| line.is_err_and(|problem| problem.is_full())));
        assert_eq!(lines.next().await, Some(Ok(Bytes::from_static(b"ok"))));
        assert_eq!(lines.lease.bytes(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_line_that_trickles_ends_the_batch_and_a_pause_between_lines_does_not() {
        let pieces = [(PATIENCE * 100, "first\n"), (PATIENCE * 100, "a"), (PATIENCE / 2, "b"), (PATIENCE, "c\nlast\n")];
        let pieces = futures_util::stream::iter(pieces).then(|(wait, piece)| async move {
            tokio::time::sleep(wait).await;
            Ok(Bytes::from_static(piece.as_bytes()))
        });
        let mut lines = Lines::new(Box::pin(pieces), 100, PATIENCE, lease(1 << 20));
        assert_eq!(lines.next().await, Some(Ok(Bytes::from_static(b"first"))));
        let problem = lines.next().await.unwrap().unwrap_err();
        assert!(problem.detail().contains("api.body_timeout"));
        assert_eq!(lines.next().await, None);
    }
}
