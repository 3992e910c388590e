//! Messages, pings and pongs read without a reader of frames: by what [`scan`] finds in all that is there.
//!
//! A chunk that is at least half full becomes the memory of its messages, and the thread takes another; else they are copied. What
//! a reader would get wrong: a frame that has begun waits here until it is whole, unless it is found to be none of ours before.

use std::{
    io, mem,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{Bytes, BytesMut};
use tokio::io::AsyncRead;
use tokio_util::io::poll_read_buf;

use super::{AHEAD_MAX, CHUNK, PooledStream, READING, Reading};
use wskeeper_core::{
    body::Body,
    run::{Marks, Run},
    scan::{Behind, CONTROL_HEAD, Control, scan, text_so_far, unmask},
};

/// What was found.
#[derive(Debug)]
pub(in super::super) enum Found {
    /// Whole messages, as many as were there.
    Messages(Run),
    /// A ping or pong with its payload.
    Control(Control, Bytes),
    /// Something for a reader of frames.
    Other,
    /// The end of the stream.
    End,
}

impl<S: AsyncRead + Unpin> PooledStream<S> {
    /// Whole messages that are there by now, at most `max` bytes long each, or else one ping or pong; where a frame begins. Where pings
    /// are not to be taken, they are for a reader of frames.
    pub(in super::super) fn poll_messages(
        &mut self,
        cx: &mut Context<'_>,
        max: usize,
        takes_pings: bool,
    ) -> Poll<io::Result<Found>> {
        READING.with_borrow_mut(|Reading { chunk, marks }| {
            loop {
                let mut frame = 0;
                if !self.ahead.is_empty() {
                    let (end, behind) = scan(&self.ahead, max, marks);
                    match behind {
                        _ if !marks.is_empty() => return Poll::Ready(Ok(Found::Messages(self.split(end, marks)))),
                        Behind::Control(Control::Ping, _) if !takes_pings => return Poll::Ready(Ok(Found::Other)),
                        Behind::Control(control, len) => {
                            let payload = payload(&self.ahead, len);
                            self.advance(CONTROL_HEAD + len);
                            return Poll::Ready(Ok(Found::Control(control, payload)));
                        }
                        Behind::Other => return Poll::Ready(Ok(Found::Other)),
                        Behind::Part(_) if !self.is_text_so_far() => return Poll::Ready(Ok(Found::Other)),
                        Behind::Part(length) => frame = length,
                    }
                }
                let is_long = frame > CHUNK / 2;
                let read = if is_long { self.poll_long(cx, frame) } else { self.poll_chunk(cx, chunk, CHUNK) };
                if ready!(read)? == 0 {
                    return Poll::Ready(Ok(Found::End));
                }
                if is_long {
                    continue;
                }
                let (end, behind) = scan(chunk, max, marks);
                if let (Behind::Control(Control::Pong, len), true) = (behind, marks.is_empty()) {
                    (self.ahead, self.text_until) = ((&chunk[CONTROL_HEAD + len..]).into(), 0);
                    return Poll::Ready(Ok(Found::Control(Control::Pong, payload(chunk, len))));
                }
                self.ahead = (&chunk[end..]).into();
                if !marks.is_empty() {
                    self.text_until = 0;
                    return Poll::Ready(Ok(Found::Messages(cut(chunk, end, marks))));
                }
            }
        })
    }

    /// The same of a client's, at most as many as are read ahead at once, without their masks. `None`: something for a reader of frames, or
    /// the end of the stream.
    pub(in super::super) fn poll_unmasked(
        &mut self,
        cx: &mut Context<'_>,
        max: usize,
    ) -> Poll<io::Result<Option<Body>>> {
        READING.with_borrow_mut(|Reading { chunk, marks }| {
            if !self.ahead.is_empty() {
                let (end, behind, body) = unmasked(&self.ahead, max, marks);
                self.advance(end);
                if body.is_some() || behind == Behind::Other {
                    return Poll::Ready(Ok(body));
                }
            }
            loop {
                if ready!(self.poll_chunk(cx, chunk, AHEAD_MAX))? == 0 {
                    return Poll::Ready(Ok(None));
                }
                let (end, behind, body) = unmasked(chunk, max, marks);
                self.ahead = (&chunk[end..]).into();
                if body.is_some() || behind == Behind::Other {
                    return Poll::Ready(Ok(body));
                }
            }
        })
    }

    /// Reads more of a frame of this length, which is as long as a chunk or longer, where it will stay.
    fn poll_long(&mut self, cx: &mut Context<'_>, frame: usize) -> Poll<io::Result<usize>> {
        if let Some(error) = self.failure.take() {
            return Poll::Ready(Err(error));
        }
        if self.ahead.capacity() < frame {
            let mut whole = BytesMut::with_capacity(frame);
            whole.extend_from_slice(&self.ahead);
            self.ahead = whole;
        }
        self.drained = false;
        let read = ready!(poll_read_buf(Pin::new(&mut self.stream), cx, &mut self.ahead))?;
        self.read += read as u64;
        Poll::Ready(Ok(read))
    }

    /// Whether the frame that has begun may be as far as it is here: where it is a text, no rest can mend a wrong byte.
    fn is_text_so_far(&mut self) -> bool {
        let until = text_so_far(&self.ahead, self.text_until as usize);
        // In four bytes, for every link has it: of a frame that is longer the rest is looked at more than once.
        self.text_until = until.map_or(0, |until| u32::try_from(until).unwrap_or(u32::MAX));
        until.is_some()
    }

    /// Takes messages that were read ahead, up to `end`: a long one as it is.
    fn split(&mut self, end: usize, marks: &mut Marks) -> Run {
        if end == self.ahead.len() && end > CHUNK / 2 {
            let room = self.ahead.capacity();
            self.text_until = 0;
            return marks.take(mem::take(&mut self.ahead).freeze(), room);
        }
        let bytes = Bytes::copy_from_slice(&self.ahead[..end]);
        self.advance(end);
        marks.take(bytes, end)
    }
}

/// Copies messages of a client from the front of what was read.
fn unmasked(bytes: &[u8], max: usize, marks: &mut Marks) -> (usize, Behind, Option<Body>) {
    let mut frames = BytesMut::with_capacity(bytes.len());
    let (end, behind) = unmask(bytes, max, &mut frames, marks);
    let room = frames.capacity();
    (end, behind, (!marks.is_empty()).then(|| marks.take_body(frames.freeze(), room)))
}

/// Of the ping or pong at the front.
fn payload(bytes: &[u8], len: usize) -> Bytes {
    Bytes::copy_from_slice(&bytes[CONTROL_HEAD..CONTROL_HEAD + len])
}

/// Takes messages from the front of a chunk.
fn cut(chunk: &mut BytesMut, end: usize, marks: &mut Marks) -> Run {
    if end < CHUNK / 2 {
        return marks.take(Bytes::copy_from_slice(&chunk[..end]), end);
    }
    chunk.truncate(end);
    let chunk = mem::take(chunk);
    let room = chunk.capacity();
    marks.take(chunk.freeze(), room)
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use futures_util::task::noop_waker_ref;
    use tokio::io::ReadBuf;

    use super::*;
    use wskeeper_core::message::Payload;

    /// Gives these, one a read, and then nothing for now.
    struct Records(VecDeque<Vec<u8>>);

    impl AsyncRead for Records {
        fn poll_read(mut self: Pin<&mut Self>, _: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
            let Some(record) = self.0.front_mut() else { return Poll::Pending };
            let part: Vec<u8> = record.drain(..record.len().min(buffer.remaining())).collect();
            buffer.put_slice(&part);
            if record.is_empty() {
                self.0.pop_front();
            }
            Poll::Ready(Ok(()))
        }
    }

    fn message(length: usize) -> Vec<u8> {
        Run::from(&Payload::binary(vec![7; length])).frames().into()
    }

    /// Of each run, how many messages it has and what it holds beside their marks.
    fn runs(records: impl IntoIterator<Item = Vec<u8>>) -> Vec<(usize, usize)> {
        let mut cx = Context::from_waker(noop_waker_ref());
        let mut pooled = PooledStream::new(Records(records.into_iter().collect()));
        let mut runs = Vec::new();
        while let Poll::Ready(Ok(Found::Messages(run))) = pooled.poll_messages(&mut cx, usize::MAX, true) {
            runs.push((run.count(), run.held() - 8 * run.count()));
        }
        assert_eq!(pooled.ahead.capacity(), 0, "nothing is kept between two messages");
        runs
    }

    #[test]
    fn what_a_stream_gives_a_little_at_a_time_is_one_run_of_as_much_memory_as_it_needs() {
        let records: Vec<_> = (0..1000).map(|_| message(20)).collect();
        assert_eq!(runs(records), [(1000, 22_000)]);
        assert_eq!(runs([vec![0x82], vec![1], vec![7, 0x82, 0]]), [(2, 5)]);
    }

    #[test]
    fn pings_and_pongs_come_one_by_one_between_runs_where_they_are_wanted() {
        let mut cx = Context::from_waker(noop_waker_ref());
        let mut found = |takes_pings| {
            let all = [&[0x8A, 1, b'o'][..], &message(20), &[0x8A, 1, b'p', 0x89, 2, b'q', b'r']].concat();
            let mut pooled = PooledStream::new(Records([all].into()));
            let mut all = Vec::new();
            while let Poll::Ready(Ok(found)) = pooled.poll_messages(&mut cx, usize::MAX, takes_pings) {
                all.push(match found {
                    Found::Messages(run) => run.count().to_string(),
                    Found::Control(control, payload) => format!("{control:?} {payload:?}"),
                    Found::Other => format!("{} bytes for another", pooled.ahead.len()),
                    Found::End => "end".to_owned(),
                });
                if matches!(all.last(), Some(last) if last.ends_with("another")) {
                    break;
                }
            }
            all
        };
        let pongs = [r#"Pong b"o""#, "1", r#"Pong b"p""#];
        assert_eq!(found(true), [&pongs[..], &[r#"Ping b"qr""#]].concat());
        assert_eq!(found(false), [&pongs[..], &["4 bytes for another"]].concat());
    }

    #[test]
    fn a_stream_is_drained_when_it_had_no_more_and_nothing_is_left_of_it() {
        let mut cx = Context::from_waker(noop_waker_ref());
        let mut drained = |records: Vec<Vec<u8>>, messages| {
            let mut pooled = PooledStream::new(Records(records.into()));
            assert!(!pooled.is_drained(), "nobody has asked it");
            for _ in 0..messages {
                assert!(matches!(pooled.poll_messages(&mut cx, usize::MAX, true), Poll::Ready(Ok(Found::Messages(_)))));
            }
            pooled.is_drained()
        };
        assert!(drained(vec![message(20)], 1));
        assert!(!drained(vec![[message(20), vec![0x82]].concat()], 1), "a frame has begun");
        assert!(!drained(vec![message(62).repeat(CHUNK / 64)], 1), "there may be more than was asked for");
        // The last of a long message is read without asking for more.
        assert!(!drained(vec![[message(8), message(3 * CHUNK)].concat()], 2));
    }

    #[test]
    fn a_chunk_that_is_at_least_half_full_is_kept_as_it_is() {
        let flood = message(62).repeat(3 * CHUNK / 64);
        assert_eq!(runs([flood]), [(CHUNK / 64, CHUNK); 3]);
    }

    #[test]
    fn a_long_message_stays_where_it_was_read_and_those_beside_it_do_not_hold_it() {
        let long = message(3 * CHUNK);
        let whole = long.len();
        let all = [message(8), long, message(9)].concat();
        assert_eq!(runs([all]), [(1, 10), (1, whole), (1, 11)]);
    }
}
