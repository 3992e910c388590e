//! Links between the project's documents: each relative one leads to a file that is there, and its anchor to a heading of that file.
//!
//! Anchors are made as the forges make them: lower case, punctuation dropped, spaces become dashes, a repeated one is numbered.
//!
//! And their words: pages that are written by the rules of `CONTRIBUTING.md` keep to them, as far as a list of phrases can tell.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use regex_lite::Regex;

/// Pages by the rules of *Words*. A page that is rewritten by them is added here.
const PLAIN: [&str; 18] = [
    "README.md",
    "docs/api.md",
    "docs/concepts.md",
    "docs/connect.md",
    "docs/delivery.md",
    "docs/echo.md",
    "docs/faq.md",
    "docs/install.md",
    "docs/kubernetes.md",
    "docs/libraries.md",
    "docs/memory.md",
    "docs/monitoring.md",
    "docs/operate.md",
    "docs/security.md",
    "docs/status-page.md",
    "docs/systemd.md",
    "docs/troubleshooting.md",
    "docs/upgrade.md",
];

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
fn pages_in_plain_words_have_no_phrase_that_reads_as_translated() {
    let faults = PLAIN.iter().flat_map(|page| {
        let text = without_code(&read(&root().join(page)));
        let words = text.split_whitespace().collect::<Vec<_>>().join(" ");
        ODD.iter().filter(move |phrase| words.contains(**phrase)).map(move |phrase| format!("{page}: \"{phrase}\""))
    });
    assert_eq!(faults.collect::<Vec<_>>(), Vec::<String>::new(), "CONTRIBUTING.md, Words, says what to write instead");
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

fn documents() -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![root().join("docs"), root().join("deploy"), root().join("dashboards")];
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
