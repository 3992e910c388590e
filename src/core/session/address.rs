//! Where at a broker a message goes: a text with values of the message in it, `md.${json:/s}`.
//!
//! What a reader would get wrong: a value is one word of the address, whatever stands in it. What would make two words of it, or a pattern, or
//! another's address, is written as `%` and two digits, as in a URL, and so is `%`: two values never make the same address.

use std::fmt::Write as _;

use super::{Document, Pointer, Value};

/// A longer address is none.
const MAX: usize = 512;

/// A text with values of a message in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    source: Box<str>,
    pieces: Box<[Piece]>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Text(Box<str>),
    Json(Pointer),
}

/// Why a text is no address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AddressFault {
    /// `${` without an end.
    Open,
    /// A reference to something else.
    Reference,
    /// What stands behind `json:` is no pointer to one place.
    Pointer,
}

/// Why a message has no address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unaddressed {
    /// It has nothing there, or is no JSON.
    Nothing(Box<str>),
    /// What it has there is no text, number or boolean, or an empty text.
    NoWord(Box<str>),
    /// The address would be too long.
    TooLong,
}

impl std::fmt::Display for Unaddressed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Nothing(at) => write!(f, "a message has nothing at {at}"),
            Self::NoWord(at) => write!(f, "what a message has at {at} is no text, number or boolean, or is empty"),
            Self::TooLong => write!(f, "a message would go to an address of more than {MAX} bytes"),
        }
    }
}

impl Address {
    /// Reads one. `$${` is `${`.
    pub fn parse(source: &str) -> Result<Self, AddressFault> {
        let (mut pieces, mut text, mut rest) = (Vec::new(), String::new(), source);
        while let Some(at) = rest.find("${") {
            if let Some(before) = rest.get(..at).and_then(|before| before.strip_suffix('$')) {
                text.push_str(before);
                text.push_str("${");
                rest = &rest[at + 2..];
                continue;
            }
            text.push_str(&rest[..at]);
            let (name, behind) = rest[at + 2..].split_once('}').ok_or(AddressFault::Open)?;
            let pointer = name.strip_prefix("json:").ok_or(AddressFault::Reference)?;
            let pointer = Pointer::parse(pointer).filter(Pointer::is_plain).ok_or(AddressFault::Pointer)?;
            if !text.is_empty() {
                pieces.push(Piece::Text(std::mem::take(&mut text).into()));
            }
            pieces.push(Piece::Json(pointer));
            rest = behind;
        }
        text.push_str(rest);
        if !text.is_empty() {
            pieces.push(Piece::Text(text.into()));
        }
        Ok(Self { source: source.into(), pieces: pieces.into() })
    }

    /// As it was written.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// Whether every message has the same.
    pub fn is_fixed(&self) -> bool {
        self.pieces.iter().all(|piece| matches!(piece, Piece::Text(_)))
    }

    /// With this word for each value.
    pub fn with(&self, word: &str) -> String {
        let piece = |piece: &Piece| match piece {
            Piece::Text(text) => text.to_string(),
            Piece::Json(_) => word.to_owned(),
        };
        self.pieces.iter().map(piece).collect()
    }

    /// That of a message. A longer one than `max_json` is not read. What is not `is_plain` is written as `%` and two digits.
    pub fn of(&self, message: &[u8], max_json: usize, is_plain: fn(char) -> bool) -> Result<String, Unaddressed> {
        let mut document = None;
        let mut address = String::new();
        for piece in &self.pieces {
            match piece {
                Piece::Text(text) => address.push_str(text),
                Piece::Json(at) => {
                    let document = document.get_or_insert_with(|| Document::read(message, max_json));
                    let value = document.first(at).ok_or_else(|| Unaddressed::Nothing(at.source().into()))?;
                    let word = match value {
                        Value::String(text) if !text.is_empty() => text,
                        Value::Number(number) => number.to_string(),
                        Value::Bool(is) => is.to_string(),
                        Value::String(_) | Value::Null | Value::Array(_) | Value::Object(_) => {
                            return Err(Unaddressed::NoWord(at.source().into()));
                        }
                    };
                    push_word(&mut address, &word, is_plain);
                }
            }
            if address.len() > MAX {
                return Err(Unaddressed::TooLong);
            }
        }
        Ok(address)
    }
}

fn push_word(address: &mut String, word: &str, is_plain: fn(char) -> bool) {
    for letter in word.chars() {
        if letter != '%' && is_plain(letter) {
            address.push(letter);
            continue;
        }
        for byte in letter.encode_utf8(&mut [0; 4]).bytes() {
            // Writing to memory does not fail.
            let _ = write!(address, "%{byte:02X}");
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn is_plain(letter: char) -> bool {
        !(letter.is_whitespace() || letter.is_control() || ".*>$".contains(letter))
    }

    fn of(address: &str, message: &str) -> Result<String, Unaddressed> {
        Address::parse(address).unwrap().of(message.as_bytes(), 1 << 10, is_plain)
    }

    #[test]
    fn values_of_a_message_are_words_of_its_address() {
        let message = r#"{ "s": "BTCUSDT", "n": 7, "b": true, "deep": { "a": [1, "x"] } }"#;
        for (address, wanted) in [
            ("md", "md"),
            ("md.${json:/s}", "md.BTCUSDT"),
            ("${json:/n}.${json:/b}.${json:/deep/a/1}.end", "7.true.x.end"),
            ("$${json:/s}.${json:/s}", "${json:/s}.BTCUSDT"),
        ] {
            assert_eq!(of(address, message).as_deref(), Ok(wanted));
        }
    }

    #[test]
    fn a_value_makes_neither_two_words_nor_a_pattern_nor_the_address_of_another_value() {
        for (value, wanted) in [
            ("BRK.B", "md.BRK%2EB"),
            ("BRK%2EB", "md.BRK%252EB"),
            ("a b", "md.a%20b"),
            (">", "md.%3E"),
            ("*", "md.%2A"),
            ("$SYS", "md.%24SYS"),
            ("a\r\nPUB x 0", "md.a%0D%0APUB%20x%200"),
            ("é", "md.é"),
        ] {
            let message = format!("{{\"s\":{}}}", Value::from(value));
            assert_eq!(of("md.${json:/s}", &message).as_deref(), Ok(wanted));
        }
    }

    #[test]
    fn a_message_without_a_word_there_has_no_address() {
        let at = || "/s".into();
        for (message, wanted) in [
            ("{}", Unaddressed::Nothing(at())),
            ("no json", Unaddressed::Nothing(at())),
            (r#"{"s":""}"#, Unaddressed::NoWord(at())),
            (r#"{"s":null}"#, Unaddressed::NoWord(at())),
            (r#"{"s":["a"]}"#, Unaddressed::NoWord(at())),
        ] {
            assert_eq!(of("md.${json:/s}", message), Err(wanted), "{message}");
        }
        let long = format!("{{\"s\":\"{}\"}}", "x".repeat(MAX));
        assert_eq!(of("md.${json:/s}", &long), Err(Unaddressed::TooLong));
        let unread = format!("{{\"s\":\"a\",\"x\":\"{}\"}}", "x".repeat(1 << 10));
        assert_eq!(of("md.${json:/s}", &unread), Err(Unaddressed::Nothing(at())), "longer than is read");
    }

    #[test]
    fn a_text_that_is_no_address_says_why() {
        for (address, wanted) in [
            ("md.${json:/s", AddressFault::Open),
            ("md.${env:HOME}", AddressFault::Reference),
            ("md.${json:s}", AddressFault::Pointer),
            ("md.${json:/*/s}", AddressFault::Pointer),
        ] {
            assert_eq!(Address::parse(address), Err(wanted));
        }
        assert_eq!(Address::parse("md.${json:/s}").unwrap().with("gap"), "md.gap");
    }

    proptest! {
        #[test]
        fn two_values_never_make_one_address(one in ".*", other in ".*") {
            let of = |value: &str| of("${json:/s}", &format!("{{\"s\":{}}}", Value::from(value)));
            if let (Ok(first), Ok(second)) = (of(&one), of(&other)) {
                prop_assert_eq!(first == second, one == other);
                prop_assert!(first.chars().all(|letter| letter == '%' || is_plain(letter)));
            }
        }
    }
}
