//! What RFC 6455 and RFC 7692 demand of a client, section by section, in the RFCs' order and in few words.
//!
//! Every demand has a row somewhere in the tables, or a test in `sends`, that names it; a test in `main` finds one that has none, and a row
//! that names something else.

/// A section, a slash and a word; and what it demands.
pub const DEMANDS: &[(&str, &str)] = &[
    // RFC 6455: the opening handshake, the request.
    ("4.1/request", "the request is a GET of HTTP/1.1 with Host, Upgrade: websocket and Connection: Upgrade"),
    ("4.1/key", "Sec-WebSocket-Key is 16 random bytes in base64, others for each connection"),
    ("4.1/version", "Sec-WebSocket-Version is 13"),
    ("4.1/offers", "subprotocols and extensions are those that are wanted, in order of preference"),
    // The same, the answer.
    ("4.1/status", "an answer other than 101 opens nothing"),
    ("4.1/upgrade", "without Upgrade: websocket, in any case, the connection fails"),
    ("4.1/connection", "without the token Upgrade in Connection, in any case, the connection fails"),
    ("4.1/accept", "without the Sec-WebSocket-Accept that answers the key the connection fails"),
    ("4.1/extension", "an extension that was not asked for fails the connection"),
    ("4.1/subprotocol", "a subprotocol that was not asked for fails the connection"),
    // RFC 6455: framing.
    ("5.1/mask", "a client masks every frame that it sends"),
    ("5.1/masked", "a client fails the connection on a masked frame"),
    ("5.2/rsv", "a reserved bit that no extension uses fails the connection"),
    ("5.2/opcode", "an unknown opcode fails the connection"),
    ("5.2/minimal", "a length has the shortest form that there is"),
    ("5.2/first-bit", "the first bit of a length of eight bytes is 0"),
    ("5.3/key", "each frame has a masking key of its own, chosen by chance"),
    ("5.4/fragments", "messages in fragments and in one frame are understood alike, an empty fragment too"),
    ("5.4/control", "control frames between fragments are understood where they stand"),
    ("5.4/begun", "a continuation continues a message that has begun"),
    ("5.4/interleaved", "the fragments of one message are not interleaved with another"),
    ("5.5/length", "a control frame has 125 bytes at most"),
    ("5.5/whole", "a control frame is not fragmented"),
    ("5.5.1/body", "the body of a Close is empty, or a code of two bytes and a reason in UTF-8"),
    ("5.5.1/answer", "a Close is answered with a Close, soon and with its code"),
    ("5.5.1/last", "nothing follows the Close that was sent"),
    ("5.5.2/ping", "a ping is answered with a pong"),
    ("5.5.3/payload", "a pong has the bytes of its ping"),
    ("5.5.3/latest", "of several pings that wait the last is answered at least"),
    ("5.5.3/unasked", "a pong that nobody asked for has no answer"),
    ("5.6/types", "text stays text, binary stays binary, whatever its bytes are"),
    ("5.8/extensions", "without an extension frames mean what §5.2 says"),
    // RFC 6455: sending and receiving.
    ("6.1/send", "a message is sent while the connection is OPEN, in frames with the opcode of its type"),
    ("6.2/receive", "a message is delivered when its last frame is there, and not before"),
    ("6.2/first", "the type of a message is that of its first frame"),
    // RFC 6455: closing.
    ("7.1.4/clean", "the end is clean if both Close frames went before the end of TCP"),
    ("7.1.5/code", "the code is that of the first Close received: 1005 if it had none, 1006 if none came"),
    ("7.1.6/reason", "the reason is that of the same Close, or empty"),
    ("7.1.7/fail", "a connection that fails ends with a Close that says why, and what comes then is not processed"),
    ("7.2.1/lost", "an end of TCP without a Close is a lost connection"),
    ("7.4.1/never", "1005, 1006 and 1015 are on no wire"),
    ("7.4.2/ranges", "0 to 999 are no codes, 1000 to 2999 are those that are registered, 3000 to 4999 are free"),
    ("8.1/utf-8", "text that is no UTF-8 fails the connection, in whatever place it is cut"),
    ("10.4/limits", "a message that is too large for this end fails the connection with 1009"),
    // RFC 7692: what is agreed on.
    ("7692 5.1/unasked", "an answer with permessage-deflate where it was not offered fails the connection"),
    ("7692 7.1/unknown", "an answer with a parameter that is not known fails the connection"),
    ("7692 7.1/twice", "an answer with a parameter, or the extension, twice fails the connection"),
    ("7692 7.1/value", "an answer with a value that may not be fails the connection"),
    ("7692 7.1/offer", "an answer that does not fit the offer fails the connection"),
    ("7692 7.1.2/bits", "window bits are 8 to 15, in digits without a leading zero"),
    // RFC 7692: messages.
    ("7692 6/first", "RSV1 is on the first frame of a message and on no other"),
    ("7692 6/control", "RSV1 is on no control frame"),
    ("7692 6/either", "a message without RSV1 is not compressed, where compression was agreed on too"),
    ("7692 6.2/fragments", "the fragments of a compressed message are inflated as one"),
    ("7692 7.2.2/inflate", "a message is inflated with 00 00 ff ff behind it"),
    ("7692 7.2.2/corrupt", "what cannot be inflated fails the connection"),
    ("7692 7.2.3/blocks", "blocks of every kind are understood, final ones in the middle too"),
    ("7692 7.2.3/context", "without context take-over a message refers to none before it"),
    ("7692 8/after", "what RFC 6455 demands of a message holds of what was inflated"),
];
