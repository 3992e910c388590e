//! The documentation as a book: `docs/SUMMARY.md` has every page once, and mdbook makes a site of it in which each link and each
//! anchor leads somewhere.
//!
//! `tests/run` installs mdbook and sets `WSKEEPER_TEST_REAL`; without it the second test says that it is skipped.

#![allow(clippy::print_stderr, reason = "a skipped test says why")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

use std::{
    collections::{BTreeMap, BTreeSet},
    env, fs,
    path::{Component, Path, PathBuf},
    process::Command,
};

use regex_lite::Regex;

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// All files below a folder whose names end so.
fn files(folder: &Path, ending: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for path in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
            if path.is_dir() {
                folders.push(path);
            } else if path.to_str().unwrap().ends_with(ending) {
                found.push(path);
            }
        }
    }
    found
}

#[test]
fn the_summary_has_every_page_once() {
    let docs = root().join("docs");
    let summary = fs::read_to_string(docs.join("SUMMARY.md")).unwrap();
    let listed = Regex::new(r"\]\(([^)]+)\)").unwrap();
    let listed: Vec<String> = listed.captures_iter(&summary).map(|found| found[1].to_owned()).collect();
    let once: BTreeSet<String> = listed.iter().cloned().collect();
    assert_eq!(once.len(), listed.len(), "a page is listed twice: {listed:?}");
    let pages =
        files(&docs, ".md").into_iter().map(|path| path.strip_prefix(&docs).unwrap().to_str().unwrap().to_owned());
    assert_eq!(once, pages.filter(|page| page != "SUMMARY.md").collect());
}

/// Decisions are found by their numbers.
#[test]
fn each_decision_has_its_number_in_its_title() {
    for path in files(&root().join("docs/decisions"), ".md") {
        let name = path.file_stem().unwrap().to_str().unwrap();
        let text = fs::read_to_string(&path).unwrap();
        assert!(name == "README" || text.starts_with(&format!("# {}: ", &name[..4])), "{}", path.display());
    }
}

#[test]
fn each_link_of_the_book_leads_somewhere() {
    let Some(mdbook) = mdbook() else { return };
    let folder = tempfile::tempdir().unwrap();
    let built = Command::new(root().join("docs/book")).arg(folder.path()).env("MDBOOK", mdbook).output().unwrap();
    let said = String::from_utf8_lossy(&built.stderr);
    assert!(built.status.success() && !said.contains("WARN") && !said.contains("ERROR"), "{said}");
    let book = Book::read(folder.path());
    assert!(book.pages.len() > 100 && folder.path().join("docs/searchindex.js").exists(), "{}", book.pages.len());
    let dead: Vec<String> = book.pages.keys().flat_map(|page| book.dead_links(page)).collect();
    assert!(dead.is_empty(), "{}", dead.join("\n"));
}

/// mdbook by the loader and the libraries that came with it, which may be newer than the machine's.
fn mdbook() -> Option<PathBuf> {
    let tools = env::var_os("WSKEEPER_TEST_ENV").map_or_else(|| root().join("target/test-env"), PathBuf::from);
    let program = tools.join("mdbook");
    let is_there = program.exists();
    assert!(is_there || env::var_os("WSKEEPER_TEST_REAL").is_none(), "{} is missing", program.display());
    if !is_there {
        eprintln!("skipped: there is no {}", program.display());
    }
    is_there.then_some(program)
}

/// A book's pages, as they were built.
struct Book {
    pages: BTreeMap<PathBuf, String>,
}

impl Book {
    /// All pages but two of mdbook's own: one repeats all others, the other is the list of contents.
    fn read(folder: &Path) -> Self {
        let is_own = |path: &PathBuf| ["print.html", "toc.html"].iter().any(|name| path.ends_with(name));
        let paths = files(folder, ".html").into_iter().filter(|path| !is_own(path));
        Self { pages: paths.map(|path| (path.clone(), fs::read_to_string(path).unwrap())).collect() }
    }

    fn dead_links(&self, page: &Path) -> Vec<String> {
        let link = Regex::new(r#"<a [^>]*href="([^"]+)""#).unwrap();
        let targets = link.captures_iter(&self.pages[page]).map(|found| found[1].to_owned());
        targets
            .filter(|target| !target.contains("://") && !target.starts_with("mailto:"))
            .filter(|target| !self.leads_somewhere(page, target))
            .map(|target| format!("{}: {target}", page.display()))
            .collect()
    }

    fn leads_somewhere(&self, page: &Path, target: &str) -> bool {
        let (file, anchor) = target.split_once('#').unwrap_or((target, ""));
        let file = if file.is_empty() { page.to_owned() } else { plain(&page.parent().unwrap().join(file)) };
        file.exists()
            && (anchor.is_empty() || self.pages.get(&file).is_some_and(|text| text.contains(&format!("=\"{anchor}\""))))
    }
}

/// The path without `..`.
fn plain(path: &Path) -> PathBuf {
    let mut plain = PathBuf::new();
    for component in path.components() {
        if component == Component::ParentDir {
            plain.pop();
        } else {
            plain.push(component);
        }
    }
    plain
}
