//! For tests: `config/wskeeper.toml` and the tables of `docs/configuration.md` are what the rows say.
//!
//! Both are written by `WSKEEPER_WRITE_DOCS=1 cargo test --lib config`. In the reference a table stands between marks that name its
//! section; all other text there is written by hand.

use std::{env, fmt::Write as _, fs, path::Path};

use regex_lite::Regex;

use super::{
    Holds, Key, Table,
    daemon::DAEMON,
    endpoint::{ENDPOINT, OWN},
};
use crate::config::Config;
use crate::config::ConfiguredEndpoint;

const ANEW: &str = "WSKEEPER_WRITE_DOCS=1 cargo test --lib config";

/// How the annotated file begins.
const HEAD: &str = "\
# Every key of wskeeper. A value that is written here is the default; a key without a default is commented out with `#:`.
# Durations are texts with a unit (\"500ms\", \"20s\", \"10min\", \"1h\"), sizes too (\"64KiB\", \"8MiB\"; a plain number is bytes).
# Any key can be set by the environment as well: WSKEEPER__LIMITS__DRAIN=30s, WSKEEPER__ENDPOINTS__TRADES__LINKS=2.
# docs/configuration.md is the reference.
";

/// What stands between the daemon's keys and an endpoint's.
const BETWEEN: &str = "
# [defaults] takes every key of an endpoint but `url` and `urls`, and lies under all endpoints.
#: [defaults]
#: links = 1

[endpoints.trades]
";

#[test]
fn the_annotated_file_is_what_the_table_says() {
    let mut wanted = format!("{HEAD}\n");
    annotate(&mut wanted, "", &[&DAEMON], &Config::default());
    wanted.push_str(BETWEEN);
    annotate(&mut wanted, "endpoints.trades", &[&OWN, &ENDPOINT], &ConfiguredEndpoint::default());
    compare("config/wskeeper.toml", &wanted);
}

#[test]
fn the_tables_of_the_reference_are_what_the_table_says() {
    const FILE: &str = "docs/configuration.md";
    let found = read(FILE);
    let mut wanted = replaced(&found, "daemon", &DAEMON, &Config::default());
    wanted = of_sections(wanted, &DAEMON, &Config::default());
    let own = rows(&OWN, &ConfiguredEndpoint::default());
    let endpoint = own + &rows(&ENDPOINT, &ConfiguredEndpoint::default());
    wanted = put(&wanted, "endpoint", &endpoint);
    wanted = of_sections(wanted, &ENDPOINT, &ConfiguredEndpoint::default());
    compare(FILE, &wanted);
}

/// Keys of a section as the annotated file has them: values first, then what begins a section of its own.
fn annotate<S>(out: &mut String, path: &str, tables: &[&Table<S>], default: &S) {
    let keys = || tables.iter().flat_map(|table| table.keys).filter(|key| is_described(key));
    let is_block = |key: &Key<S>| key.text().example.iter().any(|line| line.trim_start_matches("#: ").starts_with('['));
    for key in keys().filter(|key| matches!(key.holds, Holds::Value(_)) && !is_block(key)) {
        comment(out, key);
        let (example, written) = (key.text().example, default_of(key, default));
        assert!(
            !example.is_empty() || written.is_some(),
            "{}: give an example, in a line that begins with `>`",
            key.path
        );
        match written.filter(|_| example.is_empty()) {
            Some(written) => writeln!(out, "{} = {written}", key.name()).unwrap(),
            None => writeln!(out, "{}", example.join("\n")).unwrap(),
        }
    }
    for key in keys().filter(|key| is_block(key)) {
        out.push('\n');
        comment(out, key);
        writeln!(out, "{}", key.text().example.join("\n")).unwrap();
    }
    for key in keys() {
        let Holds::Section(table) = &key.holds else { continue };
        let path = if path.is_empty() { key.name().to_owned() } else { format!("{path}.{}", key.name()) };
        out.push('\n');
        comment(out, key);
        writeln!(out, "[{path}]").unwrap();
        annotate(out, &path, &[table], default);
    }
}

fn comment<S>(out: &mut String, key: &Key<S>) {
    for line in key.text().line {
        writeln!(out, "# {line}").unwrap();
    }
}

/// Not one of those that have a place elsewhere.
pub(super) fn is_described<S>(key: &Key<S>) -> bool {
    !key.text.is_empty() || matches!(key.holds, Holds::Section(_))
}

fn default_of<S>(key: &Key<S>, default: &S) -> Option<String> {
    match &key.holds {
        Holds::Value(value) => value.describe(default).toml,
        Holds::Section(_) => None,
    }
}

/// All that is said of a key.
pub(super) fn about<S>(key: &Key<S>) -> String {
    let text = key.text();
    [&*text.line, &*text.more].concat().join(" ")
}

/// Its default, for people.
pub(super) fn default_told<S>(key: &Key<S>, default: &S) -> String {
    default_of(key, default).map_or_else(|| "none".to_owned(), |written| format!("`{written}`"))
}

/// The reference with the tables of all sections within a table.
fn of_sections<S>(mut text: String, table: &Table<S>, default: &S) -> String {
    for key in table.keys {
        if let Holds::Section(section) = &key.holds {
            text = of_sections(replaced(&text, key.path, section, default), section, default);
        }
    }
    text
}

fn replaced<S>(text: &str, name: &str, table: &Table<S>, default: &S) -> String {
    put(text, name, &rows(table, default))
}

/// The rows of a section that stand in the reference.
fn rows<S>(table: &Table<S>, default: &S) -> String {
    let mut rows = String::new();
    for key in table.keys.iter().filter(|key| is_described(key)) {
        let (about, default, reload) = match &key.holds {
            Holds::Section(_) => (format!("section, [below](#{})", key.path.replace('.', "")), String::new(), ""),
            Holds::Value(_) => (quoted(&about(key)), default_told(key, default), key.reload.word()),
        };
        writeln!(rows, "| `{}` | {default} | {about} | {reload} |", key.name()).unwrap();
    }
    rows
}

/// What stands in quotes is code here.
fn quoted(text: &str) -> String {
    let quotes = Regex::new("\"[^\"]+\"").unwrap();
    let code = |(index, piece): (usize, &str)| match index % 2 {
        0 => quotes.replace_all(piece, "`$0`").into_owned(),
        _ => piece.to_owned(),
    };
    text.split('`').enumerate().map(code).collect::<Vec<_>>().join("`").replace('|', "\\|")
}

/// The text with these rows between the marks of a section.
fn put(text: &str, name: &str, rows: &str) -> String {
    let (begin, end) = (format!("<!-- keys of {name} -->\n"), "<!-- end of keys -->");
    let (before, rest) = text.split_once(&begin).unwrap_or_else(|| panic!("the reference has no table of {name}"));
    let (_, after) = rest.split_once(end).expect("the table ends");
    format!("{before}{begin}| key | default | | reload |\n|---|---|---|---|\n{rows}{end}{after}")
}

fn read(file: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(file)).unwrap_or_default()
}

pub(super) fn compare(file: &str, wanted: &str) {
    let found = read(file);
    if env::var_os("WSKEEPER_WRITE_DOCS").is_some() {
        fs::write(Path::new(env!("CARGO_MANIFEST_DIR")).join(file), wanted).unwrap();
    } else {
        let line = found.lines().zip(wanted.lines()).position(|(found, wanted)| found != wanted);
        assert!(found == wanted, "{file} is out of date near line {line:?}: write it anew with\n  {ANEW}");
    }
}
