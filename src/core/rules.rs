//! The rules for frames of a server (RFC 6455 §5 and §7.4), checked byte by byte, so that a breach is found with the first byte that makes it
//! one.
//!
//! What a reader would get wrong: this does not find where frames begin and end. Its caller follows the stream, and tells it each part. Whole messages,
//! pings and pongs do not come here: [`scan`](super::scan::scan) checks them itself.

use std::str;

use super::{
    breach::Breach,
    close::{self, CloseFrame},
    frame::{BINARY, CLOSE, CONTINUATION, CONTROL, CONTROL_MAX, FIN, Head, MASKED, OPCODE, PONG, RESERVED, TEXT},
    utf8::Utf8,
};

/// The length that a head of `head` bytes gives, if this is the form that it must have.
pub fn well_formed(length: u64, head: usize) -> Result<usize, Breach> {
    if length >> 63 != 0 {
        return Err(Breach::FirstBit);
    }
    // A length that does not fit memory has the longest form in any case.
    let length = usize::try_from(length).unwrap_or(usize::MAX);
    if Head::new(0, length, None).bytes().len() == head { Ok(length) } else { Err(Breach::LongForm) }
}

/// What has arrived from a server so far, as far as the rules need it.
#[derive(Debug)]
pub struct FrameRules {
    /// Upper limit of a message in bytes.
    max: usize,
    /// The message that has begun: the bytes that its frames have announced, and the check of its text.
    message: Option<(usize, Option<Utf8>)>,
    /// The body of the last Close. It uses no memory before one arrives.
    close: Vec<u8>,
}

impl FrameRules {
    /// The rules at the beginning of a message, with the upper limit of a message in bytes.
    pub fn new(max: usize) -> Self {
        Self { max, message: None, close: Vec::new() }
    }

    /// Checks the first byte of a frame.
    pub fn first(&mut self, first: u8) -> Result<(), Breach> {
        if first & RESERVED != 0 {
            return Err(Breach::ReservedBits);
        }
        match (first & OPCODE, &self.message) {
            (CLOSE..=PONG, _) if first & FIN == 0 => Err(Breach::FragmentedControl),
            (CLOSE..=PONG, _) | (CONTINUATION, Some(_)) => Ok(()),
            (CONTINUATION, None) => Err(Breach::NothingToContinue),
            (TEXT | BINARY, Some(_)) => Err(Breach::Interrupted),
            (kind @ (TEXT | BINARY), None) => {
                self.message = Some((0, (kind == TEXT).then(Utf8::default)));
                Ok(())
            }
            (opcode, _) => Err(Breach::ReservedOpcode(opcode)),
        }
    }

    /// Checks the second byte.
    pub fn second(&mut self, first: u8, second: u8) -> Result<(), Breach> {
        if second & MASKED != 0 {
            return Err(Breach::Masked);
        }
        if first & CONTROL != 0 && second > CONTROL_MAX {
            return Err(Breach::LongControl);
        }
        Ok(())
    }

    /// Checks the length of the body, which a head of `head` bytes gives.
    pub fn length(&mut self, first: u8, length: u64, head: usize) -> Result<(), Breach> {
        let bytes = well_formed(length, head)?;
        if first & OPCODE == CLOSE {
            self.close.clear();
            return if length == 1 { Err(Breach::HalfCode) } else { Ok(()) };
        }
        match &mut self.message {
            Some((announced, _)) if first & CONTROL == 0 => {
                *announced = announced.saturating_add(bytes);
                if *announced > self.max { Err(Breach::TooBig { max: self.max }) } else { Ok(()) }
            }
            Some(_) | None => Ok(()),
        }
    }

    /// Checks a part of the body.
    pub fn body(&mut self, first: u8, part: &[u8]) -> Result<(), Breach> {
        if first & OPCODE == CLOSE {
            self.close.extend_from_slice(part);
        } else if first & CONTROL == 0
            && let Some((_, Some(text))) = &mut self.message
            && !text.add(part)
        {
            return Err(Breach::NotUtf8);
        }
        Ok(())
    }

    /// Checks what can be wrong only at the end of the frame.
    pub fn end(&mut self, first: u8) -> Result<(), Breach> {
        if first & OPCODE == CLOSE {
            return self.judge_close();
        }
        if first & CONTROL != 0 || first & FIN == 0 {
            return Ok(());
        }
        match self.message.take() {
            Some((_, Some(text))) if !text.is_whole() => Err(Breach::NotUtf8),
            Some(_) | None => Ok(()),
        }
    }

    /// Code and reason of the last Close. `None` if it had none.
    pub fn close(&self) -> Option<CloseFrame> {
        let (code, reason) = self.close.split_first_chunk()?;
        Some(CloseFrame { code: u16::from_be_bytes(*code), reason: String::from_utf8_lossy(reason).into() })
    }

    fn judge_close(&self) -> Result<(), Breach> {
        let reason = self.close.get(2..).unwrap_or_default();
        match self.close() {
            Some(_) if str::from_utf8(reason).is_err() => Err(Breach::Reason),
            Some(frame) if !close::may_be_sent(frame.code) => Err(Breach::Code(frame)),
            Some(_) | None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whole frames, one after the other; answers with what broke which rule, and with which byte, where one did.
    fn judged(max: usize, bytes: &[u8]) -> Result<FrameRules, (usize, Breach)> {
        let (mut rules, mut at) = (FrameRules::new(max), 0);
        while at < bytes.len() {
            let first = bytes[at];
            rules.first(first).map_err(|breach| (at, breach))?;
            let Some(second) = bytes.get(at + 1) else { break };
            rules.second(first, *second).map_err(|breach| (at + 1, breach))?;
            let (head, length) = match (second, &bytes[at + 2..]) {
                (126, [high, low, ..]) => (4, u16::from_be_bytes([*high, *low]).into()),
                (127, rest) => (10, u64::from_be_bytes(*rest.first_chunk().unwrap())),
                (short, _) => (2, u64::from(*short)),
            };
            at += head;
            rules.length(first, length, head).map_err(|breach| (at - 1, breach))?;
            for byte in bytes[at..].iter().take(usize::try_from(length).unwrap()) {
                rules.body(first, &[*byte]).map_err(|breach| (at, breach))?;
                at += 1;
            }
            rules.end(first).map_err(|breach| (at, breach))?;
        }
        Ok(rules)
    }

    fn breach(bytes: &[u8]) -> Option<(usize, Breach)> {
        judged(1 << 20, bytes).err()
    }

    #[test]
    fn each_rule_is_broken_by_the_first_byte_that_can_be_none_of_its_own() {
        let code = |code| Breach::Code(CloseFrame { code, reason: "why".into() });
        let table: [(&[u8], usize, Breach); 24] = [
            (&[0xC1], 0, Breach::ReservedBits),
            (&[0x81, 0, 0xA1], 2, Breach::ReservedBits),
            (&[0x01, 0, 0xC0], 2, Breach::ReservedBits),
            (&[0x83], 0, Breach::ReservedOpcode(3)),
            (&[0x0B], 0, Breach::ReservedOpcode(11)),
            (&[0x81, 0x80], 1, Breach::Masked),
            (&[0x88, 0x82], 1, Breach::Masked),
            (&[0x82, 126, 0, 125], 3, Breach::LongForm),
            (&[0x82, 127, 0, 0, 0, 0, 0, 0, 0xFF, 0xFF], 9, Breach::LongForm),
            (&[0x82, 127, 0x80, 0, 0, 0, 0, 0, 0, 1], 9, Breach::FirstBit),
            (&[0x09], 0, Breach::FragmentedControl),
            (&[0x01, 0, 0x08], 2, Breach::FragmentedControl),
            (&[0x89, 126], 1, Breach::LongControl),
            (&[0x88, 127], 1, Breach::LongControl),
            (&[0x80], 0, Breach::NothingToContinue),
            (&[0x01, 0, 0x80, 0, 0x00], 4, Breach::NothingToContinue),
            (&[0x02, 1, b'a', 0x89, 0, 0x81], 5, Breach::Interrupted),
            (&[0x81, 9, b'a', 0xC3, 0x28], 4, Breach::NotUtf8),
            (&[0x01, 1, 0xC3, 0x8A, 1, 0xFF, 0x00, 5, 0x28], 8, Breach::NotUtf8),
            (&[0x01, 1, 0xC3, 0x80, 0], 5, Breach::NotUtf8),
            (&[0x88, 1], 1, Breach::HalfCode),
            (&[0x88, 5, 0x03, 0xED, b'w', b'h', b'y'], 7, code(1005)),
            (&[0x88, 5, 0x00, 0x00, b'w', b'h', b'y'], 7, code(0)),
            (&[0x88, 3, 0x03, 0xE8, 0xFF], 5, Breach::Reason),
        ];
        for (bytes, at, rule) in table {
            assert_eq!(breach(bytes), Some((at, rule)), "{bytes:x?}");
        }
    }

    #[test]
    fn what_keeps_to_the_rules_is_let_through_and_the_last_close_is_known() {
        let parts: [&[u8]; 8] = [
            &[0x01, 1, 0xC3, 0x8A, 1, 0xFF, 0x00, 0, 0x80, 1, 0xA9],
            &[0x82, 126, 0, 126],
            &[0; 126],
            &[0x02, 2, 0xFF, 0xFF, 0x80, 1, 0xFF],
            &[0x89, 125],
            &[0xFF; 125],
            &[0x88, 0],
            &[0x88, 4, 0x03, 0xF6, b'o', b'k'],
        ];
        let rules = judged(126, &parts.concat()).unwrap();
        assert_eq!(rules.close(), Some(CloseFrame { code: 1014, reason: "ok".into() }));
        assert_eq!(judged(1, &[0x88, 0]).unwrap().close(), None);
        assert_eq!(judged(1, &[0x81, 0]).unwrap().close.capacity(), 0);
    }

    #[test]
    fn a_message_is_too_big_when_its_frames_say_so_and_not_when_they_are_there() {
        let too_big = |bytes: &[u8]| judged(3, bytes).err();
        let breach = |at| Some((at, Breach::TooBig { max: 3 }));
        assert_eq!(too_big(&[0x82, 4]), breach(1));
        assert_eq!(too_big(&[0x02, 2, 1, 2, 0x89, 9, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x00, 2]), breach(16));
        assert_eq!(too_big(&[0x02, 2, 1, 2, 0x80, 1, 3, 0x82, 3, 1, 2, 3]), None);
        assert_eq!(too_big(&[0x82, 127, 0x7F, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF]), breach(9));
    }

    #[test]
    fn of_all_codes_those_that_the_rfc_and_the_registry_give_to_the_wire_are_taken() {
        // As Python's `websockets` has them: EXTERNAL_CLOSE_CODES and the ranges of RFC 6455 §7.4.2.
        let external = [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014];
        for code in 0..=u16::MAX {
            let is_allowed = external.contains(&code) || (3000..5000).contains(&code);
            let [high, low] = code.to_be_bytes();
            let frame = CloseFrame { code, reason: "".into() };
            assert_eq!(frame.answer(), if is_allowed { code } else { 1002 });
            match breach(&[0x88, 2, high, low]) {
                None => assert!(is_allowed, "{code}"),
                Some((_, breach)) => assert!(!is_allowed && breach == Breach::Code(frame), "{code}"),
            }
        }
    }
}
