//! A recipe's page as steps, in its order.
//!
//! What a reader sees is what is tried: a fenced block below a line with a file's name in it is that file, a block of `sh` is typed, a block of
//! `text` is what the block before it prints (`…` stands for anything). Comments, which a reader does not see, say the rest, one step each:
//!
//! | comment | does |
//! |---|---|
//! | `needs: python/X node/X program` | the recipe is skipped if one of these is not installed |
//! | `peer: NAME = FILE WORDS` | starts a stand-in of `tests/recipes/peers` (or `tests/real/peers`); `{NAME}` is its port in later comments |
//! | `port: NAME` | `{NAME}` is a free port |
//! | `replace: TEXT = TEXT` | from here on, files and blocks have the second text for the first |
//! | `env: NAME = TEXT` | from here on, shells have this variable |
//! | `terminal: NAME` | the block that follows goes on, in a terminal of this name |
//! | `expect: TEXT` | the block before prints this; it may take its time if it goes on |
//! | `end: NAME`, `kill: NAME` | ends a terminal by Ctrl-C, or a terminal or a stand-in by `kill -9` |
//! | `again: NAME` | types the block of a terminal again, or starts a stand-in again |
//! | `until: COMMAND` | waits until this shell command succeeds |
//! | `do: COMMAND` | this shell command succeeds at once |
//! | `not here: WHY` | the block that follows is not tried |

use regex_lite::Regex;

/// What is done next.
#[derive(Debug, PartialEq)]
pub enum Step {
    /// A file is written.
    Write { name: String, text: String },
    /// A block is typed.
    Type(String),
    /// The block before prints each of these lines.
    Shows(String),
    /// What a comment says.
    Mark { verb: String, rest: String },
}

/// Comments that are steps.
const VERBS: [&str; 12] =
    ["needs", "peer", "port", "replace", "env", "terminal", "expect", "end", "kill", "again", "until", "do"];

/// The steps of a page. A block that nobody tries is a fault.
pub fn steps(text: &str) -> Vec<Step> {
    let part = Regex::new(r"(?ms)^(?:`([^`\n]+)`:\n\n)?```(\w*)\n(.*?)^```$|^<!-- ([a-z ]+): ([^\n]*) -->$").unwrap();
    let (mut steps, mut is_left_out) = (Vec::new(), false);
    for found in part.captures_iter(text) {
        let part = |index: usize| found.get(index).map(|part| part.as_str().to_owned());
        if let (Some(verb), Some(rest)) = (part(4), part(5)) {
            if verb == "not here" {
                is_left_out = true;
            } else {
                assert!(VERBS.contains(&verb.as_str()), "{verb:?} is no step: {rest}");
                steps.push(Step::Mark { verb, rest });
            }
            continue;
        }
        let (name, language, text) = (part(1), part(2).unwrap_or_default(), part(3).unwrap_or_default());
        if std::mem::take(&mut is_left_out) {
            continue;
        }
        steps.push(match (name, language.as_str()) {
            (Some(name), _) => Step::Write { name, text },
            (None, "sh") => Step::Type(text),
            (None, "text") => Step::Shows(text),
            (None, other) => panic!("nobody tries this block of {other:?}:\n{text}"),
        });
    }
    assert!(!is_left_out, "no block follows `not here`");
    steps
}

/// A line that a block prints, as an expression.
pub fn shown(line: &str) -> Regex {
    let parts: Vec<String> = line.trim().split('…').map(escaped).collect();
    Regex::new(&parts.join(".*")).unwrap()
}

/// A text that stands for itself, and a run of blanks for any.
fn escaped(text: &str) -> String {
    let special = Regex::new(r"[\\.+*?()|\[\]{}^$]").unwrap();
    let text = special.replace_all(text, r"\$0").into_owned();
    Regex::new(r"\s+").unwrap().replace_all(&text, r"\s+").into_owned()
}

#[test]
fn a_page_is_files_commands_and_what_they_print() {
    let page = "# A page\n\n`a.toml`:\n\n```toml\nx = 1\n```\n\n<!-- terminal: t -->\n```sh\nrun\n```\n\n```text\nup in … s\n```\n\n<!-- not here: no -->\n```yaml\ny\n```\n";
    let text = String::from;
    let wanted = [
        Step::Write { name: text("a.toml"), text: text("x = 1\n") },
        Step::Mark { verb: text("terminal"), rest: text("t") },
        Step::Type(text("run\n")),
        Step::Shows(text("up in … s\n")),
    ];
    assert_eq!(steps(page), wanted);
}

#[test]
#[should_panic(expected = "nobody tries")]
fn a_block_that_nobody_tries_is_found() {
    steps("```python\nprint()\n```\n");
}

#[test]
fn a_printed_line_may_leave_something_open() {
    assert!(shown("got (…) of 3.").is_match("  got (17)  of 3."));
    assert!(!shown("got 1.").is_match("got 12"));
}
