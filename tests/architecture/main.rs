//! The house rules that a machine can hold: layers, a pure core, headers, small files.
//!
//! The core is a package, so its manifest holds it to few crates; the rest is read as text, which sees what the compiler allows. Comments are taken out first: prose may name any room.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

mod names;
mod surface;

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

/// The rooms of a package by layer. Rooms of one layer are strangers to each other.
struct Package {
    root: &'static str,
    layers: &'static [(&'static str, u8)],
}

const PACKAGES: [Package; 2] = [
    Package {
        root: "src",
        layers: &[
            ("client", 1),
            ("config", 1),
            ("observe", 2),
            ("process", 2),
            ("provider", 3),
            ("push", 3),
            ("api", 4),
            ("app", 5),
            ("cli", 6),
        ],
    },
    Package {
        root: "src/link",
        layers: &[
            ("clock", 0),
            ("observer", 0),
            ("pace", 0),
            ("endpoint", 1),
            ("link", 2),
            ("hub", 2),
            ("store", 2),
            ("pool", 3),
            ("embed", 4),
        ],
    },
];
/// Packages below the daemon's own.
const BELOW: [&str; 2] = ["src/core", "src/link"];
/// Folders of a package that use it from outside.
const OUTSIDE: [&str; 2] = ["examples", "tests"];
/// What a program that embeds links must not have to build.
const DAEMON: [&str; 9] =
    ["wskeeper", "axum", "clap", "config", "hyper", "hyper-util", "prometheus", "tower", "tracing-subscriber"];
/// What the core must not know.
const IMPURE: &[&str] = &[
    "tokio",
    "futures",
    "tracing",
    "prometheus",
    "use rand",
    "thiserror",
    "serde::",
    "config::",
    "HashMap",
    "HashSet",
    "Instant::now",
    "SystemTime::now",
    "std::net::Tcp",
    "std::fs",
    "std::io",
    "std::env",
    "std::thread",
    "async fn",
    "async move",
    ".await",
    "println!",
    "Mutex",
];
/// Crates that the core may name beside `std`.
const CORE_CRATES: [&str; 5] = ["backoff", "bytes", "regex", "serde_json", "siphasher"];
const MAX_LINES: usize = 500;
/// What stands before that which only tests have, those of `tests/fuzz` among them.
const FOR_TESTS: [&str; 2] = ["#[cfg(test)]", "#[cfg(any(test, feature = \"fuzzing\"))]"];

#[test]
fn a_room_names_rooms_of_lower_layers_only() {
    let mut faults = Vec::new();
    for Package { root, layers } in PACKAGES {
        let layers: BTreeMap<&str, u8> = layers.iter().copied().collect();
        let sources = sources(root);
        // What only its tests compile is no room of it, and stands on all.
        let lib = sources.iter().filter(|(path, _)| *path == Path::new(root).join("lib.rs")).cloned();
        let aside =
            [modules_for_tests(&lib.collect::<Vec<_>>()), OUTSIDE.map(|name| Path::new(root).join(name)).into()];
        let is_other = |path: &Path| {
            BELOW.iter().any(|below| *below != root && path.starts_with(below))
                || aside.iter().flatten().any(|other| path.starts_with(other))
        };
        for (path, text) in sources.into_iter().filter(|(path, _)| !is_other(path)) {
            let Some((room, layer)) =
                room_of(root, &path).and_then(|room| Some((room.clone(), *layers.get(room.as_str())?)))
            else {
                assert!(is_root(root, &path), "{} is in no room that PACKAGES knows", path.display());
                continue;
            };
            for (number, named) in rooms_named(&text) {
                match layers.get(named.as_str()) {
                    None => {}
                    Some(other) if named == room || *other < layer => {}
                    Some(other) => {
                        faults.push(format!("{}:{number}: {room} (L{layer}) names {named} (L{other})", path.display()));
                    }
                }
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn the_core_is_pure() {
    let mut faults = Vec::new();
    let core = sources("src/core");
    let for_tests = modules_for_tests(&core);
    let is_test = |path: &Path| for_tests.iter().any(|file| path == file || path.starts_with(file.with_extension("")));
    for (path, text) in core.iter().filter(|(path, _)| !is_test(path)) {
        for (number, line) in production_lines(text) {
            for word in IMPURE.iter().filter(|word| line.contains(**word)) {
                faults.push(format!("{}:{number}: the core must not know `{word}`", path.display()));
            }
            if line.starts_with("use backoff::") && path != Path::new("src/core/backoff.rs") {
                faults.push(format!("{}:{number}: growth of delays is that of src/core/backoff.rs", path.display()));
            }
        }
    }
    let manifest = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("src/core/Cargo.toml")).unwrap();
    let named = manifest.split("[dependencies]").nth(1).and_then(|rest| rest.split("\n[").next()).unwrap_or_default();
    let named: Vec<&str> = named.lines().filter_map(|line| Some(line.split_once(" =")?.0)).collect();
    assert_eq!(named, CORE_CRATES);
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn links_bring_nothing_of_a_daemon() {
    let lock = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.lock")).unwrap();
    let packages: Vec<(&str, Vec<&str>)> = lock.split("[[package]]").filter_map(locked).collect();
    let (mut brought, mut next) = (Vec::new(), vec!["wskeeper-link"]);
    while let Some(name) = next.pop() {
        if !brought.contains(&name) {
            brought.push(name);
            next.extend(packages.iter().filter(|(package, _)| *package == name).flat_map(|(_, needs)| needs));
        }
    }
    assert!(brought.contains(&"tungstenite") && brought.contains(&"rustls"), "{brought:?}");
    let faults: Vec<&&str> = DAEMON.iter().filter(|name| brought.contains(name)).collect();
    assert!(faults.is_empty(), "wskeeper-link brings {faults:?}: cargo tree -p wskeeper-link -i NAME");
}

#[test]
fn every_file_says_what_it_is_for() {
    for root in ["src", "tests", "benches", "examples"] {
        for (path, text) in sources(root) {
            let first = text.lines().next().unwrap_or_default();
            assert!(first.starts_with("//! ") && first.len() > 20, "{} opens without `//!`", path.display());
        }
    }
}

#[test]
fn no_file_is_too_long() {
    for root in ["src", "tests", "benches", "examples"] {
        for (path, text) in sources(root) {
            let lines = text.lines().count();
            assert!(lines <= MAX_LINES, "{} has {lines} lines: name the part that wants out", path.display());
        }
    }
}

/// Whoever writes to it then ends by SIGPIPE, and the script with it by `pipefail`: not always, but when lines come one by one.
#[test]
fn no_script_reads_a_pipe_and_leaves_before_its_end() {
    let scripts = scripts();
    assert!(scripts.len() > 12, "only {} scripts were found", scripts.len());
    let faults: Vec<String> = scripts.iter().flat_map(|(path, text)| early_readers(path, text)).collect();
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    let early = "a | head -1\nb | grep -q x\nc | grep -Fm1 x\nd | sed -n 1q\ne |head\nf | awk '{ exit }'\n";
    assert_eq!(early_readers(Path::new("early"), early).len(), 6);
    let patient = "head -1 file\na | tail -1\nb | grep -F quiet\n# c | head\nd | sed -n 's/q/x/p'\ne || head f\n";
    assert_eq!(early_readers(Path::new("patient"), patient), Vec::<String>::new());
}

#[test]
fn the_reader_of_sources_sees_what_it_must() {
    assert_eq!(
        rooms_named("use crate::{\n    link::dial,\n    hub::{self, Hub},\n};\nlet x = crate::pool::Pool;").len(),
        3
    );
    assert_eq!(rooms_named("// crate::pool is above\nlet url = \"crate\";"), vec![]);
    assert_eq!(production_lines("a\n#[cfg(test)]\nmod tests {\n tokio\n}\n").len(), 1);
    assert_eq!(production_lines("#[cfg(test)]\nmod tests;\nuse tokio::x;\n").len(), 1);
    assert_eq!(production_lines("#[cfg(test)]\n#[allow(\n x\n)]\nfn f() {\n  g();\n}\nlast\n").len(), 1);
}

/// Every Rust file below, in order.
fn sources(root: &str) -> Vec<(PathBuf, String)> {
    let base = Path::new(env!("CARGO_MANIFEST_DIR"));
    let (mut folders, mut files) = (vec![base.join(root)], Vec::new());
    while let Some(folder) = folders.pop() {
        let Ok(entries) = fs::read_dir(&folder) else { continue };
        for entry in entries {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(&path).unwrap();
                files.push((path.strip_prefix(base).unwrap().to_path_buf(), text));
            }
        }
    }
    files.sort();
    files
}

/// A package of the lock file and those that it needs, for tests too.
fn locked(section: &str) -> Option<(&str, Vec<&str>)> {
    let name = section.split_once("name = \"")?.1.split('"').next()?;
    let needs =
        section.split_once("dependencies = [").map_or("", |(_, rest)| rest.split(']').next().unwrap_or_default());
    let needs = needs.lines().filter_map(|line| line.trim().strip_prefix('"')?.split([' ', '"']).next());
    Some((name, needs.collect()))
}

/// Shell scripts, and what they source.
fn scripts() -> Vec<(PathBuf, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut folders: Vec<PathBuf> = [".ci", "benches", "deploy", "tests"].map(|name| root.join(name)).into();
    let mut found = Vec::new();
    while let Some(folder) = folders.pop() {
        for path in fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()) {
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_none() {
                found.extend(fs::read_to_string(&path).ok().map(|text| (path, text)));
            }
        }
    }
    found
}

/// The lines of a script with a reader that may leave early.
fn early_readers(path: &Path, text: &str) -> Vec<String> {
    let is_early = |reader: &str| {
        let mut words = reader.split_whitespace();
        match words.next() {
            Some("head") => true,
            Some("grep") => words.take_while(|word| word.starts_with('-')).any(|word| word.contains(['q', 'm'])),
            Some("sed") => words.next_back().is_some_and(|word| word.trim_matches('\'').ends_with('q')),
            Some("awk") => reader.contains("exit"),
            Some(_) | None => false,
        }
    };
    let lines = text.lines().enumerate().filter(|(_, line)| !line.trim_start().starts_with('#'));
    let early = lines.filter(|(_, line)| line.replace("||", "&&").split('|').skip(1).any(is_early));
    early.map(|(number, line)| format!("{}:{}: {}", path.display(), number + 1, line.trim())).collect()
}

/// The files of modules that only tests compile: one of `FOR_TESTS` and then `mod name;`.
fn modules_for_tests(files: &[(PathBuf, String)]) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for (path, text) in files {
        let lines: Vec<&str> = text.lines().map(str::trim).collect();
        for pair in lines.windows(2).filter(|pair| FOR_TESTS.contains(&pair[0])) {
            let name = pair[1].trim_start_matches("pub ").strip_prefix("mod ");
            let Some(name) = name.and_then(|rest| rest.strip_suffix(';')) else { continue };
            let folder = if path.ends_with("mod.rs") || path.ends_with("lib.rs") {
                path.parent().unwrap().to_path_buf()
            } else {
                path.with_extension("")
            };
            found.push(folder.join(format!("{name}.rs")));
        }
    }
    found
}

fn room_of(root: &str, path: &Path) -> Option<String> {
    let first = path.strip_prefix(root).ok()?.components().next()?;
    Some(Path::new(first.as_os_str()).file_stem()?.to_string_lossy().into_owned())
}

fn is_root(root: &str, path: &Path) -> bool {
    ["lib.rs", "main.rs"].iter().any(|file| path == Path::new(root).join(file))
}

/// The rooms that the text names by `crate::…`, with the line; also those of a tree of imports.
fn rooms_named(text: &str) -> Vec<(usize, String)> {
    let code: Vec<String> = text.lines().map(without_comment).collect();
    let mut found = Vec::new();
    for (index, line) in code.iter().enumerate() {
        for (at, _) in line.match_indices("crate::") {
            let rest = &line[at + "crate::".len()..];
            if let Some(tree) = rest.strip_prefix('{') {
                let inner = std::iter::once(tree.to_owned()).chain(code[index + 1..].iter().cloned());
                found.extend(
                    heads_of_tree(&inner.collect::<Vec<_>>().join("\n")).into_iter().map(|room| (index + 1, room)),
                );
            } else {
                found.push((index + 1, word(rest)));
            }
        }
    }
    found
}

/// The first word of each branch of `a::b, c::{d, e}, …}`.
fn heads_of_tree(tree: &str) -> Vec<String> {
    let (mut depth, mut heads, mut begins) = (0, Vec::new(), true);
    for (at, letter) in tree.char_indices() {
        match letter {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => begins = true,
            _ if letter.is_whitespace() => {}
            _ if begins => {
                heads.push(word(&tree[at..]));
                begins = false;
            }
            _ => {}
        }
    }
    heads
}

fn word(text: &str) -> String {
    text.chars().take_while(|letter| letter.is_alphanumeric() || *letter == '_').collect()
}

/// Lines outside comments and outside what only tests compile.
fn production_lines(text: &str) -> Vec<(usize, String)> {
    let (mut kept, mut lines) = (Vec::new(), text.lines().enumerate());
    while let Some((index, line)) = lines.next() {
        if line.trim() == "#[cfg(test)]" {
            // The item ends where its closing brace or semicolon stands at the attribute's own depth.
            let margin = line.len() - line.trim_start().len();
            let is_end = |line: &str| line.len() - line.trim_start().len() == margin && line.ends_with(['}', ';']);
            let _end = lines.by_ref().find(|(_, line)| is_end(line));
            continue;
        }
        kept.push((index + 1, without_comment(line)));
    }
    kept
}

fn without_comment(line: &str) -> String {
    let trimmed = line.trim_start();
    if trimmed.starts_with("//") {
        return String::new();
    }
    line.split(" // ").next().unwrap_or_default().to_owned()
}
