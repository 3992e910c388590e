//! What of a template people may see.
//!
//! References are shown as written, because they only name a secret; it is the text around them that may be one.

use super::template::Part;

/// What stands for text that is not shown.
const HIDDEN: &str = "***";

/// Authentication schemes are no secret, and say much.
const SCHEMES: [&str; 5] = ["Bearer ", "Basic ", "Token ", "Digest ", "ApiKey "];

/// References as written, all other text hidden.
pub(super) fn literals(parts: &[Part]) -> String {
    let mut shown = String::new();
    for part in parts {
        match part {
            Part::Reference(reference) => shown.push_str(&reference.written),
            Part::Text(text) if text.is_empty() => {}
            Part::Text(text) => {
                let scheme = SCHEMES.into_iter().find(|scheme| {
                    shown.is_empty() && text.get(..scheme.len()).is_some_and(|head| head.eq_ignore_ascii_case(scheme))
                });
                shown.push_str(scheme.unwrap_or_default());
                if scheme.is_none_or(|scheme| text.len() > scheme.len()) {
                    shown.push_str(HIDDEN);
                }
            }
        }
    }
    shown
}

/// A URL without userinfo, query and fragment.
pub(super) fn url(parts: &[Part]) -> String {
    // A reference may hold `/`, `?` and `@` of its own, so it is one piece here, never looked into.
    let pieces: Vec<Piece<'_>> = parts.iter().flat_map(pieces).collect();
    let end = pieces.iter().position(|piece| matches!(piece, Piece::Char('?' | '#'))).unwrap_or(pieces.len());
    let pieces = &pieces[..end];
    let authority = pieces
        .windows(3)
        .position(|window| matches!(window, [Piece::Char(':'), Piece::Char('/' | '\\'), Piece::Char('/' | '\\')]));
    let start = authority.map_or(0, |at| at + 3);
    let stop = pieces[start..]
        .iter()
        .position(|piece| matches!(piece, Piece::Char('/' | '\\')))
        .map_or(pieces.len(), |at| start + at);
    let host = pieces[start..stop]
        .iter()
        .rposition(|piece| matches!(piece, Piece::Char('@')))
        .map_or(start, |at| start + at + 1);
    pieces[..start].iter().chain(&pieces[host..]).map(ToString::to_string).collect()
}

enum Piece<'a> {
    Char(char),
    Reference(&'a str),
}

impl std::fmt::Display for Piece<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Char(char) => write!(f, "{char}"),
            Self::Reference(written) => f.write_str(written),
        }
    }
}

fn pieces(part: &Part) -> Vec<Piece<'_>> {
    match part {
        Part::Text(text) => text.chars().map(Piece::Char).collect(),
        Part::Reference(reference) => vec![Piece::Reference(&reference.written)],
    }
}
