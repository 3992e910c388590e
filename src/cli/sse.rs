//! Reads server-sent events (WHATWG HTML §9.2.6) from bytes as they come.
//!
//! What a reader would get wrong: an event ends with an empty line, not with a chunk, and an event that the stream breaks
//! off in is thrown away, or a resumed reader would see half of it.

use super::client::ClientError;

/// An event with data.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct SseEvent {
    /// Its `event` field.
    pub(super) kind: String,
    /// Its `data` fields, joined by line feeds.
    pub(super) data: String,
    /// The last `id` seen up to here.
    pub(super) id: String,
}

/// The longest line accepted: an inbox message in base64, with room.
const MAX_LINE: usize = 256 << 20;

/// The state between two chunks.
#[derive(Debug, Default)]
pub(super) struct Parser {
    line: Vec<u8>,
    after_cr: bool,
    event: SseEvent,
    data: Option<String>,
}

impl Parser {
    /// Reads a chunk; `done` gets each event that it completes.
    pub(super) fn feed(&mut self, chunk: &[u8], mut done: impl FnMut(SseEvent)) -> Result<(), ClientError> {
        for &byte in chunk {
            let follows_cr = std::mem::take(&mut self.after_cr);
            match byte {
                b'\n' if follows_cr => {}
                b'\n' => self.end_line(&mut done),
                b'\r' => {
                    self.after_cr = true;
                    self.end_line(&mut done);
                }
                byte if self.line.len() < MAX_LINE => self.line.push(byte),
                _ => {
                    return Err(ClientError::Answer {
                        target: "the event stream".into(),
                        error: "a line is longer than 256 MiB".into(),
                    });
                }
            }
        }
        Ok(())
    }

    fn end_line(&mut self, done: &mut impl FnMut(SseEvent)) {
        let line = std::mem::take(&mut self.line);
        let line = String::from_utf8_lossy(&line);
        if line.is_empty() {
            let kind = std::mem::take(&mut self.event.kind);
            if let Some(data) = self.data.take() {
                done(SseEvent { kind, data, id: self.event.id.clone() });
            }
            return;
        }
        let (field, value) = line.split_once(':').unwrap_or((&line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "event" => value.clone_into(&mut self.event.kind),
            "id" if !value.contains('\0') => value.clone_into(&mut self.event.id),
            "data" => match &mut self.data {
                Some(data) => {
                    data.push('\n');
                    data.push_str(value);
                }
                None => self.data = Some(value.to_owned()),
            },
            // Comments have an empty name; other fields are to be ignored.
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(chunks: &[&str]) -> Vec<SseEvent> {
        let mut parser = Parser::default();
        let mut events = Vec::new();
        for chunk in chunks {
            parser.feed(chunk.as_bytes(), |event| events.push(event)).unwrap();
        }
        events
    }

    fn event(kind: &str, data: &str, id: &str) -> SseEvent {
        SseEvent { kind: kind.into(), data: data.into(), id: id.into() }
    }

    #[test]
    fn an_event_may_come_in_any_pieces() {
        let whole = "event: message\nid: 7\ndata: {\"a\":1}\n\n";
        let bytes: Vec<String> = whole.chars().map(String::from).collect();
        let bytes: Vec<&str> = bytes.iter().map(String::as_str).collect();
        assert_eq!(read(&[whole]), [event("message", "{\"a\":1}", "7")]);
        assert_eq!(read(&bytes), read(&[whole]));
    }

    #[test]
    fn comments_and_unknown_fields_are_no_events() {
        assert_eq!(read(&[": keepalive\n\n", "retry: 5\n\n", "event: x\n\n"]), []);
    }

    #[test]
    fn several_data_lines_are_one_text() {
        assert_eq!(read(&["data: a\ndata:b\ndata:\n\n"]), [event("", "a\nb\n", "")]);
    }

    #[test]
    fn all_three_line_ends_count_once() {
        assert_eq!(read(&["data: a\r", "\n\r\ndata: b\r\rdata: c\n\n"]).len(), 3);
    }

    #[test]
    fn the_id_stays_until_another_comes_and_a_broken_off_event_is_none() {
        assert_eq!(read(&["id: 1\ndata: a\n\ndata: b\n\ndata: c\n"]), [event("", "a", "1"), event("", "b", "1")]);
    }
}
