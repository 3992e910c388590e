//! One word, one thing: names of types that stand for more than one are on a list, with the reason why they stay.
//!
//! What a reader would get wrong: a type that only its own file can see may have the plain word, and so may what the API shows, or the command
//! line asks for, of a thing that has that name below. All others are counted.

use std::{collections::BTreeMap, path::Path};

use super::{PACKAGES, modules_for_tests, production_lines, sources};

/// The list: `NAME` in a line of its own, under the reason for which those below it stay.
const KEPT: &str = include_str!("names.txt");
/// So many may wait until somebody has looked at them.
const UNJUDGED: usize = 6;
/// Where things have the names that they have below: on the wire, in the command line, in its peer and its demo.
const ASIDE: [&str; 5] = ["src/api/wire", "src/cli/args", "src/cli/echo", "src/cli/demo", "src/link/examples"];

#[test]
fn a_name_of_two_types_is_on_the_list_with_its_reason() {
    let mut reason = false;
    let mut kept = Vec::new();
    for line in KEPT.lines().filter(|line| !line.is_empty()) {
        match line.strip_prefix("# ") {
            Some(text) => reason = text.len() > 20,
            None => kept.push((line, reason)),
        }
    }
    assert!(kept.iter().all(|(_, reason)| *reason), "each stands under a reason");
    let kept: Vec<&str> = kept.into_iter().map(|(name, _)| name).collect();
    let twice = named_twice();
    let gone: Vec<&&str> = kept.iter().filter(|name| !twice.contains_key(**name)).collect();
    assert!(gone.len() <= UNJUDGED, "one type each has these names by now; take them from the list: {gone:?}");
    let unjudged: Vec<_> = twice.iter().filter(|(name, _)| !kept.contains(&name.as_str())).collect();
    assert!(
        unjudged.len() <= UNJUDGED,
        "call one of them by another word of its field, or put the name into tests/architecture/names.txt under its reason: {unjudged:#?}"
    );
}

/// Names of types that several files can see, and that stand for several.
fn named_twice() -> BTreeMap<String, Vec<String>> {
    let files: Vec<_> = sources("src").into_iter().filter(|(path, _)| !is_aside(path)).collect();
    let mut for_tests = modules_for_tests(&files);
    for package in PACKAGES {
        for_tests.push(Path::new(package.root).join("tests"));
    }
    let is_test = |path: &Path| for_tests.iter().any(|file| path == file || path.starts_with(file.with_extension("")));
    let mut named: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (path, text) in files.iter().filter(|(path, _)| !is_test(path)) {
        for (number, line) in production_lines(text) {
            if let Some(name) = defined(&line) {
                named.entry(name).or_default().push(format!("{}:{number}", path.display()));
            }
        }
    }
    named.retain(|_, places| places.len() > 1);
    named
}

fn is_aside(path: &Path) -> bool {
    ASIDE.iter().any(|aside| path.starts_with(aside) || path == Path::new(aside).with_extension("rs"))
}

/// The name of a type that the line defines for more than its own file.
fn defined(line: &str) -> Option<String> {
    let seen = line.strip_prefix("pub")?;
    let seen = match seen.strip_prefix('(') {
        Some(scope) => scope.split_once(')')?.1,
        None => seen,
    };
    let (kind, rest) = seen.trim_start().split_once(' ')?;
    let is_type = ["struct", "enum", "trait", "type", "union"].contains(&kind);
    is_type.then(|| rest.chars().take_while(|letter| letter.is_alphanumeric()).collect())
}

#[test]
fn a_definition_is_seen_where_others_can_name_it() {
    let names = [
        "pub struct Link {",
        "pub(crate) enum Phase {",
        "pub(in crate::pool) type Answer = u8;",
        "pub trait Admit: Send {",
    ];
    assert_eq!(names.map(|line| defined(line).unwrap()), ["Link", "Phase", "Answer", "Admit"]);
    assert_eq!(["struct Own;", "pub fn link() {", "    pub type Inner = u8;"].map(defined), [None, None, None]);
}
