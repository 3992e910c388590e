//! What a server said when it refused an upgrade, as it is kept and shown: text, without what is secret, and little of it.
//!
//! What a reader would get wrong: it is a stranger's text all the same. Who shows it must escape it.

use std::borrow::Cow;

use super::confidences::Confidences;

/// Bytes of a body that are read and kept.
pub const MOST_BODY: usize = 4 << 10;
/// Bytes of headers that are kept, names and values.
pub const MOST_HEADERS: usize = 4 << 10;

/// The answer that refused.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Rejection {
    /// Its headers, in order.
    pub headers: Vec<(Box<str>, Box<str>)>,
    /// The first of its body. What is no UTF-8 is U+FFFD.
    pub body: Box<str>,
    /// There was more of either.
    pub is_cut: bool,
}

impl Rejection {
    /// Keeps what there is room for of headers and of a body, of which this came. `is_whole`: nothing more was to come.
    pub fn new<'a>(headers: impl Iterator<Item = (&'a str, Cow<'a, str>)>, body: &[u8], is_whole: bool) -> Self {
        let (mut kept, mut room) = (Vec::new(), MOST_HEADERS);
        let mut is_cut = !is_whole;
        for (name, value) in headers {
            let Some(left) = room.checked_sub(name.len().saturating_add(value.len())) else {
                is_cut = true;
                break;
            };
            room = left;
            kept.push((name.into(), value.into()));
        }
        // What is no UTF-8 takes more room as text.
        let text = String::from_utf8_lossy(body);
        let body = &text[..text.floor_char_boundary(MOST_BODY)];
        Self { headers: kept, is_cut: is_cut || body.len() < text.len(), body: body.into() }
    }

    /// Bytes that it takes, about.
    pub fn size(&self) -> usize {
        let pair = size_of::<(Box<str>, Box<str>)>();
        let headers = self.headers.iter().map(|(name, value)| [name.len(), value.len(), pair].iter().sum());
        headers.fold(self.body.len(), usize::saturating_add)
    }

    /// The values of a header.
    pub fn values<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        let is_it = move |(known, _): &&(Box<str>, Box<str>)| known.eq_ignore_ascii_case(name);
        self.headers.iter().filter(is_it).map(|(_, value)| &**value)
    }

    /// The same, without what was said in confidence.
    #[must_use]
    pub fn without(self, confidences: &Confidences) -> Self {
        let Self { headers, body, is_cut } = self;
        let hidden = |(name, value): (Box<str>, Box<str>)| (name, confidences.hide(&value, false).into());
        Self {
            headers: headers.into_iter().map(hidden).collect(),
            body: confidences.hide(&body, is_cut).into(),
            is_cut,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_is_kept_than_there_is_room_for_and_it_is_said_so() {
        let long = "x".repeat(MOST_HEADERS);
        let all = [("a", Cow::from("b")), ("c", Cow::from(&*long)), ("d", Cow::from("e"))];
        let kept = Rejection::new(all.into_iter(), &[0xff; MOST_BODY], true);
        assert_eq!((kept.headers.len(), kept.is_cut), (1, true));
        assert!(kept.body.len() <= MOST_BODY && kept.body.chars().all(|letter| letter == '\u{fffd}'));
        let kept = Rejection::new([].into_iter(), &[b'x'; MOST_BODY], true);
        assert_eq!((kept.body.len(), kept.is_cut), (MOST_BODY, false));
        assert!(Rejection::new([].into_iter(), b"x", false).is_cut);
    }
}
