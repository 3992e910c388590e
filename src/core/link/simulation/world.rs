//! What the world does to connections: it reads, answers, closes and cuts.

use super::{hosts::Mood, *};

impl World {
    pub(super) fn lose(&mut self, index: usize, lane: Lane) {
        let (bits, some) = (self.chance.bits(), (self.chance.bits() % 3) as usize);
        let node = &mut self.nodes[index];
        if std::mem::take(&mut node.line(lane).open) {
            let Line { pulled, taken, .. } = *node.line(lane);
            let escaped = taken + bits % (pulled - taken + 1);
            let begun = node.line(lane).unflushed.iter().filter(|(_, begin)| *begin < escaped).count();
            node.cut(lane, escaped);
            // Some of what was on the wire has arrived all the same.
            node.read(lane, some);
            *node.line(lane) = Line::default();
            self.feed_line(index, lane, ConnectionInput::Ended { begun, detail: "".into() });
        }
    }

    /// What leaves an open connection.
    fn pull(&mut self, index: usize, lane: Lane) {
        loop {
            let node = &mut self.nodes[index];
            let Some(frame) = node.link.poll_transmit(self.now, lane) else { return };
            let transport = &mut node.lines[lane as usize];
            assert!(transport.open && !transport.said_close, "a frame left a connection that is not open");
            match frame {
                Frame::Data(body) => {
                    assert_eq!(lane, Lane::Current, "a message left beside the current connection");
                    for payload in body.payloads() {
                        let text = String::from_utf8(payload.bytes().to_vec()).expect("text");
                        let number = asked::number(&text);
                        let is_request = self.nodes[index].asked.contains_key(&number);
                        if is_request {
                            self.note_id(index, lane, &text);
                        }
                        let node = &mut self.nodes[index];
                        let bound = node.bound.get(&number).copied();
                        let generation = node.link.generation();
                        assert!(
                            bound.is_none_or(|bound| bound == generation),
                            "{number} left on {generation}, and is bound to {bound:?}"
                        );
                        assert!(
                            is_request || bound.is_some() || !self.durable || node.stored.contains(&number),
                            "{number} left before it was stored"
                        );
                        let is_kept = bound.is_none() && !is_request && self.durable;
                        let needs_mark = is_kept && self.delivery == Delivery::AtMostOnce;
                        assert!(!needs_mark || node.marked.contains(&number), "{number} left before it was marked");
                        node.pull(number, payload.len() as u64 + 6);
                    }
                }
                Frame::Session(_) => {}
                Frame::Ping(nonce) => transport.pings.push(nonce),
                Frame::Close(_) => transport.said_close = true,
            }
        }
    }

    /// What the world does to an open connection. A word of the peer's may make the lanes change places; what follows then is
    /// done to the one that is in the lane.
    pub(super) fn touch(&mut self, index: usize, lane: Lane) {
        self.pull(index, lane);
        if self.benign || self.one_in(2) {
            self.nodes[index].flush(lane);
            self.feed_line(index, lane, ConnectionInput::Flushed);
        } else if self.one_in(2) {
            let waiting = self.nodes[index].line(lane).unflushed.len() as u64;
            let messages = usize::try_from(self.chance.bits() % (waiting + 1)).expect("few");
            self.nodes[index].leave(lane, messages);
            self.feed_line(index, lane, ConnectionInput::Left { messages, pings: 0, part: 0 });
        }
        if self.one_in(3) {
            self.nodes[index].read(lane, 1);
        }
        if self.benign || self.one_in(3) {
            self.nodes[index].read(lane, usize::MAX);
            self.feed_line(index, lane, ConnectionInput::Heard);
            for nonce in std::mem::take(&mut self.nodes[index].line(lane).pings) {
                self.feed_line(index, lane, ConnectionInput::Received(Received::Pong(nonce)));
            }
        }
        if self.asks() && (self.benign || self.one_in(3)) && self.nodes[index].line(lane).open {
            self.reply(index, lane);
        }
        if let Some(mood) = self.nodes[index].line(lane).mood
            && self.spoil(index, lane, mood)
        {
            return;
        }
        let answers = self.nodes[index].line(lane).said_close && (self.benign || self.one_in(2));
        if answers || (!self.is_quiet() && self.one_in(10)) {
            let code = [1000, 1001, 1008, 1011, 1012, 1013, 3000, 4401][(self.chance.bits() % 8) as usize];
            let frame = CloseFrame { code, reason: "".into() };
            self.feed_line(index, lane, ConnectionInput::Received(Received::Close(Some(frame))));
        }
        let is_closing = lane == Lane::Current && self.nodes[index].link.phase() == Phase::Closing;
        if (!self.is_quiet() && self.one_in(8)) || is_closing || answers {
            self.lose(index, lane);
        }
    }

    /// Does what the mood of its server is to a connection that has just been opened. Answers whether that is its end.
    fn spoil(&mut self, index: usize, lane: Lane, mood: Mood) -> bool {
        let last = match mood {
            Mood::Closes(code) => {
                ConnectionInput::Received(Received::Close(Some(CloseFrame { code, reason: "".into() })))
            }
            Mood::Breaks => ConnectionInput::Violation { code: 1002, cause: Cause::Protocol, detail: "".into() },
            Mood::Resets => {
                self.lose(index, lane);
                return true;
            }
            Mood::Fickle | Mood::Well | Mood::Down | Mood::Silent | Mood::Refuses(_) => return false,
        };
        self.feed_line(index, lane, last);
        self.lose(index, lane);
        true
    }
}
