//! Which subprotocols may be offered (WHATWG WebSockets §3.1, constructor; RFC 6455 §4.1).

/// Why subprotocols cannot be offered. Says nothing of their text, which may be evaluated from a secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SubprotocolFault {
    /// One has a character that a token may not have, or none at all.
    #[error("subprotocol {0} of the list is not a token: no spaces, separators or characters beyond ASCII")]
    Malformed(usize),
    /// Two are the same.
    #[error("subprotocol {0} of the list is there twice")]
    Repeated(usize),
}

/// Judges evaluated subprotocols; they are counted from 1.
pub fn check<T: AsRef<str>>(protocols: &[T]) -> Result<(), SubprotocolFault> {
    for (index, protocol) in protocols.iter().enumerate() {
        let protocol = protocol.as_ref();
        if protocol.is_empty() || !is_text(protocol) {
            return Err(SubprotocolFault::Malformed(index + 1));
        }
        if protocols[..index].iter().any(|other| other.as_ref() == protocol) {
            return Err(SubprotocolFault::Repeated(index + 1));
        }
    }
    Ok(())
}

/// Whether every character may stand in a token.
pub fn is_text(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_graphic() && !b"()<>@,;:\\\"/[]?={}".contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_offered_once_each() {
        assert_eq!(check(&["json.v2", "mqtt"]), Ok(()));
        assert_eq!(check(&["mqtt", "mqtt"]), Err(SubprotocolFault::Repeated(2)));
        // Case matters: they are two.
        assert_eq!(check(&["mqtt", "MQTT"]), Ok(()));
    }

    #[test]
    fn separators_spaces_and_nothing_are_no_token() {
        for bad in ["", "a b", "a,b", "a/b", "ä", "a\n"] {
            assert_eq!(check(&[bad]), Err(SubprotocolFault::Malformed(1)), "{bad:?}");
        }
    }
}
