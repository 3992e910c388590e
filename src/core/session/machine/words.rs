//! What a peer said, made fit for logs and for people.
//!
//! What a reader would get wrong: a long message is looked at in part, so a secret may be cut where that part ends. What is left of it
//! there is hidden too.

use super::{Message, Session};
use crate::confidences::Confidences;

/// So much of a message is looked at.
const LOOKED_AT: usize = 2 << 10;
/// Characters shown.
const SHOWN: usize = 200;
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
    let text = Confidences::of(hidden).hide(&String::from_utf8_lossy(part), is_cut);
    let text = text.trim();
    let mut shown: String = text.chars().take(SHOWN).map(|char| if char.is_control() { ' ' } else { char }).collect();
    if is_cut || text.chars().count() > SHOWN {
        shown.push('…');
    }
    shown
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use proptest::prelude::*;

    use super::*;
    use crate::confidences::HIDDEN;

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
