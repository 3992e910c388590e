//! What a peer said, made fit for logs and for people.
//!
//! What a reader would get wrong: a long message is looked at in part, so a secret may be cut where that part ends. What is left of it
//! there is hidden too.

use super::Value;

/// So much of a message is looked at.
const LOOKED_AT: usize = 2 << 10;
/// Characters shown.
const SHOWN: usize = 200;
/// Shorter ones stand in any text, and hiding them would say where.
const SECRET_MIN: usize = 3;

/// The beginning of a message, without what is `hidden`, with one character for each control character.
pub(super) fn of_peer(bytes: &[u8], mut hidden: Vec<&str>) -> String {
    let (part, is_cut) = bytes.get(..LOOKED_AT).map_or((bytes, false), |part| (part, part.len() < bytes.len()));
    let mut text = String::from_utf8_lossy(part).into_owned();
    // The longest first: one may be a part of another.
    hidden.sort_unstable_by_key(|secret| std::cmp::Reverse(secret.len()));
    for secret in hidden.into_iter().filter(|secret| secret.trim().len() >= SECRET_MIN) {
        let escaped = Value::from(secret).to_string();
        for form in [secret, escaped.trim_matches('"')] {
            text = text.replace(form, "***");
            if is_cut {
                hide_beginning_at_end(&mut text, form);
            }
        }
    }
    let text = text.trim();
    let mut shown: String = text.chars().take(SHOWN).map(|char| if char.is_control() { ' ' } else { char }).collect();
    if is_cut || text.chars().count() > SHOWN {
        shown.push('…');
    }
    shown
}

fn hide_beginning_at_end(text: &mut String, secret: &str) {
    let whole = text.trim_end_matches(char::REPLACEMENT_CHARACTER);
    let mut beginnings = secret.char_indices().rev().map(|(at, _)| &secret[..at]).filter(|it| !it.is_empty());
    if let Some(rest) = beginnings.find_map(|beginning| whole.strip_suffix(beginning)) {
        let end = rest.len();
        text.truncate(end);
        text.push_str("***");
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
