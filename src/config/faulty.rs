//! For tests: a value that a key does not take is told of where the key stands, for every key of the table.
//!
//! What a reader would get wrong: nothing here knows a key. What a key takes is found out by giving it values of each kind; what it does not
//! take must be told of under its name, and nothing else may be.

use super::{
    parse_toml,
    table::{Holds, Key, Table, daemon::DAEMON, endpoint},
};

/// A value of each kind that no key takes for what it means.
const KINDS: [(&str, &str); 6] = [
    ("true or false", "true"),
    ("a whole number", "12"),
    ("a fraction", "0.5"),
    ("a text", "\"\\u0001 no such word\""),
    ("a list", "[[1], 2]"),
    ("a section", "{ no_such_key_ = 1 }"),
];

/// A value that a key may take, and such as are too small or too large for who takes it as that.
const RANGES: [(&[&str], &[&str]); 4] = [
    (&["1", "7", "4000", "65536", "16777216"], &["-1", "18446744073709551615", "99999999999999999999999"]),
    (&["0.5", "1.5"], &["-0.5", "1e300"]),
    (&["\"1s\"", "\"7s\"", "\"5min\""], &["\"1000000000years\"", "\"-1s\"", "\"1e9s\""]),
    (&["\"1KiB\"", "\"2MiB\"", "\"64KiB\""], &["\"9999999TiB\"", "\"-1KiB\""]),
];

struct Tried {
    /// Faults under the key's name.
    own: usize,
    /// Others, as they are told.
    others: Vec<String>,
}

fn tried(path: &str, place: &str, value: &str) -> Tried {
    let is_url = matches!(path, "url" | "urls");
    let url = if is_url { "" } else { "endpoints.a.url = \"ws://h\"\n" };
    let text = format!("{url}{place} = {value}\n");
    let Err(faults) = parse_toml(&text, "test.toml") else { return Tried { own: 0, others: Vec::new() } };
    let is_own = |found: &str| {
        let within = found.strip_prefix(place);
        within.is_some_and(|rest| rest.is_empty() || rest.starts_with('.') || rest.starts_with('['))
    };
    let (own, others): (Vec<_>, Vec<_>) = faults.iter().partition(|fault| is_own(&fault.path));
    Tried { own: own.len(), others: others.iter().map(ToString::to_string).collect() }
}

fn look_at<S>(key: &Key<S>, prefix: &str, wrong: &mut Vec<String>) {
    let place = format!("{prefix}{}", key.path);
    let mut refused = 0;
    for (kind, value) in KINDS {
        let Tried { own, others } = tried(key.path, &place, value);
        refused += usize::from(own > 0);
        if own == 0 && !others.is_empty() {
            wrong.push(format!("{place} = {value}: {kind} is told of elsewhere alone: {}", others.join("; ")));
        }
    }
    // Nothing is taken as more than two kinds: a text and what it may be written as.
    if refused < KINDS.len() - 2 {
        wrong.push(format!("{place}: takes {} of {} kinds of values", KINDS.len() - refused, KINDS.len()));
    }
    for (taken, beyond) in RANGES {
        let is_taken = |value: &&&str| {
            let Tried { own, .. } = tried(key.path, &place, value);
            own == 0
        };
        // What takes any name takes these as names.
        let takes_text = tried(key.path, &place, "\"nosuchword\"").own == 0;
        let Some(value) = taken.iter().find(is_taken).filter(|value| !takes_text || !value.starts_with('"')) else {
            continue;
        };
        for beyond in beyond.iter().filter(|beyond| tried(key.path, &place, beyond).own == 0) {
            wrong.push(format!("{place}: takes {value}, and {beyond} too"));
        }
    }
}

fn look<S>(table: &'static Table<S>, prefix: &str, wrong: &mut Vec<String>) {
    for key in table.keys {
        match &key.holds {
            Holds::Value(_) => look_at(key, prefix, wrong),
            Holds::Section(section) => {
                let place = format!("{prefix}{}", key.path);
                for (kind, value) in &KINDS[..5] {
                    if tried(key.path, &place, value).own == 0 {
                        wrong.push(format!("{place}: a section takes {kind}"));
                    }
                }
                look(section, prefix, wrong);
            }
        }
    }
}

#[test]
fn a_value_of_the_wrong_kind_or_out_of_range_is_told_of_at_its_key() {
    let mut wrong = Vec::new();
    look(&DAEMON, "", &mut wrong);
    look(&endpoint::OWN, "endpoints.a.", &mut wrong);
    look(&endpoint::ENDPOINT, "endpoints.a.", &mut wrong);
    look(&endpoint::ENDPOINT, "defaults.", &mut wrong);
    assert!(wrong.is_empty(), "{} of them:\n{}", wrong.len(), wrong.join("\n"));
}
