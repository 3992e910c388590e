//! What receivers say of what they do not take, as far as people are shown it.
//!
//! What a reader would get wrong: it is a stranger's text, which may repeat what it was told in confidence.

use wskeeper_core::session::of_peer;

/// So many characters are shown.
const MAX_WORDS: usize = 200;

/// One short line, without what was told in confidence.
pub(super) fn words(said: &[u8], hidden: &[String]) -> String {
    let said = of_peer(said, hidden.iter().map(String::as_str).collect());
    said.split_whitespace().collect::<Vec<_>>().join(" ").chars().take(MAX_WORDS).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_what_a_receiver_says_there_is_one_short_line() {
        assert_eq!(words(b"<p>\r\n no\x1b[1m </p>", &[]), "<p> no [1m </p>");
        assert_eq!(words(&[b'x'; 1000], &[]).chars().count(), MAX_WORDS);
        assert_eq!(words(b"", &[]), "");
        assert!(!words(b"no hunter2 here", &["hunter2".to_owned()]).contains("hunter2"));
    }
}
