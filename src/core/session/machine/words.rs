//! What a peer said, made fit for logs and for people.
//!
//! What a reader would get wrong: a long message is looked at in part, so a secret may be cut where that part ends. What is left of it
//! there is hidden too.

use std::{fmt::Write as _, iter, ops::Range};

use super::{Message, Session, Value};

/// So much of a message is looked at.
const LOOKED_AT: usize = 2 << 10;
/// Characters shown.
const SHOWN: usize = 200;
/// Shorter ones stand in any text, and hiding them would say where.
const SECRET_MIN: usize = 3;
/// The same for what they are written as.
const ENCODED_MIN: usize = 6;

/// What stands for what is not shown.
/// What stands in place of a secret.
pub const HIDDEN: &str = "***";

impl Session {
    /// What a peer said, for people: no secret, no variable, not long.
    pub(super) fn words(&self, message: &Message<'_>) -> String {
        self.told(message.payload.bytes())
    }

    /// As much of it as may be shown.
    pub(super) fn told(&self, bytes: &[u8]) -> String {
        let hidden = self.start.secrets.iter().map(|secret| &**secret).chain(self.variables.texts());
        of_peer(bytes, hidden.collect())
    }
}

/// The beginning of a message, without what is `hidden`, with one character for each control character.
pub fn of_peer(bytes: &[u8], hidden: Vec<&str>) -> String {
    let (part, is_cut) = bytes.get(..LOOKED_AT).map_or((bytes, false), |part| (part, part.len() < bytes.len()));
    let text = hide_all(String::from_utf8_lossy(part).into_owned(), hidden, is_cut);
    let text = text.trim();
    let mut shown: String = text.chars().take(SHOWN).map(|char| if char.is_control() { ' ' } else { char }).collect();
    if is_cut || text.chars().count() > SHOWN {
        shown.push('…');
    }
    shown
}

/// What a peer was told in confidence by values as headers have them: each whole, and its words but for the first, which says of what kind it
/// is (`Bearer …`).
pub fn confidences<'v>(values: impl IntoIterator<Item = &'v str>) -> Vec<&'v str> {
    values.into_iter().flat_map(|value| iter::once(value).chain(value.split_whitespace().skip(1))).collect()
}

/// A text without what is `hidden`, as it is and as peers write it.
pub fn hide(text: String, hidden: Vec<&str>) -> String {
    hide_all(text, hidden, false)
}

fn hide_all(mut text: String, mut hidden: Vec<&str>, is_cut: bool) -> String {
    hidden.retain(|secret| secret.trim().len() >= SECRET_MIN);
    // The longest first: one may be a part of another.
    hidden.sort_unstable_by_key(|secret| std::cmp::Reverse(secret.len()));
    for secret in &hidden {
        while let Some(found) = in_percent(text.as_bytes(), secret.as_bytes()) {
            text.replace_range(found, HIDDEN);
        }
    }
    for form in hidden.into_iter().flat_map(forms) {
        if text.contains(&form) {
            text = text.replace(&form, HIDDEN);
        }
        if is_cut {
            hide_beginning_at_end(&mut text, &form);
        }
    }
    text
}

/// A secret as a peer may write it: as it is, in JSON, in a URL, in base64 at each of the three places where it may begin, in hexadecimal.
fn forms(secret: &str) -> Vec<String> {
    let escaped = Value::from(secret).to_string();
    let mut forms = vec![secret.to_owned()];
    forms.extend([escaped.trim_matches('"').to_owned(), percent(secret, false), percent(secret, true)]);
    forms.extend([0, 1, 2].into_iter().flat_map(|before| {
        let standard = base64(secret.as_bytes(), before);
        let url = standard.replace('+', "-").replace('/', "_");
        [standard, url]
    }));
    let hex = secret.bytes().fold(String::new(), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    });
    forms.extend([hex.to_ascii_uppercase(), hex]);
    let mut seen: Vec<String> = Vec::new();
    for form in forms {
        // What is short stands in other words too.
        if (form.len() >= ENCODED_MIN || seen.is_empty()) && !seen.contains(&form) {
            seen.push(form);
        }
    }
    seen
}

/// Where a text has these bytes, any of them, and at least one, as `%XX` (RFC 3986 §2.1).
fn in_percent(text: &[u8], secret: &[u8]) -> Option<Range<usize>> {
    let digit = |at: usize| char::from(*text.get(at)?).to_digit(16);
    let ends = |start: usize| {
        secret.iter().try_fold(start, |at, byte| match text.get(at)? {
            b'%' if digit(at + 1)? * 16 + digit(at + 2)? == u32::from(*byte) => Some(at + 3),
            plain if plain == byte => Some(at + 1),
            _ => None,
        })
    };
    let mut found = (0..text.len()).filter_map(|start| Some(start..ends(start)?));
    found.find(|found| found.len() > secret.len())
}

/// All but RFC 3986's unreserved characters as `%XX`, or `%xx`.
fn percent(text: &str, is_upper: bool) -> String {
    let mut made = String::new();
    for byte in text.bytes() {
        match byte {
            byte if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) => made.push(byte.into()),
            byte => {
                let _ = if is_upper { write!(made, "%{byte:02X}") } else { write!(made, "%{byte:02x}") };
            }
        }
    }
    made
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

fn hide_beginning_at_end(text: &mut String, secret: &str) {
    let whole = text.trim_end_matches(char::REPLACEMENT_CHARACTER);
    let mut beginnings = secret.char_indices().rev().map(|(at, _)| &secret[..at]).filter(|it| !it.is_empty());
    if let Some(rest) = beginnings.find_map(|beginning| whole.strip_suffix(beginning)) {
        let end = rest.len();
        text.truncate(end);
        text.push_str(HIDDEN);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_is_long_is_cut_and_what_controls_a_terminal_is_blank() {
        assert_eq!(of_peer(b" \x1b[31mno\n", Vec::new()), " [31mno");
        let long = of_peer("x".repeat(5000).as_bytes(), Vec::new());
        assert_eq!((long.chars().count(), long.ends_with('…')), (SHOWN + 1, true));
    }

    #[test]
    fn a_secret_that_a_peer_writes_in_another_way_is_hidden() {
        let secret = "s3cr/t+p ss?ü";
        let in_base64 = |text: &str| {
            let bits: String = text.bytes().fold(String::new(), |mut bits, byte| {
                let _ = write!(bits, "{byte:08b}");
                bits
            });
            let alphabet: Vec<char> = ('A'..='Z').chain('a'..='z').chain('0'..='9').chain(['+', '/']).collect();
            let digit = |six: &[u8]| {
                let six = std::str::from_utf8(six).unwrap();
                alphabet[usize::from_str_radix(&format!("{six:0<6}"), 2).unwrap()]
            };
            bits.as_bytes().chunks(6).map(digit).collect::<String>()
        };
        let mut said = vec!["s3cr%2Ft%2Bp%20ss%3F%C3%BC".to_owned(), "s3cr%2ft%2bp%20ss%3f%c3%bc".to_owned()];
        for sign in ["", "%"] {
            said.push(secret.bytes().fold(String::new(), |mut hex, byte| {
                let _ = write!(hex, "{sign}{byte:02x}");
                hex
            }));
        }
        for before in ["", "u", "us", "user:"] {
            said.push(in_base64(&format!("{before}{secret} and more")));
        }
        for text in said {
            let shown = of_peer(format!("no: {text}").as_bytes(), vec![secret]);
            assert!(shown.contains(HIDDEN), "{text} is shown as {shown}");
            assert!(shown.len() < text.len(), "{text} is shown as {shown}");
        }
        assert_eq!(
            of_peer(b"YWJj is no secret", vec!["abc"]),
            "YWJj is no secret",
            "it is too short to be told from words"
        );
    }

    proptest! {
        #[test]
        fn no_part_of_a_secret_is_shown_wherever_the_message_is_cut(
            length in 8..1500_usize, before in 0..300_usize, times in 1..300_usize,
        ) {
            // Each stretch of four stands in it once.
            let secret: String = (0_u32..).flat_map(|at| format!("{at:03x}Ü").chars().collect::<Vec<_>>()).take(length).collect();
            let message = format!("{}{}", "-".repeat(before), secret.repeat(times));
            let shown = of_peer(message.as_bytes(), vec![&secret]);
            prop_assert!(shown.chars().all(|char| "-*…".contains(char)), "{}", shown);
        }
    }
}
