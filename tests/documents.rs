//! The project's documents: each relative link leads to a file that is there, and its anchor to a heading of that file; each configuration
//! passes `wskeeper check`.
//!
//! Anchors are made as the forges make them: lower case, punctuation dropped, spaces become dashes, a repeated one is numbered.
//!
//! And their words: pages keep to the rules of `CONTRIBUTING.md`, as far as a list of phrases can tell.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use regex_lite::Regex;

/// What need not keep to the rules of *Words*, or shows what they forbid.
const SPARED: [&str; 3] = ["CONTRIBUTING.md", "docs/SUMMARY.md", "docs/decisions/"];

/// Phrases that read as translated. *Words* in `CONTRIBUTING.md` shows what to write instead.
const ODD: [&str; 10] = [
    "told of",
    "is told what",
    "are told what",
    "let go of",
    "judged",
    "anew",
    "ended well",
    ", else ",
    " as ever",
    "but for ",
];

#[test]
fn no_page_has_a_phrase_that_reads_as_translated() {
    let mut faults = Vec::new();
    for path in documents() {
        let page = path.strip_prefix(root()).unwrap().to_str().unwrap();
        if SPARED.iter().any(|spared| page.starts_with(spared)) {
            continue;
        }
        let words = without_code(&read(&path)).split_whitespace().collect::<Vec<_>>().join(" ");
        faults
            .extend(ODD.iter().filter(|phrase| words.contains(**phrase)).map(|phrase| format!("{page}: \"{phrase}\"")));
    }
    assert_eq!(faults, Vec::<String>::new(), "CONTRIBUTING.md, Words, says what to write instead");
}

#[test]
fn the_readme_gives_the_command_that_a_merge_is_checked_by() {
    let (readme, merge) = (read(&root().join("README.md")), read(&root().join(".ci/run")));
    for text in [readme, merge] {
        assert!(text.lines().any(|line| line == "tests/run"), "no line of it is `tests/run`:\n{text}");
    }
}

#[test]
fn every_link_between_documents_leads_somewhere() {
    let documents = documents();
    assert!(documents.len() > 30, "only {} documents were found", documents.len());
    let faults: Vec<String> = documents.iter().flat_map(|path| dead_links(path, &read(path))).collect();
    assert!(faults.is_empty(), "dead links:\n{}", faults.join("\n"));
}

#[test]
fn a_dead_link_and_a_dead_anchor_are_found() {
    let here = root().join("docs/configuration.md");
    let dead = |text: &str| dead_links(&here, text).len();
    assert_eq!(dead("[a](nowhere.md) [b](api.md#no-such-heading) [c](#neither-here)"), 3);
    assert_eq!(dead("[a](api.md) [b](../README.md#try-it) [c](#secrets) [d](https://example.org/x)"), 0);
    assert_eq!(dead("```\n[a](nowhere.md)\n```\nand `[b](nowhere.md)`"), 0, "code is no link");
}

#[test]
fn every_configuration_in_the_documents_passes_check() {
    let (mut blocks, mut faults) = (0, Vec::new());
    for path in documents() {
        for block in toml_blocks(&read(&path)) {
            blocks += 1;
            let said = checked(&block);
            faults.extend(said.map(|said| format!("{}:\n{block}{said}", path.display())));
        }
    }
    assert!(blocks > 15, "only {blocks} were found");
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn a_configuration_that_is_wrong_is_found() {
    let next = "[[endpoints.a.outcomes]]\nmatch = { status = 503 }\nthen = \"next_url\"\n";
    assert!(checked(next).unwrap().contains("outcomes"), "it has one URL");
    assert!(checked(&format!("[endpoints.a]\nurls = [\"wss://a/\", \"wss://b/\"]\n{next}")).is_none());
    assert!(checked("[endpoints.a.heartbeat]\nidle = \"5s\"\n").is_none(), "a part of an endpoint is made whole");
}

fn toml_blocks(text: &str) -> Vec<String> {
    let block = Regex::new(r"(?ms)^```toml\n(.*?)^```").unwrap();
    block.captures_iter(text).map(|found| found[1].to_owned()).collect()
}

/// What `wskeeper check` says against a configuration. An endpoint that is shown in part has an address.
fn checked(block: &str) -> Option<String> {
    let folder = tempfile::tempdir().unwrap();
    let section = Regex::new(r"(?m)^\[+endpoints\.([\w-]+)").unwrap();
    let names: BTreeSet<&str> = section.captures_iter(block).map(|found| found.get(1).unwrap().as_str()).collect();
    let address = Regex::new(r"(?m)^(url|urls|preset) *=").unwrap();
    for name in names {
        let own = format!("[endpoints.{name}]\n");
        let has_address = block
            .split_once(&own)
            .is_some_and(|(_, rest)| address.is_match(rest.split("\n[").next().unwrap_or_default()));
        if !has_address {
            let whole = format!("{own}url = \"wss://feed.example\"\n");
            fs::write(folder.path().join(format!("10-{name}.toml")), whole).unwrap();
        }
    }
    fs::write(folder.path().join("50.toml"), block).unwrap();
    let mut check = Command::new(env!("CARGO_BIN_EXE_wskeeper"));
    let output = check.arg("check").arg(folder.path()).output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    (!output.status.success()).then(|| String::from_utf8_lossy(&said).into_owned())
}

fn documents() -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = ["clients", "docs", "deploy", "dashboards"].map(|folder| root().join(folder)).to_vec();
    found.extend(files(&root()).filter(|path| is_document(path)));
    while let Some(folder) = folders.pop() {
        for path in files(&folder) {
            if path.is_dir() {
                folders.push(path);
            } else if is_document(&path) {
                found.push(path);
            }
        }
    }
    found
}

/// What a folder holds; nothing where it is not there.
fn files(folder: &Path) -> impl Iterator<Item = PathBuf> {
    fs::read_dir(folder).into_iter().flatten().map(|entry| entry.unwrap().path())
}

fn is_document(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "md")
}

fn dead_links(path: &Path, text: &str) -> Vec<String> {
    let link = Regex::new(r"\]\(([^()\s]+)\)").unwrap();
    let prose = without_code(text);
    let targets = link.captures_iter(&prose).map(|found| found[1].to_owned());
    targets
        .filter(|target| !leads_somewhere(path, target))
        .map(|target| format!("{}: {target}", path.display()))
        .collect()
}

fn leads_somewhere(path: &Path, target: &str) -> bool {
    if target.contains("://") || target.starts_with("mailto:") {
        return true;
    }
    let (file, anchor) = target.split_once('#').unwrap_or((target, ""));
    let file = if file.is_empty() { path.to_owned() } else { path.parent().unwrap().join(file) };
    file.exists()
        && (anchor.is_empty() || (is_document(&file) && anchors(&read(&file)).iter().any(|seen| seen == anchor)))
}

fn anchors(text: &str) -> Vec<String> {
    let explicit = Regex::new(r#"<a (?:id|name)="([^"]+)""#).unwrap();
    let mut anchors: Vec<String> = explicit.captures_iter(text).map(|found| found[1].to_owned()).collect();
    let mut seen: BTreeMap<String, u32> = BTreeMap::new();
    for heading in without_blocks(text).lines().filter(|line| line.starts_with('#')) {
        let words = heading.trim_start_matches('#').trim().to_lowercase();
        let kept = words.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
        let slug = kept.map(|c| if c == ' ' { '-' } else { c }).collect::<String>();
        let count = seen.entry(slug.clone()).and_modify(|count| *count += 1).or_default();
        anchors.push(if *count == 0 { slug } else { format!("{slug}-{count}") });
    }
    anchors
}

/// The text without code, in blocks and in lines.
fn without_code(text: &str) -> String {
    Regex::new("`[^`\n]*`").unwrap().replace_all(&without_blocks(text), "").into_owned()
}

fn without_blocks(text: &str) -> String {
    Regex::new(r"(?ms)^ *```.*?^ *```$").unwrap().replace_all(text, "").into_owned()
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}
