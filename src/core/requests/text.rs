//! Finds one value in the text of a message, and leaves every other byte of it as it is.
//!
//! What a reader would get wrong: this is no parser. It walks along a pointer (RFC 6901) and skips the rest by its brackets and quotes, so
//! that an id can be replaced in place. What is not JSON as far as that can be seen has no value anywhere.

use std::ops::Range;

/// What some editors and shells write before UTF-8 (RFC 8259 §8.1 lets a reader ignore it).
const BOM: &[u8] = b"\xef\xbb\xbf";

/// The key that a string or a number at `pointer` is: a string as it is meant, a number as it is written.
pub fn key(text: &[u8], pointer: &str) -> Option<Box<str>> {
    meaning(&text[value(text, pointer)?])
}

/// The key that the text of a string or a number is.
pub(super) fn meaning(value: &[u8]) -> Option<Box<str>> {
    match value.first()? {
        b'"' => Some(string(value).into()),
        b'-' | b'0'..=b'9' => Some(str::from_utf8(value).ok()?.into()),
        _ => None,
    }
}

/// Where the value at `pointer` stands.
pub(super) fn value(text: &[u8], pointer: &str) -> Option<Range<usize>> {
    find(text, pointer).ok()
}

/// Where a member would stand that is not there: behind the bracket that opens its object, and whether that has members.
pub(super) fn room(text: &[u8], pointer: &str) -> Option<(usize, bool)> {
    let (parent, name) = pointer.rsplit_once('/')?;
    let object = value(text, parent)?;
    let is_there = find(text, pointer).is_ok();
    let first = skip_space(text, object.start.saturating_add(1));
    let is_object = text.get(object.start) == Some(&b'{') && !name.is_empty() && !is_there;
    is_object.then(|| (object.start.saturating_add(1), text.get(first) != Some(&b'}')))
}

struct Missing;

fn find(text: &[u8], pointer: &str) -> Result<Range<usize>, Missing> {
    let begin = skip_space(text, if text.starts_with(BOM) { BOM.len() } else { 0 });
    let end = skip_value(text, begin).ok_or(Missing)?;
    if skip_space(text, end) != text.len() {
        return Err(Missing);
    }
    let mut found = begin..end;
    for segment in pointer.split('/').skip(1) {
        let name = segment.replace("~1", "/").replace("~0", "~");
        found = match text.get(found.start) {
            Some(b'{') => member(text, found, &name),
            Some(b'[') => element(text, found, &name),
            Some(_) | None => None,
        }
        .ok_or(Missing)?;
    }
    Ok(found)
}

/// The last of this name, which is what most readers of JSON take.
fn member(text: &[u8], object: Range<usize>, name: &str) -> Option<Range<usize>> {
    let mut found = None;
    let mut at = skip_space(text, object.start.checked_add(1)?);
    while text.get(at) == Some(&b'"') {
        let end = skip_string(text, at)?;
        let colon = skip_space(text, end);
        if text.get(colon) != Some(&b':') {
            return None;
        }
        let begin = skip_space(text, colon.checked_add(1)?);
        let after = skip_value(text, begin)?;
        if string(text.get(at..end)?) == name {
            found = Some(begin..after);
        }
        at = next(text, after)?;
    }
    found
}

fn element(text: &[u8], array: Range<usize>, name: &str) -> Option<Range<usize>> {
    let index = name.parse::<usize>().ok().filter(|_| name == "0" || !name.starts_with(['0', '+']))?;
    let mut at = skip_space(text, array.start.checked_add(1)?);
    for _ in 0..index {
        at = next(text, skip_value(text, at)?)?;
    }
    Some(at..skip_value(text, at)?)
}

/// Where what stands behind a comma begins; at a closing bracket, there.
fn next(text: &[u8], after: usize) -> Option<usize> {
    let at = skip_space(text, after);
    match text.get(at)? {
        b',' => Some(skip_space(text, at.checked_add(1)?)),
        b'}' | b']' => Some(at),
        _ => None,
    }
}

fn skip_space(text: &[u8], mut at: usize) -> usize {
    while let Some(b' ' | b'\t' | b'\n' | b'\r') = text.get(at) {
        at = at.saturating_add(1);
    }
    at
}

fn skip_string(text: &[u8], at: usize) -> Option<usize> {
    let mut at = at.checked_add(1)?;
    loop {
        at = match text.get(at)? {
            b'"' => return at.checked_add(1),
            b'\\' => at.checked_add(2)?,
            _ => at.checked_add(1)?,
        };
    }
}

fn skip_value(text: &[u8], at: usize) -> Option<usize> {
    match text.get(at)? {
        b'"' => skip_string(text, at),
        b'{' | b'[' => skip_brackets(text, at),
        b'-' | b'0'..=b'9' | b't' | b'f' | b'n' => {
            let rest = text.get(at..)?;
            let is_of_it = |byte: &u8| byte.is_ascii_alphanumeric() || b"+-.".contains(byte);
            at.checked_add(rest.iter().position(|byte| !is_of_it(byte)).unwrap_or(rest.len()))
        }
        _ => None,
    }
}

fn skip_brackets(text: &[u8], mut at: usize) -> Option<usize> {
    let mut open = Vec::new();
    loop {
        match text.get(at)? {
            b'"' => {
                at = skip_string(text, at)?;
                continue;
            }
            b'{' => open.push(b'}'),
            b'[' => open.push(b']'),
            closing @ (b'}' | b']') if open.pop() != Some(*closing) => return None,
            _ => {}
        }
        at = at.checked_add(1)?;
        if open.is_empty() {
            return Some(at);
        }
    }
}

/// What a string between its quotes means; half of a surrogate pair means U+FFFD.
fn string(quoted: &[u8]) -> String {
    let inner = quoted.get(1..quoted.len().saturating_sub(1)).unwrap_or_default();
    let text = String::from_utf8_lossy(inner);
    if !text.contains('\\') {
        return text.into_owned();
    }
    let (mut units, mut chars) = (Vec::new(), text.chars());
    while let Some(char) = chars.next() {
        if char != '\\' {
            units.extend(char.encode_utf16(&mut [0; 2]).iter());
            continue;
        }
        let unit = match chars.next() {
            Some('u') => u16::from_str_radix(&chars.by_ref().take(4).collect::<String>(), 16).unwrap_or(0xfffd),
            Some('n') => 10,
            Some('r') => 13,
            Some('t') => 9,
            Some('b') => 8,
            Some('f') => 12,
            Some(other) => u16::try_from(u32::from(other)).unwrap_or(0xfffd),
            None => 0xfffd,
        };
        units.push(unit);
    }
    String::from_utf16_lossy(&units)
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
        assert_eq!(of(r#" { "x" : [ {}, "]" ] , "meta" : {"id":"a-1"} } "#, "/meta/id").as_deref(), Some("a-1"));
        assert_eq!(of(r#"[2, "q-9", "Heartbeat", {}]"#, "/1").as_deref(), Some("q-9"));
        assert_eq!(of(r#"{"a/b~c": -1.5e3}"#, "/a~1b~0c").as_deref(), Some("-1.5e3"));
        assert_eq!(of(r#"{"\u0069d": "\"\u00e9\n"}"#, "/id").as_deref(), Some("\"é\n"));
        assert_eq!(of(r#"{"id": 1, "id": 2}"#, "/id").as_deref(), Some("2"));
        for text in [
            r#"{"id": null}"#,
            r#"{"id": {}}"#,
            "{}",
            "not json",
            "",
            r#"{"id": 7"#,
            r#"{"id": 7} x"#,
            r#"{"id" 7}"#,
            r#"{"id": 7]"#,
            "[7]",
        ] {
            assert_eq!(of(text, "/id"), None, "{text}");
        }
        assert_eq!((of("[7]", "/1"), of("[7]", "/00"), of("[7]", "/0").as_deref()), (None, None, Some("7")));
    }

    #[test]
    fn half_a_surrogate_pair_anywhere_loses_no_key() {
        assert_eq!(of(r#"{"id": 7, "text": "cut \ud83d"}"#, "/id").as_deref(), Some("7"));
        // Ours and the peer's are read alike, so they still belong together.
        assert_eq!(of(r#"{"id": "a\udc00"}"#, "/id").as_deref(), Some("a\u{fffd}"));
        assert_eq!(of("\u{feff}{\"id\": 7}", "/id").as_deref(), Some("7"));
    }

    proptest::proptest! {
        #[test]
        fn an_id_is_found_whatever_stands_around_it(before in "[a-c/~é ]{0,3}", within in "[\\[\\]{}:,\"\\\\a]{0,6}", space in " {0,2}", id: i32) {
            let within: String = within.chars().flat_map(|char| ['\\', char].into_iter().skip(usize::from(!"\"\\".contains(char)))).collect();
            let text = format!("{{{space}\"{before}\":[\"{within}\",{{\"id\":{space}0}}]{space},\"id\"{space}:{space}{id}{space},\"z\":{{}}}}");
            proptest::prop_assert_eq!(of(&text, "/id"), Some(id.to_string()), "{}", text);
        }

        #[test]
        fn nothing_that_a_peer_sends_harms_it(text in proptest::collection::vec(proptest::sample::select(b"{}[]\",:\\u0a -\xff".to_vec()), 0..40)) {
            let _ = (key(&text, "/a"), room(&text, "/a"), value(&text, "/0/a"));
        }
    }
}
