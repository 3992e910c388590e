//! What was told to a peer in confidence, found again in what the peer says, however it spells it there.
//!
//! What a reader would get wrong: escapes are not listed, they are read. Text and secrets are both read as often as they can be read
//! (`%41`, `\u0041`, `&#65;`, and these in one another), and what they are read as is compared. Only base64 and hexadecimal, which a text
//! does not show by a sign, are forms of a secret.

use std::{collections::BTreeMap, fmt::Write as _, iter};

/// What stands in place of a secret.
pub const HIDDEN: &str = "***";
/// Shorter ones stand in any text, and hiding them would say where.
const SECRET_MIN: usize = 3;
/// The same for what they are encoded as.
const ENCODED_MIN: usize = 6;
/// An echo may be escaped so often.
const MOST_READINGS: usize = 3;
/// The longest escape.
const LONGEST_ESCAPE: usize = 10;
/// Entities with a name.
const NAMED: [(&[u8], u8); 5] = [(b"amp", b'&'), (b"lt", b'<'), (b"gt", b'>'), (b"quot", b'"'), (b"apos", b'\'')];

/// Words that others are not to see.
pub struct Confidences {
    /// As they are compared, each with how little of its beginning tells it from other words.
    words: BTreeMap<Vec<u8>, usize>,
}

impl std::fmt::Debug for Confidences {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Confidences")
    }
}

impl Confidences {
    /// These words, each as it is and as peers write it.
    pub fn of<'w>(words: impl IntoIterator<Item = &'w str>) -> Self {
        let mut known = BTreeMap::new();
        let mut add = |word: &str, least: usize, beginning: usize| {
            let compared = readings(word).into_iter().map(|reading| compared(&reading).0);
            known.extend(compared.filter(|word| word.trim_ascii().len() >= least).map(|word| (word, beginning)));
        };
        for word in words.into_iter().filter(|word| word.trim().len() >= SECRET_MIN) {
            for form in encoded(word) {
                add(&form, ENCODED_MIN, ENCODED_MIN / 2);
            }
            add(word, SECRET_MIN, 1);
        }
        Self { words: known }
    }

    /// A text with `***` in place of each of them. `is_cut`: the text may end in the middle of one.
    pub fn hide(&self, text: &str, is_cut: bool) -> String {
        let mut hidden = vec![false; text.len()];
        for reading in readings(text) {
            let (letters, spans) = compared(&reading);
            for word in self.words.keys() {
                for (at, _) in letters.windows(word.len()).enumerate().filter(|(_, part)| part == word) {
                    let last = at.saturating_add(word.len()).saturating_sub(1);
                    hidden[spans[at].0..spans[last].1].fill(true);
                }
            }
            // The last escape may be cut as well.
            for end in if is_cut { ends(&letters) } else { Vec::new() } {
                let longest =
                    self.words.iter().filter_map(|(word, least)| beginning(word, *least, &letters[..end])).max();
                if let Some((from, _)) = longest.and_then(|length| spans.get(end.saturating_sub(length))) {
                    hidden[*from..].fill(true);
                }
            }
        }
        written(text, &hidden)
    }
}

/// What a peer was told in confidence by values as headers have them: each whole, and its words but for the first, which says of what kind it
/// is (`Bearer …`). Of `name=value` the value too.
pub fn confidences<'v>(values: impl IntoIterator<Item = &'v str>) -> Vec<&'v str> {
    let words = |value: &'v str| {
        let words = value.split([' ', '\t', ';', ',']).filter(|word| !word.is_empty()).enumerate();
        words.flat_map(|(at, word)| {
            let part = word.split_once('=').map(|(_, part)| part.trim_matches('"'));
            [Some(word).filter(|_| at > 0), part].into_iter().flatten()
        })
    };
    values.into_iter().flat_map(|value| iter::once(value).chain(words(value))).collect()
}

/// A secret in base64 at each of the three places where it may begin, and in hexadecimal.
fn encoded(secret: &str) -> Vec<String> {
    let hex = secret.bytes().fold(String::new(), |mut hex, byte| {
        // A `String` takes all that is written to it.
        let _ = write!(hex, "{byte:02x}");
        hex
    });
    let in_base64 = [0, 1, 2].into_iter().flat_map(|before| {
        let standard = base64(secret.as_bytes(), before);
        let url = standard.replace('+', "-").replace('/', "_");
        [standard, url]
    });
    in_base64.chain([hex]).collect()
}

/// What of base64 hangs on these bytes alone where so many stand before them, whatever those and the ones behind are.
fn base64(bytes: &[u8], before: usize) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let bit = |at: usize| bytes.get(at / 8).is_some_and(|byte| byte >> (7 - at % 8) & 1 == 1);
    // The first whole digit begins at a multiple of six bits, counted from before them.
    let first = (6 - before * 8 % 6) % 6;
    (first..)
        .step_by(6)
        .take_while(|at| at + 6 <= bytes.len() * 8)
        .map(|at| {
            let digit = (at..at + 6).fold(0, |digit, at| digit << 1 | usize::from(bit(at)));
            char::from(*DIGITS.get(digit).unwrap_or(&b'='))
        })
        .collect()
}

/// Where a text may end that was cut: at its end, or before an escape that is not whole.
fn ends(letters: &[u8]) -> Vec<usize> {
    let first = letters.len().saturating_sub(LONGEST_ESCAPE);
    let begun = (first..letters.len()).filter(|at| matches!(letters[*at], b'%' | b'\\' | b'&'));
    begun.chain([letters.len()]).collect()
}

/// How much of a word's beginning a text ends with.
fn beginning(word: &[u8], least: usize, text: &[u8]) -> Option<usize> {
    let longest = word.len().saturating_sub(1).min(text.len());
    (least..=longest).rev().find(|length| text.ends_with(&word[..*length]))
}

fn written(text: &str, hidden: &[bool]) -> String {
    let (mut written, mut was_hidden) = (String::with_capacity(text.len()), false);
    for (at, letter) in text.char_indices() {
        let is_hidden = hidden[at..at.saturating_add(letter.len_utf8())].contains(&true);
        match (is_hidden, was_hidden) {
            (true, false) => written.push_str(HIDDEN),
            (true, true) => {}
            (false, _) => written.push(letter),
        }
        was_hidden = is_hidden;
    }
    written
}

/// A text that was read, each byte with where it stands in the original.
type Reading = (Vec<u8>, Vec<(usize, usize)>);

/// The text as it stands, and as often as it can be read.
fn readings(text: &str) -> Vec<Reading> {
    let first = (text.as_bytes().to_vec(), (0..text.len()).map(|at| (at, at.saturating_add(1))).collect());
    let mut readings: Vec<Reading> = vec![first];
    while readings.len() <= MOST_READINGS
        && let Some(last) = readings.last()
    {
        let next = read(last);
        if next.0 == last.0 {
            break;
        }
        readings.push(next);
    }
    readings
}

fn read((bytes, spans): &Reading) -> Reading {
    let (mut letters, mut places) = (Vec::with_capacity(bytes.len()), Vec::with_capacity(bytes.len()));
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        let (letter, length) = escape(&bytes[at..]).unwrap_or((Letter::Byte(*byte), 1));
        let end = at.saturating_add(length);
        let place = (spans[at].0, spans[end.saturating_sub(1)].1);
        let mut utf8 = [0; 4];
        let read: &[u8] = match letter {
            Letter::Byte(byte) => {
                utf8[0] = byte;
                &utf8[..1]
            }
            Letter::Char(letter) => letter.encode_utf8(&mut utf8).as_bytes(),
        };
        letters.extend_from_slice(read);
        places.extend(read.iter().map(|_| place));
        at = end;
    }
    (letters, places)
}

/// What an escape stands for.
enum Letter {
    Byte(u8),
    Char(char),
}

/// The escape that a text begins with, and its length.
fn escape(text: &[u8]) -> Option<(Letter, usize)> {
    match text {
        [b'%', digits @ ..] => Some((Letter::Byte(u8::try_from(number(digits.get(..2)?, 16)?).ok()?), 3)),
        [b'\\', b'u', digits @ ..] => Some((letter(number(digits.get(..4)?, 16)?), 6)),
        [b'\\', b'x', digits @ ..] => Some((letter(number(digits.get(..2)?, 16)?), 4)),
        // What stands for white space is compared as nothing.
        [b'\\', b'n' | b'r' | b't' | b'b' | b'f', ..] => Some((Letter::Byte(b'\n'), 2)),
        [b'\\', letter @ (b'"' | b'\'' | b'\\' | b'/'), ..] => Some((Letter::Byte(*letter), 2)),
        [b'&', rest @ ..] => entity(rest),
        _ => None,
    }
}

fn entity(rest: &[u8]) -> Option<(Letter, usize)> {
    let length = rest.iter().take(LONGEST_ESCAPE).position(|byte| *byte == b';')?;
    let read = match rest.get(..length)? {
        [b'#', b'x' | b'X', digits @ ..] => letter(number(digits, 16)?),
        [b'#', digits @ ..] => letter(number(digits, 10)?),
        name => {
            NAMED.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, byte)| Letter::Byte(*byte))?
        }
    };
    Some((read, length.saturating_add(2)))
}

fn letter(code: u32) -> Letter {
    Letter::Char(char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER))
}

fn number(digits: &[u8], radix: u32) -> Option<u32> {
    let text = str::from_utf8(digits).ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_hexdigit()))?;
    u32::from_str_radix(text, radix).ok()
}

/// What is compared: small letters, `+` as the space that forms make of it, and neither control characters, which may stand anywhere, nor
/// what stands for a letter that was cut.
fn compared((bytes, spans): &Reading) -> Reading {
    const CUT: [u8; 3] = [0xef, 0xbf, 0xbd];
    let is_cut = |at: usize| (at.saturating_sub(2)..=at).any(|from| bytes[from..].starts_with(&CUT));
    let kept = bytes.iter().zip(spans).enumerate().filter(|(at, (byte, _))| !byte.is_ascii_control() && !is_cut(*at));
    kept.map(|(_, (byte, span))| (if *byte == b'+' { b' ' } else { byte.to_ascii_lowercase() }, *span)).unzip()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn hidden(secret: &str, text: &str) -> String {
        Confidences::of([secret]).hide(text, false)
    }

    #[test]
    fn an_echo_is_hidden_however_it_is_spelt() {
        let secret = "s3cr3t/ä\"&+<x>";
        for echo in [
            "s3cr3t/ä\"&+<x>",
            "S3CR3T/ä\"& <X>",
            "s3cr3t%2F%c3%A4%22%26%2b%3Cx%3e",
            r#"s3cr3t\/\u00e4\"&+<x>"#,
            r"\u0073\u0033\u0063\u0072\u0033\u0074\u002F\u00E4\u0022\u0026\u002b\u003cx\u003E",
            "s3cr3t/&#228;&quot;&amp;+&lt;x&gt;",
            "s3cr3t&#x2f;&#xE4;&quot;&amp;&#43;&lt;x&gt;",
            "s3cr3t%252F%25C3%25A4%2522%2526%252b%253Cx%253e",
            r#"s3cr3t\\/\\u00e4\\\"&+<x>"#,
            "s3cr3t/\r\nä\"&+<x>",
            "s\u{0}3\u{0}c\u{0}r\u{0}3\u{0}t\u{0}/ä\"&+<x>",
        ] {
            let text = hidden(secret, &format!("no {echo}, no"));
            assert_eq!(text, "no ***, no", "{echo:?}");
        }
        assert_eq!(hidden("%41bc%", "x %41bc% y Abc% %2541bc%25"), "x *** y *** ***");
    }

    #[test]
    fn what_a_value_is_made_of_is_a_secret_too() {
        for (value, text, shown) in [
            ("sid=abcd; lang=en", "abcd sid en lang", "*** sid en lang"),
            ("Key k3y=\"quoted\"", "quoted, Key, k3y", "***, Key, k3y"),
            ("Bearer hunter2", "no Bearer hunter2: hunter2 of a Bearer", "no ***: *** of a Bearer"),
            ("ab", "ab", "ab"),
        ] {
            assert_eq!(Confidences::of(confidences([value])).hide(text, false), shown, "{value}");
        }
    }

    #[test]
    fn the_beginning_of_a_secret_is_hidden_where_a_text_was_cut() {
        let confidences = Confidences::of(["hunter2/and-more"]);
        let cut = ["no hunter2%2Fand", "no hunter2%2", "no hunter2\\u00", "no h", "no hunter2\u{fffd}"];
        for text in cut {
            assert_eq!(confidences.hide(text, true), "no ***");
            assert_eq!(confidences.hide(text, false), text);
        }
    }

    proptest! {
        #[test]
        fn no_escape_of_a_secret_gets_through(
            secret in "[!-~äß€]{4,24}",
            ways in prop::collection::vec(0..5_u8, 24),
            (before, after) in ("[a-z ]{0,8}", "[a-z ]{0,8}"),
        ) {
            let mut echo = String::new();
            for (letter, way) in secret.chars().zip(ways) {
                match way {
                    0 => echo.extend(letter.to_string().bytes().map(|byte| format!("%{byte:02X}"))),
                    1 => write!(echo, "\\u{:04x}", u32::from(letter)).unwrap(),
                    2 => write!(echo, "&#{};", u32::from(letter)).unwrap(),
                    3 => write!(echo, "&#x{:X};", u32::from(letter)).unwrap(),
                    // As it stands, where that is no part of an escape.
                    _ if letter.is_ascii_alphanumeric() => echo.push(letter),
                    _ => echo.extend(letter.to_string().bytes().map(|byte| format!("%{byte:02x}"))),
                }
            }
            let text = hidden(&secret, &format!("{before}{echo}{after}"));
            prop_assert!(!text.contains(&echo), "{text}");
        }

        #[test]
        fn nothing_breaks_it(secret in any::<String>(), text in any::<String>(), is_cut in any::<bool>()) {
            let shown = Confidences::of([&*secret]).hide(&text, is_cut);
            prop_assert!(shown.len() <= text.len() + HIDDEN.len() * text.len());
        }

        #[test]
        fn a_text_without_secrets_stays_as_it_is(text in "[a-m%\\\\&#;0-9]{0,64}") {
            prop_assert_eq!(hidden("zzzz", &text), text);
        }
    }
}
