//! UTF-8 checked while it arrives (RFC 6455 §8.1), so that a wrong byte is found before the rest of the message is there.
//!
//! What a reader would get wrong: a part may end in the middle of a character. That is right as long as further bytes can complete it.

use std::str;

/// The check of a text. It keeps only the bytes of a character that is not complete.
#[derive(Debug, Clone, Default)]
pub struct Utf8 {
    begun: [u8; 4],
    length: u8,
}

/// How many bytes at the front are complete characters. `None` if no further bytes can make this UTF-8.
pub fn whole_characters(bytes: &[u8]) -> Option<usize> {
    // Most text is ASCII, and that check is several times as fast.
    if bytes.is_ascii() {
        return Some(bytes.len());
    }
    match str::from_utf8(bytes) {
        Ok(_) => Some(bytes.len()),
        Err(error) if error.error_len().is_none() => Some(error.valid_up_to()),
        Err(_) => None,
    }
}

impl Utf8 {
    /// Adds the next bytes. Returns whether the text can still be UTF-8.
    #[must_use]
    pub fn add(&mut self, mut bytes: &[u8]) -> bool {
        while self.length > 0
            && let [byte, rest @ ..] = bytes
        {
            // An incomplete character has at most three bytes.
            self.begun[usize::from(self.length)] = *byte;
            self.length += 1;
            bytes = rest;
            match whole_characters(&self.begun[..self.length.into()]) {
                None => return false,
                Some(0) => {}
                Some(_) => self.length = 0,
            }
        }
        let Some(whole) = whole_characters(bytes) else { return false };
        for byte in &bytes[whole..] {
            self.begun[usize::from(self.length)] = *byte;
            self.length += 1;
        }
        true
    }

    /// Whether the text does not end in the middle of a character.
    pub fn is_whole(&self) -> bool {
        self.length == 0
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// How many of these bytes are taken, one by one, before one is refused.
    fn taken(bytes: &[u8]) -> usize {
        let mut text = Utf8::default();
        bytes.iter().take_while(|byte| text.add(&[**byte])).count()
    }

    #[test]
    fn a_wrong_byte_is_refused_when_it_comes_and_not_later() {
        for (bytes, at) in [
            (&b"\xCE\xBA\xE1\xBD\xB9\xED\xA0\x80"[..], 6),
            (b"a\xF4\x90\x80\x80", 2),
            (b"\xC0\xAF", 0),
            (b"\xE0\x80\xAF", 1),
            (b"\xF0\x80\x80\xAF", 1),
            (b"\xF5", 0),
            (b"\x80", 0),
            (b"\xE2\x82a", 2),
        ] {
            assert_eq!(taken(bytes), at, "{bytes:x?}");
        }
        assert_eq!(taken("é€𐍈\u{10FFFF}".as_bytes()), 13);
    }

    proptest! {
        #[test]
        fn however_it_is_cut_it_is_what_it_is_as_a_whole(
            bytes in prop_oneof![
                "\\PC{0,30}".prop_map(String::into_bytes),
                prop::collection::vec(prop_oneof![Just(0xC3), Just(0xE2), Just(0xF0), Just(0xF4), 0x80_u8..0xC0, any::<u8>()], 0..12),
            ],
            cuts in prop::collection::vec(0_usize..5, 1..30),
        ) {
            let (mut text, mut rest) = (Utf8::default(), &bytes[..]);
            let mut takes = true;
            for cut in cuts.iter().cycle().take(400) {
                let (part, behind) = rest.split_at(rest.len().min(*cut));
                takes = takes && text.add(part);
                rest = behind;
            }
            takes = takes && text.add(rest);
            prop_assert_eq!(takes && text.is_whole(), str::from_utf8(&bytes).is_ok());
            let prefix = taken(&bytes);
            let fits = |end: usize| whole_characters(&bytes[..end]).is_some();
            prop_assert!(fits(prefix) && (prefix == bytes.len() || !fits(prefix + 1)));
        }
    }
}
