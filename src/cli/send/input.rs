//! Lines of an input, as many as are there.
//!
//! What a reader would get wrong: [`Input::ready`] waits for one line only, and then gives all that came with it. So a line
//! that someone types goes out when it ends, and a pipe that runs ahead goes out by the thousand.

use std::io;

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt};

/// The most lines, and the bytes of them, that are given at once; one line may be longer than that.
pub(super) const MOST_LINES: usize = 1000;
const MOST_BYTES: usize = 1 << 20;
/// The longest line that is read, in bytes: no daemon takes a message near it.
const LONGEST: usize = 64 << 20;
/// Room for one read, in bytes.
const READ: usize = 64 << 10;

/// A line without its end.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::cli) struct Line {
    /// From 1.
    pub(in crate::cli) number: u64,
    /// The text, or why it cannot be a message.
    pub(in crate::cli) text: Result<String, Flaw>,
}

/// Why a line cannot be a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(in crate::cli) enum Flaw {
    /// A text message must be UTF-8.
    #[error("the line is not UTF-8, as a text message must be; `--binary` sends all of stdin as one binary message")]
    NotUtf8,
    /// It would not fit into memory.
    #[error("the line is longer than 64 MiB; nothing of it was sent")]
    TooLong,
}

/// Reads lines.
#[derive(Debug)]
pub(in crate::cli) struct Input<R> {
    from: R,
    pending: BytesMut,
    /// How far `pending` has been searched for a line's end.
    searched: usize,
    number: u64,
    /// The rest of a line that was too long is thrown away.
    skipping: bool,
    ended: bool,
}

impl<R: AsyncRead + Unpin> Input<R> {
    pub(in crate::cli) fn new(from: R) -> Self {
        Self { from, pending: BytesMut::new(), searched: 0, number: 0, skipping: false, ended: false }
    }

    /// One line or more; none at the end. Dropping the future loses nothing.
    pub(in crate::cli) async fn ready(&mut self) -> io::Result<Vec<Line>> {
        loop {
            let lines = self.take();
            if !lines.is_empty() || self.ended {
                return Ok(lines);
            }
            self.pending.reserve(READ);
            self.ended = self.from.read_buf(&mut self.pending).await? == 0;
        }
    }

    fn take(&mut self) -> Vec<Line> {
        let (mut lines, mut bytes) = (Vec::new(), 0);
        while lines.len() < MOST_LINES && bytes < MOST_BYTES {
            let Some(line) = self.one() else { break };
            bytes += line.text.as_ref().map_or(0, String::len);
            lines.push(line);
        }
        lines
    }

    fn one(&mut self) -> Option<Line> {
        loop {
            let text = if let Some(end) = self.pending[self.searched..].iter().position(|byte| *byte == b'\n') {
                let text = self.pending.split_to(self.searched + end);
                self.pending.advance(1);
                text
            } else if self.ended && !self.pending.is_empty() {
                self.pending.split()
            } else if self.pending.len() > LONGEST {
                self.pending.clear();
                self.searched = 0;
                if std::mem::replace(&mut self.skipping, true) {
                    return None;
                }
                return Some(self.numbered(Err(Flaw::TooLong)));
            } else {
                self.searched = self.pending.len();
                return None;
            };
            self.searched = 0;
            if std::mem::take(&mut self.skipping) {
                continue;
            }
            if text.len() > LONGEST {
                return Some(self.numbered(Err(Flaw::TooLong)));
            }
            let text = text.strip_suffix(b"\r").unwrap_or(&text);
            return Some(self.numbered(String::from_utf8(text.to_vec()).map_err(|_| Flaw::NotUtf8)));
        }
    }

    fn numbered(&mut self, text: Result<String, Flaw>) -> Line {
        self.number += 1;
        Line { number: self.number, text }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt;

    use super::*;

    fn texts(lines: &[Line]) -> Vec<&str> {
        lines.iter().map(|line| line.text.as_deref().unwrap_or("?")).collect()
    }

    #[tokio::test]
    async fn a_typed_line_is_given_at_once_and_half_a_line_waits_for_its_end() {
        let (mut typed, read) = tokio::io::duplex(64);
        let mut input = Input::new(read);
        typed.write_all(b"one\nhal").await.unwrap();
        assert_eq!(texts(&input.ready().await.unwrap()), ["one"]);
        typed.write_all(b"f\r\n\nend").await.unwrap();
        assert_eq!(texts(&input.ready().await.unwrap()), ["half", ""]);
        drop(typed);
        let last = input.ready().await.unwrap();
        assert_eq!((texts(&last), last[0].number), (vec!["end"], 4));
        assert!(input.ready().await.unwrap().is_empty());
    }

    #[tokio::test]
    async fn what_is_there_is_given_together_and_within_bounds() {
        let text = "x\n".repeat(2500);
        let mut input = Input::new(text.as_bytes());
        let mut counts = Vec::new();
        loop {
            match input.ready().await.unwrap().len() {
                0 => break,
                count => counts.push(count),
            }
        }
        assert_eq!(counts, [1000, 1000, 500]);
        let long = format!("{}\n", "y".repeat(MOST_BYTES)).repeat(2);
        assert_eq!(Input::new(long.as_bytes()).ready().await.unwrap().len(), 1);
    }

    #[tokio::test]
    async fn a_line_that_is_no_text_or_too_long_is_a_flaw_and_the_next_is_read() {
        let mut input = Input::new(&b"a\n\xff\nb\n"[..]);
        let lines = input.ready().await.unwrap();
        assert_eq!(lines[1], Line { number: 2, text: Err(Flaw::NotUtf8) });
        assert_eq!(texts(&lines), ["a", "?", "b"]);
    }

    #[tokio::test]
    async fn a_line_that_does_not_fit_is_left_out_however_it_arrives() {
        let mut text = vec![b'z'; LONGEST + 1];
        text.extend_from_slice(b"\nc\n");
        for room in [READ, LONGEST * 2] {
            let mut input = Input::new(&text[..]);
            input.pending.reserve(room);
            let (mut flaws, mut sound) = (0, Vec::new());
            loop {
                let lines = input.ready().await.unwrap();
                if lines.is_empty() {
                    break;
                }
                for Line { number, text } in lines {
                    text.map_or_else(|_| flaws += 1, |text| sound.push((number, text)));
                }
            }
            assert_eq!((flaws, sound), (1, vec![(2, "c".to_owned())]), "{room}");
        }
    }
}
