//! For tests: `deploy/man/wskeeper.toml.5`, the manual page of the configuration, is what the rows say.
//!
//! It is written as `config/wskeeper.toml` is, and stands in the tree: made by the binary, each binary would carry its text.

use regex_lite::Regex;
use roff::{Inline, Roff, bold, roman};

use super::{
    Holds, Table,
    daemon::DAEMON,
    documents::{about, compare, default_told, is_described},
    endpoint::{ENDPOINT, OWN},
};
use crate::config::{Config, ConfiguredEndpoint};

/// What stands before the keys: sections with their paragraphs.
const BEFORE: &[(&str, &[&str])] = &[
    ("NAME", &["wskeeper.toml - configuration of the wskeeper daemon"]),
    (
        "DESCRIPTION",
        &[
            "`wskeeper run --config FILE` reads its configuration from a file in TOML, YAML or JSON, or from all such files of a folder in the order of their names. \
             The Debian and RPM packages use the folder `/etc/wskeeper`.",
            "Durations are texts with a unit (`\"500ms\"`, `\"20s\"`, `\"10min\"`, `\"1h\"`). So are sizes (`\"64KiB\"`, `\"8MiB\"`); a plain number is bytes.",
            "Any key can be set by the environment as well: `WSKEEPER__LIMITS__DRAIN=30s`, `WSKEEPER__ENDPOINTS__TRADES__LINKS=2`.",
            "`wskeeper check FILE` finds faults and names their lines. `wskeeper plan` says what a reload would do, and `wskeeper reload` does it. \
             Each key says how a reload applies a new value: \"live\" at once; \"rotate\" by new connections, made before the old ones end; \
             \"others come or go\" by adding or removing links; \"restart\" only by a restart.",
        ],
    ),
    (
        "EXAMPLE",
        &["The shortest configuration holds one link:", ">[endpoints.trades]\nurl = \"wss://feed.example.com/v1\""],
    ),
];

/// What stands behind them.
const BEHIND: &[(&str, &[&str])] = &[
    (
        "FILES",
        &[
            "`/etc/wskeeper/` is the configuration of the packaged service.",
            "`/var/lib/wskeeper/` is the folder that the packaged service may write to: use it for `storage.dir`.",
        ],
    ),
    ("SEE ALSO", &["`wskeeper`(1), `wskeeper-run`(1), `wskeeper-check`(1)"]),
];

#[test]
fn the_manual_page_is_what_the_table_says() {
    let mut page = Roff::new();
    page.control("TH", ["wskeeper.toml", "5", "", concat!("wskeeper ", env!("CARGO_PKG_VERSION"))]);
    sections(&mut page, BEFORE);
    page.control("SH", ["KEYS OF THE DAEMON"]);
    keys(&mut page, &[&DAEMON], &Config::default());
    page.control("SH", ["KEYS OF AN ENDPOINT"]);
    page.text([roman(
        "These keys stand in [endpoints.NAME]. [defaults] takes all of them but url and urls, for every endpoint that does not set them itself.",
    )]);
    keys(&mut page, &[&OWN, &ENDPOINT], &ConfiguredEndpoint::default());
    sections(&mut page, BEHIND);
    compare("deploy/man/wskeeper.toml.5", &page.to_roff());
}

fn sections(page: &mut Roff, sections: &[(&str, &[&str])]) {
    for (title, paragraphs) in sections {
        page.control("SH", [*title]);
        for (index, paragraph) in paragraphs.iter().enumerate() {
            if index > 0 {
                page.control("PP", []);
            }
            match paragraph.strip_prefix('>') {
                Some(example) => verbatim(page, example.lines()),
                None => {
                    page.text(inlines(paragraph));
                }
            }
        }
    }
}

fn verbatim<'a>(page: &mut Roff, lines: impl IntoIterator<Item = &'a str>) {
    page.control("EX", []);
    for line in lines {
        page.text([roman(line)]);
    }
    page.control("EE", []);
}

/// Keys that have values first, then the sections, each with its own.
fn keys<S>(page: &mut Roff, tables: &[&Table<S>], default: &S) {
    let described = || tables.iter().flat_map(|table| table.keys).filter(|key| is_described(key));
    for key in described().filter(|key| matches!(key.holds, Holds::Value(_))) {
        page.control("TP", []);
        page.text([bold(key.path)]);
        page.text(inlines(&about(key)));
        page.control("br", []);
        page.text(inlines(&format!("Default: {}. Reload: {}.", default_told(key, default), key.reload.word())));
    }
    for key in described() {
        let Holds::Section(table) = &key.holds else { continue };
        page.control("SS", [format!("[{}]", key.path).as_str()]);
        let about = about(key);
        if !about.is_empty() {
            page.text(inlines(&about));
        }
        keys(page, &[table], default);
    }
}

/// Code is bold here, and of a link its words are left.
fn inlines(text: &str) -> Vec<Inline> {
    let links = Regex::new(r"\[([^\]]+)\]\([^)]+\)").unwrap();
    let text = links.replace_all(text, "$1");
    text.split('`').enumerate().map(|(index, piece)| if index % 2 == 1 { bold(piece) } else { roman(piece) }).collect()
}
