//! The form of data frames (RFC 6455 §5.2): their heads, and the masks of what a client sends.
//!
//! What a reader would get wrong: a mask hides nothing. It is there so that what a client sends cannot be chosen by whoever gave it the
//! data, which is why its key must not be known before (§5.3); here keys come in, as all chance does.

use super::message::Kind;

/// The bit of the last frame of a message.
pub const FIN: u8 = 0x80;
/// RSV1, RSV2 and RSV3, in a frame's first byte.
pub const RESERVED: u8 = 0x70;
/// The opcode, in a frame's first byte.
pub const OPCODE: u8 = 0x0F;
/// The bit that the opcodes of control frames have.
pub const CONTROL: u8 = 0x08;
/// The opcode of a frame that continues a message.
pub const CONTINUATION: u8 = 0x0;
/// The opcode of a text message's first frame.
pub const TEXT: u8 = 0x1;
/// The opcode of a binary message's first frame.
pub const BINARY: u8 = 0x2;
/// The opcode of a Close.
pub const CLOSE: u8 = 0x8;
/// The opcode of a ping.
pub const PING: u8 = 0x9;
/// The opcode of a pong.
pub const PONG: u8 = 0xA;
/// In the byte of the length: there is a mask.
pub const MASKED: u8 = 0x80;

/// The most bytes of a control frame's body (§5.5).
pub const CONTROL_MAX: u8 = 125;

/// In place of a length: it follows, in two bytes or in eight.
const SHORT_LENGTH: u8 = 0x7E;
const LONG_LENGTH: u8 = 0x7F;

/// The opcode of a message's first frame.
pub const fn opcode(kind: Kind) -> u8 {
    match kind {
        Kind::Text => TEXT,
        Kind::Binary => BINARY,
    }
}

/// A frame's bytes before its payload.
#[derive(Debug, Clone, Copy)]
pub struct Head {
    bytes: [u8; 14],
    len: usize,
}

impl Head {
    /// Of a frame of so many bytes, whose first byte this is. What is masked has its key in it.
    #[inline]
    pub fn new(first: u8, len: usize, key: Option<[u8; 4]>) -> Self {
        let mut head = Self { bytes: [0; 14], len: 0 };
        let mask = if key.is_some() { MASKED } else { 0 };
        match (u8::try_from(len), u16::try_from(len)) {
            (Ok(short @ ..126), _) => head.put([first, mask | short]),
            (_, Ok(long)) => {
                head.put([first, mask | SHORT_LENGTH]);
                head.put(long.to_be_bytes());
            }
            (_, Err(_)) => {
                head.put([first, mask | LONG_LENGTH]);
                head.put((len as u64).to_be_bytes());
            }
        }
        if let Some(key) = key {
            head.put(key);
        }
        head
    }

    #[inline]
    fn put<const N: usize>(&mut self, part: [u8; N]) {
        self.bytes[self.len..self.len + N].copy_from_slice(&part);
        self.len += N;
    }

    /// All of them.
    #[inline]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

/// Masks a whole payload, or takes its mask off.
#[inline]
pub fn mask(payload: &mut [u8], [a, b, c, d]: [u8; 4]) {
    let key = [a, b, c, d, a, b, c, d];
    let long = u64::from_ne_bytes(key);
    let (words, rest) = payload.as_chunks_mut::<8>();
    for word in words {
        *word = (u64::from_ne_bytes(*word) ^ long).to_ne_bytes();
    }
    for (byte, key) in rest.iter_mut().zip(key) {
        *byte ^= key;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_has_the_shortest_length_that_there_is_and_the_key_behind_it() {
        assert_eq!(Head::new(0x81, 125, None).bytes(), [0x81, 125]);
        assert_eq!(Head::new(0x02, 126, Some([1, 2, 3, 4])).bytes(), [0x02, 0xFE, 0, 126, 1, 2, 3, 4]);
        assert_eq!(Head::new(0x80, 65_536, None).bytes(), [0x80, 127, 0, 0, 0, 0, 0, 1, 0, 0]);
        assert_eq!(Head::new(0x80, 65_536, Some([9; 4])).bytes().len(), 14);
    }

    #[test]
    fn each_byte_is_masked_by_the_one_of_the_key_in_its_turn() {
        let key = [0xF1, 2, 3, 4];
        for len in 0..40 {
            let payload: Vec<u8> = (0..len).collect();
            let mut masked = payload.clone();
            mask(&mut masked, key);
            let by_hand = payload.iter().zip(key.iter().cycle()).map(|(byte, key)| byte ^ key);
            assert!(masked.iter().copied().eq(by_hand));
            mask(&mut masked, key);
            assert_eq!(masked, payload);
        }
    }
}
