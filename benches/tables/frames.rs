//! WebSocket frames as bytes (RFC 6455 §5.2), as far as a load generator needs them.
//!
//! The harness must cost less than what it measures, so it reads many frames from one buffer and copies none. It is not
//! strict: what it talks to are real WebSocket programs, and the numbers of messages and bytes are checked.

/// Opcodes.
pub(crate) const CONTINUATION: u8 = 0;
pub(crate) const TEXT: u8 = 1;
pub(crate) const CLOSE: u8 = 8;
pub(crate) const PING: u8 = 9;
pub(crate) const PONG: u8 = 10;
/// The bit beside an opcode that says that the message is compressed (RFC 7692 §6).
pub(crate) const COMPRESSED: u8 = 0x40;

/// The key with which the harness masks as a client. A fixed one will do: nobody attacks it.
pub(crate) const KEY: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

/// The beginning of a frame.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Head {
    pub(crate) opcode: u8,
    pub(crate) is_last: bool,
    pub(crate) is_compressed: bool,
    pub(crate) is_masked: bool,
    /// Bytes before the payload.
    header: usize,
    length: usize,
}

impl Head {
    /// Whether a message ends with it.
    pub(crate) fn ends_message(self) -> bool {
        self.is_last && self.opcode < CLOSE
    }

    fn read(bytes: &[u8]) -> Option<Self> {
        let [first, second, rest @ ..] = bytes else { return None };
        let (extended, length) = match second & 0x7f {
            126 => (2, usize::from(u16::from_be_bytes(rest.get(..2)?.try_into().ok()?))),
            127 => (8, usize::try_from(u64::from_be_bytes(rest.get(..8)?.try_into().ok()?)).ok()?),
            short => (0, usize::from(short)),
        };
        let is_masked = second & 0x80 != 0;
        let header = 2 + extended + if is_masked { 4 } else { 0 };
        let (is_last, is_compressed) = (first & 0x80 != 0, first & COMPRESSED != 0);
        Some(Self { opcode: first & 0x0f, is_last, is_compressed, is_masked, header, length })
    }
}

/// Calls `take` for each whole frame with its payload, unmasked, and answers with the bytes that they were.
pub(crate) fn each(bytes: &mut [u8], mut take: impl FnMut(Head, &[u8])) -> usize {
    let mut at = 0;
    while let Some(head) = Head::read(&bytes[at..]) {
        let body = at + head.header;
        let Some(payload) = bytes.get_mut(body..body + head.length) else { break };
        at = body + head.length;
        if head.is_masked {
            let (before, payload) = bytes[..at].split_at_mut(body);
            mask(payload, &before[body - 4..]);
            take(head, payload);
        } else {
            take(head, payload);
        }
    }
    at
}

/// Appends a frame; as a client where `masked`.
pub(crate) fn append(out: &mut Vec<u8>, opcode: u8, is_last: bool, payload: &[u8], masked: bool) {
    out.push(opcode | if is_last { 0x80 } else { 0 });
    let flag = if masked { 0x80 } else { 0 };
    match payload.len() {
        short @ ..126 => out.push(flag | u8::try_from(short).unwrap_or_default()),
        long => {
            if let Ok(long) = u16::try_from(long) {
                out.push(flag | 0x7e);
                out.extend(long.to_be_bytes());
            } else {
                out.push(flag | 0x7f);
                out.extend((long as u64).to_be_bytes());
            }
        }
    }
    if masked {
        out.extend(KEY);
    }
    let body = out.len();
    out.extend_from_slice(payload);
    if masked {
        mask(&mut out[body..], &KEY);
    }
}

/// One whole message of text in a frame.
pub(crate) fn text(bytes: usize, masked: bool) -> Vec<u8> {
    let mut out = Vec::new();
    append(&mut out, TEXT, true, &vec![b'x'; bytes], masked);
    out
}

fn mask(payload: &mut [u8], key: &[u8]) {
    let Ok(key) = <[u8; 4]>::try_from(key) else { return };
    let wide = u64::from(u32::from_ne_bytes(key)) * 0x1_0000_0001;
    let mut words = payload.chunks_exact_mut(8);
    for word in &mut words {
        if let Ok(bytes) = <[u8; 8]>::try_from(&*word) {
            word.copy_from_slice(&(u64::from_ne_bytes(bytes) ^ wide).to_ne_bytes());
        }
    }
    for (byte, key) in words.into_remainder().iter_mut().zip(key.iter().cycle()) {
        *byte ^= key;
    }
}
