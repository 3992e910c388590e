//! Reads the keys by which messages and their acknowledgements belong together.
//!
//! What is not JSON, or has nothing at the pointer, has no key: it is an ordinary message.

use serde_json::Value;

use super::json;

/// The string or number that `pointer` (RFC 6901) leads to; a number as it is written.
pub fn key(message: &[u8], pointer: &str) -> Option<Box<str>> {
    let value: Value = json::read(message).ok()?;
    match value.pointer(pointer)? {
        Value::String(text) => Some(text.as_str().into()),
        Value::Number(number) => Some(number.to_string().into()),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str, pointer: &str) -> Option<String> {
        key(text.as_bytes(), pointer).map(String::from)
    }

    #[test]
    fn strings_and_numbers_are_keys_and_nothing_else_is() {
        assert_eq!(of(r#"{"id": 7}"#, "/id").as_deref(), Some("7"));
        assert_eq!(of(r#"{"meta": {"id": "a-1"}}"#, "/meta/id").as_deref(), Some("a-1"));
        assert_eq!(of(r#"[2, "q-9", "Heartbeat", {}]"#, "/1").as_deref(), Some("q-9"));
        for text in [r#"{"id": null}"#, r#"{"id": {}}"#, "{}", "not json", ""] {
            assert_eq!(of(text, "/id"), None, "{text}");
        }
    }

    #[test]
    fn half_a_surrogate_pair_anywhere_loses_no_key() {
        assert_eq!(of(r#"{"id": 7, "text": "cut \ud83d"}"#, "/id").as_deref(), Some("7"));
        // Ours and the peer's are read alike, so they still belong together.
        assert_eq!(of(r#"{"id": "a\udc00"}"#, "/id").as_deref(), Some("a\u{fffd}"));
        assert_eq!(of("\u{feff}{\"id\": 7}", "/id").as_deref(), Some("7"));
    }
}
