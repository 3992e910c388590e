//! JSON as programs really write it.
//!
//! `JSON.stringify` of older engines, and Python's `json.dumps`, write half of a surrogate pair as an escape, which is no
//! character and which a strict reader refuses. Here it becomes U+FFFD, as it does wherever text becomes UTF-8 (WHATWG Encoding).

use std::{borrow::Cow, fmt};

use serde::de::DeserializeOwned;

/// Reads a value.
pub fn read<T: DeserializeOwned>(text: &[u8]) -> Result<T, Complaint> {
    let text = text.strip_prefix(BOM).unwrap_or(text);
    // Most texts are whole, and need not be looked through for halves.
    let read = serde_json::from_slice(text).or_else(|error| match mended(text) {
        Cow::Borrowed(_) => Err(error),
        Cow::Owned(mended) => serde_json::from_slice(&mended),
    });
    read.map_err(Complaint)
}

/// Why a value cannot be read. What the library says of it, but in words of JSON: it names the types of this program.
#[derive(Debug)]
pub struct Complaint(serde_json::Error);

impl fmt::Display for Complaint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let said = self.0.to_string();
        // The last of them: what comes before may quote the text.
        let Some((found, wanted)) = said.rsplit_once(EXPECTED) else { return f.write_str(&said) };
        for (kind, has_name, word) in TYPES {
            let Some(rest) = wanted.strip_prefix(kind) else { continue };
            let rest = if has_name { rest.find(' ').map_or("", |at| &rest[at..]) } else { rest };
            return write!(f, "{found}{EXPECTED}{word}{rest}");
        }
        f.write_str(&said)
    }
}

const EXPECTED: &str = ", expected ";
/// How the library calls a type, whether that is followed by its name, and how it is called here.
const TYPES: [(&str, bool, &str); 4] = [
    ("struct ", true, "an object"),
    ("internally tagged enum ", true, "an object"),
    ("u16", false, "a whole number from 0 to 65535"),
    ("u32", false, "a whole number from 0 to 4294967295"),
];

/// What some editors and shells write before UTF-8 (RFC 8259 §8.1 lets a reader ignore it).
pub const BOM: &[u8] = b"\xef\xbb\xbf";
/// How long an escape of a code unit is.
const ESCAPE: usize = 6;

/// The text with U+FFFD in place of each half of a pair that stands alone.
fn mended(text: &[u8]) -> Cow<'_, [u8]> {
    let mut mended = Cow::Borrowed(text);
    let mut at = 0;
    while let Some(next) = text.get(at..).and_then(|rest| rest.iter().position(|byte| *byte == b'\\')) {
        at += next;
        at += match (unit(text, at), unit(text, at + ESCAPE)) {
            (Some(0xd800..=0xdbff), Some(0xdc00..=0xdfff)) => 2 * ESCAPE,
            (Some(0xd800..=0xdfff), _) => {
                mended.to_mut()[at + 2..at + ESCAPE].copy_from_slice(b"fffd");
                ESCAPE
            }
            (Some(_), _) => ESCAPE,
            // Another escape: a backslash and what it stands before.
            (None, _) => 2,
        };
    }
    mended
}

/// The code unit that is escaped here.
fn unit(text: &[u8], at: usize) -> Option<u16> {
    let digits = text.get(at..at.checked_add(ESCAPE)?)?.strip_prefix(b"\\u")?;
    digits.iter().try_fold(0, |unit, digit| {
        let digit = char::from(*digit).to_digit(16).and_then(|digit| u16::try_from(digit).ok())?;
        Some(unit << 4 | digit)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(json: &str) -> Option<String> {
        read(json.as_bytes()).ok()
    }

    #[test]
    fn half_a_pair_becomes_the_replacement_character() {
        for (json, wanted) in [
            (r#""\ud800""#, "\u{fffd}"),
            (r#""\uDFFF""#, "\u{fffd}"),
            (r#""a\udbffb""#, "a\u{fffd}b"),
            (r#""\ud83d\ude00""#, "\u{1f600}"),
            (r#""\ude00\ud83d""#, "\u{fffd}\u{fffd}"),
            (r#""\ud83d\ud83d\ude00""#, "\u{fffd}\u{1f600}"),
            (r#""\ud83d\n""#, "\u{fffd}\n"),
            (r#""\ud83d\\ude00""#, "\u{fffd}\\ude00"),
            (r#""\\ud800""#, "\\ud800"),
            (r#""\\\ud800""#, "\\\u{fffd}"),
            (r#""\u00e9\"""#, "\u{e9}\""),
            ("\u{feff}\"x\"", "x"),
        ] {
            assert_eq!(text(json).as_deref(), Some(wanted), "{json}");
        }
    }

    #[test]
    fn a_complaint_is_in_words_of_json() {
        #[derive(Debug, serde::Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Line {
            #[allow(dead_code, reason = "it is read")]
            data: String,
            #[allow(dead_code, reason = "it is read")]
            link: Option<u32>,
        }
        for (json, wanted) in [
            ("1", "invalid type: integer `1`, expected an object at line 1 column 1"),
            ("[]", "invalid length 0, expected an object with 2 elements at line 1 column 2"),
            (r#"{"data":"","link":-1}"#, "integer `-1`, expected a whole number from 0 to 4294967295 at"),
            (r#"{"data":"","link":", expected struct X"}"#, "expected struct X\", expected a whole number from 0"),
            (r#"{"data":1}"#, "integer `1`, expected a string at"),
            ("{}", "missing field `data` at"),
            (r#"{"x":1}"#, "unknown field `x`, expected `data` or `link` at"),
        ] {
            let said = read::<Line>(json.as_bytes()).unwrap_err().to_string();
            assert!(said.contains(wanted), "{json}: {said}");
        }
    }

    #[test]
    fn what_is_no_json_stays_none() {
        for json in [r#""\ud8""#, r#""\ud80g""#, r#""\"#, r"\ud800", r#""\ud800"#, r#""\x""#, "", "\u{feff}"] {
            assert_eq!(text(json), None, "{json}");
        }
    }

    proptest::proptest! {
        /// Whole text is never changed, and halves of pairs are read as by the encoding's own rules.
        #[test]
        fn code_units_are_read_as_utf16_is(units in proptest::collection::vec(
            proptest::prop_oneof![0xd7fe_u16..0xe002, 0x20_u16..0x7f], 0..12)) {
            let escaped: Vec<_> = units.iter().map(|unit| format!("\\u{unit:04x}")).collect();
            let read = text(&format!("\"{}\"", escaped.concat()));
            proptest::prop_assert_eq!(read, Some(String::from_utf16_lossy(&units)));
        }
    }
}
